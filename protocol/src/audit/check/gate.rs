//! The release gate: who reviewed and released which record, and where it stood when it left.

use super::{super::item::Person, Known, Notes, Test};
use crate::{
    codec::{self, Bounds},
    cose::{Sign1, SignatureBytes},
    gate::{GateEvent, Review},
    id::{KeyId, RecordId, UserDigest},
    identity::Purpose,
    label, limits,
    primitive::PublicKey,
    time::UnixMillis,
};
use std::collections::BTreeMap;

const EVENT: Bounds = Bounds { bytes_max: limits::AUDIT_ITEM_BYTES_MAX, items_max: limits::AUDIT_ITEM_ITEMS_MAX };

/// What an event did to a record.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: UnixMillis,
    /// The state set; none where it was released.
    review: Option<Review>,
    staged: bool,
}

/// Every event, by record.
#[derive(Default)]
pub struct Events {
    persons: BTreeMap<UserDigest, Person>,
    steps: BTreeMap<RecordId, Vec<Step>>,
    count: u64,
}

impl Events {
    /// A person's key.
    pub fn person(&mut self, person: Person) {
        self.persons.insert(person.user, person);
    }

    /// The next event.
    pub fn event(&mut self, known: &Known, notes: &mut Notes, signed: &SignatureBytes) {
        notes.looked(Test::Gate);
        let place = format!("gate event {}", self.count);
        self.count += 1;
        match self.read(known, signed) {
            Err(why) => notes.wrong(Test::Gate, known.maker(), place, why),
            Ok(event) => {
                let step = Step { at: event.at, review: event.review, staged: event.stage.is_some() };
                for record in event.records {
                    self.steps.entry(record).or_default().push(step);
                }
            }
        }
    }

    fn read(&self, known: &Known, signed: &SignatureBytes) -> Result<GateEvent, String> {
        let signed = Sign1::parse(&signed.0, limits::AUDIT_ITEM_BYTES_MAX).map_err(|fault| fault.to_string())?;
        let read = |payload: &[u8]| codec::from_slice::<GateEvent>(payload, EVENT).map_err(|fault| fault.to_string());
        let stated = read(signed.danger_unverified_payload())?;
        let key = self.key(known, &stated, signed.kid())?;
        let context = if stated.review.is_some() { label::SIGN_REVIEW } else { label::SIGN_RELEASE_EVENT };
        signed.verify(context, &key).map_err(|fault| fault.to_string())?;
        Ok(stated)
    }

    /// The key of who signed: a person's, whose certificate counted then, or the office's.
    fn key(&self, known: &Known, event: &GateEvent, kid: KeyId) -> Result<PublicKey, &'static str> {
        let Some(user) = event.user else {
            let office = known.key(known.maker(), Purpose::Users, kid, event.at);
            return office.ok_or("the maker's card lists no such key of the office");
        };
        let person = self.persons.get(&user).ok_or("it names a person whose key is not shown")?;
        if person.key.id() != kid || !person.counts(event.at) {
            return Err("the person that it names did not sign it, or no certificate of that one counted then");
        }
        Ok(person.key.clone())
    }

    /// Why a record could not leave at a time, if it could not.
    pub fn bars(&self, record: RecordId, at: UnixMillis, least: Review) -> Option<String> {
        let (mut review, mut released, mut too_early) = (Review::Draft, false, false);
        // In the order in which they were kept; times may fall, where a clock was set.
        for step in self.steps.get(&record).into_iter().flatten().filter(|step| step.at <= at) {
            match step.review {
                Some(state) if step.staged => review = review.staged(state),
                Some(state) => review = state,
                None => {
                    released = true;
                    too_early = review < least || review == Review::Refuted;
                }
            }
        }
        if review == Review::Refuted || review < least {
            let (is, least) = (review.name(), least.name());
            return Some(format!("its review state was `{is}` when it left, and release needs `{least}`"));
        }
        if !released {
            return Some("no person had released it when it left".to_owned());
        }
        too_early.then(|| format!("it was released before its review stood at `{}`", least.name()))
    }
}
