//! What can be wrong with points, graphs and settings.

/// Why there is no clustering. Texts say what was found, what was expected and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClusterError {
    #[error("there are no points")]
    Empty,
    #[error("row {row}, column {column} (both from 0) is {value}; finite numbers are expected")]
    NotFinite { row: usize, column: usize, value: f64 },
    #[error("{k} clusters of {n} {things}: ask for 1 to {n}")]
    Clusters { k: usize, n: usize, things: &'static str },
    #[error("{k} clusters of {distinct} distinct points: ask for at most {distinct}")]
    Distinct { k: usize, distinct: usize },
    #[error("{what} is {value}; expected {expected}")]
    Setting { what: &'static str, value: String, expected: String },
    #[error("{0}")]
    Data(String),
    /// Singular covariances, iterations that diverge.
    #[error("the numbers went wrong: {0}")]
    Numbers(String),
    #[error("the saved model is not one of {method}: {why}")]
    Model { method: &'static str, why: String },
    #[error("stopped")]
    Cancelled,
}
