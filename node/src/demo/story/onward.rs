//! What one organisation recorded goes on from a second to a third, with the consent of the first.

use super::{Stage, field, list, text};
use crate::{
    call::Call,
    error::Fault,
    onward::{answering::Narrowed, asking::Wish},
    records::search::Query,
};
use serde_json::Value as Json;

impl Stage<'_> {
    /// The panel asks whether it may show a weapon to the maker's state. The people of whoever recorded it decide, field by
    /// field, and know from then on who holds it.
    pub(super) fn onward(&mut self) -> Result<(), Fault> {
        self.teller.chapter("12. What others recorded goes on with their consent, and they know who holds it");
        if !self.sign("panel", "maker")? {
            self.teller.check("onward", false, "the panel and the maker's state have no agreement");
            return Ok(());
        }
        let items = Query { kind: Some("item".to_owned()), own: Some(false), ..Query::default() };
        let there = self.search("maker", items.clone())?;
        let not_there = |record: &&Json| there.iter().all(|known| text(known, "id") != text(record, "id"));
        let fits = |record: &&Json| text(record, "state") == "received" && !field(record, "serial").is_null();
        let held = self.search("panel", items)?;
        let Some(record) = held.iter().filter(fits).find(not_there).map(|record| text(record, "id").to_owned()) else {
            if !self.own_evidence {
                self.teller.check("onward", false, "no record to pass on");
            }
            return Ok(());
        };
        let before = self.ask("panel", &Call::ExplainAll { partner: "maker".to_owned() }).is_ok();
        let wish = Wish {
            to: "maker".to_owned(),
            every: None,
            fields: Vec::new(),
            purposes: Vec::new(),
            days: 90,
            until: None,
            reason: "was it made in your country?".to_owned(),
            by: "P. Ndiaye".to_owned(),
        };
        self.ask("panel", &Call::OnwardAsk { records: vec![record.clone()], wish })?;
        let asked = |answer: &Json| answer.as_array().is_some_and(|all| !all.is_empty());
        let (came, requests) = self.federation.until("car", &Call::OnwardList, asked)?;
        let first = requests.as_array().and_then(|all| all.first()).cloned().unwrap_or_default();
        self.teller.say(&format!(
            "  the {} asks to show a record to the {}: {}",
            text(&first, "partner"),
            text(&first, "to"),
            text(&first, "reason")
        ));
        let early = self.ask("maker", &Call::RecordShow(record.clone())).is_ok();
        let fields = ["number", "type", "model", "serial"].map(str::to_owned).to_vec();
        let narrowed = Some(Narrowed { fields: fields.clone(), days: Some(30), until: None });
        let request = text(&first, "id").parse().unwrap_or_default();
        self.ask("car", &Call::OnwardAnswer { request, narrowed, by: "M. Osei".to_owned() })?;
        let arrived = |answer: &Json| list(answer, "records").iter().any(|known| text(known, "id") == record);
        let query = Query { own: Some(false), limit: Some(100_000), ..Query::default() };
        let (went, _) = self.federation.until("maker", &Call::Search(query), arrived)?;
        let shown = self.ask("maker", &Call::RecordShow(record.clone())).unwrap_or_default();
        let few = shown
            .get("fields")
            .and_then(Json::as_object)
            .is_some_and(|shown| !shown.is_empty() && shown.keys().all(|name| fields.contains(name)));
        let proved = self
            .ask("maker", &Call::RecordVerify(record.clone()))
            .is_ok_and(|proof| proof.get("ok") == Some(&Json::Bool(true)));
        let held = |answer: &Json| answer.as_array().is_some_and(|all| !all.is_empty());
        let (known, holders) = self.federation.until("car", &Call::OnwardHolders(None), held)?;
        for holder in holders.as_array().into_iter().flatten() {
            self.teller.say(&format!("  car knows: {} holds it, from {}", text(holder, "holder"), text(holder, "by")));
        }
        let ok = before && came && !early && went && few && proved && known;
        self.teller.check(
            "onward",
            ok,
            "nothing before car said so; then four fields, proved against car's own attestation; car lists the holder",
        );
        self.passed_on = Some(record).filter(|_| ok);
        Ok(())
    }
}
