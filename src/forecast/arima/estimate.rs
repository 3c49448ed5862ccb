//! Maximum likelihood for one order: series preparation, the concentrated objective with its gradient, starts and polish.

use super::css::{Css, hannan_rissanen};
use super::difference::difference;
use super::order::Order;
use super::polynomial::{Layout, Region};
use super::schur::Schur;
use crate::forecast::optimize::{Minimum, Stop, bfgs};

/// A differenced series made ready: scaled by a power of two near its spread (so that scaling the data by one changes nothing).
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Differenced and scaled, shape (n).
    pub(super) plain: Vec<f64>,
    /// The same less its mean: what models with a constant are fitted to.
    pub(super) centred: Vec<f64>,
    /// That mean, in scaled units.
    pub(super) mean: f64,
    /// `plain * scale` is the differenced series.
    pub(super) scale: f64,
    /// Variance of rounding noise in `plain`: no fit can be better than that.
    pub(super) floor: f64,
}

impl Series {
    pub(super) fn new(y: &[f64], order: &Order) -> Self {
        let w = difference(y, order);
        let n = w.len().max(1) as f64;
        let flat = rounding(y, order);
        let mean = w.iter().map(|v| v / n).sum::<f64>();
        let largest = |c: f64| w.iter().fold(0.0f64, |m, v| m.max((v - c).abs()));
        let spread = largest(mean);
        let reference = if spread > flat { spread } else { largest(0.0) };
        // Half of the largest deviation is near enough to a standard deviation.
        let scale = if reference > 0.0 { 2.0f64.powi((reference.log2().floor() as i32 - 1).clamp(-1000, 1000)) } else { 1.0 };
        let plain: Vec<f64> = w.iter().map(|v| v / scale).collect();
        let mean = mean / scale;
        let centred = plain.iter().map(|v| v - mean).collect();
        Self { plain, centred, mean, scale, floor: (flat / scale).powi(2) }
    }

    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }

    /// What a model with or without a constant is fitted to.
    pub(super) fn of(&self, constant: bool) -> &[f64] {
        if constant { &self.centred } else { &self.plain }
    }

    /// Whether nothing but rounding noise is left, around the mean or around zero.
    pub(super) fn is_exact(&self, constant: bool) -> bool {
        let bound = self.floor.sqrt();
        self.of(constant).iter().all(|v| v.abs() <= bound)
    }
}

/// Size of the rounding error in the differenced values of `y`.
pub(super) fn rounding(y: &[f64], order: &Order) -> f64 {
    let largest = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let grown = 2.0f64.powi((order.d + order.seasonal_d).min(60) as i32);
    4.0 * f64::EPSILON * largest * grown
}

/// One model class on one series: which order, with a constant or not, and the admissible region.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) layout: Layout,
    pub(super) constant: bool,
    pub(super) region: Region,
}

impl Model {
    /// Estimated parameters, innovation variance included.
    pub(super) fn parameters(&self) -> usize {
        self.layout.count() + usize::from(self.constant) + 1
    }
}

/// A point of a model class.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// In the region's box.
    pub(super) x: Vec<f64>,
    /// ½ (n ln(Σ v²/F / n) + Σ ln F): the negative log-likelihood less its constants.
    pub(super) f: f64,
    /// Whether the optimiser met its stopping test.
    pub(super) converged: bool,
}

/// Accuracy for comparing orders: the likelihood to about 1e-4.
pub(super) const COARSE: Stop = Stop { max_iter: 60, grad_tol: 2e-4, f_tol: 1e-8 };
/// A first look at a candidate.
pub(super) const ROUGH: Stop = Stop { max_iter: 10, grad_tol: 2e-4, f_tol: 1e-7 };
/// Accuracy of what is reported: the likelihood to about 1e-10.
pub(super) const FINE: Stop = Stop { max_iter: 500, grad_tol: 1e-8, f_tol: 1e-14 };

/// Evaluation buffers, reused over all models of a series.
#[derive(Debug, Default)]
pub(super) struct Estimator {
    schur: Schur,
    css: Css,
    coef: Vec<f64>,
    coef_bar: Vec<f64>,
    /// Likelihood gradients computed so far: the unit of cost.
    pub(super) evaluations: usize,
}

impl Estimator {
    /// The objective of [`Point::f`] and its gradient by `x`.
    fn objective(&mut self, model: &Model, series: &Series, x: &[f64], grad: &mut [f64]) -> f64 {
        self.evaluations += 1;
        let (w, n) = (series.of(model.constant), series.len() as f64);
        self.coef.resize(x.len(), 0.0);
        self.coef_bar.resize(x.len(), 0.0);
        model.region.coefficients(&model.layout, x, &mut self.coef);
        let Some(totals) = self.schur.value(&model.layout, &self.coef, w, model.constant) else {
            return f64::INFINITY;
        };
        // The floor keeps a perfect fit from sending the logarithm to minus infinity.
        let sum_sq = totals.sum_sq + n * series.floor;
        if sum_sq <= 0.0 {
            return f64::INFINITY;
        }
        self.schur.gradient(&model.layout, &self.coef, (w, totals), (0.5 * n / sum_sq, 0.5), &mut self.coef_bar);
        model.region.pull_back(&model.layout, x, &self.coef_bar, grad);
        0.5 * (n * (sum_sq / n).ln() + totals.log_det)
    }

    /// The objective alone at `x`.
    pub(super) fn value(&mut self, model: &Model, series: &Series, x: &[f64]) -> f64 {
        let (w, n) = (series.of(model.constant), series.len() as f64);
        self.coef.resize(x.len(), 0.0);
        model.region.coefficients(&model.layout, x, &mut self.coef);
        match self.schur.value(&model.layout, &self.coef, w, model.constant) {
            Some(t) => 0.5 * (n * (t.sum_sq / n + series.floor).ln() + t.log_det),
            None => f64::INFINITY,
        }
    }

    /// Minimises the exact objective from `x`.
    pub(super) fn descend(&mut self, model: &Model, series: &Series, x: &[f64], stop: Stop) -> Point {
        let hi = model.region.bounds(&model.layout);
        let lo: Vec<f64> = hi.iter().map(|v| -v).collect();
        let m = bfgs(|x, g| self.objective(model, series, x, g), x, &lo, &hi, stop);
        Point { x: m.x, f: m.f, converged: m.converged }
    }

    /// Minimises the conditional sum of squares from `x`: n/2 ln of its mean square.
    fn descend_css(&mut self, model: &Model, series: &Series, x: &[f64]) -> Minimum {
        let (w, n) = (series.of(model.constant), series.len() as f64);
        let hi: Vec<f64> = model.region.bounds(&model.layout).iter().map(|v| v.min(0.999)).collect();
        let lo: Vec<f64> = hi.iter().map(|v| -v).collect();
        let (mut coef, mut coef_bar) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let objective = |x: &[f64], g: &mut [f64]| {
            model.region.coefficients(&model.layout, x, &mut coef);
            let mean = self.css.value_and_gradient(&model.layout, &coef, w, &mut coef_bar) + series.floor;
            coef_bar.iter_mut().for_each(|b| *b *= 0.5 * n / mean);
            model.region.pull_back(&model.layout, x, &coef_bar, g);
            if mean > 0.0 { 0.5 * n * mean.ln() } else { f64::INFINITY }
        };
        bfgs(objective, x, &lo, &hi, Stop { max_iter: 40, grad_tol: 1e-3, f_tol: 1e-7 })
    }

    /// A start by least squares: the better of the descents from Hannan–Rissanen and from `others`.
    pub(super) fn css_start(&mut self, model: &Model, series: &Series, others: &[&[f64]]) -> Minimum {
        let mut starts: Vec<Vec<f64>> = others.iter().map(|x| x.to_vec()).collect();
        if let Some(coef) = hannan_rissanen(&model.layout, series.of(model.constant)) {
            starts.push(model.region.point(&model.layout, &coef));
        }
        starts.push(vec![0.0; model.layout.count()]);
        let mut best: Option<Minimum> = None;
        for x in starts {
            let m = self.descend_css(model, series, &x);
            if best.as_ref().is_none_or(|b| m.f < b.f) {
                best = Some(m);
            }
        }
        best.unwrap_or(Minimum { x: vec![0.0; model.layout.count()], f: f64::INFINITY, converged: false, iterations: 0 })
    }

    /// The maximum-likelihood point to the accuracy of a comparison of orders: descents from the least-squares start, from `starts`, and from a few
    /// fixed points. [`Estimator::polish`] does the rest.
    pub(super) fn maximise(&mut self, model: &Model, series: &Series, starts: &[Vec<f64>], keep: usize) -> Point {
        let count = model.layout.count();
        let mut seeds: Vec<Vec<f64>> = starts.to_vec();
        seeds.push(self.css_start(model, series, &[]).x);
        seeds.push(vec![0.0; count]);
        if count > 1 {
            // AR and MA parts of opposite and of equal sign: on both sides of the ridge on which they cancel.
            for (ar, ma) in [(0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.3, -0.8)] {
                let mut x = vec![0.0; count];
                for ((start, len, _, sign), value) in model.layout.blocks().into_iter().zip([ar, ma, ar, ma]) {
                    if len > 0 {
                        x[start] = sign * value;
                    }
                }
                seeds.push(x);
            }
        }
        // A short descent from everywhere, a longer one from the best.
        let mut rough: Vec<Point> = seeds.iter().map(|x| self.descend(model, series, x, ROUGH)).collect();
        rough.sort_by(|a, b| a.f.total_cmp(&b.f));
        let mut best: Option<Point> = None;
        for start in rough.iter().take(keep) {
            let point = self.descend(model, series, &start.x, COARSE);
            if best.as_ref().is_none_or(|b| point.f < b.f) {
                best = Some(point);
            }
        }
        best.unwrap_or(Point { x: vec![0.0; count], f: f64::INFINITY, converged: false })
    }

    /// Descends from a point near the optimum to its last digits.
    pub(super) fn polish(&mut self, model: &Model, series: &Series, point: Point) -> Point {
        let fine = self.descend(model, series, &point.x, FINE);
        if fine.f <= point.f { fine } else { point }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kalman;
    use super::*;

    fn series() -> (Series, Order) {
        let y: Vec<f64> = (0..90).map(|t| 40.0 + (t as f64 * 1.7).sin() * 5.0 + ((t * t) % 23) as f64 + 0.2 * t as f64).collect();
        let order: Order = "1,1,1,0,0,1,4".parse().unwrap();
        (Series::new(&y, &order), order)
    }

    #[test]
    fn scale_is_a_power_of_two_and_the_parts_agree() {
        let (s, _) = series();
        assert_eq!(s.scale.log2().fract(), 0.0);
        let size = s.plain.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!((1.0..16.0).contains(&size), "{size}");
        assert!(s.plain.iter().zip(&s.centred).all(|(p, c)| (p - c - s.mean).abs() < 1e-15));
        assert!(!s.is_exact(true) && s.floor < 1e-25);
    }

    #[test]
    fn objective_is_the_likelihood_and_its_gradient_fits() {
        let (s, order) = series();
        let layout = Layout::new(&order);
        for constant in [false, true] {
            let region = Region::with_min_root(&layout, 1.01);
            let model = Model { layout: layout.clone(), constant, region };
            let x = [0.3, 0.4, -0.6];
            let mut estimator = Estimator::default();
            let mut grad = [0.0; 3];
            let f = estimator.objective(&model, &s, &x, &mut grad);
            assert!((f - estimator.value(&model, &s, &x)).abs() < 1e-10);
            for i in 0..3 {
                let mut at = |h: f64| {
                    let mut x = x;
                    x[i] += h;
                    estimator.value(&model, &s, &x)
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                // Rounding of f (1e-13) over the step.
                assert!((slope - grad[i]).abs() < 1e-5, "{i}: {slope} {}", grad[i]);
            }
            if !constant {
                let mut coef = [0.0; 3];
                model.region.coefficients(&layout, &x, &mut coef);
                let (loglik, _) = kalman::filter(&layout, &coef, s.of(false)).unwrap().concentrated();
                let n = s.len() as f64;
                assert!((-f - 0.5 * n * (1.0 + (2.0 * std::f64::consts::PI).ln()) - loglik).abs() < 1e-9);
            }
        }
    }
}
