//! `shoal forecast seqtask`.

use super::network::train_failure;
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::forecast::seqtask::train::{Curriculum, answers, share_right, test_set, train_task};
use crate::forecast::seqtask::{Example, Task};
use crate::forecast::sequence::{Pooling, SequenceConfig, Steps};
use crate::forecast::state_space::StateSpaceKind;
use crate::kernels::scan::step_size::Rate;
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::ssm::{Mamba1Config, Mamba2Config, Mamba3Config, MixerConfig};
use crate::nn::train::TrainConfig;
use crate::run::check::MetricRow;
use crate::table::{BadInput, Table, Values};
use candle_core::DType;
use clap::{Args, ValueEnum, ValueHint};
use rand::RngExt as _;
use serde_json::json;

pub const EXAMPLES: &str = "Examples:
  shoal forecast seqtask --kind parity -m mamba3 --test-len 40,256
  shoal forecast seqtask --kind parity -m mamba3 --test parity_L256.csv --assert 'accuracy>=1'
  shoal forecast seqtask --kind modarith-brackets --generate 100 --min-len 40 --max-len 40 -o test.csv

Training sequences are drawn as training goes; a stage of --stages is longer than the one before it. Files have the columns sequence and
label. accuracy is the share of right labels, scaled_accuracy (accuracy - chance) / (1 - chance), chance = 1 / labels.";

/// Arguments of `shoal forecast seqtask`.
#[derive(Debug, Args)]
pub struct SeqtaskArgs {
    /// The task.
    #[arg(long, value_enum, value_name = "TASK")]
    kind: Kind,
    /// Arithmetic: the operators that are drawn.
    #[arg(long, value_name = "OPERATORS", default_value = "+-*", allow_hyphen_values = true)]
    ops: String,
    /// Write so many sequences with their labels and train nothing.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    generate: Option<u32>,
    /// Shortest sequence.
    #[arg(long, value_name = "TOKENS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    min_len: u32,
    /// --generate: longest sequence [default: 40]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_len: Option<u32>,
    /// The network.
    #[arg(short, long, visible_alias = "model", value_enum, value_name = "MODEL", default_value = "mamba3")]
    method: Network,
    /// Longest training sequence of each stage.
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', default_value = "10,20,40,80,160,200,200")]
    stages: Vec<u32>,
    /// Steps of a stage.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    steps: u32,
    /// Sequences of a step.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Highest learning rate; it rises over the first tenth of the steps and falls to almost nothing.
    #[arg(long, value_name = "RATE", default_value_t = 5e-3)]
    lr: f64,
    /// Largest L2 norm of the gradient.
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    clip: f64,
    /// Train on the label at the end of a sequence alone, not on those of all its parts.
    #[arg(long)]
    last_only: bool,
    /// Step sizes of the scans start between --dt-min and --dt-max.
    #[arg(long, value_name = "SIZE", default_value_t = 0.1)]
    dt_min: f64,
    /// See --dt-min.
    #[arg(long, value_name = "SIZE", default_value_t = 1.0)]
    dt_max: f64,
    /// Width of the stream.
    #[arg(long, value_name = "D", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=8192))]
    d_model: u32,
    /// Blocks.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    layers: u32,
    /// States of a channel of the scans.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    d_state: u32,
    /// mamba2, mamba3: channels of a head.
    #[arg(long, value_name = "CHANNELS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    head_width: u32,
    /// mamba3: share of the states that is rotated; 0 leaves the angles out.
    #[arg(long, value_name = "SHARE", default_value = "1", value_parser = ["0", "0.5", "1"])]
    rope_fraction: String,
    /// mamba3: how decay rates come from their projection; softplus reaches slow decays sooner.
    #[arg(long, value_enum, default_value = "softplus", value_name = "HOW")]
    a_activation: RateArg,
    /// Hidden width of a gated perceptron behind each scan; 0: none.
    #[arg(long, value_name = "D", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    mlp: u32,
    /// Sequences with labels to be tested on: .csv with the columns sequence and label; repeatable.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    test: Vec<String>,
    /// Lengths of drawn test sequences [default: 40,256 without --test]
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    test_len: Vec<u32>,
    /// Drawn test sequences of each length.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    test_count: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

/// See [`SeqtaskArgs::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// bits: is their sum odd?
    Parity,
    /// digits and operators, usual precedence, modulo 5
    Modarith,
    /// bracketed expressions modulo 5
    ModarithBrackets,
    /// nested MIN, MAX, MED and SM
    Listops,
}

/// See [`SeqtaskArgs::a_activation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RateArg {
    /// 1 + x, and 1/(1 - x) below 0
    HeavyTail,
    Softplus,
}

/// See [`SeqtaskArgs::method`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    Mamba,
    Mamba2,
    Mamba3,
}

impl SeqtaskArgs {
    fn task(&self) -> Outcome<Task> {
        let operators = self.ops.clone();
        let arithmetic = matches!(self.kind, Kind::Modarith | Kind::ModarithBrackets);
        if operators.is_empty() || operators.chars().any(|c| !"+-*".contains(c)) {
            return Err(Failure::usage(format!("--ops {operators}: expected some of + - *")));
        }
        if !arithmetic && operators != "+-*" {
            return Err(Failure::usage("--ops belongs to the arithmetic tasks: leave it out"));
        }
        Ok(match self.kind {
            Kind::Parity => Task::Parity,
            Kind::Modarith => Task::Modarith { operators },
            Kind::ModarithBrackets => Task::ModarithBrackets { operators },
            Kind::Listops => Task::Listops,
        })
    }

    fn network(&self, task: &Task) -> Outcome<SequenceConfig> {
        let (width, states, head_width) = (self.d_model as usize, self.d_state as usize, self.head_width as usize);
        let channels = 2 * width;
        let heads = self.method != Network::Mamba;
        if heads && !channels.is_multiple_of(head_width) {
            return Err(Failure::usage(format!("{channels} channels do not make heads of {head_width}: set --head-width")));
        }
        if self.method == Network::Mamba3 && !states.is_multiple_of(2) {
            return Err(Failure::usage(format!("--d-state {states}: mamba3 turns states in pairs, expected an even number")));
        }
        let steps = [self.dt_min, self.dt_max];
        let mixer = match self.method {
            Network::Mamba => MixerConfig::Mamba1(Mamba1Config { steps, states, ..Mamba1Config::new(width) }),
            Network::Mamba2 => MixerConfig::Mamba2(Mamba2Config { steps, states, head_width, ..Mamba2Config::new(width) }),
            Network::Mamba3 => MixerConfig::Mamba3(Mamba3Config {
                steps,
                states,
                head_width,
                rate: match self.a_activation {
                    RateArg::HeavyTail => Rate::HeavyTail,
                    RateArg::Softplus => Rate::Softplus,
                },
                rope_fraction: self.rope_fraction.parse().unwrap_or(1.0),
                ..Mamba3Config::new(width)
            }),
        };
        Ok(SequenceConfig {
            steps: Steps::Tokens(task.words().len()),
            classes: task.classes(),
            width,
            layers: self.layers as usize,
            mixer,
            mlp: self.mlp as usize,
            dropout: 0.0,
            pooling: Pooling::Last,
        })
    }
}

/// Trains and tests, or generates.
pub fn run(args: SeqtaskArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("forecast seqtask draws no picture: leave --plot out"));
    }
    let task = args.task()?;
    if let Some(count) = args.generate {
        return generate(&args, &task, count as usize, session);
    }
    if args.max_len.is_some() {
        return Err(Failure::usage("--max-len belongs to --generate; training lengths are --stages"));
    }
    if let Some(stage) = args.stages.iter().find(|s| **s < args.min_len) {
        return Err(Failure::usage(format!("--stages {stage} is shorter than --min-len {}", args.min_len)));
    }
    let positive = |v: f64| v > 0.0 && v.is_finite();
    if !positive(args.lr) || !positive(args.clip) {
        return Err(Failure::usage("--lr and --clip must be numbers above 0"));
    }
    if !positive(args.dt_min) || !positive(args.dt_max) || args.dt_min > args.dt_max {
        return Err(Failure::usage("--dt-min and --dt-max must be numbers above 0, the smaller first"));
    }
    let metrics: Vec<String> = ["n", "accuracy", "scaled_accuracy"].map(String::from).to_vec();
    report::validate_claims(&args.check, &metrics, &[])?;
    let network = args.network(&task)?;
    let mut tests: Vec<(String, Vec<Example>)> = Vec::new();
    for path in &args.test {
        tests.push((path.clone(), read_examples(&mut session, path, &task)?));
    }
    let lengths = if args.test_len.is_empty() && tests.is_empty() { vec![40, 256] } else { args.test_len.clone() };
    let output = session.open_outputs(&args.output)?;
    let streams = session.streams();
    for length in lengths {
        let length = task.possible_length(length as usize);
        tests.push(("drawn".into(), test_set(&task, length, args.test_count as usize, &streams)));
    }
    let curriculum = Curriculum {
        shortest: args.min_len as usize,
        longest: args.stages.iter().map(|s| *s as usize).collect(),
        steps: args.steps as usize,
        prefixes: !args.last_only,
        validation: 128,
    };
    let config = TrainConfig {
        epochs: curriculum.longest.len(),
        batch_size: args.batch_size as usize,
        drop_last: false,
        shuffle: false,
        optimizer: OptimizerConfig::adam(),
        schedule: Schedule::one_cycle(args.lr, 0.1),
        clip_norm: Some(args.clip),
        patience: None,
        seed: session.seed,
    };
    let trained = train_task(&task, network.clone(), &curriculum, &config, DType::F32, session.observer());
    let (network_trained, told) = trained.map_err(|e| train_failure(e, None))?;
    let chance = 1.0 / task.classes() as f64;
    let mut rows = Vec::new();
    for (name, examples) in &tests {
        let failed = |e: candle_core::Error| Failure::Run(anyhow::anyhow!(e.to_string()));
        let said = answers(&network_trained, &task, examples).map_err(failed)?;
        let accuracy = share_right(&said, examples);
        let longest = examples.iter().filter_map(|e| task.tokens(&e.text).ok()).map(|t| t.len()).max().unwrap_or(0);
        rows.push(MetricRow {
            keys: vec![
                ("task".into(), task.name().into()),
                ("model".into(), kind_name(args.method).into()),
                ("test".into(), name.clone()),
                ("length".into(), longest.to_string()),
            ],
            metrics: vec![
                ("n".into(), Some(examples.len() as f64)),
                ("accuracy".into(), Some(accuracy)),
                ("scaled_accuracy".into(), Some((accuracy - chance) / (1.0 - chance))),
            ],
        });
    }
    let record = json!({ "task": task, "network": network, "curriculum": curriculum, "training": config });
    output.result(&report::table(&rows), || {
        Ok(json!({ "results": report::json(&rows), "training": told.epochs, "configuration": record }))
    })?;
    report::keep(&session, &rows)?;
    session.finish(&record)?;
    report::check(&session, &args.check, &rows)
}

fn kind_name(network: Network) -> &'static str {
    match network {
        Network::Mamba => StateSpaceKind::Mamba.name(),
        Network::Mamba2 => StateSpaceKind::Mamba2.name(),
        Network::Mamba3 => StateSpaceKind::Mamba3.name(),
    }
}

fn generate(args: &SeqtaskArgs, task: &Task, count: usize, mut session: Session) -> Outcome {
    let (shortest, longest) = (args.min_len as usize, args.max_len.unwrap_or(40) as usize);
    if longest < shortest {
        return Err(Failure::usage(format!("--max-len {longest} is below --min-len {shortest}")));
    }
    let output = session.open_outputs(&args.output)?;
    let mut rng = session.streams().stream("seqtask generate", 0);
    let examples: Vec<Example> = (0..count)
        .map(|_| {
            let length = rng.random_range(shortest..=longest);
            task.draw(task.possible_length(length), &mut rng)
        })
        .collect();
    let table = Table::new()
        .with("sequence", Values::Text(examples.iter().map(|e| e.text.as_str().into()).collect()))
        .with("label", Values::Integer(examples.iter().map(|e| i64::from(e.label)).collect()));
    output.result(&table, || {
        let row = |e: &Example| json!({ "sequence": e.text, "label": e.label });
        Ok(json!({ "task": task, "sequences": examples.iter().map(row).collect::<Vec<_>>() }))
    })?;
    session.finish(&json!({ "task": task, "count": count, "shortest": shortest, "longest": longest }))
}

/// Sequences and labels of a file.
fn read_examples(session: &mut Session, path: &str, task: &Task) -> Outcome<Vec<Example>> {
    let bytes = session.open_raw(path)?;
    let text = String::from_utf8(bytes).map_err(|_| BadInput::new(path, "is not text"))?;
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let header: Vec<&str> = lines.next().map(|(_, l)| l.split(',').map(str::trim).collect()).unwrap_or_default();
    let column = |name: &str| {
        header.iter().position(|c| *c == name).ok_or_else(|| BadInput::new(path, format!("has no column \"{name}\"")))
    };
    let (at, label_at) = (column("sequence")?, column("label")?);
    let mut out = Vec::new();
    for (i, line) in lines {
        let fields: Vec<&str> = line.split(',').map(|f| f.trim().trim_matches('"')).collect();
        let wrong = |why: String| BadInput::new(path, format!("line {}: {why}", i + 1));
        let (Some(sequence), Some(label)) = (fields.get(at), fields.get(label_at)) else {
            return Err(wrong(format!("has {} fields, expected {}", fields.len(), header.len())).into());
        };
        let true_label = task.label(sequence).map_err(|e| wrong(format!("\"{sequence}\": {e}")))?;
        match label.parse::<u32>() {
            Ok(l) if l == true_label => {}
            _ => return Err(wrong(format!("label \"{label}\", but the sequence has {true_label}")).into()),
        }
        out.push(Example { text: sequence.to_string(), label: true_label });
    }
    if out.is_empty() {
        return Err(BadInput::new(path, "holds no sequences").into());
    }
    Ok(out)
}
