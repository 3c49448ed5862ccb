//! The spacing of time stamps: [`Freq`], how it is written, inferred, and used to count steps.

use super::time::{DAY, HOUR, MINUTE, MISSING, SECOND, TimeKind, date_of, micros_of};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The distance between consecutive time stamps.
///
/// As text: a number (1 if absent) and a unit: `s`, `min`, `h`, `d`, `b` (business days), `w`, `m` (`ms` first, `me` last day of the
/// month), `q`, `y` (with the same endings), also `us` for microseconds; a bare number is a step of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Freq {
    /// A fixed number of microseconds (seconds to weeks).
    Step(i64),
    /// This many business days, Monday to Friday.
    Business(i64),
    /// This many months, on a given day of the month.
    Months(i64, Anchor),
    /// A step of plain integers.
    Integer(i64),
}

/// The day of the month on which monthly, quarterly and yearly stamps fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// The day of whichever stamp one counts from.
    Any,
    /// The first day.
    Start,
    /// The last day.
    End,
    /// This day, or the last one in a shorter month.
    Day(u32),
}

/// No more time stamps than this are looked at to infer a frequency.
const INFER_LIMIT: usize = 200_000;

impl Freq {
    /// The stamp `k` steps after `t` (before, for a negative `k`), or `None` beyond the calendar. The time of day is kept. Cost O(1).
    pub fn advance(&self, t: i64, k: i64) -> Option<i64> {
        match *self {
            Freq::Step(step) | Freq::Integer(step) => t.checked_add(step.checked_mul(k)?).filter(|v| *v != MISSING),
            Freq::Business(n) => {
                let k = n.checked_mul(k)?;
                let date = date_of(t)?;
                let days = i64::from(date.num_days_from_ce());
                let weekday = i64::from(date.weekday().num_days_from_monday());
                // From a weekend, forwards counts from Friday and backwards from Monday.
                let (days, weekday) = match (weekday > 4, k >= 0) {
                    (false, _) => (days, weekday),
                    (true, true) => (days - (weekday - 4), 4),
                    (true, false) => (days + (7 - weekday), 0),
                };
                let total = weekday.checked_add(k)?;
                let days = days.checked_sub(weekday)?.checked_add(total.div_euclid(5).checked_mul(7)?)? + total.rem_euclid(5);
                let date = NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).ok()?)?;
                Some(micros_of(date) + t.rem_euclid(DAY))
            }
            Freq::Months(n, anchor) => {
                let date = date_of(t)?;
                let month = month_index(date).checked_add(n.checked_mul(k)?)?;
                let day = match anchor {
                    Anchor::Any => date.day(),
                    Anchor::Start => 1,
                    Anchor::End => 31,
                    Anchor::Day(d) => d,
                };
                Some(micros_of(day_in_month(month, day)?) + t.rem_euclid(DAY))
            }
        }
    }

    /// How many steps lie between `a` and `b`; `None` if `b` is not on the grid that starts at `a`. Cost O(1).
    pub fn steps_between(&self, a: i64, b: i64) -> Option<i64> {
        match *self {
            Freq::Step(step) | Freq::Integer(step) => {
                let distance = b.checked_sub(a)?;
                (distance.checked_rem(step)? == 0).then(|| distance / step)
            }
            Freq::Business(n) => {
                if a.rem_euclid(DAY) != b.rem_euclid(DAY) {
                    return None;
                }
                let position = |t: i64| {
                    let date = date_of(t)?;
                    let weekday = i64::from(date.weekday().num_days_from_monday());
                    // Day 1 of the common era was a Monday.
                    (weekday < 5).then(|| (i64::from(date.num_days_from_ce()) - 1).div_euclid(7) * 5 + weekday)
                };
                let distance = position(b)? - position(a)?;
                (distance.checked_rem(n)? == 0).then(|| distance / n)
            }
            Freq::Months(n, _) => {
                let distance = month_index(date_of(b)?) - month_index(date_of(a)?);
                if distance.checked_rem(n)? != 0 {
                    return None;
                }
                let k = distance / n;
                (self.advance(a, k)? == b).then_some(k)
            }
        }
    }

    /// The season lengths, in steps, that this frequency makes likely: shorter first; empty where the calendar suggests none.
    ///
    /// Sub-minute steps: a minute, an hour; 1-4 minutes: an hour, a day; 5 minutes to a day: a day, a week; days: a week; business
    /// days: 5; weeks, months and quarters: a year. A cycle counts if it is a whole number (2 to 2100) of steps; of weeks a year has 52.
    pub fn season_candidates(&self) -> Vec<usize> {
        let cycles: &[i64] = match *self {
            Freq::Step(s) if s < MINUTE => &[MINUTE, HOUR],
            Freq::Step(s) if s < 5 * MINUTE => &[HOUR, DAY],
            Freq::Step(s) if s < DAY => &[DAY, 7 * DAY],
            Freq::Step(s) if s < 7 * DAY => &[7 * DAY],
            Freq::Step(_) => &[364 * DAY],
            Freq::Business(n @ 1..) => return if 5 % n == 0 && n < 5 { vec![(5 / n) as usize] } else { Vec::new() },
            Freq::Months(n @ 1.., _) => return if 12 % n == 0 && n < 12 { vec![(12 / n) as usize] } else { Vec::new() },
            _ => return Vec::new(),
        };
        let step = match *self {
            Freq::Step(s) => s.max(1),
            _ => return Vec::new(),
        };
        cycles.iter().filter(|c| *c % step == 0).map(|c| (c / step) as usize).filter(|m| (2..=2100).contains(m)).collect()
    }

    /// The frequency of the panel whose series have these ascending stamps (no duplicates needed, none missing).
    ///
    /// Months (and their multiples) if all stamps are on the first, the last or the same day of their months at the same time of day
    /// and at least 28 days apart; business days if there are no weekends among daily stamps; else the median step. Gaps do not
    /// disturb it while they are the minority. Cost O(n log n). `None` if no series has two different stamps.
    pub fn infer(series: &[&[i64]], kind: TimeKind) -> Option<Freq> {
        let mut steps = Vec::new();
        let mut used: Vec<&[i64]> = Vec::new();
        for times in series {
            let room = INFER_LIMIT.saturating_sub(steps.len());
            let times = &times[..times.len().min(room + 1)];
            if room == 0 {
                break;
            }
            steps.extend(times.windows(2).filter_map(|w| w[1].checked_sub(w[0])).filter(|d| *d > 0));
            if times.len() > 1 {
                used.push(times);
            }
        }
        let median = lower_median(&mut steps)?;
        if kind == TimeKind::Integer {
            return Some(Freq::Integer(median));
        }
        if median >= 28 * DAY
            && let Some(months) = infer_months(&used)
        {
            return Some(months);
        }
        if median == DAY && is_business(&used) {
            return Some(Freq::Business(1));
        }
        Some(Freq::Step(median))
    }

    /// This frequency with [`Anchor::Any`] settled by the stamps.
    pub fn anchored(self, series: &[&[i64]]) -> Freq {
        match self {
            Freq::Months(n, Anchor::Any) => match infer_anchor(series) {
                Some(anchor) => Freq::Months(n, anchor),
                None => self,
            },
            other => other,
        }
    }
}

fn lower_median(steps: &mut [i64]) -> Option<i64> {
    if steps.is_empty() {
        return None;
    }
    let middle = (steps.len() - 1) / 2;
    Some(*steps.select_nth_unstable(middle).1)
}

/// Months since year 0.
fn month_index(date: NaiveDate) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

/// This day of the month, or its last one.
fn day_in_month(index: i64, day: u32) -> Option<NaiveDate> {
    let year = i32::try_from(index.div_euclid(12)).ok()?;
    let month = index.rem_euclid(12) as u32 + 1;
    (0..4).find_map(|less| NaiveDate::from_ymd_opt(year, month, day.min(31).saturating_sub(less).max(1)))
}

/// The anchor on which every stamp falls, all at one time of day.
fn infer_anchor(series: &[&[i64]]) -> Option<Anchor> {
    let clock = series.iter().find_map(|s| s.first())?.rem_euclid(DAY);
    let (mut start, mut end, mut top) = (true, true, 0);
    for &t in series.iter().flat_map(|s| s.iter()) {
        let date = date_of(t)?;
        if t.rem_euclid(DAY) != clock {
            return None;
        }
        start &= date.day() == 1;
        end &= date.succ_opt()?.day() == 1;
        top = top.max(date.day());
    }
    if start {
        return Some(Anchor::Start);
    }
    if end {
        return Some(Anchor::End);
    }
    let clamped =
        series.iter().flat_map(|s| s.iter()).all(|&t| date_of(t).is_some_and(|d| Some(d) == day_in_month(month_index(d), top)));
    clamped.then_some(Anchor::Day(top))
}

fn infer_months(series: &[&[i64]]) -> Option<Freq> {
    let anchor = infer_anchor(series)?;
    let mut steps = Vec::new();
    for times in series {
        for w in times.windows(2) {
            let distance = month_index(date_of(w[1])?) - month_index(date_of(w[0])?);
            if distance > 0 {
                steps.push(distance);
            }
        }
    }
    Some(Freq::Months(lower_median(&mut steps)?, anchor))
}

/// Whether the stamps skip every weekend that they cross, and cross one.
fn is_business(series: &[&[i64]]) -> bool {
    let mut crossed = false;
    for times in series {
        let mut before: Option<(i64, u32)> = None;
        for &t in times.iter() {
            let Some(weekday) = date_of(t).map(|d| d.weekday().num_days_from_monday()) else { return false };
            if weekday > 4 {
                return false;
            }
            if let Some((t0, w0)) = before {
                crossed |= weekday < w0 || t - t0 >= 7 * DAY;
            }
            before = Some((t, weekday));
        }
    }
    crossed
}

impl fmt::Display for Freq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) = match *self {
            Freq::Integer(n) => return write!(f, "{n}"),
            Freq::Business(n) => (n, "b"),
            Freq::Months(n, anchor) => {
                let (n, unit) = match n {
                    n if n % 12 == 0 => (n / 12, "y"),
                    n if n % 3 == 0 => (n / 3, "q"),
                    n => (n, "m"),
                };
                if n != 1 {
                    write!(f, "{n}")?;
                }
                f.write_str(unit)?;
                return f.write_str(match anchor {
                    Anchor::Start => "s",
                    Anchor::End => "e",
                    Anchor::Any | Anchor::Day(_) => "",
                });
            }
            Freq::Step(s) => [(7 * DAY, "w"), (DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")]
                .into_iter()
                .find(|(size, _)| s % size == 0)
                .map_or((s, "us"), |(size, unit)| (s / size, unit)),
        };
        if n != 1 {
            write!(f, "{n}")?;
        }
        f.write_str(unit)
    }
}

impl FromStr for Freq {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{} is not a frequency: expected a unit s, min, h, d, b, w, m (ms, me), q or y, with a number before it if it is not 1, \
                 such as 15min",
                super::error::quoted(text)
            )
        };
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let n: i64 = if number.is_empty() { 1 } else { number.parse().map_err(|_| bad())? };
        if !(1..=1_000_000_000).contains(&n) {
            return Err(bad());
        }
        let step = |size: i64| n.checked_mul(size).map(Freq::Step).ok_or_else(bad);
        let months = |size: i64, anchor| n.checked_mul(size).map(|n| Freq::Months(n, anchor)).ok_or_else(bad);
        match unit.trim().to_ascii_lowercase().as_str() {
            "" if !number.is_empty() => Ok(Freq::Integer(n)),
            "us" => step(1),
            "s" | "sec" => step(SECOND),
            "min" | "t" => step(MINUTE),
            "h" => step(HOUR),
            "d" => step(DAY),
            "w" => step(7 * DAY),
            "b" => Ok(Freq::Business(n)),
            "m" => months(1, Anchor::Any),
            "ms" => months(1, Anchor::Start),
            "me" => months(1, Anchor::End),
            "q" => months(3, Anchor::Any),
            "qs" => months(3, Anchor::Start),
            "qe" => months(3, Anchor::End),
            "y" | "a" => months(12, Anchor::Any),
            "ys" | "as" => months(12, Anchor::Start),
            "ye" => months(12, Anchor::End),
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for Freq {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Freq> for String {
    fn from(freq: Freq) -> String {
        freq.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::{Pattern, TimeReader, format_time};
    use super::*;
    use proptest::prelude::*;

    fn stamps(text: &[&str]) -> Vec<i64> {
        let mut r = TimeReader::new(Pattern::Iso);
        text.iter().map(|t| r.read(t).unwrap()).collect()
    }

    fn inferred(text: &[&str]) -> String {
        Freq::infer(&[&stamps(text)], TimeKind::DateTime).unwrap().to_string()
    }

    #[test]
    fn infers_the_frequencies_people_have() {
        assert_eq!(inferred(&["1949-01-31", "1949-02-28", "1949-03-31"]), "me");
        assert_eq!(inferred(&["2020-01-01", "2020-02-01", "2020-03-01"]), "ms");
        assert_eq!(inferred(&["2020-01-15", "2020-02-15", "2020-03-15"]), "m");
        assert_eq!(inferred(&["2019-12-30", "2020-01-30", "2020-02-29", "2020-03-30"]), "m");
        assert_eq!(inferred(&["2020-01-01", "2020-04-01", "2020-07-01"]), "qs");
        assert_eq!(inferred(&["2019-12-31", "2020-12-31", "2021-12-31"]), "ye");
        assert_eq!(inferred(&["2019-01-01", "2020-01-01", "2021-01-01"]), "ys");
        assert_eq!(inferred(&["2020-01-01", "2020-01-08", "2020-01-15"]), "w");
        assert_eq!(inferred(&["2020-01-01", "2020-01-29", "2020-02-26"]), "4w");
        assert_eq!(inferred(&["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"]), "b");
        assert_eq!(inferred(&["2020-01-06", "2020-01-07", "2020-01-08"]), "d");
        assert_eq!(inferred(&["2020-01-03", "2020-01-04", "2020-01-05", "2020-01-06"]), "d");
        assert_eq!(inferred(&["2020-01-01 00:00", "2020-01-01 00:15", "2020-01-01 00:30"]), "15min");
        assert_eq!(inferred(&["2020-01-01 00:00:00", "2020-01-01 00:00:04"]), "4s");
        assert_eq!(inferred(&["2020-01-01 00:00", "2020-01-01 01:00"]), "h");
        assert_eq!(inferred(&["2020-01-01 00:00:00", "2020-01-01 00:00:00.5"]), "500000us");
    }

    #[test]
    fn gaps_do_not_change_the_frequency() {
        assert_eq!(inferred(&["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-06", "2020-01-07"]), "d");
        assert_eq!(inferred(&["2020-01-31", "2020-02-29", "2020-06-30", "2020-07-31"]), "me");
        // A business week with a holiday.
        assert_eq!(inferred(&["2020-01-02", "2020-01-03", "2020-01-07", "2020-01-08", "2020-01-09"]), "b");
        assert_eq!(Freq::infer(&[&[1871, 1872, 1875, 1876]], TimeKind::Integer), Some(Freq::Integer(1)));
        assert_eq!(Freq::infer(&[&[5], &[]], TimeKind::Date), None);
        assert_eq!(Freq::infer(&[], TimeKind::Date), None);
    }

    #[test]
    fn months_keep_their_anchor() {
        let step = |freq: &str, from: &str, k| {
            let f: Freq = freq.parse().unwrap();
            format_time(f.advance(stamps(&[from])[0], k).unwrap(), TimeKind::DateTime)
        };
        assert_eq!(step("me", "2020-01-31", 1), "2020-02-29 00:00:00");
        assert_eq!(step("me", "2020-02-29", 12), "2021-02-28 00:00:00");
        assert_eq!(step("me", "2020-02-29", -1), "2020-01-31 00:00:00");
        assert_eq!(step("ms", "2020-12-01 06:00", 1), "2021-01-01 06:00:00");
        assert_eq!(step("qs", "2020-10-01", 2), "2021-04-01 00:00:00");
        assert_eq!(step("y", "2020-02-29", 1), "2021-02-28 00:00:00");
        assert_eq!(step("b", "2020-01-03", 1), "2020-01-06 00:00:00");
        assert_eq!(step("b", "2020-01-03", 6), "2020-01-13 00:00:00");
        assert_eq!(step("b", "2020-01-04", 1), "2020-01-06 00:00:00");
        assert_eq!(step("b", "2020-01-04", -1), "2020-01-03 00:00:00");
        let day30 = Freq::Months(1, Anchor::Day(30));
        let feb = day30.advance(stamps(&["2021-01-30"])[0], 1).unwrap();
        assert_eq!(format_time(day30.advance(feb, 1).unwrap(), TimeKind::Date), "2021-03-30");
    }

    #[test]
    fn off_grid_stamps_have_no_step_count() {
        let t = stamps(&["2020-01-01 00:00", "2020-01-01 01:30", "2020-01-04", "2020-02-02"]);
        assert_eq!("h".parse::<Freq>().unwrap().steps_between(t[0], t[1]), None);
        assert_eq!("b".parse::<Freq>().unwrap().steps_between(t[0], t[2]), None);
        assert_eq!("ms".parse::<Freq>().unwrap().steps_between(t[0], t[3]), None);
        assert_eq!("d".parse::<Freq>().unwrap().steps_between(t[0], t[2]), Some(3));
    }

    #[test]
    fn seasons_of_the_calendar() {
        for (freq, want) in [
            ("s", &[60][..]),
            ("4s", &[15, 900]),
            ("30s", &[2, 120]),
            ("min", &[60, 1440]),
            ("5min", &[288, 2016]),
            ("15min", &[96, 672]),
            ("30min", &[48, 336]),
            ("h", &[24, 168]),
            ("3h", &[8, 56]),
            ("d", &[7]),
            ("2d", &[]),
            ("b", &[5]),
            ("w", &[52]),
            ("2w", &[26]),
            ("m", &[12]),
            ("2m", &[6]),
            ("q", &[4]),
            ("y", &[]),
            ("5m", &[]),
            ("1", &[]),
        ] {
            assert_eq!(freq.parse::<Freq>().unwrap().season_candidates(), want, "{freq}");
        }
    }

    #[test]
    fn text_forms() {
        for text in ["s", "30s", "15min", "h", "d", "b", "w", "m", "ms", "me", "q", "qe", "2y", "ys", "7", "20us", "5b"] {
            assert_eq!(text.parse::<Freq>().unwrap().to_string(), text);
        }
        assert_eq!("60min".parse::<Freq>().unwrap().to_string(), "h");
        assert_eq!("T".parse::<Freq>().unwrap().to_string(), "min");
        assert_eq!("12ms".parse::<Freq>().unwrap().to_string(), "ys");
        for bad in ["", "x", "0d", "-1d", "d2", "99999999999999999999d", "1.5h", "1000000000y"] {
            if bad == "1000000000y" {
                assert!(bad.parse::<Freq>().unwrap().advance(0, 1).is_none());
            } else {
                assert!(bad.parse::<Freq>().is_err(), "{bad}");
            }
        }
    }

    fn any_freq() -> impl Strategy<Value = Freq> {
        prop_oneof![
            (1i64..10_000_000).prop_map(|n| Freq::Step(n * 1000)),
            (1i64..20).prop_map(Freq::Business),
            (1i64..30, 0usize..4, 1u32..=31)
                .prop_map(|(n, a, d)| { Freq::Months(n, [Anchor::Any, Anchor::Start, Anchor::End, Anchor::Day(d)][a]) }),
            (1i64..100).prop_map(Freq::Integer),
        ]
    }

    proptest! {
        #[test]
        fn counting_undoes_advancing(freq in any_freq(), t in -1_000_000_000_000_000i64..4_000_000_000_000_000, k in -300i64..300) {
            // Start on the grid: advancing by 0 moves to the anchor day, a business day must be one.
            let start = match freq {
                Freq::Business(_) => freq.advance(t, 1).unwrap(),
                _ => freq.advance(t, 0).unwrap(),
            };
            let end = freq.advance(start, k).unwrap();
            match freq {
                // Without an anchor a clamped day is forgotten.
                Freq::Months(_, Anchor::Any) if date_of(start).unwrap().day() > 28 => {}
                _ => {
                    prop_assert_eq!(freq.steps_between(start, end), Some(k));
                    prop_assert_eq!(freq.advance(end, -k), Some(start));
                }
            }
        }

        #[test]
        fn a_regular_grid_is_recognised(freq in any_freq(), t in 0i64..2_000_000_000, n in 12usize..60) {
            // Whole seconds keep Step frequencies away from day marks that would be months; those are in the table above.
            let kind = if matches!(freq, Freq::Integer(_)) { TimeKind::Integer } else { TimeKind::DateTime };
            let start = freq.advance(t * SECOND, 1).unwrap();
            let times: Vec<i64> = (0..n as i64).map(|k| freq.advance(start, k).unwrap()).collect();
            let found = Freq::infer(&[&times], kind).unwrap();
            for w in times.windows(2) {
                prop_assert_eq!(found.steps_between(w[0], w[1]).map(|k| k >= 1), match (freq, found) {
                    // Multiples of business days are not a fixed step; they are given with --freq.
                    (Freq::Business(n), Freq::Step(_)) if n > 1 => found.steps_between(w[0], w[1]).map(|k| k >= 1),
                    (Freq::Months(_, Anchor::Any), Freq::Step(_)) => found.steps_between(w[0], w[1]).map(|k| k >= 1),
                    _ => Some(true),
                });
            }
        }

        #[test]
        fn extremes_do_not_panic(freq in any_freq(), t in any::<i64>(), k in any::<i64>()) {
            let _ = freq.advance(t, k);
            let _ = freq.steps_between(t, k);
            let _ = freq.season_candidates();
        }

        #[test]
        fn reading_any_text_does_not_panic(text in "\\PC{0,8}") {
            let _ = text.parse::<Freq>();
        }
    }
}
