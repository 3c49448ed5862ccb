//! A seeded stand-in for data sets that may not be passed on: hourly, seven channels, daily and weekly cycles.

use crate::run::seed::Streams;
use rand_distr::{Distribution, StandardNormal};

/// Rows and channels of the stand-in, those of ETTh1.
pub const ETTH_SHAPE: (usize, usize) = (17_420, 7);

/// Channel c is offset_c + a_c sin(2π (t + φ_c)/24) + b_c sin(2π (t + ψ_c)/168) + AR(1) noise with coefficient 0.9 and unit
/// innovations. One stream per channel. Result: (channel name, values) × 7.
pub fn etth(streams: &Streams) -> Vec<(String, Vec<f64>)> {
    let names = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"];
    let channel = |(c, name): (usize, &&str)| {
        let mut rng = streams.stream("synthetic etth", c as u64);
        let c = c as f64;
        let mut noise = 0.0;
        let y = (0..ETTH_SHAPE.0)
            .map(|t| {
                let z: f64 = StandardNormal.sample(&mut rng);
                noise = 0.9 * noise + z;
                let turn = |period: f64, phase: f64| (std::f64::consts::TAU * (t as f64 + phase) / period).sin();
                10.0 + c + (2.0 + 0.5 * c) * turn(24.0, 3.0 * c) + (1.0 + 0.2 * c) * turn(168.0, 11.0 * c) + noise
            })
            .collect();
        (name.to_string(), y)
    };
    names.iter().enumerate().map(channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_the_cycles_are_there() {
        let a = etth(&Streams::new(1));
        assert_eq!((a[0].1.len(), a.len()), ETTH_SHAPE);
        assert_eq!(a, etth(&Streams::new(1)));
        assert_ne!(a[0].1, etth(&Streams::new(2))[0].1);
        let acf = crate::forecast::seasonality::autocorrelation(&a[6].1, 24);
        // Signal variance (5² + 2.2²)/2 against noise 1/(1 − .81): the lag-24 correlation is about .72.
        assert!(acf[24] > 0.5, "{}", acf[24]);
    }
}
