//! The channel-independent form with the moving average, on packed scales: (rows, Σ T_i, d_model), the scales of a row one after the
//! other, features last. Entry, blocks and heads are a handful of operations, each one pass over the hidden state.

use super::{Block, Decomposition, MarkOrder, TOKEN_KERNEL, TimeMixer, every_mark, mlp_values};
use crate::forecast::neural::Batch;
use crate::kernels::elementwise::Activation;
use crate::nn::ops::{self, MixValues, PdmWeights};
use crate::nn::{Pass, Value};
use candle_core::{Result, Tensor, bail};

impl TimeMixer {
    /// From the normalised scales (b, n, T_i) to the forecast (rows, outputs, H) without the shares of the biases.
    pub(super) fn fused_forecast(&self, pass: &Pass, batch: &Batch, scales: &[Value]) -> Result<Value> {
        let c = &self.config;
        let Decomposition::MovingAverage { window } = c.decomposition else {
            bail!("timemixer: only blocks with the moving average are fused");
        };
        let lengths: Vec<usize> = scales.iter().map(|x| x.dims()[2]).collect();
        let x = ops::cat(&scales.iter().collect::<Vec<_>>(), 2)?;
        let kernel = ops::reshape(&pass.param(self.token), &[c.d_model, TOKEN_KERNEL])?;
        let marks = self.packed_marks(pass, batch, &lengths)?;
        let (b, n) = (x.dims()[0], x.dims()[1]);
        let aligned = c.mark_order == MarkOrder::Aligned;
        let mut h = ops::pdm_embed(&x, &lengths, &kernel, marks.as_ref().filter(|_| aligned))?;
        if let Some(marks) = marks.filter(|_| !aligned) {
            h = ops::add_broadcast(&h, &marks, 1, n, b * x.dims()[2] * c.d_model)?;
        }
        h = ops::dropout(pass, &h, c.dropout)?;
        for block in &self.blocks {
            h = self.fused_block(pass, block, &h, &lengths, window)?;
        }
        self.packed_heads(pass, &h)
    }

    /// The embedded calendar features of all scales, (b, Σ T_i, d).
    fn packed_marks(&self, pass: &Pass, batch: &Batch, lengths: &[usize]) -> Result<Option<Value>> {
        let (Some(time), Some(marks)) = (self.time, &batch.marks) else { return Ok(None) };
        let mut every = 1;
        let mut parts = Vec::new();
        for &t in lengths {
            parts.push(every_mark(marks, every, t)?);
            every *= self.config.window;
        }
        let all = Tensor::cat(&parts, 2)?.transpose(1, 2)?.contiguous()?;
        Ok(Some(ops::linear(&Value::constant(&all), &pass.param(time), None, Activation::Identity)?))
    }

    fn fused_block(&self, pass: &Pass, block: &Block, h: &Value, lengths: &[usize], window: usize) -> Result<Value> {
        let season: Vec<MixValues> = block.season.iter().map(|m| mlp_values(pass, m)).collect();
        let trend: Vec<MixValues> = block.trend.iter().map(|m| mlp_values(pass, m)).collect();
        let channel = mlp_values(pass, &block.channel);
        ops::pdm_block(h, lengths, &PdmWeights { season: &season, trend: &trend, channel: &channel }, window)
    }

    /// All scales' heads at once: d → outputs first, then one product over the steps of all scales, which also adds them up.
    fn packed_heads(&self, pass: &Pass, h: &Value) -> Result<Value> {
        let (rows, steps) = (h.dims()[0], h.dims()[1]);
        let projected = ops::linear(h, &pass.param(self.projection.weight), None, Activation::Identity)?;
        let over_time = match projected.dims()[2] {
            1 => ops::reshape(&projected, &[rows, 1, steps])?,
            _ => ops::permute(&projected, &[0, 2, 1])?,
        };
        let weights: Vec<Value> = self.heads.iter().map(|head| pass.param(head.weight)).collect();
        let weight = ops::cat(&weights.iter().collect::<Vec<_>>(), 1)?;
        ops::linear(&over_time, &weight, None, Activation::Identity)
    }
}
