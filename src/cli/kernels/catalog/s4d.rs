//! s4d.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, axes, exchange, from_halves, from_single, halves, narrow, needed,
    optional, sequences, single, wave, wide,
};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::lti::s4d::{Gradients, S4d, Stepper, reference};
use crate::kernels::scan::lti::{Complex, ComplexMut, ComplexRef, Rule};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "s4d",
    about: "a diagonal linear system per channel, the same at every step",
    source: "Gu et al. 2022, S4D",
    inputs: &[
        needed("log_dt", "h"),
        needed("log_A_real", "h n"),
        needed("A_imag", "h n"),
        needed("C_re", "h n"),
        needed("C_im", "h n"),
        needed("u", "b h l"),
        optional("B_re", "h n"),
        optional("B_im", "h n"),
        optional("D", "h"),
        optional("initial_state_re", "b h n"),
        optional("initial_state_im", "b h n"),
        optional("rate", "1"),
        optional("bilinear", "1"),
        optional("cu_seqlens", "sequences+1"),
    ],
    outputs: &[needed("K", "h l"), needed("y", "b h l"), needed("final_state_re", "b h n"), needed("final_state_im", "b h n")],
    upstream: &[
        optional("dy", "b h l"),
        optional("dK", "h l"),
        optional("dfinal_state_re", "b h n"),
        optional("dfinal_state_im", "b h n"),
    ],
    activation: false,
    chunked: false,
    on_device: [None, None],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 8), ("h", 256), ("l", 1024), ("n", 32)],
    timing,
    bf16: Some(timing_bf16),
};

/// Real and imaginary parts.
type Two<T> = [Vec<T>; 2];

/// The parameters.
struct Owned<T> {
    log_dt: Vec<T>,
    log_decay: Vec<T>,
    frequency: Vec<T>,
    b: Option<Two<T>>,
    c: Two<T>,
    skip: Option<Vec<T>>,
    rate: f64,
    rule: Rule,
}

fn view<T>([re, im]: &Two<T>) -> ComplexRef<'_, T> {
    ComplexRef { re, im }
}

fn view_mut<T>([re, im]: &mut Two<T>) -> ComplexMut<'_, T> {
    ComplexMut { re, im }
}

impl<T: Real> Owned<T> {
    fn s4d<'a>(&'a self, sequences: Sequences<'a>, pairs: usize) -> S4d<'a, T> {
        S4d {
            sequences,
            channels: self.log_dt.len(),
            pairs,
            rule: self.rule,
            rate: self.rate,
            log_dt: &self.log_dt,
            log_decay: &self.log_decay,
            frequency: &self.frequency,
            b: self.b.as_ref().map(view),
            c: view(&self.c),
            skip: self.skip.as_deref(),
        }
    }

    fn to<U: Real>(&self) -> Owned<U> {
        let all = |x: &Vec<T>| narrow(wide(x));
        let both = |x: &Two<T>| x.each_ref().map(all);
        Owned {
            log_dt: all(&self.log_dt),
            log_decay: all(&self.log_decay),
            frequency: all(&self.frequency),
            b: self.b.as_ref().map(both),
            c: both(&self.c),
            skip: self.skip.as_ref().map(all),
            rate: self.rate,
            rule: self.rule,
        }
    }
}

/// Complex numbers that may be there, as two arrays.
fn two<T: Real>(request: &Request<'_>, name: &str, shape: &[usize]) -> Result<Option<Two<T>>, String> {
    let (re, im) = (format!("{name}_re"), format!("{name}_im"));
    match (request.shaped(&re, shape)?, request.shaped(&im, shape)?) {
        (Some(a), Some(b)) => Ok(Some([a, b])),
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("there is no array \"{im}\": it is needed beside \"{re}\"")),
        (None, Some(_)) => Err(format!("there is no array \"{re}\": it is needed beside \"{im}\"")),
    }
}

fn joined<T: Real>([re, im]: &Two<T>) -> Vec<Complex> {
    re.iter().zip(im).map(|(re, im)| Complex::new(re.to_f64(), im.to_f64())).collect()
}

fn parted<T: Real>(x: &[Complex]) -> Two<T> {
    Complex::split(x).map(narrow)
}

fn push_two<T: Real>(to: &mut Arrays, name: &str, shape: &[usize], [re, im]: Two<T>) {
    to.push(format!("{name}_re"), array(shape, re));
    to.push(format!("{name}_im"), array(shape, im));
}

/// K: what the steps answer an impulse with, less D.
fn impulse<T: Real>(stepper: &Stepper<T>, of: &Owned<T>, len: usize, k: &mut [T]) {
    let (h, states) = (of.log_dt.len(), of.log_decay.len());
    let (mut state, mut line) = ([vec![T::ZERO; states], vec![T::ZERO; states]], vec![T::ZERO; h]);
    for t in 0..len {
        let impulse = vec![if t == 0 { T::ONE } else { T::ZERO }; h];
        stepper.step(&impulse, view_mut(&mut state), &mut line);
        for (c, y) in line.iter().enumerate() {
            let direct = of.skip.as_ref().filter(|_| t == 0).map_or(T::ZERO, |d| d[c]);
            k[c * len + t] = *y - direct;
        }
    }
}

/// Goes through the rows one by one: u, states, y.
fn steps<T: Real, S>(
    s4d: &S4d<'_, T>,
    (u, states, y): (&[S], &mut Two<T>, &mut [S]),
    step: impl Fn(&[S], ComplexMut<'_, T>, &mut [S]),
) {
    let (h, each) = (s4d.channels, s4d.channels * s4d.pairs);
    for (i, range) in s4d.sequences.iter().enumerate() {
        for row in range {
            let [re, im] = states.each_mut().map(|part| &mut part[i * each..(i + 1) * each]);
            step(&u[row * h..(row + 1) * h], ComplexMut { re, im }, &mut y[row * h..(row + 1) * h]);
        }
    }
}

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    let (shape, u) = request.get::<T>("u")?;
    let [b, h, l] = axes("u", &shape, "batch, channels, steps")?;
    let (shape, log_decay) = request.get::<T>("log_A_real")?;
    let [channels, n] = axes("log_A_real", &shape, "channels, pairs")?;
    if channels != h || h == 0 || n == 0 {
        return Err(format!("array \"log_A_real\" has shape {shape:?}, expected ({h}, pairs)"));
    }
    let rate = request.number("rate")?.unwrap_or(1.0);
    if rate <= 0.0 {
        return Err(format!("array \"rate\" is {rate}, expected a number above 0"));
    }
    let c = two(request, "C", &[h, n])?.ok_or("there is no array \"C_re\": it is needed")?;
    let owned = Owned {
        log_dt: request.exactly("log_dt", &[h])?,
        log_decay,
        frequency: request.exactly("A_imag", &[h, n])?,
        b: two(request, "B", &[h, n])?,
        c,
        skip: request.shaped("D", &[h])?,
        rate,
        rule: if request.number("bilinear")?.unwrap_or(0.0) != 0.0 { Rule::Bilinear } else { Rule::Zoh },
    };
    let bounds = request.bounds(b, b * l)?;
    let sequences = sequences(&bounds, b, l);
    let state = [sequences.count(), h, n];
    let initial = two::<T>(request, "initial_state", &state)?;
    let u = exchange(&u, h, l);
    let s4d = owned.s4d(sequences, n);
    let exact = owned.to::<f64>();
    let exactly = exact.s4d(sequences, n);
    let zeros = |len: usize| vec![T::ZERO; len];
    let (mut k, mut y) = (zeros(h * l), zeros(u.len()));
    let mut last: Two<T> = initial.clone().unwrap_or_else(|| [zeros(s4d.state_len()), zeros(s4d.state_len())]);
    match request.engine {
        Engine::Scan | Engine::Device => {
            s4d.kernel(l, &mut k);
            s4d.forward(&u, initial.as_ref().map(view), &mut y, Some(view_mut(&mut last)));
        }
        Engine::Half => {
            let of = owned.to::<f32>();
            let one = of.s4d(sequences, n);
            let mut bits = [k.len(), y.len()].map(|len| vec![0; len]);
            let mut states = last.each_ref().map(|v| single(v));
            one.kernel_bf16(l, &mut bits[0]);
            let first = initial.is_some().then(|| states.clone());
            one.forward_bf16(&halves(&u), first.as_ref().map(view), &mut bits[1], Some(view_mut(&mut states)));
            [k, y] = bits.map(from_halves);
            last = states.map(from_single);
        }
        Engine::Step => {
            let stepper = Stepper::new(&s4d);
            impulse(&stepper, &owned, l, &mut k);
            steps(&s4d, (&u, &mut last, &mut y), |u, states, y| stepper.step(u, states, y));
        }
        Engine::HalfStep => {
            let of = owned.to::<f32>();
            let one = of.s4d(sequences, n);
            let stepper = Stepper::new(&one);
            let (mut kernel, mut bits) = (vec![0f32; k.len()], vec![0; y.len()]);
            impulse(&stepper, &of, l, &mut kernel);
            let mut states = last.each_ref().map(|v| single(v));
            steps(&one, (&halves(&u), &mut states, &mut bits), |u, states, y| stepper.step_bf16(u, states, y));
            (k, y, last) = (from_halves(halves(&kernel)), from_halves(bits), states.map(from_single));
        }
        Engine::Reference => {
            k = narrow(reference::kernel(&exactly, l));
            let out = reference::forward(&exactly, &wide(&u), initial.as_ref().map(joined).as_deref());
            (y, last) = (narrow(out.y), parted(&out.last));
        }
    }
    let mut to = Arrays::default();
    to.push("K", array(&[h, l], k));
    to.push("y", array(&[b, h, l], exchange(&y, l, h)));
    push_two(&mut to, "final_state", &state, last);
    if !request.gradients {
        return Ok(to);
    }
    let dk = request.shaped::<T>("dK", &[h, l])?;
    let dy = request.shaped::<T>("dy", &[b, h, l])?.map(|dy| exchange(&dy, h, l));
    let dlast = two::<T>(request, "dfinal_state", &state)?;
    let pairs = || [zeros(h * n), zeros(h * n)];
    let (mut dt, mut decay, mut frequency, mut db, mut dc) = (zeros(h), zeros(h * n), zeros(h * n), pairs(), pairs());
    let parameters = |to: &mut Arrays, [dt, decay, frequency]: [Vec<T>; 3], db: Two<T>, dc: Two<T>| {
        to.push("g_log_dt", array(&[h], dt));
        to.push("g_log_A_real", array(&[h, n], decay));
        to.push("g_A_imag", array(&[h, n], frequency));
        push_two(to, "g_C", &[h, n], dc);
        if owned.b.is_some() {
            push_two(to, "g_B", &[h, n], db);
        }
    };
    let dy = match (dk, dy) {
        (Some(_), Some(_)) => return Err("arrays \"dK\" and \"dy\" are both there, expected one of them".into()),
        (None, None) => return Err("there is no array \"dy\": it or \"dK\" is needed".into()),
        (None, Some(dy)) => dy,
        (Some(dk), None) => {
            if request.engine.is_half() {
                let of = owned.to::<f32>();
                let mut slopes = Slopes::new(h, n, 0, 0);
                of.s4d(sequences, n).kernel_backward_bf16(l, &halves(&dk), slopes.places(None, false, false));
                ([dt, decay, frequency], db, dc) = slopes.parameters();
            } else {
                let gradients = Gradients {
                    log_dt: Some(&mut dt),
                    log_decay: Some(&mut decay),
                    frequency: Some(&mut frequency),
                    b: Some(view_mut(&mut db)),
                    c: Some(view_mut(&mut dc)),
                    ..Default::default()
                };
                s4d.kernel_backward(l, &dk, gradients);
            }
            parameters(&mut to, [dt, decay, frequency], db, dc);
            return Ok(to);
        }
    };
    let (mut du, mut dskip) = (zeros(u.len()), zeros(owned.skip.as_ref().map_or(0, Vec::len)));
    let mut dfirst = [zeros(s4d.state_len()), zeros(s4d.state_len())];
    if request.engine == Engine::Reference {
        let all = reference::backward(
            &exactly,
            &wide(&u),
            initial.as_ref().map(joined).as_deref(),
            &wide(&dy),
            dlast.as_ref().map(joined).as_deref(),
        );
        (du, dt, decay, frequency) = (narrow(all.u), narrow(all.log_dt), narrow(all.log_decay), narrow(all.frequency));
        (db, dc, dskip, dfirst) = (parted(&all.b), parted(&all.c), narrow(all.skip), parted(&all.initial));
    } else if request.engine.is_half() {
        let of = owned.to::<f32>();
        let mut bits = vec![0; du.len()];
        let mut slopes = Slopes::new(h, n, dskip.len(), s4d.state_len());
        let [first, dlast] = [&initial, &dlast].map(|states| states.as_ref().map(|states| states.each_ref().map(|v| single(v))));
        let to = slopes.places(Some(&mut bits), owned.skip.is_some(), true);
        let (u, dy) = (halves(&u), halves(&dy));
        of.s4d(sequences, n).backward_bf16(&u, first.as_ref().map(view), &dy, dlast.as_ref().map(view), to);
        du = from_halves(bits);
        (dskip, dfirst) = (from_single(slopes.skip.clone()), slopes.first.clone().map(from_single));
        ([dt, decay, frequency], db, dc) = slopes.parameters();
    } else {
        let gradients = Gradients {
            u: Some(&mut du),
            log_dt: Some(&mut dt),
            log_decay: Some(&mut decay),
            frequency: Some(&mut frequency),
            b: Some(view_mut(&mut db)),
            c: Some(view_mut(&mut dc)),
            skip: owned.skip.is_some().then_some(&mut dskip[..]),
            initial: Some(view_mut(&mut dfirst)),
        };
        s4d.backward(&u, initial.as_ref().map(view), &dy, dlast.as_ref().map(view), gradients);
    }
    to.push("g_u", array(&[b, h, l], exchange(&du, l, h)));
    parameters(&mut to, [dt, decay, frequency], db, dc);
    if owned.skip.is_some() {
        to.push("g_D", array(&[h], dskip));
    }
    push_two(&mut to, "g_initial_state", &state, dfirst);
    Ok(to)
}

/// Gradients in f32.
struct Slopes {
    /// Of the step sizes, decays and frequencies.
    real: [Vec<f32>; 3],
    b: Two<f32>,
    c: Two<f32>,
    skip: Vec<f32>,
    first: Two<f32>,
}

impl Slopes {
    fn new(h: usize, n: usize, skip: usize, states: usize) -> Self {
        let zeros = |len: usize| vec![0f32; len];
        let two = |len: usize| [zeros(len), zeros(len)];
        Self { real: [h, h * n, h * n].map(zeros), b: two(h * n), c: two(h * n), skip: zeros(skip), first: two(states) }
    }

    /// Where they go, with D's and those of the first states if wanted.
    fn places<'a, S>(&'a mut self, u: Option<&'a mut [S]>, skip: bool, first: bool) -> Gradients<'a, f32, S> {
        let [log_dt, log_decay, frequency] = &mut self.real;
        Gradients {
            u,
            log_dt: Some(log_dt),
            log_decay: Some(log_decay),
            frequency: Some(frequency),
            b: Some(view_mut(&mut self.b)),
            c: Some(view_mut(&mut self.c)),
            skip: skip.then_some(&mut self.skip[..]),
            initial: first.then_some(view_mut(&mut self.first)),
        }
    }

    /// Those of the step sizes, decays and frequencies, of B and of C.
    fn parameters<T: Real>(self) -> ([Vec<T>; 3], Two<T>, Two<T>) {
        (self.real.map(from_single), self.b.map(from_single), self.c.map(from_single))
    }
}

fn made_up(h: usize, n: usize) -> Owned<f32> {
    Owned {
        log_dt: wave(h, 1.0, -4.0),
        log_decay: vec![-std::f32::consts::LN_2; h * n],
        frequency: (0..h * n).map(|i| std::f32::consts::PI * (i % n) as f32).collect(),
        b: None,
        c: [wave(h * n, 1.0, 0.0), wave(h * n, 1.0, 0.3)],
        skip: Some(wave(h, 1.0, 0.0)),
        rate: 1.0,
        rule: Rule::Zoh,
    }
}

fn timing(size: SizeOf<'_>) -> Timing {
    let [b, h, l, n] = ["b", "h", "l", "n"].map(size);
    let sequences = Sequences::Equal { count: b, len: l };
    let (owned, u, mut y) = (made_up(h, n), wave(b * l * h, 1.0, 0.0), vec![0f32; b * l * h]);
    let forward = move || owned.s4d(sequences, n).forward(&u, None, &mut y, None);
    let (kept, u, mut du) = (made_up(h, n), wave(b * l * h, 1.0, 0.0), vec![0f32; b * l * h]);
    let mut slopes = Slopes::new(h, n, h, 0);
    let backward = move || {
        let to = Gradients { b: None, ..slopes.places(Some(&mut du), true, false) };
        kept.s4d(sequences, n).backward(&u, None, &u, None, to);
    };
    counted([b, h, l, n], 4.0, Box::new(forward), Box::new(backward))
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let [b, h, l, n] = ["b", "h", "l", "n"].map(size);
    let sequences = Sequences::Equal { count: b, len: l };
    let (owned, u, mut y) = (made_up(h, n), halves(&wave(b * l * h, 1.0, 0.0)), vec![0; b * l * h]);
    let forward = move || owned.s4d(sequences, n).forward_bf16(&u, None, &mut y, None);
    let (kept, u, mut du) = (made_up(h, n), halves(&wave(b * l * h, 1.0, 0.0)), vec![0; b * l * h]);
    let mut slopes = Slopes::new(h, n, h, 0);
    let backward = move || {
        let to = Gradients { b: None, ..slopes.places(Some(&mut du), true, false) };
        kept.s4d(sequences, n).backward_bf16(&u, None, &u, None, to);
    };
    counted([b, h, l, n], 2.0, Box::new(forward), Box::new(backward))
}

/// Numbers of `each` bytes. Operations are those of the scan; where the convolution is chosen it does fewer.
fn counted([b, h, l, n]: [usize; 4], each: f64, forward: Box<dyn FnMut()>, backward: Box<dyn FnMut()>) -> Timing {
    let (stream, states) = (each * (b * h * l) as f64, (b * h * l * n) as f64);
    Timing { forward, backward, bytes: [2.0 * stream, 3.0 * stream], flops: [10.0 * states, 29.0 * states] }
}
