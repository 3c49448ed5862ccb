//! Things that spread: who adopted what and when, and whether seeing others adopt made a difference.

use std::collections::HashMap;

use super::cox::{Cox, Interval, cox};
use super::features::reversed;
use super::logit::{Logit, logit};
use crate::cluster::{ClusterError, Graph};

/// One adoption.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Which cascade, from 0.
    pub cascade: u32,
    /// Which node of the graph.
    pub agent: u32,
    pub time: f64,
}

/// First adoptions, in the order of time (of equal times, of agents).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cascade {
    pub adopters: Vec<(u32, f64)>,
    /// Time of the last event, also of one that repeats an adoption: how long the cascade is known to have been alive.
    pub last: f64,
}

impl Cascade {
    /// Unique adopters.
    pub fn size(&self) -> usize {
        self.adopters.len()
    }
}

/// Cascades by their number; those without events are empty. Only the first adoption of an agent counts; later ones show that the cascade
/// was still alive.
///
/// Errors: a time that is not finite.
pub fn cascades(events: &[Event]) -> Result<Vec<Cascade>, ClusterError> {
    if let Some((i, e)) = events.iter().enumerate().find(|(_, e)| !e.time.is_finite()) {
        return Err(ClusterError::Data(format!("the time of event {i} (from 0) is {}; expected a finite number", e.time)));
    }
    let count = events.iter().map(|e| e.cascade as usize + 1).max().unwrap_or(0);
    let mut first: Vec<HashMap<u32, f64>> = vec![HashMap::new(); count];
    let mut last = vec![f64::NEG_INFINITY; count];
    for e in events {
        last[e.cascade as usize] = last[e.cascade as usize].max(e.time);
        first[e.cascade as usize].entry(e.agent).and_modify(|t| *t = t.min(e.time)).or_insert(e.time);
    }
    let ordered = |(agents, last): (HashMap<u32, f64>, f64)| {
        let mut adopters: Vec<(u32, f64)> = agents.into_iter().collect();
        adopters.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let last = if adopters.is_empty() { 0.0 } else { last };
        Cascade { adopters, last }
    };
    Ok(first.into_iter().zip(last).map(ordered).collect())
}

/// Who influences whom.
#[derive(Debug, Clone)]
pub struct Exposure {
    /// Row i: those with an edge to i.
    back: Graph,
}

/// One agent in one cascade.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub cascade: u32,
    pub agent: u32,
    /// In-neighbours that adopted strictly before the agent; all that ever adopted, for an agent that never does.
    pub exposure: f64,
    /// When the agent adopted, from the first adoption on.
    pub adopted: Option<f64>,
    /// From the first adoption to the last event.
    pub lasted: f64,
}

impl Exposure {
    pub fn new(graph: &Graph) -> Self {
        Self { back: reversed(graph) }
    }

    fn check(&self, cascades: &[Cascade]) -> Result<(), ClusterError> {
        let n = self.back.n();
        match cascades.iter().flat_map(|c| &c.adopters).find(|(agent, _)| *agent as usize >= n) {
            Some((agent, _)) => {
                Err(ClusterError::Data(format!("agent {agent} of a cascade is not one of the {n} nodes (from 0) of the graph")))
            }
            None => Ok(()),
        }
    }

    /// Every agent in every cascade that has adopters, cascade after cascade. Errors: an adopter that is no node.
    pub fn seen(&self, cascades: &[Cascade]) -> Result<Vec<Seen>, ClusterError> {
        self.check(cascades)?;
        let mut out = Vec::new();
        let mut at = vec![f64::INFINITY; self.back.n()];
        for (number, cascade) in cascades.iter().enumerate().filter(|(_, c)| c.size() > 0) {
            cascade.adopters.iter().for_each(|&(agent, time)| at[agent as usize] = time);
            let (first, last) = (cascade.adopters[0].1, cascade.last);
            for agent in 0..self.back.n() {
                // A loop is no influence: an agent does not adopt before itself, and one that never does is not among the adopters.
                let before = self.back.row(agent).0.iter().filter(|&&j| at[j as usize] < at[agent]).count();
                out.push(Seen {
                    cascade: number as u32,
                    agent: agent as u32,
                    exposure: before as f64,
                    adopted: at[agent].is_finite().then(|| at[agent] - first),
                    lasted: last - first,
                });
            }
            cascade.adopters.iter().for_each(|&(agent, _)| at[agent as usize] = f64::INFINITY);
        }
        Ok(out)
    }

    /// Rows for hazards whose exposure grows as neighbours adopt: from the first adoption of a cascade every agent is watched until it
    /// adopts, or to the last event. Returns the rows and the exposure of each. Errors: an adopter that is no node.
    pub fn time_varying(&self, cascades: &[Cascade]) -> Result<(Vec<Interval>, Vec<f64>), ClusterError> {
        self.check(cascades)?;
        let (mut rows, mut exposures) = (Vec::new(), Vec::new());
        let mut at = vec![f64::INFINITY; self.back.n()];
        for cascade in cascades.iter().filter(|c| c.size() > 0) {
            cascade.adopters.iter().for_each(|&(agent, time)| at[agent as usize] = time);
            let (first, last) = (cascade.adopters[0].1, cascade.last);
            for agent in 0..self.back.n() {
                let end = at[agent].min(last) - first;
                let mut times: Vec<f64> =
                    self.back.row(agent).0.iter().map(|&j| at[j as usize] - first).filter(|t| *t < end).collect();
                times.sort_by(f64::total_cmp);
                let (mut start, mut exposure) = (0.0, 0.0);
                for &time in &times {
                    if time > start {
                        rows.push(Interval { start, stop: time, event: false });
                        exposures.push(exposure);
                        start = time;
                    }
                    exposure += 1.0;
                }
                if end > start {
                    rows.push(Interval { start, stop: end, event: at[agent].is_finite() });
                    exposures.push(exposure);
                }
            }
            cascade.adopters.iter().for_each(|&(agent, _)| at[agent as usize] = f64::INFINITY);
        }
        Ok((rows, exposures))
    }
}

/// How adoption depends on exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contagion {
    /// Every exposure adds the same (β₂ not apart from 0 at 5 %).
    Simple,
    /// Further exposures count more (β₂ > 0).
    Complex,
    /// Further exposures count less (β₂ < 0).
    Saturating,
}

impl Contagion {
    pub const ALL: &[Self] = &[Self::Simple, Self::Complex, Self::Saturating];

    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Complex => "complex",
            Self::Saturating => "saturating",
        }
    }
}

/// Logistic regression of adoption on exposure and its square, over every agent in every cascade, and what it says. Errors: [`logit`].
pub fn adoption(seen: &[Seen]) -> Result<(Logit, Contagion), ClusterError> {
    let exposure: Vec<f64> = seen.iter().map(|s| s.exposure).collect();
    let squares: Vec<f64> = exposure.iter().map(|e| e * e).collect();
    let adopted: Vec<bool> = seen.iter().map(|s| s.adopted.is_some()).collect();
    let found = logit(&[("exposure", &exposure), ("exposure²", &squares)], &adopted)?;
    let square = &found.coefficients[2];
    let kind = match square.p < 0.05 {
        true if square.value > 0.0 => Contagion::Complex,
        true => Contagion::Saturating,
        false => Contagion::Simple,
    };
    Ok((found, kind))
}

/// Hazards of adoption by exposure as published: adopters after the first with the exposure at their adoption, and exposed agents that never
/// adopt, watched to the last event of the cascade.
///
/// Biased: whoever never adopts is given the exposure of the whole cascade from its beginning (immortal time), which pushes the hazard ratio
/// below 1; [`hazards_over_time`] is not. Errors: [`cox`].
pub fn hazards_as_published(seen: &[Seen]) -> Result<Cox, ClusterError> {
    let rows: Vec<(Interval, f64)> = seen
        .iter()
        .filter_map(|s| {
            let (stop, event) = match s.adopted {
                Some(time) => (time, true),
                None if s.exposure > 0.0 => (s.lasted, false),
                None => return None,
            };
            (stop > 0.0).then_some((Interval { start: 0.0, stop, event }, s.exposure))
        })
        .collect();
    let (rows, exposure): (Vec<Interval>, Vec<f64>) = rows.into_iter().unzip();
    cox(&[("exposure", &exposure)], &rows)
}

/// Hazards of adoption by the exposure at each time. Errors: [`cox`], [`Exposure::time_varying`].
pub fn hazards_over_time(exposure: &Exposure, cascades: &[Cascade]) -> Result<Cox, ClusterError> {
    let (rows, exposures) = exposure.time_varying(cascades)?;
    cox(&[("exposure", &exposures)], &rows)
}

#[cfg(test)]
mod tests;
