//! `forecast predict`: layouts, formats, panels, robustness.

use super::support::{air, num, ok, ok_with, rows, run_with, shoal, temp, write};

/// Every model that stands alone.
const MODELS: &str = "naive,seasonal-naive,mean,window-average,drift,ses,holt,holt-winters,ets:MAM,auto-ets,theta,opt-theta,dyn-theta,\
dyn-opt-theta,auto-theta,arima:1,1,1,auto-arima,croston,sba,tsb,adida,linear,dlinear,nlinear,rlinear";

#[test]
fn the_pipeline_of_the_readme() {
    let out = ok_with("forecast predict -m auto-ets -H 12 --level 80,95 -q", air(144));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("unique_id,ds,model,mean,lo-80,hi-80,lo-95,hi-95"));
    assert!(
        lines.next().is_some_and(|l| l.starts_with("1.0,1961-01-31,auto-ets,") || l.starts_with("AirPassengers,1961-01-31,")),
        "{out}"
    );
    assert_eq!(out.lines().count(), 13);
    for r in rows(&out) {
        let v = ["lo-95", "lo-80", "mean", "hi-80", "hi-95"].map(|c| num(&r, c));
        assert!(v.windows(2).all(|w| w[0] < w[1]), "{r:?}");
    }
}

#[test]
fn wide_and_long_agree() {
    let mut wide = String::from("date,a,b\n");
    let mut long = String::from("unique_id,ds,y\n");
    for id in ["a", "b"] {
        for t in 0..40 {
            let v = if id == "a" { t } else { 100 - t * 2 % 17 };
            long += &format!("{id},2024-{:02}-{:02},{v}\n", 1 + t / 28, 1 + t % 28);
        }
    }
    for t in 0..40 {
        wide += &format!("2024-{:02}-{:02},{t},{}\n", 1 + t / 28, 1 + t % 28, 100 - t * 2 % 17);
    }
    let line = "forecast predict -m drift,theta -H 3 --season 1 --allow-gaps --freq d -q";
    assert_eq!(ok_with(line, wide), ok_with(line, long));
}

#[test]
fn parquet_in_and_out() {
    let dir = temp();
    let csv = write(&dir, "air.csv", air(144));
    let parquet = dir.path().join("f.parquet");
    ok(&format!("forecast predict {csv} -m ets:AAA,naive -H 6 --level 90 -o {} -q", parquet.display()));
    let text = ok(&format!("forecast predict {csv} -m ets:AAA,naive -H 6 --level 90 -q"));
    // A forecast table is itself a long table: read it back as data.
    let back = ok(&format!(
        "forecast predict {} -m naive --time-col ds --id-col model --target-col mean -H 1 --season 1 -q",
        parquet.display()
    ));
    let last = rows(&text).into_iter().rfind(|r| r["model"] == "naive").unwrap();
    let got = rows(&back).into_iter().find(|r| r["unique_id"] == "naive").unwrap();
    assert_eq!(num(&got, "mean"), num(&last, "mean"));
    assert_eq!(got["ds"], "1961-07-31");
}

#[test]
fn a_panel_of_two_thousand_series_is_the_same_at_any_thread_count() {
    let mut csv = String::from("unique_id,ds,y\n");
    for s in 0..2000 {
        for t in 0..(24 + s % 13) {
            csv += &format!("id{s},{t},{}\n", 10 + s % 7 + (t * (1 + s % 3)) % 12);
        }
    }
    let line = "forecast predict -m auto-ets,auto-theta,nlinear -H 4 -L 8 --season 12 --level 80 --intervals conformal --calib-windows 2 -q";
    let one = ok_with(&format!("{line} --threads 1"), csv.as_str());
    let two = ok_with(&format!("{line} --threads 2"), csv.as_str());
    assert!(one == two, "results depend on the number of threads");
    assert_eq!(one.lines().count(), 1 + 2000 * 3 * 4);
}

#[test]
fn odd_series_get_an_answer_or_a_clear_error() {
    let cases: Vec<(&str, Vec<f64>)> = vec![
        ("one", vec![5.0]),
        ("two", vec![5.0, 6.0]),
        ("three", vec![5.0, 6.0, 4.0]),
        ("constant", vec![7.0; 30]),
        ("zeros", vec![0.0; 30]),
        ("line", (0..30).map(f64::from).collect()),
        ("pattern", (0..48).map(|t| f64::from(t % 4)).collect()),
        ("intermittent", (0..40).map(|t| if t % 7 == 3 { f64::from(t % 5 + 1) } else { 0.0 }).collect()),
        ("last-only", (0..30).map(|t| if t == 29 { 4.0 } else { 0.0 }).collect()),
        ("negative", (0..40).map(|t| f64::from(t % 9) - 20.0).collect()),
        ("huge", (0..40).map(|t| 1e12 * (1.0 + f64::from(t * t % 11))).collect()),
        ("enormous", (0..40).map(|t| 1e150 * (1.0 + f64::from(t * t % 11))).collect()),
        ("tiny", (0..40).map(|t| 1e-9 * (1.0 + f64::from(t * t % 11))).collect()),
        ("outlier", (0..40).map(|t| if t == 20 { 1e9 } else { f64::from(t % 3) }).collect()),
        ("exponential", (0..40).map(|t| 1.5f64.powi(t)).collect()),
        ("step", (0..40).map(|t| if t < 20 { 1.0 } else { 1000.0 }).collect()),
    ];
    let mut csv = String::from("unique_id,ds,y\n");
    for (name, y) in &cases {
        for (t, v) in y.iter().enumerate() {
            csv += &format!("{name},{t},{v}\n");
        }
    }
    for season in ["", " --season 1"] {
        let out = ok_with(&format!("forecast predict -m {MODELS} -H 8 -L 6 -q{season}"), csv.as_str());
        let got = rows(&out);
        assert_eq!(got.len(), cases.len() * 25 * 8);
        for r in &got {
            let (v, y) = (num(r, "mean"), &cases.iter().find(|c| c.0 == r["unique_id"]).unwrap().1);
            let (lo, hi) = y.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            let room = 300.0 * (hi - lo).max(hi.abs()).max(1e-300);
            assert!(v.is_finite() && v >= lo - room && v <= hi + room, "{r:?}");
            if r["unique_id"] == "constant" && r["model"] != "mean" {
                assert!((v - 7.0).abs() < 1e-6 || ["croston", "sba", "tsb"].contains(&r["model"].as_str()), "{r:?}");
            }
        }
        // A fallback is visible.
        let one = got.iter().find(|r| r["unique_id"] == "one" && r["model"] == "holt").unwrap();
        assert!(one["fallback"].contains("observations") && num(one, "mean") == 5.0, "{one:?}");
        let negative = got.iter().find(|r| r["unique_id"] == "negative" && r["model"] == "ets:MAM").unwrap();
        assert!(!negative["fallback"].is_empty(), "{negative:?}");
    }
    // Intervals do not explode either: a spike at the very end once gave bounds of 1e46.
    let spike: String = (0..41).map(|t| format!("{t},{}\n", if t == 40 { 1e5 } else { 10.0 + f64::from(t * 7 % 5) })).collect();
    let line = "forecast predict -m auto-ets,auto-arima,auto-theta -H 24 --season 1 --level 80,95 -q";
    for r in rows(&ok_with(line, format!("ds,y\n{spike}"))) {
        assert!(num(&r, "lo-95") > -1e9 && num(&r, "hi-95") < 1e9, "{r:?}");
    }
    let (code, out, err) = run_with("forecast predict -m holt -H 2 --strict", "ds,y\n1,5\n");
    assert!(code == 4 && out.is_empty() && err.contains("holt"), "{err}");
}

#[test]
fn missing_values_and_gaps() {
    let holed = "ds,y\n2024-01-01,1\n2024-01-02,\n2024-01-04,4\n2024-01-05,5\n";
    let (code, out, err) = run_with("forecast predict -m naive -H 1", holed);
    assert!(code == 2 && out.is_empty() && err.contains("--impute"), "{err}");
    let got = rows(&ok_with("forecast predict -m mean -H 1 --season 1 --impute linear -q", holed));
    assert_eq!((got[0]["ds"].as_str(), num(&got[0], "mean")), ("2024-01-06", 3.0));
}

#[test]
fn one_json_object() {
    let out = ok_with("forecast predict -m auto-ets -H 2 --level 80 --json -q", air(144));
    let v: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(v["forecasts"].as_array().map(Vec::len), Some(2));
    assert!(v["fits"][0]["form"].as_str().is_some_and(|f| f.starts_with("ETS(")), "{v}");
    assert_eq!(v["config"]["horizon"], 2);
}

#[test]
fn pictures() {
    let dir = temp();
    for name in ["p.svg", "p.png"] {
        let path = dir.path().join(name);
        ok_with(&format!("forecast predict -m auto-ets,naive -H 12 --level 80,95 -q --plot {}", path.display()), air(144));
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.starts_with(if name.ends_with("svg") { b"<svg" } else { b"\x89PNG" }));
    }
    let (code, _, err) = run_with("forecast predict -m naive -H 1 --plot p.jpg", air(144));
    assert!(code == 2 && err.contains(".svg or .png"), "{err}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let binary = shoal().get_program().to_string_lossy().into_owned();
    let dir = temp();
    let mut csv = String::from("unique_id,ds,y\n");
    for s in 0..300 {
        for t in 0..10 {
            csv += &format!("id{s},{t},{t}\n");
        }
    }
    let f = write(&dir, "p.csv", csv);
    let script = format!("set -o pipefail; {binary} forecast predict {f} -m naive -H 200 | head -3");
    let out = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(out.status.success() && out.stdout.iter().filter(|b| **b == b'\n').count() == 3);
    assert!(!String::from_utf8_lossy(&out.stderr).contains("error"), "{:?}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn stdout_by_name_is_added_to_not_replaced() {
    let binary = shoal().get_program().to_string_lossy().into_owned();
    let dir = temp();
    let f = write(&dir, "a.csv", air(24));
    let log = dir.path().join("log");
    let script = format!(
        "(echo first; {binary} forecast predict {f} -m naive -H 1 -q -o /dev/stdout; {binary} forecast predict {f} -m naive -H 1 -q -o -; echo last) > {}",
        log.display()
    );
    assert!(std::process::Command::new("bash").args(["-c", &script]).status().unwrap().success());
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.starts_with("first\n") && text.ends_with("last\n") && text.lines().count() == 6, "{text}");
}

#[test]
fn a_short_series_does_not_stop_a_panel() {
    let mut csv = String::from("unique_id,ds,y\n");
    for t in 0..60 {
        csv += &format!("long,{t},{}\n", 10 + t % 12);
    }
    csv += "short,0,1\nshort,1,2\nshort,2,3\n";
    let got = rows(&ok_with("forecast predict -m theta -H 6 --season 12 --conformal split --level 50 -q", csv.as_str()));
    assert_eq!(got.len(), 12);
    assert!(got.iter().all(|r| r["unique_id"] == "long" || r["lo-50"].is_empty()), "too short to calibrate: no interval");
    let got = rows(&ok_with("forecast backtest -m naive -H 6 --season 12 --windows 2 -q", csv.as_str()));
    assert!(got.len() == 2 && got.iter().all(|r| r["unique_id"] == "long"), "{got:?}");
}

#[test]
fn models_take_the_season_they_can() {
    // Six weeks of hours with a daily cycle and quiet weekends: the week is found, and automatic ETS takes the day instead.
    let mut csv = String::from("ds,y\n");
    for t in 0..(24 * 42) {
        let day =
            chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap() + chrono::TimeDelta::hours(t);
        let level = if (t / 24) % 7 >= 5 { 20.0 } else { 60.0 };
        csv += &format!(
            "{},{}\n",
            day.format("%Y-%m-%d %H:%M:%S"),
            level + 10.0 * (t as f64 / 24.0 * std::f64::consts::TAU).sin() + f64::from((t * 7919 % 13) as i32)
        );
    }
    let dir = temp();
    let fits = dir.path().join("fits.csv");
    let (code, _, err) =
        run_with(&format!("forecast predict -m auto-ets,seasonal-naive -H 2 --fits {}", fits.display()), csv.as_str());
    assert_eq!(code, 0, "{err}");
    let got = rows(&std::fs::read_to_string(fits).unwrap());
    assert_eq!(got.iter().map(|r| r["season"].as_str()).collect::<Vec<_>>(), ["24", "168"]);
    assert!(err.contains("auto-ets cannot take the season of 168"), "{err}");
}
