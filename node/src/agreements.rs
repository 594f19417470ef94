//! Agreements: drafted as text, signed by every party by file or over the wire, in force when complete.
//!
//! Approving is an act of a person, once for each version. The first-named party signs last: when it
//! approved before the others signed, its node signs as soon as their signatures are there.

use crate::{
    call::read_text,
    node::Node,
    records::stored::{RowDamage, decode, encode},
    seal::keyring::{KeyringError, Partition},
    secret::{self, RandomError, durable},
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_policy::{
    CompileError, Governed, PartnerState as InPolicy, PolicySet,
    check::{self, CheckFault, Checked},
    source::{self, Drafting, SourceError},
};
use entente_protocol::{
    agreement::{Agreement, AgreementFault, InForce, SignedAgreement, Standing, StandingNotice},
    cose::{SignatureBytes, SignatureFault},
    id::{AgreementDigest, AgreementId, KeyId, OrgId},
    identity::{Armour, ArmourFault, Purpose},
    limits,
    primitive::PublicKey,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, path::Path};

/// An agreement as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgreementRow {
    /// Later versions that every party signed, rising, whose first day has not come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    next: Vec<ByteBuf>,
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
    /// Later versions that every party signed, whose first day has not come.
    pub next: Vec<SignedAgreement>,
    /// The version on its way.
    pub proposal: Option<SignedAgreement>,
    /// Whether a person of ours approved the proposal.
    pub approved: bool,
    /// The strictest standing of any party.
    pub standing: Standing,
    /// The newest notice of each party of the version in force.
    pub notices: Vec<SignatureBytes>,
}

impl Held {
    /// Whether an organisation is party to the version in force.
    pub fn binds(&self, org: OrgId) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.agreement.party(org).is_some())
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
    /// Somebody who is no party states something.
    #[error("`{0}` is no party to the agreement: what it states about it does not count")]
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
    /// More at once than people can have meant.
    #[error("{what}: more than {max} are not taken from one partner; settle those that are open first")]
    TooMany {
        /// What.
        what: &'static str,
        /// The bound.
        max: usize,
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
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
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
        matches!(self, Self::Keyring(_) | Self::Store(_) | Self::Damage(_) | Self::Reload(_))
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
            held.insert(id, open(id, &decode("agreement", &row)?, now)?);
        }
    }
}

/// A row, within the transaction that will write it: nothing else changes it meanwhile.
fn read(txn: &Txn<'_>, id: AgreementId) -> Result<Option<AgreementRow>, AgreementError> {
    let row = txn.get(Partition::Node, Table::Agreement, id.as_bytes())?;
    row.map(|row| Ok(decode("agreement", &row)?)).transpose()
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
    /// The first time after `now` at which what is in force changes by itself.
    pub fn changes(&self, now: UnixMillis) -> Result<Option<UnixMillis>, AgreementError> {
        let mut first = None;
        for held in self.0.values() {
            first = first.into_iter().chain(held.changes(now)?).min();
        }
        Ok(first)
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
    pub fn compile(&self, own: OrgId, partners: BTreeMap<OrgId, InPolicy>) -> Result<PolicySet, AgreementError> {
        let governed = self
            .0
            .values()
            .filter_map(|held| Some(Governed { in_force: held.in_force.clone()?, standing: held.standing }));
        Ok(PolicySet::new(own, governed.collect(), &[], partners, &[])?)
    }
}

/// What a file holds: a text to sign, or an agreement signed so far.
fn read_file(node: &Node, path: &Path) -> Result<SignedAgreement, AgreementError> {
    let shown = path.display().to_string();
    let text = read_text(path, 2 * limits::AGREEMENT_BYTES_MAX as u64).map_err(|e| AgreementError::File(e.message))?;
    let signed = if text.trim_start().starts_with("-----BEGIN") {
        let bytes = Armour::AGREEMENT.open(&text).map_err(|fault| AgreementError::Armour { path: shown, fault })?;
        SignedAgreement::from_bytes(&bytes)?
    } else {
        let fresh = AgreementId::from_bytes(secret::random()?);
        let party = |handle: &str| match handle == node.config.handle {
            true => Some(node.keys.org),
            false => node.book().find(handle).ok().map(|(org, _)| org),
        };
        let drafted = source::parse(&text, &Drafting { id: fresh, party: &party });
        let checked = drafted.map_err(|fault| AgreementError::Source { path: shown, fault })?;
        SignedAgreement::unsigned(&checked.agreement)?
    };
    let agreement = signed.agreement()?;
    let Checked { agreement, .. } = check::check(agreement)?;
    if agreement.party(node.keys.org).is_none() {
        return Err(AgreementError::NotOurs(node.keys.org));
    }
    for party in agreement.parties.iter().filter(|p| p.id != node.keys.org) {
        if node.book().get(party.id).is_none() {
            return Err(AgreementError::Stranger(party.handle.clone()));
        }
    }
    signed.verify(|org, kid| party_key(node, org, kid))?;
    Ok(signed)
}

/// Whether a version may follow what we hold.
fn may_follow(held: &Held, agreement: &Agreement) -> Result<(), AgreementError> {
    let Some(newest) = held.newest() else { return Ok(()) };
    if held.standing == Standing::Ended {
        return Err(AgreementError::Ended);
    }
    let known = newest.agreement()?.version;
    if agreement.predecessor == Some(newest.digest()) && agreement.version == known + 1 {
        Ok(())
    } else {
        Err(AgreementError::Version { given: agreement.version, known })
    }
}

/// Whether a proposal that waits here stays, though another one for its place came.
///
/// Two may draft the next version at once: both sides then keep the same one, or they would swap for ever. One that a
/// person of ours approved is not replaced by what the wire brings.
fn stays(before: &SignedAgreement, row: &AgreementRow, signed: &SignedAgreement) -> Result<bool, AgreementError> {
    let agreement = signed.agreement()?;
    let complete = signed.signed_by().count() == agreement.parties.len();
    let rivals = before.agreement()?.version == agreement.version;
    let approved = row.approved == Some(before.digest());
    Ok(!complete && rivals && (approved || before.digest() < signed.digest()))
}

/// Who brings a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brought {
    /// A person of ours, who approves it.
    Approved,
    /// A person of ours, by file.
    File,
    /// This partner's node.
    By(OrgId),
}

/// Takes a version with the signatures that it has, signs where a person of ours approved it, and keeps it.
///
/// One append: row, version list, journal. What it is held against is read within its transaction. Returns what is
/// held now.
fn take(node: &Node, mut signed: SignedAgreement, brought: Brought) -> Result<SignedAgreement, AgreementError> {
    let agreement = signed.agreement()?;
    let now = node.clock.now();
    let mut txn = node.holdings.begin();
    let known = read(&txn, agreement.id)?;
    let mut row = known.clone().unwrap_or_default();
    let held = open(agreement.id, &row, now)?;
    if let Some(same) = held.signed.iter().chain(&held.next).find(|version| version.digest() == signed.digest()) {
        return Ok(same.clone());
    }
    may_follow(&held, &agreement)?;
    if let Brought::By(from) = brought
        && held.proposal.is_none()
    {
        few_open(node, from)?;
    }
    if let Some(before) = &held.proposal {
        if before.digest() == signed.digest() {
            signed.merge(before)?;
            if signed == *before && brought != Brought::Approved {
                return Ok(signed);
            }
        } else if matches!(brought, Brought::By(_)) && stays(before, &row, &signed)? {
            return Ok(before.clone());
        }
    }
    if brought == Brought::Approved {
        row.approved = Some(signed.digest());
    }
    let own = node.keys.org;
    let first = agreement.parties.first().is_some_and(|p| p.id == own);
    let others = agreement.parties.len() - 1 == signed.signed_by().filter(|p| *p != own).count();
    let unsigned = !signed.signed_by().any(|p| p == own);
    if row.approved == Some(signed.digest()) && unsigned && (!first || others) {
        signed.sign(own, &node.keys.agreements, now)?;
    }
    let complete = signed.complete(|org, kid| party_key(node, org, kid))?.is_some();
    let bytes = ByteBuf::from(signed.to_bytes()?);
    if complete {
        // The partition's keys stand before any row speaks of it.
        node.holdings.keyring().ensure_partition(Partition::Agreement(agreement.id))?;
        settle(&mut row, &held, bytes.clone(), agreement.from <= now)?;
        txn.push(Partition::Node, Table::AgreementVersion, agreement.id.as_bytes(), &bytes)?;
    } else {
        row.proposal = Some(bytes);
    }
    if known.is_none() {
        txn.push(Partition::Node, Table::AgreementList, b"", agreement.id.as_bytes())?;
    }
    txn.put(Partition::Node, Table::Agreement, agreement.id.as_bytes(), &encode("agreement", &row)?)?;
    let what = if complete { "agreement-in-force" } else { "agreement-proposal" };
    let about = [("agreement", agreement.id.to_string()), ("version", agreement.version.to_string())];
    node.journal(&mut txn, what, &about)?;
    txn.commit()?;
    // At once: whatever fails after this, what is stored is in force.
    reload(node)?;
    Ok(signed)
}

/// Puts a complete version where it belongs: in force, or behind the one that is until its first day.
fn settle(row: &mut AgreementRow, held: &Held, bytes: ByteBuf, begun: bool) -> Result<(), AgreementError> {
    let kept = |signed: &SignedAgreement| signed.to_bytes().map(ByteBuf::from);
    row.current = held.signed.as_ref().map(kept).transpose()?;
    row.next = held.next.iter().map(kept).collect::<Result<_, _>>()?;
    if row.current.is_none() || begun {
        (row.current, row.next) = (Some(bytes), Vec::new());
    } else {
        row.next.push(bytes);
    }
    (row.proposal, row.approved) = (None, None);
    Ok(())
}

/// A partner may fill neither our store nor our people's list with drafts.
fn few_open(node: &Node, from: OrgId) -> Result<(), AgreementError> {
    let rules = node.rules();
    let max = limits::PROPOSALS_PER_PARTNER_MAX;
    let open = rules.agreements.with(from).filter(|held| held.proposal.is_some()).count();
    if open < max { Ok(()) } else { Err(AgreementError::TooMany { what: "proposals that wait", max }) }
}

/// Checks a file and says what it is, keeping nothing.
pub fn check_file(node: &Node, path: &Path) -> Result<Json, AgreementError> {
    let signed = read_file(node, path)?;
    describe(node, &signed, "checked")
}

/// Approves a file's version, signs it where it is our turn, and writes the signed file.
///
/// Where the node may not write there, the answer carries the file as `unwritten`, for the caller to write: what was
/// signed is signed.
pub fn sign_file(node: &Node, path: &Path, output: &Path) -> Result<Json, AgreementError> {
    let signed = take(node, read_file(node, path)?, Brought::Approved)?;
    let text = Armour::AGREEMENT.close(&signed.to_bytes()?);
    let mut out = describe(node, &signed, "signed")?;
    let written = durable::write(output, text.as_bytes(), durable::Existing::Replace);
    if let Some(map) = out.as_object_mut() {
        map.insert("file".to_owned(), json!(output.display().to_string()));
        if written.is_err() {
            map.insert("unwritten".to_owned(), json!(text));
        }
    }
    Ok(out)
}

/// Takes a signed file from another party.
pub fn add_file(node: &Node, path: &Path) -> Result<Json, AgreementError> {
    let signed = take(node, read_file(node, path)?, Brought::File)?;
    describe(node, &signed, "added")
}

/// Approves and signs a proposal that is here already.
///
/// `digest` is that of the version which the person has read: a partner may have proposed another since.
pub fn accept(node: &Node, given: &str, digest: &str) -> Result<Json, AgreementError> {
    let rules = node.rules();
    let held = rules.agreements.find(given)?;
    let proposal = held.proposal.clone().ok_or_else(|| AgreementError::NothingToSign(given.to_owned()))?;
    if proposal.digest().to_string() != digest {
        return Err(AgreementError::Changed(given.to_owned()));
    }
    let signed = take(node, proposal, Brought::Approved)?;
    describe(node, &signed, "signed")
}

/// Takes a proposal, or a completed version, that a partner's node sent.
pub fn receive(node: &Node, from: OrgId, bytes: &[u8]) -> Result<(), AgreementError> {
    let signed = SignedAgreement::from_bytes(bytes)?;
    let agreement = signed.verify(|org, kid| party_key(node, org, kid))?;
    let Checked { agreement, .. } = check::check(agreement)?;
    if agreement.party(node.keys.org).is_none() || agreement.party(from).is_none() {
        return Err(AgreementError::NotOurs(node.keys.org));
    }
    let rules = node.rules();
    let newest = rules.agreements.get(agreement.id).and_then(Held::newest);
    // What a partner holds who has not heard of the next version yet.
    if newest.is_some_and(|known| known.agreement().is_ok_and(|known| known.version > agreement.version)) {
        return Ok(());
    }
    take(node, signed, Brought::By(from)).map(drop)
}

/// States our standing: a notice, signed and counted, that overtakes everything queued.
pub fn state(node: &Node, given: &str, standing: Standing) -> Result<Json, AgreementError> {
    let id = node.rules().agreements.find(given)?.id;
    let txn = node.holdings.begin();
    let row = read(&txn, id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let ours = row.standings.iter().find(|s| s.party == node.keys.org);
    if ours.is_some_and(|s| s.standing == Standing::Ended) {
        return Err(AgreementError::Ended);
    }
    let notice = StandingNotice {
        time: node.clock.now(),
        party: node.keys.org,
        counter: ours.map_or(1, |s| s.counter + 1),
        standing,
        agreement: id,
    };
    let signed = notice.sign(&node.keys.agreements).map_err(AgreementFault::from)?;
    keep_notice(node, txn, row, &notice, signed)?;
    Ok(json!({ "id": id.to_string(), "standing": standing }))
}

/// Takes a party's standing notice. An older one changes nothing, nor does one of somebody who is no party; of two
/// with one counter the stricter stays.
pub fn receive_standing(node: &Node, from: OrgId, signed: &SignatureBytes) -> Result<(), AgreementError> {
    let notice = StandingNotice::verify(signed, from, |kid| party_key(node, from, kid))?;
    let txn = node.holdings.begin();
    let Some(row) = read(&txn, notice.agreement)? else { return Ok(()) };
    let held = open(notice.agreement, &row, node.clock.now())?;
    let proposed = held.proposal.iter().chain(&held.next).any(|p| p.agreement().is_ok_and(|a| a.party(from).is_some()));
    if !held.binds(from) && !proposed {
        return Err(AgreementError::NoParty(from));
    }
    let newer = |known: &StandingRow| {
        known.standing != Standing::Ended && (notice.counter, notice.standing) > (known.counter, known.standing)
    };
    if !row.standings.iter().find(|s| s.party == from).is_none_or(newer) {
        return Ok(());
    }
    keep_notice(node, txn, row, &notice, signed.clone())
}

fn keep_notice(
    node: &Node,
    mut txn: Txn<'_>,
    mut row: AgreementRow,
    notice: &StandingNotice,
    signed: SignatureBytes,
) -> Result<(), AgreementError> {
    row.standings.retain(|s| s.party != notice.party);
    row.standings.push(StandingRow {
        party: notice.party,
        notice: signed,
        counter: notice.counter,
        standing: notice.standing,
    });
    txn.put(Partition::Node, Table::Agreement, notice.agreement.as_bytes(), &encode("agreement", &row)?)?;
    let about = [("agreement", notice.agreement.to_string()), ("party", notice.party.to_string())];
    node.journal(&mut txn, "agreement-standing", &about)?;
    txn.commit()?;
    reload(node)
}

fn reload(node: &Node) -> Result<(), AgreementError> {
    node.reload().map_err(|e| AgreementError::Reload(e.message))
}

/// A view of an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementView {
    /// Id over all versions.
    pub id: String,
    /// Title.
    pub title: String,
    /// Version.
    pub version: u64,
    /// proposed, in-force, suspended, ended, expired or not-yet.
    pub state: String,
    /// Handles of the parties, first-named first.
    pub parties: Vec<String>,
    /// Handles of those who have signed.
    pub signed_by: Vec<String>,
    /// First day.
    pub from: String,
    /// Last day.
    pub until: String,
    /// Digest of the version.
    pub digest: String,
    /// Whether our own signature is missing.
    pub waits_for_us: bool,
}

fn state_of(held: &Held, now: UnixMillis) -> &'static str {
    match (&held.in_force, held.standing) {
        (None, _) => "proposed",
        (_, Standing::Ended) => "ended",
        (_, Standing::Suspended) => "suspended",
        (Some(f), _) if now < f.agreement.from => "not-yet",
        (Some(f), _) if now >= f.agreement.until => "expired",
        _ => "in-force",
    }
}

fn view(node: &Node, signed: &SignedAgreement, state: &str) -> Result<AgreementView, AgreementError> {
    let agreement = signed.agreement()?;
    let signers: Vec<OrgId> = signed.signed_by().collect();
    let handle = |id: &OrgId| agreement.party(*id).map(|p| p.handle.clone()).unwrap_or_default();
    Ok(AgreementView {
        id: agreement.id.to_string(),
        title: agreement.title.clone(),
        version: agreement.version,
        state: state.to_owned(),
        parties: agreement.parties.iter().map(|p| p.handle.clone()).collect(),
        signed_by: signers.iter().map(handle).collect(),
        from: agreement.from.date(),
        until: agreement.until.date(),
        digest: signed.digest().to_string(),
        waits_for_us: state == "proposed" && !signers.contains(&node.keys.org),
    })
}

/// Every agreement; one with a later version or a proposal over a version in force stands more than once.
pub fn list(node: &Node) -> Result<Vec<AgreementView>, AgreementError> {
    let now = node.clock.now();
    let mut out = Vec::new();
    for held in node.rules().agreements.iter() {
        if let Some(signed) = &held.signed {
            out.push(view(node, signed, state_of(held, now))?);
        }
        for next in &held.next {
            out.push(view(node, next, "not-yet")?);
        }
        if let Some(proposal) = &held.proposal {
            out.push(view(node, proposal, "proposed")?);
        }
    }
    Ok(out)
}

/// One agreement with the text that people sign; a proposal over a version in force stands below it as `proposal`.
pub fn show(node: &Node, given: &str) -> Result<Json, AgreementError> {
    let rules = node.rules();
    let held = rules.agreements.find(given)?;
    let now = node.clock.now();
    let shown = held.proposal.as_ref().map(|p| (p, "proposed"));
    let current = held.signed.as_ref().map(|s| (s, state_of(held, now)));
    let both = current.is_some().then_some(shown).flatten();
    let (signed, state) = current.or(shown).ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let mut out = describe(node, signed, state)?;
    if let (Some((proposal, state)), Some(map)) = (both, out.as_object_mut()) {
        map.insert("proposal".to_owned(), describe(node, proposal, state)?);
    }
    Ok(out)
}

fn describe(node: &Node, signed: &SignedAgreement, state: &str) -> Result<Json, AgreementError> {
    let agreement = signed.agreement()?;
    let complete = signed.signed_by().count() == agreement.parties.len();
    let mut out = serde_json::to_value(view(node, signed, state)?).unwrap_or_default();
    if let Some(map) = out.as_object_mut() {
        map.insert("complete".to_owned(), json!(complete));
        map.insert("text".to_owned(), json!(entente_policy::render(&agreement)));
    }
    Ok(out)
}
