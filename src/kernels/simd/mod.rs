//! Vector arithmetic chosen at run time, with one meaning on every machine.
//!
//! A kernel is written once, generic over [`Lanes`]: a *virtual* vector of 16 `f32` or 8 `f64`. AVX-512 holds it in one register,
//! AVX2 in two, NEON in four, and plain Rust in an array. The width is the same everywhere, `fma` rounds once everywhere, and
//! [`Lanes::sum`] adds in a fixed tree, so a kernel gives the same bits on every instruction set; only its speed differs.
//! (Without hardware FMA the scalar form stays exact and is slow.)
//!
//! ```
//! use shoal::kernels::simd::{dispatch, Kernel, Lanes, Real};
//! struct Dot<'a>(&'a [f32], &'a [f32]);
//! impl Kernel<f32> for Dot<'_> {
//!     type Output = f32;
//!     #[inline(always)]
//!     fn run<V: Lanes<f32>>(self) -> f32 {
//!         let mut acc = V::splat(0.0);
//!         let whole = self.0.len() / V::N * V::N;
//!         for i in (0..whole).step_by(V::N) {
//!             acc = V::load(&self.0[i..]).fma(V::load(&self.1[i..]), acc);
//!         }
//!         let rest = V::load_partial(&self.0[whole..]).mul(V::load_partial(&self.1[whole..]));
//!         acc.add(rest).sum()
//!     }
//! }
//! assert_eq!(dispatch(Dot(&[2.0; 20], &[3.0; 20])), 120.0);
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
pub mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

pub use isa::{Isa, active, available, with_isa};

/// A float that kernels are written for: `f32` or `f64`.
pub trait Real:
    Copy
    + Send
    + Sync
    + 'static
    + Default
    + PartialOrd
    + std::fmt::Debug
    + std::fmt::Display
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::iter::Sum
    + math::Tables
{
    /// The virtual vector in plain Rust.
    type Array: Lanes<Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Self>;
    #[cfg(target_arch = "aarch64")]
    type Neon: Lanes<Self>;
    /// Lanes of the virtual vector: 16 or 8.
    const LANES: usize;
    const ZERO: Self;
    const ONE: Self;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    /// `self · b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    fn sqrt(self) -> Self;
    fn is_finite(self) -> bool;
}

/// A computation generic over the vector type. `run` and everything it calls with `V` must be `#[inline(always)]`: only then
/// is it compiled with the features of the instruction set.
///
/// The compiled forms are methods of the kernel, and not functions beside [`dispatch`], so that the compiler puts them where the kernel
/// is: each module is optimised by itself, in parallel, and a change in one leaves the others as they were.
pub trait Kernel<T: Real>: Sized {
    type Output;
    fn run<V: Lanes<T>>(self) -> Self::Output;

    /// `run` in plain Rust. Call [`dispatch`] instead.
    fn with_array(self) -> Self::Output {
        self.run::<T::Array>()
    }
    /// `run` for AVX2. Call [`dispatch`] instead.
    ///
    /// # Safety
    /// The machine must have AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn with_avx2(self) -> Self::Output {
        self.run::<T::Avx2>()
    }
    /// `run` for AVX-512. Call [`dispatch`] instead.
    ///
    /// # Safety
    /// The machine must have AVX-512 F, DQ, BW and VL, AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
    unsafe fn with_avx512(self) -> Self::Output {
        self.run::<T::Avx512>()
    }
    /// `run` for NEON. Call [`dispatch`] instead.
    ///
    /// # Safety
    /// The machine must have NEON.
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon")]
    unsafe fn with_neon(self) -> Self::Output {
        self.run::<T::Neon>()
    }
}

/// Runs a kernel with the best instruction set of this machine (or the one forced by [`with_isa`]).
#[inline]
pub fn dispatch<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    match active() {
        // SAFETY: `active` only names instruction sets that were detected on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { kernel.with_avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { kernel.with_avx2() },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { kernel.with_neon() },
        _ => kernel.with_array(),
    }
}

/// Asks for the cache line that holds number `at` of `of`, in the second-level cache. Never more than a hint: `at` may lie outside.
#[inline(always)]
pub fn prefetch<T>(of: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: nothing is read, and an address that is not mapped is ignored.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(of.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (of, at);
}

/// A virtual vector of `N` numbers; all operations are lane-wise unless said otherwise.
pub trait Lanes<T: Real>: Copy {
    /// `T::LANES`.
    const N: usize;
    /// How many vector registers of the instruction set one virtual vector takes: 1 on AVX-512. Kernels size their tiles by it.
    const REGISTERS: usize;
    /// How many such registers the instruction set has: 32 on AVX-512 and NEON, 16 on AVX2.
    const REGISTER_FILE: usize;
    /// The result of a comparison, a flag per lane.
    type Mask: Copy;

    fn splat(x: T) -> Self;
    /// The first `N` numbers of `from`. Panics when there are fewer.
    #[inline(always)]
    fn load(from: &[T]) -> Self {
        assert!(from.len() >= Self::N, "a vector load needs a whole vector");
        // SAFETY: the slice holds N numbers.
        unsafe { Self::load_ptr(from.as_ptr()) }
    }
    /// `min(N, from.len())` numbers, zeros in the other lanes.
    #[inline(always)]
    fn load_partial(from: &[T]) -> Self {
        // SAFETY: the count is within the slice and at most N.
        unsafe { Self::load_ptr_partial(from.as_ptr(), from.len().min(Self::N)) }
    }
    /// Writes the first `N` places of `to`. Panics when there are fewer.
    #[inline(always)]
    fn store(self, to: &mut [T]) {
        assert!(to.len() >= Self::N, "a vector store needs room for a whole vector");
        // SAFETY: the slice has room for N numbers.
        unsafe { self.store_ptr(to.as_mut_ptr()) }
    }
    /// Writes `min(N, to.len())` lanes.
    #[inline(always)]
    fn store_partial(self, to: &mut [T]) {
        let count = to.len().min(Self::N);
        // SAFETY: the count is within the slice and at most N.
        unsafe { self.store_ptr_partial(to.as_mut_ptr(), count) }
    }
    /// # Safety
    /// `from` must be readable for `N` numbers (any alignment).
    unsafe fn load_ptr(from: *const T) -> Self;
    /// # Safety
    /// `from` must be readable for `count` numbers; `count <= N`. Other lanes are zero and their memory is not touched.
    unsafe fn load_ptr_partial(from: *const T, count: usize) -> Self;
    /// # Safety
    /// `to` must be writable for `N` numbers (any alignment).
    unsafe fn store_ptr(self, to: *mut T);
    /// # Safety
    /// `to` must be writable for `count` numbers; `count <= N`. Memory of the other lanes is not touched.
    unsafe fn store_ptr_partial(self, to: *mut T, count: usize);

    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `self · b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `c − self · b`, rounded once.
    fn neg_fma(self, b: Self, c: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    /// The larger; `b` when either is NaN.
    fn max(self, b: Self) -> Self;
    /// The smaller; `b` when either is NaN.
    fn min(self, b: Self) -> Self;
    /// To the nearest integer, ties to even.
    fn round(self) -> Self;
    /// The magnitude of `self` with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// `2^self` for lanes that hold integers in the range of normal exponents (−126..=127 or −1022..=1023). Other values: unspecified.
    fn exp2_integer(self) -> Self;
    /// `self · 2^n`, rounded once, to subnormal numbers and ±∞ too. For `self` in [1/4, 4] and integers |n| <= 250 (f32) or
    /// 2040 (f64), and for NaN in both. Other values: unspecified.
    fn scale_exp2(self, n: Self) -> Self;
    /// [`scale_exp2`](Self::scale_exp2) where 2ⁿ and the result are normal numbers, or `self` is NaN.
    #[inline(always)]
    fn scale_exp2_near(self, n: Self) -> Self {
        self.mul(n.exp2_integer())
    }
    /// Splits positive normal numbers into mantissa in [1, 2) and exponent as a float.
    fn frexp(self) -> (Self, Self);

    fn lt(self, b: Self) -> Self::Mask;
    fn le(self, b: Self) -> Self::Mask;
    /// Lanes of `yes` where the mask is set, of `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// All lanes added in a fixed tree: halves are added until one number is left (lane i with i + N/2, and so on).
    fn sum(self) -> T;
    /// Lane i is the [`sum`](Self::sum) of the i-th vector of `of`, which holds N of them. Panics when there are fewer.
    #[inline(always)]
    fn sums(of: &[T]) -> Self {
        let mut sums = [T::ZERO; 16];
        for (sum, v) in sums.iter_mut().zip(of[..Self::N * Self::N].chunks_exact(Self::N)) {
            *sum = Self::load(v).sum();
        }
        Self::load(&sums)
    }
    /// The largest lane.
    fn max_lane(self) -> T;
}
