//! Asking for grants, and answering: people on both sides decide, and what they said is kept on both.
//!
//! A request names lines of one kind that are held here. Its originator answers with a grant, or with one that names no field,
//! which says no and takes back what it said before: the newest word that covers a record counts.

use super::{ASKED, ASKS, GIVEN, OnwardError, each, holding, passed, said};
use crate::{
    agreements,
    node::{Node, Rules},
    partners::PartnerState,
    records::{
        keep,
        stored::{self, ReleasedRow, decode, encode, record_in_feed},
        view,
    },
    room,
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::{Clause, Onward},
    cose::SignatureBytes,
    grant::{Grant, Request, Scope, notice_id},
    id::{GrantId, LineId, NoticeId, OrgId, RecordId},
    identity::Purpose,
    limits,
    record::{Reference, SlotSet, kind::Kind},
    time::UnixMillis,
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

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
    fn of(id: GrantId, grant: &Grant) -> Self {
        if grant.is_refusal() { Self::Refused(id) } else { Self::Granted(id) }
    }
    const fn name(self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Refused(_) => "refused",
        }
    }
}

/// What a partner asked of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsksRow {
    /// When it came.
    pub at: UnixMillis,
    /// Who asks.
    pub from: OrgId,
    /// Our newest answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Whether a person of ours gave it, and not the agreement.
    #[serde(default)]
    pub person: bool,
    /// As it came.
    pub signed: SignatureBytes,
}

/// A grant that we gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenRow {
    /// When.
    pub at: UnixMillis,
    /// Who of ours, or what answered by itself.
    pub by: String,
    /// When the holder had heard it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<UnixMillis>,
    /// As it is said.
    pub signed: SignatureBytes,
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

/// How an answer differs from what was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Narrowed {
    /// Fields, by name; none for those that were asked for.
    pub fields: Vec<String>,
    /// For how many days at most.
    pub days: Option<u32>,
    /// Until when, as a date.
    pub until: Option<String>,
}

fn person(by: &str) -> Result<String, OnwardError> {
    let by = by.trim();
    if by.is_empty() || !entente_protocol::text::is_line(by) {
        return Err(OnwardError::Asked("say who you are: `--by NAME`, one line".to_owned()));
    }
    Ok(by.to_owned())
}

fn fields(kind: Kind, names: &[String]) -> Result<SlotSet, OnwardError> {
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
fn until(text: &str) -> Result<UnixMillis, OnwardError> {
    let day = UnixMillis::from_date(text);
    Ok(day.ok_or_else(|| OnwardError::Asked(format!("`--until {text}` is no date: write YYYY-MM-DD")))?.plus(DAY_MS))
}

const DAY_MS: u64 = 86_400_000;

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

/// So many statements of one partner are kept, and no more.
pub(super) fn counted(txn: &mut Txn<'_>, from: OrgId) -> Result<(), OnwardError> {
    let key = count_key(from);
    let before = txn.get(Partition::Own, Table::Grant, &key)?.and_then(|row| <[u8; 8]>::try_from(row).ok());
    let count = before.map_or(0, u64::from_be_bytes);
    if count >= limits::GRANTS_PER_PARTNER_MAX as u64 {
        return Err(OnwardError::Partner("it has asked, or granted, more often than is kept".to_owned()));
    }
    Ok(txn.put(Partition::Own, Table::Grant, &key, &(count + 1).to_be_bytes())?)
}

/// Takes a partner's request. Where the agreements under which all of it was given name the receiver, they have answered.
pub fn take(node: &Node, from: OrgId, signed: &SignatureBytes) -> Result<(), OnwardError> {
    let (now, book) = (node.clock.now(), node.book());
    let key = |kid| book.key(from, Purpose::Runs, kid, now);
    let request = Request::verify(signed, from, key).map_err(|fault| OnwardError::of_partner(&fault))?;
    if request.to == node.keys.org {
        return Err(OnwardError::Partner("it asks to pass our own on to us".to_owned()));
    }
    if let Some(why) = room::lacking(node, from, room::For::Word)? {
        return Err(OnwardError::Partner(why));
    }
    let known = asks_key(notice_id(signed));
    if node.holdings.get(Partition::Own, Table::Grant, &known)?.is_some() {
        return Ok(());
    }
    let agreed = by_agreement(node, from, &request)?;
    let mut txn = node.holdings.begin();
    if txn.get(Partition::Own, Table::Grant, &known)?.is_some() {
        return Ok(());
    }
    counted(&mut txn, from)?;
    let mut row = AsksRow { at: now, from, answer: None, person: false, signed: signed.clone() };
    let is_agreed = agreed.is_some();
    if let Some(scope) = agreed {
        // In the append that keeps the request: a node that is stopped has both, or is asked again.
        say(node, &mut txn, (&mut row, &request), scope, "the agreement under which it was given")?;
    }
    let bytes = encode("request", &row)?;
    let place = txn.push(Partition::Own, Table::Grant, ASKS, &bytes)?;
    txn.put(Partition::Own, Table::Grant, &known, &place.to_be_bytes())?;
    room::fill(&mut txn, from, bytes.len() as u64 + room::BESIDES_BYTES)?;
    node.journal(&mut txn, "grant-request", &[("partner", from.to_string()), ("to", request.to.to_string())])?;
    txn.commit()?;
    if is_agreed {
        node.wake();
    }
    Ok(())
}

/// The key under which a partner's request is found.
pub fn asks_key(id: NoticeId) -> Vec<u8> {
    [b"ask".as_slice(), id.as_bytes()].concat()
}

/// The key of how many statements of a partner are kept.
pub fn count_key(partner: OrgId) -> Vec<u8> {
    [b"count".as_slice(), partner.as_bytes()].concat()
}

/// The key of the time of the last answer about a holder and a receiver.
pub fn last_key(from: OrgId, to: OrgId) -> Vec<u8> {
    [b"last".as_slice(), from.as_bytes(), to.as_bytes()].concat()
}

/// What the agreements say of themselves, where each record asked for was given under a clause that names the receiver.
fn by_agreement(node: &Node, holder: OrgId, request: &Request) -> Result<Option<Scope>, OnwardError> {
    let mut scope = request.scope.clone();
    if scope.lines.is_empty() || was_answered(node, holder, request)? {
        return Ok(None);
    }
    let rules = node.rules();
    let mut known = BTreeMap::new();
    for line in request.scope.lines.clone() {
        let mut named = false;
        for record in keep::line(node, line)? {
            for (agreement, _, _) in feeds::agreements_with(node, holder) {
                let feed = feeds::outgoing(node, holder, agreement).id();
                let row = node.holdings.get(Partition::Own, Table::Release, &record_in_feed(record, feed))?;
                let Some(row) = row.map(|row| decode::<ReleasedRow>("release", &row)).transpose()? else { continue };
                if let Entry::Vacant(new) = known.entry(agreement) {
                    new.insert(agreements::versions(&node.holdings, agreement)?);
                }
                let Some(versions) = known.get(&agreement) else { continue };
                let Some(version) = versions.get(&row.version).filter(|_| row.shows()) else { continue };
                let Some(clause) = version.clauses.get(usize::from(row.clause)) else { continue };
                // A person answers where any of it was given under another clause, or nothing may pass now.
                let passes = rules.policy.passes(holder, agreement, node.interval()).is_ok();
                if !passes || !matches!(&clause.onward, Onward::To(orgs) if orgs.contains(&request.to)) {
                    return Ok(None);
                }
                named = true;
                scope.slots = scope.slots.and(row.set());
                scope.retention_days = scope.retention_days.min(clause.retention_days);
                scope.until = scope.until.min(version.until);
                // None asked for are any: the agreement's own.
                if scope.purposes.is_empty() {
                    scope.purposes.extend(version.purposes.iter().cloned());
                    scope.purposes.sort();
                    scope.purposes.dedup();
                }
                scope.purposes.retain(|purpose| version.purposes.contains(purpose));
                if scope.purposes.is_empty() {
                    return Ok(None);
                }
            }
        }
        if !named {
            return Ok(None);
        }
    }
    // What a grant cannot say, people answer.
    Ok(Some(scope).filter(|scope| !scope.slots.is_empty() && scope.purposes.len() <= limits::GRANT_PURPOSES_MAX))
}

/// Whether people of ours have answered about any of it before: with a no, or with less. By itself nothing more is granted.
fn was_answered(node: &Node, holder: OrgId, request: &Request) -> Result<bool, OnwardError> {
    let mut answered = false;
    each(node, ASKS, &mut |place, row: AsksRow| {
        if row.from != holder || !row.person {
            return Ok(true);
        }
        let before = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
        let lines = &before.scope.lines;
        let same = (before.to, before.scope.kind) == (request.to, request.scope.kind);
        // What was said of all of a kind was said of each.
        answered = same && (lines.is_empty() || lines.iter().any(|line| request.scope.lines.contains(line)));
        Ok(!answered)
    })?;
    Ok(answered)
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

/// A person of ours answers a request: with a grant of what was asked, or less, or with a no. The newest answer counts.
pub fn answer(node: &Node, number: u64, narrowed: Option<&Narrowed>, by: &str) -> Result<Json, OnwardError> {
    let by = person(by)?;
    let (_, request) = asks(node, number)?;
    let mut scope = request.scope.clone();
    match narrowed {
        None => scope.slots = SlotSet::EMPTY,
        Some(narrowed) => {
            if !narrowed.fields.is_empty() {
                scope.slots = fields(scope.kind, &narrowed.fields)?;
                if !scope.slots.without(request.scope.slots).is_empty() {
                    return Err(OnwardError::Asked("a field is named that was not asked for".to_owned()));
                }
            }
            scope.retention_days = narrowed.days.unwrap_or(scope.retention_days).min(scope.retention_days);
            let until = narrowed.until.as_deref().map(until).transpose()?;
            scope.until = until.unwrap_or(scope.until).min(scope.until);
            if scope.until <= node.clock.now() {
                return Err(OnwardError::Asked(
                    "the time that was asked for is over: answer no, or have it asked anew".to_owned(),
                ));
            }
        }
    }
    let mut txn = node.holdings.begin();
    // Read anew: nothing else changes it meanwhile.
    let (mut row, request) = asks(node, number)?;
    say(node, &mut txn, (&mut row, &request), scope, &by)?;
    row.person = true;
    txn.replace_item(Partition::Own, Table::Grant, ASKS, number, &encode("request", &row)?)?;
    txn.commit()?;
    node.wake();
    theirs(node, number, &row, &request)
}

fn asks(node: &Node, number: u64) -> Result<(AsksRow, Request), OnwardError> {
    let row = node.holdings.item(Partition::Own, Table::Grant, ASKS, number)?;
    let none = || OnwardError::Asked(format!("there is no request {number}: see `entente onward list`"));
    let row: AsksRow = decode("request", &row.ok_or_else(none)?)?;
    let request = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: number })?;
    Ok((row, request))
}

/// Signs an answer and has it said, within the append that keeps it with its request.
fn say(
    node: &Node,
    txn: &mut Txn<'_>,
    (row, request): (&mut AsksRow, &Request),
    scope: Scope,
    by: &str,
) -> Result<(), OnwardError> {
    let now = node.clock.now();
    // The newest answer counts, whatever the clock says: each is later than those before it on this way.
    let last = last_key(row.from, request.to);
    let before = txn.get(Partition::Own, Table::Grant, &last)?.and_then(|at| <[u8; 8]>::try_from(at).ok());
    let time = before.map_or(now, |before| now.max(UnixMillis(u64::from_be_bytes(before)).plus(1)));
    txn.put(Partition::Own, Table::Grant, &last, &time.0.to_be_bytes())?;
    let grant = Grant { scope, from: row.from, to: request.to, time, originator: node.keys.org };
    let (id, signed) = grant.sign(&node.keys.records).map_err(|fault| OnwardError::of_ours(&fault))?;
    row.answer = Some(Answer::of(id, &grant));
    let given = GivenRow { at: now, by: by.to_owned(), heard: None, signed: signed.clone() };
    let place = txn.push(Partition::Own, Table::Grant, GIVEN, &encode("grant", &given)?)?;
    txn.put(Partition::Own, Table::Grant, &passed::given_key(id), &place.to_be_bytes())?;
    said::push(txn, row.from, said::Say::Grant(place), &signed)?;
    let what = if grant.is_refusal() { "grant-denied" } else { "grant-given" };
    let about = [
        ("partner", row.from.to_string()),
        ("grant", id.to_string()),
        ("to", grant.to.to_string()),
        ("by", by.to_owned()),
    ];
    node.journal(txn, what, &about)?;
    Ok(())
}

/// A grant that we gave.
pub(super) fn given(node: &Node, id: GrantId) -> Result<Option<Grant>, OnwardError> {
    let at = node.holdings.get(Partition::Own, Table::Grant, &passed::given_key(id))?;
    let Some(at) = at.and_then(|at| <[u8; 8]>::try_from(at).ok()).map(u64::from_be_bytes) else { return Ok(None) };
    let row = node.holdings.item(Partition::Own, Table::Grant, GIVEN, at)?.ok_or(StoreError::Broken { at })?;
    let row: GivenRow = decode("grant", &row)?;
    Ok(Some(Grant::kept(&row.signed).map_err(|_| StoreError::Broken { at })?.1))
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

fn described(node: &Node, request: &Request, originator: OrgId) -> Result<serde_json::Map<String, Json>, OnwardError> {
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

fn theirs(node: &Node, place: u64, row: &AsksRow, request: &Request) -> Result<Json, OnwardError> {
    let mut view = described(node, request, node.keys.org)?;
    view.insert("id".to_owned(), json!(place.to_string()));
    view.insert("direction".to_owned(), json!("theirs"));
    view.insert("partner".to_owned(), json!(node.handle_of(row.from)));
    view.insert("state".to_owned(), json!(row.answer.map_or("asked", Answer::name)));
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
    each(node, ASKS, &mut |place, row: AsksRow| {
        let request = Request::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
        all.push(theirs(node, place, &row, &request)?);
        Ok(true)
    })?;
    Ok(json!(all))
}
