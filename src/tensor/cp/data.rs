//! What sweeps need of their data.

use std::ops::Range;

use super::CpError;
use super::state::State;
use crate::kernels::simd::Real;

/// A tensor on which sweeps run.
///
/// All numbers are in units of [`scale`](Self::scale), a power of two that is 1 unless the values are so large or small that squares
/// of them would leave the range of numbers; the caller multiplies weights by it at the end.
pub trait SweepData {
    fn shape(&self) -> &[usize];
    /// Cells that count: all, or the observed ones.
    fn cells(&self) -> usize;
    /// The unit.
    fn scale(&self) -> f64;
    /// Σ x² over the cells that count, in units.
    fn norm_sq(&self) -> f64;
    /// A new start: whatever was learned from earlier sweeps is forgotten.
    fn restart(&mut self) {}
    /// Before every sweep, with the model as it stands (for EM: missing cells become what the model says).
    fn begin(&mut self, _model: &State) {}
    /// The equations of a mode.
    fn equations(&mut self) -> Equations<'_>;
    /// Σ (x − x̂)² over the cells that count, cell by cell.
    fn residual_sq(&mut self, model: &State) -> f64;
    /// Whether a residual of `residual_sq` (relative to [`norm_sq`](Self::norm_sq)) from the sums of the last mode can be trusted; when not,
    /// [`residual_sq`](Self::residual_sq) is called.
    fn trust_sums(&self, relative: f64) -> bool;
    /// X_(n) X_(n)ᵀ V for V (I_n, k) in rows, into `out`: what the leading singular vectors of an unfolding come from. Missing cells
    /// stand for the mean of the observed ones.
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]);
}

/// The least-squares problem of one mode.
pub enum Equations<'a> {
    /// All rows share the matrix ⊙ UᵀU of the other modes.
    Shared(&'a mut dyn Mttkrp),
    /// Every row has a matrix of its own: the sum over its observed cells.
    Rows(&'a dyn Observed),
}

/// The right sides of a mode.
pub trait Mttkrp {
    /// `out` (I_mode, R) = X_(mode) · KR(the other factors), in units. Modes come in increasing order within a sweep.
    fn mttkrp(&mut self, model: &State, mode: usize, out: &mut [f64]);
}

/// Cells visited row by row.
pub trait Observed: Sync {
    fn shape(&self) -> &[usize];
    /// Places to look at for row `row` of `mode`; not all need hold an observed cell.
    fn places(&self, mode: usize, row: usize) -> usize;
    /// Gives the observed cells among the `places` of a row to `f`, up to [`BATCH`] at a time: values in units, and indices (N of them a
    /// cell).
    fn visit(&self, mode: usize, row: usize, places: Range<usize>, f: &mut dyn FnMut(&[f64], &[u32]));
}

/// Most cells of one call of a visitor.
pub const BATCH: usize = 256;

/// Checks a shape and gives the number of cells.
pub fn check_shape(shape: &[usize]) -> Result<usize, CpError> {
    if shape.len() < 2 {
        return Err(CpError::Order(shape.len()));
    }
    if let Some(mode) = shape.iter().position(|&n| n == 0) {
        return Err(CpError::Empty { mode, shape: shape.to_vec() });
    }
    Ok(shape.iter().product())
}

/// Values of magnitude within 2^∓this are taken as they are. In f32 the product of a value and a factor that carries the scale must stay
/// far from the ends of the range (2^±126), in f64 squares of squares (2^±1022).
fn safe_exponent<T: Real>() -> i32 {
    if size_of::<T>() == 4 { 24 } else { 120 }
}

/// The unit for values of magnitude up to `peak`.
pub fn unit<T: Real>(peak: f64) -> f64 {
    if peak == 0.0 {
        return 1.0;
    }
    // Exponent of the largest power of two up to the peak; the product is not exact for subnormal peaks, and need not be.
    let exponent = peak.log2().floor() as i32;
    if exponent.abs() <= safe_exponent::<T>() { 1.0 } else { 2f64.powi(exponent.clamp(-1000, 1000)) }
}

/// Largest magnitude over the values at `observed` places; an error for what is not finite there.
pub fn peak<T: Real>(values: &[T], observed: Option<&[bool]>) -> Result<f64, CpError> {
    use rayon::prelude::*;
    const PIECE: usize = 1 << 16;
    let peaks: Vec<Result<f64, CpError>> = values
        .par_chunks(PIECE)
        .enumerate()
        .map(|(p, piece)| {
            let mut peak = 0.0f64;
            for (k, &x) in piece.iter().enumerate() {
                let cell = p * PIECE + k;
                if observed.is_none_or(|o| o[cell]) {
                    let x = x.to_f64();
                    if !x.is_finite() {
                        return Err(CpError::NonFinite { cell, value: x });
                    }
                    peak = peak.max(x.abs());
                }
            }
            Ok(peak)
        })
        .collect();
    peaks.into_iter().try_fold(0.0f64, |m, p| Ok(m.max(p?)))
}

/// Σ f(value in units) over the values at `observed` places, in pieces added in order.
pub fn sum_over<T: Real>(values: &[T], observed: Option<&[bool]>, inverse: f64, f: impl Fn(f64) -> f64 + Sync) -> f64 {
    use rayon::prelude::*;
    const PIECE: usize = 1 << 16;
    let sums: Vec<f64> = values
        .par_chunks(PIECE)
        .enumerate()
        .map(|(p, piece)| {
            let mut sums = [0.0f64; 8];
            for (k, &x) in piece.iter().enumerate() {
                if observed.is_none_or(|o| o[p * PIECE + k]) {
                    sums[k % 8] += f(x.to_f64() * inverse);
                }
            }
            sums.iter().sum()
        })
        .collect();
    sums.iter().sum()
}

/// Factors as the kernels take them.
pub fn cast<T: Real>(model: &State) -> Vec<Vec<T>> {
    model.factors.iter().map(|f| f.values.iter().map(|&x| T::from_f64(x)).collect()).collect()
}
