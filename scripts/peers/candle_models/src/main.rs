//! Prefill and decode of a Mamba or Mamba-2 checkpoint by candle's own models, as its examples run them: the likeliest token behind the prompt, and tokens per second of both.

use anyhow::{Context, Result};
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{mamba, mamba2};
use std::time::Instant;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, prompt, steps] = &args[..] else { anyhow::bail!("usage: candle-models MODEL PROMPT_IDS.txt STEPS") };
    let text = std::fs::read_to_string(format!("{folder}/config.json"))?;
    let config: serde_json::Value = serde_json::from_str(&text)?;
    let tokens: Vec<u32> = std::fs::read_to_string(prompt)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let steps: usize = steps.parse()?;
    let device = Device::Cpu;
    let file = format!("{folder}/model.safetensors");
    // SAFETY: the file is not changed while it is mapped.
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[file], DType::F32, &device)? };
    let one = |t: u32| Tensor::new(&[t], &device);
    let best = |logits: &Tensor| -> Result<u32> { Ok(logits.flatten_all()?.argmax(0)?.to_scalar::<u32>()?) };
    let mut logits;
    let (prefill, decode, next);
    if config["ssm_cfg"]["layer"] == "Mamba2" {
        let mut c = config.clone();
        for (k, v) in config["ssm_cfg"].as_object().context("ssm_cfg")? {
            c[k] = v.clone();
        }
        let c: mamba2::Config = serde_json::from_value(c)?;
        // candle knows the name of Hugging Face.
        let weights = weights.rename_f(|name: &str| name.replace("embeddings", "embedding"));
        let model = mamba2::Model::new(&c, weights.pp("backbone"))?;
        let mut state = mamba2::State::new(1, &c, DType::F32, &device)?;
        let start = Instant::now();
        let all = model.forward_prefill(&Tensor::new(&tokens[..], &device)?.unsqueeze(0)?, &mut state, 256)?;
        logits = all.i((0, tokens.len() - 1))?;
        prefill = start.elapsed().as_secs_f64();
        next = best(&logits)?;
        let start = Instant::now();
        for _ in 0..steps {
            logits = model.forward(&one(best(&logits)?)?, &mut state)?;
        }
        decode = start.elapsed().as_secs_f64();
    } else {
        let c: mamba::Config = serde_json::from_value(config)?;
        let model = mamba::Model::new(&c, weights.pp("backbone"))?;
        let mut state = mamba::State::new(1, &c, DType::F32, &device)?;
        let start = Instant::now();
        logits = Tensor::zeros(1, DType::F32, &device)?;
        for t in &tokens {
            logits = model.forward(&one(*t)?, &mut state)?;
        }
        prefill = start.elapsed().as_secs_f64();
        next = best(&logits)?;
        let start = Instant::now();
        for _ in 0..steps {
            logits = model.forward(&one(best(&logits)?)?, &mut state)?;
        }
        decode = start.elapsed().as_secs_f64();
    }
    println!("next {next} prefill {:.1} decode {:.1}", tokens.len() as f64 / prefill, steps as f64 / decode);
    Ok(())
}
