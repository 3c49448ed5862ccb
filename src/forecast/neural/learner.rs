//! A network with its training and validation windows: what the training loop works on.

use super::{Network, WindowSet};
use crate::nn::train::Learner;
use crate::nn::{Params, Pass, Value, ops};
use crate::run::observer::Observer;
use candle_core::{DType, Result, Tensor};
use serde::{Deserialize, Serialize};

/// What training minimises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    Mae,
    /// Squared up to `delta`, absolute beyond.
    Huber { delta: f64 },
    /// Symmetric percentage error, denominator not differentiated.
    Smape,
    /// `time` times the mean squared error plus `frequency` times the mean distance of the spectra over the horizon.
    TimeFrequency { time: f64, frequency: f64 },
    /// Pinball loss of one output per quantile, ascending.
    Pinball { quantiles: Vec<f64> },
}

impl Loss {
    /// The loss of forecasts against targets, a scalar.
    pub fn of(&self, forecast: &Value, target: &Tensor) -> Result<Value> {
        match self {
            Self::Mse => ops::mse(forecast, target),
            Self::Mae => ops::mae(forecast, target),
            Self::Huber { delta } => ops::huber(forecast, target, *delta),
            Self::Smape => ops::smape(forecast, target),
            Self::TimeFrequency { time, frequency } => ops::time_frequency(forecast, target, *time, *frequency),
            Self::Pinball { quantiles } => ops::pinball(forecast, target, quantiles),
        }
    }
}

impl Loss {
    /// What picks the best epoch: the loss itself, or its error over time.
    fn for_validation(&self) -> &Self {
        match self {
            Self::TimeFrequency { .. } => &Self::Mse,
            other => other,
        }
    }
}

/// Windows scored at once.
const EVALUATION_BATCH: usize = 128;

/// See the module's description.
pub struct WindowLearner {
    network: Box<dyn Network>,
    train: WindowSet,
    validation: Option<WindowSet>,
    loss: Loss,
}

impl WindowLearner {
    /// `validation`: windows whose mean loss picks the best epoch.
    pub fn new(network: Box<dyn Network>, train: WindowSet, validation: Option<WindowSet>, loss: Loss) -> Self {
        Self { network, train, validation: validation.filter(|v| !v.is_empty()), loss }
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// The network, out of the learner.
    pub fn into_network(self) -> Box<dyn Network> {
        self.network
    }
}

impl Learner for WindowLearner {
    fn params(&self) -> &Params {
        self.network.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.network.params_mut()
    }

    fn samples(&self) -> usize {
        self.train.len()
    }

    fn loss(&self, pass: &Pass, samples: &[usize]) -> Result<Value> {
        let (batch, target) = self.train.batch(samples, self.params().dtype())?;
        self.loss.of(&self.network.forward(pass, &batch)?, &target)
    }

    fn validate(&self, _: &dyn Observer) -> Result<Option<f64>> {
        let Some(windows) = &self.validation else { return Ok(None) };
        let all: Vec<usize> = (0..windows.len()).collect();
        let mut sum = 0.0;
        for some in all.chunks(EVALUATION_BATCH) {
            let (batch, target) = windows.batch(some, self.params().dtype())?;
            let forecast = self.network.forward(&Pass::inference(self.params()), &batch)?;
            let loss = self.loss.for_validation().of(&forecast, &target)?;
            sum += loss.tensor().to_dtype(DType::F64)?.to_scalar::<f64>()? * some.len() as f64;
        }
        Ok(Some(sum / windows.len() as f64))
    }
}
