//! What happens, for both worlds: each step says what it is without, and what with, that which the partner may not see.
//!
//! `teller` draws tales; a story of its own may be written down as one.

use entente_node::records::gate::Review;
use entente_protocol::{agreement::Standing, recall::Act as Asks, record::kind::Kind};

/// The node under test.
pub const NODE: usize = 0;
/// The partner who observes it.
pub const OBSERVER: usize = 1;
/// A partner of the node of whom the observer knows nothing.
pub const OTHER: usize = 2;
/// Another, who gives the node records that may go on.
pub const SOURCE: usize = 3;
/// One who joins where the observer may not see it.
pub const LATE: usize = 4;

/// A record.
#[derive(Debug, Clone)]
pub struct Thing {
    /// Whose.
    pub owner: usize,
    /// What it is.
    pub kind: Kind,
    /// Its line: a number that only this record and its amendments have.
    pub line: usize,
    /// The record that it amends.
    pub amends: Option<usize>,
    /// The line that it refers to: an item its event, a file what it is of, a link both.
    pub of: Option<usize>,
    /// Whether an item is in working order: the observer's clause asks for it.
    pub serviceable: bool,
    /// Not before a day that does not come.
    pub never: bool,
    /// Whether a red line of the node keeps it back.
    pub red: bool,
    /// Of a file: its form, and bytes.
    pub file: Option<(&'static str, usize)>,
    /// Whether the observer may not see it.
    pub hidden: bool,
    /// Withdrawn for a reason that differs: nobody decides about it again.
    pub gone: bool,
}

/// The agreements of a tale, by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// Who signs last, and the other.
    pub parties: [usize; 2],
    /// What makes its id.
    pub number: usize,
}

/// The node and the observer.
pub const SEEN: Deal = Deal { parties: [NODE, OBSERVER], number: 0 };
/// Others.
pub const WITH_OTHER: Deal = Deal { parties: [NODE, OTHER], number: 1 };
/// Others.
pub const WITH_SOURCE: Deal = Deal { parties: [NODE, SOURCE], number: 2 };
/// Between two others.
pub const BESIDE: Deal = Deal { parties: [OTHER, SOURCE], number: 3 };
/// Between the observer and another, where both worlds have others.
pub const OBSERVED_ON: Deal = Deal { parties: [OBSERVER, OTHER], number: 6 };
/// A second one with a partner.
pub const SECOND: Deal = Deal { parties: [NODE, OTHER], number: 4 };
/// With who joins late.
pub const WITH_LATE: Deal = Deal { parties: [NODE, LATE], number: 5 };

/// What the observer's node does that no honest one would, with what it was told by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It asks the node to take back a record of the node's own, as if it were the observer's.
    Recall(usize),
    /// It asks for a grant for a line.
    Grant(usize),
    /// It says that it passed a record on.
    Passed(usize),
    /// It states a standing in an agreement of others, so many times.
    Standings(Deal, u32),
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Act {
    /// Records are kept, in one batch.
    Keep(Vec<usize>),
    /// Records are reviewed, and released where it says so.
    Gate(Vec<usize>, Review, bool),
    /// Records are asked back.
    Recall(Vec<usize>, Asks),
    /// A received record is held by law, or let go.
    Hold(usize, bool),
    /// Two organisations become partners.
    Pair(usize, usize),
    /// Both sign the next version: 0 shows references and what was amended, 1 does not.
    Sign(Deal, usize),
    /// The first party states its standing, or the second one.
    Stand(Deal, usize, Standing),
    /// The node suspends a partner, or takes it in again.
    Suspend(usize, bool),
    /// `by` asks the originator whether a record may go on to `to`, who answers.
    Grant {
        /// Who holds it.
        by: usize,
        /// What.
        thing: usize,
        /// To whom.
        to: usize,
        /// The answer.
        yes: bool,
    },
    /// What came under an agreement that has ended is erased at both.
    Erase(Deal),
    /// The observer's connection is cut, and comes again.
    Cut,
    /// The node's records lane to the observer is full, or empty again.
    Stall,
    /// What is on its way to the observer does not arrive, or does again.
    Slow,
    /// The observer asks for every file there may be.
    Fetch,
    /// The node makes a bundle for the observer, one way or not, of what is new or of everything; the observer takes it.
    Bundle(bool, bool),
    /// The observer probes.
    Probe(Probe),
    /// The node stops and starts.
    Restart,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Time that passes before.
    pub wait_ms: u64,
    /// What happens where nothing is hidden.
    pub without: Option<Act>,
    /// What happens where something is.
    pub with: Option<Act>,
    /// What it is, for the count of what was hidden; empty of what both see.
    pub what: &'static str,
}

/// A whole tale.
#[derive(Debug, Default)]
pub struct Tale {
    /// Every record in it.
    pub things: Vec<Thing>,
    /// What happens.
    pub steps: Vec<Step>,
    /// Hours of the lease in the observer's agreement.
    pub lease: Option<u32>,
    /// Whether the other partners are there for both: else one world has the observer alone.
    pub others: bool,
}
