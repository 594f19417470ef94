//! The agreement as people write it, in TOML, to a checked agreement.
//!
//! `entente agreement check` and the dashboard call [`parse`]. Every error names line and key, says
//! what is wrong and what to do; an unknown key or term refuses. AGREEMENTS.md explains every key.

pub use crate::text::SourceError;
use crate::{
    check::{self, COUNT_MAX, Checked},
    text::{self, Entry, Table},
};
use entente_protocol::{
    agreement::{Agreement, Clause, Disclosure, Duty, LANGUAGE, LegalBasis, Onward, Party, Personal},
    id::{AgreementId, OrgId},
    record::{
        kind::{Kind, Slot},
        schema_digest,
    },
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
    "lease-hours",
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
    "disclose",
    "personal",
];

/// Reads and checks an agreement's text.
pub fn parse(source: &str, drafting: &Drafting<'_>) -> Result<Checked, SourceError> {
    let document = text::parse(source)?;
    let root = Table::root(source, &document);
    let agreement = agreement(&root, drafting)?;
    check::check(agreement).map_err(|fault| {
        let table = fault.clause.and_then(|place| root.tables("clause").ok()?.into_iter().nth(place));
        let table = table.as_ref().unwrap_or(&root);
        let key = if table.path().is_empty() { fault.key.clone() } else { format!("{}.{}", table.path(), fault.key) };
        SourceError { line: table.line_below(&fault.key), key, what: fault.what, fix: fault.fix }
    })
}

fn agreement(root: &Table<'_>, drafting: &Drafting<'_>) -> Result<Agreement, SourceError> {
    let language = root.need("language", &format!("write `language = {LANGUAGE}`"))?;
    language.number(LANGUAGE, LANGUAGE)?;
    root.only(AGREEMENT_KEYS)?;
    let schema = match root.find("schema") {
        Some(entry) => entry.parsed()?,
        None => schema_digest(),
    };
    let basis = root.need("basis", "say what it rests on: `basis = { text = \"...\" }`")?.table()?;
    basis.only(&["text", "digest"])?;
    let parties = parties(root, drafting)?;
    let clauses = root.tables("clause")?;
    Ok(Agreement {
        v: 1,
        id: root.find("id").map_or(Ok(drafting.id), |entry| entry.parsed())?,
        from: root.need("from", "write the first day in force")?.day()?,
        lang: LANGUAGE,
        basis: LegalBasis {
            text: basis.need("text", "cite what it rests on")?.text()?.to_owned(),
            digest: basis.find("digest").map(|entry| entry.parsed()).transpose()?,
        },
        lease_hours: root.find("lease-hours").map(|entry| entry.count()).transpose()?,
        title: root.need("title", "give it a title")?.text()?.to_owned(),
        // People read `until` as the last day in force; the body holds the moment after it.
        until: root.need("until", "write the last day in force")?.day()?.plus(86_400_000),
        notice_days: days(&root.need("notice-days", "write the days of notice before a regular end, 0 for none")?)?,
        schema,
        clauses: clauses.iter().map(|table| clause(table, &parties)).collect::<Result<_, _>>()?,
        version: root.find("version").map_or(Ok(1), |entry| entry.number(1, u64::from(u32::MAX)))?,
        purposes: root.need("purposes", "list what records are used for")?.texts()?,
        predecessor: root.find("predecessor").map(|entry| entry.parsed()).transpose()?,
        parties,
    })
}

fn days(entry: &Entry<'_>) -> Result<u32, SourceError> {
    Ok(u32::try_from(entry.number(0, u64::from(COUNT_MAX))?).unwrap_or(u32::MAX))
}

fn parties(root: &Table<'_>, drafting: &Drafting<'_>) -> Result<Vec<Party>, SourceError> {
    root.need("party", "name the parties, each in a table [[party]]")?;
    let mut parties: Vec<Party> = Vec::new();
    for table in root.tables("party")? {
        table.only(&["handle", "name", "id"])?;
        let handle = table.need("handle", "give the party a short name")?;
        let text = handle.text()?;
        let id = match table.find("id") {
            Some(entry) => entry.parsed()?,
            None => (drafting.party)(text).ok_or_else(|| {
                handle.refuse(
                    format!("nobody is known as `{text}`"),
                    "write the organisation's id, or pair with it first",
                )
            })?,
        };
        if parties.iter().any(|p| p.handle == text || p.id == id) {
            return Err(handle.refuse(format!("`{text}` stands twice"), "name each party once"));
        }
        let name = table.need("name", "write the party's full name")?.text()?.to_owned();
        parties.push(Party { id, name, handle: text.to_owned() });
    }
    Ok(parties)
}

fn party(entry: &Entry<'_>, parties: &[Party]) -> Result<OrgId, SourceError> {
    let handle = entry.text()?;
    parties.iter().find(|p| p.handle == handle).map(|p| p.id).ok_or_else(|| {
        let known: Vec<&str> = parties.iter().map(|p| p.handle.as_str()).collect();
        entry.refuse(format!("`{handle}` is no party"), format!("use one of {}", known.join(", ")))
    })
}

fn clause(table: &Table<'_>, parties: &[Party]) -> Result<Clause, SourceError> {
    table.only(CLAUSE_KEYS)?;
    let texts = |key| table.find(key).map_or(Ok(Vec::new()), |entry| entry.texts());
    let to = table.need("to", "list the handles of those who receive")?.list()?;
    Ok(Clause {
        to: to.iter().map(|entry| party(entry, parties)).collect::<Result<_, _>>()?,
        red: table.find("red").map_or(Ok(false), |entry| entry.truth())?,
        duty: table.find("duty").map_or(Ok(Duty::Release), |entry| duty(&entry))?,
        from: party(&table.need("from", "write the handle of the party that gives")?, parties)?,
        name: table.need("name", "give the clause a name")?.text()?.to_owned(),
        when: table.find("when").map(|entry| entry.text().map(str::to_owned)).transpose()?,
        files: texts("files")?,
        onward: onward(&table.need("onward", "write \"never\", \"with-grant\" or a list of handles")?, parties)?,
        carries: texts("carries")?,
        disclose: table.find("disclose").map_or(Ok(Vec::new()), |entry| disclose(&entry.table()?))?,
        personal: table.tables("personal")?.iter().map(personal).collect::<Result<_, _>>()?,
        retention_days: table
            .need("retention-days", "say for how many days the receiver keeps what it got")?
            .count()?,
    })
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

fn disclose(table: &Table<'_>) -> Result<Vec<Disclosure>, SourceError> {
    let mut all = Vec::new();
    for (name, entry) in table.entries() {
        let kind = kind(&entry, name)?;
        let mut slots: Vec<u8> = Vec::new();
        for item in entry.list()? {
            let slot = slot(&item, kind)?;
            if slots.contains(&slot.number) {
                return Err(item.refuse(format!("`{}` stands twice", slot.name), "name each field once"));
            }
            slots.push(slot.number);
        }
        slots.sort_unstable();
        all.push(Disclosure { kind, slots });
    }
    all.sort_by_key(|d| d.kind);
    Ok(all)
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
