//! One figure: what was measured, its goal, and the limits and peers that were measured beside it.
//!
//! Every group of figures returns these; `main` prints them, for people or as JSON. Nothing here measures.

use serde_json::{Value as Json, json};
use std::time::Duration;

/// What a figure should reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Larger is better.
    AtLeast(f64),
    /// Smaller is better.
    AtMost(f64),
}

impl Goal {
    fn met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) => figure >= goal,
            Self::AtMost(goal) => figure <= goal,
        }
    }
    /// As it is printed: `>= 25000`.
    fn text(self) -> String {
        match self {
            Self::AtLeast(goal) => format!(">= {}", number(goal)),
            Self::AtMost(goal) => format!("<= {}", number(goal)),
        }
    }
}

/// Something else that was measured in the same run, in the same unit.
#[derive(Debug, Clone)]
pub struct Against {
    /// What it is.
    pub name: String,
    /// Its runs.
    pub runs: Vec<f64>,
    /// What the ratio should reach, where the goal speaks of it.
    pub goal: Option<Goal>,
}

impl Against {
    /// A limit or peer without a goal of its own.
    pub fn new(name: impl Into<String>, runs: Vec<f64>) -> Self {
        Self { name: name.into(), runs, goal: None }
    }
    /// The same, where the ratio of the figure to it has a goal.
    pub fn at_least(self, ratio: f64) -> Self {
        Self { goal: Some(Goal::AtLeast(ratio)), ..self }
    }
    /// The figure divided by this.
    fn ratio(&self, figure: f64) -> f64 {
        figure / median(&self.runs)
    }
    fn json(&self, figure: f64) -> Json {
        let ratio = self.ratio(figure);
        let (least, most) = spread(&self.runs);
        let mut json = json!({
            "name": self.name,
            "figure": round(median(&self.runs)),
            "ratio": round(ratio),
            "min": round(least),
            "max": round(most),
            "runs": self.runs.len(),
        });
        if let Some(goal) = self.goal {
            json["goal"] = json!(goal.text());
            json["ok"] = json!(goal.met(ratio));
        }
        json
    }
    fn line(&self, what: &str, figure: f64) -> String {
        let ratio = self.ratio(figure);
        let judged =
            self.goal.map_or_else(String::new, |goal| format!(", goal {} {}", goal.text(), ok(goal.met(ratio))));
        format!("    {what} {}: {} (ratio {}{judged})\n", self.name, number(median(&self.runs)), number(ratio))
    }
}

/// One figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name, as `--list` has it.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What every run gave; the median is the figure.
    pub runs: Vec<f64>,
    /// What it should reach; none where it only helps to understand another.
    pub goal: Option<Goal>,
    /// What bounds it from outside, measured in the same run on the same disk; several where the slowest counts.
    pub limits: Vec<Against>,
    /// What people would otherwise use.
    pub peers: Vec<Against>,
    /// Peers that this machine does not have: their goals were not looked at.
    pub absent: Vec<String>,
    /// What exactly was measured, and what to know beside.
    pub note: String,
    /// Whether what was measured is not what the name says, and the note says why: it then never is ok.
    pub void: bool,
}

impl Figure {
    /// A figure from its runs.
    pub fn new(name: &'static str, unit: &'static str, runs: Vec<f64>) -> Self {
        Self {
            name,
            unit,
            runs,
            goal: None,
            limits: Vec::new(),
            peers: Vec::new(),
            absent: Vec::new(),
            note: String::new(),
            void: false,
        }
    }
    /// With a goal.
    pub fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }
    /// With a limit; the slowest of several is the one that counts.
    pub fn limit(mut self, limit: Against) -> Self {
        self.limits.push(limit);
        self
    }
    /// Of the limits named so far, the slowest is to be reached up to this ratio.
    pub fn of_the_slowest_limit(mut self, ratio: f64) -> Self {
        let slowest = self.limit_that_binds().map(|limit| limit.name.clone());
        for limit in &mut self.limits {
            limit.goal = (slowest.as_ref() == Some(&limit.name)).then_some(Goal::AtLeast(ratio));
        }
        self
    }
    /// With a peer, or the name of one that this machine lacks.
    pub fn peer(mut self, peer: Result<Against, String>) -> Self {
        match peer {
            Ok(peer) => self.peers.push(peer),
            Err(absent) => self.absent.push(absent),
        }
        self
    }
    /// With a note.
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note.as_ref());
        self
    }

    /// The figure: the median of its runs.
    pub fn figure(&self) -> f64 {
        median(&self.runs)
    }

    /// The limit that binds: the slowest of them, of times the longest.
    fn limit_that_binds(&self) -> Option<&Against> {
        let slow = |limit: &Against| match self.goal {
            Some(Goal::AtMost(_)) => -median(&limit.runs),
            _ => median(&limit.runs),
        };
        self.limits.iter().min_by(|a, b| slow(a).total_cmp(&slow(b)))
    }

    /// Whether every goal is met; none where there is no goal, or where all are met that could be looked at and a peer is
    /// absent.
    pub fn ok(&self) -> Option<bool> {
        let own = self.goal.map(|goal| goal.met(self.figure()));
        let judged = |against: &Against| against.goal.map(|goal| goal.met(against.ratio(self.figure())));
        // Of several limits only the one that binds has a goal: "of the slowest of them".
        let limit = self.limit_that_binds().and_then(judged);
        let mut all = own.into_iter().chain(limit).chain(self.peers.iter().filter_map(judged)).peekable();
        all.peek()?;
        let met = !self.void && all.all(|met| met);
        (!met || self.absent.is_empty()).then_some(met)
    }

    /// One object.
    pub fn json(&self) -> Json {
        let figure = self.figure();
        let binding = self.limit_that_binds();
        let (least, most) = spread(&self.runs);
        json!({
            "name": self.name,
            "figure": round(figure),
            "unit": self.unit,
            "goal": self.goal.map(Goal::text),
            "ok": self.ok(),
            "min": round(least),
            "max": round(most),
            "runs": self.runs.len(),
            "limit": binding.map(|limit| limit.json(figure)),
            "ratio": binding.map(|limit| round(limit.ratio(figure))),
            "limits": self.limits.iter().map(|limit| limit.json(figure)).collect::<Vec<_>>(),
            "peers": self.peers.iter().map(|peer| peer.json(figure)).collect::<Vec<_>>(),
            "absent": self.absent,
            "note": self.note,
        })
    }

    /// The head of a table in Markdown.
    pub const TABLE: &str =
        "| figure | measured | goal | beside it, in the same run (ratio) | |\n| --- | --- | --- | --- | --- |";

    /// One row of it.
    pub fn row(&self) -> String {
        let figure = self.figure();
        let beside = self.limit_that_binds().into_iter().chain(&self.peers).map(|against| {
            let goal = against.goal.map_or_else(String::new, |goal| format!(", goal {}", goal.text()));
            format!("{} ({}{goal})", against.name, number(against.ratio(figure)))
        });
        let beside: Vec<String> = beside.chain(self.absent.iter().map(|peer| format!("{peer}: absent"))).collect();
        let (goal, met) = (self.goal.map_or_else(String::new, Goal::text), self.ok().map_or("", ok));
        format!("| `{}` | {} {} | {goal} | {} | {met} |", self.name, number(figure), self.unit, beside.join("; "))
    }

    /// Some lines for people.
    pub fn text(&self) -> String {
        let figure = self.figure();
        let spread = match self.runs.len() {
            0 | 1 => String::new(),
            runs => {
                let (least, most) = spread(&self.runs);
                format!(" (median of {runs}: {} to {})", number(least), number(most))
            }
        };
        let goal = self.goal.map_or_else(String::new, |goal| format!(", goal {}", goal.text()));
        let judged = self.ok().map_or_else(String::new, |met| format!(" {}", ok(met)));
        let mut out = format!("{}: {} {}{goal}{judged}{spread}\n", self.name, number(figure), self.unit);
        for limit in &self.limits {
            out.push_str(&limit.line("limit", figure));
        }
        for peer in &self.peers {
            out.push_str(&peer.line("peer", figure));
        }
        for absent in &self.absent {
            out.push_str(&format!("    peer {absent}: absent on this machine, not measured\n"));
        }
        if !self.note.is_empty() {
            out.push_str(&format!("    {}\n", self.note));
        }
        out
    }
}

const fn ok(met: bool) -> &'static str {
    if met { "ok" } else { "MISSED" }
}

/// The middle of the runs; of an even number the mean of the two in the middle.
pub fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), middle.checked_sub(1).and_then(|below| sorted.get(below))) {
        (Some(above), Some(below)) if sorted.len().is_multiple_of(2) => f64::midpoint(*above, *below),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

/// The least and the largest run.
fn spread(runs: &[f64]) -> (f64, f64) {
    runs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), run| (least.min(*run), most.max(*run)))
}

/// The least run that 99 of 100 runs do not exceed.
pub fn p99(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Four significant digits: more would only look exact.
fn round(value: f64) -> Json {
    if !value.is_finite() || value == 0.0 {
        return if value == 0.0 { json!(0) } else { Json::Null };
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    json!((value * scale).round() / scale)
}

fn number(value: f64) -> String {
    match round(value) {
        Json::Null => "none".to_owned(),
        rounded => {
            let text = rounded.to_string();
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(p99(&(1..=200).map(f64::from).collect::<Vec<_>>()), 198.0);
        let figure = Figure::new("x", "MB/s", vec![70.0]).limit(Against::new("fast", vec![700.0]));
        let figure = figure.limit(Against::new("slow", vec![100.0])).of_the_slowest_limit(0.7);
        assert_eq!((figure.ok(), figure.json()["ratio"].as_f64()), (Some(true), Some(0.7)));
        let missed = figure.peer(Ok(Against::new("p", vec![50.0]).at_least(2.0)));
        assert_eq!(missed.ok(), Some(false));
    }

    #[test]
    fn what_is_absent_or_void_is_said() {
        let figure = Figure::new("x", "s", vec![1.0]).goal(Goal::AtMost(2.0)).peer(Err("rsync".to_owned()));
        assert_eq!((figure.ok(), &figure.json()["absent"][0]), (None, &json!("rsync")));
        assert_eq!(Figure { runs: vec![3.0], ..figure.clone() }.ok(), Some(false));
        assert_eq!(Figure { void: true, ..figure }.ok(), Some(false));
        assert_eq!(Figure::new("x", "s", vec![1.0]).ok(), None);
    }
}
