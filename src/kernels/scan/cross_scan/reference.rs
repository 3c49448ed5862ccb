//! The definition: one number after the other.

use super::{CrossScan, Layout};

/// Places of element b, channel c and cell (or step) t in x, and in xs for direction k.
fn places(of: &CrossScan<'_>, b: usize, k: usize, c: usize, [cell, step]: [usize; 2]) -> (usize, usize) {
    let (l, n) = (of.grid.cells(), of.directions.len());
    match of.layout {
        Layout::ChannelsFirst => ((b * of.channels + c) * l + cell, ((b * n + k) * of.channels + c) * l + step),
        Layout::ChannelsLast => ((b * l + cell) * of.channels + c, ((b * n + k) * l + step) * of.channels + c),
    }
}

/// Gives `visit` the place in x and the place in xs of everything, directions outermost.
fn each(of: &CrossScan<'_>, mut visit: impl FnMut(usize, usize)) {
    for (k, &direction) in of.directions.iter().enumerate() {
        for b in 0..of.batch {
            for c in 0..of.channels {
                for step in 0..of.grid.cells() {
                    let (map, sequence) = places(of, b, k, c, [of.grid.cell(direction, step), step]);
                    visit(map, sequence);
                }
            }
        }
    }
}

/// xs.
pub fn scan(of: &CrossScan<'_>, x: &[f64]) -> Vec<f64> {
    let mut xs = vec![0.0; of.sequences_len()];
    each(of, |map, sequence| xs[sequence] = x[map]);
    xs
}

/// y.
pub fn merge(of: &CrossScan<'_>, ys: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; of.map_len()];
    each(of, |map, sequence| y[map] += ys[sequence]);
    y
}
