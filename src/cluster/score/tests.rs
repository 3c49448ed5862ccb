use super::*;
use proptest::prelude::*;

const Y: [i32; 12] = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2];
const P: [i32; 12] = [1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 1, 3];

fn scores(a: &[i32], b: &[i32]) -> Scores {
    Scores::of(&Contingency::new(a, b, Noise::Group))
}

/// ARI, NMI (arithmetic, geometric, min, max), AMI, homogeneity, completeness, V, Fowlkes-Mallows.
fn ten(s: &Scores) -> [f64; 10] {
    [s.ari, s.nmi, s.nmi_geometric, s.nmi_min, s.nmi_max, s.ami, s.homogeneity, s.completeness, s.v_measure, s.fowlkes_mallows]
}

#[test]
fn the_worked_example_of_the_specification() {
    let s = scores(&Y, &P);
    // The specification gives nine decimals.
    let expected = [
        0.369175627,
        0.594569444,
        0.596896354,
        0.652092344,
        0.546372398,
        0.434311299,
        0.652092344,
        0.546372398,
        0.594569444,
        0.533113990,
    ];
    for (found, expected) in ten(&s).into_iter().zip(expected) {
        assert!((found - expected).abs() <= 5.1e-10, "{found} is not {expected}");
    }
    assert_eq!((s.n, s.classes, s.clusters), (12, 3, 4));
    // By hand: class 0 -> cluster 1 (3), 1 -> 0 (3), 2 -> 2 (3); F1 = 6/8, 6/7, 6/8.
    assert_eq!(s.acc, 9.0 / 12.0);
    assert_eq!(s.mis_clustering_error, 0.25);
    assert!((s.macro_f1 - (0.75 + 6.0 / 7.0 + 0.75) / 3.0).abs() < 1e-15);
    assert_eq!(s.purity, 10.0 / 12.0);
}

#[test]
fn odd_labellings_score_as_in_scikit_learn() {
    // scikit-learn 1.9.1; where it leaves rounding (2e-16, -7e-16), 0 is expected here.
    let one = [0; 5];
    let all = [0, 1, 2, 3, 4];
    let cases: [(&[i32], &[i32], [f64; 10]); 9] = [
        (&one, &one, [1.0; 10]),
        (&one, &all, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        (&all, &one, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        (&[0, 1, 2, 3], &[3, 2, 1, 0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        (&[4], &[7], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        (&[], &[], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        (
            &[0, 0, 1, 1, 1],
            &all,
            [
                0.0,
                0.5897275217561565,
                0.6466572972441055,
                1.0,
                0.4181656600790515,
                0.0,
                1.0,
                0.4181656600790515,
                0.5897275217561565,
                0.0,
            ],
        ),
        (&[0, 0, 1, 1], &[0, 1, 0, 1], [-0.5, 0.0, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0]),
        (
            &[0, 0, 0, 1, 1, 1, 2, 2],
            &[-1, 0, 0, 1, 1, -1, -1, 2],
            [
                0.15789473684210525,
                0.5577965290899926,
                0.5605686669421412,
                0.6193113011326309,
                0.5073978624039234,
                0.20118648299710978,
                0.6193113011326309,
                0.5073978624039234,
                0.5577965290899926,
                0.33806170189140666,
            ],
        ),
    ];
    for (a, b, expected) in cases {
        for (k, (found, expected)) in ten(&scores(a, b)).into_iter().zip(expected).enumerate() {
            // A few roundings of numbers near 1; AMI divides by a difference of some tenths.
            assert!((found - expected).abs() <= 2e-14, "{a:?} {b:?}: score {k} is {found}, not {expected}");
        }
    }
}

/// Labels of 3000 things in 17 classes and 23 clusters, a third of them right.
fn many() -> (Vec<i32>, Vec<i32>) {
    let a: Vec<i32> = (0..3000i64).map(|i| ((i * i * 7919 + i * 31) % 1009 % 17) as i32).collect();
    let b = (0..3000i64).map(|i| if i % 3 == 0 { a[i as usize] } else { ((i * i * 271 + i * 5) % 997 % 23) as i32 }).collect();
    (a, b)
}

#[test]
fn a_larger_table_scores_as_in_scikit_learn() {
    let (a, b) = many();
    let s = scores(&a, &b);
    let expected = [0.12117213797761192, 0.1829982315938597, 0.1659490374951499, 0.16794113388636472];
    for (found, expected) in [s.ari, s.nmi, s.ami, s.fowlkes_mallows].into_iter().zip(expected) {
        // scikit-learn's expected information comes from factorials: ln 3000! is 2e4, so its digits end at 1e-12.
        assert!((found - expected).abs() <= 1e-12, "{found} is not {expected}");
    }
    let expected = information::expected(&Contingency::new(&a, &b, Noise::Group));
    assert!((expected - 0.06060890657705058).abs() <= 1e-13, "{expected}");
}

/// The definition: every cell of every pair of groups, with logarithms of factorials.
fn expected_by_factorials(table: &Contingency) -> f64 {
    let n = table.n();
    let ln: Vec<f64> = (0..=n)
        .scan(0.0, |sum, i| {
            *sum += (i.max(1) as f64).ln();
            Some(*sum)
        })
        .collect();
    let f = |i: u64| ln[i as usize];
    let mut sum = 0.0;
    for &a in table.row_sums() {
        for &b in table.column_sums() {
            for m in (a + b).saturating_sub(n).max(1)..=a.min(b) {
                let p = f(a) + f(b) + f(n - a) + f(n - b) - f(n) - f(m) - f(a - m) - f(b - m) - f(n + m - a - b);
                sum += m as f64 / n as f64 * ((n * m) as f64 / (a * b) as f64).ln() * p.exp();
            }
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scores_keep_their_promises(labels in prop::collection::vec((-1i32..6, -1i32..9), 0..60)) {
        let (a, b): (Vec<i32>, Vec<i32>) = labels.into_iter().unzip();
        let table = Contingency::new(&a, &b, Noise::Group);
        let s = Scores::of(&table);
        let turned = Scores::of(&Contingency::new(&b, &a, Noise::Group));
        prop_assert_eq!(Contingency::new(&b, &a, Noise::Group), table.transposed());
        // Symmetric ones; sums are taken in another order, so to rounding.
        for (x, y) in [(s.ari, turned.ari), (s.nmi, turned.nmi), (s.ami, turned.ami), (s.fowlkes_mallows, turned.fowlkes_mallows),
            (s.homogeneity, turned.completeness), (s.acc, turned.acc)] {
            prop_assert!((x - y).abs() < 1e-12, "{} {}", x, y);
        }
        for x in [s.nmi, s.nmi_min, s.nmi_max, s.homogeneity, s.completeness, s.v_measure, s.fowlkes_mallows, s.acc, s.macro_f1, s.purity] {
            prop_assert!((0.0..=1.0).contains(&x), "{}", x);
        }
        prop_assert!(s.ari >= -0.5 - 1e-12 && s.ari <= 1.0 && s.ami.is_finite() && s.ami <= 1.0 + 1e-12);
        prop_assert!(s.acc <= s.purity);
        prop_assert!((s.nmi - s.v_measure).abs() < 1e-12);
        // Names of groups do not matter.
        let renamed: Vec<i32> = b.iter().map(|l| (l * 7919 + 13) * 1000).collect();
        let other = Scores::of(&Contingency::new(&a, &renamed, Noise::Group));
        prop_assert!((other.ari - s.ari).abs() < 1e-12 && (other.ami - s.ami).abs() < 1e-12 && other.acc == s.acc);
        prop_assert_eq!(scores(&a, &a).ari, 1.0);
        prop_assert_eq!(scores(&a, &a).ami, 1.0);
        // A sum of at most 7 · 10 · 60 terms below 1, each off by the digits that ln 60! = 189 has lost.
        prop_assert!((information::expected(&table) - expected_by_factorials(&table)).abs() < 1e-11);
    }
}

#[test]
fn sums_of_the_table() {
    let table = Contingency::new(&Y, &P, Noise::Group);
    assert_eq!((table.rows(), table.columns()), (&[0, 1, 2][..], &[0, 1, 2, 3][..]));
    assert_eq!((table.row_sums(), table.column_sums()), (&[4, 3, 5][..], &[4, 4, 3, 1][..]));
    assert_eq!(table.cells().len(), 6);
    // Far labels take the other way and give the same table.
    let far: Vec<i32> = P.iter().map(|&l| if l == 3 { i32::MAX } else { l - 2_000_000_000 }).collect();
    let other = Contingency::new(&Y, &far, Noise::Group);
    assert_eq!(other.cells(), table.cells());
    assert_eq!(other.columns()[3], i32::MAX);
}

#[test]
fn noise_is_a_group_or_left_out() {
    let (a, b) = ([0, 0, 1, 1, -1, 2], [-1, 5, 6, 6, 7, 7]);
    assert_eq!(Contingency::new(&a, &b, Noise::Group).n(), 6);
    let left = Contingency::new(&a, &b, Noise::LeaveOut);
    assert_eq!((left.n(), left.rows(), left.columns()), (4, &[0, 1, 2][..], &[5, 6, 7][..]));
    assert_eq!(Scores::of(&left).ari, 1.0);
    let nothing = Contingency::new(&[-1, -1], &[0, 1], Noise::LeaveOut);
    assert_eq!(Scores::of(&nothing).acc, 1.0);
}

#[test]
fn clusters_without_a_class_count_as_wrong() {
    // Two classes in four clusters of two: half of the things are right whatever the map.
    let (a, b) = ([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3]);
    let s = scores(&a, &b);
    assert_eq!((s.acc, s.purity), (0.5, 1.0));
    // F1 = 2 · 2 / (4 + 2) for both.
    assert!((s.macro_f1 - 2.0 / 3.0).abs() < 1e-15);
    // And classes without a cluster have an F1 of 0.
    let s = scores(&b, &a);
    assert_eq!(s.acc, 0.5);
    assert!((s.macro_f1 - (2.0 / 3.0 + 2.0 / 3.0) / 4.0).abs() < 1e-15);
}

#[test]
fn the_confusion_table_has_matched_clusters_first() {
    let table = Contingency::new(&Y, &P, Noise::Group);
    let confusion = Confusion::of(&table, &Matched::of(&table)).unwrap();
    assert_eq!(confusion.classes, [0, 1, 2]);
    assert_eq!(confusion.clusters, [1, 0, 2, 3]);
    assert_eq!(confusion.cluster_of, [Some(1), Some(0), Some(2)]);
    assert_eq!(confusion.counts, [3, 1, 0, 0, 0, 3, 0, 0, 1, 0, 3, 1]);
    let many: Vec<i32> = (0..5000).collect();
    let table = Contingency::new(&many, &many, Noise::Group);
    assert!(matches!(Confusion::of(&table, &Matched::of(&table)), Err(crate::cluster::ClusterError::Setting { .. })));
}

#[test]
fn many_groups_are_no_trouble() {
    // 1000 groups against 1000 groups and against singletons; a table by the definition would have 10^9 cells for the latter.
    let n = 200_000;
    let a: Vec<i32> = (0..n).map(|i| i % 1000).collect();
    let b: Vec<i32> = (0..n).map(|i| i / 200).collect();
    let all: Vec<i32> = (0..n).collect();
    assert!(scores(&a, &b).ari.abs() < 0.01);
    let s = scores(&a, &all);
    assert_eq!((s.ari, s.ami), (0.0, 0.0));
    // Two logarithms and a division, each to an eps.
    assert!((s.homogeneity - 1.0).abs() <= 4.0 * f64::EPSILON);
    assert_eq!(s.acc, 1000.0 / f64::from(n));
}
