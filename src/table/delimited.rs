//! Delimited text into a [`Frame`].
//!
//! The bytes are cut into chunks of whole records that are read side by side, each into [`Sink`]s of its own, which are then joined in
//! file order. A chunk in which anything is unusual is read again in order, and that reading alone decides what is an error and says
//! where: the result does not depend on the cuts (a property test compares them).
//!
//! This is our own reader and not polars': it takes about as long as polars needs to split the cells without reading the time stamps,
//! knows the row of every fault, and never holds the text of a column.

use super::error::{BadInput, quoted};
use super::frame::{Column, Frame, Missing, Preview, RowMap, Sink, check_names, parse_number};
use super::records::{Dialect, QuoteError, Records, record_boundary};
use super::source::Source;
use super::time::detect;
use super::{FrameOptions, Header, Plan, sample_rows};
use rayon::prelude::*;
use std::borrow::Cow;

/// Bytes per chunk: large beside what joining costs, small beside a large file.
const CHUNK: usize = 1 << 19;
/// Bytes per chunk and column, at least: a chunk must hold many rows.
const CHUNK_PER_COLUMN: usize = 512;

/// Reads the whole source. `plan` says what each column is wanted as. See [`super::read_frame`] for the errors.
pub(super) fn read(source: &Source, dialect: Dialect, options: &FrameOptions, plan: &Plan<'_>) -> Result<Frame, BadInput> {
    read_chunks(source, dialect, options, plan, None)
}

fn no_rows(file: &str) -> BadInput {
    BadInput::new(file, "found a header and no rows, expected at least one row")
}

fn read_chunks(
    source: &Source,
    dialect: Dialect,
    options: &FrameOptions,
    plan: &Plan<'_>,
    chunk: Option<usize>,
) -> Result<Frame, BadInput> {
    let file = source.name();
    let Ok(text) = std::str::from_utf8(source.bytes()) else { return Err(not_utf8(file, source.bytes(), dialect.delimiter)) };
    let head = read_header(file, text, dialect, options)?;
    let chunk = chunk.unwrap_or(CHUNK.max(head.names.len() * CHUNK_PER_COLUMN));
    let previews = preview(&text[head.data_at..], dialect, &head.names);
    // Before the plan, which would wonder what the columns hold.
    if text[head.data_at..].bytes().all(|b| b.is_ascii_whitespace()) {
        return Err(no_rows(file));
    }
    let wants = plan(&previews)?;
    let mut reader = Reader {
        file,
        dialect,
        missing: &options.missing,
        sinks: wants.iter().map(Sink::new).collect(),
        rows: RowMap { header_rows: head.rows, skipped: Vec::new() },
        taken: 0,
        blank_cells: 0,
        names: &head.names,
    };
    // A round of chunks is in memory twice for a moment.
    let round = 2 * rayon::current_num_threads();
    let mut at = head.data_at;
    while at < text.len() {
        let mut ranges = Vec::with_capacity(round);
        while at < text.len() && ranges.len() < round {
            let end = at + record_boundary(&text.as_bytes()[at..], chunk, dialect.delimiter);
            ranges.push(at..end);
            at = end;
        }
        if ranges.len() == 1 {
            reader.read(&text[ranges[0].clone()])?;
            continue;
        }
        let parts: Vec<Option<Reader<'_>>> = ranges
            .par_iter()
            .map(|range| {
                let mut part = reader.fresh();
                part.read(&text[range.clone()]).is_ok().then_some(part)
            })
            .collect();
        for (range, part) in ranges.into_iter().zip(parts) {
            if !part.is_some_and(|part| reader.join(part)) {
                reader.read(&text[range])?;
            }
        }
    }
    if reader.taken == 0 {
        return Err(no_rows(file));
    }
    let Reader { sinks, rows, .. } = reader;
    let mut warnings = head.warnings;
    let mut columns = Vec::new();
    for (sink, name) in sinks.into_iter().zip(head.names) {
        let (data, note) = sink.finish(file, &name, &|i| rows.file_row(i))?;
        warnings.extend(note);
        if let Some(data) = data {
            columns.push(Column { name, data });
        }
    }
    Ok(Frame { name: file.to_owned(), columns, rows, warnings })
}

/// The header and where the data start.
struct Head {
    names: Vec<String>,
    /// Rows before the data.
    rows: usize,
    data_at: usize,
    warnings: Vec<String>,
}

fn read_header(file: &str, text: &str, dialect: Dialect, options: &FrameOptions) -> Result<Head, BadInput> {
    let mut records = Records::new(text, dialect.delimiter);
    let mut fields = Vec::new();
    let (mut rows, mut data_at) = (0, 0);
    loop {
        match records.next_into(&mut fields) {
            Some(Ok(())) if fields.is_empty() => {
                rows += 1;
                data_at = records.position();
            }
            Some(Ok(())) => break,
            Some(Err(e)) => return Err(quote_error(file, rows + 1, e)),
            None => return Err(BadInput::new(file, "the file is empty").remedy("expected a table with a header and rows")),
        }
    }
    let cells: Vec<String> = fields.iter().map(|f| f.trim().to_owned()).collect();
    if cells.iter().any(|c| c.contains('\r')) {
        return Err(BadInput::new(file, "lines end with a carriage return alone, expected line feeds")
            .remedy("convert it with: tr '\\r' '\\n'"));
    }
    let header = match options.header {
        Header::Yes => true,
        Header::No => false,
        Header::Auto => !is_data(&cells, dialect),
    };
    let mut warnings = Vec::new();
    let names: Vec<String> = if header {
        rows += 1;
        data_at = records.position();
        cells.into_iter().enumerate().map(|(i, c)| if c.is_empty() { format!("column_{}", i + 1) } else { c }).collect()
    } else {
        let names: Vec<String> = match cells.len() {
            1 => vec!["y".to_owned()],
            n => (1..=n).map(|i| format!("column_{i}")).collect(),
        };
        if options.header == Header::Auto {
            warnings.push(format!(
                "{file}: the first row holds numbers, so it was read as data; the columns are called {}",
                names.join(", ")
            ));
        }
        names
    };
    check_names(file, Some(rows.max(1)), names.iter().map(String::as_str))?;
    Ok(Head { names, rows, data_at, warnings })
}

/// Whether the first row is data: every cell a number or a time stamp, and not the column numbers 0, 1, 2, ... or 1, 2, 3, ....
fn is_data(cells: &[String], dialect: Dialect) -> bool {
    let number = |c: &str| parse_number(c, dialect.decimal_comma).is_some_and(f64::is_finite);
    let counted = |from: usize| cells.len() > 1 && cells.iter().enumerate().all(|(i, c)| *c == (i + from).to_string());
    cells.iter().all(|c| number(c) || detect(std::iter::once(c.as_str())).is_some()) && !counted(0) && !counted(1)
}

/// The first cells of every column. Faults are left for the reading proper to find.
fn preview(data: &str, dialect: Dialect, names: &[String]) -> Vec<Preview> {
    let mut previews: Vec<Preview> = names
        .iter()
        .map(|n| Preview { name: n.clone(), sample: Vec::new(), typed_time: false, unreadable: None, lost_numbers: false })
        .collect();
    let mut records = Records::new(data, dialect.delimiter);
    let mut fields = Vec::new();
    for _ in 0..sample_rows(names.len()) {
        let Some(Ok(())) = records.next_into(&mut fields) else { break };
        for (i, p) in previews.iter_mut().enumerate() {
            let cell = fields.get(i).map(|f| f.trim().to_owned()).unwrap_or_default();
            let number = dialect.decimal_comma && cell.contains(',') && parse_number(&cell, true).is_some();
            p.sample.push(if number { cell.replacen(',', ".", 1) } else { cell });
        }
    }
    previews
}

fn quote_error(file: &str, row: usize, e: QuoteError) -> BadInput {
    let (what, remedy) = match e {
        QuoteError::Unclosed(_) => {
            ("a quoted field that starts here never ends", "close the quote, or double it if it is part of the text")
        }
        QuoteError::AfterQuote(_) => {
            ("found text after a closing quote, expected a delimiter", "double a quote that is part of the text")
        }
    };
    BadInput::new(file, what).row(row).remedy(remedy)
}

/// The error for the first byte that is not UTF-8.
fn not_utf8(file: &str, bytes: &[u8], delimiter: u8) -> BadInput {
    let at = std::str::from_utf8(bytes).err().map_or(0, |e| e.valid_up_to());
    let before = String::from_utf8_lossy(&bytes[..at]);
    let mut records = Records::new(&before, delimiter);
    let mut fields = Vec::new();
    let mut row = 0;
    while records.next_into(&mut fields).is_some() {
        row += 1;
    }
    if at == 0 || bytes[at - 1] == b'\n' {
        row += 1;
    }
    let byte = bytes.get(at).copied().unwrap_or_default();
    BadInput::new(file, format!("found the byte 0x{byte:02X} at byte {} of the file, expected UTF-8 text", at + 1))
        .row(row)
        .remedy("if it is Latin-1, convert it with: iconv -f LATIN1 -t UTF-8")
}

/// The state of reading the data rows.
struct Reader<'a> {
    file: &'a str,
    dialect: Dialect,
    missing: &'a Missing,
    sinks: Vec<Sink>,
    rows: RowMap,
    /// Rows that the sinks have.
    taken: usize,
    /// In a file of one column: blank lines that are missing cells if a row follows.
    blank_cells: usize,
    names: &'a [String],
}

impl<'a> Reader<'a> {
    /// A reader for another piece of the file, with empty sinks like those of `self`.
    fn fresh(&self) -> Reader<'a> {
        Reader { sinks: self.sinks.iter().map(Sink::fresh).collect(), rows: RowMap::default(), taken: 0, blank_cells: 0, ..*self }
    }

    /// Takes over what `part` has read, unless it cannot follow on what is here: then nothing changes, and the answer is false.
    fn join(&mut self, part: Reader<'a>) -> bool {
        let follows = self.sinks.iter().zip(&part.sinks).all(|(sink, next)| sink.is_like(next));
        if !follows || self.blank_cells > 0 || part.blank_cells > 0 {
            return false;
        }
        for (sink, next) in self.sinks.iter_mut().zip(part.sinks) {
            sink.append(next);
        }
        self.rows.skipped.extend(part.rows.skipped.iter().map(|before| before + self.taken));
        self.taken += part.taken;
        true
    }

    /// Reads a piece of the file, made of whole records.
    fn read(&mut self, block: &'a str) -> Result<(), BadInput> {
        let width = self.names.len();
        let mut records = Records::new(block, self.dialect.delimiter);
        let mut fields: Vec<Cow<'a, str>> = Vec::with_capacity(width);
        while let Some(result) = records.next_into(&mut fields) {
            if let Err(e) = result {
                return Err(quote_error(self.file, self.next_row(), e));
            }
            if fields.is_empty() {
                if width == 1 {
                    self.blank_cells += 1;
                } else {
                    self.rows.skipped.push(self.taken);
                }
                continue;
            }
            for _ in 0..std::mem::take(&mut self.blank_cells) {
                self.record(&[Cow::Borrowed("")])?;
            }
            if fields.len() != width {
                return Err(self.ragged(fields.len()));
            }
            self.record(&fields)?;
        }
        Ok(())
    }

    /// The row in the file that comes next.
    fn next_row(&self) -> usize {
        self.rows.file_row(self.taken) + self.blank_cells
    }

    fn record(&mut self, fields: &[Cow<'_, str>]) -> Result<(), BadInput> {
        for (i, (sink, field)) in self.sinks.iter_mut().zip(fields).enumerate() {
            if matches!(sink, Sink::Skip) {
                continue;
            }
            if let Err(why) = sink.push(field, self.missing, self.dialect.decimal_comma) {
                let row = self.rows.file_row(self.taken);
                let e = BadInput::cell(self.file, row, &self.names[i], field.trim(), &why.expected);
                return Err(why.remedy.into_iter().fold(e, BadInput::remedy));
            }
        }
        self.taken += 1;
        Ok(())
    }

    fn ragged(&self, found: usize) -> BadInput {
        let width = self.names.len();
        let delimiter = match self.dialect.delimiter {
            b'\t' => "a tab".to_owned(),
            c => quoted(&(c as char).to_string()),
        };
        let plural = |n: usize| if n == 1 { "1 field".to_owned() } else { format!("{n} fields") };
        let e = BadInput::new(self.file, format!("found {}, expected {}", plural(found), plural(width))).row(self.next_row());
        e.remedy(format!("the delimiter is {delimiter}; quote a field that contains it"))
    }
}

#[cfg(test)]
#[path = "delimited_tests.rs"]
mod tests;
