//! Data for the tests of this part.

use crate::cluster::Graph;
use crate::testing::shared;

/// Rows of numbers of a CSV file of the shared data, without its last column, and that column.
pub fn table(name: &str) -> Option<(Vec<f64>, Vec<i32>, usize)> {
    let text = std::fs::read_to_string(shared(name)?).unwrap();
    let (mut values, mut labels, mut d) = (Vec::new(), Vec::new(), 0);
    for line in text.lines().skip(1) {
        let row: Vec<f64> = line.split(',').map(|x| x.trim().parse().unwrap()).collect();
        d = row.len() - 1;
        values.extend_from_slice(&row[..d]);
        labels.push(row[d] as i32);
    }
    Some((values, labels, d))
}

/// Columns to mean 0 and population variance 1.
pub fn standardise(values: &mut [f64], d: usize) {
    let n = (values.len() / d) as f64;
    for j in 0..d {
        let mean = values.iter().skip(j).step_by(d).sum::<f64>() / n;
        let variance = values.iter().skip(j).step_by(d).map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        values.iter_mut().skip(j).step_by(d).for_each(|x| *x = (*x - mean) / variance.sqrt());
    }
}

/// A graph of the shared data (unweighted, repeated edges once) and the labels in the last column of its label file.
pub fn graph(folder: &str) -> Option<(Graph, Vec<i32>)> {
    let edges = std::fs::read_to_string(shared(&format!("{folder}/edges.csv"))?).unwrap();
    let labels = std::fs::read_to_string(shared(&format!("{folder}/labels.csv"))?).unwrap();
    let labels: Vec<i32> = labels.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().trim().parse().unwrap()).collect();
    let mut pairs: Vec<(u32, u32)> = edges
        .lines()
        .skip(1)
        .map(|l| {
            let mut ends = l.split(',').map(|x| x.trim().parse::<u32>().unwrap());
            let (a, b) = (ends.next().unwrap(), ends.next().unwrap());
            (a.min(b), a.max(b))
        })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let edges: Vec<(u32, u32, f64)> = pairs.into_iter().map(|(a, b)| (a, b, 1.0)).collect();
    Some((Graph::new(labels.len(), &edges, false).unwrap(), labels))
}

/// Runs `work` on a pool of `threads` threads.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
