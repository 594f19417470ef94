//! Renewal: a new node certificate by the issuing key, and a newer card by the root key.
//!
//! The node's key stays, so partners need no new card for a renewed certificate. A card is made anew when settings say
//! something else than it does; the root key is read for that and for nothing else. Called when a home is opened, by the
//! daily round of a running node, and by `entente identity renew`.

use super::{
    IdentityError, Keys, PURPOSES, addresses, draw_next_root, file, known, overlap, own_card, pkcs8, read, write,
    write_card,
};
use crate::{
    config::{Config, Home},
    peer::issue,
    seal::hybrid::Identity,
    secret::{
        self, Secret,
        durable::Existing,
        keyfile::{KeyFile, KeyFileError},
        recovery,
    },
};
use entente_protocol::{
    identity::{Card, CardKey, Purpose, chain, next_root},
    primitive::{PublicKey, SigningKey},
    time::{DAY_MS, UnixMillis},
};
use rustls_pki_types::CertificateDer;
use std::sync::PoisonError;

/// A certificate with less than this left is renewed.
const RENEW_MS: u64 = 30 * DAY_MS;
/// People are told when less than this is left: renewal has failed by then, day after day.
const WARN_MS: u64 = 14 * DAY_MS;

/// Why a certificate or card is not as it should be, in words for our own people.
pub type Trouble = String;

/// The own card, made anew where the settings say something else, or where it lacks a purpose of which a key is `fresh`. Where the root key is elsewhere, the old one and why.
pub fn card(
    home: &Home,
    config: &Config,
    (node, bundles): (&Identity, &Identity),
    fresh: &[(Purpose, PublicKey)],
    now: UnixMillis,
) -> Result<(Card, Option<Trouble>), IdentityError> {
    let card = own_card(home)?;
    let before = card.payload();
    let mut wanted = before.clone();
    wanted.addresses = addresses(config)?;
    wanted.age = bundles.recipient().to_string();
    for (purpose, key) in fresh {
        if !before.keys.iter().any(|entry| entry.purpose == *purpose) {
            wanted.keys.push(CardKey::new(*purpose, key.clone(), now));
        }
    }
    wanted.name.clone_from(&config.name);
    wanted.handle.clone_from(&config.handle);
    let commits = before.next_root.is_some();
    if wanted == *before && commits {
        return Ok((card, None));
    }
    let root = match KeyFile::read(&file(home, "root.age"), node) {
        Ok(root) => root,
        // A card of an earlier version, which commits to no next root: it does once the root key is here.
        Err(KeyFileError::Missing(_)) if wanted == *before => return Ok((card, None)),
        Err(KeyFileError::Missing(path)) => {
            let trouble = format!(
                "the settings say other addresses or names than the card, and `{}`, which signs cards, is not here: bring it, \
                 run `entente identity card`, and take it away again",
                path.display()
            );
            return Ok((card, Some(trouble)));
        }
        Err(error) => return Err(error.into()),
    };
    if !commits {
        let recovery = recovery::recipient(&home.keys()).map_err(|e| IdentityError::Recovery(e.to_string()))?;
        wanted.next_root = Some(next_root(&draw_next_root(home, &[&node.recipient(), &recovery])?));
    }
    wanted.number = known::following(home, before.number);
    // A card of a clock that stood wrong is followed all the same: the number decides.
    wanted.issued = now.max(before.issued);
    write_card(home, &wanted, &SigningKey::from_pkcs8(root.expose())?, Existing::Replace)?;
    tracing::info!(number = wanted.number, "a newer card was made: partners get it when they are connected");
    Ok((own_card(home)?, None))
}

impl Keys {
    /// Renews the node's certificate if little of it is left, or whatever is left where it is `asked` for. Says whether it
    /// did; connections made from then on show the new one.
    pub fn renew(&self, home: &Home, now: UnixMillis, asked: bool) -> Result<bool, IdentityError> {
        let turned = overlap::turn(self, home, now, false)?;
        let before: Vec<Vec<u8>> = self.chain().into_iter().take(1).collect();
        // Another issuing key was put in place, and the node's certificate under it was not made before a crash.
        let apart = matches!(chain::claimed(&self.chain(), now), Err(chain::ChainFault::Order { .. }));
        if !asked && !apart && left_ms(&before, now) >= RENEW_MS {
            return Ok(turned);
        }
        if self.issuing.is_none() && !asked {
            return Ok(turned);
        }
        let issuing = read(file(home, "issuing.der"))?;
        let leaf = self.certify(home, &issue::public_key(&pkcs8(&self.tls))?, now)?;
        write(file(home, "tls.der"), &leaf, Existing::Replace)?;
        if let (false, Err(fault)) = (asked, chain::claimed(&before, now)) {
            let file = file(home, "tls.der");
            tracing::warn!(file = %file.display(), %fault, "the node's certificate did not count, and was made anew");
        }
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = vec![leaf, issuing];
        Ok(true)
    }

    /// Lets what waits for the end of an overlap take its place now: partners with an older card are cut off until they
    /// have the newest.
    pub(crate) fn turn_now(&self, home: &Home, now: UnixMillis) -> Result<bool, IdentityError> {
        overlap::turn(self, home, now, true)
    }

    /// A certificate for a node key, by the issuing key in use.
    pub(crate) fn certify(&self, home: &Home, subject: &[u8], now: UnixMillis) -> Result<Vec<u8>, IdentityError> {
        let Some(key) = &*self.issuing else { return Err(IdentityError::NoIssuingKey(file(home, "issuing.age"))) };
        let issuing = CertificateDer::from(read(file(home, "issuing.der"))?);
        let names = issue::NodeNames { org: self.org, common: &self.card.payload().name, dns: &[] };
        Ok(issue::node(names, subject, &issuing, &pkcs8(key), &secret::random()?, now)?.to_vec())
    }

    /// What people should do about card and certificate, if there is anything.
    pub fn trouble(&self, now: UnixMillis) -> Vec<Trouble> {
        let left = left_ms(&self.chain(), now);
        let certificate = (left < WARN_MS).then(|| {
            let when =
                if left == 0 { "does not count now".to_owned() } else { format!("ends in {} days", left / DAY_MS) };
            let what = match &*self.issuing {
                None => "the issuing key `keys/issuing.age` is not here: bring it and run `entente identity renew`",
                Some(_) => "run `entente identity renew`; is this machine's clock right?",
            };
            format!("the node's certificate {when}, and no partner takes it after: {what}")
        });
        let shown = self.shown.map(|(number, made)| {
            format!(
                "a partner knows card {number} of ours, made on {made}, which is not here: if you made it, after the backup \
                 from which this home was put back, run `entente identity take-up`; if you did not, somebody else has your \
                 root key: call your partners"
            )
        });
        let lacking = self.lacking(now).into_iter().map(|purpose| {
            let name = purpose.name();
            format!(
                "the key for {name} that our card lists is not here, and partners take nothing under the one that is: run \
                 `entente key rotate {name}`"
            )
        });
        self.card_trouble.iter().cloned().chain(shown).chain(lacking).chain(certificate).collect()
    }

    /// Purposes of which the card lists another key in use than the one that is here.
    pub fn lacking(&self, now: UnixMillis) -> Vec<Purpose> {
        let public = |key: &Secret<Vec<u8>>| {
            let spki = issue::public_key(&pkcs8(key)).ok()?;
            Some(PublicKey::from_spki(&spki).ok()?.id())
        };
        let here = |purpose| match purpose {
            Purpose::Records => Some(self.records.public().id()),
            Purpose::Agreements => Some(self.agreements.public().id()),
            Purpose::Runs => Some(self.runs.public().id()),
            Purpose::Users => Some(self.user.public().id()),
            Purpose::Log => Some(self.log.public().id()),
            Purpose::Witness => Some(self.witness.public().id()),
            Purpose::Issuing => self.issuing.as_ref().and_then(public),
            // The one that waits is the one that is listed last.
            Purpose::Node => public(self.next.as_ref().unwrap_or(&self.tls)),
            Purpose::Root => None,
        };
        let purposes = PURPOSES.map(|(_, purpose)| purpose).into_iter().chain([Purpose::Issuing, Purpose::Node]);
        purposes
            .filter(|purpose| {
                let listed = self.card.current(*purpose, now).map(|entry| entry.key.id());
                matches!((here(*purpose), listed), (Some(here), Some(listed)) if here != listed)
            })
            .collect()
    }

    /// A partner showed a card of ours that is not here.
    pub(crate) fn show(&self, card: &Card) {
        self.shown.replace(Some((card.payload().number, card.payload().issued)));
    }

    /// None is shown any more that says something else than ours.
    pub(crate) fn show_none(&self) {
        self.shown.replace(None);
    }

    /// When the first certificate of the chain ends, if all of them count now.
    pub fn certificate_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        chain::claimed(&self.chain(), now).ok().map(|claimed| claimed.not_after)
    }
}

/// What is left of the certificate in a chain that ends first; none where one does not count now.
fn left_ms(chain: &[Vec<u8>], now: UnixMillis) -> u64 {
    chain::claimed(chain, now).map_or(0, |claimed| claimed.not_after.0.saturating_sub(now.0))
}
