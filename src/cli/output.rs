//! Results on their way out: one table or one JSON object to stdout or a file, one picture.

use super::args::{FormatArg, OutputArgs};
use super::failure::{Failure, Outcome};
use super::session::write_json;
use crate::plot::{Picture, PictureFormat, render};
use crate::table::{AtomicFile, Format, Table, write_table};
use serde::Serialize;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

/// Opened outputs of one verb.
pub struct Output {
    file: Option<AtomicFile>,
    form: Form,
    picture: Option<(AtomicFile, PictureFormat)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table(Format),
    Object,
}

impl Output {
    /// Opens the files. Nothing appears under their names before the result is complete.
    pub fn open(args: &OutputArgs) -> Outcome<Self> {
        // "-" is stdout, as it is stdin for inputs. Stdout's other names are not opened anew, or two writers would share a file at
        // two positions.
        let stdout = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        let path = args.output.as_ref().filter(|p| !stdout.iter().any(|name| p.as_os_str() == *name));
        let by_name = path.and_then(|p| Format::of_path(p));
        if let (Some(path), FormatArg::Auto, false, None) = (path, args.format, args.json, by_name) {
            refuse_other_formats(path)?;
        }
        let form = match args.format {
            _ if args.json => Form::Object,
            FormatArg::Auto => Form::Table(match (path, by_name) {
                (_, Some(format)) => format,
                (None, None) if std::io::stdout().is_terminal() => Format::Table,
                _ => Format::Csv,
            }),
            FormatArg::Csv => Form::Table(Format::Csv),
            FormatArg::Tsv => Form::Table(Format::Tsv),
            FormatArg::Parquet => Form::Table(Format::Parquet),
            FormatArg::Json => Form::Table(Format::Json),
            FormatArg::Jsonl => Form::Table(Format::Jsonl),
            FormatArg::Table => Form::Table(Format::Table),
        };
        if path.is_none() && form == Form::Table(Format::Parquet) && std::io::stdout().is_terminal() {
            return Err(Failure::usage("Parquet on a terminal is unreadable: add -o FILE.parquet or pipe it"));
        }
        let picture = match &args.plot {
            Some(path) => {
                let format = PictureFormat::from_path(path)?;
                Some((AtomicFile::create(path)?, format))
            }
            None => None,
        };
        let file = path.map(AtomicFile::create).transpose()?;
        Ok(Self { file, form, picture })
    }

    /// Whether a picture was asked for.
    pub fn wants_picture(&self) -> bool {
        self.picture.is_some()
    }

    /// Writes the picture.
    pub fn picture(&mut self, picture: &Picture) -> Outcome {
        if let Some((mut file, format)) = self.picture.take() {
            file.write_all(&render(picture, format)?)?;
            file.commit()?;
        }
        Ok(())
    }

    /// Writes the result: the table, or the object where that was asked for.
    pub fn result(mut self, table: &Table, object: impl FnOnce() -> Outcome<serde_json::Value>) -> Outcome {
        let form = self.form;
        let write = |out: &mut dyn Write| -> Outcome {
            match form {
                Form::Table(format) => write_table(table, format, out)?,
                Form::Object => write_json(out, &object()?)?,
            }
            Ok(())
        };
        match self.file.take() {
            Some(mut file) => {
                write(&mut file)?;
                file.commit()?;
            }
            None => {
                let mut out = BufWriter::new(std::io::stdout().lock());
                write(&mut out)?;
                out.flush()?;
            }
        }
        Ok(())
    }
}

/// An extension that promises something else than text must not get CSV.
fn refuse_other_formats(path: &Path) -> Outcome {
    const OTHERS: [&str; 11] = ["gz", "zst", "bz2", "xz", "zip", "xls", "xlsx", "feather", "arrow", "orc", "avro"];
    match path.extension().and_then(|e| e.to_str()) {
        Some(e) if OTHERS.contains(&e.to_lowercase().as_str()) => Err(Failure::usage(format!(
            "-o {}: .{e} is not a form that can be written: use .csv, .tsv, .parquet, .json or .jsonl, or say --format",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Refuses two outputs under one name.
pub fn refuse_same_file(paths: &[(&str, Option<&Path>)]) -> Outcome {
    let named: Vec<(&str, &Path)> = paths.iter().filter_map(|(flag, p)| p.map(|p| (*flag, p))).collect();
    for (i, (flag, path)) in named.iter().enumerate() {
        if path.as_os_str() == "-" && *flag != "-o" {
            return Err(Failure::usage(format!("{flag} -: stdout holds the result, name a file")));
        }
        if let Some((other, _)) = named[..i].iter().find(|(_, p)| p == path) {
            return Err(Failure::usage(format!("{other} and {flag} are the same file, {}", path.display())));
        }
    }
    Ok(())
}

/// A serialisable value as JSON.
pub fn to_json(value: &impl Serialize) -> Outcome<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Failure::Run(e.into()))
}
