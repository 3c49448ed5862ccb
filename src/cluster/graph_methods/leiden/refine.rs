//! Refinement: random merges inside of communities.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::network::{Network, members};
use crate::run::seed::Rng;

/// Parts of the communities of `partition` (numbers below `communities`): (part of each node, number of parts). Every part is connected by
/// links of positive weight and lies in one community.
///
/// In each community, from single nodes: a node that is still alone and well connected to the rest of the community joins a well-connected
/// part of it, drawn with probability in proportion to exp(gain / θ) among those that do not lose, staying alone (gain 0) among them.
/// Well connected is what has links to the rest of the community of at least the penalty between them.
/// Source: Traag et al. 2019, `RefinePartition` and `MergeNodesSubset`.
pub fn refine(network: &Network, partition: &[u32], communities: usize, theta: f64, rng: &mut Rng) -> (Vec<u32>, usize) {
    let (n, s) = (network.n(), network.s());
    let (starts, mut nodes) = members(partition, communities);
    let mut part: Vec<u32> = (0..n as u32).collect();
    let mut alone = vec![true; n];
    // Of parts, which are named by one of their nodes: strengths, and links to the rest of the community.
    let mut strengths: Vec<f64> = (0..n).flat_map(|i| network.strength(i).to_vec()).collect();
    let mut rest = vec![0.0; n];
    let (mut links, mut marked, mut seen) = (vec![0.0; n], vec![false; n], Vec::<u32>::new());
    let (mut pull, mut total) = (vec![0.0; s], vec![0.0; s]);
    let mut choices: Vec<(u32, f64)> = Vec::new();
    for community in 0..communities {
        let nodes = &mut nodes[starts[community]..starts[community + 1]];
        if nodes.len() == 1 {
            continue;
        }
        total.fill(0.0);
        for &i in nodes.iter() {
            total.iter_mut().zip(network.strength(i as usize)).for_each(|(to, x)| *to += x);
            let (targets, weights) = network.row(i as usize);
            let inside = targets.iter().zip(weights).filter(|(j, _)| partition[**j as usize] as usize == community);
            rest[i as usize] = inside.map(|(_, w)| w).sum();
        }
        // Links of a part to the rest of the community against the penalty between the two.
        let well_connected = |p: usize, strengths: &[f64], rest: &[f64], pull: &mut [f64]| {
            let own = &strengths[p * s..(p + 1) * s];
            network.pull(own, pull);
            rest[p] >= own.iter().zip(&total).zip(&*pull).map(|((x, all), q)| (all - x) * q).sum::<f64>()
        };
        nodes.shuffle(rng);
        for &i in nodes.iter() {
            let v = i as usize;
            if !alone[v] || !well_connected(v, &strengths, &rest, &mut pull) {
                continue;
            }
            let (targets, weights) = network.row(v);
            for (&j, &w) in targets.iter().zip(weights).filter(|(j, _)| partition[**j as usize] as usize == community) {
                let p = part[j as usize];
                if !marked[p as usize] {
                    marked[p as usize] = true;
                    seen.push(p);
                }
                links[p as usize] += w;
            }
            choices.push((i, 0.0));
            for &p in &seen {
                let to = p as usize;
                if links[to] <= 0.0 || !well_connected(to, &strengths, &rest, &mut pull) {
                    continue;
                }
                // The penalty is symmetric: `pull` of the part against the node.
                let gain = links[to] - network.strength(v).iter().zip(&pull).map(|(x, q)| x * q).sum::<f64>();
                if gain >= 0.0 {
                    choices.push((p, gain));
                }
            }
            let to = draw(&choices, theta, rng);
            choices.clear();
            if to != i {
                let (from, into) = (v, to as usize);
                part[v] = to;
                rest[into] += rest[from] - 2.0 * links[into];
                (0..s).for_each(|e| strengths[into * s + e] += network.strength(v)[e]);
                (alone[v], alone[into]) = (false, false);
            }
            for p in seen.drain(..) {
                (links[p as usize], marked[p as usize]) = (0.0, false);
            }
        }
    }
    // A part keeps the name of the node that it began with, which never leaves it.
    let mut number = vec![u32::MAX; n];
    let mut count = 0;
    for p in part.iter_mut() {
        if number[*p as usize] == u32::MAX {
            number[*p as usize] = count;
            count += 1;
        }
        *p = number[*p as usize];
    }
    (part, count as usize)
}

/// One of `choices` with probability in proportion to exp(gain / θ).
fn draw(choices: &[(u32, f64)], theta: f64, rng: &mut Rng) -> u32 {
    if let [(only, _)] = choices {
        return *only;
    }
    // About the largest, so that nothing overflows.
    let most = choices.iter().map(|c| c.1).fold(f64::NEG_INFINITY, f64::max);
    let share = |gain: f64| ((gain - most) / theta).exp();
    let mut at = rng.random::<f64>() * choices.iter().map(|c| share(c.1)).sum::<f64>();
    for &(p, gain) in choices {
        at -= share(gain);
        if at < 0.0 {
            return p;
        }
    }
    choices.iter().fold(choices[0], |best, &c| if c.1 > best.1 { c } else { best }).0
}
