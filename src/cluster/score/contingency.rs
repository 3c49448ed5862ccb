//! How often group i of one labelling meets group j of another.

/// What becomes of things that a labelling calls noise ([`NOISE`](crate::cluster::NOISE)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// Noise is a group like any other (as scikit-learn does).
    #[default]
    Group,
    /// Things that either labelling calls noise are left out.
    LeaveOut,
}

impl Noise {
    pub const ALL: &[Self] = &[Self::Group, Self::LeaveOut];

    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::LeaveOut => "leave-out",
        }
    }
}

/// A cell that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub row: usize,
    pub column: usize,
    pub count: u64,
}

/// The contingency table of two labellings: rows are the groups of the first, columns those of the second, each in increasing order of
/// its label. Only cells that are not empty are kept, so a table takes no more room than the labels, whatever the numbers of groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Contingency {
    n: u64,
    rows: Vec<i32>,
    columns: Vec<i32>,
    row_sums: Vec<u64>,
    column_sums: Vec<u64>,
    cells: Vec<Cell>,
}

impl Contingency {
    /// Any labels. O(n log n) time at worst, O(n) for tables of fewer cells than things. Panics when the lengths differ.
    pub fn new(a: &[i32], b: &[i32], noise: Noise) -> Self {
        assert_eq!(a.len(), b.len(), "two labellings of the same things");
        let kept = |i: &usize| noise == Noise::Group || (a[*i] != crate::cluster::NOISE && b[*i] != crate::cluster::NOISE);
        let kept: Vec<usize> = (0..a.len()).filter(kept).collect();
        let (rows, a) = indexed(kept.iter().map(|&i| a[i]));
        let (columns, b) = indexed(kept.iter().map(|&i| b[i]));
        let width = columns.len();
        let mut cells = Vec::new();
        let mut add = |key: u64, count: u64| {
            cells.push(Cell { row: (key / width as u64) as usize, column: (key % width as u64) as usize, count });
        };
        let keys = a.iter().zip(&b).map(|(&i, &j)| u64::from(i) * width as u64 + u64::from(j));
        if rows.len() as u128 * width as u128 <= 4 * kept.len() as u128 {
            let mut counts = vec![0u64; rows.len() * width];
            keys.for_each(|key| counts[key as usize] += 1);
            (0..).zip(counts).filter(|&(_, count)| count > 0).for_each(|(key, count)| add(key, count));
        } else {
            let mut keys: Vec<u64> = keys.collect();
            keys.sort_unstable();
            keys.chunk_by(|x, y| x == y).for_each(|same| add(same[0], same.len() as u64));
        }
        let (mut row_sums, mut column_sums) = (vec![0; rows.len()], vec![0; width]);
        for cell in &cells {
            row_sums[cell.row] += cell.count;
            column_sums[cell.column] += cell.count;
        }
        Self { n: kept.len() as u64, rows, columns, row_sums, column_sums, cells }
    }

    /// Things counted.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Labels of the rows, increasing.
    pub fn rows(&self) -> &[i32] {
        &self.rows
    }

    /// Labels of the columns, increasing.
    pub fn columns(&self) -> &[i32] {
        &self.columns
    }

    pub fn row_sums(&self) -> &[u64] {
        &self.row_sums
    }

    pub fn column_sums(&self) -> &[u64] {
        &self.column_sums
    }

    /// Cells that are not empty, row by row.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Whether both labellings are the same partition: every row meets one column and every column one row.
    pub fn same_partition(&self) -> bool {
        self.cells.len() == self.rows.len() && self.cells.len() == self.columns.len()
    }

    /// The transposed table: the labellings change places.
    pub fn transposed(&self) -> Self {
        let mut cells: Vec<Cell> = self.cells.iter().map(|c| Cell { row: c.column, column: c.row, count: c.count }).collect();
        cells.sort_unstable_by_key(|c| (c.row, c.column));
        Self {
            n: self.n,
            rows: self.columns.clone(),
            columns: self.rows.clone(),
            row_sums: self.column_sums.clone(),
            column_sums: self.row_sums.clone(),
            cells,
        }
    }
}

/// The distinct labels in increasing order, and for every thing the place of its label among them.
pub(crate) fn indexed(labels: impl Iterator<Item = i32> + Clone) -> (Vec<i32>, Vec<u32>) {
    let (low, high) = labels.clone().fold((i32::MAX, i32::MIN), |(low, high), l| (low.min(l), high.max(l)));
    let n = labels.clone().count();
    if n == 0 {
        return (Vec::new(), Vec::new());
    }
    let span = (i64::from(high) - i64::from(low)) as usize + 1;
    if span <= 4 * n + 1024 {
        // Labels close together, as usual: a table instead of a search.
        let mut place = vec![u32::MAX; span];
        let at = |l: i32| (i64::from(l) - i64::from(low)) as usize;
        labels.clone().for_each(|l| place[at(l)] = 0);
        let mut distinct = Vec::new();
        for (offset, place) in place.iter_mut().enumerate().filter(|(_, p)| **p == 0) {
            *place = distinct.len() as u32;
            distinct.push((i64::from(low) + offset as i64) as i32);
        }
        let places = labels.map(|l| place[at(l)]).collect();
        return (distinct, places);
    }
    let mut distinct: Vec<i32> = labels.clone().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let places = labels.map(|l| distinct.partition_point(|&d| d < l) as u32).collect();
    (distinct, places)
}
