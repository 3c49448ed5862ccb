//! The causal convolution.

use super::*;
use crate::kernels::device::conv;
use crate::kernels::device::plan::{Element, Host};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::causal_conv::{CausalConv, Gradients, reference};
use crate::kernels::testing::{cast, close, exchanged, flat, golden, numbers, wide};

/// Sequences, channels, taps, silu.
fn cases() -> Vec<(Vec<usize>, usize, usize, bool)> {
    vec![
        (vec![0, 7, 7, 8, 21], 5, 4, true),
        (vec![0, 200], 3, 4, true),
        (vec![0, 64, 65, 67, 131], 17, 3, false),
        (vec![0, 9, 18], 130, 2, true),
        (vec![0, 5], 1, 1, false),
        (vec![0, 3, 40, 150], 33, 9, true),
        (vec![0, 1, 3], 2, 16, true),
        (vec![0, 0], 4, 4, true),
    ]
}

fn conv<'a, T>(bounds: &'a [usize], d: usize, k: usize, silu: bool, w: &'a [T], b: &'a [T]) -> CausalConv<'a, T> {
    CausalConv { sequences: Sequences::Packed(bounds), channels: d, taps: k, weight: w, bias: Some(b), silu }
}

#[test]
fn golden_values() {
    let g = golden("causal_conv1d");
    let of = |name: &str| flat(&g[name]);
    let (w, b) = (cast::<f32>(&of("weight")), cast::<f32>(&of("bias")));
    let x = cast::<f32>(&exchanged(&of("x"), 2, 6));
    let carried = cast::<f32>(&exchanged(&of("init_state_last3"), 2, 3));
    for (name, silu, before) in
        [("y_silu", true, None), ("y_linear", false, None), ("y_silu_with_state", true, Some(&carried[..]))]
    {
        let [y] = in_all_orders(|device| {
            let mut y = nan(12);
            conv::forward(device, &conv(&[0, 6], 2, 4, silu, &w, &b), &x, before, &mut y, None)?;
            Ok([y])
        });
        close(&wide(&y), &exchanged(&of(name), 2, 6), 1e-6, name);
    }
}

#[test]
fn emulated_is_the_definition() {
    for case in cases() {
        for given in [false, true] {
            let (bounds, d, k, silu) = &case;
            let (d, k, rows, count) = (*d, *k, bounds[bounds.len() - 1], bounds.len() - 1);
            let (w, b) = (numbers(1, d * k), numbers(2, d));
            let (x, dy) = (numbers(3, rows * d), numbers(4, rows * d));
            let (before, dafter) = (numbers(5, count * (k - 1) * d), numbers(6, count * (k - 1) * d));
            let op = conv(bounds, d, k, *silu, &w, &b);
            let op = CausalConv { bias: op.bias.filter(|_| given), ..op };
            let (y, after) = reference::forward(&op, &x, given.then_some(&before));
            let [dx, dw, db, dbefore] = reference::backward(&op, &x, given.then_some(&before), &dy, given.then_some(&dafter));
            let exact = [y, after, dx, dw, db, dbefore];
            let found = in_all_orders(|device| {
                let all = [&w, &b, &x, &dy, &before, &dafter].map(|v| cast::<f32>(v));
                let [w, b, x, dy, before, dafter] = &all;
                let op = conv(bounds, d, k, *silu, w, b);
                let op = CausalConv { bias: op.bias.filter(|_| given), ..op };
                let given = |v: &'_ Vec<f32>| given.then(|| v.clone());
                let (mut y, mut after) = (nan(x.len()), nan(before.len()));
                conv::forward(device, &op, x, given(before).as_deref(), &mut y, Some(&mut after))?;
                let (mut dx, mut dw, mut db, mut dbefore) = (nan(x.len()), nan(w.len()), nan(b.len()), nan(before.len()));
                let to = Gradients { x: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db), before: Some(&mut dbefore) };
                conv::backward(device, &op, x, given(before).as_deref(), dy, given(dafter).as_deref(), to)?;
                Ok([y, after, dx, dw, db, dbefore])
            });
            for (i, (f, e)) in found.iter().zip(&exact).enumerate() {
                close(&wide(f), e, if i < 2 { 1e-6 } else { 1e-5 }, &format!("{i} of {case:?}"));
            }
        }
    }
}

#[test]
fn bf16_is_f32_rounded() {
    let (d, k, rows) = (9, 4, 70);
    let (w, b) = (cast::<f32>(&numbers(1, d * k)), cast::<f32>(&numbers(2, d)));
    let x = to_bf16(&cast::<f32>(&numbers(3, rows * d)));
    let op = conv(&[0, 30, 70], d, k, true, &w, &b);
    let [short] = in_all_orders(|device| {
        let mut y = vec![0; rows * d];
        conv::forward_bf16(device, &op, &x, &mut y)?;
        Ok([from_bf16(&y)])
    });
    let [long] = in_all_orders(|device| {
        let mut y = nan(rows * d);
        conv::forward(device, &op, &from_bf16(&x), None, &mut y, None)?;
        Ok([y])
    });
    assert_eq!(short, from_bf16(&to_bf16(&long)));
}

#[test]
fn misfits_are_errors() {
    let run = |bounds: &[usize], k: usize, x: usize| {
        let op = conv(bounds, 2, k, true, &[0.0; 6], &[0.0; 2]);
        conv::forward(&mut Emulator::new(Order::Forward), &op, &vec![0.0; x], None, &mut vec![0.0; x], None)
    };
    assert_eq!(run(&[0, 4], 3, 8), Ok(()));
    assert!(run(&[0, 4], 3, 7).is_err() && run(&[0, 4], 2, 8).is_err() && run(&[0, 4], 17, 8).is_err());
}

#[test]
fn bf16_gradients_are_those_of_f32_rounded() {
    let (d, k, rows) = (9, 4, 70);
    let (w, b) = (cast::<f32>(&numbers(1, d * k)), cast::<f32>(&numbers(2, d)));
    let op = conv(&[0, 30, 70], d, k, true, &w, &b);
    let (x, dy) = (to_bf16(&cast::<f32>(&numbers(3, rows * d))), to_bf16(&cast::<f32>(&numbers(4, rows * d))));
    let [short, dw_short] = in_all_orders(|device| {
        let p = conv::plan_backward(&op, Element::Bf16, false, false)?;
        let (mut dx, mut dw) = (vec![0; rows * d], nan(w.len()));
        let inputs =
            [(p.x, Host::ReadBf16(&x)), (p.weight, Host::Read(&w)), (p.bias, Host::Read(&b)), (p.dy, Host::ReadBf16(&dy))];
        let outputs = [(p.dx, Host::WriteBf16(&mut dx)), (p.dweight, Host::Write(&mut dw))];
        device.execute(&p.plan, inputs.into_iter().chain(outputs).map(|(at, host)| (at.unwrap(), host)).collect())?;
        Ok([from_bf16(&dx), dw])
    });
    let (mut dx, mut dw) = (nan(rows * d), nan(w.len()));
    let to = Gradients { x: Some(&mut dx), weight: Some(&mut dw), ..Gradients::default() };
    conv::backward(&mut Emulator::new(Order::Forward), &op, &from_bf16(&x), None, &from_bf16(&dy), None, to).unwrap();
    assert_eq!(short, from_bf16(&to_bf16(&dx)));
    assert_eq!(dw_short, dw);
}

#[test]
fn sizes_at_random() {
    let mut draw = Draw::new(4000);
    for _ in 0..16 {
        let (bounds, d, k, silu) = (draw.bounds(200), draw.size(1, 140), draw.size(1, 16), draw.flag());
        let (rows, count) = (bounds[bounds.len() - 1], bounds.len() - 1);
        let (w, b, x, dy) = (numbers(1, d * k), numbers(2, d), numbers(3, rows * d), numbers(4, rows * d));
        let (before, dafter) = (numbers(5, count * (k - 1) * d), numbers(6, count * (k - 1) * d));
        let op = conv(&bounds, d, k, silu, &w, &b);
        let (y, after) = reference::forward(&op, &x, Some(&before));
        let [dx, dw, db, dbefore] = reference::backward(&op, &x, Some(&before), &dy, Some(&dafter));
        let [w, b, x, dy, before, dafter] = [&w, &b, &x, &dy, &before, &dafter].map(|v| cast::<f32>(v));
        let op = conv(&bounds, d, k, silu, &w, &b);
        let mut found = [&x, &before, &x, &w, &b, &before].map(|v| nan(v.len()));
        let [fy, fafter, fdx, fdw, fdb, fdbefore] = &mut found;
        let mut device = draw.device();
        conv::forward(&mut device, &op, &x, Some(&before), fy, Some(fafter)).unwrap_or_else(|e| panic!("{e}"));
        let to = Gradients { x: Some(fdx), weight: Some(fdw), bias: Some(fdb), before: Some(fdbefore) };
        conv::backward(&mut device, &op, &x, Some(&before), &dy, Some(&dafter), to).unwrap_or_else(|e| panic!("{e}"));
        for (i, (f, e)) in found.iter().zip([y, after, dx, dw, db, dbefore]).enumerate() {
            close(&wide(f), &e, if i < 2 { 1e-6 } else { 1e-5 }, &format!("{i} of {bounds:?} {d} x {k}"));
        }
    }
}
