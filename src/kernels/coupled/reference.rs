//! The products by their definition, every sum written out: the oracle of the fast forms.

use super::{Channels, Mode, Operands};

/// out (batch, d, outputs) for a tensor `m` of (d, d, d): the entries of M, or those of a CP form.
pub fn forward(m: &[f64], d: usize, c: &Channels, from: Operands<'_, f64>, out: &mut [f64]) {
    let (u, v, o) = (c.u, c.v, c.out);
    for (b, out) in out.chunks_exact_mut(d * o).enumerate() {
        out.fill(0.0);
        let w = &from.w[b * c.weights()..][..c.weights()];
        for i in 0..d {
            for j in 0..d {
                for k in 0..d {
                    let value = m[(i * d + j) * d + k];
                    if value == 0.0 {
                        continue;
                    }
                    for p in 0..u {
                        for q in 0..v {
                            let term = value * from.x[(b * d + i) * u + p] * from.y[(b * d + j) * v + q];
                            match c.mode {
                                Mode::Uvu => out[k * o + p] += term * w[p * v + q],
                                Mode::Uvv => out[k * o + q] += term * w[p * v + q],
                                Mode::Uuu if p == q => out[k * o + p] += term * w[p],
                                Mode::Uuw if p == q => (0..o).for_each(|r| out[k * o + r] += term * w[p * o + r]),
                                Mode::Uvw => (0..o).for_each(|r| out[k * o + r] += term * w[(p * v + q) * o + r]),
                                Mode::Uuu | Mode::Uuw => {}
                            }
                        }
                    }
                }
            }
        }
    }
}
