//! Calendar features of a time stamp, the inputs "timeF" of the long-horizon benchmarks' deep models.
//!
//! # Source
//! The time features of GluonTS as used by Informer's data loaders and all their descendants (TimeMixer, Time-Series-Library): every
//! feature is a calendar field divided by its largest index, minus one half.

use chrono::{DateTime, Datelike, Timelike};
use serde::{Deserialize, Serialize};

/// The sampling letter that decides which features there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// second, minute, hour, weekday, day, day of the year
    Second,
    /// minute, hour, weekday, day, day of the year
    Minute,
    /// hour, weekday, day, day of the year
    Hour,
    /// weekday, day, day of the year (business days too)
    Day,
    /// day, ISO week
    Week,
    /// month
    Month,
}

impl Sampling {
    /// How many features there are.
    pub fn features(self) -> usize {
        match self {
            Self::Second => 6,
            Self::Minute => 5,
            Self::Hour => 4,
            Self::Day => 3,
            Self::Week => 2,
            Self::Month => 1,
        }
    }
}

/// The features of one time stamp (microseconds since 1970-01-01 00:00), each in [−0.5, 0.5], in the order the enum lists; `None`
/// for a stamp outside the calendar. Monday is weekday 0. Day 366 of a leap year gives 0.5 for the day of the year, the 53rd ISO
/// week 0.5 for the week.
pub fn time_features(micros: i64, sampling: Sampling) -> Option<Vec<f64>> {
    let t = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let share = |index: u32, largest: u32| f64::from(index) / f64::from(largest) - 0.5;
    let second = share(t.second(), 59);
    let minute = share(t.minute(), 59);
    let hour = share(t.hour(), 23);
    let weekday = share(t.weekday().num_days_from_monday(), 6);
    let day = share(t.day0(), 30);
    let day_of_year = share(t.ordinal0(), 365);
    Some(match sampling {
        Sampling::Second => vec![second, minute, hour, weekday, day, day_of_year],
        Sampling::Minute => vec![minute, hour, weekday, day, day_of_year],
        Sampling::Hour => vec![hour, weekday, day, day_of_year],
        Sampling::Day => vec![weekday, day, day_of_year],
        Sampling::Week => vec![day, share(t.iso_week().week() - 1, 52)],
        Sampling::Month => vec![share(t.month0(), 11)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn the_worked_example() {
        let got = time_features(micros("2018-02-20 23:00:00"), Sampling::Hour).unwrap();
        // Printed to eight digits.
        for (g, w) in got.iter().zip([0.5, -0.33333333, 0.13333333, -0.3630137]) {
            assert!((g - w).abs() < 5e-9, "{got:?}");
        }
    }

    #[test]
    fn finer_sampling_prepends_and_everything_stays_inside() {
        for stamp in ["2018-02-20 23:17:41", "2020-12-31 00:00:00", "1969-01-01 12:59:59", "2021-01-03 01:01:01"] {
            let at = |s| time_features(micros(stamp), s).unwrap();
            assert_eq!(at(Sampling::Minute)[1..], at(Sampling::Hour)[..]);
            assert_eq!(at(Sampling::Second)[1..], at(Sampling::Minute)[..]);
            assert_eq!(at(Sampling::Hour)[1..], at(Sampling::Day)[..]);
            for s in [Sampling::Second, Sampling::Week, Sampling::Month] {
                assert!(at(s).iter().all(|v| (-0.5..=0.5).contains(v)), "{stamp}");
            }
        }
        // 2020-12-31 is day 366 and lies in ISO week 53.
        assert_eq!(time_features(micros("2020-12-31 00:00:00"), Sampling::Day).unwrap()[2], 0.5);
        assert_eq!(time_features(micros("2020-12-31 00:00:00"), Sampling::Week).unwrap()[1], 0.5);
        assert_eq!(time_features(i64::MAX, Sampling::Hour), None);
    }
}
