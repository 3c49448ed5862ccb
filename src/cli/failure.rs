//! How a run ends: the exit-code table of the program in one place.

use super::messages::tell;
use crate::forecast::engine::EngineError;
use crate::forecast::model::FitError;
use crate::plot::PlotError;
use crate::table::BadInput;
use std::io;

/// Why the program stops, with its exit code.
#[derive(Debug)]
pub enum Failure {
    /// 1: failed while running.
    Run(anyhow::Error),
    /// 2: wrong usage or bad input; nothing was written.
    Usage(String),
    /// 3: claims of `--assert` or `--check` that do not hold, one text each.
    Claims(Vec<String>),
    /// 4: the numbers went wrong under `--strict`, one text each.
    Numbers(Vec<String>),
    /// 130: interrupted.
    Interrupted,
    /// 0: the reader of our output went away.
    ClosedPipe,
    /// clap has its own text and code (help, version, usage errors).
    Clap(clap::Error),
}

/// The result of everything in `cli`.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A usage error.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Usage(_) => 2,
            Self::Claims(_) => 3,
            Self::Numbers(_) => 4,
            Self::Interrupted => 130,
            Self::ClosedPipe => 0,
            Self::Clap(e) => e.exit_code() as u8,
        }
    }

    /// Tells the user, on stderr (clap's help and version on stdout).
    pub fn report(&self) {
        match self {
            Self::Run(e) => tell(format_args!("error: {e:#}")),
            Self::Usage(text) => tell(format_args!("error: {text}")),
            Self::Claims(texts) | Self::Numbers(texts) => texts.iter().for_each(|t| tell(format_args!("error: {t}"))),
            Self::Interrupted => tell("interrupted"),
            Self::ClosedPipe => {}
            Self::Clap(e) => {
                // A closed pipe behind --help is nobody's error.
                let _ = e.print();
            }
        }
    }
}

/// Goes on with `rest` after the result was written, also when its reader went away: the run is kept and claims are held all the
/// same.
pub fn complete(written: Outcome, rest: impl FnOnce() -> Outcome) -> Outcome {
    match written {
        Err(Failure::ClosedPipe) => rest().and(Err(Failure::ClosedPipe)),
        Ok(()) => rest(),
        Err(e) => Err(e),
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe { Self::ClosedPipe } else { Self::Run(e.into()) }
    }
}

impl From<BadInput> for Failure {
    fn from(e: BadInput) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<PlotError> for Failure {
    fn from(e: PlotError) -> Self {
        match e {
            PlotError::Format(_) => Self::Usage(e.to_string()),
            _ => Self::Run(anyhow::Error::new(e).context("the picture")),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(e: EngineError) -> Self {
        match e {
            EngineError::Interrupted => Self::Interrupted,
            _ => Self::Usage(e.to_string()),
        }
    }
}

impl From<FitError> for Failure {
    fn from(e: FitError) -> Self {
        if matches!(e, FitError::Numerical(_)) {
            return Self::Run(e.into());
        }
        Self::Usage(e.to_string())
    }
}
