//! Training on sequences drawn as training goes, longer from stage to stage, and accuracy at other lengths.

use super::task::{Example, Task};
use crate::forecast::sequence::{Input, SequenceConfig, SequenceNetwork};
use crate::nn::train::{Checkpoints, Learner, TrainConfig, TrainError, TrainReport, train};
use crate::nn::{Params, Pass, Value, ops};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use candle_core::{DType, Result};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// How sequences are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curriculum {
    /// Shortest sequence.
    pub shortest: usize,
    /// Longest sequence of each stage; an epoch is a stage.
    pub longest: Vec<usize>,
    /// Steps of a stage.
    pub steps: usize,
    /// Labels behind every part that is a sequence itself are trained on, not only those at the end.
    pub prefixes: bool,
    /// Sequences that score a stage, of the last stage's longest length.
    pub validation: usize,
}

/// Sequences of a validation step.
const VALIDATED: usize = 64;
/// Tokens scored at once.
const SCORED: usize = 1 << 14;

/// A network on its way through the stages.
struct Student {
    network: SequenceNetwork,
    task: Task,
    curriculum: Curriculum,
    batch: usize,
    streams: Streams,
    validation: Vec<Example>,
}

impl Student {
    /// The sequences of a step, all of one length.
    fn drawn(&self, step: u64) -> Vec<Example> {
        let mut rng = self.streams.stream("seqtask", step);
        let stages = &self.curriculum.longest;
        let stage = (step as usize / self.curriculum.steps.max(1)).min(stages.len().saturating_sub(1));
        let longest = stages.get(stage).copied().unwrap_or(1).max(self.curriculum.shortest);
        let length = self.task.possible_length(rng.random_range(self.curriculum.shortest..=longest));
        (0..self.batch).map(|_| self.task.draw(length, &mut rng)).collect()
    }
}

/// Sequences of one batch, ends filled up with the first word.
fn input_of(task: &Task, examples: &[Example]) -> Result<(Input, Vec<usize>, Vec<u32>)> {
    let mut sequences = Vec::with_capacity(examples.len());
    for e in examples {
        sequences.push(task.tokens(&e.text).map_err(candle_core::Error::msg)?);
    }
    let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    sequences.iter_mut().for_each(|s| s.resize(longest, 0));
    let labels = examples.iter().map(|e| e.label).collect();
    Ok((Input::Tokens { tokens: sequences.concat(), batch: examples.len() }, lengths, labels))
}

impl Learner for Student {
    fn params(&self) -> &Params {
        self.network.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.network.params_mut()
    }

    fn samples(&self) -> usize {
        self.curriculum.steps * self.batch
    }

    fn loss(&self, pass: &Pass, _: &[usize]) -> Result<Value> {
        let examples = self.drawn(pass.step().unwrap_or(0));
        let (input, lengths, labels) = input_of(&self.task, &examples)?;
        if !self.curriculum.prefixes {
            return ops::cross_entropy(&self.network.scores(pass, &input, Some(&lengths))?, &labels, 0.0);
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let (mut rows, mut wanted) = (Vec::new(), Vec::new());
        for (i, e) in examples.iter().enumerate() {
            for (t, label) in self.task.labels(&e.text).map_err(candle_core::Error::msg)?.into_iter().enumerate() {
                if let Some(label) = label {
                    rows.push((i * longest + t) as u32);
                    wanted.push(label);
                }
            }
        }
        ops::cross_entropy(&self.network.scores_at(pass, &input, &rows)?, &wanted, 0.0)
    }

    fn validate(&self, _: usize) -> Result<Option<f64>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        // The loss, not the share of errors: that is 0 long before the state is exact enough for longer sequences.
        let (mut sum, mut count) = (0.0, 0);
        for some in self.validation.chunks(VALIDATED) {
            let (input, lengths, labels) = input_of(&self.task, some)?;
            let scores = self.network.scores(&Pass::inference(self.params()), &input, Some(&lengths))?;
            let loss = ops::cross_entropy(&scores, &labels, 0.0)?;
            sum += loss.tensor().to_dtype(DType::F64)?.to_scalar::<f64>()? * some.len() as f64;
            count += some.len();
        }
        Ok(Some(sum / count as f64))
    }
}

/// What a network says of each sequence.
///
/// # Errors
/// Words that are none of the task's.
pub fn answers(network: &SequenceNetwork, task: &Task, examples: &[Example]) -> Result<Vec<u32>> {
    let mut out = Vec::with_capacity(examples.len());
    let mut rest = examples;
    while !rest.is_empty() {
        let mut longest = 0;
        let count = rest
            .iter()
            .enumerate()
            .take_while(|(i, e)| {
                longest = longest.max(e.text.len());
                *i == 0 || longest * (i + 1) <= SCORED
            })
            .count();
        let (some, others) = rest.split_at(count);
        let (input, lengths, _) = input_of(task, some)?;
        let scores = network.scores(&Pass::inference(network.params()), &input, Some(&lengths))?;
        let scores = scores.tensor().to_dtype(DType::F64)?.to_vec2::<f64>()?;
        out.extend(scores.iter().map(|s| (1..s.len()).fold(0, |best, i| if s[i] > s[best] { i } else { best }) as u32));
        rest = others;
    }
    Ok(out)
}

/// The share of right answers.
pub fn share_right(answers: &[u32], examples: &[Example]) -> f64 {
    let right = answers.iter().zip(examples).filter(|(a, e)| **a == e.label).count();
    right as f64 / examples.len().max(1) as f64
}

/// Sequences of one length from a stream of their own.
pub fn test_set(task: &Task, length: usize, count: usize, streams: &Streams) -> Vec<Example> {
    let mut rng = streams.stream("seqtask test", length as u64);
    let length = task.possible_length(length);
    (0..count).map(|_| task.draw(length, &mut rng)).collect()
}

/// Trains a network through the stages of a curriculum. `config.epochs` must be their number.
///
/// # Errors
/// Those of [`train`].
pub fn train_task(
    task: &Task,
    network: SequenceConfig,
    curriculum: &Curriculum,
    config: &TrainConfig,
    dtype: DType,
    observer: &dyn Observer,
) -> std::result::Result<(SequenceNetwork, TrainReport), TrainError> {
    let streams = Streams::new(config.seed);
    let network = SequenceNetwork::new(network, 1.0, dtype, &streams)?;
    let longest = curriculum.longest.last().copied().unwrap_or(1);
    let mut rng = streams.stream("seqtask validation", 0);
    let length = task.possible_length(longest);
    let validation = (0..curriculum.validation).map(|_| task.draw(length, &mut rng)).collect();
    let mut student =
        Student { network, task: task.clone(), curriculum: curriculum.clone(), batch: config.batch_size, streams, validation };
    let report = train(&mut student, config, &Checkpoints::default(), None, observer)?;
    Ok((student.network, report))
}
