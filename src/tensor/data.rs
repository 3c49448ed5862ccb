//! Tensors as the methods take them.
//!
//! Modes are counted from 0, in the order of the shape; dense numbers lie in C order, the last index fastest.

use crate::kernels::mttkrp::sparse;
use crate::kernels::simd::Real;

/// A dense tensor, `shape.iter().product()` numbers in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense<T> {
    shape: Vec<usize>,
    values: Vec<T>,
}

impl<T: Real> Dense<T> {
    /// Panics when the shape and the number of values disagree.
    pub fn new(shape: Vec<usize>, values: Vec<T>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a tensor of shape {shape:?}");
        Self { shape, values }
    }

    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), values: vec![T::ZERO; shape.iter().product()] }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn order(&self) -> usize {
        self.shape.len()
    }

    pub fn values(&self) -> &[T] {
        &self.values
    }

    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    pub fn into_values(self) -> Vec<T> {
        self.values
    }
}

/// A sparse tensor as coordinates: number `k` is at `(indices[0][k], indices[1][k], …)`. Every cell at most once; cells that are not
/// listed are zero, or not observed where a method says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse<T> {
    shape: Vec<usize>,
    indices: Vec<Vec<u32>>,
    values: Vec<T>,
}

impl<T: Real> Sparse<T> {
    /// Panics when lengths disagree or an index is outside of the shape. That no cell comes twice is the caller's to check.
    pub fn new(shape: Vec<usize>, indices: Vec<Vec<u32>>, values: Vec<T>) -> Self {
        assert_eq!(shape.len(), indices.len(), "indices of every mode");
        for (mode, (index, &size)) in indices.iter().zip(&shape).enumerate() {
            assert_eq!(index.len(), values.len(), "indices of mode {mode}");
            assert!(index.iter().all(|&i| (i as usize) < size), "indices of mode {mode} below {size}");
        }
        Self { shape, indices, values }
    }

    /// The same tensor, its numbers in the order that the plan of an MTTKRP can borrow
    /// ([`SparsePlan::of`](crate::kernels::mttkrp::sparse::SparsePlan::of)): by the index of the shortest mode, then the next.
    /// Cost: a radix sort; 16 bytes a number for it, and one array at a time twice.
    pub fn arranged(self) -> Self {
        let Self { shape, mut indices, values } = self;
        let slices: Vec<&[u32]> = indices.iter().map(Vec::as_slice).collect();
        let places = sparse::places(&shape, &slices);
        for index in &mut indices {
            *index = sparse::gather(index, &places);
        }
        let values = sparse::gather(&values, &places);
        Self { shape, indices, values }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn order(&self) -> usize {
        self.shape.len()
    }

    /// The indices of one mode, for every number.
    pub fn indices(&self, mode: usize) -> &[u32] {
        &self.indices[mode]
    }

    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Numbers held.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
