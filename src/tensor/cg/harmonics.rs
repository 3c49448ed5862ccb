//! Real spherical harmonics in e3nn's basis, with gradients.
//!
//! Y_l transforms by D^l: Y(R v) = D(R) Y(v). The order is that of the blocks: index l + m, y the polar axis, and Y_1 is along (x, y, z).

/// What the components of one l are scaled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalization {
    /// Σ_m Y² = 2l + 1, so each component has mean square 1 over the sphere.
    #[default]
    Component,
    /// ∫ Y² over the sphere is 1.
    Integral,
    /// Σ_m Y² = 1.
    Norm,
}

impl Normalization {
    fn scale(self, l: usize) -> f64 {
        match self {
            Self::Component => 1.0,
            Self::Integral => (4.0 * std::f64::consts::PI).sqrt().recip(),
            Self::Norm => ((2 * l + 1) as f64).sqrt().recip(),
        }
    }
}

/// Constants of the recursions up to some L; make it once for many vectors.
#[derive(Debug, Clone)]
pub struct Harmonics {
    lmax: usize,
    /// Of l, for the scaling of all its components.
    scales: Vec<f64>,
    /// (a, b) of (l, m): P_l = a t P_{l−1} − b P_{l−2}; for m = l the factor from P_{l−1, l−1}.
    steps: Vec<(f64, f64)>,
}

impl Harmonics {
    /// For l = 0, …, `lmax`.
    pub fn new(lmax: usize, normalization: Normalization) -> Self {
        let mut steps = Vec::with_capacity((lmax + 1) * (lmax + 2) / 2);
        for l in 0..=lmax {
            for m in 0..=l {
                let [l, m] = [l, m].map(|n| n as f64);
                steps.push(if l == 0.0 {
                    (1.0, 0.0)
                } else if l == m {
                    // √3 for the first, as m > 0 stands for two components.
                    (if l == 1.0 { 3f64.sqrt() } else { ((2.0 * l + 1.0) / (2.0 * l)).sqrt() }, 0.0)
                } else {
                    let a = ((2.0 * l - 1.0) * (2.0 * l + 1.0) / ((l - m) * (l + m))).sqrt();
                    let b = (2.0 * l + 1.0) * (l + m - 1.0) * (l - m - 1.0) / ((2.0 * l - 3.0) * (l - m) * (l + m));
                    (a, b.max(0.0).sqrt())
                });
            }
        }
        Self { lmax, scales: (0..=lmax).map(|l| normalization.scale(l)).collect(), steps }
    }

    /// (L + 1)² numbers a vector.
    pub fn len(&self) -> usize {
        (self.lmax + 1).pow(2)
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Y of the direction of `v` into `out` ((L + 1)² numbers), and the gradients with respect to v, (L + 1)² of (x, y, z), when asked
    /// for. A vector of length 0 (or not
    /// finite) has no direction: l = 0 is as always, and all else is 0.
    ///
    /// Cost: O(L²). Source: the recursion in l at fixed m of fully normalised Legendre functions (Holmes & Featherstone 2002, eq. 11),
    /// with the powers of sin θ taken into (z + i x)^m, which makes every Y a polynomial and leaves no pole.
    pub fn eval(&self, v: [f64; 3], out: &mut [f64], mut gradient: Option<&mut [[f64; 3]]>) {
        assert_eq!(out.len(), self.len(), "room for (L + 1)² numbers");
        if let Some(g) = &mut gradient {
            assert_eq!(g.len(), self.len(), "room for (L + 1)² gradients");
            g.fill([0.0; 3]);
        }
        out.fill(0.0);
        out[0] = self.scales[0];
        let largest = v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        // Shorter than this, gradients would not be finite.
        if !(largest > 1e-290 && v.iter().all(|x| x.is_finite())) {
            return;
        }
        let scaled = v.map(|x| x / largest);
        let length = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
        let n = scaled.map(|x| x / length);
        let radius = length * largest;
        // Polar axis y; azimuth from z towards x.
        let [s1, t, c1] = n;
        // (z + i x)^m, and Legendre parts of m−th column for l − 1 and l − 2 with their derivatives in t. r = 1 on the sphere: what
        // homogeneity would add points along v and is projected away.
        let (mut c, mut s, mut before) = (1.0, 0.0, (0.0, 0.0));
        let mut sectoral = 1.0;
        for m in 0..=self.lmax {
            if m > 0 {
                sectoral *= self.step(m, m).0;
                before = (c, s);
                (c, s) = (c * c1 - s * s1, c * s1 + s * c1);
            }
            let (mut p, mut dp, mut last, mut dlast) = (sectoral, 0.0, 0.0, 0.0);
            for l in m..=self.lmax {
                if l > m {
                    let (a, b) = self.step(l, m);
                    (p, dp, last, dlast) = (a * t * p - b * last, a * (p + t * dp) - b * dlast, p, dp);
                }
                let (scale, mid) = (self.scales[l], l * l + l);
                out[mid + m] = scale * p * c;
                if m > 0 {
                    out[mid - m] = scale * p * s;
                }
                if let Some(g) = &mut gradient {
                    let k = m as f64 * p;
                    // d(z + i x)^m = m (z + i x)^{m−1} (dz + i dx).
                    g[mid + m] = [-k * before.1, dp * c, k * before.0].map(|v| scale * v);
                    if m > 0 {
                        g[mid - m] = [k * before.0, dp * s, k * before.1].map(|v| scale * v);
                    }
                }
            }
        }
        // Along the sphere only, and per length.
        for g in gradient.into_iter().flatten() {
            let along = g[0] * n[0] + g[1] * n[1] + g[2] * n[2];
            for (g, n) in g.iter_mut().zip(n) {
                *g = (*g - along * n) / radius;
            }
        }
    }

    fn step(&self, l: usize, m: usize) -> (f64, f64) {
        self.steps[l * (l + 1) / 2 + m]
    }
}

/// Y_0, …, Y_L of the direction of one vector, (L + 1)² numbers.
pub fn spherical_harmonics(v: [f64; 3], lmax: usize, normalization: Normalization) -> Vec<f64> {
    let all = Harmonics::new(lmax, normalization);
    let mut out = vec![0.0; all.len()];
    all.eval(v, &mut out, None);
    out
}
