//! `shoal forecast`.

mod backtest;
mod classify;
mod common;
mod eval;
mod network;
mod networks;
mod predict;
mod seqtask;
mod show;
mod train;

use super::failure::Outcome;
use super::session::Session;
use clap::{Args, Subcommand};

/// Arguments of `shoal forecast`.
#[derive(Debug, Args)]
pub struct ForecastArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Fit models to every series and forecast from its end.
    ///
    /// Writes one row per series, model and step: unique_id, ds, model, mean, then lo-/hi- per level and q per quantile.
    #[command(after_help = predict::EXAMPLES)]
    #[command(allow_negative_numbers = true)]
    Predict(Box<predict::PredictArgs>),
    /// Train a network on all series of a panel and save it.
    ///
    /// Writes one row per epoch: epoch, train_loss, validation, learning_rate, best. The weights of the best epoch are saved.
    #[command(after_help = train::EXAMPLES)]
    #[command(allow_negative_numbers = true)]
    Train(Box<train::TrainArgs>),
    /// Measure models by forecasting from earlier cutoffs (rolling origin).
    ///
    /// Writes one row of metrics per series, model and cutoff; --forecasts keeps the forecasts themselves.
    #[command(after_help = backtest::EXAMPLES)]
    #[command(allow_negative_numbers = true)]
    Backtest(Box<backtest::BacktestArgs>),
    /// Score models by the fixed train/validation/test protocol of the long-horizon benchmarks, or on M4.
    ///
    /// Writes one row of metrics per model and horizon.
    #[command(after_help = eval::EXAMPLES)]
    #[command(allow_negative_numbers = true)]
    Eval(Box<eval::EvalArgs>),
    /// Train a network on labelled series and tell the labels of others.
    ///
    /// Writes one row per test series: id, label, pred, and the probability of each class as p_CLASS. --json: the measures instead.
    #[command(after_help = classify::EXAMPLES)]
    Classify(Box<classify::ClassifyArgs>),
    /// Train a scan on a task that needs a state tracked (parity, arithmetic, nested lists), and test it on longer sequences.
    ///
    /// Writes one row per test: task, model, test, length, n, accuracy, scaled_accuracy.
    #[command(after_help = seqtask::EXAMPLES)]
    Seqtask(Box<seqtask::SeqtaskArgs>),
}

/// Runs the verb.
pub fn run(args: ForecastArgs, session: Session) -> Outcome {
    match args.verb {
        Verb::Predict(a) => predict::run(*a, session),
        Verb::Train(a) => train::run(*a, session),
        Verb::Backtest(a) => backtest::run(*a, session),
        Verb::Eval(a) => eval::run(*a, session),
        Verb::Classify(a) => classify::run(*a, session),
        Verb::Seqtask(a) => seqtask::run(*a, session),
    }
}
