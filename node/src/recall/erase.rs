//! Deleting what received records said: fields, salts, what they are found by, and their files.
//!
//! What stays is that a record of this kind and line was held, and who attested it: its header and root, of which every
//! field was shown before and none is now. Rows go from the store in the append of whoever calls this; the files before
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
    share::{
        ShareError, fetching,
        files::{self, FileRow},
        wishes,
    },
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    attachment::Content,
    id::{AgreementId, Hash, Nonce, OrgId, RecordId},
    record::{SlotSet, kind::Kind},
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

/// What is to be deleted beside the rows of an append.
#[derive(Default)]
pub(super) struct Leftovers {
    files: Vec<FileRow>,
    /// What names the segments of files that never came whole, and how many there are.
    parts: Vec<(Nonce, u64)>,
}

impl Leftovers {
    /// Deletes the files that no row will speak of. Called before the append that says so: a node that is stopped between
    /// the two has a row without its file, which `entente check` names, and does all of it again.
    pub fn discard(self, node: &Node, agreement: AgreementId) -> Result<(), RecallError> {
        let partition = Partition::Agreement(agreement);
        for file in &self.files {
            files::discard(node, partition, file)?;
        }
        for (id, segments) in self.parts {
            for segment in 0..segments {
                node.holdings.blob_remove(partition, &files::segment_name(id, segment))?;
            }
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
    let mut leftovers = Leftovers::default();
    // From the end: an index forgets its last place at once.
    let mut doomed: Vec<&Doomed> = doomed.iter().collect();
    doomed.sort_by_key(|doomed| std::cmp::Reverse(doomed.place));
    for Doomed { record, place, row, keep, from } in doomed {
        // Named twice is deleted once.
        if !places.insert(*place) {
            continue;
        }
        let verified = row.verified().map_err(|_| StoreError::Broken { at: *place })?;
        let kind = verified.header().kind;
        let before = encode("received record", row)?.len();
        forget_terms(txn, partition, *place, row, *keep)?;
        let mut stated: Vec<Content> = content(row).into_iter().collect();
        for n in 0..txn.count(partition, Table::Earlier, record.as_bytes())? {
            let Some(earlier) = txn.item(partition, Table::Earlier, record.as_bytes(), n)? else { continue };
            let earlier: ReceivedRow = decode("received record", &earlier)?;
            stated.extend(content(&earlier));
            forget_terms(txn, partition, *place, &earlier, *keep)?;
            let less = earlier.showing(*keep).ok_or(StoreError::Broken { at: n })?;
            let less = encode("received record", &less)?;
            txn.replace_item(partition, Table::Earlier, record.as_bytes(), n, &less)?;
        }
        if kind == Kind::Attachment && !keep.contains(files::content_slot()) {
            contents.extend(stated.into_iter().map(|content| (content.sha256, (content, *from))));
            if let Some(wish) = wishes::forget(txn, partition, *from, *record).map_err(ShareError::from)? {
                leftovers.parts.extend(fetching::forget_part(txn, partition, &wish)?);
            }
        }
        let less = row.showing(*keep).ok_or(StoreError::Broken { at: *place })?;
        let bytes = encode("received record", &less)?;
        txn.replace_item(partition, Table::Received, b"", *place, &bytes)?;
        room::give_back(txn, *from, before.saturating_sub(bytes.len()) as u64)?;
    }
    index::forget(txn, &node.holdings, partition, &places)?;
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
        leftovers.files.push(file);
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
    let partition = Partition::Agreement(agreement);
    let key = Kind::Attachment.name().as_bytes();
    index::each_sharing(&node.holdings, Partition::Agreement(agreement), "kind", key, &mut |place| {
        if !gone.contains(&place)
            && let Some(row) = view::received_at(node, agreement, place)?
        {
            stated.extend(content(&row).map(|content| content.sha256));
            let id = row.id().ok_or(StoreError::Broken { at: place })?;
            for (_, earlier) in node.holdings.list(partition, Table::Earlier, id.as_bytes(), None, super::PAGE)? {
                let earlier: ReceivedRow = decode("received record", &earlier)?;
                stated.extend(content(&earlier).map(|content| content.sha256));
            }
        }
        Ok::<_, RecallError>(true)
    })?;
    Ok(stated)
}

/// Who gave us a received record.
pub(super) fn giver(row: &ReceivedRow, place: u64) -> Result<OrgId, RecallError> {
    Ok(row.giver().ok_or(StoreError::Broken { at: place })?)
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
