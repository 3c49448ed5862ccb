//! Clusterings as pictures.

use super::keep::Done;
use super::method::Found;
use super::scan::Scanned;
use crate::cli::failure::Outcome;
use crate::cluster::Graph;
use crate::cluster::k_scan::{Criterion as By, Row};
use crate::plot::Picture;
use crate::plot::clusters::{
    CondensedRow, Criterion, DendrogramOptions, MembershipOptions, NetworkOptions, Outline, ScatterOptions, condensed_tree_chart,
    dendrogram_chart, k_scan_chart, membership_chart, network_chart, scatter_chart, silhouette_chart,
};
use crate::table::graph::Network;
use clap::ValueEnum;

/// Which picture `--plot` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureArg {
    /// the points, the first two principal components if there are more than two coordinates
    Scatter,
    /// the silhouette of every row, cluster by cluster
    Silhouette,
    /// agglomerative, hdbscan: the tree of merges
    Dendrogram,
    /// hdbscan: clusters by density
    Tree,
    /// with --k auto: every criterion by the number of clusters
    KScan,
    /// sdp: the relaxed matrix of who belongs together; gmm, ila-sdp: what each row has of each cluster
    Membership,
}

impl PictureArg {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scatter => "scatter",
            Self::Silhouette => "silhouette",
            Self::Dendrogram => "dendrogram",
            Self::Tree => "tree",
            Self::KScan => "k-scan",
            Self::Membership => "membership",
        }
    }
}

/// The picture of a clustering of points.
pub fn draw(picture: PictureArg, done: &Done) -> Outcome<Picture> {
    let (table, found) = (done.table, &done.found);
    let file = table.name.rsplit('/').next().unwrap_or(&table.name);
    let title = format!("{file}: {} clusters by {}", found.clusters(), done.method);
    let drawn = match picture {
        PictureArg::Scatter => scatter_chart(&done.scaled.values, table.n, table.d, &found.labels, &scatter(done, title)),
        PictureArg::Silhouette => {
            let values = done
                .silhouettes
                .as_deref()
                .ok_or_else(|| super::points::no_picture("silhouette (--silhouette exact takes all rows)"))?;
            silhouette_chart(values, &found.labels, &[], &title)
        }
        PictureArg::Dendrogram => {
            let merges = found.shapes.merges.as_deref().ok_or_else(|| super::points::no_picture("dendrogram"))?;
            let rows: Vec<[f64; 4]> = merges.chunks_exact(4).map(|m| [m[0], m[1], m[2], m[3]]).collect();
            let names = table.ids.iter().map(|id| id.to_string()).collect();
            let options = DendrogramOptions {
                title,
                names,
                labels: Some(found.labels.clone()),
                cut: cut(found, &rows),
                ..DendrogramOptions::default()
            };
            dendrogram_chart(&rows, &options)
        }
        PictureArg::Tree => {
            let (tree, clusters) = found.shapes.tree.as_ref().ok_or_else(|| super::points::no_picture("tree"))?;
            let n = table.n;
            let mut rows: Vec<CondensedRow> = Vec::with_capacity(n + tree.clusters.len());
            for (c, cluster) in tree.clusters.iter().enumerate() {
                let row =
                    |p: u32| CondensedRow { parent: n + p as usize, child: n + c, lambda: cluster.birth, size: cluster.size };
                rows.extend(cluster.parent.map(row));
            }
            for (point, (cluster, distance)) in tree.cluster_of.iter().zip(&tree.distance_of).enumerate() {
                rows.push(CondensedRow { parent: n + *cluster as usize, child: point, lambda: 1.0 / distance, size: 1 });
            }
            let selected: Vec<(usize, i32)> =
                clusters.iter().enumerate().map(|(label, &c)| (n + c as usize, label as i32)).collect();
            condensed_tree_chart(&rows, &selected, &[], &title)
        }
        PictureArg::KScan => {
            let scanned = done.scanned.as_ref().ok_or_else(|| super::points::no_picture("k-scan"))?;
            let ks: Vec<usize> = scanned.rows.iter().map(|r| r.k).collect();
            let title =
                format!("{file}: {} with k from {} to {}", done.method, ks.first().unwrap_or(&0), ks.last().unwrap_or(&0));
            k_scan_chart(&ks, &criteria(scanned), Some(scanned.chosen.k), &title)
        }
        PictureArg::Membership => {
            let (matrix, columns) = match (&found.shapes.relaxed, &found.memberships) {
                (Some(z), _) => (z, table.n),
                (None, Some(m)) => (m, m.len() / table.n.max(1)),
                (None, None) => return Err(super::points::no_picture("membership (a sketch or a closed form has no matrix)")),
            };
            let options = MembershipOptions { title, names: Vec::new(), by_diagonal: found.shapes.relaxed.is_some() };
            membership_chart(matrix, table.n, columns, &found.labels, &options)
        }
    };
    Ok(drawn?)
}

fn scatter(done: &Done, title: String) -> ScatterOptions {
    let shapes = &done.found.shapes;
    let k = done.found.clusters();
    // A component that is no row's most probable one has no colour.
    let centroids = shapes.centroids.as_ref().map(|c| c[..k * done.table.d].to_vec());
    let covariances = shapes.covariances.as_ref().map(|all| all[..k].concat());
    ScatterOptions {
        title,
        columns: done.table.columns.clone(),
        names: Vec::new(),
        outline: if covariances.is_some() { Outline::Ellipse } else { Outline::Hull },
        centroids,
        covariances,
    }
}

/// Between the last merge that was made and the first that was not.
fn cut(found: &Found, merges: &[[f64; 4]]) -> Option<f64> {
    if found.shapes.tree.is_some() {
        return None;
    }
    let made = merges.len().checked_sub(found.clusters().checked_sub(1)?)?;
    let below = if made == 0 { 0.0 } else { merges[made - 1][2] };
    merges.get(made).map(|m| 0.5 * (below + m[2]))
}

/// A number of a row of the scan.
type Value<'a> = &'a dyn Fn(&Row) -> Option<f64>;

/// The criteria that have numbers.
fn criteria(scanned: &Scanned) -> Vec<Criterion> {
    let of = |name: &str, by: Option<By>, value: Value<'_>, error: Option<Value<'_>>| {
        let values: Vec<f64> = scanned.rows.iter().map(|r| value(r).unwrap_or(f64::NAN)).collect();
        values.iter().any(|v| v.is_finite()).then(|| Criterion {
            name: name.into(),
            errors: error.map(|error| scanned.rows.iter().map(|r| error(r).unwrap_or(f64::NAN)).collect()),
            best: by.and_then(|by| scanned.choices.iter().find(|c| c.criterion == by)).map(|c| c.k),
            values,
        })
    };
    [
        of("objective", None, &|r| Some(r.objective), None),
        of("silhouette", Some(By::Silhouette), &|r| r.silhouette, None),
        of("Calinski-Harabasz", Some(By::Ch), &|r| r.ch, None),
        of("Davies-Bouldin", Some(By::Db), &|r| r.db, None),
        of("BIC", Some(By::Bic), &|r| r.bic, None),
        of("AIC", Some(By::Aic), &|r| r.aic, None),
        of("gap", Some(By::Gap), &|r| r.gap, Some(&|r| r.gap_se)),
        of("eigengap", Some(By::Eigengap), &|r| r.eigengap, None),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The picture of a clustering of a graph.
pub fn graph(network: &Network, whole: &Graph, labels: &[i32], seed: u64) -> Outcome<Picture> {
    let mut edges = Vec::with_capacity(whole.entries() / 2);
    for i in 0..whole.n() {
        let (targets, weights) = whole.row(i);
        edges.extend(targets.iter().zip(weights).filter(|(j, _)| **j as usize >= i).map(|(&j, &w)| (i as u32, j, w)));
    }
    let name = network.views.first().map_or("", |v| v.name.rsplit('/').next().unwrap_or(&v.name));
    let options = NetworkOptions {
        title: format!("{name}: {} communities", crate::cluster::labels::count(labels)),
        nodes: network.ids.iter().map(|id| id.to_string()).collect(),
        names: Vec::new(),
        directed: false,
        seed,
    };
    Ok(network_chart(whole.n(), &edges, labels, &options)?)
}
