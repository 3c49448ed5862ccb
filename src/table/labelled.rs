//! Sequences with a label each: one a row (wide), one a group of rows (long), or the .ts files of the UCR archive.

use super::error::suggest_column;
use super::frame::{Data, Missing};
use super::{BadInput, Frame, FrameOptions, Header, Source, Want, read_frame};

/// How sequences lie in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Long if there is a column of ids, else wide.
    #[default]
    Auto,
    /// A row each: the columns are steps.
    Wide,
    /// A row for each step: the columns are channels.
    Long,
}

/// How labelled sequences are read.
#[derive(Debug, Clone)]
pub struct LabelledOptions {
    /// Column of labels.
    pub label: String,
    /// Column of ids.
    pub id: Option<String>,
    /// Column by which the rows of a long sequence are sorted; file order without.
    pub time: Option<String>,
    pub form: Form,
    /// Texts for missing values besides the usual ones.
    pub na: Vec<String>,
    pub header: Header,
}

/// One sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    pub id: String,
    pub label: String,
    /// Step after step, all channels of one together.
    pub values: Vec<f64>,
}

/// Sequences that agree in their channels.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSet {
    pub channels: usize,
    pub sequences: Vec<Labelled>,
}

impl LabelledSet {
    /// Steps of sequence `i`.
    pub fn steps(&self, i: usize) -> usize {
        self.sequences[i].values.len() / self.channels
    }
}

/// Reads labelled sequences.
///
/// # Errors
/// What makes a table unreadable; no such column; a missing label; a missing value inside a sequence; two labels in one sequence.
pub fn read_labelled(source: &Source, options: &LabelledOptions) -> Result<LabelledSet, BadInput> {
    if source.name().ends_with(".ts") {
        return read_ts(source);
    }
    let file = source.name().to_string();
    let read = FrameOptions { missing: Missing(options.na.clone()), header: options.header };
    let named = [Some(&options.label), options.id.as_ref(), options.time.as_ref()];
    let frame = read_frame(source, &read, &|columns| {
        for name in named.iter().flatten() {
            if !columns.iter().any(|c| c.name == **name) {
                let hint = suggest_column(name, columns.iter().map(|c| c.name.as_str()));
                return Err(BadInput::new(&file, format!("has no column \"{name}\"")).remedy(hint));
            }
        }
        let text = |name: &String| *name == options.label || options.id.as_ref() == Some(name);
        Ok(columns.iter().map(|c| if text(&c.name) { Want::Text } else { Want::Number }).collect())
    })?;
    let set = if options.form == Form::Long || (options.form == Form::Auto && options.id.is_some()) {
        long(&file, &frame, options)?
    } else {
        wide(&file, &frame, options)?
    };
    if set.sequences.is_empty() {
        return Err(BadInput::new(file, "holds no sequences"));
    }
    Ok(set)
}

/// Number columns that are neither the label, the id nor the time.
fn value_columns<'a>(file: &str, frame: &'a Frame, options: &LabelledOptions) -> Result<Vec<(&'a str, &'a [f64])>, BadInput> {
    let special =
        |name: &str| name == options.label || options.id.as_deref() == Some(name) || options.time.as_deref() == Some(name);
    let columns: Vec<(&str, &[f64])> = frame
        .columns
        .iter()
        .filter(|c| !special(&c.name))
        .filter_map(|c| match &c.data {
            Data::Number(v) => Some((c.name.as_str(), v.as_slice())),
            _ => None,
        })
        .collect();
    match columns.is_empty() {
        true => Err(BadInput::new(file, "has no columns of numbers beside the label")),
        false => Ok(columns),
    }
}

/// Texts of a column by row.
fn texts<'a>(frame: &'a Frame, name: &str) -> Option<&'a super::Text> {
    match frame.column(name).map(|c| &c.data) {
        Some(Data::Text(t)) => Some(t),
        _ => None,
    }
}

fn wide(file: &str, frame: &Frame, options: &LabelledOptions) -> Result<LabelledSet, BadInput> {
    let columns = value_columns(file, frame, options)?;
    let labels = texts(frame, &options.label);
    let ids = options.id.as_ref().and_then(|id| texts(frame, id));
    let mut sequences = Vec::with_capacity(frame.len());
    for i in 0..frame.len() {
        let row = frame.rows.file_row(i);
        let missing = |what: &str| BadInput::new(file, format!("the {what} is missing")).row(row);
        let label = labels.and_then(|t| t.get(i)).ok_or_else(|| missing("label").column(options.label.clone()))?;
        let id = match ids {
            Some(t) => t.get(i).ok_or_else(|| missing("id"))?.to_string(),
            None => (i + 1).to_string(),
        };
        let mut values: Vec<f64> = columns.iter().map(|(_, c)| c[i]).collect();
        values.truncate(values.iter().rposition(|v| !v.is_nan()).map_or(0, |last| last + 1));
        if values.is_empty() {
            return Err(BadInput::new(file, "the sequence has no values").row(row));
        }
        if let Some(k) = values.iter().position(|v| v.is_nan()) {
            return Err(BadInput::new(file, "a value is missing before the end of the sequence").row(row).column(columns[k].0));
        }
        sequences.push(Labelled { id, label: label.to_string(), values });
    }
    Ok(LabelledSet { channels: 1, sequences })
}

fn long(file: &str, frame: &Frame, options: &LabelledOptions) -> Result<LabelledSet, BadInput> {
    let Some(id) = &options.id else {
        return Err(BadInput::new(file, "a row for each step needs a column that says which sequence it belongs to")
            .remedy("name it with --id-col"));
    };
    let columns = value_columns(file, frame, options)?;
    let (labels, ids) = (texts(frame, &options.label), texts(frame, id));
    let times = options.time.as_ref().and_then(|t| frame.column(t)).and_then(|c| match &c.data {
        Data::Number(v) => Some(v),
        _ => None,
    });
    // In the order in which ids first come.
    let mut places: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    let mut groups: Vec<(String, String, Vec<usize>)> = Vec::new();
    for i in 0..frame.len() {
        let row = frame.rows.file_row(i);
        let id = ids.and_then(|t| t.get(i)).ok_or_else(|| BadInput::new(file, "the id is missing").row(row))?;
        let label = labels.and_then(|t| t.get(i)).ok_or_else(|| BadInput::new(file, "the label is missing").row(row))?;
        let place = *places.entry(id).or_insert_with(|| {
            groups.push((id.to_string(), label.to_string(), Vec::new()));
            groups.len() - 1
        });
        if groups[place].1 != label {
            let what = format!("sequence \"{id}\" has the labels \"{}\" and \"{label}\"", groups[place].1);
            return Err(BadInput::new(file, what).row(row));
        }
        if let Some((name, _)) = columns.iter().find(|(_, c)| c[i].is_nan()) {
            return Err(BadInput::new(file, "a value is missing").row(row).column(*name));
        }
        groups[place].2.push(i);
    }
    let sequence = |(id, label, mut rows): (String, String, Vec<usize>)| {
        if let Some(times) = times {
            rows.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
        }
        let values = rows.iter().flat_map(|i| columns.iter().map(move |(_, c)| c[*i])).collect();
        Labelled { id, label, values }
    };
    Ok(LabelledSet { channels: columns.len(), sequences: groups.into_iter().map(sequence).collect() })
}

/// A file of the UCR/UEA archive: lines of `@` settings, then a sequence a line, channels divided by colons, the label last.
fn read_ts(source: &Source) -> Result<LabelledSet, BadInput> {
    let file = source.name();
    let text = std::str::from_utf8(source.bytes()).map_err(|_| BadInput::new(file, "is not text"))?;
    let mut data = false;
    let mut set = LabelledSet { channels: 0, sequences: Vec::new() };
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |what: String| BadInput::new(file, what).row(i + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !data {
            let lower = line.to_lowercase();
            if lower == "@timestamps true" {
                return Err(wrong("has time stamps, which are not read".into()));
            }
            data = lower == "@data";
            if !data && !line.starts_with('@') {
                return Err(wrong("expected a setting such as @problemName, or @data".into()));
            }
            continue;
        }
        let mut parts: Vec<&str> = line.split(':').collect();
        let label = parts.pop().unwrap_or_default().trim().to_string();
        if parts.is_empty() || label.is_empty() {
            return Err(wrong("has no label behind a last colon".into()));
        }
        let channels: Vec<Vec<f64>> = parts
            .iter()
            .map(|part| {
                let number = |v: &str| match v.trim().parse::<f64>() {
                    Ok(x) if x.is_finite() => Ok(x),
                    _ => Err(wrong(format!("found \"{}\", expected a number", v.trim()))),
                };
                part.split(',').map(number).collect()
            })
            .collect::<Result<_, _>>()?;
        let steps = channels[0].len();
        if channels.iter().any(|c| c.len() != steps) {
            return Err(wrong("channels of different lengths".into()));
        }
        if set.channels != 0 && set.channels != channels.len() {
            return Err(wrong(format!("has {} channels, the sequences before it {}", channels.len(), set.channels)));
        }
        set.channels = channels.len();
        let values = (0..steps).flat_map(|t| channels.iter().map(move |c| c[t])).collect();
        set.sequences.push(Labelled { id: (set.sequences.len() + 1).to_string(), label, values });
    }
    match set.sequences.is_empty() {
        true => Err(BadInput::new(file, "holds no sequences behind @data")),
        false => Ok(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LabelledOptions {
        LabelledOptions { label: "label".into(), id: None, time: None, form: Form::Auto, na: Vec::new(), header: Header::Auto }
    }

    fn read(name: &str, text: &str, options: &LabelledOptions) -> Result<LabelledSet, BadInput> {
        read_labelled(&Source::from_bytes(name, text.as_bytes().to_vec())?, options)
    }

    #[test]
    fn rows_and_groups_of_rows_and_archive_files_are_the_same_sequences() {
        let wide = read("w.csv", "label,t0,t1,t2\na,1,2,3\nb,4,5,\n", &options()).unwrap();
        let grouped = LabelledOptions { id: Some("id".into()), time: Some("t".into()), ..options() };
        let text = "id,t,label,x\n1,2,a,3\n2,0,b,4\n1,0,a,1\n1,1,a,2\n2,1,b,5\n";
        let long = read("l.csv", text, &grouped).unwrap();
        let ts = read("u.ts", "# from an archive\n@problemName X\n@data\n1,2,3:a\n4,5:b\n", &options()).unwrap();
        assert_eq!(wide, long);
        assert_eq!(wide, ts);
        assert_eq!((wide.steps(0), wide.steps(1)), (3, 2));
        let two = read("u.ts", "@data\n1,2:3,4:a\n", &options()).unwrap();
        assert_eq!((two.channels, two.sequences[0].values.clone()), (2, vec![1.0, 3.0, 2.0, 4.0]));
    }

    #[test]
    fn mistakes_name_their_place() {
        let e = |name: &str, text: &str, o: &LabelledOptions| read(name, text, o).unwrap_err().to_string();
        assert!(e("w.csv", "lable,t0\na,1\n", &options()).contains("label"));
        assert!(e("w.csv", "label,t0,t1\na,,2\n", &options()).contains("row 2"));
        assert!(e("w.csv", "label,t0,t1\n,1,2\n", &options()).contains("label"));
        let grouped = LabelledOptions { id: Some("id".into()), ..options() };
        assert!(e("l.csv", "id,label,x\n1,a,1\n1,b,2\n", &grouped).contains("\"a\" and \"b\""));
        assert!(e("l.csv", "label,x\na,1\n", &LabelledOptions { form: Form::Long, ..options() }).contains("--id-col"));
        assert!(e("u.ts", "@data\n1,x:a\n", &options()).contains("\"x\""));
        assert!(e("u.ts", "@timeStamps true\n@data\n", &options()).contains("time stamps"));
        assert!(e("u.ts", "hello\n", &options()).contains("@data"));
    }
}
