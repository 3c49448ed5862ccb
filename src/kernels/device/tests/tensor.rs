//! Products of tensors, dense and sparse.

use super::*;
use crate::kernels::device::tensor::{MOST_MODES, mttkrp, sparse, ttm};
use crate::kernels::gemm::MatRef;
use crate::kernels::mttkrp as cpu;
use crate::kernels::mttkrp::tests::close;
use crate::kernels::testing::{cast, numbers, wide};
use crate::kernels::ttm::reference as products;
use crate::kernels::ttm::{ttm_all, ttmc};

fn factors(seed: u64, shape: &[usize], rank: usize) -> Vec<Vec<f32>> {
    shape.iter().enumerate().map(|(m, &size)| cast(&numbers(seed + m as u64, size * rank))).collect()
}

fn slices<T>(lists: &[Vec<T>]) -> Vec<&[T]> {
    lists.iter().map(Vec::as_slice).collect()
}

/// Shapes and ranks. All three tiles, several of them, parts of long sums before both kinds of row dot, one-element modes, orders from 1 to
/// 20 (where fewer rows than usual are looked up at a time).
fn dense() -> Vec<(Vec<usize>, usize)> {
    let many = (0..20).map(|m| 1 + m % 3 % 2).collect();
    vec![
        (vec![7], 3),
        (vec![5, 3], 1),
        (vec![1, 1, 1], 2),
        (vec![3, 1, 5], 4),
        (vec![4, 17, 9], 17),
        (vec![150, 3, 4], 5),
        (vec![2, 70, 3], 20),
        (vec![2, 600, 3], 7),
        (vec![3, 4, 700], 6),
        (vec![700, 3, 4], 20),
        (vec![9, 8, 7], 70),
        (vec![3, 4, 5, 6, 7], 9),
        (vec![2; 10], 3),
        (many, 2),
    ]
}

#[test]
fn a_dense_mttkrp_is_the_definition() {
    for (shape, rank) in dense() {
        let x: Vec<f32> = cast(&numbers(1, shape.iter().product()));
        let u = factors(2, &shape, rank);
        for mode in 0..shape.len().min(4) {
            let what = format!("{shape:?} rank {rank} mode {mode}");
            let want = cpu::reference::mttkrp(&x, &shape, &slices(&u), rank, mode);
            let [found] = in_all_orders(|device| {
                let mut out = nan(want.len());
                mttkrp::forward(device, &x, &shape, &slices(&u), rank, mode, &mut out)?;
                Ok([out])
            });
            close(&found, &want, x.len() / shape[mode], shape.len(), &what);
            let mut host = nan(want.len());
            cpu::mttkrp(&x, &shape, &slices(&u), rank, mode, &mut host);
            close(&host, &want, x.len() / shape[mode], shape.len(), &what);
        }
    }
}

/// Gradients of x and of all factors but the mode's.
fn gradients(
    device: &mut dyn Executor,
    (x, shape): (&[f32], &[usize]),
    u: &[Vec<f32>],
    rank: usize,
    mode: usize,
    dw: &[f32],
) -> Result<(Vec<f32>, Vec<Vec<f32>>), DeviceError> {
    let mut dx = nan(x.len());
    let mut du: Vec<Vec<f32>> = u.iter().map(|u| nan(u.len())).collect();
    let mut to: Vec<Option<&mut [f32]>> = du.iter_mut().map(|d| Some(&mut d[..])).collect();
    to[mode] = None;
    mttkrp::backward(device, x, shape, &slices(u), rank, mode, dw, Some(&mut dx), &mut to)?;
    Ok((dx, du))
}

#[test]
fn gradients_of_a_dense_mttkrp_are_the_definition() {
    for (shape, rank) in dense().into_iter().filter(|(shape, _)| shape.len() < 6) {
        let (x, u): (Vec<f32>, _) = (cast(&numbers(1, shape.iter().product())), factors(2, &shape, rank));
        for mode in 0..shape.len().min(3) {
            let dw: Vec<f32> = cast(&numbers(9, shape[mode] * rank));
            let mut with = slices(&u);
            with[mode] = &dw;
            let [found] = in_all_orders(|device| {
                let (dx, du) = gradients(device, (&x, &shape), &u, rank, mode, &dw)?;
                Ok([[vec![dx], du].concat().concat()])
            });
            let (dx, rest) = found.split_at(x.len());
            let what = format!("{shape:?} rank {rank} mode {mode}");
            close(dx, &cpu::reference::kruskal(&shape, None, &with, rank), rank, shape.len(), &format!("dX {what}"));
            let mut at = 0;
            for m in 0..shape.len() {
                let own = &rest[at..at + u[m].len()];
                at += own.len();
                if m != mode {
                    let want = cpu::reference::mttkrp(&x, &shape, &with, rank, m);
                    close(own, &want, x.len() / shape[m], shape.len(), &format!("dU{m} {what}"));
                }
            }
        }
    }
}

/// Only what is wanted is computed, to the same bits.
#[test]
fn gradients_come_alone() {
    let (shape, rank, mode) = ([4usize, 5, 6], 3, 1);
    let (x, u): (Vec<f32>, _) = (cast(&numbers(1, 120)), factors(2, &shape, rank));
    let dw: Vec<f32> = cast(&numbers(9, 15));
    let device = &mut Emulator::new(Order::Forward);
    let (dx, du) = gradients(device, (&x, &shape), &u, rank, mode, &dw).unwrap();
    let mut alone = nan(u[2].len());
    mttkrp::backward(device, &x, &shape, &slices(&u), rank, mode, &dw, None, &mut [None, None, Some(&mut alone)]).unwrap();
    assert_eq!(bits(&alone), bits(&du[2]));
    let mut alone = nan(x.len());
    mttkrp::backward(device, &x, &shape, &slices(&u), rank, mode, &dw, Some(&mut alone), &mut [None, None, None]).unwrap();
    assert_eq!(bits(&alone), bits(&dx));
    assert_eq!(mttkrp::plan_backward(&shape, rank, mode, false, &[false; 3]).unwrap().plan.launches, vec![]);
}

#[test]
fn tensors_without_numbers_give_zeros() {
    let device = &mut Emulator::new(Order::Forward);
    for (shape, mode) in [(vec![3, 0, 2], 0), (vec![0, 3], 1), (vec![2, 3, 0, 2], 1)] {
        let u = factors(1, &shape, 2);
        let mut out = nan(2 * shape[mode]);
        mttkrp::forward(device, &[], &shape, &slices(&u), 2, mode, &mut out).unwrap();
        assert!(out.iter().all(|v| *v == 0.0), "{shape:?}");
        let (m, rows) = (cast::<f32>(&numbers(1, 2 * shape[mode])), 2);
        let size: usize = shape.iter().enumerate().map(|(k, &n)| if k == mode { rows } else { n }).product();
        ttm::forward(device, &[], &shape, (&m, rows), mode, &mut nan(size)).unwrap();
        let mut dm = nan(m.len());
        ttm::backward(device, &[], &shape, (&m, rows), mode, &[], None, Some(&mut dm)).unwrap();
        assert!(dm.iter().all(|v| *v == 0.0), "{shape:?}");
    }
    // Along an empty mode: sums of nothing.
    let mut out = nan(6);
    ttm::forward(device, &[], &[2, 0], (&[], 3), 1, &mut out).unwrap();
    assert_eq!(out, [0.0; 6]);
    mttkrp::forward(device, &[1.0; 6], &[2, 3], &[&[], &[]], 0, 0, &mut []).unwrap();
}

/// Coordinates: mode m has indices of the power law `size · x^skew`, so that a few rows hold most nonzeros.
fn coordinates(seed: u64, shape: &[usize], count: usize, skew: i32) -> Vec<Vec<u32>> {
    let list = |(m, &size): (usize, &usize)| {
        let draw = |x: f64| ((x.abs().powi(skew) * size as f64) as usize).min(size - 1) as u32;
        numbers(seed * 31 + m as u64, count).into_iter().map(draw).collect()
    };
    shape.iter().enumerate().map(list).collect()
}

/// A run on one device.
type Run<'a> = &'a dyn Fn(&mut dyn Executor) -> Result<[Vec<f32>; 1], DeviceError>;

fn all_orders(run: Run<'_>) -> [Vec<f32>; 1] {
    in_all_orders(run)
}

fn check_sparse(device: impl Fn(Run<'_>) -> [Vec<f32>; 1], shape: &[usize], indices: &[Vec<u32>], rank: usize) {
    let count = indices[0].len();
    let (values, u): (Vec<f32>, _) = (cast(&numbers(5, count)), factors(6, shape, rank));
    for mode in 0..shape.len() {
        let what = format!("{shape:?} {count} nonzeros, rank {rank}, mode {mode}");
        let want = cpu::reference::sparse((shape, indices, &values), &slices(&u), rank, mode);
        let sorted = sparse::Sorted::new(shape, &slices(indices), mode).unwrap();
        let [found] = device(&|device| {
            let mut out = nan(want.len());
            sparse::forward(device, &sorted, &values, &slices(&u), rank, &mut out)?;
            Ok([out])
        });
        close(&found, &want, count, shape.len(), &what);
        // Rows of empty slices are zeros, not small numbers.
        let empty = |i: usize| !indices[mode].contains(&(i as u32));
        assert!(
            (0..shape[mode]).filter(|&i| empty(i)).all(|i| found[i * rank..(i + 1) * rank].iter().all(|v| *v == 0.0)),
            "{what}"
        );
    }
}

#[test]
fn a_sparse_mttkrp_is_the_definition() {
    for (shape, count, skew, rank) in [
        (vec![5, 6, 7], 200, 1, 3),
        // A few long rows over many stretches, and most slices empty.
        (vec![300, 40, 2], 900, 4, 5),
        // One row with all: three levels of heads.
        (vec![1, 900, 3], 9000, 1, 1),
        (vec![1], 40, 1, 33),
        (vec![6, 7], 16, 1, 16),
        (vec![6, 7], 17, 1, 70),
        (vec![3, 4, 2, 5, 3], 300, 2, 2),
        (vec![4, 5], 1, 1, 4),
        (vec![4, 5, 3], 0, 1, 4),
        (vec![2; 12], 100, 1, 6),
    ] {
        check_sparse(all_orders, &shape, &coordinates(3, &shape, count, skew), rank);
    }
    // Rows that end where stretches of 16 do, rows of one nonzero, and one that fills stretches exactly.
    let lengths = [16usize, 1, 15, 32, 33, 47, 1, 1, 2, 28, 80, 512];
    let rows: Vec<u32> = lengths.iter().enumerate().flat_map(|(i, &n)| vec![2 * i as u32; n]).collect();
    let others = coordinates(8, &[9], rows.len(), 1).remove(0);
    check_sparse(all_orders, &[25, 9], &[rows, others], 3);
}

#[test]
fn the_dense_and_the_sparse_form_agree_with_the_cpu() {
    let (shape, rank) = ([5usize, 4, 3, 6], 6);
    let x: Vec<f32> = cast(&numbers(1, 360));
    let mut indices = vec![Vec::new(); 4];
    cpu::reference::each_entry(&shape, |_, index| index.iter().zip(&mut indices).for_each(|(&i, to)| to.push(i as u32)));
    let u = factors(2, &shape, rank);
    let plan = cpu::sparse::SparsePlan::new(&shape, indices.clone(), x.clone());
    let device = &mut Emulator::new(Order::Shuffled(7));
    for mode in 0..4 {
        let want = cpu::reference::mttkrp(&x, &shape, &slices(&u), rank, mode);
        let mut found = [nan(want.len()), nan(want.len()), nan(want.len())];
        plan.mttkrp(&slices(&u), rank, mode, &mut found[0]);
        mttkrp::forward(device, &x, &shape, &slices(&u), rank, mode, &mut found[1]).unwrap();
        let sorted = sparse::Sorted::new(&shape, &slices(&indices), mode).unwrap();
        sparse::forward(device, &sorted, &x, &slices(&u), rank, &mut found[2]).unwrap();
        found.iter().for_each(|found| close(found, &want, 360, 4, "a full tensor"));
    }
}

/// specs/tensor.md, 1.3: numbers computed apart from this program.
#[test]
fn the_table_of_a_small_tensor() {
    let Some(path) = crate::testing::shared("splatt/small4.tns") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    let rows: Vec<Vec<f32>> = lines.map(|l| l.split_whitespace().map(|v| v.parse().unwrap()).collect()).collect();
    let shape = [2usize, 2, 3, 3];
    let indices: Vec<Vec<u32>> = (0..4).map(|m| rows.iter().map(|r| r[m] as u32 - 1).collect()).collect();
    let values: Vec<f32> = rows.iter().map(|r| r[4]).collect();
    let u: Vec<Vec<f32>> = shape.iter().map(|&n| (0..n * 2).map(|k| (2 * (k / 2) + k % 2 + 1) as f32 / 10.0).collect()).collect();
    let want: [&[f64]; 4] = [
        &[0.067, 0.24, 0.256, 0.656],
        &[0.115, 0.448, 0.24, 0.552],
        &[0.093, 0.336, 0.019, 0.104, 0.137, 0.336],
        &[0.07, 0.288, 0.24, 0.56, 0.009, 0.048],
    ];
    for mode in 0..4 {
        let sorted = sparse::Sorted::new(&shape, &slices(&indices), mode).unwrap();
        let [found] = in_all_orders(|device| {
            let mut out = nan(want[mode].len());
            sparse::forward(device, &sorted, &values, &slices(&u), 2, &mut out)?;
            Ok([out])
        });
        // Eight terms of four numbers below 1, each of them rounded: some twenty roundings of 6e-8.
        wide(&found).iter().zip(want[mode]).for_each(|(f, w)| assert!((f - w).abs() <= 20.0 * 6e-8, "W_{mode}: {found:?}"));
    }
}

#[test]
fn gradients_of_values_are_the_definition() {
    for (shape, count, rank) in
        [(vec![4, 5, 3], 70, 3), (vec![6], 5, 40), (vec![3, 2, 2, 4], 300, 1), (vec![5, 5], 0, 2), (vec![7, 3], 33, 16)]
    {
        let indices = coordinates(4, &shape, count, 1);
        let u = factors(2, &shape, rank);
        for mode in 0..shape.len() {
            let dw: Vec<f32> = cast(&numbers(9, shape[mode] * rank));
            let mut with = slices(&u);
            with[mode] = &dw;
            let whole = cpu::reference::kruskal(&shape, None, &with, rank);
            let place = |k: usize| shape.iter().enumerate().fold(0, |at, (m, &size)| at * size + indices[m][k] as usize);
            let want: Vec<(f64, f64)> = (0..count).map(|k| whole[place(k)]).collect();
            let [found] = in_all_orders(|device| {
                let mut out = nan(count);
                sparse::values_backward(device, &shape, &slices(&indices), &slices(&u), rank, mode, &dw, &mut out)?;
                Ok([out])
            });
            close(&found, &want, rank, shape.len(), &format!("{shape:?} rank {rank} mode {mode}"));
            let mut host = nan(count);
            cpu::mttkrp_values_backward(&shape, &slices(&indices), &slices(&u), rank, mode, &dw, &mut host);
            close(&host, &want, rank, shape.len(), "the CPU's");
        }
    }
}

#[test]
fn a_product_along_a_mode_is_the_definition_with_its_gradients() {
    for (shape, rows) in [
        (vec![7], 3),
        (vec![1, 1], 1),
        (vec![5, 1, 4], 2),
        (vec![5, 20, 6], 7),
        (vec![40, 15, 30], 17),
        (vec![3, 700, 2], 6),
        (vec![150, 4, 2], 33),
        (vec![6, 9], 70),
        (vec![4, 3, 5, 70], 2),
        (vec![2, 3, 600], 5),
    ] {
        let x: Vec<f32> = cast(&numbers(1, shape.iter().product()));
        for mode in 0..shape.len() {
            let what = format!("{shape:?} x {rows} mode {mode}");
            let m: Vec<f32> = cast(&numbers(2, rows * shape[mode]));
            let want = products::ttm(&x, &shape, &m, rows, mode);
            let dy: Vec<f32> = cast(&numbers(3, want.len()));
            let [y, dx, dm] = in_all_orders(|device| {
                let (mut y, mut dx, mut dm) = (nan(want.len()), nan(x.len()), nan(m.len()));
                ttm::forward(device, &x, &shape, (&m, rows), mode, &mut y)?;
                ttm::backward(device, &x, &shape, (&m, rows), mode, &dy, Some(&mut dx), Some(&mut dm))?;
                Ok([y, dx, dm])
            });
            close(&y, &want, shape[mode], 1, &what);
            let [wdx, wdm] = products::ttm_backward(&x, &shape, &m, rows, mode, &dy);
            close(&dx, &wdx, rows, 1, &format!("dX {what}"));
            close(&dm, &wdm, x.len() / shape[mode], 1, &format!("dM {what}"));
        }
    }
}

#[test]
fn a_chain_on_a_device_is_that_of_the_cpu() {
    let (shape, rows) = ([6usize, 5, 9, 4], [2usize, 7, 3, 4]);
    let x = numbers(1, 1080);
    let m: Vec<Vec<f64>> = (0..4).map(|k| numbers(2 + k as u64, rows[k] * shape[k])).collect();
    let single: Vec<Vec<f32>> = m.iter().map(|m| cast(m)).collect();
    // The same in magnitudes: what rounding is in proportion to.
    let size = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
    let sizes: Vec<Vec<f64>> = m.iter().map(|m| size(m)).collect();
    for skip in [None, Some(0), Some(2), Some(3)] {
        let of = |x: &[f64], m: &[Vec<f64>]| {
            let views: Vec<MatRef<'_, f64>> = (0..4).map(|k| MatRef::new(&m[k], rows[k], shape[k])).collect();
            skip.map_or_else(|| ttm_all(x, &shape, &views), |skip| ttmc(x, &shape, &views, skip))
        };
        let want: Vec<(f64, f64)> = of(&x, &m).into_iter().zip(of(&size(&x), &sizes)).collect();
        let [found] = in_all_orders(|device| {
            let given: Vec<(&[f32], usize)> = single.iter().map(Vec::as_slice).zip(rows).collect();
            let (y, to) = ttm::chain(device, &cast::<f32>(&x), &shape, &given, skip)?;
            assert!((0..4).all(|k| to[k] == if skip == Some(k) { shape[k] } else { rows[k] }));
            Ok([y])
        });
        close(&found, &want, shape.iter().sum(), 4, &format!("{skip:?}"));
    }
}

#[test]
fn misfits_are_errors() {
    let device = &mut Emulator::new(Order::Forward);
    let sizes = |e: Result<(), DeviceError>| matches!(e, Err(DeviceError::Sizes(_)));
    let u = factors(1, &[2, 3], 2);
    let mut run = |x: usize, shape: &[usize], rank: usize, mode: usize, out: usize| {
        mttkrp::forward(device, &vec![0.0; x], shape, &slices(&u), rank, mode, &mut vec![0.0; out])
    };
    assert_eq!(run(6, &[2, 3], 2, 0, 4), Ok(()));
    assert!(sizes(run(5, &[2, 3], 2, 0, 4)) && sizes(run(6, &[2, 3], 2, 2, 4)) && sizes(run(6, &[2, 3], 2, 0, 6)));
    assert!(sizes(run(6, &[2, 3], 3, 0, 6)) && sizes(run(6, &[2, 3, 1], 2, 0, 4)) && sizes(run(0, &[], 2, 0, 0)));
    assert!(sizes(run(usize::from(true), &[1; MOST_MODES + 1], 2, 0, 2)));
    assert!(mttkrp::plan(&[usize::MAX, 2], 1, 0).is_err() && mttkrp::plan(&[1 << 20, 1 << 12], 1, 0).is_err());
    assert!(mttkrp::plan_backward(&[2, 3], 2, 0, true, &[true, false]).is_err());
    let plan = |indices: &[&[u32]]| sparse::Sorted::new(&[2, 3], indices, 0).map(|_| ());
    assert_eq!(plan(&[&[0, 1], &[2, 2]]), Ok(()));
    assert!(sizes(plan(&[&[0, 2], &[2, 2]])) && sizes(plan(&[&[0], &[2, 2]])) && sizes(plan(&[&[0, 1]])));
    let sorted = sparse::Sorted::new(&[2, 3], &[&[0, 1], &[2, 2]], 1).unwrap();
    let device = &mut Emulator::new(Order::Forward);
    assert!(sizes(sparse::forward(device, &sorted, &[1.0], &slices(&u), 2, &mut [0.0; 6])));
    assert!(sizes(ttm::forward(device, &[0.0; 6], &[2, 3], (&[0.0; 5], 2), 1, &mut [0.0; 4])));
    assert!(sizes(ttm::forward(device, &[0.0; 6], &[2, 3], (&[0.0; 6], 2), 2, &mut [0.0; 4])));
    assert!(ttm::plan_chain(&[2, 3], &[2], None).is_err() && ttm::plan_chain(&[2], &[2], Some(0)).is_err());
}

/// Plans of sizes that are not run: blocks fill a device, shared memory and parts stay small.
#[test]
fn plans_of_large_tensors_keep_to_their_bounds() {
    let within = |plan: &crate::kernels::device::plan::Plan, scratch: usize| {
        for launch in &plan.launches {
            assert!(launch.shared <= 32 * 1024 && launch.block % 32 == 0 && launch.grid > 0, "{launch:?}");
        }
        assert!(plan.scratch_bytes() <= 4 * scratch, "{} bytes", plan.scratch_bytes());
    };
    for rank in [1, 16, 50, 200] {
        for (shape, mode) in [(vec![300; 3], 0), (vec![300; 3], 1), (vec![300; 3], 2), (vec![60; 4], 2), (vec![20_000, 3000], 1)]
        {
            let p = mttkrp::plan(&shape, rank, mode).unwrap();
            let [l, i, t] = cpu::around(&shape, mode);
            // The partial tensor; where that is small, a tile for each of 528 blocks.
            within(&p.plan, 2 * rank * i * l.min(t) + 528 * 4096);
            assert!(p.plan.launches[0].grid >= 132, "{shape:?} {rank}: {}", p.plan.launches[0].grid);
            within(&mttkrp::plan_backward(&shape, rank, mode, true, &vec![false; shape.len()]).unwrap().plan, 0);
            within(&ttm::plan(&shape, rank, mode).unwrap().plan, 528 * 4096);
            within(&ttm::plan_backward(&shape, rank, mode, [true, true]).unwrap().plan, 2 * 528 * 4096);
        }
    }
    // One row of a million nonzeros: the heads are a sixteenth at each level at most.
    let one = sparse::Sorted::new(&[1, 5], &[&vec![0; 1 << 20], &vec![3; 1 << 20]], 0).unwrap();
    let p = sparse::plan(&one, 16).unwrap();
    within(&p.plan, 16 * ((1 << 16) + (1 << 13)));
    assert_eq!(p.plan.launches.iter().filter(|l| l.entry == "shoal_tensor_join").count(), 4);
}

#[test]
fn sizes_at_random() {
    let mut draw = Draw::new(7000);
    for _ in 0..24 {
        let shape: Vec<usize> = (0..draw.size(1, 4)).map(|_| draw.size(1, 12)).collect();
        let (rank, mode) = (draw.size(1, 40), draw.size(0, shape.len() - 1));
        let x: Vec<f32> = cast(&numbers(1, shape.iter().product()));
        let u = factors(2, &shape, rank);
        let what = format!("{shape:?} rank {rank} mode {mode}");
        let want = cpu::reference::mttkrp(&x, &shape, &slices(&u), rank, mode);
        let mut out = nan(want.len());
        mttkrp::forward(&mut draw.device(), &x, &shape, &slices(&u), rank, mode, &mut out)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        close(&out, &want, x.len() / shape[mode], shape.len(), &what);
        let rows = draw.size(1, 40);
        let m: Vec<f32> = cast(&numbers(3, rows * shape[mode]));
        let want = products::ttm(&x, &shape, &m, rows, mode);
        let mut out = nan(want.len());
        ttm::forward(&mut draw.device(), &x, &shape, (&m, rows), mode, &mut out).unwrap_or_else(|e| panic!("{what}: {e}"));
        close(&out, &want, shape[mode], 1, &what);
        let indices = coordinates(draw.size(0, 1000) as u64, &shape, draw.size(0, 300), draw.size(1, 4) as i32);
        let device = std::cell::RefCell::new(draw.device());
        check_sparse(|run| run(&mut *device.borrow_mut()).unwrap_or_else(|e| panic!("{e}")), &shape, &indices, rank);
    }
}
