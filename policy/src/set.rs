//! What is in force: an immutable snapshot of agreements, their standing, red lines and partners.
//!
//! The node makes a new set whenever any of them changes and swaps it in whole, so a decision never
//! sees half a change. Policies are sliced by direction, partner, agreement and kind, so a decision
//! costs what concerns it and not what concerns others.

use crate::{
    check::{self, CheckFault},
    compile::{Action, Engine},
    condition::ConditionFault,
    handling,
    memo::Memo,
    redline::RedLine,
};
use entente_protocol::{
    agreement::{Agreement, Clause, InForce, Standing},
    id::{AgreementDigest, AgreementId, Hash, OrgId},
    label,
    primitive::labelled,
    record::{SlotSet, kind::Kind, schema_digest},
};
use std::collections::{BTreeMap, BTreeSet};

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

/// A set that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An agreement breaks a rule or pins another schema.
    #[error("agreement `{agreement}` is refused: {fault}")]
    Agreement {
        /// Which.
        agreement: AgreementId,
        /// Why.
        fault: CheckFault,
    },
    /// Two versions of one agreement.
    #[error("two versions of agreement `{agreement}` are given; give the one in force")]
    TwoVersions {
        /// Which.
        agreement: AgreementId,
    },
    /// A policy that the engine refuses although it was checked.
    #[error(transparent)]
    Condition(#[from] ConditionFault),
}

/// What the decider needs to know of a clause beside its policy.
#[derive(Debug)]
pub(crate) struct Covered {
    pub(crate) place: u16,
    pub(crate) slots: SlotSet,
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

/// Slices by direction, partner, agreement and kind.
type Slices = BTreeMap<(Action, OrgId, AgreementId, Kind), Slice>;

/// Everything that decisions depend on, beside the question.
#[derive(Debug)]
pub struct PolicySet {
    pub(crate) own: OrgId,
    pub(crate) agreements: BTreeMap<AgreementId, Governed>,
    pub(crate) red_lines: Vec<RedLine>,
    pub(crate) partners: BTreeMap<OrgId, PartnerState>,
    pub(crate) accredited: BTreeSet<String>,
    pub(crate) slices: Slices,
    /// None only where a test compares decisions with and without memory.
    pub(crate) memo: Option<Memo>,
    version: Hash,
}

impl PolicySet {
    /// Checks and compiles. `accredited` lists classifications that this node may hold.
    pub fn new(
        own: OrgId,
        agreements: Vec<Governed>,
        red_lines: &[RedLine],
        partners: BTreeMap<OrgId, PartnerState>,
        accredited: &[String],
    ) -> Result<Self, CompileError> {
        let mut by_id: BTreeMap<AgreementId, Governed> = BTreeMap::new();
        for governed in agreements {
            let agreement = governed.in_force.agreement.id;
            check::check(governed.in_force.agreement.clone())
                .map_err(|fault| CompileError::Agreement { agreement, fault })?;
            if by_id.insert(agreement, governed).is_some() {
                return Err(CompileError::TwoVersions { agreement });
            }
        }
        let mut set = Self {
            own,
            agreements: by_id,
            red_lines: red_lines.to_vec(),
            partners,
            accredited: accredited.iter().map(|class| handling::class_spelling(class)).collect(),
            slices: BTreeMap::new(),
            memo: Some(Memo::default()),
            version: Hash::from_bytes([0; 32]),
        };
        set.slices = set.slice()?;
        set.version = set.digest();
        Ok(set)
    }

    fn slice(&self) -> Result<Slices, CompileError> {
        let mut slices = BTreeMap::new();
        for (id, governed) in &self.agreements {
            let agreement = &governed.in_force.agreement;
            for partner in agreement.parties.iter().map(|p| p.id).filter(|p| self.partners.contains_key(p)) {
                for (action, from, to) in [(Action::Release, self.own, partner), (Action::Accept, partner, self.own)] {
                    for (kind, clauses) in covering(agreement, from, to) {
                        let number = u32::try_from(slices.len()).unwrap_or(u32::MAX);
                        let slice = self.one(number, action, partner, kind, &clauses)?;
                        slices.insert((action, partner, *id, kind), slice);
                    }
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
    ) -> Result<Slice, CompileError> {
        let concerning = self.red_lines.iter().enumerate().filter(|(_, line)| line.concerns(action, kind, partner));
        let red_lines: Vec<(usize, &RedLine)> = concerning.collect();
        let covered = clauses.iter().map(|(place, clause)| Covered {
            place: *place,
            slots: clause.disclose.iter().find(|d| d.kind == kind).map(|d| d.set()).unwrap_or_default(),
            personal: clause.personal.iter().filter(|p| p.kind == kind).map(|p| p.slot).collect(),
            red: clause.red,
            files: clause.files.clone(),
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

    fn digest(&self) -> Hash {
        let mut parts: Vec<Vec<u8>> = vec![self.own.as_bytes().to_vec(), schema_digest().as_bytes().to_vec()];
        for governed in self.agreements.values() {
            let standing = governed.standing as u8;
            parts.push([governed.in_force.digest.as_bytes().as_slice(), &[standing]].concat());
        }
        // Each group ends in an empty part, so that no two sets read alike.
        parts.push(Vec::new());
        for line in &self.red_lines {
            parts.push(line.name.clone().into_bytes());
            parts.push(line.action.name().as_bytes().to_vec());
            parts.push(line.kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(" ").into_bytes());
            parts.push(line.to.iter().flat_map(|org| *org.as_bytes()).collect());
            parts
                .push([&[u8::from(line.when.is_some())], line.when.as_deref().unwrap_or_default().as_bytes()].concat());
        }
        parts.push(Vec::new());
        for (partner, state) in &self.partners {
            parts.push([partner.as_bytes().as_slice(), &[*state as u8]].concat());
        }
        parts.push(Vec::new());
        parts.extend(self.accredited.iter().map(|class| class.clone().into_bytes()));
        let prefixed: Vec<Vec<u8>> =
            parts.into_iter().map(|p| [&(p.len() as u64).to_be_bytes(), p.as_slice()].concat()).collect();
        let slices: Vec<&[u8]> = prefixed.iter().map(Vec::as_slice).collect();
        Hash::from_bytes(labelled(label::POLICY_SET, &slices))
    }
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
