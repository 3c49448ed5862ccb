//! What works on maps: cross-scan and cross-merge, SS2D, state fusion.

use super::*;
use crate::kernels::scan::cross_scan::{CrossScan, Layout};
use crate::kernels::scan::ss2d::{self, Ss2d};
use crate::kernels::scan::state_fusion::{self, StateFusion};
use crate::kernels::scan::{Direction, Grid};
use crate::kernels::testing::cast;
use proptest::prelude::*;

const LAYOUTS: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];

fn nan(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

fn cross(batch: usize, channels: usize, (height, width): (usize, usize)) -> CrossScan<'static> {
    let grid = Grid { height, width };
    CrossScan { batch, channels, grid, directions: &Direction::ALL, layout: Layout::ChannelsFirst }
}

fn cross_run(of: &CrossScan<'_>, x: &[u16], ys: &[u16]) -> Found {
    let (mut xs, mut y) = (vec![NAN; of.sequences_len()], vec![NAN; of.map_len()]);
    of.scan_bf16(x, &mut xs);
    of.merge_bf16(ys, &mut y);
    Found { halves: vec![xs, y], singles: vec![] }
}

/// All layouts, and one direction, three and all.
fn cross_is_the_plain_one(whole: CrossScan<'static>) {
    for layout in LAYOUTS {
        for range in [0..1, 1..2, 2..3, 3..4, 1..4, 0..4] {
            let of = CrossScan { layout, directions: &Direction::ALL[range], ..whole };
            let (x, ys) = (wild(1, of.map_len()), wild(2, of.sequences_len()));
            let found = cross_run(&of, &x, &ys);
            let (mut xs, mut y) = (nan(ys.len()), nan(x.len()));
            // Numbers that say where they come from: bits are moved as they are, also those of NaN.
            let places: Vec<f32> = (0..x.len()).map(|i| i as f32).collect();
            of.scan(&places, &mut xs);
            let moved: Vec<u16> = xs.iter().map(|&place| x[place as usize]).collect();
            assert_eq!(found.halves[0], moved, "{of:?}");
            of.merge(&singles(&ys), &mut y);
            same(&found.halves[1], &y, &format!("merge of {of:?}"));
        }
    }
}

#[test]
fn sequences_of_maps_are_the_bits_of_the_plain_ones() {
    let shapes =
        [(1, 1, (2, 3)), (2, 3, (4, 5)), (1, 17, (1, 9)), (2, 20, (9, 1)), (3, 1, (35, 67)), (1, 5, (70, 33)), (1, 300, (8, 40))];
    for (batch, channels, shape) in shapes {
        let of = cross(batch, channels, shape);
        cross_is_the_plain_one(of);
        for layout in LAYOUTS {
            let of = CrossScan { layout, ..of };
            let (x, ys) = (made_up(1, of.map_len(), 1.0), made_up(2, of.sequences_len(), 1.0));
            changes_no_bit(|| cross_run(&of, &x, &ys));
        }
    }
    for (batch, channels, shape) in [(0, 2, (3, 4)), (1, 0, (3, 4)), (1, 2, (0, 4)), (1, 2, (3, 0))] {
        cross_is_the_plain_one(cross(batch, channels, shape));
    }
}

/// A sum of four is rounded once: one at a time, each of the small ones would be lost.
#[test]
fn a_merge_rounds_once() {
    for layout in LAYOUTS {
        let of = CrossScan { layout, ..cross(1, 1, (1, 1)) };
        // Next to 256 numbers are 2 apart, and 256 + 1 is a tie that goes down.
        let ys: Vec<u16> = [256.0, 1.0, 1.0, 1.0].map(to_bf16).into();
        let mut y = [NAN];
        of.merge_bf16(&ys, &mut y);
        assert_eq!(from_bf16(y[0]), 260.0, "{layout:?}");
    }
}

struct Fusion {
    batch: usize,
    grid: Grid,
    channels: usize,
    kernels: [Vec<f32>; 3],
    h: Vec<u16>,
    dout: Vec<u16>,
}

impl Fusion {
    fn new(batch: usize, (height, width): (usize, usize), channels: usize) -> Self {
        let len = batch * height * width * channels;
        let kernels = [2, 3, 4].map(|seed| cast(&numbers(seed, 9 * channels)));
        Self { batch, grid: Grid { height, width }, channels, kernels, h: made_up(1, len, 1.0), dout: made_up(9, len, 1.0) }
    }

    fn fusion(&self) -> StateFusion<'_, f32> {
        let [a, b, c] = &self.kernels;
        StateFusion { batch: self.batch, grid: self.grid, channels: self.channels, kernels: [a, b, c], alpha: [0.75, -1.25, 0.5] }
    }

    /// The gradients of kernels and α.
    fn slopes(&self) -> ([Vec<f32>; 3], [f32; 3]) {
        ([(); 3].map(|()| nan(9 * self.channels)), [f32::NAN; 3])
    }

    fn run(&self) -> Found {
        let (mut out, mut dh) = (vec![NAN; self.h.len()], vec![NAN; self.h.len()]);
        let (mut kernels, mut alpha) = self.slopes();
        self.fusion().forward_bf16(&self.h, &mut out);
        let places = kernels.each_mut().map(|k| Some(&mut k[..]));
        let to = state_fusion::Gradients { h: Some(&mut dh[..]), kernels: places, alpha: Some(&mut alpha) };
        self.fusion().backward_bf16(&self.h, &self.dout, to);
        Found { halves: vec![out, dh], singles: kernels.into_iter().chain([alpha.to_vec()]).collect() }
    }

    fn is_the_plain_one(&self) {
        let found = self.run();
        let (h, dout, mut out, mut dh) = (singles(&self.h), singles(&self.dout), nan(self.h.len()), nan(self.h.len()));
        let (mut kernels, mut alpha) = self.slopes();
        self.fusion().forward(&h, &mut out);
        let places = kernels.each_mut().map(|k| Some(&mut k[..]));
        self.fusion().backward(&h, &dout, state_fusion::Gradients { h: Some(&mut dh), kernels: places, alpha: Some(&mut alpha) });
        let what = format!("{} x {:?} x {}", self.batch, self.grid, self.channels);
        same(&found.halves[0], &out, &what);
        same(&found.halves[1], &dh, &what);
        for (found, plain) in found.singles.iter().zip(kernels.iter().map(|k| &k[..]).chain([&alpha[..]])) {
            same_singles(found, plain, &what);
        }
    }
}

#[test]
fn state_fusion_is_the_plain_one_rounded() {
    let shapes =
        [(1, (1, 1), 1), (2, (4, 5), 3), (1, (2, 30), 5), (3, (12, 11), 16), (1, (30, 1), 8), (2, (40, 40), 70), (0, (3, 3), 2)];
    for (batch, shape, channels) in shapes {
        let mut case = Fusion::new(batch, shape, channels);
        case.is_the_plain_one();
        changes_no_bit(|| case.run());
        (case.h, case.dout) = (wild(3, case.h.len()), wild(4, case.dout.len()));
        case.is_the_plain_one();
    }
}

struct Scan {
    batch: usize,
    grid: Grid,
    directions: &'static [Direction],
    channels: usize,
    states: usize,
    /// u, δ, B, C and dy.
    cells: [Vec<u16>; 5],
    /// A, D and the bias.
    parameters: [Vec<f32>; 3],
}

impl Scan {
    fn new(
        batch: usize,
        (height, width): (usize, usize),
        directions: &'static [Direction],
        channels: usize,
        states: usize,
    ) -> Self {
        let (cells, k) = (batch * height * width, directions.len());
        let sizes = [cells * channels, cells * k * channels, cells * k * states, cells * k * states, cells * channels];
        let cells = std::array::from_fn(|i| made_up(i as u64 + 1, sizes[i], 1.0));
        let mut parameters =
            [10, 11, 12].map(|seed| cast::<f32>(&numbers(seed, k * channels * if seed == 10 { states } else { 1 })));
        // Stable rates of different sizes.
        parameters[0].iter_mut().for_each(|a| *a = -2.0 * (*a + 1.125));
        Self { batch, grid: Grid { height, width }, directions, channels, states, cells, parameters }
    }

    fn scan(&self) -> Ss2d<'_, f32> {
        let Self { batch, grid, directions, channels, states, .. } = *self;
        let [a, skip, bias] = &self.parameters;
        Ss2d { batch, grid, directions, channels, states, a, skip: Some(skip), delta_bias: Some(bias), softplus: true }
    }

    /// y, du, dδ, dB, dC; starts, dA, dD, dbias.
    fn run(&self) -> Found {
        let [u, delta, b, c, dy] = &self.cells;
        let (scan, x) = (self.scan(), ss2d::Inputs { u, delta, b, c });
        let (mut y, mut starts) = (vec![NAN; u.len()], nan(scan.starts_len()));
        scan.forward_bf16(&x, &mut y, Some(&mut starts));
        let mut halves: [Vec<u16>; 4] = std::array::from_fn(|i| vec![NAN; self.cells[i].len()]);
        let mut others = self.parameters.each_ref().map(|p| nan(p.len()));
        {
            let ([u, delta, b, c], [a, skip, bias]) = (&mut halves, &mut others);
            let to = ss2d::Gradients {
                u: Some(&mut u[..]),
                delta: Some(delta),
                b: Some(b),
                c: Some(c),
                a: Some(&mut a[..]),
                skip: Some(skip),
                delta_bias: Some(bias),
            };
            scan.backward_bf16(&x, &starts, dy, to);
        }
        Found { halves: [y].into_iter().chain(halves).collect(), singles: [starts].into_iter().chain(others).collect() }
    }

    fn is_the_plain_one(&self) {
        let found = self.run();
        let [u, delta, b, c, dy] = self.cells.each_ref().map(|v| singles(v));
        let (scan, x) = (self.scan(), ss2d::Inputs { u: &u, delta: &delta, b: &b, c: &c });
        let (mut y, mut starts) = (nan(u.len()), nan(scan.starts_len()));
        scan.forward(&x, &mut y, Some(&mut starts));
        let mut cells: [Vec<f32>; 4] = std::array::from_fn(|i| nan(self.cells[i].len()));
        let mut others = self.parameters.each_ref().map(|p| nan(p.len()));
        {
            let ([u, delta, b, c], [a, skip, bias]) = (&mut cells, &mut others);
            let to = ss2d::Gradients {
                u: Some(u),
                delta: Some(delta),
                b: Some(b),
                c: Some(c),
                a: Some(a),
                skip: Some(skip),
                delta_bias: Some(bias),
            };
            scan.backward(&x, &starts, &dy, to);
        }
        let what = format!("{} x {:?} x {} x {}", self.batch, self.grid, self.channels, self.states);
        for (i, (found, plain)) in found.halves.iter().zip([y].iter().chain(&cells)).enumerate() {
            same(found, plain, &format!("{i} of {what}"));
        }
        for (i, (found, plain)) in found.singles.iter().zip([starts].iter().chain(&others)).enumerate() {
            same_singles(found, plain, &format!("{i} of {what}"));
        }
    }
}

#[test]
fn scans_of_maps_are_the_plain_ones_rounded() {
    let all = &Direction::ALL;
    let mut cases = vec![
        Scan::new(2, (4, 5), all, 5, 3),
        Scan::new(1, (9, 15), all, 40, 2),
        Scan::new(3, (8, 8), all, 16, 1),
        Scan::new(1, (1, 70), all, 3, 20),
        Scan::new(2, (66, 1), &all[1..2], 17, 1),
        Scan::new(1, (7, 11), &all[3..4], 22, 4),
        // Blocks of other widths than those of the plain one.
        Scan::new(24, (5, 3), &all[2..4], 300, 1),
        Scan::new(1, (1, 1), all, 1, 1),
        Scan::new(0, (2, 2), all, 3, 2),
    ];
    for case in &mut cases {
        case.is_the_plain_one();
        changes_no_bit(|| case.run());
        case.cells = std::array::from_fn(|i| wild(i as u64 + 3, case.cells[i].len()));
        case.is_the_plain_one();
    }
}

#[test]
fn single_gradients_are_those_of_all() {
    let case = Scan::new(2, (6, 13), &Direction::ALL, 40, 3);
    let all = case.run();
    let [u, delta, b, c, dy] = &case.cells;
    let x = ss2d::Inputs { u, delta, b, c };
    let back = |to: ss2d::Gradients<'_, f32, u16>| case.scan().backward_bf16(&x, &all.singles[0], dy, to);
    let mut du = vec![NAN; u.len()];
    back(ss2d::Gradients { u: Some(&mut du), ..Default::default() });
    assert_eq!(du, all.halves[1]);
    let mut dc = vec![NAN; c.len()];
    back(ss2d::Gradients { c: Some(&mut dc), ..Default::default() });
    assert_eq!(dc, all.halves[4]);
    let mut da = nan(case.parameters[0].len());
    back(ss2d::Gradients { a: Some(&mut da), ..Default::default() });
    assert_eq!(da, all.singles[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_map_is_the_plain_one(batch in 1usize..3, height in 1usize..45, width in 1usize..45, channels in 1usize..40) {
        cross_is_the_plain_one(cross(batch, channels, (height, width)));
        Fusion::new(batch, (height, width), channels).is_the_plain_one();
    }

    #[test]
    fn any_scan_of_a_map_is_the_plain_one(
        batch in 1usize..3, height in 1usize..20, width in 1usize..20, channels in 1usize..70, states in 1usize..5,
        (from, count) in (0usize..4).prop_flat_map(|from| (Just(from), 1..=4 - from)),
    ) {
        Scan::new(batch, (height, width), &Direction::ALL[from..from + count], channels, states).is_the_plain_one();
    }
}

#[test]
fn misfits_are_refused() {
    let refused = |map: usize, sequences: usize| {
        std::panic::catch_unwind(|| cross(1, 2, (3, 4)).scan_bf16(&vec![0; map], &mut vec![0; sequences])).is_err()
    };
    assert!(!refused(24, 96) && refused(23, 96) && refused(24, 95));
    let case = Fusion::new(1, (3, 4), 2);
    assert!(std::panic::catch_unwind(|| case.fusion().forward_bf16(&case.h, &mut [0; 23])).is_err());
    let case = Scan::new(1, (3, 4), &Direction::ALL, 2, 1);
    let [u, delta, b, c, _] = &case.cells;
    assert!(std::panic::catch_unwind(|| case.scan().forward_bf16(&ss2d::Inputs { u, delta, b, c }, &mut [0; 23], None)).is_err());
}
