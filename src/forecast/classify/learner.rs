//! Training a sequence network on labelled series.

use crate::forecast::sequence::{Input, SequenceConfig, SequenceNetwork};
use crate::nn::train::{Checkpoints, Learner, TrainConfig, TrainError, TrainReport, train};
use crate::nn::{Params, Pass, Value, ops};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, Tensor};
use rand::seq::SliceRandom;

/// Sequences scored at once.
const SCORED: usize = 64;

/// Labelled sequences: values step after step, all channels of one together.
#[derive(Debug, Clone, Default)]
pub struct ClassifyTask {
    pub channels: usize,
    pub sequences: Vec<Vec<f64>>,
    pub labels: Vec<usize>,
}

impl ClassifyTask {
    /// Mean and deviation of each channel over all steps.
    pub fn moments(&self) -> Vec<(f64, f64)> {
        let moment = |c: usize| {
            let values = || self.sequences.iter().flat_map(move |s| s.iter().skip(c).step_by(self.channels.max(1)));
            let count = values().count().max(1) as f64;
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
        };
        (0..self.channels).map(moment).collect()
    }

    /// The same numbers with every channel shifted and scaled.
    pub fn standardised(&self, moments: &[(f64, f64)]) -> Self {
        let scale = |s: &Vec<f64>| {
            s.iter().enumerate().map(|(i, v)| (v - moments[i % self.channels].0) / moments[i % self.channels].1).collect()
        };
        Self { channels: self.channels, sequences: self.sequences.iter().map(scale).collect(), labels: self.labels.clone() }
    }

    /// Sequences with these numbers, ends filled up with zeros.
    fn batch(&self, which: &[usize], dtype: DType) -> Result<(Input, Vec<usize>)> {
        let lengths: Vec<usize> = which.iter().map(|i| self.sequences[*i].len() / self.channels.max(1)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut values = Vec::with_capacity(which.len() * longest * self.channels);
        for i in which {
            let start = values.len();
            values.extend_from_slice(&self.sequences[*i]);
            values.resize(start + longest * self.channels, 0.0);
        }
        let x = Tensor::from_vec(values, (which.len(), longest, self.channels), &Device::Cpu)?.to_dtype(dtype)?;
        Ok((Input::Values(x), lengths))
    }
}

/// A network that has been trained, with the scaling of its inputs.
pub struct Classifier {
    network: SequenceNetwork,
    moments: Vec<(f64, f64)>,
}

impl Classifier {
    /// The network.
    pub fn network(&self) -> &SequenceNetwork {
        &self.network
    }

    /// Probabilities of the classes for each sequence.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn probabilities(&self, task: &ClassifyTask) -> Result<Vec<Vec<f64>>> {
        probabilities(&self.network, &task.standardised(&self.moments))
    }
}

fn probabilities(network: &SequenceNetwork, task: &ClassifyTask) -> Result<Vec<Vec<f64>>> {
    let all: Vec<usize> = (0..task.sequences.len()).collect();
    let mut out = Vec::with_capacity(all.len());
    for some in all.chunks(SCORED) {
        let (input, lengths) = task.batch(some, network.params().dtype())?;
        let pass = Pass::inference(network.params());
        let scores = network.scores(&pass, &input, Some(&lengths))?;
        for row in scores.tensor().to_dtype(DType::F64)?.to_vec2::<f64>()? {
            let top = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
            let exps: Vec<f64> = row.iter().map(|v| (v - top).exp()).collect();
            let sum: f64 = exps.iter().sum();
            out.push(exps.into_iter().map(|e| e / sum).collect());
        }
    }
    Ok(out)
}

struct Student {
    network: SequenceNetwork,
    train: ClassifyTask,
    validation: ClassifyTask,
    smoothing: f64,
}

impl Learner for Student {
    fn params(&self) -> &Params {
        self.network.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.network.params_mut()
    }

    fn samples(&self) -> usize {
        self.train.sequences.len()
    }

    fn loss(&self, pass: &Pass, samples: &[usize]) -> Result<Value> {
        let (input, lengths) = self.train.batch(samples, self.params().dtype())?;
        let labels: Vec<u32> = samples.iter().map(|i| self.train.labels[*i] as u32).collect();
        ops::cross_entropy(&self.network.scores(pass, &input, Some(&lengths))?, &labels, self.smoothing)
    }

    fn validate(&self, _: usize) -> Result<Option<f64>> {
        if self.validation.sequences.is_empty() {
            return Ok(None);
        }
        let p = probabilities(&self.network, &self.validation)?;
        let classes = self.network.config().classes;
        let found = super::measures(&p, &self.validation.labels, classes);
        Ok(Some(found.nll))
    }
}

/// Trains a network. `validation`: share of the training sequences of each class, drawn by the seed, that picks the best epoch; 0: the last
/// epoch stands. `scan_rate`: what the learning rate is multiplied by for the parameters of the scans. `smoothing`: of the labels.
///
/// # Errors
/// Those of [`train`].
pub fn train_classifier(
    task: &ClassifyTask,
    network: SequenceConfig,
    config: &TrainConfig,
    (validation, scan_rate, smoothing): (f64, f64, f64),
    dtype: DType,
    observer: &dyn Observer,
) -> std::result::Result<(Classifier, TrainReport), TrainError> {
    let streams = Streams::new(config.seed);
    let moments = task.moments();
    let task = task.standardised(&moments);
    let mut kept = vec![false; task.sequences.len()];
    for class in 0..network.classes {
        let mut members: Vec<usize> = (0..task.labels.len()).filter(|i| task.labels[*i] == class).collect();
        members.shuffle(&mut streams.stream("classify validation", class as u64));
        let count = (members.len() as f64 * validation).round() as usize;
        members.iter().take(count).for_each(|i| kept[*i] = true);
    }
    let part = |wanted: bool| {
        let which: Vec<usize> = (0..kept.len()).filter(|i| kept[*i] == wanted).collect();
        ClassifyTask {
            channels: task.channels,
            sequences: which.iter().map(|i| task.sequences[*i].clone()).collect(),
            labels: which.iter().map(|i| task.labels[*i]).collect(),
        }
    };
    let network = SequenceNetwork::new(network, scan_rate, dtype, &streams)?;
    let mut student = Student { network, train: part(false), validation: part(true), smoothing };
    let report = train(&mut student, config, &Checkpoints::default(), None, observer)?;
    Ok((Classifier { network: student.network, moments }, report))
}
