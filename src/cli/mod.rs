//! What the user types: one file per subcommand, clap types first, then the glue "arguments → library call → output".
//!
//! The only room that knows clap, stdout, stderr and exit codes. Arguments become a checked, serialisable configuration before
//! anything is read; outputs are opened before anything is computed.

mod args;
mod cluster;
mod config_file;
mod decompose;
mod extras;
mod failure;
mod forecast;
mod kernels;
mod messages;
mod output;
mod report;
mod session;

pub use failure::Failure;

use args::GlobalArgs;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Outcome;
use session::Session;
use std::ffi::OsString;

/// Research and operations on structure in groups.
///
/// Results go to stdout or -o, everything else to stderr. The same command gives the same bytes, whatever --threads.
#[derive(Debug, Parser)]
#[command(name = "shoal", version = version(), max_term_width = 110, help_expected = true, args_override_self = true)]
#[command(after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Sub,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed while running; 2 wrong usage or bad input, nothing was written; 3 a claim of --assert or \
--check does not hold; 4 the numbers went wrong under --strict; 130 interrupted";

/// `0.1.0 (commit)`.
fn version() -> String {
    match session::COMMIT {
        "" => session::VERSION.to_string(),
        commit => format!("{} ({commit})", session::VERSION),
    }
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Forecast series: predict, backtest, eval.
    Forecast(Box<forecast::ForecastArgs>),
    /// Cluster points and graphs: points, graph, predict, score.
    Cluster(Box<cluster::ClusterArgs>),
    /// Decompose tensors: cp, tucker, tt, eval, align, reconstruct, info.
    DecomposeTensor(Box<decompose::DecomposeArgs>),
    /// Run and time the operations that models are made of.
    Kernels(Box<kernels::KernelsArgs>),
    /// Print a completion script for a shell.
    Completions(extras::CompletionsArgs),
    /// Print the manual page, or write one page per command into a directory.
    Man(extras::ManArgs),
}

/// Runs the program on the given arguments (program name first). The exit code of the process.
pub fn run(args: Vec<OsString>) -> u8 {
    match try_run(args) {
        Ok(()) => 0,
        Err(failure) => {
            failure.report();
            failure.code()
        }
    }
}

fn try_run(args: Vec<OsString>) -> Outcome {
    let mut root = Cli::command();
    root.build();
    let expanded = config_file::expand(&root, args.clone())?;
    let matches = Cli::command().try_get_matches_from(&expanded.args).map_err(|e| Failure::Clap(with_hint(e)))?;
    let cli = Cli::from_arg_matches(&matches).map_err(Failure::Clap)?;
    let typed = config_file::typed(&root, &args, &matches, expanded.expected_inputs);
    match cli.command {
        Sub::Completions(a) => extras::completions(a, Cli::command()),
        Sub::Man(a) => extras::man(a, Cli::command()),
        Sub::Forecast(a) => forecast::run(*a, Session::new(&cli.global, typed)?),
        Sub::Cluster(a) => cluster::run(*a, Session::new(&cli.global, typed)?),
        Sub::DecomposeTensor(a) => decompose::run(*a, Session::new(&cli.global, typed)?),
        Sub::Kernels(a) => kernels::run(*a, Session::new(&cli.global, typed)?),
    }
}

/// What people type first is `shoal forecast data.csv`: say which verb takes it.
fn with_hint(mut e: clap::Error) -> clap::Error {
    if e.kind() == clap::error::ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = e.get(ContextKind::InvalidSubcommand).cloned()
        && std::path::Path::new(&word).exists()
    {
        let tip = format!("to forecast a table, write: shoal forecast predict {word} -H STEPS");
        e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    e
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_table_is_consistent() {
        Cli::command().debug_assert();
    }
}
