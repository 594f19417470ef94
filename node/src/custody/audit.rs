//! The log held against the journal: every leaf is made again, and every row is known.

use super::{
    CustodyError, grow,
    rows::{self, BusyRow, LogRow},
};
use crate::{
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    custody::{
        event::EventKind,
        journal::{Journal, JournalHead},
        tiles::{self, Tile},
    },
    id::{Hash, OrgId, StoreId},
    limits,
};
use std::collections::BTreeMap;

/// A key of a single row, and the lists that belong to it.
type Rows = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

/// The epochs of the own log, the last one first, with the keys of their rows.
pub(super) fn epochs(node: &Node) -> Result<Vec<(Vec<u8>, LogRow)>, CustodyError> {
    let last = node.log.row();
    let before = 0..last.origin()?.epoch();
    let mut epochs = vec![(rows::OWN.to_vec(), last)];
    for epoch in before {
        let key = rows::past(epoch);
        // Epochs that a copy began which is gone have no row.
        if let Some(row) = node.holdings.get(Partition::Node, Table::Log, &key)? {
            epochs.push((key, LogRow::read(&row)?));
        }
    }
    Ok(epochs)
}

/// Rows of the own log, without its tiles and witnessed heads.
pub fn rows(node: &Node) -> Result<Rows, CustodyError> {
    let mut all: Rows = vec![(rows::OWN.to_vec(), vec![rows::STORES.to_vec()])];
    for (key, row) in epochs(node)? {
        all.push((key, vec![rows::busy(row.origin()?.epoch())]));
    }
    Ok(all)
}

/// Lists of witnessed heads.
pub fn cosigned(node: &Node) -> Result<Vec<Vec<u8>>, CustodyError> {
    epochs(node)?.iter().map(|(_, row)| Ok(rows::cosigned(row.origin()?.epoch()))).collect()
}

/// Keys of every tile.
pub fn tiles(node: &Node) -> Result<Vec<Vec<u8>>, CustodyError> {
    let mut keys = Vec::new();
    for (_, row) in epochs(node)? {
        let epoch = row.origin()?.epoch();
        for level in 0..u8::MAX {
            let mut index = 0;
            while let Some(tile) = Tile::of(level, index, row.size) {
                keys.push(rows::tile(epoch, tile.level(), tile.index()));
                index += 1;
            }
            if index == 0 {
                break;
            }
        }
    }
    Ok(keys)
}

/// Stores of partners of whose logs something is known.
pub fn known(node: &Node) -> Result<Vec<(OrgId, StoreId)>, CustodyError> {
    Ok(rows::stores(&node.holdings)?.into_iter().map(|row| (row.org, row.store)).collect())
}

/// Keys of the rows of one.
pub fn keys(org: OrgId, store: StoreId) -> [Vec<u8>; 2] {
    [rows::store(org, store), rows::watch(org, store)]
}

/// Speaks of what is known of one. Whether it is all there.
pub fn speak(audit: &Audit, org: OrgId, store: StoreId) -> Result<bool, StoreError> {
    let mark = audit.get(Partition::Node, Table::Log, &rows::store(org, store))?;
    let watch = audit.get(Partition::Node, Table::Log, &rows::watch(org, store))?;
    let scope = super::owed::scope(org, store);
    let counter = audit.counter(Partition::Node, Table::Owed, &scope)?;
    let mut after = None;
    loop {
        let page = audit.items(Partition::Node, Table::Owed, &scope, after)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
    }
    Ok(mark.is_some() && watch.is_some() && (counter.is_some() || after.is_none()))
}

/// How often the log was begun, as the journal says. More than once where its row was lost.
pub fn begun(node: &Node) -> Result<usize, CustodyError> {
    let (mut begun, mut after) = (0, None);
    loop {
        let page = node.holdings.journal(after, 1_024)?;
        let Some((last, _)) = page.last() else { return Ok(begun) };
        after = Some(*last);
        for (n, event) in page.iter().filter(|(_, event)| event.kind() == EventKind::Custody) {
            let part = node.holdings.journal_part(*n, event, Partition::Node)?;
            begun += usize::from(part.is_some_and(|part| part.what == "log-begun"));
        }
    }
}

/// Why the tiles of the own log are not what the journal gives, if they are not.
pub fn remade(node: &Node, step: &mut dyn FnMut(u64)) -> Result<Option<String>, CustodyError> {
    for (_, log) in epochs(node)? {
        let origin = log.origin()?;
        let mut made: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
        let mut busy = busy(node, origin.epoch())?.into_iter().peekable();
        let start = match busy.peek() {
            // Before its first event an epoch has the journal as it found it.
            Some(first) => head_before(node, first.from)?,
            None => JournalHead { count: log.count, digest: log.digest },
        };
        let (mut head, mut size) = (start, 0);
        let secret = log.secret()?;
        while size < log.size {
            let end = log.size.min(size + limits::LOG_APPEND_MAX as u64);
            let mut leaves = Vec::new();
            for leaf in size..end {
                let interval = match busy.next_if(|row| row.at == leaf) {
                    Some(row) => {
                        head = JournalHead { count: row.to, digest: row.digest };
                        grow::remake(&node.holdings, &log, &row)?
                    }
                    None => grow::interval(&[], head, &secret, leaf)?,
                };
                leaves.push(interval.leaf().hash());
            }
            step(end - size);
            let read = |tile: Tile| Ok(made.get(&(tile.level(), tile.index())).cloned().unwrap_or_default());
            for (tile, hashes) in tiles::append(size, &leaves, read)? {
                made.insert((tile.level(), tile.index()), hashes);
            }
            size = end;
        }
        for ((level, index), hashes) in made {
            let Some(tile) = Tile::of(level, index, log.size) else { continue };
            if grow::read_tile(&node.holdings, origin.epoch(), tile)? != hashes {
                return Ok(Some(format!("`{tile}` of epoch {} is not what the journal gives", origin.epoch())));
            }
        }
    }
    Ok(None)
}

fn busy(node: &Node, epoch: u32) -> Result<Vec<BusyRow>, CustodyError> {
    let (scope, mut after, mut all) = (rows::busy(epoch), None, Vec::new());
    loop {
        let page = node.holdings.list(Partition::Node, Table::Log, &scope, after, 1_024)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        for (_, row) in page {
            all.push(BusyRow::read(&row)?);
        }
    }
}

/// The journal before its event `n`.
fn head_before(node: &Node, n: u64) -> Result<JournalHead, CustodyError> {
    let Some(last) = n.checked_sub(1) else { return Ok(Journal::start(node.holdings.store_id()).head()) };
    let event = node.holdings.journal(last.checked_sub(1), 1)?.pop();
    let (_, event) = event.ok_or(StoreError::Broken { at: last })?;
    Ok(JournalHead { count: n, digest: event.digest() })
}
