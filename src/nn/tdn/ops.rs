//! Recorded operations of equivariant graph networks: linear, bilinear, or functions of single numbers, so that [`Jet`](super::jet::Jet)
//! knows their derivatives. Features are (rows, d, channels), d = (L + 1)².

use super::graph::Index;
use crate::by_float;
use crate::kernels::coupled::{Channels, Gradients, Operands, TensorProduct};
use crate::kernels::elementwise::chunks::worth_sharing;
use crate::kernels::elementwise::map::{Map1, Map2, map1, map2};
use crate::kernels::simd::{Lanes, Real, math};
use crate::nn::storage::{Element, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Numbers of a task.
const PIECE: usize = 1 << 14;

/// Gives `work` every row of `out`, on all threads when there are many numbers.
fn each_row<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    if width == 0 {
    } else if worth_sharing(out.len()) {
        let rows = out.par_chunks_mut(width).enumerate().with_min_len((PIECE / width).max(1));
        rows.for_each(|(r, row)| work(r, row));
    } else {
        out.chunks_mut(width).enumerate().for_each(|(r, row)| work(r, row));
    }
}

/// A function of single numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Func {
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// x/(1 + e⁻ˣ)
    Silu,
    /// eˣ
    Exp,
    /// 1/x
    Recip,
    /// 1/√(x + ε)
    Rsqrt { eps: f64 },
    /// x (1 + a)/2 + x (1 − a)/2 (2 σ(x) − 1): a leaky ReLU of slope a without a corner.
    SmoothLeaky { slope: f64 },
    /// e^(−x²/2)
    Gauss,
    /// 1/(|x| + ε)
    RecipAbs { eps: f64 },
    /// (1 + cos(rate x))/2 up to its first zero, then 0.
    Fade { rate: f64 },
}

impl Func {
    /// The function and its first two derivatives.
    pub fn at(self, x: f64) -> [f64; 3] {
        let sigmoid = || {
            let s = 1.0 / (1.0 + (-x).exp());
            let d = s * (1.0 - s);
            (s, d, d * (1.0 - 2.0 * s))
        };
        match self {
            Self::Sigmoid => sigmoid().into(),
            Self::Silu => {
                let (s, d, dd) = sigmoid();
                [x * s, s + x * d, 2.0 * d + x * dd]
            }
            Self::Exp => [x.exp(); 3],
            Self::Recip => {
                let y = 1.0 / x;
                [y, -y * y, 2.0 * y * y * y]
            }
            Self::Rsqrt { eps } => {
                let square = 1.0 / (x + eps);
                let y = square.sqrt();
                [y, -0.5 * y * square, 0.75 * y * square * square]
            }
            Self::SmoothLeaky { slope } => {
                let (s, d, dd) = sigmoid();
                let b = (1.0 - slope) / 2.0;
                [
                    x * (1.0 + slope) / 2.0 + x * b * (2.0 * s - 1.0),
                    (1.0 + slope) / 2.0 + b * (2.0 * s - 1.0 + 2.0 * x * d),
                    b * (4.0 * d + 2.0 * x * dd),
                ]
            }
            Self::Gauss => {
                let y = (-0.5 * x * x).exp();
                [y, -x * y, (x * x - 1.0) * y]
            }
            Self::RecipAbs { eps } => {
                let y = 1.0 / (x.abs() + eps);
                let sign = if x < 0.0 { -1.0 } else { 1.0 };
                [y, -sign * y * y, 2.0 * y * y * y]
            }
            Self::Fade { rate } if (x * rate).abs() < std::f64::consts::PI => {
                let (sin, cos) = (x * rate).sin_cos();
                [0.5 + 0.5 * cos, -0.5 * rate * sin, -0.5 * rate * rate * cos]
            }
            Self::Fade { .. } => [0.0; 3],
        }
    }
}

/// A derivative of a function on vectors; [`Func::at`] is the definition.
#[derive(Clone, Copy)]
struct Vector {
    f: Func,
    order: usize,
}

// Functions and not closures: a closure would be compiled without the features of the instruction set.
#[inline(always)]
fn number<T: Real, V: Lanes<T>>(v: f64) -> V {
    V::splat(T::from_f64(v))
}

/// σ and its first two derivatives.
#[inline(always)]
fn logistic<T: Real, V: Lanes<T>>(x: V) -> (V, V, V) {
    let one = number::<T, V>(1.0);
    let s = math::sigmoid::<T, V>(x);
    let d = s.mul(one.sub(s));
    (s, d, d.mul(s.neg_fma(number::<T, V>(2.0), one)))
}

impl Vector {
    #[inline(always)]
    fn value<T: Real, V: Lanes<T>>(self, x: V) -> V {
        match (self.f, self.order) {
            (Func::Sigmoid, 0) => math::sigmoid::<T, V>(x),
            (Func::Sigmoid, 1) => logistic::<T, V>(x).1,
            (Func::Sigmoid, _) => logistic::<T, V>(x).2,
            (Func::Silu, order) => {
                let (s, d, dd) = logistic::<T, V>(x);
                match order {
                    0 => x.mul(s),
                    1 => x.fma(d, s),
                    _ => x.fma(dd, d.add(d)),
                }
            }
            (Func::Exp, _) => math::exp::<T, V>(x),
            (Func::Recip, order) => {
                let y = number::<T, V>(1.0).div(x);
                match order {
                    0 => y,
                    1 => y.mul(y).neg(),
                    _ => y.mul(y).mul(y.add(y)),
                }
            }
            (Func::Rsqrt { eps }, order) => {
                let square = number::<T, V>(1.0).div(x.add(number::<T, V>(eps)));
                let y = square.sqrt();
                match order {
                    0 => y,
                    1 => y.mul(square).mul(number::<T, V>(-0.5)),
                    _ => y.mul(square).mul(square).mul(number::<T, V>(0.75)),
                }
            }
            (Func::SmoothLeaky { slope }, order) => {
                let (s, d, dd) = logistic::<T, V>(x);
                let (a, b) = (number::<T, V>((1.0 + slope) / 2.0), number::<T, V>((1.0 - slope) / 2.0));
                let centred = s.add(s).sub(number::<T, V>(1.0));
                match order {
                    0 => x.mul(b.fma(centred, a)),
                    1 => b.fma(x.mul(d).fma(number::<T, V>(2.0), centred), a),
                    _ => b.mul(x.mul(dd).fma(number::<T, V>(2.0), d.mul(number::<T, V>(4.0)))),
                }
            }
            (Func::Gauss, order) => {
                let y = math::exp::<T, V>(x.mul(x).mul(number::<T, V>(-0.5)));
                match order {
                    0 => y,
                    1 => x.mul(y).neg(),
                    _ => x.fma(x, number::<T, V>(-1.0)).mul(y),
                }
            }
            (Func::RecipAbs { eps }, order) => {
                let y = number::<T, V>(1.0).div(x.abs().add(number::<T, V>(eps)));
                match order {
                    0 => y,
                    1 => y.mul(y).copysign(x).neg(),
                    _ => y.mul(y).mul(y.add(y)),
                }
            }
            // Of a few numbers only: see `applied`.
            (Func::Fade { .. }, _) => number::<T, V>(f64::NAN),
        }
    }
}

impl<T: Real> Map1<T> for Vector {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, x: V) -> V {
        self.value(x)
    }
}

impl<T: Real> Map2<T> for Vector {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, x: V, by: V) -> V {
        self.value(x).mul(by)
    }
}

/// Derivative number `order` (0 or 1) of `f` at every number of `x`.
pub fn function(x: &Value, f: Func, order: usize) -> Result<Value> {
    let source = x.tensor().contiguous()?;
    by_float!("function", source, T => {
        let y = applied::<T>(&source, None, f, order)?;
        Ok(record(&[x], y, |_| move |g: Tensor| Ok(vec![Some(applied::<T>(&source, Some(&g.contiguous()?), f, order + 1)?)])))
    })
}

/// Derivative `order` of `f` at x, times `by`.
fn applied<T: Element>(x: &Tensor, by: Option<&Tensor>, f: Func, order: usize) -> Result<Tensor> {
    let mut out = output::<T>(x.elem_count());
    {
        let xs = numbers::<T>("function", x)?;
        let xs: &[T] = &xs;
        let by = by.map(|t| numbers::<T>("function", t)).transpose()?;
        match (f, by.as_deref()) {
            (Func::Fade { .. }, by) => {
                for (n, to) in out.iter_mut().enumerate() {
                    let y = <T as Real>::from_f64(f.at(Real::to_f64(xs[n]))[order]);
                    *to = by.map_or(y, |by| by[n] * y);
                }
            }
            (_, None) => map1(Vector { f, order }, xs, &mut out),
            (_, Some(by)) => map2(Vector { f, order }, xs, by, &mut out),
        }
    }
    tensor(out, x.dims())
}

/// A linear operation and its adjoint.
fn linear_pair(
    x: &Value,
    forward: impl Fn(&Tensor) -> Result<Tensor>,
    adjoint: impl Fn(&Tensor) -> Result<Tensor> + 'static,
) -> Result<Value> {
    let y = forward(&x.tensor().contiguous()?)?;
    Ok(record(&[x], y, |_| move |g: Tensor| Ok(vec![Some(adjoint(&g.contiguous()?)?)])))
}

/// Row `index[e]` of x as row e of the result; rows are all but the first axis.
pub fn gather(x: &Value, index: &Arc<Index>) -> Result<Value> {
    let back = index.clone();
    linear_pair(x, |x| gather_rows(x, index), move |g| scatter_rows(g, &back))
}

/// Row n of the result is the sum of the rows e of x with `index[e] = n`, in order of e.
pub fn scatter(x: &Value, index: &Arc<Index>) -> Result<Value> {
    let back = index.clone();
    linear_pair(x, |x| scatter_rows(x, index), move |g| gather_rows(g, &back))
}

/// (rows, numbers of a row) and the shape with another number of rows.
fn rows_of(op: &str, x: &Tensor, rows: usize, new: usize) -> Result<(usize, Vec<usize>)> {
    let mut dims = x.dims().to_vec();
    if dims.first() != Some(&rows) {
        bail!("{op}: x of shape {dims:?} must have {rows} rows");
    }
    dims[0] = new;
    Ok((dims[1..].iter().product(), dims))
}

fn gather_rows(x: &Tensor, index: &Index) -> Result<Tensor> {
    let (width, dims) = rows_of("gather", x, index.targets(), index.len())?;
    by_float!("gather", x, T => {
        let mut out = output::<T>(index.len() * width);
        let from = numbers::<T>("gather", x)?;
        let from: &[T] = &from;
        each_row(&mut out, width, |e, to| to.copy_from_slice(&from[index.of()[e] as usize * width..][..width]));
        tensor(out, &dims)
    })
}

fn scatter_rows(x: &Tensor, index: &Index) -> Result<Tensor> {
    let (width, dims) = rows_of("scatter", x, index.len(), index.targets())?;
    by_float!("scatter", x, T => {
        let mut out = vec![<T as Real>::ZERO; index.targets() * width];
        let from = numbers::<T>("scatter", x)?;
        let from: &[T] = &from;
        each_row(&mut out, width, |n, to| {
            for e in index.sources(n) {
                to.iter_mut().zip(&from[*e as usize * width..][..width]).for_each(|(a, b)| *a += *b);
            }
        });
        tensor(out, &dims)
    })
}

/// x and y seen as (rows, parts, width): the sum of x·y over the last axis, (rows, parts).
pub fn dots(x: &Value, y: &Value, parts: &Parts) -> Result<Value> {
    let (a, b) = (x.tensor().contiguous()?, y.tensor().contiguous()?);
    let z = parts.dots(&a, &b)?;
    let parts = parts.clone();
    Ok(record(&[x, y], z, |inputs| {
        move |g: Tensor| {
            let g = g.contiguous()?;
            let of = |i: usize, other: &Tensor| if inputs.wanted(i) { parts.scaled(other, &g).map(Some) } else { Ok(None) };
            Ok(vec![of(0, &b)?, of(1, &a)?])
        }
    }))
}

/// x, every part of every row times its number of `s` (rows, parts).
pub fn scale_parts(x: &Value, s: &Value, parts: &Parts) -> Result<Value> {
    let (a, b) = (x.tensor().contiguous()?, s.tensor().contiguous()?);
    let z = parts.scaled(&a, &b)?;
    let parts = parts.clone();
    Ok(record(&[x, s], z, |inputs| {
        move |g: Tensor| {
            let g = g.contiguous()?;
            let dx = if inputs.wanted(0) { Some(parts.scaled(&g, &b)?) } else { None };
            let ds = if inputs.wanted(1) { Some(parts.dots(&g, &a)?) } else { None };
            Ok(vec![dx, ds])
        }
    }))
}

/// The sum of every part of every row of x, (rows, parts).
pub fn sums(x: &Value, parts: &Parts) -> Result<Value> {
    let (own, dims) = (parts.clone(), x.dims().to_vec());
    linear_pair(x, |x| parts.sums(x), move |g| own.spread(g, &dims))
}

/// x (rows, width) as (rows, d, width) with zeros behind l = 0. The adjoint of [`heads_of_rows`].
pub fn into_rows(x: &Value, d: usize) -> Result<Value> {
    let (rows, width) = x.tensor().dims2()?;
    linear_pair(
        x,
        |x| x.pad_with_zeros(1, 0, (d - 1) * width)?.reshape((rows, d, width))?.contiguous(),
        move |g| g.reshape((rows, d * width))?.narrow(1, 0, width)?.contiguous(),
    )
}

/// For every row e the largest number of the rows with the same target, column by column: a constant.
pub fn largest_of_target(x: &Tensor, target: &Index) -> Result<Tensor> {
    let (width, _) = rows_of("softmax", x, target.len(), target.len())?;
    by_float!("softmax", x, T => {
        let mut out = output::<T>(target.len() * width);
        {
            let from = numbers::<T>("softmax", x)?;
            for n in 0..target.targets() {
                for c in 0..width {
                    let rows = target.sources(n).iter().map(|e| from[*e as usize * width + c]);
                    let top = rows.fold(T::from_f64(f64::MIN), |m, v| if v > m { v } else { m });
                    target.sources(n).iter().for_each(|e| out[*e as usize * width + c] = top);
                }
            }
        }
        tensor(out, x.dims())
    })
}

/// Numbers of a row that follow each other and belong to one part.
#[derive(Debug, Clone, Copy)]
struct Run {
    part: usize,
    start: usize,
    end: usize,
}

/// How a row is cut into parts.
#[derive(Debug, Clone)]
pub struct Parts {
    runs: Arc<Vec<Run>>,
    width: usize,
    count: usize,
}

/// Σ a b, in 8 sums.
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::ZERO; 8];
    let (mut left, mut right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in (&mut left).zip(&mut right) {
        (0..8).for_each(|k| sums[k] += a[k] * b[k]);
    }
    let rest = left.remainder().iter().zip(right.remainder()).fold(T::ZERO, |sum, (a, b)| sum + *a * *b);
    sums.iter().fold(rest, |sum, part| sum + *part)
}

impl Parts {
    fn new(sizes: impl Iterator<Item = (usize, usize)>, count: usize) -> Self {
        let mut end = 0;
        let runs = sizes.map(|(part, size)| {
            let start = end;
            end += size;
            Run { part, start, end }
        });
        let runs: Vec<Run> = runs.collect();
        Self { runs: Arc::new(runs), width: end, count }
    }

    /// `count` parts of `width` numbers each, one after the other.
    pub fn equal(count: usize, width: usize) -> Self {
        Self::new((0..count).map(|p| (p, width)), count)
    }

    /// One part for each l of (L + 1)² rows of `channels`.
    pub fn degrees(lmax: usize, channels: usize) -> Self {
        Self::new((0..=lmax).map(|l| (l, (2 * l + 1) * channels)), lmax + 1)
    }

    /// One part for each of `heads` groups of channels, in every one of `d` rows.
    pub fn heads(d: usize, heads: usize, width: usize) -> Self {
        Self::new((0..d * heads).map(|n| (n % heads, width)), heads)
    }

    /// Numbers of every part.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.count];
        self.runs.iter().for_each(|r| sizes[r.part] += r.end - r.start);
        sizes
    }

    fn rows(&self, x: &Tensor) -> Result<usize> {
        let (n, width) = (x.elem_count(), self.width);
        if width == 0 || !n.is_multiple_of(width) {
            bail!("parts: {:?} does not make rows of {width} numbers", x.dims());
        }
        Ok(n / width)
    }

    fn dots(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (rows, width, count) = (self.rows(x)?, self.width, self.count);
        if y.elem_count() != x.elem_count() {
            bail!("parts: {:?} and {:?} do not go together", x.dims(), y.dims());
        }
        by_float!("parts", x, T => {
            let mut out = vec![<T as Real>::ZERO; rows * count];
            let (a, b) = (numbers::<T>("parts", x)?, numbers::<T>("parts", y)?);
            let (a, b): (&[T], &[T]) = (&a, &b);
            each_row(&mut out, count, |r, to| {
                let (a, b) = (&a[r * width..][..width], &b[r * width..][..width]);
                self.runs.iter().for_each(|n| to[n.part] += dot(&a[n.start..n.end], &b[n.start..n.end]));
            });
            tensor(out, &[rows, count])
        })
    }

    fn sums(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, width, count) = (self.rows(x)?, self.width, self.count);
        by_float!("parts", x, T => {
            let mut out = vec![<T as Real>::ZERO; rows * count];
            let a = numbers::<T>("parts", x)?;
            for (to, a) in out.chunks_exact_mut(count).zip(a.chunks_exact(width)) {
                self.runs.iter().for_each(|n| to[n.part] += a[n.start..n.end].iter().fold(<T as Real>::ZERO, |sum, v| sum + *v));
            }
            tensor(out, &[rows, count])
        })
    }

    fn spread(&self, s: &Tensor, dims: &[usize]) -> Result<Tensor> {
        let (width, count) = (self.width, self.count);
        by_float!("parts", s, T => {
            let mut out = output::<T>(dims.iter().product());
            {
                let s = numbers::<T>("parts", s)?;
                for (to, s) in out.chunks_exact_mut(width).zip(s.chunks_exact(count)) {
                    self.runs.iter().for_each(|n| to[n.start..n.end].fill(s[n.part]));
                }
            }
            tensor(out, dims)
        })
    }

    fn scaled(&self, x: &Tensor, s: &Tensor) -> Result<Tensor> {
        let (rows, width, count) = (self.rows(x)?, self.width, self.count);
        if s.elem_count() != rows * count {
            bail!("parts: {:?} holds no {count} numbers for each of {rows} rows", s.dims());
        }
        by_float!("parts", x, T => {
            let mut out = output::<T>(rows * width);
            let (a, s) = (numbers::<T>("parts", x)?, numbers::<T>("parts", s)?);
            let (a, s): (&[T], &[T]) = (&a, &s);
            each_row(&mut out, width, |r, to| {
                let (a, s) = (&a[r * width..][..width], &s[r * count..][..count]);
                for n in &*self.runs {
                    let by = s[n.part];
                    to[n.start..n.end].iter_mut().zip(&a[n.start..n.end]).for_each(|(to, a)| *to = *a * by);
                }
            });
            tensor(out, x.dims())
        })
    }
}

/// x, every row times `s` (a row of numbers, or one that repeats within a row).
pub fn scale_columns(x: &Value, s: &Value) -> Result<Value> {
    columns(x, s, true)
}

/// x plus a row of numbers in every row.
pub fn add_columns(x: &Value, s: &Value) -> Result<Value> {
    columns(x, s, false)
}

fn columns(x: &Value, s: &Value, times: bool) -> Result<Value> {
    const OP: &str = "columns";
    let (a, b) = (x.tensor().contiguous()?, s.tensor().contiguous()?);
    let width = b.elem_count();
    if width == 0 || !a.elem_count().is_multiple_of(width) {
        bail!("{OP}: {:?} does not make rows of {:?}", a.dims(), b.dims());
    }
    by_float!(OP, a, T => {
        let apply = move |x: &Tensor, s: &Tensor, times: bool| -> Result<Tensor> {
            let mut out = output::<T>(x.elem_count());
            {
                let (x, s) = (numbers::<T>(OP, x)?, numbers::<T>(OP, s)?);
                let (x, s): (&[T], &[T]) = (&x, &s);
                each_row(&mut out, width, |r, to| {
                    let x = &x[r * width..][..width];
                    to.iter_mut().zip(x.iter().zip(s)).for_each(|(to, (x, s))| *to = if times { *x * *s } else { *x + *s });
                });
            }
            tensor(out, x.dims())
        };
        let y = apply(&a, &b, times)?;
        Ok(record(&[x, s], y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let ds = if inputs.wanted(1) {
                let mut sums = vec![<T as Real>::ZERO; width];
                let (g, a) = (numbers::<T>(OP, &g)?, numbers::<T>(OP, &a)?);
                for (g, a) in g.chunks_exact(width).zip(a.chunks_exact(width)) {
                    sums.iter_mut().zip(g.iter().zip(a)).for_each(|(to, (g, a))| *to += if times { *g * *a } else { *g });
                }
                Some(tensor(sums, b.dims())?)
            } else {
                None
            };
            let dx = match (inputs.wanted(0), times) {
                (false, _) => None,
                (true, true) => Some(apply(&g, &b, true)?),
                (true, false) => Some(g),
            };
            Ok(vec![dx, ds])
        }))
    })
}

/// The mean of the first `width` numbers of every `stride` taken off them: a projection, and its own adjoint.
pub fn centre(x: &Value, width: usize, stride: usize) -> Result<Value> {
    let apply = move |x: &Tensor| -> Result<Tensor> {
        if stride == 0 || !x.elem_count().is_multiple_of(stride) {
            bail!("centre: {:?} does not make rows of {stride}", x.dims());
        }
        by_float!("centre", x, T => {
            let mut out = numbers::<T>("centre", x)?.to_vec();
            each_row(&mut out, stride, |_, row| {
                let mean = row[..width].iter().map(|v| v.to_f64()).sum::<f64>() / width as f64;
                row[..width].iter_mut().for_each(|v| *v -= T::from_f64(mean));
            });
            tensor(out, x.dims())
        })
    };
    linear_pair(x, apply, apply)
}

/// The first `width` numbers of every `stride` numbers of x, (rows, width): of features, the channels of l = 0.
pub fn heads_of_rows(x: &Value, width: usize, stride: usize) -> Result<Value> {
    let dims = x.dims().to_vec();
    let rows = dims.iter().product::<usize>() / stride.max(1);
    linear_pair(
        x,
        |x| x.reshape((rows, stride))?.narrow(1, 0, width)?.contiguous(),
        move |g| g.reshape((rows, width))?.pad_with_zeros(1, 0, stride - width)?.reshape(&dims[..])?.contiguous(),
    )
}

/// Gate: x (rows, d, 2 c) and s (rows, 2 c) to (rows, d, c). Value channels of l = 0 times the first half of s, those of l > 0 times the
/// second.
pub fn gate(x: &Value, s: &Value) -> Result<Value> {
    const OP: &str = "gate";
    let (rows, d, both) = x.tensor().dims3()?;
    let c = both / 2;
    if s.dims() != [rows, both] {
        bail!("{OP}: features {:?} take gates of [{rows}, {both}], got {:?}", x.dims(), s.dims());
    }
    let (a, b) = (x.tensor().contiguous()?, s.tensor().contiguous()?);
    by_float!(OP, a, T => {
        let mut out = output::<T>(rows * d * c);
        {
            let (a, b) = (numbers::<T>(OP, &a)?, numbers::<T>(OP, &b)?);
            let (a, b): (&[T], &[T]) = (&a, &b);
            each_row(&mut out, c, |r, to| {
                let (from, s) = (&a[r * both..][..c], &b[r / d * both + usize::from(r % d > 0) * c..][..c]);
                to.iter_mut().zip(from.iter().zip(s)).for_each(|(to, (a, s))| *to = *a * *s);
            });
        }
        Ok(record(&[x, s], tensor(out, &[rows, d, c])?, |_| move |g: Tensor| {
            let g = g.contiguous()?;
            let (mut dx, mut ds) = (vec![<T as Real>::ZERO; rows * d * both], vec![<T as Real>::ZERO; rows * both]);
            {
                let (g, a, b) = (numbers::<T>(OP, &g)?, numbers::<T>(OP, &a)?, numbers::<T>(OP, &b)?);
                let (g, a, b): (&[T], &[T], &[T]) = (&g, &a, &b);
                // Two outputs of different widths: one row of both at a time.
                let shared = worth_sharing(rows * d * both);
                let least = if shared { (PIECE / (d * both).max(1)).max(1) } else { rows.max(1) };
                let each = dx.par_chunks_mut(d * both).zip(ds.par_chunks_mut(both)).enumerate();
                each.with_min_len(least).for_each(|(n, (dx, ds))| {
                    for m in 0..d {
                        let half = usize::from(m > 0) * c;
                        let (g, a) = (&g[(n * d + m) * c..][..c], &a[(n * d + m) * both..][..c]);
                        let s = &b[n * both + half..][..c];
                        for k in 0..c {
                            dx[m * both + k] = g[k] * s[k];
                            ds[half + k] += g[k] * a[k];
                        }
                    }
                });
            }
            Ok(vec![Some(tensor(dx, &[rows, d, both])?), Some(tensor(ds, &[rows, both])?)])
        }))
    })
}

/// A product of features, of both float types.
pub struct Products {
    pub single: TensorProduct<f32>,
    pub double: TensorProduct<f64>,
}

/// A float that [`Products`] holds a product of.
trait Chosen: Element {
    fn of(products: &Products) -> &TensorProduct<Self>;
}

impl Chosen for f32 {
    fn of(products: &Products) -> &TensorProduct<f32> {
        &products.single
    }
}

impl Chosen for f64 {
    fn of(products: &Products) -> &TensorProduct<f64> {
        &products.double
    }
}

/// M(x ⊗ y) with weights w: x (rows, d, u), y (rows, d, v), w (rows, weights) to (rows, d, outputs).
pub fn product(x: &Value, y: &Value, w: &Value, channels: &Channels, by: &Arc<Products>) -> Result<Value> {
    const OP: &str = "tensor product";
    let (rows, d, u) = x.tensor().dims3()?;
    let v = y.tensor().dims3()?;
    let fits = u == channels.u && v == (rows, d, channels.v) && w.dims() == [rows, channels.weights()];
    if !fits || d != by.single.dim() || y.tensor().dtype() != x.tensor().dtype() || w.tensor().dtype() != x.tensor().dtype() {
        bail!("{OP}: {:?}, {:?} and weights {:?} do not fit {channels:?}, d = {}", x.dims(), y.dims(), w.dims(), by.single.dim());
    }
    let all = [x, y, w].map(|v| v.tensor().contiguous());
    let [a, b, c] = all;
    let (a, b, c) = (a?, b?, c?);
    let (channels, by) = (*channels, by.clone());
    by_float!(OP, a, T => {
        let mut out = output::<T>(rows * d * channels.out);
        {
            let (x, y, w) = (numbers::<T>(OP, &a)?, numbers::<T>(OP, &b)?, numbers::<T>(OP, &c)?);
            <T as Chosen>::of(&by).forward(&channels, Operands { x: &x, y: &y, w: &w }, &mut out);
        }
        Ok(record(&[x, y, w], tensor(out, &[rows, d, channels.out])?, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let room = |i: usize, t: &Tensor| inputs.wanted(i).then(|| output::<T>(t.elem_count()));
            let (mut dx, mut dy, mut dw) = (room(0, &a), room(1, &b), room(2, &c));
            {
                let (x, y, w) = (numbers::<T>(OP, &a)?, numbers::<T>(OP, &b)?, numbers::<T>(OP, &c)?);
                let to = Gradients { x: dx.as_deref_mut(), y: dy.as_deref_mut(), w: dw.as_deref_mut(), factors: [None, None, None] };
                <T as Chosen>::of(&by).backward(&channels, Operands { x: &x, y: &y, w: &w }, &numbers::<T>(OP, &g)?, to);
            }
            let given = |v: Option<Vec<T>>, t: &Tensor| v.map(|v| tensor(v, t.dims())).transpose();
            Ok(vec![given(dx, &a)?, given(dy, &b)?, given(dw, &c)?])
        }))
    })
}
