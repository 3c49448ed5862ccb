//! The likelihood of a form as a function of one flat vector, and its derivatives by forward sensitivities.
//!
//! The criterion is L = n·ln Σ e² + 2 Σ ln μ (the second sum for multiplicative errors only, where e is relative), to be minimised.
//! Because L = n·ln Σ (e_t G)² with G the geometric mean of the forecasts, it is a nonlinear least-squares problem: besides the
//! gradient the sweep returns the Gauss–Newton matrix (2n/Σe²) J'J, J being the Jacobian of e_t G. That matrix makes the optimiser
//! of `estimate` converge in a handful of sweeps where a gradient method needs a hundred.
//!
//! Vector layout ([`Layout`]): α, β* = β/α, γ* = γ/(1-α), φ, l, b, s_0.. (those that the form has). In β* and γ* the usual
//! parameter region is a box (in the admissible region they are β and γ themselves). Level and season can be traded against each other without changing a forecast (add c to one, take it from the
//! other; multiply and divide): that freedom is removed by holding the level at a constant and freeing all m seasonal states. With a
//! multiplicative trend and an additive season no such trade exists; there the level is free and the seasonal states sum to 0.

use super::form::{ErrorKind, Form, SeasonKind, Trend};
use super::recursion::{Smoothing, State, by_kind, damped_power, filter};
use super::region::{Region, admissible};

/// Smallest and largest α.
pub(super) const ALPHA: (f64, f64) = (1e-4, 0.9999);
/// Smallest and largest φ.
pub(super) const PHI: (f64, f64) = (0.8, 0.98);

/// Where each quantity of a form sits in the flat vector.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub beta: Option<usize>,
    pub gamma: Option<usize>,
    pub phi: Option<usize>,
    pub level: Option<usize>,
    pub slope: Option<usize>,
    /// First seasonal state.
    pub season: usize,
    /// How many seasonal states are free.
    pub free_seasons: usize,
    /// Season length, 0 without a season.
    pub m: usize,
    /// Length of the vector.
    pub d: usize,
    /// The level where it is held.
    held_level: f64,
    region: Region,
}

impl Layout {
    pub fn new(form: Form, m: usize, region: Region) -> Layout {
        let mut d = 1;
        let mut take = |there: bool| {
            there.then(|| {
                d += 1;
                d - 1
            })
        };
        let trend = form.trend != Trend::None;
        let beta = take(trend);
        let gamma = take(form.seasonal());
        let phi = take(form.trend.damped());
        let summed = form.trend.multiplicative() && form.season == SeasonKind::Additive;
        let level = take(!form.seasonal() || summed);
        let slope = take(trend);
        let m = if form.seasonal() { m } else { 0 };
        let free_seasons = if summed { m.saturating_sub(1) } else { m };
        let held_level = if form.season == SeasonKind::Multiplicative { 1.0 } else { 0.0 };
        Layout { beta, gamma, phi, level, slope, season: d, free_seasons, m, d: d + free_seasons, held_level, region }
    }

    /// Whether the last seasonal state is minus the sum of the others.
    fn summed(&self) -> bool {
        self.free_seasons < self.m
    }

    /// The smoothing parameters in `x`.
    pub fn smoothing(&self, x: &[f64]) -> Smoothing {
        let at = |i: Option<usize>, or: f64| i.map_or(or, |i| x[i]);
        let alpha = x[0];
        let (beta_unit, gamma_unit) = self.units(alpha);
        Smoothing { alpha, beta: beta_unit * at(self.beta, 0.0), gamma: gamma_unit * at(self.gamma, 0.0), phi: at(self.phi, 1.0) }
    }

    /// What β and γ are multiples of: α and 1 - α, or 1 in the admissible region.
    fn units(&self, alpha: f64) -> (f64, f64) {
        match self.region {
            Region::Usual => (alpha, 1.0 - alpha),
            Region::Admissible => (1.0, 1.0),
        }
    }

    /// Writes the initial state in `x` to `state`.
    pub fn read_state(&self, x: &[f64], state: &mut State) {
        state.level = self.level.map_or(self.held_level, |i| x[i]);
        state.slope = self.slope.map_or(0.0, |i| x[i]);
        state.season.clear();
        state.season.extend_from_slice(&x[self.season..self.season + self.free_seasons]);
        if self.summed() {
            let rest = -state.season.iter().sum::<f64>();
            state.season.push(rest);
        }
    }

    /// The vector of given smoothing parameters and states, the freedom between level and season used to meet the layout's rule.
    pub fn pack(&self, form: Form, p: Smoothing, state: &State) -> Vec<f64> {
        let mut x = vec![0.0; self.d];
        x[0] = p.alpha;
        let mut put = |i: Option<usize>, v: f64| {
            if let Some(i) = i {
                x[i] = v;
            }
        };
        let (beta_unit, gamma_unit) = self.units(p.alpha);
        put(self.beta, if beta_unit > 0.0 { (p.beta / beta_unit).clamp(0.0, 1.0) } else { 0.0 });
        put(self.gamma, if gamma_unit > 0.0 { (p.gamma / gamma_unit).clamp(0.0, 1.0) } else { 0.0 });
        put(self.phi, p.phi);
        put(self.level, state.level);
        let scale = if form.season == SeasonKind::Multiplicative && !form.trend.multiplicative() { state.level } else { 1.0 };
        put(self.slope, state.slope / scale);
        let seasons = &mut x[self.season..];
        for (v, &s) in seasons.iter_mut().zip(&state.season) {
            *v = match form.season {
                SeasonKind::Multiplicative => s * state.level,
                _ if self.level.is_none() => s + state.level,
                _ => s,
            };
        }
        x
    }

    /// Moves β and γ into the usual region.
    pub fn make_usual(&self, x: &mut [f64]) {
        if self.region == Region::Admissible {
            let alpha = x[0];
            for (at, most) in [(self.beta, alpha), (self.gamma, 1.0 - alpha)] {
                if let Some(i) = at {
                    x[i] = x[i].min(most);
                }
            }
        }
    }

    /// The entry of the vector for β = α.
    pub fn largest_beta(&self, alpha: f64) -> f64 {
        if self.region == Region::Usual { 1.0 } else { alpha }
    }

    /// The box: α, β*, γ*, φ in their ranges, a growth factor positive, other states free.
    pub fn bounds(&self, form: Form) -> (Vec<f64>, Vec<f64>) {
        let (mut lo, mut hi) = (vec![f64::NEG_INFINITY; self.d], vec![f64::INFINITY; self.d]);
        (lo[0], hi[0]) = ALPHA;
        for i in [self.beta, self.gamma].into_iter().flatten() {
            (lo[i], hi[i]) = (0.0, if self.region == Region::Usual { 1.0 } else { ALPHA.1 });
        }
        if let Some(i) = self.phi {
            (lo[i], hi[i]) = PHI;
        }
        if let (true, Some(i)) = (form.trend.multiplicative(), self.slope) {
            lo[i] = 1e-3;
        }
        (lo, hi)
    }
}

/// Sum of squares below which a fit counts as perfect, per observation and squared, and the mean log of the data for relative errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    /// Smallest root mean square of an error in data units.
    pub rms: f64,
    /// Mean of ln y (0 where the data are not positive).
    pub mean_log: f64,
}

/// One series and one form: everything that the criterion depends on besides the vector.
#[derive(Debug, Clone)]
pub(super) struct Problem<'a> {
    pub y: &'a [f64],
    pub form: Form,
    pub layout: Layout,
    pub floor: Floor,
    /// Whether points outside the admissible region count as infinitely unlikely. The test is costly and rarely needed.
    pub guarded: bool,
}

/// Scratch memory of the sweeps, reused across forms.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    state: Option<State>,
    /// Sensitivities of level, slope and forecast, (d) each.
    dl: Vec<f64>,
    db: Vec<f64>,
    /// Of the seasonal states, (m, d).
    ds: Vec<f64>,
    /// Rows dμ_t, (n, d); then the weighted Jacobian.
    rows: Vec<f64>,
    mu: Vec<f64>,
}

/// The criterion with its derivatives at one point.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// L.
    pub value: f64,
    /// Gradient (d).
    pub gradient: Vec<f64>,
    /// Gauss–Newton matrix (d, stride): the upper triangle of row i starts at i * stride + i.
    pub hessian: Vec<f64>,
    /// Row length of `hessian`: d rounded up to a multiple of 4.
    pub stride: usize,
}

impl Model {
    /// Row `i` of the matrix times `v` (d).
    pub fn row_times(&self, i: usize, v: &[f64]) -> f64 {
        let below: f64 = (0..i).map(|j| self.hessian[j * self.stride + i] * v[j]).sum();
        let above: f64 = self.hessian[i * self.stride + i..].iter().zip(&v[i..]).map(|(h, v)| h * v).sum();
        below + above
    }

    /// The largest descent that moving one variable alone promises, within its bounds; `extra` is added to the matrix.
    pub fn best_single(&self, extra: Option<&[f64]>, x: &[f64], lo: &[f64], hi: &[f64]) -> f64 {
        let mut best = 0.0f64;
        for (i, &g) in self.gradient.iter().enumerate() {
            let at = i * self.stride + i;
            let h = self.hessian[at] + extra.map_or(0.0, |a| a[at]);
            let newton = if h > 0.0 { -g / h } else { -g };
            let step = (x[i] + newton).clamp(lo[i], hi[i]) - x[i];
            best = best.max(-step * (g + 0.5 * h * step));
        }
        best
    }
}

/// Sums logarithms with one `ln` per many factors: a running product, cashed in before it can overflow.
struct LogSum {
    product: f64,
    sum: f64,
}

impl LogSum {
    fn new() -> Self {
        LogSum { product: 1.0, sum: 0.0 }
    }

    #[inline(always)]
    fn add(&mut self, factor: f64) {
        self.product *= factor;
        if !(1e-120..=1e120).contains(&self.product) {
            // A single factor outside the window may leave it far outside; both factors are positive and finite.
            self.sum += self.product.ln();
            self.product = 1.0;
        }
    }

    fn total(&self) -> f64 {
        self.sum + self.product.ln()
    }
}

impl Problem<'_> {
    /// L at `x`; infinity where the form is undefined.
    pub fn value(&self, x: &[f64], ws: &mut Workspace) -> f64 {
        let p = self.layout.smoothing(x);
        if self.guarded && !admissible(self.form, p, self.layout.m) {
            return f64::INFINITY;
        }
        let state = ws.state.get_or_insert_with(|| State { level: 0.0, slope: 0.0, season: Vec::new() });
        self.layout.read_state(x, state);
        let (form, y) = (self.form, self.y);
        let (squares, logs) = if form.error == ErrorKind::Additive {
            (by_kind!(form, additive_squares, y, p, state), 0.0)
        } else {
            by_kind!(form, relative_squares, y, p, state)
        };
        self.criterion(squares, logs)
    }

    /// L from the sum of squares and Σ ln μ.
    fn criterion(&self, squares: f64, logs: f64) -> f64 {
        let n = self.y.len() as f64;
        if squares.is_nan() || squares == f64::INFINITY {
            return f64::INFINITY;
        }
        let floor = self.least_squares();
        if squares <= floor {
            let logs = if self.form.error == ErrorKind::Multiplicative { n * self.floor.mean_log } else { 0.0 };
            return n * floor.ln() + 2.0 * logs;
        }
        n * squares.ln() + 2.0 * logs
    }

    /// The sum of squares at and below which the fit is perfect for the arithmetic.
    pub fn least_squares(&self) -> f64 {
        let n = self.y.len() as f64;
        let rms = match self.form.error {
            ErrorKind::Additive => self.floor.rms,
            ErrorKind::Multiplicative => self.floor.rms / self.floor.mean_log.exp(),
        };
        n * rms * rms
    }

    /// L, its gradient and its Gauss–Newton matrix at `x`. Returns false where the form is undefined (`model` is then meaningless).
    /// Cost: O(n d) for the sensitivities and n d²/2 multiplications for the matrix.
    pub fn model(&self, x: &[f64], ws: &mut Workspace, model: &mut Model) -> bool {
        let (n, d) = (self.y.len(), self.layout.d);
        let stride = d.next_multiple_of(4);
        let form = self.form;
        if !by_kind!(form, sensitivities, self, x, ws, stride) {
            return false;
        }
        model.stride = stride;
        let gradient = &mut model.gradient;
        gradient.clear();
        gradient.resize(stride, 0.0);
        model.hessian.clear();
        model.hessian.resize(stride * stride, 0.0);
        let hessian = &mut model.hessian;
        let mut squares = 0.0;
        let count = n as f64;
        match form.error {
            ErrorKind::Additive => {
                for (t, row) in ws.rows.chunks_exact(stride).enumerate() {
                    let e = self.y[t] - ws.mu[t];
                    squares += e * e;
                    gradient.iter_mut().zip(row).for_each(|(g, v)| *g -= e * v);
                }
                accumulate(&ws.rows, stride, hessian);
                model.value = self.criterion(squares, 0.0);
                if squares <= self.least_squares() {
                    gradient.fill(0.0);
                    gradient.truncate(d);
                    return true;
                }
                let scale = 2.0 * count / squares;
                gradient.iter_mut().for_each(|g| *g *= scale);
                hessian.iter_mut().for_each(|h| *h *= scale);
            }
            ErrorKind::Multiplicative => {
                // e = y/μ - 1: de = -(1 + e) dμ/μ. With u = mean dμ/μ the Jacobian of e·G is (de + e u)·G.
                let u = &mut ws.dl;
                u.fill(0.0);
                let mut logs = LogSum::new();
                for (t, row) in ws.rows.chunks_exact_mut(stride).enumerate() {
                    let mu = ws.mu[t];
                    let inverse = 1.0 / mu;
                    let e = (self.y[t] - mu) * inverse;
                    squares += e * e;
                    logs.add(mu);
                    let w = (1.0 + e) * inverse;
                    for ((v, u), g) in row.iter_mut().zip(u.iter_mut()).zip(gradient.iter_mut()) {
                        *u += inverse * *v;
                        *v *= -w;
                        *g += e * *v;
                    }
                }
                model.value = self.criterion(squares, logs.total());
                u.iter_mut().for_each(|u| *u /= count);
                accumulate(&ws.rows, stride, hessian);
                if squares <= self.least_squares() {
                    gradient.fill(0.0);
                    gradient.truncate(d);
                    return true;
                }
                let scale = 2.0 * count / squares;
                for i in 0..d {
                    for j in i..d {
                        let h = &mut hessian[i * stride + j];
                        *h = scale * (*h + gradient[i] * u[j] + u[i] * gradient[j] + squares * u[i] * u[j]);
                    }
                }
                for (g, u) in gradient.iter_mut().zip(u.iter()) {
                    *g = scale * *g + 2.0 * count * u;
                }
            }
        }
        gradient.truncate(d);
        model.value.is_finite() && gradient.iter().all(|g| g.is_finite())
    }
}

fn additive_squares<const T: u8, const S: u8>(y: &[f64], p: Smoothing, state: &mut State) -> f64 {
    let mut squares = 0.0;
    let fine = filter::<T, S>(y, p, state, 0, |t, mu| {
        let e = y[t] - mu;
        squares += e * e;
        true
    });
    if fine { squares } else { f64::INFINITY }
}

fn relative_squares<const T: u8, const S: u8>(y: &[f64], p: Smoothing, state: &mut State) -> (f64, f64) {
    let mut squares = 0.0;
    let mut logs = LogSum::new();
    let fine = filter::<T, S>(y, p, state, 0, |t, mu| {
        if mu.is_nan() || mu <= 0.0 {
            return false;
        }
        let e = (y[t] - mu) / mu;
        squares += e * e;
        logs.add(mu);
        true
    });
    if fine { (squares, logs.total()) } else { (f64::INFINITY, 0.0) }
}

/// Runs the recursion with the derivatives of every state by every entry of `x`; fills `ws.mu` and `ws.rows`.
fn sensitivities<const T: u8, const S: u8>(problem: &Problem, x: &[f64], ws: &mut Workspace, stride: usize) -> bool {
    let lay = &problem.layout;
    let Smoothing { alpha, beta, gamma, phi } = lay.smoothing(x);
    // How β and γ move with α.
    let usual = lay.region == Region::Usual;
    let beta_star = lay.beta.filter(|_| usual).map_or(0.0, |i| x[i]);
    let gamma_star = lay.gamma.filter(|_| usual).map_or(0.0, |i| x[i]);
    let (beta_unit, gamma_unit) = lay.units(alpha);
    let state = ws.state.get_or_insert_with(|| State { level: 0.0, slope: 0.0, season: Vec::new() });
    lay.read_state(x, state);
    let (mut l, mut b) = (state.level, state.slope);
    for v in [&mut ws.dl, &mut ws.db] {
        v.clear();
        v.resize(stride, 0.0);
    }
    ws.ds.clear();
    ws.ds.resize(stride * lay.m.max(1), 0.0);
    if let Some(i) = lay.level {
        ws.dl[i] = 1.0;
    }
    if let Some(i) = lay.slope {
        ws.db[i] = 1.0;
    }
    for i in 0..lay.free_seasons {
        ws.ds[i * stride + lay.season + i] = 1.0;
        if lay.summed() {
            ws.ds[(lay.m - 1) * stride + lay.season + i] = -1.0;
        }
    }
    // Every entry is written below.
    ws.rows.resize(problem.y.len() * stride, 0.0);
    ws.mu.clear();
    let positive = problem.form.error == ErrorKind::Multiplicative;
    let (dl, db) = (&mut ws.dl[..stride], &mut ws.db[..stride]);
    let mut i = 0;
    for (&y, row) in problem.y.iter().zip(ws.rows.chunks_exact_mut(stride)) {
        if T == 2 && !(l > 0.0 && b > 0.0) {
            return false;
        }
        // q and its derivatives by l, b and φ; growth is φb or b^φ.
        let growth = if T == 2 { damped_power(b, phi) } else { phi * b };
        let (q, q_l, q_b, q_phi, growth_b, growth_phi) = match T {
            0 => (l, 1.0, 0.0, 0.0, 0.0, 0.0),
            1 => (l + growth, 1.0, phi, b, phi, b),
            _ => {
                let (growth_b, growth_phi) = (phi * growth / b, growth * b.ln());
                (l * growth, growth, l * growth_b, l * growth_phi, growth_b, growth_phi)
            }
        };
        let s = if S == 0 { 0.0 } else { state.season[i] };
        if S == 2 && !(q > 0.0 && s > 0.0) {
            return false;
        }
        // μ by q and s; the surprise by s; the seasonal surprise by q (each by the other one is ∓1).
        let (mu, mu_q, mu_s, surprise, surprise_s, seasonal, seasonal_q) = match S {
            0 => (q, 1.0, 0.0, y - q, 0.0, 0.0, 0.0),
            1 => (q + s, 1.0, 1.0, y - q - s, -1.0, y - q - s, -1.0),
            _ => {
                let (by_s, by_q) = (1.0 / s, 1.0 / q);
                (q * s, s, q, y * by_s - q, -y * by_s * by_s, y * by_q - s, -y * by_q * by_q)
            }
        };
        if !mu.is_finite() || (positive && mu <= 0.0) {
            return false;
        }
        ws.mu.push(mu);
        let (b_d, b_l) = if T == 2 { (beta / l, -beta * surprise / (l * l)) } else { (beta, 0.0) };
        let ds = &mut ws.ds[i * stride..(i + 1) * stride];
        for j in 0..stride {
            let (vl, vb, vs) = (dl[j], db[j], ds[j]);
            let vq = match T {
                0 => vl,
                1 => vl + q_b * vb,
                _ => q_l * vl + q_b * vb,
            };
            row[j] = if S == 0 { vq } else { mu_q * vq + mu_s * vs };
            let vd = if S == 0 { -vq } else { surprise_s * vs - vq };
            dl[j] = vq + alpha * vd;
            if T == 1 {
                db[j] = growth_b * vb + b_d * vd;
            } else if T == 2 {
                db[j] = growth_b * vb + b_d * vd + b_l * vl;
            }
            if S != 0 {
                ds[j] = vs + gamma * (seasonal_q * vq - vs);
            }
        }
        // What the parameters do directly.
        let per_level = if T == 2 { surprise / l } else { surprise };
        dl[0] += surprise;
        if T != 0 {
            db[0] += beta_star * per_level;
            if let Some(j) = lay.beta {
                db[j] += beta_unit * per_level;
            }
            if let Some(j) = lay.phi {
                row[j] += mu_q * q_phi;
                dl[j] += q_phi - alpha * q_phi;
                db[j] += growth_phi - b_d * q_phi;
                ds[j] += gamma * seasonal_q * q_phi;
            }
        }
        if S != 0 {
            ds[0] -= gamma_star * seasonal;
            if let Some(j) = lay.gamma {
                ds[j] += gamma_unit * seasonal;
            }
            state.season[i] = s + gamma * seasonal;
            i = if i + 1 == lay.m { 0 } else { i + 1 };
        }
        b = match T {
            0 => b,
            1 => growth + beta * surprise,
            _ => growth + beta * per_level,
        };
        l = q + alpha * surprise;
    }
    true
}

/// Adds rows'·rows to the upper triangle of `g` (stride, stride), in tiles of 4 by 4 that stay in registers while up to 128 rows pass.
/// The order of additions is fixed. `stride` is a multiple of 4; a tile on the diagonal is filled whole.
fn accumulate(rows: &[f64], stride: usize, g: &mut [f64]) {
    let width = stride / 4;
    let (rows, _) = rows.as_chunks::<4>();
    let (g, _) = g.as_chunks_mut::<4>();
    for block in rows.chunks(128 * width.max(1)) {
        for i in 0..width {
            for j in i..width {
                let mut tile = [[0.0; 4]; 4];
                for row in block.chunks_exact(width) {
                    let (a, b) = (&row[i], &row[j]);
                    for (line, a) in tile.iter_mut().zip(a) {
                        for (t, b) in line.iter_mut().zip(b) {
                            *t += a * b;
                        }
                    }
                }
                for (r, line) in tile.iter().enumerate() {
                    let out = &mut g[(4 * i + r) * width + j];
                    out.iter_mut().zip(line).for_each(|(o, t)| *o += t);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Vec<f64> {
        (0..40).map(|t| 1.0 + 0.02 * t as f64 + 0.2 * (t as f64 * 1.57).sin() + 0.05 * ((t * t) as f64).sin()).collect()
    }

    fn problem<'a>(y: &'a [f64], form: Form, m: usize, region: Region) -> Problem<'a> {
        Problem { y, form, layout: Layout::new(form, m, region), floor: Floor { rms: 1e-12, mean_log: 0.0 }, guarded: false }
    }

    /// A point inside the region of `form`, season length 4.
    fn point(p: &Problem) -> Vec<f64> {
        let multiplicative_trend = p.form.trend.multiplicative();
        let slope = match p.form.trend {
            Trend::None => 0.0,
            _ if multiplicative_trend => 1.02,
            _ => 0.03,
        };
        let season = match p.form.season {
            SeasonKind::None => vec![],
            SeasonKind::Additive => vec![0.15, 0.1, -0.2, -0.05],
            SeasonKind::Multiplicative => vec![1.15, 1.1, 0.8, 0.95],
        };
        let smoothing = Smoothing { alpha: 0.3, beta: 0.06, gamma: 0.14, phi: 0.9 };
        p.layout.pack(p.form, smoothing, &State { level: 0.9, slope, season })
    }

    #[test]
    fn the_gradient_of_every_form_is_the_slope_of_the_value() {
        let y = series();
        let mut ws = Workspace::default();
        for (form, region) in Form::all().flat_map(|f| [(f, Region::Usual), (f, Region::Admissible)]) {
            let p = problem(&y, form, 4, region);
            assert_eq!(p.layout.d + 1, form.parameters(4), "{form}");
            let x = point(&p);
            let mut model = Model::default();
            assert!(p.model(&x, &mut ws, &mut model), "{form}");
            assert!((model.value - p.value(&x, &mut ws)).abs() < 1e-10, "{form}");
            for i in 0..x.len() {
                let mut probe = |h: f64| {
                    let mut z = x.clone();
                    z[i] += h;
                    p.value(&z, &mut ws)
                };
                // Fourth-order difference, h = 1e-4: truncation and rounding both near 1e-10 relative.
                let h = 1e-4;
                let slope = (8.0 * (probe(h) - probe(-h)) - (probe(2.0 * h) - probe(-2.0 * h))) / (12.0 * h);
                assert!(
                    (slope - model.gradient[i]).abs() < 1e-6 * (1.0 + slope.abs()),
                    "{form} {i}: {slope} {}",
                    model.gradient[i]
                );
            }
        }
    }

    #[test]
    fn the_matrix_is_the_curvature_where_the_errors_are_small() {
        // Data from the model itself with tiny errors: the Gauss-Newton matrix times Σe² is then J'J, checked by differences.
        let y = series();
        let mut ws = Workspace::default();
        for form in ["MAdM", "MAdA", "AAdM"] {
            let form: Form = form.parse().unwrap();
            let p = problem(&y, form, 4, Region::Usual);
            let x = point(&p);
            let mut state = State { level: 0.0, slope: 0.0, season: vec![] };
            let mut scaled_errors = |x: &[f64]| {
                p.layout.read_state(x, &mut state);
                let mu = super::super::recursion::one_step(form, &y, p.layout.smoothing(x), &mut state, true).unwrap();
                let g = (mu.iter().map(|m| m.ln()).sum::<f64>() / 40.0).exp();
                let relative = form.error == ErrorKind::Multiplicative;
                let f = |(m, y): (&f64, &f64)| if relative { (y / m - 1.0) * g } else { y - m };
                mu.iter().zip(&y).map(f).collect::<Vec<f64>>()
            };
            let columns: Vec<Vec<f64>> = (0..x.len())
                .map(|i| {
                    let mut at = |h: f64| {
                        let mut z = x.clone();
                        z[i] += h;
                        scaled_errors(&z)
                    };
                    at(1e-6).iter().zip(at(-1e-6)).map(|(a, b)| (a - b) / 2e-6).collect()
                })
                .collect();
            let squares: f64 = scaled_errors(&x).iter().map(|e| e * e).sum();
            let mut model = Model::default();
            assert!(p.model(&x, &mut ws, &mut model));
            for i in 0..x.len() {
                for j in i..x.len() {
                    let want = 80.0 / squares * columns[i].iter().zip(&columns[j]).map(|(a, b)| a * b).sum::<f64>();
                    let got = model.hessian[i * model.stride + j];
                    // Central differences with step 1e-6 are good to about 1e-9 of the largest column.
                    assert!((want - got).abs() < 1e-6 * (1.0 + want.abs()), "{form} {i},{j}: {want} {got}");
                }
            }
        }
    }

    #[test]
    fn a_forecast_that_is_not_positive_is_infinitely_unlikely() {
        let y = series();
        let p = problem(&y, "MAN".parse().unwrap(), 1, Region::Usual);
        let mut x = point(&p);
        let mut ws = Workspace::default();
        x[p.layout.slope.unwrap()] = -5.0;
        assert_eq!(p.value(&x, &mut ws), f64::INFINITY);
        assert!(!p.model(&x, &mut ws, &mut Model::default()));
    }

    #[test]
    fn the_running_product_equals_the_sum_of_logarithms() {
        let factors: Vec<f64> = (0..300).map(|i| 10f64.powi((i * 37) % 113 - 56) * (1.0 + i as f64 / 300.0)).collect();
        let mut sum = LogSum::new();
        factors.iter().for_each(|&f| sum.add(f));
        let want: f64 = factors.iter().map(|f| f.ln()).sum();
        // 300 products, each rounded to 1.1e-16 relative, and a few logarithms of size 300.
        assert!((sum.total() - want).abs() < 1e-10, "{} {want}", sum.total());
    }
}
