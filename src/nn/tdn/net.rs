//! The network.

use super::TdnError;
use super::config::{Forces, ProductKind, TdnConfig};
use super::geometry::{Geometry, tensor_of, values_of};
use super::graph::{Batch, Neighbours, Prepared, Structure};
use super::jet::Jet;
use super::layers::{Attention, Basis, DegreeNorm, FeedForward, Linear, Maker, Radial, Scene};
use super::ops::{self, Func, Products};
use crate::nn::init::Init;
use crate::nn::tape::Tape;
use crate::nn::{ParamId, Params, Pass, Value, ops as shared};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use crate::tensor::cg::product::cp_product;
use crate::tensor::cg::{CgTensor, CpConfig, als};
use crate::tensor::model::Matrix;
use candle_core::{DType, Device, Result, Tensor, bail};
use std::sync::Arc;

struct Block {
    norm1: DegreeNorm,
    attention: Attention,
    norm2: DegreeNorm,
    feed: FeedForward,
}

/// A force head: attention, then one channel.
struct ForceHead {
    norm: DegreeNorm,
    attention: Attention,
    last: Linear,
}

/// Embedding of the neighbourhood before the first block.
struct DegreeEmbedding {
    start: Linear,
    radial: Radial,
    out: Linear,
}

/// The network; see the module's description.
pub struct Tdn {
    config: TdnConfig,
    /// Symbols of the kinds of atoms, in the order of their numbers.
    kinds: Vec<String>,
    params: Params,
    atoms: ParamId,
    degree: DegreeEmbedding,
    basis: Basis,
    blocks: Vec<Block>,
    energy: (Linear, Linear),
    force: Option<ForceHead>,
    /// Unit of energy (and of force, per unit of length), and the energy of a free atom of every kind.
    unit: ParamId,
    reference: ParamId,
    products: Arc<Products>,
}

/// Attention masks of one training step, one for each block and one for the force head.
pub type Masks = Vec<Option<Tensor>>;

/// What a pass gives: energies (graphs) in the network's unit without reference energies, and forces (atoms, 3) when there is a head.
pub struct Output {
    pub energy: Jet,
    pub forces: Option<Value>,
}

/// Energy and forces of one structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub energy: f64,
    pub forces: Vec<[f64; 3]>,
}

impl Tdn {
    /// A network with freshly drawn weights for atoms with these symbols; a CP form of M is fitted first.
    ///
    /// # Errors
    /// What [`TdnConfig::check`] finds, symbols whose number is not that of the species; an interrupted fit.
    pub fn new(
        config: TdnConfig,
        kinds: Vec<String>,
        dtype: DType,
        seed: u64,
        observer: &dyn Observer,
    ) -> std::result::Result<Self, TdnError> {
        config.check()?;
        let m = CgTensor::new(config.lmax)?;
        let factors = match config.product {
            // The fit has a seed of its own: the same factors for every training.
            ProductKind::Cp { rank } => {
                let rank = rank.rank(config.lmax)?;
                Some(als::decompose_cg(&m, rank, &CpConfig::at(config.lmax, 0), observer)?.factors)
            }
            ProductKind::Exact => None,
        };
        Self::with_factors(config, kinds, dtype, seed, factors.as_ref())
    }

    /// The same with factors at hand, (d, R) each; `None` for the exact product.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and factors that do not fit L.
    pub fn with_factors(
        config: TdnConfig,
        kinds: Vec<String>,
        dtype: DType,
        seed: u64,
        factors: Option<&[Matrix; 3]>,
    ) -> std::result::Result<Self, TdnError> {
        config.check()?;
        if kinds.len() != config.species {
            return Err(TdnError::Kinds { found: kinds.len(), expected: config.species });
        }
        let m = CgTensor::new(config.lmax)?;
        let products = match factors {
            Some(f) if f[0].rows != m.dim() => {
                return Err(TdnError::Factors { found: f[0].rows, expected: m.dim(), lmax: config.lmax });
            }
            Some(f) => Products { single: cp_product(f)?, double: cp_product(f)? },
            None => Products { single: m.per_edge_product(), double: m.per_edge_product() },
        };
        Ok(Self::build(config, kinds, dtype, &Streams::new(seed), products)?)
    }

    fn build(config: TdnConfig, kinds: Vec<String>, dtype: DType, streams: &Streams, products: Products) -> Result<Self> {
        let mut params = Params::new(dtype, &Device::Cpu);
        let (c, lmax) = (config.channels, config.lmax);
        // One-hot times a matrix of U(±1/√S), times √S.
        let atoms = params.declare("embed.atoms", &[config.species, c], Init::Uniform { bound: 1.0 }, streams)?;
        let unit = params.declare_buffer("unit", &[1], 1.0)?;
        let reference = params.declare_buffer("reference", &[config.species], 0.0)?;
        let mut maker = Maker { params: &mut params, streams };
        let maker = &mut maker;
        let basis = Basis::new(maker, &config)?;
        let degree = DegreeEmbedding {
            start: Linear::new(maker, "embed.degree.start", c, 1, true)?,
            radial: Radial::new(maker, "embed.degree.radial", &config)?,
            out: Linear::new(maker, "embed.degree.out", c, c, true)?,
        };
        let mut blocks = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            blocks.push(Block {
                norm1: DegreeNorm::new(maker, &format!("block{i}.norm1"), lmax, c)?,
                attention: Attention::new(maker, &format!("block{i}.attention"), &config)?,
                norm2: DegreeNorm::new(maker, &format!("block{i}.norm2"), lmax, c)?,
                feed: FeedForward::new(maker, &format!("block{i}.feed"), c)?,
            });
        }
        let energy = (Linear::new(maker, "energy.0", c, c, true)?, Linear::new(maker, "energy.1", 1, c, true)?);
        let force = match config.forces {
            Forces::Direct => Some(ForceHead {
                norm: DegreeNorm::new(maker, "force.norm", lmax, c)?,
                attention: Attention::new(maker, "force.attention", &config)?,
                last: Linear::new(maker, "force.last", 1, c, false)?,
            }),
            Forces::Conservative => None,
        };
        let products = Arc::new(products);
        Ok(Self { config, kinds, params, atoms, degree, basis, blocks, energy, force, unit, reference, products })
    }

    pub fn config(&self) -> &TdnConfig {
        &self.config
    }

    /// Symbols of the kinds of atoms.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// The unit of energy, and the energy of a free atom of every kind.
    ///
    /// # Errors
    /// None but those of tensors.
    pub fn scales(&self) -> Result<(f64, Vec<f64>)> {
        Ok((values_of(&self.params.get(self.unit).tensor)?[0], values_of(&self.params.get(self.reference).tensor)?))
    }

    /// Sets them.
    ///
    /// # Errors
    /// A number of reference energies other than that of the species.
    pub fn set_scales(&mut self, unit: f64, reference: &[f64]) -> Result<()> {
        let dtype = self.params.dtype();
        self.params.set(self.unit, &tensor_of(&[unit], &[1], dtype)?)?;
        self.params.set(self.reference, &tensor_of(reference, &[reference.len()], dtype)?)
    }

    /// A structure with its neighbours.
    ///
    /// # Errors
    /// A symbol that the network does not know; what [`Neighbours::new`] finds.
    pub fn prepare(&self, structure: &Structure) -> std::result::Result<Prepared, TdnError> {
        let kind = |(atom, symbol): (usize, &String)| match self.kinds.iter().position(|k| k == symbol) {
            Some(kind) => Ok(kind as u32),
            None => Err(TdnError::Symbol { atom: atom + 1, found: symbol.clone(), known: self.kinds.join(", ") }),
        };
        Ok(Prepared {
            species: structure.symbols.iter().enumerate().map(kind).collect::<std::result::Result<_, _>>()?,
            positions: structure.positions.clone(),
            neighbours: Neighbours::new(&structure.positions, self.config.cutoff, self.config.max_neighbours)?,
        })
    }

    /// Attention masks of this step; empty outside of training.
    ///
    /// # Errors
    /// None but those of tensors.
    pub fn masks(&self, pass: &Pass, batch: &Batch) -> Result<Masks> {
        if !pass.is_training() || self.config.dropout == 0.0 {
            return Ok(vec![None; self.blocks.len() + 1]);
        }
        let ones = Value::from(Tensor::ones((batch.edges(), self.config.heads), self.params.dtype(), &Device::Cpu)?);
        (0..=self.blocks.len()).map(|_| Ok(Some(shared::dropout(pass, &ones, self.config.dropout)?.tensor().clone()))).collect()
    }

    /// Energies, and forces of the head when there is one. Tangents of the geometry become those of the energies.
    ///
    /// # Errors
    /// None but those of tensors.
    pub fn forward(&self, pass: &Pass, batch: &Batch, geometry: &Geometry, masks: &Masks) -> Result<Output> {
        let c = &self.config;
        let (d, dtype) = (c.dim(), self.params.dtype());
        let fade = if c.smooth_cutoff { Some(geometry.fading(c.cutoff)?) } else { None };
        let basis = self.basis.apply(pass, &geometry.distance)?;
        let scene = Scene { batch, geometry, basis: &basis, fade: fade.as_ref(), products: &self.products };
        let kinds = ops::gather(&pass.param(self.atoms), &batch.species)?;
        let mut x = Jet::from(ops::into_rows(&kinds, d)?).add(&self.neighbourhood(pass, &scene, dtype)?)?;
        for (block, mask) in self.blocks.iter().zip(masks) {
            x = x.add(&block.attention.apply(pass, &block.norm1.apply(pass, &x)?, &scene, mask.as_ref())?)?;
            x = x.add(&block.feed.apply(pass, &block.norm2.apply(pass, &x)?)?)?;
        }
        let scalars = x.linear(|x| ops::heads_of_rows(x, c.channels, d * c.channels))?;
        let each = self.energy.1.apply(pass, &self.energy.0.apply(pass, &scalars)?.map(Func::Silu)?)?;
        let energy = each.linear(|e| {
            let sum = ops::scatter(e, &batch.graph)?;
            shared::scale(&shared::reshape(&sum, &[batch.graphs()])?, c.mean_atoms.sqrt().recip())
        })?;
        let forces = match &self.force {
            Some(head) => {
                let mask = masks.last().and_then(|m| m.as_ref());
                let h = head.attention.apply(pass, &head.norm.apply(pass, &x)?, &scene, mask)?;
                let one = shared::reshape(&head.last.apply(pass, &h)?.value, &[batch.atoms(), d])?;
                Some(shared::narrow(&one, 1, 1, 3)?)
            }
            None => None,
        };
        Ok(Output { energy, forces })
    }

    /// Features of edges from distance and direction alone, summed over neighbours.
    fn neighbourhood(&self, pass: &Pass, scene: &Scene<'_>, dtype: DType) -> Result<Jet> {
        let (d, batch) = (self.config.dim(), scene.batch);
        let one = Value::from(Tensor::ones((1, 1), dtype, &Device::Cpu)?);
        let start = ops::into_rows(&self.degree.start.apply(pass, &one.into())?.value, d)?;
        let all = ops::gather(&start, &Arc::new(super::graph::Index::new(vec![0; batch.edges()], 1)))?;
        let w = self.degree.radial.apply(pass, scene.basis, scene.fade)?;
        let out = self.degree.out.apply(pass, &scene.product(&all.into(), &w)?)?;
        let scale = self.config.mean_neighbours.sqrt().recip();
        out.linear(|x| shared::scale(&ops::scatter(x, &batch.target)?, scale))
    }

    /// Energies in the network's unit and −∂E/∂r of every atom, parameters held fixed.
    ///
    /// # Errors
    /// None but those of tensors.
    pub fn energy_and_gradient(&self, batch: &Batch, masks: &Masks) -> Result<(Vec<f64>, Vec<f64>)> {
        let flat: Vec<f64> = batch.positions.iter().flatten().copied().collect();
        let tape = Tape::new();
        let positions = tape.leaf(&tensor_of(&flat, &[batch.atoms(), 3], self.params.dtype())?);
        let pass = Pass::inference(&self.params);
        let geometry = Geometry::recorded(&positions, batch, self.config.lmax)?;
        let energy = self.forward(&pass, batch, &geometry, masks)?.energy.value;
        let values = values_of(energy.tensor())?;
        if batch.edges() == 0 {
            return Ok((values, vec![0.0; flat.len()]));
        }
        let gradients = tape.backward(&energy)?;
        let forces = match gradients.of(&positions) {
            Some(g) => values_of(g)?.into_iter().map(|v| -v).collect(),
            None => vec![0.0; flat.len()],
        };
        Ok((values, forces))
    }

    /// Energies and forces of structures, all as one batch: by the gradient, or by the head where `direct`.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare); `direct` without a head.
    pub fn predict(&self, structures: &[Structure], direct: bool) -> std::result::Result<Vec<Prediction>, TdnError> {
        let parts = structures.iter().map(|s| self.prepare(s)).collect::<std::result::Result<Vec<_>, _>>()?;
        let parts: Vec<&Prepared> = parts.iter().collect();
        Ok(self.predict_prepared(&parts, direct)?)
    }

    /// The same for structures with neighbours.
    ///
    /// # Errors
    /// `direct` without a head.
    pub fn predict_prepared(&self, parts: &[&Prepared], direct: bool) -> Result<Vec<Prediction>> {
        let (unit, reference) = self.scales()?;
        let batch = Batch::new(parts, self.config.species);
        let masks = vec![None; self.blocks.len() + 1];
        let (energies, forces) = if direct {
            let geometry = Geometry::fixed(&batch, self.config.lmax, self.params.dtype(), None)?;
            let out = self.forward(&Pass::inference(&self.params), &batch, &geometry, &masks)?;
            let Some(forces) = out.forces else {
                bail!("this network has no head for forces: they are the gradient of its energy")
            };
            (values_of(out.energy.value.tensor())?, values_of(forces.tensor())?)
        } else {
            self.energy_and_gradient(&batch, &masks)?
        };
        let mut at = 0;
        let each = parts.iter().zip(energies).map(|(part, energy)| {
            let n = part.species.len();
            let own = &forces[3 * at..3 * (at + n)];
            at += n;
            let free: f64 = part.species.iter().map(|s| reference[*s as usize]).sum();
            Prediction {
                energy: unit * energy + free,
                forces: own.chunks_exact(3).map(|f| [unit * f[0], unit * f[1], unit * f[2]]).collect(),
            }
        });
        Ok(each.collect())
    }
}
