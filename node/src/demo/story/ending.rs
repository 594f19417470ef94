//! What was shared is asked back, and an agreement ends with all that came under it.

use super::{Stage, list, number, text};
use crate::{
    call::{Call, Recalled, Selection},
    error::Fault,
    records::search::Query,
};
use entente_protocol::{agreement::Standing, recall::Act};
use serde_json::Value as Json;

impl Stage<'_> {
    /// A record turns out to be wrong. One person asks for it back, another confirms; every holder answers.
    pub(super) fn recall(&mut self) -> Result<(), Fault> {
        self.teller.chapter("13. A record is asked back: every holder answers, the one by another's hand too");
        let query = Query { kind: Some("item".to_owned()), own: Some(false), ..Query::default() };
        let held = self.search("panel", query)?;
        let passed = |record: &&Json| self.passed_on.as_deref().is_none_or(|id| text(record, "id") == id);
        let wanted = held.iter().filter(|record| text(record, "state") == "received").find(passed);
        let Some(record) = wanted.map(|record| text(record, "id").to_owned()) else {
            if !self.own_evidence {
                self.teller.check("recall", false, "no record to ask back");
            }
            return Ok(());
        };
        let propose = Call::RecallPropose {
            records: Recalled::Selected(Selection::Ids(vec![record.clone()])),
            act: Act::Erase,
            reason: "the owner's family is in danger".to_owned(),
            by: "A. Diallo".to_owned(),
        };
        let proposed = self.ask("car", &propose)?;
        let recall = text(&proposed, "id").parse().map_err(|e| Fault::setup("demo", e))?;
        let confirm = |by: &str| Call::RecallConfirm { recall, by: by.to_owned() };
        let alone = self.ask("car", &confirm("A. Diallo")).is_err();
        self.ask("car", &confirm("M. Osei"))?;
        let settled = |answer: &Json| number(answer, "open") == 0;
        let (came, status) = self.federation.until("car", &Call::RecallStatus(recall), settled)?;
        for holder in list(&status, "holders") {
            let answers = holder.get("answers").map(Json::to_string).unwrap_or_default();
            let by =
                holder.get("through").and_then(Json::as_str).map(|by| format!(", asked by {by}")).unwrap_or_default();
            self.teller.say(&format!("  {:6} answered {answers}{by}", text(holder, "handle")));
        }
        let mut gone = true;
        for holder in ["panel", "maker"].iter().take(1 + usize::from(self.passed_on.is_some())) {
            let shown = self.ask(holder, &Call::RecordShow(record.clone()))?;
            gone = gone && text(&shown, "state") == "erased";
        }
        let holders = list(&status, "holders").len();
        self.teller.check(
            "recall",
            alone && came && gone && holders > 0 && holders == list(&proposed, "holders").len(),
            format!("confirmed by a second person; all {holders} holders have erased it, each with a signed answer"),
        );
        Ok(())
    }

    /// An agreement ends. What came under it is made unreadable, and its giver has the receipt.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.teller.chapter("14. An agreement ends: what came under it is gone, and the giver has a receipt");
        let all = self.ask("host", &Call::AgreementList)?;
        let Some(agreement) = all.as_array().and_then(|all| all.first()).map(|row| text(row, "agreement").to_owned())
        else {
            self.teller.check("end", false, "the host has no agreement to end");
            return Ok(());
        };
        let held = self.received("host")?.len();
        let standing = Call::AgreementStanding { agreement: agreement.clone(), standing: Standing::Ended };
        self.ask("host", &standing)?;
        let erase = Call::AgreementErase { agreement: agreement.clone(), by: "N. Bah".to_owned(), copies: Vec::new() };
        self.ask("host", &erase)?;
        let left = self.received("host")?.len();
        let receipts = |answer: &Json| !list(answer, "erased").is_empty();
        let (came, shown) = self.federation.until("car", &Call::AgreementShow(agreement), receipts)?;
        for receipt in list(&shown, "erased") {
            for copy in list(receipt, "copies").iter().filter_map(Json::as_str) {
                self.teller.say(&format!("  host: erased; what could still open it: {copy}"));
            }
        }
        self.teller.check(
            "end",
            came && left == 0 && (held > 0 || self.own_evidence),
            format!("{held} records held before, {left} after; car has the signed receipt"),
        );
        Ok(())
    }
}
