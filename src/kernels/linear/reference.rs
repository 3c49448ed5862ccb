//! The definition: plain loops in `f64` over x (rows, inputs, time). The last-axis forms are the case of one step of time.

use crate::kernels::elementwise::{Activation, reference as plain};

/// act(x).
pub fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Gelu => plain::gelu(x),
        Activation::Silu => plain::silu(x),
        Activation::Relu => plain::relu(x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => plain::sigmoid(x),
    }
}

/// act'(x).
pub fn slope(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Gelu => plain::gelu_derivative(x),
        Activation::Silu => plain::silu_derivative(x),
        Activation::Relu => plain::relu_derivative(x),
        Activation::Tanh => plain::tanh_derivative(x),
        Activation::Sigmoid => plain::sigmoid_derivative(x),
    }
}

/// W·x_r + b.
pub fn affine(weight: &[f64], bias: Option<&[f64]>, [inputs, outputs, time]: [usize; 3], x: &[f64]) -> Vec<f64> {
    let rows = x.len() / (inputs * time);
    let mut y = Vec::with_capacity(rows * outputs * time);
    for r in 0..rows {
        for o in 0..outputs {
            for t in 0..time {
                let terms = (0..inputs).map(|i| weight[o * inputs + i] * x[(r * inputs + i) * time + t]);
                y.push(bias.map_or(0.0, |b| b[o]) + terms.sum::<f64>());
            }
        }
    }
    y
}

/// Gradients of x, W and b from that of W·x_r + b.
pub fn affine_backward(weight: &[f64], [inputs, outputs, time]: [usize; 3], x: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let rows = x.len() / (inputs * time);
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outputs]);
    for r in 0..rows {
        for o in 0..outputs {
            for t in 0..time {
                let g = dy[(r * outputs + o) * time + t];
                db[o] += g;
                for i in 0..inputs {
                    dx[(r * inputs + i) * time + t] += weight[o * inputs + i] * g;
                    dw[o * inputs + i] += g * x[(r * inputs + i) * time + t];
                }
            }
        }
    }
    [dx, dw, db]
}
