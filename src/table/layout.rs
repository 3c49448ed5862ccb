//! Which column of a table plays which part: id, time, values.

use super::error::{BadInput, quoted, suggest_column};
use super::frame::{Missing, Preview, Want, parse_number};
use super::series::{Layout, ReadOptions};
use super::time::{Pattern, detect};
use std::collections::HashSet;

/// The parts that the columns of one file play.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    /// [`Layout::Long`] or [`Layout::Wide`].
    pub layout: Layout,
    /// The column of series ids; only in the long layout.
    pub id: Option<String>,
    /// The time column; without one, rows are numbered from 1.
    pub time: Option<String>,
    /// The columns of values, in file order or that of `--target-col`.
    pub targets: Vec<String>,
    /// What to read each column as.
    pub wants: Vec<Want>,
    /// Columns left out, for a warning.
    pub ignored: Vec<String>,
}

/// A column of one of these names must hold time stamps.
const TIME_NAMES: [&str; 7] = ["ds", "date", "time", "timestamp", "datetime", "date_time", "date-time"];
/// A first column of one of these names holds the time even if it is plain integers.
const INDEX_NAMES: [&str; 12] =
    ["year", "month", "week", "day", "hour", "quarter", "period", "index", "idx", "t", "step", "unnamed: 0"];

/// Decides the parts of the columns of `file`.
///
/// Errors: a named column does not exist, a time column holds no time stamps, no column holds numbers, a long table without a clear
/// value column.
pub(super) fn roles(file: &str, columns: &[Preview], options: &ReadOptions) -> Result<Roles, BadInput> {
    let names = || columns.iter().map(|c| c.name.as_str());
    let has = |name: &str| names().any(|n| n == name);
    let given = options.id_col.iter().chain(&options.time_col).chain(&options.target_cols);
    for wanted in given {
        if !has(wanted) {
            let e = BadInput::new(file, format!("there is no column {}", quoted(wanted)));
            return Err(e.remedy(suggest_column(wanted, names())));
        }
    }
    let long = match options.layout {
        Layout::Long => true,
        Layout::Wide => false,
        Layout::Auto => options.id_col.is_some() || has("unique_id") || (has("ds") && has("y")),
    };
    if !long && let Some(id) = &options.id_col {
        return Err(BadInput::new(file, format!("--id-col {id} needs the long layout, --layout wide was given")));
    }
    if long { long_roles(file, columns, options) } else { wide_roles(file, columns, options) }
}

fn find<'a>(columns: &'a [Preview], name: &str) -> Option<&'a Preview> {
    columns.iter().find(|c| c.name == name)
}

/// The pattern of a column that must be the time.
fn pattern(file: &str, column: &Preview, options: &ReadOptions) -> Result<Pattern, BadInput> {
    if let Some(format) = &options.time_format {
        return Pattern::from_format(format).map_err(|why| BadInput::new("--time-format", why));
    }
    if column.typed_time {
        return Ok(Pattern::Iso);
    }
    if let Some(found) = &column.unreadable {
        return Err(BadInput::new(file, format!("the column holds {found}, expected time stamps")).column(&column.name));
    }
    match detect(cells(column, &options.na)) {
        Some((pattern, _)) => Ok(pattern),
        None => Err(match cells(column, &options.na).find(|c| detect(std::iter::once(*c)).is_none()) {
            Some(bad) => BadInput::new(file, format!("found {}, expected a time stamp such as 2020-01-31", quoted(bad)))
                .remedy("describe the form with --time-format, for example %d.%m.%y, or name another column with --time-col"),
            None => BadInput::new(file, "found only empty cells at the start, expected time stamps"),
        }
        .column(&column.name)),
    }
}

/// The sample's cells that are not missing.
fn cells<'a>(column: &'a Preview, na: &'a [String]) -> impl Iterator<Item = &'a str> + Clone {
    let missing = move |c: &str| Missing::ALWAYS.contains(&c) || na.iter().any(|m| m == c);
    column.sample.iter().map(String::as_str).filter(move |c| !c.is_empty() && !missing(c))
}

fn is_time_name(name: &str) -> bool {
    TIME_NAMES.contains(&name.to_lowercase().as_str())
}

/// The time column of a table whose user named none; `free` says which columns may be it.
fn find_time<'a>(columns: &'a [Preview], options: &ReadOptions, free: &dyn Fn(&str) -> bool) -> Option<&'a Preview> {
    let candidates = || columns.iter().filter(|c| free(&c.name) && c.unreadable.is_none());
    if let Some(named) = candidates().find(|c| is_time_name(&c.name)) {
        return Some(named);
    }
    let typed = candidates().find(|c| {
        c.typed_time || detect(cells(c, &options.na)).is_some_and(|(p, _)| !matches!(p, Pattern::Integer | Pattern::Compact))
    });
    if typed.is_some() {
        return typed;
    }
    // Integers count as time only in the first column, and only beside something else.
    let first = candidates().next().filter(|c| candidates().count() > 1 && columns.first().is_some_and(|f| f.name == c.name))?;
    match detect(cells(first, &options.na))? {
        (Pattern::Compact, true) => Some(first),
        (Pattern::Integer, true) => {
            let named = INDEX_NAMES.contains(&first.name.to_lowercase().as_str());
            (named || is_progression(first)).then_some(first)
        }
        _ => None,
    }
}

/// Whether the sample counts upwards in equal steps, three rows at least.
fn is_progression(column: &Preview) -> bool {
    let numbers: Option<Vec<i64>> = column.sample.iter().map(|c| c.parse().ok()).collect();
    numbers.is_some_and(|n| {
        n.len() >= 3 && {
            let step = n[1].checked_sub(n[0]);
            step.is_some_and(|s| s > 0) && n.windows(2).all(|w| w[1].checked_sub(w[0]) == step)
        }
    })
}

/// How much of the sample is numbers.
#[derive(PartialEq)]
enum Holds {
    Numbers,
    Text,
    Nothing,
}

fn holds(column: &Preview, na: &[String]) -> Holds {
    let (mut numbers, mut all) = (0, 0);
    for cell in cells(column, na) {
        all += 1;
        numbers += usize::from(parse_number(cell, false).is_some());
    }
    match () {
        _ if all == 0 => Holds::Nothing,
        _ if 2 * numbers >= all => Holds::Numbers,
        _ => Holds::Text,
    }
}

fn usable(column: &Preview) -> bool {
    column.unreadable.is_none() && !column.typed_time
}

fn wants(
    file: &str,
    columns: &[Preview],
    options: &ReadOptions,
    id: Option<&str>,
    time: Option<&str>,
    value: &dyn Fn(&Preview) -> Want,
) -> Result<Vec<Want>, BadInput> {
    let want = |c: &Preview| match c.name.as_str() {
        n if Some(n) == id => Ok(Want::Text),
        n if Some(n) == time => pattern(file, c, options).map(Want::Time),
        _ => Ok(value(c)),
    };
    columns.iter().map(want).collect()
}

fn long_roles(file: &str, columns: &[Preview], options: &ReadOptions) -> Result<Roles, BadInput> {
    let id = options.id_col.clone().or_else(|| find(columns, "unique_id").map(|c| c.name.clone()));
    if let [_, second, ..] = options.target_cols.as_slice() {
        return Err(BadInput::new(file, "the long layout has one column of values, two were named")
            .column(second)
            .remedy("name one --target-col, or use --layout wide"));
    }
    let target = options.target_cols.first().cloned().or_else(|| find(columns, "y").map(|c| c.name.clone()));
    let time = match &options.time_col {
        Some(name) => Some(name.clone()),
        None => {
            let free = |n: &str| Some(n) != id.as_deref() && Some(n) != target.as_deref();
            find_time(columns, options, &free).map(|c| c.name.clone())
        }
    };
    let target = match target {
        Some(name) => name,
        None => {
            let free = |c: &&Preview| {
                Some(&c.name) != id.as_ref()
                    && Some(&c.name) != time.as_ref()
                    && usable(c)
                    && holds(c, &options.na) == Holds::Numbers
            };
            let mut candidates = columns.iter().filter(free);
            match (candidates.next(), candidates.next()) {
                (Some(only), None) => only.name.clone(),
                (Some(_), Some(_)) => {
                    let e = BadInput::new(file, "several columns hold numbers, expected one column of values");
                    return Err(e.remedy(format!(
                        "name it with --target-col; {}",
                        suggest_column("", columns.iter().map(|c| c.name.as_str()))
                    )));
                }
                _ => {
                    let e = BadInput::new(file, "there is no column \"y\" of values");
                    return Err(e.remedy(format!(
                        "name it with --target-col; {}",
                        suggest_column("y", columns.iter().map(|c| c.name.as_str()))
                    )));
                }
            }
        }
    };
    distinct(file, &[id.as_deref(), time.as_deref(), Some(&target)])?;
    let value = |c: &Preview| if c.name == target { Want::Number } else { Want::Skip };
    let wants = wants(file, columns, options, id.as_deref(), time.as_deref(), &value)?;
    Ok(Roles { layout: Layout::Long, id, time, targets: vec![target], wants, ignored: Vec::new() })
}

fn wide_roles(file: &str, columns: &[Preview], options: &ReadOptions) -> Result<Roles, BadInput> {
    let free = |n: &str| !options.target_cols.iter().any(|t| t == n);
    let time = match &options.time_col {
        Some(name) => Some(name.clone()),
        None => find_time(columns, options, &free).map(|c| c.name.clone()),
    };
    if let Some(t) = &time {
        for target in &options.target_cols {
            distinct(file, &[Some(t), Some(target)])?;
        }
    }
    let is_time = |c: &Preview| Some(&c.name) == time.as_ref();
    let mut ignored = Vec::new();
    let targets: Vec<String> = if options.target_cols.is_empty() {
        if let Some((c, found)) =
            columns.iter().filter(|c| c.lost_numbers && !is_time(c)).find_map(|c| Some((c, c.unreadable.as_ref()?)))
        {
            let e = BadInput::new(file, format!("the column holds {found}")).column(&c.name);
            return Err(e.remedy("or choose other columns with --target-col"));
        }
        for c in columns.iter().filter(|c| !is_time(c) && (!usable(c) || holds(c, &options.na) == Holds::Text)) {
            ignored.push(c.name.clone());
        }
        let out: HashSet<&String> = ignored.iter().collect();
        columns.iter().map(|c| &c.name).filter(|n| Some(*n) != time.as_ref() && !out.contains(n)).cloned().collect()
    } else {
        options.target_cols.clone()
    };
    if targets.is_empty() {
        let what = match &time {
            Some(t) => format!("there is no column of numbers beside the time column {}", quoted(t)),
            None => "there is no column of numbers".to_owned(),
        };
        let cell = columns.iter().find(|c| !is_time(c)).and_then(|c| Some((c, cells(c, &options.na).next()?)));
        let e = BadInput::new(file, what);
        return Err(match cell {
            Some((c, found)) => e.remedy(format!("column {} holds text such as {}", quoted(&c.name), quoted(found))),
            None => e,
        });
    }
    let chosen: HashSet<&String> = targets.iter().collect();
    let value = |c: &Preview| match chosen.contains(&c.name) {
        false => Want::Skip,
        // A named column must hold numbers; one without a cell so far may turn out to be text.
        true if options.target_cols.is_empty() && holds(c, &options.na) == Holds::Nothing => Want::NumberOrText,
        true => Want::Number,
    };
    let wants = wants(file, columns, options, None, time.as_deref(), &value)?;
    Ok(Roles { layout: Layout::Wide, id: None, time, targets, wants, ignored })
}

/// An error if one column is to play two parts.
fn distinct(file: &str, parts: &[Option<&str>]) -> Result<(), BadInput> {
    for (i, a) in parts.iter().enumerate() {
        if a.is_some() && parts[..i].contains(a) {
            let name = a.unwrap_or_default();
            return Err(
                BadInput::new(file, "the column cannot play two parts: id, time and values are different columns").column(name)
            );
        }
    }
    Ok(())
}
