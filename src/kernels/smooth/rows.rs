//! The moving average of series that are contiguous in time.
//!
//! Several series are padded into one buffer that stays in the first-level cache, so that short series fill whole vectors and no step
//! waits for the one before. Vectors may run over the end of a series everywhere: what they spoil is written after them. (A masked
//! store costs several times a whole one.)

use super::window::Window;
use crate::kernels::elementwise::edge;
use crate::kernels::simd::{Kernel, Lanes, Real};

/// Elements of the padded buffer, about.
const PADDED: usize = 1024;

/// What the kernels below share.
#[derive(Clone, Copy)]
struct Plan {
    time: usize,
    half: usize,
    /// A padded series.
    width: usize,
    /// Series in the buffer.
    group: usize,
    window: Window,
}

impl Plan {
    fn new(time: usize, k: usize, window: Window) -> Self {
        let width = time + k - 1;
        Self { time, half: k / 2, width, group: (PADDED / width).max(1), window }
    }

    /// Room for the padded series, and for vectors that run over the end of the last.
    fn buffer<T: Real>(&self) -> Vec<T> {
        vec![T::ZERO; self.window.room::<T>(self.group * self.width)]
    }

    /// Windows that start in `rows` padded series.
    fn outputs(&self, rows: usize) -> usize {
        (rows - 1) * self.width + self.time
    }
}

/// Trend, and season when wanted, of whole series of `time` steps.
pub(super) struct Forward<'a, T> {
    pub time: usize,
    pub k: usize,
    pub window: Window,
    pub x: &'a [T],
    pub season: Option<&'a mut [T]>,
    pub trend: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { time, k, window, x, mut season, trend } = self;
        let plan = Plan::new(time, k, window);
        let Plan { half, width, .. } = plan;
        let (mut padded, mut partial) = (plan.buffer::<T>(), plan.buffer::<T>());
        let share = V::splat(T::from_f64(1.0 / k as f64));
        let count = x.len() / time;
        for start in (0..count).step_by(plan.group) {
            let rows = plan.group.min(count - start);
            for row in 0..rows {
                let x = &x[(start + row) * time..];
                let padded = &mut padded[row * width..];
                fill::<T, V>(x[0], half, padded);
                for i in (0..time).step_by(V::N) {
                    edge::get::<T, V>(&x[i..]).store(&mut padded[half + i..]);
                }
                fill::<T, V>(x[time - 1], half, &mut padded[half + time..]);
            }
            window.short_sums::<T, V>(&padded, &mut partial, plan.outputs(rows));
            for row in 0..rows {
                for i in (0..time).step_by(V::N) {
                    let from = row * width + i;
                    let average = window.at::<T, V>(&padded, &partial, from).mul(share);
                    let to = (start + row) * time + i;
                    if let Some(season) = season.as_deref_mut() {
                        edge::put(V::load(&padded[from + half..]).sub(average), &mut season[to..]);
                    }
                    edge::put(average, &mut trend[to..]);
                }
            }
        }
    }
}

/// `value` in the first `count` places of `to`, and on to the end of the last vector.
#[inline(always)]
fn fill<T: Real, V: Lanes<T>>(value: T, count: usize, to: &mut [T]) {
    for i in (0..count).step_by(V::N) {
        V::splat(value).store(&mut to[i..]);
    }
}

/// The gradient of x from those of season (none counts as zeros) and trend.
pub(super) struct Backward<'a, T> {
    pub time: usize,
    pub k: usize,
    pub window: Window,
    pub season: Option<&'a [T]>,
    pub trend: &'a [T],
    pub x_gradient: &'a mut [T],
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { time, k, window, season, trend, x_gradient } = self;
        let plan = Plan::new(time, k, window);
        let Plan { half, width, .. } = plan;
        // Between the ends the transposed average is an average with zeros around.
        let (mut padded, mut partial) = (plan.buffer::<T>(), plan.buffer::<T>());
        let zero = V::splat(T::ZERO);
        let share = V::splat(T::from_f64(1.0 / k as f64));
        let ramp = ramp::<T>(half, time, k);
        let reach = ramp.len();
        let mut rising = ramp;
        rising.resize(reach.next_multiple_of(V::N), T::ZERO);
        let mut falling: Vec<T> = rising[..reach].iter().rev().copied().collect();
        falling.resize(rising.len(), T::ZERO);
        let count = trend.len() / time;
        for start in (0..count).step_by(plan.group) {
            let rows = plan.group.min(count - start);
            for row in 0..rows {
                let at = (start + row) * time;
                let padded = &mut padded[row * width + half..];
                for i in (0..time).step_by(V::N) {
                    let mut g = edge::get::<T, V>(&trend[at + i..]);
                    if let Some(season) = season {
                        g = g.sub(edge::get::<T, V>(&season[at + i..]));
                    }
                    g.store(&mut padded[i..]);
                }
                // What ran over the end; the next series is written after this.
                zero.store(&mut padded[time..]);
            }
            window.short_sums::<T, V>(&padded, &mut partial, plan.outputs(rows));
            for row in 0..rows {
                let at = (start + row) * time;
                for i in (0..time).step_by(V::N) {
                    let mut sum = window.at::<T, V>(&padded, &partial, row * width + i).mul(share);
                    if let Some(season) = season {
                        sum = sum.add(edge::get::<T, V>(&season[at + i..]));
                    }
                    edge::put(sum, &mut x_gradient[at + i..]);
                }
                let steps = &padded[row * width + half..];
                let mut ends = [steps[0], steps[0]];
                if time > 1 {
                    ends = [dot::<T, V>(&rising, steps), dot::<T, V>(&falling, &steps[time - reach..])];
                }
                for (end, place) in ends.into_iter().zip([at, at + time - 1]) {
                    x_gradient[place] = end + season.map_or(T::ZERO, |s| s[place]);
                }
            }
        }
    }
}

/// What of the gradient of step t reaches the first element, t = 0, 1, …: step t is in the windows of h + 1 − t of the places that
/// repeat it, itself included.
pub(super) fn ramp<T: Real>(half: usize, time: usize, k: usize) -> Vec<T> {
    (0..time.min(half + 1)).map(|t| T::from_f64((half + 1 - t) as f64 / k as f64)).collect()
}

/// Σ weights · steps over whole vectors, where weights are positive: they end in zeros, next to which another series may stand.
#[inline(always)]
fn dot<T: Real, V: Lanes<T>>(weights: &[T], steps: &[T]) -> T {
    let zero = V::splat(T::ZERO);
    let mut sum = zero;
    for i in (0..weights.len()).step_by(V::N) {
        let w = V::load(&weights[i..]);
        sum = V::select(zero.lt(w), w.fma(V::load(&steps[i..]), sum), sum);
    }
    sum.sum()
}
