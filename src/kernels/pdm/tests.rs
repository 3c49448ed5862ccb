//! Against the definition, gradients against central differences, and the edges.

use super::reference::{self, Block};
use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, numbers};

/// Weights of size 1/√inputs, hidden layers of `hidden(outputs)`.
fn block(lengths: &[usize], width: usize, hidden: usize, window: usize) -> Block {
    let mut seed = 100;
    let mut matrix = |rows: usize, cols: usize| -> Vec<f64> {
        seed += 1;
        // A power of two keeps the numbers exact in f32.
        let scale = 0.5f64.powi((cols as f64).log2().ceil() as i32 / 2);
        numbers(seed, rows * cols).into_iter().map(|v| v * scale).collect()
    };
    let mut mix = |i: usize, h: usize, o: usize| [matrix(h, i), matrix(h, 1), matrix(o, h), matrix(o, 1)];
    // One hidden width that differs from the outputs, so that the two cannot be mixed up.
    let season = lengths.windows(2).map(|t| mix(t[0], t[1] + 1, t[1])).collect();
    let trend = lengths.windows(2).rev().map(|t| mix(t[1], t[0] + 2, t[0])).collect();
    Block { lengths: lengths.to_vec(), width, window, season, trend, channel: mix(width, hidden, width) }
}

fn mixes(block: &Block) -> Vec<&reference::Mix> {
    block.season.iter().chain(&block.trend).chain([&block.channel]).collect()
}

/// Runs `work` with the block in `T`.
fn with<T: Real, R>(block: &Block, work: impl FnOnce(&Pdm<'_, T>) -> R) -> R {
    let owned: Vec<[Vec<T>; 4]> = mixes(block).into_iter().map(|m| std::array::from_fn(|k| cast(&m[k]))).collect();
    let views: Vec<Mix<'_, T>> = owned
        .iter()
        .map(|[w1, b1, w2, b2]| {
            let (h, o) = (b1.len(), b2.len());
            let affine = |weight, bias, inputs, outputs| Affine { weight, bias: Some(bias), inputs, outputs };
            Mix { first: affine(&w1[..], &b1[..], w1.len() / h, h), second: affine(&w2[..], &b2[..], h, o) }
        })
        .collect();
    let (season, rest) = views.split_at(block.season.len());
    let (trend, channel) = rest.split_at(block.trend.len());
    let Block { lengths, width, window, .. } = block;
    work(&Pdm { lengths, width: *width, window: *window, season, trend, channel: channel[0] })
}

fn forward<T: Real>(block: &Block, h: &[f64]) -> Vec<T> {
    let h = cast::<T>(h);
    let mut y = vec![T::from_f64(f64::NAN); h.len()];
    with(block, |b| b.forward(&h, &mut y));
    y
}

/// dh, then the gradients of the weights.
fn backward<T: Real>(block: &Block, h: &[f64], dy: &[f64], wanted: [bool; 2]) -> [Vec<T>; 2] {
    let (h, dy) = (cast::<T>(h), cast::<T>(dy));
    let mut dh = vec![T::from_f64(f64::NAN); h.len()];
    let mut dw = vec![T::from_f64(f64::NAN); mixes(block).iter().flat_map(|m| m.iter()).map(Vec::len).sum()];
    with(block, |b| b.backward(&h, &dy, wanted[0].then_some(&mut dh), wanted[1].then_some(&mut dw)));
    [dh, dw]
}

/// Lengths, width, hidden, window, rows. Scales shorter than the window, of one step, and that do not halve; one scale alone.
fn cases() -> Vec<(Vec<usize>, usize, usize, usize, usize)> {
    vec![
        (vec![24, 12, 6], 16, 32, 25, 3),
        (vec![7, 3, 1], 5, 4, 5, 14),
        (vec![9], 3, 2, 3, 2),
        (vec![16, 16], 33, 8, 1, 4),
        (vec![1, 1], 1, 1, 7, 1),
        (vec![20, 9], 8, 20, 9, 37),
    ]
}

#[test]
fn values_are_those_of_the_definition() {
    for (lengths, width, hidden, window, rows) in cases() {
        let block = block(&lengths, width, hidden, window);
        let h = numbers(1, rows * width * lengths.iter().sum::<usize>());
        let exact = reference::forward(&block, &h);
        // Numbers stay below about 8; some hundred roundings on the longest way, most of them of partial sums.
        let close = |y: Vec<f64>, eps: f64| {
            for (i, (y, e)) in y.iter().zip(&exact).enumerate() {
                assert!((y - e).abs() <= 200.0 * eps, "{lengths:?} {width}: element {i} is {y}, not {e}");
            }
        };
        close(forward::<f64>(&block, &h), f64::EPSILON);
        close(forward::<f32>(&block, &h).iter().map(|v| f64::from(*v)).collect(), f64::from(f32::EPSILON));
    }
}

#[test]
fn gradients_are_central_differences() {
    for (lengths, width, hidden, window, rows) in cases().into_iter().filter(|c| c.1 < 16) {
        let rows = rows.min(3);
        let mut block = block(&lengths, width, hidden, window);
        let mut h = numbers(1, rows * width * lengths.iter().sum::<usize>());
        let dy = numbers(2, h.len());
        let [dh, dw] = backward::<f64>(&block, &h, &dy, [true, true]);
        let loss = |block: &Block, h: &[f64]| -> f64 { forward::<f64>(block, h).iter().zip(&dy).map(|(y, g)| y * g).sum() };
        let step = 1e-5;
        // Truncation: step²/6 times third derivatives of some hundreds; rounding: a sum of size 100 over the step, 2e-9.
        let agree = |numeric: f64, found: f64, what: &str| {
            assert!(
                (numeric - found).abs() <= 5e-8 * (1.0 + found.abs()),
                "{lengths:?}: gradient of {what} is {found}, not {numeric}"
            );
        };
        for i in (0..h.len()).step_by(3) {
            let before = h[i];
            let mut at = |x: f64| {
                h[i] = x;
                loss(&block, &h)
            };
            let numeric = (at(before + step) - at(before - step)) / (2.0 * step);
            h[i] = before;
            agree(numeric, dh[i], &format!("h[{i}]"));
        }
        let (mixes, mut place) = (block.season.len() + block.trend.len() + 1, 0);
        for m in 0..mixes {
            for k in 0..4 {
                let len = self::mixes(&block)[m][k].len();
                for i in (0..len).step_by(5) {
                    let mut at = |by: f64| {
                        let seasons = block.season.len();
                        let trends = block.trend.len();
                        let mix = if m < seasons {
                            &mut block.season[m]
                        } else if m < seasons + trends {
                            &mut block.trend[m - seasons]
                        } else {
                            &mut block.channel
                        };
                        mix[k][i] += by;
                        loss(&block, &h)
                    };
                    let (up, down) = (at(step), at(-2.0 * step));
                    at(step);
                    agree((up - down) / (2.0 * step), dw[place + i], &format!("weight {k}[{i}] of map {m}"));
                }
                place += len;
            }
        }
        assert_eq!(place, dw.len());
    }
}

#[test]
fn single_precision_gradients_are_the_double_ones() {
    for (lengths, width, hidden, window, rows) in cases() {
        let block = block(&lengths, width, hidden, window);
        let h = numbers(1, rows * width * lengths.iter().sum::<usize>());
        let dy = numbers(2, h.len());
        let exact = backward::<f64>(&block, &h, &dy, [true, true]);
        let found = backward::<f32>(&block, &h, &dy, [true, true]);
        // dh as the values; weights sum over rows and lanes, with errors that grow as the root of their number.
        let terms = (rows * width.max(lengths.iter().sum())) as f64;
        for (allowed, (found, exact)) in [200.0, 100.0 * terms.sqrt()].into_iter().zip(found.iter().zip(&exact)) {
            for (f, e) in found.iter().zip(exact) {
                assert!((f64::from(*f) - e).abs() <= allowed * f64::from(f32::EPSILON), "{lengths:?} {width}: {f}, not {e}");
            }
        }
    }
}

#[test]
fn a_gradient_does_not_depend_on_whether_the_other_is_wanted() {
    let (lengths, width, hidden, window, rows) = cases().remove(1);
    let block = block(&lengths, width, hidden, window);
    let h = numbers(1, rows * width * lengths.iter().sum::<usize>());
    let dy = numbers(2, h.len());
    let [dh, dw] = backward::<f32>(&block, &h, &dy, [true, true]);
    assert_eq!(bits(&backward::<f32>(&block, &h, &dy, [true, false])[0]), bits(&dh));
    assert_eq!(bits(&backward::<f32>(&block, &h, &dy, [false, true])[1]), bits(&dw));
}

#[test]
fn threads_groups_and_instruction_sets_change_no_bit() {
    let block = block(&[24, 12, 6], 16, 32, 25);
    let rows = 300;
    let h = numbers(1, rows * 16 * 42);
    let dy = numbers(2, h.len());
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let [dh, dw] = backward::<f32>(&block, &h, &dy, [true, true]);
            [bits(&forward::<f32>(&block, &h)), bits(&dh), bits(&dw)]
        })
    };
    let all = run(1);
    assert_eq!(all, run(3));
    // A row's result does not depend on the rows beside it.
    let row = 16 * 42;
    assert_eq!(bits(&forward::<f32>(&block, &h[row..2 * row])), all[0][row..2 * row]);
    let few = &h[..4 * row];
    let run = |isa| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| with_isa(isa, || backward::<f32>(&block, few, &dy[..4 * row], [true, true]).map(|v| bits(&v))))
    };
    let sets: Vec<_> = available().into_iter().map(run).collect();
    assert!(sets.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn no_rows_give_zero_gradients_of_weights() {
    let block = block(&[6, 3], 2, 3, 3);
    assert!(forward::<f32>(&block, &[]).is_empty());
    assert!(backward::<f32>(&block, &[], &[], [true, true])[1].iter().all(|&g| g == 0.0));
}

#[test]
fn a_constant_series_has_no_season() {
    // With M = 0 and a channel map that is zero, y = h; the trend of a constant is the constant, so nothing else may enter.
    let mut one = block(&[12, 6], 3, 2, 25);
    one.channel.iter_mut().for_each(|w| w.fill(0.0));
    let h = numbers(1, 2 * 3 * 18);
    assert_eq!(forward::<f64>(&one, &h), h);
}

#[test]
fn misfits_are_refused() {
    let mut bad = block(&[6, 3], 2, 3, 3);
    let refused = |b: &Block, h: usize| std::panic::catch_unwind(|| forward::<f32>(b, &vec![0.0; h])).is_err();
    assert!(!refused(&bad, 18) && refused(&bad, 17));
    bad.window = 4;
    assert!(refused(&bad, 18));
}
