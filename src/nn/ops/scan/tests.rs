//! Gradients of the recorded scans against central differences.

use super::*;
use crate::nn::tape::Tape;
use candle_core::Device;

fn data(dims: &[usize], phase: f64) -> Tensor {
    let values: Vec<f64> = (0..dims.iter().product()).map(|i| ((i as f64) * 1.7 + phase).sin() * 0.8).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Gradients of Σ wave·output over all outputs of `op`, against central differences.
fn check(inputs: &[Tensor], op: impl Fn(&[Value]) -> Result<(Value, Value)>) {
    let loss = |values: &[Tensor]| -> f64 {
        let constants: Vec<Value> = values.iter().map(Value::constant).collect();
        let (a, b) = op(&constants).unwrap();
        let sum = |t: &Value, phase: f64| -> f64 {
            flat(t.tensor()).iter().zip(flat(&data(t.dims(), phase))).map(|(a, w)| a * w).sum()
        };
        sum(&a, 0.3) + sum(&b, 0.9)
    };
    let tape = Tape::new();
    let leaves: Vec<Value> = inputs.iter().map(|t| tape.leaf(t)).collect();
    let (a, b) = op(&leaves).unwrap();
    let weigh = |v: &Value, phase: f64| {
        crate::nn::ops::sum_all(&crate::nn::ops::mul(v, &Value::constant(&data(v.dims(), phase))).unwrap()).unwrap()
    };
    let total = crate::nn::ops::add(&weigh(&a, 0.3), &weigh(&b, 0.9)).unwrap();
    let gradients = tape.backward(&total).unwrap();
    for (i, leaf) in leaves.iter().enumerate() {
        let found = flat(gradients.of(leaf).unwrap());
        for k in (0..found.len()).step_by(5) {
            let at = |by: f64| {
                let mut values = flat(&inputs[i]);
                values[k] += by;
                let mut all = inputs.to_vec();
                all[i] = Tensor::from_vec(values, inputs[i].dims(), &Device::Cpu).unwrap();
                loss(&all)
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            // Truncation 1e-10 times third derivatives of some tens; rounding 1e-14 over the step.
            assert!(
                (numeric - found[k]).abs() <= 2e-8 * (1.0 + numeric.abs()),
                "input {i}, element {k}: {}, not {numeric}",
                found[k]
            );
        }
    }
}

#[test]
fn gradients_of_the_convolution() {
    let inputs = [data(&[2, 5, 3], 0.0), data(&[3, 4], 1.0), data(&[3], 2.0), data(&[2, 3, 3], 3.0)];
    check(&inputs, |v| causal_conv(&v[0], &v[1], Some(&v[2]), Some(&v[3]), true));
    check(&inputs[..2], |v| causal_conv(&v[0], &v[1], None, None, false));
}

#[test]
fn gradients_of_the_selective_scan() {
    let (b, l, d, g, n) = (2, 4, 4, 2, 3);
    let inputs = [
        data(&[b, l, d], 0.0),
        data(&[b, l, d], 1.0),
        data(&[d, n], 2.0),
        data(&[b, l, g, n], 3.0),
        data(&[b, l, g, n], 4.0),
        data(&[d], 5.0),
        data(&[b, l, d], 6.0),
        data(&[d], 7.0),
        data(&[b, d, n], 8.0),
    ];
    let all = |v: &[Value]| {
        let [u, delta, a_log, b, c] = [0, 1, 2, 3, 4].map(|i| v[i].clone());
        let rest = v.get(5..9);
        let at = |i: usize| rest.map(|r| &r[i]);
        selective_scan(&SelectiveInputs {
            u: &u,
            delta: &delta,
            a_log: &a_log,
            b: &b,
            c: &c,
            skip: at(0),
            z: at(1),
            delta_bias: at(2),
            initial: at(3),
        })
    };
    check(&inputs, all);
    check(&inputs[..5], all);
}

#[test]
fn gradients_of_ssd() {
    let (b, l, h, p, g, n) = (2, 5, 4, 3, 2, 2);
    let steps = (data(&[b, l, h], 1.0) + 1.0).unwrap();
    for skip in [vec![h], vec![h, p]] {
        let inputs = [
            data(&[b, l, h, p], 0.0),
            steps.clone(),
            data(&[h], 2.0),
            data(&[b, l, g, n], 3.0),
            data(&[b, l, g, n], 4.0),
            data(&skip, 5.0),
            data(&[b, h, p, n], 6.0),
        ];
        check(&inputs, |v| {
            let (skip, initial) = (Some(&v[5]), Some(&v[6]));
            ssd_scan(&SsdInputs { x: &v[0], dt: &v[1], a_log: &v[2], b: &v[3], c: &v[4], skip, initial })
        });
    }
}

#[test]
fn misfits_are_errors_with_both_shapes() {
    let v = |dims: &[usize]| Value::constant(&data(dims, 0.0));
    let e = causal_conv(&v(&[2, 5, 3]), &v(&[4, 4]), None, None, true).err().unwrap().to_string();
    assert!(e.contains("[4, 4]"), "{e}");
    let (x, c) = (v(&[2, 5, 4]), v(&[2, 5, 1, 3]));
    let bare = SelectiveInputs {
        u: &x,
        delta: &x,
        a_log: &v(&[4, 3]),
        b: &c,
        c: &c,
        skip: None,
        z: None,
        delta_bias: None,
        initial: None,
    };
    assert!(selective_scan(&bare).is_ok());
    assert!(selective_scan(&SelectiveInputs { a_log: &v(&[4, 2]), ..bare }).is_err());
    assert!(selective_scan(&SelectiveInputs { initial: Some(&v(&[2, 4, 2])), ..bare }).is_err());
}
