//! The agreement as people write it, in TOML, to a checked agreement.
//!
//! `entente agreement check` and the dashboard call [`parse`]. Every error names line and key, says
//! what is wrong and what to do; an unknown key or term refuses. AGREEMENTS.md explains every key.

pub use crate::text::SourceError;
use crate::{
    check::{self, COUNT_MAX, CheckFault, Checked},
    text::{self, Entry, Faults, Table},
};
use entente_protocol::{
    agreement::{
        Agreement, Clause, Disclosure, Duty, Handling, LANGUAGE, LegalBasis, Obligation, Onward, Party, Personal,
        Prevails,
    },
    id::{AgreementId, OrgId},
    limits,
    record::{
        Shape, Tlp,
        kind::{Fact, Kind, Slot},
        schema_digest,
    },
    time::DAY_MS,
};

/// What the text may leave to the caller.
pub struct Drafting<'a> {
    /// The id of an agreement whose text names none: random, drawn by the caller.
    pub id: AgreementId,
    /// Finds a party that the text gives by its handle only, such as a partner of this node.
    pub party: &'a dyn Fn(&str) -> Option<OrgId>,
}

const AGREEMENT_KEYS: &[&str] = &[
    "language",
    "title",
    "id",
    "version",
    "predecessor",
    "schema",
    "basis",
    "purposes",
    "from",
    "until",
    "notice-days",
    "survival-days",
    "lease-hours",
    "obligations",
    "party",
    "clause",
];
const CLAUSE_KEYS: &[&str] = &[
    "name",
    "from",
    "to",
    "duty",
    "when",
    "red",
    "onward",
    "retention-days",
    "files",
    "carries",
    "handling",
    "disclose",
    "personal",
];

/// Reads and checks an agreement's text. A refusal names every fault that can be told from the text as it stands.
pub fn parse(source: &str, drafting: &Drafting<'_>) -> Result<Checked, SourceError> {
    let document = text::parse(source)?;
    let root = Table::root(source, &document);
    let agreement = agreement(&root, drafting)?;
    let (found, reveals) = check::every(&agreement);
    let mut faults = Faults::default();
    found.into_iter().for_each(|fault| faults.note(placed(&root, fault)));
    faults.or(Some(Checked { agreement, reveals }))
}

/// The line of a text in which a dotted key stands, or the nearest table that leads to it; none where it is no TOML.
pub fn line_of(source: &str, key: &str) -> Option<usize> {
    let document = text::parse(source).ok()?;
    Some(Table::root(source, &document).line_below(key))
}

/// A fault of the checked agreement, at its line of the text.
fn placed(root: &Table<'_>, fault: CheckFault) -> SourceError {
    let table = fault.clause.and_then(|place| root.tables("clause").ok()?.into_iter().nth(place));
    let table = table.as_ref().unwrap_or(root);
    let key = if table.path().is_empty() { fault.key.clone() } else { format!("{}.{}", table.path(), fault.key) };
    SourceError { line: table.line_below(&fault.key), key, what: fault.what, fix: fault.fix, more: Box::default() }
}

fn agreement(root: &Table<'_>, drafting: &Drafting<'_>) -> Result<Agreement, SourceError> {
    // A text of another language has other keys: nothing more is said of it.
    let language = root.need("language", &format!("write `language = {LANGUAGE}`"))?;
    language.number(LANGUAGE, LANGUAGE)?;
    let mut faults = Faults::default();
    faults.take(root.only(AGREEMENT_KEYS));
    let schema = faults.take(root.find("schema").map_or_else(|| Ok(schema_digest()), |entry| entry.parsed()));
    let basis =
        root.need("basis", "say what it rests on: `basis = { text = \"...\" }`").and_then(|entry| entry.table());
    let basis = faults.take(basis.and_then(|table| legal_basis(&table)));
    let parties = parties(root, drafting, &mut faults);
    let mut clauses = Vec::new();
    for table in faults.take(root.tables("clause")).unwrap_or_default() {
        clauses.extend(faults.take(clause(&table, &parties)));
    }
    let day = |key: &str, fix: &str| root.need(key, fix).and_then(|entry| entry.day());
    let (from, until) = (day("from", "write the first day in force"), day("until", "write the last day in force"));
    let title = root.need("title", "give it a title").and_then(|entry| Ok(entry.text()?.to_owned()));
    let notice = root.need("notice-days", "write the days of notice before a regular end, 0 for none");
    let version = root.find("version").map_or(Ok(1), |entry| entry.number(1, u64::from(u32::MAX)));
    let purposes = root.need("purposes", "list what records are used for").and_then(|entry| entry.texts());
    let terms = (
        faults.take(root.find("id").map_or(Ok(drafting.id), |entry| entry.parsed())),
        (faults.take(from), faults.take(until)),
        (faults.take(title), faults.take(purposes)),
        (
            faults.take(root.find("lease-hours").map(|entry| entry.count()).transpose()),
            faults.take(root.find("survival-days").map(|entry| entry.count()).transpose()),
            faults.take(root.find("obligations").map_or(Ok(Vec::new()), |entry| obligations(&entry))),
        ),
        faults.take(notice.and_then(|entry| days(&entry))),
        (faults.take(version), faults.take(root.find("predecessor").map(|entry| entry.parsed()).transpose())),
        (schema, basis),
    );
    let (
        Some(id),
        (Some(from), Some(until)),
        (Some(title), Some(purposes)),
        (Some(lease_hours), Some(survival_days), Some(obligations)),
        Some(notice_days),
        (Some(version), Some(predecessor)),
        (Some(schema), Some(basis)),
    ) = terms
    else {
        return faults.or(None);
    };
    faults.or(Some(Agreement {
        v: 1,
        id,
        from,
        lang: LANGUAGE,
        basis,
        lease_hours,
        title,
        // People read `until` as the last day in force; the body holds the moment after it.
        until: until.plus(DAY_MS),
        notice_days,
        schema,
        clauses,
        version,
        purposes,
        survival_days,
        obligations,
        predecessor,
        parties,
    }))
}

fn legal_basis(table: &Table<'_>) -> Result<LegalBasis, SourceError> {
    let mut faults = Faults::default();
    faults.take(table.only(&["text", "digest", "prevails"]));
    let text = table.need("text", "cite what it rests on").and_then(|entry| Ok(entry.text()?.to_owned()));
    let digest = faults.take(table.find("digest").map(|entry| entry.parsed()).transpose());
    let prevails = faults.take(table.find("prevails").map(|entry| prevails(&entry)).transpose());
    let basis = faults.take(text).zip(digest).zip(prevails);
    faults.or(basis.map(|((text, digest), prevails)| LegalBasis { text, digest, prevails }))
}

fn prevails(entry: &Entry<'_>) -> Result<Prevails, SourceError> {
    match entry.text()? {
        "basis" => Ok(Prevails::Basis),
        "agreement" => Ok(Prevails::Agreement),
        other => Err(entry.refuse(format!("`{other}` is neither text"), "write \"basis\" or \"agreement\"")),
    }
}

fn obligations(entry: &Entry<'_>) -> Result<Vec<Obligation>, SourceError> {
    let (mut faults, mut all) = (Faults::default(), Vec::new());
    for item in entry.list()? {
        let Some(name) = faults.take(item.text()) else { continue };
        match Obligation::from_name(name) {
            Some(obligation) if all.contains(&obligation) => {
                faults.note(item.refuse(format!("`{name}` stands twice"), "name each once"));
            }
            Some(obligation) => all.push(obligation),
            None => {
                let known = Obligation::ALL.map(Obligation::name).join(", ");
                faults.note(item.refuse(format!("`{name}` is no obligation"), format!("use some of {known}")));
            }
        }
    }
    all.sort_unstable();
    faults.or(Some(all))
}

fn handling(table: &Table<'_>) -> Result<Handling, SourceError> {
    let mut faults = Faults::default();
    faults.take(table.only(&["tlp", "codes"]));
    let tlp = table.find("tlp").map(|entry| {
        let text = entry.text()?;
        Tlp::from_name(text).ok_or_else(|| {
            let fix = "use one of RED, AMBER+STRICT, AMBER, GREEN, CLEAR";
            entry.refuse(format!("`{text}` is no label of TLP 2.0"), fix)
        })
    });
    let mut codes = Vec::new();
    for item in faults.take(table.find("codes").map_or(Ok(Vec::new()), |entry| entry.list())).unwrap_or_default() {
        let code = item.text().and_then(|text| match text {
            "H0" => Ok(0),
            "H1" => Ok(1),
            "H2" => Ok(2),
            "H3" => Ok(3),
            _ => Err(item.refuse(format!("`{text}` is no handling code"), "use some of H0, H1, H2, H3, each once")),
        });
        codes.extend(faults.take(code));
    }
    codes.sort_unstable();
    codes.dedup();
    let tlp = faults.take(tlp.transpose());
    faults.or(tlp.map(|tlp| Handling { tlp, codes }))
}

fn days(entry: &Entry<'_>) -> Result<u32, SourceError> {
    Ok(u32::try_from(entry.number(0, u64::from(COUNT_MAX))?).unwrap_or(u32::MAX))
}

/// The parties as far as they can be told. Where one is at fault its place is held, so that clauses that name it are not
/// blamed for it.
fn parties(root: &Table<'_>, drafting: &Drafting<'_>, faults: &mut Faults) -> Vec<Party> {
    faults.take(root.need("party", "name the parties, each in a table [[party]]"));
    let tables = faults.take(root.tables("party")).unwrap_or_default();
    if tables.len() > limits::AGREEMENT_PARTIES_MAX {
        let (key, what) = ("party".to_owned(), format!("{} parties", tables.len()));
        let fix = format!("name at most {}", limits::AGREEMENT_PARTIES_MAX);
        faults.note(SourceError { line: root.line_below("party"), key, what, fix, more: Box::default() });
    }
    let mut parties: Vec<Party> = Vec::new();
    // Beyond the bound none is read; every place is a byte.
    for (place, table) in (0u8..).zip(tables.into_iter().take(limits::AGREEMENT_PARTIES_MAX)) {
        faults.take(table.only(&["handle", "name", "id", "declines", "signatories"]));
        let declines = table.find("declines").map_or(Ok(Vec::new()), |entry| obligations(&entry));
        let signatories = table.find("signatories").map_or(Ok(Vec::new()), |entry| entry.texts());
        let (declines, signatories) = (faults.take(declines), faults.take(signatories));
        let name = table.need("name", "write the party's full name").and_then(|entry| entry.text());
        let name = faults.take(name).unwrap_or_default().to_owned();
        let Some(handle) = faults.take(table.need("handle", "give the party a short name")) else { continue };
        let Some(text) = faults.take(handle.text()) else { continue };
        let named = table.find("id").map_or_else(
            || {
                (drafting.party)(text).ok_or_else(|| {
                    handle.refuse(
                        format!("nobody is known as `{text}`"),
                        "write the organisation's id, or pair with it first",
                    )
                })
            },
            |entry| entry.parsed(),
        );
        let id = faults.take(named).unwrap_or_else(|| OrgId::from_bytes([place; 32]));
        if parties.iter().any(|p| p.handle == text || p.id == id) {
            faults.note(handle.refuse(format!("`{text}` stands twice"), "name each party once"));
            continue;
        }
        let (declines, signatories) = (declines.unwrap_or_default(), signatories.unwrap_or_default());
        parties.push(Party { id, name, handle: text.to_owned(), declines, signatories });
    }
    parties
}

fn party(entry: &Entry<'_>, parties: &[Party]) -> Result<OrgId, SourceError> {
    let handle = entry.text()?;
    parties.iter().find(|p| p.handle == handle).map(|p| p.id).ok_or_else(|| {
        let known: Vec<&str> = parties.iter().map(|p| p.handle.as_str()).collect();
        entry.refuse(format!("`{handle}` is no party"), format!("use one of {}", known.join(", ")))
    })
}

fn clause(table: &Table<'_>, parties: &[Party]) -> Result<Clause, SourceError> {
    let mut faults = Faults::default();
    faults.take(table.only(CLAUSE_KEYS));
    let texts = |key| table.find(key).map_or(Ok(Vec::new()), |entry| entry.texts());
    let mut to = Vec::new();
    let named = table.need("to", "list the handles of those who receive").and_then(|entry| entry.list());
    for entry in faults.take(named).unwrap_or_default() {
        to.extend(faults.take(party(&entry, parties)));
    }
    let mut purposes = Vec::new();
    for entry in faults.take(table.tables("personal")).unwrap_or_default() {
        purposes.extend(faults.take(personal(&entry)));
    }
    let from = table.need("from", "write the handle of the party that gives");
    let name = table.need("name", "give the clause a name").and_then(|entry| Ok(entry.text()?.to_owned()));
    let when = table.find("when").map(|entry| entry.text().map(str::to_owned)).transpose();
    let rule = table.need("onward", "write \"never\", \"with-grant\" or a list of handles");
    let disclosed = table.find("disclose").map_or(Ok(Vec::new()), |entry| disclose(&entry.table()?));
    let retention = table.need("retention-days", "say for how many days the receiver keeps what it got");
    let handled = table.find("handling").map(|entry| handling(&entry.table()?)).transpose();
    let terms = (
        faults.take(table.find("red").map_or(Ok(false), |entry| entry.truth())),
        faults.take(table.find("duty").map_or(Ok(Duty::Release), |entry| duty(&entry))),
        (faults.take(from.and_then(|entry| party(&entry, parties))), faults.take(name)),
        (faults.take(when), faults.take(rule.and_then(|entry| onward(&entry, parties)))),
        (faults.take(texts("files")), faults.take(texts("carries")), faults.take(handled)),
        (faults.take(disclosed), faults.take(retention.and_then(|entry| entry.count()))),
    );
    let (
        Some(red),
        Some(duty),
        (Some(from), Some(name)),
        (Some(when), Some(onward)),
        (Some(files), Some(carries), Some(handling)),
        (Some(disclose), Some(retention_days)),
    ) = terms
    else {
        return faults.or(None);
    };
    faults.or(Some(Clause {
        to,
        red,
        duty,
        from,
        name,
        when,
        files,
        onward,
        carries,
        disclose,
        handling,
        personal: purposes,
        retention_days,
    }))
}

fn duty(entry: &Entry<'_>) -> Result<Duty, SourceError> {
    let fix = "write \"release\", \"alert\", { answer-traces = DAYS } or { match = QUERIES-A-DAY }";
    if let Ok(table) = entry.table() {
        table.only(&["answer-traces", "match"])?;
        return match (table.find("answer-traces"), table.find("match")) {
            (Some(days), None) => Ok(Duty::AnswerTraces(days.count()?)),
            (None, Some(queries)) => Ok(Duty::Match(queries.count()?)),
            _ => Err(entry.refuse("no duty, or two", fix)),
        };
    }
    match entry.text()? {
        "release" => Ok(Duty::Release),
        "alert" => Ok(Duty::Alert),
        other => Err(entry.refuse(format!("`{other}` is no duty"), fix)),
    }
}

fn onward(entry: &Entry<'_>, parties: &[Party]) -> Result<Onward, SourceError> {
    if let Ok(list) = entry.list() {
        return Ok(Onward::To(list.iter().map(|item| party(item, parties)).collect::<Result<_, _>>()?));
    }
    match entry.text()? {
        "never" => Ok(Onward::Never),
        "with-grant" => Ok(Onward::WithGrant),
        other => {
            let fix = "write \"never\", \"with-grant\" or a list of handles";
            Err(entry.refuse(format!("`{other}` is no onward rule"), fix))
        }
    }
}

fn kind(entry: &Entry<'_>, name: &str) -> Result<Kind, SourceError> {
    Kind::from_name(name).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        entry.refuse(format!("`{name}` is no kind of record"), format!("use one of {known}"))
    })
}

fn slot(entry: &Entry<'_>, kind: Kind) -> Result<&'static Slot, SourceError> {
    let name = entry.text()?;
    kind.slot(name).ok_or_else(|| {
        let known: Vec<&str> = kind.slots().map(|s| s.name).collect();
        entry.refuse(format!("`{kind}` has no field `{name}`"), format!("use some of {}", known.join(", ")))
    })
}

/// The facts by which fields may be named together. What tells of persons is named field by field.
const CLASSES: [Fact; 5] = [Fact::Place, Fact::Time, Fact::Serial, Fact::Maker, Fact::Device];

/// The fields that an entry names: one, or with `@` all that tell one fact and nothing else. Those who sign read the names:
/// the body holds fields, and knows no classes.
fn fields(entry: &Entry<'_>, kind: Kind) -> Result<Vec<&'static Slot>, SourceError> {
    let Some(name) = entry.text()?.strip_prefix('@') else { return Ok(vec![slot(entry, kind)?]) };
    let tells = |slot: &Slot, fact: Fact| {
        let own = slot.rung.is_none_or(|rung| rung.fact == fact);
        let beside = slot.carries.iter().all(|carried| carried == fact);
        own && beside && (slot.rung.is_some() || slot.carries.contains(fact))
    };
    let plain = |slot: &&Slot| !slot.personal && !slot.personal_of_persons && slot.shape != Shape::Content;
    let of = |fact: Fact| kind.slots().filter(plain).filter(|slot| tells(slot, fact)).collect::<Vec<_>>();
    let slots = CLASSES.into_iter().find(|fact| fact.name() == name).map(of).unwrap_or_default();
    if slots.is_empty() {
        let known: Vec<String> =
            CLASSES.into_iter().filter(|f| !of(*f).is_empty()).map(|f| format!("@{}", f.name())).collect();
        let fix = match known.as_slice() {
            [] => "name its fields one by one".to_owned(),
            _ => format!("use some of {}, or name its fields one by one", known.join(", ")),
        };
        return Err(entry.refuse(format!("`{kind}` has no class of fields `@{}`", name.escape_debug()), fix));
    }
    Ok(slots)
}

fn disclose(table: &Table<'_>) -> Result<Vec<Disclosure>, SourceError> {
    let (mut faults, mut all) = (Faults::default(), Vec::new());
    for (name, entry) in table.entries() {
        let Some(kind) = faults.take(kind(&entry, name)) else { continue };
        let mut slots: Vec<u8> = Vec::new();
        for item in faults.take(entry.list()).unwrap_or_default() {
            for slot in faults.take(fields(&item, kind)).unwrap_or_default() {
                if slots.contains(&slot.number) {
                    faults.note(item.refuse(format!("`{}` stands twice", slot.name), "name each field once"));
                } else {
                    slots.push(slot.number);
                }
            }
        }
        slots.sort_unstable();
        all.push(Disclosure { kind, slots });
    }
    all.sort_by_key(|d| d.kind);
    faults.or(Some(all))
}

fn personal(table: &Table<'_>) -> Result<Personal, SourceError> {
    table.only(&["kind", "slot", "purpose", "retention-days"])?;
    let named = table.need("kind", "name the kind of record")?;
    let kind = kind(&named, named.text()?)?;
    Ok(Personal {
        kind,
        slot: slot(&table.need("slot", "name the field")?, kind)?.number,
        purpose: table.need("purpose", "say for what it is needed")?.text()?.to_owned(),
        retention_days: table.need("retention-days", "say for how many days it is kept")?.count()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: the places of parties were counted in a byte, and a text of 300 tables stopped the program that read it.
    #[test]
    fn more_parties_than_there_may_be_are_refused_at_their_line() {
        let party = |n: usize| format!("[[party]]\nhandle = \"p{n}\"\nname = \"P {n}\"\n");
        for (many, refused) in
            [(limits::AGREEMENT_PARTIES_MAX, false), (17, true), (255, true), (256, true), (300, true)]
        {
            let source = format!("language = {LANGUAGE}\n{}", (0..many).map(party).collect::<String>());
            let drafting = Drafting { id: AgreementId::from_bytes([1; 16]), party: &|_| None };
            let fault = parse(&source, &drafting).unwrap_err();
            let says = fault.to_string();
            let counted =
                format!("line 2, key `party`: {many} parties; name at most {}", limits::AGREEMENT_PARTIES_MAX);
            assert_eq!(says.contains(&counted), refused, "{says}");
            // Each that was read has its own fault: nobody knows it.
            assert!(says.contains("nobody is known as `p15`") && !says.contains("`p16`"), "{says}");
        }
    }
}
