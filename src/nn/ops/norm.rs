//! Normalisation: by row, by column, and of each series over time with the way back.

use crate::by_float;
use crate::kernels::norm::{Affine, BatchMoments, BatchNorm, Centre, InstanceMoments, InstanceNorm, LayerNorm, Layout, RmsNorm};
use crate::nn::ParamId;
use crate::nn::pass::Pass;
use crate::nn::storage::{Element, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// The running averages of a batch norm.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// Buffer of the means, (width).
    pub mean: ParamId,
    /// Buffer of the variances, (width).
    pub variance: ParamId,
    /// Share of a batch's statistics that goes into the averages; usually 0.1.
    pub momentum: f64,
}

/// What [`instance_norm`] took out of each series, constants for the gradient.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// The mean, or the last value where that was subtracted, (batch, channels).
    pub centre: Tensor,
    /// √(population variance + eps), (batch, channels).
    pub std: Tensor,
    eps: f64,
}

/// Checks that each parameter holds one number for each entry of the last axis, whose length it gives.
fn width_of(op: &str, x: &Value, parameters: &[&Value]) -> Result<usize> {
    let Some(&width) = x.dims().last() else { bail!("{op}: takes rows, got a scalar") };
    if let Some(p) = parameters.iter().find(|p| p.dims() != [width]) {
        bail!("{op}: rows of {width} (shape {:?}) need parameters of shape [{width}], got {:?}", x.dims(), p.dims());
    }
    Ok(width)
}

/// Room for the gradient of a parameter, when somebody wants it.
fn room<T: Element>(wanted: bool, len: usize) -> Option<Vec<T>> {
    wanted.then(|| output(len))
}

fn gradient<T: Element>(data: Option<Vec<T>>, dims: &[usize]) -> Result<Option<Tensor>> {
    data.map(|data| tensor(data, dims)).transpose()
}

/// Layer norm over the last axis: `(x − mean) / √(variance + eps) · weight + bias`, population variance.
///
/// Shapes: `x` (.., width), `weight` and `bias` (width), result as `x`. Cost: one read and one write; backward two reads and one
/// write. Source: Ba, Kiros, Hinton 2016 (arXiv 1607.06450).
pub fn layer_norm(x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    const OP: &str = "layer_norm";
    let width = width_of(OP, x, &[weight, bias])?;
    let (xs, w, b) = (x.tensor().contiguous()?, weight.tensor().contiguous()?, bias.tensor().contiguous()?);
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        let saved = {
            let (w, b) = (numbers::<T>(OP, &w)?, numbers::<T>(OP, &b)?);
            LayerNorm { width, weight: Some(&w), bias: Some(&b), eps }.forward(&numbers::<T>(OP, &xs)?, &mut y)
        };
        let y = tensor(y, xs.dims())?;
        Ok(record(&[x, weight, bias], y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = output::<T>(xs.elem_count());
            let (mut dw, mut db) = (room::<T>(inputs.wanted(1), width), room::<T>(inputs.wanted(2), width));
            {
                let w = numbers::<T>(OP, &w)?;
                let norm = LayerNorm { width, weight: Some(&w), bias: None, eps };
                let (xs, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &g)?);
                norm.backward(&xs, &saved, &g, &mut dx, dw.as_deref_mut(), db.as_deref_mut());
            }
            Ok(vec![Some(tensor(dx, xs.dims())?), gradient(dw, &[width])?, gradient(db, &[width])?])
        }))
    })
}

/// RMS norm over the last axis: `x / √(mean(x²) + eps) · weight`.
///
/// Shapes: `x` (.., width), `weight` (width), result as `x`. Cost: one read and one write; backward two reads and one write.
/// Source: Zhang, Sennrich 2019 (arXiv 1910.07467).
pub fn rms_norm(x: &Value, weight: &Value, eps: f64) -> Result<Value> {
    const OP: &str = "rms_norm";
    let width = width_of(OP, x, &[weight])?;
    let (xs, w) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        let saved = {
            let w = numbers::<T>(OP, &w)?;
            RmsNorm { width, weight: Some(&w), eps }.forward(&numbers::<T>(OP, &xs)?, &mut y)
        };
        let y = tensor(y, xs.dims())?;
        Ok(record(&[x, weight], y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = output::<T>(xs.elem_count());
            let mut dw = room::<T>(inputs.wanted(1), width);
            {
                let w = numbers::<T>(OP, &w)?;
                let norm = RmsNorm { width, weight: Some(&w), eps };
                norm.backward(&numbers::<T>(OP, &xs)?, &saved, &numbers::<T>(OP, &g)?, &mut dx, dw.as_deref_mut());
            }
            Ok(vec![Some(tensor(dx, xs.dims())?), gradient(dw, &[width])?])
        }))
    })
}

/// Batch norm over all axes but the last: `(x − mean) / √(variance + eps) · weight + bias`.
///
/// In training the statistics are those of the rows at hand, gradients go through them, and `running` moves towards them (the
/// unbiased variance, as usual). Otherwise they are `running`, as constants.
///
/// Shapes: `x` (.., width), `weight`, `bias` and the running averages (width), result as `x`. Cost: two reads and one write;
/// backward four reads and one write. Source: Ioffe, Szegedy 2015 (arXiv 1502.03167).
pub fn batch_norm(pass: &Pass, x: &Value, weight: &Value, bias: &Value, running: Running, eps: f64) -> Result<Value> {
    const OP: &str = "batch_norm";
    let averages = [running.mean, running.variance].map(|id| Value::constant(&pass.params().get(id).tensor));
    let width = width_of(OP, x, &[weight, bias, &averages[0], &averages[1]])?;
    let (xs, w, b) = (x.tensor().contiguous()?, weight.tensor().contiguous()?, bias.tensor().contiguous()?);
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        let saved = {
            let (w, b) = (numbers::<T>(OP, &w)?, numbers::<T>(OP, &b)?);
            let norm = BatchNorm { width, weight: Some(&w), bias: Some(&b), eps };
            let xs = numbers::<T>(OP, &xs)?;
            let mut mean = numbers::<T>(OP, averages[0].tensor())?.to_vec();
            let mut variance = numbers::<T>(OP, averages[1].tensor())?.to_vec();
            let moments = if pass.is_training() { norm.measure(&xs) } else { BatchMoments::fixed(&mean, &variance, eps) };
            norm.forward(&xs, &moments, &mut y);
            if pass.is_training() {
                moments.update_running(running.momentum, &mut mean, &mut variance);
                pass.update(running.mean, tensor(mean, &[width])?);
                pass.update(running.variance, tensor(variance, &[width])?);
            }
            moments
        };
        let y = tensor(y, xs.dims())?;
        Ok(record(&[x, weight, bias], y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = output::<T>(xs.elem_count());
            let (mut dw, mut db) = (room::<T>(inputs.wanted(1), width), room::<T>(inputs.wanted(2), width));
            {
                let w = numbers::<T>(OP, &w)?;
                let norm = BatchNorm { width, weight: Some(&w), bias: None, eps };
                let (xs, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &g)?);
                norm.backward(&xs, &saved, &g, &mut dx, dw.as_deref_mut(), db.as_deref_mut());
            }
            Ok(vec![Some(tensor(dx, xs.dims())?), gradient(dw, &[width])?, gradient(db, &[width])?])
        }))
    })
}

/// A gain and a shift for each channel, made contiguous.
type ChannelAffine = Option<[Tensor; 2]>;

fn channel_affine(op: &str, x: &Value, affine: Option<(&Value, &Value)>) -> Result<ChannelAffine> {
    let Some((gain, shift)) = affine else { return Ok(None) };
    let channels = x.dims()[1];
    if let Some(p) = [gain, shift].into_iter().find(|p| p.dims() != [channels]) {
        bail!("{op}: {channels} channels (shape {:?}) need parameters of shape [{channels}], got {:?}", x.dims(), p.dims());
    }
    Ok(Some([gain.tensor().contiguous()?, shift.tensor().contiguous()?]))
}

/// Calls `body` with the kernel for (batch, channels) series.
fn with_instance_norm<T: Element, R>(
    op: &str,
    (batch, channels): (usize, usize),
    affine: &ChannelAffine,
    centre: Centre,
    eps: f64,
    body: impl FnOnce(&InstanceNorm<T>) -> Result<R>,
) -> Result<R> {
    let borrowed = match affine {
        Some([gain, shift]) => Some((numbers::<T>(op, gain)?, numbers::<T>(op, shift)?)),
        None => None,
    };
    let affine = borrowed.as_ref().map(|(gamma, beta)| Affine { gamma, beta });
    body(&InstanceNorm { layout: Layout::TimeLast, batch, channels, centre, affine, eps })
}

/// Instance norm over time: `(x − centre) / √(variance + eps) · gain + shift` for each series, the centre being its mean or, with
/// `subtract_last`, its last value; the variance is the population variance about the mean either way.
///
/// Shapes: `x` (batch, channels, time), gain and shift (channels), result as `x`. The statistics are constants for the gradient.
/// Cost: one read and one write; backward the same, twice where gains are trained. Source: Kim et al., ICLR 2022 (RevIN).
pub fn instance_norm(x: &Value, affine: Option<(&Value, &Value)>, eps: f64, subtract_last: bool) -> Result<(Value, Statistics)> {
    const OP: &str = "instance_norm";
    let [batch, channels, time] = *x.dims() else { bail!("{OP}: takes (batch, channels, time), got shape {:?}", x.dims()) };
    if time == 0 {
        bail!("{OP}: takes series of one step or more, got shape {:?}", x.dims());
    }
    let parameters = channel_affine(OP, x, affine)?;
    let centre = if subtract_last { Centre::Last } else { Centre::Mean };
    let xs = x.tensor().contiguous()?;
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        let moments = with_instance_norm(OP, (batch, channels), &parameters, centre, eps, |norm| {
            Ok(norm.forward(&numbers::<T>(OP, &xs)?, &mut y))
        })?;
        let statistics = Statistics {
            centre: tensor(moments.centre.clone(), &[batch, channels])?,
            std: tensor(moments.std.clone(), &[batch, channels])?,
            eps,
        };
        let y = tensor(y, xs.dims())?;
        let backward = move |wanted: Wanted, g: Tensor| {
            let g = g.contiguous()?;
            let [mut dx, mut dgain, mut dshift] = wanted.rooms::<T>(xs.elem_count(), channels);
            with_instance_norm(OP, (batch, channels), &parameters, centre, eps, |norm| {
                let (xs, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &g)?);
                norm.backward(&xs, &moments, &g, dx.as_deref_mut(), dgain.as_deref_mut(), dshift.as_deref_mut());
                Ok(())
            })?;
            wanted.gradients([dx, dgain, dshift], xs.dims(), channels)
        };
        Ok((record_affine(x, affine, y, backward), statistics))
    })
}

/// The way back from [`instance_norm`]: `(y − shift) / (gain + eps²) · std + centre` with the statistics of the input, the
/// divisor as in the published program.
///
/// Shapes: `y` (batch, channels, horizon), any horizon; gain and shift (channels); result as `y`. Cost: one read and one write;
/// backward the same, twice where gains are trained. Source: Kim et al., ICLR 2022 (RevIN).
pub fn instance_denorm(y: &Value, statistics: &Statistics, affine: Option<(&Value, &Value)>) -> Result<Value> {
    const OP: &str = "instance_denorm";
    let [batch, channels, _] = *y.dims() else { bail!("{OP}: takes (batch, channels, horizon), got shape {:?}", y.dims()) };
    if statistics.centre.dims() != [batch, channels] {
        bail!("{OP}: shape {:?} does not fit statistics of shape {:?}", y.dims(), statistics.centre.dims());
    }
    let parameters = channel_affine(OP, y, affine)?;
    let eps = statistics.eps;
    let ys = y.tensor().contiguous()?;
    by_float!(OP, ys, T => {
        let moments = InstanceMoments {
            centre: numbers::<T>(OP, &statistics.centre)?.to_vec(),
            std: numbers::<T>(OP, &statistics.std)?.to_vec(),
        };
        let mut out = output::<T>(ys.elem_count());
        with_instance_norm(OP, (batch, channels), &parameters, Centre::Mean, eps, |norm| {
            norm.restore(&numbers::<T>(OP, &ys)?, &moments, &mut out);
            Ok(())
        })?;
        let out = tensor(out, ys.dims())?;
        let backward = move |wanted: Wanted, g: Tensor| {
            let g = g.contiguous()?;
            let [mut dy, mut dgain, mut dshift] = wanted.rooms::<T>(ys.elem_count(), channels);
            with_instance_norm(OP, (batch, channels), &parameters, Centre::Mean, eps, |norm| {
                let (ys, g) = (numbers::<T>(OP, &ys)?, numbers::<T>(OP, &g)?);
                norm.restore_backward(&ys, &moments, &g, dy.as_deref_mut(), dgain.as_deref_mut(), dshift.as_deref_mut());
                Ok(())
            })?;
            wanted.gradients([dy, dgain, dshift], ys.dims(), channels)
        };
        Ok(record_affine(y, affine, out, backward))
    })
}

/// Which gradients of an operation with an optional gain and shift are wanted.
#[derive(Clone, Copy)]
struct Wanted {
    x: bool,
    affine: Option<[bool; 2]>,
}

impl Wanted {
    fn rooms<T: Element>(self, x: usize, channels: usize) -> [Option<Vec<T>>; 3] {
        let [gain, shift] = self.affine.unwrap_or_default();
        [room(self.x, x), room(gain, channels), room(shift, channels)]
    }

    /// One gradient for each input that the operation has.
    fn gradients<T: Element>(self, rooms: [Option<Vec<T>>; 3], x: &[usize], channels: usize) -> Result<Vec<Option<Tensor>>> {
        let [dx, dgain, dshift] = rooms;
        let mut all = vec![gradient(dx, x)?];
        if self.affine.is_some() {
            all.extend([gradient(dgain, &[channels])?, gradient(dshift, &[channels])?]);
        }
        Ok(all)
    }
}

fn record_affine(
    x: &Value,
    affine: Option<(&Value, &Value)>,
    y: Tensor,
    backward: impl FnOnce(Wanted, Tensor) -> Result<Vec<Option<Tensor>>> + 'static,
) -> Value {
    let inputs = match affine {
        Some((gain, shift)) => vec![x, gain, shift],
        None => vec![x],
    };
    record(&inputs, y, |inputs| {
        let wanted = Wanted { x: inputs.wanted(0), affine: affine.map(|_| [inputs.wanted(1), inputs.wanted(2)]) };
        move |g: Tensor| backward(wanted, g)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::nn::init::Init;
    use crate::nn::tape::Tape;
    use crate::nn::{Params, ops};
    use crate::run::seed::Streams;
    use candle_core::{DType, Device};

    pub(in crate::nn::ops) fn wave(dims: &[usize], phase: f64) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f64> = (0..count).map(|k| (1.3 * k as f64 + phase).sin() + 0.2 * (0.31 * k as f64).cos()).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    pub(in crate::nn::ops) fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    /// Compares the gradients of Σ cos(0.37 k) · f(inputs)[k] with central differences, for every element of every input.
    ///
    /// A step of 1e-5 leaves an error of about 1e-10 from the third derivative and 1e-10 from rounding; 1e-7 has room for both.
    pub(in crate::nn::ops) fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Value]) -> Value) {
        let score = |y: &Value| {
            let count = y.tensor().elem_count();
            let weights: Vec<f64> = (0..count).map(|k| (0.37 * k as f64).cos()).collect();
            let weights = Tensor::from_vec(weights, y.dims(), &Device::Cpu).unwrap();
            ops::sum_all(&ops::mul(y, &weights.into()).unwrap()).unwrap()
        };
        let at = |tensors: &[Tensor]| {
            let constants: Vec<Value> = tensors.iter().map(Value::constant).collect();
            score(&f(&constants)).tensor().to_scalar::<f64>().unwrap()
        };
        let tape = Tape::new();
        let leaves: Vec<Value> = inputs.iter().map(|t| tape.leaf(t)).collect();
        let gradients = tape.backward(&score(&f(&leaves))).unwrap();
        for (i, (leaf, input)) in leaves.iter().zip(inputs).enumerate() {
            let gradient = gradients.of(leaf).unwrap_or_else(|| panic!("input {i} has no gradient"));
            assert_eq!(gradient.dims(), input.dims());
            let (got, values) = (flat(gradient), flat(input));
            for (k, got) in got.iter().enumerate() {
                let moved = |step: f64| {
                    let mut values = values.clone();
                    values[k] += step;
                    let mut tensors = inputs.to_vec();
                    tensors[i] = Tensor::from_vec(values, input.dims(), &Device::Cpu).unwrap();
                    at(&tensors)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((got - want).abs() < 1e-7 * (1.0 + want.abs()), "input {i}, element {k}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn row_norms_differentiate() {
        for width in [1, 5, 19] {
            let inputs = [wave(&[2, 3, width], 0.1), wave(&[width], 0.7), wave(&[width], 1.9)];
            check_gradients(&inputs, |v| layer_norm(&v[0], &v[1], &v[2], 1e-2).unwrap());
            check_gradients(&inputs[..2], |v| rms_norm(&v[0], &v[1], 1e-2).unwrap());
        }
    }

    #[test]
    fn a_transposed_input_is_read_as_it_is_seen() {
        let x = wave(&[4, 3], 0.3).t().unwrap();
        let (w, b) = (wave(&[4], 0.5), wave(&[4], 0.6));
        let run = |x: &Tensor| flat(layer_norm(&x.clone().into(), &w.clone().into(), &b.clone().into(), 1e-5).unwrap().tensor());
        assert_eq!(run(&x), run(&x.contiguous().unwrap()));
    }

    fn running(params: &mut Params, width: usize) -> Running {
        let streams = Streams::new(5);
        params.declare("unrelated", &[1], Init::Constant(0.0), &streams).unwrap();
        let mean = params.declare_buffer("mean", &[width], 0.25).unwrap();
        let variance = params.declare_buffer("variance", &[width], 2.0).unwrap();
        Running { mean, variance, momentum: 0.1 }
    }

    #[test]
    fn batch_norm_differentiates_in_both_modes() {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let running = running(&mut params, 3);
        let inputs = [wave(&[2, 4, 3], 0.2), wave(&[3], 0.7), wave(&[3], 1.9)];
        let streams = Streams::new(1);
        for pass in [Pass::training(&params, &streams, 0), Pass::gradients(&params)] {
            check_gradients(&inputs, |v| batch_norm(&pass, &v[0], &v[1], &v[2], running, 1e-2).unwrap());
        }
    }

    #[test]
    fn batch_norm_keeps_running_averages() {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let running = running(&mut params, 2);
        let x: Value = Tensor::new(&[[1.0f64, 10.0], [3.0, 14.0]], &Device::Cpu).unwrap().into();
        let (w, b): (Value, Value) = (wave(&[2], 0.0).ones_like().unwrap().into(), wave(&[2], 0.0).zeros_like().unwrap().into());
        let streams = Streams::new(1);
        let pass = Pass::training(&params, &streams, 0);
        let y = flat(batch_norm(&pass, &x, &w, &b, running, 0.0).unwrap().tensor());
        assert_eq!(y, [-1.0, -1.0, 1.0, 1.0]);
        let updates = pass.take_updates();
        assert_eq!((updates[0].0, updates[1].0), (running.mean, running.variance));
        // 0.9 · 0.25 + 0.1 · mean; unbiased variances of the columns are 2 and 8.
        for (got, want) in flat(&updates[0].1).iter().zip([0.425, 1.425]) {
            assert!((got - want).abs() < 1e-15);
        }
        for (got, want) in flat(&updates[1].1).iter().zip([2.0, 2.6]) {
            assert!((got - want).abs() < 1e-15);
        }
        let settled = Pass::inference(&params);
        let y = flat(batch_norm(&settled, &x, &w, &b, running, 0.0).unwrap().tensor());
        assert!((y[1] - 9.75 / 2f64.sqrt()).abs() < 1e-14 && settled.take_updates().is_empty());
    }

    #[test]
    fn instance_norm_and_back_is_the_identity() {
        let x: Value = wave(&[2, 3, 7], 0.4).into();
        let gain: Value = Tensor::new(&[0.7f64, 1.5, -2.0], &Device::Cpu).unwrap().into();
        let shift: Value = wave(&[3], 1.0).into();
        for affine in [None, Some((&gain, &shift))] {
            for last in [false, true] {
                let (y, statistics) = instance_norm(&x, affine, 1e-5, last).unwrap();
                let back = instance_denorm(&y, &statistics, affine).unwrap();
                // Gains of 0.7 and more are met by gain + 1e-10: relative errors up to 1.5e-10.
                for (a, b) in flat(back.tensor()).iter().zip(flat(x.tensor())) {
                    assert!((a - b).abs() < 1e-9);
                }
                let (series, centre) = (flat(x.tensor()), flat(&statistics.centre));
                let want = if last { series[6] } else { series[..7].iter().sum::<f64>() / 7.0 };
                assert!((centre[0] - want).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn instance_norm_differentiates_with_fixed_statistics() {
        let x = wave(&[2, 3, 5], 0.4);
        let (gain, shift) = (wave(&[3], 2.0), wave(&[3], 1.0));
        let constant = Value::constant(&x);
        for last in [false, true] {
            check_gradients(&[gain.clone(), shift.clone()], |v| {
                instance_norm(&constant, Some((&v[0], &v[1])), 1e-3, last).unwrap().0
            });
            let (_, statistics) = instance_norm(&constant, None, 1e-3, last).unwrap();
            check_gradients(&[wave(&[2, 3, 4], 0.9), gain.clone(), shift.clone()], |v| {
                instance_denorm(&v[0], &statistics, Some((&v[1], &v[2]))).unwrap()
            });
            check_gradients(&[wave(&[2, 3, 4], 0.9)], |v| instance_denorm(&v[0], &statistics, None).unwrap());
            // The statistics are constants, so the slope of the input is gain / std.
            let tape = Tape::new();
            let leaf = tape.leaf(&x);
            let y = instance_norm(&leaf, Some((&gain.clone().into(), &shift.clone().into())), 1e-3, last).unwrap().0;
            let slopes = flat(tape.backward(&y).unwrap().of(&leaf).unwrap());
            let (gains, std) = (flat(&gain), flat(&statistics.std));
            for (k, slope) in slopes.iter().enumerate() {
                assert!((slope - gains[k / 5 % 3] / std[k / 5]).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_explained() {
        let v = |dims: &[usize]| Value::from(wave(dims, 0.0));
        let text = |r: Result<Value>| r.err().expect("must fail").to_string();
        assert!(text(layer_norm(&v(&[2, 3]), &v(&[4]), &v(&[3]), 1e-5)).contains("layer_norm: rows of 3 (shape [2, 3])"));
        assert!(text(rms_norm(&v(&[]), &v(&[1]), 1e-5)).contains("rms_norm"));
        let norm = |x: &Value, p: &Value| instance_norm(x, Some((p, p)), 1e-5, false).map(|(y, _)| y);
        assert!(text(norm(&v(&[2, 3]), &v(&[3]))).contains("instance_norm: takes (batch, channels, time)"));
        assert!(text(norm(&v(&[2, 3, 4]), &v(&[4]))).contains("3 channels"));
        assert!(text(norm(&v(&[2, 3, 0]), &v(&[3]))).contains("one step or more"));
        let (_, statistics) = instance_norm(&v(&[2, 3, 4]), None, 1e-5, false).unwrap();
        assert!(text(instance_denorm(&v(&[2, 2, 4]), &statistics, None)).contains("does not fit statistics of shape [2, 3]"));
        let single = Value::from(wave(&[3], 0.0).to_dtype(DType::F32).unwrap());
        assert!(text(layer_norm(&v(&[2, 3]), &single, &single, 1e-5)).contains("expected F64"));
        let half = Value::from(wave(&[2, 3], 0.0).to_dtype(DType::F16).unwrap());
        assert!(text(rms_norm(&half, &single, 1e-5)).contains("f32 and f64"));
    }
}
