//! No label on another or beyond the edge, whatever the data; the same bytes each time; and what each chart must show.

use super::*;
use crate::plot::scene::{Mark, Picture};
use crate::plot::style::Rgb;
use crate::plot::tests::assert_sound;
use crate::plot::{PictureFormat, PlotError, render};
use crate::run::seed::Streams;
use proptest::prelude::*;
use rand::RngExt;

/// A number that is nearly normal: twelve uniform ones less six.
fn normal(rng: &mut crate::run::seed::Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// k clusters of m points in d dimensions, centres on a circle of the first two.
fn blobs(k: usize, m: usize, d: usize) -> (Vec<f64>, Vec<i32>) {
    let mut rng = Streams::new(1).stream("blobs", k as u64);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for i in 0..k * m {
        let c = i % k;
        let angle = c as f64 / k as f64 * std::f64::consts::TAU;
        for j in 0..d {
            let center = match j {
                0 => 10.0 * angle.cos(),
                1 => 6.0 * angle.sin(),
                _ => 0.0,
            };
            values.push(center + (0.6 + 0.25 * (c % 4) as f64) * normal(&mut rng));
        }
        labels.push(c as i32);
    }
    (values, labels)
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

/// Silhouettes that fall from the best point of a cluster to the worst.
fn silhouettes(labels: &[i32]) -> Vec<f64> {
    labels.iter().enumerate().map(|(i, l)| 0.85 - 0.1 * f64::from(*l) - 0.5 * ((i * 37 % 101) as f64 / 101.0).powi(2)).collect()
}

/// Merges of points on a line at 0, 1, 3, 6, 10, … in groups: neighbours first.
fn linkage(n: usize) -> Vec<[f64; 4]> {
    let mut open: Vec<(usize, f64)> = (0..n).map(|i| (i, 1.0)).collect();
    let mut z = Vec::new();
    while open.len() > 1 {
        let at = (z.len() * 7919) % (open.len() - 1);
        let ((a, s), (b, t)) = (open[at], open.remove(at + 1));
        let height = 1.0 + (z.len() as f64).powf(1.7) * 0.02;
        open[at] = (n + z.len(), s + t);
        z.push([a as f64, b as f64, height, s + t]);
    }
    z
}

/// The labels of the points when the last two merges are undone.
fn three(z: &[[f64; 4]]) -> Vec<i32> {
    let n = z.len() + 1;
    let mut of = vec![-1; 2 * n - 1];
    let mut next = 0;
    for node in (0..2 * n - 1).rev() {
        if of[node] < 0 && node < 2 * n - 3 {
            of[node] = next;
            next += 1;
        }
        if node >= n {
            let row = z[node - n];
            for child in [row[0] as usize, row[1] as usize] {
                of[child] = if node < 2 * n - 3 { of[node] } else { -1 };
            }
        }
    }
    of[..n].to_vec()
}

fn row(parent: usize, child: usize, lambda: f64, size: usize) -> CondensedRow {
    CondensedRow { parent, child, lambda, size }
}

/// 300 points: 60 leave early, then 140 and 100 part; the 140 part again.
fn tree() -> Vec<CondensedRow> {
    let n = 300;
    let mut rows: Vec<CondensedRow> = (0..60).map(|i| row(n, i, 0.2 + 0.01 * i as f64, 1)).collect();
    rows.extend([row(n, n + 1, 0.9, 140), row(n, n + 2, 0.9, 100)]);
    rows.extend((60..90).map(|i| row(n + 1, i, 0.9 + 0.02 * (i - 60) as f64, 1)));
    rows.extend([row(n + 1, n + 3, 1.6, 70), row(n + 1, n + 4, 1.6, 40)]);
    rows.extend((90..160).map(|i| row(n + 3, i, 1.6 + 0.01 * (i - 90) as f64, 1)));
    rows.extend((160..200).map(|i| row(n + 4, i, 1.6 + 0.02 * (i - 160) as f64, 1)));
    rows.extend((200..299).map(|i| row(n + 2, i, 0.9 + 0.03 * (i - 200) as f64, 1)));
    rows.push(row(n + 2, 299, f64::INFINITY, 1));
    rows
}

/// Three parts of a graph with some edges between them, and one node apart.
fn graph(n: u32) -> (Vec<(u32, u32, f64)>, Vec<i32>) {
    let mut rng = Streams::new(3).stream("graph", u64::from(n));
    let labels: Vec<i32> = (0..n).map(|i| if i + 1 == n { -1 } else { (i % 3) as i32 }).collect();
    let mut edges = vec![(0, 0, 1.0)];
    for a in 0..n - 1 {
        for b in a + 1..n - 1 {
            if rng.random::<f64>() < if a % 3 == b % 3 { 9.0 } else { 0.6 } / f64::from(n) {
                edges.push((a, b, 1.0 + rng.random::<f64>() * 3.0));
            }
        }
    }
    (edges, labels)
}

fn criteria(ks: &[usize]) -> Vec<Criterion> {
    let values = |f: &dyn Fn(f64) -> f64| ks.iter().map(|k| f(*k as f64)).collect::<Vec<f64>>();
    let criterion = |name: &str, best: usize, f: &dyn Fn(f64) -> f64| Criterion {
        name: name.into(),
        values: values(f),
        errors: None,
        best: Some(best),
    };
    vec![
        criterion("silhouette", 3, &|k| 0.55 - 0.05 * (k - 3.0).abs()),
        criterion("Calinski-Harabasz", 3, &|k| 560.0 - 30.0 * (k - 3.0).powi(2)),
        criterion("Davies-Bouldin", 2, &|k| 0.4 + 0.1 * k),
        criterion("BIC", 2, &|k| 570.0 + 9.0 * (k - 2.0).powi(2)),
        Criterion { errors: Some(values(&|k| 0.02 * k)), ..criterion("gap", 4, &|k| 0.3 + 0.2 * k.ln()) },
        Criterion { name: "eigengap".into(), values: vec![f64::NAN; ks.len()], errors: None, best: None },
    ]
}

fn drawn() -> Vec<(&'static str, Picture)> {
    let (three_d, labels) = blobs(3, 60, 4);
    let mut noisy = labels.clone();
    (0..180).step_by(17).for_each(|i| noisy[i] = -1);
    let names = list(&["setosa", "versicolor", "virginica"]);
    let (many, many_labels) = blobs(30, 40, 2);
    let (large, large_labels) = blobs(5, 9000, 2);
    let scatter = |values: &[f64], labels: &[i32], d: usize, options: ScatterOptions| {
        scatter_chart(values, labels.len(), d, labels, &options).unwrap()
    };
    let titled = |title: &str, outline| ScatterOptions { title: title.into(), outline, ..ScatterOptions::default() };
    let z = linkage(40);
    let z_large = linkage(3000);
    let ks: Vec<usize> = (2..=10).collect();
    let (edges, graph_labels) = graph(34);
    let (edges_large, graph_labels_large) = graph(400);
    let words: Vec<String> = (0..34).map(|i| format!("node-{i:02}-with-a-name")).collect();
    let block = |n: usize, labels: &[i32]| -> Vec<f64> {
        let mut rng = Streams::new(2).stream("block", n as u64);
        (0..n * n).map(|at| if labels[at / n] == labels[at % n] { 0.8 + 0.2 * rng.random::<f64>() } else { 0.1 * rng.random::<f64>() } / 60.0).collect()
    };
    let soft: Vec<f64> = labels
        .iter()
        .enumerate()
        .flat_map(|(i, l)| {
            (0..3).map(move |c| if c == *l { 0.9 - 0.004 * (i % 100) as f64 } else { 0.05 + 0.002 * (i % 100) as f64 })
        })
        .collect();
    let uneven: Vec<i32> = (0..500)
        .map(|i| {
            if i < 300 {
                0
            } else if i < 440 {
                1
            } else if i < 497 {
                2
            } else {
                -1
            }
        })
        .collect();
    let profile =
        |label: i32, name: &str, size: usize, values: &[f64]| Profile { label, name: name.into(), size, values: values.to_vec() };
    let roles = [
        profile(0, "periphery", 719, &[-0.34, -0.35, -0.2, -0.61, -0.3]),
        profile(1, "connectors", 239, &[0.62, 0.64, 0.24, 1.9, 0.5]),
        profile(2, "hubs", 47, &[2.4, 2.5, 4.1, -0.1, 3.2]),
    ];
    let features = list(&["in_degree", "out_degree", "betweenness", "clustering", "PageRank"]);
    let long: Vec<String> = (0..30).map(|i| format!("a feature with a long name {i}")).collect();
    let wide: Vec<Profile> = (0..20)
        .map(|r| profile(r, &format!("role {r}"), 100, &(0..30).map(|j| f64::from(r * j % 7) - 3.0).collect::<Vec<_>>()))
        .collect();
    vec![
        (
            "scatter_pca_hull",
            scatter(
                &three_d,
                &noisy,
                4,
                ScatterOptions { names: names.clone(), ..titled("Blobs, k-means, k = 3", Outline::Hull) },
            ),
        ),
        ("scatter_ellipse", scatter(&three_d, &labels, 4, titled("Blobs, GMM, k = 3", Outline::Ellipse))),
        (
            "scatter_many",
            scatter(
                &many,
                &many_labels,
                2,
                ScatterOptions { columns: list(&["length (mm)", "width (mm)"]), ..titled("Thirty clusters", Outline::Hull) },
            ),
        ),
        ("scatter_large", scatter(&large, &large_labels, 2, titled("45,000 points", Outline::Ellipse))),
        ("scatter_one_column", scatter(&three_d[..180], &labels, 1, titled("One column", Outline::Hull))),
        ("silhouette", silhouette_chart(&silhouettes(&noisy), &noisy, &names, "Silhouettes").unwrap()),
        (
            "silhouette_many",
            silhouette_chart(
                &silhouettes(&many_labels).iter().map(|s| s / 2.0).collect::<Vec<_>>(),
                &many_labels,
                &[],
                "Silhouettes of thirty clusters",
            )
            .unwrap(),
        ),
        (
            "dendrogram",
            dendrogram_chart(
                &z,
                &DendrogramOptions {
                    title: "Ward linkage".into(),
                    labels: Some(three(&z)),
                    cut: Some(z[37][2] / 2.0 + z[38][2] / 2.0),
                    ..Default::default()
                },
            )
            .unwrap(),
        ),
        (
            "dendrogram_names",
            dendrogram_chart(
                &z,
                &DendrogramOptions { names: (0..40).map(|i| format!("observation-{i}")).collect(), ..Default::default() },
            )
            .unwrap(),
        ),
        (
            "dendrogram_large",
            dendrogram_chart(
                &z_large,
                &DendrogramOptions {
                    title: "3,000 points".into(),
                    leaves: 30,
                    labels: Some(three(&z_large)),
                    ..Default::default()
                },
            )
            .unwrap(),
        ),
        ("scan", k_scan_chart(&ks, &criteria(&ks), Some(3), "Number of clusters").unwrap()),
        ("scan_one", k_scan_chart(&ks, &criteria(&ks)[..1], Some(3), "Number of clusters").unwrap()),
        ("condensed", condensed_tree_chart(&tree(), &[(301, 0), (302, 1)], &[], "Condensed tree").unwrap()),
        (
            "condensed_leaf",
            condensed_tree_chart(&tree(), &[(302, 0), (303, 1), (304, 2)], &list(&["a", "b", "a longer name"]), "Leaves")
                .unwrap(),
        ),
        (
            "network",
            network_chart(34, &edges, &graph_labels, &NetworkOptions { title: "Thirty-four nodes".into(), ..Default::default() })
                .unwrap(),
        ),
        (
            "network_names",
            network_chart(34, &edges, &graph_labels, &NetworkOptions { nodes: words, directed: true, ..Default::default() })
                .unwrap(),
        ),
        (
            "network_large",
            network_chart(
                400,
                &edges_large,
                &graph_labels_large,
                &NetworkOptions { title: "400 nodes".into(), ..Default::default() },
            )
            .unwrap(),
        ),
        (
            "membership",
            membership_chart(
                &block(180, &labels),
                180,
                180,
                &labels,
                &MembershipOptions { title: "SDP memberships".into(), names: names.clone(), by_diagonal: false },
            )
            .unwrap(),
        ),
        (
            "membership_diagonal",
            membership_chart(
                &block(500, &uneven),
                500,
                500,
                &uneven,
                &MembershipOptions { title: "By the diagonal".into(), names: Vec::new(), by_diagonal: true },
            )
            .unwrap(),
        ),
        (
            "membership_soft",
            membership_chart(
                &soft,
                180,
                3,
                &labels,
                &MembershipOptions { title: "Soft memberships".into(), names, by_diagonal: false },
            )
            .unwrap(),
        ),
        ("profiles", profile_chart(&roles, &features, "Roles").unwrap()),
        ("profiles_wide", profile_chart(&wide, &long, "Many roles").unwrap()),
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

fn texts(p: &Picture) -> Vec<String> {
    p.texts().map(str::to_owned).collect()
}

#[test]
fn charts_say_what_they_show_and_leave_out() {
    let pictures = drawn();
    let says = |name: &str, wanted: &str| {
        let all = texts(&pictures.iter().find(|p| p.0 == name).unwrap().1);
        assert!(all.iter().any(|t| t.contains(wanted)), "{name}: {wanted:?} is not in {all:?}");
    };
    says("scatter_pca_hull", "principal component 1 (");
    says("scatter_pca_hull", "noise (11)");
    says("scatter_pca_hull", "setosa (");
    says("scatter_large", "20,000 of 45,000 points");
    says("scatter_many", "width (mm)");
    says("silhouette", "11 points of no cluster not shown");
    says("silhouette", "mean of all points 0.");
    says("dendrogram", "cut at ");
    says("dendrogram_large", "the last 29 of 2,999 merges");
    says("scan", "k = 3, chosen");
    says("scan", "without a finite number: eigengap");
    says("condensed", "branches go on above");
    says("network", "1 loop not drawn");
    says("network_names", "no room for 1 name");
    says("membership_diagonal", "500 rows in 150 bins");
    says("profiles", "2.50");
    says("profiles_wide", "standard deviations from the mean");
}

#[test]
fn a_scatter_holds_every_point_in_its_colour() {
    let (values, labels) = blobs(3, 20, 2);
    let picture =
        scatter_chart(&values, 60, 2, &labels, &ScatterOptions { outline: Outline::None, ..Default::default() }).unwrap();
    let discs = |color: Rgb, r: f64| {
        picture.marks.iter().filter(|m| matches!(m, Mark::Disc { color: c, r: s, .. } if *c == color && *s == r)).count()
    };
    for label in 0..3 {
        assert_eq!(discs(super::style::cluster_style(label).0, 4.0), 20);
    }
    let outlined = |m: &Mark| matches!(m, Mark::Area { color, .. } if *color != crate::plot::style::WHITE);
    assert!(!picture.marks.iter().any(outlined), "no outline");
    // The centroid of the method is used where it is given.
    let options = ScatterOptions { centroids: Some(vec![0.0; 6]), ..Default::default() };
    let at = |p: &Picture| {
        p.marks
            .iter()
            .filter_map(|m| if let Mark::Disc { x, y, r, .. } = m { (*r == 6.8).then_some((*x, *y)) } else { None })
            .collect::<Vec<_>>()
    };
    let given = at(&scatter_chart(&values, 60, 2, &labels, &options).unwrap());
    assert!(given.len() == 3 && given.iter().all(|p| *p == given[0]) && at(&picture)[0] != given[0]);
}

#[test]
fn small_and_equal_data_are_drawn() {
    let options = |outline| ScatterOptions { outline, ..Default::default() };
    for outline in [Outline::None, Outline::Hull, Outline::Ellipse] {
        for d in 1..5 {
            assert_sound(&scatter_chart(&vec![1.0; d], 1, d, &[0], &options(outline)).unwrap());
            assert_sound(&scatter_chart(&vec![2.5; 6 * d], 6, d, &[0, 0, 1, 1, -1, 2], &options(outline)).unwrap());
            assert_sound(&scatter_chart(&vec![0.0; 3 * d], 3, d, &[-1, -1, -1], &options(outline)).unwrap());
            // More columns than points; one constant column among others.
            let values: Vec<f64> = (0..2 * d).map(|i| if i % d == 0 { 3.0 } else { i as f64 * 1e300 }).collect();
            assert_sound(&scatter_chart(&values, 2, d, &[0, 1], &options(outline)).unwrap());
        }
    }
    assert_sound(&silhouette_chart(&[0.0], &[0], &[], "").unwrap());
    assert_sound(&silhouette_chart(&[-1.0, 1.0, f64::NAN], &[0, i32::MAX, 1], &[], "").unwrap());
    assert_sound(&dendrogram_chart(&[], &DendrogramOptions::default()).unwrap());
    assert_sound(
        &dendrogram_chart(
            &[[0.0, 1.0, 0.0, 2.0]],
            &DendrogramOptions { cut: Some(0.5), labels: Some(vec![0, 0]), ..Default::default() },
        )
        .unwrap(),
    );
    assert_sound(
        &k_scan_chart(&[3], &[Criterion { name: "silhouette".into(), values: vec![0.5], ..Default::default() }], Some(3), "")
            .unwrap(),
    );
    assert_sound(&condensed_tree_chart(&[row(1, 0, 0.0, 1)], &[(1, 0)], &[], "").unwrap());
    assert_sound(&condensed_tree_chart(&[row(2, 0, f64::INFINITY, 1), row(2, 1, f64::INFINITY, 1)], &[], &[], "").unwrap());
    assert_sound(&network_chart(1, &[], &[0], &NetworkOptions::default()).unwrap());
    assert_sound(&network_chart(2, &[(0, 1, f64::NAN)], &[0, -1], &NetworkOptions::default()).unwrap());
    assert_sound(&membership_chart(&[1.0], 1, 1, &[0], &MembershipOptions::default()).unwrap());
    assert_sound(&membership_chart(&[0.5; 4], 2, 2, &[0, 0], &MembershipOptions::default()).unwrap());
    assert_sound(&profile_chart(&[Profile { values: vec![0.0], ..Default::default() }], &list(&["x"]), "").unwrap());
}

#[test]
fn deep_trees_are_drawn() {
    // A chain: every merge adds one point; nothing may recurse.
    let n = 200_000;
    let z: Vec<[f64; 4]> =
        (0..n - 1).map(|i| [if i == 0 { 0.0 } else { (n + i - 1) as f64 }, (i + 1) as f64, i as f64, (i + 2) as f64]).collect();
    let picture = dendrogram_chart(&z, &DendrogramOptions::default()).unwrap();
    assert_sound(&picture);
    assert!(texts(&picture).iter().any(|t| t == "(199,951)"));
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let empty = |r: Result<Picture, PlotError>| assert!(matches!(r, Err(PlotError::Empty(_))), "{r:?}");
    let length = |r: Result<Picture, PlotError>| assert!(matches!(r, Err(PlotError::Length { .. })), "{r:?}");
    let scatter = ScatterOptions::default();
    length(scatter_chart(&[1.0], 1, 2, &[0], &scatter));
    length(scatter_chart(&[1.0, 2.0], 1, 2, &[0, 1], &scatter));
    length(scatter_chart(&[1.0, 2.0], 1, 2, &[0], &ScatterOptions { centroids: Some(vec![1.0]), ..Default::default() }));
    empty(scatter_chart(&[], 0, 2, &[], &scatter));
    empty(scatter_chart(&[f64::NAN; 6], 2, 3, &[0, 0], &scatter));
    length(silhouette_chart(&[1.0], &[], &[], ""));
    empty(silhouette_chart(&[1.0], &[-1], &[], ""));
    let tree = |z: &[[f64; 4]]| dendrogram_chart(z, &DendrogramOptions::default());
    empty(tree(&[[0.0, 0.0, 1.0, 2.0]]));
    empty(tree(&[[0.0, 2.0, 1.0, 2.0]]));
    empty(tree(&[[0.0, 1.5, 1.0, 2.0]]));
    empty(tree(&[[0.0, 1.0, f64::NAN, 2.0]]));
    empty(tree(&[[0.0, 1.0, 1.0, 2.0], [0.0, 2.0, 1.0, 2.0]]));
    length(dendrogram_chart(&[], &DendrogramOptions { names: list(&["a", "b"]), ..Default::default() }));
    empty(k_scan_chart(&[2], &criteria(&[2])[5..], None, ""));
    length(k_scan_chart(&[2, 3], &criteria(&[2]), None, ""));
    empty(condensed_tree_chart(&[], &[], &[], ""));
    empty(condensed_tree_chart(&[row(3, 0, -1.0, 1)], &[], &[], ""));
    empty(condensed_tree_chart(&[row(3, 3, 1.0, 1)], &[], &[], ""));
    empty(condensed_tree_chart(&[row(3, 0, 1.0, 1), row(5, 1, 1.0, 1)], &[], &[], ""));
    empty(network_chart(0, &[], &[], &NetworkOptions::default()));
    empty(network_chart(501, &[], &[0; 501], &NetworkOptions::default()));
    empty(network_chart(1, &[(0, 1, 1.0)], &[0], &NetworkOptions::default()));
    length(network_chart(2, &[], &[0], &NetworkOptions::default()));
    empty(membership_chart(&[0.0; 4], 2, 2, &[0, 1], &MembershipOptions::default()));
    length(membership_chart(&[0.0; 3], 2, 2, &[0, 1], &MembershipOptions::default()));
    empty(profile_chart(&[], &[], ""));
    length(profile_chart(&[Profile::default()], &list(&["x"]), ""));
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1.0..1.0f64, 1 => Just(0.0), 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => -1e300..1e300f64]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "[A-Za-z0-9 _é漢\n\"<-]{0,60}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_points(d in 1usize..6, seed in prop::collection::vec(number(), 150), labels in prop::collection::vec(-1i32..60, 25), names in prop::collection::vec(text(), 0..9), outline in 0..3) {
        let n = 25;
        let options = ScatterOptions {
            title: names.concat(),
            columns: names.clone(),
            names,
            outline: [Outline::None, Outline::Hull, Outline::Ellipse][outline as usize],
            centroids: None,
            covariances: None,
        };
        if let Ok(picture) = scatter_chart(&seed[..n * d], n, d, &labels, &options) {
            assert_sound(&picture);
            render(&picture, PictureFormat::Svg).unwrap();
        }
        if let Ok(picture) = silhouette_chart(&seed[..n], &labels, &options.names, &options.title) {
            assert_sound(&picture);
        }
        if let Ok(picture) = membership_chart(&seed[..n * d], n, d, &labels, &MembershipOptions { title: options.title, names: options.names, by_diagonal: true }) {
            assert_sound(&picture);
        }
    }

    #[test]
    fn any_trees_scans_and_graphs(
        heights in prop::collection::vec(number(), 1..70), leaves in 0usize..80, values in prop::collection::vec(number(), 8), names in prop::collection::vec(text(), 12),
        edges in prop::collection::vec((0u32..12, 0u32..12, number()), 0..40), sizes in prop::collection::vec((0usize..3, number(), 0usize..9), 1..60),
    ) {
        let mut z = linkage(heights.len() + 1);
        z.iter_mut().zip(&heights).for_each(|(row, h)| row[2] = *h);
        let n = z.len() + 1;
        let names_of: Vec<String> = (0..n).map(|i| names[i % 12].clone()).collect();
        let options = DendrogramOptions { title: names[0].clone(), leaves, names: names_of, labels: Some((0..n).map(|i| (i % 5) as i32 - 1).collect()), cut: Some(values[0]) };
        if let Ok(picture) = dendrogram_chart(&z, &options) {
            assert_sound(&picture);
        }
        let all: Vec<Criterion> = names.iter().take(7).map(|name| Criterion { name: name.clone(), values: values.clone(), errors: Some(values.clone()), best: Some(4) }).collect();
        if let Ok(picture) = k_scan_chart(&[2, 3, 4, 5, 7, 11, 2, 900], &all, Some(7), &names[1]) {
            assert_sound(&picture);
        }
        let labels: Vec<i32> = (0..12).map(|i| i % 4 - 1).collect();
        let options = NetworkOptions { title: names[2].clone(), nodes: names.clone(), names: names.clone(), directed: true, seed: 5 };
        let picture = network_chart(12, &edges, &labels, &options).unwrap();
        assert_sound(&picture);
        // Clusters 100, 101, …; each row adds a point or a cluster to one of the last three.
        let mut rows: Vec<CondensedRow> = Vec::new();
        let mut last = 100;
        for (i, (back, lambda, size)) in sizes.iter().enumerate() {
            let parent = (last - back.min(&(last - 100))).max(100);
            let child = if i % 3 == 2 { last += 1; last } else { i };
            rows.push(row(parent, child, lambda.abs(), *size));
        }
        if let Ok(picture) = condensed_tree_chart(&rows, &[(101, 0), (102, 1)], &names, &names[3]) {
            assert_sound(&picture);
        }
        let profiles: Vec<Profile> = names.iter().enumerate().map(|(i, name)| Profile { label: i as i32 - 1, name: name.clone(), size: i, values: values.clone() }).collect();
        if let Ok(picture) = profile_chart(&profiles, &names[..8], &names[4]) {
            assert_sound(&picture);
        }
    }
}
