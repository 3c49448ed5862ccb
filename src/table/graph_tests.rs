use super::*;

fn source(name: &str, text: &str) -> Source {
    Source::from_bytes(name, text.as_bytes().to_vec()).unwrap()
}

fn read(texts: &[&str], options: &GraphOptions) -> Result<Network, BadInput> {
    let sources: Vec<Source> = texts.iter().enumerate().map(|(i, t)| source(&format!("g{i}.csv"), t)).collect();
    let lists: Vec<EdgeList<'_>> = sources.iter().map(|source| EdgeList { source, columns: EdgeColumns::default() }).collect();
    read_graph(&lists, options)
}

fn refused(text: &str, options: &GraphOptions) -> String {
    read(&[text], options).unwrap_err().to_string()
}

fn arcs(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|n| (*n).into()).collect()
}

/// Entries of the adjacency matrix as (from, to, weight).
fn entries(g: &Graph) -> Vec<(u32, u32, f64)> {
    (0..g.n()).flat_map(|i| g.row(i).0.iter().zip(g.row(i).1).map(move |(j, w)| (i as u32, *j, *w))).collect()
}

#[test]
fn names_become_numbers_in_order() {
    let n = read(&["source,target\n10,9\n9,2\n"], &GraphOptions::default()).unwrap();
    assert_eq!(n.ids, arcs(&["2", "9", "10"]));
    assert_eq!(entries(&n.views[0].graph), [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0), (2, 1, 1.0)]);
    let n = read(&["source,target\n10,9\n9,x\n"], &GraphOptions { directed: true, ..Default::default() }).unwrap();
    assert_eq!(n.ids, arcs(&["10", "9", "x"]));
    assert_eq!(entries(&n.views[0].graph), [(0, 1, 1.0), (1, 2, 1.0)]);
    // Two views share their nodes; a node that one lacks is isolated there.
    let n = read(&["source,target\na,b\n", "src,dst,weight\nb,c,2.5\nc,c,1\n"], &GraphOptions::default()).unwrap();
    assert_eq!((n.ids.clone(), n.views.len()), (arcs(&["a", "b", "c"]), 2));
    assert_eq!(
        n.views.iter().map(|v| (v.graph.n(), v.weighted, v.counts.isolated, v.counts.loops)).collect::<Vec<_>>(),
        [(3, false, 1, 0), (3, true, 1, 1)]
    );
    assert_eq!(entries(&n.views[1].graph), [(1, 2, 2.5), (2, 1, 2.5), (2, 2, 1.0)]);
}

#[test]
fn columns_go_by_name_then_by_place() {
    let ends = |text: &str| {
        let n = read(&[text], &GraphOptions { directed: true, ..Default::default() }).unwrap();
        let name = |i: u32| n.ids[i as usize].to_string();
        let (a, b, w) = entries(&n.views[0].graph)[0];
        (name(a), name(b), w, n.notes.len())
    };
    let is = |a: &str, b: &str, w: f64, notes: usize| (a.to_owned(), b.to_owned(), w, notes);
    assert_eq!(ends("weight,target,source\n3,b,a\n"), is("a", "b", 3.0, 0));
    assert_eq!(ends("x,y\na,b\n"), is("a", "b", 1.0, 0));
    assert_eq!(ends("1,2,0.5\n"), is("1", "2", 0.5, 1), "without a header, which is noted, the third column is the weight");
    assert_eq!(ends("from,to,time\na,b,7\n"), is("a", "b", 1.0, 1), "a named third column is not");
    let s = source("g.csv", "when,who,whom,n\n1,a,b,4\n");
    let columns = EdgeColumns { source: Some("whom".into()), target: Some("who".into()), weight: Some("n".into()) };
    let n =
        read_graph(&[EdgeList { source: &s, columns: columns.clone() }], &GraphOptions { directed: true, ..Default::default() })
            .unwrap();
    assert_eq!(entries(&n.views[0].graph), [(1, 0, 4.0)]);
    let e =
        |columns: EdgeColumns| read_graph(&[EdgeList { source: &s, columns }], &GraphOptions::default()).unwrap_err().to_string();
    assert!(e(EdgeColumns { weight: Some("m".into()), ..columns.clone() }).contains("no column \"m\""));
    assert!(e(EdgeColumns { weight: Some("who".into()), ..columns }).contains("named twice"));
}

#[test]
fn repeats_mirrors_loops_and_signs_are_counted() {
    let text = "source,target,weight\na,b,1\nb,a,2\na,b,3\nc,c,5\nc,c,1\na,c,0\nb,c,4\n";
    let with = |directed, repeats, mirrored, drop_loops| {
        let o = GraphOptions { directed, repeats, mirrored, drop_loops, ..Default::default() };
        let v = read(&[text], &o).unwrap().views.remove(0);
        (entries(&v.graph), v.counts)
    };
    let (e, c) = with(true, Repeats::Sum, Mirrored::Max, false);
    assert_eq!(e, [(0, 1, 4.0), (1, 0, 2.0), (1, 2, 4.0), (2, 2, 6.0)]);
    assert_eq!(c, EdgeCounts { rows: 7, edges: 4, loops: 1, repeated: 2, mirrored: 0, negative: 0, zero: 1, isolated: 0 });
    let (e, c) = with(false, Repeats::Sum, Mirrored::Max, false);
    assert_eq!(e, [(0, 1, 4.0), (1, 0, 4.0), (1, 2, 4.0), (2, 1, 4.0), (2, 2, 6.0)]);
    assert_eq!(c, EdgeCounts { rows: 7, edges: 3, loops: 1, repeated: 2, mirrored: 1, negative: 0, zero: 1, isolated: 0 });
    let (e, _) = with(false, Repeats::Max, Mirrored::Sum, true);
    assert_eq!(e, [(0, 1, 5.0), (1, 0, 5.0), (1, 2, 4.0), (2, 1, 4.0)]);
    let (_, c) = with(false, Repeats::Sum, Mirrored::Sum, true);
    assert_eq!((c.loops, c.edges), (2, 2), "two rows were loops");
    let error = GraphOptions { repeats: Repeats::Error, ..Default::default() };
    assert!(refused(text, &error).starts_with("g0.csv, rows 2 and 4: both hold the same edge"));
    let signed = "source,target,weight\na,b,1\nb,c,-2\n";
    let e = refused(signed, &GraphOptions::default());
    assert!(e.starts_with("g0.csv, row 3, column \"weight\": found the weight -2"), "{e}");
    let n = read(&[signed], &GraphOptions { negative: true, ..Default::default() }).unwrap();
    assert_eq!(n.views[0].counts.negative, 1);
}

#[test]
fn nodes_may_be_given() {
    let nodes = |n: &[&str]| GraphOptions { nodes: Some(arcs(n)), ..Default::default() };
    let n = read(&["source,target\na,b\n"], &nodes(&["b", "z", "a"])).unwrap();
    assert_eq!((n.ids.clone(), entries(&n.views[0].graph)), (arcs(&["b", "z", "a"]), vec![(0, 2, 1.0), (2, 0, 1.0)]));
    assert_eq!(n.views[0].counts.isolated, 1);
    let e = refused("source,target\na,b\nb,q\nr,a\n", &nodes(&["a", "b"]));
    assert!(
        e.starts_with("g0.csv, row 3, column \"target\": the node \"q\" is not among the node features; 2 such nodes in all"),
        "{e}"
    );
}

#[test]
fn mistakes_name_their_place() {
    let plain = GraphOptions::default();
    assert!(refused("source,target\na,\n", &plain).starts_with("g0.csv, row 2, column \"target\": the node is missing"));
    assert!(
        refused("source,target,weight\na,b,\n", &plain).starts_with("g0.csv, row 2, column \"weight\": the weight is missing")
    );
    assert!(refused("source,target,weight\na,b,x\n", &plain).contains("found \"x\", expected a number"));
    assert!(refused("source\na\n", &plain).contains("single column"));
    assert!(
        refused("source,target,weight\na,b,1e308\na,b,1e308\n", &GraphOptions { repeats: Repeats::Sum, ..Default::default() })
            .contains("between \"a\" and \"b\" add up")
    );
    assert!(read_graph(&[], &plain).unwrap_err().to_string().contains("no file"));
    // Loops alone are a graph of isolated nodes.
    let n = read(&["source,target\na,a\nb,b\n"], &GraphOptions { drop_loops: true, ..plain }).unwrap();
    assert_eq!((n.views[0].counts.isolated, n.views[0].graph.entries()), (2, 0));
}

#[test]
fn rows_in_another_order_are_the_same_graph() {
    let rows: Vec<String> = (0..400u32).map(|i| format!("{},{}", i * 7919 % 41, i * 104_729 % 37)).collect();
    let text = |rows: &[String]| format!("source,target\n{}\n", rows.join("\n"));
    let mut turned = rows.clone();
    turned.reverse();
    for directed in [false, true] {
        let o = GraphOptions { directed, repeats: Repeats::Sum, ..Default::default() };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let a = read(&[&text(&rows)], &o).unwrap();
        assert_eq!(a, read(&[&text(&turned)], &o).unwrap());
        assert_eq!(a, one.install(|| read(&[&text(&rows)], &o).unwrap()));
        let c = &a.views[0].counts;
        assert_eq!(c.edges + c.repeated + c.mirrored, 400);
    }
}

/// The second eigenvalue of the normalised Laplacian.
fn second_eigenvalue(g: &Graph) -> f64 {
    let degree: Vec<f64> = (0..g.n()).map(|i| g.row(i).1.iter().sum()).collect();
    let mut laplacian = faer::Mat::<f64>::identity(g.n(), g.n());
    for (i, j, w) in entries(g) {
        laplacian[(i as usize, j as usize)] -= w / (degree[i as usize] * degree[j as usize]).sqrt();
    }
    laplacian.self_adjoint_eigenvalues(faer::Side::Lower).unwrap()[1]
}

#[test]
fn the_files_of_the_specification() {
    let graph = |name: &str, directed| {
        let path = crate::testing::shared(name)?;
        let s = Source::open(&path.display().to_string()).unwrap();
        let o = GraphOptions { directed, ..Default::default() };
        Some(read_graph(&[EdgeList { source: &s, columns: EdgeColumns::default() }], &o).unwrap())
    };
    if let Some(n) = graph("karate/edges.csv", false) {
        assert_eq!((n.ids.len(), n.views[0].counts.edges, n.views[0].graph.entries()), (34, 78, 156));
        assert!((second_eigenvalue(&n.views[0].graph) - 0.13227233).abs() < 5e-9);
    }
    if let Some(n) = graph("football/edges.csv", false) {
        // 616 games, 3 pairs twice (its README).
        let c = &n.views[0].counts;
        assert_eq!((n.ids.len(), c.edges, c.repeated + c.mirrored), (115, 613, 3));
        // The value of the specification; with the repeated games counted twice it would be 0.13630728.
        assert!((second_eigenvalue(&n.views[0].graph) - 0.13680425).abs() < 5e-9);
    }
    if let Some(n) = graph("email-eu-core/edges.csv", true) {
        let v = &n.views[0];
        let row = v.graph.row(0);
        assert_eq!((n.ids.len(), v.counts.edges, v.counts.loops, row.0.len()), (1005, 25_571, 642, 41));
        assert!(n.ids.iter().enumerate().all(|(i, id)| **id == *i.to_string()));
    }
    if let Some(n) = graph("webkb-texas/edges.csv", false) {
        // The larger of both directions: 574 entries, 16 of them on the diagonal (spec, section 5, oracles).
        let v = &n.views[0];
        assert_eq!((v.counts.rows, v.counts.loops), (325, 16));
        assert_eq!(v.graph.entries(), 574);
    }
}
