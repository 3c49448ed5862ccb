//! The notation of exponential smoothing: [`Form`] (`MAdM` = multiplicative error, damped additive trend, multiplicative season)
//! and [`FormPattern`] (the same with `Z` for "choose").

use std::fmt;
use std::str::FromStr;

use super::super::model::FitError;

/// How the one-step error enters the observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// y = μ + e.
    Additive,
    /// y = μ·(1 + e); positive data only.
    Multiplicative,
}

/// How the level moves from one step to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trend {
    /// No trend: the level stays.
    None,
    /// The level grows by a slope.
    Additive,
    /// The level grows by a slope that shrinks by the factor φ each step.
    AdditiveDamped,
    /// The level grows by a factor.
    Multiplicative,
    /// The level grows by a factor whose logarithm shrinks by φ each step.
    MultiplicativeDamped,
}

impl Trend {
    /// Whether the trend is damped, that is, whether φ is estimated.
    pub fn damped(self) -> bool {
        matches!(self, Trend::AdditiveDamped | Trend::MultiplicativeDamped)
    }

    /// Whether the trend multiplies the level.
    pub fn multiplicative(self) -> bool {
        matches!(self, Trend::Multiplicative | Trend::MultiplicativeDamped)
    }
}

/// How the season enters the observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeasonKind {
    /// No season.
    None,
    /// The season is added to the level.
    Additive,
    /// The season multiplies the level; positive data only.
    Multiplicative,
}

/// One exponential smoothing model: error, trend and season.
///
/// Written `ANN`, `AAdN`, `MAM`, ... (parsed in either case, also as `ETS(M,Ad,M)`) and displayed as `ETS(M,Ad,M)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// The error component.
    pub error: ErrorKind,
    /// The trend component.
    pub trend: Trend,
    /// The seasonal component.
    pub season: SeasonKind,
}

impl Form {
    /// Simple exponential smoothing, `ANN`.
    pub const SES: Form = Form { error: ErrorKind::Additive, trend: Trend::None, season: SeasonKind::None };
    /// Holt's linear trend, `AAN`.
    pub const HOLT: Form = Form { error: ErrorKind::Additive, trend: Trend::Additive, season: SeasonKind::None };
    /// Holt's damped trend, `AAdN`.
    pub const HOLT_DAMPED: Form = Form { error: ErrorKind::Additive, trend: Trend::AdditiveDamped, season: SeasonKind::None };
    /// Holt–Winters with an additive season, `AAA`.
    pub const HOLT_WINTERS: Form = Form { error: ErrorKind::Additive, trend: Trend::Additive, season: SeasonKind::Additive };
    /// Holt–Winters with a multiplicative season and additive errors, `AAM`: the classical multiplicative method.
    pub const HOLT_WINTERS_MULTIPLICATIVE: Form =
        Form { error: ErrorKind::Additive, trend: Trend::Additive, season: SeasonKind::Multiplicative };

    /// Every form, in the fixed order that breaks ties: by season, then trend, then error, the simpler first.
    pub fn all() -> impl Iterator<Item = Form> {
        use Trend::{Additive, AdditiveDamped, Multiplicative, MultiplicativeDamped};
        let seasons = [SeasonKind::None, SeasonKind::Additive, SeasonKind::Multiplicative];
        let trends = [Trend::None, Additive, AdditiveDamped, Multiplicative, MultiplicativeDamped];
        seasons.into_iter().flat_map(move |season| {
            trends.into_iter().flat_map(move |trend| {
                [ErrorKind::Additive, ErrorKind::Multiplicative].into_iter().map(move |error| Form { error, trend, season })
            })
        })
    }

    /// Whether the form makes sense for positive data only: anything multiplicative in it.
    pub fn needs_positive(self) -> bool {
        self.error == ErrorKind::Multiplicative || self.trend.multiplicative() || self.season == SeasonKind::Multiplicative
    }

    /// Whether, for additive errors, the one-step forecasts are linear in the data and the initial states.
    pub fn linear(self) -> bool {
        !self.trend.multiplicative() && self.season != SeasonKind::Multiplicative
    }

    /// Whether there is a seasonal component.
    pub fn seasonal(self) -> bool {
        self.season != SeasonKind::None
    }

    /// The number of estimated quantities for season length `m`: smoothing parameters, initial states (the seasonal ones sum to a
    /// constant, hence m - 1) and the error variance.
    pub fn parameters(self, m: usize) -> usize {
        let trend = if self.trend == Trend::None { 0 } else { 2 + usize::from(self.trend.damped()) };
        let season = if self.seasonal() { m.max(1) } else { 0 };
        2 + trend + season + 1
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = if self.error == ErrorKind::Additive { "A" } else { "M" };
        let trend = match self.trend {
            Trend::None => "N",
            Trend::Additive => "A",
            Trend::AdditiveDamped => "Ad",
            Trend::Multiplicative => "M",
            Trend::MultiplicativeDamped => "Md",
        };
        let season = match self.season {
            SeasonKind::None => "N",
            SeasonKind::Additive => "A",
            SeasonKind::Multiplicative => "M",
        };
        write!(f, "ETS({error},{trend},{season})")
    }
}

impl FromStr for Form {
    type Err = FitError;

    fn from_str(s: &str) -> Result<Self, FitError> {
        let p: FormPattern = s.parse()?;
        match (p.error, p.trend, p.season) {
            (Some(error), TrendPattern::Exactly(trend), Some(season)) => Ok(Form { error, trend, season }),
            _ => Err(FitError::Spec(format!("`{s}` leaves a component open (Z); name all three, for example MAM"))),
        }
    }
}

/// Which trends a pattern admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrendPattern {
    /// `Z`: none, additive or damped additive.
    Any,
    /// `Zd`: damped additive.
    AnyDamped,
    /// A trend that is spelled out.
    Exactly(Trend),
}

/// A set of forms: three components, each spelled out or left open with `Z` (`ZZZ`, `MZN`, `ZAdN`, `ZZdA`).
///
/// An open component never brings in what is numerically or statistically doubtful: a multiplicative trend, or an additive error
/// with a multiplicative season or trend, or `MMA`; these take part only if every letter that makes the combination is spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FormPattern {
    /// The error, `None` = open.
    pub error: Option<ErrorKind>,
    /// The trend.
    pub trend: TrendPattern,
    /// The season, `None` = open.
    pub season: Option<SeasonKind>,
}

impl FormPattern {
    /// `ZZZ`: every default form.
    pub const AUTO: FormPattern = FormPattern { error: None, trend: TrendPattern::Any, season: None };

    /// The forms the pattern admits, in the fixed order of [`Form::all`]. Never empty for a parsed pattern.
    pub fn forms(&self) -> Vec<Form> {
        Form::all().filter(|form| self.admits(*form)).collect()
    }

    fn admits(&self, form: Form) -> bool {
        let trend = match self.trend {
            TrendPattern::Any => !form.trend.multiplicative(),
            TrendPattern::AnyDamped => form.trend == Trend::AdditiveDamped,
            TrendPattern::Exactly(t) => form.trend == t,
        };
        if !trend || self.error.is_some_and(|e| e != form.error) || self.season.is_some_and(|s| s != form.season) {
            return false;
        }
        let multiplicative_trend = form.trend.multiplicative();
        match form.error {
            // An additive error beside a multiplicative season needs both letters, beside a multiplicative trend the error's.
            ErrorKind::Additive if form.season == SeasonKind::Multiplicative => self.error.is_some() && self.season.is_some(),
            ErrorKind::Additive if multiplicative_trend => self.error.is_some(),
            ErrorKind::Multiplicative if multiplicative_trend && form.season == SeasonKind::Additive => {
                self.error.is_some() && self.season.is_some()
            }
            _ => true,
        }
    }
}

impl From<Form> for FormPattern {
    fn from(form: Form) -> Self {
        FormPattern { error: Some(form.error), trend: TrendPattern::Exactly(form.trend), season: Some(form.season) }
    }
}

impl FromStr for FormPattern {
    type Err = FitError;

    fn from_str(s: &str) -> Result<Self, FitError> {
        let wrong = || {
            FitError::Spec(format!(
                "`{s}` is no exponential smoothing form: write error (A, M), trend (N, A, Ad, M, Md) and season (N, A, M), \
                 with Z for any, as in AAdN, MAM or ZZZ"
            ))
        };
        let upper = s.trim().to_ascii_uppercase();
        let body = upper.strip_prefix("ETS").unwrap_or(&upper);
        let body = body.strip_prefix('(').and_then(|b| b.strip_suffix(')')).unwrap_or(body);
        let mut letters = body.chars().filter(|c| !matches!(c, ',' | ' ')).peekable();
        let error = match letters.next() {
            Some('A') => Some(ErrorKind::Additive),
            Some('M') => Some(ErrorKind::Multiplicative),
            Some('Z') => None,
            _ => return Err(wrong()),
        };
        let trend = letters.next().ok_or_else(wrong)?;
        let damped = letters.next_if_eq(&'D').is_some();
        let trend = match (trend, damped) {
            ('N', false) => TrendPattern::Exactly(Trend::None),
            ('A', false) => TrendPattern::Exactly(Trend::Additive),
            ('A', true) => TrendPattern::Exactly(Trend::AdditiveDamped),
            ('M', false) => TrendPattern::Exactly(Trend::Multiplicative),
            ('M', true) => TrendPattern::Exactly(Trend::MultiplicativeDamped),
            ('Z', false) => TrendPattern::Any,
            ('Z', true) => TrendPattern::AnyDamped,
            _ => return Err(wrong()),
        };
        let season = match letters.next() {
            Some('N') => Some(SeasonKind::None),
            Some('A') => Some(SeasonKind::Additive),
            Some('M') => Some(SeasonKind::Multiplicative),
            Some('Z') => None,
            _ => return Err(wrong()),
        };
        if letters.next().is_some() {
            return Err(wrong());
        }
        let pattern = FormPattern { error, trend, season };
        if pattern.forms().is_empty() {
            return Err(FitError::Spec(format!("`{s}` leaves no admissible form; spell the components out instead of Z")));
        }
        Ok(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(form: Form) -> String {
        form.to_string().replace("ETS", "").replace(['(', ')', ','], "")
    }

    #[test]
    fn every_form_survives_writing_and_reading() {
        assert_eq!(Form::all().count(), 30);
        for form in Form::all() {
            assert_eq!(form.to_string().parse::<Form>().unwrap(), form);
            assert_eq!(compact(form).parse::<Form>().unwrap(), form);
            assert_eq!(compact(form).to_lowercase().parse::<Form>().unwrap(), form);
            assert_eq!(FormPattern::from(form).forms(), vec![form]);
        }
        assert_eq!("MAdM".parse::<Form>().unwrap().to_string(), "ETS(M,Ad,M)");
    }

    #[test]
    fn nonsense_is_refused_with_the_word_that_caused_it() {
        for bad in ["", "A", "AA", "AAX", "NAN", "ANdN", "AANN", "MAMM", "ETS(A,N", "Ä"] {
            match bad.parse::<FormPattern>() {
                Err(FitError::Spec(text)) => assert!(text.contains(bad)),
                other => panic!("{bad}: {other:?}"),
            }
        }
        assert!(matches!("ZAN".parse::<Form>(), Err(FitError::Spec(_))));
    }

    #[test]
    fn open_patterns_keep_the_default_restrictions() {
        let names = |p: &str| p.parse::<FormPattern>().unwrap().forms().into_iter().map(compact).collect::<Vec<_>>();
        assert_eq!(
            names("ZZZ"),
            ["ANN", "MNN", "AAN", "MAN", "AAdN", "MAdN", "ANA", "MNA", "AAA", "MAA", "AAdA", "MAdA", "MNM", "MAM", "MAdM"]
        );
        assert_eq!(names("ZAdN"), ["AAdN", "MAdN"]);
        assert_eq!(names("ZZM"), ["MNM", "MAM", "MAdM"]);
        assert_eq!(names("AZM"), ["ANM", "AAM", "AAdM"]);
        assert_eq!(names("ZMN"), ["MMN"]);
        assert_eq!(names("MMZ"), ["MMN", "MMM"]);
        assert_eq!(names("AMA"), ["AMA"]);
        assert_eq!(names("ZZdN"), ["AAdN", "MAdN"]);
    }

    #[test]
    fn parameters_are_counted_as_in_the_literature() {
        let count = |s: &str, m| s.parse::<Form>().unwrap().parameters(m);
        // α, l0, σ² / + β, b0 / + φ / + γ, m - 1 seasons.
        assert_eq!([count("ANN", 1), count("AAN", 1), count("AAdN", 1), count("MNM", 12)], [3, 5, 6, 15]);
        assert_eq!([count("MAM", 12), count("MAdM", 12), count("AAA", 4)], [17, 18, 9]);
    }
}
