//! Seasonal ARIMA models by exact Gaussian maximum likelihood, and their automatic choice.
//!
//! `(1 - Σ ar_i B^i)(1 - Σ sar_i B^{mi}) (1-B)^d (1-B^m)^D y_t = c + (1 + Σ ma_i B^i)(1 + Σ sma_i B^{mi}) ε_t`
//!
//! The likelihood is that of the differenced series started in its stationary distribution (the first d + mD observations are
//! conditioned on). `kalman` defines it, `schur` computes it and its gradient in time proportional to n times the longest lag,
//! `estimate` maximises it over a region that keeps the AR part stationary and the MA part invertible (up to and including the
//! unit circle), `auto` chooses orders. Innovation variance and constant are concentrated out.
//!
//! Conventions: `sigma2` is the maximum-likelihood estimate (divisor n - d - mD, no degrees-of-freedom correction); criteria count
//! it as a parameter and use n - d - mD as the number of observations. A constant is the mean for d + D = 0 and the drift per step
//! for d + D = 1. Where a model reproduces a series to rounding, σ² is 0 and the likelihood and its criteria are left out.

mod auto;
mod css;
mod difference;
mod estimate;
mod fitted;
mod kalman;
mod order;
mod polynomial;
mod schur;
mod stationary;
mod stl;
mod unit_root;

pub use auto::{AutoArimaConfig, auto_arima};
pub use order::{MAX_LAG, Order};
pub use unit_root::{KPSS_CRITICAL, SEASONAL_THRESHOLD, kpss, seasonal_strength};

use crate::forecast::model::{FitError, Fitted, check_series};
use estimate::{Estimator, Model, Series};
use fitted::ArimaFit;
use polynomial::{Layout, Region};

/// Whether a model has a constant: a mean (d + D = 0) or a drift (d + D = 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Constant {
    /// A mean when d + D = 0, nothing otherwise: what R's `arima` does.
    #[default]
    Auto,
    /// Never.
    None,
    /// Mean or drift; an error for d + D >= 2, where it would be a polynomial trend of that degree.
    Include,
}

/// Fits one ARIMA order to `y` (n) by exact maximum likelihood.
///
/// The optimum is the best of several descents, polished to the last digits; the MA part may reach the unit circle.
///
/// # Errors
/// [`FitError::Spec`] for impossible orders, [`FitError::NonFinite`] for missing values, [`FitError::TooShort`] when the differenced
/// series has no more values than parameters or than the longest lag, [`FitError::Numerical`] when numbers leave the range of f64.
///
/// # Cost
/// O(n r) per gradient, r = max(p + mP, q + mQ), a few hundred gradients; O(n r²) once.
pub fn fit_arima(y: &[f64], order: &Order, constant: Constant) -> Result<Box<dyn Fitted>, FitError> {
    order.check()?;
    let differences = order.d + order.seasonal_d;
    let constant = match constant {
        Constant::Auto => differences == 0,
        Constant::None => false,
        Constant::Include if differences >= 2 => {
            return Err(FitError::Spec(format!("{order}: no constant with {differences} differences")));
        }
        Constant::Include => true,
    };
    let layout = Layout::new(order);
    let model = Model { constant, region: Region::full(), layout };
    check_series(y, order.lost() + model.parameters().max(model.layout.state()) + 1)?;
    let series = Series::new(y, order);
    if series.is_exact(constant) {
        return Ok(Box::new(ArimaFit::exact(y, *order, constant.then_some(series.mean * series.scale))?));
    }
    let mut estimator = Estimator::default();
    let point = estimator.maximise(&model, &series, &[], usize::MAX);
    let point = estimator.polish(&model, &series, point);
    if !point.f.is_finite() {
        return Err(FitError::Numerical(format!("{order}: the likelihood could not be computed")));
    }
    Ok(Box::new(ArimaFit::new(y, *order, &series, &model, &point)?))
}

#[cfg(test)]
mod tests;
