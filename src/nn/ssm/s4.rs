//! Layers of time-invariant systems: S4D (diagonal) and S4 (diagonal plus low rank).

use crate::kernels::elementwise::Activation;
use crate::kernels::scan::lti::hippo::{Diagonal, Measure, nplr};
use crate::kernels::scan::lti::{Complex, Rule};
use crate::nn::builder::Builder;
use crate::nn::init::Init;
use crate::nn::ops::{self, DplrInputs, S4dInputs};
use crate::nn::params::{ParamId, WeightsError};
use crate::nn::pass::Pass;
use crate::nn::tape::Value;
use candle_core::{Device, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

/// How the states start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateInit {
    /// Legendre polynomials of a decaying past.
    Legs,
    /// Legendre polynomials of a window.
    Legt,
    /// Fourier series of a window.
    Fout,
    /// Laguerre functions of a decaying past.
    Lagt,
    /// The same, decaying a little faster.
    Glagt,
    /// Fourier series of a window that comes back weaker.
    FourierDecay,
    /// Fourier series of a window of half the length.
    Fourier2,
    S4dLin,
    S4dInv,
    S4dLegs,
    S4dQuad,
    S4dReal,
}

impl StateInit {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legs => "legs",
            Self::Legt => "legt",
            Self::Fout => "fout",
            Self::Lagt => "lagt",
            Self::Glagt => "glagt",
            Self::FourierDecay => "fourier-decay",
            Self::Fourier2 => "fourier2",
            Self::S4dLin => "s4d-lin",
            Self::S4dInv => "s4d-inv",
            Self::S4dLegs => "s4d-legs",
            Self::S4dQuad => "s4d-quad",
            Self::S4dReal => "s4d-real",
        }
    }

    /// Whether the system is diagonal (S4D), not diagonal plus low rank (S4).
    pub fn is_diagonal(self) -> bool {
        matches!(self, Self::S4dLin | Self::S4dInv | Self::S4dLegs | Self::S4dQuad | Self::S4dReal)
    }
}

/// Sizes of an [`S4`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct S4Config {
    /// Width of the stream, d: one system for each channel.
    pub width: usize,
    /// Real states of a channel, N, even.
    pub states: usize,
    pub init: StateInit,
    /// Step sizes are drawn between, evenly in the logarithm. A window of 2/Δ steps is remembered.
    pub dt: [f64; 2],
    /// Zero-order hold instead of the bilinear rule (S4D).
    pub hold: bool,
    /// A second system runs backwards.
    pub bidirectional: bool,
    /// Longest sequence (S4, whose C belongs to a length).
    pub longest: usize,
}

impl S4Config {
    /// S4D-Lin with 64 states and steps from 1e-3 to 1e-1.
    pub fn new(width: usize) -> Self {
        Self { width, states: 64, init: StateInit::S4dLin, dt: [1e-3, 1e-1], hold: true, bidirectional: false, longest: 1 }
    }
}

/// Parameters of one direction.
#[derive(Debug, Clone)]
struct System {
    log_dt: ParamId,
    log_decay: ParamId,
    frequency: ParamId,
    b: Option<[ParamId; 2]>,
    /// C, or C̃ for the longest sequence.
    c: [ParamId; 2],
    p: Option<[ParamId; 2]>,
    skip: Option<ParamId>,
}

/// What an [`S4`] carries on, real and imaginary parts (batch, channels, pairs).
pub type S4State = [Value; 2];

/// y = GLU(W·gelu(system(u) + D·u) + b), of Gu et al. 2022 (arXiv 2111.00396, 2206.11893).
#[derive(Debug, Clone)]
pub struct S4 {
    config: S4Config,
    forwards: System,
    backwards: Option<System>,
    out: ParamId,
    out_bias: ParamId,
}

/// A start that cannot be drawn.
fn failed(why: String) -> WeightsError {
    WeightsError::Read(why)
}

/// The same row for every channel.
fn repeated(row: &[f64], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|_| row.iter().map(|v| *v as f32)).collect()
}

impl System {
    fn new(b: &mut Builder<'_>, prefix: &str, c: &S4Config, skip: bool) -> std::result::Result<Self, WeightsError> {
        let (h, pairs) = (c.width, c.states / 2);
        let name = |s: &str| format!("{prefix}{s}");
        let [low, high] = c.dt;
        let why = "d_model, d_state, the start of the states";
        let log_dt = b.get(name("log_dt"), &[h], Init::LogUniform { low, high }, why)?;
        let start: Start = start_of(c).map_err(failed)?;
        let [re, im] = Complex::split(&start.lambda);
        let decays: Vec<f64> = re.iter().map(|re| (-re).max(1e-4).ln()).collect();
        let log_decay = b.given(name("log_decay"), &[h, pairs], repeated(&decays, h), why)?;
        let frequency = b.given(name("frequency"), &[h, pairs], repeated(&im, h), why)?;
        let complex = |b: &mut Builder<'_>, what: &str, row: &[Complex], dims: &[usize]| {
            let [re, im] = Complex::split(row);
            let re = b.given(name(&format!("{what}_re")), dims, repeated(&re, h), why)?;
            Ok::<_, WeightsError>([re, b.given(name(&format!("{what}_im")), dims, repeated(&im, h), why)?])
        };
        // Ones are left out: S4D learns C alone.
        let plain = start.b.iter().all(|z| *z == Complex::ONE);
        let into = if plain { None } else { Some(complex(b, "B", &start.b, &[h, pairs])?) };
        let p = if start.p.is_empty() { None } else { Some(complex(b, "P", &start.p, &[h, start.p.len() / pairs, pairs])?) };
        // Standard deviation 1 in all: half of it each for the real and the imaginary part.
        let normal = Init::Normal { std: std::f64::consts::FRAC_1_SQRT_2 };
        let out = [b.get(name("C_re"), &[h, pairs], normal, why)?, b.get(name("C_im"), &[h, pairs], normal, why)?];
        let skip = skip.then(|| b.get(name("D"), &[h], Init::Normal { std: 1.0 }, why)).transpose()?;
        Ok(Self { log_dt, log_decay, frequency, b: into, c: out, p, skip })
    }

    /// Parameters of the system itself.
    fn all(&self) -> Vec<ParamId> {
        let pairs = [self.b, Some(self.c), self.p].into_iter().flatten().flatten();
        [self.log_dt, self.log_decay, self.frequency].into_iter().chain(pairs).chain(self.skip).collect()
    }

    /// The system over whole sequences, or from a state on (S4D).
    fn run(&self, pass: &Pass, c: &S4Config, u: &Value, state: Option<&S4State>) -> Result<(Value, Option<S4State>)> {
        let of = |id: ParamId| pass.param(id);
        let pair = |ids: [ParamId; 2]| ids.map(of);
        let (log_dt, log_decay, frequency, out) = (of(self.log_dt), of(self.log_decay), of(self.frequency), pair(self.c));
        let skip = self.skip.map(of);
        let Some(p) = self.p.map(pair) else {
            let into = self.b.map(pair);
            return ops::s4d_scan(&S4dInputs {
                u,
                log_dt: &log_dt,
                log_decay: &log_decay,
                frequency: &frequency,
                c: [&out[0], &out[1]],
                b: into.as_ref().map(|[re, im]| [re, im]),
                skip: skip.as_ref(),
                rule: if c.hold { Rule::Zoh } else { Rule::Bilinear },
                rate: 1.0,
                initial: state.map(|[re, im]| [re, im]),
            });
        };
        if state.is_some() {
            bail!("s4: a state cannot be carried in; run whole sequences, or use s4d");
        }
        let Some([b_re, b_im]) = self.b.map(pair) else { bail!("s4: no B") };
        let steps = u.tensor().dims3()?.1;
        if steps > c.longest {
            bail!("s4: made for sequences of {} steps at most, got {steps}", c.longest);
        }
        let inputs = DplrInputs {
            log_dt: &log_dt,
            log_decay: &log_decay,
            frequency: &frequency,
            p: [&p[0], &p[1]],
            b: [&b_re, &b_im],
            c: [&out[0], &out[1]],
            rate: 1.0,
        };
        let mut kernel = ops::dplr_kernel(&inputs, c.longest)?;
        if let Some(skip) = &skip {
            // D is one more number at the kernel's first tap.
            let first = ops::add(&ops::narrow(&kernel, 1, 0, 1)?, &ops::reshape(skip, &[c.width, 1])?)?;
            kernel = match c.longest {
                1 => first,
                n => ops::cat(&[&first, &ops::narrow(&kernel, 1, 1, n - 1)?], 1)?,
            };
        }
        if steps < c.longest {
            kernel = ops::narrow(&kernel, 1, 0, steps)?;
        }
        Ok((ops::long_convolution(u, &kernel)?, None))
    }
}

/// Where a system starts.
struct Start {
    lambda: Vec<Complex>,
    b: Vec<Complex>,
    /// (rank, pairs); empty for a diagonal system.
    p: Vec<Complex>,
}

fn start_of(c: &S4Config) -> std::result::Result<Start, String> {
    let diagonal = |d: Diagonal| d.system(c.states).map(|s| Start { lambda: s.a, b: s.b, p: Vec::new() });
    let normal = |m: Measure| {
        nplr(m, c.states).map(|mut s| {
            s.clip_b(2.0);
            Start { lambda: s.lambda, b: s.b, p: s.p }
        })
    };
    match c.init {
        StateInit::Legs => normal(Measure::LegS),
        StateInit::Legt => normal(Measure::LegT),
        StateInit::Fout => normal(Measure::FouT),
        StateInit::Lagt => normal(Measure::LagT),
        StateInit::Glagt => normal(Measure::GLagT),
        StateInit::FourierDecay => normal(Measure::FouDecay),
        StateInit::Fourier2 => normal(Measure::Fou2),
        StateInit::S4dLin => diagonal(Diagonal::Lin),
        StateInit::S4dInv => diagonal(Diagonal::Inv),
        StateInit::S4dLegs => diagonal(Diagonal::LegS),
        StateInit::S4dQuad => diagonal(Diagonal::Quad),
        StateInit::S4dReal => diagonal(Diagonal::Real),
    }
}

impl S4 {
    /// Declares the parameters under `prefix`.
    ///
    /// # Errors
    /// An odd number of states, stored tensors that do not fit.
    pub fn new(b: &mut Builder<'_>, prefix: &str, config: S4Config) -> std::result::Result<Self, WeightsError> {
        let d = config.width;
        let forwards = System::new(b, prefix, &config, true)?;
        let backwards =
            config.bidirectional.then(|| System::new(b, &format!("{prefix}backwards."), &config, false)).transpose()?;
        let init = Init::FanInUniform { fan_in: d };
        let out = b.get(format!("{prefix}out.weight"), &[2 * d, d], init, "d_model")?;
        let out_bias = b.get(format!("{prefix}out.bias"), &[2 * d], init, "d_model")?;
        Ok(Self { config, forwards, backwards, out, out_bias })
    }

    /// Its sizes.
    pub fn config(&self) -> &S4Config {
        &self.config
    }

    /// Parameters of the systems: slower, without decay.
    pub fn undecayed(&self) -> Vec<ParamId> {
        self.forwards.all().into_iter().chain(self.backwards.iter().flat_map(System::all)).collect()
    }

    /// The state before any step, for [`forward`](Self::forward).
    ///
    /// # Errors
    /// A layer that carries no state: S4, or one that runs backwards too.
    pub fn start(&self, pass: &Pass, batch: usize) -> Result<S4State> {
        if !self.config.init.is_diagonal() || self.backwards.is_some() {
            bail!("s4: only one-way diagonal systems (s4d) carry a state");
        }
        let zeros = || Tensor::zeros((batch, self.config.width, self.config.states / 2), pass.params().dtype(), &Device::Cpu);
        Ok([zeros()?.into(), zeros()?.into()])
    }

    /// (batch, steps, width) → same, added to `residual` if there is one. A state comes out where one went in.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(
        &self,
        pass: &Pass,
        u: &Value,
        state: Option<&S4State>,
        residual: Option<&Value>,
    ) -> Result<(Value, Option<S4State>)> {
        let (batch, steps, d) = u.tensor().dims3()?;
        let (mut y, next) = self.forwards.run(pass, &self.config, u, state)?;
        if let Some(system) = &self.backwards {
            if state.is_some() {
                bail!("s4: a layer that runs backwards needs whole sequences");
            }
            // The step itself belongs to the forward system: what comes back starts one step later.
            if steps > 1 {
                let (z, _) = system.run(pass, &self.config, &ops::flip(u, 1)?, None)?;
                let z = ops::narrow(&ops::flip(&z, 1)?, 1, 1, steps - 1)?;
                let zeros = Value::from(Tensor::zeros((batch, 1, d), u.tensor().dtype(), &Device::Cpu)?);
                y = ops::add(&y, &ops::cat(&[&z, &zeros], 1)?)?;
            }
        }
        let y = ops::activate(&y, Activation::Gelu)?;
        let (w, bias) = (pass.param(self.out), pass.param(self.out_bias));
        let half = |start: usize| {
            let (w, bias) = (ops::narrow(&w, 0, start, d)?, ops::narrow(&bias, 0, start, d)?);
            ops::linear(&y, &w, Some(&bias), Activation::Identity)
        };
        let gated = ops::sigmoid_gate(&half(0)?, &half(d)?)?;
        let out = match residual {
            Some(residual) => ops::add(&gated, residual)?,
            None => gated,
        };
        Ok((out, next))
    }
}
