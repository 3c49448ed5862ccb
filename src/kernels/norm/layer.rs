//! Layer norm, and the kernels it shares with RMS norm.

use crate::kernels::rows::{
    add_parts, count_rows, each_vector, for_each, get, ones, put_over, row_squares, row_sum, rows_per_chunk,
};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Layer norm over the rows of a matrix: `y = (x − mean) / √(var + eps) · weight + bias` with the population variance of the row.
///
/// Source: Ba, Kiros, Hinton 2016 (arXiv 1607.06450), equations 3 and 4; the variance is taken about the mean in a second pass
/// over the row, which stays in the cache.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a, T> {
    /// Numbers in a row.
    pub width: usize,
    /// A factor for each column; `None` is 1.
    pub weight: Option<&'a [T]>,
    /// A shift for each column; `None` is 0.
    pub bias: Option<&'a [T]>,
    /// Added to the variance; usually 1e-5.
    pub eps: f64,
}

/// What the forward pass keeps: two numbers for each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowMoments<T> {
    /// The mean of the row.
    pub mean: Vec<T>,
    /// `1 / √(var + eps)`.
    pub inv_std: Vec<T>,
}

impl<T: Real> LayerNorm<'_, T> {
    /// Normalises `x` into `y`, both (rows × width). Cost: one read and one write.
    pub fn forward(&self, x: &[T], y: &mut [T]) -> RowMoments<T> {
        let rows = count_rows(x.len(), self.width);
        let mut saved = RowMoments { mean: vec![T::ZERO; rows], inv_std: vec![T::ZERO; rows] };
        forward::<T, true>(x, self.width, self.weight, self.bias, self.eps, y, &mut saved);
        saved
    }

    /// The gradients of the input (`dx`) and, where asked for, of weight and bias, from the gradient `dy` of the output and what
    /// [`LayerNorm::forward`] kept. Shapes: `x`, `dy`, `dx` (rows × width), `dweight`, `dbias` (width). Cost: two reads, one write.
    ///
    /// With g = dy · weight and x̂ = (x − mean) · inv_std: `dx = inv_std · (g − mean(g) − x̂ · mean(g · x̂))`, `dweight = Σ dy · x̂`,
    /// `dbias = Σ dy` over rows.
    pub fn backward(
        &self,
        x: &[T],
        saved: &RowMoments<T>,
        dy: &[T],
        dx: &mut [T],
        dweight: Option<&mut [T]>,
        dbias: Option<&mut [T]>,
    ) {
        backward::<T, true>([x, dy], self.width, self.weight, [&saved.mean, &saved.inv_std], dx, [dweight, dbias]);
    }
}

fn constant<'a, T: Real>(given: Option<&'a [T]>, width: usize, value: T, room: &'a mut Vec<T>) -> &'a [T] {
    match given {
        Some(values) => {
            assert_eq!(values.len(), width, "a weight or bias needs one number for each column");
            values
        }
        None => {
            room.resize(width, value);
            room
        }
    }
}

/// Layer norm where `CENTRED`, else RMS norm (`saved.mean` is then empty).
pub(super) fn forward<T: Real, const CENTRED: bool>(
    x: &[T],
    width: usize,
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    eps: f64,
    y: &mut [T],
    saved: &mut RowMoments<T>,
) {
    assert_eq!(x.len(), y.len(), "norm: input and output differ in length");
    if x.is_empty() {
        return;
    }
    let (mut room_weight, mut room_bias) = (Vec::new(), Vec::new());
    let weight = constant(weight, width, T::ONE, &mut room_weight);
    let bias = constant(bias, width, T::ZERO, &mut room_bias);
    let per_chunk = rows_per_chunk(width, 1);
    let mut means = saved.mean.chunks_mut(per_chunk);
    let tasks = x
        .chunks(per_chunk * width)
        .zip(y.chunks_mut(per_chunk * width))
        .zip(saved.inv_std.chunks_mut(per_chunk))
        .map(|((x, y), inv_std)| {
            let mean = means.next().unwrap_or_default();
            Forward::<T, CENTRED> { x, y, mean, inv_std, weight, bias, width, eps: T::from_f64(eps) }
        })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Forward<'a, T, const CENTRED: bool> {
    x: &'a [T],
    y: &'a mut [T],
    mean: &'a mut [T],
    inv_std: &'a mut [T],
    weight: &'a [T],
    bias: &'a [T],
    width: usize,
    eps: T,
}

impl<T: Real, const CENTRED: bool> Kernel<T> for Forward<'_, T, CENTRED> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        match self.width.div_ceil(V::N) {
            1 => self.narrow::<V, 1>(),
            2 => self.narrow::<V, 2>(),
            3 => self.narrow::<V, 3>(),
            4 => self.narrow::<V, 4>(),
            _ => self.wide::<V>(),
        }
    }
}

impl<T: Real, const CENTRED: bool> Forward<'_, T, CENTRED> {
    /// Rows that fit into `K` vectors are read once and stay in registers.
    #[inline(always)]
    fn narrow<V: Lanes<T>, const K: usize>(self) {
        let width = self.width;
        let last = width - (K - 1) * V::N;
        let weight = load_row::<T, V, K>(self.weight, 0, last);
        let bias = load_row::<T, V, K>(self.bias, 0, last);
        let valid = ones::<T, V>(last);
        let share = T::ONE / T::from_f64(width as f64);
        for (r, inv_std) in self.inv_std.iter_mut().enumerate() {
            let mut x = load_row::<T, V, K>(self.x, r * width, last);
            if CENTRED {
                let mean = add_vectors(x).sum() * share;
                self.mean[r] = mean;
                for v in &mut x {
                    *v = v.sub(V::splat(mean));
                }
                x[K - 1] = x[K - 1].mul(valid);
            }
            let mut squares = x;
            for v in &mut squares {
                *v = v.mul(*v);
            }
            let scale = T::ONE / (add_vectors(squares).sum().fma(share, self.eps)).sqrt();
            *inv_std = scale;
            for k in 0..K {
                let v = x[k].mul(V::splat(scale)).fma(weight[k], bias[k]);
                put_over(v, self.y, r * width + k * V::N, if k + 1 < K { V::N } else { last });
            }
        }
    }

    #[inline(always)]
    fn wide<V: Lanes<T>>(self) {
        let width = self.width;
        let share = T::ONE / T::from_f64(width as f64);
        for (r, inv_std) in self.inv_std.iter_mut().enumerate() {
            let x = &self.x[r * width..][..width];
            let y = &mut self.y[r * width..];
            let mean = if CENTRED { row_sum::<T, V>(x) * share } else { T::ZERO };
            if CENTRED {
                self.mean[r] = mean;
            }
            let scale = T::ONE / row_squares::<T, V>(x, mean).fma(share, self.eps).sqrt();
            *inv_std = scale;
            let (mean, scale) = (V::splat(mean), V::splat(scale));
            each_vector!(V, width, |at, count| {
                let v = get::<T, V>(x, at, count).sub(mean).mul(scale);
                put_over(v.fma(get(self.weight, at, count), get(self.bias, at, count)), y, at, count);
            });
        }
    }
}

/// A row of `K` vectors, `last` numbers in the last one.
#[inline(always)]
fn load_row<T: Real, V: Lanes<T>, const K: usize>(from: &[T], at: usize, last: usize) -> [V; K] {
    let mut row = [V::splat(T::ZERO); K];
    for (k, v) in row.iter_mut().enumerate() {
        *v = get(from, at + k * V::N, if k + 1 < K { V::N } else { last });
    }
    row
}

/// `((v0 + v1) + (v2 + v3))`, cut short for fewer.
#[inline(always)]
fn add_vectors<T: Real, V: Lanes<T>, const K: usize>(v: [V; K]) -> V {
    match K {
        1 => v[0],
        2 => v[0].add(v[1]),
        3 => v[0].add(v[1]).add(v[2]),
        _ => v[0].add(v[1]).add(v[2].add(v[3])),
    }
}

/// As [`forward`]. The gradients of weight and bias are collected for each chunk of rows and added in a tree.
pub(super) fn backward<T: Real, const CENTRED: bool>(
    [x, dy]: [&[T]; 2],
    width: usize,
    weight: Option<&[T]>,
    [mean, inv_std]: [&[T]; 2],
    dx: &mut [T],
    parameters: [Option<&mut [T]>; 2],
) {
    let rows = count_rows(x.len(), width);
    assert!(dy.len() == x.len() && dx.len() == x.len(), "norm: input and gradients differ in length");
    assert!(inv_std.len() == rows && (!CENTRED || mean.len() == rows), "norm: saved moments of another input");
    let mut room = Vec::new();
    let weight = constant(weight, width, T::ONE, &mut room);
    // Sixty-four rows at least, so that the partial sums of a chunk are small beside the chunk.
    let per_chunk = rows_per_chunk(width, 64);
    // Sums are padded to whole vectors: they are written for every row.
    let padded = width.next_multiple_of(T::LANES);
    let collect = parameters.iter().any(Option::is_some);
    let mut parts = vec![T::ZERO; if collect { rows.div_ceil(per_chunk) * 2 * padded } else { 0 }];
    if !x.is_empty() {
        let mut strips = parts.chunks_mut(2 * padded);
        let mut means = mean.chunks(per_chunk);
        let tasks = (x.chunks(per_chunk * width).zip(dy.chunks(per_chunk * width)))
            .zip(dx.chunks_mut(per_chunk * width).zip(inv_std.chunks(per_chunk)))
            .map(|((x, dy), (dx, inv_std))| {
                let (dweight, dbias) = strips.next().unwrap_or_default().split_at_mut(if collect { padded } else { 0 });
                let mean = means.next().unwrap_or_default();
                Backward::<T, CENTRED> { x, dy, dx, mean, inv_std, weight, dweight, dbias, width }
            })
            .collect();
        for_each(tasks, |task| dispatch(task));
        add_parts(&mut parts, 2 * padded);
    }
    for (k, gradient) in parameters.into_iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        assert_eq!(gradient.len(), width, "norm: the gradient of a parameter needs one number for each column");
        match parts.get(k * padded..k * padded + width) {
            Some(sum) => gradient.copy_from_slice(sum),
            None => gradient.fill(T::ZERO),
        }
    }
}

/// `dweight` and `dbias` start at zero and are padded to whole vectors; both are empty when nobody asks for them.
struct Backward<'a, T, const CENTRED: bool> {
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    mean: &'a [T],
    inv_std: &'a [T],
    weight: &'a [T],
    dweight: &'a mut [T],
    dbias: &'a mut [T],
    width: usize,
}

impl<T: Real, const CENTRED: bool> Kernel<T> for Backward<'_, T, CENTRED> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        match self.width.div_ceil(V::N) {
            1 => self.narrow::<V, 1>(),
            2 => self.narrow::<V, 2>(),
            3 => self.narrow::<V, 3>(),
            4 => self.narrow::<V, 4>(),
            _ => self.wide::<V>(),
        }
    }
}

impl<T: Real, const CENTRED: bool> Backward<'_, T, CENTRED> {
    #[inline(always)]
    fn narrow<V: Lanes<T>, const K: usize>(self) {
        let width = self.width;
        let last = width - (K - 1) * V::N;
        let weight = load_row::<T, V, K>(self.weight, 0, last);
        let share = T::ONE / T::from_f64(width as f64);
        let mut dweight = [V::splat(T::ZERO); K];
        let mut dbias = [V::splat(T::ZERO); K];
        for (r, &scale) in self.inv_std.iter().enumerate() {
            // Lanes beyond the row hold zeros in dy, so what x̂ holds there does not count.
            let mut x = load_row::<T, V, K>(self.x, r * width, last);
            let mut g = load_row::<T, V, K>(self.dy, r * width, last);
            let mut gx = g;
            for k in 0..K {
                if CENTRED {
                    x[k] = x[k].sub(V::splat(self.mean[r]));
                }
                x[k] = x[k].mul(V::splat(scale));
                dweight[k] = g[k].fma(x[k], dweight[k]);
                dbias[k] = dbias[k].add(g[k]);
                g[k] = g[k].mul(weight[k]);
                gx[k] = g[k].mul(x[k]);
            }
            let along = V::splat(add_vectors(gx).sum() * share);
            let level = V::splat(if CENTRED { add_vectors(g).sum() * share } else { T::ZERO });
            for k in 0..K {
                let v = x[k].neg_fma(along, g[k].sub(level)).mul(V::splat(scale));
                put_over(v, self.dx, r * width + k * V::N, if k + 1 < K { V::N } else { last });
            }
        }
        if !self.dweight.is_empty() {
            for k in 0..K {
                dweight[k].store(&mut self.dweight[k * V::N..]);
                dbias[k].store(&mut self.dbias[k * V::N..]);
            }
        }
    }

    #[inline(always)]
    fn wide<V: Lanes<T>>(self) {
        let width = self.width;
        let share = T::ONE / T::from_f64(width as f64);
        for (r, &scale) in self.inv_std.iter().enumerate() {
            let x = &self.x[r * width..][..width];
            let dy = &self.dy[r * width..][..width];
            let dx = &mut self.dx[r * width..];
            let mean = V::splat(if CENTRED { self.mean[r] } else { T::ZERO });
            let scale = V::splat(scale);
            let (mut along, mut level) = (V::splat(T::ZERO), V::splat(T::ZERO));
            each_vector!(V, width, |at, count| {
                let hat = get::<T, V>(x, at, count).sub(mean).mul(scale);
                let d = get::<T, V>(dy, at, count);
                let g = d.mul(get(self.weight, at, count));
                along = g.fma(hat, along);
                level = level.add(g);
                if !self.dweight.is_empty() {
                    d.fma(hat, V::load(&self.dweight[at..])).store(&mut self.dweight[at..]);
                    d.add(V::load(&self.dbias[at..])).store(&mut self.dbias[at..]);
                }
            });
            let along = V::splat(along.sum() * share);
            let level = V::splat(if CENTRED { level.sum() * share } else { T::ZERO });
            each_vector!(V, width, |at, count| {
                let hat = get::<T, V>(x, at, count).sub(mean).mul(scale);
                let g = get::<T, V>(dy, at, count).mul(get(self.weight, at, count));
                put_over(hat.neg_fma(along, g.sub(level)).mul(scale), dx, at, count);
            });
        }
    }
}
