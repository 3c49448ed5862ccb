//! softsort.

use super::{Engine, Operation, Request, SizeOf, Timing, array, axes, from_halves, halves, narrow, needed, optional, wave, wide};
use crate::kernels::scan::softsort::{SoftSort, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "softsort",
    about: "a soft permutation that puts tokens in falling order of their scores, tau (1 unless given) its softness",
    source: "Prillo & Eisenschlos 2020, SoftSort",
    inputs: &[needed("scores", "b l"), optional("tau", "1")],
    outputs: &[needed("P_hat", "b l l")],
    upstream: &[needed("dP_hat", "b l l")],
    activation: false,
    chunked: false,
    on_device: [None, None],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 8), ("l", 196)],
    timing,
    bf16: Some(timing_bf16),
};

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.without_steps(OPERATION.name)?;
    let (shape, scores) = request.get::<T>("scores")?;
    let [batch, len] = axes("scores", &shape, "batch, tokens")?;
    let tau = request.shaped::<f64>("tau", &[1])?.map_or(1.0, |tau| tau[0]);
    if tau <= 0.0 {
        return Err(format!("array \"tau\" is {tau}, expected a number above 0"));
    }
    let of = SoftSort { batch, len, tau };
    let square = [batch, len, len];
    let mut p = vec![T::ZERO; batch * len * len];
    match request.engine {
        Engine::Reference => p = narrow(reference::forward(&of, &wide(&scores))),
        Engine::Half => {
            let mut bits = vec![0; p.len()];
            of.forward_bf16(&halves(&scores), &mut bits);
            p = from_halves(bits);
        }
        Engine::Scan | Engine::Device | Engine::Step | Engine::HalfStep => of.forward(&scores, &mut p),
    }
    let mut to = Arrays::default();
    to.push("P_hat", array(&square, p));
    if !request.gradients {
        return Ok(to);
    }
    let dp = request.exactly::<T>("dP_hat", &square)?;
    let mut dscores = vec![T::ZERO; scores.len()];
    match request.engine {
        Engine::Reference => dscores = narrow(reference::backward(&of, &wide(&scores), &wide(&dp))),
        Engine::Half => {
            let mut bits = vec![0; dscores.len()];
            of.backward_bf16(&halves(&scores), &halves(&dp), &mut bits);
            dscores = from_halves(bits);
        }
        Engine::Scan | Engine::Device | Engine::Step | Engine::HalfStep => of.backward(&scores, &dp, &mut dscores),
    }
    to.push("g_scores", array(&shape, dscores));
    Ok(to)
}

fn timing(size: SizeOf<'_>) -> Timing {
    let [batch, len] = ["b", "l"].map(size);
    let of = SoftSort { batch, len, tau: 1.0 };
    let (scores, mut p) = (wave(batch * len, 3.0, 0.0), vec![0f32; batch * len * len]);
    let (kept, dp, mut dscores) = (scores.clone(), wave(p.len(), 1.0, 0.0), scores.clone());
    let numbers = p.len();
    counted(numbers, 4.0, Box::new(move || of.forward(&scores, &mut p)), Box::new(move || of.backward(&kept, &dp, &mut dscores)))
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let [batch, len] = ["b", "l"].map(size);
    let of = SoftSort { batch, len, tau: 1.0 };
    let (scores, mut p) = (halves(&wave(batch * len, 3.0, 0.0)), vec![0; batch * len * len]);
    let (kept, dp, mut dscores) = (scores.clone(), halves(&wave(p.len(), 1.0, 0.0)), scores.clone());
    let numbers = p.len();
    counted(
        numbers,
        2.0,
        Box::new(move || of.forward_bf16(&scores, &mut p)),
        Box::new(move || of.backward_bf16(&kept, &dp, &mut dscores)),
    )
}

/// `numbers` of P, of `each` bytes.
fn counted(numbers: usize, each: f64, forward: Box<dyn FnMut()>, backward: Box<dyn FnMut()>) -> Timing {
    let numbers = numbers as f64;
    // A distance, an exponential, a sum and a share; backward the same again, and about ten for the two sums.
    Timing { forward, backward, bytes: [each * numbers; 2], flops: [5.0 * numbers, 15.0 * numbers] }
}
