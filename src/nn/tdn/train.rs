//! Training on energies and forces.

use super::TdnError;
use super::config::Forces;
use super::geometry::{Geometry, hand_made, tensor_of, values_of};
use super::graph::{Batch, Prepared, Structure};
use super::net::Tdn;
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::train::{Checkpoints, Learner, TrainConfig, TrainReport, train};
use crate::nn::{Params, Pass, Value};
use crate::run::observer::Observer;
use candle_core::{DType, Result};
use faer::linalg::solvers::Solve;
use serde::{Deserialize, Serialize};

/// How to train; the loss is `energy_weight` · mean over structures of |ΔE| + `force_weight` · mean over structures of the root mean square
/// over atoms of ‖ΔF‖, both in the network's unit (the root mean square of the training forces' components).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitConfig {
    pub epochs: usize,
    pub batch_size: usize,
    pub schedule: Schedule,
    pub energy_weight: f64,
    pub force_weight: f64,
    pub clip_norm: Option<f64>,
    pub patience: Option<usize>,
    pub seed: u64,
}

impl Default for FitConfig {
    /// The paper's batch of 64 and Adam; its rate of 5e-4 as the start of half a cosine.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 64,
            schedule: Schedule::cosine(5e-4),
            energy_weight: 1.0,
            force_weight: 1.0,
            clip_norm: Some(10.0),
            patience: None,
            seed: 0,
        }
    }
}

/// Errors over a set of structures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean of |ΔE| per atom.
    pub energy_mae_per_atom: f64,
    /// Root mean square over all force components.
    pub force_rmse: f64,
    /// The same for a prediction of zero.
    pub zero_rmse: f64,
}

/// A finished training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    pub training: TrainReport,
    pub unit: f64,
    /// Of a free atom of every kind.
    pub reference: Vec<f64>,
    pub train: Scores,
    pub validation: Option<Scores>,
}

/// A structure with its labels in the network's unit.
struct Sample {
    prepared: Prepared,
    /// Without reference energies.
    energy: f64,
    forces: Vec<f64>,
}

/// Checks the labels of structures.
fn labels(structures: &[Structure]) -> std::result::Result<(), TdnError> {
    for (s, structure) in structures.iter().enumerate() {
        let structure_number = s + 1;
        let Some(energy) = structure.energy else {
            return Err(TdnError::Unlabelled { structure: structure_number, what: "energy" });
        };
        let Some(forces) = &structure.forces else {
            return Err(TdnError::Unlabelled { structure: structure_number, what: "forces" });
        };
        let atoms = structure.symbols.len();
        if forces.len() != atoms {
            return Err(TdnError::Forces { structure: structure_number, found: forces.len(), atoms });
        }
        let bad = forces.iter().flatten().find(|v| !v.is_finite());
        for (what, value) in std::iter::once(("energy", Some(&energy))).chain([("force", bad)]) {
            if let Some(value) = value.filter(|v| !v.is_finite()) {
                return Err(TdnError::NotFinite { structure: structure_number, what, value: *value });
            }
        }
    }
    Ok(())
}

/// Energies of free atoms by least squares over the training structures, with a ridge that picks the smallest solution where compositions
/// do not tell kinds apart.
fn reference_energies(structures: &[Structure], kinds: &[String]) -> Vec<f64> {
    let n = kinds.len();
    let mut gram = faer::Mat::<f64>::zeros(n, n);
    let mut right = faer::Mat::<f64>::zeros(n, 1);
    for s in structures {
        let counts: Vec<f64> = kinds.iter().map(|k| s.symbols.iter().filter(|x| *x == k).count() as f64).collect();
        for i in 0..n {
            right[(i, 0)] += counts[i] * s.energy.unwrap_or(0.0);
            (0..n).for_each(|j| gram[(i, j)] += counts[i] * counts[j]);
        }
    }
    let trace: f64 = (0..n).map(|i| gram[(i, i)]).sum();
    (0..n).for_each(|i| gram[(i, i)] += 1e-8 * trace.max(f64::MIN_POSITIVE));
    match gram.llt(faer::Side::Lower) {
        Ok(llt) => {
            let x = llt.solve(&right);
            (0..n).map(|i| x[(i, 0)]).collect()
        }
        Err(_) => vec![0.0; n],
    }
}

/// Mean numbers of neighbours and atoms of structures, for [`TdnConfig`](super::TdnConfig).
///
/// # Errors
/// What neighbours find; no structures.
pub fn statistics(structures: &[Structure], cutoff: f64, most: usize) -> std::result::Result<(f64, f64), TdnError> {
    if structures.is_empty() {
        return Err(TdnError::NoStructures { what: "training" });
    }
    let (mut edges, mut atoms) = (0, 0);
    for s in structures {
        edges += super::graph::Neighbours::new(&s.positions, cutoff, most)?.pairs.len();
        atoms += s.positions.len();
    }
    let neighbours = edges as f64 / atoms.max(1) as f64;
    // Free atoms have none; dividing by 1 keeps their sums as they are.
    Ok((if neighbours > 0.0 { neighbours } else { 1.0 }, (atoms as f64 / structures.len() as f64).max(1.0)))
}

struct Training<'a> {
    net: &'a mut Tdn,
    samples: Vec<Sample>,
    validation: &'a [Structure],
    config: &'a FitConfig,
}

/// Trains a network on structures with energies and forces, and keeps the weights of the best epoch by the force error on `validation`.
///
/// Sets the network's unit and reference energies first. Conservative networks are trained on −∂E/∂r with exact gradients: the forces of
/// the batch give ∂loss/∂E and ∂loss/∂F, and one more pass with tangents along ∂loss/∂F gives the gradient of the parameters (see
/// [`jet`](super::jet)). Networks with a force head take both from one pass. Same seed, same bytes at any number of threads.
///
/// # Errors
/// Structures without labels, with labels that are not finite or atoms the network does not know; a training that diverged or was
/// interrupted.
pub fn fit(
    net: &mut Tdn,
    structures: &[Structure],
    validation: &[Structure],
    config: &FitConfig,
    observer: &dyn Observer,
) -> std::result::Result<Fit, TdnError> {
    if structures.is_empty() {
        return Err(TdnError::NoStructures { what: "training" });
    }
    labels(structures)?;
    labels(validation)?;
    let squares: f64 = structures.iter().flat_map(|s| s.forces.iter().flatten().flatten()).map(|f| f * f).sum();
    let count: usize = structures.iter().map(|s| 3 * s.symbols.len()).sum();
    let unit = (squares / count as f64).sqrt();
    if !(unit > 0.0 && unit.is_finite()) {
        return Err(TdnError::NoForces);
    }
    let reference = reference_energies(structures, net.kinds());
    net.set_scales(unit, &reference)?;
    // What the network will add and multiply by, as rounded to its type.
    let (unit, reference) = net.scales()?;
    let mut samples = Vec::with_capacity(structures.len());
    for s in structures {
        let prepared = net.prepare(s)?;
        let free: f64 = prepared.species.iter().map(|k| reference[*k as usize]).sum();
        let forces = s.forces.iter().flatten().flatten().map(|f| f / unit).collect();
        samples.push(Sample { prepared, energy: (s.energy.unwrap_or(0.0) - free) / unit, forces });
    }
    for s in validation {
        net.prepare(s)?;
    }
    let settings = TrainConfig {
        epochs: config.epochs,
        batch_size: config.batch_size,
        drop_last: false,
        shuffle: true,
        optimizer: OptimizerConfig::adam(),
        schedule: config.schedule.clone(),
        clip_norm: config.clip_norm,
        patience: config.patience,
        seed: config.seed,
    };
    let mut training = Training { net, samples, validation, config };
    let report = train(&mut training, &settings, &Checkpoints::default(), None, observer)?;
    let direct = net.config().forces == Forces::Direct;
    let train = evaluate(net, structures, direct)?;
    let validation = if validation.is_empty() { None } else { Some(evaluate(net, validation, direct)?) };
    Ok(Fit { training: report, unit, reference, train, validation })
}

/// Errors of a network on labelled structures; forces by the head where `direct`, by the gradient otherwise. 64 structures at a time.
///
/// # Errors
/// Structures without labels or with atoms the network does not know; no structures.
pub fn evaluate(net: &Tdn, structures: &[Structure], direct: bool) -> std::result::Result<Scores, TdnError> {
    if structures.is_empty() {
        return Err(TdnError::NoStructures { what: "test" });
    }
    labels(structures)?;
    let (mut energy, mut lost, mut size, mut count) = (0.0, 0.0, 0.0, 0usize);
    for some in structures.chunks(64) {
        for (s, found) in some.iter().zip(net.predict(some, direct)?) {
            energy += (found.energy - s.energy.unwrap_or(0.0)).abs() / s.symbols.len() as f64;
            for (f, g) in s.forces.iter().flatten().flatten().zip(found.forces.iter().flatten()) {
                lost += (f - g) * (f - g);
                size += f * f;
                count += 1;
            }
        }
    }
    let n = count.max(1) as f64;
    Ok(Scores {
        energy_mae_per_atom: energy / structures.len() as f64,
        force_rmse: (lost / n).sqrt(),
        zero_rmse: (size / n).sqrt(),
    })
}

/// A loss and its gradients with respect to energies (graphs) and forces (atoms · 3).
struct Loss {
    value: f64,
    energies: Vec<f64>,
    forces: Vec<f64>,
}

fn loss_of(samples: &[&Sample], energies: &[f64], forces: &[f64], config: &FitConfig) -> Loss {
    let n = samples.len() as f64;
    let mut out = Loss { value: 0.0, energies: Vec::with_capacity(samples.len()), forces: vec![0.0; forces.len()] };
    let mut at = 0;
    for (sample, energy) in samples.iter().zip(energies) {
        let off = energy - sample.energy;
        out.value += config.energy_weight * off.abs() / n;
        out.energies.push(if off == 0.0 { 0.0 } else { config.energy_weight * off.signum() / n });
        let atoms = sample.prepared.species.len() as f64;
        let own = at..at + sample.forces.len();
        at = own.end;
        let away: Vec<f64> = forces[own.clone()].iter().zip(&sample.forces).map(|(a, b)| a - b).collect();
        let root = (away.iter().map(|x| x * x).sum::<f64>() / atoms).sqrt();
        out.value += config.force_weight * root / n;
        if root > 0.0 {
            let by = config.force_weight / (n * atoms * root);
            out.forces[own].iter_mut().zip(&away).for_each(|(to, x)| *to = by * x);
        }
    }
    out
}

/// The loss of a batch as a value whose gradient reaches the parameters of the pass.
fn loss_value(net: &Tdn, pass: &Pass, samples: &[&Sample], config: &FitConfig) -> Result<Value> {
    let parts: Vec<&Prepared> = samples.iter().map(|s| &s.prepared).collect();
    let batch = Batch::new(&parts, net.config().species);
    let masks = net.masks(pass, &batch)?;
    let (lmax, dtype) = (net.config().lmax, net.params().dtype());
    let tensor = |v: &[f64], dims: &[usize], dtype: DType| tensor_of(v, dims, dtype);
    if net.config().forces == Forces::Direct {
        let out = net.forward(pass, &batch, &Geometry::fixed(&batch, lmax, dtype, None)?, &masks)?;
        let Some(forces) = out.forces else { candle_core::bail!("a network with direct forces has a head for them") };
        let loss = loss_of(samples, &values_of(out.energy.value.tensor())?, &values_of(forces.tensor())?, config);
        let gradients =
            vec![tensor(&loss.energies, &[batch.graphs()], dtype)?, tensor(&loss.forces, &[batch.atoms(), 3], dtype)?];
        return hand_made(loss.value, dtype, &[&out.energy.value, &forces], gradients);
    }
    let (energies, forces) = net.energy_and_gradient(&batch, &masks)?;
    let loss = loss_of(samples, &energies, &forces, config);
    let along: Vec<[f64; 3]> = loss.forces.chunks_exact(3).map(|f| [f[0], f[1], f[2]]).collect();
    let out = net.forward(pass, &batch, &Geometry::fixed(&batch, lmax, dtype, Some(&along))?, &masks)?;
    let ones = vec![-1.0; batch.graphs()];
    let energy = out.energy.value;
    // dL/dθ = Σ ∂L/∂E ∂E/∂θ + Σ ∂L/∂F ∂F/∂θ, and the second sum is −∂/∂θ of the derivative of E along ∂L/∂F.
    match out.energy.tangent {
        Some(along) => {
            let gradients = vec![tensor(&loss.energies, &[batch.graphs()], dtype)?, tensor(&ones, &[batch.graphs()], dtype)?];
            hand_made(loss.value, dtype, &[&energy, &along], gradients)
        }
        None => hand_made(loss.value, dtype, &[&energy], vec![tensor(&loss.energies, &[batch.graphs()], dtype)?]),
    }
}

impl Learner for Training<'_> {
    fn params(&self) -> &Params {
        self.net.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.net.params_mut()
    }

    fn samples(&self) -> usize {
        self.samples.len()
    }

    fn loss(&self, pass: &Pass, samples: &[usize]) -> Result<Value> {
        let samples: Vec<&Sample> = samples.iter().map(|s| &self.samples[*s]).collect();
        loss_value(self.net, pass, &samples, self.config)
    }

    fn validate(&self, _epoch: usize) -> Result<Option<f64>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let direct = self.net.config().forces == Forces::Direct;
        match evaluate(self.net, self.validation, direct) {
            Ok(scores) => Ok(Some(scores.force_rmse)),
            Err(error) => candle_core::bail!("{error}"),
        }
    }
}

/// The loss of structures, labels in the network's unit without reference energies: for tests of its gradient.
#[cfg(test)]
pub fn loss_of_structures(net: &Tdn, pass: &Pass, structures: &[Structure], config: &FitConfig) -> Result<Value> {
    let prepared = |s: &Structure| net.prepare(s).map_err(candle_core::Error::wrap);
    let samples: Vec<Sample> = structures
        .iter()
        .map(|s| {
            let forces = s.forces.iter().flatten().flatten().copied().collect();
            Ok(Sample { prepared: prepared(s)?, energy: s.energy.unwrap_or(0.0), forces })
        })
        .collect::<Result<_>>()?;
    loss_value(net, pass, &samples.iter().collect::<Vec<_>>(), config)
}
