//! What an audit found: each test with how much it looked at, and whatever did not hold or could not be told.

use crate::{
    id::{AgreementId, OrgId, StoreId},
    package::Party,
    time::UnixMillis,
};
use std::collections::BTreeMap;

/// Findings that are kept; more are counted.
const FINDINGS_MAX: usize = 2_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Whether everything stands where it was.
    Order,
    /// Whether all of it is there.
    Completeness,
    /// Whether it fits together, and others say the same.
    Consistency,
    /// Whether every release was allowed.
    Coverage,
    /// Whether what left is what its originator attested, and came.
    Custody,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Order, Self::Completeness, Self::Consistency, Self::Coverage, Self::Custody];
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Completeness => "completeness",
            Self::Consistency => "consistency",
            Self::Coverage => "agreement coverage",
            Self::Custody => "custody",
        }
    }
}

/// One test of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is said by `says`")]
pub enum Test {
    Journal,
    Feeds,
    Times,
    Runs,
    Leaves,
    Heads,
    Kept,
    Witnessed,
    Agreements,
    Standing,
    Clauses,
    Gate,
    Recalls,
    Batches,
    Receipts,
    Acknowledged,
}

impl Test {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 16] = [
        Self::Journal,
        Self::Feeds,
        Self::Times,
        Self::Runs,
        Self::Leaves,
        Self::Heads,
        Self::Kept,
        Self::Witnessed,
        Self::Agreements,
        Self::Standing,
        Self::Clauses,
        Self::Gate,
        Self::Recalls,
        Self::Batches,
        Self::Receipts,
        Self::Acknowledged,
    ];
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Feeds => "feeds",
            Self::Times => "times",
            Self::Runs => "runs",
            Self::Leaves => "intervals",
            Self::Witnessed => "witnessed",
            Self::Acknowledged => "acknowledged",
            Self::Heads => "heads",
            Self::Kept => "kept heads",
            Self::Receipts => "receipts",
            Self::Batches => "batches",
            Self::Agreements => "agreements",
            Self::Standing => "standing",
            Self::Clauses => "clauses",
            Self::Gate => "release gate",
            Self::Recalls => "recalls",
        }
    }
    /// What it asks.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Journal => "each event of the journal names the one before it",
            Self::Feeds => "each run goes on where the one before it ended, and holds the entries that were signed",
            Self::Times => "no time goes back, and none is still to come",
            Self::Runs => "each run and batch stands in the journal, and whatever was signed there is shown",
            Self::Leaves => "each interval of the log is made again from the journal",
            Self::Witnessed => "what happened stands under a head that others witnessed",
            Self::Acknowledged => "the receiver countersigned each run",
            Self::Heads => "each head of the log is signed, and is what the intervals give",
            Self::Kept => "the log goes on from each head that you kept",
            Self::Receipts => "each countersignature holds, and is of its run",
            Self::Batches => "each record is in a batch that its originator signed",
            Self::Agreements => "each release came under an agreement in force, signed by every party",
            Self::Standing => "no party had suspended or ended it",
            Self::Clauses => "a clause lets this partner have these fields of this kind",
            Self::Gate => "people reviewed and released each record before it left",
            Self::Recalls => "nothing left after its recall, and every holder answered",
        }
    }
    /// What it belongs to.
    pub const fn area(self) -> Area {
        match self {
            Self::Journal | Self::Feeds | Self::Times => Area::Order,
            Self::Runs | Self::Leaves => Area::Completeness,
            Self::Heads | Self::Kept | Self::Witnessed => Area::Consistency,
            Self::Batches | Self::Receipts | Self::Acknowledged => Area::Custody,
            Self::Agreements | Self::Standing | Self::Clauses | Self::Gate | Self::Recalls => Area::Coverage,
        }
    }
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// It does not hold.
    Wrong,
    /// It cannot be told, or is still to come.
    Open,
}

/// Something that does not hold, or cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which test found it.
    pub test: Test,
    /// How much it weighs.
    pub mark: Mark,
    /// Whose it is.
    pub whose: OrgId,
    /// Where.
    pub place: String,
    /// In words.
    pub says: String,
}

/// What a test looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Check {
    /// Things looked at.
    pub checked: u64,
    /// Those that do not hold.
    pub wrong: u64,
    /// Those that cannot be told, or are still to come.
    pub open: u64,
}

/// An agreement, as far as releases came under it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgreementSeen {
    /// Versions that every party signed.
    pub versions: u64,
    /// Releases under it.
    pub releases: u64,
}

/// A feed of the maker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSeen {
    /// Who receives.
    pub receiver: OrgId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Runs.
    pub runs: u64,
    /// Releases in them.
    pub releases: u64,
    /// Withdrawals in them.
    pub withdrawals: u64,
    /// Entries that the receiver countersigned.
    pub acknowledged: u64,
    /// Entries.
    pub entries: u64,
}

/// Somebody who witnessed the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessSeen {
    /// Who.
    pub org: OrgId,
    /// Until when.
    pub until: UnixMillis,
    /// Whether its card was compared with one that the reader gave.
    pub is_compared: bool,
}

/// What an audit export proves, and what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who made it.
    pub maker: OrgId,
    /// Of which store.
    pub store: StoreId,
    /// When, by its clock.
    pub made: UnixMillis,
    /// Whose cards are in it.
    pub parties: Vec<Party>,
    /// Events of the journal.
    pub events: u64,
    /// Intervals of the log.
    pub intervals: u64,
    /// Who witnessed the log, by id.
    pub witnesses: Vec<WitnessSeen>,
    /// The latest head of the log that holds, as a note: what to keep for the next audit.
    pub head: Option<Vec<u8>>,
    /// Each agreement.
    pub agreements: BTreeMap<AgreementId, AgreementSeen>,
    /// Each feed.
    pub feeds: Vec<FeedSeen>,
    /// What each test looked at.
    pub checks: BTreeMap<Test, Check>,
    /// What does not hold, and what cannot be told.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub more: u64,
}

impl Report {
    /// Up to when others witnessed the log, where they did: of those whose card was compared. Anybody invents others.
    pub fn witnessed(&self) -> Option<UnixMillis> {
        self.witnesses.iter().filter(|seen| seen.is_compared).map(|seen| seen.until).max()
    }
    /// Whether everything holds.
    pub fn is_good(&self) -> bool {
        self.checks.values().all(|check| check.wrong == 0)
    }
}

/// Findings as they come.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub checks: BTreeMap<Test, Check>,
    pub findings: Vec<Finding>,
    pub more: u64,
}

impl Notes {
    pub fn looked(&mut self, test: Test) {
        self.checks.entry(test).or_default().checked += 1;
    }
    pub fn wrong(&mut self, test: Test, whose: OrgId, place: impl Into<String>, says: impl ToString) {
        self.checks.entry(test).or_default().wrong += 1;
        self.keep(Finding { test, mark: Mark::Wrong, whose, place: place.into(), says: says.to_string() });
    }
    pub fn open(&mut self, test: Test, whose: OrgId, place: impl Into<String>, says: impl ToString) {
        self.checks.entry(test).or_default().open += 1;
        self.keep(Finding { test, mark: Mark::Open, whose, place: place.into(), says: says.to_string() });
    }
    fn keep(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}
