//! The operations that can be run by name: what they take and give, and how named arrays become a kernel's slices.

mod causal_conv;
mod cross;
mod mamba3;
mod mttkrp;
mod s4_dplr;
mod s4d;
mod selective;
mod softsort;
mod ssd;
mod state_fusion;
mod ttm;

use crate::kernels::bf16::{from_bf16, to_bf16};
use crate::kernels::device::{DeviceError, Executor};
use crate::kernels::scan::Sequences;
use crate::kernels::simd::Real;
use crate::table::arrays::{Array, Arrays};
use std::cell::RefCell;

/// An array of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    /// Its axes by letters, such as "b d l".
    pub axes: &'static str,
    pub optional: bool,
}

const fn needed(name: &'static str, axes: &'static str) -> Field {
    Field { name, axes, optional: false }
}

const fn optional(name: &'static str, axes: &'static str) -> Field {
    Field { name, axes, optional: true }
}

/// How an operation is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// the fast form, in blocks of steps
    Scan,
    /// one step after the other, the state carried along
    Step,
    /// the definition, in f64
    Reference,
    /// by a device's kernels
    #[value(skip)]
    Device,
    /// the fast form with bf16 over the steps
    #[value(skip)]
    Half,
    /// one step after the other with bf16 over the steps
    #[value(skip)]
    HalfStep,
}

impl Engine {
    /// Whether arrays over the steps are bf16. Gradients do not ask for more: those of steps are those of the fast form.
    fn is_half(self) -> bool {
        matches!(self, Self::Half | Self::HalfStep)
    }
}

/// What is asked of an operation.
pub struct Request<'a> {
    pub arrays: &'a Arrays,
    pub engine: Engine,
    pub gradients: bool,
    /// Without the activation that belongs to the operation.
    pub linear: bool,
    /// Steps of a chunk, where that can be chosen.
    pub chunk: Option<usize>,
    /// For [`Engine::Device`].
    pub device: Option<RefCell<Box<dyn Executor>>>,
}

/// The size of an axis, by its letter.
pub type SizeOf<'a> = &'a dyn Fn(&str) -> usize;

/// An array's shape and numbers.
type Shaped<T> = (Vec<usize>, Vec<T>);

/// Sizes of a timing run, by the letters of the axes.
pub type Sizes = [(&'static str, usize)];

/// A prepared timing run.
pub struct Timing {
    pub forward: Box<dyn FnMut()>,
    pub backward: Box<dyn FnMut()>,
    /// Bytes that must pass through memory at least, forward and backward.
    pub bytes: [f64; 2],
    /// Floating-point operations, an exponential counting as one.
    pub flops: [f64; 2],
}

/// A pass on a device over made-up numbers, whose results are not wanted.
pub type OnDevice = fn(SizeOf<'_>, &mut dyn Executor) -> Result<(), DeviceError>;

/// One operation.
pub struct Operation {
    pub name: &'static str,
    pub about: &'static str,
    pub source: &'static str,
    pub inputs: &'static [Field],
    pub outputs: &'static [Field],
    /// Gradients that `--grad` reads.
    pub upstream: &'static [Field],
    /// Whether there is an activation to leave out.
    pub activation: bool,
    /// Whether steps are worked through in chunks whose length can be chosen.
    pub chunked: bool,
    /// Where there are kernels for GPUs, forward and backward: one pass of them on made-up numbers of these sizes.
    pub on_device: [Option<OnDevice>; 2],
    pub single: fn(&Request<'_>) -> Result<Arrays, String>,
    pub double: fn(&Request<'_>) -> Result<Arrays, String>,
    /// Sizes of a timing run unless others are given.
    pub sizes: &'static Sizes,
    pub timing: fn(SizeOf<'_>) -> Timing,
    /// A timing run with bf16 over the steps, if the operation has that.
    pub bf16: Option<fn(SizeOf<'_>) -> Timing>,
}

impl Operation {
    /// What is asked of an array of another name, when that looks like a misspelt one that is not there.
    pub fn misspelt(&self, arrays: &Arrays) -> Option<String> {
        let fields = || self.inputs.iter().chain(self.outputs).chain(self.upstream);
        let strangers = arrays.iter().map(|(name, _)| name).filter(|name| fields().all(|f| f.name != *name));
        let near = |name: &str| {
            let absent = self.inputs.iter().chain(self.upstream).filter(|f| f.optional && arrays.get(f.name).is_none());
            // Short names are near to many others.
            absent.map(|f| f.name).find(|f| f.len() > 3 && strsim::damerau_levenshtein(f, name) <= 2)
        };
        strangers
            .filter_map(|name| Some((name, near(name)?)))
            .map(|(name, f)| format!("array \"{name}\" is not used: did you mean \"{f}\"?"))
            .next()
    }
}

/// All of them.
pub const ALL: &[&Operation] = &[
    &causal_conv::OPERATION,
    &selective::OPERATION,
    &ssd::OPERATION,
    &mamba3::OPERATION,
    &s4d::OPERATION,
    &s4_dplr::OPERATION,
    &cross::SCAN,
    &cross::MERGE,
    &state_fusion::OPERATION,
    &softsort::OPERATION,
    &mttkrp::DENSE,
    &mttkrp::SPARSE,
    &ttm::OPERATION,
];

/// Their names, for messages.
pub fn names() -> String {
    ALL.iter().map(|op| op.name).collect::<Vec<_>>().join(", ")
}

/// The names of those that have bf16.
pub fn names_in_bf16() -> String {
    ALL.iter().filter(|op| op.bf16.is_some()).map(|op| op.name).collect::<Vec<_>>().join(", ")
}

/// The operation of a name.
pub fn find(name: &str) -> Option<&'static Operation> {
    ALL.iter().find(|op| op.name == name).copied()
}

impl Request<'_> {
    /// An input that must be there.
    fn get<T: Real>(&self, name: &str) -> Result<Shaped<T>, String> {
        self.find(name)?.ok_or_else(|| format!("there is no array \"{name}\": it is needed"))
    }

    /// The shape of an input that must be there.
    fn shape(&self, name: &str) -> Result<&[usize], String> {
        let array = self.arrays.get(name).ok_or_else(|| format!("there is no array \"{name}\": it is needed"))?;
        Ok(&array.shape)
    }

    /// An input that may be there. In f32 its numbers are rounded.
    fn find<T: Real>(&self, name: &str) -> Result<Option<Shaped<T>>, String> {
        let Some(array) = self.arrays.get(name) else { return Ok(None) };
        if let Some(place) = array.values.iter().position(|v| !v.is_finite()) {
            return Err(format!("array \"{name}\" holds {} at place {place}, expected a finite number", array.values[place]));
        }
        Ok(Some((array.shape.clone(), array.values.iter().map(|v| T::from_f64(*v)).collect())))
    }

    /// An input of a shape that is known.
    fn shaped<T: Real>(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<T>>, String> {
        match self.find(name)? {
            Some((found, _)) if found != shape => Err(format!("array \"{name}\" has shape {found:?}, expected {shape:?}")),
            Some((_, values)) => Ok(Some(values)),
            None => Ok(None),
        }
    }

    /// Same, where it must be there.
    fn exactly<T: Real>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, String> {
        self.shaped(name, shape)?.ok_or_else(|| format!("there is no array \"{name}\": it is needed, of shape {shape:?}"))
    }

    /// Refuses to go step by step where nothing is carried from one to the next.
    fn without_steps(&self, operation: &str) -> Result<(), String> {
        match self.engine {
            Engine::Step | Engine::HalfStep | Engine::Device => {
                Err(format!("{operation} carries no state and has no steps: choose scan or reference"))
            }
            Engine::Scan | Engine::Half | Engine::Reference => Ok(()),
        }
    }

    /// Refuses what an operation without steps has not, where devices have it.
    fn scan_reference_or_device(&self, operation: &str) -> Result<(), String> {
        match self.engine {
            Engine::Device => Ok(()),
            _ => self.without_steps(operation),
        }
    }

    /// The number of a mode of a tensor of so many.
    fn mode(&self, order: usize) -> Result<usize, String> {
        let last = order.checked_sub(1).ok_or("a tensor without modes")?;
        match self.counts("mode", 0..=last)? {
            Some(found) if found.len() == 1 => Ok(found[0]),
            Some(found) => Err(format!("array \"mode\" has {} numbers, expected one", found.len())),
            None => Err(format!("there is no array \"mode\": it is needed, a number from 0 to {last}")),
        }
    }

    /// Runs `work` on the device.
    fn on_device<R>(&self, work: impl FnOnce(&mut dyn Executor) -> Result<R, DeviceError>) -> Result<R, String> {
        let device = self.device.as_ref().ok_or("no device is open")?;
        work(&mut **device.borrow_mut()).map_err(|e| e.to_string())
    }

    /// A setting that may be there, an array of one number.
    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        match self.find::<f64>(name)? {
            Some((_, values)) if values.len() == 1 => Ok(Some(values[0])),
            Some((shape, _)) => Err(format!("array \"{name}\" has shape {shape:?}, expected one number")),
            None => Ok(None),
        }
    }

    /// Whole numbers in a range, such as a grid.
    fn counts(&self, name: &str, range: std::ops::RangeInclusive<usize>) -> Result<Option<Vec<usize>>, String> {
        let Some(array) = self.arrays.get(name) else { return Ok(None) };
        let counts: Vec<usize> = array.values.iter().map(|v| *v as usize).collect();
        if array.values.iter().zip(&counts).any(|(v, n)| *v != *n as f64 || !range.contains(n)) {
            let (least, most) = range.into_inner();
            return Err(format!("array \"{name}\" is {:?}, expected whole numbers from {least} to {most}", array.values));
        }
        Ok(Some(counts))
    }

    /// The bounds of packed sequences in `rows` rows, if there are any.
    fn bounds(&self, batch: usize, rows: usize) -> Result<Option<Vec<usize>>, String> {
        const NAME: &str = "cu_seqlens";
        let Some(array) = self.arrays.get(NAME) else { return Ok(None) };
        let whole = array.values.iter().all(|v| v.fract() == 0.0 && *v >= 0.0);
        let bounds: Vec<usize> = array.values.iter().map(|v| *v as usize).collect();
        if !whole || bounds.first() != Some(&0) || bounds.last() != Some(&rows) || !bounds.is_sorted() || batch != 1 {
            return Err(format!(
                "array \"{NAME}\" is {:?}, expected whole numbers that start with 0, never fall and end with the {rows} steps of one batch element",
                array.values
            ));
        }
        Ok(Some(bounds))
    }
}

/// Equal sequences, or the packed ones that were given.
fn sequences<'a>(bounds: &'a Option<Vec<usize>>, batch: usize, len: usize) -> Sequences<'a> {
    match bounds {
        Some(bounds) => Sequences::Packed(bounds),
        None => Sequences::Equal { count: batch, len },
    }
}

/// The nearest bf16, as bits. `T` is f32.
fn half<T: Real>(x: &T) -> u16 {
    to_bf16(x.to_f64() as f32)
}

fn halves<T: Real>(x: &[T]) -> Vec<u16> {
    x.iter().map(half).collect()
}

fn from_halves<T: Real>(x: Vec<u16>) -> Vec<T> {
    x.into_iter().map(|v| T::from_f64(f64::from(from_bf16(v)))).collect()
}

/// Numbers as a device holds them.
fn single<T: Real>(x: &[T]) -> Vec<f32> {
    x.iter().map(|v| v.to_f64() as f32).collect()
}

fn from_single<T: Real>(x: Vec<f32>) -> Vec<T> {
    x.into_iter().map(|v| T::from_f64(f64::from(v))).collect()
}

/// The axes of an array.
fn axes<const N: usize>(name: &str, shape: &[usize], meaning: &str) -> Result<[usize; N], String> {
    <[usize; N]>::try_from(shape).map_err(|_| format!("array \"{name}\" has shape {shape:?}, expected ({meaning})"))
}

/// (batch, a, b) to (batch, b, a).
fn exchange<T: Copy>(x: &[T], a: usize, b: usize) -> Vec<T> {
    let mut to = Vec::with_capacity(x.len());
    for m in x.chunks((a * b).max(1)) {
        to.extend((0..a * b).map(|i| m[i % a * b + i / a]));
    }
    to
}

fn array<T: Real>(shape: &[usize], values: Vec<T>) -> Array {
    Array::new(shape, values.into_iter().map(T::to_f64).collect())
}

fn wide<T: Real>(x: &[T]) -> Vec<f64> {
    x.iter().map(|v| v.to_f64()).collect()
}

fn narrow<T: Real>(x: Vec<f64>) -> Vec<T> {
    x.into_iter().map(T::from_f64).collect()
}

/// Made-up numbers for timing: a wave.
fn wave(len: usize, size: f32, middle: f32) -> Vec<f32> {
    (0..len).map(|i| middle + size * (i as f32 * 0.37).sin()).collect()
}
