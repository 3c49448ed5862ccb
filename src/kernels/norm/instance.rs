//! Instance norm over time, and its inverse: reversible instance normalisation (RevIN).

use super::columns::column_sums;
use super::{instance_channels_last as channels_last, instance_time_last as time_last};
use crate::kernels::simd::Real;

/// Where time lies in a batch of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// (batch, channels, time)
    TimeLast,
    /// (batch, time, channels)
    ChannelsLast,
}

/// What is subtracted from a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centre {
    /// Its mean.
    Mean,
    /// Its last value (`subtract_last`); the divisor stays the standard deviation about the mean.
    Last,
}

/// A factor and a shift for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// The factors, (channels).
    pub gamma: &'a [T],
    /// The shifts, (channels).
    pub beta: &'a [T],
}

/// Instance norm over time: `y = (x − centre) / std · γ + β` for each series of each batch element, with
/// `std = √(population variance + eps)`; and the way back for a forecast in the same units,
/// `x = (y − β) / (γ + eps²) · std + centre`.
///
/// Source: Kim et al., ICLR 2022 (RevIN); without `affine` it is the normalisation of Liu et al., NeurIPS 2022 (non-stationary
/// transformers). As in their programs the statistics are constants for the gradient. That holds for the last value of
/// [`Centre::Last`] too, which RevIN's program lets gradients through; it matters only when the input itself is trained.
#[derive(Clone, Copy, Debug)]
pub struct InstanceNorm<'a, T> {
    /// Order of the axes.
    pub layout: Layout,
    /// Batch elements.
    pub batch: usize,
    /// Series in each.
    pub channels: usize,
    /// What is subtracted.
    pub centre: Centre,
    /// Trained factors and shifts; `None` leaves them out.
    pub affine: Option<Affine<'a, T>>,
    /// Added to the variance, and squared to the factor on the way back; usually 1e-5.
    pub eps: f64,
}

/// The statistics of each series, (batch, channels).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceMoments<T> {
    /// What was subtracted.
    pub centre: Vec<T>,
    /// What it was divided by.
    pub std: Vec<T>,
}

/// One pass over the data: `y = (x − pre) · factor + post` with three numbers for each series.
pub(super) struct Map<T> {
    pub pre: Vec<T>,
    pub factor: Vec<T>,
    pub post: Vec<T>,
}

impl<T: Real> InstanceNorm<'_, T> {
    /// Normalises `x` into `y`; time is what is left of the length. Cost: one read from memory and one write.
    pub fn forward(&self, x: &[T], y: &mut [T]) -> InstanceMoments<T> {
        assert_eq!(x.len(), y.len(), "instance norm: input and output differ in length");
        let series = self.series();
        let mut moments = InstanceMoments { centre: vec![T::ZERO; series], std: vec![T::ZERO; series] };
        let time = self.time(x.len());
        if time == 0 {
            moments.std.fill(T::from_f64(self.eps).sqrt());
            return moments;
        }
        match self.layout {
            Layout::TimeLast => time_last::forward(self, time, x, y, &mut moments),
            Layout::ChannelsLast => channels_last::forward(self, time, x, y, &mut moments),
        }
        moments
    }

    /// The gradients of the input and of γ and β, each where asked for, from the gradient `dy` of the output. `x` is only read for
    /// the gradient of γ. Shapes: `x`, `dy`, `dx` as the input; `dgamma`, `dbeta` (channels).
    ///
    /// `dx = dy · γ / std`, `dγ = Σ dy · (x − centre) / std`, `dβ = Σ dy` over batch and time.
    pub fn backward(
        &self,
        x: &[T],
        saved: &InstanceMoments<T>,
        dy: &[T],
        dx: Option<&mut [T]>,
        dgamma: Option<&mut [T]>,
        dbeta: Option<&mut [T]>,
    ) {
        self.check(saved);
        if let Some(dx) = dx {
            let factor = self.each(|r, c| self.gamma(c) / saved.std[r]);
            self.apply(dy, dx, &Map { pre: self.zeros(), factor, post: self.zeros() });
        }
        if dgamma.is_some() || dbeta.is_some() {
            let (mut products, sums) = self.sums(dy, x, &saved.centre);
            products.iter_mut().zip(&saved.std).for_each(|(p, &std)| *p = *p / std);
            self.add_batch(&products, dgamma);
            self.add_batch(&sums, dbeta);
        }
    }

    /// Takes `y`, in the units of the output, back to the units of the input: `out = (y − β) / (γ + eps²) · std + centre`. Its
    /// length along time is free. Cost: one read and one write.
    pub fn restore(&self, y: &[T], saved: &InstanceMoments<T>, out: &mut [T]) {
        self.check(saved);
        let factor = self.each(|r, c| saved.std[r] / self.divisor(c));
        let pre = self.each(|_, c| self.affine.map_or(T::ZERO, |a| a.beta[c]));
        self.apply(y, out, &Map { pre, factor, post: saved.centre.clone() });
    }

    /// The gradients of the input and of γ and β of [`InstanceNorm::restore`], each where asked for, from the gradient `dout` of
    /// its output. `y` is only read for the gradient of γ.
    ///
    /// `dy = dout · std / (γ + eps²)`, `dγ = −Σ dout · (y − β) · std / (γ + eps²)²`, `dβ = −Σ dout · std / (γ + eps²)`.
    pub fn restore_backward(
        &self,
        y: &[T],
        saved: &InstanceMoments<T>,
        dout: &[T],
        dy: Option<&mut [T]>,
        dgamma: Option<&mut [T]>,
        dbeta: Option<&mut [T]>,
    ) {
        self.check(saved);
        if let Some(dy) = dy {
            let factor = self.each(|r, c| saved.std[r] / self.divisor(c));
            self.apply(dout, dy, &Map { pre: self.zeros(), factor, post: self.zeros() });
        }
        if dgamma.is_some() || dbeta.is_some() {
            let beta = self.each(|_, c| self.affine.map_or(T::ZERO, |a| a.beta[c]));
            let (mut products, mut sums) = self.sums(dout, y, &beta);
            for r in 0..self.series() {
                let divisor = self.divisor(r % self.channels);
                products[r] = -products[r] * saved.std[r] / (divisor * divisor);
                sums[r] = -sums[r] * saved.std[r] / divisor;
            }
            self.add_batch(&products, dgamma);
            self.add_batch(&sums, dbeta);
        }
    }

    fn series(&self) -> usize {
        if let Some(affine) = self.affine {
            assert!(
                affine.gamma.len() == self.channels && affine.beta.len() == self.channels,
                "instance norm: gamma and beta need one number for each channel"
            );
        }
        self.batch * self.channels
    }

    fn time(&self, len: usize) -> usize {
        let series = self.series();
        if series == 0 {
            assert_eq!(len, 0, "instance norm: numbers without a series");
            return 0;
        }
        assert_eq!(len % series, 0, "instance norm: {len} numbers do not make {series} series of equal length");
        len / series
    }

    fn check(&self, saved: &InstanceMoments<T>) {
        let series = self.series();
        assert!(saved.centre.len() == series && saved.std.len() == series, "instance norm: moments of another input");
    }

    pub(super) fn gamma(&self, c: usize) -> T {
        self.affine.map_or(T::ONE, |a| a.gamma[c])
    }

    pub(super) fn beta(&self, c: usize) -> T {
        self.affine.map_or(T::ZERO, |a| a.beta[c])
    }

    /// `γ + eps²`, or 1 without factors.
    fn divisor(&self, c: usize) -> T {
        self.affine.map_or(T::ONE, |a| a.gamma[c] + T::from_f64(self.eps * self.eps))
    }

    fn each(&self, f: impl Fn(usize, usize) -> T) -> Vec<T> {
        (0..self.series()).map(|r| f(r, r % self.channels)).collect()
    }

    fn zeros(&self) -> Vec<T> {
        vec![T::ZERO; self.series()]
    }

    fn apply(&self, x: &[T], y: &mut [T], map: &Map<T>) {
        assert_eq!(x.len(), y.len(), "instance norm: input and output differ in length");
        let time = self.time(x.len());
        if time > 0 {
            match self.layout {
                Layout::TimeLast => time_last::apply(time, x, y, map),
                Layout::ChannelsLast => channels_last::apply(time, self.channels, x, y, map),
            }
        }
    }

    /// Σ a · (b − from) and Σ a over the time of each series.
    fn sums(&self, a: &[T], b: &[T], from: &[T]) -> (Vec<T>, Vec<T>) {
        assert_eq!(a.len(), b.len(), "instance norm: input and gradient differ in length");
        let (mut products, mut sums) = (self.zeros(), self.zeros());
        let time = self.time(a.len());
        if time > 0 {
            match self.layout {
                Layout::TimeLast => time_last::sums(time, a, b, from, &mut products, &mut sums),
                Layout::ChannelsLast => channels_last::sums(time, self.channels, a, b, from, &mut products, &mut sums),
            }
        }
        (products, sums)
    }

    /// Adds what the series of a channel hold over the batch.
    fn add_batch(&self, series: &[T], into: Option<&mut [T]>) {
        if let Some(into) = into {
            column_sums(series, self.channels, into);
        }
    }
}
