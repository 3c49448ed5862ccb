//! What tests of whole models share.

use super::params::{ParamId, Params};
use super::pass::Pass;
use super::tape::Value;
use candle_core::{Device, Tensor};

/// Numbers of a wave, of any shape.
pub(crate) fn wave(dims: &[usize], phase: f64) -> Tensor {
    let values: Vec<f64> = (0..dims.iter().product()).map(|i| (i as f64 * 0.7 + phase).sin()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// A model as its gradients are checked: where its parameters are, and a scalar loss.
pub(crate) struct Checked<'a, M> {
    pub(crate) params: fn(&M) -> &Params,
    pub(crate) params_mut: fn(&mut M) -> &mut Params,
    pub(crate) loss: &'a dyn Fn(&M, &Pass) -> Value,
}

/// About `elements` of the gradient of every parameter, in f64, against central differences with steps of 1e-5, to 5e-9: truncation is
/// 1e-10 times third derivatives of some tens, rounding 1e-15 over the step.
pub(crate) fn check_gradients<M>(model: &mut M, checked: &Checked<'_, M>, elements: usize, what: &str) {
    let gradients = {
        let pass = Pass::gradients((checked.params)(model));
        let value = (checked.loss)(model, &pass);
        pass.backward(&value).unwrap()
    };
    let ids: Vec<ParamId> = (checked.params)(model).iter().map(|(id, _)| id).collect();
    for id in ids {
        let parameter = (checked.params)(model).get(id);
        let (name, before) = (parameter.name.clone(), parameter.tensor.copy().unwrap());
        let gradient = gradients[id.index()].as_ref().unwrap_or_else(|| panic!("{what}: {name} has no gradient"));
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let values = before.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for k in (0..values.len()).step_by((values.len() / elements).max(1)) {
            let mut at = |by: f64| {
                let mut values = values.clone();
                values[k] += by;
                let changed = Tensor::from_vec(values, before.dims(), &Device::Cpu).unwrap();
                (checked.params_mut)(model).set(id, &changed).unwrap();
                let pass = Pass::inference((checked.params)(model));
                (checked.loss)(model, &pass).tensor().to_scalar::<f64>().unwrap()
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - gradient[k]).abs() < 5e-9, "{what}: {name}[{k}] is {}, not {numeric}", gradient[k]);
        }
        (checked.params_mut)(model).set(id, &before).unwrap();
    }
}
