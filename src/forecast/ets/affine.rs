//! Initial states by least squares for given smoothing parameters, in forms whose one-step forecasts are linear.
//!
//! There the errors are affine in the initial states, e = e⁰ - R x₀. The regressor of the seasonal state met at step j is that of
//! step 0 delayed by j (a perturbation of that state is invisible before), so R is made of three recursions. Without weights its
//! Gram matrix follows along diagonals, too: G(i+1, j+1) = G(i, j) less the last product; one solution then costs O(n m + m³)
//! instead of O(n m²). Four parameter sets are solved side by side, which hides the latency of the recursions and lets the compiler
//! use vector instructions. This makes it cheap to look at hundreds of smoothing parameters before any optimiser starts ([`grid`]).

use std::ops::{Add, AddAssign, Mul, Sub, SubAssign};

use super::form::Trend;
use super::recursion::{Smoothing, State};

/// How many problems are solved side by side.
pub(super) const LANES: usize = 4;

/// One number of each of the problems.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pack([f64; LANES]);

impl Pack {
    const ZERO: Pack = Pack([0.0; LANES]);

    #[inline(always)]
    fn map(self, f: impl Fn(f64) -> f64) -> Pack {
        Pack(self.0.map(f))
    }
}

macro_rules! lanewise {
    ($trait:ident, $f:ident, $op:tt) => {
        impl $trait for Pack {
            type Output = Pack;
            #[inline(always)]
            fn $f(self, other: Pack) -> Pack {
                let mut out = self;
                for i in 0..LANES {
                    out.0[i] = self.0[i] $op other.0[i];
                }
                out
            }
        }
    };
}
lanewise!(Add, add, +);
lanewise!(Sub, sub, -);
lanewise!(Mul, mul, *);

impl AddAssign for Pack {
    #[inline(always)]
    fn add_assign(&mut self, other: Pack) {
        *self = *self + other;
    }
}

impl SubAssign for Pack {
    #[inline(always)]
    fn sub_assign(&mut self, other: Pack) {
        *self = *self - other;
    }
}

/// The kind of linear recursion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LinearKind {
    pub trend: bool,
    pub seasonal: bool,
    pub m: usize,
}

/// Scratch memory of [`Concentrated::solve`].
#[derive(Debug, Default)]
pub(super) struct Concentrated {
    /// Errors with all initial states 0, responses to a unit slope and to a unit first seasonal state (or level), (n) each.
    base: Vec<Pack>,
    slope: Vec<Pack>,
    first: Vec<Pack>,
    weighted: Vec<Pack>,
    rings: Vec<[Pack; 3]>,
    gram: Vec<Pack>,
    rhs: Vec<Pack>,
}

impl Concentrated {
    /// For each of four parameter sets the smallest sum of squared errors over the initial states, and a state that attains it; the
    /// sum is NaN or infinite where the numbers degenerate. With `weights` (n) the squares are weighted by them.
    ///
    /// A state that the data do not determine stays near 0 (a ridge of 1e-10 relative): good for a start, not for an estimate.
    pub fn solve(
        &mut self,
        y: &[f64],
        weights: Option<&[f64]>,
        kind: LinearKind,
        p: [Smoothing; LANES],
    ) -> [(f64, State); LANES] {
        self.respond(y, kind, p);
        let k = usize::from(kind.trend);
        let unknowns = k + if kind.seasonal { kind.m } else { 1 };
        // Every entry that is read is written first.
        self.gram.resize(unknowns * unknowns, Pack::ZERO);
        self.rhs.resize(unknowns, Pack::ZERO);
        let squares = match weights {
            None => self.normal_equations(k, unknowns),
            Some(w) => self.weighted_normal_equations(w, k, unknowns),
        };
        let explained = self.eliminate(unknowns);
        std::array::from_fn(|i| {
            let mut state = State { level: 0.0, slope: 0.0, season: Vec::new() };
            if kind.trend {
                state.slope = self.rhs[0].0[i];
            }
            if kind.seasonal {
                state.season.extend(self.rhs[k..].iter().map(|v| v.0[i]));
            } else {
                state.level = self.rhs[k].0[i];
            }
            ((squares.0[i] - explained.0[i]).max(0.0), state)
        })
    }

    /// Runs the three recursions side by side: data with zero states, zero data with unit slope, zero data with a unit first state
    /// (seasonal state 0, or the level where there is no season).
    fn respond(&mut self, y: &[f64], kind: LinearKind, p: [Smoothing; LANES]) {
        let n = y.len();
        for v in [&mut self.base, &mut self.slope, &mut self.first] {
            v.resize(n, Pack::ZERO);
        }
        let m = if kind.seasonal { kind.m.max(1) } else { 1 };
        self.rings.clear();
        self.rings.resize(m, [Pack::ZERO; 3]);
        let rings = &mut self.rings[..m];
        let (mut l, mut b) = ([Pack::ZERO; 3], [Pack::ZERO; 3]);
        let one = Pack([1.0; LANES]);
        if kind.trend {
            b[1] = one;
        }
        if kind.seasonal {
            rings[0][2] = one;
        } else {
            l[2] = one;
        }
        let alpha = Pack(p.map(|p| p.alpha));
        let beta = Pack(p.map(|p| p.beta));
        let gamma = Pack(p.map(|p| p.gamma));
        let phi = if kind.trend { Pack(p.map(|p| p.phi)) } else { Pack::ZERO };
        let mut i = 0;
        let out = self.base.iter_mut().zip(&mut self.slope).zip(&mut self.first);
        for (((base, slope), first), &y) in out.zip(y) {
            let ring = &mut rings[i];
            let drive = [Pack([y; LANES]), Pack::ZERO, Pack::ZERO];
            let mut e = [Pack::ZERO; 3];
            for c in 0..3 {
                let growth = phi * b[c];
                let q = l[c] + growth;
                e[c] = drive[c] - q - ring[c];
                l[c] = q + alpha * e[c];
                b[c] = growth + beta * e[c];
                if kind.seasonal {
                    ring[c] += gamma * e[c];
                }
            }
            (*base, *slope, *first) = (e[0], Pack::ZERO - e[1], Pack::ZERO - e[2]);
            i = if i + 1 == m { 0 } else { i + 1 };
        }
    }

    /// Fills Gram matrix (lower triangle, row-major) and right-hand side; returns Σ base².
    fn normal_equations(&mut self, k: usize, unknowns: usize) -> Pack {
        let (base, slope, first) = (&self.base[..], &self.slope[..], &self.first[..]);
        let n = base.len();
        let g = &mut self.gram;
        if k == 1 {
            g[0] = dot(slope, slope);
            self.rhs[0] = dot(slope, base);
        }
        for j in 0..unknowns - k {
            // Regressor j is `first` delayed by j.
            let late = n.saturating_sub(j);
            let row = (k + j) * unknowns;
            self.rhs[k + j] = dot(&first[..late], &base[n - late..]);
            if k == 1 {
                g[row] = dot(&first[..late], &slope[n - late..]);
            }
            // G(j, 0) = Σ first(t - j) first(t); G(j + r, r) drops the last r terms of that sum.
            let mut sum = dot(&first[..late], &first[n - late..]);
            for r in 0..unknowns - k - j {
                g[(k + j + r) * unknowns + k + r] = sum;
                if r + j < n {
                    let last = n - 1 - r;
                    sum -= first[last - j] * first[last];
                }
            }
        }
        dot(base, base)
    }

    /// The same with weights.
    fn weighted_normal_equations(&mut self, weights: &[f64], k: usize, unknowns: usize) -> Pack {
        let Concentrated { base, slope, first, weighted, gram, rhs, .. } = self;
        let n = base.len();
        for j in 0..unknowns - k {
            // Weighted regressor j, from step j on.
            let late = n.saturating_sub(j);
            weighted.clear();
            weighted.extend(first[..late].iter().zip(&weights[n - late..]).map(|(f, w)| f.map(|f| f * w)));
            let row = (k + j) * unknowns;
            rhs[k + j] = dot(weighted, &base[n - late..]);
            if k == 1 {
                gram[row] = dot(weighted, &slope[n - late..]);
            }
            for i in 0..=j {
                gram[row + k + i] = dot(weighted, &first[(j - i).min(n)..]);
            }
        }
        weighted.clear();
        weighted.extend(slope.iter().zip(weights).map(|(f, w)| f.map(|f| f * w)));
        if k == 1 {
            gram[0] = dot(weighted, slope);
            rhs[0] = dot(weighted, base);
        }
        weighted.clear();
        weighted.extend(base.iter().zip(weights).map(|(f, w)| f.map(|f| f * w)));
        dot(weighted, base)
    }

    /// Solves the normal equations in place by Cholesky and returns rhs'·solution.
    fn eliminate(&mut self, u: usize) -> Pack {
        let (g, rhs) = (&mut self.gram, &mut self.rhs);
        let mut explained = Pack::ZERO;
        for i in 0..u {
            let (above, rest) = g.split_at_mut(i * u);
            let row = &mut rest[..=i];
            for j in 0..i {
                let other = &above[j * u..j * u + j + 1];
                // The diagonal holds the reciprocal of the pivot.
                row[j] = (row[j] - dot(&row[..j], &other[..j])) * other[j];
            }
            let own = row[i].map(|v| v * (1.0 + 1e-10) + 1e-200);
            let left = own - dot(&row[..i], &row[..i]);
            for lane in 0..LANES {
                row[i].0[lane] = 1.0 / left.0[lane].max(1e-13 * own.0[lane]).sqrt();
            }
            rhs[i] = (rhs[i] - dot(&row[..i], &rhs[..i])) * row[i];
            explained += rhs[i] * rhs[i];
        }
        for i in (0..u).rev() {
            let mut s = rhs[i];
            for j in i + 1..u {
                s -= g[j * u + i] * rhs[j];
            }
            rhs[i] = s * g[i * u + i];
        }
        explained
    }
}

/// Sum of products, as two interleaved sums.
#[inline(always)]
fn dot(a: &[Pack], b: &[Pack]) -> Pack {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let (mut s, mut t) = (Pack::ZERO, Pack::ZERO);
    for (x, y) in a.chunks_exact(2).zip(b.chunks_exact(2)) {
        s += x[0] * y[0];
        t += x[1] * y[1];
    }
    if n % 2 == 1 {
        s += a[n - 1] * b[n - 1];
    }
    s + t
}

/// Smoothing parameters with the initial states that suit them best.
#[derive(Debug, Clone)]
pub(super) struct GridPoint {
    /// The (weighted) sum of squares.
    pub squares: f64,
    pub smoothing: Smoothing,
    pub state: State,
    /// Whether no neighbour on the grid is lower.
    pub lowest: bool,
}

/// The values of α, β/α, γ/(1-α) and φ that a grid combines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mesh {
    alpha: &'static [f64],
    beta: &'static [f64],
    gamma: &'static [f64],
    phi: &'static [f64],
}

/// Without a season a solution costs next to nothing.
const FINE: Mesh = Mesh {
    alpha: &[0.0005, 0.005, 0.02, 0.06, 0.12, 0.2, 0.3, 0.4, 0.52, 0.64, 0.76, 0.88, 0.98],
    beta: &[0.0, 0.004, 0.016, 0.05, 0.12, 0.3, 0.6, 1.0],
    gamma: &[0.0],
    phi: &[0.82, 0.91, 0.97],
};
const MEDIUM: Mesh = Mesh {
    alpha: &[0.005, 0.05, 0.15, 0.3, 0.5, 0.7, 0.88, 0.98],
    beta: &[0.0, 0.015, 0.08, 0.3, 1.0],
    gamma: &[0.0, 0.1, 0.4, 1.0],
    phi: &[0.85, 0.97],
};
/// With weights, or with a long season, a solution costs several times as much.
const COARSE: Mesh =
    Mesh { alpha: &[0.02, 0.12, 0.3, 0.6, 0.95], beta: &[0.0, 0.05, 0.3, 1.0], gamma: &[0.0, 0.2, 1.0], phi: &[0.85, 0.97] };

/// Least squares over a grid of the parameter region, sorted so that the local minima come first (a point is one if none of its
/// neighbours, diagonal ones included, is lower), each part by its sum of squares. The second number is how many minima there are.
pub(super) fn grid(
    y: &[f64],
    weights: Option<&[f64]>,
    trend: Trend,
    seasonal: bool,
    m: usize,
    work: &mut Concentrated,
) -> (Vec<GridPoint>, usize) {
    let kind = LinearKind { trend: trend != Trend::None, seasonal, m };
    let mesh = match (seasonal, weights) {
        (false, _) => FINE,
        (true, None) if m <= 60 => MEDIUM,
        (true, _) => COARSE,
    };
    let fixed = |there: bool, values: &'static [f64], instead: &'static [f64]| if there { values } else { instead };
    let axes = [
        mesh.alpha,
        fixed(kind.trend, mesh.beta, &[0.0]),
        fixed(trend.damped(), mesh.phi, &[1.0]),
        fixed(seasonal, mesh.gamma, &[0.0]),
    ];
    let sizes = axes.map(|a| a.len());
    let total: usize = sizes.iter().product();
    let cell = |i: usize| {
        let (d, c, b) = (i % sizes[3], i / sizes[3] % sizes[2], i / (sizes[3] * sizes[2]) % sizes[1]);
        [i / (sizes[3] * sizes[2] * sizes[1]), b, c, d]
    };
    let smoothing = |i: usize| {
        let [a, b, c, d] = cell(i.min(total - 1));
        let alpha = axes[0][a];
        Smoothing { alpha, beta: alpha * axes[1][b], gamma: (1.0 - alpha) * axes[3][d], phi: axes[2][c] }
    };
    let mut points: Vec<GridPoint> = Vec::with_capacity(total.next_multiple_of(LANES));
    for first in (0..total).step_by(LANES) {
        let batch = std::array::from_fn(|i| smoothing(first + i));
        for (smoothing, (squares, state)) in batch.into_iter().zip(work.solve(y, weights, kind, batch)) {
            points.push(GridPoint {
                squares: if squares.is_nan() { f64::INFINITY } else { squares },
                smoothing,
                state,
                lowest: false,
            });
        }
    }
    points.truncate(total);
    for i in 0..total {
        let own = points[i].squares;
        // Of equal neighbours the first counts.
        let higher = |j: usize| points[j].squares > own || (points[j].squares == own && i <= j);
        points[i].lowest = own.is_finite() && all_near(cell(i), sizes, higher);
    }
    points.retain(|p| p.squares.is_finite());
    points.sort_by(|a, b| b.lowest.cmp(&a.lowest).then(a.squares.total_cmp(&b.squares)));
    let count = points.iter().filter(|p| p.lowest).count();
    (points, count)
}

/// Whether `test` holds for the index of a cell and of each of its neighbours in a row-major grid of these sizes.
fn all_near(cell: [usize; 4], sizes: [usize; 4], mut test: impl FnMut(usize) -> bool) -> bool {
    let near = |axis: usize| cell[axis].saturating_sub(1)..(cell[axis] + 2).min(sizes[axis]);
    for a in near(0) {
        for b in near(1) {
            for c in near(2) {
                let row = ((a * sizes[1] + b) * sizes[2] + c) * sizes[3];
                if !near(3).all(|d| test(row + d)) {
                    return false;
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::form::Form;
    use super::super::recursion::one_step;
    use super::*;

    fn series(n: usize) -> Vec<f64> {
        (0..n).map(|t| 0.3 + 0.01 * t as f64 + 0.2 * (t as f64 * 1.3).sin() + 0.05 * ((t * t) as f64).sin()).collect()
    }

    fn total(y: &[f64], w: &[f64], form: Form, p: Smoothing, state: &State) -> f64 {
        let mu = one_step(form, y, p, &mut state.clone(), false).unwrap();
        y.iter().zip(&mu).zip(w).map(|((a, b), w)| w * (a - b) * (a - b)).sum()
    }

    #[test]
    fn the_solution_is_stationary_and_its_sum_of_squares_true() {
        for (name, m, n) in [("ANN", 1, 30), ("AAN", 1, 30), ("AAdN", 1, 31), ("ANA", 4, 33), ("AAA", 5, 40), ("AAdA", 7, 60)] {
            let form: Form = name.parse().unwrap();
            let kind = LinearKind { trend: form.trend != Trend::None, seasonal: form.seasonal(), m };
            let y = series(n);
            let p: [Smoothing; LANES] = std::array::from_fn(|i| Smoothing {
                alpha: 0.2 + 0.15 * i as f64,
                beta: if kind.trend { 0.1 } else { 0.0 },
                gamma: if kind.seasonal { 0.2 } else { 0.0 },
                phi: if form.trend.damped() { 0.9 } else { 1.0 },
            });
            let uneven: Vec<f64> = (0..n).map(|t| 1.0 + (t % 3) as f64).collect();
            for weights in [None, Some(&uneven[..])] {
                let w = weights.unwrap_or(&[1.0; 60]);
                for (p, (sse, state)) in p.into_iter().zip(Concentrated::default().solve(&y, weights, kind, p)) {
                    let at = |s: &State| total(&y, w, form, p, s);
                    // The ridge of 1e-10 shifts the sum by that much of the explained part, Σwy² < 100.
                    assert!((at(&state) - sse).abs() < 1e-8, "{name}: {} {sse}", at(&state));
                    // Moving any state by h changes the sum by h² times the regressor's square only: the linear part vanishes.
                    let mut moves: Vec<fn(&mut State, f64)> = vec![|s, h| s.level += h];
                    if kind.trend {
                        moves.push(|s, h| s.slope += h);
                    }
                    if kind.seasonal {
                        moves.push(|s, h| s.season[0] += h);
                        moves.push(|s, h| s.season[3] += h);
                    }
                    for step in moves {
                        let moved = |h: f64| {
                            let mut s = state.clone();
                            step(&mut s, h);
                            at(&s)
                        };
                        let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                        assert!(slope.abs() < 1e-7, "{name}: {slope}");
                    }
                }
            }
        }
    }

    #[test]
    fn states_without_information_stay_at_zero() {
        // Five observations of a season of eight: three seasonal states are never met.
        let kind = LinearKind { trend: false, seasonal: true, m: 8 };
        let p = Smoothing { alpha: 0.1, beta: 0.0, gamma: 0.1, phi: 1.0 };
        for (sse, state) in Concentrated::default().solve(&series(5), None, kind, [p; LANES]) {
            assert!(sse < 1e-10);
            assert_eq!(state.season[5..], [0.0; 3]);
        }
    }

    #[test]
    fn the_grid_puts_its_local_minima_first() {
        let y = series(60);
        let (points, minima) = grid(&y, None, Trend::AdditiveDamped, true, 5, &mut Concentrated::default());
        assert_eq!(points.len(), 320);
        assert!(minima >= 1 && points[..minima].windows(2).all(|w| w[0].squares <= w[1].squares));
        assert!(points[minima..].windows(2).all(|w| w[0].squares <= w[1].squares));
        let least = points.iter().map(|p| p.squares).fold(f64::INFINITY, f64::min);
        assert_eq!(points[0].squares, least);
        // Neighbours of a corner and of an inner cell; the order is row-major.
        let near = |cell, sizes| {
            let mut seen = Vec::new();
            all_near(cell, sizes, |i| {
                seen.push(i);
                true
            });
            seen
        };
        assert_eq!(near([0, 0, 0, 0], [8, 5, 1, 2]), [0, 1, 2, 3, 10, 11, 12, 13]);
        assert_eq!(near([3, 2, 1, 1], [8, 5, 3, 4]).len(), 81);
        assert!(!all_near([0, 0, 0, 0], [8, 5, 1, 2], |i| i != 13));
    }
}
