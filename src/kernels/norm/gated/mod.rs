//! RMS norm over groups of channels, with a gate of SiLU before or after it.
//!
//! For a row of x and of z, and each group of `group` neighbouring numbers, with r = 1 / √(mean(v²) + eps) over the group:
//!
//! * gate first: v = x·silu(z), y = v·r·weight (Mamba-2, one group for each group of B and C);
//! * norm first: v = x, y = v·r·weight·silu(z) (Mamba-3 before its output map, a group for each head);
//! * without z: v = x, y = v·r·weight.
//!
//! Cost: one read of x and z and one write of y; an exponential for each z. Backward: one read of x, z and dy, one write of dx and dz,
//! the same exponentials again.
//!
//! Sources: Zhang & Sennrich, RMSNorm, 2019 (arXiv 1910.07467); gated as in Dao & Gu, Mamba-2, 2024 (arXiv 2405.21060), section 7.

#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{add_parts, count_rows, each_vector, for_each, get, put_over, row_squares, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

const OP: &str = "gated RMS norm";

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct RmsNormGated<'a, T> {
    /// Numbers in a row.
    pub width: usize,
    /// Numbers that share a mean square; divides `width`.
    pub group: usize,
    /// A factor for each column; `None` is 1.
    pub weight: Option<&'a [T]>,
    /// Added to the mean square; usually 1e-5.
    pub eps: f64,
    /// Whether the gate comes after the norm.
    pub norm_before_gate: bool,
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    pub x: Option<&'a mut [T]>,
    pub z: Option<&'a mut [T]>,
    pub weight: Option<&'a mut [T]>,
}

impl<T> Default for Gradients<'_, T> {
    fn default() -> Self {
        Self { x: None, z: None, weight: None }
    }
}

impl<T: Real> RmsNormGated<'_, T> {
    /// The number of rows. Panics when sizes do not fit.
    fn check(&self, x: &[T], z: Option<&[T]>) -> usize {
        let (width, group) = (self.width, self.group);
        assert!(group > 0 && width.is_multiple_of(group), "{OP}: {width} numbers do not make groups of {group}");
        assert!(self.weight.is_none_or(|w| w.len() == width), "{OP}: the weight has one number for each column");
        assert!(z.is_none_or(|z| z.len() == x.len()), "{OP}: z is as long as x");
        count_rows(x.len(), width)
    }

    /// Writes y, as long as x and z (rows × width), and gives r of each group, (rows × groups), for the backward pass.
    /// Panics when sizes do not fit.
    pub fn forward(&self, x: &[T], z: Option<&[T]>, y: &mut [T]) -> Vec<T> {
        let rows = self.check(x, z);
        assert_eq!(y.len(), x.len(), "{OP}: the result is as long as x");
        if rows == 0 {
            return Vec::new();
        }
        let (ones, per_chunk) = (self.ones(), rows_per_chunk(self.width, 1));
        let groups = self.width / self.group;
        let mut inv_rms = vec![T::ZERO; rows * groups];
        let mut gates = z.map(|z| z.chunks(per_chunk * self.width));
        let tasks = (x.chunks(per_chunk * self.width).zip(y.chunks_mut(per_chunk * self.width)))
            .zip(inv_rms.chunks_mut(per_chunk * groups))
            .map(|((x, y), inv_rms)| Forward {
                group: self.group,
                weight: self.weight.unwrap_or(&ones),
                eps: T::from_f64(self.eps),
                norm_first: self.norm_before_gate,
                x,
                z: gates.as_mut().and_then(Iterator::next),
                y,
                inv_rms,
            })
            .collect();
        for_each(tasks, dispatch);
        inv_rms
    }

    /// From what [`forward`](Self::forward) was given and gave, and the gradient of y: the gradients that are wanted. Panics when sizes
    /// do not fit.
    ///
    /// With v̂ = v·r and g the gradient of v̂, the gradient of v is r·(g − v̂·mean(g·v̂)).
    pub fn backward(&self, x: &[T], z: Option<&[T]>, inv_rms: &[T], dy: &[T], to: Gradients<'_, T>) {
        let rows = self.check(x, z);
        let (width, groups) = (self.width, self.width / self.group);
        assert_eq!(dy.len(), x.len(), "{OP}: the gradient is as long as x");
        assert_eq!(inv_rms.len(), rows * groups, "{OP}: root mean squares of another input");
        assert!(to.x.as_ref().is_none_or(|v| v.len() == x.len()), "{OP}: the gradient of x is as long as x");
        let gate = z.map_or(0, <[T]>::len);
        assert!(to.z.as_ref().is_none_or(|v| v.len() == gate), "{OP}: the gradient of z has {gate} numbers");
        assert!(to.weight.as_ref().is_none_or(|v| v.len() == width), "{OP}: the gradient of the weight has {width} numbers");
        // Sixty-four rows at least, so that the sums of a chunk are small beside the chunk; padded to whole vectors.
        let (ones, per_chunk) = (self.ones(), rows_per_chunk(width, 64));
        let padded = if to.weight.is_some() { width + T::LANES } else { 0 };
        let mut sums = vec![T::ZERO; rows.div_ceil(per_chunk) * padded];
        let len = (per_chunk * width).max(1);
        let mut gates = z.map(|z| z.chunks(len));
        let (mut dx, mut dz) = (to.x.map(|v| v.chunks_mut(len)), to.z.map(|v| v.chunks_mut(len)));
        let mut strips = sums.chunks_mut(padded.max(1));
        let tasks: Vec<Backward<'_, T>> = (x.chunks(len).zip(dy.chunks(len)))
            .zip(inv_rms.chunks((per_chunk * groups).max(1)))
            .map(|((x, dy), inv_rms)| Backward {
                group: self.group,
                weight: self.weight.unwrap_or(&ones),
                norm_first: self.norm_before_gate,
                x,
                z: gates.as_mut().and_then(Iterator::next),
                inv_rms,
                dy,
                dx: dx.as_mut().and_then(Iterator::next),
                dz: dz.as_mut().and_then(Iterator::next),
                dweight: strips.next(),
            })
            .collect();
        let room = self.group.next_multiple_of(T::LANES);
        for_each(tasks, |task| with_scratch(LINES * room, |lines| dispatch(Run { task, lines })));
        add_parts(&mut sums, padded);
        if let Some(weight) = to.weight {
            match sums.get(..width) {
                Some(sums) => weight.copy_from_slice(sums),
                None => weight.fill(T::ZERO),
            }
        }
    }

    /// The weight where there is none.
    fn ones(&self) -> Vec<T> {
        vec![T::ONE; if self.weight.is_some() { 0 } else { self.width }]
    }
}

/// Some rows.
struct Forward<'a, T> {
    group: usize,
    weight: &'a [T],
    eps: T,
    norm_first: bool,
    x: &'a [T],
    z: Option<&'a [T]>,
    y: &'a mut [T],
    inv_rms: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let (group, share) = (self.group, T::ONE / T::from_f64(self.group as f64));
        let groups = self.weight.len() / group;
        for (i, inv_rms) in self.inv_rms.iter_mut().enumerate() {
            let (at_row, at_weight) = (i * group, i % groups * group);
            let (x, weight) = (&self.x[at_row..][..group], &self.weight[at_weight..][..group]);
            let z = self.z.map(|z| &z[at_row..][..group]);
            let y = &mut self.y[at_row..];
            let squares = match z {
                Some(z) if !self.norm_first => {
                    let mut squares = V::splat(T::ZERO);
                    each_vector!(V, group, |at, count| {
                        let v = get::<T, V>(x, at, count).mul(math::silu::<T, V>(get(z, at, count)));
                        squares = v.fma(v, squares);
                        put_over(v, y, at, count);
                    });
                    squares.sum()
                }
                _ => row_squares::<T, V>(x, T::ZERO),
            };
            let r = T::ONE / squares.fma(share, self.eps).sqrt();
            *inv_rms = r;
            let r = V::splat(r);
            match z {
                Some(z) if self.norm_first => each_vector!(V, group, |at, count| {
                    let gate = math::silu::<T, V>(get(z, at, count));
                    put_over(get::<T, V>(x, at, count).mul(r).mul(get(weight, at, count)).mul(gate), y, at, count);
                }),
                Some(_) => each_vector!(V, group, |at, count| {
                    put_over(get::<T, V>(y, at, count).mul(r).mul(get(weight, at, count)), y, at, count);
                }),
                None => each_vector!(V, group, |at, count| {
                    put_over(get::<T, V>(x, at, count).mul(r).mul(get(weight, at, count)), y, at, count);
                }),
            }
        }
    }
}

/// Some rows; the sums for the weight start at zero.
struct Backward<'a, T> {
    group: usize,
    weight: &'a [T],
    norm_first: bool,
    x: &'a [T],
    z: Option<&'a [T]>,
    inv_rms: &'a [T],
    dy: &'a [T],
    dx: Option<&'a mut [T]>,
    dz: Option<&'a mut [T]>,
    dweight: Option<&'a mut [T]>,
}

/// Lines of a group that are kept between the two passes over it: silu(z), its slope, v̂ and g.
const LINES: usize = 4;

struct Run<'a, 'b, T> {
    task: Backward<'a, T>,
    /// Lines of whole vectors.
    lines: &'b mut [T],
}

impl<T: Real> Kernel<T> for Run<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Backward { group, weight, norm_first, x, z, inv_rms, dy, mut dx, mut dz, mut dweight } = self.task;
        let (groups, room) = (weight.len() / group, group.next_multiple_of(V::N));
        let share = T::ONE / T::from_f64(group as f64);
        let (gates, rest) = self.lines.split_at_mut(room);
        let (slopes, rest) = rest.split_at_mut(room);
        let (hats, inner) = rest.split_at_mut(room);
        for (i, &r) in inv_rms.iter().enumerate() {
            let (at_row, at_weight) = (i * group, i % groups * group);
            let (x, dy, weight) = (&x[at_row..][..group], &dy[at_row..][..group], &weight[at_weight..][..group]);
            let z = z.map(|z| &z[at_row..][..group]);
            let r = V::splat(r);
            let mut along = V::splat(T::ZERO);
            each_vector!(V, group, |at, count| {
                // Lanes past the group hold zeros throughout.
                let mut hat = get::<T, V>(x, at, count).mul(r);
                let mut g = get::<T, V>(dy, at, count);
                if let Some(z) = z {
                    let (gate, slope) = math::silu_and_derivative::<T, V>(get(z, at, count));
                    gate.store(&mut gates[at..]);
                    slope.store(&mut slopes[at..]);
                    if norm_first {
                        g = g.mul(gate);
                    } else {
                        hat = hat.mul(gate);
                    }
                }
                if let Some(sums) = &mut dweight {
                    let sums = &mut sums[at_weight + at..];
                    g.fma(hat, V::load(sums)).store(sums);
                }
                g = g.mul(get(weight, at, count));
                along = g.fma(hat, along);
                hat.store(&mut hats[at..]);
                g.store(&mut inner[at..]);
            });
            let along = V::splat(along.sum() * share);
            each_vector!(V, group, |at, count| {
                let (hat, g) = (V::load(&hats[at..]), V::load(&inner[at..]));
                let mut dv = hat.neg_fma(along, g).mul(r);
                if z.is_some() {
                    let (gate, slope) = (V::load(&gates[at..]), V::load(&slopes[at..]));
                    if let Some(dz) = &mut dz {
                        let before = if norm_first {
                            hat.mul(get(weight, at, count)).mul(get(dy, at, count))
                        } else {
                            dv.mul(get(x, at, count))
                        };
                        put_over(before.mul(slope), &mut dz[at_row..], at, count);
                    }
                    if !norm_first {
                        dv = dv.mul(gate);
                    }
                }
                if let Some(dx) = &mut dx {
                    put_over(dv, &mut dx[at_row..], at, count);
                }
            });
        }
    }
}
