//! Products of tensors on a device: MTTKRP, dense and sparse, and tensor times matrix, with their gradients. All in f32, tensors in C order.
//!
//! | module | launches |
//! |---|---|
//! | [`mttkrp`] | a product of X, as it lies, with a Khatri-Rao product that is never formed; a row dot with that of the other side |
//! | [`sparse`] | a walk over sorted nonzeros; the sums that cross stretches, level by level; values of a model at coordinates |
//! | [`ttm`] | a product of X, as it lies, with a matrix along a mode, a chain of them, and the gradient of the matrix |
//!
//! # The product
//! All dense launches but the row dot are one body: 256 threads have 4 × 4 elements each of a tile of 256 × 16, 128 × 32 or 64 × 64, as
//! the columns ask for, so that a rank of 16 keeps all threads busy. Rows of X are read where they lie: for the leading modes as rows, for
//! those in between as runs, neighbouring threads reading neighbouring numbers either way. Tiles leave through shared memory, so that writes
//! are whole lines too, also where the mode's index is not the last one. Where there are few tiles, terms are cut into parts, whose sums a
//! launch of their own adds in order: the cut is by the sizes alone.
//!
//! # Work
//! N modes, sizes I_n, rank R; e = 4 bytes. Multiply-adds, and numbers that cross the memory.
//!
//! | pass | multiply-adds | numbers |
//! |---|---|---|
//! | dense MTTKRP | R·ΠI + R·ΠI/max(I_L, I_T) | ΠI·⌈R/64⌉, then P·R·ΠI/max(I_L, I_T) written and read (P parts) |
//! | … gradient of X | R·ΠI | ΠI |
//! | … gradient of a factor | as MTTKRP of that mode | as MTTKRP |
//! | sparse MTTKRP | N·R for a nonzero | N + 1 for a nonzero, (N − 1)·R rows of factors, which the cache holds or not; 2·R/S for heads |
//! | … gradient of values | N·R for a nonzero | N + 1 for a nonzero, N·R rows of factors |
//! | product along a mode | J·ΠI | ΠI·⌈J/64⌉ + ΠI·J/I |
//! | … gradient of the matrix | J·ΠI | ΠI + ΠI·J/I, P·J·I for parts |
//!
//! At R = 16 a dense MTTKRP has 8 flops for each byte of X, and the same at J = 16; an H100 (67 TFLOP/s of plain f32, 3.35 TB/s) can do 20:
//! memory bounds both up to about R = 40. Each 16 multiply-adds of a thread take 8 loads from shared memory. No GPU has run it.

pub mod mttkrp;
pub mod sparse;
pub mod ttm;

use super::args::{TensorArgs, TensorDotArgs};
use super::plan::{DeviceError, Plan, fits, narrow};

/// Modes of a tensor at most: as many as 2^32 numbers can have with two indices each.
pub const MOST_MODES: usize = 32;
/// Threads of a block of the product.
const TILE_BLOCK: usize = 256;
/// Threads of other blocks.
const BLOCK: usize = 256;
/// Terms of a step, and of a part at least.
const DEPTH: usize = 16;
const LEAST_PART: usize = 256;
/// Blocks that a product should have: four for each of an H100's 132 multiprocessors.
const BLOCKS: usize = 528;
/// Rows of a Khatri-Rao product that are looked up at a time, at most.
const BATCH: usize = 256;

/// A shape, and what it comes to.
#[derive(Clone, Debug)]
struct Shape<'a> {
    sizes: &'a [usize],
    elements: usize,
}

impl<'a> Shape<'a> {
    fn new(sizes: &'a [usize]) -> Result<Self, DeviceError> {
        fits((1..=MOST_MODES).contains(&sizes.len()), || {
            format!("a tensor of {} modes: a device takes 1 to {MOST_MODES}", sizes.len())
        })?;
        let elements = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        let elements = elements.ok_or_else(|| DeviceError::Sizes(format!("a tensor of shape {sizes:?} is too large")))?;
        Ok(Self { sizes, elements })
    }

    /// The sizes before, at and after a mode.
    fn around(&self, mode: usize) -> Result<[usize; 3], DeviceError> {
        fits(mode < self.sizes.len(), || format!("mode {mode} of a tensor of {} modes", self.sizes.len()))?;
        Ok(crate::kernels::mttkrp::around(self.sizes, mode))
    }
}

/// Factors one after the other, as a device holds them; that of `except` is left out.
fn joined(factors: &[&[f32]], except: Option<usize>) -> Vec<f32> {
    let kept = factors.iter().enumerate().filter(|(m, _)| Some(*m) != except);
    kept.flat_map(|(_, factor)| factor.iter().copied()).collect()
}

/// Where the factors of [`joined`] begin, and the numbers of all. The place of the one left out says nothing.
fn places(sizes: &[usize], rank: usize, except: Option<usize>) -> Result<(Vec<usize>, usize), DeviceError> {
    let mut begin = 0usize;
    let mut all = Vec::with_capacity(sizes.len());
    for (m, &size) in sizes.iter().enumerate() {
        all.push(begin);
        let own = if Some(m) == except { Some(0) } else { size.checked_mul(rank) };
        begin = own
            .and_then(|own| begin.checked_add(own))
            .ok_or_else(|| DeviceError::Sizes(format!("factors of {sizes:?} by {rank}")))?;
    }
    Ok((all, begin))
}

/// Whether there is a factor for each mode, (I_m, rank); that of `except` is not looked at.
fn check_factors(sizes: &[usize], factors: &[&[f32]], rank: usize, except: Option<usize>) -> Result<(), DeviceError> {
    fits(factors.len() == sizes.len(), || format!("{} factors for {} modes", factors.len(), sizes.len()))?;
    for (m, (factor, &size)) in factors.iter().zip(sizes).enumerate() {
        fits(Some(m) == except || Some(factor.len()) == size.checked_mul(rank), || {
            format!("factor {m} has {} numbers, expected {size} x {rank}", factor.len())
        })?;
    }
    Ok(())
}

/// The first of a power of two that is not below `n`, at most 32: lanes that have the columns of a rank.
fn lanes(n: usize) -> usize {
    n.next_power_of_two().min(32)
}

/// Tiles of a product, and how its terms are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    /// The end of the entry's name.
    suffix: &'static str,
    /// Bytes of shared memory of the product alone.
    shared: usize,
    tiles: usize,
    part: usize,
    parts: usize,
}

impl Cut {
    fn new([rows, columns, depth]: [usize; 3]) -> Self {
        // A tile of few columns has many rows.
        let across: usize = if columns <= 16 && rows > 128 {
            4
        } else if columns <= 32 && rows > 64 {
            8
        } else {
            16
        };
        let (tall, wide) = (1024 / across, 4 * across);
        let suffix = ["c16", "c32", "c64"][across.ilog2() as usize - 2];
        let tiles = rows.div_ceil(tall) * columns.div_ceil(wide);
        let parts = (BLOCKS / tiles.max(1)).min(depth.div_ceil(LEAST_PART)).max(1);
        let part = depth.div_ceil(parts).next_multiple_of(DEPTH).max(DEPTH);
        // As TENSOR_FLOATS.
        let floats = (DEPTH * (tall + wide + 8)).max(wide * (tall + 1));
        Self { suffix, shared: 4 * floats, tiles, part, parts: depth.div_ceil(part).max(1) }
    }
}

/// A launch of the product and, where its terms are cut into parts, the sum of them.
struct Product<'a> {
    stem: &'a str,
    /// Rows, columns, terms.
    sizes: [usize; 3],
    /// Where the matrices and the result lie; sizes and the cut are filled in.
    lies: TensorArgs,
    buffers: &'a [Option<usize>],
}

impl Product<'_> {
    /// Writes the parts: their place, and the cut. One part alone goes to `out` at once where there is one.
    fn launch(&self, plan: &mut Plan, out: Option<usize>) -> Result<(Option<usize>, Cut), DeviceError> {
        let [rows, columns, depth] = self.sizes;
        let mut cut = Cut::new(self.sizes);
        let modes = self.lies.modes as usize;
        let mut batch = BATCH;
        while batch > DEPTH && cut.shared + 4 * batch * modes > super::plan::MOST_SHARED {
            batch /= 2;
        }
        let to = match out {
            Some(out) if cut.parts == 1 => Some(out),
            _ => plan.scratch("parts of a product", cut.parts * rows * columns),
        };
        let args = TensorArgs {
            rows: narrow("rows", rows)?,
            columns: narrow("columns", columns)?,
            depth: narrow("terms", depth)?,
            part: narrow("terms", cut.part)?,
            batch: narrow("rows looked up", batch)?,
            ..self.lies
        };
        cut.shared += 4 * batch * modes;
        let buffers: Vec<Option<usize>> = self.buffers.iter().copied().chain([to]).collect();
        let grid = if rows * columns == 0 { 0 } else { cut.tiles * cut.parts };
        plan.launch(format!("shoal_tensor_{}_{}", self.stem, cut.suffix), [grid, TILE_BLOCK, cut.shared], &args, &buffers)?;
        Ok((to, cut))
    }

    /// The same, and the sum of the parts to `out`.
    fn to(&self, plan: &mut Plan, out: Option<usize>) -> Result<(), DeviceError> {
        let (parts, cut) = self.launch(plan, out)?;
        let [rows, columns, _] = self.sizes;
        if parts == out { Ok(()) } else { sum_parts(plan, rows * columns, cut.parts, parts, out) }
    }
}

fn sum_parts(plan: &mut Plan, count: usize, parts: usize, from: Option<usize>, out: Option<usize>) -> Result<(), DeviceError> {
    let args = TensorDotArgs { outputs: narrow("sums", count)?, parts: narrow("parts", parts)?, ..TensorDotArgs::default() };
    plan.launch("shoal_tensor_sum_parts", [count.div_ceil(BLOCK), BLOCK, 0], &args, &[from, out])
}
