//! What a recipient learns: the fields that a clause discloses, proved, and nothing of the others.
//!
//! Everything that the recipient has is searched: every frame that came over the wire, every row of its store in
//! clear, and what its commands print.

use entente_protocol::{feed::RunMessage, session::Message};
use entente_tests::{
    Home, PATIENCE, Row, Wire, World,
    search::{self, Secret},
};
use serde_json::Value;
use std::{collections::BTreeSet, error::Error, time::Duration};

type Outcome = Result<(), Box<dyn Error>>;

/// Neither a number nor anything that singles an item out.
const KIND_ONLY: &str = r#"
[[clause]]
name = "kinds"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["eval", "type", "make-country"]
"#;

/// Every fact that has rungs, on a coarse one.
const COARSE: &str = r#"
[[clause]]
name = "coarse"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "make-country", "serial-prefix", "serial-state", "event"]
disclose.event = ["number", "eval", "etype", "recovered-month", "place-cell", "place-country"]
"#;

/// What a row says and a coarse clause withholds.
fn withheld(row: &Row) -> Vec<Secret> {
    let e7 = |degrees: &str| 100 * degrees.replace('.', "").parse::<u32>().unwrap_or_default();
    let digits = row.serial.trim_start_matches("QX ");
    let texts = [&row.make, &row.place, &row.date, &row.collector, &row.custody, &row.note, &row.marks];
    let mut secrets: Vec<Secret> = texts.iter().map(|text| Secret::text(text)).collect();
    secrets.push(Secret::text(digits));
    // Five decimals are written, seven are kept.
    secrets.extend([&row.point.0, &row.point.1].map(|degrees| Secret::number(e7(degrees))));
    secrets
}

/// Runs as they came, and all that is held afterwards, decrypted.
type Arrived = (Vec<RunMessage>, Vec<Vec<u8>>);

/// Receives what is due, as `b`'s node does, and gives everything that `b` then has: frames, rows, answers.
fn receive(a: &Home, b: &Home, expected: u64) -> Result<Arrived, Box<dyn Error>> {
    let node = b.open();
    let mut wire = Wire::dial(&node, a)?;
    wire.talk(&node, true, PATIENCE, |_| search::received(&node) == expected)?;
    // Whatever else there is to come.
    wire.talk(&node, true, Duration::from_secs(1), |_| false)?;
    assert_eq!(search::received(&node), expected);
    let mut runs = Vec::new();
    for (lane, content) in &wire.seen {
        if let Message::Run(run) = Message::from_bytes(*lane, content)? {
            runs.push(*run);
        }
    }
    let mut has: Vec<Vec<u8>> = std::mem::take(&mut wire.seen).into_iter().map(|(_, content)| content).collect();
    drop(wire);
    has.extend(search::held(&node)?);
    drop(node);
    for id in b.received_ids() {
        has.push(b.json(&["record", "show", &id]).to_string().into_bytes());
        let proof = b.json(&["record", "verify", &id]);
        assert_eq!(proof["ok"], true, "{proof}");
        has.push(proof.to_string().into_bytes());
    }
    has.push(Value::Array(b.received()).to_string().into_bytes());
    Ok((runs, has))
}

fn names(record: &Value) -> BTreeSet<&str> {
    record["fields"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Story: one item of four hundred is released with three of its fields, and one that was imported alone, with fewer
/// fields filled. The recipient proves what it sees. It has no value of another field, no number, no neighbour, and
/// what came for the two looks the same: it cannot tell how many fields or records there were.
#[test]
fn what_is_not_disclosed_leaves_no_trace() -> Outcome {
    let (world, [mut a, b]) = World::of(7, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, KIND_ONLY);
    let many = world.rows("FULL", 400);
    a.import("many.csv", &Row::table(&many));
    let mut lone = world.rows("LONE", 1);
    (lone[0].note, lone[0].marks, lone[0].make) = Default::default();
    a.import("lone.csv", &Row::table(&lone));
    a.pass(&["FULL-00007", "LONE-00001"]);
    a.start();
    let (runs, has) = receive(&a, &b, 2)?;

    let held = b.received();
    assert_eq!(held.len(), 2);
    for record in &held {
        assert_eq!(names(record), BTreeSet::from(["eval", "make-country", "type"]));
        assert_eq!((&record["number"], &record["originator"]), (&Value::Null, &"a".into()));
    }
    let mut secrets = withheld(&many[6]);
    secrets.extend(withheld(&lone[0]).into_iter().filter(|secret| !secret.what.is_empty()));
    for row in many.iter().step_by(40).chain(&lone).chain(&many[6..7]) {
        secrets.extend([&row.number, &row.serial, &row.case].map(|text| Secret::text(text)));
    }
    assert_eq!(search::leaked(&secrets, &has), None);
    // The search finds what is there.
    assert_eq!(search::leaked(&[Secret::text("pistol")], &has), Some("pistol"));

    let run = runs.first().ok_or("no run")?;
    assert_eq!((runs.len(), run.carried.len(), run.attestations.len()), (1, 2, 2));
    let proofs: Vec<(usize, usize)> = run.attestations.iter().map(|a| (a.head.0.len(), a.nodes.len())).collect();
    assert_eq!(proofs[0], proofs[1], "a batch of four hundred and a batch of one look the same");
    assert_eq!(run.carried[0].3.len(), run.carried[1].3.len(), "many fields and few look the same");
    Ok(())
}

/// Story: places to a tenth of a degree, days to the month, serials to their prefix. The finer fact is nowhere.
#[test]
fn a_coarse_release_carries_no_finer_fact() -> Outcome {
    let (world, [mut a, b]) = World::of(8, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, COARSE);
    let rows = world.rows("C", 30);
    a.import("rows.csv", &Row::table(&rows));
    a.pass_all();
    a.start();
    let (_, has) = receive(&a, &b, 34)?;

    let held = b.received();
    let of = |kind: &str| held.iter().filter(|r| r["kind"] == kind).cloned().collect::<Vec<_>>();
    let (items, events) = (of("item"), of("event"));
    assert_eq!((items.len(), events.len(), held.len()), (30, 4, 34), "custodians and holders are in no clause");
    let coarse = BTreeSet::from(["etype", "eval", "number", "place-cell", "place-country", "recovered-month"]);
    assert!(events.iter().all(|e| names(e) == coarse && e["fields"]["recovered-month"] == "2026-02"), "{events:?}");
    assert!(items.iter().all(|i| i["fields"]["serial-prefix"] == "QX"), "{items:?}");
    let secrets: Vec<Secret> = rows.iter().flat_map(withheld).collect();
    assert_eq!(search::leaked(&secrets, &has), None);
    Ok(())
}

/// Story: a draft coarsens a fact and lets it out by another door. The check names line, key and what to do.
#[test]
fn a_clause_that_coarsens_a_fact_may_not_disclose_it_elsewhere() {
    let (_world, [a, b]) = World::of(9, ["a", "b"]);
    a.pair(&b);
    let clause = |rest: &str| {
        format!(
            "\n[[clause]]\nname = \"x\"\nfrom = \"a\"\nto = [\"b\"]\nonward = \"never\"\nretention-days = 30\n{rest}\n"
        )
    };
    for (field, rest) in [
        ("marks", r#"disclose.item = ["number", "eval", "type", "serial-prefix", "marks"]"#),
        ("note", r#"disclose.item = ["number", "eval", "type", "serial-prefix", "note"]"#),
        ("model", r#"disclose.item = ["number", "eval", "type", "make-country", "model"]"#),
        ("place-name", r#"disclose.event = ["number", "eval", "etype", "place-cell", "place-name"]"#),
        ("context", r#"disclose.event = ["number", "eval", "etype", "recovered-month", "context"]"#),
        // Allowed by name, it would still tell what the clause coarsens.
        (
            "marks",
            "carries = [\"serial\", \"maker\"]\ndisclose.item = [\"number\", \"eval\", \"type\", \"serial-prefix\", \"marks\"]",
        ),
        // By another kind of the same clause.
        (
            "note",
            "disclose.item = [\"number\", \"eval\", \"type\", \"note\"]\ndisclose.event = [\"number\", \"eval\", \"place-cell\"]",
        ),
        (
            "taken",
            "files = [\"original\"]\ndisclose.attachment = [\"number\", \"eval\", \"of\", \"role\", \"media\", \"content\", \"place-cell\"]",
        ),
    ] {
        let file = a.file("draft.toml", &a.agreement_text(&b, None, &clause(rest)));
        for command in [vec!["agreement", "check", &file], vec!["agreement", "sign", &file, "--yes"]] {
            let fault = a.refused(2, &command);
            let message = fault["message"].as_str().unwrap_or_default();
            assert_eq!(fault["blame"], "input");
            let says = [&format!("`{field}`"), "key `clause", "draft.toml", "line "];
            assert!(says.iter().all(|part| message.contains(part)), "{field}: {message}");
        }
    }
    assert_eq!(a.json(&["agreement", "list"]), Value::Array(Vec::new()));
    a.ok(&[
        "agreement",
        "check",
        &a.file("draft.toml", &a.agreement_text(&b, None, &clause(r#"disclose.item = ["number", "eval", "type"]"#))),
    ]);
}
