//! The causal convolution, whose kernel converts in registers.

use crate::kernels::scan::causal_conv::{CausalConv, Gradients};

impl CausalConv<'_, f32> {
    /// [`forward`](Self::forward) with x and y as bits of bf16. The rows carried are f32. Panics when sizes do not fit.
    pub fn forward_bf16(&self, x: &[u16], before: Option<&[f32]>, y: &mut [u16], after: Option<&mut [f32]>) {
        self.forward_stored(x, before, y, after);
    }

    /// [`backward`](Self::backward) with x, dy and the gradient of x as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(
        &self,
        x: &[u16],
        before: Option<&[f32]>,
        dy: &[u16],
        dafter: Option<&[f32]>,
        to: Gradients<'_, f32, u16>,
    ) {
        self.backward_stored(x, before, dy, dafter, to);
    }
}
