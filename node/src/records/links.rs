//! Which records a record refers to, and which refer to it: the way from an item to its event, and to its photographs.
//!
//! `show` calls it for people. Only records that this node holds are named, ours and received; of a line the newest.

use super::{
    index, keep, stored,
    view::{self, Found},
};
use crate::{error::Fault, node::Node, receive::lease, seal::keyring::Partition, store::StoreError};
use entente_protocol::{
    id::{LineId, OrgId, RecordId},
    record::{kind::Kind, kind::Slot},
    value::Value,
};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Linked records that are listed.
const LISTED_MAX: usize = 500;
/// Fields that tell people most about a record that they look for, in this order, and how many of them.
const CAPTION: &[&str] = &[
    "type",
    "etype",
    "make",
    "model",
    "calibre",
    "serial",
    "name",
    "title",
    "role",
    "media",
    "taken",
    "recovered",
    "recovered-month",
    "place-name",
    "place-region",
    "place-country",
];
const CAPTION_MAX: usize = 4;

/// A record as links need it.
struct Linked {
    id: RecordId,
    kind: Kind,
    line: (OrgId, LineId),
    values: Vec<(u8, Value)>,
    /// Whether its originator took it back.
    withdrawn: bool,
}

impl Linked {
    fn new(node: &Node, id: RecordId, found: &Found) -> Result<Self, Fault> {
        Ok(match found {
            Found::Own(row) => {
                let body = row.header()?;
                let header = body.header();
                let values = row.values.iter().map(|(slot, v)| Ok((*slot, stored::value(v)?)));
                let values = values.collect::<Result<_, keep::KeepError>>()?;
                Self { id, kind: header.kind, line: (header.originator, header.line), values, withdrawn: false }
            }
            Found::Received(agreement, row) => {
                let withdrawn = crate::receive::withdrawn(node, *agreement, id)?.is_some();
                let verified = row.verified().map_err(|_| StoreError::Broken { at: row.number })?;
                let header = verified.header();
                let values = verified.slots().iter().map(|s| (s.opening.slot, s.value.clone())).collect();
                Self { id, kind: header.kind, line: (header.originator, header.line), values, withdrawn }
            }
        })
    }

    /// Slots that refer to another record, with the lines that they name.
    fn references(&self) -> impl Iterator<Item = (&'static str, OrgId, LineId)> + '_ {
        self.values.iter().flat_map(|(number, value)| {
            let slot: Option<&'static Slot> = self.kind.slot_number(*number);
            let targets = slot.map(|slot| slot.shape.targets(value)).unwrap_or_default();
            targets.into_iter().filter_map(move |to| Some((slot?.name, to.originator, to.line)))
        })
    }

    fn number(&self) -> Option<String> {
        self.values.iter().find(|(slot, _)| *slot == 0).and_then(|(_, value)| value.as_text()).map(str::to_owned)
    }

    fn caption(&self) -> String {
        let value = |name: &&str| {
            let slot = self.kind.slot(name)?;
            let (_, value) = self.values.iter().find(|(number, _)| *number == slot.number)?;
            Some(view::text_of(slot, value)).filter(|text| !text.is_empty())
        };
        CAPTION.iter().filter_map(value).take(CAPTION_MAX).collect::<Vec<_>>().join(" · ")
    }
}

/// A linked record, and by which fields: its own, and those of the record that was asked about.
struct Link {
    linked: Linked,
    refers_by: BTreeSet<&'static str>,
    referred_by: BTreeSet<&'static str>,
}

/// The records that a record refers to or that refer to it, and whether there are more than are listed.
pub fn links(node: &Node, id: RecordId, found: &Found) -> Result<(Vec<Json>, bool), Fault> {
    let own = Linked::new(node, id, found)?;
    let partitions: Vec<Partition> =
        std::iter::once(Partition::Own).chain(node.partitions().into_iter().map(Partition::Agreement)).collect();
    let mut links: BTreeMap<RecordId, Link> = BTreeMap::new();
    let mut more = false;
    for (field, originator, line) in own.references() {
        if let Some(target) = newest(node, &partitions, originator, line)? {
            let link = links.entry(target.id).or_insert_with(|| Link::to(target));
            link.refers_by.insert(field);
        }
    }
    for partition in &partitions {
        let places = node.holdings.find(*partition, index::REF, own.line.1.as_bytes(), None, LISTED_MAX + 1)?;
        more |= places.len() > LISTED_MAX;
        for place in places.into_iter().take(LISTED_MAX) {
            let Some(from) = at(node, *partition, place)? else { continue };
            let fields: Vec<&'static str> = from
                .references()
                .filter(|(_, originator, line)| (*originator, *line) == own.line)
                .map(|(field, ..)| field)
                .collect();
            // What was corrected since is shown as it is now.
            let current = newest(node, &[*partition], from.line.0, from.line.1)?;
            if fields.is_empty() || current.is_none_or(|current| current.id != from.id) {
                continue;
            }
            links.entry(from.id).or_insert_with(|| Link::to(from)).referred_by.extend(fields);
        }
    }
    more |= links.len() > LISTED_MAX;
    Ok((links.values().take(LISTED_MAX).map(Link::json).collect(), more))
}

/// What people call the newest record of a line, where one is held: its number, or the beginning of its id.
pub fn named(node: &Node, org: OrgId, line: LineId) -> Result<Option<String>, Fault> {
    let agreements = node.partitions().into_iter().map(Partition::Agreement);
    let partitions: Vec<Partition> = std::iter::once(Partition::Own).chain(agreements).collect();
    let found = newest(node, &partitions, org, line)?;
    Ok(found.map(|found| found.number().unwrap_or_else(|| found.id.short())))
}

impl Link {
    fn to(linked: Linked) -> Self {
        Self { linked, refers_by: BTreeSet::new(), referred_by: BTreeSet::new() }
    }
    fn json(&self) -> Json {
        let number = self.linked.number();
        json!({
            "id": self.linked.id.to_string(),
            "kind": self.linked.kind.name(),
            "number": number,
            "caption": self.linked.caption(),
            "withdrawn": self.linked.withdrawn,
            "refers_by": self.refers_by,
            "referred_by": self.referred_by,
        })
    }
}

/// The newest record of a line, in the first partition that holds one.
fn newest(node: &Node, partitions: &[Partition], org: OrgId, line: LineId) -> Result<Option<Linked>, Fault> {
    for partition in partitions {
        if let Some(place) = node.holdings.newest(*partition, index::LINE, &index::line(org, line))? {
            return at(node, *partition, place);
        }
    }
    Ok(None)
}

fn at(node: &Node, partition: Partition, place: u64) -> Result<Option<Linked>, Fault> {
    let found = match partition {
        Partition::Agreement(agreement) => {
            let row = view::received_at(node, agreement, place)?;
            // What is locked is shown nowhere.
            match row.and_then(|row| Some((row.id()?, row.giver()?, row))) {
                Some((id, giver, row)) if lease::shown(node, agreement, giver).is_ok() => {
                    Some((id, Found::Received(agreement, Box::new(row))))
                }
                _ => None,
            }
        }
        _ => keep::at(node, place)?.map(|(id, row)| (id, Found::Own(Box::new(row)))),
    };
    found.map(|(id, found)| Linked::new(node, id, &found)).transpose()
}
