//! The file around the items: a sequence of CBOR (RFC 8742), signed at its end over every byte before.
//!
//! The maker gives each item to a [`Sealer`] and writes what comes back; a [`Reader`] gives them again one by one, in
//! place, and holds no more than one.

use super::item::{Head, ITEM, Item};
use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    custody::checkpoint::CheckpointFault,
    id::{Hash, OrgId, StoreId},
    identity::CardFault,
    label, limits,
    package::{PackageFault, Source, Unreadable},
    primitive::{PublicKey, Sha256Stream, SigningKey},
};
use serde::{Deserialize, Serialize};

/// An export that is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The bytes could not be read.
    #[error("the file could not be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// More than any export has.
    #[error("it is larger than any audit export may be")]
    TooLarge,
    /// An item that is none.
    #[error("item {at} is malformed: it is no audit export, was changed, or was cut short: {fault}")]
    Item {
        /// Which, from 0.
        at: u64,
        /// What is wrong.
        fault: CodecError,
    },
    /// An item out of its place.
    #[error("item {at}, `{name}`, does not stand in its place: items were left out, added or moved")]
    Order {
        /// Which, from 0.
        at: u64,
        /// Its name.
        name: &'static str,
    },
    /// It does not end as an export ends.
    #[error("it does not end as an audit export ends: it was cut short, or something stands after its end")]
    End,
    /// Of a format that this program does not know.
    #[error("it is of format {0}, which this program does not know")]
    Format(u64),
    /// A card is refused.
    #[error("{0}")]
    Card(PackageFault),
    /// A card that was given to compare is of nobody in it.
    #[error("the card that was given is of organisation `{org}`, of which nothing is in this audit")]
    Stranger {
        /// Whose.
        org: OrgId,
    },
    /// A card in it does not go with the one that was given to compare.
    #[error("the card of `{org}` in this audit is not of the organisation whose card was given: {fault}")]
    Pin {
        /// Whose.
        org: OrgId,
        /// Why.
        fault: CardFault,
    },
    /// A head that was given is not signed by its maker's log.
    #[error("the head that was given says nothing of this audit: {0}")]
    Head(CheckpointFault),
    /// A head that was given is of another store's log.
    #[error(
        "the head that was given is of the log of store {given}, and this audit is of store {shown}: give the audit of that store"
    )]
    OtherLog {
        /// Of which.
        given: StoreId,
        /// Which is in it.
        shown: StoreId,
    },
    /// The signature does not hold.
    #[error("it was changed since it was made, or its maker did not sign it: {0}")]
    Signature(#[from] SignatureFault),
    /// Other items than were signed.
    #[error("it was changed since it was made: its items are not those that its maker signed")]
    Changed,
    /// A time to come.
    #[error("it states a time that is still to come")]
    Time,
}

impl From<PackageFault> for AuditFault {
    fn from(fault: PackageFault) -> Self {
        match fault {
            PackageFault::NoSuchParty { org } => Self::Stranger { org },
            PackageFault::Pin { org, fault } => Self::Pin { org, fault },
            fault => Self::Card(fault),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    v: u64,
    items: u64,
    digest: Hash,
}

const WHOLE: Bounds = Bounds::bytes(128);

/// Makes the bytes of an export.
#[derive(Default)]
pub struct Sealer {
    digest: Sha256Stream,
    items: u64,
}

impl Sealer {
    /// The next item, to be written.
    pub fn item(&mut self, item: &Item) -> Result<Vec<u8>, CodecError> {
        let bytes = item.to_bytes()?;
        self.digest.update(&bytes);
        self.items += 1;
        Ok(bytes)
    }
    /// The last item: the signature over all, by the maker's runs key.
    pub fn end(self, key: &SigningKey) -> Result<Vec<u8>, CodecError> {
        let whole = Whole { v: 1, items: self.items, digest: Hash::from_bytes(self.digest.finish()) };
        let payload = codec::to_vec(&whole, WHOLE)?;
        Item::End(SignatureBytes(cose::sign(label::SIGN_AUDIT, key, &payload))).to_bytes()
    }
}

/// What stands at the end of an export, and what must have been signed.
pub(super) struct Signed {
    pub signature: SignatureBytes,
    items: u64,
    digest: Hash,
}

impl Signed {
    pub fn verify(&self, key: &PublicKey) -> Result<(), AuditFault> {
        let payload = self.signature.parse()?.verify(label::SIGN_AUDIT, key)?.to_vec();
        let whole: Whole = codec::from_slice(&payload, WHOLE).map_err(SignatureFault::Form)?;
        let same = (whole.v, whole.items, whole.digest) == (1, self.items, self.digest);
        if same { Ok(()) } else { Err(AuditFault::Changed) }
    }
}

/// Bytes that are read at once, at least: as many as the longest item has, so that no byte is moved often.
const STEP: usize = limits::AUDIT_ITEM_BYTES_MAX;

/// Gives the items of a file in their order.
pub struct Reader<S> {
    source: S,
    window: Vec<u8>,
    /// Where in the window the next item begins.
    begins: usize,
    /// Bytes of the file that are in the window or before it.
    read: u64,
    at: u64,
    before: Option<u8>,
    digest: Sha256Stream,
    signed: Option<Signed>,
}

impl<S: Source> Reader<S> {
    /// From the beginning.
    pub fn new(source: S) -> Result<Self, AuditFault> {
        if source.len() > limits::AUDIT_BYTES_MAX {
            return Err(AuditFault::TooLarge);
        }
        let (window, digest) = (Vec::new(), Sha256Stream::default());
        Ok(Self { source, window, begins: 0, read: 0, at: 0, before: None, digest, signed: None })
    }

    /// The next item, in its place; none after the last.
    pub fn next_item(&mut self) -> Result<Option<Item>, AuditFault> {
        self.fill()?;
        let rest = self.window.get(self.begins..).unwrap_or_default();
        if rest.is_empty() {
            return if self.signed.is_some() { Ok(None) } else { Err(AuditFault::End) };
        }
        if self.signed.is_some() {
            return Err(AuditFault::End);
        }
        let malformed = |fault| AuditFault::Item { at: self.at, fault };
        let longest = rest.get(..rest.len().min(ITEM.bytes_max)).unwrap_or_default();
        let len = codec::scan_first(longest, ITEM).map_err(malformed)?;
        let bytes = rest.get(..len).unwrap_or_default();
        let item: Item = codec::from_slice(bytes, ITEM).map_err(malformed)?;
        if !item.may_follow(self.before) {
            return Err(AuditFault::Order { at: self.at, name: item.name() });
        }
        match &item {
            Item::Head(Head { v, .. }) if *v != 1 => return Err(AuditFault::Format(*v)),
            Item::End(signature) => {
                let digest = Hash::from_bytes(std::mem::take(&mut self.digest).finish());
                self.signed = Some(Signed { signature: signature.clone(), items: self.at, digest });
            }
            _ => self.digest.update(bytes),
        }
        (self.begins, self.at) = (self.begins + len, self.at + 1);
        self.before = Some(item.rank());
        Ok(Some(item))
    }

    /// Has the longest item in the window, or all that is left of the file.
    fn fill(&mut self) -> Result<(), AuditFault> {
        let left = self.source.len().saturating_sub(self.read);
        let has = self.window.len().saturating_sub(self.begins);
        if left == 0 || has >= limits::AUDIT_ITEM_BYTES_MAX {
            return Ok(());
        }
        self.window.drain(..self.begins.min(self.window.len()));
        self.begins = 0;
        let wanted = (limits::AUDIT_ITEM_BYTES_MAX - has).saturating_add(STEP);
        let more = usize::try_from(left).unwrap_or(wanted).min(wanted);
        self.window.resize(has + more, 0);
        let part = self.window.get_mut(has..).unwrap_or_default();
        self.source.read_at(self.read, part)?;
        self.read += more as u64;
        Ok(())
    }

    /// What was signed, once the last item was read.
    pub(super) fn signed(self) -> Result<(Signed, S), AuditFault> {
        Ok((self.signed.ok_or(AuditFault::End)?, self.source))
    }
    /// Bytes read so far.
    pub fn done(&self) -> u64 {
        self.read
    }
}
