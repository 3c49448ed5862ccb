//! Gradients, and sequences of several lengths in one batch.

use super::*;
use crate::nn::ssm::{Mamba1Config, Mamba3Config};
use crate::nn::testing::{Checked, check_gradients, wave};

fn config(steps: Steps, pooling: Pooling) -> SequenceConfig {
    let mixer = match steps {
        Steps::Values(_) => MixerConfig::Mamba1(Mamba1Config { states: 3, ..Mamba1Config::new(6) }),
        Steps::Tokens(_) => MixerConfig::Mamba3(Mamba3Config { states: 4, head_width: 4, ..Mamba3Config::new(6) }),
    };
    SequenceConfig { steps, classes: 3, width: 6, layers: 2, mixer, mlp: 5, dropout: 0.0, pooling }
}

#[test]
fn gradients_are_central_differences() {
    for (steps, pooling) in
        [(Steps::Values(2), Pooling::Mean), (Steps::Values(2), Pooling::All), (Steps::Tokens(4), Pooling::Last)]
    {
        let mut net = SequenceNetwork::new(config(steps, pooling), 1.0, DType::F64, &Streams::new(1)).unwrap();
        let input = match steps {
            Steps::Values(_) => Input::Values(wave(&[2, 5, 2], 0.0)),
            Steps::Tokens(_) => Input::Tokens { tokens: vec![0, 3, 1, 1, 2, 2, 0, 3, 3, 1], batch: 2 },
        };
        let loss = |net: &SequenceNetwork, pass: &Pass| {
            ops::cross_entropy(&net.scores(pass, &input, Some(&[5, 3])).unwrap(), &[2, 0], 0.0).unwrap()
        };
        let checked = Checked { params: SequenceNetwork::params, params_mut: SequenceNetwork::params_mut, loss: &loss };
        check_gradients(&mut net, &checked, 2, &format!("{steps:?}"));
    }
}

#[test]
fn what_stands_behind_the_end_does_not_count() {
    for pooling in [Pooling::Mean, Pooling::Max, Pooling::Last, Pooling::All] {
        let net = SequenceNetwork::new(config(Steps::Values(2), pooling), 1.0, DType::F64, &Streams::new(2)).unwrap();
        let x = wave(&[2, 6, 2], 0.0);
        let scores = |x: Tensor, lengths: Option<&[usize]>| {
            let y = net.scores(&Pass::inference(net.params()), &Input::Values(x), lengths).unwrap();
            y.tensor().to_vec2::<f64>().unwrap()
        };
        let both = scores(x.clone(), Some(&[6, 4]));
        let short = x.narrow(0, 1, 1).unwrap().narrow(1, 0, 4).unwrap().contiguous().unwrap();
        let alone = scores(short, None);
        both[1].iter().zip(&alone[0]).for_each(|(a, b)| assert!((a - b).abs() < 1e-7, "{a} {b}"));
        let pass = Pass::inference(net.params());
        assert!(net.scores(&pass, &Input::Values(x), Some(&[6, 0])).is_err());
        assert!(net.scores(&pass, &Input::Tokens { tokens: vec![1], batch: 1 }, None).is_err());
    }
}
