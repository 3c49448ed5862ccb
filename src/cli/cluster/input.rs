//! Points on their way in.

use super::choices::choice;
use super::failure;
use crate::cli::args::HeaderArg;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::cluster::scale::{Scaler, Standardize};
use crate::cluster::{Graph, Points};
use crate::table::graph::{EdgeColumns, EdgeList, GraphOptions, read_graph};
use crate::table::points::{CooOptions, Features, Imputation, PointOptions, PointTable, is_coo, read_coo, read_points};
use clap::{Args, ValueHint};

/// How points are read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct PointInputArgs {
    /// A table with a row for each point (CSV, TSV, Parquet or JSON lines, told by content), or sparse features with columns node,
    /// feature and value. "-" is stdin, the default when stdin is not a terminal.
    #[arg(value_name = "INPUT", value_hint = ValueHint::FilePath)]
    pub input: Option<String>,
    /// Columns that are coordinates [default: all but ids, labels and --exclude]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "exclude")]
    pub features: Vec<String>,
    /// Columns that are no coordinates.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// Column of ids [default: id or node, else rows are numbered from 1]
    #[arg(long, value_name = "NAME")]
    pub id_col: Option<String>,
    /// Columns of known labels, for scores; repeatable [default: label]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub label_col: Vec<String>,
    /// What becomes of rows with missing cells.
    #[arg(long, value_parser = choice::<Imputation>(), default_value = "error", value_name = "HOW")]
    pub impute: Imputation,
    /// One more text that means a missing value; repeatable. Empty, NA, NaN, nan, NULL and null always do.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub na: Vec<String>,
    /// Whether delimited text starts with a row of names.
    #[arg(long, value_enum, default_value_t, value_name = "WHETHER")]
    pub header: HeaderArg,
}

impl PointInputArgs {
    fn options(&self) -> PointOptions {
        PointOptions {
            features: if self.features.is_empty() { Features::All } else { Features::Only(self.features.clone()) },
            exclude: self.exclude.clone(),
            id: self.id_col.clone(),
            labels: self.label_col.clone(),
            impute: self.impute,
            na: self.na.clone(),
            header: self.header.into(),
        }
    }

    /// Reads the table; `features`: those of a saved model.
    pub fn read(&self, session: &mut Session, features: Option<Features>) -> Outcome<PointTable> {
        let paths: Vec<String> = self.input.iter().cloned().collect();
        let source = session.open_inputs(&paths)?.remove(0);
        let sparse = self.features.is_empty() && self.exclude.is_empty() && is_coo(&source, self.header.into())?;
        let table = if sparse {
            let features = match features {
                Some(Features::Trained(inputs)) => Some(inputs.columns),
                _ => None,
            };
            read_coo(&source, &CooOptions { features, header: self.header.into(), ..CooOptions::default() })?
        } else {
            let options = self.options();
            let features = features.unwrap_or_else(|| options.features.clone());
            read_points(&source, &PointOptions { features, ..options })?
        };
        table.notes.iter().for_each(|note| tracing::warn!("{note}"));
        if !table.dropped.is_empty() {
            let (all, first) = (table.dropped.len(), &table.dropped[0]);
            tracing::warn!(
                "{}: {all} rows with missing cells left out, the first of them row {} (column {:?})",
                table.name,
                first.row,
                first.column
            );
        }
        let filled: usize = table.filled.iter().sum();
        if filled > 0 {
            tracing::warn!("{}: {filled} missing cells filled with the means of their columns", table.name);
        }
        Ok(table)
    }
}

/// How points are scaled.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct ScalingArgs {
    /// Scale the coordinates: zscore by mean and standard deviation of the rows, minmax to 0..1, robust by median and quartiles.
    #[arg(long, value_parser = choice::<Standardize>(), default_value = "none", value_name = "HOW")]
    pub standardize: Standardize,
}

/// Points as the methods see them.
pub struct Scaled {
    pub values: Vec<f64>,
    pub n: usize,
    pub d: usize,
    pub scaler: Scaler,
}

impl Scaled {
    /// Scales what was read; says which columns are constant.
    pub fn new(table: &PointTable, scaling: Standardize) -> Outcome<Self> {
        let points = table.points().map_err(failure)?;
        let scaler = Scaler::fit(points, scaling).map_err(failure)?;
        let constant: Vec<&str> = scaler.constant.iter().map(|&j| table.columns[j].as_str()).collect();
        if !constant.is_empty() {
            tracing::warn!("{}: constant columns tell nothing: {}", table.name, constant.join(", "));
        }
        let values = scaler.apply(points).map_err(failure)?;
        Ok(Self { values, n: table.n, d: table.d, scaler })
    }

    pub fn points(&self) -> Outcome<Points<'_>> {
        Points::new(&self.values, self.n, self.d).map_err(failure)
    }
}

/// `FILE[:source,target[,weight]]`.
pub fn edge_file(text: &str) -> Outcome<(String, EdgeColumns)> {
    // A colon may belong to the path: what follows the last one counts as columns only when it has a comma.
    let Some((path, names)) = text.rsplit_once(':').filter(|(path, names)| !path.is_empty() && names.contains(',')) else {
        return Ok((text.to_string(), EdgeColumns::default()));
    };
    let names: Vec<&str> = names.split(',').collect();
    match names[..] {
        [source, target] => {
            Ok((path.into(), EdgeColumns { source: Some(source.into()), target: Some(target.into()), weight: None }))
        }
        [source, target, weight] => Ok((
            path.into(),
            EdgeColumns { source: Some(source.into()), target: Some(target.into()), weight: Some(weight.into()) },
        )),
        _ => Err(Failure::usage(format!("{text}: expected FILE:SOURCE,TARGET or FILE:SOURCE,TARGET,WEIGHT"))),
    }
}

/// The graph of a file over the points of a table.
pub fn graph_over(file: &str, table: &PointTable, session: &mut Session) -> Outcome<Graph> {
    let (path, columns) = edge_file(file)?;
    let source = session.open_input(&path)?;
    let options = GraphOptions { nodes: Some(table.ids.clone()), ..GraphOptions::default() };
    let network = read_graph(&[EdgeList { source: &source, columns }], &options)?;
    network.notes.iter().for_each(|note| tracing::warn!("{note}"));
    match network.views.into_iter().next() {
        Some(view) => Ok(view.graph),
        None => Err(Failure::usage(format!("{path}: holds no edges"))),
    }
}
