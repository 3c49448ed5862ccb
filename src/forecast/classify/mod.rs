//! Classification of series: training on labelled sequences, and what a trained network says of others.

mod learner;
mod measures;

pub use learner::{Classifier, ClassifyTask, train_classifier};
pub use measures::{Measures, measures};
