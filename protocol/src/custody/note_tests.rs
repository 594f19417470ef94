//! Notes: the examples of C2SP, every changed byte, and what a stranger might send.

use super::note::*;
use crate::{
    limits,
    primitive::{PublicKey, SigningKey},
};
use proptest::prelude::*;

const EXAMPLE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const EXAMPLE_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn verifier(text: &str, seed: u8) -> Verifier {
    Verifier::new(name(text), SignatureType::Ed25519, key(seed).public()).unwrap()
}

fn line(text: &str, who: &str, seed: u8) -> SignatureLine {
    SignatureLine::sign(text, name(who), &key(seed)).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies_and_no_changed_byte_of_it() {
    let known = [Verifier::from_vkey(EXAMPLE_VKEY).unwrap()];
    let note = Note::from_bytes(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(note.verify(&known), Ok(vec![(0, Signed { time_s: None })]));
    assert_eq!(note.to_string(), EXAMPLE);
    assert_eq!(note.danger_unverified_text(), "This is an example message.\n");
    for at in 0..EXAMPLE.len() {
        for bit in 0..8 {
            let mut changed = EXAMPLE.as_bytes().to_vec();
            changed[at] ^= 1 << bit;
            let taken = Note::from_bytes(&changed).and_then(|note| note.verify(&known));
            assert!(taken.is_err(), "byte {at} bit {bit}");
        }
        assert!(Note::from_bytes(&EXAMPLE.as_bytes()[..at]).and_then(|note| note.verify(&known)).is_err());
    }
}

#[test]
fn a_vkey_has_one_form() {
    let verifier = Verifier::from_vkey(EXAMPLE_VKEY).unwrap();
    assert_eq!((verifier.vkey().as_str(), verifier.name().as_str()), (EXAMPLE_VKEY, "example.com/foo"));
    for wrong in [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+Aeky",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ] {
        assert_eq!(Verifier::from_vkey(wrong), None, "{wrong}");
    }
    let p256 = hex::decode("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5").unwrap();
    let p256 = PublicKey::from_bytes(&p256).unwrap();
    assert_eq!(Verifier::new(name("a"), SignatureType::Ed25519, &p256), None);
}

#[test]
fn unknown_keys_are_passed_over_and_known_ones_count_once() {
    let text = "text\n";
    let known = [verifier("a.example", 1), verifier("b.example", 2)];
    let check = |lines: Vec<SignatureLine>, expected: Result<Vec<usize>, NoteFault>| {
        let note = Note::new(text.to_owned(), lines).unwrap();
        let places = note.verify(&known).map(|found| found.into_iter().map(|(place, _)| place).collect::<Vec<_>>());
        assert_eq!(places, expected);
    };
    let (a, b, c) = (line(text, "a.example", 1), line(text, "b.example", 2), line(text, "c.example", 3));
    check(vec![a.clone()], Ok(vec![0]));
    check(vec![c.clone(), b.clone(), a.clone()], Ok(vec![1, 0]));
    check(vec![a.clone(), a.clone(), a.clone()], Ok(vec![0]));
    check(vec![c.clone()], Err(NoteFault::Unsigned));
    // A known key under another name, another key under a known name: both unknown.
    check(vec![line(text, "b.example", 1), line(text, "a.example", 3)], Err(NoteFault::Unsigned));
    // A known key's line over another text: the whole note is refused, whatever else is there.
    let other = line("other\n", "a.example", 1);
    check(vec![b, other, a], Err(NoteFault::Invalid { name: name("a.example") }));
}

#[test]
fn cosignatures_of_one_key_count_once_from_the_earliest() {
    let known = [Verifier::new(name("w.example"), SignatureType::Cosignature, key(4).public()).unwrap()];
    let line = |time_s| SignatureLine::cosign("text\n", time_s, name("w.example"), &key(4)).unwrap();
    let verify = |lines| Note::new("text\n".to_owned(), lines).unwrap().verify(&known);
    let both = verify(vec![line(9), line(7), line(8)]);
    assert_eq!(both, Ok(vec![(0, Signed { time_s: Some(7) })]));
    assert!(verify(vec![line(1 << 63)]).is_err(), "beyond any time of POSIX");
    assert!(verify(vec![line(i64::MAX.unsigned_abs())]).is_ok());
    // The same key for the other kind of signature has another id, so its line is unknown.
    let plain = SignatureLine::sign("text\n", name("w.example"), &key(4)).unwrap();
    assert_eq!(verify(vec![plain]), Err(NoteFault::Unsigned));
}

#[test]
fn notes_have_one_form() {
    let good = "\u{2014} a.example AAAAAQE=";
    let check = |bytes: &[u8], expected: Option<NoteFault>| assert_eq!(Note::from_bytes(bytes).err(), expected);
    let note = |signatures: &str| format!("text\n\n{signatures}");
    check(note(&format!("{good}\n")).as_bytes(), None);
    check(format!("a\n\nb\n\n{good}\n").as_bytes(), None);
    for form in ["", "text\n", "text\n\n", "text", good] {
        check(form.as_bytes(), Some(NoteFault::Form));
    }
    check(note(good).as_bytes(), Some(NoteFault::Form));
    for (wrong, at) in [
        ("\u{2014} a.example AAAAAQE\n", 1),
        ("\u{2014} a.example AAAAAQF=\n", 1),
        ("\u{2014} a.example AAAAAQE==\n", 1),
        ("\u{2014} a.example AAAAAA==\n", 1),
        ("\u{2014} a.example\n", 1),
        ("\u{2014}  AAAAAQE=\n", 1),
        ("\u{2014} a+b AAAAAQE=\n", 1),
        ("\u{2014} a\u{a0}b AAAAAQE=\n", 1),
        ("- a.example AAAAAQE=\n", 1),
        (&format!("{good} \n"), 1),
        (&format!("{good}\ntext\n"), 2),
    ] {
        check(note(wrong).as_bytes(), Some(NoteFault::Line { at }));
    }
    for text in ["te\txt", "te\rxt", "te\0xt"] {
        check(format!("{text}\n\n{good}\n").as_bytes(), Some(NoteFault::Text));
    }
    check(b"te\xffxt\n\n", Some(NoteFault::Text));
    check(note(&format!("{good}\n").repeat(limits::NOTE_SIGNATURES_MAX)).as_bytes(), None);
    check(note(&format!("{good}\n").repeat(limits::NOTE_SIGNATURES_MAX + 1)).as_bytes(), Some(NoteFault::TooMany));
    let given = limits::NOTE_BYTES_MAX + 1;
    check(&vec![b'x'; given], Some(NoteFault::TooLong { given }));
    let long = "n".repeat(limits::NOTE_NAME_BYTES_MAX);
    assert!(KeyName::new(&long).is_ok());
    assert_eq!(KeyName::new(&format!("{long}n")), Err(NoteFault::Name));
    assert_eq!(Note::new("no line feed".to_owned(), vec![line("x\n", "a", 1)]), Err(NoteFault::Form));
    assert_eq!(Note::new("text\n".to_owned(), vec![]), Err(NoteFault::Form));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_the_same(text in "[a-z\u{2014} \n+=A]{0,60}", tail in "(\n\n|)(\u{2014} [a-z]{1,4} [A-Za-z0-9+/]{8,12}={0,2}\n){0,3}") {
        let bytes = format!("{text}{tail}");
        if let Ok(note) = Note::from_bytes(bytes.as_bytes()) {
            prop_assert_eq!(note.to_string(), bytes);
            prop_assert!(note.verify(&[verifier("a.example", 1)]).is_err());
        }
    }
}

#[test]
fn a_note_is_nothing_that_another_key_signs() {
    let structure = crate::cose::sig_structure(&[], b"context", b"payload");
    assert!(std::str::from_utf8(&structure).is_err(), "no text of a note is one");
    let checkpoint = super::testing::Model::new(1, 1).at(1).text();
    assert!(checkpoint.starts_with("entente/1/log/"));
    // A log's signature of a text is no cosignature of it, nor the other way round, though name and key are the same.
    let verify = |kind, line: SignatureLine| {
        let known = [Verifier::new(name("same"), kind, key(1).public()).unwrap()];
        Note::new(checkpoint.clone(), vec![line]).unwrap().verify(&known)
    };
    let cosignature = SignatureLine::cosign(&checkpoint, 7, name("same"), &key(1)).unwrap();
    assert_eq!(verify(SignatureType::Ed25519, line(&checkpoint, "same", 1)).map(|found| found.len()), Ok(1));
    assert_eq!(verify(SignatureType::Cosignature, line(&checkpoint, "same", 1)), Err(NoteFault::Unsigned));
    assert_eq!(verify(SignatureType::Ed25519, cosignature), Err(NoteFault::Unsigned));
}
