//! Published and independently computed numbers of the classical models, through the binary.

use super::support::{air, num, ok_with, rows, temp, testdata};
use std::collections::BTreeMap;

fn fits(line: &str, stdin: String) -> Vec<BTreeMap<String, String>> {
    let dir = temp();
    let path = dir.path().join("fits.csv");
    ok_with(&format!("{line} --fits {} -q", path.display()), stdin);
    rows(&std::fs::read_to_string(path).unwrap())
}

fn means(line: &str, stdin: String) -> Vec<f64> {
    rows(&ok_with(&format!("{line} -q"), stdin)).iter().map(|r| num(r, "mean")).collect()
}

fn param(fit: &BTreeMap<String, String>, name: &str) -> f64 {
    let prefix = format!("{name}=");
    let word = fit["params"].split(' ').find_map(|w| w.strip_prefix(&prefix).map(str::to_string));
    word.unwrap_or_else(|| panic!("no parameter {name} in {}", fit["params"])).parse().unwrap()
}

/// log of AirPassengers as CSV.
fn log_air() -> String {
    let mut out = String::from("unique_id,ds,y\n");
    for r in rows(&air(144)) {
        out += &format!("air,{},{}\n", r["ds"], num(&r, "y").ln());
    }
    out
}

#[test]
fn ets_reaches_the_optimum_on_air_passengers() {
    let fit = fits("forecast predict -m auto-ets -H 3", air(144));
    assert!(num(&fit[0], "aicc") <= 1390.84 + 0.5, "{fit:?}");
    // The least AICc known of each form (maxima of the likelihood found by other programs): ours may only be lower, up to the
    // last printed digit.
    for (form, aicc) in
        [("MAM", 1390.84), ("MAdM", 1399.705), ("MNM", 1401.940), ("AAA", 1475.824), ("ANN", 1733.958), ("MAN", 1673.4115)]
    {
        let fit = fits(&format!("forecast predict -m ets:{form} -H 3"), air(144));
        assert!(num(&fit[0], "aicc") <= aicc + 5e-3, "{form}: {fit:?}");
        assert_eq!(fit[0]["converged"], "true", "{form}");
    }
    let mam = fits("forecast predict -m ets:MAM -H 3", air(144));
    assert!(num(&mam[0], "loglik") >= -675.989 - 5e-4, "{mam:?}");
    // Forecasts at the optimum of the likelihood, which is flat: to 0.1 %.
    for (got, want) in means("forecast predict -m ets:MAM -H 3", air(144)).iter().zip([442.77, 435.90, 498.82]) {
        assert!((got / want - 1.0).abs() < 1e-3, "{got} against {want}");
    }
}

#[test]
fn arima_reaches_the_optimum() {
    let fit = fits("forecast predict -m arima:0,1,1,0,1,1,12 -H 3", log_air());
    assert!(num(&fit[0], "loglik") >= 244.6957, "{fit:?}");
    // Printed to six digits; the optimum is found to about 1e-5 in the parameters.
    for (name, want, tol) in [("ma1", -0.401823, 2e-4), ("sma1", -0.556937, 2e-4)] {
        assert!((param(&fit[0], name) - want).abs() < tol, "{name}: {fit:?}");
    }
    assert!((num(&fit[0], "sigma2") / 0.001_348_10 - 1.0).abs() < 1e-3, "{fit:?}");
    assert!((num(&fit[0], "aicc") + 483.203997).abs() < 2e-3, "{fit:?}");
    for (got, want) in
        means("forecast predict -m arima:0,1,1,0,1,1,12 -H 3", log_air()).iter().zip([6.110186, 6.053775, 6.171714])
    {
        assert!((got - want).abs() < 1e-4, "{got} against {want}");
    }
    let nile = std::fs::read_to_string(testdata("classic/nile.csv")).unwrap();
    let fit = fits("forecast predict -m arima:1,1,1 -H 3 --season 1", nile);
    assert!(num(&fit[0], "loglik") >= -630.627383 - 1e-5, "{fit:?}");
    assert!((param(&fit[0], "ar1") - 0.254373).abs() < 1e-3 && (param(&fit[0], "ma1") + 0.874136).abs() < 1e-3, "{fit:?}");
    assert!((num(&fit[0], "sigma2") / 19769.2 - 1.0).abs() < 1e-3, "{fit:?}");
}

#[test]
fn auto_arima_is_at_least_as_good_as_the_rivals() {
    let fit = fits("forecast predict -m auto-arima -H 3", air(144));
    assert!(num(&fit[0], "aicc") <= 1020.488 + 1e-3, "{fit:?}");
}

#[test]
fn theta_family() {
    let anchors = [
        ("theta", [411.370264, 402.274687, 462.882814]),
        ("dyn-opt-theta", [412.697645, 404.638583, 466.829101]),
        ("opt-theta", [412.711879, 404.640500, 466.810896]),
        ("auto-theta", [412.711879, 404.640500, 466.810896]),
    ];
    for (model, want) in anchors {
        for (got, want) in means(&format!("forecast predict -m {model} -H 3 --season 12"), air(132)).iter().zip(want) {
            assert!((got / want - 1.0).abs() < 5e-3, "{model}: {got} against {want}");
        }
    }
}

#[test]
fn naive_intervals() {
    // Printed to six decimals.
    let row = &rows(&ok_with("forecast predict -m naive -H 12 --level 95 -q", air(132)))[0];
    assert!((num(row, "lo-95") - 343.590156).abs() < 2e-6 && (num(row, "hi-95") - 466.409844).abs() < 2e-6, "{row:?}");
    let row = &rows(&ok_with("forecast predict -m seasonal-naive --season 12 -H 12 --level 80 -q", air(132)))[0];
    assert!((num(row, "lo-80") - 315.724604).abs() < 2e-6 && (num(row, "hi-80") - 404.275396).abs() < 2e-6, "{row:?}");
}

#[test]
fn conformal_distribution() {
    let line = "forecast predict -m seasonal-naive --season 12 -H 12 --intervals conformal --conformal distribution --calib-windows 3 --level 80,95 -q";
    let got = rows(&ok_with(line, air(132)));
    // Quarters of whole numbers: exact.
    let want = [("lo-95", 329.75), ("hi-95", 390.25), ("lo-80", 332.0), ("hi-80", 388.0)];
    for (column, want) in want {
        assert_eq!(num(&got[0], column), want, "{column}");
    }
    assert_eq!((num(&got[1], "lo-95"), num(&got[1], "hi-95")), (318.0, 366.0));
}

#[test]
fn drift_by_hand() {
    let csv = "ds,y\n1,3\n2,5\n3,4\n4,6\n5,7\n6,6\n7,8\n8,9\n";
    let got = means("forecast predict -m drift -H 3 --season 1", csv.into());
    for (k, v) in got.iter().enumerate() {
        assert!((v - (9.0 + (k + 1) as f64 * 6.0 / 7.0)).abs() < 1e-12);
    }
}
