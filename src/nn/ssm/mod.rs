//! State-space blocks and the language models made of them, with the tensor names of the published checkpoints.
//!
//! | block | what moves its state | good at |
//! |---|---|---|
//! | [`S4`] | fixed decays and frequencies per channel, given by theory at the start | long memories, sampling rates that change |
//! | [`Mamba1`] | decays and couplings chosen by the input, per channel | the common baseline |
//! | [`Mamba2`] | one decay per head, so that training is matrix products | long sequences, many states |
//! | [`Mamba3`] | Mamba-2's with a second-order step and a rotation chosen by the input | counting, parity, arithmetic |
//!
//! All take (batch, steps, width) and what was carried on, and give the same and what to carry on: a sequence may be given whole, in
//! chunks or step by step, with equal results up to rounding.

mod kind;
mod language_model;
mod mamba1;
mod mamba2;
mod mamba3;
mod mixer;
mod s4;
#[cfg(test)]
mod tests;

pub use kind::{BlockKind, BlockSizes};
pub use language_model::{
    LanguageModel, LanguageModelConfig, Layer, ModelError, ModelOptions, ModelState, load_model, new_model,
};
pub use mamba1::{Mamba1, Mamba1Config, Mamba1State};
pub use mamba2::{Mamba2, Mamba2Config, Mamba2State};
pub use mamba3::{Mamba3, Mamba3Config, Mamba3State};
pub use mixer::{Mixer, MixerConfig, MixerState};
pub use s4::{S4, S4Config, S4State, StateInit};

/// Range that step sizes are drawn from at the start.
const STEPS: [f64; 2] = [1e-3, 1e-1];
/// Smallest of them.
const STEP_FLOOR: f64 = 1e-4;

fn default_steps() -> [f64; 2] {
    STEPS
}
