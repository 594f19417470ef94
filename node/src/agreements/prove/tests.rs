//! Proofs over small agreements, with the real solver where one is at hand and with programs that only pretend to be one.
//!
//! The real one is a `cvc5` on the PATH, or cvc5's Python bindings behind `tests/solver/smt.py`. Without either the tests
//! that need it say `skipped:`.

use super::{
    Answered, Asked, Question, Solved, answer, asked,
    solver::{Answer, Solver, SolverFault},
    symbolic::{self, Unsolved},
};
use entente_policy::{
    Action, Gate, Governed, Interval, PartnerState, PolicySet, RedLine, ReviewState,
    claim::{self, Confirmed},
    never::{self, Leaving, Never, Property},
    source::{self, Drafting},
};
use entente_protocol::{
    agreement::{InForce, Standing},
    id::{AgreementDigest, AgreementId, LineId, Nonce, OrgId, RecordId},
    record::{HandlingFloor, Header, SlotSet, kind::Kind},
    time::UnixMillis,
    value::Value,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

/// Clauses of an agreement in force, each with its condition and fields of items, and red lines on items.
fn try_set(clauses: &[(&str, &str)], lines: &[&str]) -> Option<PolicySet> {
    let mut text = "language = 1\ntitle = \"t\"\nbasis = { text = \"b\" }\npurposes = [\"p\"]\nfrom = \"2026-01-01\"\n\
                    until = \"2026-12-31\"\nnotice-days = 0\n[[party]]\nhandle = \"a\"\nname = \"A\"\n[[party]]\n\
                    handle = \"b\"\nname = \"B\"\n"
        .to_owned();
    for (n, (when, fields)) in clauses.iter().enumerate() {
        text.push_str(&format!(
            "[[clause]]\nname = \"clause {n}\"\nfrom = \"a\"\nto = [\"b\"]\nonward = \"never\"\nretention-days = 30\n\
             when = '''{when}'''\nred = {}\ndisclose.item = [\"number\", \"eval\", {fields}]\n",
            n % 2 == 1
        ));
    }
    let party = |handle: &str| match handle {
        "a" => Some(org(1)),
        "b" => Some(org(2)),
        _ => None,
    };
    let drafting = Drafting { id: AgreementId::from_bytes([1; 16]), party: &party };
    let agreement = source::parse(&text, &drafting).ok()?.agreement;
    let line = |(n, when): (usize, &&str)| {
        RedLine::new(&format!("line {n}"), Action::Release, &[Kind::Item], &[], Some(when)).ok()
    };
    let lines: Vec<RedLine> = lines.iter().enumerate().map(line).collect::<Option<_>>()?;
    let in_force = InForce { agreement, digest: AgreementDigest::from_bytes([0; 32]) };
    let partners = BTreeMap::from([(org(2), PartnerState::Active)]);
    PolicySet::new(org(1), vec![Governed { in_force, standing: Standing::Active }], &lines, partners, &[]).ok()
}

fn set(clauses: &[(&str, &str)], lines: &[&str]) -> PolicySet {
    try_set(clauses, lines).unwrap()
}

fn item(field: &str) -> Property {
    Property { kind: Kind::Item, slot: Some(Kind::Item.slot(field).unwrap().number), to: None }
}

fn prove(set: &PolicySet, property: Property, path: Option<&Path>, patience: Duration) -> Answered {
    let mut solver = Asked::Not { path: path.map(Path::to_owned), patience };
    answer(set, &[Question { set: None, property }], &mut solver)
}

/// A program from a text. Another process writes it: a file that this one still writes, in whatever thread, cannot run.
fn program(folder: &TempDir, text: &str) -> PathBuf {
    let (draft, path) = (folder.path().join("draft"), folder.path().join("cvc5"));
    fs::write(&draft, text).unwrap();
    let made = Command::new("cp").arg(&draft).arg(&path).status().unwrap();
    let may_run = Command::new("chmod").arg("+x").arg(&path).status().unwrap();
    assert!(made.success() && may_run.success());
    path
}

/// The real solver.
static REAL: LazyLock<Option<(TempDir, PathBuf)>> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("cvc5")).find(|program| program.is_file());
    if let Some(installed) = installed.filter(|program| Solver::at(Some(program), PATIENCE).is_ok()) {
        return Some((folder, installed));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/solver/smt.py").canonicalize().unwrap();
    let named = std::env::var("ENTENTE_TEST_CVC5_PYTHON").ok();
    let python = named.into_iter().chain(["python3".to_owned(), "/usr/bin/python3".to_owned()]).find_map(|python| {
        let asked = Command::new(&python).args(["-c", "import sys, cvc5; print(sys.executable)"]).output().ok()?;
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
    })?;
    let path = program(&folder, &format!("#!/bin/sh\nexec '{python}' '{}' \"$@\"\n", script.display()));
    Some((folder, path))
});

fn real() -> Option<&'static Path> {
    let path = REAL.as_ref().map(|(_, path)| path.as_path());
    if path.is_none() {
        println!("skipped: proofs by a solver: neither cvc5 1.3 nor Python's `cvc5` is at hand");
    }
    path
}

const BELGIAN: &str = r#"resource.make_country == "BE""#;

#[test]
fn what_conditions_and_red_lines_keep_is_proved_over_all_records() {
    let Some(path) = real() else { return };
    let check = |clauses: &[(&str, &str)], lines: &[&str], field: &str| {
        let set = set(clauses, lines);
        assert!(!matches!(never::never(&set, item(field)), Never::Proved), "trying is no proof: {clauses:?}");
        let answer = prove(&set, item(field), Some(path), PATIENCE);
        assert!(matches!(answer, Answered::BySolver), "{clauses:?} {lines:?}: {}", why(&answer));
    };
    check(&[(BELGIAN, "\"make-country\"")], &[BELGIAN], "make-country");
    check(&[(BELGIAN, "\"make-country\"")], &[r#"resource.make_country like "B*""#], "make-country");
    // Whatever lacks the field is kept by the red line, and whatever has it by its value.
    check(&[("resource.bore_um > 9000", "\"type\"")], &["resource.bore_um * 2 > 18000"], "type");
    // Beyond what is counted to, the red line errs, and an erring red line withholds.
    check(&[("resource.bore_um > 9223372036854775000", "\"type\"")], &["resource.bore_um + 1000 < 0"], "type");
    // The clause before it takes all that it would.
    check(
        &[(BELGIAN, "\"type\""), (BELGIAN, "\"type\", \"condition\""), (BELGIAN, "\"type\", \"family\"")],
        &[],
        "family",
    );
    // What a date says of its days; days of one date.
    check(&[(r#"resource.year == "2019""#, "\"type\"")], &["resource.year_last < 20200101"], "type");
    check(&[("resource.year_first > resource.year_last", "\"type\"")], &[], "type");
}

fn why(answer: &Answered) -> String {
    match answer {
        Answered::Emptily => "nothing in force".to_owned(),
        Answered::ByClauses => "by clauses".to_owned(),
        Answered::BySolver => "by the solver".to_owned(),
        Answered::Leaves(leaving) => format!("{leaving:?}"),
        Answered::NotFound { why, .. } => why.clone(),
    }
}

/// Whether the decider lets a record with these attributes go, with this field.
fn decider_releases(set: &PolicySet, example: &BTreeMap<String, String>, field: &str) -> bool {
    let mut values = BTreeMap::from([(Kind::Item.slot("number").unwrap().number, Value::text("1"))]);
    for (name, value) in example.iter().filter(|(_, value)| *value != "(none)") {
        let slot = Kind::Item.slot(&name.replace('_', "-")).unwrap();
        let value = value.parse().map_or_else(|_| Value::text(value), Value::Int);
        assert!(slot.shape.fits(&value), "{name}: {value:?}");
        values.insert(slot.number, value);
    }
    let asked = Kind::Item.slot(field).unwrap().number;
    values.entry(asked).or_insert_with(|| Value::text("pistol"));
    let header = Header {
        kind: Kind::Item,
        line: LineId::from_bytes([1; 16]),
        floor: HandlingFloor::default(),
        nonce: Nonce::from_bytes([1; 16]),
        originator: org(1),
    };
    let early = UnixMillis::from_date("2026-06-01").unwrap();
    let clearance = set.decide(&entente_policy::Question {
        record: RecordId::from_bytes([1; 32]),
        header: &header,
        values: &|slot| values.get(&slot).cloned(),
        present: values.keys().copied().collect(),
        gate: Gate { review: ReviewState::Verified, required: ReviewState::Reviewed, released: true },
        referable: SlotSet::EMPTY,
        onward: None,
        partner: org(2),
        agreement: AgreementId::from_bytes([1; 16]),
        now: Interval { early, late: early.plus(1), confirmed: true },
    });
    clearance.is_ok_and(|clearance| clearance.terms().slots.contains(asked))
}

#[test]
fn what_trying_does_not_find_is_found_by_the_solver_and_leaves_by_the_decider() {
    let Some(path) = real() else { return };
    let check = |when: &str, lines: &[&str], expected: &[(&str, &str)]| {
        let set = set(&[(when, "\"type\"")], lines);
        let tried = never::never(&set, item("type"));
        assert!(matches!(tried, Never::NotFound { .. }), "found by trying: {tried:?}");
        let found = prove(&set, item("type"), Some(path), PATIENCE);
        let Answered::Leaves(Leaving { example, clause, unlikely, .. }) = &found else { panic!("{}", why(&found)) };
        assert_eq!((clause.as_str(), unlikely), ("clause 0", &None));
        for (name, value) in expected {
            assert_eq!(example.get(*name).map(String::as_str), Some(*value), "{example:?}");
        }
        assert!(decider_releases(&set, example, "type"), "{example:?}");
    };
    check("resource.bore_um * 7 == 126", &[], &[("bore_um", "18")]);
    check(
        "resource.bore_um * resource.bore_um == 1521",
        &["resource has make"],
        &[("bore_um", "39"), ("make", "(none)")],
    );
    check(r#"resource.model like "A*" && resource.model like "*Z" && resource.model like "*Q*""#, &[], &[]);
}

#[test]
fn what_no_formula_can_say_is_not_proved() {
    let Some(path) = real() else { return };
    let odd = r#"resource.model == "\u{F0000}""#;
    let answer = prove(&set(&[(odd, "\"type\"")], &[odd]), item("type"), Some(path), PATIENCE);
    assert!(why(&answer).contains("cannot be turned into a formula"), "{}", why(&answer));
}

/// The same question with a solver of one's own making. It says its version as cvc5 does unless `text` is a whole program.
fn with_program(text: &str, patience: Duration) -> (String, Duration) {
    let folder = TempDir::new().unwrap();
    let path = program(&folder, text);
    let begun = Instant::now();
    let answer = prove(&set(&[(BELGIAN, "\"type\"")], &[BELGIAN]), item("type"), Some(&path), patience);
    assert!(matches!(answer, Answered::NotFound { all: true, .. }), "never a silent pass: {}", why(&answer));
    (why(&answer), begun.elapsed())
}

fn pretending(then: &str) -> String {
    format!("#!/bin/sh\ncase $1 in --version) echo 'This is cvc5 version 1.3.0'; exit 0;; esac\n{then}\n")
}

#[test]
fn without_a_solver_or_with_another_it_is_said() {
    let absent = prove(&set(&[(BELGIAN, "\"type\"")], &[BELGIAN]), item("type"), None, PATIENCE);
    assert!(why(&absent).contains("no solver is installed"), "{}", why(&absent));
    let gone = Solver::at(Some(Path::new("/nonexistent/cvc5")), PATIENCE);
    assert!(matches!(gone, Err(SolverFault::Start { .. })));
    for (text, expected) in [
        ("#!/bin/sh\necho 'This is cvc5 version 1.0.3'\n", "1.0.3, which is too old"),
        ("#!/bin/sh\necho 'Z3 version 4.8.12 - 64 bit'\n", "does not say that it is cvc5"),
        ("#!/bin/sh\necho 'This is cvc5 version one'\n", "does not say that it is cvc5"),
        ("#!/bin/sh\nexit 3\n", "does not say that it is cvc5"),
        ("no program at all\n", "cannot be started"),
    ] {
        let (why, _) = with_program(text, PATIENCE);
        assert!(why.contains(expected), "{text}: {why}");
    }
}

#[test]
fn what_is_not_a_whole_answer_proves_nothing() {
    for (then, expected) in [
        ("echo unknown", "does not know"),
        ("echo banana", "it said `banana`"),
        ("echo unsat; echo '(error \"late\")'", "without an answer"),
        ("echo unsat; exit 1", "exit status: 1"),
        ("echo unsat; kill -9 $$", "signal: 9"),
        ("kill -11 $$", "signal: 11"),
        ("exit 0", "it said ``"),
        ("echo '(error \"Parse Error: bvnego\")'; exit 1", "bvnego"),
        ("echo cvc5 interrupted by timeout.; exit 1", "no answer within"),
        // Found, and then not said.
        ("echo sat; ! grep -q get-model", "without an answer"),
        ("echo sat; if grep -q get-model; then printf '(\\n(define-fun'; fi", "cannot be read"),
        ("echo sat; if grep -q get-model; then printf '(\\n(banana)\\n)\\n'; fi", "cannot be read"),
    ] {
        let (why, _) = with_program(&pretending(then), PATIENCE);
        assert!(why.contains(expected), "{then}: {why}");
    }
}

/// What a child writes lies in memory that only the machine's size would bound: `yes` once ended the tests and all else.
#[test]
fn a_solver_that_never_stops_talking_is_cut_off() {
    let folder = TempDir::new().unwrap();
    let said = folder.path().join("said");
    let talks = format!("(yes unsat; echo $? >'{}') &\nwait\nexit 1", said.display());
    let (why, took) = with_program(&pretending(&talks), Duration::from_secs(20));
    assert!(why.contains("without an answer") && why.len() < 500, "{why}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(fs::read_to_string(said).unwrap(), "1\n", "it could not write on");
}

#[test]
fn a_solver_that_hangs_is_ended_with_all_that_it_has_started() {
    let folder = TempDir::new().unwrap();
    let pids = folder.path().join("pids");
    let hangs = format!("sleep 600 &\necho $! $$ >'{}'\nwait", pids.display());
    let (why, took) = with_program(&pretending(&hangs), Duration::from_secs(2));
    assert!(why.contains("no answer within 2 s"), "{why}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
        // A killed process goes when it is next scheduled, and what it had started is nobody's here to wait for.
        let ended = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(state) => state.contains(") Z "),
            Err(_) => true,
        };
        let killed = Instant::now();
        while !ended() {
            assert!(killed.elapsed() < Duration::from_secs(60), "{pid} still runs");
            sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_solver_is_given_policies_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let seen = folder.path().join("seen");
    let looks = format!(
        "{{ tr '\\0' '\\n' </proc/$$/environ; pwd; ls -l /proc/$$/fd | grep -c -- '->'; cat; }} >'{}'\necho unknown",
        seen.display()
    );
    let (why, _) = with_program(&pretending(&looks), PATIENCE);
    assert!(why.contains("does not know"), "{why}");
    let seen = fs::read_to_string(seen).unwrap();
    let (before, script) = seen.split_at(seen.find("; (reset)").unwrap());
    assert!(before.starts_with("/\n"), "an environment: {before}");
    assert!(script.contains("(check-sat)") && script.contains("BE"), "{script}");
}

/// A condition out of a few, some of which err.
fn condition(state: &mut u64) -> String {
    const ATOMS: [&str; 14] = [
        BELGIAN,
        r#"resource.make_country == "FR""#,
        r#"resource.type == "pistol""#,
        r#"["rifle", "pistol"].contains(resource.type)"#,
        r#"resource.model like "F*""#,
        r#"resource.model == "FN""#,
        "resource.bore_um > 5",
        "resource.bore_um * 3 == 21",
        "resource.bore_um + 9223372036854775800 > 0",
        "resource.orcon",
        r#"resource.tlp == "RED""#,
        "resource.year_first >= 20200601",
        r#"resource.year == "2021""#,
        "resource has model",
    ];
    let mut below = |n: u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((*state >> 33) % n).unwrap()
    };
    let mut text = ATOMS[below(14)].to_owned();
    for _ in 0..below(3) {
        let next = ATOMS[below(14)];
        text = match below(4) {
            0 => format!("{text} || {next}"),
            1 => format!("({text}) && {next}"),
            2 => format!("!({text}) && {next}"),
            _ => format!("if {text} then {next} else false"),
        };
    }
    text
}

/// The solver against trying, over generated agreements: neither says what the other refutes, and what the solver finds
/// leaves by the decider's engine.
#[test]
fn the_solver_never_contradicts_what_was_tried() {
    let Some(path) = real() else { return };
    let (mut state, mut proved, mut found, mut both, mut unlikely) = (7, 0, 0, 0, 0);
    let mut agreements = 0;
    while agreements < 24 {
        let whens: Vec<String> = (0..5).map(|_| condition(&mut state)).collect();
        let clauses =
            [(whens[0].as_str(), "\"type\""), (whens[1].as_str(), "\"make-country\""), (whens[2].as_str(), "\"type\"")];
        let Some(set) = try_set(&clauses, &[&whens[3], &whens[4]]) else { continue };
        agreements += 1;
        let solver = Solver::at(Some(path), PATIENCE).unwrap();
        for property in [item("make-country"), Property { slot: None, ..item("type") }] {
            let tried = never::never(&set, property);
            for claim in claim::claims(&set, property).unwrap() {
                let solved = symbolic::solve(&claim, &mut |script| solver.ask(script));
                let solved = solved.unwrap_or_else(|why| panic!("{why}: {whens:?}"));
                match (solved, &tried) {
                    (None, Never::Leaves(Leaving { unlikely: None, .. })) => panic!("{tried:?} {whens:?}"),
                    (None, _) => proved += 1,
                    (Some(Confirmed::Stays), _) => panic!("the engine withholds what the solver found: {whens:?}"),
                    (Some(Confirmed::Leaves(_)), Never::Leaves(_)) => both += 1,
                    (Some(Confirmed::Leaves(_)), _) => found += 1,
                    (Some(Confirmed::Unlikely(field)), _) => {
                        println!("`{field}` of {whens:?}");
                        unlikely += 1;
                    }
                }
            }
        }
    }
    println!(
        "{proved} proved, {both} refuted by both, {found} by the solver alone, {unlikely} by what no record holds"
    );
    assert!(proved >= 5 && both >= 5, "{proved} {both} {found}");
}

#[test]
fn no_claim_is_proved_by_an_answer_to_another_question() {
    // A solver that is not asked proves nothing: whoever adds a short cut meets this.
    let set = set(&[(BELGIAN, "\"type\"")], &[BELGIAN]);
    let claims = claim::claims(&set, item("type")).unwrap();
    let mut scripts = Vec::new();
    for claim in &claims {
        let refused = symbolic::solve(claim, &mut |script| {
            scripts.push(script.to_owned());
            Err(SolverFault::Unknown)
        });
        assert!(matches!(refused, Err(Unsolved::Solver(SolverFault::Unknown))));
        assert!(matches!(symbolic::solve(claim, &mut |_| Ok(Answer::Unsat)), Ok(None)));
        assert!(matches!(asked(claim, &mut Asked::Found(Err(SolverFault::Absent))), Solved::Open(_)));
    }
    assert_eq!((claims.len(), scripts.len()), (1, 1));
}
