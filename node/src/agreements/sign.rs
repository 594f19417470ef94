//! Signing: a text, a signed file or a proposal over the wire becomes a version that is in force when complete.
//!
//! `call` and `exchange` come here. People approve what they were shown, and nothing signs what they did not approve.

use super::{AgreementError, Held, party_key, read, reload, view::describe};
use crate::{
    call::read_text,
    node::Node,
    records::stored::encode,
    seal::keyring::Partition,
    secret::{self, durable},
    store::layout::Table,
};
use entente_policy::{
    check::{self, Checked},
    source::{self, Drafting},
};
use entente_protocol::{
    agreement::{Agreement, SignedAgreement, Standing},
    id::{AgreementId, OrgId},
    identity::Armour,
    limits,
};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::path::Path;

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
        node.holdings.ensure_partition(Partition::Agreement(agreement.id))?;
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
