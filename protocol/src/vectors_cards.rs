//! Golden vectors of newer cards: what is known, what comes, and whether it is taken. See the head of `vectors.rs`.
//! Tests only.

use crate::{
    codec::{self, Bounds},
    cose::{self, SignatureBytes},
    identity::{
        Card, CardKey, CardPayload, Purpose, UnconfirmedCard, next_root,
        samples::{self, ISSUED},
        succession_step,
    },
    label, limits,
    time::UnixMillis,
    vectors::{ACCEPTED, answer_of, check, unhex},
};
use serde_json::{Value as Json, json};

/// `by` is the seed of the root; its next one is that of the seed nine higher.
fn card((number, by): (u64, u8), change: impl Fn(&mut CardPayload)) -> Json {
    let mut payload = samples::payload(by);
    payload.org = samples::payload(1).org;
    payload.number = number;
    change(&mut payload);
    // Signed without the checks that our own signer makes.
    let bytes = codec::to_vec(&payload, Bounds::bytes(limits::CARD_BYTES_MAX)).unwrap();
    let signed = cose::sign(label::SIGN_CARD, &samples::key(by), &bytes);
    json!(hex::encode(SignatureBytes(signed).to_bytes().unwrap()))
}

fn answer(input: &Json) -> String {
    let read = |name: &str| UnconfirmedCard::from_bytes(&unhex(&input[name])).unwrap();
    let known = read("known");
    let confirmed = known.digest();
    let known = known.confirm(confirmed).unwrap();
    answer_of(Card::verify_update(&known, read("newer")), |card| format!("number {}", card.payload().number))
}

#[test]
fn updates() {
    let plain = |number| card((number, 1), |_| ());
    let of = |purpose: Purpose, set: fn(&mut CardKey)| {
        move |p: &mut CardPayload| {
            let key = p.keys.iter_mut().find(|key| key.purpose == purpose).unwrap();
            set(key);
        }
    };
    let late = of(Purpose::Records, |key| key.until = Some(ISSUED.plus(9)));
    let early = of(Purpose::Records, |key| key.until = Some(ISSUED.plus(5)));
    let over = of(Purpose::Records, |key| key.until = Some(ISSUED.minus(1)));
    let revoked = of(Purpose::Records, |key| key.revoked = Some(ISSUED.plus(3)));
    let stolen = of(Purpose::Records, |key| key.compromised = Some(ISSUED.minus(500)));
    let stolen_later = of(Purpose::Records, |key| key.compromised = Some(ISSUED.minus(400)));
    let moved = of(Purpose::Records, |key| key.purpose = Purpose::Runs);
    let without = |p: &mut CardPayload| p.keys.retain(|key| key.purpose != Purpose::Records);
    let uncommitted = |p: &mut CardPayload| p.next_root = None;
    let succeeded = |p: &mut CardPayload| {
        p.succession = vec![succession_step(&samples::key(1), samples::key(10).public()).unwrap()];
        // Keys that the known card lists stay listed, but for its root.
        p.keys.extend(samples::payload(1).keys.into_iter().filter(|key| key.purpose != Purpose::Root));
    };
    let own_next = |p: &mut CardPayload| p.next_root = Some(next_root(samples::key(99).public()));
    let at = |issued: UnixMillis| move |p: &mut CardPayload| p.issued = issued;
    let renamed = card((7, 1), |p| p.name = "Another name".to_owned());
    let with = |known: Json, newer: Json| json!({ "known": known, "newer": newer });
    let vectors = vec![
        ("update_valid", with(plain(7), plain(8)), ACCEPTED),
        ("update_of_the_same_number", with(plain(7), renamed), "two cards of number"),
        ("update_with_a_lower_number", with(plain(7), plain(6)), "number"),
        ("update_that_leaves_a_key_out", with(plain(7), card((8, 1), without)), "key"),
        ("update_that_moves_a_key", with(plain(7), card((8, 1), moved)), "key"),
        ("update_that_ends_a_key", with(plain(7), card((8, 1), early)), ACCEPTED),
        ("update_that_ends_a_key_earlier", with(card((7, 1), late), card((8, 1), early)), ACCEPTED),
        ("update_that_ends_a_key_later", with(card((7, 1), early), card((8, 1), late)), "end"),
        ("update_that_takes_an_end_back", with(card((7, 1), revoked), plain(8)), "end"),
        ("update_that_ends_a_key_in_the_past", with(plain(7), card((8, 1), over)), "end"),
        ("update_with_a_key_that_was_stolen", with(plain(7), card((8, 1), stolen)), ACCEPTED),
        ("update_with_a_key_stolen_later", with(card((7, 1), stolen), card((8, 1), stolen_later)), "end"),
        ("update_to_the_committed_root", with(plain(7), card((8, 10), succeeded)), ACCEPTED),
        (
            "update_to_a_root_nobody_committed_to",
            with(card((7, 1), uncommitted), card((8, 10), succeeded)),
            "another root",
        ),
        ("update_with_another_next_root", with(plain(7), card((8, 1), own_next)), "another next root"),
        ("update_that_takes_the_next_root_back", with(plain(7), card((8, 1), uncommitted)), "another next root"),
        ("update_that_commits_to_a_next_root", with(card((7, 1), uncommitted), plain(8)), ACCEPTED),
        ("update_of_the_same_time", with(plain(7), card((8, 1), at(ISSUED))), ACCEPTED),
        ("update_that_dates_back", with(plain(7), card((8, 1), at(ISSUED.minus(1)))), "before the one that is known"),
    ];
    let about = "Newer cards (SPEC 9, CARD-6 and CARD-10) as hexadecimal CBOR: the card that is known and confirmed, and the \
                 one that comes. The first root is Ed25519 with a seed of 32 bytes of 01, the second of 0a.";
    check("update.json", include_str!("../../tests/vectors/update.json"), about, vectors, answer);
}
