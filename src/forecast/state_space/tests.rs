//! Gradients of whole forecasters, and what they refuse.

use super::*;
use candle_core::Tensor;

fn wave(dims: &[usize], phase: f64) -> Tensor {
    let values: Vec<f64> = (0..dims.iter().product()).map(|i| (i as f64 * 0.7 + phase).sin()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

const KINDS: [StateSpaceKind; 5] =
    [StateSpaceKind::Mamba, StateSpaceKind::Mamba2, StateSpaceKind::Mamba3, StateSpaceKind::S4d, StateSpaceKind::S4];

fn small(kind: StateSpaceKind, channel_independent: bool) -> StateSpaceConfig {
    StateSpaceConfig {
        d_model: 6,
        states: 4,
        head_width: 4,
        layers: 1,
        outputs: 2,
        features: 2,
        channel_independent,
        ..StateSpaceConfig::new(kind, 7, 3, 2)
    }
}

#[test]
fn gradients_are_central_differences() {
    for (kind, independent) in KINDS.into_iter().flat_map(|k| [(k, true), (k, false)]) {
        let mut net = StateSpace::new(small(kind, independent), DType::F64, &Streams::new(3)).unwrap();
        let batch = Batch { x: wave(&[2, 2, 7], 0.0), marks: Some(wave(&[2, 2, 7], 1.0)), future_marks: None };
        let target = wave(&[2, 2, 3, 2], 2.0);
        let loss = |net: &StateSpace, pass: &Pass| ops::mse(&net.forward(pass, &batch).unwrap(), &target).unwrap();
        let gradients = {
            let pass = Pass::gradients(net.params());
            let value = loss(&net, &pass);
            pass.backward(&value).unwrap()
        };
        let ids: Vec<ParamId> = net.params().iter().map(|(id, _)| id).collect();
        for id in ids {
            let name = net.params().get(id).name.clone();
            let gradient = gradients[id.index()].as_ref().unwrap_or_else(|| panic!("{name} has no gradient"));
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let before = net.params().get(id).tensor.copy().unwrap();
            let values = before.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let k = values.len() / 2;
            let mut at = |by: f64| {
                let mut values = values.clone();
                values[k] += by;
                net.params_mut().set(id, &Tensor::from_vec(values, before.dims(), &Device::Cpu).unwrap()).unwrap();
                loss(&net, &Pass::inference(net.params())).tensor().to_scalar::<f64>().unwrap()
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            // Truncation 1e-10 times third derivatives of some tens; rounding 1e-15 over the step.
            assert!((numeric - gradient[k]).abs() < 1e-8, "{kind:?} {name}[{k}]: {}, not {numeric}", gradient[k]);
            net.params_mut().set(id, &before).unwrap();
        }
    }
}

#[test]
fn a_channel_by_itself_is_forecast_as_beside_others() {
    for kind in KINDS {
        let config = StateSpaceConfig { features: 0, ..small(kind, true) };
        let net = StateSpace::new(config, DType::F64, &Streams::new(4)).unwrap();
        let x = wave(&[1, 2, 7], 0.0);
        let run = |x: Tensor| {
            let batch = Batch { x, marks: None, future_marks: None };
            let y = net.forward(&Pass::inference(net.params()), &batch).unwrap();
            y.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let (both, second) = (run(x.clone()), run(x.narrow(1, 1, 1).unwrap().contiguous().unwrap()));
        both[6..].iter().zip(&second).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let refused = |c: StateSpaceConfig, word: &str| {
        let e = StateSpace::new(c, DType::F32, &Streams::new(1)).err().unwrap().to_string();
        assert!(e.contains(word), "{e}");
    };
    refused(StateSpaceConfig { head_width: 5, ..small(StateSpaceKind::Mamba2, true) }, "--head-width");
    refused(StateSpaceConfig { states: 3, ..small(StateSpaceKind::Mamba3, true) }, "--d-state");
    refused(StateSpaceConfig { taps: 99, ..small(StateSpaceKind::Mamba, true) }, "d_conv");
    refused(StateSpaceConfig { layers: 0, ..small(StateSpaceKind::Mamba, true) }, "layers");
}
