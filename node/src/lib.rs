//! The node: everything that touches the world.
//!
//! Code map, in reading order: [`config`] (a home and its settings), [`init`] (making one), [`node`]
//! (an open node), [`call`] (what commands ask of it), [`ingest`] (files in), [`records`] (kept, gated,
//! found, shown), [`users`] (who may do it), [`partners`] and [`agreements`], [`redlines`], [`share`] (the only way out), [`receive`] and
//! [`room`] (how much is taken), [`recall`] (what is asked back, and what is not kept longer), [`onward`] (what goes on to
//! others by its originator's grant), [`exchange`] (what one session says), [`bundle`] (the same without a network),
//! [`package`] (evidence for whoever has no node), [`audit`] (releases for who may see no evidence), [`peer`] (TLS and QUIC), [`run`] (serving), [`recover`] (a lost secret),
//! [`backup`] and [`restore`] (a lost disk), [`doctor`] (what to look at), [`control`] (the socket), [`check`] (is it still
//! what was written), [`commands`] (the command line), [`demo`]. Below all of them: [`store`] (ledger and vault), [`seal`],
//! [`secret`]; [`regular`] opens what people name.
//!
//! What is absent: tokio outside `peer`, `control` and `run`; plaintext below `seal`; a way out beside `share`.

pub mod agreements;
pub mod audit;
pub mod backup;
pub mod bundle;
pub mod call;
pub mod check;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
#[cfg(test)]
mod core_tests;
pub mod country;
pub mod custody;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod exchange;
pub mod identity;
pub mod ingest;
pub mod init;
pub mod journal;
pub mod keys;
pub mod latest;
pub mod node;
pub mod onward;
pub mod package;
pub mod partners;
pub mod peer;
pub mod recall;
pub mod receive;
pub mod records;
pub mod recover;
pub mod redlines;
pub mod regular;
pub mod restore;
pub mod room;
pub mod run;
pub mod seal;
pub mod secret;
pub mod share;
pub mod status;
pub mod store;
pub mod unfinished;
pub mod users;

#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod testkit;
