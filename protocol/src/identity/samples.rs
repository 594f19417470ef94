//! Sample cards and certificates for tests: small, deterministic, with real signatures.

use super::{CardKey, CardPayload, Contact, Purpose, next_root};
use crate::{
    id::OrgId,
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};

/// When the sample cards were made.
pub(crate) const ISSUED: UnixMillis = UnixMillis(1_780_000_000_000);

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        len @ 0..=0x7f => out.push(u8::try_from(len).unwrap()),
        len @ 0x80..=0xff => out.extend([0x81, u8::try_from(len).unwrap()]),
        len => {
            out.push(0x82);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

/// A certificate over `public`, signed by `issuer` with Ed25519 (RFC 8410).
pub(crate) fn certificate(public: &PublicKey, issuer: &SigningKey) -> Vec<u8> {
    let ed25519 = der(0x30, &[&der(0x06, &[&[0x2b, 0x65, 0x70]])]);
    let common_name = der(0x30, &[&der(0x06, &[&[0x55, 0x04, 0x03]]), &der(0x0c, &[b"sample root"])]);
    let name = der(0x30, &[&der(0x31, &[&common_name])]);
    let validity = der(0x30, &[&der(0x17, &[b"260101000000Z"]), &der(0x17, &[b"460101000000Z"])]);
    let version = der(0xa0, &[&[0x02, 0x01, 0x02]]);
    let tbs = der(0x30, &[&version, &[0x02, 0x01, 0x01], &ed25519, &name, &validity, &name, &public.spki()]);
    let signature = der(0x03, &[&[0], &issuer.sign(&tbs)]);
    der(0x30, &[&tbs, &ed25519, &signature])
}

/// A card of an organisation whose root, records, agreements and runs keys have seeds from `seed` on.
pub(crate) fn payload(seed: u8) -> CardPayload {
    let root = key(seed);
    let listed = |purpose, n: u8| CardKey::new(purpose, key(seed + n).public().clone(), UnixMillis(1_000));
    CardPayload {
        v: 1,
        age: format!("age1pq1{}", "q".repeat(1_952)),
        org: OrgId::from_bytes(*root.public().id().as_bytes()),
        keys: vec![
            listed(Purpose::Root, 0),
            listed(Purpose::Records, 1),
            listed(Purpose::Agreements, 2),
            listed(Purpose::Runs, 3),
        ],
        name: "Office of the Example Panel".to_owned(),
        root: certificate(root.public(), &root),
        handle: "panel".to_owned(),
        issued: ISSUED,
        number: 7,
        contacts: vec![Contact {
            name: "A. Example".to_owned(),
            role: "point of contact".to_owned(),
            email: Some("poc@panel.example".to_owned()),
            phone: None,
        }],
        addresses: vec!["node.panel.example:4433".parse().unwrap(), "[2001:db8::1]:4433".parse().unwrap()],
        next_root: Some(next_root(key(seed + 9).public())),
        succession: vec![],
    }
}
