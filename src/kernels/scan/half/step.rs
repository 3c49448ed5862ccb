//! Decoding: one row of each sequence is made f32, taken through the plain step, and its result rounded. States stay f32.

use crate::kernels::bf16::{narrow, widen};
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::scan::mamba3::{self, Mamba3, StatesMut};
use crate::kernels::scan::selective::{self, SelectiveScan};
use crate::kernels::scan::ssd::{self, Ssd};

/// Runs `work` on the rows in f32, and rounds what it writes.
fn rounded<const S: usize>(rows: [&[u16]; S], out: &mut [u16], work: impl FnOnce([&[f32]; S], &mut [f32])) {
    let sizes = rows.map(<[u16]>::len);
    with_scratch(sizes.iter().sum::<usize>() + out.len(), |buffer: &mut [f32]| {
        let (wide, result) = buffer.split_at_mut(sizes.iter().sum());
        let mut wide = split(wide, sizes);
        for (from, to) in rows.iter().zip(&mut wide) {
            widen(from, to);
        }
        work(wide.each_ref().map(|x| &**x), result);
        narrow(result, out);
    });
}

impl SelectiveScan<'_, f32> {
    /// [`step`](Self::step) with u, δ, B, C, z and the result as bits of bf16. Panics when sizes do not fit.
    pub fn step_bf16(&self, x: &selective::Inputs<'_, u16>, states: &mut [f32], out: &mut [u16]) {
        rounded([x.u, x.delta, x.b, x.c, x.z.unwrap_or_default()], out, |[u, delta, b, c, z], out| {
            self.step(&selective::Inputs { u, delta, b, c, z: x.z.map(|_| z) }, states, out);
        });
    }
}

impl Ssd<'_, f32> {
    /// [`step`](Self::step) with x, Δ, B, C and the result as bits of bf16. Panics when sizes do not fit.
    pub fn step_bf16(&self, x: &ssd::Inputs<'_, u16>, states: &mut [f32], y: &mut [u16]) {
        rounded([x.x, x.dt, x.b, x.c], y, |[x, dt, b, c], y| self.step(&ssd::Inputs { x, dt, b, c }, states, y));
    }
}

impl Mamba3<'_, f32> {
    /// [`step`](Self::step) with what belongs to the row and the result as bits of bf16. Panics when sizes do not fit.
    pub fn step_bf16(&self, x: &mamba3::Inputs<'_, u16>, states: StatesMut<'_, f32>, out: &mut [u16]) {
        let rows = [x.q, x.k, x.x, x.z.unwrap_or_default(), x.log_decay, x.dt, x.trap, x.angles];
        rounded(rows, out, |[q, k, value, z, log_decay, dt, trap, angles], out| {
            let x = mamba3::Inputs { q, k, x: value, z: x.z.map(|_| z), log_decay, dt, trap, angles };
            self.step(&x, states, out);
        });
    }
}
