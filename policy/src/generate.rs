//! Random agreements, red lines, records and questions from a fixed seed, for the differential tests.
//!
//! Values come from small pools, so that conditions are met about half the time and verdicts repeat.

use crate::{
    Action, Gate, Governed, Interval, PartnerState, RedLine, ReviewState,
    attribute::{Attribute, Origin, Reading, attributes},
    check::check,
    reference::World,
};
use entente_protocol::{
    agreement::{
        Agreement, Clause, Disclosure, Duty, Handling, InForce, LANGUAGE, LegalBasis, Obligation, Onward, Party,
        Personal, Prevails, Standing,
    },
    grant::{Grant, Scope},
    id::{AgreementId, LineId, Nonce, OrgId},
    limits,
    record::{HandlingFloor, Header, Shape, SlotSet, Tlp, kind::Kind, schema_digest},
    time::UnixMillis,
    value::Value,
};
use std::collections::BTreeMap;

pub(crate) const DAY: u64 = 86_400_000;
/// The kinds that the generator writes clauses for; one of them is rarely covered.
pub(crate) const KINDS: [Kind; 7] =
    [Kind::Item, Kind::Event, Kind::Attachment, Kind::DiversionCase, Kind::RedFlag, Kind::Party, Kind::Transfer];

/// Splitmix64 (Steele, Lea, Flood, 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }
    /// True so many times in a thousand.
    pub(crate) fn per_mille(&mut self, n: u64) -> bool {
        self.next() % 1_000 < n
    }
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

pub(crate) fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

pub(crate) fn agreement_id(n: u8) -> AgreementId {
    AgreementId::from_bytes([n; 16])
}

/// A value that fits a shape.
pub(crate) fn value(dice: &mut Dice, shape: Shape) -> Value {
    let text = |dice: &mut Dice| Value::text(dice.pick(&["A", "B"]));
    let reference = || Value::Array(vec![Value::Bytes(vec![1; 32]), Value::Bytes(vec![2; 16])]);
    match shape {
        Shape::Name | Shape::Prefix | Shape::LongText => text(dice),
        Shape::Month => Value::text(dice.pick(&["2020-05", "2021-01?"])),
        Shape::Year => Value::text(dice.pick(&["2020", "2021~"])),
        Shape::Pairs => Value::Array(vec![Value::Array(vec![text(dice), text(dice)])]),
        Shape::Replies => Value::Array(vec![Value::map([("asked", reference()), ("sent", Value::Int(1))])]),
        Shape::Code(codes) => Value::text(dice.pick(&codes[..2])),
        Shape::Country => Value::text(dice.pick(&["BE", "RU"])),
        Shape::Edtf => Value::text(dice.pick(&["2020-05-01", "2021", "201X", "2020-05-01/2021"])),
        Shape::Time | Shape::Uint => Value::Int(i64::try_from(dice.below(4)).unwrap()),
        Shape::Uints => Value::Array(vec![Value::Int(i64::try_from(dice.below(3)).unwrap() + 1)]),
        Shape::Bool => Value::Bool(dice.per_mille(500)),
        Shape::Digest => Value::Bytes(vec![3; 32]),
        Shape::Ref => reference(),
        Shape::Refs => Value::Array(vec![reference()]),
        Shape::RoleRefs => Value::Array(vec![Value::Array(vec![Value::text("r"), reference()])]),
        Shape::Texts => Value::Array(vec![text(dice), text(dice)]),
        Shape::Quantity => Value::map([("n", Value::Int(2)), ("unit", Value::text("each"))]),
        Shape::Finding(codes) => Value::map([
            ("finding", Value::text(dice.pick(&codes[..2]))),
            ("contested", Value::Bool(dice.per_mille(500))),
        ]),
        Shape::Contest if dice.per_mille(500) => Value::map([("contested", Value::Bool(true)), ("reply", reference())]),
        Shape::Contest => Value::map([("contested", Value::Bool(false))]),
        Shape::Content => Value::Array(vec![
            Value::Int(5),
            Value::Bytes(vec![4; 32]),
            Value::Int(limits::CHUNK_BYTES.into()),
            Value::Bytes(vec![5; 32]),
        ]),
        Shape::Eval => {
            let grades = [
                ("src4", Value::text(dice.pick(&["A", "B"]))),
                ("inf4", Value::Int(dice.pick(&[1, 3]))),
                ("admiralty", Value::text(dice.pick(&["A1", "B2"]))),
            ];
            Value::map(grades.into_iter().filter(|_| dice.per_mille(700)).collect::<Vec<_>>())
        }
        // Not readable by any condition, and never committed by the generator.
        _ => Value::Bool(false),
    }
}

fn atom(dice: &mut Dice, attribute: &Attribute) -> String {
    let read = format!("resource.{}", attribute.name);
    let test = match attribute.origin {
        Origin::Originator => format!("{read} == Organisation::\"{}\"", org(1)),
        Origin::Orcon | Origin::Slot(_, Reading::Bool) => read,
        Origin::Tlp => format!("{read} != \"GREEN\""),
        Origin::Class => format!("{read} like \"UN:*\""),
        Origin::EuHc => format!("{read}.contains({})", dice.below(4)),
        Origin::Slot(_, Reading::TextOf(_)) => format!("{read} like \"A*\""),
        Origin::Slot(_, Reading::LongOf(_)) => format!("{read} < 3"),
        Origin::Slot(_, Reading::Text | Reading::Finding) => match dice.below(3) {
            0 => format!(
                "{read} == \"{}\"",
                dice.pick(&["A", "BE", "pistol", "seized", "2021", "suspected", "original"])
            ),
            1 => format!("{read} like \"{}*\"", dice.pick(&["A", "B", "p", "20", "s"])),
            _ => format!("[\"A\", \"BE\", \"pistol\", \"export\", \"yes\"].contains({read})"),
        },
        // The sum is beyond what Cedar counts to, always or for values from 2, and then the policy errors.
        Origin::Slot(_, Reading::FirstDay | Reading::LastDay) if dice.per_mille(100) => {
            format!("{read} + 9223372036854775806 > 0")
        }
        Origin::Slot(_, Reading::Long) if dice.per_mille(250) => format!("{read} + 9223372036854775806 > 0"),
        Origin::Slot(_, Reading::Long) => format!("{read} > {}", dice.below(3)),
        Origin::Slot(_, Reading::FirstDay | Reading::LastDay) => format!("{read} >= 20200601"),
        Origin::Slot(_, Reading::Texts) => format!("{read}.contains(\"A\")"),
        Origin::Slot(_, Reading::Longs) => format!("{read}.contains(2)"),
    };
    if dice.per_mille(200) { format!("(resource has {} && {test})", attribute.name) } else { test }
}

/// A condition over attributes that every one of these kinds has.
pub(crate) fn condition(dice: &mut Dice, kinds: &[Kind]) -> String {
    let shared: Vec<&Attribute> = attributes(kinds[0])
        .iter()
        .filter(|a| kinds.iter().all(|k| attributes(*k).iter().any(|b| a.name == b.name)))
        .collect();
    let mut text = {
        let attribute = dice.pick(&shared);
        atom(dice, attribute)
    };
    for _ in 0..dice.below(3) {
        let next = dice.pick(&shared);
        let next = atom(dice, next);
        text = match dice.below(4) {
            0 => format!("{text} || {next}"),
            1 => format!("({text}) && {next}"),
            2 => format!("!({text}) || {next}"),
            _ => format!("if {text} then {next} else true"),
        };
    }
    text
}

fn clause(dice: &mut Dice, n: usize) -> Clause {
    let mut kinds = vec![dice.pick(&KINDS)];
    if dice.per_mille(300) {
        kinds.push(dice.pick(&KINDS[..6]));
    }
    kinds.sort_unstable();
    kinds.dedup();
    let (mut disclose, mut personal, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for kind in &kinds {
        let sparse = dice.per_mille(150);
        let mut slots = Vec::new();
        for slot in kind.slots() {
            let wanted = dice.per_mille(if sparse { 60 } else { 650 });
            if !wanted || slot.carries.iter().next().is_some() || slot.shape == Shape::Content || slot.name == "role" {
                continue;
            }
            if slot.personal || (slot.personal_of_persons && dice.per_mille(500)) {
                let purpose = "tracing".to_owned();
                personal.push(Personal { kind: *kind, slot: slot.number, purpose, retention_days: 10 });
            }
            slots.push(slot.number);
        }
        if *kind == Kind::Attachment && dice.per_mille(700) {
            slots.extend([9, 11]);
            slots.sort_unstable();
            files = vec![dice.pick(&["stripped", "thumbnail"]).to_owned()];
        }
        if slots.is_empty() {
            slots.push(5);
        }
        disclose.push(Disclosure { kind: *kind, slots });
    }
    let ours = dice.per_mille(750);
    let mut to: Vec<OrgId> = (2..=5).filter(|_| dice.per_mille(800)).map(org).collect();
    if to.is_empty() {
        to.push(org(2));
    }
    let from = if ours { org(1) } else { to.remove(0) };
    if !ours {
        to.push(org(1));
    }
    Clause {
        to,
        red: dice.per_mille(300),
        duty: if dice.per_mille(950) { Duty::Release } else { Duty::Alert },
        from,
        name: format!("clause {n}"),
        when: dice.per_mille(450).then(|| condition(dice, &kinds)),
        files,
        onward: Onward::Never,
        carries: vec![],
        disclose,
        handling: dice
            .per_mille(200)
            .then(|| Handling { tlp: dice.per_mille(500).then_some(Tlp::Amber), codes: vec![dice.pick(&[0, 1]), 2] }),
        personal,
        retention_days: 30,
    }
}

/// An agreement that passes every check, in force over days 1,000 to 2,000.
pub(crate) fn agreement(dice: &mut Dice, id: u8) -> Agreement {
    let obligations =
        if dice.per_mille(500) { vec![Obligation::EraseAtEnd, Obligation::GiveCredit] } else { Vec::new() };
    let party = |n: u8| Party {
        id: org(n),
        name: format!("Party {n}"),
        handle: format!("p{n}"),
        declines: if n == 3 { obligations.iter().copied().take(1).collect() } else { vec![] },
        signatories: if n == 4 { vec!["A. Diallo".to_owned(), "M. Osei".to_owned()] } else { vec![] },
    };
    let mut agreement = Agreement {
        v: 1,
        id: agreement_id(id),
        from: UnixMillis(1_000 * DAY),
        lang: LANGUAGE,
        basis: LegalBasis {
            text: "letters".to_owned(),
            digest: None,
            prevails: dice.pick(&[None, Some(Prevails::Basis)]),
        },
        lease_hours: dice.pick(&[None, Some(10)]),
        title: "Generated".to_owned(),
        until: UnixMillis(2_000 * DAY),
        notice_days: 1,
        schema: schema_digest(),
        clauses: Vec::new(),
        parties: (1..=5).map(party).collect(),
        version: 1,
        purposes: vec!["tracing".to_owned()],
        survival_days: dice.pick(&[None, Some(365)]),
        obligations: obligations.clone(),
        predecessor: None,
    };
    let wanted = 3 + dice.below(4);
    while agreement.clauses.len() < wanted {
        let mut next = agreement.clone();
        next.clauses.push(clause(dice, next.clauses.len()));
        // Conditions that can never hold, or read personal data that is not named, are drawn again.
        if check(next.clone()).is_ok() {
            agreement = next;
        }
    }
    agreement
}

pub(crate) fn governed(agreement: Agreement, standing: Standing) -> Governed {
    let digest = agreement.digest().unwrap();
    Governed { in_force: InForce { agreement, digest }, standing }
}

/// A red line that rarely holds.
fn red_line(dice: &mut Dice, n: usize) -> RedLine {
    let action = if dice.per_mille(700) { Action::Release } else { Action::Accept };
    loop {
        let kind = dice.pick(&KINDS);
        let all = attributes(kind);
        let numbers: Vec<&Attribute> =
            all.iter().filter(|a| matches!(a.origin, Origin::Slot(_, Reading::Long))).collect();
        let picked = if dice.per_mille(500) { dice.pick(&numbers) } else { &all[dice.below(all.len())] };
        let read = match picked.origin {
            Origin::Slot(_, Reading::Long) => format!("resource.{} + 9223372036854775805 < 0", picked.name),
            _ => atom(dice, picked),
        };
        let when = if dice.per_mille(700) { format!("resource has {} && {read}", picked.name) } else { read };
        let to = if dice.per_mille(500) { vec![] } else { vec![org(2)] };
        if let Ok(line) = RedLine::new(&format!("line {n}"), action, &[kind], &to, Some(&when)) {
            return line;
        }
    }
}

/// Everything that decisions depend on. Partner 4 is suspended, 5 unknown; agreement 4 is suspended, 5 ended.
pub(crate) fn world(dice: &mut Dice) -> World {
    let standing = |id| match id {
        4 => Standing::Suspended,
        5 => Standing::Ended,
        _ => Standing::Active,
    };
    World {
        own: org(1),
        agreements: (1..=5).map(|id| governed(agreement(dice, id), standing(id))).collect(),
        red_lines: (0..3).map(|n| red_line(dice, n)).collect(),
        partners: BTreeMap::from([
            (org(2), PartnerState::Active),
            (org(3), PartnerState::Active),
            (org(4), PartnerState::Suspended),
            (org(9), PartnerState::Active),
        ]),
        accredited: vec!["FR:DR".to_owned()],
    }
}

/// Mostly an unproblematic now.
pub(crate) fn now(dice: &mut Dice) -> Interval {
    let day = match dice.below(50) {
        0 => 999,
        1 => 2_000,
        2 => 1_000,
        _ => 1_001 + u64::try_from(dice.below(998)).unwrap(),
    };
    let early = UnixMillis(day * DAY);
    let width = if dice.per_mille(15) { 3_600_001 } else { 1_000 };
    let late = if dice.per_mille(5) { early.minus(1) } else { early.plus(width) };
    Interval { early, late, confirmed: !dice.per_mille(15) }
}

pub(crate) fn floor(dice: &mut Dice) -> HandlingFloor {
    let rarely = |dice: &mut Dice, of: &[&str]| dice.per_mille(60).then(|| dice.pick(of).to_owned());
    HandlingFloor {
        tlp: dice.per_mille(400).then(|| dice.pick(&[Tlp::Red, Tlp::Green, Tlp::Amber])),
        class: rarely(dice, &["UN:CONFIDENTIAL", "FR:DR", "R-UE/EU-R"]),
        orcon: dice.per_mille(100),
        eu_hc: dice.pick(&[&[][..], &[1], &[1, 2]]).to_vec(),
        destroy_on: rarely(dice, &["1974-01-01", "2040-01-01", "1975-01-01"]),
        not_before: dice.per_mille(50).then_some(UnixMillis(1_500 * DAY)),
        ..HandlingFloor::default()
    }
}

pub(crate) fn header(dice: &mut Dice, kind: Kind) -> Header {
    let originator = if dice.per_mille(160) { org(2) } else { org(1) };
    let (line, nonce) = (LineId::from_bytes([1; 16]), Nonce::from_bytes([1; 16]));
    Header { kind, line, floor: floor(dice), nonce, originator }
}

pub(crate) fn gate(dice: &mut Dice) -> Gate {
    use ReviewState::{Draft, Recalled, Refuted, Reviewed, Verified};
    let usual = Gate { review: Verified, required: Reviewed, released: true };
    match dice.below(20) {
        0 => Gate {
            review: dice.pick(&[Draft, Reviewed, Verified, Refuted, Recalled]),
            required: dice.pick(&[Draft, Reviewed, Verified, Refuted]),
            released: dice.per_mille(500),
        },
        1 => Gate { released: false, ..usual },
        _ => usual,
    }
}

/// What an originator and an agreement say of going on; mostly so that it may.
pub(crate) struct Upstream {
    pub(crate) grant: Grant,
    pub(crate) rule: Onward,
    pub(crate) red: bool,
    pub(crate) lease_hours: Option<u32>,
    pub(crate) attested: bool,
}

pub(crate) fn grant(dice: &mut Dice, header: &Header, (from, to): (OrgId, OrgId)) -> Grant {
    let rarely = |dice: &mut Dice, other: OrgId, usual: OrgId| if dice.per_mille(30) { other } else { usual };
    let slots = match dice.below(12) {
        0 => SlotSet::EMPTY,
        n if n < 6 => SlotSet::from_bits(u64::MAX),
        _ => SlotSet::from_bits(dice.next() | dice.next()),
    };
    let purposes = dice.pick(&[&[][..], &["tracing"], &["tracing", "training"], &["training"]]);
    Grant {
        scope: Scope {
            kind: if dice.per_mille(30) { dice.pick(&KINDS) } else { header.kind },
            lines: match dice.below(10) {
                0 => vec![LineId::from_bytes([9; 16])],
                n if n < 5 => Vec::new(),
                _ => vec![header.line],
            },
            slots,
            purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
            retention_days: 10,
            until: UnixMillis(dice.pick(&[1_100, 1_900, 3_000]) * DAY),
        },
        from: rarely(dice, org(8), from),
        to: rarely(dice, org(8), to),
        time: UnixMillis(1_000 * DAY),
        originator: rarely(dice, org(8), header.originator),
    }
}

pub(crate) fn upstream(dice: &mut Dice, header: &Header, partner: OrgId) -> Option<Upstream> {
    if dice.per_mille(150) {
        return None;
    }
    let grant = grant(dice, header, (org(1), partner));
    Some(Upstream {
        grant,
        rule: match dice.below(8) {
            0 => Onward::Never,
            1 => Onward::To(vec![org(5)]),
            2 | 3 => Onward::To(vec![org(5), partner]),
            _ => Onward::WithGrant,
        },
        red: dice.per_mille(60),
        lease_hours: dice.pick(&[None, None, Some(1), Some(100)]),
        attested: dice.per_mille(600),
    })
}

/// Values of one record; most slots hold something.
pub(crate) fn values(dice: &mut Dice, kind: Kind) -> BTreeMap<u8, Value> {
    let mut values = BTreeMap::new();
    for slot in kind.slots() {
        if dice.per_mille(if slot.required { 990 } else { 700 }) {
            values.insert(slot.number, value(dice, slot.shape));
        }
    }
    if kind == Kind::Party && dice.per_mille(900) {
        values.insert(8, Value::text(dice.pick(&["company", "person"])));
    }
    if kind == Kind::Attachment {
        values.insert(9, Value::text(dice.pick(&["original", "stripped", "thumbnail"])));
    }
    values
}
