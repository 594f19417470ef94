//! Answering who asks to pass records of ours on: people do, or the agreement under which all of it was given has.

use super::{
    ASKS, GIVEN, OnwardError,
    asking::{Answer, described, fields, person, until},
    each, passed, said,
};
use crate::{
    agreements,
    node::Node,
    records::{
        keep,
        stored::{ReleasedRow, decode, encode, record_in_feed},
    },
    room,
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::Onward,
    cose::SignatureBytes,
    grant::{Grant, Request, Scope, notice_id},
    id::{GrantId, NoticeId, OrgId},
    identity::Purpose,
    limits,
    record::SlotSet,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, btree_map::Entry};

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

/// A person of ours answers a request: with a grant of what was asked, or less, or with a no. The newest answer counts.
pub fn answer(node: &Node, number: u64, narrowed: Option<&Narrowed>, by: &str) -> Result<Json, OnwardError> {
    let by = person(by)?;
    let scope = lets_go(node, &asks(node, number)?.1, narrowed)?;
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

/// Whether a person may answer a request so, before that one is asked.
pub fn would_answer(node: &Node, number: u64, narrowed: Option<&Narrowed>, by: &str) -> Result<(), OnwardError> {
    person(by)?;
    lets_go(node, &asks(node, number)?.1, narrowed).map(drop)
}

/// What an answer lets go of what was asked for.
fn lets_go(node: &Node, request: &Request, narrowed: Option<&Narrowed>) -> Result<Scope, OnwardError> {
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
    Ok(scope)
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

pub(super) fn theirs(node: &Node, place: u64, row: &AsksRow, request: &Request) -> Result<Json, OnwardError> {
    let mut view = described(node, request, node.keys.org)?;
    view.insert("id".to_owned(), json!(place.to_string()));
    view.insert("direction".to_owned(), json!("theirs"));
    view.insert("partner".to_owned(), json!(node.handle_of(row.from)));
    view.insert("state".to_owned(), json!(row.answer.map_or("asked", Answer::name)));
    view.insert("at".to_owned(), json!(row.at.to_string()));
    Ok(Json::Object(view))
}
