//! `shoal kernels apply`.

use super::model_files::read_model;
use crate::cli::args::CheckArgs;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::refuse_same_file;
use crate::cli::report;
use crate::cli::session::{Session, write_json};
use crate::kernels::scan::step_size::Rate;
use crate::nn::Pass;
use crate::nn::ops;
use crate::nn::params::tensors_of;
use crate::nn::ssm::{LanguageModel, MixerConfig, ModelOptions, ModelState};
use crate::run::check::MetricRow;
use crate::table::arrays::{Array, ArrayFormat, ArrayType, Arrays, write_arrays};
use crate::table::{AtomicFile, BadInput, write_number};
use candle_core::{DType, Tensor};
use clap::{Args, ValueEnum, ValueHint};
use rayon::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;

pub const EXAMPLES: &str = "Examples:
  shoal kernels apply mamba-130m ids.txt -o losses.csv
  shoal kernels apply mamba2-130m ids.txt --json --assert 'nll<3.2'
  tail -f ids.txt | shoal kernels apply mamba-130m --mode step
  shoal kernels apply mamba-130m part2.txt --state-in part1.safetensors --state-out part2.safetensors

A row for each token: position, token, nll (nats of this token given those before it; empty for the first) and argmax (the likeliest next
one). Rows are written as tokens come, in constant memory except with --mode scan and --logits.";

/// Arguments of `shoal kernels apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Folder with config.json and model.safetensors (or shards with an index, or pytorch_model.bin).
    #[arg(value_name = "MODEL", value_hint = ValueHint::DirPath)]
    model: PathBuf,
    /// Token numbers, separated by white space or commas; "-" is stdin.
    #[arg(value_name = "TOKENS", value_hint = ValueHint::FilePath, default_value = "-")]
    tokens: String,
    /// Write the rows here instead of stdout, as .csv or .jsonl: complete or not at all.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Write one JSON object with the mean loss instead of the rows.
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Write the logits (tokens, padded vocabulary) here: .npz, .safetensors or .json.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    logits: Option<PathBuf>,
    /// How to go through the tokens; all agree up to rounding.
    #[arg(long, value_enum, default_value = "chunk", value_name = "HOW")]
    mode: Mode,
    /// Tokens of a chunk [default: 512]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    chunk: Option<u32>,
    /// Numbers to compute with.
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    dtype: super::run::DtypeArg,
    /// Go on from this state, a file of --state-out.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    state_in: Option<PathBuf>,
    /// Write the state behind the last token here.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    state_out: Option<PathBuf>,
    /// Leave rows of the embedding behind the vocabulary out of the loss; argmax never takes one.
    #[arg(long)]
    mask_pad: bool,
    /// Mamba-3: how A comes from its projection, which a checkpoint does not say [default: heavy-tail]
    #[arg(long, value_enum, value_name = "HOW")]
    a_activation: Option<Rate>,
    /// Mamba-2: the gated norm goes over the whole width, not over each group.
    #[arg(long)]
    hf_norm: bool,
    #[command(flatten)]
    check: CheckArgs,
}

/// Tokens of a chunk, unless told otherwise.
const CHUNK: usize = 512;
/// Positions whose logits exist at a time.
const POSITIONS: usize = 128;

/// See [`ApplyArgs::mode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// all at once
    Scan,
    /// in chunks, the state carried
    Chunk,
    /// one by one
    Step,
}

/// Tokens as they come.
struct Tokens {
    name: String,
    reader: Box<dyn BufRead>,
    vocabulary: usize,
    line: usize,
    waiting: std::collections::VecDeque<u32>,
}

impl Tokens {
    fn open(name: &str, vocabulary: usize) -> Outcome<Self> {
        let (name, reader): (String, Box<dyn BufRead>) = if name == "-" {
            if std::io::stdin().is_terminal() {
                return Err(Failure::usage("no tokens: name a file, or pipe them in"));
            }
            ("stdin".into(), Box::new(std::io::stdin().lock()))
        } else {
            let file = std::fs::File::open(name).map_err(|e| BadInput::new(name, format!("cannot be read: {e}")))?;
            (name.into(), Box::new(BufReader::new(file)))
        };
        Ok(Self { name, reader, vocabulary, line: 0, waiting: Default::default() })
    }

    /// Up to `most` of them, fewer only at the end, or, with `eager`, when the line that came holds fewer.
    fn next(&mut self, most: usize, eager: bool) -> Outcome<Vec<u32>> {
        while self.waiting.len() < most && (!eager || self.waiting.is_empty()) {
            let mut text = String::new();
            self.line += 1;
            if self.reader.read_line(&mut text)? == 0 {
                break;
            }
            for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
                match word.parse::<u32>() {
                    Ok(token) if (token as usize) < self.vocabulary => self.waiting.push_back(token),
                    _ => {
                        let expected = format!("expected a token number from 0 to {}", self.vocabulary - 1);
                        return Err(BadInput::new(&self.name, format!("line {}: \"{word}\": {expected}", self.line)).into());
                    }
                }
            }
        }
        let count = self.waiting.len().min(most);
        Ok(self.waiting.drain(..count).collect())
    }
}

/// Where rows go.
enum Rows {
    Nowhere,
    Stdout(Box<dyn Write>),
    File { file: AtomicFile, lines: bool },
}

impl Rows {
    fn open(args: &ApplyArgs) -> Outcome<Self> {
        let Some(path) = &args.output else {
            return Ok(if args.json { Self::Nowhere } else { Self::Stdout(Box::new(std::io::stdout().lock())) });
        };
        let lines = match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => false,
            Some("jsonl") => true,
            _ => return Err(Failure::usage(format!("-o {}: expected a name that ends in .csv or .jsonl", path.display()))),
        };
        Ok(Self::File { file: AtomicFile::create(path)?, lines })
    }

    fn parts(&mut self) -> Option<(&mut dyn Write, bool)> {
        match self {
            Self::Nowhere => None,
            Self::Stdout(out) => Some((&mut **out, false)),
            Self::File { file, lines } => Some((file, *lines)),
        }
    }

    fn head(&mut self) -> Outcome {
        match self.parts() {
            Some((out, false)) => Ok(out.write_all(b"position,token,nll,argmax\n")?),
            _ => Ok(()),
        }
    }

    fn rows(&mut self, first: usize, tokens: &[u32], losses: &[Option<f64>], best: &[u32]) -> Outcome {
        let Some((out, lines)) = self.parts() else { return Ok(()) };
        let mut text = String::new();
        for (i, ((token, loss), best)) in tokens.iter().zip(losses).zip(best).enumerate() {
            let mut nll = String::new();
            if let Some(loss) = loss {
                write_number(&mut nll, *loss);
            }
            if lines {
                let nll = if nll.is_empty() { "null" } else { &nll };
                text += &format!("{{\"position\":{},\"token\":{token},\"nll\":{nll},\"argmax\":{best}}}\n", first + i);
            } else {
                text += &format!("{},{token},{nll},{best}\n", first + i);
            }
        }
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    fn finish(self) -> Outcome {
        match self {
            Self::File { file, .. } => Ok(file.commit()?),
            _ => Ok(()),
        }
    }
}

/// What the logits of a position say.
struct Position {
    /// ln Σ exp over the vocabulary.
    log_sum: f64,
    best: u32,
}

fn position(row: &[f64], vocabulary: usize, mask: bool) -> Position {
    let counted = if mask { &row[..vocabulary] } else { row };
    let top = counted.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let log_sum = top + counted.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
    let best = (1..vocabulary).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    Position { log_sum, best: best as u32 }
}

/// Reads, computes, writes.
pub fn run(args: ApplyArgs, mut session: Session) -> Outcome {
    let metrics: Vec<String> = ["tokens", "nll", "ppl"].map(String::from).to_vec();
    report::validate_claims(&args.check, &metrics, &[])?;
    refuse_same_file(&[
        ("-o", args.output.as_deref()),
        ("--logits", args.logits.as_deref()),
        ("--state-out", args.state_out.as_deref()),
    ])?;
    if args.chunk.is_some() && args.mode != Mode::Chunk {
        return Err(Failure::usage("--chunk belongs to --mode chunk: leave it out"));
    }
    let double = args.dtype == super::run::DtypeArg::F64;
    let dtype = if double { DType::F64 } else { DType::F32 };
    let logits_file = args
        .logits
        .as_ref()
        .map(|path| match ArrayFormat::of_path(path) {
            Some(format) => Ok((AtomicFile::create(path)?, format)),
            None => Err(Failure::usage(format!(
                "--logits {}: expected a name that ends in .npz, .safetensors or .json",
                path.display()
            ))),
        })
        .transpose()?;
    let state_file = args.state_out.as_ref().map(AtomicFile::create).transpose()?;
    let mut rows = Rows::open(&args)?;
    let options = ModelOptions { rate: args.a_activation.unwrap_or(ModelOptions::default().rate), whole_norm: args.hf_norm };
    let (model, params) = read_model(&mut session, &args.model, dtype, options)?;
    let mixer = &model.config().mixer;
    if args.a_activation.is_some() && !matches!(mixer, MixerConfig::Mamba3(_)) {
        return Err(Failure::usage("--a-activation belongs to Mamba-3, and this model is none: leave it out"));
    }
    if args.hf_norm && !matches!(mixer, MixerConfig::Mamba2(_)) {
        return Err(Failure::usage("--hf-norm belongs to Mamba-2, and this model is none: leave it out"));
    }
    let state = match &args.state_in {
        Some(path) => {
            let bytes = session.open_raw(&path.display().to_string())?;
            let bad = |e: String| Failure::from(BadInput::new(path.display().to_string(), e));
            let tensors = tensors_of(&bytes).map_err(|e| bad(format!("cannot be read: {e}")))?;
            Some(model.state_from(&tensors, 1, dtype).map_err(|e| bad(e.to_string()))?)
        }
        None => None,
    };
    let vocabulary = model.config().vocabulary;
    let mut tokens = Tokens::open(&args.tokens, vocabulary)?;
    let most = match args.mode {
        Mode::Scan => usize::MAX,
        Mode::Chunk => args.chunk.map_or(CHUNK, |c| c as usize),
        Mode::Step => 1,
    };
    rows.head()?;
    let mut run = Run { model: &model, params: &params, state, before: None, count: 0, total: 0.0, scored: 0, spent: 0.0 };
    let mut kept: Vec<f64> = Vec::new();
    loop {
        if session.observer().cancelled() {
            return Err(Failure::Interrupted);
        }
        let part = tokens.next(most, args.mode == Mode::Step)?;
        if part.is_empty() {
            break;
        }
        run.advance(&part, args.mask_pad, &mut rows, logits_file.is_some().then_some(&mut kept))?;
    }
    if run.count == 0 {
        return Err(BadInput::new(&tokens.name, "holds no tokens").into());
    }
    let array_type = if double { ArrayType::F64 } else { ArrayType::F32 };
    if let Some((mut file, format)) = logits_file {
        let mut arrays = Arrays::default();
        arrays.push("logits", Array::new(&[run.count, model.config().padded_vocabulary], kept));
        file.write_all(&write_arrays(&arrays, format, array_type).map_err(|why| Failure::Run(anyhow::anyhow!(why)))?)?;
        file.commit()?;
    }
    if let (Some(mut file), Some(state)) = (state_file, &run.state) {
        let tensors: BTreeMap<String, Tensor> = state.tensors().into_iter().collect();
        let bytes = safetensors::serialize(&tensors, None).map_err(|e| Failure::Run(e.into()))?;
        file.write_all(&bytes)?;
        file.commit()?;
    }
    rows.finish()?;
    let nll = (run.scored > 0).then(|| run.total / run.scored as f64);
    let ppl = nll.map(f64::exp);
    if args.json {
        let object = json!({ "tokens": run.count, "scored": run.scored, "nll": nll, "ppl": ppl });
        write_json(&mut std::io::stdout().lock(), &object)?;
    }
    let shown = |v: Option<f64>| v.map_or("undefined".to_string(), |v| format!("{v:.6}"));
    session.say(format!(
        "{} tokens: mean loss {} nats, perplexity {}; the model took {:.3} s, {:.1} tokens/s",
        run.count,
        shown(nll),
        shown(ppl),
        run.spent,
        run.count as f64 / run.spent.max(f64::MIN_POSITIVE)
    ));
    let row = MetricRow {
        keys: vec![("model".into(), args.model.display().to_string())],
        metrics: vec![("tokens".into(), Some(run.count as f64)), ("nll".into(), nll), ("ppl".into(), ppl)],
    };
    report::check(&session, &args.check, &[row])
}

/// A model on its way through the tokens.
struct Run<'a> {
    model: &'a LanguageModel,
    params: &'a crate::nn::Params,
    state: Option<ModelState>,
    /// The logits behind the last token, and their sum.
    before: Option<(Vec<f64>, f64)>,
    count: usize,
    total: f64,
    scored: usize,
    /// Seconds in the model, without reading and writing.
    spent: f64,
}

impl Run<'_> {
    /// Takes some tokens and writes their rows; keeps the logits where they are wanted.
    fn advance(&mut self, tokens: &[u32], mask: bool, rows: &mut Rows, mut kept: Option<&mut Vec<f64>>) -> Outcome {
        let pass = Pass::inference(self.params);
        let failed = |e: candle_core::Error| Failure::Run(anyhow::anyhow!(e.to_string()));
        let started = std::time::Instant::now();
        let (hidden, next) = self.model.hidden(&pass, tokens, 1, self.state.as_ref()).map_err(failed)?;
        self.spent += started.elapsed().as_secs_f64();
        self.state = Some(next);
        let (vocabulary, padded) = (self.model.config().vocabulary, self.model.config().padded_vocabulary);
        // A vocabulary's logits are many times what a position holds otherwise.
        for (block, tokens) in tokens.chunks(POSITIONS).enumerate() {
            let started = std::time::Instant::now();
            let some = ops::narrow(&hidden, 1, block * POSITIONS, tokens.len()).map_err(failed)?;
            let logits = self.model.logits(&pass, &some).map_err(failed)?;
            self.spent += started.elapsed().as_secs_f64();
            let logits = logits.tensor().flatten_all().and_then(|t| t.to_dtype(DType::F64)?.to_vec1::<f64>()).map_err(failed)?;
            if let Some(place) = logits.iter().position(|v| !v.is_finite()) {
                let at = self.count + place / padded;
                return Err(Failure::Numbers(vec![format!("the logits behind token {at} are not finite")]));
            }
            let said: Vec<Position> = logits.par_chunks_exact(padded).map(|row| position(row, vocabulary, mask)).collect();
            let mut losses = Vec::with_capacity(tokens.len());
            for (i, token) in tokens.iter().enumerate() {
                let loss = match i {
                    0 => self.before.as_ref().map(|(row, log_sum)| log_sum - row[*token as usize]),
                    _ => Some(said[i - 1].log_sum - logits[(i - 1) * padded + *token as usize]),
                };
                if let Some(loss) = loss {
                    self.total += loss;
                    self.scored += 1;
                }
                losses.push(loss);
            }
            let best: Vec<u32> = said.iter().map(|p| p.best).collect();
            rows.rows(self.count, tokens, &losses, &best)?;
            self.before = said.last().map(|p| (logits[logits.len() - padded..].to_vec(), p.log_sum));
            self.count += tokens.len();
            if let Some(kept) = &mut kept {
                kept.extend(logits);
            }
        }
        Ok(())
    }
}
