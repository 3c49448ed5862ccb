//! The definition: plain loops in `f64`, on a row at a time.

use crate::kernels::elementwise::reference::gelu;

/// Weights of two affine maps: W₁, b₁, W₂, b₂.
pub type Mix = [Vec<f64>; 4];

/// Everything in [`Pdm`](super::Pdm), owned.
pub struct Block {
    pub lengths: Vec<usize>,
    pub width: usize,
    pub window: usize,
    pub season: Vec<Mix>,
    pub trend: Vec<Mix>,
    pub channel: Mix,
}

/// W₂·gelu(W₁·x + b₁) + b₂.
fn mix([w1, b1, w2, b2]: &Mix, x: &[f64]) -> Vec<f64> {
    let product = |w: &[f64], b: &[f64], x: &[f64]| -> Vec<f64> {
        let row = |o: usize| w[o * x.len()..(o + 1) * x.len()].iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        (0..b.len()).map(|o| b[o] + row(o)).collect()
    };
    let hidden: Vec<f64> = product(w1, b1, x).into_iter().map(gelu).collect();
    product(w2, b2, &hidden)
}

fn average(x: &[f64], k: usize) -> Vec<f64> {
    let at = |t: isize| x[t.clamp(0, x.len() as isize - 1) as usize];
    let half = (k / 2) as isize;
    (0..x.len() as isize).map(|t| (t - half..=t + half).map(at).sum::<f64>() / k as f64).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The block for h (rows, steps, width).
pub fn forward(block: &Block, h: &[f64]) -> Vec<f64> {
    let (steps, d) = (block.lengths.iter().sum::<usize>(), block.width);
    let mut y = h.to_vec();
    for (row, y) in h.chunks(steps * d).zip(y.chunks_mut(steps * d)) {
        let mut mixed = vec![0.0; steps * d];
        for c in 0..d {
            let (mut season, mut trend, mut start) = (Vec::new(), Vec::new(), 0);
            for &t in &block.lengths {
                let x: Vec<f64> = (start..start + t).map(|s| row[s * d + c]).collect();
                let mean = average(&x, block.window);
                season.push(x.iter().zip(&mean).map(|(x, m)| x - m).collect::<Vec<f64>>());
                trend.push(mean);
                start += t;
            }
            for (i, m) in block.season.iter().enumerate() {
                season[i + 1] = plus(&season[i + 1], &mix(m, &season[i]));
            }
            for (i, m) in block.trend.iter().enumerate() {
                let coarse = trend.len() - 1 - i;
                trend[coarse - 1] = plus(&trend[coarse - 1], &mix(m, &trend[coarse]));
            }
            for (s, v) in plus(&season.concat(), &trend.concat()).into_iter().enumerate() {
                mixed[s * d + c] = v;
            }
        }
        for (z, y) in mixed.chunks(d).zip(y.chunks_mut(d)) {
            y.iter_mut().zip(mix(&block.channel, z)).for_each(|(y, v)| *y += v);
        }
    }
    y
}
