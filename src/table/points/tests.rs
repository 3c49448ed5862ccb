use super::*;
use proptest::prelude::*;

fn source(name: &str, text: &str) -> Source {
    Source::from_bytes(name, text.as_bytes().to_vec()).unwrap()
}

fn read(text: &str, options: &PointOptions) -> Result<PointTable, BadInput> {
    read_points(&source("p.csv", text), options)
}

fn refused(text: &str, options: &PointOptions) -> String {
    read(text, options).unwrap_err().to_string()
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

fn arcs(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|n| (*n).into()).collect()
}

const TABLE: &str = "id,x,kind,y,label\na7,1,red,2,10\nb,3,blue,4,9\nc,5,red,6,10\n";

#[test]
fn columns_play_the_parts_that_their_names_say() {
    let exclude = PointOptions { exclude: list(&["kind"]), ..Default::default() };
    let t = read(TABLE, &exclude).unwrap();
    assert_eq!((t.n, t.d, t.columns.clone()), (3, 2, list(&["x", "y"])));
    assert_eq!(t.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!((t.ids.clone(), t.id_column.as_deref()), (arcs(&["a7", "b", "c"]), Some("id")));
    // Labels are sorted as numbers: 9 before 10.
    assert_eq!((t.labels[0].names.clone(), t.labels[0].codes.clone()), (arcs(&["9", "10"]), vec![1, 0, 1]));
    assert_eq!(t.left_out, list(&["id", "kind", "label"]));
    assert_eq!((t.kept_rows.clone(), t.means.clone(), t.filled.clone()), (vec![0, 1, 2], vec![3.0, 4.0], vec![0, 0]));
    assert!(t.notes.iter().any(|n| n.contains("\"label\" holds the labels")), "{:?}", t.notes);
    assert_eq!(t.points().unwrap().row(1), [3.0, 4.0]);
    // The order of --features is that of the numbers; id and label may be coordinates where they are asked for.
    let only = PointOptions { features: Features::Only(list(&["y", "label", "x"])), ..Default::default() };
    let t = read(TABLE, &only).unwrap();
    assert_eq!((&t.values[..3], t.labels.len(), t.id_column.as_deref()), (&[2.0, 10.0, 1.0][..], 0, Some("id")));
    let two =
        PointOptions { labels: list(&["kind", "label"]), id: Some("y".into()), exclude: list(&["id"]), ..Default::default() };
    let t = read(TABLE, &two).unwrap();
    assert_eq!(t.columns, ["x"]);
    assert_eq!(
        t.labels.iter().map(|l| (l.column.as_str(), l.codes.clone())).collect::<Vec<_>>(),
        [("kind", vec![1, 0, 1]), ("label", vec![1, 0, 1])]
    );
    assert_eq!(t.ids, arcs(&["2", "4", "6"]));
    // Without a column of ids rows are numbered.
    assert_eq!(read("x,y\n1,2\n3,4\n", &PointOptions::default()).unwrap().ids, arcs(&["1", "2"]));
    let header = read("5.1,3.5\n4.9,3\n", &PointOptions::default()).unwrap();
    assert_eq!((header.n, header.columns), (2, list(&["column_1", "column_2"])));
}

#[test]
fn every_format_gives_the_same_points() {
    use crate::table::{Format, Table, Values, write_table};
    let table = Table::new()
        .with("id", Values::Text(arcs(&["a", "b"])))
        .with("x", Values::Number(vec![1.5, f64::NAN]))
        .with("k", Values::Integer(vec![7, 8]))
        .with("on", Values::Bool(vec![true, false]));
    let options = PointOptions { impute: Imputation::Mean, exclude: list(&["on"]), ..Default::default() };
    for format in [Format::Csv, Format::Tsv, Format::Parquet, Format::Json, Format::Jsonl] {
        let mut bytes = Vec::new();
        write_table(&table, format, &mut bytes).unwrap();
        let t = read_points(&Source::from_bytes("t", bytes).unwrap(), &options).unwrap();
        assert_eq!(
            (t.values.clone(), t.filled.clone(), t.ids.clone()),
            (vec![1.5, 7.0, 1.5, 8.0], vec![1, 0], arcs(&["a", "b"])),
            "{format}"
        );
    }
}

#[test]
fn missing_cells_are_refused_filled_or_dropped() {
    let text = "id,x,y\na,1,2\n\nb,,4\nc,5,NA\nd,9,-\n";
    let with = |impute| PointOptions { impute, na: list(&["-"]), ..Default::default() };
    assert_eq!(
        refused(text, &with(Imputation::Error)),
        "p.csv, row 4, column \"x\": the cell is missing, expected a number (fill it with --impute mean, or leave such rows out with --impute drop)"
    );
    let t = read(text, &with(Imputation::Mean)).unwrap();
    assert_eq!((t.values.clone(), t.filled.clone()), (vec![1.0, 2.0, 5.0, 4.0, 5.0, 3.0, 9.0, 3.0], vec![1, 2]));
    let t = read(text, &with(Imputation::Drop)).unwrap();
    assert_eq!((t.values.clone(), t.kept_rows.clone(), t.ids.clone()), (vec![1.0, 2.0], vec![0], arcs(&["a"])));
    let dropped: Vec<_> = t.dropped.iter().map(|d| (d.row, &*d.id, d.column.as_str())).collect();
    assert_eq!(dropped, [(4, "b", "x"), (5, "c", "y"), (6, "d", "y")]);
    assert!(refused("x,y\n,1\n2,\n", &with(Imputation::Drop)).contains("every one of the 2 rows"));
    let e = refused("x,my y\n1,\n2,\n", &with(Imputation::Mean));
    assert!(e.contains("no number in any row") && e.contains("--exclude \"my y\""), "{e}");
    // The sum would overflow.
    let t = read("x\n1.7e308\n1.7e308\nNA\n", &with(Imputation::Mean)).unwrap();
    assert!((t.values[2] / 1.7e308 - 1.0).abs() < 1e-15, "{}", t.values[2]);
    // A model brings the means of its training rows.
    let inputs = Inputs { columns: list(&["y", "x"]), means: vec![-1.0, -2.0], ..Default::default() };
    let t = read(text, &PointOptions { features: Features::Trained(inputs), ..with(Imputation::Mean) }).unwrap();
    assert_eq!(t.values, [2.0, 1.0, 4.0, -2.0, -1.0, 5.0, -1.0, 9.0]);
}

#[test]
fn a_model_takes_its_own_columns_by_name() {
    let t = read(TABLE, &PointOptions { exclude: list(&["kind"]), ..Default::default() }).unwrap();
    let trained =
        |exclude: &[&str]| PointOptions { features: Features::Trained(t.inputs()), exclude: list(exclude), ..Default::default() };
    // The training file again: what was no coordinate then is none now.
    let again = read(TABLE, &trained(&[])).unwrap();
    assert_eq!((again.values.clone(), again.ids.clone(), again.notes.len()), (t.values.clone(), t.ids.clone(), 0));
    let turned = read("y,x\n2,1\n", &trained(&[])).unwrap();
    assert_eq!((turned.values, turned.columns, turned.ids), (vec![1.0, 2.0], list(&["x", "y"]), arcs(&["1"])));
    assert!(turned.notes[0].contains("another order"));
    assert_eq!(
        refused("x,z\n1,2\n", &trained(&[])),
        "p.csv: the model needs columns that are not there: \"y\"; it does not know \"z\" (give the columns that the model was trained on)"
    );
    assert_eq!(
        refused("x,y,z,w w\n1,2,3,4\n", &trained(&[])),
        "p.csv: the model does not know these columns: \"z\", \"w w\" (leave them out with --exclude z,\"w w\")"
    );
    assert_eq!(read("x,y,z,w w\n1,2,3,4\n", &trained(&["z", "w w"])).unwrap().values, [1.0, 2.0]);
    assert!(refused("x,y\n1,2\n", &trained(&["y"])).contains("both a column of the model and --exclude"));
}

#[test]
fn mistakes_name_their_place_and_what_to_do() {
    let plain = PointOptions::default();
    assert_eq!(
        refused(TABLE, &plain),
        "p.csv, row 2, column \"kind\": found \"red\", expected a number (leave the column out with --exclude kind, or say what it is: --id-col kind or --label-col kind)"
    );
    assert_eq!(
        refused("x,y\n1,2\n3,o\n", &plain),
        "p.csv, row 3, column \"y\": found \"o\", expected a number (use --na \"o\" to read it as missing)"
    );
    assert!(refused("x\n1\ninf\n", &plain).contains("row 3, column \"x\": found \"inf\", expected a finite number"));
    let named = |features: &[&str], exclude: &[&str], id: Option<&str>, labels: &[&str]| PointOptions {
        features: if features.is_empty() { Features::All } else { Features::Only(list(features)) },
        exclude: list(exclude),
        id: id.map(str::to_owned),
        labels: list(labels),
        ..Default::default()
    };
    let e = |o: PointOptions| refused("id,width,y\na,1,2\na,3,4\n", &o);
    assert!(e(named(&["widht"], &[], None, &[])).contains("no column \"widht\" (did you mean \"width\"?"));
    assert!(e(named(&[], &["q"], None, &[])).contains("no column \"q\""));
    assert!(e(named(&["y", "y"], &[], None, &[])).contains("column \"y\": the column is named twice in --features"));
    assert!(e(named(&["y"], &[], Some("y"), &[])).contains("both --features and --id-col"));
    assert!(e(named(&[], &["y"], None, &["y"])).contains("both --exclude and --label-col"));
    assert_eq!(
        e(named(&[], &[], None, &[])),
        "p.csv, rows 2 and 3, column \"id\": both have the id \"a\" (name another column with --id-col, or number the rows: --exclude id)"
    );
    assert!(e(named(&[], &["id", "width", "y"], None, &[])).contains("no column of coordinates"));
    assert!(refused("id,x\n,1\n", &plain).contains("row 2, column \"id\": the id is missing"));
    assert!(refused("x,label\n1,a\n2,\n", &plain).contains("row 3, column \"label\": the label is missing"));
    assert!(refused("x,y\n", &plain).contains("no rows"));
    let typed = {
        use crate::table::{Format, Table, TimeKind, Values, write_table};
        let t = Table::new()
            .with("when", Values::Time { values: vec![0, 1], kind: TimeKind::DateTime })
            .with("x", Values::Number(vec![1.0, 2.0]));
        let mut bytes = Vec::new();
        write_table(&t, Format::Parquet, &mut bytes).unwrap();
        bytes
    };
    let e = read_points(&Source::from_bytes("t", typed).unwrap(), &plain).unwrap_err().to_string();
    assert_eq!(e, "t, column \"when\": holds time stamps, expected numbers (leave it out with --exclude when)");
}

#[test]
fn many_rows_are_laid_out_as_few() {
    // More rows than a block of the layout and than a chunk of the reader.
    let rows = 40_000usize;
    let text: String = (0..rows).fold("a,b,c\n".into(), |s, i| {
        s + &format!("{i},{},{}\n", i * 2, if i % 7 == 0 { String::new() } else { (i * 3).to_string() })
    });
    let t = read(&text, &PointOptions { impute: Imputation::Drop, ..Default::default() }).unwrap();
    assert_eq!(t.n, rows - rows.div_ceil(7));
    for (row, i) in t.values.chunks_exact(3).zip(&t.kept_rows) {
        let i = *i as f64;
        assert_eq!(row, [i, 2.0 * i, 3.0 * i]);
    }
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let again = one.install(|| read(&text, &PointOptions { impute: Imputation::Drop, ..Default::default() }).unwrap());
    assert_eq!(t, again);
}

#[test]
fn texts_are_ordered_as_numbers_where_all_are() {
    let order = |texts: &[&str]| text_order(&arcs(texts)).into_iter().map(|i| texts[i].to_owned()).collect::<Vec<_>>();
    assert_eq!(order(&["10", "9", "-1", "2.5"]), ["-1", "2.5", "9", "10"]);
    assert_eq!(order(&["10", "9", "x"]), ["10", "9", "x"]);
    assert_eq!(order(&["nan", "3", "inf"]), ["3", "inf", "nan"]);
    assert_eq!(order(&["01", "1", "1.0", "0"]), ["0", "1", "01", "1.0"]);
    // Beyond 2^53.
    assert_eq!(
        order(&["9007199254740993", "9007199254740992", "100000000000000000000"]),
        ["9007199254740992", "9007199254740993", "100000000000000000000"]
    );
}

#[test]
fn labels_are_aligned_by_id() {
    let read = |text: &str, o: &LabelOptions| read_labels(&source("l.csv", text), o);
    let file = read("label,id,confidence\nA,3,.5\nB,1,.6\nA,2,1\n", &LabelOptions::default()).unwrap();
    assert_eq!((file.id_column.as_deref(), file.label_column.as_str(), file.rows.clone()), (Some("id"), "label", vec![2, 3, 4]));
    assert_eq!(file.align(&arcs(&["1", "2", "3"]), &[]).unwrap(), ["B", "A", "A"]);
    assert_eq!(file.align(&arcs(&["3", "1"]), &arcs(&["2"])).unwrap(), ["A", "B"]);
    assert_eq!(file.coded().codes, [0, 1, 0]);
    let e = |ids: &[&str]| file.align(&arcs(ids), &[]).unwrap_err().to_string();
    assert_eq!(
        e(&["1", "2", "3", "4", "x"]),
        "l.csv: has no label for 2 points: \"4\", \"x\" (expected a label for every point)"
    );
    assert_eq!(
        e(&["1", "2"]),
        "l.csv, row 2: labels 1 point that are not there: \"3\" (remove these rows, or give the table that holds their points)"
    );
    // A file without ids goes by rows; `node` is an id too.
    let bare = read("cluster\n0\n1\n", &LabelOptions::default()).unwrap();
    assert_eq!(bare.align(&arcs(&["1", "2"]), &[]).unwrap(), ["0", "1"]);
    assert!(bare.align(&arcs(&["1"]), &[]).unwrap_err().to_string().contains("2 labels without ids for 1 points"));
    assert_eq!(read("node,label\n5,x\n", &LabelOptions::default()).unwrap().ids, arcs(&["5"]));
    let named = LabelOptions { id: Some("b".into()), label: Some("c".into()), header: Header::Auto };
    assert_eq!(read("a,b,c\n1,2,3\n", &named).unwrap().labels, arcs(&["3"]));
    let e = |text: &str| read(text, &LabelOptions::default()).unwrap_err().to_string();
    assert!(e("id,label\n1,a\n2,a\n1,b\n").starts_with("l.csv, rows 2 and 4, column \"id\": both have the id \"1\""));
    assert!(e("id,label\n1,\n").contains("row 2, column \"label\": the label is missing"));
    assert!(e("id,a,b\n1,x,y\n").contains("several columns may hold the labels"));
    assert!(e("id\n1\n").contains("ids and no labels"));
}

#[test]
fn labels_of_a_clustering_keep_noise() {
    let coded = |texts: &[&str]| cluster_labels("l.csv", "label", texts).unwrap();
    assert_eq!(coded(&["3", "-1", "0", "3"]).codes, [1, -1, 0, 1]);
    assert_eq!(coded(&["-1", "-1"]).codes, [-1, -1]);
    assert_eq!(coded(&["b", "-1", "a"]).codes, [2, 0, 1], "texts are texts");
    assert_eq!(code_labels("y", ["1", "-1"].into_iter()).codes, [1, 0], "known classes may be -1 and 1");
    assert!(cluster_labels("l.csv", "label", &["-2"]).unwrap_err().to_string().contains("found the label -2"));
}

#[test]
fn sparse_features_become_rows() {
    let read = |text: &str, o: &CooOptions| read_coo(&source("f.csv", text), o);
    let t = read("node,feature,value\n10,b,2\n9,a,1\n10,a,.5\n10,b,1\n", &CooOptions::default()).unwrap();
    assert_eq!((t.n, t.d, t.values.clone()), (2, 2, vec![1.0, 0.0, 0.5, 3.0]));
    assert_eq!((t.ids.clone(), t.columns.clone(), t.means.clone()), (arcs(&["9", "10"]), list(&["a", "b"]), vec![0.75, 1.5]));
    assert!(t.notes[0].contains("1 rows repeat") && t.notes[0].contains("added"), "{:?}", t.notes);
    // A pair without a value is there or not, however often it is said.
    let t = read("node,feature\n0,10\n0,9\n0,10\n", &CooOptions::default()).unwrap();
    assert_eq!((t.columns.clone(), t.values.clone()), (list(&["9", "10"]), vec![1.0, 1.0]));
    // Nodes without features, and the features of a model.
    let fixed = CooOptions { nodes: Some(arcs(&["b", "a"])), features: Some(list(&["y", "x", "z"])), ..Default::default() };
    let t = read("node,feature\na,x\n", &fixed).unwrap();
    assert_eq!((t.n, t.values.clone(), t.ids.clone()), (2, vec![0.0, 0.0, 0.0, 0.0, 1.0, 0.0], arcs(&["b", "a"])));
    let e = |text: &str, o: &CooOptions| read(text, o).unwrap_err().to_string();
    assert!(e("node,feature\na,x\nq,x\n", &fixed).contains("row 3, column \"node\": unknown nodes: \"q\""));
    assert!(e("node,feature\na,q\n", &fixed).contains("unknown features: \"q\""));
    assert!(e("node,feature,value\na,x,\n", &CooOptions::default()).contains("row 2, column \"value\": the value is missing"));
    assert!(e("node,feature\na,\n", &CooOptions::default()).contains("the feature is missing"));
    assert!(e("node\na\n", &CooOptions::default()).contains("single column"));
    assert!(e("node,feature,value\na,x,1e308\na,x,1e308\n", &CooOptions::default()).contains("more than a number can hold"));
    // Columns by place and by name.
    let t = read("0,7,2.5\n1,7,1\n", &CooOptions::default()).unwrap();
    assert_eq!((t.values, t.columns), (vec![2.5, 1.0], list(&["7"])));
    let swapped =
        CooOptions { node: Some("who".into()), feature: Some("what".into()), value: Some("n".into()), ..Default::default() };
    assert_eq!(read("n,what,who\n3,f,p\n", &swapped).unwrap().values, [3.0]);
    assert!(is_coo(&source("f", "node,feature\n1,2\n"), Header::Auto).unwrap());
    assert!(is_coo(&source("f", "value,node,feature\n1,2,3\n"), Header::Auto).unwrap());
    assert!(!is_coo(&source("f", "node,feature,x\n1,2,3\n"), Header::Auto).unwrap());
    assert!(!is_coo(&source("f", "id,x\n1,2\n"), Header::Auto).unwrap());
}

#[test]
fn the_files_of_the_specification() {
    let open = |name: &str| crate::testing::shared(name).map(|p| Source::open(&p.display().to_string()).unwrap());
    if let Some(iris) = open("uci-small/iris.csv") {
        let t = read_points(&iris, &PointOptions::default()).unwrap();
        assert_eq!((t.n, t.d, t.labels[0].codes.iter().filter(|c| **c == 2).count()), (150, 4, 50));
    }
    if let Some(texas) = open("webkb-texas/features_coo.csv") {
        assert!(is_coo(&texas, Header::Auto).unwrap());
        let t = read_coo(&texas, &CooOptions::default()).unwrap();
        // 1703 features in the original matrix; those that no page has are not in the file.
        assert_eq!((t.n, t.values.iter().sum::<f64>()), (183, 15_266.0));
        assert!(t.d <= 1703, "{}", t.d);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_a_reader_panic(text in "((id|node|label|feature|value|x|y|-1|1|2.5|a|,|,|,|\\n|\\n| |\"|é|NA)){0,40}", impute in 0usize..3) {
        let Ok(source) = Source::from_bytes("p.csv", text.into_bytes()) else { return Ok(()) };
        let options = PointOptions { impute: Imputation::ALL[impute], ..Default::default() };
        if let Ok(t) = read_points(&source, &options) {
            prop_assert!(t.points().is_ok() && t.ids.len() == t.n && t.kept_rows.len() == t.n && t.columns.len() == t.d && t.means.len() == t.d);
            // A model that is trained on a table takes that table, and gives the same numbers.
            let again = PointOptions { features: Features::Trained(t.inputs()), ..options };
            prop_assert_eq!(read_points(&source, &again).map(|a| a.values), Ok(t.values));
        }
        if let Ok(t) = read_coo(&source, &CooOptions::default()) {
            prop_assert!(t.points().is_ok() && t.ids.len() == t.n);
        }
        if let Ok(l) = read_labels(&source, &LabelOptions::default()) {
            prop_assert_eq!(l.align(&l.ids, &[]).map(|a| a.len()), Ok(l.labels.len()));
        }
        is_coo(&source, Header::Auto).ok();
        let list = crate::table::graph::EdgeList { source: &source, columns: Default::default() };
        if let Ok(n) = crate::table::graph::read_graph(&[list], &Default::default()) {
            prop_assert_eq!(n.views[0].graph.n(), n.ids.len());
        }
    }
}
