//! Feeds: each run follows from the one before it, stands in the journal, and was countersigned.

use super::{super::item::SentRun, Known, Notes, Test, journal::Events};
use crate::{
    cose::SignatureBytes,
    custody::{event::EventKind, proof::logged_run},
    feed::{Cursor, Entry, FeedKey, Receipt, Run},
    id::{AgreementId, EntryHash, OrgId},
    identity::Purpose,
    time::UnixMillis,
};

use super::super::report::FeedSeen;

/// The feed that is being followed.
struct Feed {
    key: FeedKey,
    at: Cursor,
    time: UnixMillis,
    /// Place in the journal of the last run.
    event: Option<u64>,
    runs: Vec<Run>,
    seen: FeedSeen,
}

/// Every feed.
#[derive(Default)]
pub struct Feeds {
    now: Option<Feed>,
    seen: Vec<FeedSeen>,
}

impl Feeds {
    /// The next feed.
    pub fn begin(&mut self, known: &Known, notes: &mut Notes, key: FeedKey) {
        self.end(known, notes);
        let place = feed_place(known, key.receiver, key.agreement);
        if key.sender != known.maker() || key.store != known.head.store {
            return notes.wrong(Test::Feeds, known.maker(), place, "it is the feed of another store");
        }
        let (receiver, agreement) = (key.receiver, key.agreement);
        if self.seen.iter().any(|feed| (feed.receiver, feed.agreement) == (receiver, agreement)) {
            return notes.wrong(Test::Feeds, known.maker(), place, "the feed stands twice");
        }
        let seen = FeedSeen { receiver, agreement, runs: 0, releases: 0, withdrawals: 0, acknowledged: 0, entries: 0 };
        let at = Cursor::start(key.id());
        self.now = Some(Feed { key, at, time: UnixMillis(0), event: None, runs: Vec::new(), seen });
    }

    /// Its next run, for whoever judges what it released.
    pub fn run(
        &mut self,
        known: &Known,
        notes: &mut Notes,
        events: &mut Events,
        sent: &SentRun,
    ) -> Option<(FeedKey, Run)> {
        let feed = self.now.as_mut()?;
        let place = format!("{}, run {}", feed_place(known, feed.key.receiver, feed.key.agreement), feed.runs.len());
        notes.looked(Test::Feeds);
        let stated = Run::danger_unverified(&sent.run).map(|run| run.time).unwrap_or_default();
        let key = |kid| known.key(known.maker(), Purpose::Runs, kid, stated);
        let run = match Run::verify(&sent.run, &feed.key, key) {
            Ok(run) => run,
            Err(fault) => {
                notes.wrong(Test::Feeds, known.maker(), place, fault);
                return None;
            }
        };
        if run.before != feed.at {
            let says = "it does not go on where the run before it ended: one was left out, put in or moved";
            notes.wrong(Test::Feeds, known.maker(), &place, says);
        }
        if !holds(&run, sent) {
            notes.wrong(Test::Feeds, known.maker(), &place, "its entries are not those that were signed");
        }
        notes.looked(Test::Times);
        if run.time < feed.time || run.time > known.head.time {
            notes.wrong(Test::Times, known.maker(), &place, "it is older than the run before it, or of a time to come");
        }
        notes.looked(Test::Runs);
        match logged_run(&sent.run).ok().and_then(|stands| events.show(stands)) {
            None if is_given_back(sent) => {
                let says = "the journal does not have it: its receiver gave it back after a restore of the store";
                notes.open(Test::Runs, known.maker(), &place, says);
            }
            None => notes.wrong(Test::Runs, known.maker(), &place, "the journal does not have it"),
            // What its receiver gave back was lost here, and with it the event. Otherwise its entries are kept, and judged.
            Some((n, ..)) if is_given_back(sent) => {
                let says = format!(
                    "event {n} of the journal has it, so that nobody gave it back, and its entries are not shown"
                );
                notes.wrong(Test::Runs, known.maker(), &place, says);
            }
            Some((n, _, kind)) if kind != EventKind::RunSent => {
                let says = format!("event {n} of the journal has it under another kind, `{}`", kind.name());
                notes.wrong(Test::Runs, known.maker(), &place, says);
            }
            Some((n, at, _)) => {
                if at != run.time || feed.event.is_some_and(|before| before >= n) {
                    let says = format!("event {n} of the journal has it at another time, or before an earlier run");
                    notes.wrong(Test::Runs, known.maker(), &place, says);
                }
                feed.event = Some(n);
            }
        }
        (feed.at, feed.time) = (run.end(), run.time);
        feed.runs.push(run.clone());
        feed.seen.runs += 1;
        feed.seen.entries = feed.seen.entries.saturating_add(run.count);
        for entry in &sent.entries {
            match Entry::from_bytes(&entry.entry) {
                Ok(Entry::Release { .. }) => feed.seen.releases += 1,
                Ok(Entry::Withdrawal { .. }) => feed.seen.withdrawals += 1,
                _ => {}
            }
        }
        Some((feed.key, run))
    }

    /// A countersignature of one of its runs.
    pub fn receipt(&mut self, known: &Known, notes: &mut Notes, signed: &SignatureBytes) {
        let Some(feed) = self.now.as_mut() else { return };
        notes.looked(Test::Receipts);
        let (place, receiver) = (feed_place(known, feed.key.receiver, feed.key.agreement), feed.key.receiver);
        let stated = Receipt::danger_unverified(signed).map(|receipt| receipt.time).unwrap_or_default();
        match Receipt::verify(signed, &feed.key, |kid| known.key(receiver, Purpose::Runs, kid, stated)) {
            Err(fault) => notes.wrong(Test::Receipts, receiver, place, fault),
            Ok(receipt) => {
                let run = feed.runs.binary_search_by_key(&receipt.held.length, |run| run.end().length);
                let run = run.ok().and_then(|at| feed.runs.get(at));
                match run {
                    Some(run) if receipt.is_of(run) => {
                        feed.seen.acknowledged = feed.seen.acknowledged.max(receipt.held.length);
                    }
                    _ => {
                        let says = format!(
                            "it countersigned {} entries, and no run that is shown ends there with what it holds",
                            receipt.held.length
                        );
                        notes.wrong(Test::Receipts, receiver, place, says);
                    }
                }
            }
        }
    }

    fn end(&mut self, known: &Known, notes: &mut Notes) {
        let Some(feed) = self.now.take() else { return };
        for (n, run) in feed.runs.iter().enumerate() {
            notes.looked(Test::Acknowledged);
            if run.end().length > feed.seen.acknowledged {
                let place = format!("{}, run {n}", feed_place(known, feed.key.receiver, feed.key.agreement));
                notes.open(Test::Acknowledged, feed.key.receiver, place, "its receiver has not countersigned it");
            }
        }
        self.seen.push(feed.seen);
    }

    /// Each feed, as it ended.
    pub fn finish(&mut self, known: &Known, notes: &mut Notes) -> Vec<FeedSeen> {
        self.end(known, notes);
        std::mem::take(&mut self.seen)
    }
}

/// How people are told of a feed.
pub fn feed_place(known: &Known, receiver: OrgId, agreement: AgreementId) -> String {
    format!("feed to {} under {}", known.name(receiver), agreement.short())
}

/// Whether its receiver gave it back: of those the entries are not kept.
pub fn is_given_back(sent: &SentRun) -> bool {
    !sent.entries.is_empty() && sent.entries.iter().all(|entry| entry.entry.is_empty())
}

fn holds(run: &Run, sent: &SentRun) -> bool {
    if is_given_back(sent) {
        return sent.entries.len() as u64 == run.count;
    }
    let hashes: Vec<EntryHash> = sent.entries.iter().map(|entry| Entry::hash_of(&entry.entry)).collect();
    Run::over(run.feed, run.before, &hashes, run.version, run.time, run.prior).as_ref() == Ok(run)
}
