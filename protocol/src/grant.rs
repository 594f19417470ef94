//! Onward release: an originator's consent that a holder passes its records on, and the holder's word of what it passed on.
//!
//! A holder asks ([`Request`]), the originator answers with a [`Grant`], whoever receives the record checks it, and the
//! holder tells the originator in a [`Passed`] notice. All travel as notices on the control lane but the grant, which
//! also stands beside the run that it lets go. Format: SPEC, ONW-1 on.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{AgreementId, GrantId, KeyId, LineId, NoticeId, OrgId, RecordId},
    label::{self, Context},
    limits,
    primitive::{PublicKey, SigningKey, labelled},
    record::{Header, SlotSet, kind::Kind},
    text,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Kind of the notice that asks an originator for a grant.
pub const NOTICE_REQUEST: u16 = 5;
/// Kind of the notice that brings a grant.
pub const NOTICE_GRANT: u16 = 6;
/// Kind of the notice that tells an originator who was passed what.
pub const NOTICE_PASSED: u16 = 7;
/// Kind of the notice that says which notices of the kinds 5, 6, 7 and 9 were heard.
pub const NOTICE_HEARD: u16 = 8;
/// Kind of the notice that brings an onward holder's answers to recalls.
pub const NOTICE_RELAYED: u16 = 9;

const PAYLOAD: Bounds = Bounds { bytes_max: 32 << 10, items_max: 2_000 };
const PASSED: Bounds = Bounds { bytes_max: limits::PASSED_PER_NOTICE_MAX * 256, items_max: 12_000 };
const NOTICE: Bounds = Bounds { bytes_max: limits::CONTROL_FRAME_BYTES_MAX, items_max: limits::CONTROL_ITEMS_MAX };

/// A signed statement that cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    /// The signature, or whose it is.
    #[error("{0}")]
    Signature(#[from] SignatureFault),
    /// The form.
    #[error("it is malformed: {0}")]
    Form(#[from] CodecError),
}

/// What may be passed on, or is asked to be: records of one kind, by line or all of them, and which fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Of which kind.
    pub kind: Kind,
    /// Lines, rising; none for every record of the kind.
    pub lines: Vec<LineId>,
    /// Fields.
    pub slots: SlotSet,
    /// For which purposes, rising; none for any.
    pub purposes: Vec<String>,
    /// How long the receiver keeps it at most, in days.
    pub retention_days: u32,
    /// Until when it may be passed on, and be held.
    pub until: UnixMillis,
}

impl Scope {
    /// Whether a record is one of these.
    pub fn covers(&self, header: &Header) -> bool {
        self.kind == header.kind && (self.lines.is_empty() || self.lines.binary_search(&header.line).is_ok())
    }
    /// Whether purposes of an agreement are all among these.
    pub fn allows(&self, purposes: &[String]) -> bool {
        self.purposes.is_empty() || purposes.iter().all(|purpose| self.purposes.contains(purpose))
    }
    fn is_well_formed(&self) -> bool {
        self.lines.len() <= limits::GRANT_LINES_MAX
            && self.lines.is_sorted_by(|a, b| a < b)
            && self.purposes.len() <= limits::GRANT_PURPOSES_MAX
            && self.purposes.is_sorted_by(|a, b| a < b)
            && self.purposes.iter().all(|purpose| text::is_line(purpose))
            && self.slots.iter().all(|slot| self.kind.slot_number(slot).is_some())
    }
}

/// An originator's consent: a holder may pass records of it on to one receiver. With no field it says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What may go.
    pub scope: Scope,
    /// Who passes it on.
    pub from: OrgId,
    /// Who receives it.
    pub to: OrgId,
    /// When it was given. The newest that covers a record counts.
    pub time: UnixMillis,
    /// Whose records they are.
    pub originator: OrgId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireGrant {
    v: u64,
    to: OrgId,
    from: OrgId,
    kind: Kind,
    time: UnixMillis,
    lines: Vec<LineId>,
    slots: Vec<u8>,
    until: UnixMillis,
    purposes: Vec<String>,
    originator: OrgId,
    #[serde(rename = "retention-days")]
    retention_days: u32,
}

/// Slots of a list that rises strictly.
fn slots(list: &[u8]) -> Result<SlotSet, CodecError> {
    let rising = list.is_sorted_by(|a, b| a < b) && list.iter().all(|slot| usize::from(*slot) < limits::SLOTS);
    if rising { Ok(list.iter().copied().collect()) } else { Err(CodecError::Shape) }
}

fn well_formed<T>(read: T, fits: bool) -> Result<T, CodecError> {
    if fits { Ok(read) } else { Err(CodecError::Shape) }
}

impl Grant {
    /// Whether it says no.
    pub fn is_refusal(&self) -> bool {
        self.scope.slots.is_empty()
    }
    /// Signs it with a records key, and says how releases name it.
    pub fn sign(&self, key: &SigningKey) -> Result<(GrantId, SignatureBytes), GrantFault> {
        let Self { scope, from, to, time, originator } = self.clone();
        let Scope { kind, lines, slots, purposes, retention_days, until } = scope;
        let slots = slots.iter().collect();
        let wire = WireGrant { v: 1, to, from, kind, time, lines, slots, until, purposes, originator, retention_days };
        let payload = codec::to_vec(&wire, PAYLOAD)?;
        Self::read(&payload)?;
        Ok((grant_id(&payload), SignatureBytes(cose::sign(label::SIGN_GRANT, key, &payload))))
    }
    /// Reads a grant, as the reward for verifying. `key` finds a records key of the organisation that it names, for the
    /// time that it states: it is shown for as long as it lasts.
    pub fn verify(
        signed: &SignatureBytes,
        key: impl Fn(OrgId, KeyId, UnixMillis) -> Option<PublicKey>,
    ) -> Result<(GrantId, Self), GrantFault> {
        let parsed = signed.parse()?;
        let claimed = Self::read(parsed.danger_unverified_payload())?;
        let public = key(claimed.originator, parsed.kid(), claimed.time).ok_or(SignatureFault::Key)?;
        let payload = parsed.verify(label::SIGN_GRANT, &public)?;
        Ok((grant_id(payload), claimed))
    }
    /// A grant of ours, or one that was verified when it came, as it is kept.
    pub fn kept(signed: &SignatureBytes) -> Result<(GrantId, Self), GrantFault> {
        let parsed = signed.parse()?;
        let payload = parsed.danger_unverified_payload();
        Ok((grant_id(payload), Self::read(payload)?))
    }
    fn read(payload: &[u8]) -> Result<Self, CodecError> {
        let wire: WireGrant = codec::from_slice(payload, PAYLOAD)?;
        let WireGrant { v, to, from, kind, time, lines, slots: list, until, purposes, originator, retention_days } =
            wire;
        let scope = Scope { kind, lines, slots: slots(&list)?, purposes, retention_days, until };
        let apart = to != from && to != originator && from != originator;
        let fits = v == 1 && apart && scope.is_well_formed();
        well_formed(Self { scope, from, to, time, originator }, fits)
    }
}

fn grant_id(payload: &[u8]) -> GrantId {
    GrantId::from_bytes(labelled(label::GRANT_ID, &[payload]))
}

/// A holder's question whether it may pass records on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it would pass on.
    pub scope: Scope,
    /// To whom.
    pub to: OrgId,
    /// When it asks.
    pub time: UnixMillis,
    /// Why, for the originator's people.
    pub reason: String,
    /// Who asks.
    pub holder: OrgId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRequest {
    v: u64,
    to: OrgId,
    kind: Kind,
    time: UnixMillis,
    lines: Vec<LineId>,
    slots: Vec<u8>,
    until: UnixMillis,
    holder: OrgId,
    reason: String,
    purposes: Vec<String>,
    #[serde(rename = "retention-days")]
    retention_days: u32,
}

impl Request {
    /// Signs it with a runs key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, GrantFault> {
        let Self { scope, to, time, reason, holder } = self.clone();
        let Scope { kind, lines, slots, purposes, retention_days, until } = scope;
        let slots = slots.iter().collect();
        let wire = WireRequest { v: 1, to, kind, time, lines, slots, until, holder, reason, purposes, retention_days };
        let payload = codec::to_vec(&wire, PAYLOAD)?;
        Self::read(&payload)?;
        Ok(SignatureBytes(cose::sign(label::SIGN_GRANT_REQUEST, key, &payload)))
    }
    /// Reads a holder's request, as the reward for verifying. `key` finds a runs key of `holder`.
    pub fn verify(
        signed: &SignatureBytes,
        holder: OrgId,
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<Self, GrantFault> {
        let request = Self::read(verified(signed, label::SIGN_GRANT_REQUEST, key)?.as_slice())?;
        if request.holder == holder { Ok(request) } else { Err(SignatureFault::Key.into()) }
    }
    /// A request of ours, or one that was verified when it came, as it is kept.
    pub fn kept(signed: &SignatureBytes) -> Result<Self, GrantFault> {
        Ok(Self::read(signed.parse()?.danger_unverified_payload())?)
    }
    fn read(payload: &[u8]) -> Result<Self, CodecError> {
        let wire: WireRequest = codec::from_slice(payload, PAYLOAD)?;
        let WireRequest { v, to, kind, time, lines, slots: list, until, holder, reason, purposes, retention_days } =
            wire;
        let scope = Scope { kind, lines, slots: slots(&list)?, purposes, retention_days, until };
        let fits =
            v == 1 && to != holder && !scope.slots.is_empty() && scope.is_well_formed() && text::is_line(&reason);
        well_formed(Self { scope, to, time, reason, holder }, fits)
    }
}

/// One record that was passed on to one receiver, or taken back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOn {
    /// Who received it.
    pub to: OrgId,
    /// Whether it was taken back since.
    pub gone: bool,
    /// By which grant.
    pub grant: GrantId,
    /// The record.
    pub record: RecordId,
    /// Under which agreement with the receiver.
    pub agreement: AgreementId,
}

/// A holder's word to an originator: who was passed which of its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passed {
    /// Format.
    pub v: u64,
    /// When it was done.
    pub time: UnixMillis,
    /// Who passed them on.
    pub holder: OrgId,
    /// In the order in which it was done.
    pub passed: Vec<PassedOn>,
}

impl Passed {
    /// Signs it with a runs key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, GrantFault> {
        self.check()?;
        Ok(SignatureBytes(cose::sign(label::SIGN_PASSED, key, &codec::to_vec(self, PASSED)?)))
    }
    /// Reads a holder's word, as the reward for verifying. `key` finds a runs key of `holder`, for the time stated: it
    /// is said until it was heard.
    pub fn verify(
        signed: &SignatureBytes,
        holder: OrgId,
        key: impl Fn(KeyId, UnixMillis) -> Option<PublicKey>,
    ) -> Result<Self, GrantFault> {
        let claimed: Self = codec::from_slice(signed.parse()?.danger_unverified_payload(), PASSED)?;
        verified(signed, label::SIGN_PASSED, |kid| key(kid, claimed.time))?;
        claimed.check()?;
        if claimed.holder == holder { Ok(claimed) } else { Err(SignatureFault::Key.into()) }
    }
    /// A word of ours, or one that was verified when it came, as it is kept.
    pub fn kept(signed: &SignatureBytes) -> Result<Self, GrantFault> {
        Ok(codec::from_slice(signed.parse()?.danger_unverified_payload(), PASSED)?)
    }
    fn check(&self) -> Result<(), CodecError> {
        let many = self.passed.is_empty() || self.passed.len() > limits::PASSED_PER_NOTICE_MAX;
        well_formed((), self.v == 1 && !many)
    }
}

/// The payload, where its signature holds.
fn verified(
    signed: &SignatureBytes,
    context: Context,
    key: impl Fn(KeyId) -> Option<PublicKey>,
) -> Result<Vec<u8>, SignatureFault> {
    let parsed = signed.parse()?;
    let public = key(parsed.kid()).ok_or(SignatureFault::Key)?;
    Ok(parsed.verify(context, &public)?.to_vec())
}

/// How [`NOTICE_HEARD`] names what was signed.
pub fn notice_id(signed: &SignatureBytes) -> NoticeId {
    NoticeId::from_bytes(labelled(label::NOTICE_ID, &[&signed.0]))
}

/// What stands beside a run of which releases are of other originators than its sender.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The originators' newest cards that the sender knows.
    pub cards: Vec<serde_bytes::ByteBuf>,
    /// Grants, each needed by a release.
    pub grants: Vec<SignatureBytes>,
}

impl Beside {
    /// Bytes of all of it, which count as bodies do.
    pub fn bytes(&self) -> usize {
        let grants: usize = self.grants.iter().map(|signed| signed.0.len()).sum();
        self.cards.iter().map(|card| card.len()).sum::<usize>() + grants
    }
}

/// A word that an originator is told about others, with the cards of whom it names: whoever it has not met it knows
/// from these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Cards of those who are named.
    pub cards: Vec<serde_bytes::ByteBuf>,
    /// [`Passed`] of the speaker, or the answers of the organisation whose card it is.
    pub signed: SignatureBytes,
}

impl Told {
    /// The content of a notice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        well_formed((), self.cards.len() <= limits::CARDS_PER_MESSAGE_MAX)?;
        codec::to_vec(self, NOTICE)
    }
    /// Reads the content of a notice.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let told: Self = codec::from_slice(bytes, NOTICE)?;
        let fits = told.cards.len() <= limits::CARDS_PER_MESSAGE_MAX;
        well_formed(told, fits)
    }
}

/// The content of a notice that names what was heard: 1 to the bound.
pub fn heard_to_bytes(heard: &[NoticeId]) -> Result<Vec<u8>, CodecError> {
    well_formed((), (1..=limits::RECALLS_PER_NOTICE_MAX).contains(&heard.len()))?;
    codec::to_vec(&heard, NOTICE)
}

/// Reads the content of a notice that names what was heard.
pub fn heard_from_bytes(bytes: &[u8]) -> Result<Vec<NoticeId>, CodecError> {
    read_list(bytes)
}

fn read_list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, CodecError> {
    let list: Vec<T> = codec::from_slice(bytes, NOTICE)?;
    let fits = (1..=limits::RECALLS_PER_NOTICE_MAX).contains(&list.len());
    well_formed(list, fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn org(n: u8) -> OrgId {
        OrgId::from_bytes([n; 32])
    }

    fn scope() -> Scope {
        Scope {
            kind: Kind::Item,
            lines: vec![LineId::from_bytes([4; 16]), LineId::from_bytes([5; 16])],
            slots: [0, 8, 14].into_iter().collect(),
            purposes: vec!["tracing".to_owned()],
            retention_days: 30,
            until: UnixMillis(900),
        }
    }

    fn grant() -> Grant {
        Grant { scope: scope(), from: org(2), to: org(3), time: UnixMillis(5), originator: org(1) }
    }

    fn find(seed: u8) -> impl Fn(OrgId, KeyId, UnixMillis) -> Option<PublicKey> {
        move |of, kid, at| {
            let public = key(seed).public().clone();
            (of == org(1) && public.id() == kid && at == UnixMillis(5)).then_some(public)
        }
    }

    #[test]
    fn a_grant_is_its_originators_word() -> Result<(), Box<dyn std::error::Error>> {
        let (id, signed) = grant().sign(&key(1))?;
        assert_eq!(Grant::verify(&signed, find(1))?, (id, grant()));
        assert_eq!(Grant::kept(&signed)?, (id, grant()));
        assert_eq!(Grant::verify(&signed, find(2)), Err(SignatureFault::Key.into()), "a key that is not listed");
        let other = Grant { to: org(4), ..grant() }.sign(&key(1))?.0;
        assert_ne!(other, id);
        Ok(())
    }

    #[test]
    fn what_a_grant_says_has_one_form() {
        let with = |change: fn(&mut Grant)| {
            let mut changed = grant();
            change(&mut changed);
            changed.sign(&key(1))
        };
        let shape = || Err(CodecError::Shape.into());
        assert_eq!(with(|g| g.to = g.from), shape());
        assert_eq!(with(|g| g.to = g.originator), shape());
        assert_eq!(with(|g| g.from = g.originator), shape());
        assert_eq!(with(|g| g.scope.lines.reverse()), shape(), "lines rise");
        assert_eq!(with(|g| g.scope.lines = vec![LineId::from_bytes([1; 16]); 2]), shape(), "and are apart");
        assert_eq!(with(|g| g.scope.slots = [60].into_iter().collect()), shape(), "no such slot of this kind");
        assert_eq!(with(|g| g.scope.purposes = vec!["two\nlines".to_owned()]), shape());
        assert_eq!(with(|g| g.scope.purposes = vec!["b".to_owned(), "a".to_owned()]), shape());
        let many = |n: usize| (0..n).map(|n| LineId::from_bytes(u128::to_be_bytes(n as u128))).collect::<Vec<_>>();
        let lines = |n| Grant { scope: Scope { lines: many(n), ..scope() }, ..grant() }.sign(&key(1)).map(drop);
        assert_eq!(lines(limits::GRANT_LINES_MAX), Ok(()));
        assert_eq!(lines(limits::GRANT_LINES_MAX + 1), Err(CodecError::Shape.into()));
    }

    #[test]
    fn a_scope_covers_its_lines_or_all_of_its_kind() {
        let header = |line: u8, kind| Header {
            kind,
            line: LineId::from_bytes([line; 16]),
            floor: crate::record::HandlingFloor::default(),
            nonce: crate::id::Nonce::from_bytes([0; 16]),
            originator: org(1),
        };
        assert!(scope().covers(&header(4, Kind::Item)) && !scope().covers(&header(6, Kind::Item)));
        assert!(!scope().covers(&header(4, Kind::Event)));
        let all = Scope { lines: Vec::new(), ..scope() };
        assert!(all.covers(&header(6, Kind::Item)) && !all.covers(&header(6, Kind::Event)));
        let purposes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(scope().allows(&purposes(&["tracing"])) && !scope().allows(&purposes(&["tracing", "training"])));
        assert!(Scope { purposes: Vec::new(), ..scope() }.allows(&purposes(&["anything"])));
    }

    #[test]
    fn requests_and_words_of_what_was_passed_are_the_holders() -> Result<(), Box<dyn std::error::Error>> {
        let runs = |kid: KeyId| (key(2).public().id() == kid).then(|| key(2).public().clone());
        let request = Request {
            scope: scope(),
            to: org(3),
            time: UnixMillis(6),
            reason: "the panel asks for it".to_owned(),
            holder: org(2),
        };
        let signed = request.sign(&key(2))?;
        assert_eq!(Request::verify(&signed, org(2), runs)?, request);
        assert_eq!(Request::kept(&signed)?, request);
        assert_eq!(Request::verify(&signed, org(9), runs), Err(SignatureFault::Key.into()), "of another");
        let nothing = Request { scope: Scope { slots: SlotSet::EMPTY, ..scope() }, ..request.clone() };
        assert_eq!(nothing.sign(&key(2)), Err(CodecError::Shape.into()), "nothing is asked for");
        assert!(Request { reason: String::new(), ..request }.sign(&key(2)).is_err());

        let one = PassedOn {
            to: org(3),
            gone: false,
            grant: GrantId::from_bytes([7; 32]),
            record: RecordId::from_bytes([8; 32]),
            agreement: AgreementId::from_bytes([9; 16]),
        };
        let passed = |n| Passed { v: 1, time: UnixMillis(7), holder: org(2), passed: vec![one; n] };
        let full = passed(limits::PASSED_PER_NOTICE_MAX);
        let signed = full.sign(&key(2))?;
        assert_eq!(Passed::verify(&signed, org(2), |kid, _| runs(kid))?, full);
        assert_eq!(Passed::verify(&signed, org(9), |kid, _| runs(kid)), Err(SignatureFault::Key.into()));
        assert!(Passed::verify(&signed, org(2), |_, _| None).is_err());
        for wrong in [passed(0), passed(limits::PASSED_PER_NOTICE_MAX + 1)] {
            assert_eq!(wrong.sign(&key(2)), Err(CodecError::Shape.into()));
        }
        // With as many cards as it may name it fits a frame of its lane.
        let card = serde_bytes::ByteBuf::from(vec![0; limits::CARD_BYTES_MAX]);
        let told = |n| Told { cards: vec![card.clone(); n], signed: signed.clone() };
        let bytes = told(limits::CARDS_PER_MESSAGE_MAX).to_bytes()?;
        assert!(bytes.len() < limits::CONTROL_FRAME_BYTES_MAX * 7 / 8, "{} bytes", bytes.len());
        assert_eq!(Told::from_bytes(&bytes)?, told(limits::CARDS_PER_MESSAGE_MAX));
        assert!(told(limits::CARDS_PER_MESSAGE_MAX + 1).to_bytes().is_err());
        Ok(())
    }

    #[test]
    fn what_was_heard_is_named_in_bounds() -> Result<(), Box<dyn std::error::Error>> {
        let heard = |n| vec![NoticeId::from_bytes([1; 32]); n];
        let full = heard(limits::RECALLS_PER_NOTICE_MAX);
        assert_eq!(heard_from_bytes(&heard_to_bytes(&full)?)?, full);
        assert!(heard_to_bytes(&[]).is_err() && heard_to_bytes(&heard(limits::RECALLS_PER_NOTICE_MAX + 1)).is_err());
        assert!(heard_from_bytes(&[0x80]).is_err());
        let signed = grant().sign(&key(1))?.1;
        assert_ne!(notice_id(&signed), notice_id(&Grant { to: org(4), ..grant() }.sign(&key(1))?.1));
        Ok(())
    }
}
