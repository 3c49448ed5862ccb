//! Season and trend, and coarser scales, along the last axis.

use crate::by_float;
use crate::kernels::smooth::{self, DftDecomposition, Layout};
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record, record_many};
use candle_core::{Result, Tensor, bail};

/// (rows, time) of a tensor seen along its last axis.
fn lines(op: &str, x: &Value) -> Result<Layout> {
    match x.dims().last() {
        Some(&time) if time > 0 => Ok(Layout::rows(x.tensor().elem_count() / time, time)),
        _ => bail!("{op}: needs at least one step along the last axis, got shape {:?}", x.dims()),
    }
}

/// Puts a split into two parts on the tape. `backward` takes the gradients of both.
fn recorded(
    x: &Value,
    season: Tensor,
    trend: Tensor,
    backward: impl FnOnce(Tensor, Tensor) -> Result<Tensor> + 'static,
) -> (Value, Value) {
    let like = season.clone();
    let parts = record_many(&[x], vec![season, trend], |_| {
        move |gradients: Vec<Option<Tensor>>| {
            let mut parts = gradients.into_iter().map(|g| match g {
                Some(g) => g.contiguous(),
                None => like.zeros_like(),
            });
            match (parts.next(), parts.next()) {
                (Some(season), Some(trend)) => Ok(vec![Some(backward(season?, trend?)?)]),
                _ => bail!("decompose: two gradients expected"),
            }
        }
    });
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next()) {
        (Some(season), Some(trend)) => (season, trend),
        // Two tensors went in.
        _ => (x.detach(), x.detach()),
    }
}

/// Season and trend: trend = moving average over `k` (odd) steps of the last axis, edges replicated; season = x − trend.
pub fn decompose(x: &Value, k: usize) -> Result<(Value, Value)> {
    let layout = lines("decompose", x)?;
    if k.is_multiple_of(2) {
        bail!("decompose: the moving average takes {k} steps, expected an odd number");
    }
    let source = x.tensor().contiguous()?;
    let dims = x.dims().to_vec();
    by_float!("decompose", source, T => {
        let (mut season, mut trend) = (output::<T>(layout.elements()), output::<T>(layout.elements()));
        smooth::decompose(&numbers::<T>("decompose", &source)?, layout, k, &mut season, &mut trend);
        let (season, trend) = (tensor(season, &dims)?, tensor(trend, &dims)?);
        Ok(recorded(x, season, trend, move |season: Tensor, trend: Tensor| {
            let mut out = output::<T>(layout.elements());
            let (s, t) = (numbers::<T>("decompose", &season)?, numbers::<T>("decompose", &trend)?);
            smooth::decompose_backward(&s, &t, layout, k, &mut out);
            tensor(out, &dims)
        }))
    })
}

/// Season and trend: season = the `top_k` strongest frequencies of each series along the last axis, the constant excluded; trend =
/// the rest. The choice of frequencies is not differentiated.
pub fn dft_decompose(x: &Value, top_k: usize) -> Result<(Value, Value)> {
    let layout = lines("dft_decompose", x)?;
    let source = x.tensor().contiguous()?;
    let dims = x.dims().to_vec();
    by_float!("dft_decompose", source, T => {
        let plan = DftDecomposition::<T>::new(layout.time, top_k);
        let mut bins = vec![0u32; layout.batch * plan.kept()];
        let (mut season, mut trend) = (output::<T>(layout.elements()), output::<T>(layout.elements()));
        plan.forward(&numbers::<T>("dft_decompose", &source)?, &mut season, &mut trend, &mut bins);
        let (season, trend) = (tensor(season, &dims)?, tensor(trend, &dims)?);
        Ok(recorded(x, season, trend, move |season: Tensor, trend: Tensor| {
            let mut out = output::<T>(layout.elements());
            let (s, t) = (numbers::<T>("dft_decompose", &season)?, numbers::<T>("dft_decompose", &trend)?);
            plan.backward(&s, &t, &bins, &mut out);
            tensor(out, &dims)
        }))
    })
}

macro_rules! pooling {
    ($(#[$doc:meta])* $name:ident, |$x:ident, $g:ident, $layout:ident, $window:ident, $out:ident| $backward:expr) => {
        $(#[$doc])*
        pub fn $name(x: &Value, window: usize) -> Result<Value> {
            const OP: &str = stringify!($name);
            let $layout = lines(OP, x)?;
            let $window = window;
            if window == 0 {
                bail!("{OP}: the window is 0, expected 1 or more");
            }
            let source = x.tensor().contiguous()?;
            let dims = x.dims().to_vec();
            let mut pooled = dims.clone();
            if let Some(last) = pooled.last_mut() {
                *last /= window;
            }
            by_float!(OP, source, T => {
                let mut y = output::<T>(pooled.iter().product());
                smooth::$name(&numbers::<T>(OP, &source)?, $layout, window, &mut y);
                Ok(record(&[x], tensor(y, &pooled)?, |_| {
                    move |g: Tensor| {
                        let g = g.contiguous()?;
                        let mut out = output::<T>($layout.elements());
                        {
                            let ($x, $g, $out) = (numbers::<T>(OP, &source)?, numbers::<T>(OP, &g)?, &mut out);
                            $backward;
                        }
                        Ok(vec![Some(tensor(out, &dims)?)])
                    }
                }))
            })
        }
    };
}

pooling! {
    /// Means of `window` steps of the last axis at a time; a remainder is dropped.
    avg_pool, |_x, g, layout, window, out| smooth::avg_pool_backward(&g, layout, window, out)
}
pooling! {
    /// The largest of `window` steps of the last axis at a time; a remainder is dropped. The gradient goes to the first of the
    /// largest.
    max_pool, |x, g, layout, window, out| smooth::max_pool_backward(&x, &g, layout, window, out)
}
