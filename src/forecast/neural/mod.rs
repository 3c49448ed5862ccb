//! Forecasters that are trained by gradient descent: what they share.
//!
//! A [`Network`] maps windows (batch, channels, lookback) to forecasts (batch, channels, horizon, outputs): one output for a mean,
//! or one per quantile. Time is the last axis throughout, so that the products along time run over contiguous memory.

pub mod architecture;
pub mod evaluate;
pub mod fit;
pub mod forecaster;
pub mod learner;
pub mod options;
pub mod windows;

use crate::nn::{Params, Pass, Value};
pub use windows::{Batch, Block, WindowSet};

/// A forecaster with parameters.
pub trait Network {
    /// Its parameters.
    fn params(&self) -> &Params;
    /// Its parameters, to be loaded or restored.
    fn params_mut(&mut self) -> &mut Params;
    /// Forecasts of a batch: (batch, channels, horizon) for one output, (batch, channels, horizon, outputs) for several. `pass` must
    /// have been made from [`Self::params`].
    fn forward(&self, pass: &Pass, batch: &Batch) -> candle_core::Result<Value>;
}
