//! In whose name a command asks: the person's key is opened here, beside the node, and wiped with the command.
//!
//! Where a home has no persons nothing is asked and nothing signed.

use crate::{
    call::Call,
    config::Home,
    error::Fault,
    secret::{
        Secret,
        unlock::{self, UnlockError},
    },
    users::{
        UserCall, acts, key,
        sign::{self, Begun},
    },
};
use entente_protocol::{id::UserId, primitive::SigningKey};
use serde_json::Value as Json;
use std::{cell::OnceCell, path::PathBuf};

/// Signed events that go with one call: the longest stay well below what a call may hold.
const EVENTS_AT_ONCE: usize = 16;

/// Sends one call, with a person's signature if there is one.
pub type Send<'a> = &'a mut dyn FnMut(&Call, Option<String>) -> Result<Json, Fault>;

/// The person in whose name a command asks.
pub struct Person {
    home: Home,
    name: Option<String>,
    passphrase: Option<PathBuf>,
    /// Whether the home has persons, once that was asked.
    persons: OnceCell<bool>,
    key: OnceCell<SigningKey>,
}

impl Person {
    /// From what was typed.
    pub const fn new(home: Home, name: Option<String>, passphrase: Option<PathBuf>) -> Self {
        Self { home, name, passphrase, persons: OnceCell::new(), key: OnceCell::new() }
    }

    /// Makes a call in the person's name, and signs what the node then lays before that one.
    pub fn ask(&self, call: &Call, send: Send<'_>) -> Result<Json, Fault> {
        if acts::act(call).is_none() {
            return send(call, None);
        }
        if !self.are_persons(send)? {
            // Whoever names a person believes to sign as that one; the first is added by nobody.
            let first = matches!(call, Call::User(UserCall::Add { .. }));
            if let Some(name) = self.name.as_ref().filter(|_| !first) {
                let message = format!(
                    "there are no persons here, so nothing is done in the name of `{name}`: leave --user and ENTENTE_USER \
                     out, or add the first with `entente user add`"
                );
                return Err(Fault::input("no-user", message));
            }
            return send(call, None);
        }
        let begun = self.begin(send)?;
        let by = sign::act(self.key(begun.1)?, &begun.0, call)?;
        let answer = send(call, Some(by))?;
        let laid = answer.get("sign").and_then(Json::as_array).cloned().unwrap_or_default();
        let mut done = answer;
        if let Some(map) = done.as_object_mut() {
            map.remove("sign");
        }
        for some in laid.chunks(EVENTS_AT_ONCE) {
            let events = sign::events(self.key(begun.1)?, &begun.0, call, some)?;
            let taken = send(&Call::Signed { events }, None)?;
            if !matches!(call, Call::Import(_)) {
                add(&mut done, &taken);
            }
        }
        Ok(done)
    }

    fn are_persons(&self, send: Send<'_>) -> Result<bool, Fault> {
        if let Some(known) = self.persons.get() {
            return Ok(*known);
        }
        let answer = send(&Call::User(UserCall::Begin(None)), None)?;
        let persons = answer.get("persons").and_then(Json::as_bool).unwrap_or_default();
        // The first person may just be added: only what stays so is remembered.
        if persons { Ok(*self.persons.get_or_init(|| true)) } else { Ok(false) }
    }

    fn begin(&self, send: Send<'_>) -> Result<(Begun, UserId), Fault> {
        let name = self.name.clone().ok_or_else(|| {
            let message = "this organisation has persons, and each acts under their own name: name yourself with --user \
                NAME, or set ENTENTE_USER";
            Fault::input("needs-user", message)
        })?;
        let answer = send(&Call::User(UserCall::Begin(Some(name))), None)?;
        let id = answer.get("id").and_then(Json::as_str).and_then(|id| id.parse().ok());
        let begun = Begun::read(&answer).zip(id);
        begun.ok_or_else(|| Fault::setup("socket", "the node does not say what a person must know to sign"))
    }

    fn key(&self, id: UserId) -> Result<&SigningKey, Fault> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let phrase = self.phrase()?;
        let key = key::open(&self.home, id, &phrase).map_err(|e| fault(&e))?;
        Ok(self.key.get_or_init(|| key))
    }

    /// Whose name was given, and that person's id.
    pub fn myself(&self, send: Send<'_>) -> Result<(String, UserId), Fault> {
        if !self.are_persons(send)? {
            return Err(Fault::input("no-user", "there are no persons here: `entente user add` adds the first"));
        }
        let (_, id) = self.begin(send)?;
        Ok((self.name.clone().unwrap_or_default(), id))
    }

    /// The passphrase of that person.
    pub fn phrase(&self) -> Result<Secret<String>, Fault> {
        let read = match &self.passphrase {
            Some(path) => unlock::read_secret_file(path),
            None => {
                let of = format!("passphrase of {}", self.name.as_deref().unwrap_or_default());
                unlock::ask(&of, None, "--user-passphrase-file")
            }
        };
        read.map_err(|e| fault(&e))
    }
}

/// A person's key that could not be opened or made.
pub fn fault(error: &UnlockError) -> Fault {
    Fault::setup("user-key", format!("the person's key: {error}"))
}

/// Adds what was taken to what was asked for: counts to counts, lists to lists.
fn add(done: &mut Json, taken: &Json) {
    let (Some(done), Some(taken)) = (done.as_object_mut(), taken.as_object()) else { return };
    for (key, more) in taken {
        match (done.get_mut(key), more) {
            (Some(Json::Array(known)), Json::Array(more)) => known.extend(more.iter().cloned()),
            (Some(known), Json::Number(more)) => {
                let sum = known.as_u64().unwrap_or_default() + more.as_u64().unwrap_or_default();
                *known = Json::from(sum);
            }
            (None, more) => drop(done.insert(key.clone(), more.clone())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_signed_in_steps_is_told_as_one() {
        let mut done = json!({ "changed": 0, "unchanged": 2, "refused": [{ "id": "a" }] });
        for _ in 0..2 {
            add(&mut done, &json!({ "changed": 500, "unchanged": 0, "refused": [], "recalls": [3] }));
        }
        assert_eq!(done, json!({ "changed": 1000, "unchanged": 2, "refused": [{ "id": "a" }], "recalls": [3, 3] }));
    }
}
