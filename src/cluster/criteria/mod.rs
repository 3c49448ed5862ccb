//! How good a clustering of points is without a second labelling.
//!
//! | file | what |
//! |---|---|
//! | [`mod@silhouette`] | exact silhouettes of all points, or of a sample, over blocks of distances that are never stored |
//! | [`dispersion`] | inertia, Calinski-Harabasz, Davies-Bouldin |
//! | [`spherical`] | likelihood, BIC and AIC of k-means as a mixture of equal spheres |
//! | [`gap`] | the gap statistic and its rule |
//! | [`eigengap`] | the largest gap of a Laplacian's spectrum |
//!
//! Noise is a group like any other, or left out ([`Noise`](super::score::Noise)).

pub mod dispersion;
pub mod eigengap;
pub mod gap;
mod groups;
pub mod silhouette;
pub mod spherical;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tiles;

pub use dispersion::{Dispersion, calinski_harabasz, davies_bouldin, inertia};
pub use groups::Groups;
pub use silhouette::{Silhouette, SilhouetteSample, silhouette, silhouette_sample};
