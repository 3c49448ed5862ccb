//! Kernels for GPUs: one source for CUDA, Metal, and a host without a GPU.
//!
//! # Layout
//! | folder | what |
//! |---|---|
//! | `compat/` | what a target calls things: `cuda.h`, `metal.h`, `host.h`, and `sh.h`, which all include. Nothing else knows targets |
//! | `args/` | structures of arguments, words of 32 bits, the same in C, Metal and Rust (`args.rs`) |
//! | `shared/` | bodies (`<op>.h`: functions that take a `ShCtx`, shared memory and pointers) and entries (`<op>.entry.h`) |
//! | `cuda/`, `metal/` | two includes for each family of kernels, and what is native there; `cuda/*.rs`: the driver's calls, memory |
//! | `emu/` | the emulator; `emu/faults.cpp` has kernels with mistakes that it must find, `emu/mock/` a driver of NVIDIA made up for tests |
//!
//! In Rust a module for each operation makes a [`Plan`]: buffers, and launches with their entry, blocks, threads, shared memory, arguments
//! and buffers. A plan is data. An [`Executor`] runs it: the emulator does (feature `emulator`), a GPU of NVIDIA does (`cuda.rs`,
//! feature `cuda`), and a Mac's (`metal_driver.rs`, feature `metal`). Wrong sizes, mistakes of kernels and a missing driver are errors, not panics.
//!
//! # Rules for kernels
//! * Built-in variables, bare pointers and f64 do not occur in `shared/`: `SH_GLOBAL(T)`, `SH_TGROUP(T)` and `SH_THREAD(T)` are types of
//!   pointers, so that the host can check bounds and Metal knows address spaces.
//! * Global memory carries nothing from one thread of a launch to another; a launch sees what earlier launches wrote. So sums over blocks
//!   are a launch of their own, in a fixed order, and there are no atomics on floats.
//! * Shared memory is taken from one arena, at most 32 KiB (Metal's limit). Blocks are whole warps of 32.
//! * `sh_warp_sum` and the others are trees of exchanges written out, the same on every target. `_up` and `_down` say what lanes without a
//!   neighbour get, as targets differ there.
//! * Functions are the precise ones. `sh_fma` is one rounding; elsewhere a compiler may contract.
//!
//! # What emulation shows, and what not
//! Every thread is a fibre. A warp runs until all of it waits for the block or has ended, then the next warp does: a barrier that is
//! missing shows, as it would not if threads took turns. Every access is checked: bounds, reads of what nobody wrote, and races (two
//! threads, one writing, no barrier between that orders them), for shared memory by barriers of warp and block, for global memory for the
//! whole launch. Barriers that part of a block or warp does not reach, exchanges by half a warp, and too deep stacks are found. All of it
//! is reported with block, thread, file and line, and with the other thread. Every test runs in five orders of blocks, warps and lanes,
//! which must give the same bits.
//!
//! It cannot show: weak memory order, limits of registers, occupancy and speed, bank conflicts, alignment of vector loads, the
//! last bits of a GPU's exp or of contracted multiply-adds, and errors of drivers. `make cuda-check` compiles all entries for Ampere and
//! Hopper and prints what they take, `make metal-check` checks types and address spaces of the Metal form with a C++ compiler. No kernel
//! here has run on a GPU yet.
//!
//! # Work of the kernels
//! Numbers read and written, and multiply-adds, for each row; e is a number of 4 or 2 bytes. Details are with each operation.
//!
//! | kernel | memory | arithmetic |
//! |---|---|---|
//! | [`conv`] forward | 2·d·e | k·d, d exponentials |
//! | [`conv`] backward | 3·d·e | 3·k·d, d exponentials |
//! | [`selective`] forward | (4·d + 2·g·n)·e, d·n/16 bytes of kept states | 4·d·n, d·n exponentials (2·d·n in spans) |
//! | [`selective`] backward | (7·d + 4·g·n)·e, 2·n·d/32 of shares twice | 20·d·n, 2·d·n exponentials (3·d·n in spans) |
//! | [`ssd`] forward | 2·h·p + 2·g·n, states of chunks 4·h·p·n/Q | h·(2·n·p + Q·p) + Q·n·g |
//! | [`ssd`] backward | 5·h·p + 6·g·n, 12·h·p·n/Q of states, 2·h·Q of squares | h·(6·n·p + 2·Q·p) + 3·Q·n·g |
//! | [`mamba3`] forward | 2·h·p + 2·r·g·n, 4·h·r·n + 2·h·r·p of scratch | h·r·(m·(n + p) + 2·n·p) |
//!
//! Those of [`tensor`] (MTTKRP, products along a mode, their gradients) are counted there: by numbers of X and by nonzeros.

mod args;
#[cfg(any(feature = "emulator", feature = "cuda", all(feature = "metal", target_os = "macos")))]
mod bound;
mod chunks;
pub mod conv;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod mamba3;
pub mod metal;
pub mod metal_driver;
pub mod plan;
pub mod selective;
pub mod ssd;
pub mod stopwatch;
pub mod tensor;
#[cfg(all(test, feature = "emulator"))]
mod tests;

pub use plan::{DeviceError, Executor, Fault, Launch, Plan};

/// What runs plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The host, thread by thread, with every access checked (feature `emulator`).
    Emulator,
    /// The first NVIDIA GPU (feature `cuda`).
    Cuda,
    /// The system's default GPU (feature `metal`, macOS).
    Metal,
}

/// Opens a device.
///
/// # Errors
/// [`DeviceError::Unavailable`] when the program was built without it, or when the machine has none.
pub fn open(target: Target) -> Result<Box<dyn Executor>, DeviceError> {
    match target {
        #[cfg(feature = "emulator")]
        Target::Emulator => Ok(Box::new(emulator::Emulator::new(emulator::Order::Forward))),
        #[cfg(not(feature = "emulator"))]
        Target::Emulator => Err(DeviceError::absent("emulator", "emulator")),
        #[cfg(feature = "cuda")]
        Target::Cuda => Ok(Box::new(cuda::Cuda::open(0)?)),
        #[cfg(not(feature = "cuda"))]
        Target::Cuda => Err(DeviceError::absent("CUDA", "cuda")),
        #[cfg(all(feature = "metal", target_os = "macos"))]
        Target::Metal => Ok(Box::new(metal_driver::Metal::open()?)),
        #[cfg(all(feature = "metal", not(target_os = "macos")))]
        Target::Metal => Err(DeviceError::Unavailable("Metal needs macOS".to_string())),
        #[cfg(not(feature = "metal"))]
        Target::Metal => Err(DeviceError::absent("Metal", "metal")),
    }
}
