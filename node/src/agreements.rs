//! Agreements: drafted as text, signed by every party by file or over the wire, in force when complete.
//!
//! Approving is an act of a person, once for each version. The first-named party signs last: when it
//! approved before the others signed, its node signs as soon as their signatures are there.

use crate::{
    call::read_text,
    node::Node,
    partners::Book,
    records::stored::{RowDamage, decode, encode},
    seal::keyring::{KeyringError, Partition},
    secret::{self, RandomError, durable},
    store::{StoreError, holdings::Holdings, layout::Table},
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
        matches!(self, Self::Keyring(_) | Self::Store(_) | Self::Damage(_))
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
fn may_follow(held: Option<&Held>, agreement: &Agreement) -> Result<(), AgreementError> {
    let Some(current) = held.and_then(|h| h.in_force.as_ref()) else { return Ok(()) };
    if held.is_some_and(|h| h.standing == Standing::Ended) {
        return Err(AgreementError::Ended);
    }
    let follows = agreement.predecessor == Some(current.digest) && agreement.version == current.agreement.version + 1;
    if follows || agreement.digest()? == current.digest {
        Ok(())
    } else {
        Err(AgreementError::Version { given: agreement.version, known: current.agreement.version })
    }
}

/// Takes a version with the signatures that it has, signs where a person of ours approved it, and keeps it.
///
/// One append: row, version list, journal. Returns what is held now.
fn take(node: &Node, mut signed: SignedAgreement, approve: bool) -> Result<SignedAgreement, AgreementError> {
    let agreement = signed.agreement()?;
    let rules = node.rules();
    may_follow(rules.agreements.get(agreement.id), &agreement)?;
    let known = read(&node.holdings, agreement.id)?;
    let mut row = known.clone().unwrap_or_default();
    if let Some(bytes) = &row.proposal {
        let before = SignedAgreement::from_bytes(bytes)?;
        if before.digest() == signed.digest() {
            signed.merge(&before)?;
        } else if !approve
            && signed.signed_by().count() < agreement.parties.len()
            && before.agreement()?.version == agreement.version
            && before.digest() < signed.digest()
        {
            // Two drafted the next version at once. Both sides keep the same one, or they would swap for ever.
            return Ok(before);
        }
    }
    if row.current.as_ref().is_some_and(|c| SignedAgreement::from_bytes(c).is_ok_and(|c| c.digest() == signed.digest()))
    {
        return Ok(signed);
    }
    if approve {
        row.approved = Some(signed.digest());
    }
    let own = node.keys.org;
    let first = agreement.parties.first().is_some_and(|p| p.id == own);
    let others = agreement.parties.len() - 1 == signed.signed_by().filter(|p| *p != own).count();
    let unsigned = !signed.signed_by().any(|p| p == own);
    if row.approved == Some(signed.digest()) && unsigned && (!first || others) {
        signed.sign(own, &node.keys.agreements, node.clock.now())?;
    }
    let complete = signed.complete(|org, kid| party_key(node, org, kid))?;
    let bytes = ByteBuf::from(signed.to_bytes()?);
    if complete.is_some() {
        // The partition's keys stand before any row speaks of it.
        node.holdings.keyring().ensure_partition(Partition::Agreement(agreement.id))?;
        (row.current, row.proposal, row.approved) = (Some(bytes.clone()), None, None);
    } else {
        row.proposal = Some(bytes.clone());
    }
    let mut txn = node.holdings.begin();
    if known.is_none() {
        txn.push(Partition::Node, Table::AgreementList, b"", agreement.id.as_bytes())?;
    }
    txn.put(Partition::Node, Table::Agreement, agreement.id.as_bytes(), &encode("agreement", &row)?)?;
    let what = if complete.is_some() { "agreement-in-force" } else { "agreement-proposal" };
    if complete.is_some() {
        txn.push(Partition::Node, Table::AgreementVersion, agreement.id.as_bytes(), &bytes)?;
    }
    let about = [("agreement", agreement.id.to_string()), ("version", agreement.version.to_string())];
    node.journal(&mut txn, what, &about)?;
    txn.commit()?;
    Ok(signed)
}

/// Checks a file and says what it is, keeping nothing.
pub fn check_file(node: &Node, path: &Path) -> Result<Json, AgreementError> {
    let signed = read_file(node, path)?;
    describe(node, &signed, "checked")
}

/// Approves a file's version, signs it where it is our turn, and writes the signed file.
pub fn sign_file(node: &Node, path: &Path, output: &Path) -> Result<Json, AgreementError> {
    let signed = take(node, read_file(node, path)?, true)?;
    let text = Armour::AGREEMENT.close(&signed.to_bytes()?);
    durable::write(output, text.as_bytes(), durable::Existing::Replace)
        .map_err(|e| AgreementError::File(format!("`{}` cannot be written: {e}", output.display())))?;
    reload(node)?;
    let mut out = describe(node, &signed, "signed")?;
    if let Some(map) = out.as_object_mut() {
        map.insert("file".to_owned(), json!(output.display().to_string()));
    }
    Ok(out)
}

/// Takes a signed file from another party.
pub fn add_file(node: &Node, path: &Path) -> Result<Json, AgreementError> {
    let signed = take(node, read_file(node, path)?, false)?;
    reload(node)?;
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
    let signed = take(node, proposal, true)?;
    reload(node)?;
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
    let same = rules.agreements.get(agreement.id).and_then(|held| held.proposal.as_ref()) == Some(&signed);
    if !same {
        take(node, signed, false)?;
        reload(node)?;
    }
    Ok(())
}

/// States our standing: a notice, signed and counted, that overtakes everything queued.
pub fn state(node: &Node, given: &str, standing: Standing) -> Result<Json, AgreementError> {
    let rules = node.rules();
    let held = rules.agreements.find(given)?;
    let mut row = read(&node.holdings, held.id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let ours = row.standings.iter().find(|s| s.party == node.keys.org);
    if ours.is_some_and(|s| s.standing == Standing::Ended) {
        return Err(AgreementError::Ended);
    }
    let notice = StandingNotice {
        time: node.clock.now(),
        party: node.keys.org,
        counter: ours.map_or(1, |s| s.counter + 1),
        standing,
        agreement: held.id,
    };
    let signed = notice.sign(&node.keys.agreements).map_err(AgreementFault::from)?;
    keep_notice(node, &mut row, &notice, signed)?;
    Ok(json!({ "id": held.id.to_string(), "standing": standing }))
}

/// Takes a party's standing notice; an older one changes nothing.
pub fn receive_standing(node: &Node, from: OrgId, signed: &SignatureBytes) -> Result<(), AgreementError> {
    let notice = StandingNotice::verify(signed, from, |kid| party_key(node, from, kid))?;
    let Some(mut row) = read(&node.holdings, notice.agreement)? else { return Ok(()) };
    let before = row.standings.iter().find(|s| s.party == from);
    if before.is_some_and(|s| s.counter >= notice.counter || s.standing == Standing::Ended) {
        return Ok(());
    }
    keep_notice(node, &mut row, &notice, signed.clone())
}

fn keep_notice(
    node: &Node,
    row: &mut AgreementRow,
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
    let mut txn = node.holdings.begin();
    txn.put(Partition::Node, Table::Agreement, notice.agreement.as_bytes(), &encode("agreement", row)?)?;
    node.journal(&mut txn, "agreement-standing", &[("agreement", notice.agreement.to_string())])?;
    txn.commit()?;
    reload(node)
}

fn reload(node: &Node) -> Result<(), AgreementError> {
    node.reload().map_err(|e| AgreementError::File(e.message))
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

/// Every agreement; one with a proposal over a version in force stands twice.
pub fn list(node: &Node) -> Result<Vec<AgreementView>, AgreementError> {
    let now = node.clock.now();
    let mut out = Vec::new();
    for held in node.rules().agreements.iter() {
        if let Some(signed) = &held.signed {
            out.push(view(node, signed, state_of(held, now))?);
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
