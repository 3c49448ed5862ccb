//! The orders of a seasonal ARIMA model: text in, text out, and what they ask of a series.

use crate::forecast::model::FitError;
use std::fmt;
use std::str::FromStr;

/// The orders of `ARIMA(p,d,q)(P,D,Q)[m]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// Autoregressive terms.
    pub p: usize,
    /// Ordinary differences.
    pub d: usize,
    /// Moving-average terms.
    pub q: usize,
    /// Seasonal autoregressive terms, P.
    pub seasonal_p: usize,
    /// Seasonal differences, D.
    pub seasonal_d: usize,
    /// Seasonal moving-average terms, Q.
    pub seasonal_q: usize,
    /// Season length m; 1 means no season.
    pub season: usize,
}

/// Largest lag p + mP or q + mQ: the autocovariances cost its cube.
pub const MAX_LAG: usize = 1000;

impl Default for Order {
    fn default() -> Self {
        Self { p: 0, d: 0, q: 0, seasonal_p: 0, seasonal_d: 0, seasonal_q: 0, season: 1 }
    }
}

impl Order {
    /// Whether any seasonal part is present.
    pub fn is_seasonal(&self) -> bool {
        self.seasonal_p > 0 || self.seasonal_d > 0 || self.seasonal_q > 0
    }

    /// Observations used up by differencing, d + mD.
    pub fn lost(&self) -> usize {
        self.d + self.season * self.seasonal_d
    }

    /// ARMA coefficients, p + q + P + Q.
    pub fn coefficients(&self) -> usize {
        self.p + self.q + self.seasonal_p + self.seasonal_q
    }

    /// Refuses impossible orders: a season of 0, a seasonal part without a season, lags beyond [`MAX_LAG`], more than 4 differences.
    ///
    /// # Errors
    /// [`FitError::Spec`] says which.
    pub fn check(&self) -> Result<(), FitError> {
        if self.season == 0 {
            return Err(FitError::Spec(format!("{self}: the season length must be at least 1")));
        }
        if self.season == 1 && self.is_seasonal() {
            return Err(FitError::Spec(format!("{self}: a seasonal part needs a season length of 2 or more")));
        }
        let reach = |own: usize, seasonal: usize| seasonal.checked_mul(self.season).and_then(|s| s.checked_add(own));
        let lags = [reach(self.p, self.seasonal_p), reach(self.q, self.seasonal_q)];
        if lags.iter().any(|lag| lag.is_none_or(|lag| lag > MAX_LAG)) {
            return Err(FitError::Spec(format!("{self}: AR and MA lags beyond {MAX_LAG} are not supported")));
        }
        if self.d.saturating_add(self.seasonal_d) > 4 || reach(self.d, self.seasonal_d).is_none() {
            return Err(FitError::Spec(format!("{self}: more than 4 differences are not supported")));
        }
        Ok(())
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ARIMA({},{},{})", self.p, self.d, self.q)?;
        if self.is_seasonal() {
            write!(f, "({},{},{})[{}]", self.seasonal_p, self.seasonal_d, self.seasonal_q, self.season)?;
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = FitError;

    /// Reads `p,d,q` or `p,d,q,P,D,Q,m`.
    fn from_str(text: &str) -> Result<Self, FitError> {
        let bad = |why: &str| FitError::Spec(format!("ARIMA order '{text}': {why}; write p,d,q or p,d,q,P,D,Q,m"));
        let mut numbers = Vec::with_capacity(7);
        for part in text.split(',') {
            let part = part.trim();
            numbers.push(part.parse::<usize>().map_err(|_| bad(&format!("'{part}' is not a whole number from 0 up")))?);
        }
        let order = match numbers[..] {
            [p, d, q] => Self { p, d, q, ..Self::default() },
            [p, d, q, seasonal_p, seasonal_d, seasonal_q, season] => Self { p, d, q, seasonal_p, seasonal_d, seasonal_q, season },
            _ => return Err(bad(&format!("{} numbers", numbers.len()))),
        };
        order.check()?;
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let airline: Order = "0,1,1,0,1,1,12".parse().unwrap();
        assert_eq!(airline.to_string(), "ARIMA(0,1,1)(0,1,1)[12]");
        assert_eq!((airline.lost(), airline.coefficients()), (13, 2));
        assert_eq!("1, 1, 1".parse::<Order>().unwrap().to_string(), "ARIMA(1,1,1)");
        // A season without a seasonal part is not shown, as usual in the field.
        assert_eq!("2,0,0,0,0,0,12".parse::<Order>().unwrap().to_string(), "ARIMA(2,0,0)");
    }

    #[test]
    fn bad_text_is_named() {
        for text in ["", "1,1", "1,1,1,1", "-1,0,0", "1,0,x", "0,0,1.5", "0,1,1,0,1,1,1", "0,1,1,0,1,1,0", "0,0,0,0,0,2,99999"] {
            assert!(matches!(text.parse::<Order>(), Err(FitError::Spec(_))), "{text}");
        }
        assert!(format!("{}", "1,a,1".parse::<Order>().unwrap_err()).contains("'a'"));
        let huge = format!("0,0,0,{0},0,0,{0}", usize::MAX);
        assert!(huge.parse::<Order>().is_err());
    }
}
