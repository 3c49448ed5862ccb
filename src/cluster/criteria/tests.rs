//! The tables of the specification, and identities of the criteria that are no silhouettes.

use super::testing::{Data, blobs, on_threads};
use super::*;
use crate::cluster::kmeans::{KmeansOptions, kmeans};
use crate::cluster::score::Noise;
use crate::cluster::{ClusterError, Points};
use crate::run::observer::Silent;

/// Labels of Ward's method for iris, 3 clusters (scikit-learn 1.9.1).
const WARD: &str = "111111111111111111111111111111111111111111111111110000000000000000000000000\
    002000000000000000000000020222202222220022220202022002222200222022202220220";

fn close(found: f64, expected: f64, within: f64, what: &str) {
    assert!((found - expected).abs() <= within, "{what}: {found} is not {expected}");
}

/// Silhouette, Calinski-Harabasz, Davies-Bouldin.
fn three(points: Points, labels: &[i32]) -> [f64; 3] {
    let dispersion = Dispersion::of(points, labels, Noise::Group).unwrap();
    [
        silhouette(points, labels, Noise::Group, &Silent).unwrap().mean,
        dispersion.calinski_harabasz().unwrap(),
        dispersion.davies_bouldin().unwrap(),
    ]
}

#[test]
fn the_tables_of_the_specification() {
    // data, standardised, k, inertia, silhouette, CH, DB: seven decimals or nine digits.
    let rows = [
        ("iris", false, 3, 78.8514414, 0.5528190, 561.6277566, 0.6619715),
        ("iris", true, 3, 139.820496, 0.4599482, 241.9044017, 0.8335949),
        ("wine", true, 3, 1277.92849, 0.2848589, 70.9400080, 1.3891880),
    ];
    for (name, standard, k, inertia, s, ch, db) in rows {
        let Some(data) = Data::load(name) else { return };
        let data = if standard { data.standardized() } else { data };
        let fit = kmeans(data.points(), &KmeansOptions { k, restarts: 30, seed: 3, ..Default::default() }, &Silent).unwrap();
        let what = format!("{name} k {k}");
        close(super::inertia(data.points(), &fit.labels, Noise::Group).unwrap(), inertia, 5e-9 * inertia, &what);
        let found = three(data.points(), &fit.labels);
        close(found[0], s, 5.1e-8, &what);
        close(found[1], ch, 5.1e-8, &what);
        close(found[2], db, 5.1e-8, &what);
    }
    let Some(data) = Data::load("iris") else { return };
    for (k, inertia, s) in [(2, 152.347952, 0.6810462), (4, 57.2284732, 0.4980505), (5, 46.4461821, 0.4887489)] {
        let fit = kmeans(data.points(), &KmeansOptions { k, restarts: 60, seed: 1, ..Default::default() }, &Silent).unwrap();
        close(fit.inertia, inertia, 5e-9 * inertia, "iris");
        close(silhouette(data.points(), &fit.labels, Noise::Group, &Silent).unwrap().mean, s, 5.1e-8, "iris");
    }
}

#[test]
fn labels_of_ward_and_classes_score_as_in_scikit_learn() {
    let Some(data) = Data::load("iris") else { return };
    let labels: Vec<i32> = WARD.bytes().map(|b| i32::from(b - b'0')).collect();
    let found = three(data.points(), &labels);
    for (found, expected) in found.into_iter().zip([0.5543236611296419, 558.0580408128307, 0.6562564540642021]) {
        // Sums of 150 terms, each to some eps.
        close(found, expected, 1e-12 * expected, "ward");
    }
    let rows = [
        (
            "iris",
            [0.503477440693296, 487.33087637489984, 0.7513707094756737],
            [0.8464691670128704, 0.14737013161122384, 0.5391107520768827],
            (0.36052553994636183, 89.29740000000001, -444.66777829329067),
        ),
        (
            "digits",
            [0.1629432052257522, 144.1902786959258, 2.1517097380390964],
            [0.43484686176987847, 0.12958899998784057, 0.06912152543937732],
            (0.16432376926831319, 1250760.117435303, -304560.4242825595),
        ),
        (
            "wine",
            [0.20008297882823028, 206.6781164482878, 1.5154862521642123],
            [0.578864540448879, -0.3339508961637142, -0.4334355358282064],
            (0.3178943780313343, 5232632.366206553, -12413.050394145775),
        ),
    ];
    for (name, scores, samples, (without, inertia, likelihood)) in rows {
        let Some(data) = Data::load(name) else { return };
        for (found, expected) in three(data.points(), &data.classes).into_iter().zip(scores) {
            close(found, expected, 1e-11 * expected.abs(), name);
        }
        let all = silhouette(data.points(), &data.classes, Noise::Group, &Silent).unwrap();
        for (i, expected) in [0, 70, 120].into_iter().zip(samples) {
            // scikit-learn does not centre: its distances are good to 1e-16 (‖x‖ / distance)², up to 1e-11 for wine.
            close(all.samples[i], expected, 1e-10, name);
        }
        close(all.mean_without_largest, without, 1e-11, name);
        let dispersion = Dispersion::of(data.points(), &data.classes, Noise::Group).unwrap();
        close(dispersion.inertia(), inertia, 1e-12 * inertia, name);
        let model = spherical::spherical(&dispersion).unwrap();
        close(model.log_likelihood, likelihood, 1e-12 * likelihood.abs(), name);
        let k = dispersion.sizes.len();
        assert_eq!(model.parameters, k + k * data.d);
        close(model.bic + 2.0 * model.log_likelihood, model.parameters as f64 * (data.n as f64).ln(), 1e-9, name);
        close(model.aic + 2.0 * model.log_likelihood, 2.0 * model.parameters as f64, 1e-9, name);
    }
}

#[test]
fn spreads_add_up_to_the_whole() {
    let (values, labels) = blobs(9000, 3, 4, 1.0);
    let points = Points::new(&values, 9000, 3).unwrap();
    let of = Dispersion::of(points, &labels, Noise::Group).unwrap();
    let whole = Dispersion::of(points, &vec![0; 9000], Noise::Group).unwrap();
    // Huygens: total = within + between; sums of 9000 numbers.
    close(of.inertia() + of.between, whole.inertia(), 1e-11 * whole.inertia(), "sum of squares");
    assert_eq!((of.sizes.iter().sum::<usize>(), whole.between), (9000, 0.0));
    let [one, two] = on_threads(|| Dispersion::of(points, &labels, Noise::Group).unwrap());
    assert_eq!(one, two);
}

#[test]
fn noise_is_left_out_or_a_cluster() {
    let values = [0.0, 1.0, 5.0, 6.0, 100.0];
    let points = Points::new(&values, 5, 1).unwrap();
    let labels = [0, 0, 1, 1, -1];
    assert_eq!(inertia(points, &labels, Noise::LeaveOut).unwrap(), 1.0);
    // B = 4 · 2.5² = 25, W = 1: (25 / 1) / (1 / 2).
    assert_eq!(calinski_harabasz(points, &labels, Noise::LeaveOut).unwrap(), 50.0);
    // (0.5 + 0.5) / 5 for both.
    assert_eq!(davies_bouldin(points, &labels, Noise::LeaveOut).unwrap(), 0.2);
    assert!(calinski_harabasz(points, &labels, Noise::Group).unwrap() > 1000.0);
}

#[test]
fn degenerate_clusters() {
    let values = [2.0, 2.0, 5.0, 5.0];
    let points = Points::new(&values, 4, 1).unwrap();
    // As scikit-learn: tight clusters have a CH of 1 and a DB of 0, and so have clusters with one centre.
    assert_eq!(calinski_harabasz(points, &[0, 0, 1, 1], Noise::Group).unwrap(), 1.0);
    assert_eq!(davies_bouldin(points, &[0, 0, 1, 1], Noise::Group).unwrap(), 0.0);
    assert_eq!(davies_bouldin(points, &[0, 1, 0, 1], Noise::Group).unwrap(), 0.0);
    let dispersion = Dispersion::of(points, &[0, 0, 1, 1], Noise::Group).unwrap();
    assert_eq!(spherical::spherical(&dispersion), None);
    for labels in [[0, 0, 0, 0], [0, 1, 2, 3]] {
        for score in [calinski_harabasz(points, &labels, Noise::Group), davies_bouldin(points, &labels, Noise::Group)] {
            let text = score.unwrap_err().to_string();
            assert!(text.contains("of 4 points") && text.contains("at least 2"), "{text}");
        }
    }
    assert_eq!(inertia(points, &[-1; 4], Noise::LeaveOut), Err(ClusterError::Empty));
    let values = [1e200, -1e200, 0.0];
    let points = Points::new(&values, 3, 1).unwrap();
    assert!(matches!(inertia(points, &[0, 0, 1], Noise::Group), Err(ClusterError::Numbers(_))));
}

#[test]
fn references_fill_the_box_and_repeat() {
    let values = [0.0, 5.0, 1.0, 5.0, -3.0, 5.0];
    let hull = gap::ReferenceBox::new(Points::new(&values, 3, 2).unwrap());
    let draws: Vec<Vec<f64>> = (0..200).map(|i| hull.draw(1, i)).collect();
    assert_eq!(draws[3], hull.draw(1, 3));
    assert_ne!(draws[3], hull.draw(2, 3));
    let first: Vec<f64> = draws.iter().flatten().step_by(2).copied().collect();
    assert!(first.iter().all(|x| (-3.0..=1.0).contains(x)) && draws.iter().flatten().skip(1).step_by(2).all(|x| *x == 5.0));
    // Mean −1, of 600 uniform numbers with a deviation of 4/√12: 5 standard errors.
    let mean = first.iter().sum::<f64>() / 600.0;
    close(mean, -1.0, 5.0 * 4.0 / 12f64.sqrt() / 600f64.sqrt(), "mean");
    let wide = [-1.7e308, 1.7e308];
    assert!(gap::ReferenceBox::new(Points::new(&wide, 2, 1).unwrap()).draw(0, 0).iter().all(|x| x.is_finite()));
}

#[test]
fn the_gap_and_its_rule() {
    let e = std::f64::consts::E;
    // ln W*: 1, 3: mean 2, population deviation 1, √(1 + 1/2).
    let found = gap::Gap::of(1.0, &[e, e * e * e]).unwrap();
    close(found.gap, 2.0, 1e-15, "gap");
    close(found.se, 1.5f64.sqrt(), 1e-15, "se");
    assert_eq!(gap::Gap::of(0.0, &[1.0]), None);
    assert_eq!(gap::Gap::of(1.0, &[]), None);
    let g = |gap, se| gap::Gap { gap, se };
    assert_eq!(gap::one_standard_error(&[(1, g(0.0, 0.0)), (2, g(1.0, 0.1)), (3, g(1.05, 0.1)), (4, g(2.0, 0.1))]), Some(2));
    assert_eq!(gap::one_standard_error(&[(1, g(0.0, 0.0)), (2, g(1.0, 0.1))]), Some(2));
    assert_eq!(gap::one_standard_error(&[]), None);
}
