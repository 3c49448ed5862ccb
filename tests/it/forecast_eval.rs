//! The train/validation/test protocol against the numbers that were computed independently in float64.

use super::support::{num, ok, rows, run, shared, temp, write};

/// (mse, mae) of every model of one run, in order.
fn scores(line: &str) -> Vec<(String, f64, f64)> {
    rows(&ok(line)).iter().map(|r| (r["model"].clone(), num(r, "mse"), num(r, "mae"))).collect()
}

/// The naive forecasts are exact (1e-6: the anchors' printed digits); least squares to 1e-4 (ill-conditioned normal equations).
fn expect(line: &str, anchors: &[(&str, f64, f64)]) {
    let got = scores(line);
    assert_eq!(got.len(), anchors.len(), "{line}");
    for ((model, mse, mae), (name, want_mse, want_mae)) in got.iter().zip(anchors) {
        assert_eq!(model, name);
        let tol = if name.contains("naive") { 1e-6 } else { 1e-4 };
        assert!(
            (mse - want_mse).abs() <= tol && (mae - want_mae).abs() <= tol,
            "{line}\n{name}: {mse}/{mae}, expected {want_mse}/{want_mae}"
        );
    }
}

#[test]
fn etth1() {
    let Some(f) = shared("ett-small/ETTh1.csv") else { return };
    expect(
        &format!("forecast eval {f} --preset etth1 -m naive,seasonal-naive,linear,nlinear -H 96 -q"),
        &[
            ("naive", 1.294371, 0.713181),
            ("seasonal-naive", 0.512225, 0.433303),
            ("linear", 0.381480, 0.392967),
            ("nlinear", 0.383270, 0.391696),
        ],
    );
    expect(
        &format!("forecast eval {f} --preset etth1 -m naive,seasonal-naive,linear,nlinear -H 336 -q"),
        &[
            ("naive", 1.329927, 0.745972),
            ("seasonal-naive", 0.649914, 0.500762),
            ("linear", 0.475389, 0.450626),
            ("nlinear", 0.475582, 0.442576),
        ],
    );
    expect(
        &format!("forecast eval {f} --preset etth1 -m naive,linear,nlinear,dlinear -L 336 -H 96 -q"),
        &[
            ("naive", 1.294371, 0.713181),
            ("linear", 0.370235, 0.391538),
            ("nlinear", 0.370199, 0.391506),
            ("dlinear", 0.370235, 0.391538),
        ],
    );
    // H = 720 of the published comparison: nlinear 0.4697.
    let got = scores(&format!("forecast eval {f} --preset etth1 -m nlinear -H 720 -q"));
    assert!((got[0].1 - 0.4697).abs() <= 1e-4, "{got:?}");
}

#[test]
fn etth2() {
    let Some(f) = shared("ett-small/ETTh2.csv") else { return };
    expect(
        &format!("forecast eval {f} --preset etth2 -m naive,seasonal-naive,linear,nlinear -H 96 -q"),
        &[
            ("naive", 0.431657, 0.421621),
            ("seasonal-naive", 0.390518, 0.380203),
            ("linear", 0.340544, 0.393364),
            ("nlinear", 0.288994, 0.337805),
        ],
    );
    expect(
        &format!("forecast eval {f} --preset etth2 -m naive,seasonal-naive,linear,nlinear -H 720 -q"),
        &[
            ("naive", 0.594472, 0.518991),
            ("seasonal-naive", 0.525465, 0.473918),
            ("linear", 0.810461, 0.648030),
            ("nlinear", 0.418914, 0.441581),
        ],
    );
}

#[test]
fn exchange_and_illness() {
    if let Some(f) = shared("exchange-rate/exchange_rate.csv") {
        expect(
            &format!("forecast eval {f} --preset exchange -m naive,seasonal-naive,linear,nlinear -H 96 -q"),
            &[
                ("naive", 0.081126, 0.196357),
                ("seasonal-naive", 0.086209, 0.204812),
                ("linear", 0.080246, 0.202160),
                ("nlinear", 0.083295, 0.198620),
            ],
        );
    }
    let Some(f) = shared("ili/national_illness.csv") else { return };
    expect(
        &format!("forecast eval {f} --preset illness -m naive,seasonal-naive,linear,nlinear -H 24 -q"),
        &[
            ("naive", 6.213324, 1.622231),
            ("seasonal-naive", 2.563768, 1.004200),
            ("linear", 2.195228, 1.023782),
            ("nlinear", 1.958545, 0.904224),
        ],
    );
}

#[test]
fn the_published_repeat_rows_drop_the_last_batch() {
    let Some(f) = shared("ili/national_illness.csv") else { return };
    let full = [(24, 6.213324, 1.622231), (36, 7.713822, 1.905885), (48, 7.851275, 1.952149), (60, 6.884904, 1.788430)];
    let published = [(24, 6.587, 1.701), (36, 7.130, 1.884), (48, 6.575, 1.798), (60, 5.893, 1.677)];
    let line = format!("forecast eval {f} --preset illness -m naive -q");
    // The second set is printed to three digits.
    for (compat, anchors, tol) in [("", full, 1e-6), (" --compat drop-last=32", published, 5e-4)] {
        let got = rows(&ok(&format!("{line}{compat}")));
        for (row, (h, mse, mae)) in got.iter().zip(anchors) {
            assert_eq!(row["horizon"], h.to_string());
            assert!((num(row, "mse") - mse).abs() <= tol && (num(row, "mae") - mae).abs() <= tol, "{row:?}");
        }
    }
}

#[test]
fn the_scaler_of_etth1() {
    let Some(f) = shared("ett-small/ETTh1.csv") else { return };
    let source = shoal::table::Source::open(&f).unwrap();
    let panel = shoal::table::read_panel(&[source], &Default::default()).unwrap();
    let mean = [7.937742, 2.021039, 5.079771, 0.746186, 2.781762, 0.788453, 17.128262];
    let sd = [5.812749, 2.090105, 5.518794, 1.926379, 1.023523, 0.630237, 9.176491];
    for ((s, m), d) in panel.series.iter().zip(mean).zip(sd) {
        let got = shoal::forecast::engine::standard_scale(&s.y[..8640]);
        // Printed to six decimals.
        assert!((got.0 - m).abs() < 6e-7 && (got.1 - d).abs() < 6e-7, "{}: {got:?}", s.id);
    }
}

#[test]
fn window_counts() {
    if let Some(f) = shared("ett-small/ETTh1.csv") {
        let got = rows(&ok(&format!("forecast eval {f} --preset etth1 -m naive -q")));
        assert_eq!(got.iter().map(|r| r["n_windows"].as_str()).collect::<Vec<_>>(), ["2785", "2689", "2545", "2161"]);
    }
}

#[test]
fn a_custom_table_and_the_synthetic_stand_in() {
    let dir = temp();
    let mut csv = String::from("date,a,OT,b\n");
    for t in 0..200 {
        let day = chrono::NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(t);
        csv += &format!("{day},{},{},{}\n", t % 7, (t * t) % 11, t);
    }
    let f = write(&dir, "mine.csv", csv);
    let got = rows(&ok(&format!(
        "forecast eval {f} -m naive,seasonal-naive,rlinear -L 14 -H 7 --metrics mse,mae,rmse,mape,mspe,smape,mase,rmsse,rse -q"
    )));
    assert_eq!(got.len(), 3);
    assert_eq!(got[0]["dataset"], "mine");
    assert!((num(&got[0], "rmse") - num(&got[0], "mse").sqrt()).abs() < 1e-12);
    let a = ok("forecast eval --synthetic etth --preset etth1 -m linear,naive -H 24 --seed 3 -q");
    assert_eq!(a, ok("forecast eval --synthetic etth --preset etth1 -m linear,naive -H 24 --seed 3 --threads 1 -q"));
    assert_ne!(a, ok("forecast eval --synthetic etth --preset etth1 -m linear,naive -H 24 --seed 4 -q"));
    let got = rows(&a);
    assert!(num(&got[0], "mse") < 0.5 * num(&got[1], "mse"), "a linear map learns the cycles: {a}");
}

#[test]
fn m4_files() {
    let dir = temp();
    let (mut train, mut test) = (
        String::from("V1,V2,V3,V4,V5,V6,V7,V8,V9,V10,V11,V12,V13,V14,V15,V16,V17,V18\n"),
        String::from("V1,V2,V3,V4,V5,V6,V7\n"),
    );
    for s in 1..=3 {
        let y: Vec<i32> = (0..17 + 6).map(|t| 100 + 10 * s + t * s + (t * t) % 5).collect();
        // Ragged: the second series ends earlier.
        let n = if s == 2 { 14 } else { 17 };
        let cells: Vec<String> = (0..17).map(|t| if t < n { y[t].to_string() } else { String::new() }).collect();
        train += &format!("Y{s},{}\n", cells.join(","));
        test += &format!("Y{s},{}\n", y[n..n + 6].iter().map(i32::to_string).collect::<Vec<_>>().join(","));
    }
    let (train, test) = (write(&dir, "Yearly-train.csv", train), write(&dir, "Yearly-test.csv", test));
    let got = rows(&ok(&format!("forecast eval {train} --test {test} --preset m4-yearly -m naive,drift,theta -q")));
    // Without a season naive2 is naive.
    assert_eq!(num(&got[0], "owa"), 1.0);
    assert!(num(&got[1], "owa") < 1.0 && num(&got[1], "mase") < num(&got[0], "mase"), "{got:?}");
    let (code, _, err) = run(&format!("forecast eval {train} --preset m4-yearly -m naive"));
    assert!(code == 2 && err.contains("--test"), "{err}");
}

#[test]
fn mistakes() {
    let dir = temp();
    let f = write(&dir, "short.csv", "date,a\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n2020-01-04,3\n");
    for (line, needle) in [
        (format!("forecast eval {f} --preset etth9 -m naive"), "did you mean"),
        (format!("forecast eval {f} --preset etth1 -m naive"), "14400 rows"),
        (format!("forecast eval {f} -m naive -H 2"), "lookback"),
        (format!("forecast eval {f} -m naive -H 2 --metrics crps"), "backtest"),
        (format!("forecast eval {f} -m naive -H 2 --metrics owa"), "m4"),
        (format!("forecast eval {f} -m naive -H 2 --split 0.5,0.5"), "three shares"),
        (format!("forecast eval {f} -m naive -H 2 --compat drop-first=3"), "drop-last"),
        (format!("forecast eval {f} {f} -m naive -H 2"), "one table"),
        (format!("forecast eval {f} -m naive -H 2 --test {f}"), "m4"),
    ] {
        let (code, out, err) = run(&line);
        assert!(code == 2 && out.is_empty() && err.contains(needle), "{line}\n{code} {err}");
    }
}
