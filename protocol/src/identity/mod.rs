//! Who an organisation is: its card, its words, its certificates.

pub mod chain;
