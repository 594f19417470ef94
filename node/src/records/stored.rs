//! How records lie in the store: rows of the own holdings and of each agreement's partition.
//!
//! Members are declared in canonical order, as every structure that goes through the codec.

use crate::{
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::{
    batch::Attestation,
    clearance::Terms,
    codec::{self, Bounds, CodecError},
    cose::SignatureBytes,
    id::{AgreementDigest, FeedId, GrantId, Hash, OrgId, RecordId},
    limits,
    record::{Body, Opening, Record, Redacted, SlotSet, Verified},
    time::UnixMillis,
    value::Value,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use serde_bytes::{ByteBuf, Bytes};
use std::fmt;
use zeroize::Zeroizing;

/// Bounds of any stored row.
pub const ROW: Bounds = Bounds { bytes_max: 16 << 20, items_max: 1 << 20 };

/// A row that does not read as what was written: damage, and fatal.
#[derive(Debug, thiserror::Error)]
#[error("a stored row of {what} does not read as written: {cause}")]
pub struct RowDamage {
    what: &'static str,
    cause: CodecError,
}

/// Encodes a row.
pub fn encode<T: Serialize>(what: &'static str, row: &T) -> Result<Vec<u8>, RowDamage> {
    codec::to_vec(row, ROW).map_err(|cause| RowDamage { what, cause })
}

/// Decodes a row.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, RowDamage> {
    codec::from_slice(bytes, ROW).map_err(|cause| RowDamage { what, cause })
}

/// Rows of a list read in one step.
const PAGE: usize = 256;

/// Goes through a list of rows from a place on, a page at a time, until `take` says that it is enough.
pub fn each<T, E>(
    holdings: &Holdings,
    (partition, table, scope): (Partition, Table, &[u8]),
    from: u64,
    take: &mut dyn FnMut(u64, T) -> Result<bool, E>,
) -> Result<(), E>
where
    T: DeserializeOwned,
    E: From<StoreError> + From<RowDamage>,
{
    let mut after = from.checked_sub(1);
    loop {
        let page = holdings.list(partition, table, scope, after, PAGE)?;
        for (n, row) in &page {
            after = Some(*n);
            if !take(*n, decode("listed row", row)?)? {
                return Ok(());
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// A record of ours: what it says, what blinds it, where it is attested. There are millions, so that its row names no
/// members: `[body, seed, batch, position, import, slots, [value, ...]]`, each slot a byte.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnRow {
    /// Header and root.
    pub body: Vec<u8>,
    /// Seed of salts and fillers.
    pub seed: Vec<u8>,
    /// The batch that attests it, by its place in the list of batches.
    pub batch: u64,
    /// Its position in the batch.
    pub position: u32,
    /// Digest of what an import said, where an import made it: the same again adds nothing.
    pub import: Option<Hash>,
    /// Canonical values by slot.
    pub values: Vec<(u8, ByteBuf)>,
}

impl Serialize for OwnRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { body, seed, batch, position, import, values } = self;
        // Empty where there is none: the codec knows no null.
        let import = import.as_ref().map_or(&[][..], |digest| digest.as_bytes());
        let slots: Vec<u8> = values.iter().map(|(slot, _)| *slot).collect();
        let values: Vec<&ByteBuf> = values.iter().map(|(_, value)| value).collect();
        let [body, seed, import, slots] = [body, seed, import, &slots].map(Bytes::new);
        (body, seed, batch, position, import, slots, values).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OwnRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Members = (ByteBuf, ByteBuf, u64, u32, ByteBuf, ByteBuf, Vec<ByteBuf>);
        let (body, seed, batch, position, import, slots, values) = Members::deserialize(deserializer)?;
        let import = match import.as_slice() {
            [] => None,
            digest => Some(Hash::from_bytes(digest.try_into().map_err(D::Error::custom)?)),
        };
        if slots.len() != values.len() {
            return Err(D::Error::custom("a slot without a value"));
        }
        let values = slots.into_iter().zip(values).collect();
        Ok(Self { body: body.into_vec(), seed: seed.into_vec(), batch, position, import, values })
    }
}

impl fmt::Debug for OwnRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What blinds the fields has no printed form.
        write!(f, "OwnRow({})", self.position)
    }
}

impl OwnRow {
    /// From a committed record.
    pub fn new(record: Record, batch: u64, position: u32, import: Option<Hash>) -> Self {
        let (body, values, seed) = record.into_parts();
        Self {
            body: body.bytes().to_vec(),
            seed: seed.to_vec(),
            batch,
            import,
            values: values.into_iter().map(|(slot, value)| (slot, ByteBuf::from(value))).collect(),
            position,
        }
    }
    /// Its row.
    pub fn encode(&self) -> Result<Vec<u8>, RowDamage> {
        let values: usize = self.values.iter().map(|(_, value)| value.len() + 6).sum();
        let len = self.body.len() + values + 200;
        codec::to_vec_of(len, self, ROW).map_err(|cause| RowDamage { what: "record", cause })
    }
    /// The seed.
    pub fn seed(&self) -> Result<Zeroizing<[u8; 32]>, RowDamage> {
        Ok(Zeroizing::new(self.seed.as_slice().try_into().map_err(|_| Self::damage())?))
    }
    /// Parts that do not fit each other.
    pub const fn damage() -> RowDamage {
        RowDamage { what: "a record", cause: CodecError::Shape }
    }
    /// The record again; refuses parts that do not fit each other.
    pub fn record(&self) -> Result<Record, RowDamage> {
        let body = Body::from_bytes(&self.body).map_err(|cause| RowDamage { what: "a record", cause })?;
        let values = self.values.iter().map(|(slot, value)| (*slot, value.to_vec())).collect();
        Record::from_parts(body, values, self.seed()?).ok_or_else(Self::damage)
    }
}

/// A batch of ours: what proves any of its records.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRow {
    /// Its records are still to be decided again in every feed, since a person had it attested anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub due: bool,
    /// The signed head.
    pub head: SignatureBytes,
    /// Heads over the same records that the node made to send them, each because the key before had given way. Oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<SignatureBytes>,
    /// A head over the same records that a person had signed later, because the key of the first was in other hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<SignatureBytes>,
    /// The place of its first record; the others follow.
    pub first: u64,
    /// The batch secret.
    #[serde(with = "serde_bytes")]
    pub secret: Vec<u8>,
    /// Heads that others have taken the place of. The journal has each of them, and auditors are shown it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<SignatureBytes>,
    /// Its records in their order.
    pub records: Vec<RecordId>,
}

impl BatchRow {
    /// Every head that was signed over its records, each in the journal: what auditors are shown.
    pub fn signed(&self) -> impl Iterator<Item = &SignatureBytes> {
        std::iter::once(&self.head).chain(&self.between).chain(&self.again).chain(&self.sent)
    }
    /// Has a person's head take the place of those before.
    pub fn attest(&mut self, head: SignatureBytes) {
        self.between.extend(self.again.replace(head));
        self.between.append(&mut self.sent);
        self.due = true;
    }
    /// The head that counts here: the latest that was made on purpose.
    pub fn newest(&self) -> &SignatureBytes {
        self.again.as_ref().unwrap_or(&self.head)
    }
    /// The head under which it went to partners last, or goes.
    pub fn to_send(&self) -> &SignatureBytes {
        self.sent.last().unwrap_or_else(|| self.newest())
    }
    /// Every head that partners may have and that nothing has taken the place of.
    pub fn heads(&self) -> impl Iterator<Item = &SignatureBytes> {
        std::iter::once(self.newest()).chain(&self.sent)
    }
}

impl fmt::Debug for BatchRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nor has the secret of a batch.
        write!(f, "BatchRow({} from {})", self.records.len(), self.first)
    }
}

/// What binds a record that came from another than its originator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnwardRow {
    /// Who passed it on.
    pub by: OrgId,
    /// How many days it may be kept at most.
    pub days: u32,
    /// When the newest grant by which it came here was signed.
    pub given: UnixMillis,
    /// The grant that let it go on.
    pub grant: GrantId,
    /// When it first came by that newest grant.
    pub since: UnixMillis,
    /// Until when it may be held.
    pub until: UnixMillis,
}

/// The run that brought a record first: what it proved then it proves still, whatever its sender shows later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstRow {
    /// When it became durable here.
    pub at: UnixMillis,
    /// The run, by its place in the list of runs.
    pub run: u64,
    /// The feed that brought it.
    pub feed: FeedId,
    /// Its number in the feed.
    pub number: u64,
}

/// A record that a partner released to us. There are millions, so that members have names of one letter; rows of earlier
/// versions have whole ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivedRow {
    /// What brought it first, where a run has brought it again since.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstRow>,
    /// Header and root.
    #[serde(rename = "b", alias = "body", with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The clause that it came under.
    #[serde(rename = "c", alias = "clause")]
    pub clause: u16,
    /// The feed that brought it.
    #[serde(rename = "f", alias = "feed")]
    pub feed: FeedId,
    /// Its number in the feed.
    #[serde(rename = "n", alias = "number")]
    pub number: u64,
    /// Slot, salt and canonical value.
    #[serde(rename = "o", alias = "openings")]
    pub openings: Vec<(u8, ByteBuf, ByteBuf)>,
    /// Nodes that prove the openings.
    #[serde(rename = "p", alias = "nodes")]
    pub nodes: Vec<Hash>,
    /// The run that brought it, by its place in the list of runs.
    #[serde(rename = "r", alias = "run")]
    pub run: u64,
    /// Where its originator is not who gave it.
    #[serde(rename = "w", alias = "onward", default, skip_serializing_if = "Option::is_none")]
    pub onward: Option<OnwardRow>,
    /// When it became durable here.
    pub at: UnixMillis,
}

impl ReceivedRow {
    /// Since when it is here: the first run that brought it was countersigned then, by our clock.
    pub fn here_since(&self) -> UnixMillis {
        self.first.map_or(self.at, |first| first.at)
    }
    /// The run that brought it first.
    pub fn brought_first(&self) -> FirstRow {
        let Self { at, run, feed, number, .. } = *self;
        self.first.unwrap_or(FirstRow { at, run, feed, number })
    }
    /// The same as that run had it, as far as it showed what is shown now.
    pub fn as_first(&self) -> Option<Self> {
        let FirstRow { at, run, feed, number } = self.first?;
        Some(Self { first: None, at, run, feed, number, ..self.clone() })
    }
    /// The openings as the protocol has them.
    pub fn openings(&self) -> Vec<Opening> {
        self.openings
            .iter()
            .map(|(slot, salt, value)| {
                let mut fixed = [0u8; 16];
                for (to, from) in fixed.iter_mut().zip(salt.iter()) {
                    *to = *from;
                }
                Opening { slot: *slot, salt: fixed, value: value.to_vec() }
            })
            .collect()
    }
    /// The same with fewer slots shown: what is kept of a record of which the rest is deleted.
    pub fn showing(&self, keep: SlotSet) -> Option<Self> {
        let Redacted { body, openings, nodes } = self.verified().ok()?.showing(keep);
        let opening = |o: Opening| (o.slot, ByteBuf::from(o.salt.to_vec()), ByteBuf::from(o.value));
        Some(Self { body, nodes, openings: openings.into_iter().map(opening).collect(), ..self.clone() })
    }
    /// Whether another disclosure of the record shows every field that this one does.
    pub fn is_within(&self, other: &Self) -> bool {
        self.openings.iter().all(|(slot, ..)| other.openings.iter().any(|(shown, ..)| shown == slot))
    }
    /// Who gave it to us: its originator, or who passed it on.
    pub fn giver(&self) -> Option<OrgId> {
        let originator = || Body::from_bytes(&self.body).ok().map(|body| body.header().originator);
        self.onward.map(|onward| onward.by).or_else(originator)
    }
    /// The record's id, as its body gives it.
    pub fn id(&self) -> Option<RecordId> {
        Body::from_bytes(&self.body).ok().map(|body| body.id())
    }
    /// Proves again that the openings are in the body's commitment.
    pub fn verified(&self) -> Result<Verified, entente_protocol::record::RecordFault> {
        Verified::new(Redacted { body: self.body.clone(), openings: self.openings(), nodes: self.nodes.clone() })
    }
}

/// What proves that received records were attested: a batch's joint proof, and which records it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofRow {
    /// Position and record, rising.
    pub records: Vec<(u32, RecordId)>,
    /// Head and nodes.
    pub attestation: Attestation,
}

/// What was released of one record in one feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedRow {
    /// The grant under which it goes, where it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Slots disclosed; none where the entry went as its hash alone and the record is to be decided again.
    pub slots: u64,
    /// Which clause.
    pub clause: u16,
    /// Number of the newest entry about it.
    pub number: u64,
    /// Under which version.
    pub version: AgreementDigest,
    /// Whether it has been withdrawn since.
    pub withdrawn: bool,
}

impl ReleasedRow {
    /// From what was cleared.
    pub fn new(terms: &Terms, number: u64) -> Self {
        let Terms { grant, clause, slots, version, .. } = *terms;
        Self { grant, slots: slots.bits(), clause, number, version, withdrawn: false }
    }
    /// Whether the partner sees the record.
    pub fn shows(&self) -> bool {
        !self.withdrawn && self.slots != 0
    }
    /// Whether the partner saw the record, as far as is known, withdrawn since or not.
    pub fn was_shown(&self) -> bool {
        self.slots != 0
    }
    /// The slots.
    pub fn set(&self) -> SlotSet {
        SlotSet::from_bits(self.slots)
    }
}

/// A slot's value from its canonical bytes.
pub fn value(bytes: &[u8]) -> Result<Value, RowDamage> {
    codec::from_slice(bytes, Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX))
        .map_err(|cause| RowDamage { what: "a field", cause })
}

/// The key of a row about one record in one feed.
pub fn record_in_feed(record: RecordId, feed: FeedId) -> Vec<u8> {
    [b"record".as_slice(), record.as_bytes(), feed.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::{ByteBuf, FeedId, Hash, OwnRow, ReceivedRow, UnixMillis, decode, encode};

    #[test]
    fn received_rows_of_earlier_versions_still_read() -> Result<(), Box<dyn std::error::Error>> {
        #[derive(serde::Serialize)]
        struct Earlier {
            at: UnixMillis,
            run: u64,
            body: ByteBuf,
            feed: FeedId,
            nodes: Vec<Hash>,
            clause: u16,
            number: u64,
            openings: Vec<(u8, ByteBuf, ByteBuf)>,
        }
        let (feed, nodes) = (FeedId::from_bytes([1; 32]), vec![Hash::from_bytes([2; 32])]);
        let openings = vec![(3, ByteBuf::from([4; 16]), ByteBuf::from([5]))];
        let at = UnixMillis(6);
        let (body, run, clause, number) = (vec![7; 9], 8, 9, 10);
        let row = ReceivedRow {
            body: body.clone(),
            clause,
            feed,
            number,
            openings: openings.clone(),
            nodes: nodes.clone(),
            run,
            onward: None,
            at,
            first: None,
        };
        let earlier = Earlier { at, run, body: ByteBuf::from(body), feed, nodes, clause, number, openings };
        let (before, now) = (encode("row", &earlier)?, encode("row", &row)?);
        assert_eq!(decode::<ReceivedRow>("row", &before)?, row);
        assert_eq!(decode::<ReceivedRow>("row", &now)?, row);
        assert_eq!(before.len() - now.len(), 29);
        Ok(())
    }

    #[test]
    fn the_row_of_a_record_reads_as_written_or_not_at_all() -> Result<(), Box<dyn std::error::Error>> {
        let value = |text: &str| ByteBuf::from(text.as_bytes().to_vec());
        let row = |import| OwnRow {
            body: vec![1; 100],
            seed: vec![2; 32],
            batch: 7,
            position: 4_999,
            import,
            values: vec![(0, value("a")), (63, value("b"))],
        };
        for import in [None, Some(Hash::from_bytes([3; 32]))] {
            let bytes = row(import).encode()?;
            assert!(decode::<OwnRow>("record", &bytes)? == row(import));
            assert!(decode::<OwnRow>("record", bytes.get(1..).unwrap_or_default()).is_err());
        }
        let members = |import: &[u8], slots: &[u8], values: usize| {
            let bytes = |of: &[u8]| ByteBuf::from(of.to_vec());
            let values: Vec<ByteBuf> = (0..values).map(|_| value("a")).collect();
            encode("record", &(bytes(&[1; 100]), bytes(&[2; 32]), 7u64, 1u32, bytes(import), bytes(slots), values))
        };
        assert!(decode::<OwnRow>("record", &members(&[], &[0, 1], 2)?).is_ok());
        assert!(decode::<OwnRow>("record", &members(&[3; 31], &[0, 1], 2)?).is_err(), "a digest that is too short");
        assert!(decode::<OwnRow>("record", &members(&[], &[0, 1], 1)?).is_err(), "a slot without a value");
        assert!(decode::<OwnRow>("record", &members(&[], &[0], 2)?).is_err(), "a value without a slot");
        Ok(())
    }
}
