//! Where an axis has its marks and what they say: round numbers and calendar steps.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime};

/// One mark of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
    /// Second line, where it changes: the year below months, the date below hours.
    pub context: Option<String>,
}

impl Tick {
    fn plain(at: f64, label: String) -> Tick {
        Tick { at, label, context: None }
    }
}

/// No axis gets more marks than this, whatever its length.
const MOST: usize = 60;

/// `m * 10^exponent` with m in {1, 2, 5}.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    mantissa: f64,
    exponent: i32,
}

impl Step {
    /// The smallest round step of at least `raw` (positive and finite).
    fn at_least(raw: f64) -> Step {
        let mut exponent = raw.log10().floor() as i32;
        // log10 may be off by one just below a power of ten.
        if 10f64.powi(exponent) > raw {
            exponent -= 1;
        }
        let share = raw / 10f64.powi(exponent) * (1.0 - 1e-12);
        match share {
            s if s <= 1.0 => Step { mantissa: 1.0, exponent },
            s if s <= 2.0 => Step { mantissa: 2.0, exponent },
            s if s <= 5.0 => Step { mantissa: 5.0, exponent },
            _ => Step { mantissa: 1.0, exponent: exponent + 1 },
        }
    }

    /// `k` steps, with at most one rounding: 3 steps of 0.1 are 0.3.
    fn times(self, k: f64) -> f64 {
        if self.exponent >= 0 {
            k * self.mantissa * 10f64.powi(self.exponent)
        } else if self.exponent >= -300 {
            k * self.mantissa / 10f64.powi(-self.exponent)
        } else {
            k * self.mantissa * 10f64.powi(self.exponent)
        }
    }
}

/// Round numbers from `lo` to `hi`, at most `most` of them (at least two are tried for), all written in one style.
pub(super) fn number_ticks(lo: f64, hi: f64, most: usize) -> Vec<Tick> {
    ticks_by(lo, hi, most, f64::NEG_INFINITY)
}

/// As [`number_ticks`] with whole numbers only; up to four digits stand without a comma, because they are often years.
pub(super) fn integer_ticks(lo: f64, hi: f64, most: usize) -> Vec<Tick> {
    let mut ticks = ticks_by(lo, hi, most, 1.0);
    if lo.abs().max(hi.abs()) < 1e4 {
        ticks.iter_mut().for_each(|t| t.label = t.label.replace(',', ""));
    }
    ticks
}

fn ticks_by(lo: f64, hi: f64, most: usize, least_step: f64) -> Vec<Tick> {
    if !(lo.is_finite() && hi.is_finite() && lo <= hi) {
        return Vec::new();
    }
    // Halves: the span of two huge numbers of opposite sign would overflow.
    let raw = (hi / 2.0 - lo / 2.0) / most.clamp(1, MOST) as f64 * 2.0;
    let raw = raw.max(least_step);
    if !(raw.is_finite() && raw >= f64::MIN_POSITIVE) {
        return vec![Tick::plain(lo, number_label(lo, lo.abs(), None))];
    }
    let step = Step::at_least(raw);
    let width = step.times(1.0);
    let (first, last) = ((lo / width - 1e-9).ceil(), (hi / width + 1e-9).floor());
    // Above 2^53 neighbouring multiples are no longer told apart.
    if !(width.is_finite() && first.is_finite() && last - first <= 2.0 * MOST as f64 && first.abs().max(last.abs()) < 9e15) {
        return vec![Tick::plain(lo, number_label(lo, lo.abs(), None))];
    }
    let at: Vec<f64> = (0..=(last - first).max(-1.0) as i64).map(|i| step.times(first + i as f64)).collect();
    let at = if last < first { Vec::new() } else { at };
    let largest = at.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    at.into_iter().filter(|v| v.is_finite()).map(|v| Tick::plain(v, number_label(v, largest, Some(step.exponent)))).collect()
}

/// A number as an axis says it. `largest` (the axis' largest magnitude) picks the style, `exponent` (the power of ten of
/// the step) the number of decimals; without it, up to four significant digits.
fn number_label(v: f64, largest: f64, exponent: Option<i32>) -> String {
    if v == 0.0 || !v.is_finite() {
        return "0".to_string();
    }
    let top = largest.log10().floor() as i32;
    let exponent = exponent.unwrap_or(top - 3);
    let group = top.div_euclid(3) * 3;
    if (6..=18).contains(&group) && group - exponent <= 3 {
        let unit = ["M", "G", "T", "P", "E"][(group / 3 - 2).clamp(0, 4) as usize];
        return format!("{}{unit}", grouped(v / 10f64.powi(group), (group - exponent).max(0) as usize));
    }
    if (-4..15).contains(&top) {
        return grouped(v, (-exponent).clamp(0, 12) as usize);
    }
    let digits = (top - exponent).clamp(0, 16) as usize;
    // A mantissa for every mark, with the axis' own power of ten, so that the marks compare at a glance.
    let own = v.abs().log10().floor() as i32;
    let text = format!("{:.*e}", digits.saturating_sub((top - own).max(0) as usize), v);
    text.replace('-', "−")
}

/// A number with a comma every three digits and a true minus sign: `−1,250.5`.
fn grouped(v: f64, decimals: usize) -> String {
    let text = format!("{:.*}", decimals, v.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::with_capacity(text.len() + 8);
    if v < 0.0 {
        out.push('−');
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// A value beside a bar: three significant digits.
pub(super) fn value_label(v: f64) -> String {
    if !v.is_finite() {
        return "n/a".to_string();
    }
    if v == 0.0 {
        return "0".to_string();
    }
    match v.abs().log10().floor() {
        // Whole numbers from a thousand to a million keep all their digits.
        top if (3.0..6.0).contains(&top) => grouped(v, 0),
        top if (-4.0..3.0).contains(&top) => grouped(v, (2.0 - top) as usize),
        top => number_label(v, v.abs(), Some(top as i32 - 2)),
    }
}

/// A count with its thousands separated.
pub(super) fn value_count(n: usize) -> String {
    grouped(n as f64, 0)
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A calendar step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Micros(i64),
    /// Days counted from a Monday.
    Days(i64),
    Months(i64),
}

impl Span {
    fn micros(self) -> f64 {
        match self {
            Span::Micros(n) => n as f64,
            Span::Days(n) => (n * DAY) as f64,
            Span::Months(n) => n as f64 * 30.436875 * DAY as f64,
        }
    }
}

/// Every step from a microsecond to 100,000 years, small to large.
fn spans() -> impl Iterator<Item = Span> {
    let small = (0..6).flat_map(|e| [1, 2, 5].map(|m| Span::Micros(m * 10i64.pow(e))));
    let clock = [1, 2, 5, 10, 15, 30].map(|s| Span::Micros(s * SECOND));
    let minutes = [1, 2, 5, 10, 15, 30].map(|m| Span::Micros(m * MINUTE));
    let hours = [1, 2, 3, 6, 12].map(|h| Span::Micros(h * HOUR));
    let days = [1, 2, 7, 14].map(Span::Days);
    let months = [1, 3, 6].map(Span::Months);
    let years = (0..6).flat_map(|e| [1, 2, 5].map(|m| Span::Months(12 * m * 10i64.pow(e))));
    small.chain(clock).chain(minutes).chain(hours).chain(days).chain(months).chain(years)
}

/// A point in time from microseconds since 1970-01-01, if the calendar reaches that far.
fn moment(micros: f64) -> Option<NaiveDateTime> {
    let reachable = micros.abs() < 8e18;
    if reachable { DateTime::from_timestamp_micros(micros as i64).map(|t| t.naive_utc()) } else { None }
}

fn micros(t: NaiveDateTime) -> f64 {
    t.and_utc().timestamp_micros() as f64
}

/// Calendar marks from `lo` to `hi` (microseconds since 1970): the finest step with at most `most` marks whose labels
/// `fits` accepts.
///
/// When the span holds no mark at all, or lies outside the calendar, `lo` alone is named.
pub(super) fn date_ticks(lo: f64, hi: f64, most: usize, fits: impl Fn(&[Tick]) -> bool) -> Vec<Tick> {
    let (Some(from), Some(to), Some(name)) = (moment(lo.ceil()), moment(hi.floor()), moment(lo.floor())) else {
        let tries = (1..=most.min(MOST)).rev().map(|most| number_ticks(lo, hi, most));
        return tries.into_iter().find(|ticks| fits(ticks)).unwrap_or_default();
    };
    let most = most.clamp(1, MOST);
    for span in spans() {
        if (hi - lo) / span.micros() > most as f64 + 1.0 {
            continue;
        }
        let marks = marks(from, to, span, most + 1);
        if marks.len() > most {
            continue;
        }
        if marks.is_empty() {
            break;
        }
        let ticks = labelled(&marks, span);
        if fits(&ticks) {
            return ticks;
        }
    }
    let format = if name.time() == NaiveTime::MIN { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" };
    vec![Tick::plain(lo, name.format(format).to_string())]
}

/// The first `most` marks of the step in `[from, to]`.
fn marks(from: NaiveDateTime, to: NaiveDateTime, span: Span, most: usize) -> Vec<NaiveDateTime> {
    let mut found = Vec::new();
    let mut next = first_mark(from, span);
    while let Some(at) = next.filter(|&at| at <= to && found.len() < most) {
        if at >= from {
            found.push(at);
        }
        next = match span {
            Span::Micros(n) => at.checked_add_signed(chrono::TimeDelta::microseconds(n)),
            Span::Days(n) => at.checked_add_days(Days::new(n as u64)),
            Span::Months(n) => at.checked_add_months(Months::new(n as u32)),
        };
    }
    found
}

/// The last mark at or before `from`.
fn first_mark(from: NaiveDateTime, span: Span) -> Option<NaiveDateTime> {
    match span {
        Span::Micros(n) => {
            let t = from.and_utc().timestamp_micros();
            DateTime::from_timestamp_micros(t - t.rem_euclid(n)).map(|t| t.naive_utc())
        }
        Span::Days(n) => {
            // 1969-12-29 was a Monday, three days before day 0.
            let day = from.and_utc().timestamp().div_euclid(86_400) + 3;
            let ahead = u64::try_from(day.rem_euclid(n)).ok()?;
            Some(from.date().checked_sub_days(Days::new(ahead))?.and_time(NaiveTime::MIN))
        }
        Span::Months(n) => {
            let month = i64::from(from.year()) * 12 + i64::from(from.month0());
            let month = month - month.rem_euclid(n);
            let date = NaiveDate::from_ymd_opt(i32::try_from(month.div_euclid(12)).ok()?, month.rem_euclid(12) as u32 + 1, 1)?;
            Some(date.and_time(NaiveTime::MIN))
        }
    }
}

fn labelled(marks: &[NaiveDateTime], span: Span) -> Vec<Tick> {
    let (line, context): (&str, Option<&str>) = match span {
        Span::Months(n) if n % 12 == 0 => ("%Y", None),
        Span::Months(_) => ("%b", Some("%Y")),
        Span::Days(_) => ("%-d %b", Some("%Y")),
        Span::Micros(n) if n % MINUTE == 0 => ("%H:%M", Some("%-d %b %Y")),
        Span::Micros(n) if n % SECOND == 0 => ("%H:%M:%S", Some("%-d %b %Y")),
        Span::Micros(n) if n % 1000 == 0 => ("%H:%M:%S%.3f", Some("%-d %b %Y")),
        Span::Micros(_) => ("%H:%M:%S%.6f", Some("%-d %b %Y")),
    };
    let mut last = None;
    marks
        .iter()
        .map(|mark| {
            let context = context.map(|format| mark.format(format).to_string());
            let changed = context.clone().filter(|_| context != last);
            last = context;
            Tick { at: micros(*mark), label: mark.format(line).to_string(), context: changed }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|t| t.label.as_str()).collect()
    }

    fn date(text: &str) -> f64 {
        micros(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap())
    }

    fn dated(from: &str, to: &str, most: usize) -> Vec<Tick> {
        date_ticks(date(from), date(to), most, |_| true)
    }

    #[test]
    fn round_numbers() {
        assert_eq!(labels(&number_ticks(0.0, 1.0, 5)), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&number_ticks(104.0, 622.0, 6)), ["200", "300", "400", "500", "600"]);
        assert_eq!(labels(&number_ticks(-1.3, 1.3, 4)), ["−1", "0", "1"]);
        assert_eq!(labels(&number_ticks(0.0, 12_000.0, 4)), ["0", "5,000", "10,000"]);
        assert_eq!(number_ticks(0.0, 0.5, 5)[3].at, 0.3);
    }

    #[test]
    fn large_and_small_numbers() {
        assert_eq!(labels(&number_ticks(0.0, 2.4e6, 5)), ["0", "0.5M", "1.0M", "1.5M", "2.0M"]);
        assert_eq!(labels(&number_ticks(-3e9, 3e9, 3)), ["−2G", "0", "2G"]);
        assert_eq!(labels(&number_ticks(0.0, 120e6, 3)), ["0", "50M", "100M"]);
        assert_eq!(labels(&number_ticks(0.0, 4e-7, 4)), ["0", "1e−7", "2e−7", "3e−7", "4e−7"]);
        assert_eq!(labels(&number_ticks(0.0, 1.5e-6, 3)), ["0", "5e−7", "1.0e−6", "1.5e−6"]);
        assert_eq!(labels(&number_ticks(0.0, 3e30, 3)), ["0", "1e30", "2e30", "3e30"]);
        // A short stretch far from zero keeps the digits that differ.
        assert_eq!(labels(&number_ticks(1_000_000.0, 1_000_004.0, 4))[1], "1,000,001");
    }

    #[test]
    fn whole_numbers_only() {
        assert_eq!(labels(&integer_ticks(1.0, 3.0, 10)), ["1", "2", "3"]);
        assert_eq!(labels(&integer_ticks(0.0, 1500.0, 5)), ["0", "500", "1000", "1500"]);
        assert_eq!(integer_ticks(0.2, 0.7, 5), []);
    }

    #[test]
    fn degenerate_ranges_do_not_loop() {
        for (lo, hi) in [(f64::MIN, f64::MAX), (1e300, 1e300), (0.0, 5e-324), (1e16, 1e16 + 2.0), (f64::NAN, 1.0), (2.0, 1.0)] {
            for most in [0, 1, 7, usize::MAX] {
                assert!(number_ticks(lo, hi, most).len() <= 2 * MOST + 1);
                assert!(integer_ticks(lo, hi, most).len() <= 2 * MOST + 1);
                assert!(date_ticks(lo, hi, most, |_| false).len() <= 2 * MOST + 1);
            }
        }
    }

    #[test]
    fn years_and_months() {
        assert_eq!(
            labels(&dated("1949-01-31 00:00:00", "1961-12-31 00:00:00", 7)),
            ["1950", "1952", "1954", "1956", "1958", "1960"]
        );
        let months = dated("1959-11-15 00:00:00", "1960-09-01 00:00:00", 5);
        assert_eq!(labels(&months), ["Jan", "Apr", "Jul"]);
        assert_eq!(months.iter().map(|t| t.context.as_deref()).collect::<Vec<_>>(), [Some("1960"), None, None]);
        let halves = dated("1958-05-01 00:00:00", "1960-02-01 00:00:00", 5);
        assert_eq!(labels(&halves), ["Jul", "Jan", "Jul", "Jan"]);
        assert_eq!(
            halves.iter().map(|t| t.context.as_deref()).collect::<Vec<_>>(),
            [Some("1958"), Some("1959"), None, Some("1960")]
        );
    }

    #[test]
    fn weeks_start_on_monday() {
        let weeks = dated("2016-07-01 00:00:00", "2016-08-01 12:00:00", 5);
        assert_eq!(labels(&weeks), ["4 Jul", "11 Jul", "18 Jul", "25 Jul", "1 Aug"]);
        assert_eq!(weeks[0].at, date("2016-07-04 00:00:00"));
    }

    #[test]
    fn hours_and_seconds() {
        let hours = dated("2016-07-01 20:00:00", "2016-07-02 13:00:00", 4);
        assert_eq!(labels(&hours), ["00:00", "06:00", "12:00"]);
        assert_eq!(hours[0].context.as_deref(), Some("2 Jul 2016"));
        let seconds = dated("2016-07-01 20:00:00", "2016-07-01 20:00:03", 4);
        assert_eq!(labels(&seconds), ["20:00:00", "20:00:01", "20:00:02", "20:00:03"]);
    }

    #[test]
    fn before_1970_and_beyond_the_calendar() {
        assert_eq!(labels(&dated("1700-06-01 00:00:00", "1900-01-01 00:00:00", 4)), ["1750", "1800", "1850", "1900"]);
        assert!(!date_ticks(-1e19, 1e19, 5, |_| true).is_empty());
        assert!(date_ticks(-1e19, 1e19, 5, |ticks| ticks.len() < 3).len() < 3);
    }

    #[test]
    fn a_span_without_a_mark_is_named_once() {
        let t = date("2020-02-29 00:00:00");
        assert_eq!(labels(&date_ticks(t + 0.2, t + 0.4, 5, |_| true)), ["2020-02-29"]);
        assert_eq!(labels(&date_ticks(t, t + 1e12, 5, |_| false)), ["2020-02-29"]);
    }

    #[test]
    fn values_have_three_digits() {
        assert_eq!([0.3809, 12.34, 1.2, 987.0].map(value_label), ["0.381", "12.3", "1.20", "987"]);
        assert_eq!(value_label(12_345.0), "12,345");
        assert_eq!(value_label(1.234e7), "12.3M");
        assert_eq!(value_label(0.0), "0");
        assert_eq!(value_label(1e-9), "1.00e−9");
    }
}
