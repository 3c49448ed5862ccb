//! Time cut into chunks, as the chunked scans take it.

use super::plan::{DeviceError, narrow};
use crate::kernels::scan::Sequences;

/// Threads of a block that does products of tiles, and floats of their shared memory, as in shared/tiles.h.
pub(super) const TILE_BLOCK: usize = 256;
pub(super) const TILE_FLOATS: usize = 2 * 16 * 68;
pub(super) const DECAY_FLOATS: usize = 4 * 64 + 16;
/// Side of a tile, and rows of a chunk at most.
pub(super) const SIDE: usize = 64;

/// Three numbers for each chunk: its sequence, first row and steps; and the chunks of each sequence.
pub(super) struct Chunks {
    pub table: Vec<u32>,
    pub bounds: Vec<u32>,
    pub count: usize,
}

impl Chunks {
    /// Chunks of `steps` steps; a sequence without rows has none.
    pub(super) fn new(sequences: &Sequences<'_>, steps: usize) -> Result<Self, DeviceError> {
        let (mut table, mut bounds) = (Vec::new(), vec![0]);
        for (i, rows) in sequences.iter().enumerate() {
            for start in rows.clone().step_by(steps) {
                for x in [i, start, steps.min(rows.end - start)] {
                    table.push(narrow("rows", x)?);
                }
            }
            bounds.push(narrow("chunks", table.len() / 3)?);
        }
        let count = table.len() / 3;
        Ok(Self { table, bounds, count })
    }
}
