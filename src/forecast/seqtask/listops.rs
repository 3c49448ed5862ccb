//! ListOps: nested lists of MIN, MAX, MED and SM over digits (Nangia & Bowman 2018), as drawn for the Long Range Arena.

use super::task::Example;
use crate::run::seed::Rng;
use rand::RngExt as _;

const OPERATORS: [&str; 4] = ["[MIN", "[MAX", "[MED", "[SM"];
/// Depth of the deepest list, and most entries of one.
const DEPTH: usize = 10;
const MOST: usize = 10;
/// How often an entry is a digit.
const LEAF: f64 = 0.75;

/// Operators, the closing bracket, digits.
pub(super) fn words() -> Vec<String> {
    let digits = (0..10).map(|d| d.to_string());
    OPERATORS.iter().map(|s| s.to_string()).chain(["]".to_string()]).chain(digits).collect()
}

/// The first tree drawn that has at most `most` tokens and more than `least`.
pub(super) fn draw(least: usize, most: usize, rng: &mut Rng) -> Example {
    // The shortest list has four tokens.
    let least = if most < 4 { 0 } else { least };
    loop {
        let mut text = String::new();
        let mut tokens = 0;
        tree(1, most, rng, &mut text, &mut tokens);
        if tokens > least && tokens <= most {
            let text = text.trim_end().to_string();
            let label = value(&text).unwrap_or(0);
            return Example { text, label };
        }
    }
}

/// Writes a tree; stops early once it is longer than `most`, as it is thrown away then.
fn tree(depth: usize, most: usize, rng: &mut Rng, text: &mut String, tokens: &mut usize) {
    if *tokens > most {
        return;
    }
    *tokens += 1;
    if depth >= DEPTH || (depth > 1 || most < 4) && rng.random_bool(LEAF) {
        text.push_str(&format!("{} ", rng.random_range(0..10)));
        return;
    }
    text.push_str(OPERATORS[rng.random_range(0..OPERATORS.len())]);
    text.push(' ');
    for _ in 0..rng.random_range(2..=MOST) {
        tree(depth + 1, most, rng, text, tokens);
    }
    *tokens += 1;
    text.push_str("] ");
}

/// The digit that a list stands for.
pub(super) fn value(text: &str) -> Result<u32, String> {
    Ok(lists(text)?.0)
}

/// The digit that a list stands for, and for every closing bracket the number of its token and the value of what it closes.
pub(super) fn lists(text: &str) -> Result<(u32, Vec<(usize, u32)>), String> {
    let mut open: Vec<(&str, Vec<u32>)> = Vec::new();
    let mut inner = Vec::new();
    let mut result = None;
    for (at, word) in text.split_whitespace().enumerate() {
        if result.is_some() {
            return Err(format!("\"{word}\" stands behind the end of the list"));
        }
        let value = if OPERATORS.contains(&word) {
            open.push((word, Vec::new()));
            continue;
        } else if word == "]" {
            let Some((operator, entries)) = open.pop() else { return Err("\"]\" closes nothing".into()) };
            let value = closed(operator, entries)?;
            inner.push((at, value));
            value
        } else {
            match word.parse::<u32>() {
                Ok(digit) if digit < 10 => digit,
                _ => return Err(format!("\"{word}\" is no word of a list")),
            }
        };
        match open.last_mut() {
            Some((_, entries)) => entries.push(value),
            None => result = Some(value),
        }
    }
    result.map(|digit| (digit, inner)).ok_or_else(|| "the list is not closed".into())
}

fn closed(operator: &str, mut entries: Vec<u32>) -> Result<u32, String> {
    entries.sort_unstable();
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Err("a list is empty".into()) };
    let middle = entries.len() / 2;
    Ok(match operator {
        "[MIN" => *first,
        "[MAX" => *last,
        "[MED" if entries.len() % 2 == 1 => entries[middle],
        "[MED" => (entries[middle - 1] + entries[middle]) / 2,
        _ => entries.iter().sum::<u32>() % 10,
    })
}
