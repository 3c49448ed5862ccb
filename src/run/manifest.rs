//! The manifest of a run: what it takes to repeat it, and what it was.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One input file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// As given on the command line; `-` is stdin.
    pub path: String,
    /// Size as stored.
    pub bytes: usize,
    /// Of the bytes as stored.
    pub sha256: String,
}

/// `manifest.json` of a run directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program.
    pub shoal: String,
    /// Commit it was built from, if known.
    pub commit: Option<String>,
    /// Subcommand and verb.
    pub command: Vec<String>,
    /// The argument list as typed.
    pub arguments: Vec<String>,
    /// Options in force that were not defaults, by long flag; `--config manifest.json` takes them from here.
    pub flags: Map<String, Value>,
    /// The effective configuration, defaults resolved.
    pub config: Value,
    /// Seed of every random stream.
    pub seed: u64,
    /// Where it ran.
    pub device: String,
    /// Number format of the computation.
    pub dtype: String,
    /// Threads used; never changes a result.
    pub threads: usize,
    /// Every file read.
    pub inputs: Vec<InputRecord>,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// End, RFC 3339 in UTC.
    pub ended: String,
}

/// Now, as the manifest writes it.
pub fn timestamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
