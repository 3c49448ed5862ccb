//! One-to-one maps of greatest weight between rows and columns of a sparse table: the assignment problem.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A distance in the queue: smallest first, and at equal distance the smallest column.
#[derive(PartialEq)]
struct Next(f64, usize);

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

/// The one-to-one map of rows to columns with the greatest sum of weights: for every row its column, or none. Cells that are not given
/// weigh 0 and are never taken. Among equal maps the one that the method meets first, always the same for the same cells.
///
/// Shortest augmenting paths with prices, a row at a time, over the given cells alone: each row may also stay alone at no cost, so rows
/// and columns may differ in number and nothing is padded. O(r (e + c) log c) at worst for r rows, c columns and e cells, r being the
/// fewer (the table is turned); O(e log c) when most rows find a column of their own. O(e + c) memory.
///
/// Source: Kuhn 1955; Jonker & Volgenant 1987; changed: sparse, with a queue, and partial.
///
/// Panics on a cell outside of the table, or given twice, or on a weight that is not finite or not positive.
pub fn heaviest(rows: usize, columns: usize, cells: &[(usize, usize, f64)]) -> Vec<Option<usize>> {
    if rows > columns {
        let turned: Vec<_> = cells.iter().map(|&(i, j, w)| (j, i, w)).collect();
        let mut out = vec![None; rows];
        for (j, i) in heaviest(columns, rows, &turned).into_iter().enumerate() {
            if let Some(i) = i {
                out[i] = Some(j);
            }
        }
        return out;
    }
    let mut sorted = cells.to_vec();
    sorted.sort_unstable_by_key(|&(i, j, _)| (i, j));
    for (k, &(i, j, w)) in sorted.iter().enumerate() {
        assert!(i < rows && j < columns, "cell ({i}, {j}) of a table of {rows} by {columns}");
        assert!(w.is_finite() && w > 0.0, "cell ({i}, {j}) weighs {w}; weights are positive");
        assert!(k == 0 || (sorted[k - 1].0, sorted[k - 1].1) != (i, j), "cell ({i}, {j}) is given twice");
    }
    let mut offsets = vec![0; rows + 1];
    sorted.iter().for_each(|&(i, ..)| offsets[i + 1] += 1);
    (0..rows).for_each(|i| offsets[i + 1] += offsets[i]);
    // Costs are −weight, and 0 for staying alone. With these prices no reduced cost cost − row − column is negative.
    let mut row_price: Vec<f64> =
        (0..rows).map(|i| -sorted[offsets[i]..offsets[i + 1]].iter().fold(0.0f64, |m, c| m.max(c.2))).collect();
    let mut column_price = vec![0.0; columns];
    let mut row_of: Vec<Option<usize>> = vec![None; columns];
    let mut column_of: Vec<Option<usize>> = vec![None; rows];
    let (mut distance, mut from, mut done) = (vec![f64::INFINITY; columns], vec![usize::MAX; columns], vec![false; columns]);
    let (mut queue, mut touched) = (BinaryHeap::new(), Vec::new());
    for start in 0..rows {
        // Shortest paths from `start`, to the first free column or to the first row that had better stay alone.
        let (mut row, mut so_far) = (start, 0.0);
        let (mut alone, mut alone_at) = (f64::INFINITY, usize::MAX);
        let end = loop {
            if so_far - row_price[row] < alone {
                (alone, alone_at) = (so_far - row_price[row], row);
            }
            for &(_, j, w) in &sorted[offsets[row]..offsets[row + 1]] {
                if done[j] {
                    continue;
                }
                // Rounding may leave a reduced cost a little below 0.
                let through = so_far + (-w - row_price[row] - column_price[j]).max(0.0);
                if through < distance[j] {
                    if distance[j] == f64::INFINITY {
                        touched.push(j);
                    }
                    (distance[j], from[j]) = (through, row);
                    queue.push(Reverse(Next(through, j)));
                }
            }
            let next = loop {
                match queue.pop() {
                    // A column that has been reached by a shorter way since.
                    Some(Reverse(Next(d, j))) if done[j] || d > distance[j] => {}
                    other => break other,
                }
            };
            match next {
                Some(Reverse(Next(d, j))) if d <= alone => {
                    done[j] = true;
                    so_far = d;
                    match row_of[j] {
                        Some(next) => row = next,
                        None => break Some(j),
                    }
                }
                _ => {
                    so_far = alone;
                    break None;
                }
            }
        };
        row_price[start] += so_far;
        for &j in touched.iter().filter(|&&j| done[j]) {
            if let Some(i) = row_of[j] {
                row_price[i] += so_far - distance[j];
            }
            column_price[j] -= so_far - distance[j];
        }
        // Along the path every row takes the column that it reached, and the last one gives up its own.
        let mut free = match end {
            Some(j) => Some(j),
            None => column_of[alone_at].take(),
        };
        while let Some(j) = free {
            let i = from[j];
            row_of[j] = Some(i);
            free = column_of[i].replace(j);
        }
        queue.clear();
        for j in touched.drain(..) {
            (distance[j], from[j], done[j]) = (f64::INFINITY, usize::MAX, false);
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(cells: &[(usize, usize, f64)], map: &[Option<usize>]) -> f64 {
        let mut taken: Vec<usize> = map.iter().flatten().copied().collect();
        taken.sort_unstable();
        let all = taken.len();
        taken.dedup();
        assert_eq!(taken.len(), all, "no column is taken twice");
        let of = |(i, j): (usize, &Option<usize>)| {
            j.map_or(0.0, |j| cells.iter().find(|c| (c.0, c.1) == (i, j)).expect("a cell that was given").2)
        };
        map.iter().enumerate().map(of).sum()
    }

    fn most(cells: &[(usize, usize, f64)], rows: usize, row: usize, used: &mut Vec<bool>) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut best = most(cells, rows, row + 1, used);
        for &(_, j, w) in cells.iter().filter(|c| c.0 == row) {
            if !used[j] {
                used[j] = true;
                best = best.max(w + most(cells, rows, row + 1, used));
                used[j] = false;
            }
        }
        best
    }

    #[test]
    fn maps_are_the_best_of_all() {
        for rows in 0..=5usize {
            for columns in 0..=5usize {
                for seed in 0..60usize {
                    // Small integers: many ties, exact sums; about a third of the cells is empty.
                    let mut cells: Vec<(usize, usize, f64)> = Vec::new();
                    for k in 0..rows * columns {
                        let v = (k * 7919 + seed * 271 + k * k * 31 + seed * k * 17) % 11;
                        if v > 3 {
                            cells.push((k / columns, k % columns, v as f64 - 3.0));
                        }
                    }
                    let map = heaviest(rows, columns, &cells);
                    assert_eq!(map.len(), rows);
                    assert_eq!(
                        weight(&cells, &map),
                        most(&cells, rows, 0, &mut vec![false; columns]),
                        "{rows} x {columns}, seed {seed}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_dense_method_of_tensor_decompositions_agrees() {
        let n = 40;
        let weights: Vec<f64> = (0..n * n).map(|k| 1.0 + ((k * 7919 + k * k * 31) % 97) as f64).collect();
        let cells: Vec<_> = weights.iter().enumerate().map(|(k, &w)| (k / n, k % n, w)).collect();
        let cost: Vec<f64> = weights.iter().map(|w| -w).collect();
        let other = crate::tensor::align::assign(&cost, n);
        let expected: f64 = other.iter().enumerate().map(|(i, &j)| weights[i * n + j]).sum();
        assert_eq!(weight(&cells, &heaviest(n, n, &cells)), expected);
    }

    #[test]
    fn a_diagonal_of_a_hundred_thousand_is_cheap() {
        let n = 100_000;
        let cells: Vec<_> = (0..n).map(|i| (i, n - 1 - i, 1.0)).collect();
        assert!(heaviest(n, n, &cells).iter().enumerate().all(|(i, j)| *j == Some(n - 1 - i)));
    }
}
