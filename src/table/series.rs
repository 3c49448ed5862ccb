//! [`Panel`]: the series of one or more tables, each regular and without missing values, ready for a model.

use super::collect::{Grids, Raw, collect};
use super::error::{BadInput, quoted};
use super::frame::{Data, Missing, Want};
use super::freq::Freq;
use super::layout::roles;
use super::regular::{Flaw, check_order, check_steps, full_grid, impute};
use super::source::{Content, Source};
use super::time::{DAY, TimeKind, format_time};
use super::{FrameOptions, Header, read_frame};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How series lie in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Long if there is a column `unique_id` or `--id-col`, or columns `ds` and `y`; else wide.
    #[default]
    Auto,
    /// A time column and one column per series.
    Wide,
    /// One row per observation: id (optional), time, value.
    Long,
}

/// How missing values are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impute {
    /// With the last value before.
    Ffill,
    /// On the straight line between the neighbours; after the last value, with that value.
    Linear,
    /// With zero.
    Zero,
}

/// How tables become a [`Panel`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadOptions {
    /// How series lie in the tables.
    pub layout: Layout,
    /// The column of series ids (long layout); default `unique_id` where there is one.
    pub id_col: Option<String>,
    /// The time column; found by name and content if absent.
    pub time_col: Option<String>,
    /// The columns of values: in the wide layout the channels to take (all columns of numbers if empty), in the long one the single
    /// column of values (default `y`).
    pub target_cols: Vec<String>,
    /// The spacing of the stamps; inferred if absent.
    pub freq: Option<Freq>,
    /// Take rows as consecutive even where stamps are missing or irregular.
    pub allow_gaps: bool,
    /// Put in missing stamps and fill missing values.
    pub impute: Option<Impute>,
    /// More texts that mean a missing value, beside the empty cell, NA, NaN, nan, NULL and null.
    pub na: Vec<String>,
    /// A strftime format of the time column, or `epoch-s`, `epoch-ms`, `epoch-us`, `epoch-ns`.
    pub time_format: Option<String>,
    /// Sort rows by time within each series instead of refusing unsorted ones.
    pub sort: bool,
    /// Whether delimited text has a header.
    pub header: Header,
}

/// One regular series without missing values.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its id: the cell of the id column, or in the wide layout the name of the column.
    pub id: String,
    /// Its time stamps, ascending, shape (n). Series with the same stamps share them.
    pub times: Arc<[i64]>,
    /// Its values, all finite, shape (n).
    pub y: Vec<f64>,
    /// How many of the values were filled in.
    pub imputed: usize,
}

/// The series of one or more tables.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The series, in order of first appearance.
    pub series: Vec<Series>,
    /// The spacing of their stamps.
    pub freq: Freq,
    /// What the stamps are.
    pub kind: TimeKind,
    /// The layout that was found: [`Layout::Wide`] or [`Layout::Long`].
    pub layout: Layout,
    /// What a reader should know: columns left out, leading gaps, moved time zones.
    pub warnings: Vec<String>,
    /// The name of the id column (`unique_id` if there is none).
    pub id_name: String,
    /// The name of the time column (`ds` if there is none).
    pub time_name: String,
    /// The name of the value column (`y` in the wide layout).
    pub target_name: String,
}

/// Filling a grid stops at this many stamps per stamp that is there (and some more): a single wrong year must not fill the memory.
const GRID_LIMIT: usize = 200;

/// Reads tables as one panel.
///
/// Long tables are read as if their rows stood in one file. Wide tables each add their channels; where two files have a channel of
/// the same name, the series are called `file:channel`. Rules:
///
/// - Without a time column, rows are numbered from 1.
/// - In the wide layout a column is a channel if at least half of its first 100 cells (20 in a table of thousands of columns) that are not
///   empty are numbers; a cell further down that is none is an error. Other columns are left out with a warning.
/// - Missing values at the start of a series are left out with its stamps (a series may start late). Missing values later, and
///   missing stamps, are errors unless `impute` fills them; `allow_gaps` takes the rows as consecutive instead.
/// - A column without any value is left out in the wide layout and an error in the long one.
///
/// Errors: whatever makes a table unreadable ([`read_frame`]), unsorted or duplicate stamps, gaps, irregular stamps, missing values;
/// each names the rows. Cost O(n), O(n log n) with `sort`; memory is about the numbers themselves, twice for a moment.
pub fn read_panel(sources: &[Source], options: &ReadOptions) -> Result<Panel, BadInput> {
    let frame_options = FrameOptions { missing: Missing(options.na.clone()), header: options.header };
    let mut tables = Vec::with_capacity(sources.len());
    for source in sources {
        let chosen = RefCell::new(None);
        // Parquet is stored by columns: the values of a long table are read when its stamps are stored away, which saves memory.
        let later = source.content() == Content::Parquet;
        let frame = read_frame(source, &frame_options, &|columns| {
            let roles = roles(source.name(), columns, options)?;
            let mut wants = roles.wants.clone();
            if later && roles.layout == Layout::Long && (roles.id.is_some() || roles.time.is_some()) {
                wants.iter_mut().filter(|w| **w == Want::Number).for_each(|w| *w = Want::Skip);
            }
            *chosen.borrow_mut() = Some(roles);
            Ok(wants)
        })?;
        if let Some(roles) = chosen.into_inner() {
            tables.push((frame, roles));
        }
    }
    let values = |i: usize| {
        let source = &sources[i];
        let frame = read_frame(source, &frame_options, &|columns| {
            let wants = roles(source.name(), columns, options)?.wants;
            Ok(wants.into_iter().map(|w| if w == Want::Number { w } else { Want::Skip }).collect())
        })?;
        match frame.columns.into_iter().next().map(|c| c.data) {
            Some(Data::Number(values)) => Ok(values),
            _ => Err(BadInput::new(source.name(), "there is no column of values")),
        }
    };
    let (raw, grids) = collect(tables, options.sort, &values)?;
    finish(raw, grids, options)
}

/// Checks, trims and fills the series.
fn finish(mut raw: Raw, mut grids: Grids, options: &ReadOptions) -> Result<Panel, BadInput> {
    // Stamps are checked once for all series that share them.
    let mut checked = vec![false; grids.len()];
    for s in 0..raw.series.len() {
        let grid = raw.series[s].grid;
        if !std::mem::replace(&mut checked[grid], true) {
            check_order(grids.get(grid)).map_err(|flaw| stamp_error(&raw, &grids, s, 0, flaw, None))?;
        }
    }
    let freq = frequency(&raw, &grids, options)?;
    if let Freq::Step(step) = freq
        && raw.kind == TimeKind::Date
        && step % DAY != 0
    {
        raw.kind = TimeKind::DateTime;
    }
    let regular: Vec<Result<(), Flaw>> = (0..grids.len()).map(|g| check_steps(grids.get(g), &freq)).collect();
    let mut series = Vec::with_capacity(raw.series.len());
    let (mut late, mut empty): (Vec<(String, usize)>, Vec<String>) = (Vec::new(), Vec::new());
    for s in 0..raw.series.len() {
        let id = raw.series[s].id.clone();
        let grid = raw.series[s].grid;
        let mut y = std::mem::take(&mut raw.series[s].y);
        let Some(start) = y.iter().position(|v| !v.is_nan()) else {
            if raw.layout == Layout::Wide {
                empty.push(id);
                continue;
            }
            let e = BadInput::new(raw.file_of(s, 0), format!("{}every value is missing", raw.label(s))).row(raw.row_of(s, 0).1);
            return Err(e.column(raw.target_of(s)).remedy("leave the series out"));
        };
        if start > 0 {
            y.drain(..start);
            late.push((id.clone(), start));
        }
        let flaw = if start == 0 { regular[grid] } else { check_steps(&grids.get(grid)[start..], &freq) };
        let mut added = None;
        match flaw {
            Ok(()) => {}
            Err(Flaw::Gap { .. }) if options.impute.is_some() => {
                let times = &grids.get(grid)[start..];
                let limit = times.len().saturating_mul(GRID_LIMIT).saturating_add(100_000);
                let Some((filled, from)) = full_grid(times, &freq, limit) else {
                    let e = stamp_error(&raw, &grids, s, start, flaw.unwrap_err(), Some(&freq));
                    return Err(e.remedy("too many to fill in: is there a wrong year, or a wrong --freq?"));
                };
                y = from.iter().map(|f| f.map_or(f64::NAN, |i| y[i])).collect();
                added = Some((filled, from));
            }
            Err(_) if options.allow_gaps => {}
            Err(flaw) => return Err(stamp_error(&raw, &grids, s, start, flaw, Some(&freq))),
        }
        let mut imputed = 0;
        if let Some(how) = options.impute {
            imputed = impute(&mut y, how);
        } else if let Some(hole) = y.iter().position(|v| v.is_nan()) {
            let count = y.iter().filter(|v| v.is_nan()).count();
            let (file, row) = raw.row_of(s, start + hole);
            let also = if count > 1 { format!(" (and {} more in this series)", count - 1) } else { String::new() };
            let e = BadInput::new(file, format!("{}found a missing value{also}, expected a number", raw.label(s)));
            return Err(e.row(row).column(raw.target_of(s)).remedy("use --impute ffill, linear or zero to fill missing values"));
        }
        let times = match added {
            Some((filled, _)) => grids.share(filled),
            None if start == 0 => grids.arc(grid),
            None => {
                let rest = grids.get(grid)[start..].to_vec();
                grids.share(rest)
            }
        };
        series.push(Series { id, times, y, imputed });
    }
    if let [(first, n), ..] = late.as_slice() {
        raw.warnings.push(match late.len() {
            1 => format!("series {} starts with {n} missing values, which were left out", quoted(first)),
            k => {
                format!("{k} series start with missing values, which were left out (the first is {}, {n} values)", quoted(first))
            }
        });
    }
    if !empty.is_empty() {
        raw.warnings.push(format!("left out because every value is missing: {}", short_list(&empty)));
    }
    if series.is_empty() {
        return Err(BadInput::new(raw.file_of(0, 0), "every value is missing, expected numbers"));
    }
    Ok(Panel {
        series,
        freq,
        kind: raw.kind,
        layout: raw.layout,
        warnings: raw.warnings,
        id_name: raw.id_name,
        time_name: raw.time_name,
        target_name: raw.target_name,
    })
}

/// The first names, and how many more.
pub(super) fn short_list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|n| quoted(n)).collect();
    match names.len().saturating_sub(8) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn frequency(raw: &Raw, grids: &Grids, options: &ReadOptions) -> Result<Freq, BadInput> {
    let all: Vec<&[i64]> = (0..grids.len()).map(|g| grids.get(g)).collect();
    let file = || raw.file_of(0, 0);
    match (options.freq, raw.kind) {
        (None, _) => {
            if let Some(freq) = Freq::infer(&all, raw.kind) {
                return Ok(freq);
            }
            if raw.kind == TimeKind::Integer {
                return Ok(Freq::Integer(1));
            }
            let e = BadInput::new(file(), "found one time stamp per series, expected two at least to tell the frequency");
            Err(e.remedy("give it with --freq"))
        }
        (Some(Freq::Integer(n)), TimeKind::Integer) => Ok(Freq::Integer(n)),
        // Years written as integers.
        (Some(Freq::Months(n, _)), TimeKind::Integer) if n % 12 == 0 => Ok(Freq::Integer(n / 12)),
        (Some(freq), TimeKind::Integer) => {
            let what = match raw.numbered {
                true => "there is no time column".to_owned(),
                false => format!("the time column {} holds integers", quoted(&raw.time_name)),
            };
            let e = BadInput::new(file(), format!("{what}, the frequency {freq} needs dates"));
            Err(e.remedy(
                "leave --freq out and give the season length with --season, or say what the integers are with --time-format",
            ))
        }
        (Some(Freq::Integer(n)), _) => {
            let e = BadInput::new(
                file(),
                format!("the time column {} holds dates, the frequency {n} has no unit", quoted(&raw.time_name)),
            );
            Err(e.remedy("give --freq a unit such as d or h"))
        }
        (Some(freq), _) => Ok(freq.anchored(&all)),
    }
}

/// The message for a flaw of the stamps of series `s`, whose positions start `skip` rows into it.
fn stamp_error(raw: &Raw, grids: &Grids, s: usize, skip: usize, flaw: Flaw, freq: Option<&Freq>) -> BadInput {
    let times = grids.get(raw.series[s].grid);
    let stamp = |at: usize| times.get(at + skip).map_or_else(String::new, |t| format_time(*t, raw.kind));
    let label = raw.label(s);
    let at = match flaw {
        Flaw::NoTime(at) | Flaw::Unsorted(at) | Flaw::Duplicate(at) | Flaw::OffGrid(at) | Flaw::Gap { at, .. } => at,
    };
    let (file, row) = raw.row_of(s, skip + at);
    let (file_before, row_before) = raw.row_of(s, skip + at.saturating_sub(1));
    let (before, here) = (stamp(at.saturating_sub(1)), stamp(at));
    let freq = freq.map(Freq::to_string).unwrap_or_default();
    let plural = |n: i64| if n == 1 { "1 step".to_owned() } else { format!("{n} steps") };
    let (what, remedy) = match flaw {
        Flaw::NoTime(_) => ("found no time stamp, expected one".to_owned(), "fill it in or remove the row".to_owned()),
        Flaw::Unsorted(_) => (format!("{here} comes after {before}, expected ascending time stamps"), "use --sort".to_owned()),
        Flaw::Duplicate(_) => {
            let remedy = match raw.layout {
                Layout::Long if raw.numbered_ids => {
                    "remove one of them; if there are several series, name their column with --id-col"
                }
                _ => "remove one of them",
            };
            (format!("the time stamp {here} is there twice"), remedy.to_owned())
        }
        Flaw::Gap { here: missing, total, places, .. } => {
            let all =
                if places > 1 { format!("; {} are missing in {places} places in all", plural(total)) } else { String::new() };
            let verb = if missing == 1 { "is" } else { "are" };
            (
                format!("{} of {freq} {verb} missing between {before} and {here}{all}", plural(missing)),
                "use --impute ffill, linear or zero to fill them, or --allow-gaps to take the rows as consecutive".to_owned(),
            )
        }
        Flaw::OffGrid(_) => (
            format!("from {before} to {here} is no whole number of steps of {freq}"),
            "the series is irregular: give --freq, or use --allow-gaps to take the rows as consecutive".to_owned(),
        ),
    };
    let e = BadInput::new(&file, format!("{label}{what}")).column(&raw.time_name).remedy(remedy);
    match flaw {
        Flaw::NoTime(_) => e.row(row),
        _ if file_before == file => e.row(row_before).row(row),
        _ => e.row(row),
    }
}

macro_rules! words {
    ($type:ident, $what:literal, $($word:literal => $variant:ident),+) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($type::$variant),)+
                    _ => Err(format!("{} is no {}: expected one of {}", quoted(text), $what, [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($type::$variant => $word,)+
                })
            }
        }
    };
}

words!(Layout, "layout", "auto" => Auto, "wide" => Wide, "long" => Long);
words!(Impute, "way to fill", "ffill" => Ffill, "linear" => Linear, "zero" => Zero);

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
