//! Rows in and out: delimited text, Parquet and JSON lines into a [`Frame`], a [`Frame`] into a [`Panel`] of series, tables back into
//! files. Whatever is wrong with an input is a [`BadInput`] that says where.

pub mod arrays;
pub mod cluster_model;
mod collect;
mod delimited;
pub mod error;
pub mod frame;
pub mod freq;
pub mod graph;
mod jsonl;
pub mod labelled;
mod layout;
pub mod matrix;
mod parquet;
pub mod points;
pub mod records;
mod regular;
pub mod series;
pub mod source;
pub mod tensors;
pub mod time;
pub mod write;
pub mod xyz;

pub use error::BadInput;
pub use frame::{Column, Data, Frame, Preview, Text, TimeColumn, Want};
pub use freq::{Anchor, Freq};
pub use series::{Impute, Layout, Panel, ReadOptions, Series, read_panel};
pub use source::{Content, Source};
pub use time::TimeKind;
pub use write::{AtomicFile, Format, Table, Values, write_number, write_table};

use frame::Missing;
use serde::{Deserialize, Serialize};

/// How many rows the kinds of so many columns are judged by before they are read.
pub(crate) fn sample_rows(columns: usize) -> usize {
    (200_000 / columns.max(1)).clamp(20, 100)
}

/// Whether delimited text starts with a row of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Header {
    /// It does, unless every cell of the first row is a number or a time stamp (other than the column numbers 0, 1, 2, ...).
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It does not: the columns are called `column_1`, `column_2`, ... (`y` if there is only one).
    No,
}

/// How a table is read.
#[derive(Debug, Clone, Default)]
pub struct FrameOptions {
    /// What counts as a missing number or time stamp.
    pub missing: Missing,
    /// Whether delimited text has a header.
    pub header: Header,
}

/// Says what every column is wanted as, given what is known of all of them; the answer has one entry per column.
pub type Plan<'a> = dyn Fn(&[Preview]) -> Result<Vec<Want>, BadInput> + 'a;

/// Reads a table; `plan` says what each of its columns is wanted as.
///
/// Errors: not UTF-8, a row with too many or too few fields, two columns of one name, a cell that is not what is wanted, no rows, a
/// damaged Parquet file, a line that is no JSON object. Cost: one pass; memory is the columns plus one block of a few MB.
pub fn read_frame(source: &Source, options: &FrameOptions, plan: &Plan<'_>) -> Result<Frame, BadInput> {
    match source.content() {
        Content::Delimited(dialect) => delimited::read(source, dialect, options, plan),
        Content::Parquet => parquet::read(source, options, plan),
        Content::JsonLines => jsonl::read_lines(source, options, plan),
        Content::JsonArray => jsonl::read_array(source, options, plan),
    }
}

/// The plan that takes every column as numbers where it holds numbers, as time stamps where the file types it so, else as text.
pub fn plain_plan(previews: &[Preview]) -> Result<Vec<Want>, BadInput> {
    let want = |p: &Preview| match p {
        p if p.unreadable.is_some() => Want::Skip,
        p if p.typed_time => Want::Time(time::Pattern::Iso),
        _ => Want::NumberOrText,
    };
    Ok(previews.iter().map(want).collect())
}
