//! Golden vectors of persons: certificates, and calls under a person's signature. See the head of `vectors.rs`. Tests only.

use crate::{
    cose::{self, SignatureBytes},
    feed::testing::{key, org, runs_key},
    id::{Nonce, UserId},
    label,
    time::UnixMillis,
    user::{Role, UserAct, UserCertificate},
    vectors::{answer_of, check, unhex},
};
use serde_json::{Value as Json, json};

#[test]
fn users() {
    let (person, roles) = (key(8).public().clone(), [Role::Collector, Role::Reviewer].into());
    let user = UserCertificate::new(org(1), UserId::from_bytes([7; 16]), person, "A. Diallo", roles, UnixMillis(5));
    let ended =
        UserCertificate { until: Some(UnixMillis(9)), number: 2, disabled: Some(UnixMillis(7)), ..user.clone() };
    let hex = |signed: &SignatureBytes| json!(hex::encode(signed.to_bytes().unwrap()));
    let (digest, signed) = user.sign(&key(1)).unwrap();
    let call = UserAct::of_call(b"{}");
    let act = UserAct { v: 1, at: UnixMillis(6), call, user: digest, nonce: Nonce::from_bytes([3; 16]) };
    let asked = act.sign(&key(8)).unwrap();
    let payload_of = |signed: &SignatureBytes| signed.parse().unwrap().danger_unverified_payload().to_vec();
    let (payload, asks) = (payload_of(&signed), payload_of(&asked));
    let with = |context, seed: u8, payload: &[u8]| hex(&SignatureBytes(cose::sign(context, &key(seed), payload)));
    let other = |payload: &[u8], from: &[u8], to: &[u8]| {
        let at = payload.windows(from.len()).position(|w| w == from).unwrap();
        [&payload[..at], to, &payload[at + from.len()..]].concat()
    };
    let changed = |from: &[u8], to: &[u8]| with(label::SIGN_USER, 1, &other(&payload, from, to));
    let vectors = vec![
        ("user_valid", hex(&signed), "accepted: person"),
        ("user_disabled", hex(&ended.sign(&key(1)).unwrap().1), "accepted: person"),
        ("user_certified_by_a_person", with(label::SIGN_USER, 8, &payload), "another key"),
        ("user_in_another_context", with(label::SIGN_REVIEW, 1, &payload), "does not verify"),
        ("user_of_another_format", changed(b"av\x01", b"av\x02"), "of another type"),
        ("user_of_another_organisation", changed(&[1; 32], &[2; 32]), "another key"),
        (
            "user_with_the_key_of_the_office",
            changed(key(8).public().as_bytes(), key(1).public().as_bytes()),
            "another key",
        ),
        ("user_of_roles_out_of_order", changed(b"icollectorhreviewer", b"hreviewericollector"), "of another type"),
        ("user_of_a_role_unknown", changed(b"icollector", b"icollectos"), "of another type"),
        ("user_of_a_role_twice", changed(b"icollectorhreviewer", b"icollectoricollector"), "of another type"),
        ("user_of_a_name_of_two_lines", changed(b"A. Diallo", b"A.\nDiallo"), "of another type"),
        ("user_of_number_0", changed(b"fnumber\x01", b"fnumber\x00"), "of another type"),
        ("user_of_a_member_unknown", changed(b"eroles", b"erolez"), "of another type"),
        ("act_valid", hex(&asked), "accepted: act"),
        ("act_by_another_person", with(label::SIGN_ACT, 9, &asks), "another key"),
        ("act_of_another_format", with(label::SIGN_ACT, 8, &other(&asks, b"av\x01", b"av\x02")), "of another type"),
    ];
    let judge = |input: &Json| {
        let Ok(signed) = SignatureBytes::from_bytes(&unhex(input), 4_096) else {
            return "canonical, but of another form".to_owned();
        };
        let person = key(8).public().clone();
        if signed.parse().is_ok_and(|s| s.verify(label::SIGN_ACT, &person).is_ok()) {
            return answer_of(UserAct::verify(&signed, &person), |act| format!("act by {}", act.user));
        }
        answer_of(UserCertificate::verify(&signed, org(1), runs_key(org(1))), |(digest, user)| {
            format!("person {} by certificate {digest}", user.id)
        })
    };
    let about = "Certificates of persons and calls under their signature (SPEC 9) as hexadecimal CBOR. The organisation's id is \
                 32 bytes of 01. Keys are Ed25519 with seeds of 32 bytes: the organisation's users key of 01, the person's of 08.";
    check("user.json", include_str!("../../tests/vectors/user.json"), about, vectors, judge);
}
