//! Why a file is refused as a package: what was changed, and where.

use super::{Unreadable, name::Name};
use crate::{
    batch::AttestationFault,
    codec::CodecError,
    cose::SignatureFault,
    custody::{checkpoint::CheckpointFault, cosignature::WitnessFault, proof::LogProofFault},
    feed::RunFault,
    id::OrgId,
    identity::CardFault,
    record::RecordFault,
    time::UnixMillis,
};

/// A package that is refused as a whole: the fault of whoever made it, or changed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageFault {
    /// The bytes could not be read.
    #[error("the file could not be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// It does not end as a package does.
    #[error("it does not end as a package ends: it is none, was cut short, or something stands after its end")]
    End,
    /// The directory does not describe the file.
    #[error("its directory does not describe the file: something stands before, between or after its parts")]
    Directory,
    /// More than any package has.
    #[error("it is larger than any package may be")]
    TooLarge,
    /// A part is longer than it may be.
    #[error("`{name}` is longer than it may be")]
    TooLong {
        /// Which.
        name: Name,
    },
    /// A name that no part has.
    #[error("`{given}` is no name of a part: nothing else may stand in a package")]
    Name {
        /// The name.
        given: String,
    },
    /// A part out of its place.
    #[error("`{name}` does not stand in its place: parts were left out, added or moved")]
    Order {
        /// Which.
        name: Name,
    },
    /// A part twice.
    #[error("`{name}` stands twice")]
    Twice {
        /// Which.
        name: Name,
    },
    /// A part that must be there.
    #[error("`{name}` is missing")]
    Missing {
        /// Which.
        name: Name,
    },
    /// A part whose content a later version defines.
    #[error("`{name}` is of a later version: use a newer `entente`")]
    Later {
        /// Which.
        name: Name,
    },
    /// The zip headers of a part.
    #[error("the header of `{name}` was changed: {why}")]
    Header {
        /// Which.
        name: Name,
        /// What shows.
        why: &'static str,
    },
    /// The content of a part.
    #[error("`{name}` was changed: it is not what was put into the package")]
    Content {
        /// Which.
        name: Name,
    },
    /// The signed list names other parts than there are.
    #[error("the signed list names other parts than there are: see `{name}`")]
    Unlisted {
        /// The first that differs.
        name: Name,
    },
    /// A part that does not read.
    #[error("`{name}` is malformed: {fault}")]
    Codec {
        /// Which.
        name: Name,
        /// Why.
        fault: CodecError,
    },
    /// A card.
    #[error("`{name}` is refused: {fault}")]
    Card {
        /// Which.
        name: Name,
        /// Why.
        fault: CardFault,
    },
    /// Cards do not stand in the order of organisations, or one has two.
    #[error("`{name}` is out of order: each organisation has one card")]
    Cards {
        /// Which.
        name: Name,
    },
    /// The card of an organisation that signed something.
    #[error("the card of organisation `{org}` is missing, and `{name}` needs it")]
    NoCard {
        /// Whose.
        org: OrgId,
        /// By what it is needed.
        name: Name,
    },
    /// A card that was given to compare.
    #[error("the card of `{org}` in the package is not of the organisation whose card was given: {fault}")]
    Pin {
        /// Whose.
        org: OrgId,
        /// Why.
        fault: CardFault,
    },
    /// The card that was given is of nobody in the package.
    #[error("the card that was given is of organisation `{org}`, of which nothing is in the package")]
    NoSuchParty {
        /// Whose.
        org: OrgId,
    },
    /// The signature over the list.
    #[error("the signature over the whole package is refused: {0}")]
    Signature(SignatureFault),
    /// The key of the signature over the list does not count.
    #[error("the key that signed the package did not count when it was made")]
    Key,
    /// A time that is still to come, or that cannot be.
    #[error("`{name}` states the time {time}, which is after {after}: check this machine's clock")]
    Time {
        /// Where.
        name: Name,
        /// The time.
        time: UnixMillis,
        /// What it may not be after.
        after: UnixMillis,
    },
    /// A batch head, or a record that is not in the batch.
    #[error("`{name}` does not prove who recorded it: {fault}")]
    Attestation {
        /// Where.
        name: Name,
        /// Why.
        fault: AttestationFault,
    },
    /// A run, a receipt, or an entry that is not in the run.
    #[error("`{name}` does not prove what was sent: {fault}")]
    Run {
        /// Where.
        name: Name,
        /// Why.
        fault: RunFault,
    },
    /// A record.
    #[error("`{name}` does not prove what it shows: {fault}")]
    Record {
        /// Where.
        name: Name,
        /// Why.
        fault: RecordFault,
    },
    /// A checkpoint.
    #[error("`{name}` is refused: {fault}")]
    Checkpoint {
        /// Where.
        name: Name,
        /// Why.
        fault: CheckpointFault,
    },
    /// Cosignatures of a checkpoint.
    #[error("`{name}` is refused: {fault}")]
    Witness {
        /// Where.
        name: Name,
        /// Why.
        fault: WitnessFault,
    },
    /// A place in a log.
    #[error("`{name}` does not prove what the log holds: {fault}")]
    Log {
        /// Where.
        name: Name,
        /// Why.
        fault: LogProofFault,
    },
    /// Parts that do not fit each other.
    #[error("`{name}` does not fit the other parts: {why}")]
    Parts {
        /// Where.
        name: Name,
        /// What.
        why: &'static str,
    },
}
