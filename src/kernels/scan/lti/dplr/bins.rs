//! Cauchy sums and Woodbury's formula at the roots of unity, frequencies in lanes.
//!
//! With M = 2is − cΔA over pairs and conjugates, x = M⁻¹·ΔB and w = M⁻ᵀ·C̃: K̂ = e^(iθ/2)·C̃ᵀ·x, and the change of K̂ is
//! e^(iθ/2)·(dC̃ᵀ·x + Δ·wᵀ·dB + cΔ·wᵀ·dA·x), which gives all gradients without keeping a matrix. Sums q = P*·x and p = Δ·Pᵀ·w are
//! what ties the states to each other.

use super::recurrence::Channel;
use super::{MOST_RANK, Slopes};
use crate::kernels::scan::lti::complex::{Complex, Pair};
use crate::kernels::scan::lti::modes::root_of_unity;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// The roots of unity e^(−iθ), θ = 2πk/L for k = 0..=L/2: cosines and sines of θ/2, with room for whole vectors.
pub(super) struct Bins {
    len: usize,
    count: usize,
    cos: Vec<f64>,
    sin: Vec<f64>,
}

impl Bins {
    pub(super) fn new(len: usize) -> Self {
        let count = len / 2 + 1;
        let room = count.next_multiple_of(<f64 as Real>::LANES);
        // Behind the last, where nothing is singular.
        let halves: Vec<(f64, f64)> = (0..room).map(|k| if k < count { root_of_unity(k, 2 * len) } else { (0.0, 1.0) }).collect();
        let (cos, sin) = halves.into_iter().unzip();
        Self { len, count, cos, sin }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Frequencies that arrays have room for.
    pub(super) fn room(&self) -> usize {
        self.cos.len()
    }

    /// e^(iθ/2).
    pub(super) fn turn(&self, k: usize) -> Complex {
        Complex::new(self.cos[k], self.sin[k])
    }

    /// 2 where the conjugate frequency is another one.
    pub(super) fn multiplicity(&self, k: usize) -> f64 {
        if k == 0 || 2 * k == self.len { 1.0 } else { 2.0 }
    }

    /// Cosine and sine in lanes; with `skip`, the first frequency is replaced by a harmless one.
    #[inline(always)]
    fn at<V: Lanes<f64>>(&self, at: usize, skip: bool) -> (V, V) {
        if skip && at == 0 {
            let (mut cos, mut sin) = ([0.0; 16], [1.0; 16]);
            cos[1..V::N].copy_from_slice(&self.cos[1..V::N]);
            sin[1..V::N].copy_from_slice(&self.sin[1..V::N]);
            return (V::load(&cos), V::load(&sin));
        }
        (V::load(&self.cos[at..]), V::load(&self.sin[at..]))
    }
}

/// Products of a pair's numbers, as they stand in the sums.
struct Products<const R: usize> {
    lambda: Complex,
    cb: Complex,
    cp: [Complex; R],
    qb: [Complex; R],
    qp: [[Complex; R]; R],
}

fn products<const R: usize>(channel: &Channel) -> Vec<Products<R>> {
    let n = channel.lambda.len();
    let dt = channel.dt;
    let of = |k: usize| {
        let p: [Complex; R] = std::array::from_fn(|i| channel.p[i * n + k]);
        let (b, c) = (channel.b[k], channel.c[k]);
        Products {
            lambda: channel.lambda[k].scale(dt),
            cb: (c * b).scale(dt),
            cp: p.map(|p| (c * p).scale(dt)),
            qb: p.map(|p| (p.conj() * b).scale(dt)),
            qp: p.map(|q| p.map(|p| (q.conj() * p).scale(dt))),
        }
    };
    (0..n).map(of).collect()
}

/// 1/(2is − cΔΛ) and the same for the conjugate of Λ.
#[inline(always)]
fn inverses<V: Lanes<f64>>(lambda: Complex, cos: V, sin: V) -> [Pair<V>; 2] {
    let (re, im, twice) = (cos.mul(V::splat(-lambda.re)), cos.mul(V::splat(lambda.im)), sin.add(sin));
    [Pair::new(re, twice.sub(im)).reciprocal(), Pair::new(re, twice.add(im)).reciprocal()]
}

/// All sums of a vector of frequencies.
struct Sums<V, const R: usize> {
    cb: Pair<V>,
    cp: [Pair<V>; R],
    qb: [Pair<V>; R],
    qp: [[Pair<V>; R]; R],
}

/// `e·g + conj(e)·h` added to `to`, from g + h and g − h.
#[inline(always)]
fn add<V: Lanes<f64>>(e: Complex, sum: Pair<V>, difference: Pair<V>, to: &mut Pair<V>) {
    let (re, im) = (V::splat(e.re), V::splat(e.im));
    to.re = difference.im.neg_fma(im, sum.re.fma(re, to.re));
    to.im = difference.re.fma(im, sum.im.fma(re, to.im));
}

#[inline(always)]
fn sums<V: Lanes<f64>, const R: usize>(of: &[Products<R>], cos: V, sin: V) -> Sums<V, R> {
    let zero = Pair::<V>::zero();
    let mut to = Sums { cb: zero, cp: [zero; R], qb: [zero; R], qp: [[zero; R]; R] };
    for of in of {
        let [g, h] = inverses(of.lambda, cos, sin);
        let (sum, difference) = (g.add(h), g.sub(h));
        add(of.cb, sum, difference, &mut to.cb);
        for i in 0..R {
            add(of.cp[i], sum, difference, &mut to.cp[i]);
            add(of.qb[i], sum, difference, &mut to.qb[i]);
            for j in 0..R {
                add(of.qp[i][j], sum, difference, &mut to.qp[i][j]);
            }
        }
    }
    to
}

/// x of (1 + c·m)·x = y, or with the transpose of m.
#[inline(always)]
fn woodbury<V: Lanes<f64>, const R: usize>(m: &[[Pair<V>; R]; R], transposed: bool, cos: V, y: &[Pair<V>; R]) -> [Pair<V>; R] {
    let one = Pair::new(V::splat(1.0), V::splat(0.0));
    let mut a = [[one; R]; R];
    for i in 0..R {
        for j in 0..R {
            let scaled = if transposed { m[j][i].scale(cos) } else { m[i][j].scale(cos) };
            a[i][j] = if i == j { one.add(scaled) } else { scaled };
        }
    }
    let mut x = *y;
    if R == 1 {
        x[0] = y[0].mul(a[0][0].reciprocal());
    } else {
        let determinant = a[0][0].mul(a[R - 1][R - 1]).sub(a[0][R - 1].mul(a[R - 1][0])).reciprocal();
        x[0] = a[R - 1][R - 1].mul(y[0]).sub(a[0][R - 1].mul(y[R - 1])).mul(determinant);
        x[R - 1] = a[0][0].mul(y[R - 1]).sub(a[R - 1][0].mul(y[0])).mul(determinant);
    }
    x
}

struct Spectrum<'a, const R: usize> {
    of: &'a [Products<R>],
    points: &'a Bins,
    skip: bool,
    to: &'a mut [Vec<f64>; 2],
}

impl<const R: usize> Kernel<f64> for Spectrum<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let mut at = 0;
        while at < self.points.room() {
            let (cos, sin) = self.points.at::<V>(at, self.skip);
            let sums = sums(self.of, cos, sin);
            let q = woodbury(&sums.qp, false, cos, &sums.qb);
            let mut k = sums.cb;
            for i in 0..R {
                k = k.sub(sums.cp[i].mul(q[i]).scale(cos));
            }
            k.re.store(&mut self.to[0][at..]);
            k.im.store(&mut self.to[1][at..]);
            at += V::N;
        }
    }
}

/// K̂·e^(−iθ/2) at all frequencies; with `skip`, the first is left to others.
pub(super) fn spectrum(channel: &Channel, points: &Bins, skip: bool) -> [Vec<f64>; 2] {
    let mut to = [vec![0.0; points.room()], vec![0.0; points.room()]];
    if channel.p.len() == channel.lambda.len() {
        dispatch(Spectrum { of: &products::<1>(channel), points, skip, to: &mut to });
    } else {
        dispatch(Spectrum { of: &products::<MOST_RANK>(channel), points, skip, to: &mut to });
    }
    to
}

struct Back<'a, const R: usize> {
    channel: &'a Channel,
    of: &'a [Products<R>],
    points: &'a Bins,
    skip: bool,
    weights: &'a [Vec<f64>; 2],
    /// q and p, (rank, real and imaginary, frequencies) each.
    buffer: &'a mut [f64],
    to: &'a mut Slopes,
}

#[inline(always)]
fn splat<V: Lanes<f64>>(z: Complex) -> Pair<V> {
    Pair::new(V::splat(z.re), V::splat(z.im))
}

/// Lanes added up.
#[inline(always)]
fn total<V: Lanes<f64>>(z: Pair<V>) -> Complex {
    Complex::new(z.re.sum(), z.im.sum())
}

impl<const R: usize> Kernel<f64> for Back<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { channel, of, points, skip, weights, buffer, to } = self;
        let (n, room, dt) = (of.len(), points.room(), channel.dt);
        let (q_lines, p_lines) = buffer.split_at_mut(2 * R * room);
        let mut at = 0;
        while at < room {
            let (cos, sin) = points.at::<V>(at, skip);
            let sums = sums(of, cos, sin);
            let q = woodbury(&sums.qp, false, cos, &sums.qb);
            let p = woodbury(&sums.qp, true, cos, &sums.cp);
            for i in 0..R {
                q[i].re.store(&mut q_lines[2 * i * room + at..]);
                q[i].im.store(&mut q_lines[(2 * i + 1) * room + at..]);
                p[i].re.store(&mut p_lines[2 * i * room + at..]);
                p[i].im.store(&mut p_lines[(2 * i + 1) * room + at..]);
            }
            at += V::N;
        }
        let mut steps = V::splat(0.0);
        for k in 0..n {
            let (b, c) = (splat::<V>(channel.b[k].scale(dt)), splat::<V>(channel.c[k]));
            let zero = Pair::<V>::zero();
            let (mut dc, mut db, mut dl) = (zero, zero, zero);
            let mut dp = [zero; R];
            let mut at = 0;
            while at < room {
                let (cos, sin) = points.at::<V>(at, skip);
                let mut eta = Pair::<V>::load(&weights[0], &weights[1], at);
                if skip && at == 0 {
                    let (mut re, mut im) = ([0.0; 16], [0.0; 16]);
                    eta.re.store(&mut re);
                    eta.im.store(&mut im);
                    (re[0], im[0]) = (0.0, 0.0);
                    eta = Pair::load(&re, &im, 0);
                }
                let [g, h] = inverses(of[k].lambda, cos, sin);
                // States and their adjoints, plain and conjugate.
                let (mut x, mut x_, mut w, mut w_) = (b, b.conj(), c, c.conj());
                for i in 0..R {
                    let p = channel.p[i * n + k];
                    let own = splat::<V>(p).scale(cos);
                    let q = Pair::<V>::load(&q_lines[2 * i * room..], &q_lines[(2 * i + 1) * room..], at);
                    let sum = Pair::<V>::load(&p_lines[2 * i * room..], &p_lines[(2 * i + 1) * room..], at);
                    let scaled = own.scale(V::splat(dt));
                    x = x.sub(scaled.mul(q));
                    x_ = x_.sub(scaled.conj().mul(q));
                    w = w.sub(own.conj().mul(sum));
                    w_ = w_.sub(own.mul(sum));
                }
                (x, x_, w, w_) = (x.mul(g), x_.mul(h), w.mul(g), w_.mul(h));
                // A coefficient e of a number and f of its conjugate make the gradient conj(e) + f.
                let (e, f) = (eta.mul(x), eta.mul(x_));
                dc = dc.add(e.conj().add(f));
                let (v, v_) = (eta.mul(w).scale(V::splat(dt)), eta.mul(w_).scale(V::splat(dt)));
                db = db.add(v.conj().add(v_));
                let (l, l_) = (v.mul(x), v_.mul(x_));
                dl = dl.add(l.conj().add(l_).scale(cos));
                for i in 0..R {
                    let q = Pair::<V>::load(&q_lines[2 * i * room..], &q_lines[(2 * i + 1) * room..], at);
                    let sum = Pair::<V>::load(&p_lines[2 * i * room..], &p_lines[(2 * i + 1) * room..], at);
                    let plain = v.mul(q).add(f.mul(sum));
                    let conjugate = v_.mul(q).add(e.mul(sum));
                    dp[i] = dp[i].sub(plain.conj().add(conjugate).scale(cos));
                }
                // η·2is·(w·x + w_·x_), whose real part this is; v holds Δ.
                let both = l.add(l_);
                steps = sin.add(sin).mul(both.im).neg().add(steps);
                at += V::N;
            }
            to.c[k] = total(dc);
            to.b[k] = total(db);
            to.lambda[k] = total(dl);
            for i in 0..R {
                to.p[i * n + k] = total(dp[i]);
            }
        }
        to.log_dt = steps.sum() / dt;
    }
}

/// The gradients by way of all frequencies, those of K̂ being `weights` (with the turn e^(iθ/2) in them, zeros behind the last); with `skip`,
/// the first is left to others.
pub(super) fn gradients(channel: &Channel, points: &Bins, weights: &[Vec<f64>; 2], skip: bool) -> Slopes {
    let n = channel.lambda.len();
    let zeros = |len: usize| vec![Complex::ZERO; len];
    let mut to = Slopes { log_dt: 0.0, lambda: zeros(n), p: zeros(channel.p.len()), b: zeros(n), c: zeros(n) };
    let mut buffer = vec![0.0; 4 * (channel.p.len() / n) * points.room()];
    if channel.p.len() == n {
        let of = products::<1>(channel);
        dispatch(Back { channel, of: &of, points, skip, weights, buffer: &mut buffer, to: &mut to });
    } else {
        let of = products::<MOST_RANK>(channel);
        dispatch(Back { channel, of: &of, points, skip, weights, buffer: &mut buffer, to: &mut to });
    }
    to
}
