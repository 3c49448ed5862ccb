//! Two affine maps with an activation between them, over the last or the middle axis; the hidden layer never leaves the cache.

use super::linear::{Weights, checked, last_axis, middle_axis};
use crate::by_float;
use crate::kernels::elementwise::Activation;
use crate::kernels::linear::{Mlp, MlpMid};
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// Both maps, which must share the hidden width.
fn weights(
    op: &'static str,
    x: &Value,
    first: (&Value, Option<&Value>),
    second: (&Value, Option<&Value>),
) -> Result<[Weights; 2]> {
    let (one, two) = (Weights::new(op, "first ", x, first.0, first.1)?, Weights::new(op, "second ", x, second.0, second.1)?);
    if one.outputs != two.inputs {
        bail!("{op}: weights of shapes {:?} and {:?} do not follow each other", first.0.dims(), second.0.dims());
    }
    Ok([one, two])
}

/// The last two of the recorded inputs are optional biases and a residual: where each stands.
fn places<'a>(
    x: &'a Value,
    first: (&'a Value, Option<&'a Value>),
    second: (&'a Value, Option<&'a Value>),
    residual: Option<&'a Value>,
) -> (Vec<&'a Value>, usize) {
    let mut inputs = vec![x, first.0];
    inputs.extend(first.1);
    let of_second = inputs.len();
    inputs.push(second.0);
    inputs.extend(second.1);
    inputs.extend(residual);
    (inputs, of_second)
}

/// `W₂·act(W₁·x + b₁) + b₂ (+ residual)` over the last axis.
///
/// Shapes: `x` (.., in), `w1` (hidden, in), `b1` (hidden), `w2` (out, hidden), `b2` (out), `residual` and result (.., out). Saves x (free) for the
/// backward pass, which computes the hidden layer again. Cost: see [`Mlp`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn mlp(
    x: &Value,
    w1: &Value,
    b1: Option<&Value>,
    activation: Activation,
    w2: &Value,
    b2: Option<&Value>,
    residual: Option<&Value>,
) -> Result<Value> {
    const OP: &str = "mlp";
    let [one, two] = weights(OP, x, (w1, b1), (w2, b2))?;
    let dims = last_axis(OP, x, one.inputs, two.outputs)?;
    let onto = checked(OP, x, residual, &dims)?;
    let xs = x.tensor().contiguous()?;
    by_float!(OP, xs, T => {
        let mut y = output::<T>(dims.iter().product());
        {
            let (one, two) = (one.lend::<T>()?, two.lend::<T>()?);
            let onto = onto.as_ref().map(|r| numbers::<T>(OP, r)).transpose()?;
            Mlp { first: one.affine(), activation, second: two.affine() }.forward(&numbers::<T>(OP, &xs)?, onto.as_deref(), &mut y);
        }
        let y = tensor(y, &dims)?;
        let (inputs, of_second) = places(x, (w1, b1), (w2, b2), residual);
        let added = residual.is_some();
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = inputs.wanted(0).then(|| output::<T>(xs.elem_count()));
            let (mut room1, mut room2) = (one.room::<T>(&inputs, 1), two.room::<T>(&inputs, of_second));
            {
                let (one, two) = (one.lend::<T>()?, two.lend::<T>()?);
                let map = Mlp { first: one.affine(), activation, second: two.affine() };
                let (xs, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &g)?);
                map.backward(&xs, &g, dx.as_deref_mut(), room1.lend(), room2.lend());
            }
            let mut gradients = vec![dx.map(|dx| tensor(dx, xs.dims())).transpose()?];
            room1.push_to(&mut gradients)?;
            room2.push_to(&mut gradients)?;
            gradients.extend(added.then_some(Some(g)));
            Ok(gradients)
        }))
    })
}

/// `W₂·act(W₁·x_r + b₁) + b₂ (+ residual)` for every matrix x_r of `x`: the middle axis is contracted, nothing is transposed.
///
/// Shapes: `x` (rows, in, time), weights as for [`mlp`], `residual` and result (rows, out, time). Cost: see [`MlpMid`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn mlp_mid(
    x: &Value,
    w1: &Value,
    b1: Option<&Value>,
    activation: Activation,
    w2: &Value,
    b2: Option<&Value>,
    residual: Option<&Value>,
) -> Result<Value> {
    const OP: &str = "mlp_mid";
    let [one, two] = weights(OP, x, (w1, b1), (w2, b2))?;
    let dims = middle_axis(OP, x, one.inputs, two.outputs)?;
    let time = dims[2];
    let onto = checked(OP, x, residual, &dims)?;
    let xs = x.tensor().contiguous()?;
    by_float!(OP, xs, T => {
        let mut y = output::<T>(dims.iter().product());
        {
            let (one, two) = (one.lend::<T>()?, two.lend::<T>()?);
            let onto = onto.as_ref().map(|r| numbers::<T>(OP, r)).transpose()?;
            let map = MlpMid { first: one.affine(), activation, second: two.affine(), time };
            map.forward(&numbers::<T>(OP, &xs)?, onto.as_deref(), &mut y);
        }
        let y = tensor(y, &dims)?;
        let (inputs, of_second) = places(x, (w1, b1), (w2, b2), residual);
        let added = residual.is_some();
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = inputs.wanted(0).then(|| output::<T>(xs.elem_count()));
            let (mut room1, mut room2) = (one.room::<T>(&inputs, 1), two.room::<T>(&inputs, of_second));
            {
                let (one, two) = (one.lend::<T>()?, two.lend::<T>()?);
                let map = MlpMid { first: one.affine(), activation, second: two.affine(), time };
                let (xs, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &g)?);
                map.backward(&xs, &g, dx.as_deref_mut(), room1.lend(), room2.lend());
            }
            let mut gradients = vec![dx.map(|dx| tensor(dx, xs.dims())).transpose()?];
            room1.push_to(&mut gradients)?;
            room2.push_to(&mut gradients)?;
            gradients.extend(added.then_some(Some(g)));
            Ok(gradients)
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::{add, linear, linear_mid};
    use crate::nn::tape::Tape;
    use candle_core::Device;

    fn leaf(tape: &Tape, dims: &[usize], phase: f64) -> Value {
        let data: Vec<f64> = (0..dims.iter().product()).map(|i| ((i as f64) * 1.7 + phase).sin()).collect();
        tape.leaf(&Tensor::from_vec(data, dims, &Device::Cpu).unwrap())
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// y and all gradients, fused or from single maps.
    fn run(middle: bool, fused: bool, biased: [bool; 2], residual: bool) -> Vec<Tensor> {
        let tape = Tape::new();
        let dims = |width: usize| if middle { vec![3, width, 5] } else { vec![2, 7, width] };
        let (x, onto) = (leaf(&tape, &dims(4), 0.1), leaf(&tape, &dims(3), 0.2));
        let (w1, b1, w2, b2) =
            (leaf(&tape, &[6, 4], 0.3), leaf(&tape, &[6], 0.4), leaf(&tape, &[3, 6], 0.5), leaf(&tape, &[3], 0.6));
        let (c1, c2) = (biased[0].then_some(&b1), biased[1].then_some(&b2));
        let onto = residual.then_some(&onto);
        let act = Activation::Silu;
        let y = match (fused, middle) {
            (true, false) => mlp(&x, &w1, c1, act, &w2, c2, onto).unwrap(),
            (true, true) => mlp_mid(&x, &w1, c1, act, &w2, c2, onto).unwrap(),
            (false, _) => {
                let one = if middle { linear_mid } else { linear };
                let y = one(&one(&x, &w1, c1, act).unwrap(), &w2, c2, Activation::Identity).unwrap();
                onto.map_or(Ok(y.clone()), |r| add(&y, r)).unwrap()
            }
        };
        let g = tape.backward_from(&y, leaf(&tape, y.dims(), 0.7).tensor().clone()).unwrap();
        let mut all = vec![y.tensor().clone()];
        all.extend([Some(&x), Some(&w1), c1, Some(&w2), c2, onto].into_iter().flatten().map(|v| g.of(v).unwrap().clone()));
        all
    }

    #[test]
    fn the_fused_form_is_two_maps_one_after_the_other() {
        for middle in [false, true] {
            for case in 0..8 {
                let (biased, residual) = ([case & 1 == 1, case & 2 == 2], case & 4 == 4);
                let (fused, plain) = (run(middle, true, biased, residual), run(middle, false, biased, residual));
                assert_eq!(fused.len(), 4 + biased.iter().filter(|&&b| b).count() + usize::from(residual));
                for (a, b) in fused.iter().zip(&plain) {
                    assert_eq!(a.dims(), b.dims());
                    // Sums of up to 15 products of two sums of some six terms of size 1, in other orders.
                    assert!(flat(a).iter().zip(flat(b)).all(|(a, b)| (a - b).abs() < 1e-12), "case {case} {middle}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn misfits_are_named() {
        let tape = Tape::new();
        let (x, w1, w2) = (leaf(&tape, &[3, 4], 0.1), leaf(&tape, &[6, 4], 0.2), leaf(&tape, &[3, 5], 0.3));
        let message = |r: Result<Value>| r.err().unwrap().to_string();
        let error = message(mlp(&x, &w1, None, Activation::Gelu, &w2, None, None));
        assert!(error.contains("[6, 4]") && error.contains("[3, 5]"), "{error}");
        let w2 = leaf(&tape, &[3, 6], 0.3);
        let error = message(mlp(&x, &w1, None, Activation::Gelu, &w2, None, Some(&x)));
        assert!(error.contains("residual") && error.contains("[3, 3]") && error.contains("[3, 4]"), "{error}");
        let error = message(mlp_mid(&x, &w1, None, Activation::Gelu, &w2, None, None));
        assert!(error.contains("mlp_mid") && error.contains("time"), "{error}");
        let b = leaf(&tape, &[4], 0.4);
        assert!(message(mlp(&x, &w1, None, Activation::Gelu, &w2, Some(&b), None)).contains("second"));
    }
}
