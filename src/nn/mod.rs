//! Building blocks of neural models that more than one subcommand uses: recorded operations with hand-written gradients, named
//! parameters, optimisers, schedules and the training loop.

pub mod builder;
pub mod checkpoint;
pub mod early_stopping;
pub mod init;
pub mod ops;
pub mod optimizer;
pub mod params;
pub mod pass;
pub mod schedule;
pub mod ssm;
pub mod storage;
pub mod tape;
pub mod tdn;
#[cfg(test)]
pub(crate) mod testing;
pub mod train;

pub use builder::Builder;
pub use params::{ParamId, Params};
pub use pass::Pass;
pub use tape::Value;
