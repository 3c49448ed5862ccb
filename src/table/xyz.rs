//! Extended XYZ as text: structures with energies and forces.
//!
//! A frame is a line with the number of atoms, a line of `key=value` pairs, and a line for every atom with the columns that `Properties`
//! names. Read are `species:S:1`, `pos:R:3` and `forces:R:3` (also `force`) of the columns, and `energy` of the keys; other columns
//! and keys are passed over. Without `Properties`, columns are a symbol and three coordinates. `pbc` must be absent or all false: structures have no
//! cell here.
//! Source: the extended XYZ specification of libAtoms.

use std::fmt::Write as _;

/// One frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// Chemical symbols.
    pub symbols: Vec<String>,
    pub positions: Vec<[f64; 3]>,
    pub energy: Option<f64>,
    pub forces: Option<Vec<[f64; 3]>>,
}

/// Where and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: found {found}, expected {expected}")]
pub struct XyzError {
    pub line: usize,
    /// First character of what was found, from 1.
    pub column: usize,
    pub found: String,
    pub expected: String,
}

/// What one group of columns holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Species,
    Position,
    Force,
    Other,
}

struct Group {
    kind: Kind,
    width: usize,
}

/// A piece of a line and the column where it begins.
type Word<'a> = (usize, &'a str);

fn words(line: &str) -> Vec<Word<'_>> {
    let mut out = Vec::new();
    let mut rest = line;
    let mut column = 1;
    loop {
        let skipped = rest.len() - rest.trim_start().len();
        column += rest[..skipped].chars().count();
        rest = &rest[skipped..];
        if rest.is_empty() {
            return out;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        out.push((column, &rest[..end]));
        column += rest[..end].chars().count();
        rest = &rest[end..];
    }
}

/// `key=value` pairs of a comment line; values may be quoted and then hold blanks. Words without `=` are true flags.
fn pairs(line: &str, number: usize) -> Result<Vec<(&str, Word<'_>)>, XyzError> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let skipped = rest.len() - rest.trim_start().len();
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let key_end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = rest[..key_end].trim_matches('"');
        if !rest[key_end..].starts_with('=') {
            out.push((key, (column_of(line, at), "T")));
            at += key_end.max(1);
            continue;
        }
        let start = at + key_end + 1;
        let value = &line[start..];
        let (from, to, next) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => match value[1..].find(quote) {
                Some(end) => (start + 1, start + 1 + end, start + end + 2),
                None => {
                    let found = format!("the value of {key} without a closing quote");
                    return Err(XyzError {
                        line: number,
                        column: column_of(line, start),
                        found,
                        expected: format!("a closing {quote}"),
                    });
                }
            },
            _ => {
                let end = value.find(char::is_whitespace).unwrap_or(value.len());
                (start, start + end, start + end)
            }
        };
        out.push((key, (column_of(line, from), &line[from..to])));
        at = next;
    }
    Ok(out)
}

fn column_of(line: &str, byte: usize) -> usize {
    line[..byte].chars().count() + 1
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "nothing".into() } else { format!("\"{}\"", text.chars().take(40).collect::<String>()) }
}

fn number(word: Word<'_>, line: usize, what: &str) -> Result<f64, XyzError> {
    match word.1.parse::<f64>() {
        Ok(v) if v.is_finite() => Ok(v),
        _ => Err(XyzError { line, column: word.0, found: quoted(word.1), expected: format!("{what}, a finite number") }),
    }
}

/// All frames of a text. Cost: one pass.
///
/// # Errors
/// The first thing that is not as expected, with its place.
pub fn parse(text: &str) -> Result<Vec<Frame>, XyzError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() {
            at += 1;
            continue;
        }
        let (structure, next) = frame(&lines, at)?;
        out.push(structure);
        at = next;
    }
    Ok(out)
}

fn frame(lines: &[&str], at: usize) -> Result<(Frame, usize), XyzError> {
    let head = words(lines[at]);
    let count = match head.as_slice() {
        [(_, word)] if word.parse::<usize>().is_ok_and(|n| n > 0) => word.parse::<usize>().unwrap_or(0),
        _ => {
            let column = head.first().map_or(1, |w| w.0);
            let expected = "the number of atoms of a frame, alone on its line".to_string();
            return Err(XyzError { line: at + 1, column, found: quoted(lines[at].trim()), expected });
        }
    };
    let Some(comment) = lines.get(at + 1) else {
        let expected = "the line of key=value pairs".to_string();
        return Err(XyzError { line: at + 2, column: 1, found: "the end of the text".into(), expected });
    };
    let keys = pairs(comment, at + 2)?;
    let get = |name: &str| keys.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
    if let Some((column, value)) = get("pbc")
        && value.split_whitespace().any(|v| !matches!(v, "F" | "f" | "False" | "false" | "0"))
    {
        let expected = "pbc=\"F F F\": structures have no cell here".to_string();
        return Err(XyzError { line: at + 2, column, found: format!("pbc {}", quoted(value)), expected });
    }
    let energy = get("energy").map(|word| number(word, at + 2, "the energy")).transpose()?;
    let groups = match get("properties") {
        Some(word) => properties(word, at + 2)?,
        None => vec![Group { kind: Kind::Species, width: 1 }, Group { kind: Kind::Position, width: 3 }],
    };
    let width = groups.iter().fold(0usize, |sum, g| sum.saturating_add(g.width));
    let mut structure = Frame { energy, ..Frame::default() };
    let has_forces = groups.iter().any(|g| g.kind == Kind::Force);
    let mut forces = Vec::new();
    let end = (at + 2).saturating_add(count);
    for row in at + 2..end {
        let Some(line) = lines.get(row) else {
            let found = format!("the end of the text after {} of {count} atoms", row - at - 2);
            return Err(XyzError { line: row + 1, column: 1, found, expected: format!("atom {}", row - at - 1) });
        };
        let columns = words(line);
        if columns.len() != width {
            let column = columns.get(width).map_or(line.chars().count() + 1, |w| w.0);
            let expected = format!("{width} columns as Properties says");
            return Err(XyzError { line: row + 1, column, found: format!("{} columns", columns.len()), expected });
        }
        let mut from = 0;
        for group in &groups {
            let own = &columns[from..from + group.width];
            from += group.width;
            let vector = |what: &str| -> Result<[f64; 3], XyzError> {
                Ok([number(own[0], row + 1, what)?, number(own[1], row + 1, what)?, number(own[2], row + 1, what)?])
            };
            match group.kind {
                Kind::Species => structure.symbols.push(own[0].1.to_string()),
                Kind::Position => structure.positions.push(vector("a coordinate")?),
                Kind::Force => forces.push(vector("a component of a force")?),
                Kind::Other => {}
            }
        }
    }
    structure.forces = has_forces.then_some(forces);
    Ok((structure, end))
}

/// `name:type:width` triples, joined by colons.
fn properties((column, text): Word<'_>, line: usize) -> Result<Vec<Group>, XyzError> {
    let wrong = |found: String, expected: &str| XyzError { line, column, found, expected: expected.to_string() };
    let parts: Vec<&str> = text.split(':').collect();
    if !parts.len().is_multiple_of(3) {
        return Err(wrong(format!("Properties {}", quoted(text)), "triples name:type:width such as species:S:1:pos:R:3"));
    }
    let mut groups = Vec::new();
    for p in parts.chunks_exact(3) {
        let width = p[2].parse::<usize>().ok().filter(|w| *w > 0);
        let Some(width) = width else {
            return Err(wrong(format!("width {} of {}", quoted(p[2]), p[0]), "a whole number above 0"));
        };
        let (kind, needed) = match p[0].to_ascii_lowercase().as_str() {
            "species" => (Kind::Species, Some(("S", 1))),
            "pos" => (Kind::Position, Some(("R", 3))),
            "forces" | "force" => (Kind::Force, Some(("R", 3))),
            _ => (Kind::Other, None),
        };
        if let Some((class, n)) = needed
            && (p[1] != class || width != n)
        {
            return Err(wrong(format!("{}:{}:{}", p[0], p[1], p[2]), &format!("{}:{class}:{n}", p[0])));
        }
        if kind != Kind::Other && groups.iter().any(|g: &Group| g.kind == kind) {
            return Err(wrong(format!("{} twice", p[0]), "each property once"));
        }
        groups.push(Group { kind, width });
    }
    for (kind, name) in [(Kind::Species, "species:S:1"), (Kind::Position, "pos:R:3")] {
        if !groups.iter().any(|g| g.kind == kind) {
            return Err(wrong(format!("Properties {}", quoted(text)), &format!("a property {name}")));
        }
    }
    Ok(groups)
}

/// Structures as text that [`parse`] reads back to the same numbers: the shortest decimals that do.
pub fn write(structures: &[Frame]) -> String {
    let mut out = String::new();
    for s in structures {
        let forces = s.forces.as_ref().map_or("", |_| ":forces:R:3");
        let energy = s.energy.map_or(String::new(), |e| format!(" energy={e}"));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}\nProperties=species:S:1:pos:R:3{forces}{energy} pbc=\"F F F\"", s.symbols.len());
        for (i, (symbol, p)) in s.symbols.iter().zip(&s.positions).enumerate() {
            let _ = write!(out, "{symbol} {} {} {}", p[0], p[1], p[2]);
            if let Some(f) = &s.forces {
                let _ = write!(out, " {} {} {}", f[i][0], f[i][1], f[i][2]);
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xyz_is_read_back_as_written() {
        let all: Vec<Frame> = (0..3)
            .map(|k| Frame {
                symbols: ["A", "B"].map(String::from).to_vec(),
                positions: vec![[0.1 * f64::from(k), -1.0 / 3.0, 1e-9], [2.0, 1e20, 0.0]],
                energy: (k != 2).then_some(-0.7),
                forces: (k != 1).then(|| vec![[1.0, 0.25, -1.0 / 7.0]; 2]),
            })
            .collect();
        assert_eq!(parse(&write(&all)).unwrap(), all);
        let plain = "2\nwater or so\nO 0 0 0\nH 1e0 -.5 3\n\n1\nenergy=-1.5 name=\"a b\" Properties=species:S:1:tag:I:2:pos:R:3\nH 7 8 1 2 3\n";
        let found = parse(plain).unwrap();
        assert_eq!((found.len(), found[1].energy, found[0].positions[1]), (2, Some(-1.5), [1.0, -0.5, 3.0]));
        assert_eq!(found[1].positions, [[1.0, 2.0, 3.0]]);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn damaged_xyz_is_named_with_its_place() {
        let at = |text: &str, line: usize, column: usize, part: &str| {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        at("x\n", 1, 1, "\"x\"");
        at("0\n\n", 1, 1, "number of atoms");
        at("-3\n\n", 1, 1, "\"-3\"");
        at("2 3\n\n", 1, 1, "\"2 3\"");
        at("1", 2, 1, "end of the text");
        at("18446744073709551615\n\nH 0 0 0\n", 4, 1, "1 of 18446744073709551615 atoms");
        at("1\nProperties=species:S:1:pos:R:3:tag:I:18446744073709551615\nH 0 0\n", 3, 6, "3 columns");
        at("2\n\nH 0 0 0\n", 4, 1, "1 of 2 atoms");
        at("1\n\nH 0 0\n", 3, 6, "3 columns");
        at("1\n\nH 0 0 0 1\n", 3, 9, "5 columns");
        at("1\n\nH 0 zero 0\n", 3, 5, "\"zero\"");
        at("1\n\nH 0 nan 0\n", 3, 5, "finite");
        at("1\nenergy=abc\nH 0 0 0\n", 2, 8, "\"abc\"");
        at("1\nenergy=1 pbc=\"T F F\"\nH 0 0 0\n", 2, 15, "pbc");
        at("1\nname=\"x\nH 0 0 0\n", 2, 6, "closing");
        at("1\nProperties=species:S:1:pos:R\nH 0 0 0\n", 2, 12, "triples");
        at("1\nProperties=species:S:1\nH\n", 2, 12, "pos:R:3");
        at("1\nProperties=species:S:1:pos:I:3\nH 0 0 0\n", 2, 12, "pos:R:3");
        at("1\nProperties=species:S:1:pos:R:3:forces:R:0\nH 0 0 0\n", 2, 12, "width");
        at("1\nProperties=species:S:1:pos:R:3:pos:R:3\nH 0 0 0 0 0 0\n", 2, 12, "twice");
    }
}
