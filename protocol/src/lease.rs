//! Leases: the word of whoever gave records that their receiver may go on reading them.
//!
//! The node sends one as a notice after each opening, in answer to the nonce that the receiver has just drawn: a word
//! that was kept, or came another way, renews nothing. Format: SPEC, LEASE-1 on.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{AgreementId, KeyId, Nonce, OrgId},
    label,
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// Kind of the notice that renews a lease.
pub const NOTICE_LEASE: u16 = 4;

const PAYLOAD: Bounds = Bounds::bytes(256);

/// A giver's word that what a holder received under an agreement is not locked for another while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Format.
    pub v: u64,
    /// When it was given, by the giver's clock.
    pub time: UnixMillis,
    /// Who gave the records, and gives this word.
    pub giver: OrgId,
    /// What the holder said in its hello of the session under way.
    pub nonce: Nonce,
    /// Who may go on reading.
    pub holder: OrgId,
    /// Under which agreement.
    pub agreement: AgreementId,
}

impl Lease {
    /// Signs it with a runs key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, CodecError> {
        Ok(SignatureBytes(cose::sign(label::SIGN_LEASE, key, &codec::to_vec(self, PAYLOAD)?)))
    }
    /// Reads a lease, as the reward for verifying that `giver` gave it to `holder` in answer to `nonce`. `key` finds a runs
    /// key of the giver.
    pub fn verify(
        signed: &SignatureBytes,
        (giver, holder, nonce): (OrgId, OrgId, Nonce),
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<Self, SignatureFault> {
        let parsed = signed.parse()?;
        let public = key(parsed.kid()).ok_or(SignatureFault::Key)?;
        let payload = parsed.verify(label::SIGN_LEASE, &public)?;
        let lease: Self = codec::from_slice(payload, PAYLOAD).map_err(SignatureFault::Form)?;
        if lease.v != 1 {
            return Err(SignatureFault::Form(CodecError::Shape));
        }
        if (lease.giver, lease.holder, lease.nonce) == (giver, holder, nonce) {
            Ok(lease)
        } else {
            Err(SignatureFault::Invalid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_answers_this_holder_and_this_nonce() -> Result<(), Box<dyn std::error::Error>> {
        let key = SigningKey::from_seed(&[1; 32])?;
        let [giver, holder, other] = [1, 2, 3].map(|n| OrgId::from_bytes([n; 32]));
        let [nonce, before] = [5, 6].map(|n| Nonce::from_bytes([n; 16]));
        let agreement = AgreementId::from_bytes([9; 16]);
        let lease = Lease { v: 1, time: UnixMillis(7), giver, nonce, holder, agreement };
        let signed = lease.sign(&key)?;
        let find = |kid| (key.public().id() == kid).then(|| key.public().clone());
        assert_eq!(Lease::verify(&signed, (giver, holder, nonce), find), Ok(lease));
        for wrong in [(giver, holder, before), (giver, other, nonce), (other, holder, nonce)] {
            assert_eq!(Lease::verify(&signed, wrong, find), Err(SignatureFault::Invalid), "{wrong:?}");
        }
        assert_eq!(Lease::verify(&signed, (giver, holder, nonce), |_| None), Err(SignatureFault::Key));
        let later = Lease { v: 2, ..lease }.sign(&key)?;
        assert!(matches!(Lease::verify(&later, (giver, holder, nonce), find), Err(SignatureFault::Form(_))));
        Ok(())
    }
}
