//! The bilinear map whose tensor has CP form.

use crate::by_float;
use crate::kernels::mttkrp::{CpLayer, CpLayerGradients};
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// `z = C · ((Aᵀx) ∘ (Bᵀy))` for each row: x (n, d_1), y (n, d_2), A (d_1, R), B (d_2, R), C (d_3, R) to (n, d_3); the contraction of x and
/// y with the tensor `Σ_r A[i, r] B[j, r] C[k, r]`. See [`CpLayer`].
pub fn cp_layer(x: &Value, y: &Value, factors: [&Value; 3]) -> Result<Value> {
    let (rows, d1) = x.tensor().dims2()?;
    let d2 = y.tensor().dims2()?.1;
    let (d3, rank) = factors[2].tensor().dims2()?;
    let sizes = [d1, d2, d3];
    if y.dims() != [rows, d2] || sizes.contains(&0) {
        bail!("cp_layer: x {:?} and y {:?}, expected as many rows, and columns", x.dims(), y.dims());
    }
    for ((name, f), size) in ["A", "B", "C"].iter().zip(factors).zip(sizes) {
        if f.dims() != [size, rank] {
            bail!("cp_layer: {name} is {:?}, expected [{size}, {rank}]", f.dims());
        }
    }
    let (xs, ys) = (x.tensor().contiguous()?, y.tensor().contiguous()?);
    let [a, b, c] = [factors[0].tensor().contiguous()?, factors[1].tensor().contiguous()?, factors[2].tensor().contiguous()?];
    by_float!("cp_layer", xs, T => {
        let mut z = output::<T>(rows * d3);
        {
            let [a, b, c] = [numbers::<T>("cp_layer", &a)?, numbers::<T>("cp_layer", &b)?, numbers::<T>("cp_layer", &c)?];
            let layer = CpLayer { a: &a, b: &b, c: &c, sizes, rank };
            layer.forward(&numbers::<T>("cp_layer", &xs)?, &numbers::<T>("cp_layer", &ys)?, &mut z);
        }
        Ok(record(&[x, y, factors[0], factors[1], factors[2]], tensor(z, &[rows, d3])?, |wanted| {
            move |dz: Tensor| {
                let dz = dz.contiguous()?;
                let mut dx = wanted.wanted(0).then(|| output::<T>(rows * d1));
                let mut dy = wanted.wanted(1).then(|| output::<T>(rows * d2));
                let factors = (2..5).any(|i| wanted.wanted(i));
                let mut to = sizes.map(|d| output::<T>(if factors { d * rank } else { 0 }));
                {
                    let [a, b, c] = [numbers::<T>("cp_layer", &a)?, numbers::<T>("cp_layer", &b)?, numbers::<T>("cp_layer", &c)?];
                    let layer = CpLayer { a: &a, b: &b, c: &c, sizes, rank };
                    let (x, y, dz) = (numbers::<T>("cp_layer", &xs)?, numbers::<T>("cp_layer", &ys)?, numbers::<T>("cp_layer", &dz)?);
                    let [da, db, dc] = &mut to;
                    let places = factors.then_some(CpLayerGradients { a: da, b: db, c: dc });
                    layer.backward(&x, &y, &dz, dx.as_deref_mut(), dy.as_deref_mut(), places);
                }
                let dx = dx.map(|d| tensor(d, &[rows, d1])).transpose()?;
                let dy = dy.map(|d| tensor(d, &[rows, d2])).transpose()?;
                let df = to.into_iter().zip(sizes).map(|(d, size)| if factors { tensor(d, &[size, rank]).map(Some) } else { Ok(None) });
                [Ok(dx), Ok(dy)].into_iter().chain(df).collect()
            }
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::super::norm::tests::{check_gradients, wave};
    use super::*;

    #[test]
    fn gradients_of_the_cp_layer() {
        let inputs = [wave(&[5, 3], 0.3), wave(&[5, 4], 0.7), wave(&[3, 6], 0.2), wave(&[4, 6], 0.5), wave(&[2, 6], 0.9)];
        check_gradients(&inputs, |v| cp_layer(&v[0], &v[1], [&v[2], &v[3], &v[4]]).unwrap());
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let v = |shape: &[usize]| Value::constant(&wave(shape, 0.1));
        let (a, b) = (v(&[3, 2]), v(&[5, 2]));
        let wrong = cp_layer(&v(&[2, 3]), &v(&[2, 5]), [&a, &b, &v(&[4, 3])]);
        assert!(wrong.is_err_and(|e| e.to_string().contains("A is [3, 2], expected [3, 3]")));
    }
}
