//! Where the nodes of a small graph go: springs along edges, repulsion between all nodes.

use super::plane::plane;
use crate::run::seed::Streams;
use rand::RngExt;

const STEPS: usize = 500;
/// Of the centre, against a repulsion of about 1 / distance by all nodes together: lone nodes come to rest at about 0.7.
const PULL: f64 = 2.0;

/// Places n nodes in the square of side 2 about zero, the widest direction along x; the same seed gives the same places.
///
/// Fruchterman and Reingold (Software: Practice and Experience 21, 1991): attraction w d²/l along an edge (w relative to the mean weight,
/// between 1/3 and 3), repulsion l²/d between all pairs, steps that shrink to nothing; and a pull to the centre that keeps parts without a
/// connection in sight, which is ours. Cost O(n²) for each of 500 steps.
pub fn layout(n: usize, edges: &[(u32, u32, f64)], seed: u64) -> Vec<(f64, f64)> {
    let mut rng = Streams::new(seed).stream("graph layout", 0);
    let mut at: Vec<(f64, f64)> = (0..n).map(|_| (rng.random::<f64>() - 0.5, rng.random::<f64>() - 0.5)).collect();
    let springs: Vec<&(u32, u32, f64)> = edges.iter().filter(|e| e.0 != e.1).collect();
    let mean = springs.iter().map(|e| e.2.abs() / springs.len() as f64).sum::<f64>();
    let length = (1.0 / n.max(1) as f64).sqrt();
    let mut force = vec![(0.0, 0.0); n];
    for step in 0..STEPS {
        force.fill((0.0, 0.0));
        for i in 0..n {
            for j in i + 1..n {
                let (dx, dy) = (at[i].0 - at[j].0, at[i].1 - at[j].1);
                // Two nodes on one spot part along a direction of their own.
                let d2 = (dx * dx + dy * dy).max(1e-12);
                let (dx, dy) = if d2 > 1e-12 { (dx, dy) } else { (1e-6 * (i as f64).cos(), 1e-6 * (i as f64).sin()) };
                let f = length * length / d2;
                force[i].0 += f * dx;
                force[i].1 += f * dy;
                force[j].0 -= f * dx;
                force[j].1 -= f * dy;
            }
        }
        for (a, b, w) in &springs {
            let (a, b) = (*a as usize, *b as usize);
            let (dx, dy) = (at[a].0 - at[b].0, at[a].1 - at[b].1);
            let weight = if mean > 0.0 && mean.is_finite() { (w.abs() / mean).clamp(1.0 / 3.0, 3.0) } else { 1.0 };
            let f = weight * dx.hypot(dy) / length;
            force[a].0 -= f * dx;
            force[a].1 -= f * dy;
            force[b].0 += f * dx;
            force[b].1 += f * dy;
        }
        let heat = 0.1 * (1.0 - step as f64 / STEPS as f64);
        for (p, f) in at.iter_mut().zip(&force) {
            let (fx, fy) = (f.0 - PULL * p.0, f.1 - PULL * p.1);
            let size = fx.hypot(fy);
            if size > 0.0 {
                let go = size.min(heat) / size;
                p.0 += fx * go;
                p.1 += fy * go;
            }
        }
    }
    let flat: Vec<f64> = at.iter().flat_map(|p| [p.0, p.1]).collect();
    // The plane of two dimensions only turns them.
    let turned = plane(&flat, n, 2).map(|p| p.points).unwrap_or(at);
    let half = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let (lo, hi) = turned.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
        ((lo + hi) / 2.0, (hi - lo) / 2.0)
    };
    let (x, y) = (half(&|p| p.0), half(&|p| p.1));
    let scale = x.1.max(y.1);
    let scale = if scale > 1e-9 { scale } else { 1.0 };
    turned.iter().map(|p| ((p.0 - x.0) / scale, (p.1 - y.0) / scale)).collect()
}

#[cfg(test)]
mod tests {
    use super::layout;

    #[test]
    fn joined_nodes_are_near_and_places_are_the_same_each_time() {
        // Two cliques of six with one bridge.
        let mut edges = vec![(0, 6, 1.0)];
        for a in 0..6u32 {
            for b in a + 1..6 {
                edges.extend([(a, b, 1.0), (a + 6, b + 6, 1.0)]);
            }
        }
        let at = layout(12, &edges, 7);
        assert_eq!(at, layout(12, &edges, 7));
        assert_ne!(at, layout(12, &edges, 8));
        let d = |i: usize, j: usize| (at[i].0 - at[j].0).hypot(at[i].1 - at[j].1);
        let mean = |pairs: Vec<(usize, usize)>| pairs.iter().map(|p| d(p.0, p.1)).sum::<f64>() / pairs.len() as f64;
        let inside = mean((0..6).flat_map(|i| (i + 1..6).map(move |j| (i, j))).collect());
        let between = mean((0..6).flat_map(|i| (6..12).map(move |j| (i, j))).collect());
        assert!(between > 2.0 * inside, "{between} {inside}");
        assert!(at.iter().all(|p| p.0.abs() <= 1.0 + 1e-9 && p.1.abs() <= 1.0 + 1e-9));
        assert!(at.iter().any(|p| p.0.abs() > 1.0 - 1e-9), "the widest direction fills the width");
    }

    #[test]
    fn odd_graphs_have_places() {
        for (n, edges) in
            [(0, vec![]), (1, vec![(0, 0, 1.0)]), (2, vec![]), (3, vec![(0, 1, 0.0), (1, 2, f64::MAX)]), (40, vec![])]
        {
            let at = layout(n, &edges, 0);
            assert!(at.len() == n && at.iter().all(|p| p.0.is_finite() && p.1.is_finite()), "{n}: {at:?}");
        }
    }
}
