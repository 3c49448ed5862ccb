//! Softmax and attention.

use crate::by_float;
use crate::kernels::attention::{Attention, softmax as soften, softmax_backward as soften_backward};
use crate::nn::storage::{Element, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Softmax over the last axis: `exp(x) / Σ exp(x)`. A row of −∞ gives zeros.
///
/// Shapes: result as `x` (.., width). Cost: one read and one write, one exponential for each number; backward two reads, one write.
pub fn softmax(x: &Value) -> Result<Value> {
    const OP: &str = "softmax";
    let Some(&width) = x.dims().last() else { bail!("{OP}: takes rows, got a scalar") };
    let xs = x.tensor().contiguous()?;
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        soften(&numbers::<T>(OP, &xs)?, width, &mut y);
        let y = tensor(y, xs.dims())?;
        let saved = y.clone();
        Ok(record(&[x], y, |_| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = output::<T>(saved.elem_count());
            soften_backward(&numbers::<T>(OP, &saved)?, &numbers::<T>(OP, &g)?, width, &mut dx);
            Ok(vec![Some(tensor(dx, saved.dims())?)])
        }))
    })
}

/// Sizes of an attention, checked.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    /// Numbers of one head in a row.
    width: usize,
}

impl Shape {
    fn of(op: &str, q: &Value, k: &Value, v: &Value, heads: usize) -> Result<Self> {
        let [batch, queries, row] = *q.dims() else {
            bail!("{op}: q must be (batch, queries, heads · width), got shape {:?}", q.dims())
        };
        let fits = matches!(*k.dims(), [b, _, r] if (b, r) == (batch, row)) && k.dims() == v.dims();
        if !fits {
            bail!("{op}: k and v must be ({batch}, keys, {row}) to q's {:?}, got {:?} and {:?}", q.dims(), k.dims(), v.dims());
        }
        if heads == 0 || row % heads != 0 {
            bail!("{op}: rows of {row} (q has shape {:?}) do not make {heads} equal heads", q.dims());
        }
        Ok(Self { batch, queries, keys: k.dims()[1], heads, width: row / heads })
    }

    fn kernel<T>(self, scale: f64, mask: Option<&[T]>, causal: bool) -> Attention<'_, T> {
        let Self { batch, queries, keys, heads, width } = self;
        Attention { batch, heads, queries, keys, width, scale, mask, causal }
    }
}

/// Attention of every head: `softmax(scale · q·kᵀ + mask) · v`.
///
/// Shapes: `q` and result (batch, queries, heads · width), `k` and `v` (batch, keys, heads · width), heads beside each other as a
/// linear layer leaves them; `mask` (queries, keys), added to the scaled dot products of all heads, constant. `scale` is usually
/// 1/√width. With `causal`, query i sees keys 0..=i. A query that sees nothing gives zeros.
///
/// The matrix of weights is never stored. Cost and source: see [`Attention`].
pub fn attention(
    q: &Value,
    k: &Value,
    v: &Value,
    heads: usize,
    scale: f64,
    mask: Option<&Tensor>,
    causal: bool,
) -> Result<Value> {
    const OP: &str = "attention";
    let shape = Shape::of(OP, q, k, v, heads)?;
    if let Some(mask) = mask
        && mask.dims() != [shape.queries, shape.keys]
    {
        bail!("{OP}: the mask must be ({}, {}), got shape {:?}", shape.queries, shape.keys, mask.dims());
    }
    let mask = mask.map(Tensor::contiguous).transpose()?;
    let saved = [q.tensor().contiguous()?, k.tensor().contiguous()?, v.tensor().contiguous()?];
    by_float!(OP, saved[0], T => {
        let mut y = output::<T>(saved[0].elem_count());
        let log_sums = {
            let mask = mask.as_ref().map(|m| numbers::<T>(OP, m)).transpose()?;
            let [q, k, v] = [numbers::<T>(OP, &saved[0])?, numbers(OP, &saved[1])?, numbers(OP, &saved[2])?];
            shape.kernel(scale, mask.as_deref(), causal).forward(&q, &k, &v, &mut y)
        };
        let y = tensor(y, saved[0].dims())?;
        let out = y.clone();
        Ok(record(&[q, k, v], y, |_| move |g: Tensor| {
            let g = g.contiguous()?;
            let [mut dq, mut dk, mut dv] = [0, 1, 2].map(|i| output::<T>(saved[i].elem_count()));
            {
                let mask = mask.as_ref().map(|m| numbers::<T>(OP, m)).transpose()?;
                let [q, k, v] = [numbers::<T>(OP, &saved[0])?, numbers(OP, &saved[1])?, numbers(OP, &saved[2])?];
                let (out, g) = (numbers::<T>(OP, &out)?, numbers::<T>(OP, &g)?);
                let kernel = shape.kernel(scale, mask.as_deref(), causal);
                kernel.backward([&q, &k, &v], &out, &log_sums, &g, [&mut dq, &mut dk, &mut dv]);
            }
            [dq, dk, dv].into_iter().zip(&saved).map(|(d, of)| Ok(Some(tensor(d, of.dims())?))).collect()
        }))
    })
}

/// Attention whose logits are sums of dot products: `softmax(scale · Σ_i q_i·k_iᵀ) · v` for every head. What a stack with residual
/// attention computes, where each layer adds its scores to those of all layers before it.
///
/// Shapes: `q_i` and result (batch, queries, heads · width), `k_i` and `v` (batch, keys, heads · width), as many `q_i` as `k_i`.
///
/// A sum of dot products is the dot product of longer rows, so the fused kernel does it with no matrix of scores kept or handed on:
/// the pairs of each head are laid side by side, and the values are padded to that width. Cost: that of [`attention`] with heads
/// `pairs` times as wide, and one copy of all inputs.
///
/// Source: He et al. 2020 (RealFormer, arXiv 2012.11747), equation 3; the form without scores is ours.
pub fn residual_attention(pairs: &[(&Value, &Value)], v: &Value, heads: usize, scale: f64) -> Result<Value> {
    const OP: &str = "residual_attention";
    let [(q, k), rest @ ..] = pairs else { bail!("{OP}: takes one pair of queries and keys or more, got none") };
    let shape = Shape::of(OP, q, k, v, heads)?;
    if rest.is_empty() {
        return attention(q, k, v, heads, scale, None, false);
    }
    if let Some((a, b)) = rest.iter().find(|(a, b)| a.dims() != q.dims() || b.dims() != k.dims()) {
        bail!("{OP}: pairs differ in shape, {:?} {:?} and {:?} {:?}", q.dims(), k.dims(), a.dims(), b.dims());
    }
    let count = pairs.len();
    let long = Shape { width: count * shape.width, ..shape };
    let contiguous = |values: Vec<&Value>| values.into_iter().map(|v| v.tensor().contiguous()).collect::<Result<Vec<_>>>();
    let queries = contiguous(pairs.iter().map(|p| p.0).collect())?;
    let keys = contiguous(pairs.iter().map(|p| p.1).collect())?;
    let values = v.tensor().contiguous()?;
    by_float!(OP, values, T => {
        let layout = Side { heads, width: shape.width, count };
        let (y, log_sums) = {
            let [q, k] = [layout.join::<T>(OP, &queries)?, layout.join(OP, &keys)?];
            let v = layout.join::<T>(OP, std::slice::from_ref(&values))?;
            let mut y = output::<T>(q.len());
            let log_sums = long.kernel(scale, None, false).forward(&q, &k, &v, &mut y);
            (tensor(layout.part(&y, 0), &[shape.batch, shape.queries, heads * shape.width])?, log_sums)
        };
        let out = y.clone();
        let inputs: Vec<&Value> = pairs.iter().map(|p| p.0).chain(pairs.iter().map(|p| p.1)).chain([v]).collect();
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let [q, k] = [layout.join::<T>(OP, &queries)?, layout.join(OP, &keys)?];
            let [v, out, g] = [&values, &out, &g].map(|t| layout.join::<T>(OP, std::slice::from_ref(t)));
            let (v, out, g) = (v?, out?, g?);
            let (mut dq, mut dk, mut dv) = (output::<T>(q.len()), output::<T>(k.len()), output::<T>(k.len()));
            long.kernel(scale, None, false).backward([&q, &k, &v], &out, &log_sums, &g, [&mut dq, &mut dk, &mut dv]);
            let part = |of: &[T], i: usize, input: usize, dims: &[usize]| -> Result<Option<Tensor>> {
                if inputs.wanted(input) { tensor(layout.part(of, i), dims).map(Some) } else { Ok(None) }
            };
            let mut gradients = Vec::with_capacity(2 * count + 1);
            for (i, q) in queries.iter().enumerate() {
                gradients.push(part(&dq, i, i, q.dims())?);
            }
            for (i, k) in keys.iter().enumerate() {
                gradients.push(part(&dk, i, count + i, k.dims())?);
            }
            gradients.push(part(&dv, 0, 2 * count, values.dims())?);
            Ok(gradients)
        }))
    })
}

/// Rows of (heads · width) laid side by side, head by head: (heads · count · width).
#[derive(Clone, Copy)]
struct Side {
    heads: usize,
    width: usize,
    count: usize,
}

/// Rows in a task.
const ROWS: usize = 256;

impl Side {
    /// `parts`, and zeros for those that are missing.
    fn join<T: Element>(self, op: &str, parts: &[Tensor]) -> Result<Vec<T>> {
        let parts = parts.iter().map(|p| numbers::<T>(op, p)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<&[T]> = parts.iter().map(|p| &**p).collect();
        let Self { heads, width, count } = self;
        let row = heads * width;
        let mut all = output::<T>(parts[0].len() * count);
        if row > 0 {
            all.par_chunks_mut(ROWS * count * row).enumerate().for_each(|(task, to)| {
                for (h, head) in to.chunks_exact_mut(count * width).enumerate() {
                    let from = task * ROWS * row + h * width;
                    for (i, to) in head.chunks_exact_mut(width).enumerate() {
                        match parts.get(i) {
                            Some(part) => to.copy_from_slice(&part[from..from + width]),
                            None => to.fill(T::ZERO),
                        }
                    }
                }
            });
        }
        Ok(all)
    }

    /// Part `i` of what was joined.
    fn part<T: Element>(self, all: &[T], i: usize) -> Vec<T> {
        let Self { heads, width, count } = self;
        let row = heads * width;
        let mut part = output::<T>(all.len() / count);
        if row > 0 {
            part.par_chunks_mut(ROWS * row).enumerate().for_each(|(task, to)| {
                for (h, to) in to.chunks_exact_mut(width).enumerate() {
                    to.copy_from_slice(&all[task * ROWS * row * count + (h * count + i) * width..][..width]);
                }
            });
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::super::norm::tests::{check_gradients, flat, wave};
    use super::*;
    use crate::nn::ops;
    use candle_core::{DType, Device};

    #[test]
    fn softmax_differentiates() {
        for width in [1, 4, 21] {
            check_gradients(&[wave(&[2, 3, width], 0.3)], |v| softmax(&v[0]).unwrap());
        }
    }

    #[test]
    fn attention_differentiates() {
        let inputs = [wave(&[2, 5, 6], 0.3), wave(&[2, 4, 6], 0.8), wave(&[2, 4, 6], 1.7)];
        let mask = wave(&[5, 4], 0.6);
        for (heads, mask, causal) in [(1, None, false), (2, Some(&mask), false), (3, None, true)] {
            check_gradients(&inputs, |v| attention(&v[0], &v[1], &v[2], heads, 0.7, mask, causal).unwrap());
        }
    }

    /// Attention written with the scores in full: q, k, v (batch, rows, heads · width).
    fn with_scores(pairs: &[(Tensor, Tensor)], v: &Tensor, heads: usize, scale: f64) -> Tensor {
        let split = |t: &Tensor| {
            let (b, n, row) = t.dims3().unwrap();
            t.reshape((b, n, heads, row / heads)).unwrap().transpose(1, 2).unwrap().contiguous().unwrap()
        };
        let scores = pairs.iter().map(|(q, k)| split(q).matmul(&split(k).t().unwrap().contiguous().unwrap()).unwrap());
        let scores = (scores.reduce(|a, b| (a + b).unwrap()).unwrap() * scale).unwrap();
        let weights = softmax(&scores.into()).unwrap();
        let y = weights.tensor().matmul(&split(v)).unwrap().transpose(1, 2).unwrap();
        y.flatten_from(2).unwrap()
    }

    #[test]
    fn adding_scores_and_longer_rows_are_the_same() {
        let v = wave(&[3, 7, 12], 2.2);
        for count in 1..=4 {
            let pairs: Vec<(Tensor, Tensor)> =
                (0..count).map(|i| (wave(&[3, 5, 12], i as f64), wave(&[3, 7, 12], 0.5 + 3.0 * i as f64))).collect();
            for heads in [1, 3, 12] {
                let values: Vec<(Value, Value)> = pairs.iter().map(|(q, k)| (q.clone().into(), k.clone().into())).collect();
                let lent: Vec<(&Value, &Value)> = values.iter().map(|(q, k)| (q, k)).collect();
                let got = residual_attention(&lent, &v.clone().into(), heads, 0.4).unwrap();
                let want = with_scores(&pairs, &v, heads, 0.4);
                assert_eq!(got.dims(), want.dims());
                // Sums of at most 48 products of numbers near 1, in another order, through one exponential.
                for (a, b) in flat(got.tensor()).iter().zip(flat(&want)) {
                    assert!((a - b).abs() < 1e-13, "{count} pairs, {heads} heads: {a} instead of {b}");
                }
            }
        }
    }

    #[test]
    fn residual_attention_differentiates() {
        let mut inputs: Vec<Tensor> = (0..3).map(|i| wave(&[2, 3, 4], i as f64)).collect();
        inputs.extend((0..3).map(|i| wave(&[2, 5, 4], 0.4 - i as f64)));
        inputs.push(wave(&[2, 5, 4], 0.9));
        check_gradients(&inputs, |v| {
            let pairs: Vec<(&Value, &Value)> = (0..3).map(|i| (&v[i], &v[3 + i])).collect();
            residual_attention(&pairs, &v[6], 2, 0.6).unwrap()
        });
    }

    #[test]
    fn many_keys_need_the_output_in_the_backward_pass() {
        // More keys than the kernel takes in one block; a few elements of each gradient against central differences would not show
        // a wrong layout everywhere, so the gradients are compared with those of plain attention over joined rows.
        let (n, w) = (150, 4);
        let inputs: Vec<Tensor> = (0..5).map(|i| wave(&[1, n, w], i as f64)).collect();
        let tape = crate::nn::tape::Tape::new();
        let leaves: Vec<Value> = inputs.iter().map(|t| tape.leaf(t)).collect();
        let y = residual_attention(&[(&leaves[0], &leaves[2]), (&leaves[1], &leaves[3])], &leaves[4], 1, 0.5).unwrap();
        let gradients = tape.backward(&ops::mul(&y, &y).unwrap()).unwrap();
        let plain = crate::nn::tape::Tape::new();
        let again: Vec<Value> = inputs.iter().map(|t| plain.leaf(t)).collect();
        let q = ops::cat(&[&again[0], &again[1]], 2).unwrap();
        let k = ops::cat(&[&again[2], &again[3]], 2).unwrap();
        let v = ops::cat(&[&again[4], &Value::from(inputs[4].zeros_like().unwrap())], 2).unwrap();
        let y = ops::narrow(&attention(&q, &k, &v, 1, 0.5, None, false).unwrap(), 2, 0, w).unwrap();
        let want = plain.backward(&ops::mul(&y, &y).unwrap()).unwrap();
        for (a, b) in leaves.iter().zip(&again) {
            assert_eq!(flat(gradients.of(a).unwrap()), flat(want.of(b).unwrap()));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_explained() {
        let v = |dims: &[usize]| Value::from(wave(dims, 0.0));
        let text = |r: Result<Value>| r.err().expect("must fail").to_string();
        let q = v(&[2, 3, 4]);
        assert!(text(softmax(&v(&[]))).contains("softmax"));
        assert!(text(attention(&v(&[3, 4]), &q, &q, 1, 1.0, None, false)).contains("attention: q must be"));
        assert!(text(attention(&q, &v(&[2, 3, 5]), &q, 1, 1.0, None, false)).contains("k and v must be (2, keys, 4)"));
        assert!(text(attention(&q, &q, &q, 3, 1.0, None, false)).contains("3 equal heads"));
        assert!(text(attention(&q, &q, &q, 0, 1.0, None, false)).contains("0 equal heads"));
        let mask = Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap();
        assert!(text(attention(&q, &q, &q, 1, 1.0, Some(&mask), false)).contains("mask must be (3, 3)"));
        assert!(text(residual_attention(&[], &q, 1, 1.0)).contains("got none"));
        let other = v(&[2, 2, 4]);
        assert!(text(residual_attention(&[(&q, &q), (&other, &q)], &q, 1, 1.0)).contains("pairs differ"));
    }
}
