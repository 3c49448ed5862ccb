//! Cutting slices into tasks. The cuts depend on the length alone, and partial sums are added in order, so a result does not depend
//! on how many threads there are.

use rayon::prelude::*;
use std::ops::Range;

/// Elements of a task. 64 KiB of `f32`: long enough to pay for handing it over, short enough that a few such slices stay in cache.
/// A multiple of every vector length and of the groups that dropout draws its masks in.
pub const CHUNK: usize = 1 << 14;

/// Below this many elements a second thread costs more than it brings.
const WORTH_SHARING: usize = 4 * CHUNK;

/// Whether work on `len` elements is worth more than one thread. Both ways must give the same result.
pub fn worth_sharing(len: usize) -> bool {
    len >= WORTH_SHARING
}

/// Gives `work` every chunk of `out` with the place where it starts.
pub fn for_each<T: Send>(out: &mut [T], work: impl Fn(usize, &mut [T]) + Sync) {
    if worth_sharing(out.len()) {
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| work(i * CHUNK, chunk));
    } else {
        out.chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| work(i * CHUNK, chunk));
    }
}

/// Adds up what `work` gives for every chunk of `0..len`, in order.
pub fn sum(len: usize, work: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
    sum_over(len.div_ceil(CHUNK), worth_sharing(len), |i| work(i * CHUNK..len.min((i + 1) * CHUNK)))
}

/// Like [`sum`], and gives `work` the chunk of `out` with the place where it starts.
pub fn sum_mut<T: Send>(out: &mut [T], work: impl Fn(usize, &mut [T]) -> f64 + Sync) -> f64 {
    let shared = worth_sharing(out.len());
    sum_tasks(out, CHUNK, shared, |i, chunk| work(i * CHUNK, chunk))
}

/// Adds up `work(0)`, `work(1)`, … `work(count − 1)`, in order; on all threads when `shared`.
pub fn sum_over(count: usize, shared: bool, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    if shared {
        let parts: Vec<f64> = (0..count).into_par_iter().map(&work).collect();
        parts.into_iter().fold(0.0, |a, b| a + b)
    } else {
        (0..count).map(work).fold(0.0, |a, b| a + b)
    }
}

/// Cuts `out` into tasks of `size` elements (the last may be shorter) and adds up what `work` gives for each, in order; on all
/// threads when `shared`.
pub fn sum_tasks<T: Send>(out: &mut [T], size: usize, shared: bool, work: impl Fn(usize, &mut [T]) -> f64 + Sync) -> f64 {
    if shared {
        let parts: Vec<f64> = out.par_chunks_mut(size).enumerate().map(|(i, task)| work(i, task)).collect();
        parts.into_iter().fold(0.0, |a, b| a + b)
    } else {
        out.chunks_mut(size).enumerate().map(|(i, task)| work(i, task)).fold(0.0, |a, b| a + b)
    }
}

/// How many rows of `width` elements make a task: about [`CHUNK`] elements, at least one row.
pub fn rows_per_task(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_visited_once_with_its_place() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, WORTH_SHARING, WORTH_SHARING + 5] {
            let mut out = vec![usize::MAX; len];
            for_each(&mut out, |start, chunk| {
                for (i, v) in chunk.iter_mut().enumerate() {
                    assert_eq!(*v, usize::MAX);
                    *v = start + i;
                }
            });
            assert!(out.iter().enumerate().all(|(i, &v)| i == v));
            assert_eq!(sum(len, |r| r.len() as f64), len as f64);
            assert_eq!(sum_mut(&mut out, |_, c| c.len() as f64), len as f64);
        }
    }

    #[test]
    fn sums_do_not_depend_on_threads() {
        let x: Vec<f64> =
            (0..WORTH_SHARING + 77).map(|i| ((i * 7919) % 1013) as f64 * 1e-3 + 1e9 * f64::from(i as u32 % 2)).collect();
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sum(x.len(), |r| x[r].iter().sum()))
        };
        assert_eq!(on(1).to_bits(), on(3).to_bits());
        assert_eq!(rows_per_task(0), CHUNK);
        assert_eq!(rows_per_task(usize::MAX), 1);
    }
}
