//! The story of the demo, chapter by chapter. Each chapter ends in checks of what it claims.

mod ending;
mod onward;
mod preview;

use super::{Teller, children::Children, evidence, federation::Federation};
use crate::{
    call::{Call, Selection},
    error::Fault,
    ingest::import::ImportOptions,
    records::{gate::Review, search::Query},
};
use serde_json::{Value as Json, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Handle and name of each organisation.
const MEMBERS: [(&str, &str); 4] = [
    ("car", "Field Evidence Institute (example)"),
    ("panel", "Panel of Experts on Arms Flows (example)"),
    ("maker", "Licensing Authority of a Member State (example)"),
    ("host", "National Commission on Small Arms (example)"),
];
/// Who is introduced to whom. The panel and the maker never are.
const PAIRS: [(&str, &str); 3] = [("car", "panel"), ("car", "maker"), ("car", "host")];
/// Items of the field mission that stay drafts, so that there is something to withhold: at most so many,
const HELD_BACK_MAX: usize = 5;
/// and of a small table at most one of so many.
const HELD_BACK_SHARE: usize = 4;

type Told = Result<(Federation, Vec<Json>), Fault>;

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn number(json: &Json, key: &str) -> u64 {
    json.get(key).and_then(Json::as_u64).unwrap_or_default()
}

fn list<'a>(json: &'a Json, key: &str) -> &'a [Json] {
    json.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn field<'a>(record: &'a Json, name: &str) -> &'a Json {
    record.get("fields").and_then(|f| f.get(name)).unwrap_or(&Json::Null)
}

struct Stage<'a> {
    teller: &'a mut Teller,
    federation: Federation,
    files: PathBuf,
    table: PathBuf,
    /// Of evidence that is not the sample's, nothing is known but that some of it can be imported.
    own_evidence: bool,
    held_back: usize,
    /// The record that went on.
    passed_on: Option<String>,
}

/// Tells the whole story; gives back the nodes, still running, and what each organisation holds.
pub fn tell(teller: &mut Teller, folder: &Path, own: Option<&Path>, children: &Children) -> Told {
    teller.say("entente: four organisations, each with its own node, keys and store, on this machine.");
    teller.chapter("1. Four nodes come up");
    let files = folder.join("sample");
    evidence::lay_out(&files)
        .map_err(|e| Fault::setup("demo", format!("the sample evidence cannot be written: {e}")))?;
    let federation = Federation::start(folder, &MEMBERS, children.clone())?;
    for (handle, name) in MEMBERS {
        teller.say(&format!("  {handle:6} {name}"));
    }
    let table = own.map_or_else(|| files.join("evidence/field-mission-2026.csv"), Path::to_path_buf);
    let mut stage =
        Stage { teller, federation, files, table, own_evidence: own.is_some(), held_back: 0, passed_on: None };
    stage.pair()?;
    stage.agree()?;
    stage.import()?;
    stage.gate()?;
    stage.deliver()?;
    stage.withheld()?;
    stage.preview()?;
    stage.prove()?;
    stage.photograph()?;
    stage.amend()?;
    stage.strangers()?;
    stage.onward()?;
    stage.recall()?;
    stage.end()?;
    let organisations = stage.holdings()?;
    Ok((stage.federation, organisations))
}

impl Stage<'_> {
    fn ask(&self, handle: &str, call: &Call) -> Result<Json, Fault> {
        self.federation.ask(handle, call)
    }

    fn search(&self, handle: &str, query: Query) -> Result<Vec<Json>, Fault> {
        let query = Query { limit: Some(100_000), ..query };
        Ok(list(&self.ask(handle, &Call::Search(query))?, "records").to_vec())
    }

    fn received(&self, handle: &str) -> Result<Vec<Json>, Fault> {
        self.search(handle, Query { own: Some(false), ..Query::default() })
    }

    fn leave(&self, from: &str, to: &str) -> Result<u64, Fault> {
        Ok(number(&self.ask(from, &Call::ExplainAll { partner: to.to_owned() })?, "leave"))
    }

    fn pair(&mut self) -> Result<(), Fault> {
        self.teller.chapter("2. Partners are introduced: cards are exchanged, twelve words are compared by voice");
        let mut compared = 0;
        for (a, b) in PAIRS {
            for (here, there) in [(a, b), (b, a)] {
                let card = self.ask(there, &Call::Card)?;
                let path = self.files.join(format!("{there}.card"));
                fs::write(&path, text(&card, "card")).map_err(|e| Fault::setup("demo", e))?;
                // What the one reads out is what the other sees: only then is the partner trusted.
                let read = self.ask(here, &Call::PartnerRead(path.clone()))?;
                compared += u32::from(text(&read, "words") == text(&card, "words"));
                let words = text(&card, "words").to_owned();
                self.ask(here, &Call::PartnerAdd { path, words })?;
            }
        }
        let path = self.files.join("panel.card");
        let wrong = self.ask("host", &Call::PartnerAdd { path, words: "abandon ".repeat(12) });
        self.teller.check("pairing", compared == 6, "six cards, and both sides saw the same twelve words each time");
        self.teller.check("wrong-words", wrong.is_err(), "a card whose words differ is refused");
        Ok(())
    }

    fn agree(&mut self) -> Result<(), Fault> {
        self.teller.chapter("3. Three agreements are drafted, checked, and signed by both sides over the wire");
        let mut in_force = 0;
        for other in ["panel", "maker", "host"] {
            in_force += u32::from(self.sign("car", other)?);
        }
        self.teller.check(
            "agreements",
            in_force == 3,
            "three different agreements, each signed by both parties, are in force",
        );
        Ok(())
    }

    /// One organisation drafts and signs, the other reads and signs. Whether it is in force on both sides.
    fn sign(&mut self, one: &str, other: &str) -> Result<bool, Fault> {
        let path = self.files.join(format!("agreements/{one}-{other}.toml"));
        let output = self.files.join(format!("{one}-{other}.agreement"));
        let signed = self.ask(one, &Call::AgreementSign { path, output })?;
        let id = text(&signed, "id").to_owned();
        let here = |answer: &Json| answer.as_array().is_some_and(|a| a.iter().any(|v| text(v, "id") == id));
        let (came, _) = self.federation.until(other, &Call::AgreementList, here)?;
        if came {
            // What the other side signs is the version that it has read, named by its digest.
            let read = self.ask(other, &Call::AgreementShow(id.clone()))?;
            let digest = text(&read, "digest").to_owned();
            self.ask(other, &Call::AgreementAccept { agreement: id.clone(), digest })?;
        }
        let force = |answer: &Json| {
            let listed = answer.as_array().map_or(&[][..], Vec::as_slice);
            listed.iter().any(|v| text(v, "id") == id && text(v, "state") == "in-force")
        };
        let both = self.federation.until(one, &Call::AgreementList, force)?.0
            && self.federation.until(other, &Call::AgreementList, force)?.0;
        self.teller.say(&format!("  {:<45} {}", text(&signed, "title"), if both { "in force" } else { "missing" }));
        Ok(both)
    }

    fn import(&mut self) -> Result<(), Fault> {
        self.teller.chapter("4. Evidence is imported: everything arrives as a draft, and drafts never leave");
        let field = ImportOptions {
            path: self.table.clone(),
            map: None,
            attachments: Some(self.files.join("evidence/photos")),
            dry_run: false,
        };
        let report = self.ask("car", &Call::Import(field.clone()))?;
        self.teller.say(&format!(
            "  car: {} rows, {} records with {} files, {} bad rows left out:",
            number(&report, "rows"),
            number(&report, "added"),
            number(&report, "files"),
            number(&report, "bad_rows")
        ));
        for bad in list(&report, "bad").iter().take(8) {
            let column = bad.get("column").and_then(Json::as_str).unwrap_or("row");
            self.teller.say(&format!("       line {}, {column}: {}", number(bad, "row"), text(bad, "why")));
        }
        let again = self.ask("car", &Call::Import(field))?;
        let idle = number(&again, "added") == 0 && number(&again, "amended") == 0;
        self.teller.check("import-again", idle, "the same file again adds nothing");
        for (handle, table, map) in
            [("panel", "embargo-panel.csv", None), ("maker", "manufacture-records.csv", Some("maps/manufacture.toml"))]
        {
            let options = ImportOptions {
                path: self.files.join("evidence").join(table),
                map: map.map(|m| self.files.join(m)),
                attachments: None,
                dry_run: false,
            };
            let report = self.ask(handle, &Call::Import(options))?;
            self.teller.say(&format!("  {handle}: {} records", number(&report, "added")));
        }
        let kept = number(&report, "rows").saturating_sub(number(&report, "bad_rows"));
        if self.own_evidence {
            self.teller.check("import", kept > 0, format!("{kept} rows are kept, and each one left out is named"));
        } else {
            self.teller.check(
                "import",
                kept == 236 && number(&report, "bad_rows") == 6,
                "236 rows are kept and 6 bad ones named by line and column",
            );
        }
        Ok(())
    }

    fn gate(&mut self) -> Result<(), Fault> {
        self.teller.chapter("5. The release gate: reviewed by a person, then released by a person");
        let early: usize = self.received("panel")?.len() + self.received("maker")?.len() + self.received("host")?.len();
        self.teller.check("drafts-stay", early == 0, "before any release, no partner has received anything");
        for handle in ["car", "panel", "maker"] {
            let drafts =
                self.search(handle, Query { state: Some("draft".to_owned()), own: Some(true), ..Query::default() })?;
            let items: Vec<&Json> = drafts.iter().filter(|r| text(r, "kind") == "item").collect();
            let held: Vec<&str> = match handle {
                "car" => {
                    self.held_back = HELD_BACK_MAX.min(items.len() / HELD_BACK_SHARE);
                    items.iter().rev().take(self.held_back).map(|r| text(r, "id")).collect()
                }
                _ => Vec::new(),
            };
            let ids: Vec<String> =
                drafts.iter().map(|r| text(r, "id")).filter(|id| !held.contains(id)).map(str::to_owned).collect();
            let reviewed = Call::Review { records: Selection::Ids(ids), state: Review::Reviewed };
            let reviewed = self.ask(handle, &reviewed)?;
            let released = self.ask(handle, &Call::Release(Selection::AllReviewed))?;
            self.teller.say(&format!(
                "  {handle}: {} records reviewed, {} released, {} stay drafts",
                number(&reviewed, "changed"),
                number(&released, "changed"),
                held.len()
            ));
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), Fault> {
        self.teller.chapter("6. Releases flow: each partner gets what its agreement permits, and nothing else");
        for (from, to) in [("car", "panel"), ("car", "maker"), ("car", "host"), ("panel", "car"), ("maker", "car")] {
            let expected = self.leave(from, to)?;
            let handle = from.to_owned();
            let count = move |answer: &Json| {
                let records = list(answer, "records");
                records.iter().filter(|r| text(r, "originator") == handle).count() as u64
            };
            let query = Query { own: Some(false), limit: Some(100_000), ..Query::default() };
            let (_, answer) = self.federation.until(to, &Call::Search(query), |a| count(a) == expected)?;
            let got = count(&answer);
            let name = match (from, to) {
                ("car", "panel") => "delivered-to-panel",
                ("car", "maker") => "delivered-to-maker",
                ("car", "host") => "delivered-to-host",
                ("panel", _) => "delivered-from-panel",
                _ => "delivered-from-maker",
            };
            self.teller.check(
                name,
                got == expected && (got > 0 || self.own_evidence && from == "car"),
                format!("{from} -> {to}: {got} of {expected} permitted records arrived"),
            );
        }
        let made: Vec<Json> = self.received("maker")?;
        let some = |records: &[Json]| self.own_evidence || !records.is_empty();
        let domestic = some(&made) && made.iter().all(|r| field(r, "make-country") == "HR");
        self.teller.check("condition", domestic, "the maker's state received only weapons that were made there");
        let events: Vec<Json> =
            self.search("panel", Query { kind: Some("event".to_owned()), own: Some(false), ..Query::default() })?;
        let coarse = some(&events)
            && events.iter().all(|r| {
                field(r, "place-point").is_null()
                    && field(r, "documented-by").is_null()
                    && field(r, "recovered").is_null()
            })
            && (self.own_evidence || events.iter().any(|r| !field(r, "place-cell").is_null()));
        self.teller.check(
            "coarse",
            coarse,
            "the panel sees places to a tenth of a degree and dates to the month, and nobody's name",
        );
        Ok(())
    }

    fn withheld(&mut self) -> Result<(), Fault> {
        self.teller.chapter("7. What was withheld, and why");
        let (mut drafts, held_back) = (0, self.held_back as u64);
        for to in ["panel", "maker", "host"] {
            let summary = self.ask("car", &Call::ExplainAll { partner: to.to_owned() })?;
            self.teller.say(&format!(
                "  car -> {to}: {} of {} records leave",
                number(&summary, "leave"),
                number(&summary, "records")
            ));
            for row in list(&summary, "withheld") {
                self.teller.say(&format!("       {:>4} records stay: {}", number(row, "records"), text(row, "why")));
                drafts += u64::from(text(row, "code") == "gate-draft" && number(row, "records") >= held_back);
            }
            let mut fields: Vec<(&str, u64)> =
                list(&summary, "fields").iter().map(|f| (text(f, "field"), number(f, "records"))).collect();
            fields.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
            let shown: Vec<String> = fields.iter().take(6).map(|(f, n)| format!("{f} ({n})")).collect();
            self.teller.say(&format!("       fields that stay, in records that leave: {}", shown.join(", ")));
        }
        self.teller.check(
            "explained",
            drafts >= 1 || held_back == 0,
            "every withholding has a reason, the drafts among them",
        );
        Ok(())
    }

    fn prove(&mut self) -> Result<(), Fault> {
        self.teller.chapter("8. One record, from the field to a recipient, and its proof");
        let items =
            self.search("panel", Query { kind: Some("item".to_owned()), own: Some(false), ..Query::default() })?;
        let Some(item) = items.iter().find(|r| !field(r, "serial").is_null()) else {
            if !self.own_evidence {
                self.teller.check("proof", false, "no record to follow");
            }
            return Ok(());
        };
        let id = text(item, "id").to_owned();
        let here = self.ask("car", &Call::RecordShow(id.clone()))?;
        let own = here.get("fields").and_then(Json::as_object).map_or(0, serde_json::Map::len);
        let there = item.get("fields").and_then(Json::as_object).map_or(0, serde_json::Map::len);
        self.teller.say(&format!(
            "  {} ({}): {own} fields at car, {there} of them at the panel",
            text(item, "number"),
            &id.get(..12).unwrap_or(&id)
        ));
        let proof = self.ask("panel", &Call::RecordVerify(id))?;
        for check in list(&proof, "checks") {
            self.teller.say(&format!("       {}: {}", text(check, "check"), text(check, "says")));
        }
        let ok = proof.get("ok") == Some(&Json::Bool(true)) && there < own;
        self.teller.check("proof", ok, "the panel proves what it was shown: who recorded it, that nothing was changed");
        Ok(())
    }

    fn photograph(&mut self) -> Result<(), Fault> {
        self.teller.chapter("9. One photograph, received as a stripped copy");
        if self.own_evidence {
            self.teller.say("  (with the user's own table, the sample's photographs belong to no row)");
        }
        let query = Query { kind: Some("attachment".to_owned()), own: Some(false), ..Query::default() };
        let files = self.search("panel", query)?;
        let stripped = files.iter().find(|r| field(r, "role") == "stripped" && field(r, "media") == "image/jpeg");
        let Some(record) = stripped else {
            if !self.own_evidence {
                self.teller.check("photograph", false, "no photograph arrived");
            }
            return Ok(());
        };
        let original = files.iter().any(|r| field(r, "role") == "original");
        let output = self.files.join("photograph-at-the-panel.jpg");
        let call = Call::RecordAttachment { record: text(record, "id").to_owned(), output: output.clone() };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let written = loop {
            match self.ask("panel", &call) {
                Err(fault) if fault.code == "not-fetched" && std::time::Instant::now() < deadline => {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                other => break other?,
            }
        };
        let bytes = fs::read(&output).map_err(|e| Fault::setup("demo", e))?;
        let contains = |needle: &str| bytes.windows(needle.len()).any(|w| w == needle.as_bytes());
        let clean = !["Exif", "GPS", "http://ns.adobe.com", "Photoshop"].iter().any(|word| contains(word));
        self.teller.say(&format!(
            "  {}: {} bytes, written to {}",
            text(record, "number"),
            bytes.len(),
            output.display()
        ));
        let ok = clean && !original && written.get("verified") == Some(&Json::Bool(true));
        self.teller.check(
            "photograph",
            ok,
            "verified chunk by chunk; no place, author or camera in its bytes, and no original left car",
        );
        Ok(())
    }

    fn amend(&mut self) -> Result<(), Fault> {
        if self.own_evidence {
            return Ok(());
        }
        self.teller.chapter("10. A corrected table: exactly the corrected rows are amended, and amendments follow");
        let options = ImportOptions {
            path: self.files.join("evidence/field-mission-2026-corrected.csv"),
            map: None,
            attachments: Some(self.files.join("evidence/photos")),
            dry_run: false,
        };
        let report = self.ask("car", &Call::Import(options))?;
        let amended = number(&report, "amended");
        self.teller.check(
            "amendments",
            amended == 3 && number(&report, "added") == 0,
            format!("{amended} amendments, nothing else"),
        );
        let drafts =
            self.search("car", Query { state: Some("draft".to_owned()), own: Some(true), ..Query::default() })?;
        let ids: Vec<String> =
            drafts.iter().filter(|r| !field(r, "supersedes").is_null()).map(|r| text(r, "id").to_owned()).collect();
        let before = self.search("panel", Query { own: Some(false), ..Query::default() })?;
        let early = before.iter().any(|r| ids.iter().any(|id| text(r, "id") == id));
        self.teller.check(
            "amendment-waits",
            !early && ids.len() == 3,
            "until they are released, the partners keep what they have",
        );
        self.ask("car", &Call::Review { records: Selection::Ids(ids.clone()), state: Review::Verified })?;
        self.ask("car", &Call::Release(Selection::Ids(ids.clone())))?;
        let query = Query { own: Some(false), limit: Some(100_000), ..Query::default() };
        let arrived = |answer: &Json| ids.iter().all(|id| list(answer, "records").iter().any(|r| text(r, "id") == id));
        let (came, answer) = self.federation.until("panel", &Call::Search(query), arrived)?;
        let replaced = list(&answer, "records")
            .iter()
            .filter(|r| r.get("superseded_by").and_then(Json::as_str).is_some_and(|by| ids.iter().any(|id| id == by)))
            .count();
        self.teller.check(
            "amendment-follows",
            came && replaced == 3,
            format!("{replaced} records at the panel now point to their amendments"),
        );
        Ok(())
    }

    fn strangers(&mut self) -> Result<(), Fault> {
        self.teller.chapter("11. Without an agreement, nothing");
        let explained =
            self.ask("maker", &Call::Explain { record: "MS-EXP-00001".to_owned(), partner: "panel".to_owned() });
        let unknown = explained.is_err_and(|fault| fault.code == "no-partner");
        let crossing = self.received("panel")?.iter().any(|r| text(r, "originator") != "car")
            || self.received("maker")?.iter().any(|r| text(r, "originator") != "car");
        self.teller.check(
            "no-agreement",
            unknown && !crossing,
            "the panel and the maker's state never met: nothing went between them",
        );
        // Introduced by their people, connected, and asked to share what there is.
        for (here, there) in [("panel", "maker"), ("maker", "panel")] {
            let card = self.ask(there, &Call::Card)?;
            let path = self.files.join(format!("{there}.card"));
            fs::write(&path, text(&card, "card")).map_err(|e| Fault::setup("demo", e))?;
            self.ask(here, &Call::PartnerAdd { path, words: text(&card, "words").to_owned() })?;
        }
        let round = self.ask("panel", &Call::Sync { partner: Some("maker".to_owned()) })?;
        let met = round.as_array().and_then(|rounds| rounds.first()).is_some_and(|round| {
            text(round, "handle") == "maker" && number(round, "sent") + number(round, "received") == 0
        });
        let refused =
            self.ask("panel", &Call::Explain { record: "EP-2026-0001".to_owned(), partner: "maker".to_owned() })?;
        let reason = list(&refused, "agreements").first().map(|a| text(a, "code").to_owned()).unwrap_or_default();
        let leaves = refused.get("leaves") == Some(&Json::Bool(true));
        self.teller.check(
            "introduced-only",
            met && !leaves && reason == "no-agreement",
            "introduced, connected and asked to share, but without an agreement: nothing goes, and the reason is given",
        );
        Ok(())
    }

    fn holdings(&mut self) -> Result<Vec<Json>, Fault> {
        self.teller.chapter("15. Who holds what");
        let mut organisations = Vec::new();
        for (handle, _) in MEMBERS {
            let status = self.ask(handle, &Call::Status)?;
            let (own, received) = (number(&status, "records_own"), number(&status, "records_received"));
            let mut withheld = 0;
            for partner in list(&status, "partners") {
                let summary = self.ask(handle, &Call::ExplainAll { partner: text(partner, "handle").to_owned() })?;
                withheld = withheld.max(number(&summary, "records") - number(&summary, "leave"));
            }
            self.teller.say(&format!("  {handle:6} {own:5} records of its own, {received:5} received, {withheld:5} withheld from at least one partner"));
            organisations.push(json!({
                "id": text(&status, "id"),
                "handle": handle,
                "records_own": own,
                "records_received": received,
                "withheld": withheld,
            }));
        }
        Ok(organisations)
    }
}
