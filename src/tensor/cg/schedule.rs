//! How many terms a CP form of the tensor gets.

use super::CgError;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A rank by number, or as a function of L.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankSchedule {
    /// So many terms.
    Fixed(usize),
    /// 7 L.
    Linear,
    /// 7 L², what the paper trains with.
    Quadratic,
    /// ⌈16 ln²(L + 1)⌉. The published program truncates the logarithm before it multiplies, which gives 0 at L = 1.
    Log,
    /// (L + 1)⁴ = d²: enough for any tensor of this shape.
    Full,
}

/// The names that [`RankSchedule`] is read from.
pub const SCHEDULES: [&str; 4] = ["linear", "quadratic", "log", "full"];

impl RankSchedule {
    /// The rank at L, at least 1 and at most (L + 1)⁴.
    ///
    /// # Errors
    /// A fixed rank of 0, or above (L + 1)⁴, where a smaller one is exact.
    pub fn rank(self, lmax: usize) -> Result<usize, CgError> {
        let full = (lmax + 1).pow(4);
        Ok(match self {
            Self::Fixed(0) => return Err(CgError::RankZero),
            Self::Fixed(rank) if rank > full => return Err(CgError::RankTooLarge { rank, lmax, full }),
            Self::Fixed(rank) => rank,
            Self::Linear => (7 * lmax).clamp(1, full),
            Self::Quadratic => (7 * lmax * lmax).clamp(1, full),
            Self::Log => ((16.0 * ((lmax + 1) as f64).ln().powi(2)).ceil() as usize).clamp(1, full),
            Self::Full => full,
        })
    }
}

impl FromStr for RankSchedule {
    type Err = CgError;

    /// A name of [`SCHEDULES`] or a whole number.
    fn from_str(text: &str) -> Result<Self, CgError> {
        match text {
            "linear" => Ok(Self::Linear),
            "quadratic" => Ok(Self::Quadratic),
            "log" => Ok(Self::Log),
            "full" => Ok(Self::Full),
            number => match number.parse() {
                Ok(0) => Err(CgError::RankZero),
                Ok(rank) => Ok(Self::Fixed(rank)),
                Err(_) => Err(CgError::UnknownSchedule { found: text.to_string() }),
            },
        }
    }
}

impl std::fmt::Display for RankSchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(rank) => write!(f, "{rank}"),
            Self::Linear => f.write_str("linear"),
            Self::Quadratic => f.write_str("quadratic"),
            Self::Log => f.write_str("log"),
            Self::Full => f.write_str("full"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_give_the_ranks_of_the_formulas() {
        let ranks = |s: &str| (1..=6).map(|l| s.parse::<RankSchedule>().unwrap().rank(l).unwrap()).collect::<Vec<_>>();
        assert_eq!(ranks("linear"), [7, 14, 21, 28, 35, 42]);
        assert_eq!(ranks("quadratic"), [7, 28, 63, 112, 175, 252]);
        // 16 ln² of 2, …, 7: 7.69, 19.3, 30.7, 41.4, 51.4, 60.6.
        assert_eq!(ranks("log"), [8, 20, 31, 42, 52, 61]);
        assert_eq!(ranks("full"), [16, 81, 256, 625, 1296, 2401]);
        assert_eq!(ranks("5"), [5; 6]);
        for name in SCHEDULES {
            assert_eq!(name.parse::<RankSchedule>().unwrap().to_string(), name);
            assert_eq!(name.parse::<RankSchedule>().unwrap().rank(0).unwrap(), 1);
        }
    }

    #[test]
    fn ranks_that_make_no_sense_are_refused() {
        assert!(matches!("0".parse::<RankSchedule>(), Err(CgError::RankZero)));
        assert!(matches!(RankSchedule::Fixed(0).rank(2), Err(CgError::RankZero)));
        let error = "cubic".parse::<RankSchedule>().unwrap_err().to_string();
        assert!(error.contains("cubic") && error.contains("quadratic"), "{error}");
        assert!("-3".parse::<RankSchedule>().unwrap_err().to_string().contains("-3"));
        let error = RankSchedule::Fixed(17).rank(1).unwrap_err().to_string();
        assert!(error.contains("17") && error.contains("16"), "{error}");
    }
}
