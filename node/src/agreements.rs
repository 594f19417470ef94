//! Agreements: drafted as text, signed by every party by file or over the wire, in force when complete.
//!
//! Approving is an act of a person, once for each version. The first-named party signs last: when it
//! approved before the others signed, its node signs as soon as their signatures are there.
//! Here: what is held. Signing, standing and what people see have a file each.

mod prove;
mod ready;
mod sign;
pub mod signed;
mod standing;
mod template;
mod view;

pub use prove::{PATIENCE_S, PATIENCE_S_MAX, prove};
pub use ready::must_say;
pub use sign::{
    Named, Received, Version, accept, add_file, approve, check_file, drop_proposal, receive, sign_file, version,
    would_approve,
};
pub use standing::{receive_standing, state};
pub use template::{draft, templates};
pub use view::{AgreementView, list, show};

use crate::{
    node::Node,
    recall::ending,
    records::stored::{RowDamage, decode},
    seal::keyring::Partition,
    secret::RandomError,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_policy::{
    CompileError, Governed, PartnerState as InPolicy, PolicySet, RedLine, check::CheckFault, source::SourceError,
};
use entente_protocol::{
    agreement::{
        Agreement, AgreementFault, InForce, SignedAgreement, Standing,
        lifecycle::{Facts, State, Step, StepFault},
    },
    cose::{SignatureBytes, SignatureFault},
    id::{AgreementDigest, AgreementId, KeyId, OrgId},
    identity::{ArmourFault, Purpose},
    primitive::PublicKey,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// An agreement as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgreementRow {
    /// Later versions that every party signed, rising, whose first day has not come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    next: Vec<ByteBuf>,
    /// The partner whose node brought the proposal; none where it is our own people's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bringer: Option<OrgId>,
    /// The version that every party signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<ByteBuf>,
    /// Proposals that people of ours dropped, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<AgreementDigest>,
    /// Digest that a person of ours approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved: Option<AgreementDigest>,
    /// The version on its way to being signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposal: Option<ByteBuf>,
    /// Signatories of ours who approved that digest, where we have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approvers: Vec<String>,
    /// The newest standing notice of each party.
    standings: Vec<StandingRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandingRow {
    /// When it became durable here: what its party says of the time decides nothing.
    at: UnixMillis,
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
    /// Later versions that every party signed, whose first day has not come.
    pub next: Vec<SignedAgreement>,
    /// The version on its way.
    pub proposal: Option<SignedAgreement>,
    /// Whether a person of ours approved the proposal.
    pub approved: bool,
    /// Signatories of ours who approved the proposal.
    pub approvers: Vec<String>,
    /// The partner whose node brought the proposal.
    pub bringer: Option<OrgId>,
    /// The strictest standing of any party.
    pub standing: Standing,
    /// Whether what was received under it is erased here, or on its way to be: nothing of it is read any more.
    pub erased: bool,
    /// When it was known here that a party has ended it.
    pub ended: Option<UnixMillis>,
    /// The newest notice of each party of the version in force.
    pub notices: Vec<SignatureBytes>,
}

impl Held {
    /// Whether an organisation is party to the version in force.
    pub fn binds(&self, org: OrgId) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.agreement.party(org).is_some())
    }
    /// The version on its way, where people of ours stand behind it.
    pub fn backed(&self, own: OrgId) -> Option<&SignedAgreement> {
        self.proposal.as_ref().filter(|proposal| self.approved || proposal.signed_by().any(|party| party == own))
    }
    /// Where it stands at the earliest and the latest time that it may be now.
    pub fn state(&self, now: (UnixMillis, UnixMillis)) -> State {
        self.state_of(self.in_force.as_ref().map(|f| &f.agreement), now)
    }
    /// The same, as if this version of it were the one that every party signed.
    fn state_of(&self, signed: Option<&Agreement>, now: (UnixMillis, UnixMillis)) -> State {
        State::of(&Facts {
            proposed: self.proposal.is_some(),
            signed: signed.map(|version| (version.from, version.until)),
            standing: self.standing,
            erased: self.erased,
            now,
        })
    }
    /// Whether a step is possible from where it stands now. Whatever changes an agreement asks here first.
    fn may(&self, node: &Node, step: Step) -> Result<(), AgreementError> {
        let now = node.interval();
        Ok(self.state((now.early, now.late)).step(step).map(drop)?)
    }
    /// The newest version that every party signed.
    fn newest(&self) -> Option<&SignedAgreement> {
        self.next.last().or(self.signed.as_ref())
    }
    /// The first time after `now` at which what is in force changes by itself.
    fn changes(&self, now: UnixMillis) -> Result<Option<UnixMillis>, AgreementFault> {
        let mut times: Vec<UnixMillis> =
            self.in_force.iter().flat_map(|f| [f.agreement.from, f.agreement.until]).collect();
        for next in &self.next {
            times.push(next.agreement()?.from);
        }
        Ok(times.into_iter().filter(|time| *time > now).min())
    }
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
    /// A version that nobody should stand behind yet.
    #[error("the agreement is not signed: {0}")]
    NotReady(String),
    /// What a file holds.
    #[error("`{path}`: {fault}")]
    InFile {
        /// The file.
        path: String,
        /// What is wrong with what it holds.
        fault: Box<Self>,
    },
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
    /// A usual case that cannot be filled in.
    #[error("the template cannot be filled in: {0}")]
    Template(String),
    /// Nobody has signed what is to be added.
    #[error(
        "`{0}` is a draft that nobody has signed, and nothing was added: sign it (`entente agreement sign {0}`), or ask \
         the partner for the file that it signed"
    )]
    Unsigned(String),
    /// We are not named.
    #[error("this organisation is not a party: its id is `{0}`, and parties are named by id")]
    NotOurs(OrgId),
    /// A party that we have not been introduced to.
    #[error("party `{0}` is no partner of ours: exchange cards with it first (`entente partner add`)")]
    Stranger(String),
    /// Somebody who is no party states something.
    #[error("`{0}` is no party to the agreement: what it sends or states about it does not count")]
    NoParty(OrgId),
    /// What is stored could not be read again: the store's fault.
    #[error("{0}")]
    Reload(String),
    /// Nothing of that id.
    #[error("there is no agreement `{0}`: see `entente agreement list`")]
    Unknown(String),
    /// Nothing to sign.
    #[error("agreement `{0}` has no proposal that waits for our signature")]
    NothingToSign(String),
    /// A property that cannot be asked about.
    #[error("{0}")]
    Property(String),
    /// Somebody who is not named to sign for us.
    #[error("{0}")]
    Signatory(String),
    /// Our signature is on it, and nothing takes a signature back.
    #[error(
        "we have signed the proposal of agreement `{0}`, and the others may complete it: sign another one in its place, or end the agreement"
    )]
    Signed(String),
    /// Another proposal than the one that was read.
    #[error("the proposal of agreement `{0}` has changed since it was shown: read it again (`entente agreement show`)")]
    Changed(String),
    /// A version that does not follow by its number.
    #[error(
        "version {given} does not follow version {known}, the newest of agreement `{agreement}` that every party signed: \
         look at that one (`entente agreement show {agreement}`), and draft version {} from it", .known + 1
    )]
    Version {
        /// Of which agreement.
        agreement: AgreementId,
        /// Given.
        given: u64,
        /// The newest here.
        known: u64,
    },
    /// A version that replaces another one than the newest.
    #[error(
        "version {given} of agreement `{agreement}` replaces `{named}`, and the newest that every party signed here is \
         `{known}`: look at that one (`entente agreement show {agreement}`) and draft the next version from it, or agree \
         with the other parties on which of the two holds"
    )]
    Predecessor {
        /// Of which agreement.
        agreement: AgreementId,
        /// Its number.
        given: u64,
        /// What it names as its predecessor.
        named: AgreementDigest,
        /// The newest here.
        known: AgreementDigest,
    },
    /// More at once than people can have meant.
    #[error("{what}: more than {max} are not taken from one partner; settle those that are open first")]
    TooMany {
        /// What.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// What cannot happen to it from where it stands.
    #[error("{0}; {remedy}", remedy = remedy(.0))]
    Step(#[from] StepFault),
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
    pub fn is_store(&self) -> bool {
        match self {
            Self::Store(error) => !error.is_erased(),
            Self::Damage(_) | Self::Reload(_) => true,
            Self::InFile { fault, .. } => fault.is_store(),
            _ => false,
        }
    }
}

/// What people do about a step that is not possible.
pub fn remedy(fault: &StepFault) -> &'static str {
    match (fault.state, fault.step) {
        (State::Draft, _) => "nothing of it waits here: sign a text or a file of it (`entente agreement sign`)",
        (State::Proposed, _) => {
            "not every party has signed it, and nothing came under it: drop it (`entente agreement drop`)"
        }
        (State::Ended, _) => "an end is final: draft a new one (`entente agreement new`)",
        (State::Erased, _) => {
            "what came under it was erased here, which is final: draft a new one (`entente agreement new`)"
        }
        (_, Step::Erase) => "it is not over: end it first (`entente agreement end`), or wait for its last day",
        _ => "see `entente agreement show`",
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

/// Reads every agreement from the store, as it stands at `now`. Signatures were verified before they were kept.
pub fn load(holdings: &Holdings, now: UnixMillis) -> Result<Agreements, AgreementError> {
    let (mut held, mut after) = (BTreeMap::new(), None);
    loop {
        let page = holdings.list(Partition::Node, Table::AgreementList, b"", after, 500)?;
        let Some((last, _)) = page.last() else { return Ok(Agreements(held)) };
        after = Some(*last);
        for (n, id) in &page {
            let id = AgreementId::from_slice(id).ok_or(StoreError::Broken { at: *n })?;
            let Some(row) = holdings.get(Partition::Node, Table::Agreement, id.as_bytes())? else { continue };
            let erased = ending::is_begun(holdings, id)?;
            held.insert(id, Held { erased, ..open(id, &decode("agreement", &row)?, now)? });
        }
    }
}

/// Every version of an agreement that was ever in force, by its digest.
pub fn versions(
    holdings: &Holdings,
    agreement: AgreementId,
) -> Result<BTreeMap<AgreementDigest, Agreement>, StoreError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let scope = agreement.as_bytes();
        let page = holdings.list(Partition::Node, Table::AgreementVersion, scope, after, 500)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        for (n, bytes) in page {
            let signed = SignedAgreement::from_bytes(&bytes).map_err(|_| StoreError::Broken { at: n })?;
            all.insert(signed.digest(), signed.agreement().map_err(|_| StoreError::Broken { at: n })?);
        }
    }
}

/// A row, within the transaction that will write it: nothing else changes it meanwhile.
fn read(txn: &Txn<'_>, id: AgreementId) -> Result<Option<AgreementRow>, AgreementError> {
    let row = txn.get(Partition::Node, Table::Agreement, id.as_bytes())?;
    row.map(|row| Ok(decode("agreement", &row)?)).transpose()
}

/// What a row means now, within the transaction that will change it.
fn held(node: &Node, id: AgreementId, row: &AgreementRow) -> Result<Held, AgreementError> {
    let erased = ending::is_begun(&node.holdings, id)?;
    Ok(Held { erased, ..open(id, row, node.clock.now())? })
}

/// What a row means at `now`. A later version replaces the one in force on its first day, and not before.
fn open(id: AgreementId, row: &AgreementRow, now: UnixMillis) -> Result<Held, AgreementError> {
    let parse = |bytes: &Option<ByteBuf>| bytes.as_ref().map(|b| SignedAgreement::from_bytes(b)).transpose();
    let mut signed = parse(&row.current)?;
    let mut next = row.next.iter().map(|b| SignedAgreement::from_bytes(b)).collect::<Result<Vec<_>, _>>()?;
    let mut begun = 0;
    for (place, version) in (1..).zip(&next) {
        if version.agreement()?.from <= now {
            begun = place;
        }
    }
    if let Some(version) = next.drain(..begun).next_back() {
        signed = Some(version);
    }
    let proposal = parse(&row.proposal)?;
    let in_force =
        signed.as_ref().map(|s| Ok::<_, AgreementFault>(InForce { agreement: s.agreement()?, digest: s.digest() }));
    let in_force = in_force.transpose()?;
    // What a former party stated about what it has left binds nobody.
    let bound = match (&in_force, &proposal) {
        (Some(in_force), _) => Some(in_force.agreement.clone()),
        (None, Some(proposal)) => Some(proposal.agreement()?),
        (None, None) => None,
    };
    let party = |s: &&StandingRow| bound.as_ref().is_some_and(|agreement| agreement.party(s.party).is_some());
    let standings: Vec<&StandingRow> = row.standings.iter().filter(party).collect();
    Ok(Held {
        id,
        approved: proposal.as_ref().is_some_and(|p| row.approved == Some(p.digest())),
        approvers: match (row.approved, &proposal) {
            (Some(approved), Some(proposal)) if approved == proposal.digest() => row.approvers.clone(),
            _ => Vec::new(),
        },
        bringer: row.bringer.filter(|_| proposal.is_some()),
        erased: false,
        ended: standings.iter().filter(|s| s.standing == Standing::Ended).map(|s| s.at).min(),
        standing: standings.iter().map(|s| s.standing).max().unwrap_or(Standing::Active),
        notices: standings.iter().map(|s| s.notice.clone()).collect(),
        in_force,
        signed,
        next,
        proposal,
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
            held.signed.iter().chain(&held.next).chain(&held.proposal).any(party)
        })
    }
    /// Whether a signed form is what is held, signature for signature.
    pub fn holds(&self, signed: &SignedAgreement) -> bool {
        let Some(held) = signed.agreement().ok().and_then(|agreement| self.get(agreement.id)) else { return false };
        held.signed.iter().chain(&held.next).chain(&held.proposal).any(|known| known == signed)
    }
    /// The first time after `now` at which what is in force changes by itself.
    pub fn changes(&self, now: UnixMillis) -> Result<Option<UnixMillis>, AgreementError> {
        let mut first = None;
        for held in self.0.values() {
            first = first.into_iter().chain(held.changes(now)?).min();
        }
        Ok(first)
    }
    /// By id or its beginning; a listing gives later versions as `ID/VERSION`, which is taken too.
    pub fn find(&self, given: &str) -> Result<&Held, AgreementError> {
        let id = given.split_once('/').map_or(given, |(id, _)| id);
        let mut found = self.0.values().filter(|held| id.len() >= 6 && held.id.to_string().starts_with(id));
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
    node.reload().map_err(|e| AgreementError::Reload(e.message))
}

#[cfg(test)]
mod tests;
