//! Results on their way out: one table or one JSON object to stdout or a file, one picture.

use super::args::{FormatArg, OutputArgs};
use super::failure::{Failure, Outcome};
use super::session::write_json;
use crate::plot::{Picture, PictureFormat, render};
use crate::table::{AtomicFile, Format, Table, write_table};
use serde::Serialize;
use std::io::{BufWriter, IsTerminal, Write};

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
        let by_name = args.output.as_deref().and_then(Format::of_path);
        let form = match args.format {
            _ if args.json => Form::Object,
            FormatArg::Auto => Form::Table(match (&args.output, by_name) {
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
        if args.output.is_none() && form == Form::Table(Format::Parquet) && std::io::stdout().is_terminal() {
            return Err(Failure::usage("Parquet on a terminal is unreadable: add -o FILE.parquet or pipe it"));
        }
        let picture = match &args.plot {
            Some(path) => {
                let format = PictureFormat::from_path(path)?;
                Some((AtomicFile::create(path)?, format))
            }
            None => None,
        };
        let file = args.output.as_ref().map(AtomicFile::create).transpose()?;
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

/// A serialisable value as JSON.
pub fn to_json(value: &impl Serialize) -> Outcome<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Failure::Run(e.into()))
}
