//! No label on another or beyond the edge, whatever the data; the same bytes each time; and what each chart must show.

use super::*;
use crate::plot::tests::assert_sound;
use crate::plot::{Curve, PictureFormat, PlotError, render};
use proptest::prelude::*;

fn column(rows: usize, r: usize) -> Vec<f64> {
    (0..rows).map(|i| (-((i as f64 / rows as f64 - 0.2 - 0.2 * r as f64) * 8.0).powi(2)).exp() * 0.2).collect()
}

/// Like the amino acid tensor: short with labels, long, long at positions.
pub fn amino() -> Vec<FactorPanel> {
    let labels = ["Trp", "Tyr", "Phe", "mixture 1", "mixture 2"].map(String::from).to_vec();
    let short = |r: usize| (0..5).map(|i| if i == r { 0.85 } else { 0.1 * i as f64 - 0.05 }).collect();
    vec![
        FactorPanel { title: "sample".into(), labels: Some(labels), positions: None, columns: (0..3).map(short).collect() },
        FactorPanel {
            title: "emission".into(),
            labels: None,
            positions: None,
            columns: (0..3).map(|r| column(201, r)).collect(),
        },
        FactorPanel {
            title: "excitation (nm)".into(),
            labels: None,
            positions: Some((0..61).map(|i| 240.0 + f64::from(i)).collect()),
            columns: (0..3).map(|r| column(61, r)).collect(),
        },
    ]
}

fn drawn() -> Vec<(&'static str, Picture)> {
    let fits = |from: f64| (1..=40).map(|k| from - 0.6 * (-f64::from(k) / 5.0).exp()).collect::<Vec<_>>();
    let start = |name: &str, from: f64| Curve { name: name.into(), values: fits(from) };
    let scan: Vec<RankPoint> = [(1, 0.403, 100.0), (2, 0.636, 100.0), (3, 0.975, 99.89), (4, 0.978, -596.0), (5, 0.981, -1e4)]
        .map(|(rank, fit, corcondia)| RankPoint { rank, fit, corcondia })
        .to_vec();
    let core: Vec<f64> =
        (0..36).map(|i| if i % 13 == 0 { 47_000.0 - 900.0 * f64::from(i) } else { -800.0 + 60.0 * f64::from(i) }).collect();
    let many: Vec<String> = (0..24).map(|i| format!("household-{i:04}-daily-consumption")).collect();
    let words = FactorPanel {
        title: "house".into(),
        labels: Some(many),
        positions: None,
        columns: (0..4).map(|r| (0..24).map(|i| ((i * (r + 2)) as f64).sin()).collect()).collect(),
    };
    let four: Vec<FactorPanel> = amino().into_iter().chain([words]).collect();
    let core4: Vec<f64> = (0..108).map(|i| f64::from(i * i % 19) - 9.0).collect();
    vec![
        ("factors", factor_chart(&amino(), "Amino acid fluorescence, CP rank 3, fit 0.9750").unwrap()),
        ("factors4", factor_chart(&four, "Four modes").unwrap()),
        ("fit", fit_chart(&[start("start 0", 0.975), start("start 1", 0.95), start("start 2", 0.9)], "Fit by sweep").unwrap()),
        ("fit_one", fit_chart(&[start("", 0.975)], "Fit by sweep").unwrap()),
        ("scan", rank_scan_chart(&scan, Some(3), "Rank scan").unwrap()),
        (
            "scan_fit",
            rank_scan_chart(&scan.iter().map(|p| RankPoint { corcondia: f64::NAN, ..*p }).collect::<Vec<_>>(), None, "Rank scan")
                .unwrap(),
        ),
        ("explained", explained_chart(&[0.49, 0.24, 0.195, 0.002], "Explained by component").unwrap()),
        (
            "core",
            core_chart(
                &[3, 4, 3],
                &core,
                &CoreOptions { title: "Core".into(), modes: vec!["sample".into(), "emission".into(), "excitation".into()] },
            )
            .unwrap(),
        ),
        (
            "core2",
            core_chart(&[30, 60], &(0..1800).map(|i| f64::from(i % 37) - 18.0).collect::<Vec<_>>(), &CoreOptions::default())
                .unwrap(),
        ),
        ("core4", core_chart(&[3, 3, 3, 4], &core4, &CoreOptions { title: "Four modes".into(), modes: Vec::new() }).unwrap()),
    ]
}

#[test]
fn every_picture_is_sound_and_the_same_each_time() {
    let again = drawn();
    for ((name, picture), (_, second)) in drawn().iter().zip(&again) {
        eprintln!("{name}");
        assert_sound(picture);
        for format in [PictureFormat::Svg, PictureFormat::Png] {
            let bytes = render(picture, format).unwrap();
            assert_eq!(bytes, render(second, format).unwrap());
            // To look at them: SHOAL_PICTURES=folder.
            if let Ok(folder) = std::env::var("SHOAL_PICTURES")
                && format == PictureFormat::Png
            {
                std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
            }
        }
    }
}

#[test]
fn charts_say_what_they_show_and_leave_out() {
    let texts = |p: &Picture| p.texts().map(str::to_owned).collect::<Vec<_>>();
    let pictures = drawn();
    let of = |name: &str| texts(&pictures.iter().find(|p| p.0 == name).unwrap().1);
    let factors = of("factors");
    for text in ["sample", "emission", "excitation (nm)", "c0", "c2", "Trp", "240", "300"] {
        assert!(factors.iter().any(|t| t == text), "{text}: {factors:?}");
    }
    let scan = of("scan");
    assert!(scan.iter().any(|t| t == "rank 3, chosen") && scan.iter().any(|t| t.contains("below −20 %")), "{scan:?}");
    let wide = FactorPanel { columns: vec![vec![1.0, 2.0]; 30], title: "m".into(), ..FactorPanel::default() };
    let picture = factor_chart(&vec![wide; 14], "").unwrap();
    assert_sound(&picture);
    assert!(texts(&picture).iter().any(|t| t == "the first 12 of 14 modes · the first 24 of 30 components"));
    let picture = core_chart(&[200, 2, 20], &vec![1.0; 8000], &CoreOptions::default()).unwrap();
    assert_sound(&picture);
    assert!(texts(&picture).iter().any(|t| t == "the first 16 of 20 slices · the first 120 x 2 of 200 x 2 cells"));
}

#[test]
fn long_labels_keep_what_tells_them_apart() {
    let labels = ["house-0001-daily", "house-0002-daily", "house-0013-daily"].map(String::from);
    assert_eq!(shared_ends(&labels), (8, 6));
    assert_eq!(labels.each_ref().map(|l| without_ends(l, (8, 6))), ["…01…", "…02…", "…13…"]);
    assert_eq!(shared_ends(&["ab".to_string(), "ac".to_string()]), (0, 0), "two letters are not worth an ellipsis");
    // A label that is the start of another keeps a letter.
    assert_eq!(shared_ends(&["aaaaa".to_string(), "aaaaaaa".to_string()]), (5, 0));
    assert_eq!(without_ends("aaaaa", (5, 0)), "aaaaa");
    assert_eq!(shared_ends(&["only".to_string()]), (0, 0));
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let panel = FactorPanel { columns: vec![vec![1.0], vec![1.0, 2.0]], ..FactorPanel::default() };
    assert!(matches!(factor_chart(&[panel], ""), Err(PlotError::Length { found: 2, expected: 1, .. })));
    assert!(matches!(factor_chart(&[], ""), Err(PlotError::Empty(_))));
    let nan = FactorPanel { columns: vec![vec![f64::NAN]], ..FactorPanel::default() };
    assert!(matches!(factor_chart(&[nan], ""), Err(PlotError::Empty(_))));
    assert!(matches!(fit_chart(&[], ""), Err(PlotError::Empty(_))));
    assert!(matches!(rank_scan_chart(&[], None, ""), Err(PlotError::Empty(_))));
    assert!(matches!(explained_chart(&[f64::NAN, -1.0], ""), Err(PlotError::Empty(_))));
    assert!(matches!(core_chart(&[2], &[1.0], &CoreOptions::default()), Err(PlotError::Length { .. })));
    assert!(matches!(core_chart(&[1], &[f64::INFINITY], &CoreOptions::default()), Err(PlotError::Empty(_))));
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![-1.0..1.0f64, Just(0.0), any::<f64>(), Just(f64::NAN), -1e300..1e300f64]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "[A-Za-z0-9 _é漢\n\"<-]{0,60}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_factors(
        modes in prop::collection::vec((1usize..60, text(), 0..3), 1..6), rank in 1usize..30, seed in prop::collection::vec(number(), 60),
        labels in prop::collection::vec(text(), 60), title in text(),
    ) {
        let panels: Vec<FactorPanel> = modes.iter().map(|(rows, name, kind)| FactorPanel {
            title: name.clone(),
            labels: (*kind == 1).then(|| labels[..*rows].to_vec()),
            positions: (*kind == 2).then(|| seed[..*rows].to_vec()),
            columns: (0..rank).map(|r| (0..*rows).map(|i| seed[(i * 7 + r * 11) % 60]).collect()).collect(),
        }).collect();
        if let Ok(picture) = factor_chart(&panels, &title) {
            assert_sound(&picture);
            render(&picture, PictureFormat::Svg).unwrap();
        }
    }

    #[test]
    fn any_curves(values in prop::collection::vec(number(), 1..60), names in prop::collection::vec(text(), 1..12), ranks in prop::collection::vec((1usize..40, number(), number()), 1..12)) {
        let curves: Vec<Curve> = names.iter().map(|n| Curve { name: n.clone(), values: values.clone() }).collect();
        if let Ok(picture) = fit_chart(&curves, &names[0]) {
            assert_sound(&picture);
        }
        let points: Vec<RankPoint> = ranks.iter().map(|(rank, fit, corcondia)| RankPoint { rank: *rank, fit: *fit, corcondia: *corcondia }).collect();
        if let Ok(picture) = rank_scan_chart(&points, Some(ranks[0].0), &names[0]) {
            assert_sound(&picture);
        }
        if let Ok(picture) = explained_chart(&values, &names[0]) {
            assert_sound(&picture);
        }
    }

    #[test]
    fn any_core(shape in prop::collection::vec(1usize..12, 0..5), seed in prop::collection::vec(number(), 20), modes in prop::collection::vec(text(), 0..6), title in text()) {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| seed[i * 7 % 20]).collect();
        if let Ok(picture) = core_chart(&shape, &values, &CoreOptions { title, modes }) {
            assert_sound(&picture);
            render(&picture, PictureFormat::Svg).unwrap();
        }
    }
}
