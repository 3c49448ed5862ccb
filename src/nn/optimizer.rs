//! Optimisers: parameters updated in place, one pass each.

use super::params::Params;
use super::schedule::Rate;
use super::storage::{Element, numbers};
use crate::by_float;
use crate::kernels::update::{self, Adam, Sgd};
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// An update rule and its constants; the learning rate comes from the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule")]
pub enum OptimizerConfig {
    /// With `decoupled` decay this is AdamW.
    Adam {
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
        decoupled: bool,
    },
    Sgd {
        momentum: f64,
        nesterov: bool,
        weight_decay: f64,
    },
}

impl OptimizerConfig {
    /// Adam with β = (0.9, 0.999), ε = 1e-8 and no decay.
    pub fn adam() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decoupled: false }
    }

    /// AdamW with decay 0.01.
    pub fn adamw() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, decoupled: true }
    }

    /// Gradient descent.
    pub fn sgd(momentum: f64) -> Self {
        Self::Sgd { momentum, nesterov: false, weight_decay: 0.0 }
    }

    /// With another weight decay.
    pub fn with_weight_decay(mut self, decay: f64) -> Self {
        match &mut self {
            Self::Adam { weight_decay, .. } | Self::Sgd { weight_decay, .. } => *weight_decay = decay,
        }
        self
    }
}

/// First and second moment of one parameter (velocity and nothing for gradient descent).
struct State {
    first: Tensor,
    second: Tensor,
    /// Updates this parameter has had: one without a gradient keeps its count, as in PyTorch.
    steps: u64,
}

/// An optimiser with its state.
pub struct Optimizer {
    config: OptimizerConfig,
    states: Vec<State>,
}

impl Optimizer {
    /// Fresh state for every parameter.
    pub fn new(config: OptimizerConfig, params: &Params) -> Result<Self> {
        let states = params
            .iter()
            .map(|(_, p)| Ok(State { first: p.tensor.zeros_like()?, second: p.tensor.zeros_like()?, steps: 0 }))
            .collect::<Result<_>>()?;
        Ok(Self { config, states })
    }

    /// The L2 norm of all gradients together.
    pub fn norm(&self, gradients: &[Option<Tensor>]) -> Result<f64> {
        let mut squares = 0.0f64;
        for g in gradients.iter().flatten() {
            let g = g.contiguous()?;
            let norm = by_float!("norm", g, T => update::global_norm(&[&*numbers::<T>("norm", &g)?]));
            squares += norm * norm;
        }
        Ok(squares.sqrt())
    }

    /// Updates every parameter that has a gradient. `scale`: what gradients are multiplied by first (clipping).
    pub fn step(&mut self, params: &Params, gradients: &[Option<Tensor>], rate: Rate, scale: Option<f64>) -> Result<()> {
        let gradient_scale = scale.unwrap_or(1.0);
        for (((_, p), gradient), state) in params.iter().zip(gradients).zip(&mut self.states) {
            let Some(gradient) = gradient.as_ref().filter(|_| p.trainable) else { continue };
            if gradient.dims() != p.tensor.dims() {
                bail!("optimizer: the gradient of \"{}\" has shape {:?}, not {:?}", p.name, gradient.dims(), p.tensor.dims());
            }
            state.steps += 1;
            let (lr, decay) = (rate.lr * p.group.rate, if p.group.decays { 1.0 } else { 0.0 });
            let rule = match self.config {
                OptimizerConfig::Adam { beta1, beta2, eps, weight_decay, decoupled } => {
                    let beta1 = rate.beta1.unwrap_or(beta1);
                    let weight_decay = weight_decay * decay;
                    Rule::Adam(Adam { lr, beta1, beta2, eps, weight_decay, decoupled }, state.steps)
                }
                OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                    let momentum = rate.beta1.filter(|_| momentum > 0.0).unwrap_or(momentum);
                    Rule::Sgd(Sgd { lr, momentum, nesterov, weight_decay: weight_decay * decay })
                }
            };
            apply(rule, gradient_scale, &p.tensor, &gradient.contiguous()?, state)?;
        }
        Ok(())
    }

    /// The state as tensors, by parameter name, for a checkpoint.
    pub fn moments(&self, params: &Params) -> Result<BTreeMap<String, Tensor>> {
        let mut out = BTreeMap::new();
        for ((_, p), state) in params.iter().zip(&self.states) {
            out.insert(format!("{}/first", p.name), state.first.copy()?);
            out.insert(format!("{}/second", p.name), state.second.copy()?);
            out.insert(format!("{}/steps", p.name), Tensor::new(&[state.steps as i64], &Device::Cpu)?);
        }
        Ok(out)
    }

    /// Takes up the state of a checkpoint.
    pub fn restore(&mut self, params: &Params, from: &BTreeMap<String, Tensor>) -> Result<()> {
        for ((_, p), state) in params.iter().zip(&mut self.states) {
            let get = |part: &str| match from.get(&format!("{}/{part}", p.name)) {
                Some(t) => Ok(t),
                None => bail!("the checkpoint has no {part} moment of \"{}\"", p.name),
            };
            let moment = |part: &str| {
                let t = get(part)?;
                if t.dims() != p.tensor.dims() || t.dtype() != p.tensor.dtype() {
                    bail!("the checkpoint's {part} moment of \"{}\" has another shape or type", p.name);
                }
                t.copy()
            };
            (state.first, state.second) = (moment("first")?, moment("second")?);
            state.steps = get("steps")?.to_vec1::<i64>()?.first().copied().unwrap_or(0).unsigned_abs();
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Rule {
    /// With this update's number.
    Adam(Adam, u64),
    Sgd(Sgd),
}

/// Changes `param` and the state in place. candle lends one tensor at a time for writing, so the state's numbers are lent first.
fn apply(rule: Rule, scale: f64, param: &Tensor, gradient: &Tensor, state: &State) -> Result<()> {
    by_float!("optimizer", param, T => {
        let in_second = |first: &mut [T]| {
            let with_both = |second: &mut [T]| {
                let update = |p: &mut [T], g: &[T]| match rule {
                    Rule::Adam(rule, step) => update::adam(&rule, step, scale, p, g, first, second),
                    Rule::Sgd(rule) => {
                        let velocity = if rule.momentum == 0.0 { &mut [][..] } else { first };
                        update::sgd(&rule, scale, p, g, velocity);
                    }
                };
                write::<T>(param, gradient, update)
            };
            write_alone::<T, _>(&state.second, gradient, with_both)
        };
        write_alone::<T, _>(&state.first, gradient, in_second)
    })
}

/// Lends the numbers of `tensor` for writing. `any`: another tensor of the same type, which candle's call needs and nobody reads.
fn write_alone<T: Element, F: FnOnce(&mut [T]) -> Result<()>>(tensor: &Tensor, any: &Tensor, work: F) -> Result<()> {
    let mut outcome = Ok(());
    write::<T>(tensor, any, |numbers, _| outcome = work(numbers))?;
    outcome
}

/// Lends the numbers of `tensor` for writing and those of `other` for reading.
fn write<T: Element>(tensor: &Tensor, other: &Tensor, work: impl FnOnce(&mut [T], &[T])) -> Result<()> {
    tensor.inplace_op2(other, &Lend(Mutex::new(Some(work)), std::marker::PhantomData::<T>))
}

struct Lend<F, T>(Mutex<Option<F>>, std::marker::PhantomData<T>);

impl<T: Element, F: FnOnce(&mut [T], &[T])> InplaceOp2 for Lend<F, T> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (Some(at), Some(from)) = (l1.contiguous_offsets(), l2.contiguous_offsets()) else {
            bail!("update: needs contiguous tensors");
        };
        let (Some(to), Some(other)) = (T::of_mut(s1), T::of(s2)) else {
            bail!("update: tensors of different types");
        };
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work(&mut to[at.0..at.1], &other[from.0..from.1]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::init::Init;
    use crate::run::seed::Streams;
    use candle_core::DType;

    fn one(values: &[f64]) -> Params {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let id = params.declare("w", &[values.len()], Init::Constant(0.0), &Streams::new(0)).unwrap();
        params.set(id, &Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
        params
    }

    fn value(params: &Params) -> Vec<f64> {
        params.iter().next().unwrap().1.tensor.to_vec1().unwrap()
    }

    #[test]
    fn three_steps_of_adam_and_a_resumed_fourth() {
        let params = one(&[1.0, -2.0, 0.5]);
        let mut optimizer = Optimizer::new(OptimizerConfig::adam(), &params).unwrap();
        let mut want: Vec<(f64, f64, f64)> = value(&params).iter().map(|p| (*p, 0.0, 0.0)).collect();
        for k in 1..=4u64 {
            let g: Vec<f64> = (0..3).map(|i| (i as f64 + k as f64).cos()).collect();
            let rate = Rate { lr: 0.1 / k as f64, beta1: Some(0.95 - 0.01 * k as f64) };
            if k == 4 {
                let mut again = Optimizer::new(OptimizerConfig::adam(), &params).unwrap();
                again.restore(&params, &optimizer.moments(&params).unwrap()).unwrap();
                optimizer = again;
            }
            optimizer.step(&params, &[Some(Tensor::new(&g[..], &Device::Cpu).unwrap())], rate, Some(0.5)).unwrap();
            for (w, g) in want.iter_mut().zip(&g) {
                let (g, beta1, t) = (0.5 * g, 0.95 - 0.01 * k as f64, k as i32);
                w.1 = beta1 * w.1 + (1.0 - beta1) * g;
                w.2 = 0.999 * w.2 + 0.001 * g * g;
                w.0 -= rate.lr * w.1 / (1.0 - beta1.powi(t)) / ((w.2 / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            }
        }
        for (got, want) in value(&params).iter().zip(&want) {
            assert!((got - want.0).abs() < 1e-14, "{got} instead of {}", want.0);
        }
    }

    #[test]
    fn a_group_has_its_own_rate_and_may_be_spared_decay() {
        let mut params = one(&[1.0]);
        let id = params.find("w").unwrap();
        params.set_group(id, crate::nn::params::Group { rate: 0.5, decays: false });
        let mut optimizer = Optimizer::new(OptimizerConfig::sgd(0.0).with_weight_decay(10.0), &params).unwrap();
        let gradient = [Some(Tensor::new(&[1.0f64], &Device::Cpu).unwrap())];
        optimizer.step(&params, &gradient, Rate { lr: 0.25, beta1: None }, None).unwrap();
        assert_eq!(value(&params), [0.875]);
    }

    #[test]
    fn a_snapshot_is_not_changed_by_later_steps() {
        let params = one(&[1.0]);
        let before = params.snapshot().unwrap();
        let mut optimizer = Optimizer::new(OptimizerConfig::sgd(0.0), &params).unwrap();
        let gradient = [Some(Tensor::new(&[1.0f64], &Device::Cpu).unwrap())];
        optimizer.step(&params, &gradient, Rate { lr: 0.25, beta1: None }, None).unwrap();
        assert_eq!(value(&params), [0.75]);
        assert_eq!(before["w"].to_vec1::<f64>().unwrap(), [1.0]);
        assert_eq!(optimizer.norm(&gradient).unwrap(), 1.0);
        optimizer.step(&params, &[None], Rate { lr: 0.25, beta1: None }, None).unwrap();
        assert_eq!(value(&params), [0.75]);
    }
}
