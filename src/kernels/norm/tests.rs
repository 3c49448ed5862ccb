use super::reference::{self, central};
use super::*;
use crate::kernels::simd::{Real, available, with_isa};

/// Numbers in about −1..1 without a pattern, the same everywhere.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f64> {
    (0..len as u64)
        .map(|i| {
            let mut z = (seed << 32).wrapping_add(i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

pub(crate) fn cast<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::from_f64(x)).collect()
}

/// Fails unless every pair is within `tolerance` of each other, relative to the larger of 1 and the expected number.
#[track_caller]
pub(crate) fn close<T: Real>(what: &str, got: &[T], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let error = (g.to_f64() - e).abs();
        assert!(error <= tolerance * e.abs().max(1.0), "{what}: place {i} is {g}, expected {e}, error {error:e}");
    }
}

/// Runs `work` with each instruction set on one thread, and with three threads; all must give the same.
pub(crate) fn same_everywhere<R: PartialEq + Send + Sync>(work: impl Fn() -> R + Sync) {
    let expected = work();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert!(pool.install(&work) == expected, "three threads differ");
    std::thread::scope(|scope| {
        let check = || {
            // The pool holds this thread alone, so that the forced instruction set is used.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
            for isa in available() {
                assert!(with_isa(isa, || pool.install(&work)) == expected, "{} differs", isa.name());
            }
        };
        scope.spawn(check).join().unwrap();
    });
}

/// Widths around the number of lanes, its multiples, and where kernels change their way.
const WIDTHS: [usize; 14] = [1, 2, 5, 7, 8, 12, 15, 16, 17, 33, 64, 65, 128, 200];

#[test]
fn column_sums_are_those_of_the_reference() {
    for (width, rows) in
        [(1, 1), (1, 5000), (3, 700), (7, 4111), (12, 40), (16, 3000), (21, 333), (64, 1000), (100, 77), (5000, 70)]
    {
        let x = noise(1, rows * width);
        let expected = reference::column_sums(&x, width);
        let mut got = vec![f64::NAN; width];
        column_sums(&x, width, &mut got);
        close(&format!("{rows}x{width}"), &got, &expected, 1e-12);
        let mut got = vec![f32::NAN; width];
        column_sums(&cast::<f32>(&x), width, &mut got);
        // Sums of numbers up to 1 reach √rows or so; roundings of 2⁻²⁴ add like a walk, and inputs are rounded too.
        close(&format!("{rows}x{width} f32"), &got, &expected, 3e-7 * (rows as f64).sqrt() + 1e-6);
    }
}

#[test]
fn column_sums_of_nothing_are_zero() {
    let mut sums = [1.0f32; 3];
    column_sums(&[], 3, &mut sums);
    assert_eq!(sums, [0.0; 3]);
    column_sums::<f32>(&[], 0, &mut []);
}

#[test]
fn column_sums_are_exact_for_integers() {
    // Integers below 2²⁴ add without rounding in any order.
    for width in 1..70 {
        let rows = 1000 + width;
        let x: Vec<f32> = (0..rows * width).map(|i| ((i * 7919) % 101) as f32).collect();
        let mut got = vec![0.0; width];
        column_sums(&x, width, &mut got);
        for c in 0..width {
            assert_eq!(got[c], (0..rows).map(|r| x[r * width + c]).sum::<f32>());
        }
    }
}

/// Tests of [`LayerNorm`] (`CENTRED`) and [`RmsNorm`] are the same.
fn row_norm<T: Real, const CENTRED: bool>(
    x: &[T],
    dy: &[T],
    width: usize,
    weight: Option<&[T]>,
    bias: Option<&[T]>,
) -> [Vec<T>; 4] {
    let (mut y, mut dx) = (vec![T::from_f64(f64::NAN); x.len()], vec![T::from_f64(f64::NAN); x.len()]);
    let (mut dweight, mut dbias) = (vec![T::from_f64(f64::NAN); width], vec![T::from_f64(f64::NAN); width]);
    if CENTRED {
        let norm = LayerNorm { width, weight, bias, eps: 1e-5 };
        let saved = norm.forward(x, &mut y);
        norm.backward(x, &saved, dy, &mut dx, Some(&mut dweight), Some(&mut dbias));
        let mut alone = vec![T::from_f64(f64::NAN); x.len()];
        norm.backward(x, &saved, dy, &mut alone, None, None);
        assert_eq!(alone, dx);
    } else {
        let norm = RmsNorm { width, weight, eps: 1e-5 };
        let saved = norm.forward(x, &mut y);
        norm.backward(x, &saved, dy, &mut dx, Some(&mut dweight));
        dbias.fill(T::ZERO);
    }
    [y, dx, dweight, dbias]
}

fn row_norm_case<const CENTRED: bool>(width: usize, rows: usize) {
    let what = format!("{rows}x{width}, centred {CENTRED}");
    let x: Vec<f64> = noise(2, rows * width).iter().enumerate().map(|(i, x)| 2.0 * x + (i % 5) as f64).collect();
    let dy = noise(3, rows * width);
    let weight: Vec<f64> = noise(4, width).iter().map(|w| 1.0 + 0.5 * w).collect();
    let bias: Vec<f64> = if CENTRED { noise(5, width) } else { vec![0.0; width] };
    let f = |x: &[f64], w: &[f64], b: &[f64]| reference::row_norm(x, width, CENTRED, w, b, 1e-5);
    let expected = f(&x, &weight, &bias);
    let [y, dx, dweight, dbias] = row_norm::<f64, CENTRED>(&x, &dy, width, Some(&weight), Some(&bias));
    close(&what, &y, &expected, 1e-13 * (width as f64).sqrt() + 1e-12);
    // Third derivatives are of the order of 1/std³, and std is never small here but for a width of 1 or 2.
    if width > 2 {
        close(&what, &dx, &central(&x, &dy, 1e-5, |x| f(x, &weight, &bias)), 1e-7);
        close(&what, &dweight, &central(&weight, &dy, 1e-5, |w| f(&x, w, &bias)), 1e-7);
    }
    if CENTRED {
        close(&what, &dbias, &central(&bias, &dy, 1e-5, |b| f(&x, &weight, b)), 1e-7);
    }
    // In f32: inputs up to 6 rounded to 2⁻²⁴, divided by a std of about 1; sums of `width` or `rows` terms. A narrow row can have a
    // std near zero, which magnifies the rounding of its numbers.
    if width >= 12 {
        let [y32, dx32, dweight32, dbias32] = row_norm::<f32, CENTRED>(
            &cast::<f32>(&x),
            &cast::<f32>(&dy),
            width,
            Some(&cast::<f32>(&weight)),
            CENTRED.then_some(&cast::<f32>(&bias)),
        );
        close(&what, &y32, &y, 3e-6);
        close(&what, &dx32, &dx, 3e-6);
        close(&what, &dweight32, &dweight, 1e-6 * (rows as f64).sqrt() + 2e-6);
        close(&what, &dbias32, &dbias, 1e-6 * (rows as f64).sqrt() + 2e-6);
    }
}

#[test]
fn layer_norm_and_its_gradients_are_those_of_the_reference() {
    for width in WIDTHS {
        row_norm_case::<true>(width, 3);
    }
}

#[test]
fn rms_norm_and_its_gradients_are_those_of_the_reference() {
    for width in WIDTHS {
        row_norm_case::<false>(width, 3);
    }
}

#[test]
fn rows_of_layer_norm_have_mean_zero_and_variance_one() {
    for width in [16usize, 100] {
        let x: Vec<f64> = noise(6, 3000 * width).iter().map(|x| 100.0 + x).collect();
        let mut y = vec![0.0; x.len()];
        LayerNorm { width, weight: None, bias: None, eps: 0.0 }.forward(&x, &mut y);
        for row in y.chunks(width) {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
            assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12, "{mean} {variance}");
        }
    }
}

#[test]
fn worked_layer_norm() {
    // Mean 2, variance 2/3.
    let mut y = [0.0f64; 3];
    LayerNorm { width: 3, weight: Some(&[1.0, 2.0, 1.0]), bias: Some(&[0.0, 1.0, 0.5]), eps: 0.0 }
        .forward(&[1.0, 2.0, 3.0], &mut y);
    close("worked", &y, &[-1.5f64.sqrt(), 1.0, 1.5f64.sqrt() + 0.5], 1e-15);
}

#[test]
fn row_norms_do_not_depend_on_threads_or_instructions() {
    for width in [7usize, 16, 33, 100] {
        let x: Vec<f32> = cast(&noise(7, 2500 * width));
        let dy: Vec<f32> = cast(&noise(8, 2500 * width));
        let weight: Vec<f32> = cast(&noise(9, width));
        same_everywhere(|| row_norm::<f32, true>(&x, &dy, width, Some(&weight), None));
        same_everywhere(|| row_norm::<f32, false>(&x, &dy, width, None, None));
        same_everywhere(|| {
            let mut sums = vec![0.0; width];
            column_sums(&x, width, &mut sums);
            sums
        });
    }
}

#[test]
fn nothing_and_empty_rows_are_fine() {
    let norm = LayerNorm::<f32> { width: 4, weight: None, bias: None, eps: 1e-5 };
    let saved = norm.forward(&[], &mut []);
    let (mut dweight, mut dbias) = ([1.0; 4], [1.0; 4]);
    norm.backward(&[], &saved, &[], &mut [], Some(&mut dweight), Some(&mut dbias));
    assert_eq!((dweight, dbias), ([0.0; 4], [0.0; 4]));
    let norm = LayerNorm::<f32> { width: 0, weight: None, bias: None, eps: 1e-5 };
    let saved = norm.forward(&[], &mut []);
    norm.backward(&[], &saved, &[], &mut [], Some(&mut []), Some(&mut []));
}

fn instance_shapes() -> Vec<(Layout, [usize; 3])> {
    let mut all = Vec::new();
    for layout in [Layout::TimeLast, Layout::ChannelsLast] {
        for shape in [[1, 1, 5], [2, 3, 7], [3, 7, 24], [2, 17, 9], [1, 16, 33], [2, 2, 70], [2, 1, 1]] {
            all.push((layout, shape));
        }
    }
    all
}

fn instance_norm_case<T: Real>(layout: Layout, shape: [usize; 3], centre: Centre, tolerance: f64) {
    let [batch, channels, time] = shape;
    let horizon = time + 3;
    let eps = 0.01;
    let x: Vec<f64> = noise(10, batch * channels * time).iter().map(|x| 3.0 + x).collect();
    let dy = noise(11, x.len());
    let z = noise(12, batch * channels * horizon);
    let dz = noise(13, z.len());
    let gamma: Vec<f64> = noise(14, channels).iter().map(|g| 1.2 + 0.5 * g).collect();
    let beta = noise(15, channels);
    let (centres, stds) = reference::series_moments(&x, layout, shape, centre, eps);
    let moments = (&centres[..], &stds[..]);
    let there = |x: &[f64], g: &[f64], b: &[f64]| reference::instance_norm(x, layout, shape, moments, (g, b));
    let back_shape = [batch, channels, horizon];
    let back = |z: &[f64], g: &[f64], b: &[f64]| reference::instance_restore(z, layout, back_shape, moments, (g, b), eps);
    let back_same = |z: &[f64]| reference::instance_restore(z, layout, shape, moments, (&gamma, &beta), eps);

    let what = format!("{layout:?} {shape:?} {centre:?}");
    let (g, b) = (cast::<T>(&gamma), cast::<T>(&beta));
    let (x_t, dy_t, z_t, dz_t) = (cast::<T>(&x), cast::<T>(&dy), cast::<T>(&z), cast::<T>(&dz));
    let affine = Some(Affine { gamma: &g, beta: &b });
    let norm = InstanceNorm { layout, batch, channels, centre, affine, eps };
    let nan = |n: usize| vec![T::from_f64(f64::NAN); n];
    let (mut y, mut dx, mut out, mut dz_in) = (nan(x.len()), nan(x.len()), nan(z.len()), nan(z.len()));
    let (mut dgamma, mut dbeta) = (nan(channels), nan(channels));
    let saved = norm.forward(&x_t, &mut y);
    close(&what, &saved.centre, &centres, tolerance);
    close(&what, &saved.std, &stds, tolerance);
    close(&what, &y, &there(&x, &gamma, &beta), tolerance * 20.0);
    // Linear in everything but gamma on the way back, so central differences are nearly exact.
    norm.backward(&x_t, &saved, &dy_t, Some(&mut dx), Some(&mut dgamma), Some(&mut dbeta));
    close(&what, &dx, &central(&x, &dy, 1e-4, |x| there(x, &gamma, &beta)), tolerance * 20.0 + 1e-9);
    close(&what, &dgamma, &central(&gamma, &dy, 1e-4, |g| there(&x, g, &beta)), tolerance * 40.0 + 1e-9);
    close(&what, &dbeta, &central(&beta, &dy, 1e-4, |b| there(&x, &gamma, b)), tolerance * 40.0 + 1e-9);
    norm.restore(&z_t, &saved, &mut out);
    close(&what, &out, &back(&z, &gamma, &beta), tolerance * 20.0);
    norm.restore_backward(&z_t, &saved, &dz_t, Some(&mut dz_in), Some(&mut dgamma), Some(&mut dbeta));
    close(&what, &dz_in, &central(&z, &dz, 1e-4, |z| back(z, &gamma, &beta)), tolerance * 20.0 + 1e-9);
    close(&what, &dgamma, &central(&gamma, &dz, 1e-4, |g| back(&z, g, &beta)), tolerance * 80.0 + 2e-6);
    close(&what, &dbeta, &central(&beta, &dz, 1e-4, |b| back(&z, &gamma, b)), tolerance * 40.0 + 1e-9);

    // There and back, but for the eps² beside gamma.
    let mut round = nan(x.len());
    norm.restore(&y, &saved, &mut round);
    close(&what, &round, &back_same(&there(&x, &gamma, &beta)), 20.0 * tolerance);
    let plain = InstanceNorm { affine: None, ..norm };
    let saved = plain.forward(&x_t, &mut y);
    close(&what, &y, &there(&x, &vec![1.0; channels], &vec![0.0; channels]), tolerance * 20.0);
    plain.restore(&y, &saved, &mut round);
    close(&what, &round, &x, 20.0 * tolerance);
    plain.backward(&x_t, &saved, &dy_t, Some(&mut dx), None, None);
    let ones = vec![1.0; channels];
    close(&what, &dx, &central(&x, &dy, 1e-4, |x| there(x, &ones, &beta)), tolerance * 20.0 + 1e-9);
}

#[test]
fn instance_norm_and_its_gradients_are_those_of_the_reference() {
    for (layout, shape) in instance_shapes() {
        for centre in [Centre::Mean, Centre::Last] {
            instance_norm_case::<f64>(layout, shape, centre, 1e-13);
            // Numbers up to 4 with an error of 2⁻²⁴ each, divided by a std of 0.1 at least (eps is 0.01).
            instance_norm_case::<f32>(layout, shape, centre, 1e-6);
        }
    }
}

#[test]
fn both_layouts_of_instance_norm_agree() {
    let [batch, channels, time] = [4, 5, 96];
    let x = noise(16, batch * channels * time);
    let mut turned = vec![0.0; x.len()];
    for b in 0..batch {
        for c in 0..channels {
            for t in 0..time {
                turned[reference::place(Layout::ChannelsLast, channels, time, [b, c, t])] = x[(b * channels + c) * time + t];
            }
        }
    }
    let norm = |layout| InstanceNorm::<f64> { layout, batch, channels, centre: Centre::Mean, affine: None, eps: 1e-5 };
    let (mut y, mut y_turned) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let a = norm(Layout::TimeLast).forward(&x, &mut y);
    let b = norm(Layout::ChannelsLast).forward(&turned, &mut y_turned);
    close("centre", &a.centre, &b.centre, 1e-14);
    close("std", &a.std, &b.std, 1e-14);
    for b in 0..batch {
        for c in 0..channels {
            for t in 0..time {
                let at = reference::place(Layout::ChannelsLast, channels, time, [b, c, t]);
                assert!((y_turned[at] - y[(b * channels + c) * time + t]).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn instance_norm_does_not_depend_on_threads_or_instructions() {
    for layout in [Layout::TimeLast, Layout::ChannelsLast] {
        let [batch, channels, time] = [60, 7, 96];
        let x: Vec<f32> = cast(&noise(17, batch * channels * time));
        let dy: Vec<f32> = cast(&noise(18, x.len()));
        same_everywhere(|| {
            let (gamma, beta) = ([1.5; 7], [0.25; 7]);
            let affine = Some(Affine { gamma: &gamma, beta: &beta });
            let norm = InstanceNorm { layout, batch, channels, centre: Centre::Mean, affine, eps: 1e-5 };
            let (mut y, mut dx, mut out) = (x.clone(), x.clone(), x.clone());
            let (mut dgamma, mut dbeta) = ([0.0; 7], [0.0; 7]);
            let saved = norm.forward(&x, &mut y);
            norm.backward(&x, &saved, &dy, Some(&mut dx), Some(&mut dgamma), Some(&mut dbeta));
            norm.restore(&y, &saved, &mut out);
            (y, dx, out, dgamma, dbeta, saved)
        });
    }
}

#[test]
fn empty_instances_are_fine() {
    for layout in [Layout::TimeLast, Layout::ChannelsLast] {
        let norm = InstanceNorm::<f32> { layout, batch: 0, channels: 3, centre: Centre::Mean, affine: None, eps: 1e-5 };
        let saved = norm.forward(&[], &mut []);
        let mut dbeta = [1.0; 3];
        norm.backward(&[], &saved, &[], Some(&mut []), None, Some(&mut dbeta));
        assert_eq!(dbeta, [0.0; 3]);
        let norm = InstanceNorm { batch: 2, ..norm };
        let saved = norm.forward(&[], &mut []);
        norm.restore(&[], &saved, &mut []);
    }
}

struct BatchOut<T> {
    y: Vec<T>,
    moments: BatchMoments<T>,
    dx: Vec<T>,
    dweight: Vec<T>,
    dbias: Vec<T>,
}

fn batch_norm<T: Real>(x: &[T], dy: &[T], width: usize, weight: &[T], bias: &[T]) -> BatchOut<T> {
    let norm = BatchNorm { width, weight: Some(weight), bias: Some(bias), eps: 1e-5 };
    let moments = norm.measure(x);
    let nan = |n: usize| vec![T::from_f64(f64::NAN); n];
    let (mut y, mut dx, mut dweight, mut dbias) = (nan(x.len()), nan(x.len()), nan(width), nan(width));
    norm.forward(x, &moments, &mut y);
    norm.backward(x, &moments, dy, &mut dx, Some(&mut dweight), Some(&mut dbias));
    let mut alone = nan(x.len());
    norm.backward(x, &moments, dy, &mut alone, None, None);
    assert_eq!(alone, dx);
    BatchOut { y, moments, dx, dweight, dbias }
}

#[test]
fn batch_norm_and_its_gradients_are_those_of_the_reference() {
    for (rows, width) in [(2usize, 1usize), (5, 3), (9, 16), (30, 7), (11, 40), (4, 65)] {
        let what = format!("{rows}x{width}");
        let x: Vec<f64> = noise(19, rows * width).iter().enumerate().map(|(i, x)| x + (i % width) as f64 * 0.2).collect();
        let dy = noise(20, x.len());
        let weight: Vec<f64> = noise(21, width).iter().map(|w| 1.0 + 0.5 * w).collect();
        let bias = noise(22, width);
        let f = |x: &[f64], w: &[f64], b: &[f64]| reference::batch_norm(x, width, w, b, 1e-5);
        let got = batch_norm(&x, &dy, width, &weight, &bias);
        close(&what, &got.y, &f(&x, &weight, &bias), 1e-12);
        // Two or four rows can lie close together, where the third derivative is large.
        let loose = if rows < 5 { 1e-4 } else { 1e-7 };
        close(&what, &got.dx, &central(&x, &dy, 1e-5, |x| f(x, &weight, &bias)), loose);
        close(&what, &got.dweight, &central(&weight, &dy, 1e-5, |w| f(&x, w, &bias)), 1e-7);
        close(&what, &got.dbias, &central(&bias, &dy, 1e-5, |b| f(&x, &weight, b)), 1e-7);
        if rows >= 9 {
            let c = |v: &[f64]| cast::<f32>(v);
            let got32 = batch_norm(&c(&x), &c(&dy), width, &c(&weight), &c(&bias));
            // As for layer norm: a std of about 0.5 and numbers up to 14 with an error of 2⁻²⁴ each.
            close(&what, &got32.y, &got.y, 1e-5);
            close(&what, &got32.dx, &got.dx, 1e-5);
            close(&what, &got32.dweight, &got.dweight, 2e-5);
            close(&what, &got32.dbias, &got.dbias, 2e-6);
        }
    }
}

#[test]
fn batch_moments_of_many_chunks_are_those_of_two_passes() {
    for (rows, width) in [(5000usize, 3usize), (9001, 16), (700, 200)] {
        // A mean far from zero would spoil a variance from Σ x².
        let x: Vec<f64> =
            noise(23, rows * width).iter().enumerate().map(|(i, x)| 1000.0 + x + (i / width) as f64 * 1e-3).collect();
        let got = BatchNorm::<f64> { width, weight: None, bias: None, eps: 0.0 }.measure(&x);
        for c in 0..width {
            let mean = (0..rows).map(|r| x[r * width + c]).sum::<f64>() / rows as f64;
            let variance = (0..rows).map(|r| (x[r * width + c] - mean).powi(2)).sum::<f64>() / rows as f64;
            assert!((got.mean[c] / mean - 1.0).abs() < 1e-13);
            assert!((got.variance[c] / variance - 1.0).abs() < 1e-9, "{} {variance}", got.variance[c]);
        }
        assert_eq!(got.rows, Some(rows));
    }
}

#[test]
fn running_averages_move_towards_the_unbiased_variance() {
    let norm = BatchNorm::<f64> { width: 1, weight: None, bias: None, eps: 1e-5 };
    let (mut mean, mut variance) = ([0.0], [1.0]);
    // Mean 2, population variance 2/3, unbiased 1.
    norm.measure(&[1.0, 2.0, 3.0]).update_running(0.1, &mut mean, &mut variance);
    close("mean", &mean, &[0.2], 1e-15);
    close("variance", &variance, &[1.0], 1e-15);
    norm.measure(&[1.0, 2.0, 6.0]).update_running(0.1, &mut mean, &mut variance);
    close("mean", &mean, &[0.48], 1e-15);
    close("variance", &variance, &[0.9 + 0.7], 1e-15);
    norm.measure(&[5.0]).update_running(0.1, &mut mean, &mut variance);
    close("a single row", &variance, &[1.6], 1e-15);
    norm.measure(&[]).update_running(0.1, &mut mean, &mut variance);
    close("no row", &mean, &[0.932], 1e-15);
}

#[test]
fn fixed_statistics_are_constants() {
    let width = 5;
    let (x, dy) = (noise(24, 4 * width), noise(25, 4 * width));
    let (mean, variance) = (noise(26, width), vec![0.5, 1.0, 2.0, 3.0, 0.25]);
    let weight = noise(27, width);
    let moments = BatchMoments::fixed(&mean, &variance, 1e-5);
    let norm = BatchNorm { width, weight: Some(&weight), bias: None, eps: 1e-5 };
    let f = |x: &[f64], w: &[f64]| -> Vec<f64> {
        (0..x.len()).map(|i| (x[i] - mean[i % width]) / (variance[i % width] + 1e-5).sqrt() * w[i % width]).collect()
    };
    let (mut y, mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; width]);
    norm.forward(&x, &moments, &mut y);
    close("y", &y, &f(&x, &weight), 1e-13);
    norm.backward(&x, &moments, &dy, &mut dx, Some(&mut dweight), None);
    close("dx", &dx, &central(&x, &dy, 1e-4, |x| f(x, &weight)), 1e-9);
    close("dweight", &dweight, &central(&weight, &dy, 1e-4, |w| f(&x, w)), 1e-9);
    let (mut mean, mut variance) = (mean.clone(), variance.clone());
    moments.update_running(0.5, &mut mean, &mut variance);
    assert_eq!(mean, moments.mean);
}

#[test]
fn batch_norm_does_not_depend_on_threads_or_instructions() {
    for width in [7usize, 16, 100] {
        let x: Vec<f32> = cast(&noise(28, 5000 * width));
        let dy: Vec<f32> = cast(&noise(29, 5000 * width));
        let (weight, bias) = (vec![1.5; width], vec![0.5; width]);
        same_everywhere(|| {
            let out = batch_norm(&x, &dy, width, &weight, &bias);
            (out.y, out.moments, out.dx, out.dweight, out.dbias)
        });
    }
}
