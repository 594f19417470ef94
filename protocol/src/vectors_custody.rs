//! Golden vectors of custody: notes, checkpoints, what witnesses say, intervals, the journal, logged and unlogged runs.
//!
//! As [`crate::vectors`], whose rules hold here. Tests only.

use crate::{
    codec::{self, Bounds},
    custody::{
        checkpoint::UnverifiedCheckpoint,
        cosignature::Quorum,
        event::{EventKind, EventPart, PartOf},
        interval::{Interval, IntervalLeaf, Opening, seed},
        journal::Journal,
        note::{KeyName, Note, SignatureLine, SignatureType, Verifier},
        proof::{UnloggedRun, logged_run},
        proof_tests::{Kept, run},
        testing::{Model, begins, key, org, origin},
        witness::Watch,
    },
    feed::testing as feeds,
    id::{AgreementId, LoggedDigest, Nonce, StoreId},
    label,
    time::UnixMillis,
    vectors::{ACCEPTED, Vector, answer, answer_of, check, unhex},
};
use serde_json::{Value as Json, json};

const BOUNDS: Bounds = Bounds::bytes(1 << 16);

fn note(text: &str, who: &[(&str, u8)]) -> String {
    let line = |(name, seed): &(&str, u8)| SignatureLine::sign(text, KeyName::new(name).unwrap(), &key(*seed)).unwrap();
    Note::new(text.to_owned(), who.iter().map(line).collect()).unwrap().to_string()
}

#[test]
fn notes() {
    let good = note("first\n\nsecond\n", &[("a.example", 1)]);
    let changed = |from: &str, to: &str| json!(good.replacen(from, to, 1));
    let invalid = "does not verify";
    let vectors: Vec<Vector> = vec![
        ("note_valid", json!(good), ACCEPTED),
        ("note_with_an_unknown_key_first", json!(note("text\n", &[("b.example", 2), ("a.example", 1)])), ACCEPTED),
        ("note_signed_twice_by_one_key", json!(note("text\n", &[("a.example", 1), ("a.example", 1)])), "1 key"),
        (
            "note_of_unknown_keys",
            json!(note("text\n", &[("b.example", 2), ("a.example", 2)])),
            "no key that is expected",
        ),
        ("note_with_changed_text", changed("first", "First"), invalid),
        ("note_with_changed_name", changed("a.example", "c.example"), "no key that is expected"),
        ("note_without_empty_line", changed("\n\n\u{2014}", "\n\u{2014}"), "line 1"),
        ("note_without_last_line_feed", json!(good.trim_end()), "an empty line and at least one"),
        ("note_without_signature", json!("text\n\n"), "at least one line"),
        ("note_with_hyphen", changed("\u{2014}", "-"), "line 1"),
        ("note_with_two_spaces", changed("\u{2014} ", "\u{2014}  "), "line 1"),
        ("note_with_trailing_space", json!(format!("{} \n", good.trim_end())), "line 1"),
        ("note_with_carriage_return", changed("first\n", "first\r\n"), "control characters"),
        ("note_with_tab", changed("first", "fi\trst"), "control characters"),
        ("note_with_short_base64", json!("text\n\n\u{2014} a.example AAAAAQE\n"), "line 1"),
        ("note_with_unused_bits", json!("text\n\n\u{2014} a.example AAAAAQF=\n"), "line 1"),
        ("note_with_key_id_alone", json!("text\n\n\u{2014} a.example AAAAAA==\n"), "line 1"),
        (
            "note_with_too_many_signatures",
            json!(format!("text\n\n{}", "\u{2014} b.example AAAAAQE=\n".repeat(65))),
            "more than 64",
        ),
    ];
    let judge = |input: &Json| {
        let known = Verifier::new(KeyName::new("a.example").unwrap(), SignatureType::Ed25519, key(1).public()).unwrap();
        let read = Note::from_bytes(input.as_str().unwrap().as_bytes()).and_then(|note| note.verify(&[known]));
        answer_of(read, |found| format!("{} key", found.len()))
    };
    let about = "Notes (SPEC 8) as text. Known is `a.example`, Ed25519 with a seed of 32 bytes of 01, type 0x01.";
    check("note.json", include_str!("../../tests/vectors/note.json"), about, vectors, judge);
}

#[test]
fn checkpoints() {
    let text = Model::new(1, 9).at(9).text();
    let name = origin(1).to_string();
    let signed = |text: String| json!(note(&text, &[(&name, 1)]));
    let with = |from: &str, to: &str| {
        let text = text.replacen(from, to, 1);
        let name = text.lines().next().unwrap_or_default().to_owned();
        json!(note(&text, &[(&name, 1)]))
    };
    let (form, size) = ("three lines", "size that its log cannot have");
    let vectors: Vec<Vector> = vec![
        ("checkpoint_valid", signed(text.clone()), ACCEPTED),
        ("checkpoint_of_one_second_intervals", with("/600\n", "/1\n"), ACCEPTED),
        ("checkpoint_signed_by_another_key", json!(note(&text, &[(&name, 2)])), "no key that is expected"),
        ("checkpoint_signed_under_another_name", json!(note(&text, &[("a.example", 1)])), "no key that is expected"),
        ("checkpoint_of_another_organisation", with("/01", "/02"), "another organisation"),
        ("checkpoint_of_no_leaf", with("\n9\n", "\n0\n"), size),
        ("checkpoint_beyond_the_end_of_time", with("\n9\n", "\n549755813888\n"), size),
        ("checkpoint_size_with_leading_zero", with("\n9\n", "\n09\n"), form),
        ("checkpoint_size_signed", with("\n9\n", "\n+9\n"), form),
        ("checkpoint_with_extension_line", signed(format!("{text}more\n")), form),
        ("checkpoint_without_root", signed(text.lines().take(2).map(|line| format!("{line}\n")).collect()), form),
        ("checkpoint_with_short_root", with("=\n", "\n"), form),
        ("checkpoint_origin_of_another_version", with("entente/1", "entente/2"), "does not name a log"),
        ("checkpoint_origin_with_upper_case", with("/log/", "/Log/"), "does not name a log"),
        ("checkpoint_without_interval", with("/600\n", "\n"), "does not name a log"),
        ("checkpoint_with_interval_of_zero", with("/600\n", "/0\n"), "does not name a log"),
        ("checkpoint_with_interval_beyond_a_day", with("/600\n", "/86401\n"), "does not name a log"),
    ];
    let judge = |input: &Json| {
        let read = UnverifiedCheckpoint::from_bytes(input.as_str().unwrap().as_bytes());
        let verified = read.and_then(|checkpoint| checkpoint.verify(org(1), [key(1).public()]));
        answer_of(verified, |checkpoint| format!("digest {}, up to {}", checkpoint.digest(), checkpoint.time().0))
    };
    let about = "Checkpoints (SPEC 8) as notes. The organisation's id is 32 bytes of 01, its log key Ed25519 with a seed of \
                 32 bytes of 01. The answer has the checkpoint's digest and the time up to which it speaks, in milliseconds.";
    check("checkpoint.json", include_str!("../../tests/vectors/checkpoint.json"), about, vectors, judge);
}

#[test]
fn witnessed_checkpoints() {
    let log = Model::new(1, 9);
    let line = |n: u8, at: UnixMillis| {
        let accepted = Watch::Unseen.handle_offer(&log.offer(0, 9), UnixMillis(u64::MAX)).unwrap();
        accepted.cosign(org(n), at, &key(n + 100)).unwrap().line().clone()
    };
    let with = |lines: &[SignatureLine]| json!(String::from_utf8(log.at(9).to_bytes_with(lines).unwrap()).unwrap());
    let (first, second) = (begins(9).plus(1_000), begins(9).plus(2_000));
    let early = UnixMillis(begins(9).0 - 1_000);
    // The 15th character of a line's Base64 has bits of the time.
    let other_time = |json: Json| {
        let note = json.as_str().unwrap().to_owned();
        let at = note.rfind(' ').unwrap() + 1 + 14;
        let (before, rest) = note.split_at(at);
        let (old, after) = rest.split_at(1);
        json!(format!("{before}{}{after}", if old == "A" { "B" } else { "A" }))
    };
    let (few, cannot) = ("witnessed by 1 organisations where 2", "cannot have seen");
    let vectors: Vec<Vector> = vec![
        ("witnessed_by_two", with(&[line(2, first), line(3, second)]), "since 1780005402000"),
        ("witnessed_by_three", with(&[line(4, begins(9)), line(3, second), line(2, first)]), "since 1780005401000"),
        ("witnessed_by_one", with(&[line(2, first)]), few),
        ("witnessed_by_one_twice", with(&[line(2, first), line(2, second)]), few),
        ("witnessed_by_an_unknown_one", with(&[line(2, first), line(9, second)]), few),
        ("witnessed_by_its_own_organisation", with(&[line(2, first), line(1, second)]), few),
        ("witnessed_before_its_time", with(&[line(2, early), line(3, second)]), cannot),
        ("witnessed_in_time_to_come", with(&[line(2, begins(11)), line(3, second)]), cannot),
        ("witnessed_at_another_time", other_time(with(&[line(2, first), line(3, second)])), "does not verify"),
    ];
    let judge = |input: &Json| {
        let witness = |n: u8| (org(n), vec![key(n + 100).public().clone()]);
        let quorum = Quorum::new(org(1), &[witness(2), witness(3), witness(4)], 2).unwrap();
        let cosigned = UnverifiedCheckpoint::from_bytes(input.as_str().unwrap().as_bytes()).unwrap();
        let checkpoint = cosigned.verify(org(1), [key(1).public()]).unwrap();
        answer_of(quorum.verify(&checkpoint, &cosigned, begins(10)), |witnessed| {
            format!("by {}, since {}", witnessed.by().len(), witnessed.since().0)
        })
    };
    let about = "Cosigned checkpoints (SPEC 8), as notes, as of 1780006000000. Witnesses are the organisations whose ids are 32 \
                 bytes of 02, 03 and 04, with keys of seeds of 32 bytes of 66, 67 and 68 (hexadecimal); two are asked for. \
                 The answer has how many there are, and since when all under it existed.";
    check("witness.json", include_str!("../../tests/vectors/witness.json"), about, vectors, judge);
}

#[test]
fn intervals() {
    let digest = |n: u8| LoggedDigest::of(label::SIGN_RUN, &[n]);
    let events: Vec<LoggedDigest> = (1..=5).map(digest).collect();
    let head = Journal::start(StoreId::from_bytes([1; 16])).head();
    let made = Interval::new(&events, head, &seed(&[0x88; 32], 7)).unwrap();
    let input = |leaf: &[u8], asked: LoggedDigest, opening: &[u8]| json!({ "leaf": hex::encode(leaf), "digest": asked.to_string(), "opening": hex::encode(opening) });
    let open = |n: u8| codec::to_vec(&made.open(digest(n)), BOUNDS).unwrap();
    let with = |change: fn(&mut Opening)| {
        let mut opening = made.open(digest(1));
        change(&mut opening);
        input(made.leaf().bytes(), digest(1), &codec::to_vec(&opening, BOUNDS).unwrap())
    };
    let leaf = made.leaf().bytes();
    let idle = Interval::new(&[], head, &seed(&[0x88; 32], 8)).unwrap();
    let nothing = codec::to_vec(&idle.open(digest(1)), BOUNDS).unwrap();
    let longer = [leaf, &[0]].concat();
    let root = "does not give the interval's leaf";
    let vectors: Vec<Vector> = vec![
        ("interval_logged", input(leaf, digest(1), &open(1)), "Logged"),
        ("interval_unlogged", input(leaf, digest(9), &open(9)), "Unlogged"),
        ("interval_idle", input(idle.leaf().bytes(), digest(1), &nothing), "Unlogged"),
        ("interval_place_of_another", input(leaf, digest(2), &open(1)), "not of this place"),
        ("interval_of_another_leaf", input(idle.leaf().bytes(), digest(1), &open(1)), root),
        ("interval_missing_node", with(|o| o.nodes.truncate(30)), root),
        ("interval_surplus_node", with(|o| o.nodes.push(o.nodes[0])), root),
        ("interval_swapped_nodes", with(|o| o.nodes.swap(0, 1)), root),
        ("interval_leaf_with_trailing_byte", input(&longer, digest(1), &open(1)), "bytes follow"),
    ];
    let judge = |input: &Json| {
        let leaf = IntervalLeaf::from_bytes(&unhex(&input["leaf"])).map_err(|fault| fault.to_string());
        let opening: Opening = codec::from_slice(&unhex(&input["opening"]), BOUNDS).unwrap();
        let digest: LoggedDigest = input["digest"].as_str().unwrap().parse().unwrap();
        let opened = leaf.and_then(|leaf| opening.verify(&leaf, digest).map_err(|fault| fault.to_string()));
        answer_of(opened, |standing| format!("{standing:?}"))
    };
    let about = "Places of intervals (SPEC 8), opened: the interval's leaf, the digest that is asked for, the opening. The \
                 secret of the log is 32 bytes of 88, the leaf with events has index 7, the idle one 8; the journal is that \
                 of store 16 bytes of 01, without events. The answer says whether the digest is logged.";
    check("interval.json", include_str!("../../tests/vectors/interval.json"), about, vectors, judge);
}

#[test]
fn journals() {
    let store = StoreId::from_bytes([1; 16]);
    let part = |part_of, n: u8| EventPart {
        part_of,
        salt: Nonce::from_bytes([n; 16]),
        what: "run-signed".to_owned(),
        about: vec![("entries".to_owned(), n.to_string())],
    };
    let two = [PartOf::Own, PartOf::Agreement(AgreementId::from_bytes([7; 16]))];
    let two: Vec<EventPart> = two.into_iter().zip(1..).map(|(of, n)| part(of, n)).collect();
    let run = LoggedDigest::of(label::SIGN_RUN, b"run");
    let mut journal = Journal::start(store);
    let mut append = |kind, at, parts: &[EventPart], logged| {
        journal.append(kind, UnixMillis(at), parts, logged).unwrap().bytes().to_vec()
    };
    let events = [
        append(EventKind::Key, 10, &[part(PartOf::Node, 3)], None),
        append(EventKind::RunSent, 20, &two, Some(run)),
        append(EventKind::Clock, 5, &[], None),
    ];
    let of = |events: &[&Vec<u8>], opened: &[u8]| json!({ "events": events.iter().map(hex::encode).collect::<Vec<_>>(), "part": hex::encode(opened) });
    let [a, b, c] = &events;
    let opened = two[1].to_bytes().unwrap();
    let guessed = EventPart { salt: Nonce::from_bytes([9; 16]), ..two[1].clone() }.to_bytes().unwrap();
    let mut changed = b.clone();
    // a5 | 61 76 01 ("v": 1) | 62 61 74 14 ("at": 20) | ...
    changed[7] ^= 1;
    let follow = "does not follow";
    let vectors: Vec<Vector> = vec![
        ("journal_valid", of(&[a, b, c], &opened), ACCEPTED),
        ("journal_without_an_event", of(&[a, c], &opened), follow),
        ("journal_in_another_order", of(&[b, a, c], &opened), follow),
        ("journal_with_an_event_twice", of(&[a, b, b], &opened), follow),
        ("journal_with_a_changed_time", of(&[a, &changed, c], &opened), "event 2"),
        ("journal_part_of_another_salt", of(&[a, b, c], &guessed), "no part"),
    ];
    let judge = |input: &Json| {
        let mut journal = Journal::start(StoreId::from_bytes([1; 16]));
        let mut place = None;
        for bytes in input["events"].as_array().unwrap() {
            match journal.handle_event(&unhex(bytes)) {
                Ok(event) => place = place.or(event.open(&unhex(&input["part"]))),
                Err(fault) => return fault.to_string(),
            }
        }
        let found = place.map(|(place, _)| place).ok_or("no part of any event");
        answer_of(found, |place| format!("digest {}, part {place}", journal.head().digest))
    };
    let about = "Journals (SPEC 8) of the store whose id is 16 bytes of 01: events in order, and the opening of one part. The \
                 answer has the digest after the last event and the place of the part.";
    check("journal.json", include_str!("../../tests/vectors/journal.json"), about, vectors, judge);
}

#[test]
fn logged_and_unlogged_runs() {
    let at = begins(5).plus(1);
    let evidence = |signed_at: UnixMillis, kept: &Kept| {
        let signed = run(signed_at);
        let proof = kept.prove(logged_run(&signed).unwrap(), 9);
        let made = UnloggedRun::new(signed, feeds::feed_key(1, 2, 7), proof, &kept.model.at(9)).unwrap();
        json!(hex::encode(made.to_bytes().unwrap()))
    };
    let out = Kept::new(9, 5, &[LoggedDigest::from_bytes([9; 32])]);
    let logged = Kept::new(9, 5, &[logged_run(&run(at)).unwrap()]);
    let flipped = |json: Json, from_end: usize| {
        let mut bytes = unhex(&json);
        let place = bytes.len() - from_end;
        bytes[place] ^= 1;
        json!(hex::encode(bytes))
    };
    let vectors: Vec<Vector> = vec![
        ("unlogged_run", evidence(at, &out), ACCEPTED),
        ("unlogged_run_that_is_logged", evidence(at, &logged), "is in the log"),
        ("unlogged_run_of_another_interval", evidence(begins(6), &out), "leaf 5 where 6"),
        ("unlogged_run_before_its_log", evidence(UnixMillis(5), &out), "before its log"),
        ("unlogged_run_under_a_changed_checkpoint", flipped(evidence(at, &out), 2), "line 1"),
    ];
    let judge = |input: &Json| {
        let log = [key(1).public().clone()];
        let read = UnloggedRun::from_bytes(&unhex(input)).unwrap();
        answer(read.verify(feeds::runs_key(org(1)), &log))
    };
    let about = "Evidence that a run was kept out of its sender's log (SPEC 8), as hexadecimal CBOR. The sender's id is 32 bytes \
                 of 01; its runs key and its log key are one here, Ed25519 with a seed of 32 bytes of 01.";
    check("custody.json", include_str!("../../tests/vectors/custody.json"), about, vectors, judge);
}
