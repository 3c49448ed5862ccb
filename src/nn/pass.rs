//! One forward pass: which parameters, on which tape, in which mode.

use super::params::{ParamId, Params};
use super::tape::{Gradients, Tape, Value};
use crate::run::seed::Streams;
use candle_core::{Result, Tensor};
use rand::Rng as _;
use std::cell::{Cell, RefCell};

/// What a layer's forward function is given.
pub struct Pass<'a> {
    params: &'a Params,
    tape: Option<Tape>,
    leaves: RefCell<Vec<Option<Value>>>,
    dropout: Option<DropoutKeys>,
    step: Option<u64>,
    updates: RefCell<Vec<(ParamId, Tensor)>>,
}

/// Where the dropout masks of one step come from: the k-th dropout of the step draws its mask from the k-th key.
struct DropoutKeys {
    base: u64,
    next: Cell<u64>,
}

impl<'a> Pass<'a> {
    /// Nothing is recorded, dropout is off, running statistics are used.
    pub fn inference(params: &'a Params) -> Self {
        Self { params, tape: None, leaves: RefCell::default(), dropout: None, step: None, updates: RefCell::default() }
    }

    /// Recorded, without dropout: gradients of the model as it predicts.
    pub fn gradients(params: &'a Params) -> Self {
        let leaves = RefCell::new(vec![None; params.len()]);
        Self { params, tape: Some(Tape::new()), leaves, dropout: None, step: None, updates: RefCell::default() }
    }

    /// Recorded, with the dropout masks of training step `step`.
    pub fn training(params: &'a Params, streams: &Streams, step: u64) -> Self {
        let base = streams.stream("dropout", step).next_u64();
        Self { dropout: Some(DropoutKeys { base, next: Cell::new(0) }), step: Some(step), ..Self::gradients(params) }
    }

    /// Whether dropout and batch statistics are on.
    pub fn is_training(&self) -> bool {
        self.dropout.is_some()
    }

    /// The number of the training step, from 0; `None` outside of training.
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// The parameters read by this pass.
    pub fn params(&self) -> &Params {
        self.params
    }

    /// A parameter as a value: recorded when the pass is and the parameter is trainable.
    pub fn param(&self, id: ParamId) -> Value {
        let parameter = self.params.get(id);
        let Some(tape) = self.tape.as_ref().filter(|_| parameter.trainable) else {
            return Value::constant(&parameter.tensor);
        };
        let mut leaves = self.leaves.borrow_mut();
        leaves[id.index()].get_or_insert_with(|| tape.leaf(&parameter.tensor)).clone()
    }

    /// The key of the next dropout mask; `None` outside of training.
    pub fn dropout_key(&self) -> Option<u64> {
        let keys = self.dropout.as_ref()?;
        let count = keys.next.get();
        keys.next.set(count + 1);
        // Odd multiplier: different counts give different keys for any base.
        Some(keys.base.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Notes the new value of a buffer (a running statistic), to be put in place after the step.
    pub fn update(&self, buffer: ParamId, value: Tensor) {
        self.updates.borrow_mut().push((buffer, value));
    }

    /// The new values of buffers noted so far, once.
    pub fn take_updates(&self) -> Vec<(ParamId, Tensor)> {
        std::mem::take(&mut self.updates.borrow_mut())
    }

    /// Walks the tape back from `loss`; gradients in the order of the parameters, `None` where the loss does not depend on one.
    pub fn backward(self, loss: &Value) -> Result<Vec<Option<Tensor>>> {
        let Some(tape) = self.tape else { candle_core::bail!("backward: this pass was not recorded") };
        let gradients: Gradients = tape.backward(loss)?;
        let leaves = self.leaves.into_inner();
        Ok(leaves.iter().map(|leaf| leaf.as_ref().and_then(|leaf| gradients.of(leaf).cloned())).collect())
    }
}
