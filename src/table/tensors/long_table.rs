//! Long tables: a row for each cell, a column of labels or numbers for each mode, and a column of values.
//!
//! A slice is what its label says: labels become indices in the order of first appearance, or sorted. A table must hold every cell unless
//! the options say what absent cells are.

use super::coo::Coo;
use super::input::Input;
use super::{Missing as Policy, Mode, NAN_REMEDY, ReadOptions, TensorFormat, TensorInput, finite};
use crate::kernels::simd::Real;
use crate::table::error::{quoted, suggest_column};
use crate::table::frame::Missing;
use crate::table::{BadInput, Data, Frame, FrameOptions, Preview, Source, Text, Want, read_frame};
use std::sync::Arc;

/// Reads a table with the columns that the options name.
pub fn read<T: Real>(input: &mut Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    let name = input.name().to_owned();
    let source = Source::from_bytes(&name, input.rest()?)?;
    let frame_options = FrameOptions { missing: Missing(options.na.clone()), header: options.header };
    let value = std::cell::RefCell::new(String::new());
    let frame = read_frame(&source, &frame_options, &|columns| {
        let picked = value_column(&name, columns, options)?;
        let want = |c: &Preview| match &c.name {
            n if options.coords.contains(n) => Want::Text,
            n if *n == picked => Want::Number,
            _ => Want::Skip,
        };
        let wants = columns.iter().map(want).collect();
        *value.borrow_mut() = picked;
        Ok(wants)
    })?;
    drop(source);
    from_frame(frame, &value.into_inner(), options, &name)
}

/// The column of values; an error if the columns that were named do not exist.
fn value_column(file: &str, columns: &[Preview], options: &ReadOptions) -> Result<String, BadInput> {
    let names = || columns.iter().map(|c| c.name.as_str());
    if options.coords.is_empty() {
        let e = BadInput::new(file, "is a table, expected to be told which columns say where a cell is");
        return Err(e.remedy(format!("name them with --coords, one a mode, and --value; {}", suggest_column("", names()))));
    }
    for (i, wanted) in options.coords.iter().chain(&options.value).enumerate() {
        if !names().any(|n| n == wanted) {
            let e = BadInput::new(file, format!("there is no column {}", quoted(wanted)));
            return Err(e.remedy(suggest_column(wanted, names())));
        }
        if options.coords.iter().chain(&options.value).take(i).any(|n| n == wanted) {
            return Err(BadInput::new(file, "the column is named twice")
                .column(wanted)
                .remedy("each mode and the value have a column of their own"));
        }
    }
    if let Some(value) = &options.value {
        return Ok(value.clone());
    }
    let others: Vec<&str> = names().filter(|n| !options.coords.iter().any(|c| c == n)).collect();
    match others[..] {
        _ if others.contains(&"value") => Ok("value".into()),
        [only] => Ok(only.into()),
        [] => Err(BadInput::new(file, "there is no column left for the values")),
        _ => Err(BadInput::new(file, "several columns may hold the values")
            .remedy(format!("name one with --value; {}", suggest_column("value", others.into_iter())))),
    }
}

fn from_frame<T: Real>(frame: Frame, value: &str, options: &ReadOptions, name: &str) -> Result<TensorInput<T>, BadInput> {
    let Frame { columns, rows, warnings, .. } = frame;
    let mut values = Vec::new();
    let mut texts: Vec<(String, Text)> = Vec::new();
    for column in columns {
        match column.data {
            Data::Number(v) if column.name == value => values = v,
            Data::Text(t) => texts.push((column.name, t)),
            _ => return Err(BadInput::new(name, "the column holds neither labels nor numbers").column(column.name)),
        }
    }
    let (mut indices, mut modes, mut shape) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in &options.coords {
        let Some(at) = texts.iter().position(|(n, _)| n == wanted) else {
            return Err(BadInput::new(name, "the column cannot be read").column(wanted));
        };
        let (column, mut text) = texts.swap_remove(at);
        if let Some(row) = text.codes.iter().position(|c| *c == Text::MISSING) {
            let e = BadInput::new(name, "the cell is empty, expected a label or an index").row(rows.file_row(row));
            return Err(e.column(column).remedy("remove the row, or give the slice a label"));
        }
        let numbers: Option<Vec<f64>> = text.dict.iter().map(|l| l.parse::<f64>().ok().filter(|x| x.is_finite())).collect();
        if let Some(k) = numbers.as_ref().and_then(|n| n.iter().position(|x| x.fract() != 0.0)) {
            let row = text.codes.iter().position(|c| *c as usize == k).unwrap_or(0);
            let e = BadInput::cell(name, rows.file_row(row), column, &text.dict[k], "a whole number or a label");
            return Err(
                e.remedy("real coordinates are for decompose-tensor funbat; to use them as labels write them with a letter")
            );
        }
        if options.sorted {
            sort(&mut text, numbers.as_deref());
        }
        shape.push(text.dict.len());
        indices.push(text.codes);
        modes.push(Mode { name: column, labels: Some(text.dict) });
    }
    let (mut kept, mut nan) = (Vec::with_capacity(values.len()), 0);
    for (i, x) in values.iter().enumerate() {
        match finite::<T>(*x) {
            Some(v) => kept.push(v),
            None if x.is_nan() => {
                nan += 1;
                match options.missing {
                    // Taken out below.
                    Some(Policy::Absent) => {}
                    Some(Policy::Zero) => kept.push(T::ZERO),
                    None => {
                        let e = BadInput::new(name, "the cell is missing, expected a number").row(rows.file_row(i));
                        return Err(e.column(value).remedy(NAN_REMEDY));
                    }
                }
            }
            None => {
                let e = BadInput::cell(name, rows.file_row(i), value, &x.to_string(), "a number that 32 bits can hold");
                return Err(e.remedy("use --dtype f64"));
            }
        }
    }
    let mut rows = rows;
    if kept.len() < values.len() {
        let missing = |i: usize| values[i].is_nan();
        for column in &mut indices {
            let mut i = 0;
            column.retain(|_| {
                i += 1;
                !missing(i - 1)
            });
        }
        rows.skipped = skipped(&rows.skipped, values.len(), missing);
    }
    drop(values);
    let coo = Coo { shape, indices, values: kept, rows, nan };
    let done = coo.finish(name, options, None)?;
    Ok(TensorInput {
        name: name.to_owned(),
        format: TensorFormat::Table,
        data: done.data,
        modes,
        merged: done.merged,
        nan,
        notes: warnings,
        file: Default::default(),
    })
}

/// Blank lines and missing rows together, each as the number of kept rows before it.
fn skipped(blank: &[usize], rows: usize, missing: impl Fn(usize) -> bool) -> Vec<usize> {
    let (mut all, mut kept, mut next) = (Vec::new(), 0, 0);
    for i in 0..=rows {
        while blank.get(next).is_some_and(|before| *before <= i) {
            all.push(kept);
            next += 1;
        }
        if i < rows && missing(i) {
            all.push(kept);
        } else {
            kept += 1;
        }
    }
    all
}

/// Gives slices the order of their labels: numbers by size, other text by its bytes.
fn sort(text: &mut Text, numbers: Option<&[f64]>) {
    let mut order: Vec<usize> = (0..text.dict.len()).collect();
    match numbers {
        // Equal numbers may be written in two ways; they stay two labels.
        Some(n) => order.sort_by(|a, b| n[*a].total_cmp(&n[*b]).then_with(|| text.dict[*a].cmp(&text.dict[*b]))),
        None => order.sort_by(|a, b| text.dict[*a].cmp(&text.dict[*b])),
    }
    let mut place = vec![0u32; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new as u32;
    }
    text.codes.iter_mut().for_each(|c| *c = place[*c as usize]);
    let sorted: Vec<Arc<str>> = order.iter().map(|old| text.dict[*old].clone()).collect();
    text.dict = sorted;
}

#[cfg(test)]
mod tests {
    use super::skipped;

    #[test]
    fn missing_rows_count_as_rows() {
        // Rows of the file: a, blank, (b missing), c, d; so that c is row 4 and d row 5.
        let skip = skipped(&[1], 4, |i| i == 1);
        assert_eq!(skip, [1, 1]);
        let rows = crate::table::frame::RowMap { header_rows: 0, skipped: skip };
        assert_eq!([0, 1, 2].map(|i| rows.file_row(i)), [1, 4, 5]);
    }
}
