//! Rolling-origin evaluation.

use super::support::{air, num, ok, ok_with, rows, run_with, temp, testdata, write};

const LINE: &str = "forecast backtest -m seasonal-naive --season 12 -H 12 --step 12 --windows 3 -q";

#[test]
fn seasonal_naive_on_air_passengers() {
    let got = rows(&ok_with(LINE, air(144)));
    assert_eq!(got.iter().map(|r| r["cutoff"].as_str()).collect::<Vec<_>>(), ["1957-12-31", "1958-12-31", "1959-12-31"]);
    // Printed to six decimals.
    let want = [(289.416667, 12.583333, 3.220064), (2426.0, 47.333333, 11.761417), (2571.333333, 47.833333, 10.571808)];
    for (row, (mse, mae, smape)) in got.iter().zip(want) {
        assert!(
            (num(row, "mse") - mse).abs() < 1e-6
                && (num(row, "mae") - mae).abs() < 1e-6
                && (num(row, "smape") - smape).abs() < 1e-6,
            "{row:?}"
        );
    }
    let mean_mase = got.iter().map(|r| num(r, "mase")).sum::<f64>() / 3.0;
    assert!((mean_mase - 1.212993).abs() < 1e-6, "{mean_mase}");
    let overall = rows(&ok_with(&format!("{LINE} --by model"), air(144)));
    assert!((num(&overall[0], "mase") - mean_mase).abs() < 1e-12, "equal windows: the flat mean is the mean of means");
}

#[test]
fn forecasts_are_kept_with_truth_and_cutoff() {
    let dir = temp();
    let path = dir.path().join("f.csv");
    let line = format!("{LINE} --level 80 --forecasts {}", path.display());
    ok_with(&line, air(144));
    let got = rows(&std::fs::read_to_string(path).unwrap());
    assert_eq!(got.len(), 36);
    assert_eq!((got[0]["cutoff"].as_str(), got[0]["ds"].as_str(), got[0]["y"].as_str()), ("1957-12-31", "1958-01-31", "340"));
    assert!(num(&got[0], "lo-80") < num(&got[0], "mean") && num(&got[0], "mean") < num(&got[0], "hi-80"));
}

#[test]
fn refit_policies() {
    let line = |refit: &str| format!("forecast backtest -m ets:ANN,drift,theta -H 2 --step 1 --windows 6 --refit {refit} -q");
    let every = ok_with(&line("every"), air(60));
    assert_eq!(every, ok_with(&line("1"), air(60)));
    let never = ok_with(&line("never"), air(60));
    assert_eq!(never, ok_with(&line("6"), air(60)));
    assert_ne!(every, never);
    // The first cutoff is fitted under every policy.
    let first = |csv: &str| rows(csv).into_iter().filter(|r| r["cutoff"] == "1953-05-31").collect::<Vec<_>>();
    assert_eq!(first(&every), first(&never));
    assert_eq!(first(&every).len(), 3);
}

#[test]
fn groups_agree_with_each_other() {
    let dir = temp();
    let mut csv = String::from("unique_id,ds,y\n");
    for s in 0..5 {
        for t in 0..60 - s {
            csv += &format!("s{s},{},{}\n", t + 1, 20 + s * 3 + (t * (s + 2)) % 7);
        }
    }
    let f = write(&dir, "panel.csv", csv);
    let line = |by: &str| format!("forecast backtest {f} -m naive,window-average:4,nlinear -H 4 --windows 3 -L 8 --by {by} -q");
    let by = |keys: &str| rows(&ok(&line(keys)));
    let overall = by("model");
    assert_eq!(overall.len(), 3);
    for keys in ["series", "step", "series,cutoff", "series,step"] {
        for o in &overall {
            let rows: Vec<_> = by(keys).into_iter().filter(|r| r["model"] == o["model"]).collect();
            // Every series has the same number of elements, so groups of `series`, `step` and `series,cutoff` have equal weight.
            let mean = rows.iter().map(|r| num(r, "mse")).sum::<f64>() / rows.len() as f64;
            assert!((mean / num(o, "mse") - 1.0).abs() < 1e-12, "{keys}");
        }
    }
}

#[test]
fn probabilistic_metrics_and_owa() {
    let line = "forecast backtest -m ets:MAM,seasonal-naive --season 12 -H 6 --windows 4 --level 80,95 --quantiles 0.5 --metrics coverage,width,pinball,wql,crps,owa --by model -q";
    let got = rows(&ok_with(line, air(144)));
    for r in &got {
        assert!((0.0..=1.0).contains(&num(r, "coverage-80")) && num(r, "width-95") > num(r, "width-80"), "{r:?}");
        assert!((num(r, "crps") - 2.0 * num(r, "pinball")).abs() < 1e-12);
    }
    assert!(num(&got[0], "owa") < num(&got[1], "owa"), "ETS beats seasonal naive here: {got:?}");
}

#[test]
fn a_bound_that_is_also_a_quantile_counts_once() {
    let line = |more: &str| {
        format!("forecast backtest -m naive -H 6 --windows 1 --quantiles 0.1,0.5,0.9 --metrics pinball --by model -q {more}")
    };
    let pinball = |more: &str| num(&rows(&ok_with(&line(more), air(144)))[0], "pinball");
    // The bounds are 0.5 ± 0.4 in floating point, so the quantiles may differ in the last digits.
    assert!((pinball("") / pinball("--level 80") - 1.0).abs() < 1e-12);
}

#[test]
fn conformal_intervals_cover() {
    let line = "forecast backtest -m naive --season 1 -H 3 --step 3 --windows 20 --intervals conformal --conformal split --calib-windows 9 --level 80 --by model -q";
    let nile = std::fs::read_to_string(testdata("classic/nile.csv")).unwrap();
    let got = rows(&ok_with(line, nile));
    // 60 dependent outcomes of probability 0.8: five standard errors with an effective sample of 20 is 0.45 wide below.
    assert!(num(&got[0], "coverage-80") > 0.35, "{got:?}");
}

#[test]
fn mistakes() {
    for (line, needle) in [
        ("forecast backtest -m naive -H 12 --windows 20", "lower --windows"),
        ("forecast backtest -m naive -H 12 --refit sometimes", "every, never"),
        ("forecast backtest -m naive -H 12 --metrics crps", "needs --level or --quantiles"),
        ("forecast backtest -m naive -H 12 --metrics rmsee", "unknown metric"),
        ("forecast backtest -m croston -H 3 --level 80", "--intervals conformal"),
        ("forecast backtest -m naive -H 12 --by model,step", "stands alone"),
        ("forecast backtest -m naive -H 12 --assert mape9<=1", "no metric"),
        ("forecast backtest -m naive", "-H/--horizon is missing"),
        ("forecast backtest -m naive -H 12 --windows 3 --intervals conformal --calib-windows 40", "lower --calib-windows"),
    ] {
        let (code, out, err) = run_with(line, air(144));
        assert!(code == 2 && out.is_empty() && err.contains(needle), "{line}\n{code}: {err}");
    }
}
