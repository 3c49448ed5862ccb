//! Lloyd steps and single-point Hartigan moves from given labels. To be replaced by `cluster::kmeans` where that offers both.

use rayon::prelude::*;

/// Rows of a piece when labels are found on several threads.
const PIECE: usize = 1024;
/// Passes at most; each lowers the inertia, so that tens are rare.
const PASSES: usize = 1000;
/// A move must gain more than this share of the two distances, so that rounding cannot move a point to and fro.
const GAIN: f64 = 1e-12;

/// A partition that neither Lloyd nor a single move improves.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cluster) struct Polished {
    /// (n), the nearest centroid of each row, the first of equals.
    pub labels: Vec<i32>,
    /// (k, d).
    pub centroids: Vec<f64>,
    pub inertia: f64,
    /// Single-point moves made.
    pub moves: usize,
}

pub(in crate::cluster) fn far(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The nearest centroid (k, d) of each row (n, d), the first of equals.
pub(in crate::cluster) fn nearest(rows: &[f64], centroids: &[f64], d: usize) -> Vec<i32> {
    let of = |row: &[f64]| {
        let (mut at, mut least) = (0, f64::INFINITY);
        for (c, centroid) in centroids.chunks_exact(d).enumerate() {
            let there = far(row, centroid);
            if there < least {
                (at, least) = (c as i32, there);
            }
        }
        at
    };
    let pieces: Vec<Vec<i32>> = rows.par_chunks(PIECE * d).map(|rows| rows.chunks_exact(d).map(of).collect()).collect();
    pieces.concat()
}

/// Σ‖x − c‖² over the rows and the centroids of their labels.
pub(in crate::cluster) fn inertia(rows: &[f64], labels: &[i32], centroids: &[f64], d: usize) -> f64 {
    rows.chunks_exact(d).zip(labels).map(|(row, &l)| far(row, &centroids[l as usize * d..][..d])).sum()
}

/// Means (k, d) and sizes of the groups. A group that is empty, or that lies on the same spot as another, is given the row that is farthest
/// from its own mean, which strictly lowers the inertia as long as there are k different rows.
pub(in crate::cluster) fn means(rows: &[f64], labels: &mut [i32], k: usize, d: usize) -> (Vec<f64>, Vec<usize>) {
    for _ in 0..2 * k {
        let (mut centroids, mut sizes) = (vec![0.0; k * d], vec![0; k]);
        for (row, &l) in rows.chunks_exact(d).zip(&*labels) {
            sizes[l as usize] += 1;
            centroids[l as usize * d..][..d].iter_mut().zip(row).for_each(|(c, x)| *c += x);
        }
        for (centroid, &size) in centroids.chunks_exact_mut(d).zip(&sizes) {
            centroid.iter_mut().for_each(|c| *c /= size.max(1) as f64);
        }
        let twin = |c: usize| (0..c).find(|&o| sizes[o] > 0 && centroids[o * d..][..d] == centroids[c * d..][..d]);
        let Some(spare) = (0..k).find(|&c| sizes[c] == 0 || twin(c).is_some()) else { return (centroids, sizes) };
        if let Some(other) = (sizes[spare] > 0).then(|| twin(spare)).flatten() {
            labels.iter_mut().filter(|l| **l == spare as i32).for_each(|l| *l = other as i32);
        }
        let mut farthest = (0, -1.0);
        for (i, (row, &l)) in rows.chunks_exact(d).zip(&*labels).enumerate() {
            let there = far(row, &centroids[l as usize * d..][..d]);
            if there > farthest.1 {
                farthest = (i, there);
            }
        }
        labels[farthest.0] = spare as i32;
    }
    // Only rows that differ in rounding alone come here: as they are.
    let (mut centroids, mut sizes) = (vec![0.0; k * d], vec![0; k]);
    for (row, &l) in rows.chunks_exact(d).zip(&*labels) {
        sizes[l as usize] += 1;
        centroids[l as usize * d..][..d].iter_mut().zip(row).for_each(|(c, x)| *c += x);
    }
    for (centroid, &size) in centroids.chunks_exact_mut(d).zip(&sizes) {
        centroid.iter_mut().for_each(|c| *c /= size.max(1) as f64);
    }
    (centroids, sizes)
}

/// Moves row by row, in order, from its group a to the group b where n_a/(n_a−1) d_a² − n_b/(n_b+1) d_b² > 0 is largest (Hartigan 1975),
/// until a pass makes none. Returns the number of moves. Cost: O(n k d) a pass.
fn hartigan(rows: &[f64], labels: &mut [i32], k: usize, d: usize) -> usize {
    let mut moves = 0;
    for _ in 0..PASSES {
        let (mut centroids, mut sizes) = means(rows, labels, k, d);
        let before = moves;
        for (row, label) in rows.chunks_exact(d).zip(labels.iter_mut()) {
            let a = *label as usize;
            if sizes[a] < 2 {
                continue;
            }
            let size = sizes[a] as f64;
            let there = far(row, &centroids[a * d..][..d]);
            let out = size / (size - 1.0) * there;
            let (mut to, mut least) = (a, out);
            for b in (0..k).filter(|&b| b != a) {
                let size = sizes[b] as f64;
                let into = size / (size + 1.0) * far(row, &centroids[b * d..][..d]);
                if into < least {
                    (to, least) = (b, into);
                }
            }
            if to == a || out - least <= GAIN * (out + least) {
                continue;
            }
            let (from, into) = (1.0 / (size - 1.0), 1.0 / (sizes[to] as f64 + 1.0));
            for (j, x) in row.iter().enumerate() {
                centroids[a * d + j] += (centroids[a * d + j] - x) * from;
                centroids[to * d + j] += (x - centroids[to * d + j]) * into;
            }
            sizes[a] -= 1;
            sizes[to] += 1;
            *label = to as i32;
            moves += 1;
        }
        if moves == before {
            break;
        }
    }
    moves
}

/// Lloyd and Hartigan in turn until neither changes a label; labels are in 0..k. The labels that come back are the nearest centroids as
/// [`nearest`] finds them, in any case.
pub(in crate::cluster) fn polish(rows: &[f64], mut labels: Vec<i32>, k: usize, d: usize) -> Polished {
    let mut moves = 0;
    let mut centroids = Vec::new();
    for _ in 0..PASSES {
        // Lloyd to its end, then single moves; these leave nothing to Lloyd but rounding.
        for _ in 0..PASSES {
            centroids = means(rows, &mut labels, k, d).0;
            let new = nearest(rows, &centroids, d);
            if new == labels {
                break;
            }
            labels = new;
        }
        let made = hartigan(rows, &mut labels, k, d);
        moves += made;
        if made == 0 {
            break;
        }
    }
    crate::cluster::labels::canonical(&mut labels);
    // Renumbered groups: their means in the new order, and labels by the one rule that `predict` knows.
    for _ in 0..3 {
        centroids = means(rows, &mut labels, k, d).0;
        let new = nearest(rows, &centroids, d);
        if new == labels {
            break;
        }
        labels = new;
        crate::cluster::labels::canonical(&mut labels);
    }
    let labels = nearest(rows, &centroids, d);
    let inertia = inertia(rows, &labels, &centroids, d);
    Polished { labels, centroids, inertia, moves }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_move_leaves_a_lloyd_fixed_point() {
        // On a line: {0, 2}, {3.1}: Lloyd keeps the 2 (1 < 1.1 away), but 2/1·1 > 1/2·1.21.
        let rows = [0.0, 2.0, 3.1];
        let labels = vec![0, 0, 1];
        let centroids = means(&rows, &mut labels.clone(), 2, 1).0;
        assert_eq!(nearest(&rows, &centroids, 1), labels);
        let polished = polish(&rows, labels, 2, 1);
        assert_eq!((polished.labels, polished.moves), (vec![0, 1, 1], 1));
        assert!((polished.inertia - 2.0 * 0.55 * 0.55).abs() < 1e-15);
    }

    #[test]
    fn empty_and_twin_groups_are_given_rows() {
        let rows = [0.0, 0.0, 0.0, 5.0, 9.0];
        for labels in [vec![0, 0, 0, 0, 0], vec![0, 1, 2, 2, 2], vec![2, 0, 1, 0, 1]] {
            let polished = polish(&rows, labels, 3, 1);
            assert_eq!((polished.labels, polished.inertia), (vec![0, 0, 0, 1, 2], 0.0));
        }
    }
}
