//! How a tensor is read.

use crate::cli::args::HeaderArg;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::kernels::simd::Real;
use crate::table::tensors::{
    Absent, Duplicates, IndexBase, Missing, ReadOptions, Storage, TensorData, TensorFormat, TensorInput, read_tensor,
};
use crate::tensor::cp::Input;
use clap::{Args, ValueEnum, ValueHint};
use std::io::IsTerminal;

/// A tensor.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct TensorArgs {
    /// Tensor to read, told by content, packed with gzip or zstd or not: .tns (FROSTT: indices and a value a line), GenTen text, .npy, .npz,
    /// .safetensors, or a table with a row for each cell (CSV, TSV, JSON lines, Parquet). "-" is stdin, the default when stdin is not a
    /// terminal.
    #[arg(value_name = "INPUT", value_hint = ValueHint::FilePath)]
    pub input: Option<String>,
    /// What kind of file it is [default: told by content]
    #[arg(long, value_enum, value_name = "KIND")]
    pub input_format: Option<FormatArg>,
    /// Tables: the columns that say where a cell is, one a mode, in order.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub coords: Vec<String>,
    /// Tables: the column of the value [default: "value", or the only other one]
    #[arg(long, value_name = "COLUMN")]
    pub value: Option<String>,
    /// Tables: slices in the order of their labels instead of first appearance.
    #[arg(long)]
    pub sorted: bool,
    /// Tables: one more text that means a missing value; repeatable.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub na: Vec<String>,
    /// Tables: whether delimited text starts with a row of names.
    #[arg(long, value_enum, default_value_t, value_name = "WHETHER")]
    pub header: HeaderArg,
    /// Which array of an .npz or .safetensors file.
    #[arg(long, value_name = "NAME")]
    pub array: Option<String>,
    /// Sizes of the modes, where the file does not say them (.tns) [default: the largest indices]
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub shape: Option<Vec<usize>>,
    /// Where indices of .tns start. auto: a mode in which 0 occurs counts from 0, others from 1.
    #[arg(long, value_enum, default_value = "auto", value_name = "BASE")]
    pub index_base: BaseArg,
    /// What cells are that the file does not list or that say NaN: not observed, or zero [default: zero for .tns and GenTen text; else there
    /// may be none]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub missing: Option<MissingArg>,
    /// What to do with cells that come twice.
    #[arg(long, value_enum, default_value = "error", value_name = "HOW")]
    pub duplicates: DuplicatesArg,
    /// How the tensor is held. auto: dense where that takes no more memory.
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub storage: StorageArg,
}

/// See [`TensorFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    Tns,
    Genten,
    Npy,
    Npz,
    Safetensors,
    Table,
}

/// See [`IndexBase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BaseArg {
    Auto,
    #[value(name = "0")]
    Zero,
    #[value(name = "1")]
    One,
}

/// See [`Missing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MissingArg {
    /// not observed: they count nowhere
    Absent,
    /// zero
    Zero,
}

/// See [`Duplicates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DuplicatesArg {
    Error,
    Sum,
    Mean,
    /// the last one of the file
    Last,
}

/// See [`Storage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StorageArg {
    Auto,
    Dense,
    /// coordinates
    Sparse,
}

/// The type of the numbers that are held and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    F64,
    /// half the memory; sums of squares and small systems stay in f64
    F32,
}

impl TensorArgs {
    /// The path, stdin if there is none.
    pub fn path(&self) -> Outcome<&str> {
        match &self.input {
            Some(path) => Ok(path),
            None if std::io::stdin().is_terminal() => {
                Err(Failure::usage("no input: name a tensor, or pipe one in (\"-\" is stdin)"))
            }
            None => Ok("-"),
        }
    }

    fn options(&self, hash: bool) -> ReadOptions {
        ReadOptions {
            format: self.input_format.map(|f| match f {
                FormatArg::Tns => TensorFormat::Tns,
                FormatArg::Genten => TensorFormat::Genten,
                FormatArg::Npy => TensorFormat::Npy,
                FormatArg::Npz => TensorFormat::Npz,
                FormatArg::Safetensors => TensorFormat::Safetensors,
                FormatArg::Table => TensorFormat::Table,
            }),
            shape: self.shape.clone(),
            base: match self.index_base {
                BaseArg::Auto => IndexBase::Auto,
                BaseArg::Zero => IndexBase::Zero,
                BaseArg::One => IndexBase::One,
            },
            missing: self.missing.map(|m| match m {
                MissingArg::Absent => Missing::Absent,
                MissingArg::Zero => Missing::Zero,
            }),
            duplicates: match self.duplicates {
                DuplicatesArg::Error => Duplicates::Error,
                DuplicatesArg::Sum => Duplicates::Sum,
                DuplicatesArg::Mean => Duplicates::Mean,
                DuplicatesArg::Last => Duplicates::Last,
            },
            storage: match self.storage {
                StorageArg::Auto => Storage::Auto,
                StorageArg::Dense => Storage::Dense,
                StorageArg::Sparse => Storage::Sparse,
            },
            array: self.array.clone(),
            coords: self.coords.clone(),
            value: self.value.clone(),
            sorted: self.sorted,
            na: self.na.clone(),
            header: self.header.into(),
            hash,
        }
    }

    /// Reads it, and says on stderr what a reader should know.
    pub fn read<T: Real>(&self, session: &mut Session) -> Outcome<TensorInput<T>> {
        let path = self.path()?;
        let read = read_tensor::<T>(path, &self.options(session.wants_hashes()))?;
        session.record_read(path, read.file.bytes, read.file.sha256.as_deref());
        read.notes.iter().for_each(|note| tracing::warn!("{note}"));
        let shape = read.data.shape().iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        let kind = match &read.data {
            TensorData::Dense(_) => "dense".to_string(),
            TensorData::Masked(m) => {
                format!("dense, {} of {} cells observed", m.observed.iter().filter(|o| **o).count(), m.observed.len())
            }
            TensorData::Sparse(s, Absent::Zero) => format!("{} entries, the others zero", s.len()),
            TensorData::Sparse(s, Absent::Unobserved) => format!("{} cells observed", s.len()),
        };
        session.say(format!("{}: {shape}, {kind}", read.name));
        Ok(read)
    }

    /// As [`read`](Self::read); coordinates come in the order that a plan of MTTKRPs borrows, which saves a copy of them.
    pub fn read_arranged<T: Real>(&self, session: &mut Session) -> Outcome<TensorInput<T>> {
        let mut read = self.read(session)?;
        read.data = match read.data {
            TensorData::Sparse(x, Absent::Zero) => TensorData::Sparse(x.arranged(), Absent::Zero),
            other => other,
        };
        Ok(read)
    }
}

/// What CP methods take.
pub fn cp_input<T>(data: &TensorData<T>) -> Input<'_, T> {
    match data {
        TensorData::Dense(x) => Input::Dense(x),
        TensorData::Masked(m) => Input::Masked { x: &m.tensor, observed: &m.observed },
        TensorData::Sparse(x, Absent::Zero) => Input::Sparse(x),
        TensorData::Sparse(x, Absent::Unobserved) => Input::Known(x),
    }
}
