//! Single operations, forward and with their gradients: the shapes that TimeMixer, PatchTST and the mixer use.
//!
//! scripts/peers/torch_ops.py computes the same from the same numbers: element k of input i is `size · sin(0.37 k + i)`, of the gradient
//! of the result `cos(0.11 k)`.

use candle_core::{Device, Result, Tensor};
use shoal::kernels::elementwise::Activation;
use shoal::nn::tape::Tape;
use shoal::nn::{Value, ops};
use std::time::Instant;

/// An input's shape, and the size of its numbers.
type Input = (&'static [usize], f64);

struct Case {
    name: &'static str,
    inputs: &'static [Input],
    run: fn(&[Value]) -> Result<Value>,
}

const CASES: &[Case] = &[
    Case {
        name: "linear 14336x96 -> 96",
        inputs: &[(&[14336, 96], 1.0), (&[96, 96], 0.1), (&[96], 0.1)],
        run: |v| ops::linear(&v[0], &v[1], Some(&v[2]), Activation::Identity),
    },
    Case {
        name: "linear + gelu 14336x96 -> 48",
        inputs: &[(&[14336, 96], 1.0), (&[48, 96], 0.1), (&[48], 0.1)],
        run: |v| ops::linear(&v[0], &v[1], Some(&v[2]), Activation::Gelu),
    },
    Case {
        name: "linear + silu 14336x96 -> 48",
        inputs: &[(&[14336, 96], 1.0), (&[48, 96], 0.1), (&[48], 0.1)],
        run: |v| ops::linear(&v[0], &v[1], Some(&v[2]), Activation::Silu),
    },
    Case {
        name: "mlp 14336x96 -> gelu 48 -> 48",
        inputs: &[(&[14336, 96], 1.0), (&[48, 96], 0.1), (&[48], 0.1), (&[48, 48], 0.1), (&[48], 0.1)],
        run: |v| ops::mlp(&v[0], &v[1], Some(&v[2]), Activation::Gelu, &v[3], Some(&v[4]), None),
    },
    Case {
        name: "mlp 10752x128 -> gelu 256 -> 128",
        inputs: &[(&[10752, 128], 1.0), (&[256, 128], 0.1), (&[256], 0.1), (&[128, 256], 0.1), (&[128], 0.1)],
        run: |v| ops::mlp(&v[0], &v[1], Some(&v[2]), Activation::Gelu, &v[3], Some(&v[4]), None),
    },
    Case {
        name: "linear over the middle axis 896x(16 -> 32)x96",
        inputs: &[(&[896, 16, 96], 1.0), (&[32, 16], 0.2), (&[32], 0.1)],
        run: |v| ops::linear_mid(&v[0], &v[1], Some(&v[2]), Activation::Identity),
    },
    Case {
        name: "mlp over the middle axis 896x(16 -> gelu 32 -> 16)x96",
        inputs: &[(&[896, 16, 96], 1.0), (&[32, 16], 0.2), (&[32], 0.1), (&[16, 32], 0.2), (&[16], 0.1)],
        run: |v| ops::mlp_mid(&v[0], &v[1], Some(&v[2]), Activation::Gelu, &v[3], Some(&v[4]), None),
    },
    Case {
        name: "layer norm 14336x128",
        inputs: &[(&[14336, 128], 1.0), (&[128], 1.0), (&[128], 0.1)],
        run: |v| ops::layer_norm(&v[0], &v[1], &v[2], 1e-5),
    },
    Case {
        name: "rms norm 14336x128",
        inputs: &[(&[14336, 128], 1.0), (&[128], 1.0)],
        run: |v| ops::rms_norm(&v[0], &v[1], 1e-5),
    },
    Case { name: "softmax 16384x96", inputs: &[(&[16384, 96], 3.0)], run: |v| ops::softmax(&v[0]) },
    Case {
        name: "attention 224 x 8 heads x 42 x 16",
        inputs: &[(&[224, 42, 128], 1.0), (&[224, 42, 128], 1.0), (&[224, 42, 128], 1.0)],
        run: |v| ops::attention(&v[0], &v[1], &v[2], 8, 0.25, None, false),
    },
    Case {
        name: "attention 4 x 4 heads x 512 x 64, causal",
        inputs: &[(&[4, 512, 256], 1.0), (&[4, 512, 256], 1.0), (&[4, 512, 256], 1.0)],
        run: |v| ops::attention(&v[0], &v[1], &v[2], 4, 0.125, None, true),
    },
    Case {
        name: "trend by moving average of 25, 14336x96",
        inputs: &[(&[14336, 96], 1.0)],
        run: |v| Ok(ops::decompose(&v[0], 25)?.1),
    },
    Case {
        name: "instance norm 128x7x512",
        inputs: &[(&[128, 7, 512], 1.0), (&[7], 1.0), (&[7], 0.1)],
        run: |v| Ok(ops::instance_norm(&v[0], Some((&v[1], &v[2])), 1e-5, false)?.0),
    },
    Case { name: "average pooling by 2, 14336x96", inputs: &[(&[14336, 96], 1.0)], run: |v| ops::avg_pool(&v[0], 2) },
    Case {
        name: "mean squared error 128x7x720",
        inputs: &[(&[128, 7, 720], 1.0)],
        run: |v| ops::mse(&v[0], &v[0].tensor().zeros_like()?),
    },
    Case {
        name: "cross entropy 16384x256",
        inputs: &[(&[16384, 256], 3.0)],
        run: |v| {
            let targets: Vec<u32> = (0..16384).map(|i| (i * 31) % 256).collect();
            ops::cross_entropy(&v[0], &targets, 0.0)
        },
    },
];

/// `size · f(step · k + shift)` for element k.
fn wave(dims: &[usize], f: fn(f64) -> f64, step: f64, shift: f64, size: f64) -> Result<Tensor> {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|k| (size * f(step * k as f64 + shift)) as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// Sum and Euclidean norm, in f64.
fn digest(t: &Tensor) -> Result<[f64; 2]> {
    let values = t.flatten_all()?.to_vec1::<f32>()?;
    let (sum, squares) = values.iter().map(|&v| f64::from(v)).fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    Ok([sum, squares.sqrt()])
}

/// Median and least of `rounds` runs in milliseconds, after two that are not counted.
fn time(rounds: usize, mut work: impl FnMut() -> Result<()>) -> Result<[f64; 2]> {
    let mut times = Vec::with_capacity(rounds);
    for k in 0..rounds + 2 {
        let start = Instant::now();
        work()?;
        if k >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok([times[rounds / 2], times[0]])
}

/// Prints one JSON object a line.
pub fn run(rounds: usize) -> Result<()> {
    for case in CASES {
        let inputs: Vec<Tensor> = case
            .inputs
            .iter()
            .enumerate()
            .map(|(i, (dims, size))| wave(dims, f64::sin, 0.37, i as f64, *size))
            .collect::<Result<_>>()?;
        let constants: Vec<Value> = inputs.iter().map(Value::constant).collect();
        let y = (case.run)(&constants)?;
        let seed = wave(y.dims(), f64::cos, 0.11, 0.0, 1.0)?;
        let both = || -> Result<Vec<Tensor>> {
            let tape = Tape::new();
            let leaves: Vec<Value> = inputs.iter().map(|t| tape.leaf(t)).collect();
            let gradients = tape.backward_from(&(case.run)(&leaves)?, seed.clone())?;
            Ok(leaves.iter().filter_map(|leaf| gradients.of(leaf).cloned()).collect())
        };
        let mut digests = vec![digest(y.tensor())?];
        for gradient in both()? {
            digests.push(digest(&gradient)?);
        }
        let forward = time(rounds, || (case.run)(&constants).map(drop))?;
        let all = time(rounds, || both().map(drop))?;
        println!("{}", serde_json::json!({ "op": case.name, "forward_ms": forward, "both_ms": all, "digests": digests }));
    }
    Ok(())
}
