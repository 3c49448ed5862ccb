//! Delimited text: which delimiter, and how bytes split into records and fields (RFC 4180 with any delimiter).

use std::borrow::Cow;

/// How a delimited file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// `,`, `;`, tab or `|`.
    pub delimiter: u8,
    /// Numbers are written `3,14` (never with the delimiter `,`).
    pub decimal_comma: bool,
}

/// The delimiters that are tried, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How many bytes at most the delimiter is chosen by.
pub const SNIFF_BYTES: usize = 1 << 16;
/// How many records the delimiter is chosen by.
const SNIFF_RECORDS: usize = 60;

/// Splits bytes into records. Blank lines are records without fields, so that the record number is the row number of an editor
/// or a spreadsheet. A quote counts only at the start of a field.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    text: &'a str,
    position: usize,
    delimiter: u8,
}

/// A record that does not follow the quoting rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteError {
    /// The quoted field that starts at this byte never ends.
    Unclosed(usize),
    /// Text follows the closing quote, at this byte.
    AfterQuote(usize),
}

impl<'a> Records<'a> {
    /// The records of `text`; `delimiter` is an ASCII character.
    pub fn new(text: &'a str, delimiter: u8) -> Self {
        Records { text, position: 0, delimiter }
    }

    /// The first byte that has not been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Puts the next record's fields into `fields` (none for a blank line). `None` at the end. Cost O(length of the record).
    pub fn next_into(&mut self, fields: &mut Vec<Cow<'a, str>>) -> Option<Result<(), QuoteError>> {
        fields.clear();
        let (text, bytes) = (self.text, self.text.as_bytes());
        if self.position >= bytes.len() {
            return None;
        }
        let mut at = self.position;
        loop {
            let start = at;
            if bytes.get(at) == Some(&b'"') {
                let field = match quoted(text, &mut at) {
                    Ok(field) => field,
                    Err(e) => {
                        self.position = bytes.len();
                        return Some(Err(e));
                    }
                };
                // Blanks between the closing quote and the delimiter are tolerated, other text is not.
                while bytes.get(at) == Some(&b' ') {
                    at += 1;
                }
                let end = match bytes.get(at) {
                    Some(b'\r') if matches!(bytes.get(at + 1), Some(b'\n') | None) => true,
                    Some(b'\n') | None => true,
                    Some(c) if *c == self.delimiter => false,
                    Some(_) => {
                        self.position = bytes.len();
                        return Some(Err(QuoteError::AfterQuote(at)));
                    }
                };
                fields.push(field);
                if end {
                    break;
                }
                at += 1;
                continue;
            }
            at += find_either(&bytes[at..], self.delimiter, b'\n');
            let last = bytes.get(at) != Some(&self.delimiter);
            // Both ends are at ASCII characters or at the ends of the text.
            let field = &text[start..at];
            let field = if last { field.strip_suffix('\r').unwrap_or(field) } else { field };
            if last && fields.is_empty() && field.is_empty() {
                break;
            }
            fields.push(Cow::Borrowed(field));
            if last {
                break;
            }
            at += 1;
        }
        // Step over the line end.
        if bytes.get(at) == Some(&b'\r') {
            at += 1;
        }
        self.position = (at + 1).min(bytes.len());
        Some(Ok(()))
    }
}

/// The position of the first `a` or `b`, the length if there is none; eight bytes at a time.
#[inline]
fn find_either(bytes: &[u8], a: u8, b: u8) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (mask_a, mask_b) = (ONES * u64::from(a), ONES * u64::from(b));
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest high bit that is set marks the first zero byte; bits above it may be wrong.
        let zero = |v: u64| v.wrapping_sub(ONES) & !v & (ONES << 7);
        let hit = zero(word ^ mask_a) | zero(word ^ mask_b);
        if hit != 0 {
            return i * 8 + hit.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|c| *c == a || *c == b).unwrap_or(rest.len());
    words.len() * 8 + tail
}

/// The quoted field at `at`, which moves behind the closing quote.
fn quoted<'a>(text: &'a str, at: &mut usize) -> Result<Cow<'a, str>, QuoteError> {
    let open = *at;
    let mut owned: Option<String> = None;
    let mut from = open + 1;
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let Some(length) = rest.bytes().position(|c| c == b'"') else { return Err(QuoteError::Unclosed(open)) };
        let piece = &rest[..length];
        let close = from + length;
        if text.as_bytes().get(close + 1) == Some(&b'"') {
            let owned = owned.get_or_insert_default();
            owned.push_str(piece);
            owned.push('"');
            from = close + 2;
            continue;
        }
        *at = close + 1;
        return Ok(match owned {
            None => Cow::Borrowed(piece),
            Some(mut text) => {
                text.push_str(piece);
                Cow::Owned(text)
            }
        });
    }
}

/// The end of the last whole record that ends within the first `limit` bytes (just behind its line feed); the end of the first
/// record if that is longer; the whole length if there is no more line feed. Cost O(limit).
pub fn record_boundary(bytes: &[u8], limit: usize, delimiter: u8) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    if !bytes[..limit].contains(&b'"') {
        return match bytes[..limit].iter().rposition(|c| *c == b'\n') {
            Some(end) => end + 1,
            None => record_boundary_quoted(bytes, limit, delimiter),
        };
    }
    record_boundary_quoted(bytes, limit, delimiter)
}

fn record_boundary_quoted(bytes: &[u8], limit: usize, delimiter: u8) -> usize {
    let (mut inside, mut field_start, mut boundary) = (false, true, 0);
    for (i, &c) in bytes.iter().enumerate() {
        if i >= limit && boundary > 0 {
            return boundary;
        }
        if inside {
            // A doubled quote closes and opens again.
            inside = c != b'"';
            field_start = !inside;
        } else if c == b'"' && field_start {
            inside = true;
        } else if c == b'\n' {
            boundary = i + 1;
            field_start = true;
        } else {
            field_start = c == delimiter;
        }
    }
    bytes.len()
}

/// The dialect of a file by its first bytes: the delimiter that gives the most records as many fields as the first one, more than one
/// field before one, the earlier delimiter in `, ; tab |` at a tie. One column if no delimiter fits.
pub fn sniff_dialect(head: &[u8]) -> Dialect {
    let head: &str = &String::from_utf8_lossy(head);
    let mut best: (f64, usize, u8) = (0.0, 1, b',');
    for delimiter in DELIMITERS {
        let (counts, strange) = field_counts(head, delimiter);
        let Some(&first) = counts.first() else { continue };
        if first < 2 {
            continue;
        }
        let same = counts.iter().filter(|c| **c == first).count() as f64 / counts.len() as f64;
        // The wrong delimiter cuts through quoted fields.
        let same = if strange { same / 2.0 } else { same };
        if same > best.0 || (same == best.0 && first > best.1) {
            best = (same, first, delimiter);
        }
    }
    let delimiter = best.2;
    Dialect { delimiter, decimal_comma: delimiter != b',' && decimal_comma(head, delimiter) }
}

/// Fields per record, of whole records only (unless there is just one), and whether quotes stand where none should.
fn field_counts(head: &str, delimiter: u8) -> (Vec<usize>, bool) {
    let (mut counts, mut strange) = (Vec::new(), false);
    let mut records = Records::new(head, delimiter);
    let mut fields = Vec::new();
    while counts.len() < SNIFF_RECORDS {
        match records.next_into(&mut fields) {
            Some(Ok(())) if fields.is_empty() => {}
            Some(Ok(())) => {
                // The last record may be cut.
                if records.position() >= head.len() && !head.ends_with('\n') && counts.len() > 1 {
                    break;
                }
                counts.push(fields.len());
                strange |= fields.iter().any(|f| matches!(f, Cow::Borrowed(b) if b.contains('"')));
            }
            // A quote may stay open because the head ends.
            Some(Err(QuoteError::Unclosed(_))) if head.len() >= SNIFF_BYTES => break,
            Some(Err(_)) => {
                strange = true;
                break;
            }
            None => break,
        }
    }
    (counts, strange)
}

/// Whether cells such as `3,14` occur and none such as `3.14`.
fn decimal_comma(head: &str, delimiter: u8) -> bool {
    let mut records = Records::new(head, delimiter);
    let mut fields = Vec::new();
    let (mut comma, mut point) = (false, false);
    for _ in 0..SNIFF_RECORDS {
        let Some(Ok(())) = records.next_into(&mut fields) else { break };
        for field in &fields {
            comma |= is_decimal(field.as_bytes(), b',');
            point |= is_decimal(field.as_bytes(), b'.');
        }
    }
    comma && !point
}

/// `-digits mark digits`.
fn is_decimal(cell: &[u8], mark: u8) -> bool {
    let cell = cell.trim_ascii();
    let cell = cell.strip_prefix(b"-").unwrap_or(cell);
    let mut parts = cell.split(|c| *c == mark);
    let number = |p: Option<&[u8]>| p.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
    number(parts.next()) && number(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<Vec<String>> {
        let mut records = Records::new(text, b',');
        let (mut fields, mut out) = (Vec::new(), Vec::new());
        while let Some(result) = records.next_into(&mut fields) {
            result.unwrap();
            out.push(fields.iter().map(|f| f.to_string()).collect());
        }
        out
    }

    #[test]
    fn splits_as_rfc_4180_says() {
        assert_eq!(split("a,b\r\n1,2\r\n"), [["a", "b"], ["1", "2"]]);
        assert_eq!(split("a,\"b,\"\"c\"\"\nd\"\n,"), [["a", "b,\"c\"\nd"], ["", ""]]);
        assert_eq!(split("a\n\nb"), [vec!["a"], vec![], vec!["b"]]);
        assert_eq!(split("\"\"\nx"), [[""], ["x"]]);
        assert_eq!(split("5\" pipe,6\"\n"), [["5\" pipe", "6\""]]);
        assert_eq!(split("\"a\" ,b\n"), [["a", "b"]]);
    }

    #[test]
    fn names_broken_quotes() {
        let error = |text: &str| {
            let mut r = Records::new(text, b',');
            let mut f = Vec::new();
            std::iter::from_fn(|| r.next_into(&mut f)).find_map(Result::err)
        };
        assert_eq!(error("a,b\n\"x,1\ny,2\n"), Some(QuoteError::Unclosed(4)));
        assert_eq!(error("a,b\n\"x\"y,1\n"), Some(QuoteError::AfterQuote(7)));
    }

    #[test]
    fn finds_the_delimiter() {
        let of = |text: &str| sniff_dialect(text.as_bytes());
        assert_eq!(of("a,b\n1,2\n").delimiter, b',');
        assert_eq!(of("a;b\n1,5;2,5\n"), Dialect { delimiter: b';', decimal_comma: true });
        assert_eq!(of("a;b\n1.5;2,5\n"), Dialect { delimiter: b';', decimal_comma: false });
        assert_eq!(of("a|b\nx, y|2\n").delimiter, b'|');
        assert_eq!(of("a\tb\n1\t2\n").delimiter, b'\t');
        assert_eq!(of("\"a;b\",c\n\"1;2\",3\n").delimiter, b',');
        assert_eq!(of("one\n1\n2\n").delimiter, b',');
        // A ragged file still has a delimiter.
        assert_eq!(of("a;b;c\n1;2;3\n4;5\n").delimiter, b';');
    }

    fn any_cell() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9 .]{1,6}", "[a-z,;|\t\"\n]{0,6}"]
    }

    fn encode(rows: &[Vec<String>], delimiter: u8, crlf: bool) -> String {
        let mut text = String::new();
        for row in rows {
            let cells: Vec<String> = row
                .iter()
                .map(|c| match c.contains(['"', ',', ';', '|', '\t', '\n']) || c.is_empty() {
                    true => format!("\"{}\"", c.replace('"', "\"\"")),
                    false => c.clone(),
                })
                .collect();
            text.push_str(&cells.join(&(delimiter as char).to_string()));
            text.push_str(if crlf { "\r\n" } else { "\n" });
        }
        text
    }

    proptest! {
        #[test]
        fn written_records_are_read_back(
            rows in (2usize..5).prop_flat_map(|w| prop::collection::vec(prop::collection::vec(any_cell(), w), 2..20)),
            which in 0usize..4, crlf in any::<bool>(), limit in 1usize..200,
        ) {
            let delimiter = DELIMITERS[which];
            let text = encode(&rows, delimiter, crlf);
            prop_assert_eq!(sniff_dialect(text.as_bytes()).delimiter, delimiter, "{}", text);
            // Whole, and cut into blocks at record boundaries.
            let mut out = Vec::new();
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let end = record_boundary(rest, limit, delimiter);
                prop_assert!(end > 0);
                let mut records = Records::new(std::str::from_utf8(&rest[..end]).unwrap(), delimiter);
                let mut fields = Vec::new();
                while let Some(r) = records.next_into(&mut fields) {
                    prop_assert!(r.is_ok());
                    out.push(fields.iter().map(|f| f.to_string()).collect::<Vec<_>>());
                }
                rest = &rest[end..];
            }
            prop_assert_eq!(out, rows);
        }

        #[test]
        fn words_find_what_bytes_find(bytes in prop::collection::vec(prop_oneof![Just(b','), Just(b'\n'), Just(b'-'), Just(b'\x0b'), any::<u8>()], 0..40)) {
            let want = bytes.iter().position(|c| *c == b',' || *c == b'\n').unwrap_or(bytes.len());
            prop_assert_eq!(find_either(&bytes, b',', b'\n'), want);
        }

        #[test]
        fn any_bytes_split_without_panic(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60)) {
            let text = String::from_utf8_lossy(&bytes);
            let mut records = Records::new(&text, b',');
            let mut fields = Vec::new();
            let mut guard = 0;
            while records.next_into(&mut fields).is_some() {
                guard += 1;
                prop_assert!(guard <= text.len() + 1);
            }
            sniff_dialect(&bytes);
            for limit in 1..bytes.len() {
                prop_assert!(record_boundary(&bytes, limit, b',') > 0);
            }
        }
    }
}
