//! Goldens of the published layers, agreement of all forms with the definition, gradients, threads.

use super::bench::fully_connected;
use super::product::cp_product;
use super::tests::{flat, goldens, normal};
use super::{CgTensor, CpConfig, als};
use crate::kernels::coupled::{Channels, Form, Gradients, MODES, Mode, Operands, TensorProduct, reference};
use crate::kernels::simd::Real;
use crate::kernels::testing::{bits, cast, close, differences, in_pool, wide};
use crate::run::observer::Silent;
use crate::tensor::model::Matrix;
use std::sync::Arc;

fn tensor(l: usize) -> Arc<CgTensor> {
    CgTensor::new(l).unwrap()
}

/// Channel numbers that go through vectors, their remainders, and single channels.
fn cases() -> Vec<Channels> {
    let mut all = Vec::new();
    for mode in MODES {
        for (u, v, w) in [(1, 1, 1), (3, 2, 4), (19, 1, 5), (40, 3, 7)] {
            let v = if matches!(mode, Mode::Uuu | Mode::Uuw) { u } else { v };
            all.push(Channels::new(mode, u, v, w).unwrap());
        }
    }
    all
}

/// x, y, w and a gradient of the output.
fn numbers(c: &Channels, d: usize, batch: usize) -> [Vec<f64>; 4] {
    let sizes = [d * c.u, d * c.v, c.weights(), d * c.out];
    std::array::from_fn(|i| normal(batch * sizes[i], 10 + i as u64))
}

/// Factors without any structure, some 1/√R in size, and their tensor.
fn random_factors(d: usize, rank: usize) -> ([Matrix; 3], Vec<f64>) {
    let f = [0, 1, 2].map(|k| {
        let scale = (rank as f64).cbrt().recip();
        Matrix::new(d, rank, normal(d * rank, 20 + k).into_iter().map(|v| v * scale).collect())
    });
    let mut dense = vec![0.0; d * d * d];
    for (n, to) in dense.iter_mut().enumerate() {
        *to = (0..rank).map(|r| f[0].at(n / (d * d), r) * f[1].at(n / d % d, r) * f[2].at(n % d, r)).sum();
    }
    (f, dense)
}

/// All forms at L with the tensors they stand for.
fn forms<T: Real>(l: usize, rank: usize) -> Vec<(TensorProduct<T>, Vec<f64>)> {
    let m = tensor(l);
    let (factors, dense) = random_factors(m.dim(), rank);
    let exact = m.dense().into_values();
    vec![(m.exact_product(), exact.clone()), (m.per_edge_product(), exact), (cp_product(&factors).unwrap(), dense)]
}

#[test]
fn layers_give_what_the_published_ones_give() {
    let Some(golden) = goldens() else { return };
    let mut seen = 0;
    for case in golden["tensor_product"].as_array().unwrap() {
        let channels = flat(&case["channels"]);
        let of = |i: usize| channels[i] as usize;
        let c = Channels::new(case["mode"].as_str().unwrap().parse().unwrap(), of(0), of(1), of(2)).unwrap();
        let (l, rank) = (case["lmax"].as_u64().unwrap() as usize, case["rank"].as_u64().unwrap() as usize);
        let m = tensor(l);
        let [x, y, w] = ["x", "y", "w"].map(|key| flat(&case[key]));
        let factors = ["A", "B", "C"].map(|key| Matrix::new(m.dim(), rank, flat(&case[key])));
        let run = |p: &TensorProduct<f64>| {
            let mut out = vec![0.0; 2 * m.dim() * c.out];
            p.forward(&c, Operands { x: &x, y: &y, w: &w }, &mut out);
            out
        };
        // Sums of some tens of products below 10 in f64, in other orders; the largest outputs are about 50.
        close(&run(&m.exact_product()), &flat(&case["exact"]), 1e-14, "exact");
        close(&run(&m.per_edge_product()), &flat(&case["exact"]), 1e-14, "per edge");
        close(&run(&cp_product(&factors).unwrap()), &flat(&case["cp"]), 1e-14, "CP");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

fn agree<T: Real>(error: f64) {
    for (l, rank) in [(0, 1), (1, 3), (2, 30), (3, 5)] {
        for (product, dense) in forms::<T>(l, rank) {
            for c in cases() {
                let d = product.dim();
                let batch = 3;
                let [x, y, w, _] = numbers(&c, d, batch).map(|v| cast::<T>(&v));
                let mut out = vec![T::from_f64(f64::NAN); batch * d * c.out];
                product.forward(&c, Operands { x: &x, y: &y, w: &w }, &mut out);
                let mut expected = vec![0.0; out.len()];
                let (x, y, w) = (wide(&x), wide(&y), wide(&w));
                reference::forward(&dense, d, &c, Operands { x: &x, y: &y, w: &w }, &mut expected);
                close(&wide(&out), &expected, error, &format!("{:?} L = {l}, R = {rank}, {c:?}", product.form()));
            }
        }
    }
}

#[test]
fn all_forms_and_modes_agree_with_the_definition() {
    // Up to some hundred roundings of which the largest result is a typical term.
    agree::<f64>(2e-13);
    agree::<f32>(5e-5);
}

#[test]
fn gradients_are_central_differences() {
    for (product, _) in forms::<f64>(1, 6).into_iter().chain(forms::<f64>(2, 3)) {
        for c in cases().into_iter().filter(|c| c.u < 19) {
            let (d, batch) = (product.dim(), 2);
            let [x, y, w, g] = numbers(&c, d, batch);
            let rank = product.rank();
            let factors = match product.form() {
                Form::Cp => random_factors(d, rank).0.map(|m| m.values),
                _ => [vec![], vec![], vec![]],
            };
            let (mut dx, mut dy, mut dw) = (vec![f64::NAN; x.len()], vec![f64::NAN; y.len()], vec![f64::NAN; w.len()]);
            let mut df = factors.clone().map(|f| vec![f64::NAN; f.len()]);
            let places = df.each_mut().map(|f| Some(&mut f[..]));
            let to = Gradients { x: Some(&mut dx), y: Some(&mut dy), w: Some(&mut dw), factors: places };
            product.backward(&c, Operands { x: &x, y: &y, w: &w }, &g, to);
            let value = |x: &[f64], y: &[f64], w: &[f64], f: Option<[&[f64]; 3]>| {
                let changed = f.map(|f| TensorProduct::<f64>::cp(d, rank, f));
                let mut out = vec![0.0; g.len()];
                changed.as_ref().unwrap_or(&product).forward(&c, Operands { x, y, w }, &mut out);
                out.iter().zip(&g).map(|(a, b)| a * b).sum::<f64>()
            };
            let what = format!("{:?} {c:?}", product.form());
            // The loss is linear in each operand: rounding 1e-16 · 100 over the step of 1e-5.
            differences(&x, &dx, 3, 1e-8, &what, |x| value(x, &y, &w, None));
            differences(&y, &dy, 3, 1e-8, &what, |y| value(&x, y, &w, None));
            differences(&w, &dw, 2, 1e-8, &what, |w| value(&x, &y, w, None));
            if product.form() == Form::Cp {
                let [a, b, k] = &factors;
                differences(a, &df[0], 2, 1e-8, &what, |a| value(&x, &y, &w, Some([a, b, k])));
                differences(b, &df[1], 2, 1e-8, &what, |b| value(&x, &y, &w, Some([a, b, k])));
                differences(k, &df[2], 2, 1e-8, &what, |k| value(&x, &y, &w, Some([a, b, k])));
            }
        }
    }
}

#[test]
fn gradients_that_are_not_wanted_change_nothing() {
    let m = tensor(1);
    let product = cp_product::<f64>(&random_factors(4, 6).0).unwrap();
    for c in cases() {
        let [x, y, w, g] = numbers(&c, m.dim(), 2);
        let from = Operands { x: &x, y: &y, w: &w };
        let (mut dx, mut dy, mut dw) = (vec![0.0; x.len()], vec![0.0; y.len()], vec![0.0; w.len()]);
        let to = Gradients { x: Some(&mut dx), y: Some(&mut dy), w: Some(&mut dw), factors: [None, None, None] };
        product.backward(&c, from, &g, to);
        let (mut ax, mut ay, mut aw, mut ab) = (vec![0.0; x.len()], vec![0.0; y.len()], vec![0.0; w.len()], vec![0.0; 24]);
        product.backward(&c, from, &g, Gradients { x: Some(&mut ax), ..Gradients::default() });
        product.backward(&c, from, &g, Gradients { y: Some(&mut ay), ..Gradients::default() });
        product.backward(&c, from, &g, Gradients { w: Some(&mut aw), ..Gradients::default() });
        product.backward(&c, from, &g, Gradients { factors: [None, Some(&mut ab), None], ..Gradients::default() });
        assert!(dx == ax && dy == ay && dw == aw && ab.iter().any(|v| *v != 0.0), "{c:?}");
        product.backward(&c, from, &g, Gradients::default());
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    let run = |threads: usize| {
        in_pool(threads, || {
            let mut all = Vec::new();
            for (product, _) in forms::<f32>(2, 14) {
                for c in [Channels::new(Mode::Uvu, 33, 1, 0).unwrap(), Channels::new(Mode::Uvw, 8, 2, 9).unwrap()] {
                    // Enough items for several chunks: 2²¹ operations each.
                    let (d, batch) = (product.dim(), 400);
                    let [x, y, w, g] = numbers(&c, d, batch).map(|v| cast::<f32>(&v));
                    let from = Operands { x: &x, y: &y, w: &w };
                    let mut out = vec![0.0; batch * d * c.out];
                    product.forward(&c, from, &mut out);
                    let (mut dx, mut dy, mut dw) = (vec![0.0; x.len()], vec![0.0; y.len()], vec![0.0; w.len()]);
                    let mut f = [0, 1, 2].map(|_| vec![0.0; d * 14]);
                    let places = f.each_mut().map(|f| Some(&mut f[..]));
                    product.backward(
                        &c,
                        from,
                        &g,
                        Gradients { x: Some(&mut dx), y: Some(&mut dy), w: Some(&mut dw), factors: places },
                    );
                    for v in [&out, &dx, &dy, &dw].into_iter().chain(&f) {
                        all.extend(bits(v));
                    }
                }
            }
            all
        })
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn exact_forms_commute_with_rotations_and_fits_as_far_as_they_are_exact() {
    use super::{Rotation, WignerD};
    let m = tensor(1);
    let d4 = |rank: usize| als::decompose_cg(&m, rank, &CpConfig::at(1, 0), &Silent).unwrap();
    let turn = WignerD::new(&Rotation::euler(0.4, 1.0, 2.0), 1);
    let c = Channels::new(Mode::Uvu, 5, 1, 0).unwrap();
    let [x, y, w, _] = numbers(&c, 4, 1);
    let broken = |p: &TensorProduct<f64>| {
        let run = |x: &[f64], y: &[f64]| {
            let mut out = vec![0.0; 20];
            p.forward(&c, Operands { x, y, w: &w }, &mut out);
            out
        };
        let (a, b) = (turn.apply(&run(&x, &y), 5), run(&turn.apply(&x, 5), &turn.apply(&y, 1)));
        a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    assert!(broken(&m.exact_product()) < 1e-14 && broken(&m.per_edge_product()) < 1e-14);
    assert!(broken(&cp_product(&d4(8).factors).unwrap()) < 1e-11);
    assert!(broken(&cp_product(&d4(4).factors).unwrap()) > 1e-2);
}

#[test]
fn operation_counts_are_those_of_the_formulas() {
    let m = tensor(2);
    let c = Channels::new(Mode::Uvu, 64, 1, 0).unwrap();
    let (exact, edge) = (m.exact_product::<f32>(), m.per_edge_product::<f32>());
    // 137 entries, d = 9: entries + 2 · entries · u + d u; 2 entries + 2 d² u + d u.
    assert_eq!(exact.operations(&c), 137 + 2 * 137 * 64 + 9 * 64);
    assert_eq!(edge.operations(&c), 2 * 137 + 2 * 81 * 64 + 9 * 64);
    let (small, large) = (random_factors(9, 3).0, random_factors(9, 28).0);
    let (small, large) = (cp_product::<f32>(&small).unwrap(), cp_product::<f32>(&large).unwrap());
    // R = 3 is below d/2: by factors. R = 28 folds.
    assert_eq!(small.operations(&c), 3 * 3 * 9 + 4 * 3 * 9 * 64 + 9 * 64);
    assert_eq!(large.operations(&c), 3 * 28 * 9 + 2 * 28 * 81 + 2 * 81 * 64 + 9 * 64);
    assert!(edge.operations(&c) < large.operations(&c) && small.operations(&c) < edge.operations(&c));
    // A weight for every path: more than all of them.
    let full = Channels::new(Mode::Uvw, 16, 1, 16).unwrap();
    assert!(fully_connected(&full, 2) > edge.operations(&full));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    assert!(Channels::new(Mode::Uvu, 0, 1, 0).is_err() && Channels::new(Mode::Uuw, 3, 3, 0).is_err());
    assert!(Channels::new(Mode::Uuu, 3, 2, 0).unwrap_err().to_string().contains("uuu"));
    assert!("uvx".parse::<Mode>().unwrap_err().to_string().contains("uvx"));
    for mode in MODES {
        assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
    }
    assert!(cp_product::<f32>(&[Matrix::zeros(4, 2), Matrix::zeros(4, 2), Matrix::zeros(9, 2)]).is_err());
    assert!(cp_product::<f32>(&[Matrix::zeros(4, 0), Matrix::zeros(4, 0), Matrix::zeros(4, 0)]).is_err());
    // No items are fine.
    tensor(1).exact_product::<f64>().forward(
        &Channels::new(Mode::Uvu, 2, 1, 0).unwrap(),
        Operands { x: &[], y: &[], w: &[] },
        &mut [],
    );
}
