use super::super::*;
use super::{close, factors, slices};
use crate::kernels::testing::{bits, cast, differences, in_pool, numbers};

/// Central differences of a function that is linear in each number: exact but for roundings of numbers of size 100 over a step of 1e-5.
const ERROR: f64 = 1e-7;

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn gradients_of_a_dense_mttkrp() {
    for (shape, rank) in [(&[3usize, 4, 5][..], 3), (&[4, 1, 6], 2), (&[5, 3], 4), (&[2, 3, 2, 4], 3)] {
        for mode in 0..shape.len() {
            let (x, u) = (numbers(1, shape.iter().product()), factors::<f64>(2, shape, rank));
            let dw = numbers(9, shape[mode] * rank);
            let loss = |x: &[f64], u: &[Vec<f64>]| {
                let w: Vec<f64> = reference::mttkrp(x, shape, &slices(u), rank, mode).iter().map(|w| w.0).collect();
                inner(&w, &dw)
            };
            let mut dx = vec![f64::NAN; x.len()];
            let mut du: Vec<Vec<f64>> = u.iter().map(|u| vec![f64::NAN; u.len()]).collect();
            let mut wanted: Vec<Option<&mut [f64]>> = du.iter_mut().map(|d| Some(&mut d[..])).collect();
            wanted[mode] = None;
            mttkrp_backward(&x, shape, &slices(&u), rank, mode, &dw, Some(&mut dx), &mut wanted);
            differences(&x, &dx, 1, ERROR, "dX", |x| loss(x, &u));
            for m in (0..shape.len()).filter(|&m| m != mode) {
                differences(&u[m], &du[m], 1, ERROR, "dU", |changed| {
                    let mut u = u.clone();
                    u[m] = changed.to_vec();
                    loss(&x, &u)
                });
            }
            // Nothing wanted: it must only not fail.
            let mut none: Vec<Option<&mut [f64]>> = shape.iter().map(|_| None).collect();
            mttkrp_backward(&x, shape, &slices(&u), rank, mode, &dw, None, &mut none);
        }
    }
}

#[test]
fn the_gradient_of_the_values() {
    let (shape, rank, mode) = ([4usize, 5, 3], 3, 1);
    let indices = [vec![0u32, 3, 2, 2], vec![1, 4, 4, 0], vec![2, 0, 1, 2]];
    let (values, u) = (numbers(1, 4), factors::<f64>(2, &shape, rank));
    let dw = numbers(3, 15);
    let mut found = vec![f64::NAN; 4];
    mttkrp_values_backward(&shape, &slices(&indices), &slices(&u), rank, mode, &dw, &mut found);
    differences(&values, &found, 1, ERROR, "values", |values| {
        let w: Vec<f64> = reference::sparse((&shape, &indices, values), &slices(&u), rank, mode).iter().map(|w| w.0).collect();
        inner(&w, &dw)
    });
}

/// z_k = Σ_r C[k, r] (Σ_i A[i, r] x_i) (Σ_j B[j, r] y_j), with the magnitudes of its terms.
fn reference_layer(x: &[f64], y: &[f64], f: [&[f64]; 3], sizes: [usize; 3], rank: usize) -> Vec<(f64, f64)> {
    let [d1, d2, d3] = sizes;
    let mut z = Vec::new();
    for row in 0..x.len() / d1 {
        for k in 0..d3 {
            let mut sum = (0.0, 0.0);
            for r in 0..rank {
                let dot = |u: &[f64], v: &[f64], d: usize, abs: bool| -> f64 {
                    let term = |i: usize| u[i * rank + r] * v[row * d + i];
                    (0..d).map(|i| if abs { term(i).abs() } else { term(i) }).sum()
                };
                let c = f[2][k * rank + r];
                sum.0 += c * dot(f[0], x, d1, false) * dot(f[1], y, d2, false);
                sum.1 += c.abs() * dot(f[0], x, d1, true) * dot(f[1], y, d2, true);
            }
            z.push(sum);
        }
    }
    z
}

#[test]
fn the_cp_layer_and_its_gradients() {
    for (rows, sizes, rank) in [(1, [1usize, 1, 1], 1usize), (5, [9, 4, 16], 7), (40, [4, 9, 9], 28), (0, [3, 2, 4], 5)] {
        let [d1, d2, d3] = sizes;
        let (x, y, dz) = (numbers(1, rows * d1), numbers(2, rows * d2), numbers(3, rows * d3));
        let f: [Vec<f64>; 3] = std::array::from_fn(|k| numbers(4 + k as u64, sizes[k] * rank));
        let layer = CpLayer { a: &f[0], b: &f[1], c: &f[2], sizes, rank };
        let mut z = vec![f64::NAN; rows * d3];
        layer.forward(&x, &y, &mut z);
        let want = reference_layer(&x, &y, [&f[0], &f[1], &f[2]], sizes, rank);
        close(&z, &want, d1 + d2 + rank, 3, "z");
        let narrow: [Vec<f32>; 3] = std::array::from_fn(|k| cast(&f[k]));
        let mut z = vec![f32::NAN; rows * d3];
        let layer32 = CpLayer { a: &narrow[0], b: &narrow[1], c: &narrow[2], sizes, rank };
        layer32.forward(&cast::<f32>(&x), &cast::<f32>(&y), &mut z);
        close(&z, &want, d1 + d2 + rank, 3, "z in f32");

        let (mut dx, mut dy) = (vec![f64::NAN; x.len()], vec![f64::NAN; y.len()]);
        let mut df: [Vec<f64>; 3] = std::array::from_fn(|k| vec![f64::NAN; f[k].len()]);
        let [a, b, c] = &mut df;
        layer.backward(&x, &y, &dz, Some(&mut dx), Some(&mut dy), Some(CpLayerGradients { a, b, c }));
        let value = |z: Vec<(f64, f64)>| z.iter().zip(&dz).map(|(z, d)| z.0 * d).sum::<f64>();
        let of = |f: &[Vec<f64>; 3]| value(reference_layer(&x, &y, [&f[0], &f[1], &f[2]], sizes, rank));
        differences(&x, &dx, 3, ERROR, "dx", |x| value(reference_layer(x, &y, [&f[0], &f[1], &f[2]], sizes, rank)));
        differences(&y, &dy, 3, ERROR, "dy", |y| value(reference_layer(&x, y, [&f[0], &f[1], &f[2]], sizes, rank)));
        for k in 0..3 {
            differences(&f[k], &df[k], 5, ERROR, "factors", |changed| {
                let mut f = f.clone();
                f[k] = changed.to_vec();
                of(&f)
            });
        }
        // Each alone, to the same bits.
        let mut alone = vec![f64::NAN; x.len()];
        layer.backward(&x, &y, &dz, Some(&mut alone), None, None);
        assert_eq!(bits(&alone), bits(&dx));
    }
}

#[test]
fn the_cp_layer_does_not_depend_on_threads() {
    let (rows, sizes, rank) = (3000, [16usize, 9, 16], 63);
    let f: [Vec<f64>; 3] = std::array::from_fn(|k| numbers(4 + k as u64, sizes[k] * rank));
    let (x, y, dz) = (numbers(1, rows * 16), numbers(2, rows * 9), numbers(3, rows * 16));
    let all = || {
        let layer = CpLayer { a: &f[0], b: &f[1], c: &f[2], sizes, rank };
        let mut out = [vec![0.0; rows * 16], vec![0.0; rows * 16], vec![0.0; rows * 9]];
        let mut df: [Vec<f64>; 3] = std::array::from_fn(|k| vec![0.0; f[k].len()]);
        let ([z, dx, dy], [a, b, c]) = (&mut out, &mut df);
        layer.forward(&x, &y, z);
        layer.backward(&x, &y, &dz, Some(dx), Some(dy), Some(CpLayerGradients { a, b, c }));
        out.iter().chain(&df).flat_map(|v| bits(v)).collect::<Vec<_>>()
    };
    assert_eq!(in_pool(1, all), in_pool(2, all));
}

#[test]
fn the_cp_layer_contracts_the_reconstructed_tensor() {
    let (sizes, rank) = ([4usize, 4, 4], 8);
    let f: [Vec<f64>; 3] = std::array::from_fn(|k| numbers(40 + k as u64, 32));
    let mut m = vec![0.0; 64];
    kruskal_to_dense(&sizes, None, &[&f[0], &f[1], &f[2]], rank, &mut m);
    let (x, y) = (numbers(1, 4), numbers(2, 4));
    let mut z = vec![0.0; 4];
    CpLayer { a: &f[0], b: &f[1], c: &f[2], sizes, rank }.forward(&x, &y, &mut z);
    for k in 0..4 {
        let want: f64 = (0..16).map(|ij| m[ij * 4 + k] * x[ij / 4] * y[ij % 4]).sum();
        // 128 products of numbers below 1.
        assert!((z[k] - want).abs() <= 2.0 * 128.0 * f64::EPSILON * 16.0 * 8.0);
    }
}
