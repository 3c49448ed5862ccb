//! The selective scan.

use super::*;
use crate::kernels::device::plan::{Element, Host};
use crate::kernels::device::selective;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::selective::case::{self as selective_case, NAMES};
use crate::kernels::scan::selective::{Gradients, SelectiveScan};
use crate::kernels::testing::{cast, close, exchanged, flat, golden, wide};

/// A scan, and how many tiles its spans have.
#[derive(Clone)]
struct Case {
    of: selective_case::Case,
    span: Option<usize>,
}

impl Case {
    fn new(bounds: &[usize], sizes: [usize; 3], optional: bool, span: Option<usize>) -> Self {
        Self { of: selective_case::Case::new(bounds, sizes, optional), span }
    }

    fn run(&self, device: &mut dyn Executor) -> Result<[Vec<f32>; 11], DeviceError> {
        let owned: [Vec<f32>; 9] = std::array::from_fn(|i| cast(&self.of.inputs[i]));
        let (scan, x, initial) = self.of.views(&owned);
        let (mut out, mut last, mut starts) = (nan(x.u.len()), nan(scan.state_len()), nan(scan.starts_len()));
        let mut on = selective::OnDevice { device, span: self.span };
        on.forward(&scan, &x, initial, &mut out, Some(&mut last), Some(&mut starts))?;
        let mut to: [Vec<f32>; 9] = std::array::from_fn(|i| nan(owned[i].len()));
        let [u, delta, b, c, z, a, skip, delta_bias, first] = &mut to;
        let some = |v| self.of.optional.then_some(v);
        let gradients = Gradients {
            u: Some(u),
            delta: Some(delta),
            b: Some(b),
            c: Some(c),
            z: some(z).map(|v: &mut Vec<f32>| &mut v[..]),
            a: Some(a),
            skip: some(skip).map(|v| &mut v[..]),
            delta_bias: some(delta_bias).map(|v| &mut v[..]),
            initial: Some(first),
        };
        let (dout, dlast) = (cast::<f32>(&self.of.dout), cast::<f32>(&self.of.dlast));
        on.backward(&scan, &x, &starts, &dout, self.of.optional.then_some(&dlast[..]), gradients)?;
        if !self.of.optional {
            [4, 6, 7].into_iter().for_each(|i| to[i].clear());
        }
        let [u, delta, b, c, z, a, skip, bias, first] = to;
        Ok([out, last, u, delta, b, c, z, a, skip, bias, first])
    }
}

/// Packed and empty sequences, spans of one tile and of all, widths of no whole block, more states than a round, groups.
fn cases() -> Vec<Case> {
    vec![
        Case::new(&[0, 7, 7, 8, 150], [5, 3, 1], true, Some(1)),
        Case::new(&[0, 7, 7, 8, 150], [5, 3, 1], true, Some(9)),
        Case::new(&[0, 130], [40, 16, 2], true, None),
        Case::new(&[0, 64, 128], [16, 1, 1], false, Some(1)),
        Case::new(&[0, 65], [6, 2, 6], true, Some(1)),
        Case::new(&[0, 1], [1, 1, 1], false, None),
        Case::new(&[0, 20, 40], [70, 5, 1], true, None),
        Case::new(&[0, 200], [3, 37, 1], true, Some(2)),
        Case::new(&[0, 0], [2, 3, 1], true, Some(1)),
    ]
}

fn compare(found: &[Vec<f32>; 11], exact: &[Vec<f64>; 11], what: &str) {
    for (i, (f, e)) in found.iter().zip(exact).enumerate() {
        let name = if i < 2 { ["out", "last states"][i] } else { NAMES[i - 2] };
        close(&wide(f), e, if i < 2 { VALUES } else { GRADIENTS }, &format!("{name} of {what}"));
    }
}

fn on(device: &mut dyn Executor, span: Option<usize>) -> selective::OnDevice<'_> {
    selective::OnDevice { device, span }
}

#[test]
fn emulated_is_the_definition() {
    for case in cases() {
        let found = in_all_orders(|device| case.run(device));
        compare(
            &found,
            &case.of.exact(),
            &format!("{:?} {} x {} by {:?}", case.of.bounds, case.of.channels, case.of.states, case.span),
        );
    }
}

#[test]
fn golden_values_and_gradients() {
    let g = golden("selective_scan");
    // Arrays are (b, d, l) and (b, g, n, l); rows come first here.
    let of = |v: &serde_json::Value, name: &str| {
        let x = flat(&v[name]);
        if matches!(name, "u" | "delta" | "z" | "B" | "C" | "out" | "dout") { exchanged(&x, 2, 5) } else { x }
    };
    let names = ["u", "delta", "B", "C", "z", "A", "D", "delta_bias", "h0"];
    let mut case = Case::new(&[0, 5], [2, 2, 1], true, None);
    case.of.inputs = names.map(|n| of(&g, n));
    (case.of.dout, case.of.dlast) = (of(&g, "dout"), flat(&g["dlast_state"]));
    let found = in_all_orders(|device| case.run(device));
    let grads = names.map(|n| of(&g["grads"], n));
    let [u, delta, b, c, z, a, skip, bias, first] = grads;
    compare(&found, &[of(&g, "out"), flat(&g["last_state"]), u, delta, b, c, z, a, skip, bias, first], "the golden");
}

#[test]
fn spans_and_equal_sequences_change_rounding_alone() {
    let mut case = Case::new(&[0, 300], [3, 4, 1], true, Some(1));
    let exact = case.of.exact();
    for span in 1..=5 {
        case.span = Some(span);
        compare(&case.run(&mut Emulator::new(Order::Reverse)).unwrap(), &exact, "spans");
    }
    let case = Case::new(&[0, 20, 40, 60], [7, 3, 1], true, None);
    let owned: [Vec<f32>; 9] = std::array::from_fn(|i| cast(&case.of.inputs[i]));
    let (scan, x, initial) = case.of.views(&owned);
    let equal = SelectiveScan { sequences: Sequences::Equal { count: 3, len: 20 }, ..scan };
    let run = |scan: &SelectiveScan<'_, f32>| {
        let mut out = nan(x.u.len());
        selective::OnDevice::new(&mut Emulator::new(Order::Forward)).forward(scan, &x, initial, &mut out, None, None).unwrap();
        bits(&out)
    };
    assert_eq!(run(&scan), run(&equal));
}

#[test]
fn the_starts_of_the_cpu_serve_too() {
    let case = Case::new(&[0, 90, 200], [5, 3, 1], true, None);
    let owned: [Vec<f32>; 9] = std::array::from_fn(|i| cast(&case.of.inputs[i]));
    let (scan, x, initial) = case.of.views(&owned);
    let (mut out, mut here, mut there) = (nan(x.u.len()), nan(scan.starts_len()), nan(scan.starts_len()));
    scan.forward(&x, initial, &mut out, None, Some(&mut here));
    on(&mut Emulator::new(Order::Forward), Some(1)).forward(&scan, &x, initial, &mut out, None, Some(&mut there)).unwrap();
    close(&wide(&there), &wide(&here), 1e-6, "starts");
}

#[test]
fn bf16_is_f32_rounded() {
    let case = Case::new(&[0, 70, 100], [9, 5, 1], true, Some(1));
    let short: [Vec<u16>; 5] = std::array::from_fn(|i| to_bf16(&cast::<f32>(&case.of.inputs[i])));
    let owned: [Vec<f32>; 9] = std::array::from_fn(|i| if i < 5 { from_bf16(&short[i]) } else { cast(&case.of.inputs[i]) });
    let (scan, x, _) = case.of.views(&owned);
    let [found] = in_all_orders(|device| {
        let mut out = vec![0; x.u.len()];
        selective::forward_bf16(device, &scan, short.each_ref().map(|v| &v[..]), &mut out, case.span)?;
        Ok([from_bf16(&out)])
    });
    let mut out = nan(x.u.len());
    on(&mut Emulator::new(Order::Forward), case.span).forward(&scan, &x, None, &mut out, None, None).unwrap();
    assert_eq!(found, from_bf16(&to_bf16(&out)));
}

#[test]
fn misfits_are_errors() {
    let run = |change: fn(&mut selective_case::Case)| {
        let mut case = Case::new(&[0, 4], [2, 3, 1], true, None);
        change(&mut case.of);
        case.run(&mut Emulator::new(Order::Forward)).map(|_| ())
    };
    assert_eq!(run(|_| ()), Ok(()));
    assert!(run(|c| c.groups = 3).is_err() && run(|c| c.bounds = vec![0, 5]).is_err());
    assert!(run(|c| c.states = 2).is_err());
    // Shared memory: more states than fit.
    assert!(run(|c| *c = selective_case::Case::new(&[0, 4], [1, 300, 1], true)).is_err());
}

#[test]
fn bf16_gradients_are_those_of_f32_rounded() {
    let mut case = Case::new(&[0, 70, 100], [9, 5, 1], true, Some(1));
    let short: [Vec<u16>; 5] = std::array::from_fn(|i| to_bf16(&cast::<f32>(&case.of.inputs[i])));
    let dout = to_bf16(&cast::<f32>(&case.of.dout));
    for i in 0..5 {
        case.of.inputs[i] = wide(&from_bf16(&short[i]));
    }
    case.of.dout = wide(&from_bf16(&dout));
    let owned: [Vec<f32>; 9] = std::array::from_fn(|i| cast(&case.of.inputs[i]));
    let (scan, x, initial) = case.of.views(&owned);
    let (mut out, mut starts) = (nan(x.u.len()), nan(scan.starts_len()));
    on(&mut Emulator::new(Order::Forward), case.span).forward(&scan, &x, initial, &mut out, None, Some(&mut starts)).unwrap();
    let dlast = cast::<f32>(&case.of.dlast);
    let found = in_all_orders(|device| {
        let options = selective::Options { element: Element::Bf16, z: true, initial: true, dlast: true, span: case.span };
        let p = selective::plan_backward(&scan, options)?;
        let [mut du, mut ddelta, mut dz] = [0; 3].map(|_| vec![0; out.len()]);
        let [mut db, mut dc, mut da] = [x.b.len(), x.c.len(), scan.a.len()].map(nan);
        let mut all: Vec<_> = p.inputs.0.into_iter().zip(short.iter().map(|v| Host::ReadBf16(v))).collect();
        all.extend(p.inputs.0[5..].iter().copied().zip(owned[5..].iter().map(|v| Host::Read(v))));
        all.extend([(p.starts, Host::Read(&starts)), (p.dout, Host::ReadBf16(&dout)), (p.dlast, Host::Read(&dlast))]);
        let [pu, pdelta, pb, pc, pz, pa, ..] = p.gradients;
        all.extend([(pu, Host::WriteBf16(&mut du)), (pdelta, Host::WriteBf16(&mut ddelta)), (pz, Host::WriteBf16(&mut dz))]);
        all.extend([(pb, Host::Write(&mut db)), (pc, Host::Write(&mut dc)), (pa, Host::Write(&mut da))]);
        device.execute(&p.plan, all.into_iter().map(|(at, host)| (at.unwrap(), host)).collect())?;
        Ok([from_bf16(&du), from_bf16(&ddelta), db, dc, from_bf16(&dz), da])
    });
    let [_, _, du, ddelta, db, dc, dz, da, ..] = case.run(&mut Emulator::new(Order::Forward)).unwrap();
    let rounded = |v: &[f32]| from_bf16(&to_bf16(v));
    assert_eq!(found, [rounded(&du), rounded(&ddelta), db, dc, rounded(&dz), da]);
}

#[test]
fn sizes_at_random() {
    let mut draw = Draw::new(1000);
    for _ in 0..16 {
        let bounds = draw.bounds(180);
        let (groups, per_group, states) = (draw.size(1, 3), draw.size(1, 40), draw.size(1, 20));
        let span = if draw.flag() { None } else { Some(draw.size(1, 3)) };
        let case = Case::new(&bounds, [groups * per_group, states, groups], draw.flag(), span);
        let found = case.run(&mut draw.device()).unwrap_or_else(|e| panic!("{e}"));
        compare(&found, &case.of.exact(), &format!("{bounds:?} {groups} x {per_group} x {states} by {span:?}"));
    }
}
