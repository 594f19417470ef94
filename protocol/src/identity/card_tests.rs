//! Cards through the real parser: what is confirmed, what is refused, which key counts when.

use super::*;
use crate::{
    identity::{
        CardKey, next_root,
        samples::{ISSUED, certificate, key, payload},
        succession_step,
    },
    limits,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

fn card(change: impl FnOnce(&mut CardPayload)) -> Result<UnconfirmedCard, CardFault> {
    let mut payload = payload(1);
    change(&mut payload);
    UnconfirmedCard::from_bytes(&payload.sign_with(&key(1))?)
}

fn trusted(change: impl FnOnce(&mut CardPayload)) -> Card {
    let card = card(change).unwrap();
    let digest = card.digest();
    card.confirm(digest).unwrap()
}

#[test]
fn a_card_travels_in_armour_and_is_confirmed_by_its_words() {
    let mine = trusted(|_| ());
    let received = UnconfirmedCard::from_armour(&mine.to_armour()).unwrap();
    assert_eq!(received.payload(), mine.payload());
    assert_eq!(Words::parse(&received.words().to_string()), Ok(mine.words()));
    assert_eq!(Card::from_store(received.bytes(), mine.digest()), Ok(mine.clone()));
    // A card that an interloper made for the same name has other words and is not confirmed.
    let forged = UnconfirmedCard::from_bytes(&payload(50).sign_with(&key(50)).unwrap()).unwrap();
    assert_ne!(forged.words(), mine.words());
    assert_eq!(forged.confirm(mine.digest()), Err(CardFault::Unconfirmed));
}

#[test]
fn every_changed_byte_is_refused() {
    let bytes = payload(1).sign_with(&key(1)).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(UnconfirmedCard::from_bytes(&changed).is_err(), "byte {at}");
    }
    assert!(UnconfirmedCard::from_bytes(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn a_root_that_is_not_the_organisation_or_did_not_sign_is_refused() {
    // Claims another organisation's id with its own root.
    let stolen = card(|p| p.org = OrgId::from_bytes([9; 32]));
    assert_eq!(stolen, Err(CardFault::Organisation));
    // Brings another organisation's root certificate and signs with its own key.
    let foreign = payload(1).sign_with(&key(50));
    assert_eq!(foreign, Err(CardFault::Signature(SignatureFault::Key)));
    // Signed under the right key's id by another one.
    let mine = payload(1);
    let other = key(50).sign(&mine.to_be_signed().unwrap());
    assert_eq!(mine.assemble(&other), Err(CardFault::Signature(SignatureFault::Invalid)));
    assert!(mine.assemble(&key(1).sign(&mine.to_be_signed().unwrap())).is_ok());
    // A card signed for another purpose.
    let batch = cose::sign(label::SIGN_BATCH, &key(1), &mine.to_bytes().unwrap());
    let batch = SignatureBytes(batch).to_bytes().unwrap();
    assert_eq!(UnconfirmedCard::from_bytes(&batch), Err(CardFault::Signature(SignatureFault::Invalid)));
}

#[test]
fn a_root_of_p256_signs_elsewhere() {
    // The published key `11` of the COSE working group's examples.
    let private = hex::decode("57c92077664146e876760c9520d054aa93c3afb04e306705db6090308507b4d3").unwrap();
    let public = hex::decode(concat!(
        "04bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff",
        "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
    ))
    .unwrap();
    #[expect(clippy::disallowed_types, reason = "ECDSA in ring draws its own nonce; only this test signs with it")]
    let random = ring::rand::SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &public, &random)
            .unwrap();
    let root = PublicKey::from_bytes(pair.public_key().as_ref()).unwrap();
    let mut mine = payload(1);
    mine.org = OrgId::from_bytes(*root.id().as_bytes());
    mine.root = certificate(&root, &key(1));
    mine.keys[0].key = root.clone();
    let signature = pair.sign(&random, &mine.to_be_signed().unwrap()).unwrap();
    let read = UnconfirmedCard::from_bytes(&mine.assemble(signature.as_ref()).unwrap()).unwrap();
    assert_eq!(read.payload(), &mine);
    let digest = read.digest();
    assert_eq!(read.confirm(digest).unwrap().root(), &root);
}

#[test]
fn one_key_one_purpose() {
    let twice = card(|p| p.keys.push(CardKey { purpose: Purpose::Runs, ..p.keys[1].clone() }));
    assert_eq!(twice, Err(PayloadFault::KeyTwice { key: key(2).public().id() }.into()));
    let mine = trusted(|_| ());
    let records = key(2).public().id();
    assert!(mine.key(Purpose::Records, records, ISSUED).is_some());
    for purpose in Purpose::ALL.into_iter().filter(|p| *p != Purpose::Records) {
        assert_eq!(mine.key(purpose, records, ISSUED), None, "{purpose}");
    }
    assert_eq!(mine.key(Purpose::Records, key(77).public().id(), ISSUED), None);
}

#[test]
fn keys_count_within_their_interval_until_revoked_or_compromised() {
    let id = key(2).public().id();
    let at = |card: &Card, time| card.key(Purpose::Records, id, UnixMillis(time)).is_some();
    let mine = trusted(|p| p.keys[1].until = Some(UnixMillis(5_000)));
    assert_eq!([999, 1_000, 4_999, 5_000].map(|t| at(&mine, t)), [false, true, true, false]);
    let revoked = trusted(|p| p.keys[1].revoked = Some(UnixMillis(3_000)));
    assert_eq!([2_999, 3_000].map(|t| at(&revoked, t)), [true, false]);
    assert_eq!(revoked.withdrawn().collect::<Vec<_>>(), vec![id]);
    let compromised = trusted(|p| p.keys[1].compromised = Some(UnixMillis(2_000)));
    assert_eq!([1_999, 2_000].map(|t| at(&compromised, t)), [true, false]);
    assert!(compromised.listed(Purpose::Records, id).is_some());
    assert_eq!(mine.withdrawn().count(), 0);
    // Of two that count, the one that began last is current.
    let renewed = trusted(|p| {
        p.keys.push(CardKey::new(Purpose::Records, key(30).public().clone(), UnixMillis(4_000)));
    });
    let current = |t| renewed.current(Purpose::Records, UnixMillis(t)).map(|k| k.key.id());
    assert_eq!(current(3_999), Some(id));
    assert_eq!(current(4_000), Some(key(30).public().id()));
    assert_eq!(current(999), None);
    let reversed = card(|p| p.keys[1].until = Some(UnixMillis(1_000)));
    assert_eq!(reversed, Err(PayloadFault::Interval { key: id }.into()));
}

#[test]
fn updates_rise_and_stay_with_root_and_organisation() {
    let known = trusted(|_| ());
    let newer = card(|p| p.number = 8).unwrap();
    assert_eq!(Card::verify_update(&known, newer).map(|c| c.payload().number), Ok(8));
    for number in [6, 7] {
        let older = card(|p| p.number = number).unwrap();
        assert_eq!(Card::verify_update(&known, older), Err(CardFault::NotNewer { given: number, known: 7 }));
    }
    // Keys of certificates come and go. What others signed with stays listed, from the same day on.
    let fresh = || key(31).public().clone();
    for (place, entry) in known.payload().keys.iter().enumerate().filter(|(_, entry)| entry.purpose != Purpose::Root) {
        let gone = card(|p| (p.number, p.keys[place].key) = (8, fresh())).unwrap();
        let later = card(|p| (p.number, p.keys[place].from) = (8, UnixMillis(1_001))).unwrap();
        let expected = match entry.purpose {
            Purpose::Issuing | Purpose::Node => Ok(8),
            _ => Err(CardFault::Unsaid { key: entry.key.id() }),
        };
        for newer in [gone, later] {
            assert_eq!(Card::verify_update(&known, newer).map(|c| c.payload().number), expected, "{}", entry.purpose);
        }
    }
    let other = UnconfirmedCard::from_bytes(&payload(50).sign_with(&key(50)).unwrap()).unwrap();
    assert_eq!(Card::verify_update(&known, other), Err(CardFault::OtherOrganisation));
}

#[test]
fn names_that_mislead_are_refused() {
    let name = |field: &'static str| Err(CardFault::from(PayloadFault::Text { field }));
    for wrong in
        ["", " Panel", "Panel\n", "\u{202e}lenaP", "Pa\u{200b}nel", "Panel\u{2069}", "\u{feff}Panel", &"x".repeat(513)]
    {
        assert_eq!(card(|p| wrong.clone_into(&mut p.name)), name("name"), "{wrong:?}");
    }
    assert!(card(|p| "Bureau du groupe d’experts — مكتب".clone_into(&mut p.name)).is_ok());
    assert_eq!(card(|p| p.contacts[0].phone = Some("+1\u{202e}2".to_owned())), name("contacts"));
    for wrong in ["", "Panel", "9panel", "pa nel", "pa/nel", &"x".repeat(33)] {
        assert_eq!(card(|p| wrong.clone_into(&mut p.handle)), Err(PayloadFault::Handle.into()), "{wrong:?}");
    }
    for wrong in ["", "age1qqqq", &format!("age1pq1{}", "b".repeat(1_952)), &format!("age1pq1{}", "q".repeat(1_951))] {
        assert_eq!(card(|p| wrong.clone_into(&mut p.age)), Err(PayloadFault::AgeRecipient.into()), "{wrong:?}");
    }
}

#[test]
fn addresses_are_parsed_not_believed() {
    for good in ["node.example:1", "localhost:65535", "192.0.2.7:4433", "[2001:db8::7]:4433", "a-b.c1:80"] {
        let address: crate::identity::Address = good.parse().unwrap();
        assert_eq!(address.to_string(), good);
        assert_eq!(format!("{}:{}", address.host(), address.port()), good.replace(['[', ']'], ""));
    }
    for wrong in [
        "",
        "node.example",
        "node.example:0",
        "node.example:65536",
        "node.example:080",
        "node.example:+80",
        ":80",
        "-a:80",
        "a..b:80",
        "2001:db8::7:80",
        "[2001:db8::7]",
        "[zz]:80",
        "1.2.3.999:80",
        "a b:80",
        "https://a:80",
        "a/b:80",
        "bücher.example:80",
    ] {
        assert!(wrong.parse::<crate::identity::Address>().is_err(), "{wrong}");
    }
}

#[test]
fn bounds_are_met_and_held() {
    let contact = payload(1).contacts[0].clone();
    let address = payload(1).addresses[0].clone();
    assert!(card(|p| p.contacts = vec![contact.clone(); limits::CARD_CONTACTS_MAX]).is_ok());
    assert!(card(|p| p.addresses = vec![address.clone(); limits::CARD_ADDRESSES_MAX]).is_ok());
    let many = |n: usize| {
        move |p: &mut CardPayload| {
            let more = (100..).take(n - p.keys.len());
            p.keys.extend(more.map(|s| CardKey::new(Purpose::Node, key(s).public().clone(), UnixMillis(1))));
        }
    };
    assert!(card(many(limits::CARD_KEYS_MAX)).is_ok());
    let refused = |field, given, max| Err(CardFault::from(PayloadFault::TooMany { field, given, max }));
    assert_eq!(card(many(65)), refused("keys", 65, 64));
    assert_eq!(card(|p| p.contacts = vec![contact; 17]), refused("contacts", 17, 16));
    assert_eq!(card(|p| p.addresses = vec![address; 9]), refused("addresses", 9, 8));
    assert_eq!(card(|p| p.root = vec![0x30; limits::CERTIFICATE_BYTES_MAX + 1]), Err(PayloadFault::Root.into()));
    assert_eq!(card(|p| p.root.push(0)), Err(PayloadFault::Root.into()));
    assert_eq!(card(|p| p.v = 2), Err(PayloadFault::Version { given: 2 }.into()));
    assert_eq!(card(|p| p.keys.truncate(0)), Err(PayloadFault::RootUnlisted.into()));
    assert_eq!(card(|p| p.keys[0].purpose = Purpose::Node), Err(PayloadFault::RootUnlisted.into()));
    assert_eq!(card(|p| p.keys[0].revoked = Some(ISSUED)), Err(PayloadFault::RootUnlisted.into()));
    let huge = vec![0u8; limits::CARD_BYTES_MAX + 1];
    assert!(matches!(UnconfirmedCard::from_bytes(&huge), Err(CardFault::Signature(_))));
}

#[test]
fn the_next_root_is_committed_to_not_shown() {
    let commitment = payload(1).next_root.unwrap();
    assert_eq!(commitment, next_root(key(10).public()));
    assert_ne!(commitment.as_bytes(), key(10).public().id().as_bytes());
}

/// The card of `payload(1)`'s organisation under its second root, which has seed 10.
fn succeeded(change: impl FnOnce(&mut CardPayload)) -> Result<UnconfirmedCard, CardFault> {
    let mut second = payload(10);
    second.org = payload(1).org;
    second.number = 8;
    second.keys.extend(payload(1).keys.into_iter().skip(1));
    second.succession = vec![succession_step(&key(1), key(10).public())?];
    change(&mut second);
    UnconfirmedCard::from_bytes(&second.sign_with(&key(10))?)
}

#[test]
fn a_root_is_succeeded_by_the_key_that_it_signed_and_committed_to() {
    let known = trusted(|_| ());
    let second = Card::verify_update(&known, succeeded(|_| ()).unwrap()).unwrap();
    assert_eq!((second.org(), second.root()), (known.org(), key(10).public()));
    // And again, from the second to the third.
    let mut third = payload(19);
    third.org = known.org();
    third.number = 9;
    third.keys.extend(second.payload().keys.iter().filter(|entry| entry.purpose != Purpose::Root).cloned());
    third.succession =
        vec![succession_step(&key(1), key(10).public()).unwrap(), succession_step(&key(10), key(19).public()).unwrap()];
    let third = UnconfirmedCard::from_bytes(&third.sign_with(&key(19)).unwrap()).unwrap();
    assert_eq!(Card::verify_update(&second, third.clone()).map(|c| c.root().clone()), Ok(key(19).public().clone()));
    // Past the second: the first root alone, stolen after it was replaced, leads nowhere.
    let mut past = third.payload().clone();
    past.succession = vec![succession_step(&key(1), key(19).public()).unwrap()];
    let past = UnconfirmedCard::from_bytes(&past.sign_with(&key(19)).unwrap()).unwrap();
    assert_eq!(Card::verify_update(&second, past), Err(CardFault::OtherRoot));
    // Whoever missed the second confirms by voice, and a new partner too.
    assert_eq!(Card::verify_update(&known, third.clone()), Err(CardFault::OtherRoot));
    let digest = third.digest();
    assert!(third.confirm(digest).is_ok());
}

#[test]
fn a_succession_with_a_gap_or_without_the_commitment_is_refused() {
    assert_eq!(succeeded(|p| p.succession.clear()), Err(CardFault::Organisation));
    // Signed by a root that is not the organisation's first.
    let foreign = succeeded(|p| p.succession = vec![succession_step(&key(50), key(10).public()).unwrap()]);
    assert_eq!(foreign, Err(CardFault::Organisation));
    let elsewhere = succeeded(|p| p.succession = vec![succession_step(&key(1), key(51).public()).unwrap()]);
    assert_eq!(elsewhere, Err(CardFault::Succession));
    let gap = succeeded(|p| p.succession.push(succession_step(&key(50), key(10).public()).unwrap()));
    assert_eq!(gap, Err(CardFault::Succession));
    let many = succeeded(|p| p.succession = vec![p.succession[0].clone(); limits::CARD_ROOTS_MAX + 1]);
    assert_eq!(many, Err(CardFault::Succession));
    // The old root was stolen and signs another successor than the one committed to.
    for commitment in [None, Some(next_root(key(99).public()))] {
        let known = trusted(|p| p.next_root = commitment);
        assert_eq!(Card::verify_update(&known, succeeded(|_| ()).unwrap()), Err(CardFault::OtherRoot));
    }
}

#[test]
fn a_stolen_root_neither_names_its_own_successor_nor_dates_back() {
    let known = trusted(|_| ());
    let number = |newer| Card::verify_update(&known, newer).map(|card| card.payload().number);
    for commitment in [None, Some(next_root(key(99).public()))] {
        assert_eq!(number(changed(8, |p| p.next_root = commitment)), Err(CardFault::NextRoot));
    }
    // A card that commits to none yet may begin to.
    let earlier = trusted(|p| p.next_root = None);
    assert!(Card::verify_update(&earlier, changed(8, |_| ())).is_ok());
    // A later card that says it is older would let one after it end keys on a day that is over.
    let given = ISSUED.minus(1);
    assert_eq!(number(changed(8, |p| p.issued = given)), Err(CardFault::Backdated { given, known: ISSUED }));
    assert_eq!(number(changed(8, |p| p.issued = ISSUED)), Ok(8));
    let root = succeeded(|p| p.issued = given).unwrap();
    assert_eq!(number(root), Err(CardFault::Backdated { given, known: ISSUED }));
}

/// A card of which keys were changed, one number on.
fn changed(number: u64, change: impl FnOnce(&mut CardPayload)) -> UnconfirmedCard {
    card(|p| {
        p.number = number;
        change(p);
    })
    .unwrap()
}

#[test]
fn an_end_that_was_stated_stays_and_none_is_in_the_past() {
    type Set = fn(&mut CardKey, Option<UnixMillis>);
    let sets: [(Set, bool); 3] =
        [(|k, t| k.until = t, false), (|k, t| k.revoked = t, false), (|k, t| k.compromised = t, true)];
    let key = key(2).public().id();
    let refused = Err(CardFault::End { key });
    let (late, early) = (ISSUED.plus(9), ISSUED.plus(5));
    for (set, past) in sets {
        let to = |known: Option<UnixMillis>, given: Option<UnixMillis>| {
            let known = trusted(|p| set(&mut p.keys[1], known));
            Card::verify_update(&known, changed(8, |p| set(&mut p.keys[1], given))).map(|card| card.payload().number)
        };
        // A key that had ended counts again, or for longer.
        assert_eq!(to(Some(early), None), refused, "resurrected");
        assert_eq!(to(Some(early), Some(late)), refused, "resurrected for a while");
        assert_eq!(
            (to(None, Some(early)), to(Some(late), Some(early)), to(Some(late), Some(late))),
            (Ok(8), Ok(8), Ok(8))
        );
        // What was signed while the known card listed it as good is taken back by `compromised` alone.
        let shrunk = if past { Ok(8) } else { refused.clone() };
        assert_eq!(to(None, Some(ISSUED.minus(1))), shrunk);
        assert_eq!(to(Some(late), Some(ISSUED.minus(1))), shrunk);
    }
}

#[test]
fn a_key_that_was_revoked_never_leaves_the_card() {
    let node = |p: &mut CardPayload| {
        p.keys.push(CardKey {
            revoked: Some(ISSUED),
            ..CardKey::new(Purpose::Node, key(70).public().clone(), UnixMillis(1))
        });
    };
    let known = trusted(node);
    let key = key(70).public().id();
    assert_eq!(Card::verify_update(&known, changed(8, |_| ())), Err(CardFault::Unsaid { key }));
    assert!(Card::verify_update(&known, changed(8, node)).is_ok());
    // Nor does it come back for another purpose.
    let other = changed(8, |p| {
        node(p);
        p.keys.last_mut().unwrap().purpose = Purpose::Issuing;
    });
    assert_eq!(Card::verify_update(&known, other), Err(CardFault::Unsaid { key }));
}

#[test]
fn two_cards_of_one_number_are_named() {
    let known = trusted(|_| ());
    let twin = card(|p| "Office of Another Panel".clone_into(&mut p.name)).unwrap();
    assert_eq!(Card::verify_update(&known, twin), Err(CardFault::Twice { number: 7 }));
    assert_eq!(Card::verify_update(&known, card(|_| ()).unwrap()), Err(CardFault::NotNewer { given: 7, known: 7 }));
}
