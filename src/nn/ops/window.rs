//! What convolutions and additions along a window need: circular neighbours, and one tensor added to many.

use crate::by_float;
use crate::nn::storage::{Element, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Every step's neighbours on the circle: entry [r, c·k + j, t] of the result is x[r, c, (t + j − ⌊k/2⌋) mod time]. With it a
/// circular convolution of odd width k is a product over the middle axis with the weight (out, n, k) as (out, n·k).
///
/// `x`: (rows, n, time) → (rows, n·k, time). A kernel wider than the window wraps around more than once.
pub fn circular_unfold(x: &Value, kernel: usize) -> Result<Value> {
    let (rows, n, time) = x.tensor().dims3()?;
    if kernel.is_multiple_of(2) {
        bail!("circular_unfold: the kernel takes {kernel} steps, expected an odd number");
    }
    let source = x.tensor().contiguous()?;
    by_float!("circular_unfold", source, T => {
        let mut out = output::<T>(rows * n * kernel * time);
        let from = numbers::<T>("circular_unfold", &source)?;
        if time > 0 {
            let lines = out.par_chunks_mut((kernel * time).max(1)).zip(from.par_chunks(time));
            lines.with_min_len(LINES).for_each(|(to, from)| {
                for (j, to) in to.chunks_exact_mut(time).enumerate() {
                    let shift = turn(j, kernel, time);
                    to[..time - shift].copy_from_slice(&from[shift..]);
                    to[time - shift..].copy_from_slice(&from[..shift]);
                }
            });
        }
        let y = tensor(out, &[rows, n * kernel, time])?;
        Ok(record(&[x], y, |_| move |g: Tensor| Ok(vec![Some(fold::<T>(&g, rows, n, kernel, time)?)])))
    })
}

/// Lines of a window per task at least.
const LINES: usize = 64;

/// By how many steps line `j` of a kernel is turned.
fn turn(j: usize, kernel: usize, time: usize) -> usize {
    (j + kernel * time - kernel / 2) % time
}

/// The adjoint of the unfolding: every neighbour's gradient back to where it came from, added in the order of j.
fn fold<T: Element>(g: &Tensor, rows: usize, n: usize, kernel: usize, time: usize) -> Result<Tensor> {
    let g = g.contiguous()?;
    let mut out = vec![T::ZERO; rows * n * time];
    let from = numbers::<T>("circular_unfold", &g)?;
    if time > 0 {
        let lines = out.par_chunks_mut(time).zip(from.par_chunks((kernel * time).max(1)));
        lines.with_min_len(LINES).for_each(|(to, from)| {
            for (j, from) in from.chunks_exact(time).enumerate() {
                let shift = turn(j, kernel, time);
                to[shift..].iter_mut().zip(&from[..time - shift]).for_each(|(a, b)| *a += *b);
                to[..shift].iter_mut().zip(&from[time - shift..]).for_each(|(a, b)| *a += *b);
            }
        });
    }
    tensor(out, &[rows, n, time])
}

/// `a` seen as (outer, repeat, inner) plus `b` seen as (outer, inner), which is added to each of the `repeat` slices. The result has the
/// shape of `a`.
pub fn add_broadcast(a: &Value, b: &Value, outer: usize, repeat: usize, inner: usize) -> Result<Value> {
    let (count, added) = (a.tensor().elem_count(), b.tensor().elem_count());
    if count != outer * repeat * inner || added != outer * inner {
        bail!(
            "add_broadcast: shapes {:?} and {:?} are not ({outer}, {repeat}, {inner}) and ({outer}, {inner})",
            a.dims(),
            b.dims()
        );
    }
    let (left, right) = (a.tensor().contiguous()?, b.tensor().contiguous()?);
    let (a_dims, b_dims) = (a.dims().to_vec(), b.dims().to_vec());
    by_float!("add_broadcast", left, T => {
        let mut out = output::<T>(count);
        let (x, v) = (numbers::<T>("add_broadcast", &left)?, numbers::<T>("add_broadcast", &right)?);
        if inner > 0 {
            let slices = out.par_chunks_mut(inner).zip(x.par_chunks(inner)).enumerate();
            slices.with_min_len((4096 / inner).max(1)).for_each(|(i, (to, from))| {
                let v = &v[i / repeat * inner..][..inner];
                to.iter_mut().zip(from.iter().zip(v)).for_each(|(to, (a, b))| *to = *a + *b);
            });
        }
        let y = tensor(out, &a_dims)?;
        Ok(record(&[a, b], y, |inputs| {
            move |g: Tensor| {
                let db = if inputs.wanted(1) { Some(sum_repeats::<T>(&g, outer, repeat, inner, &b_dims)?) } else { None };
                Ok(vec![Some(g), db])
            }
        }))
    })
}

/// Elements of the sum per task: slices this wide stay in cache over all repeats.
const PIECE: usize = 1024;

/// Sums (outer, repeat, inner) over `repeat`, in order.
fn sum_repeats<T: Element>(g: &Tensor, outer: usize, repeat: usize, inner: usize, dims: &[usize]) -> Result<Tensor> {
    let g = g.contiguous()?;
    let mut out = vec![T::ZERO; outer * inner];
    let from = numbers::<T>("add_broadcast", &g)?;
    if inner > 0 {
        out.par_chunks_mut(inner).enumerate().for_each(|(o, to)| {
            to.par_chunks_mut(PIECE).enumerate().for_each(|(piece, to)| {
                for r in 0..repeat {
                    let from = &from[(o * repeat + r) * inner + piece * PIECE..][..to.len()];
                    to.iter_mut().zip(from).for_each(|(a, b)| *a += *b);
                }
            });
        });
    }
    tensor(out, dims)
}
