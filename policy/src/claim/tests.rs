//! A claim's policy against the decider itself, over generated agreements, red lines and records: it is met by exactly the
//! records that leave with what is asked about, by the fields that the decider really discloses.

use super::*;
use crate::{
    Gate, Interval, PartnerState, Question, ReviewState,
    analysis::{self, tests as drafts},
    generate::{self, Dice},
};
use cedar_policy::{
    Authorizer, Context, Decision, Entity, EntityUid, Policy, PolicyId, PolicySet as Cedar, Schema, ValidationMode,
    Validator,
};
use entente_protocol::{
    agreement::Standing,
    id::{LineId, Nonce, RecordId},
    record::{HandlingFloor, Header, SlotSet},
    time::UnixMillis,
};
use std::collections::{BTreeMap, HashMap, HashSet};

struct Compiled {
    schema: Schema,
    policies: Cedar,
}

fn compiled(claim: &Claim<'_>) -> Compiled {
    let (schema, _) = Schema::from_cedarschema_str(&claim.schema).unwrap_or_else(|e| panic!("{e}: {}", claim.schema));
    let policy = Policy::parse(Some(PolicyId::new("claim")), &claim.policy);
    let policy = policy.unwrap_or_else(|e| panic!("{e}: {}", claim.policy));
    let policies = Cedar::from_policies([policy]).unwrap();
    let valid = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    let faults: Vec<String> = valid.validation_errors().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{faults:?}: {}", claim.policy);
    Compiled { schema, policies }
}

/// Whether a record meets the claim's policy.
fn met(claim: &Claim<'_>, compiled: &Compiled, header: &Header, values: &BTreeMap<u8, Value>) -> bool {
    let uid: EntityUid = format!("{}::\"record\"", claim.request[1]).parse().unwrap();
    let mut attributes = HashMap::new();
    for attribute in attribute::attributes(header.kind) {
        let read = claim.schema.contains(&format!("  {}?: ", attribute.name));
        let given = attribute.load(header, &|slot| values.get(&slot).cloned());
        if let Some(given) = given.filter(|_| read) {
            attributes.insert(attribute.name.clone(), given.expression().unwrap());
        }
    }
    let record = Entity::new(uid.clone(), attributes, HashSet::new()).unwrap();
    let entities = Entities::from_entities([record], Some(&compiled.schema)).unwrap();
    let principal = attribute::organisation(claim.partner()).unwrap();
    let action: EntityUid = format!("Action::\"{}\"", claim.request[2]).parse().unwrap();
    let request = Request::new(principal, action, uid, Context::empty(), Some(&compiled.schema)).unwrap();
    Authorizer::new().is_authorized(&request, &compiled.policies, &entities).decision() == Decision::Allow
}

/// What the decider discloses of a record under the claim's agreement, if it lets it go.
fn decided(set: &PolicySet, claim: &Claim<'_>, header: &Header, values: &BTreeMap<u8, Value>) -> Option<SlotSet> {
    let early = UnixMillis(1_200 * generate::DAY);
    let answer = set.decide(&Question {
        record: RecordId::from_bytes([1; 32]),
        header,
        values: &|slot| values.get(&slot).cloned(),
        present: values.keys().copied().collect(),
        gate: Gate { review: ReviewState::Verified, required: ReviewState::Reviewed, released: true },
        referable: SlotSet::from_bits(u64::MAX),
        onward: None,
        partner: claim.partner(),
        agreement: claim.place.agreement.id,
        now: Interval { early, late: early.plus(1), confirmed: true },
    });
    answer.ok().map(|clearance| clearance.terms().slots)
}

/// Whether a claim reads a slot.
fn reads(claim: &Claim<'_>, kind: Kind, slot: u8) -> bool {
    let mut of_slot = attribute::attributes(kind).iter().filter(|a| a.slot() == Some(slot) && a.tells_presence());
    of_slot.any(|a| claim.schema.contains(&format!("  {}?: ", a.name)))
}

fn record(dice: &mut Dice, kind: Kind) -> (Header, BTreeMap<u8, Value>) {
    let floor = HandlingFloor {
        tlp: dice.per_mille(600).then(|| dice.pick(&[Tlp::Red, Tlp::Green, Tlp::Amber])),
        class: dice.per_mille(200).then(|| "UN:CONFIDENTIAL".to_owned()),
        orcon: dice.per_mille(300),
        eu_hc: dice.pick(&[&[][..], &[1], &[2]]).to_vec(),
        ..HandlingFloor::default()
    };
    let (line, nonce) = (LineId::from_bytes([1; 16]), Nonce::from_bytes([1; 16]));
    (Header { kind, line, floor, nonce, originator: generate::org(1) }, generate::values(dice, kind))
}

#[test]
fn a_claim_is_met_by_exactly_the_records_that_the_decider_lets_go() {
    let mut dice = Dice(41);
    let (mut leave, mut stay, mut asked) = (0, 0, 0);
    for _ in 0..25 {
        let world = generate::world(&mut dice);
        let set =
            PolicySet::new(world.own, world.agreements, &world.red_lines, world.partners, &world.accredited).unwrap();
        for kind in generate::KINDS {
            let slots: Vec<u8> = kind.slots().map(|slot| slot.number).collect();
            let often = match kind {
                Kind::Party => [Some(9), Some(14)],
                Kind::Attachment => [Some(11), Some(9)],
                _ => [Some(dice.pick(&slots)), Some(dice.pick(&slots))],
            };
            for slot in [None, often[0], often[1], Some(dice.pick(&slots))] {
                for claim in claims(&set, Property { kind, slot, to: None }).unwrap() {
                    let active =
                        set.agreement(claim.place.agreement.id).is_some_and(|g| g.standing == Standing::Active);
                    if !active || set.partners.get(&claim.partner()) != Some(&PartnerState::Active) {
                        continue;
                    }
                    asked += 1;
                    let compiled = compiled(&claim);
                    for _ in 0..25 {
                        let (header, mut values) = record(&mut dice, kind);
                        // What the claim does not read may be there, and here it is.
                        for slot in kind.slots().filter(|slot| !reads(&claim, kind, slot.number)) {
                            values.entry(slot.number).or_insert_with(|| generate::value(&mut dice, slot.shape));
                        }
                        let shown = decided(&set, &claim, &header, &values);
                        let leaves = shown.is_some_and(|shown| slot.is_none_or(|slot| shown.contains(slot)));
                        let meets = met(&claim, &compiled, &header, &values);
                        assert_eq!(meets, leaves, "{slot:?} {shown:?} {header:?} {values:?}\n{}", claim.policy);
                        *(if leaves { &mut leave } else { &mut stay }) += 1;
                    }
                }
            }
        }
    }
    println!("{asked} claims, {leave} records leave, {stay} stay");
    assert!(asked > 400 && leave > 2_000 && stay > 2_000);
}

#[test]
fn what_needs_no_solver_leaves_no_claim() {
    let whole = Property { kind: Kind::Item, slot: None, to: None };
    let field = |name: &str| Property { slot: Some(Kind::Item.slot(name).unwrap().number), ..whole };
    let set = |clauses: &str, lines: &[crate::RedLine]| {
        analysis::set_of(&drafts::agreement("", clauses), drafts::org(1), lines).unwrap()
    };
    let count = |set: &PolicySet, property| claims(set, property).unwrap().len();
    let one = drafts::clause("one", r#"resource.make_country == "BE""#, "");
    assert_eq!((count(&set(&one, &[]), whole), count(&set(&one, &[]), field("serial"))), (1, 0));
    assert_eq!(count(&set(&one, &[drafts::line("all", None)]), whole), 0);
    // Whoever stands behind a clause that takes everything, and carries red records too, decides nothing.
    let behind = [drafts::clause("all", "", "red = true"), one.replace("\"make-country\"", "\"condition\"")].concat();
    assert_eq!((count(&set(&behind, &[]), field("condition")), count(&set(&behind, &[]), field("type"))), (0, 1));
}
