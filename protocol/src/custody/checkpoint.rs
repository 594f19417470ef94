//! Checkpoints (C2SP tlog-checkpoint): how far a log is, signed by the organisation that keeps it.
//!
//! The [`Origin`] fixes whose log it is, of which store and epoch, since when, and how long an interval lasts; a log has
//! one leaf for each interval since then, so a checkpoint's size tells the time up to which it speaks, and nothing else.
//! Bytes become an [`UnverifiedCheckpoint`], and under a log key of the organisation's card a [`Checkpoint`]: only that
//! is witnessed, compared and proved against.

use super::note::{KeyName, Note, NoteFault, SignatureLine, SignatureType, Verifier};
use crate::{
    id::{Hash, OrgId, StoreId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled},
    time::UnixMillis,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};

const ORIGIN: &str = "entente/1/log/";
/// 9999-12-31T23:59:59Z: no checkpoint speaks of a later time.
const TIME_S_MAX: u64 = 253_402_300_799;

/// A checkpoint that is refused: the fault of whoever keeps the log, or of the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    /// The note around it, or its signature.
    #[error("the checkpoint is refused: {0}")]
    Note(#[from] NoteFault),
    /// Not origin, size and root.
    #[error("a checkpoint is three lines: origin, size and root")]
    Form,
    /// An origin that is none of ours.
    #[error(
        "the checkpoint's first line does not name a log: expected {ORIGIN}organisation/store/epoch/created/interval"
    )]
    Origin,
    /// A size that no log of this origin has: none, too many, or after the end of time.
    #[error("the checkpoint has a size that its log cannot have")]
    Size,
    /// Of another organisation than the one whose keys were given.
    #[error("the checkpoint is of another organisation's log")]
    Organisation,
}

/// What names a log, for ever: the first line of its checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    org: OrgId,
    store: StoreId,
    epoch: u32,
    created_s: u64,
    interval_s: u64,
}

impl Origin {
    /// The log of an organisation's store, created at a whole second, with intervals of some seconds. `None` where no log
    /// may be so. A later epoch is begun where a store was restored from a copy that is older than what was witnessed.
    pub fn new(org: OrgId, store: StoreId, epoch: u32, created_s: u64, interval_s: u64) -> Option<Self> {
        let fits = (1..=limits::LOG_INTERVAL_S_MAX).contains(&interval_s) && created_s <= TIME_S_MAX;
        fits.then_some(Self { org, store, epoch, created_s, interval_s })
    }

    /// Whose log.
    pub fn org(&self) -> OrgId {
        self.org
    }
    /// Of which of its stores.
    pub fn store(&self) -> StoreId {
        self.store
    }
    /// 0, and one more each time that the store's log began anew.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
    /// How long an interval lasts, in milliseconds.
    pub fn interval_ms(&self) -> u64 {
        self.interval_s * 1_000
    }
    /// When the interval of leaf `index` begins. The end of time where the log has no such leaf.
    pub fn begins(&self, index: u64) -> UnixMillis {
        let seconds = index.checked_mul(self.interval_s).and_then(|since| since.checked_add(self.created_s));
        UnixMillis(seconds.and_then(|s| s.checked_mul(1_000)).unwrap_or(u64::MAX))
    }
    /// The leaf whose interval holds this time; `None` before the log was created.
    pub fn leaf_at(&self, time: UnixMillis) -> Option<u64> {
        let since = (time.0 / 1_000).checked_sub(self.created_s)?;
        Some(since / self.interval_s)
    }
    /// The size that the log is due at a time: one leaf for each interval that is over.
    ///
    /// Ask with the earlier of two clocks, the own and a witness's: a leaf that is made too early can never be unmade.
    pub fn size_at(&self, time: UnixMillis) -> u64 {
        self.leaf_at(time).unwrap_or(0).min(limits::LOG_SIZE_MAX)
    }
    fn takes(&self, size: u64) -> bool {
        (1..=limits::LOG_SIZE_MAX).contains(&size) && self.begins(size).0 <= TIME_S_MAX * 1_000
    }
    /// The name of the log's keys in notes: the origin itself (C2SP tlog-checkpoint).
    fn key_name(&self) -> Result<KeyName, NoteFault> {
        KeyName::new(&self.to_string())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { org, store, epoch, created_s, interval_s } = self;
        write!(f, "{ORIGIN}{org}/{store}/{epoch}/{created_s}/{interval_s}")
    }
}

impl FromStr for Origin {
    type Err = CheckpointFault;
    fn from_str(text: &str) -> Result<Self, CheckpointFault> {
        let read = || {
            let mut parts = text.strip_prefix(ORIGIN)?.split('/');
            let (org, store) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let epoch = u32::try_from(decimal(parts.next()?)?).ok()?;
            let (created_s, interval_s) = (decimal(parts.next()?)?, decimal(parts.next()?)?);
            Self::new(org, store, epoch, created_s, interval_s)
        };
        read().filter(|origin| origin.to_string() == text).ok_or(CheckpointFault::Origin)
    }
}

/// A number as C2SP writes it: decimal digits without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// Size and root of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHead {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// The three lines that every checkpoint has, also those of others' logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointText {
    /// Names the log.
    pub origin: String,
    /// Size and root.
    pub head: TreeHead,
    /// Further lines. No log of ours has any.
    pub extensions: Vec<String>,
}

impl CheckpointText {
    /// Reads the text of a checkpoint of any log.
    pub fn parse(text: &str) -> Result<Self, CheckpointFault> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, decimal(lines.next()?)?, lines.next()?);
            let root = STANDARD.decode(root).ok().and_then(|root| Hash::from_slice(&root))?;
            let extensions: Vec<String> = lines.map(str::to_owned).collect();
            let whole = !origin.is_empty() && extensions.iter().all(|line| !line.is_empty());
            whole.then(|| Self { origin: origin.to_owned(), head: TreeHead { size, root }, extensions })
        };
        read().ok_or(CheckpointFault::Form)
    }
}

impl fmt::Display for CheckpointText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.head.size, STANDARD.encode(self.head.root.as_bytes()))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A checkpoint of one of our logs as it was read. Nothing says yet who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedCheckpoint {
    note: Note,
    origin: Origin,
    head: TreeHead,
}

impl UnverifiedCheckpoint {
    /// Reads a note that holds a checkpoint of one of our logs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointFault> {
        let note = Note::from_bytes(bytes)?;
        let CheckpointText { origin, head, extensions } = CheckpointText::parse(note.danger_unverified_text())?;
        let origin = origin.parse::<Origin>()?;
        if !extensions.is_empty() {
            return Err(CheckpointFault::Form);
        }
        if !origin.takes(head.size) {
            return Err(CheckpointFault::Size);
        }
        Ok(Self { note, origin, head })
    }

    /// The checkpoint, as the reward for verifying: `keys` are log keys of `org`, those that count for the caller's
    /// purpose (CARD-5).
    pub fn verify<'a>(
        &self,
        org: OrgId,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<Checkpoint, CheckpointFault> {
        if self.origin.org != org {
            return Err(CheckpointFault::Organisation);
        }
        let name = self.origin.key_name()?;
        let verifier = |key| Verifier::new(name.clone(), SignatureType::Ed25519, key);
        let known: Vec<Verifier> = keys.into_iter().filter_map(verifier).collect();
        let (place, _) = *self.note.verify(&known)?.first().ok_or(NoteFault::Unsigned)?;
        let key = known.get(place).ok_or(NoteFault::Unsigned)?;
        let line = self.note.lines().iter().find(|line| key.made(line)).ok_or(NoteFault::Unsigned)?;
        Ok(Checkpoint { origin: self.origin, head: self.head, line: line.clone(), key: key.key().clone() })
    }

    /// Whose log it claims to be: only to find out whose keys to ask for.
    pub fn danger_unverified_origin(&self) -> Origin {
        self.origin
    }
    /// The note as it came, with the lines of others.
    pub fn note(&self) -> &Note {
        &self.note
    }
}

/// A checkpoint that was signed by a log key of its organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    // INVARIANT: `line` verifies under `key` over the text of origin and head.
    origin: Origin,
    head: TreeHead,
    line: SignatureLine,
    key: PublicKey,
}

impl Checkpoint {
    /// Signs a head of our own log. What it names is durable before this is called, and no partner has been shown another
    /// head that this one does not go on from.
    pub fn sign(origin: Origin, head: TreeHead, key: &SigningKey) -> Result<Self, CheckpointFault> {
        if !origin.takes(head.size) {
            return Err(CheckpointFault::Size);
        }
        let line = SignatureLine::sign(&text(origin, head), origin.key_name()?, key).ok_or(NoteFault::Unsigned)?;
        Ok(Self { origin, head, line, key: key.public().clone() })
    }

    /// Which log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
    /// Size and root.
    pub fn head(&self) -> TreeHead {
        self.head
    }
    /// Up to when it speaks: every interval before this time is over and has its leaf.
    pub fn time(&self) -> UnixMillis {
        self.origin.begins(self.head.size)
    }
    /// The key that signed it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
    /// The text that was signed.
    pub fn text(&self) -> String {
        text(self.origin, self.head)
    }
    /// How it is named by what knew it, a batch head among them: SHA-256 over label and text.
    pub fn digest(&self) -> Hash {
        Hash::from_bytes(labelled(label::CHECKPOINT_DIGEST, &[self.text().as_bytes()]))
    }
    /// The note with the log's own signature, and nobody else's.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NoteFault> {
        self.to_bytes_with(&[])
    }
    /// The note with further lines of signatures: those of witnesses.
    pub fn to_bytes_with(&self, lines: &[SignatureLine]) -> Result<Vec<u8>, NoteFault> {
        let lines = std::iter::once(&self.line).chain(lines).cloned().collect();
        Ok(Note::new(self.text(), lines)?.to_string().into_bytes())
    }
}

fn text(origin: Origin, head: TreeHead) -> String {
    CheckpointText { origin: origin.to_string(), head, extensions: Vec::new() }.to_string()
}
