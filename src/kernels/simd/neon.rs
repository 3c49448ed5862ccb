//! The virtual vector in four 128-bit registers.
//!
//! SAFETY of the whole file: the types leave this module only through the dispatch, which hands them to kernels after it has
//! found NEON on the machine. So every intrinsic here may run.

use std::arch::aarch64::*;

use super::{Lanes, Real};

/// 16 `f32`.
#[derive(Clone, Copy)]
pub struct F32x16([float32x4_t; 4]);

/// 8 `f64`.
#[derive(Clone, Copy)]
pub struct F64x8([float64x2_t; 4]);

/// Calls an intrinsic on the four registers of each operand.
macro_rules! four {
    ($f:ident($($x:expr),*)) => {
        unsafe { [$f($($x[0]),*), $f($($x[1]),*), $f($($x[2]),*), $f($($x[3]),*)] }
    };
    ($f:ident::<$c:literal>($($x:expr),*)) => {
        unsafe { [$f::<$c>($($x[0]),*), $f::<$c>($($x[1]),*), $f::<$c>($($x[2]),*), $f::<$c>($($x[3]),*)] }
    };
}

macro_rules! lanes128 {
    ($name:ident, $float:ident, $quarter:literal, $mask:ident, $mantissa:literal, $bias:literal,
     $dup:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fms:ident, $neg:ident,
     $abs:ident, $sqrt:ident, $round:ident, $lt:ident, $le:ident, $gt:ident, $select:ident,
     $bits:ident, $float_of:ident, $dup_bits:ident, $and:ident, $or:ident, $shl:ident, $shr:ident, $convert:ident) => {
        impl Lanes<$float> for $name {
            const N: usize = <$float as Real>::LANES;
            const REGISTERS: usize = 4;
            const REGISTER_FILE: usize = 32;
            type Mask = [$mask; 4];

            #[inline(always)]
            fn splat(x: $float) -> Self {
                $name([unsafe { $dup(x) }; 4])
            }
            #[inline(always)]
            unsafe fn load_ptr(from: *const $float) -> Self {
                unsafe {
                    $name([$load(from), $load(from.add($quarter)), $load(from.add(2 * $quarter)), $load(from.add(3 * $quarter))])
                }
            }
            #[inline(always)]
            unsafe fn load_ptr_partial(from: *const $float, count: usize) -> Self {
                // No masked loads here: through the stack.
                let mut lanes = [0.0; <$float as Real>::LANES];
                unsafe {
                    std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
                    Self::load_ptr(lanes.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_ptr(self, to: *mut $float) {
                unsafe {
                    $store(to, self.0[0]);
                    $store(to.add($quarter), self.0[1]);
                    $store(to.add(2 * $quarter), self.0[2]);
                    $store(to.add(3 * $quarter), self.0[3]);
                }
            }
            #[inline(always)]
            unsafe fn store_ptr_partial(self, to: *mut $float, count: usize) {
                let mut lanes = [0.0; <$float as Real>::LANES];
                unsafe {
                    self.store_ptr(lanes.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
                }
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                $name(four!($add(self.0, b.0)))
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                $name(four!($sub(self.0, b.0)))
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                $name(four!($mul(self.0, b.0)))
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                $name(four!($div(self.0, b.0)))
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                // The addend comes first.
                $name(four!($fma(c.0, self.0, b.0)))
            }
            #[inline(always)]
            fn neg_fma(self, b: Self, c: Self) -> Self {
                $name(four!($fms(c.0, self.0, b.0)))
            }
            #[inline(always)]
            fn neg(self) -> Self {
                $name(four!($neg(self.0)))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $name(four!($abs(self.0)))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $name(four!($sqrt(self.0)))
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                // Not the maximum instruction: that one treats NaN and zeros otherwise.
                let mask = four!($gt(self.0, b.0));
                $name(four!($select(mask, self.0, b.0)))
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                let mask = four!($lt(self.0, b.0));
                $name(four!($select(mask, self.0, b.0)))
            }
            #[inline(always)]
            fn round(self) -> Self {
                $name(four!($round(self.0)))
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                let bit = unsafe { [$dup_bits((-0.0 as $float).to_bits()); 4] };
                $name(four!($select(bit, sign.0, self.0)))
            }
            #[inline(always)]
            fn exp2_integer(self) -> Self {
                // The sum holds n + bias in its lowest bits; the shift puts it into the exponent field.
                const MAGIC: $float = (1u64 << $mantissa) as $float + $bias as $float;
                let sum = self.add(Self::splat(MAGIC)).0;
                let bits = four!($bits(sum));
                let shifted = four!($shl::<$mantissa>(bits));
                $name(four!($float_of(shifted)))
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
                const FIELD: $float = <$float>::from_bits((1 << $mantissa) - 1);
                let bits = four!($bits(self.0));
                let (field, one) = unsafe { ([$dup_bits(FIELD.to_bits()); 4], [$dup_bits((1.0 as $float).to_bits()); 4]) };
                let kept = four!($and(bits, field));
                let joined = four!($or(kept, one));
                let mantissa = $name(four!($float_of(joined)));
                let shifted = four!($shr::<$mantissa>(bits));
                let exponent = $name(four!($convert(shifted))).sub(Self::splat($bias as $float));
                (mantissa, exponent)
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                four!($lt(self.0, b.0))
            }
            #[inline(always)]
            fn le(self, b: Self) -> Self::Mask {
                four!($le(self.0, b.0))
            }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                $name(four!($select(mask, yes.0, no.0)))
            }
            #[inline(always)]
            fn sum(self) -> $float {
                // Registers 0 and 2, 1 and 3, then both; what is left in one register goes lane by lane.
                unsafe {
                    let left = $add($add(self.0[0], self.0[2]), $add(self.0[1], self.0[3]));
                    let mut lanes = [0.0; $quarter];
                    $store(lanes.as_mut_ptr(), left);
                    let mut half = $quarter / 2;
                    while half > 0 {
                        let mut i = 0;
                        while i < half {
                            lanes[i] += lanes[i + half];
                            i += 1;
                        }
                        half /= 2;
                    }
                    lanes[0]
                }
            }
            #[inline(always)]
            fn max_lane(self) -> $float {
                // In the order of `sum`.
                let swapped = $name([self.0[2], self.0[3], self.0[2], self.0[3]]);
                let half = self.max(swapped).0;
                let left = $name([half[0]; 4]).max($name([half[1]; 4])).0[0];
                let mut lanes = [0.0; $quarter];
                unsafe { $store(lanes.as_mut_ptr(), left) };
                let mut half = $quarter / 2;
                while half > 0 {
                    let mut i = 0;
                    while i < half {
                        lanes[i] = if lanes[i] > lanes[i + half] { lanes[i] } else { lanes[i + half] };
                        i += 1;
                    }
                    half /= 2;
                }
                lanes[0]
            }
        }
    };
}

#[rustfmt::skip]
lanes128!(
    F32x16, f32, 4, uint32x4_t, 23, 127,
    vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32, vfmaq_f32, vfmsq_f32, vnegq_f32,
    vabsq_f32, vsqrtq_f32, vrndnq_f32, vcltq_f32, vcleq_f32, vcgtq_f32, vbslq_f32,
    vreinterpretq_u32_f32, vreinterpretq_f32_u32, vdupq_n_u32, vandq_u32, vorrq_u32, vshlq_n_u32, vshrq_n_u32, vcvtq_f32_u32
);
#[rustfmt::skip]
lanes128!(
    F64x8, f64, 2, uint64x2_t, 52, 1023,
    vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64, vfmaq_f64, vfmsq_f64, vnegq_f64,
    vabsq_f64, vsqrtq_f64, vrndnq_f64, vcltq_f64, vcleq_f64, vcgtq_f64, vbslq_f64,
    vreinterpretq_u64_f64, vreinterpretq_f64_u64, vdupq_n_u64, vandq_u64, vorrq_u64, vshlq_n_u64, vshrq_n_u64, vcvtq_f64_u64
);
