//! Tasks that need a state to be tracked: parity, modular arithmetic, nested lists. What a scan can count, and at what length it
//! stops.

mod expression;
mod listops;
mod task;

pub use task::{Example, Task, read_tokens};

pub mod train;
