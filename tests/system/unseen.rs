//! What a partner may not see does not show: two worlds that differ in nothing else look the same to it.

use entente_node::records::gate::Review;
use entente_protocol::record::kind::Kind;
use entente_tests::{
    sim::cast::Cast,
    unseen::{
        Plan, Planted, compare, run_all,
        tale::{Act, Deal, NODE, OTHER, Probe, SECOND, SEEN, Step, Tale, Thing},
        view::{Exempt, ROWS, Treatment},
    },
};
use std::{collections::BTreeSet, env, thread, time::Instant};

/// Pairs of worlds of the gate. The long run goes on from here.
const PAIRS: u64 = 50;
/// Pairs in which a leak that was put in must show.
const PLANTED_PAIRS: u64 = 24;
const SPEC: &str = include_str!("../../protocol/SPEC.md");

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn knob(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// Story: one tale in two worlds, with and without drafts, records for others, amendments, whole agreements, grants, recalls,
/// holds. Whatever the partner sees, and when, is the same.
#[test]
fn two_worlds_that_differ_in_what_is_hidden_look_the_same() {
    let (from, pairs, begun) = (knob("ENTENTE_SEED", 0), knob("ENTENTE_PAIRS", PAIRS), Instant::now());
    match run_all(&Plan::default(), from..from + pairs, threads()) {
        Ok(stats) => {
            println!("unseen, {from}..{}: {stats}, {} s", from + pairs, begun.elapsed().as_secs());
            println!("hidden: {:?}\ntold: {:?}", stats.hidden, stats.told);
            if pairs < PAIRS {
                return;
            }
            // Nothing of it was in vain: what was to be hidden was there, and the partner saw of everything something.
            let idle: Vec<_> = stats.hidden.iter().filter(|(_, counts)| counts.0 == 0).collect();
            let unsaid: Vec<_> = stats.told.iter().filter(|(_, times)| **times == 0).collect();
            assert!(idle.is_empty() && unsaid.is_empty(), "{idle:?} {unsaid:?}");
            assert!(stats.hidden.len() > 15 && stats.beside > 50 * pairs && stats.observed > 50 * pairs, "{stats}");
        }
        Err(finding) => {
            println!("{}", finding.tale);
            panic!("{finding}");
        }
    }
}

#[test]
fn planted_leaks_are_found() {
    for (name, planted) in Planted::ALL {
        let plan = Plan { planted: Some(planted), counted: planted == Planted::Numbers, ..Plan::default() };
        let finding = run_all(&plan, 0..PLANTED_PAIRS, threads());
        assert!(finding.as_ref().is_err_and(|finding| finding.what.contains("differs")), "{name}: {finding:?}");
    }
}

/// Gaps in evidence numbers stand in the leakage table, and are the only difference where numbers are counted.
#[test]
fn gaps_in_numbers_show_and_nothing_else() {
    let plan = Plan { counted: true, exempt: Some(Exempt::Numbers), ..Plan::default() };
    let stats = run_all(&plan, 0..PLANTED_PAIRS / 4, threads());
    assert!(stats.is_ok(), "{stats:?}");
}

/// A row of the leakage table is a decision about this test too, and so is a value that is masked.
#[test]
fn the_test_and_the_specification_say_the_same() {
    let section =
        SPEC.split("\n## 13. What shows").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| who |"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for row in &rows {
        let known = ROWS.iter().filter(|(who, what, _)| row[1] == *who && row[2].starts_with(what)).count();
        assert_eq!(known, 1, "the view treats this row of SPEC {known} times: {row:?}");
    }
    assert_eq!(rows.len(), ROWS.len(), "the view treats rows that SPEC does not have");
    assert!(ROWS.iter().any(|row| matches!(row.2, Treatment::Exempt(_))));
    let masked = section.lines().find(|line| line.starts_with("- **SHOW-2**")).unwrap_or_default();
    let list = masked.split("Masked:").nth(1).and_then(|rest| rest.split('.').next()).unwrap_or_default();
    let listed: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, entente_tests::unseen::cbor::MASKED.into_iter().collect(), "the masks are not those of SHOW-2");
}

/// Both do it.
fn both(wait_ms: u64, act: Act) -> Step {
    Step { wait_ms, without: Some(act.clone()), with: Some(act), what: "" }
}

/// One alone does it.
fn hidden(wait_ms: u64, act: Act) -> Step {
    Step { wait_ms, without: None, with: Some(act), what: "hidden" }
}

/// What shows, if anything does. All of it must have happened.
fn told(tale: Tale) -> Result<(), String> {
    let cast = Cast::new().map_err(|e| e.to_string())?;
    let stats = compare(&cast, &Plan::default(), (1, &tale)).map_err(|shows| shows.to_string())?;
    match stats.observed > 6 && stats.hidden.values().all(|counts| counts.1 == 0) {
        true => Ok(()),
        false => Err(format!("not all of it happened: {stats}")),
    }
}

fn alike(steps: Vec<Step>, lease: Option<u32>) {
    told(Tale { steps, lease, ..Tale::default() }).unwrap_or_else(|shows| panic!("{shows}"));
}

/// Two who have agreed, and a partner of whom one of them knows nothing.
fn agreed() -> Vec<Step> {
    vec![
        both(0, Act::Pair(NODE, 1)),
        both(1_000, Act::Sign(SEEN, 0)),
        hidden(1_000, Act::Pair(NODE, OTHER)),
        hidden(1_000, Act::Sign(SECOND, 0)),
    ]
}

/// Story: both parties' copies of a new agreement cross on the line. Each time that anything changed with others the whole
/// agreement was said again, because the copy with fewer signatures counted as the last that the partner knew.
#[test]
fn an_agreement_is_not_said_again_when_something_changes_with_others() {
    let mut steps = agreed();
    steps.extend((0..3).map(|_| hidden(2_000, Act::Sign(SECOND, 1))));
    alike(steps, None);
}

/// Story: a partner has heard of an agreement of others. It states standings in it, more than are looked at in an hour: where
/// there is such an agreement they were counted, and its session ended.
#[test]
fn nobody_finds_out_by_standings_whether_there_is_an_agreement_of_others() {
    let mut steps = agreed();
    let other = Deal { parties: [NODE, OTHER], ..SECOND };
    steps.push(both(2_000, Act::Probe(Probe::Standings(other, entente_protocol::limits::CHANGES_PER_HOUR_MAX + 10))));
    alike(steps, None);
}

/// Story: a lease falls due between two looks at the clock, and something is committed for others in between. The lease was
/// renewed at once, and told the time of that commit.
#[test]
fn nothing_falls_due_because_something_happens_with_others() {
    let quarter = 8 * 3_600_000 / 4;
    let mut steps = agreed();
    // The session begins at 0 and says its first lease at 1,000: the next is due 1,000 after a look.
    steps.push(hidden(quarter + 11_000 - 3_000, Act::Sign(SECOND, 1)));
    steps.push(both(40_000, Act::Cut));
    alike(steps, Some(8));
}

fn plain(kind: Kind, line: usize) -> Thing {
    Thing {
        owner: NODE,
        kind,
        line,
        amends: None,
        of: None,
        serviceable: true,
        never: false,
        red: false,
        file: None,
        hidden: false,
        gone: false,
    }
}

/// Story: between two records that go, more are released that do not go than one step of the outbox looks at. The partner
/// sees one run.
#[test]
fn a_run_ends_where_it_would_end_without_a_crowd_of_hidden_records() {
    let crowd = entente_protocol::limits::RUN_ENTRIES_MAX + 10;
    let mut things = vec![plain(Kind::Item, 0), plain(Kind::Item, 1)];
    things.extend((0..crowd).map(|n| Thing { serviceable: false, hidden: true, ..plain(Kind::Item, n + 2) }));
    let all: Vec<usize> = [0].into_iter().chain(2..crowd + 2).chain([1]).collect();
    let mut steps = vec![both(0, Act::Pair(NODE, 1)), both(1_000, Act::Sign(SEEN, 0))];
    let step = |without, with| Step { wait_ms: 1_000, without: Some(without), with: Some(with), what: "a crowd" };
    steps.push(step(Act::Keep(vec![0, 1]), Act::Keep(all.clone())));
    let gate = |things| Act::Gate(things, Review::Reviewed, true);
    steps.push(step(gate(vec![0, 1]), gate(all)));
    told(Tale { things, steps, ..Tale::default() }).unwrap_or_else(|shows| panic!("{shows}"));
}

/// Of one that is on its way it shows that it was refuted, for its connection is cut: the leakage table says so. A hidden
/// successor withdraws it later.
#[test]
fn what_is_on_its_way_is_cut_off_when_it_is_refuted() {
    let successor = Thing { amends: Some(0), serviceable: false, hidden: true, ..plain(Kind::Item, 0) };
    let things = vec![plain(Kind::Item, 0), successor];
    let mut steps = vec![both(0, Act::Pair(NODE, 1)), both(1_000, Act::Sign(SEEN, 0)), both(1_000, Act::Slow)];
    steps.push(both(1_000, Act::Keep(vec![0])));
    steps.push(both(1_000, Act::Gate(vec![0], Review::Reviewed, true)));
    steps.push(hidden(1_000, Act::Keep(vec![1])));
    let (refuted, successor) = (Act::Gate(vec![0], Review::Refuted, false), Act::Gate(vec![1], Review::Reviewed, true));
    steps.push(Step { wait_ms: 1_000, without: Some(refuted), with: Some(successor), what: "withdrawn" });
    let shows = told(Tale { things, steps, ..Tale::default() }).err().unwrap_or_default();
    assert!(shows.contains("a connection ends, by Node, with Some(33)"), "{shows}");
}

/// The form of a finding that people act on.
#[test]
fn a_finding_names_its_seed() {
    let plan = Plan { planted: Some(Planted::Message), ..Plan::default() };
    let finding = run_all(&plan, 0..PLANTED_PAIRS, 1).expect_err("planted");
    assert!(finding.to_string().contains("ENTENTE_SEED=") && finding.tale.contains("steps"), "{finding}");
}
