//! Autocorrelation, the test for seasonality, classical decomposition and the automatic season length.
//!
//! Two questions are answered here. *Is the series seasonal at m?* ([`is_seasonal`], [`adjust_if_seasonal`]): the test of the
//! Theta family and of the M4 competition. *Which m?* ([`detect_season`]): what happens when the user gives no season length.

use crate::forecast::model::{FitError, check_positive, check_series, normal_quantile};

/// Longest lag looked at when no candidate is given: beyond it a "season" is a guess about slow movement.
const LONGEST_SEARCH: usize = 400;
/// Observations looked at in that search, the last ones.
const SEARCHED: usize = 4000;
/// One-sided level of every decision: 5 % above, that is 90 % two-sided.
const LEVEL: f64 = 0.05;
/// What a longer candidate must add to the autocorrelation of a shorter one to be preferred.
const CLEARLY_MORE: f64 = 0.1;
/// A part of a season counts as good when it reaches this share of the whole one's autocorrelation.
const AS_HIGH: f64 = 0.8;
/// Differences that are not zero, at least, for a season to be looked for: four events and their ends.
const FEWEST: usize = 8;
/// Differences are clipped at this many times their mean size (3.2 standard deviations of Normal data).
const CLIP: f64 = 4.0;

/// Autocorrelations r_0..=r_k, k = `max_lag`: r_k = Σ (y_t - ȳ)(y_{t+k} - ȳ) / Σ (y_t - ȳ)², divisor n at every lag.
/// y: (n) -> (max_lag + 1). Lags of n and more are 0, as is everything for a constant series. Cost: O(n · max_lag).
pub fn autocorrelation(y: &[f64], max_lag: usize) -> Vec<f64> {
    let mut r = vec![0.0; max_lag + 1];
    let largest = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return r;
    }
    // Divided by the largest value, the squares cannot overflow.
    let mut x: Vec<f64> = y.iter().map(|v| v / largest).collect();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter_mut().for_each(|v| *v -= mean);
    let total = dot(&x, &x);
    // Rounding of the mean leaves this much of a constant series.
    if total <= x.len() as f64 * (16.0 * f64::EPSILON).powi(2) {
        return r;
    }
    for (k, r) in r.iter_mut().enumerate().take(x.len()) {
        *r = dot(&x[k..], &x[..x.len() - k]) / total;
    }
    r
}

/// Σ a_i b_i in eight partial sums: a fixed order that the compiler can keep in vector registers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut part = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(p, q)| p * q).sum();
    for (p, q) in a8.zip(b8) {
        for i in 0..8 {
            part[i] += p[i] * q[i];
        }
    }
    rest + part.iter().sum::<f64>()
}

/// Whether the series is seasonal at `season`, at 90 %: |r_m| > 1.645 √((1 + 2 Σ_{i<m} r_i²)/n), n >= `cycles` · m, m >= 2.
/// y: (n). Cost: O(n · m). A constant series and one with missing values are not seasonal.
///
/// The Theta family asks for two cycles, the M4 benchmark for three. Source: Fiorucci et al. (2016) and the M4
/// competition's rules; the standard error is Bartlett's for a moving average of order m - 1. statsforecast tests only m >= 4.
pub fn is_seasonal(y: &[f64], season: usize, cycles: usize) -> bool {
    let n = y.len();
    if season < 2 || n < season.saturating_mul(cycles.max(1)) || y.iter().any(|v| !v.is_finite()) {
        return false;
    }
    let r = autocorrelation(y, season);
    let limit = normal_quantile(1.0 - LEVEL) * bartlett(&r[1..season], n);
    r[season].abs() > limit
}

/// Standard error of an autocorrelation when those before it are `r`: √((1 + 2Σr²)/n).
fn bartlett(r: &[f64], n: usize) -> f64 {
    ((1.0 + 2.0 * r.iter().map(|v| v * v).sum::<f64>()) / n as f64).sqrt()
}

/// How a season acts on the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// y = trend + season + rest.
    Additive,
    /// y = trend · season · rest.
    Multiplicative,
}

/// A classical decomposition: one factor per position in the cycle and the moving-average trend.
#[derive(Debug, Clone)]
pub struct Decomposition {
    /// Additive or multiplicative.
    pub kind: Kind,
    /// Seasonal factors, (m); factor i belongs to observations i, i + m, ... (from 0). Mean 0 (additive) or 1 (multiplicative).
    pub factors: Vec<f64>,
    /// Centred moving average of one cycle, (n); NaN for the ⌊m/2⌋ observations at either end.
    pub trend: Vec<f64>,
}

impl Decomposition {
    /// The seasonal factor of observation `t`, counted from 0; t >= n continues the cycle.
    pub fn factor(&self, t: usize) -> f64 {
        self.factors[t % self.factors.len()]
    }

    /// Takes the season out of a value at time `t`.
    pub fn remove(&self, value: f64, t: usize) -> f64 {
        match self.kind {
            Kind::Additive => value - self.factor(t),
            Kind::Multiplicative => value / self.factor(t),
        }
    }

    /// Puts the season back into a value at time `t`.
    pub fn restore(&self, value: f64, t: usize) -> f64 {
        match self.kind {
            Kind::Additive => value + self.factor(t),
            Kind::Multiplicative => value * self.factor(t),
        }
    }

    /// By what a deviation (a residual, a standard deviation) at time `t` grows when the season is put back.
    pub fn stretch(&self, t: usize) -> f64 {
        match self.kind {
            Kind::Additive => 1.0,
            Kind::Multiplicative => self.factor(t),
        }
    }

    /// The seasonally adjusted series. y: (n) -> (n)
    pub fn adjust(&self, y: &[f64]) -> Vec<f64> {
        y.iter().enumerate().map(|(t, &v)| self.remove(v, t)).collect()
    }
}

/// Centred moving average over one cycle (2 × m where m is even). y: (n) -> (n), NaN where the window does not fit.
fn centred_average(y: &[f64], m: usize) -> Vec<f64> {
    let (n, half, even) = (y.len(), m / 2, m.is_multiple_of(2));
    let mut trend = vec![f64::NAN; n];
    for t in half..n.saturating_sub(half) {
        let inner = if even { &y[t - half + 1..t + half] } else { &y[t - half..=t + half] };
        let ends = if even { 0.5 * (y[t - half] + y[t + half]) } else { 0.0 };
        trend[t] = (inner.iter().sum::<f64>() + ends) / m as f64;
    }
    trend
}

/// Classical decomposition: trend by a centred moving average over one cycle, seasonal factors by the mean deviation from it
/// (difference or ratio) at each position of the cycle, normalised to mean 0 or 1. y: (n), n >= 2m, m >= 2. Cost: O(n · m).
///
/// Errors: [`FitError::Season`] for m < 2 or fewer than two cycles, [`FitError::NonPositive`] for a multiplicative season of
/// values that are not positive. Source: Macaulay's ratio to moving average, as in R's `decompose`.
pub fn decompose(y: &[f64], season: usize, kind: Kind) -> Result<Decomposition, FitError> {
    check_series(y, 1)?;
    let m = season;
    if m < 2 || y.len() / 2 < m {
        return Err(FitError::Season { season, why: "a decomposition needs a season of 2 or more and two full cycles".into() });
    }
    if kind == Kind::Multiplicative {
        check_positive(y)?;
    }
    let trend = centred_average(y, m);
    let (mut sums, mut counts) = (vec![0.0; m], vec![0usize; m]);
    for (t, (&v, &level)) in y.iter().zip(&trend).enumerate() {
        if level.is_finite() {
            sums[t % m] += if kind == Kind::Additive { v - level } else { v / level };
            counts[t % m] += 1;
        }
    }
    // Two cycles leave at least one deviation at every position.
    let mut factors: Vec<f64> = sums.iter().zip(&counts).map(|(s, &c)| s / c.max(1) as f64).collect();
    let mean = factors.iter().sum::<f64>() / m as f64;
    factors.iter_mut().for_each(|f| *f = if kind == Kind::Additive { *f - mean } else { *f / mean });
    if factors.iter().any(|f| !f.is_finite()) {
        return Err(FitError::Numerical("the seasonal factors are not finite".into()));
    }
    Ok(Decomposition { kind, factors, trend })
}

/// The decomposition to adjust a series with, or `None` where [`is_seasonal`] finds no season at `season` over `cycles` cycles.
///
/// Multiplicative when every value is positive and every factor at least 0.01, additive otherwise. y: (n). Cost: O(n · m).
pub fn adjust_if_seasonal(y: &[f64], season: usize, cycles: usize) -> Option<Decomposition> {
    if !is_seasonal(y, season, cycles.max(2)) {
        return None;
    }
    match decompose(y, season, Kind::Multiplicative) {
        Ok(d) if d.factors.iter().all(|&f| f >= 0.01) => Some(d),
        _ => decompose(y, season, Kind::Additive).ok(),
    }
}

/// The season length of a series, or 1 where none shows. y: (n).
///
/// `candidates` are the lengths the sampling frequency suggests (12 for months; 7 and 365 for days; 24 and 168 for hours);
/// an empty list means "unknown": every lag from 3 to n/3 (at most 400) of the last 4,000 observations is a candidate. Cost:
/// O(n · m) for a candidate m, at most about 0.1 s for the search.
///
/// How it decides. A lag m counts as a season if
/// 1. the series covers it: n >= 2m + min(m, 5);
/// 2. it stands out. Let x_t = y_t - y_{t-q} with q = ⌈m/4⌉, centred and with outliers clipped at 4 times their mean size:
///    differencing over a quarter of the cycle takes out trends and wandering levels but keeps the cycle. With r_k the
///    autocorrelations of x, N = n - q: r_m is above r_{m-q} and r_{m+q}, and above max(0, their mean) by more than
///    z √((1 + 2 Σ r_i²)/N), the sum running over the short memory of x: lags 1..=q, and on to the end of the run of positive
///    (or of alternating) r_i from lag 1. z is the Normal quantile of 1 - 0.05/c, c the number of lags tried: a test at 90 %
///    (two-sided), whatever the number of candidates. Fewer than 8 differences that are not zero say nothing;
/// 3. r_m is not clearly below r_{m-1} or r_{m+1}: by no more than 2/√N.
///
/// Measured on simulated series without a season (white noise, AR(1), random walks and their integrals, exponential smoothing's
/// ARIMA(0,1,1), Cauchy noise, intermittent demand; 40 to 1,000 observations): a season is found in 0 to 7 % of the cases,
/// 8 % for m = 4 and alternating noise (AR(1) with -0.6).
///
/// Among several candidates the shortest wins, unless a longer one raises r_m (corrected for the number of products it is made
/// of) by more than 0.1: hours get 24 unless the week matters clearly more. In the search r_m must be a strict peak, the highest
/// one wins, and its half, third, ... is taken instead where r there is at least 0.8 as high. A length of 2 is only found when it
/// is asked for.
///
/// A cycle of no fixed length can pass too when no candidates are given: yearly sunspots yield 10. Series with missing values,
/// constant ones and exact straight lines yield 1.
///
/// Source: Bartlett (1946) for the standard error; the rest is this project's own.
pub fn detect_season(y: &[f64], candidates: &[usize]) -> usize {
    let largest = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if y.len() < 4 || y.iter().any(|v| !v.is_finite()) || largest == 0.0 {
        return 1;
    }
    // Divided by the largest value, nothing can overflow.
    let y: Vec<f64> = y.iter().map(|v| v / largest).collect();
    if candidates.is_empty() { search(&y[y.len().saturating_sub(SEARCHED)..]) } else { choose(&y, candidates) }
}

/// Differences over a quarter of a cycle, ready for autocorrelations.
struct Quarter {
    /// x_t = y_t - y_{t-q}, centred and clipped, (n - q).
    x: Vec<f64>,
    total: f64,
    q: usize,
}

impl Quarter {
    /// y: (n), scaled to size 1. `None` if nothing is left but rounding.
    fn new(y: &[f64], m: usize) -> Option<Quarter> {
        let q = m.div_ceil(4);
        let mut x: Vec<f64> = y[q..].iter().zip(y).map(|(now, before)| now - before).collect();
        // The median, so that the silence between events stays exactly zero.
        let mut sorted = x.clone();
        let middle = *sorted.select_nth_unstable_by(x.len() / 2, f64::total_cmp).1;
        x.iter_mut().for_each(|v| *v -= middle);
        let noise = 64.0 * f64::EPSILON;
        // Outliers a season apart must not look like a season: three rounds, as the mean size is moved by them, too.
        for _ in 0..3 {
            let (mut sum, mut count) = (0.0, 0usize);
            for v in x.iter().filter(|v| v.abs() > noise) {
                sum += v.abs();
                count += 1;
            }
            // A few events in silence are a season apart by chance.
            if count < FEWEST {
                return None;
            }
            let limit = CLIP * sum / count as f64;
            x.iter_mut().for_each(|v| *v = v.clamp(-limit, limit));
        }
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter_mut().for_each(|v| *v -= mean);
        let total = dot(&x, &x);
        (total > x.len() as f64 * noise * noise).then_some(Quarter { x, total, q })
    }

    /// The autocorrelation at lag k.
    fn r(&self, k: usize) -> f64 {
        let n = self.x.len();
        if k < n { dot(&self.x[k..], &self.x[..n - k]) / self.total } else { 0.0 }
    }

    /// Σ's lags of rule 2: to q, or further to the end of the run of positive (or of alternating) values that starts at lag 1.
    fn memory(&self, m: usize) -> Vec<f64> {
        let mut memory: Vec<f64> = Vec::new();
        let (mut running, mut turn, mut sign) = (true, 1.0, 1.0);
        for k in 1..m {
            let now = self.r(k);
            memory.push(now);
            if k == 1 && now < 0.0 {
                turn = -1.0;
            }
            sign *= turn;
            running &= now * sign > 0.0;
            if !running && k >= self.q {
                break;
            }
        }
        memory
    }
}

/// A season that passed the test.
#[derive(Debug, Clone, Copy)]
struct Season {
    lag: usize,
    /// r_m.
    height: f64,
    /// r_m · N/(N - m), N the number of differences.
    strength: f64,
    /// Whether r_m is above both of its neighbours.
    peak: bool,
}

fn covered(m: usize, n: usize) -> bool {
    m >= 2 && n >= m.saturating_mul(2).saturating_add(m.min(5))
}

/// Rules 2 and 3 for one lag. y: (n), scaled to size 1, with `covered(m, n)`. Cost: O(n · m), O(n) for most lags that fail.
fn assess(y: &[f64], m: usize, z: f64) -> Option<Season> {
    let quarter = Quarter::new(y, m)?;
    let (n, q) = (quarter.x.len(), quarter.q);
    let unit = 1.0 / (n as f64).sqrt();
    let height = quarter.r(m);
    // The cheap reasons to refuse first: most lags of a search end here.
    if height <= z * unit {
        return None;
    }
    let beside = quarter.r(m - 1).max(quarter.r(m + 1));
    let (before, after) = (quarter.r(m - q), quarter.r(m + q));
    let floor = (0.5 * (before + after)).max(0.0);
    if height <= before.max(after) || height <= floor + z * unit || height <= beside - 2.0 * unit {
        return None;
    }
    let error = bartlett(&quarter.memory(m), n);
    let strength = height * n as f64 / n.saturating_sub(m).max(1) as f64;
    (height > floor + z * error).then_some(Season { lag: m, height, strength, peak: height > beside })
}

fn choose(y: &[f64], candidates: &[usize]) -> usize {
    let mut lags: Vec<usize> = candidates.iter().copied().filter(|&m| covered(m, y.len())).collect();
    lags.sort_unstable();
    lags.dedup();
    let z = normal_quantile(1.0 - LEVEL / lags.len().max(1) as f64);
    let mut best: Option<Season> = None;
    for season in lags.into_iter().filter_map(|m| assess(y, m, z)) {
        if best.is_none_or(|b| season.strength > b.strength + CLEARLY_MORE) {
            best = Some(season);
        }
    }
    best.map_or(1, |s| s.lag)
}

fn search(y: &[f64]) -> usize {
    let longest = (y.len() / 3).min(LONGEST_SEARCH);
    if longest < 3 {
        return 1;
    }
    let z = normal_quantile(1.0 - LEVEL / (longest - 2) as f64);
    let lags = (3..=longest).filter(|&m| covered(m, y.len()));
    let found = lags.filter_map(|m| assess(y, m, z)).filter(|s| s.peak);
    let Some(highest) = found.reduce(|a, b| if b.height > a.height { b } else { a }) else { return 1 };
    let m = highest.lag;
    // Its half, third, ... in the same differences: the shortest that is as high, seen from the lowest point before it, too.
    let Some(quarter) = Quarter::new(y, m) else { return m };
    let r: Vec<f64> = (0..=m + 1).map(|k| quarter.r(k)).collect();
    let rise = |k: usize| r[k] - r[1..k].iter().fold(f64::INFINITY, |low, v| low.min(*v));
    for times in (2..=m / 2).rev() {
        let below = m / times;
        let part = if r[below] >= r[below + 1] { below } else { below + 1 };
        if part < m && r[part] >= AS_HIGH * r[m] && rise(part) >= AS_HIGH * rise(m) {
            // Alternation is no season worth having.
            return if part < 3 { 1 } else { part };
        }
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(file: &str, column: usize) -> Vec<f64> {
        let text = std::fs::read_to_string(format!("{}/testdata/classic/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        text.lines().skip(1).map(|l| l.split(',').nth(column).unwrap().trim().parse().unwrap()).collect()
    }

    /// Normal numbers from a fixed generator (sum of twelve uniforms).
    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut uniform = || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..n).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect()
    }

    fn sine(m: f64, n: usize) -> Vec<f64> {
        (0..n).map(|t| (std::f64::consts::TAU * t as f64 / m).sin()).collect()
    }

    #[test]
    fn autocorrelation_by_hand_and_by_identity() {
        // Deviations -1.5, -0.5, 0.5, 1.5: Σ² = 5, lag 1: 0.75 - 0.25 + 0.75.
        let r = autocorrelation(&[1.0, 2.0, 3.0, 4.0], 5);
        assert_eq!(r, vec![1.0, 0.25, -0.3, -0.45, 0.0, 0.0]);
        let y = noise(3, 50);
        let z: Vec<f64> = y.iter().map(|v| 1e200 * (5.0 - 3.0 * v)).collect();
        for (a, b) in autocorrelation(&y, 49).iter().zip(autocorrelation(&z, 49)) {
            assert!((a - b).abs() < 1e-13);
        }
        // All lags of a centred series: Σ_{k=-(n-1)}^{n-1} r_k = (Σx)²/Σx² = 0.
        let sum: f64 = autocorrelation(&y, 49)[1..].iter().sum();
        assert!((1.0 + 2.0 * sum).abs() < 1e-12);
        assert_eq!(autocorrelation(&[0.1; 9], 2), vec![0.0; 3]);
        assert_eq!(autocorrelation(&[], 2), vec![0.0; 3]);
    }

    #[test]
    fn the_test_of_the_reference_case_and_of_its_absence() {
        let ap = column("air_passengers.csv", 2);
        assert!(is_seasonal(&ap, 12, 3));
        assert!(!is_seasonal(&noise(2, 144), 12, 3));
        assert!(!is_seasonal(&ap[..35], 12, 3) && is_seasonal(&ap, 12, 12) && !is_seasonal(&ap, 12, 13));
        assert!(!is_seasonal(&ap, 1, 2) && !is_seasonal(&ap, 0, 2) && !is_seasonal(&[3.0; 40], 4, 2));
        assert!(!is_seasonal(&[], 4, 2) && !is_seasonal(&[f64::NAN; 40], 4, 2));
    }

    #[test]
    fn decomposing_what_was_composed_gives_the_parts_back() {
        for m in [2usize, 3, 4, 7, 12] {
            let raw: Vec<f64> = (0..m).map(|i| ((i * i * 7 + 3) % 11) as f64 / 40.0).collect();
            let mean = raw.iter().sum::<f64>() / m as f64;
            let n = 3 * m + 1;
            // A straight line passes through a moving average unchanged.
            let y: Vec<f64> = (0..n).map(|t| 50.0 + 2.0 * t as f64 + raw[t % m] - mean).collect();
            let d = decompose(&y, m, Kind::Additive).unwrap();
            for t in 0..n {
                assert!((d.factor(t) - (raw[t % m] - mean)).abs() < 1e-12, "{m}");
                assert!((d.restore(d.remove(y[t], t), t) - y[t]).abs() < 1e-12);
                assert!(d.trend[t].is_nan() == (t < m / 2 || t >= n - m / 2));
            }
            let y: Vec<f64> = (0..n).map(|t| 50.0 * (1.0 + raw[t % m] - mean)).collect();
            let d = decompose(&y, m, Kind::Multiplicative).unwrap();
            assert!(d.adjust(&y).iter().all(|v| (v - 50.0).abs() < 1e-11), "{m}");
            assert!((d.factors.iter().sum::<f64>() - m as f64).abs() < 1e-12);
        }
    }

    #[test]
    fn two_cycles_are_enough_and_fewer_are_refused() {
        let y: Vec<f64> = (0..8).map(|t| [1.0, 2.0, 4.0, 1.0][t % 4]).collect();
        let d = decompose(&y, 4, Kind::Multiplicative).unwrap();
        assert_eq!(d.factors, vec![0.5, 1.0, 2.0, 0.5]);
        assert!(matches!(decompose(&y[..7], 4, Kind::Additive), Err(FitError::Season { season: 4, .. })));
        assert!(matches!(decompose(&y, 1, Kind::Additive), Err(FitError::Season { season: 1, .. })));
        assert!(matches!(decompose(&[0.0; 8], 4, Kind::Multiplicative), Err(FitError::NonPositive { index: 1, .. })));
    }

    #[test]
    fn adjustment_is_additive_where_ratios_make_no_sense() {
        let seasonal = |low: f64| -> Vec<f64> { (0..48).map(|t| if t % 4 == 1 { low } else { 100.0 + t as f64 }).collect() };
        assert_eq!(adjust_if_seasonal(&seasonal(50.0), 4, 2).unwrap().kind, Kind::Multiplicative);
        assert_eq!(adjust_if_seasonal(&seasonal(1e-3), 4, 2).unwrap().kind, Kind::Additive);
        assert_eq!(adjust_if_seasonal(&seasonal(0.0), 4, 2).unwrap().kind, Kind::Additive);
        assert!(adjust_if_seasonal(&noise(2, 48), 4, 2).is_none());
    }

    #[test]
    fn seasons_of_real_series() {
        let ap = column("air_passengers.csv", 2);
        assert_eq!(detect_season(&ap, &[12]), 12);
        assert_eq!(detect_season(&ap, &[]), 12);
        assert_eq!(detect_season(&ap[..36], &[12]), 12);
        assert_eq!(detect_season(&ap, &[7, 365]), 1);
        let equipment = column("elec_equip.csv", 1);
        assert_eq!(detect_season(&equipment, &[12]), 12);
        assert_eq!(detect_season(&equipment, &[]), 12);
        // The cycle is about 10.6 years long: its autocorrelation peaks between 10 and 11.
        assert!((10..=11).contains(&detect_season(&column("sunspots.csv", 1), &[])));
        assert_eq!(detect_season(&column("nile.csv", 1), &[]), 1);
    }

    #[test]
    fn pure_cycles_of_many_lengths_at_any_scale_and_on_a_slope() {
        for m in [3usize, 4, 5, 6, 7, 10, 12, 13, 24, 30, 52] {
            for scale in [1.0, -1e-200, 1e200] {
                // Short seasons need more cycles: the search tries n/3 lags.
                let n = 5 * m.max(12);
                let y: Vec<f64> = sine(m as f64, n).iter().enumerate().map(|(t, v)| scale * (v + 0.3 * t as f64)).collect();
                assert_eq!(detect_season(&y, &[m]), m, "{m} {scale}");
                assert_eq!(detect_season(&y, &[]), m, "search {m} {scale}");
                // A candidate that is no period is refused.
                assert_eq!(detect_season(&y, &[3 * m / 2]), 1, "{m}");
            }
        }
    }

    #[test]
    fn the_longer_candidate_needs_a_reason() {
        let day = sine(24.0, 1200);
        let with_noise: Vec<f64> = day.iter().zip(noise(5, 1200)).map(|(d, e)| d + 0.3 * e).collect();
        assert_eq!(detect_season(&with_noise, &[168, 24]), 24);
        let week: Vec<f64> = with_noise.iter().enumerate().map(|(t, v)| v + if t / 24 % 7 >= 5 { 3.0 } else { 0.0 }).collect();
        assert_eq!(detect_season(&week, &[24, 168]), 168);
    }

    #[test]
    fn a_season_is_seldom_seen_where_there_is_none() {
        // At 5 % (one-sided), 300 series give 15 ± 3.8: 28 is above the 99.9 % quantile; random walks must not do worse.
        let mut hits = [0; 4];
        for seed in 1..=300 {
            let white = noise(seed, 120);
            let mut level = 0.0;
            let walk: Vec<f64> = white
                .iter()
                .map(|e| {
                    level += e;
                    level
                })
                .collect();
            hits[0] += usize::from(detect_season(&white, &[12]) != 1);
            hits[1] += usize::from(detect_season(&white, &[]) != 1);
            hits[2] += usize::from(detect_season(&walk, &[12]) != 1);
            hits[3] += usize::from(detect_season(&walk, &[]) != 1);
        }
        assert!(hits.iter().all(|&h| h <= 28), "{hits:?}");
    }

    #[test]
    fn a_season_under_noise_and_a_wandering_level_is_found() {
        // Signal and noise equally strong, ten cycles: measured power 97 % and more.
        let mut found = 0;
        for seed in 1..=50 {
            let mut level = 0.0;
            let y: Vec<f64> = sine(12.0, 120)
                .iter()
                .zip(noise(seed, 120))
                .zip(noise(seed + 1000, 120))
                .map(|((s, e), w)| {
                    level += 0.3 * w;
                    2.0 * s + e + level
                })
                .collect();
            found += usize::from(detect_season(&y, &[12]) == 12);
        }
        assert!(found >= 45, "{found}");
    }

    #[test]
    fn series_without_information_have_no_season() {
        for candidates in [&[12usize, 4, 0, 1, usize::MAX][..], &[]] {
            for y in [vec![], vec![1.0], vec![1.0; 3], vec![7.0; 100], vec![0.0; 100], vec![f64::NAN; 100], noise(1, 9)] {
                assert_eq!(detect_season(&y, candidates), 1);
            }
            let line: Vec<f64> = (0..100).map(|t| 0.1 * t as f64 + 1e6).collect();
            assert_eq!(detect_season(&line, candidates), 1);
            let mut spikes = vec![0.0; 100];
            spikes[40] = 1e9;
            spikes[52] = 1e9;
            assert_eq!(detect_season(&spikes, &[]), 1);
        }
    }
}
