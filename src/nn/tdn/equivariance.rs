//! How far a network is from commuting with rotations.

use super::TdnError;
use super::graph::Structure;
use super::net::Tdn;
use crate::run::seed::Streams;
use crate::tensor::cg::Rotation;
use serde::{Deserialize, Serialize};

/// Root mean squares over structures and rotations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Equivariance {
    /// |E(R r) − E(r)| per atom.
    pub energy: f64,
    /// ‖F(R r) − R F(r)‖ over ‖F(r)‖, forces as the network is set up to give them.
    pub forces: f64,
}

/// Turns each structure by `rotations` random rotations (stream ("tdn-rotation", structure)) and compares.
///
/// # Errors
/// What [`Tdn::predict`] finds; no structures or rotations.
pub fn equivariance(
    net: &Tdn,
    structures: &[Structure],
    rotations: usize,
    direct: bool,
    seed: u64,
) -> Result<Equivariance, TdnError> {
    if structures.is_empty() || rotations == 0 {
        return Err(TdnError::NoStructures { what: "turned" });
    }
    let (mut energy, mut lost, mut size, mut count) = (0.0, 0.0, 0.0, 0usize);
    let streams = Streams::new(seed);
    for (s, structure) in structures.iter().enumerate() {
        let mut rng = streams.stream("tdn-rotation", s as u64);
        let turns: Vec<Rotation> = (0..rotations).map(|_| Rotation::random(&mut rng)).collect();
        let turned = turns.iter().map(|r| {
            let positions = structure.positions.iter().map(|p| r.apply(*p)).collect();
            Structure { positions, energy: None, forces: None, symbols: structure.symbols.clone() }
        });
        let all: Vec<Structure> = std::iter::once(structure.clone()).chain(turned).collect();
        let found = net.predict(&all, direct)?;
        let atoms = structure.symbols.len() as f64;
        for (r, turned) in turns.iter().zip(&found[1..]) {
            energy += ((turned.energy - found[0].energy) / atoms).powi(2);
            for (f, g) in found[0].forces.iter().zip(&turned.forces) {
                let expected = r.apply(*f);
                lost += (0..3).map(|k| (g[k] - expected[k]).powi(2)).sum::<f64>();
                size += f.iter().map(|x| x * x).sum::<f64>();
            }
            count += 1;
        }
    }
    let forces = if size > 0.0 { (lost / size).sqrt() } else { 0.0 };
    Ok(Equivariance { energy: (energy / count as f64).sqrt(), forces })
}
