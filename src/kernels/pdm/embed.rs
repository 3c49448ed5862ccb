//! The entry: a circular convolution over the steps of each scale, from one number a step to `width`, plus what belongs to the window.

use crate::kernels::pieces::{Plan, split};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::sums;

/// y[r, t, c] = Σ_j kernel[c, j] · x[r, (t + j − ⌊taps/2⌋) on the circle of t's scale] + added[⌊r / channels⌋, t, c].
///
/// Shapes: x (rows, steps) with rows = windows · channels and the scales one after the other; kernel (width, taps); added (windows, steps,
/// width); y (rows, steps, width). Cost: taps multiply-adds per element, three times that backward; one pass over y or dy.
///
/// Source: the value embedding of TimeMixer's program (Wang et al. 2024), as in Informer (Zhou et al. 2021).
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a, T> {
    /// Steps of every scale; none is 0.
    pub lengths: &'a [usize],
    pub channels: usize,
    pub width: usize,
    /// Odd.
    pub taps: usize,
    /// (width, taps).
    pub kernel: &'a [T],
}

const OP: &str = "pdm_embed";

impl<T: Real> Embed<'_, T> {
    fn steps(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Panics when sizes do not fit. A row of the plan is a window.
    fn plan(&self, x: usize, added: Option<usize>, y: usize, partial: usize) -> Plan {
        let (s, n, d) = (self.steps(), self.channels, self.width);
        assert!(
            self.taps % 2 == 1 && !self.lengths.contains(&0),
            "{OP}: {} taps on scales of {:?} steps",
            self.taps,
            self.lengths
        );
        assert_eq!(self.kernel.len(), d * self.taps, "{OP}: the kernel is {d} x {}", self.taps);
        let windows = x.checked_div(n * s).unwrap_or(0);
        assert!(windows * n * s == x && x * d == y, "{OP}: {x} and {y} numbers are not windows of {n} x {s} steps");
        assert!(added.is_none_or(|a| a == windows * s * d), "{OP}: what is added is {windows} x {s} x {d}");
        Plan::of_tiles(windows, 1, 4 * n * s * d * self.taps, partial, 64)
    }

    /// (taps, width), with room for whole vectors after it.
    fn turned(&self) -> Vec<T> {
        let (d, k) = (self.width, self.taps);
        let mut turned = vec![T::ZERO; k * d + T::LANES];
        for c in 0..d {
            for j in 0..k {
                turned[j * d + c] = self.kernel[c * k + j];
            }
        }
        turned
    }

    /// Writes y. Panics when the lengths do not fit.
    pub fn forward(&self, x: &[T], added: Option<&[T]>, y: &mut [T]) {
        let plan = self.plan(x.len(), added.map(<[T]>::len), y.len(), 0);
        let (s, n, d) = (self.steps(), self.channels, self.width);
        let kernel = self.turned();
        plan.write(y, n * s * d, |c, y| {
            let mut ring = Vec::new();
            for (b, y) in plan.rows_of(c).zip(y.chunks_exact_mut(n * s * d)) {
                for (i, y) in y.chunks_exact_mut(s * d).enumerate() {
                    self.rings(&x[(b * n + i) * s..][..s], &mut ring);
                    let added = added.map(|a| &a[b * s * d..][..s * d]);
                    dispatch(Row { embed: self, kernel: &kernel, ring: &ring, added, y });
                }
            }
        });
    }

    /// From x and dy: the gradients that are wanted, written. Panics when the lengths do not fit.
    pub fn backward(&self, x: &[T], dy: &[T], dx: Option<&mut [T]>, dkernel: Option<&mut [T]>, dadded: Option<&mut [T]>) {
        let (s, n, d, k) = (self.steps(), self.channels, self.width, self.taps);
        let size = if dkernel.is_some() { d * k } else { 0 };
        let plan = self.plan(x.len(), dadded.as_ref().map(|a| a.len()), dy.len(), size);
        assert!(dx.as_ref().is_none_or(|dx| dx.len() == x.len()), "{OP}: the gradient is as long as x");
        assert!(dkernel.as_ref().is_none_or(|g| g.len() == d * k), "{OP}: the gradient of the kernel is {d} x {k}");
        let kernel = self.turned();
        let mut sum = vec![T::ZERO; size];
        let outs = [dx.map(|dx| (dx, n * s)), dadded.map(|a| (a, s * d))];
        plan.gather(outs, &mut [dkernel.is_some().then_some(&mut sum[..])], |c, [mut dx, mut dadded], sums| {
            let (mut ring, mut dring) = (Vec::new(), Vec::new());
            let [dkernel] = split(sums, [size]);
            for (w, b) in plan.rows_of(c).enumerate() {
                for i in 0..n {
                    self.rings(&x[(b * n + i) * s..][..s], &mut ring);
                    let dy = &dy[(b * n + i) * s * d..][..s * d];
                    if let Some(dadded) = &mut dadded {
                        let to = &mut dadded[w * s * d..(w + 1) * s * d];
                        if i == 0 { to.copy_from_slice(dy) } else { sums::add(to, dy) }
                    }
                    if let Some(dx) = &mut dx {
                        dring.clear();
                        dring.resize(ring.len(), T::ZERO);
                        dispatch(ToRing { embed: self, kernel: &kernel, dy, dring: &mut dring });
                        self.unring(&dring, &mut dx[(w * n + i) * s..][..s]);
                    }
                    if size > 0 {
                        dispatch(ToKernel { embed: self, ring: &ring, dy, dkernel: &mut *dkernel });
                    }
                }
            }
        });
        // Summed as (taps, width).
        if let Some(to) = dkernel {
            for c in 0..d {
                for j in 0..k {
                    to[c * k + j] = sum[j * d + c];
                }
            }
        }
    }

    /// Each scale with as many steps from its other end on either side as the convolution reaches.
    fn rings(&self, x: &[T], ring: &mut Vec<T>) {
        ring.clear();
        let mut start = 0;
        for &t in self.lengths {
            let x = &x[start..start + t];
            ring.extend((0..t + self.taps - 1).map(|q| x[self.place(q, t)]));
            start += t;
        }
    }

    /// The transpose of [`rings`](Self::rings).
    fn unring(&self, ring: &[T], x: &mut [T]) {
        x.fill(T::ZERO);
        let (mut start, mut from) = (0, ring);
        for &t in self.lengths {
            let (head, tail) = from.split_at(t + self.taps - 1);
            for (q, &g) in head.iter().enumerate() {
                x[start + self.place(q, t)] += g;
            }
            (start, from) = (start + t, tail);
        }
    }

    /// Which step place `q` of a ring holds.
    #[inline]
    fn place(&self, q: usize, t: usize) -> usize {
        let half = self.taps / 2;
        // Most of the way no division is needed.
        if q >= half && q - half < t { q - half } else { (q + half * (t - 1)) % t }
    }
}

/// Calls `$body` for every step: its place in the packed scales and the place in the rings of the first step the convolution sees.
macro_rules! each_step {
    ($embed:expr, |$step:ident, $from:ident| $body:block) => {
        let (mut $step, mut $from) = (0, 0);
        for &t in $embed.lengths {
            for _ in 0..t {
                $body
                $step += 1;
                $from += 1;
            }
            $from += $embed.taps - 1;
        }
    };
}

struct Row<'a, T> {
    embed: &'a Embed<'a, T>,
    kernel: &'a [T],
    ring: &'a [T],
    added: Option<&'a [T]>,
    y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Row<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { embed, kernel, ring, added, y } = self;
        let d = embed.width;
        each_step!(embed, |step, from| {
            let xs = &ring[from..from + embed.taps];
            for c in (0..d).step_by(V::N) {
                let line = step * d + c..step * d + d.min(c + V::N);
                let mut sum = added.map_or(V::splat(T::ZERO), |a| V::load_partial(&a[line.clone()]));
                for (j, &x) in xs.iter().enumerate() {
                    sum = V::splat(x).fma(V::load(&kernel[j * d + c..]), sum);
                }
                if line.len() == V::N { sum.store(&mut y[line]) } else { sum.store_partial(&mut y[line]) }
            }
        });
    }
}

struct ToRing<'a, T> {
    embed: &'a Embed<'a, T>,
    kernel: &'a [T],
    dy: &'a [T],
    dring: &'a mut [T],
}

impl<T: Real> Kernel<T> for ToRing<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { embed, kernel, dy, dring } = self;
        let d = embed.width;
        each_step!(embed, |step, from| {
            for (j, to) in dring[from..from + embed.taps].iter_mut().enumerate() {
                let mut sum = V::splat(T::ZERO);
                for c in (0..d).step_by(V::N) {
                    // Lanes of dy past the line are zero.
                    let g = V::load_partial(&dy[step * d + c..(step + 1) * d]);
                    sum = g.fma(V::load(&kernel[j * d + c..]), sum);
                }
                *to += sum.sum();
            }
        });
    }
}

struct ToKernel<'a, T> {
    embed: &'a Embed<'a, T>,
    ring: &'a [T],
    dy: &'a [T],
    dkernel: &'a mut [T],
}

impl<T: Real> Kernel<T> for ToKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { embed, ring, dy, dkernel } = self;
        let d = embed.width;
        for c in (0..d).step_by(V::N) {
            let end = d.min(c + V::N);
            // Up to four taps at a time stay in registers.
            for first in (0..embed.taps).step_by(4) {
                let taps = (embed.taps - first).min(4);
                let mut sums = [V::splat(T::ZERO); 4];
                for (j, sum) in sums.iter_mut().enumerate().take(taps) {
                    *sum = V::load_partial(&dkernel[(first + j) * d + c..(first + j) * d + end]);
                }
                each_step!(embed, |step, from| {
                    let g = V::load_partial(&dy[step * d + c..step * d + end]);
                    let xs = &ring[from + first..from + first + taps];
                    for (sum, &x) in sums.iter_mut().zip(xs) {
                        *sum = g.fma(V::splat(x), *sum);
                    }
                });
                for (j, sum) in sums.iter().enumerate().take(taps) {
                    sum.store_partial(&mut dkernel[(first + j) * d + c..(first + j) * d + end]);
                }
            }
        }
    }
}
