//! What a decomposition gives, as tables to be written: factors, weights, the trace of a fit.

use super::Mode;
use crate::table::{Table, Values};
use crate::tensor::model::Matrix;

/// One sweep of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TracePoint {
    /// Sweeps done, from 1.
    pub iter: usize,
    /// `1 − ‖X − X̂‖ / ‖X‖`.
    pub fit: f64,
    /// `‖X − X̂‖ / ‖X‖`.
    pub rel_error: f64,
    /// Since the start, in seconds.
    pub seconds: f64,
}

/// The factor of a mode, one row a slice: the column `label` where slices have labels, `coordinate` where they stand at positions of a
/// continuous mode, else `index` from 0; then `c0`, `c1`, … for the components.
///
/// Panics when labels or coordinates are not one a row.
pub fn factor_table(factor: &Matrix, mode: &Mode, coordinates: Option<&[f64]>) -> Table {
    let table = match (coordinates, &mode.labels) {
        (Some(x), _) => {
            assert_eq!(x.len(), factor.rows, "coordinates of mode {}", mode.name);
            Table::new().with("coordinate", Values::Number(x.to_vec()))
        }
        (None, Some(labels)) => {
            assert_eq!(labels.len(), factor.rows, "labels of mode {}", mode.name);
            Table::new().with("label", Values::Text(labels.clone()))
        }
        (None, None) => Table::new().with("index", Values::Integer((0..factor.rows as i64).collect())),
    };
    (0..factor.cols)
        .fold(table, |table, r| table.with(format!("c{r}"), Values::Number((0..factor.rows).map(|i| factor.at(i, r)).collect())))
}

/// The weights: `component` from 0, `weight`.
pub fn weights_table(weights: &[f64]) -> Table {
    Table::new()
        .with("component", Values::Integer((0..weights.len() as i64).collect()))
        .with("weight", Values::Number(weights.to_vec()))
}

/// The trace: `iter`, `fit`, `rel_error`, `seconds`.
pub fn trace_table(trace: &[TracePoint]) -> Table {
    let column = |of: fn(&TracePoint) -> f64| Values::Number(trace.iter().map(of).collect());
    Table::new()
        .with("iter", Values::Integer(trace.iter().map(|t| t.iter as i64).collect()))
        .with("fit", column(|t| t.fit))
        .with("rel_error", column(|t| t.rel_error))
        .with("seconds", column(|t| t.seconds))
}
