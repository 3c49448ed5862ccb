//! The tiny published-layout models against their logits, and the three ways to run them.

use super::*;
use crate::kernels::scan::step_size::Rate;
use crate::nn::testing::{Checked, check_gradients};
use std::path::PathBuf;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/ssm").join(name)
}

fn load(name: &str, dtype: DType) -> (LanguageModel, Params) {
    let config = std::fs::read_to_string(folder(name).join("config.json")).unwrap();
    let bytes = std::fs::read(folder(name).join("model.safetensors")).unwrap();
    let tensors = crate::nn::params::tensors_of(&bytes).unwrap();
    load_model(&config, tensors, dtype, ModelOptions::default()).unwrap()
}

struct Expected {
    tokens: Vec<u32>,
    logits: Vec<f64>,
    argmax: Vec<usize>,
    nll: f64,
}

fn expected(name: &str) -> Expected {
    let text = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    let whole = |v: &serde_json::Value| -> Vec<u64> { v.as_array().unwrap().iter().map(|t| t.as_u64().unwrap()).collect() };
    let file = std::fs::File::open(folder(name).join("logits.npy")).unwrap();
    let logits: Vec<f64> = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap().into_vec().unwrap();
    Expected {
        tokens: whole(&v["tokens"]).into_iter().map(|t| t as u32).collect(),
        logits,
        argmax: whole(&v["argmax"]).into_iter().map(|t| t as usize).collect(),
        nll: v["mean_nll_next_token_vocab_only"].as_f64().unwrap(),
    }
}

/// Logits with the sequence cut into chunks, the state carried.
fn logits(model: &LanguageModel, params: &Params, tokens: &[u32], chunk: usize) -> Vec<f64> {
    let pass = Pass::inference(params);
    let mut state = None;
    let mut out = Vec::new();
    for part in tokens.chunks(chunk) {
        let (hidden, next) = model.hidden(&pass, part, 1, state.as_ref()).unwrap();
        let y = model.logits(&pass, &hidden).unwrap();
        out.extend(y.tensor().flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap());
        state = Some(next);
    }
    out
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

const MODELS: [(&str, f64); 3] = [("tiny-mamba1", 12.880063), ("tiny-mamba2", 11.056030), ("tiny-mamba3", 6.246807)];

#[test]
fn tiny_models_give_the_published_programs_logits_in_every_mode() {
    for (name, nll) in MODELS {
        let expected = expected(name);
        let size = expected.logits.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
            let (model, params) = load(name, dtype);
            for chunk in [expected.tokens.len(), 1, 5, 8] {
                let found = logits(&model, &params, &expected.tokens, chunk);
                let error = worst(&found, &expected.logits);
                assert!(error <= tolerance * size, "{name} {dtype:?} in chunks of {chunk}: {error}");
                if dtype == DType::F64 {
                    let rows: Vec<&[f64]> = found.chunks_exact(model.config().padded_vocabulary).collect();
                    let vocabulary = model.config().vocabulary;
                    let best = |row: &&[f64]| (0..vocabulary).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
                    assert_eq!(rows.iter().map(best).collect::<Vec<_>>(), expected.argmax);
                    let loss = |(row, next): (&&[f64], &u32)| {
                        let top = row[..vocabulary].iter().fold(f64::MIN, |m, v| m.max(*v));
                        top + row[..vocabulary].iter().map(|v| (v - top).exp()).sum::<f64>().ln() - row[*next as usize]
                    };
                    let mean = rows.iter().zip(&expected.tokens[1..]).map(loss).sum::<f64>() / (rows.len() - 1) as f64;
                    assert!((mean - expected.nll).abs() < 1e-9 && (mean - nll).abs() < 1e-6, "{name}: {mean}");
                }
            }
        }
    }
}

#[test]
fn a_batch_is_its_sequences() {
    for (name, _) in MODELS {
        let (model, params) = load(name, DType::F64);
        let pass = Pass::inference(&params);
        let tokens: Vec<u32> = (0..24).map(|i| (i * 7) % 45).collect();
        let (hidden, _) = model.hidden(&pass, &tokens, 2, None).unwrap();
        let both = hidden.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, part) in tokens.chunks(12).enumerate() {
            let (one, _) = model.hidden(&pass, part, 1, None).unwrap();
            let one = one.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert!(worst(&both[i * one.len()..(i + 1) * one.len()], &one) < 1e-12, "{name}");
        }
    }
}

#[test]
fn a_state_goes_through_its_tensors() {
    for (name, _) in MODELS {
        let (model, params) = load(name, DType::F64);
        let pass = Pass::inference(&params);
        let (_, state) = model.hidden(&pass, &[3, 1, 4, 1, 5], 1, None).unwrap();
        let tensors: BTreeMap<String, Tensor> = state.tensors().into_iter().collect();
        let again = model.state_from(&tensors, 1, DType::F64).unwrap();
        let run = |state: &ModelState| {
            let (y, _) = model.hidden(&pass, &[9, 2], 1, Some(state)).unwrap();
            y.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        assert_eq!(run(&state), run(&again));
        let mut less = tensors.clone();
        less.remove("layers.1.scan");
        assert!(model.state_from(&less, 1, DType::F64).err().unwrap().to_string().contains("layers.1.scan"));
    }
}

#[test]
fn misfits_name_the_tensor_and_the_setting() {
    let config = std::fs::read_to_string(folder("tiny-mamba1").join("config.json")).unwrap();
    let bytes = std::fs::read(folder("tiny-mamba1").join("model.safetensors")).unwrap();
    let tensors = crate::nn::params::tensors_of(&bytes).unwrap();
    let run = |config: &str, tensors: &BTreeMap<String, Tensor>| {
        load_model(config, tensors.clone(), DType::F32, ModelOptions::default()).err().unwrap().to_string()
    };
    let e = run(&config.replace("\"d_state\": 16", "\"d_state\": 8"), &tensors);
    assert!(e.contains("x_proj.weight") && e.contains("d_state") && e.contains("[33, 32]"), "{e}");
    let mut less = tensors.clone();
    less.remove("backbone.layers.1.mixer.D");
    assert!(run(&config, &less).contains("backbone.layers.1.mixer.D"));
    let mut more = tensors.clone();
    more.insert("stranger".into(), tensors["backbone.norm_f.weight"].clone());
    assert!(run(&config, &more).contains("stranger"));
}

#[test]
fn both_layouts_of_names_load_and_a_shared_head_may_be_there_twice() {
    let config = r#"{"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 48, "state_size": 16}"#;
    let bytes = std::fs::read(folder("tiny-mamba1").join("model.safetensors")).unwrap();
    let mut tensors = crate::nn::params::tensors_of(&bytes).unwrap();
    let table = tensors.remove("backbone.embedding.weight").unwrap();
    tensors.insert("lm_head.weight".into(), table.clone());
    tensors.insert("backbone.embeddings.weight".into(), table);
    let (model, params) = load_model(config, tensors, DType::F64, ModelOptions::default()).unwrap();
    let (plain, weights) = load("tiny-mamba1", DType::F64);
    let tokens = [1, 2, 3, 4];
    assert_eq!(logits(&model, &params, &tokens, 4), logits(&plain, &weights, &tokens, 4));
}

/// A drawn model learns: its gradients reach every parameter, and each is that of central differences.
#[test]
fn gradients_of_whole_models_are_central_differences() {
    use crate::nn::ssm::{Mamba1Config, Mamba2Config, Mamba3Config, MixerConfig};
    let mixers = [
        MixerConfig::Mamba1(Mamba1Config { states: 3, ..Mamba1Config::new(6) }),
        MixerConfig::Mamba2(Mamba2Config { states: 4, head_width: 4, groups: 2, scan_channels: 8, ..Mamba2Config::new(6) }),
        MixerConfig::Mamba3(Mamba3Config { states: 8, head_width: 4, mimo_rank: 2, out_norm: true, ..Mamba3Config::new(6) }),
        MixerConfig::Mamba3(Mamba3Config { states: 4, head_width: 6, rate: Rate::Softplus, ..Mamba3Config::new(6) }),
    ];
    for mixer in mixers {
        let config = LanguageModelConfig {
            vocabulary: 7,
            padded_vocabulary: 8,
            width: 6,
            layers: 2,
            mixer,
            mlp: 5,
            tied: true,
            eps: 1e-5,
        };
        let (model, mut params) = new_model(config, DType::F64, &Streams::new(5)).unwrap();
        // Embeddings of size 0.02 would make the norms too curved for differences.
        let table = params.find("backbone.embedding.weight").unwrap();
        let larger = (&params.get(table).tensor * 25.0).unwrap();
        params.set(table, &larger).unwrap();
        let (tokens, next) = ([1u32, 5, 0, 3, 3, 6], [5u32, 0, 3, 3, 6, 2]);
        let loss = |_: &Params, pass: &Pass| {
            let (hidden, _) = model.hidden(pass, &tokens, 2, None).unwrap();
            let logits = ops::reshape(&model.logits(pass, &hidden).unwrap(), &[6, 8]).unwrap();
            ops::cross_entropy(&logits, &next, 0.0).unwrap()
        };
        let checked = Checked { params: |p: &Params| p, params_mut: |p: &mut Params| p, loss: &loss };
        check_gradients(&mut params, &checked, 3, &format!("{mixer:?}"));
    }
}
