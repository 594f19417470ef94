//! Recalls: what an originator asks of whoever holds a record of its own, and what each holder answers.
//!
//! The node sends both as notices on the control lane, so they pass while sharing is suspended or ended. A recall names
//! no receiver: whoever passed the record on passes the same recall on. Format: SPEC, RCL-1 on.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{AgreementId, KeyId, OrgId, RecallId, RecordId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Kind of the notice that brings recalls.
pub const NOTICE_RECALLS: u16 = 1;
/// Kind of the notice that brings a holder's answers.
pub const NOTICE_ANSWERS: u16 = 2;
/// Kind of the notice that brings the receipt of an erased partition.
pub const NOTICE_ERASURE: u16 = 3;

const PAYLOAD: Bounds = Bounds::bytes(512);
const ANSWERS: Bounds =
    Bounds { bytes_max: limits::RECALLS_PER_NOTICE_MAX * 128, items_max: limits::RECALLS_PER_NOTICE_MAX * 8 };
const NOTICE: Bounds = Bounds { bytes_max: limits::CONTROL_FRAME_BYTES_MAX, items_max: limits::CONTROL_ITEMS_MAX };
const ERASURE: Bounds = Bounds::bytes(16 << 10);

/// What is asked of a holder, the stricter later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Another record takes its place. It is not used any more; what it said may be kept.
    Correct,
    /// It is not used any more; what it said may be kept, to show what was relied on.
    Withdraw,
    /// The time for which it was given is over: what it said is deleted.
    Expire,
    /// What it said is deleted.
    Erase,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Correct, Self::Withdraw, Self::Expire, Self::Erase];
    /// Its name on the wire and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Withdraw => "withdraw",
            Self::Expire => "expire",
            Self::Erase => "erase",
        }
    }
    /// Whether it asks that content be deleted.
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Expire | Self::Erase)
    }
}

/// An originator's word about one record of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// Format.
    pub v: u64,
    /// What is asked.
    pub act: Act,
    /// When it was asked.
    pub time: UnixMillis,
    /// Of which record.
    pub record: RecordId,
    /// Who recorded it, and asks.
    pub originator: OrgId,
}

impl Recall {
    /// Asks something of every holder of a record.
    pub const fn new(act: Act, originator: OrgId, record: RecordId, time: UnixMillis) -> Self {
        Self { v: 1, act, time, record, originator }
    }
    /// Signs it with a records key, and says how answers name it.
    pub fn sign(&self, key: &SigningKey) -> Result<(RecallId, SignatureBytes), CodecError> {
        let payload = codec::to_vec(self, PAYLOAD)?;
        Ok((id_of(&payload), SignatureBytes(cose::sign(label::SIGN_RECALL, key, &payload))))
    }
    /// Reads a recall, as the reward for verifying. `key` finds a records key of the organisation that it names, for the
    /// time that it states: it is said until it is answered, and a key that was retired meanwhile takes nothing back.
    pub fn verify(
        signed: &SignatureBytes,
        key: impl Fn(OrgId, KeyId, UnixMillis) -> Option<PublicKey>,
    ) -> Result<(RecallId, Self), SignatureFault> {
        let parsed = signed.parse()?;
        let claimed: Self = read(parsed.danger_unverified_payload(), PAYLOAD, |r: &Self| r.v)?;
        let public = key(claimed.originator, parsed.kid(), claimed.time).ok_or(SignatureFault::Key)?;
        let payload = parsed.verify(label::SIGN_RECALL, &public)?;
        Ok((id_of(payload), claimed))
    }
}

fn id_of(payload: &[u8]) -> RecallId {
    RecallId::from_bytes(labelled(label::RECALL_ID, &[payload]))
}

/// Reads a signed payload of format 1.
fn read<T: serde::de::DeserializeOwned>(
    payload: &[u8],
    bounds: Bounds,
    version: impl Fn(&T) -> u64,
) -> Result<T, SignatureFault> {
    let read: T = codec::from_slice(payload, bounds).map_err(SignatureFault::Form)?;
    if version(&read) == 1 { Ok(read) } else { Err(SignatureFault::Form(CodecError::Shape)) }
}

/// Where a holder stands with a recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerState {
    /// Done, here and at everybody to whom it was passed on.
    Complied,
    /// Done, here and at everybody to whom it was passed on, but that what it said must be kept until a hold is lifted.
    LegalHold,
    /// Nothing of a record of this id and originator is held: it never came, or was erased with all that came under its
    /// agreement.
    NotHeld,
    /// It is taken back, and what it said is not deleted, and will not be: the agreement says that this holder keeps it.
    Refused,
    /// Done here; somebody to whom it was passed on has not answered.
    Waiting,
}

impl AnswerState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Complied, Self::LegalHold, Self::NotHeld, Self::Refused, Self::Waiting];
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complied => "complied",
            Self::LegalHold => "legal-hold",
            Self::NotHeld => "not-held",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
        }
    }
    /// Whether no other answer follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complied | Self::NotHeld | Self::Refused)
    }
}

/// A holder's answer to one recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Where it stands.
    pub state: AnswerState,
    /// To which recall.
    pub recall: RecallId,
}

/// A holder's answers to recalls of one asker, under one signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Format.
    pub v: u64,
    /// When they were given. Of two answers to one recall the later counts.
    pub time: UnixMillis,
    /// Who holds, or held.
    pub holder: OrgId,
    /// One for each recall, rising by it.
    pub answers: Vec<Answer>,
}

impl Answers {
    /// Answers of a holder, in the order that the format asks for.
    pub fn new(holder: OrgId, time: UnixMillis, mut answers: Vec<Answer>) -> Self {
        answers.sort_by_key(|answer| answer.recall);
        Self { v: 1, time, holder, answers }
    }
    /// Signs them with a runs key, as receipts are.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, CodecError> {
        self.check()?;
        Ok(SignatureBytes(cose::sign(label::SIGN_RECALL_ANSWER, key, &codec::to_vec(self, ANSWERS)?)))
    }
    /// Reads a holder's answers, as the reward for verifying. `key` finds a runs key of `holder`, for the time that they
    /// state: whoever passed the record on says them again until they are heard.
    pub fn verify(
        signed: &SignatureBytes,
        holder: OrgId,
        key: impl Fn(KeyId, UnixMillis) -> Option<PublicKey>,
    ) -> Result<Self, SignatureFault> {
        let parsed = signed.parse()?;
        let claimed: Self = read(parsed.danger_unverified_payload(), ANSWERS, |a: &Self| a.v)?;
        let public = key(parsed.kid(), claimed.time).ok_or(SignatureFault::Key)?;
        let answers: Self = read(parsed.verify(label::SIGN_RECALL_ANSWER, &public)?, ANSWERS, |a: &Self| a.v)?;
        answers.check().map_err(SignatureFault::Form)?;
        if answers.holder == holder { Ok(answers) } else { Err(SignatureFault::Key) }
    }
    fn check(&self) -> Result<(), CodecError> {
        let rising = self.answers.is_sorted_by(|a, b| a.recall < b.recall);
        let many = self.answers.is_empty() || self.answers.len() > limits::RECALLS_PER_NOTICE_MAX;
        if rising && !many { Ok(()) } else { Err(CodecError::Shape) }
    }
}

/// A holder's receipt that everything it held under an agreement was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Format.
    pub v: u64,
    /// When the keys were destroyed.
    pub time: UnixMillis,
    /// Every copy of the keyring, known to the holder, that could still open it: in its own words, for people.
    pub copies: Vec<String>,
    /// Who held it.
    pub holder: OrgId,
    /// Under which agreement.
    pub agreement: AgreementId,
}

impl Erasure {
    /// Signs it with a runs key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, CodecError> {
        self.check()?;
        Ok(SignatureBytes(cose::sign(label::SIGN_ERASURE, key, &codec::to_vec(self, ERASURE)?)))
    }
    /// Reads a holder's receipt, as the reward for verifying. `key` finds a runs key of `holder`, for the time that the
    /// receipt states: it is shown again and again.
    pub fn verify(
        signed: &SignatureBytes,
        holder: OrgId,
        key: impl Fn(KeyId, UnixMillis) -> Option<PublicKey>,
    ) -> Result<Self, SignatureFault> {
        let parsed = signed.parse()?;
        let claimed: Self = read(parsed.danger_unverified_payload(), ERASURE, |e: &Self| e.v)?;
        let public = key(parsed.kid(), claimed.time).ok_or(SignatureFault::Key)?;
        let erasure: Self = read(parsed.verify(label::SIGN_ERASURE, &public)?, ERASURE, |e: &Self| e.v)?;
        erasure.check().map_err(SignatureFault::Form)?;
        if erasure.holder == holder { Ok(erasure) } else { Err(SignatureFault::Key) }
    }
    fn check(&self) -> Result<(), CodecError> {
        let fits = self.copies.len() <= limits::KEYRING_COPIES_MAX
            && self.copies.iter().all(|copy| !copy.is_empty() && crate::text::is_line(copy));
        if fits { Ok(()) } else { Err(CodecError::Shape) }
    }
}

/// The content of a notice of recalls. Of one originator: what verifies them may stand beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalls {
    /// Where the speaker passes them on, the newest card of their originator that it knows: whoever never met that one
    /// verifies them with it. At most one.
    pub cards: Vec<ByteBuf>,
    /// Each as its originator signed it: 1 to the bound.
    pub recalls: Vec<SignatureBytes>,
}

impl Recalls {
    /// The speaker's own.
    pub const fn own(recalls: Vec<SignatureBytes>) -> Self {
        Self { cards: Vec::new(), recalls }
    }
    /// The content of a notice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        self.check()?;
        codec::to_vec(self, NOTICE)
    }
    /// Reads the content of a notice.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let recalls: Self = codec::from_slice(bytes, NOTICE)?;
        recalls.check()?;
        Ok(recalls)
    }
    fn check(&self) -> Result<(), CodecError> {
        let fits = self.cards.len() <= 1 && (1..=limits::RECALLS_PER_NOTICE_MAX).contains(&self.recalls.len());
        if fits { Ok(()) } else { Err(CodecError::Shape) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn recall(act: Act) -> Recall {
        Recall::new(act, OrgId::from_bytes([1; 32]), RecordId::from_bytes([2; 32]), UnixMillis(5))
    }

    fn find(seed: u8) -> impl Fn(OrgId, KeyId, UnixMillis) -> Option<PublicKey> {
        move |org, kid, at| {
            let public = key(seed).public().clone();
            (org == OrgId::from_bytes([1; 32]) && public.id() == kid && at == UnixMillis(5)).then_some(public)
        }
    }

    #[test]
    fn a_recall_is_its_originators_word() -> Result<(), Box<dyn std::error::Error>> {
        let (id, signed) = recall(Act::Erase).sign(&key(1))?;
        assert_eq!(Recall::verify(&signed, find(1)), Ok((id, recall(Act::Erase))));
        assert_eq!(Recall::verify(&signed, find(2)), Err(SignatureFault::Key), "a key that is not listed");
        let nobody = |_: OrgId, _: KeyId, _: UnixMillis| None;
        assert_eq!(Recall::verify(&signed, nobody), Err(SignatureFault::Key));
        let later = Recall { time: UnixMillis(6), ..recall(Act::Erase) };
        assert_ne!(later.sign(&key(1))?.0, id, "each has a name of its own");
        Ok(())
    }

    #[test]
    fn answers_are_bounded_and_name_each_recall_once() -> Result<(), Box<dyn std::error::Error>> {
        let holder = OrgId::from_bytes([3; 32]);
        let answer = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            Answer { state: AnswerState::Complied, recall: RecallId::from_bytes(id) }
        };
        let many = |n: usize| Answers::new(holder, UnixMillis(7), (0..n).rev().map(answer).collect());
        let runs = |kid, at| (key(4).public().id() == kid && at == UnixMillis(7)).then(|| key(4).public().clone());
        let full = many(limits::RECALLS_PER_NOTICE_MAX);
        let signed = full.sign(&key(4))?;
        assert_eq!(Answers::verify(&signed, holder, runs), Ok(full));
        assert_eq!(Answers::verify(&signed, OrgId::from_bytes([9; 32]), runs), Err(SignatureFault::Key));
        for wrong in [many(0), many(limits::RECALLS_PER_NOTICE_MAX + 1)] {
            assert_eq!(wrong.sign(&key(4)), Err(CodecError::Shape));
        }
        let twice = Answers { answers: vec![answer(1), answer(1)], ..many(1) };
        assert_eq!(twice.sign(&key(4)), Err(CodecError::Shape));
        Ok(())
    }

    #[test]
    fn a_notice_takes_as_many_recalls_as_it_may() -> Result<(), Box<dyn std::error::Error>> {
        let signed = recall(Act::Withdraw).sign(&key(1))?.1;
        let card = ByteBuf::from(vec![7; limits::CARD_BYTES_MAX]);
        let full = Recalls { cards: vec![card], recalls: vec![signed; limits::RECALLS_PER_NOTICE_MAX] };
        let bytes = full.to_bytes()?;
        assert!(bytes.len() < limits::CONTROL_FRAME_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(Recalls::from_bytes(&bytes)?, full);
        let [mut more, mut none, mut two] = [full.clone(), full.clone(), full];
        more.recalls.extend(none.recalls.first().cloned());
        none.recalls.clear();
        two.cards.extend(two.cards.first().cloned());
        for wrong in [more, none, two] {
            assert_eq!(wrong.to_bytes(), Err(CodecError::Shape));
            assert_eq!(Recalls::from_bytes(&codec::to_vec(&wrong, NOTICE)?), Err(CodecError::Shape));
        }
        Ok(())
    }

    #[test]
    fn a_receipt_of_erasure_names_copies_that_people_can_read() -> Result<(), Box<dyn std::error::Error>> {
        let holder = OrgId::from_bytes([3; 32]);
        let with = |copies: Vec<String>| Erasure {
            v: 1,
            time: UnixMillis(9),
            copies,
            holder,
            agreement: AgreementId::from_bytes([8; 16]),
        };
        let runs = |kid, _| (key(4).public().id() == kid).then(|| key(4).public().clone());
        let good = with(vec!["the recovery copy of 2026-01-01".to_owned()]);
        assert_eq!(Erasure::verify(&good.sign(&key(4))?, holder, runs), Ok(good));
        let long = vec!["x".to_owned(); limits::KEYRING_COPIES_MAX + 1];
        for wrong in [vec![String::new()], vec!["two\nlines".to_owned()], vec!["turned \u{202e}".to_owned()], long] {
            assert_eq!(with(wrong.clone()).sign(&key(4)), Err(CodecError::Shape), "{wrong:?}");
        }
        Ok(())
    }

    #[test]
    fn names_are_those_of_the_wire() -> Result<(), Box<dyn std::error::Error>> {
        for act in Act::ALL {
            assert_eq!(codec::to_vec(&act, PAYLOAD)?, codec::to_vec(&act.name(), PAYLOAD)?);
        }
        for state in AnswerState::ALL {
            assert_eq!(codec::to_vec(&state, PAYLOAD)?, codec::to_vec(&state.name(), PAYLOAD)?);
        }
        Ok(())
    }
}
