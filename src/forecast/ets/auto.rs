//! Fits every form that a configuration admits and keeps the one with the least AICc.

use super::super::model::{FitError, Fitted, check_positive, check_series};
use super::estimate::{Optimum, descend};
use super::fit::{Estimate, EtsFit};
use super::form::{ErrorKind, Form, FormPattern, Trend};
use super::likelihood::{Floor, Layout, Problem, Workspace};
use super::recursion::{Smoothing, State};
use super::region::{Region, admissible};
use super::start::{Start, Starts, warm};

/// What to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct EtsConfig {
    /// Season length m; 0 and 1 mean no season.
    pub season: usize,
    /// The forms to choose from.
    pub pattern: FormPattern,
    /// Longest season for which an open season letter (Z) tries seasonal forms. A form with m seasonal states is hardly ever worth its
    /// parameters beyond a day of hours, and its cost grows with m²; spelled-out seasons have no limit.
    pub max_open_season: usize,
    /// Which smoothing parameters are allowed.
    pub region: Region,
}

impl EtsConfig {
    /// Exactly `form`.
    pub fn fixed(form: Form, season: usize) -> Self {
        EtsConfig { season, pattern: form.into(), max_open_season: 24, region: Region::Usual }
    }

    /// Simple exponential smoothing, `ANN`.
    pub fn ses() -> Self {
        Self::fixed(Form::SES, 1)
    }

    /// Holt's linear trend, `AAN`, or `AAdN` if `damped`.
    pub fn holt(damped: bool) -> Self {
        Self::fixed(if damped { Form::HOLT_DAMPED } else { Form::HOLT }, 1)
    }

    /// Holt–Winters, `AAA`.
    pub fn holt_winters(season: usize) -> Self {
        Self::fixed(Form::HOLT_WINTERS, season)
    }

    /// The form among `ZZZ` with the least AICc.
    pub fn auto(season: usize) -> Self {
        EtsConfig { season, pattern: FormPattern::AUTO, max_open_season: 24, region: Region::Usual }
    }
}

/// Fits the forms of `cfg` to `y` (n) and returns the one with the least AICc; equal values go to the earlier form of [`Form::all`].
///
/// One form: it is fitted or refused, with at least as many observations as it has parameters (see [`Form::parameters`]), two full
/// cycles for a season and positive data for multiplicative parts. Several: those take part that the data admit and that leave a
/// finite AICc (n >= k + 2); if none does, the simplest of the pattern if it can be fitted at all (its AICc is then infinite).
///
/// # Errors
/// [`FitError::NonFinite`], [`FitError::TooShort`], [`FitError::NonPositive`], [`FitError::Season`] (also beyond [`LONGEST_SEASON`]);
/// [`FitError::Numerical`] for values beyond 1e150.
///
/// # Cost
/// Up to 320 least-squares solutions of O(n m + m³) and some 50 to 150 sweeps of O(n m²) a form. For n = 150 and m = 12 `auto` with its
/// 15 forms takes about 10 ms; a single form with n = 1000 and m = 168 less than a second.
///
/// # Source
/// Hyndman, Koehler, Snyder & Grose, *A state space framework for automatic forecasting using exponential smoothing methods* (2002);
/// the estimation is our own: see `likelihood`, `start` and `estimate`.
pub fn fit_ets(y: &[f64], cfg: &EtsConfig) -> Result<Box<dyn Fitted>, FitError> {
    Ok(Box::new(fit_form(y, cfg)?))
}

/// As [`fit_ets`], with the concrete type.
pub fn fit_form(y: &[f64], cfg: &EtsConfig) -> Result<EtsFit, FitError> {
    check_series(y, 1)?;
    let forms = usable_forms(y, cfg)?;
    let search = Search::new(y, cfg.season, cfg.region)?;
    let estimate = search.best(&forms)?;
    EtsFit::new(y, estimate)
}

/// The forms to fit, in order, or why there is none.
fn usable_forms(y: &[f64], cfg: &EtsConfig) -> Result<Vec<Form>, FitError> {
    let n = y.len();
    let m = cfg.season;
    let all = cfg.pattern.forms();
    if let [form] = all[..] {
        refuse(y, m, form)?;
        return Ok(all);
    }
    let too_long = cfg.pattern.season.is_none() && m > cfg.max_open_season;
    let season = !too_long && check_season(n, m).is_ok();
    let positive = check_positive(y).is_ok();
    let fits = |f: &Form| (season || !f.seasonal()) && (positive || !f.needs_positive());
    let usable: Vec<Form> = all.iter().copied().filter(fits).collect();
    let Some(&simplest) = usable.first() else {
        // Nothing is left: say what stood in the way of the simplest form.
        return match all.first() {
            Some(&form) => refuse(y, m, form).map(|()| vec![form]),
            None => Err(FitError::Spec("the pattern admits no form".into())),
        };
    };
    let chosen: Vec<Form> = usable.into_iter().filter(|f| n >= f.parameters(m) + 2).collect();
    if chosen.is_empty() {
        refuse(y, m, simplest)?;
        return Ok(vec![simplest]);
    }
    Ok(chosen)
}

/// The longest season of a spelled-out form. Memory grows with its square and time with its cube.
pub const LONGEST_SEASON: usize = 400;

/// Whether a season of length `m` can be fitted to `n` observations.
fn check_season(n: usize, m: usize) -> Result<(), FitError> {
    let why = if m < 2 {
        "a seasonal form needs a season length of at least 2".to_string()
    } else if m > LONGEST_SEASON {
        format!("seasons are limited to {LONGEST_SEASON} observations")
    } else if n < m.saturating_mul(2) {
        format!("it needs two full cycles ({} observations), found {n}", m.saturating_mul(2))
    } else {
        return Ok(());
    };
    Err(FitError::Season { season: m, why })
}

/// What stands in the way of one form.
fn refuse(y: &[f64], m: usize, form: Form) -> Result<(), FitError> {
    if form.needs_positive() {
        check_positive(y)?;
    }
    if form.seasonal() {
        check_season(y.len(), m)?;
    }
    check_series(y, form.parameters(m))
}

/// `forms` with the same models of simpler trend before each: their optima are starts (and lower bounds) of the richer one.
fn with_simpler_trends(forms: &[Form]) -> Vec<Form> {
    let mut out: Vec<Form> = Vec::new();
    for &form in forms {
        let simpler: &[Trend] = match form.trend {
            Trend::None => &[],
            Trend::Additive | Trend::Multiplicative => &[Trend::None],
            Trend::AdditiveDamped => &[Trend::None, Trend::Additive],
            Trend::MultiplicativeDamped => &[Trend::None, Trend::Multiplicative],
        };
        for form in simpler.iter().map(|&trend| Form { trend, ..form }).chain([form]) {
            if !out.contains(&form) {
                out.push(form);
            }
        }
    }
    out
}

/// Forms whose AICc is this close to the least are searched again from displaced optima. The second search finds a lower optimum in a
/// few per cent of fits, then lower by a few units: a form further behind cannot catch up in practice.
const CONTENTION: f64 = 20.0;

/// The best optimum with one smoothing parameter moved far away, each a start in another basin.
fn displaced(layout: &Layout, optima: &[Optimum]) -> Vec<Vec<f64>> {
    let Some(best) = optima.iter().min_by(|a, b| a.value.total_cmp(&b.value)) else { return Vec::new() };
    let targets = [(layout.beta, &[0.0, 0.02, 0.2, 1.0][..]), (layout.gamma, &[0.0, 0.3, 1.0]), (layout.phi, &[0.8, 0.98])];
    let mut out = Vec::new();
    for (at, values) in targets {
        let Some(i) = at else { continue };
        for &v in values.iter().filter(|v| (best.x[i] - **v).abs() >= 0.05) {
            let mut x = best.x.clone();
            x[i] = v;
            out.push(x);
        }
    }
    // A slowly moving slope under a level that follows it: a narrow valley that the grids can miss.
    if let Some(i) = layout.beta {
        for alpha in [0.01, 0.06] {
            let mut x = best.x.clone();
            (x[0], x[i]) = (alpha, layout.largest_beta(alpha));
            out.push(x);
        }
    }
    out
}

/// A form's optima so far, the best first.
struct Found {
    form: Form,
    aicc: f64,
    smoothing: Smoothing,
    /// In units of the scaled data.
    state: State,
    optima: Vec<Optimum>,
}

/// One series in the units of the search: divided by its largest magnitude, and for linear additive forms centred as well.
struct Search {
    scale: f64,
    centre: f64,
    scaled: Vec<f64>,
    centred: Vec<f64>,
    floor: Floor,
    season: usize,
    region: Region,
}

impl Search {
    fn new(y: &[f64], season: usize, region: Region) -> Result<Search, FitError> {
        let largest = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if largest > 1e150 {
            return Err(FitError::Numerical("values beyond 1e150".into()));
        }
        let scale = if largest > 0.0 { largest } else { 1.0 };
        let scaled: Vec<f64> = y.iter().map(|v| v / scale).collect();
        let n = scaled.len() as f64;
        let centre = scaled.iter().sum::<f64>() / n;
        let centred: Vec<f64> = scaled.iter().map(|v| v - centre).collect();
        let range = centred.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let positive = scaled.iter().all(|v| *v > 0.0);
        let mean_log = if positive { scaled.iter().map(|v| v.ln()).sum::<f64>() / n } else { 0.0 };
        // Errors this small are rounding: of the arithmetic on the range, or of the data themselves.
        let rms = (1e-10 * range).max(4.0 * f64::EPSILON);
        Ok(Search { scale, centre, scaled, centred, floor: Floor { rms, mean_log }, season, region })
    }

    /// Looks for the optimum of every form, then harder for those that can still win, and returns the best.
    fn best(&self, forms: &[Form]) -> Result<Estimate, FitError> {
        let mut ws = Workspace::default();
        let mut starts = Starts::new(&self.centred, self.centre, self.season);
        let mut found: Vec<Found> = Vec::with_capacity(forms.len());
        for form in with_simpler_trends(forms) {
            let (problem, origin) = self.problem(form);
            let mut points = starts.of(&problem, origin, &mut ws);
            for f in &found {
                if let Some((smoothing, mut state)) = warm(f.form, form, f.smoothing, &f.state) {
                    state.level -= origin;
                    let x = problem.layout.pack(form, smoothing, &state);
                    points.push(Start { value: problem.value(&x, &mut ws), x });
                }
            }
            points.sort_by(|a, b| a.value.total_cmp(&b.value));
            let mut optima = Vec::new();
            for start in points {
                optima.extend(descend(&problem, &start.x, &optima, &mut ws));
            }
            found.extend(self.found(&problem, origin, optima, &mut ws));
        }
        found.retain(|f| forms.contains(&f.form));
        let least = found.iter().map(|f| f.aicc).fold(f64::INFINITY, f64::min);
        for f in &mut found {
            if f.aicc <= least + CONTENTION {
                let (problem, origin) = self.problem(f.form);
                let mut optima = std::mem::take(&mut f.optima);
                for x in displaced(&problem.layout, &optima) {
                    optima.extend(descend(&problem, &x, &optima, &mut ws));
                }
                if let Some(better) = self.found(&problem, origin, optima, &mut ws) {
                    *f = better;
                }
            }
        }
        // Equal up to rounding goes to the earlier form.
        let mut best: Option<Found> = None;
        for f in found {
            if best.as_ref().is_none_or(|b| f.aicc < b.aicc - 1e-9 * b.aicc.abs().max(1.0)) {
                best = Some(f);
            }
        }
        let failed = || FitError::Numerical("no form has a finite likelihood on this series".into());
        let best = best.ok_or_else(failed)?;
        let optimum = best.optima.first().ok_or_else(failed)?;
        Ok(Estimate {
            form: best.form,
            season: self.season.max(1),
            scale: self.scale,
            smoothing: best.smoothing,
            // Dividing the data by a constant moved L by 2n·ln(constant).
            loglik: -0.5 * optimum.value - self.scaled.len() as f64 * self.scale.ln(),
            converged: optimum.converged,
            initial: best.state,
        })
    }

    /// The problem of a form, and what its data are below the scaled data: linear forms with additive errors do not care for the origin,
    /// and centred data keep the most digits.
    fn problem(&self, form: Form) -> (Problem<'_>, f64) {
        let centred = form.error == ErrorKind::Additive && form.linear();
        let (y, origin) = if centred { (&self.centred, self.centre) } else { (&self.scaled, 0.0) };
        (Problem { y, form, layout: Layout::new(form, self.season, self.region), floor: self.floor, guarded: false }, origin)
    }

    fn found(&self, problem: &Problem, origin: f64, mut optima: Vec<Optimum>, ws: &mut Workspace) -> Option<Found> {
        if self.region == Region::Admissible {
            self.keep_admissible(problem, &mut optima, ws);
        }
        optima.sort_by(|a, b| a.value.total_cmp(&b.value));
        let best = optima.first()?;
        let (n, k) = (self.scaled.len() as f64, problem.form.parameters(self.season) as f64);
        let room = n - k - 1.0;
        let correction = if room > 0.0 { 2.0 * k * (k + 1.0) / room } else { 0.0 };
        let mut state = State { level: 0.0, slope: 0.0, season: Vec::new() };
        problem.layout.read_state(&best.x, &mut state);
        state.level += origin;
        Some(Found {
            form: problem.form,
            aicc: best.value + 2.0 * k + correction,
            smoothing: problem.layout.smoothing(&best.x),
            state,
            optima,
        })
    }

    /// Replaces optima outside the admissible region by what a guarded descent from the usual region reaches.
    fn keep_admissible(&self, problem: &Problem, optima: &mut Vec<Optimum>, ws: &mut Workspace) {
        let inside = |o: &Optimum| admissible(problem.form, problem.layout.smoothing(&o.x), self.season);
        let (mut kept, outside): (Vec<Optimum>, Vec<Optimum>) = std::mem::take(optima).into_iter().partition(inside);
        let guarded = Problem { guarded: true, ..problem.clone() };
        for o in outside {
            let mut x = o.x;
            problem.layout.make_usual(&mut x);
            kept.extend(descend(&guarded, &x, &kept, ws));
        }
        *optima = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{Diagnostics, Spread};
    use super::*;

    fn air_passengers() -> Vec<f64> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/classic/air_passengers.csv");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect()
    }

    fn fixed(y: &[f64], name: &str, m: usize) -> Result<Diagnostics, FitError> {
        fit_form(y, &EtsConfig::fixed(name.parse().unwrap(), m)).map(|f| f.diagnostics().clone())
    }

    fn sound(fit: &EtsFit) {
        let p = fit.predict(15);
        let Spread::Normal(sd) = &p.spread else { panic!("no spread") };
        assert!(p.mean.iter().chain(sd).chain(fit.residuals()).all(|v| v.is_finite()));
        assert!(fit.diagnostics().loglik.unwrap().is_finite());
    }

    #[test]
    fn air_passengers_reaches_the_known_optima() {
        let y = air_passengers();
        // AICc of converged optimisations elsewhere (MAM to MAdA: statsmodels; the rest: R and its ports). Ours may be lower, not higher.
        let known =
            [("ANN", 1733.958), ("MAN", 1673.411), ("MNM", 1401.940), ("MAM", 1390.84), ("MAdM", 1399.705), ("AAA", 1475.824)];
        for (name, aicc) in known {
            let d = fixed(&y, name, 12).unwrap();
            assert!(d.converged && d.aicc.unwrap() < aicc + 1e-3, "{name}: {:?}", d.aicc);
            assert!(d.aicc.unwrap() > aicc - 0.1, "{name}: {:?}", d.aicc);
        }
    }

    #[test]
    fn auto_selects_mam_on_air_passengers() {
        let fit = fit_form(&air_passengers(), &EtsConfig::auto(12)).unwrap();
        let d = fit.diagnostics();
        assert_eq!(d.form, "ETS(M,A,M)");
        assert!(d.aicc.unwrap() <= 1390.84 && d.loglik.unwrap() >= -675.989, "{d:?}");
        // The published next three values, within 0.1 %.
        for (got, want) in fit.predict(3).mean.iter().zip([442.77, 435.90, 498.82]) {
            assert!((got / want - 1.0).abs() < 1e-3, "{got} {want}");
        }
        let alpha = d.params[0].1;
        assert!((alpha - 0.7411).abs() < 0.01, "{alpha}");
    }

    #[test]
    fn the_scale_of_the_data_changes_nothing_but_the_units() {
        let y = air_passengers();
        let base = fit_form(&y, &EtsConfig::auto(12)).unwrap();
        for scale in [1e12, 1e-9] {
            let z: Vec<f64> = y.iter().map(|v| v * scale).collect();
            let fit = fit_form(&z, &EtsConfig::auto(12)).unwrap();
            assert_eq!(fit.form(), base.form());
            for (a, b) in fit.predict(24).mean.iter().zip(base.predict(24).mean) {
                // The optimum is flat: 1e-10 in L leaves 1e-6 in a parameter.
                assert!((a / scale / b - 1.0).abs() < 1e-6, "{a} {b}");
            }
            let shift = fit.diagnostics().loglik.unwrap() - base.diagnostics().loglik.unwrap();
            assert!((shift + 144.0 * scale.ln()).abs() < 1e-7, "{shift}");
        }
        // Linear additive forms do not care for the origin either, even one a billion times the signal.
        let shifted: Vec<f64> = y.iter().map(|v| v + 1e9).collect();
        let (a, b) = (fixed(&y, "AAA", 12).unwrap(), fixed(&shifted, "AAA", 12).unwrap());
        assert!((a.loglik.unwrap() - b.loglik.unwrap()).abs() < 1e-4);
    }

    #[test]
    fn a_richer_trend_is_never_worse_and_a_wider_region_neither() {
        let y = air_passengers();
        for (error, season) in [("A", "N"), ("M", "N"), ("A", "A"), ("M", "A"), ("M", "M"), ("A", "M")] {
            let loglik = |trend: &str| fixed(&y, &format!("{error}{trend}{season}"), 12).unwrap().loglik.unwrap();
            let none = loglik("N");
            // With slope 0 and β 0 each of them is the form without a trend.
            for trend in ["A", "Ad", "M", "Md"] {
                assert!(loglik(trend) > none - 1e-7, "{error}{trend}{season}");
            }
        }
        for name in ["ANA", "AAA", "MAN", "MNM"] {
            let usual = EtsConfig::fixed(name.parse().unwrap(), 12);
            let wide = EtsConfig { region: Region::Admissible, ..usual.clone() };
            let loglik = |c: &EtsConfig| fit_form(&y, c).unwrap().diagnostics().loglik.unwrap();
            assert!(loglik(&wide) > loglik(&usual) - 1e-7, "{name}");
        }
        // Known case: the optimum of ANA lies outside the usual region (α + γ > 1).
        let wide = EtsConfig { region: Region::Admissible, ..EtsConfig::fixed("ANA".parse().unwrap(), 12) };
        let d = fit_form(&y, &wide).unwrap().diagnostics().clone();
        assert!(d.aicc.unwrap() < 1505.41 && d.params[0].1 + d.params[1].1 > 1.0, "{d:?}");
    }

    #[test]
    fn perfect_fits_are_finite_and_forecast_the_pattern() {
        type Pattern = fn(usize) -> f64;
        let cases: [(usize, Pattern); 5] = [
            (12, |_| 7.5),
            (12, |_| 0.0),
            (12, |t| 3.0 - 2.0 * t as f64),
            (12, |t| 10.0 + ((t % 12) * (t % 12)) as f64),
            (4, |t| (10.0 + 0.5 * t as f64) * [1.0, 0.8, 1.3, 0.9][t % 4]),
        ];
        for (m, f) in cases {
            let y: Vec<f64> = (0..60).map(f).collect();
            let fit = fit_form(&y, &EtsConfig::auto(m)).unwrap();
            sound(&fit);
            for (h, got) in fit.predict(15).mean.iter().enumerate() {
                let want = f(60 + h);
                assert!((got - want).abs() < 1e-6 * (1.0 + want.abs()), "{got} {want}");
            }
        }
        let constant = fit_form(&[7.5; 60], &EtsConfig::auto(12)).unwrap();
        assert_eq!(constant.form(), Form::SES);
    }

    #[test]
    fn short_series_are_refused_with_what_they_need_or_get_a_simple_form() {
        let y = air_passengers();
        let auto = |n: usize| fit_form(&y[..n], &EtsConfig::auto(12));
        assert_eq!(auto(0).unwrap_err(), FitError::TooShort { need: 1, got: 0 });
        for n in 1..3 {
            assert_eq!(auto(n).unwrap_err(), FitError::TooShort { need: 3, got: n });
        }
        for n in 3..30 {
            sound(&auto(n).unwrap());
        }
        assert_eq!(auto(4).unwrap().form(), Form::SES);
        assert_eq!(fixed(&y[..4], "AAN", 1).unwrap_err(), FitError::TooShort { need: 5, got: 4 });
        assert!(fixed(&y[..5], "AAN", 1).is_ok());
        assert!(matches!(fixed(&y[..23], "AAA", 12), Err(FitError::Season { season: 12, .. })));
        assert!(fixed(&y[..24], "AAdA", 12).is_ok());
    }

    #[test]
    fn forms_that_the_data_rule_out_say_so() {
        let y = air_passengers();
        let mut z = y.clone();
        z[7] = 0.0;
        for name in ["MNN", "ANM", "AMN", "MAA"] {
            assert_eq!(fixed(&z, name, 12).unwrap_err(), FitError::NonPositive { index: 8, value: 0.0 }, "{name}");
        }
        let pattern = |p: &str, y: &[f64], m: usize| {
            let cfg = EtsConfig { season: m, pattern: p.parse().unwrap(), ..EtsConfig::auto(m) };
            fit_form(y, &cfg)
        };
        assert!(matches!(pattern("MZN", &z, 12), Err(FitError::NonPositive { .. })));
        assert!(matches!(pattern("ZZA", &y, 1), Err(FitError::Season { .. })));
        assert!(matches!(pattern("ZZA", &y, 100), Err(FitError::Season { .. })));
        assert!(matches!(pattern("ZZA", &y, usize::MAX), Err(FitError::Season { .. })));
        // Open letters adapt instead: no multiplicative part with a zero, no season beyond half the data or beyond the limit.
        let auto = pattern("ZZZ", &z, 12).unwrap().form();
        assert!(!auto.needs_positive());
        assert!(!pattern("ZZZ", &y, 100).unwrap().form().seasonal());
        assert!(!pattern("ZZZ", &y, 36).unwrap().form().seasonal());
        assert!(pattern("ZZA", &y, 36).unwrap().form().seasonal());
        z[7] = f64::INFINITY;
        assert!(matches!(pattern("ZZZ", &z, 12), Err(FitError::NonFinite { index: 8, .. })));
        assert!(matches!(fixed(&[1e200; 9], "ANN", 1), Err(FitError::Numerical(_))));
    }

    #[test]
    fn odd_series_are_answered_soundly() {
        let mut spike = vec![1.0; 60];
        spike[30] = 1e9;
        let intermittent: Vec<f64> = (0..60).map(|t| if t % 7 == 3 { (t % 5) as f64 } else { 0.0 }).collect();
        let alternating: Vec<f64> = (0..40).map(|t| if t % 2 == 0 { 1.0 } else { 1e6 }).collect();
        let step: Vec<f64> = (0..60).map(|t| if t < 30 { 1.0 } else { 1000.0 }).collect();
        let geometric: Vec<f64> = (0..60).map(|t| 1.1f64.powi(t)).collect();
        let nearly_zero: Vec<f64> = (0..60).map(|t| if t % 10 == 0 { 1e-200 } else { 5.0 + (t % 3) as f64 }).collect();
        for y in [&spike, &intermittent, &alternating, &step, &geometric, &nearly_zero] {
            for m in [2, 4, 12, 24] {
                sound(&fit_form(y, &EtsConfig::auto(m)).unwrap());
            }
        }
    }

    #[test]
    fn the_shorthands_mean_their_forms() {
        let y = air_passengers();
        let form = |c: EtsConfig| fit_ets(&y, &c).unwrap().diagnostics().form.clone();
        assert_eq!(form(EtsConfig::ses()), "ETS(A,N,N)");
        assert_eq!(form(EtsConfig::holt(false)), "ETS(A,A,N)");
        assert_eq!(form(EtsConfig::holt(true)), "ETS(A,Ad,N)");
        assert_eq!(form(EtsConfig::holt_winters(12)), "ETS(A,A,A)");
        assert_eq!(form(EtsConfig::fixed(Form::HOLT_WINTERS_MULTIPLICATIVE, 12)), "ETS(A,A,M)");
    }
}
