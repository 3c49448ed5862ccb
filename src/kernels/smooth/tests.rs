use super::*;
use crate::kernels::simd::{Real, available, with_isa};
use proptest::prelude::*;

fn numbers(len: usize, seed: f64) -> Vec<f64> {
    (0..len).map(|i| 2.0 * (1.7 * i as f64 + seed).sin() + 0.3 * (0.11 * i as f64 * seed).cos()).collect()
}

fn cast<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::from_f64(x)).collect()
}

fn epsilon<T: Real>() -> f64 {
    if T::LANES == 16 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

/// A function of series, applied to every series of a layout.
fn by_series(x: &[f64], layout: Layout, f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut out = vec![f64::NAN; x.len()];
    for b in 0..layout.batch {
        for c in 0..layout.channels {
            let at = |t: usize| (b * layout.time + t) * layout.channels + c;
            let series: Vec<f64> = (0..layout.time).map(|t| x[at(t)]).collect();
            for (t, y) in f(&series).into_iter().enumerate() {
                out[at(t)] = y;
            }
        }
    }
    out
}

fn assert_close<T: Real>(fast: &[T], exact: &[f64], tol: f64, what: &str) {
    for (i, (a, b)) in fast.iter().zip(exact).enumerate() {
        assert!((a.to_f64() - b).abs() <= tol, "{what} at {i}: {a} and {b}");
    }
}

/// Inputs are at most 2.3; a window's error is (w + k/w + 3)/2 units, w near √k; weights of ends sum to at most (k + 1)/2.
fn check_average<T: Real>(layout: Layout, k: usize) {
    let n = layout.elements();
    let tol = 2.3 * (k as f64).sqrt().ceil() * 2.0 * epsilon::<T>() + 4.0 * epsilon::<T>();
    let ends = tol * (k as f64 + 1.0);
    let (x, z) = (cast::<T>(&numbers(n, 0.3)), cast::<T>(&numbers(n, 1.9)));
    let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
    let trend = by_series(&wide, layout, |x| reference::moving_average(x, k));
    let nan = vec![T::from_f64(f64::NAN); n];
    let (mut fast, mut season, mut again) = (nan.clone(), nan.clone(), nan.clone());
    moving_average(&x, layout, k, &mut fast);
    assert_close(&fast, &trend, tol, "trend");
    decompose(&x, layout, k, &mut season, &mut again);
    assert_eq!(fast, again);
    assert!(season.iter().zip(&x).zip(&fast).all(|((s, x), t)| *s == *x - *t));
    let back = by_series(&wide, layout, |g| reference::moving_average_backward(g, k));
    moving_average_backward(&x, layout, k, &mut fast);
    assert_close(&fast, &back, ends, "gradient");
    // season = x − trend: its gradient g comes back as g − Aᵀg.
    let both: Vec<f64> = z.iter().zip(&x).map(|(t, s)| t.to_f64() - s.to_f64()).collect();
    let back = by_series(&both, layout, |g| reference::moving_average_backward(g, k));
    let back: Vec<f64> = back.iter().zip(&wide).map(|(a, s)| a + s).collect();
    decompose_backward(&x, &z, layout, k, &mut again);
    assert_close(&again, &back, 2.0 * ends, "gradient of both");
}

#[test]
fn averages_and_their_gradients_are_the_definition() {
    for (batch, time, channels) in [
        (1, 1, 1),
        (3, 2, 1),
        (2, 12, 1),
        (5, 33, 1),
        (70, 24, 1),
        (2, 900, 1),
        (2, 96, 16),
        (1, 7, 7),
        (3, 5, 70),
        (2, 1, 19),
        (1, 300, 37),
        (0, 4, 2),
    ] {
        for k in [1, 3, 5, 25, 31] {
            check_average::<f32>(Layout { batch, time, channels }, k);
            check_average::<f64>(Layout { batch, time, channels }, k);
        }
    }
    // Several tasks, and on several threads.
    check_average::<f32>(Layout::rows(900, 96), 25);
    check_average::<f32>(Layout { batch: 30, time: 40, channels: 60 }, 25);
}

#[test]
fn average_of_squares() {
    let x: Vec<f64> = (0..8).map(|i| f64::from(i * i)).collect();
    let mut trend = [0.0; 8];
    moving_average(&x, Layout::rows(1, 8), 5, &mut trend);
    assert_close(&trend, &[1.0, 2.8, 6.0, 11.0, 18.0, 27.0, 35.0, 41.6], 1e-14, "worked");
}

#[test]
fn an_outlier_spoils_only_its_windows() {
    let mut x = vec![1.0f32; 200];
    x[100] = 1e30;
    let mut trend = vec![0.0; 200];
    moving_average(&x, Layout::rows(1, 200), 25, &mut trend);
    for (t, y) in trend.iter().enumerate() {
        assert_eq!((*y - 1.0).abs() < 1e-5, t.abs_diff(100) > 12, "{t}: {y}");
    }
}

#[test]
fn series_do_not_touch_each_other() {
    for (time, k) in [(5, 3), (12, 25), (40, 7), (96, 25)] {
        for bad in 0..4 {
            let layout = Layout::rows(4, time);
            let mut x = cast::<f32>(&numbers(layout.elements(), 0.4));
            x[bad * time..(bad + 1) * time].fill(f32::NAN);
            let (mut a, mut b, mut c, mut d) = (x.clone(), x.clone(), x.clone(), x.clone());
            decompose(&x, layout, k, &mut a, &mut b);
            decompose_backward(&x, &x, layout, k, &mut c);
            moving_average_backward(&x, layout, k, &mut d);
            for y in [a, b, c, d] {
                assert!(y.iter().enumerate().all(|(i, y)| y.is_nan() == (i / time == bad)), "{time}, {k}: {bad}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// <A x, g> = <x, Aᵀ g>, and A keeps constants.
    #[test]
    fn backward_is_the_transpose(batch in 1usize..4, time in 1usize..60, channels in 1usize..40, half in 0usize..20) {
        let layout = Layout { batch, time, channels };
        let n = layout.elements();
        let (x, g) = (numbers(n, 0.7), numbers(n, 2.1));
        let (mut y, mut z) = (vec![0.0; n], vec![0.0; n]);
        moving_average(&x, layout, 2 * half + 1, &mut y);
        moving_average_backward(&g, layout, 2 * half + 1, &mut z);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        prop_assert!((dot(&y, &g) - dot(&x, &z)).abs() < 1e-13 * (n as f64 + 10.0) * 10.0);
        moving_average(&vec![3.0; n], layout, 2 * half + 1, &mut y);
        prop_assert!(y.iter().all(|y| (y - 3.0).abs() < 1e-14));
    }

    #[test]
    fn pooling_backward_is_the_transpose(batch in 1usize..4, time in 1usize..30, channels in 1usize..20, w in 1usize..6) {
        let layout = Layout { batch, time, channels };
        let (n, m) = (layout.elements(), batch * (time / w) * channels);
        let (x, g) = (numbers(n, 0.7), numbers(m, 2.1));
        let (mut y, mut z) = (vec![0.0; m], vec![f64::NAN; n]);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        avg_pool(&x, layout, w, &mut y);
        avg_pool_backward(&g, layout, w, &mut z);
        prop_assert!((dot(&y, &g) - dot(&x, &z)).abs() < 1e-12 * n as f64);
        // The largest is a sum too, over the elements it picks.
        max_pool(&x, layout, w, &mut y);
        max_pool_backward(&x, &g, layout, w, &mut z);
        prop_assert!((dot(&y, &g) - dot(&x, &z)).abs() < 1e-12 * n as f64);
    }
}

#[test]
fn pools() {
    // Seven steps of two channels in windows of three: one step is dropped.
    let x: Vec<f32> = vec![1., 9., 2., 8., 3., 7., 4., 6., 5., 5., 9., 5., 7., 3.];
    let layout = Layout { batch: 1, time: 7, channels: 2 };
    let mut y = [0.0; 4];
    avg_pool(&x, layout, 3, &mut y);
    assert_eq!(y, [2.0, 8.0, 6.0, 16.0 / 3.0]);
    max_pool(&x, layout, 3, &mut y);
    assert_eq!(y, [3.0, 9.0, 9.0, 6.0]);
    let mut g = [7.0; 14];
    max_pool_backward(&x, &[1.0, 2.0, 3.0, 4.0], layout, 3, &mut g);
    assert_eq!(g, [0., 2., 0., 0., 1., 0., 0., 4., 0., 0., 3., 0., 0., 0.]);
    avg_pool_backward(&[3.0, 6.0, 9.0, 12.0], layout, 3, &mut g);
    assert_eq!(g, [1., 2., 1., 2., 1., 2., 3., 4., 3., 4., 3., 4., 0., 0.]);
    // Ties: the first; NaN wins.
    let mut g = [7.0f32; 4];
    max_pool_backward(&[2.0, 2.0, f32::NAN, 9.0], &[1.0, 1.0], Layout::rows(1, 4), 2, &mut g);
    assert_eq!(g, [1.0, 0.0, 1.0, 0.0]);
    // A window longer than the series leaves nothing, and no gradient.
    let mut g = [7.0f32; 3];
    avg_pool::<f32>(&[1.0; 3], Layout::rows(1, 3), 4, &mut []);
    avg_pool_backward(&[], Layout::rows(1, 3), 4, &mut g);
    assert_eq!(g, [0.0; 3]);
    // Enough for several threads.
    let layout = Layout::rows(5000, 33);
    let x = cast::<f32>(&numbers(layout.elements(), 0.4));
    let mut y = vec![0.0; 5000 * 16];
    avg_pool(&x, layout, 2, &mut y);
    assert!(y.chunks(16).zip(x.chunks(33)).all(|(y, x)| (0..16).all(|t| y[t] == (x[2 * t] + x[2 * t + 1]) * 0.5)));
}

#[test]
fn strongest_frequencies_of_the_worked_series() {
    let tau = std::f64::consts::TAU;
    let x: Vec<f64> = (0..12).map(f64::from).map(|t| 0.5 * t + 2.0 * (tau * t / 6.0).sin() + (tau * t / 3.0).cos()).collect();
    let plan = DftDecomposition::new(12, 2);
    let (mut season, mut trend, mut bins) = (vec![0.0; 12], vec![0.0; 12], vec![0; 2]);
    plan.forward(&x, &mut season, &mut trend, &mut bins);
    bins.sort_unstable();
    assert_eq!(bins, [1, 2]);
    let worked = [
        -1.0, -0.6339746, -0.6339746, -1.3660254, -2.0980762, -1.7320508, 0.0, 2.0980762, 3.0980762, 2.3660254, 0.6339746,
        -0.7320508,
    ];
    assert_close(&season, &worked, 5.1e-8, "season");
    assert_close(&season, &reference::project(&x, &[1, 2]), 1e-13, "season");
}

#[test]
fn dft_decomposition_is_a_projection_on_the_strongest_bins() {
    fn check<T: Real>(rows: usize, time: usize, top_k: usize, tol: f64) {
        let plan = DftDecomposition::<T>::new(time, top_k);
        assert_eq!(plan.kept(), top_k.min(time / 2));
        let n = rows * time;
        let x = cast::<T>(&numbers(n, 0.9).iter().map(|x| x + 5.0).collect::<Vec<_>>());
        let (g, h) = (cast::<T>(&numbers(n, 1.1)), cast::<T>(&numbers(n, 3.7)));
        let nan = T::from_f64(f64::NAN);
        let (mut season, mut trend, mut bins) = (vec![nan; n], vec![nan; n], vec![0; rows * plan.kept()]);
        plan.forward(&x, &mut season, &mut trend, &mut bins);
        let mut gx = vec![nan; n];
        plan.backward(&g, &h, &bins, &mut gx);
        for r in 0..rows {
            let here = r * time..(r + 1) * time;
            let wide = |x: &[T]| x[here.clone()].iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
            let kept: Vec<usize> = bins[r * plan.kept()..(r + 1) * plan.kept()].iter().map(|&f| f as usize).collect();
            let amplitude = |f: usize| reference::bin(&wide(&x), f).0.hypot(reference::bin(&wide(&x), f).1);
            let weakest = kept.iter().map(|&f| amplitude(f)).fold(f64::INFINITY, f64::min);
            for f in (1..=time / 2).filter(|f| !kept.contains(f)) {
                assert!(amplitude(f) <= weakest + 100.0 * tol, "bin {f} of {time} is stronger than one that was kept");
            }
            assert_close(&season[here.clone()], &reference::project(&wide(&x), &kept), tol, "season");
            for t in here.clone() {
                assert_eq!(trend[t], x[t] - season[t]);
            }
            let difference: Vec<f64> = wide(&g).iter().zip(wide(&h)).map(|(g, h)| g - h).collect();
            let exact: Vec<f64> = reference::project(&difference, &kept).iter().zip(wide(&h)).map(|(p, h)| p + h).collect();
            assert_close(&gx[here.clone()], &exact, tol, "gradient");
        }
    }
    for time in [1, 2, 3, 4, 5, 12, 33, 96, 97] {
        for top_k in [0, 1, 5, 100] {
            check::<f64>(5, time, top_k, 1e-12);
            // Sums of up to 100 products near 2: about 100 units; top_k = 100 adds as many waves.
            check::<f32>(3, time, top_k, 200.0 * f64::from(f32::EPSILON));
        }
    }
    check::<f64>(2, 720, 5, 1e-12);
    check::<f32>(1400, 48, 3, 200.0 * f64::from(f32::EPSILON));
    check::<f32>(0, 48, 3, 0.0);
}

#[test]
fn ties_go_to_the_lower_bin_and_nan_stays_in_its_series() {
    let tau = std::f64::consts::TAU;
    // Bins 3, 7 and 9 have the same amplitude but for rounding.
    let tie: Vec<f64> = (0..40)
        .map(|t| f64::from(t) / 40.0)
        .map(|t| (tau * 9.0 * t).cos() + (tau * 3.0 * t + 0.4).sin() + (tau * 7.0 * t + 1.0).cos() + 100.0)
        .collect();
    fn kept<T: Real>(x: &[T], k: usize) -> (Vec<T>, Vec<u32>) {
        let plan = DftDecomposition::<T>::new(40, k);
        let (mut s, mut t, mut bins) = (x.to_vec(), x.to_vec(), vec![0; x.len() / 40 * k]);
        plan.forward(x, &mut s, &mut t, &mut bins);
        (s, bins)
    }
    assert_eq!(kept(&tie, 2).1, [3, 7]);
    assert_eq!(kept(&cast::<f32>(&tie), 2).1, [3, 7]);
    assert_eq!(kept(&[5.0f64; 40], 2).1, [1, 2]);
    let mut two = tie.clone();
    two.extend(&tie);
    two[3] = f64::NAN;
    let (season, bins) = kept(&two, 2);
    assert_eq!(bins, [1, 2, 3, 7]);
    assert!(season[..40].iter().all(|s| s.is_nan()) && season[40..].iter().all(|s| s.is_finite()));
}

#[test]
fn instruction_sets_and_threads_do_not_matter() {
    let layout = Layout::rows(40, 96);
    let x = cast::<f32>(&numbers(layout.elements(), 0.5));
    let all = || {
        let (mut a, mut b, mut c, mut bins) = (x.clone(), x.clone(), x.clone(), vec![0; 200]);
        decompose(&x, layout, 25, &mut a, &mut b);
        decompose_backward(&x, &a, layout, 25, &mut c);
        let mut out = [a.clone(), b.clone(), c.clone()].concat();
        DftDecomposition::new(96, 5).forward(&x, &mut a, &mut b, &mut bins);
        DftDecomposition::new(96, 5).backward(&x, &b, &bins, &mut c);
        out.extend([a, b, c].concat());
        (out, bins)
    };
    let expected = all();
    for isa in available() {
        assert_eq!(with_isa(isa, all), expected, "{isa:?}");
    }
    let layout = Layout::rows(1000, 96);
    let x = cast::<f32>(&numbers(layout.elements(), 0.5));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut a, mut b) = (x.clone(), x.clone());
            decompose(&x, layout, 25, &mut a, &mut b);
            (a, b)
        })
    };
    assert_eq!(on(1), on(3));
}
