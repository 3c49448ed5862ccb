//! Arithmetic modulo 5, with and without brackets.

use super::task::{Example, MODULUS};
use crate::run::seed::Rng;
use rand::RngExt as _;

fn pick(from: &str, rng: &mut Rng) -> char {
    let at = rng.random_range(0..from.len().max(1));
    from.as_bytes().get(at).map_or('+', |b| char::from(*b))
}

fn digit(rng: &mut Rng) -> char {
    pick("01234", rng)
}

fn example(text: String) -> Example {
    let label = value(&text).unwrap_or(0);
    Example { text, label }
}

/// Digits at even places, operators at odd ones; `length` is odd.
pub(super) fn flat(length: usize, operators: &str, rng: &mut Rng) -> Example {
    example((0..length).map(|i| if i.is_multiple_of(2) { digit(rng) } else { pick(operators, rng) }).collect())
}

/// An expression of exactly `length` characters: d, -d, (d), (-d), and from five on ( left op right ) with the left part's length
/// uniform.
pub(super) fn bracketed(length: usize, operators: &str, rng: &mut Rng) -> Example {
    let mut text = String::with_capacity(length);
    write_bracketed(length, operators, rng, &mut text);
    example(text)
}

fn write_bracketed(length: usize, operators: &str, rng: &mut Rng, text: &mut String) {
    match length {
        0 => {}
        1 => text.push(digit(rng)),
        2 => text.extend(['-', digit(rng)]),
        3 => text.extend(['(', digit(rng), ')']),
        4 => text.extend(['(', '-', digit(rng), ')']),
        _ => {
            let left = rng.random_range(1..=length - 4);
            text.push('(');
            write_bracketed(left, operators, rng, text);
            text.push(pick(operators, rng));
            write_bracketed(length - 3 - left, operators, rng, text);
            text.push(')');
        }
    }
}

/// A reader of `sum = product {(+|-) product}`, `product = factor {* factor}`, `factor = - factor | ( sum ) | digit`.
struct Reader<'a> {
    text: &'a [u8],
    rest: &'a [u8],
    depth: usize,
    /// Where brackets closed, and the value inside.
    closed: Vec<(usize, u32)>,
}

/// Brackets inside each other, at most: what a stack surely holds.
const DEEPEST: usize = 10_000;

/// The value modulo 5.
pub(super) fn value(text: &str) -> Result<u32, String> {
    Ok(brackets(text)?.0)
}

/// The value modulo 5, and for every closing bracket its place and the value of what it closes.
pub(super) fn brackets(text: &str) -> Result<(u32, Vec<(usize, u32)>), String> {
    let mut reader = Reader { text: text.as_bytes(), rest: text.as_bytes(), depth: 0, closed: Vec::new() };
    let value = reader.sum()?;
    match reader.rest.first() {
        None => Ok((value.rem_euclid(MODULUS) as u32, reader.closed)),
        Some(c) => Err(format!("\"{}\" stands where an operator or the end should be", char::from(*c))),
    }
}

impl Reader<'_> {
    fn next_is(&mut self, c: u8) -> bool {
        let found = self.rest.first() == Some(&c);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn sum(&mut self) -> Result<i64, String> {
        let mut total = self.product()?;
        loop {
            if self.next_is(b'+') {
                total += self.product()?;
            } else if self.next_is(b'-') {
                total -= self.product()?;
            } else {
                return Ok(total);
            }
            total = total.rem_euclid(MODULUS);
        }
    }

    fn product(&mut self) -> Result<i64, String> {
        let mut total = self.factor()?;
        while self.next_is(b'*') {
            total = (total * self.factor()?).rem_euclid(MODULUS);
        }
        Ok(total)
    }

    fn factor(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("brackets are nested too deeply".into());
        }
        let value = if self.next_is(b'-') {
            -self.factor()?
        } else if self.next_is(b'(') {
            let inside = self.sum()?;
            if !self.next_is(b')') {
                return Err("a bracket is not closed".into());
            }
            self.closed.push((self.text.len() - self.rest.len() - 1, inside.rem_euclid(MODULUS) as u32));
            inside
        } else {
            match self.rest.split_first() {
                Some((d @ b'0'..=b'4', rest)) => {
                    self.rest = rest;
                    i64::from(d - b'0')
                }
                Some((c, _)) => return Err(format!("\"{}\" stands where a digit from 0 to 4 should be", char::from(*c))),
                None => return Err("the expression ends where a digit should be".into()),
            }
        };
        self.depth -= 1;
        Ok(value)
    }
}
