//! Automatic choice of an ARIMA model: differences by tests, orders by a corrected Akaike criterion over a beam search.
//!
//! Source: Hyndman & Khandakar (2008), Automatic time series forecasting: the forecast package for R (differences, starting
//! models, bounds, admissibility). What we changed: a likelihood evaluation costs microseconds, so (1) instead of the first better
//! neighbour the search expands the best few models completely, with moves of one and of two orders; (2) estimates are *restricted*
//! to roots of modulus 1.01 or more, of each factor in its own lag (B, B^m), rather than models being thrown away after the fact
//! by the roots of the expanded polynomials, so every order competes with its best admissible fit; (3) every likelihood is exact and the finalists are refitted from several starts.

use super::difference::difference;
use super::estimate::{COARSE, Estimator, Model, Point, ROUGH, Series, rounding};
use super::fitted::ArimaFit;
use super::order::{MAX_LAG, Order};
use super::polynomial::{Layout, Region};
use super::unit_root::{SEASONAL_THRESHOLD, is_flat, ordinary_differences, seasonal_strength};
use crate::forecast::model::{FitError, Fitted, check_series};
use std::collections::{BTreeMap, BTreeSet};

/// Bounds and rules of the search. The defaults are those of R's `auto.arima` where it has the same setting.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AutoArimaConfig {
    /// Season length m; 1 for none.
    pub season: usize,
    /// Largest p (with a season also at most m - 1; always at most n/3 and 20).
    pub max_p: usize,
    /// Largest q, likewise.
    pub max_q: usize,
    /// Largest seasonal P (at most n/(3m), and so that p + mP stays within 420).
    pub max_seasonal_p: usize,
    /// Largest seasonal Q (at most n/(3m)).
    pub max_seasonal_q: usize,
    /// Largest p + q + P + Q when `stepwise` is off; the stepwise search has no such bound.
    pub max_order: usize,
    /// Most ordinary differences the KPSS test may ask for.
    pub max_d: usize,
    /// Most seasonal differences, 0 or 1.
    pub max_seasonal_d: usize,
    /// Search from a few models outward (true) or through all orders within `max_order` (false).
    pub stepwise: bool,
    /// How many of the best models must have all their neighbours fitted before the stepwise search ends. 1 is a plain climb: half
    /// the time, and a larger AICc on one series in ten or so.
    pub beam: usize,
    /// Most models the stepwise search may fit.
    pub max_models: usize,
    /// Smallest modulus of a root of the AR and MA factors, each in its own lag (B or B^m); above 1. A polynomial of degree one may reach the unit circle.
    pub min_root: f64,
}

impl Default for AutoArimaConfig {
    fn default() -> Self {
        Self {
            season: 1,
            max_p: 5,
            max_q: 5,
            max_seasonal_p: 2,
            max_seasonal_q: 2,
            max_order: 5,
            max_d: 2,
            max_seasonal_d: 1,
            stepwise: true,
            beam: 5,
            max_models: 400,
            min_root: 1.01,
        }
    }
}

/// Orders of one candidate: p, q, P, Q and whether it has a constant.
type Key = (usize, usize, usize, usize, bool);

struct Entry {
    point: Point,
    model: Model,
    criterion: f64,
}

struct Search<'a> {
    series: &'a Series,
    base: Order,
    limits: [usize; 4],
    may_have_constant: bool,
    min_root: f64,
    estimator: Estimator,
    seen: BTreeMap<Key, Entry>,
    /// Compare orders by the conditional sum of squares: for series on which the likelihood takes milliseconds.
    approximate: bool,
    /// Smallest criterion so far.
    best: f64,
}

/// Values times longest lag from which on the search compares orders by the conditional sum of squares.
const APPROXIMATE: usize = 40_000;
/// How far above the best a candidate may be after the rough descent to be descended further.
const RACE: f64 = 5.0;
/// Longest AR lag p + mP that the automatic choice considers: a fit costs its cube.
const MAX_AUTO_AR: usize = 420;
/// Largest p and q it considers, whatever the bounds.
const MAX_OWN: usize = 20;
/// How many are refitted from several starts at the end.
const FINALISTS: usize = 4;

impl Search<'_> {
    fn order(&self, (p, q, seasonal_p, seasonal_q, _): Key) -> Order {
        Order { p, q, seasonal_p, seasonal_q, ..self.base }
    }

    fn model(&self, key: Key) -> Model {
        let (layout, constant) = (Layout::new(&self.order(key)), key.4);
        let region = Region::with_min_root(&layout, self.min_root);
        Model { layout, constant, region }
    }

    fn allowed(&self, key: Key) -> bool {
        let (p, q, sp, sq, constant) = key;
        [p, q, sp, sq].iter().zip(&self.limits).all(|(v, max)| v <= max) && (self.may_have_constant || !constant)
    }

    /// AICc of a point, infinite where it is not defined.
    fn criterion(&self, model: &Model, f: f64) -> f64 {
        let (n, k) = (self.series.len() as f64, model.parameters() as f64);
        if n - k - 1.0 <= 0.0 {
            return f64::INFINITY;
        }
        2.0 * f + n * (1.0 + (2.0 * std::f64::consts::PI).ln()) + 2.0 * k * n / (n - k - 1.0)
    }

    /// Fits a candidate unless that was done before; `from` is the neighbour it was reached from.
    fn fit(&mut self, key: Key, from: Option<Key>) {
        if !self.allowed(key) || self.seen.contains_key(&key) {
            return;
        }
        let model = self.model(key);
        if !self.criterion(&model, 0.0).is_finite() {
            return;
        }
        let warm = from.and_then(|k| self.seen.get(&k)).map(|entry| carry_over(entry, &model));
        let others: Vec<&[f64]> = if self.approximate { warm.iter().map(Vec::as_slice).collect() } else { Vec::new() };
        let css = self.estimator.css_start(&model, self.series, &others);
        if self.approximate {
            let criterion = self.criterion(&model, css.f);
            if css.f.is_finite() {
                self.seen.insert(key, Entry { point: Point { x: css.x, f: css.f, converged: css.converged }, model, criterion });
            }
            return;
        }
        let mut start = css.x;
        if let Some(warm) = warm
            && self.estimator.value(&model, self.series, &warm) < self.estimator.value(&model, self.series, &start)
        {
            start = warm;
        }
        let mut point = self.estimator.descend(&model, self.series, &start, ROUGH);
        // Most candidates are out of the race after a few steps; the rest are taken to the end.
        if !point.converged && self.criterion(&model, point.f) < self.best + RACE {
            point = self.estimator.descend(&model, self.series, &point.x, COARSE);
        }
        self.best = self.best.min(self.criterion(&model, point.f));
        if point.f.is_finite() {
            let criterion = self.criterion(&model, point.f);
            self.seen.insert(key, Entry { point, model, criterion });
        }
    }

    /// Keys by criterion, best first; ties go to the smaller key.
    fn ranking(&self) -> Vec<Key> {
        let mut keys: Vec<(f64, Key)> = self.seen.iter().map(|(k, e)| (e.criterion, *k)).collect();
        keys.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        keys.into_iter().map(|(_, k)| k).collect()
    }

    fn stepwise(&mut self, beam: usize, max_models: usize) {
        let [max_p, max_q, max_sp, max_sq] = self.limits;
        let c = self.may_have_constant;
        let null = (0, 0, 0, 0, c);
        self.fit(null, None);
        self.fit((0, 0, 0, 0, false), None);
        self.fit((1.min(max_p), 0, 1.min(max_sp), 0, c), Some(null));
        self.fit((0, 1.min(max_q), 0, 1.min(max_sq), c), Some(null));
        self.fit((2.min(max_p), 2.min(max_q), 1.min(max_sp), 1.min(max_sq), c), Some(null));
        let mut expanded = BTreeSet::new();
        while self.seen.len() < max_models {
            let next = self.ranking().into_iter().take(beam).find(|k| !expanded.contains(k));
            let Some(key) = next else { break };
            expanded.insert(key);
            for neighbour in neighbours(key) {
                if self.seen.len() >= max_models {
                    break;
                }
                self.fit(neighbour, Some(key));
            }
        }
    }

    fn exhaustive(&mut self, max_order: usize) {
        let [max_p, max_q, max_sp, max_sq] = self.limits;
        for sp in 0..=max_sp {
            for sq in 0..=max_sq {
                for p in 0..=max_p {
                    for q in 0..=max_q {
                        if p + q + sp + sq > max_order {
                            continue;
                        }
                        for constant in [false, true] {
                            // A neighbour fitted before, one order smaller.
                            let from = [
                                (p.wrapping_sub(1), q, sp, sq, constant),
                                (p, q.wrapping_sub(1), sp, sq, constant),
                                (p, q, sp, sq.wrapping_sub(1), constant),
                                (p, q, sp.wrapping_sub(1), sq, constant),
                            ];
                            let from = from.into_iter().find(|k| self.seen.contains_key(k));
                            self.fit((p, q, sp, sq, constant), from);
                        }
                    }
                }
            }
        }
    }

    /// Refits the best models from several starts, the best of these from all starts, and returns the best of all.
    fn finish(&mut self) -> Option<(Key, Model, Point)> {
        if self.approximate {
            self.settle();
        } else {
            self.refit(FINALISTS, 2);
            self.refit(2, usize::MAX);
        }
        let key = *self.ranking().first()?;
        let entry = self.seen.remove(&key)?;
        let point = self.estimator.polish(&entry.model, self.series, entry.point);
        Some((key, entry.model, point))
    }

    /// Ends an approximate search: the best models are fitted exactly, the others forgotten.
    fn settle(&mut self) {
        let keep = self.ranking();
        let mut exact = BTreeMap::new();
        for key in keep.into_iter().take(2 * FINALISTS) {
            if let Some(mut entry) = self.seen.remove(&key) {
                entry.point = self.estimator.descend(&entry.model, self.series, &entry.point.x, COARSE);
                entry.criterion = self.criterion(&entry.model, entry.point.f);
                if entry.criterion.is_finite() {
                    exact.insert(key, entry);
                }
            }
        }
        self.seen = exact;
        self.approximate = false;
    }

    fn refit(&mut self, count: usize, keep: usize) {
        for key in self.ranking().into_iter().take(count) {
            let Some(entry) = self.seen.get(&key) else { continue };
            let model = entry.model.clone();
            let mut starts = vec![entry.point.x.clone()];
            for neighbour in neighbours(key) {
                if let Some(other) = self.seen.get(&neighbour)
                    && other.criterion < entry.criterion + 4.0
                {
                    starts.push(carry_over(other, &model));
                }
            }
            let point = self.estimator.maximise(&model, self.series, &starts, keep);
            let criterion = self.criterion(&model, point.f);
            if let Some(entry) = self.seen.get_mut(&key)
                && criterion < entry.criterion
            {
                (entry.point, entry.criterion) = (point, criterion);
            }
        }
    }
}

/// The parameters of a neighbour as a start: shared coefficients kept, new ones zero.
fn carry_over(entry: &Entry, model: &Model) -> Vec<f64> {
    let (from, to) = (&entry.model.layout, &model.layout);
    let mut x = vec![0.0; to.count()];
    for ((a, from_len, _, _), (b, to_len, _, _)) in from.blocks().into_iter().zip(to.blocks()) {
        let shared = from_len.min(to_len);
        x[b..b + shared].copy_from_slice(&entry.point.x[a..a + shared]);
    }
    // Off the bounds: a variable held there would stay.
    x.iter_mut().for_each(|v| *v = v.clamp(-0.98, 0.98));
    x
}

/// One and two orders up and down, alone and in pairs, and the constant on or off.
fn neighbours(key: Key) -> Vec<Key> {
    const MOVES: [[i64; 4]; 32] = [
        [0, 0, -1, 0],
        [0, 0, 0, -1],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, -1, -1],
        [0, 0, -1, 1],
        [0, 0, 1, -1],
        [0, 0, 1, 1],
        [-1, 0, 0, 0],
        [0, -1, 0, 0],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [-1, -1, 0, 0],
        [-1, 1, 0, 0],
        [1, -1, 0, 0],
        [1, 1, 0, 0],
        [-2, 0, 0, 0],
        [0, -2, 0, 0],
        [2, 0, 0, 0],
        [0, 2, 0, 0],
        [0, 0, -2, 0],
        [0, 0, 0, -2],
        [0, 0, 2, 0],
        [0, 0, 0, 2],
        [-1, 0, 0, 1],
        [1, 0, 0, -1],
        [0, -1, 1, 0],
        [0, 1, -1, 0],
        [-2, 1, 0, 0],
        [1, -2, 0, 0],
        [2, -1, 0, 0],
        [-1, 2, 0, 0],
    ];
    let (p, q, sp, sq, constant) = key;
    let step = |v: usize, by: i64| i64::try_from(v).ok().and_then(|v| usize::try_from(v + by).ok());
    let mut out: Vec<Key> =
        MOVES.iter().filter_map(|m| Some((step(p, m[0])?, step(q, m[1])?, step(sp, m[2])?, step(sq, m[3])?, constant))).collect();
    out.push((p, q, sp, sq, !constant));
    out
}

/// Chooses and fits an ARIMA model to `y` (n).
///
/// D is 1 when the seasonal strength exceeds [`SEASONAL_THRESHOLD`] and n > 2m; d is the number of KPSS rejections in a row; a constant is
/// considered for d + D <= 1; p, q, P, Q minimise AICc. A constant series is a mean without variance. A season that does not fit twice
/// into the series is left out.
///
/// # Errors
/// [`FitError::Spec`] for `min_root` below 1, [`FitError::TooShort`] for an empty series, [`FitError::NonFinite`] for missing values, [`FitError::Season`] for an impossible season
/// length, [`FitError::Numerical`] when numbers leave the range of f64.
///
/// # Cost
/// 50 to 200 models, each a few dozen gradients of O(n r), r the longest lag. From n r = 40,000 on, orders are compared by the
/// conditional sum of squares, O(n) an evaluation, and only the best eight are fitted exactly (R's `approximation`).
pub fn auto_arima(y: &[f64], config: &AutoArimaConfig) -> Result<Box<dyn Fitted>, FitError> {
    check_series(y, 1)?;
    let n = y.len();
    if config.min_root.is_nan() || config.min_root < 1.0 {
        return Err(FitError::Spec(format!("the smallest root must be at least 1, found {}", config.min_root)));
    }
    if config.season == 0 || config.season > MAX_LAG {
        let why = format!("it must be between 1 and {MAX_LAG}");
        return Err(FitError::Season { season: config.season, why });
    }
    // A season that does not fit twice leaves no trace to fit.
    let m = if 2 * config.season < n { config.season } else { 1 };
    let mut base = Order { season: m, ..Order::default() };
    let flat = rounding(y, &base);
    if is_flat(y, flat) {
        let mean = y.iter().map(|v| v / n as f64).sum();
        return Ok(Box::new(ArimaFit::exact(y, base, Some(mean))?));
    }
    if m > 1 && config.max_seasonal_d > 0 && seasonal_strength(y, m) > SEASONAL_THRESHOLD {
        base.seasonal_d = 1;
    }
    base.d = ordinary_differences(&difference(y, &base), config.max_d, rounding(y, &base));
    let series = Series::new(y, &base);
    let may_have_constant = base.d + base.seasonal_d <= 1;
    for constant in [false, may_have_constant] {
        if series.is_exact(constant) {
            let mean = constant.then_some(series.mean * series.scale);
            return Ok(Box::new(ArimaFit::exact(y, base, mean)?));
        }
    }
    let own = |max: usize| if m > 1 { max.min(n / 3).min(m - 1) } else { max.min(n / 3) };
    let (max_p, max_q) = (own(config.max_p.min(MAX_OWN)), own(config.max_q.min(MAX_OWN)));
    let seasonal = |max: usize, reach: usize| if m > 1 { max.min(n / (3 * m)).min(reach / m) } else { 0 };
    let limits = [
        max_p,
        max_q,
        seasonal(config.max_seasonal_p, MAX_AUTO_AR - MAX_OWN),
        seasonal(config.max_seasonal_q, MAX_LAG - MAX_OWN),
    ];
    let longest = (limits[0] + m * limits[2]).max(limits[1] + m * limits[3]);
    let mut search = Search {
        series: &series,
        base,
        limits,
        may_have_constant,
        min_root: config.min_root,
        estimator: Estimator::default(),
        seen: BTreeMap::new(),
        approximate: series.len() * longest > APPROXIMATE,
        best: f64::INFINITY,
    };
    if config.stepwise {
        search.stepwise(config.beam.max(1), config.max_models);
    } else {
        search.exhaustive(config.max_order);
    }
    // Should the plain filter break down at the winner, the next one takes its place.
    let mut failure = None;
    while let Some((key, model, point)) = search.finish() {
        match ArimaFit::new(y, search.order(key), &series, &model, &point) {
            Ok(fit) => return Ok(Box::new(fit)),
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    // Too few values for AICc to be defined: the smallest model, with a mean where there are no differences.
    let key = (0, 0, 0, 0, base.d + base.seasonal_d == 0);
    let model = search.model(key);
    let point = search.estimator.descend(&model, &series, &[], COARSE);
    Ok(Box::new(ArimaFit::new(y, search.order(key), &series, &model, &point)?))
}

#[cfg(test)]
mod tests {
    use super::super::polynomial::step_down;
    use super::*;

    #[test]
    fn neighbours_are_near_and_mutual() {
        let key = (2, 2, 2, 2, true);
        let around = neighbours(key);
        assert!(!around.contains(&key) && around.iter().collect::<BTreeSet<_>>().len() == around.len());
        // Every move can be taken back.
        assert!(around.iter().all(|&k| neighbours(k).contains(&key)), "{around:?}");
        // Nothing below zero.
        assert!(neighbours((0, 0, 0, 0, false)).iter().all(|k| k.0 <= 2 && k.1 <= 2 && k.2 <= 2 && k.3 <= 2));
    }

    #[test]
    fn chosen_models_keep_their_roots_away_from_the_circle() {
        // An over-differenced seasonal series pushes the MA roots to the bound.
        let mut s = 5u64;
        let noise: Vec<f64> = (0..140)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 11) as f64 / (1u64 << 53) as f64
            })
            .collect();
        let y: Vec<f64> = (0..140).map(|t| [0.0, 8.0, 3.0, 5.0][t % 4] + noise[t]).collect();
        let fit = auto_arima(&y, &AutoArimaConfig { season: 4, ..AutoArimaConfig::default() }).unwrap();
        let d = fit.diagnostics();
        assert!(d.form.contains(",1,"), "{d:?}");
        for name in ["ar", "ma", "sar", "sma"] {
            let sign = if name.ends_with("ar") { 1.0 } else { -1.0 };
            let block: Vec<f64> = d
                .params
                .iter()
                .filter(|(n, _)| n.strip_prefix(name).is_some_and(|rest| rest.parse::<usize>().is_ok()))
                .zip(1..)
                .map(|((_, c), i)| sign * c * 1.00999f64.powi(i))
                .collect();
            // Roots at 1.01 or more: with the coefficients stretched by a little less, the polynomial is still stationary.
            let alone = block.len() == 1 && !name.starts_with('s');
            assert!(alone || step_down(&block).is_some(), "{name}: {d:?}");
        }
    }
}
