//! What follows the scan: the direct path, the norm, the gate, and the sum over ranks.

use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, math};

/// The parameters of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate<'a, T> {
    pub rank: usize,
    pub width: usize,
    /// D.
    pub skip: T,
    /// (rank, width).
    pub mix_z: Option<&'a [T]>,
    /// (rank, width).
    pub mix_out: Option<&'a [T]>,
    /// (width).
    pub norm: Option<&'a [T]>,
    pub eps: T,
}

impl<T: Real> Gate<'_, T> {
    /// 1 / √(mean of squares + eps).
    #[inline(always)]
    fn inverse(&self, squares: T) -> T {
        T::ONE / (squares / T::from_f64(self.width as f64) + self.eps).sqrt()
    }

    /// Adds D·v to the row o and gives the factor of its norm.
    #[inline(always)]
    fn finish<V: Lanes<T>>(&self, v: &[T], o: &mut [T]) -> T {
        let (skip, mut squares) = (V::splat(self.skip), V::splat(T::ZERO));
        each_vector!(V, self.width, |at, count| {
            let x = skip.fma(get(v, at, count), get(o, at, count));
            squares = x.fma(x, squares);
            put(x, o, at, count);
        });
        if self.norm.is_some() { self.inverse(squares.sum()) } else { T::ONE }
    }
}

/// From rows o and v (steps · rank, width) the result (steps, width).
pub(super) struct Forward<'a, T> {
    pub gate: Gate<'a, T>,
    pub v: &'a [T],
    /// D·v is added.
    pub o: &'a mut [T],
    pub z: Option<&'a [T]>,
    pub out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { gate, v, o, z, out } = self;
        let p = gate.width;
        for (row, (v, o)) in v.chunks_exact(p).zip(o.chunks_exact_mut(p)).enumerate() {
            let inverse = V::splat(gate.finish::<V>(v, o));
            let (t, r) = (row / gate.rank, row % gate.rank);
            let z = z.map(|z| &z[t * p..][..p]);
            let out = &mut out[t * p..][..p];
            each_vector!(V, p, |at, count| {
                let mut y = get::<T, V>(o, at, count);
                if let Some(norm) = gate.norm {
                    y = y.mul(inverse).mul(get(norm, at, count));
                }
                if let Some(z) = z {
                    let mut z = get::<T, V>(z, at, count);
                    if let Some(mix) = gate.mix_z {
                        z = z.mul(get(mix, r * p + at, count));
                    }
                    y = y.mul(math::silu::<T, V>(z));
                }
                if let Some(mix) = gate.mix_out {
                    y = y.mul(get(mix, r * p + at, count));
                }
                if r > 0 {
                    y = y.add(get(out, at, count));
                }
                put(y, out, at, count);
            });
        }
    }
}

/// The way back. The gradients of parameters are added, those of z and o written; that of v is D times that of o.
pub(super) struct Backward<'a, T> {
    pub gate: Gate<'a, T>,
    pub v: &'a [T],
    /// D·v is added.
    pub o: &'a mut [T],
    pub z: Option<&'a [T]>,
    /// (steps, width), as z.
    pub dout: &'a [T],
    pub d_o: &'a mut [T],
    /// (steps, width); zeros without a gate.
    pub dz: &'a mut [T],
    pub dskip: &'a mut T,
    /// (rank, width).
    pub dmix_z: &'a mut [T],
    pub dmix_out: &'a mut [T],
    /// (width).
    pub dnorm: &'a mut [T],
}

#[inline(always)]
fn more<T: Real, V: Lanes<T>>(a: V, b: V, to: &mut [T], at: usize, count: usize) {
    put(a.fma(b, get::<T, V>(to, at, count)), to, at, count);
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { gate, v, o, z, dout, d_o, dz, dskip, dmix_z, dmix_out, dnorm } = self;
        let (p, zero) = (gate.width, V::splat(T::ZERO));
        let share = T::ONE / T::from_f64(p as f64);
        let mut skips = zero;
        dz.fill(T::ZERO);
        for (row, ((v, o), d_o)) in v.chunks_exact(p).zip(o.chunks_exact_mut(p)).zip(d_o.chunks_exact_mut(p)).enumerate() {
            let scale = gate.finish::<V>(v, o);
            let inverse = V::splat(scale);
            let (t, r) = (row / gate.rank, row % gate.rank);
            let z = z.map(|z| &z[t * p..][..p]);
            let (dout, dz) = (&dout[t * p..][..p], &mut dz[t * p..][..p]);
            let mut products = zero;
            each_vector!(V, p, |at, count| {
                let g = get::<T, V>(dout, at, count);
                let x = get::<T, V>(o, at, count).mul(inverse);
                let y = if let Some(norm) = gate.norm { x.mul(get(norm, at, count)) } else { x };
                let mut to_gated = g;
                if let Some(mix) = gate.mix_out {
                    to_gated = g.mul(get(mix, r * p + at, count));
                }
                let mut to_y = to_gated;
                let mut gated = y;
                if let Some(z) = z {
                    let raw = get::<T, V>(z, at, count);
                    let mix = gate.mix_z.map(|mix| get::<T, V>(mix, r * p + at, count));
                    let (value, slope) = math::silu_and_derivative::<T, V>(if let Some(mix) = mix { raw.mul(mix) } else { raw });
                    let d = to_gated.mul(y).mul(slope);
                    (to_y, gated) = (to_gated.mul(value), y.mul(value));
                    if let Some(mix) = mix {
                        more(d, mix, dz, at, count);
                        more(d, raw, dmix_z, r * p + at, count);
                    } else {
                        put(d.add(get(dz, at, count)), dz, at, count);
                    }
                }
                if gate.mix_out.is_some() {
                    more(g, gated, dmix_out, r * p + at, count);
                }
                let mut d = to_y;
                if let Some(norm) = gate.norm {
                    more(to_y, x, dnorm, at, count);
                    d = to_y.mul(get(norm, at, count));
                    products = d.fma(x, products);
                }
                put(d, d_o, at, count);
            });
            let mean = V::splat(if gate.norm.is_some() { products.sum() * share } else { T::ZERO });
            each_vector!(V, p, |at, count| {
                let mut d = get::<T, V>(d_o, at, count);
                if gate.norm.is_some() {
                    let x = get::<T, V>(o, at, count).mul(inverse);
                    d = mean.neg_fma(x, d).mul(inverse);
                    put(d, d_o, at, count);
                }
                skips = d.fma(get(v, at, count), skips);
            });
        }
        *dskip += skips.sum();
    }
}
