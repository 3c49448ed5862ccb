//! Numpy arrays: `.npy` in and out, and one array of an `.npz`.
//!
//! Read: f64, f32, all integers and bool (false 0, true 1: an array of presence is a tensor of zeros and ones, and numpy itself computes
//! with it so); little-endian; C and Fortran order. Refused with a remedy: big-endian, f16, complex, text, time stamps, records, and arrays
//! of Python objects (pickle could run anything).

use super::dense::Collector;
use super::input::Input;
use super::{ReadOptions, TensorFormat, TensorInput};
use crate::kernels::simd::Real;
use crate::table::BadInput;
use npyz::npz::NpzArchive;
use npyz::{DType, Endianness, NpyFile, NpyHeader, Order, TypeChar};
use std::io::{self, Cursor, Read};

/// Bytes that are converted at once.
const BLOCK: usize = 1 << 20;

/// How one number of the file becomes an f64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    Bool,
    Signed(usize),
    Unsigned(usize),
}

/// The whole numbers up to here are the ones that f64 tells apart.
const EXACT: u64 = 1 << 53;

impl Kind {
    /// Bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Kind::F64 => 8,
            Kind::F32 => 4,
            Kind::Bool => 1,
            Kind::Signed(n) | Kind::Unsigned(n) => n,
        }
    }

    /// The number, or the integer that f64 does not hold exactly, or a byte that is no bool.
    fn read(self, bytes: &[u8]) -> Result<f64, String> {
        let mut wide = [0u8; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(wide);
        let exact = |size: u64, shown: String| match size <= EXACT {
            true => Ok(()),
            false => Err(format!("found {shown}, which 64-bit floating point does not hold exactly")),
        };
        Ok(match self {
            Kind::F64 => f64::from_bits(unsigned),
            Kind::F32 => f64::from(f32::from_bits(unsigned as u32)),
            Kind::Bool if unsigned > 1 => return Err(format!("found the byte {unsigned}, expected a bool")),
            Kind::Bool => unsigned as f64,
            Kind::Unsigned(_) => {
                exact(unsigned, unsigned.to_string())?;
                unsigned as f64
            }
            Kind::Signed(n) => {
                let unused = 64 - 8 * n as u32;
                let signed = (unsigned << unused) as i64 >> unused;
                exact(signed.unsigned_abs(), signed.to_string())?;
                signed as f64
            }
        })
    }
}

/// Hands the numbers in `bytes` to the collector.
pub(super) fn take<T: Real>(kind: Kind, bytes: &[u8], to: &mut Collector<'_, T>) -> Result<(), BadInput> {
    match kind {
        Kind::F64 => to.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b))),
        Kind::F32 => to.extend(bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b)))),
        _ => {
            let mut numbers = Vec::with_capacity(bytes.len() / kind.size());
            for (k, b) in bytes.chunks_exact(kind.size()).enumerate() {
                numbers.push(kind.read(b).map_err(|what| to.refuse(k, what, "convert it with: array.astype('<f8')"))?);
            }
            to.extend(numbers.into_iter())
        }
    }
}

/// The kind of number, or what to say and do about it.
fn kind_of(dtype: &DType) -> Result<Kind, (String, &'static str)> {
    let descr = dtype.descr();
    let DType::Plain(plain) = dtype else {
        return Err((format!("holds records ({descr}), expected one number a cell"), "save one field of it: array['name']"));
    };
    let size = plain.size_field() as usize;
    let expected = "expected f64, f32, integers or bool";
    let kind = match (plain.type_char(), size) {
        (TypeChar::Object, _) => {
            return Err((
                "holds Python objects, which are never loaded".into(),
                "convert it with: numpy.array(x.tolist(), dtype='<f8')",
            ));
        }
        (TypeChar::Float, 8) => Kind::F64,
        (TypeChar::Float, 4) => Kind::F32,
        (TypeChar::Bool, 1) => Kind::Bool,
        (TypeChar::Int, 1 | 2 | 4 | 8) => Kind::Signed(size),
        (TypeChar::Uint, 1 | 2 | 4 | 8) => Kind::Unsigned(size),
        (TypeChar::Complex, _) => {
            return Err((format!("holds complex numbers ({descr}), {expected}"), "save array.real or abs(array)"));
        }
        _ => return Err((format!("holds {descr}, {expected}"), "convert it with: array.astype('<f8')")),
    };
    if plain.endianness() == Endianness::Big && size > 1 {
        return Err((
            format!("holds big-endian numbers ({descr}), expected little-endian"),
            "convert it with: array.astype('<f8')",
        ));
    }
    Ok(kind)
}

/// The header of an array, checked.
struct Head {
    kind: Kind,
    shape: Vec<usize>,
    fortran: bool,
    /// Bytes of all numbers.
    bytes: usize,
}

fn head_of(file: &str, header: &NpyHeader) -> Result<Head, BadInput> {
    let kind = kind_of(&header.dtype()).map_err(|(what, remedy)| BadInput::new(file, what).remedy(remedy))?;
    let shape: Vec<usize> = header.shape().iter().map(|n| usize::try_from(*n).unwrap_or(usize::MAX)).collect();
    let cells = super::dense::cells::<f64>(file, &shape)?;
    let fortran = header.order() == Order::Fortran && shape.len() > 1;
    Ok(Head { kind, shape, fortran, bytes: cells * kind.size() })
}

fn no_header(file: &str, e: &io::Error) -> BadInput {
    BadInput::new(file, format!("its numpy header cannot be read: {e}")).remedy("the file is damaged or cut off: save it again")
}

/// What there is to say when the numbers end early or go on.
fn wrong_length(file: &str, head: &Head, found: usize) -> BadInput {
    let wanted = head.bytes / head.kind.size();
    let e = match found < head.bytes {
        true => format!("holds {} of the {wanted} numbers of shape {:?}", found / head.kind.size(), head.shape),
        false => format!("goes on after the {wanted} numbers of shape {:?}", head.shape),
    };
    BadInput::new(file, e).remedy("the file is damaged or cut off: save it again")
}

/// Reads a `.npy` file, a block at a time.
pub fn read<T: Real>(input: &mut Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    let file = input.name().to_owned();
    let header = NpyHeader::from_reader(Through(input)).map_err(|e| no_header(&file, &e))?;
    let head = head_of(&file, &header)?;
    let mut collector = Collector::new(&file, &head.shape, head.fortran, options)?;
    let mut block = vec![0; BLOCK / head.kind.size() * head.kind.size()];
    let mut left = head.bytes;
    while left > 0 {
        let part = left.min(block.len());
        let got = input.fill(&mut block[..part])?;
        take(head.kind, &block[..got / head.kind.size() * head.kind.size()], &mut collector)?;
        left -= got;
        if got < part {
            return Err(wrong_length(&file, &head, head.bytes - left));
        }
    }
    if input.fill(&mut block[..1])? > 0 {
        return Err(wrong_length(&file, &head, head.bytes + 1));
    }
    collector.finish(options, TensorFormat::Npy, input)
}

/// An input as a reader, for the header.
struct Through<'a>(&'a mut Input);

impl Read for Through<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fill(buffer).map_err(|e| io::Error::other(e.to_string()))
    }
}

/// Chooses one of the arrays of a file: the one asked for, or the only one.
pub(super) fn choose<'a>(file: &str, names: &'a [String], options: &ReadOptions) -> Result<&'a str, BadInput> {
    let all = || {
        let shown: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
        let more = if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
        format!("the arrays are {}{more}", shown.join(", "))
    };
    match (&options.array, names) {
        (Some(wanted), _) => {
            names.iter().find(|n| *n == wanted).map(String::as_str).ok_or_else(|| {
                BadInput::new(file, format!("holds no array {}", crate::table::error::quoted(wanted))).remedy(all())
            })
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(BadInput::new(file, "holds no arrays")),
        (None, _) => Err(BadInput::new(file, format!("holds {} arrays, expected one", names.len()))
            .remedy(format!("choose one with --array; {}", all()))),
    }
}

/// Reads one array of an `.npz` file, which is held in memory for it.
pub fn read_archive<T: Real>(input: &mut Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    let file = input.name().to_owned();
    let broken = |e: io::Error| {
        BadInput::new(&file, format!("is not a readable npz file: {e}")).remedy("the file is damaged or cut off: save it again")
    };
    let bytes = input.rest()?;
    let mut archive = NpzArchive::new(Cursor::new(&bytes)).map_err(broken)?;
    let mut names: Vec<String> = archive.array_names().map(str::to_string).collect();
    names.sort();
    let name = choose(&file, &names, options)?;
    let place = format!("{file}, array {}", crate::table::error::quoted(name));
    let array: NpyFile<_> = match archive.by_name(name) {
        Ok(Some(array)) => array,
        Ok(None) => return Err(BadInput::new(&file, format!("holds no array {name}"))),
        Err(e) => return Err(no_header(&place, &e)),
    };
    let head = head_of(&place, array.header())?;
    let mut collector = Collector::new(&place, &head.shape, head.fortran, options)?;
    let mut reader = array.into_inner();
    let (mut block, mut read) = (Vec::new(), 0);
    loop {
        block.clear();
        let whole = (BLOCK / head.kind.size() * head.kind.size()) as u64;
        let got = reader.by_ref().take(whole).read_to_end(&mut block).map_err(broken)?;
        read += got;
        if read > head.bytes {
            return Err(wrong_length(&place, &head, read));
        }
        take(head.kind, &block[..got / head.kind.size() * head.kind.size()], &mut collector)?;
        if got == 0 {
            break;
        }
    }
    if read < head.bytes {
        return Err(wrong_length(&place, &head, read));
    }
    collector.finish(options, TensorFormat::Npz, input)
}

/// The bytes of a `.npy` file of f64 in C order.
///
/// Panics when the shape and the number of values disagree.
pub fn write_npy(shape: &[usize], values: &[f64]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "an array of shape {shape:?}");
    let mut bytes = npy_header(shape);
    values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

/// The first bytes of a `.npy` file of f64 in C order; the numbers follow, little end first.
pub fn npy_header(shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|n| format!("{n},")).collect();
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Magic, version and length take 10 bytes; numbers start at a multiple of 64.
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', padded - text.len() - 1));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes
}
