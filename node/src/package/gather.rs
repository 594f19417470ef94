//! What goes into a package: which records, how much of each, and what proves them.
//!
//! Of our own records only those that people released go, as everywhere. What others recorded goes as far as it was shown to
//! us, by the hand of whoever makes the package; what that may mean under an agreement is said to them.

use super::{Options, Show, too_much};
use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
    recall::retention,
    receive::{self, RunInRow, TakenBack, evidence},
    records::{
        gate::{self, Review},
        keep, links, show,
        stored::{OwnRow, ReceivedRow},
        view::{self, Found},
    },
    seal::keyring::Partition,
    share::{
        decide::Asked,
        feeds,
        files::{self, FileRow},
    },
};
use entente_protocol::{
    batch::Attestation,
    cose::SignatureBytes,
    id::{AgreementId, FeedId, Hash, OrgId, RecordId},
    identity::Purpose,
    limits,
    package::{
        Name,
        parts::{self, Carried, Part, SentRun, Standing, State},
    },
    record::{Redacted, SlotSet, Tlp, Verified, kind::Kind},
    value::Value,
};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is held in memory of all records while a package is made.
const GATHERED_BYTES_MAX: usize = 256 << 20;

/// A file that goes with a record.
pub struct File {
    /// Its name in the package.
    pub name: Name,
    /// Where it lies.
    pub partition: Partition,
    /// What it is.
    pub row: FileRow,
}

/// A record that goes.
pub struct Chosen {
    /// Its id.
    pub id: RecordId,
    /// As it is written.
    pub part: Part,
    /// As it is shown, proved.
    pub shown: Verified,
    /// Its file.
    pub file: Option<File>,
    /// Since when its originator says that it exists.
    pub attested: entente_protocol::time::UnixMillis,
}

/// All that goes.
#[derive(Default)]
pub struct Gathered {
    /// Records in the order in which they were named, each followed by its files' records.
    pub records: Vec<Chosen>,
    /// Signed heads of their batches.
    pub batches: Vec<SignatureBytes>,
    /// Runs that brought them.
    pub runs: Vec<SentRun>,
    /// Whose cards are needed.
    pub orgs: BTreeSet<OrgId>,
    /// What does not go, and why.
    pub left_out: Vec<Json>,
    heads: BTreeMap<Vec<u8>, u32>,
    places: BTreeMap<(FeedId, u64), u32>,
    taken: BTreeSet<RecordId>,
    bytes: usize,
}

/// Gathers what was asked for.
pub fn gather(node: &Node, options: &Options, progress: OnProgress<'_>) -> Result<Gathered, Fault> {
    let mut all = Gathered { orgs: BTreeSet::from([node.keys.org]), ..Gathered::default() };
    let total = Some(options.records.len() as u64);
    let chooser = Chooser { node, options, slots: slots(options)? };
    for (done, given) in (0u64..).zip(&options.records) {
        progress(Progress { done, total });
        let (id, found) = show::resolve_any(node, given)?;
        if all.taken.contains(&id) {
            continue;
        }
        chooser.add(&mut all, id, &found)?;
        if !chooser.brings_files() {
            continue;
        }
        for linked in chooser.attachments(id, &found)? {
            let Some(found) = view::find(node, linked)?.filter(|_| !all.taken.contains(&linked)) else { continue };
            // A photograph that may not go does not keep back what it shows.
            if let Err(fault) = chooser.add(&mut all, linked, &found) {
                all.left_out.push(json!({ "id": linked.to_string(), "why": fault.message }));
            }
        }
    }
    if all.records.is_empty() {
        return Err(Fault::input("no-records", "a package has at least one record: name it by id or evidence number"));
    }
    Ok(all)
}

/// Names of fields by kind; a name that no kind has is a slip.
fn slots(options: &Options) -> Result<BTreeMap<Kind, SlotSet>, Fault> {
    let Show::Fields(fields) = &options.show else { return Ok(BTreeMap::new()) };
    let mut by_kind: BTreeMap<Kind, SlotSet> = BTreeMap::new();
    for field in fields {
        let mut known = false;
        for kind in Kind::ALL {
            let Some(slot) = kind.slot(field) else { continue };
            known = true;
            let set = by_kind.entry(kind).or_default();
            *set = set.with(slot.number);
        }
        if !known {
            let what = format!("no kind of record has a field `{}`: see `entente kinds`", field.escape_debug());
            return Err(Fault::input("no-field", what));
        }
    }
    Ok(by_kind)
}

struct Chooser<'a> {
    node: &'a Node,
    options: &'a Options,
    slots: BTreeMap<Kind, SlotSet>,
}

/// The run that brought a record, its place in the list of runs, and the record's place in it.
type Brought = (SentRun, (FeedId, u64), Carried);

/// A record on its way into the package.
struct Ready {
    redacted: Redacted,
    head: SignatureBytes,
    position: u32,
    above: Vec<Hash>,
    standing: Standing,
    /// The newest, and the one that brought it first.
    runs: Vec<Brought>,
    /// Whether its file may go with it.
    file: bool,
}

/// A record's position in its batch, and the proof of it.
type Proved = (u32, Attestation);

/// What a run proves of a record alone.
fn proved(id: RecordId, kept: &RunInRow) -> Option<Proved> {
    kept.proofs.iter().find_map(|proof| {
        let (position, _) = proof.records.iter().find(|(_, record)| *record == id)?;
        let joint = [(proof.records.as_slice(), &proof.attestation)];
        Some((*position, Attestation::joined(&joint, &[*position])?))
    })
}

impl Chooser<'_> {
    fn add(&self, all: &mut Gathered, id: RecordId, found: &Found) -> Result<(), Fault> {
        if all.records.len() >= limits::PACKAGE_RECORDS_MAX {
            return Err(too_much("records", limits::PACKAGE_RECORDS_MAX));
        }
        let ready = match found {
            Found::Own(row) => self.own(id, row)?,
            Found::Received(agreement, row) => self.received(*agreement, id, row)?,
        };
        let shown = Verified::new(ready.redacted.clone()).map_err(Fault::store)?;
        let n = u32::try_from(all.records.len() + 1).unwrap_or(u32::MAX);
        let file = self.file(all, n, found, &shown, ready.file);
        let attested = entente_protocol::batch::Head::danger_unverified(&ready.head).map_err(Fault::store)?.time;
        all.orgs.insert(shown.header().originator);
        let batch = all.batch(ready.head);
        let mut carried = Vec::new();
        for (run, place, mut by) in ready.runs {
            if all.runs.len() >= limits::PACKAGE_RECORDS_MAX && !all.places.contains_key(&place) {
                break;
            }
            all.orgs.extend([run.feed.sender, run.feed.receiver]);
            by.run = all.run(run, place);
            carried.push(by);
        }
        carried.sort_by_key(|by| (by.run, by.index));
        let position = u16::try_from(ready.position).map_err(Fault::store)?;
        let part = Part::new(ready.redacted, (batch, position, ready.above), ready.standing, carried);
        all.bytes += shown.slots().iter().map(|slot| slot.opening.value.len()).sum::<usize>() + 1_024;
        if all.bytes > GATHERED_BYTES_MAX {
            return Err(Fault::input("too-large", "the records say too much for one package: make several"));
        }
        all.taken.insert(id);
        all.records.push(Chosen { id, part, shown, file, attested });
        Ok(())
    }

    /// Whether photographs go with what they show: not where their content was not asked for.
    fn brings_files(&self) -> bool {
        let wanted = match &self.options.show {
            Show::Fields(fields) => fields.iter().any(|field| field == "content"),
            Show::All | Show::As(_) => true,
        };
        wanted && !self.options.without_files
    }

    /// The records of a record's photographs and other files.
    fn attachments(&self, id: RecordId, found: &Found) -> Result<Vec<RecordId>, Fault> {
        let (links, _) = links::links(self.node, id, found)?;
        let is_file = |link: &&Json| {
            let by = link.get("referred_by").and_then(Json::as_array);
            link.get("kind").and_then(Json::as_str) == Some(Kind::Attachment.name())
                && by.is_some_and(|by| by.iter().any(|field| field.as_str() == Some("of")))
        };
        let id_of = |link: &Json| link.get("id").and_then(Json::as_str)?.parse::<RecordId>().ok();
        Ok(links.iter().filter(is_file).filter_map(id_of).collect())
    }

    fn own(&self, id: RecordId, row: &OwnRow) -> Result<Ready, Fault> {
        let node = self.node;
        let gate = gate::state(node, id)?;
        if !gate.released {
            let what = format!(
                "record {} was not released: nothing leaves before people let it go; see `entente release`",
                id.short()
            );
            return Err(Fault::input("not-released", what));
        }
        let (redacted, file) = match &self.options.show {
            Show::As(partner) => self.as_partner(id, partner)?,
            _ => {
                let record = row.record().map_err(Fault::store)?;
                (Redacted::danger_by_people(&record, self.wanted(record.header().kind)), true)
            }
        };
        let state = match (gate.recalled, gate.review) {
            (Some(_), _) => State::Recalled,
            (None, Review::Refuted) => State::Refuted,
            _ if gate::is_superseded(node, id)? => State::Amended,
            _ => State::Stands,
        };
        let standing = Standing { at: node.clock.now(), state };
        let batch = keep::batch(node, row.batch)?;
        let (head, above) = (batch.head().clone(), batch.prove(&[row.position]).nodes);
        Ok(Ready { redacted, head, position: row.position, above, standing, runs: Vec::new(), file })
    }

    /// What a partner would be given of a record of ours, and whether its file too.
    fn as_partner(&self, id: RecordId, partner: &str) -> Result<(Redacted, bool), Fault> {
        let node = self.node;
        let org = node.book().find(partner)?.0;
        let rules = node.rules();
        let asked = Asked::load(node, id).map_err(Fault::store)?;
        for (agreement, _, _) in feeds::agreements_with(node, org) {
            let feed = feeds::outgoing(node, org, agreement);
            let referable = asked.referable(node, feed.id(), u64::MAX).map_err(Fault::store)?;
            let decided = asked.ask(node, &feed, referable, |question| rules.policy.decide(question));
            let Ok(clearance) = decided else { continue };
            if asked.hidden(node, &rules.policy, &feed).map_err(Fault::store)? {
                continue;
            }
            let seed = asked.row.seed().map_err(Fault::store)?;
            let redacted = Redacted::of_stored(&asked.body, &asked.row.values, &seed, &clearance);
            let redacted = redacted.map_err(Fault::store)?.ok_or_else(|| Fault::store(OwnRow::damage()))?;
            return Ok((redacted, clearance.terms().file));
        }
        let what = format!(
            "nothing of record {} would go to `{partner}`: `entente explain {} --to {partner}` says why",
            id.short(),
            id.short()
        );
        Err(Fault::input("withheld", what))
    }

    fn wanted(&self, kind: Kind) -> SlotSet {
        match self.options.show {
            Show::Fields(_) => self.slots.get(&kind).copied().unwrap_or_default(),
            _ => SlotSet::from_bits(u64::MAX),
        }
    }

    fn received(&self, agreement: AgreementId, id: RecordId, row: &ReceivedRow) -> Result<Ready, Fault> {
        let node = self.node;
        if let Show::As(_) = self.options.show {
            let what = format!("record {} is another's: `--as` is for what this organisation recorded", id.short());
            return Err(Fault::input("not-ours", what));
        }
        let verified = row.verified().map_err(Fault::store)?;
        if verified.slots().is_empty() {
            let what = format!("what record {} said was deleted here: there is nothing to show", id.short());
            return Err(Fault::input("erased", what));
        }
        let kept = show::run_of(node, agreement, row)?;
        let kept = kept.ok_or_else(|| Fault::store("the run that brought a record is missing"))?;
        let first = match row.as_first() {
            Some(first) => show::run_of(node, agreement, &first)?.map(|kept| (first, kept)),
            None => None,
        };
        let counts = |proof: &Proved, at| {
            let key = proof.1.key().ok()?;
            node.book().others_key(verified.header().originator, Purpose::Records, key, at)
        };
        // What the run that brought it first proved, it proves still (CARD-11).
        let newest = proved(id, &kept).filter(|proof| counts(proof, row.at).is_some());
        let earlier =
            || first.as_ref().and_then(|(first, kept)| proved(id, kept).filter(|p| counts(p, first.at).is_some()));
        let proof = newest.or_else(earlier).or_else(|| proved(id, &kept));
        let (position, Attestation { head, nodes: above }) =
            proof.ok_or_else(|| Fault::store("what attests a received record is missing"))?;
        let standing = self.standing(agreement, id)?;
        let redacted = verified.showing(self.wanted(verified.header().kind));
        let mut runs: Vec<Brought> = self.carried(agreement, row, &kept)?.into_iter().collect();
        if let Some((first, kept)) = &first {
            runs.extend(self.carried(agreement, first, kept)?);
        }
        Ok(Ready { redacted, head, position, above, standing, runs, file: true })
    }

    fn standing(&self, agreement: AgreementId, id: RecordId) -> Result<Standing, Fault> {
        let node = self.node;
        Ok(match receive::withdrawn(node, agreement, id)? {
            None => Standing { at: node.clock.now(), state: State::Stands },
            Some(gone) => {
                let state = match gone.by {
                    None => State::Withdrawn,
                    Some(TakenBack::Recalled(_)) => State::Recalled,
                    Some(TakenBack::Expired) => State::Expired,
                };
                Standing { at: gone.at, state }
            }
        })
    }

    /// The run that brought it, with its countersignature. None where not enough of it was kept.
    fn carried(&self, agreement: AgreementId, row: &ReceivedRow, kept: &RunInRow) -> Result<Option<Brought>, Fault> {
        let Some(giver) = row.giver() else { return Ok(None) };
        let feeds = retention::feeds_of(self.node, giver, agreement)?;
        let Some(feed) = feeds.into_iter().find(|feed| feed.id() == row.feed) else { return Ok(None) };
        let Some((_, entry, index, nodes)) = evidence::entry_in_run(row, kept) else { return Ok(None) };
        let sent = SentRun::new(feed, kept.run.clone(), kept.receipt.clone());
        let carried = Carried { run: 0, entry: ByteBuf::from(entry), index, nodes };
        Ok(Some((sent, (row.feed, row.run), carried)))
    }

    /// The file that goes with a record, where it has one, shows it, and it is here.
    fn file(&self, all: &mut Gathered, n: u32, found: &Found, shown: &Verified, may_go: bool) -> Option<File> {
        let kind = shown.header().kind;
        let value = |name| kind.slot(name).and_then(|slot| shown.value(slot.number));
        if kind != Kind::Attachment || value("content").is_none() || self.options.without_files || !may_go {
            return None;
        }
        match files::manifest(self.node, found) {
            Ok((partition, row)) => {
                let name = parts::file_name(n, value("media").and_then(Value::as_text));
                Some(File { name, partition, row })
            }
            Err(fault) => {
                all.left_out.push(json!({ "id": shown.id().to_string(), "why": fault.message }));
                None
            }
        }
    }
}

impl Gathered {
    /// The number of a batch's head.
    fn batch(&mut self, head: SignatureBytes) -> u32 {
        let next = u32::try_from(self.batches.len() + 1).unwrap_or(u32::MAX);
        let n = *self.heads.entry(head.0.clone()).or_insert(next);
        if n == next {
            self.batches.push(head);
        }
        n
    }

    /// The number of a run.
    fn run(&mut self, run: SentRun, place: (FeedId, u64)) -> u32 {
        let next = u32::try_from(self.runs.len() + 1).unwrap_or(u32::MAX);
        let n = *self.places.entry(place).or_insert(next);
        if n == next {
            self.runs.push(run);
        }
        n
    }

    /// What whoever makes the package must know before giving it away.
    pub fn cautions(&self, node: &Node) -> Vec<Json> {
        let mut whose: BTreeMap<OrgId, (u64, bool, Option<Tlp>)> = BTreeMap::new();
        for record in &self.records {
            let header = record.shown.header();
            if header.originator != node.keys.org {
                let (count, orcon, tlp) = whose.entry(header.originator).or_default();
                *count += 1;
                *orcon |= header.floor.orcon;
                // The strictest label stands first.
                *tlp = [*tlp, header.floor.tlp].into_iter().flatten().min();
            }
        }
        let row = |(org, (count, orcon, tlp)): (&OrgId, &(u64, bool, Option<Tlp>))| {
            let originator = node.handle_of(*org);
            json!({ "id": originator, "records": count, "orcon": orcon, "tlp": tlp.map(Tlp::name) })
        };
        whose.iter().map(row).collect()
    }
}
