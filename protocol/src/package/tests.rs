//! What a package proves, and that whatever is changed in it is refused and named.

use super::{
    Confirmed, FileState, Name, PackageFault, Pins, Report, Since, container,
    name::LogPart,
    parts::{Logged, Part, SentRun, Standing, State},
    testing::*,
    verify,
};
use crate::{
    cose::SignatureBytes,
    id::{Hash, OrgId},
    identity::{CardFault, CardPayload, Purpose, UnconfirmedCard},
    limits,
    time::UnixMillis,
};

const SHOWN: &[u8] = &[0, 8, 10];

fn refused(bytes: &[u8]) -> PackageFault {
    match verified(bytes) {
        Err(fault) => fault,
        Ok(report) => panic!("it was taken: {report:?}"),
    }
}

/// The card of an organisation of the sample, changed before it is signed.
fn with_card(sample: &mut Sample, seed: u8, change: impl Fn(&mut CardPayload)) {
    let mut payload = payload(seed);
    change(&mut payload);
    for (of, bytes) in &mut sample.cards {
        if *of == org(seed) {
            *bytes = card(&payload, seed);
        }
    }
}

fn key_of(payload: &mut CardPayload, purpose: Purpose) -> &mut crate::identity::CardKey {
    payload.keys.iter_mut().find(|key| key.purpose == purpose).unwrap()
}

fn pinned(seeds: &[u8], bytes: &[u8]) -> Result<Report, PackageFault> {
    let mut pins = Pins::default();
    for seed in seeds {
        pins.push(UnconfirmedCard::from_bytes(&card(&payload(*seed), *seed)).unwrap());
    }
    verify(bytes, &pins, NOW, &mut |_, _| ())
}

#[test]
fn a_package_says_what_is_proved_by_whom_and_since_when() {
    let report = verified(&Sample::new(SHOWN).bytes()).unwrap();
    assert!(report.is_good());
    assert_eq!((report.maker, report.made), (org(RECEIVER), MADE));
    assert_eq!((report.files, report.file_bytes), (1, FILE.len() as u64));
    let [item, file] = report.records.as_slice() else { panic!("{report:?}") };
    assert_eq!((item.number.as_deref(), item.originator, item.attested), (Some("T-1"), org(ORIGINATOR), ATTESTED));
    assert_eq!(item.shown.iter().collect::<Vec<_>>(), SHOWN);
    assert_eq!((item.file, file.file), (FileState::None, FileState::Here));
    // The receiver countersigned before the log was witnessed.
    assert_eq!(item.since, Since::Countersigned { at: RECEIVED, by: org(RECEIVER) });
    let [hand] = item.hands.as_slice() else { panic!("{item:?}") };
    assert_eq!((hand.from, hand.to, hand.sent, hand.received), (org(ORIGINATOR), org(RECEIVER), SENT, Some(RECEIVED)));
    let [log] = report.logs.as_slice() else { panic!("{report:?}") };
    assert_eq!((log.org, log.by.get(&org(WITNESS)), log.places), (org(ORIGINATOR), Some(&WITNESSED), 1));
    assert!(report.parties.iter().all(|party| party.confirmed == Confirmed::ByNobody));
}

#[test]
fn what_is_not_shown_is_not_there_and_the_rest_is_proved_all_the_same() {
    for slots in [&[][..], &[0], &[10], &[0, 1, 8, 10]] {
        let sample = Sample::new(slots);
        let report = verified(&sample.bytes()).unwrap();
        assert!(report.is_good());
        assert_eq!(report.records[0].shown.iter().collect::<Vec<_>>(), slots);
    }
    let hidden = Sample::new(&[0]).bytes();
    assert!(!hidden.windows(7).any(|window| window == b"Zastava"));
}

#[test]
fn without_others_only_the_originator_says_since_when() {
    let mut sample = Sample::new(SHOWN);
    sample.log = None;
    sample.maker = ORIGINATOR;
    let bare = |part: &Part| Part::new(part.redacted(), (1, part.position, part.above.clone()), part.standing, vec![]);
    sample.records = sample.records.iter().map(bare).collect();
    sample.runs.clear();
    let report = verified(&sample.bytes()).unwrap();
    assert_eq!(report.records[0].since, Since::Stated { at: ATTESTED });
    assert!(report.records[0].hands.is_empty() && report.is_good());
    // A witness of its log is another than itself.
    let mut sample = Sample::new(SHOWN);
    sample.records = sample.records.iter().map(bare).collect();
    sample.runs.clear();
    let report = verified(&sample.bytes()).unwrap();
    assert_eq!(report.records[0].since, Since::Witnessed { at: WITNESSED, by: vec![org(WITNESS)] });
}

/// Each byte of the file, in turn, with one bit of it flipped; each is refused.
#[test]
fn every_flipped_bit_is_refused_and_named() {
    let sample = Sample::new(SHOWN);
    let good = sample.bytes();
    verified(&good).unwrap();
    // Where the content of each part stands.
    let mut spans: Vec<(Name, std::ops::Range<usize>)> = Vec::new();
    let mut at = 0;
    let mut parts = sample.parts();
    parts.push((Name::Manifest, Vec::new()));
    for (name, content) in &parts {
        let begin = at + 30 + name.to_string().len();
        spans.push((*name, begin..begin + content.len()));
        at = begin + content.len();
    }
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        let fault = refused(&changed);
        let said = fault.to_string();
        if let Some((name, _)) = spans.iter().find(|(_, span)| span.contains(&at)) {
            assert!(said.contains(&format!("`{name}`")), "byte {at} of {name}: {said}");
        }
    }
}

/// The same where whoever changes a part mends the checksums around it.
#[test]
fn every_flipped_bit_of_a_part_is_refused_behind_mended_checksums() {
    let sample = Sample::new(SHOWN);
    let bytes = sample.bytes();
    let parts = sample.parts();
    let manifest = {
        let mut archive = super::Archive::open(bytes.as_slice()).unwrap();
        let last = *archive.places().last().unwrap();
        archive.content(last).unwrap().0
    };
    for (part, (name, content)) in parts.iter().enumerate() {
        for at in 0..content.len() {
            let mut changed = parts.clone();
            changed[part].1[at] ^= 1 << (at % 8);
            let mut all: Vec<(Name, &[u8])> = changed.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
            all.push((Name::Manifest, &manifest));
            let said = refused(&container::pack(&all)).to_string();
            // A card that is another organisation's, or none, is missing to what needs it.
            assert!(said.contains(&format!("`{name}`")) || said.contains("card"), "byte {at} of {name}: {said}");
        }
    }
}

#[test]
fn a_package_that_is_cut_short_or_has_more_is_refused() {
    let good = Sample::new(SHOWN).bytes();
    for len in 0..good.len() {
        refused(&good[..len]);
    }
    let end = |bytes: Vec<u8>| assert_eq!(refused(&bytes), PackageFault::End);
    end([&good[..], b"\n"].concat());
    end([&good[..], &good[..]].concat());
    end(good[..good.len() - 1].to_vec());
    // A program in front, as in an archive that unpacks itself; with the places mended too.
    assert_ne!(refused(&[b"MZ".as_slice(), &good].concat()), PackageFault::Key);
}

/// What archives may have, and packages may not: each is built as a zip that others would read.
#[test]
fn what_zip_allows_and_a_package_does_not_is_named() {
    let sample = Sample::new(SHOWN);
    let good = sample.bytes();
    let central = |bytes: &[u8]| bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let both = |local: usize, value: u8| {
        let mut changed = good.clone();
        let at = central(&good) + local + 2;
        changed[local] ^= value;
        changed[at] ^= value;
        refused(&changed).to_string()
    };
    let says = |fault: String, text: &str| assert!(fault.contains(text), "{fault}");
    says(both(6, 1), "encrypted");
    says(both(6, 8), "sizes follow");
    says(both(8, 8), "compressed");
    says(both(4, 25), "not what it must be");
    let directory = |at: usize, value: &[u8]| {
        let mut changed = good.clone();
        let from = central(&good) + at;
        changed[from..from + value.len()].copy_from_slice(value);
        refused(&changed).to_string()
    };
    says(directory(38, &[0, 0, 0xff, 0xa1]), "link");
    says(directory(20, &[0xff; 8]), "header of");
    says(directory(42, &[0xff; 4]), "header of");
    // The same numbers in eight bytes, where four are enough.
    let offset = central(&good) as u64;
    let size = good.len() as u64 - 22 - offset;
    let mut wide = good[..good.len() - 22].to_vec();
    wide.extend(container::end(0, u64::MAX, offset));
    let at = wide.len() - 98;
    wide[at + 40..at + 48].copy_from_slice(&size.to_le_bytes());
    assert_eq!(refused(&wide), PackageFault::End);
    // A directory that says it is larger than memory.
    let mut bomb = good.clone();
    let end = bomb.len() - 22;
    bomb[end + 12..end + 16].copy_from_slice(&0xfff0_0000u32.to_le_bytes());
    assert_eq!(refused(&bomb), PackageFault::End);
}

#[test]
fn names_order_and_numbers_are_fixed() {
    type Parts = Vec<(Name, Vec<u8>)>;
    let sample = Sample::new(SHOWN);
    let whole = |change: &dyn Fn(&mut Parts)| {
        let mut parts = sample.parts();
        change(&mut parts);
        refused(&sealed(&parts, RECEIVER, MADE))
    };
    let history = whole(&|parts| parts.insert(parts.len() - 1, (Name::History, vec![])));
    assert_eq!(history, PackageFault::Later { name: Name::History });
    let at = |name: Name| sample.parts().iter().position(|part| part.0 == name).unwrap();
    let (first, batch) = (at(Name::Record(1)), at(Name::Batch(1)));
    assert_eq!(whole(&|parts| parts.swap(batch, first)), PackageFault::Order { name: Name::Run(1) });
    let twice = whole(&|parts| parts.insert(first, parts[first].clone()));
    assert_eq!(twice, PackageFault::Twice { name: Name::Record(1) });
    assert_eq!(whole(&|parts| drop(parts.remove(first))), PackageFault::Order { name: Name::Record(2) });
    assert!(matches!(
        whole(&|parts| drop(parts.remove(batch))),
        PackageFault::Parts { name: Name::Record(1), .. } | PackageFault::Parts { name: Name::Log(..), .. }
    ));
    let proofs = at(Name::Log(1, LogPart::Proofs));
    assert!(matches!(whole(&|parts| drop(parts.remove(proofs))), PackageFault::Order { .. }));
    let card = whole(&|parts| {
        let (a, b) = (parts[0].1.clone(), parts[1].1.clone());
        (parts[0].1, parts[1].1) = (b, a);
    });
    assert_eq!(card, PackageFault::Cards { name: Name::Card(2) });
    // Another path in the same number of bytes.
    let mut bytes = sample.bytes();
    while let Some(at) = bytes.windows(16).position(|w| w == b"cards/00001.cbor") {
        bytes[at..at + 16].copy_from_slice(b"../../etc/passwd");
    }
    assert_eq!(refused(&bytes), PackageFault::Name { given: "../../etc/passwd".to_owned() });
}

/// Parts that are sound by themselves and belong to something else, all signed by the package's maker.
#[test]
fn the_proofs_of_others_prove_nothing() {
    let check = |change: &dyn Fn(&mut Sample), expected: &str| {
        let mut sample = Sample::new(SHOWN);
        change(&mut sample);
        let said = refused(&sample.bytes()).to_string();
        assert!(said.contains(expected), "{expected}: {said}");
    };
    check(&|s| s.batches[0] = other_head().to_bytes().unwrap(), "");
    check(&|s| (s.log, s.batches[0]) = (None, other_head().to_bytes().unwrap()), "are not in the batch");
    let part = |part: &Part, above: Vec<Hash>, position| {
        Part::new(part.redacted(), (part.batch, position, above), part.standing, part.runs.clone())
    };
    check(
        &|s| s.records[0] = part(&s.records[0], s.records[1].above.clone(), s.records[1].position),
        "are not in the batch",
    );
    check(&|s| s.records[0].batch = 2, "its batch is not there");
    check(&|s| s.records[0].batch = 0, "its batch is not there");
    check(&|s| s.records[1] = s.records[0].clone(), "same record stands twice");
    check(&|s| s.records[0].runs = s.records[1].runs.clone(), "not its release");
    check(&|s| s.records[0].runs[0].index = 1, "not those that were signed");
    check(&|s| s.records[0].runs[0].run = 2, "is not there");
    check(&|s| s.records[0].runs = [&s.records[0].runs[..], &s.records[0].runs].concat(), "do not rise");
    check(&|s| s.records.iter_mut().for_each(|part| part.runs.clear()), "no record needs it");
    check(&|s| s.records.clear(), "`files/00002.jpg`");
    check(&|s| s.files[0].1.push(0), "not the file that its record states");
    check(&|s| s.files[0].0 = "files/00001.jpg".parse().unwrap(), "no record states such a file");
    check(&|s| s.files[0].0 = "files/00002.png".parse().unwrap(), "its ending");
    check(&|s| drop(s.cards.remove(0)), "the card of organisation");
    check(
        &|s| {
            let run = s.runs[0].clone();
            s.runs[0] = SentRun::new(FeedKeyOf::other(), run.run, run.receipt);
        },
        "another feed",
    );
    check(&|s| s.runs[0] = SentRun::new(feed(), s.runs[0].receipt.clone().unwrap(), None), "does not prove");
    // A log that is another event's, and one whose checkpoint is another's.
    check(
        &|s| s.log = Some(logged(crate::id::LoggedDigest::from_bytes([1; 32]), ATTESTED, Logged::Batch(1))),
        "`log/01.cbor`",
    );
    check(&|s| s.log.as_mut().unwrap().1.places[0].of = Logged::Batch(2), "not there");
    check(&|s| s.log.as_mut().unwrap().1.places[0].of = Logged::Run(1), "`log/01.cbor`");
    check(&|s| s.log.as_mut().unwrap().1.places.clear(), "proves nothing");
}

struct FeedKeyOf;

impl FeedKeyOf {
    fn other() -> crate::feed::FeedKey {
        crate::feed::FeedKey { epoch: 0, agreement: crate::id::AgreementId::from_bytes([6; 16]), ..feed() }
    }
}

#[test]
fn times_to_come_are_refused() {
    let late = limits::CLOCK_SKEW_MS_MAX + 1;
    let mut sample = Sample::new(SHOWN);
    sample.made = UnixMillis(NOW.0 + late);
    assert!(matches!(refused(&sample.bytes()), PackageFault::Time { name: Name::Manifest, .. }));
    let mut sample = Sample::new(SHOWN);
    sample.made = UnixMillis(ATTESTED.0 - late);
    assert!(matches!(refused(&sample.bytes()), PackageFault::Time { name: Name::Batch(1), .. }));
    let mut sample = Sample::new(SHOWN);
    sample.records[0].standing.at = UnixMillis(MADE.0 + late);
    assert!(matches!(refused(&sample.bytes()), PackageFault::Time { name: Name::Record(1), .. }));
}

/// Keys are judged at the time of what they signed. One that is in other hands proves nothing that nobody else does.
#[test]
fn keys_are_judged_at_the_time_of_what_they_signed() {
    let later = UnixMillis(RECEIVED.0 + 1);
    let check = |seeds: &[u8], change: &dyn Fn(&mut CardPayload), good: bool| {
        let mut sample = Sample::new(SHOWN);
        with_card(&mut sample, ORIGINATOR, |card| change(card));
        let bytes = sample.bytes();
        let report = pinned(seeds, &bytes).unwrap();
        assert_eq!(report.is_good(), good, "{report:?}");
    };
    let records = |change: &'static dyn Fn(&mut crate::identity::CardKey)| {
        move |card: &mut CardPayload| change(key_of(card, Purpose::Records))
    };
    // It ended, or was revoked, after what it signed; or before.
    check(&[], &records(&|key| key.until = Some(UnixMillis(ATTESTED.0 + 1))), true);
    check(&[], &records(&|key| key.until = Some(ATTESTED)), false);
    check(&[], &records(&|key| key.from = UnixMillis(ATTESTED.0 + 1)), false);
    check(&[], &records(&|key| key.revoked = Some(UnixMillis(ATTESTED.0 + 1))), true);
    check(&[], &records(&|key| key.revoked = Some(ATTESTED)), false);
    // In other hands since after it was countersigned: only the word of somebody who is known counts.
    let stolen = move |card: &mut CardPayload| key_of(card, Purpose::Records).compromised = Some(later);
    check(&[], &stolen, false);
    check(&[RECEIVER], &stolen, true);
    check(&[WITNESS], &stolen, false);
    let long_stolen = |card: &mut CardPayload| key_of(card, Purpose::Records).compromised = Some(RECEIVED);
    check(&[RECEIVER], &long_stolen, false);
    // The maker's own key.
    let mut sample = Sample::new(SHOWN);
    with_card(&mut sample, RECEIVER, |card| key_of(card, Purpose::Runs).compromised = Some(MADE));
    assert_eq!(refused(&sample.bytes()), PackageFault::Key);
    let mut sample = Sample::new(SHOWN);
    with_card(&mut sample, RECEIVER, |card| key_of(card, Purpose::Runs).until = Some(UnixMillis(MADE.0 + 1)));
    assert!(verified(&sample.bytes()).unwrap().is_good());
    // A witness whose key is in other hands has seen nothing, nor has one of a log whose key is.
    for (seed, purpose) in [(WITNESS, Purpose::Witness), (ORIGINATOR, Purpose::Log)] {
        let mut sample = Sample::new(SHOWN);
        with_card(&mut sample, seed, |card| key_of(card, purpose).compromised = Some(UnixMillis(2_000)));
        let report = verified(&sample.bytes()).unwrap();
        assert!(report.logs[0].by.is_empty(), "{purpose}");
    }
}

/// A partner lists the witness's key as its own: by that key nobody witnessed, and everything else is proved all the same.
#[test]
fn a_witness_key_on_two_cards_counts_for_nobody() {
    for copies in [RECEIVER, ORIGINATOR] {
        let mut sample = Sample::new(SHOWN);
        with_card(&mut sample, copies, |card| key_of(card, Purpose::Witness).key = key(WITNESS, 5).public().clone());
        let report = verified(&sample.bytes()).unwrap();
        assert!(report.is_good(), "{report:?}");
        let [log] = report.logs.as_slice() else { panic!("{report:?}") };
        assert!(log.by.is_empty(), "{log:?}");
        assert_eq!(log.doubled, [org(copies), org(WITNESS)].into());
    }
    let report = verified(&Sample::new(SHOWN).bytes()).unwrap();
    assert!(report.logs[0].doubled.is_empty());
}

#[test]
fn a_key_of_another_purpose_or_organisation_signs_nothing() {
    let mut sample = Sample::new(SHOWN);
    let manifest = super::parts::Manifest::new(org(RECEIVER), MADE, vec![]);
    let parts = sample.parts();
    let with = |manifest: Vec<u8>| {
        let mut all: Vec<(Name, &[u8])> = parts.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        all.push((Name::Manifest, &manifest));
        refused(&container::pack(&all))
    };
    for key in [key(RECEIVER, 1), key(RECEIVER, 2), key(ORIGINATOR, 3), key(90, 3)] {
        let signed = manifest.sign(&key).unwrap();
        assert!(matches!(with(signed), PackageFault::Signature(_)));
    }
    // It is signed, and lists nothing.
    assert!(matches!(with(manifest.sign(&key(RECEIVER, 3)).unwrap()), PackageFault::Unlisted { .. }));
    let garbage = SignatureBytes(vec![0; 100]).to_bytes().unwrap();
    assert!(matches!(with(garbage), PackageFault::Signature(_)));
    sample.maker = 90;
    assert!(matches!(refused(&sample.bytes()), PackageFault::NoCard { .. }));
}

#[test]
fn a_card_that_people_trust_decides() {
    let bytes = Sample::new(SHOWN).bytes();
    let confirmed = |report: &Report, of: OrgId| report.party(of).map(|party| party.confirmed);
    let report = pinned(&[ORIGINATOR], &bytes).unwrap();
    assert_eq!(confirmed(&report, org(ORIGINATOR)), Some(Confirmed::ByCard));
    assert_eq!(confirmed(&report, org(RECEIVER)), Some(Confirmed::ByNobody));
    assert_eq!(pinned(&[90], &bytes).unwrap_err(), PackageFault::NoSuchParty { org: org(90) });
    // A newer one than that in the package knows more.
    let with = |change: &dyn Fn(&mut CardPayload)| {
        let mut payload = payload(ORIGINATOR);
        change(&mut payload);
        let mut pins = Pins::default();
        pins.push(UnconfirmedCard::from_bytes(&card(&payload, ORIGINATOR)).unwrap());
        verify(bytes.as_slice(), &pins, NOW, &mut |_, _| ())
    };
    let newer = with(&|card| {
        card.number += 1;
        key_of(card, Purpose::Records).compromised = Some(UnixMillis(2_000));
    });
    let newer = newer.unwrap();
    assert_eq!((newer.is_good(), confirmed(&newer, org(ORIGINATOR))), (false, Some(Confirmed::ByNewerCard)));
    let older = with(&|card| card.number -= 1).unwrap();
    assert_eq!((older.is_good(), confirmed(&older, org(ORIGINATOR))), (true, Some(Confirmed::BySuccession)));
    // An older one with a key that the package's card unsays.
    let unsaid = with(&|card| {
        card.number -= 1;
        let key = crate::identity::CardKey::new(Purpose::Records, key(200, 0).public().clone(), UnixMillis(1));
        card.keys.push(key);
    });
    assert!(matches!(unsaid, Err(PackageFault::Pin { .. })));
    // Another one of the same number: whose keys count nobody can tell.
    let twice = with(&|card| "Another name".clone_into(&mut card.name));
    assert!(matches!(twice, Err(PackageFault::Pin { fault: CardFault::Twice { .. }, .. })), "{twice:?}");
}

#[test]
fn what_was_taken_back_is_proved_and_not_good() {
    for state in [State::Withdrawn, State::Recalled, State::Expired, State::Refuted, State::Amended, State::Stands] {
        let mut sample = Sample::new(SHOWN);
        sample.records[0].standing = Standing { at: MADE, state };
        let report = verified(&sample.bytes()).unwrap();
        assert_eq!(report.records[0].standing.state, state);
        assert!(report.records[0].doubts.is_empty());
        assert_eq!(report.is_good(), matches!(state, State::Stands | State::Amended), "{state:?}");
    }
}

/// Large files are never held: what is read at once is bounded, whatever the file says.
#[test]
fn large_parts_stream_by() {
    struct Sparse {
        len: u64,
        largest: usize,
    }
    impl super::Source for &mut Sparse {
        fn len(&self) -> u64 {
            self.len
        }
        fn read_at(&mut self, _: u64, buffer: &mut [u8]) -> Result<(), super::Unreadable> {
            self.largest = self.largest.max(buffer.len());
            buffer.fill(0xff);
            Ok(())
        }
    }
    let mut sparse = Sparse { len: 1 << 40, largest: 0 };
    assert_eq!(verify(&mut sparse, &Pins::default(), NOW, &mut |_, _| ()), Err(PackageFault::End));
    assert!(sparse.largest <= 98, "{}", sparse.largest);
    // Beyond what any part has.
    let entry = container::Entry { name: Name::Summary, size: limits::PACKAGE_SUMMARY_BYTES_MAX as u64 + 1, crc: 0 };
    let (header, directory) = (entry.local_header(), entry.central_header(0));
    let mut bytes = header;
    bytes.resize(bytes.len() + limits::PACKAGE_SUMMARY_BYTES_MAX + 1, 0);
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(&directory);
    bytes.extend(container::end(1, directory.len() as u64, offset));
    assert_eq!(refused(&bytes), PackageFault::TooLong { name: Name::Summary });
}
