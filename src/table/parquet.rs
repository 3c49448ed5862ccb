//! Parquet into a [`Frame`], by polars, a slice of rows at a time so that only a small part is ever held twice.

use super::error::BadInput;
use super::frame::{Column, Frame, Missing, Preview, Refused, RowMap, Sink, Want, check_names};
use super::source::Source;
use super::time::{DAY, MISSING, TimeKind};
use super::{FrameOptions, Plan, sample_rows};
use polars::prelude::{
    AnyValue, ArrowDataType, ArrowField, DataFrame, DataType, FileMetadataRef, ParquetReader, PolarsError, PolarsResult,
    SerReader, Series, TimeUnit,
};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows that are decoded at once.
const SLICE: usize = 1 << 16;

/// Reads a Parquet source. Rows are data rows, counted from 1. Errors as [`super::read_frame`].
pub(super) fn read(source: &Source, options: &FrameOptions, plan: &Plan<'_>) -> Result<Frame, BadInput> {
    let file = source.name();
    let decoder = Decoder::open(source).map_err(|e| damaged(file, &e))?;
    if decoder.fields.is_empty() || decoder.rows == 0 {
        return Err(BadInput::new(file, "the table has no rows, expected at least one row"));
    }
    check_names(file, None, decoder.fields.iter().map(|f| f.name.as_str()))?;
    let previews = previews(&decoder).map_err(|e| damaged(file, &e))?;
    let wants = plan(&previews)?;
    for (p, want) in previews.iter().zip(&wants) {
        if let (Some(found), false) = (&p.unreadable, *want == Want::Skip) {
            return Err(BadInput::new(file, format!("the column holds {found}, expected {}", wanted(want))).column(&p.name));
        }
    }
    let columns: Vec<usize> = (0..wants.len()).filter(|i| wants[*i] != Want::Skip).collect();
    let mut sinks: Vec<Sink> = columns.iter().map(|i| Sink::new(&wants[*i])).collect();
    sinks.iter_mut().for_each(|sink| sink.reserve(decoder.rows));
    let mut taken = 0;
    while taken < decoder.rows {
        let frame = decoder.slice(taken, SLICE, &columns).map_err(|e| damaged(file, &e))?;
        let rows = SLICE.min(decoder.rows - taken);
        if frame.width() != columns.len() || frame.columns().iter().any(|c| c.len() != rows) {
            return Err(damaged(file, &format!("it says that there are {} rows, but not all are there", decoder.rows)));
        }
        for ((series, sink), i) in frame.columns().iter().zip(&mut sinks).zip(&columns) {
            if let Err((at, found, why)) = fill(series.as_materialized_series(), sink, &options.missing) {
                let e = BadInput::cell(file, taken + at + 1, &previews[*i].name, &found, &why.expected);
                return Err(why.remedy.into_iter().fold(e, BadInput::remedy));
            }
        }
        taken += rows;
    }
    let rows = RowMap::default();
    let (mut out, mut warnings) = (Vec::new(), Vec::new());
    for (sink, i) in sinks.into_iter().zip(columns) {
        let name = &previews[i].name;
        if let (ArrowDataType::Timestamp(_, Some(zone)), Sink::Time(_)) = (&decoder.fields[i].dtype, &sink)
            && zone.as_str() != "UTC"
        {
            warnings.push(format!("{file}: the time stamps of column \"{name}\" ({zone}) are read in UTC"));
        }
        let (data, note) = sink.finish(file, name, &|i| rows.file_row(i))?;
        warnings.extend(note);
        out.extend(data.map(|data| Column { name: name.clone(), data }));
    }
    Ok(Frame { name: file.to_owned(), columns: out, rows, warnings })
}

fn damaged(file: &str, why: &str) -> BadInput {
    BadInput::new(file, format!("the Parquet file cannot be decoded: {why}"))
        .remedy("if it is damaged or cut off, write or copy it again")
}

/// A Parquet file whose footer has been read.
struct Decoder<'a> {
    bytes: &'a [u8],
    metadata: FileMetadataRef,
    fields: Vec<ArrowField>,
    rows: usize,
}

impl<'a> Decoder<'a> {
    fn open(source: &'a Source) -> Result<Self, String> {
        let bytes = source.bytes();
        quietly(|| {
            let mut reader = ParquetReader::new(Cursor::new(bytes));
            let metadata = reader.get_metadata()?.clone();
            let rows = reader.num_rows()?;
            let fields = reader.schema()?.iter_values().cloned().collect();
            Ok(Decoder { bytes, metadata, fields, rows })
        })
    }

    /// Rows from `offset` of these columns.
    fn slice(&self, offset: usize, rows: usize, columns: &[usize]) -> Result<DataFrame, String> {
        quietly(|| {
            let mut reader = ParquetReader::new(Cursor::new(self.bytes));
            reader.set_metadata(self.metadata.clone());
            let rows = rows.min(self.rows - offset);
            reader.with_slice(Some((offset, rows))).with_projection(Some(columns.to_vec())).finish()
        })
    }
}

/// How many threads are inside the decoder.
static DECODING: AtomicUsize = AtomicUsize::new(0);

/// Runs the decoder; if a damaged file makes it panic, that is an error like any other and nothing is printed.
fn quietly<T>(work: impl FnOnce() -> PolarsResult<T>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The panic may be on one of polars' own threads, so a count for all threads and not a flag of this one.
            if DECODING.load(Ordering::SeqCst) == 0 {
                before(info);
            }
        }));
    });
    DECODING.fetch_add(1, Ordering::SeqCst);
    let result = catch_unwind(AssertUnwindSafe(work));
    DECODING.fetch_sub(1, Ordering::SeqCst);
    match result {
        Ok(done) => done.map_err(|e| first_line(&e)),
        Err(_) => Err("its parts contradict each other".to_owned()),
    }
}

fn first_line(e: &PolarsError) -> String {
    e.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
}

/// What is known of each column, with the first cells of those that can be read.
fn previews(decoder: &Decoder<'_>) -> Result<Vec<Preview>, String> {
    let mut previews: Vec<Preview> = decoder
        .fields
        .iter()
        .map(|f| Preview {
            name: f.name.to_string(),
            sample: Vec::new(),
            typed_time: is_time(&f.dtype),
            unreadable: unreadable(&f.dtype),
            lost_numbers: is_decimal(&f.dtype) || f.dtype == ArrowDataType::Float16,
        })
        .collect();
    for (i, f) in decoder.fields.iter().enumerate() {
        let small = match f.dtype {
            ArrowDataType::Int8 | ArrowDataType::UInt8 => "8-bit",
            ArrowDataType::Int16 | ArrowDataType::UInt16 => "16-bit",
            _ => continue,
        };
        // polars reads these only if it was built to.
        if decoder.slice(0, 1, &[i]).is_err() {
            previews[i].lost_numbers = true;
            previews[i].unreadable = Some(format!("{small} integers, which this build cannot read (write them as 32-bit)"));
        }
    }
    let readable: Vec<usize> = (0..previews.len()).filter(|i| previews[*i].unreadable.is_none()).collect();
    let frame = decoder.slice(0, sample_rows(readable.len()), &readable)?;
    for (i, column) in readable.into_iter().zip(frame.columns()) {
        // What is typed as time needs no sample.
        if !previews[i].typed_time {
            previews[i].sample = (0..column.len()).map(|row| text_of(column.get(row).ok())).collect();
        }
    }
    Ok(previews)
}

fn is_time(dtype: &ArrowDataType) -> bool {
    matches!(dtype, ArrowDataType::Date32 | ArrowDataType::Date64 | ArrowDataType::Timestamp(..))
}

fn is_decimal(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as A;
    matches!(dtype, A::Decimal(..) | A::Decimal32(..) | A::Decimal64(..) | A::Decimal256(..))
}

/// What the column holds, if it is nothing that a sink takes.
fn unreadable(dtype: &ArrowDataType) -> Option<String> {
    use ArrowDataType as A;
    Some(match dtype {
        A::Null | A::Boolean | A::Utf8 | A::LargeUtf8 | A::Utf8View | A::Float32 | A::Float64 => return None,
        A::Int8 | A::Int16 | A::Int32 | A::Int64 | A::UInt8 | A::UInt16 | A::UInt32 | A::UInt64 => return None,
        time if is_time(time) => return None,
        A::Dictionary(_, value, _) if matches!(**value, A::Utf8 | A::LargeUtf8 | A::Utf8View) => return None,
        d if is_decimal(d) => "decimals, which this build cannot read (write them as 64-bit floats)".to_owned(),
        A::Float16 => "16-bit floats, which this build cannot read (write them as 32-bit)".to_owned(),
        A::List(_) | A::LargeList(_) | A::FixedSizeList(..) | A::Map(..) => "lists".to_owned(),
        A::Struct(_) => "structs".to_owned(),
        A::Binary | A::LargeBinary | A::BinaryView | A::FixedSizeBinary(_) => "bytes".to_owned(),
        A::Time32(_) | A::Time64(_) => "times of day".to_owned(),
        A::Duration(_) | A::Interval(_) => "durations".to_owned(),
        _ => "values of a type that is no number, text or time stamp".to_owned(),
    })
}

fn wanted(want: &Want) -> &'static str {
    match want {
        Want::Text => "text",
        Want::Time(_) => "time stamps",
        _ => "numbers",
    }
}

fn text_of(value: Option<AnyValue<'_>>) -> String {
    match value {
        None | Some(AnyValue::Null) => String::new(),
        Some(AnyValue::String(s)) => s.trim().to_owned(),
        Some(AnyValue::Boolean(b)) => u8::from(b).to_string(),
        Some(v) => v.to_string().trim_matches('"').to_owned(),
    }
}

/// Why and where a cell was refused: row in the slice, text.
type Fault = (usize, String, Refused);

/// Hands a decoded column to a sink.
fn fill(series: &Series, sink: &mut Sink, missing: &Missing) -> Result<(), Fault> {
    let broken = |e: PolarsError| (0, first_line(&e), Refused { expected: "a value that can be decoded".into(), remedy: None });
    match series.dtype() {
        DataType::String => texts(series, sink, missing),
        d if d.is_categorical() || d.is_enum() => texts(&series.cast(&DataType::String).map_err(broken)?, sink, missing),
        DataType::Date => {
            let days = series.cast(&DataType::Int32).map_err(broken)?;
            let days = days.i32().map_err(broken)?;
            times(days.iter().map(|d| d.map(|d| i64::from(d) * DAY)), TimeKind::Date, sink)
        }
        DataType::Datetime(unit, _) => {
            let unit = *unit;
            let counts = series.to_physical_repr();
            let counts = counts.i64().map_err(broken)?;
            let micros = |v: i64| match unit {
                TimeUnit::Nanoseconds => v.div_euclid(1000),
                TimeUnit::Microseconds => v,
                TimeUnit::Milliseconds => v.saturating_mul(1000),
            };
            times(counts.iter().map(|v| v.map(micros)), TimeKind::DateTime, sink)
        }
        d if d.is_integer() && !matches!(sink, Sink::Number(_)) => {
            let values = series.cast(&DataType::Int64).map_err(broken)?;
            let values = values.i64().map_err(broken)?;
            let mut text = String::new();
            for (i, v) in values.iter().enumerate() {
                text.clear();
                if let Some(v) = v {
                    // Writing into a String cannot fail.
                    let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{v}"));
                }
                push(sink, &text, i, missing)?;
            }
            Ok(())
        }
        _ => {
            let values = series.cast(&DataType::Float64).map_err(broken)?;
            let values = values.f64().map_err(broken)?;
            if let Sink::Number(numbers) = sink {
                if let Some((i, v)) = values.iter().enumerate().find_map(|(i, v)| v.filter(|v| v.is_infinite()).map(|v| (i, v))) {
                    return Err((i, v.to_string(), Refused { expected: "a finite number".into(), remedy: None }));
                }
                for chunk in values.downcast_iter() {
                    if chunk.validity().is_none_or(|v| v.unset_bits() == 0) {
                        numbers.extend(chunk.values());
                    } else {
                        numbers.extend(&chunk.iter().map(|v| v.copied().unwrap_or(f64::NAN)).collect::<Vec<_>>());
                    }
                }
                return Ok(());
            }
            for (i, v) in values.iter().enumerate() {
                push(sink, &v.filter(|v| !v.is_nan()).map(|v| v.to_string()).unwrap_or_default(), i, missing)?;
            }
            Ok(())
        }
    }
}

fn push(sink: &mut Sink, text: &str, i: usize, missing: &Missing) -> Result<(), Fault> {
    sink.push(text, missing, false).map_err(|why| (i, text.to_owned(), why))
}

fn texts(series: &Series, sink: &mut Sink, missing: &Missing) -> Result<(), Fault> {
    let Ok(values) = series.str() else { return Ok(()) };
    for (i, v) in values.downcast_iter().flat_map(|chunk| chunk.iter()).enumerate() {
        push(sink, v.unwrap_or_default(), i, missing)?;
    }
    Ok(())
}

fn times(values: impl Iterator<Item = Option<i64>>, kind: TimeKind, sink: &mut Sink) -> Result<(), Fault> {
    for (i, v) in values.enumerate() {
        match sink {
            Sink::Time(sink) => sink.push_typed(v.unwrap_or(MISSING), kind),
            // A time column that is wanted as an id is one by its text.
            Sink::Text(sink) => sink.push(v.map(|v| super::time::format_time(v, kind)).as_deref()),
            Sink::Number(_) => {
                let text = v.map(|v| super::time::format_time(v, kind)).unwrap_or_default();
                return Err((i, text, Refused { expected: "a number".into(), remedy: None }));
            }
            Sink::Skip => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
