//! The graph as the Leiden algorithm sees it.

use super::Quality;
use crate::cluster::graph_tools::{View, combine, degrees};
use crate::cluster::{ClusterError, Graph};

/// Nodes with strengths and weighted links, no loops.
///
/// The quality of a partition is, up to a constant, Σ_c [ Σ_{i<j in c} w_ij − Σ_p factor_p · (S_a(c) S_b(c) − Σ_{i in c} s_a(i) s_b(i)) / 2 ],
/// with S(c) the sums of the strengths of a community and p the penalties. Modularity: strengths are degrees, factor γ / M; the constant
/// Potts model: strengths are numbers of nodes, factor γ. Aggregation adds strengths and links, and leaves gains as they are.
#[derive(Debug, Clone)]
pub struct Network {
    offsets: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f64>,
    /// (n, s).
    strengths: Vec<f64>,
    s: usize,
    penalties: Vec<Penalty>,
}

/// factor · s_a s_b, a and b being numbers of strengths.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Penalty {
    a: usize,
    b: usize,
    factor: f64,
}

impl Network {
    /// The network of some views, and the graph of its links.
    ///
    /// A move gains, in a view of weight λ, λ·2/M · [ w − γ (o_i T + t_i O) / (2M) ] of modularity, w being the weight of the links to the
    /// community, or half of both directions of a directed view; and λ · [ w − γ s_i S ] of the constant Potts model, twice that in a
    /// directed view. All is divided by the mean weight of a link, so that θ means the same for weights of any size.
    pub fn new(views: &[View], quality: Quality, resolution: f64) -> Result<(Self, Graph), ClusterError> {
        let n = views[0].graph.n();
        let (mut columns, mut penalties, mut scaled) = (Vec::<Vec<f64>>::new(), Vec::new(), Vec::new());
        if quality == Quality::Cpm {
            columns.push(vec![1.0; n]);
        }
        for view in views {
            let directed = view.graph.directed();
            let both = if directed { 0.5 } else { 1.0 };
            let factor = match quality {
                Quality::Cpm => {
                    let factor = view.weight / both;
                    penalties.push(Penalty { a: 0, b: 0, factor: factor * resolution });
                    factor
                }
                Quality::Modularity => {
                    let (out, into) = degrees(view.graph, if directed { 1.0 } else { 2.0 });
                    let total: f64 = out.iter().sum();
                    if total <= 0.0 {
                        continue;
                    }
                    let factor = view.weight * 2.0 / total;
                    let a = columns.len();
                    columns.push(out);
                    let b = if directed { a + 1 } else { a };
                    if directed {
                        columns.push(into);
                    }
                    penalties.push(Penalty { a, b, factor: factor * resolution / total });
                    factor
                }
            };
            scaled.push(View { graph: view.graph, weight: factor * both });
        }
        let merged = if scaled.is_empty() { Graph::new(n, &[], false)? } else { combine(&scaled)? };
        let (mut offsets, mut targets, mut weights) = (vec![0], Vec::new(), Vec::new());
        for i in 0..n {
            let (to, w) = merged.row(i);
            for (&j, &w) in to.iter().zip(w).filter(|(j, w)| **j as usize != i && **w != 0.0) {
                targets.push(j);
                weights.push(w);
            }
            offsets.push(targets.len());
        }
        let mean = weights.iter().map(|w| w.abs()).sum::<f64>() / weights.len().max(1) as f64;
        if mean > 0.0 {
            weights.iter_mut().for_each(|w| *w /= mean);
            penalties.iter_mut().for_each(|p| p.factor /= mean);
        }
        if !weights.iter().chain(penalties.iter().map(|p| &p.factor)).chain(columns.iter().flatten()).all(|x| x.is_finite()) {
            return Err(ClusterError::Numbers("edge weights are beyond the range of numbers; scale the weights".into()));
        }
        let s = columns.len();
        let strengths = (0..n * s).map(|e| columns[e % s][e / s]).collect();
        Ok((Self { offsets, targets, weights, strengths, s, penalties }, merged))
    }

    pub fn n(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Neighbours of node `i` and the weights of the links to them.
    pub fn row(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.targets[range.clone()], &self.weights[range])
    }

    /// Strengths of a node.
    pub fn s(&self) -> usize {
        self.s
    }

    pub fn strength(&self, i: usize) -> &[f64] {
        &self.strengths[i * self.s..(i + 1) * self.s]
    }

    /// Into `pull`: what each strength of a community costs a node or community of strengths `own` that joins it.
    pub fn pull(&self, own: &[f64], pull: &mut [f64]) {
        pull.fill(0.0);
        for &Penalty { a, b, factor } in &self.penalties {
            pull[a] += 0.5 * factor * own[b];
            pull[b] += 0.5 * factor * own[a];
        }
    }

    /// The network whose nodes are the `parts` parts of this one.
    pub fn aggregate(&self, part_of: &[u32], parts: usize) -> Self {
        let s = self.s;
        let (starts, members) = members(part_of, parts);
        let mut strengths = vec![0.0; parts * s];
        for (i, &part) in part_of.iter().enumerate() {
            let to = &mut strengths[part as usize * s..(part as usize + 1) * s];
            to.iter_mut().zip(self.strength(i)).for_each(|(to, x)| *to += x);
        }
        let (mut offsets, mut targets, mut weights) = (Vec::with_capacity(parts + 1), Vec::new(), Vec::new());
        offsets.push(0);
        let (mut sums, mut marked, mut seen) = (vec![0.0; parts], vec![false; parts], Vec::new());
        for part in 0..parts {
            for &i in &members[starts[part]..starts[part + 1]] {
                let (to, w) = self.row(i as usize);
                for (&j, &w) in to.iter().zip(w) {
                    let other = part_of[j as usize] as usize;
                    if !marked[other] {
                        marked[other] = true;
                        seen.push(other as u32);
                    }
                    sums[other] += w;
                }
            }
            for other in seen.drain(..) {
                if other as usize != part {
                    targets.push(other);
                    weights.push(sums[other as usize]);
                }
                (sums[other as usize], marked[other as usize]) = (0.0, false);
            }
            offsets.push(targets.len());
        }
        Self { offsets, targets, weights, strengths, s, penalties: self.penalties.clone() }
    }
}

/// Nodes by the part that they are in: those of part p are `members[starts[p]..starts[p + 1]]`, in increasing order.
pub fn members(part_of: &[u32], parts: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; parts + 1];
    part_of.iter().for_each(|&p| starts[p as usize + 1] += 1);
    (0..parts).for_each(|p| starts[p + 1] += starts[p]);
    let (mut next, mut members) = (starts.clone(), vec![0; part_of.len()]);
    for (i, &p) in part_of.iter().enumerate() {
        members[next[p as usize]] = i as u32;
        next[p as usize] += 1;
    }
    (starts, members)
}
