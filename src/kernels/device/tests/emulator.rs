//! What the emulator finds, and what every macro means.

use super::{Emulator, nan, to_bf16};
use crate::kernels::device::args::ProbeArgs;
use crate::kernels::device::emulator::{self, Order, entries};
use crate::kernels::device::plan::{Args, DeviceError, Element, Executor, Fault, Host, Launch, Plan, Role};
use crate::kernels::testing::numbers;

/// A plan of one launch, whose buffers are named by their place.
fn one(entry: &str, [grid, block, shared]: [u32; 3], args: ProbeArgs, buffers: &[(usize, Element, Role)]) -> Plan {
    let mut plan = Plan::default();
    for (elements, element, role) in buffers {
        plan.buffers.push(super::super::plan::Buffer {
            name: "probe",
            elements: *elements,
            element: *element,
            role: role.clone(),
        });
    }
    let buffers = (0..buffers.len()).map(Some).collect();
    plan.launches.push(Launch { entry: entry.to_string(), grid, block, shared, args: args.bytes(), buffers });
    plan
}

fn inputs(len: usize) -> Vec<f32> {
    numbers(3, len).into_iter().map(|v| v as f32).collect()
}

fn fault(kind: u32, blocks: u32) -> DeviceError {
    let buffers = [(64, Element::F32, Role::Input), (64, Element::F32, Role::Output)];
    let plan = one("shoal_fault", [blocks, 64, 256], ProbeArgs { count: 1, kind }, &buffers);
    let x = inputs(64);
    Emulator::new(Order::Forward).execute(&plan, vec![(0, Host::Read(&x))]).expect_err("a fault")
}

/// The fault, its thread and the other thread.
fn found(error: DeviceError) -> (Fault, u32, Option<u32>) {
    match error {
        DeviceError::Fault { fault, thread, other, file, line, .. } => {
            assert!(line > 0 && file.ends_with("faults.cpp"), "{file}:{line}");
            (fault, thread, other.map(|o| o.0))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn mistakes_are_found_where_they_are() {
    let at = |kind| found(fault(kind, 1));
    // Threads that end while others wait.
    assert_eq!(at(0), (Fault::DivergentBarrier, 0, Some(16)));
    assert_eq!(at(1), (Fault::DivergentBarrier, 0, Some(32)));
    assert_eq!(at(2), (Fault::DifferentLines, 0, Some(32)));
    assert_eq!(at(3), (Fault::PartialWarp, 0, Some(16)));
    assert_eq!(at(4), (Fault::DifferentLines, 0, Some(16)));
    assert_eq!(at(5), (Fault::BadLane, 31, None));
    assert_eq!(at(6), (Fault::OutOfBounds, 63, None));
    assert_eq!(at(7), (Fault::OutOfBounds, 0, None));
    assert_eq!(at(8), (Fault::OutOfBounds, 63, None));
    assert_eq!(at(9), (Fault::OutOfBounds, 8, None));
    assert_eq!(at(10), (Fault::UnwrittenRead, 0, None));
    assert_eq!(at(11), (Fault::UnwrittenRead, 0, None));
    assert_eq!(found(fault(12, 2)), (Fault::Race, 1, Some(0)));
    assert_eq!(at(13), (Fault::Race, 0, Some(1)));
    assert_eq!(at(15), (Fault::Assertion, 37, None));
    assert_eq!(at(17), (Fault::UnwrittenRead, 0, None));
    assert_eq!(at(18), (Fault::Race, 1, Some(0)));
    assert_eq!(at(19), (Fault::Race, 0, Some(1)));
    let text = fault(0, 1).to_string();
    assert!(text.contains("DivergentBarrier in block 0, thread 0") && text.contains("emu/faults.cpp:"), "{text}");
    let text = fault(8, 1).to_string();
    assert!(text.contains("place 64 of 64"), "{text}");
}

#[test]
fn a_stack_that_overflows_is_found() {
    assert!(matches!(fault(16, 1), DeviceError::Fault { fault: Fault::StackOverflow, .. }));
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let try_one = |entry: &str, sizes: [u32; 3], buffers: &[(usize, Element, Role)]| {
        let plan = one(entry, sizes, ProbeArgs { count: 1, kind: 99 }, buffers);
        let x = inputs(64);
        Emulator::new(Order::Forward).execute(&plan, vec![(0, Host::Read(&x))])
    };
    let fits = [(64, Element::F32, Role::Input), (64, Element::F32, Role::Output)];
    assert_eq!(try_one("shoal_fault", [1, 64, 0], &fits), Ok(()));
    let is =
        |e: Result<(), DeviceError>, expected: Fault| matches!(e, Err(DeviceError::Fault { fault, .. }) if fault == expected);
    assert!(is(try_one("shoal_no_such", [1, 64, 0], &fits), Fault::UnknownEntry));
    for sizes in [[1, 33, 0], [1, 0, 0], [1, 2048, 0], [1, 64, 2]] {
        assert!(is(try_one("shoal_fault", sizes, &fits), Fault::BadLaunch), "{sizes:?}");
    }
    assert!(is(try_one("shoal_fault", [1, 64, 0], &fits[..1]), Fault::BadLaunch));
    let wrong = [(64, Element::F32, Role::Input), (64, Element::Bf16, Role::Output)];
    assert!(is(try_one("shoal_fault", [1, 64, 0], &wrong), Fault::BadLaunch));
    // An input of another length, or none.
    let plan = one("shoal_fault", [1, 64, 0], ProbeArgs { count: 1, kind: 99 }, &fits);
    assert!(Emulator::new(Order::Forward).execute(&plan, vec![(0, Host::Read(&[0.0; 3]))]).is_err());
    assert!(Emulator::new(Order::Forward).execute(&plan, vec![]).is_err());
}

/// Neighbours added through shared memory, with a barrier left out.
fn neighbours(order: Order, kind: u32, check_races: bool) -> Result<Vec<f32>, DeviceError> {
    let buffers = [(4 * 128, Element::F32, Role::Input), (4 * 128, Element::F32, Role::Output)];
    let plan = one("shoal_fault_neighbours", [1, 128, 512], ProbeArgs { count: 4, kind }, &buffers);
    let (x, mut out) = (inputs(512), nan(512));
    emulator::Emulator { order, check_races }.execute(&plan, vec![(0, Host::Read(&x)), (1, Host::Write(&mut out))])?;
    Ok(out)
}

#[test]
fn a_missing_barrier_is_a_race_and_shows_in_the_results() {
    let x = inputs(512);
    let right: Vec<f32> = (0..512).map(|i| x[i / 128 * 128 + (i + 64) % 128] + x[i / 128 * 128 + (i + 1) % 128]).collect();
    for order in Order::ALL {
        assert_eq!(neighbours(order, 0, true).as_ref(), Ok(&right));
        for kind in [1, 2] {
            assert!(
                matches!(neighbours(order, kind, true), Err(DeviceError::Fault { fault: Fault::Race, .. })),
                "{order:?} {kind}"
            );
        }
    }
    for kind in [1, 2] {
        let all = Order::ALL.map(|order| neighbours(order, kind, false).unwrap());
        assert!(all.iter().all(|out| *out != right), "run-ahead order shows it in every order");
        assert!(all.iter().any(|out| *out != all[0]), "and differently");
    }
}

#[test]
fn every_thread_knows_its_place() {
    let plan = one("shoal_probe_context", [3, 64, 0], ProbeArgs { count: 1, kind: 0 }, &[(6 * 192, Element::U32, Role::Output)]);
    for order in Order::ALL {
        let mut out = vec![0; 6 * 192];
        Emulator::new(order).execute(&plan, vec![(0, Host::WriteU32(&mut out))]).unwrap();
        for (i, of) in out.chunks(6).enumerate() {
            let i = i as u32;
            assert_eq!(of, [i % 64, i / 64, 64, 3, i % 32, i % 64 / 32]);
        }
    }
}

#[test]
fn shuffles_mean_what_they_say() {
    let buffers = [(128, Element::F32, Role::Input), (8 * 128, Element::F32, Role::Output)];
    let plan = one("shoal_probe_shuffles", [2, 64, 0], ProbeArgs { count: 1, kind: 0 }, &buffers);
    for order in Order::ALL {
        let (x, mut out) = (inputs(128), nan(1024));
        Emulator::new(order).execute(&plan, vec![(0, Host::Read(&x)), (1, Host::Write(&mut out))]).unwrap();
        for i in 0..128 {
            let (warp, lane) = (&x[i / 32 * 32..][..32], i % 32);
            let mut sums = warp.to_vec();
            for mask in [16, 8, 4, 2, 1] {
                sums = (0..32).map(|l| sums[l] + sums[l ^ mask]).collect();
            }
            let votes = (0..32).map(|l| u32::from(warp[l] > 0.0) << l).sum::<u32>();
            let expected = [
                warp[(lane * 7 + 3) % 32],
                warp[lane ^ 5],
                if lane >= 3 { warp[lane - 3] } else { -1.0 },
                if lane < 28 { warp[lane + 4] } else { -2.0 },
                sums[lane],
                warp.iter().fold(f32::MIN, |a, &b| a.max(b)),
                (votes & 0xFFFF) as f32,
                (votes >> 16) as f32,
            ];
            for (k, e) in expected.iter().enumerate() {
                assert_eq!(out[k * 128 + i], *e, "{k} of thread {i}");
            }
        }
    }
}

#[test]
fn shared_memory_is_of_the_block() {
    let buffers = [(256, Element::F32, Role::Input), (3 * 256, Element::F32, Role::Output)];
    let plan = one("shoal_probe_memory", [2, 128, 1024], ProbeArgs { count: 1, kind: 0 }, &buffers);
    for order in Order::ALL {
        let (x, mut out) = (inputs(256), nan(768));
        Emulator::new(order).execute(&plan, vec![(0, Host::Read(&x)), (1, Host::Write(&mut out))]).unwrap();
        for i in 0..256 {
            let mirror = i / 128 * 128 + 127 - i % 128;
            assert_eq!(out[i], x[mirror]);
            assert_eq!(out[256 + i], x[mirror] + (mirror % 4) as f32 + 0.5);
            assert_eq!(out[512 + i], -x[i ^ 16]);
        }
    }
}

#[test]
fn functions_are_accurate() {
    let x: Vec<f32> = (1..=400).map(|i| (i as f32 - 200.3) * 0.1).chain([1e-6, -1e-6, 80.0, -80.0, 1e-20]).collect();
    let n = x.len();
    let buffers = [(n, Element::F32, Role::Input), (19 * n, Element::F32, Role::Output)];
    let plan = one("shoal_probe_maths", [7, 64, 0], ProbeArgs { count: n as u32, kind: 0 }, &buffers);
    let mut out = nan(19 * n);
    Emulator::new(Order::Forward).execute(&plan, vec![(0, Host::Read(&x)), (1, Host::Write(&mut out))]).unwrap();
    for (i, &v) in x.iter().enumerate() {
        let w = f64::from(v);
        let sigmoid = 1.0 / (1.0 + (-w).exp());
        let softplus = w.max(0.0) + (-w.abs()).exp().ln_1p();
        let exact = [
            w.exp(),
            w.abs().ln(),
            w.abs().ln_1p(),
            w.abs().ln_1p(),
            w.tanh(),
            w.sin(),
            w.cos(),
            w.abs().sqrt(),
            w * w - 1.0,
            w.round_ties_even(),
            softplus,
            sigmoid,
            w * sigmoid,
            sigmoid * (1.0 + w * (1.0 - sigmoid)),
        ];
        for (k, e) in exact.iter().enumerate() {
            let found = f64::from(out[k * n + i]);
            // A few roundings; the slope of silu near its zero relative to the terms it is made of.
            let scale = if k == 13 { sigmoid * (1.0 + w.abs()) } else { e.abs() };
            assert!((found - e).abs() <= 4.0 * f64::from(f32::EPSILON) * scale + 1e-44, "{k} at {v}: {found}, not {e}");
        }
        assert!((f64::from(out[18 * n + i]) - w.exp2()).abs() <= 2.0 * f64::from(f32::EPSILON) * w.exp2(), "exp2 at {v}");
        // What rounding lost is exact.
        let low = f64::from(out[14 * n + i]);
        // In f64 the sum is exact from here on.
        if w.abs() > 1e-8 {
            assert_eq!(low, w + f64::from(1e-4f32) - f64::from(v + 1e-4));
            assert_eq!(f64::from(out[15 * n + i]), w * w - f64::from(v * v));
            let sum = f64::from(out[16 * n + i]) + f64::from(out[17 * n + i]);
            let exact = w * w + (w + f64::from(1e-4f32));
            assert!((sum - exact).abs() <= 2f64.powi(-44) * (w * w + w.abs()), "{v}: {sum}, not {exact}");
        }
    }
}

#[test]
fn short_floats_round_to_even() {
    let mut x = inputs(200);
    x.extend([
        0.0,
        -0.0,
        1e-7,
        3e-8,
        -6e-8,
        6.1e-5,
        6.09e-5,
        65504.0,
        65519.0,
        65520.0,
        1e30,
        -1e30,
        f32::INFINITY,
        f32::MIN_POSITIVE,
    ]);
    x.extend([1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), 1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), 2048.5, 3.4e38]);
    let n = x.len();
    let buffers = [
        (n, Element::F32, Role::Input),
        (n, Element::Bf16, Role::Output),
        (n, Element::Bf16, Role::Output),
        (3 * n, Element::F32, Role::Output),
    ];
    let plan = one("shoal_probe_types", [4, 64, 0], ProbeArgs { count: n as u32, kind: 0 }, &buffers);
    let (mut brain, mut half, mut out) = (vec![0u16; n], vec![0u16; n], nan(3 * n));
    let bindings =
        vec![(0, Host::Read(&x)), (1, Host::WriteBf16(&mut brain)), (2, Host::WriteBf16(&mut half)), (3, Host::Write(&mut out))];
    Emulator::new(Order::Forward).execute(&plan, bindings).unwrap();
    assert_eq!(brain, to_bf16(&x));
    for (i, &v) in x.iter().enumerate() {
        assert_eq!(out[i].to_bits(), u32::from(brain[i]) << 16);
        assert_eq!(out[2 * n + i].to_bits(), v.to_bits());
        // f16: a grid of 2^-10 of the power of two below, at least 2^-24, infinite from 65520 on.
        let w = f64::from(v.abs());
        let grid = if w > 0.0 { 2f64.powi((w.log2().floor() as i32).max(-14) - 10) } else { 1.0 };
        let expected = if w >= 65520.0 { f64::INFINITY } else { (w / grid).round_ties_even() * grid };
        assert_eq!(f64::from(out[n + i].abs()), expected, "f16 of {v}");
        assert_eq!(out[n + i].is_sign_negative(), v.is_sign_negative());
    }
}

#[test]
fn integers_are_exact() {
    let n = 100;
    let x: Vec<u32> = numbers(9, 2 * n).iter().map(|v| (v * 2e9) as i32 as u32).collect();
    let buffers = [(2 * n, Element::U32, Role::Input), (n, Element::U32, Role::Output), (1, Element::U32, Role::Output)];
    let mut plan = one("shoal_probe_integers", [2, 64, 0], ProbeArgs { count: n as u32, kind: 0 }, &buffers);
    let second = Launch { args: ProbeArgs { count: n as u32, kind: 1 }.bytes(), ..plan.launches[0].clone() };
    plan.launches.push(second);
    let odd = x[..n].iter().filter(|v| *v % 2 == 1).count() as u32;
    for order in Order::ALL {
        let (mut out, mut count) = (vec![0u32; n], [7u32]);
        let bindings = vec![(0, Host::ReadU32(&x)), (1, Host::WriteU32(&mut out)), (2, Host::WriteU32(&mut count))];
        Emulator::new(order).execute(&plan, bindings).unwrap();
        assert_eq!(count, [odd]);
        for i in 0..n {
            let dot: i32 = (0..4).map(|k| i32::from((x[i] >> (8 * k)) as i8) * i32::from((x[n + i] >> (8 * k)) as i8)).sum();
            assert_eq!(out[i] as i32, 7 + dot);
        }
    }
}

#[test]
fn all_entries_are_known() {
    let all = entries();
    assert!(all.iter().all(|e| e.starts_with("shoal_")) && all.windows(2).all(|w| w[0] != w[1]));
    assert!(all.len() > 12 && all.contains(&"shoal_conv_sums".to_string()));
}
