//! Time stamps: from text of many forms to microseconds since 1970-01-01 (or plain integers), and back.
//!
//! A column is read with one [`Pattern`], chosen from a sample of its cells by [`detect`] or given by the user as a strftime format.
//! The forms are:
//!
//! | pattern | examples |
//! |---|---|
//! | ISO, year first | `2020-01-31`, `1990/1/1 0:00`, `2020-01-31T13:00:00.25+02:00`, `2020-01` |
//! | digits only | `20200131`, `202001311300`, `202001` |
//! | quarters | `2020Q1`, `2020-Q1` |
//! | month by name | `Jan-1-1995`, `1 January 1995`, `Jan 1995` |
//! | year last | `31/1/2020`, `1/31/2020 13:00`, `31.1.2020`: the order of day and month is decided by the whole column |
//! | integers | `1871`, `1`: a year or an index, kept as it is |
//!
//! A UTC offset moves the stamp to UTC.

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The value that stands for a missing time stamp.
pub const MISSING: i64 = i64::MIN;
/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub const DAY: i64 = 24 * HOUR;

/// Days from 0001-01-01 (day 1 of the common era) to 1970-01-01.
const EPOCH_CE: i32 = 719_163;

/// What the numbers of a time column mean, which is also how they are written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeKind {
    /// Microseconds since 1970-01-01, always at midnight; written `2020-01-31`.
    Date,
    /// Microseconds since 1970-01-01 00:00; written `2020-01-31 13:00:00`, with a fraction where there is one.
    DateTime,
    /// A year or an index; written as the number it is.
    Integer,
}

/// The calendar day of `micros`, or `None` beyond the years that chrono knows (about ±262,000).
pub fn date_of(micros: i64) -> Option<NaiveDate> {
    let days = i32::try_from(micros.div_euclid(DAY)).ok()?;
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_CE)?)
}

/// Midnight at the start of `date`, in microseconds since 1970-01-01.
pub fn micros_of(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce() - EPOCH_CE) * DAY
}

/// Appends `value` as text. Cost O(1).
pub fn write_time(out: &mut String, value: i64, kind: TimeKind) {
    // Writing into a String cannot fail.
    let _ = match (kind, value) {
        (_, MISSING) => Ok(()),
        (TimeKind::Integer, v) => write!(out, "{v}"),
        (_, v) => match date_of(v) {
            None => write!(out, "{v}"),
            Some(date) => {
                let _ = write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
                if kind == TimeKind::DateTime {
                    let clock = v.rem_euclid(DAY);
                    let (s, fraction) = (clock / SECOND, clock % SECOND);
                    let _ = write!(out, " {:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
                    if fraction != 0 {
                        let _ = write!(out, ".{fraction:06}");
                    }
                }
                Ok(())
            }
        },
    };
}

/// `value` as text; a missing stamp is the empty string.
pub fn format_time(value: i64, kind: TimeKind) -> String {
    let mut out = String::new();
    write_time(&mut out, value, kind);
    out
}

/// The form of the time stamps of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Year first, `-` or `/` between the parts.
    Iso,
    /// Digits only: YYYYMM, YYYYMMDD, YYYYMMDDhhmm or YYYYMMDDhhmmss.
    Compact,
    /// `2020Q1`.
    Quarter,
    /// The month by its English name.
    MonthName,
    /// Year last; day or month first.
    YearLast,
    /// A year or an index.
    Integer,
    /// Whole numbers of this many nanoseconds since 1970-01-01.
    Epoch(i64),
    /// A strftime format of the user's.
    Strftime(String),
}

impl Pattern {
    /// The pattern of a user's `--time-format`: a strftime format such as `%d/%m/%Y %H:%M`, or `epoch-s`, `epoch-ms`, `epoch-us`,
    /// `epoch-ns` for numbers since 1970-01-01. The error says what is wrong with the format.
    pub fn from_format(format: &str) -> Result<Pattern, String> {
        match format {
            "epoch-s" => return Ok(Pattern::Epoch(1_000_000_000)),
            "epoch-ms" => return Ok(Pattern::Epoch(1_000_000)),
            "epoch-us" => return Ok(Pattern::Epoch(1000)),
            "epoch-ns" => return Ok(Pattern::Epoch(1)),
            _ => {}
        }
        let mut fields = 0;
        for item in StrftimeItems::new(format) {
            match item {
                Item::Error => return Err(format!("{} is not a strftime format", super::error::quoted(format))),
                Item::Numeric(..) | Item::Fixed(..) => fields += 1,
                _ => {}
            }
        }
        if fields == 0 {
            return Err(format!(
                "{} has no date field: expected a strftime format such as %d/%m/%Y, or epoch-ms",
                super::error::quoted(format)
            ));
        }
        Ok(Pattern::Strftime(format.to_owned()))
    }

    /// What to call a cell of this form in an error message.
    pub fn expected(&self) -> String {
        match self {
            Pattern::Iso => "a time stamp such as 2020-01-31 or 2020-01-31 13:00".into(),
            Pattern::Compact => "a date such as 20200131".into(),
            Pattern::Quarter => "a quarter such as 2020Q1".into(),
            Pattern::MonthName => "a date such as Jan-31-2020".into(),
            Pattern::YearLast => "a date such as 31/1/2020".into(),
            Pattern::Integer => "a whole number".into(),
            Pattern::Epoch(_) => "a whole number since 1970".into(),
            Pattern::Strftime(f) => format!("a time stamp of the form {f}"),
        }
    }

    /// Reads one cell (no blanks around it).
    fn read(&self, text: &str) -> Option<Stamp> {
        let b = text.as_bytes();
        match self {
            Pattern::Iso => iso(b),
            Pattern::Compact => compact(b),
            Pattern::Quarter => quarter(b),
            Pattern::MonthName => month_name(text),
            Pattern::YearLast => year_last(b),
            Pattern::Integer => whole(text).map(|n| Stamp { value: n, clock: false, zoned: false }),
            Pattern::Epoch(unit) => {
                let nanos = i128::from(whole(text)?) * i128::from(*unit);
                let value = i64::try_from(nanos.div_euclid(1000)).ok()?;
                date_of(value)?;
                Some(Stamp { value, clock: value.rem_euclid(DAY) != 0, zoned: false })
            }
            Pattern::Strftime(format) => strftime(text, format),
        }
    }
}

/// One stamp as read: its value, whether it had a time of day, whether it had a UTC offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    value: i64,
    clock: bool,
    zoned: bool,
}

/// The pattern that reads at least half of the sample's cells (empty ones left out), and whether it reads all of them. Cells that are
/// plain integers are dates only if every one of them is a valid YYYYMMDD, YYYYMM, ... of the years 1700-2299.
pub fn detect<'a>(sample: impl Iterator<Item = &'a str> + Clone) -> Option<(Pattern, bool)> {
    let cells = || sample.clone().map(str::trim).filter(|c| !c.is_empty());
    let total = cells().count();
    if total == 0 {
        return None;
    }
    if cells().all(|c| compact(c.as_bytes()).is_some_and(|_| matches!(&c[..2], "17" | "18" | "19" | "20" | "21" | "22"))) {
        return Some((Pattern::Compact, true));
    }
    let tries = [Pattern::Iso, Pattern::YearLast, Pattern::MonthName, Pattern::Quarter, Pattern::Integer];
    let (hits, pattern) = tries
        .into_iter()
        .map(|p| (cells().filter(|c| p.read(c).is_some()).count(), p))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (2 * hits >= total && hits > 0).then_some((pattern, hits == total))
}

/// Reads the cells of one column.
#[derive(Debug, Clone)]
pub struct TimeReader {
    pattern: Pattern,
    clock: bool,
    zoned: bool,
    naive: bool,
    /// Year last: position and text of the first cell that can only be day first, and only month first.
    day_first: Option<usize>,
    month_first: Option<usize>,
    dotted: bool,
    count: usize,
}

/// Why the cells of a column do not make a time column together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeConflict {
    /// Every cell can be read day first and month first.
    Ambiguous,
    /// The cell at the first position is day first, that at the second month first (0-based).
    Mixed(usize, usize),
    /// Some cells have a UTC offset, others have none.
    Offsets,
}

impl TimeReader {
    /// A reader for cells of this pattern.
    pub fn new(pattern: Pattern) -> Self {
        TimeReader {
            pattern,
            clock: false,
            zoned: false,
            naive: false,
            day_first: None,
            month_first: None,
            dotted: false,
            count: 0,
        }
    }

    /// The pattern that is read.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Reads the next cell, without blanks around it; the empty cell is [`MISSING`], `None` a cell of another form. Values become final with
    /// [`finish`](Self::finish).
    #[inline]
    pub fn read(&mut self, text: &str) -> Option<i64> {
        let position = self.count;
        self.count += 1;
        if text.is_empty() {
            return Some(MISSING);
        }
        let stamp = self.pattern.read(text)?;
        self.clock |= stamp.clock;
        self.zoned |= stamp.zoned;
        self.naive |= !stamp.zoned;
        if self.pattern == Pattern::YearLast {
            let (_, a, b, _) = unpack(stamp.value);
            if a > 12 && self.day_first.is_none() {
                self.day_first = Some(position);
            }
            if b > 12 && self.month_first.is_none() {
                self.month_first = Some(position);
            }
            self.dotted |= text.contains('.') && text.find('.') < text.find(':').or(Some(usize::MAX));
        }
        Some(stamp.value)
    }

    /// Takes over what `next` learned from the cells that follow those read here.
    pub fn append(&mut self, next: &TimeReader) {
        self.clock |= next.clock;
        self.zoned |= next.zoned;
        self.naive |= next.naive;
        self.dotted |= next.dotted;
        self.day_first = self.day_first.or(next.day_first.map(|at| at + self.count));
        self.month_first = self.month_first.or(next.month_first.map(|at| at + self.count));
        self.count += next.count;
    }

    /// Settles the meaning of the values that were read. Returns their kind and whether UTC offsets were applied.
    /// Cost O(n) for dates with the year last, else O(1).
    pub fn finish(&self, values: &mut [i64]) -> Result<(TimeKind, bool), TimeConflict> {
        if self.zoned && self.naive {
            return Err(TimeConflict::Offsets);
        }
        match self.pattern {
            Pattern::Integer => return Ok((TimeKind::Integer, false)),
            Pattern::YearLast => {
                // With dots the day comes first everywhere they are in use.
                let day_first = match (self.day_first, self.month_first) {
                    (Some(d), Some(m)) => return Err(TimeConflict::Mixed(d, m)),
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                    (None, None) if self.dotted => true,
                    (None, None) => return Err(TimeConflict::Ambiguous),
                };
                for (i, v) in values.iter_mut().enumerate().filter(|(_, v)| **v != MISSING) {
                    let (year, a, b, clock) = unpack(*v);
                    let (day, month) = if day_first { (a, b) } else { (b, a) };
                    // Each part was checked when it was read, but not that the month has so many days.
                    let date = NaiveDate::from_ymd_opt(year, month, day).ok_or(TimeConflict::Mixed(i, i))?;
                    *v = micros_of(date) + clock;
                }
            }
            _ => {}
        }
        Ok((if self.clock { TimeKind::DateTime } else { TimeKind::Date }, self.zoned))
    }
}

/// A whole number, also written `1871.0`.
fn whole(text: &str) -> Option<i64> {
    if let Ok(n) = text.parse::<i64>() {
        return (n != MISSING).then_some(n);
    }
    let x: f64 = text.parse().ok()?;
    // Beyond 2^53 a f64 no longer holds every integer.
    (x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0).then_some(x as i64)
}

/// Up to `max` digits at the front: their value and what follows.
fn digits(b: &[u8], max: usize) -> Option<(u32, &[u8])> {
    let n = b.iter().take(max).take_while(|c| c.is_ascii_digit()).count();
    let value = b[..n].iter().fold(0u32, |v, c| v * 10 + u32::from(c - b'0'));
    (n > 0).then_some((value, &b[n..]))
}

/// Exactly `n` digits.
fn exactly(b: &[u8], n: usize) -> Option<u32> {
    let (value, rest) = digits(b, n)?;
    (rest.is_empty() && b.len() == n).then_some(value)
}

fn stamp(year: u32, month: u32, day: u32, clock: Option<Clock>) -> Option<Stamp> {
    let date = micros_of(NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?);
    Some(match clock {
        None => Stamp { value: date, clock: false, zoned: false },
        Some(c) => Stamp { value: date + c.micros - c.offset.unwrap_or(0), clock: true, zoned: c.offset.is_some() },
    })
}

/// A time of day and its UTC offset, in microseconds.
struct Clock {
    micros: i64,
    offset: Option<i64>,
}

/// `H:MM[:SS[.fraction]][ AM|PM][Z|+HH:MM|+HHMM|+HH]`, to the end of the text.
fn clock(b: &[u8]) -> Option<Clock> {
    if let [h0, h1, b':', m0, m1, b':', s0, s1] = b
        && [h0, h1, m0, m1, s0, s1].into_iter().all(u8::is_ascii_digit)
    {
        let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
        let (hour, minute, second) = (two(h0, h1), two(m0, m1), two(s0, s1));
        if hour < 24 && minute < 60 && second < 60 {
            return Some(Clock { micros: hour * HOUR + minute * MINUTE + second * SECOND, offset: None });
        }
    }
    let (mut hour, b) = digits(b, 2)?;
    let (minute, mut b) = match b.strip_prefix(b":") {
        Some(rest) => digits(rest, 2)?,
        // `13Z` or `2020-01-31T13`
        None => (0, b),
    };
    let mut second = 0;
    let mut micros = 0;
    if let Some(rest) = b.strip_prefix(b":") {
        (second, b) = digits(rest, 2)?;
        if let Some(rest) = b.strip_prefix(b".").or_else(|| b.strip_prefix(b",")) {
            let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
            if n == 0 {
                return None;
            }
            // Digits beyond the microsecond are dropped.
            for c in rest[..n].iter().chain(std::iter::repeat(&b'0')).take(6) {
                micros = micros * 10 + i64::from(c - b'0');
            }
            b = &rest[n..];
        }
    }
    let b = b.trim_ascii_start();
    let b = match b.get(..2).map(|h| h.to_ascii_uppercase()) {
        Some(h) if h == b"AM" || h == b"PM" => {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + if h == b"PM" { 12 } else { 0 };
            b[2..].trim_ascii_start()
        }
        _ => b,
    };
    let offset = match b {
        [] => None,
        b"Z" | b"z" | b"UTC" => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (h, rest) = digits(rest, 2)?;
            let m = match rest.strip_prefix(b":").unwrap_or(rest) {
                [] => 0,
                rest => exactly(rest, 2)?,
            };
            if h > 18 || m > 59 {
                return None;
            }
            let micros = i64::from(h) * HOUR + i64::from(m) * MINUTE;
            Some(if *sign == b'-' { -micros } else { micros })
        }
        _ => return None,
    };
    let end_of_day = hour == 24 && minute == 0 && second == 0 && micros == 0;
    if (hour > 23 && !end_of_day) || minute > 59 || second > 59 {
        return None;
    }
    let micros = i64::from(hour) * HOUR + i64::from(minute) * MINUTE + i64::from(second) * SECOND + micros;
    Some(Clock { micros, offset })
}

/// What follows the date: nothing, or a `T` or blanks and a time of day.
fn after_date(b: &[u8]) -> Option<Option<Clock>> {
    match b {
        [] => Some(None),
        [b'T' | b't', rest @ ..] => clock(rest).map(Some),
        [b' ', ..] => clock(b.trim_ascii_start()).map(Some),
        _ => None,
    }
}

fn iso(b: &[u8]) -> Option<Stamp> {
    // The usual form, without the generality below.
    if let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, rest @ ..] = b
        && [y0, y1, y2, y3, m0, m1, d0, d1].into_iter().all(u8::is_ascii_digit)
    {
        let digit = |c: &u8| u32::from(c - b'0');
        let year = digit(y0) * 1000 + digit(y1) * 100 + digit(y2) * 10 + digit(y3);
        return stamp(year, digit(m0) * 10 + digit(m1), digit(d0) * 10 + digit(d1), after_date(rest)?);
    }
    let year = exactly(b.get(..4)?, 4)?;
    let separator = *b.get(4)?;
    if separator != b'-' && separator != b'/' {
        return None;
    }
    let (month, rest) = digits(&b[5..], 2)?;
    let Some(rest) = rest.strip_prefix(&[separator]) else {
        // `2020-01`: the month stands for its first day
        return if rest.is_empty() { stamp(year, month, 1, None) } else { None };
    };
    let (day, rest) = digits(rest, 2)?;
    stamp(year, month, day, after_date(rest)?)
}

fn compact(b: &[u8]) -> Option<Stamp> {
    if !matches!(b.len(), 6 | 8 | 12 | 14) || !b.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let part = |from: usize, n: usize| b.get(from..from + n).and_then(|d| exactly(d, n));
    let (year, month) = (part(0, 4)?, part(4, 2)?);
    let day = part(6, 2).unwrap_or(1);
    let clock = match b.len() {
        12 | 14 => {
            let (h, m, s) = (part(8, 2)?, part(10, 2)?, part(12, 2).unwrap_or(0));
            if h > 23 || m > 59 || s > 59 {
                return None;
            }
            Some(Clock { micros: i64::from(h) * HOUR + i64::from(m) * MINUTE + i64::from(s) * SECOND, offset: None })
        }
        _ => None,
    };
    stamp(year, month, day, clock)
}

fn quarter(b: &[u8]) -> Option<Stamp> {
    let year = exactly(b.get(..4)?, 4)?;
    let rest = &b[4..];
    let rest = rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(b" ")).unwrap_or(rest);
    match rest {
        [b'Q' | b'q', q @ b'1'..=b'4'] => stamp(year, 3 * u32::from(q - b'1') + 1, 1, None),
        _ => None,
    }
}

fn month_name(text: &str) -> Option<Stamp> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    // The time of day starts at the word that holds the first colon.
    let (date, rest) = match text.find(':') {
        Some(colon) => {
            let head = &text.as_bytes()[..colon];
            let start = head.iter().rposition(|c| !c.is_ascii_digit())?;
            (text.get(..start)?, Some(clock(text.as_bytes().get(start + 1..)?)?))
        }
        None => (text, None),
    };
    let (mut year, mut month, mut day) = (None, None, None);
    for word in date.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
        if word.bytes().all(|c| c.is_ascii_digit()) {
            let slot = if word.len() == 4 { &mut year } else { &mut day };
            if slot.replace(digits(word.as_bytes(), 4).filter(|d| d.1.is_empty())?.0).is_some() {
                return None;
            }
        } else {
            let lower = word.to_ascii_lowercase();
            let found = NAMES.iter().position(|n| lower == *n || lower == n[..3] || (lower == "sept" && *n == "september"))?;
            if month.replace(found as u32 + 1).is_some() {
                return None;
            }
        }
    }
    stamp(year?, month?, day.unwrap_or(1), rest)
}

/// Year, first part, second part and time of day in one number, until the whole column has been seen.
fn pack(year: u32, a: u32, b: u32, clock: i64) -> i64 {
    ((i64::from(year) * 100 + i64::from(a)) * 100 + i64::from(b)) * DAY + clock
}

fn unpack(v: i64) -> (i32, u32, u32, i64) {
    let (d, clock) = (v.div_euclid(DAY), v.rem_euclid(DAY));
    ((d / 10_000) as i32, (d / 100 % 100) as u32, (d % 100) as u32, clock)
}

fn year_last(bytes: &[u8]) -> Option<Stamp> {
    let (a, rest) = digits(bytes, 2)?;
    let separator = *rest.first().filter(|c| matches!(c, b'/' | b'-' | b'.'))?;
    let (b, rest) = digits(&rest[1..], 2)?;
    let rest = rest.strip_prefix(&[separator])?;
    let year = exactly(rest.get(..4)?, 4)?;
    // 1..=31 for both and not both above 12; the number of days in the month is checked at the end.
    if !(1..=31).contains(&a) || !(1..=31).contains(&b) || (a > 12 && b > 12) || year == 0 {
        return None;
    }
    let clock = after_date(&rest[4..])?;
    // An offset would have to move the date, which is not known yet.
    if clock.as_ref().is_some_and(|c| c.offset.is_some() || c.micros >= DAY) {
        return None;
    }
    let has_clock = clock.is_some();
    Some(Stamp { value: pack(year, a, b, clock.map_or(0, |c| c.micros)), clock: has_clock, zoned: false })
}

fn strftime(text: &str, format: &str) -> Option<Stamp> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    if let Some(seconds) = parsed.timestamp() {
        let value = seconds.checked_mul(SECOND)?.checked_add(i64::from(parsed.nanosecond().unwrap_or(0) / 1000))?;
        date_of(value)?;
        return Some(Stamp { value, clock: true, zoned: false });
    }
    let date = parsed.to_naive_date().or_else(|_| {
        // A format without a day (or month) means the first one; a week without a day has no such reading.
        if parsed.isoweek().is_some() || parsed.ordinal().is_some() {
            return parsed.to_naive_date();
        }
        if parsed.month().is_none() {
            let month = parsed.quarter().map_or(1, |q| 3 * i64::from(q) - 2);
            parsed.set_month(month)?;
        }
        parsed.set_day(1)?;
        parsed.to_naive_date()
    });
    let date = micros_of(date.ok()?);
    let has_clock = parsed.hour_mod_12().is_some();
    let mut micros = 0;
    if has_clock {
        if parsed.minute().is_none() {
            parsed.set_minute(0).ok()?;
        }
        let time = parsed.to_naive_time().ok()?;
        micros = chrono::Timelike::num_seconds_from_midnight(&time) as i64 * SECOND
            + i64::from(chrono::Timelike::nanosecond(&time).min(999_999_999) / 1000);
    }
    let offset = parsed.offset();
    let value = date + micros - offset.map_or(0, |s| i64::from(s) * SECOND);
    Some(Stamp { value, clock: has_clock, zoned: offset.is_some() })
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
