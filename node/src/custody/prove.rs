//! Heads of the log, offers to witnesses, and proofs that something stands in it.

use super::{
    CustodyError, grow, locked,
    rows::{self, CosignedRow, Cosigner, LogRow},
};
use crate::{
    journal,
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    custody::{
        checkpoint::{Checkpoint, Origin, TreeHead},
        cosignature::Cosignature,
        event::Event,
        interval::Interval,
        proof::LeafProof,
        tiles::{self, Tile},
        witness::Offer,
    },
    id::{Hash, LoggedDigest, OrgId},
};
use serde_bytes::ByteBuf;
use std::{cmp::Ordering, sync::Arc};

type Tiles<'a> = tiles::Log<Box<dyn FnMut(Tile) -> Result<Vec<Hash>, StoreError> + 'a>>;

fn tiles<'a>(node: &'a Node, epoch: u32, size: u64) -> Result<Tiles<'a>, CustodyError> {
    let read = Box::new(move |tile: Tile| grow::read_tile(&node.holdings, epoch, tile));
    Ok(tiles::Log::new(size, read as Box<dyn FnMut(Tile) -> Result<Vec<Hash>, StoreError> + 'a>)?)
}

/// The root of the log that goes on, as it was or is at a size.
pub fn root(node: &Node, size: u64) -> Result<Hash, CustodyError> {
    let (origin, made) = node.log.at()?;
    Ok(tiles(node, origin.epoch(), made)?.root(size)?)
}

/// Our own head at a size that the log has. It is what anybody else would be shown.
pub fn head(node: &Node, size: u64) -> Result<Checkpoint, CustodyError> {
    let (origin, _) = node.log.at()?;
    Ok(Checkpoint::sign(origin, TreeHead { size, root: root(node, size)? }, &node.keys.log)?)
}

/// What is offered to a witness that saw `seen` of this epoch, or nothing.
pub fn offer(node: &Node, seen: Option<&Checkpoint>, size: u64) -> Result<Offer, CustodyError> {
    let (origin, made) = node.log.at()?;
    let new = head(node, size)?;
    Ok(match seen {
        None => Offer { held: None, new, proof: Vec::new() },
        // Of an earlier epoch: that very head, so that we own up to what there was.
        Some(seen) if *seen.origin() != origin => Offer { held: Some(seen.clone()), new, proof: Vec::new() },
        Some(seen) => {
            let held = head(node, seen.head().size)?;
            let proof = tiles(node, origin.epoch(), made)?.prove_consistency(seen.head().size, size)?;
            Offer { held: Some(held), new, proof }
        }
    })
}

/// Where something signed, or an event, stands in the log that goes on.
pub struct Place {
    /// Its leaf.
    pub leaf: u64,
    pub(crate) interval: Arc<Interval>,
}

/// The event of the journal in which a run or batch head of ours was signed.
pub fn signed_in(node: &Node, stands: LoggedDigest) -> Result<Option<(u64, Event)>, CustodyError> {
    let Some(n) = node.holdings.first(Partition::Node, journal::LOGGED, stands.as_bytes())? else { return Ok(None) };
    let event = node.holdings.journal(n.checked_sub(1), 1)?.pop();
    Ok(event.filter(|(place, event)| *place == n && event.logged() == stands))
}

/// Whether a run was signed for this partner: nobody else is shown where it stands.
pub fn is_for(node: &Node, (n, event): &(u64, Event), partner: OrgId) -> Result<bool, CustodyError> {
    let parts = journal::said(&node.holdings, *n, event)?;
    let to = partner.to_string();
    Ok(parts.iter().any(|part| part.what == "run-signed" && part.about.iter().any(|(k, v)| k == "partner" && *v == to)))
}

/// Finds an event of the journal in the log. None while no leaf covers it, or where an earlier epoch does.
pub fn place(node: &Node, (n, event): &(u64, Event)) -> Result<Option<Place>, CustodyError> {
    let log = node.log.row();
    let origin = log.origin()?;
    let by_place = |row: &rows::BusyRow| match (row.to <= *n, row.from > *n) {
        (true, _) => Ordering::Less,
        (_, true) => Ordering::Greater,
        _ => Ordering::Equal,
    };
    let mut found = rows::find_busy(&node.holdings, origin.epoch(), by_place)?;
    if found.as_ref().is_some_and(|row| row.gone.contains(n)) {
        let leaf = origin.leaf_at(event.at()).unwrap_or(0);
        found = rows::find_busy(&node.holdings, origin.epoch(), |row| row.at.cmp(&leaf))?;
    }
    // A leaf that was made a moment ago, while this looked, is found the next time.
    let Some(row) = found.filter(|row| row.at < log.size) else { return Ok(None) };
    let interval = opened(node, &log, &origin, &row)?;
    Ok(interval.holds(event.logged()).then_some(Place { leaf: row.at, interval }))
}

fn opened(node: &Node, log: &LogRow, origin: &Origin, row: &rows::BusyRow) -> Result<Arc<Interval>, CustodyError> {
    if let Some((epoch, at, interval)) = &*locked(&node.log.opened)
        && (*epoch, *at) == (origin.epoch(), row.at)
    {
        return Ok(Arc::clone(interval));
    }
    let interval = Arc::new(grow::remake(&node.holdings, log, row)?);
    // What is not what the log has must not leave: it would be evidence against us.
    let kept = tiles(node, origin.epoch(), log.size)?.leaf(row.at)?;
    if kept != interval.leaf().hash() {
        return Err(CustodyError::Broken("an interval is not what its leaf was made of: run `entente check`"));
    }
    *locked(&node.log.opened) = Some((origin.epoch(), row.at, Arc::clone(&interval)));
    Ok(interval)
}

/// The proof that it stands there, under the head of a size. None where that head does not reach it.
pub fn proof(node: &Node, place: &Place, stands: LoggedDigest, size: u64) -> Result<Option<LeafProof>, CustodyError> {
    if place.leaf >= size {
        return Ok(None);
    }
    let (origin, made) = node.log.at()?;
    let path = tiles(node, origin.epoch(), made)?.prove_inclusion(place.leaf, size)?;
    Ok(LeafProof::new(place.leaf, &place.interval, stands, path))
}

/// Keeps that somebody witnessed a head of ours.
pub fn keep_cosigned(
    node: &Node,
    checkpoint: &Checkpoint,
    cosignature: &Cosignature,
    named: bool,
) -> Result<(), CustodyError> {
    let (size, scope) = (checkpoint.head().size, rows::cosigned(checkpoint.origin().epoch()));
    let by =
        Cosigner { at: cosignature.time(), org: cosignature.witness(), line: cosignature.line().to_string(), named };
    let mut txn = node.holdings.begin();
    let last = node.holdings.last(Partition::Node, Table::Log, &scope)?;
    let last = last.map(|(n, row)| Ok::<_, CustodyError>((n, CosignedRow::read(&row)?))).transpose()?;
    match last {
        Some((n, mut row)) if row.size == size => {
            row.by.retain(|known| known.org != by.org);
            row.by.push(by);
            txn.replace_item(Partition::Node, Table::Log, &scope, n, &row.write()?)?;
        }
        // An older head than one that somebody else has witnessed meanwhile tells nothing more.
        Some((_, row)) if row.size > size => return Ok(()),
        _ => {
            let note = ByteBuf::from(checkpoint.to_bytes().map_err(|_| CustodyError::Broken("a head has no note"))?);
            txn.push(Partition::Node, Table::Log, &scope, &CosignedRow { by: vec![by], note, size }.write()?)?;
        }
    }
    txn.commit()?;
    *locked(&node.log.witnessed) = Some(checkpoint.digest());
    Ok(())
}

/// The first head over a leaf that somebody witnessed: what shows since when it exists.
pub fn first_cosigned(node: &Node, leaf: u64) -> Result<Option<CosignedRow>, CustodyError> {
    let (origin, _) = node.log.at()?;
    let scope = rows::cosigned(origin.epoch());
    let (mut low, mut high) = (0, node.holdings.count(Partition::Node, Table::Log, &scope)?);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let row = node.holdings.item(Partition::Node, Table::Log, &scope, middle)?;
        let row = CosignedRow::read(&row.ok_or(StoreError::Broken { at: middle })?)?;
        if row.size > leaf {
            (found, high) = (Some(row), middle);
        } else {
            low = middle + 1;
        }
    }
    Ok(found)
}

/// The last head that somebody witnessed.
pub fn last_cosigned(node: &Node) -> Result<Option<CosignedRow>, CustodyError> {
    let (origin, _) = node.log.at()?;
    rows::last_cosigned(&node.holdings, origin.epoch())
}
