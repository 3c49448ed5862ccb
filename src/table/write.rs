//! Tables out: CSV, TSV, Parquet, JSON, JSON lines and text for reading; and files that are whole or not there at all.

use super::error::{BadInput, quoted};
use super::time::{DAY, MISSING, TimeKind, format_time, write_time};
use polars::prelude::{Column, DataFrame, DataType, IntoSeries, NamedFrom, ParquetWriter, Series, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

/// A table to be written: columns of equal length with their names.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Name and cells of each column.
    pub columns: Vec<(String, Values)>,
}

/// The cells of a column.
#[derive(Debug, Clone)]
pub enum Values {
    /// Text; the empty text is missing.
    Text(Vec<Arc<str>>),
    /// Numbers; NaN is missing.
    Number(Vec<f64>),
    /// Whole numbers.
    Integer(Vec<i64>),
    /// Time stamps as in [`super::time`]; [`MISSING`] is missing.
    Time {
        /// Microseconds since 1970-01-01, or integers.
        values: Vec<i64>,
        /// What the values mean.
        kind: TimeKind,
    },
    /// True or false.
    Bool(Vec<bool>),
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated, RFC 4180 quoting, line feeds.
    Csv,
    /// Tab-separated, otherwise as CSV.
    Tsv,
    /// Apache Parquet, zstd.
    Parquet,
    /// One array of objects.
    Json,
    /// One object per line.
    Jsonl,
    /// Aligned columns for a reader.
    Table,
}

/// A text table longer than this shows its first and last rows.
const TEXT_ROWS: usize = 60;

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Table::default()
    }

    /// Adds a column and gives the table back.
    pub fn with(mut self, name: impl Into<String>, values: Values) -> Self {
        self.columns.push((name.into(), values));
        self
    }

    /// The number of rows: that of the shortest column.
    pub fn len(&self) -> usize {
        self.columns.iter().map(|(_, v)| v.len()).min().unwrap_or(0)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Values {
    /// The number of cells.
    pub fn len(&self) -> usize {
        match self {
            Values::Text(v) => v.len(),
            Values::Number(v) => v.len(),
            Values::Integer(v) | Values::Time { values: v, .. } => v.len(),
            Values::Bool(v) => v.len(),
        }
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_text(&self) -> bool {
        matches!(self, Values::Text(_) | Values::Time { kind: TimeKind::Date | TimeKind::DateTime, .. })
    }

    /// Cell `i` in full precision, nothing if missing.
    fn write_cell(&self, out: &mut String, i: usize) {
        match self {
            Values::Text(v) => out.push_str(&v[i]),
            Values::Number(v) => write_number(out, v[i]),
            // Writing into a String cannot fail.
            Values::Integer(v) => write!(out, "{}", v[i]).unwrap_or_default(),
            Values::Time { values, kind } => write_time(out, values[i], *kind),
            Values::Bool(v) => out.push_str(if v[i] { "true" } else { "false" }),
        }
    }
}

impl Format {
    /// The format that the extension of `path` names, if it names one: `.csv`, `.tsv`, `.parquet`, `.pq`, `.json`, `.jsonl`,
    /// `.ndjson`, `.txt`.
    pub fn of_path(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "csv" => Format::Csv,
            "tsv" | "tab" => Format::Tsv,
            "parquet" | "pq" => Format::Parquet,
            "json" => Format::Json,
            "jsonl" | "ndjson" => Format::Jsonl,
            "txt" => Format::Table,
            _ => return None,
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "parquet" => Format::Parquet,
            "json" => Format::Json,
            "jsonl" => Format::Jsonl,
            "table" => Format::Table,
            _ => return Err(format!("{} is no format: expected one of csv, tsv, parquet, json, jsonl, table", quoted(text))),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Parquet => "parquet",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Table => "table",
        })
    }
}

/// The shortest decimal that reads back as `x`, with an exponent beyond 1e16 and below 1e-5; nothing if it is not finite.
pub fn write_number(out: &mut String, x: f64) {
    // Writing into a String cannot fail.
    let _ = match x.abs() {
        _ if !x.is_finite() => Ok(()),
        // Also the negative zero.
        0.0 => out.write_char('0'),
        a if !(1e-5..1e16).contains(&a) => write!(out, "{x:e}"),
        _ => write!(out, "{x}"),
    };
}

/// Writes `table` as `format`. All columns must have the same length; longer ones are cut to the shortest.
///
/// Errors are those of `out`. Cost O(cells).
pub fn write_table(table: &Table, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Csv => delimited(table, b',', out),
        Format::Tsv => delimited(table, b'\t', out),
        Format::Parquet => parquet(table, out),
        Format::Json => json(table, true, out),
        Format::Jsonl => json(table, false, out),
        Format::Table => write_text(table, Some(TEXT_ROWS), out),
    }
}

/// Flushes `line` when it has grown large, so that a write is one system call for many rows.
fn spill(line: &mut String, out: &mut dyn Write) -> io::Result<()> {
    if line.len() > 1 << 16 {
        out.write_all(line.as_bytes())?;
        line.clear();
    }
    Ok(())
}

fn delimited(table: &Table, delimiter: u8, out: &mut dyn Write) -> io::Result<()> {
    let mark = delimiter as char;
    let mut text = String::new();
    let mut cell = String::new();
    let alone = table.columns.len() == 1;
    let put = |text: &mut String, cell: &str| {
        let blank = cell.starts_with(' ') || cell.ends_with(' ');
        // An empty line would be no record.
        if blank || (alone && cell.is_empty()) || cell.contains(['"', '\n', '\r', mark]) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    };
    for (i, (name, _)) in table.columns.iter().enumerate() {
        if i > 0 {
            text.push(mark);
        }
        put(&mut text, name);
    }
    text.push('\n');
    for row in 0..table.len() {
        for (i, (_, values)) in table.columns.iter().enumerate() {
            if i > 0 {
                text.push(mark);
            }
            match values {
                Values::Text(v) => put(&mut text, &v[row]),
                _ if alone => {
                    cell.clear();
                    values.write_cell(&mut cell, row);
                    put(&mut text, &cell);
                }
                _ => values.write_cell(&mut text, row),
            }
        }
        text.push('\n');
        spill(&mut text, out)?;
    }
    out.write_all(text.as_bytes())
}

fn json(table: &Table, array: bool, out: &mut dyn Write) -> io::Result<()> {
    let keys: Vec<String> = table.columns.iter().map(|(n, _)| serde_json::Value::from(n.as_str()).to_string()).collect();
    let mut text = String::from(if array { "[\n" } else { "" });
    let mut cell = String::new();
    let rows = table.len();
    for row in 0..rows {
        text.push('{');
        for (i, ((_, values), key)) in table.columns.iter().zip(&keys).enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(key);
            text.push(':');
            cell.clear();
            values.write_cell(&mut cell, row);
            if cell.is_empty() {
                text.push_str("null");
            } else if values.is_text() {
                text.push_str(&serde_json::Value::from(cell.as_str()).to_string());
            } else {
                text.push_str(&cell);
            }
        }
        text.push('}');
        text.push_str(if array && row + 1 < rows { ",\n" } else { "\n" });
        spill(&mut text, out)?;
    }
    if array {
        text.push_str("]\n");
    }
    out.write_all(text.as_bytes())
}

fn parquet(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let rows = table.len();
    let failed = |e: polars::prelude::PolarsError| io::Error::other(e.to_string());
    let column = |(name, values): &(String, Values)| -> Result<Column, polars::prelude::PolarsError> {
        let name = || name.as_str().into();
        let known = |v: &i64| (*v != MISSING).then_some(*v);
        Ok(match values {
            Values::Text(v) => {
                let cells: Vec<Option<&str>> = v[..rows].iter().map(|t| (!t.is_empty()).then_some(&**t)).collect();
                Series::new(name(), cells)
            }
            Values::Number(v) => {
                let cells: Vec<Option<f64>> = v[..rows].iter().map(|x| x.is_finite().then_some(*x)).collect();
                Series::new(name(), cells)
            }
            Values::Integer(v) => Series::new(name(), &v[..rows]),
            Values::Bool(v) => Series::new(name(), &v[..rows]),
            Values::Time { values, kind } => {
                let cells = values[..rows].iter().map(known);
                match kind {
                    TimeKind::Integer => Series::new(name(), cells.collect::<Vec<_>>()),
                    TimeKind::DateTime => Series::new(name(), cells.collect::<Vec<_>>())
                        .i64()?
                        .clone()
                        .into_datetime(TimeUnit::Microseconds, None)
                        .into_series(),
                    TimeKind::Date => {
                        let days: Vec<Option<i32>> =
                            cells.map(|v| v.and_then(|v| i32::try_from(v.div_euclid(DAY)).ok())).collect();
                        Series::new(name(), days).cast(&DataType::Date)?
                    }
                }
            }
        }
        .into())
    };
    let columns = table.columns.iter().map(column).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut frame = DataFrame::new(rows, columns).map_err(failed)?;
    ParquetWriter::new(out).finish(&mut frame).map_err(failed)?;
    Ok(())
}

/// Writes `table` as aligned text: numbers to the right with about six significant digits and aligned points, text to the left.
/// More than `max_rows` rows are cut in the middle, with a note.
pub fn write_text(table: &Table, max_rows: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let rows = table.len();
    let (head, tail) = match max_rows {
        Some(max) if rows > max => (max.div_ceil(2), max / 2),
        _ => (rows, 0),
    };
    let shown: Vec<usize> = (0..head).chain(rows - tail..rows).collect();
    let mut columns: Vec<(bool, usize, Vec<String>)> = Vec::with_capacity(table.columns.len());
    for (name, values) in &table.columns {
        let cells: Vec<String> = match values {
            Values::Number(v) => aligned_numbers(&shown.iter().map(|i| v[*i]).collect::<Vec<_>>()),
            Values::Time { values, kind } => shown.iter().map(|i| format_time(values[*i], *kind)).collect(),
            _ => shown.iter().map(|i| one_line(values, *i)).collect(),
        };
        let width = cells.iter().map(|c| c.chars().count()).chain([name.chars().count()]).max().unwrap_or(0);
        columns.push((values.is_text() || matches!(values, Values::Bool(_)), width, cells));
    }
    let mut text = String::new();
    let mut line = String::new();
    let push = |text: &mut String, line: &mut String| {
        text.push_str(line.trim_end());
        text.push('\n');
        line.clear();
    };
    let pad = |line: &mut String, cell: &str, (left, width): (bool, usize), i: usize| {
        if i > 0 {
            line.push_str("  ");
        }
        let blanks = width.saturating_sub(cell.chars().count());
        if !left {
            line.extend(std::iter::repeat_n(' ', blanks));
        }
        line.push_str(cell);
        if left {
            line.extend(std::iter::repeat_n(' ', blanks));
        }
    };
    for (i, ((name, _), (left, width, _))) in table.columns.iter().zip(&columns).enumerate() {
        pad(&mut line, name, (*left, *width), i);
    }
    push(&mut text, &mut line);
    for k in 0..shown.len() {
        if tail > 0 && k == head {
            line.push_str(&format!("... {} more rows ...", rows - head - tail));
            push(&mut text, &mut line);
        }
        for (i, (left, width, cells)) in columns.iter().enumerate() {
            pad(&mut line, &cells[k], (*left, *width), i);
        }
        push(&mut text, &mut line);
        spill(&mut text, out)?;
    }
    out.write_all(text.as_bytes())
}

fn one_line(values: &Values, i: usize) -> String {
    let mut cell = String::new();
    values.write_cell(&mut cell, i);
    if cell.contains(char::is_control) { cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() } else { cell }
}

/// Numbers with the same number of decimals: enough for six significant digits of the largest, none that are zero in every cell.
/// Numbers too small or too large for that are written with an exponent.
fn aligned_numbers(v: &[f64]) -> Vec<String> {
    const LARGE: f64 = 1e12;
    let top = v.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x < LARGE).fold(0.0, f64::max);
    let exponent = if top > 0.0 { top.log10().floor() as i32 } else { 0 };
    let decimals = (5 - exponent).clamp(0, 9) as usize;
    let small = 0.5 * 10f64.powi(-(decimals as i32));
    let fixed = |x: f64| x == 0.0 || (x.abs() < LARGE && x.abs() >= small);
    let mut cells: Vec<(bool, String)> = v
        .iter()
        .map(|x| match *x {
            x if !x.is_finite() => (false, String::new()),
            x if fixed(x) => (true, format!("{:.decimals$}", x + 0.0)),
            x => (false, format!("{x:.5e}")),
        })
        .collect();
    if decimals > 0 {
        let zeros = |c: &String| c.bytes().rev().take_while(|b| *b == b'0').count();
        let drop = cells.iter().filter(|c| c.0).map(|c| zeros(&c.1)).min().unwrap_or(0).min(decimals);
        let drop = if drop == decimals { decimals + 1 } else { drop };
        for (_, cell) in cells.iter_mut().filter(|c| c.0) {
            cell.truncate(cell.len() - drop);
        }
    }
    cells.into_iter().map(|c| c.1).collect()
}

/// Temporary files that may still be there: an interrupted program removes them.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the temporary files of unfinished writers. For a program that ends at once.
pub fn remove_unfinished() {
    if let Ok(open) = UNFINISHED.lock() {
        for path in open.iter() {
            // Finished ones have another name by now.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An output file that appears under its name only when it is complete: the bytes go to a temporary file in the same folder, which
/// [`commit`](Self::commit) renames. Dropped before that, nothing remains. Pipes and devices are written directly.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    name: String,
    writer: Target,
}

#[derive(Debug)]
enum Target {
    Temporary(BufWriter<tempfile::NamedTempFile>),
    Direct(BufWriter<File>),
}

impl AtomicFile {
    /// Prepares to write `path`; call it before the work whose result it will hold. Errors: the folder does not exist or cannot be
    /// written, `path` is a folder or a file that must not be written.
    pub fn create(path: impl AsRef<Path>) -> Result<AtomicFile, BadInput> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |e: io::Error| {
            let text = e.to_string().to_lowercase();
            let text =
                text.split(" (os error").next().unwrap_or_default().split(" at path ").next().unwrap_or_default().to_owned();
            BadInput::new(&name, format!("cannot write it: {text}")).remedy("check the path")
        };
        // What stands behind these names may be a file that others write to as well: add to it.
        if path.starts_with("/dev") || path.starts_with("/proc") {
            let file = File::options().append(true).open(path).map_err(failed)?;
            return Ok(AtomicFile { path: path.to_owned(), name, writer: Target::Direct(BufWriter::new(file)) });
        }
        // A link stays, what it points to is replaced.
        let path = if path.is_symlink() { path.canonicalize().unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() };
        let existing = std::fs::metadata(&path).ok();
        if existing.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return Err(failed(io::Error::other("it is a directory")));
        }
        if existing.as_ref().is_some_and(|m| !m.is_file()) {
            let file = File::options().write(true).open(&path).map_err(failed)?;
            return Ok(AtomicFile { path, name, writer: Target::Direct(BufWriter::new(file)) });
        }
        if existing.is_some() {
            // The permission to write counts, not only that of the folder.
            File::options().write(true).open(&path).map_err(failed)?;
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".shoal-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any other program would create it; the mask of the process applies.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(failed)?;
        if let Ok(mut open) = UNFINISHED.lock() {
            open.push(file.path().to_owned());
        }
        if let Some(m) = existing {
            file.as_file().set_permissions(m.permissions()).map_err(failed)?;
        }
        Ok(AtomicFile { path, name, writer: Target::Temporary(BufWriter::with_capacity(1 << 16, file)) })
    }

    /// Puts the file under its name. Errors: the last bytes cannot be written, or the name cannot be taken.
    pub fn commit(self) -> io::Result<()> {
        let failed = |e: io::Error| io::Error::new(e.kind(), format!("{}: cannot write it: {e}", self.name));
        match self.writer {
            Target::Direct(mut w) => w.flush().map_err(failed),
            Target::Temporary(w) => {
                let file = w.into_inner().map_err(|e| failed(e.into_error()))?;
                file.persist(&self.path).map(|_| ()).map_err(|e| failed(e.error))
            }
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Target::Temporary(w) => w.write(bytes),
            Target::Direct(w) => w.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Target::Temporary(w) => w.flush(),
            Target::Direct(w) => w.flush(),
        }
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
