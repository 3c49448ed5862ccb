//! Numbers of e3nn and of the specification, identities, and the CP fits.

use super::report::{contract, contract_cp};
use super::*;
use crate::run::observer::Silent;
use crate::run::seed::Streams;
use crate::tensor::model::Matrix;
pub use crate::testing::shared;
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;

pub fn goldens() -> Option<Value> {
    let path = shared("cg-goldens/cg_goldens.json")?;
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

/// All numbers of a nested array.
pub fn flat(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        v => vec![v.as_f64().unwrap()],
    }
}

fn triple(v: &Value) -> [usize; 3] {
    let l = flat(v);
    [l[0] as usize, l[1] as usize, l[2] as usize]
}

pub fn normal(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Streams::new(seed).stream("test", 0);
    (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn largest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

#[test]
fn blocks_are_those_of_e3nn() {
    let Some(golden) = goldens() else { return };
    for case in golden["wigner_3j"].as_array().unwrap() {
        let [a, b, c] = triple(&case["l"]);
        let mut expected = vec![0.0; (2 * a + 1) * (2 * b + 1) * (2 * c + 1)];
        for e in case["nonzero"].as_array().unwrap() {
            let e = flat(e);
            expected[(e[0] as usize * (2 * b + 1) + e[1] as usize) * (2 * c + 1) + e[2] as usize] = e[3];
        }
        // e3nn works in f64 with factorials; entries are below 1.
        assert!(largest(&block(a, b, c), &expected) < 1e-14, "({a}, {b}, {c})");
    }
    for case in golden["wigner_3j_checksums"].as_array().unwrap() {
        let [a, b, c] = triple(&case["l"]);
        let found = block(a, b, c);
        let sum = |f: &dyn Fn(f64) -> f64| found.iter().enumerate().map(|(n, v)| f(n as f64) * v).sum::<f64>();
        let of = |key: &str| case[key].as_f64().unwrap();
        assert_eq!(found.iter().filter(|v| v.abs() > 1e-12).count() as u64, case["nnz"].as_u64().unwrap());
        assert!((found.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-14);
        assert!((found.iter().fold(0.0f64, |m, v| m.max(v.abs())) - of("max_abs")).abs() < 1e-14);
        // At most 343 terms below 1, each within 1e-15.
        assert!(
            (sum(&f64::cos) - of("sum_cos")).abs() < 1e-14 && (sum(&|n| (2.0 * n + 1.0).sin()) - of("sum_sin2")).abs() < 1e-14
        );
    }
}

#[test]
fn printed_blocks_are_these() {
    let at = |l: [usize; 3], i: usize, j: usize, k: usize| block(l[0], l[1], l[2])[(i * (2 * l[1] + 1) + j) * (2 * l[2] + 1) + k];
    for (i, j, k, sign) in [(0, 1, 2, 1.0), (1, 2, 0, 1.0), (2, 0, 1, 1.0), (0, 2, 1, -1.0), (2, 1, 0, -1.0), (1, 0, 2, -1.0)] {
        assert!((at([1, 1, 1], i, j, k) - sign / 6f64.sqrt()).abs() < 1e-15);
    }
    assert_eq!(block(1, 1, 1).iter().filter(|v| **v != 0.0).count(), 6);
    for i in 0..3 {
        assert!((at([1, 1, 0], i, i, 0) - 1.0 / 3f64.sqrt()).abs() < 1e-15);
    }
    // √(1/30), √(1/10), √(2/15).
    let rows: [[f64; 5]; 3] =
        [[0.0, 0.0, -0.182574, 0.0, -0.316228], [0.0, 0.0, 0.365148, 0.0, 0.0], [0.0, 0.0, -0.182574, 0.0, 0.316228]];
    for (i, row) in rows.iter().enumerate() {
        row.iter().enumerate().for_each(|(k, v)| assert!((at([1, 1, 2], i, i, k) - v).abs() < 5e-7));
    }
    for [i, j, k] in [[0, 1, 1], [1, 0, 1], [0, 2, 0], [2, 0, 0], [1, 2, 3], [2, 1, 3]] {
        assert!((at([1, 1, 2], i, j, k) - 0.1f64.sqrt()).abs() < 1e-15);
    }
    for v in block(2, 2, 2).iter().filter(|v| **v != 0.0) {
        assert!([0.239046, 0.20702, 0.119523].iter().any(|e| (v.abs() - e).abs() < 5e-7), "{v}");
    }
}

#[test]
fn the_whole_tensor_has_the_counts_of_the_table() {
    let table = [(0, 1, 1), (1, 5, 16), (2, 15, 137), (3, 34, 611), (4, 65, 2052), (5, 111, 5265), (6, 175, 11896)];
    for (l, paths, entries) in table {
        let m = CgTensor::new(l).unwrap();
        let n = l + 1;
        assert_eq!((m.paths().len(), m.entries().len()), (paths, entries));
        assert_eq!(paths, n * (n * n + 1) / 2);
        assert!(m.entries().iter().all(|e| e.value.abs() > 1e-12));
        let norm: f64 = m.entries().iter().map(|e| e.value * e.value).sum();
        assert!((norm - paths as f64).abs() < 1e-13 * paths as f64);
    }
    assert!(CgTensor::new(1000).unwrap_err().to_string().contains("1000"));
}

#[test]
fn singular_values_are_the_counts_of_paths() {
    let expect = |l: usize, parts: &[(f64, usize)]| {
        let m = CgTensor::new(l).unwrap();
        let wanted: Vec<f64> = parts.iter().flat_map(|(v, n)| std::iter::repeat_n(*v, *n)).collect();
        assert!(largest(&m.squared_singular_values(), &wanted) < 1e-15);
        // From the Gram matrix of every unfolding, which is diagonal.
        let (d, dense) = (m.dim(), m.dense());
        for mode in 0..3 {
            let strides = [d * d, d, 1];
            let (a, b) = ([1, 0, 0][mode], [2, 2, 1][mode]);
            let mut found = Vec::new();
            for i in 0..d {
                for k in 0..d {
                    let at = |i: usize, p: usize, q: usize| dense.values()[i * strides[mode] + p * strides[a] + q * strides[b]];
                    let dot: f64 = (0..d).flat_map(|p| (0..d).map(move |q| (p, q))).map(|(p, q)| at(i, p, q) * at(k, p, q)).sum();
                    if i == k { found.push(dot) } else { assert!(dot.abs() < 1e-14) }
                }
            }
            found.sort_by(|a, b| b.total_cmp(a));
            assert!(largest(&found, &wanted) < 1e-13);
        }
    };
    expect(1, &[(2.0, 1), (1.0, 3)]);
    expect(2, &[(3.0, 1), (2.0, 3), (1.2, 5)]);
    expect(3, &[(4.0, 1), (3.0, 3), (2.2, 5), (10.0 / 7.0, 7)]);
}

#[test]
fn rotations_act_as_in_e3nn() {
    let d1 = [[-0.275672, 0.26337, -0.924468], [-0.810373, 0.453596, 0.370873], [0.517012, 0.851403, 0.088384]];
    let r = Rotation::euler(0.3, 1.1, -2.0);
    let found = WignerD::new(&r, 3);
    for (i, row) in d1.iter().enumerate() {
        for (j, expected) in row.iter().enumerate() {
            assert!((r.rows()[i][j] - expected).abs() < 5e-7 && found.block(1)[i * 3 + j] == r.rows()[i][j]);
        }
    }
    let Some(golden) = goldens() else { return };
    let angles = flat(&golden["wigner_D"]["alpha_beta_gamma"]);
    let found = WignerD::new(&Rotation::euler(angles[0], angles[1], angles[2]), 3);
    for l in 1..=3 {
        // e3nn multiplies three rotations and two constant matrices in f64.
        assert!(largest(found.block(l), &flat(&golden["wigner_D"]["l"][l.to_string()])) < 1e-14, "l = {l}");
    }
    let sh = &golden["spherical_harmonics"];
    let v = flat(&sh["vec"]);
    assert!(largest(&spherical_harmonics([v[0], v[1], v[2]], 3, Normalization::Component), &flat(&sh["values"])) < 1e-14);
}

#[test]
fn wigner_matrices_are_orthogonal_and_multiply_as_rotations_do() {
    const L: usize = 8;
    let mut rng = Streams::new(1).stream("test", 0);
    let (a, b) = (Rotation::random(&mut rng), Rotation::random(&mut rng));
    let (da, db, dab) = (WignerD::new(&a, L), WignerD::new(&b, L), WignerD::new(&a.after(&b), L));
    for l in 0..=L {
        let n = 2 * l + 1;
        for i in 0..n {
            for j in 0..n {
                let row = |k: usize| (da.block(l)[i * n + k], da.block(l)[j * n + k]);
                let dot: f64 = (0..n).map(|k| row(k).0 * row(k).1).sum();
                // 2 l units for each factor, see `WignerD::new`.
                let error = 1e-15 * (4 * l + 4) as f64;
                assert!((dot - f64::from(u8::from(i == j))).abs() < error, "l = {l}: {dot}");
                let product: f64 = (0..n).map(|k| da.block(l)[i * n + k] * db.block(l)[k * n + j]).sum();
                assert!((product - dab.block(l)[i * n + j]).abs() < error, "l = {l}");
            }
        }
    }
    assert_eq!(WignerD::new(&Rotation::identity(), 0).lmax(), 0);
    assert_eq!(Rotation::quaternion([0.0; 4]), Rotation::identity());
}

#[test]
fn rotations_about_the_polar_axis_mix_m_with_minus_m() {
    // D of R_y(t): cos(m t) on the diagonal, ± sin(m t) on the other one: a closed form of its own.
    let t: f64 = 0.7;
    let d = WignerD::new(&Rotation::euler(t, 0.0, 0.0), 6);
    for l in 0..=6usize {
        let n = 2 * l + 1;
        for i in 0..n {
            for j in 0..n {
                let m = i as f64 - l as f64;
                let expected = match (i == j, i + j == 2 * l) {
                    (true, _) => (m * t).cos(),
                    // l = 1: x = cos t x + sin t z, so row −m, column +m has + sin.
                    (_, true) => -(m * t).sin(),
                    _ => 0.0,
                };
                assert!((d.block(l)[i * n + j] - expected).abs() < 3e-14, "l = {l} ({i}, {j})");
            }
        }
    }
}

#[test]
fn harmonics_turn_with_their_vector_and_have_their_norms() {
    const L: usize = 10;
    let mut rng = Streams::new(2).stream("test", 0);
    for v in [[0.3, -1.2, 0.7], [0.0, 2.0, 0.0], [0.0, -1e-30, 0.0], [1e200, 1e200, -1e200], [-1.0, 0.0, 0.0]] {
        let r = Rotation::random(&mut rng);
        let d = WignerD::new(&r, L);
        let y = spherical_harmonics(v, L, Normalization::Component);
        let turned = spherical_harmonics(r.apply(v), L, Normalization::Component);
        // |Y| is √21 at most; D is within 20 units.
        assert!(largest(&d.apply(&y, 1), &turned) < 2e-13);
        for l in 0..=L {
            let square: f64 = y[l * l..(l + 1) * (l + 1)].iter().map(|y| y * y).sum();
            assert!((square / (2 * l + 1) as f64 - 1.0).abs() < 1e-14);
        }
    }
    let v = [0.3, -1.2, 0.7];
    let (a, b, c) =
        ([Normalization::Component, Normalization::Integral, Normalization::Norm]).map(|n| spherical_harmonics(v, 4, n)).into();
    for l in 0..=4usize {
        for i in l * l..(l + 1) * (l + 1) {
            assert!((a[i] / (4.0 * std::f64::consts::PI).sqrt() - b[i]).abs() < 1e-15);
            assert!((a[i] / ((2 * l + 1) as f64).sqrt() - c[i]).abs() < 1e-15);
        }
    }
    let still = spherical_harmonics([0.0; 3], 3, Normalization::Component);
    assert!(still[0] == 1.0 && still[1..].iter().all(|v| *v == 0.0));
    assert!(spherical_harmonics([f64::NAN, 0.0, 1.0], 2, Normalization::Component).iter().all(|v| v.is_finite()));
}

#[test]
fn gradients_of_harmonics_are_central_differences() {
    let all = Harmonics::new(5, Normalization::Integral);
    for v in [[0.3, -1.2, 0.7], [0.0, 2.0, 0.0], [0.1, 0.0, -3.0]] {
        let (mut y, mut g) = (vec![0.0; all.len()], vec![[0.0; 3]; all.len()]);
        all.eval(v, &mut y, Some(&mut g));
        for axis in 0..3 {
            let at = |by: f64| {
                let (mut v, mut y) = (v, vec![0.0; all.len()]);
                v[axis] += by;
                all.eval(v, &mut y, None);
                y
            };
            let (up, down) = (at(1e-5), at(-1e-5));
            for i in 0..all.len() {
                // Truncation 1e-10/6 times third derivatives of some hundreds at distances of 1 and more, rounding 1e-16/1e-5.
                assert!(((up[i] - down[i]) / 2e-5 - g[i][axis]).abs() < 2e-8, "{v:?} {i} {axis}");
            }
        }
    }
}

#[test]
fn no_rotation_changes_the_tensor() {
    for l in [1, 2, 3, 4] {
        let m = CgTensor::new(l).unwrap();
        let d = WignerD::new(&Rotation::random(&mut Streams::new(3).stream("test", l as u64)), l);
        // M(Dx, Dy) = D M(x, y) for basis vectors x, y says that M is invariant: all entries.
        let n = m.dim();
        for i in 0..n {
            for j in 0..n {
                let unit = |i: usize| (0..n).map(|k| f64::from(u8::from(k == i))).collect::<Vec<_>>();
                let (x, y) = (unit(i), unit(j));
                let turned = contract(&m, &d.apply(&x, 1), &d.apply(&y, 1));
                assert!(largest(&turned, &d.apply(&contract(&m, &x, &y), 1)) < 4e-14);
            }
        }
    }
}

#[test]
fn full_tensor_product_is_e3nns() {
    let Some(golden) = goldens() else { return };
    let case = &golden["full_tensor_product"];
    let of = |key: &str| case[key].as_str().unwrap().parse::<irreps::Irreps>().unwrap();
    let product = irreps::FullTensorProduct::new(of("irreps_in1"), of("irreps_in2"));
    assert_eq!(product.out().to_string(), case["irreps_out"].as_str().unwrap());
    // Sums of up to nine products of numbers below 3.
    assert!(largest(&product.apply(&flat(&case["x"]), &flat(&case["y"])), &flat(&case["out"])) < 1e-14);
    for (text, part) in [("2x0", "e (even)"), ("ax1o", "\"a\""), ("1x99e", "99"), ("", "e (even)"), ("1x-1o", "\"-1\"")] {
        let error = text.parse::<irreps::Irreps>().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("2x0e+1x1o"), "{error}");
    }
}

fn fit(lmax: usize, rank: usize, enough: f64) -> CpFit {
    let config = CpConfig { enough, ..CpConfig::at(lmax, 0) };
    als::decompose_cg(&CgTensor::new(lmax).unwrap(), rank, &config, &Silent).unwrap()
}

#[test]
fn fits_reach_the_best_known_errors() {
    // Specification, section 3: "an implementation must be ≤ these + 1e-3".
    let table = [
        (1, 1, 0.888643),
        (1, 2, 0.6f64.sqrt()),
        (1, 3, 0.673438),
        (1, 4, 0.571215),
        (1, 5, 0.425538),
        (1, 6, 0.294714),
        (1, 7, 0.0172),
        (2, 4, 0.834375),
        (2, 7, 0.716931),
        (2, 10, 0.6005),
        (2, 15, 0.3935),
        (2, 20, 0.1654),
        (2, 25, 0.0700),
        (2, 28, 0.0213),
        (2, 30, 0.0008),
    ];
    for (l, rank, best) in table {
        let found = fit(l, rank, best + 1e-3);
        assert!(found.rel_error <= best + 1e-3, "L = {l}, R = {rank}: {}", found.rel_error);
    }
}

#[test]
fn fits_at_l_3_reach_the_best_known_errors() {
    for (rank, best) in [(7, 0.8556), (21, 0.5695), (40, 0.2308), (63, 0.0600), (80, 0.0320)] {
        let found = fit(3, rank, best + 1e-3);
        assert!(found.rel_error <= best + 1e-3, "R = {rank}: {}", found.rel_error);
    }
}

#[test]
fn exact_ranks_are_exact_from_every_start() {
    for (l, rank) in [(1, 8), (2, 35)] {
        for seed in 0..3 {
            let config = CpConfig { starts: 1, ..CpConfig::at(l, seed) };
            let found = als::decompose_cg(&CgTensor::new(l).unwrap(), rank, &config, &Silent).unwrap();
            assert!(found.rel_error <= 1e-13, "L = {l}, seed {seed}: {}", found.rel_error);
        }
    }
}

/// A block as a tensor of its own.
fn block_tensor(l: [usize; 3]) -> crate::tensor::data::Sparse<f64> {
    let [d1, d2, d3] = l.map(|l| 2 * l + 1);
    let values = block(l[0], l[1], l[2]);
    let places: Vec<usize> = (0..values.len()).filter(|p| values[*p] != 0.0).collect();
    let of = |f: &dyn Fn(usize) -> usize| places.iter().map(|p| f(*p) as u32).collect();
    let indices = vec![of(&|p| p / (d2 * d3)), of(&|p| p / d3 % d2), of(&|p| p % d3)];
    crate::tensor::data::Sparse::new(vec![d1, d2, d3], indices, places.iter().map(|p| values[*p]).collect())
}

#[test]
fn the_cross_product_has_rank_five() {
    let x = block_tensor([1, 1, 1]);
    for (rank, error) in [(3, 1.0 / 3f64.sqrt()), (4, 1.0 / 6f64.sqrt())] {
        let found = decompose(&x, rank, &CpConfig::at(1, 0), &Silent).unwrap();
        // Rank 4 only tends to its infimum: weights grow.
        assert!((found.rel_error - error).abs() < 1e-3, "R = {rank}: {}", found.rel_error);
    }
    let found = decompose(&x, 5, &CpConfig::at(1, 0), &Silent).unwrap();
    assert!(found.rel_error <= 1e-13 && found.starts.len() < 20);
}

#[test]
fn a_fit_is_what_its_error_says_and_is_tidy() {
    let m = CgTensor::new(1).unwrap();
    let found = fit(1, 5, 0.43);
    let (dense, exact) = (found.dense(), m.dense());
    let distance = dense.iter().zip(exact.values()).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    assert!((distance / 5f64.sqrt() - found.rel_error).abs() < 1e-14);
    let kruskal = found.kruskal();
    assert!(kruskal.weights.windows(2).all(|w| w[0] >= w[1]) && kruskal.weights[4] > 0.0);
    let [a, b, c] = &found.factors;
    let (x, y) = (normal(4, 1), normal(4, 2));
    let by_weights: Vec<f64> = (0..4)
        .map(|k| {
            let f = &kruskal.factors;
            let term = |r: usize| {
                let mix = |f: &Matrix, v: &[f64]| (0..4).map(|i| f.at(i, r) * v[i]).sum::<f64>();
                kruskal.weights[r] * mix(&f[0], &x) * mix(&f[1], &y) * f[2].at(k, r)
            };
            (0..5).map(term).sum()
        })
        .collect();
    assert!(largest(&by_weights, &contract_cp(&found.factors, &x, &y)) < 1e-13);
    for r in 0..5 {
        let norm = |f: &Matrix| (0..4).map(|i| f.at(i, r).powi(2)).sum::<f64>().sqrt();
        assert!((norm(a) - norm(b)).abs() < 1e-13 && (norm(a) - norm(c)).abs() < 1e-13);
        for f in [a, b] {
            let top = (0..4).map(|i| f.at(i, r)).fold(0.0f64, |t, v| if v.abs() > t.abs() { v } else { t });
            assert!(top > 0.0);
        }
    }
}

#[test]
fn threads_and_more_starts_do_not_change_a_fit() {
    let m = CgTensor::new(2).unwrap();
    let config = CpConfig { max_iter: 150, starts: 5, ..CpConfig::at(2, 7) };
    let run = |threads: usize| crate::kernels::testing::in_pool(threads, || als::decompose_cg(&m, 12, &config, &Silent).unwrap());
    let (one, two) = (run(1), run(2));
    assert_eq!(one, two);
    // Starts that follow, or do not, change nothing in those before.
    let fewer = als::decompose_cg(&m, 12, &CpConfig { starts: 2, ..config }, &Silent).unwrap();
    assert_eq!(fewer.starts[..], one.starts[..2]);
    let report = |threads: usize| crate::kernels::testing::in_pool(threads, || report(&m, &one.factors, 30, 1).unwrap());
    assert_eq!(report(1), report(2));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let m = CgTensor::new(1).unwrap();
    let base = CpConfig::at(1, 0);
    let error = |config: CpConfig| als::decompose_cg(&m, 2, &config, &Silent).unwrap_err().to_string();
    assert!(error(CpConfig { max_iter: 0, ..base }).contains("sweeps"));
    assert!(error(CpConfig { starts: 0, ..base }).contains("starts"));
    assert!(error(CpConfig { mu: (f64::NAN, 1e-9), ..base }).contains("NaN"));
    assert!(error(CpConfig { mu: (1e-3, -1.0), ..base }).contains("-1"));
    assert_eq!(als::decompose_cg(&m, 0, &base, &Silent), Err(CgError::RankZero));
    let zero = crate::tensor::data::Sparse::new(vec![2, 2, 2], vec![vec![0], vec![0], vec![0]], vec![0.0]);
    assert!(decompose(&zero, 1, &base, &Silent).unwrap_err().to_string().contains("norm"));
    let flat = crate::tensor::data::Sparse::new(vec![2, 2], vec![vec![0], vec![0]], vec![1.0]);
    assert!(decompose(&flat, 1, &base, &Silent).unwrap_err().to_string().contains("order"));
    assert!(report(&m, &[Matrix::zeros(4, 2), Matrix::zeros(4, 3), Matrix::zeros(4, 2)], 5, 0).is_err());
    assert!(report(&m, &[Matrix::zeros(4, 2), Matrix::zeros(4, 2), Matrix::zeros(4, 2)], 0, 0).is_err());
    struct Stopped;
    impl crate::run::observer::Observer for Stopped {
        fn cancelled(&self) -> bool {
            true
        }
    }
    assert_eq!(als::decompose_cg(&m, 2, &base, &Stopped), Err(CgError::Interrupted));
}

#[test]
fn reports_agree_with_what_can_be_computed() {
    let m = CgTensor::new(2).unwrap();
    let found = fit(2, 20, 0.1664);
    let r = report(&m, &found.factors, 1000, 0).unwrap();
    assert!((r.rel_error - found.rel_error).abs() < 1e-12);
    // Orthogonal parts.
    assert!((r.non_equivariant.powi(2) + r.equivariant.powi(2) - r.distance.powi(2)).abs() < 1e-12);
    // Means over 1000 draws; relative spreads of the squares are about 1, so five standard errors are 0.16 of the square, 0.08 of the root.
    assert!((r.equivariance_rms / r.equivariance_expected_rms - 1.0).abs() < 0.08, "{r:?}");
    assert!((r.sampled_loss / r.rel_error - 1.0).abs() < 0.08, "{r:?}");
    // Specification: 1.37 ‖M − M̂‖ at R = 20.
    assert!((r.equivariance_rms / r.distance - 1.37).abs() < 0.11, "{}", r.equivariance_rms / r.distance);
    assert!(r.bound_holds && r.rank_bound_holds && r.bound_used > 0.0 && r.paths.len() == 15);
    let exact = report(&m, &fit(2, 35, 1e-13).factors, 1000, 0).unwrap();
    assert!(exact.rel_error < 1e-13 && exact.equivariance_max < 1e-11 && exact.bound_holds && exact.rank_bound_holds);
    assert!(exact.paths.iter().all(|p| (p.coefficient - 1.0).abs() < 1e-12));
}

#[test]
fn the_projection_is_the_average_over_rotations() {
    // ⟨M̂ turned, block⟩ is that of M̂ for any rotation, and turned M̂s average to M̂_sym: on 4000 rotations the mean of one output is
    // within five standard errors.
    let m = CgTensor::new(1).unwrap();
    let found = fit(1, 3, 0.68);
    let r = report(&m, &found.factors, 1, 0).unwrap();
    let (x, y) = (normal(4, 5), normal(4, 6));
    let mut symmetric = [0.0; 4];
    for (p, share) in m.paths().iter().zip(&r.paths) {
        for e in &m.entries()[p.entries.clone()] {
            symmetric[e.k as usize] += share.coefficient * e.value * x[e.i as usize] * y[e.j as usize];
        }
    }
    let mut rng = Streams::new(9).stream("test", 0);
    let draws: Vec<Vec<f64>> = (0..4000)
        .map(|_| {
            let rotation = Rotation::random(&mut rng);
            let d = WignerD::new(&rotation, 1);
            let mut inverse = [[0.0; 3]; 3];
            (0..3).for_each(|i| (0..3).for_each(|j| inverse[i][j] = rotation.rows()[j][i]));
            let z = contract_cp(&found.factors, &d.apply(&x, 1), &d.apply(&y, 1));
            let mut out = z.clone();
            (0..3).for_each(|i| out[i + 1] = (0..3).map(|j| inverse[i][j] * z[j + 1]).sum());
            out
        })
        .collect();
    for k in 0..4 {
        let mean = draws.iter().map(|d| d[k]).sum::<f64>() / 4000.0;
        let spread = (draws.iter().map(|d| (d[k] - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
        assert!((mean - symmetric[k]).abs() < 5.0 * spread / 4000f64.sqrt() + 1e-12, "{k}: {mean} {}", symmetric[k]);
    }
}

#[test]
fn a_bench_reports_every_form_on_the_callers_clock() {
    use crate::kernels::coupled::{Channels, Form, Mode};
    let m = CgTensor::new(1).unwrap();
    let found = fit(1, 8, 1e-13);
    let ticks = std::cell::Cell::new(0.0);
    let clock = || {
        ticks.set(ticks.get() + 1.0);
        ticks.get()
    };
    let channels = Channels::new(Mode::Uvu, 8, 1, 0).unwrap();
    let config = super::bench::BenchConfig { channels, edges: 5, repeats: 2, seed: 0 };
    let r = super::bench::bench(&m, &found.factors, &config, &clock, &Silent).unwrap();
    assert_eq!(r.rows.iter().map(|r| r.form).collect::<Vec<_>>(), [Form::Exact, Form::PerEdge, Form::Cp]);
    for row in &r.rows {
        assert_eq!((row.forward_s, row.backward_s), (1.0, 1.0));
        // f32 rounding of sums of some ten terms.
        assert!(row.rel_error < 2e-6 && row.operations > 0, "{row:?}");
    }
    assert!(super::bench::bench(&m, &found.factors, &super::bench::BenchConfig { edges: 0, ..config }, &clock, &Silent).is_err());
}
