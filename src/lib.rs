//! shoal: research and operations on structure in groups, as a library.
//!
//! The binary is `shoal`; the rooms below are its parts, arrows point downward in this list (see docs/architecture.md).

/// What the user types: arguments, messages, exit codes.
pub mod cli;
/// Forecasting methods and their evaluation.
pub mod forecast;
/// Building blocks of neural models: seeded initialisation.
pub mod nn;
/// Pictures: data in, SVG or PNG bytes out.
pub mod plot;
/// Seeds, progress, manifests, asserted metrics.
pub mod run;
/// Tables and series in and out: CSV, Parquet, JSON lines.
pub mod table;
