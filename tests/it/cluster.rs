//! `shoal cluster`: the reference numbers through the binary, models that are kept and read back, graphs, scores, mistakes.

use crate::support::{num, ok, ok_with, rows, run, run_with, shared, temp, testdata, write};
use serde_json::Value;

fn json(line: &str) -> Value {
    serde_json::from_str(&ok(line)).expect("JSON")
}

fn number(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {v}"))
}

/// A metric, its reference and how far off it may be: half a unit of the reference's last printed digit, or what the method stops at.
type Expected<'a> = (&'a str, f64, f64);

fn close(found: &Value, expected: &[Expected], what: &str) {
    for &(key, value, within) in expected {
        assert!((number(found, key) - value).abs() <= within, "{what}: {key} is {}, not {value}", found[key]);
    }
}

fn refused(line: &str, why: &str) {
    let (code, out, err) = run(line);
    assert!(code == 2 && out.is_empty() && err.contains(why), "shoal {line}: {code}\n{out}\n{err}");
}

fn iris() -> String {
    testdata("cluster/uci-small/iris.csv")
}

#[test]
fn k_means_has_the_reference_numbers() {
    let iris = iris();
    let found = json(&format!("cluster points {iris} -m kmeans -k 3 --restarts 50 --json -q"));
    let expected = [
        ("objective", 78.8514414, 5e-8),
        ("ari", 0.7302383, 5e-8),
        ("nmi", 0.7581757, 5e-8),
        ("ami", 0.7551192, 5e-8),
        ("acc", 0.8933333, 5e-8),
        ("macro_f1", 0.8917749, 5e-8),
        ("silhouette", 0.5528190, 5e-8),
        ("calinski_harabasz", 561.6277566, 5e-8),
        ("davies_bouldin", 0.6619715, 5e-8),
    ];
    close(&found, &expected, "iris");
    let found = json(&format!("cluster points {iris} -m kmeans -k 3 --standardize zscore --restarts 100 --json -q"));
    close(
        &found,
        &[("objective", 139.820496, 5e-7), ("ari", 0.6201352, 5e-8), ("silhouette", 0.4599482, 5e-8)],
        "iris, standardized",
    );
    let wine = testdata("cluster/uci-small/wine.csv");
    let found = json(&format!("cluster points {wine} -m kmeans -k 3 --standardize zscore --restarts 50 --json -q"));
    close(&found, &[("objective", 1277.92849, 5e-6), ("ari", 0.8974950, 5e-8), ("acc", 0.9662921, 5e-8)], "wine");
}

#[test]
fn mixtures_trees_and_densities_have_the_reference_numbers() {
    let iris = iris();
    let cases: [(&str, &[Expected]); 8] = [
        ("-m gmm -k 3", &[("log_likelihood", -180.185478, 2e-4), ("bic", 580.83891, 4e-4), ("ari", 0.9038742, 5e-8)]),
        ("-m gmm -k 3 --cov tied", &[("log_likelihood", -256.354044, 2e-4), ("ari", 0.9410123, 5e-8), ("acc", 0.98, 1e-12)]),
        ("-m gmm -k 2", &[("log_likelihood", -214.354705, 2e-4), ("ari", 0.5681159, 5e-8)]),
        ("-m agglomerative -k 3", &[("height", 32.447607, 5e-7), ("ari", 0.7311986, 5e-8), ("silhouette", 0.5543237, 5e-8)]),
        ("-m agglomerative --linkage average -k 3", &[("height", 4.062683, 5e-7), ("ari", 0.7591987, 5e-8)]),
        ("-m dbscan --eps 0.5 --min-samples 5", &[("k", 2.0, 0.0), ("noise", 17.0, 0.0), ("ari", 0.5206185, 5e-8)]),
        ("-m hdbscan --min-cluster-size 5", &[("k", 2.0, 0.0), ("noise", 0.0, 0.0), ("ari", 0.5681159, 5e-8)]),
        ("-m spectral -k 3", &[("ari", 0.7591987, 5e-8), ("nmi", 0.8056937, 5e-8), ("acc", 0.9066667, 5e-8)]),
    ];
    for (options, expected) in cases {
        close(&json(&format!("cluster points {iris} {options} --json -q")), expected, options);
    }
}

const TWELVE: &str = "x,y\n0,0\n1,0\n0,1\n1,1\n4,0\n5,0\n4,1\n2.2,3\n3,3.4\n2.6,4.2\n2.5,1.5\n3.4,1.9\n";

const CROSSED: &str = "x,y,label\n-3,0.1,0\n-2,-0.2,0\n-1,0.15,0\n1,-0.1,0\n2,0.2,0\n3,-0.15,0\n0.1,2,1\n-0.15,3,1\n0.2,4,1\n-0.1,5,1\n0.05,1,1\n0,6,1\n";

#[test]
fn certificates_bound_every_clustering() {
    let dir = temp();
    let twelve = write(&dir, "twelve.csv", TWELVE);
    for (k, relaxed, inertia) in [(2, 24.451974456, 25.23375), (3, 8.893359766, 9.065333333)] {
        let found = json(&format!("cluster points {twelve} -m sdp --solver admm -k {k} --json -q"));
        // The bound is below the optimum of the programme, and near it when the solver has converged.
        assert!(number(&found, "bound") <= relaxed + 1e-9 && number(&found, "bound") > relaxed - 1e-4, "{found}");
        assert!((number(&found, "objective") - inertia).abs() < 1e-8, "{found}");
        assert!((number(&found, "relaxed") - relaxed).abs() < 1e-4, "{found}");
    }
    // Two crossed lines of equal means, which k-means cannot tell apart: the programme for their covariances puts every row right.
    let found = json(&format!("cluster points {} -m ila-sdp -k 2 --json -q", write(&dir, "cross.csv", CROSSED)));
    close(&found, &[("ari", 1.0, 0.0)], "crossed lines by iLA-SDP");
}

#[test]
fn labels_do_not_depend_on_threads_and_little_on_the_order_of_rows() {
    let text = std::fs::read_to_string(iris()).expect("committed data");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    let backwards = lines.join("\n") + "\n";
    for options in [
        "-m kmeans -k 3",
        "-m gmm -k 3",
        "-m hdbscan",
        "-m dbscan --eps .5",
        "-m agglomerative -k 3",
        "-m spectral -k 3",
        "-m sdp -k 3 --max-iter 50",
        "-m minibatch-kmeans -k 3",
        "-m ila-sdp -k 3 --outer 2 --max-iter 50",
    ] {
        let line = format!("cluster points - {options} -q --threads");
        let one = ok_with(&format!("{line} 1"), text.clone());
        assert_eq!(one, ok_with(&format!("{line} 2"), text.clone()), "{options}");
        let labels = |csv: &str| rows(csv).iter().map(|r| num(r, "label") as i32).collect::<Vec<_>>();
        let mut reversed = labels(&ok_with(&format!("{line} 2"), backwards.clone()));
        reversed.reverse();
        // Methods without random starts give the same partition; label numbers follow the rows.
        if !["kmeans", "gmm", "minibatch-kmeans", "spectral", "sdp"].iter().any(|m| options.contains(&format!("-m {m} "))) {
            let forwards = labels(&one);
            let mut pairs: Vec<(i32, i32)> = forwards.into_iter().zip(reversed).collect();
            pairs.sort_unstable();
            pairs.dedup();
            let (mut a, mut b): (Vec<i32>, Vec<i32>) = pairs.iter().copied().unzip();
            a.dedup();
            b.sort_unstable();
            b.dedup();
            assert!(a.len() == pairs.len() && b.len() == pairs.len(), "{options}: {pairs:?}");
        }
    }
}

#[test]
fn kept_models_label_their_training_rows_as_the_training_did() {
    let dir = temp();
    let model = dir.path().join("m.safetensors").to_string_lossy().into_owned();
    for options in [
        "-m kmeans -k 3",
        "-m minibatch-kmeans -k 3",
        "-m gmm -k 3",
        "-m dbscan --eps 0.5",
        "-m hdbscan --min-samples 3",
        "-m sdp -k 3 --max-iter 50",
        "-m ila-sdp -k 3 --outer 2 --max-iter 50",
    ] {
        for scaling in ["none", "zscore"] {
            let fit = ok(&format!("cluster points {} {options} --standardize {scaling} --save {model} -q", iris()));
            let again = ok(&format!("cluster predict {} --model {model} -q", iris()));
            let labels = |csv: &str| rows(csv).iter().map(|r| r["label"].clone()).collect::<Vec<_>>();
            assert_eq!(labels(&fit), labels(&again), "{options}, {scaling}");
        }
    }
    let other = write(&dir, "other.csv", "a,b\n1,2\n");
    refused(&format!("cluster predict {other} --model {model}"), "sepal_length");
    let (code, _, err) = run(&format!("cluster predict {} --model {other}", iris()));
    assert!(code == 2 && err.contains("holds no clustering"), "{err}");
    refused(&format!("cluster points {} -m agglomerative -k 3 --save {model}", iris()), "--save");
}

#[test]
fn the_number_of_clusters_is_picked_and_the_scan_is_kept() {
    let dir = temp();
    let table = dir.path().join("k.csv").to_string_lossy().into_owned();
    let (code, out, err) =
        run(&format!("cluster points {} -k auto --k-range 2:5 --k-criterion silhouette --k-table {table} --json", iris()));
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(number(&found, "k"), 2.0);
    assert!(err.contains("disagree"), "CH takes 3 clusters: {err}");
    let scan = rows(&std::fs::read_to_string(&table).expect("the table of the scan"));
    for (row, (inertia, silhouette)) in
        scan.iter().zip([(152.347952, 0.6810462), (78.8514414, 0.5528190), (57.2284732, 0.4980505), (46.4461821, 0.4887489)])
    {
        assert!((num(row, "objective") - inertia).abs() < 5e-7 && (num(row, "silhouette") - silhouette).abs() < 5e-8, "{row:?}");
    }
    let found = json(&format!("cluster points {} -m gmm -k auto --k-range 1:4 --k-criterion bic --json -q", iris()));
    assert_eq!(number(&found, "k"), 2.0, "BIC takes two mixtures for iris");
}

#[test]
fn graphs_have_the_reference_numbers() {
    let (edges, labels) = (testdata("cluster/karate/edges.csv"), testdata("cluster/karate/labels.csv"));
    let found = json(&format!("cluster graph {edges} -m spectral -k 2 --truth {labels} --json -q"));
    close(&found, &[("ari", 0.7717250, 5e-8), ("nmi", 0.7323776, 5e-8), ("modularity", 0.3599606, 5e-8)], "karate");
    assert!((found["eigenvalues"][1].as_f64().expect("a number") - 0.13227233).abs() < 5e-9);
    let found = json(&format!("cluster graph {edges} --json -q"));
    // The optimum over all partitions (Brandes et al. 2008).
    close(&found, &[("modularity", 0.4197896, 5e-8), ("k", 4.0, 0.0)], "karate by Leiden");
    let one = ok(&format!("cluster graph {edges} -m label-prop -q --threads 1"));
    assert_eq!(one, ok(&format!("cluster graph {edges} -m label-prop -q --threads 2")));
    if let (Some(edges), Some(labels)) = (shared("football/edges.csv"), shared("football/labels.csv")) {
        let found =
            json(&format!("cluster graph {edges} -m spectral -k 12 --embedding njw --restarts 100 --truth {labels} --json -q"));
        close(&found, &[("inertia", 8.69401947, 5e-9), ("ari", 0.8966500, 5e-8), ("modularity", 0.6005165, 5e-8)], "football");
    }
}

#[test]
fn labels_are_compared_by_id() {
    let dir = temp();
    let (y, p) = ([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2], [1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 1, 3]);
    let csv = |labels: &[i32], names: [&str; 4], backwards: bool| {
        let mut lines: Vec<String> = labels.iter().enumerate().map(|(i, l)| format!("r{i},{}\n", names[*l as usize])).collect();
        if backwards {
            lines.reverse();
        }
        format!("id,label\n{}", lines.concat())
    };
    let truth = write(&dir, "truth.csv", csv(&y, ["oak", "elm", "ash", "fir"], false));
    let pred = write(&dir, "pred.csv", csv(&p, ["0", "1", "2", "3"], true));
    let found = json(&format!("cluster score --truth {truth} --pred {pred} --json -q"));
    let expected = [
        ("ari", 0.369175627, 5e-10),
        ("nmi", 0.594569444, 5e-10),
        ("nmi_geometric", 0.596896354, 5e-10),
        ("nmi_min", 0.652092344, 5e-10),
        ("nmi_max", 0.546372398, 5e-10),
        ("ami", 0.434311299, 5e-10),
        ("homogeneity", 0.652092344, 5e-10),
        ("completeness", 0.546372398, 5e-10),
        ("fowlkes_mallows", 0.533113990, 5e-10),
    ];
    close(&found, &expected, "the worked example");
    let table = rows(&ok(&format!("cluster score --truth {truth} --pred {pred} --confusion -q")));
    assert_eq!(table.iter().map(|r| r["class"].as_str()).collect::<Vec<_>>(), ["ash", "elm", "oak"]);
    let short = write(&dir, "short.csv", "id,label\nr0,1\n");
    refused(&format!("cluster score --truth {short} --pred {pred}"), "has no label for 11 points");
    refused(&format!("cluster score --pred {pred}"), "nothing to compare with");
}

#[test]
fn a_run_is_kept_whole_and_repeats_to_the_byte() {
    let dir = temp();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (first, second) = (at("a"), at("b"));
    let plot = at("p.svg");
    let out = ok(&format!("cluster points {} -m gmm -k 3 --run-dir {first} --plot {plot} -q", iris()));
    for name in ["labels.csv", "model.safetensors", "memberships.csv", "metrics.json", "manifest.json", "scatter.svg"] {
        assert!(dir.path().join("a").join(name).exists(), "{name}");
    }
    assert!(std::fs::read_to_string(&plot).expect("a picture").ends_with("</svg>\n"));
    assert_eq!(out, ok(&format!("cluster points --config {first}/manifest.json --run-dir {second} --plot {plot} -q")));
    for name in ["labels.csv", "model.safetensors", "memberships.csv", "metrics.json", "scatter.svg"] {
        let read = |d: &str| std::fs::read(dir.path().join(d).join(name)).expect("a file of the run");
        assert!(read("a") == read("b"), "{name}");
    }
    for (method, picture) in [
        ("agglomerative -k 3", "dendrogram"),
        ("hdbscan", "tree"),
        ("hdbscan", "dendrogram"),
        ("kmeans -k 3", "silhouette"),
        ("kmeans -k auto --k-range 2:4", "k-scan"),
        ("sdp -k 3 --max-iter 100", "membership"),
    ] {
        let plot = at("x.png");
        ok(&format!("cluster points {} -m {method} --plot {plot} --picture {picture} -q", iris()));
        assert!(std::fs::read(&plot).expect("a picture").starts_with(b"\x89PNG"), "{picture}");
    }
    let plot = at("g.svg");
    ok(&format!("cluster graph {} --plot {plot} -q", testdata("cluster/karate/edges.csv")));
    assert!(std::fs::read_to_string(&plot).expect("a picture").contains("</svg>"));
}

#[test]
fn mistakes_are_named() {
    let dir = temp();
    let input = iris();
    for (options, why) in [
        ("-m kmeans", "--method kmeans needs the number of clusters"),
        ("-k 0", "at least 1, or auto"),
        ("-k 151", "151 clusters of 150 points"),
        ("-m dbscan", "needs --eps"),
        ("-m dbscan --eps .5 -k 3", "--k means nothing for --method dbscan"),
        ("-k 3 --proba p.csv", "--proba means nothing for --method kmeans"),
        ("-k 3 --linkage ward", "--linkage means nothing for --method kmeans"),
        ("-k 3 --features nope", "nope"),
        ("-k 3 --exclude label,nope", "nope"),
        ("-k auto --k-range 5:2", "two numbers as 2:10"),
        ("-k 3 --k-range 2:5", "--k-range"),
        ("-k 3 --picture tree --plot t.svg", "--method hdbscan"),
        ("-m ila-sdp -k 3 --cov spherical", "full, tied or diag"),
        ("-m hdbscan --min-cluster-size 1", "min_cluster_size is 1"),
        ("-k 3 --init nowhere.csv", "plus-plus, random or a file"),
    ] {
        refused(&format!("cluster points {input} {options}"), why);
    }
    for (text, options, why) in [
        ("x,y\n1,2\n,3\n4,5\n", "-k 2", "row 3, column \"x\""),
        ("x,y\n1,2\n3,oak\n", "-k 1", "oak"),
        ("x,y\n1,2\n1,2\n1,2\n", "-k 2", "2 clusters of 1 distinct points"),
        ("id,x\na,1\na,2\n", "-k 2", "both have the id"),
        ("x\n1e308\n-1e308\n5\n", "-k 2", ""),
    ] {
        let (code, _, err) = run_with(&format!("cluster points - {options}"), text);
        assert!((code == 2 || code == 4) && err.contains(why) && !err.contains("panicked"), "{text}: {code} {err}");
    }
    // One row, constant columns and missing cells that are filled are no mistakes.
    assert_eq!(rows(&ok_with("cluster points - -k 1 -q", "x,y\n1,2\n")).len(), 1);
    assert_eq!(rows(&ok_with("cluster points - -k 2 --standardize zscore -q", "x,y\n1,2\n1,3\n1,9\n")).len(), 3);
    assert_eq!(rows(&ok_with("cluster points - -k 2 --impute mean -q", "x,y\n1,2\n,3\n4,5\n")).len(), 3);
    assert_eq!(rows(&ok_with("cluster points - -k 2 --impute drop -q", "x,y\n1,2\n,3\n4,5\n")).len(), 2);
    for (text, options, why) in [
        ("a,b\n1,2\n2,\n", "", "row 3"),
        ("a,b,weight\n1,2,-1\n", "", "-1"),
        ("a\n1\n", "", ""),
        ("a,b\n1,2\n", "-m spectral", "needs the number of clusters"),
        ("a,b\n1,2\n", "-m leiden -k 3", "-k means nothing"),
    ] {
        let edges = write(&dir, "e.csv", text);
        let (code, _, err) = run(&format!("cluster graph {edges} {options}"));
        assert!(code == 2 && err.contains(why), "{text} {options}: {code} {err}");
    }
    // A disconnected graph, loops and repeated edges are no mistakes.
    let edges = write(&dir, "e.csv", "a,b\nu,v\nv,u\nx,y\nx,x\nx,y\n");
    let found = rows(&ok(&format!("cluster graph {edges} -q")));
    assert_eq!(found.iter().map(|r| r["label"].as_str()).collect::<Vec<_>>(), ["0", "0", "1", "1"]);
}
