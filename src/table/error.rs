//! [`BadInput`]: what is wrong with an input file, where, and what to do about it.

use std::fmt;

/// Input that cannot be used. Its text names the file, the row (1-based; in delimited text the header is row 1), the column, what was
/// found, what was expected and what to do:
/// `prices.csv, row 812, column "y": found "n/a", expected a number (use --na "n/a" to read it as missing)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(Box<Details>);

/// The parts of a [`BadInput`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Details {
    file: String,
    rows: Vec<usize>,
    column: Option<String>,
    what: String,
    remedy: Option<String>,
}

/// The longest piece of a cell that is quoted in a message, in characters.
const QUOTE_LIMIT: usize = 60;

impl BadInput {
    /// `what` is wrong with `file` as a whole; add the place with [`row`](Self::row), [`column`](Self::column).
    pub fn new(file: impl Into<String>, what: impl Into<String>) -> Self {
        BadInput(Box::new(Details { file: file.into(), what: what.into(), ..Details::default() }))
    }

    /// A cell holds `found` where `expected` (such as "a number") is needed.
    pub fn cell(file: impl Into<String>, row: usize, column: impl Into<String>, found: &str, expected: &str) -> Self {
        Self::new(file, format!("found {}, expected {expected}", quoted(found))).row(row).column(column)
    }

    /// Adds a row number (1-based); called twice, the message names both rows.
    pub fn row(mut self, row: usize) -> Self {
        self.0.rows.push(row);
        self
    }

    /// Names the column.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    /// Says what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// The file (or `stdin`) it is about.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The rows it names, in the order in which they were added.
    pub fn rows(&self) -> &[usize] {
        &self.0.rows
    }

    /// The column it names.
    pub fn column_name(&self) -> Option<&str> {
        self.0.column.as_deref()
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.rows.as_slice() {
            [] => {}
            [row] => write!(f, ", row {row}")?,
            [first @ .., last] => {
                let first: Vec<String> = first.iter().map(usize::to_string).collect();
                write!(f, ", rows {} and {last}", first.join(", "))?;
            }
        }
        if let Some(column) = &self.column {
            write!(f, ", column {}", quoted(column))?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(remedy) = &self.remedy {
            write!(f, " ({remedy})")?;
        }
        Ok(())
    }
}

/// `text` in double quotes on one line: control characters escaped, long text cut.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (i, c) in text.chars().enumerate() {
        if i == QUOTE_LIMIT {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The remedy for a column name that does not exist: the nearest name if one is near, and the names there are.
pub fn suggest_column<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let lower = wanted.to_lowercase();
    let near = names
        .clone()
        .map(|n| (strsim::jaro_winkler(&lower, &n.to_lowercase()), n))
        .filter(|(score, _)| *score >= 0.8)
        .fold(None::<(f64, &str)>, |best, next| if best.is_none_or(|b| next.0 > b.0) { Some(next) } else { best });
    let mut all: Vec<&str> = names.collect();
    let more = all.len().saturating_sub(12);
    all.truncate(12);
    let mut list = all.join(", ");
    if more > 0 {
        list.push_str(&format!(", and {more} more"));
    }
    match near {
        Some((_, name)) => format!("did you mean {}? the columns are {list}", quoted(name)),
        None => format!("the columns are {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_contract_says() {
        let e = BadInput::cell("prices.csv", 812, "y", "n/a", "a number").remedy("use --na \"n/a\" to read it as missing");
        assert_eq!(
            e.to_string(),
            "prices.csv, row 812, column \"y\": found \"n/a\", expected a number (use --na \"n/a\" to read it as missing)"
        );
        assert_eq!((e.file(), e.rows(), e.column_name()), ("prices.csv", &[812][..], Some("y")));
    }

    #[test]
    fn names_several_rows() {
        assert_eq!(BadInput::new("a", "x").row(2).row(5).to_string(), "a, rows 2 and 5: x");
        assert_eq!(BadInput::new("a", "x").row(2).row(5).row(9).to_string(), "a, rows 2, 5 and 9: x");
        assert_eq!(BadInput::new("a", "x").to_string(), "a: x");
    }

    #[test]
    fn quoting_keeps_one_short_line() {
        assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
        assert!(quoted(&"x".repeat(5000)).chars().count() < 70);
    }

    #[test]
    fn suggests_a_near_name() {
        let names = ["date", "value"];
        assert!(suggest_column("valeu", names.iter().copied()).starts_with("did you mean \"value\"?"));
        assert!(suggest_column("qqq", names.iter().copied()).starts_with("the columns are date, value"));
    }
}
