//! What frames an agreement: its days, its version, how many clauses it has, and that each has a name and a way of its own.
//!
//! [`check`](crate::check) comes here first. The body's own format asks for the same, without a line and a remedy.

use crate::check::{Fault, fault};
use entente_protocol::{
    agreement::{Agreement, Clause},
    limits,
};

/// Days, version and number of clauses.
pub(crate) fn whole(agreement: &Agreement) -> Result<(), Fault> {
    if agreement.from >= agreement.until {
        return Err(fault("until", "it ends before it begins", "write a day that is not before `from`"));
    }
    match (agreement.version, agreement.predecessor.is_some()) {
        (0, _) => return Err(fault("version", "out of range", "count versions from 1")),
        (1, true) => {
            let fix = "leave `predecessor` out, or write the number of this version";
            return Err(fault("predecessor", "version 1 replaces no other", fix));
        }
        (later, false) if later > 1 => {
            let what = format!("version {later} replaces one, and none is named");
            let fix =
                "name the digest of the one before as `predecessor` (`entente agreement show`), or write `version = 1`";
            return Err(fault("version", what, fix));
        }
        _ => {}
    }
    let clauses = agreement.clauses.len();
    if clauses == 0 || clauses > limits::AGREEMENT_CLAUSES_MAX {
        let fix = format!("write 1 to {}; what is more goes into a second agreement", limits::AGREEMENT_CLAUSES_MAX);
        return Err(fault("clause", format!("{clauses} clauses"), fix));
    }
    Ok(())
}

/// The name and the way of one clause.
pub(crate) fn clause(agreement: &Agreement, place: usize, clause: &Clause) -> Result<(), Fault> {
    let before = agreement.clauses.iter().take(place).position(|other| other.name == clause.name);
    if let Some(before) = before {
        let what = format!("`{}` is the name of clause {} too", clause.name, before + 1);
        return Err(fault("name", what, "give each clause a name of its own"));
    }
    if clause.to.contains(&clause.from) {
        return Err(fault("to", "who gives is among those who receive", "name other parties than `from`"));
    }
    Ok(())
}
