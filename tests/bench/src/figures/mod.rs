//! The figures, one file for each or for a group that shares what it measures.

pub mod attachment;
pub mod commit;
pub mod deciding;
pub mod first_sync;
pub mod import;
pub mod load;
pub mod log;
pub mod package;
pub mod preview;
pub mod steps;
pub mod store;
pub mod suspend;

use crate::{bench::Bench, measure::Figure};
use anyhow::Result;

/// Figures that are measured together.
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// The figures that it prints.
    pub figures: &'static [&'static str],
    /// What it is about, in a line.
    pub about: &'static str,
    /// Measures them, in the order of their names.
    pub measure: fn(&Bench) -> Result<Vec<Figure>>,
}

/// Every group, in the order in which they are run.
pub const GROUPS: &[Group] = &[
    import::GROUP,
    first_sync::GROUP,
    commit::GROUP,
    attachment::LARGE,
    attachment::SMALL,
    suspend::GROUP,
    load::STREAMS,
    load::SLOW,
    store::GROUP,
    deciding::GROUP,
    preview::GROUP,
    package::GROUP,
    log::GROUP,
    steps::GROUP,
];
