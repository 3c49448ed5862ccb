//! Lists of irreps with parity and their full tensor product, as e3nn writes and orders them.

use super::CgError;
use super::blocks::block;
use std::str::FromStr;

/// `mul` copies of the irrep of degree `l`; `even` parity or odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Irrep {
    pub mul: usize,
    pub l: usize,
    pub even: bool,
}

impl Irrep {
    /// Numbers of one copy.
    pub fn dim(&self) -> usize {
        2 * self.l + 1
    }
}

/// A list such as `2x0e+1x1o`: 2 even scalars, then one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irreps(pub Vec<Irrep>);

/// Largest degree in a list that is read: what the blocks of two such lists take stays below some megabytes.
const LARGEST: usize = 20;

impl FromStr for Irreps {
    type Err = CgError;

    fn from_str(text: &str) -> Result<Self, CgError> {
        let wrong = |problem: String| CgError::Irreps { text: text.to_string(), problem };
        let term = |term: &str| {
            let term = term.trim();
            let (mul, rest) = term.split_once('x').unwrap_or(("1", term));
            let (l, even) = match (rest.strip_suffix('e'), rest.strip_suffix('o')) {
                (Some(l), _) => (l, true),
                (_, Some(l)) => (l, false),
                _ => return Err(wrong(format!("\"{term}\" does not end with e (even) or o (odd)"))),
            };
            let mul = mul.parse().map_err(|_| wrong(format!("\"{mul}\" in \"{term}\" is no whole number")))?;
            let l: usize = l.parse().map_err(|_| wrong(format!("\"{l}\" in \"{term}\" is no whole number")))?;
            if l > LARGEST {
                return Err(wrong(format!("l = {l} is above {LARGEST}")));
            }
            Ok(Irrep { mul, l, even })
        };
        text.split('+').map(term).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for Irreps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, t) in self.0.iter().enumerate() {
            let (plus, parity) = (if i > 0 { "+" } else { "" }, if t.even { 'e' } else { 'o' });
            write!(f, "{plus}{}x{}{parity}", t.mul, t.l)?;
        }
        Ok(())
    }
}

impl Irreps {
    /// Numbers in all.
    pub fn dim(&self) -> usize {
        self.0.iter().map(|t| t.mul * t.dim()).sum()
    }

    /// Where each term begins.
    fn starts(&self) -> Vec<usize> {
        let mut starts = Vec::with_capacity(self.0.len());
        let mut sum = 0;
        for t in &self.0 {
            starts.push(sum);
            sum += t.mul * t.dim();
        }
        starts
    }
}

/// All products of a term of one list with a term of another, every copy with every copy.
#[derive(Debug, Clone)]
pub struct FullTensorProduct {
    left: Irreps,
    right: Irreps,
    out: Irreps,
    /// Of each term of the output: the terms it comes from and where it begins.
    paths: Vec<(usize, usize, usize)>,
}

impl FullTensorProduct {
    /// Output terms in the order of l, odd before even, and then of the terms that they come from.
    pub fn new(left: Irreps, right: Irreps) -> Self {
        let mut terms = Vec::new();
        for (p, a) in left.0.iter().enumerate() {
            for (q, b) in right.0.iter().enumerate() {
                for l in a.l.abs_diff(b.l)..=a.l + b.l {
                    terms.push((Irrep { mul: a.mul * b.mul, l, even: a.even == b.even }, p, q));
                }
            }
        }
        terms.sort_by_key(|(t, _, _)| (t.l, t.even));
        let out = Irreps(terms.iter().map(|t| t.0).collect());
        let paths = terms.iter().zip(out.starts()).map(|((_, p, q), at)| (*p, *q, at)).collect();
        Self { left, right, out, paths }
    }

    /// What comes out.
    pub fn out(&self) -> &Irreps {
        &self.out
    }

    /// x (dim of the left list) and y (of the right) to the dim of [`out`](Self::out): block times √(2l + 1), component normalisation.
    /// Panics on other lengths.
    pub fn apply(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        assert!(x.len() == self.left.dim() && y.len() == self.right.dim(), "features of both lists");
        let (starts, others) = (self.left.starts(), self.right.starts());
        let mut out = vec![0.0; self.out.dim()];
        for (term, &(p, q, at)) in self.out.0.iter().zip(&self.paths) {
            let (a, b) = (self.left.0[p], self.right.0[q]);
            let c = block(a.l, b.l, term.l);
            let (d1, d2, d3) = (a.dim(), b.dim(), term.dim());
            let scale = (d3 as f64).sqrt();
            for copy in 0..term.mul {
                let x = &x[starts[p] + copy / b.mul * d1..][..d1];
                let y = &y[others[q] + copy % b.mul * d2..][..d2];
                let out = &mut out[at + copy * d3..][..d3];
                for (n, c) in c.iter().enumerate().filter(|(_, c)| **c != 0.0) {
                    out[n % d3] += scale * c * x[n / (d2 * d3)] * y[n / d3 % d2];
                }
            }
        }
        out
    }
}
