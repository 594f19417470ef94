//! The moves: what a hostile partner says in which state, and with which code the session ends, or that it goes on.
//!
//! One row is one session. Rows with the same state stand together. Where the session goes on, the move came to nothing.

use super::client::{At, Done, Hostile, Talk};
use entente_protocol::{
    codec::frame,
    cose::SignatureBytes,
    custody::message::NOTICE_LOG,
    feed::{Carried, Cursor, Entry, FeedKey, Receipt, Release, Run, RunEntry, RunMessage},
    id::{AgreementDigest, AgreementId, EntryHash, FeedDigest, FeedId, Hash, Nonce, OrgId, RecordId, StoreId},
    label, limits,
    primitive::labelled,
    recall,
    session::{AgreementLine, CloseCode, Heads, Lane, Message, Notice, ReceivedHead, SentHead, fetch::Request},
    time::UnixMillis,
};
use std::{future::Future, pin::Pin, time::Duration};

/// What the victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It closes with this code.
    With(CloseCode),
    /// It goes on.
    Not,
    /// It goes on, and takes and gives nothing more in this feed: not in this session, nor in another.
    Stops,
}

type Acting<'a> = Pin<Box<dyn Future<Output = Done> + 'a>>;

/// A move.
pub struct Move {
    pub name: &'static str,
    pub at: At,
    pub ends: Ends,
    /// What the victim's log says of it. Nothing where the protocol allows it, or QUIC's limits let nothing through.
    pub log: &'static str,
    pub act: for<'a> fn(&'a Hostile, &'a mut Talk) -> Acting<'a>,
}

macro_rules! moves {
    ($($at:ident $name:literal $ends:ident $log:literal |$h:ident, $t:ident| $body:expr;)*) => {
        /// Every move.
        pub const MOVES: &[Move] = &[$(Move {
            name: $name,
            at: At::$at,
            ends: $ends,
            log: $log,
            act: {
                fn act<'a>($h: &'a Hostile, $t: &'a mut Talk) -> Acting<'a> {
                    Box::pin(async move { $body; let _ = ($h, $t); Ok(()) })
                }
                act
            },
        }),*];
    };
}

const GOES_ON: Ends = Ends::Not;
const STOPS: Ends = Ends::Stops;
const FRAME: Ends = Ends::With(CloseCode::FRAME);
const MESSAGE: Ends = Ends::With(CloseCode::MESSAGE);
const UNEXPECTED: Ends = Ends::With(CloseCode::UNEXPECTED);
const IDENTITY: Ends = Ends::With(CloseCode::IDENTITY);
const VERSION: Ends = Ends::With(CloseCode::VERSION);
const CLOCK: Ends = Ends::With(CloseCode::CLOCK);
const TIMEOUT: Ends = Ends::With(CloseCode::TIMEOUT);
const LIMIT: Ends = Ends::With(CloseCode::LIMIT);
const FEED: Ends = Ends::With(CloseCode::FEED);
const RECEIPT: Ends = Ends::With(CloseCode::RECEIPT);
const RUN: Ends = Ends::With(CloseCode::RUN);
const BUSY: Ends = Ends::With(CloseCode::BUSY);
const DONE: Ends = Ends::With(CloseCode::DONE);

const CONTROL: Lane = Lane::Control;
const RECORDS: Lane = Lane::Records;

/// Two lengths, as a frame begins.
fn lengths(padded: u32, content: u32) -> Vec<u8> {
    [padded.to_be_bytes(), content.to_be_bytes()].concat()
}

/// A message of one key around anything.
fn around(name: &str, inner: &[u8]) -> Vec<u8> {
    [&[0xa1, 0x60 + u8::try_from(name.len()).unwrap()], name.as_bytes(), inner].concat()
}

/// Arrays within arrays.
fn nested(depth: usize) -> Vec<u8> {
    [vec![0x81; depth], vec![0]].concat()
}

fn line(n: u8, standings: usize) -> AgreementLine {
    AgreementLine {
        id: AgreementId::from_bytes([n; 16]),
        version: AgreementDigest::from_bytes([n; 32]),
        standings: vec![SignatureBytes(vec![]); standings],
    }
}

fn received(feed: FeedKey) -> Heads {
    Heads { sent: vec![], received: vec![ReceivedHead { feed, head: Cursor::start(feed.id()), receipt: None }] }
}

/// Our head of the victim's feed, as we would like it to be; the receipt over it is really ours.
fn claimed(h: &Hostile, length: u64, digest: u8) -> Heads {
    let held = Cursor { length, digest: FeedDigest::from_bytes([digest; 32]) };
    let run = Run {
        feed: h.theirs.id(),
        before: Cursor::start(h.theirs.id()),
        count: length,
        after: held.digest,
        root: Hash::from_bytes([1; 32]),
        version: h.version,
        time: UnixMillis(1),
        prior: None,
    };
    let receipt = Receipt::of(&run, UnixMillis(1)).sign(&h.node.keys.runs).unwrap();
    let mut heads = h.heads();
    heads.received = vec![ReceivedHead { feed: h.theirs, head: held, receipt: Some(receipt) }];
    heads
}

/// A run of ours over entries that stand for nothing, where the victim expects it or elsewhere.
fn plain(h: &Hostile, t: &Talk, entries: Vec<RunEntry>, before: Option<Cursor>) -> Done<RunMessage> {
    let held = before.or(t.held).ok_or("no head")?;
    let hashes: Vec<EntryHash> = entries.iter().map(RunEntry::hash).collect();
    let run = Run::over(h.ours.id(), held, &hashes, h.version, h.hello().time, None)?;
    Ok(RunMessage { run: run.sign(&h.node.keys.runs)?, onward: None, carried: vec![], entries, attestations: vec![] })
}

/// Waits until the victim says that it holds a run.
async fn countersigned(t: &mut Talk) -> Done {
    while !matches!(t.hear(CONTROL).await?, Message::Receipt(_)) {}
    Ok(())
}

/// A head of our feed at the length that the victim holds, over another history, signed with a key that signs no runs.
fn unsigned(h: &Hostile, t: &Talk) -> Done<Heads> {
    let held = t.held.ok_or("no head")?;
    let before = Cursor { length: held.length.checked_sub(1).ok_or("nothing is held")?, ..held };
    let run = Run::over(h.ours.id(), before, &[EntryHash::from_bytes([9; 32])], h.version, h.hello().time, None)?;
    let shown = SentHead { head: run.end(), run: Some(run.sign(&h.node.keys.records)?), feed: h.ours, acknowledged: 0 };
    Ok(Heads { sent: vec![shown], received: vec![] })
}

fn withdrawal(n: u8) -> RunEntry {
    let entry = Entry::Withdrawal { code: 1, salt: Nonce::from_bytes([n; 16]), record: RecordId::from_bytes([n; 32]) };
    RunEntry::Open(entry.to_bytes().unwrap())
}

fn run(message: RunMessage) -> Message {
    Message::Run(Box::new(message))
}

/// The honest next run, with the body of its first release changed and everything above it signed anew.
fn poisoned(h: &Hostile, t: &Talk, change: impl FnOnce(Release) -> Vec<u8>) -> Done<RunMessage> {
    changed(h, t, h.honest.clone(), change)
}

/// A record with more fields than the agreement with the victim lets go, as if that agreement had cleared it.
fn beyond(h: &Hostile, t: &Talk) -> Done<RunMessage> {
    let (broad, version) = h.broad.clone().ok_or("no other agreement")?;
    changed(h, t, broad, |r| swapped(r.to_bytes().unwrap(), version.as_bytes(), h.version.as_bytes()))
}

fn changed(
    h: &Hostile,
    t: &Talk,
    mut message: RunMessage,
    change: impl FnOnce(Release) -> Vec<u8>,
) -> Done<RunMessage> {
    let Carried(entry, _, _, bytes) = message.carried.first_mut().ok_or("nothing carried")?;
    *bytes = change(Release::from_bytes(bytes)?);
    // A record that was changed has another id, and is announced by it: its own checks are to refuse it.
    let id =
        Release::from_bytes(bytes).map(|r| RecordId::from_bytes(labelled(label::RECORD_ID, &[&r.redacted().body])));
    let hash = Release::hash(bytes);
    let RunEntry::Open(open) = &message.entries[usize::from(*entry)] else { return Err("not open".into()) };
    let Entry::Release { salt, record, .. } = Entry::from_bytes(open)? else { return Err("no release".into()) };
    let record = id.unwrap_or(record);
    message.entries[usize::from(*entry)] = RunEntry::Open(Entry::Release { hash, salt, record }.to_bytes()?);
    let held = t.held;
    h.resign(&mut message, held, |_| {})?;
    Ok(message)
}

/// Swaps one byte sequence in encoded bytes; lengths stay.
fn swapped(bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    let mut bytes = bytes;
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

fn request(h: &Hostile, feed: FeedId, slot: u8, entry: u64, from_chunk: u32) -> Vec<u8> {
    let _ = h;
    Request { feed, slot, entry, from_chunk }.to_bytes().unwrap()
}

async fn slowly(t: &mut Talk, lane: Lane) -> Done {
    for byte in lengths(512, 512) {
        t.raw(lane, &[byte]).await?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    Ok(())
}

async fn flood(t: &mut Talk, message: Message) -> Done {
    let frame = frame::encode(&message.to_bytes()?, limits::CONTROL_FRAME_BYTES_MAX)?;
    for _ in 0..10_000 {
        t.raw(CONTROL, &frame).await?;
    }
    Ok(())
}

/// A run, once more after each receipt, for as long as there is one.
async fn replay(t: &mut Talk, message: Message) -> Done {
    for again in 0..1_000 {
        t.say(&message).await?;
        if countersigned(t).await.is_err() {
            // What the next session costs is earned.
            tokio::time::sleep(Duration::from_secs(1)).await;
            return if again < 4 * limits::RUNS_IN_FLIGHT_MAX { Err("a resend is closed".into()) } else { Ok(()) };
        }
    }
    Err("it is never closed".into())
}

/// Asks for files until it is told to come back, and a while longer.
async fn eager(t: &Talk, content: &[u8]) -> Done {
    let mut told = 0;
    for _ in 0..2 * limits::PARTNER_REQUESTS_BURST {
        match t.ask(content).await? {
            Some(1) => {}
            Some(2) => told += 1,
            other => return Err(format!("not refused: {other:?}").into()),
        }
        if told >= 100 {
            // What the next session costs is earned.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return Ok(());
        }
    }
    Err("it is never told to come back".into())
}

/// Opens as many streams as one may and says something on the last alone. QUIC opens those before it at the other end,
/// where nothing ever comes on them.
async fn gap(t: &mut Talk, carries: u8) -> Done {
    for _ in 0..12 {
        t.silent.push(t.connection.open_bi().await?);
    }
    t.silent.push(t.stream(carries).await?);
    Ok(())
}

async fn refused(t: &Talk, content: Vec<u8>) -> Done {
    match t.ask(&content).await? {
        Some(1) => Ok(()),
        other => Err(format!("not refused: {other:?}").into()),
    }
}

moves! {
    // --- connected, no lane open ---
    Connected "a stream of an unknown kind" UNEXPECTED "no place" |h, t| t.stream(9).await?;
    Connected "a lane twice" UNEXPECTED "no place" |h, t| { let _one = t.stream(1).await?; let _two = t.stream(1).await?; t.connection.closed().await };
    Connected "a file before the lanes" UNEXPECTED "no place" |h, t| t.stream(3).await?;
    Connected "a stream that says nothing" FRAME "too early" |h, t| { let (mut s, _r) = t.connection.open_bi().await?; s.finish()?; t.connection.closed().await };
    Connected "a lane behind a gap of streams" TIMEOUT "in time" |h, t| { gap(t, 1).await?; t.connection.closed().await };
    Connected "no lane at all" TIMEOUT "in time" |h, t| { t.connection.closed().await };

    // --- lanes open, nothing said ---
    Greeting "a frame that declares 4 GiB" FRAME "frame" |h, t| t.raw(CONTROL, &lengths(u32::MAX, u32::MAX)).await?;
    Greeting "a frame one byte beyond its lane" FRAME "frame" |h, t| { let n = u32::try_from(limits::CONTROL_FRAME_BYTES_MAX)? + 1; t.raw(CONTROL, &lengths(n, n)).await? };
    Greeting "a frame beyond the records lane" FRAME "frame" |h, t| { let n = u32::try_from(limits::FRAME_BYTES_MAX)? + 1; t.raw(RECORDS, &lengths(n, n)).await? };
    Greeting "more content than frame" FRAME "padded" |h, t| t.raw(CONTROL, &lengths(8, 9)).await?;
    Greeting "another padding" FRAME "padded" |h, t| t.raw(CONTROL, &lengths(300, 201)).await?;
    Greeting "a frame that ends in the middle" FRAME "too early" |h, t| { t.raw(CONTROL, &lengths(64, 64)).await?; t.control.as_mut().ok_or("lane")?.0.finish()? };
    Greeting "noise" MESSAGE "malformed" |h, t| t.frame(CONTROL, &[0xff; 40]).await?;
    Greeting "an empty frame" MESSAGE "malformed" |h, t| t.frame(CONTROL, &[]).await?;
    Greeting "a thousand arrays within each other" MESSAGE "malformed" |h, t| t.frame(CONTROL, &around("hello", &nested(1_000))).await?;
    Greeting "an array of four thousand million" MESSAGE "malformed" |h, t| t.frame(CONTROL, &around("hello", &[0x9a, 0xff, 0xff, 0xff, 0xff])).await?;
    Greeting "a text of an exabyte" MESSAGE "malformed" |h, t| t.frame(CONTROL, &around("hello", &[0x7b, 0x0f, 0, 0, 0, 0, 0, 0, 0])).await?;
    Greeting "a map without an end" MESSAGE "malformed" |h, t| t.frame(CONTROL, &around("hello", &[0xbf, 0xff])).await?;
    Greeting "a long integer" MESSAGE "malformed" |h, t| t.frame(CONTROL, &around("close", &[0x18, 0x01])).await?;
    Greeting "a tail behind the message" MESSAGE "malformed" |h, t| { let mut b = Message::Hello(h.hello()).to_bytes()?; b.push(0); t.frame(CONTROL, &b).await? };
    Greeting "another organisation" IDENTITY "identity" |h, t| { let mut m = h.hello(); m.org = OrgId::from_bytes([9; 32]); t.say(&Message::Hello(m)).await? };
    Greeting "the victim's own name" IDENTITY "identity" |h, t| { let mut m = h.hello(); m.org = h.victim; t.say(&Message::Hello(m)).await? };
    Greeting "versions of the future" VERSION "version" |h, t| { let mut m = h.hello(); m.versions = vec![2, 3]; t.say(&Message::Hello(m)).await? };
    Greeting "nine versions" LIMIT "more than 8 versions" |h, t| { let mut m = h.hello(); m.versions = (1..10).collect(); t.say(&Message::Hello(m)).await? };
    Greeting "versions out of order" MESSAGE "malformed" |h, t| { let mut m = h.hello(); m.versions = vec![1, 1]; t.say(&Message::Hello(m)).await? };
    Greeting "a clock an hour behind" CLOCK "clock" |h, t| { let mut m = h.hello(); m.time = m.time.minus(3_600_000); t.say(&Message::Hello(m)).await? };
    Greeting "a greeting on the records lane" UNEXPECTED "other lane" |h, t| t.frame(RECORDS, &Message::Hello(h.hello()).to_bytes()?).await?;
    Greeting "agreements first" UNEXPECTED "`hello` was expected" |h, t| t.say(&Message::Agreements(h.lines())).await?;
    Greeting "a receipt first" UNEXPECTED "`hello` was expected" |h, t| t.say(&Message::Receipt(SignatureBytes(vec![]))).await?;
    Greeting "a run first" RUN "run" |h, t| t.say(&run(RunMessage { run: SignatureBytes(vec![]), onward: None, carried: vec![], entries: vec![], attestations: vec![] })).await?;
    Greeting "an honest run before the greeting" FEED "not open" |h, t| t.say(&run(h.honest.clone())).await?;
    Greeting "a byte every moment" TIMEOUT "in time" |h, t| slowly(t, CONTROL).await?;
    Greeting "the end of the control lane" DONE "" |h, t| t.control.as_mut().ok_or("lane")?.0.finish()?;

    // --- greeted ---
    Agreements "a second greeting" UNEXPECTED "`agreements` was expected" |h, t| t.say(&Message::Hello(h.hello())).await?;
    Agreements "heads too early" UNEXPECTED "`agreements` was expected" |h, t| t.say(&Message::Heads(h.heads())).await?;
    Agreements "a proposal too early" UNEXPECTED "`agreements` was expected" |h, t| t.say(&Message::Proposal(vec![1])).await?;
    Agreements "sixty-five agreements" LIMIT "more than 64 agreements" |h, t| t.say(&Message::Agreements((0..65).map(|n| line(n, 0)).collect())).await?;
    Agreements "seventeen standings" LIMIT "more than 16 standings" |h, t| t.say(&Message::Agreements(vec![line(1, 17)])).await?;
    Agreements "agreements out of order" MESSAGE "malformed" |h, t| t.say(&Message::Agreements(vec![line(2, 0), line(1, 0)])).await?;
    Agreements "one agreement twice" MESSAGE "malformed" |h, t| t.say(&Message::Agreements(vec![line(1, 0), line(1, 0)])).await?;
    Agreements "agreements of others" GOES_ON "" |h, t| t.say(&Message::Agreements(vec![line(1, 0), line(2, 2)])).await?;
    Agreements "a frame that declares a gigabyte" FRAME "frame" |h, t| t.raw(CONTROL, &lengths(1 << 30, 1 << 30)).await?;
    Agreements "nothing more" TIMEOUT "in time" |h, t| { t.connection.closed().await };

    // --- agreements named ---
    Heads "agreements again" UNEXPECTED "`heads` was expected" |h, t| t.say(&Message::Agreements(h.lines())).await?;
    Heads "a receipt too early" UNEXPECTED "`heads` was expected" |h, t| t.say(&Message::Receipt(SignatureBytes(vec![]))).await?;
    Heads "a feed between others" FEED "feed" |h, t| t.say(&Message::Heads(received(FeedKey { receiver: OrgId::from_bytes([8; 32]), ..h.theirs }))).await?;
    Heads "a feed the wrong way" FEED "feed" |h, t| t.say(&Message::Heads(received(h.ours))).await?;
    Heads "a feed under an agreement that was not named" FEED "feed" |h, t| t.say(&Message::Heads(received(FeedKey { agreement: AgreementId::from_bytes([5; 16]), ..h.theirs }))).await?;
    Heads "a length without a signature" FEED "feed" |h, t| { let mut m = claimed(h, 5, 1); m.received[0].receipt = None; t.say(&Message::Heads(m)).await? };
    Heads "a sent head without its run" FEED "feed" |h, t| { let mut m = h.heads(); m.sent[0].head.length = 3; t.say(&Message::Heads(m)).await? };
    Heads "a head of another store of the victim" FEED "feed" |h, t| t.say(&Message::Heads(received(FeedKey { store: StoreId::from_bytes([5; 16]), ..h.theirs }))).await?;
    Heads "a head of an epoch that was never opened" FEED "feed" |h, t| t.say(&Message::Heads(received(FeedKey { epoch: 7, ..h.theirs }))).await?;
    Heads "one head twice" MESSAGE "malformed" |h, t| { let mut m = h.heads(); m.received.push(m.received[0].clone()); t.say(&Message::Heads(m)).await? };
    Heads "two hundred and fifty-seven heads" LIMIT "more than 256 feeds" |h, t| { let mut m = h.heads(); m.received = vec![m.received[0].clone(); 257]; t.say(&Message::Heads(m)).await? };
    Heads "a cursor ahead" STOPS "older copy" |h, t| t.say(&Message::Heads(claimed(h, 1_000, 1))).await?;
    Heads "a cursor with another digest" STOPS "two histories" |h, t| t.say(&Message::Heads(claimed(h, 2, 1))).await?;
    Heads "a cursor in the middle of a run" STOPS "two histories" |h, t| t.say(&Message::Heads(claimed(h, 1, 1))).await?;
    Heads "a greeting instead" UNEXPECTED "`heads` was expected" |h, t| t.say(&Message::Hello(h.hello())).await?;
    Heads "nothing more now" TIMEOUT "in time" |h, t| { t.connection.closed().await };

    // --- open ---
    Open "a greeting when all is said" UNEXPECTED "any message but hello" |h, t| t.say(&Message::Hello(h.hello())).await?;
    Open "a run on the control lane" UNEXPECTED "other lane" |h, t| t.frame(CONTROL, &run(h.honest.clone()).to_bytes()?).await?;
    Open "a third lane" UNEXPECTED "no place" |h, t| { let _s = t.stream(2).await?; t.connection.closed().await };
    Open "noise among runs" MESSAGE "malformed" |h, t| t.frame(RECORDS, &[0xff; 64]).await?;
    Open "deep nesting among runs" MESSAGE "malformed" |h, t| t.frame(RECORDS, &around("run", &nested(100_000))).await?;
    Open "a million items" MESSAGE "malformed" |h, t| { let mut b = vec![0x9a, 0, 0x0f, 0x42, 0x40]; b.resize(1_000_005, 0); t.frame(RECORDS, &around("run", &b)).await? };
    Open "a receipt for a run that was never sent" RECEIPT "receipt" |h, t| { let (_, r) = t.hear_run().await?; t.say(&h.receipt(&r, |x| x.held.length += 7)?).await? };
    Open "a receipt for another feed" FEED "feed" |h, t| { let (_, r) = t.hear_run().await?; t.say(&h.receipt(&r, |x| x.feed = FeedId::from_bytes([3; 32]))?).await? };
    Open "a receipt over another root" RECEIPT "receipt" |h, t| { let (_, r) = t.hear_run().await?; t.say(&h.receipt(&r, |x| x.root = Hash::from_bytes([3; 32]))?).await? };
    Open "a receipt over another history" STOPS "two histories" |h, t| { let (_, r) = t.hear_run().await?; t.say(&h.receipt(&r, |x| x.held.digest = FeedDigest::from_bytes([3; 32]))?).await? };
    Open "a receipt over another history that nobody signed" RUN "key" |h, t| { let (_, r) = t.hear_run().await?; let mut x = Receipt::of(&r, UnixMillis(1)); x.held.digest = FeedDigest::from_bytes([3; 32]); t.say(&Message::Receipt(x.sign(&h.node.keys.records)?)).await? };
    Open "a receipt signed with another key" RUN "key" |h, t| { let (_, r) = t.hear_run().await?; t.say(&Message::Receipt(Receipt::of(&r, UnixMillis(1)).sign(&h.node.keys.records)?)).await? };
    Open "a run signed with another key" RUN "key" |h, t| { let mut m = h.honest.clone(); m.run = Run::danger_unverified(&m.run)?.sign(&h.node.keys.records)?; t.say(&run(m)).await? };
    Open "a run of another agreement" FEED "feed" |h, t| { let mut m = h.honest.clone(); h.resign(&mut m, t.held, |r| r.feed = FeedKey { agreement: AgreementId::from_bytes([5; 16]), ..h.ours }.id())?; t.say(&run(m)).await? };
    Open "the victim's own run, played back" FEED "feed" |h, t| { let (m, _) = t.hear_run().await?; t.say(&run(m)).await? };
    Open "a gap" RUN "begins at" |h, t| { let held = t.held.ok_or("head")?; t.say(&run(plain(h, t, vec![withdrawal(1)], Some(Cursor { length: held.length + 5, ..held }))?)).await? };
    Open "entries that were not signed" RUN "not those that were signed" |h, t| { let mut m = plain(h, t, vec![withdrawal(1)], None)?; m.entries = vec![withdrawal(2)]; t.say(&run(m)).await? };
    Open "fewer entries than signed" RUN "not those that were signed" |h, t| { let mut m = plain(h, t, vec![withdrawal(1), withdrawal(2)], None)?; m.entries.pop(); t.say(&run(m)).await? };
    Open "a body that nobody released" RUN "bodies" |h, t| { let mut m = plain(h, t, vec![withdrawal(1)], None)?; m.carried = h.honest.carried.clone(); t.say(&run(m)).await? };
    Open "a poison record: a field that was changed" RUN "record" |h, t| t.say(&run(poisoned(h, t, |r| swapped(r.to_bytes().unwrap(), b"HOSTILE-1", b"HOSTILE-9"))?)).await?;
    Open "a poison record: no record at all" RUN "malformed" |h, t| t.say(&run(poisoned(h, t, |_| vec![0xff; 100])?)).await?;
    Open "a forged origin" RUN "attest" |h, t| { let (own, other) = (*h.node.keys.org.as_bytes(), *h.victim.as_bytes()); t.say(&run(poisoned(h, t, |r| swapped(r.to_bytes().unwrap(), &own, &other))?)).await? };
    Open "an attestation of nobody" RUN "the batch head is refused" |h, t| { let mut m = h.honest.clone(); m.attestations[0].head = SignatureBytes(vec![0; 40]); h.resign(&mut m, t.held, |_| {})?; t.say(&run(m)).await? };
    Open "an attestation too many" RUN "is not needed" |h, t| { let mut m = h.honest.clone(); m.attestations.push(m.attestations[0].clone()); h.resign(&mut m, t.held, |_| {})?; t.say(&run(m)).await? };
    Open "a file without leave" GOES_ON "a file was asked for that is not given" |h, t| refused(t, request(h, h.theirs.id(), 11, 0, 0)).await?;
    Open "a file of a feed of others" GOES_ON "a file was asked for that is not given" |h, t| refused(t, request(h, FeedId::from_bytes([6; 32]), 11, 0, 0)).await?;
    Open "a file far beyond the feed" GOES_ON "a file was asked for that is not given" |h, t| refused(t, request(h, h.theirs.id(), 11, u64::MAX, 4_096)).await?;
    Open "a chunk out of range" UNEXPECTED "no place" |h, t| { let b = swapped(request(h, h.theirs.id(), 11, 0, 4_096), &[0x19, 0x10, 0x00], &[0x19, 0x10, 0x01]); t.ask(&b).await? };
    Open "a request that is too long" FRAME "frame" |h, t| t.ask(&[0; 5_000]).await?;
    Open "a request of noise" UNEXPECTED "no place" |h, t| t.ask(&[0xff; 60]).await?;
    Open "ten thousand streams" GOES_ON "" |h, t| { let mut kept = Vec::new(); for _ in 0..10_000 { match tokio::time::timeout(Duration::from_millis(200), t.stream(3)).await { Ok(stream) => kept.push(stream?), Err(_) => break } }; assert!(kept.len() <= 98, "{} streams are open at once", kept.len()) };
    Open "a file behind a gap of streams" GOES_ON "" |h, t| gap(t, 3).await?;
    Open "streams in one direction" GOES_ON "" |h, t| { let mut kept = Vec::new(); for _ in 0..10_000 { match tokio::time::timeout(Duration::from_millis(200), t.connection.open_uni()).await { Ok(stream) => kept.push(stream?), Err(_) => break } }; assert!(kept.len() <= 16, "{} streams are open at once", kept.len()) };
    Open "a card with a lower number" GOES_ON "" |h, t| t.say(&Message::Card(h.node.keys.card.bytes().to_vec())).await?;
    Open "the card of another" GOES_ON "a card was not taken" |h, t| { let mut b = h.node.keys.card.bytes().to_vec(); let last = b.len() - 1; b[last] ^= 1; t.say(&Message::Card(b)).await? };
    Open "a card of noise" GOES_ON "a card was not taken" |h, t| t.say(&Message::Card(vec![0xff; 100])).await?;
    Open "a card beyond its bound" LIMIT "bytes of a card" |h, t| t.say(&Message::Card(vec![0; limits::CARD_BYTES_MAX + 1])).await?;
    Open "a proposal of noise" GOES_ON "a proposal was not taken" |h, t| t.say(&Message::Proposal(vec![0xff; 100])).await?;
    Open "a proposal beyond its bound" LIMIT "bytes of a proposal" |h, t| t.say(&Message::Proposal(vec![0; limits::AGREEMENT_BYTES_MAX + 1])).await?;
    Open "a standing of noise" GOES_ON "a notice was not taken" |h, t| t.say(&Message::Standing(SignatureBytes(vec![0xff; 80]))).await?;
    Open "a standing in the victim's name" GOES_ON "signed by another key" |h, t| t.say(&Message::Standing(h.forged_standing()?)).await?;
    Open "a notice of a kind that nobody knows" GOES_ON "" |h, t| t.say(&Message::Notice(Notice { kind: 9_999, content: vec![1; 1_000] })).await?;
    Open "noise about logs" GOES_ON "what a partner says about logs is malformed" |h, t| t.say(&Message::Notice(Notice { kind: NOTICE_LOG, content: vec![0xff; 1_000] })).await?;
    Open "a head of its log that a key of another purpose signed" GOES_ON "a head of a partner's log was not taken" |h, t| t.say(&h.head(1, &h.node.keys.witness)?).await?;
    Open "a head of its log up to a time to come" GOES_ON "" |h, t| t.say(&h.head(1 << 20, &h.node.keys.log)?).await?;
    Open "what it saw of the victim's log, signed by itself" GOES_ON "was not signed by us" |h, t| t.say(&h.seen()?).await?;
    Open "runs for which proofs are asked and that nobody signed" GOES_ON "" |h, t| t.say(&h.owed()?).await?;
    Open "recalls of noise" GOES_ON "a notice about recalls was not taken" |h, t| t.say(&Message::Notice(Notice { kind: recall::NOTICE_RECALLS, content: vec![0xff; 1_000] })).await?;
    Open "recalls in the victim's name" GOES_ON "signed by another key" |h, t| t.say(&h.recalls(h.victim, 1)?).await?;
    Open "as many recalls as fit of records that are the victim's own" GOES_ON "" |h, t| t.say(&h.recalls(h.node.keys.org, limits::RECALLS_PER_NOTICE_MAX)?).await?;
    Open "answers to what was never asked" GOES_ON "" |h, t| t.say(&h.recall_answers()?).await?;
    Open "heads again and again" GOES_ON "" |h, t| for _ in 0..50 { t.say(&Message::Heads(h.heads())).await? };
    Open "heads of more feeds than there can be" LIMIT "more than 512 feeds" |h, t| for epoch in 0..6u32 {
        let mut all: Vec<SentHead> = (0..250).map(|n| { let feed = FeedKey { epoch: epoch * 250 + n + 1, ..h.ours }; SentHead { run: None, feed, head: Cursor::start(feed.id()), acknowledged: 0 } }).collect();
        all.sort_by_key(|line| line.feed);
        t.say(&Message::Heads(Heads { sent: all, received: vec![] })).await?
    };
    Open "a farewell" DONE "by_peer=true" |h, t| t.say(&Message::Close(CloseCode::DONE)).await?;
    Open "a close code that nobody knows" DONE "9999 (unknown)" |h, t| t.say(&Message::Close(CloseCode(9_999))).await?;
    Open "the victim's fault, says the partner" DONE "18 (unexpected)" |h, t| t.say(&Message::Close(CloseCode::UNEXPECTED)).await?;
    Open "more after a farewell" DONE "by_peer=true" |h, t| { let mut m = frame::encode(&Message::Close(CloseCode::DONE).to_bytes()?, 100)?; for more in [Message::Heads(h.heads()), Message::Card(vec![0xff; 100]), Message::Close(CloseCode::LIMIT)] { m.extend(frame::encode(&more.to_bytes()?, 4_096)?) }; t.raw(CONTROL, &m).await?; t.say(&run(plain(h, t, vec![withdrawal(8)], None)?)).await? };
    Open "a byte every moment among runs" TIMEOUT "no progress in time" |h, t| slowly(t, RECORDS).await?;
    // What is taken here, is taken: the feed is longer afterwards, and holds nothing.
    Open "one run twice in a session" GOES_ON "" |h, t| { let m = plain(h, t, vec![withdrawal(4)], None)?; t.say(&run(m.clone())).await?; t.say(&run(m)).await?; countersigned(t).await? };
    Open "a run of an earlier session" GOES_ON "" |h, t| { let start = Cursor::start(h.ours.id()); t.say(&run(plain(h, t, vec![withdrawal(4)], Some(start))?)).await? };
    Open "another history of our feed that nobody signed" RUN "key" |h, t| t.say(&Message::Heads(unsigned(h, t)?)).await?;
    Open "a record that was cleared under another version" BUSY "waits" |h, t| { let mut m = h.broad.clone().ok_or("no other agreement")?.0; h.resign(&mut m, t.held, |_| {})?; t.say(&run(m)).await? };
    Open "a record with fields beyond the agreement" GOES_ON "refused" |h, t| t.say(&run(beyond(h, t)?)).await?;
    Open "two runs at one length" STOPS "two histories" |h, t| { let (one, two) = (plain(h, t, vec![withdrawal(5)], None)?, plain(h, t, vec![withdrawal(6)], None)?); t.say(&run(one)).await?; t.say(&run(two)).await? };
    Open "a run that is held again and again" LIMIT "requests" |h, t| { let m = plain(h, t, vec![withdrawal(7)], None)?; replay(t, run(m)).await? };
    Open "a flood of requests for files" GOES_ON "more files than it may" |h, t| eager(t, &request(h, h.theirs.id(), 11, 0, 0)).await?;
    Open "a flood of heads of its log" LIMIT "requests" |h, t| flood(t, h.head(1 << 20, &h.node.keys.log)?).await?;
    Open "a flood of runs for which proofs are asked" LIMIT "requests" |h, t| flood(t, h.owed()?).await?;
    Open "a flood of recalls" LIMIT "requests" |h, t| flood(t, h.recalls(h.node.keys.org, limits::RECALLS_PER_NOTICE_MAX)?).await?;
    Open "a flood of proposals" LIMIT "requests" |h, t| flood(t, Message::Proposal(vec![0xff; 100])).await?;
}
