//! Which column of a table of points plays which part.

use super::{Features, Inputs, PointOptions};
use crate::table::error::{quoted, suggest_column};
use crate::table::{BadInput, Preview, Want};

/// What plays the part of `--features` where a model says which they are.
const MODEL: &str = "a column of the model";

/// The parts that columns play.
#[derive(Debug, Clone)]
pub struct Roles {
    /// What to read each column as.
    pub wants: Vec<Want>,
    /// Coordinates in the order of the points' numbers.
    pub features: Vec<String>,
    pub id: Option<String>,
    pub labels: Vec<String>,
    /// All others.
    pub left_out: Vec<String>,
    pub notes: Vec<String>,
}

/// A column name as it is typed after an option.
pub fn flag(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-.:/+".contains(c));
    if plain { name.to_owned() } else { quoted(name) }
}

/// The error for a coordinate of another kind.
pub fn no_numbers(file: &str, column: &str, holds: &str) -> BadInput {
    let e = BadInput::new(file, format!("holds {holds}, expected numbers")).column(column);
    e.remedy(format!("leave it out with --exclude {}", flag(column)))
}

/// A few names for a message.
pub fn some_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(12);
    let mut text = names.take(12).map(quoted).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Decides the parts of the columns. Errors: see [`read_points`](super::read_points).
pub fn roles(file: &str, previews: &[Preview], options: &PointOptions) -> Result<Roles, BadInput> {
    let names = || previews.iter().map(|c| c.name.as_str());
    let has = |name: &str| names().any(|n| n == name);
    let (only, trained): (&[String], Option<&Inputs>) = match &options.features {
        Features::All => (&[], None),
        Features::Only(only) => (only, None),
        Features::Trained(inputs) => (&inputs.columns, Some(inputs)),
    };
    let mut parts: Vec<(&str, &str)> = Vec::new();
    let named = only.iter().map(|n| (if trained.is_some() { MODEL } else { "--features" }, n));
    let named = named.chain(options.exclude.iter().map(|n| ("--exclude", n))).chain(options.id.iter().map(|n| ("--id-col", n)));
    for (part, name) in named.chain(options.labels.iter().map(|n| ("--label-col", n))) {
        // What a model misses is said together below.
        if part != MODEL && !has(name) {
            let e = BadInput::new(file, format!("there is no column {}", quoted(name)));
            return Err(e.remedy(suggest_column(name, names())));
        }
        match parts.iter().find(|p| p.1 == name) {
            Some((before, _)) if *before == part => {
                return Err(BadInput::new(file, format!("the column is named twice in {part}"))
                    .column(name)
                    .remedy("name it once"));
            }
            Some((before, _)) => {
                let e = BadInput::new(file, format!("the column is both {before} and {part}")).column(name);
                return Err(e.remedy("a column plays one part"));
            }
            None => parts.push((part, name)),
        }
    }
    let taken = |name: &str| parts.iter().any(|p| p.1 == name);
    let mut notes = Vec::new();
    let called = |wanted: &str| names().find(|n| n.eq_ignore_ascii_case(wanted) && !taken(n));
    let id = match (&options.id, trained.and_then(|t| t.id.as_deref())) {
        (Some(id), _) => Some(id.as_str()),
        (None, Some(id)) if has(id) && !taken(id) => Some(id),
        _ => called("id").or_else(|| called("node")),
    };
    let mut labels: Vec<String> = options.labels.clone();
    if labels.is_empty()
        && let Some(label) = called("label").filter(|l| Some(*l) != id)
    {
        labels.push(label.to_owned());
        if trained.is_none() {
            notes.push(format!(
                "{file}: column {} holds the labels and is no coordinate (--features or --exclude say otherwise)",
                quoted(label)
            ));
        }
    }
    let other = |name: &str| options.exclude.iter().chain(&labels).any(|n| n == name) || id == Some(name);
    let features: Vec<String> = match &options.features {
        Features::All => names().filter(|n| !other(n)).map(str::to_owned).collect(),
        Features::Only(only) => only.clone(),
        Features::Trained(inputs) => {
            known_columns(file, previews, inputs, &other)?;
            let mut found = names().filter(|n| inputs.columns.iter().any(|c| c == n));
            if !inputs.columns.iter().all(|c| found.next() == Some(c)) {
                notes.push(format!("{file}: the columns stand in another order than in training; they are taken by name"));
            }
            inputs.columns.clone()
        }
    };
    if features.is_empty() {
        let what = "there is no column of coordinates";
        return Err(BadInput::new(file, what).remedy(suggest_column("", names())));
    }
    let is_feature: std::collections::HashSet<&str> = features.iter().map(String::as_str).collect();
    let mut wants = Vec::with_capacity(previews.len());
    for p in previews {
        wants.push(if is_feature.contains(p.name.as_str()) {
            if let Some(holds) = &p.unreadable {
                return Err(no_numbers(file, &p.name, holds));
            }
            if p.typed_time {
                return Err(no_numbers(file, &p.name, "time stamps"));
            }
            Want::NumberOrText
        } else if id == Some(p.name.as_str()) || labels.contains(&p.name) {
            Want::Text
        } else {
            Want::Skip
        });
    }
    let left_out = names().filter(|n| !is_feature.contains(n)).map(str::to_owned).collect();
    Ok(Roles { wants, features, id: id.map(str::to_owned), labels, left_out, notes })
}

/// Whether a table has the columns of a model, and no others but those that were no coordinates in training either.
fn known_columns(file: &str, previews: &[Preview], inputs: &Inputs, other: &dyn Fn(&str) -> bool) -> Result<(), BadInput> {
    let names: std::collections::HashSet<&str> = previews.iter().map(|c| c.name.as_str()).collect();
    let trained: std::collections::HashSet<&str> = inputs.columns.iter().chain(&inputs.left_out).map(String::as_str).collect();
    let missing: Vec<&str> = inputs.columns.iter().map(String::as_str).filter(|c| !names.contains(c)).collect();
    let extra: Vec<&str> = previews.iter().map(|c| c.name.as_str()).filter(|n| !trained.contains(n) && !other(n)).collect();
    if !missing.is_empty() {
        let mut what = format!("the model needs columns that are not there: {}", some_names(missing.into_iter()));
        if !extra.is_empty() {
            what.push_str(&format!("; it does not know {}", some_names(extra.into_iter())));
        }
        return Err(BadInput::new(file, what).remedy("give the columns that the model was trained on"));
    }
    if !extra.is_empty() {
        let list = extra.iter().map(|n| flag(n)).collect::<Vec<_>>().join(",");
        let what = format!("the model does not know these columns: {}", some_names(extra.into_iter()));
        return Err(BadInput::new(file, what).remedy(format!("leave them out with --exclude {}", short(&list))));
    }
    Ok(())
}

fn short(list: &str) -> String {
    if list.chars().count() <= 120 { list.to_owned() } else { "…".to_owned() }
}
