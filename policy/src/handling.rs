//! The handling floor as built-in red lines: what no clause can permit.
//!
//! The decider calls it before any clause is looked at. The stricter reading wins throughout: an
//! unclear date of destruction counts from its first possible day, an unknown class is refused.

use crate::{question::Interval, reason::Reason};
use entente_protocol::{
    record::{HandlingFloor, Tlp, ladder::Edtf},
    time::UnixMillis,
};
use std::collections::BTreeSet;

/// Marks that need no accredited system: UN classes (ST/SGB/2007/6), distribution marks of the EU that
/// are no classes, OCHA's data sensitivity. Every other class, EUCI from R-UE up among them, is
/// refused unless the organisation lists it as accredited.
const OPEN_CLASSES: &[&str] = &[
    "UNCLASSIFIED",
    "UN UNCLASSIFIED",
    "UN CONFIDENTIAL",
    "UN STRICTLY CONFIDENTIAL",
    "LIMITE",
    "EU LIMITE",
    "SENSITIVE",
    "EU SENSITIVE",
    "OCHA LOW",
    "OCHA MODERATE",
    "OCHA HIGH",
    "OCHA SEVERE",
];

/// A class in one spelling: capitals, words apart by one space.
pub(crate) fn class_spelling(class: &str) -> String {
    let upper = class.to_uppercase();
    upper.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// When holders destroy a record: the first day that its date may mean.
pub(crate) fn destroyed_from(floor: &HandlingFloor) -> Option<UnixMillis> {
    let first = Edtf::parse(floor.destroy_on.as_deref()?).map_or(0, |date| date.span().0);
    let day = format!("{:04}-{:02}-{:02}", first / 10_000, first / 100 % 100, first % 100);
    Some(UnixMillis::from_date(&day).unwrap_or_default())
}

/// Whether a record is TLP:RED, which goes only to a party that a clause carrying TLP:RED names.
pub(crate) fn is_red(floor: &HandlingFloor) -> bool {
    floor.tlp == Some(Tlp::Red)
}

/// What binds whoever holds the record: destruction and classification.
pub(crate) fn binds_holders(floor: &HandlingFloor, now: Interval, accredited: &BTreeSet<String>) -> Result<(), Reason> {
    if destroyed_from(floor).is_some_and(|day| now.late >= day) {
        return Err(Reason::Destroyed);
    }
    let Some(class) = floor.class.as_deref().map(class_spelling) else { return Ok(()) };
    if OPEN_CLASSES.contains(&class.as_str()) || accredited.contains(&class) {
        return Ok(());
    }
    Err(Reason::ClassNotAccredited)
}

/// What binds a release on top.
pub(crate) fn binds_release(floor: &HandlingFloor, now: Interval, accredited: &BTreeSet<String>) -> Result<(), Reason> {
    if floor.not_before.is_some_and(|time| now.early < time) {
        return Err(Reason::NotBefore);
    }
    binds_holders(floor, now, accredited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str, accredited: &[&str]) -> Result<(), Reason> {
        let now = Interval { early: UnixMillis(1), late: UnixMillis(2), confirmed: true };
        let floor = HandlingFloor { class: Some(text.to_owned()), ..HandlingFloor::default() };
        binds_holders(&floor, now, &accredited.iter().map(|c| class_spelling(c)).collect())
    }

    #[test]
    fn a_class_in_any_spelling_gives_one_decision() {
        for text in [
            "R-UE/EU-R",
            "r-ue/eu-r",
            "R UE EU R",
            "EU:RESTRICTED",
            "RESTREINT UE",
            "C-UE/EU-C",
            "S-UE",
            "TS-UE/EU-TS",
            "SECRET",
            "Ｒ-UE",
        ] {
            assert_eq!(class(text, &[]), Err(Reason::ClassNotAccredited), "{text}");
        }
        assert_eq!(class("r-ue / eu-r", &["R-UE/EU-R"]), Ok(()));
        for text in ["UN:STRICTLY CONFIDENTIAL", "un strictly-confidential", "UN: Confidential", "LIMITE"] {
            assert_eq!(class(text, &[]), Ok(()), "{text}");
        }
    }

    #[test]
    fn destruction_counts_from_the_first_possible_day() {
        let from = |text: &str| {
            destroyed_from(&HandlingFloor { destroy_on: Some(text.to_owned()), ..HandlingFloor::default() })
                .map(UnixMillis::date)
        };
        assert_eq!(from("2030-02").as_deref(), Some("2030-02-01"));
        assert_eq!(from("2030").as_deref(), Some("2030-01-01"));
        assert_eq!(from("203X").as_deref(), Some("2030-01-01"));
        assert_eq!(from("2030-05-06/2031").as_deref(), Some("2030-05-06"));
        assert_eq!(destroyed_from(&HandlingFloor::default()), None);
    }
}
