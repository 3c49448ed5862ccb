//! How contractions are cut into tasks: by the problem alone, never by the number of threads.

use rayon::prelude::*;

use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::Real;
use crate::kernels::sums::add;

/// Multiply-adds of a task, some hundred microseconds.
const TASK: usize = 1 << 21;
/// Most tasks of one contraction.
const TASKS: usize = 64;

/// An address that tasks share; each touches its own part.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Shared<T>(*mut T);
// SAFETY: the tasks of one cut write disjoint parts.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}
impl<T> Shared<T> {
    pub fn new(data: &mut [T]) -> Self {
        Self(data.as_mut_ptr())
    }
    pub fn at(&self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
    /// # Safety
    /// The part must lie inside the slice that this was made from, and be touched by one task alone while it lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Runs tasks 0, 1, … on the pool, or in order when there is one.
pub(in crate::kernels) fn each(tasks: usize, work: impl Fn(usize) + Sync + Send) {
    if tasks > 1 {
        (0..tasks).into_par_iter().with_max_len(1).for_each(work);
    } else {
        (0..tasks).for_each(work);
    }
}

/// Part `i` of `parts` even parts of `0..count`, cut at multiples of `unit`.
pub(in crate::kernels) fn even(count: usize, unit: usize, parts: usize, i: usize) -> std::ops::Range<usize> {
    let units = count.div_ceil(unit);
    (units * i / parts * unit).min(count)..(units * (i + 1) / parts * unit).min(count)
}

/// A contraction cut in two directions: outputs, which are disjoint, and terms, whose sums are added in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub outputs: usize,
    pub terms: usize,
}

impl Cut {
    /// `outputs` things to compute, at least `least[0]` of them in a task, from `terms` terms each, at least `least[1]` in a task; `work`
    /// multiply-adds in all. Parts of the sums, `result` numbers each, take together at most a sixteenth of the `input` numbers (or
    /// 2^15).
    pub fn new(outputs: usize, terms: usize, least: [usize; 2], work: usize, result: usize, input: usize) -> Self {
        let tasks = (work / TASK).clamp(1, TASKS);
        let by_output = tasks.min((outputs / least[0]).max(1));
        let room = ((input / 16).max(1 << 15) / result.max(1)).max(1);
        let by_term = tasks.div_ceil(by_output).min((terms / least[1]).max(1)).min(room);
        Self { outputs: by_output, terms: by_term }
    }

    /// Gives `work` (output part, term part, its sums: all `out.len()` numbers, of which it writes its outputs' own) and adds the sums of
    /// the term parts in order.
    pub fn run<T: Real>(&self, out: &mut [T], work: impl Fn(usize, usize, &Shared<T>) + Sync + Send) {
        let size = out.len();
        let rest = (self.terms - 1) * size;
        with_scratch(rest, |parts: &mut [T]| {
            let first = Shared::new(out);
            let others = (0..self.terms - 1).map(|i| Shared::new(&mut parts[i * size..])).collect::<Vec<_>>();
            each(self.outputs * self.terms, |task| {
                let (o, t) = (task / self.terms, task % self.terms);
                work(o, t, if t == 0 { &first } else { &others[t - 1] });
            });
            for part in parts.chunks_exact(size.max(1)) {
                add(out, part);
            }
        });
    }
}
