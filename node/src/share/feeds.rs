//! Which feeds there are with a partner, and how far each is.

use super::ShareError;
use crate::{
    node::Node,
    records::stored::{decode, encode},
    seal::keyring::Partition,
    store::{layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::Standing,
    cose::SignatureBytes,
    feed::{Cursor, FeedKey},
    id::{AgreementDigest, FeedDigest, FeedId, OrgId, RecordId, StoreId},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Where an outgoing feed stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutRow {
    /// When it was last countersigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixMillis>,
    /// The day up to which nothing waits any more for its time; 0 before the first step.
    pub due: u64,
    /// Signed runs.
    pub runs: u64,
    /// The own rules under which the log was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<ByteBuf>,
    /// Running digest after the last run.
    pub digest: FeedDigest,
    /// Entries of the release log that were decided.
    pub filled: u64,
    /// Entries so far.
    pub length: u64,
    /// Entries of the log of what grants let go on that were decided.
    #[serde(default)]
    pub onward: u64,
    /// Entries of the pending list that were taken.
    pub pending: u64,
    /// The agreement version under which the log was read.
    pub version: AgreementDigest,
    /// What bore on others' records when the log of what goes on was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<ByteBuf>,
    /// What the partner countersigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub countersigned: Option<Cursor>,
}

impl OutRow {
    /// Length and digest.
    pub fn cursor(&self) -> Cursor {
        Cursor { digest: self.digest, length: self.length }
    }
    /// Whether the log was read under this version and the own rules of now.
    pub fn is_under(&self, version: AgreementDigest, rules: &[u8]) -> bool {
        self.version == version && self.rules.as_ref().is_some_and(|known| known == rules)
    }
}

/// Where an incoming feed stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InRow {
    /// When the last run was said here: as it came, and one of a bundle when that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixMillis>,
    /// Runs.
    pub runs: u64,
    /// The sender's store.
    pub store: StoreId,
    /// Running digest after the last run.
    pub digest: FeedDigest,
    /// Entries so far.
    pub length: u64,
    /// The last receipt that we signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignatureBytes>,
}

impl InRow {
    /// Length and digest.
    pub fn cursor(&self) -> Cursor {
        Cursor { digest: self.digest, length: self.length }
    }
}

/// One entry of a signed run, as its sender keeps it: enough to make the body again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentEntry {
    /// The entry's bytes; none of a run that its receiver gave back ([`super::lost`]).
    pub bytes: ByteBuf,
    /// Slots that a release disclosed.
    pub slots: u64,
    /// The clause that a release came under.
    pub clause: u16,
    /// The record of a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordId>,
}

/// A signed run, as its sender keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentRun {
    /// The signed run.
    pub run: SignatureBytes,
    /// Number of its first entry.
    pub first: u64,
    /// Its entries.
    pub entries: Vec<SentEntry>,
    /// The version under which it was cleared.
    pub version: AgreementDigest,
}

/// What waits in a feed's own list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pending {
    /// A record of ours to decide again.
    Record(RecordId),
    /// Another's record to decide again.
    Onward(RecordId),
    /// An entry of the partner's feed that was not taken.
    Refusal {
        /// Reason code.
        code: u16,
        /// Its number.
        number: u64,
    },
}

impl Pending {
    /// The record, of one to decide.
    pub fn record(&self) -> Option<RecordId> {
        match self {
            Self::Record(record) | Self::Onward(record) => Some(*record),
            Self::Refusal { .. } => None,
        }
    }
}

/// A record that is decided again when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DueRow {
    /// When.
    pub at: UnixMillis,
    /// Whether it is another's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onward: bool,
    /// Which.
    pub record: RecordId,
}

/// The list of what becomes due in a feed on one day.
pub fn due_scope(feed: FeedId, day: u64) -> Vec<u8> {
    [b"due".as_slice(), feed.as_bytes(), &day.to_be_bytes()].concat()
}

/// A feed that is stopped for good, with what proves why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppedRow {
    /// When it was found.
    pub at: UnixMillis,
    /// What we hold of the feed.
    pub ours: Cursor,
    /// What the partner showed.
    pub theirs: Cursor,
    /// A signature over what we hold, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub our_proof: Option<SignatureBytes>,
    /// The partner's signature, where it showed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub their_proof: Option<SignatureBytes>,
}

impl StoppedRow {
    /// Whether it is our own feed, and the receiver countersigned more of it than is here.
    pub fn is_behind(&self, feed: &FeedKey, own: OrgId) -> bool {
        feed.sender == own && self.theirs.length > self.ours.length
    }
    /// In words, for the people who must look.
    pub fn why(&self, feed: &FeedKey, own: OrgId) -> &'static str {
        match self.is_behind(feed, own) {
            true => {
                "the partner holds more of what we sent than this store knows: an older copy of the store was put \
                 back. It is asked for what is missing, and nothing more is sent under this agreement until that is here; \
                 see OPERATING.md, `After a restore`"
            }
            false => {
                "two histories of one feed were signed: both signatures are kept, and nothing more passes in it until \
                 people have settled which one counts"
            }
        }
    }
}

/// The feed from us to a partner under an agreement.
pub fn outgoing(node: &Node, partner: OrgId, agreement: entente_protocol::id::AgreementId) -> FeedKey {
    FeedKey { epoch: 0, store: node.holdings.store_id(), sender: node.keys.org, receiver: partner, agreement }
}

/// The feed to a partner that has this id, if there is one under an agreement with it.
pub fn outgoing_of(node: &Node, partner: OrgId, feed: FeedId) -> Option<FeedKey> {
    let mut feeds =
        agreements_with(node, partner).into_iter().map(|(agreement, _, _)| outgoing(node, partner, agreement));
    feeds.find(|key| key.id() == feed)
}

/// The feed from a partner's store to us under an agreement.
pub fn incoming(node: &Node, partner: OrgId, store: StoreId, agreement: entente_protocol::id::AgreementId) -> FeedKey {
    FeedKey { epoch: 0, store, sender: partner, receiver: node.keys.org, agreement }
}

/// Agreements under which something may pass between us and a partner: in force, and not set aside.
pub fn agreements_with(
    node: &Node,
    partner: OrgId,
) -> Vec<(entente_protocol::id::AgreementId, AgreementDigest, Standing)> {
    let rules = node.rules();
    let mut all = every_agreement_with(node, partner);
    // No head of its feeds is shown, so nothing goes and nothing comes: what waits is not decided, and not lost.
    all.retain(|(id, _, _)| rules.policy.aside(*id).is_none());
    all
}

/// Agreements in force to which a partner is party, those set aside among them.
pub fn every_agreement_with(
    node: &Node,
    partner: OrgId,
) -> Vec<(entente_protocol::id::AgreementId, AgreementDigest, Standing)> {
    let rules = node.rules();
    rules
        .agreements
        .iter()
        .filter_map(|held| {
            let in_force = held.in_force.as_ref().filter(|_| !held.erased)?;
            in_force.agreement.party(partner)?;
            Some((held.id, in_force.digest, held.standing))
        })
        .collect()
}

/// The key of the row that says where an outgoing feed stands.
pub fn out_key(feed: &FeedKey) -> Vec<u8> {
    key(b"out", feed.id())
}

/// The key of the row that says where an incoming feed stands.
pub fn in_key(feed: &FeedKey) -> Vec<u8> {
    key(b"in", feed.id())
}

/// The key of the row that says why a feed is stopped, in either direction.
pub fn stop_key(feed: &FeedKey) -> Vec<u8> {
    key(b"stop", feed.id())
}

fn key(direction: &[u8], feed: FeedId) -> Vec<u8> {
    [direction, feed.as_bytes()].concat()
}

/// Where an outgoing feed stands; a feed that was never used stands at its start.
pub fn out_row(node: &Node, feed: &FeedKey, version: AgreementDigest) -> Result<OutRow, ShareError> {
    out_of(feed.id(), version, node.holdings.get(Partition::Own, Table::Cursor, &key(b"out", feed.id()))?)
}

/// The same within the transaction that will move it: nothing else moves it meanwhile.
pub fn out_row_in(txn: &Txn<'_>, feed: &FeedKey, version: AgreementDigest) -> Result<OutRow, ShareError> {
    out_of(feed.id(), version, txn.get(Partition::Own, Table::Cursor, &key(b"out", feed.id()))?)
}

fn out_of(id: FeedId, version: AgreementDigest, row: Option<Vec<u8>>) -> Result<OutRow, ShareError> {
    match row {
        Some(row) => Ok(decode("feed", &row)?),
        None => {
            let start = Cursor::start(id);
            Ok(OutRow {
                at: None,
                due: 0,
                runs: 0,
                rules: None,
                digest: start.digest,
                filled: 0,
                length: 0,
                onward: 0,
                version,
                upstream: None,
                pending: 0,
                countersigned: None,
            })
        }
    }
}

/// Writes where an outgoing feed stands.
pub fn put_out(txn: &mut Txn<'_>, feed: &FeedKey, row: &OutRow) -> Result<(), ShareError> {
    Ok(txn.put(Partition::Own, Table::Cursor, &key(b"out", feed.id()), &encode("feed", row)?)?)
}

/// Where an incoming feed stands.
pub fn in_row(node: &Node, feed: &FeedKey) -> Result<InRow, ShareError> {
    let partition = Partition::Agreement(feed.agreement);
    in_of(feed, node.holdings.get(partition, Table::Cursor, &key(b"in", feed.id()))?)
}

/// The same within the transaction that will move it: nothing else moves it meanwhile.
pub fn in_row_in(txn: &Txn<'_>, feed: &FeedKey) -> Result<InRow, ShareError> {
    in_of(feed, txn.get(Partition::Agreement(feed.agreement), Table::Cursor, &key(b"in", feed.id()))?)
}

fn in_of(feed: &FeedKey, row: Option<Vec<u8>>) -> Result<InRow, ShareError> {
    match row {
        Some(row) => Ok(decode("feed", &row)?),
        None => {
            let start = Cursor::start(feed.id());
            Ok(InRow { at: None, runs: 0, store: feed.store, digest: start.digest, length: 0, receipt: None })
        }
    }
}

/// Writes where an incoming feed stands, and which store it comes from.
pub fn put_in(txn: &mut Txn<'_>, feed: &FeedKey, row: &InRow) -> Result<(), ShareError> {
    let partition = Partition::Agreement(feed.agreement);
    txn.put(partition, Table::Cursor, &key(b"in", feed.id()), &encode("feed", row)?)?;
    Ok(txn.put(partition, Table::Cursor, &store_key(feed.sender), feed.store.as_bytes())?)
}

/// Why a feed is stopped, if it is.
pub fn stopped(node: &Node, feed: &FeedKey) -> Result<Option<StoppedRow>, ShareError> {
    let row = node.holdings.get(Partition::Own, Table::Cursor, &key(b"stop", feed.id()))?;
    row.map(|row| Ok(decode("stopped feed", &row)?)).transpose()
}

/// Stops a feed for good, with the evidence; what was found first stays.
pub fn stop(node: &Node, feed: &FeedKey, row: &StoppedRow) -> Result<(), ShareError> {
    let mut txn = node.holdings.begin();
    let key = key(b"stop", feed.id());
    if txn.get(Partition::Own, Table::Cursor, &key)?.is_some() {
        return Ok(());
    }
    txn.put(Partition::Own, Table::Cursor, &key, &encode("stopped feed", row)?)?;
    let about = [
        ("agreement", feed.agreement.to_string()),
        ("sender", feed.sender.to_string()),
        ("receiver", feed.receiver.to_string()),
        ("ours", row.ours.length.to_string()),
        ("theirs", row.theirs.length.to_string()),
    ];
    let behind = row.is_behind(feed, node.keys.org);
    node.journal(&mut txn, if behind { "feed-behind" } else { "fork" }, &about)?;
    txn.commit()?;
    tracing::error!(partner = %feed.receiver, why = row.why(feed, node.keys.org), "a feed is stopped");
    Ok(())
}

/// The key of the row that says from which store a partner shares.
pub fn store_key(sender: OrgId) -> Vec<u8> {
    [b"store".as_slice(), sender.as_bytes()].concat()
}

/// The store from which a partner last shared under an agreement.
pub fn known_store(
    node: &Node,
    partner: OrgId,
    agreement: entente_protocol::id::AgreementId,
) -> Result<Option<StoreId>, ShareError> {
    let row = node.holdings.get(Partition::Agreement(agreement), Table::Cursor, &store_key(partner))?;
    Ok(row.and_then(|bytes| StoreId::from_slice(&bytes)))
}

/// The running digest of an outgoing feed at a lower length, from its runs.
pub fn digest_at(node: &Node, feed: &FeedKey, row: &OutRow, length: u64) -> Result<Option<FeedDigest>, ShareError> {
    if length == 0 {
        return Ok(Some(Cursor::start(feed.id()).digest));
    }
    let Some((_, sent)) = run_at(node, feed, row, length.saturating_sub(1))? else { return Ok(None) };
    let run = entente_protocol::feed::Run::danger_unverified(&sent.run)
        .map_err(|_| ShareError::Store(crate::store::StoreError::Broken { at: length }))?;
    // A receiver takes whole runs, so it stands only at their ends.
    Ok((run.end().length == length).then_some(run.after))
}

/// The run that holds an entry: its place in the list, and the run.
pub fn run_at(node: &Node, feed: &FeedKey, row: &OutRow, number: u64) -> Result<Option<(u64, SentRun)>, ShareError> {
    let id = feed.id();
    let (mut low, mut high) = (0u64, row.runs);
    // Runs rise: the last one that begins at or before the number. The distance halves each time.
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let bytes = node.holdings.item(Partition::Own, Table::RunOut, id.as_bytes(), middle)?;
        let bytes = bytes.ok_or(crate::store::StoreError::Broken { at: middle })?;
        let run: SentRun = decode("run", &bytes)?;
        if run.first <= number {
            low = middle + 1;
            found = Some((middle, run));
        } else {
            high = middle;
        }
    }
    Ok(found.filter(|(_, run)| number < run.first.saturating_add(run.entries.len() as u64)))
}
