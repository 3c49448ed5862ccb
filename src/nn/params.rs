//! The parameters of a model: named tensors in a fixed order, changed in place by an optimiser, kept in safetensors files.

use super::init::Init;
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, Tensor, bail};
use std::collections::{BTreeMap, HashMap};

/// Stands for one parameter of a [`Params`]; what layers keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(usize);

impl ParamId {
    /// Its place in the order of declaration.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One named tensor.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Canonical name, the key in safetensors files.
    pub name: String,
    /// Its numbers. Optimisers change them in place, so a clone of the tensor changes too; use [`Params::snapshot`] to keep values.
    pub tensor: Tensor,
    /// Buffers (running statistics) are saved and loaded but never given to the optimiser.
    pub trainable: bool,
    /// Files may leave it out: it then stays as it is.
    pub optional: bool,
    /// How the optimiser treats it.
    pub group: Group,
}

/// How an optimiser treats a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// The learning rate is multiplied by this.
    pub rate: f64,
    /// Whether weight decay is applied.
    pub decays: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self { rate: 1.0, decays: true }
    }
}

/// All parameters of a model, in order of declaration.
#[derive(Debug, Clone)]
pub struct Params {
    list: Vec<Parameter>,
    index: HashMap<String, ParamId>,
    dtype: DType,
    device: Device,
}

/// Why a file's tensors do not fit a model.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("{0}")]
    Read(String),
    #[error("tensor \"{name}\" is missing; the model needs it with shape {shape:?}")]
    Missing { name: String, shape: Vec<usize> },
    #[error("tensor \"{name}\" has shape {found:?}, the model needs {expected:?}")]
    Shape { name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("tensor \"{name}\" has no place in the model; it knows {known}")]
    Unknown { name: String, known: String },
    #[error("tensor \"{name}\" holds a value that is not finite at element {element}")]
    NotFinite { name: String, element: usize },
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Params {
    /// No parameters yet; all will be of `dtype` on `device`.
    pub fn new(dtype: DType, device: &Device) -> Self {
        Self { list: Vec::new(), index: HashMap::new(), dtype, device: device.clone() }
    }

    /// Declares a trainable parameter filled by `init` from the stream ("init", its place in the order).
    pub fn declare(&mut self, name: impl Into<String>, dims: &[usize], init: Init, streams: &Streams) -> Result<ParamId> {
        let mut rng = streams.stream("init", self.list.len() as u64);
        let values = init.draw(dims.iter().product(), &mut rng);
        self.push(name.into(), Tensor::from_vec(values, dims, &self.device)?, true)
    }

    /// Declares a buffer: saved and loaded, not trained.
    pub fn declare_buffer(&mut self, name: impl Into<String>, dims: &[usize], value: f64) -> Result<ParamId> {
        let values = vec![value as f32; dims.iter().product()];
        self.push(name.into(), Tensor::from_vec(values, dims, &self.device)?, false)
    }

    /// Declares a trainable parameter with the numbers of a tensor, which are not copied when type and layout fit.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn adopt(&mut self, name: String, tensor: Tensor) -> std::result::Result<ParamId, WeightsError> {
        let tensor = tensor.to_dtype(self.dtype)?.to_device(&self.device)?.contiguous()?;
        check_finite(&name, &tensor)?;
        Ok(self.push(name, tensor, true)?)
    }

    fn push(&mut self, name: String, tensor: Tensor, trainable: bool) -> Result<ParamId> {
        let id = ParamId(self.list.len());
        if self.index.insert(name.clone(), id).is_some() {
            bail!("parameter \"{name}\" is declared twice");
        }
        let tensor = tensor.to_dtype(self.dtype)?;
        self.list.push(Parameter { name, tensor, trainable, optional: false, group: Group::default() });
        Ok(id)
    }

    /// Says how the optimiser treats a parameter.
    pub fn set_group(&mut self, id: ParamId, group: Group) {
        self.list[id.0].group = group;
    }

    /// Lets files leave a parameter out; it then stays as it is.
    pub fn may_be_missing(&mut self, id: ParamId) {
        self.list[id.0].optional = true;
    }

    /// Type of the numbers.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where they live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// One parameter.
    pub fn get(&self, id: ParamId) -> &Parameter {
        &self.list[id.0]
    }

    /// By canonical name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.index.get(name).copied()
    }

    /// All, in order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Parameter)> {
        self.list.iter().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// How many tensors.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many trainable numbers.
    pub fn trainable_count(&self) -> usize {
        self.list.iter().filter(|p| p.trainable).map(|p| p.tensor.elem_count()).sum()
    }

    /// Replaces a parameter's numbers; the shape must match.
    pub fn set(&mut self, id: ParamId, values: &Tensor) -> Result<()> {
        let parameter = &mut self.list[id.0];
        if parameter.tensor.dims() != values.dims() {
            bail!("parameter \"{}\" has shape {:?}, got {:?}", parameter.name, parameter.tensor.dims(), values.dims());
        }
        // A copy, so that the caller's tensor is not changed by the optimiser.
        parameter.tensor = values.to_dtype(self.dtype)?.to_device(&self.device)?.force_contiguous()?.copy()?;
        Ok(())
    }

    /// Copies of all tensors, by name.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.list.iter().map(|p| Ok((p.name.clone(), p.tensor.copy()?))).collect()
    }

    /// Puts a snapshot (or a file's tensors) back. Every parameter must be there with its shape, nothing else may be, and all
    /// values must be finite.
    pub fn restore(&mut self, from: &BTreeMap<String, Tensor>) -> std::result::Result<(), WeightsError> {
        for p in &self.list {
            let Some(found) = from.get(&p.name) else {
                if p.optional {
                    continue;
                }
                return Err(WeightsError::Missing { name: p.name.clone(), shape: p.tensor.dims().to_vec() });
            };
            if found.dims() != p.tensor.dims() {
                return Err(WeightsError::Shape {
                    name: p.name.clone(),
                    found: found.dims().to_vec(),
                    expected: p.tensor.dims().to_vec(),
                });
            }
            check_finite(&p.name, found)?;
        }
        if let Some(name) = from.keys().find(|name| !self.index.contains_key(*name)) {
            let known = listed(self.list.iter().map(|p| p.name.as_str()));
            return Err(WeightsError::Unknown { name: name.clone(), known });
        }
        for i in 0..self.list.len() {
            if let Some(values) = from.get(&self.list[i].name) {
                self.set(ParamId(i), values)?;
            }
        }
        Ok(())
    }

    /// The whole set as a safetensors file, tensors in name order, `metadata` in the header.
    pub fn to_safetensors(&self, metadata: Option<HashMap<String, String>>) -> std::result::Result<Vec<u8>, WeightsError> {
        let tensors: BTreeMap<&str, &Tensor> = self.list.iter().map(|p| (p.name.as_str(), &p.tensor)).collect();
        safetensors::serialize(tensors, metadata).map_err(|e| WeightsError::Read(e.to_string()))
    }
}

/// All tensors in the bytes of a safetensors file, by name.
pub fn tensors_of(bytes: &[u8]) -> std::result::Result<BTreeMap<String, Tensor>, WeightsError> {
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|e| WeightsError::Read(e.to_string()))?;
    Ok(tensors.into_iter().collect())
}

/// An error when a tensor holds a value that is not finite.
fn check_finite(name: &str, tensor: &Tensor) -> std::result::Result<(), WeightsError> {
    // A part at a time: large tensors are not widened whole.
    const PART: usize = 1 << 20;
    let flat = tensor.flatten_all()?;
    for start in (0..flat.elem_count()).step_by(PART) {
        let part = flat.narrow(0, start, PART.min(flat.elem_count() - start))?;
        let values = part.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        if let Some(place) = values.iter().position(|v| !v.is_finite()) {
            return Err(WeightsError::NotFinite { name: name.to_string(), element: start + place });
        }
    }
    Ok(())
}

/// A few names for an error message.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    if all.len() > 6 { format!("{} and {} more", all[..6].join(", "), all.len() - 6) } else { all.join(", ") }
}
