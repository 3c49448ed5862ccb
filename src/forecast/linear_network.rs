//! The linear forecasters as networks, trained by gradient descent (`--solver adam`).
//!
//! One map from L inputs to H outputs, shared by all channels; `linear.rs` solves the same models exactly, which is faster and at
//! least as good on the training windows. What training adds: early stopping on the validation windows, other losses, quantiles.
//!
//! # Source
//! Zeng et al., Are Transformers Effective for Time Series Forecasting?, AAAI 2023 (Linear, DLinear with a moving average of 25,
//! NLinear); Li et al. 2023 (RLinear: reversible instance normalisation around a linear map, Kim et al. 2022).

use super::linear::LinearKind;
use super::neural::{Batch, Network};
use crate::kernels::elementwise::Activation;
use crate::nn::init::Init;
use crate::nn::{ParamId, Params, Pass, Value, ops};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, bail};
use serde::{Deserialize, Serialize};

/// Window of DLinear's moving average.
const MOVING_AVERAGE: usize = 25;
/// Added to the variance under the root.
const NORM_EPS: f64 = 1e-5;

/// Which linear forecaster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearNetworkConfig {
    pub kind: LinearKind,
    /// Inputs L.
    pub lookback: usize,
    /// Steps ahead H.
    pub horizon: usize,
    /// Outputs per step: 1 for a mean, else one per quantile.
    pub outputs: usize,
}

/// See the module's description.
pub struct LinearNetwork {
    config: LinearNetworkConfig,
    params: Params,
    /// Weight (outputs · H, L) and bias: one map, or season and trend.
    maps: Vec<(ParamId, ParamId)>,
}

impl LinearNetwork {
    /// With freshly drawn weights, U(±1/√L).
    pub fn new(config: LinearNetworkConfig, dtype: DType, streams: &Streams) -> Result<Self> {
        if config.lookback == 0 || config.horizon == 0 || config.outputs == 0 {
            bail!("{config:?}: lookback, horizon and outputs must be 1 or more");
        }
        let mut params = Params::new(dtype, &Device::Cpu);
        let names: &[&str] = if config.kind == LinearKind::Dlinear { &["season", "trend"] } else { &["linear"] };
        let init = Init::FanInUniform { fan_in: config.lookback };
        let out = config.horizon * config.outputs;
        let maps = names
            .iter()
            .map(|name| {
                let weight = params.declare(format!("{name}.weight"), &[out, config.lookback], init, streams)?;
                Ok((weight, params.declare(format!("{name}.bias"), &[out], init, streams)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { config, params, maps })
    }

    /// Season map and trend map of a DLinear, or the one map: (outputs · H, L) weights with their biases, for comparison with
    /// the exact solution.
    pub fn maps(&self) -> &[(ParamId, ParamId)] {
        &self.maps
    }

    fn map(&self, pass: &Pass, i: usize, x: &Value) -> Result<Value> {
        let (weight, bias) = self.maps[i];
        ops::linear(x, &pass.param(weight), Some(&pass.param(bias)), Activation::Identity)
    }
}

impl Network for LinearNetwork {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn forward(&self, pass: &Pass, batch: &Batch) -> Result<Value> {
        let (b, n, l) = batch.x.dims3()?;
        let c = &self.config;
        if l != c.lookback {
            bail!("linear: takes windows of {} steps, got {l}", c.lookback);
        }
        let x = Value::constant(&batch.x);
        let y = match c.kind {
            LinearKind::Linear => self.map(pass, 0, &x)?,
            LinearKind::Dlinear => {
                let (season, trend) = ops::decompose(&x, MOVING_AVERAGE)?;
                ops::add(&self.map(pass, 0, &season)?, &self.map(pass, 1, &trend)?)?
            }
            LinearKind::Nlinear => {
                let last = batch.x.narrow(2, l - 1, 1)?;
                let y = self.map(pass, 0, &batch.x.broadcast_sub(&last)?.into())?;
                let back = last.broadcast_as(y.dims())?.contiguous()?;
                ops::add(&y, &back.into())?
            }
            LinearKind::Rlinear => {
                let (x, statistics) = ops::instance_norm(&x, None, NORM_EPS, false)?;
                ops::instance_denorm(&self.map(pass, 0, &x)?, &statistics, None)?
            }
        };
        // Outputs are step after step within a quantile, so that one moving window serves all of them.
        if c.outputs == 1 {
            return Ok(y);
        }
        ops::permute(&ops::reshape(&y, &[b, n, c.outputs, c.horizon])?, &[0, 1, 3, 2])
    }
}
