//! Clusters of two kinds of atoms with a Morse potential: data with exact energies and forces.
//!
//! V(r) = D ((1 − e^(−a (r − r₀)))² − 1) · S(r), summed over pairs; S switches from 1 to 0 between 3.5 and 4.4 Å by a polynomial of degree
//! 5 with two continuous derivatives. Constants depend on the pair of kinds:
//!
//! | pair | D (eV) | a (1/Å) | r₀ (Å) |
//! |---|---|---|---|
//! | A–A | 0.35 | 1.6 | 2.6 |
//! | A–B | 0.55 | 1.8 | 2.3 |
//! | B–B | 0.25 | 1.5 | 2.8 |
//!
//! They are ours, chosen so that mixed pairs bind more strongly and more closely; they stand for no real elements. Symbols are "A" and "B".
//! Source of the form: Morse, Phys. Rev. 34, 57 (1929).

use super::graph::Structure;
use crate::run::seed::{Rng, Streams};
use crate::tensor::cg::CgError;
use rand::Rng as _;
use rand_distr::{Distribution, StandardNormal, Uniform};
use rayon::prelude::*;

/// Where the switch begins and ends.
pub const SWITCH: (f64, f64) = (3.5, 4.4);
/// Symbols of the two kinds.
pub const SYMBOLS: [&str; 2] = ["A", "B"];

/// (D, a, r₀) of a pair.
fn constants(a: usize, b: usize) -> (f64, f64, f64) {
    match a + b {
        0 => (0.35, 1.6, 2.6),
        1 => (0.55, 1.8, 2.3),
        _ => (0.25, 1.5, 2.8),
    }
}

/// V and dV/dr of a pair at distance r > 0.
fn pair(a: usize, b: usize, r: f64) -> (f64, f64) {
    if r >= SWITCH.1 {
        return (0.0, 0.0);
    }
    let (depth, rate, rest) = constants(a, b);
    let e = (-rate * (r - rest)).exp();
    let (v, dv) = (depth * ((1.0 - e) * (1.0 - e) - 1.0), 2.0 * depth * rate * e * (1.0 - e));
    let width = SWITCH.1 - SWITCH.0;
    let t = ((r - SWITCH.0) / width).max(0.0);
    // 1 − 10 t³ + 15 t⁴ − 6 t⁵.
    let s = 1.0 - t * t * t * (10.0 - 15.0 * t + 6.0 * t * t);
    let ds = -30.0 * t * t * (1.0 - t) * (1.0 - t) / width;
    (v * s, dv * s + v * ds)
}

/// Energy and forces of atoms of kinds 0 and 1. Atoms at the same place exert no force on each other.
pub fn morse(kinds: &[usize], positions: &[[f64; 3]]) -> (f64, Vec<[f64; 3]>) {
    let mut energy = 0.0;
    let mut forces = vec![[0.0; 3]; positions.len()];
    for i in 0..positions.len() {
        for j in 0..i {
            let d: [f64; 3] = std::array::from_fn(|k| positions[i][k] - positions[j][k]);
            let r = d.iter().map(|x| x * x).sum::<f64>().sqrt();
            let (v, dv) = pair(kinds[i], kinds[j], r);
            energy += v;
            if r > 0.0 {
                for k in 0..3 {
                    forces[i][k] -= dv * d[k] / r;
                    forces[j][k] += dv * d[k] / r;
                }
            }
        }
    }
    (energy, forces)
}

/// Seeded clusters: `count` structures of `atoms` atoms, half of them (rounded up) of kind A.
///
/// Structure s comes from the stream ("morse-cluster", s): atoms at random in a ball, at least 1.9 Å apart; 60 steps down the gradient,
/// none longer than 0.1 Å, so that they stick together; then every coordinate is moved by N(0, `noise`²). Energies and forces are exact.
///
/// # Errors
/// No atoms, or more than 200: this is an example, not a simulator; a noise that is negative or not finite.
pub fn clusters(count: usize, atoms: usize, noise: f64, seed: u64) -> Result<Vec<Structure>, CgError> {
    if !(1..=200).contains(&atoms) {
        let expected = "1 to 200".to_string();
        return Err(CgError::Setting { what: "the number of atoms of a cluster", found: atoms.to_string(), expected });
    }
    if !(noise >= 0.0 && noise.is_finite()) {
        return Err(CgError::Setting { what: "the noise of positions", found: noise.to_string(), expected: "at least 0".into() });
    }
    let streams = Streams::new(seed);
    Ok((0..count).into_par_iter().map(|s| cluster(atoms, noise, &mut streams.stream("morse-cluster", s as u64))).collect())
}

fn cluster(atoms: usize, noise: f64, rng: &mut Rng) -> Structure {
    let kinds: Vec<usize> = (0..atoms).map(|i| usize::from(i >= atoms.div_ceil(2))).collect();
    let mut positions = scattered(atoms, rng);
    for _ in 0..60 {
        let (_, forces) = morse(&kinds, &positions);
        for (p, f) in positions.iter_mut().zip(&forces) {
            let length = f.iter().map(|x| x * x).sum::<f64>().sqrt();
            let step = if length > 0.0 { (0.05f64).min(0.1 / length) } else { 0.0 };
            (0..3).for_each(|k| p[k] += step * f[k]);
        }
    }
    for x in positions.iter_mut().flatten() {
        let z: f64 = StandardNormal.sample(rng);
        *x += noise * z;
    }
    let (energy, forces) = morse(&kinds, &positions);
    let symbols = kinds.iter().map(|k| SYMBOLS[*k].to_string()).collect();
    Structure { symbols, positions, energy: Some(energy), forces: Some(forces) }
}

/// Atoms in a ball, none closer than 1.9 Å; the ball grows when it is hard to find room.
fn scattered(atoms: usize, rng: &mut Rng) -> Vec<[f64; 3]> {
    let mut radius = 1.6 * (atoms as f64).cbrt();
    let mut found: Vec<[f64; 3]> = Vec::with_capacity(atoms);
    while found.len() < atoms {
        let Ok(range) = Uniform::new(-radius, radius) else { break };
        let p: [f64; 3] = std::array::from_fn(|_| range.sample(rng));
        let inside = p.iter().map(|x| x * x).sum::<f64>() <= radius * radius;
        let free = found.iter().all(|q| (0..3).map(|k| (p[k] - q[k]).powi(2)).sum::<f64>() >= 1.9 * 1.9);
        if inside && free {
            found.push(p);
        } else {
            radius *= 1.002;
        }
    }
    // One draw between placing and noise keeps the two apart when the number of trials changes.
    let _ = rng.next_u64();
    found
}
