//! Models as tables and pictures.

use super::keep::PictureArg;
use crate::cli::failure::{Failure, Outcome};
use crate::plot::Curve;
use crate::plot::Picture;
use crate::plot::decomposition::{CoreOptions, FactorPanel, core_chart, explained_chart, factor_chart, fit_chart};
use crate::table::tensors::{Mode, TracePoint};
use crate::table::{Table, Values};
use crate::tensor::cp::TraceRow;
use crate::tensor::data::Dense;
use crate::tensor::model::Matrix;
use std::sync::Arc;

/// All factors under each other: mode, index, label (where a mode has labels), c0, c1, …; cells beyond a mode's columns are empty.
pub fn factors_table(factors: &[Matrix], modes: &[Mode]) -> Table {
    let columns = factors.iter().map(|f| f.cols).max().unwrap_or(0);
    let names: Vec<Arc<str>> = modes.iter().map(|m| Arc::from(m.name.as_str())).collect();
    let rows = || factors.iter().enumerate().flat_map(|(n, f)| (0..f.rows).map(move |i| (n, i)));
    let mut table = Table::new()
        .with("mode", Values::Text(rows().map(|(n, _)| names[n].clone()).collect()))
        .with("index", Values::Integer(rows().map(|(_, i)| i as i64).collect()));
    if modes.iter().any(|m| m.labels.is_some()) {
        let empty: Arc<str> = Arc::from("");
        let label = |(n, i): (usize, usize)| modes[n].labels.as_ref().map_or_else(|| empty.clone(), |l| l[i].clone());
        table = table.with("label", Values::Text(rows().map(label).collect()));
    }
    (0..columns).fold(table, |table, r| {
        let cell = |(n, i): (usize, usize)| if r < factors[n].cols { factors[n].at(i, r) } else { f64::NAN };
        table.with(format!("c{r}"), Values::Number(rows().map(cell).collect()))
    })
}

/// The pictures that a model has, drawn when they are asked for.
#[derive(Default)]
pub struct Pictures {
    pub factors: Vec<FactorPanel>,
    pub title: String,
    /// Fit by sweep.
    pub fits: Vec<Curve>,
    /// Shares of the components.
    pub explained: Vec<f64>,
    pub core: Option<(Dense<f64>, Vec<String>)>,
}

impl Pictures {
    pub fn has(&self, which: PictureArg) -> bool {
        match which {
            PictureArg::Factors => !self.factors.is_empty(),
            PictureArg::Fit => self.fits.iter().any(|f| f.values.len() > 1),
            PictureArg::Explained => !self.explained.is_empty(),
            PictureArg::Core => self.core.is_some(),
        }
    }

    pub fn get(&self, which: PictureArg) -> Outcome<Picture> {
        if !self.has(which) {
            return Err(Failure::usage("--picture: this model has no such picture"));
        }
        Ok(match (which, &self.core) {
            (PictureArg::Factors, _) => factor_chart(&self.factors, &self.title)?,
            (PictureArg::Fit, _) => fit_chart(&self.fits, &self.title)?,
            (PictureArg::Core, Some((core, modes))) => {
                core_chart(core.shape(), core.values(), &CoreOptions { title: self.title.clone(), modes: modes.clone() })?
            }
            _ => explained_chart(&self.explained, &self.title)?,
        })
    }
}

/// Factors as panels.
pub fn panels(factors: &[Matrix], modes: &[Mode]) -> Vec<FactorPanel> {
    let panel = |(f, m): (&Matrix, &Mode)| FactorPanel {
        title: m.name.clone(),
        labels: m.labels.as_ref().map(|l| l.iter().map(|s| s.to_string()).collect()),
        positions: None,
        columns: (0..f.cols).map(|r| (0..f.rows).map(|i| f.at(i, r)).collect()).collect(),
    };
    factors.iter().zip(modes).map(panel).collect()
}

/// A trace as it is written.
pub fn points(trace: &[TraceRow]) -> Vec<TracePoint> {
    let point =
        |t: &TraceRow| TracePoint { iter: t.iter, fit: t.fit, rel_error: t.rel_error, seconds: t.seconds.unwrap_or(f64::NAN) };
    trace.iter().map(point).collect()
}

/// What pictures call an input: the file's name without its folders.
pub fn short(name: &str) -> &str {
    std::path::Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or(name)
}

/// Sizes as people write them.
pub fn by_commas(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}
