//! Points into a graph.

use rayon::prelude::*;

use crate::cluster::{ClusterError, Graph, Points};
use crate::kernels::simd::{Kernel, Lanes, dispatch};

/// Points whose distances to a point are taken at a time: they stay in the first cache.
const CHUNK: usize = 1024;
/// Numbers of a dense affinity matrix at most: 2 GiB.
const MOST: usize = 1 << 28;

/// Points with the coordinates of one column one after the other.
struct Columns {
    values: Vec<f64>,
    n: usize,
    d: usize,
}

impl Columns {
    fn new(points: Points) -> Self {
        let (n, d) = (points.n(), points.d());
        let mut values = vec![0.0; n * d];
        values.par_chunks_mut(n).enumerate().for_each(|(j, column)| {
            column.iter_mut().zip(points.values()[j..].iter().step_by(d)).for_each(|(to, &x)| *to = x);
        });
        Self { values, n, d }
    }

    /// Squared distances of `x` to points `from` and on, as many as `out` holds.
    fn squared(&self, x: &[f64], from: usize, out: &mut [f64]) {
        dispatch(Squared { columns: &self.values[from..], n: self.n, x: &x[..self.d], out });
    }
}

struct Squared<'a> {
    columns: &'a [f64],
    n: usize,
    x: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel<f64> for Squared<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let count = self.out.len();
        let mut i = 0;
        while i < count {
            let end = count.min(i + V::N);
            let mut sum = V::splat(0.0);
            for (j, &x) in self.x.iter().enumerate() {
                let z = V::load_partial(&self.columns[j * self.n + i..j * self.n + end]).sub(V::splat(x));
                sum = z.fma(z, sum);
            }
            sum.store_partial(&mut self.out[i..end]);
            i = end;
        }
    }
}

/// The `count` nearest neighbours of each point, (n, count): the point itself first, then by distance, the one with the lower
/// number of equally near ones.
///
/// Error: more neighbours than points; distances beyond the range of numbers. Cost: n²·d, all pairs.
pub fn nearest(points: Points, count: usize) -> Result<Vec<u32>, ClusterError> {
    let n = points.n();
    if count == 0 || count > n {
        let expected = format!("1 to {n}, the number of points (a point counts as its own neighbour)");
        return Err(ClusterError::Setting { what: "neighbours", value: count.to_string(), expected });
    }
    let columns = Columns::new(points);
    let mut found = vec![0u32; n * count];
    let fits = found
        .par_chunks_mut(count)
        .enumerate()
        .map_init(
            || (vec![0.0; CHUNK], Vec::<(f64, u32)>::new()),
            |(far, near), (i, out)| {
                near.clear();
                let mut limit = f64::INFINITY;
                for from in (0..n).step_by(CHUNK) {
                    let far = &mut far[..CHUNK.min(n - from)];
                    columns.squared(points.row(i), from, far);
                    for (j, &distance) in far.iter().enumerate() {
                        if distance < limit && from + j != i {
                            // After all that are as near: they have lower numbers.
                            near.insert(near.partition_point(|p| p.0 <= distance), (distance, (from + j) as u32));
                            near.truncate(count - 1);
                            if near.len() == count - 1 {
                                limit = near.last().map_or(f64::NEG_INFINITY, |p| p.0);
                            }
                        }
                    }
                }
                out[0] = i as u32;
                out[1..].iter_mut().zip(&*near).for_each(|(to, p)| *to = p.1);
                near.len() == count - 1
            },
        )
        .collect::<Vec<bool>>();
    if let Some(row) = fits.iter().position(|f| !f) {
        return Err(ClusterError::Numbers(format!(
            "distances from row {row} (from 0) are beyond the range of numbers; scale the columns"
        )));
    }
    Ok(found)
}

/// ½(A + Aᵀ), A being the graph of the `count` [`nearest`] neighbours, without loops.
pub fn neighbour_graph(points: Points, count: usize) -> Result<Graph, ClusterError> {
    let near = nearest(points, count)?;
    let edges: Vec<(u32, u32, f64)> =
        near.chunks_exact(count).flat_map(|row| row[1..].iter().map(|&j| (row[0], j, 0.5))).collect();
    Graph::new(points.n(), &edges, false)
}

/// (n, n): exp(−γ ‖x − y‖²), 0 on the diagonal. Error: a matrix of more than 2 GiB.
pub fn gaussian(points: Points, gamma: f64) -> Result<Vec<f64>, ClusterError> {
    let n = points.n();
    if n.checked_mul(n).is_none_or(|size| size > MOST) {
        return Err(ClusterError::Data(format!(
            "a dense affinity matrix of {n} points is larger than {} GiB; take the nearest-neighbour affinity",
            MOST >> 27
        )));
    }
    let columns = Columns::new(points);
    let mut all = vec![0.0; n * n];
    all.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
        columns.squared(points.row(i), 0, row);
        row.iter_mut().for_each(|x| *x *= -gamma);
        crate::kernels::simd::math::exp_in_place(row);
        row[i] = 0.0;
    });
    Ok(all)
}
