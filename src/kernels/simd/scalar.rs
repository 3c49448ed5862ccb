//! The virtual vector as a plain array: the meaning that every other form must reproduce bit for bit.

use super::{Lanes, Real};

/// `N` numbers in an array.
#[derive(Clone, Copy)]
pub struct Array<T, const N: usize>([T; N]);

/// The operations for one float type; `$magic` is 2^(mantissa bits), so that adding it leaves an integer in the low bits.
macro_rules! array {
    ($float:ident, $lanes:literal, $bits:ident, $mantissa:literal, $bias:literal) => {
        impl Array<$float, $lanes> {
            #[inline(always)]
            fn map(self, f: impl Fn($float) -> $float) -> Self {
                Array(self.0.map(f))
            }
            #[inline(always)]
            fn zip(self, b: Self, f: impl Fn($float, $float) -> $float) -> Self {
                Array(std::array::from_fn(|i| f(self.0[i], b.0[i])))
            }
            /// Lane i with lane i + half, until one is left.
            #[inline(always)]
            fn fold(self, f: impl Fn($float, $float) -> $float) -> $float {
                let mut lanes = self.0;
                let mut half = $lanes / 2;
                while half > 0 {
                    for i in 0..half {
                        lanes[i] = f(lanes[i], lanes[i + half]);
                    }
                    half /= 2;
                }
                lanes[0]
            }
        }

        impl Lanes<$float> for Array<$float, $lanes> {
            const N: usize = <$float as Real>::LANES;
            const REGISTERS: usize = 4;
            const REGISTER_FILE: usize = 16;
            type Mask = [bool; $lanes];

            #[inline(always)]
            fn splat(x: $float) -> Self {
                Array([x; $lanes])
            }
            #[inline(always)]
            unsafe fn load_ptr(from: *const $float) -> Self {
                // SAFETY: the caller vouches for N numbers.
                Array(unsafe { from.cast::<[$float; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn load_ptr_partial(from: *const $float, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (i, lane) in lanes.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` numbers.
                    *lane = unsafe { from.add(i).read_unaligned() };
                }
                Array(lanes)
            }
            #[inline(always)]
            unsafe fn store_ptr(self, to: *mut $float) {
                // SAFETY: the caller vouches for N places.
                unsafe { to.cast::<[$float; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn store_ptr_partial(self, to: *mut $float, count: usize) {
                for (i, &lane) in self.0.iter().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` places.
                    unsafe { to.add(i).write_unaligned(lane) };
                }
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                self.zip(b, |x, y| x + y)
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                self.zip(b, |x, y| x - y)
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                self.zip(b, |x, y| x * y)
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                self.zip(b, |x, y| x / y)
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                Array(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
            }
            #[inline(always)]
            fn neg_fma(self, b: Self, c: Self) -> Self {
                Array(std::array::from_fn(|i| (-self.0[i]).mul_add(b.0[i], c.0[i])))
            }
            #[inline(always)]
            fn neg(self) -> Self {
                self.map(|x| -x)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.map(<$float>::abs)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.map(<$float>::sqrt)
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                self.zip(b, |x, y| if x > y { x } else { y })
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                self.zip(b, |x, y| if x < y { x } else { y })
            }
            #[inline(always)]
            fn round(self) -> Self {
                self.map(<$float>::round_ties_even)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                self.zip(sign, <$float>::copysign)
            }
            #[inline(always)]
            fn exp2_integer(self) -> Self {
                // The sum holds n + bias in its lowest bits; the shift puts it into the exponent field.
                const MAGIC: $float = (1u64 << $mantissa) as $float + $bias as $float;
                self.map(|n| <$float>::from_bits((n + MAGIC).to_bits() << $mantissa))
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
                const FIELD: $bits = (1 << $mantissa) - 1;
                let mantissa = self.map(|x| <$float>::from_bits(x.to_bits() & FIELD | (1.0 as $float).to_bits()));
                let exponent = self.map(|x| (x.to_bits() >> $mantissa) as $float - $bias as $float);
                (mantissa, exponent)
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                std::array::from_fn(|i| self.0[i] < b.0[i])
            }
            #[inline(always)]
            fn le(self, b: Self) -> Self::Mask {
                std::array::from_fn(|i| self.0[i] <= b.0[i])
            }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                Array(std::array::from_fn(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
            }
            #[inline(always)]
            fn sum(self) -> $float {
                self.fold(|x, y| x + y)
            }
            #[inline(always)]
            fn max_lane(self) -> $float {
                self.fold(|x, y| if x > y { x } else { y })
            }
        }
    };
}

array!(f32, 16, u32, 23, 127);
array!(f64, 8, u64, 52, 1023);
