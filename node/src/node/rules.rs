//! What decides at one moment, and how it is known that it still does: changes of partners and agreements are counted in the
//! ledger, by the transactions that make them.

use super::Node;
use crate::{
    agreements::{self, AgreementError, Agreements},
    error::Fault,
    onward::grants::Grants,
    partners::{Book, PartnerState},
    redlines,
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_policy::{Governed, PartnerState as InPolicy, PolicySet, Preview, RedLine};
use entente_protocol::{
    agreement::{InForce, Standing},
    id::OrgId,
    time::UnixMillis,
};
use std::{collections::BTreeMap, sync::Arc};

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
    let lines: Vec<RedLine> = red_lines.iter().map(|held| held.line.clone()).collect();
    let policy = agreements.compile(own, partners(&book), &lines)?;
    Ok(Rules {
        book: Arc::new(book),
        agreements: Arc::new(agreements),
        grants: Arc::new(grants),
        policy: Arc::new(policy),
        until,
        changes,
    })
}
