//! Persons of an organisation: their certificates, and what they ask of their node under their own signature.
//!
//! A certificate is made by the organisation's key of purpose *users*, which signs nothing else once there are persons.
//! It never leaves the organisation but where a person chooses so: a name is personal data. Format: SPEC, USR-1 on.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{Hash, KeyId, Nonce, OrgId, UserDigest, UserId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled},
    text,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const PAYLOAD: Bounds = Bounds::bytes(limits::USER_BYTES_MAX);
const ACT: Bounds = Bounds::bytes(256);

/// What a person may do here. Which acts that means is the policy's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Manages partners, agreements, red lines and persons.
    Administrator,
    /// Reads and checks, and changes nothing.
    Auditor,
    /// Brings evidence in.
    Collector,
    /// Speaks with partners: releases, recalls, grants, bundles.
    Contact,
    /// Reviews what others collected.
    Reviewer,
    /// Verifies what others collected and reviewed, and releases it.
    Verifier,
}

impl Role {
    /// All of them, in the order of the wire.
    pub const ALL: [Self; 6] =
        [Self::Administrator, Self::Auditor, Self::Collector, Self::Contact, Self::Reviewer, Self::Verifier];
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
            Self::Collector => "collector",
            Self::Contact => "contact",
            Self::Reviewer => "reviewer",
            Self::Verifier => "verifier",
        }
    }
    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Who a person of an organisation is, and what that one may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserCertificate {
    /// Format.
    pub v: u64,
    /// The person, for ever.
    pub id: UserId,
    /// The person's own key.
    pub key: PublicKey,
    /// Whose person it is.
    pub org: OrgId,
    /// From when it counts.
    pub from: UnixMillis,
    /// The person's name, for people of this organisation.
    pub name: String,
    /// Rising by name, none twice.
    pub roles: Vec<Role>,
    /// Until when it counts, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
    /// Certificates of one person count from 1; the newest decides.
    pub number: u64,
    /// Since when the person does nothing here any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<UnixMillis>,
}

impl UserCertificate {
    /// The first certificate of a person.
    pub fn new(org: OrgId, id: UserId, key: PublicKey, name: &str, roles: BTreeSet<Role>, from: UnixMillis) -> Self {
        let roles = roles.into_iter().collect();
        Self { v: 1, id, key, org, from, name: name.to_owned(), roles, until: None, number: 1, disabled: None }
    }
    /// Signs it with the organisation's users key.
    pub fn sign(&self, key: &SigningKey) -> Result<(UserDigest, SignatureBytes), CodecError> {
        self.check()?;
        let payload = codec::to_vec(self, PAYLOAD)?;
        Ok((digest(&payload), SignatureBytes(cose::sign(label::SIGN_USER, key, &payload))))
    }
    /// Reads a certificate, as the reward for verifying it. `key` finds a users key of `org`.
    pub fn verify(
        signed: &SignatureBytes,
        org: OrgId,
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<(UserDigest, Self), SignatureFault> {
        let parsed = signed.parse()?;
        let office = key(parsed.kid()).ok_or(SignatureFault::Key)?;
        let payload = parsed.verify(label::SIGN_USER, &office)?;
        let read: Self = codec::from_slice(payload, PAYLOAD).map_err(SignatureFault::Form)?;
        read.check().map_err(SignatureFault::Form)?;
        // A key that certifies persons is no person.
        if read.org == org && read.key.id() != office.id() {
            Ok((digest(payload), read))
        } else {
            Err(SignatureFault::Key)
        }
    }
    /// Whether what the person signs at this time counts.
    pub fn counts(&self, at: UnixMillis) -> bool {
        self.from <= at && [self.until, self.disabled].into_iter().flatten().all(|end| at < end)
    }
    fn check(&self) -> Result<(), CodecError> {
        let whole = self.v == 1 && self.number >= 1 && !self.name.is_empty() && text::is_line(&self.name);
        let whole = whole && self.roles.is_sorted_by(|a, b| a < b);
        let ends = self.until.is_none_or(|until| self.from < until);
        if whole && ends { Ok(()) } else { Err(CodecError::Shape) }
    }
}

fn digest(payload: &[u8]) -> UserDigest {
    UserDigest::from_bytes(labelled(label::USER_DIGEST, &[payload]))
}

/// What a person asks of the node, signed. Good for one call: the node drew the nonce for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserAct {
    /// Format.
    pub v: u64,
    /// When, by the clock of whoever asks.
    pub at: UnixMillis,
    /// Digest of the call.
    pub call: Hash,
    /// The certificate of who asks.
    pub user: UserDigest,
    /// What the node said first.
    pub nonce: Nonce,
}

impl UserAct {
    /// The digest of a call, over the bytes in which it is asked.
    pub fn of_call(call: &[u8]) -> Hash {
        Hash::from_bytes(labelled(label::USER_CALL, &[call]))
    }
    /// Signs it with the person's key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, CodecError> {
        Ok(SignatureBytes(cose::sign(label::SIGN_ACT, key, &codec::to_vec(self, ACT)?)))
    }
    /// Reads it, as the reward for verifying it with the key of a person.
    pub fn verify(signed: &SignatureBytes, key: &PublicKey) -> Result<Self, SignatureFault> {
        let read: Self =
            codec::from_slice(signed.parse()?.verify(label::SIGN_ACT, key)?, ACT).map_err(SignatureFault::Form)?;
        if read.v == 1 { Ok(read) } else { Err(SignatureFault::Form(CodecError::Shape)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn org() -> OrgId {
        OrgId::from_bytes([1; 32])
    }

    fn person() -> UserCertificate {
        let roles = [Role::Reviewer, Role::Collector].into();
        UserCertificate::new(
            org(),
            UserId::from_bytes([7; 16]),
            key(8).public().clone(),
            "A. Diallo",
            roles,
            UnixMillis(10),
        )
    }

    fn find(kid: KeyId) -> Option<PublicKey> {
        (key(9).public().id() == kid).then(|| key(9).public().clone())
    }

    #[test]
    fn a_certificate_is_the_word_of_its_organisation() -> Result<(), Box<dyn std::error::Error>> {
        let (id, signed) = person().sign(&key(9))?;
        assert_eq!(UserCertificate::verify(&signed, org(), find), Ok((id, person())));
        let (_, forged) = person().sign(&key(8))?;
        assert_eq!(
            UserCertificate::verify(&forged, org(), find),
            Err(SignatureFault::Key),
            "a person certifies nobody"
        );
        let other = OrgId::from_bytes([2; 32]);
        assert_eq!(UserCertificate::verify(&signed, other, find), Err(SignatureFault::Key));
        let office = UserCertificate { key: key(9).public().clone(), ..person() };
        let signed = office.sign(&key(9))?.1;
        assert_eq!(UserCertificate::verify(&signed, org(), find), Err(SignatureFault::Key), "nor is the office one");
        let more = UserCertificate { number: 2, ..person() };
        assert_ne!(more.sign(&key(9))?.0, id);
        Ok(())
    }

    #[test]
    fn what_a_certificate_says_has_one_form() {
        let wrong = [
            UserCertificate { v: 2, ..person() },
            UserCertificate { number: 0, ..person() },
            UserCertificate { name: String::new(), ..person() },
            UserCertificate { name: "two\nlines".to_owned(), ..person() },
            UserCertificate { name: "x".repeat(limits::USER_BYTES_MAX), ..person() },
            UserCertificate { until: Some(UnixMillis(10)), ..person() },
        ];
        for wrong in wrong {
            assert!(wrong.sign(&key(9)).is_err(), "{wrong:?}");
        }
        assert!(Role::ALL.is_sorted_by_key(|role| role.name()), "roles rise by name");
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
            assert_eq!(codec::to_vec(&role, PAYLOAD), codec::to_vec(&role.name(), PAYLOAD));
        }
    }

    #[test]
    fn roles_out_of_order_or_twice_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        let payload = codec::to_vec(&person(), PAYLOAD)?;
        let names = b"\x82\x69collector\x68reviewer";
        let at = payload.windows(names.len()).position(|w| w == names).ok_or("no roles")?;
        for other in [&b"\x82\x68reviewer\x69collector"[..], b"\x82\x69collector\x69collector"] {
            let changed = [&payload[..at], other, &payload[at + names.len()..]].concat();
            let signed = SignatureBytes(cose::sign(label::SIGN_USER, &key(9), &changed));
            let refused = UserCertificate::verify(&signed, org(), find);
            assert_eq!(refused, Err(SignatureFault::Form(CodecError::Shape)));
        }
        Ok(())
    }

    #[test]
    fn a_person_counts_until_disabled() {
        let at = |n| UnixMillis(n);
        assert!(!person().counts(at(9)) && person().counts(at(10)) && person().counts(at(99)));
        let ended = UserCertificate { until: Some(at(50)), disabled: Some(at(20)), ..person() };
        assert!(ended.counts(at(19)) && !ended.counts(at(20)));
        assert!(!UserCertificate { until: Some(at(50)), ..person() }.counts(at(50)));
    }

    #[test]
    fn an_act_is_of_one_person_and_one_call() -> Result<(), Box<dyn std::error::Error>> {
        let act = UserAct {
            v: 1,
            at: UnixMillis(5),
            call: UserAct::of_call(b"review"),
            user: person().sign(&key(9))?.0,
            nonce: Nonce::from_bytes([3; 16]),
        };
        let signed = act.sign(&key(8))?;
        assert_eq!(UserAct::verify(&signed, key(8).public()), Ok(act));
        assert_eq!(UserAct::verify(&signed, key(9).public()), Err(SignatureFault::Key));
        let later = UserAct { v: 2, ..act }.sign(&key(8))?;
        assert!(matches!(UserAct::verify(&later, key(8).public()), Err(SignatureFault::Form(_))));
        assert_ne!(UserAct::of_call(b"review"), UserAct::of_call(b"release"));
        Ok(())
    }
}
