//! Plans on the system's default GPU, through Metal (feature `metal`, macOS 14 or later).
//!
//! # Order and memory
//! Every launch is a command buffer of its own, committed in order to one queue: buffers are tracked by Metal, so a launch sees what the
//! earlier ones wrote, and an error and a time belong to one launch. That costs some microseconds for each. Memory is shared with the
//! host, and kept for the next plans.
//!
//! # How a launch is bound
//! | what | where |
//! |---|---|
//! | structure of arguments, copied into the command (at most 4 KiB) | buffer 0 |
//! | buffers of the launch in order | buffers 1 to 30 |
//! | the arena: the launch's shared memory, in whole 16 bytes and at least 16 | threadgroup 0 |
//!
//! A buffer that is absent is bound to a few bytes that nobody reads, as Metal's validation refuses gaps.

use super::metal::Family;
use super::plan::{DeviceError, Launch, fits};

#[cfg(all(feature = "metal", target_os = "macos"))]
mod gpu;
#[cfg(all(feature = "metal", target_os = "macos"))]
pub use gpu::Metal;

/// Threads of a SIMD group, which kernels count on.
pub const WIDTH: usize = 32;
/// Bytes that a command can carry for one argument.
pub const MOST_ARGS: usize = 4096;
/// Places for buffers, that of the arguments among them.
pub const PLACES: usize = 31;
/// Threadgroup memory comes in whole multiples of this many bytes.
const ARENA_GRAIN: usize = 16;

/// What a device allows a compiled entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most threads of a block, which registers may limit.
    pub threads: usize,
    /// Threads of a SIMD group.
    pub width: usize,
    /// Bytes of threadgroup memory that the entry declares itself.
    pub declared: usize,
    /// Bytes of threadgroup memory of a block, all together.
    pub memory: usize,
}

/// Bytes of threadgroup memory bound for `shared` bytes of an arena. Kernels without one have the parameter too.
pub fn arena_bytes(shared: u32) -> usize {
    (shared as usize).next_multiple_of(ARENA_GRAIN).max(ARENA_GRAIN)
}

/// Where the buffers of a launch are bound: place in the command, place in the plan.
pub fn places(launch: &Launch) -> impl Iterator<Item = (usize, Option<usize>)> + '_ {
    launch.buffers.iter().enumerate().map(|(i, buffer)| (i + 1, *buffer))
}

/// The family of a launch's entry, if everything fits that can be known before compiling.
///
/// # Errors
/// [`DeviceError::Sizes`].
pub fn family(launch: &Launch, buffers: usize) -> Result<Family, DeviceError> {
    let Launch { entry, grid, args, .. } = launch;
    fits(*grid > 0, || format!("{entry}: no blocks"))?;
    fits((1..=MOST_ARGS).contains(&args.len()), || format!("{entry}: {} bytes of arguments, at most {MOST_ARGS}", args.len()))?;
    fits(launch.buffers.len() < PLACES, || format!("{entry}: {} buffers, at most {}", launch.buffers.len(), PLACES - 1))?;
    let known = launch.buffers.iter().flatten().all(|b| *b < buffers);
    fits(known, || format!("{entry}: a buffer that the plan does not have"))?;
    Family::of(entry).ok_or_else(|| DeviceError::Sizes(format!("there is no kernel {entry}")))
}

impl Limits {
    /// Whether the launch fits.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] when SIMD groups are not of [`WIDTH`] threads, [`DeviceError::Sizes`] for the others.
    pub fn check(&self, launch: &Launch) -> Result<(), DeviceError> {
        let (entry, threads) = (&launch.entry, launch.block as usize);
        if self.width != WIDTH {
            let width = self.width;
            return Err(DeviceError::Unavailable(format!("{entry}: SIMD groups of {width} threads, kernels need {WIDTH}")));
        }
        let whole = threads > 0 && threads.is_multiple_of(WIDTH);
        fits(whole, || format!("{entry}: {threads} threads of a block, not whole warps"))?;
        fits(threads <= self.threads, || format!("{entry}: {threads} threads of a block, the device allows {}", self.threads))?;
        let memory = self.declared + arena_bytes(launch.shared);
        fits(memory <= self.memory, || format!("{entry}: {memory} bytes of shared memory, the device has {}", self.memory))
    }
}

/// Bytes of a buffer that is kept for other plans: at least `bytes`, at most an eighth more (256 at least).
pub fn room(bytes: usize) -> usize {
    let bytes = bytes.max(256);
    let grain = (1usize << bytes.ilog2()) / 8;
    bytes.div_ceil(grain).saturating_mul(grain)
}
