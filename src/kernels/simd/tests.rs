//! Every instruction set against the arithmetic of the standard library, bit for bit.

use super::*;

/// Numbers, and their bits with one pattern for all NaN.
trait Bits: Real {
    fn bits(self) -> u64;
    fn from_random(bits: u64) -> Self;
    fn specials() -> Vec<Self>;
    /// Standard-library meanings.
    fn std_round(self) -> Self;
    fn std_abs(self) -> Self;
    fn std_copysign(self, sign: Self) -> Self;
    /// 2ⁿ, correct also for subnormal results.
    fn power(n: i32) -> Self;
    /// Exponents of normal numbers, and of the widest scaling.
    const NORMAL: (i32, i32);
    const WIDEST: i32;
    fn exponent(self) -> i32;
}

macro_rules! bits {
    ($float:ident, $word:ident, $mantissa:literal, $bias:literal, $widest:literal) => {
        impl Bits for $float {
            fn bits(self) -> u64 {
                if self.is_nan() { u64::MAX } else { self.to_bits() as u64 }
            }
            fn from_random(bits: u64) -> Self {
                $float::from_bits((bits >> (64 - $word::BITS)) as $word)
            }
            fn specials() -> Vec<Self> {
                let tiny = $float::from_bits(1);
                let positive = [0.0, tiny, tiny * 3.0, $float::MIN_POSITIVE, $float::EPSILON, 0.5, 1.0, 1.5, 2.5, 3.5, 1e10];
                let large = [$float::MAX, $float::INFINITY, (1u64 << $mantissa) as $float - 0.5, $float::MIN_POSITIVE - tiny];
                positive.into_iter().chain(large).flat_map(|x| [x, -x]).chain([$float::NAN]).collect()
            }
            fn std_round(self) -> Self {
                self.round_ties_even()
            }
            fn std_abs(self) -> Self {
                self.abs()
            }
            fn std_copysign(self, sign: Self) -> Self {
                self.copysign(sign)
            }
            fn power(n: i32) -> Self {
                if n > $bias {
                    $float::INFINITY
                } else if n > -$bias {
                    $float::from_bits(((n + $bias) as $word) << $mantissa)
                } else if n > -$bias - $mantissa {
                    $float::from_bits(1 << (n + $bias + $mantissa - 1))
                } else {
                    0.0
                }
            }
            const NORMAL: (i32, i32) = (1 - $bias, $bias);
            const WIDEST: i32 = $widest;
            fn exponent(self) -> i32 {
                (self.to_bits() >> $mantissa) as i32 - $bias
            }
        }
    };
}
bits!(f32, u32, 23, 127, 250);
bits!(f64, u64, 52, 1023, 2040);

/// A small generator (SplitMix64), so that the inputs never change.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// A multiple of three vectors: every pair of special values, then random bit patterns.
    fn inputs<T: Bits>(&mut self) -> [Vec<T>; 3] {
        let specials = T::specials();
        let mut columns = [Vec::new(), Vec::new(), Vec::new()];
        for &a in &specials {
            for &b in &specials {
                columns[0].push(a);
                columns[1].push(b);
                columns[2].push(specials[self.next() as usize % specials.len()]);
            }
        }
        while columns[0].len() < 4096 {
            // Half of them of middling size, where sums and products round instead of vanishing.
            let middling = self.next().is_multiple_of(2);
            for column in &mut columns {
                let bits = self.next();
                column.push(if middling { T::from_f64((bits as i64 as f64) * 2f64.powi(-60)) } else { T::from_random(bits) });
            }
        }
        columns
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Fma,
    NegFma,
    Neg,
    Abs,
    Sqrt,
    Max,
    Min,
    Round,
    Copysign,
    SelectLt,
    SelectLe,
}

const OPS: [Op; 15] = [
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::Div,
    Op::Fma,
    Op::NegFma,
    Op::Neg,
    Op::Abs,
    Op::Sqrt,
    Op::Max,
    Op::Min,
    Op::Round,
    Op::Copysign,
    Op::SelectLt,
    Op::SelectLe,
];

fn expected<T: Bits>(op: Op, a: T, b: T, c: T) -> T {
    match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Fma => a.fma(b, c),
        Op::NegFma => (-a).fma(b, c),
        Op::Neg => -a,
        Op::Abs => a.std_abs(),
        Op::Sqrt => Real::sqrt(a),
        Op::Max => {
            if a > b {
                a
            } else {
                b
            }
        }
        Op::Min => {
            if a < b {
                a
            } else {
                b
            }
        }
        Op::Round => a.std_round(),
        Op::Copysign => a.std_copysign(b),
        Op::SelectLt => {
            if a < b {
                c
            } else {
                a
            }
        }
        Op::SelectLe => {
            if a <= b {
                c
            } else {
                a
            }
        }
    }
}

struct Apply<'a, T> {
    op: Op,
    inputs: &'a [Vec<T>; 3],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let [a, b, c] = self.inputs;
        for i in (0..self.out.len() / V::N * V::N).step_by(V::N) {
            let (a, b, c) = (V::load(&a[i..]), V::load(&b[i..]), V::load(&c[i..]));
            let y = match self.op {
                Op::Add => a.add(b),
                Op::Sub => a.sub(b),
                Op::Mul => a.mul(b),
                Op::Div => a.div(b),
                Op::Fma => a.fma(b, c),
                Op::NegFma => a.neg_fma(b, c),
                Op::Neg => a.neg(),
                Op::Abs => a.abs(),
                Op::Sqrt => a.sqrt(),
                Op::Max => a.max(b),
                Op::Min => a.min(b),
                Op::Round => a.round(),
                Op::Copysign => a.copysign(b),
                Op::SelectLt => V::select(a.lt(b), c, a),
                Op::SelectLe => V::select(a.le(b), c, a),
            };
            y.store(&mut self.out[i..]);
        }
    }
}

fn operations<T: Bits>() {
    let inputs = Random(1).inputs::<T>();
    for isa in available() {
        for op in OPS {
            let mut out = vec![T::ZERO; 4096];
            with_isa(isa, || dispatch(Apply { op, inputs: &inputs, out: &mut out }));
            for (i, &y) in out.iter().enumerate() {
                let (a, b, c) = (inputs[0][i], inputs[1][i], inputs[2][i]);
                let want = expected(op, a, b, c);
                assert_eq!(y.bits(), want.bits(), "{isa:?} {op:?} of {a} {b} {c}: {y}, not {want}");
            }
        }
    }
}

#[test]
fn operations_match_the_standard_library() {
    operations::<f32>();
    operations::<f64>();
}

enum Power<'a, T> {
    Exp2(&'a [T], &'a mut [T]),
    Scale(&'a [T], &'a [T], &'a mut [T]),
    Frexp(&'a [T], &'a mut [T], &'a mut [T]),
}

impl<T: Real> Kernel<T> for Power<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        match self {
            Power::Exp2(n, out) => {
                for i in (0..n.len()).step_by(V::N) {
                    V::load_partial(&n[i..]).exp2_integer().store_partial(&mut out[i..]);
                }
            }
            Power::Scale(x, n, out) => {
                for i in (0..n.len()).step_by(V::N) {
                    V::load_partial(&x[i..]).scale_exp2(V::load_partial(&n[i..])).store_partial(&mut out[i..]);
                }
            }
            Power::Frexp(x, mantissa, exponent) => {
                for i in (0..x.len()).step_by(V::N) {
                    let (m, e) = V::load_partial(&x[i..]).frexp();
                    m.store_partial(&mut mantissa[i..]);
                    e.store_partial(&mut exponent[i..]);
                }
            }
        }
    }
}

fn powers<T: Bits>() {
    let (low, high) = T::NORMAL;
    let n: Vec<T> = (low..=high).map(|n| T::from_f64(n as f64)).collect();
    let mut random = Random(2);
    let wide: Vec<i32> = (-T::WIDEST..=T::WIDEST).collect();
    let wide_n: Vec<T> = wide.iter().map(|&n| T::from_f64(n as f64)).collect();
    let x: Vec<T> = wide.iter().map(|_| T::from_f64(0.25 + 3.75 * (random.next() >> 11) as f64 * 2f64.powi(-53))).collect();
    let normal: Vec<T> =
        (0..3000).map(|_| T::from_random(random.next() >> 1)).filter(|x| x.exponent() >= low && x.is_finite()).collect();
    for isa in available() {
        let mut out = vec![T::ZERO; n.len()];
        with_isa(isa, || dispatch(Power::Exp2(&n, &mut out)));
        for (&y, n) in out.iter().zip(low..) {
            assert_eq!(y.bits(), T::power(n).bits(), "{isa:?} 2^{n}");
        }

        let mut out = vec![T::ZERO; wide.len()];
        with_isa(isa, || dispatch(Power::Scale(&x, &wide_n, &mut out)));
        for (i, &n) in wide.iter().enumerate() {
            // The first product is exact, the second rounds once.
            let want = x[i] * T::power(n / 2) * T::power(n - n / 2);
            assert_eq!(out[i].bits(), want.bits(), "{isa:?} {} · 2^{n}", x[i]);
        }

        let (mut mantissa, mut exponent) = (vec![T::ZERO; normal.len()], vec![T::ZERO; normal.len()]);
        with_isa(isa, || dispatch(Power::Frexp(&normal, &mut mantissa, &mut exponent)));
        for (i, &x) in normal.iter().enumerate() {
            assert!(mantissa[i] >= T::ONE && mantissa[i] < T::from_f64(2.0), "{isa:?} mantissa {} of {x}", mantissa[i]);
            assert_eq!(exponent[i].to_f64(), x.exponent() as f64, "{isa:?} exponent of {x}");
            let half = x.exponent() / 2;
            let back = mantissa[i] * T::power(half) * T::power(x.exponent() - half);
            assert_eq!(back.bits(), x.bits(), "{isa:?} {x}");
        }
    }
}

#[test]
fn powers_of_two_are_exact_over_the_whole_range() {
    powers::<f32>();
    powers::<f64>();
}

struct Reduce<'a, T>(&'a [T]);

impl<T: Real> Kernel<T> for Reduce<'_, T> {
    type Output = (T, T);
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> (T, T) {
        let v = V::load(self.0);
        (v.sum(), v.max_lane())
    }
}

fn reductions<T: Bits>() {
    let inputs = Random(3).inputs::<T>();
    for isa in available() {
        for x in inputs[0].chunks_exact(T::LANES).chain(inputs[1].chunks_exact(T::LANES)) {
            let (mut sums, mut tops) = (x.to_vec(), x.to_vec());
            while sums.len() > 1 {
                let half = sums.len() / 2;
                sums = (0..half).map(|i| sums[i] + sums[i + half]).collect();
                tops = (0..half).map(|i| expected(Op::Max, tops[i], tops[i + half], T::ZERO)).collect();
            }
            let (sum, top) = with_isa(isa, || dispatch(Reduce(x)));
            assert_eq!(sum.bits(), sums[0].bits(), "{isa:?} sum of {x:?}");
            assert_eq!(top.bits(), tops[0].bits(), "{isa:?} largest of {x:?}");
        }
    }
}

#[test]
fn sums_follow_the_tree_of_halves() {
    reductions::<f32>();
    reductions::<f64>();
}

struct Partial<'a, T>(&'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Partial<'_, T> {
    type Output = [T; 2];
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> [T; 2] {
        let v = V::load_partial(self.0);
        v.store_partial(self.1);
        // What the lanes hold that were not loaded.
        let mut all = vec![T::ONE; V::N];
        v.store(&mut all);
        let rest = &all[self.0.len().min(V::N)..];
        [rest.iter().copied().sum(), T::from_f64(rest.len() as f64)]
    }
}

/// The slices are allocations of their exact size, so that a tool that watches memory sees every access outside.
fn partial<T: Bits>() {
    for isa in available() {
        for count in 0..=T::LANES + 3 {
            let from: Box<[T]> = (0..count).map(|i| T::from_f64(i as f64 + 1.0)).collect();
            let whole = count.min(T::LANES);
            let mut exact = vec![T::ZERO; whole].into_boxed_slice();
            let [rest, lanes] = with_isa(isa, || dispatch(Partial(&from, &mut exact)));
            assert_eq!(&exact[..], &from[..whole], "{isa:?} {count}");
            assert_eq!((rest, lanes.to_f64()), (T::ZERO, (T::LANES - whole) as f64), "{isa:?} {count}: other lanes must be 0");

            // A shorter target inside a larger slice: its neighbours stay.
            let mut framed = vec![T::from_f64(-7.0); count + 2];
            with_isa(isa, || dispatch(Partial(&from, &mut framed[1..count + 1])));
            for (i, &y) in framed.iter().enumerate() {
                let want = if i == 0 || i > whole { -7.0 } else { i as f64 };
                assert_eq!(y.to_f64(), want, "{isa:?} {count} place {i}");
            }
        }
    }
}

#[test]
fn partial_loads_and_stores_stay_inside() {
    partial::<f32>();
    partial::<f64>();
}

struct TooShort<'a>(&'a mut [f32], bool);

impl Kernel<f32> for TooShort<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        if self.1 { V::splat(1.0).store(self.0) } else { V::load(self.0).store_partial(self.0) }
    }
}

#[test]
fn whole_loads_and_stores_refuse_short_slices() {
    for isa in available() {
        for store in [false, true] {
            let short = std::panic::catch_unwind(|| with_isa(isa, || dispatch(TooShort(&mut [0.0; 15], store))));
            assert!(short.is_err(), "{isa:?}");
        }
    }
}

struct Sizes;

impl<T: Real> Kernel<T> for Sizes {
    type Output = (usize, usize, usize);
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> (usize, usize, usize) {
        (V::N, V::REGISTERS, V::REGISTER_FILE)
    }
}

#[test]
fn the_width_is_the_same_everywhere() {
    for isa in available() {
        let (n, registers, file) = with_isa(isa, || dispatch::<f32, _>(Sizes));
        assert_eq!(n, 16);
        assert!(registers < file);
        assert_eq!(with_isa(isa, || dispatch::<f64, _>(Sizes)), (8, registers, file));
    }
}
