//! Models as they are kept: what the file knows and the methods fill and read.

use super::ClusterError;

/// A named array of a model, in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Numbers,
}

/// Numbers of a kept array.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    F64(Vec<f64>),
    F32(Vec<f32>),
    I32(Vec<i32>),
}

/// A model as it is kept: its method, its settings and results as JSON, its arrays. Columns and scaling stand beside it in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    pub method: String,
    pub header: serde_json::Value,
    pub arrays: Vec<Array>,
}

impl Saved {
    /// The array `name` as f64 with its shape, for a model of `method`.
    pub fn f64(&self, method: &'static str, name: &str) -> Result<(&[usize], &[f64]), ClusterError> {
        match self.arrays.iter().find(|a| a.name == name) {
            Some(Array { shape, values: Numbers::F64(values), .. }) => Ok((shape, values)),
            Some(_) => Err(ClusterError::Model { method, why: format!("its array {name:?} is not of f64") }),
            None => Err(ClusterError::Model { method, why: format!("it has no array {name:?}") }),
        }
    }

    /// The array `name` as i32 with its shape.
    pub fn i32(&self, method: &'static str, name: &str) -> Result<(&[usize], &[i32]), ClusterError> {
        match self.arrays.iter().find(|a| a.name == name) {
            Some(Array { shape, values: Numbers::I32(values), .. }) => Ok((shape, values)),
            Some(_) => Err(ClusterError::Model { method, why: format!("its array {name:?} is not of i32") }),
            None => Err(ClusterError::Model { method, why: format!("it has no array {name:?}") }),
        }
    }
}
