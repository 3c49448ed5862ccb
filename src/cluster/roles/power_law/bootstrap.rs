//! Could a power law have made these values?

use rand::RngExt;
use rayon::prelude::*;

use super::{Counts, Estimator, PowerLaw, fit};
use crate::cluster::ClusterError;
use crate::cluster::roles::special::hurwitz_zeta;
use crate::run::observer::Observer;
use crate::run::seed::{Rng, Streams};

/// Largest value that is drawn; the chance of larger ones is below 1e-9 for exponents above 1.5.
const LARGEST: u64 = 1 << 60;

/// The goodness of a fit.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Goodness {
    /// Share of replicates whose own fit is as far from them as the fit is from the data. Small: not a power law (the authors rule it out
    /// at 0.1).
    pub p: f64,
    pub replicates: usize,
}

/// Draws values of the law: the smallest x with P(X > x) below a uniform number, by doubling and halving.
fn draw(law: &PowerLaw, whole: f64, rng: &mut Rng) -> u64 {
    let left = 1.0 - rng.random::<f64>();
    // P(X ≥ x) ≥ left.
    let reaches = |x: u64| hurwitz_zeta(law.alpha, x as f64).0 >= left * whole;
    let (mut low, mut high) = (law.xmin, law.xmin.saturating_mul(2));
    while high < LARGEST && reaches(high) {
        (low, high) = (high, high.saturating_mul(2));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if reaches(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The semi-parametric bootstrap: in each replicate every value comes from the law with the share of the tail, else it is one of the
/// values below xmin; xmin and α are found anew by `estimator`, and their distance is compared with that of the data.
///
/// Same bits at any number of threads. Errors: no replicates; stopped. Cost: `replicates` fits. Source: Clauset et al. 2009, section 4.1.
pub fn goodness(
    counts: &Counts,
    law: &PowerLaw,
    estimator: Estimator,
    replicates: usize,
    seed: u64,
    observer: &dyn Observer,
) -> Result<Goodness, ClusterError> {
    if replicates == 0 {
        return Err(ClusterError::Setting {
            what: "the number of power-law replicates",
            value: "0".into(),
            expected: "at least 1".into(),
        });
    }
    let below: Vec<u64> = {
        let (values, times) = counts.values();
        let small = values.iter().zip(times).take_while(|(x, _)| **x < law.xmin);
        small.flat_map(|(&x, &t)| std::iter::repeat_n(x, t as usize)).collect()
    };
    let share = law.tail as f64 / law.n as f64;
    let whole = hurwitz_zeta(law.alpha, law.xmin as f64).0;
    observer.start("power-law replicates", replicates);
    let one = |replicate: usize| {
        if observer.cancelled() {
            return None;
        }
        let mut rng = Streams::new(seed).stream("power law", replicate as u64);
        let data: Vec<u64> = (0..law.n)
            .map(|_| {
                if below.is_empty() || rng.random::<f64>() < share {
                    draw(law, whole, &mut rng)
                } else {
                    below[rng.random_range(0..below.len())]
                }
            })
            .collect();
        observer.advance(1);
        // A replicate of equal values cannot be fitted: it is no closer to a power law than the data.
        Some(Counts::new(&data).and_then(|c| fit(&c, estimator)).map_or(true, |found| found.ks >= law.ks))
    };
    let further: Vec<Option<bool>> = (0..replicates).into_par_iter().with_max_len(1).map(one).collect();
    let further: Option<Vec<bool>> = further.into_iter().collect();
    let Some(further) = further else { return Err(ClusterError::Cancelled) };
    observer.finish();
    Ok(Goodness { p: further.iter().filter(|f| **f).count() as f64 / replicates as f64, replicates })
}
