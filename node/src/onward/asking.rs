//! Asking for grants: what people of ours asked of originators, and what these answered.
//!
//! A request names lines of one kind that are held here, or all of the kind. Its originator answers ([`super::answering`]) with
//! a grant, or with one that names no field, which says no and takes back what it said before: the newest word that covers a
//! record counts.

use super::{ASKED, ASKS, OnwardError, answering, each, holding, said};
use crate::{
    node::{Node, Rules},
    partners::PartnerState,
    records::{
        keep,
        stored::{self, encode},
        view,
    },
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::{Clause, Onward},
    cose::SignatureBytes,
    grant::{Grant, Request, Scope},
    id::{GrantId, LineId, OrgId, RecordId},
    limits,
    record::{Reference, SlotSet, kind::Kind},
    time::{DAY_MS, UnixMillis},
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What we asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedRow {
    /// When.
    pub at: UnixMillis,
    /// Who of ours.
    pub by: String,
    /// When the originator had heard it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<UnixMillis>,
    /// Its newest answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// As it is said.
    pub signed: SignatureBytes,
    /// Whom.
    pub originator: OrgId,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// With this grant.
    Granted(GrantId),
    /// With one that names no field.
    Refused(GrantId),
}

impl Answer {
    pub(super) fn of(id: GrantId, grant: &Grant) -> Self {
        if grant.is_refusal() { Self::Refused(id) } else { Self::Granted(id) }
    }
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Refused(_) => "refused",
        }
    }
}

/// Every record of a kind, now and later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Every {
    /// Of which kind.
    pub kind: String,
    /// Of which originator, by handle or id.
    pub of: String,
}

/// What people ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wish {
    /// To whom, by handle or id.
    pub to: String,
    /// Not single records, but all of a kind.
    #[serde(default)]
    pub every: Option<Every>,
    /// Fields, by name; none for all that are held.
    pub fields: Vec<String>,
    /// For which purposes; none for those of the agreements with the receiver.
    pub purposes: Vec<String>,
    /// For how many days its receiver keeps it.
    pub days: u32,
    /// Until when, as a date; a year from now where there is none.
    pub until: Option<String>,
    /// Why, for the originator's people.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

pub(super) fn person(by: &str) -> Result<String, OnwardError> {
    let by = by.trim();
    if by.is_empty() || !entente_protocol::text::is_line(by) {
        return Err(OnwardError::Asked("say who you are: `--by NAME`, one line".to_owned()));
    }
    Ok(by.to_owned())
}

pub(super) fn fields(kind: Kind, names: &[String]) -> Result<SlotSet, OnwardError> {
    let mut set = SlotSet::EMPTY;
    for name in names {
        let Some(slot) = kind.slot(name) else {
            return Err(OnwardError::Asked(format!("records of kind `{kind}` have no field `{name}`")));
        };
        set = set.with(slot.number);
    }
    Ok(set)
}

/// The moment after a day: people name the last one.
pub(super) fn until(text: &str) -> Result<UnixMillis, OnwardError> {
    let day = UnixMillis::from_date(text);
    Ok(day.ok_or_else(|| OnwardError::Asked(format!("`--until {text}` is no date: write YYYY-MM-DD")))?.plus(DAY_MS))
}

/// A year, in milliseconds.
const YEAR_MS: u64 = 365 * DAY_MS;

/// Asks the originators of received records whether they may be passed on. Says what was asked; nothing goes before an answer.
pub fn ask(node: &Node, records: &[RecordId], wish: &Wish) -> Result<Json, OnwardError> {
    let by = person(&wish.by)?;
    let rules = node.rules();
    let (to, receiver) = rules.book.find(&wish.to).map_err(|e| OnwardError::Asked(e.to_string()))?;
    if receiver.state == PartnerState::Removed {
        return Err(OnwardError::Asked(format!("`{}` was removed: nothing goes to it", wish.to)));
    }
    let reason = wish.reason.trim();
    if reason.is_empty() || !entente_protocol::text::is_line(reason) {
        return Err(OnwardError::Asked(
            "say why: `--reason TEXT`, one line; the originator's people read it".to_owned(),
        ));
    }
    let mut by_origin: BTreeMap<(OrgId, Kind), (BTreeSet<LineId>, SlotSet)> = BTreeMap::new();
    for record in records {
        if keep::find_own(node, *record)?.is_some() {
            return Err(OnwardError::Asked(format!(
                "record {} is ours: no grant is needed to release it",
                record.short()
            )));
        }
        let Some(held) = holding::held(node, &rules, *record, to)? else {
            return Err(OnwardError::Asked(format!(
                "record {} is not held here of its originator itself, or was taken back, is locked, or came under an \
                 agreement that is over; what came by another's hand goes no further",
                record.short()
            )));
        };
        let header = held.verified.header();
        let who = node.handle_of(header.originator);
        if header.originator == to {
            return Err(OnwardError::Asked(format!("record {} is `{who}`'s own", record.short())));
        }
        if held.is_red() {
            return Err(OnwardError::Asked(format!(
                "record {} is TLP:RED, by its label or by the clause under which it came: it goes no further, with whatever \
                 grant",
                record.short()
            )));
        }
        if !held.may_go_to(to) {
            return Err(OnwardError::Asked(format!(
                "record {} came under a clause that does not let it go on to `{}`: `entente agreement show {}`",
                record.short(),
                wish.to,
                held.agreement
            )));
        }
        let entry = by_origin.entry((header.originator, header.kind)).or_default();
        entry.0.insert(header.line);
        entry.1 = held.verified.shown().iter().fold(entry.1, SlotSet::with);
    }
    if let Some(every) = &wish.every {
        by_origin.insert(class(&rules, node.keys.org, (every, to), wish)?, Default::default());
    }
    if by_origin.is_empty() {
        return Err(OnwardError::Asked("no record is named: nothing is asked".to_owned()));
    }
    if wish.days == 0 {
        return Err(OnwardError::Asked("`--days 0` keeps nothing: write 1 or more".to_owned()));
    }
    let now = node.clock.now();
    let until = wish.until.as_deref().map(until).transpose()?.unwrap_or_else(|| now.plus(YEAR_MS));
    if until <= now {
        return Err(OnwardError::Asked("`--until` is over already".to_owned()));
    }
    let mut purposes: BTreeSet<String> = wish.purposes.iter().cloned().collect();
    if purposes.is_empty() {
        let shared = rules.agreements.with(to).filter_map(|held| held.in_force.as_ref());
        purposes = shared.flat_map(|in_force| in_force.agreement.purposes.iter().cloned()).collect();
    }
    let is_good = |purpose: &String| entente_protocol::text::is_line(purpose);
    if purposes.is_empty() || purposes.len() > limits::GRANT_PURPOSES_MAX || !purposes.iter().all(is_good) {
        return Err(OnwardError::Asked(format!(
            "name the purpose for which it would be used, `--purpose TEXT`, 1 to {} of one line each: no agreement in force \
             with `{}` names it, or too many do",
            limits::GRANT_PURPOSES_MAX,
            wish.to
        )));
    }
    let mut txn = node.holdings.begin();
    let mut asked = Vec::new();
    for ((originator, kind), (lines, shown)) in by_origin {
        let slots = if wish.fields.is_empty() { shown } else { fields(kind, &wish.fields)? };
        let lines: Vec<LineId> = lines.into_iter().collect();
        // Without lines it is about every record of the kind.
        for lines in lines.chunks(limits::GRANT_LINES_MAX).chain(lines.is_empty().then_some(&[][..])) {
            let scope = Scope {
                kind,
                lines: lines.to_vec(),
                slots,
                purposes: purposes.iter().cloned().collect(),
                retention_days: wish.days,
                until,
            };
            let request = Request { scope, to, time: now, reason: reason.to_owned(), holder: node.keys.org };
            let signed = request.sign(&node.keys.runs).map_err(|fault| OnwardError::of_ours(&fault))?;
            let row =
                AskedRow { at: now, by: by.clone(), heard: None, answer: None, signed: signed.clone(), originator };
            let place = txn.push(Partition::Own, Table::Grant, ASKED, &encode("request", &row)?)?;
            said::push(&mut txn, originator, said::Say::Request(place), &signed)?;
            let about = [("partner", originator.to_string()), ("to", to.to_string()), ("by", by.clone())];
            node.journal(&mut txn, "grant-asked", &about)?;
            asked.push((place, row, request));
        }
    }
    txn.commit()?;
    node.wake();
    asked.iter().map(|(place, row, request)| ours(node, *place, row, request)).collect()
}

/// Whose records of which kind are asked for as a class: an agreement in force gives us some, and lets them go on.
fn class(rules: &Rules, own: OrgId, (every, to): (&Every, OrgId), wish: &Wish) -> Result<(OrgId, Kind), OnwardError> {
    let (of, originator) = rules.book.find(&every.of).map_err(|e| OnwardError::Asked(e.to_string()))?;
    let Some(kind) = Kind::from_name(&every.kind) else {
        return Err(OnwardError::Asked(format!("there is no kind `{}`: see `entente search --help`", every.kind)));
    };
    if of == to {
        return Err(OnwardError::Asked(format!("these are `{}`'s own", wish.to)));
    }
    if wish.fields.is_empty() {
        return Err(OnwardError::Asked("name the fields that may go on of every one: `--field`".to_owned()));
    }
    let lets = |clause: &Clause| {
        let onward = match &clause.onward {
            Onward::Never => false,
            Onward::WithGrant => true,
            Onward::To(orgs) => orgs.contains(&to),
        };
        onward && clause.disclose.iter().any(|disclosed| disclosed.kind == kind)
    };
    let mut in_force = rules.agreements.with(of).filter_map(|held| held.in_force.as_ref());
    let given = in_force.any(|f| f.agreement.releasing(of, own).any(|(_, clause)| lets(clause)));
    if originator.state == PartnerState::Removed || !given {
        return Err(OnwardError::Asked(format!(
            "no agreement in force gives us records of kind `{}` of `{}` and lets them go on to `{}`",
            every.kind, every.of, wish.to
        )));
    }
    Ok((of, kind))
}

/// Whether people of ours asked an originator for what a grant answers.
pub(super) fn is_asked(node: &Node, originator: OrgId, grant: &Grant) -> Result<bool, OnwardError> {
    let mut asked = false;
    each(node, ASKED, &mut |place, row: AskedRow| {
        if row.originator == originator {
            let Request { scope, to, .. } = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
            asked = (to, scope.kind) == (grant.to, grant.scope.kind) && scope.lines == grant.scope.lines;
        }
        Ok(!asked)
    })?;
    Ok(asked)
}

/// Notes with what we asked that it was answered, within the append that keeps the answer. Whether that is news.
pub(super) fn answered(
    node: &Node,
    txn: &mut Txn<'_>,
    from: OrgId,
    (id, grant): (GrantId, &Grant),
) -> Result<bool, OnwardError> {
    let (answer, mut any) = (Answer::of(id, grant), false);
    each(node, ASKED, &mut |place, mut row: AskedRow| {
        let request = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
        let about = (request.to, request.scope.kind) == (grant.to, grant.scope.kind)
            && request.scope.lines == grant.scope.lines;
        // By the order in which it is said: the two clocks may differ.
        if row.originator == from && about && row.answer != Some(answer) {
            (row.answer, any) = (Some(answer), true);
            txn.replace_item(Partition::Own, Table::Grant, ASKED, place, &encode("request", &row)?)?;
        }
        Ok(true)
    })?;
    Ok(any)
}

/// Records that a request names to people.
const NAMED_MAX: usize = 50;

/// What people call the records of the lines that a request is about, as far as they are here and it names so few.
fn numbers(node: &Node, request: &Request, originator: OrgId) -> Result<Vec<String>, OnwardError> {
    let mut numbers = Vec::new();
    for line in request.scope.lines.iter().take(NAMED_MAX) {
        let number = match keep::line(node, *line)?.last() {
            Some(record) => {
                let own = keep::own(node, *record)?;
                own.values.iter().find(|(slot, _)| *slot == 0).map(|(_, value)| stored::value(value)).transpose()?
            }
            None => held_number(node, &Reference { originator, line: *line })?,
        };
        let number = number.as_ref().and_then(|value| value.as_text()).map(str::to_owned);
        numbers.push(number.unwrap_or_else(|| line.to_string()));
    }
    Ok(numbers)
}

/// The number of a received line, in whatever partition it lies.
fn held_number(node: &Node, line: &Reference) -> Result<Option<Value>, OnwardError> {
    for agreement in node.partitions() {
        if let Some(record) = holding::of_line(node, agreement, line)?.last()
            && let Some(row) = view::received(node, agreement, *record)?
            && let Some((_, _, value)) = row.openings.iter().find(|(slot, ..)| *slot == 0)
        {
            return Ok(Some(stored::value(value)?));
        }
    }
    Ok(None)
}

pub(super) fn described(
    node: &Node,
    request: &Request,
    originator: OrgId,
) -> Result<serde_json::Map<String, Json>, OnwardError> {
    let scope = &request.scope;
    let names: Vec<&str> =
        scope.slots.iter().filter_map(|slot| scope.kind.slot_number(slot)).map(|slot| slot.name).collect();
    let view = json!({
        "to": node.handle_of(request.to),
        "kind": scope.kind.name(),
        "lines": scope.lines.len(),
        // None are named where it is every record of the kind.
        "records": numbers(node, request, originator)?,
        "fields": names,
        "purposes": scope.purposes,
        "days": scope.retention_days,
        "until": scope.until.to_string(),
        "reason": request.reason,
    });
    Ok(view.as_object().cloned().unwrap_or_default())
}

fn ours(node: &Node, place: u64, row: &AskedRow, request: &Request) -> Result<Json, OnwardError> {
    let mut view = described(node, request, row.originator)?;
    view.insert("id".to_owned(), json!(format!("asked-{place}")));
    view.insert("direction".to_owned(), json!("ours"));
    view.insert("partner".to_owned(), json!(node.handle_of(row.originator)));
    let state = row.answer.map_or(if row.heard.is_some() { "asked" } else { "waits" }, Answer::name);
    view.insert("state".to_owned(), json!(state));
    view.insert("by".to_owned(), json!(row.by));
    view.insert("at".to_owned(), json!(row.at.to_string()));
    Ok(Json::Object(view))
}

/// What we asked and what is asked of us, oldest first.
pub fn list(node: &Node) -> Result<Json, OnwardError> {
    let mut all = Vec::new();
    each(node, ASKED, &mut |place, row: AskedRow| {
        let request = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
        all.push(ours(node, place, &row, &request)?);
        Ok(true)
    })?;
    each(node, ASKS, &mut |place, row: answering::AsksRow| {
        let request = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
        all.push(answering::theirs(node, place, &row, &request)?);
        Ok(true)
    })?;
    Ok(json!(all))
}
