//! The training loop: shuffled batches, one optimiser step each, validation after every epoch, early stopping, checkpoints.
//!
//! What a step does depends only on the configuration, the seed and the step number: the order of an epoch is drawn from the stream
//! ("shuffle", epoch), dropout masks from ("dropout", step). So a run that was killed and resumed from any checkpoint gives the
//! same bytes as one that was not.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::early_stopping::{EarlyStopping, Verdict};
use super::optimizer::{Optimizer, OptimizerConfig};
use super::params::{Params, WeightsError};
use super::pass::Pass;
use super::schedule::Schedule;
use super::tape::Value;
use crate::kernels::update::clip_factor;
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use candle_core::{DType, Tensor};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is trained: a model with its data.
pub trait Learner {
    /// The parameters.
    fn params(&self) -> &Params;
    /// The parameters, to be restored or loaded.
    fn params_mut(&mut self) -> &mut Params;
    /// How many training samples there are.
    fn samples(&self) -> usize;
    /// The loss (a scalar) of the training samples with these numbers.
    fn loss(&self, pass: &Pass, samples: &[usize]) -> candle_core::Result<Value>;
    /// The score early stopping watches, smaller is better, after epoch `epoch` (from 0); `None` when there is nothing to validate on.
    fn validate(&self, epoch: usize) -> candle_core::Result<Option<f64>>;
}

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Passes over the training samples.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// Leave out the last batch of an epoch when it is not full.
    pub drop_last: bool,
    /// Draw a new order each epoch; otherwise samples keep theirs.
    pub shuffle: bool,
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Largest L2 norm of the whole gradient; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Epochs without a better validation score before training stops; `None` trains to the end.
    pub patience: Option<usize>,
    /// The seed of order and dropout.
    pub seed: u64,
}

/// Keeps the bytes of a checkpoint in place of the last ones; says why when it cannot.
pub type Keep<'a> = &'a dyn Fn(&[u8]) -> Result<(), String>;

/// Where and how often the state is kept.
#[derive(Clone, Copy, Default)]
pub struct Checkpoints<'a> {
    /// Takes the state; `None` keeps nothing.
    pub keep: Option<Keep<'a>>,
    /// Every so many epochs (1 when zero).
    pub every_epochs: usize,
    /// And whenever this much time has passed since the last one.
    pub every: Option<Duration>,
    /// What is trained on what, in any form: a checkpoint of another task is refused.
    pub task: Option<&'a serde_json::Value>,
}

/// One epoch as it went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// From 1.
    pub epoch: usize,
    /// Mean loss over the samples of the epoch, as they were trained on.
    pub train_loss: f64,
    /// The validation score.
    pub validation: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Whether this was the best so far.
    pub best: bool,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// All epochs are done.
    Epochs,
    /// The validation score did not improve for `patience` epochs.
    Patience,
}

/// How a finished training went. The model holds the weights of the best epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    pub epochs: Vec<EpochRow>,
    /// Steps taken.
    pub steps: u64,
    /// The epoch whose weights were kept, from 1; `None` without validation.
    pub best_epoch: Option<usize>,
    pub stopped: StopReason,
    /// Loss of each of the first 20 steps: for comparing two programs.
    pub first_losses: Vec<f64>,
}

/// Why training did not finish.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Ctrl-C. The state was kept when there is a checkpoint file.
    #[error("training was interrupted after {steps} steps")]
    Interrupted { steps: u64 },
    /// The loss or the gradient became NaN or infinite. The model holds the last good weights: those of the best epoch, or of the
    /// step before when no epoch was validated.
    #[error(
        "the {what} is {value} at step {step} (epoch {epoch}); lower the learning rate (now {learning_rate:.3e}) or clip the gradient"
    )]
    NotFinite { what: &'static str, value: f64, step: u64, epoch: usize, learning_rate: f64 },
    #[error("there is nothing to train on: {samples} samples make no batch of {batch_size}")]
    NoBatch { samples: usize, batch_size: usize },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Everything that changes while training, apart from weights and optimiser moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub epoch: usize,
    pub batch: usize,
    pub step: u64,
    pub loss_sum: f64,
    pub loss_samples: usize,
    pub stopping: EarlyStopping,
    pub best_epoch: Option<usize>,
    pub rows: Vec<EpochRow>,
    pub first_losses: Vec<f64>,
    pub finished: Option<StopReason>,
}

/// Trains `learner`, from a checkpoint when one is given.
///
/// # Errors
/// [`TrainError`]; on `NotFinite` and `Interrupted` the learner's weights are usable.
pub fn train(
    learner: &mut dyn Learner,
    config: &TrainConfig,
    checkpoints: &Checkpoints<'_>,
    resume: Option<Checkpoint>,
    observer: &dyn Observer,
) -> Result<TrainReport, TrainError> {
    let samples = learner.samples();
    let per_epoch = if config.drop_last { samples / config.batch_size } else { samples.div_ceil(config.batch_size) };
    if per_epoch == 0 {
        return Err(TrainError::NoBatch { samples, batch_size: config.batch_size });
    }
    let total = (per_epoch * config.epochs) as u64;
    let streams = Streams::new(config.seed);
    let mut run = Run {
        optimizer: Optimizer::new(config.optimizer, learner.params())?,
        progress: Progress {
            epoch: 0,
            batch: 0,
            step: 0,
            loss_sum: 0.0,
            loss_samples: 0,
            stopping: EarlyStopping::new(config.patience),
            best_epoch: None,
            rows: Vec::new(),
            first_losses: Vec::new(),
            finished: None,
        },
        best: None,
        last_saved: Instant::now(),
    };
    if let Some(checkpoint) = resume {
        run.take_up(checkpoint, learner, config, checkpoints)?;
    }
    observer.start("training", total as usize);
    observer.advance(run.progress.step as usize);
    while run.progress.finished.is_none() && run.progress.epoch < config.epochs {
        let order = epoch_order(samples, run.progress.epoch, config, &streams);
        while run.progress.batch < per_epoch {
            if observer.cancelled() {
                run.save(learner, config, checkpoints)?;
                return Err(TrainError::Interrupted { steps: run.progress.step });
            }
            let from = run.progress.batch * config.batch_size;
            let batch = &order[from..(from + config.batch_size).min(samples)];
            run.step(learner, config, &streams, batch, per_epoch, total)?;
            observer.advance(1);
            if checkpoints.every.is_some_and(|every| run.last_saved.elapsed() >= every) {
                run.save(learner, config, checkpoints)?;
            }
        }
        run.end_epoch(learner, config, observer, total, per_epoch)?;
        let due = run.progress.epoch.is_multiple_of(checkpoints.every_epochs.max(1));
        if due || run.progress.finished.is_some() || run.progress.epoch == config.epochs {
            run.save(learner, config, checkpoints)?;
        }
    }
    observer.finish();
    if let Some(best) = &run.best {
        learner.params_mut().restore(best)?;
    }
    let p = run.progress;
    Ok(TrainReport {
        epochs: p.rows,
        steps: p.step,
        best_epoch: p.best_epoch,
        stopped: p.finished.unwrap_or(StopReason::Epochs),
        first_losses: p.first_losses,
    })
}

/// The order in which epoch `epoch` (from 0) visits the samples.
pub fn epoch_order(samples: usize, epoch: usize, config: &TrainConfig, streams: &Streams) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    if config.shuffle {
        order.shuffle(&mut streams.stream("shuffle", epoch as u64));
    }
    order
}

struct Run {
    optimizer: Optimizer,
    progress: Progress,
    best: Option<BTreeMap<String, Tensor>>,
    last_saved: Instant,
}

impl Run {
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        config: &TrainConfig,
        streams: &Streams,
        batch: &[usize],
        per_epoch: usize,
        total: u64,
    ) -> Result<(), TrainError> {
        let p = &mut self.progress;
        let rate = config.schedule.at(p.step, per_epoch as u64, total);
        let pass = Pass::training(learner.params(), streams, p.step);
        let loss = learner.loss(&pass, batch)?;
        let value = loss.tensor().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?.iter().sum::<f64>();
        let updates = pass.take_updates();
        let gradients = if value.is_finite() { pass.backward(&loss)? } else { Vec::new() };
        drop(loss);
        let norm = if value.is_finite() { self.optimizer.norm(&gradients)? } else { f64::NAN };
        if !(value.is_finite() && norm.is_finite()) {
            let (what, value) = if value.is_finite() { ("gradient's norm", norm) } else { ("loss", value) };
            let (step, epoch) = (p.step + 1, p.epoch + 1);
            if let Some(best) = &self.best {
                learner.params_mut().restore(best)?;
            }
            return Err(TrainError::NotFinite { what, value, step, epoch, learning_rate: rate.lr });
        }
        let factor = config.clip_norm.map(|limit| clip_factor(norm, limit));
        self.optimizer.step(learner.params(), &gradients, rate, factor)?;
        for (buffer, value) in updates {
            learner.params_mut().set(buffer, &value)?;
        }
        if p.first_losses.len() < 20 {
            p.first_losses.push(value);
        }
        p.loss_sum += value * batch.len() as f64;
        p.loss_samples += batch.len();
        p.batch += 1;
        p.step += 1;
        Ok(())
    }

    fn end_epoch(
        &mut self,
        learner: &mut dyn Learner,
        config: &TrainConfig,
        observer: &dyn Observer,
        total: u64,
        per_epoch: usize,
    ) -> Result<(), TrainError> {
        let validation = learner.validate(self.progress.epoch)?;
        let p = &mut self.progress;
        let epoch = p.epoch + 1;
        let verdict = validation.map(|score| p.stopping.observe(score));
        let best = matches!(verdict, Some(Verdict::Improved));
        if best {
            p.best_epoch = Some(epoch);
            self.best = Some(learner.params().snapshot()?);
        }
        let rate = config.schedule.at(p.step.saturating_sub(1), per_epoch as u64, total);
        let row =
            EpochRow { epoch, train_loss: p.loss_sum / p.loss_samples.max(1) as f64, validation, learning_rate: rate.lr, best };
        observer.note(&describe(&row, config.epochs));
        p.rows.push(row);
        p.epoch += 1;
        p.batch = 0;
        p.loss_sum = 0.0;
        p.loss_samples = 0;
        if matches!(verdict, Some(Verdict::Stop)) {
            p.finished = Some(StopReason::Patience);
        } else if p.epoch == config.epochs {
            p.finished = Some(StopReason::Epochs);
        }
        Ok(())
    }

    fn save(&mut self, learner: &dyn Learner, config: &TrainConfig, to: &Checkpoints<'_>) -> Result<(), TrainError> {
        self.last_saved = Instant::now();
        if let Some(keep) = to.keep {
            let task = to.task.unwrap_or(&serde_json::Value::Null);
            let state = Checkpoint::of(config, task, &self.progress, learner.params(), &self.optimizer, self.best.as_ref())?;
            keep(&state.to_bytes()?).map_err(CheckpointError::NotKept)?;
        }
        Ok(())
    }

    fn take_up(
        &mut self,
        from: Checkpoint,
        learner: &mut dyn Learner,
        config: &TrainConfig,
        checkpoints: &Checkpoints<'_>,
    ) -> Result<(), TrainError> {
        let state = from.open(config, checkpoints.task.unwrap_or(&serde_json::Value::Null))?;
        learner.params_mut().restore(&state.weights)?;
        self.optimizer.restore(learner.params(), &state.moments)?;
        self.progress = state.progress;
        self.best = state.best;
        Ok(())
    }
}

fn describe(row: &EpochRow, epochs: usize) -> String {
    let validation =
        row.validation.map_or(String::new(), |v| format!(", validation {v:.6}{}", if row.best { " (best)" } else { "" }));
    format!("epoch {}/{epochs}: training loss {:.6}{validation}", row.epoch, row.train_loss)
}
