//! What is in force: an immutable snapshot of agreements, their standing, red lines and partners.
//!
//! The node makes a new set whenever any of them changes and swaps it in whole, so a decision never
//! sees half a change. Policies are sliced by direction, partner, agreement and kind, so a decision
//! costs what concerns it and not what concerns others.

use crate::{
    check::{self, CheckFault},
    compile::{Action, Engine},
    condition::ConditionFault,
    disclose, handling,
    memo::Memo,
    redline::RedLine,
};
use entente_protocol::{
    agreement::{Agreement, Clause, InForce, Standing},
    id::{AgreementDigest, AgreementId, Hash, OrgId},
    label::{self, Label},
    primitive::labelled,
    record::{SlotSet, kind::Kind, schema_digest},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A partner as this node treats it, whatever agreements say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartnerState {
    /// Sharing may flow.
    Active,
    /// Nothing is released to it or accepted from it.
    Suspended,
}

/// A fully signed version and where it stands: the strictest of what its parties state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governed {
    /// The version.
    pub in_force: InForce,
    /// Its standing.
    pub standing: Standing,
}

/// Why an agreement in force cannot be applied here. It is set aside: nothing passes under it, and the others stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AsideFault {
    /// It breaks a rule of this version of the language, or pins another schema.
    #[error(transparent)]
    Check(#[from] CheckFault),
    /// A policy that the engine refuses although it was checked.
    #[error(transparent)]
    Condition(#[from] ConditionFault),
}

/// A set that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Two versions of one agreement.
    #[error("two versions of agreement `{agreement}` are given; give the one in force")]
    TwoVersions {
        /// Which.
        agreement: AgreementId,
    },
}

/// What the decider needs to know of a clause beside its policy.
#[derive(Debug)]
pub(crate) struct Covered {
    pub(crate) place: u16,
    pub(crate) slots: SlotSet,
    /// Of them, those that go with every record that has them.
    pub(crate) plain: SlotSet,
    pub(crate) personal: SlotSet,
    pub(crate) red: bool,
    pub(crate) files: Vec<String>,
}

/// The clauses and red lines that concern one direction, partner, agreement and kind.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Its number within the set, for remembered verdicts.
    pub(crate) number: u32,
    pub(crate) clauses: Vec<Covered>,
    pub(crate) engine: Engine,
}

/// Direction, partner, agreement and kind.
type Concerning = (Action, OrgId, AgreementId, Kind);

/// Slices by what they concern, in that order, and quickly found.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    all: Vec<(Concerning, Slice)>,
    places: HashMap<Concerning, usize>,
}

impl Slices {
    fn new(slices: BTreeMap<Concerning, Slice>) -> Self {
        let places = slices.keys().copied().zip(0..).collect();
        Self { all: slices.into_iter().collect(), places }
    }
    /// The one that concerns this, if a clause does.
    pub(crate) fn get(&self, concerning: &Concerning) -> Option<&Slice> {
        self.places.get(concerning).and_then(|place| self.all.get(*place)).map(|(_, slice)| slice)
    }
    /// Every one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Concerning, Slice)> {
        self.all.iter()
    }
}

/// Everything that decisions depend on, beside the question.
#[derive(Debug)]
pub struct PolicySet {
    pub(crate) own: OrgId,
    pub(crate) agreements: BTreeMap<AgreementId, Governed>,
    /// INVARIANT: none of these is among `agreements`.
    pub(crate) aside: BTreeMap<AgreementId, (AgreementDigest, AsideFault)>,
    pub(crate) red_lines: Vec<RedLine>,
    pub(crate) partners: BTreeMap<OrgId, PartnerState>,
    pub(crate) accredited: BTreeSet<String>,
    pub(crate) slices: Slices,
    /// None only where a test compares decisions with and without memory.
    pub(crate) memo: Option<Memo>,
    version: Hash,
    local: Hash,
}

impl PolicySet {
    /// Checks and compiles. `accredited` lists classifications that this node may hold.
    ///
    /// An agreement that cannot be applied is set aside ([`PolicySet::aside`]), for one that was signed for another
    /// version of this program must not stop sharing under the others.
    pub fn new(
        own: OrgId,
        agreements: Vec<Governed>,
        red_lines: &[RedLine],
        partners: BTreeMap<OrgId, PartnerState>,
        accredited: &[String],
    ) -> Result<Self, CompileError> {
        let mut by_id: BTreeMap<AgreementId, Governed> = BTreeMap::new();
        let mut aside = BTreeMap::new();
        for governed in agreements {
            let agreement = governed.in_force.agreement.id;
            if by_id.contains_key(&agreement) || aside.contains_key(&agreement) {
                return Err(CompileError::TwoVersions { agreement });
            }
            match check::check(governed.in_force.agreement.clone()) {
                Ok(_) => drop(by_id.insert(agreement, governed)),
                Err(fault) => drop(aside.insert(agreement, (governed.in_force.digest, fault.into()))),
            }
        }
        let mut set = Self {
            own,
            agreements: by_id,
            aside,
            red_lines: red_lines.to_vec(),
            partners,
            accredited: accredited.iter().map(|class| handling::class_spelling(class)).collect(),
            slices: Slices::default(),
            memo: Some(Memo::default()),
            version: Hash::from_bytes([0; 32]),
            local: Hash::from_bytes([0; 32]),
        };
        let mut slices = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for governed in set.agreements.values() {
            let first = u32::try_from(slices.len()).unwrap_or(u32::MAX);
            match set.slice(first, &governed.in_force.agreement) {
                Ok(its) => slices.extend(its),
                Err(fault) => {
                    let InForce { agreement, digest } = &governed.in_force;
                    refused.insert(agreement.id, (*digest, AsideFault::from(fault)));
                }
            }
        }
        set.agreements.retain(|id, _| !refused.contains_key(id));
        set.aside.extend(refused);
        set.slices = Slices::new(slices);
        set.local = digest_of(label::POLICY_LOCAL, set.local_parts());
        set.version = set.digest();
        Ok(set)
    }

    /// The slices of one agreement, numbered from `first`.
    fn slice(&self, first: u32, agreement: &Agreement) -> Result<BTreeMap<Concerning, Slice>, ConditionFault> {
        let mut slices = BTreeMap::new();
        for partner in agreement.parties.iter().map(|p| p.id).filter(|p| self.partners.contains_key(p)) {
            for (action, from, to) in [(Action::Release, self.own, partner), (Action::Accept, partner, self.own)] {
                for (kind, clauses) in covering(agreement, from, to) {
                    let number = first.saturating_add(u32::try_from(slices.len()).unwrap_or(u32::MAX));
                    let slice = self.one(number, action, partner, kind, &clauses)?;
                    slices.insert((action, partner, agreement.id, kind), slice);
                }
            }
        }
        Ok(slices)
    }

    fn one(
        &self,
        number: u32,
        action: Action,
        partner: OrgId,
        kind: Kind,
        clauses: &[(u16, &Clause)],
    ) -> Result<Slice, ConditionFault> {
        let concerning = self.red_lines.iter().enumerate().filter(|(_, line)| line.concerns(action, kind, partner));
        let red_lines: Vec<(usize, &RedLine)> = concerning.collect();
        let covered = clauses.iter().map(|(place, clause)| {
            let covered = Covered {
                place: *place,
                slots: clause.disclose.iter().find(|d| d.kind == kind).map(|d| d.set()).unwrap_or_default(),
                plain: SlotSet::EMPTY,
                personal: clause.personal.iter().filter(|p| p.kind == kind).map(|p| p.slot).collect(),
                red: clause.red,
                files: clause.files.clone(),
            };
            Covered { plain: disclose::plain(&covered, kind), ..covered }
        });
        Ok(Slice {
            number,
            clauses: covered.collect(),
            engine: Engine::new(action, partner, kind, clauses, &red_lines)?,
        })
    }

    /// Digest of everything that decisions depend on. Equal digests decide alike.
    pub fn version(&self) -> Hash {
        self.version
    }

    /// Digest of what this organisation decides by itself: red lines, accreditation, schema. When it changes, what
    /// was released before is decided anew.
    pub fn local_version(&self) -> Hash {
        self.local
    }

    /// The organisation's own red lines.
    pub fn red_lines(&self) -> &[RedLine] {
        &self.red_lines
    }

    /// Why an agreement in force is set aside, if it is: nothing passes under it.
    pub fn aside(&self, agreement: AgreementId) -> Option<&AsideFault> {
        self.aside.get(&agreement).map(|(_, fault)| fault)
    }

    /// Whose set it is.
    pub fn own(&self) -> OrgId {
        self.own
    }

    /// Agreements that a partner is party to, with version and standing: all that the partner may see of them.
    pub fn agreements_with(
        &self,
        partner: OrgId,
    ) -> impl Iterator<Item = (AgreementId, AgreementDigest, Standing)> + '_ {
        self.agreements
            .iter()
            .filter(move |(_, governed)| governed.in_force.agreement.party(partner).is_some())
            .map(|(id, governed)| (*id, governed.in_force.digest, governed.standing))
    }

    /// The agreement that is in force under an id.
    pub fn agreement(&self, id: AgreementId) -> Option<&Governed> {
        self.agreements.get(&id)
    }

    /// Every agreement that is in force and can be applied.
    pub fn in_force(&self) -> impl Iterator<Item = &Agreement> {
        self.agreements.values().map(|governed| &governed.in_force.agreement)
    }

    fn digest(&self) -> Hash {
        let mut parts: Vec<Vec<u8>> = vec![self.own.as_bytes().to_vec()];
        for governed in self.agreements.values() {
            let standing = governed.standing as u8;
            parts.push([governed.in_force.digest.as_bytes().as_slice(), &[standing]].concat());
        }
        // Each group ends in an empty part, so that no two sets read alike.
        parts.push(Vec::new());
        parts.extend(self.aside.values().map(|(digest, _)| digest.as_bytes().to_vec()));
        parts.push(Vec::new());
        for (partner, state) in &self.partners {
            parts.push([partner.as_bytes().as_slice(), &[*state as u8]].concat());
        }
        parts.push(Vec::new());
        parts.extend(self.local_parts());
        digest_of(label::POLICY_SET, parts)
    }

    fn local_parts(&self) -> Vec<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = vec![schema_digest().as_bytes().to_vec()];
        for line in &self.red_lines {
            parts.push(line.name.clone().into_bytes());
            parts.push(line.action.name().as_bytes().to_vec());
            parts.push(line.kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(" ").into_bytes());
            parts.push(line.to.iter().flat_map(|org| *org.as_bytes()).collect());
            parts
                .push([&[u8::from(line.when.is_some())], line.when.as_deref().unwrap_or_default().as_bytes()].concat());
        }
        parts.push(Vec::new());
        parts.extend(self.accredited.iter().map(|class| class.clone().into_bytes()));
        parts
    }
}

fn digest_of(label: Label, parts: Vec<Vec<u8>>) -> Hash {
    let prefixed: Vec<Vec<u8>> =
        parts.into_iter().map(|p| [&(p.len() as u64).to_be_bytes(), p.as_slice()].concat()).collect();
    let slices: Vec<&[u8]> = prefixed.iter().map(Vec::as_slice).collect();
    Hash::from_bytes(labelled(label, &slices))
}

/// Clauses under which one party releases to another, by kind, in the agreement's order.
fn covering(agreement: &Agreement, from: OrgId, to: OrgId) -> BTreeMap<Kind, Vec<(u16, &Clause)>> {
    let mut by_kind: BTreeMap<Kind, Vec<(u16, &Clause)>> = BTreeMap::new();
    for (place, clause) in agreement.releasing(from, to) {
        for disclosure in &clause.disclose {
            by_kind.entry(disclosure.kind).or_default().push((place, clause));
        }
    }
    by_kind
}
