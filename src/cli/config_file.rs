//! `--config`: options from a TOML file or from the manifest of an earlier run, put before what was typed.
//!
//! The command line is split by the program's own option table first, so that only options which were *not* typed are taken
//! from the file: the command line wins, and lists are replaced, never joined.

use super::failure::{Failure, Outcome};
use crate::run::manifest::InputRecord;
use crate::table::BadInput;
use clap::{Arg, ArgMatches, Command, parser::ValueSource};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// What was typed, for the manifest.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// Subcommand and verb.
    pub command: Vec<String>,
    /// Arguments as typed.
    pub arguments: Vec<String>,
    /// Non-default options by long flag.
    pub flags: Map<String, Value>,
    /// Inputs of the manifest that is being repeated.
    pub expected_inputs: Vec<InputRecord>,
}

/// Options that say where results go or how to talk: a repeated run does not inherit them.
const NOT_INHERITED: [&str; 11] =
    ["config", "run-dir", "force", "output", "plot", "fits", "forecasts", "quiet", "verbose", "update-check", "threads"];

/// The command line with the options of `--config` filled in.
pub struct Expanded {
    /// Arguments for clap, program name first.
    pub args: Vec<OsString>,
    /// Inputs of the repeated manifest, if any.
    pub expected_inputs: Vec<InputRecord>,
}

/// Splits the typed arguments and fills in `--config`. Without `--config` the arguments come back unchanged.
pub fn expand(root: &Command, args: Vec<OsString>) -> Outcome<Expanded> {
    let split = Split::new(root, &args);
    let Some(path) = split.config else { return Ok(Expanded { args, expected_inputs: Vec::new() }) };
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Failure::from(BadInput::new(path.clone(), format!("--config cannot be read: {e}"))))?;
    let file = parse(&path, &text)?;
    if let Some(command) = &file.command
        && split.command.is_empty()
        && !command.is_empty()
    {
        // `shoal --config manifest.json` runs the recorded command.
        let mut whole = args.clone();
        whole.splice(1..1, command.iter().map(OsString::from));
        return expand(root, whole);
    }
    if let Some(command) = &file.command
        && *command != split.command
    {
        let (made, typed) = (command.join(" "), split.command.join(" "));
        return Err(Failure::usage(format!("{path} was made by \"shoal {made}\", not by \"shoal {typed}\"")));
    }
    let leaf = split.leaf;
    let mut filled: Vec<OsString> = args[..split.options_at].to_vec();
    for (key, value) in &file.flags {
        let long = key.replace('_', "-");
        let Some(arg) = options(root, leaf).find(|a| names(a).contains(&long.as_str())) else {
            let known = options(root, leaf).filter_map(Arg::get_long);
            let close = known.min_by_key(|n| strsim::damerau_levenshtein(n, &long)).unwrap_or_default();
            return Err(Failure::usage(format!("{path}: no option --{long} here: did you mean \"{close}\"?")));
        };
        let canonical = arg.get_long().unwrap_or_default();
        if split.typed.contains(canonical) {
            continue;
        }
        let takes_value = arg.get_action().takes_values();
        for text in values(&path, &long, value, takes_value, arg.get_value_delimiter().is_some())? {
            filled.push(if takes_value { format!("--{canonical}={text}") } else { format!("--{canonical}") }.into());
        }
    }
    filled.extend_from_slice(&args[split.options_at..]);
    if !split.positional && !file.inputs.is_empty() {
        filled.push("--".into());
        filled.extend(file.inputs.iter().map(OsString::from));
    }
    Ok(Expanded { args: filled, expected_inputs: file.records })
}

/// What a manifest needs to know of the parsed command line.
pub fn typed(root: &Command, args: &[OsString], matches: &ArgMatches, expected_inputs: Vec<InputRecord>) -> Typed {
    let mut command = Vec::new();
    let (mut at, mut leaf) = (matches, root);
    let mut chain = vec![(at, leaf)];
    while let Some((name, sub)) = at.subcommand() {
        command.push(name.to_string());
        at = sub;
        let Some(next) = leaf.find_subcommand(name) else { break };
        leaf = next;
        chain.push((at, leaf));
    }
    let mut flags = Map::new();
    for arg in options(root, leaf) {
        let Some(long) = arg.get_long() else { continue };
        let id = arg.get_id().as_str();
        let given = chain.iter().rev().find_map(|(m, _)| {
            (m.try_contains_id(id).unwrap_or(false) && m.value_source(id) == Some(ValueSource::CommandLine)).then_some(*m)
        });
        let Some(m) = given else { continue };
        if NOT_INHERITED.contains(&long) {
            continue;
        }
        let value = if arg.get_action().takes_values() {
            let texts: Vec<Value> =
                m.get_raw(id).into_iter().flatten().map(|v| Value::String(v.to_string_lossy().into_owned())).collect();
            if texts.len() == 1 { texts[0].clone() } else { Value::Array(texts) }
        } else {
            Value::Bool(true)
        };
        flags.insert(long.to_string(), value);
    }
    let arguments = args.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    Typed { command, arguments, flags, expected_inputs }
}

/// Every option that may be typed after the verb: its own and the global ones.
fn options<'a>(root: &'a Command, leaf: &'a Command) -> impl Iterator<Item = &'a Arg> {
    let own = leaf.get_arguments().filter(|a| !a.is_positional());
    let global = root.get_arguments().filter(|a| a.is_global_set());
    own.chain(global.filter(move |g| !leaf.get_arguments().any(|a| a.get_id() == g.get_id())))
}

fn names(arg: &Arg) -> Vec<&str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default()).collect()
}

/// A command line split by the option table.
struct Split<'a> {
    leaf: &'a Command,
    command: Vec<String>,
    /// Index of the first argument after the verb.
    options_at: usize,
    /// Long names of the options that were typed.
    typed: BTreeSet<String>,
    positional: bool,
    config: Option<String>,
}

impl<'a> Split<'a> {
    fn new(root: &'a Command, args: &[OsString]) -> Self {
        let mut out =
            Self { leaf: root, command: Vec::new(), options_at: 1, typed: BTreeSet::new(), positional: false, config: None };
        let mut at = 1;
        let mut only_positional = false;
        while at < args.len() {
            let text = args[at].to_string_lossy().into_owned();
            at += 1;
            if only_positional || text == "-" || !text.starts_with('-') {
                match (!only_positional).then(|| out.leaf.find_subcommand(&text)).flatten() {
                    Some(sub) => {
                        out.leaf = sub;
                        out.command.push(sub.get_name().to_string());
                        out.options_at = at;
                    }
                    None => out.positional = true,
                }
                continue;
            }
            if text == "--" {
                only_positional = true;
                continue;
            }
            let leaf = out.leaf;
            if let Some(long) = text.strip_prefix("--") {
                let (name, inline) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v.to_string())));
                if let Some(arg) = options(root, leaf).find(|a| names(a).contains(&name)) {
                    out.note(arg, inline, args, &mut at);
                }
            } else {
                let mut rest = text[1..].chars();
                while let Some(short) = rest.next() {
                    let Some(arg) = options(root, leaf).find(|a| a.get_short() == Some(short)) else { break };
                    if arg.get_action().takes_values() {
                        let tail = rest.as_str();
                        let inline = (!tail.is_empty()).then(|| tail.trim_start_matches('=').to_string());
                        out.note(arg, inline, args, &mut at);
                        break;
                    }
                    out.note(arg, None, args, &mut at);
                }
            }
        }
        out
    }

    /// Remembers an option and steps over its value.
    fn note(&mut self, arg: &Arg, inline: Option<String>, args: &[OsString], at: &mut usize) {
        let name = arg.get_long().unwrap_or_default().to_string();
        if arg.get_action().takes_values() {
            let value = inline.or_else(|| {
                let next = args.get(*at).map(|a| a.to_string_lossy().into_owned());
                *at += 1;
                next
            });
            if name == "config" {
                self.config = value;
            }
        }
        self.typed.insert(name);
    }
}

/// A configuration file: flags, and for manifests the command and the inputs.
struct File {
    flags: Map<String, Value>,
    inputs: Vec<String>,
    command: Option<Vec<String>>,
    records: Vec<InputRecord>,
}

fn parse(path: &str, text: &str) -> Outcome<File> {
    let bad = |why: String| Failure::from(BadInput::new(path, why));
    if text.trim_start().starts_with('{') {
        #[derive(serde::Deserialize)]
        struct Repeat {
            command: Vec<String>,
            flags: Map<String, Value>,
            inputs: Vec<InputRecord>,
        }
        let m: Repeat = serde_json::from_str(text).map_err(|e| bad(format!("is not a manifest of shoal: {e}")))?;
        // The test file of an m4 run is an option; it was read last.
        let options = usize::from(m.flags.contains_key("test"));
        let inputs = m.inputs.iter().take(m.inputs.len().saturating_sub(options));
        let inputs = inputs.map(|r| r.path.clone()).collect();
        return Ok(File { flags: m.flags, inputs, command: Some(m.command), records: m.inputs });
    }
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let why = e.message().to_string();
        match e.span() {
            Some(span) => {
                let row = text[..span.start.min(text.len())].matches('\n').count() + 1;
                Failure::from(BadInput::new(path, format!("is not TOML: {why}")).row(row))
            }
            None => bad(format!("is not TOML: {why}")),
        }
    })?;
    let mut flags = serde_json::to_value(table).map_err(|e| bad(e.to_string()))?;
    let Some(map) = flags.as_object_mut() else { return Err(bad("is not a table of options".into())) };
    let inputs = match map.remove("input") {
        None => Vec::new(),
        Some(v) => values(path, "input", &v, true, false)?,
    };
    Ok(File { flags: std::mem::take(map), inputs, command: None, records: Vec::new() })
}

/// The texts of one key: a list is one text where the option has a delimiter, else an occurrence each.
fn values(path: &str, key: &str, value: &Value, takes_value: bool, joined: bool) -> Outcome<Vec<String>> {
    let bad = || {
        Failure::usage(format!(
            "{path}: key \"{key}\" holds {value}, expected {}",
            if takes_value { "a value" } else { "true or false" }
        ))
    };
    let one = |v: &Value| match v {
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) if takes_value => Ok(b.to_string()),
        _ => Err(bad()),
    };
    match value {
        Value::Bool(b) if !takes_value => Ok(if *b { vec![String::new()] } else { Vec::new() }),
        _ if !takes_value => Err(bad()),
        Value::Array(items) => {
            let texts = items.iter().map(one).collect::<Outcome<Vec<_>>>()?;
            Ok(if joined && !texts.is_empty() { vec![texts.join(",")] } else { texts })
        }
        v => Ok(vec![one(v)?]),
    }
}
