//! Building: the widest side of a box is halved at a whole number of blocks.

use super::{BLOCK, KdTree, Node};
use crate::cluster::{ClusterError, Points};

/// Points from which both halves of a node are built at the same time.
const SPLIT: usize = 1 << 13;

/// A subtree: nodes in preorder, with `right` counted from its first node, and their boxes.
type Subtree = (Vec<Node>, Vec<f64>);

impl KdTree {
    pub(super) fn build(points: Points, flat: bool, leaf: usize) -> Result<Self, ClusterError> {
        let (n, d) = (points.n(), points.d());
        if n > i32::MAX as usize {
            return Err(ClusterError::Data(format!("{n} points; expected at most {}: take a sample", i32::MAX)));
        }
        let (mut low, mut high) = (vec![f64::INFINITY; d], vec![f64::NEG_INFINITY; d]);
        widen(&mut low, &mut high, points.rows());
        check_spread(&low, &high)?;
        let mut rows: Vec<u32> = (0..n as u32).collect();
        let (nodes, boxes) = if flat {
            let root = Node { begin: 0, end: n as u32, right: 0 };
            (vec![root], [low, high].concat())
        } else {
            split(points, &mut rows, 0, leaf)
        };
        let count = n.div_ceil(BLOCK);
        rows.resize(count * BLOCK, u32::MAX);
        let (mut blocks, mut places) = (vec![f64::INFINITY; count * d * BLOCK], vec![0; n]);
        for (place, &row) in rows[..n].iter().enumerate() {
            places[row as usize] = place as u32;
            let block = &mut blocks[place / BLOCK * d * BLOCK..];
            for (j, &x) in points.row(row as usize).iter().enumerate() {
                block[j * BLOCK + place % BLOCK] = x;
            }
        }
        Ok(Self { n, d, flat, blocks, rows, places, nodes, boxes })
    }
}

/// The subtree of `rows`, which start at place `begin`. Rows are put into the order of places; those of a leaf stay in increasing order.
fn split(points: Points, rows: &mut [u32], begin: usize, leaf: usize) -> Subtree {
    let d = points.d();
    let (mut low, mut high) = (vec![f64::INFINITY; d], vec![f64::NEG_INFINITY; d]);
    widen(&mut low, &mut high, rows.iter().map(|&r| points.row(r as usize)));
    let mut node = Node { begin: begin as u32, end: (begin + rows.len()) as u32, right: 0 };
    if rows.len() <= leaf {
        rows.sort_unstable();
        return (vec![node], [low, high].concat());
    }
    let mut widest = 0;
    for j in 1..d {
        if high[j] - low[j] > high[widest] - low[widest] {
            widest = j;
        }
    }
    // Whole blocks on the left, so that only the last block of all can be short.
    let middle = (rows.len() / 2).div_ceil(BLOCK) * BLOCK;
    let value = |r: &u32| points.row(*r as usize)[widest];
    rows.select_nth_unstable_by(middle, |a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
    let (left, right) = rows.split_at_mut(middle);
    let (left, right) = if right.len() > SPLIT {
        rayon::join(|| split(points, left, begin, leaf), || split(points, right, begin + middle, leaf))
    } else {
        (split(points, left, begin, leaf), split(points, right, begin + middle, leaf))
    };
    node.right = 1 + left.0.len() as u32;
    let mut nodes = Vec::with_capacity(1 + left.0.len() + right.0.len());
    nodes.push(node);
    for (part, offset) in [(left.0, 1), (right.0, node.right)] {
        nodes.extend(part.into_iter().map(|p| Node { right: if p.right == 0 { 0 } else { p.right + offset }, ..p }));
    }
    (nodes, [low, high, left.1, right.1].concat())
}

/// Widens a box so that it holds `points`.
pub(super) fn widen<'a>(low: &mut [f64], high: &mut [f64], points: impl Iterator<Item = &'a [f64]>) {
    for point in points {
        for ((low, high), &x) in low.iter_mut().zip(high.iter_mut()).zip(point) {
            *low = low.min(x);
            *high = high.max(x);
        }
    }
}

/// Refuses a box whose squared diagonal is not a finite number (a quarter of the range is left for sums).
pub(super) fn check_spread(low: &[f64], high: &[f64]) -> Result<(), ClusterError> {
    let sum: f64 = low.iter().zip(high).map(|(l, h)| (h - l) * (h - l)).sum();
    if sum < f64::MAX / 4.0 {
        return Ok(());
    }
    let column = (0..low.len()).max_by(|&a, &b| (high[a] - low[a]).total_cmp(&(high[b] - low[b]))).unwrap_or(0);
    Err(ClusterError::Data(format!(
        "column {column} (from 0) reaches from {:e} to {:e}: squared distances overflow; expected spreads below 1e153: scale the columns",
        low[column], high[column]
    )))
}
