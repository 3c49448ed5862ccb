//! What dense inputs share: values that are missing or cannot be, and arrays whose first index is the fastest.

use super::coo::strides;
use super::input::Input;
use super::tns::advance;
use super::{Absent, Masked, Missing, Mode, NAN_REMEDY, ReadOptions, Storage, TensorData, TensorFormat, TensorInput};
use crate::kernels::simd::Real;
use crate::table::BadInput;
use crate::tensor::data::{Dense, Sparse};
use rayon::prelude::*;

/// The number of cells of `shape`; an error if there are none or they cannot be held.
pub fn cells<T>(file: &str, shape: &[usize]) -> Result<usize, BadInput> {
    if shape.is_empty() {
        return Err(BadInput::new(file, "holds a single number, expected an array with at least one mode"));
    }
    if shape.contains(&0) {
        return Err(BadInput::new(file, format!("its shape {shape:?} has no cells")).remedy("expected at least one cell"));
    }
    let cells = shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
    cells.filter(|c| c.checked_mul(size_of::<T>()).is_some_and(|b| b <= isize::MAX as usize)).ok_or_else(|| {
        BadInput::new(file, format!("its shape {shape:?} is larger than memory can be")).remedy("the header may be damaged")
    })
}

/// Takes numbers in file order, looks at each, and makes the tensor of them.
pub struct Collector<'a, T> {
    file: &'a str,
    /// In the order of the file.
    shape: Vec<usize>,
    fortran: bool,
    missing: Option<Missing>,
    values: Vec<T>,
    /// Positions of NaN.
    nan: Vec<usize>,
}

impl<'a, T: Real> Collector<'a, T> {
    /// For `cells` numbers of a tensor; `fortran` says that the first index is the fastest.
    pub fn new(file: &'a str, shape: &[usize], fortran: bool, options: &ReadOptions) -> Result<Self, BadInput> {
        let cells = cells::<T>(file, shape)?;
        let mut values = Vec::new();
        // Memory is taken as numbers arrive, so that a header that lies costs nothing.
        values.try_reserve_exact(cells).map_err(|_| {
            BadInput::new(file, format!("its shape {shape:?} does not fit in memory")).remedy("the header may be damaged")
        })?;
        Ok(Collector { file, shape: shape.to_vec(), fortran, missing: options.missing, values, nan: Vec::new() })
    }

    /// How many numbers there are so far.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The cell of the number at `position` in the file.
    fn cell(&self, mut position: usize) -> Vec<usize> {
        let mut cell = vec![0; self.shape.len()];
        let order: Vec<usize> =
            if self.fortran { (0..self.shape.len()).collect() } else { (0..self.shape.len()).rev().collect() };
        for n in order {
            cell[n] = position % self.shape[n];
            position /= self.shape[n];
        }
        cell
    }

    /// Takes the next numbers. Errors: infinite, NaN that was not announced, beyond an f32. What does not fit the shape is the caller's.
    pub fn extend(&mut self, numbers: impl Iterator<Item = f64>) -> Result<(), BadInput> {
        for x in numbers {
            let at = self.values.len();
            let value = T::from_f64(x);
            if value.is_finite() {
                self.values.push(value);
                continue;
            }
            let refuse = |what: String, remedy: &str| {
                let e = BadInput::new(self.file, format!("cell {:?} (counted from 0): {what}", self.cell(at)));
                if remedy.is_empty() { e } else { e.remedy(remedy) }
            };
            match self.missing {
                _ if x.is_infinite() => return Err(refuse(format!("found {x}, expected a finite number"), "")),
                _ if !x.is_nan() => {
                    return Err(refuse(format!("found {x:e}, expected a number that 32 bits can hold"), "use --dtype f64"));
                }
                None => return Err(refuse("found NaN, expected a number".into(), NAN_REMEDY)),
                Some(_) => {}
            }
            self.nan.push(at);
            self.values.push(T::ZERO);
        }
        Ok(())
    }

    /// The error for a number that cannot be read exactly.
    pub fn refuse(&self, ahead: usize, what: String, remedy: &str) -> BadInput {
        BadInput::new(self.file, format!("cell {:?} (counted from 0): {what}", self.cell(self.values.len() + ahead)))
            .remedy(remedy)
    }

    /// The tensor, in C order. As many numbers as cells must have been taken.
    pub fn finish(self, options: &ReadOptions, format: TensorFormat, input: &Input) -> Result<TensorInput<T>, BadInput> {
        let count = self.nan.len();
        if count == self.values.len() {
            return Err(BadInput::new(self.file, "every cell is NaN").remedy("expected at least one number"));
        }
        let absent = options.missing == Some(Missing::Absent);
        let mut observed = if absent && count > 0 { vec![true; self.values.len()] } else { Vec::new() };
        if !observed.is_empty() {
            self.nan.iter().for_each(|at| observed[*at] = false);
        }
        let (shape, mut values) = (self.shape, self.values);
        if self.fortran {
            values = from_fortran(&values, &shape);
            if !observed.is_empty() {
                observed = from_fortran(&observed, &shape);
            }
        }
        let data = match options.storage {
            Storage::Sparse => sparse(self.file, shape, values, &observed, absent)?,
            _ if observed.is_empty() => TensorData::Dense(Dense::new(shape, values)),
            _ => TensorData::Masked(Masked { tensor: Dense::new(shape, values), observed }),
        };
        let modes = Mode::unnamed(data.shape().len());
        let (notes, file) = (Vec::new(), input.digested());
        Ok(TensorInput { name: input.name().to_owned(), format, data, modes, merged: 0, nan: count, notes, file })
    }
}

/// The cells that count, as coordinates: those observed, or those that are not zero where nothing is missing.
fn sparse<T: Real>(
    file: &str,
    shape: Vec<usize>,
    values: Vec<T>,
    observed: &[bool],
    absent: bool,
) -> Result<TensorData<T>, BadInput> {
    let mut indices = vec![Vec::new(); shape.len()];
    let mut kept = Vec::new();
    let mut cell = vec![0; shape.len()];
    for (k, v) in values.iter().enumerate() {
        let counts = if absent { observed.get(k) != Some(&false) } else { *v != T::ZERO };
        if counts {
            for (column, i) in indices.iter_mut().zip(&cell) {
                let i = u32::try_from(*i);
                column
                    .push(i.map_err(|_| BadInput::new(file, format!("its shape {shape:?} is too large for --storage sparse")))?);
            }
            kept.push(*v);
        }
        advance(&mut cell, &shape);
    }
    if kept.is_empty() {
        return Err(BadInput::new(file, "every cell is zero, expected at least one that is not"));
    }
    let absent = if observed.is_empty() { Absent::Zero } else { Absent::Unobserved };
    Ok(TensorData::Sparse(Sparse::new(shape, indices, kept), absent))
}

/// Side of the square that is turned at once: 64 rows of 64 f64 fit a first-level cache together.
const TILE: usize = 64;

/// An array whose first index is the fastest, in C order. Cost: one pass, squares of 64 by 64 in the first and last mode.
pub fn from_fortran<V: Copy + Default + Send + Sync>(values: &[V], shape: &[usize]) -> Vec<V> {
    let (Some(&first), Some(&last)) = (shape.first(), shape.last()) else { return values.to_vec() };
    if shape.len() == 1 {
        return values.to_vec();
    }
    let middle = &shape[1..shape.len() - 1];
    let row: usize = shape[1..].iter().product();
    let plane = values.len() / last;
    // Steps in the file between neighbours along the middle modes.
    let mut steps = vec![first; middle.len()];
    for n in 1..middle.len() {
        steps[n] = steps[n - 1] * middle[n - 1];
    }
    let by_c = strides(middle);
    let mut out = vec![V::default(); values.len()];
    out.par_chunks_mut(row * TILE).enumerate().for_each(|(block, rows)| {
        let i0 = block * TILE;
        let height = rows.len() / row;
        for m in 0..row / last {
            let from: usize = by_c.iter().zip(middle).zip(&steps).map(|((c, size), step)| m / c % size * step).sum();
            for k0 in (0..last).step_by(TILE) {
                for i in 0..height {
                    let to = &mut rows[i * row + m * last..][k0..last.min(k0 + TILE)];
                    for (k, slot) in to.iter_mut().enumerate() {
                        *slot = values[i0 + i + from + (k0 + k) * plane];
                    }
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn turning_puts_every_number_at_its_cell(shape in prop::collection::vec(1usize..9, 1..5), wide in 1usize..200) {
            let mut shape = shape;
            shape[0] = wide;
            let n: usize = shape.iter().product();
            let values: Vec<usize> = (0..n).collect();
            let turned = from_fortran(&values, &shape);
            let mut cell = vec![0; shape.len()];
            for v in turned {
                let mut at = 0;
                for n in (0..shape.len()).rev() {
                    at = at * shape[n] + cell[n];
                }
                prop_assert_eq!(v, at);
                advance(&mut cell, &shape);
            }
        }
    }
}
