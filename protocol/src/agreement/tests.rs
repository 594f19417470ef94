//! Agreements through their bytes: order of signatures, parts that do not fit, bounds, standings.

use super::*;
use crate::limits;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

fn sample() -> Agreement {
    let party = |n: u8, handle: &str| Party {
        id: org(n),
        name: handle.to_uppercase(),
        handle: handle.to_owned(),
        declines: vec![],
        signatories: vec![],
    };
    Agreement {
        v: 1,
        id: AgreementId::from_bytes([9; 16]),
        from: UnixMillis(1_000),
        lang: LANGUAGE,
        basis: LegalBasis { text: "exchange of letters".to_owned(), digest: None, prevails: None },
        lease_hours: None,
        title: "Sharing of field evidence".to_owned(),
        until: UnixMillis(2_000),
        notice_days: 30,
        schema: Hash::from_bytes([7; 32]),
        clauses: vec![Clause {
            to: vec![org(2)],
            red: false,
            duty: Duty::Release,
            from: org(1),
            name: "items".to_owned(),
            when: None,
            files: vec![],
            onward: Onward::Never,
            carries: vec![],
            disclose: vec![Disclosure { kind: Kind::Item, slots: vec![0, 8, 11] }],
            handling: None,
            personal: vec![],
            retention_days: 365,
        }],
        parties: vec![party(1, "car"), party(2, "panel"), party(3, "state")],
        version: 1,
        purposes: vec!["tracing".to_owned()],
        survival_days: None,
        obligations: vec![],
        predecessor: None,
    }
}

fn keys(org_id: OrgId, kid: KeyId) -> Option<PublicKey> {
    let public = key(org_id.as_bytes()[0]).public().clone();
    (public.id() == kid).then_some(public)
}

#[test]
fn the_first_party_signs_last_and_over_the_others() {
    let mut signed = SignedAgreement::unsigned(&sample()).unwrap();
    assert!(matches!(signed.sign(org(1), &key(1), UnixMillis(1)), Err(AgreementFault::Order { .. })));
    signed.sign(org(3), &key(3), UnixMillis(1)).unwrap();
    assert_eq!(signed.complete(keys).unwrap(), None);
    signed.sign(org(2), &key(2), UnixMillis(2)).unwrap();
    signed.sign(org(1), &key(1), UnixMillis(3)).unwrap();
    assert_eq!(signed.complete(keys).unwrap().map(|f| f.digest), Some(signed.digest()));
    let read = SignedAgreement::from_bytes(&signed.to_bytes().unwrap()).unwrap();
    assert_eq!(read, signed);
    // Another signature of a later party under the first party's assent: refused.
    let mut other = SignedAgreement::unsigned(&sample()).unwrap();
    other.sign(org(3), &key(3), UnixMillis(99)).unwrap();
    let mut mixed = signed.clone();
    mixed.signatures[2] = other.signatures[0].clone();
    assert!(matches!(mixed.complete(keys), Err(AgreementFault::Order { .. })));
}

#[test]
fn strangers_second_signatures_and_other_keys_are_refused() {
    let mut signed = SignedAgreement::unsigned(&sample()).unwrap();
    assert_eq!(signed.sign(org(4), &key(4), UnixMillis(1)), Err(AgreementFault::Stranger));
    signed.sign(org(2), &key(2), UnixMillis(1)).unwrap();
    assert_eq!(signed.sign(org(2), &key(2), UnixMillis(1)), Err(AgreementFault::Stranger));
    let mut forged = SignedAgreement::unsigned(&sample()).unwrap();
    forged.sign(org(2), &key(3), UnixMillis(1)).unwrap();
    assert!(matches!(forged.verify(keys), Err(AgreementFault::Signature { .. })));
}

#[test]
fn a_body_whose_parts_do_not_fit_is_refused() {
    let refuse = |change: fn(&mut Agreement)| {
        let mut agreement = sample();
        change(&mut agreement);
        assert!(matches!(agreement.to_bytes(), Err(AgreementFault::Inconsistent(_))));
    };
    refuse(|a| a.parties.truncate(1));
    refuse(|a| a.until = a.from);
    refuse(|a| a.version = 2);
    refuse(|a| a.clauses.clear());
    refuse(|a| a.clauses[0].to = vec![org(1)]);
    refuse(|a| a.clauses[0].disclose[0].slots = vec![8, 0]);
    refuse(|a| a.clauses[0].disclose[0].slots = vec![63]);
    refuse(|a| a.parties[1].handle = "car".to_owned());
    // What is refused says where, and what to write.
    let mut wrong = sample();
    wrong.parties[1].signatories = vec!["M. Osei".to_owned()];
    let said = wrong.to_bytes().unwrap_err().to_string();
    assert!(said.contains("party 2") && said.contains("name two, or none"), "{said}");
    let mut wrong = sample();
    wrong.clauses[0].to = vec![wrong.clauses[0].from];
    let said = wrong.to_bytes().unwrap_err().to_string();
    assert!(said.contains("clause 1") && said.contains("from one party to others"), "{said}");
    assert!(sample().to_bytes().is_ok());
}

#[test]
fn standing_notices_bind_the_party() {
    let notice = StandingNotice {
        time: UnixMillis(5),
        party: org(2),
        counter: 1,
        standing: Standing::Suspended,
        agreement: AgreementId::from_bytes([9; 16]),
    };
    let signed = notice.sign(&key(2)).unwrap();
    assert_eq!(StandingNotice::verify(&signed, org(2), |kid| keys(org(2), kid)), Ok(notice));
    assert!(StandingNotice::verify(&signed, org(3), |kid| keys(org(2), kid)).is_err());
}

#[test]
fn parties_and_clauses_are_bounded() {
    let with = |parties: usize, clauses: usize| {
        let mut agreement = sample();
        for n in agreement.parties.len()..parties {
            let n = u8::try_from(n + 1).unwrap();
            agreement.parties.push(Party {
                id: org(n),
                name: format!("P{n}"),
                handle: format!("p{n}"),
                declines: vec![],
                signatories: vec![],
            });
        }
        let clause = agreement.clauses[0].clone();
        agreement.clauses = (0..clauses).map(|n| Clause { name: format!("c{n}"), ..clause.clone() }).collect();
        agreement.to_bytes().map(|_| ())
    };
    let (parties, clauses) = (limits::AGREEMENT_PARTIES_MAX, limits::AGREEMENT_CLAUSES_MAX);
    assert_eq!(with(parties, clauses), Ok(()));
    assert!(matches!(with(parties + 1, 1), Err(AgreementFault::Inconsistent(_))));
    assert!(matches!(with(2, clauses + 1), Err(AgreementFault::Inconsistent(_))));
    let mut long = sample();
    long.clauses[0].when = Some("x".repeat(limits::CONDITION_BYTES_MAX + 1));
    assert!(matches!(long.to_bytes(), Err(AgreementFault::Inconsistent(_))));
    let mut many = sample();
    many.purposes = vec!["p".to_owned(); limits::AGREEMENT_ITEMS_MAX];
    assert!(matches!(many.to_bytes(), Err(AgreementFault::Codec(CodecError::TooManyItems { .. }))));
}

#[test]
fn the_newest_standing_counts_the_stricter_wins_a_tie_and_ended_is_final() {
    use Standing::{Active, Ended, Suspended};
    let notice = |counter, standing| StandingNotice {
        time: UnixMillis(5),
        party: org(2),
        counter,
        standing,
        agreement: AgreementId::from_bytes([9; 16]),
    };
    assert!(notice(1, Active).replaces(None));
    assert!(notice(3, Active).replaces(Some((2, Suspended))));
    assert!(!notice(2, Suspended).replaces(Some((3, Active))));
    assert!(notice(2, Suspended).replaces(Some((2, Active))));
    assert!(!notice(2, Active).replaces(Some((2, Suspended))));
    assert!(notice(1, Ended).replaces(Some((2, Active))));
    assert!(!notice(9, Active).replaces(Some((2, Ended))));
    // Whatever the order in which they come, one is left.
    let all = [notice(1, Active), notice(2, Suspended), notice(2, Active), notice(3, Active), notice(2, Ended)];
    for turn in 0..all.len() {
        let mut known = None;
        for at in 0..all.len() {
            let next = &all[(at + turn) % all.len()];
            if next.replaces(known) {
                known = Some((next.counter, next.standing));
            }
        }
        assert_eq!(known, Some((2, Ended)));
    }
}
