use super::alternatives::{Law, compare};
use super::bootstrap::goodness;
use super::*;
use crate::cluster::criteria::testing::on_threads;
use crate::run::observer::Silent;

/// Total degrees of email-Eu-core.
fn degrees() -> Option<Counts> {
    let text = std::fs::read_to_string(crate::testing::shared("email-eu-core/edges.csv")?).unwrap();
    let mut degree = vec![0u64; 1005];
    for line in text.lines().skip(1) {
        line.split(',').for_each(|node| degree[node.parse::<usize>().unwrap()] += 1);
    }
    degree.retain(|&d| d > 0);
    Some(Counts::new(&degree).unwrap())
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

#[test]
fn email_degrees_as_in_the_specification() {
    let Some(counts) = degrees() else { return };
    // The specification's numbers are those of the powerlaw package, which approximates α from an xmin of 10 on.
    let law = fit(&counts, Estimator::Approximate).unwrap();
    assert_eq!((law.xmin, law.tail), (73, 249));
    close(law.alpha, 2.969178, 5.1e-7);
    close(law.sigma, 0.124792, 5.1e-7);
    close(law.ks, 0.062029, 5.1e-7);
    let lognormal = compare(&counts, &law, Law::Lognormal).unwrap();
    // The package stops its search at a likelihood 1e-5 from the best.
    close(lognormal.ratio, -7.08795, 2e-4);
    close(lognormal.p, 0.018263, 2e-5);
    let exponential = compare(&counts, &law, Law::Exponential).unwrap();
    // The exponential's likelihood has its maximum in closed form, and the package stops 3.4e-5 below it (its p is .29957); these are
    // scipy's numbers at the maximum.
    close(exponential.ratio, -5.444031166727765, 1e-8);
    close(exponential.p, 0.29969277126559213, 1e-9);
    let truncated = compare(&counts, &law, Law::TruncatedPowerLaw).unwrap();
    close(truncated.ratio, -7.93772, 2e-4);
    // The exact likelihood: by scipy's zeta and Nelder-Mead, 2.96932942, KS .06205632.
    let law = fit(&counts, Estimator::Exact).unwrap();
    assert_eq!((law.xmin, law.tail), (73, 249));
    close(law.alpha, 2.9693294, 1e-6);
    close(law.ks, 0.0620563, 1e-6);
}

#[test]
fn cascade_sizes_as_in_the_goldens() {
    let Some(path) = crate::testing::shared("molt/cascade_sizes.csv") else { return };
    let data: Vec<u64> = std::fs::read_to_string(path).unwrap().lines().skip(1).map(|l| l.parse().unwrap()).collect();
    let counts = Counts::new(&data).unwrap();
    assert_eq!(counts.n(), 1066);
    let law = fit(&counts, Estimator::Exact).unwrap();
    assert_eq!((law.xmin, law.tail), (5, 800));
    close(law.alpha, 2.5916785582316653, 1e-7);
    // The package's α, 2.5916567, is where its search stopped.
    close(law.sigma, 0.056273561728022746, 1e-6);
    close(law.ks, 0.013185370592664225, 2e-5);
    let exponential = compare(&counts, &law, Law::Exponential).unwrap();
    // At the maximum, by scipy; the package stops short of it (362.565283, p .017875).
    close(exponential.ratio, 362.56526128048597, 1e-6);
    close(exponential.p, 0.01784616524964021, 1e-9);
    // A true power law: the log-normal can only imitate it, the cut-off is none.
    let lognormal = compare(&counts, &law, Law::Lognormal).unwrap();
    assert!(lognormal.ratio.abs() < 0.1 && lognormal.p > 0.8, "{lognormal:?}");
    let truncated = compare(&counts, &law, Law::TruncatedPowerLaw).unwrap();
    assert!(truncated.ratio <= 1e-9 && truncated.ratio > -0.01 && truncated.p > 0.8, "{truncated:?}");
}

#[test]
fn the_small_example() {
    let counts = Counts::new(&[5, 5, 5, 6, 7, 8, 10, 12, 15, 30, 60]).unwrap();
    close(exponent(&counts, 5, Estimator::Exact).unwrap(), 2.220127, 5.1e-7);
    close(exponent(&counts, 5, Estimator::Approximate).unwrap(), 2.209900, 5.1e-7);
    let law = fit_from(&counts, 5, Estimator::Exact).unwrap();
    close(law.sigma, 1.220127 / 11f64.sqrt(), 1e-6);
    assert_eq!((law.tail, law.n), (11, 11));
    // The likelihood is the largest nearby, and the sum of single ones.
    let likelihood = |alpha: f64| -11.0 * hurwitz_zeta(alpha, 5.0).0.ln() - alpha * counts.logs[0];
    close(law.log_likelihood, likelihood(law.alpha), 1e-12);
    assert!(likelihood(law.alpha + 1e-3) < law.log_likelihood && likelihood(law.alpha - 1e-3) < law.log_likelihood);
}

#[test]
fn goodness_knows_a_power_law_from_others() {
    // Quantiles of a power law with α 2.5 from 3 on, and of a uniform law.
    let whole = hurwitz_zeta(2.5, 3.0).0;
    let data: Vec<u64> = (0..300)
        .map(|i| {
            let left = 1.0 - (f64::from(i) + 0.5) / 300.0;
            (3..).take_while(|&x| hurwitz_zeta(2.5, x as f64).0 >= left * whole).last().unwrap()
        })
        .collect();
    let counts = Counts::new(&data).unwrap();
    let law = fit(&counts, Estimator::Exact).unwrap();
    close(law.alpha, 2.5, 3.0 * law.sigma);
    let [one, two] = on_threads(|| goodness(&counts, &law, Estimator::Exact, 20, 5, &Silent).unwrap());
    assert_eq!(one, two);
    assert!(one.p > 0.5, "{one:?}");
    let flat = Counts::new(&(1..=150).flat_map(|x| [x; 4]).collect::<Vec<u64>>()).unwrap();
    let law = fit_from(&flat, 1, Estimator::Exact).unwrap();
    assert!(goodness(&flat, &law, Estimator::Exact, 20, 5, &Silent).unwrap().p < 0.1);
    assert!(matches!(goodness(&flat, &law, Estimator::Exact, 0, 5, &Silent), Err(ClusterError::Setting { .. })));
}

#[test]
fn what_is_no_power_law() {
    assert!(matches!(Counts::new(&[]), Err(ClusterError::Data(_))));
    assert!(Counts::new(&[3, 0]).unwrap_err().to_string().contains("value 1"));
    for data in [vec![4], vec![4, 4, 4]] {
        let text = fit(&Counts::new(&data).unwrap(), Estimator::Exact).unwrap_err().to_string();
        assert!(text.contains("different"), "{text}");
    }
    assert!(exponent(&Counts::new(&[1, 2]).unwrap(), 7, Estimator::Approximate).is_err());
    // Falls off faster than any exponent that is looked at.
    let data: Vec<u64> = [vec![1000; 5000], vec![1001]].concat();
    assert!(matches!(fit(&Counts::new(&data).unwrap(), Estimator::Exact), Err(ClusterError::Numbers(_))));
}
