//! `shoal forecast seqtask`.

use super::network::train_failure;
use crate::cli::args::{CheckArgs, OutputArgs, positive, refuse_unused};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::forecast::seqtask::train::{Curriculum, answers, share_right, test_set, train_task};
use crate::forecast::seqtask::{Example, Task};
use crate::forecast::sequence::{Pooling, SequenceConfig, Steps};
use crate::kernels::scan::step_size::Rate;
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::ssm::{BlockKind, BlockSizes};
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000), conflicts_with_all = OF_TRAINING)]
    generate: Option<u32>,
    /// Shortest sequence.
    #[arg(long, value_name = "TOKENS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    min_len: u32,
    /// --generate: longest sequence [default: 40]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "generate")]
    max_len: Option<u32>,
    /// The network.
    #[arg(short, long, visible_alias = "model", value_enum, value_name = "MODEL", default_value = "mamba3")]
    method: BlockKind,
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
    #[arg(long, value_name = "RATE", default_value_t = 5e-3, value_parser = positive)]
    lr: f64,
    /// Largest L2 norm of the gradient.
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = positive)]
    clip: f64,
    /// Train on the label at the end of a sequence alone, not on those of all its parts.
    #[arg(long)]
    last_only: bool,
    /// Step sizes of the scans start between --dt-min and --dt-max.
    #[arg(long, value_name = "SIZE", default_value_t = 0.1, value_parser = positive)]
    dt_min: f64,
    /// See --dt-min.
    #[arg(long, value_name = "SIZE", default_value_t = 1.0, value_parser = positive)]
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
    /// mamba2, mamba3: channels of a head [default: 16]
    #[arg(long, value_name = "CHANNELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    head_width: Option<u32>,
    /// mamba3: share of the states that is rotated; 0 leaves the angles out [default: 1]
    #[arg(long, value_name = "SHARE", value_parser = ["0", "0.5", "1"])]
    rope_fraction: Option<String>,
    /// mamba3: how decay rates come from their projection; softplus reaches slow decays sooner [default: softplus]
    #[arg(long, value_enum, value_name = "HOW")]
    a_activation: Option<Rate>,
    /// Hidden width of a gated perceptron behind each scan; 0: none.
    #[arg(long, value_name = "D", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    mlp: u32,
    /// Sequences with labels to be tested on: .csv with the columns sequence and label; repeatable.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    test: Vec<String>,
    /// Lengths of drawn test sequences [default: 40,256 without --test]
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    test_len: Vec<u32>,
    /// Drawn test sequences of each length [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    test_count: Option<u32>,
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

    /// `longest`: of the sequences there will be.
    fn network(&self, task: &Task, longest: usize) -> Outcome<SequenceConfig> {
        let width = self.d_model as usize;
        let third = self.method == BlockKind::Mamba3;
        let options = [
            ("--head-width", self.head_width.is_some(), self.method.has_heads()),
            ("--rope-fraction", self.rope_fraction.is_some(), third),
            ("--a-activation", self.a_activation.is_some(), third),
        ];
        refuse_unused(self.method.name(), &options)?;
        let plain = BlockSizes::new(width, self.d_state as usize, longest);
        let sizes = BlockSizes {
            head_width: self.head_width.map_or(plain.head_width, |n| n as usize),
            steps: [self.dt_min, self.dt_max],
            rate: self.a_activation.unwrap_or(Rate::Softplus),
            rope_fraction: self.rope_fraction.as_ref().and_then(|f| f.parse().ok()).unwrap_or(1.0),
            ..plain
        };
        Ok(SequenceConfig {
            steps: Steps::Tokens(task.words().len()),
            classes: task.classes(),
            width,
            layers: self.layers as usize,
            mixer: self.method.block(&sizes).map_err(Failure::usage)?,
            mlp: self.mlp as usize,
            dropout: 0.0,
            pooling: Pooling::Last,
        })
    }
}

/// Options that belong to training and testing, not to drawing sequences.
const OF_TRAINING: [&str; 20] = [
    "method",
    "stages",
    "steps",
    "batch_size",
    "lr",
    "clip",
    "last_only",
    "dt_min",
    "dt_max",
    "d_model",
    "layers",
    "d_state",
    "head_width",
    "rope_fraction",
    "a_activation",
    "mlp",
    "test",
    "test_len",
    "test_count",
    "check",
];

/// Trains and tests, or generates.
pub fn run(args: SeqtaskArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("forecast seqtask draws no picture: leave --plot out"));
    }
    let task = args.task()?;
    if let Some(count) = args.generate {
        return generate(&args, &task, count as usize, session);
    }
    if let Some(stage) = args.stages.iter().find(|s| **s < args.min_len) {
        return Err(Failure::usage(format!("--stages {stage} is shorter than --min-len {}", args.min_len)));
    }
    let metrics: Vec<String> = ["n", "accuracy", "scaled_accuracy"].map(String::from).to_vec();
    report::validate_claims(&args.check, &metrics, &[])?;
    let mut tests: Vec<(String, Vec<Example>)> = Vec::new();
    for path in &args.test {
        tests.push((path.clone(), read_examples(&mut session, path, &task)?));
    }
    let lengths = if args.test_len.is_empty() && tests.is_empty() { vec![40, 256] } else { args.test_len.clone() };
    if lengths.is_empty() && args.test_count.is_some() {
        return Err(Failure::usage("--test-count is about drawn test sequences: add --test-len"));
    }
    let longest_test = tests.iter().flat_map(|(_, t)| t).map(|e| e.text.len()).max().unwrap_or(0);
    let longest = args.stages.iter().chain(&lengths).map(|n| *n as usize).chain([longest_test]).max().unwrap_or(1);
    let network = args.network(&task, longest)?;
    let output = session.open_outputs(&args.output)?;
    let streams = session.streams();
    for length in lengths {
        let length = task.possible_length(length as usize);
        tests.push(("drawn".into(), test_set(&task, length, args.test_count.unwrap_or(500) as usize, &streams)));
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
                ("model".into(), args.method.name().into()),
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
