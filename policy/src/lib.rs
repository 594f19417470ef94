//! What may leave, to whom, and with which fields: agreements for people, compiled to Cedar.
//!
//! This crate decides and does nothing else. It never sees a clock, a file, a socket or a random
//! source: `now` is an argument. Default deny: an unknown term, a missing attribute or an evaluation
//! error withholds, and every withholding has a [`Reason`]. `AGREEMENTS.md` is the language's text.
//!
//! Reading order: [`source`] (text to agreement), [`check`] (what an agreement must keep), `condition`
//! and `compile` (to Cedar), [`PolicySet`] (what is in force), [`Question`], `decide`.

pub mod analysis;
mod attribute;
pub mod check;
pub mod claim;
mod compile;
mod condition;
mod decide;
#[cfg(test)]
mod differential;
mod disclose;
mod frame;
#[cfg(test)]
mod generate;
mod handling;
mod likely;
mod memo;
pub mod never;
mod onward;
mod preview;
mod question;
mod reason;
mod redline;
#[cfg(test)]
mod reference;

mod render;
pub mod roles;
mod set;
pub mod source;
#[cfg(test)]
mod stories;
mod text;
pub mod trial;

pub use attribute::{SCHEMA, schema_text};
pub use compile::Action;
pub use condition::ConditionFault;
pub use decide::{Explanation, FieldWithheld};
pub use preview::Preview;
pub use question::{Gate, Ground, Interval, NOW_WIDTH_MS_MAX, Question, ReviewState};
pub use reason::{Reason, Withheld};
pub use redline::RedLine;
pub use render::render;
pub use set::{AsideFault, CompileError, Governed, PartnerState, PolicySet};
pub use text::SourceError;
