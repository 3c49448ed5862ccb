//! What can be asked of the methods on points, and what they answer, in one form.

use super::choices::choice;
use super::failure;
use super::input::{Scaled, graph_over};
use crate::cli::args::{not_negative, positive, refuse_unused};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::cluster::agglomerative::{AgglomerativeOptions, Cut, Linkage, agglomerative};
use crate::cluster::dbscan::{Border, DbscanOptions, dbscan};
use crate::cluster::gmm::{Covariance, Gmm, GmmOptions, gmm, gmm_from_labels};
use crate::cluster::hdbscan::{CondensedTree, Convention, HdbscanOptions, Selection, hdbscan};
use crate::cluster::ila_sdp::{IlaSdp, IlaSdpOptions, ila_sdp};
use crate::cluster::kmeans::{Algorithm, Kmeans, KmeansOptions, Start, kmeans};
use crate::cluster::minibatch::{MinibatchOptions, minibatch_kmeans};
use crate::cluster::saved::Saved;
use crate::cluster::sdp::{SdpOptions, Solver, sdp};
use crate::cluster::spectral::{Affinity, Clusters, Embedding, SpectralOptions, spectral};
use crate::cluster::{ClusterError, Graph, Points};
use crate::run::observer::Observer;
use crate::table::Source;
use crate::table::points::{LabelOptions, PointTable, cluster_labels, read_labels};
use clap::{Args, ValueEnum, ValueHint};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// nearest of k means; Lloyd's iteration, with bounds where they pay
    Kmeans,
    /// the same by small samples, for very many rows
    MinibatchKmeans,
    /// mixture of k Gaussians by expectation maximisation
    Gmm,
    /// k-means on eigenvectors of a neighbour graph
    Spectral,
    /// connected dense regions at one distance; noise is -1
    Dbscan,
    /// dense regions at all distances; noise is -1
    Hdbscan,
    /// merges from single rows up
    Agglomerative,
    /// k-means by a semidefinite programme, with a lower bound on every clustering
    Sdp,
    /// clusters of different shapes by semidefinite programmes
    IlaSdp,
}

use MethodArg::{
    Agglomerative, Dbscan, Gmm as GmmMethod, Hdbscan, IlaSdp as IlaSdpMethod, Kmeans as KmeansMethod, MinibatchKmeans, Sdp,
    Spectral,
};

impl MethodArg {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            KmeansMethod => "kmeans",
            MinibatchKmeans => "minibatch-kmeans",
            GmmMethod => "gmm",
            Spectral => "spectral",
            Dbscan => "dbscan",
            Hdbscan => "hdbscan",
            Agglomerative => "agglomerative",
            Sdp => "sdp",
            IlaSdpMethod => "ila-sdp",
        }
    }

    /// Whether the number of clusters is given, not found.
    pub fn takes_k(self) -> bool {
        !matches!(self, Dbscan | Hdbscan)
    }
}

/// How many clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KArg {
    /// So many.
    Given(usize),
    /// What a criterion takes.
    Auto,
}

fn k_of(text: &str) -> Result<KArg, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(KArg::Auto),
        (_, Ok(k)) if k > 0 => Ok(KArg::Given(k)),
        _ => Err("expected a number of clusters, at least 1, or auto".into()),
    }
}

/// What can be asked of a method; options that it has no use for are refused.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Method")]
pub struct MethodArgs {
    /// How points are clustered.
    #[arg(short, long, value_enum, default_value = "kmeans", value_name = "METHOD")]
    pub method: MethodArg,
    /// Clusters; auto: tried from --k-range, picked by --k-criterion.
    #[arg(short, long, value_parser = k_of, value_name = "K|auto")]
    pub k: Option<KArg>,
    /// Where the method starts: plus-plus or random (kmeans, minibatch-kmeans), kmeans or random (gmm), ward, kmeans or sdp (ila-sdp), or a file of ids and
    /// labels (kmeans, gmm, ila-sdp) [default: the first of these]
    #[arg(long, value_name = "START")]
    pub init: Option<String>,
    /// Starts of which the best is kept [default: 10; minibatch-kmeans 3; gmm 1, and 10 of the k-means before it]
    #[arg(long, value_name = "N")]
    pub restarts: Option<usize>,
    /// Iterations at most [default: kmeans 300, minibatch-kmeans 100 times all rows, gmm 500, sdp 20000, ila-sdp 1000 of each programme]
    #[arg(long, value_name = "N")]
    pub max_iter: Option<usize>,
    /// When iterations stop [default: kmeans 1e-4 of the mean variance, gmm 1e-6 of the mean log-likelihood, sdp 1e-7, ila-sdp 1e-5]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    pub tol: Option<f64>,
    /// kmeans: how nearest means are found; all give the same result.
    #[arg(long, value_parser = choice::<Algorithm>(), value_name = "HOW")]
    pub algo: Option<Algorithm>,
    /// kmeans: move single points where that lowers the inertia.
    #[arg(long)]
    pub polish: bool,
    /// minibatch-kmeans: rows of a sample [default: 1024]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// gmm: shape of the components; ila-sdp: full, tied or diag [default: full]
    #[arg(long, value_parser = choice::<Covariance>(), value_name = "SHAPE")]
    pub cov: Option<Covariance>,
    /// gmm: added to all variances [default: 1e-6]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    pub reg: Option<f64>,
    /// spectral: the graph of the rows [default: knn]
    #[arg(long, value_parser = choice::<Affinity>(), value_name = "GRAPH")]
    pub affinity: Option<Affinity>,
    /// spectral: neighbours of each row in the knn graph, itself among them [default: 10]
    #[arg(long, value_name = "N")]
    pub neighbors: Option<usize>,
    /// spectral: exp(-gamma·distance²) is the weight in the rbf graph [default: 1]
    #[arg(long, value_name = "X", value_parser = positive)]
    pub gamma: Option<f64>,
    /// spectral: eigenvectors scaled by degrees (sm) or rows scaled to length 1 (njw) [default: sm]
    #[arg(long, value_parser = choice::<Embedding>(), value_name = "ROWS")]
    pub embedding: Option<Embedding>,
    /// dbscan: how near neighbours are.
    #[arg(long, value_name = "DISTANCE", value_parser = not_negative)]
    pub eps: Option<f64>,
    /// dbscan: neighbours that make a row dense, itself among them [default: 5]; hdbscan: the neighbour that decides [default:
    /// --min-cluster-size]
    #[arg(long, value_name = "N")]
    pub min_samples: Option<usize>,
    /// dbscan: where rows at the border go [default: first]
    #[arg(long, value_parser = choice::<Border>(), value_name = "RULE")]
    pub border: Option<Border>,
    /// hdbscan: rows of a cluster at least [default: 5]
    #[arg(long, value_name = "N")]
    pub min_cluster_size: Option<usize>,
    /// hdbscan: clusters of the largest excess of mass, or the leaves of the tree [default: eom]
    #[arg(long, value_parser = choice::<Selection>(), value_name = "HOW")]
    pub selection: Option<Selection>,
    /// hdbscan: clusters below this distance are not split [default: 0]
    #[arg(long, value_name = "DISTANCE", value_parser = not_negative)]
    pub epsilon: Option<f64>,
    /// hdbscan: all rows may be one cluster.
    #[arg(long)]
    pub allow_single_cluster: bool,
    /// hdbscan: rows of a cluster at most.
    #[arg(long, value_name = "N")]
    pub max_cluster_size: Option<usize>,
    /// hdbscan: what --min-samples counts: the row itself too (sklearn) or not (hdbscan) [default: sklearn]
    #[arg(long, value_parser = choice::<Convention>(), value_name = "PROGRAM")]
    pub compat: Option<Convention>,
    /// agglomerative: the distance of two clusters [default: ward]
    #[arg(long, value_parser = choice::<Linkage>(), value_name = "LINKAGE")]
    pub linkage: Option<Linkage>,
    /// agglomerative: cut the tree at this height instead of into k clusters.
    #[arg(long, value_name = "HEIGHT", value_parser = not_negative, conflicts_with = "k")]
    pub distance_threshold: Option<f64>,
    /// agglomerative: merge only rows that these edges join: FILE or FILE:SOURCE,TARGET, by id.
    #[arg(long, value_name = "EDGES", value_hint = ValueHint::FilePath)]
    pub connectivity: Option<String>,
    /// agglomerative: write the tree here, a row for each merge: left, right, height, size (clusters of one row first, as in scipy).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub linkage_out: Option<PathBuf>,
    /// sdp: how the programme is solved [default: auto]
    #[arg(long, value_parser = choice::<Solver>(), value_name = "HOW")]
    pub solver: Option<Solver>,
    /// sdp, ila-sdp: solve on about so many rows, then assign all.
    #[arg(long, value_name = "ROWS")]
    pub sketch: Option<usize>,
    /// ila-sdp: programmes solved at most [default: 20]
    #[arg(long, value_name = "N")]
    pub outer: Option<usize>,
    /// ila-sdp: on so many principal components.
    #[arg(long, value_name = "P", conflicts_with = "lda")]
    pub pca: Option<usize>,
    /// ila-sdp: on the directions that separate the clusters found so far best.
    #[arg(long)]
    pub lda: bool,
}

impl MethodArgs {
    /// Refuses what the method has no use for.
    pub fn check(&self) -> Outcome {
        let m = self.method;
        let given = |o: &Option<usize>| o.is_some();
        refuse_unused(
            &format!("--method {}", m.name()),
            &[
                ("--k", self.k.is_some(), m.takes_k()),
                ("--init", self.init.is_some(), matches!(m, KmeansMethod | MinibatchKmeans | GmmMethod | IlaSdpMethod)),
                ("--restarts", given(&self.restarts), !matches!(m, Dbscan | Hdbscan | Agglomerative | IlaSdpMethod)),
                ("--max-iter", given(&self.max_iter), !matches!(m, Dbscan | Hdbscan | Agglomerative | Spectral)),
                ("--tol", self.tol.is_some(), matches!(m, KmeansMethod | MinibatchKmeans | GmmMethod | Sdp | IlaSdpMethod)),
                ("--algo", self.algo.is_some(), m == KmeansMethod),
                ("--polish", self.polish, m == KmeansMethod),
                ("--batch", given(&self.batch), m == MinibatchKmeans),
                ("--cov", self.cov.is_some(), matches!(m, GmmMethod | IlaSdpMethod)),
                ("--reg", self.reg.is_some(), m == GmmMethod),
                ("--affinity", self.affinity.is_some(), m == Spectral),
                ("--neighbors", given(&self.neighbors), m == Spectral && self.affinity != Some(Affinity::Rbf)),
                ("--gamma", self.gamma.is_some(), m == Spectral && self.affinity == Some(Affinity::Rbf)),
                ("--embedding", self.embedding.is_some(), m == Spectral),
                ("--eps", self.eps.is_some(), m == Dbscan),
                ("--min-samples", given(&self.min_samples), matches!(m, Dbscan | Hdbscan)),
                ("--border", self.border.is_some(), m == Dbscan),
                ("--min-cluster-size", given(&self.min_cluster_size), m == Hdbscan),
                ("--selection", self.selection.is_some(), m == Hdbscan),
                ("--epsilon", self.epsilon.is_some(), m == Hdbscan),
                ("--allow-single-cluster", self.allow_single_cluster, m == Hdbscan),
                ("--max-cluster-size", given(&self.max_cluster_size), m == Hdbscan),
                ("--compat", self.compat.is_some(), m == Hdbscan),
                ("--linkage", self.linkage.is_some(), m == Agglomerative),
                ("--distance-threshold", self.distance_threshold.is_some(), m == Agglomerative),
                ("--connectivity", self.connectivity.is_some(), m == Agglomerative),
                ("--linkage-out", self.linkage_out.is_some(), m == Agglomerative),
                ("--solver", self.solver.is_some(), m == Sdp),
                ("--sketch", given(&self.sketch), matches!(m, Sdp | IlaSdpMethod)),
                ("--outer", given(&self.outer), m == IlaSdpMethod),
                ("--pca", given(&self.pca), m == IlaSdpMethod),
                ("--lda", self.lda, m == IlaSdpMethod),
            ],
        )?;
        let k_known = self.k.is_some() || self.distance_threshold.is_some();
        match m {
            _ if m.takes_k() && !k_known => Err(Failure::usage(format!(
                "--method {} needs the number of clusters: --k N, or --k auto to have it picked",
                m.name()
            ))),
            Dbscan if self.eps.is_none() => Err(Failure::usage("--method dbscan needs --eps, the distance of neighbours")),
            _ => Ok(()),
        }
    }
}

/// What a method found.
pub struct Found {
    pub labels: Vec<i32>,
    /// Name and value of what the method makes small or large.
    pub objective: Option<f64>,
    /// What else it says in numbers.
    pub metrics: Vec<(&'static str, f64)>,
    pub log_likelihood: Option<f64>,
    pub bic: Option<f64>,
    pub aic: Option<f64>,
    pub converged: Option<bool>,
    pub warnings: Vec<String>,
    /// A number from 0 to 1 for each row: how sure its label is.
    pub confidence: Option<Vec<f64>>,
    /// GLOSH.
    pub outlier_scores: Option<Vec<f64>>,
    /// (n, k): what each row has of each cluster.
    pub memberships: Option<Vec<f64>>,
    /// Tables, for `--json`.
    pub details: Value,
    /// The settings in full, for the manifest.
    pub options: Value,
    pub saved: Option<Saved>,
    pub shapes: Shapes,
}

/// What pictures show.
#[derive(Default)]
pub struct Shapes {
    /// (k, d).
    pub centroids: Option<Vec<f64>>,
    /// A (d, d) covariance for each cluster.
    pub covariances: Option<Vec<Vec<f64>>>,
    /// scipy's layout.
    pub merges: Option<Vec<f64>>,
    pub tree: Option<(CondensedTree, Vec<u32>)>,
    /// (n, n).
    pub relaxed: Option<Vec<f64>>,
}

impl Found {
    fn new(labels: Vec<i32>, objective: Option<f64>, options: &impl Serialize) -> Self {
        Self {
            labels,
            objective,
            metrics: Vec::new(),
            log_likelihood: None,
            bic: None,
            aic: None,
            converged: None,
            warnings: Vec::new(),
            confidence: None,
            outlier_scores: None,
            memberships: None,
            details: json!({}),
            options: serde_json::to_value(options).unwrap_or(Value::Null),
            saved: None,
            shapes: Shapes::default(),
        }
    }

    /// Clusters found.
    pub fn clusters(&self) -> usize {
        crate::cluster::labels::count(&self.labels)
    }
}

/// What was read beside the points.
pub struct Beside {
    /// Labels to start from.
    start: Option<Vec<i32>>,
    connectivity: Option<Graph>,
    /// Whether the relaxed membership matrix is wanted.
    pub membership: bool,
}

impl Beside {
    pub fn read(args: &MethodArgs, table: &PointTable, session: &mut Session) -> Outcome<Self> {
        let words: &[&str] = match args.method {
            KmeansMethod | MinibatchKmeans => &["plus-plus", "random"],
            GmmMethod => &["kmeans", "random"],
            _ => &["ward", "kmeans", "sdp"],
        };
        let start = match args.init.as_deref().filter(|init| !words.contains(init)) {
            None => None,
            Some(path) if !std::path::Path::new(path).exists() => {
                return Err(Failure::usage(format!("--init {path}: expected {} or a file of ids and labels", words.join(", "))));
            }
            Some(path) if args.method == MinibatchKmeans => {
                return Err(Failure::usage(format!("--init {path}: minibatch-kmeans starts from plus-plus or random")));
            }
            Some(path) => Some(start_of(&session.open_input(path)?, table)?),
        };
        let connectivity = args.connectivity.as_ref().map(|file| graph_over(file, table, session)).transpose()?;
        Ok(Self { start, connectivity, membership: false })
    }

    /// Nothing beside the points.
    pub fn nothing() -> Self {
        Self { start: None, connectivity: None, membership: false }
    }

    /// Whether there are labels to start from.
    pub fn starts(&self) -> bool {
        self.start.is_some()
    }
}

fn start_of(source: &Source, table: &PointTable) -> Outcome<Vec<i32>> {
    let file = read_labels(source, &LabelOptions::default())?;
    let dropped: Vec<_> = table.dropped.iter().map(|d| d.id.clone()).collect();
    let texts = file.align(&table.ids, &dropped)?;
    let mut labels = cluster_labels(&file.name, &file.label_column, &texts)?.codes;
    if labels.contains(&crate::cluster::NOISE) {
        return Err(Failure::usage(format!("{}: label -1 is noise; a start has a cluster for every row", file.name)));
    }
    crate::cluster::labels::canonical(&mut labels);
    Ok(labels)
}

/// Clusters points into k clusters (where the method takes a number).
pub fn fit(
    args: &MethodArgs,
    points: Points,
    k: usize,
    seed: u64,
    beside: &Beside,
    observer: &dyn Observer,
) -> Result<Found, ClusterError> {
    match args.method {
        KmeansMethod => fit_kmeans(args, points, k, seed, beside, observer),
        MinibatchKmeans => {
            let defaults = MinibatchOptions::default();
            let options = MinibatchOptions {
                k,
                batch: args.batch.unwrap_or(defaults.batch),
                restarts: args.restarts.unwrap_or(defaults.restarts),
                max_epochs: args.max_iter.unwrap_or(defaults.max_epochs),
                tolerance: args.tol.unwrap_or(defaults.tolerance),
                start: start_word(args),
                seed,
                ..defaults
            };
            let fitted = minibatch_kmeans(points, &options, observer)?;
            let mut found = Found::new(fitted.labels.clone(), Some(fitted.inertia), &options);
            found.metrics = vec![("iterations", fitted.iterations as f64)];
            found.converged = Some(fitted.converged);
            found.saved = Some(fitted.to_saved());
            found.shapes.centroids = Some(fitted.centroids);
            Ok(found)
        }
        GmmMethod => fit_gmm(args, points, k, seed, beside, observer),
        Spectral => {
            let options = spectral_options(args, Clusters::Fixed(k), seed);
            let fitted = spectral(points, &options, observer)?;
            let mut found = Found::new(fitted.labels, Some(fitted.inertia), &options);
            found.converged = Some(fitted.converged);
            found.details = json!({ "eigenvalues": fitted.eigenvalues, "components": fitted.components });
            found.warnings = fitted.warnings;
            Ok(found)
        }
        Dbscan => {
            let options = DbscanOptions {
                eps: args.eps.unwrap_or_default(),
                min_samples: args.min_samples.unwrap_or(5),
                border: args.border.unwrap_or_default(),
            };
            let fitted = dbscan(points, &options, observer)?;
            let mut found = Found::new(fitted.labels.clone(), None, &options);
            found.metrics = vec![("core_rows", fitted.core_rows.len() as f64)];
            found.saved = Some(fitted.to_saved());
            Ok(found)
        }
        Hdbscan => fit_hdbscan(args, points, observer),
        Agglomerative => {
            let options = AgglomerativeOptions {
                linkage: args.linkage.unwrap_or_default(),
                cut: args.distance_threshold.map_or(Cut::Clusters(k), Cut::Distance),
                ..AgglomerativeOptions::default()
            };
            let fitted = agglomerative(points, &options, beside.connectivity.as_ref(), observer)?;
            let height = fitted.dendrogram.merges().last().map_or(0.0, |m| m.height);
            let mut found = Found::new(fitted.labels, None, &options);
            found.metrics = vec![("height", height)];
            if fitted.components > 1 {
                found.warnings.push(format!(
                    "the edges leave {} parts unconnected: joined by the {} shortest edges between them",
                    fitted.components,
                    fitted.added.len()
                ));
            }
            found.shapes.merges = Some(fitted.dendrogram.to_scipy());
            Ok(found)
        }
        Sdp => fit_sdp(args, points, k, seed, beside, observer),
        IlaSdpMethod => fit_ila(args, points, k, seed, beside, observer),
    }
}

fn fit_kmeans(
    args: &MethodArgs,
    points: Points,
    k: usize,
    seed: u64,
    beside: &Beside,
    observer: &dyn Observer,
) -> Result<Found, ClusterError> {
    let defaults = KmeansOptions::default();
    let start = match &beside.start {
        Some(labels) => Start::Given(means(points, labels, k)?),
        None => start_word(args),
    };
    let options = KmeansOptions {
        k,
        algorithm: args.algo.unwrap_or_default(),
        start,
        restarts: args.restarts.unwrap_or(defaults.restarts),
        max_iterations: args.max_iter.unwrap_or(defaults.max_iterations),
        tolerance: args.tol.unwrap_or(defaults.tolerance),
        polish: args.polish,
        seed,
    };
    let fitted: Kmeans = kmeans(points, &options, observer)?;
    let mut found = Found::new(fitted.labels.clone(), Some(fitted.inertia), &options);
    found.metrics = vec![("iterations", fitted.iterations as f64)];
    if let Some(polish) = fitted.polished {
        found.metrics.extend([("inertia_before_polish", polish.before), ("moves", polish.moves as f64)]);
    }
    found.converged = Some(fitted.converged);
    found.details = json!({ "algorithm": fitted.algorithm.name(), "restarts": fitted.restarts, "best": fitted.best });
    found.saved = Some(fitted.to_saved());
    found.shapes.centroids = Some(fitted.centroids);
    Ok(found)
}

fn start_word(args: &MethodArgs) -> Start {
    if args.init.as_deref() == Some("random") { Start::Random } else { Start::PlusPlus }
}

/// The mean of every label's rows.
fn means(points: Points, labels: &[i32], k: usize) -> Result<Vec<f64>, ClusterError> {
    let d = points.d();
    let (mut sums, mut counts) = (vec![0.0; k * d], vec![0usize; k]);
    for (row, &label) in points.rows().zip(labels) {
        let c = label as usize;
        if c >= k {
            return Err(ClusterError::Setting {
                what: "the start",
                value: format!("more than {k} labels"),
                expected: format!("{k} labels"),
            });
        }
        counts[c] += 1;
        sums[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, x)| *s += x);
    }
    if let Some(c) = counts.iter().position(|&n| n == 0) {
        return Err(ClusterError::Setting { what: "the start", value: format!("{c} labels"), expected: format!("{k} labels") });
    }
    for (mean, &n) in sums.chunks_exact_mut(d).zip(&counts) {
        mean.iter_mut().for_each(|s| *s /= n as f64);
    }
    Ok(sums)
}

fn fit_gmm(
    args: &MethodArgs,
    points: Points,
    k: usize,
    seed: u64,
    beside: &Beside,
    observer: &dyn Observer,
) -> Result<Found, ClusterError> {
    use crate::cluster::gmm::Start;
    let defaults = GmmOptions::default();
    let options = GmmOptions {
        k,
        covariance: args.cov.unwrap_or(defaults.covariance),
        start: if args.init.as_deref() == Some("random") { Start::Random } else { Start::Kmeans },
        restarts: args.restarts.unwrap_or(defaults.restarts),
        max_iterations: args.max_iter.unwrap_or(defaults.max_iterations),
        tolerance: args.tol.unwrap_or(defaults.tolerance),
        reg_covar: args.reg.unwrap_or(defaults.reg_covar),
        seed,
        ..defaults
    };
    let fitted: Gmm = match &beside.start {
        Some(labels) => gmm_from_labels(points, labels, &options, observer)?,
        None => gmm(points, &options, observer)?,
    };
    let mut found = Found::new(fitted.labels, Some(fitted.log_likelihood), &options);
    found.metrics = vec![("iterations", fitted.iterations as f64), ("smallest_component", fitted.smallest)];
    (found.log_likelihood, found.bic, found.aic) = (Some(fitted.log_likelihood), Some(fitted.bic), Some(fitted.aic));
    found.converged = Some(fitted.converged);
    found.warnings = fitted.warnings;
    found.confidence = Some(fitted.responsibilities.chunks_exact(k).map(|r| r.iter().copied().fold(0.0, f64::max)).collect());
    found.memberships = Some(fitted.responsibilities);
    found.details =
        json!({ "weights": fitted.model.weights(), "means": fitted.model.means().chunks(points.d()).collect::<Vec<_>>() });
    found.saved = Some(fitted.model.to_saved());
    found.shapes.centroids = Some(fitted.model.means().to_vec());
    found.shapes.covariances = Some((0..k).map(|c| fitted.model.covariance_matrix(c)).collect());
    Ok(found)
}

fn fit_hdbscan(args: &MethodArgs, points: Points, observer: &dyn Observer) -> Result<Found, ClusterError> {
    let defaults = HdbscanOptions::default();
    let options = HdbscanOptions {
        min_cluster_size: args.min_cluster_size.unwrap_or(defaults.min_cluster_size),
        min_samples: args.min_samples,
        convention: args.compat.unwrap_or_default(),
        selection: args.selection.unwrap_or_default(),
        epsilon: args.epsilon.unwrap_or(0.0),
        allow_single_cluster: args.allow_single_cluster,
        max_cluster_size: args.max_cluster_size,
    };
    let fitted = hdbscan(points, &options, observer)?;
    let mut found = Found::new(fitted.labels.clone(), None, &options);
    found.details = json!({ "persistences": fitted.persistences });
    found.saved = Some(fitted.to_saved());
    found.shapes.merges = Some(fitted.dendrogram().to_scipy());
    found.confidence = Some(fitted.probabilities);
    found.outlier_scores = Some(fitted.outlier_scores);
    found.shapes.tree = Some((fitted.tree, fitted.clusters));
    Ok(found)
}

fn fit_sdp(
    args: &MethodArgs,
    points: Points,
    k: usize,
    seed: u64,
    beside: &Beside,
    observer: &dyn Observer,
) -> Result<Found, ClusterError> {
    let defaults = SdpOptions::default();
    let options = SdpOptions {
        k,
        solver: args.solver.unwrap_or_default(),
        sketch: args.sketch,
        max_iterations: args.max_iter.unwrap_or(defaults.max_iterations),
        tolerance: args.tol,
        restarts: args.restarts.unwrap_or(defaults.restarts),
        seed,
        membership: beside.membership,
        ..defaults
    };
    let fitted = sdp(points, &options, observer)?;
    let mut found = Found::new(fitted.labels.clone(), Some(fitted.objective), &options);
    found.metrics = vec![("iterations", fitted.iterations as f64), ("rounded", fitted.rounded)];
    for (name, value) in
        [("relaxed", fitted.relaxed), ("bound", fitted.bound), ("gap", fitted.gap), ("relative_gap", fitted.relative_gap)]
    {
        found.metrics.extend(value.map(|v| (name, v)));
    }
    found.metrics.push(("tight", f64::from(u8::from(fitted.tight))));
    found.converged = Some(fitted.converged);
    found.details = json!({ "solved": fitted.solved.name(), "sketched": fitted.sketched, "moves": fitted.moves });
    found.saved = Some(fitted.to_saved());
    found.shapes.centroids = Some(fitted.centroids);
    found.shapes.relaxed = fitted.membership;
    Ok(found)
}

fn fit_ila(
    args: &MethodArgs,
    points: Points,
    k: usize,
    seed: u64,
    beside: &Beside,
    observer: &dyn Observer,
) -> Result<Found, ClusterError> {
    use crate::cluster::ila_sdp::{Covariance as Shape, Start};
    let defaults = IlaSdpOptions::default();
    let covariance = match args.cov {
        None | Some(Covariance::Full) => Shape::Full,
        Some(Covariance::Tied) => Shape::Tied,
        Some(Covariance::Diag) => Shape::Diag,
        Some(Covariance::Spherical) => {
            return Err(ClusterError::Setting {
                what: "--cov",
                value: "spherical".into(),
                expected: "full, tied or diag with ila-sdp".into(),
            });
        }
    };
    let options = IlaSdpOptions {
        k,
        covariance,
        outer: args.outer.unwrap_or(defaults.outer),
        pca: args.pca,
        lda: args.lda,
        sketch: args.sketch,
        max_iterations: args.max_iter.unwrap_or(defaults.max_iterations),
        tolerance: args.tol.unwrap_or(defaults.tolerance),
        seed,
        ..defaults
    };
    let ward;
    let start = match (&beside.start, args.init.as_deref()) {
        (Some(labels), _) => Start::Labels(labels),
        (None, Some("kmeans")) => Start::Kmeans,
        (None, Some("sdp")) => Start::Sdp,
        _ => {
            let options = AgglomerativeOptions { cut: Cut::Clusters(k), ..AgglomerativeOptions::default() };
            ward = agglomerative(points, &options, None, observer)?.labels;
            Start::Labels(&ward)
        }
    };
    let fitted: IlaSdp = ila_sdp(points, start, &options, observer)?;
    let mut found = Found::new(fitted.labels.clone(), Some(fitted.objective), &options);
    found.metrics = vec![("iterations", fitted.outer.len() as f64), ("reassigned", fitted.reassigned as f64)];
    found.converged = Some(fitted.converged());
    found.details = json!({
        "outer": fitted.outer, "best": fitted.best, "stop": fitted.stop.name(), "sketched": fitted.sketched,
        "means": fitted.means.chunks(fitted.p).collect::<Vec<_>>(), "covariances": fitted.covariances,
    });
    if fitted.stop == crate::cluster::ila_sdp::Stop::Cycle {
        found.warnings.push("partitions came back in a circle; the one of highest likelihood was kept".into());
    }
    found.confidence =
        fitted.membership.as_ref().map(|m| m.chunks_exact(k).map(|r| r.iter().copied().fold(0.0, f64::max)).collect());
    found.saved = Some(fitted.to_saved());
    // Ellipses only in the columns themselves.
    if fitted.p == points.d() && !fitted.lda {
        found.shapes.centroids = Some(fitted.means.clone());
        found.shapes.covariances = Some(fitted.covariances.chunks(fitted.p * fitted.p).map(<[f64]>::to_vec).collect());
    }
    found.memberships = fitted.membership;
    Ok(found)
}

fn spectral_options(args: &MethodArgs, clusters: Clusters, seed: u64) -> SpectralOptions {
    let defaults = SpectralOptions::default();
    SpectralOptions {
        clusters,
        affinity: args.affinity.unwrap_or_default(),
        neighbours: args.neighbors.unwrap_or(defaults.neighbours),
        gamma: args.gamma.unwrap_or(defaults.gamma),
        embedding: args.embedding.unwrap_or_default(),
        kmeans_restarts: args.restarts.unwrap_or(defaults.kmeans_restarts),
        seed,
        ..defaults
    }
}

/// The smallest eigenvalues of the Laplacian, one more than the largest k.
pub fn spectrum(args: &MethodArgs, points: Points, (from, to): (usize, usize), session: &Session) -> Outcome<Vec<f64>> {
    let options = spectral_options(args, Clusters::Auto { from, to }, session.seed);
    Ok(spectral(points, &options, session.observer()).map_err(failure)?.eigenvalues)
}

/// What a fitted method would do with scaled points of a table.
pub fn on(args: &MethodArgs, scaled: &Scaled, k: usize, session: &Session, beside: &Beside) -> Outcome<Found> {
    fit(args, scaled.points()?, k, session.seed, beside, session.observer()).map_err(failure)
}
