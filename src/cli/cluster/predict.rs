//! `shoal cluster predict`.

use super::failure;
use super::input::PointInputArgs;
use super::points::label_table;
use crate::cli::args::OutputArgs;
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::session::Session;
use crate::cluster::dbscan::Dbscan;
use crate::cluster::gmm::GmmModel;
use crate::cluster::hdbscan::Hdbscan;
use crate::cluster::ila_sdp::IlaSdp;
use crate::cluster::kmeans::Kmeans;
use crate::cluster::minibatch::MinibatchKmeans;
use crate::cluster::saved::Saved;
use crate::cluster::scale::Scaler;
use crate::cluster::sdp::Sdp;
use crate::cluster::{ClusterError, Points, labels};
use crate::table::cluster_model::read_cluster_model;
use crate::table::points::Features;
use clap::{Args, ValueHint};
use serde_json::json;

pub const EXAMPLES: &str = "Examples:
  shoal cluster points train.csv -m hdbscan --save model.safetensors
  shoal cluster predict new.csv --model model.safetensors

Columns are found by name; columns that the model does not know, or that are missing, are refused. On the rows of the training table the labels
are those of the training.";

/// Arguments of `shoal cluster predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// What cluster points --save kept.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    model: String,
    #[command(flatten)]
    input: PointInputArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What a model says about points.
struct Predicted {
    labels: Vec<i32>,
    confidence: Option<Vec<f64>>,
    outlier_scores: Option<Vec<f64>>,
}

/// Reads both, labels, writes.
pub fn run(args: PredictArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("cluster predict draws no picture: leave --plot out"));
    }
    if !args.input.features.is_empty() {
        return Err(Failure::usage("--features: the model has its columns, leave it out"));
    }
    let output = session.open_outputs(&args.output)?;
    let bytes = session.open_raw(&args.model)?;
    let model = read_cluster_model(&args.model, &bytes)?;
    let scaler: Scaler = serde_json::from_value(model.scaler.clone())
        .map_err(|e| Failure::usage(format!("{}: its scaling cannot be read ({e}): save it again", args.model)))?;
    let table = args.input.read(&mut session, Some(Features::Trained(model.inputs.clone())))?;
    let values = scaler.apply(table.points().map_err(failure)?).map_err(failure)?;
    let points = Points::new(&values, table.n, table.d).map_err(failure)?;
    let found = predict(&model.saved, points).map_err(failure)?;
    let labels = label_table(&table, &found.labels, found.confidence.as_deref(), found.outlier_scores.as_deref());
    let noise = found.labels.iter().filter(|&&l| l == labels::NOISE).count();
    let object = json!({
        "method": model.saved.method, "n": table.n, "noise": noise, "ids": table.ids.iter().map(|id| &**id).collect::<Vec<_>>(),
        "labels": found.labels,
    });
    let written = output.result(&labels, || Ok(object));
    session.say(format!("{}: {} rows labelled by {}, {noise} of them noise", table.name, table.n, model.saved.method));
    complete(written, || session.finish(&json!({ "model": args.model })))
}

fn predict(saved: &Saved, points: Points) -> Result<Predicted, ClusterError> {
    let plain = |labels| Predicted { labels, confidence: None, outlier_scores: None };
    Ok(match saved.method.as_str() {
        "kmeans" => plain(Kmeans::from_saved(saved)?.predict(points)?),
        "minibatch-kmeans" => plain(MinibatchKmeans::from_saved(saved)?.predict(points)?),
        "gmm" => {
            let model = GmmModel::from_saved(saved)?;
            let found = model.assign(points)?;
            let surest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
            Predicted {
                confidence: Some(found.responsibilities.chunks_exact(model.k()).map(surest).collect()),
                labels: found.labels,
                outlier_scores: None,
            }
        }
        "dbscan" => plain(Dbscan::from_saved(saved)?.predict(points)?),
        "hdbscan" => {
            let found = Hdbscan::from_saved(saved)?.predict(points)?;
            Predicted { labels: found.labels, confidence: Some(found.probabilities), outlier_scores: Some(found.outlier_scores) }
        }
        "sdp" => plain(Sdp::from_saved(saved)?.predict(points)?),
        "ila-sdp" => plain(IlaSdp::from_saved(saved)?.predict(points)?),
        other => {
            return Err(ClusterError::Data(format!(
                "the model's method is {other}, which this program does not know: use the one that saved it"
            )));
        }
    })
}
