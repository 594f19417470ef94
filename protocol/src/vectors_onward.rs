//! Golden vectors of onward release: grants, requests, and what was passed on. See the head of `vectors.rs`. Tests only.

use crate::{
    cose::{self, SignatureBytes},
    feed::testing::{key, org, records_key, runs_key},
    grant::{Grant, Passed, PassedOn, Request, Scope},
    id::{AgreementId, GrantId, LineId, RecordId},
    label,
    record::{SlotSet, kind::Kind},
    time::UnixMillis,
    vectors::{answer_of, check, unhex},
};
use serde_json::{Value as Json, json};

#[test]
fn grants() {
    let scope = Scope {
        kind: Kind::Item,
        lines: vec![LineId::from_bytes([4; 16]), LineId::from_bytes([5; 16])],
        slots: [0, 8, 14].into_iter().collect(),
        purposes: vec!["tracing".to_owned()],
        retention_days: 30,
        until: UnixMillis(900),
    };
    let grant = Grant { scope: scope.clone(), from: org(2), to: org(3), time: UnixMillis(5), originator: org(1) };
    let no = Grant { scope: Scope { slots: SlotSet::EMPTY, lines: Vec::new(), ..scope.clone() }, ..grant.clone() };
    let asked = Request { scope, to: org(3), time: UnixMillis(6), reason: "asked".to_owned(), holder: org(2) };
    let on = PassedOn {
        to: org(3),
        gone: false,
        grant: GrantId::from_bytes([7; 32]),
        record: RecordId::from_bytes([8; 32]),
        agreement: AgreementId::from_bytes([9; 16]),
    };
    let passed = Passed { v: 1, time: UnixMillis(7), holder: org(2), passed: vec![on] };
    let hex = |signed: &SignatureBytes| json!(hex::encode(signed.to_bytes().unwrap()));
    let signed = grant.sign(&key(101)).unwrap().1;
    let payload_of = |signed: &SignatureBytes| signed.parse().unwrap().danger_unverified_payload().to_vec();
    let payload = payload_of(&signed);
    let (asks, passes) = (asked.sign(&key(2)).unwrap(), passed.sign(&key(2)).unwrap());
    let with = |context, seed: u8, payload: &[u8]| hex(&SignatureBytes(cose::sign(context, &key(seed), payload)));
    let other = |payload: &[u8], from: &[u8], to: &[u8]| {
        let at = payload.windows(from.len()).position(|w| w == from).unwrap();
        [&payload[..at], to, &payload[at + from.len()..]].concat()
    };
    let changed = |from: &[u8], to: &[u8]| with(label::SIGN_GRANT, 101, &other(&payload, from, to));
    let asking = |from: &[u8], to: &[u8]| with(label::SIGN_GRANT_REQUEST, 2, &other(&payload_of(&asks), from, to));
    let passing = |from: &[u8], to: &[u8]| with(label::SIGN_PASSED, 2, &other(&payload_of(&passes), from, to));
    let vectors = vec![
        ("grant_valid", hex(&signed), "accepted: grant"),
        ("grant_that_says_no", hex(&no.sign(&key(101)).unwrap().1), "accepted: grant"),
        ("grant_signed_by_another_key", with(label::SIGN_GRANT, 102, &payload), "another key"),
        ("grant_in_another_context", with(label::SIGN_RECALL, 101, &payload), "does not verify"),
        ("grant_of_another_format", changed(b"av\x01", b"av\x02"), "malformed"),
        ("grant_of_lines_out_of_order", changed(&[4; 16], &[6; 16]), "malformed"),
        ("grant_of_slots_out_of_order", changed(&[0x83, 0, 8, 14], &[0x83, 8, 0, 14]), "malformed"),
        ("grant_of_a_slot_that_there_is_not", changed(&[0x83, 0, 8, 14], &[0x83, 0, 7, 14]), "malformed"),
        ("grant_to_its_holder", changed(&[3; 32], &[2; 32]), "malformed"),
        ("request_valid", hex(&asks), "accepted: request"),
        ("request_of_another_format", asking(b"av\x01", b"av\x02"), "malformed"),
        ("request_of_no_slots", asking(&[0x83, 0, 8, 14], &[0x80]), "malformed"),
        ("request_to_its_holder", asking(&[3; 32], &[2; 32]), "malformed"),
        ("request_for_a_reason_of_two_lines", asking(b"asked", b"as\ned"), "malformed"),
        ("request_of_another_holder", asking(&[2; 32], &[4; 32]), "another key"),
        ("passed_valid", hex(&passes), "accepted: 1 passed on"),
        ("passed_of_another_format", passing(b"av\x01", b"av\x02"), "malformed"),
        ("passed_of_another_holder", passing(&[2; 32], &[4; 32]), "another key"),
        ("passed_of_a_member_unknown", passing(b"dgone", b"dgona"), "malformed"),
    ];
    let judge = |input: &Json| {
        let Ok(signed) = SignatureBytes::from_bytes(&unhex(input), 4_096) else {
            return "canonical, but of another form".to_owned();
        };
        let by = |context| signed.parse().is_ok_and(|s| s.verify(context, &key(2).public().clone()).is_ok());
        if by(label::SIGN_GRANT_REQUEST) {
            return answer_of(Request::verify(&signed, org(2), runs_key(org(2))), |r| format!("request to {}", r.to));
        }
        if by(label::SIGN_PASSED) {
            let key = |kid, _| runs_key(org(2))(kid);
            return answer_of(Passed::verify(&signed, org(2), key), |p| format!("{} passed on", p.passed.len()));
        }
        answer_of(Grant::verify(&signed, |org, kid, _| records_key(org, kid)), |(id, grant)| {
            format!("grant {id} of {} slots", grant.scope.slots.iter().count())
        })
    };
    let about = "Grants, requests and words of what was passed on (SPEC 11) as hexadecimal CBOR. Ids of organisations are 32 \
                 bytes of their number: 01 the originator, 02 the holder, 03 the receiver. Keys are Ed25519 with seeds of 32 \
                 bytes: the originator's records key of 65, the holder's runs key of 02.";
    check("grant.json", include_str!("../../tests/vectors/grant.json"), about, vectors, judge);
}
