//! s4-dplr.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, from_halves, from_single, halves, narrow, needed, optional, wave,
};
use crate::kernels::scan::lti::dplr::{Dplr, Gradients, Stepper, reference};
use crate::kernels::scan::lti::hippo::{Measure, nplr};
use crate::kernels::scan::lti::{Complex, ComplexMut, ComplexRef};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

/// The kernel of a measure ("measure": its number in [`MEASURES`], as arrays hold numbers alone), with a row C over its real states.
pub const OPERATION: Operation = Operation {
    name: "s4-dplr",
    about: "the kernel of a HiPPO system by Cauchy sums, bilinear (measure: 0 legs, 1 legt, 2 fout, 3 lagt, 4 glagt, 5 legsd, 6 foud, 7 fourier-decay, 8 fourier2)",
    source: "Gu et al. 2022, S4",
    inputs: &[optional("measure", "1"), needed("N", "1"), needed("dt", "1"), needed("C_real_basis", "N"), needed("L", "1")],
    outputs: &[needed("K", "L"), needed("C_tilde_re", "n"), needed("C_tilde_im", "n")],
    upstream: &[needed("dK", "L")],
    activation: false,
    chunked: false,
    on_device: [None, None],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("h", 256), ("l", 1024), ("n", 32)],
    timing,
    bf16: Some(timing_bf16),
};

const MEASURES: [Measure; 9] = [
    Measure::LegS,
    Measure::LegT,
    Measure::FouT,
    Measure::LagT,
    Measure::GLagT,
    Measure::LegSD,
    Measure::FouD,
    Measure::FouDecay,
    Measure::Fou2,
];

/// A whole number of at least `least`.
fn whole(request: &Request<'_>, name: &str, least: f64) -> Result<usize, String> {
    let value = request.number(name)?.ok_or_else(|| format!("there is no array \"{name}\": it is needed"))?;
    // Far beyond what memory holds, but exact.
    let fits = value.fract() == 0.0 && (least..=1e9).contains(&value);
    fits.then_some(value as usize).ok_or_else(|| format!("array \"{name}\" is {value}, expected a whole number from {least}"))
}

/// Λ, P, B and C (C̃), real and imaginary parts.
struct Owned<T> {
    log_dt: Vec<T>,
    rank: usize,
    parts: [[Vec<T>; 2]; 4],
}

impl<T: Real> Owned<T> {
    fn dplr(&self) -> Dplr<'_, T> {
        let [lambda, p, b, c] = &self.parts;
        let channels = self.log_dt.len();
        Dplr {
            channels,
            pairs: lambda[0].len() / channels,
            rank: self.rank,
            rate: 1.0,
            log_dt: &self.log_dt,
            lambda: ComplexRef { re: &lambda[0], im: &lambda[1] },
            p: ComplexRef { re: &p[0], im: &p[1] },
            b: ComplexRef { re: &b[0], im: &b[1] },
            c: ComplexRef { re: &c[0], im: &c[1] },
        }
    }
}

/// The system in f32, with C̃ for C.
fn in_single(exact: &Owned<f64>, tilde: &[Vec<f64>; 2]) -> Owned<f32> {
    let mut parts = exact.parts.clone().map(|z| z.map(narrow));
    parts[3] = tilde.clone().map(narrow);
    Owned { log_dt: narrow(exact.log_dt.clone()), rank: exact.rank, parts }
}

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    let index = request.number("measure")?.unwrap_or(0.0);
    let measure = MEASURES.get(index as usize).filter(|_| index.fract() == 0.0 && index >= 0.0).ok_or_else(|| {
        let names: Vec<String> = MEASURES.iter().enumerate().map(|(i, m)| format!("{i} ({})", m.name())).collect();
        format!("array \"measure\" is {index}, expected {}", names.join(", "))
    })?;
    let (states, len) = (whole(request, "N", 2.0)?, whole(request, "L", 1.0)?);
    let dt = request.number("dt")?.ok_or("there is no array \"dt\": it is needed")?;
    if dt <= 0.0 {
        return Err(format!("array \"dt\" is {dt}, expected a number above 0"));
    }
    let row = request.exactly::<f64>("C_real_basis", &[states])?;
    let form = nplr(*measure, states).map_err(|e| format!("array \"N\": {e}"))?;
    let c = form.row(&row);
    let parts = [&form.lambda, &form.p, &form.b, &c].map(|z| Complex::split(z));
    let exact = Owned { log_dt: vec![dt.ln()], rank: form.rank(), parts };
    let n = states / 2;
    // C̃ in f64: 1 − Ā^L cancels for slow states.
    let mut tilde = [vec![0.0; n], vec![0.0; n]];
    let [re, im] = &mut tilde;
    exact.dplr().tilde(len, ComplexMut { re, im });
    let mut of: Owned<T> =
        Owned { log_dt: narrow(exact.log_dt.clone()), rank: exact.rank, parts: exact.parts.clone().map(|z| z.map(narrow)) };
    let mut k = vec![T::ZERO; len];
    match request.engine {
        Engine::Half => {
            let mut bits = vec![0; len];
            in_single(&exact, &tilde).dplr().kernel_bf16(len, &mut bits);
            k = from_halves(bits);
        }
        Engine::Scan | Engine::Device => {
            of.parts[3] = tilde.clone().map(narrow);
            of.dplr().kernel(len, &mut k);
        }
        Engine::Step => {
            let stepper = Stepper::new(&of.dplr());
            let (mut re, mut im) = (vec![T::ZERO; n], vec![T::ZERO; n]);
            for (t, k) in k.iter_mut().enumerate() {
                let u = [if t == 0 { T::ONE } else { T::ZERO }];
                stepper.step(&u, ComplexMut { re: &mut re, im: &mut im }, std::slice::from_mut(k));
            }
        }
        Engine::HalfStep => {
            let single = Owned::<f32> {
                log_dt: narrow(exact.log_dt.clone()),
                rank: exact.rank,
                parts: exact.parts.clone().map(|z| z.map(narrow)),
            };
            let stepper = Stepper::new(&single.dplr());
            let (mut re, mut im, mut bits) = (vec![0.0; n], vec![0.0; n], vec![0; len]);
            for (t, k) in bits.iter_mut().enumerate() {
                let u = halves(&[if t == 0 { 1f32 } else { 0.0 }]);
                stepper.step_bf16(&u, ComplexMut { re: &mut re, im: &mut im }, std::slice::from_mut(k));
            }
            k = from_halves(bits);
        }
        Engine::Reference => {
            k = narrow(reference::kernel(&exact.dplr(), len).ok_or("the system of this step size is singular")?);
        }
    }
    let mut to = Arrays::default();
    to.push("K", array(&[len], k));
    to.push("C_tilde_re", array(&[n], tilde[0].clone()));
    to.push("C_tilde_im", array(&[n], tilde[1].clone()));
    if !request.gradients {
        return Ok(to);
    }
    // With C̃ as what is trained.
    let dk = request.exactly::<T>("dK", &[len])?;
    let slopes = if request.engine.is_half() {
        let mut slopes = Slopes::new(1, n, of.rank);
        in_single(&exact, &tilde).dplr().backward_bf16(len, &halves(&dk), slopes.places());
        Slopes { log_dt: from_single(slopes.log_dt), parts: slopes.parts.map(|z| z.map(from_single)) }
    } else {
        of.parts[3] = tilde.map(narrow);
        let mut slopes = Slopes::new(1, n, of.rank);
        of.dplr().backward(len, &dk, slopes.places());
        slopes
    };
    to.push("g_log_dt", array(&[1], slopes.log_dt));
    let shapes = [("lambda", vec![n]), ("P", vec![of.rank, n]), ("B", vec![n]), ("C_tilde", vec![n])];
    for ((name, shape), [re, im]) in shapes.into_iter().zip(slopes.parts) {
        to.push(format!("g_{name}_re"), array(&shape, re));
        to.push(format!("g_{name}_im"), array(&shape, im));
    }
    Ok(to)
}

/// Gradients: of the step sizes, and of Λ, P, B and C̃.
struct Slopes<T> {
    log_dt: Vec<T>,
    parts: [[Vec<T>; 2]; 4],
}

impl<T: Real> Slopes<T> {
    fn new(h: usize, n: usize, rank: usize) -> Self {
        let zeros = |len: usize| [vec![T::ZERO; len], vec![T::ZERO; len]];
        Self { log_dt: vec![T::ZERO; h], parts: [h * n, h * rank * n, h * n, h * n].map(zeros) }
    }

    fn places(&mut self) -> Gradients<'_, T> {
        let [lambda, p, b, c] = self.parts.each_mut().map(|[re, im]| Some(ComplexMut { re, im }));
        Gradients { log_dt: Some(&mut self.log_dt), lambda, p, b, c }
    }
}

fn made_up(h: usize, n: usize) -> Owned<f32> {
    let two = |len: usize| [wave(len, 1.0, 0.0), wave(len, 1.0, 0.2)];
    let lambda = [vec![-0.5; h * n], (0..h * n).map(|i| -std::f32::consts::PI * (i % n) as f32).collect()];
    Owned { log_dt: wave(h, 1.0, -4.0), rank: 1, parts: [lambda, two(h * n), two(h * n), two(h * n)] }
}

fn timing(size: SizeOf<'_>) -> Timing {
    let [h, l, n] = ["h", "l", "n"].map(size);
    let (owned, mut k) = (made_up(h, n), vec![0f32; h * l]);
    let (kept, dk, mut slopes) = (made_up(h, n), wave(h * l, 1.0, 0.0), Slopes::new(h, n, 1));
    let forward = move || owned.dplr().kernel(l, &mut k);
    counted([h, l, n], 4.0, Box::new(forward), Box::new(move || kept.dplr().backward(l, &dk, slopes.places())))
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let [h, l, n] = ["h", "l", "n"].map(size);
    let (owned, mut k) = (made_up(h, n), vec![0; h * l]);
    let (kept, dk, mut slopes) = (made_up(h, n), halves(&wave(h * l, 1.0, 0.0)), Slopes::new(h, n, 1));
    let forward = move || owned.dplr().kernel_bf16(l, &mut k);
    counted([h, l, n], 2.0, Box::new(forward), Box::new(move || kept.dplr().backward_bf16(l, &dk, slopes.places())))
}

/// Numbers of `each` bytes. Two reciprocals and four sums; three times as many on the way back.
fn counted([h, l, n]: [usize; 3], each: f64, forward: Box<dyn FnMut()>, backward: Box<dyn FnMut()>) -> Timing {
    let (out, sums) = (each * (h * l) as f64, (h * n * (l / 2 + 1)) as f64);
    Timing { forward, backward, bytes: [out, out], flops: [46.0 * sums, 140.0 * sums] }
}
