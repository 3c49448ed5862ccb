//! One item of a batch in the five connection modes: channels are mixed before or after a product without weights.

use super::lines::{column_dots, times_row};
use super::{Channels, Core, Gradients, Mode, Operands};
use crate::kernels::elementwise::add_assign;
use crate::kernels::gemm::{MatMut, MatRef, Start, matmul, tile, with_scratch};
use crate::kernels::pieces::split;
use crate::kernels::simd::Real;

impl<T: Real> Core<T> {
    /// Channel by channel.
    fn pair(&self, x: &[T], z: &[T], c: usize, out: &mut [T]) {
        match self {
            Self::Exact(m) | Self::PerEdge(m) => m.pair(x, z, c, out),
            Self::Cp(f) => f.pair(x, z, c, out),
        }
    }

    fn pair_gradients(&self, all: [&[T]; 3], c: usize, dx: Option<&mut [T]>, dz: Option<&mut [T]>, sums: [Option<&mut [T]>; 3]) {
        match self {
            Self::Exact(m) | Self::PerEdge(m) => m.pair_gradients(all, c, dx, dz),
            Self::Cp(f) => f.pair_gradients(all, c, dx, dz, sums),
        }
    }

    /// One y for all channels.
    fn single(&self, x: &[T], y: &[T], c: usize, out: &mut [T]) {
        match self {
            Self::Exact(m) => m.single(x, y, c, out),
            Self::PerEdge(m) => m.single_folded(x, y, c, out),
            Self::Cp(f) => f.single(x, y, c, out),
        }
    }

    fn single_gradients(
        &self,
        [x, y, g]: [&[T]; 3],
        c: usize,
        dx: Option<&mut [T]>,
        dy: Option<&mut [T]>,
        sums: [Option<&mut [T]>; 3],
    ) {
        match self {
            Self::Exact(m) | Self::PerEdge(m) => {
                if let Some(dx) = dx {
                    match self {
                        Self::Exact(_) => m.single_dx(y, g, c, dx),
                        _ => m.single_dx_folded(y, g, c, dx),
                    }
                }
                if let Some(dy) = dy {
                    m.single_dy(x, g, c, dy);
                }
            }
            Self::Cp(f) => f.single_gradients([x, y, g], c, dx, dy, sums),
        }
    }

    /// Whether mode uvu takes the channels of y one by one, or mixes them into one y for each channel of x first.
    fn one_by_one(&self, channels: &Channels) -> bool {
        channels.v == 1 || matches!(self, Self::PerEdge(_))
    }
}

/// Column `v` of rows of `width`.
fn column<T: Real>(from: &[T], width: usize, v: usize, to: &mut [T]) {
    to.iter_mut().zip(from.chunks_exact(width)).for_each(|(to, row)| *to = row[v]);
}

/// Writes column `v` of rows of `width`.
fn put_column<T: Real>(from: &[T], width: usize, v: usize, to: &mut [T]) {
    to.chunks_exact_mut(width).zip(from).for_each(|(row, from)| row[v] = *from);
}

/// Of mode uvw: the weights (u, out) of channel `v` of y.
fn slice<'a, T: Real>(w: &'a [T], c: &Channels, v: usize) -> MatRef<'a, T> {
    MatRef::with_strides(&w[v * c.out..], c.u, c.out, c.v * c.out, 1)
}

/// See the module of the product; one item.
pub fn forward<T: Real>(core: &Core<T>, d: usize, c: &Channels, Operands { x, y, w }: Operands<'_, T>, out: &mut [T]) {
    let (u, v) = (c.u, c.v);
    match c.mode {
        Mode::Uvu if core.one_by_one(c) => with_scratch(d + u + d * u, |room: &mut [T]| {
            let [yv, wv, t] = split(room, [d, u, d * u]);
            for channel in 0..v {
                column(y, v, channel, yv);
                column(w, v, channel, wv);
                core.single(x, yv, u, t);
                times_row(t, wv, out, channel > 0);
            }
        }),
        Mode::Uvu => with_scratch(d * u, |z: &mut [T]| {
            matmul(MatRef::new(y, d, v), MatRef::new(w, u, v).t(), MatMut::new(z, d, u), false);
            core.pair(x, z, u, out);
        }),
        Mode::Uvw => with_scratch(d + d * u, |room: &mut [T]| {
            let [yv, t] = split(room, [d, d * u]);
            for channel in 0..v {
                column(y, v, channel, yv);
                core.single(x, yv, u, t);
                let start = if channel == 0 { Start::Zero } else { Start::Current };
                tile(start, MatRef::new(t, d, u), slice(w, c, channel), MatMut::new(out, d, c.out));
            }
        }),
        Mode::Uuu => with_scratch(d * u, |z: &mut [T]| {
            times_row(x, w, z, false);
            core.pair(z, y, u, out);
        }),
        Mode::Uuw => with_scratch(d * u, |t: &mut [T]| {
            core.pair(x, y, u, t);
            tile(Start::Zero, MatRef::new(t, d, u), MatRef::new(w, u, c.out), MatMut::new(out, d, c.out));
        }),
        Mode::Uvv => with_scratch(d * v, |z: &mut [T]| {
            tile(Start::Zero, MatRef::new(x, d, u), MatRef::new(w, u, v), MatMut::new(z, d, v));
            core.pair(z, y, v, out);
        }),
    }
}

/// Gradients of one item.
pub fn backward<T: Real>(
    core: &Core<T>,
    d: usize,
    c: &Channels,
    Operands { x, y, w }: Operands<'_, T>,
    g: &[T],
    to: Gradients<'_, T>,
) {
    let (u, v, o) = (c.u, c.v, c.out);
    let Gradients { x: dx, y: dy, w: dw, factors } = to;
    match c.mode {
        Mode::Uvu if core.one_by_one(c) => with_scratch(2 * d + 2 * u + 2 * d * u, |room: &mut [T]| {
            let [yv, dyv, wv, dwv, t, part] = split(room, [d, d, u, u, d * u, d * u]);
            let (mut dx, mut dy, mut dw, mut sums) = (dx, dy, dw, factors);
            for channel in 0..v {
                column(y, v, channel, yv);
                column(w, v, channel, wv);
                if let Some(dw) = dw.as_deref_mut() {
                    core.single(x, yv, u, t);
                    column_dots(t, g, dwv);
                    put_column(dwv, v, channel, dw);
                }
                times_row(g, wv, t, false);
                one_y(core, [x, yv, t], u, (channel, v), part, (&mut dx, &mut dy, dyv), &mut sums);
            }
        }),
        Mode::Uvu => with_scratch(2 * d * u, |room: &mut [T]| {
            let [z, dz] = split(room, [d * u; 2]);
            matmul(MatRef::new(y, d, v), MatRef::new(w, u, v).t(), MatMut::new(z, d, u), false);
            core.pair_gradients([x, z, g], u, dx, Some(dz), factors);
            if let Some(dy) = dy {
                tile(Start::Zero, MatRef::new(dz, d, u), MatRef::new(w, u, v), MatMut::new(dy, d, v));
            }
            if let Some(dw) = dw {
                tile(Start::Zero, MatRef::new(dz, d, u).t(), MatRef::new(y, d, v), MatMut::new(dw, u, v));
            }
        }),
        Mode::Uvw => with_scratch(2 * d + 2 * d * u, |room: &mut [T]| {
            let [yv, dyv, t, part] = split(room, [d, d, d * u, d * u]);
            let (mut dx, mut dy, mut dw, mut sums) = (dx, dy, dw, factors);
            for channel in 0..v {
                column(y, v, channel, yv);
                if let Some(dw) = dw.as_deref_mut() {
                    core.single(x, yv, u, t);
                    let to = MatMut::with_strides(&mut dw[channel * o..], u, o, v * o, 1);
                    tile(Start::Zero, MatRef::new(t, d, u).t(), MatRef::new(g, d, o), to);
                }
                matmul(MatRef::new(g, d, o), slice(w, c, channel).t(), MatMut::new(t, d, u), false);
                one_y(core, [x, yv, t], u, (channel, v), part, (&mut dx, &mut dy, dyv), &mut sums);
            }
        }),
        Mode::Uuu => with_scratch(2 * d * u, |room: &mut [T]| {
            let [z, dz] = split(room, [d * u; 2]);
            times_row(x, w, z, false);
            core.pair_gradients([z, y, g], u, Some(dz), dy, factors);
            if let Some(dw) = dw {
                column_dots(dz, x, dw);
            }
            if let Some(dx) = dx {
                times_row(dz, w, dx, false);
            }
        }),
        Mode::Uuw => with_scratch(2 * d * u, |room: &mut [T]| {
            let [t, dt] = split(room, [d * u; 2]);
            if let Some(dw) = dw {
                core.pair(x, y, u, t);
                tile(Start::Zero, MatRef::new(t, d, u).t(), MatRef::new(g, d, o), MatMut::new(dw, u, o));
            }
            matmul(MatRef::new(g, d, o), MatRef::new(w, u, o).t(), MatMut::new(dt, d, u), false);
            core.pair_gradients([x, y, dt], u, dx, dy, factors);
        }),
        Mode::Uvv => with_scratch(2 * d * v, |room: &mut [T]| {
            let [z, dz] = split(room, [d * v; 2]);
            tile(Start::Zero, MatRef::new(x, d, u), MatRef::new(w, u, v), MatMut::new(z, d, v));
            core.pair_gradients([z, y, g], v, Some(dz), dy, factors);
            if let Some(dx) = dx {
                matmul(MatRef::new(dz, d, v), MatRef::new(w, u, v).t(), MatMut::new(dx, d, u), false);
            }
            if let Some(dw) = dw {
                tile(Start::Zero, MatRef::new(x, d, u).t(), MatRef::new(dz, d, v), MatMut::new(dw, u, v));
            }
        }),
    }
}

/// Gradients of a product with one channel of y, `t` being the gradient of its result: x's are summed over channels of y.
fn one_y<T: Real>(
    core: &Core<T>,
    [x, y, t]: [&[T]; 3],
    u: usize,
    (channel, v): (usize, usize),
    part: &mut [T],
    (dx, dy, dyv): (&mut Option<&mut [T]>, &mut Option<&mut [T]>, &mut [T]),
    sums: &mut [Option<&mut [T]>; 3],
) {
    let sums = sums.each_mut().map(|s| s.as_deref_mut());
    let part = dx.is_some().then_some(part);
    let mut part = part;
    core.single_gradients([x, y, t], u, part.as_deref_mut(), dy.is_some().then_some(&mut *dyv), sums);
    if let (Some(dx), Some(part)) = (dx.as_deref_mut(), part) {
        if channel == 0 { dx.copy_from_slice(part) } else { add_assign(dx, part) }
    }
    if let Some(dy) = dy.as_deref_mut() {
        put_column(dyv, v, channel, dy);
    }
}
