//! From the first root key to the present one: each root signs its successor.
//!
//! The organisation's id is that of its first root for ever; a card under a later root brings the
//! signatures that lead there. A partner that knows the organisation asks more: see `card.rs`.

use super::card::CardFault;
use crate::{
    codec::{self, Bounds},
    cose::{self, Sign1, SignatureBytes},
    label, limits,
    primitive::{PublicKey, SigningKey},
};
use serde::{Deserialize, Serialize};

const STEP_BYTES_MAX: usize = 1 << 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    to: PublicKey,
    from: PublicKey,
}

/// One root's signature over its successor, to be added to the new card's `succession`.
pub fn succession_step(from: &SigningKey, to: &PublicKey) -> Result<SignatureBytes, CardFault> {
    let step = Step { to: to.clone(), from: from.public().clone() };
    let payload = codec::to_vec(&step, Bounds::bytes(STEP_BYTES_MAX)).map_err(|_| CardFault::Succession)?;
    Ok(SignatureBytes(cose::sign(label::SIGN_SUCCESSION, from, &payload)))
}

/// The first root, from which the steps lead to `root` without a gap; `root` itself if there are none.
pub(super) fn first_root(steps: &[SignatureBytes], root: &PublicKey) -> Result<PublicKey, CardFault> {
    if steps.len() > limits::CARD_ROOTS_MAX {
        return Err(CardFault::Succession);
    }
    let mut first = None;
    let mut reached: Option<PublicKey> = None;
    for bytes in steps {
        let signed = Sign1::parse(&bytes.0, STEP_BYTES_MAX)?;
        let payload = signed.danger_unverified_payload();
        let Step { to, from } =
            codec::from_slice(payload, Bounds::bytes(STEP_BYTES_MAX)).map_err(|_| CardFault::Succession)?;
        signed.verify(label::SIGN_SUCCESSION, &from)?;
        if reached.is_some_and(|reached| reached != from) {
            return Err(CardFault::Succession);
        }
        first.get_or_insert(from);
        reached = Some(to);
    }
    match (first, reached) {
        (Some(first), Some(reached)) if reached == *root => Ok(first),
        (None, _) => Ok(root.clone()),
        _ => Err(CardFault::Succession),
    }
}
