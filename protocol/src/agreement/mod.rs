//! The signed agreement: canonical body, every party's signature, versions, and each party's state.
//!
//! `policy` makes the body from the text that people write and decides by it; this module knows its
//! bytes only. People sign what is rendered from the canonical bytes.
//! Reading order: [`Agreement`] (the body), [`SignedAgreement`], [`StandingNotice`].

mod fits;
pub mod lifecycle;
mod standing;
#[cfg(test)]
mod tests;

pub use standing::{Standing, StandingNotice};

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{AgreementDigest, AgreementId, Hash, KeyId, OrgId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled},
    record::{SlotSet, Tlp, kind::Kind},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// Version of the agreement language that bodies of this crate are written in.
pub const LANGUAGE: u64 = 1;

/// What parties owe each other beside the clauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obligation {
    /// What was received is made unreadable when the agreement has ended, its survival over. Nodes do it.
    EraseAtEnd,
    /// What is recalled is deleted where that is asked. Every node does it, unless its party declines: then it answers that it
    /// does not, and keeps what was said, taken back.
    EraseWhenRecalled,
    /// A loss or a breach is told to whoever gave what was lost. People do it.
    ReportBreach,
    /// Whoever gave it is asked before anything is published. People do it.
    ConsultBeforePublishing,
    /// Whoever gave it is named where it is used. People do it.
    GiveCredit,
}

impl Obligation {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::EraseAtEnd,
        Self::EraseWhenRecalled,
        Self::ReportBreach,
        Self::ConsultBeforePublishing,
        Self::GiveCredit,
    ];
    /// Its name on the wire and in the text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EraseAtEnd => "erase-at-end",
            Self::EraseWhenRecalled => "erase-when-recalled",
            Self::ReportBreach => "report-breach",
            Self::ConsultBeforePublishing => "consult-before-publishing",
            Self::GiveCredit => "give-credit",
        }
    }
    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|obligation| obligation.name() == name)
    }
}

/// Which text counts where the two say different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prevails {
    /// The legal text.
    Basis,
    /// This agreement.
    Agreement,
}

/// How what comes under a clause is handled, whatever its own markings: the stricter counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handling {
    /// At least this label of TLP 2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<Tlp>,
    /// Europol handling codes that are heeded, rising.
    pub codes: Vec<u8>,
}

/// A party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// The organisation's id.
    pub id: OrgId,
    /// Its name as the agreement states it.
    pub name: String,
    /// Its short name within the agreement.
    pub handle: String,
    /// Obligations that it cannot accept, as a UN body that archives what it gets. Rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declines: Vec<Obligation>,
    /// The two persons without whom it does not sign, where it asks for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatories: Vec<String>,
}

/// What the agreement rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegalBasis {
    /// Citation, for people.
    pub text: String,
    /// SHA-256 of the legal text, where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Hash>,
    /// Which of the two counts where they differ, where it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prevails: Option<Prevails>,
}

/// Where received records may go next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Onward {
    /// Nowhere.
    Never,
    /// Where the originator's signed grant says.
    WithGrant,
    /// To these organisations.
    To(Vec<OrgId>),
}

/// What a clause is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// Releases records.
    Release,
    /// Answers trace requests within so many days.
    AnswerTraces(u32),
    /// Lets the other side match serials, so many queries a day.
    Match(u32),
    /// Raises alerts.
    Alert,
}

/// The slots that a clause discloses of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// The kind.
    pub kind: Kind,
    /// Slot numbers, rising.
    pub slots: Vec<u8>,
}

impl Disclosure {
    /// The slots as a set.
    pub fn set(&self) -> SlotSet {
        self.slots.iter().copied().collect()
    }
}

/// Personal data that a clause names, which it may disclose only so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// The kind.
    pub kind: Kind,
    /// The slot.
    pub slot: u8,
    /// For what.
    pub purpose: String,
    /// For how many days.
    #[serde(rename = "retention-days")]
    pub retention_days: u32,
}

/// One clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// Who receives.
    pub to: Vec<OrgId>,
    /// Whether TLP:RED records may go to the parties named in `to`.
    pub red: bool,
    /// What it is for.
    pub duty: Duty,
    /// Who gives.
    pub from: OrgId,
    /// Its name within the agreement.
    pub name: String,
    /// Condition over record attributes, as a Cedar expression; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Roles of attachments whose files may be fetched.
    pub files: Vec<String>,
    /// Where received records may go next.
    pub onward: Onward,
    /// Facts that disclosed free text may carry although no disclosed ladder states them.
    pub carries: Vec<String>,
    /// What is disclosed of each kind.
    pub disclose: Vec<Disclosure>,
    /// How what comes under it is handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling: Option<Handling>,
    /// Personal data named one by one.
    pub personal: Vec<Personal>,
    /// Days that the receiver keeps what it got.
    #[serde(rename = "retention-days")]
    pub retention_days: u32,
}

/// The canonical body of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Format.
    pub v: u64,
    /// The same over all versions.
    pub id: AgreementId,
    /// In force from.
    pub from: UnixMillis,
    /// Version of the agreement language.
    pub lang: u64,
    /// What it rests on.
    pub basis: LegalBasis,
    /// Hours without contact after which received data locks; absent means never.
    #[serde(default, rename = "lease", skip_serializing_if = "Option::is_none")]
    pub lease_hours: Option<u32>,
    /// Title, for people.
    pub title: String,
    /// In force until.
    pub until: UnixMillis,
    /// Days of notice before a regular end.
    #[serde(rename = "notice")]
    pub notice_days: u32,
    /// Digest of the kind table and attribute schema that it was checked against.
    pub schema: Hash,
    /// Clauses, in order.
    pub clauses: Vec<Clause>,
    /// Parties; the first signs last.
    pub parties: Vec<Party>,
    /// 1, 2, ...
    pub version: u64,
    /// Purposes.
    pub purposes: Vec<String>,
    /// Days for which obligations go on after the end.
    #[serde(default, rename = "survival", skip_serializing_if = "Option::is_none")]
    pub survival_days: Option<u32>,
    /// What parties owe each other beside the clauses. Rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<Obligation>,
    /// The version that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<AgreementDigest>,
}

/// An agreement that is refused: the drafter's or sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementFault {
    /// Not canonical, or not of the form.
    #[error("the agreement is malformed: {0}")]
    Codec(#[from] CodecError),
    /// Well-formed, but the parts contradict each other: what and where, and what to write instead. Parts are named by
    /// their place, for their names come from outside.
    #[error("the agreement is not consistent: {0}")]
    Inconsistent(String),
    /// A signature does not hold.
    #[error("the signature of `{party}` is refused: {fault}")]
    Signature {
        /// Handle of the party.
        party: String,
        /// Why.
        fault: SignatureFault,
    },
    /// A signature by somebody who is no party, or a second one by a party.
    #[error(
        "a signature by no party, or a second one by the same: signatures stand in the order of parties, each once; ask \
         for the file again"
    )]
    Stranger,
    /// The first-named party signs last, over the other signatures.
    #[error("`{first}` signs last, over the other signatures, which are not all there or were changed")]
    Order {
        /// Handle of the first party.
        first: String,
    },
}

/// A signed assent: digests, and two names at the most.
const ASSENT: Bounds = Bounds::bytes(2 << 10);
const BODY: Bounds = Bounds { bytes_max: limits::AGREEMENT_BYTES_MAX, items_max: limits::AGREEMENT_ITEMS_MAX };

impl Agreement {
    /// Reads a canonical body and checks that its parts fit together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AgreementFault> {
        let agreement: Self = codec::from_slice(bytes, BODY)?;
        agreement.check()?;
        Ok(agreement)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AgreementFault> {
        self.check()?;
        Ok(codec::to_vec(self, BODY)?)
    }

    /// The digest that parties sign.
    pub fn digest(&self) -> Result<AgreementDigest, AgreementFault> {
        Ok(digest_of(&self.to_bytes()?))
    }

    /// A party by organisation.
    pub fn party(&self, org: OrgId) -> Option<&Party> {
        self.parties.iter().find(|p| p.id == org)
    }
    /// Whether a party has said that it cannot accept what the others owe.
    pub fn declines(&self, org: OrgId, what: Obligation) -> bool {
        self.party(org).is_some_and(|party| party.declines.contains(&what))
    }

    /// Clauses under which `from` releases to `to`, with their places.
    pub fn releasing(&self, from: OrgId, to: OrgId) -> impl Iterator<Item = (u16, &Clause)> {
        self.clauses
            .iter()
            .enumerate()
            .filter(move |(_, c)| c.from == from && c.to.contains(&to) && c.duty == Duty::Release)
            .filter_map(|(at, c)| Some((u16::try_from(at).ok()?, c)))
    }
}

fn digest_of(body: &[u8]) -> AgreementDigest {
    AgreementDigest::from_bytes(labelled(label::AGREEMENT_DIGEST, &[body]))
}

/// What a party's signature covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assent {
    /// The signatories of a party that has them, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    by: Vec<String>,
    time: UnixMillis,
    party: OrgId,
    /// Digest over the other parties' signatures in the order of parties: in the first party's assent only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prior: Option<Hash>,
    digest: AgreementDigest,
}

/// An agreement with the signatures that it has so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAgreement {
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    /// In the order of parties; missing ones are left out.
    signatures: Vec<PartySignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartySignature {
    party: OrgId,
    signature: SignatureBytes,
}

/// A version whose signatures have all been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The body.
    pub agreement: Agreement,
    /// Its digest.
    pub digest: AgreementDigest,
}

impl SignedAgreement {
    /// An agreement that nobody has signed yet.
    pub fn unsigned(agreement: &Agreement) -> Result<Self, AgreementFault> {
        Ok(Self { body: agreement.to_bytes()?, signatures: Vec::new() })
    }

    /// Reads a signed agreement file or proposal.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AgreementFault> {
        let signed: Self = codec::from_slice(bytes, BODY)?;
        let agreement = signed.agreement()?;
        let mut parties = agreement.parties.iter().map(|p| p.id);
        // Signatures stand in the order of parties, each at most once.
        if !signed.signatures.iter().all(|s| parties.any(|p| p == s.party)) {
            return Err(AgreementFault::Stranger);
        }
        Ok(signed)
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AgreementFault> {
        Ok(codec::to_vec(self, BODY)?)
    }

    /// The body.
    pub fn agreement(&self) -> Result<Agreement, AgreementFault> {
        Agreement::from_bytes(&self.body)
    }

    /// The digest that parties sign.
    pub fn digest(&self) -> AgreementDigest {
        digest_of(&self.body)
    }

    /// Who has signed so far.
    pub fn signed_by(&self) -> impl Iterator<Item = OrgId> {
        self.signatures.iter().map(|s| s.party)
    }

    /// Adds a party's signature; the first-named party signs last, over the others. Where the party has signatories, the
    /// caller has their word: the signature says that both have approved.
    pub fn sign(&mut self, party: OrgId, key: &SigningKey, time: UnixMillis) -> Result<(), AgreementFault> {
        let agreement = self.agreement()?;
        let place = agreement.parties.iter().position(|p| p.id == party).ok_or(AgreementFault::Stranger)?;
        if self.signed_by().any(|signed| signed == party) {
            return Err(AgreementFault::Stranger);
        }
        let prior = if place == 0 {
            if self.signatures.len() + 1 != agreement.parties.len() {
                return Err(first_signs_last(&agreement));
            }
            Some(self.prior()?)
        } else {
            None
        };
        let by = agreement.party(party).map(|p| p.signatories.clone()).unwrap_or_default();
        let assent = Assent { by, time, party, prior, digest: self.digest() };
        let payload = codec::to_vec(&assent, ASSENT)?;
        let signature = SignatureBytes(cose::sign(label::SIGN_AGREEMENT, key, &payload));
        let at =
            agreement.parties.iter().take(place).filter(|p| self.signatures.iter().any(|s| s.party == p.id)).count();
        self.signatures.insert(at, PartySignature { party, signature });
        Ok(())
    }

    /// Digest over every signature but the first party's, in their order.
    fn prior(&self) -> Result<Hash, AgreementFault> {
        let first = self.agreement().ok().and_then(|a| a.parties.first().map(|p| p.id));
        let others = self.signatures.iter().filter(|s| Some(s.party) != first);
        let encoded: Vec<Vec<u8>> = others.map(|s| s.signature.to_bytes()).collect::<Result<_, _>>()?;
        let parts: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
        Ok(Hash::from_bytes(labelled(label::AGREEMENT_PRIOR, &parts)))
    }

    /// Adds the signatures that another copy of the same version has and this one lacks.
    pub fn merge(&mut self, other: &Self) -> Result<(), AgreementFault> {
        if self.body != other.body {
            return fits::refuse("signatures on two different versions are not put together: compare their digests");
        }
        let order: Vec<OrgId> = self.agreement()?.parties.iter().map(|p| p.id).collect();
        for theirs in &other.signatures {
            if !self.signatures.iter().any(|s| s.party == theirs.party) {
                self.signatures.push(theirs.clone());
            }
        }
        self.signatures.sort_by_key(|s| order.iter().position(|p| *p == s.party));
        Ok(())
    }

    /// Verifies every signature that is there. `key` finds an agreements key of a party by its id.
    pub fn verify(&self, key: impl Fn(OrgId, KeyId) -> Option<PublicKey>) -> Result<Agreement, AgreementFault> {
        let agreement = self.agreement()?;
        for PartySignature { party, signature } in &self.signatures {
            let named = agreement.party(*party).ok_or(AgreementFault::Stranger)?;
            let refused = |fault| AgreementFault::Signature { party: named.handle.clone(), fault };
            let parsed = signature.parse().map_err(refused)?;
            let public = key(*party, parsed.kid()).ok_or_else(|| refused(SignatureFault::Key))?;
            let payload = parsed.verify(label::SIGN_AGREEMENT, &public).map_err(refused)?;
            let assent: Assent = codec::from_slice(payload, ASSENT)?;
            let first = agreement.parties.first().map(|p| p.id) == Some(*party);
            if assent.party != *party || assent.digest != self.digest() || assent.by != named.signatories {
                return Err(refused(SignatureFault::Invalid));
            }
            let complete = self.signatures.len() == agreement.parties.len();
            let prior = if first { Some(self.prior()?) } else { None };
            if assent.prior != prior || (first && !complete) {
                return Err(first_signs_last(&agreement));
            }
        }
        Ok(agreement)
    }

    /// Verifies that every party has signed.
    pub fn complete(&self, key: impl Fn(OrgId, KeyId) -> Option<PublicKey>) -> Result<Option<InForce>, AgreementFault> {
        let agreement = self.verify(key)?;
        let all = self.signatures.len() == agreement.parties.len();
        Ok(all.then(|| InForce { digest: self.digest(), agreement }))
    }
}

fn first_signs_last(agreement: &Agreement) -> AgreementFault {
    AgreementFault::Order { first: agreement.parties.first().map(|p| p.handle.clone()).unwrap_or_default() }
}
