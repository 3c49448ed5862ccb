//! Products of tensors: MTTKRP, and a tensor times a matrix along a mode.

use crate::by_float;
use crate::kernels::gemm::MatRef;
use crate::kernels::{mttkrp as products, ttm as along};
use crate::nn::storage::{Element, Numbers, expect_dtype, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// The numbers of all factors.
fn all<'a, T: Element>(factors: &'a [Tensor]) -> Result<Vec<Numbers<'a, T>>> {
    factors.iter().map(|u| numbers::<T>("mttkrp", u)).collect()
}

/// MTTKRP: `W[i, r] = Σ x[…, i, …] · Π_{m≠mode} factors[m][i_m, r]`. x of any shape, factors (I_m, R), one for each mode; that of `mode` has
/// no part in the result and gets no gradient. Gives (I_mode, R).
///
/// The gradients are a CP model and MTTKRPs of the other modes: those that are wanted cost 2·R·ΠI operations each.
pub fn mttkrp(x: &Value, factors: &[&Value], mode: usize) -> Result<Value> {
    const OP: &str = "mttkrp";
    let shape = x.dims().to_vec();
    let order = shape.len();
    if mode >= order || factors.len() != order {
        bail!("{OP}: mode {mode} of a tensor of shape {shape:?} with {} factors, expected one for each mode", factors.len());
    }
    let Some(&rank) = factors[(mode + 1) % order].dims().get(1) else {
        bail!("{OP}: factor {} has shape {:?}, expected (size, rank)", (mode + 1) % order, factors[(mode + 1) % order].dims());
    };
    let source = x.tensor().contiguous()?;
    let mut held = Vec::with_capacity(order);
    for (m, (factor, &size)) in factors.iter().zip(&shape).enumerate() {
        if factor.dims() != [size, rank] {
            bail!("{OP}: factor {m} has shape {:?}, expected [{size}, {rank}]", factor.dims());
        }
        expect_dtype(OP, factor.tensor(), source.dtype())?;
        held.push(factor.tensor().contiguous()?);
    }
    by_float!(OP, source, T => {
        let mut w = output::<T>(shape[mode] * rank);
        {
            let (x, u) = (numbers::<T>(OP, &source)?, all::<T>(&held)?);
            products::mttkrp(&x, &shape, &u.iter().map(|u| &u[..]).collect::<Vec<_>>(), rank, mode, &mut w);
        }
        let inputs: Vec<&Value> = [x].into_iter().chain(factors.iter().copied()).collect();
        let w = tensor(w, &[shape[mode], rank])?;
        Ok(record(&inputs, w, |wanted| move |dw: Tensor| {
            let dw = dw.contiguous()?;
            let mut dx = wanted.wanted(0).then(|| output::<T>(source.elem_count()));
            let mut du: Vec<Option<Vec<T>>> =
                (0..order).map(|m| (m != mode && wanted.wanted(m + 1)).then(|| output::<T>(shape[m] * rank))).collect();
            {
                let (x, u, dw) = (numbers::<T>(OP, &source)?, all::<T>(&held)?, numbers::<T>(OP, &dw)?);
                let u: Vec<&[T]> = u.iter().map(|u| &u[..]).collect();
                let mut to: Vec<Option<&mut [T]>> = du.iter_mut().map(Option::as_deref_mut).collect();
                products::mttkrp_backward(&x, &shape, &u, rank, mode, &dw, dx.as_deref_mut(), &mut to);
            }
            let mut gradients = vec![dx.map(|dx| tensor(dx, &shape)).transpose()?];
            for (du, &size) in du.into_iter().zip(&shape) {
                gradients.push(du.map(|du| tensor(du, &[size, rank])).transpose()?);
            }
            Ok(gradients)
        }))
    })
}

/// A tensor times a matrix along a mode: `y[…, j, …] = Σ_i m[j, i] · x[…, i, …]`, m (J, I_mode), y with J in the place of I_mode.
///
/// 2·J·ΠI operations, and as many for each gradient that is wanted.
pub fn ttm(x: &Value, m: &Value, mode: usize) -> Result<Value> {
    const OP: &str = "ttm";
    let shape = x.dims().to_vec();
    let [rows, size] = match (m.dims(), shape.get(mode)) {
        ([rows, width], Some(size)) if width == size => [*rows, *size],
        _ => bail!("{OP}: a matrix of shape {:?} along mode {mode} of shape {shape:?}", m.dims()),
    };
    let (source, matrix) = (x.tensor().contiguous()?, m.tensor().contiguous()?);
    expect_dtype(OP, &matrix, source.dtype())?;
    let mut to_shape = shape.clone();
    to_shape[mode] = rows;
    by_float!(OP, source, T => {
        let mut y = output::<T>(to_shape.iter().product());
        {
            let (x, m) = (numbers::<T>(OP, &source)?, numbers::<T>(OP, &matrix)?);
            along::ttm(&x, &shape, MatRef::new(&m, rows, size), mode, &mut y);
        }
        Ok(record(&[x, m], tensor(y, &to_shape)?, |wanted| move |dy: Tensor| {
            let dy = dy.contiguous()?;
            let mut dx = wanted.wanted(0).then(|| output::<T>(source.elem_count()));
            let mut dm = wanted.wanted(1).then(|| output::<T>(rows * size));
            {
                let (x, m, dy) = (numbers::<T>(OP, &source)?, numbers::<T>(OP, &matrix)?, numbers::<T>(OP, &dy)?);
                let m = MatRef::new(&m, rows, size);
                along::ttm_backward(&x, &shape, m, mode, &dy, dx.as_deref_mut(), dm.as_deref_mut());
            }
            Ok(vec![dx.map(|dx| tensor(dx, &shape)).transpose()?, dm.map(|dm| tensor(dm, &[rows, size])).transpose()?])
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::norm::tests::{check_gradients, wave};
    use crate::nn::tape::Tape;

    #[test]
    fn gradients_of_products_are_differences() {
        let shape = [3usize, 4, 2];
        for mode in 0..3 {
            // The mode's own factor has no gradient.
            let own = Value::constant(&wave(&[shape[mode], 5], 9.0));
            let others = (0..3).filter(|&m| m != mode).map(|m| wave(&[shape[m], 5], 1.0 + m as f64));
            let inputs: Vec<Tensor> = [wave(&shape, 0.1)].into_iter().chain(others).collect();
            check_gradients(&inputs, |v| {
                let mut factors = vec![&v[1], &v[2]];
                factors.insert(mode, &own);
                mttkrp(&v[0], &factors, mode).unwrap()
            });
            check_gradients(&[wave(&shape, 0.1), wave(&[6, shape[mode]], 2.0)], |v| ttm(&v[0], &v[1], mode).unwrap());
        }
    }

    #[test]
    fn products_of_other_shapes_are_errors() {
        let value = |dims: &[usize]| Value::constant(&wave(dims, 0.0));
        let (x, a, b) = (value(&[3, 4]), value(&[3, 2]), value(&[4, 2]));
        assert_eq!(mttkrp(&x, &[&a, &b], 0).unwrap().dims(), [3, 2]);
        assert!(mttkrp(&x, &[&a, &b], 2).is_err() && mttkrp(&x, &[&a], 0).is_err() && mttkrp(&x, &[&b, &a], 0).is_err());
        assert_eq!(ttm(&x, &value(&[5, 4]), 1).unwrap().dims(), [3, 5]);
        assert!(
            ttm(&x, &value(&[5, 4]), 0).is_err() && ttm(&x, &value(&[4]), 1).is_err() && ttm(&x, &value(&[5, 4]), 2).is_err()
        );
        // The mode's own factor has no part in the result.
        let tape = Tape::new();
        let leaf = tape.leaf(a.tensor());
        let w = mttkrp(&x, &[&leaf, &b], 0).unwrap();
        assert!(tape.backward(&w).unwrap().of(&leaf).is_none());
    }
}
