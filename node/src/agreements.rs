//! Agreements: drafted as text, signed by every party by file or over the wire, in force when complete.
//!
//! Approving is an act of a person, once for each version. The first-named party signs last: when it
//! approved before the others signed, its node signs as soon as their signatures are there.
//! Here: what is held. Signing, standing and what people see have a file each.

mod sign;
mod standing;
mod view;

pub use sign::{accept, add_file, check_file, receive, sign_file};
pub use standing::{receive_standing, state};
pub use view::{AgreementView, list, show};

use crate::{
    node::Node,
    partners::Book,
    records::stored::{RowDamage, decode},
    seal::keyring::Partition,
    secret::RandomError,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_policy::{
    CompileError, Governed, PartnerState as InPolicy, PolicySet, RedLine, check::CheckFault, source::SourceError,
};
use entente_protocol::{
    agreement::{AgreementFault, InForce, SignedAgreement, Standing},
    cose::{SignatureBytes, SignatureFault},
    id::{AgreementDigest, AgreementId, KeyId, OrgId},
    identity::{ArmourFault, Purpose},
    primitive::PublicKey,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// An agreement as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgreementRow {
    /// The version that every party signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<ByteBuf>,
    /// Digest that a person of ours approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved: Option<AgreementDigest>,
    /// The version on its way to being signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposal: Option<ByteBuf>,
    /// The newest standing notice of each party.
    standings: Vec<StandingRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandingRow {
    party: OrgId,
    notice: SignatureBytes,
    counter: u64,
    standing: Standing,
}

/// An agreement, read and verified.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its id over all versions.
    pub id: AgreementId,
    /// The version in force.
    pub in_force: Option<InForce>,
    /// The signed form of the version in force.
    pub signed: Option<SignedAgreement>,
    /// The version on its way.
    pub proposal: Option<SignedAgreement>,
    /// Whether a person of ours approved the proposal.
    pub approved: bool,
    /// The strictest standing of any party.
    pub standing: Standing,
    /// Each party's newest notice.
    pub notices: Vec<SignatureBytes>,
}

/// Every agreement.
#[derive(Debug, Default)]
pub struct Agreements(BTreeMap<AgreementId, Held>);

/// An agreement could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// The text.
    #[error("`{path}`: {fault}")]
    Source {
        /// The file.
        path: String,
        /// Line, key and reason.
        fault: SourceError,
    },
    /// The rules of the language.
    #[error("the agreement is refused: {0}")]
    Check(#[from] CheckFault),
    /// The signed form.
    #[error("the agreement is refused: {0}")]
    Fault(#[from] AgreementFault),
    /// The armour of a signed file.
    #[error("`{path}`: {fault}")]
    Armour {
        /// The file.
        path: String,
        /// What is wrong.
        fault: ArmourFault,
    },
    /// The file.
    #[error("{0}")]
    File(String),
    /// We are not named.
    #[error("this organisation is not a party: its id is `{0}`, and parties are named by id")]
    NotOurs(OrgId),
    /// A party that we have not been introduced to.
    #[error("party `{0}` is no partner of ours: exchange cards with it first (`entente partner add`)")]
    Stranger(String),
    /// Nothing of that id.
    #[error("there is no agreement `{0}`: see `entente agreement list`")]
    Unknown(String),
    /// Nothing to sign.
    #[error("agreement `{0}` has no proposal that waits for our signature")]
    NothingToSign(String),
    /// Another proposal than the one that was read.
    #[error("the proposal of agreement `{0}` has changed since it was shown: read it again (`entente agreement show`)")]
    Changed(String),
    /// A version that does not follow the one in force.
    #[error("version {given} does not follow version {known}, which is in force here")]
    Version {
        /// Given.
        given: u64,
        /// In force.
        known: u64,
    },
    /// Ended agreements stay ended.
    #[error("the agreement was ended, which is final: draft a new one")]
    Ended,
    /// A standing notice.
    #[error("the notice is refused: {0}")]
    Notice(#[from] SignatureFault),
    /// The set in force does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row.
    #[error(transparent)]
    Damage(#[from] RowDamage),
}

impl AgreementError {
    /// Whether the store is at fault, and nobody outside.
    pub const fn is_store(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Damage(_))
    }
}

/// A key of a party, from our own card or a partner's.
fn party_key(node: &Node, org: OrgId, kid: KeyId) -> Option<PublicKey> {
    let now = node.clock.now();
    if org == node.keys.org {
        return node.keys.card.key(Purpose::Agreements, kid, now);
    }
    node.book().key(org, Purpose::Agreements, kid, now)
}

/// Reads every agreement from the store. Signatures were verified before they were kept.
pub fn load(holdings: &Holdings, own: OrgId, _book: &Book) -> Result<Agreements, AgreementError> {
    let mut held = BTreeMap::new();
    let rows = holdings.list(Partition::Node, Table::AgreementList, b"", None, 10_000)?;
    for (n, id) in rows {
        let id = AgreementId::from_slice(&id).ok_or(StoreError::Broken { at: n })?;
        let Some(row) = read(holdings, id)? else { continue };
        held.insert(id, open(id, &row, own)?);
    }
    Ok(Agreements(held))
}

fn read(holdings: &Holdings, id: AgreementId) -> Result<Option<AgreementRow>, AgreementError> {
    let row = holdings.get(Partition::Node, Table::Agreement, id.as_bytes())?;
    row.map(|row| Ok(decode("agreement", &row)?)).transpose()
}

fn open(id: AgreementId, row: &AgreementRow, _own: OrgId) -> Result<Held, AgreementError> {
    let parse = |bytes: &Option<ByteBuf>| bytes.as_ref().map(|b| SignedAgreement::from_bytes(b)).transpose();
    let signed = parse(&row.current)?;
    let proposal = parse(&row.proposal)?;
    let in_force =
        signed.as_ref().map(|s| Ok::<_, AgreementFault>(InForce { agreement: s.agreement()?, digest: s.digest() }));
    Ok(Held {
        id,
        in_force: in_force.transpose()?,
        approved: proposal.as_ref().is_some_and(|p| row.approved == Some(p.digest())),
        signed,
        proposal,
        standing: row.standings.iter().map(|s| s.standing).max().unwrap_or(Standing::Active),
        notices: row.standings.iter().map(|s| s.notice.clone()).collect(),
    })
}

impl Agreements {
    /// Each agreement.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.values()
    }
    /// One agreement.
    pub fn get(&self, id: AgreementId) -> Option<&Held> {
        self.0.get(&id)
    }
    /// Agreements that a partner is party to, in force or proposed.
    pub fn with(&self, partner: OrgId) -> impl Iterator<Item = &Held> {
        self.0.values().filter(move |held| {
            let party = |signed: &SignedAgreement| signed.agreement().is_ok_and(|a| a.party(partner).is_some());
            held.signed.iter().chain(&held.proposal).any(party)
        })
    }
    /// By id, its beginning, or title.
    pub fn find(&self, given: &str) -> Result<&Held, AgreementError> {
        let mut found = self.0.values().filter(|held| given.len() >= 6 && held.id.to_string().starts_with(given));
        match (found.next(), found.next()) {
            (Some(held), None) => Ok(held),
            _ => Err(AgreementError::Unknown(given.to_owned())),
        }
    }
    /// The policy set of what is in force.
    pub fn compile(
        &self,
        own: OrgId,
        partners: BTreeMap<OrgId, InPolicy>,
        red_lines: &[RedLine],
    ) -> Result<PolicySet, AgreementError> {
        let governed = self
            .0
            .values()
            .filter_map(|held| Some(Governed { in_force: held.in_force.clone()?, standing: held.standing }));
        Ok(PolicySet::new(own, governed.collect(), red_lines, partners, &[])?)
    }
}

fn reload(node: &Node) -> Result<(), AgreementError> {
    node.reload().map_err(|e| AgreementError::File(e.message))
}

#[cfg(test)]
mod tests;
