//! Published anchors, identities and hostile input.
use super::*;
use crate::forecast::model::Spread;

fn column(file: &str, index: usize) -> Vec<f64> {
    let path = format!("{}/testdata/classic/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.lines().skip(1).map(|l| l.split(',').nth(index).unwrap().parse().unwrap()).collect()
}

fn air() -> Vec<f64> {
    column("air_passengers.csv", 2)
}

fn param(fit: &dyn Fitted, name: &str) -> f64 {
    fit.diagnostics().params.iter().find(|(n, _)| n == name).unwrap().1
}

#[test]
fn airline_model_on_log_air_passengers() {
    let y: Vec<f64> = air().iter().map(|v| v.ln()).collect();
    let fit = fit_arima(&y, &"0,1,1,0,1,1,12".parse().unwrap(), Constant::Auto).unwrap();
    let d = fit.diagnostics();
    assert_eq!(d.form, "ARIMA(0,1,1)(0,1,1)[12]");
    assert!(d.converged);
    // Printed digits of the converged optimum; the optimum is flat, so parameters agree to a few units of 1e-6.
    assert!((d.loglik.unwrap() - 244.696487).abs() < 1e-6);
    assert!((d.aicc.unwrap() + 483.203997).abs() < 2e-6);
    assert!((param(fit.as_ref(), "ma1") + 0.401823).abs() < 5e-6);
    assert!((param(fit.as_ref(), "sma1") + 0.556937).abs() < 5e-6);
    assert!((d.sigma2.unwrap() - 0.00134810).abs() < 5e-9);
    for (got, want) in fit.predict(3).mean.iter().zip([6.110186, 6.053775, 6.171714]) {
        assert!((got - want).abs() < 2e-6, "{got} {want}");
    }
}

#[test]
fn nile() {
    let y = column("nile.csv", 1);
    let fit = fit_arima(&y, &"1,1,1".parse().unwrap(), Constant::None).unwrap();
    let d = fit.diagnostics();
    assert!((d.loglik.unwrap() + 630.627383).abs() < 1e-6);
    assert!((param(fit.as_ref(), "ar1") - 0.254373).abs() < 1e-5);
    assert!((param(fit.as_ref(), "ma1") + 0.874136).abs() < 1e-5);
    assert!((d.sigma2.unwrap() - 19769.2).abs() < 0.5);
}

#[test]
fn auto_on_air_passengers_beats_both_references() {
    let config = AutoArimaConfig { season: 12, ..AutoArimaConfig::default() };
    let fit = auto_arima(&air(), &config).unwrap();
    let d = fit.diagnostics();
    // d = 1 and D = 1, as both references choose.
    assert!(d.form.contains(",1,") && d.form.ends_with(")[12]"), "{d:?}");
    assert!(d.aic.unwrap() <= 1017.85);
    assert!(d.aicc.unwrap() <= 1020.488);
    let Spread::Normal(sd) = fit.predict(24).spread else { panic!() };
    assert!(sd.windows(2).all(|w| w[1] >= w[0] - 1e-9));
}

fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut s = seed;
    let mut uniform = move || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (0..n).map(|_| (0..6).map(|_| uniform()).sum()).collect()
}

/// Everything a caller may print must be a number.
fn assert_sane(fit: &dyn Fitted, y: &[f64], label: &str) {
    let d = fit.diagnostics();
    let spread = y.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)) - y.iter().fold(f64::INFINITY, |m, v| m.min(*v));
    let size = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let p = fit.predict(24);
    for (h, v) in p.mean.iter().enumerate() {
        // No series of these tests grows faster than its own range per step, or quadratically in the horizon.
        let bound = size + 25.0 * (spread + 1e-9 * size) * (h + 1) as f64;
        assert!(v.is_finite() && v.abs() <= bound, "{label} {}: step {h} is {v}", d.form);
    }
    let Spread::Normal(sd) = &p.spread else { panic!("{label}: no spread") };
    assert!(sd.iter().all(|s| s.is_finite() && *s >= 0.0), "{label} {}: {sd:?}", d.form);
    for v in [d.loglik, d.aic, d.bic, d.sigma2].into_iter().flatten() {
        assert!(v.is_finite(), "{label}: {d:?}");
    }
    assert!(d.aicc.is_none_or(|v| !v.is_nan()) && d.params.iter().all(|(_, v)| v.is_finite()), "{label}: {d:?}");
    assert_eq!(fit.residuals().len(), y.len());
    let first = fit.residuals().iter().position(|r| r.is_finite()).unwrap();
    assert!(fit.residuals()[first..].iter().all(|r| r.is_finite()), "{label}");
}

#[test]
fn hostile_series_get_a_defined_answer() {
    let n = 48;
    let series: Vec<(&str, Vec<f64>)> = vec![
        ("one point", vec![5.0]),
        ("two points", vec![5.0, 7.0]),
        ("three points", vec![5.0, 7.0, 6.0]),
        ("four points", vec![5.0, 7.0, 6.0, 9.0]),
        ("five points", vec![5.0, 7.0, 6.0, 9.0, 2.0]),
        ("constant", vec![3.25; n]),
        ("zeros", vec![0.0; n]),
        ("two zeros", vec![0.0; 2]),
        ("line", (0..n).map(|t| 0.1 * t as f64).collect()),
        ("steep line", (0..n).map(|t| 1e9 + 12345.678 * t as f64).collect()),
        ("parabola", (0..n).map(|t| (t * t) as f64).collect()),
        ("pure season", (0..n).map(|t| [1.0, 5.0, 2.0, 9.0][t % 4]).collect()),
        ("season on a line", (0..n).map(|t| [1.0, 5.0, 2.0, 9.0][t % 4] + 0.3 * t as f64).collect()),
        ("sine", (0..n).map(|t| (t as f64 * 0.5).sin()).collect()),
        ("alternating", (0..n).map(|t| if t % 2 == 0 { 1.0 } else { -1.0 }).collect()),
        ("one spike", (0..n).map(|t| f64::from(u8::from(t == 20))).collect()),
        ("last spike", (0..n).map(|t| f64::from(u8::from(t == n - 1))).collect()),
        ("step", (0..n).map(|t| if t < 24 { 0.0 } else { 100.0 }).collect()),
        ("geometric", (0..n).map(|t| 1.3f64.powi(t as i32)).collect()),
        ("intermittent", noise(n, 3).iter().map(|v| if *v > 0.6 { v.ceil() } else { 0.0 }).collect()),
        ("huge", noise(n, 4).iter().map(|v| 1e12 * (3.0 + v)).collect()),
        ("tiny", noise(n, 5).iter().map(|v| 1e-9 * (3.0 + v)).collect()),
        ("noise far from zero", noise(n, 6).iter().map(|v| 1e9 + v).collect()),
        ("enormous", noise(n, 7).iter().map(|v| 1e140 * v).collect()),
        ("denormal", noise(n, 8).iter().map(|v| 1e-310 * v).collect()),
        ("over-differenced", noise(n, 9).windows(2).map(|w| w[1] - w[0]).collect()),
    ];
    for (label, y) in &series {
        for season in [1, 4, 12] {
            let config = AutoArimaConfig { season, ..AutoArimaConfig::default() };
            match auto_arima(y, &config) {
                Ok(fit) => assert_sane(fit.as_ref(), y, &format!("{label} auto m={season}")),
                Err(error) => panic!("{label} m={season}: {error}"),
            }
        }
        for text in ["0,0,0", "1,0,0", "0,1,1", "2,1,2", "0,2,1", "0,1,1,0,1,1,4", "3,0,3,1,0,1,4"] {
            let constants = if text.len() > 5 { &[Constant::Auto][..] } else { &[Constant::Auto, Constant::None] };
            for &constant in constants {
                match fit_arima(y, &text.parse().unwrap(), constant) {
                    Ok(fit) => assert_sane(fit.as_ref(), y, &format!("{label} {text}")),
                    Err(FitError::TooShort { need, got }) => assert!(got < need && got == y.len(), "{label} {text}"),
                    Err(error) => panic!("{label} {text}: {error}"),
                }
            }
        }
    }
}

#[test]
fn errors_name_their_cause() {
    assert!(matches!(auto_arima(&[], &AutoArimaConfig::default()), Err(FitError::TooShort { .. })));
    let gap = [1.0, f64::NAN, 3.0];
    assert!(matches!(auto_arima(&gap, &AutoArimaConfig::default()), Err(FitError::NonFinite { index: 2, .. })));
    let seasonless = AutoArimaConfig { season: 0, ..AutoArimaConfig::default() };
    assert!(matches!(auto_arima(&[1.0, 2.0], &seasonless), Err(FitError::Season { .. })));
    let y = noise(40, 1);
    assert!(matches!(fit_arima(&y, &"0,2,1".parse().unwrap(), Constant::Include), Err(FitError::Spec(_))));
    assert!(matches!(fit_arima(&y, &"0,1,1,0,1,1,40".parse().unwrap(), Constant::Auto), Err(FitError::TooShort { .. })));
    // 0,1,1,0,1,1,12 loses 13, reaches back 13 more and needs one beyond.
    let airline = "0,1,1,0,1,1,12".parse().unwrap();
    assert!(fit_arima(&y[..27], &airline, Constant::Auto).is_ok());
    let short = fit_arima(&y[..26], &airline, Constant::Auto);
    assert_eq!(short.err(), Some(FitError::TooShort { need: 27, got: 26 }));
}

#[test]
fn scaling_the_data_scales_the_answer() {
    let y = air();
    let scaled: Vec<f64> = y.iter().map(|v| v * 1e9).collect();
    for text in ["2,1,1,0,1,0,12", "1,0,1"] {
        let order = text.parse().unwrap();
        let (a, b) = (fit_arima(&y, &order, Constant::Auto).unwrap(), fit_arima(&scaled, &order, Constant::Auto).unwrap());
        let (da, db) = (a.diagnostics(), b.diagnostics());
        let n = y.len() as f64 - order.lost() as f64;
        assert!((da.loglik.unwrap() - n * 1e9f64.ln() - db.loglik.unwrap()).abs() < 1e-7, "{text}");
        // Parameters are determined to the square root of the likelihood's accuracy.
        for ((_, x), (_, z)) in da.params.iter().zip(&db.params).filter(|((name, _), _)| name != "mean") {
            assert!((x - z).abs() < 1e-6, "{text}: {:?} {:?}", da.params, db.params);
        }
        for (x, z) in a.predict(12).mean.iter().zip(b.predict(12).mean) {
            assert!((x * 1e9 - z).abs() < 1e-5 * z.abs(), "{text}");
        }
    }
    // A power of two changes nothing but the exponent.
    let doubled: Vec<f64> = y.iter().map(|v| v * 1024.0).collect();
    let config = AutoArimaConfig { season: 12, ..AutoArimaConfig::default() };
    let (a, b) = (auto_arima(&y, &config).unwrap(), auto_arima(&doubled, &config).unwrap());
    assert_eq!(a.diagnostics().form, b.diagnostics().form);
    assert!(a.predict(12).mean.iter().zip(b.predict(12).mean).all(|(x, z)| x * 1024.0 == z));
}

#[test]
fn constants_follow_the_request() {
    let y = air();
    let fit = |text: &str, constant| fit_arima(&y, &text.parse().unwrap(), constant).unwrap();
    let names = |fit: &dyn Fitted| fit.diagnostics().params.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(fit("1,0,1", Constant::Auto).as_ref()), "ar1 ma1 mean");
    assert_eq!(names(fit("1,0,1", Constant::None).as_ref()), "ar1 ma1");
    assert_eq!(names(fit("0,1,1", Constant::Auto).as_ref()), "ma1");
    let drift = fit("0,1,0", Constant::Include);
    assert_eq!(drift.diagnostics().form, "ARIMA(0,1,0) with drift");
    // A random walk's drift is the mean step; its forecasts go on by it.
    let step = (y[143] - y[0]) / 143.0;
    assert!((param(drift.as_ref(), "drift") - step).abs() < 1e-10);
    let p = drift.predict(3);
    assert!(p.mean.iter().zip(1..).all(|(v, h)| (v - (y[143] + step * f64::from(h))).abs() < 1e-9));
    // Under a seasonal difference the drift is still per step.
    let seasonal = fit("0,0,0,0,1,0,12", Constant::Include);
    let yearly = (12..144).map(|t| y[t] - y[t - 12]).sum::<f64>() / 132.0;
    assert!((param(seasonal.as_ref(), "drift") - yearly / 12.0).abs() < 1e-10);
    assert_eq!(seasonal.diagnostics().form, "ARIMA(0,0,0)(0,1,0)[12] with drift");
}

#[test]
fn spreads_in_closed_form() {
    let y = noise(300, 11);
    // Random walk: σ sqrt(h). Seasonal random walk: σ sqrt(floor((h-1)/m) + 1). AR(1): σ² Σ φ^{2i}.
    let sd = |text: &str, h: usize| {
        let fit = fit_arima(&y, &text.parse().unwrap(), Constant::None).unwrap();
        let Spread::Normal(sd) = fit.predict(h).spread else { panic!() };
        (sd, fit.diagnostics().sigma2.unwrap().sqrt(), fit)
    };
    let (walk, sigma, _) = sd("0,1,0", 9);
    assert!(walk.iter().zip(1..).all(|(s, h)| (s - sigma * f64::from(h).sqrt()).abs() < 1e-12));
    let (seasonal, sigma, _) = sd("0,0,0,0,1,0,4", 12);
    assert!(seasonal.iter().enumerate().all(|(i, s)| (s - sigma * ((i / 4 + 1) as f64).sqrt()).abs() < 1e-12));
    let (ar, sigma, fit) = sd("1,0,0", 6);
    let phi = param(fit.as_ref(), "ar1");
    for (h, s) in ar.iter().enumerate() {
        let variance: f64 = (0..=h).map(|i| phi.powi(2 * i as i32)).sum();
        assert!((s - sigma * variance.sqrt()).abs() < 1e-12);
    }
}

#[test]
fn residuals_are_one_step_errors_and_apply_reestimates_nothing() {
    let y = air();
    let fit = fit_arima(&y[..132], &"2,1,1,0,1,0,12".parse().unwrap(), Constant::None).unwrap();
    let longer = fit.apply(&y).unwrap();
    assert_eq!(longer.residuals().len(), 144);
    assert!(fit.residuals()[..13].iter().all(|r| r.is_nan()) && longer.residuals()[13].is_finite());
    // The old part is the same, the first new residual is the error of the old one-step forecast.
    let old = fit.residuals()[13..].iter().zip(&longer.residuals()[13..]);
    assert!(old.clone().count() == 119 && old.clone().all(|(a, b)| (a - b).abs() < 1e-9));
    let forecast = fit.predict(1).mean[0];
    assert!((y[132] - forecast - longer.residuals()[132]).abs() < 1e-9);
    assert_eq!(format!("{:?}", fit.diagnostics()), format!("{:?}", longer.diagnostics()));
    assert!(matches!(fit.apply(&y[..13]), Err(FitError::TooShort { need: 14, got: 13 })));
    let mut broken = y.clone();
    broken[3] = f64::INFINITY;
    assert!(matches!(fit.apply(&broken), Err(FitError::NonFinite { index: 4, .. })));
}

#[test]
fn over_differenced_noise_reaches_the_unit_circle() {
    // (1 - B) of white noise with n = 60: the exact likelihood has its maximum at or next to θ = -1.
    let y = noise(61, 21);
    let fit = fit_arima(&y, &"0,1,1".parse().unwrap(), Constant::None).unwrap();
    assert!(param(fit.as_ref(), "ma1") <= -0.95, "{:?}", fit.diagnostics());
    // There the forecast is the mean of the data, nearly.
    let mean = y.iter().sum::<f64>() / 61.0;
    assert!((fit.predict(1).mean[0] - mean).abs() < 0.2);
}

#[test]
fn search_finds_the_generating_orders() {
    // AR(2) with strong roots and little noise in the criterion: n = 400.
    let e = noise(500, 31);
    let mut w = vec![0.0; 500];
    for t in 2..500 {
        w[t] = 1.2 * w[t - 1] - 0.6 * w[t - 2] + e[t];
    }
    let fit = auto_arima(&w[100..], &AutoArimaConfig::default()).unwrap();
    let d = fit.diagnostics();
    assert!(d.form.starts_with("ARIMA(2,0,") && (param(fit.as_ref(), "ar1") - 1.2).abs() < 0.15, "{d:?}");
    // The full search within p + q <= 3 cannot beat the wider stepwise search.
    let full = AutoArimaConfig { stepwise: false, max_order: 3, ..AutoArimaConfig::default() };
    let other = auto_arima(&w[100..], &full).unwrap();
    assert!(d.aicc.unwrap() <= other.diagnostics().aicc.unwrap() + 1e-6);
}

#[test]
fn long_series_take_the_approximate_search() {
    // 3000 values, m = 24: beyond the threshold of the exact search.
    let e = noise(3000, 41);
    let mut y = vec![0.0; 3000];
    for t in 0..3000 {
        let back = |v: &[f64], lag: usize| if t >= lag { v[t - lag] } else { 0.0 };
        y[t] = back(&y, 24) + e[t] + 0.5 * back(&e, 1) - 0.6 * back(&e, 24) - 0.3 * back(&e, 25);
    }
    let fit = auto_arima(&y, &AutoArimaConfig { season: 24, ..AutoArimaConfig::default() }).unwrap();
    let truth = fit_arima(&y, &"0,0,1,0,1,1,24".parse().unwrap(), Constant::None).unwrap();
    assert!(fit.diagnostics().form.contains(",1,"), "{:?}", fit.diagnostics());
    // Standard errors are near 0.02.
    assert!((param(truth.as_ref(), "ma1") - 0.5).abs() < 0.08 && (param(truth.as_ref(), "sma1") + 0.6).abs() < 0.08);
    assert!(fit.diagnostics().aicc.unwrap() <= truth.diagnostics().aicc.unwrap() + 2.0);
}
