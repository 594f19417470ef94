//! What a person signs beside the node: a call, and the events at the gate that the node lays before it.
//!
//! Runs in the command's process, where the person's key was opened. Nothing is signed that was not read: an event must
//! be what was asked for, and under the certificate that the person acts by.

use super::acts;
use crate::{
    call::Call,
    error::Fault,
    records::passing::{self, Laid},
};
use entente_protocol::{
    id::{Nonce, UserDigest},
    primitive::SigningKey,
    time::UnixMillis,
    user::UserAct,
};
use serde_json::Value as Json;

/// What a node says before an act: [`super::UserCall::Begin`].
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// The certificate that counts.
    pub certificate: UserDigest,
    /// The nonce of this act.
    pub nonce: Nonce,
    /// The node's time.
    pub at: UnixMillis,
}

impl Begun {
    /// From the node's answer.
    pub fn read(answer: &Json) -> Option<Self> {
        let text = |key: &str| answer.get(key).and_then(Json::as_str);
        Some(Self {
            certificate: text("certificate")?.parse().ok()?,
            nonce: text("nonce")?.parse().ok()?,
            at: UnixMillis(answer.get("at")?.as_u64()?),
        })
    }
}

/// Signs a call.
pub fn act(key: &SigningKey, begun: &Begun, call: &Call) -> Result<String, Fault> {
    let act = UserAct { v: 1, at: begun.at, call: acts::digest(call)?, user: begun.certificate, nonce: begun.nonce };
    let signed = act.sign(key).map_err(|e| Fault::input("sign", e))?;
    Ok(hex::encode(signed.0))
}

/// Signs what the node laid before a person who made this call. Each is read first.
pub fn events(key: &SigningKey, begun: &Begun, call: &Call, laid: &[Json]) -> Result<Vec<String>, Fault> {
    let one = |laid: &Json| {
        let bytes = laid.as_str().and_then(|text| hex::decode(text).ok());
        let strange = || Fault::setup("sign", "the node lays before you what you did not ask for: nothing was signed");
        let bytes = bytes.ok_or_else(strange)?;
        let event = Laid::read(&bytes).ok_or_else(strange)?;
        if !event.is_of(call) || event.user() != begun.certificate {
            return Err(strange());
        }
        Ok(hex::encode(passing::sign(key, &event, &bytes)))
    };
    laid.iter().map(one).collect()
}
