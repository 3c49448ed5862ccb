//! Blocks against the goldens, and S4's layers against what they are made of.

use super::*;
use crate::kernels::scan::step_size::Rate;
use crate::nn::testing::wave;
use crate::nn::{Builder, Params, Pass, Value};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;
use std::collections::BTreeMap;

fn golden(name: &str) -> Json {
    let path = format!("{}/testdata/ssm/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn flat(v: &Json) -> Vec<f64> {
    match v {
        Json::Array(items) => items.iter().flat_map(flat).collect(),
        v => vec![v.as_f64().unwrap()],
    }
}

fn shape(v: &Json) -> Vec<usize> {
    match v {
        Json::Array(items) => [items.len()].into_iter().chain(items.first().map(shape).unwrap_or_default()).collect(),
        _ => Vec::new(),
    }
}

fn tensor(v: &Json) -> Tensor {
    Tensor::from_vec(flat(v), shape(v), &Device::Cpu).unwrap()
}

fn tensors(v: &Json) -> BTreeMap<String, Tensor> {
    v.as_object().unwrap().iter().map(|(name, v)| (name.clone(), tensor(v))).collect()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.tensor().flatten_all().unwrap().to_vec1().unwrap()
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 1e-12 * size, "{what}: {f}, not {e}");
    }
}

/// Runs a block whole and in parts, against the golden result; gives what it carries on.
fn run(config: MixerConfig, params_of: &Json, x: &Json, y: &Json, what: &str) -> MixerState {
    let mut params = Params::new(DType::F64, &Device::Cpu);
    let mut builder = Builder::stored(&mut params, tensors(params_of));
    let block = Mixer::new(&mut builder, "", &config, 1.0).unwrap();
    builder.finish().unwrap();
    let pass = Pass::inference(&params);
    let x = Value::from(tensor(x));
    let (whole, state) = block.forward(&pass, &x, None, None).unwrap();
    close(&numbers(&whole), &flat(y), what);
    let steps = x.dims()[1];
    for cut in 1..steps {
        let part = |start: usize, len: usize| Value::from(x.tensor().narrow(1, start, len).unwrap().contiguous().unwrap());
        let (first, carried) = block.forward(&pass, &part(0, cut), None, None).unwrap();
        let (second, last) = block.forward(&pass, &part(cut, steps - cut), Some(&carried), None).unwrap();
        close(&[numbers(&first), numbers(&second)].concat(), &flat(y), &format!("{what} cut at {cut}"));
        for ((name, a), (_, b)) in last.tensors().into_iter().zip(state.tensors()) {
            close(&numbers(&a.clone().into()), &numbers(&b.clone().into()), &format!("{what} {name} cut at {cut}"));
        }
    }
    state
}

/// The last `taps` inputs of a convolution, (batch, channels, taps), without the oldest, as (batch, taps − 1, channels).
fn window(v: &Json, channels: std::ops::Range<usize>) -> Vec<f64> {
    let rows = v[0].as_array().unwrap();
    let taps = rows[0].as_array().unwrap().len();
    (1..taps).flat_map(|t| channels.clone().map(move |c| (t, c))).map(|(t, c)| rows[c][t].as_f64().unwrap()).collect()
}

#[test]
fn the_mamba_block_is_the_golden() {
    let g = golden("mamba1_block");
    let config = Mamba1Config { states: 3, ..Mamba1Config::new(4) };
    let MixerState::Mamba1(state) = run(MixerConfig::Mamba1(config), &g["params"], &g["x"], &g["y"], "mamba1") else { panic!() };
    close(&numbers(&state.scan), &flat(&g["ssm_state"]), "states");
    close(&numbers(&state.conv), &window(&g["conv_state"], 0..8), "inputs of the convolution");
}

#[test]
fn the_mamba2_block_is_the_golden() {
    let g = golden("mamba2_block");
    let config = Mamba2Config { states: 3, head_width: 4, ..Mamba2Config::new(4) };
    let MixerState::Mamba2(state) = run(MixerConfig::Mamba2(config), &g["params"], &g["x"], &g["y"], "mamba2") else { panic!() };
    close(&numbers(&state.scan), &flat(&g["ssm_state"]), "states");
    close(&numbers(&state.conv[0]), &window(&g["conv_state"], 0..8), "inputs of the convolution, x");
    close(&numbers(&state.conv[1]), &window(&g["conv_state"], 8..14), "inputs of the convolution, B and C");
}

#[test]
fn the_mamba3_blocks_are_the_goldens() {
    let g = golden("mamba3_block");
    let s = &g["siso"];
    for (rate, y) in [(Rate::HeavyTail, "y_heavy_tail_A"), (Rate::Softplus, "y_softplus_A")] {
        let config = Mamba3Config { states: 4, head_width: 4, rate, ..Mamba3Config::new(4) };
        let state = run(MixerConfig::Mamba3(config), &s["params"], &s["x"], &s[y], y);
        let MixerState::Mamba3(state) = state else { panic!() };
        if rate == Rate::HeavyTail {
            close(&numbers(&state.state), &flat(&s["ssm_state"]), "states");
            close(&numbers(&state.angle), &flat(&s["angle_state"]), "angles");
        }
    }
    let m = &g["mimo"];
    for (out_norm, y) in [(false, "y_no_outproj_norm"), (true, "y_outproj_norm")] {
        let config = Mamba3Config { states: 8, head_width: 4, mimo_rank: 2, out_norm, ..Mamba3Config::new(4) };
        let mut params = m["params"].clone();
        if !out_norm {
            params.as_object_mut().unwrap().remove("norm.weight");
        }
        run(MixerConfig::Mamba3(config), &params, &m["x"], &m[y], y);
    }
}

fn layer(config: S4Config) -> (Params, S4) {
    let mut params = Params::new(DType::F64, &Device::Cpu);
    let layer = S4::new(&mut Builder::drawn(&mut params, &Streams::new(2)), "", config).unwrap();
    (params, layer)
}

#[test]
fn s4d_runs_step_by_step_as_whole() {
    for init in [StateInit::S4dLin, StateInit::S4dLegs] {
        for hold in [true, false] {
            let (params, s4) = layer(S4Config { states: 8, init, hold, ..S4Config::new(5) });
            let pass = Pass::inference(&params);
            let u = Value::from(wave(&[2, 9, 5], 0.0));
            let (whole, _) = s4.forward(&pass, &u, None, None).unwrap();
            let mut state = s4.start(&pass, 2).unwrap();
            let mut parts = Vec::new();
            for t in 0..9 {
                let step = Value::from(u.tensor().narrow(1, t, 1).unwrap().contiguous().unwrap());
                let (y, next) = s4.forward(&pass, &step, Some(&state), None).unwrap();
                parts.push(y.tensor().clone());
                state = next.unwrap();
            }
            close(&numbers(&Tensor::cat(&parts, 1).unwrap().into()), &numbers(&whole), "steps");
        }
    }
}

/// Backwards is forwards on the reversed sequence, one step later; and a sequence shorter than the longest uses the same system.
#[test]
fn s4_runs_both_ways_and_on_shorter_sequences() {
    let low_rank =
        [StateInit::Legs, StateInit::Legt, StateInit::Fout, StateInit::Glagt, StateInit::FourierDecay, StateInit::Fourier2];
    for init in [StateInit::S4dInv, StateInit::Lagt].into_iter().chain(low_rank) {
        let config = S4Config { states: 8, init, bidirectional: true, longest: 7, ..S4Config::new(3) };
        let (params, s4) = layer(config);
        let pass = Pass::inference(&params);
        let u = Value::from(wave(&[1, 7, 3], 0.0));
        let (base, _) = s4.forward(&pass, &u, None, None).unwrap();
        let base = numbers(&base);
        // A change of one step reaches all others, in both directions.
        let mut values = numbers(&u);
        values[3 * 3] += 1.0;
        let moved = Tensor::from_vec(values, (1, 7, 3), &Device::Cpu).unwrap().into();
        let (changed, _) = s4.forward(&pass, &moved, None, None).unwrap();
        let steps: Vec<bool> = (0..7)
            .map(|t| base[t * 3..t * 3 + 3].iter().zip(&numbers(&changed)[t * 3..]).any(|(a, b)| (a - b).abs() > 1e-9))
            .collect();
        assert_eq!(steps, [true; 7], "{init:?}");
        assert!(s4.start(&pass, 1).is_err());
        // One way only: the first steps of a longer sequence are those of a shorter one.
        let (params, s4) = layer(S4Config { bidirectional: false, ..config });
        let pass = Pass::inference(&params);
        let (whole, _) = s4.forward(&pass, &u, None, None).unwrap();
        let short = Value::from(u.tensor().narrow(1, 0, 4).unwrap().contiguous().unwrap());
        let (part, _) = s4.forward(&pass, &short, None, None).unwrap();
        let (part, whole) = (numbers(&part), numbers(&whole));
        part.iter().zip(&whole).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{init:?}: {a} {b}"));
        if !init.is_diagonal() {
            assert!(
                s4.forward(&pass, &Value::from(wave(&[1, 8, 3], 0.0)), None, None).err().unwrap().to_string().contains("at most")
            );
        }
    }
}
