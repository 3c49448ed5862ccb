//! Structures of atoms and their neighbours.

use super::TdnError;
use serde::{Deserialize, Serialize};

/// Atoms in space, with what is known about them. Lengths in Å, energies in eV, forces in eV/Å (or any consistent units).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Structure {
    /// Chemical symbols.
    pub symbols: Vec<String>,
    pub positions: Vec<[f64; 3]>,
    pub energy: Option<f64>,
    pub forces: Option<Vec<[f64; 3]>>,
}

/// For rows e the target `of[e]`, and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    of: Vec<u32>,
    /// Rows of target n: `sources[starts[n]..starts[n + 1]]`, ascending.
    starts: Vec<usize>,
    sources: Vec<u32>,
}

impl Index {
    /// Panics when a target is not below `targets`.
    pub fn new(of: Vec<u32>, targets: usize) -> Self {
        let mut starts = vec![0usize; targets + 1];
        of.iter().for_each(|n| starts[*n as usize + 1] += 1);
        (0..targets).for_each(|n| starts[n + 1] += starts[n]);
        let mut next = starts.clone();
        let mut sources = vec![0; of.len()];
        for (e, n) in of.iter().enumerate() {
            sources[next[*n as usize]] = e as u32;
            next[*n as usize] += 1;
        }
        Self { of, starts, sources }
    }

    pub fn len(&self) -> usize {
        self.of.len()
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub fn targets(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn of(&self) -> &[u32] {
        &self.of
    }

    pub fn sources(&self, target: usize) -> &[u32] {
        &self.sources[self.starts[target]..self.starts[target + 1]]
    }
}

/// Neighbours of one structure: pairs (source, target), by target, the nearest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours {
    pub pairs: Vec<(u32, u32)>,
}

impl Neighbours {
    /// Pairs closer than `cutoff`, at most `most` a target (the nearest; the lower number where distances are equal).
    ///
    /// Cost: all pairs of atoms; structures of some hundreds of atoms are what this is for.
    ///
    /// # Errors
    /// Two atoms at the same place, which has no direction, or a position that is not finite.
    pub fn new(positions: &[[f64; 3]], cutoff: f64, most: usize) -> Result<Self, TdnError> {
        let mut pairs = Vec::new();
        for (i, a) in positions.iter().enumerate() {
            if let Some(axis) = a.iter().position(|x| !x.is_finite()) {
                return Err(TdnError::Position { atom: i + 1, axis: ["x", "y", "z"][axis], value: a[axis] });
            }
            let mut near: Vec<(f64, u32)> = Vec::new();
            for (j, b) in positions.iter().enumerate().filter(|(j, _)| *j != i) {
                let distance = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt();
                if distance < 1e-6 {
                    return Err(TdnError::Coincident { first: i.min(j) + 1, second: i.max(j) + 1, distance });
                }
                if distance < cutoff {
                    near.push((distance, j as u32));
                }
            }
            near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            pairs.extend(near.into_iter().take(most).map(|(_, j)| (j, i as u32)));
        }
        Ok(Self { pairs })
    }
}

/// Several structures as one graph.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Kind of every atom.
    pub species: std::sync::Arc<Index>,
    /// Structure of every atom.
    pub graph: std::sync::Arc<Index>,
    /// Of every edge, the atom it comes from and the one it goes to.
    pub source: std::sync::Arc<Index>,
    pub target: std::sync::Arc<Index>,
    /// Of all atoms, one structure after the other.
    pub positions: Vec<[f64; 3]>,
}

/// A structure as the network takes it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Kind of every atom, below the number of species.
    pub species: Vec<u32>,
    pub positions: Vec<[f64; 3]>,
    pub neighbours: Neighbours,
}

impl Batch {
    /// `kinds`: number of species.
    pub fn new(parts: &[&Prepared], kinds: usize) -> Self {
        let (mut species, mut graph, mut source, mut target, mut positions) = (vec![], vec![], vec![], vec![], vec![]);
        for (g, part) in parts.iter().enumerate() {
            let first = positions.len() as u32;
            species.extend(&part.species);
            graph.extend(std::iter::repeat_n(g as u32, part.species.len()));
            source.extend(part.neighbours.pairs.iter().map(|p| first + p.0));
            target.extend(part.neighbours.pairs.iter().map(|p| first + p.1));
            positions.extend(&part.positions);
        }
        let atoms = positions.len();
        let index = |of, targets| std::sync::Arc::new(Index::new(of, targets));
        Self {
            species: index(species, kinds),
            graph: index(graph, parts.len()),
            source: index(source, atoms),
            target: index(target, atoms),
            positions,
        }
    }

    pub fn atoms(&self) -> usize {
        self.positions.len()
    }

    pub fn edges(&self) -> usize {
        self.source.len()
    }

    pub fn graphs(&self) -> usize {
        self.graph.targets()
    }
}
