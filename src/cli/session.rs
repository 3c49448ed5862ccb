//! One run of the program from the user's side: messages on stderr, threads, progress, inputs read, and the run directory.

use super::args::{GlobalArgs, OutputArgs};
use super::config_file::Typed;
use super::failure::{Failure, Outcome};
use super::output::Output;
use crate::run::check::{Baseline, MetricRow};
use crate::run::manifest::{InputRecord, Manifest, timestamp};
use crate::run::observer::Observer;
use crate::run::{interrupt, seed::Streams};
use crate::table::{AtomicFile, BadInput, Source};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Version as `--version` and manifests give it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit of the build; empty when unknown.
pub const COMMIT: &str = env!("SHOAL_COMMIT");

/// What every verb needs from its surroundings.
pub struct Session {
    /// Seed of every random stream.
    pub seed: u64,
    /// No summary and no warnings.
    pub quiet: bool,
    /// Type of the numbers that the run computes with, for the manifest.
    pub dtype: &'static str,
    typed: Typed,
    started: String,
    inputs: Vec<InputRecord>,
    run_dir: Option<PathBuf>,
    /// The run directory if this run made it: a run that is refused leaves no empty directory behind.
    made: Option<PathBuf>,
    progress: Progress,
}

impl Session {
    /// Sets up messages, threads and Ctrl-C.
    pub fn new(global: &GlobalArgs, typed: Typed) -> Outcome<Self> {
        let level = match (global.quiet, global.verbose) {
            (true, _) => tracing::Level::ERROR,
            (false, 0) => tracing::Level::WARN,
            (false, 1) => tracing::Level::INFO,
            _ => tracing::Level::DEBUG,
        };
        super::messages::install(level);
        if let Some(n) = global.threads {
            // SAFETY: nothing has started a thread yet; polars reads this when its first table is read.
            unsafe { std::env::set_var("POLARS_MAX_THREADS", n.to_string()) };
            rayon::ThreadPoolBuilder::new().num_threads(usize::from(n)).build_global().map_err(|e| Failure::Run(e.into()))?;
        }
        interrupt::install(crate::table::write::remove_unfinished).map_err(|e| Failure::Run(e.into()))?;
        let show = !global.quiet && std::io::stderr().is_terminal();
        Ok(Self {
            seed: global.seed,
            quiet: global.quiet,
            dtype: "f64",
            typed,
            started: timestamp(),
            inputs: Vec::new(),
            run_dir: None,
            made: None,
            progress: Progress { show, bar: Mutex::new(None) },
        })
    }

    /// The random streams of this run.
    pub fn streams(&self) -> Streams {
        Streams::new(self.seed)
    }

    /// Where methods report progress.
    pub fn observer(&self) -> &dyn Observer {
        &self.progress
    }

    /// A line of the summary on stderr.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            super::messages::tell(text.as_ref());
        }
    }

    /// Opens the inputs; none given means stdin, unless that is a terminal.
    pub fn open_inputs(&mut self, paths: &[String]) -> Outcome<Vec<Source>> {
        let stdin = ["-".to_string()];
        let paths = if !paths.is_empty() {
            paths
        } else if std::io::stdin().is_terminal() {
            return Err(Failure::usage("no input: name a file, or pipe a table in (\"-\" is stdin)"));
        } else {
            &stdin
        };
        if paths.iter().filter(|p| *p == "-").count() > 1 {
            return Err(Failure::usage("stdin (\"-\") can be read only once"));
        }
        paths.iter().map(|p| self.open_input(p)).collect()
    }

    /// Opens one input and remembers it for the manifest.
    pub fn open_input(&mut self, path: &str) -> Outcome<Source> {
        let source = Source::open(path)?;
        self.record_input(path, source.raw_len(), || source.sha256().to_string());
        Ok(source)
    }

    /// Reads an input that is no table as bytes.
    pub fn open_raw(&mut self, path: &str) -> Outcome<Vec<u8>> {
        use sha2::{Digest, Sha256};
        let bytes = std::fs::read(path).map_err(|e| Failure::from(BadInput::new(path, format!("cannot be read: {e}"))))?;
        self.record_input(path, bytes.len(), || Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect());
        Ok(bytes)
    }

    /// Whether inputs are to be hashed: for a manifest, or to compare with one.
    pub fn wants_hashes(&self) -> bool {
        self.run_dir.is_some() || !self.typed.expected_inputs.is_empty()
    }

    /// Remembers an input that was read elsewhere, hashed if that is wanted.
    pub fn record_read(&mut self, path: &str, bytes: usize, sha256: Option<&str>) {
        self.record_input(path, bytes, || sha256.unwrap_or_default().to_string());
    }

    fn record_input(&mut self, path: &str, bytes: usize, sha256: impl FnOnce() -> String) {
        if !self.wants_hashes() {
            return;
        }
        let record = InputRecord { path: path.to_string(), bytes, sha256: sha256() };
        if let Some(before) = self.typed.expected_inputs.iter().find(|e| e.path == record.path)
            && before.sha256 != record.sha256
        {
            tracing::warn!("{path} has changed since the manifest was written: the results will differ");
        }
        self.inputs.push(record);
    }

    /// Opens every output before anything is computed, so that a bad path costs nothing.
    pub fn open_outputs(&mut self, args: &OutputArgs) -> Outcome<Output> {
        if let Some(dir) = &args.run_dir {
            if prepare_run_dir(dir, args.force)? {
                self.made = Some(dir.clone());
            }
            self.run_dir = Some(dir.clone());
        }
        Output::open(args)
    }

    /// A file of the run directory, if there is one; must be committed.
    pub fn run_file(&self, name: &str) -> Outcome<Option<AtomicFile>> {
        Ok(match &self.run_dir {
            Some(dir) => Some(AtomicFile::create(dir.join(name))?),
            None => None,
        })
    }

    /// Writes a value as JSON into the run directory.
    pub fn run_json(&self, name: &str, value: &impl Serialize) -> Outcome {
        if let Some(mut file) = self.run_file(name)? {
            write_json(&mut file, value)?;
            file.commit()?;
        }
        Ok(())
    }

    /// Remembered metrics in the form that `--check` reads.
    pub fn baseline(&self, rows: &[MetricRow]) -> Baseline {
        Baseline { shoal: VERSION.into(), command: self.typed.command.join(" "), cases: rows.to_vec() }
    }

    /// The manifest as it stands now.
    pub fn manifest(&self, config: &impl Serialize) -> Outcome<Manifest> {
        Ok(Manifest {
            shoal: VERSION.into(),
            commit: (!COMMIT.is_empty()).then(|| COMMIT.to_string()),
            command: self.typed.command.clone(),
            arguments: self.typed.arguments.clone(),
            flags: self.typed.flags.clone(),
            config: serde_json::to_value(config).map_err(|e| Failure::Run(e.into()))?,
            seed: self.seed,
            device: "cpu".into(),
            dtype: self.dtype.into(),
            threads: rayon::current_num_threads(),
            inputs: self.inputs.clone(),
            started: self.started.clone(),
            ended: timestamp(),
        })
    }

    /// Writes the manifest into the run directory, last of all.
    pub fn finish(&self, config: &impl Serialize) -> Outcome {
        if self.run_dir.is_some() {
            self.run_json("manifest.json", &self.manifest(config)?)?;
        }
        if let Some(dir) = &self.run_dir {
            self.say(format!("run kept in {}", dir.display()));
        }
        Ok(())
    }

    /// Whether a run directory is kept.
    pub fn keeps_run(&self) -> bool {
        self.run_dir.is_some()
    }
}

/// Pretty JSON and a final newline.
pub fn write_json(out: &mut dyn Write, value: &impl Serialize) -> Outcome {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|e| Failure::from(std::io::Error::from(e)))?;
    Ok(writeln!(out)?)
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(dir) = &self.made {
            // Succeeds only while it is empty.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Creates the run directory, refusing one that holds something. True if it was not there before.
fn prepare_run_dir(dir: &Path, force: bool) -> Outcome<bool> {
    let name = dir.display();
    let refuse = |e: std::io::Error| Failure::usage(format!("--run-dir {name}: {e}"));
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            Some(_) if !force => {
                Err(Failure::usage(format!("--run-dir {name} is not empty: choose another, or add --force to write into it")))
            }
            Some(_) => {
                // An old manifest must not stand beside new results should this run fail.
                match std::fs::remove_file(dir.join("manifest.json")) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(refuse(e)),
                    _ => Ok(false),
                }
            }
            None => Ok(false),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(dir).map(|()| true).map_err(refuse),
        Err(e) => Err(refuse(e)),
    }
}

/// Reads a JSON file that the program wrote earlier.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Outcome<T> {
    let bad = |why: String| Failure::from(BadInput::new(path.display().to_string(), why));
    let text = std::fs::read_to_string(path).map_err(|e| bad(format!("cannot be read: {e}")))?;
    serde_json::from_str(&text).map_err(|e| bad(format!("is not {what}: {e}")))
}

/// Progress bars on a terminal's stderr, and the answer to Ctrl-C.
struct Progress {
    show: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    fn with(&self, f: impl FnOnce(&mut Option<ProgressBar>)) {
        if self.show
            && let Ok(mut bar) = self.bar.lock()
        {
            f(&mut bar);
        }
    }
}

impl Observer for Progress {
    fn start(&self, what: &str, total: usize) {
        interrupt::observe(true);
        self.with(|bar| {
            let style = ProgressStyle::with_template("{msg:24} [{bar:32}] {pos}/{len}  {eta} left")
                .map(|s| s.progress_chars("=> "))
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let new = ProgressBar::new(total as u64).with_style(style).with_message(what.to_string());
            *bar = Some(new);
        });
    }

    fn advance(&self, n: usize) {
        self.with(|bar| {
            if let Some(b) = bar {
                b.inc(n as u64);
            }
        });
    }

    fn note(&self, text: &str) {
        // Above the bar where there is one, else only for those who asked for more.
        if self.show {
            self.with(|bar| match bar {
                Some(b) => b.println(text),
                None => super::messages::tell(text),
            });
        } else {
            tracing::info!("{text}");
        }
    }

    fn finish(&self) {
        interrupt::observe(interrupt::requested());
        self.with(|bar| {
            if let Some(b) = bar.take() {
                b.finish_and_clear();
            }
        });
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}
