//! What decides at one moment, and how it is known that it still does: changes of partners and agreements are counted in the
//! ledger, by the transactions that make them.

use super::Node;
use crate::{
    agreements::{self, AgreementError, Agreements},
    error::Fault,
    onward::{grants::Grants, holding},
    partners::{Book, PartnerState},
    redlines,
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_policy::{Governed, PartnerState as InPolicy, PolicySet, Preview, RedLine};
use entente_protocol::{
    agreement::{InForce, Standing},
    id::{AgreementId, OrgId},
    primitive::sha256,
    time::UnixMillis,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Key of the count of changes in [`Table::Meta`].
pub const CHANGES: &[u8] = b"changes of the rules";

/// What decides at one moment: partners, agreements and the policy compiled from them.
pub struct Rules {
    /// Partners.
    pub book: Arc<Book>,
    /// Agreements.
    pub agreements: Arc<Agreements>,
    /// Grants that came for us.
    pub grants: Arc<Grants>,
    /// What of the agreements under which something came bears on whether it goes on: where it is another, what went on is
    /// decided again. Zero where nothing ever went.
    pub upstream: [u8; 32],
    /// Every agreement with all who are, or ever were, party to it; none where nothing of others ever went.
    pub ever: BTreeSet<(AgreementId, OrgId)>,
    /// The compiled set.
    pub policy: Arc<PolicySet>,
    /// When the first of them changes by itself: an agreement begins, ends, or gives way to its next version.
    pub until: Option<UnixMillis>,
    /// How many changes of partners and agreements they know; see [`changed`].
    pub changes: u64,
}

impl Rules {
    /// Whether nothing has changed in the ledger since they were read, also nothing that is not durable yet. A
    /// suspension counts from its append on: what is signed or taken after that knows of it.
    pub fn stand_in(&self, txn: &Txn<'_>) -> Result<bool, StoreError> {
        Ok(count(txn.get(Partition::Node, Table::Meta, CHANGES)?) == self.changes)
    }
    /// What would decide if one version were in force, and no other agreement, with nobody and nothing suspended: a
    /// suspension takes nothing back, so that what is asked is what goes once it is over.
    pub fn suppose(&self, own: OrgId, version: InForce) -> Result<Preview, AgreementError> {
        let supposed = Governed { in_force: version, standing: Standing::Active };
        let mut partners = partners(&self.book);
        partners.values_mut().for_each(|state| *state = InPolicy::Active);
        Ok(Preview::new(own, supposed, self.policy.red_lines(), partners)?)
    }
}

/// Partners as the policy knows them.
fn partners(book: &Book) -> BTreeMap<OrgId, InPolicy> {
    let states = book.iter().filter_map(|(org, partner)| match partner.state {
        PartnerState::Active => Some((*org, InPolicy::Active)),
        PartnerState::Suspended => Some((*org, InPolicy::Suspended)),
        PartnerState::Removed => None,
    });
    states.collect()
}

/// Counts a change of partners or agreements, within the transaction that makes it.
pub fn changed(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let next = count(txn.get(Partition::Node, Table::Meta, CHANGES)?) + 1;
    txn.put(Partition::Node, Table::Meta, CHANGES, &next.to_be_bytes())
}

/// How many changes the ledger knows.
pub(super) fn changes(holdings: &Holdings) -> Result<u64, StoreError> {
    Ok(count(holdings.get(Partition::Node, Table::Meta, CHANGES)?))
}

fn count(row: Option<Vec<u8>>) -> u64 {
    row.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map_or(0, u64::from_be_bytes)
}

/// What a decision was built on. Where it does not stand any more, what was decided is decided again.
pub struct Basis {
    rules: Arc<Rules>,
    held_back: u64,
}

impl Basis {
    /// As it is now.
    pub(super) fn of(node: &Node) -> Self {
        // The count first: what is held back after it is seen.
        Self { held_back: node.held_back(), rules: node.rules() }
    }
    /// Whether neither partners and agreements have changed since, nor a released record is to be held back.
    pub fn stands(&self, node: &Node) -> Result<bool, StoreError> {
        let changes = changes(&node.holdings)?;
        Ok(Arc::ptr_eq(&self.rules, &node.rules())
            && changes == self.rules.changes
            && node.held_back() == self.held_back)
    }
}

/// Reads them.
pub(super) fn load(
    holdings: &Holdings,
    own: OrgId,
    red_lines: &[redlines::Held],
    now: UnixMillis,
) -> Result<Rules, Fault> {
    // First: what changes while the rest is read is read again.
    let changes = changes(holdings)?;
    let book = Book::load(holdings)?;
    let agreements = agreements::load(holdings, now)?;
    let grants = Grants::load(holdings)?;
    let until = agreements.changes(now)?;
    let (mut upstream, mut ever) = ([0; 32], BTreeSet::new());
    if !grants.is_empty() {
        upstream = upstream_of(&agreements, &book, now);
        for id in agreements.iter().map(|held| held.id) {
            let versions = agreements::versions(holdings, id)?;
            let parties = versions.values().flat_map(|version| version.parties.iter().map(|party| party.id));
            ever.extend(parties.filter(|party| *party != own).map(|party| (id, party)));
        }
    }
    let lines: Vec<RedLine> = red_lines.iter().map(|held| held.line.clone()).collect();
    let policy = agreements.compile(own, partners(&book), &lines)?;
    Ok(Rules {
        book: Arc::new(book),
        agreements: Arc::new(agreements),
        grants: Arc::new(grants),
        upstream,
        ever,
        policy: Arc::new(policy),
        until,
        changes,
    })
}

/// Versions in force, which are over or erased, and who is no partner any more.
fn upstream_of(agreements: &Agreements, book: &Book, now: UnixMillis) -> [u8; 32] {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for held in agreements.iter() {
        let version = held.in_force.as_ref().map_or([0; 32], |in_force| *in_force.digest.as_bytes());
        let over = [u8::from(holding::is_over(held, now)), u8::from(held.erased)];
        parts.push([held.id.as_bytes().as_slice(), &version, &over].concat());
    }
    let removed = book.iter().filter(|(_, partner)| partner.state == PartnerState::Removed);
    parts.extend(removed.map(|(org, _)| org.as_bytes().to_vec()));
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    sha256(&parts)
}
