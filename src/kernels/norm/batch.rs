//! Batch norm over the rows of a matrix.

use crate::kernels::rows::{add_parts, count_rows, each_vector, for_each, get, put, put_over, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Batch norm: each column of a (rows × width) matrix is brought to mean 0 and variance 1, then scaled and shifted:
/// `y = (x − mean) · inv_std · weight + bias`.
///
/// In training the statistics are those of the rows ([`BatchNorm::measure`]) and gradients go through them; later they are running
/// averages ([`BatchMoments::fixed`]). Source: Ioffe, Szegedy 2015 (arXiv 1502.03167), algorithms 1 and 2.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a, T> {
    /// Numbers in a row.
    pub width: usize,
    /// A factor for each column; `None` is 1.
    pub weight: Option<&'a [T]>,
    /// A shift for each column; `None` is 0.
    pub bias: Option<&'a [T]>,
    /// Added to the variance; usually 1e-5.
    pub eps: f64,
}

/// The statistics of each column.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMoments<T> {
    /// Means, (width).
    pub mean: Vec<T>,
    /// `1 / √(variance + eps)`, (width).
    pub inv_std: Vec<T>,
    /// Population variances, (width).
    pub variance: Vec<T>,
    /// The number of rows measured; `None` for statistics that do not come from the rows at hand.
    pub rows: Option<usize>,
}

impl<T: Real> BatchMoments<T> {
    /// Statistics from elsewhere: running averages at prediction time. No gradient goes through them.
    pub fn fixed(mean: &[T], variance: &[T], eps: f64) -> Self {
        assert_eq!(mean.len(), variance.len(), "batch norm: one mean and one variance for each column");
        let inv_std = variance.iter().map(|&v| T::ONE / (v + T::from_f64(eps)).sqrt()).collect();
        Self { mean: mean.to_vec(), inv_std, variance: variance.to_vec(), rows: None }
    }

    /// Moves running averages towards these statistics: `running ← (1 − momentum) · running + momentum · new`, where the new
    /// variance is the unbiased one. A single row has none: it moves the running mean only. Fixed statistics move nothing.
    pub fn update_running(&self, momentum: f64, mean: &mut [T], variance: &mut [T]) {
        assert!(
            mean.len() == self.mean.len() && variance.len() == self.mean.len(),
            "batch norm: running averages of another width"
        );
        let Some(rows) = self.rows.filter(|&rows| rows > 0) else { return };
        let (keep, take) = (T::from_f64(1.0 - momentum), T::from_f64(momentum));
        for (running, &new) in mean.iter_mut().zip(&self.mean) {
            *running = keep * *running + take * new;
        }
        if rows > 1 {
            let unbiased = T::from_f64(momentum * rows as f64 / (rows - 1) as f64);
            for (running, &new) in variance.iter_mut().zip(&self.variance) {
                *running = keep * *running + unbiased * new;
            }
        }
    }
}

impl<T: Real> BatchNorm<'_, T> {
    /// Mean and population variance of each column of `x` (rows × width). Cost: one read: each chunk of rows is measured about its
    /// own mean while it is in the cache, and chunks are merged pairwise.
    ///
    /// Source of the merge: Chan, Golub, LeVeque 1983, equations 2.1.
    pub fn measure(&self, x: &[T]) -> BatchMoments<T> {
        let width = self.width;
        let rows = count_rows(x.len(), width);
        let mut parts = vec![T::ZERO; if rows == 0 { 2 * width } else { rows.div_ceil(rows_per_chunk(width, 64)) * 2 * width }];
        let per_chunk = rows_per_chunk(width, 64);
        if rows > 0 {
            let tasks = x.chunks(per_chunk * width).zip(parts.chunks_mut(2 * width)).map(|(x, part)| Measure { x, width, part });
            for_each(tasks.collect(), |task| dispatch(task));
            merge(&mut parts, width, per_chunk, rows);
        }
        let share = T::from_f64(1.0 / rows.max(1) as f64);
        let variance: Vec<T> = parts[width..2 * width].iter().map(|&squares| squares * share).collect();
        let mut moments = BatchMoments::fixed(&parts[..width], &variance, self.eps);
        moments.rows = Some(rows);
        moments
    }

    /// Normalises `x` into `y`, both (rows × width), with the given statistics. Cost: one read and one write.
    pub fn forward(&self, x: &[T], moments: &BatchMoments<T>, y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "batch norm: input and output differ in length");
        count_rows(x.len(), self.width);
        self.check(moments);
        let factor: Vec<T> = (0..self.width).map(|c| moments.inv_std[c] * self.weight(c)).collect();
        let bias: Vec<T> = (0..self.width).map(|c| self.bias.map_or(T::ZERO, |b| b[c])).collect();
        self.lines(x, x, y, &Line { centre: &moments.mean, factor: &factor, slope: None, post: &bias });
    }

    /// The gradients of the input (`dx`) and, where asked for, of weight and bias. Shapes: `x`, `dy`, `dx` (rows × width),
    /// `dweight`, `dbias` (width). Cost: four reads and one write; three reads and one write for fixed statistics.
    ///
    /// With x̂ = (x − mean) · inv_std: `dweight = Σ dy · x̂`, `dbias = Σ dy`, and for measured statistics
    /// `dx = weight · inv_std · (dy − dbias / rows − x̂ · dweight / rows)`, for fixed ones `dx = weight · inv_std · dy`.
    pub fn backward(
        &self,
        x: &[T],
        moments: &BatchMoments<T>,
        dy: &[T],
        dx: &mut [T],
        dweight: Option<&mut [T]>,
        dbias: Option<&mut [T]>,
    ) {
        let width = self.width;
        let rows = count_rows(x.len(), width);
        assert!(dy.len() == x.len() && dx.len() == x.len(), "batch norm: input and gradients differ in length");
        self.check(moments);
        let mut parts = vec![T::ZERO; 2 * width];
        let through = moments.rows.is_some();
        if rows > 0 && (through || dweight.is_some() || dbias.is_some()) {
            let per_chunk = rows_per_chunk(width, 64);
            parts.resize(rows.div_ceil(per_chunk) * 2 * width, T::ZERO);
            let tasks = (x.chunks(per_chunk * width).zip(dy.chunks(per_chunk * width)))
                .zip(parts.chunks_mut(2 * width))
                .map(|((x, dy), part)| Sums { x, dy, width, mean: &moments.mean, part });
            for_each(tasks.collect(), |task| dispatch(task));
            add_parts(&mut parts, 2 * width);
            parts[..width].iter_mut().zip(&moments.inv_std).for_each(|(sum, &inv)| *sum = *sum * inv);
        }
        let (products, sums) = parts[..2 * width].split_at(width);
        let factor: Vec<T> = (0..width).map(|c| moments.inv_std[c] * self.weight(c)).collect();
        let share = T::from_f64(1.0 / rows.max(1) as f64);
        if through {
            // (dy − level) · factor + (x − mean) · slope, the slope holding what x̂ is multiplied by.
            let slope: Vec<T> = (0..width).map(|c| -(products[c] * share * moments.inv_std[c] * factor[c])).collect();
            let post: Vec<T> = (0..width).map(|c| -(sums[c] * share * factor[c])).collect();
            self.lines(x, dy, dx, &Line { centre: &moments.mean, factor: &factor, slope: Some(&slope), post: &post });
        } else {
            let zero = vec![T::ZERO; width];
            self.lines(dy, dy, dx, &Line { centre: &zero, factor: &factor, slope: None, post: &zero });
        }
        for (gradient, sum) in [(dweight, products), (dbias, sums)] {
            if let Some(gradient) = gradient {
                gradient.copy_from_slice(sum);
            }
        }
    }

    fn check(&self, moments: &BatchMoments<T>) {
        let fits = |v: Option<&[T]>| v.is_none_or(|v| v.len() == self.width);
        assert!(fits(self.weight) && fits(self.bias), "batch norm: weight and bias need one number for each column");
        assert_eq!(moments.mean.len(), self.width, "batch norm: moments of another width");
    }

    fn weight(&self, c: usize) -> T {
        self.weight.map_or(T::ONE, |w| w[c])
    }

    fn lines(&self, x: &[T], dy: &[T], out: &mut [T], line: &Line<T>) {
        if out.is_empty() {
            return;
        }
        let per_chunk = rows_per_chunk(self.width, 1) * self.width;
        let tasks = (x.chunks(per_chunk).zip(dy.chunks(per_chunk)).zip(out.chunks_mut(per_chunk))).map(|((x, dy), out)| Apply {
            x,
            dy,
            out,
            line,
        });
        for_each(tasks.collect(), |task| dispatch(task));
    }
}

/// Merges (mean, Σ squares about it) of chunks of `per_chunk` rows, the last one shorter, into the first.
fn merge<T: Real>(parts: &mut [T], width: usize, per_chunk: usize, rows: usize) {
    let count = parts.len() / (2 * width);
    let mut step = 1;
    while step < count {
        for first in (0..count - step).step_by(2 * step) {
            let (left, right) = parts.split_at_mut((first + step) * 2 * width);
            let (a, b) = (&mut left[first * 2 * width..][..2 * width], &right[..2 * width]);
            let rows_a = (step * per_chunk) as f64;
            let rows_b = ((first + 2 * step) * per_chunk).min(rows) as f64 - ((first + step) * per_chunk) as f64;
            let share = T::from_f64(rows_b / (rows_a + rows_b));
            let spread = T::from_f64(rows_a * rows_b / (rows_a + rows_b));
            for c in 0..width {
                let d = b[c] - a[c];
                a[c] = d.fma(share, a[c]);
                a[width + c] = (d * d).fma(spread, a[width + c] + b[width + c]);
            }
        }
        step *= 2;
    }
}

/// Mean of each column and Σ squares about it, over a chunk of rows.
struct Measure<'a, T> {
    x: &'a [T],
    width: usize,
    part: &'a mut [T],
}

impl<T: Real> Kernel<T> for Measure<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { x, width, part } = self;
        let (means, squares) = part.split_at_mut(width);
        let rows = x.len() / width;
        let share = V::splat(T::ONE / T::from_f64(rows as f64));
        // Columns in strips of a vector, so that a sum is a register; the chunk is in the second-level cache from the first one on.
        each_vector!(V, width, |at, count| {
            let mut sums = [V::splat(T::ZERO); 4];
            for r in 0..rows {
                sums[r % 4] = sums[r % 4].add(get(x, r * width + at, count));
            }
            let mean = sums[0].add(sums[1]).add(sums[2].add(sums[3])).mul(share);
            put(mean, means, at, count);
            let mut sums = [V::splat(T::ZERO); 4];
            for r in 0..rows {
                let d = get::<T, V>(x, r * width + at, count).sub(mean);
                sums[r % 4] = d.fma(d, sums[r % 4]);
            }
            put(sums[0].add(sums[1]).add(sums[2].add(sums[3])), squares, at, count);
        });
    }
}

/// Σ dy · (x − mean) and Σ dy over a chunk of rows.
struct Sums<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    width: usize,
    mean: &'a [T],
    part: &'a mut [T],
}

impl<T: Real> Kernel<T> for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { x, dy, width, mean, part } = self;
        let (products, sums) = part.split_at_mut(width);
        let rows = x.len() / width;
        each_vector!(V, width, |at, count| {
            let centre = get::<T, V>(mean, at, count);
            let mut product = [V::splat(T::ZERO); 2];
            let mut sum = [V::splat(T::ZERO); 2];
            for r in 0..rows {
                let d = get::<T, V>(dy, r * width + at, count);
                product[r % 2] = d.fma(get::<T, V>(x, r * width + at, count).sub(centre), product[r % 2]);
                sum[r % 2] = sum[r % 2].add(d);
            }
            put(product[0].add(product[1]), products, at, count);
            put(sum[0].add(sum[1]), sums, at, count);
        });
    }
}

/// `out = (x − centre) · factor + post`, or with a slope `out = dy · factor + (x − centre) · slope + post`.
struct Line<'a, T> {
    centre: &'a [T],
    factor: &'a [T],
    slope: Option<&'a [T]>,
    post: &'a [T],
}

struct Apply<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    out: &'a mut [T],
    line: &'a Line<'a, T>,
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { x, dy, out, line } = self;
        let width = line.post.len();
        for r in 0..out.len() / width {
            let start = r * width;
            each_vector!(V, width, |at, count| {
                let d = get::<T, V>(x, start + at, count).sub(get(line.centre, at, count));
                let (factor, post) = (get::<T, V>(line.factor, at, count), get::<T, V>(line.post, at, count));
                let v = match line.slope {
                    None => d.fma(factor, post),
                    Some(slope) => {
                        let along = d.fma(get(slope, at, count), post);
                        get::<T, V>(dy, start + at, count).fma(factor, along)
                    }
                };
                put_over(v, out, start + at, count);
            });
        }
    }
}
