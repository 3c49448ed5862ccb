//! FROSTT coordinates (`.tns`): a line for each entry, the indices of all modes and the value, separated by blanks; `#` starts a comment.
//!
//! Source: frostt.io, "FROSTT file format": indices count from 1. SPLATT also takes files in which a mode counts from 0, told by an index 0
//! in that mode; so do we. What we add: a first line `# shoal shape I_1 … I_N`, which [`write_tns`] writes and which keeps empty slices at
//! the ends of modes; others read it as a comment.

use super::coordinates::{self, Rules, fields, shown};
use super::input::{BLOCK, Blocks, Input};
use super::{IndexBase, MOST_MODES, Missing, Mode, ReadOptions, TensorData, TensorFormat, TensorInput};
use crate::kernels::simd::Real;
use crate::table::{BadInput, write_number};
use std::fmt::Write as _;
use std::io::{self, Write};

/// What our shape line starts with.
const SHAPE_LINE: &str = "# shoal shape";

/// Reads coordinates. Absent cells are zero unless the options say otherwise.
pub fn read<T: Real>(input: &mut Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    read_blocks(input, options, BLOCK)
}

/// As [`read`], with blocks of so many bytes.
pub fn read_blocks<T: Real>(input: &mut Input, options: &ReadOptions, block: usize) -> Result<TensorInput<T>, BadInput> {
    let name = input.name().to_owned();
    let mut blocks = Blocks::new(input, block);
    let Some(start) = first_entry(&mut blocks)? else {
        return Err(BadInput::new(name, "holds no entries").remedy("expected lines such as: 1 1 1 2.5"));
    };
    let rules = Rules { order: start.order, missing: options.missing, comment: b"" };
    let entries = coordinates::read::<T>(&mut blocks, rules, start.row)?;
    let order = start.order;
    let bases: Vec<u32> = (0..order)
        .map(|n| match options.base {
            IndexBase::Auto => u32::from(entries.smallest[n] > 0),
            IndexBase::Zero => 0,
            IndexBase::One => 1,
        })
        .collect();
    for (n, base) in bases.iter().enumerate() {
        if *base > entries.smallest[n] {
            let row = entries.find(n, |i| i == 0).map(|(k, _)| entries.row(k));
            let e = BadInput::new(&name, "found the index 0, expected indices from 1").column(format!("index {}", n + 1));
            return Err(row.into_iter().fold(e, BadInput::row).remedy("if all modes count from 0, say --index-base 0"));
        }
    }
    let sizes: Vec<usize> = (0..order).map(|n| (entries.largest[n] - bases[n]) as usize + 1).collect();
    let shape = match options.shape.as_ref().or(start.shape.as_ref()) {
        None => sizes,
        Some(given) => {
            if given.len() != order {
                let what = format!("has {order} modes, the shape {given:?} has {}", given.len());
                return Err(BadInput::new(&name, what).remedy("give one size for each index column"));
            }
            for n in 0..order {
                if sizes[n] > given[n] {
                    let most = given[n] as u64 + u64::from(bases[n]);
                    let place = entries.find(n, |i| u64::from(i) >= most);
                    let (row, index) = place.map_or((None, 0), |(k, i)| (Some(entries.row(k)), i));
                    let what = format!(
                        "found the index {index}, expected at most {}: the mode has size {}",
                        most.saturating_sub(1),
                        given[n]
                    );
                    let e = BadInput::new(&name, what).column(format!("index {}", n + 1));
                    return Err(row.into_iter().fold(e, BadInput::row));
                }
            }
            given.clone()
        }
    };
    let mut notes = Vec::new();
    if bases.contains(&0) && bases.contains(&1) {
        let from = |base: u32| {
            let modes: Vec<String> = (0..order).filter(|n| bases[*n] == base).map(|n| n.to_string()).collect();
            modes.join(", ")
        };
        notes.push(format!("{name}: modes {} count from 0, modes {} from 1 (--index-base 0 or 1 for all)", from(0), from(1)));
    }
    let coo = entries.into_coo(shape, &bases);
    let nan = coo.nan;
    let done = coo.finish(&name, options, Some(Missing::Zero))?;
    let (format, file) = (TensorFormat::Tns, Default::default());
    Ok(TensorInput { name, format, data: done.data, modes: Mode::unnamed(order), merged: done.merged, nan, notes, file })
}

/// Where the entries start.
struct Start {
    order: usize,
    shape: Option<Vec<usize>>,
    /// Rows above.
    row: usize,
}

/// Looks for the first entry and puts it back.
fn first_entry(blocks: &mut Blocks<'_>) -> Result<Option<Start>, BadInput> {
    let (mut row, mut shape) = (0, None);
    while let Some(block) = blocks.block()? {
        let mut at = 0;
        for line in block.split_inclusive(|c| *c == b'\n') {
            let found = fields(line, b"");
            if let Some(last) = found.last() {
                let file = blocks.name();
                if line.trim_ascii_end().contains(&b'\r') {
                    let e = BadInput::new(file, "lines end with a carriage return alone, expected line feeds").row(row + 1);
                    return Err(e.remedy("convert it with: tr '\\r' '\\n'"));
                }
                if found.len() < 2 {
                    let what = format!("found one field, {}, expected indices and a value", shown(last));
                    return Err(BadInput::new(file, what)
                        .row(row + 1)
                        .remedy("fields are separated by blanks, as in: 1 1 1 2.5"));
                }
                let order = found.len() - 1;
                if order > MOST_MODES {
                    let what = format!("found {} fields, expected at most {MOST_MODES} indices and a value", found.len());
                    let e = BadInput::new(file, what).row(row + 1);
                    return Err(e.remedy(
                        "a matrix as text is read as GenTen: begin with a line matrix, a line 2 and a line of its sizes",
                    ));
                }
                blocks.put_back(&block[at..]);
                return Ok(Some(Start { order, shape, row }));
            }
            if let Some(sizes) = std::str::from_utf8(line).ok().and_then(|l| l.strip_prefix(SHAPE_LINE)) {
                shape = sizes.split_ascii_whitespace().map(|n| n.parse().ok()).collect();
            }
            at += line.len();
            row += 1;
        }
    }
    Ok(None)
}

/// Writes a tensor as coordinates that count from 1, with a first line that says its shape: the entries of a sparse tensor in their order,
/// the observed cells of a masked one, the cells of a dense one that are not zero, in C order.
///
/// Numbers are the shortest text that reads back as the same `T`. A tensor of which nothing would be listed gets one cell of value 0.
/// Errors are those of `out`. Cost: linear.
pub fn write_tns<T: Real>(data: &TensorData<T>, out: &mut dyn Write) -> io::Result<()> {
    let shape = data.shape();
    let mut text = String::from(SHAPE_LINE);
    // Writing into a String cannot fail.
    shape.iter().for_each(|n| write!(text, " {n}").unwrap_or_default());
    text.push('\n');
    let mut line = |cell: &mut dyn Iterator<Item = usize>, value: T, out: &mut dyn Write| -> io::Result<()> {
        cell.for_each(|i| write!(text, "{} ", i + 1).unwrap_or_default());
        // The shortest text of an f32 is shorter than that of the same number as f64.
        let value = if size_of::<T>() == 8 { value.to_f64() } else { value.to_string().parse().unwrap_or(value.to_f64()) };
        write_number(&mut text, value);
        text.push('\n');
        if text.len() > 1 << 16 {
            out.write_all(text.as_bytes())?;
            text.clear();
        }
        Ok(())
    };
    let mut cell = vec![0; shape.len()];
    let mut listed = false;
    match data {
        TensorData::Sparse(s, _) => {
            for (k, v) in s.values().iter().enumerate() {
                line(&mut (0..s.order()).map(|n| s.indices(n)[k] as usize), *v, out)?;
                listed = true;
            }
        }
        TensorData::Dense(d) => {
            for v in d.values() {
                if *v != T::ZERO {
                    line(&mut cell.iter().copied(), *v, out)?;
                    listed = true;
                }
                advance(&mut cell, shape);
            }
        }
        TensorData::Masked(m) => {
            for (v, seen) in m.tensor.values().iter().zip(&m.observed) {
                if *seen {
                    line(&mut cell.iter().copied(), *v, out)?;
                    listed = true;
                }
                advance(&mut cell, shape);
            }
        }
    }
    if !listed && shape.iter().all(|n| *n > 0) {
        line(&mut std::iter::repeat_n(0, shape.len()), T::ZERO, out)?;
    }
    out.write_all(text.as_bytes())
}

/// The next cell in C order.
pub(super) fn advance(cell: &mut [usize], shape: &[usize]) {
    for n in (0..shape.len()).rev() {
        cell[n] += 1;
        if cell[n] < shape[n] {
            return;
        }
        cell[n] = 0;
    }
}
