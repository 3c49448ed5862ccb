//! How good class probabilities are.

/// Measures over some sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// Share of right labels.
    pub accuracy: f64,
    /// Mean over the classes of the harmonic mean of precision and recall; 0 for a class that is neither said nor there.
    pub macro_f1: f64,
    /// Mean of −ln of the probability of the right class, nats.
    pub nll: f64,
}

/// `probabilities` (sequences × classes) against the right classes.
pub fn measures(probabilities: &[Vec<f64>], labels: &[usize], classes: usize) -> Measures {
    let n = labels.len().max(1) as f64;
    let best = |p: &Vec<f64>| (1..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
    let said: Vec<usize> = probabilities.iter().map(best).collect();
    let right = said.iter().zip(labels).filter(|(a, b)| a == b).count() as f64;
    let nll = probabilities.iter().zip(labels).map(|(p, l)| -p[*l].max(f64::MIN_POSITIVE).ln()).sum::<f64>() / n;
    let f1 = |class: usize| {
        let both = said.iter().zip(labels).filter(|(a, b)| **a == class && **b == class).count() as f64;
        let either = said.iter().chain(labels).filter(|c| **c == class).count() as f64;
        if either > 0.0 { 2.0 * both / either } else { 0.0 }
    };
    let macro_f1 = (0..classes).map(f1).sum::<f64>() / classes.max(1) as f64;
    Measures { accuracy: right / n, macro_f1, nll }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        let p = vec![vec![0.7, 0.3], vec![0.4, 0.6], vec![0.9, 0.1], vec![0.2, 0.8]];
        let m = measures(&p, &[0, 0, 0, 1], 2);
        assert_eq!(m.accuracy, 0.75);
        // Class 0: 2 right of 2 said and 3 there; class 1: 1 right of 2 said and 1 there.
        assert!((m.macro_f1 - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
        assert!((m.nll + (0.7f64.ln() + 0.4f64.ln() + 0.9f64.ln() + 0.8f64.ln()) / 4.0).abs() < 1e-15);
    }
}
