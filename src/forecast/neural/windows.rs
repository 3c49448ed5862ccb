//! Training and test windows over series, without copying the series: a window is a place, and a batch is gathered when it is
//! needed.

use candle_core::{DType, Device, Result, Tensor, bail};
use std::ops::Range;
use std::sync::Arc;

/// Series that share their time stamps.
#[derive(Debug, Clone)]
pub struct Block {
    /// Standardised values, channel after channel: (channels, rows).
    values: Vec<f64>,
    /// How many channels.
    channels: usize,
    /// How many observations of each.
    rows: usize,
    /// Calendar features, feature after feature: (features, rows known in advance). At least as many rows as observations.
    marks: Vec<f64>,
    /// How many features; 0 without marks.
    features: usize,
}

impl Block {
    /// From one slice of equal length per channel.
    pub fn new(channels: &[Vec<f64>]) -> Self {
        let rows = channels.first().map_or(0, Vec::len);
        debug_assert!(channels.iter().all(|c| c.len() == rows));
        Self { values: channels.concat(), channels: channels.len(), rows, marks: Vec::new(), features: 0 }
    }

    /// With the calendar features of every row, one vector per row; rows past the observations are the future.
    pub fn with_marks(mut self, rows: &[Vec<f64>]) -> Self {
        self.features = rows.first().map_or(0, Vec::len);
        self.marks = (0..self.features).flat_map(|f| rows.iter().map(move |row| row[f])).collect();
        self
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Observations.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The observations of one channel.
    pub fn channel(&self, channel: usize) -> &[f64] {
        &self.values[channel * self.rows..][..self.rows]
    }

    /// Calendar features per row.
    pub fn features(&self) -> usize {
        self.features
    }

    fn marked_rows(&self) -> usize {
        self.marks.len().checked_div(self.features).unwrap_or(0)
    }
}

/// What a network is given: `b` windows of `n` channels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Inputs, (b, n, lookback).
    pub x: Tensor,
    /// Calendar features of the input rows, (b, features, lookback).
    pub marks: Option<Tensor>,
    /// Calendar features of the rows to forecast, (b, features, horizon).
    pub future_marks: Option<Tensor>,
}

/// Windows of `lookback` inputs and `horizon` targets over blocks.
#[derive(Debug, Clone)]
pub struct WindowSet {
    blocks: Arc<Vec<Block>>,
    /// (block, first row of its first window, windows before it).
    spans: Vec<(usize, usize, usize)>,
    count: usize,
    stride: usize,
    lookback: usize,
    horizon: usize,
}

impl WindowSet {
    /// All windows whose inputs and targets lie inside the given rows of each block, every `stride` rows. Blocks with too few rows
    /// have none.
    pub fn new(blocks: Arc<Vec<Block>>, rows: &[Range<usize>], lookback: usize, horizon: usize, stride: usize) -> Self {
        let mut set = Self { blocks, spans: Vec::new(), count: 0, stride: stride.max(1), lookback, horizon };
        for (b, rows) in rows.iter().enumerate() {
            let n = (rows.len() + 1).saturating_sub(lookback + horizon).div_ceil(set.stride);
            if n > 0 {
                set.spans.push((b, rows.start, set.count));
                set.count += n;
            }
        }
        set
    }

    /// Keeps the first `count` windows.
    pub fn truncated(mut self, count: usize) -> Self {
        self.count = self.count.min(count);
        self
    }

    /// Windows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Block and first row of a window.
    pub fn place(&self, window: usize) -> (usize, usize) {
        let at = self.spans.partition_point(|span| span.2 <= window) - 1;
        let (block, start, before) = self.spans[at];
        (block, start + (window - before) * self.stride)
    }

    /// Inputs of some windows, and their targets (b, n, horizon).
    pub fn batch(&self, windows: &[usize], dtype: DType) -> Result<(Batch, Tensor)> {
        let places: Vec<(usize, usize)> = windows.iter().map(|&w| self.place(w)).collect();
        let batch = inputs(&self.blocks, &places, self.lookback, self.horizon, dtype)?;
        let target = gather(&self.blocks, &places, self.lookback, self.horizon, dtype)?;
        Ok((batch, target))
    }
}

/// The inputs of windows that start at (block, row); their targets need not exist.
pub fn inputs(blocks: &[Block], places: &[(usize, usize)], lookback: usize, horizon: usize, dtype: DType) -> Result<Batch> {
    let x = gather(blocks, places, 0, lookback, dtype)?;
    let features = places.first().map_or(0, |(b, _)| blocks[*b].features);
    let marks = if features == 0 { None } else { Some(gather_marks(blocks, places, 0, lookback, dtype)?) };
    let known = features > 0 && places.iter().all(|&(b, row)| row + lookback + horizon <= blocks[b].marked_rows());
    let future_marks = if known { Some(gather_marks(blocks, places, lookback, horizon, dtype)?) } else { None };
    Ok(Batch { x, marks, future_marks })
}

fn gather(blocks: &[Block], places: &[(usize, usize)], skip: usize, len: usize, dtype: DType) -> Result<Tensor> {
    let n = places.first().map_or(0, |(b, _)| blocks[*b].channels);
    let rows = places.iter().map(|&(b, row)| (&blocks[b].values[..], blocks[b].rows, row + skip));
    tensor(rows, places.len(), n, len, dtype)
}

fn gather_marks(blocks: &[Block], places: &[(usize, usize)], skip: usize, len: usize, dtype: DType) -> Result<Tensor> {
    let features = places.first().map_or(0, |(b, _)| blocks[*b].features);
    let rows = places.iter().map(|&(b, row)| (&blocks[b].marks[..], blocks[b].marked_rows(), row + skip));
    tensor(rows, places.len(), features, len, dtype)
}

/// (count, lines, len) out of row-major (lines, stride) tables.
fn tensor<'a>(
    tables: impl Iterator<Item = (&'a [f64], usize, usize)>,
    count: usize,
    lines: usize,
    len: usize,
    dtype: DType,
) -> Result<Tensor> {
    let dims = (count, lines, len);
    let pieces = tables.flat_map(|(table, stride, from)| (0..lines).map(move |c| &table[c * stride + from..][..len]));
    match dtype {
        DType::F32 => {
            let mut data: Vec<f32> = Vec::with_capacity(count * lines * len);
            pieces.for_each(|piece| data.extend(piece.iter().map(|v| *v as f32)));
            Tensor::from_vec(data, dims, &Device::Cpu)
        }
        DType::F64 => {
            let mut data: Vec<f64> = Vec::with_capacity(count * lines * len);
            pieces.for_each(|piece| data.extend_from_slice(piece));
            Tensor::from_vec(data, dims, &Device::Cpu)
        }
        other => bail!("windows: f32 or f64 expected, got {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> Arc<Vec<Block>> {
        let line = |from: usize, n: usize| (from..from + n).map(|v| v as f64).collect::<Vec<_>>();
        let marks: Vec<Vec<f64>> = (0..12).map(|t| vec![t as f64 / 100.0, -(t as f64)]).collect();
        let short: Vec<Vec<f64>> = (0..7).map(|t| vec![t as f64 / 10.0, 0.0]).collect();
        Arc::new(vec![
            Block::new(&[line(0, 10), line(100, 10)]).with_marks(&marks),
            Block::new(&[line(200, 5), line(300, 5)]).with_marks(&short),
        ])
    }

    #[test]
    fn windows_are_counted_and_placed_over_blocks() {
        let set = WindowSet::new(blocks(), &[2..10, 0..5], 3, 2, 1);
        // Rows 2..10 hold 8 − 5 + 1 = 4 windows, rows 0..5 one.
        assert_eq!(set.len(), 5);
        assert_eq!((0..5).map(|w| set.place(w)).collect::<Vec<_>>(), [(0, 2), (0, 3), (0, 4), (0, 5), (1, 0)]);
        assert_eq!(WindowSet::new(blocks(), &[0..4, 0..5], 3, 2, 1).place(0), (1, 0));
        assert_eq!(WindowSet::new(blocks(), &[0..10, 0..0], 3, 2, 4).len(), 2);
        assert!(WindowSet::new(blocks(), &[0..4, 0..4], 3, 2, 1).is_empty());
    }

    #[test]
    fn a_batch_holds_what_the_series_hold() {
        let set = WindowSet::new(blocks(), &[0..10, 0..5], 3, 2, 1);
        let (batch, target) = set.batch(&[1, 6], DType::F64).unwrap();
        let x = batch.x.to_vec3::<f64>().unwrap();
        assert_eq!(x, [[[1.0, 2.0, 3.0], [101.0, 102.0, 103.0]], [[200.0, 201.0, 202.0], [300.0, 301.0, 302.0]]]);
        assert_eq!(target.to_vec3::<f64>().unwrap()[1], [[203.0, 204.0], [303.0, 304.0]]);
        assert_eq!(batch.marks.unwrap().to_vec3::<f64>().unwrap()[0][1], [-1.0, -2.0, -3.0]);
        assert_eq!(batch.future_marks.unwrap().dims(), [2, 2, 2]);
    }

    #[test]
    fn the_future_needs_no_targets_and_may_lack_marks() {
        let all = blocks();
        let ends = inputs(&all, &[(0, 7)], 3, 2, DType::F32).unwrap();
        assert_eq!(ends.x.to_vec3::<f32>().unwrap()[0][0], [7.0, 8.0, 9.0]);
        assert_eq!(ends.future_marks.unwrap().to_vec3::<f32>().unwrap()[0][1], [-10.0, -11.0]);
        assert!(inputs(&all, &[(0, 7)], 3, 3, DType::F32).unwrap().future_marks.is_none());
    }
}
