//! What an export says of the feeds that this node sends: each run as it was signed, and of each release the record's
//! header, the slots that it showed and the clause; no value.

use super::write::Writer;
use crate::{
    agreements,
    error::Fault,
    node::Node,
    receive::RunInRow,
    records::{
        keep,
        stored::{self, ReceivedRow, decode},
        view::{self, Found},
    },
    seal::keyring::Partition,
    share::feeds::{self, SentEntry, SentRun},
    store::layout::Table,
};
use entente_protocol::{
    audit::{
        Item,
        item::{self, Of, Released},
    },
    batch::Attestation,
    cose::SignatureBytes,
    feed::FeedKey,
    id::{AgreementId, OrgId, RecordId},
    record::{Body, SlotSet},
};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// A feed, and how far it goes.
pub struct Sent {
    /// Which.
    pub key: FeedKey,
    /// Its runs.
    pub runs: u64,
    receipts: u64,
}

/// Every feed that this node sends, or sent: to whoever is or was party to an agreement.
pub fn all(node: &Node, given: &[AgreementId]) -> Result<Vec<Sent>, Fault> {
    let mut all = Vec::new();
    for agreement in given {
        let versions = agreements::versions(&node.holdings, *agreement)?;
        let parties = versions.values().flat_map(|version| &version.parties).map(|party| party.id);
        let parties: BTreeSet<OrgId> = parties.filter(|party| *party != node.keys.org).collect();
        for party in parties {
            let key = feeds::outgoing(node, party, *agreement);
            let scope = key.id();
            let runs = node.holdings.count(Partition::Own, Table::RunOut, scope.as_bytes())?;
            let receipts = node.holdings.count(Partition::Own, Table::Receipt, scope.as_bytes())?;
            if runs > 0 {
                all.push(Sent { key, runs, receipts });
            }
        }
    }
    Ok(all)
}

/// Goes through the runs of a feed.
fn each(node: &Node, sent: &Sent, take: &mut dyn FnMut(SentRun) -> Result<(), Fault>) -> Result<(), Fault> {
    let scope = sent.key.id();
    let list = (Partition::Own, Table::RunOut, scope.as_bytes().as_slice());
    stored::each(&node.holdings, list, 0, &mut |n, run: SentRun| -> Result<bool, Fault> {
        let shown = n < sent.runs;
        if shown {
            take(run)?;
        }
        Ok(shown)
    })
}

/// Who recorded what this node passed on in a feed.
pub fn originators(node: &Node, sent: &Sent) -> Result<BTreeSet<OrgId>, Fault> {
    let mut orgs = BTreeSet::new();
    each(node, sent, &mut |run| {
        for record in run.entries.iter().filter_map(|entry| entry.record) {
            if let Some(Found::Received(_, row)) = view::find(node, record)? {
                orgs.insert(Body::from_bytes(&row.body)?.header().originator);
            }
        }
        Ok(())
    })?;
    Ok(orgs)
}

/// Writes a feed.
pub fn write(node: &Node, sent: &Sent, writer: &mut Writer) -> Result<(), Fault> {
    writer.item(&Item::Feed(sent.key))?;
    each(node, sent, &mut |run| writer.item(&Item::Run(shown(node, run)?)))?;
    let scope = sent.key.id();
    for n in 0..sent.receipts {
        if let Some(receipt) = node.holdings.item(Partition::Own, Table::Receipt, scope.as_bytes(), n)? {
            writer.item(&Item::Receipt(SignatureBytes(receipt)))?;
        }
    }
    Ok(())
}

fn shown(node: &Node, run: SentRun) -> Result<item::SentRun, Fault> {
    // By the place of a batch of ours: positions.
    let mut own: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    let mut found = Vec::with_capacity(run.entries.len());
    for entry in &run.entries {
        let record = entry.record.map(|record| Ok::<_, Fault>((record, view::find(node, record)?))).transpose()?;
        if let Some((_, Some(Found::Own(row)))) = &record {
            own.entry(row.batch).or_default().insert(row.position);
        }
        found.push(record);
    }
    let (mut places, mut attestations) = (BTreeMap::new(), Vec::new());
    for (batch, positions) in &own {
        let positions: Vec<u32> = positions.iter().copied().collect();
        places.insert(*batch, u16::try_from(attestations.len()).map_err(Fault::store)?);
        attestations.push(keep::batch(node, *batch)?.prove(&positions));
    }
    let mut entries = Vec::with_capacity(run.entries.len());
    for (SentEntry { bytes, slots, clause, .. }, record) in run.entries.into_iter().zip(found) {
        let slots: Vec<u8> = SlotSet::from_bits(slots).iter().collect();
        let release = match record {
            None => None,
            Some((id, found)) => {
                let (of, place) = match &found {
                    Some(Found::Own(row)) => {
                        (said(&row.body)?, places.get(&row.batch).map(|batch| (*batch, row.position)))
                    }
                    Some(Found::Received(agreement, row)) => {
                        (said(&row.body)?, others(node, *agreement, (id, row), &mut attestations)?)
                    }
                    None => (Of::Gone(node.keys.org), None),
                };
                Some(Released { of, place, slots, clause })
            }
        };
        entries.push(item::SentEntry { entry: ByteBuf::from(bytes.to_vec()), release });
    }
    Ok(item::SentRun { run: run.run, entries, attested: attestations })
}

/// What a record is: its body, unless people wrote something into its header.
fn said(body: &[u8]) -> Result<Of, Fault> {
    let read = Body::from_bytes(body)?;
    let header = read.header();
    let floor = &header.floor;
    let silent = floor.hc3.is_none() && floor.class.is_none() && floor.destroy_on.is_none();
    Ok(if silent { Of::Body(ByteBuf::from(body.to_vec())) } else { Of::Kind(header.kind, header.originator) })
}

/// The proof by which another's record came here, for that record alone.
fn others(
    node: &Node,
    agreement: AgreementId,
    (id, row): (RecordId, &ReceivedRow),
    attestations: &mut Vec<Attestation>,
) -> Result<Option<(u16, u32)>, Fault> {
    let kept = node.holdings.item(Partition::Agreement(agreement), Table::RunIn, row.feed.as_bytes(), row.run)?;
    let Some(kept) = kept else { return Ok(None) };
    let kept: RunInRow = decode("run", &kept)?;
    let proof = kept.proofs.iter().find_map(|proof| {
        let (position, _) = proof.records.iter().find(|(_, record)| *record == id)?;
        let joint = [(proof.records.as_slice(), &proof.attestation)];
        Some((*position, Attestation::joined(&joint, &[*position])?))
    });
    let Some((position, attestation)) = proof else { return Ok(None) };
    let place = u16::try_from(attestations.len()).map_err(Fault::store)?;
    attestations.push(attestation);
    Ok(Some((place, position)))
}
