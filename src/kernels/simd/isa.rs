//! Which instruction set runs, and how `f32` and `f64` kernels reach it.

use std::cell::Cell;
use std::sync::OnceLock;

use super::{Real, scalar};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust arrays; runs everywhere.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL.
    Avx512,
    /// 64-bit Arm.
    Neon,
}

impl Isa {
    /// Short name for reports: `scalar`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// The instruction set that [`super::dispatch`] uses on this thread: the one forced by [`with_isa`], else the best of the machine.
#[inline]
pub fn active() -> Isa {
    FORCED.get().unwrap_or_else(best)
}

/// The instruction sets of this machine, slowest first; the last is the default.
pub fn available() -> Vec<Isa> {
    [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon].into_iter().filter(|&isa| detected(isa)).collect()
}

/// Runs `work` with every dispatch of the current thread forced to `isa`, for tests and comparisons. Other threads, pool workers
/// included, keep their choice. Panics when the machine lacks `isa`.
pub fn with_isa<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    /// Puts the former choice back, also when `work` panics.
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    assert!(detected(isa), "this machine has no {}", isa.name());
    let _restore = Restore(FORCED.replace(Some(isa)));
    work()
}

fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(|| available().last().copied().unwrap_or(Isa::Scalar))
}

fn detected(isa: Isa) -> bool {
    match isa {
        Isa::Scalar => true,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            detected(Isa::Avx2)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

/// `Real` for one float type: the arithmetic of the standard library, and the vector type of each instruction set.
macro_rules! real {
    ($float:ident, $lanes:literal, $scalar:ty, $avx2:ident, $avx512:ident, $neon:ident) => {
        impl Real for $float {
            type Array = $scalar;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = super::avx2::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = super::avx512::$avx512;
            #[cfg(target_arch = "aarch64")]
            type Neon = super::neon::$neon;
            const LANES: usize = $lanes;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $float
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$float>::sqrt(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$float>::is_finite(self)
            }
        }
    };
}

real!(f32, 16, scalar::Array<f32, 16>, F32x16, F32x16, F32x16);
real!(f64, 8, scalar::Array<f64, 8>, F64x8, F64x8, F64x8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_last_of_the_available_ones() {
        let all = available();
        assert_eq!(all[0], Isa::Scalar);
        assert_eq!(active(), *all.last().unwrap());
    }

    #[test]
    fn forcing_nests_and_ends_even_after_a_panic() {
        let before = active();
        with_isa(Isa::Scalar, || {
            assert_eq!(active(), Isa::Scalar);
            let inner = std::panic::catch_unwind(|| with_isa(before, || panic!("on purpose")));
            assert!(inner.is_err());
            assert_eq!(active(), Isa::Scalar);
        });
        assert_eq!(active(), before);
    }

    #[test]
    fn an_instruction_set_of_another_machine_is_refused() {
        let foreign = if cfg!(target_arch = "x86_64") { Isa::Neon } else { Isa::Avx2 };
        assert!(std::panic::catch_unwind(|| with_isa(foreign, || ())).is_err());
    }
}
