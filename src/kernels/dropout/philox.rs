//! The numbers: Philox 4×32, a counter-based generator.

/// Numbers drawn at once: 16 counters of 4 numbers.
pub const GROUP: usize = 64;

/// Counters side by side.
const WIDTH: usize = GROUP / 4;

/// The published design passes every statistical battery from 7 rounds on.
const ROUNDS: usize = 7;

pub(super) const MULTIPLIERS: (u64, u64) = (0xD251_1F53, 0xCD9E_8D57);
pub(super) const WEYL: (u32, u32) = (0x9E37_79B9, 0xBB67_AE85);
const LOW: u64 = 0xFFFF_FFFF;

/// Numbers 64·`index` … 64·`index` + 63 of the sequence of `key`, each uniform on 32 bits.
///
/// Counter c = 16·`index` + l (l < 16) gives four words; they are numbers 2l, 2l + 1, 32 + 2l and 33 + 2l of the group. Words live in
/// 64-bit lanes so that a product needs no shuffling.
///
/// Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3"; Philox-4x32-7, key = low and high half of `key`,
/// counter = (low, high half of c, 0, 0).
#[inline(always)]
pub fn group(key: u64, index: u64) -> [u32; GROUP] {
    let base = index.wrapping_mul(WIDTH as u64);
    // 16 divides the counters' base, so their low words never carry.
    let mut c0: [u64; WIDTH] = std::array::from_fn(|l| (base & LOW) | l as u64);
    let mut c1 = [base >> 32; WIDTH];
    let mut c2 = [0u64; WIDTH];
    let mut c3 = [0u64; WIDTH];
    let (mut k0, mut k1) = (key as u32, (key >> 32) as u32);
    for _ in 0..ROUNDS {
        for l in 0..WIDTH {
            // Only the low halves of the lanes count; high halves may hold anything.
            let p0 = (c0[l] & LOW) * MULTIPLIERS.0;
            let p1 = (c2[l] & LOW) * MULTIPLIERS.1;
            c0[l] = (p1 >> 32) ^ c1[l] ^ u64::from(k0);
            c1[l] = p1;
            c2[l] = (p0 >> 32) ^ c3[l] ^ u64::from(k1);
            c3[l] = p0;
        }
        k0 = k0.wrapping_add(WEYL.0);
        k1 = k1.wrapping_add(WEYL.1);
    }
    let mut numbers = [0; GROUP];
    for l in 0..WIDTH {
        numbers[2 * l] = c0[l] as u32;
        numbers[2 * l + 1] = c1[l] as u32;
        numbers[2 * WIDTH + 2 * l] = c2[l] as u32;
        numbers[2 * WIDTH + 2 * l + 1] = c3[l] as u32;
    }
    numbers
}
