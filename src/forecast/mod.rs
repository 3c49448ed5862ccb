//! Forecasting methods: per-series models, linear maps over a panel, networks trained on one, and how they are
//! evaluated. Pure: numbers in, numbers out.

pub mod adida;
pub mod arima;
pub mod classify;
pub mod croston;
pub mod engine;
pub mod ets;
pub mod intervals;
pub mod karma;
pub mod linear;
pub mod linear_network;
pub mod m4;
pub mod metrics;
pub mod model;
pub mod naive;
pub mod neural;
pub mod optimize;
pub mod patchtst;
pub mod protocol;
pub mod seasonality;
pub mod seqtask;
pub mod sequence;
pub mod spec;
pub mod state_space;
pub mod synthetic;
pub mod theta;
pub mod time_features;
pub mod timemixer;
