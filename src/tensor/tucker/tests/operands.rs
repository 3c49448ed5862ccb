//! What operands answer, against plain sums over the unfolding.

use super::*;
use operand::Widen;
use semi_sparse::SemiSparse;

fn reference_gram(x: &Dense<f64>, z: &Dense<f64>, mode: usize) -> Vec<f64> {
    let (x, z) = (unfold(x, mode), unfold(z, mode));
    x.iter().flat_map(|a| z.iter().map(|b| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>())).collect()
}

fn reference_ttm(x: &Dense<f64>, m: &Matrix, mode: usize) -> Dense<f64> {
    let mut out = Dense::zeros(&operand::with_size(x.shape(), mode, m.rows));
    let shape = out.shape().to_vec();
    for at in 0..out.values().len() {
        let mut index = operand::unravel(&shape, at);
        let j = std::mem::take(&mut index[mode]);
        out.values_mut()[at] = (0..m.cols)
            .map(|i| {
                index[mode] = i;
                m.at(j, i) * x.values()[x.shape().iter().zip(&index).fold(0, |at, (size, i)| at * size + i)]
            })
            .sum();
    }
    out
}

fn ttr(r: &Matrix) -> Vec<f64> {
    let mut out = Vec::new();
    for a in 0..r.cols {
        for b in 0..r.cols {
            out.push((0..r.rows).map(|k| r.at(k, a) * r.at(k, b)).sum());
        }
    }
    out
}

/// Every question that [`left_vectors`](vectors::left_vectors) and the methods ask. Sums of n products of numbers near 1 in another
/// order: n eps each, of entries near n; 1e-12 of the norm is some hundred times that.
fn check<X: Operand>(x: &X, dense: &Dense<f64>) {
    let norm = squares(dense.values());
    close(x.scan().squares, norm, 1e-13 * norm);
    for mode in 0..dense.order() {
        let expected = reference_gram(dense, dense, mode);
        assert!(distance(&x.gram(mode).values, &expected) <= 1e-13 * norm, "gram of mode {mode}");
        assert!(distance(&ttr(&x.triangle(mode)), &expected) <= 1e-12 * norm, "triangle of mode {mode}");
        let m = normal(&[3, dense.shape()[mode]], 7);
        let m = Matrix::new(3, dense.shape()[mode], m.into_values());
        let expected = reference_ttm(dense, &m, mode);
        let found = x.ttm(matrix_view(&m), mode);
        assert_eq!(found.shape(), expected.shape());
        let cross = x.cross(&found, mode);
        assert!(distance(&cross.values, &reference_gram(dense, &expected, mode)) <= 1e-12 * norm, "cross of mode {mode}");
        // Again along every mode of what came out: for sparse tensors one mode is a line now.
        for second in 0..dense.order() {
            let gram = reference_gram(&expected, &expected, second);
            let size = squares(expected.values());
            assert!(distance(&found.gram(second).values, &gram) <= 1e-12 * size, "gram of modes {mode}, {second}");
            assert!(distance(&ttr(&found.triangle(second)), &gram) <= 1e-12 * size, "triangle of modes {mode}, {second}");
            let width = expected.shape()[second];
            let m = Matrix::new(2, width, normal(&[2, width], 8).into_values());
            let (again, twice) = (found.ttm(matrix_view(&m), second), reference_ttm(&expected, &m, second));
            let cross = found.cross(&again, second);
            assert!(distance(&cross.values, &reference_gram(&expected, &twice, second)) <= 1e-12 * size * 3.0);
            assert!(distance(again.into_dense().values(), twice.values()) <= 1e-12 * norm.sqrt() * 3.0, "modes {mode}, {second}");
        }
        assert!(distance(found.into_dense().values(), expected.values()) <= 1e-12 * norm.sqrt(), "product of mode {mode}");
        if let Some(rows) = x.rows(mode, 0..dense.shape()[mode]) {
            assert!(distance(&rows, &unfold(dense, mode).concat()) == 0.0);
        }
        let random = x.random(mode, 2, &Streams::new(3), 5);
        assert_eq!(random.shape(), operand::with_size(dense.shape(), mode, 2));
        assert!(random.scan().squares > 0.0);
        assert_eq!(random.into_dense(), x.random(mode, 2, &Streams::new(3), 5).into_dense());
    }
    assert_eq!(x.to_next().into_dense().values(), dense.values());
}

const SHAPES: [&[usize]; 7] = [&[7], &[5, 6], &[9, 2], &[3, 4, 5], &[1, 6, 1, 4], &[6, 1, 2, 3], &[2, 3, 2, 3, 2]];

#[test]
fn dense_answers() {
    for shape in SHAPES {
        check(&normal(shape, 1), &normal(shape, 1));
    }
}

#[test]
fn narrow_tensors_are_summed_wide() {
    for shape in SHAPES {
        let narrow: Dense<f32> = Dense::new(shape.to_vec(), normal(shape, 1).values().iter().map(|&x| x as f32).collect());
        let wide = Dense::new(shape.to_vec(), f32::into_wide(narrow.values().to_vec()));
        check(&narrow, &wide);
    }
}

/// Longer than a slab of widened numbers, along either axis that is cut.
#[test]
fn narrow_tensors_in_several_slabs() {
    let shape = [70, 90, 100];
    let narrow: Dense<f32> = Dense::new(shape.to_vec(), normal(&shape, 1).values().iter().map(|&x| x as f32).collect());
    let wide = Dense::new(shape.to_vec(), f32::into_wide(narrow.values().to_vec()));
    let norm = squares(wide.values());
    for (mode, &size) in shape.iter().enumerate() {
        assert!(distance(&narrow.gram(mode).values, &wide.gram(mode).values) <= 1e-13 * norm);
        assert!(distance(&ttr(&narrow.triangle(mode)), &wide.gram(mode).values) <= 1e-12 * norm);
        let m = Matrix::new(4, size, normal(&[4, size], 2).into_values());
        let (a, b) = (narrow.ttm(matrix_view(&m), mode), wide.ttm(matrix_view(&m), mode));
        assert!(distance(a.values(), b.values()) <= 1e-13 * norm.sqrt() * 100.0);
        assert!(distance(&narrow.cross(&a, mode).values, &wide.cross(&b, mode).values) <= 1e-12 * norm);
    }
}

#[test]
fn sparse_answers() {
    for shape in SHAPES {
        for share in [0.3, 0.9] {
            let (x, dense) = sparse(shape, share, 2);
            if !x.is_empty() {
                check(&x, &dense);
                check(&SemiSparse::new(&x), &dense);
            }
        }
    }
}

#[test]
fn places_name_the_cell() {
    let (x, dense) = sparse(&[4, 3, 5], 0.4, 3);
    for at in 0..x.len() {
        let place = Operand::place(&x, at);
        assert_eq!(dense.values()[(place[0] * 3 + place[1]) * 5 + place[2]], x.values()[at]);
    }
    let m = Matrix::new(2, 3, vec![1.0; 6]);
    let y = x.ttm(matrix_view(&m), 1);
    let whole = y.clone().into_dense();
    let lines = y.scan();
    assert!(lines.bad.is_none());
    // The last number of the first line: closed index 1 of the first entry.
    let place = y.place(1);
    assert_eq!(place[1], 1);
    assert!(whole.values()[(place[0] * 2 + place[1]) * 5 + place[2]] != 0.0);
}

#[test]
fn scans_find_what_is_not_a_number() {
    let mut x = normal(&[40, 50, 60], 4);
    let scan = x.scan();
    close(scan.largest, x.values().iter().fold(0.0, |l: f64, x| l.max(x.abs())), 0.0);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        x.values_mut()[70_001] = bad;
        let found = x.scan().bad.unwrap();
        assert_eq!(found.0, 70_001);
        assert_eq!(x.place(found.0), [23, 16, 41]);
    }
    // Squares overflow, the numbers are finite.
    x.values_mut()[70_001] = 1e200;
    assert_eq!(x.scan().bad, None);
}
