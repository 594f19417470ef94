//! Exports of real nodes: an honest one holds, each dishonest one is found and named, each changed byte is refused.

use super::{Options, export, page, read};
use crate::{
    call::{Call, Recalled, Selection},
    clock::{Clock, ManualClock},
    custody::{self, view::LogCall},
    node::Node,
    records::gate::Review,
    testkit::{self, ask},
};
use entente_protocol::{
    audit::{
        self, Item, Mark, Reader, Report, Sealer, Test,
        item::{Of, SentRun},
    },
    cose,
    custody::checkpoint::{Checkpoint, TreeHead, UnverifiedCheckpoint},
    gate::GateEvent,
    id::Hash,
    identity::UnconfirmedCard,
    label,
    package::Pins,
    time::UnixMillis,
};
use serde_bytes::ByteBuf;
use std::{fs, path::PathBuf, sync::Arc};

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Error = Box<dyn std::error::Error>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);
const INTERVAL: u64 = custody::INTERVAL_S * 1_000;

/// Two partners, two releases, one of them recalled and answered, and a log that the other has witnessed.
struct Story {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    a: Node,
    b: Node,
}

impl Story {
    fn new() -> Result<Self, Error> {
        Self::of(true)
    }
    /// Whether the other agrees that it is named as a witness.
    fn of(is_named: bool) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, mut b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        b.config.named_witness = is_named;
        testkit::pair(&a, &b)?;
        testkit::agree(folder.path(), &a, &b, &testkit::agreement("2036-12-31"))?;
        let story = Self { folder, clock, a, b };
        story.later(1)?;
        for number in ["A-1", "A-2"] {
            testkit::release(story.folder.path(), &story.a, number)?;
            story.later(60_000)?;
        }
        let records = Recalled::Selected(Selection::Ids(vec!["A-1".to_owned()]));
        let (act, reason) = (entente_protocol::recall::Act::Withdraw, "misread in Zanzibar".to_owned());
        ask(&story.a, &Call::RecallPropose { records, act, reason, by: "A. Diallo".to_owned() })?;
        ask(&story.a, &Call::RecallConfirm { recall: 1, by: "M. Osei".to_owned() })?;
        for _ in 0..3 {
            story.later(INTERVAL)?;
        }
        Ok(story)
    }
    /// Time passes, and both meet.
    fn later(&self, ms: u64) -> Outcome {
        self.clock.set(self.clock.now().plus(ms));
        self.a.tick()?;
        self.b.tick()?;
        testkit::exchange(&self.a, &self.b)?;
        Ok(())
    }
    fn export(&self) -> Result<PathBuf, Error> {
        let output = self.folder.path().join("of.audit");
        export(&self.a, &Options { output: output.clone(), force: true }, &mut |_| {})?;
        Ok(output)
    }
    fn items(&self) -> Result<Vec<Item>, Error> {
        let bytes = fs::read(self.export()?)?;
        let (mut reader, mut items) = (Reader::new(bytes.as_slice())?, Vec::new());
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
        items.pop();
        Ok(items)
    }
    /// What a dishonest maker signs.
    fn signed(&self, items: &[Item]) -> Result<Vec<u8>, Error> {
        let (mut sealer, mut bytes) = (Sealer::default(), Vec::new());
        for item in items {
            bytes.extend(sealer.item(item)?);
        }
        bytes.extend(sealer.end(&self.a.keys.runs)?);
        Ok(bytes)
    }
    fn verify(&self, bytes: &[u8]) -> Result<Report, audit::AuditFault> {
        self.verify_from(bytes, &[])
    }
    /// The same for an auditor who kept these heads of the log.
    fn verify_from(&self, bytes: &[u8], notes: &[&str]) -> Result<Report, audit::AuditFault> {
        let mut pins = Pins::default();
        pins.push(UnconfirmedCard::from_bytes(self.b.keys.card.bytes()).unwrap());
        let heads: Vec<_> = notes.iter().map(|n| UnverifiedCheckpoint::from_bytes(n.as_bytes()).unwrap()).collect();
        audit::verify(bytes, &pins, &heads, self.clock.now(), &mut |_, _| {})
    }
    /// The last head of the log, as its own node or one of its witnesses writes it out.
    fn head(&self, node: &Node, partner: Option<&str>) -> Result<String, Error> {
        let answer = ask(node, &Call::Log(LogCall::Head(partner.map(str::to_owned))))?;
        Ok(answer["head"].as_str().ok_or("a head")?.to_owned())
    }
}

/// What does not hold, and by which test.
fn wrong(report: &Report) -> Vec<(Test, String)> {
    let wrong = report.findings.iter().filter(|finding| finding.mark == Mark::Wrong);
    wrong.map(|finding| (finding.test, format!("{}: {}", finding.place, finding.says))).collect()
}

fn runs(items: &mut [Item]) -> Vec<&mut SentRun> {
    let mut runs = Vec::new();
    for item in items {
        if let Item::Run(run) = item {
            runs.push(run);
        }
    }
    runs
}

#[test]
fn an_honest_export_holds_and_says_nothing_of_what_records_say() -> Outcome {
    let story = Story::new()?;
    let path = story.export()?;
    let bytes = fs::read(&path)?;
    let report = story.verify(&bytes)?;
    assert_eq!(wrong(&report), [], "{:#?}", report.findings);
    assert!(report.witnessed().is_some() && report.intervals >= 3, "{report:?}");
    let [feed] = report.feeds.as_slice() else { return Err("one feed".into()) };
    assert!(feed.releases == 2 && feed.withdrawals == 1 && feed.acknowledged == feed.entries, "{feed:?}");
    let [own, seen] = [story.head(&story.a, None)?, story.head(&story.b, Some("a"))?];
    let with_heads = story.verify_from(&bytes, &[&own, &seen])?;
    assert_eq!((wrong(&with_heads), with_heads.checks[&Test::Kept].checked), (vec![], 2));
    for test in Test::ALL {
        let check = with_heads.checks.get(&test).copied().unwrap_or_default();
        assert!(check.checked > 0, "nothing was looked at: {test:?}");
    }
    // Newest events are in no interval yet; nothing else is open.
    assert!(report.findings.iter().all(|finding| finding.test == Test::Witnessed), "{:#?}", report.findings);
    // Whatever the sample says, and who did what.
    for said in
        ["A-1", "A-2", "SN 1", "Croatia", "Chad", "Lac", "Works", "9x19", "misread", "Zanzibar", "Diallo", "Osei"]
    {
        let stands = bytes.windows(said.len()).any(|window| window == said.as_bytes());
        assert!(!stands, "`{said}` stands in the export");
    }
    let said = read::verify(&path, &[], &[], story.clock.now(), &mut |_| {})?;
    assert_eq!((&said["ok"], said["areas"].as_array().map(Vec::len)), (&true.into(), Some(5)), "{said}");
    let says = said["not_proved"].to_string();
    assert!(says.contains("reviews, releases by people and recalls"), "{says}");
    assert!(said["witnessed_until"].is_null() && said["witnesses"][0]["compared"] == false, "{said}");
    let html = page::html(&said);
    assert!(html.contains("Everything that can be told") && html.contains("@media print"), "{html}");
    for never in ["<script", "http://", "https://", "src=", "url("] {
        assert!(!html.contains(never), "{never}");
    }
    Ok(())
}

#[test]
fn a_witness_that_did_not_agree_is_not_named() -> Outcome {
    let story = Story::of(false)?;
    let bytes = fs::read(story.export()?)?;
    let line = format!("entente/1/witness/{}", story.b.keys.org);
    assert!(!bytes.windows(line.len()).any(|window| window == line.as_bytes()), "the line of the witness is there");
    let report = story.verify(&bytes)?;
    assert!(report.witnesses.is_empty() && report.is_good(), "{report:#?}");
    let says = "under no head that others witnessed";
    assert!(report.findings.iter().any(|finding| finding.says.contains(says)), "{:#?}", report.findings);
    // Where it agreed, it is.
    let story = Story::new()?;
    let bytes = fs::read(story.export()?)?;
    let line = format!("entente/1/witness/{}", story.b.keys.org);
    assert!(bytes.windows(line.len()).any(|window| window == line.as_bytes()));
    Ok(())
}

/// What a dishonest maker does, and which tests then say what.
type Case = (&'static str, fn(&Story, &mut Vec<Item>), &'static [(Test, &'static str)]);

#[test]
fn each_dishonest_export_is_found_and_named() -> Outcome {
    let story = Story::new()?;
    let honest = story.items()?;
    assert_eq!(wrong(&story.verify(&story.signed(&honest)?)?), []);
    let moves: [Case; 13] = [
        ("a run is left out", |_, items| drop_run(items, 0), &[(Test::Runs, "is not shown"), (Test::Feeds, "go on")]),
        (
            "the last run is left out",
            |_, items| {
                let last = runs(items).len() - 1;
                drop_run(items, last);
            },
            &[(Test::Runs, "is not shown"), (Test::Receipts, "countersigned")],
        ),
        (
            "a batch is left out",
            |_, items| {
                let place = items.iter().position(|item| matches!(item, Item::Batch(_))).unwrap();
                items.remove(place);
            },
            &[(Test::Runs, "a batch was signed here, and is not shown")],
        ),
        (
            "an event is left out",
            |_, items| {
                events(items).remove(5);
            },
            &[(Test::Journal, "event 5: it does not follow"), (Test::Heads, "not what")],
        ),
        (
            "an event is moved",
            |_, items| events(items).swap(4, 5),
            &[(Test::Journal, "event 4: it does not follow"), (Test::Journal, "event 6: it does not follow")],
        ),
        (
            "the end of the journal is left out with its run",
            |_, items| {
                let last = runs(items).len() - 1;
                drop_run(items, last);
                let keep = events(items).len() / 2;
                events(items).truncate(keep);
            },
            &[(Test::Leaves, "end of the journal")],
        ),
        ("another clause is claimed", |_, items| released(items).clause = 7, &[(Test::Clauses, "no clause 7")]),
        (
            "more slots left than the clause discloses",
            |_, items| released(items).slots = vec![8, 60],
            &[(Test::Clauses, "does not disclose these slots of kind item: 60")],
        ),
        (
            "the record is said to be something else",
            |_, items| {
                let Of::Body(body) = &mut released(items).of else { return };
                let last = body.len() - 1;
                body[last] ^= 1;
            },
            &[(Test::Clauses, "header")],
        ),
        (
            "a record left before its review",
            |story, items| later_review(story, items),
            &[(Test::Gate, "its review state was `draft`")],
        ),
        (
            "nobody let it go",
            |_, items| {
                let last = items.iter().rposition(|item| matches!(item, Item::Gate(_))).unwrap();
                items.remove(last);
            },
            &[(Test::Gate, "no person had released it")],
        ),
        (
            "a run is of no agreement that is shown",
            |_, items| items.retain(|item| !matches!(item, Item::Agreement(_))),
            &[(Test::Agreements, "is not shown")],
        ),
        (
            "an interval is another",
            |_, items| {
                let leaves = items.iter_mut().find_map(|item| if let Item::Leaves(l) = item { Some(l) } else { None });
                leaves.unwrap().seeds[0] = Hash::from_bytes([9; 32]);
            },
            &[(Test::Heads, "not what the journal")],
        ),
    ];
    let mut missed = Vec::new();
    for (what, make, expected) in moves {
        let mut items = honest.clone();
        make(&story, &mut items);
        let report = story.verify(&story.signed(&items)?)?;
        let found = wrong(&report);
        for (test, says) in expected {
            let is_found = found.iter().any(|(by, said)| by == test && said.contains(says));
            if !is_found {
                missed.push(format!("{what}: {test:?} `{says}` is not among {found:#?}"));
            }
        }
        assert!(!report.is_good() && report.findings.iter().all(|finding| !finding.place.is_empty()), "{what}");
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}

fn events(items: &mut [Item]) -> &mut Vec<ByteBuf> {
    items.iter_mut().find_map(|item| if let Item::Events(events) = item { Some(events) } else { None }).unwrap()
}

fn drop_run(items: &mut Vec<Item>, n: usize) {
    let place = items.iter().enumerate().filter(|(_, item)| matches!(item, Item::Run(_))).nth(n).map(|(at, _)| at);
    items.remove(place.unwrap());
}

/// What is said of the first release.
fn released(items: &mut [Item]) -> &mut audit::item::Released {
    runs(items).into_iter().flat_map(|run| &mut run.entries).find_map(|entry| entry.release.as_mut()).unwrap()
}

/// The first review is signed anew, with a time after the run.
fn later_review(story: &Story, items: &mut [Item]) {
    let gate =
        items.iter_mut().find_map(|item| if let Item::Gate(signed) = item { Some(signed) } else { None }).unwrap();
    let event: GateEvent =
        crate::records::stored::decode("event", gate.parse().unwrap().danger_unverified_payload()).unwrap();
    assert_eq!(event.review, Some(Review::Reviewed));
    let late = GateEvent { at: story.clock.now(), ..event };
    let payload = crate::records::stored::encode("event", &late).unwrap();
    gate.0 = cose::sign(label::SIGN_REVIEW, &story.a.keys.user, &payload);
}

/// Everything in it fits together, and its maker signed it: what somebody kept from before tells, and nothing else does.
#[test]
fn history_that_was_made_anew_is_found_by_a_kept_head() -> Outcome {
    let story = Story::new()?;
    let bytes = fs::read(story.export()?)?;
    let kept = story.head(&story.b, Some("a"))?;
    assert_eq!(wrong(&story.verify_from(&bytes, &[&kept])?), []);
    // What the log of another year gives, signed by the same key.
    let signed = UnverifiedCheckpoint::from_bytes(kept.as_bytes())?;
    let (origin, size) =
        (signed.danger_unverified_origin(), signed.verify(story.a.keys.org, [story.a.keys.log.public()])?);
    let anew =
        Checkpoint::sign(origin, TreeHead { root: Hash::from_bytes([7; 32]), ..size.head() }, &story.a.keys.log)?;
    let anew = String::from_utf8(anew.to_bytes()?)?;
    let found = wrong(&story.verify_from(&bytes, &[&kept, &anew])?);
    assert!(found.len() == 1 && found[0].0 == Test::Kept && found[0].1.contains("history was made anew"), "{found:#?}");
    Ok(())
}

#[test]
fn every_changed_byte_is_refused_and_so_is_every_cut() -> Outcome {
    let story = Story::new()?;
    let bytes = fs::read(story.export()?)?;
    // Each byte of the beginning and of the end, and some of what is between.
    let places = (0..bytes.len()).filter(|at| *at < 300 || bytes.len() - at < 300 || at % 97 == 0);
    for at in places {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        assert!(story.verify(&changed).is_err(), "byte {at}");
        assert!(story.verify(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(story.verify(&[bytes.as_slice(), b"\x00"].concat()).is_err());
    assert!(story.verify(b"").is_err());
    let stranger = fs::read(story.folder.path().join("A-1.csv"))?;
    assert!(story.verify(&stranger).is_err());
    Ok(())
}
