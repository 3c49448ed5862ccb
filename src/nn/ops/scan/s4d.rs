//! Diagonal time-invariant systems on the tape, and what S4 needs: kernels from Cauchy sums, and long convolutions.

use super::{expect, gradient, or_zeros, room, same_type, steps_of};
use crate::by_float;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::lti::dplr::{self, Dplr};
use crate::kernels::scan::lti::long_conv::{self, LongConv};
use crate::kernels::scan::lti::s4d::{self, S4d};
use crate::kernels::scan::lti::{ComplexMut, ComplexRef, Rule};
use crate::nn::storage::{Element, Numbers, numbers, output, tensor};
use crate::nn::tape::{Value, record, record_many};
use candle_core::{Result, Tensor, bail};

/// Real and imaginary part.
pub type Pair<'a> = [&'a Value; 2];

/// The inputs of [`s4d_scan`].
#[derive(Clone, Copy)]
pub struct S4dInputs<'a> {
    /// (batch, steps, channels).
    pub u: &'a Value,
    /// log Δ, (channels).
    pub log_dt: &'a Value,
    /// The logarithm of −Re A, (channels, pairs).
    pub log_decay: &'a Value,
    /// Im A, (channels, pairs).
    pub frequency: &'a Value,
    /// (channels, pairs).
    pub c: Pair<'a>,
    /// (channels, pairs); ones without.
    pub b: Option<Pair<'a>>,
    /// D, (channels).
    pub skip: Option<&'a Value>,
    pub rule: Rule,
    /// Multiplies Δ.
    pub rate: f64,
    /// The states before the first step, (batch, channels, pairs). Without them none are given either.
    pub initial: Option<Pair<'a>>,
}

/// Sizes, and which of the optional inputs there are.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    steps: usize,
    channels: usize,
    pairs: usize,
    rule: Rule,
    rate: f64,
    b: bool,
    skip: bool,
    initial: bool,
}

/// Inputs that are always there: u, log Δ, log decay, frequency, C.
const NEEDED: usize = 6;

impl Shape {
    fn with<T: Element, R>(
        &self,
        saved: &[Tensor],
        work: impl FnOnce(&S4d<'_, T>, &[T], Option<ComplexRef<'_, T>>) -> R,
    ) -> Result<R> {
        let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers("s4d", t)).collect::<Result<_>>()?;
        let mut rest = held[NEEDED..].iter();
        let mut next = |there: bool| if there { rest.next().map(|v| &v[..]) } else { None };
        let b = next(self.b).zip(next(self.b)).map(|(re, im)| ComplexRef { re, im });
        let skip = next(self.skip);
        let initial = next(self.initial).zip(next(self.initial)).map(|(re, im)| ComplexRef { re, im });
        let scan = S4d {
            sequences: Sequences::Equal { count: self.batch, len: self.steps },
            channels: self.channels,
            pairs: self.pairs,
            rule: self.rule,
            rate: self.rate,
            log_dt: &held[1],
            log_decay: &held[2],
            frequency: &held[3],
            b,
            c: ComplexRef { re: &held[4], im: &held[5] },
            skip,
        };
        Ok(work(&scan, &held[0], initial))
    }
}

/// A diagonal system over the steps of a batch; gives the result (batch, steps, channels) and, when states were given, those after the
/// last step.
///
/// Saves the inputs (free). Cost and source: see [`S4d`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn s4d_scan(x: &S4dInputs<'_>) -> Result<(Value, Option<[Value; 2]>)> {
    const OP: &str = "s4d";
    let [batch, steps, channels] = steps_of(OP, x.u)?;
    let pairs = match *x.log_decay.dims() {
        [h, n] if h == channels && n > 0 => n,
        _ => bail!("{OP}: decays have shape {:?}, expected ({channels}, pairs)", x.log_decay.dims()),
    };
    expect(OP, "log dt", x.log_dt, &[channels])?;
    let complex = [("frequency", x.frequency), ("C", x.c[0]), ("C", x.c[1])];
    for (name, v) in complex.into_iter().chain(x.b.into_iter().flatten().map(|v| ("B", v))) {
        expect(OP, name, v, &[channels, pairs])?;
    }
    x.skip.map_or(Ok(()), |v| expect(OP, "D", v, &[channels]))?;
    let state = [batch, channels, pairs];
    for v in x.initial.into_iter().flatten() {
        expect(OP, "the first state", v, &state)?;
    }
    let shape = Shape {
        batch,
        steps,
        channels,
        pairs,
        rule: x.rule,
        rate: x.rate,
        b: x.b.is_some(),
        skip: x.skip.is_some(),
        initial: x.initial.is_some(),
    };
    let mut inputs: Vec<&Value> = vec![x.u, x.log_dt, x.log_decay, x.frequency, x.c[0], x.c[1]];
    inputs.extend(x.b.into_iter().flatten().chain(x.skip).chain(x.initial.into_iter().flatten()));
    same_type(OP, &inputs)?;
    let saved: Vec<Tensor> = inputs.iter().map(|v| v.tensor().contiguous()).collect::<Result<_>>()?;
    by_float!(OP, saved[0], T => {
        let mut y = output::<T>(batch * steps * channels);
        let mut last: Option<[Vec<T>; 2]> = shape.initial.then(|| std::array::from_fn(|_| output(state.iter().product())));
        shape.with(&saved, |scan, u, initial| {
            let last = last.as_mut().map(|[re, im]| ComplexMut { re, im });
            scan.forward(u, initial, &mut y, last);
        })?;
        let y = tensor(y, &[batch, steps, channels])?;
        let like = y.clone();
        let mut outputs = vec![y];
        for part in last.into_iter().flatten() {
            outputs.push(tensor(part, &state)?);
        }
        let values = record_many(&inputs, outputs, |wanted| move |gradients: Vec<Option<Tensor>>| {
            let mut gradients = gradients.into_iter();
            let dy = or_zeros(gradients.next().flatten(), &like)?;
            let zeros = if shape.initial { Some(&saved[saved.len() - 1]) } else { None };
            let dlast: Option<[Tensor; 2]> = match (gradients.next(), gradients.next(), zeros) {
                (Some(re), Some(im), Some(zeros)) => Some([or_zeros(re, zeros)?, or_zeros(im, zeros)?]),
                _ => None,
            };
            // Both parts of a complex number have their gradients together.
            let paired = |i: usize| i >= NEEDED - 2 && !(shape.skip && i == NEEDED + 2 * usize::from(shape.b));
            let mut rooms: Vec<Option<Vec<T>>> =
                saved.iter().enumerate().map(|(i, t)| room(wanted.wanted(i) || paired(i), t.elem_count())).collect();
            {
                let dy = numbers::<T>(OP, &dy)?;
                let dlast = match &dlast {
                    Some([re, im]) => Some([numbers::<T>(OP, re)?, numbers::<T>(OP, im)?]),
                    None => None,
                };
                shape.with(&saved, |scan, u, initial| {
                    let mut rooms = rooms.iter_mut().map(Option::as_deref_mut);
                    let mut next = |there: bool| if there { rooms.next().flatten() } else { None };
                    let (du, log_dt, log_decay, frequency) = (next(true), next(true), next(true), next(true));
                    let mut pair = |there: bool| {
                        let (re, im) = (next(there), next(there));
                        re.zip(im).map(|(re, im)| ComplexMut { re, im })
                    };
                    let (c, b) = (pair(true), pair(shape.b));
                    let skip = next(shape.skip);
                    let (re, im) = (next(shape.initial), next(shape.initial));
                    let before = re.zip(im).map(|(re, im)| ComplexMut { re, im });
                    let dlast = dlast.as_ref().map(|[re, im]| ComplexRef { re, im });
                    let to = s4d::Gradients { u: du, log_dt, log_decay, frequency, b, c, skip, initial: before };
                    scan.backward(u, initial, &dy, dlast, to);
                })?;
            }
            rooms.into_iter().zip(&saved).map(|(r, t)| gradient(r, t)).collect()
        });
        let mut values = values.into_iter();
        let Some(y) = values.next() else { bail!("{OP}: an output expected") };
        Ok((y, values.next().zip(values.next()).map(|(re, im)| [re, im])))
    })
}

/// The parameters of [`dplr_kernel`]; Λ = −exp(log decay) + i·frequency.
#[derive(Clone, Copy)]
pub struct DplrInputs<'a> {
    /// log Δ, (channels).
    pub log_dt: &'a Value,
    /// (channels, pairs).
    pub log_decay: &'a Value,
    /// (channels, pairs).
    pub frequency: &'a Value,
    /// (channels, rank, pairs).
    pub p: Pair<'a>,
    /// (channels, pairs).
    pub b: Pair<'a>,
    /// C̃ for the kernel's length, (channels, pairs).
    pub c: Pair<'a>,
    /// Multiplies Δ.
    pub rate: f64,
}

/// S4's convolution kernel, (channels, `len`). Cost and source: see [`Dplr`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn dplr_kernel(x: &DplrInputs<'_>, len: usize) -> Result<Value> {
    const OP: &str = "s4";
    let [channels, rank, pairs] = match *x.p[0].dims() {
        [h, r, n] if h > 0 && n > 0 && (1..=dplr::MOST_RANK).contains(&r) => [h, r, n],
        _ => bail!("{OP}: P has shape {:?}, expected (channels, 1 or 2, pairs)", x.p[0].dims()),
    };
    expect(OP, "P", x.p[1], x.p[0].dims())?;
    expect(OP, "log dt", x.log_dt, &[channels])?;
    for (name, v) in
        [("decays", x.log_decay), ("frequency", x.frequency), ("B", x.b[0]), ("B", x.b[1]), ("C", x.c[0]), ("C", x.c[1])]
    {
        expect(OP, name, v, &[channels, pairs])?;
    }
    let inputs = [x.log_dt, x.log_decay, x.frequency, x.p[0], x.p[1], x.b[0], x.b[1], x.c[0], x.c[1]];
    same_type(OP, &inputs)?;
    let saved: Vec<Tensor> = inputs.iter().map(|v| v.tensor().contiguous()).collect::<Result<_>>()?;
    let rate = x.rate;
    by_float!(OP, saved[0], T => {
        // Re Λ from its logarithm.
        let real: Vec<T> = numbers::<T>(OP, &saved[1])?.iter().map(|v| super::negative_exp(*v)).collect();
        let with = move |saved: &[Tensor], real: &[T], work: &mut dyn FnMut(&Dplr<'_, T>)| -> Result<()> {
            let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers(OP, t)).collect::<Result<_>>()?;
            let lambda = ComplexRef { re: real, im: &held[2] };
            let pair = |i: usize| ComplexRef { re: &held[i], im: &held[i + 1] };
            work(&Dplr { channels, pairs, rank, rate, log_dt: &held[0], lambda, p: pair(3), b: pair(5), c: pair(7) });
            Ok(())
        };
        let mut k = output::<T>(channels * len);
        with(&saved, &real, &mut |dplr| dplr.kernel(len, &mut k))?;
        let k = tensor(k, &[channels, len])?;
        Ok(record(&inputs, k, |_| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut rooms: Vec<Vec<T>> = saved.iter().map(|t| output(t.elem_count())).collect();
            {
                let g = numbers::<T>(OP, &g)?;
                let [log_dt, re, im, p_re, p_im, b_re, b_im, c_re, c_im] = &mut rooms[..] else { bail!("{OP}: nine inputs") };
                let (mut lambda, mut p) = (Some(ComplexMut { re, im }), Some(ComplexMut { re: p_re, im: p_im }));
                let (mut b, mut c) = (Some(ComplexMut { re: b_re, im: b_im }), Some(ComplexMut { re: c_re, im: c_im }));
                let mut log_dt = Some(&mut log_dt[..]);
                with(&saved, &real, &mut |dplr| {
                    let to = dplr::Gradients {
                        log_dt: log_dt.take(),
                        lambda: lambda.take(),
                        p: p.take(),
                        b: b.take(),
                        c: c.take(),
                    };
                    dplr.backward(len, &g, to);
                })?;
            }
            // dΛ/d log decay = Re Λ.
            rooms[1].iter_mut().zip(&real).for_each(|(g, &a)| *g *= a);
            rooms.into_iter().zip(&saved).map(|(r, t)| gradient(Some(r), t)).collect()
        }))
    })
}

/// Causal convolution over the steps with a kernel (channels, taps); `u` and result (batch, steps, channels). Cost: see [`LongConv`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn long_convolution(u: &Value, kernel: &Value) -> Result<Value> {
    const OP: &str = "long_convolution";
    let [batch, steps, channels] = steps_of(OP, u)?;
    let taps = match *kernel.dims() {
        [h, k] if h == channels => k,
        _ => bail!("{OP}: the kernel has shape {:?}, expected ({channels}, taps)", kernel.dims()),
    };
    same_type(OP, &[u, kernel])?;
    let (x, k) = (u.tensor().contiguous()?, kernel.tensor().contiguous()?);
    let sequences = Sequences::Equal { count: batch, len: steps };
    by_float!(OP, x, T => {
        let mut y = output::<T>(x.elem_count());
        LongConv { sequences, channels, taps, kernel: &numbers::<T>(OP, &k)?[..] }.forward(&numbers::<T>(OP, &x)?, &mut y);
        Ok(record(&[u, kernel], tensor(y, x.dims())?, |wanted| move |g: Tensor| {
            let g = g.contiguous()?;
            let (mut du, mut dk) = (room::<T>(wanted.wanted(0), x.elem_count()), room::<T>(wanted.wanted(1), k.elem_count()));
            {
                let held = numbers::<T>(OP, &k)?;
                let conv = LongConv { sequences, channels, taps, kernel: &held[..] };
                let to = long_conv::Gradients { u: du.as_deref_mut(), kernel: dk.as_deref_mut() };
                conv.backward(&numbers::<T>(OP, &x)?, &numbers::<T>(OP, &g)?, to);
            }
            Ok(vec![gradient(du, &x)?, gradient(dk, &k)?])
        }))
    })
}
