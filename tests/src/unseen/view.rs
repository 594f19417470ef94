//! Everything that a partner observes, in one type: [`Observed`]. Nothing else of a world is compared.
//!
//! A feature that says something new to a partner says it in a frame, or in an answer on a stream of its own: the frame is
//! compared from its first day, and a new kind of stream gets a variant of [`Seen`].

use super::cbor::{self, Masks};
use entente_protocol::{
    codec::frame::padme,
    feed::RunMessage,
    session::{CloseCode, Lane, Message},
    time::UnixMillis,
};
use std::{collections::BTreeSet, fmt};

/// What is said of bundles.
pub(super) const ONE_WAY: &str = "a bundle that goes one way";
pub(super) const BOTH_WAYS: &str = "a bundle that is answered";
/// Levels of a batch tree.
const BATCH_LEVELS: u32 = 16;
/// A digest as CBOR.
const NODE_BYTES: usize = 34;

/// What a test does with a row of the leakage table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The two worlds are made so that nothing of it differs: what it says stands in both alike.
    Alike,
    /// It may differ, and is masked where a plan says so. Without that, the test must find it.
    Exempt(Exempt),
    /// It is seen by others than a partner in its session: colluders, third parties, the network, later features.
    Elsewhere,
}

/// What may differ between the worlds, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exempt {
    /// Evidence numbers are drawn from one counter, so that a number tells how many were drawn.
    Numbers,
}

/// Each row of the leakage table, by who learns and the beginning of what, and how the test treats it. A test compares
/// them with SPEC, so that whoever adds a row says here what becomes of it.
pub const ROWS: &[(&str, &str, Treatment)] = &[
    ("recipient of two records", "whether they were committed in one batch", Treatment::Alike),
    ("recipient of many records", "that an originator made more than one batch", Treatment::Alike),
    ("recipient of a record", "kind, originator, line", Treatment::Alike),
    ("recipient of a record", "length of each disclosed value", Treatment::Alike),
    ("recipient of records", "when each was released to it", Treatment::Alike),
    ("recipient of a file", "its size", Treatment::Alike),
    ("organisation that was removed", "that it was removed", Treatment::Alike),
    ("recipient of several records", "gaps in evidence numbers", Treatment::Exempt(Exempt::Numbers)),
    ("recipients that collude", "that they hold parts of one line", Treatment::Elsewhere),
    ("receiver of a record that was passed on", "who recorded it", Treatment::Alike),
    ("originator of a record that was passed on", "who holds it", Treatment::Alike),
    ("originator of a record that was passed on", "what its receiver answered", Treatment::Alike),
    ("holder of a recalled record", "that it was recalled", Treatment::Alike),
    ("originator of a recalled record", "who holds it", Treatment::Alike),
    ("holder of a withdrawn record", "that it was withdrawn", Treatment::Alike),
    ("witness of checkpoints", "when a node ran", Treatment::Elsewhere),
    ("whoever is shown that a run is logged", "that something else happened", Treatment::Elsewhere),
    ("whoever is shown a cosignature", "who witnesses that log", Treatment::Elsewhere),
    ("partner", "the number of an organisation's stores", Treatment::Alike),
    ("partner that matches", "the size of the set", Treatment::Elsewhere),
    ("whoever finds a bundle", "that it is an age file", Treatment::Elsewhere),
    ("receiver of bundles", "how many were made for it", Treatment::Alike),
    ("whoever is given a package", "who made it", Treatment::Elsewhere),
    ("auditor of an organisation, and whoever is given its export", "each event's kind", Treatment::Elsewhere),
    ("network observer", "that two addresses exchange traffic", Treatment::Elsewhere),
];

/// Who sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The partner who observes.
    Observer,
    /// The node under test.
    Node,
}

/// One thing that a partner observes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A connection is there.
    Begins,
    /// A frame. Where it proves batches, `padded` is without what follows from positions.
    Frame {
        /// From whom.
        by: By,
        /// On which lane.
        lane: Lane,
        /// Bytes on the wire.
        padded: usize,
        /// The message, masked.
        says: String,
    },
    /// A bundle is brought: what its header says. Its parts follow as frames and files.
    Bundle {
        /// Its number among those for this partner.
        number: u64,
        /// Whether it goes one way.
        one_way: bool,
    },
    /// A connection ends with a code, or is cut without one.
    Ends {
        /// By whom.
        by: By,
        /// With which code.
        code: Option<u32>,
    },
    /// The answer to a request for a file.
    File {
        /// What was asked.
        asked: String,
        /// The answer, masked.
        reply: String,
        /// Bytes of each frame that follows.
        chunks: Vec<usize>,
    },
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins => f.write_str("a connection begins"),
            Self::Bundle { number, one_way } => write!(f, "bundle {number}, one way: {one_way}"),
            Self::Frame { by, lane, padded, says } => write!(f, "{by:?}, {lane:?}, {padded} bytes: {says}"),
            Self::Ends { by, code } => write!(f, "a connection ends, by {by:?}, with {code:?}"),
            Self::File { asked, reply, chunks } => write!(f, "file {asked}: {reply}, then frames of {chunks:?} bytes"),
        }
    }
}

/// All that a partner observed, each with the time on the virtual clock.
#[derive(Debug, Default)]
pub struct Observed {
    seen: Vec<(UnixMillis, Seen)>,
    masks: Masks,
    /// What no honest proof has: found in one world alone, without the other.
    odd: Option<String>,
}

impl Observed {
    /// Nothing yet.
    #[must_use]
    pub fn new(exempt: Option<Exempt>) -> Self {
        Self { masks: Masks::new(exempt == Some(Exempt::Numbers)), ..Self::default() }
    }

    /// A connection begins.
    pub fn begins(&mut self, at: UnixMillis) {
        self.seen.push((at, Seen::Begins));
    }

    /// A bundle is brought.
    pub fn bundle(&mut self, at: UnixMillis, number: u64, one_way: bool) {
        self.seen.push((at, Seen::Bundle { number, one_way }));
    }

    /// A connection ends.
    pub fn ends(&mut self, at: UnixMillis, by: By, code: Option<CloseCode>) {
        self.seen.push((at, Seen::Ends { by, code: code.map(|code| code.0) }));
    }

    /// A frame is sent.
    pub fn frame(&mut self, at: UnixMillis, by: By, lane: Lane, content: &[u8]) {
        let mut bytes = content.len();
        if let Ok(Message::Run(message)) = Message::from_bytes(lane, content) {
            match proofs(&message) {
                Ok(of_positions) => bytes -= of_positions.min(bytes),
                Err(odd) => drop(self.odd.get_or_insert(odd)),
            }
        }
        let says = match cbor::read(content) {
            Some(message) => self.masks.text("", &message),
            None => format!("{content:?}"),
        };
        self.seen.push((at, Seen::Frame { by, lane, padded: padme(bytes), says }));
    }

    /// A request for a file is answered.
    pub fn file(&mut self, at: UnixMillis, asked: String, reply: &[u8], chunks: Vec<usize>) {
        let reply = cbor::read(reply).map_or_else(|| format!("{reply:?}"), |reply| self.masks.text("", &reply));
        self.seen.push((at, Seen::File { asked, reply, chunks }));
    }

    /// How many things were observed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was observed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How many frames of the node say something that contains these words.
    #[must_use]
    pub fn says(&self, words: &str) -> u64 {
        let says = |seen: &Seen| match seen {
            Seen::Frame { by: By::Node, says, .. } => says.matches(words).count(),
            Seen::File { reply, .. } => reply.matches(words).count(),
            Seen::Bundle { one_way, .. } => usize::from(words == if *one_way { ONE_WAY } else { BOTH_WAYS }),
            _ => 0,
        };
        self.seen.iter().map(|(_, seen)| says(seen) as u64).sum()
    }

    /// The first thing in which two partners' views differ, in words.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        if let Some(odd) = self.odd.as_ref().or(other.odd.as_ref()) {
            return Some(odd.clone());
        }
        let at = (0..self.len().max(other.len())).find(|at| self.seen.get(*at) != other.seen.get(*at))?;
        let told = |side: &Self| match side.seen.get(at) {
            Some((time, seen)) => format!("{} {seen}", time.0),
            None => "nothing".to_owned(),
        };
        let (one, two) = (told(self), told(other));
        let same = one.chars().zip(two.chars()).take_while(|(a, b)| a == b).count();
        let part = |text: &str| text.chars().skip(same.saturating_sub(160)).take(480).collect::<String>();
        let name: String = one.chars().take(120).collect();
        Some(format!(
            "no. {at} of what the partner sees differs ({name} ...)\n  without: ...{}\n  with:    ...{}",
            part(&one),
            part(&two)
        ))
    }
}

/// Bytes of a run's message that follow from the positions of the records that it shows: the positions, and the nodes that
/// prove them. Positions are uniform among all places whatever else the batch holds, so nothing else shows in them; but
/// another number of nodes than the fewest would be no matter of positions alone.
fn proofs(message: &RunMessage) -> Result<usize, String> {
    let mut bytes: usize = message.carried.iter().map(|carried| head_bytes(u64::from(carried.2))).sum();
    for (at, attestation) in (0u16..).zip(&message.attestations) {
        let positions: BTreeSet<u32> = message.carried.iter().filter(|c| c.1 == at).map(|c| u32::from(c.2)).collect();
        let (asked, given) = (fewest(positions), attestation.nodes.len());
        if asked != given {
            return Err(format!("a proof has {given} nodes where its positions ask for {asked}"));
        }
        bytes += given * NODE_BYTES + head_bytes(given as u64);
    }
    Ok(bytes)
}

/// The fewest nodes that prove leaves at these positions.
fn fewest(mut positions: BTreeSet<u32>) -> usize {
    let mut nodes = 0;
    for _ in 0..BATCH_LEVELS {
        nodes += positions.iter().filter(|at| !positions.contains(&(**at ^ 1))).count();
        positions = positions.iter().map(|at| at >> 1).collect();
    }
    nodes
}

/// Bytes of a CBOR head with this number.
const fn head_bytes(number: u64) -> usize {
    match number {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_proved_by_a_node_of_each_level_and_two_by_fewer() {
        assert_eq!(fewest([7].into()), 16);
        assert_eq!(fewest([6, 7].into()), 15);
        assert_eq!(fewest([0, 1 << 15].into()), 30);
    }

    #[test]
    fn what_comes_later_or_not_at_all_differs() {
        let observed = |times: &[u64]| {
            let mut observed = Observed::new(None);
            times.iter().for_each(|at| observed.begins(UnixMillis(*at)));
            observed
        };
        assert_eq!(observed(&[1, 2]).difference(&observed(&[1, 2])), None);
        assert!(observed(&[1, 2]).difference(&observed(&[1, 3])).is_some());
        assert!(observed(&[1, 2]).difference(&observed(&[1])).is_some());
    }
}
