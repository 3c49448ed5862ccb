use super::*;
use crate::kernels::simd::{Real, available, with_isa};

/// Deterministic numbers in about ±2, no two alike nearby.
fn numbers(len: usize, seed: f64) -> Vec<f64> {
    (0..len).map(|i| 2.0 * (1.7 * i as f64 + seed).sin() + 0.3 * (0.11 * i as f64 * seed).cos()).collect()
}

fn cast<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::from_f64(x)).collect()
}

fn widen<T: Real>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// |a − b| <= tol · scale, and no NaN.
fn close(a: f64, b: f64, tol: f64, what: &str) {
    assert!((a - b).abs() <= tol * b.abs().max(1e-3), "{what}: {a} and {b}");
}

/// Single terms are rounded a few times each; runs of 16 vectors add at most 20 half units more.
fn tolerance<T: Real>() -> f64 {
    if T::LANES == 16 { 24.0 * f64::from(f32::EPSILON) } else { 64.0 * f64::EPSILON }
}

type Fast<T> = dyn Fn(&[T], &[T], Weights<'_, T>, f64, Option<&mut [T]>) -> f64;
type Plain = dyn Fn(f64, f64) -> (f64, f64);

fn check_against_reference<T: Real>(name: &str, fast: &Fast<T>, plain: &Plain) {
    let tol = tolerance::<T>();
    for len in [1, 2, 7, 15, 16, 17, 31, 300, 70_001] {
        let (f, y) = (cast::<T>(&numbers(len, 0.4)), cast::<T>(&numbers(len, 2.9)));
        let mut w: Vec<f64> = widen(&cast::<T>(&numbers(len, 5.1).iter().map(|x| x.abs()).collect::<Vec<_>>()));
        w.iter_mut().step_by(3).for_each(|w| *w = 0.0);
        let weights = cast::<T>(&w);
        let cases = [
            (Weights::Equal, None, len as f64),
            (Weights::PerTerm(&weights), Some(&w[..]), len as f64),
            (Weights::Normalised(&weights), Some(&w[..]), w.iter().sum()),
        ];
        for (weights, w, divisor) in cases {
            let (loss, gradient) = reference::mean(plain, &widen(&f), &widen(&y), w, divisor);
            let mut g = vec![T::from_f64(f64::NAN); len];
            // The plain sum of the reference loses up to half a unit a term.
            close(fast(&f, &y, weights, 0.5, Some(&mut g)), loss, tol + len as f64 * f64::EPSILON, name);
            assert_eq!(fast(&f, &y, weights, 0.5, Some(&mut g)).to_bits(), fast(&f, &y, weights, 1.0, None).to_bits());
            for (g, exact) in g.iter().zip(&gradient) {
                assert!((g.to_f64() - 0.5 * exact).abs() <= tol * exact.abs(), "{name}: {g} and {exact}");
            }
        }
    }
}

#[test]
fn regression_losses_are_their_definitions() {
    fn all<T: Real>() {
        check_against_reference::<T>("mse", &mse::<T>, &reference::squared);
        check_against_reference::<T>("mae", &mae::<T>, &reference::absolute);
        check_against_reference::<T>("smape", &smape::<T>, &reference::smape);
        for delta in [0.5, 1.0] {
            check_against_reference::<T>("huber", &move |f, y, w, u, g| huber(delta, f, y, w, u, g), &reference::huber(delta));
        }
        // One quantile is a pointwise loss too.
        check_against_reference::<T>("pinball", &|f, y, w, u, g| pinball(&[0.25], f, y, w, u, g), &reference::pinball(0.25));
    }
    all::<f32>();
    all::<f64>();
}

/// Slopes are derivatives of the losses, away from kinks; not for smape, whose denominator counts as a constant.
#[test]
fn slopes_are_central_differences() {
    let h = 1e-6;
    let losses: [(&str, Box<Fast<f64>>); 4] = [
        ("mse", Box::new(mse::<f64>)),
        ("mae", Box::new(mae::<f64>)),
        ("huber", Box::new(|f, y, w, u, g| huber(0.7, f, y, w, u, g))),
        ("pinball", Box::new(|f, y, w, u, g| pinball(&[0.9], f, y, w, u, g))),
    ];
    let (f, y) = (numbers(37, 1.3), numbers(37, 0.2));
    for (name, loss) in losses {
        let mut g = vec![0.0; f.len()];
        loss(&f, &y, Weights::Equal, 3.0, Some(&mut g));
        for i in 0..f.len() {
            let at = |step: f64| {
                let mut f = f.clone();
                f[i] += step;
                3.0 * loss(&f, &y, Weights::Equal, 1.0, None)
            };
            // Rounding of losses near 1 over 2h: 1e-10; the third derivative vanishes.
            assert!((g[i] - (at(h) - at(-h)) / (2.0 * h)).abs() < 2e-9, "{name} {i}");
        }
    }
}

#[test]
fn smape_slope_has_a_constant_denominator() {
    let mut g = [0.0];
    let loss = smape(&[3.0], &[1.0], Weights::Equal, 1.0, Some(&mut g));
    assert_eq!((loss, g[0]), (100.0, 50.0));
}

#[test]
fn kinks_have_slope_zero_and_smape_drops_what_is_not_finite() {
    let mut g = [9.0f32; 3];
    assert_eq!(mae(&[1.0, 0.0, -2.0], &[1.0, 0.0, -2.0], Weights::Equal, 1.0, Some(&mut g)), 0.0);
    assert_eq!(g, [0.0; 3]);
    assert_eq!(pinball(&[0.9], &[1.0f32, 0.0, -2.0], &[1.0, 0.0, -2.0], Weights::Equal, 1.0, Some(&mut g)), 0.0);
    assert_eq!(g, [0.0; 3]);
    let mut g = [9.0f32; 5];
    let inf = f32::INFINITY;
    let loss = smape(&[0.0, f32::NAN, inf, 1.0, 2.0], &[0.0, 1.0, 1.0, inf, 2.0], Weights::Equal, 1.0, Some(&mut g));
    assert_eq!(loss, 0.0);
    assert_eq!(g, [0.0; 5]);
}

#[test]
fn other_losses_let_nan_through() {
    let mut g = [0.0f64; 2];
    for loss in
        [mse::<f64>, mae::<f64>, |f: &[f64], y: &[f64], w: Weights<'_, f64>, u, g: Option<&mut [f64]>| huber(1.0, f, y, w, u, g)]
    {
        assert!(loss(&[f64::NAN, 1.0], &[0.0, 0.0], Weights::Equal, 1.0, Some(&mut g)).is_nan());
        assert!(g[0].is_nan() && g[1] > 0.0);
    }
    assert!(pinball(&[0.5], &[f64::NAN, 1.0], &[0.0, 0.0], Weights::Equal, 1.0, Some(&mut g)).is_nan());
    assert!(g[0].is_nan() && g[1] > 0.0);
}

#[test]
fn masked_terms_may_be_anything() {
    let (f, y, w) = ([1.0f32, f32::NAN, 3.0], [0.0, 1.0, f32::INFINITY], [1.0, 0.0, 0.0]);
    let mut g = [9.0; 3];
    for loss in [mse::<f32>, mae::<f32>] {
        assert_eq!(loss(&f, &y, Weights::Normalised(&w), 1.0, Some(&mut g)), 1.0);
        assert_eq!(g[1..], [0.0; 2]);
    }
    assert_eq!(pinball(&[0.5], &f, &y, Weights::Normalised(&w), 1.0, Some(&mut g)), 0.5);
    assert_eq!(g, [0.5, 0.0, 0.0]);
    assert_eq!(mse(&f, &y, Weights::Normalised(&[0.0; 3]), 1.0, Some(&mut g)).to_bits(), 0);
    assert_eq!(g, [0.0; 3]);
    assert_eq!(mse::<f32>(&[], &[], Weights::Equal, 1.0, Some(&mut [])).to_bits(), 0);
    assert_eq!(pinball::<f32>(&[], &[], &[1.0], Weights::Equal, 1.0, Some(&mut [])).to_bits(), 0);
}

#[test]
fn pinball_over_several_quantiles() {
    // Forecasts [[10, 12, 15], [11, 13, 18]] of [13, 10]: mean 0.7.
    let f = [10.0, 12.0, 15.0, 11.0, 13.0, 18.0];
    let mut g = [0.0; 6];
    let loss = pinball(&[0.1, 0.5, 0.9], &f, &[13.0, 10.0], Weights::Equal, 6.0, Some(&mut g));
    close(loss, 0.7, 4.0 * f64::EPSILON, "worked");
    for (g, exact) in g.iter().zip([-0.1, -0.5, 0.1, 0.9, 0.5, 0.1]) {
        close(*g, exact, 4.0 * f64::EPSILON, "slope");
    }
    // Any width and length: the mean over columns of one-quantile losses.
    fn columns<T: Real>(rows: usize, quantiles: &[f64]) {
        let width = quantiles.len();
        let (f, y) = (cast::<T>(&numbers(rows * width, 0.8)), cast::<T>(&numbers(rows, 2.0)));
        let w = cast::<T>(&numbers(rows, 1.1).iter().map(|x| x.abs()).collect::<Vec<_>>());
        let mut g = vec![T::from_f64(f64::NAN); f.len()];
        let loss = pinball(quantiles, &f, &y, Weights::Normalised(&w), 1.0, Some(&mut g));
        assert_eq!(loss.to_bits(), pinball(quantiles, &f, &y, Weights::Normalised(&w), 1.0, None).to_bits());
        let mut expected = 0.0;
        for (k, &q) in quantiles.iter().enumerate() {
            let column: Vec<f64> = f.iter().skip(k).step_by(width).map(|x| x.to_f64()).collect();
            let divisor = widen(&w).iter().sum::<f64>() * width as f64;
            let (l, slopes) = reference::mean(reference::pinball(q), &column, &widen(&y), Some(&widen(&w)), divisor);
            expected += l;
            for (i, s) in slopes.iter().enumerate() {
                close(g[i * width + k].to_f64(), *s, tolerance::<T>(), "slope");
            }
        }
        close(loss, expected, tolerance::<T>(), "loss");
    }
    for rows in [1, 5, 8, 16, 17, 70] {
        columns::<f32>(rows, &[0.1, 0.5, 0.9]);
        columns::<f64>(rows, &[0.05, 0.3, 0.5, 0.8, 0.95]);
    }
    columns::<f32>(30_000, &[0.1, 0.5, 0.9]);
}

#[test]
fn cross_entropy_is_its_definition() {
    fn check<T: Real>(rows: usize, classes: usize) {
        let z = cast::<T>(&numbers(rows * classes, 0.6).iter().map(|x| 3.0 * x).collect::<Vec<_>>());
        let targets: Vec<u32> = (0..rows).map(|i| ((i * 7 + 3) % classes) as u32).collect();
        let w = cast::<T>(&numbers(classes, 4.0).iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>());
        for (ignore, smoothing, weights) in
            [(None, 0.0, None), (Some(0), 0.0, Some(&w[..])), (None, 0.1, None), (Some(1), 0.3, Some(&w[..]))]
        {
            let wide = weights.map(widen);
            let (loss, gradient) = reference::cross_entropy(&widen(&z), &targets, classes, ignore, smoothing, wide.as_deref());
            let options = CrossEntropy { ignore, smoothing, weights };
            let mut g = vec![T::from_f64(f64::NAN); z.len()];
            let fast = cross_entropy(options, &z, &targets, classes, 2.0, Some(&mut g)).unwrap();
            // log-sum and logit may cancel: the error is that of the logits, up to 7 here, not of the loss.
            assert!((fast - loss).abs() <= 10.0 * tolerance::<T>(), "({rows}, {classes}) {fast} and {loss}");
            assert_eq!(fast.to_bits(), cross_entropy(options, &z, &targets, classes, 1.0, None).unwrap().to_bits());
            for (g, exact) in g.iter().zip(&gradient) {
                assert!((g.to_f64() - 2.0 * exact).abs() <= 4.0 * tolerance::<T>() / rows as f64, "{g} and {exact}");
            }
        }
    }
    for (rows, classes) in [(1, 1), (3, 2), (5, 7), (4, 16), (9, 17), (2, 300), (7000, 10)] {
        check::<f32>(rows, classes);
        check::<f64>(rows, classes);
    }
}

#[test]
fn cross_entropy_slopes_are_central_differences() {
    let (classes, targets) = (5, [2, 0, 4, 4]);
    let z = numbers(20, 1.9);
    let options = CrossEntropy { ignore: Some(0), smoothing: 0.2, weights: Some(&[0.5, 1.0, 2.0, 0.1, 1.5]) };
    let mut g = vec![0.0; 20];
    cross_entropy(options, &z, &targets, classes, 1.0, Some(&mut g)).unwrap();
    for i in 0..20 {
        let at = |h: f64| {
            let mut z = z.clone();
            z[i] += h;
            cross_entropy(options, &z, &targets, classes, 1.0, None).unwrap()
        };
        // Truncation h²/6 · f''' about 1e-11, rounding 1e-16/h about 1e-11.
        assert!((g[i] - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-9, "{i}");
    }
}

#[test]
fn cross_entropy_at_the_edges() {
    let mut g = [9.0f32; 4];
    let none = CrossEntropy { ignore: Some(7), ..CrossEntropy::default() };
    assert_eq!(cross_entropy(none, &[1.0f32, 2.0, 3.0, 4.0], &[7, 7], 2, 1.0, Some(&mut g)).unwrap().to_bits(), 0);
    assert_eq!(g, [0.0; 4]);
    let error = cross_entropy(none, &[1.0f32, 2.0, 3.0, 4.0], &[7, 2], 2, 1.0, None).unwrap_err();
    assert_eq!(error, ClassOutOfRange { row: 1, class: 2, classes: 2 });
    assert_eq!(error.to_string(), "cross entropy: row 1 names class 2, there are 2");
    // Shifting all logits changes nothing, however far.
    let plain = CrossEntropy::default();
    let a = cross_entropy(plain, &[1e4f32, 1e4 + 1.0], &[1], 2, 1.0, Some(&mut g[..2])).unwrap();
    let b = cross_entropy(plain, &[0.0f32, 1.0], &[1], 2, 1.0, None).unwrap();
    assert_eq!(a.to_bits(), b.to_bits());
    close(a, (1.0 + (-1.0f64).exp()).ln(), 1e-6, "two classes");
    assert!(cross_entropy(plain, &[f32::NAN, 1.0], &[1], 2, 1.0, None).unwrap().is_nan());
    assert_eq!(cross_entropy::<f32>(plain, &[], &[], 3, 1.0, Some(&mut [])).unwrap(), 0.0);
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let (f, y) = (cast::<f32>(&numbers(999, 0.4)), cast::<f32>(&numbers(999, 2.9)));
    let all = || {
        let mut out = Vec::new();
        let mut g = vec![0.0; 999];
        for loss in [mse::<f32>, mae::<f32>, smape::<f32>] {
            out.push(loss(&f, &y, Weights::PerTerm(&y), 1.0, Some(&mut g)).to_bits());
            out.extend(g.iter().map(|g| u64::from(g.to_bits())));
        }
        out.push(huber(0.5, &f, &y, Weights::Equal, 1.0, Some(&mut g)).to_bits());
        out.push(pinball(&[0.1, 0.5, 0.9], &f, &y[..333], Weights::Equal, 1.0, Some(&mut g)).to_bits());
        let targets: Vec<u32> = (0..27).collect();
        out.push(cross_entropy(CrossEntropy::default(), &f, &targets, 37, 1.0, Some(&mut g)).unwrap().to_bits());
        out.extend(g.iter().map(|g| u64::from(g.to_bits())));
        out
    };
    let expected = all();
    for isa in available() {
        assert_eq!(with_isa(isa, all), expected, "{isa:?}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (f, y) = (cast::<f32>(&numbers(200_003, 0.4)), cast::<f32>(&numbers(200_003, 2.9)));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut g = vec![0.0; f.len()];
            (mse(&f, &y, Weights::Equal, 1.0, Some(&mut g)).to_bits(), g)
        })
    };
    assert_eq!(on(1), on(4));
}
