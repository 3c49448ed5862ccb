//! Orders in which a scan walks the cells of a map.

/// A map of cells, row-major: cell (i, j) is number `i · width + j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub height: usize,
    pub width: usize,
}

/// Where a scan starts and how it goes on. The numbers are those of VMamba and GroupMamba, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// 0: row after row.
    Rows,
    /// 1: column after column.
    Columns,
    /// 2: `Rows` from its end to its start.
    RowsBack,
    /// 3: `Columns` from its end to its start.
    ColumnsBack,
}

impl Direction {
    /// All four in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Rows, Self::Columns, Self::RowsBack, Self::ColumnsBack];

    /// Whether it follows columns.
    pub fn by_columns(self) -> bool {
        matches!(self, Self::Columns | Self::ColumnsBack)
    }

    /// Whether it starts at the last cell.
    pub fn backwards(self) -> bool {
        matches!(self, Self::RowsBack | Self::ColumnsBack)
    }
}

impl Grid {
    /// How many cells there are.
    #[inline]
    pub fn cells(self) -> usize {
        self.height * self.width
    }

    /// The cell of a step.
    pub fn cell(self, direction: Direction, step: usize) -> usize {
        let cell = if direction.by_columns() { step % self.height * self.width + step / self.height } else { step };
        // Turning a map by half a turn reverses either order.
        if direction.backwards() { self.cells() - 1 - cell } else { cell }
    }

    /// The step of a cell: the inverse of [`cell`](Self::cell).
    pub fn step(self, direction: Direction, cell: usize) -> usize {
        Self { height: self.width, width: self.height }.cell(direction, cell)
    }

    /// The cells from a step on. Does not end by itself.
    #[inline(always)]
    pub(super) fn walk(self, direction: Direction, step: usize) -> Walk {
        let back = direction.backwards().then_some(self.cells().wrapping_sub(1));
        if direction.by_columns() && self.height > 0 {
            let (i, j) = (step % self.height, step / self.height);
            Walk { place: i * self.width + j, line: j, left: self.height - i, run: self.height, stride: self.width, back }
        } else {
            Walk { place: step, line: 0, left: usize::MAX, run: usize::MAX, stride: 1, back }
        }
    }

    /// The steps of the cells from a cell on. Does not end by itself.
    #[inline(always)]
    pub(super) fn walk_steps(self, direction: Direction, cell: usize) -> Walk {
        Self { height: self.width, width: self.height }.walk(direction, cell)
    }
}

/// Cells in the order of a direction, without a division for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    place: usize,
    /// Where the line being followed starts.
    line: usize,
    /// Cells left of that line, and of a whole one.
    left: usize,
    run: usize,
    stride: usize,
    /// The last cell, when it is walked backwards.
    back: Option<usize>,
}

impl Walk {
    #[inline(always)]
    pub(super) fn next(&mut self) -> usize {
        let place = self.place;
        self.left -= 1;
        if self.left == 0 {
            self.line += 1;
            (self.place, self.left) = (self.line, self.run);
        } else {
            self.place += self.stride;
        }
        match self.back {
            Some(last) => last - place,
            None => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_a_small_map() {
        let grid = Grid { height: 2, width: 3 };
        let order = |d| (0..6).map(|t| grid.cell(d, t)).collect::<Vec<_>>();
        assert_eq!(order(Direction::Rows), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(Direction::Columns), [0, 3, 1, 4, 2, 5]);
        assert_eq!(order(Direction::RowsBack), [5, 4, 3, 2, 1, 0]);
        assert_eq!(order(Direction::ColumnsBack), [5, 2, 4, 1, 3, 0]);
    }

    #[test]
    fn walks_and_inverses_agree_with_the_formula() {
        for (height, width) in [(1, 1), (1, 7), (7, 1), (4, 5), (5, 3)] {
            let grid = Grid { height, width };
            for direction in Direction::ALL {
                for start in 0..grid.cells() {
                    assert_eq!(grid.step(direction, grid.cell(direction, start)), start);
                    let (mut walk, mut steps) = (grid.walk(direction, start), grid.walk_steps(direction, start));
                    for at in start..grid.cells() {
                        assert_eq!(walk.next(), grid.cell(direction, at), "{grid:?} {direction:?}");
                        assert_eq!(steps.next(), grid.step(direction, at), "{grid:?} {direction:?}");
                    }
                }
            }
        }
    }
}
