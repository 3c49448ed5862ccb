//! Shell completions and manual pages, generated from the option table.

use super::failure::{Failure, Outcome};
use crate::table::AtomicFile;
use clap::{Args, Command, ValueHint};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `shoal completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to write for; load it with, for example, source <(shoal completions bash).
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Arguments of `shoal man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write shoal.1, shoal-forecast.1, shoal-forecast-predict.1, ... here instead of printing the first.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Prints a completion script.
pub fn completions(args: CompletionsArgs, mut command: Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "shoal", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Prints or writes manual pages.
pub fn man(args: ManArgs, mut command: Command) -> Outcome {
    command.build();
    let Some(dir) = args.dir else {
        return Ok(std::io::stdout().write_all(&page(&command, "shoal")?)?);
    };
    std::fs::create_dir_all(&dir).map_err(|e| Failure::usage(format!("--dir {}: {e}", dir.display())))?;
    let mut open = vec![("shoal".to_string(), &command)];
    while let Some((name, command)) = open.pop() {
        let mut file = AtomicFile::create(dir.join(format!("{name}.1")))?;
        file.write_all(&page(command, &name)?)?;
        file.commit()?;
        open.extend(
            command.get_subcommands().filter(|c| c.get_name() != "help").map(|c| (format!("{name}-{}", c.get_name()), c)),
        );
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    let title = name.to_string();
    clap_mangen::Man::new(command.clone().name(title)).render(&mut out)?;
    Ok(out)
}
