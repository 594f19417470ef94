//! A party's counted statement of its standing: active, suspended or ended.
//!
//! The node keeps the newest of each party and decides by the strictest. Nothing here knows the other parties.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{AgreementId, KeyId, OrgId},
    label,
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// A party's own state of an agreement. The stricter wins; `Ended` is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Releases may flow.
    Active,
    /// No release; the control lane stays.
    Suspended,
    /// No release ever again.
    Ended,
}

/// A party's counted statement of its standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingNotice {
    /// When it was stated.
    pub time: UnixMillis,
    /// Who states it.
    pub party: OrgId,
    /// Rises by one with each statement of the party about the agreement.
    pub counter: u64,
    /// What is stated.
    pub standing: Standing,
    /// About which agreement.
    pub agreement: AgreementId,
}

impl StandingNotice {
    /// Signs a statement.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, CodecError> {
        let payload = codec::to_vec(self, Bounds::bytes(1 << 10))?;
        Ok(SignatureBytes(cose::sign(label::SIGN_AGREEMENT_STATE, key, &payload)))
    }
    /// Reads and verifies a statement by `party`.
    pub fn verify(
        signed: &SignatureBytes,
        party: OrgId,
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<Self, SignatureFault> {
        let parsed = signed.parse()?;
        let public = key(parsed.kid()).ok_or(SignatureFault::Key)?;
        let payload = parsed.verify(label::SIGN_AGREEMENT_STATE, &public)?;
        let notice: Self = codec::from_slice(payload, Bounds::bytes(1 << 10)).map_err(SignatureFault::Form)?;
        if notice.party == party { Ok(notice) } else { Err(SignatureFault::Key) }
    }

    /// Whether this statement takes the place of the one that is known of the same party and agreement.
    ///
    /// `Ended` is final, whatever counters say; else the higher counter counts, and of two with one counter, which a
    /// restored store can make, the stricter. Whoever sees the same statements in another order comes to the same.
    pub fn replaces(&self, known: Option<(u64, Standing)>) -> bool {
        match known {
            None => true,
            Some((_, Standing::Ended)) => false,
            Some(_) if self.standing == Standing::Ended => true,
            Some((counter, standing)) => (self.counter, self.standing) > (counter, standing),
        }
    }
}
