//! Gradients of whole forecasters, and what they refuse.

use super::*;
use crate::nn::ssm::BlockKind;
use crate::nn::testing::{Checked, check_gradients, wave};
use candle_core::Tensor;

const KINDS: [BlockKind; 5] = [BlockKind::Mamba, BlockKind::Mamba2, BlockKind::Mamba3, BlockKind::S4d, BlockKind::S4];

fn small(kind: BlockKind, channel_independent: bool) -> StateSpaceConfig {
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
        let checked = Checked { params: StateSpace::params, params_mut: StateSpace::params_mut, loss: &loss };
        check_gradients(&mut net, &checked, 2, &format!("{kind:?}"));
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
    refused(StateSpaceConfig { head_width: 5, ..small(BlockKind::Mamba2, true) }, "--head-width");
    refused(StateSpaceConfig { states: 3, ..small(BlockKind::Mamba3, true) }, "--d-state");
    refused(StateSpaceConfig { taps: 99, ..small(BlockKind::Mamba, true) }, "d_conv");
    refused(StateSpaceConfig { layers: 0, ..small(BlockKind::Mamba, true) }, "layers");
}
