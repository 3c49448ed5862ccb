//! Lines of indices and a value, block by block and side by side: what FROSTT and GenTen files of sparse tensors have in common.
//!
//! Every block is parsed by one task into columns of its own, which are added to the arrays after each round of blocks. So neither the text
//! nor a second copy of the coordinates is ever held: growing an array may hold that one twice for a moment.

use super::coo::Coo;
use super::input::Blocks;
use super::{Missing, finite};
use crate::kernels::simd::Real;
use crate::table::BadInput;
use crate::table::error::quoted;
use crate::table::frame::{RowMap, parse_number};
use rayon::prelude::*;

/// The largest index that is read: indices are kept in 32 bits.
const LARGEST: u64 = u32::MAX as u64;

/// What a line may hold.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Modes.
    pub order: usize,
    /// What a NaN is: an error unless it was asked for.
    pub missing: Option<Missing>,
    /// A line that starts with these bytes is a comment, besides those that start with `#`.
    pub comment: &'static [u8],
}

/// Lines that were read, as columns.
struct Part<T> {
    indices: Vec<Vec<u32>>,
    values: Vec<T>,
    smallest: Vec<u32>,
    largest: Vec<u32>,
    lines: usize,
    /// For every line that is no entry, how many entries came before it.
    skipped: Vec<usize>,
    nan: usize,
}

/// What is wrong in a block: its line, counted from 0.
struct Fault {
    line: usize,
    column: Option<String>,
    what: String,
    remedy: Option<String>,
}

/// Entries as they stand in the file: nothing is subtracted from the indices yet.
pub struct Entries<T> {
    indices: Vec<Vec<u32>>,
    values: Vec<T>,
    /// Smallest index of every mode.
    pub smallest: Vec<u32>,
    /// Largest index of every mode.
    pub largest: Vec<u32>,
    /// NaN entries that were left out as missing.
    pub nan: usize,
    rows: RowMap,
}

/// Reads all lines that are left. `rows_before` are the rows of the file that were read before.
///
/// Errors: a line with another number of fields, an index that is no whole number or does not fit in 32 bits, a value that is no finite
/// number; the first in the order of the file.
pub fn read<T: Real>(blocks: &mut Blocks<'_>, rules: Rules, rows_before: usize) -> Result<Entries<T>, BadInput> {
    let mut all = Entries {
        indices: vec![Vec::new(); rules.order],
        values: Vec::new(),
        smallest: vec![u32::MAX; rules.order],
        largest: vec![0; rules.order],
        nan: 0,
        rows: RowMap { header_rows: rows_before, skipped: Vec::new() },
    };
    let mut lines = rows_before;
    loop {
        let round = blocks.round()?;
        if round.is_empty() {
            return Ok(all);
        }
        let parsed: Vec<Result<Part<T>, Fault>> = round.par_iter().map(|text| parse(text, &rules)).collect();
        for part in parsed {
            let part = part.map_err(|fault| {
                let e = BadInput::new(blocks.name(), fault.what).row(lines + fault.line + 1);
                let e = fault.column.into_iter().fold(e, BadInput::column);
                fault.remedy.into_iter().fold(e, BadInput::remedy)
            })?;
            lines += part.lines;
            all.rows.skipped.extend(part.skipped.iter().map(|before| before + all.values.len()));
            all.values.extend_from_slice(&part.values);
            all.nan += part.nan;
            for n in 0..rules.order {
                all.indices[n].extend_from_slice(&part.indices[n]);
                all.smallest[n] = all.smallest[n].min(part.smallest[n]);
                all.largest[n] = all.largest[n].max(part.largest[n]);
            }
        }
    }
}

impl<T: Real> Entries<T> {
    /// The row in the file of entry `i`.
    pub fn row(&self, i: usize) -> usize {
        self.rows.file_row(i)
    }

    /// Entries that hold a number.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The first entry whose index in `mode` is one that `wanted` picks, as (entry, index).
    pub fn find(&self, mode: usize, wanted: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let at = self.indices[mode].iter().position(|i| wanted(*i))?;
        Some((at, self.indices[mode][at]))
    }

    /// The coordinates, `bases[n]` taken from every index of mode `n`.
    pub fn into_coo(mut self, shape: Vec<usize>, bases: &[u32]) -> Coo<T> {
        for (column, base) in self.indices.iter_mut().zip(bases) {
            column.iter_mut().for_each(|i| *i -= base);
        }
        Coo { shape, indices: self.indices, values: self.values, rows: self.rows, nan: self.nan }
    }
}

fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | 0x0B | 0x0C)
}

/// The fields of the line, without a comment at its end.
pub fn fields<'a>(line: &'a [u8], comment: &[u8]) -> Vec<&'a [u8]> {
    let all = line.split(|c| is_blank(*c) || *c == b'\n').filter(|f| !f.is_empty());
    all.take_while(|f| f[0] != b'#' && (comment.is_empty() || !f.starts_with(comment))).collect()
}

fn parse<T: Real>(text: &[u8], rules: &Rules) -> Result<Part<T>, Fault> {
    let order = rules.order;
    let most = text.iter().filter(|c| **c == b'\n').count() + 1;
    let mut part = Part {
        indices: (0..order).map(|_| Vec::with_capacity(most)).collect(),
        values: Vec::with_capacity(most),
        smallest: vec![u32::MAX; order],
        largest: vec![0; order],
        lines: 0,
        skipped: Vec::new(),
        nan: 0,
    };
    let mut at = 0;
    let mut index = vec![0u32; order];
    while at < text.len() {
        let start = at;
        let value = match quick(text, &mut at, &mut index) {
            Some(value) => value,
            None => {
                let end = text[start..].iter().position(|c| *c == b'\n').map_or(text.len(), |n| start + n);
                at = end + 1;
                match careful(&text[start..end], rules, &mut index, part.lines)? {
                    Some(value) => value,
                    None => {
                        part.skipped.push(part.values.len());
                        part.lines += 1;
                        continue;
                    }
                }
            }
        };
        // A NaN: the cell is there for the shape, but has no value.
        part.nan += usize::from(value.is_nan());
        let missing = value.is_nan() && rules.missing == Some(Missing::Absent);
        for (n, i) in index.iter().enumerate() {
            part.smallest[n] = part.smallest[n].min(*i);
            part.largest[n] = part.largest[n].max(*i);
        }
        if missing {
            part.skipped.push(part.values.len());
        } else {
            for (column, i) in part.indices.iter_mut().zip(&index) {
                column.push(*i);
            }
            let value = if value.is_nan() { 0.0 } else { value };
            part.values.push(finite::<T>(value).ok_or_else(|| Fault {
                line: part.lines,
                column: Some("value".into()),
                what: format!("found {value:e}, expected a number that 32 bits can hold"),
                remedy: Some("use --dtype f64".into()),
            })?);
        }
        part.lines += 1;
    }
    Ok(part)
}

/// A line as nearly all are: indices in plain digits, a short decimal number, blanks between. `None` for anything else, which then is
/// read with care.
#[inline]
fn quick(text: &[u8], at: &mut usize, index: &mut [u32]) -> Option<f64> {
    let mut p = *at;
    for slot in index.iter_mut() {
        while matches!(text.get(p), Some(b' ' | b'\t')) {
            p += 1;
        }
        let from = p;
        let mut n = 0u64;
        while let Some(c @ b'0'..=b'9') = text.get(p) {
            n = n.wrapping_mul(10).wrapping_add(u64::from(c - b'0'));
            p += 1;
        }
        // Ten digits hold every index and cannot overflow.
        if p == from || p - from > 10 || n > LARGEST || !matches!(text.get(p), Some(b' ' | b'\t')) {
            return None;
        }
        *slot = n as u32;
    }
    while matches!(text.get(p), Some(b' ' | b'\t')) {
        p += 1;
    }
    let from = p;
    while text.get(p).is_some_and(|c| !is_blank(*c) && *c != b'\n') {
        p += 1;
    }
    let value = parse_number(std::str::from_utf8(&text[from..p]).ok()?, false)?;
    if !value.is_finite() {
        return None;
    }
    while text.get(p).is_some_and(|c| is_blank(*c)) {
        p += 1;
    }
    match text.get(p) {
        None => *at = p,
        Some(b'\n') => *at = p + 1,
        Some(_) => return None,
    }
    Some(value)
}

/// Any line; `None` if it is blank or a comment.
fn careful(line: &[u8], rules: &Rules, index: &mut [u32], number: usize) -> Result<Option<f64>, Fault> {
    let found = fields(line, rules.comment);
    let fault = |column: Option<String>, what: String, remedy: &str| Fault {
        line: number,
        column,
        what,
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
    };
    if found.is_empty() {
        return Ok(None);
    }
    if found.len() != rules.order + 1 {
        let count = |n: usize| if n == 1 { "1 field".to_owned() } else { format!("{n} fields") };
        let what =
            format!("found {}, expected {}: {} indices and a value", count(found.len()), count(rules.order + 1), rules.order);
        return Err(fault(None, what, "every line has as many fields as the first"));
    }
    for (n, (field, slot)) in found.iter().zip(index.iter_mut()).enumerate() {
        *slot = index_of(field).map_err(|(what, remedy)| fault(Some(format!("index {}", n + 1)), what, remedy))?;
    }
    let value =
        value_of(found[rules.order], rules.missing).map_err(|(what, remedy)| fault(Some("value".into()), what, remedy))?;
    Ok(Some(value))
}

/// What was found and expected, and what to do.
pub type Refusal = (String, &'static str);

/// Text as it is shown in a message; bytes that are no UTF-8 are named.
pub fn shown(field: &[u8]) -> String {
    match std::str::from_utf8(field) {
        Ok(text) => quoted(text),
        Err(e) => format!("the byte 0x{:02X}", field[e.valid_up_to()]),
    }
}

/// An index, not negative.
pub fn index_of(field: &[u8]) -> Result<u32, Refusal> {
    let text = std::str::from_utf8(field).unwrap_or("");
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return match digits.parse::<u64>() {
            Ok(n) if n <= LARGEST => Ok(n as u32),
            _ => {
                let what = format!("found {}, expected an index of at most {LARGEST}", shown(field));
                Err((what, "number the slices that occur: indices need not be the original ids"))
            }
        };
    }
    let what = format!("found {}, expected a whole number", shown(field));
    Err(match text.parse::<f64>() {
        Ok(x) if x < 0.0 => {
            (format!("found {}, expected an index, which is never negative", shown(field)), "indices start at 0 or 1")
        }
        // 3.0 is how some programs write 3, but 3.5 is a coordinate.
        Ok(_) => (what, "indices are whole numbers; real coordinates are for decompose-tensor funbat"),
        Err(_) if field.contains(&b',') => {
            (what, "fields are separated by blanks here; for a table name its columns with --coords and --value")
        }
        Err(_) => (what, "for a table with a header name its columns with --coords and --value"),
    })
}

/// A value; NaN only where a missing value may stand.
pub fn value_of(field: &[u8], missing: Option<Missing>) -> Result<f64, Refusal> {
    let number = std::str::from_utf8(field).ok().and_then(|t| parse_number(t, false));
    match number {
        Some(x) if x.is_finite() => Ok(x),
        Some(x) if x.is_nan() && missing.is_some() => Ok(x),
        Some(x) if x.is_nan() => Err((format!("found {}, expected a number", shown(field)), super::NAN_REMEDY)),
        Some(_) => Err((format!("found {}, expected a finite number", shown(field)), "")),
        None => Err((format!("found {}, expected a number", shown(field)), "")),
    }
}
