//! JSON into a [`Frame`]: one object per line, or one array of objects. The columns are the union of the keys, in order of first
//! appearance; a key that an object lacks, and `null`, are missing cells. Two passes: keys and a sample, then the cells.

use super::error::BadInput;
use super::frame::{Column, Frame, Missing, Preview, Refused, RowMap, Sink, check_names};
use super::source::Source;
use super::{FrameOptions, Plan, sample_rows};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;

/// Reads a source of JSON lines. Rows are lines. Errors as [`super::read_frame`].
pub(super) fn read_lines(source: &Source, options: &FrameOptions, plan: &Plan<'_>) -> Result<Frame, BadInput> {
    let file = source.name();
    let lines = || {
        let numbered = source.bytes().split(|b| *b == b'\n').enumerate();
        numbered.map(|(i, line)| (i + 1, line.trim_ascii())).filter(|(_, line)| !line.is_empty())
    };
    let mut keys = Keys::default();
    let mut rows = RowMap::default();
    for (count, (number, line)) in lines().enumerate() {
        // Blank lines before this one.
        let blank = number - 1 - count - rows.skipped.len();
        rows.skipped.extend(std::iter::repeat_n(count, blank));
        parse(line, &mut keys).map_err(|e| not_an_object(file, number, &e))?;
    }
    let mut table = Filler::new(file, &keys, options, plan)?;
    for (number, line) in lines() {
        if let Err(e) = parse(line, &mut table) {
            return Err(table.fault(number).unwrap_or_else(|| not_an_object(file, number, &e)));
        }
    }
    table.finish(rows)
}

/// Reads a source that is one array of objects. Rows are its elements. Errors as [`super::read_frame`].
pub(super) fn read_array(source: &Source, options: &FrameOptions, plan: &Plan<'_>) -> Result<Frame, BadInput> {
    let file = source.name();
    let mut keys = Keys::default();
    let mut count = 0;
    parse(source.bytes(), Elements(&mut keys, &mut count)).map_err(|e| not_an_object(file, count + 1, &e))?;
    if count == 0 {
        return Err(BadInput::new(file, "the array is empty, expected objects"));
    }
    let mut table = Filler::new(file, &keys, options, plan)?;
    let mut row = 0;
    if let Err(e) = parse(source.bytes(), Elements(&mut table, &mut row)) {
        return Err(table.fault(row + 1).unwrap_or_else(|| not_an_object(file, row + 1, &e)));
    }
    table.finish(RowMap::default())
}

/// Parses all of `bytes` with `seed`.
fn parse<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> serde_json::Result<S::Value> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

fn not_an_object(file: &str, row: usize, e: &serde_json::Error) -> BadInput {
    let text = e.to_string();
    // "at line 1" says nothing: the row is known.
    let what = match text.rfind(" at line ") {
        Some(end) if e.column() > 0 => format!("{} at character {}", &text[..end], e.column()),
        Some(end) => text[..end].to_owned(),
        None => text,
    };
    BadInput::new(file, format!("{what}, expected a JSON object"))
        .row(row)
        .remedy("every line (or element) is one object such as {\"ds\":\"2020-01-31\",\"y\":1.5}")
}

/// Runs a seed over each element of an array, counting.
struct Elements<'a, T>(&'a mut T, &'a mut usize);

impl<'a, 'de, T> DeserializeSeed<'de> for Elements<'a, T>
where
    for<'b> &'b mut T: DeserializeSeed<'de, Value = ()>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'a, 'de, T> Visitor<'de> for Elements<'a, T>
where
    for<'b> &'b mut T: DeserializeSeed<'de, Value = ()>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(&mut *self.0)?.is_some() {
            *self.1 += 1;
        }
        Ok(())
    }
}

/// The first pass: the keys, and the first objects whole.
#[derive(Default)]
struct Keys {
    names: Vec<String>,
    index: HashMap<String, usize>,
    sample: Vec<Map<String, Value>>,
}

impl<'de> DeserializeSeed<'de> for &mut Keys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut object = Map::new();
        let keep = self.sample.len() < sample_rows(self.names.len());
        let mut expected = 0;
        while let Some(i) = map.next_key_seed(KeySeed { names: &mut self.names, index: &mut self.index, expected })? {
            expected = i + 1;
            if keep {
                object.insert(self.names[i].clone(), map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if keep {
            self.sample.push(object);
        }
        Ok(())
    }
}

/// A key, as its column number; new keys are appended. Objects mostly have their keys in the same order.
struct KeySeed<'a> {
    names: &'a mut Vec<String>,
    index: &'a mut HashMap<String, usize>,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<usize, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<usize, E> {
        if self.names.get(self.expected).is_some_and(|n| n == key) {
            return Ok(self.expected);
        }
        if let Some(i) = self.index.get(key) {
            return Ok(*i);
        }
        self.index.insert(key.to_owned(), self.names.len());
        self.names.push(key.to_owned());
        Ok(self.names.len() - 1)
    }
}

/// The second pass: cells into sinks.
struct Filler<'a> {
    file: &'a str,
    names: Vec<String>,
    index: HashMap<String, usize>,
    missing: &'a Missing,
    sinks: Vec<Sink>,
    seen: Vec<bool>,
    /// Why the last row was refused: column, cell, reason.
    refused: Option<(usize, String, Refused)>,
    twice: Option<usize>,
}

impl<'a> Filler<'a> {
    fn new(file: &'a str, keys: &Keys, options: &'a FrameOptions, plan: &Plan<'_>) -> Result<Self, BadInput> {
        if keys.names.is_empty() {
            return Err(BadInput::new(file, "the objects have no keys, expected columns"));
        }
        check_names(file, None, keys.names.iter().map(String::as_str))?;
        let previews: Vec<Preview> = keys
            .names
            .iter()
            .map(|name| {
                let cells = || keys.sample.iter().map(|object| object.get(name));
                let nested = cells().flatten().find_map(|v| match v {
                    Value::Array(_) => Some("lists".to_owned()),
                    Value::Object(_) => Some("objects".to_owned()),
                    _ => None,
                });
                let sample = cells().map(|v| match v {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(s)) => s.trim().to_owned(),
                    Some(v) => v.to_string(),
                });
                Preview {
                    name: name.clone(),
                    sample: sample.collect(),
                    typed_time: false,
                    unreadable: nested,
                    lost_numbers: false,
                }
            })
            .collect();
        let sinks: Vec<Sink> = plan(&previews)?.iter().map(Sink::new).collect();
        Ok(Filler {
            file,
            names: keys.names.clone(),
            index: keys.index.clone(),
            missing: &options.missing,
            seen: vec![false; sinks.len()],
            sinks,
            refused: None,
            twice: None,
        })
    }

    fn fault(&mut self, row: usize) -> Option<BadInput> {
        if let Some(i) = self.twice {
            return Some(BadInput::new(self.file, "the object has this key twice").row(row).column(&self.names[i]));
        }
        let (i, found, why) = self.refused.take()?;
        let e = BadInput::cell(self.file, row, &self.names[i], &found, &why.expected);
        Some(why.remedy.into_iter().fold(e, BadInput::remedy))
    }

    fn finish(self, rows: RowMap) -> Result<Frame, BadInput> {
        let (mut columns, mut warnings) = (Vec::new(), Vec::new());
        for (sink, name) in self.sinks.into_iter().zip(self.names) {
            let (data, note) = sink.finish(self.file, &name, &|i| rows.file_row(i))?;
            warnings.extend(note);
            if let Some(data) = data {
                columns.push(Column { name, data });
            }
        }
        Ok(Frame { name: self.file.to_owned(), columns, rows, warnings })
    }
}

impl<'de> DeserializeSeed<'de> for &mut Filler<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Filler<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.seen.fill(false);
        let mut expected = 0;
        while let Some(i) = map.next_key_seed(KeySeed { names: &mut self.names, index: &mut self.index, expected })? {
            expected = i + 1;
            if std::mem::replace(&mut self.seen[i], true) {
                self.twice = Some(i);
                return Err(A::Error::custom("a key twice"));
            }
            let mut refused = None;
            let done = map.next_value_seed(CellSeed { sink: &mut self.sinks[i], missing: self.missing, refused: &mut refused });
            if let Some((found, why)) = refused {
                self.refused = Some((i, found, why));
            }
            done?;
        }
        for (i, sink) in self.sinks.iter_mut().enumerate().filter(|(i, _)| !self.seen[*i]) {
            if let Err(why) = sink.push("", self.missing, false) {
                self.refused = Some((i, String::new(), why));
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// Puts one value into a sink.
struct CellSeed<'a> {
    sink: &'a mut Sink,
    missing: &'a Missing,
    refused: &'a mut Option<(String, Refused)>,
}

impl CellSeed<'_> {
    fn text<E: serde::de::Error>(self, cell: &str) -> Result<(), E> {
        self.sink.push(cell, self.missing, false).map_err(|why| {
            *self.refused = Some((cell.to_owned(), why));
            E::custom("refused")
        })
    }

    fn number<E: serde::de::Error>(self, value: f64, text: impl FnOnce() -> String) -> Result<(), E> {
        match self.sink {
            Sink::Skip => Ok(()),
            // JSON has no infinities.
            Sink::Number(sink) => {
                sink.push(value);
                Ok(())
            }
            _ => self.text(&text()),
        }
    }

    fn nested<E: serde::de::Error>(self, found: &str) -> Result<(), E> {
        let expected = match self.sink {
            Sink::Text(_) => "text",
            Sink::Time(_) => "a time stamp",
            _ => "a number",
        };
        *self.refused = Some((found.to_owned(), Refused { expected: expected.into(), remedy: None }));
        Err(E::custom("refused"))
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if matches!(self.sink, Sink::Skip) {
            return json.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.text("")
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<(), E> {
        self.number(f64::from(u8::from(v)), || v.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<(), E> {
        self.number(v as f64, || v.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<(), E> {
        self.number(v as f64, || v.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<(), E> {
        self.number(v, || v.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<(), E> {
        self.text(v)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.nested("[...]")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.nested("{...}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Data, Want};
    use super::super::time::Pattern;
    use super::super::{plain_plan, read_frame};
    use super::*;

    fn frame(text: &str) -> Result<Frame, BadInput> {
        read_frame(&Source::from_bytes("t.jsonl", text.as_bytes().to_vec())?, &FrameOptions::default(), &plain_plan)
    }

    fn refused(text: &str) -> String {
        frame(text).unwrap_err().to_string()
    }

    #[test]
    fn keys_are_united() {
        let f = frame("{\"a\":1}\n\n{\"b\":\"x\",\"a\":2.5}\r\n{\"c\":true}\n").unwrap();
        assert_eq!(f.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let Data::Number(a) = &f.columns[0].data else { panic!() };
        assert_eq!((a[0], a[1], a[2].is_nan()), (1.0, 2.5, true));
        let Data::Text(b) = &f.columns[1].data else { panic!() };
        assert_eq!([b.get(0), b.get(1), b.get(2)], [None, Some("x"), None]);
        assert_eq!([0, 1, 2].map(|i| f.rows.file_row(i)), [1, 3, 4]);
    }

    #[test]
    fn arrays_of_objects_are_read_too() {
        let f = frame("[{\"a\": 1},\n {\"a\": null}]").unwrap();
        assert_eq!(f.len(), 2);
        assert!(refused("[{\"a\":1},{\"a\":1,\"a\":2}]").contains("row 2, column \"a\": the object has this key twice"));
        assert!(refused("[]").contains("the array is empty"));
        assert!(refused("[{\"a\":1}, 3]").contains("row 2"));
    }

    #[test]
    fn faults_name_the_row() {
        assert!(
            refused("{\"a\":1}\n\n{\"a\":}\n")
                .starts_with("t.jsonl, row 3: expected value at character 6, expected a JSON object")
        );
        assert!(
            refused("{\"a\":1}\n{\"a\":\"x\"}\n").starts_with("t.jsonl, row 2, column \"a\": found \"x\", expected a number")
        );
        assert!(refused("{\"a\":1}\n[1]\n").contains("row 2"));
        assert!(refused("{\"a\":1}\n{\"a\":1} x\n").contains("row 2"));
        assert!(refused("{\n\"a\":1\n}\n").contains("row 1"));
        assert!(refused("{}").contains("no keys"));
        // A list where the first hundred rows had numbers.
        let text = "{\"a\":1}\n".repeat(150) + "{\"a\":[2]}\n";
        assert!(refused(&text).contains("row 151, column \"a\": found \"[...]\", expected a number"));
    }

    #[test]
    fn times_are_texts_or_numbers() {
        let source = Source::from_bytes("t", b"{\"t\":\"2020-01-01\"}\n{\"t\":\"2020-01-02\"}".to_vec()).unwrap();
        let f = read_frame(&source, &FrameOptions::default(), &|_| Ok(vec![Want::Time(Pattern::Iso)])).unwrap();
        assert!(matches!(&f.columns[0].data, Data::Time(t) if t.values[1] - t.values[0] == super::super::time::DAY));
        let source = Source::from_bytes("t", b"{\"t\":1577836800000}\n".to_vec()).unwrap();
        let f = read_frame(&source, &FrameOptions::default(), &|_| Ok(vec![Want::Time(Pattern::Epoch(1_000_000))])).unwrap();
        assert!(matches!(&f.columns[0].data, Data::Time(t) if t.values[0] == 1_577_836_800_000_000));
    }
}
