//! The decider against the reference evaluator, over generated agreements, red lines and records.
//!
//! Each of the two halves compares more than 50,000 pairs of question and set. Every reason must come
//! up often enough to mean something, and a fifth of the answers must be permits.

use crate::{
    Action, Gate, Ground, Interval, PolicySet, Question, Reason, RedLine,
    check::check,
    generate::{self, Dice, Upstream, agreement_id, org},
    memo::Memo,
    reference::{Release, World},
};
use entente_protocol::{
    id::{AgreementId, GrantId, LineId, Nonce, OrgId, RecordId},
    record::{Draft, Header, Record, Redacted, SlotSet, Verified, kind::Kind},
    value::Value,
};
use std::collections::{BTreeMap, BTreeSet};

/// One generated question.
struct Case {
    header: Header,
    values: BTreeMap<u8, Value>,
    gate: Gate,
    referable: SlotSet,
    upstream: Option<Upstream>,
    partner: OrgId,
    agreement: AgreementId,
    now: Interval,
}

fn case(dice: &mut Dice, world: &World) -> Case {
    let rarely = |dice: &mut Dice, n: u64, usual: &[u8], other: &[u8]| {
        if dice.per_mille(n) { dice.pick(other) } else { dice.pick(usual) }
    };
    let partner = org(rarely(dice, 60, &[2, 2, 3], &[4, 5, 9, 1, 8]));
    let agreement = agreement_id(rarely(dice, 40, &[1, 2, 3], &[4, 5, 7]));
    // Mostly a kind that some clause releases to the partner.
    let found = world.agreements.iter().map(|g| &g.in_force.agreement).find(|a| a.id == agreement);
    let releasing = found.into_iter().flat_map(|a| a.releasing(world.own, partner));
    let covered: Vec<Kind> = releasing.flat_map(|(_, c)| c.disclose.iter().map(|d| d.kind)).collect();
    let usual = !covered.is_empty() && dice.per_mille(850);
    let kind = if usual { dice.pick(&covered) } else { dice.pick(&generate::KINDS) };
    let header = generate::header(dice, kind);
    Case {
        upstream: generate::upstream(dice, &header, partner),
        header,
        values: generate::values(dice, kind),
        gate: generate::gate(dice),
        referable: SlotSet::from_bits(dice.next() | dice.next()),
        partner,
        agreement,
        now: generate::now(dice),
    }
}

impl Case {
    fn ask<T>(&self, with: impl FnOnce(&Question<'_>) -> T) -> T {
        with(&Question {
            record: RecordId::from_bytes([1; 32]),
            header: &self.header,
            values: &|slot| self.values.get(&slot).cloned(),
            present: self.values.keys().copied().collect(),
            gate: self.gate,
            referable: self.referable,
            onward: self.upstream.as_ref().map(|upstream| Ground {
                id: GrantId::from_bytes([6; 32]),
                grant: &upstream.grant,
                rule: &upstream.rule,
                red: upstream.red,
                lease_hours: upstream.lease_hours,
                attested: upstream.attested,
            }),
            partner: self.partner,
            agreement: self.agreement,
            now: self.now,
        })
    }
}

fn set_of(world: &World) -> PolicySet {
    let World { own, agreements, red_lines, partners, accredited } = world;
    PolicySet::new(*own, agreements.clone(), red_lines, partners.clone(), accredited).unwrap()
}

/// What the decider says, in the reference's terms.
fn decided(set: &PolicySet, q: &Question<'_>) -> Result<Release, Reason> {
    let answer = set.decide(q).map_err(|withheld| withheld.reason)?;
    let terms = answer.terms();
    assert_eq!((terms.partner, terms.agreement, terms.record), (q.partner, q.agreement, q.record));
    let explained = set.explain(q);
    assert_eq!(explained.withheld, None);
    let goes: Vec<&str> = terms.slots.iter().map(|n| q.header.kind.slot_number(n).unwrap().name).collect();
    assert_eq!(explained.disclosed, goes);
    let stays = explained.fields_withheld.iter().map(|f| (q.header.kind.slot(f.field).unwrap().number, f.reason));
    Ok(Release {
        clause: terms.clause,
        goes: terms.slots.iter().collect(),
        stays: stays.collect(),
        until: terms.until.unwrap(),
        file: terms.file,
    })
}

fn compare(seed: u64, sets: usize, questions: usize) {
    let mut dice = Dice(seed);
    let mut seen: BTreeMap<Reason, usize> = BTreeMap::new();
    let mut permits = 0;
    for number in 0..sets {
        let mut world = generate::world(&mut dice);
        if number % 4 == 3
            && let Some(governed) = world.agreements.last_mut()
        {
            governed.in_force.agreement.schema = entente_protocol::id::Hash::from_bytes([1; 32]);
        }
        let mut set = set_of(&world);
        let cases: Vec<Case> = (0..questions).map(|_| case(&mut dice, &world)).collect();
        set.memo = None;
        let plain: Vec<_> = cases.iter().map(|case| case.ask(|q| decided(&set, q))).collect();
        set.memo = Some(Memo::default());
        for (case, plain) in cases.iter().zip(plain) {
            let wanted = case.ask(|q| world.release(q));
            assert_eq!(plain, wanted, "{:?} {:?}", case.header, case.now);
            assert_eq!(case.ask(|q| decided(&set, q)), wanted, "with memory");
            match wanted {
                Err(reason) => *seen.entry(reason).or_default() += 1,
                Ok(release) => {
                    permits += 1;
                    let reasons: BTreeSet<Reason> = release.stays.into_values().collect();
                    reasons.into_iter().for_each(|reason| *seen.entry(reason).or_default() += 1);
                }
            }
        }
    }
    println!("{} pairs, {permits} permits, {seen:?}", sets * questions);
    assert!(sets * questions >= 50_000 && permits * 5 >= sets * questions);
    for reason in Reason::ALL.iter().filter(|r| **r != Reason::OverDisclosed) {
        assert!(seen.get(reason).is_some_and(|n| *n >= 100), "`{reason}` came up too rarely");
    }
}

#[test]
fn decider_and_reference_agree_first_half() {
    compare(1, 50, 1_020);
}

#[test]
fn decider_and_reference_agree_second_half() {
    compare(2, 50, 1_020);
}

/// A record that can be committed.
fn record(dice: &mut Dice, kind: Kind) -> Record {
    let floor = generate::floor(dice);
    let originator = if dice.per_mille(150) { org(3) } else { org(2) };
    let mut draft = Draft::new(kind, originator, LineId::from_bytes([1; 16]), floor);
    for slot in kind.slots() {
        let value = generate::value(dice, slot.shape);
        let derived = slot.rung.is_some_and(|rung| rung.derived.is_some());
        if !derived && slot.shape.fits(&value) && (slot.required || dice.per_mille(600)) {
            draft.set_number(slot.number, value).unwrap();
        }
    }
    if kind == Kind::Party {
        draft.set("ptype", Value::text(dice.pick(&["company", "person"]))).unwrap();
    }
    if kind == Kind::Attachment {
        draft.set("role", Value::text(dice.pick(&["original", "stripped", "thumbnail"]))).unwrap();
    }
    draft.commit(Nonce::from_bytes([1; 16]), [7; 32].into()).unwrap()
}

/// What organisation 2 releases to us under its own version of the agreements.
fn sent(dice: &mut Dice, sender: &PolicySet) -> Option<Verified> {
    let kind = dice.pick(&generate::KINDS);
    let record = record(dice, kind);
    // The sender decides as the originator would; what it may hold is not under test here.
    let header = Header { originator: org(2), floor: Default::default(), ..record.header().clone() };
    let clearance = sender.decide(&Question {
        record: record.id(),
        header: &header,
        values: &|slot| record.value(slot),
        present: record.present(),
        gate: Gate { review: crate::ReviewState::Verified, required: crate::ReviewState::Reviewed, released: true },
        referable: SlotSet::from_bits(u64::MAX),
        onward: None,
        partner: org(1),
        agreement: agreement_id(1),
        now: quiet_now(),
    });
    Some(Verified::new(Redacted::new(&record, &clearance.ok()?).unwrap()).unwrap())
}

fn quiet_now() -> Interval {
    let early = entente_protocol::time::UnixMillis(1_200 * generate::DAY);
    Interval { early, late: early.plus(5), confirmed: true }
}

/// Takes the last slot out of what a clause discloses of a kind, wherever the agreement still holds together then.
fn narrow(world: &mut World) {
    for governed in &mut world.agreements {
        let places = governed.in_force.agreement.clauses.iter().enumerate();
        let places: Vec<_> = places.flat_map(|(c, clause)| (0..clause.disclose.len()).map(move |d| (c, d))).collect();
        for (clause, disclosure) in places {
            let mut narrower = governed.in_force.agreement.clone();
            let slots = &mut narrower.clauses[clause].disclose[disclosure].slots;
            if slots.pop().is_some() && !slots.is_empty() && check(narrower.clone()).is_ok() {
                *governed = generate::governed(narrower, governed.standing);
            }
        }
    }
}

#[test]
fn acceptance_and_reference_agree() {
    let mut dice = Dice(3);
    let mut seen: BTreeMap<Option<Reason>, usize> = BTreeMap::new();
    for round in 0..90 {
        let mut world = generate::world(&mut dice);
        let when = Some("resource has number && resource.number == \"A\"");
        world.red_lines.push(RedLine::new("no A", Action::Accept, &[Kind::Event], &[org(2)], when).unwrap());
        // A third of the senders work from agreements of their own, a third from a version in which we narrowed
        // what they may disclose: both may send too much.
        let mut sender = World { own: org(2), red_lines: vec![], ..generate::world(&mut dice) };
        sender.partners.insert(org(1), crate::PartnerState::Active);
        if round % 3 != 0 {
            sender.agreements.clone_from(&world.agreements);
        }
        if round % 3 == 1 {
            narrow(&mut world);
        }
        let receiver = set_of(&world);
        let sender = set_of(&sender);
        for _ in 0..400 {
            let Some(verified) = sent(&mut dice, &sender) else { continue };
            let from = if dice.per_mille(100) { org(3) } else { org(2) };
            let now = if dice.per_mille(900) { quiet_now() } else { generate::now(&mut dice) };
            let consent = generate::grant(&mut dice, verified.header(), (from, org(1)));
            let grant = dice.per_mille(700).then_some(&consent);
            let answer = receiver.accept(from, agreement_id(1), &verified, grant, now);
            let wanted = world.accept(from, agreement_id(1), &verified, grant, now);
            *seen.entry(wanted.err()).or_default() += 1;
            assert_eq!(answer.as_ref().err().map(|withheld| withheld.reason), wanted.err());
            if let Ok(acceptance) = answer {
                assert_eq!((acceptance.record(), acceptance.from()), (verified.id(), from));
            }
        }
    }
    println!("{seen:?}");
    use Reason::{KindNotCovered, OnwardRed, OnwardWithoutGrant, OverDisclosed, RedLine as Barred, TlpRed};
    for wanted in [None, Some(OverDisclosed), Some(KindNotCovered), Some(OnwardWithoutGrant), Some(TlpRed)] {
        assert!(seen.get(&wanted).is_some_and(|n| *n >= 100), "{wanted:?} came up too rarely");
    }
    for wanted in [Barred, OnwardRed] {
        assert!(seen.get(&Some(wanted)).is_some_and(|n| *n >= 20), "{wanted:?} came up too rarely");
    }
}
