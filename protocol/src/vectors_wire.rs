//! Golden vectors of what travels: feeds, runs, proofs, frames, messages, standings, successions. See the head of
//! `vectors.rs`. Tests only.

use crate::{
    agreement::{Standing, StandingNotice},
    codec::{
        self, Bounds,
        frame::{self, FrameReader},
    },
    cose::{self, SignatureBytes},
    feed::{
        Cursor, Entry, EntryProof, FeedKey, Held, REFUSED, Receipt, ReceivedRun, Run, RunEntry, RunMessage, WITHDRAWN,
        digest,
        testing::{Sender, VERSION, feed_key, key, org, record, records_key, runs_key},
    },
    id::{AgreementId, FeedDigest, Hash, Nonce, RecallId, RecordId},
    identity::{CardPayload, samples, succession_step},
    label, limits,
    recall::{Act, Answer, AnswerState, Answers, Erasure, Recall},
    session::{
        AgreementLine, CloseCode, Heads, Hello, Lane, Message, Notice, ReceivedHead, SentHead,
        fetch::{Reply, Request},
    },
    time::UnixMillis,
    vectors::{ACCEPTED, answer, answer_of, card_answer, check, unhex},
};
use serde_json::{Value as Json, json};

const RUN: Bounds = Bounds { bytes_max: limits::FRAME_BYTES_MAX, items_max: limits::RUN_ITEMS_MAX };

#[test]
fn successions() {
    let (first, second, third) = (samples::key(1), samples::key(10), samples::key(19));
    let signed = |change: &dyn Fn(&mut CardPayload)| {
        let mut payload = samples::payload(10);
        payload.org = samples::payload(1).org;
        payload.succession = vec![succession_step(&first, second.public()).unwrap()];
        change(&mut payload);
        let bytes = codec::to_vec(&payload, Bounds::bytes(limits::CARD_BYTES_MAX)).unwrap();
        json!(hex::encode(SignatureBytes(cose::sign(label::SIGN_CARD, &second, &bytes)).to_bytes().unwrap()))
    };
    let other_context = || {
        let step = succession_step(&first, second.public()).unwrap();
        let payload = step.parse().unwrap().danger_unverified_payload().to_vec();
        SignatureBytes(cose::sign(label::SIGN_CARD, &first, &payload))
    };
    let gap = |p: &mut CardPayload| p.succession.push(succession_step(&third, second.public()).unwrap());
    let elsewhere = |p: &mut CardPayload| p.succession = vec![succession_step(&first, third.public()).unwrap()];
    let foreign = |p: &mut CardPayload| p.succession = vec![succession_step(&third, second.public()).unwrap()];
    let vectors = vec![
        ("succession_valid", signed(&|_| ()), ACCEPTED),
        ("succession_missing", signed(&|p| p.succession.clear()), "claims an organisation"),
        ("succession_from_another_root", signed(&foreign), "claims an organisation"),
        ("succession_to_another_key", signed(&elsewhere), "does not lead"),
        ("succession_with_a_gap", signed(&gap), "does not lead"),
        ("succession_in_another_context", signed(&|p| p.succession = vec![other_context()]), "does not verify"),
    ];
    let judge = |input: &Json| card_answer(&unhex(input));
    let about = "Cards under a second root (SPEC 9) as hexadecimal CBOR. The first root is Ed25519 with a seed of 32 \
                 bytes of 01, the second of 0a.";
    check("succession.json", include_str!("../../tests/vectors/succession.json"), about, vectors, judge);
}

#[test]
fn standings() {
    let notice = StandingNotice {
        time: UnixMillis(5),
        party: org(2),
        counter: 3,
        standing: Standing::Suspended,
        agreement: AgreementId::from_bytes([9; 16]),
    };
    let payload = codec::to_vec(&notice, Bounds::bytes(1 << 10)).unwrap();
    let with = |context, seed: u8, payload: &[u8]| {
        json!(hex::encode(SignatureBytes(cose::sign(context, &key(seed), payload)).to_bytes().unwrap()))
    };
    let unknown = {
        let at = payload.windows(9).position(|w| w == b"suspended").unwrap();
        [&payload[..at], b"suspendet", &payload[at + 9..]].concat()
    };
    let state = label::SIGN_AGREEMENT_STATE;
    let vectors = vec![
        ("standing_valid", with(state, 2, &payload), ACCEPTED),
        ("standing_signed_by_another_key", with(state, 3, &payload), "another key"),
        ("standing_in_another_context", with(label::SIGN_AGREEMENT, 2, &payload), "does not verify"),
        (
            "standing_of_another_party",
            {
                let other = StandingNotice { party: org(3), ..notice.clone() };
                with(state, 2, &codec::to_vec(&other, Bounds::bytes(1 << 10)).unwrap())
            },
            "another key",
        ),
        ("standing_unknown", with(state, 2, &unknown), "canonical, but"),
        ("standing_not_in_an_array", json!(hex::encode(cose::sign(state, &key(2), &payload))), "canonical, but"),
    ];
    let judge = |input: &Json| {
        let Ok(signed) = SignatureBytes::from_bytes(&unhex(input), 4_096) else {
            return "canonical, but of another form".to_owned();
        };
        answer(StandingNotice::verify(&signed, org(2), runs_key(org(2))))
    };
    let about = "Standing notices (SPEC 10) as hexadecimal CBOR, said to be of the party with id 32 bytes of 02, whose \
                 agreements key is Ed25519 with a seed of 32 bytes of 02.";
    check("standing.json", include_str!("../../tests/vectors/standing.json"), about, vectors, judge);
}

#[test]
fn recalls() {
    let recall = Recall::new(Act::Erase, org(2), RecordId::from_bytes([7; 32]), UnixMillis(5));
    let payload = codec::to_vec(&recall, Bounds::bytes(1 << 10)).unwrap();
    let hex = |signed: &SignatureBytes| json!(hex::encode(signed.to_bytes().unwrap()));
    let with = |context, seed: u8, payload: &[u8]| hex(&SignatureBytes(cose::sign(context, &key(seed), payload)));
    let changed = |from: &[u8], to: &[u8]| {
        let at = payload.windows(from.len()).position(|w| w == from).unwrap();
        [&payload[..at], to, &payload[at + from.len()..]].concat()
    };
    let answers = label::SIGN_RECALL_ANSWER;
    let answer = |state, n| Answer { state, recall: RecallId::from_bytes([n; 32]) };
    let said = |answers| Answers { v: 1, time: UnixMillis(6), holder: org(2), answers };
    let bytes = |answers: &Answers| codec::to_vec(answers, Bounds::bytes(1 << 10)).unwrap();
    let good = said(vec![answer(AnswerState::Complied, 1), answer(AnswerState::LegalHold, 2)]);
    let erased = Erasure {
        v: 1,
        time: UnixMillis(7),
        copies: vec!["the recovery copy".to_owned()],
        holder: org(2),
        agreement: AgreementId::from_bytes([9; 16]),
    };
    let vectors = vec![
        ("recall_valid", with(label::SIGN_RECALL, 102, &payload), "accepted: recall"),
        ("recall_signed_by_another_key", with(label::SIGN_RECALL, 3, &payload), "another key"),
        ("recall_in_another_context", with(label::SIGN_BATCH, 102, &payload), "does not verify"),
        ("recall_of_another_format", with(label::SIGN_RECALL, 102, &changed(b"av\x01", b"av\x02")), "canonical, but"),
        ("recall_of_an_unknown_act", with(label::SIGN_RECALL, 102, &changed(b"erase", b"arase")), "canonical, but"),
        ("answers_valid", with(answers, 2, &bytes(&good)), "accepted: 2 answers"),
        ("answers_none", with(answers, 2, &bytes(&said(Vec::new()))), "canonical, but"),
        (
            "answers_out_of_order",
            with(answers, 2, &bytes(&said(good.answers.iter().rev().copied().collect()))),
            "canonical, but",
        ),
        ("answers_of_another_holder", with(answers, 2, &bytes(&Answers { holder: org(3), ..good })), "another key"),
        ("erasure_valid", hex(&erased.sign(&key(2)).unwrap()), "accepted: erasure"),
    ];
    let judge = |input: &Json| {
        let Ok(signed) = SignatureBytes::from_bytes(&unhex(input), 4_096) else {
            return "canonical, but of another form".to_owned();
        };
        let by = |context| signed.parse().is_ok_and(|s| s.verify(context, &key(2).public().clone()).is_ok());
        if by(label::SIGN_RECALL_ANSWER) {
            return answer_of(Answers::verify(&signed, org(2), |kid, _| runs_key(org(2))(kid)), |a| {
                format!("{} answers", a.answers.len())
            });
        }
        if by(label::SIGN_ERASURE) {
            return answer_of(Erasure::verify(&signed, org(2), |kid, _| runs_key(org(2))(kid)), |_| {
                "erasure".to_owned()
            });
        }
        answer_of(Recall::verify(&signed, |org, kid, _| records_key(org, kid)), |(id, recall)| {
            format!("recall {id} to {}", recall.act.name())
        })
    };
    let about = "Recalls, answers and receipts of erasure (SPEC 11) as hexadecimal CBOR, of the organisation with id 32 bytes \
                 of 02, whose runs key is Ed25519 with a seed of 32 bytes of 02, and its records key of 66.";
    check("recall.json", include_str!("../../tests/vectors/recall.json"), about, vectors, judge);
}

fn feed_json(feed: &FeedKey) -> Json {
    json!({
        "epoch": feed.epoch, "store": feed.store.to_string(), "sender": feed.sender.to_string(),
        "receiver": feed.receiver.to_string(), "agreement": feed.agreement.to_string(),
    })
}

fn feed_from(json: &Json) -> FeedKey {
    let text = |name: &str| json[name].as_str().unwrap();
    FeedKey {
        epoch: u32::try_from(json["epoch"].as_u64().unwrap()).unwrap(),
        store: text("store").parse().unwrap(),
        sender: text("sender").parse().unwrap(),
        receiver: text("receiver").parse().unwrap(),
        agreement: text("agreement").parse().unwrap(),
    }
}

/// Three releases, a withdrawal and a supplement.
fn sender() -> Sender {
    let mut sender = Sender::new(feed_key(1, 2, 9), 4);
    sender.release(0, &[8]);
    sender.release(1, &[8, 10, 12]);
    sender.release(2, &[]);
    sender.withdraw(0);
    sender.release(1, &[8]);
    sender
}

#[test]
fn feeds() {
    let sender = sender();
    let with = |feed: &FeedKey, count: usize| {
        let entries: Vec<String> = sender.entries[..count].iter().map(|e| hex::encode(&e.bytes)).collect();
        json!({ "feed": feed_json(feed), "entries": entries })
    };
    let salt = Nonce::from_bytes([1; 16]);
    let record = record(org(1), 1).id();
    let one =
        |entry: Entry| json!({ "feed": feed_json(&sender.key), "entries": [hex::encode(entry.to_bytes().unwrap())] });
    let vectors = vec![
        ("feed_empty", with(&sender.key, 0), "accepted"),
        ("feed_of_five_entries", with(&sender.key, 5), "accepted"),
        ("feed_of_a_later_epoch", with(&FeedKey { epoch: 1, ..sender.key }, 5), "accepted"),
        ("entry_refusal", one(Entry::Refusal { code: REFUSED, salt, number: 7 }), "accepted"),
        ("entry_withdrawal_with_another_code", one(Entry::Withdrawal { code: 2, salt, record }), "canonical, but"),
        ("entry_refusal_with_another_code", one(Entry::Refusal { code: 5, salt, number: 7 }), "canonical, but"),
        ("entry_unknown", json!({ "feed": feed_json(&sender.key), "entries": ["a16474657374a0"] }), "canonical, but"),
    ];
    let judge = |input: &Json| {
        let id = feed_from(&input["feed"]).id();
        let mut at = digest::start(id);
        for entry in input["entries"].as_array().unwrap() {
            let bytes = unhex(entry);
            if let Err(fault) = Entry::from_bytes(&bytes) {
                return fault.to_string();
            }
            at = digest::step(at, Entry::hash_of(&bytes));
        }
        format!("accepted: feed id {id}, d(0) {}, last digest {at}", digest::start(id))
    };
    let about = "Feed ids, entries and running digests (SPEC 11). Entries are hexadecimal CBOR.";
    check("feed.json", include_str!("../../tests/vectors/feed.json"), about, vectors, judge);
}

fn run_json(message: &RunMessage, feed: &FeedKey, held: Cursor, prior: Option<Cursor>) -> Json {
    let cursor = |c: Cursor| json!({ "length": c.length, "digest": c.digest.to_string() });
    let message = hex::encode(codec::to_vec(message, RUN).unwrap());
    json!({ "feed": feed_json(feed), "held": cursor(held), "prior": prior.map(cursor), "message": message })
}

fn judge_run(input: &Json) -> String {
    let cursor = |json: &Json| Cursor {
        length: json["length"].as_u64().unwrap(),
        digest: json["digest"].as_str().unwrap().parse().unwrap(),
    };
    let feed = feed_from(&input["feed"]);
    let prior = (!input["prior"].is_null()).then(|| cursor(&input["prior"]));
    let held = Held { feed: cursor(&input["held"]), prior };
    let verified = codec::from_slice::<RunMessage>(&unhex(&input["message"]), RUN)
        .map_err(|fault| fault.to_string())
        .and_then(|m| m.verify(&feed, held, runs_key(org(1)), records_key).map_err(|fault| fault.to_string()));
    match verified {
        Ok(ReceivedRun::Next(run)) => format!("accepted: length {}", run.run().end().length),
        Ok(ReceivedRun::Held(_)) => "held already".to_owned(),
        Ok(ReceivedRun::Fork(_)) => "fork".to_owned(),
        Err(fault) => fault,
    }
}

/// A run of one entry without a body, signed as the sender would.
fn bare(feed: &FeedKey, entry: Entry, prior: Option<Cursor>) -> RunMessage {
    let bytes = entry.to_bytes().unwrap();
    let (start, hashes) = (Cursor::start(feed.id()), [Entry::hash_of(&bytes)]);
    let run = Run::over(feed.id(), start, &hashes, VERSION, UnixMillis(7), prior).unwrap();
    let run = run.sign(&key(1)).unwrap();
    RunMessage { run, onward: None, carried: vec![], entries: vec![RunEntry::Open(bytes)], attestations: vec![] }
}

#[test]
fn runs() {
    let sender = sender();
    let feed = sender.key;
    let at = |length| sender.cursor(length);
    let plain = |range: std::ops::Range<usize>, held: Cursor| run_json(&sender.run(range), &feed, held, None);
    let changed = |change: &dyn Fn(&mut RunMessage)| {
        let mut message = sender.run(0..5);
        change(&mut message);
        run_json(&message, &feed, at(0), None)
    };
    let resign = |m: &mut RunMessage, context, seed: u8| {
        let payload = m.run.parse().unwrap().danger_unverified_payload().to_vec();
        m.run = SignatureBytes(cose::sign(context, &key(seed), &payload));
    };
    let other = Cursor { length: 2, digest: FeedDigest::from_bytes([0; 32]) };
    let (salt, subject) = (Nonce::from_bytes([4; 16]), record(org(1), 1).id());
    let withdrawal = |code| Entry::Withdrawal { code, salt, record: subject };
    let later = FeedKey { epoch: 1, ..feed };
    let start = Cursor::start(later.id());
    let epoch = |named, held| run_json(&bare(&later, withdrawal(WITHDRAWN), named), &later, start, Some(held));
    let mut closed = self::sender();
    closed.entries[0].closed = true;
    let vectors = vec![
        ("run_valid", plain(0..5, at(0)), "accepted: length 5"),
        ("run_that_goes_on", plain(2..4, at(2)), "accepted: length 4"),
        ("run_with_an_entry_as_its_hash", run_json(&closed.run(0..5), &feed, at(0), None), "accepted"),
        ("run_held_already", plain(0..2, at(4)), "held already"),
        ("run_fork", plain(2..4, other), "fork"),
        ("run_gap", plain(2..4, at(1)), "begins at 2"),
        ("run_overlap", plain(0..4, at(2)), "begins at 0"),
        ("run_of_another_feed", run_json(&sender.run(0..5), &feed_key(1, 2, 8), at(0), None), "another feed"),
        ("run_signed_by_another_key", changed(&|m| resign(m, label::SIGN_RUN, 2)), "another key"),
        ("run_in_another_context", changed(&|m| resign(m, label::SIGN_RECEIPT, 1)), "does not verify"),
        ("run_entries_swapped", changed(&|m| m.entries.swap(0, 1)), "not those that were signed"),
        ("run_entry_missing", changed(&|m| drop(m.entries.pop())), "not those that were signed"),
        ("run_body_missing", changed(&|m| drop(m.carried.remove(1))), "do not fit together"),
        ("run_body_twice", changed(&|m| m.carried.insert(0, m.carried[0].clone())), "do not fit together"),
        (
            "run_body_beside_a_withdrawal",
            {
                let surplus = crate::feed::Carried(3, 0, 0, vec![]);
                changed(&|m| m.carried.insert(3, surplus.clone()))
            },
            "do not fit together",
        ),
        ("run_body_of_another_entry", changed(&|m| m.carried[1].3 = m.carried[0].3.clone()), "not the one"),
        ("run_other_position_in_the_batch", changed(&|m| m.carried[1].2 ^= 1), "attestation 0 is refused"),
        ("run_attestation_missing", changed(&|m| m.attestations.clear()), "do not fit together"),
        ("run_attestation_twice", changed(&|m| m.attestations.push(m.attestations[0].clone())), "not needed"),
        (
            "run_withdrawal_with_another_code",
            run_json(&bare(&feed, withdrawal(2), None), &feed, at(0), None),
            "malformed",
        ),
        ("run_first_of_an_epoch", epoch(Some(at(5)), at(5)), "accepted: length 1"),
        ("run_first_of_an_epoch_naming_less", epoch(Some(at(3)), at(5)), "fork"),
        ("run_first_of_an_epoch_naming_more", epoch(Some(at(5)), at(3)), "fork"),
        ("run_first_of_an_epoch_naming_nothing", epoch(None, at(5)), "opens a later epoch"),
        (
            "run_of_epoch_0_that_names_an_epoch_before",
            run_json(&bare(&feed, withdrawal(WITHDRAWN), Some(at(5))), &feed, at(0), None),
            "opens a later epoch",
        ),
    ];
    let about = "Run messages (SPEC 11) as hexadecimal CBOR, with the feed that was agreed, what the receiver holds of \
                 it, and of the epoch before (prior). The sender's id is 32 bytes of 01; its runs key is Ed25519 with a \
                 seed of 32 bytes of 01, its records key of 65.";
    check("run.json", include_str!("../../tests/vectors/run.json"), about, vectors, judge_run);
}

#[test]
fn proofs() {
    let sender = sender();
    let message = sender.run(0..5);
    let run = Run::danger_unverified(&message.run).unwrap();
    let hashes = sender.hashes(0..5);
    let receipt = Receipt::of(&run, UnixMillis(9)).sign(&key(2)).unwrap();
    let proof = EntryProof {
        run: message.run.clone(),
        entry: hashes[2],
        index: 2,
        nodes: run.prove(&hashes, 2),
        receipt: Some(receipt),
    };
    let with = |change: &dyn Fn(&mut EntryProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        json!({ "feed": feed_json(&sender.key), "proof": hex::encode(changed.to_bytes().unwrap()) })
    };
    let earlier =
        Receipt::of(&Run::danger_unverified(&sender.run(0..3).run).unwrap(), UnixMillis(9)).sign(&key(2)).unwrap();
    let forged = Receipt::of(&run, UnixMillis(9)).sign(&key(1)).unwrap();
    let other_context = || {
        let payload = proof.receipt.as_ref().unwrap().parse().unwrap().danger_unverified_payload().to_vec();
        SignatureBytes(cose::sign(label::SIGN_RUN, &key(2), &payload))
    };
    let entries = "not those that were signed";
    let vectors = vec![
        ("proof_valid", with(&|_| ()), "accepted: sent and received"),
        ("proof_without_receipt", with(&|p| p.receipt = None), "accepted: sent"),
        ("proof_other_index", with(&|p| p.index = 3), entries),
        ("proof_index_outside_the_run", with(&|p| p.index = 5), entries),
        ("proof_other_entry", with(&|p| p.entry = hashes[1]), entries),
        ("proof_missing_node", with(&|p| p.nodes.truncate(p.nodes.len() - 1)), entries),
        ("proof_surplus_node", with(&|p| p.nodes.push(p.nodes[0])), entries),
        ("receipt_of_another_run", with(&|p| p.receipt = Some(earlier.clone())), entries),
        ("receipt_signed_by_the_sender", with(&|p| p.receipt = Some(forged.clone())), "another key"),
        ("receipt_in_another_context", with(&|p| p.receipt = Some(other_context())), "does not verify"),
    ];
    let judge = |input: &Json| {
        let verified =
            EntryProof::from_bytes(&unhex(&input["proof"])).map_err(|fault| fault.to_string()).and_then(|p| {
                p.verify(&feed_from(&input["feed"]), runs_key(org(1)), runs_key(org(2))).map_err(|f| f.to_string())
            });
        match verified {
            Ok((_, Some(_))) => "accepted: sent and received".to_owned(),
            Ok((_, None)) => "accepted: sent".to_owned(),
            Err(fault) => fault,
        }
    };
    let about = "Proofs of one entry, with receipts (SPEC 11), as hexadecimal CBOR. The runs keys of sender and receiver \
                 are Ed25519 with seeds of 32 bytes of 01 and of 02.";
    check("proof.json", include_str!("../../tests/vectors/proof.json"), about, vectors, judge);
}

#[test]
fn frames() {
    const MAX: usize = 64;
    let good = |len: usize| json!(hex::encode(frame::encode(&vec![0xab; len], MAX).unwrap()));
    let raw = |padded: u32, content: u32, rest: &[u8]| {
        json!(hex::encode([&padded.to_be_bytes(), &content.to_be_bytes(), rest].concat()))
    };
    let vectors = vec![
        ("frame_of_nothing", good(0), "accepted: 0 bytes"),
        ("frame_of_one_byte", good(1), "accepted: 1 bytes"),
        ("frame_without_padding", good(8), "accepted: 8 bytes"),
        ("frame_with_padding", good(9), "accepted: 9 bytes"),
        ("frame_longest", good(64), "accepted: 64 bytes"),
        ("frame_too_long", raw(72, 65, &[0; 72]), "where at most 64"),
        ("frame_padded_too_far", raw(12, 9, &[0; 12]), "not padded as agreed"),
        ("frame_not_padded", raw(9, 9, &[0; 9]), "not padded as agreed"),
        ("frame_content_longer_than_padded", raw(8, 10, &[0; 10]), "not padded as agreed"),
        ("frame_padding_not_zero", raw(10, 9, &[1; 10]), "not padded as agreed"),
        ("frame_not_complete", raw(10, 9, &[0; 9]), "more is to come"),
    ];
    let judge = |input: &Json| {
        let bytes = unhex(input);
        match FrameReader::new(MAX).take(&mut bytes.as_slice()) {
            Ok(Some(content)) => format!("accepted: {} bytes", content.len()),
            Ok(None) => "more is to come".to_owned(),
            Err(fault) => fault.to_string(),
        }
    };
    let about = "Frames (SPEC 11) as hexadecimal, on a lane that takes 64 bytes.";
    check("frame.json", include_str!("../../tests/vectors/frame.json"), about, vectors, judge);
}

#[test]
fn messages() {
    let sender = sender();
    let message = sender.run(0..5);
    let run = Run::danger_unverified(&message.run).unwrap();
    let receipt = Receipt::of(&run, UnixMillis(9)).sign(&key(2)).unwrap();
    let hello = |versions: Vec<u16>| {
        let (nonce, store) = (Nonce::from_bytes([3; 16]), sender.key.store);
        Message::Hello(Hello { org: org(1), time: UnixMillis(7), nonce, store, versions })
    };
    let line = |n: u8| AgreementLine { id: AgreementId::from_bytes([n; 16]), version: VERSION, standings: vec![] };
    let heads = Heads {
        sent: vec![SentHead {
            run: Some(message.run.clone()),
            feed: sender.key,
            head: sender.cursor(5),
            acknowledged: 5,
        }],
        received: vec![ReceivedHead {
            feed: feed_key(2, 1, 9),
            head: Cursor::start(feed_key(2, 1, 9).id()),
            receipt: None,
        }],
    };
    let standing = StandingNotice {
        time: UnixMillis(8),
        party: org(1),
        counter: 1,
        standing: Standing::Suspended,
        agreement: AgreementId::from_bytes([9; 16]),
    };
    let standing = standing.sign(&key(1)).unwrap();
    let on = |lane: &str, bytes: Vec<u8>| json!({ "lane": lane, "message": hex::encode(bytes) });
    let control = |message: &Message| on("control", message.to_bytes().unwrap());
    let notice = Message::Notice(Notice { kind: 9, content: vec![1] });
    let run_bytes = Message::Run(Box::new(message.clone())).to_bytes().unwrap();
    let receipt_alone = {
        let alone = codec::to_vec(&serde_bytes::Bytes::new(&receipt.0), RUN).unwrap();
        [b"\xa1\x67receipt".as_slice(), &alone].concat()
    };
    let vectors = vec![
        ("message_hello", control(&hello(vec![1])), "accepted: hello"),
        ("message_agreements", control(&Message::Agreements(vec![line(1), line(2)])), "accepted: agreements"),
        ("message_heads", control(&Message::Heads(heads)), "accepted: heads"),
        ("message_run", on("records", run_bytes.clone()), "accepted: run"),
        ("message_receipt", control(&Message::Receipt(receipt)), "accepted: receipt"),
        ("message_proposal", control(&Message::Proposal(vec![0xa0])), "accepted: proposal"),
        ("message_standing", control(&Message::Standing(standing)), "accepted: standing"),
        ("message_card", control(&Message::Card(vec![0x80])), "accepted: card"),
        ("message_notice", control(&notice), "accepted: notice"),
        ("message_close", control(&Message::Close(CloseCode::DONE)), "accepted: close"),
        ("message_run_on_the_control_lane", on("control", run_bytes), "other lane"),
        ("message_close_on_the_records_lane", on("records", b"\xa1\x65close\x00".to_vec()), "other lane"),
        ("message_unknown", on("control", b"\xa1\x65hallo\x00".to_vec()), "canonical, but"),
        ("message_two_at_once", on("control", b"\xa2\x64card\x40\x65close\x00".to_vec()), "canonical, but"),
        ("message_key_not_text", on("control", b"\xa1\x00\x01".to_vec()), "not text"),
        ("message_standing_not_in_an_array", on("control", b"\xa1\x68standing\x40".to_vec()), "canonical, but"),
        ("message_receipt_not_in_an_array", on("control", receipt_alone), "canonical, but"),
        ("message_agreements_out_of_order", control(&Message::Agreements(vec![line(2), line(1)])), "canonical, but"),
        ("message_too_many_versions", control(&hello((1..10).collect())), "more than 8"),
        ("message_trailing_byte", on("control", b"\xa1\x65close\x00\x00".to_vec()), "bytes follow"),
    ];
    let judge = |input: &Json| {
        let lane = if input["lane"] == "records" { Lane::Records } else { Lane::Control };
        match Message::from_bytes(lane, &unhex(&input["message"])) {
            Ok(message) => format!("accepted: {}", message.name()),
            Err(fault) => fault.to_string(),
        }
    };
    let about = "Messages (SPEC 11) as hexadecimal CBOR, on their lane: their form, not whether they fit a session.";
    check("message.json", include_str!("../../tests/vectors/message.json"), about, vectors, judge);
}

#[test]
fn fetches() {
    let feed = sender().key.id();
    let request = Request { feed, slot: 11, entry: 70_000, from_chunk: 3 };
    let ask = |request: Request| json!({ "frame": "request", "content": hex::encode(request.to_bytes().unwrap()) });
    let (leaf, chunk) = (Hash::from_bytes([2; 32]), u64::from(limits::CHUNK_BYTES));
    let reply = |reply: Reply| json!({ "frame": "reply", "content": hex::encode(reply.to_bytes().unwrap()) });
    let header = |size, count| reply(Reply::Header { size, chunks: vec![leaf; count] });
    let raw = |frame: &str, content: &[u8]| json!({ "frame": frame, "content": hex::encode(content) });
    let asked = request.to_bytes().unwrap();
    let (last, chunks) = (limits::CHUNKS_MAX, u32::try_from(limits::CHUNKS_MAX).unwrap());
    let vectors = vec![
        ("fetch_request_from_the_first_chunk", ask(Request { from_chunk: 0, ..request }), ACCEPTED),
        ("fetch_request_that_goes_on", ask(request), ACCEPTED),
        ("fetch_request_after_the_last_chunk", ask(Request { from_chunk: chunks, ..request }), ACCEPTED),
        ("fetch_request_beyond_any_file", ask(Request { from_chunk: chunks + 1, ..request }), "canonical, but"),
        ("fetch_request_for_no_slot", ask(Request { slot: 64, ..request }), "canonical, but"),
        (
            "fetch_request_by_digest",
            raw("request", &[b"\xa1\x66sha256\x58\x20".as_slice(), &[7; 32]].concat()),
            "canonical, but",
        ),
        ("fetch_request_trailing_byte", raw("request", &[asked.as_slice(), &[0]].concat()), "bytes follow"),
        ("fetch_reply_of_an_empty_file", header(0, 1), ACCEPTED),
        ("fetch_reply_of_one_chunk", header(chunk, 1), ACCEPTED),
        ("fetch_reply_of_two_chunks", header(chunk + 1, 2), ACCEPTED),
        ("fetch_reply_refused", reply(Reply::Refused { code: 1 }), "accepted: refused, code 1"),
        ("fetch_reply_come_again_later", reply(Reply::Refused { code: 2 }), "accepted: refused, code 2"),
        ("fetch_reply_without_chunks", header(0, 0), "canonical, but"),
        ("fetch_reply_with_a_chunk_too_many", header(chunk, 2), "canonical, but"),
        ("fetch_reply_with_a_chunk_missing", header(chunk + 1, 1), "canonical, but"),
        ("fetch_reply_larger_than_any_file", header(limits::ATTACHMENT_BYTES_MAX + 1, last + 1), "canonical, but"),
        ("fetch_reply_two_at_once", raw("reply", b"\xa2\x66header\xa0\x67refused\xa0"), "canonical, but"),
    ];
    let judge = |input: &Json| {
        let content = unhex(&input["content"]);
        if input["frame"] == "request" {
            return answer_of(Request::from_bytes(&content), |r| {
                format!("feed {}, entry {}, slot {}, from chunk {}", r.feed, r.entry, r.slot, r.from_chunk)
            });
        }
        answer_of(Reply::from_bytes(&content), |r| match r {
            Reply::Header { size, chunks } => format!("{size} bytes in {} chunks", chunks.len()),
            Reply::Refused { code } => format!("refused, code {code}"),
        })
    };
    let about = "The request and the first frame of the answer on a fetching stream (SPEC 11) as hexadecimal CBOR: their \
                 form, not whether the leaves give the root of a record.";
    check("fetch.json", include_str!("../../tests/vectors/fetch.json"), about, vectors, judge);
}
