//! Numbers of the functions that depend on the precision.

use crate::kernels::simd::{Lanes, Real};

/// Constants and coefficients of one float type; see the functions that use them.
pub trait Tables: Sized + 'static {
    /// The smallest positive normal number.
    const SMALLEST_NORMAL: Self;
    /// A power of two that makes every subnormal number normal, and its exponent.
    const LIFT: (Self, Self);
    /// `ln 2` in two parts: the nearest number and the nearest to what is left.
    const LN_2: (Self, Self);
    /// `exp` is 0 or rounds to it below the first and overflows above the second.
    const EXP_RANGE: (Self, Self);
    /// `(eʳ − 1 − r) / r²` for |r| <= ln 2 / 2.
    const EXP: &'static [Self];
    /// `log₂e` in two parts.
    const LOG2_E: (Self, Self);
    /// `(2⁻ˢ − 1) / s` for |s| <= ½.
    const EXP2: &'static [Self];
    /// 2ⁿ is a normal number, also times √½ or √2, for n up to here and down to the same below 0.
    const EXP2_NEAR: Self;
    /// 2ⁿ is ∞ from here on, and 0 from the same below 0.
    const EXP2_END: Self;
    /// 1.5 · 2^mantissa.
    const INTEGERS: Self;
    /// From here on `tanh` is 1.
    const TANH_END: Self;
    /// `erf(x) / x − 1` in powers of x², for |x| <= 1.
    const ERF: &'static [Self];
    /// From here on `erf` is 1.
    const ERF_END: Self;
    /// Where the upper tail of the normal distribution rounds to 0.
    const TAIL_END: Self;
    /// Numerator and denominator of `Q(a)·exp(a²/2)`, Q the upper tail of the normal distribution, for 0 <= a <= `TAIL_END`.
    const TAIL: (&'static [Self], &'static [Self]);
    /// From here on `exp(−x)·x` rounds to 0.
    const LOGISTIC_END: Self;
    /// An exponent about half way to the smallest, at which far tails are split.
    const SPLIT: Self;

    /// `log(1 + f) − f` for √½ − 1 <= f <= √2 − 1.
    fn log_rest<V: Lanes<Self>>(f: V) -> V
    where
        Self: Real;
}

impl Tables for f32 {
    const SMALLEST_NORMAL: f32 = f32::MIN_POSITIVE;
    const LIFT: (f32, f32) = (16777216.0, 24.0);
    const LN_2: (f32, f32) = (std::f32::consts::LN_2, (std::f64::consts::LN_2 - std::f32::consts::LN_2 as f64) as f32);
    const EXP_RANGE: (f32, f32) = (-104.0, 89.0);
    // Error of exp: 2^-28.2.
    const EXP: &'static [f32] = &[0.49999994, 0.16666523, 0.041668292, 0.008368534, 0.0013818317];
    const LOG2_E: (f32, f32) = (std::f32::consts::LOG2_E, (std::f64::consts::LOG2_E - std::f32::consts::LOG2_E as f64) as f32);
    // Error of 2⁻ˢ: 2^-28.2.
    const EXP2: &'static [f32] = &[-std::f32::consts::LN_2, 0.2402265, -0.055503592, 0.009618071, -0.0013391152, 0.00015459253];
    const EXP2_NEAR: f32 = 125.0;
    const EXP2_END: f32 = 200.0;
    const INTEGERS: f32 = 12582912.0;
    const TANH_END: f32 = 10.0;
    // Error of erf: 2^-29.3.
    const ERF: &'static [f32] = &[0.12837917, -0.37612626, 0.11283579, -0.026853347, 0.005187162, -0.0007997853, 7.806903e-05];
    const ERF_END: f32 = 4.0;
    const TAIL_END: f32 = 14.6;
    // Error of the tail: 2^-26.4.
    const TAIL: (&'static [f32], &'static [f32]) = (
        &[0.5, 0.43779507, 0.18283813, 0.040491607, 0.0040929723],
        &[1.0, 1.673475, 1.2009121, 0.46841556, 0.101503916, 0.010259439],
    );
    const LOGISTIC_END: f32 = 120.0;
    const SPLIT: f32 = -64.0;

    #[inline(always)]
    fn log_rest<V: Lanes<f32>>(f: V) -> V {
        // (log(1 + f) − f + f²/2) / f³; error of log: 2^-29.2.
        const CUBIC: &[f32] =
            &[0.33333313, -0.25000176, 0.2000223, -0.16658911, 0.14209074, -0.12556866, 0.121193424, -0.10880798, 0.05275077];
        f.mul(f).mul(super::polynomial(f, CUBIC).fma(f, V::splat(-0.5)))
    }
}

impl Tables for f64 {
    const SMALLEST_NORMAL: f64 = f64::MIN_POSITIVE;
    const LIFT: (f64, f64) = (18014398509481984.0, 54.0);
    const LN_2: (f64, f64) = (std::f64::consts::LN_2, 2.3190468138462996e-17);
    const EXP_RANGE: (f64, f64) = (-746.0, 710.0);
    // Error of exp: 2^-63.5.
    const EXP: &'static [f64] = &[
        0.5,
        0.16666666666666674,
        0.041666666666666415,
        0.008333333333322595,
        0.001388888888903847,
        0.00019841269884981834,
        2.480158700470392e-05,
        2.7557244623285566e-06,
        2.7557550274856163e-07,
        2.5109050796361553e-08,
        2.0829668705585717e-09,
    ];
    const LOG2_E: (f64, f64) = (std::f64::consts::LOG2_E, 2.0355273740931033e-17);
    // Error of 2⁻ˢ: 2^-59.6.
    const EXP2: &'static [f64] = &[
        -std::f64::consts::LN_2,
        0.24022650695910072,
        -0.0555041086648235,
        0.009618129107628031,
        -0.0013333558145984354,
        0.00015403530394086687,
        -1.5252734229207985e-05,
        1.3215486296732937e-06,
        -1.0177901547393795e-07,
        7.055066424824071e-09,
        -4.4784929484631876e-10,
        2.5518692005380636e-11,
    ];
    const EXP2_NEAR: f64 = 1021.0;
    const EXP2_END: f64 = 1500.0;
    const INTEGERS: f64 = 6755399441055744.0;
    const TANH_END: f64 = 20.0;
    // Error of erf: 2^-56.3.
    const ERF: &'static [f64] = &[
        0.1283791670955126,
        -0.376126389031841,
        0.11283791670971098,
        -0.026866170648031096,
        0.005223977652691327,
        -0.0008548328535673152,
        0.00012055386186682203,
        -1.4926881253286252e-05,
        1.6481054746332673e-06,
        -1.655707887056759e-07,
        1.601284727219088e-08,
        -1.6463141176920453e-09,
        1.4340674664051125e-10,
    ];
    const ERF_END: f64 = 6.0;
    const TAIL_END: f64 = 39.0;
    // Error of the tail: 2^-54.3.
    const TAIL: (&'static [f64], &'static [f64]) = (
        &[
            0.5,
            0.8277210611767062,
            0.6793085477867823,
            0.35712546945507934,
            0.1319447970416392,
            0.03563554747520917,
            0.007115600449304003,
            0.0010385576598503886,
            0.0001064480108467515,
            6.9678058388692055e-06,
            2.2394370806534638e-07,
        ],
        &[
            1.0,
            2.453326683156278,
            2.8160885786696546,
            2.000462716373556,
            0.9794741149691556,
            0.3480446790580483,
            0.09189341778199273,
            0.018101868174321942,
            0.0026207436943570996,
            0.0002673869373939242,
            1.7465699127880157e-05,
            5.613436305621708e-07,
        ],
    );
    const LOGISTIC_END: f64 = 800.0;
    const SPLIT: f64 = -512.0;

    #[inline(always)]
    fn log_rest<V: Lanes<f64>>(f: V) -> V {
        // With s = f / (2 + f): log(1 + f) = 2s + s·R(s²) and 2s = f − s·f. R(z)/z; error of log: 2^-59.4.
        const ODD: &[f64] = &[
            0.6666666666666735,
            0.3999999999940934,
            0.2857142874369042,
            0.2222219842850059,
            0.18183572381385826,
            0.15313831475274517,
            0.14798265665745258,
        ];
        let s = f.div(f.add(V::splat(2.0)));
        let z = s.mul(s);
        let half_square = f.mul(f).mul(V::splat(0.5));
        let r = super::polynomial(z, ODD).fma(z, half_square);
        s.mul(r).sub(half_square)
    }
}
