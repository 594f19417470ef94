//! What is held of others and may go on: the question about it, and what follows when it is held no more.
//!
//! The outbox comes here. A record may be held under several agreements; the first that holds it live speaks for it.

use super::grants::Got;
use crate::{
    agreements::{self, Held},
    node::{Node, Rules},
    partners::PartnerState,
    receive::{self, RunInRow, lease},
    records::{
        index,
        stored::{ProofRow, ReceivedRow, ReleasedRow, decode, encode, record_in_feed},
        view,
    },
    seal::keyring::Partition,
    share::{
        ShareError, decide,
        feeds::{self, Pending},
    },
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_policy::{Gate, Ground, Interval, Question, ReviewState};
use entente_protocol::{
    agreement::{Agreement, Onward, Standing},
    feed::{FeedKey, Run},
    id::{AgreementId, FeedId, OrgId, RecordId},
    identity::Purpose,
    record::{Reference, Shape, SlotSet, Tlp, Verified},
    time::UnixMillis,
};
use std::collections::BTreeSet;

/// Scope of the log of what grants let go to a receiver: record ids. Each feed to it reads it from its beginning.
pub fn log(to: OrgId) -> Vec<u8> {
    [b"onward".as_slice(), to.as_bytes()].concat()
}

/// What is held of another organisation's record, and what it came under.
pub struct Holding {
    /// The agreement under which it is held.
    pub agreement: AgreementId,
    /// Its row.
    pub row: ReceivedRow,
    /// What it shows, proved.
    pub verified: Verified,
    /// The batch proof that came with it.
    pub proof: ProofRow,
    rule: Onward,
    red: bool,
    lease_hours: Option<u32>,
    attested: bool,
}

/// What is held of a record that may be spoken of to others: received of its originator itself, not taken back, not locked,
/// under an agreement that nobody has ended. Of several such agreements the first that lets it go on to `to` speaks for it,
/// else the first.
///
/// What came by another's hand goes no further: two holders that passed it on to each other would each be the other's reason
/// to hold it, also when its originator has taken it back from both.
pub fn held(node: &Node, rules: &Rules, record: RecordId, to: OrgId) -> Result<Option<Holding>, ShareError> {
    let mut first = None;
    for agreement in node.partitions() {
        let Some(row) = view::received(node, agreement, record)? else { continue };
        if row.openings.is_empty() || receive::withdrawn(node, agreement, record)?.is_some() {
            continue;
        }
        let broken = || StoreError::Broken { at: row.number };
        let giver = row.giver().ok_or_else(broken)?;
        let over = rules.agreements.get(agreement).is_none_or(|held| is_over(held, node.clock.now()));
        let gone = rules.book.get(giver).is_none_or(|partner| partner.state == PartnerState::Removed);
        if over || gone || lease::locked(node, agreement, giver)?.is_some() {
            continue;
        }
        let run = node.holdings.item(Partition::Agreement(agreement), Table::RunIn, row.feed.as_bytes(), row.run)?;
        let run: RunInRow = decode("run", &run.ok_or_else(broken)?)?;
        let version = Run::danger_unverified(&run.run).map_err(|_| broken())?.version;
        let Some(proof) = run.proofs.into_iter().find(|p| p.records.iter().any(|(_, id)| *id == record)) else {
            continue;
        };
        let now = rules.agreements.get(agreement).and_then(|held| held.in_force.as_ref());
        let terms = |version: &Agreement| {
            let clause = version.clauses.get(usize::from(row.clause))?;
            let red = clause.handling.as_ref().is_some_and(|handling| handling.tlp == Some(Tlp::Red));
            Some((clause.onward.clone(), red, version.lease_hours))
        };
        let terms = match now.filter(|in_force| in_force.digest == version) {
            Some(in_force) => terms(&in_force.agreement),
            None => agreements::versions(&node.holdings, agreement)?.get(&version).and_then(terms),
        };
        let Some((rule, red, lease_hours)) = terms else { continue };
        let verified = row.verified().map_err(|_| broken())?;
        let originator = verified.header().originator;
        if giver != originator {
            continue;
        }
        let key = proof.attestation.key().ok();
        let key = key.and_then(|kid| rules.book.others_key(originator, Purpose::Records, kid, node.clock.now()));
        let holding = Holding { agreement, row, verified, proof, rule, red, lease_hours, attested: key.is_some() };
        if holding.may_go_to(to) {
            return Ok(Some(holding));
        }
        first.get_or_insert(holding);
    }
    Ok(first)
}

/// Whether what came under an agreement is passed on no more: a party has ended it, or its last day is over.
pub fn is_over(held: &Held, now: UnixMillis) -> bool {
    held.standing == Standing::Ended || held.in_force.as_ref().is_none_or(|f| f.agreement.until <= now)
}

impl Holding {
    /// Whether what it came under lets it go on to an organisation at all.
    pub fn may_go_to(&self, to: OrgId) -> bool {
        match &self.rule {
            _ if self.is_red() => false,
            Onward::Never => false,
            Onward::WithGrant => true,
            Onward::To(orgs) => orgs.contains(&to),
        }
    }

    /// Whether it is TLP:RED here, by its own label or by the clause under which it came.
    pub fn is_red(&self) -> bool {
        self.red || self.verified.header().floor.tlp == Some(Tlp::Red)
    }

    /// Its position in its originator's batch.
    pub fn position(&self) -> Option<u32> {
        let id = self.verified.id();
        self.proof.records.iter().find(|(_, record)| *record == id).map(|(position, _)| *position)
    }

    /// The newest word of its originator about passing it on in a feed.
    pub fn grant<'a>(&self, rules: &'a Rules, feed: &FeedKey) -> Option<&'a Got> {
        rules.grants.covering(feed.receiver, self.verified.header())
    }

    /// The file that it carries, where that is here, is looked for in the partition that holds the record.
    pub fn partition(&self) -> Partition {
        Partition::Agreement(self.agreement)
    }

    /// Asks a question about it for a feed. People of ours asked for the grant, and those of its originator gave it: that is
    /// its gate.
    pub fn ask<R>(
        &self,
        rules: &Rules,
        feed: &FeedKey,
        (referable, now): (SlotSet, Interval),
        answer: impl FnOnce(&Question<'_>) -> R,
    ) -> R {
        let passed = Gate { review: ReviewState::Verified, required: ReviewState::Reviewed, released: true };
        let originator = self.verified.header().originator;
        let counts = |kid| rules.book.others_key(originator, Purpose::Records, kid, now.late).is_some();
        let onward = self.grant(rules, feed).map(|got| Ground {
            id: got.id,
            grant: &got.grant,
            rule: &self.rule,
            red: self.red,
            lease_hours: self.lease_hours,
            attested: self.attested && counts(got.kid),
        });
        answer(&Question {
            record: self.verified.id(),
            header: self.verified.header(),
            values: &|slot| self.verified.value(slot).cloned(),
            present: self.verified.shown(),
            gate: passed,
            referable,
            onward,
            partner: feed.receiver,
            agreement: feed.agreement,
            now,
        })
    }

    /// Reference slots whose every target went on in a feed by an entry before `end`.
    pub fn referable_in(&self, node: &Node, feed: FeedId, end: u64) -> Result<SlotSet, ShareError> {
        let shown = |record| -> Result<bool, ShareError> {
            Ok(decide::released(node, record, feed)?.is_some_and(|row| row.shows() && row.number < end))
        };
        self.referable_where(shown, |target| {
            decide::any_released(node, &of_line(node, self.agreement, target)?, feed, end)
        })
    }

    /// Reference slots whose every target goes on in the same feed: `record` says it of what this one amends, `target` of
    /// any other line.
    pub fn referable_where(
        &self,
        record: impl Fn(RecordId) -> Result<bool, ShareError>,
        target: impl Fn(&Reference) -> Result<bool, ShareError>,
    ) -> Result<SlotSet, ShareError> {
        let mut set = SlotSet::EMPTY;
        for slot in self.verified.slots() {
            let number = slot.opening.slot;
            let Some(known) = self.verified.header().kind.slot_number(number) else { continue };
            let all = if known.name == "supersedes" {
                let before = slot.value.as_bytes().and_then(RecordId::from_slice);
                before.map(&record).transpose()?.unwrap_or(false)
            } else if known.shape.refers() {
                let mut all = true;
                for reference in Shape::targets(known.shape, &slot.value) {
                    all = all && target(&reference)?;
                }
                all
            } else {
                false
            };
            if all {
                set = set.with(number);
            }
        }
        Ok(set)
    }
}

/// The records of a line that are held under an agreement.
pub fn of_line(node: &Node, agreement: AgreementId, line: &Reference) -> Result<Vec<RecordId>, ShareError> {
    let key = index::line(line.originator, line.line);
    let places = node.holdings.find(Partition::Agreement(agreement), index::LINE, &key, None, usize::MAX)?;
    let mut ids = Vec::with_capacity(places.len());
    for place in places {
        let row = view::received_at(node, agreement, place)?.ok_or(StoreError::Broken { at: place })?;
        ids.push(row.id().ok_or(StoreError::Broken { at: place })?);
    }
    Ok(ids)
}

/// Whether something that went on in a feed came under an agreement whose giver was not met here for as long as its lease
/// allows. What came under one that is over is taken back from the receiver, and what was erased is not here: neither locks.
pub fn is_locked(node: &Node, feed: &FeedKey) -> Result<bool, ShareError> {
    let (rules, held_here) = (node.rules(), node.partitions());
    let mut locked = Vec::new();
    for originator in rules.grants.originators(feed.receiver) {
        for held in rules.agreements.with(originator).filter(|held| held_here.contains(&held.id)) {
            if !is_over(held, node.clock.now()) && lease::locked(node, held.id, originator)?.is_some() {
                locked.push(held.id);
            }
        }
    }
    let mut after = None;
    while !locked.is_empty() {
        let page = node.holdings.list(Partition::Own, Table::RecordList, &log(feed.receiver), after, 512)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (n, id) in page {
            let record = RecordId::from_slice(&id).ok_or(StoreError::Broken { at: n })?;
            if !decide::released(node, record, feed.id())?.is_some_and(|row| row.shows()) {
                continue;
            }
            for agreement in &locked {
                if view::received(node, *agreement, record)?.is_some() {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Every feed in which a record of another was released by us, with what was.
pub fn passed_in(node: &Node, txn: &Txn<'_>, record: RecordId) -> Result<Vec<(FeedKey, ReleasedRow)>, ShareError> {
    let rules = node.rules();
    if rules.grants.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    // Whoever left an agreement may still hold what went on under it.
    for (agreement, party) in &rules.ever {
        let feed = feeds::outgoing(node, *party, *agreement);
        let row = txn.get(Partition::Own, Table::Release, &record_in_feed(record, feed.id()))?;
        let Some(row) = row.map(|row| decode::<ReleasedRow>("release", &row)).transpose()? else { continue };
        if row.grant.is_some() {
            all.push((feed, row));
        }
    }
    Ok(all)
}

/// Something changed about a record of another that we hold: wherever it went on, it is decided again. `receivers` gains
/// those to whom it went: once the append is there, [`Node::hold_back`] keeps back what still waits to be sent to them, also
/// where that is nobody yet.
pub fn reconsider(
    node: &Node,
    txn: &mut Txn<'_>,
    record: RecordId,
    receivers: &mut Option<BTreeSet<OrgId>>,
) -> Result<(), ShareError> {
    let receivers = receivers.get_or_insert_default();
    for (feed, _) in passed_in(node, txn, record)? {
        let row = encode("pending", &Pending::Onward(record))?;
        txn.push(Partition::Own, Table::Pending, feed.id().as_bytes(), &row)?;
        receivers.insert(feed.receiver);
    }
    Ok(())
}
