//! Arithmetic element by element over long slices, on all threads.
//!
//! [`map`] holds the drivers, for operations that other rooms define as vector expressions; [`arithmetic`] and [`activation`] the
//! ones that models need; [`chunks`] the cutting of a slice into tasks, which every kernel that is not a matrix product shares.

pub mod activation;
pub mod arithmetic;
pub mod chunks;
pub mod edge;
pub mod gate;
pub mod map;
pub mod reference;

pub use arithmetic::{add, add_assign, axpy, mul, mul_assign, scale, scale_in_place, sub};

/// What a layer applies to every element of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x.
    Identity,
    /// x Φ(x), Φ the normal distribution function.
    Gelu,
    /// x σ(x).
    Silu,
    /// max(x, 0).
    Relu,
    Tanh,
    /// σ(x) = 1 / (1 + e⁻ˣ).
    Sigmoid,
}
