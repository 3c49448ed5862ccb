//! The generator and dropout as they are defined, one counter and one element at a time.

use super::philox::{MULTIPLIERS, WEYL};

/// Philox-4x32: `rounds` rounds of `counter` under `key`.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2], rounds: usize) -> [u32; 4] {
    for _ in 0..rounds {
        let p0 = u64::from(counter[0]) * MULTIPLIERS.0;
        let p1 = u64::from(counter[2]) * MULTIPLIERS.1;
        counter = [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(WEYL.0), key[1].wrapping_add(WEYL.1)];
    }
    counter
}

/// Number `i` of the sequence of `key`.
pub fn number(key: u64, i: u64) -> u32 {
    let (group, place) = (i / 64, i % 64);
    let counter = group * 16 + place % 32 / 2;
    let word = place / 32 * 2 + place % 2;
    philox([counter as u32, (counter >> 32) as u32, 0, 0], [key as u32, (key >> 32) as u32], 7)[word as usize]
}

/// x / (1 − rate) where the number is not below the rate, else 0.
pub fn dropout(key: u64, rate: f64, x: &[f64]) -> Vec<f64> {
    x.iter()
        .enumerate()
        .map(|(i, x)| if f64::from(number(key, i as u64)) / 2f64.powi(32) < rate { 0.0 } else { x / (1.0 - rate) })
        .collect()
}
