//! What makes an experiment repeatable: seeded streams, progress, manifests, asserted and remembered metrics.

pub mod check;
pub mod interrupt;
pub mod manifest;
pub mod observer;
pub mod seed;
