//! The log: each interval is made again from the journal, and each head held against what they give.

use super::{
    super::{
        item::{Busy, Leaves, LogStart},
        report::WitnessSeen,
    },
    Known, Notes, Test,
    journal::Events,
    kept::Kept,
};
use crate::{
    custody::{
        checkpoint::{Checkpoint, Origin, UnverifiedCheckpoint},
        cosignature::{Quorum, WitnessFault, danger_unverified_witnesses},
        interval::Interval,
        journal::JournalHead,
    },
    id::{Hash, LoggedDigest, OrgId},
    identity::Purpose,
    limits, merkle,
    package::{Name, keys::Parties},
    primitive::PublicKey,
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A head that is still to be reached.
struct Awaited {
    size: u64,
    root: Hash,
    by: BTreeSet<OrgId>,
    note: Option<Vec<u8>>,
}

/// One epoch that is being followed.
struct Epoch {
    origin: Origin,
    size: u64,
    made: u64,
    tree: merkle::Growing,
    journal: JournalHead,
    heads: VecDeque<Awaited>,
    kept: Kept,
    seen: Seen,
}

/// What stands under heads that others witnessed.
#[derive(Debug, Default)]
struct Seen {
    /// Events, by whomever.
    claimed: u64,
    /// Events, by somebody whose card was compared: anybody can invent the others.
    covered: u64,
    /// Up to when each witnessed.
    by: BTreeMap<OrgId, UnixMillis>,
    /// The latest head that holds.
    head: Option<Vec<u8>>,
}

/// Why an interval is not what it says, and where the journal goes on behind it, if that can be told.
type Unfit = (&'static str, Option<JournalHead>);

/// Every epoch.
pub struct Logs {
    now: Option<Epoch>,
    /// How far the epochs before go: which was the last, and how many events of the journal they hold.
    before: Option<(u32, u64)>,
    /// Signed in an event, and to stand in a later interval, also of a later epoch.
    owed: BTreeSet<LoggedDigest>,
    intervals: u64,
    seen: Seen,
    /// Heads that the reader kept, of epochs that are still to come.
    kept: Kept,
}

/// The log, as it ended.
pub struct Told {
    pub intervals: u64,
    pub witnesses: Vec<WitnessSeen>,
    pub head: Option<Vec<u8>>,
}

impl Logs {
    /// Before the first epoch.
    pub fn new(kept: &[Checkpoint]) -> Self {
        let kept = Kept::new(kept);
        Self { now: None, before: None, owed: BTreeSet::new(), intervals: 0, seen: Seen::default(), kept }
    }

    /// The next epoch.
    pub fn begin(&mut self, known: &Known, notes: &mut Notes, events: &Events, start: &LogStart) {
        self.end(known, notes);
        let place = || "log".to_owned();
        let Ok(origin) = start.origin.parse::<Origin>() else {
            return notes.wrong(Test::Leaves, known.maker(), place(), "it does not say which log it is");
        };
        if origin.org() != known.maker() || origin.store() != known.head.store {
            return notes.wrong(Test::Leaves, known.maker(), place(), "it is the log of another store");
        }
        if start.size > limits::LOG_SIZE_MAX {
            return notes.wrong(Test::Leaves, known.maker(), place(), "no log has as many intervals");
        }
        let Some(digest) = events.digest_before(start.count) else {
            return notes.wrong(Test::Leaves, known.maker(), place(), "it begins after the end of the journal");
        };
        // Each epoch goes on in the journal where the one before it ended. This also bounds the work: none reads it twice.
        let (last, held) = self.before.map_or((None, 0), |(epoch, held)| (Some(epoch), held));
        if last.is_some_and(|last| last >= origin.epoch()) {
            return notes.wrong(Test::Leaves, known.maker(), place(), "its epochs do not rise");
        }
        if start.count != held {
            let says = "it does not begin at the event after the last one that an earlier epoch holds";
            return notes.wrong(Test::Leaves, known.maker(), format!("log, epoch {}", origin.epoch()), says);
        }
        self.now = Some(Epoch {
            origin,
            size: start.size,
            made: 0,
            tree: merkle::Growing::default(),
            journal: JournalHead { count: start.count, digest },
            heads: VecDeque::new(),
            kept: self.kept.of(origin.epoch()),
            seen: std::mem::take(&mut self.seen),
        });
    }

    /// A head of it.
    pub fn head(&mut self, known: &Known, notes: &mut Notes, note: &[u8]) {
        let Some(epoch) = &mut self.now else { return };
        notes.looked(Test::Heads);
        let place = format!("log, epoch {}", epoch.origin.epoch());
        let read = UnverifiedCheckpoint::from_bytes(note);
        let keys = known.parties.keys(known.maker(), Purpose::Log, Name::Manifest).unwrap_or_default();
        let verified = read.and_then(|read| Ok((read.verify(known.maker(), keys.iter().map(|key| &key.key))?, read)));
        let (head, read) = match verified {
            Ok(verified) => verified,
            Err(fault) => return notes.wrong(Test::Heads, known.maker(), place, fault),
        };
        let place = format!("{place}, head of {} intervals", head.head().size);
        let follows = epoch.heads.back().is_none_or(|before| before.size < head.head().size);
        if *head.origin() != epoch.origin || !follows || head.head().size > epoch.size {
            return notes.wrong(Test::Heads, known.maker(), place, "it is of another log, or out of order");
        }
        let quorum = known.witnesses.quorum(known, &read);
        let by = match quorum.map(|quorum| quorum.verify(&head, &read, known.head.time)) {
            Some(Ok(witnessed)) => witnessed.by().keys().copied().collect(),
            None | Some(Err(WitnessFault::TooFew { .. })) => BTreeSet::new(),
            Some(Err(fault)) => {
                notes.wrong(Test::Heads, known.maker(), place, fault);
                BTreeSet::new()
            }
        };
        let (size, root) = (head.head().size, head.head().root);
        // Of the notes the last alone is of use, and there may be tens of thousands.
        if let Some(before) = epoch.heads.back_mut() {
            before.note = None;
        }
        epoch.heads.push_back(Awaited { size, root, by, note: Some(note.to_vec()) });
    }

    /// The next intervals.
    pub fn leaves(&mut self, known: &Known, notes: &mut Notes, events: &Events, leaves: &Leaves) {
        let Some(epoch) = &mut self.now else { return };
        let mut busy = leaves.busy.iter().peekable();
        if leaves.first != epoch.made {
            let says = format!("intervals from {} on are missing, or stand twice", epoch.made);
            notes.wrong(Test::Leaves, known.maker(), format!("interval {}", leaves.first), says);
        }
        if leaves.first.saturating_add(leaves.seeds.len() as u64) > epoch.size {
            let says = "there are more intervals than the log is said to have";
            return notes.wrong(Test::Leaves, known.maker(), format!("interval {}", leaves.first), says);
        }
        epoch.made = leaves.first;
        for seed in &leaves.seeds {
            notes.looked(Test::Leaves);
            self.intervals += 1;
            let row = busy.next_if(|row| row.at == epoch.made);
            let stands = match row.map(|row| epoch.stands(events, &mut self.owed, row)) {
                None => Ok(Vec::new()),
                Some(Ok((stands, head))) => {
                    epoch.journal = head;
                    Ok(stands)
                }
                Some(Err((why, after))) => {
                    // What follows is judged by itself.
                    epoch.journal = after.unwrap_or(epoch.journal);
                    Err(why)
                }
            };
            let made = stands.and_then(|stands| {
                let stands = stands.get(..limits::INTERVAL_EVENTS_MAX).unwrap_or(&stands);
                let made = Interval::new(stands, epoch.journal, seed.as_bytes());
                made.map(|made| made.leaf().hash()).map_err(|_| "it cannot be made again")
            });
            match made {
                Ok(leaf) => epoch.tree.push(leaf),
                Err(why) => {
                    notes.wrong(Test::Leaves, known.maker(), format!("interval {}", epoch.made), why);
                    // A place is kept, so that only heads over it differ.
                    epoch.tree.push(Hash::from_bytes([0; 32]));
                }
            }
            epoch.made += 1;
            epoch.reach(known, notes);
        }
        if let Some(left) = busy.next() {
            let says = "it is not among the intervals that it stands beside";
            notes.wrong(Test::Leaves, known.maker(), format!("interval {}", left.at), says);
        }
    }

    fn end(&mut self, known: &Known, notes: &mut Notes) {
        let Some(epoch) = self.now.take() else { return };
        let place = format!("log, epoch {}", epoch.origin.epoch());
        if epoch.made != epoch.size {
            notes.wrong(Test::Leaves, known.maker(), &place, "intervals at its end are missing");
        }
        if let Some(head) = epoch.heads.front() {
            let says = format!("the head of {} intervals is of more than are shown", head.size);
            notes.wrong(Test::Heads, known.maker(), &place, says);
        }
        epoch.kept.finish(known, notes, Some((&epoch.origin, epoch.made)));
        self.before = Some((epoch.origin.epoch(), epoch.journal.count));
        self.seen = epoch.seen;
    }

    /// How many intervals there are, and up to when each of the others witnessed them.
    pub fn finish(&mut self, known: &Known, notes: &mut Notes, events: &Events) -> Told {
        self.end(known, notes);
        std::mem::take(&mut self.kept).finish(known, notes, None);
        let logged = self.before.map_or(0, |(_, held)| held);
        if !self.owed.is_empty() {
            let says =
                format!("{} run(s) or batch(es) were signed, and their interval is still to be made", self.owed.len());
            notes.open(Test::Leaves, known.maker(), "log", says);
        }
        for _ in 0..events.len() {
            notes.looked(Test::Witnessed);
        }
        let newer = events.len().saturating_sub(logged);
        if newer > 0 {
            let says = format!(
                "{newer} newest event(s) stand in no interval yet: it is not over, or no partner was met since"
            );
            notes.open(Test::Witnessed, known.maker(), "journal", says);
        }
        let Seen { claimed, covered, by, head } = std::mem::take(&mut self.seen);
        let waiting = logged.saturating_sub(claimed);
        if waiting > 0 {
            let says = format!(
                "{waiting} event(s) stand in the log, under no head that others witnessed, or none of them agreed to be shown"
            );
            notes.open(Test::Witnessed, known.maker(), "log", says);
        }
        let invented = claimed.saturating_sub(covered);
        if invented > 0 {
            let says = format!(
                "{invented} event(s) stand under heads of which nobody compared the card of a witness: whoever made this \
                 could have invented it"
            );
            notes.open(Test::Witnessed, known.maker(), "log", says);
        }
        for org in &known.witnesses.doubled {
            let says =
                "its card lists a key for witnessing that stands on another card too: by that key nobody witnessed";
            notes.open(Test::Witnessed, *org, "cards", says);
        }
        let seen = |(org, until): (OrgId, UnixMillis)| WitnessSeen { org, until, is_compared: known.is_compared(org) };
        Told { intervals: self.intervals, head, witnesses: by.into_iter().map(seen).collect() }
    }
}

impl Epoch {
    /// What stands in an interval, and the journal at its end.
    fn stands(
        &self,
        events: &Events,
        owed: &mut BTreeSet<LoggedDigest>,
        row: &Busy,
    ) -> Result<(Vec<LoggedDigest>, JournalHead), Unfit> {
        const OVER: Unfit = ("it ends after the end of the journal", None);
        let digest = events.digest_before(row.to).ok_or(OVER)?;
        let after = JournalHead { count: row.to, digest };
        if row.from != self.journal.count || row.to < row.from {
            let after = (row.to > self.journal.count).then_some(after);
            return Err(("it leaves out events of the journal, or holds some twice", after));
        }
        let gone: BTreeSet<u64> = row.gone.iter().copied().collect();
        let (mut signed, mut others) = (Vec::new(), Vec::new());
        for n in row.from..row.to {
            let seen = events.at(n).ok_or(OVER)?;
            match (seen.signed, gone.contains(&n)) {
                (true, true) => {
                    owed.insert(seen.stands);
                }
                (false, true) => {
                    return Err(("it leaves out an event in which nothing was signed", Some(after)));
                }
                (true, false) => signed.push(seen.stands),
                (false, false) => others.push(seen.stands),
            }
        }
        if !row.late.iter().all(|late| owed.remove(late)) {
            return Err(("something stands in it that the journal does not have", Some(after)));
        }
        signed.extend(&row.late);
        signed.extend(others);
        Ok((signed, after))
    }

    /// Holds the heads of this size against what the intervals give.
    fn reach(&mut self, known: &Known, notes: &mut Notes) {
        self.kept.reach(known, notes, (&self.origin, self.made), || self.tree.root());
        while let Some(head) = self.heads.pop_front_if(|head| head.size <= self.made) {
            if head.size != self.made || self.tree.root() != head.root {
                let place = format!("log, epoch {}, head of {} intervals", self.origin.epoch(), head.size);
                let says = "it is not what the journal and the intervals give: something was changed, or left out";
                notes.wrong(Test::Heads, known.maker(), place, says);
                continue;
            }
            self.seen.head = head.note.or(self.seen.head.take());
            if head.by.is_empty() {
                continue;
            }
            self.seen.claimed = self.journal.count;
            if head.by.iter().any(|org| known.is_compared(*org)) {
                self.seen.covered = self.journal.count;
            }
            let until = self.origin.begins(head.size);
            for org in head.by {
                let last = self.seen.by.entry(org).or_insert(until);
                *last = until.max(*last);
            }
        }
    }
}

/// Everybody who may have witnessed, and whose cards list one key between them.
#[derive(Debug, Default)]
pub struct Witnesses {
    all: BTreeMap<OrgId, Vec<PublicKey>>,
    doubled: BTreeSet<OrgId>,
}

impl Witnesses {
    /// Those that have a card in the export. A compromised key is none.
    pub fn of(parties: &Parties, maker: OrgId) -> Self {
        let (all, doubled) = parties.witnesses(maker);
        let is_good = |org: OrgId, key: &PublicKey| {
            let listed = parties.listed(org, Purpose::Witness, key.id(), Name::Manifest);
            listed.ok().flatten().is_some_and(|key| key.compromised.is_none())
        };
        let good = |(org, mut keys): (OrgId, Vec<PublicKey>)| {
            keys.retain(|key| is_good(org, key));
            (org, keys)
        };
        Self { all: all.into_iter().map(good).filter(|(_, keys)| !keys.is_empty()).collect(), doubled }
    }

    /// Those among them whose lines a note has, as a quorum of one. A log has no more witnesses than a quorum takes; where
    /// more stand there, those that somebody has compared come first.
    fn quorum(&self, known: &Known, note: &UnverifiedCheckpoint) -> Option<Quorum> {
        let claimed = danger_unverified_witnesses(note);
        let with_keys = claimed.iter().filter_map(|org| Some((*org, self.all.get(org)?.clone())));
        let mut of: Vec<(OrgId, Vec<PublicKey>)> = with_keys.collect();
        of.sort_by_key(|(org, _)| !known.is_compared(*org));
        of.truncate(limits::WITNESSES_MAX);
        Quorum::new(known.maker(), &of, 1).ok()
    }
}
