//! [`Frame`]: a table in memory, column by column, and the [`Sink`]s that fill it cell by cell.

use super::error::BadInput;
use super::time::{MISSING, Pattern, TimeConflict, TimeKind, TimeReader};
use std::collections::HashMap;
use std::sync::Arc;

/// A table in memory.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What messages call the file.
    pub name: String,
    /// The columns that were asked for, in file order, all of the same length.
    pub columns: Vec<Column>,
    /// Where rows stand in the file.
    pub rows: RowMap,
    /// What a reader should know: columns left out, offsets applied.
    pub warnings: Vec<String>,
}

/// A named column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name in the header.
    pub name: String,
    /// Its cells.
    pub data: Data,
}

/// The cells of a column.
#[derive(Debug, Clone)]
pub enum Data {
    /// Numbers; NaN is missing.
    Number(Vec<f64>),
    /// Text.
    Text(Text),
    /// Time stamps.
    Time(TimeColumn),
}

/// Time stamps, [`MISSING`] where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeColumn {
    /// Microseconds since 1970-01-01, or integers.
    pub values: Vec<i64>,
    /// What the values mean.
    pub kind: TimeKind,
}

/// Dictionary-encoded text: every distinct text once, in order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// Per row an index into `dict`, or [`Text::MISSING`].
    pub codes: Vec<u32>,
    /// The distinct texts.
    pub dict: Vec<Arc<str>>,
}

impl Text {
    /// The code of an empty cell.
    pub const MISSING: u32 = u32::MAX;

    /// The text of row `i`, `None` if missing.
    pub fn get(&self, i: usize) -> Option<&str> {
        self.dict.get(*self.codes.get(i)? as usize).map(AsRef::as_ref)
    }
}

/// From row indices of a frame to rows of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowMap {
    /// Rows before the first data row (the header, blank lines above it).
    pub header_rows: usize,
    /// For every blank line that was skipped, how many frame rows came before it; ascending.
    pub skipped: Vec<usize>,
}

impl RowMap {
    /// The 1-based row in the file of row `i` (0-based) of the frame. Cost O(log of the blank lines).
    pub fn file_row(&self, i: usize) -> usize {
        self.header_rows + i + 1 + self.skipped.partition_point(|before| *before <= i)
    }
}

impl Frame {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |c| c.data.len())
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

impl Data {
    /// The number of cells.
    pub fn len(&self) -> usize {
        match self {
            Data::Number(v) => v.len(),
            Data::Text(t) => t.codes.len(),
            Data::Time(t) => t.values.len(),
        }
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a column is to be read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Numbers; a cell that is none is an error.
    Number,
    /// Numbers, or text if the first cells that are not empty turn out to be no numbers.
    NumberOrText,
    /// Text.
    Text,
    /// Time stamps of this form (columns that are typed as time, in Parquet, need no form).
    Time(Pattern),
    /// Not at all.
    Skip,
}

/// What is known about a column before it is read.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Its name.
    pub name: String,
    /// Its first cells as text, "" where missing.
    pub sample: Vec<String>,
    /// Whether the file itself says that these are time stamps.
    pub typed_time: bool,
    /// What the column holds, if the file itself says that it is nothing that can be read: lists, bytes, decimals.
    pub unreadable: Option<String>,
    /// Whether what cannot be read is numbers all the same, which must not be left out in silence.
    pub lost_numbers: bool,
}

/// Which cells count as missing: the empty cell, `NA`, `NaN`, `nan`, `NULL`, `null` and the user's.
#[derive(Debug, Clone, Default)]
pub struct Missing(pub Vec<String>);

impl Missing {
    /// The texts that always mean a missing number.
    pub const ALWAYS: [&'static str; 5] = ["NA", "NaN", "nan", "NULL", "null"];

    /// Whether this cell (without blanks around it) is missing where a number or time stamp is wanted.
    pub fn is(&self, cell: &str) -> bool {
        cell.is_empty() || Self::ALWAYS.contains(&cell) || self.0.iter().any(|m| m == cell)
    }
}

/// Why a sink refuses a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was expected.
    pub expected: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// Takes the cells of one column.
#[derive(Debug, Clone)]
pub enum Sink {
    /// See [`Want::Number`] and [`Want::NumberOrText`].
    Number(NumberSink),
    /// See [`Want::Text`].
    Text(TextSink),
    /// See [`Want::Time`].
    Time(TimeSink),
    /// Forgets them.
    Skip,
}

/// See [`Sink::Number`].
#[derive(Debug, Clone)]
pub struct NumberSink {
    /// The numbers so far.
    pub values: Vec<f64>,
    any: bool,
    may_be_text: bool,
}

/// See [`Sink::Text`].
#[derive(Debug, Clone, Default)]
pub struct TextSink {
    text: Text,
    known: HashMap<Arc<str>, u32>,
    last: u32,
}

/// See [`Sink::Time`].
#[derive(Debug, Clone)]
pub struct TimeSink {
    /// The stamps so far.
    pub values: Vec<i64>,
    reader: TimeReader,
    /// The kind, where the file itself tells it.
    pub typed: Option<TimeKind>,
}

impl Sink {
    /// A sink for cells of this kind.
    pub fn new(want: &Want) -> Sink {
        match want {
            Want::Number => Sink::Number(NumberSink { values: Vec::new(), any: false, may_be_text: false }),
            Want::NumberOrText => Sink::Number(NumberSink { values: Vec::new(), any: false, may_be_text: true }),
            Want::Text => Sink::Text(TextSink::new()),
            Want::Time(pattern) => {
                Sink::Time(TimeSink { values: Vec::new(), reader: TimeReader::new(pattern.clone()), typed: None })
            }
            Want::Skip => Sink::Skip,
        }
    }

    /// An empty sink for cells that follow elsewhere; it refuses those that would change the kind of the column.
    pub fn fresh(&self) -> Sink {
        match self {
            Sink::Number(_) => Sink::new(&Want::Number),
            Sink::Text(_) => Sink::Text(TextSink::new()),
            Sink::Time(s) => {
                let reader = TimeReader::new(s.reader.pattern().clone());
                Sink::Time(TimeSink { values: Vec::new(), reader, typed: s.typed })
            }
            Sink::Skip => Sink::Skip,
        }
    }

    /// Whether `next` holds cells of the same kind.
    pub fn is_like(&self, next: &Sink) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(next)
    }

    /// Adds the cells of `next`, which must be [like](Self::is_like) this sink, behind its own.
    pub fn append(&mut self, next: Sink) {
        match (self, next) {
            (Sink::Number(s), Sink::Number(next)) => {
                s.any |= next.any;
                s.values.extend_from_slice(&next.values);
            }
            (Sink::Text(s), Sink::Text(next)) => s.append(next.text),
            (Sink::Time(s), Sink::Time(next)) => {
                s.reader.append(&next.reader);
                s.values.extend_from_slice(&next.values);
            }
            _ => {}
        }
    }

    /// Makes room for this many cells.
    pub fn reserve(&mut self, cells: usize) {
        match self {
            Sink::Number(s) => s.values.reserve_exact(cells),
            Sink::Text(s) => s.text.codes.reserve_exact(cells),
            Sink::Time(s) => s.values.reserve_exact(cells),
            Sink::Skip => {}
        }
    }

    /// Takes one cell of text. Blanks around it do not count.
    pub fn push(&mut self, cell: &str, missing: &Missing, decimal_comma: bool) -> Result<(), Refused> {
        let cell = trim(cell);
        match self {
            Sink::Skip => Ok(()),
            Sink::Text(sink) => {
                sink.push((!cell.is_empty()).then_some(cell));
                Ok(())
            }
            Sink::Time(sink) => {
                let cell = if missing.is(cell) { "" } else { cell };
                match sink.reader.read(cell) {
                    Some(v) => {
                        sink.values.push(v);
                        Ok(())
                    }
                    None => Err(Refused {
                        expected: sink.reader.pattern().expected(),
                        remedy: Some("use --time-format for another form".into()),
                    }),
                }
            }
            Sink::Number(sink) => {
                // Numbers are the common case; NaN and the like are looked at afterwards.
                let value = match parse_number(cell, decimal_comma) {
                    Some(x) if x.is_finite() => x,
                    _ if missing.is(cell) => f64::NAN,
                    Some(x) if x.is_nan() => f64::NAN,
                    Some(_) => return Err(Refused { expected: "a finite number".into(), remedy: None }),
                    None if sink.may_be_text && !sink.any => {
                        let mut text = TextSink::new();
                        text.text.codes = vec![Text::MISSING; sink.values.len()];
                        text.push(Some(cell));
                        *self = Sink::Text(text);
                        return Ok(());
                    }
                    None => return Err(not_a_number(cell, decimal_comma)),
                };
                sink.push(value);
                Ok(())
            }
        }
    }

    /// The finished column. `place` says where cell `i` (0-based) stands, as (file row, text as found if known).
    pub fn finish(
        self,
        file: &str,
        name: &str,
        row: &dyn Fn(usize) -> usize,
    ) -> Result<(Option<Data>, Option<String>), BadInput> {
        Ok(match self {
            Sink::Skip => (None, None),
            Sink::Number(s) => (Some(Data::Number(s.values)), None),
            Sink::Text(s) => (Some(Data::Text(s.text)), None),
            Sink::Time(mut s) => {
                if let Some(kind) = s.typed {
                    return Ok((Some(Data::Time(TimeColumn { values: s.values, kind })), None));
                }
                match s.reader.finish(&mut s.values) {
                    Ok((kind, moved)) => {
                        let note = moved.then(|| format!("{file}: the time stamps of column \"{name}\" were moved to UTC"));
                        (Some(Data::Time(TimeColumn { values: s.values, kind })), note)
                    }
                    Err(conflict) => return Err(time_conflict(conflict, file, name, row)),
                }
            }
        })
    }
}

fn not_a_number(cell: &str, decimal_comma: bool) -> Refused {
    // `1,234.5`, or a decimal comma that the rest of the file does not use.
    let digits = |c: char| c.is_ascii_digit();
    let remedy = if cell.contains(',') && cell.starts_with(digits) && cell.ends_with(digits) && !decimal_comma {
        "write numbers with a decimal point and without thousands separators".to_owned()
    } else {
        format!("use --na {} to read it as missing", super::error::quoted(cell))
    };
    Refused { expected: "a number".into(), remedy: Some(remedy) }
}

fn time_conflict(conflict: TimeConflict, file: &str, name: &str, row: &dyn Fn(usize) -> usize) -> BadInput {
    let format = "say which with --time-format, for example %d/%m/%Y or %m/%d/%Y";
    let e = match conflict {
        TimeConflict::Ambiguous => {
            BadInput::new(file, "every date can be read as day/month and as month/day").row(row(0)).remedy(format)
        }
        TimeConflict::Mixed(i, j) if i == j => {
            BadInput::new(file, "found a day that its month does not have, expected a date").row(row(i))
        }
        TimeConflict::Mixed(i, j) => {
            BadInput::new(file, "one date has its day first, the other its month").row(row(i)).row(row(j)).remedy(format)
        }
        TimeConflict::Offsets => BadInput::new(file, "some time stamps have a UTC offset and others have none")
            .remedy("write all of them with an offset, or none"),
    };
    e.column(name)
}

/// `cell` without blanks around it, mostly by a look at its ends.
#[inline]
fn trim(cell: &str) -> &str {
    match cell.as_bytes() {
        [b'!'..=b'~', .., b'!'..=b'~'] | [b'!'..=b'~'] => cell,
        _ => cell.trim(),
    }
}

/// A number written as digits with perhaps a sign and a point, if a f64 can hold its digits and the power of ten exactly: one division
/// then rounds correctly (W. D. Clinger, How to read floating point numbers accurately, 1990).
#[inline]
fn short_decimal(cell: &str) -> Option<f64> {
    const TENS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
        1e22,
    ];
    let (negative, digits) = match cell.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // 18 digits and a point: no overflow.
    if digits.len() > 19 {
        return None;
    }
    let (mut mantissa, mut point) = (0u64, None);
    for (i, c) in digits.iter().enumerate() {
        match c {
            b'0'..=b'9' => mantissa = mantissa.checked_mul(10)?.checked_add(u64::from(c - b'0'))?,
            b'.' if point.is_none() => point = Some(i),
            _ => return None,
        }
    }
    let decimals = point.map_or(0, |p| digits.len() - 1 - p);
    if mantissa > 1 << 53 || digits.len() == usize::from(point.is_some()) {
        return None;
    }
    let value = mantissa as f64 / TENS.get(decimals)?;
    Some(if negative { -value } else { value })
}

/// A number: what Rust reads as f64 (`-1.5e3`, `.5`, `nan`, `inf`), or with a decimal comma.
pub fn parse_number(cell: &str, decimal_comma: bool) -> Option<f64> {
    if decimal_comma && cell.contains(',') {
        if cell.contains('.') {
            return None;
        }
        return cell.replacen(',', ".", 1).parse().ok();
    }
    short_decimal(cell).or_else(|| cell.parse().ok())
}

impl NumberSink {
    /// Takes a number; NaN is missing. The caller has checked that it is not infinite.
    #[inline]
    pub fn push(&mut self, value: f64) {
        self.any |= !value.is_nan();
        self.values.push(value);
    }

    /// Takes many numbers at once. The caller has checked that none is infinite.
    pub fn extend(&mut self, values: &[f64]) {
        self.any |= values.iter().any(|v| !v.is_nan());
        self.values.extend_from_slice(values);
    }
}

impl TextSink {
    /// An empty sink.
    pub fn new() -> Self {
        TextSink { last: Text::MISSING, ..TextSink::default() }
    }

    /// Takes a text, `None` if missing.
    #[inline]
    pub fn push(&mut self, cell: Option<&str>) {
        let code = match cell {
            None => Text::MISSING,
            // Runs of the same text are common: the ids of a long table.
            Some(text) if self.text.dict.get(self.last as usize).is_some_and(|d| **d == *text) => self.last,
            Some(text) => match self.known.get(text) {
                Some(code) => *code,
                None => self.add(text.into()),
            },
        };
        self.last = code;
        self.text.codes.push(code);
    }

    fn add(&mut self, text: Arc<str>) -> u32 {
        let code = self.text.dict.len() as u32;
        self.text.dict.push(text.clone());
        self.known.insert(text, code);
        code
    }

    fn append(&mut self, next: Text) {
        let mut translate = Vec::with_capacity(next.dict.len());
        for text in next.dict {
            translate.push(match self.known.get(&text) {
                Some(code) => *code,
                None => self.add(text),
            });
        }
        // Only the missing code is outside the dictionary.
        self.text.codes.extend(next.codes.iter().map(|c| translate.get(*c as usize).copied().unwrap_or(Text::MISSING)));
    }
}

impl TimeSink {
    /// Takes a stamp of the kind that the file itself tells.
    pub fn push_typed(&mut self, value: i64, kind: TimeKind) {
        self.typed = Some(kind);
        self.values.push(value);
    }
}

/// The missing time stamps of a column, by position.
pub fn first_missing(values: &[i64]) -> Option<usize> {
    values.iter().position(|v| *v == MISSING)
}

/// An error if two columns have the same name, which would make every mention of it ambiguous.
pub fn check_names<'a>(file: &str, row: Option<usize>, names: impl Iterator<Item = &'a str>) -> Result<(), BadInput> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, name) in names.enumerate() {
        if let Some(first) = seen.insert(name, i) {
            let what = format!("columns {} and {} have the same name", first + 1, i + 1);
            let e = BadInput::new(file, what).column(name).remedy("rename one of them");
            return Err(row.into_iter().fold(e, BadInput::row));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(want: Want, cells: &[&str]) -> Result<Sink, Refused> {
        let mut sink = Sink::new(&want);
        for c in cells {
            sink.push(c, &Missing(vec!["-".into()]), false)?;
        }
        Ok(sink)
    }

    #[test]
    fn numbers_and_what_is_none() {
        let Ok(Sink::Number(s)) = fill(Want::Number, &["1", " -2.5e1 ", "", "NA", "-", "nan", "+3"]) else { panic!() };
        let text: Vec<String> = s.values.iter().map(f64::to_string).collect();
        assert_eq!(text, ["1", "-25", "NaN", "NaN", "NaN", "NaN", "3"]);
        let e = fill(Want::Number, &["n/a"]).unwrap_err();
        assert_eq!(e.remedy.as_deref(), Some("use --na \"n/a\" to read it as missing"));
        assert_eq!(fill(Want::Number, &["inf"]).unwrap_err().expected, "a finite number");
        assert_eq!(fill(Want::Number, &["1e999"]).unwrap_err().expected, "a finite number");
        assert!(fill(Want::Number, &["1,234.5"]).unwrap_err().remedy.unwrap().contains("thousands"));
        assert_eq!(parse_number("3,25", true), Some(3.25));
        assert_eq!(parse_number("1.234,5", true), None);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_rust_reads_them(text in "-?[0-9]{0,20}(\\.[0-9]{0,22})?(e-?[0-9]{1,3})?", x in any::<f64>(), k in -999_999i64..999_999) {
            for text in [text, x.to_string(), (k as f64 / 1000.0).to_string(), k.to_string()] {
                prop_assert_eq!(parse_number(&text, false).map(f64::to_bits), text.parse::<f64>().ok().map(f64::to_bits), "{}", text);
            }
        }

        #[test]
        fn trimming_is_trimming(text in "[ a\t\u{A0}é0]{0,5}") {
            prop_assert_eq!(trim(&text), text.trim());
        }
    }

    #[test]
    fn a_column_without_any_number_is_text() {
        let Ok(Sink::Text(s)) = fill(Want::NumberOrText, &["", "x", "", "x", "7"]) else { panic!() };
        assert_eq!(s.text.codes, [Text::MISSING, 0, Text::MISSING, 0, 1]);
        assert!(fill(Want::NumberOrText, &["1", "x"]).is_err());
    }

    #[test]
    fn text_is_stored_once() {
        let Ok(Sink::Text(s)) = fill(Want::Text, &["b", "a", "b", "b", "NA", ""]) else { panic!() };
        assert_eq!(s.text.codes, [0, 1, 0, 0, 2, Text::MISSING]);
        assert_eq!((s.text.get(4), s.text.get(5), s.text.get(99)), (Some("NA"), None, None));
    }

    #[test]
    fn rows_count_the_header_and_blank_lines() {
        let rows = RowMap { header_rows: 1, skipped: vec![0, 2, 2] };
        assert_eq!([0, 1, 2].map(|i| rows.file_row(i)), [3, 4, 7]);
    }

    #[test]
    fn equal_names_are_refused() {
        let e = check_names("f", Some(1), ["a", "b", "a"].into_iter()).unwrap_err();
        assert_eq!(e.to_string(), "f, row 1, column \"a\": columns 1 and 3 have the same name (rename one of them)");
    }
}
