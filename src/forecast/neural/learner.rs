//! A network with its training and validation windows: what the training loop works on.

use super::{Network, WindowSet};
use crate::nn::train::Learner;
use crate::nn::{Params, Pass, Value, ops};
use crate::run::seed::Streams;
use candle_core::{DType, Result, Tensor};
use rand::seq::SliceRandom;
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

/// Windows scored at once, unless a published loader's batches are wanted.
pub(super) const EVALUATION_BATCH: usize = 128;

/// Windows whose mean loss picks the best epoch.
#[derive(Debug, Clone)]
pub struct Validation {
    windows: WindowSet,
    batch: usize,
    /// Leave out the last batch when it is not full.
    whole: bool,
    shuffled: Option<Streams>,
}

impl Validation {
    /// All of them, in their order.
    pub fn new(windows: WindowSet) -> Self {
        Self { windows, batch: EVALUATION_BATCH, whole: false, shuffled: None }
    }

    /// As a published loader gives them: whole batches of `batch` only, and with `shuffled` in a new order after every epoch. This matters
    /// where windows of a batch meet (TimeMixer's published order of calendar features), and for which windows are left out.
    pub fn in_batches(windows: WindowSet, batch: usize, shuffled: Option<Streams>) -> Self {
        Self { windows, batch: batch.max(1), whole: true, shuffled }
    }

    /// The windows' numbers after an epoch.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.windows.len()).collect();
        if let Some(streams) = &self.shuffled {
            all.shuffle(&mut streams.stream("validation", epoch as u64));
        }
        if self.whole {
            all.truncate(all.len() - all.len() % self.batch);
        }
        all
    }
}

/// See the module's description.
pub struct WindowLearner {
    network: Box<dyn Network>,
    train: WindowSet,
    validation: Option<Validation>,
    loss: Loss,
}

impl WindowLearner {
    /// A learner; without validation windows the last epoch is the best.
    pub fn new(network: Box<dyn Network>, train: WindowSet, validation: Option<Validation>, loss: Loss) -> Self {
        Self { network, train, validation, loss }
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

    fn validate(&self, epoch: usize) -> Result<Option<f64>> {
        let Some(validation) = &self.validation else { return Ok(None) };
        let order = validation.order(epoch);
        if order.is_empty() {
            return Ok(None);
        }
        let mut sum = 0.0;
        for some in order.chunks(validation.batch) {
            let (batch, target) = validation.windows.batch(some, self.params().dtype())?;
            let forecast = self.network.forward(&Pass::inference(self.params()), &batch)?;
            let loss = self.loss.for_validation().of(&forecast, &target)?;
            sum += loss.tensor().to_dtype(DType::F64)?.to_scalar::<f64>()? * some.len() as f64;
        }
        Ok(Some(sum / order.len() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::neural::Block;
    use std::sync::Arc;

    #[test]
    fn published_loaders_validate_on_whole_batches_in_a_new_order_every_epoch() {
        let block = Block::new(&[(0..30).map(f64::from).collect()]);
        let windows = WindowSet::new(Arc::new(vec![block]), std::slice::from_ref(&(0..30)), 4, 3, 1);
        assert_eq!(windows.len(), 24);
        assert_eq!(Validation::new(windows.clone()).order(3), (0..24).collect::<Vec<_>>());
        assert_eq!(Validation::in_batches(windows.clone(), 10, None).order(3), (0..20).collect::<Vec<_>>());
        let shuffled = Validation::in_batches(windows.clone(), 10, Some(Streams::new(7)));
        let orders = [shuffled.order(0), shuffled.order(1)];
        assert_ne!(orders[0], orders[1]);
        assert_eq!(orders[0], shuffled.order(0), "a resumed run sees the same");
        for mut order in orders {
            assert_eq!(order.len(), 20);
            order.sort_unstable();
            order.dedup();
            assert!(order.len() == 20 && order[19] < 24);
        }
        assert!(Validation::in_batches(windows, 25, None).order(0).is_empty());
    }
}
