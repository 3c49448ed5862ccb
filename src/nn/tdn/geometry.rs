//! From positions to what edges are described by: distance and harmonics of the direction, with derivatives.

use super::graph::Batch;
use super::jet::Jet;
use crate::by_float;
use crate::kernels::simd::Real;
use crate::nn::Value;
use crate::nn::storage::{Element, numbers, tensor};
use crate::nn::tape::{record, record_many};
use crate::tensor::cg::{Harmonics, Normalization};
use candle_core::{DType, Result, Tensor, bail};
use std::sync::Arc;

/// Harmonics (edges, d, 1) and distances (edges, 1).
pub struct Geometry {
    pub harmonics: Jet,
    pub distance: Jet,
}

/// Both of every edge with their derivatives with respect to the edge vector, in f64.
struct Edges {
    harmonics: Vec<f64>,
    gradients: Vec<[f64; 3]>,
    distance: Vec<f64>,
    direction: Vec<[f64; 3]>,
}

fn edges(positions: &[[f64; 3]], batch: &Batch, lmax: usize) -> Edges {
    let all = Harmonics::new(lmax, Normalization::Component);
    let (d, n) = (all.len(), batch.edges());
    let mut out = Edges {
        harmonics: vec![0.0; n * d],
        gradients: vec![[0.0; 3]; n * d],
        distance: vec![0.0; n],
        direction: vec![[0.0; 3]; n],
    };
    for e in 0..n {
        let (a, b) = (positions[batch.source.of()[e] as usize], positions[batch.target.of()[e] as usize]);
        let r = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
        all.eval(r, &mut out.harmonics[e * d..][..d], Some(&mut out.gradients[e * d..][..d]));
        let length = r.iter().map(|x| x * x).sum::<f64>().sqrt();
        out.distance[e] = length;
        out.direction[e] = r.map(|x| if length > 0.0 { x / length } else { 0.0 });
    }
    out
}

/// A tensor of `dtype` from numbers in f64.
pub fn tensor_of(values: &[f64], dims: &[usize], dtype: DType) -> Result<Tensor> {
    match dtype {
        DType::F32 => tensor::<f32>(values.iter().map(|v| *v as f32).collect(), dims),
        DType::F64 => tensor::<f64>(values.to_vec(), dims),
        other => bail!("the network works on f32 and f64, got {other:?}"),
    }
}

/// All numbers in f64.
pub fn values_of(t: &Tensor) -> Result<Vec<f64>> {
    fn wide<T: Element>(t: &Tensor) -> Result<Vec<f64>> {
        Ok(numbers::<T>("values", t)?.iter().map(|v| Real::to_f64(*v)).collect())
    }
    let t = t.contiguous()?;
    by_float!("values", t, T => wide::<T>(&t))
}

impl Geometry {
    /// Of the batch's positions; with `along` (a vector for every atom) the derivatives along that direction as tangents.
    ///
    /// # Errors
    /// A type of numbers other than f32 and f64.
    pub fn fixed(batch: &Batch, lmax: usize, dtype: DType, along: Option<&[[f64; 3]]>) -> Result<Self> {
        let (all, n) = (edges(&batch.positions, batch, lmax), batch.edges());
        let d = (lmax + 1).pow(2);
        let constant = |v: &[f64], dims: &[usize]| Ok::<_, candle_core::Error>(Value::from(tensor_of(v, dims, dtype)?));
        let (harmonics, distance) = (constant(&all.harmonics, &[n, d, 1])?, constant(&all.distance, &[n, 1])?);
        let Some(along) = along else { return Ok(Self { harmonics: harmonics.into(), distance: distance.into() }) };
        let moved: Vec<[f64; 3]> = (0..n)
            .map(|e| {
                let (a, b) = (along[batch.source.of()[e] as usize], along[batch.target.of()[e] as usize]);
                [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
            })
            .collect();
        let dot = |a: &[f64; 3], b: &[f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let dy: Vec<f64> = all.gradients.iter().enumerate().map(|(p, g)| dot(g, &moved[p / d])).collect();
        let dr: Vec<f64> = all.direction.iter().zip(&moved).map(|(n, m)| dot(n, m)).collect();
        Ok(Self {
            harmonics: Jet { value: harmonics, tangent: Some(constant(&dy, &[n, d, 1])?) },
            distance: Jet { value: distance, tangent: Some(constant(&dr, &[n, 1])?) },
        })
    }

    /// Of recorded positions (atoms, 3), so that gradients reach them. The batch gives the edges.
    ///
    /// # Errors
    /// Positions of another shape.
    pub fn recorded(positions: &Value, batch: &Batch, lmax: usize) -> Result<Self> {
        if positions.dims() != [batch.atoms(), 3] {
            bail!("geometry: positions of shape {:?}, expected [{}, 3]", positions.dims(), batch.atoms());
        }
        let dtype = positions.tensor().dtype();
        let at: Vec<[f64; 3]> = values_of(positions.tensor())?.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
        let (all, n, d) = (edges(&at, batch, lmax), batch.edges(), (lmax + 1).pow(2));
        let outputs = vec![tensor_of(&all.harmonics, &[n, d, 1], dtype)?, tensor_of(&all.distance, &[n, 1], dtype)?];
        let (source, target) = (batch.source.clone(), batch.target.clone());
        let atoms = batch.atoms();
        let mut values = record_many(&[positions], outputs, |_| {
            move |g: Vec<Option<Tensor>>| {
                let of = |i: usize| g[i].as_ref().map(values_of).transpose();
                let (gy, gr) = (of(0)?, of(1)?);
                let mut to = vec![0.0; atoms * 3];
                for e in 0..n {
                    let mut step = [0.0; 3];
                    if let Some(gy) = &gy {
                        let own = e * d..(e + 1) * d;
                        for (g, by) in gy[own.clone()].iter().zip(&all.gradients[own]) {
                            (0..3).for_each(|k| step[k] += g * by[k]);
                        }
                    }
                    if let Some(gr) = &gr {
                        (0..3).for_each(|k| step[k] += gr[e] * all.direction[e][k]);
                    }
                    for k in 0..3 {
                        to[source.of()[e] as usize * 3 + k] += step[k];
                        to[target.of()[e] as usize * 3 + k] -= step[k];
                    }
                }
                Ok(vec![Some(tensor_of(&to, &[atoms, 3], dtype)?)])
            }
        });
        let distance = values.remove(1);
        Ok(Self { harmonics: values.remove(0).into(), distance: distance.into() })
    }

    /// A weight of every edge that fades from 1 to 0 at the cutoff, with its first derivative: (1 + cos(π r/c))/2, (edges, 1).
    ///
    /// # Errors
    /// None but those of tensors.
    pub fn fading(&self, cutoff: f64) -> Result<Jet> {
        let rate = std::f64::consts::PI / cutoff;
        self.distance.map(super::ops::Func::Fade { rate })
    }
}

/// A gradient that was worked out by hand: a value whose gradient with respect to each input is given.
///
/// # Errors
/// None but those of tensors.
pub fn hand_made(value: f64, dtype: DType, inputs: &[&Value], gradients: Vec<Tensor>) -> Result<Value> {
    let out = tensor_of(&[value], &[], dtype)?;
    let gradients = Arc::new(gradients);
    Ok(record(inputs, out, |_| {
        move |g: Tensor| gradients.iter().map(|d| d.broadcast_mul(&g).map(Some)).collect::<Result<Vec<_>>>()
    }))
}
