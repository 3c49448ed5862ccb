//! Values with a tangent, for second derivatives on a tape that has first ones.
//!
//! A force is −∂E/∂r, so a loss on forces needs ∂²E/∂r∂θ. With v = ∂L/∂F held fixed, its gradient with respect to the parameters is
//! that of −v·∂E/∂r, and v·∂E/∂r is the derivative of E along the direction v: a forward quantity. A [`Jet`] carries a value and its
//! derivative along v through the network, both made of recorded operations, and one ordinary backward pass over the derivative of E
//! gives the mixed derivatives exactly. Cost: about three times a plain pass, whatever the number of atoms.
//!
//! Everything the network does is linear, bilinear or a function of single numbers, and each of these has one rule here.
//! Source: forward over reverse differentiation, Pearlmutter, Neural Computation 6, 147 (1994).

use super::ops::{self, Func};
use crate::nn::{Value, ops as shared};
use candle_core::Result;

/// A value and its derivative along a fixed direction; `None` where that is zero.
#[derive(Clone)]
pub struct Jet {
    pub value: Value,
    pub tangent: Option<Value>,
}

impl From<Value> for Jet {
    fn from(value: Value) -> Self {
        Self { value, tangent: None }
    }
}

impl Jet {
    pub fn dims(&self) -> &[usize] {
        self.value.dims()
    }

    /// A linear function.
    pub fn linear(&self, f: impl Fn(&Value) -> Result<Value>) -> Result<Self> {
        Ok(Self { value: f(&self.value)?, tangent: self.tangent.as_ref().map(&f).transpose()? })
    }

    /// A function linear in each of two arguments.
    pub fn bilinear(&self, other: &Self, f: impl Fn(&Value, &Value) -> Result<Value>) -> Result<Self> {
        let value = f(&self.value, &other.value)?;
        let left = self.tangent.as_ref().map(|t| f(t, &other.value)).transpose()?;
        let right = other.tangent.as_ref().map(|t| f(&self.value, t)).transpose()?;
        Ok(Self { value, tangent: sum(left, right)? })
    }

    /// A function linear in each of three arguments.
    pub fn trilinear(&self, b: &Self, c: &Self, f: impl Fn(&Value, &Value, &Value) -> Result<Value>) -> Result<Self> {
        let value = f(&self.value, &b.value, &c.value)?;
        let first = self.tangent.as_ref().map(|t| f(t, &b.value, &c.value)).transpose()?;
        let second = b.tangent.as_ref().map(|t| f(&self.value, t, &c.value)).transpose()?;
        let third = c.tangent.as_ref().map(|t| f(&self.value, &b.value, t)).transpose()?;
        Ok(Self { value, tangent: sum(sum(first, second)?, third)? })
    }

    /// A function of every number by itself.
    pub fn map(&self, f: Func) -> Result<Self> {
        let tangent = match &self.tangent {
            Some(t) => Some(shared::mul(&ops::function(&self.value, f, 1)?, t)?),
            None => None,
        };
        Ok(Self { value: ops::function(&self.value, f, 0)?, tangent })
    }

    /// Equal shapes.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let tangent = sum(self.tangent.clone(), other.tangent.clone())?;
        Ok(Self { value: shared::add(&self.value, &other.value)?, tangent })
    }

    /// Element by element, equal shapes.
    pub fn mul(&self, other: &Self) -> Result<Self> {
        self.bilinear(other, shared::mul)
    }

    /// A constant shift, which the derivative does not see.
    pub fn shift(&self, f: impl Fn(&Value) -> Result<Value>) -> Result<Self> {
        Ok(Self { value: f(&self.value)?, tangent: self.tangent.clone() })
    }
}

fn sum(a: Option<Value>, b: Option<Value>) -> Result<Option<Value>> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => Some(shared::add(&a, &b)?),
        (a, b) => a.or(b),
    })
}
