use super::*;

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

fn plain(durations: &[f64], events: &[bool]) -> Vec<Interval> {
    durations.iter().zip(events).map(|(&stop, &event)| Interval { start: 0.0, stop, event }).collect()
}

#[test]
fn recidivism_as_in_the_specification() {
    // The data are part of lifelines and of R's carData; without a licence of their own they are not in this project.
    let Some(path) = crate::testing::shared("rossi/rossi.csv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let table: Vec<Vec<f64>> = text.lines().skip(1).map(|l| l.split(',').map(|v| v.parse().unwrap()).collect()).collect();
    assert_eq!(table.len(), 432);
    let rows: Vec<Interval> = table.iter().map(|r| Interval { start: 0.0, stop: r[0], event: r[1] == 1.0 }).collect();
    let names = ["fin", "age", "race", "wexp", "mar", "paro", "prio"];
    let columns: Vec<Vec<f64>> = (2..9).map(|j| table.iter().map(|r| r[j]).collect()).collect();
    let columns: Vec<(&str, &[f64])> = names.into_iter().zip(columns.iter().map(Vec::as_slice)).collect();
    let found = cox(&columns, &rows).unwrap();
    let expected = [-0.379422, -0.057438, 0.313900, -0.149796, -0.433704, -0.084871, 0.091497];
    for (h, e) in found.hazards.iter().zip(expected) {
        close(h.coefficient, e, 5.1e-7);
        close(h.ratio, h.coefficient.exp(), 1e-12);
    }
    close(found.log_likelihood, -658.747659, 5.1e-7);
    close(found.concordance.unwrap(), 0.640329, 5.1e-7);
}

#[test]
fn ties_as_in_lifelines() {
    // Ten rows with ties between events and with censored ones: coefficients by scipy's simplex search of Efron's likelihood (to 1e-8),
    // the rest by lifelines 0.30.3, whose coefficients are 4e-7 off that maximum.
    let t = [1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0, 6.0, 6.0];
    let e = [true, true, false, true, true, false, true, false, true, true];
    let x = [2.0, 0.5, 1.0, 3.0, 1.0, 0.0, 2.0, 1.5, 0.0, 1.0];
    let z = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let found = cox(&[("x", &x), ("z", &z)], &plain(&t, &e)).unwrap();
    close(found.hazards[0].coefficient, 0.6038990436138183, 2e-8);
    close(found.hazards[1].coefficient, -0.1511813473881652, 2e-8);
    close(found.hazards[0].se, 0.49859517384599467, 1e-6);
    close(found.hazards[1].se, 0.829613905030767, 1e-6);
    close(found.log_likelihood, -9.532147239180281, 1e-10);
    close(found.concordance.unwrap(), 0.6551724137931034, 1e-14);
    close(found.hazards[0].ratio_low, (0.6038989722686807f64 - 1.96 * 0.49859517384599467).exp(), 1e-6);
    assert_eq!((found.n, found.events), (10, 7));
    // Units and origins of columns do not matter.
    let scaled = x.map(|v| 1e5 + 1e3 * v);
    let again = cox(&[("x", &scaled), ("z", &z)], &plain(&t, &e)).unwrap();
    close(again.hazards[0].coefficient * 1e3, found.hazards[0].coefficient, 1e-8);
    close(again.log_likelihood, found.log_likelihood, 1e-9);
}

#[test]
fn covariates_that_change_as_in_lifelines() {
    // CoxTimeVaryingFitter of lifelines 0.30.3, which stops 1e-7 short.
    let rows: Vec<Interval> = [
        (0.0, 1.0, false),
        (1.0, 3.0, true),
        (0.0, 2.0, true),
        (0.0, 2.0, false),
        (2.0, 5.0, true),
        (0.0, 4.0, false),
        (0.0, 3.0, false),
        (3.0, 6.0, true),
        (0.0, 6.0, false),
    ]
    .map(|(start, stop, event)| Interval { start, stop, event })
    .to_vec();
    let x = [0.0, 2.0, 1.0, 0.0, 1.0, 3.0, 1.0, 2.0, 0.5];
    let found = cox(&[("x", &x)], &rows).unwrap();
    close(found.hazards[0].coefficient, 0.29207086206964444, 1e-6);
    close(found.hazards[0].se, 0.5840029587983461, 1e-6);
    close(found.log_likelihood, -5.0698150323008955, 1e-10);
    // A row cut in two is the same person.
    let t = [1.0, 2.0, 3.0, 4.0, 5.0];
    let e = [true, false, true, true, true];
    let whole = cox(&[("x", &[1.0, 0.0, 2.0, 1.0, 0.5])], &plain(&t, &e)).unwrap();
    let mut cut = plain(&t, &e);
    cut[3] = Interval { start: 2.5, stop: 4.0, event: true };
    cut.push(Interval { start: 0.0, stop: 2.5, event: false });
    let parts = cox(&[("x", &[1.0, 0.0, 2.0, 1.0, 0.5, 1.0])], &cut).unwrap();
    close(parts.hazards[0].coefficient, whole.hazards[0].coefficient, 1e-12);
    close(parts.log_likelihood, whole.log_likelihood, 1e-12);
    assert_eq!(parts.concordance, whole.concordance);
}

#[test]
fn without_covariates_the_likelihood_counts_those_at_risk() {
    let found = cox(&[], &plain(&[1.0, 2.0, 3.0], &[true, true, true])).unwrap();
    close(found.log_likelihood, -(6f64.ln()), 1e-14);
    assert_eq!(found.concordance, Some(0.5));
    // Efron: two of three at once: ln 3 and ln(3 − 1).
    let tied = cox(&[], &plain(&[1.0, 1.0, 2.0], &[true, true, false])).unwrap();
    close(tied.log_likelihood, -(3f64.ln() + 2f64.ln()), 1e-14);
}

#[test]
fn derivatives_are_those_of_the_likelihood() {
    let rows: Vec<Interval> = (0..40)
        .map(|i| {
            let stop = 1.0 + f64::from(i * 7 % 11);
            Interval { start: if i % 3 == 0 { 0.5 } else { 0.0 }, stop, event: i % 4 != 0 }
        })
        .collect();
    let x: Vec<f64> = (0..80).map(|k| f64::from(k * 37 % 19) / 10.0 - 0.9).collect();
    let times = Times::new(&rows);
    let at = [0.3, -0.4];
    let (_, gradient, information) = likelihood(&times, &x, 2, &at);
    let h = 1e-5;
    for j in 0..2 {
        let moved = |by: f64| {
            let mut b = at;
            b[j] += by;
            likelihood(&times, &x, 2, &b)
        };
        let (up, down) = (moved(h), moved(-h));
        // Third derivatives of about 40, times h² / 6, and roundings of 100 eps / h.
        close((up.0 - down.0) / (2.0 * h), gradient[j], 1e-7);
        for k in 0..2 {
            close(-(up.1[k] - down.1[k]) / (2.0 * h), information[j * 2 + k], 1e-7);
        }
    }
}

#[test]
fn what_cannot_be_fitted() {
    let rows = plain(&[1.0, 2.0, 3.0, 4.0], &[true, true, true, false]);
    let text = |columns: &[(&str, &[f64])], rows: &[Interval]| cox(columns, rows).unwrap_err().to_string();
    assert!(text(&[("x", &[2.0; 4])], &rows).contains("x is 2 in all rows"));
    let x = [1.0, 0.0, 2.0, 1.0];
    assert!(text(&[("x", &x), ("y", &x.map(|v| 3.0 - v))], &rows).contains("y cannot be told"));
    assert!(text(&[("x", &x)], &plain(&[1.0; 4], &[false; 4])).contains("none of 4"));
    assert!(text(&[("x", &x)], &plain(&[1.0, 0.0, 1.0, 1.0], &[true; 4])).contains("row 1"));
    assert!(text(&[("x", &[0.0, f64::INFINITY, 0.0, 1.0])], &rows).contains("row 1"));
    // Who has more goes first, always.
    let monotone = cox(&[("x", &[4.0, 3.0, 2.0, 1.0])], &rows);
    assert!(matches!(monotone, Err(ClusterError::Numbers(_))), "{monotone:?}");
}
