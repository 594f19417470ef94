//! What a package proves, for people and programs: who, what, since when, through whose hands, and what is in doubt.
//!
//! It holds ids, names and times, and of a record which fields were shown, not what they say: a package of ten thousand
//! records has a report that fits in memory.

use super::parts::Standing;
use crate::{
    id::{LineId, OrgId, RecordId},
    identity::Words,
    record::{SlotSet, kind::Kind},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

/// Whether somebody knows that a card is the organisation's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// Nobody has compared its words.
    ByNobody,
    /// It is the card that was given.
    ByCard,
    /// The card that was given is newer, and was used.
    ByNewerCard,
    /// It follows the card that was given.
    BySuccession,
}

/// An organisation in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Its id.
    pub org: OrgId,
    /// Its name, by its own card.
    pub name: String,
    /// Its short name, by its own card.
    pub handle: String,
    /// Number of the card.
    pub number: u64,
    /// The words to compare.
    pub words: Words,
    /// Whether somebody has.
    pub confirmed: Confirmed,
}

/// Since when a record has existed, by the earliest word that is not its originator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The log in which its batch, or a run with it, stands was witnessed.
    Witnessed {
        /// When, by the witness's clock.
        at: UnixMillis,
        /// By whom.
        by: Vec<OrgId>,
    },
    /// Its receiver countersigned the run that brought it.
    Countersigned {
        /// When, by the receiver's clock.
        at: UnixMillis,
        /// By whom.
        by: OrgId,
    },
    /// Somebody else than its originator sent it on.
    Sent {
        /// When, by the sender's clock.
        at: UnixMillis,
        /// By whom.
        by: OrgId,
    },
    /// Nobody but its originator says so.
    Stated {
        /// When, by the originator's clock.
        at: UnixMillis,
    },
}

impl Since {
    /// The time.
    pub const fn at(&self) -> UnixMillis {
        match self {
            Self::Witnessed { at, .. }
            | Self::Countersigned { at, .. }
            | Self::Sent { at, .. }
            | Self::Stated { at } => *at,
        }
    }
}

/// One way of a record from one organisation to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// Who sent it.
    pub from: OrgId,
    /// To whom.
    pub to: OrgId,
    /// When, by the sender's clock.
    pub sent: UnixMillis,
    /// When the receiver countersigned that it has it, by its own clock.
    pub received: Option<UnixMillis>,
}

/// The file of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// The record has none, or does not show one.
    None,
    /// It is in the package, and is what the record states.
    Here,
    /// The record states one that is not in the package.
    LeftOut,
}

/// A record, and what is proved of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Its number in the package.
    pub place: u32,
    /// Its id.
    pub id: RecordId,
    /// Its line.
    pub line: LineId,
    /// Its kind.
    pub kind: Kind,
    /// Its evidence number, where it is shown.
    pub number: Option<String>,
    /// Who recorded it.
    pub originator: OrgId,
    /// When it was attested, by the originator's clock.
    pub attested: UnixMillis,
    /// Since when it has existed.
    pub since: Since,
    /// Through whose hands it went.
    pub hands: Vec<Hand>,
    /// Fields that are shown.
    pub shown: SlotSet,
    /// Its file.
    pub file: FileState,
    /// Where it stands, by its maker's word.
    pub standing: Standing,
    /// Why it counts for nothing all the same, in words; none where all is well.
    pub doubts: Vec<&'static str>,
}

impl Proved {
    /// Whether it is proved and was not taken back.
    pub fn is_good(&self) -> bool {
        self.doubts.is_empty() && self.standing.state.stands()
    }
}

/// A log of which something is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSeen {
    /// Whose.
    pub org: OrgId,
    /// Up to when the checkpoint speaks.
    pub until: UnixMillis,
    /// Who witnessed it, and when.
    pub by: BTreeMap<OrgId, UnixMillis>,
    /// Whose cards list one key for witnessing between them: by that key nobody witnessed anything.
    pub doubled: BTreeSet<OrgId>,
    /// Places that are proved in it.
    pub places: usize,
}

/// What a package proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who made it.
    pub maker: OrgId,
    /// When, by the maker's clock.
    pub made: UnixMillis,
    /// Everybody who has a card in it, by id.
    pub parties: Vec<Party>,
    /// The records, in their order.
    pub records: Vec<Proved>,
    /// Files that are in it.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Logs of which something is shown.
    pub logs: Vec<LogSeen>,
}

impl Report {
    /// Whether every record is proved and none was taken back.
    pub fn is_good(&self) -> bool {
        self.records.iter().all(Proved::is_good)
    }
    /// An organisation.
    pub fn party(&self, org: OrgId) -> Option<&Party> {
        self.parties.iter().find(|party| party.org == org)
    }
}
