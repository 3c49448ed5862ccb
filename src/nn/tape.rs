//! Recorded computation and its gradients.
//!
//! A [`Tape`] is a list of what was computed, in order; [`Tape::backward`] walks it once from the end. Operations carry backward
//! passes written by hand (`nn::ops`), as coarse as the algebra allows. candle's own recording is not used: for every gradient it
//! allocates zeros and adds to them, and an operation may have three inputs at most; here the first gradient of a value is moved
//! into place and only a second one is added.
//!
//! ```
//! # use candle_core::{Device, Tensor};
//! use shoal::nn::{ops, tape::Tape};
//! let tape = Tape::new();
//! let x = tape.leaf(&Tensor::new(&[1.0f32, 2.0, 3.0], &Device::Cpu)?);
//! let y = ops::sum_all(&ops::mul(&x, &x)?)?;
//! let gradients = tape.backward(&y)?;
//! assert_eq!(gradients.of(&x).unwrap().to_vec1::<f32>()?, [2.0, 4.0, 6.0]);
//! # Ok::<(), candle_core::Error>(())
//! ```

use super::ops::arithmetic::{Binary, binary};
use candle_core::{Result, Tensor, bail};
use std::cell::RefCell;
use std::rc::Rc;

/// Takes the gradient of an operation's output and gives one for each recorded input, in the order they were named to
/// [`record`]; `None` where the gradient is zero. Inputs that are constants get what is given for them thrown away, so a pass
/// that would cost something should ask [`Inputs::wanted`] first.
type Backward = Box<dyn FnOnce(Tensor) -> Result<Vec<Option<Tensor>>>>;

struct Node {
    inputs: Vec<Option<usize>>,
    backward: Option<Backward>,
}

/// What has been computed so far; cheap to clone, one thread.
#[derive(Clone, Default)]
pub struct Tape(Rc<RefCell<Vec<Node>>>);

/// A tensor, and its place on a tape when gradients must reach it.
#[derive(Clone)]
pub struct Value {
    tensor: Tensor,
    place: Option<(Tape, usize)>,
}

/// Which inputs of an operation are recorded.
#[derive(Debug, Clone)]
pub struct Inputs(Vec<bool>);

impl Inputs {
    /// Whether a gradient for input `i` will be used.
    pub fn wanted(&self, i: usize) -> bool {
        self.0[i]
    }
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that gradients are wanted for: a parameter, or an input under study.
    pub fn leaf(&self, tensor: &Tensor) -> Value {
        let index = self.push(Node { inputs: Vec::new(), backward: None });
        Value { tensor: tensor.clone(), place: Some((self.clone(), index)) }
    }

    fn push(&self, node: Node) -> usize {
        let mut nodes = self.0.borrow_mut();
        nodes.push(node);
        nodes.len() - 1
    }

    /// The gradients of `of` (any shape; of its sum when it has more than one element) with respect to all leaves. Uses the tape
    /// up: what was saved for the backward passes is freed as the walk goes on.
    pub fn backward(&self, of: &Value) -> Result<Gradients> {
        let seed = of.tensor.ones_like()?;
        self.backward_from(of, seed)
    }

    /// Same, from a given gradient of `of`.
    pub fn backward_from(&self, of: &Value, seed: Tensor) -> Result<Gradients> {
        let Some((tape, last)) = &of.place else { bail!("backward: the value does not depend on anything recorded") };
        if !Rc::ptr_eq(&tape.0, &self.0) {
            bail!("backward: the value was recorded on another tape");
        }
        let mut slots: Vec<Option<Tensor>> = vec![None; last + 1];
        slots[*last] = Some(seed);
        for index in (0..=*last).rev() {
            // The node is taken out first: its backward pass may drop tensors while nothing is borrowed.
            let (inputs, backward) = {
                let mut nodes = self.0.borrow_mut();
                match nodes[index].backward.take() {
                    Some(backward) => (std::mem::take(&mut nodes[index].inputs), backward),
                    None => continue,
                }
            };
            let Some(gradient) = slots[index].take() else { continue };
            let gradients = backward(gradient)?;
            debug_assert_eq!(gradients.len(), inputs.len());
            for (input, gradient) in inputs.into_iter().zip(gradients) {
                let (Some(input), Some(gradient)) = (input, gradient) else { continue };
                slots[input] = Some(match slots[input].take() {
                    None => gradient,
                    Some(sum) => accumulated(&sum, &gradient)?,
                });
            }
        }
        Ok(Gradients { tape: self.clone(), slots })
    }
}

/// The sum of two gradients of one value. Tokens (see [`record_many`]) need none.
fn accumulated(sum: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    if sum.dtype() == candle_core::DType::U8 { Ok(sum.clone()) } else { binary(Binary::Add, sum, gradient) }
}

impl Value {
    /// A value that no gradient reaches.
    pub fn constant(tensor: &Tensor) -> Self {
        Self { tensor: tensor.clone(), place: None }
    }

    /// Its numbers.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Whether gradients reach it.
    pub fn recorded(&self) -> bool {
        self.place.is_some()
    }

    /// The same numbers, cut off from gradients.
    pub fn detach(&self) -> Self {
        Self::constant(&self.tensor)
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self { tensor, place: None }
    }
}

/// Puts an operation on the tape of its inputs and gives its value. When no input is recorded, nothing is: `backward` is not even
/// built, so inference saves nothing.
pub fn record<B>(inputs: &[&Value], output: Tensor, backward: impl FnOnce(Inputs) -> B) -> Value
where
    B: FnOnce(Tensor) -> Result<Vec<Option<Tensor>>> + 'static,
{
    let Some(tape) = inputs.iter().find_map(|v| v.place.as_ref().map(|(tape, _)| tape.clone())) else {
        return Value { tensor: output, place: None };
    };
    let places: Vec<Option<usize>> = inputs.iter().map(|v| v.place.as_ref().map(|(_, index)| *index)).collect();
    let wanted = Inputs(places.iter().map(Option::is_some).collect());
    let index = tape.push(Node { inputs: places, backward: Some(Box::new(backward(wanted))) });
    Value { tensor: output, place: Some((tape, index)) }
}

/// Same for an operation with several outputs: `backward` takes one gradient per output, `None` where the result does not depend on
/// it (never all `None`).
pub fn record_many<B>(inputs: &[&Value], outputs: Vec<Tensor>, backward: impl FnOnce(Inputs) -> B) -> Vec<Value>
where
    B: FnOnce(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> + 'static,
{
    // The operation itself is a node without a value. Its outputs' nodes leave their gradients in `collected` and wake it with a token.
    let Ok(token) = Tensor::zeros((), candle_core::DType::U8, &candle_core::Device::Cpu) else {
        return outputs.into_iter().map(Value::from).collect();
    };
    let collected = Rc::new(RefCell::new(vec![None; outputs.len()]));
    let gathered = collected.clone();
    let operation = record(inputs, token.clone(), |wanted| {
        let backward = backward(wanted);
        move |_: Tensor| backward(gathered.take())
    });
    let output = |(i, tensor): (usize, Tensor)| {
        let (collected, token) = (collected.clone(), token.clone());
        record(&[&operation], tensor, |_| {
            move |g: Tensor| {
                collected.borrow_mut()[i] = Some(g);
                Ok(vec![Some(token)])
            }
        })
    };
    outputs.into_iter().enumerate().map(output).collect()
}

/// The result of a backward walk.
pub struct Gradients {
    tape: Tape,
    slots: Vec<Option<Tensor>>,
}

impl Gradients {
    /// The gradient of a leaf; `None` when the result does not depend on it.
    pub fn of(&self, leaf: &Value) -> Option<&Tensor> {
        let (tape, index) = leaf.place.as_ref()?;
        if !Rc::ptr_eq(&tape.0, &self.tape.0) {
            return None;
        }
        self.slots.get(*index)?.as_ref()
    }
}
