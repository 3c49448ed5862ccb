//! Where the parameters of a model come from: drawn from seeds, or the tensors of a file.

use super::init::Init;
use super::params::{ParamId, Params, WeightsError};
use crate::run::seed::Streams;
use candle_core::Tensor;
use std::collections::BTreeMap;

/// Declares parameters one after the other. Layers ask for what they need by name and shape, and do not know where it comes from.
pub struct Builder<'a> {
    params: &'a mut Params,
    source: Source<'a>,
}

enum Source<'a> {
    Drawn(&'a Streams),
    Stored(BTreeMap<String, Tensor>),
}

impl<'a> Builder<'a> {
    /// Parameters are drawn by their [`Init`] from the seeds.
    pub fn drawn(params: &'a mut Params, streams: &'a Streams) -> Self {
        Self { params, source: Source::Drawn(streams) }
    }

    /// Parameters are taken out of `tensors`. What is left over at the end is an error: see [`finish`](Self::finish).
    pub fn stored(params: &'a mut Params, tensors: BTreeMap<String, Tensor>) -> Self {
        Self { params, source: Source::Stored(tensors) }
    }

    /// A trainable parameter. `because`: the setting that its shape follows from, for messages.
    ///
    /// # Errors
    /// A stored tensor that is missing, of another shape, or not finite.
    pub fn get(&mut self, name: String, dims: &[usize], init: Init, because: &str) -> Result<ParamId, WeightsError> {
        let tensors = match &mut self.source {
            Source::Drawn(streams) => return Ok(self.params.declare(name, dims, init, streams)?),
            Source::Stored(tensors) => tensors,
        };
        let Some(tensor) = tensors.remove(&name) else {
            return Err(WeightsError::Missing { name: format!("{name} ({because})"), shape: dims.to_vec() });
        };
        if tensor.dims() != dims {
            let found = tensor.dims().to_vec();
            return Err(WeightsError::Shape { name: format!("{name} ({because})"), found, expected: dims.to_vec() });
        }
        self.params.adopt(name, tensor)
    }

    /// Same, where the numbers to start from are known.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn given(&mut self, name: String, dims: &[usize], start: Vec<f32>, because: &str) -> Result<ParamId, WeightsError> {
        match &self.source {
            Source::Drawn(_) => self.params.adopt(name, Tensor::from_vec(start, dims, &candle_core::Device::Cpu)?),
            Source::Stored(_) => self.get(name, dims, Init::Constant(0.0), because),
        }
    }

    /// Takes a stored tensor away, when there is one.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        match &mut self.source {
            Source::Stored(tensors) => tensors.remove(name),
            Source::Drawn(_) => None,
        }
    }

    /// How many numbers a stored tensor has, when there is one.
    pub fn stored_len(&self, name: &str) -> Option<usize> {
        match &self.source {
            Source::Stored(tensors) => tensors.get(name).map(Tensor::elem_count),
            Source::Drawn(_) => None,
        }
    }

    /// A parameter already declared.
    pub fn tensor(&self, id: ParamId) -> &Tensor {
        &self.params.get(id).tensor
    }

    /// Ends the declaration.
    ///
    /// # Errors
    /// Stored tensors that nothing asked for.
    pub fn finish(self) -> Result<(), WeightsError> {
        match self.source {
            Source::Stored(tensors) if !tensors.is_empty() => {
                let known = self.params.iter().map(|(_, p)| p.name.as_str());
                let name = tensors.into_keys().next().unwrap_or_default();
                Err(WeightsError::Unknown { name, known: super::params::listed(known) })
            }
            _ => Ok(()),
        }
    }
}
