//! Who a partner is: the organisation card, the words that confirm it, and its keys by purpose.
//!
//! Called when partners pair and whenever a signature's key is looked up. Nothing here reads a
//! clock or trusts a card by itself: a card becomes a [`Card`] only with the digest that people
//! confirmed, or as the successor of one.

mod armour;
mod card;
pub mod chain;
mod payload;
#[cfg(test)]
pub(crate) mod samples;
mod succession;
mod words;

pub use armour::{Armour, ArmourFault};
pub use card::{Card, CardFault, UnconfirmedCard};
pub use payload::{Address, CARD_FORMAT, CardKey, CardPayload, Contact, PayloadFault, Purpose, next_root};
pub use succession::succession_step;
pub use words::{Words, WordsFault};
