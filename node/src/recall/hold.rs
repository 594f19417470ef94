//! Legal hold: what a court, or a duty to keep, does not let go. It keeps content from being deleted, and nothing else:
//! what was taken back is not used, not searched for as valid, and not passed on, whether it is held or not.

use super::{AskedRow, Named, RecallError, asked, each, ending, erase, named, retention};
use crate::{
    node::Node,
    records::{
        show,
        stored::{decode, encode},
        view::Found,
    },
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{AgreementId, OrgId, RecordId},
    recall::{Answer, AnswerState},
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

/// Every hold there was on a received record, oldest first.
pub fn of_record(node: &Node, agreement: AgreementId, record: RecordId) -> Result<Vec<HoldRow>, RecallError> {
    let mut found = Vec::new();
    super::each(&node.holdings, (Partition::Agreement(agreement), HOLDS), 0, &mut |_, row: HoldRow| {
        found.extend(Some(row).filter(|row| row.record == record));
        Ok(true)
    })?;
    Ok(found)
}

/// Every partition that holds a received record: a hold is on the record, under whatever agreement it came.
fn copies(node: &Node, given: &str) -> Result<(RecordId, Vec<AgreementId>), RecallError> {
    // A court asks for what is locked, too.
    let (record, found) = show::resolve_held(node, given)?;
    if matches!(found, Found::Own(_)) {
        let what = "it is the organisation's own, and nothing deletes it: a hold is for received records";
        return Err(RecallError::Asked(what.to_owned()));
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
        if ending::is_begun(&node.holdings, agreement)? {
            return Err(RecallError::Asked(
                "all that came under its agreement is being erased: it is too late".to_owned(),
            ));
        }
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
    let mut told = Vec::new();
    for agreement in agreements {
        let partition = Partition::Agreement(agreement);
        let Some((place, mut row)) = newest(&txn, partition, record)?.filter(|(_, row)| row.lifted.is_none()) else {
            continue;
        };
        row.lifted = Some(lifted.clone());
        txn.replace_item(partition, Table::Recall, HOLDS, place, &encode("hold", &row)?)?;
        leftovers.push((agreement, overdue(node, &mut txn, agreement, record, &mut told)?));
        views.push(view(agreement, place, &row));
    }
    if views.is_empty() {
        return Err(RecallError::Asked(format!("{} is not held: see `entente hold list`", record.short())));
    }
    node.journal(&mut txn, "hold-lifted", &[("record", record.to_string()), ("by", lifted.by)])?;
    // Before the append: where it fails, all of it is done again.
    for (agreement, leftovers) in leftovers {
        leftovers.discard(node, agreement)?;
    }
    txn.commit()?;
    told.into_iter().for_each(|(partner, answer)| node.note_answer(partner, answer));
    node.wake();
    Ok(json!(views))
}

/// Deletes what should have been deleted while it was held.
fn overdue(
    node: &Node,
    txn: &mut Txn<'_>,
    agreement: AgreementId,
    record: RecordId,
    told: &mut Vec<(OrgId, Answer)>,
) -> Result<erase::Leftovers, RecallError> {
    let Some((place, row)) = erase::held(node, agreement, record)? else { return Ok(erase::Leftovers::default()) };
    let recalled = asked::about(txn, Partition::Agreement(agreement), record)?;
    let is_due = |row: &AskedRow| row.act.deletes() && row.state != AnswerState::Refused;
    let keep = match recalled.is_some_and(|(_, row)| is_due(&row)) {
        true => SlotSet::EMPTY,
        false => retention::stays_of(node, agreement, &row)?,
    };
    if row.openings.iter().all(|(slot, ..)| keep.contains(*slot)) {
        return Ok(erase::Leftovers::default());
    }
    told.extend(asked::let_go(node, txn, agreement, record)?);
    let from = erase::giver(&row, place)?;
    erase::erase(node, txn, agreement, &[erase::Doomed { record, place, row, keep, from }])
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
