//! Decays between the steps of a chunk, and gradients of their logarithms.

use super::ROWS;
use crate::kernels::rows::{each_vector, get};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// 0, 1, 2, …
#[inline(always)]
fn places<T: Real, V: Lanes<T>>() -> V {
    let lanes: [T; 16] = std::array::from_fn(|k| T::from_f64(k as f64));
    V::load(&lanes)
}

#[inline(always)]
fn lane<T: Real, V: Lanes<T>>(k: usize) -> V {
    V::splat(T::from_f64(k as f64))
}

/// Writes the decays from step j to step i, `exp(Σ_{j<k<=i} a_k)` at (j, i) for i >= j, and their products with the scores
/// B_j·C_i. What lies left of the diagonal is 0 as far as products in strips of [`ROWS`] rows read it.
pub(super) struct Weigh<'a, T> {
    /// a, zeros behind to whole vectors.
    pub steps: &'a [T],
    pub rows: usize,
    /// Row stride of the matrices, in whole vectors.
    pub lead: usize,
    pub scores: &'a [T],
    /// Twice `lead` numbers of room.
    pub room: &'a mut [T],
    pub decay: Option<&'a mut [T]>,
    pub mixed: &'a mut [T],
}

impl<T: Real> Weigh<'_, T> {
    pub(super) fn run(self) {
        if self.decay.is_some() { dispatch(Both::<T, true>(self)) } else { dispatch(Both::<T, false>(self)) }
    }
}

/// Where decays go.
struct Emit<'a, T> {
    keep: bool,
    scores: &'a [T],
    decay: &'a mut [T],
    mixed: &'a mut [T],
}

impl<T: Real> Emit<'_, T> {
    #[inline(always)]
    fn put<V: Lanes<T>>(&mut self, at: usize, v: V) {
        if self.keep {
            v.store(&mut self.decay[at..]);
        }
        v.mul(V::load(&self.scores[at..])).store(&mut self.mixed[at..]);
    }
}

struct Both<'a, T, const KEEP: bool>(Weigh<'a, T>);

impl<T: Real, const KEEP: bool> Kernel<T> for Both<'_, T, KEEP> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Weigh { steps, rows, lead, scores, room, decay, mixed } = self.0;
        let mut to = Emit { keep: KEEP, scores, decay: decay.unwrap_or_default(), mixed };
        let (zero, places) = (V::splat(T::ZERO), places::<T, V>());
        let blocks = rows.div_ceil(V::N);
        let (heads, totals) = room.split_at_mut(lead);
        for b in 0..blocks {
            let mut sum = T::ZERO;
            for i in b * V::N..(b + 1) * V::N {
                sum += steps[i];
                heads[i] = sum;
            }
            totals[b] = sum;
            let at = &mut heads[b * V::N..];
            math::exp::<T, V>(V::load(at)).store(at);
        }
        for b in 0..blocks {
            let first = b * V::N;
            let height = V::N.min(rows - first);
            // Inside the block: upwards, each row adds its step to all the sums that hold it.
            let mut sums = zero;
            for k in (0..height).rev() {
                if k + 1 < height {
                    sums = sums.add(V::select(lane::<T, V>(k).lt(places), V::splat(steps[first + k + 1]), zero));
                }
                let v = V::select(places.lt(lane(k)), zero, math::exp::<T, V>(sums));
                to.put((first + k) * lead + first, v);
            }
            // To later blocks: from the step to the end of its block, over the blocks between, and from the start of the other.
            let mut tails = [T::ZERO; 16];
            let mut sum = T::ZERO;
            for k in (0..V::N).rev() {
                tails[k] = sum;
                sum += steps[first + k];
            }
            let mut between = T::ZERO;
            for other in b + 1..blocks {
                let mut factors = [T::ZERO; 16];
                math::exp::<T, V>(V::load(&tails).add(V::splat(between))).store(&mut factors);
                let head = V::load(&heads[other * V::N..]);
                for k in 0..height {
                    to.put((first + k) * lead + other * V::N, V::splat(factors[k]).mul(head));
                }
                between += totals[other];
            }
            for left in (first / ROWS * ROWS..first).step_by(V::N) {
                for k in 0..height {
                    to.put::<V>((first + k) * lead + left, zero);
                }
            }
        }
    }
}

/// Backward through the decays between steps. All matrices are (j, i), i >= j, as in [`Weigh`].
pub(super) struct Pairs<'a, T> {
    pub rows: usize,
    pub lead: usize,
    pub decay: &'a [T],
    pub scores: &'a [T],
    /// Gradient of the product of the two.
    pub gradient: &'a [T],
    /// Gradient of the scores, added to.
    pub dscores: &'a mut [T],
    /// `lead` numbers of room.
    pub room: &'a mut [T],
    /// Written: for each step k the sum of gradient · decay · score over all pairs j < k <= i, the gradient of a_k.
    pub dsteps: &'a mut [T],
}

impl<T: Real> Kernel<T> for Pairs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, lead, decay, scores, gradient, dscores, room: sums, dsteps } = self;
        let (zero, places) = (V::splat(T::ZERO), places::<T, V>());
        let blocks = rows.div_ceil(V::N);
        sums[..blocks * V::N].fill(T::ZERO);
        for k in 0..rows {
            // The sums hold the rows j < k; of those count the places i >= k.
            let first = k / V::N;
            let own = V::load(&sums[first * V::N..]);
            let mut total = V::select(places.lt(lane(k % V::N)), zero, own);
            for b in first + 1..blocks {
                total = total.add(V::load(&sums[b * V::N..]));
            }
            dsteps[k] = total.sum();
            let line = k * lead..k * lead + rows;
            let (gradient, scores) = (&gradient[line.clone()], &scores[line]);
            each_vector!(V, rows - first * V::N, |at, count| {
                let at = first * V::N + at;
                let place = k * lead + at;
                let d = get::<T, V>(gradient, at, count).mul(V::load(&decay[place..]));
                d.add(V::load(&dscores[place..])).store(&mut dscores[place..]);
                d.fma(get::<T, V>(scores, at, count), V::load(&sums[at..])).store(&mut sums[at..]);
            });
        }
    }
}

/// Gradients of Δ and A over a chunk, put together from the parts of the gradient of a = Δ·A.
pub(super) struct Steps<'a, T> {
    pub dt: &'a [T],
    /// In: the sums over pairs; out: the gradient of a.
    pub dsteps: &'a mut [T],
    /// Gradients by way of the states before the chunk: step i adds to all a_k, k <= i.
    pub from_start: &'a [T],
    /// By way of the states after it: step j adds to all a_k, k > j.
    pub to_end: &'a [T],
    /// By way of both: adds to all.
    pub whole: T,
}

impl<T: Real> Steps<'_, T> {
    /// The gradient of A.
    pub(super) fn run(self) -> T {
        let Self { dt, dsteps, from_start, to_end, whole, .. } = self;
        let mut sum = whole;
        for (d, &v) in dsteps.iter_mut().zip(to_end) {
            *d += sum;
            sum += v;
        }
        let (mut sum, mut da) = (T::ZERO, T::ZERO);
        for ((d, &v), &dt) in dsteps.iter_mut().zip(from_start).zip(dt).rev() {
            sum += v;
            *d += sum;
            da = dt.fma(*d, da);
        }
        da
    }
}
