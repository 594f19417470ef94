//! What a receiver proves about a run before anything of it is kept.
//!
//! The node's receiving part calls [`RunMessage::verify`] with what it holds of the feed. The work is
//! linear in the message: one signature for the run, one for each batch, the rest hashes. Nothing
//! here decides whether a record is wanted; that is the policy's.

use super::{
    Cursor, Entry, FeedKey, Release, digest,
    run::{self, Carried, Run, RunEntry, RunFault, RunMessage},
};
use crate::{
    batch::{Attestation, AttestationFault, Head},
    codec::CodecError,
    cose::{SignatureBytes, SignatureFault},
    grant::{Beside, Grant, GrantFault},
    id::{AgreementDigest, EntryHash, GrantId, KeyId, OrgId, RecordId},
    limits,
    primitive::PublicKey,
    record::Verified,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a receiver has countersigned, and so holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of the feed itself.
    pub feed: Cursor,
    /// Of the epoch before ([`FeedKey::previous`]), where there is one; its start if nothing of it was countersigned.
    pub prior: Option<Cursor>,
}

/// What a run that its sender really signed means for what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceivedRun {
    /// It follows what is held, and all of it is proved.
    Next(Box<VerifiedRun>),
    /// It ends no later than what is held: do not apply it again. Whoever holds the runs compares it with the one held at
    /// its place; another one is a fork too.
    Held(Run),
    /// The sender signed another history of the same feed: stop it, keep both heads.
    Fork(Run),
}

/// A run of which every entry, record and batch proof has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRun {
    feed: FeedKey,
    run: Run,
    signed: SignatureBytes,
    entries: Vec<(EntryHash, VerifiedEntry)>,
    heads: Vec<Option<Head>>,
}

/// One entry of a verified run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedEntry {
    /// A record, or a supplement to one.
    Release(Box<VerifiedRelease>),
    /// A record of another than the sender, whose grant or attestation is under a key that does not count here: to be
    /// refused. The sender may know no better, and its originator must not stop its feed.
    Unproved {
        /// The record.
        record: RecordId,
        /// The agreement version that it was cleared under.
        version: AgreementDigest,
        /// As of a release.
        attestation: usize,
        /// As of a release.
        position: u16,
    },
    /// Earlier releases of the record are undone.
    Withdrawal {
        /// The record.
        record: RecordId,
    },
    /// The partner did not take an entry of our feed.
    Refusal {
        /// Number of that entry.
        number: u64,
    },
    /// Served as its hash alone.
    Closed,
}

/// A release whose record was proved against its own root and against a signed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRelease {
    /// The proved slots.
    pub record: Verified,
    /// The clause that it came under, by its place in the agreement.
    pub clause: u16,
    /// The agreement version that it was cleared under.
    pub version: AgreementDigest,
    /// Place of its batch among [`VerifiedRun::heads`] and the message's attestations.
    pub attestation: usize,
    /// Position in the batch.
    pub position: u16,
    /// The grant that it names, where its originator is not who sent it.
    pub grant: Option<(GrantId, Arc<Grant>)>,
}

impl VerifiedRun {
    /// Which feed.
    pub fn feed(&self) -> &FeedKey {
        &self.feed
    }
    /// What the sender signed.
    pub fn run(&self) -> &Run {
        &self.run
    }
    /// The signature, as it came.
    pub fn signed(&self) -> &SignatureBytes {
        &self.signed
    }
    /// Every entry in its order, the n-th with number `run().before.length + n`.
    pub fn entries(&self) -> &[(EntryHash, VerifiedEntry)] {
        &self.entries
    }
    /// The heads of the batches, in the order of the message's attestations; none where the key of one does not count.
    pub fn heads(&self) -> &[Option<Head>] {
        &self.heads
    }
}

/// A grant beside a run, and whether a release names it.
struct Used {
    index: usize,
    grant: Arc<Grant>,
    is_used: bool,
    /// Whether it is under a key that counts.
    counts: bool,
}

type Grants = BTreeMap<GrantId, Used>;

/// Records that one attestation is to prove.
#[derive(Default)]
struct Attested {
    originator: Option<OrgId>,
    records: Vec<(u32, RecordId)>,
}

impl RunMessage {
    /// Verifies the run against the feed that was agreed and what is held of it.
    ///
    /// `sender` finds a runs key of the feed's sender, `originator` a records key of any
    /// organisation; both answer with keys that may still be relied on, and with nothing else. What is under no such key of
    /// another than the sender is [`VerifiedEntry::Unproved`].
    pub fn verify(
        &self,
        feed: &FeedKey,
        held: Held,
        sender: impl Fn(KeyId) -> Option<PublicKey>,
        originator: impl Fn(OrgId, KeyId) -> Option<PublicKey>,
    ) -> Result<ReceivedRun, RunFault> {
        let run = Run::verify(&self.run, feed, sender)?;
        // The sender says that we countersigned something else before its store was lost than we did.
        if run.prior.is_some() && run.prior != held.prior {
            return Ok(ReceivedRun::Fork(run));
        }
        if let Some(known) = place(&run, held.feed)? {
            return Ok(known);
        }
        let hashes = self.check_hashes(&run)?;
        let grants = self.check_grants(feed.sender, &originator)?;
        let doubtful: BTreeSet<GrantId> = grants.iter().filter(|(_, held)| !held.counts).map(|(id, _)| *id).collect();
        let (mut entries, attested) = self.open_entries(&hashes, grants)?;
        let heads = self.check_attestations([feed.sender, feed.receiver], attested, originator)?;
        for (_, entry) in &mut entries {
            let VerifiedEntry::Release(release) = &*entry else { continue };
            let VerifiedRelease { version, attestation, position, .. } = **release;
            let granted = release.grant.as_ref().is_none_or(|(id, _)| !doubtful.contains(id));
            if !granted || heads.get(attestation).is_none_or(Option::is_none) {
                *entry = VerifiedEntry::Unproved { record: release.record.id(), version, attestation, position };
            }
        }
        Ok(ReceivedRun::Next(Box::new(VerifiedRun { feed: *feed, run, signed: self.run.clone(), entries, heads })))
    }

    /// The entries' hashes, once they give the digest and the root that were signed.
    fn check_hashes(&self, run: &Run) -> Result<Vec<EntryHash>, RunFault> {
        if self.entries.len() as u64 != run.count {
            return Err(RunFault::Entries);
        }
        let hashes: Vec<EntryHash> = self.entries.iter().map(RunEntry::hash).collect();
        let after = digest::steps(run.before.digest, hashes.iter().copied());
        let same = after == run.after && run::root(run.feed, run.before.length, &hashes) == run.root;
        if same { Ok(hashes) } else { Err(RunFault::Entries) }
    }

    /// The grants beside the run, each once, with whether it is under a key that counts now.
    fn check_grants(
        &self,
        sender: OrgId,
        originator: impl Fn(OrgId, KeyId) -> Option<PublicKey>,
    ) -> Result<Grants, RunFault> {
        let mut grants = Grants::new();
        let beside = self.onward.iter().flat_map(|beside| &beside.grants);
        for (index, signed) in beside.enumerate() {
            let fault = |fault| RunFault::Grant { index, fault };
            let verified = Grant::verify(signed, |org, kid, _| originator(org, kid));
            let counts = !matches!(verified, Err(GrantFault::Signature(SignatureFault::Key)));
            let read = if counts { verified } else { Grant::kept(signed) };
            let (id, grant) = read.map_err(fault)?;
            if !counts && grant.originator == sender {
                return Err(fault(SignatureFault::Key.into()));
            }
            let held = Used { index, grant: Arc::new(grant), is_used: false, counts };
            if grants.insert(id, held).is_some() {
                return Err(fault(CodecError::Shape.into()));
            }
        }
        Ok(grants)
    }

    #[expect(clippy::type_complexity, reason = "entries, and what each attestation is to prove; used once")]
    fn open_entries(
        &self,
        hashes: &[EntryHash],
        mut grants: Grants,
    ) -> Result<(Vec<(EntryHash, VerifiedEntry)>, Vec<Attested>), RunFault> {
        let bodies: usize = self.carried.iter().map(|c| c.3.len()).sum();
        let beside = self.onward.as_ref();
        let many = beside.is_some_and(|beside| beside.cards.len() > limits::CARDS_PER_MESSAGE_MAX);
        if many || bodies + beside.map_or(0, Beside::bytes) > limits::RUN_BODY_BYTES_MAX {
            return Err(RunFault::TooLarge);
        }
        let mut attested: Vec<Attested> = self.attestations.iter().map(|_| Attested::default()).collect();
        let mut carried = self.carried.iter().peekable();
        let mut entries = Vec::with_capacity(self.entries.len());
        for (index, (entry, hash)) in self.entries.iter().zip(hashes).enumerate() {
            let body = carried.next_if(|c| usize::from(c.0) == index);
            let opened = match entry {
                RunEntry::Hash(_) => VerifiedEntry::Closed,
                RunEntry::Open(bytes) => {
                    match Entry::from_bytes(bytes).map_err(|fault| RunFault::Entry { index, fault })? {
                        Entry::Withdrawal { record, .. } => VerifiedEntry::Withdrawal { record },
                        Entry::Refusal { number, .. } => VerifiedEntry::Refusal { number },
                        Entry::Release { hash: released, record, .. } => {
                            let body = body.ok_or(RunFault::Carried { index })?;
                            if Release::hash(&body.3) != released {
                                return Err(RunFault::Release { index });
                            }
                            VerifiedEntry::Release(Box::new(open_release(
                                index,
                                body,
                                record,
                                &mut attested,
                                &mut grants,
                            )?))
                        }
                    }
                }
            };
            if body.is_some() && !matches!(opened, VerifiedEntry::Release(_)) {
                return Err(RunFault::Carried { index });
            }
            entries.push((*hash, opened));
        }
        if let Some(Used { index, .. }) = grants.values().find(|held| !held.is_used) {
            return Err(RunFault::Grant { index: *index, fault: CodecError::Shape.into() });
        }
        match carried.next() {
            Some(left) => Err(RunFault::Carried { index: usize::from(left.0) }),
            None => Ok((entries, attested)),
        }
    }

    /// The head of each batch; none where it is another's, under a key that does not count. What is said to be of the
    /// sender or of the receiver itself, one of the two knows to be false.
    fn check_attestations(
        &self,
        knowing: [OrgId; 2],
        attested: Vec<Attested>,
        originator: impl Fn(OrgId, KeyId) -> Option<PublicKey>,
    ) -> Result<Vec<Option<Head>>, RunFault> {
        let mut seen = BTreeSet::new();
        let mut heads = Vec::with_capacity(attested.len());
        for (index, (attestation, attested)) in self.attestations.iter().zip(attested).enumerate() {
            let org = attested.originator.ok_or(RunFault::Surplus { index })?;
            let fault = |fault| RunFault::Attestation { index, fault };
            let head = match prove(attestation, org, attested.records, &originator) {
                Err(AttestationFault::Signature(SignatureFault::Key)) if !knowing.contains(&org) => None,
                proved => Some(proved.map_err(fault)?),
            };
            let batch = attestation.danger_unverified_batch().map_err(|e| fault(e.into()))?;
            if !seen.insert(batch) {
                return Err(RunFault::Surplus { index });
            }
            heads.push(head);
        }
        Ok(heads)
    }
}

/// Whether the run follows what is held (`None`), or is known or a fork. A gap or overlap is the sender's fault.
fn place(run: &Run, held: Cursor) -> Result<Option<ReceivedRun>, RunFault> {
    let end = run.end();
    if run.before.length == held.length {
        return Ok((run.before.digest != held.digest).then(|| ReceivedRun::Fork(run.clone())));
    }
    if end.length == held.length && end.digest != held.digest {
        return Ok(Some(ReceivedRun::Fork(run.clone())));
    }
    if end.length <= held.length {
        return Ok(Some(ReceivedRun::Held(run.clone())));
    }
    Err(RunFault::Place { first: run.before.length, expected: held.length })
}

fn open_release(
    index: usize,
    carried: &Carried,
    record: RecordId,
    attested: &mut [Attested],
    grants: &mut Grants,
) -> Result<VerifiedRelease, RunFault> {
    let Carried(_, attestation, position, bytes) = carried;
    let release = Release::from_bytes(bytes).map_err(|fault| RunFault::Entry { index, fault })?;
    let (clause, version) = (release.clause(), release.version());
    let grant = match release.grant() {
        // Without the grant beside it, it is one that nobody can check.
        Some(id) => {
            let held = grants.get_mut(&id).ok_or(RunFault::Release { index })?;
            held.is_used = true;
            Some((id, Arc::clone(&held.grant)))
        }
        None => None,
    };
    let verified = Verified::new(release.into_redacted()).map_err(|fault| RunFault::Record { index, fault })?;
    if verified.id() != record {
        return Err(RunFault::Release { index });
    }
    let attestation = usize::from(*attestation);
    let group = attested.get_mut(attestation).ok_or(RunFault::Carried { index })?;
    let originator = verified.header().originator;
    if *group.originator.get_or_insert(originator) != originator {
        return Err(RunFault::Attestation { index: attestation, fault: AttestationFault::Originator });
    }
    group.records.push((u32::from(*position), record));
    Ok(VerifiedRelease { record: verified, clause, version, attestation, position: *position, grant })
}

fn prove(
    attestation: &Attestation,
    org: OrgId,
    mut records: Vec<(u32, RecordId)>,
    originator: impl Fn(OrgId, KeyId) -> Option<PublicKey>,
) -> Result<Head, AttestationFault> {
    // A record and its supplement may share a run: one leaf.
    records.sort_unstable();
    records.dedup();
    let key = originator(org, attestation.key()?).ok_or(SignatureFault::Key)?;
    attestation.verify(org, &key, &records)
}
