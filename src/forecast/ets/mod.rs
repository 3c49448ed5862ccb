//! Exponential smoothing in state-space form (ETS): all thirty forms, estimated to their optimum, and selection among them.
//!
//! A form names its error (A, M), trend (N, A, Ad, M, Md) and season (N, A, M): [`Form`], with open letters [`FormPattern`].
//! [`fit_ets`] estimates every form that an [`EtsConfig`] admits and keeps the one with the least AICc.
//!
//! How the optimum is found, file by file:
//!
//! 1. `recursion`: the state recursions, written so that both error kinds share them.
//! 2. `likelihood`: the criterion L = n·ln Σe² + 2Σ ln μ is a least-squares problem in disguise; one sweep gives its value, gradient and
//!    Gauss–Newton matrix for smoothing parameters *and* initial states.
//! 3. `affine`: for linear forms the best initial states of given smoothing parameters are an ordinary least-squares problem with a
//!    Toeplitz-like matrix, solved four at a time on a grid of smoothing parameters.
//! 4. `start`: the grid's local minima, carried over to multiplicative forms by logarithms or weights, start the searches.
//! 5. `estimate`: Levenberg–Marquardt in a box with a secant correction, until the model promises less than 1e-10 of L.
//! 6. `auto`: forms of simpler trend first (their optima start the richer ones), then displaced restarts for the forms in contention.
//! 7. `region`: the usual parameter region, or the wider admissible one.
//! 8. `forecast`, `fit`: means, variances and the fitted model.
//!
//! Likelihoods are ordinary functions with several minima, so a global optimum cannot be promised; what can be is that every result is a
//! stationary point and that searches from a dense grid of several hundred starts a form found a lower one in less than 0.5 % of fits.

mod affine;
mod auto;
mod estimate;
mod fit;
mod forecast;
mod form;
mod likelihood;
mod recursion;
mod region;
mod start;

pub use auto::{EtsConfig, LONGEST_SEASON, fit_ets, fit_form};
pub use fit::EtsFit;
pub use form::{ErrorKind, Form, FormPattern, SeasonKind, Trend, TrendPattern};
pub use region::Region;
