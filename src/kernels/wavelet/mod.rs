//! One level of the discrete wavelet transform along rows, and its inverse, with gradients.
//!
//! For a filter of F taps and a row x of d numbers, extended by half-sample symmetry (… x₁ x₀ | x₀ x₁ …), with m = ⌊(d + F − 1)/2⌋:
//!
//! * low_k = Σ_j lo_j · x_{2k+1−j}, high_k = Σ_j hi_j · x_{2k+1−j}, k < m;
//! * the inverse gives back x for even d, and d + 1 numbers for odd d.
//!
//! # How
//! A row is taken apart into its even and its odd numbers, after which every tap is a product with a shifted run of numbers that lie
//! together, a vector at a time.
//!
//! # Cost
//! 4·F·m operations a row each way. Memory: x once, low and high once.
//!
//! # Source
//! Mallat 1989; Daubechies 1988 (filters). The convention is that of PyWavelets with mode "symmetric".

pub mod reference;
#[cfg(test)]
mod tests;

use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{each_vector, for_each, get, put, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Longest filter.
const MOST: usize = 8;

const OP: &str = "wavelet";

/// An orthogonal wavelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wavelet {
    /// Two taps: means and differences of neighbours.
    Haar,
    /// Daubechies' with four vanishing moments, eight taps.
    Db4,
}

/// Taps of the low pass of db4.
const DB4: [f64; 8] = [
    -0.010_597_401_785_069_032,
    0.032_883_011_666_885_2,
    0.030_841_381_835_560_764,
    -0.187_034_811_719_093_09,
    -0.027_983_769_416_859_854,
    0.630_880_767_929_858_9,
    0.714_846_570_552_915_7,
    0.230_377_813_308_896_5,
];

impl Wavelet {
    /// Taps of the low pass.
    pub fn low(self) -> &'static [f64] {
        match self {
            Self::Haar => &[std::f64::consts::FRAC_1_SQRT_2; 2],
            Self::Db4 => &DB4,
        }
    }

    /// Tap of the high pass: hi_k = (−1)^{k+1} lo_{F−1−k}.
    fn high(self, k: usize) -> f64 {
        let low = self.low();
        let sign = if k.is_multiple_of(2) { -1.0 } else { 1.0 };
        sign * low[low.len() - 1 - k]
    }

    /// Length of each half for rows of `len`.
    pub fn half(self, len: usize) -> usize {
        (len + self.low().len() - 1) / 2
    }

    /// Length of what the inverse gives for halves of `half`.
    pub fn whole(self, half: usize) -> usize {
        (2 * half + 2).saturating_sub(self.low().len())
    }

    /// Pairs of taps, low and high: (even, odd) taps of each.
    fn taps<T: Real>(self, turned: bool) -> Taps<T> {
        let count = self.low().len();
        let mut taps = Taps { pairs: count / 2, even: [[T::ZERO; 2]; MOST / 2], odd: [[T::ZERO; 2]; MOST / 2] };
        for m in 0..count / 2 {
            let at = |j: usize| {
                let j = if turned { count - 1 - j } else { j };
                [T::from_f64(self.low()[j]), T::from_f64(self.high(j))]
            };
            taps.even[m] = at(2 * m);
            taps.odd[m] = at(2 * m + 1);
        }
        taps
    }
}

/// Taps of even and odd number, of the low and the high pass.
#[derive(Clone, Copy)]
struct Taps<T> {
    pairs: usize,
    even: [[T; 2]; MOST / 2],
    odd: [[T; 2]; MOST / 2],
}

/// The place inside a row of a place outside of it.
#[inline(always)]
fn reflected(at: isize, len: usize) -> usize {
    if (0..len as isize).contains(&at) {
        return at as usize;
    }
    let place = at.rem_euclid(2 * len as isize) as usize;
    if place < len { place } else { 2 * len - 1 - place }
}

/// What runs over rows: how a row of inputs becomes one of outputs.
trait RowWork<T: Real>: Copy + Send + Sync {
    /// Scratch numbers.
    fn room(&self) -> usize;
    fn row<V: Lanes<T>>(&self, from: [&[T]; 2], to: [&mut [T]; 2], room: &mut [T]);
}

struct Task<'a, T, W> {
    work: W,
    from: [&'a [T]; 2],
    to: [&'a mut [T]; 2],
    /// Numbers of a row of each.
    widths: [usize; 4],
}

struct Run<'a, 'b, T, W>(Task<'a, T, W>, &'b mut [T]);

impl<T: Real, W: RowWork<T>> Kernel<T> for Run<'_, '_, T, W> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(Task { work, from, to, widths }, room) = self;
        let [a, b] = from;
        let [c, d] = to;
        let rows = a.len() / widths[0];
        for i in 0..rows {
            let part = |x: usize| i * widths[x]..(i + 1) * widths[x];
            work.row::<V>([&a[part(0)], &b[part(1)]], [&mut c[part(2)], &mut d[part(3)]], room);
        }
    }
}

/// Runs over all rows; a width of 0 stands for an operand that is not there.
fn over_rows<T: Real, W: RowWork<T>>(work: W, from: [&[T]; 2], to: [&mut [T]; 2], widths: [usize; 4]) {
    let rows = from[0].len() / widths[0].max(1);
    let each = rows_per_chunk(widths[0].max(widths[2]), 1);
    let [mut c, mut d] = to;
    let mut tasks = Vec::new();
    for start in (0..rows).step_by(each) {
        let end = rows.min(start + each);
        let (head, tail) = c.split_at_mut((end - start) * widths[2]);
        let (head2, tail2) = d.split_at_mut((end - start) * widths[3]);
        let of = |x: usize| &from[x][start * widths[x]..end * widths[x]];
        tasks.push(Task { work, from: [of(0), of(1)], to: [head, head2], widths });
        (c, d) = (tail, tail2);
    }
    for_each(tasks, |task| with_scratch(task.work.room(), |room| dispatch(Run(task, room))));
}

/// `to[k] = Σ_m low[m]·a[k + step(m)] + high[m]·b[k + step(m)]`, the taps running forward or backward over the inputs.
#[inline(always)]
fn filtered<T: Real, V: Lanes<T>>(
    pairs: usize,
    [low, high]: [&[[T; 2]; MOST / 2]; 2],
    which: [usize; 2],
    [a, b]: [&[T]; 2],
    backwards: bool,
    to: &mut [T],
) {
    each_vector!(V, to.len(), |at, count| {
        let mut sum = V::splat(T::ZERO);
        for m in 0..pairs {
            let shift = at + if backwards { pairs - 1 - m } else { m };
            sum = V::splat(low[m][which[0]]).fma(get::<T, V>(a, shift, count), sum);
            sum = V::splat(high[m][which[1]]).fma(get::<T, V>(b, shift, count), sum);
        }
        put(sum, to, at, count);
    });
}

/// The transform of a row.
#[derive(Clone, Copy)]
struct Forward<T> {
    taps: Taps<T>,
    len: usize,
    half: usize,
}

impl<T: Real> Forward<T> {
    /// Numbers of the even or the odd part of an extended row.
    fn part(&self) -> usize {
        self.half + self.taps.pairs - 1
    }

    /// Place in the row of entry `t` of the even (0) or odd (1) part.
    #[inline(always)]
    fn place(&self, t: usize, odd: usize) -> usize {
        reflected(2 * (t as isize - (self.taps.pairs as isize - 1)) + odd as isize, self.len)
    }
}

impl<T: Real> RowWork<T> for Forward<T> {
    fn room(&self) -> usize {
        2 * self.part()
    }

    #[inline(always)]
    fn row<V: Lanes<T>>(&self, [x, _]: [&[T]; 2], to: [&mut [T]; 2], room: &mut [T]) {
        let (even, odd) = room.split_at_mut(self.part());
        for t in 0..self.part() {
            even[t] = x[self.place(t, 0)];
            odd[t] = x[self.place(t, 1)];
        }
        // Even taps meet odd places.
        for (pass, to) in to.into_iter().enumerate() {
            let taps = [&self.taps.even, &self.taps.odd];
            filtered::<T, V>(self.taps.pairs, taps, [pass, pass], [odd, even], true, to);
        }
    }
}

/// Gradient of a row from those of its halves.
#[derive(Clone, Copy)]
struct ForwardBackward<T>(Forward<T>);

impl<T: Real> RowWork<T> for ForwardBackward<T> {
    fn room(&self) -> usize {
        let pad = self.0.taps.pairs - 1;
        2 * (self.0.part() + pad) + 2 * self.0.part()
    }

    #[inline(always)]
    fn row<V: Lanes<T>>(&self, from: [&[T]; 2], [dx, _]: [&mut [T]; 2], room: &mut [T]) {
        let inner = &self.0;
        let (part, pad) = (inner.part(), inner.taps.pairs - 1);
        let (padded, parts) = room.split_at_mut(2 * (part + pad));
        let (low, high) = padded.split_at_mut(part + pad);
        for (padded, from) in [&mut *low, &mut *high].into_iter().zip(from) {
            padded.fill(T::ZERO);
            padded[pad..pad + from.len()].copy_from_slice(from);
        }
        let (even, odd) = parts.split_at_mut(part);
        filtered::<T, V>(inner.taps.pairs, [&inner.taps.odd, &inner.taps.odd], [0, 1], [low, high], false, even);
        filtered::<T, V>(inner.taps.pairs, [&inner.taps.even, &inner.taps.even], [0, 1], [low, high], false, odd);
        dx.fill(T::ZERO);
        for t in 0..part {
            dx[inner.place(t, 0)] += even[t];
            dx[inner.place(t, 1)] += odd[t];
        }
    }
}

/// The inverse of a pair of halves.
#[derive(Clone, Copy)]
struct Inverse<T> {
    taps: Taps<T>,
    half: usize,
}

impl<T: Real> Inverse<T> {
    fn pairs_out(&self) -> usize {
        self.half + 1 - self.taps.pairs
    }
}

impl<T: Real> RowWork<T> for Inverse<T> {
    fn room(&self) -> usize {
        2 * self.pairs_out()
    }

    #[inline(always)]
    fn row<V: Lanes<T>>(&self, from: [&[T]; 2], [y, _]: [&mut [T]; 2], room: &mut [T]) {
        let (even, odd) = room.split_at_mut(self.pairs_out());
        filtered::<T, V>(self.taps.pairs, [&self.taps.even, &self.taps.even], [0, 1], from, true, even);
        filtered::<T, V>(self.taps.pairs, [&self.taps.odd, &self.taps.odd], [0, 1], from, true, odd);
        for ((pair, e), o) in y.chunks_exact_mut(2).zip(even.iter()).zip(odd.iter()) {
            pair[0] = *e;
            pair[1] = *o;
        }
    }
}

/// Gradients of the halves from that of what the inverse gave.
#[derive(Clone, Copy)]
struct InverseBackward<T>(Inverse<T>);

impl<T: Real> RowWork<T> for InverseBackward<T> {
    fn room(&self) -> usize {
        2 * (self.0.pairs_out() + 2 * (self.0.taps.pairs - 1))
    }

    #[inline(always)]
    fn row<V: Lanes<T>>(&self, [dy, _]: [&[T]; 2], to: [&mut [T]; 2], room: &mut [T]) {
        let pad = self.0.taps.pairs - 1;
        let (even, odd) = room.split_at_mut(room.len() / 2);
        even.fill(T::ZERO);
        odd.fill(T::ZERO);
        for (q, pair) in dy.chunks_exact(2).enumerate() {
            even[pad + q] = pair[0];
            odd[pad + q] = pair[1];
        }
        for (pass, to) in to.into_iter().enumerate() {
            let taps = [&self.0.taps.even, &self.0.taps.odd];
            filtered::<T, V>(self.0.taps.pairs, taps, [pass, pass], [even, odd], false, to);
        }
    }
}

impl Wavelet {
    fn sizes<T>(self, len: usize, x: &[T], low: &[T], high: &[T]) -> usize {
        let half = self.half(len);
        assert!(len > 0 && x.len().is_multiple_of(len), "{OP}: {} numbers do not make rows of {len}", x.len());
        let rows = x.len() / len;
        assert!(low.len() == rows * half && high.len() == rows * half, "{OP}: halves are {rows} x {half}");
        half
    }

    /// Writes the halves (rows, [`half`](Self::half)) of rows of `len` numbers. Panics when sizes do not fit.
    pub fn forward<T: Real>(self, len: usize, x: &[T], low: &mut [T], high: &mut [T]) {
        let half = self.sizes(len, x, low, high);
        over_rows(Forward { taps: self.taps(false), len, half }, [x, &[]], [low, high], [len, 0, half, half]);
    }

    /// Writes the gradient of the rows from those of the halves. Panics when sizes do not fit.
    pub fn backward<T: Real>(self, len: usize, dlow: &[T], dhigh: &[T], dx: &mut [T]) {
        let half = self.sizes(len, dx, dlow, dhigh);
        let work = ForwardBackward(Forward { taps: self.taps(false), len, half });
        over_rows(work, [dlow, dhigh], [dx, &mut []], [half, half, len, 0]);
    }

    fn checked<T>(self, half: usize, low: &[T], high: &[T], y: &[T]) -> usize {
        assert!(2 * half >= self.low().len(), "{OP}: halves of {half} are too short for {} taps", self.low().len());
        let whole = self.whole(half);
        let rows = low.len() / half;
        assert!(low.len() == rows * half && high.len() == low.len(), "{OP}: halves are rows of {half}");
        assert_eq!(y.len(), rows * whole, "{OP}: the inverse is {rows} x {whole}");
        whole
    }

    /// Writes the rows (rows, [`whole`](Self::whole)) whose halves of `half` numbers these are. Panics when sizes do not fit.
    pub fn inverse<T: Real>(self, half: usize, low: &[T], high: &[T], y: &mut [T]) {
        let whole = self.checked(half, low, high, y);
        over_rows(Inverse { taps: self.taps(true), half }, [low, high], [y, &mut []], [half, half, whole, 0]);
    }

    /// Writes the gradients of the halves from that of the inverse. Panics when sizes do not fit.
    pub fn inverse_backward<T: Real>(self, half: usize, dy: &[T], dlow: &mut [T], dhigh: &mut [T]) {
        let whole = self.checked(half, dlow, dhigh, dy);
        let work = InverseBackward(Inverse { taps: self.taps(true), half });
        over_rows(work, [dy, &[]], [dlow, dhigh], [whole, 0, half, half]);
    }
}
