//! When to stop: no better validation score for a number of epochs.

use serde::{Deserialize, Serialize};

/// What a new score means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The best so far; a tie counts as one.
    Improved,
    /// Worse; training stops after `left` more epochs like this.
    Worse { left: usize },
    /// Worse for as many epochs as there is patience.
    Stop,
}

/// The state of early stopping; smaller scores are better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    patience: Option<usize>,
    best: Option<f64>,
    worse: usize,
}

impl EarlyStopping {
    /// Stops after `patience` epochs in a row without a better score (at least one); `None` never stops.
    pub fn new(patience: Option<usize>) -> Self {
        Self { patience, best: None, worse: 0 }
    }

    /// The best score so far.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Takes the score of an epoch. One that is not finite is worse than any.
    pub fn observe(&mut self, score: f64) -> Verdict {
        if score.is_finite() && self.best.is_none_or(|best| score <= best) {
            self.best = Some(score);
            self.worse = 0;
            return Verdict::Improved;
        }
        self.worse += 1;
        match self.patience {
            Some(patience) if self.worse >= patience.max(1) => Verdict::Stop,
            Some(patience) => Verdict::Worse { left: patience - self.worse },
            None => Verdict::Worse { left: usize::MAX },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_epochs_in_a_row() {
        let mut e = EarlyStopping::new(Some(2));
        assert_eq!(e.observe(1.0), Verdict::Improved);
        assert_eq!(e.observe(1.0), Verdict::Improved);
        assert_eq!(e.observe(1.1), Verdict::Worse { left: 1 });
        assert_eq!(e.observe(0.9), Verdict::Improved);
        assert_eq!(e.observe(f64::NAN), Verdict::Worse { left: 1 });
        assert_eq!(e.observe(0.95), Verdict::Stop);
        assert_eq!(e.best(), Some(0.9));
    }

    #[test]
    fn without_patience_nothing_stops_and_nan_is_never_best() {
        let mut e = EarlyStopping::new(None);
        assert_ne!(e.observe(f64::NAN), Verdict::Improved);
        assert_ne!(e.observe(f64::INFINITY), Verdict::Improved);
        assert_eq!(e.best(), None);
        assert!((0..100).all(|_| e.observe(f64::NAN) != Verdict::Stop));
        assert_eq!(EarlyStopping::new(Some(0)).observe(f64::NAN), Verdict::Stop);
    }
}
