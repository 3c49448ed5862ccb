//! What holds for every picture, whatever the data: no panic, no label on another or beyond the edge, the same bytes
//! each time; and what each chart must show.

use super::scene::{Label, Mark};
use super::*;
use chrono::NaiveDate;
use proptest::prelude::*;

/// Microseconds of the first of a month, `n` months after January of `year`.
fn month(year: i32, n: u32) -> f64 {
    let date = NaiveDate::from_ymd_opt(year + (n / 12) as i32, n % 12 + 1, 1).expect("a date");
    date.and_hms_opt(0, 0, 0).expect("midnight").and_utc().timestamp_micros() as f64
}

/// A seasonal monthly series of `n` values with a forecast of `horizon` by each of the models.
fn panel(title: &str, n: u32, horizon: u32, models: &[&str]) -> ForecastPanel {
    let value = |t: u32| 100.0 + f64::from(t) + 20.0 * (f64::from(t) * std::f64::consts::FRAC_PI_6).sin();
    let series = |from: u32, to: u32, add: f64| (from..to).map(|t| (month(2000, t), value(t) + add)).collect::<Vec<_>>();
    let band = |level: f64, width: f64| Band { level, lo: series(n, n + horizon, -width), hi: series(n, n + horizon, width) };
    let forecast = |(i, name): (usize, &&str)| ModelForecast {
        name: (*name).to_string(),
        points: series(n, n + horizon, i as f64),
        bands: vec![band(80.0, 10.0), band(95.0, 16.0)],
    };
    ForecastPanel {
        title: title.to_string(),
        history: series(0, n, 0.0),
        models: models.iter().enumerate().map(forecast).collect(),
        actual: Vec::new(),
        cutoffs: vec![month(2000, n - 1)],
    }
}

fn dated(title: &str) -> ForecastOptions {
    ForecastOptions { title: title.into(), value_name: "passengers".into(), kind: TimeKind::Date, ..ForecastOptions::default() }
}

fn curves(names: &[&str], horizon: u32) -> Vec<Curve> {
    let curve = |(i, name): (usize, &&str)| Curve {
        name: (*name).to_string(),
        values: (0..horizon).map(|h| 1.0 + i as f64 * 0.01 + f64::from(h) * 0.1).collect(),
    };
    names.iter().enumerate().map(curve).collect()
}

/// Pairs of labels that meet, and labels beyond the picture's edge.
pub(super) fn faults(picture: &Picture) -> Vec<String> {
    let labels: Vec<&Label> = picture.labels().collect();
    let (w, h) = (f64::from(picture.width), f64::from(picture.height));
    let mut found = Vec::new();
    for (i, a) in labels.iter().enumerate() {
        let (l, t, r, b) = a.bounds();
        // Half a pixel of a letter's own side bearing is never inked.
        if l < -0.5 || t < -0.5 || r > w + 0.5 || b > h + 0.5 {
            found.push(format!("{:?} leaves the picture", a.text));
        }
        for other in &labels[..i] {
            let (l2, t2, r2, b2) = other.bounds();
            if l < r2 - 0.5 && l2 < r - 0.5 && t < b2 - 0.5 && t2 < b - 0.5 {
                found.push(format!("{:?} meets {:?}", a.text, other.text));
            }
        }
    }
    found
}

#[track_caller]
pub(super) fn assert_sound(picture: &Picture) {
    assert_eq!(faults(picture), Vec::<String>::new());
    let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    for mark in &picture.marks {
        let fine = match mark {
            Mark::Line { points, .. } | Mark::Area { points, .. } => points.iter().all(finite),
            Mark::Rect { x, y, w, h, .. } => finite(&(*x, *y)) && finite(&(*w, *h)),
            Mark::Disc { x, y, r, .. } => finite(&(*x, *y)) && r.is_finite(),
            Mark::Text(label) => finite(&(label.x, label.baseline)),
        };
        assert!(fine, "{mark:?}");
    }
}

fn svg(picture: &Picture) -> String {
    String::from_utf8(render(picture, PictureFormat::Svg).expect("renders")).expect("is text")
}

#[test]
fn the_format_is_told_by_the_extension() {
    assert_eq!(PictureFormat::from_path(Path::new("a/b.SVG")), Ok(PictureFormat::Svg));
    assert_eq!(PictureFormat::from_path(Path::new("b.png")), Ok(PictureFormat::Png));
    for name in ["b.jpg", "png", "b.", ""] {
        assert_eq!(PictureFormat::from_path(Path::new(name)), Err(PlotError::Format(name.into())));
    }
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let panels = [panel("a", 120, 12, &["theta", "auto-ets"]), panel("b", 60, 6, &["theta"])];
    for format in [PictureFormat::Svg, PictureFormat::Png] {
        let draw = || render(&forecast_chart(&panels, &dated("t")).expect("draws"), format).expect("renders");
        assert_eq!(draw(), draw());
    }
}

#[test]
fn one_series_is_1000_by_560_in_both_formats() {
    let picture = forecast_chart(&[panel("air", 144, 12, &["auto-ets"])], &dated("Air")).expect("draws");
    assert_eq!(picture.size(), (WIDTH, HEIGHT));
    assert_sound(&picture);
    assert!(svg(&picture).contains("width=\"1000\" height=\"560\""));
    let png = render(&picture, PictureFormat::Png).expect("renders");
    assert_eq!(png[16..24], [2000u32.to_be_bytes(), 1120u32.to_be_bytes()].concat());
}

#[test]
fn names_are_escaped_and_complete() {
    let picture = forecast_chart(&[panel("x<y>&\"z\"", 40, 4, &["a<b&c", "theta"])], &dated("1 < 2")).expect("draws");
    let svg = svg(&picture);
    for text in [
        "a&lt;b&amp;c",
        "theta",
        "x&lt;y&gt;&amp;&quot;z&quot;",
        "1 &lt; 2",
        "95 % interval",
        "80 % interval",
        "cutoff",
        "passengers",
    ] {
        assert!(svg.contains(text), "{text} is missing");
    }
    assert!(!svg.contains("a<b"));
}

#[test]
fn the_line_starts_at_the_last_observation_and_narrow_bands_are_darker() {
    let picture = forecast_chart(&[panel("air", 60, 6, &["theta"])], &dated("")).expect("draws");
    let lines: Vec<_> = picture
        .marks
        .iter()
        .filter_map(|m| {
            if let Mark::Line { points, width, .. } = m { (*width >= 1.5 && points.len() > 2).then_some(points) } else { None }
        })
        .collect();
    let [history, forecast] = lines[..] else { panic!("two long lines, found {}", lines.len()) };
    assert_eq!((history.len(), forecast.len()), (60, 7));
    assert_eq!(history.last(), forecast.first());
    let areas: Vec<_> =
        picture.marks.iter().filter_map(|m| if let Mark::Area { points, .. } = m { Some(points) } else { None }).collect();
    let spread = |ring: &[(f64, f64)]| ring.iter().map(|p| p.1).fold(0.0, f64::max);
    // The wide one first, both from the last observation: overlapping makes the narrow one darker.
    assert_eq!(areas.len(), 2);
    assert!(spread(areas[0]) > spread(areas[1]) && areas.iter().all(|a| a.first() == history.last()));
}

#[test]
fn missing_values_break_the_line() {
    let mut data = panel("gap", 60, 6, &["theta"]);
    for t in 20..30 {
        data.history[t].1 = f64::NAN;
    }
    data.history[40].1 = f64::INFINITY;
    let picture = forecast_chart(&[data], &dated("")).expect("draws");
    let parts: Vec<usize> = picture
        .marks
        .iter()
        .filter_map(|m| {
            if let Mark::Line { points, color, .. } = m { (*color == style::HISTORY).then_some(points.len()) } else { None }
        })
        .filter(|n| *n > 2)
        .collect();
    assert_eq!(parts, [20, 10, 19]);
}

#[test]
fn the_tail_is_cut_before_the_first_forecast_and_says_so() {
    assert_eq!((readable_tail(12, 24), readable_tail(24, 1), readable_tail(1, 1)), (144, 120, 30));
    let mut data = panel("long", 300, 12, &["theta"]);
    data.history.extend((300..312).map(|t| (month(2000, t), 400.0)));
    let picture = forecast_chart(&[data], &ForecastOptions { tail: Some(60), ..dated("") }).expect("draws");
    assert!(picture.texts().any(|t| t == "the last 72 of 312 observations"), "{:?}", picture.texts().collect::<Vec<_>>());
    assert!(picture.texts().any(|t| t == "2025") && !picture.texts().any(|t| t == "2010"));
}

#[test]
fn sixteen_panels_and_a_note_for_the_rest() {
    let many: Vec<_> = (0..20).map(|i| panel(&format!("series-{i}"), 50, 6, &["theta", "naive"])).collect();
    let picture = forecast_chart(&many, &ForecastOptions { total: 2000, ..dated("Panel") }).expect("draws");
    assert_sound(&picture);
    assert!(picture.texts().any(|t| t.contains("the first 16 of 2,000 series")));
    assert_eq!(picture.texts().filter(|t| t.starts_with("series-")).count(), 16);
    for n in 1..=16 {
        let picture = forecast_chart(&many[..n], &dated("Panel")).expect("draws");
        assert_sound(&picture);
        assert!(!picture.texts().any(|t| t.contains(" of ")));
    }
}

#[test]
fn exploding_intervals_and_forecasts_are_clipped_and_named() {
    let mut data = panel("boom", 60, 6, &["theta"]);
    data.models[0].bands[1].hi[5].1 = 1e12;
    let y_top = |p: &Picture| p.texts().filter_map(|t| t.parse::<f64>().ok()).filter(|v| *v < 1900.0).fold(0.0, f64::max);
    let picture = forecast_chart(std::slice::from_ref(&data), &dated("")).expect("draws");
    assert!(picture.texts().any(|t| t == "interval clipped") && y_top(&picture) < 400.0);
    data.models[0].points[5].1 = 1e9;
    let picture = forecast_chart(std::slice::from_ref(&data), &dated("")).expect("draws");
    assert!(picture.texts().any(|t| t == "forecast and interval clipped") && y_top(&picture) < 1000.0);
    let calm = forecast_chart(&[panel("calm", 60, 6, &["theta"])], &dated("")).expect("draws");
    assert!(!calm.texts().any(|t| t.contains("clipped")));
}

#[test]
fn many_models_show_the_intervals_of_one() {
    let data = panel("air", 60, 6, &["a", "b", "c", "d"]);
    let picture = forecast_chart(&[data], &dated("")).expect("draws");
    assert!(picture.texts().any(|t| t == "intervals of a only"));
    assert_eq!(picture.marks.iter().filter(|m| matches!(m, Mark::Area { .. })).count(), 2);
}

#[test]
fn nothing_to_draw_is_an_error() {
    assert!(matches!(forecast_chart(&[], &dated("")), Err(PlotError::Empty(_))));
    let empty = ForecastPanel { history: vec![(1.0, f64::NAN)], ..ForecastPanel::default() };
    assert!(matches!(forecast_chart(std::slice::from_ref(&empty), &dated("")), Err(PlotError::Empty(_))));
    // One empty series among others is only a remark.
    let picture = forecast_chart(&[empty, panel("b", 40, 4, &["theta"])], &dated("")).expect("draws");
    assert!(picture.texts().any(|t| t == "no value to show"));
    assert!(matches!(bars(&["a".into()], &[], "MSE", ""), Err(PlotError::Empty(_))));
    let uneven = BarGroup { name: "g".into(), values: vec![1.0, 2.0] };
    assert!(matches!(bars(&["a".into()], &[uneven], "MSE", ""), Err(PlotError::Length { found: 2, expected: 1, .. })));
}

#[test]
fn a_backtest_shows_every_cutoff_and_one_legend() {
    let mut data = panel("air", 96, 12, &["theta", "auto-ets"]);
    for cut in [72, 84] {
        data.models.extend(panel("air", cut, 12, &["theta", "auto-ets"]).models);
        data.cutoffs.push(month(2000, cut - 1));
    }
    let options = BacktestOptions { forecast: dated("Backtest"), metric: "MAE".into() };
    let picture = backtest_chart(&[data], &curves(&["theta", "auto-ets", "naive"], 12), &options).expect("draws");
    assert_sound(&picture);
    for name in ["theta", "auto-ets", "naive", "MAE", "Error by horizon", "step of the horizon"] {
        assert_eq!(picture.texts().filter(|t| *t == name).count(), 1, "{name}");
    }
    let grid = vec![panel("a", 40, 6, &["theta"]); 9];
    assert_sound(&backtest_chart(&grid, &curves(&["theta"], 6), &options).expect("draws"));
}

#[test]
fn bars_are_readable_for_twelve_models_and_eight_horizons() {
    let models: Vec<String> = (0..12).map(|i| format!("seasonal-model-{i:02}")).collect();
    let group = |h: usize| BarGroup {
        name: format!("ETTh1, H={}", 96 * h),
        values: (0..12).map(|m| 0.3 + 0.01 * (m * h) as f64).collect(),
    };
    let groups: Vec<_> = (1..=8).map(group).collect();
    let picture = bars(&models, &groups, "MSE", "Errors").expect("draws");
    assert_sound(&picture);
    assert_eq!(picture.texts().filter(|t| t.starts_with("ETTh1")).count(), 8);
    assert_eq!(picture.texts().filter(|t| t.starts_with("seasonal-model")).count(), 12);
    // Values stand on the bars where there is room.
    let few = bars(&models[..2], &[BarGroup { name: "H=96".into(), values: vec![0.38148, f64::NAN] }], "MSE", "").expect("draws");
    assert!(few.texts().any(|t| t == "0.381") && few.texts().any(|t| t == "n/a"));
    let wide: Vec<_> = (0..400).map(|i| BarGroup { name: format!("dataset {i}"), values: vec![1.0, -2.0] }).collect();
    let picture = bars(&models[..2], &wide, "score", "").expect("draws");
    assert!(picture.width <= 2400 && picture.texts().any(|t| t.contains("of 400 groups")));
    assert_sound(&picture);
}

#[test]
fn a_wild_bar_is_cut_and_written_out() {
    let groups = [BarGroup { name: "g".into(), values: vec![1.0, 1.1, 0.9, 1e9] }];
    let models: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
    let picture = bars(&models, &groups, "MSE", "").expect("draws");
    assert!(picture.texts().any(|t| t == "1.00G ↑"), "{:?}", picture.texts().collect::<Vec<_>>());
    assert!(picture.texts().any(|t| t == "1.0" || t == "1.2"));
    assert_sound(&picture);
}

#[test]
fn long_names_are_elided_and_stay_apart() {
    let names: Vec<String> = (0..14).map(|i| format!("{}-model-with-a-very-long-name-{}", "x".repeat(30 + 9 * i), i)).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_sound(&forecast_chart(&[panel(&"id-".repeat(200), 40, 6, &refs)], &dated(&"title ".repeat(100))).expect("draws"));
    assert_sound(&error_by_horizon(&curves(&refs, 24), &"metric".repeat(50), &"title ".repeat(100)).expect("draws"));
    let many: Vec<String> = (0..60).map(|i| format!("model {i}")).collect();
    let refs: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_sound(&error_by_horizon(&curves(&refs, 48), "MAE", "").expect("draws"));
    let group = BarGroup { name: "g".repeat(300), values: vec![1.0; 60] };
    assert_sound(&bars(&many, &vec![group; 6], "MAE", "").expect("draws"));
}

/// Ordinary numbers, and everything a float can be.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![6 => -1e3..1e3, 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(0.0)]
}

fn points(most: usize) -> impl Strategy<Value = Vec<(f64, f64)>> {
    let start = prop_oneof![3 => -1e16..1e16, 2 => 0.0..100.0, 1 => any::<f64>()];
    let step = prop_oneof![Just(0.0), 1e-6..1e3, 1e6..1e14];
    (start, step, prop::collection::vec(value(), 0..most))
        .prop_map(|(start, step, values)| values.into_iter().enumerate().map(|(i, v)| (start + step * i as f64, v)).collect())
}

fn any_panel() -> impl Strategy<Value = ForecastPanel> {
    let band = (value(), points(5), points(5)).prop_map(|(level, lo, hi)| Band { level, lo, hi });
    let model = (".{0,12}", points(6), prop::collection::vec(band, 0..3)).prop_map(|(name, points, bands)| ModelForecast {
        name,
        points,
        bands,
    });
    (".{0,40}", points(40), prop::collection::vec(model, 0..5), points(6), prop::collection::vec(value(), 0..3))
        .prop_map(|(title, history, models, actual, cutoffs)| ForecastPanel { title, history, models, actual, cutoffs })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_data_makes_a_forecast_chart_panic_or_overlap(
        panels in prop::collection::vec(any_panel(), 1..5),
        date in any::<bool>(),
        tail in prop::option::of(0usize..50),
        title in ".{0,60}",
    ) {
        let kind = if date { TimeKind::Date } else { TimeKind::Integer };
        let options = ForecastOptions { title, value_name: "y".into(), kind, tail, total: 0 };
        match forecast_chart(&panels, &options) {
            Ok(picture) => {
                assert_sound(&picture);
                let text = svg(&picture);
                prop_assert!(!text.contains("NaN") && !text.contains("\"inf"));
                // A quarter of the size: the same code, quickly.
                prop_assert!(!raster::draw(&picture, 0.25).rgb.is_empty());
            }
            Err(error) => prop_assert!(matches!(error, PlotError::Empty(_))),
        }
    }

    #[test]
    fn no_data_makes_an_error_chart_panic_or_overlap(
        values in prop::collection::vec(prop::collection::vec(value(), 0..30), 0..20),
        names in prop::collection::vec(".{0,30}", 20),
    ) {
        let curves: Vec<_> = values.iter().zip(&names).map(|(v, n)| Curve { name: n.clone(), values: v.clone() }).collect();
        if let Ok(picture) = error_by_horizon(&curves, "MAE", "Errors") {
            assert_sound(&picture);
            svg(&picture);
        }
        let models = &names[..3];
        let groups: Vec<_> = values
            .iter()
            .filter(|v| v.len() >= 3)
            .zip(&names)
            .map(|(v, n)| BarGroup { name: n.clone(), values: v[..3].to_vec() })
            .collect();
        if let Ok(picture) = bars(models, &groups, "MSE", "Bars") {
            assert_sound(&picture);
            svg(&picture);
        }
    }

    #[test]
    fn date_labels_never_meet(start in -6e16..6e16f64, span in 1.0..1e16f64, width in 40.0..1200.0f64) {
        let area = axes::Area { x: 60.0, y: 20.0, w: width, h: 100.0 };
        let frame = axes::Frame { area, x: (start, start + span), y: (0.0, 1.0) };
        let mut picture = Picture::new(width + 120.0, 200.0, "");
        frame.axes(&mut picture, TimeKind::Date, (30.0, width + 110.0));
        prop_assert_eq!(faults(&picture), Vec::<String>::new());
        prop_assert!(picture.labels().any(|l| l.baseline > 120.0));
    }
}
