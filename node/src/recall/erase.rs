//! Deleting what received records said: fields, salts, what they are found by, and their files.
//!
//! What stays is that a record of this kind and line was held, and who attested it: its header and root, of which every
//! field was shown before and none is now. Rows go from the store in the append of whoever calls this; the files after
//! it. The engine drops the old rows when it next rewrites its tables; copies of the disk keep them.

use super::RecallError;
use crate::{
    node::Node,
    records::{
        index,
        stored::{ReceivedRow, decode, encode, value},
        view,
    },
    room,
    seal::keyring::Partition,
    share::files::{self, FileRow},
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    attachment::Content,
    id::{AgreementId, Hash, OrgId, RecordId},
    record::{Body, SlotSet, kind::Kind},
};
use std::collections::{BTreeMap, BTreeSet};

/// A received record of which something is deleted.
pub(super) struct Doomed {
    /// Its id.
    pub record: RecordId,
    /// Its place in the list of its partition.
    pub place: u64,
    /// Its row.
    pub row: ReceivedRow,
    /// The slots that stay.
    pub keep: SlotSet,
    /// Whose room it fills.
    pub from: OrgId,
}

/// What an append leaves to be deleted after it.
#[derive(Default)]
pub(super) struct Leftovers(Vec<FileRow>);

impl Leftovers {
    /// Deletes the files that no row speaks of any more. What fails is found by `entente check` and told there.
    pub fn discard(self, node: &Node, agreement: AgreementId) -> Result<(), RecallError> {
        for file in &self.0 {
            files::discard(node, Partition::Agreement(agreement), file)?;
        }
        Ok(())
    }
}

fn content(row: &ReceivedRow) -> Option<Content> {
    let (_, _, bytes) = row.openings.iter().find(|(slot, _, _)| *slot == files::content_slot())?;
    Content::from_value(&value(bytes).ok()?)
}

/// Deletes what records said, within a transaction.
pub(super) fn erase(
    node: &Node,
    txn: &mut Txn<'_>,
    agreement: AgreementId,
    doomed: &[Doomed],
) -> Result<Leftovers, RecallError> {
    let partition = Partition::Agreement(agreement);
    let (mut places, mut contents) = (BTreeSet::new(), BTreeMap::new());
    for Doomed { record, place, row, keep, from } in doomed {
        let verified = row.verified().map_err(|_| StoreError::Broken { at: *place })?;
        let kind = verified.header().kind;
        let before = encode("received record", row)?.len();
        forget_terms(txn, partition, *place, row, *keep)?;
        for n in 0..txn.count(partition, Table::Earlier, record.as_bytes())? {
            let Some(earlier) = txn.item(partition, Table::Earlier, record.as_bytes(), n)? else { continue };
            let earlier: ReceivedRow = decode("received record", &earlier)?;
            forget_terms(txn, partition, *place, &earlier, *keep)?;
            let less = earlier.showing(*keep).ok_or(StoreError::Broken { at: n })?;
            let less = encode("received record", &less)?;
            txn.replace_item(partition, Table::Earlier, record.as_bytes(), n, &less)?;
        }
        if kind == Kind::Attachment
            && !keep.contains(files::content_slot())
            && let Some(content) = content(row)
        {
            contents.insert(content.sha256, (content, *from));
        }
        let less = row.showing(*keep).ok_or(StoreError::Broken { at: *place })?;
        let bytes = encode("received record", &less)?;
        txn.replace_item(partition, Table::Received, b"", *place, &bytes)?;
        room::give_back(txn, *from, before.saturating_sub(bytes.len()) as u64)?;
        places.insert(*place);
    }
    index::forget(txn, &node.holdings, partition, &places)?;
    let mut leftovers = Leftovers::default();
    if contents.is_empty() {
        return Ok(leftovers);
    }
    for sha256 in still_stated(node, agreement, &places)? {
        contents.remove(&sha256);
    }
    for (content, from) in contents.into_values() {
        let Some(file) = files::find(node, partition, content)? else { continue };
        txn.delete(partition, Table::Attachment, content.sha256.as_bytes())?;
        room::give_back(txn, from, file.size)?;
        leftovers.0.push(file);
    }
    Ok(leftovers)
}

/// A record is no longer found by what it showed, and goes on being found by what stays.
fn forget_terms(
    txn: &mut Txn<'_>,
    partition: Partition,
    place: u64,
    row: &ReceivedRow,
    keep: SlotSet,
) -> Result<(), RecallError> {
    let verified = row.verified().map_err(|_| StoreError::Broken { at: place })?;
    let kind = verified.header().kind;
    for slot in verified.slots().iter().filter(|slot| !keep.contains(slot.opening.slot)) {
        let Some(known) = kind.slot_number(slot.opening.slot) else { continue };
        for term in index::terms(kind, known, &slot.value).into_iter().filter(|term| !term.shared) {
            txn.unindex(partition, term.field, &term.key, place)?;
        }
    }
    Ok(())
}

/// Files of which another record of the partition says that they are its own.
fn still_stated(node: &Node, agreement: AgreementId, gone: &BTreeSet<u64>) -> Result<BTreeSet<Hash>, RecallError> {
    let mut stated = BTreeSet::new();
    let key = Kind::Attachment.name().as_bytes();
    index::each_sharing(&node.holdings, Partition::Agreement(agreement), "kind", key, &mut |place| {
        if !gone.contains(&place)
            && let Some(row) = view::received_at(node, agreement, place)?
        {
            stated.extend(content(&row).map(|content| content.sha256));
        }
        Ok::<_, RecallError>(true)
    })?;
    Ok(stated)
}

/// Who gave us a received record: what another organisation recorded is taken from nobody else.
pub(super) fn giver(row: &ReceivedRow, place: u64) -> Result<OrgId, RecallError> {
    let body = Body::from_bytes(&row.body).map_err(|_| StoreError::Broken { at: place })?;
    Ok(body.header().originator)
}

/// A received record of a partition, with its place.
pub(super) fn held(
    node: &Node,
    agreement: AgreementId,
    record: RecordId,
) -> Result<Option<(u64, ReceivedRow)>, RecallError> {
    let place = node.holdings.first(Partition::Agreement(agreement), index::ID, record.as_bytes())?;
    let Some(place) = place else { return Ok(None) };
    Ok(view::received_at(node, agreement, place)?.map(|row| (place, row)))
}
