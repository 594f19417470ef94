//! Recalls: what this organisation asks back from whoever holds it, and what partners ask back from it.
//!
//! One person proposes a recall, another confirms it ([`asking`]). From then on the record goes to nobody, and a signed
//! recall waits for each organisation that was ever shown it ([`holders`]), under whatever agreement, until that
//! organisation has answered for good. `exchange` says them and takes the answers. What is asked of us is done by
//! [`asked`], and deleted by `erase`; a hold ([`hold`]) keeps content back from deletion. What was given for a time goes
//! when it is over ([`retention`]), and all that came under an agreement when that has ended ([`ending`]).
//!
//! Own recalls lie in the own partition; what is asked of us lies with the records that it is about.

pub mod asked;
pub mod asking;
pub mod ending;
mod erase;
pub mod granted;
pub mod hold;
pub mod holders;
pub mod relay;
pub mod retention;
pub mod select;

use crate::{
    agreements,
    error::Fault,
    node::Node,
    onward::grants,
    records::stored::{self, RowDamage, encode},
    seal::keyring::Partition,
    share::ShareError,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::lifecycle::StepFault,
    cose::SignatureBytes,
    id::{AgreementId, OrgId, RecallId, RecordId},
    recall::{Act, AnswerState},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Rows read at a time.
const PAGE: usize = 256;
/// Records of one recall.
pub const RECALLED_TOGETHER_MAX: usize = 100_000;

/// A recall could not be made, said or carried out.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// What people asked for cannot be done: theirs to mend.
    #[error("{0}")]
    Asked(String),
    /// A recall that there is not.
    #[error("there is no recall {0}: see `entente recall list`")]
    Unknown(u64),
    /// One person where two are needed.
    #[error("{who} proposed recall {recall}: another person confirms it")]
    SamePerson {
        /// Who.
        who: String,
        /// What.
        recall: u64,
    },
    /// It was confirmed before.
    #[error("recall {recall} was confirmed already, by {by} on {at}: see `entente recall status {recall}`")]
    Confirmed {
        /// What.
        recall: u64,
        /// Who did.
        by: String,
        /// When.
        at: UnixMillis,
    },
    /// An agreement that is not over.
    #[error("{0}; {remedy}", remedy = agreements::remedy(.0))]
    Step(#[from] StepFault),
    /// An agreement whose last day is over, and that goes on.
    #[error(
        "its last day is over, and people approved or signed a version that follows: what came under it is kept; to end it, \
         `entente agreement end`"
    )]
    Followed,
    /// Records that a hold keeps.
    #[error("{0} record(s) are under a legal hold: see `entente hold list`")]
    Held(u64),
    /// What a person named could not be found, or not read.
    #[error("{0}")]
    Named(Fault),
    /// A partner's message is none of ours: its fault.
    #[error("{0}")]
    Partner(String),
    /// The store.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl From<StoreError> for RecallError {
    fn from(error: StoreError) -> Self {
        Self::Share(error.into())
    }
}

impl From<RowDamage> for RecallError {
    fn from(error: RowDamage) -> Self {
        Self::Share(error.into())
    }
}

impl From<crate::records::keep::KeepError> for RecallError {
    fn from(error: crate::records::keep::KeepError) -> Self {
        Self::Share(error.into())
    }
}

impl From<entente_protocol::codec::CodecError> for RecallError {
    fn from(error: entente_protocol::codec::CodecError) -> Self {
        Self::Share(error.into())
    }
}

impl From<Fault> for RecallError {
    fn from(fault: Fault) -> Self {
        Self::Named(fault)
    }
}

impl RecallError {
    /// Whether it comes of a partition whose keys were destroyed meanwhile: nothing is held there, and nothing failed.
    pub fn is_erased(&self) -> bool {
        matches!(self, Self::Share(error) if error.is_erased())
    }
}

impl From<RecallError> for Fault {
    fn from(error: RecallError) -> Self {
        match error {
            RecallError::Named(fault) => fault,
            RecallError::Asked(_) => Self::input("recall", error),
            RecallError::Unknown(_) => Self::input("no-recall", error),
            RecallError::SamePerson { .. } => Self::input("same-person", error),
            RecallError::Confirmed { .. } => Self::input("confirmed", error),
            RecallError::Step(_) | RecallError::Followed => Self::input("not-over", error),
            RecallError::Held(_) => Self::input("legal-hold", error),
            RecallError::Partner(_) => Self::partner("recall", error.to_string()),
            RecallError::Share(_) => Self::store(error),
        }
    }
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// When.
    pub at: UnixMillis,
    /// Who, as the person gave the name.
    pub by: String,
}

/// A recall of ours, for any number of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecallRow {
    /// What is asked of holders.
    pub act: Act,
    /// Pages of its records for which holders are asked.
    pub done: u64,
    /// Pages of its records.
    pub pages: u64,
    /// Why, for our own people: it does not leave.
    pub reason: String,
    /// Who dropped it, if it was not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Named>,
    /// Records.
    pub records: u64,
    /// Who proposed it.
    pub proposed: Named,
    /// Who confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Named>,
}

/// One record that is asked back from one organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolderRow {
    /// The newest answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AnswerState>,
    /// Whose recall it is, where we pass on another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<OrgId>,
    /// The recall that answers name.
    pub recall: RecallId,
    /// Which record.
    pub record: RecordId,
    /// The recall as it is said.
    pub signed: SignatureBytes,
    /// The holder.
    pub partner: OrgId,
    /// Who asks it for us, where another passed the record on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<OrgId>,
    /// When the newest answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<UnixMillis>,
    /// Under which agreements it was shown the record.
    pub agreements: Vec<AgreementId>,
}

impl HolderRow {
    /// A holder that has not answered, and that we ask ourselves.
    fn unanswered(asked: (RecallId, RecordId, SignatureBytes), partner: OrgId, agreements: Vec<AgreementId>) -> Self {
        let (recall, record, signed) = asked;
        Self { state: None, origin: None, recall, record, signed, partner, through: None, answered: None, agreements }
    }

    /// Adds it to the list of a recall, and to what is to be said to it unless another asks it for us. Bytes of the row.
    fn add(&self, txn: &mut Txn<'_>, number: u64) -> Result<usize, RecallError> {
        let bytes = encode("holder", self)?;
        let place = txn.push(Partition::Own, Table::Recall, &holders_scope(number), &bytes)?;
        let at = encode("holder", &HolderAt(number, place))?;
        if self.through.is_none() {
            txn.push(Partition::Own, Table::Recall, &to_scope(self.partner), &at)?;
        }
        txn.put(Partition::Own, Table::Recall, &holder_key(self.recall, self.partner), &at)?;
        Ok(bytes.len())
    }
}

/// Where a row of a holder stands: the recall's number, and the place in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderAt(pub u64, pub u64);

/// A holder's signed answers, kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRow {
    /// When they came.
    pub at: UnixMillis,
    /// Whose.
    pub holder: OrgId,
    /// As they came.
    pub signed: SignatureBytes,
}

/// What a partner asked of us about a record that we hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedRow {
    /// When it came.
    pub at: UnixMillis,
    /// What is asked.
    pub act: Act,
    /// The partner that said it.
    pub from: OrgId,
    /// Our answer, as it stands.
    pub state: AnswerState,
    /// The recall.
    pub recall: RecallId,
    /// Which record.
    pub record: RecordId,
    /// The recall as it came.
    pub signed: SignatureBytes,
}

/// Scope of the list of own recalls.
pub const OURS: &[u8] = b"ours";
/// Scope of the list of answers that came.
pub const ANSWERS: &[u8] = b"answers";
/// Scope of the list of what is asked of us, in the partition of an agreement.
pub const ASKED: &[u8] = b"asked";

/// Scope of the records of an own recall: pages of record ids.
pub fn records_scope(number: u64) -> Vec<u8> {
    [b"records".as_slice(), &number.to_be_bytes()].concat()
}

/// Scope of the holders of an own recall.
pub fn holders_scope(number: u64) -> Vec<u8> {
    [b"holders".as_slice(), &number.to_be_bytes()].concat()
}

/// Scope of what is to be said to a partner: where the rows of its holdings stand.
pub fn to_scope(partner: OrgId) -> Vec<u8> {
    [b"to".as_slice(), partner.as_bytes()].concat()
}

/// The key under which an answer to a recall finds the holder's row.
pub fn holder_key(recall: RecallId, partner: OrgId) -> Vec<u8> {
    [b"holder".as_slice(), recall.as_bytes(), partner.as_bytes()].concat()
}

/// The key of the row that says from where on something is still to be said to a partner.
pub fn first_key(partner: OrgId) -> Vec<u8> {
    [b"first".as_slice(), partner.as_bytes()].concat()
}

/// The key under which what is asked of us is found, in the partition of an agreement.
pub fn asked_key(recall: RecallId) -> Vec<u8> {
    [b"asked".as_slice(), recall.as_bytes()].concat()
}

/// What goes on by itself: recalls that were confirmed and not finished, and what is not kept any longer. What one part
/// stumbles over keeps none of the others back; the first is told.
pub fn keep_up(node: &Node) -> Result<(), RecallError> {
    let granted = grants::go_on(node).map_err(|error| RecallError::Named(error.into()));
    let kept = || -> Result<(), RecallError> {
        while retention::step(node)? {}
        Ok(())
    };
    asking::go_on(node).and(granted).and(ending::go_on(node)).and(kept())
}

/// Goes through a list of rows, a page at a time, until `take` says that it is enough.
fn each<T: DeserializeOwned>(
    holdings: &Holdings,
    (partition, scope): (Partition, &[u8]),
    from: u64,
    take: &mut dyn FnMut(u64, T) -> Result<bool, RecallError>,
) -> Result<(), RecallError> {
    stored::each(holdings, (partition, Table::Recall, scope), from, take)
}

/// A person's name as given, or why it is none.
fn named(by: &str, at: UnixMillis) -> Result<Named, RecallError> {
    let by = by.trim();
    if by.is_empty() || !entente_protocol::text::is_line(by) {
        return Err(RecallError::Asked("say who you are: `--by NAME`, one line".to_owned()));
    }
    Ok(Named { at, by: by.to_owned() })
}
