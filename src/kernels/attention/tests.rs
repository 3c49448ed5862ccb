use super::*;
use crate::kernels::norm::reference::central;
use crate::kernels::norm::tests::{cast, close, noise, same_everywhere};
use proptest::prelude::*;

const WIDTHS: [usize; 15] = [1, 2, 5, 7, 8, 12, 15, 16, 17, 33, 48, 64, 65, 128, 200];

/// A function of rows and their width that writes its result.
type Rows<T> = fn(&[T], usize, &mut [T]);
/// The backward pass of one: output, gradient, width, result.
type RowsBack<T> = fn(&[T], &[T], usize, &mut [T]);

fn both<T: Real>(x: &[T], dy: &[T], width: usize, f: Rows<T>, back: RowsBack<T>) -> [Vec<T>; 2] {
    let (mut y, mut dx) = (vec![T::from_f64(f64::NAN); x.len()], vec![T::from_f64(f64::NAN); x.len()]);
    f(x, width, &mut y);
    back(&y, dy, width, &mut dx);
    [y, dx]
}

#[test]
fn softmax_and_its_gradient_are_those_of_the_reference() {
    for width in WIDTHS {
        let x: Vec<f64> = noise(1, 5 * width).iter().map(|x| 4.0 * x).collect();
        let dy = noise(2, x.len());
        for log in [false, true] {
            let what = format!("width {width}, log {log}");
            let f = |x: &[f64]| if log { reference::log_softmax(x, width) } else { reference::softmax(x, width) };
            let [y, dx] = match log {
                false => both::<f64>(&x, &dy, width, softmax, softmax_backward),
                true => both::<f64>(&x, &dy, width, log_softmax, log_softmax_backward),
            };
            close(&what, &y, &f(&x), 1e-14);
            close(&what, &dx, &central(&x, &dy, 1e-5, f), 1e-8);
            let (x32, dy32) = (cast::<f32>(&x), cast::<f32>(&dy));
            let [y32, dx32] = match log {
                false => both::<f32>(&x32, &dy32, width, softmax, softmax_backward),
                true => both::<f32>(&x32, &dy32, width, log_softmax, log_softmax_backward),
            };
            // Logits up to 8 apart with an error of 2⁻²⁴ each; the sum of dy over a row grows like the root of its width.
            close(&what, &y32, &y, 2e-6);
            close(&what, &dx32, &dx, 2e-6 * (width as f64).sqrt());
        }
    }
}

#[test]
fn softmax_is_blind_to_a_shift_and_adds_up_to_one() {
    for width in [3usize, 16, 40, 100] {
        let x: Vec<f32> = noise(3, 100 * width).iter().map(|&x| (x * 64.0).round() as f32 / 16.0).collect();
        let shifted: Vec<f32> = x.iter().map(|x| x + 1000.0).collect();
        let (mut a, mut b) = (x.clone(), x.clone());
        softmax(&x, width, &mut a);
        softmax(&shifted, width, &mut b);
        // Multiples of 1/16 stay exact under the shift.
        assert_eq!(a, b);
        for row in a.chunks(width) {
            // `width` products with one rounded reciprocal.
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 2e-6);
        }
    }
}

#[test]
fn masked_rows_are_zeros_and_nan_stays_visible() {
    const NO: f32 = f32::NEG_INFINITY;
    for width in [1usize, 3, 16, 20, 64, 70] {
        let mut x = vec![NO; 4 * width];
        x[width] = 2.0;
        x[2 * width + width / 2] = f32::NAN;
        x[3 * width + width - 1] = f32::INFINITY;
        let mut y = vec![5.0; x.len()];
        softmax(&x, width, &mut y);
        assert_eq!(y[..width], vec![0.0; width]);
        let mut one = vec![0.0; width];
        one[0] = 1.0;
        assert_eq!(y[width..2 * width], one);
        assert!(y[2 * width..].iter().any(|y| y.is_nan()));
        assert!(y[3 * width..].iter().any(|y| y.is_nan()));
        let mut dx = vec![5.0; x.len()];
        softmax_backward(&y[..2 * width], &vec![3.0; 2 * width], width, &mut dx[..2 * width]);
        assert_eq!(dx[..2 * width], vec![0.0; 2 * width]);
        log_softmax(&x, width, &mut y);
        assert_eq!(y[..width], vec![NO; width]);
        assert_eq!(y[width], 0.0);
        assert!(y[width + 1..2 * width].iter().all(|&y| y == NO));
        assert!(y[2 * width..3 * width].iter().any(|y| y.is_nan()));
    }
}

#[test]
fn worked_softmax() {
    let mut y = [0.0f64; 3];
    softmax(&[0.0, 2f64.ln(), 5f64.ln()], 3, &mut y);
    close("worked", &y, &[0.125, 0.25, 0.625], 1e-15);
    log_softmax(&[0.0, 2f64.ln(), 5f64.ln()], 3, &mut y);
    close("worked", &y, &[-8f64.ln(), -4f64.ln(), 0.625f64.ln()], 1e-15);
}

#[test]
fn softmax_does_not_depend_on_threads_or_instructions() {
    for width in [7usize, 12, 33, 100] {
        let x: Vec<f32> = cast(&noise(4, 5000 * width));
        let dy: Vec<f32> = cast(&noise(5, 5000 * width));
        same_everywhere(|| both::<f32>(&x, &dy, width, softmax, softmax_backward));
        same_everywhere(|| both::<f32>(&x, &dy, width, log_softmax, log_softmax_backward));
    }
}

struct Case {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    dout: Vec<f64>,
}

impl Case {
    fn new(shape: &Attention<f64>) -> Self {
        let row = shape.heads * shape.width;
        let (queries, keys) = (shape.batch * shape.queries * row, shape.batch * shape.keys * row);
        Self { q: noise(6, queries), k: noise(7, keys), v: noise(8, keys), dout: noise(9, queries) }
    }

    /// `[out, log sums, dq, dk, dv]`
    fn run<T: Real>(&self, shape: &Attention<f64>) -> [Vec<T>; 5] {
        let mask = shape.mask.map(cast::<T>);
        let Attention { batch, heads, queries, keys, width, scale, causal, .. } = *shape;
        let shape = Attention { batch, heads, queries, keys, width, scale, causal, mask: mask.as_deref() };
        let [q, k, v, dout] = [&self.q, &self.k, &self.v, &self.dout].map(|x| cast::<T>(x));
        let nan = |n: usize| vec![T::from_f64(f64::NAN); n];
        let (mut out, mut dq, mut dk, mut dv) = (nan(q.len()), nan(q.len()), nan(k.len()), nan(v.len()));
        let log_sums = shape.forward(&q, &k, &v, &mut out);
        shape.backward([&q, &k, &v], &out, &log_sums, &dout, [&mut dq, &mut dk, &mut dv]);
        [out, log_sums, dq, dk, dv]
    }

    /// Everything against the reference; gradients by central differences in every `step`-th place.
    fn check(&self, shape: &Attention<f64>, step: usize) {
        let what = format!("{shape:?}").chars().take(150).collect::<String>();
        let [out, log_sums, dq, dk, dv] = self.run::<f64>(shape);
        let (expected, expected_sums) = reference::attention(shape, &self.q, &self.k, &self.v);
        close(&what, &out, &expected, 1e-13);
        for (&a, &e) in log_sums.iter().zip(&expected_sums) {
            assert!(a == e || (a - e).abs() < 1e-13 * e.abs().max(1.0), "{what}: {a} {e}");
        }
        let pick = |x: &[f64]| -> Vec<f64> { x.iter().copied().step_by(step).collect() };
        let put = |x: &[f64], part: &[f64]| -> Vec<f64> {
            let mut x = x.to_vec();
            x.iter_mut().step_by(step).zip(part).for_each(|(x, &p)| *x = p);
            x
        };
        let f = |q: &[f64], k: &[f64], v: &[f64]| reference::attention(shape, q, k, v).0;
        let [q, k, v] = [&self.q, &self.k, &self.v];
        let tolerance = 1e-8;
        close(&what, &pick(&dq), &central(&pick(q), &self.dout, 1e-5, |x| f(&put(q, x), k, v)), tolerance);
        close(&what, &pick(&dk), &central(&pick(k), &self.dout, 1e-5, |x| f(q, &put(k, x), v)), tolerance);
        close(&what, &pick(&dv), &central(&pick(v), &self.dout, 1e-5, |x| f(q, k, &put(v, x))), tolerance);

        let [out32, _, dq32, dk32, dv32] = self.run::<f32>(shape);
        // Weights carry the rounding of logits of a few units, about 2⁻²² relative; dk and dv are sums over the queries.
        let walk = (shape.queries as f64).sqrt();
        close(&what, &out32, &out, 2e-6);
        close(&what, &dq32, &dq, 4e-6);
        close(&what, &dk32, &dk, 4e-6 * walk);
        close(&what, &dv32, &dv, 2e-6 * walk);
    }
}

fn plain(batch: usize, heads: usize, queries: usize, keys: usize, width: usize) -> Attention<'static, f64> {
    let scale = 1.0 / (width.max(1) as f64).sqrt();
    Attention { batch, heads, queries, keys, width, scale, mask: None, causal: false }
}

#[test]
fn attention_and_its_gradients_are_those_of_the_reference() {
    let cases = [
        (1, 1, 1, 1, 1),
        (2, 1, 3, 5, 2),
        (2, 3, 12, 12, 8),
        (1, 2, 17, 9, 5),
        (3, 1, 4, 33, 16),
        (1, 1, 20, 20, 17),
        (2, 2, 9, 4, 33),
    ];
    for (batch, heads, queries, keys, width) in cases {
        let mut shape = plain(batch, heads, queries, keys, width);
        let case = Case::new(&shape);
        case.check(&shape, 1 + case.q.len() / 60);
        shape.causal = true;
        case.check(&shape, 1 + case.q.len() / 60);
        shape.causal = false;
        // Every third entry hidden, and all of one row.
        let mut mask = noise(10, queries * keys);
        mask.iter_mut().step_by(3).for_each(|m| *m = f64::NEG_INFINITY);
        mask[..keys].fill(f64::NEG_INFINITY);
        shape.mask = Some(&mask);
        case.check(&shape, 1 + case.q.len() / 60);
        shape.scale = -0.3;
        shape.causal = true;
        case.check(&shape, 1 + case.q.len() / 60);
    }
}

#[test]
fn attention_over_many_blocks_is_that_of_the_reference() {
    for (queries, keys) in [(150, 150), (70, 300), (130, 129)] {
        let mut shape = plain(1, 1, queries, keys, 9);
        // Large logits that grow along the keys, so that the largest so far changes with every block.
        shape.scale = 3.0;
        let mut case = Case::new(&shape);
        case.k.iter_mut().enumerate().for_each(|(n, k)| *k *= 0.2 + n as f64 / (9 * keys) as f64);
        case.check(&shape, 100);
        shape.causal = true;
        case.check(&shape, 100);
        // The first block of keys is hidden from some queries: nothing before the second one.
        let mask: Vec<f64> =
            (0..queries * keys).map(|n| if n % keys < 128 && n / keys % 2 == 0 { f64::NEG_INFINITY } else { 0.1 }).collect();
        shape.mask = Some(&mask);
        shape.causal = false;
        case.check(&shape, 100);
    }
}

#[test]
fn a_masked_query_gives_zeros_and_no_gradient() {
    let mut mask = vec![0.0; 6 * 4];
    mask[2 * 4..3 * 4].fill(f64::NEG_INFINITY);
    let mut shape = plain(2, 2, 6, 4, 3);
    shape.mask = Some(&mask);
    let case = Case::new(&shape);
    let [out, log_sums, dq, dk, dv] = case.run::<f32>(&shape);
    for b in 0..2 {
        assert_eq!(out[(b * 6 + 2) * 6..][..6], [0.0; 6]);
        assert_eq!(dq[(b * 6 + 2) * 6..][..6], [0.0; 6]);
        for h in 0..2 {
            assert_eq!(log_sums[(b * 2 + h) * 6 + 2], f32::INFINITY);
        }
    }
    assert!([out, dq, dk, dv].iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn no_keys_and_no_queries_are_fine() {
    let shape = plain(2, 1, 3, 0, 4);
    let [out, log_sums, dq, _, _] = Case::new(&shape).run::<f32>(&shape);
    assert_eq!((out, dq), (vec![0.0; 24], vec![0.0; 24]));
    assert!(log_sums.iter().all(|&x| x == f32::INFINITY));
    let shape = plain(2, 1, 0, 3, 4);
    let [_, _, _, dk, dv] = Case::new(&shape).run::<f32>(&shape);
    assert_eq!((dk, dv), (vec![0.0; 24], vec![0.0; 24]));
    let shape = plain(2, 0, 3, 3, 4);
    Case::new(&shape).run::<f32>(&shape);
    let shape = plain(2, 1, 3, 3, 0);
    Case::new(&shape).run::<f32>(&shape);
}

#[test]
fn nan_shows_in_the_rows_that_see_it_only() {
    let mut shape = plain(1, 1, 20, 20, 8);
    shape.causal = true;
    let mut case = Case::new(&shape);
    case.k[7 * 8 + 3] = f64::NAN;
    let [out, ..] = case.run::<f32>(&shape);
    for i in 0..20 {
        assert_eq!(out[i * 8..][..8].iter().all(|x| x.is_nan()), i >= 7, "row {i}");
        assert_eq!(out[i * 8..][..8].iter().any(|x| x.is_nan()), i >= 7, "row {i}");
    }
}

#[test]
fn heads_beside_each_other_are_heads_after_each_other() {
    let beside = plain(3, 4, 10, 13, 8);
    let case = Case::new(&beside);
    let turn = |x: &[f64], rows: usize| -> Vec<f64> {
        (0..x.len())
            .map(|n| {
                let (c, r, h, b) = (n % 8, n / 8 % rows, n / 8 / rows % 4, n / 8 / rows / 4);
                x[((b * rows + r) * 4 + h) * 8 + c]
            })
            .collect()
    };
    let after = plain(12, 1, 10, 13, 8);
    let turned = Case { q: turn(&case.q, 10), k: turn(&case.k, 13), v: turn(&case.v, 13), dout: turn(&case.dout, 10) };
    let [out, log_sums, dq, dk, dv] = case.run::<f64>(&beside);
    let expected = turned.run::<f64>(&after);
    assert_eq!([turn(&out, 10), log_sums, turn(&dq, 10), turn(&dk, 13), turn(&dv, 13)], expected);
}

#[test]
fn worked_attention() {
    // Logits 0 and ln 3: weights 1/4 and 3/4.
    let shape = Attention { batch: 1, heads: 1, queries: 1, keys: 2, width: 1, scale: 1.0, mask: None, causal: false };
    let mut out = [0.0f64];
    let log_sums = shape.forward(&[1.0], &[0.0, 3f64.ln()], &[4.0, 8.0], &mut out);
    close("worked", &out, &[7.0], 1e-15);
    close("worked", &log_sums, &[4f64.ln()], 1e-15);
}

#[test]
fn attention_does_not_depend_on_threads_or_instructions() {
    for (batch, heads, queries, keys, width) in [(700, 2, 12, 12, 8), (6, 2, 42, 42, 64), (2, 1, 150, 200, 20)] {
        let mut shape = plain(batch, heads, queries, keys, width);
        shape.causal = batch == 6;
        let case = Case::new(&shape);
        same_everywhere(|| case.run::<f32>(&shape));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn attention_of_any_shape_is_that_of_the_reference(
        batch in 1usize..4, heads in 1usize..4, queries in 1usize..70, keys in 1usize..140, width in 1usize..20,
        causal: bool, masked: bool,
    ) {
        let mut shape = plain(batch, heads, queries, keys, width);
        shape.causal = causal;
        let mask: Vec<f64> = noise(11, queries * keys).iter().map(|&m| if m > 0.5 { f64::NEG_INFINITY } else { m }).collect();
        shape.mask = masked.then_some(&mask);
        let case = Case::new(&shape);
        let [out, ..] = case.run::<f64>(&shape);
        close("out", &out, &reference::attention(&shape, &case.q, &case.k, &case.v).0, 1e-13);
    }
}
