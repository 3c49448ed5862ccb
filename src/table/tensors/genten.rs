//! GenTen text: a line with the kind (`sptensor`, `tensor`, `matrix` or `facmatrix`, `ktensor`), the number of modes, their sizes, and then
//!
//! * `sptensor`: the number of entries, and a line for each: indices and value. Indices count from 0, or from 1 when the first line
//!   goes on with `indices-start-at-one`;
//! * `tensor`: all values, the first index fastest;
//! * `matrix`: a line for each row;
//! * `ktensor`: the number of components, a line of weights, and a matrix for each mode: a model, read by [`read_ktensor`].
//!
//! `//` (and here `#`) starts a comment. Source: sandialabs/GenTen, `src/Genten_IOtext.cpp` @06d39dd, for the layout. What differs: GenTen
//! does not compare the number of entries with the header, we do.

use super::coordinates::{self, Rules, fields, shown, value_of};
use super::dense::{Collector, cells};
use super::input::{BLOCK, Blocks, Input};
use super::{IndexBase, MOST_MODES, Missing, Mode, ReadOptions, TensorFormat, TensorInput};
use crate::kernels::simd::Real;
use crate::table::BadInput;
use crate::table::error::quoted;
use crate::tensor::model::{Kruskal, Matrix};
use rayon::prelude::*;

/// The words that a file may start with.
pub const WORDS: [&str; 6] = ["sptensor", "tensor", "matrix", "facmatrix", "facmat", "ktensor"];
const COMMENT: &[u8] = b"//";

/// Reads a `sptensor` (absent cells are zero unless the options say otherwise), a `tensor` or a `matrix`.
pub fn read<T: Real>(input: &mut Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    read_blocks(input, options, BLOCK)
}

/// As [`read`], with blocks of so many bytes.
pub fn read_blocks<T: Real>(input: &mut Input, options: &ReadOptions, block: usize) -> Result<TensorInput<T>, BadInput> {
    let name = input.name().to_owned();
    let mut lines = Lines::new(Blocks::new(input, block));
    let (word, start_at_one) = lines.kind()?;
    match word.as_str() {
        "sptensor" => {
            let shape = lines.sizes()?;
            let entries = lines.integers("the number of entries", 1)?[0];
            sptensor(lines, &name, shape, entries, start_at_one, options)
        }
        "ktensor" => Err(BadInput::new(name, "is a model (a ktensor), expected a tensor")
            .remedy("compute its tensor with decompose-tensor reconstruct, or start from it with --init")),
        _ => {
            let matrix = word != "tensor";
            let shape = lines.sizes()?;
            if matrix && shape.len() != 2 {
                return Err(lines.wrong(format!("a matrix has 2 modes, found {}", shape.len())));
            }
            let total = cells::<T>(&name, &shape)?;
            let mut collector = Collector::new(&name, &shape, !matrix, options)?;
            values(&mut lines, options.missing, total, matrix.then_some(shape[1]), &mut collector)?;
            collector.finish(options, TensorFormat::Genten, input)
        }
    }
}

fn sptensor<T: Real>(
    mut lines: Lines<'_>,
    name: &str,
    shape: Vec<usize>,
    count: usize,
    start_at_one: Option<bool>,
    options: &ReadOptions,
) -> Result<TensorInput<T>, BadInput> {
    let order = shape.len();
    let base = match (start_at_one, options.base) {
        (Some(one), _) => u32::from(one),
        (None, IndexBase::One) => 1,
        (None, IndexBase::Zero | IndexBase::Auto) => 0,
    };
    let rules = Rules { order, missing: options.missing, comment: COMMENT };
    let entries = {
        let row = lines.row;
        coordinates::read::<T>(lines.blocks(), rules, row)?
    };
    // Entries that say NaN are counted, and left out where they mean that nothing was observed.
    let listed = entries.len() + if options.missing == Some(Missing::Absent) { entries.nan } else { 0 };
    if listed != count {
        let what = format!("holds {listed} entries, its header says {count}");
        return Err(BadInput::new(name, what).remedy("the file is cut off, or the header is not its own"));
    }
    for (n, size) in shape.iter().enumerate() {
        let outside = |i: u32| i < base || (i - base) as usize >= *size;
        if count > 0 && (outside(entries.smallest[n]) || outside(entries.largest[n])) {
            let what = |i: u32| {
                let last = *size as u64 + u64::from(base) - 1;
                format!("found the index {i}, expected {base} to {last}: the mode has size {size}")
            };
            let e = match entries.find(n, outside) {
                Some((k, i)) => BadInput::new(name, what(i)).row(entries.row(k)),
                None => BadInput::new(name, what(entries.largest[n])),
            };
            let e = e.column(format!("index {}", n + 1));
            return Err(match base {
                0 => e.remedy("if indices count from 1, the first line says so: sptensor indices-start-at-one"),
                _ => e,
            });
        }
    }
    let coo = entries.into_coo(shape, &vec![base; order]);
    let nan = coo.nan;
    let done = coo.finish(name, options, Some(Missing::Zero))?;
    Ok(TensorInput {
        name: name.to_owned(),
        format: TensorFormat::Genten,
        data: done.data,
        modes: Mode::unnamed(order),
        merged: done.merged,
        nan,
        notes: Vec::new(),
        file: Default::default(),
    })
}

/// The numbers of a block and its lines.
type Parsed = (Vec<f64>, usize);

/// Hands all values that are left to the collector: `total` of them, `per_line` a line if lines matter.
fn values<T: Real>(
    lines: &mut Lines<'_>,
    missing: Option<Missing>,
    total: usize,
    per_line: Option<usize>,
    to: &mut Collector<'_, T>,
) -> Result<(), BadInput> {
    lines.blocks();
    loop {
        let round = lines.blocks.round()?;
        if round.is_empty() {
            break;
        }
        let parsed: Vec<Result<Parsed, (usize, String, &str)>> = round
            .par_iter()
            .map(|text| {
                let (mut numbers, mut row) = (Vec::new(), 0);
                for line in text.split_inclusive(|c| *c == b'\n') {
                    let found = fields(line, COMMENT);
                    if let Some(wanted) = per_line.filter(|w| !found.is_empty() && *w != found.len()) {
                        return Err((row, format!("found {} numbers, expected {wanted}", found.len()), ""));
                    }
                    for field in found {
                        numbers.push(value_of(field, missing).map_err(|(what, remedy)| (row, what, remedy))?);
                    }
                    row += 1;
                }
                Ok((numbers, row))
            })
            .collect();
        for part in parsed {
            let (numbers, rows) = part.map_err(|(row, what, remedy)| {
                let e = BadInput::new(lines.blocks.name(), what).row(lines.row + row + 1);
                if remedy.is_empty() { e } else { e.remedy(remedy) }
            })?;
            lines.row += rows;
            if to.len() + numbers.len() > total {
                let what = format!("holds more than {total} values, the cells of its shape");
                return Err(BadInput::new(lines.blocks.name(), what).remedy("the header is not its own"));
            }
            to.extend(numbers.into_iter())?;
        }
    }
    if to.len() < total {
        let what = format!("holds {} values, its shape has {total} cells", to.len());
        return Err(BadInput::new(lines.blocks.name(), what).remedy("the file is cut off, or the header is not its own"));
    }
    Ok(())
}

/// Lines with content, one by one: headers and models.
struct Lines<'a> {
    blocks: Blocks<'a>,
    /// The block that lines are taken from, and where the next one begins.
    block: Vec<u8>,
    at: usize,
    /// Rows that were read.
    row: usize,
}

impl<'a> Lines<'a> {
    fn new(blocks: Blocks<'a>) -> Self {
        Self { blocks, block: Vec::new(), at: 0, row: 0 }
    }

    /// The next line with content, as fields.
    fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, BadInput> {
        loop {
            while self.at < self.block.len() {
                let rest = &self.block[self.at..];
                let end = rest.iter().position(|c| *c == b'\n').map_or(rest.len(), |n| n + 1);
                let found: Vec<Vec<u8>> = fields(&rest[..end], COMMENT).into_iter().map(<[u8]>::to_vec).collect();
                self.at += end;
                self.row += 1;
                if !found.is_empty() {
                    return Ok(Some(found));
                }
            }
            match self.blocks.block()? {
                Some(block) => (self.block, self.at) = (block, 0),
                None => return Ok(None),
            }
        }
    }

    /// What is left, for whoever reads whole blocks.
    fn blocks(&mut self) -> &mut Blocks<'a> {
        self.blocks.put_back(&self.block[self.at..]);
        self.block.clear();
        self.at = 0;
        &mut self.blocks
    }

    fn wrong(&self, what: String) -> BadInput {
        BadInput::new(self.blocks.name(), what).row(self.row)
    }

    fn ended(&self, what: &str) -> BadInput {
        BadInput::new(self.blocks.name(), format!("ends before {what}")).remedy("the file is cut off: copy it again")
    }

    /// The first line: the kind, and whether indices start at 1 if it says so.
    fn kind(&mut self) -> Result<(String, Option<bool>), BadInput> {
        let Some(found) = self.next()? else { return Err(self.ended("its first line")) };
        let words: Vec<String> = found.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
        let one = match words.get(1).map(String::as_str) {
            None => None,
            Some("indices-start-at-zero") => Some(false),
            Some("indices-start-at-one") => Some(true),
            Some(other) => {
                let expected = "indices-start-at-zero or indices-start-at-one";
                return Err(self.wrong(format!("found {}, expected {expected}", quoted(other))));
            }
        };
        if !WORDS.contains(&words[0].as_str()) || words.len() > 2 {
            return Err(self.wrong(format!("found {}, expected one of {}", quoted(&words.join(" ")), WORDS.join(", "))));
        }
        Ok((words[0].clone(), one))
    }

    /// A line of `count` whole numbers.
    fn integers(&mut self, what: &str, count: usize) -> Result<Vec<usize>, BadInput> {
        let Some(found) = self.next()? else { return Err(self.ended(what)) };
        if found.len() != count {
            return Err(self.wrong(format!("found {} numbers, expected {count}: {what}", found.len())));
        }
        let number = |field: &Vec<u8>| {
            let text = std::str::from_utf8(field).ok();
            text.and_then(|t| t.parse().ok()).ok_or_else(|| self.wrong(format!("found {}, expected {what}", shown(field))))
        };
        found.iter().map(number).collect()
    }

    /// The number of modes and their sizes.
    fn sizes(&mut self) -> Result<Vec<usize>, BadInput> {
        let order = self.integers("the number of modes", 1)?[0];
        if order == 0 || order > MOST_MODES {
            return Err(self.wrong(format!("found {order}, expected a number of modes from 1 to {MOST_MODES}")));
        }
        let sizes = self.integers("the sizes of the modes", order)?;
        match sizes.contains(&0) {
            true => Err(self.wrong("found the size 0, expected at least 1".into())),
            false => Ok(sizes),
        }
    }

    /// A line of `count` numbers.
    fn numbers(&mut self, what: &str, count: usize) -> Result<Vec<f64>, BadInput> {
        let Some(found) = self.next()? else { return Err(self.ended(what)) };
        if found.len() != count {
            return Err(self.wrong(format!("found {} numbers, expected {count}: {what}", found.len())));
        }
        found.iter().map(|f| value_of(f, None).map_err(|(what, _)| self.wrong(what))).collect()
    }
}

/// Whether these bytes are a GenTen `ktensor`.
pub fn is_ktensor(head: &[u8]) -> bool {
    let mut lines = head.split(|c| *c == b'\n').map(|line| fields(line, COMMENT)).filter(|f| !f.is_empty());
    lines.next().is_some_and(|f| f[0] == b"ktensor")
}

/// Reads a GenTen `ktensor`.
///
/// Errors: not a ktensor, sizes that disagree, a negative weight, a value that is no number, lines after its end.
pub fn read_ktensor(input: &mut Input) -> Result<Kruskal, BadInput> {
    let mut lines = Lines::new(Blocks::new(input, BLOCK));
    let (word, _) = lines.kind()?;
    if word != "ktensor" {
        return Err(lines.wrong(format!("found a {word}, expected a ktensor")));
    }
    let shape = lines.sizes()?;
    let rank = lines.integers("the number of components", 1)?[0];
    let weights = lines.numbers("the weights", rank)?;
    if let Some(w) = weights.iter().find(|w| **w < 0.0) {
        return Err(lines.wrong(format!("found the weight {w}, expected weights that are not negative")));
    }
    let mut factors = Vec::with_capacity(shape.len());
    for (n, size) in shape.iter().enumerate() {
        let (word, _) = lines.kind()?;
        if !matches!(word.as_str(), "matrix" | "facmatrix" | "facmat") {
            return Err(lines.wrong(format!("found a {word}, expected the matrix of mode {n}")));
        }
        let sizes = lines.sizes()?;
        if sizes != [*size, rank] {
            return Err(lines.wrong(format!("found sizes {sizes:?}, expected [{size}, {rank}]: the factor of mode {n}")));
        }
        let mut values = Vec::new();
        for _ in 0..*size {
            values.extend(lines.numbers("the rows of a matrix", rank)?);
        }
        factors.push(Matrix::new(*size, rank, values));
    }
    match lines.next()? {
        Some(_) => Err(lines.wrong("found a line after the last matrix".into())),
        None => Ok(Kruskal { weights, factors }),
    }
}
