//! Glue: arithmetic on equal shapes, and changes of shape.

use super::arithmetic::{Binary, binary, scaled};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

fn same_shape(op: &str, a: &Value, b: &Value) -> Result<()> {
    if a.dims() != b.dims() {
        bail!("{op}: shapes differ, {:?} and {:?}", a.dims(), b.dims());
    }
    Ok(())
}

/// `a + b`, equal shapes.
pub fn add(a: &Value, b: &Value) -> Result<Value> {
    same_shape("add", a, b)?;
    let y = binary(Binary::Add, a.tensor(), b.tensor())?;
    Ok(record(&[a, b], y, |_| |g: Tensor| Ok(vec![Some(g.clone()), Some(g)])))
}

/// `a − b`, equal shapes.
pub fn sub(a: &Value, b: &Value) -> Result<Value> {
    same_shape("sub", a, b)?;
    let y = binary(Binary::Sub, a.tensor(), b.tensor())?;
    Ok(record(&[a, b], y, |inputs| {
        move |g: Tensor| {
            let minus = if inputs.wanted(1) { Some(scaled(&g, -1.0)?) } else { None };
            Ok(vec![Some(g), minus])
        }
    }))
}

/// `a · b` element by element, equal shapes.
pub fn mul(a: &Value, b: &Value) -> Result<Value> {
    same_shape("mul", a, b)?;
    let y = binary(Binary::Mul, a.tensor(), b.tensor())?;
    let (left, right) = (a.tensor().clone(), b.tensor().clone());
    Ok(record(&[a, b], y, |inputs| {
        move |g: Tensor| {
            let da = if inputs.wanted(0) { Some(binary(Binary::Mul, &g, &right)?) } else { None };
            let db = if inputs.wanted(1) { Some(binary(Binary::Mul, &g, &left)?) } else { None };
            Ok(vec![da, db])
        }
    }))
}

/// `factor · a`.
pub fn scale(a: &Value, factor: f64) -> Result<Value> {
    let y = scaled(a.tensor(), factor)?;
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(scaled(&g, factor)?)])))
}

/// `s · a` where `s` holds one number.
pub fn times_scalar(a: &Value, s: &Value) -> Result<Value> {
    if s.tensor().elem_count() != 1 {
        bail!("times_scalar: the factor must hold one number, got shape {:?}", s.dims());
    }
    let factor = s.tensor().reshape(())?;
    let y = a.tensor().broadcast_mul(&factor)?;
    let (x, s_dims) = (a.tensor().clone(), s.dims().to_vec());
    Ok(record(&[a, s], y, |inputs| {
        move |g: Tensor| {
            let da = if inputs.wanted(0) { Some(g.broadcast_mul(&factor)?) } else { None };
            let ds = if inputs.wanted(1) { Some((&g * &x)?.sum_all()?.reshape(s_dims)?) } else { None };
            Ok(vec![da, ds])
        }
    }))
}

/// The sum of all elements, a scalar.
pub fn sum_all(a: &Value) -> Result<Value> {
    let y = a.tensor().sum_all()?;
    let dims = a.dims().to_vec();
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(g.broadcast_as(dims)?.contiguous()?)])))
}

/// Same elements in row-major order, another shape.
pub fn reshape(a: &Value, dims: &[usize]) -> Result<Value> {
    let y = a.tensor().reshape(dims)?;
    let old = a.dims().to_vec();
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(g.reshape(old)?)])))
}

/// Axes in another order, as a contiguous tensor: axis `i` of the result is axis `axes[i]` of `a`.
pub fn permute(a: &Value, axes: &[usize]) -> Result<Value> {
    let y = a.tensor().permute(axes)?.contiguous()?;
    let mut inverse = vec![0; axes.len()];
    for (i, &axis) in axes.iter().enumerate() {
        inverse[axis] = i;
    }
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(g.permute(inverse)?.contiguous()?)])))
}

/// `len` entries of axis `axis` from `start` on.
pub fn narrow(a: &Value, axis: usize, start: usize, len: usize) -> Result<Value> {
    let y = a.tensor().narrow(axis, start, len)?.contiguous()?;
    let full = a.dims().get(axis).copied().unwrap_or(0);
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(g.pad_with_zeros(axis, start, full - start - len)?.contiguous()?)])))
}

/// Joined along `axis`.
pub fn cat(parts: &[&Value], axis: usize) -> Result<Value> {
    let tensors: Vec<&Tensor> = parts.iter().map(|v| v.tensor()).collect();
    let y = Tensor::cat(&tensors, axis)?;
    let lengths: Vec<usize> = parts.iter().map(|v| v.dims()[axis]).collect();
    Ok(record(parts, y, |inputs| {
        move |g: Tensor| {
            let mut start = 0;
            let mut out = Vec::with_capacity(lengths.len());
            for (i, len) in lengths.into_iter().enumerate() {
                out.push(if inputs.wanted(i) { Some(g.narrow(axis, start, len)?.contiguous()?) } else { None });
                start += len;
            }
            Ok(out)
        }
    }))
}

/// The entries of an axis in the opposite order.
pub fn flip(a: &Value, axis: usize) -> Result<Value> {
    let y = a.tensor().flip(&[axis])?;
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(g.flip(&[axis])?)])))
}

/// Row `rows[i]` of axis 0 as row `i` of the result; a row may be taken any number of times.
pub fn index_rows(a: &Value, rows: &Tensor) -> Result<Value> {
    let y = a.tensor().index_select(rows, 0)?;
    let (rows, zeros_like) = (rows.clone(), a.tensor().clone());
    Ok(record(&[a], y, |_| move |g: Tensor| Ok(vec![Some(zeros_like.zeros_like()?.index_add(&rows, &g, 0)?)])))
}
