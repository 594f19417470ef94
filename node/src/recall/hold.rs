//! Legal hold: what a court, or a duty to keep, does not let go. It keeps content from being deleted, and nothing else:
//! what was taken back is not used, not searched for as valid, and not passed on, whether it is held or not.

use super::{Named, RecallError, asked, each, erase, named};
use crate::{
    node::Node,
    receive::{TakenBack, WithdrawnRow},
    records::{
        show,
        stored::{decode, encode},
        view::Found,
    },
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{AgreementId, RecordId},
    recall::AnswerState,
    record::SlotSet,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A hold on one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRow {
    /// Who lifted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Named>,
    /// Who placed it.
    pub placed: Named,
    /// By what: the court, the case, the law.
    pub reason: String,
    /// Which record.
    pub record: RecordId,
}

/// Scope of the list of holds, in the partition of an agreement.
pub const HOLDS: &[u8] = b"holds";

/// The key under which the newest hold on a record is found.
pub fn key(record: RecordId) -> Vec<u8> {
    [b"hold".as_slice(), record.as_bytes()].concat()
}

/// The newest hold on a record, with its place.
fn newest(txn: &Txn<'_>, partition: Partition, record: RecordId) -> Result<Option<(u64, HoldRow)>, RecallError> {
    let Some(at) = txn.get(partition, Table::Recall, &key(record))? else { return Ok(None) };
    let place: u64 = decode("hold", &at)?;
    let row = txn.item(partition, Table::Recall, HOLDS, place)?.ok_or(StoreError::Broken { at: place })?;
    Ok(Some((place, decode("hold", &row)?)))
}

/// Whether a record may not be deleted.
pub(super) fn is_held(txn: &Txn<'_>, partition: Partition, record: RecordId) -> Result<bool, RecallError> {
    Ok(newest(txn, partition, record)?.is_some_and(|(_, row)| row.lifted.is_none()))
}

/// Every partition that holds a received record: a hold is on the record, under whatever agreement it came.
fn copies(node: &Node, given: &str) -> Result<(RecordId, Vec<AgreementId>), RecallError> {
    let asked = |message: String| RecallError::Asked(message);
    let (record, found) = show::resolve_any(node, given).map_err(|fault| asked(fault.message))?;
    if matches!(found, Found::Own(_)) {
        return Err(asked(
            "it is the organisation's own, and nothing deletes it: a hold is for received records".to_owned(),
        ));
    }
    let mut agreements = Vec::new();
    for agreement in node.partitions() {
        if erase::held(node, agreement, record)?.is_some() {
            agreements.push(agreement);
        }
    }
    Ok((record, agreements))
}

/// Holds on to a received record.
pub fn place(node: &Node, given: &str, reason: &str, by: &str) -> Result<Json, RecallError> {
    let placed = named(by, node.clock.now())?;
    let reason = reason.trim();
    if reason.is_empty() || !entente_protocol::text::is_line(reason) {
        return Err(RecallError::Asked("say by what: `--reason TEXT`, one line".to_owned()));
    }
    let (record, agreements) = copies(node, given)?;
    let row = HoldRow { lifted: None, placed, reason: reason.to_owned(), record };
    let (mut txn, mut held) = (node.holdings.begin(), Vec::new());
    for agreement in agreements {
        let partition = Partition::Agreement(agreement);
        if !is_held(&txn, partition, record)? {
            let place = txn.push(partition, Table::Recall, HOLDS, &encode("hold", &row)?)?;
            txn.put(partition, Table::Recall, &key(record), &encode("hold", &place)?)?;
            held.push(view(agreement, place, &row));
        }
    }
    if held.is_empty() {
        return Err(RecallError::Asked(format!("{} is held already: see `entente hold list`", record.short())));
    }
    let about = [("record", record.to_string()), ("by", row.placed.by.clone()), ("reason", row.reason.clone())];
    node.journal(&mut txn, "hold-placed", &about)?;
    txn.commit()?;
    Ok(json!(held))
}

/// Lifts a hold. What was to be deleted meanwhile is deleted now.
pub fn lift(node: &Node, given: &str, by: &str) -> Result<Json, RecallError> {
    let lifted = named(by, node.clock.now())?;
    let (record, agreements) = copies(node, given)?;
    let (mut txn, mut views, mut leftovers) = (node.holdings.begin(), Vec::new(), Vec::new());
    for agreement in agreements {
        let partition = Partition::Agreement(agreement);
        let Some((place, mut row)) = newest(&txn, partition, record)?.filter(|(_, row)| row.lifted.is_none()) else {
            continue;
        };
        row.lifted = Some(lifted.clone());
        txn.replace_item(partition, Table::Recall, HOLDS, place, &encode("hold", &row)?)?;
        leftovers.push((agreement, overdue(node, &mut txn, agreement, record)?));
        views.push(view(agreement, place, &row));
    }
    if views.is_empty() {
        return Err(RecallError::Asked(format!("{} is not held: see `entente hold list`", record.short())));
    }
    node.journal(&mut txn, "hold-lifted", &[("record", record.to_string()), ("by", lifted.by)])?;
    txn.commit()?;
    for (agreement, leftovers) in leftovers {
        leftovers.discard(node, agreement)?;
    }
    node.wake();
    Ok(json!(views))
}

/// Deletes what should have been deleted while it was held.
fn overdue(
    node: &Node,
    txn: &mut Txn<'_>,
    agreement: AgreementId,
    record: RecordId,
) -> Result<erase::Leftovers, RecallError> {
    let partition = Partition::Agreement(agreement);
    let withdrawn = txn.get(partition, Table::Withdrawn, record.as_bytes())?;
    let withdrawn = withdrawn.map(|row| decode::<WithdrawnRow>("withdrawal", &row)).transpose()?;
    let asked = asked::about(txn, partition, record)?;
    let is_due = match withdrawn.and_then(|row| row.by) {
        Some(TakenBack::Expired) => true,
        Some(TakenBack::Recalled(_)) => asked.as_ref().is_some_and(|(_, row)| row.act.deletes()),
        None => false,
    };
    let Some((place, row)) = erase::held(node, agreement, record)?.filter(|_| is_due) else {
        return Ok(erase::Leftovers::default());
    };
    let from = erase::giver(&row, place)?;
    let doomed = [erase::Doomed { record, place, row, keep: SlotSet::EMPTY, from }];
    if let Some((at, mut asked)) = asked.filter(|(_, row)| row.state == AnswerState::LegalHold) {
        asked.state = AnswerState::Complied;
        txn.replace_item(partition, Table::Recall, super::ASKED, at, &encode("recall", &asked)?)?;
    }
    erase::erase(node, txn, agreement, &doomed)
}

fn view(agreement: AgreementId, place: u64, row: &HoldRow) -> Json {
    let who = |named: &Named| json!({ "by": named.by, "at": named.at.to_string() });
    json!({
        "id": format!("{agreement}/{place}"),
        "record": row.record.to_string(),
        "agreement": agreement.to_string(),
        "reason": row.reason,
        "placed": who(&row.placed),
        "lifted": row.lifted.as_ref().map(who),
    })
}

/// Every hold, by agreement, oldest first.
pub fn list(node: &Node) -> Result<Json, RecallError> {
    let mut all = Vec::new();
    for agreement in node.partitions() {
        each(&node.holdings, (Partition::Agreement(agreement), HOLDS), 0, &mut |place, row: HoldRow| {
            all.push(view(agreement, place, &row));
            Ok(true)
        })?;
    }
    Ok(json!(all))
}
