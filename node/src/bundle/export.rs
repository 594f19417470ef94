//! Export: what a session would say, then the runs that have not gone, then the files that they released.
//!
//! The commit point is the name of the file: before it nothing has gone. How far each feed is gets noted after it, so a
//! crash between the two exports the same once more, which changes nothing at the partner. Runs are signed on the way, as
//! they are for a session that breaks off: they are served again.

use super::{
    COUNT, ExportOptions, FeedOut, OutRow, file,
    file::{Writer, part_len},
    key, mark, out_row, write,
};
use crate::{
    call::{OnProgress, Progress},
    clock::say,
    error::Fault,
    exchange::{self, bundles},
    node::Node,
    partners::PartnerState,
    seal::{hybrid::Recipient, keyring::Partition},
    secret,
    share::{
        decide::Asked,
        feeds::{self, OutRow as FeedRow},
        files::{self, FileRow, Given},
    },
};
use entente_protocol::{
    bundle::{FileHead, Header, Part},
    feed::FeedKey,
    id::{AgreementDigest, AgreementId, Nonce, OrgId, RecordId},
    limits,
    record::SlotSet,
    session::Message,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{
    io::Read,
    sync::{Mutex, PoisonError},
};

/// One export at a time: each has a number, and goes on where the one before ended.
static EXPORTING: Mutex<()> = Mutex::new(());
/// Turns in which rules change under what was decided by them.
const TURNS: usize = 8;
/// Digits of a digest that people read to each other.
const DIGITS: usize = 16;
const ZERO: AgreementDigest = AgreementDigest::from_bytes([0; 32]);

/// How many bundles this store knows of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountRow {
    count: u64,
    /// Where an older copy of the store was put back: partners whose people said since what they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<Vec<OrgId>>,
}

/// What goes of one feed.
struct Going {
    feed: FeedKey,
    from: u64,
    to: u64,
    files: u64,
    /// Entries before that whose files were too large so far.
    left: Vec<u64>,
    /// Whether more is to go.
    more: bool,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    /// It is in the bundle, or there is none to give.
    Done,
    /// It goes with the next one.
    Waits,
    /// No bundle of this size takes it.
    TooLarge,
}

/// Makes a bundle.
pub fn export(node: &Node, options: &ExportOptions, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let _one = EXPORTING.lock().unwrap_or_else(PoisonError::into_inner);
    let rules = node.rules();
    let (org, partner) = rules.book.find(&options.to)?;
    let handle = node.handle_of(org);
    if partner.state == PartnerState::Removed {
        return Err(Fault::partner("removed", format!("`{handle}` was removed: no bundle is made for it")));
    }
    if let Some(trouble) = say::trouble(node) {
        return Err(Fault::setup("clock", trouble));
    }
    if !options.force && options.output.symlink_metadata().is_ok() {
        return Err(crate::unfinished::exists(&options.output));
    }
    let recipient: Recipient = partner.card.payload().age.parse().map_err(|e| {
        Fault::partner("card", format!("the card of `{handle}` names nothing that a bundle can be sealed to: {e}"))
    })?;
    let before = out_row(node, org)?;
    let (count, held) = after_restore(node, org, options)?;
    let (mut going, left) = plan(node, org, options, (&before, &held))?;
    let header = Header {
        v: 1,
        to: org,
        from: node.keys.org,
        time: node.clock.now(),
        nonce: Nonce::from_bytes(secret::random().map_err(Fault::store)?),
        store: node.holdings.store_id(),
        number: before.number + 1,
        one_way: options.one_way,
    };
    let card = node.keys.card.bytes();
    let mut bundle = Writer::create(&options.output, &recipient, &header, (card, &node.keys.runs))?;
    // One way nothing is answered.
    let row = super::in_row(node, org)?.filter(|_| !options.one_way);
    let (answers, heard) = row.map(|row| (row.answers, row.heard)).unwrap_or_default();
    bundles::say_all(node, org, (&answers, &heard), &mut |message| say(&mut bundle, message))?;
    let mut out =
        Out { node, options, bundle, runs: 0, entries: 0, files: 0, full: false, too_large: Vec::new(), progress };
    for feed in &mut going {
        out.runs(feed)?;
    }
    if !options.without_files {
        for feed in &mut going {
            out.files(feed)?;
        }
    }
    let Out { bundle, runs, entries, files, full, too_large, .. } = out;
    let id = bundle.id();
    let bytes = bundle.publish(options.force)?;
    let mut row = OutRow { at: header.time, number: header.number, ..before };
    for feed in &going {
        row.put(FeedOut { feed: feed.feed.id(), left: feed.left.clone(), files: feed.files, entries: feed.to });
    }
    let about = [
        ("partner", org.to_string()),
        ("bundle", id.to_string()),
        ("number", header.number.to_string()),
        ("one-way", header.one_way.to_string()),
        ("runs", runs.to_string()),
        ("files", files.to_string()),
    ];
    let count = CountRow { count: count.count + 1, ..count };
    let mut txn = node.holdings.begin();
    write(&mut txn, &key(b"bundles out", org), &row)?;
    write(&mut txn, COUNT, &count)?;
    node.journal(&mut txn, "bundle-exported", &about)?;
    txn.commit()?;
    mark::write(&node.home, count.count)?;
    let feeds: Vec<Json> = going
        .iter()
        .map(|going| {
            json!({ "id": going.feed.agreement.to_string(), "from": going.from, "to": going.to, "more": going.more })
        })
        .collect();
    Ok(json!({
        "id": org.to_string(),
        "partner": handle,
        "file": options.output.display().to_string(),
        "number": header.number,
        "bytes": bytes,
        "one_way": header.one_way,
        "runs": runs,
        "entries": entries,
        "files": files,
        "without_files": options.without_files,
        "more": full,
        "feeds": feeds,
        "left_out": left,
        "too_large": too_large,
    }))
}

fn say(bundle: &mut Writer<'_>, message: &Message) -> Result<(), Fault> {
    let bytes = message.to_bytes().map_err(Fault::store)?;
    bundle.part(&Part::Message(message.lane(), bytes))
}

/// Which feeds go, from where on, and which do not, with the reason.
fn plan(
    node: &Node,
    org: OrgId,
    options: &ExportOptions,
    (before, held): (&OutRow, &[(AgreementId, u64)]),
) -> Result<(Vec<Going>, Vec<Json>), Fault> {
    let (rules, now) = (node.rules(), node.interval());
    let (mut going, mut left, mut leased) = (Vec::new(), Vec::new(), 0);
    for (agreement, version, _) in feeds::every_agreement_with(node, org) {
        let lease = rules.agreements.get(agreement).and_then(|held| held.in_force.as_ref()?.agreement.lease_hours);
        let feed = feeds::outgoing(node, org, agreement);
        let why = match (lease, rules.policy.passes(org, agreement, now), feeds::stopped(node, &feed)?) {
            (Some(_), _, _) if options.one_way => {
                leased += 1;
                Some((
                    "lease",
                    "it names a lease, which only a partner that answers can renew: it is not given one way".to_owned(),
                ))
            }
            (_, Err(reason), _) => Some((reason.code(), reason.sentence().to_owned())),
            (_, _, Some(stopped)) => Some(("stopped", stopped.why(&feed, node.keys.org).to_owned())),
            _ => None,
        };
        if let Some((code, why)) = why {
            left.push(json!({ "id": agreement.to_string(), "code": code, "why": why }));
            continue;
        }
        let row = feeds::out_row(node, &feed, version)?;
        let acknowledged = row.countersigned.map_or(0, |held| held.length);
        let gone = before.feed(feed.id());
        let said = held.iter().find(|(of, _)| *of == agreement).map(|(_, entries)| *entries);
        let from = match (said, gone) {
            (Some(entries), _) => entries,
            (None, Some(gone)) if !options.again => acknowledged.max(gone.entries),
            _ => acknowledged,
        };
        let files = match gone {
            _ if options.again || said.is_some() => 0,
            Some(gone) => gone.files,
            // What went over the network before brought its files there.
            None => acknowledged,
        };
        let from = from.min(row.length);
        // From the beginning on they come by themselves.
        let left = gone.filter(|_| files > 0).map(|gone| gone.left.clone()).unwrap_or_default();
        going.push(Going { feed, from, to: from, files: files.min(row.length), left, more: false });
    }
    if going.is_empty() && leased > 0 && leased == left.len() {
        let message = "every agreement with this partner names a lease, which only a partner that answers can renew: nothing \
                       of it is given one way. Leave out --one-way, or agree on a version without a lease";
        return Err(Fault::input("lease", message));
    }
    Ok((going, left))
}

/// A bundle that is being filled.
struct Out<'a, 'p> {
    node: &'a Node,
    options: &'a ExportOptions,
    bundle: Writer<'a>,
    runs: u64,
    entries: u64,
    files: u64,
    /// Whether something is left for the next one.
    full: bool,
    too_large: Vec<Json>,
    progress: OnProgress<'p>,
}

impl Out<'_, '_> {
    fn fits(&self, bytes: u64) -> bool {
        self.options.max_bytes.is_none_or(|max| self.bundle.len_with(bytes) <= max)
    }

    fn told(&mut self) {
        (self.progress)(Progress { done: self.entries + self.files, total: None });
    }

    /// Whole runs, until there is no more or no room.
    fn runs(&mut self, going: &mut Going) -> Result<(), Fault> {
        let mut turns = 0;
        // Each turn sends a run, looks further, or counts.
        loop {
            let Some(step) = exchange::next_run(self.node, &going.feed, going.to)? else {
                turns += 1;
                if turns >= TURNS {
                    (going.more, self.full) = (true, true);
                    return Ok(());
                }
                continue;
            };
            let Some(run) = step.run else {
                if step.more {
                    continue;
                }
                return Ok(());
            };
            let message = Message::Run(Box::new(run.message));
            let bytes = message.to_bytes().map_err(Fault::store)?;
            let len = part_len(bytes.len() as u64);
            if !self.fits(len) {
                if self.runs == 0 {
                    let needed = self.bundle.len_with(len);
                    let message =
                        format!("the next run alone needs a bundle of {needed} bytes: give more with --max-size");
                    return Err(Fault::input("max-size", message));
                }
                (going.more, self.full) = (true, true);
                return Ok(());
            }
            self.bundle.part(&Part::Message(message.lane(), bytes))?;
            self.runs += 1;
            self.entries += run.end.saturating_sub(going.to);
            going.to = run.end;
            self.told();
        }
    }

    /// Whole files of what has gone, in the order of their entries.
    fn files(&mut self, going: &mut Going) -> Result<(), Fault> {
        let row: FeedRow = feeds::out_row(self.node, &going.feed, ZERO)?;
        for number in std::mem::take(&mut going.left) {
            let went = self.file(&going.feed, number)?;
            if went != Went::Done {
                going.left.push(number);
            }
            if went == Went::Waits {
                (going.more, self.full) = (true, true);
            }
        }
        while going.files < going.to {
            let Some((_, run)) = feeds::run_at(self.node, &going.feed, &row, going.files)? else { break };
            let gone = going.files;
            for (number, entry) in (run.first..).zip(&run.entries).skip_while(|(number, _)| *number < gone) {
                let carries = SlotSet::from_bits(entry.slots).contains(files::content_slot());
                let went = match carries && entry.record.is_some() {
                    true => self.file(&going.feed, number)?,
                    false => Went::Done,
                };
                if went == Went::Waits {
                    (going.more, self.full) = (true, true);
                    return Ok(());
                }
                if went == Went::TooLarge {
                    going.left.push(number);
                }
                going.files = number + 1;
            }
        }
        Ok(())
    }

    /// One file, if it is given.
    fn file(&mut self, feed: &FeedKey, number: u64) -> Result<Went, Fault> {
        let Given::File(record, partition, row) = files::given(self.node, feed, number, files::content_slot())? else {
            return Ok(Went::Done);
        };
        let head = FileHead { feed: feed.id(), size: row.size, chunks: row.chunks.clone(), record };
        let (chunks, chunk) = (row.chunks.len() as u64, u64::from(limits::CHUNK_BYTES));
        let (whole, last) = (chunks.saturating_sub(1), row.size.saturating_sub(chunks.saturating_sub(1) * chunk));
        let needs = part_len(chunks * 40 + 200) + whole * part_len(chunk) + part_len(last);
        let alone = file::sealed_len(needs + part_len(limits::CARD_BYTES_MAX as u64));
        if self.options.max_bytes.is_some_and(|max| alone > max) {
            let own = Asked::load(self.node, record).ok().and_then(|asked| asked.value(0));
            let called = own.as_ref().and_then(|value| value.as_text());
            self.too_large
                .push(json!({ "id": record.to_string(), "number": called, "bytes": row.size, "needs": alone }));
            return Ok(Went::TooLarge);
        }
        if !self.fits(needs) {
            return Ok(Went::Waits);
        }
        if self.give(feed, record, (&row, partition), head)? {
            self.files += 1;
            self.told();
        }
        Ok(Went::Done)
    }

    /// Writes a file's chunks. What cannot be read is noted, and left out as far as nothing of it was written.
    fn give(
        &mut self,
        feed: &FeedKey,
        record: RecordId,
        (row, partition): (&FileRow, Partition),
        head: FileHead,
    ) -> Result<bool, Fault> {
        if self.node.is_damaged(row.sha256) {
            return Ok(false);
        }
        let damaged = |error: &dyn std::fmt::Display| {
            self.node.note_damaged(row.sha256);
            let message =
                format!("the file of record {record} cannot be read: {error}; see `entente check`, or --without-files");
            Fault::store(message)
        };
        let mut content = files::open_at(self.node, partition, row, 0).map_err(|e| damaged(&e))?;
        let mut chunk = Vec::new();
        let count = head.chunks.len();
        self.bundle.part(&Part::File(head))?;
        for _ in 0..count {
            chunk.clear();
            content.by_ref().take(u64::from(limits::CHUNK_BYTES)).read_to_end(&mut chunk).map_err(|e| damaged(&e))?;
            self.bundle.part(&Part::Chunk(chunk.clone()))?;
        }
        files::note_given(self.node, feed, record, 0)?;
        Ok(true)
    }
}

/// Where an older copy of the store was put back: what the partner's people say that it holds, or a fault that asks for it.
fn after_restore(
    node: &Node,
    org: OrgId,
    options: &ExportOptions,
) -> Result<(CountRow, Vec<(AgreementId, u64)>), Fault> {
    let mut row: CountRow = super::read(node, COUNT)?.unwrap_or_default();
    let marked = mark::read(&node.home)?;
    if marked.is_none_or(|marked| row.count < marked) {
        row = CountRow { count: row.count.max(marked.unwrap_or_default()), restored: Some(Vec::new()) };
    }
    let Some(said) = &mut row.restored else { return Ok((row, Vec::new())) };
    if said.contains(&org) {
        return Ok((row, Vec::new()));
    }
    let handle = node.handle_of(org);
    let mut held = Vec::new();
    for (agreement, version, _) in feeds::every_agreement_with(node, org) {
        let named = |given: &&String| {
            given.split(':').next().is_some_and(|id| id.len() >= 8 && agreement.to_string().starts_with(id))
        };
        let Some(given) = options.held.iter().find(named) else {
            let message = format!(
                "this store was put back from an older copy, or the home was moved: bundles may have gone to `{handle}` that it \
                 does not know of, and what is signed over them would stop the feed there for good. Ask its people for the \
                 line of agreement {agreement} in `entente bundle show`, and give it with --held LINE"
            );
            return Err(Fault::setup("restored", message));
        };
        let feed = feeds::outgoing(node, org, agreement);
        let row = feeds::out_row(node, &feed, version)?;
        let mut parts = given.split(':').skip(1);
        let entries = parts.next().and_then(|entries| entries.parse::<u64>().ok());
        let (Some(entries), digest) = (entries, parts.next().unwrap_or_default()) else {
            return Err(Fault::input("held", format!("`{given}` is no line of `entente bundle show`")));
        };
        let known = feeds::digest_at(node, &feed, &row, entries)?.map(|digest| hex::encode(digest.as_bytes()));
        let same =
            known.is_some_and(|known| known.get(..DIGITS) == Some(digest) || (entries == 0 && digest.is_empty()));
        if entries > row.length || !same {
            let message = format!(
                "`{handle}` holds {entries} entries under agreement {agreement} that this store does not know, or others: \
                 nothing more can be sent under it. Put a newer copy back, or end it and make a new one; see OPERATING.md, \
                 `Back up`"
            );
            return Err(Fault::setup("behind", message));
        }
        held.push((agreement, entries));
    }
    said.push(org);
    Ok((row, held))
}

/// How far bundles from and to a partner are, and what is held of its feeds: the lines that its people may ask for.
pub fn show(node: &Node, given: &str) -> Result<Json, Fault> {
    let book = node.book();
    let (org, _) = book.find(given)?;
    let (made, taken) = (out_row(node, org)?, super::in_row(node, org)?);
    let mut all = Vec::new();
    for (agreement, version, _) in feeds::every_agreement_with(node, org) {
        let feed = feeds::outgoing(node, org, agreement);
        let row = feeds::out_row(node, &feed, version)?;
        let held = match feeds::known_store(node, org, agreement)? {
            Some(store) => Some(feeds::in_row(node, &feeds::incoming(node, org, store, agreement))?),
            None => None,
        };
        let line = held.as_ref().map_or_else(
            || format!("{agreement}:0"),
            |held| {
                let digest = hex::encode(held.digest.as_bytes());
                format!("{agreement}:{}:{}", held.length, digest.get(..DIGITS).unwrap_or_default())
            },
        );
        all.push(json!({
            "id": agreement.to_string(),
            "sent": row.length,
            "in_bundles": made.feed(feed.id()).map_or(0, |gone| gone.entries),
            "acknowledged": row.countersigned.map_or(0, |held| held.length),
            "received": held.map_or(0, |held| held.length),
            "held": line,
        }));
    }
    Ok(json!({
        "id": org.to_string(),
        "partner": node.handle_of(org),
        "made": made.number,
        "taken": taken.map_or(0, |row| row.number),
        "feeds": all,
    }))
}
