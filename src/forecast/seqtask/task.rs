//! The tasks: their tokens, their sequences, their labels.

use super::{expression, listops};
use crate::run::seed::Rng;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Task {
    /// Bits; the label is their sum modulo 2.
    Parity,
    /// Digits 0 to 4 with operators between them, usual precedence; the label is the value modulo 5.
    Modarith { operators: String },
    /// Fully bracketed expressions of digits 0 to 4; the label is the value modulo 5.
    ModarithBrackets { operators: String },
    /// Nested lists of MIN, MAX, MED and sums modulo 10; the label is a digit.
    Listops,
}

/// Digits of the arithmetic.
pub(super) const MODULUS: i64 = 5;

/// A sequence as text, and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub text: String,
    pub label: u32,
}

impl Task {
    /// As typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parity => "parity",
            Self::Modarith { .. } => "modarith",
            Self::ModarithBrackets { .. } => "modarith-brackets",
            Self::Listops => "listops",
        }
    }

    /// How many labels there are.
    pub fn classes(&self) -> usize {
        match self {
            Self::Parity => 2,
            Self::Modarith { .. } | Self::ModarithBrackets { .. } => MODULUS as usize,
            Self::Listops => 10,
        }
    }

    /// The words of a sequence, in the order of their numbers.
    pub fn words(&self) -> Vec<String> {
        let chars = |s: &str| s.chars().map(String::from).collect();
        match self {
            Self::Parity => chars("01"),
            // All operators, so that a model trained on some can be asked about others.
            Self::Modarith { .. } => chars("01234+-*"),
            Self::ModarithBrackets { .. } => chars("01234+-*()"),
            Self::Listops => listops::words(),
        }
    }

    /// The length nearest to `length` that the task's sequences can have: arithmetic without brackets has odd ones.
    pub fn possible_length(&self, length: usize) -> usize {
        match self {
            Self::Modarith { .. } => (length.max(1) - 1) / 2 * 2 + 1,
            _ => length.max(1),
        }
    }

    /// Draws a sequence of `length` tokens (a possible one; for listops the first tree drawn whose length is at most that and above
    /// half of it).
    pub fn draw(&self, length: usize, rng: &mut Rng) -> Example {
        match self {
            Self::Parity => {
                let bits: Vec<bool> = (0..length).map(|_| rng.random()).collect();
                let label = bits.iter().filter(|b| **b).count() % 2;
                Example { text: bits.iter().map(|b| if *b { '1' } else { '0' }).collect(), label: label as u32 }
            }
            Self::Modarith { operators } => expression::flat(length, operators, rng),
            Self::ModarithBrackets { operators } => expression::bracketed(length, operators, rng),
            Self::Listops => listops::draw(length / 2, length, rng),
        }
    }

    /// The label that a sequence has; a text when it is none of the task.
    pub fn label(&self, text: &str) -> Result<u32, String> {
        match self {
            Self::Parity => text.chars().try_fold(0, |sum, c| match c {
                '0' => Ok(sum),
                '1' => Ok(1 - sum),
                other => Err(format!("\"{other}\" is no bit")),
            }),
            Self::Modarith { .. } | Self::ModarithBrackets { .. } => expression::value(text),
            Self::Listops => listops::value(text),
        }
    }

    /// The labels that stand behind tokens: of the sequence up to there where that is a sequence of the task itself, and behind a closing
    /// bracket of what it closes.
    pub fn labels(&self, text: &str) -> Result<Vec<Option<u32>>, String> {
        let last = self.label(text)?;
        let count = self.tokens(text)?.len();
        let mut labels = vec![None; count];
        match self {
            Self::Parity => {
                let mut sum = 0;
                for (label, c) in labels.iter_mut().zip(text.chars()) {
                    sum ^= u32::from(c == '1');
                    *label = Some(sum);
                }
            }
            Self::Modarith { .. } => {
                for end in (0..count).step_by(2) {
                    labels[end] = Some(expression::value(&text[..=end])?);
                }
            }
            Self::ModarithBrackets { .. } => {
                expression::brackets(text)?.1.iter().for_each(|&(at, label)| labels[at] = Some(label))
            }
            Self::Listops => listops::lists(text)?.1.iter().for_each(|&(at, label)| labels[at] = Some(label)),
        }
        labels[count - 1] = Some(last);
        Ok(labels)
    }

    /// Numbers of the words of a sequence.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, String> {
        read_tokens(text, &self.words(), *self == Self::Listops)
    }
}

/// Numbers of the words of a text: characters, or what stands between spaces.
pub fn read_tokens(text: &str, words: &[String], spaced: bool) -> Result<Vec<u32>, String> {
    let find = |word: &str| match words.iter().position(|w| w == word) {
        Some(i) => Ok(i as u32),
        None => Err(format!("\"{word}\" is none of the words {}", words.join(" "))),
    };
    if spaced {
        text.split_whitespace().map(find).collect()
    } else {
        text.chars().map(|c| find(c.encode_utf8(&mut [0; 4]))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::seed::Streams;

    fn all() -> Vec<Task> {
        let operators = String::from("+-*");
        vec![Task::Parity, Task::Modarith { operators: operators.clone() }, Task::ModarithBrackets { operators }, Task::Listops]
    }

    #[test]
    fn drawn_sequences_have_the_length_and_the_label_they_say() {
        for task in all() {
            let mut rng = Streams::new(1).stream("seqtask", 0);
            let mut counts = vec![0; task.classes()];
            for i in 0..600 {
                let length = task.possible_length(3 + i % 60);
                let e = task.draw(length, &mut rng);
                let tokens = task.tokens(&e.text).unwrap();
                match task {
                    Task::Listops => {
                        assert!(tokens.len() <= length && 2 * tokens.len() + 1 >= length, "{} {length}", tokens.len())
                    }
                    _ => assert_eq!(tokens.len(), length, "{task:?}: {}", e.text),
                }
                assert_eq!(task.label(&e.text).unwrap(), e.label, "{task:?}: {}", e.text);
                let labels = task.labels(&e.text).unwrap();
                assert_eq!((labels.len(), labels[labels.len() - 1]), (tokens.len(), Some(e.label)));
                let prefixes = matches!(task, Task::Parity | Task::Modarith { .. });
                for (i, label) in labels.iter().enumerate().filter(|_| prefixes) {
                    assert!(label.is_none_or(|l| task.label(&e.text[..=i]) == Ok(l)), "{task:?}: {} {i}", e.text);
                }
                counts[e.label as usize] += 1;
            }
            assert!(counts.iter().all(|c| *c > 10), "{task:?}: {counts:?}");
        }
    }

    #[test]
    fn what_a_bracket_closes_has_its_label() {
        let [_, _, brackets, lists] = <[Task; 4]>::try_from(all()).unwrap();
        let of = |task: &Task, text| {
            task.labels(text).unwrap().into_iter().enumerate().filter_map(|(i, l)| Some((i, l?))).collect::<Vec<_>>()
        };
        assert_eq!(of(&brackets, "((1+2)*(-4))"), [(5, 3), (10, 1), (11, 3)]);
        assert_eq!(of(&brackets, "-3"), [(1, 2)]);
        assert_eq!(of(&lists, "[MAX 1 [SM 9 4 ] 2 ]"), [(5, 3), (7, 3)]);
    }

    /// The files of the specification: made by another program.
    #[test]
    fn labels_of_the_given_files_are_ours() {
        let folder = format!("{}/testdata/seqtasks", env!("CARGO_MANIFEST_DIR"));
        let operators = String::from("+-*");
        let files = [
            ("parity_L40", Task::Parity),
            ("parity_L256", Task::Parity),
            ("modarith_L39", Task::Modarith { operators: operators.clone() }),
            ("modarith_brackets_L40", Task::ModarithBrackets { operators }),
            ("listops_100_500_sample", Task::Listops),
        ];
        for (name, task) in files {
            let text = std::fs::read_to_string(format!("{folder}/{name}.csv")).unwrap();
            let mut rows = 0;
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split(',').collect();
                assert_eq!(task.label(fields[0]).unwrap(), fields[1].parse::<u32>().unwrap(), "{name}: {line}");
                task.tokens(fields[0]).unwrap();
                rows += 1;
            }
            assert!(rows >= 50, "{name}");
        }
    }

    #[test]
    fn what_is_no_sequence_is_refused_in_words() {
        let [parity, flat, brackets, lists] = <[Task; 4]>::try_from(all()).unwrap();
        assert!(parity.label("012").unwrap_err().contains("\"2\""));
        assert!(parity.tokens("01x").unwrap_err().contains("\"x\""));
        for bad in ["", "1+", "1++2", "1 2", "7"] {
            assert!(flat.label(bad).is_err(), "{bad}");
        }
        for bad in ["(1", "1)", "()", "-"] {
            assert!(brackets.label(bad).is_err(), "{bad}");
        }
        for bad in ["[MAX 1 2", "[FOO 1 ]", "]", "[MAX ]", "1 2", ""] {
            assert!(lists.label(bad).is_err(), "{bad}");
        }
        // The median of an even number of entries is the integer part of the mean of the middle two.
        assert_eq!(lists.label("[MED 1 7 [MIN 9 8 ] 2 ]").unwrap(), 4);
        assert_eq!(lists.label("[SM 9 9 4 ]").unwrap(), 2);
        assert_eq!(flat.label("1-2*4").unwrap(), 3);
        assert_eq!(brackets.label("(-3)*(2-(-4))").unwrap(), 2);
    }
}
