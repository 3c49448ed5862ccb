//! The binary from outside: one module per subject, one binary so that polars is linked once.

mod bad_input;
mod cluster;
mod decompose;
mod forecast_anchors;
mod forecast_backtest;
mod forecast_eval;
mod forecast_predict;
mod forecast_train;
mod frame;
mod kernels;
mod sequences;
mod support;
