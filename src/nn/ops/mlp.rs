//! Two affine maps with an activation between them, over the last or the middle axis; the hidden layer never leaves the cache.

use super::linear::{Weights, last_axis, middle_axis};
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

/// The residual as a contiguous tensor of the result's shape.
fn checked(op: &str, x: &Value, residual: Option<&Value>, dims: &[usize]) -> Result<Option<Tensor>> {
    let Some(residual) = residual else { return Ok(None) };
    if residual.dims() != dims || residual.tensor().dtype() != x.tensor().dtype() {
        let (shape, dtype) = (residual.dims(), residual.tensor().dtype());
        bail!("{op}: the residual must have the result's shape {dims:?} and type {:?}, got {shape:?} {dtype:?}", x.tensor().dtype());
    }
    Ok(Some(residual.tensor().contiguous()?))
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
