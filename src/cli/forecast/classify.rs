//! `shoal forecast classify`.

use super::network::train_failure;
use crate::cli::args::{CheckArgs, HeaderArg, OutputArgs, not_negative, positive, refuse_unused, share};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::forecast::classify::{ClassifyTask, measures, train_classifier};
use crate::forecast::sequence::{Pooling, SequenceConfig, Steps};
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::ssm::{BlockKind, BlockSizes, MixerConfig, StateInit};
use crate::nn::train::TrainConfig;
use crate::run::check::MetricRow;
use crate::table::labelled::{Form, LabelledOptions, LabelledSet, read_labelled};
use crate::table::{BadInput, Table, Values};
use candle_core::DType;
use clap::{Args, ValueEnum, ValueHint};
use serde_json::json;

pub const EXAMPLES: &str = "Examples:
  shoal forecast classify --train GunPoint_train.csv --test GunPoint_test.csv -o predictions.csv
  shoal forecast classify --train walks.parquet --test new.parquet --id-col walk --time-col t --label kind -m mamba2
  shoal forecast classify --train GunPoint_TRAIN.ts --test GunPoint_TEST.ts --json --assert 'accuracy>=0.98'

A table has a row for each series, with a column of labels and the steps in the other columns, or (--id-col) a row for each step. Inputs
are standardised by the training part.";

/// Arguments of `shoal forecast classify`.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// Labelled series to train on: a table, or a .ts file of the UCR archive.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    train: String,
    /// Labelled series to be told.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    test: String,
    /// Column of labels.
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// How series lie in the tables. auto: long with --id-col, else wide.
    #[arg(long, value_enum, default_value = "auto", value_name = "FORM")]
    layout: LayoutArg,
    /// Column of series ids.
    #[arg(long, value_name = "COLUMN")]
    id_col: Option<String>,
    /// Long tables: column by which the rows of a series are sorted [default: file order]
    #[arg(long, value_name = "COLUMN")]
    time_col: Option<String>,
    /// A text that means a missing value, besides the usual ones; repeatable.
    #[arg(long, value_name = "TEXT")]
    na: Vec<String>,
    /// Whether delimited text starts with a row of names.
    #[arg(long, value_enum, default_value_t, value_name = "WHETHER")]
    header: HeaderArg,
    /// The network.
    #[arg(short, long, visible_alias = "model", value_enum, value_name = "MODEL", default_value = "s4d")]
    method: BlockKind,
    /// Passes over the training series.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Series of a step.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Highest learning rate; it rises over the first tenth of the steps and falls to almost nothing.
    #[arg(long, value_name = "RATE", default_value_t = 4e-3, value_parser = positive)]
    lr: f64,
    /// Highest learning rate of the scans' own parameters.
    #[arg(long, value_name = "RATE", default_value_t = 1e-3, value_parser = positive)]
    lr_ssm: f64,
    /// Weight decay (AdamW); the scans' own parameters have none.
    #[arg(long, value_name = "X", default_value_t = 0.01, value_parser = not_negative)]
    weight_decay: f64,
    /// Share of each class kept aside to pick the best epoch; 0: the last epoch stands.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    validation: f64,
    /// Share of a label that is spread over all classes.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    label_smoothing: f64,
    /// Width of the stream.
    #[arg(long, value_name = "D", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=8192))]
    d_model: u32,
    /// Blocks.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    layers: u32,
    /// States of a channel of the scans [default: 64; mamba 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    d_state: Option<u32>,
    /// mamba2, mamba3: channels of a head [default: 16]
    #[arg(long, value_name = "CHANNELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    head_width: Option<u32>,
    /// Share of a block's output dropped while training.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    dropout: f64,
    /// s4, s4d: where the states start [default: legs; s4d s4d-lin]
    #[arg(long, value_enum, value_name = "START")]
    init: Option<StateInit>,
    /// Step sizes of the scans start between --dt-min and --dt-max.
    #[arg(long, value_name = "SIZE", default_value_t = 1e-3, value_parser = positive)]
    dt_min: f64,
    /// See --dt-min.
    #[arg(long, value_name = "SIZE", default_value_t = 1e-1, value_parser = positive)]
    dt_max: f64,
    /// s4d: how the input is taken between steps [default: zoh]
    #[arg(long, value_enum, value_name = "RULE")]
    disc: Option<DiscArg>,
    /// s4, s4d: scans in both directions.
    #[arg(long)]
    bidirectional: bool,
    /// What of the steps is mapped to the labels.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "mean")]
    pooling: Pooling,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

/// See [`ClassifyArgs::layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LayoutArg {
    Auto,
    /// a row for each series
    Wide,
    /// a row for each step
    Long,
}

/// See [`ClassifyArgs::disc`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiscArg {
    Zoh,
    Bilinear,
}

impl ClassifyArgs {
    fn mixer(&self, longest: usize) -> Outcome<MixerConfig> {
        let (kind, name) = (self.method, self.method.name());
        let diagonal = kind == BlockKind::S4d;
        let options = [
            ("--head-width", self.head_width.is_some(), kind.has_heads()),
            ("--init", self.init.is_some(), kind.is_fixed()),
            ("--bidirectional", self.bidirectional, kind.is_fixed()),
            ("--disc", self.disc.is_some(), diagonal),
        ];
        refuse_unused(name, &options)?;
        let states = self.d_state.map_or(if kind == BlockKind::Mamba { 16 } else { 64 }, |n| n as usize);
        let plain = BlockSizes::new(self.d_model as usize, states, longest);
        let sizes = BlockSizes {
            head_width: self.head_width.map_or(plain.head_width, |n| n as usize),
            steps: [self.dt_min, self.dt_max],
            init: self.init,
            hold: self.disc != Some(DiscArg::Bilinear),
            bidirectional: self.bidirectional,
            ..plain
        };
        kind.block(&sizes).map_err(Failure::usage)
    }

    /// Options about tables that the files as they are have no use for.
    fn check_layout(&self) -> Outcome {
        let archive = [&self.train, &self.test].iter().any(|f| f.ends_with(".ts"));
        let of_tables = self.id_col.is_some() || !self.na.is_empty() || self.layout != LayoutArg::Auto;
        if archive && (of_tables || self.time_col.is_some() || self.header != HeaderArg::Auto) {
            return Err(Failure::usage(
                "--layout, --id-col, --time-col, --na and --header are about tables, not .ts files: leave them out",
            ));
        }
        let long = self.layout == LayoutArg::Long || (self.layout == LayoutArg::Auto && self.id_col.is_some());
        if self.time_col.is_some() && !long {
            return Err(Failure::usage("--time-col belongs to tables with a row for each step: add --id-col"));
        }
        Ok(())
    }
}

/// Numbers for the labels, and the sequences.
fn task_of(set: &LabelledSet, classes: &[String], file: &str) -> Outcome<ClassifyTask> {
    let mut labels = Vec::with_capacity(set.sequences.len());
    for s in &set.sequences {
        match classes.binary_search(&s.label) {
            Ok(i) => labels.push(i),
            Err(_) => {
                let what = format!("series \"{}\" has the label \"{}\", which no training series has", s.id, s.label);
                return Err(BadInput::new(file, what).into());
            }
        }
    }
    let sequences = set.sequences.iter().map(|s| s.values.clone()).collect();
    Ok(ClassifyTask { channels: set.channels, sequences, labels })
}

/// Trains and tells.
pub fn run(args: ClassifyArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("forecast classify draws no picture: leave --plot out"));
    }
    args.check_layout()?;
    let metrics: Vec<String> = ["accuracy", "macro_f1", "nll", "n_test", "params"].map(String::from).to_vec();
    report::validate_claims(&args.check, &metrics, &[])?;
    let output = session.open_outputs(&args.output)?;
    let options = LabelledOptions {
        label: args.label.clone(),
        id: args.id_col.clone(),
        time: args.time_col.clone(),
        form: match args.layout {
            LayoutArg::Auto => Form::Auto,
            LayoutArg::Wide => Form::Wide,
            LayoutArg::Long => Form::Long,
        },
        na: args.na.clone(),
        header: args.header.into(),
    };
    let train_set = read_labelled(&session.open_input(&args.train)?, &options)?;
    let test_set = read_labelled(&session.open_input(&args.test)?, &options)?;
    if train_set.channels != test_set.channels {
        let what = format!("has series of {} channels, {} has {}", test_set.channels, args.train, train_set.channels);
        return Err(BadInput::new(&args.test, what).into());
    }
    let mut classes: Vec<String> = train_set.sequences.iter().map(|s| s.label.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() < 2 {
        return Err(BadInput::new(
            &args.train,
            format!("all series have the label \"{}\": there is nothing to tell apart", classes[0]),
        )
        .into());
    }
    let (train, test) = (task_of(&train_set, &classes, &args.train)?, task_of(&test_set, &classes, &args.test)?);
    let steps = |set: &LabelledSet| (0..set.sequences.len()).map(|i| set.steps(i)).max().unwrap_or(1);
    let config = SequenceConfig {
        steps: Steps::Values(train.channels),
        classes: classes.len(),
        width: args.d_model as usize,
        layers: args.layers as usize,
        mixer: args.mixer(steps(&train_set).max(steps(&test_set)))?,
        mlp: 0,
        dropout: args.dropout,
        pooling: args.pooling,
    };
    let training = TrainConfig {
        epochs: args.epochs as usize,
        batch_size: args.batch_size as usize,
        drop_last: false,
        shuffle: true,
        optimizer: OptimizerConfig::adamw().with_weight_decay(args.weight_decay),
        schedule: Schedule::one_cycle(args.lr, 0.1),
        clip_norm: Some(1.0),
        patience: None,
        seed: session.seed,
    };
    let settings = (args.validation, args.lr_ssm / args.lr, args.label_smoothing);
    let started = std::time::Instant::now();
    let trained = train_classifier(&train, config.clone(), &training, settings, DType::F32, session.observer());
    let (classifier, told) = trained.map_err(|e| train_failure(e, None))?;
    let train_s = started.elapsed().as_secs_f64();
    let started = std::time::Instant::now();
    let probabilities = classifier.probabilities(&test).map_err(|e| Failure::Run(anyhow::anyhow!(e.to_string())))?;
    let infer_us = started.elapsed().as_secs_f64() * 1e6 / test.sequences.len().max(1) as f64;
    let found = measures(&probabilities, &test.labels, classes.len());
    let params = classifier.network().params().trainable_count();
    let best = |p: &Vec<f64>| (1..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
    let texts = |of: &dyn Fn(usize) -> String| Values::Text((0..test.labels.len()).map(|i| of(i).into()).collect());
    let mut table = Table::new()
        .with("id", texts(&|i| test_set.sequences[i].id.clone()))
        .with("label", texts(&|i| test_set.sequences[i].label.clone()))
        .with("pred", texts(&|i| classes[best(&probabilities[i])].clone()));
    for (c, class) in classes.iter().enumerate() {
        table = table.with(format!("p_{class}"), Values::Number(probabilities.iter().map(|p| p[c]).collect()));
    }
    let row = MetricRow {
        keys: vec![("model".into(), args.method.name().to_string())],
        metrics: vec![
            ("accuracy".into(), Some(found.accuracy)),
            ("macro_f1".into(), Some(found.macro_f1)),
            ("nll".into(), Some(found.nll)),
            ("n_test".into(), Some(test.labels.len() as f64)),
            ("params".into(), Some(params as f64)),
        ],
    };
    let record = json!({ "network": config, "training": training, "classes": classes, "validation": args.validation });
    output.result(&table, || {
        Ok(json!({
            "accuracy": found.accuracy, "macro_f1": found.macro_f1, "nll": found.nll, "n_test": test.labels.len(), "params": params,
            "train_s": train_s, "infer_us_per_sample": infer_us, "epochs": told.epochs, "configuration": record,
        }))
    })?;
    session.say(format!(
        "accuracy {:.4}, macro F1 {:.4}, loss {:.4} nats over {} series; {params} parameters, trained in {train_s:.1} s",
        found.accuracy,
        found.macro_f1,
        found.nll,
        test.labels.len()
    ));
    let rows = [row];
    report::keep(&session, &rows)?;
    session.finish(&record)?;
    report::check(&session, &args.check, &rows)
}
