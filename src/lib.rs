//! shoal: research and operations on structure in groups, as a library behind the binary of the same name.
//!
//! | room | what lives there |
//! |---|---|
//! | [`cli`] | what the user types: arguments, messages, exit codes |
//! | [`forecast`] | forecasting methods and their evaluation |
//! | [`nn`] | building blocks of neural models: seeded initialisation |
//! | [`plot`] | pictures: data in, SVG or PNG bytes out |
//! | [`run`] | seeds, progress, manifests, asserted metrics |
//! | [`table`] | tables and series in and out: CSV, Parquet, JSON lines |
//!
//! Arrows: `cli` uses all others, `forecast` uses `run` for seeds and progress; nothing points back (docs/architecture.md).

pub mod cli;
pub mod forecast;
pub mod nn;
pub mod plot;
pub mod run;
pub mod table;
