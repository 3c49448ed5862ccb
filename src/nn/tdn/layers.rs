//! Layers: linear maps that share one matrix over all l, norms, gates, weights of distances, attention over neighbours.

use super::config::TdnConfig;
use super::geometry::Geometry;
use super::graph::{Batch, Index};
use super::jet::Jet;
use super::ops::{self, Func, Parts, Products};
use crate::kernels::coupled::{Channels, Mode};
use crate::kernels::elementwise::Activation;
use crate::nn::init::Init;
use crate::nn::{ParamId, Params, Pass, Value, ops as shared};
use crate::run::seed::Streams;
use candle_core::{Result, Tensor};
use rand_distr::{Distribution, Uniform};
use std::sync::Arc;

/// Added to mean squares under the root.
const NORM_EPS: f64 = 1e-5;
/// Slope of the smooth leaky ReLU of attention.
const SLOPE: f64 = 0.2;

/// Where parameters are declared.
pub struct Maker<'a> {
    pub params: &'a mut Params,
    pub streams: &'a Streams,
}

impl Maker<'_> {
    fn get(&mut self, name: String, dims: &[usize], init: Init) -> Result<ParamId> {
        self.params.declare(name, dims, init, self.streams)
    }

    /// Uniform numbers between two bounds.
    fn between(&mut self, name: String, count: usize, low: f64, high: f64) -> Result<ParamId> {
        let id = self.get(name, &[count], Init::Constant(low))?;
        if let Ok(uniform) = Uniform::new(low, high) {
            let mut rng = self.streams.stream("tdn-basis", id.index() as u64);
            let values: Vec<f64> = (0..count).map(|_| uniform.sample(&mut rng)).collect();
            let values = super::geometry::tensor_of(&values, &[count], self.params.dtype())?;
            self.params.set(id, &values)?;
        }
        Ok(id)
    }
}

/// One matrix for all l, bias at l = 0.
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    pub fn new(maker: &mut Maker<'_>, name: &str, outputs: usize, inputs: usize, bias: bool) -> Result<Self> {
        let weight = maker.get(format!("{name}.weight"), &[outputs, inputs], Init::FanInUniform { fan_in: inputs })?;
        let bias = if bias { Some(maker.get(format!("{name}.bias"), &[outputs], Init::Constant(0.0))?) } else { None };
        Ok(Self { weight, bias })
    }

    /// (.., inputs) to (.., outputs); of features (rows, d, inputs) the bias goes to l = 0 alone.
    pub fn apply(&self, pass: &Pass, x: &Jet) -> Result<Jet> {
        let weight = pass.param(self.weight);
        let y = x.linear(|x| shared::linear(x, &weight, None, Activation::Identity))?;
        let Some(bias) = self.bias.map(|b| pass.param(b)) else { return Ok(y) };
        match *x.dims() {
            [_, d, _] if d > 1 => {
                let row = ops::into_rows(&shared::reshape(&bias, &[1, bias.dims()[0]])?, d)?;
                y.shift(|y| ops::add_columns(y, &row))
            }
            _ => y.shift(|y| ops::add_columns(y, &bias)),
        }
    }
}

/// Norm of every l by itself: root mean square over components and channels, at l = 0 after taking off the mean.
pub struct DegreeNorm {
    weight: ParamId,
    bias: ParamId,
    /// l of every component.
    degrees: Arc<Index>,
    parts: Parts,
    channels: usize,
}

impl DegreeNorm {
    pub fn new(maker: &mut Maker<'_>, name: &str, lmax: usize, channels: usize) -> Result<Self> {
        let of = (0..=lmax).flat_map(|l| std::iter::repeat_n(l as u32, 2 * l + 1)).collect();
        Ok(Self {
            weight: maker.get(format!("{name}.weight"), &[lmax + 1, channels], Init::Constant(1.0))?,
            bias: maker.get(format!("{name}.bias"), &[1, channels], Init::Constant(0.0))?,
            degrees: Arc::new(Index::new(of, lmax + 1)),
            parts: Parts::degrees(lmax, channels),
            channels,
        })
    }

    /// (rows, d, channels)
    pub fn apply(&self, pass: &Pass, x: &Jet) -> Result<Jet> {
        let (d, c) = (self.degrees.len(), self.channels);
        let x = x.linear(|x| ops::centre(x, c, d * c))?;
        let y = scaled_to_one(&x, &self.parts)?;
        let weight = ops::gather(&pass.param(self.weight), &self.degrees)?;
        let bias = ops::into_rows(&pass.param(self.bias), d)?;
        y.linear(|y| ops::scale_columns(y, &weight))?.shift(|y| ops::add_columns(y, &bias))
    }
}

/// Every part over the root of its mean square.
fn scaled_to_one(x: &Jet, parts: &Parts) -> Result<Jet> {
    let shares: Vec<f64> = parts.sizes().into_iter().map(|n| 1.0 / n as f64).collect();
    let shares = Value::from(super::geometry::tensor_of(&shares, &[shares.len()], x.value.tensor().dtype())?);
    let squares = x.bilinear(x, |a, b| ops::dots(a, b, parts))?;
    let inverse = squares.linear(|s| ops::scale_columns(s, &shares))?.map(Func::Rsqrt { eps: NORM_EPS })?;
    x.bilinear(&inverse, |x, s| ops::scale_parts(x, s, parts))
}

/// Layer norm of rows of scalars.
struct Norm {
    weight: ParamId,
    bias: ParamId,
    parts: Parts,
    width: usize,
}

impl Norm {
    fn new(maker: &mut Maker<'_>, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: maker.get(format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: maker.get(format!("{name}.bias"), &[width], Init::Constant(0.0))?,
            parts: Parts::equal(1, width),
            width,
        })
    }

    fn apply(&self, pass: &Pass, x: &Jet) -> Result<Jet> {
        let x = x.linear(|x| ops::centre(x, self.width, self.width))?;
        let (weight, bias) = (pass.param(self.weight), pass.param(self.bias));
        scaled_to_one(&x, &self.parts)?.linear(|y| ops::scale_columns(y, &weight))?.shift(|y| ops::add_columns(y, &bias))
    }
}

/// Gaussians of a distance, as densities: exp(−½((w r/c + b − μ)/σ)²)/(√(2π) σ), σ = |std| + 1e-5.
pub struct Basis {
    mean: ParamId,
    std: ParamId,
    weight: ParamId,
    bias: ParamId,
    cutoff: f64,
}

impl Basis {
    pub fn new(maker: &mut Maker<'_>, config: &TdnConfig) -> Result<Self> {
        let k = config.radial_basis;
        Ok(Self {
            mean: maker.between("basis.mean".into(), k, 0.0, 1.0)?,
            std: maker.between("basis.std".into(), k, 1.0 / k as f64, 1.0)?,
            weight: maker.get("basis.weight".into(), &[1], Init::Constant(1.0))?,
            bias: maker.get("basis.bias".into(), &[1], Init::Constant(0.0))?,
            cutoff: config.cutoff,
        })
    }

    /// Distances (edges, 1) to (edges, K).
    pub fn apply(&self, pass: &Pass, distance: &Jet) -> Result<Jet> {
        let [mean, std, weight, bias] = [self.mean, self.std, self.weight, self.bias].map(|p| pass.param(p));
        let k = mean.dims()[0];
        let inverse = ops::function(&std, Func::RecipAbs { eps: 1e-5 }, 0)?;
        let slope = shared::scale(&shared::times_scalar(&inverse, &weight)?, 1.0 / self.cutoff)?;
        let slope = shared::reshape(&slope, &[k, 1])?;
        // (b − μ)/σ.
        let shifted = ops::add_columns(&shared::reshape(&shared::scale(&mean, -1.0)?, &[k, 1])?, &bias)?;
        let offset = shared::mul(&shared::reshape(&shifted, &[k])?, &inverse)?;
        let density = shared::scale(&inverse, (2.0 * std::f64::consts::PI).sqrt().recip())?;
        let z = distance
            .linear(|r| shared::linear(r, &slope, None, Activation::Identity))?
            .shift(|z| ops::add_columns(z, &offset))?;
        z.map(Func::Gauss)?.linear(|y| ops::scale_columns(y, &density))
    }
}

/// Weights of products from the basis: two hidden layers with norm and SiLU.
pub struct Radial {
    first: Linear,
    norm1: Norm,
    second: Linear,
    norm2: Norm,
    last: Linear,
    offset: ParamId,
}

impl Radial {
    pub fn new(maker: &mut Maker<'_>, name: &str, config: &TdnConfig) -> Result<Self> {
        let (h, out) = (config.radial_hidden, config.channels);
        Ok(Self {
            first: Linear::new(maker, &format!("{name}.0"), h, config.radial_basis, true)?,
            norm1: Norm::new(maker, &format!("{name}.norm0"), h)?,
            second: Linear::new(maker, &format!("{name}.1"), h, h, true)?,
            norm2: Norm::new(maker, &format!("{name}.norm1"), h)?,
            last: Linear::new(maker, &format!("{name}.2"), out, h, false)?,
            offset: maker.get(format!("{name}.offset"), &[out], Init::FanInUniform { fan_in: h })?,
        })
    }

    /// (edges, K) to (edges, channels), faded out towards the cutoff where there is a fade.
    pub fn apply(&self, pass: &Pass, basis: &Jet, fade: Option<&Jet>) -> Result<Jet> {
        let h = self.norm1.apply(pass, &self.first.apply(pass, basis)?)?.map(Func::Silu)?;
        let h = self.norm2.apply(pass, &self.second.apply(pass, &h)?)?.map(Func::Silu)?;
        let offset = pass.param(self.offset);
        let w = self.last.apply(pass, &h)?.shift(|w| ops::add_columns(w, &offset))?;
        let Some(fade) = fade else { return Ok(w) };
        let parts = Parts::equal(1, w.dims()[1]);
        w.bilinear(fade, |w, f| ops::scale_parts(w, f, &parts))
    }
}

/// What all layers read of a batch.
pub struct Scene<'a> {
    pub batch: &'a Batch,
    pub geometry: &'a Geometry,
    pub basis: &'a Jet,
    pub fade: Option<&'a Jet>,
    pub products: &'a Arc<Products>,
}

impl Scene<'_> {
    /// Features of edges times harmonics, with weights.
    pub fn product(&self, x: &Jet, w: &Jet) -> Result<Jet> {
        let c = x.dims()[2];
        let channels = Channels { mode: Mode::Uvu, u: c, v: 1, out: c };
        x.trilinear(&self.geometry.harmonics, w, |x, y, w| ops::product(x, y, w, &channels, self.products))
    }
}

/// C → 2C, then the gate.
struct Gated(Linear);

impl Gated {
    fn apply(&self, pass: &Pass, x: &Jet) -> Result<Jet> {
        let h = self.0.apply(pass, x)?;
        let (d, both) = (h.dims()[1], h.dims()[2]);
        let s = h.linear(|h| ops::heads_of_rows(h, both, d * both))?.map(Func::Sigmoid)?;
        h.bilinear(&s, ops::gate)
    }
}

/// Feed-forward: C → 2C, gate, C → C.
pub struct FeedForward {
    wide: Gated,
    narrow: Linear,
}

impl FeedForward {
    pub fn new(maker: &mut Maker<'_>, name: &str, channels: usize) -> Result<Self> {
        let wide = Gated(Linear::new(maker, &format!("{name}.wide"), 2 * channels, channels, true)?);
        Ok(Self { wide, narrow: Linear::new(maker, &format!("{name}.narrow"), channels, channels, true)? })
    }

    pub fn apply(&self, pass: &Pass, x: &Jet) -> Result<Jet> {
        self.narrow.apply(pass, &self.wide.apply(pass, x)?)
    }
}

/// Attention over neighbours.
pub struct Attention {
    source: Linear,
    target: Linear,
    radial: Radial,
    alpha: Linear,
    alpha_dot: ParamId,
    value: Gated,
    out: Linear,
    heads: usize,
}

impl Attention {
    pub fn new(maker: &mut Maker<'_>, name: &str, config: &TdnConfig) -> Result<Self> {
        let c = config.channels;
        Ok(Self {
            source: Linear::new(maker, &format!("{name}.source"), c, c, true)?,
            target: Linear::new(maker, &format!("{name}.target"), c, c, false)?,
            radial: Radial::new(maker, &format!("{name}.radial"), config)?,
            alpha: Linear::new(maker, &format!("{name}.alpha"), c, c, true)?,
            alpha_dot: maker.get(format!("{name}.alpha_dot"), &[c], Init::FanInUniform { fan_in: c / config.heads })?,
            value: Gated(Linear::new(maker, &format!("{name}.value"), 2 * c, c, true)?),
            out: Linear::new(maker, &format!("{name}.out"), c, c, true)?,
            heads: config.heads,
        })
    }

    /// (atoms, d, C) to the same. `mask`: what attention weights (edges, heads) are multiplied by in training.
    pub fn apply(&self, pass: &Pass, x: &Jet, scene: &Scene<'_>, mask: Option<&Tensor>) -> Result<Jet> {
        let (d, c, heads) = (x.dims()[1], x.dims()[2], self.heads);
        let Batch { source, target, .. } = scene.batch;
        let from = self.source.apply(pass, x)?.linear(|x| ops::gather(x, source))?;
        let message = from.add(&self.target.apply(pass, x)?.linear(|x| ops::gather(x, target))?)?;
        let w = self.radial.apply(pass, scene.basis, scene.fade)?;
        let m = scene.product(&message, &w)?;
        // Only l = 0 of the map is used, which reads only l = 0.
        let scalars = m.linear(|m| ops::heads_of_rows(m, c, d * c))?;
        let dot = pass.param(self.alpha_dot);
        let act = self.alpha.apply(pass, &scalars)?.map(Func::SmoothLeaky { slope: SLOPE })?;
        let logits = act.linear(|a| ops::sums(&ops::scale_columns(a, &dot)?, &Parts::equal(heads, c / heads)))?;
        let mut alpha = softmax(&logits, target, scene.fade)?;
        if let Some(mask) = mask {
            let mask = Value::constant(mask);
            alpha = alpha.linear(|a| shared::mul(a, &mask))?;
        }
        let value = scene.product(&self.value.apply(pass, &m)?, &w)?;
        let parts = Parts::heads(d, heads, c / heads);
        let mixed = value.bilinear(&alpha, |v, a| ops::scale_parts(v, a, &parts))?;
        self.out.apply(pass, &mixed.linear(|v| ops::scatter(v, target))?)
    }
}

/// Softmax of (edges, heads) over the edges of every target; with a fade the exponentials are weighted by it.
fn softmax(logits: &Jet, target: &Arc<Index>, fade: Option<&Jet>) -> Result<Jet> {
    /// Added to a fade, so that a lone neighbour at the cutoff is divided by no zero. What enters at the cutoff weighs this much.
    const FLOOR: f64 = 1e-6;
    let heads = logits.dims()[1];
    // A shift cancels in the quotient, so it has no derivative.
    let top = Value::from(ops::largest_of_target(&logits.value.tensor().contiguous()?, target)?);
    let mut e = logits.shift(|x| shared::sub(x, &top))?.map(Func::Exp)?;
    if let Some(fade) = fade {
        let floor = Value::from(super::geometry::tensor_of(&[FLOOR], &[1], fade.value.tensor().dtype())?);
        let fade = fade.shift(|f| ops::add_columns(f, &floor))?;
        let parts = Parts::equal(1, heads);
        e = e.bilinear(&fade, |e, f| ops::scale_parts(e, f, &parts))?;
    }
    // Atoms without neighbours sum to 0 and are read by no edge: 1 in their place keeps their reciprocal finite.
    let lonely: Vec<f64> = (0..target.targets())
        .flat_map(|n| std::iter::repeat_n(f64::from(u8::from(target.sources(n).is_empty())), heads))
        .collect();
    let lonely = Value::from(super::geometry::tensor_of(&lonely, &[target.targets(), heads], e.value.tensor().dtype())?);
    let sums = e.linear(|e| ops::scatter(e, target))?.shift(|s| shared::add(s, &lonely))?;
    let inverse = sums.map(Func::Recip)?.linear(|s| ops::gather(s, target))?;
    e.mul(&inverse)
}
