//! Minimisation of a function of one variable on an interval: a grid, then Brent's method in every valley the grid shows.

/// The lowest point of `f` on [lo, hi] and its value: a grid of `cells` + 1 points, then Brent's method around each of the grid's
/// local minima. Never evaluates outside; a NaN counts as infinity; deterministic. x is found to about 1e-9 of the interval.
/// Cost: `cells` + 1 evaluations plus about ten for every valley.
///
/// Source: Brent (1973), *Algorithms for Minimization without Derivatives*, chapter 5 (golden section and parabolas).
pub(crate) fn minimise(mut f: impl FnMut(f64) -> f64, lo: f64, hi: f64, cells: usize) -> (f64, f64) {
    let mut eval = |x: f64| {
        let v = f(x);
        if v.is_nan() { f64::INFINITY } else { v }
    };
    let cells = cells.max(1);
    let at = |i: usize| if i == cells { hi } else { lo + (hi - lo) * i as f64 / cells as f64 };
    let grid: Vec<f64> = (0..=cells).map(|i| eval(at(i))).collect();
    let mut best = (lo, grid[0]);
    for i in 0..=cells {
        let (left, right) = (i.saturating_sub(1), (i + 1).min(cells));
        if grid[i] < best.1 {
            best = (at(i), grid[i]);
        }
        if grid[i] <= grid[left] && grid[i] <= grid[right] {
            let found = brent(&mut eval, at(left), at(right), (at(i), grid[i]), 1e-9 * (hi - lo));
            if found.1 < best.1 {
                best = found;
            }
        }
    }
    best
}

/// Brent's method on [a, b] from the point `start` inside it (ends allowed).
fn brent(f: &mut impl FnMut(f64) -> f64, mut a: f64, mut b: f64, start: (f64, f64), tol: f64) -> (f64, f64) {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    // x: best so far, w: second best, v: the previous w.
    let (mut x, mut fx) = start;
    let (mut w, mut fw, mut v, mut fv) = (x, fx, x, fx);
    let (mut step, mut before) = (0.0f64, 0.0f64);
    for _ in 0..100 {
        let mid = 0.5 * (a + b);
        // A minimum cannot be told apart from its surroundings closer than the square root of the rounding error.
        let tol = tol + 1.5e-8 * x.abs();
        if (x - mid).abs() <= 2.0 * tol - 0.5 * (b - a) {
            break;
        }
        let mut golden = true;
        if before.abs() > tol {
            let (r, q) = ((x - w) * (fx - fv), (x - v) * (fx - fw));
            let (mut p, mut d) = ((x - v) * q - (x - w) * r, 2.0 * (q - r));
            if d > 0.0 {
                p = -p;
            }
            d = d.abs();
            if p.is_finite() && d > 0.0 && p.abs() < (0.5 * d * before).abs() && p > d * (a - x) && p < d * (b - x) {
                (before, step) = (step, p / d);
                let u = x + step;
                if u - a < 2.0 * tol || b - u < 2.0 * tol {
                    step = if x < mid { tol } else { -tol };
                }
                golden = false;
            }
        }
        if golden {
            before = if x < mid { b - x } else { a - x };
            step = GOLDEN * before;
        }
        let u = (x + if step.abs() >= tol { step } else { tol.copysign(step) }).clamp(a, b);
        let fu = f(u);
        if fu <= fx {
            if u < x {
                b = x;
            } else {
                a = x;
            }
            (v, fv, w, fw, x, fx) = (w, fw, x, fx, u, fu);
        } else {
            if u < x {
                a = u;
            } else {
                b = u;
            }
            if fu <= fw || w == x {
                (v, fv, w, fw) = (w, fw, u, fu);
            } else if fu <= fv || v == x || v == w {
                (v, fv) = (u, fu);
            }
        }
    }
    (x, fx)
}

#[cfg(test)]
mod tests {
    use super::minimise;

    #[test]
    fn finds_the_lowest_of_several_valleys_inside_and_at_the_ends() {
        // Valleys near 0.19, 0.61, ...: the tilt makes the last one lowest.
        let f = |x: f64| (15.0 * x).sin() - 2.0 * x;
        let (x, v) = minimise(f, 0.0, 1.0, 24);
        // cos(15x) = 2/15 at the minimum of the last full valley.
        let exact = (2.0 * std::f64::consts::PI + 1.5 * std::f64::consts::PI + (2.0f64 / 15.0).asin()) / 15.0;
        assert!((x - exact).abs() < 1e-7 && (v - f(exact)).abs() < 1e-13, "{x} {exact}");
        assert_eq!(minimise(|x| x, -1.0, 2.0, 7), (-1.0, -1.0));
        assert_eq!(minimise(|x| -x, -1.0, 2.0, 7), (2.0, -2.0));
    }

    #[test]
    fn a_kink_a_flat_function_and_nan_are_survived() {
        let (x, _) = minimise(|x| (x - 0.3).abs(), 0.0, 1.0, 8);
        assert!((x - 0.3).abs() < 1e-7);
        assert_eq!(minimise(|_| 4.0, 0.0, 1.0, 8).1, 4.0);
        let (x, _) = minimise(|x| if x < 0.5 { f64::NAN } else { x }, 0.0, 1.0, 9);
        assert!((0.5..0.5 + 1e-7).contains(&x), "{x}");
    }
}
