//! Floating-point operations of one item, multiplications and additions counted apart, as the code does them.

use super::factors::Factors;
use super::{Channels, Form, Mode};

/// Forward. `entries`: numbers of M that are not zero (exact forms); `rank`: R (CP).
pub fn forward(form: Form, c: &Channels, d: usize, entries: usize, rank: usize) -> u64 {
    let [u, v, out, d, entries, rank] = [c.u, c.v, c.out, d, entries, rank].map(|n| n as u64);
    // One product channel by channel over n channels.
    let pair = |n: u64| match form {
        // Two multiplications and an addition an entry.
        Form::Exact | Form::PerEdge => 3 * entries * n,
        Form::Cp => 6 * rank * d * n + rank * n,
    };
    // One with the same y for n channels.
    let single = |n: u64| match form {
        Form::Exact => entries + 2 * entries * n,
        Form::PerEdge => 2 * entries + 2 * d * d * n,
        Form::Cp if Factors::<f64>::folds(d as usize, rank as usize, n as usize) => {
            2 * rank * d + rank * d + 2 * rank * d * d + 2 * d * d * n
        }
        Form::Cp => 2 * rank * d + rank * d + 4 * rank * d * n,
    };
    match c.mode {
        Mode::Uvu if c.v == 1 || form == Form::PerEdge => v * (single(u) + 2 * d * u) - d * u,
        Mode::Uvu => 2 * d * u * v + pair(u),
        Mode::Uvw => v * (single(u) + 2 * d * u * out),
        Mode::Uuu => d * u + pair(u),
        Mode::Uuw => pair(u) + 2 * d * u * out,
        Mode::Uvv => 2 * d * u * v + pair(v),
    }
}
