//! The data of a decomposition.

use super::CpError;
use super::data::{SweepData, check_shape};
use super::dense::DenseData;
use super::filled::Filled;
use super::known::{Known, KnownFilled};
use super::options::Missing;
use super::sparse::SparseData;
use super::weighted::{MaskedCells, Weighted};
use crate::kernels::simd::Real;
use crate::tensor::data::{Dense, Sparse};

/// A tensor, and what the cells that it does not hold mean.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, T> {
    /// Every cell is observed.
    Dense(&'a Dense<T>),
    /// Cells where `observed` (C order) is false are missing. What stands there is never used: it may be NaN.
    Masked { x: &'a Dense<T>, observed: &'a [bool] },
    /// Cells that are not listed are zero.
    Sparse(&'a Sparse<T>),
    /// Cells that are not listed are missing.
    Known(&'a Sparse<T>),
}

/// The mask of a tensor whose missing cells are NaN.
pub fn mask_of_nan<T: Real>(x: &Dense<T>) -> Vec<bool> {
    x.values().iter().map(|v| !v.to_f64().is_nan()).collect()
}

impl<'a, T: Real> Input<'a, T> {
    pub fn shape(&self) -> &'a [usize] {
        match self {
            Self::Dense(x) | Self::Masked { x, .. } => x.shape(),
            Self::Sparse(x) | Self::Known(x) => x.shape(),
        }
    }

    /// Cells that count in a fit.
    pub fn observed(&self) -> usize {
        match self {
            Self::Dense(x) => x.values().len(),
            Self::Masked { observed, .. } => observed.iter().filter(|&&o| o).count(),
            Self::Sparse(x) => x.shape().iter().fold(1usize, |p, &n| p.saturating_mul(n)),
            Self::Known(x) => x.len(),
        }
    }

    /// Whether cells are missing.
    pub fn has_missing(&self) -> bool {
        match self {
            Self::Dense(_) | Self::Sparse(_) => false,
            Self::Masked { observed, .. } => observed.iter().any(|o| !o),
            Self::Known(x) => (x.len() as f64) < x.shape().iter().map(|&n| n as f64).product::<f64>(),
        }
    }

    /// Checks shape, mask and values.
    ///
    /// # Errors
    /// [`CpError::Order`], [`CpError::Empty`], [`CpError::MaskLength`], [`CpError::NothingObserved`], [`CpError::NonFinite`] and, for a
    /// sparse tensor, [`CpError::Duplicate`].
    pub fn check(&self) -> Result<(), CpError> {
        let cells = match self {
            // The number of cells of a sparse tensor need not fit in a number.
            Self::Sparse(_) | Self::Known(_) => check_shape(&self.shape().iter().map(|&n| n.min(1)).collect::<Vec<_>>())?,
            _ => check_shape(self.shape())?,
        };
        match self {
            Self::Dense(x) => super::data::peak(x.values(), None).map(|_| ()),
            Self::Masked { x, observed } => {
                if observed.len() != cells {
                    return Err(CpError::MaskLength { mask: observed.len(), cells });
                }
                if !observed.iter().any(|&o| o) {
                    return Err(CpError::NothingObserved);
                }
                super::data::peak(x.values(), Some(observed)).map(|_| ())
            }
            Self::Sparse(x) => check_sparse(x),
            Self::Known(x) if x.is_empty() => Err(CpError::NothingObserved),
            Self::Known(x) => check_sparse(x),
        }
    }

    /// The data as sweeps take them.
    pub(crate) fn sweep_data(&self, rank: usize, missing: Missing) -> Result<Box<dyn SweepData + 'a>, CpError> {
        self.check()?;
        let em = match missing {
            Missing::Em => true,
            Missing::Weighted => false,
            Missing::Auto => 2 * self.observed() as u128 >= self.shape().iter().fold(1u128, |p, &n| p.saturating_mul(n as u128)),
        };
        Ok(match *self {
            Self::Dense(x) => Box::new(DenseData::new(x, rank)?),
            Self::Sparse(x) => Box::new(SparseData::new(x)?),
            // Nothing is missing: one matrix serves all rows.
            Self::Masked { x, .. } if !self.has_missing() => Box::new(DenseData::new(x, rank)?),
            Self::Masked { x, observed } if em => Box::new(Filled::new(x, observed, rank)?),
            Self::Masked { x, observed } => Box::new(Weighted::new(MaskedCells::new(x, observed)?)),
            Self::Known(x) if em => Box::new(KnownFilled::new(Known::new(x)?)),
            Self::Known(x) => Box::new(Weighted::new(Known::new(x)?)),
        })
    }
}

fn check_sparse<T: Real>(x: &Sparse<T>) -> Result<(), CpError> {
    if u32::try_from(x.len()).is_err() {
        return Err(CpError::TooMany(x.len()));
    }
    super::data::peak(x.values(), None)?;
    let mut order: Vec<u32> = (0..x.len() as u32).collect();
    let compare = |&a: &u32, &b: &u32| {
        (0..x.order())
            .map(|m| x.indices(m)[a as usize].cmp(&x.indices(m)[b as usize]))
            .find(|o| o.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    };
    order.sort_unstable_by(compare);
    match order.windows(2).find(|w| compare(&w[0], &w[1]).is_eq()) {
        Some(w) => Err(CpError::Duplicate((0..x.order()).map(|m| x.indices(m)[w[0] as usize] as usize).collect())),
        None => Ok(()),
    }
}
