//! Forecasting methods: per-series models, linear maps over a panel, and how they are evaluated. Pure: numbers in, numbers out.

pub mod adida;
pub mod arima;
pub mod croston;
pub mod engine;
pub mod ets;
pub mod intervals;
pub mod linear;
pub mod m4;
pub mod metrics;
pub mod model;
pub mod naive;
pub mod optimize;
pub mod protocol;
pub mod seasonality;
pub mod spec;
pub mod synthetic;
pub mod theta;
pub mod time_features;
