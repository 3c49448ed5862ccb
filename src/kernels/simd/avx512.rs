//! The virtual vector in one 512-bit register.
//!
//! SAFETY of the whole file: the types leave this module only through the dispatch, which hands them to kernels after it has
//! found AVX-512 F, DQ, BW and VL on the machine. So every intrinsic here may run.

use std::arch::x86_64::*;

use super::avx2::{max_256, max_256d, sum_256, sum_256d};
use super::{Lanes, Real};

/// 16 `f32`.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);

/// 8 `f64`.
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);

/// The sums of 16 vectors. Two at a time are folded into one that holds both: halves are added, quarters, and so on, as in [`sum_256`].
#[inline(always)]
unsafe fn sums_512(from: *const f32) -> F32x16 {
    unsafe {
        // Vectors of 16 lanes, then two of 8, four of 4, eight of 2. The pairs are chosen such that the sums come out in order.
        let mut four = [_mm512_setzero_ps(); 4];
        let mut i = 0;
        while i < 4 {
            // Vectors i, i + 4, i + 8 and i + 12 to quarters 0 to 3.
            let (a, b) = (_mm512_loadu_ps(from.add(16 * i)), _mm512_loadu_ps(from.add(16 * (i + 4))));
            let (c, d) = (_mm512_loadu_ps(from.add(16 * (i + 8))), _mm512_loadu_ps(from.add(16 * (i + 12))));
            let ab = _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b));
            let cd = _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(c, d), _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d));
            four[i] = _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd), _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd));
            i += 1;
        }
        // Lanes 0 and 2, 1 and 3 of each quarter, then what is left.
        let low = _mm512_add_ps(
            _mm512_shuffle_ps::<0b01_00_01_00>(four[0], four[1]),
            _mm512_shuffle_ps::<0b11_10_11_10>(four[0], four[1]),
        );
        let high = _mm512_add_ps(
            _mm512_shuffle_ps::<0b01_00_01_00>(four[2], four[3]),
            _mm512_shuffle_ps::<0b11_10_11_10>(four[2], four[3]),
        );
        F32x16(_mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(low, high), _mm512_shuffle_ps::<0b11_01_11_01>(low, high)))
    }
}

/// The sums of 8 vectors.
#[inline(always)]
unsafe fn sums_512d(from: *const f64) -> F64x8 {
    unsafe {
        let mut sums = [0.0; 8];
        let mut i = 0;
        while i < 8 {
            sums[i] = F64x8(_mm512_loadu_pd(from.add(8 * i))).sum();
            i += 1;
        }
        F64x8(_mm512_loadu_pd(sums.as_ptr()))
    }
}

macro_rules! lanes512 {
    ($name:ident, $float:ident, $mask:ident, $sum:ident, $sums:ident, $max:ident, $high:expr, $low:ident,
     $set1:ident, $load:ident, $store:ident, $maskz_load:ident, $mask_store:ident,
     $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fnma:ident, $xor:ident, $and:ident, $andnot:ident, $or:ident,
     $sqrt:ident, $maxi:ident, $mini:ident, $round:ident, $scalef:ident, $getmant:ident, $getexp:ident, $cmp:ident, $blend:ident,
     $cast_int:ident, $cast_float:ident, $shift:ident, $mantissa:literal, $bias:literal) => {
        impl Lanes<$float> for $name {
            const N: usize = <$float as Real>::LANES;
            const REGISTERS: usize = 1;
            const REGISTER_FILE: usize = 32;
            type Mask = $mask;

            #[inline(always)]
            fn splat(x: $float) -> Self {
                $name(unsafe { $set1(x) })
            }
            #[inline(always)]
            unsafe fn load_ptr(from: *const $float) -> Self {
                $name(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn load_ptr_partial(from: *const $float, count: usize) -> Self {
                // Lanes outside the mask cause no access.
                $name(unsafe { $maskz_load(((1u32 << count) - 1) as $mask, from) })
            }
            #[inline(always)]
            unsafe fn store_ptr(self, to: *mut $float) {
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn store_ptr_partial(self, to: *mut $float, count: usize) {
                unsafe { $mask_store(to, ((1u32 << count) - 1) as $mask, self.0) }
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                $name(unsafe { $add(self.0, b.0) })
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                $name(unsafe { $sub(self.0, b.0) })
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                $name(unsafe { $mul(self.0, b.0) })
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                $name(unsafe { $div(self.0, b.0) })
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                $name(unsafe { $fma(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn neg_fma(self, b: Self, c: Self) -> Self {
                $name(unsafe { $fnma(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn neg(self) -> Self {
                $name(unsafe { $xor(self.0, $set1(-0.0)) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $name(unsafe { $andnot($set1(-0.0), self.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $name(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                $name(unsafe { $maxi(self.0, b.0) })
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                $name(unsafe { $mini(self.0, b.0) })
            }
            #[inline(always)]
            fn round(self) -> Self {
                // Scale 0, no exceptions.
                $name(unsafe { $round::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                unsafe {
                    let bit = $set1(-0.0);
                    $name($or($andnot(bit, self.0), $and(bit, sign.0)))
                }
            }
            #[inline(always)]
            fn exp2_integer(self) -> Self {
                // The sum holds n + bias in its lowest bits; the shift puts it into the exponent field.
                const MAGIC: $float = (1u64 << $mantissa) as $float + $bias as $float;
                unsafe { $name($cast_float($shift::<$mantissa>($cast_int($add(self.0, $set1(MAGIC)))))) }
            }
            #[inline(always)]
            fn scale_exp2(self, n: Self) -> Self {
                $name(unsafe { $scalef(self.0, n.0) })
            }
            #[inline(always)]
            fn scale_exp2_near(self, n: Self) -> Self {
                self.scale_exp2(n)
            }
            #[inline(always)]
            fn frexp(self) -> (Self, Self) {
                unsafe { ($name($getmant::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_SRC>(self.0)), $name($getexp(self.0))) }
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                unsafe { $cmp::<_CMP_LT_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn le(self, b: Self) -> Self::Mask {
                unsafe { $cmp::<_CMP_LE_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                $name(unsafe { $blend(mask, no.0, yes.0) })
            }
            #[inline(always)]
            fn sum(self) -> $float {
                unsafe { $sum($low(self.0), $high(self.0)) }
            }
            #[inline(always)]
            fn sums(of: &[$float]) -> Self {
                assert!(of.len() >= Self::N * Self::N, "sums of as many vectors as a vector has lanes");
                // SAFETY: the slice holds that many vectors.
                unsafe { $sums(of.as_ptr()) }
            }
            #[inline(always)]
            fn max_lane(self) -> $float {
                unsafe { $max($low(self.0), $high(self.0)) }
            }
        }
    };
}

lanes512!(
    F32x16,
    f32,
    __mmask16,
    sum_256,
    sums_512,
    max_256,
    _mm512_extractf32x8_ps::<1>,
    _mm512_castps512_ps256,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_xor_ps,
    _mm512_and_ps,
    _mm512_andnot_ps,
    _mm512_or_ps,
    _mm512_sqrt_ps,
    _mm512_max_ps,
    _mm512_min_ps,
    _mm512_roundscale_ps,
    _mm512_scalef_ps,
    _mm512_getmant_ps,
    _mm512_getexp_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    _mm512_castps_si512,
    _mm512_castsi512_ps,
    _mm512_slli_epi32,
    23,
    127
);
lanes512!(
    F64x8,
    f64,
    __mmask8,
    sum_256d,
    sums_512d,
    max_256d,
    _mm512_extractf64x4_pd::<1>,
    _mm512_castpd512_pd256,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_div_pd,
    _mm512_fmadd_pd,
    _mm512_fnmadd_pd,
    _mm512_xor_pd,
    _mm512_and_pd,
    _mm512_andnot_pd,
    _mm512_or_pd,
    _mm512_sqrt_pd,
    _mm512_max_pd,
    _mm512_min_pd,
    _mm512_roundscale_pd,
    _mm512_scalef_pd,
    _mm512_getmant_pd,
    _mm512_getexp_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    _mm512_castpd_si512,
    _mm512_castsi512_pd,
    _mm512_slli_epi64,
    52,
    1023
);
