//! HOOI: higher-order orthogonal iteration.

use super::operand::Operand;
use super::sthosvd::{At, truncate};
use super::tree::sweep;
use super::vectors::{Keep, Precision, left_vectors, transposed};
use super::{Iterations, ModeOrder, Size, StopReason, TuckerError, TuckerFit, check_input, error_of_norms, finish, squares};
use crate::run::observer::Observer;
use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Tucker};

/// What [`hooi`] is told.
#[derive(Debug, Clone, PartialEq)]
pub struct HooiConfig {
    pub size: Size,
    /// Of the ST-HOSVD that it starts from.
    pub mode_order: ModeOrder,
    pub precision: Precision,
    /// It stops when the relative error changes by less than this in a sweep.
    pub tol: f64,
    /// Sweeps at most.
    pub max_iter: usize,
}

impl HooiConfig {
    pub fn new(size: Size) -> Self {
        Self { size, mode_order: ModeOrder::Auto, precision: Precision::Auto, tol: 1e-8, max_iter: 100 }
    }
}

/// From an ST-HOSVD: for n = 0, 1, …, U_n becomes the leading left singular vectors of X ×_{m≠n} U_mᵀ, again and again.
///
/// * `x`, errors: as [`hosvd`](super::hosvd::hosvd). A tolerance fixes the ranks by the ST-HOSVD; the sweeps then only lower the error.
/// * The relative error never rises from sweep to sweep (up to rounding); what it reaches is a stationary point, not always the best.
/// * The trace is from norms, ‖X‖² − ‖G‖²; it ends early when ‖G‖² changes by less than that can tell.
/// * A rank above the product of the others gives vectors that the model does not use (their slices of the core are zero).
/// * Cost a sweep: 4 r ΠI operations and two passes over X ([`tree`](super::tree)), and Gram matrices and eigenvectors of I_n by Π r.
///   Memory beside X: r / I of X, twice for a moment.
/// * Cancelled: the model after the last whole sweep.
///
/// Source: De Lathauwer, De Moor & Vandewalle, On the best rank-1 and rank-(R1, …, RN) approximation of higher-order tensors, SIAM J.
/// Matrix Anal. Appl. 21 (2000); Kolda & Bader (2009), figure 4.4. Ours: products shared between modes.
pub fn hooi<X: Operand>(x: &X, config: &HooiConfig, observer: &dyn Observer) -> Result<TuckerFit, TuckerError> {
    let scan = check_input(x)?;
    config.size.check(x.shape())?;
    let (tol, precision) = (config.tol, config.precision);
    if !(tol.is_finite() && tol >= 0.0) {
        return Err(TuckerError::Option { name: "tol", value: tol, expected: "it is a change of the relative error, 0 or more" });
    }
    let modes = config.mode_order.resolve(x.shape())?;
    let order = modes.len();
    let start = truncate(x, &modes, |at, mode| {
        let keep = config.size.keep(mode, order, scan.squares);
        let v = match at {
            At::Whole(x) => left_vectors(x, mode, keep, precision),
            At::Part(x) => left_vectors(x, mode, keep, precision),
        };
        Ok((v?, None))
    })?;
    let (mut core, mut factors, mut singular_values) = (start.core, start.factors, start.singular_values);
    let mut explained = squares(core.values());
    let mut trace = vec![error_of_norms(scan.squares, explained)];
    observer.start("orthogonal iteration", config.max_iter);
    let stop_reason = loop {
        if trace.len() > config.max_iter {
            break StopReason::MaxIter;
        }
        if observer.cancelled() {
            break StopReason::Cancelled;
        }
        sweep(x, &mut factors, &mut |mode: usize, y: Dense<f64>, factors: &mut [Matrix]| {
            let v = left_vectors(&y, mode, Keep::Rank(factors[mode].cols), precision)?;
            factors[mode] = v.u;
            singular_values[mode] = v.singular_values;
            if mode + 1 == order {
                core = y.ttm(transposed(&factors[mode]), mode);
            }
            Ok(())
        })?;
        let before = explained;
        explained = squares(core.values());
        trace.push(error_of_norms(scan.squares, explained));
        observer.advance(1);
        let change = trace[trace.len() - 2] - trace[trace.len() - 1];
        // The squares are sums of many terms: their last few bits are noise.
        if (explained - before).abs() <= 16.0 * f64::EPSILON * scan.squares {
            break StopReason::Rounding;
        }
        if change.abs() < tol {
            break StopReason::Tolerance;
        }
    };
    observer.finish();
    let model = Tucker { core, factors };
    let iterations = Some(Iterations { trace, stop_reason });
    Ok(finish(x, model, scan.squares, explained, modes, singular_values, iterations))
}
