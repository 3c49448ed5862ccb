//! Model names as people type them (`auto-ets`, `ets:MAM`, `arima:0,1,1,0,1,1,12`) and what they stand for.

use super::arima::{self, AutoArimaConfig, Constant, Order};
use super::croston::{self, CrostonVariant};
use super::ets::{self, EtsConfig, FormPattern};
use super::linear::LinearKind;
use super::model::{FitError, Fitted};
use super::neural::options::NetworkKind;
use super::theta::{self, ThetaVariant};
use super::{adida, naive};
use crate::nn::ssm::BlockKind;
use std::fmt;
use std::str::FromStr;

/// A model to fit. Serialises as its command-line name.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelSpec {
    /// Last value.
    Naive,
    /// Last season.
    SeasonalNaive,
    /// Mean of the history.
    Mean,
    /// Mean of the last `window` values; `None` = one season (or 3 without a season).
    WindowAverage(Option<usize>),
    /// Random walk with drift.
    Drift,
    /// Simple exponential smoothing.
    Ses,
    /// Holt's linear trend.
    Holt,
    /// Holt–Winters with additive season.
    HoltWinters,
    /// One ETS form or pattern, as typed.
    Ets(String, FormPattern),
    /// The ETS form with the lowest AICc.
    AutoEts,
    /// A Theta model.
    Theta(ThetaVariant),
    /// One ARIMA order, as typed.
    Arima(String, Order),
    /// The ARIMA order with the lowest AICc.
    AutoArima,
    /// Croston's method, α = 0.1.
    Croston,
    /// Croston with the Syntetos–Boylan correction.
    Sba,
    /// Teunter–Syntetos–Babai, α_d = α_p = 0.2 unless given.
    Tsb(f64, f64),
    /// Aggregate–disaggregate.
    Adida,
    /// A linear map shared by all series of the panel.
    Linear(LinearKind),
    /// A network trained on all series of the panel.
    Network(NetworkKind),
}

/// Longest season of automatic ETS: a year of weeks, an hour of minutes.
const AUTO_ETS_SEASON: usize = 60;
/// Longest season of automatic ARIMA, as in R.
const AUTO_ARIMA_SEASON: usize = 350;

/// Smoothing parameters of `tsb` when none are typed.
const TSB_ALPHA: f64 = 0.2;

/// Names without parameters, in the order in which help and errors list them.
fn plain() -> Vec<(&'static str, ModelSpec)> {
    use ModelSpec as M;
    vec![
        ("naive", M::Naive),
        ("seasonal-naive", M::SeasonalNaive),
        ("mean", M::Mean),
        ("window-average", M::WindowAverage(None)),
        ("drift", M::Drift),
        ("ses", M::Ses),
        ("holt", M::Holt),
        ("holt-winters", M::HoltWinters),
        ("auto-ets", M::AutoEts),
        ("theta", M::Theta(ThetaVariant::Standard)),
        ("opt-theta", M::Theta(ThetaVariant::Optimized)),
        ("dyn-theta", M::Theta(ThetaVariant::Dynamic)),
        ("dyn-opt-theta", M::Theta(ThetaVariant::DynamicOptimized)),
        ("auto-theta", M::Theta(ThetaVariant::Auto)),
        ("auto-arima", M::AutoArima),
        ("croston", M::Croston),
        ("sba", M::Sba),
        ("tsb", M::Tsb(TSB_ALPHA, TSB_ALPHA)),
        ("adida", M::Adida),
        ("linear", M::Linear(LinearKind::Linear)),
        ("dlinear", M::Linear(LinearKind::Dlinear)),
        ("nlinear", M::Linear(LinearKind::Nlinear)),
        ("rlinear", M::Linear(LinearKind::Rlinear)),
        ("timemixer", M::Network(NetworkKind::TimeMixer)),
        ("patchtst", M::Network(NetworkKind::PatchTst)),
        ("karma", M::Network(NetworkKind::Karma)),
        ("s4", M::Network(NetworkKind::StateSpace(BlockKind::S4))),
        ("s4d", M::Network(NetworkKind::StateSpace(BlockKind::S4d))),
        ("mamba", M::Network(NetworkKind::StateSpace(BlockKind::Mamba))),
        ("mamba2", M::Network(NetworkKind::StateSpace(BlockKind::Mamba2))),
        ("mamba3", M::Network(NetworkKind::StateSpace(BlockKind::Mamba3))),
    ]
}

/// Every model name for help and suggestions; the parametrised ones with their form.
pub fn model_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = plain().into_iter().map(|(name, _)| name).collect();
    names.extend(["ets:XYZ", "arima:p,d,q[,P,D,Q,m]", "window-average:W", "tsb:ALPHA_D,ALPHA_P"]);
    names
}

/// Splits a comma list of models. A number belongs to the parametrised model before it: `naive,arima:0,1,1,theta` is three models.
pub fn parse_models(list: &str) -> Result<Vec<ModelSpec>, String> {
    let mut tokens: Vec<String> = Vec::new();
    for part in list.split(',').map(str::trim) {
        let numeric = !part.is_empty() && part.parse::<f64>().is_ok();
        match tokens.last_mut() {
            Some(last) if numeric && last.contains(':') => {
                last.push(',');
                last.push_str(part);
            }
            _ => tokens.push(part.to_string()),
        }
    }
    let mut models: Vec<ModelSpec> = Vec::new();
    for token in tokens {
        let model: ModelSpec = token.parse()?;
        if models.iter().any(|m| m.to_string() == model.to_string()) {
            return Err(format!("model \"{model}\" is listed twice"));
        }
        models.push(model);
    }
    Ok(models)
}

impl FromStr for ModelSpec {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let lower = s.trim().to_lowercase();
        if lower.is_empty() {
            return Err("a model name is empty: write for example -m auto-ets,naive".into());
        }
        if let Some((_, spec)) = plain().into_iter().find(|(name, _)| *name == lower) {
            return Ok(spec);
        }
        match lower.split_once(':') {
            Some(("ets", form)) => {
                let typed = s.trim()[4..].to_string();
                let pattern = typed.parse().map_err(|e| format!("model \"{s}\": {e}"))?;
                return Ok(Self::Ets(if form.is_empty() { "ZZZ".into() } else { typed }, pattern));
            }
            Some(("arima", order)) => {
                let parsed = order.parse().map_err(|e| format!("model \"{s}\": {e}"))?;
                return Ok(Self::Arima(order.to_string(), parsed));
            }
            Some(("window-average", w)) => {
                return match w.parse() {
                    Ok(w) if w > 0 => Ok(Self::WindowAverage(Some(w))),
                    _ => Err(format!("model \"{s}\": found window \"{w}\", expected a whole number above 0")),
                };
            }
            Some(("tsb", alphas)) => {
                let parsed: Vec<f64> = alphas.split(',').filter_map(|v| v.trim().parse().ok()).collect();
                return match parsed[..] {
                    [d, p] if alphas.split(',').count() == 2 && (0.0..=1.0).contains(&d) && (0.0..=1.0).contains(&p) => {
                        Ok(Self::Tsb(d, p))
                    }
                    _ => Err(format!("model \"{s}\": expected tsb:ALPHA_D,ALPHA_P with both in [0, 1]")),
                };
            }
            _ => {}
        }
        let names = model_names();
        let close = plain()
            .iter()
            .map(|(name, _)| (strsim::damerau_levenshtein(name, &lower), *name))
            .filter(|(d, name)| *d <= (name.len() / 3).max(2))
            .min_by_key(|(d, _)| *d);
        Err(match close {
            Some((_, name)) => format!("unknown model \"{s}\": did you mean \"{name}\"?"),
            None => format!("unknown model \"{s}\", expected one of {}", names.join(", ")),
        })
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ets(form, _) => write!(f, "ets:{form}"),
            Self::Arima(order, _) => write!(f, "arima:{order}"),
            Self::WindowAverage(Some(w)) => write!(f, "window-average:{w}"),
            Self::Tsb(d, p) if (*d, *p) != (TSB_ALPHA, TSB_ALPHA) => write!(f, "tsb:{d},{p}"),
            Self::Tsb(..) => f.write_str("tsb"),
            other => f.write_str(plain().iter().find(|(_, m)| m == other).map_or("?", |(name, _)| name)),
        }
    }
}

impl serde::Serialize for ModelSpec {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl ModelSpec {
    /// Whether one set of weights serves all series of the panel.
    pub fn is_global(&self) -> bool {
        matches!(self, Self::Linear(_) | Self::Network(_))
    }

    /// Whether the model makes no sense without a season, so that a season that was not found falls back on the frequency's usual one.
    pub fn needs_season(&self) -> bool {
        match self {
            Self::SeasonalNaive | Self::HoltWinters => true,
            Self::Ets(form, _) => !form.to_uppercase().ends_with(['N', 'Z']),
            _ => false,
        }
    }

    /// The longest season the model can be fitted with, where there is one. An open season letter of ETS costs m states for a
    /// choice among forms, ARIMA's state grows with m.
    pub fn longest_season(&self) -> Option<usize> {
        match self {
            Self::AutoEts => Some(AUTO_ETS_SEASON),
            Self::Ets(form, _) if form.to_uppercase().ends_with('Z') => Some(AUTO_ETS_SEASON),
            Self::AutoArima => Some(AUTO_ARIMA_SEASON),
            _ => None,
        }
    }

    /// Whether the model defines a forecast distribution of its own (`--intervals model`).
    pub fn has_model_intervals(&self) -> bool {
        !matches!(self, Self::WindowAverage(_) | Self::Croston | Self::Sba | Self::Tsb(..) | Self::Adida | Self::Linear(_))
    }

    /// Fits the model to one series. `season` = 1 means none. Global models are fitted by [`super::linear`] and [`super::neural`]
    /// instead.
    pub fn fit(&self, y: &[f64], season: usize) -> Result<Box<dyn Fitted>, FitError> {
        match self {
            Self::Naive => naive::fit_naive(y),
            Self::SeasonalNaive => naive::fit_seasonal_naive(y, season),
            Self::Mean => naive::fit_mean(y),
            Self::WindowAverage(w) => naive::fit_window_average(y, w.unwrap_or(if season > 1 { season } else { 3 })),
            Self::Drift => naive::fit_drift(y),
            Self::Ses => ets::fit_ets(y, &EtsConfig::ses()),
            Self::Holt => ets::fit_ets(y, &EtsConfig::holt(false)),
            Self::HoltWinters => ets::fit_ets(y, &EtsConfig::holt_winters(season)),
            Self::Ets(_, pattern) => ets::fit_ets(y, &EtsConfig { season, pattern: *pattern, ..open_ets(season) }),
            Self::AutoEts => ets::fit_ets(y, &open_ets(season)),
            Self::Theta(variant) => theta::fit_theta(y, season, *variant),
            Self::Arima(_, order) => arima::fit_arima(y, order, Constant::Auto),
            Self::AutoArima => arima::auto_arima(y, &AutoArimaConfig { season, ..AutoArimaConfig::default() }),
            Self::Croston => croston::fit_croston(y, CrostonVariant::Classic),
            Self::Sba => croston::fit_croston(y, CrostonVariant::Sba),
            Self::Tsb(d, p) => croston::fit_tsb(y, *d, *p),
            Self::Adida => adida::fit_adida(y),
            Self::Linear(_) | Self::Network(_) => Err(FitError::Spec(format!("{self} is fitted over a whole panel"))),
        }
    }
}

/// Automatic ETS with the season bound of this module.
fn open_ets(season: usize) -> EtsConfig {
    EtsConfig { max_open_season: AUTO_ETS_SEASON, ..EtsConfig::auto(season) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_round_trips() {
        for (name, spec) in plain() {
            assert_eq!(name.parse::<ModelSpec>().as_ref(), Ok(&spec));
            assert_eq!(spec.to_string(), name);
        }
        for name in ["ets:MAdM", "ets:ZZZ", "arima:0,1,1", "arima:0,1,1,0,1,1,12", "window-average:5", "tsb:0.1,0.3"] {
            assert_eq!(name.parse::<ModelSpec>().map(|m| m.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn numbers_belong_to_the_parametrised_model_before_them() {
        let names: Vec<String> = parse_models("naive,arima:0,1,1,0,1,1,12,theta,tsb:0.1,0.2,arima:1,0,0")
            .unwrap()
            .iter()
            .map(|m| m.to_string())
            .collect();
        assert_eq!(names, ["naive", "arima:0,1,1,0,1,1,12", "theta", "tsb:0.1,0.2", "arima:1,0,0"]);
    }

    #[test]
    fn mistakes_are_explained() {
        assert_eq!("auto-etts".parse::<ModelSpec>().unwrap_err(), "unknown model \"auto-etts\": did you mean \"auto-ets\"?");
        assert!("zzzzzzzz".parse::<ModelSpec>().unwrap_err().contains("expected one of naive"));
        assert!("ets:QQQ".parse::<ModelSpec>().unwrap_err().contains("ets:QQQ"));
        assert!("arima:1,1".parse::<ModelSpec>().is_err());
        assert!("window-average:0".parse::<ModelSpec>().is_err());
        assert!("tsb:0.1,7".parse::<ModelSpec>().is_err());
        assert!(parse_models("naive,naive").unwrap_err().contains("twice"));
        assert!(parse_models("naive,,theta").is_err());
    }
}
