//! An honest export holds; what is dishonest in one is found and named; what is no export is refused.

use super::{
    Area, AuditFault, Item, Mark, Reader, Report, Test,
    item::{Answered, Of, Stands},
    testing::*,
};
use crate::{
    agreement::{Agreement, SignedAgreement, Standing, StandingNotice},
    codec::CodecError,
    cose::SignatureBytes,
    feed::{Cursor, Entry, FeedKey, Receipt, Run},
    gate::Review,
    id::{Hash, LineId, LoggedDigest, Nonce, OrgId, RecordId, UserDigest},
    identity::{CardKey, Purpose, UnconfirmedCard},
    limits,
    package::{
        Confirmed, Pins, Source, Unreadable,
        testing::{self, ATTESTED, MADE, ORIGINATOR, RECEIVED, RECEIVER, SENT, WITNESS, feed, key, org},
    },
    recall::{Act, Answer, AnswerState, Answers, Recall},
    record::{Draft, HandlingFloor, Record, Tlp, kind::Kind},
    time::UnixMillis,
    value::Value,
};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

mod hidden;
mod kept;

/// Findings of a weight, with the test that made each.
fn found(report: &Report, mark: Mark) -> Vec<String> {
    let of = report.findings.iter().filter(|finding| finding.mark == mark);
    of.map(|finding| format!("{}: {}: {}", finding.test.name(), finding.place, finding.says)).collect()
}

fn later(ms: u64) -> UnixMillis {
    UnixMillis(SENT.0 + ms)
}

#[test]
fn an_honest_export_holds_and_says_how_much_was_looked_at() {
    let report = pinned(&[WITNESS], &Sample::new().bytes()).unwrap();
    assert!(report.is_good() && report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.maker, report.made, report.events, report.intervals), (org(ORIGINATOR), MADE, 6, SIZE));
    let [sent] = report.feeds.as_slice() else { panic!("{report:?}") };
    assert_eq!((sent.receiver, sent.runs, sent.releases, sent.acknowledged), (org(RECEIVER), 1, 1, 1));
    let agreement = &report.agreements[&feed().agreement];
    assert_eq!((agreement.versions, agreement.releases), (1, 1));
    let looked = |test: &Test| report.checks[test].checked > 0;
    // The sample has no standing of its own and no recall; the release asks about the standing. No head was kept.
    let not_asked = [Test::Recalls, Test::Kept];
    assert!(Test::ALL.iter().all(|test| looked(test) != not_asked.contains(test)), "{report:#?}");
    assert!(report.parties.iter().all(|p| (p.confirmed == Confirmed::ByNobody) == (p.org != org(WITNESS))));
    assert!(Area::ALL.iter().all(|area| Test::ALL.iter().any(|test| test.area() == *area)));
}

fn record(tlp: Option<Tlp>) -> Record {
    let floor = HandlingFloor { tlp, ..HandlingFloor::default() };
    let mut draft = Draft::new(Kind::Item, org(ORIGINATOR), LineId::from_bytes([1; 16]), floor);
    draft.set("number", Value::text("T-9")).unwrap();
    draft.set("eval", Value::map([("admiralty", Value::text("B2"))])).unwrap();
    draft.set("type", Value::text("rifle")).unwrap();
    draft.commit(Nonce::from_bytes([9; 16]), Zeroizing::new([9; 32])).unwrap()
}

fn body(record: &Record) -> Of {
    Of::Body(ByteBuf::from(record.body().bytes().to_vec()))
}

fn sample_record() -> RecordId {
    testing::item(1).id()
}

/// The same run of another feed, after another run, or at another time than the journal has.
fn another(sample: &Sample, how: u8) -> super::item::SentRun {
    let mut sent = sample.run.clone();
    let run = Run::danger_unverified(&sent.run).unwrap();
    let key_of = if how == 1 { FeedKey { receiver: org(WITNESS), ..feed() } } else { feed() };
    let mut before = Cursor::start(key_of.id());
    before.length = u64::from(how == 2);
    let at = if how == 3 { later(1) } else { run.time };
    let hashes = [Entry::hash_of(&sent.entries[0].entry)];
    let signed = Run::over(key_of.id(), before, &hashes, run.version, at, None).unwrap();
    sent.run = signed.sign(&key(ORIGINATOR, 3)).unwrap();
    sent
}

fn other_log(sample: &Sample) -> String {
    sample.log.origin.replace(&feed().store.to_string(), &"05".repeat(16))
}

fn without_log(sample: &mut Sample) {
    sample.notes.clear();
    sample.leaves.seeds.clear();
    sample.leaves.busy.clear();
    sample.log.size = 0;
}

/// A receipt by some organisation, of the run or of one that is longer.
fn receipt(sample: &Sample, by: u8, longer: u64) -> SignatureBytes {
    let mut run = Run::danger_unverified(&sample.run.run).unwrap();
    run.before.length += longer;
    Receipt::of(&run, RECEIVED).sign(&key(by, 3)).unwrap()
}

fn half_signed() -> Vec<u8> {
    let mut half = SignedAgreement::unsigned(&agreement()).unwrap();
    half.sign(org(RECEIVER), &key(RECEIVER, 2), ATTESTED).unwrap();
    half.to_bytes().unwrap()
}

/// Another agreement, under which the run is signed, and journaled and logged with it.
fn over(sample: &mut Sample, change: fn(&mut Agreement)) {
    let mut other = agreement();
    change(&mut other);
    let mut signed = SignedAgreement::unsigned(&other).unwrap();
    for (seed, party) in [(RECEIVER, other.parties[1].id), (ORIGINATOR, org(ORIGINATOR))] {
        let seed = if party == org(WITNESS) { WITNESS } else { seed };
        signed.sign(party, &key(seed, 2), ATTESTED).unwrap();
    }
    sample.under(&signed);
}

fn to_witness(agreement: &mut Agreement) {
    agreement.parties[1].id = org(WITNESS);
    agreement.clauses[0].to = vec![org(WITNESS)];
}

fn other_way(agreement: &mut Agreement) {
    agreement.clauses[0].to = vec![org(ORIGINATOR)];
    agreement.clauses[0].from = org(RECEIVER);
}

fn stands(standing: Standing) -> Item {
    let notice =
        StandingNotice { time: ATTESTED, party: org(RECEIVER), counter: 1, standing, agreement: feed().agreement };
    Item::Standing(Stands { at: ATTESTED, party: org(RECEIVER), notice: notice.sign(&key(RECEIVER, 2)).unwrap() })
}

fn forged_standing() -> Item {
    let Item::Standing(stands) = stands(Standing::Active) else { panic!() };
    Item::Standing(Stands { party: org(ORIGINATOR), ..stands })
}

fn said(review: Option<Review>, at: UnixMillis) -> SignatureBytes {
    gate(review, sample_record(), at, &key(ORIGINATOR, 7))
}

/// The last event of the gate, said otherwise.
fn again(sample: &mut Sample, review: Option<Review>, at: UnixMillis) {
    sample.gate.pop();
    sample.gate.push(said(review, at));
}

fn recalled(_: &Sample, at: UnixMillis) -> Item {
    let recall = Recall::new(Act::Withdraw, org(ORIGINATOR), sample_record(), at);
    Item::Recall(recall.sign(&key(ORIGINATOR, 1)).unwrap().1)
}

fn answered(sample: &Sample, state: AnswerState) -> Vec<Item> {
    let recall = Recall::new(Act::Withdraw, org(ORIGINATOR), sample_record(), later(9));
    let (id, _) = recall.sign(&key(ORIGINATOR, 1)).unwrap();
    let holder: OrgId = org(RECEIVER);
    let answers = Answers::new(holder, later(10), vec![Answer { recall: id, state }]);
    let signed = answers.sign(&key(RECEIVER, 3)).unwrap();
    vec![recalled(sample, later(9)), Item::Answer(Answered { holder, signed })]
}

/// Each with what must be found; `true` where it cannot be told and is no fault.
type Move = (&'static str, fn(&mut Sample), &'static str, &'static str, bool);

const fn wrong(what: &'static str, make: fn(&mut Sample), test: &'static str, says: &'static str) -> Move {
    (what, make, test, says, false)
}
const fn open(what: &'static str, make: fn(&mut Sample), test: &'static str, says: &'static str) -> Move {
    (what, make, test, says, true)
}

fn judged(moves: &[Move]) {
    for (what, make, test, says, is_open) in moves {
        let mut sample = Sample::new();
        make(&mut sample);
        let report = verified(&sample.bytes()).unwrap();
        let mark = if *is_open { Mark::Open } else { Mark::Wrong };
        let of_test = |said: &&String| said.starts_with(&format!("{test}: ")) && said.contains(says);
        let told = found(&report, mark);
        assert!(told.iter().any(|said| of_test(&said)), "{what}: `{test}: {says}` is not among {:#?}", report.findings);
        let all_open = found(&report, Mark::Wrong).is_empty();
        assert_eq!((report.is_good(), all_open), (*is_open, *is_open), "{what}: {:#?}", report.findings);
    }
}

#[test]
fn what_is_wrong_with_order_and_completeness_is_named() {
    judged(&[
        wrong("an event is left out", |s| drop(s.events.remove(2)), "journal", "event 2: it does not follow"),
        wrong("events are moved", |s| s.events.swap(2, 3), "journal", "event 2: it does not follow"),
        wrong("an event stands twice", |s| s.events.insert(3, s.events[2].clone()), "journal", "event 3: it does not"),
        wrong("an event is none", |s| s.events[2] = ByteBuf::from(vec![0xf4]), "journal", "does not read as an event"),
        wrong("its clock went back", |s| s.head.time = SENT, "times", "after the export was made"),
        wrong("the last events are left out", |s| s.events.truncate(4), "intervals", "after the end of the journal"),
        wrong("a run is left out", |s| s.run.run = SignatureBytes(vec![0]), "runs", "event 4: a run was signed here"),
        wrong("a run is of another feed", |s| s.run = another(s, 1), "feeds", "other feed"),
        wrong("a run does not go on", |s| s.run = another(s, 2), "feeds", "does not go on where"),
        wrong("a run is in no journal", |s| s.run = another(s, 3), "runs", "the journal does not have it"),
        wrong("an entry is changed", |s| s.run.entries[0].entry[40] ^= 1, "feeds", "not those that were signed"),
        wrong("an event stands in no interval", |s| s.leaves.busy[2].from = 5, "intervals", "leaves out events"),
        wrong("an event is said to be later", |s| s.leaves.busy[2].gone = vec![5], "intervals", "nothing was signed"),
        wrong(
            "an interval has what no journal has",
            |s| s.leaves.busy[2].late = vec![LoggedDigest::from_bytes([9; 32])],
            "intervals",
            "does not have",
        ),
        wrong("intervals are cut off", |s| s.leaves.seeds.truncate(7), "intervals", "at its end are missing"),
        wrong("intervals are left out", |s| s.leaves.first = 1, "intervals", "from 0 on are missing"),
        wrong("there is a leaf too many", |s| s.leaves.seeds.push(s.leaves.seeds[0]), "intervals", "more intervals"),
        wrong("it is the log of another store", |s| s.log.origin = other_log(s), "intervals", "another store"),
        wrong("it is no log", |s| s.log.origin = "log".to_owned(), "intervals", "which log it is"),
        wrong("a log begins late", |s| s.log.count = 1, "intervals", "does not begin at the event"),
        wrong(
            "an interval stands elsewhere",
            |s| s.leaves.busy[2].at = 30,
            "intervals",
            "interval 30: it is not among",
        ),
        open("the newest events stand in no interval", without_log, "witnessed", "6 newest event(s)"),
    ]);
}

#[test]
fn what_is_wrong_with_heads_and_custody_is_named() {
    judged(&[
        wrong(
            "a head is of another tree",
            |s| s.notes = vec![s.witnessed(Hash::from_bytes([1; 32]))],
            "heads",
            "left out",
        ),
        wrong("a head is not the log's", |s| s.notes[0][300] ^= 1, "heads", ""),
        wrong("a seed is another", |s| s.leaves.seeds[9] = Hash::from_bytes([1; 32]), "heads", "head of 10 intervals"),
        wrong(
            "a log is shortened beneath its head",
            |s| {
                s.leaves.seeds.truncate(7);
                s.log.size = 7;
            },
            "heads",
            "out of order",
        ),
        wrong("a head stands twice", |s| s.notes.push(s.notes[0].clone()), "heads", "out of order"),
        open("nobody witnessed it", |s| s.notes.clear(), "witnessed", "under no head that others witnessed"),
        open("a witness is not known", |s| drop(s.cards.pop()), "witnessed", "under no head"),
        wrong("a receipt is forged", |s| s.receipt = Some(receipt(s, 50, 0)), "receipts", ""),
        wrong(
            "a receipt is of another run",
            |s| s.receipt = Some(receipt(s, RECEIVER, 1)),
            "receipts",
            "no run that is shown",
        ),
        open("a run is not countersigned", |s| s.receipt = None, "acknowledged", "has not countersigned it"),
        wrong("nothing attests a record", |s| s.released().place = None, "batches", "nothing is shown that attests"),
        wrong("its batch is not shown", |s| s.released().place = Some((1, 0)), "batches", "is not shown"),
        wrong("it stands elsewhere in its batch", |s| s.released().place = Some((0, 7)), "batches", "batch"),
        wrong("its batch is in no journal", |s| s.run.attested[0].head = testing::other_head(), "batches", ""),
    ]);
}

#[test]
fn a_release_that_no_agreement_covers_is_named() {
    judged(&[
        wrong("no agreement", |s| s.agreements.clear(), "agreements", "is not shown"),
        wrong("one party did not sign", |s| s.agreements = vec![half_signed()], "agreements", "not every party signed"),
        wrong("it was signed by nobody", |s| s.agreements[0] = vec![0xa0], "agreements", "malformed"),
        wrong("it was over", |s| over(s, |a| a.until = SENT), "agreements", "not in force"),
        wrong("it had not begun", |s| over(s, |a| a.from = later(1)), "agreements", "not in force"),
        wrong("the other is no party", |s| over(s, to_witness), "agreements", "are not both party"),
        wrong("another clause", |s| s.released().clause = 7, "clauses", "no clause 7"),
        wrong(
            "a slot more",
            |s| s.released().slots.push(11),
            "clauses",
            "does not disclose these slots of kind item: 11",
        ),
        wrong("a slot that is none", |s| s.released().slots = vec![72], "clauses", "not numbers of slots"),
        wrong("slots fall", |s| s.released().slots = vec![8, 0], "clauses", "not numbers of slots"),
        wrong("it goes the other way", |s| over(s, other_way), "clauses", "nothing go from this sender"),
        wrong(
            "another kind",
            |s| s.released().of = Of::Kind(Kind::Event, org(ORIGINATOR)),
            "clauses",
            "of a record of kind event",
        ),
        wrong(
            "another record's header",
            |s| s.released().of = body(&record(None)),
            "clauses",
            "not that of the record",
        ),
        wrong("the entry is no release", |s| s.run.entries[0].release = None, "clauses", "not what the entry is"),
        wrong("it had been suspended", |s| s.more = vec![stands(Standing::Suspended)], "standing", "had suspended"),
        wrong("it had ended", |s| s.more = vec![stands(Standing::Ended)], "standing", "had ended"),
        wrong("a standing is forged", |s| s.more = vec![forged_standing()], "standing", ""),
        open(
            "its header is not shown",
            |s| s.released().of = Of::Kind(Kind::Item, org(ORIGINATOR)),
            "clauses",
            "maker's word",
        ),
        open(
            "it is not held any more",
            |s| s.released().of = Of::Gone(org(ORIGINATOR)),
            "clauses",
            "not held any more",
        ),
    ]);
    // What is only for named persons, where the clause does not say so.
    let red = verified(&Sample::of(&record(Some(Tlp::Red))).bytes()).unwrap();
    assert!(found(&red, Mark::Wrong).iter().any(|said| said.contains("TLP:RED")), "{:#?}", red.findings);
    let amber = verified(&Sample::of(&record(Some(Tlp::Amber))).bytes()).unwrap();
    assert!(amber.is_good(), "{:#?}", amber.findings);
}

#[test]
fn a_release_that_nobody_let_go_or_that_was_recalled_is_named() {
    judged(&[
        wrong("nobody reviewed it", |s| drop(s.gate.remove(0)), "release gate", "its review state was `draft`"),
        wrong("nobody released it", |s| drop(s.gate.pop()), "release gate", "no person had released it"),
        wrong("it was released before its review", |s| s.gate.reverse(), "release gate", ""),
        wrong("more was asked of it", |s| s.head.gate = Review::Verified, "release gate", "release needs `verified`"),
        wrong("it was released later", |s| again(s, None, later(1)), "release gate", "no person had released it"),
        wrong("it was refuted", |s| s.gate.push(said(Some(Review::Refuted), later(0))), "release gate", "`refuted`"),
        wrong(
            "it was refuted behind an event of later",
            |s| s.gate.extend([said(Some(Review::Reviewed), later(5)), said(Some(Review::Refuted), later(0))]),
            "release gate",
            "`refuted`",
        ),
        wrong("the person was gone", |s| s.person.disabled = Some(ATTESTED), "release gate", "no certificate"),
        wrong(
            "the person is not shown",
            |s| s.person.user = UserDigest::from_bytes([4; 32]),
            "release gate",
            "key is not shown",
        ),
        wrong(
            "another signed for the person",
            |s| s.person.key = key(ORIGINATOR, 8).public().clone(),
            "release gate",
            "did not sign",
        ),
        wrong(
            "it left after its recall",
            |s| s.more = vec![recalled(s, ATTESTED)],
            "recalls",
            "left after it was recalled",
        ),
        wrong("a recall is forged", |s| s.more = vec![Item::Recall(SignatureBytes(vec![0]))], "recalls", ""),
        open("nobody answered", |s| s.more = vec![recalled(s, later(9))], "recalls", "has not answered its recall"),
        open("the answer is to come", |s| s.more = answered(s, AnswerState::Waiting), "recalls", "`waiting`"),
    ]);
    let mut sample = Sample::new();
    sample.more = answered(&sample, AnswerState::Complied);
    let report = pinned(&[WITNESS], &sample.bytes()).unwrap();
    assert!(report.is_good() && report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn whatever_is_changed_cut_or_added_is_refused() {
    let good = Sample::new().bytes();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(verified(&changed).is_err(), "byte {at}");
    }
    for at in (0..good.len()).step_by(11) {
        assert!(verified(&good[..at]).is_err(), "cut at {at}");
    }
    let refused = |bytes: &[u8]| verified(bytes).map(|_| ()).unwrap_err();
    assert_eq!(refused(&[good.as_slice(), &[0]].concat()), AuditFault::End);
    assert!(matches!(refused(b""), AuditFault::End), "{}", refused(b""));
    assert!(matches!(refused(b"number,kind\n"), AuditFault::Item { at: 0, .. }));
    // Items that another maker signed.
    let items = Sample::new().items();
    let two = [sealed(&items), sealed(&items)].concat();
    assert_eq!(refused(&two), AuditFault::End);
}

#[test]
fn items_stand_in_their_places() {
    let items = Sample::new().items();
    for at in 0..items.len() - 1 {
        let mut moved = items.clone();
        moved.swap(at, at + 1);
        let same = items[at].rank() == items[at + 1].rank();
        let result = verified(&sealed(&moved));
        // Cards rise; gate events of one kind may stand either way, and the judgement says so.
        assert!(
            same || matches!(result, Err(AuditFault::Order { .. } | AuditFault::Card(_) | AuditFault::End)),
            "{at}"
        );
    }
    let mut of = Sample::new();
    of.head.v = 2;
    assert_eq!(verified(&of.bytes()).unwrap_err(), AuditFault::Format(2));
    let mut to_come = Sample::new();
    to_come.head.time = UnixMillis(NOW.0 + limits::CLOCK_SKEW_MS_MAX + 1);
    assert_eq!(verified(&to_come.bytes()).unwrap_err(), AuditFault::Time);
    let bytes = Sample::new().bytes();
    let mut reader = Reader::new(bytes.as_slice()).unwrap();
    let mut count = 0;
    while reader.next_item().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, items.len() + 1);
}

/// A file that is larger than any export, of which nothing is read.
struct Endless;

impl Source for Endless {
    fn len(&self) -> u64 {
        limits::AUDIT_BYTES_MAX + 1
    }
    fn read_at(&mut self, _: u64, _: &mut [u8]) -> Result<(), Unreadable> {
        panic!("it is read")
    }
}

#[test]
fn counts_are_bounded_before_anything_is_built() {
    assert_eq!(super::verify(Endless, &Pins::default(), &[], NOW, &mut |_, _| ()).unwrap_err(), AuditFault::TooLarge);
    let mut long = vec![0xa1, 0x66];
    long.extend(b"events");
    long.extend([0x9a, 0xff, 0xff, 0xff, 0xff]);
    let fault = verified(&long).unwrap_err();
    assert!(
        matches!(
            fault,
            AuditFault::Item { at: 0, fault: CodecError::TooManyItems { .. } | CodecError::Truncated { .. } }
        ),
        "{fault:?}"
    );
    // Numbers at their ends are judged, and nothing counts beyond them.
    judged(&[
        wrong("a log without end", |s| s.log.size = u64::MAX, "intervals", "no log has as many"),
        wrong("an interval at the end of numbers", |s| s.leaves.first = u64::MAX, "intervals", "more intervals"),
        wrong("an event at the end of numbers", |s| s.leaves.busy[2].to = u64::MAX, "intervals", "end of the journal"),
        wrong("a leaf at the end of numbers", |s| s.leaves.busy[2].at = u64::MAX, "intervals", "it is not among"),
        wrong(
            "a journal at the end of numbers",
            |s| s.log.count = u64::MAX,
            "intervals",
            "after the end of the journal",
        ),
        wrong("a clause at the end of numbers", |s| s.released().clause = u16::MAX, "clauses", "no clause 65535"),
        wrong(
            "a batch at the end of numbers",
            |s| s.released().place = Some((u16::MAX, u32::MAX)),
            "batches",
            "not shown",
        ),
    ]);
}

#[test]
fn a_card_that_people_trust_decides() {
    let bytes = Sample::new().bytes();
    let card = |seed: u8| UnconfirmedCard::from_bytes(&testing::card(&payload(seed), seed)).unwrap();
    let mut pins = Pins::default();
    pins.push(card(ORIGINATOR));
    let report = super::verify(bytes.as_slice(), &pins, &[], NOW, &mut |_, _| ()).unwrap();
    let confirmed = |seed| report.parties.iter().find(|party| party.org == org(seed)).unwrap().confirmed;
    assert_ne!(confirmed(ORIGINATOR), Confirmed::ByNobody);
    assert_eq!(confirmed(RECEIVER), Confirmed::ByNobody);
    // An organisation that is not in it.
    pins.push(card(80));
    let fault = super::verify(bytes.as_slice(), &pins, &[], NOW, &mut |_, _| ()).unwrap_err();
    assert_eq!(fault, AuditFault::Stranger { org: org(80) });
    let says = fault.to_string();
    assert!(says.contains("in this audit") && !says.contains("package"), "{says}");
    // The card in it leaves out a key of the older one that was given.
    let mut older = payload(ORIGINATOR);
    older.number -= 1;
    older.keys.push(CardKey::new(Purpose::Witness, key(ORIGINATOR, 9).public().clone(), UnixMillis(1_000)));
    let mut pins = Pins::default();
    pins.push(UnconfirmedCard::from_bytes(&testing::card(&older, ORIGINATOR)).unwrap());
    let fault = super::verify(bytes.as_slice(), &pins, &[], NOW, &mut |_, _| ()).unwrap_err();
    assert!(matches!(fault, AuditFault::Pin { .. }) && !fault.to_string().contains("package"), "{fault}");
}
