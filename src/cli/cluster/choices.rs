//! Choices of the methods as values on the command line.

use crate::cluster::agglomerative::Linkage;
use crate::cluster::dbscan::Border;
use crate::cluster::gmm::Covariance;
use crate::cluster::graph_methods::leiden::Quality;
use crate::cluster::hdbscan::{Convention, Selection};
use crate::cluster::k_scan::Criterion;
use crate::cluster::kmeans::Algorithm;
use crate::cluster::scale::Standardize;
use crate::cluster::sdp::Solver;
use crate::cluster::spectral::{Affinity, Embedding};
use crate::table::graph::{Mirrored, Repeats};
use crate::table::points::Imputation;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A choice whose values have names.
pub trait Choice: Copy + Send + Sync + 'static {
    /// All values.
    fn all() -> &'static [Self];
    /// The value's name.
    fn named(self) -> &'static str;
}

macro_rules! choices {
    ($($name:ty),+ $(,)?) => {
        $(impl Choice for $name {
            fn all() -> &'static [Self] {
                Self::ALL
            }
            fn named(self) -> &'static str {
                self.name()
            }
        })+
    };
}

choices!(
    Affinity,
    Algorithm,
    Border,
    Convention,
    Covariance,
    Criterion,
    Embedding,
    Imputation,
    Linkage,
    Mirrored,
    Quality,
    Repeats,
    Selection,
    Solver,
    Standardize
);

/// Reads the name of a value, and lists the names in the help.
pub fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::all().iter().map(|v| v.named()))
        .try_map(|typed| T::all().iter().copied().find(|v| v.named() == typed).ok_or_else(|| format!("there is no {typed}")))
}
