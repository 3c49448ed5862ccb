//! Points for tests.

use crate::cluster::Points;

/// A table of numbers whose last column is the class: values, n, d, classes.
pub(crate) struct Data {
    pub values: Vec<f64>,
    pub n: usize,
    pub d: usize,
    pub classes: Vec<i32>,
}

impl Data {
    /// A file of uci-small; `None`, and a line that says so, where it is not there.
    pub fn load(name: &str) -> Option<Self> {
        let text = std::fs::read_to_string(crate::testing::shared(&format!("uci-small/{name}.csv"))?).expect("a readable file");
        let rows: Vec<Vec<f64>> =
            text.lines().skip(1).map(|line| line.split(',').map(|v| v.parse().expect("a number")).collect()).collect();
        let d = rows[0].len() - 1;
        let values = rows.iter().flat_map(|r| &r[..d]).copied().collect();
        Some(Self { values, n: rows.len(), d, classes: rows.iter().map(|r| r[d] as i32).collect() })
    }

    /// Columns of mean 0 and (population) standard deviation 1.
    pub fn standardized(mut self) -> Self {
        for j in 0..self.d {
            let column = || self.values.iter().skip(j).step_by(self.d);
            let mean = column().sum::<f64>() / self.n as f64;
            let sd = (column().map(|v| (v - mean) * (v - mean)).sum::<f64>() / self.n as f64).sqrt();
            self.values.iter_mut().skip(j).step_by(self.d).for_each(|v| *v = (*v - mean) / sd);
        }
        self
    }

    pub fn points(&self) -> Points<'_> {
        Points::new(&self.values, self.n, self.d).expect("finite points")
    }
}

/// Rows of `d` numbers around `k` centres, in turn, with these labels: deterministic, without any library.
pub(crate) fn blobs(n: usize, d: usize, k: usize, spread: f64) -> (Vec<f64>, Vec<i32>) {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let labels: Vec<i32> = (0..n).map(|i| (i % k) as i32).collect();
    let values = labels
        .iter()
        .flat_map(|&l| (0..d).map(|j| if j == l as usize % d { 3.0 } else { 0.0 } + spread * uniform()).collect::<Vec<_>>());
    (values.collect(), labels)
}

/// Runs `work` with one thread and with two.
pub(crate) fn on_threads<R: Send>(work: impl Fn() -> R + Sync + Send) -> [R; 2] {
    [1, 2].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(&work))
}
