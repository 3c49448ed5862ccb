//! Pictures of clusterings. Colours and marker shapes of a cluster are the same in every picture; noise is grey.
//!
//! | file | what |
//! |---|---|
//! | [`scatter`](mod@scatter) | points in two dimensions, with hulls or ellipses and centroids |
//! | [`silhouette`](mod@silhouette) | silhouettes of all points, cluster by cluster |
//! | [`dendrogram`](mod@dendrogram) | the tree of merges |
//! | [`scan`](mod@scan) | criteria against the number of clusters |
//! | [`condensed`](mod@condensed) | the condensed tree of HDBSCAN |
//! | [`network`](mod@network) | a small graph |
//! | [`heat`](mod@heat) | membership matrices and profiles of groups as heat maps |
//! | `style` | what they share: colours, shapes, legends, axes |
//! | `plane` | principal components for the scatter plot |
//! | `layout` | where the nodes of a graph go |

pub mod condensed;
pub mod dendrogram;
pub mod heat;
mod layout;
pub mod network;
mod plane;
pub mod scan;
pub mod scatter;
pub mod silhouette;
mod style;
#[cfg(test)]
mod tests;

pub use condensed::{CondensedRow, condensed_tree_chart};
pub use dendrogram::{DendrogramOptions, dendrogram_chart};
pub use heat::{MembershipOptions, Profile, membership_chart, profile_chart};
pub use network::{NetworkOptions, network_chart};
pub use scan::{Criterion, k_scan_chart};
pub use scatter::{Outline, ScatterOptions, scatter_chart};
pub use silhouette::silhouette_chart;
