//! The golden forward passes, and gradients of the whole network.

use super::*;
use crate::kernels::wavelet::Wavelet;
use crate::nn::testing::{Checked, check_gradients, wave};
use candle_core::Tensor;
use serde_json::Value as Json;

fn golden(name: &str) -> Json {
    let path = format!("{}/testdata/karma/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn flat(v: &Json) -> Vec<f64> {
    match v {
        Json::Array(items) => items.iter().flat_map(flat).collect(),
        v => vec![v.as_f64().unwrap()],
    }
}

/// Element k of parameter i is A·sin(1.7k + 0.3i + 0.5); scales add 1.
fn formula(i: usize, len: usize, scale: bool) -> Vec<f64> {
    let base = if scale { 1.0 } else { 0.0 };
    (0..len).map(|k| base + 0.5 * (1.7 * k as f64 + 0.3 * i as f64 + 0.5).sin()).collect()
}

fn put_formula(params: &mut Params, order: &Json) {
    // The rates' start in full precision: ln 1, ln 2, ….
    let rates: Vec<ParamId> = params.iter().filter(|(_, p)| p.name.ends_with("A_log")).map(|(id, _)| id).collect();
    for id in rates {
        let (channels, states) = params.get(id).tensor.dims2().unwrap();
        let values: Vec<f64> = (0..channels * states).map(|i| ((i % states + 1) as f64).ln()).collect();
        params.set(id, &Tensor::from_vec(values, (channels, states), &Device::Cpu).unwrap()).unwrap();
    }
    for entry in order.as_array().unwrap() {
        let (i, name) = (entry[0].as_u64().unwrap() as usize, entry[1].as_str().unwrap());
        let name = name.strip_prefix("m.").unwrap_or(name);
        let dims: Vec<usize> = entry[2].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
        let id = params.find(name).unwrap_or_else(|| panic!("no parameter {name}"));
        let scale = name == "norm.weight" || name.contains("rms_") || name == "ln.weight";
        let values = Tensor::from_vec(formula(i, dims.iter().product(), scale), &dims[..], &Device::Cpu).unwrap();
        params.set(id, &values).unwrap();
    }
}

/// (batch, time, channels) to (batch, channels, time).
fn turned(v: &Json, dims: [usize; 3], dtype: DType) -> Tensor {
    let x = Tensor::from_vec(flat(v), &dims[..], &Device::Cpu).unwrap();
    x.transpose(1, 2).unwrap().contiguous().unwrap().to_dtype(dtype).unwrap()
}

fn config(decomposition: KarmaDecomposition, features: usize) -> KarmaConfig {
    KarmaConfig { d_model: 8, states: 3, decomposition, features, ..KarmaConfig::new(16, 8, 3) }
}

#[test]
fn all_switches_give_the_golden_forecasts() {
    let g = golden("karma_golden");
    let cases = [
        ("nodecomp_marks", KarmaDecomposition::None, 4),
        ("decomp_movavg", KarmaDecomposition::MovingAverage { window: 5 }, 0),
        ("decomp_atcd", KarmaDecomposition::Attention { width: 4, heads: 4 }, 0),
    ];
    for (name, decomposition, features) in cases {
        for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 2e-5)] {
            let mut net = Karma::new(config(decomposition, features), dtype, &Streams::new(1)).unwrap();
            let case = &g["cases"][name];
            put_formula(net.params_mut(), &case["param_order"]);
            let marks = turned(&g["mark"], [2, 16, 4], dtype);
            let x = turned(&g["x"], [2, 16, 3], dtype);
            let batch = Batch { x, marks: (features > 0).then_some(marks), future_marks: None };
            let y = net.forward(&Pass::inference(net.params()), &batch).unwrap();
            let y = y.tensor().transpose(1, 2).unwrap().flatten_all().unwrap().to_dtype(DType::F64).unwrap();
            let (found, exact) = (y.to_vec1::<f64>().unwrap(), flat(&case["y"]));
            assert_eq!(found.len(), exact.len());
            let worst = found.iter().zip(&exact).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst <= tolerance, "{name} {dtype:?}: {worst}");
        }
    }
}

#[test]
fn the_mamba_block_is_the_golden() {
    let g = golden("mamba_golden");
    let mut params = Params::new(DType::F64, &Device::Cpu);
    let streams = Streams::new(1);
    let config = Mamba1Config { states: 3, ..Mamba1Config::new(4) };
    let block = Mamba1::new(&mut Builder::drawn(&mut params, &streams), "", config, 1.0).unwrap();
    put_formula(&mut params, &g["param_order"]);
    let u = Value::from(Tensor::from_vec(flat(&g["u"]), &[1, 5, 4][..], &Device::Cpu).unwrap());
    let (y, _) = block.forward(&Pass::inference(&params), &u, None, None).unwrap();
    let found = y.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    found.iter().zip(flat(&g["y"])).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
}

#[test]
fn gradients_of_the_whole_network_are_central_differences() {
    let kinds = [
        (KarmaDecomposition::None, 2, Wavelet::Haar),
        (KarmaDecomposition::MovingAverage { window: 3 }, 0, Wavelet::Db4),
        (KarmaDecomposition::Attention { width: 4, heads: 2 }, 0, Wavelet::Db4),
    ];
    for (decomposition, features, wavelet) in kinds {
        let config = KarmaConfig {
            d_model: 6,
            states: 2,
            layers: 1,
            decomposition,
            features,
            wavelet,
            outputs: 2,
            ..KarmaConfig::new(10, 4, 3)
        };
        let mut net = Karma::new(config, DType::F64, &Streams::new(3)).unwrap();
        let batch = Batch { x: wave(&[2, 3, 10], 0.0), marks: Some(wave(&[2, 2, 10], 1.0)), future_marks: None };
        let target = wave(&[2, 3, 4, 2], 2.0);
        let loss = |net: &Karma, pass: &Pass| ops::mse(&net.forward(pass, &batch).unwrap(), &target).unwrap();
        let checked = Checked { params: Karma::params, params_mut: Karma::params_mut, loss: &loss };
        check_gradients(&mut net, &checked, 2, &format!("{decomposition:?}"));
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let refused = |c: KarmaConfig, word: &str| {
        let e = Karma::new(c, DType::F32, &Streams::new(1)).err().unwrap().to_string();
        assert!(e.contains(word), "{e}");
    };
    let base = || config(KarmaDecomposition::None, 0);
    refused(KarmaConfig { d_model: 7, ..base() }, "even");
    refused(KarmaConfig { states: 0, ..base() }, "d_state");
    refused(config(KarmaDecomposition::MovingAverage { window: 4 }, 0), "odd");
    refused(config(KarmaDecomposition::Attention { width: 6, heads: 4 }, 0), "heads");
    refused(config(KarmaDecomposition::Attention { width: 8, heads: 4 }, 4), "decomposition none");
}

/// The spec's count for ETTh1 at horizon 96.
#[test]
fn the_script_of_etth1_has_the_computed_number_of_parameters() {
    let mut c = KarmaConfig { features: 4, ..KarmaConfig::new(96, 96, 7) };
    presets::find("etth1").unwrap().apply(&mut c);
    let net = Karma::new(c, DType::F32, &Streams::new(1)).unwrap();
    assert_eq!(net.params().trainable_count(), 2_160_430);
}
