//! Import: the whole bundle is verified first, then read once more and taken, part by part, as what comes over the wire.
//!
//! What is signed and in its place is taken by the functions that take it from a session, one append for each run. A run
//! that cannot be taken now (its feed has a gap before it, nothing may pass under its agreement) is left, and everything
//! else is taken: the bundle stays with its people, who import it again. Nothing is answered from here.

use super::{
    InRow, export,
    file::{ReadFault, Reader, verified},
    in_row, key, of_exchange, write,
};
use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    exchange::bundles::Taking,
    node::Node,
    partners::{Partner, PartnerState},
    recall::{ending, holders},
    receive::{self, Came, ReceiveError},
    records, regular, room,
    share::{
        feeds,
        fetching::{self, Incoming},
    },
};
use entente_protocol::{
    attachment::ChunkList,
    bundle::{FileHead, Header, Opened, Opening, Part},
    error::PeerFault,
    feed::{FeedKey, Run, RunMessage},
    id::{AgreementDigest, AgreementId, FeedId, KeyId, OrgId},
    identity::{Card, Purpose, UnconfirmedCard},
    limits,
    primitive::PublicKey,
    session::{Lane, Message},
    time::{HOUR_MS, UnixMillis},
};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fs::File,
    path::Path,
    sync::{Mutex, PoisonError},
};

const ZERO: AgreementDigest = AgreementDigest::from_bytes([0; 32]);
/// One import at a time: what it did is counted by what is held before and after it.
static IMPORTING: Mutex<()> = Mutex::new(());

/// Why the runs of a feed are not taken further from this bundle.
enum Left {
    /// Entries before them are not here.
    Gap {
        /// What is held.
        held: u64,
        /// Where the first of them begins.
        first: u64,
    },
    /// Something else, with its code.
    Why(&'static str, String),
}

/// What one import did.
#[derive(Default)]
struct Done {
    runs: u64,
    held: u64,
    entries: u64,
    records: u64,
    refused: u64,
    files: u64,
    files_refused: u64,
    /// Files of records that are not here, where a bundle before this one was not taken.
    files_early: u64,
    left: BTreeMap<FeedId, (Option<AgreementId>, Left)>,
}

/// Takes a bundle.
pub fn import(node: &Node, path: &Path, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let _one = IMPORTING.lock().unwrap_or_else(PoisonError::into_inner);
    let named = |fault: Fault| Fault { message: format!("`{}`: {}", path.display(), fault.message), ..fault };
    let file = regular::open(path).map_err(|e| named(Fault::input("file", format!("it cannot be read: {e}"))))?;
    let size = file.metadata().map_or(0, |about| about.len());
    // Twice, because nothing is taken of a bundle that does not hold to its end; and verified twice, because a stick may
    // give something else the second time.
    let mut told = |done: u64| progress(Progress { done: done.min(size * 2), total: Some(size * 2) });
    let kept = |fault: Fault, what: &str| named(Fault { message: format!("{}; {what}", fault.message), ..fault });
    let (opening, header) = whole(node, &file, &mut told).map_err(|fault| kept(fault, "nothing of it was kept"))?;
    // What was taken before stays: each part was proved, and the same bundle is taken again later.
    let taken = taken(node, &file, &opening, &header, &mut |done| told(size + done));
    taken.map_err(|fault| kept(fault, "what of it was read before is kept: import it again"))
}

/// Reads a bundle to its end, and keeps nothing.
fn whole(node: &Node, file: &File, told: &mut dyn FnMut(u64)) -> Result<(Opening, Header), Fault> {
    let (mut reader, opening) = Reader::open(file, identity(node)?).map_err(unread)?;
    let (header, mut opened) = open(node, &opening)?;
    // Messages, then files, each with all of its chunks.
    let (mut files, mut due) = (false, 0);
    while !opened.has_ended() {
        match reader.part(&mut opened).map_err(unread)? {
            Part::Message(..) if !files => {}
            Part::File(head) if due == 0 && !head.chunks.is_empty() => (files, due) = (true, head.chunks.len()),
            Part::Chunk(_) if due > 0 => due -= 1,
            Part::End if due == 0 => {}
            _ => return Err(Fault::partner("bundle", "the bundle breaks the rules: its parts stand in no order")),
        }
        told(reader.taken());
    }
    Ok((opening, header))
}

fn identity(node: &Node) -> Result<&crate::seal::hybrid::Identity, Fault> {
    node.keys.bundles.as_ref().ok_or_else(|| Fault::setup("keys", "this home has no key that opens bundles"))
}

fn unread(fault: ReadFault) -> Fault {
    match fault {
        ReadFault::WrongKey => Fault::input("not-for-us", format!("{fault}: ask for one made for this organisation")),
        ReadFault::Damaged => Fault::input("damaged", format!("{fault}: copy it again from where it came")),
        ReadFault::Bundle(_) => Fault::partner("bundle", fault),
        ReadFault::Io(_) => Fault::input("file", fault),
    }
}

/// Whose bundle it is: proved by a key of the card that is known here, or of a newer one that it brings.
pub(super) fn open(node: &Node, opening: &Opening) -> Result<(Header, Opened), Fault> {
    let says = opening.danger_unverified().map_err(|fault| unread(fault.into()))?;
    let (own, now) = (node.keys.org, node.clock.now());
    if says.to != own {
        let message = format!("it is for the organisation {}, and this is {own}", says.to);
        return Err(Fault::input("not-for-us", message));
    }
    let book = node.book();
    let partner = book.get(says.from).filter(|partner| partner.state != PartnerState::Removed);
    let Some(Partner { card, .. }) = partner else {
        let message = match book.get(says.from) {
            Some(_) => format!("`{}` was removed: nothing is taken from it", node.handle_of(says.from)),
            None => format!("it says that it is from {}, which is no partner here: `entente partner add`", says.from),
        };
        return Err(Fault::partner("no-partner", message));
    };
    let newer = UnconfirmedCard::from_bytes(&opening.card).ok().and_then(|newer| Card::verify_update(card, newer).ok());
    let key = |card: &Card, kid: KeyId| -> Option<PublicKey> {
        let entry = card.listed(Purpose::Runs, kid)?;
        let counted = entry.compromised.is_none() && says.time <= now && entry.counts_at(says.time);
        (counted || entry.counts_at(now)).then(|| entry.key.clone())
    };
    // The newest card has the last word: it may say that a key is in other hands.
    let known = newer.as_ref().unwrap_or(card);
    let opened = verified(opening, (says.from, own), |kid| key(known, kid)).map_err(unread)?;
    if says.time.0 > now.0.saturating_add(limits::CLOCK_SKEW_MS_MAX) {
        let message = format!("it was made at {}, which has not come here: one of the two clocks is wrong", says.time);
        return Err(Fault::partner("clock", message));
    }
    Ok(opened)
}

/// Reads it again, and takes its parts.
fn taken(node: &Node, file: &File, first: &Opening, header: &Header, told: &mut dyn FnMut(u64)) -> Result<Json, Fault> {
    let (peer, before) = (header.from, Before::of(node, header.from)?);
    let known = in_row(node, peer)?.filter(|row| row.store == header.store);
    let (mut reader, opening) = Reader::open(file, identity(node)?).map_err(unread)?;
    let (again, mut opened) = open(node, &opening)?;
    if again != *header || opening.card != first.card {
        return Err(Fault::input("damaged", "it changes while it is read"));
    }
    let mut talk = Taking::open(node, header).map_err(of_exchange)?;
    let (mut done, mut feeds) = (Done::default(), None);
    let mut bringing = None;
    loop {
        match reader.part(&mut opened).map_err(unread)? {
            Part::End => break,
            Part::Message(Lane::Control, content) => {
                talk.message(node, &content).map_err(of_exchange)?;
                feeds = None;
            }
            Part::Message(Lane::Records, content) => {
                let message = Message::from_bytes(Lane::Records, &content);
                let Message::Run(message) = message.map_err(|fault| of_exchange(fault.into()))? else { continue };
                // Read anew after each message, for it may have brought an agreement.
                let feeds: &BTreeMap<FeedId, FeedKey> = feeds.get_or_insert_with(|| incoming(node, header));
                done.run(node, header, feeds, &message)?;
            }
            Part::File(head) => bringing = done.file(node, header, head)?,
            Part::Chunk(chunk) => bringing = done.chunk(node, bringing, &chunk)?,
        }
        told(reader.taken());
    }
    let (answers, heard) = talk.end(node).map_err(of_exchange)?;
    // What two records share came once: nothing waits for it any more.
    fetching::drop_fulfilled(node, peer)?;
    let last = known.as_ref().map_or(0, |row| row.number);
    if last + 1 >= header.number {
        done.files_early = 0;
    }
    let complete = done.left.is_empty() && done.files_early == 0;
    let row = InRow {
        at: node.clock.now(),
        store: header.store,
        number: last.max(if complete { header.number } else { 0 }),
        heard: if header.one_way { Vec::new() } else { heard },
        answers: if header.one_way { Vec::new() } else { answers },
    };
    let news = Before::of(node, peer)? != before || done.files > 0;
    let mut txn = node.holdings.begin();
    write(&mut txn, &key(b"bundles in", peer), &row)?;
    let about = [
        ("partner", peer.to_string()),
        ("number", header.number.to_string()),
        ("made", header.time.to_string()),
        ("one-way", header.one_way.to_string()),
        ("runs", done.runs.to_string()),
        ("records", done.records.to_string()),
        ("left", done.left.len().to_string()),
    ];
    node.journal(&mut txn, "bundle-imported", &about)?;
    txn.commit()?;
    if news {
        node.note_success(peer);
        node.wake();
    }
    view(node, header, (&done, news, last), &before)
}

/// The feeds from the store that the bundle was made of.
fn incoming(node: &Node, header: &Header) -> BTreeMap<FeedId, FeedKey> {
    feeds::every_agreement_with(node, header.from)
        .into_iter()
        .map(|(agreement, _, _)| feeds::incoming(node, header.from, header.store, agreement))
        .map(|feed| (feed.id(), feed))
        .collect()
}

/// A file whose chunks come.
struct Bringing<'n> {
    file: Incoming<&'n Node>,
    list: ChunkList,
    next: u32,
}

impl Done {
    /// Takes a run, or says why its feed is left.
    fn run(
        &mut self,
        node: &Node,
        header: &Header,
        feeds: &BTreeMap<FeedId, FeedKey>,
        message: &RunMessage,
    ) -> Result<(), Fault> {
        let run = Run::danger_unverified(&message.run).map_err(|e| Fault::partner("bundle", e))?;
        if self.left.contains_key(&run.feed) {
            return Ok(());
        }
        if self.left.len() >= limits::FEEDS_PER_PARTNER_MAX {
            let max = limits::FEEDS_PER_PARTNER_MAX;
            return Err(of_exchange(PeerFault::TooMany { what: "feeds", max }.into()));
        }
        let Some(feed) = feeds.get(&run.feed) else {
            let why = "no agreement in force here has it: when people of ours have signed, import the bundle again";
            self.left.insert(run.feed, (None, Left::Why("no-agreement", why.to_owned())));
            return Ok(());
        };
        if let Some(left) = self.judge(node, header, feed, message, &run)? {
            self.left.insert(run.feed, (Some(feed.agreement), left));
        }
        Ok(())
    }

    fn judge(
        &mut self,
        node: &Node,
        header: &Header,
        feed: &FeedKey,
        message: &RunMessage,
        run: &Run,
    ) -> Result<Option<Left>, Fault> {
        if let Some(left) = leased(node, header, feed.agreement) {
            return Ok(Some(left));
        }
        let (held, first) = (feeds::in_row(node, feed)?.length, run.before.length);
        if first > held {
            return Ok(Some(Left::Gap { held, first }));
        }
        let rules = node.rules();
        let taken = match receive::run_of(node, feed, message, Came { said: header.time, by_hand: true }) {
            Ok(taken) => taken,
            Err(ReceiveError::Run(fault)) => {
                node.note_error(feed.sender, format!("a run of its bundle is refused: {fault}"));
                return Ok(Some(Left::Why("refused", fault.to_string())));
            }
            Err(ReceiveError::Quarantined) => {
                let why = "a run that does not hold came again: `entente status` names it";
                return Ok(Some(Left::Why("quarantined", why.to_owned())));
            }
            Err(fault @ ReceiveError::Fork) => return Ok(Some(Left::Why("fork", fault.to_string()))),
            Err(ReceiveError::Share(error)) if error.is_erased() => {
                return Ok(Some(Left::Why("erased", "what came under it was erased here".to_owned())));
            }
            Err(ReceiveError::Share(error)) => return Err(error.into()),
        };
        if taken.waits {
            let passes = rules.policy.passes(feed.sender, feed.agreement, node.interval());
            let stopped = feeds::stopped(node, feed)?.map(|row| row.why(feed, node.keys.org).to_owned());
            let lacking = room::lacking(node, feed.sender, room::For::Evidence)?;
            let left = match (stopped, passes, lacking) {
                (Some(why), ..) => Left::Why("stopped", why),
                (None, Err(reason), _) => Left::Why(reason.code(), reason.sentence().to_owned()),
                (None, Ok(()), Some(why)) => Left::Why("room", format!("{why}; then import the bundle again")),
                (None, Ok(()), None) => {
                    let why = "it was made under another version of the agreement than is in force here";
                    Left::Why("not-now", why.to_owned())
                }
            };
            return Ok(Some(left));
        }
        if taken.held {
            self.held += 1;
            return Ok(None);
        }
        self.runs += 1;
        self.entries += run.count;
        self.records += taken.records;
        self.refused += taken.refused;
        Ok(None)
    }

    /// The file that follows, where it is wished for.
    fn file<'n>(&mut self, node: &'n Node, header: &Header, head: FileHead) -> Result<Option<Bringing<'n>>, Fault> {
        let Some(feed) = incoming(node, header).remove(&head.feed) else { return Ok(None) };
        let wanted = fetching::wanted_of(node, header.from, feed.agreement, head.record)?;
        self.files_early += u64::from(records::view::received(node, feed.agreement, head.record)?.is_none());
        let Some(wanted) = wanted.filter(|_| leased(node, header, feed.agreement).is_none()) else { return Ok(None) };
        match ChunkList::verify(wanted.content, head.chunks) {
            Ok(list) => Ok(Some(Bringing { file: Incoming::new(node, wanted), list, next: 0 })),
            Err(fault) => {
                node.note_error(header.from, format!("a file of its bundle is not what its record states: {fault}"));
                self.files_refused += 1;
                Ok(None)
            }
        }
    }

    /// Takes the next chunk of a file; after the last one the file is kept.
    fn chunk<'n>(
        &mut self,
        node: &Node,
        bringing: Option<Bringing<'n>>,
        chunk: &[u8],
    ) -> Result<Option<Bringing<'n>>, Fault> {
        let Some(mut bringing) = bringing else { return Ok(None) };
        let taken = bringing.list.verify_chunk(bringing.next, chunk).map_err(|e| e.to_string());
        let taken = taken.and_then(|()| bringing.file.chunk(bringing.next, chunk).map_err(|e| e.to_string()));
        if let Err(why) = taken {
            // Its record may have been taken back meanwhile, or the disk be full: it stays wished for, or not.
            tracing::warn!(why, "a file of a bundle was not kept");
            self.files_refused += 1;
            return if node.holdings.failed().is_some() { Err(Fault::store(why)) } else { Ok(None) };
        }
        bringing.next += 1;
        if bringing.next as usize >= bringing.list.chunks().len() {
            match bringing.file.finish(&bringing.list)? {
                true => self.files += 1,
                false => self.files_refused += 1,
            }
            return Ok(None);
        }
        Ok(Some(bringing))
    }
}

/// Why nothing is taken under an agreement with a lease: it is renewed by an answer, and a bundle is none.
fn leased(node: &Node, header: &Header, agreement: AgreementId) -> Option<Left> {
    let rules = node.rules();
    let hours = rules.agreements.get(agreement)?.in_force.as_ref()?.agreement.lease_hours?;
    if header.one_way {
        let why = "its agreement names a lease, and the bundle goes one way: nobody could renew it";
        return Some(Left::Why("lease", why.to_owned()));
    }
    let over = header.time.plus(u64::from(hours) * HOUR_MS) <= node.clock.now().max(node.marks.seen());
    let why = "the bundle is older than the lease of its agreement: ask for a new one";
    over.then(|| Left::Why("lease", why.to_owned()))
}

/// What is known of and from a partner: what an import changes.
#[derive(PartialEq, Eq)]
struct Before {
    agreements: Vec<(AgreementId, Option<AgreementDigest>, Option<AgreementDigest>, usize)>,
    received: u64,
    acknowledged: u64,
    open: u64,
    asked: usize,
    card: u64,
    erasures: Vec<Json>,
}

impl Before {
    fn of(node: &Node, peer: OrgId) -> Result<Self, Fault> {
        let rules = node.rules();
        let (mut received, mut acknowledged) = (0, 0);
        for (agreement, _, _) in feeds::every_agreement_with(node, peer) {
            let out = feeds::out_row(node, &feeds::outgoing(node, peer, agreement), ZERO)?;
            acknowledged += out.countersigned.map_or(0, |held| held.length);
            if let Some(store) = feeds::known_store(node, peer, agreement)? {
                received += feeds::in_row(node, &feeds::incoming(node, peer, store, agreement))?.length;
            }
        }
        let agreements = rules.agreements.with(peer).map(|held| {
            let in_force = held.in_force.as_ref().map(|in_force| in_force.digest);
            let proposal = held.proposal.as_ref().map(|proposal| proposal.digest());
            let signed = held.proposal.as_ref().map_or(0, |proposal| proposal.signed_by().count());
            (held.id, in_force, proposal, signed + 32 * held.notices.len())
        });
        Ok(Self {
            agreements: agreements.collect(),
            received,
            acknowledged,
            open: holders::open_with(node, peer)?.1,
            asked: crate::recall::asked::count(node, peer)?,
            erasures: ending::erasures(node, |row| row.holder == peer)?,
            card: rules.book.get(peer).map_or(0, |partner| partner.card.payload().number),
        })
    }
}

fn view(node: &Node, header: &Header, (done, news, last): (&Done, bool, u64), before: &Before) -> Result<Json, Fault> {
    let now = Before::of(node, header.from)?;
    let handle = node.handle_of(header.from);
    let (mut missing, mut left) = (Vec::new(), Vec::new());
    for (feed, (agreement, why)) in &done.left {
        let id = agreement.map_or_else(|| feed.to_string(), |agreement| agreement.to_string());
        match why {
            Left::Gap { held, first } => {
                let which = match header.number.saturating_sub(last) {
                    0 | 1 => format!("ask `{handle}` to export them again, with --again"),
                    2 => format!("import bundle {} of `{handle}` first", header.number - 1),
                    _ => format!("import bundles {} to {} of `{handle}` first", last + 1, header.number - 1),
                };
                let says = format!("entries {held} to {} are not here: {which}, then this one again", first - 1);
                missing.push(json!({ "id": id, "from": held, "to": first, "says": says }));
            }
            Left::Why(code, why) => left.push(json!({ "id": id, "code": code, "why": why })),
        }
    }
    let changed = now.agreements.iter().filter(|held| !before.agreements.contains(held)).count();
    let shown = export::show(node, &header.from.to_string())?;
    Ok(json!({
        "id": header.from.to_string(),
        "partner": handle,
        "number": header.number,
        "made": UnixMillis::to_string(&header.time),
        "one_way": header.one_way,
        "new": news,
        "runs": done.runs,
        "runs_held": done.held,
        "entries": done.entries,
        "records": done.records,
        "refused": done.refused,
        "files": done.files,
        "files_refused": done.files_refused,
        "files_early": done.files_early,
        "agreements": changed,
        "acknowledged": now.acknowledged - before.acknowledged.min(now.acknowledged),
        "recalls_taken": now.asked - before.asked.min(now.asked),
        "recalls_answered": before.open - now.open.min(before.open),
        "erasures": now.erasures.get(before.erasures.len()..).unwrap_or_default(),
        "missing": missing,
        "left": left,
        "feeds": shown.get("feeds"),
    }))
}
