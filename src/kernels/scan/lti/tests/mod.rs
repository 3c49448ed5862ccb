//! Tests of all kernels of the folder.

mod dplr;
mod hippo;
mod long_conv;
mod modes;
mod s4d;

use super::complex::Complex;
use serde_json::Value;

/// A golden array of complex numbers, {"re", "im"}.
fn complex(v: &Value) -> [Vec<f64>; 2] {
    [crate::kernels::testing::flat(&v["re"]), crate::kernels::testing::flat(&v["im"])]
}

fn joined([re, im]: &[Vec<f64>; 2]) -> Vec<Complex> {
    re.iter().zip(im).map(|(&re, &im)| Complex::new(re, im)).collect()
}
