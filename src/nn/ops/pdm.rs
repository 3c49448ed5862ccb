//! TimeMixer's blocks on packed scales: (rows, steps, width), the scales of a row one after the other, finest first, features last.

use super::linear::{Lent, Weights};
use crate::by_float;
use crate::kernels::pdm::{Embed, Mix, Pdm};
use crate::nn::storage::{Element, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// The weights of two affine maps with a GELU between them: W₁ (hidden, in), b₁ (hidden), W₂ (out, hidden), b₂ (out).
pub type MixValues = [Value; 4];

/// All weights of a block.
#[derive(Clone, Copy)]
pub struct PdmWeights<'a> {
    /// From scale i to i + 1, along time.
    pub season: &'a [MixValues],
    /// In the order they are applied: from scale M − i to M − i − 1, along time.
    pub trend: &'a [MixValues],
    /// Over the features, width → width.
    pub channel: &'a MixValues,
}

/// The two maps of each of a block's mixes.
struct Maps {
    season: Vec<[Weights; 2]>,
    trend: Vec<[Weights; 2]>,
    channel: [Weights; 2],
}

const BLOCK: &str = "pdm_block";

impl Maps {
    fn new(h: &Value, lengths: &[usize], width: usize, of: &PdmWeights<'_>) -> Result<Self> {
        let coarser = lengths.len().saturating_sub(1);
        if of.season.len() != coarser || of.trend.len() != coarser {
            let (s, t) = (of.season.len(), of.trend.len());
            bail!("{BLOCK}: {} scales take {coarser} season and trend maps, got {s} and {t}", lengths.len());
        }
        let maps = |name: &str, [w1, b1, w2, b2]: &MixValues, inputs: usize, outputs: usize| -> Result<[Weights; 2]> {
            let first = Weights::new(BLOCK, &format!("first {name} "), h, w1, Some(b1))?;
            let second = Weights::new(BLOCK, &format!("second {name} "), h, w2, Some(b2))?;
            if (first.inputs, second.inputs, second.outputs) != (inputs, first.outputs, outputs) {
                bail!(
                    "{BLOCK}: {name} weights of shapes {:?} and {:?} do not lead from {inputs} to {outputs}",
                    w1.dims(),
                    w2.dims()
                );
            }
            Ok([first, second])
        };
        let pairs = || lengths.windows(2).map(|t| (t[0], t[1]));
        Ok(Self {
            season: of
                .season
                .iter()
                .zip(pairs())
                .map(|(m, (fine, coarse))| maps("season", m, fine, coarse))
                .collect::<Result<_>>()?,
            trend: of
                .trend
                .iter()
                .zip(pairs().rev())
                .map(|(m, (fine, coarse))| maps("trend", m, coarse, fine))
                .collect::<Result<_>>()?,
            channel: maps("channel", of.channel, width, width)?,
        })
    }

    /// Calls `work` with the block.
    fn with<T: Element, R>(
        &self,
        lengths: &[usize],
        width: usize,
        window: usize,
        work: impl FnOnce(&Pdm<'_, T>) -> R,
    ) -> Result<R> {
        fn lend<T: Element>([first, second]: &[Weights; 2]) -> Result<[Lent<'_, T>; 2]> {
            Ok([first.lend()?, second.lend()?])
        }
        let season = self.season.iter().map(lend::<T>).collect::<Result<Vec<_>>>()?;
        let trend = self.trend.iter().map(lend::<T>).collect::<Result<Vec<_>>>()?;
        let channel = lend::<T>(&self.channel)?;
        macro_rules! mix {
            ($maps:expr) => {
                Mix { first: $maps[0].affine(), second: $maps[1].affine() }
            };
        }
        let season: Vec<Mix<'_, T>> = season.iter().map(|m| mix!(m)).collect();
        let trend: Vec<Mix<'_, T>> = trend.iter().map(|m| mix!(m)).collect();
        Ok(work(&Pdm { lengths, width, window, season: &season, trend: &trend, channel: mix!(channel) }))
    }
}

/// One past-decomposable-mixing block, fused; see [`kernels::pdm`](crate::kernels::pdm) for what it computes and costs.
///
/// Shapes: `h` and result (rows, Σ lengths, width). `window`: steps of the moving average, odd. Saves h (free).
///
/// # Errors
/// Shapes or types that do not fit.
pub fn pdm_block(h: &Value, lengths: &[usize], weights: &PdmWeights<'_>, window: usize) -> Result<Value> {
    let (rows, steps, width) = packed(BLOCK, h, lengths)?;
    if window.is_multiple_of(2) {
        bail!("{BLOCK}: the moving average takes {window} steps, expected an odd number");
    }
    let maps = Maps::new(h, lengths, width, weights)?;
    let values = || weights.season.iter().chain(weights.trend).chain([weights.channel]).flatten();
    let inputs: Vec<&Value> = std::iter::once(h).chain(values()).collect();
    let shapes: Vec<Vec<usize>> = values().map(|v| v.dims().to_vec()).collect();
    let lengths = lengths.to_vec();
    let hs = h.tensor().contiguous()?;
    by_float!(BLOCK, hs, T => {
        let mut y = output::<T>(rows * steps * width);
        let numbers_of_h = numbers::<T>(BLOCK, &hs)?;
        maps.with::<T, _>(&lengths, width, window, |block| block.forward(&numbers_of_h, &mut y))?;
        drop(numbers_of_h);
        let y = tensor(y, hs.dims())?;
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dh = inputs.wanted(0).then(|| output::<T>(hs.elem_count()));
            let total = shapes.iter().map(|s| s.iter().product::<usize>()).sum();
            let mut sums = (1..=shapes.len()).any(|i| inputs.wanted(i)).then(|| output::<T>(total));
            {
                let (hs, g) = (numbers::<T>(BLOCK, &hs)?, numbers::<T>(BLOCK, &g)?);
                maps.with::<T, _>(&lengths, width, window, |block| {
                    block.backward(&hs, &g, dh.as_deref_mut(), sums.as_deref_mut());
                })?;
            }
            let mut gradients = vec![dh.map(|dh| tensor(dh, hs.dims())).transpose()?];
            let mut rest = sums.as_deref();
            for shape in &shapes {
                gradients.push(match &mut rest {
                    Some(rest) => {
                        let (part, tail) = rest.split_at(shape.iter().product());
                        *rest = tail;
                        Some(tensor(part.to_vec(), shape)?)
                    }
                    None => None,
                });
            }
            Ok(gradients)
        }))
    })
}

/// The sizes (rows, steps, width) of a hidden state.
fn packed(op: &str, h: &Value, lengths: &[usize]) -> Result<(usize, usize, usize)> {
    match *h.dims() {
        [rows, steps, width] if steps == lengths.iter().sum::<usize>() && !lengths.contains(&0) => Ok((rows, steps, width)),
        _ => bail!(
            "{op}: scales of {lengths:?} steps take a tensor (rows, {}, width), got {:?}",
            lengths.iter().sum::<usize>(),
            h.dims()
        ),
    }
}

/// The entry to the blocks: a circular convolution over the steps of each scale, and what is `added` to all channels of a window.
///
/// Shapes: `x` (windows, channels, Σ lengths), `kernel` (width, taps) with taps odd, `added` (windows, Σ lengths, width), result
/// (windows · channels, Σ lengths, width). Saves x (free). Cost: see [`Embed`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn pdm_embed(x: &Value, lengths: &[usize], kernel: &Value, added: Option<&Value>) -> Result<Value> {
    const OP: &str = "pdm_embed";
    let steps: usize = lengths.iter().sum();
    let (windows, channels) = match *x.dims() {
        [b, n, s] if s == steps && !lengths.contains(&0) => (b, n),
        _ => bail!("{OP}: scales of {lengths:?} steps take x of shape (windows, channels, {steps}), got {:?}", x.dims()),
    };
    let (width, taps) = match *kernel.dims() {
        [width, taps] if !taps.is_multiple_of(2) => (width, taps),
        _ => bail!("{OP}: the kernel must be (width, an odd number of taps), got {:?}", kernel.dims()),
    };
    if let Some(added) = added
        && added.dims() != [windows, steps, width]
    {
        bail!("{OP}: what is added must be {:?}, got {:?}", [windows, steps, width], added.dims());
    }
    let dtype = x.tensor().dtype();
    if let Some(other) = std::iter::once(kernel).chain(added).find(|v| v.tensor().dtype() != dtype) {
        bail!("{OP}: x holds {dtype:?} numbers, the others {:?}", other.tensor().dtype());
    }
    let lengths = lengths.to_vec();
    let (xs, ks) = (x.tensor().contiguous()?, kernel.tensor().contiguous()?);
    let onto = added.map(|a| a.tensor().contiguous()).transpose()?;
    let inputs: Vec<&Value> = [x, kernel].into_iter().chain(added).collect();
    let added = added.is_some();
    by_float!(OP, xs, T => {
        let mut y = output::<T>(windows * channels * steps * width);
        {
            let onto = onto.as_ref().map(|a| numbers::<T>(OP, a)).transpose()?;
            let kernel = numbers::<T>(OP, &ks)?;
            Embed { lengths: &lengths, channels, width, taps, kernel: &kernel }.forward(&numbers::<T>(OP, &xs)?, onto.as_deref(), &mut y);
        }
        let y = tensor(y, &[windows * channels, steps, width])?;
        Ok(record(&inputs, y, |inputs| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = inputs.wanted(0).then(|| output::<T>(xs.elem_count()));
            let mut dk = inputs.wanted(1).then(|| output::<T>(ks.elem_count()));
            let mut da = (added && inputs.wanted(2)).then(|| output::<T>(windows * steps * width));
            {
                let kernel = numbers::<T>(OP, &ks)?;
                let embed = Embed { lengths: &lengths, channels, width, taps, kernel: &kernel };
                let (xs, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &g)?);
                embed.backward(&xs, &g, dx.as_deref_mut(), dk.as_deref_mut(), da.as_deref_mut());
            }
            let mut gradients = vec![dx.map(|dx| tensor(dx, xs.dims())).transpose()?, dk.map(|dk| tensor(dk, ks.dims())).transpose()?];
            if added {
                gradients.push(da.map(|da| tensor(da, &[windows, steps, width])).transpose()?);
            }
            Ok(gradients)
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::elementwise::Activation;
    use crate::nn::ops::{
        add, add_broadcast, cat, circular_unfold, decompose, linear_mid, mlp, mlp_mid, narrow, permute, reshape,
    };
    use crate::nn::tape::Tape;
    use candle_core::Device;

    const LENGTHS: [usize; 3] = [12, 6, 3];
    const STEPS: usize = 21;

    fn leaf(tape: &Tape, dims: &[usize], phase: f64, scale: f64) -> Value {
        let data: Vec<f64> = (0..dims.iter().product()).map(|i| ((i as f64) * 1.7 + phase).sin() * scale).collect();
        tape.leaf(&Tensor::from_vec(data, dims, &Device::Cpu).unwrap())
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn close(a: &[Tensor], b: &[Tensor]) {
        assert_eq!(a.len(), b.len());
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert_eq!(a.dims(), b.dims(), "tensor {i}");
            // Sums of up to some hundred terms of size 1, in other orders.
            assert!(flat(a).iter().zip(flat(b)).all(|(a, b)| (a - b).abs() < 1e-12), "tensor {i}: {a} {b}");
        }
    }

    fn mix(tape: &Tape, inputs: usize, hidden: usize, outputs: usize, phase: f64) -> MixValues {
        [
            leaf(tape, &[hidden, inputs], phase, 0.3),
            leaf(tape, &[hidden], phase + 0.1, 0.3),
            leaf(tape, &[outputs, hidden], phase + 0.2, 0.3),
            leaf(tape, &[outputs], phase + 0.3, 0.3),
        ]
    }

    /// The block from single operations on (rows, width, T_i), between a pair of transpositions.
    fn plain(h: &Value, w: &PdmWeights<'_>, window: usize) -> Value {
        let rows_first = permute(h, &[0, 2, 1]).unwrap();
        let (mut season, mut trend, mut parts, mut start) = (vec![], vec![], vec![], 0);
        for t in LENGTHS {
            let x = narrow(&rows_first, 2, start, t).unwrap();
            let (s, m) = decompose(&x, window).unwrap();
            season.push(s);
            trend.push(m);
            parts.push(x);
            start += t;
        }
        let along = |x: &Value, [w1, b1, w2, b2]: &MixValues, onto: &Value| {
            mlp(x, w1, Some(b1), Activation::Gelu, w2, Some(b2), Some(onto)).unwrap()
        };
        for (i, m) in w.season.iter().enumerate() {
            season[i + 1] = along(&season[i], m, &season[i + 1]);
        }
        for (i, m) in w.trend.iter().enumerate() {
            let coarse = trend.len() - 1 - i;
            trend[coarse - 1] = along(&trend[coarse], m, &trend[coarse - 1]);
        }
        let [w1, b1, w2, b2] = w.channel;
        let out: Vec<Value> = (0..3)
            .map(|i| {
                let mixed = add(&season[i], &trend[i]).unwrap();
                mlp_mid(&mixed, w1, Some(b1), Activation::Gelu, w2, Some(b2), Some(&parts[i])).unwrap()
            })
            .collect();
        permute(&cat(&out.iter().collect::<Vec<_>>(), 2).unwrap(), &[0, 2, 1]).unwrap()
    }

    #[test]
    fn a_fused_block_is_the_block_from_single_operations() {
        let run = |fused: bool| {
            let tape = Tape::new();
            let h = leaf(&tape, &[5, STEPS, 4], 0.0, 1.0);
            let season = [mix(&tape, 12, 6, 6, 1.0), mix(&tape, 6, 3, 3, 2.0)];
            let trend = [mix(&tape, 3, 6, 6, 3.0), mix(&tape, 6, 12, 12, 4.0)];
            let channel = mix(&tape, 4, 8, 4, 5.0);
            let weights = PdmWeights { season: &season, trend: &trend, channel: &channel };
            let y = if fused { pdm_block(&h, &LENGTHS, &weights, 5).unwrap() } else { plain(&h, &weights, 5) };
            let g = tape.backward_from(&y, leaf(&tape, &[5, STEPS, 4], 6.0, 1.0).tensor().clone()).unwrap();
            let leaves = std::iter::once(&h).chain(season.iter().chain(&trend).chain([&channel]).flatten());
            std::iter::once(y.tensor().clone()).chain(leaves.map(|v| g.of(v).unwrap().clone())).collect::<Vec<_>>()
        };
        close(&run(true), &run(false));
    }

    #[test]
    fn a_fused_embedding_is_the_embedding_from_single_operations() {
        for taps in [1, 3, 7] {
            for with_added in [false, true] {
                let run = |fused: bool| {
                    let tape = Tape::new();
                    let (x, kernel) = (leaf(&tape, &[3, 2, STEPS], 0.0, 1.0), leaf(&tape, &[5, taps], 1.0, 1.0));
                    let added = leaf(&tape, &[3, STEPS, 5], 2.0, 1.0);
                    let y = if fused {
                        pdm_embed(&x, &LENGTHS, &kernel, with_added.then_some(&added)).unwrap()
                    } else {
                        let (mut parts, mut start) = (vec![], 0);
                        for t in LENGTHS {
                            let line = reshape(&narrow(&x, 2, start, t).unwrap(), &[6, 1, t]).unwrap();
                            parts.push(
                                linear_mid(&circular_unfold(&line, taps).unwrap(), &kernel, None, Activation::Identity).unwrap(),
                            );
                            start += t;
                        }
                        let all = permute(&cat(&parts.iter().collect::<Vec<_>>(), 2).unwrap(), &[0, 2, 1]).unwrap();
                        if with_added { add_broadcast(&all, &added, 3, 2, STEPS * 5).unwrap() } else { all }
                    };
                    let g = tape.backward_from(&y, leaf(&tape, &[6, STEPS, 5], 3.0, 1.0).tensor().clone()).unwrap();
                    let leaves = [&x, &kernel].into_iter().chain(with_added.then_some(&added));
                    std::iter::once(y.tensor().clone()).chain(leaves.map(|v| g.of(v).unwrap().clone())).collect::<Vec<_>>()
                };
                close(&run(true), &run(false));
            }
        }
    }

    #[test]
    fn misfits_are_named() {
        let tape = Tape::new();
        let h = leaf(&tape, &[2, 9, 4], 0.0, 1.0);
        let (season, trend, channel) = ([mix(&tape, 6, 3, 3, 0.0)], [mix(&tape, 3, 6, 6, 0.0)], mix(&tape, 4, 8, 4, 0.0));
        let weights = PdmWeights { season: &season, trend: &trend, channel: &channel };
        let message = |r: Result<Value>| r.err().unwrap().to_string();
        assert!(pdm_block(&h, &[6, 3], &weights, 3).is_ok());
        assert!(message(pdm_block(&h, &[6, 4], &weights, 3)).contains("(rows, 10, width)"));
        assert!(message(pdm_block(&h, &[6, 3], &weights, 4)).contains("odd"));
        assert!(message(pdm_block(&h, &[5, 4], &weights, 3)).contains("season"));
        assert!(message(pdm_block(&h, &[9], &weights, 3)).contains("1 scales"));
        let x = leaf(&tape, &[2, 3, 9], 0.0, 1.0);
        let kernel = leaf(&tape, &[4, 3], 0.0, 1.0);
        assert!(message(pdm_embed(&x, &[6, 2], &kernel, None)).contains("channels, 8"));
    }
}
