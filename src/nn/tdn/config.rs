//! What the network is made of.

use crate::tensor::cg::{CgError, RankSchedule};
use serde::{Deserialize, Serialize};

/// How features are multiplied with the harmonics of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ProductKind {
    /// By a CP form of this rank, fitted once and then fixed.
    Cp { rank: RankSchedule },
    /// By M itself, a matrix for every edge: exactly equivariant.
    Exact,
}

/// What predicts forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forces {
    /// A head of their own, as in the paper: fast, and not the gradient of any energy.
    Direct,
    /// −∂E/∂r: conserves energy.
    Conservative,
}

/// A tensor decomposition network. [`TdnConfig::default`] has the published sizes, [`TdnConfig::small`] those for an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TdnConfig {
    /// Kinds of atoms.
    pub species: usize,
    /// L.
    pub lmax: usize,
    /// Channels of the features.
    pub channels: usize,
    pub layers: usize,
    pub heads: usize,
    /// Neighbours are closer than this.
    pub cutoff: f64,
    /// Of the nearest, for each atom.
    pub max_neighbours: usize,
    /// Gaussians of the distance.
    pub radial_basis: usize,
    /// Width of the two hidden layers that make weights of distances.
    pub radial_hidden: usize,
    pub product: ProductKind,
    pub forces: Forces,
    /// Share of attention weights dropped in training.
    pub dropout: f64,
    /// Weights fade out towards the cutoff, so that energies are smooth when neighbours come and go. The published network has none.
    pub smooth_cutoff: bool,
    /// Mean number of neighbours and of atoms, what sums are divided by the root of: statistics of the data.
    pub mean_neighbours: f64,
    pub mean_atoms: f64,
}

impl Default for TdnConfig {
    fn default() -> Self {
        Self {
            species: 80,
            lmax: 1,
            channels: 128,
            layers: 4,
            heads: 4,
            cutoff: 4.5,
            max_neighbours: 100,
            radial_basis: 128,
            radial_hidden: 64,
            product: ProductKind::Cp { rank: RankSchedule::Quadratic },
            forces: Forces::Direct,
            dropout: 0.2,
            smooth_cutoff: false,
            mean_neighbours: 18.6,
            mean_atoms: 36.6,
        }
    }
}

impl TdnConfig {
    /// A network that trains in a minute: 2 layers, 16 channels, conservative forces, exact rank 8.
    pub fn small(species: usize) -> Self {
        Self {
            species,
            channels: 16,
            layers: 2,
            heads: 2,
            radial_basis: 16,
            radial_hidden: 32,
            product: ProductKind::Cp { rank: RankSchedule::Fixed(8) },
            forces: Forces::Conservative,
            dropout: 0.0,
            smooth_cutoff: true,
            ..Self::default()
        }
    }

    /// (L + 1)²
    pub fn dim(&self) -> usize {
        (self.lmax + 1).pow(2)
    }

    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), CgError> {
        let least = |what, found: usize, least: usize| match found >= least {
            true => Ok(()),
            false => Err(CgError::Setting { what, found: found.to_string(), expected: format!("at least {least}") }),
        };
        least("the number of species", self.species, 1)?;
        // Directions and forces live in l = 1.
        least("L", self.lmax, 1)?;
        least("the number of channels", self.channels, 1)?;
        least("the number of layers", self.layers, 1)?;
        least("the number of heads", self.heads, 1)?;
        least("the number of neighbours", self.max_neighbours, 1)?;
        least("the number of Gaussians", self.radial_basis, 1)?;
        least("the hidden width", self.radial_hidden, 1)?;
        if !self.channels.is_multiple_of(self.heads) {
            let expected = format!("a multiple of the {} heads", self.heads);
            return Err(CgError::Setting { what: "the number of channels", found: self.channels.to_string(), expected });
        }
        for (what, value) in [
            ("the cutoff", self.cutoff),
            ("the mean number of neighbours", self.mean_neighbours),
            ("the mean number of atoms", self.mean_atoms),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(CgError::Setting { what, found: value.to_string(), expected: "a number above 0".into() });
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let expected = "at least 0 and below 1".to_string();
            return Err(CgError::Setting { what: "the dropout", found: self.dropout.to_string(), expected });
        }
        if let ProductKind::Cp { rank } = self.product {
            rank.rank(self.lmax)?;
        }
        Ok(())
    }
}
