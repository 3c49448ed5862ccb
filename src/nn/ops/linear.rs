//! Affine maps with an activation, over the last or the middle axis.

use crate::by_float;
use crate::kernels::elementwise::Activation;
use crate::kernels::linear::{Affine, AffineGrad, Linear, LinearMid};
use crate::nn::storage::{Element, Numbers, numbers, output, tensor};
use crate::nn::tape::{Inputs, Value, record};
use candle_core::{Result, Tensor, bail};

/// A weight and a bias, checked and contiguous.
pub(super) struct Weights {
    op: &'static str,
    pub inputs: usize,
    pub outputs: usize,
    weight: Tensor,
    bias: Option<Tensor>,
}

/// The numbers of [`Weights`].
pub(super) struct Lent<'a, T> {
    weight: Numbers<'a, T>,
    bias: Option<Numbers<'a, T>>,
    inputs: usize,
    outputs: usize,
}

impl Weights {
    /// From weight (outputs, inputs) and bias (outputs), of the type of `x`; `name` is what they are called in errors.
    pub(super) fn new(op: &'static str, name: &str, x: &Value, weight: &Value, bias: Option<&Value>) -> Result<Self> {
        let &[outputs, inputs] = weight.dims() else {
            bail!("{op}: the {name}weight must be a matrix, got shape {:?}", weight.dims());
        };
        if let Some(bias) = bias
            && bias.dims() != [outputs]
        {
            bail!("{op}: a {name}weight of shape {:?} takes a bias of shape [{outputs}], got {:?}", weight.dims(), bias.dims());
        }
        let dtype = x.tensor().dtype();
        if let Some(other) = std::iter::once(weight).chain(bias).find(|v| v.tensor().dtype() != dtype) {
            bail!("{op}: x holds {dtype:?} numbers, the {name}weights {:?}", other.tensor().dtype());
        }
        let weight = weight.tensor().contiguous()?;
        let bias = bias.map(|b| b.tensor().contiguous()).transpose()?;
        Ok(Self { op, inputs, outputs, weight, bias })
    }

    pub(super) fn lend<T: Element>(&self) -> Result<Lent<'_, T>> {
        let bias = self.bias.as_ref().map(|b| numbers::<T>(self.op, b)).transpose()?;
        Ok(Lent { weight: numbers::<T>(self.op, &self.weight)?, bias, inputs: self.inputs, outputs: self.outputs })
    }

    /// Room for the gradients that are wanted; the weight is input `place` of the operation, and the bias the next.
    pub(super) fn room<T: Element>(&self, inputs: &Inputs, place: usize) -> Room<T> {
        let bias = self.bias.is_some() && inputs.wanted(place + 1);
        Room {
            weight: inputs.wanted(place).then(|| output(self.outputs * self.inputs)),
            bias: bias.then(|| output(self.outputs)),
            inputs: self.inputs,
            outputs: self.outputs,
            biased: self.bias.is_some(),
        }
    }
}

impl<T: Element> Lent<'_, T> {
    pub(super) fn affine(&self) -> Affine<'_, T> {
        Affine { weight: &self.weight, bias: self.bias.as_deref(), inputs: self.inputs, outputs: self.outputs }
    }
}

/// Gradients of [`Weights`] while they are computed.
pub(super) struct Room<T> {
    weight: Option<Vec<T>>,
    bias: Option<Vec<T>>,
    inputs: usize,
    outputs: usize,
    biased: bool,
}

impl<T: Element> Room<T> {
    pub(super) fn lend(&mut self) -> AffineGrad<'_, T> {
        AffineGrad { weight: self.weight.as_deref_mut(), bias: self.bias.as_deref_mut() }
    }

    /// Adds the gradients to a list, one entry for the weight and one for the bias if there is a bias.
    pub(super) fn push_to(self, list: &mut Vec<Option<Tensor>>) -> Result<()> {
        list.push(self.weight.map(|w| tensor(w, &[self.outputs, self.inputs])).transpose()?);
        if self.biased {
            list.push(self.bias.map(|b| tensor(b, &[self.outputs])).transpose()?);
        }
        Ok(())
    }
}

/// Shape (.., inputs) → (.., outputs).
pub(super) fn last_axis(op: &str, x: &Value, inputs: usize, outputs: usize) -> Result<Vec<usize>> {
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == inputs => *last = outputs,
        _ => bail!("{op}: a weight with {inputs} inputs takes x of shape (.., {inputs}), got {:?}", x.dims()),
    }
    Ok(dims)
}

/// Shape (rows, inputs, time) → (rows, outputs, time).
pub(super) fn middle_axis(op: &str, x: &Value, inputs: usize, outputs: usize) -> Result<[usize; 3]> {
    match *x.dims() {
        [rows, i, time] if i == inputs => Ok([rows, outputs, time]),
        _ => bail!("{op}: a weight with {inputs} inputs takes x of shape (rows, {inputs}, time), got {:?}", x.dims()),
    }
}

/// The residual as a contiguous tensor of the result's shape.
pub(super) fn checked(op: &str, x: &Value, residual: Option<&Value>, dims: &[usize]) -> Result<Option<Tensor>> {
    let Some(residual) = residual else { return Ok(None) };
    if residual.dims() != dims || residual.tensor().dtype() != x.tensor().dtype() {
        let (shape, dtype) = (residual.dims(), residual.tensor().dtype());
        bail!(
            "{op}: the residual must have the result's shape {dims:?} and type {:?}, got {shape:?} {dtype:?}",
            x.tensor().dtype()
        );
    }
    Ok(Some(residual.tensor().contiguous()?))
}

/// `act(x·Wᵀ + b)` over the last axis.
///
/// Shapes: `x` (.., in), `w` (out, in), `b` (out), result (.., out). One pass over x forward; backward reads x and the gradient once,
/// saves nothing, and computes only the gradients that are wanted. Cost: see [`Linear`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn linear(x: &Value, w: &Value, b: Option<&Value>, activation: Activation) -> Result<Value> {
    over_last("linear", x, w, b, activation, None)
}

/// `x·Wᵀ + b + residual` over the last axis: [`linear`] onto a stream of the result's shape, without a pass of its own.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn linear_onto(x: &Value, w: &Value, b: Option<&Value>, residual: &Value) -> Result<Value> {
    over_last("linear_onto", x, w, b, Activation::Identity, Some(residual))
}

fn over_last(
    op: &'static str,
    x: &Value,
    w: &Value,
    b: Option<&Value>,
    activation: Activation,
    residual: Option<&Value>,
) -> Result<Value> {
    let weights = Weights::new(op, "", x, w, b)?;
    let dims = last_axis(op, x, weights.inputs, weights.outputs)?;
    let onto = checked(op, x, residual, &dims)?;
    let xs = x.tensor().contiguous()?;
    by_float!(op, xs, T => {
        let mut y = output::<T>(dims.iter().product());
        {
            let onto = onto.as_ref().map(|r| numbers::<T>(op, r)).transpose()?;
            let lent = weights.lend::<T>()?;
            let map = Linear { affine: lent.affine(), activation };
            map.forward(&numbers::<T>(op, &xs)?, onto.as_deref(), &mut y);
        }
        let y = tensor(y, &dims)?;
        let inputs: Vec<&Value> = [x, w].into_iter().chain(b).chain(residual).collect();
        let added = residual.is_some();
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = inputs.wanted(0).then(|| output::<T>(xs.elem_count()));
            let mut room = weights.room::<T>(&inputs, 1);
            {
                let lent = weights.lend::<T>()?;
                let map = Linear { affine: lent.affine(), activation };
                map.backward(&numbers::<T>(op, &xs)?, &numbers::<T>(op, &g)?, dx.as_deref_mut(), room.lend());
            }
            let mut gradients = vec![dx.map(|dx| tensor(dx, xs.dims())).transpose()?];
            room.push_to(&mut gradients)?;
            if added {
                gradients.push(Some(g));
            }
            Ok(gradients)
        }))
    })
}

/// `act(W·x_r + b)` for every matrix x_r of `x`: the middle axis is contracted, nothing is transposed.
///
/// Shapes: `x` (rows, in, time), `w` (out, in), `b` (out), result (rows, out, time). Cost: see [`LinearMid`]; saves nothing.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn linear_mid(x: &Value, w: &Value, b: Option<&Value>, activation: Activation) -> Result<Value> {
    const OP: &str = "linear_mid";
    let weights = Weights::new(OP, "", x, w, b)?;
    let dims = middle_axis(OP, x, weights.inputs, weights.outputs)?;
    let time = dims[2];
    let xs = x.tensor().contiguous()?;
    by_float!(OP, xs, T => {
        let mut y = output::<T>(dims.iter().product());
        LinearMid { affine: weights.lend::<T>()?.affine(), activation, time }.forward(&numbers::<T>(OP, &xs)?, &mut y);
        let y = tensor(y, &dims)?;
        let inputs: Vec<&Value> = [x, w].into_iter().chain(b).collect();
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = inputs.wanted(0).then(|| output::<T>(xs.elem_count()));
            let mut room = weights.room::<T>(&inputs, 1);
            {
                let lent = weights.lend::<T>()?;
                let map = LinearMid { affine: lent.affine(), activation, time };
                map.backward(&numbers::<T>(OP, &xs)?, &numbers::<T>(OP, &g)?, dx.as_deref_mut(), room.lend());
            }
            let mut gradients = vec![dx.map(|dx| tensor(dx, xs.dims())).transpose()?];
            room.push_to(&mut gradients)?;
            Ok(gradients)
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::{permute, reshape};
    use crate::nn::tape::Tape;
    use candle_core::Device;

    fn leaf(tape: &Tape, dims: &[usize], phase: f64) -> Value {
        let data: Vec<f64> = (0..dims.iter().product()).map(|i| ((i as f64) * 1.7 + phase).sin()).collect();
        tape.leaf(&Tensor::from_vec(data, dims, &Device::Cpu).unwrap())
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn close(a: &Tensor, b: &Tensor) {
        assert_eq!(a.dims(), b.dims());
        // Sums of some ten terms below 1, in two orders.
        assert!(flat(a).iter().zip(flat(b)).all(|(a, b)| (a - b).abs() < 1e-13), "{a} {b}");
    }

    #[test]
    fn the_middle_axis_form_is_the_last_axis_form_between_transpositions() {
        for bias in [false, true] {
            let run = |middle: bool| {
                let tape = Tape::new();
                let (x, w, b) = (leaf(&tape, &[3, 4, 5], 0.1), leaf(&tape, &[2, 4], 0.2), leaf(&tape, &[2], 0.3));
                let seed = leaf(&tape, &[3, 2, 5], 0.4);
                let b = bias.then_some(&b);
                let y = if middle {
                    linear_mid(&x, &w, b, Activation::Gelu).unwrap()
                } else {
                    let turned = permute(&x, &[0, 2, 1]).unwrap();
                    permute(&linear(&turned, &w, b, Activation::Gelu).unwrap(), &[0, 2, 1]).unwrap()
                };
                let g = tape.backward_from(&y, seed.tensor().clone()).unwrap();
                let mut all = vec![y.tensor().clone(), g.of(&x).unwrap().clone(), g.of(&w).unwrap().clone()];
                all.extend(b.map(|b| g.of(b).unwrap().clone()));
                all
            };
            run(true).iter().zip(&run(false)).for_each(|(a, b)| close(a, b));
        }
    }

    #[test]
    fn onto_a_stream_is_the_map_and_a_sum() {
        let run = |fused: bool| {
            let tape = Tape::new();
            let (x, w, b) = (leaf(&tape, &[3, 7, 4], 0.1), leaf(&tape, &[5, 4], 0.2), leaf(&tape, &[5], 0.3));
            let stream = leaf(&tape, &[3, 7, 5], 0.4);
            let y = if fused {
                linear_onto(&x, &w, Some(&b), &stream).unwrap()
            } else {
                crate::nn::ops::add(&linear(&x, &w, Some(&b), Activation::Identity).unwrap(), &stream).unwrap()
            };
            let g = tape.backward_from(&y, leaf(&tape, y.dims(), 0.5).tensor().clone()).unwrap();
            let gradients = [&x, &w, &b, &stream].map(|v| flat(g.of(v).unwrap()));
            (flat(y.tensor()), gradients)
        };
        // The same operations in the same order.
        assert_eq!(run(true), run(false));
        let tape = Tape::new();
        let (x, w) = (leaf(&tape, &[2, 4], 0.1), leaf(&tape, &[5, 4], 0.2));
        let error = linear_onto(&x, &w, None, &x).err().unwrap().to_string();
        assert!(error.contains("residual") && error.contains("[2, 5]"), "{error}");
    }

    #[test]
    fn any_number_of_leading_axes_and_any_layout() {
        let tape = Tape::new();
        let (x, w) = (leaf(&tape, &[4, 3, 2, 5], 0.1), leaf(&tape, &[6, 5], 0.2));
        let y = linear(&x, &w, None, Activation::Identity).unwrap();
        assert_eq!(y.dims(), [4, 3, 2, 6]);
        let rows = linear(&reshape(&x, &[24, 5]).unwrap(), &w, None, Activation::Identity).unwrap();
        close(&rows.tensor().reshape(y.dims()).unwrap(), y.tensor());
        // Strided x, weight and gradient.
        let turned = Value::from(x.tensor().transpose(0, 1).unwrap());
        let narrow = Value::from(Tensor::cat(&[w.tensor(), w.tensor()], 1).unwrap().narrow(1, 5, 5).unwrap());
        let z = linear(&turned, &narrow, None, Activation::Identity).unwrap();
        close(&z.tensor().transpose(0, 1).unwrap().contiguous().unwrap(), y.tensor());
        let seed = leaf(&tape, &[6, 2, 3, 4], 0.3).tensor().permute([3, 2, 1, 0]).unwrap();
        let strided = tape.backward_from(&y, seed.clone()).unwrap();
        let strided = strided.of(&w).unwrap().clone();
        let tape = Tape::new();
        let (x, w) = (tape.leaf(x.tensor()), tape.leaf(w.tensor()));
        let y = linear(&x, &w, None, Activation::Identity).unwrap();
        close(tape.backward_from(&y, seed.contiguous().unwrap()).unwrap().of(&w).unwrap(), &strided);
        // One row without any leading axis.
        let vector = Value::from(Tensor::new(&[1.0f64, 2.0, 3.0, 4.0, 5.0], &Device::Cpu).unwrap());
        assert_eq!(linear(&vector, &w, None, Activation::Identity).unwrap().dims(), [6]);
    }

    #[test]
    fn constants_get_no_gradient() {
        let tape = Tape::new();
        let (x, w, b) = (leaf(&tape, &[3, 4], 0.1), leaf(&tape, &[2, 4], 0.2), leaf(&tape, &[2], 0.3));
        let y = linear(&x.detach(), &w, Some(&b.detach()), Activation::Tanh).unwrap();
        let g = tape.backward(&y).unwrap();
        assert!(g.of(&x).is_none() && g.of(&b).is_none() && g.of(&w).is_some());
        assert!(!linear(&x.detach(), &w.detach(), None, Activation::Tanh).unwrap().recorded());
    }

    #[test]
    fn misfits_are_named() {
        let tape = Tape::new();
        let (x, w, b) = (leaf(&tape, &[3, 4, 1], 0.1), leaf(&tape, &[2, 5], 0.2), leaf(&tape, &[3], 0.3));
        let message = |r: Result<Value>| r.err().unwrap().to_string();
        let error = message(linear(&x, &w, None, Activation::Relu));
        assert!(error.contains("linear") && error.contains("[3, 4, 1]") && error.contains("(.., 5)"), "{error}");
        let error = message(linear_mid(&x, &w, None, Activation::Relu));
        assert!(error.contains("linear_mid") && error.contains("(rows, 5, time)"), "{error}");
        let error = message(linear(&x, &w, Some(&b), Activation::Relu));
        assert!(error.contains("[2]") && error.contains("[3]"), "{error}");
        let half = Value::from(w.tensor().to_dtype(candle_core::DType::F32).unwrap());
        assert!(message(linear(&x, &half, None, Activation::Relu)).contains("F32"));
        assert!(message(linear(&x, &x, None, Activation::Relu)).contains("matrix"));
    }
}
