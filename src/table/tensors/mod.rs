//! Tensors in and out: coordinates, dense arrays and long tables into one [`TensorInput`]; models, factors and coordinates back into files.
//! Whatever is wrong with an input is a [`BadInput`] that says where.
//!
//! | file | what |
//! |---|---|
//! | [`input`] | a file as a stream: unpacking, hashing, blocks of text |
//! | `coordinates` | lines of indices and a value, parsed side by side |
//! | `coo` | cells that come twice or not at all; sparse or dense |
//! | [`tns`] | FROSTT coordinates, in and out |
//! | [`genten`] | GenTen text: sparse and dense tensors, matrices, Kruskal tensors |
//! | [`npy`] | numpy arrays: `.npy` in and out, one array of an `.npz` |
//! | [`safetensors`] | one array of a safetensors file |
//! | [`long_table`] | a row a cell: CSV, Parquet, JSON lines, with labels |
//! | `dense` | what dense inputs share: missing values, Fortran order |
//! | [`statistics`](mod@statistics) | shape, norm, slices: what `info` says |
//! | [`model_file`] | a decomposition as one safetensors file, and back |
//! | [`tables`] | factors, weights and traces as tables |

mod coo;
mod coordinates;
mod dense;
pub mod genten;
pub mod input;
pub mod long_table;
pub mod model_file;
pub mod npy;
pub mod safetensors;
pub mod statistics;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod tns;

pub use model_file::{Model, ModelFile, read_model, write_model};
pub use npy::{npy_header, write_npy};
pub use statistics::{ModeStatistics, Statistics, statistics};
pub use tables::{TracePoint, factor_table, trace_table, weights_table};
pub use tns::write_tns;

use super::{BadInput, Header};
use crate::kernels::simd::Real;
use crate::tensor::data::{Dense, Sparse};
use input::{Digested, Input};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a missing cell is: one that the file does not list, or one that says NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Not observed: it counts nowhere.
    Absent,
    /// Zero.
    Zero,
}

/// What happens to a cell that comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The input is refused.
    #[default]
    Error,
    /// Values are added, in file order.
    Sum,
    /// Their mean.
    Mean,
    /// The last one in the file.
    Last,
}

/// What the smallest index of a mode stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexBase {
    /// A mode in which the index 0 occurs counts from 0, others from 1 (each mode for itself, as SPLATT does).
    #[default]
    Auto,
    /// All modes count from 0.
    Zero,
    /// All modes count from 1.
    One,
}

/// How a tensor is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Coordinates become dense where a dense array (with its mask) takes no more memory than they do; dense inputs stay dense.
    #[default]
    Auto,
    /// Dense.
    Dense,
    /// As coordinates. Of a dense input only cells that are not zero, unless zeros were observed (`--missing absent`).
    Sparse,
}

/// The kinds of files that tensors come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorFormat {
    /// FROSTT: indices and a value a line.
    Tns,
    /// GenTen text: a header, then entries or values.
    Genten,
    /// A numpy array.
    Npy,
    /// One array of a numpy archive.
    Npz,
    /// One array of a safetensors file.
    Safetensors,
    /// A table with a row for each cell: delimited text, Parquet or JSON lines.
    Table,
}

/// How a tensor is read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The kind of file; told by content if not given.
    pub format: Option<TensorFormat>,
    /// The sizes of the modes, where the file does not say them (`.tns`); elsewhere they must agree.
    pub shape: Option<Vec<usize>>,
    /// Where indices of `.tns` start.
    pub base: IndexBase,
    /// What missing cells are. Without it a NaN is an error, absent cells of `.tns` and GenTen files are zero, and a long table must
    /// hold every cell.
    pub missing: Option<Missing>,
    /// What happens to cells that come twice.
    pub duplicates: Duplicates,
    /// How the tensor is held.
    pub storage: Storage,
    /// Which array of an archive; may be left out if there is only one.
    pub array: Option<String>,
    /// Columns of a long table that say where a cell is, one a mode.
    pub coords: Vec<String>,
    /// The column of its value; may be left out if it is called `value` or is the only other column.
    pub value: Option<String>,
    /// Slices in the order of their labels (numbers by size, other text by its bytes) instead of first appearance.
    pub sorted: bool,
    /// Texts of a long table that mean a missing value, besides the usual ones.
    pub na: Vec<String>,
    /// Whether a long table has a header.
    pub header: Header,
    /// Whether the SHA-256 of the file is wanted.
    pub hash: bool,
}

/// A dense tensor of which some cells were not observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Masked<T> {
    /// The numbers, zero where nothing was observed.
    pub tensor: Dense<T>,
    /// Which cells were observed, in the order of the numbers.
    pub observed: Vec<bool>,
}

/// What cells of a sparse tensor are that it does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Zero.
    Zero,
    /// Not observed.
    Unobserved,
}

/// A tensor as it was read.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData<T> {
    /// Every cell is known.
    Dense(Dense<T>),
    /// Some are not.
    Masked(Masked<T>),
    /// Only some are listed.
    Sparse(Sparse<T>, Absent),
}

impl<T: Real> TensorData<T> {
    /// Sizes of the modes.
    pub fn shape(&self) -> &[usize] {
        match self {
            TensorData::Dense(d) => d.shape(),
            TensorData::Masked(m) => m.tensor.shape(),
            TensorData::Sparse(s, _) => s.shape(),
        }
    }
}

/// What is known of a mode beside its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// The column it came from, or `mode_0`, `mode_1`, ….
    pub name: String,
    /// The labels of its slices, where the file has them.
    pub labels: Option<Vec<Arc<str>>>,
}

impl Mode {
    /// `mode_0`, `mode_1`, … without labels.
    pub fn unnamed(order: usize) -> Vec<Mode> {
        (0..order).map(|n| Mode { name: format!("mode_{n}"), labels: None }).collect()
    }
}

/// A tensor with what is known of its modes and of the file.
#[derive(Debug, Clone)]
pub struct TensorInput<T> {
    /// What messages call the file.
    pub name: String,
    /// What kind of file it was.
    pub format: TensorFormat,
    /// The numbers.
    pub data: TensorData<T>,
    /// One a mode.
    pub modes: Vec<Mode>,
    /// Entries that were merged into an earlier one of the same cell.
    pub merged: usize,
    /// Cells that said NaN.
    pub nan: usize,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Size and SHA-256 of the file.
    pub file: Digested,
}

/// Modes at most: more than any tensor has; a file that says more is damaged.
const MOST_MODES: usize = 64;

/// What to do about a NaN that nobody announced.
pub(crate) const NAN_REMEDY: &str = "a missing value must be asked for: --missing absent (not observed) or --missing zero";

/// Reads the tensor in the file at `path` (`-` is standard input), packed with gzip or zstd or not; its kind is told by content.
///
/// The numbers become `T`; one that only an f64 can hold is an error when `T` is f32.
///
/// # Errors
/// [`BadInput`] for everything that is wrong with the file or does not fit the options; it names the place and says what to do.
///
/// # Cost
/// One pass. Text is parsed side by side in blocks of 1 MiB. Peak memory, beside the blocks, is at most about 1.7 times the coordinates
/// (measured with 1e7 entries of three modes; what goes beyond them is an array while it grows, or 8 bytes an entry to look for cells that
/// come twice; a dense tensor made of them comes on top, never larger than they are unless it was asked for), twice the array for a dense input in Fortran order; a long table holds its text too.
pub fn read_tensor<T: Real>(path: &str, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    read_from(Input::open(path, options.hash)?, options)
}

/// As [`read_tensor`], from an open input.
pub fn read_from<T: Real>(mut input: Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    let format = match options.format {
        Some(format) => format,
        None => sniff(&input, options)?,
    };
    let mut read = match format {
        TensorFormat::Tns => tns::read(&mut input, options),
        TensorFormat::Genten => genten::read(&mut input, options),
        TensorFormat::Npy => npy::read(&mut input, options),
        TensorFormat::Npz => npy::read_archive(&mut input, options),
        TensorFormat::Safetensors => safetensors::read(&mut input, options),
        TensorFormat::Table => long_table::read(&mut input, options),
    }?;
    read.file = input.digested();
    if let Some(shape) = &options.shape
        && shape != read.data.shape()
    {
        let what = format!("its shape is {:?}, expected {shape:?}", read.data.shape());
        return Err(BadInput::new(input.name(), what).remedy("leave --shape away, or give the shape of the file"));
    }
    Ok(read)
}

/// The kind of file by its first bytes, and by the options where text could be several.
fn sniff(input: &Input, options: &ReadOptions) -> Result<TensorFormat, BadInput> {
    let (head, name) = (input.head(), input.name());
    match head {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => return Ok(TensorFormat::Npy),
        [b'P', b'K', 3 | 5, _, ..] => return Ok(TensorFormat::Npz),
        [b'P', b'A', b'R', b'1', ..] => return Ok(TensorFormat::Table),
        // Eight bytes of length, then a JSON object.
        [a, b, c, d, 0, 0, 0, 0, b'{', ..] if u32::from_le_bytes([*a, *b, *c, *d]) >= 2 => return Ok(TensorFormat::Safetensors),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] if head.get(2..4).is_some_and(|b| b.contains(&0)) => {
            return Err(
                BadInput::new(name, "found UTF-16 text, expected UTF-8").remedy("convert it with: iconv -f UTF-16 -t UTF-8")
            );
        }
        _ => {}
    }
    if let Some(at) = head.iter().position(|c| *c == 0) {
        return Err(BadInput::new(name, format!("found a zero byte at byte {}, expected a tensor", at + 1))
            .remedy("shoal reads .tns, GenTen text, .npy, .npz, safetensors, CSV, TSV, JSON lines and Parquet"));
    }
    if !options.coords.is_empty() {
        return Ok(TensorFormat::Table);
    }
    let lines = head.split(|c| *c == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines.clone().find(|line| line[0] != b'#' && !line.starts_with(b"//")) else {
        return match lines.count() {
            0 if head.len() < 1 << 16 => {
                Err(BadInput::new(name, "the file holds nothing but blanks").remedy("expected a tensor"))
            }
            _ => Ok(TensorFormat::Tns),
        };
    };
    let word = first.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if genten::WORDS.iter().any(|w| w.as_bytes() == word) {
        return Ok(TensorFormat::Genten);
    }
    let by_name = |ends: &[&str]| {
        let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name).to_ascii_lowercase();
        ends.iter().any(|e| stem.ends_with(e))
    };
    let delimited = first.iter().any(|c| matches!(c, b',' | b';' | b'|'));
    let table = matches!(first[0], b'{' | b'[') || by_name(&[".csv", ".tsv", ".jsonl", ".ndjson"]) || delimited;
    // The file of coordinates says itself what is wrong in it.
    Ok(if table && !by_name(&[".tns"]) { TensorFormat::Table } else { TensorFormat::Tns })
}

/// `x` as a `T`; `None` if it becomes infinite.
fn finite<T: Real>(x: f64) -> Option<T> {
    Some(T::from_f64(x)).filter(|v| v.is_finite())
}
