//! Recorded operations: a forward pass that calls a kernel, and its gradient written by hand.
//!
//! All take and give [`Value`](super::Value)s of f32 or f64 on the CPU; shapes are checked, and an error names the operation and the
//! shapes.

mod activation;
pub(super) mod arithmetic;
mod attention;
mod cp_layer;
mod dropout;
mod gated_norm;
mod linear;
mod loss;
mod mlp;
mod norm;
mod pdm;
mod pooling;
mod scan;
mod shape;
mod smooth;
mod tensor;
mod wavelet;
mod window;

pub use activation::{activate, sigmoid_gate, silu_gate};
pub use attention::{attention, residual_attention, softmax};
pub use cp_layer::cp_layer;
pub use dropout::dropout;
pub use gated_norm::{RmsGate, gated_rms_norm};
pub use linear::{linear, linear_mid, linear_onto};
pub use loss::{cross_entropy, huber, mae, mse, pinball, smape, time_frequency};
pub use mlp::{mlp, mlp_mid};
pub use norm::{Running, Statistics, batch_norm, instance_denorm, instance_norm, layer_norm, rms_norm};
pub use pdm::{MixValues, PdmWeights, pdm_block, pdm_embed};
pub use pooling::{max_over_steps, weighted_mean};
pub use scan::{
    DplrInputs, Mamba3Inputs, Mamba3States, S4dInputs, SelectiveInputs, SsdInputs, causal_conv, decay, dplr_kernel,
    long_convolution, mamba3_scan, s4d_scan, selective_scan, ssd_scan, step_sizes,
};
pub use shape::{add, cat, flip, index_rows, mul, narrow, permute, reshape, scale, sub, sum_all, times_scalar};
pub use smooth::{avg_pool, decompose, dft_decompose, max_pool};
pub use tensor::{mttkrp, ttm};
pub use wavelet::{inverse_wavelet, wavelet};
pub use window::{add_broadcast, circular_unfold};
