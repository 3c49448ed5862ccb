//! Local moving with a queue.

use std::collections::VecDeque;

use rand::seq::SliceRandom;

use super::network::Network;
use crate::run::seed::Rng;

/// Of the sizes that a gain is the difference of: what rounding may pretend.
const ROUNDING: f64 = 1e-10;

/// Moves nodes between communities while that gains quality. `partition` (n) holds numbers below n and comes back with
/// 0, 1, 2, …; returns how many there are.
///
/// All nodes wait in a random order; one is taken, moved to the community that gains most among those with links of positive total
/// weight to it (or an empty one), and its neighbours outside of that wait again. Source: Traag et al. 2019, `MoveNodesFast`.
pub fn move_nodes(network: &Network, partition: &mut [u32], rng: &mut Rng) -> usize {
    let (n, s) = (network.n(), network.s());
    let mut strengths = vec![0.0; n * s];
    let mut sizes = vec![0u32; n];
    for (i, &c) in partition.iter().enumerate() {
        let c = c as usize;
        strengths[c * s..(c + 1) * s].iter_mut().zip(network.strength(i)).for_each(|(to, x)| *to += x);
        sizes[c] += 1;
    }
    let mut empty: Vec<u32> = (0..n as u32).rev().filter(|&c| sizes[c as usize] == 0).collect();
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(rng);
    let mut queue: VecDeque<u32> = order.into();
    let mut waiting = vec![true; n];
    let (mut links, mut marked, mut seen) = (vec![0.0; n], vec![false; n], Vec::<u32>::new());
    let mut pull = vec![0.0; s];
    // Every move gains, so this ends; the bound is for rounding that we have not thought of.
    let mut moves_left = 1000 * n;
    while let Some(i) = queue.pop_front() {
        let i = i as usize;
        waiting[i] = false;
        let own = partition[i];
        let (targets, weights) = network.row(i);
        for (&j, &w) in targets.iter().zip(weights) {
            let c = partition[j as usize];
            if !marked[c as usize] {
                marked[c as usize] = true;
                seen.push(c);
            }
            links[c as usize] += w;
        }
        network.pull(network.strength(i), &mut pull);
        let cost = |c: u32, strengths: &[f64]| -> f64 {
            let c = c as usize;
            strengths[c * s..(c + 1) * s].iter().zip(&pull).map(|(x, p)| x * p).sum()
        };
        // Its own strengths are in its community still: staying costs that much less.
        let itself: f64 = network.strength(i).iter().zip(&pull).map(|(x, p)| x * p).sum();
        let (stay_links, stay_cost) = (links[own as usize], cost(own, &strengths));
        let stay = stay_links - (stay_cost - itself);
        let (mut best, mut most) = (own, stay + ROUNDING * (1.0 + stay_links.abs() + stay_cost.abs()));
        for c in seen.drain(..) {
            let gain = links[c as usize] - cost(c, &strengths);
            // Without views of repulsion a gain needs a link anyhow.
            if c != own && gain > most && links[c as usize] > 0.0 {
                (best, most) = (c, gain);
            }
            (links[c as usize], marked[c as usize]) = (0.0, false);
        }
        if sizes[own as usize] > 1 && 0.0 > most {
            best = *empty.last().expect("fewer communities than nodes");
        }
        if best == own || moves_left == 0 {
            continue;
        }
        moves_left -= 1;
        let (from, to) = (own as usize, best as usize);
        if sizes[to] == 0 {
            empty.pop();
        }
        (sizes[from], sizes[to]) = (sizes[from] - 1, sizes[to] + 1);
        if sizes[from] == 0 {
            empty.push(own);
        }
        for (e, &x) in network.strength(i).iter().enumerate() {
            strengths[from * s + e] -= x;
            strengths[to * s + e] += x;
        }
        if sizes[from] == 0 {
            // What rounding left.
            strengths[from * s..(from + 1) * s].fill(0.0);
        }
        partition[i] = best;
        for &j in targets {
            if partition[j as usize] != best && !waiting[j as usize] {
                waiting[j as usize] = true;
                queue.push_back(j);
            }
        }
    }
    renumber(partition)
}

/// Numbers below the number of nodes into 0, 1, 2, … by first appearance; how many there are.
fn renumber(partition: &mut [u32]) -> usize {
    let mut new = vec![u32::MAX; partition.len()];
    let mut count = 0;
    for c in partition.iter_mut() {
        let to = &mut new[*c as usize];
        if *to == u32::MAX {
            *to = count;
            count += 1;
        }
        *c = *to;
    }
    count as usize
}
