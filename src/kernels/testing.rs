//! What tests share: numbers, goldens, comparisons.

use crate::kernels::simd::Real;
use serde_json::Value;

/// Numbers in [-1, 1) from a counter (splitmix64), multiples of 2^-20: the same as f32.
pub(crate) fn numbers(seed: u64, len: usize) -> Vec<f64> {
    let one = |i: u64| {
        let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i.wrapping_mul(0xBF58_476D_1CE4_E5B9));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 43) as f64) / (1u64 << 20) as f64 - 1.0
    };
    (0..len as u64).map(one).collect()
}

pub(crate) fn cast<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&v| T::from_f64(v)).collect()
}

pub(crate) fn wide<T: Real>(x: &[T]) -> Vec<f64> {
    x.iter().map(|v| v.to_f64()).collect()
}

pub(crate) fn bits<T: Real>(x: &[T]) -> Vec<u64> {
    x.iter().map(|v| v.to_f64().to_bits()).collect()
}

/// A golden file of testdata/ssm.
pub(crate) fn golden(name: &str) -> Value {
    let path = format!("{}/testdata/ssm/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect("a golden file")).expect("JSON")
}

/// All numbers of a nested array in order.
pub(crate) fn flat(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        v => vec![v.as_f64().expect("a number")],
    }
}

/// A golden array of shape (…, a, b) with its last two axes exchanged, `a · b` numbers at a time.
pub(crate) fn exchanged(x: &[f64], a: usize, b: usize) -> Vec<f64> {
    x.chunks(a * b).flat_map(|m| (0..a * b).map(move |i| m[i % a * b + i / a])).collect()
}

/// Within `relative` of the largest number expected.
pub(crate) fn close(found: &[f64], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= relative * size, "{what}: element {i} is {f}, not {e}");
    }
}

/// Central differences of `loss` in every `every`-th number of `at`, against `gradient`. `error`: what is allowed, relative to 1 and to the
/// gradient.
pub(crate) fn differences(at: &[f64], gradient: &[f64], every: usize, error: f64, what: &str, loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(at.len(), gradient.len(), "{what}");
    let (mut x, step) = (at.to_vec(), 1e-5);
    for i in (0..x.len()).step_by(every) {
        x[i] = at[i] + step;
        let up = loss(&x);
        x[i] = at[i] - step;
        let down = loss(&x);
        x[i] = at[i];
        let numeric = (up - down) / (2.0 * step);
        assert!(
            (numeric - gradient[i]).abs() <= error * (1.0 + numeric.abs()),
            "{what}: gradient {i} is {}, not {numeric}",
            gradient[i]
        );
    }
}

pub(crate) fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(work)
}
