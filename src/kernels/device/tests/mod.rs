//! The emulator itself, the macros, and every kernel against its definition; on a GPU too, where there is one.

mod conv;
#[cfg(feature = "cuda")]
mod cuda;
mod emulator;
mod executors;
mod mamba3;
mod metal;
mod random;
mod selective;
mod ssd;
mod tensor;

use super::emulator::Order;
use super::plan::{DeviceError, Executor};
use crate::kernels::bf16;
use crate::kernels::testing::bits;
use executors::Emulator;
use random::Draw;

/// Runs in all orders, which must give the same bits, and gives the results.
fn in_all_orders<const N: usize>(run: impl Fn(&mut dyn Executor) -> Result<[Vec<f32>; N], DeviceError>) -> [Vec<f32>; N] {
    let one = |order| run(&mut Emulator::new(order)).unwrap_or_else(|e| panic!("{order:?}: {e}"));
    let first = one(Order::Forward);
    for order in &Order::ALL[1..] {
        let other = one(*order);
        for (i, (a, b)) in first.iter().zip(&other).enumerate() {
            assert!(bits(a) == bits(b), "result {i} depends on the order: {order:?}");
        }
    }
    first
}

/// What is allowed, of the largest number: some tens of roundings of 6e-8, as measured on these sizes (below 2e-6 and 4e-6), twice.
const VALUES: f64 = 4e-6;
const GRADIENTS: f64 = 8e-6;

fn nan(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

fn to_bf16(x: &[f32]) -> Vec<u16> {
    x.iter().map(|v| bf16::to_bf16(*v)).collect()
}

fn from_bf16(x: &[u16]) -> Vec<f32> {
    x.iter().map(|v| bf16::from_bf16(*v)).collect()
}
