//! The virtual vector in two 256-bit registers.
//!
//! SAFETY of the whole file: the types leave this module only through the dispatch, which hands them to kernels after it has
//! found AVX2 and FMA on the machine (AVX-512 includes both). So every intrinsic here may run.

use std::arch::x86_64::*;

use super::{Lanes, Real};

/// 16 `f32`.
#[derive(Clone, Copy)]
pub struct F32x16([__m256; 2]);

/// 8 `f64`.
#[derive(Clone, Copy)]
pub struct F64x8([__m256d; 2]);

/// A window of it, read from place `N - count`, is a mask of `count` lanes.
static MASK_32: [i32; 32] = window();
static MASK_64: [i64; 16] = {
    let mut places = [0; 16];
    let mut i = 0;
    while i < 8 {
        places[i] = -1;
        i += 1;
    }
    places
};

const fn window() -> [i32; 32] {
    let mut places = [0; 32];
    let mut i = 0;
    while i < 16 {
        places[i] = -1;
        i += 1;
    }
    places
}

/// The halves added, then the halves of that, down to one number.
#[inline(always)]
pub(super) unsafe fn sum_256(low: __m256, high: __m256) -> f32 {
    unsafe {
        let eight = _mm256_add_ps(low, high);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// As [`sum_256`] with the larger number.
#[inline(always)]
pub(super) unsafe fn max_256(low: __m256, high: __m256) -> f32 {
    unsafe {
        let eight = _mm256_max_ps(low, high);
        let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
}

/// As [`sum_256`].
#[inline(always)]
pub(super) unsafe fn sum_256d(low: __m256d, high: __m256d) -> f64 {
    unsafe {
        let four = _mm256_add_pd(low, high);
        let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
    }
}

/// As [`sum_256`] with the larger number.
#[inline(always)]
pub(super) unsafe fn max_256d(low: __m256d, high: __m256d) -> f64 {
    unsafe {
        let four = _mm256_max_pd(low, high);
        let two = _mm_max_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
        _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
    }
}

/// The sums of 16 vectors. Two at a time are folded into one that holds both: halves are added, quarters, and so on, as in [`sum_256`].
#[inline(always)]
unsafe fn sums_256(from: *const f32) -> F32x16 {
    unsafe {
        let mut halves = [_mm256_setzero_ps(); 2];
        let mut half = 0;
        while half < 2 {
            let from = from.add(128 * half);
            let mut four = [_mm256_setzero_ps(); 4];
            let mut i = 0;
            while i < 4 {
                // Vectors i and i + 4 to the halves of one.
                let (a, b) = (from.add(16 * i), from.add(16 * (i + 4)));
                let a = _mm256_add_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(a.add(8)));
                let b = _mm256_add_ps(_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
                four[i] = _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
                i += 1;
            }
            let low = _mm256_add_ps(
                _mm256_shuffle_ps::<0b01_00_01_00>(four[0], four[1]),
                _mm256_shuffle_ps::<0b11_10_11_10>(four[0], four[1]),
            );
            let high = _mm256_add_ps(
                _mm256_shuffle_ps::<0b01_00_01_00>(four[2], four[3]),
                _mm256_shuffle_ps::<0b11_10_11_10>(four[2], four[3]),
            );
            halves[half] =
                _mm256_add_ps(_mm256_shuffle_ps::<0b10_00_10_00>(low, high), _mm256_shuffle_ps::<0b11_01_11_01>(low, high));
            half += 1;
        }
        F32x16(halves)
    }
}

/// The sums of 8 vectors.
#[inline(always)]
unsafe fn sums_256d(from: *const f64) -> F64x8 {
    unsafe {
        let mut sums = [0.0; 8];
        let mut i = 0;
        while i < 8 {
            let from = from.add(8 * i);
            sums[i] = sum_256d(_mm256_loadu_pd(from), _mm256_loadu_pd(from.add(4)));
            i += 1;
        }
        F64x8([_mm256_loadu_pd(sums.as_ptr()), _mm256_loadu_pd(sums.as_ptr().add(4))])
    }
}

macro_rules! lanes256 {
    ($name:ident, $float:ident, $vector:ident, $half:literal, $window:ident, $sum:ident, $sums:ident, $max:ident,
     $set1:ident, $load:ident, $store:ident, $mask_load:ident, $mask_store:ident,
     $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fnma:ident, $xor:ident, $and:ident, $andnot:ident, $or:ident,
     $sqrt:ident, $maxi:ident, $mini:ident, $round:ident, $cmp:ident, $blend:ident,
     $cast_int:ident, $cast_float:ident, $shl:ident, $shr:ident, $mantissa:literal, $bias:literal) => {
        impl $name {
            /// The masks of the two halves for the first `count` lanes.
            #[inline(always)]
            unsafe fn first(count: usize) -> (__m256i, __m256i) {
                debug_assert!(count <= Self::N);
                unsafe {
                    let from = $window.as_ptr().add(Self::N - count);
                    (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add($half).cast()))
                }
            }
        }

        impl Lanes<$float> for $name {
            const N: usize = <$float as Real>::LANES;
            const REGISTERS: usize = 2;
            const REGISTER_FILE: usize = 16;
            type Mask = [$vector; 2];

            #[inline(always)]
            fn splat(x: $float) -> Self {
                $name([unsafe { $set1(x) }; 2])
            }
            #[inline(always)]
            unsafe fn load_ptr(from: *const $float) -> Self {
                unsafe { $name([$load(from), $load(from.add($half))]) }
            }
            #[inline(always)]
            unsafe fn load_ptr_partial(from: *const $float, count: usize) -> Self {
                // Lanes outside the mask cause no access; the second address may lie outside, so no `add`.
                unsafe {
                    let (low, high) = Self::first(count);
                    $name([$mask_load(from, low), $mask_load(from.wrapping_add($half), high)])
                }
            }
            #[inline(always)]
            unsafe fn store_ptr(self, to: *mut $float) {
                unsafe {
                    $store(to, self.0[0]);
                    $store(to.add($half), self.0[1]);
                }
            }
            #[inline(always)]
            unsafe fn store_ptr_partial(self, to: *mut $float, count: usize) {
                unsafe {
                    let (low, high) = Self::first(count);
                    $mask_store(to, low, self.0[0]);
                    $mask_store(to.wrapping_add($half), high, self.0[1]);
                }
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                unsafe { $name([$add(self.0[0], b.0[0]), $add(self.0[1], b.0[1])]) }
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                unsafe { $name([$sub(self.0[0], b.0[0]), $sub(self.0[1], b.0[1])]) }
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                unsafe { $name([$mul(self.0[0], b.0[0]), $mul(self.0[1], b.0[1])]) }
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                unsafe { $name([$div(self.0[0], b.0[0]), $div(self.0[1], b.0[1])]) }
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                unsafe { $name([$fma(self.0[0], b.0[0], c.0[0]), $fma(self.0[1], b.0[1], c.0[1])]) }
            }
            #[inline(always)]
            fn neg_fma(self, b: Self, c: Self) -> Self {
                unsafe { $name([$fnma(self.0[0], b.0[0], c.0[0]), $fnma(self.0[1], b.0[1], c.0[1])]) }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                unsafe { $name([$xor(self.0[0], $set1(-0.0)), $xor(self.0[1], $set1(-0.0))]) }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                unsafe { $name([$andnot($set1(-0.0), self.0[0]), $andnot($set1(-0.0), self.0[1])]) }
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                unsafe { $name([$sqrt(self.0[0]), $sqrt(self.0[1])]) }
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                unsafe { $name([$maxi(self.0[0], b.0[0]), $maxi(self.0[1], b.0[1])]) }
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                unsafe { $name([$mini(self.0[0], b.0[0]), $mini(self.0[1], b.0[1])]) }
            }
            #[inline(always)]
            fn round(self) -> Self {
                const MODE: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
                unsafe { $name([$round::<MODE>(self.0[0]), $round::<MODE>(self.0[1])]) }
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                unsafe {
                    let bit = $set1(-0.0);
                    $name([
                        $or($andnot(bit, self.0[0]), $and(bit, sign.0[0])),
                        $or($andnot(bit, self.0[1]), $and(bit, sign.0[1])),
                    ])
                }
            }
            #[inline(always)]
            fn exp2_integer(self) -> Self {
                // The sum holds n + bias in its lowest bits; the shift puts it into the exponent field.
                const MAGIC: $float = (1u64 << $mantissa) as $float + $bias as $float;
                unsafe {
                    let magic = $set1(MAGIC);
                    $name([
                        $cast_float($shl::<$mantissa>($cast_int($add(self.0[0], magic)))),
                        $cast_float($shl::<$mantissa>($cast_int($add(self.0[1], magic)))),
                    ])
                }
            }
            #[inline(always)]
            fn scale_exp2(self, n: Self) -> Self {
                // Two normal factors, so that only the second product can round.
                let first = n.mul(Self::splat(0.5)).round();
                let second = n.sub(first);
                self.mul(first.exp2_integer()).mul(second.exp2_integer())
            }
            #[inline(always)]
            fn frexp(self) -> (Self, Self) {
                // The exponent field, put under the bits of 2^mantissa, is that number plus the field.
                const BASE: $float = (1u64 << $mantissa) as $float;
                unsafe {
                    let one = $set1(1.0);
                    // All ones of the exponent and sign: what the mantissa leaves out.
                    let head = $set1(<$float>::from_bits(!((1 << $mantissa) - 1)));
                    let (base, offset) = ($set1(BASE), $set1(BASE + $bias as $float));
                    let (low, high) = (self.0[0], self.0[1]);
                    let mantissa = [$or($andnot(head, low), one), $or($andnot(head, high), one)];
                    let exponent = [
                        $sub($or($cast_float($shr::<$mantissa>($cast_int(low))), base), offset),
                        $sub($or($cast_float($shr::<$mantissa>($cast_int(high))), base), offset),
                    ];
                    ($name(mantissa), $name(exponent))
                }
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                unsafe { [$cmp::<_CMP_LT_OQ>(self.0[0], b.0[0]), $cmp::<_CMP_LT_OQ>(self.0[1], b.0[1])] }
            }
            #[inline(always)]
            fn le(self, b: Self) -> Self::Mask {
                unsafe { [$cmp::<_CMP_LE_OQ>(self.0[0], b.0[0]), $cmp::<_CMP_LE_OQ>(self.0[1], b.0[1])] }
            }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                unsafe { $name([$blend(no.0[0], yes.0[0], mask[0]), $blend(no.0[1], yes.0[1], mask[1])]) }
            }
            #[inline(always)]
            fn sum(self) -> $float {
                unsafe { $sum(self.0[0], self.0[1]) }
            }
            #[inline(always)]
            fn sums(of: &[$float]) -> Self {
                assert!(of.len() >= Self::N * Self::N, "sums of as many vectors as a vector has lanes");
                // SAFETY: the slice holds that many vectors.
                unsafe { $sums(of.as_ptr()) }
            }
            #[inline(always)]
            fn max_lane(self) -> $float {
                unsafe { $max(self.0[0], self.0[1]) }
            }
        }
    };
}

lanes256!(
    F32x16,
    f32,
    __m256,
    8,
    MASK_32,
    sum_256,
    sums_256,
    max_256,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_fmadd_ps,
    _mm256_fnmadd_ps,
    _mm256_xor_ps,
    _mm256_and_ps,
    _mm256_andnot_ps,
    _mm256_or_ps,
    _mm256_sqrt_ps,
    _mm256_max_ps,
    _mm256_min_ps,
    _mm256_round_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_slli_epi32,
    _mm256_srli_epi32,
    23,
    127
);
lanes256!(
    F64x8,
    f64,
    __m256d,
    4,
    MASK_64,
    sum_256d,
    sums_256d,
    max_256d,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_div_pd,
    _mm256_fmadd_pd,
    _mm256_fnmadd_pd,
    _mm256_xor_pd,
    _mm256_and_pd,
    _mm256_andnot_pd,
    _mm256_or_pd,
    _mm256_sqrt_pd,
    _mm256_max_pd,
    _mm256_min_pd,
    _mm256_round_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_slli_epi64,
    _mm256_srli_epi64,
    52,
    1023
);
