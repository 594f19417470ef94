//! Our own golden vectors: made from fixed seeds, kept in `tests/vectors/`, read back and judged.
//!
//! Each is named after its defect and states the answer that a reader must give. The files are for
//! second implementations and later versions of this one. Tests only; `ENTENTE_BLESS=1` writes them.

use crate::{
    agreement::{
        Agreement, Clause, Disclosure, Duty, Handling, LANGUAGE, LegalBasis, Obligation, Onward, Party, Prevails,
        SignedAgreement,
    },
    batch::{Attestation, Batch},
    clearance::{Clearance, Terms},
    codec::{self, Bounds},
    cose::{self, SignatureBytes},
    id::{AgreementDigest, AgreementId, Hash, KeyId, LineId, Nonce, OrgId, RecordId},
    identity::{CardKey, CardPayload, Purpose, UnconfirmedCard, samples},
    label, limits,
    primitive::PublicKey,
    record::{Body, Draft, HandlingFloor, Opening, Record, Redacted, SlotSet, Tlp, Verified, kind::Kind},
    spec,
    time::UnixMillis,
    value::Value,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

pub(crate) const ACCEPTED: &str = "accepted";
const ORIGINATOR: OrgId = OrgId::from_bytes([0x11; 32]);

/// Name, input, and a part of the answer that must come.
pub(crate) type Vector = (&'static str, Json, &'static str);

pub(crate) fn answer<T, E: ToString>(result: Result<T, E>) -> String {
    result.map_or_else(|fault| fault.to_string(), |_| ACCEPTED.to_owned())
}

/// As [`answer`], and with what a reader must find in what it took.
pub(crate) fn answer_of<T, E: ToString>(result: Result<T, E>, found: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|fault| fault.to_string(), |taken| format!("{ACCEPTED}: {}", found(taken)))
}

/// What everybody must find in a card.
pub(crate) fn card_answer(bytes: &[u8]) -> String {
    answer_of(UnconfirmedCard::from_bytes(bytes), |card| {
        format!("organisation {}, digest {}, words {}", card.payload().org, card.digest(), card.words())
    })
}

pub(crate) fn unhex(json: &Json) -> Vec<u8> {
    hex::decode(json.as_str().unwrap()).unwrap()
}

/// Compares a file with what its vectors give today, and judges what stands in the file.
pub(crate) fn check(file: &str, on_disk: &str, about: &str, vectors: Vec<Vector>, judge: fn(&Json) -> String) {
    let made: Vec<Json> = vectors
        .iter()
        .map(|(name, input, expected)| {
            let answer = judge(input);
            assert!(answer.contains(expected), "{name}: {answer}");
            json!({ "name": name, "input": input, "answer": answer })
        })
        .collect();
    let made = json!({ "about": about, "vectors": made });
    if spec::blessing() {
        return spec::write(&format!("../tests/vectors/{file}"), &format!("{made:#}\n"));
    }
    let kept: Json = serde_json::from_str(on_disk).unwrap();
    assert_eq!(kept, made, "{file}: see the head of vectors.rs");
    for vector in kept["vectors"].as_array().unwrap() {
        assert_eq!(judge(&vector["input"]), vector["answer"].as_str().unwrap(), "{}", vector["name"]);
    }
}

fn record() -> Record {
    let floor = HandlingFloor { tlp: Some(Tlp::Amber), ..HandlingFloor::default() };
    let mut draft = Draft::new(Kind::Item, ORIGINATOR, LineId::from_bytes([0x22; 16]), floor);
    let serial = Value::map([("s1", Value::text("AB12345")), ("norm", Value::Int(1)), ("state", Value::text("ok"))]);
    for (field, value) in [
        ("number", Value::text("EX-2026-0001")),
        ("eval", Value::map([("inf4", Value::Int(2))])),
        ("type", Value::text("rifle")),
        ("make", Value::text("EXAMPLE WORKS")),
        ("serial", serial),
    ] {
        draft.set(field, value).unwrap();
    }
    draft.commit(Nonce::from_bytes([0x33; 16]), Zeroizing::new([0x44; 32])).unwrap()
}

#[test]
fn record_bodies() {
    let good = record().body().bytes().to_vec();
    // a7 | 61 76 01 ("v": 1) | 64 "kind" 64 "item" | ...
    let (version, kind, rest) = (&good[1..4], &good[4..14], &good[14..]);
    let build = |parts: &[&[u8]]| json!(hex::encode(parts.concat()));
    let floor = [b"\x65floor\xa2\x63tlp\x65AMBER".as_slice(), b"\x65orcon\xf4"];
    let at = good.windows(floor.concat().len()).position(|w| w == floor.concat()).unwrap();
    let with_floor = |floor: &[u8]| build(&[&good[..at], floor, &good[at + 24..]]);
    assert_eq!(floor.concat().len(), 24);
    let vectors = vec![
        ("record_valid", build(&[&good]), ACCEPTED),
        ("record_unsorted_keys", build(&[&[0xa7], kind, version, rest]), "map keys out of order"),
        ("record_repeated_key", build(&[&[0xa8], version, version, kind, rest]), "map keys out of order or repeated"),
        ("record_unknown_member", build(&[&[0xa8], version, b"\x61w\x01", kind, rest]), "unknown"),
        ("record_missing_member", build(&[&[0xa6], version, rest]), "missing"),
        ("record_long_integer", build(&[&[0xa7], b"\x61v\x18\x01", kind, rest]), "longer form"),
        ("record_float", build(&[&[0xa7], b"\x61v\xf9\x3c\x00", kind, rest]), "float"),
        ("record_null", build(&[&[0xa7], b"\x61v\xf6", kind, rest]), "null"),
        ("record_tagged", build(&[&[0xc1], &good]), "tag"),
        ("record_unknown_version", build(&[&[0xa7], b"\x61v\x02", kind, rest]), "canonical, but"),
        ("record_unknown_kind", build(&[&[0xa7], version, b"\x64kind\x64itxm", rest]), "canonical, but"),
        ("record_indefinite_map", build(&[&[0xbf], &good[1..], &[0xff]]), "indefinite"),
        ("record_trailing_byte", build(&[&good, &[0]]), "bytes follow"),
        ("record_truncated", build(&[&good[..good.len() - 1]]), "end inside"),
        (
            "record_empty_handling_codes",
            with_floor(b"\x65floor\xa3\x63tlp\x65AMBER\x65eu-hc\x80\x65orcon\xf4"),
            "canonical, but",
        ),
        (
            "record_handling_code_without_its_text",
            with_floor(b"\x65floor\xa3\x63tlp\x65AMBER\x65eu-hc\x81\x03\x65orcon\xf4"),
            "canonical, but",
        ),
        (
            "record_too_long",
            build(&[&good, &vec![0; limits::RECORD_BODY_BYTES_MAX][..64], &vec![0; limits::RECORD_BODY_BYTES_MAX]]),
            "too long",
        ),
    ];
    let judge = |input: &Json| answer_of(Body::from_bytes(&unhex(input)), |body| format!("record id {}", body.id()));
    let about = "Record bodies (SPEC 4) as hexadecimal CBOR; the answer has the record id.";
    check("record.json", include_str!("../../tests/vectors/record.json"), about, vectors, judge);
}

fn release_json(release: &Redacted) -> Json {
    let openings: Vec<Json> = release
        .openings
        .iter()
        .map(|o| json!({ "slot": o.slot, "salt": hex::encode(o.salt), "value": hex::encode(&o.value) }))
        .collect();
    let nodes: Vec<String> = release.nodes.iter().map(Hash::to_string).collect();
    json!({ "body": hex::encode(&release.body), "openings": openings, "nodes": nodes })
}

fn release_from(json: &Json) -> Redacted {
    let opening = |o: &Json| Opening {
        slot: u8::try_from(o["slot"].as_u64().unwrap()).unwrap(),
        salt: unhex(&o["salt"]).try_into().unwrap(),
        value: unhex(&o["value"]),
    };
    Redacted {
        body: unhex(&json["body"]),
        openings: json["openings"].as_array().unwrap().iter().map(opening).collect(),
        nodes: json["nodes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().parse().unwrap()).collect(),
    }
}

#[test]
fn releases() {
    let record = record();
    let release = |slots: SlotSet| {
        let terms = Terms {
            record: record.id(),
            partner: OrgId::from_bytes([0x55; 32]),
            agreement: AgreementId::from_bytes([0x66; 16]),
            version: AgreementDigest::from_bytes([0x77; 32]),
            clause: 0,
            slots,
            file: false,
            grant: None,
            until: None,
        };
        Redacted::new(&record, &Clearance::assertion(terms)).unwrap()
    };
    let some: SlotSet = [0, 8, 14].into_iter().collect();
    let changed = |change: fn(&mut Redacted)| {
        let mut release = release(some);
        change(&mut release);
        release_json(&release)
    };
    let root = "do not match the record's commitment";
    let vectors = vec![
        ("release_of_all_slots", release_json(&release(record.present())), ACCEPTED),
        ("release_of_some_slots", release_json(&release(some)), ACCEPTED),
        ("release_of_no_slot", release_json(&release(SlotSet::EMPTY)), ACCEPTED),
        ("release_changed_value", changed(|r| r.openings[1].value[1] ^= 1), root),
        ("release_changed_salt", changed(|r| r.openings[1].salt[0] ^= 1), root),
        (
            "release_swapped_salts",
            changed(|r| {
                let salt = r.openings[0].salt;
                r.openings[0].salt = std::mem::replace(&mut r.openings[1].salt, salt);
            }),
            root,
        ),
        ("release_other_slot_number", changed(|r| r.openings[1].slot = 9), root),
        ("release_slot_outside_the_tree", changed(|r| r.openings[2].slot = 64), root),
        ("release_unsorted_openings", changed(|r| r.openings.swap(0, 1)), root),
        ("release_repeated_opening", changed(|r| r.openings.push(r.openings[2].clone())), root),
        ("release_missing_node", changed(|r| r.nodes.truncate(r.nodes.len() - 1)), root),
        ("release_surplus_node", changed(|r| r.nodes.push(Hash::from_bytes([0; 32]))), root),
        ("release_swapped_nodes", changed(|r| r.nodes.swap(0, 1)), root),
        ("release_unsorted_keys_in_body", changed(|r| r.body[1..14].rotate_left(3)), "map keys out of order"),
    ];
    let judge =
        |input: &Json| answer_of(Verified::new(release_from(input)), |taken| format!("record id {}", taken.id()));
    let about = "Releases (SPEC 4): body, openings and nodes; the answer has the record id.";
    check("release.json", include_str!("../../tests/vectors/release.json"), about, vectors, judge);
}

fn attestation_json(attestation: &Attestation, shown: &[(u32, RecordId)]) -> Json {
    let bounds = Bounds::bytes(limits::CONTROL_FRAME_BYTES_MAX);
    let records: Vec<Json> = shown.iter().map(|(at, id)| json!([at, id.to_string()])).collect();
    json!({ "attestation": hex::encode(codec::to_vec(attestation, bounds).unwrap()), "records": records })
}

#[test]
fn attestations() {
    let ids: Vec<RecordId> = (1..=5u8).map(|n| RecordId::from_bytes([n; 32])).collect();
    let key = samples::key(1);
    let batch = Batch::attest(&ids, &[0x88; 32], ORIGINATOR, samples::ISSUED, None, &key).unwrap();
    let mut shown: Vec<(u32, RecordId)> = batch.positions().into_iter().map(|(id, at)| (at, id)).collect();
    shown.sort_unstable();
    let prove = |shown: &[(u32, RecordId)]| batch.prove(&shown.iter().map(|s| s.0).collect::<Vec<_>>());
    let (one, three) = (&shown[1..2], &shown[..3]);
    let with = |change: fn(&mut Attestation)| {
        let mut attestation = prove(three);
        change(&mut attestation);
        attestation_json(&attestation, three)
    };
    let moved = [(one[0].0 ^ 1, one[0].1)];
    let payload = prove(one).head.parse().unwrap().danger_unverified_payload().to_vec();
    let resigned = |context, key| {
        let head = SignatureBytes(cose::sign(context, key, &payload));
        attestation_json(&Attestation { head, ..prove(one) }, one)
    };
    let foreign = Batch::attest(&ids, &[0x88; 32], OrgId::from_bytes([0x99; 32]), samples::ISSUED, None, &key).unwrap();
    let root = "not in the batch that was signed";
    let vectors = vec![
        ("batch_one_record", attestation_json(&prove(one), one), ACCEPTED),
        ("batch_three_records", attestation_json(&prove(three), three), ACCEPTED),
        ("batch_other_position", attestation_json(&prove(one), &moved), root),
        ("batch_record_left_out", attestation_json(&prove(three), &three[..2]), root),
        ("batch_unsorted_positions", attestation_json(&prove(three), &[three[1], three[0], three[2]]), root),
        ("batch_missing_node", with(|a| a.nodes.truncate(a.nodes.len() - 1)), root),
        ("batch_surplus_node", with(|a| a.nodes.push(Hash::from_bytes([0; 32]))), root),
        ("batch_changed_head", with(|a| a.head.0[60] ^= 1), "refused"),
        ("batch_signed_in_another_context", resigned(label::SIGN_CARD, &key), "does not verify"),
        ("batch_signed_by_another_key", resigned(label::SIGN_BATCH, &samples::key(2)), "another key"),
        ("batch_of_another_originator", attestation_json(&foreign.prove(&[one[0].0]), one), "another originator"),
    ];
    let judge = |input: &Json| {
        let bounds = Bounds::bytes(limits::CONTROL_FRAME_BYTES_MAX);
        let attestation: Attestation = codec::from_slice(&unhex(&input["attestation"]), bounds).unwrap();
        let pairs = input["records"].as_array().unwrap().iter();
        let records: Vec<(u32, RecordId)> = pairs
            .map(|p| (u32::try_from(p[0].as_u64().unwrap()).unwrap(), p[1].as_str().unwrap().parse().unwrap()))
            .collect();
        let verified = attestation.verify(ORIGINATOR, samples::key(1).public(), &records);
        answer_of(verified, |head| format!("batch id {}", head.id))
    };
    let about = "Attestations (SPEC 6) with the records they prove. The originator's id is 32 bytes of 11; \
                 its records key is Ed25519 with a seed of 32 bytes of 01. The answer has the batch id.";
    check("batch.json", include_str!("../../tests/vectors/batch.json"), about, vectors, judge);
}

fn card_json(signature: Vec<u8>) -> Json {
    json!(hex::encode(SignatureBytes(signature).to_bytes().unwrap()))
}

#[test]
fn cards() {
    // Signed without the checks that our own signer makes.
    let signed = |change: fn(&mut CardPayload)| {
        let mut payload = samples::payload(1);
        change(&mut payload);
        let bytes = codec::to_vec(&payload, Bounds::bytes(limits::CARD_BYTES_MAX)).unwrap();
        card_json(cose::sign(label::SIGN_CARD, &samples::key(1), &bytes))
    };
    let bytes = samples::payload(1).to_bytes().unwrap();
    let other_context = card_json(cose::sign(label::SIGN_AGREEMENT, &samples::key(1), &bytes));
    let other_key = card_json(cose::sign(label::SIGN_CARD, &samples::key(2), &bytes));
    // Two faults at once: the one that is looked for first is told (CARD-9).
    let wrong_key = |change: fn(&mut CardPayload)| {
        let mut payload = samples::payload(1);
        change(&mut payload);
        let bytes = codec::to_vec(&payload, Bounds::bytes(limits::CARD_BYTES_MAX)).unwrap();
        card_json(cose::sign(label::SIGN_CARD, &samples::key(2), &bytes))
    };
    let malformed_too = wrong_key(|p| p.name.push('\u{202e}'));
    let anothers_too = wrong_key(|p| p.org = ORIGINATOR);
    let alone = cose::sign(label::SIGN_CARD, &samples::key(1), &bytes);
    let item = SignatureBytes(alone.clone()).to_bytes().unwrap().split_off(1);
    let twice = [&[0x82], item.as_slice(), &item].concat();
    let vectors = vec![
        ("card_valid", signed(|_| ()), ACCEPTED),
        (
            "card_key_with_two_purposes",
            signed(|p| p.keys.push(CardKey { purpose: Purpose::Runs, ..p.keys[1].clone() })),
            "one key has one purpose",
        ),
        ("card_of_another_organisation", signed(|p| p.org = ORIGINATOR), "claims an organisation"),
        ("card_root_not_listed", signed(|p| drop(p.keys.remove(0))), "does not list"),
        ("card_root_certificate_damaged", signed(|p| p.root.truncate(40)), "root certificate cannot be read"),
        ("card_name_with_bidi_control", signed(|p| p.name.push('\u{202e}')), "`name`"),
        ("card_handle_with_capital", signed(|p| "Panel".clone_into(&mut p.handle)), "handle"),
        ("card_key_ends_before_it_begins", signed(|p| p.keys[1].until = Some(UnixMillis(1))), "ends before"),
        ("card_unknown_version", signed(|p| p.v = 2), "format `2`"),
        ("card_recipient_not_post_quantum", signed(|p| "age1qqq".clone_into(&mut p.age)), "age recipient"),
        ("card_signed_in_another_context", other_context, "does not verify"),
        ("card_signed_by_another_key", other_key, "another key"),
        ("card_malformed_and_signed_by_another_key", malformed_too, "`name`"),
        ("card_of_another_organisation_and_signed_by_another_key", anothers_too, "another key"),
        ("card_signature_not_in_an_array", json!(hex::encode(&alone)), "canonical, but"),
        ("card_with_two_signatures", json!(hex::encode(twice)), "canonical, but"),
    ];
    let judge = |input: &Json| card_answer(&unhex(input));
    let about = "Cards (SPEC 9) as hexadecimal CBOR: an array of one COSE_Sign1. The root is Ed25519 with a seed of 32 \
                 bytes of 01. The answer has the organisation's id, the card's digest and its twelve words.";
    check("card.json", include_str!("../../tests/vectors/card.json"), about, vectors, judge);
}

/// The wire form of a signed agreement, so that a vector can have what our own signer refuses.
#[derive(Serialize)]
struct WireSigned {
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Clone)]
struct WireSignature {
    party: OrgId,
    signature: SignatureBytes,
}

#[derive(Serialize)]
struct WireAssent {
    time: UnixMillis,
    party: OrgId,
    #[serde(skip_serializing_if = "Option::is_none")]
    prior: Option<Hash>,
    digest: AgreementDigest,
}

fn agreement() -> Agreement {
    let party = |n: u8, handle: &str| Party {
        id: OrgId::from_bytes([n; 32]),
        name: handle.to_owned(),
        handle: handle.to_owned(),
        declines: vec![],
        signatories: vec![],
    };
    Agreement {
        v: 1,
        id: AgreementId::from_bytes([0xaa; 16]),
        from: UnixMillis(1_000),
        lang: LANGUAGE,
        basis: LegalBasis { text: "exchange of letters".to_owned(), digest: None, prevails: None },
        lease_hours: Some(72),
        title: "Example".to_owned(),
        until: UnixMillis(2_000),
        notice_days: 30,
        schema: Hash::from_bytes([0xbb; 32]),
        clauses: vec![Clause {
            to: vec![OrgId::from_bytes([2; 32])],
            red: false,
            duty: Duty::Release,
            from: OrgId::from_bytes([1; 32]),
            name: "items".to_owned(),
            when: None,
            files: vec![],
            onward: Onward::Never,
            carries: vec![],
            disclose: vec![Disclosure { kind: Kind::Item, slots: vec![0, 8, 14] }],
            handling: None,
            personal: vec![],
            retention_days: 365,
        }],
        parties: vec![party(1, "first"), party(2, "second")],
        version: 1,
        purposes: vec!["tracing".to_owned()],
        survival_days: None,
        obligations: vec![],
        predecessor: None,
    }
}

fn agreement_key(party: OrgId, kid: KeyId) -> Option<PublicKey> {
    let public = samples::key(party.as_bytes()[0]).public().clone();
    (public.id() == kid).then_some(public)
}

#[test]
fn agreements() {
    const BOUNDS: Bounds = Bounds::bytes(limits::AGREEMENT_BYTES_MAX);
    let mut good = SignedAgreement::unsigned(&agreement()).unwrap();
    let [first, second] = [1u8, 2].map(|n| OrgId::from_bytes([n; 32]));
    let unsigned = hex::encode(good.to_bytes().unwrap());
    good.sign(second, &samples::key(2), UnixMillis(900)).unwrap();
    let half = hex::encode(good.to_bytes().unwrap());
    good.sign(first, &samples::key(1), UnixMillis(950)).unwrap();
    let assent = |n: u8, seed: u8, prior| {
        let party = OrgId::from_bytes([n; 32]);
        let assent = WireAssent { time: UnixMillis(900), party, prior, digest: good.digest() };
        let payload = codec::to_vec(&assent, BOUNDS).unwrap();
        WireSignature {
            party,
            signature: SignatureBytes(cose::sign(label::SIGN_AGREEMENT, &samples::key(seed), &payload)),
        }
    };
    let wire = |body: &Agreement, signatures: Vec<WireSignature>| {
        let body = codec::to_vec(body, BOUNDS).unwrap();
        json!(hex::encode(codec::to_vec(&WireSigned { body, signatures }, BOUNDS).unwrap()))
    };
    let sample = agreement();
    let changed = |change: fn(&mut Agreement)| {
        let mut body = agreement();
        change(&mut body);
        wire(&body, vec![])
    };
    let second_version = |version, predecessor| {
        let mut body = agreement();
        (body.version, body.predecessor, body.from, body.until) =
            (version, predecessor, UnixMillis(1_500), UnixMillis(3_000));
        body
    };
    let replacing = |predecessor| {
        let mut later = SignedAgreement::unsigned(&second_version(2, Some(predecessor))).unwrap();
        later.sign(second, &samples::key(2), UnixMillis(1_400)).unwrap();
        later.sign(first, &samples::key(1), UnixMillis(1_450)).unwrap();
        json!(hex::encode(later.to_bytes().unwrap()))
    };
    let ended = Agreement { until: sample.from, ..agreement() };
    let mut whole = agreement();
    whole.basis.prevails = Some(Prevails::Basis);
    (whole.survival_days, whole.lease_hours) = (Some(365), Some(72));
    whole.obligations = vec![Obligation::EraseAtEnd, Obligation::ReportBreach];
    if let Some(party) = whole.parties.last_mut() {
        party.declines = vec![Obligation::EraseAtEnd];
        party.signatories = vec!["A. Diallo".to_owned(), "M. Osei".to_owned()];
    }
    if let Some(clause) = whole.clauses.last_mut() {
        clause.handling = Some(Handling { tlp: Some(Tlp::AmberStrict), codes: vec![1, 2] });
    }
    let mut both = SignedAgreement::unsigned(&whole).unwrap();
    both.sign(second, &samples::key(2), UnixMillis(900)).unwrap();
    both.sign(first, &samples::key(1), UnixMillis(950)).unwrap();
    let without = |change: fn(&mut Agreement)| {
        let mut body = whole.clone();
        change(&mut body);
        wire(&body, vec![])
    };
    // Signed for its party, and not by the two persons without whom that party does not sign.
    let alone = {
        let digest = both.digest();
        let assent = WireAssent { time: UnixMillis(900), party: second, prior: None, digest };
        let payload = codec::to_vec(&assent, BOUNDS).unwrap();
        let signature = SignatureBytes(cose::sign(label::SIGN_AGREEMENT, &samples::key(2), &payload));
        wire(&whole, vec![WireSignature { party: second, signature }])
    };
    let vectors = vec![
        ("agreement_with_every_member", json!(hex::encode(both.to_bytes().unwrap())), "accepted: in force"),
        ("agreement_signed_without_its_signatories", alone, "does not verify"),
        ("agreement_with_one_signatory", without(|a| drop(a.parties[1].signatories.pop())), "signatories"),
        (
            "agreement_with_one_signatory_twice",
            without(|a| a.parties[1].signatories = vec!["M. Osei".to_owned(); 2]),
            "signatories",
        ),
        ("agreement_that_declines_what_nobody_asks", without(|a| a.obligations.clear()), "declines"),
        ("agreement_with_obligations_out_of_order", without(|a| a.obligations.reverse()), "obligations"),
        (
            "agreement_with_an_unknown_handling_code",
            without(|a| a.clauses.iter_mut().for_each(|c| c.handling = Some(Handling { tlp: None, codes: vec![4] }))),
            "handling codes",
        ),
        ("agreement_in_force", json!(hex::encode(good.to_bytes().unwrap())), "accepted: in force"),
        ("agreement_unsigned", json!(unsigned), "accepted: not yet signed by all"),
        ("agreement_signed_by_one", json!(half), "accepted: not yet signed by all"),
        ("agreement_first_party_signed_alone", wire(&sample, vec![assent(1, 1, None)]), "first"),
        (
            "agreement_first_party_not_over_the_others",
            wire(&sample, vec![assent(1, 1, Some(Hash::from_bytes([0; 32]))), assent(2, 2, None)]),
            "first",
        ),
        (
            "agreement_later_party_signed_over_others",
            wire(&sample, vec![assent(2, 2, Some(Hash::from_bytes([0; 32])))]),
            "first",
        ),
        (
            "agreement_signatures_out_of_order",
            wire(&sample, vec![assent(2, 2, None), assent(1, 1, None)]),
            "by no party",
        ),
        ("agreement_signed_by_a_stranger", wire(&sample, vec![assent(3, 3, None)]), "by no party"),
        ("agreement_signed_with_anothers_key", wire(&sample, vec![assent(2, 1, None)]), "another key"),
        ("agreement_slots_out_of_order", changed(|a| a.clauses[0].disclose[0].slots.swap(0, 1)), "rise"),
        ("agreement_slot_that_does_not_exist", changed(|a| a.clauses[0].disclose[0].slots.push(63)), "exist"),
        ("agreement_ends_before_it_begins", changed(|a| a.until = a.from), "ends before"),
        ("agreement_clause_to_its_giver", changed(|a| a.clauses[0].to = vec![a.clauses[0].from]), "from one party"),
        (
            "agreement_not_consistent_and_signed_with_anothers_key",
            wire(&ended, vec![assent(2, 1, None)]),
            "ends before",
        ),
        (
            "agreement_out_of_order_and_signed_with_anothers_key",
            wire(&sample, vec![assent(2, 1, None), assent(1, 2, None)]),
            "by no party",
        ),
        (
            "agreement_signed_with_anothers_key_and_not_over_the_others",
            wire(&sample, vec![assent(1, 2, Some(Hash::from_bytes([0; 32]))), assent(2, 2, None)]),
            "another key",
        ),
        ("agreement_one_party", changed(|a| a.parties.truncate(1)), "not consistent"),
        ("agreement_second_version", replacing(good.digest()), "accepted: in force"),
        ("agreement_second_version_without_predecessor", wire(&second_version(2, None), vec![]), "no predecessor"),
        (
            "agreement_first_version_with_predecessor",
            wire(&second_version(1, Some(good.digest())), vec![]),
            "no predecessor",
        ),
        ("agreement_version_0", wire(&second_version(0, Some(good.digest())), vec![]), "no predecessor"),
    ];
    let judge = |input: &Json| {
        let read = SignedAgreement::from_bytes(&unhex(input)).and_then(|signed| {
            let state = if signed.complete(agreement_key)?.is_some() { "in force" } else { "not yet signed by all" };
            let predecessor = signed.agreement()?.predecessor.map_or("none".to_owned(), |digest| digest.to_string());
            Ok(format!("{state}, digest {}, predecessor {predecessor}", signed.digest()))
        });
        answer_of(read, |found| found)
    };
    let about = "Signed agreements (SPEC 10) as hexadecimal CBOR. Party ids are 32 bytes of 01 and 02; \
                 each agreements key is Ed25519 with the same 32 bytes as its seed. The answer has the version's digest \
                 and that of the version it replaces.";
    check("agreement.json", include_str!("../../tests/vectors/agreement.json"), about, vectors, judge);
}
