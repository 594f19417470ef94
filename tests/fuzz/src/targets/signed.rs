//! What is signed: it must not verify unless the very bytes were signed by the keys of the vectors.
//!
//! The payloads behind signatures are read without verifying too, because no mutation gets there otherwise.

use super::{holds, same, unhex, vectors, wire::RUN, words};
use crate::run::{Notes, Subject, Verdict};
use entente_node::peer::issue;
use entente_policy::{check, render, source};
use entente_protocol::{
    agreement::{Agreement, SignedAgreement, StandingNotice},
    batch::Attestation,
    bundle::{FileHead, Header, Opening},
    codec::{self, Bounds},
    cose::SignatureBytes,
    feed::{Cursor, EntryProof, FeedKey, Held, Receipt, ReceivedRun, Run, RunMessage},
    grant::{self, Grant, Passed, Told},
    id::{AgreementId, KeyId, NoticeId, OrgId, RecordId},
    identity::{CardPayload, UnconfirmedCard, chain},
    limits,
    package::{self, Pins, parts},
    primitive::{PublicKey, SigningKey, sha256},
    recall::{self, Answers, Erasure, Recall},
    time::UnixMillis,
    user::{UserAct, UserCertificate},
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::Value as Json;
use std::{collections::HashSet, str::FromStr};

const CONTROL: Bounds = Bounds::bytes(limits::CONTROL_FRAME_BYTES_MAX);

/// The key whose seed is 32 times this byte.
fn key(seed: u8) -> Option<PublicKey> {
    SigningKey::from_seed(&[seed; 32]).ok().map(|key| key.public().clone())
}

/// The key of an organisation whose id is one byte repeated.
fn key_of(org: OrgId, plus: u8, id: KeyId) -> Option<PublicKey> {
    key(org.as_bytes()[0].wrapping_add(plus)).filter(|key| key.id() == id)
}

fn parsed<T: FromStr>(json: &Json) -> Option<T> {
    json.as_str()?.parse().ok()
}

fn feed(json: &Json) -> Option<FeedKey> {
    Some(FeedKey {
        epoch: u32::try_from(json["epoch"].as_u64()?).ok()?,
        store: parsed(&json["store"])?,
        sender: parsed(&json["sender"])?,
        receiver: parsed(&json["receiver"])?,
        agreement: parsed(&json["agreement"])?,
    })
}

fn cursor(json: &Json) -> Option<Cursor> {
    Some(Cursor { length: json["length"].as_u64()?, digest: parsed(&json["digest"])? })
}

pub fn run() -> Subject {
    let vectors = vectors(include_str!("../../../vectors/run.json"));
    let seeds: Vec<Vec<u8>> = vectors.iter().map(|run| unhex(&run["message"])).collect();
    let messages: Vec<RunMessage> = seeds.iter().filter_map(|seed| codec::from_slice(seed, RUN).ok()).collect();
    let genuine: HashSet<SignatureBytes> = messages
        .iter()
        .flat_map(|message| {
            message.attestations.iter().map(|attestation| attestation.head.clone()).chain([message.run.clone()])
        })
        .collect();
    let mut held: Vec<(FeedKey, Held)> = Vec::new();
    for run in &vectors {
        if let (Some(key), Some(at)) = (feed(&run["feed"]), cursor(&run["held"])) {
            let found = (key, Held { feed: at, prior: cursor(&run["prior"]) });
            if !held
                .iter()
                .any(|known| known.0 == found.0 && known.1.feed == found.1.feed && known.1.prior == found.1.prior)
            {
                held.push(found);
            }
        }
    }
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let message = codec::from_slice::<RunMessage>(input, RUN);
        notes.result("run", &message);
        let Ok(message) = message else { return Ok(()) };
        same("run", input, codec::to_vec(&message, RUN))?;
        let claimed = Run::danger_unverified(&message.run);
        notes.result("claims", &claimed);
        for (feed, held) in held.iter().filter(|(feed, _)| claimed.as_ref().is_ok_and(|run| run.feed == feed.id())) {
            let runs = |id| key_of(feed.sender, 0, id);
            let verified = message.verify(feed, *held, runs, |org, id| key_of(org, 100, id));
            notes.result("verified", &verified);
            let Ok(verified) = verified else { continue };
            holds("a run verifies that nobody signed", genuine.contains(&message.run))?;
            if let ReceivedRun::Next(run) = verified {
                let heads = message.attestations.iter().all(|attestation| genuine.contains(&attestation.head));
                holds("an attestation verifies that nobody signed", heads)?;
                holds("a run without its entries", run.entries().len() == message.entries.len())?;
                notes.size("entries", run.entries().len());
            }
        }
        Ok(())
    };
    Subject {
        seeds,
        words: words(&["run", "carried", "entries", "attestations", "open", "hash"]),
        judge: Box::new(judge),
    }
}

pub fn receipt() -> Subject {
    let vectors = vectors(include_str!("../../../vectors/proof.json"));
    let mut seeds: Vec<Vec<u8>> = vectors.iter().map(|proof| unhex(&proof["proof"])).collect();
    let proofs: Vec<EntryProof> = seeds.iter().filter_map(|seed| EntryProof::from_bytes(seed).ok()).collect();
    let receipts: HashSet<SignatureBytes> = proofs.iter().filter_map(|proof| proof.receipt.clone()).collect();
    let runs: HashSet<SignatureBytes> = proofs.iter().map(|proof| proof.run.clone()).collect();
    seeds.extend(receipts.iter().filter_map(|receipt| receipt.to_bytes().ok()));
    let key = vectors.first().and_then(|proof| feed(&proof["feed"]));
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let Some(feed) = key else { return Err("no feed".to_owned()) };
        let (sender, receiver) = (|id| key_of(feed.sender, 0, id), |id| key_of(feed.receiver, 0, id));
        if let Ok(alone) = SignatureBytes::from_bytes(input, 4 << 10) {
            same("receipt", input, alone.to_bytes())?;
            notes.result("claims", &Receipt::danger_unverified(&alone));
            let verified = Receipt::verify(&alone, &feed, receiver);
            notes.result("receipt", &verified);
            holds("a receipt verifies that nobody signed", verified.is_err() || receipts.contains(&alone))?;
        }
        let proof = EntryProof::from_bytes(input);
        notes.result("proof", &proof);
        let Ok(proof) = proof else { return Ok(()) };
        same("proof", input, proof.to_bytes())?;
        let verified = proof.verify(&feed, sender, receiver);
        notes.result("verified", &verified);
        let Ok((_, receipt)) = verified else { return Ok(()) };
        holds("a proof of a run that nobody signed", runs.contains(&proof.run))?;
        holds("a receipt appears or disappears", receipt.is_some() == proof.receipt.is_some())?;
        holds("a proof with a receipt that nobody signed", proof.receipt.is_none_or(|r| receipts.contains(&r)))
    };
    Subject { seeds, words: words(&["run", "entry", "index", "nodes", "receipt"]), judge: Box::new(judge) }
}

pub fn attestation() -> Subject {
    let vectors = vectors(include_str!("../../../vectors/batch.json"));
    let seeds: Vec<Vec<u8>> = vectors.iter().map(|batch| unhex(&batch["attestation"])).collect();
    let mut shown: Vec<Vec<(u32, RecordId)>> = Vec::new();
    for batch in &vectors {
        let pairs = batch["records"].as_array().into_iter().flatten();
        let records: Vec<_> =
            pairs.filter_map(|pair| Some((u32::try_from(pair[0].as_u64()?).ok()?, parsed(&pair[1])?))).collect();
        if !shown.contains(&records) {
            shown.push(records);
        }
    }
    let read = |bytes: &[u8]| codec::from_slice::<Attestation>(bytes, CONTROL);
    let genuine: HashSet<SignatureBytes> = seeds.iter().filter_map(|seed| Some(read(seed).ok()?.head)).collect();
    let (originator, key) = (OrgId::from_bytes([0x11; 32]), key(1));
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let attestation = read(input);
        notes.result("attestation", &attestation);
        let (Ok(attestation), Some(key)) = (attestation, &key) else { return Ok(()) };
        same("attestation", input, codec::to_vec(&attestation, CONTROL))?;
        for records in &shown {
            let verified = attestation.verify(originator, key, records);
            notes.result("verified", &verified);
            holds("a batch verifies that nobody signed", verified.is_err() || genuine.contains(&attestation.head))?;
        }
        Ok(())
    };
    Subject { seeds, words: words(&["head", "nodes"]), judge: Box::new(judge) }
}

pub fn card() -> Subject {
    let mut vectors = vectors(include_str!("../../../vectors/card.json"));
    vectors.extend(super::vectors(include_str!("../../../vectors/succession.json")));
    let seeds: Vec<Vec<u8>> = vectors.iter().map(unhex).collect();
    let signature = |bytes: &[u8]| SignatureBytes::from_bytes(bytes, limits::CARD_BYTES_MAX);
    let genuine: HashSet<SignatureBytes> = seeds.iter().filter_map(|seed| signature(seed).ok()).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let signed = signature(input);
        notes.result("signature", &signed);
        let Ok(signed) = signed else { return Ok(()) };
        same("signature", input, signed.to_bytes())?;
        let Ok(parsed) = signed.parse() else { return Ok(()) };
        let bytes = parsed.danger_unverified_payload();
        let payload = CardPayload::from_bytes(bytes);
        notes.result("payload", &payload);
        if let Ok(payload) = &payload {
            same("card", bytes, payload.to_bytes())?;
            notes.result("root", &payload.root_key());
        }
        let card = UnconfirmedCard::from_bytes(input);
        notes.result("card", &card);
        let Ok(card) = card else { return Ok(()) };
        holds("a card that its root did not sign", genuine.contains(&signed))?;
        holds("a card does not keep its bytes", card.bytes() == input)?;
        let other = entente_protocol::id::CardDigest::from_bytes([7; 32]);
        holds("a card is confirmed by another digest", card.clone().confirm(other).is_err())?;
        let digest = card.digest();
        holds("a card is not confirmed by its digest", card.confirm(digest).is_ok())
    };
    let words =
        words(&["addresses", "contacts", "purpose", "records", "revoked", "compromised", "succession", "[::1]:1"]);
    Subject { seeds, words, judge: Box::new(judge) }
}

pub fn agreement() -> Subject {
    let mut seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/agreement.json")).iter().map(unhex).collect();
    let genuine: HashSet<Vec<u8>> = seeds.clone().into_iter().collect();
    for text in super::people::AGREEMENTS {
        let drafting = source::Drafting { id: AgreementId::from_bytes([3; 16]), party: &super::people::party };
        let checked = source::parse(text, &drafting).ok();
        seeds.extend(checked.and_then(|checked| SignedAgreement::unsigned(&checked.agreement).ok()?.to_bytes().ok()));
    }
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let signed = SignedAgreement::from_bytes(input);
        notes.result("agreement", &signed);
        let Ok(signed) = signed else { return Ok(()) };
        same("agreement", input, signed.to_bytes())?;
        let Ok(body) = signed.agreement() else { return Err("an agreement that is read and has no body".to_owned()) };
        let bytes = body.to_bytes();
        let again = bytes.as_ref().ok().and_then(|bytes| Agreement::from_bytes(bytes).ok());
        holds("a body that does not come back", again.as_ref() == Some(&body))?;
        let verified = signed.verify(|org, id| key_of(org, 0, id));
        notes.result("verified", &verified);
        let count = signed.signed_by().count();
        holds("signatures verify that nobody made", verified.is_err() || count == 0 || genuine.contains(input))?;
        let complete = signed.complete(|org, id| key_of(org, 0, id));
        holds("in force without signatures", !matches!(complete, Ok(Some(_))) || count == body.parties.len())?;
        let checked = check::check(body);
        notes
            .result("checked", &checked.as_ref().map(|_| ()).map_err(|fault| format!("{}: {}", fault.key, fault.what)));
        let Ok(checked) = checked else { return Ok(()) };
        let drafting = source::Drafting { id: AgreementId::from_bytes([0; 16]), party: &|_| None };
        let text = render(&checked.agreement);
        match source::parse(&text, &drafting) {
            Ok(again) => {
                holds("what people sign reads back as another agreement", again.agreement == checked.agreement)
            }
            Err(fault) => Err(format!("what people sign does not read back: {fault}")),
        }
    };
    let words =
        words(&["release", "answer-traces", "alert", "match", "with-grant", "never", "when", "personal", "carries"]);
    Subject { seeds, words, judge: Box::new(judge) }
}

pub fn standing() -> Subject {
    let seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/standing.json")).iter().map(unhex).collect();
    let read = |bytes: &[u8]| SignatureBytes::from_bytes(bytes, 4 << 10);
    let genuine: HashSet<SignatureBytes> = seeds.iter().filter_map(|seed| read(seed).ok()).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let signed = read(input);
        notes.result("signature", &signed);
        let Ok(signed) = signed else { return Ok(()) };
        same("signature", input, signed.to_bytes())?;
        if let Ok(parsed) = signed.parse() {
            let payload = parsed.danger_unverified_payload();
            let notice = codec::from_slice::<StandingNotice>(payload, Bounds::bytes(1 << 10));
            notes.result("payload", &notice);
            if let Ok(notice) = notice {
                notes.note(format_args!("{:?}", notice.standing));
                same("standing", payload, codec::to_vec(&notice, Bounds::bytes(1 << 10)))?;
                holds("ended is not final", !notice.replaces(Some((0, entente_protocol::agreement::Standing::Ended))))?;
            }
        }
        let org = OrgId::from_bytes([2; 32]);
        let verified = StandingNotice::verify(&signed, org, |id| key_of(org, 0, id));
        notes.result("verified", &verified);
        holds("a standing that nobody signed", verified.is_err() || genuine.contains(&signed))
    };
    Subject { seeds, words: words(&["active", "suspended", "ended"]), judge: Box::new(judge) }
}

pub fn recalls() -> Subject {
    let seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/recall.json")).iter().map(unhex).collect();
    let read = |bytes: &[u8]| SignatureBytes::from_bytes(bytes, 4 << 10);
    let genuine: HashSet<SignatureBytes> = seeds.iter().filter_map(|seed| read(seed).ok()).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        // The content of a notice: recalls one after another.
        if let Ok(notice) = recall::Recalls::from_bytes(input) {
            notes.note(format_args!("{} recalls, {} cards", notice.recalls.len().min(4), notice.cards.len()));
            same("notice", input, notice.to_bytes())?;
        }
        let signed = read(input);
        notes.result("signature", &signed);
        let Ok(signed) = signed else { return Ok(()) };
        same("signature", input, signed.to_bytes())?;
        let org = OrgId::from_bytes([2; 32]);
        let runs = |id| key_of(org, 0, id);
        let (recall, answers, erasure) = (
            Recall::verify(&signed, |org, id, _| key_of(org, 100, id)),
            Answers::verify(&signed, org, |id, _| runs(id)),
            Erasure::verify(&signed, org, |id, _| runs(id)),
        );
        notes.result("recall", &recall);
        notes.result("answers", &answers);
        notes.result("erasure", &erasure);
        let taken = usize::from(recall.is_ok()) + usize::from(answers.is_ok()) + usize::from(erasure.is_ok());
        holds("one signature means two things", taken <= 1)?;
        holds("a word that nobody signed", taken == 0 || genuine.contains(&signed))
    };
    let known = ["correct", "withdraw", "expire", "erase", "complied", "legal-hold", "not-held", "refused", "waiting"];
    Subject { seeds, words: words(&known), judge: Box::new(judge) }
}

pub fn grants() -> Subject {
    let seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/grant.json")).iter().map(unhex).collect();
    let read = |bytes: &[u8]| SignatureBytes::from_bytes(bytes, 4 << 10);
    let genuine: HashSet<SignatureBytes> = seeds.iter().filter_map(|seed| read(seed).ok()).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        // The contents of notices: a word with the cards of whom it names, and what was heard.
        let told = Told::from_bytes(input);
        notes.result("told", &told);
        if let Ok(told) = told {
            same("told", input, told.to_bytes())?;
        }
        if let Ok(heard) = grant::heard_from_bytes(input) {
            notes.size("heard", heard.len());
            same("heard", input, grant::heard_to_bytes(&heard))?;
        }
        let signed = read(input);
        notes.result("signature", &signed);
        let Ok(signed) = signed else { return Ok(()) };
        let holder = OrgId::from_bytes([2; 32]);
        let runs = |id| key_of(holder, 0, id);
        let (grant, request, passed) = (
            Grant::verify(&signed, |org, id, _| key_of(org, 100, id)),
            grant::Request::verify(&signed, holder, runs),
            Passed::verify(&signed, holder, |id, _| runs(id)),
        );
        notes.result("grant", &grant);
        notes.result("request", &request);
        notes.result("passed", &passed);
        let taken = usize::from(grant.is_ok()) + usize::from(request.is_ok()) + usize::from(passed.is_ok());
        holds("one signature means two things", taken <= 1)?;
        holds("a word that nobody signed", taken == 0 || genuine.contains(&signed))
    };
    let told = seeds.iter().filter_map(|seed| {
        let told = Told { cards: vec![vec![7; 9].into()], signed: SignatureBytes::from_bytes(seed, 4 << 10).ok()? };
        told.to_bytes().ok()
    });
    let told: Vec<Vec<u8>> = told.take(1).chain(grant::heard_to_bytes(&[NoticeId::from_bytes([5; 32]); 3])).collect();
    Subject {
        seeds: [seeds, told].concat(),
        words: words(&["item", "tracing", "gone", "cards", "signed"]),
        judge: Box::new(judge),
    }
}

pub fn users() -> Subject {
    let vectors = vectors(include_str!("../../../vectors/user.json"));
    let seeds: Vec<Vec<u8>> = vectors.iter().map(unhex).collect();
    let read = |bytes: &[u8]| SignatureBytes::from_bytes(bytes, 4 << 10);
    let genuine: HashSet<SignatureBytes> = seeds.iter().filter_map(|seed| read(seed).ok()).collect();
    let (org, person) = (OrgId::from_bytes([1; 32]), key(8));
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let signed = read(input);
        notes.result("signed", &signed);
        let (Ok(signed), Some(person)) = (signed, &person) else { return Ok(()) };
        same("signed", input, signed.to_bytes())?;
        let user = UserCertificate::verify(&signed, org, |id| key_of(org, 0, id));
        notes.result("user", &user);
        if let Ok((_, user)) = &user {
            holds("a person whom nobody certified", genuine.contains(&signed))?;
            holds("a person of another organisation", user.org == org)?;
            holds("a person counts before the first day", user.from.0 == 0 || !user.counts(user.from.minus(1)))?;
        }
        let act = UserAct::verify(&signed, person);
        notes.result("act", &act);
        holds("an act that nobody signed", act.is_err() || genuine.contains(&signed))?;
        // The payload behind the signature, which no mutation reaches otherwise.
        let payload = signed.parse().map(|signed| signed.danger_unverified_payload().to_vec()).unwrap_or_default();
        let user: Result<UserCertificate, _> = codec::from_slice(&payload, CONTROL);
        user.map_or(Ok(()), |user| same("user", &payload, codec::to_vec(&user, CONTROL)))
    };
    Subject { seeds, words: words(&["collector", "disabled", "number", "roles"]), judge: Box::new(judge) }
}

pub fn bundles() -> Subject {
    const FILE: Bounds = Bounds::bytes(4 << 10);
    let vectors = vectors(include_str!("../../../vectors/bundle.json"));
    let frames: Vec<Vec<Vec<u8>>> =
        vectors.iter().map(|bundle| bundle.as_array().into_iter().flatten().map(unhex).collect()).collect();
    let (from, to) = (OrgId::from_bytes([1; 32]), OrgId::from_bytes([2; 32]));
    let open = move |bytes: &[u8]| Opening::from_bytes(bytes)?.verify((from, to), |id| key_of(from, 0, id));
    let headers: Vec<Header> = frames.iter().filter_map(|all| Some(open(all.first()?).ok()?.0)).collect();
    let genuine: HashSet<Vec<u8>> = frames.iter().filter_map(|all| all.get(1).cloned()).collect();
    let first = frames.first().and_then(|all| all.first().cloned()).unwrap_or_default();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let opened = open(input).map(|(header, _)| header);
        notes.result("opening", &opened);
        if let Ok(header) = opened {
            holds("a header that nobody signed", headers.contains(&header))?;
        }
        // As the first part of the first bundle.
        if let Ok((_, mut bundle)) = open(&first) {
            let part = bundle.part(input);
            notes.result("part", &part);
            holds("a part that nobody signed", part.is_err() || genuine.contains(input))?;
        }
        let file: Result<FileHead, _> = codec::from_slice(input, FILE);
        notes.result("file", &file);
        file.map_or(Ok(()), |file| same("file", input, codec::to_vec(&file, FILE)))
    };
    let seeds = frames.into_iter().flatten().collect();
    Subject { seeds, words: words(&["one-way", "bundle", "digest", "header"]), judge: Box::new(judge) }
}

const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

/// A chain as a node of ours shows it, and others that are nearly one. Keys from seeds, so that a run can be repeated.
fn chains() -> Option<Vec<Vec<u8>>> {
    // RFC 8410: PKCS #8 of an Ed25519 key up to its 32 bytes.
    const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = |seed: u8| PrivatePkcs8KeyDer::from([PKCS8.as_slice(), &[seed; 32]].concat());
    let (root, issuing, node) = (der(1), der(2), der(3));
    let org = OrgId::from_bytes(sha256(&[&issue::public_key(&root).ok()?]));
    let top = issue::root("sample root", &root, &[1; 16], NOW).ok()?;
    let middle =
        issue::issuing("sample issuing", &issue::public_key(&issuing).ok()?, &top, &root, &[2; 16], NOW).ok()?;
    let names = issue::NodeNames { org, common: "sample node", dns: &["node.example.org".to_owned()] };
    let leaf = issue::node(names, &issue::public_key(&node).ok()?, &middle, &issuing, &[3; 16], NOW).ok()?;
    let concat = |parts: &[&[u8]]| parts.concat();
    Some(vec![concat(&[&leaf, &middle, &top]), concat(&[&leaf, &middle]), top.to_vec(), concat(&[&leaf, &leaf, &top])])
}

/// Cuts what stands one after the other; the last piece is whatever is left.
fn certificates(mut input: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while pieces.len() < 6 && !input.is_empty() {
        let len = match input {
            [_, 0x81, a, ..] => 3 + usize::from(*a),
            [_, 0x82, a, b, ..] => 4 + (usize::from(*a) << 8 | usize::from(*b)),
            [_, a @ 0..=0x7f, ..] => 2 + usize::from(*a),
            _ => input.len(),
        };
        let (piece, rest) = input.split_at(len.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

pub fn certificate() -> Subject {
    let mut seeds = chains().unwrap_or_default();
    let cards = vectors(include_str!("../../../vectors/card.json"));
    seeds.extend(cards.iter().filter_map(|card| {
        let card = UnconfirmedCard::from_bytes(&unhex(card)).ok()?;
        Some(card.payload().root.clone())
    }));
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let chain = certificates(input);
        notes.size("certificates", chain.len());
        for now in [0, NOW.0, NOW.0 + 3_600_000, NOW.0 + 200 * 86_400_000, u64::MAX].map(UnixMillis) {
            let claimed = chain::claimed(&chain, now);
            notes.result("chain", &claimed);
            if let Some(first) = chain.first() {
                let root = chain::root(first, now);
                notes.result("root", &root);
                holds("an expired root counts", root.as_ref().map_or(true, |root| now <= root.not_after))?;
                if let Ok(root) = root {
                    holds(
                        "a root claims another organisation than its key",
                        root.org.as_bytes() == &sha256(&[&root.spki]),
                    )?;
                }
            }
            let Ok(claimed) = claimed else { continue };
            holds("a chain loses a key", claimed.keys.len() == chain.len())?;
            holds("an expired chain counts", now <= claimed.not_after)?;
            let uri = chain::uri(&claimed.org);
            let named = chain.first().is_some_and(|leaf| leaf.windows(uri.len()).any(|w| w == uri.as_bytes()));
            holds("an organisation that no certificate names", named)?;
        }
        Ok(())
    };
    Subject { seeds, words: words(&["entente:", "*.", "URI:"]), judge: Box::new(judge) }
}

/// What a package holds is bound by one signature: where a changed file is taken, every part is one that was signed.
pub fn packages() -> Subject {
    let seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/package.json")).iter().map(unhex).collect();
    // When the vectors are read.
    let now = UnixMillis(1_780_096_000_000);
    let genuine: HashSet<Vec<u8>> = seeds
        .iter()
        .filter(|seed| package::verify(seed.as_slice(), &Pins::default(), now, &mut |_, _| ()).is_ok())
        .cloned()
        .collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let verified = package::verify(input, &Pins::default(), now, &mut |_, _| ());
        notes.result("package", &verified);
        if let Ok(record) = parts::Part::from_bytes(input) {
            same("record", input, record.to_bytes())?;
        }
        if let Ok(run) = parts::SentRun::from_bytes(input) {
            same("run", input, run.to_bytes())?;
        }
        if let Ok(log) = parts::LogProofs::from_bytes(input) {
            same("log", input, log.to_bytes())?;
        }
        holds("a package verifies that nobody signed", verified.is_err() || genuine.contains(input))
    };
    let names = ["cards/00002.cbor", "records/00001.cbor", "files/00002.jpg", "PK\u{1}\u{2}", "PK\u{5}\u{6}"];
    Subject { seeds, words: words(&names), judge: Box::new(judge) }
}
