//! The scan of Mamba-2.

use super::*;
use crate::kernels::device::ssd;
use crate::kernels::scan::ssd::case::{self as ssd_case, Data};
use crate::kernels::scan::ssd::{Gradients, Inputs};
use crate::kernels::testing::{cast, close, flat, golden, wide};

/// A scan, its numbers, and whether states are given.
#[derive(Clone)]
struct Case {
    of: ssd_case::Case,
    given: bool,
    data: Data,
}

const NAMES: [&str; 9] = ["y", "last", "x", "dt", "b", "c", "a", "D", "h0"];

fn case(bounds: &[usize], sizes: [usize; 4], chunk: usize, skip: usize, given: bool) -> Case {
    let of = ssd_case::case(bounds, sizes, chunk, skip);
    let data = ssd_case::data(&of);
    Case { of, given, data }
}

impl Case {
    fn exact(&self) -> [Vec<f64>; 9] {
        self.of.exact(&self.data, self.given)
    }

    fn run(&self, device: &mut dyn Executor) -> Result<[Vec<f32>; 9], DeviceError> {
        let data = self.data.each_ref().map(|v| cast::<f32>(v));
        let [x, dt, b, c, a, d, h0, dy, dlast] = &data;
        let (op, x) = (self.of.scan(a, d), Inputs { x, dt, b, c });
        let given = |v| self.given.then_some(v);
        let (mut y, mut last) = (nan(x.x.len()), nan(h0.len()));
        ssd::forward(device, &op, &x, given(&h0[..]), &mut y, Some(&mut last))?;
        let mut to: [Vec<f32>; 7] = std::array::from_fn(|i| nan(data[i].len()));
        let [gx, gdt, gb, gc, ga, gd, gh] = &mut to;
        let skip = (self.of.skip > 0).then_some(&mut gd[..]);
        let gradients = Gradients { x: Some(gx), dt: Some(gdt), b: Some(gb), c: Some(gc), a: Some(ga), skip, initial: Some(gh) };
        ssd::backward(device, &op, &x, given(&h0[..]), dy, given(&dlast[..]), gradients)?;
        let [gx, gdt, gb, gc, ga, gd, gh] = to;
        Ok([y, last, gx, gdt, gb, gc, ga, gd, gh])
    }
}

fn compare(found: &[Vec<f32>; 9], exact: &[Vec<f64>; 9], what: &str) {
    for (i, (f, e)) in found.iter().zip(exact).enumerate() {
        close(&wide(f), e, if i < 2 { VALUES } else { GRADIENTS }, &format!("{} of {what}", NAMES[i]));
    }
}

/// Packed sequences with empty ones, a single row, widths of no whole tile and of more than one, several groups, chunks from one step to
/// more than a tile has.
fn cases() -> Vec<Case> {
    vec![
        case(&[0, 0, 13, 13, 14, 37, 37], [4, 5, 2, 3], 7, 5, true),
        case(&[0, 1], [1, 1, 1, 1], 64, 1, false),
        case(&[0, 20], [2, 3, 1, 4], 1, 1, true),
        case(&[0, 67, 70], [3, 17, 3, 19], 64, 0, true),
        case(&[0, 90], [3, 16, 1, 16], 256, 1, false),
        case(&[0, 33, 33], [2, 4, 1, 70], 20, 4, true),
        case(&[0, 21], [1, 66, 1, 3], 16, 1, true),
        case(&[0, 0], [2, 3, 1, 2], 16, 1, true),
    ]
}

#[test]
fn emulated_is_the_definition() {
    for case in cases() {
        let found = in_all_orders(|device| case.run(device));
        let what =
            format!("{:?} {} x {} x {} by {}", case.of.bounds, case.of.heads, case.of.width, case.of.states, case.of.chunk);
        compare(&found, &case.exact(), &what);
    }
}

#[test]
fn the_worked_example_comes_out() {
    let json = golden("ssd");
    let mut case = case(&[0, 8], [2, 2, 1, 3], 4, 1, true);
    case.data = ["X", "dt", "B", "C", "A", "D", "h0", "dY", "dfinal_state"].map(|name| flat(&json[name]));
    let grads = ["X", "dt", "B", "C", "A", "D", "h0"].map(|name| flat(&json["grads"][name]));
    let [x, dt, b, c, a, d, h0] = grads;
    let exact = [flat(&json["Y"]), flat(&json["final_state"]), x, dt, b, c, a, d, h0];
    for chunk in [1, 3, 4, 64] {
        case.of.chunk = chunk;
        compare(&in_all_orders(|device| case.run(device)), &exact, "the golden");
    }
}

#[test]
fn misfits_are_errors() {
    let run = |change: fn(&mut Case)| {
        let mut case = case(&[0, 4], [2, 3, 1, 2], 4, 1, true);
        change(&mut case);
        case.run(&mut Emulator::new(Order::Forward)).map(|_| ())
    };
    assert_eq!(run(|_| ()), Ok(()));
    assert!(run(|c| c.of.groups = 3).is_err() && run(|c| c.of.bounds = vec![0, 5]).is_err() && run(|c| c.of.chunk = 0).is_err());
    assert!(run(|c| c.of.skip = 2).is_err() && run(|c| c.of.states = 3).is_err());
}

#[test]
fn sizes_at_random() {
    let mut draw = Draw::new(2000);
    for _ in 0..16 {
        let bounds = draw.bounds(120);
        let (groups, per_group) = (draw.size(1, 3), draw.size(1, 3));
        let (width, states) = (draw.size(1, 24), draw.size(1, 24));
        let skip = [0, 1, width][draw.size(0, 2)];
        let case = case(&bounds, [groups * per_group, width, groups, states], draw.size(1, 80), skip, draw.flag());
        let found = case.run(&mut draw.device()).unwrap_or_else(|e| panic!("{e}"));
        let what = format!("{bounds:?} {groups} x {per_group} heads, {width} x {states} by {}", case.of.chunk);
        compare(&found, &case.exact(), &what);
    }
}
