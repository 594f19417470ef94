//! A change of an agreement, looked at before anybody signs it.

use super::{Stage, list, number, text};
use crate::{agreements::Version, call::Call, error::Fault, share::preview::Shown};
use serde_json::Value as Json;
use std::fs;

/// What the panel asks for beside what its agreement names.
const ASKED: &str = "marks";

impl Stage<'_> {
    /// The panel asks for one field more. What that would expose is seen at once; nothing is signed, and nothing leaves.
    pub(super) fn preview(&mut self) -> Result<(), Fault> {
        let old = self.files.join("agreements/car-panel.toml");
        let new = self.files.join("car-panel-more.toml");
        let draft = fs::read_to_string(&old).map_err(|e| Fault::setup("demo", e))?;
        let more = draft.replacen("\"year\",", &format!("\"year\", \"{ASKED}\","), 1);
        fs::write(&new, more).map_err(|e| Fault::setup("demo", e))?;
        let shown = Shown { as_released: false, list: 0 };
        let party = |answer: &Json| list(answer, "parties").first().cloned().unwrap_or_default();
        let version = Version::File(old.clone());
        let seen = party(&self.ask("car", &Call::AgreementSimulate { version, shown })?);
        let call = Call::AgreementDiff { old: Version::File(old), new: Version::File(new), shown };
        let differs = party(&self.ask("car", &call)?);
        let changed = number(&differs, "changed");
        let gained: u64 = list(&differs, "fields").iter().map(|field| number(field, "gained")).sum();
        self.teller.say(&format!(
            "  The panel asks for `{ASKED}` too. Seen before anybody signs: {changed} records would show it, {} more would leave.",
            number(&differs, "exposed")
        ));
        let only = list(&differs, "fields").iter().all(|field| text(field, "field") == ASKED);
        let as_it_is = number(&seen, "leave") == self.leave("car", "panel")?;
        self.teller.check(
            "preview",
            as_it_is
                && only
                && gained == changed
                && number(&differs, "exposed") == 0
                && (changed > 0 || self.own_evidence),
            "what an agreement gives, and what a change of it would, is seen before it is signed",
        );
        Ok(())
    }
}
