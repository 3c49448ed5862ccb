//! From tables to series: which rows belong to which series, before anything is checked.

use super::error::{BadInput, quoted};
use super::frame::{Data, Frame, RowMap, Text};
use super::layout::Roles;
use super::series::{Layout, short_list};
use super::time::TimeKind;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Distinct arrays of time stamps: most panels have few.
#[derive(Debug, Default)]
pub(super) struct Grids {
    list: Vec<Arc<[i64]>>,
    by_hash: HashMap<u64, Vec<usize>>,
}

impl Grids {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The stamps of grid `g`.
    pub fn get(&self, g: usize) -> &[i64] {
        &self.list[g]
    }

    /// A handle on the stamps of grid `g`.
    pub fn arc(&self, g: usize) -> Arc<[i64]> {
        self.list[g].clone()
    }

    /// The number of the grid with these stamps, new if there is none. Cost O(n).
    pub fn intern(&mut self, times: &[i64]) -> usize {
        // The series before mostly has the same.
        if let Some(last) = self.list.last()
            && **last == *times
        {
            return self.list.len() - 1;
        }
        let mut hasher = DefaultHasher::new();
        times.hash(&mut hasher);
        let same = self.by_hash.entry(hasher.finish()).or_default();
        if let Some(g) = same.iter().find(|g| *self.list[**g] == *times) {
            return *g;
        }
        same.push(self.list.len());
        self.list.push(times.into());
        self.list.len() - 1
    }

    /// A shared handle on these stamps.
    pub fn share(&mut self, times: Vec<i64>) -> Arc<[i64]> {
        let g = self.intern(&times);
        self.arc(g)
    }
}

/// A series as it stands in the tables: NaN where a value is missing.
#[derive(Debug)]
pub(super) struct RawSeries {
    pub id: String,
    /// The number of its stamps in [`Grids`].
    pub grid: usize,
    pub y: Vec<f64>,
    /// The group of rows it comes from.
    group: usize,
    /// The column it comes from.
    column: String,
}

/// Everything collected.
#[derive(Debug)]
pub(super) struct Raw {
    pub series: Vec<RawSeries>,
    pub kind: TimeKind,
    pub layout: Layout,
    pub warnings: Vec<String>,
    pub id_name: String,
    pub time_name: String,
    pub target_name: String,
    /// There is no time column: rows are numbered.
    pub numbered: bool,
    /// Long without an id column.
    pub numbered_ids: bool,
    order: Order,
    parts: Vec<Part>,
}

/// A file's rows among all rows.
#[derive(Debug)]
struct Part {
    file: String,
    rows: RowMap,
    start: usize,
}

/// Rows by group: all rows in one list, those of group g from `starts[g]` to `starts[g + 1]`.
#[derive(Debug)]
struct Order {
    starts: Vec<usize>,
    /// `None`: the rows of a group stand together, and groups stand in order.
    rows: Option<Vec<u32>>,
}

impl Order {
    fn group(&self, g: usize) -> std::ops::Range<usize> {
        self.starts[g]..self.starts[g + 1]
    }

    /// `values` of the rows of group `g`, in order.
    fn gather<T: Copy>(&self, g: usize, values: &[T]) -> Vec<T> {
        match &self.rows {
            None => values[self.group(g)].to_vec(),
            Some(rows) => rows[self.group(g)].iter().map(|r| values[*r as usize]).collect(),
        }
    }

    /// The values of every group. Where groups stand in order, memory is given back as they are cut off the end.
    fn split(&self, mut values: Vec<f64>) -> Vec<Vec<f64>> {
        let groups = self.starts.len() - 1;
        if self.rows.is_some() {
            return (0..groups).map(|g| self.gather(g, &values)).collect();
        }
        let mut parts: Vec<Vec<f64>> = Vec::with_capacity(groups);
        for g in (0..groups).rev() {
            parts.push(values[self.starts[g]..].to_vec());
            values.truncate(self.starts[g]);
            // About a megabyte.
            if values.capacity() - values.len() > 1 << 17 {
                values.shrink_to_fit();
            }
        }
        parts.reverse();
        parts
    }

    fn row(&self, g: usize, i: usize) -> usize {
        let at = self.starts[g] + i;
        self.rows.as_ref().map_or(at, |rows| rows[at] as usize)
    }

    /// Groups by code (all codes below `groups`). Cost O(n).
    fn by_code(codes: &[u32], groups: usize) -> Order {
        let mut starts = vec![0usize; groups + 1];
        for c in codes {
            starts[*c as usize + 1] += 1;
        }
        for g in 0..groups {
            starts[g + 1] += starts[g];
        }
        if codes.is_sorted() {
            return Order { starts, rows: None };
        }
        let mut next = starts.clone();
        let mut rows = vec![0u32; codes.len()];
        for (i, c) in codes.iter().enumerate() {
            let at = &mut next[*c as usize];
            rows[*at] = i as u32;
            *at += 1;
        }
        Order { starts, rows: Some(rows) }
    }

    /// Sorts each group by time; equal times keep their order. Cost O(n log n) where a group is unsorted.
    fn sort(&mut self, times: &[i64]) {
        for g in 0..self.starts.len() - 1 {
            let range = self.group(g);
            let sorted = match &self.rows {
                None => times[range.clone()].is_sorted(),
                Some(rows) => rows[range.clone()].is_sorted_by_key(|r| times[*r as usize]),
            };
            if !sorted {
                let rows = self.rows.get_or_insert_with(|| (0..times.len() as u32).collect());
                rows[range].sort_by_key(|r| times[*r as usize]);
            }
        }
    }
}

impl Raw {
    /// The file and row of the `i`th observation of series `s`.
    pub fn row_of(&self, s: usize, i: usize) -> (String, usize) {
        self.place(self.order.row(self.series[s].group, i))
    }

    /// The file of the `i`th observation of series `s`.
    pub fn file_of(&self, s: usize, i: usize) -> String {
        match self.series.get(s) {
            Some(series) => self.place(self.order.row(series.group, i)).0,
            None => self.parts.first().map_or_else(String::new, |p| p.file.clone()),
        }
    }

    /// The column of the values of series `s`.
    pub fn target_of(&self, s: usize) -> &str {
        &self.series[s].column
    }

    /// `series "A": ` where the row alone does not say which series.
    pub fn label(&self, s: usize) -> String {
        match self.layout {
            Layout::Long if self.series.len() > 1 => format!("series {}: ", quoted(&self.series[s].id)),
            _ => String::new(),
        }
    }

    fn place(&self, row: usize) -> (String, usize) {
        place(&self.parts, row)
    }
}

fn place(parts: &[Part], row: usize) -> (String, usize) {
    let p = parts.partition_point(|p| p.start <= row).saturating_sub(1);
    parts.get(p).map_or_else(|| (String::new(), row + 1), |part| (part.file.clone(), part.rows.file_row(row - part.start)))
}

/// Reads the values of the `i`th table, where they were left out at first.
pub(super) type Values<'a> = dyn Fn(usize) -> Result<Vec<f64>, BadInput> + 'a;

/// The series of all tables. Long tables may lack their values: then `values` gives them, after the stamps have been stored away.
pub(super) fn collect(tables: Vec<(Frame, Roles)>, sort: bool, values: &Values<'_>) -> Result<(Raw, Grids), BadInput> {
    let Some((first, roles)) = tables.first() else { return Err(BadInput::new("input", "no file was given")) };
    let layout = roles.layout;
    for (other, r) in &tables[1..] {
        if r.layout != layout {
            let name = |l: Layout| if l == Layout::Long { "long" } else { "wide" };
            let what = format!("the table is {}, {} is {}", name(r.layout), first.name, name(layout));
            return Err(BadInput::new(&other.name, what).remedy("give files of one layout, or --layout"));
        }
        if r.time.is_some() != roles.time.is_some() {
            let what = format!("of this file and {} only one has a time column", first.name);
            return Err(BadInput::new(&other.name, what).remedy("name it with --time-col"));
        }
    }
    let total: usize = tables.iter().map(|(f, _)| f.len()).sum();
    if u32::try_from(total).is_err() {
        return Err(BadInput::new(&first.name, format!("{total} rows are more than can be read at once (4,294,967,295)")));
    }
    let mut warnings = Vec::new();
    for (frame, roles) in &tables {
        warnings.extend(frame.warnings.iter().cloned());
        if !roles.ignored.is_empty() {
            warnings.push(format!("{}: left out because they hold no numbers: {}", frame.name, short_list(&roles.ignored)));
        }
    }
    let mut raw = Raw {
        series: Vec::new(),
        kind: TimeKind::Integer,
        layout,
        warnings,
        id_name: roles.id.clone().unwrap_or_else(|| "unique_id".into()),
        time_name: roles.time.clone().unwrap_or_else(|| "ds".into()),
        target_name: if layout == Layout::Long { roles.targets[0].clone() } else { "y".into() },
        numbered: roles.time.is_none(),
        numbered_ids: roles.id.is_none(),
        order: Order { starts: vec![0], rows: None },
        parts: Vec::new(),
    };
    let tables: Vec<Table> = tables.into_iter().map(|(frame, roles)| Table::new(frame, roles)).collect();
    let mut start = 0;
    for table in &tables {
        raw.parts.push(Part { file: table.file.clone(), rows: table.rows.clone(), start });
        start += table.len;
    }
    let kinds: Vec<TimeKind> = tables.iter().filter_map(|t| t.times.as_ref().map(|t| t.1)).collect();
    if let Some(first) = kinds.first() {
        let integers = kinds.iter().filter(|k| **k == TimeKind::Integer).count();
        if integers > 0 && integers < kinds.len() {
            let e = BadInput::new(&raw.parts[0].file, "some files have dates as time stamps, others integers");
            return Err(e.column(&raw.time_name).remedy("read them one by one"));
        }
        raw.kind = if kinds.contains(&TimeKind::DateTime) { TimeKind::DateTime } else { *first };
    }
    let grids = if layout == Layout::Long { long(&mut raw, tables, sort, values)? } else { wide(&mut raw, tables, sort)? };
    if raw.kind == TimeKind::Integer
        && !raw.numbered
        && grids
            .list
            .iter()
            .filter_map(|g| g.last())
            .any(|t| (100_000_000..10_000_000_000_000_000_000u64).contains(&t.unsigned_abs()))
    {
        raw.warnings.push(format!(
            "the time column {} holds integers as large as Unix times: if they are, use --time-format epoch-s, epoch-ms, epoch-us or epoch-ns",
            quoted(&raw.time_name)
        ));
    }
    Ok((raw, grids))
}

/// One table, its columns by the part they play.
struct Table {
    file: String,
    rows: RowMap,
    len: usize,
    times: Option<(Vec<i64>, TimeKind)>,
    ids: Option<Text>,
    /// Name and values, in the order of the targets.
    values: Vec<(String, Vec<f64>)>,
    /// Wanted columns that turned out to hold text.
    texts: Vec<String>,
}

impl Table {
    fn new(frame: Frame, roles: Roles) -> Table {
        let mut table = Table {
            len: frame.len(),
            file: frame.name,
            rows: frame.rows,
            times: None,
            ids: None,
            values: Vec::new(),
            texts: Vec::new(),
        };
        for column in frame.columns {
            match column.data {
                Data::Time(t) if Some(&column.name) == roles.time.as_ref() => table.times = Some((t.values, t.kind)),
                Data::Text(t) if Some(&column.name) == roles.id.as_ref() => table.ids = Some(t),
                Data::Number(v) => table.values.push((column.name, v)),
                _ => table.texts.push(column.name),
            }
        }
        let place: HashMap<&str, usize> = roles.targets.iter().enumerate().map(|(i, t)| (t.as_str(), i)).collect();
        table.values.sort_by_key(|(name, _)| place.get(name.as_str()).copied());
        table
    }
}

fn wide(raw: &mut Raw, tables: Vec<Table>, sort: bool) -> Result<Grids, BadInput> {
    let mut grids = Grids::default();
    let mut starts = vec![0];
    let mut count: HashMap<String, usize> = HashMap::new();
    for (name, _) in tables.iter().flat_map(|t| &t.values) {
        *count.entry(name.clone()).or_default() += 1;
    }
    let mut all_rows: Option<Vec<u32>> = None;
    let mut used: HashMap<String, ()> = HashMap::new();
    for (group, table) in tables.into_iter().enumerate() {
        let start = starts[group];
        starts.push(start + table.len);
        let mut order = Order { starts: vec![0, table.len], rows: None };
        let grid = match &table.times {
            None => grids.intern(&(1..=table.len as i64).collect::<Vec<_>>()),
            Some((times, _)) => {
                if sort {
                    order.sort(times);
                }
                grids.intern(&order.gather(0, times))
            }
        };
        if !table.texts.is_empty() {
            raw.warnings.push(format!("{}: left out because they hold no numbers: {}", table.file, short_list(&table.texts)));
        }
        for (column, values) in table.values {
            let id = if count.get(&column).is_some_and(|n| *n > 1) {
                format!("{}:{column}", stem(&table.file))
            } else {
                column.clone()
            };
            if used.insert(id.clone(), ()).is_some() {
                let e = BadInput::new(&table.file, "two files of one name have this column").column(column);
                return Err(e.remedy("rename one of the files"));
            }
            let y = if order.rows.is_some() { order.gather(0, &values) } else { values };
            raw.series.push(RawSeries { id, grid, y, group, column });
        }
        // Rows of this file among all rows.
        if let Some(rows) = order.rows {
            let all = all_rows.get_or_insert_with(|| (0..start as u32).collect());
            all.extend(rows.iter().map(|r| r + start as u32));
        } else if let Some(all) = &mut all_rows {
            all.extend(start as u32..(start + table.len) as u32);
        }
    }
    raw.order = Order { starts, rows: all_rows };
    if raw.series.is_empty() {
        let file = raw.parts.first().map_or("", |p| p.file.as_str());
        return Err(BadInput::new(file, "there is no column of numbers"));
    }
    Ok(grids)
}

/// `data/a.csv.gz` -> `a`.
fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.split('.').next().filter(|s| !s.is_empty()).unwrap_or(name)
}

fn long(raw: &mut Raw, tables: Vec<Table>, sort: bool, values: &Values<'_>) -> Result<Grids, BadInput> {
    let target = raw.target_name.clone();
    let single = tables.len() == 1;
    let (mut codes, mut names): (Vec<u32>, Vec<Arc<str>>) = (Vec::new(), Vec::new());
    let (mut times, mut read): (Vec<i64>, Vec<Option<Vec<f64>>>) = (Vec::new(), Vec::new());
    let mut known: HashMap<Arc<str>, u32> = HashMap::new();
    let has_times = !raw.numbered;
    for table in tables {
        let ids = table.ids.unwrap_or_else(|| Text { codes: vec![0; table.len], dict: vec![target.as_str().into()] });
        if let Some(at) = ids.codes.iter().position(|c| *c == Text::MISSING) {
            let e = BadInput::new(&table.file, "found no series id, expected one").row(table.rows.file_row(at));
            return Err(e.column(&raw.id_name).remedy("fill it in or remove the row"));
        }
        read.push(table.values.into_iter().next().map(|v| v.1));
        let stamps = table.times.map(|t| t.0).unwrap_or_default();
        if single {
            (codes, names, times) = (ids.codes, ids.dict, stamps);
            break;
        }
        let mut translate = Vec::with_capacity(ids.dict.len());
        for name in ids.dict {
            let next = names.len() as u32;
            let code = *known.entry(name.clone()).or_insert(next);
            if code == next {
                names.push(name);
            }
            translate.push(code);
        }
        codes.extend(ids.codes.iter().map(|c| translate[*c as usize]));
        times.extend(stamps);
    }
    raw.order = Order::by_code(&codes, names.len());
    drop(codes);
    if sort && has_times {
        raw.order.sort(&times);
    }
    let mut grids = Grids::default();
    let numbers: Vec<usize> = (0..names.len())
        .map(|group| match (has_times, &raw.order.rows) {
            (false, _) => grids.intern(&(1..=raw.order.group(group).len() as i64).collect::<Vec<_>>()),
            (true, None) => grids.intern(&times[raw.order.group(group)]),
            (true, Some(_)) => grids.intern(&raw.order.gather(group, &times)),
        })
        .collect();
    drop(times);
    let mut y: Vec<f64> = Vec::new();
    for (i, part) in read.into_iter().enumerate() {
        let part = part.map_or_else(|| values(i), Ok)?;
        if single {
            y = part;
        } else {
            y.extend(part);
        }
    }
    if y.len() != raw.order.starts.last().copied().unwrap_or(0) {
        let file = raw.parts.first().map_or("", |p| p.file.as_str());
        return Err(BadInput::new(file, "the column of values is shorter than the others").column(target));
    }
    let parts = raw.order.split(y).into_iter().enumerate();
    for (((group, y), name), grid) in parts.zip(names).zip(numbers) {
        raw.series.push(RawSeries { id: name.to_string(), grid, y, group, column: target.clone() });
    }
    Ok(grids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stems() {
        assert_eq!(["data/a.csv.gz", "b", ".csv", "stdin"].map(stem), ["a", "b", ".csv", "stdin"]);
    }

    #[test]
    fn equal_stamps_are_stored_once() {
        let mut g = Grids::default();
        assert_eq!([g.intern(&[1, 2]), g.intern(&[3]), g.intern(&[1, 2]), g.intern(&[])], [0, 1, 0, 2]);
        assert!(Arc::ptr_eq(&g.share(vec![3]), &g.arc(1)));
    }

    proptest! {
        #[test]
        fn groups_hold_their_rows_in_order(raw in prop::collection::vec((0u32..5, 0i64..20), 1..60), sort in any::<bool>()) {
            // Codes are given in order of first appearance.
            let mut seen: Vec<u32> = Vec::new();
            let codes: Vec<u32> = raw.iter().map(|(c, _)| match seen.iter().position(|s| s == c) {
                Some(i) => i as u32,
                None => { seen.push(*c); seen.len() as u32 - 1 }
            }).collect();
            let times: Vec<i64> = raw.iter().map(|r| r.1).collect();
            let mut order = Order::by_code(&codes, seen.len());
            if sort {
                order.sort(&times);
            }
            for g in 0..seen.len() {
                let mut want: Vec<usize> = (0..codes.len()).filter(|i| codes[*i] as usize == g).collect();
                if sort {
                    want.sort_by_key(|i| times[*i]);
                }
                let got: Vec<usize> = (0..order.group(g).len()).map(|i| order.row(g, i)).collect();
                prop_assert_eq!(&got, &want);
                prop_assert_eq!(order.gather(g, &times), want.iter().map(|i| times[*i]).collect::<Vec<_>>());
                let numbers: Vec<f64> = times.iter().map(|t| *t as f64).collect();
                prop_assert_eq!(&order.split(numbers.clone())[g], &want.iter().map(|i| numbers[*i]).collect::<Vec<_>>());
            }
        }
    }
}
