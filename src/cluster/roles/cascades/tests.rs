use std::collections::BTreeMap;

use super::*;
use crate::cluster::roles::features::{FeatureOptions, density, features, reciprocity};
use crate::run::observer::Silent;

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

/// The synthetic log of 60 agents: who answers whom, and who uses which item when.
fn molt() -> Option<(Graph, Vec<Event>)> {
    let text = std::fs::read_to_string(crate::testing::shared("molt/interactions.csv")?).unwrap();
    let agent = |name: &str| name.strip_prefix('a').unwrap().parse::<u32>().unwrap();
    let (mut edges, mut events, mut items) = (Vec::new(), Vec::new(), BTreeMap::new());
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        if !cells[3].is_empty() && cells[3] != cells[2] {
            edges.push((agent(cells[2]), agent(cells[3]), 1.0));
        }
        for item in cells[4].split(';').filter(|i| !i.is_empty()) {
            let next = items.len() as u32;
            let cascade = *items.entry(item.to_string()).or_insert(next);
            events.push(Event { cascade, agent: agent(cells[2]), time: cells[1].parse().unwrap() });
        }
    }
    Some((Graph::new(60, &edges, true).unwrap(), events))
}

#[test]
fn the_log_as_in_the_goldens() {
    let Some((graph, events)) = molt() else { return };
    assert_eq!(graph.entries(), 568);
    close(density(&graph), 0.16045197740112993, 1e-15);
    close(reciprocity(&graph), 0.49295774647887325, 1e-15);
    let f = features(&graph, &FeatureOptions::default(), &Silent).unwrap();
    close(f.betweenness.iter().sum(), 0.9167153711279952, 1e-12);
    close(f.clustering.iter().sum::<f64>() / 60.0, 0.6261568573215279, 1e-12);
    close(f.betweenness[0], 0.43324249267126624, 1e-12);
    close(f.clustering[0], 0.21566335476329632, 1e-15);
    // networkx stops its iteration when ranks move by less than 6e-5 in sum; what is left is at most .85 / .15 of that.
    close(f.pagerank[0], 0.1594104224566299, 3.4e-4);
    assert_eq!((f.in_degree[0], f.out_degree[0]), (55.0, 53.0));
    let all = cascades(&events).unwrap();
    let mut sizes: Vec<usize> = all.iter().map(Cascade::size).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(sizes, [54, 50, 47, 44, 37, 28, 27, 23, 13, 9, 1]);
    let exposure = Exposure::new(&graph);
    let seen = exposure.seen(&all).unwrap();
    let (found, kind) = adoption(&seen).unwrap();
    assert_eq!((found.n, kind), (660, Contagion::Simple));
    let expected = [
        (-0.7221722890344215, 0.18899637861753937, 0.00013286281875237116),
        (0.1957186196223824, 0.09011842833034563, 0.029871239891028536),
        (-0.0008945514423902037, 0.009203164357151615, 0.9225672343808116),
    ];
    for (c, (value, se, p)) in found.coefficients.iter().zip(expected) {
        // statsmodels stops when the likelihood moves by less than 1e-8 or so.
        close(c.value, value, 1e-7);
        close(c.se, se, 1e-7);
        close(c.p, p, 1e-6);
    }
    close(found.log_likelihood, -436.7524076630273, 1e-9);
    close(found.pseudo_r2, 0.045245304329576075, 1e-10);
    let published = hazards_as_published(&seen).unwrap();
    assert_eq!((published.n, published.events), (588, 322));
    // lifelines stops 1e-7 or so short of the maximum.
    let h = &published.hazards[0];
    close(h.coefficient, 0.024668112222415713, 5e-7);
    close(h.ratio, 1.0249748874304803, 5e-7);
    close(h.se, 0.02167831002187098, 5e-7);
    close(published.log_likelihood, -1855.2274959321473, 1e-8);
    close(published.concordance.unwrap(), 0.47779087021035177, 1e-12);
    // Watched as time goes: every adopter but the first of each cascade has an event, and exposure speeds adoption up.
    let over_time = hazards_over_time(&exposure, &all).unwrap();
    assert_eq!(over_time.events, 322);
    assert!(over_time.hazards[0].coefficient > h.coefficient, "{over_time:?}");
}

/// 0 → 2, 1 → 2, 2 → 3, and a loop at 2.
fn small() -> Exposure {
    Exposure::new(&Graph::new(4, &[(0, 2, 1.0), (1, 2, 1.0), (2, 3, 1.0), (2, 2, 1.0)], true).unwrap())
}

#[test]
fn exposure_counts_those_before() {
    let event = |agent, time| Event { cascade: 1, agent, time };
    let all = cascades(&[event(2, 5.0), event(0, 1.0), event(2, 9.0), event(1, 5.0)]).unwrap();
    assert_eq!(all[0].size(), 0);
    assert_eq!(all[1].adopters, [(0, 1.0), (1, 5.0), (2, 5.0)]);
    let seen = small().seen(&all).unwrap();
    assert_eq!(seen.iter().map(|s| s.exposure).collect::<Vec<_>>(), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(seen.iter().map(|s| s.adopted).collect::<Vec<_>>(), [Some(0.0), Some(4.0), Some(4.0), None]);
    assert!(seen.iter().all(|s| s.lasted == 8.0 && s.cascade == 1));
    let (rows, exposures) = small().time_varying(&all).unwrap();
    // 0 adopts at once; 1 and 2 at 4, 2 having seen 0 from the beginning; 3 never, and sees 2 from 4 on.
    let row = |start, stop, event| Interval { start, stop, event };
    assert_eq!(rows, [row(0.0, 4.0, true), row(0.0, 4.0, true), row(0.0, 4.0, false), row(4.0, 8.0, false)]);
    assert_eq!(exposures, [0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn exposure_changes_with_time() {
    let event = |agent, time| Event { cascade: 0, agent, time };
    let all = cascades(&[event(3, 0.0), event(0, 1.0), event(1, 3.0), event(2, 7.0)]).unwrap();
    let (rows, exposures) = small().time_varying(&all).unwrap();
    let of = |start, stop, event| Interval { start, stop, event };
    assert_eq!(rows, [of(0.0, 1.0, true), of(0.0, 3.0, true), of(0.0, 1.0, false), of(1.0, 3.0, false), of(3.0, 7.0, true)]);
    assert_eq!(exposures, [0.0, 0.0, 0.0, 1.0, 2.0]);
}

#[test]
fn events_that_are_refused() {
    let bad = [Event { cascade: 0, agent: 0, time: f64::NAN }];
    assert!(cascades(&bad).unwrap_err().to_string().contains("event 0"));
    let foreign = cascades(&[Event { cascade: 0, agent: 9, time: 0.0 }]).unwrap();
    assert!(small().seen(&foreign).unwrap_err().to_string().contains("agent 9"));
    assert!(small().time_varying(&foreign).is_err());
    assert!(cascades(&[]).unwrap().is_empty());
    // Nobody but the first: no event after the beginning.
    let lone = cascades(&[Event { cascade: 0, agent: 0, time: 3.0 }]).unwrap();
    assert!(hazards_as_published(&small().seen(&lone).unwrap()).is_err());
}
