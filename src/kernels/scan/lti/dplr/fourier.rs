//! Fourier sums of any length, by Bluestein's convolution with a chirp: kl = (k² + l² − (l − k)²)/2.

use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::lti::complex::{Complex, Pair};
use crate::kernels::scan::lti::fft::Plan;
use crate::kernels::scan::lti::modes::root_of_unity;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Channels of a transform.
pub(super) const LANES: usize = <f64 as Real>::LANES;

/// Y_l = Σ_k X_k·e^(±2πikl/L), with as many inputs and outputs as are needed.
pub(super) struct Chirp {
    plan: Plan<f64>,
    /// e^(±πik²/L) for inputs and outputs.
    chirp: Vec<Complex>,
    /// The transform of the chirp between them, in all lanes.
    spectrum: Vec<f64>,
    inputs: usize,
    outputs: usize,
}

impl Chirp {
    /// From the L/2 + 1 first frequencies to L times.
    pub(super) fn to_time(len: usize) -> Self {
        Self::new(len, 1.0, len / 2 + 1, len)
    }

    /// From L times to the L/2 + 1 first frequencies.
    pub(super) fn to_frequency(len: usize) -> Self {
        Self::new(len, -1.0, len, len / 2 + 1)
    }

    fn new(len: usize, sign: f64, inputs: usize, outputs: usize) -> Self {
        let plan = Plan::<f64>::new((inputs + outputs - 1).next_power_of_two());
        let root = |k: usize| {
            // The angle πk²/L in whole parts of a turn.
            let (cos, sin) = root_of_unity((k as u128 * k as u128 % (2 * len as u128)) as usize, 2 * len);
            Complex::new(cos, sign * sin)
        };
        let chirp: Vec<Complex> = (0..inputs.max(outputs)).map(root).collect();
        let mut spectrum = vec![0.0; plan.len()];
        let mut put = |at: usize, z: Complex| {
            spectrum[2 * at * LANES..(2 * at + 1) * LANES].fill(z.re);
            spectrum[(2 * at + 1) * LANES..(2 * at + 2) * LANES].fill(z.im);
        };
        let scale = 1.0 / plan.size() as f64;
        (0..outputs).for_each(|j| put(j, chirp[j].conj().scale(scale)));
        (1..inputs).for_each(|j| put(plan.size() - j, chirp[j].conj().scale(scale)));
        dispatch(Forward(&plan, &mut spectrum));
        Self { plan, chirp, spectrum, inputs, outputs }
    }

    /// Transforms up to [`LANES`] channels, each real and imaginary parts (zeros where empty), and gives `put` (lane, index, value).
    pub(super) fn run(&self, x: &[[Vec<f64>; 2]], mut put: impl FnMut(usize, usize, Complex)) {
        with_scratch(self.plan.len(), |data: &mut [f64]| {
            data.fill(0.0);
            for (lane, [re, im]) in x.iter().enumerate() {
                for k in 0..self.inputs.min(re.len()) {
                    let z = Complex::new(re[k], im.get(k).copied().unwrap_or(0.0)) * self.chirp[k];
                    data[2 * k * LANES + lane] = z.re;
                    data[(2 * k + 1) * LANES + lane] = z.im;
                }
            }
            dispatch(Convolve { plan: &self.plan, spectrum: &self.spectrum, data });
            for l in 0..self.outputs {
                for lane in 0..x.len() {
                    let z = Complex::new(data[2 * l * LANES + lane], data[(2 * l + 1) * LANES + lane]);
                    put(lane, l, z * self.chirp[l]);
                }
            }
        });
    }
}

struct Forward<'a>(&'a Plan<f64>, &'a mut [f64]);

impl Kernel<f64> for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        self.0.forward::<V>(self.1, false);
    }
}

struct Convolve<'a> {
    plan: &'a Plan<f64>,
    spectrum: &'a [f64],
    data: &'a mut [f64],
}

impl Kernel<f64> for Convolve<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        self.plan.forward::<V>(self.data, false);
        for (z, k) in self.data.chunks_exact_mut(2 * V::N).zip(self.spectrum.chunks_exact(2 * V::N)) {
            Pair::<V>::load_pair(z).mul(Pair::load_pair(k)).store_pair(z);
        }
        self.plan.inverse::<V>(self.data, false);
    }
}
