//! Signing: a text, a signed file or a proposal over the wire becomes a version that is in force when complete.
//!
//! `call` and `exchange` come here. People approve what they were shown, and nothing signs what they did not approve.

use super::{
    AgreementError, AgreementRow, Held, held, party_key, read,
    ready::{hindrances, is_over, may_sign},
    reload,
    view::describe,
};
use crate::{
    call::read_text,
    country::country,
    node::{self, Node},
    records::stored::encode,
    seal::keyring::Partition,
    secret::{self, durable},
    store::layout::Table,
};
use entente_policy::{
    RedLine, analysis,
    check::{self, Checked},
    source::{self, Drafting},
};
use entente_protocol::{
    agreement::{Agreement, InForce, SignedAgreement, Standing, lifecycle::Step},
    id::{AgreementId, OrgId},
    identity::Armour,
    limits,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// What a file holds: a text to sign, or an agreement signed so far.
struct InFile {
    signed: SignedAgreement,
    /// The text, where it is one.
    text: Option<String>,
    /// Whether its id was drawn for this reading alone, for the text has none: signing draws another.
    drawn: bool,
}

fn read_file(node: &Node, path: &Path) -> Result<InFile, AgreementError> {
    let shown = path.display().to_string();
    let text = read_text(path, 2 * limits::AGREEMENT_BYTES_MAX as u64).map_err(|e| AgreementError::File(e.message))?;
    let is_text = !text.trim_start().starts_with("-----BEGIN");
    let mut drawn = false;
    let signed = if !is_text {
        let bytes = Armour::AGREEMENT.open(&text).map_err(|fault| AgreementError::Armour { path: shown, fault })?;
        SignedAgreement::from_bytes(&bytes).map_err(|fault| in_file(path, fault.into()))?
    } else {
        let fresh = AgreementId::from_bytes(secret::random()?);
        let party = |handle: &str| match handle == node.config.handle {
            true => Some(node.keys.org),
            false => node.book().find(handle).ok().map(|(org, _)| org),
        };
        let drafted = source::parse(&text, &Drafting { id: fresh, party: &party });
        let mut agreement = drafted.map_err(|fault| AgreementError::Source { path: shown, fault })?.agreement;
        if agreement.id == fresh {
            let known = twin(node, &agreement)?;
            drawn = known.is_none();
            agreement.id = known.unwrap_or(fresh);
        }
        SignedAgreement::unsigned(&agreement).map_err(|fault| in_file(path, fault.into()))?
    };
    among_partners(node, &signed).map_err(|fault| in_file(path, fault))?;
    Ok(InFile { signed, text: is_text.then_some(text), drawn })
}

/// Whether a version that people bring can be applied here, is ours and our partners', and holds as far as it is signed.
fn among_partners(node: &Node, signed: &SignedAgreement) -> Result<(), AgreementError> {
    let Checked { agreement, .. } = check::check(signed.agreement()?)?;
    if agreement.party(node.keys.org).is_none() {
        return Err(AgreementError::NotOurs(node.keys.org));
    }
    for party in agreement.parties.iter().filter(|p| p.id != node.keys.org) {
        if node.book().get(party.id).is_none() {
            return Err(AgreementError::Stranger(party.handle.clone()));
        }
    }
    signed.verify(|org, kid| party_key(node, org, kid))?;
    Ok(())
}

fn in_file(path: &Path, fault: AgreementError) -> AgreementError {
    if fault.is_store() {
        return fault;
    }
    AgreementError::InFile { path: path.display().to_string(), fault: Box::new(fault) }
}

/// A version that people name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// By a file: a text, or signed so far.
    File(PathBuf),
    /// By the id of an agreement that is held, or its beginning, and `/VERSION` for another one than that in force.
    Held(String),
}

/// A version that people named, read.
#[derive(Debug, Clone)]
pub struct Named {
    /// As it would be in force.
    pub version: InForce,
    /// Whether it is a text that nobody has signed.
    pub is_text: bool,
    /// Whether its text has no id: this one was drawn for this reading alone.
    pub drawn: bool,
}

/// Reads a version, whoever has signed it; nothing is kept.
pub fn version(node: &Node, version: &Version) -> Result<Named, AgreementError> {
    let read = |signed: &SignedAgreement, is_text, drawn| {
        let version = InForce { agreement: signed.agreement()?, digest: signed.digest() };
        Ok(Named { version, is_text, drawn })
    };
    match version {
        Version::File(path) => {
            let InFile { signed, text, drawn } = read_file(node, path)?;
            read(&signed, text.is_some(), drawn)
        }
        Version::Held(given) => {
            let rules = node.rules();
            let held = rules.agreements.find(given)?;
            let mut versions = held.signed.iter().chain(&held.next).chain(&held.proposal);
            let number = given.split_once('/').map(|(_, number)| number);
            let signed = match number {
                None => versions.next(),
                Some(number) => versions.find(|v| v.agreement().is_ok_and(|a| a.version.to_string() == number)),
            };
            read(signed.ok_or_else(|| AgreementError::Unknown(given.clone()))?, false, false)
        }
    }
}

/// The agreement that a text without an id was taken for before: the same text is the same agreement, however often it is
/// signed. One that has ended is not taken up again.
fn twin(node: &Node, drafted: &Agreement) -> Result<Option<AgreementId>, AgreementError> {
    let rules = node.rules();
    for held in rules.agreements.iter().filter(|held| held.standing != Standing::Ended) {
        for version in held.signed.iter().chain(&held.next).chain(&held.proposal) {
            if version.agreement()? == (Agreement { id: held.id, ..drafted.clone() }) {
                return Ok(Some(held.id));
            }
        }
    }
    Ok(None)
}

/// Whether a version may follow what we hold.
fn may_follow(node: &Node, held: &Held, agreement: &Agreement) -> Result<(), AgreementError> {
    held.may(node, Step::Propose)?;
    let Some(newest) = held.newest() else { return Ok(()) };
    let (id, given, known) = (agreement.id, agreement.version, newest.agreement()?.version);
    match agreement.predecessor {
        Some(named) if given == known + 1 && named == newest.digest() => Ok(()),
        Some(named) if given == known + 1 => {
            Err(AgreementError::Predecessor { agreement: id, given, named, known: newest.digest() })
        }
        _ => Err(AgreementError::Version { agreement: id, given, known }),
    }
}

/// Whether a proposal that waits here stays, though another one for its place came.
///
/// Two may draft the next version at once: both sides then keep the same one, or they would swap for ever. One that a
/// person of ours approved, or that carries our signature, is not replaced by what the wire brings, whatever its version.
fn stays(
    own: OrgId,
    before: &SignedAgreement,
    row: &AgreementRow,
    signed: &SignedAgreement,
) -> Result<bool, AgreementError> {
    let agreement = signed.agreement()?;
    let complete = signed.signed_by().count() == agreement.parties.len();
    let rivals = before.agreement()?.version == agreement.version;
    let ours = row.approved == Some(before.digest()) || before.signed_by().any(|party| party == own);
    Ok(!complete && (ours || (rivals && before.digest() < signed.digest())))
}

/// What became of a version that a partner's node sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It, or a signature on it, is new here and was kept.
    Kept,
    /// It is held here as it came.
    Known,
    /// It was passed over: an older version than the one here.
    Passed,
    /// It gave way to another one for its place, which stays here.
    GaveWay,
    /// People of ours dropped it before.
    Dropped,
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
fn take(
    node: &Node,
    mut signed: SignedAgreement,
    brought: Brought,
) -> Result<(SignedAgreement, Received), AgreementError> {
    let agreement = signed.agreement()?;
    let now = node.clock.now();
    let mut txn = node.holdings.begin();
    let known = read(&txn, agreement.id)?;
    let mut row = known.clone().unwrap_or_default();
    let held = held(node, agreement.id, &row)?;
    if let Some(same) = held.signed.iter().chain(&held.next).find(|version| version.digest() == signed.digest()) {
        return Ok((same.clone(), Received::Known));
    }
    may_follow(node, &held, &agreement)?;
    let same = held.proposal.as_ref().is_some_and(|before| before.digest() == signed.digest());
    if let Brought::By(from) = brought
        && !same
        && signed.signed_by().count() < agreement.parties.len()
    {
        if row.dropped.contains(&signed.digest()) {
            return Ok((signed, Received::Dropped));
        }
        few_open(node, from, held.bringer)?;
    }
    if let Some(before) = &held.proposal {
        if before.digest() == signed.digest() {
            signed.merge(before)?;
            if signed == *before && brought != Brought::Approved {
                return Ok((signed, Received::Known));
            }
        } else if matches!(brought, Brought::By(_)) && stays(node.keys.org, before, &row, &signed)? {
            return Ok((before.clone(), Received::GaveWay));
        }
    }
    match brought {
        Brought::Approved => {
            if row.approved != Some(signed.digest()) {
                row.approvers.clear();
            }
            (row.approved, row.bringer) = (Some(signed.digest()), None);
        }
        Brought::File => row.bringer = None,
        Brought::By(from) if !same => row.bringer = Some(from),
        Brought::By(_) => {}
    }
    let own = node.keys.org;
    let first = agreement.parties.first().is_some_and(|p| p.id == own);
    let others = agreement.parties.len() - 1 == signed.signed_by().filter(|p| *p != own).count();
    let unsigned = !signed.signed_by().any(|p| p == own);
    let named = agreement.party(own).map_or(&[][..], |party| &party.signatories);
    let both = named.iter().all(|person| row.approvers.contains(person));
    // What is over by now would only take the place of what is in force.
    let over = is_over(&agreement, node.interval());
    if row.approved == Some(signed.digest()) && unsigned && both && (!first || others) && !over {
        signed.sign(own, &node.keys.agreements, now)?;
    }
    let complete = signed.complete(|org, kid| party_key(node, org, kid))?.is_some();
    let bytes = ByteBuf::from(signed.to_bytes()?);
    if complete {
        held.may(node, if held.newest().is_some() { Step::Amend } else { Step::Complete })?;
        // The partition's keys stand before any row speaks of it.
        node.holdings.ensure_partition(Partition::Agreement(agreement.id))?;
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
    node::changed(&mut txn)?;
    txn.commit()?;
    // At once: whatever fails after this, what is stored is in force.
    reload(node)?;
    Ok((signed, Received::Kept))
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
    (row.proposal, row.approved, row.bringer) = (None, None, None);
    row.approvers.clear();
    row.dropped.clear();
    Ok(())
}

/// A partner may fill neither our store nor our people's list with drafts. Only those that it brought count: what
/// another brought, or people of ours drafted, keeps no place from it. `replaced` brought the one that gives way.
fn few_open(node: &Node, from: OrgId, replaced: Option<OrgId>) -> Result<(), AgreementError> {
    let rules = node.rules();
    let max = limits::PROPOSALS_PER_PARTNER_MAX;
    let open = rules.agreements.iter().filter(|held| held.bringer == Some(from)).count();
    if replaced == Some(from) || open < max {
        Ok(())
    } else {
        Err(AgreementError::TooMany { what: "proposals that wait", max })
    }
}

/// Drops a proposal that people of ours do not want; a partner that sends it again is not heard.
///
/// `digest` is that of the version which the person has read. What carries our signature is not dropped.
pub fn drop_proposal(node: &Node, given: &str, digest: &str) -> Result<Json, AgreementError> {
    let id = node.rules().agreements.find(given)?.id;
    let mut txn = node.holdings.begin();
    let mut row = read(&txn, id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let held = held(node, id, &row)?;
    let proposal = held.proposal.clone().ok_or_else(|| AgreementError::NothingToSign(given.to_owned()))?;
    if proposal.digest().to_string() != digest {
        return Err(AgreementError::Changed(given.to_owned()));
    }
    if proposal.signed_by().any(|party| party == node.keys.org) {
        return Err(AgreementError::Signed(given.to_owned()));
    }
    held.may(node, Step::Drop)?;
    (row.proposal, row.approved, row.bringer) = (None, None, None);
    row.approvers.clear();
    row.dropped.push(proposal.digest());
    let surplus = row.dropped.len().saturating_sub(limits::PROPOSALS_PER_PARTNER_MAX);
    row.dropped.drain(..surplus);
    txn.put(Partition::Node, Table::Agreement, id.as_bytes(), &encode("agreement", &row)?)?;
    let about = [("agreement", id.to_string()), ("digest", digest.to_owned())];
    node.journal(&mut txn, "agreement-dropped", &about)?;
    node::changed(&mut txn)?;
    txn.commit()?;
    reload(node)?;
    describe(node, &proposal, "dropped")
}

/// Checks a file and says what it is, keeping nothing.
pub fn check_file(node: &Node, path: &Path) -> Result<Json, AgreementError> {
    let InFile { signed, text, drawn } = read_file(node, path)?;
    let agreement = signed.agreement()?;
    let mut out = describe(node, &signed, "checked")?;
    let lines: Vec<RedLine> = node.red_lines.iter().map(|held| held.line.clone()).collect();
    let is_country = |code: &str| country(code).is_some();
    let found = analysis::findings(&agreement, node.keys.org, &lines, &is_country);
    // What keeps it from being signed comes first.
    let hinders = hindrances(&agreement, node.interval()).into_iter().map(|found| {
        let line = text.as_ref().and_then(|text| source::line_of(text, found.key));
        json!({ "clause": null, "code": found.code, "says": found.says(line), "refused": true })
    });
    let found =
        found.into_iter().map(|f| json!({ "clause": f.clause, "code": f.code, "says": f.says, "refused": false }));
    let mut found: Vec<Json> = hinders.chain(found).collect();
    for (n, row) in (1u64..).zip(found.iter_mut().filter_map(Json::as_object_mut)) {
        row.insert("id".to_owned(), json!(n.to_string()));
    }
    if let Some(map) = out.as_object_mut() {
        map.insert("findings".to_owned(), json!(found));
        map.insert("id_at_signing".to_owned(), json!(drawn));
    }
    Ok(out)
}

/// Approves a file's version, signs it where it is our turn, and writes the signed file.
///
/// Where the node may not write there, the answer carries the file as `unwritten`, for the caller to write: what was
/// signed is signed.
pub fn sign_file(node: &Node, path: &Path, output: &Path) -> Result<Json, AgreementError> {
    let signed = read_file(node, path)?.signed;
    let agreement = signed.agreement()?;
    let is_it = |version: &SignedAgreement| version.digest() == signed.digest();
    let rules = node.rules();
    let held = rules.agreements.get(agreement.id);
    // A lost file of what every party has signed is had again, over or not.
    if !held.is_some_and(|held| held.signed.iter().chain(&held.next).any(is_it)) {
        may_sign(node, &agreement).map_err(|fault| in_file(path, fault))?;
    }
    let (signed, _) = take(node, signed, Brought::Approved).map_err(|fault| in_file(path, fault))?;
    let text = Armour::AGREEMENT.close(&signed.to_bytes()?);
    let mut out = agreed(node, &signed)?;
    let written = durable::write(output, text.as_bytes(), durable::Existing::Refuse);
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
    // What the first-named party sends carries no signature yet, and yet its people have approved it.
    let InFile { signed: given, text, .. } = read_file(node, path)?;
    if text.is_some() {
        return Err(AgreementError::Unsigned(path.display().to_string()));
    }
    let (signed, _) = take(node, given, Brought::File).map_err(|fault| in_file(path, fault))?;
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
    may_sign(node, &proposal.agreement()?)?;
    agreed(node, &take(node, proposal, Brought::Approved)?.0)
}

/// A version that people of ours approved, which we sign once all our signatories have and it is our turn.
fn agreed(node: &Node, signed: &SignedAgreement) -> Result<Json, AgreementError> {
    let ours = signed.signed_by().any(|party| party == node.keys.org);
    describe(node, signed, if ours { "signed" } else { "approved" })
}

/// One of the two persons without whom this organisation does not sign approves a proposal; with the second, it is signed
/// where it is our turn.
///
/// `digest` is that of the version which the person has read.
pub fn approve(node: &Node, given: &str, digest: &str, by: &str) -> Result<Json, AgreementError> {
    let Approval { id, proposal, agreement, person } = Approval::of(node, given, (digest, by))?;
    let mut txn = node.holdings.begin();
    let mut row = read(&txn, id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    // Before anything is kept: no word is noted for what cannot be signed.
    may_follow(node, &held(node, id, &row)?, &agreement)?;
    if row.approved != Some(proposal.digest()) {
        row.approvers.clear();
    }
    (row.approved, row.bringer) = (Some(proposal.digest()), None);
    if !row.approvers.contains(&person) {
        row.approvers.push(person.clone());
        txn.put(Partition::Node, Table::Agreement, id.as_bytes(), &encode("agreement", &row)?)?;
        let about = [("agreement", id.to_string()), ("digest", digest.to_owned()), ("by", person)];
        node.journal(&mut txn, "agreement-approved", &about)?;
        node::changed(&mut txn)?;
        txn.commit()?;
        reload(node)?;
    } else {
        drop(txn);
    }
    agreed(node, &take(node, proposal, Brought::Approved)?.0)
}

/// Whether a person may approve a version, before that one is asked.
pub fn would_approve(node: &Node, given: &str, digest: &str, by: &str) -> Result<(), AgreementError> {
    let Approval { id, agreement, .. } = Approval::of(node, given, (digest, by))?;
    let txn = node.holdings.begin();
    let row = read(&txn, id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    may_follow(node, &held(node, id, &row)?, &agreement)
}

/// A proposal, and who of our signatories approves it.
struct Approval {
    id: AgreementId,
    proposal: SignedAgreement,
    agreement: Agreement,
    person: String,
}

impl Approval {
    /// Refuses another version than the one that was read, one that cannot be signed, and who is no signatory of ours.
    fn of(node: &Node, given: &str, (digest, by): (&str, &str)) -> Result<Self, AgreementError> {
        let rules = node.rules();
        let known = rules.agreements.find(given)?;
        let proposal = known.proposal.clone().ok_or_else(|| AgreementError::NothingToSign(given.to_owned()))?;
        if proposal.digest().to_string() != digest {
            return Err(AgreementError::Changed(given.to_owned()));
        }
        let agreement = proposal.agreement()?;
        may_sign(node, &agreement)?;
        let named = agreement.party(node.keys.org).map_or(&[][..], |party| &party.signatories);
        let same = |person: &&String| person.trim().to_lowercase() == by.trim().to_lowercase();
        let person = named.iter().find(same).cloned().ok_or_else(|| {
            AgreementError::Signatory(match named {
                [] => "this organisation has no signatories in it: sign it with `entente agreement accept`".to_owned(),
                _ => format!("`{by}` is no signatory of ours: {} are", named.join(" and ")),
            })
        })?;
        Ok(Self { id: known.id, proposal, agreement, person })
    }
}

/// Takes a proposal, or a completed version, that a partner's node sent.
pub fn receive(node: &Node, from: OrgId, bytes: &[u8]) -> Result<Received, AgreementError> {
    let signed = SignedAgreement::from_bytes(bytes)?;
    let agreement = signed.agreement()?;
    if agreement.party(node.keys.org).is_none() {
        return Err(AgreementError::NotOurs(node.keys.org));
    }
    if agreement.party(from).is_none() {
        return Err(AgreementError::NoParty(from));
    }
    // What is said again costs nothing: signatures and clauses were checked when it was new.
    let rules = node.rules();
    let held = rules.agreements.get(agreement.id);
    if held.is_some_and(|held| held.signed.iter().chain(&held.next).chain(&held.proposal).any(|known| *known == signed))
    {
        return Ok(Received::Known);
    }
    // What a partner holds who has not heard of the next version yet.
    let newest = held.and_then(Held::newest);
    if newest.is_some_and(|known| known.agreement().is_ok_and(|known| known.version > agreement.version)) {
        return Ok(Received::Passed);
    }
    let agreement = signed.verify(|org, kid| party_key(node, org, kid))?;
    check::check(agreement)?;
    Ok(take(node, signed, Brought::By(from))?.1)
}
