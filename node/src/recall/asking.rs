//! Asking back: a recall is proposed by one person, shown, and confirmed by another.
//!
//! `call` comes here. Confirming works in bounded steps, each in one append: the records are marked at the gate, what
//! was released of them is decided anew (so that feeds withdraw it), and a row for each holder says what it is to be
//! asked. A node that was stopped in between goes on by itself ([`go_on`]).

use super::{
    HolderAt, HolderRow, Named, OURS, RECALLED_TOGETHER_MAX, RecallError, RecallRow, each, holder_key, holders_scope,
    named, records_scope,
};
use crate::{
    agreements,
    call::{OnProgress, Progress},
    node::Node,
    onward::passed,
    records::{
        gate::{self, GateRow, RELEASE_LOG},
        keep,
        stored::{self, ReleasedRow, decode, encode, record_in_feed},
    },
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    id::{AgreementId, FeedId, OrgId, RecallId, RecordId},
    recall::{Act, Recall},
};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Records of one page, and of one step.
const STEP: usize = 500;

/// Every agreement with all who are, or ever were, party to it: whoever left one may still hold what came under it.
fn ever_parties(node: &Node) -> Result<Vec<(AgreementId, BTreeSet<OrgId>)>, RecallError> {
    let (mut all, rules) = (Vec::new(), node.rules());
    // Also of those of which our own partition is erased: what we gave, others hold.
    for agreement in rules.agreements.iter().filter(|held| held.in_force.is_some()).map(|held| held.id) {
        let versions = agreements::versions(&node.holdings, agreement)?;
        let parties = versions.values().flat_map(|version| version.parties.iter().map(|party| party.id));
        let parties = parties.filter(|party| *party != node.keys.org).collect();
        all.push((agreement, parties));
    }
    Ok(all)
}

/// Feeds of which a partner holds more than this store knows, since an older copy was put back: it may hold any record.
fn forgotten(node: &Node, parties: &[(AgreementId, BTreeSet<OrgId>)]) -> Result<BTreeSet<FeedId>, RecallError> {
    let mut all = BTreeSet::new();
    for (agreement, parties) in parties {
        for partner in parties {
            let feed = feeds::outgoing(node, *partner, *agreement);
            let stopped = feeds::stopped(node, &feed)?;
            all.extend(stopped.filter(|row| row.theirs.length > row.ours.length).map(|_| feed.id()));
        }
    }
    Ok(all)
}

/// Who was shown a record of ours, under which agreements, and to whom something of it goes now.
struct Shown {
    holders: BTreeMap<OrgId, Vec<AgreementId>>,
    goes: BTreeSet<OrgId>,
}

fn shown(
    node: &Node,
    (parties, forgotten): (&[(AgreementId, BTreeSet<OrgId>)], &BTreeSet<FeedId>),
    record: RecordId,
) -> Result<Shown, RecallError> {
    let mut shown = Shown { holders: BTreeMap::new(), goes: BTreeSet::new() };
    for (agreement, parties) in parties {
        for partner in parties {
            let feed = feeds::outgoing(node, *partner, *agreement).id();
            let row = node.holdings.get(Partition::Own, Table::Release, &record_in_feed(record, feed))?;
            if row.is_none() && forgotten.contains(&feed) {
                shown.holders.entry(*partner).or_default().push(*agreement);
            }
            let Some(row) = row.map(|row| decode::<ReleasedRow>("release", &row)).transpose()? else { continue };
            // There is a row only where a run was signed. What was closed since may have been shown before: who holds
            // nothing says so.
            shown.holders.entry(*partner).or_default().push(*agreement);
            if row.shows() {
                shown.goes.insert(*partner);
            }
        }
    }
    Ok(shown)
}

/// Who holds a record of ours by another's hand, and is not asked by ourselves: whoever passed it on asks for us.
fn onward_of(
    node: &Node,
    record: RecordId,
    asked: &BTreeMap<OrgId, Vec<AgreementId>>,
) -> Result<BTreeMap<OrgId, (OrgId, Vec<AgreementId>)>, RecallError> {
    let mut all: BTreeMap<OrgId, (OrgId, Vec<AgreementId>)> = BTreeMap::new();
    let held = passed::holders_of(node, record).map_err(|error| RecallError::Named(error.into()))?;
    for held in held.into_iter().filter(|held| !asked.contains_key(&held.on.to)) {
        all.entry(held.on.to).or_insert((held.by, Vec::new())).1.push(held.on.agreement);
    }
    Ok(all)
}

/// The number by which people call a recall: from 1. Rows and keys have its place in our list, from 0.
pub const fn number_of(place: u64) -> u64 {
    place + 1
}

/// The place of the recall that people call by this number.
pub(super) fn place_of(number: u64) -> Result<u64, RecallError> {
    number.checked_sub(1).ok_or(RecallError::Unknown(number))
}

/// Whether a recall, by its place, is about a record.
pub fn concerns(node: &Node, place: u64, record: RecordId) -> Result<bool, RecallError> {
    let mut found = false;
    each(&node.holdings, (Partition::Own, &records_scope(place)), 0, &mut |_, page: Vec<RecordId>| {
        found |= page.contains(&record);
        Ok(!found)
    })?;
    Ok(found)
}

/// The row of a recall, by its place.
pub fn row(node: &Node, place: u64) -> Result<RecallRow, RecallError> {
    let row = node.holdings.item(Partition::Own, Table::Recall, OURS, place)?;
    let row = row.ok_or(RecallError::Unknown(number_of(place)))?;
    Ok(decode("recall", &row)?)
}

/// Proposes a recall of records of ours, and says whom it would reach. Nothing is said to anybody.
pub fn propose(
    node: &Node,
    records: &[RecordId],
    act: Act,
    (reason, by): (&str, &str),
    progress: OnProgress<'_>,
) -> Result<Json, RecallError> {
    let proposed = named(by, node.clock.now())?;
    let reason = reason.trim();
    if reason.is_empty() || !entente_protocol::text::is_line(reason) {
        return Err(RecallError::Asked("say why: `--reason TEXT`, one line; it stays with us".to_owned()));
    }
    if records.is_empty() {
        return Err(RecallError::Asked("no record of ours fits: nothing is proposed".to_owned()));
    }
    if records.len() > RECALLED_TOGETHER_MAX {
        return Err(RecallError::Asked(format!(
            "more than {RECALLED_TOGETHER_MAX} records: narrow the choice, or recall in parts"
        )));
    }
    let (mut fresh, mut known) = (Vec::with_capacity(records.len()), 0u64);
    for record in records {
        if gate::state(node, *record)?.recalled.is_some_and(|before| before >= act) {
            known += 1;
        } else {
            fresh.push(*record);
        }
    }
    if fresh.is_empty() {
        return Err(RecallError::Asked("all of these were recalled before: see `entente recall list`".to_owned()));
    }
    let reach = reach(node, &fresh, progress)?;
    let mut txn = node.holdings.begin();
    let place = txn.count(Partition::Own, Table::Recall, OURS)?;
    let pages = fresh.chunks(STEP);
    let row = RecallRow {
        act,
        done: 0,
        pages: pages.len() as u64,
        reason: reason.to_owned(),
        dropped: None,
        records: fresh.len() as u64,
        proposed,
        confirmed: None,
    };
    txn.push(Partition::Own, Table::Recall, OURS, &encode("recall", &row)?)?;
    for page in pages {
        txn.push(Partition::Own, Table::Recall, &records_scope(place), &encode("records", &page.to_vec())?)?;
    }
    let about = [
        ("recall", number_of(place).to_string()),
        ("records", row.records.to_string()),
        ("by", row.proposed.by.clone()),
    ];
    node.journal(&mut txn, "recall-proposed", &about)?;
    txn.commit()?;
    let mut view = view(place, &row);
    if let (Some(map), Json::Object(reach)) = (view.as_object_mut(), reach) {
        map.insert("recalled_before".to_owned(), json!(known));
        map.extend(reach);
    }
    Ok(view)
}

/// Proposes to take back what was refuted and went to somebody to whom nothing passes now: while sharing is suspended, and
/// after an agreement is over, no withdrawal goes, and a recall does. The numbers of the proposals; none where withdrawals
/// reach everybody, or a proposal waits already.
pub fn propose_refuted(node: &Node, records: &[RecordId], progress: OnProgress<'_>) -> Result<Vec<u64>, RecallError> {
    let (rules, now) = (node.rules(), node.interval());
    let mut closed = ever_parties(node)?;
    for (agreement, parties) in &mut closed {
        parties.retain(|partner| rules.policy.passes(*partner, *agreement, now).is_err());
    }
    closed.retain(|(_, parties)| !parties.is_empty());
    if closed.is_empty() {
        return Ok(Vec::new());
    }
    let (waits, mut unreached) = (waiting(node)?, Vec::new());
    for record in records.iter().filter(|record| !waits.contains(*record)) {
        let is_recalled = gate::state(node, *record)?.recalled.is_some();
        if !is_recalled && !shown(node, (&closed, &BTreeSet::new()), *record)?.goes.is_empty() {
            unreached.push(*record);
        }
    }
    let why = "refuted, and nothing passes now under an agreement by which it went";
    let mut numbers = Vec::new();
    for some in unreached.chunks(RECALLED_TOGETHER_MAX) {
        let proposed = propose(node, some, Act::Withdraw, (why, "the review"), progress)?;
        numbers.extend(proposed.get("id").and_then(Json::as_str).and_then(|id| id.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// Records of proposals that wait for a second person.
fn waiting(node: &Node) -> Result<BTreeSet<RecordId>, RecallError> {
    let (mut all, mut open) = (BTreeSet::new(), Vec::new());
    each(&node.holdings, (Partition::Own, OURS), 0, &mut |place, row: RecallRow| {
        open.extend((row.confirmed.is_none() && row.dropped.is_none()).then_some(place));
        Ok(true)
    })?;
    for place in open {
        each(&node.holdings, (Partition::Own, &records_scope(place)), 0, &mut |_, page: Vec<RecordId>| {
            all.extend(page);
            Ok(true)
        })?;
    }
    Ok(all)
}

/// Records that a proposal names one by one.
const LISTED_MAX: usize = 1_000;

/// What a recall of these records would reach: kinds, who would be asked, and the records themselves, as far as they are listed.
fn reach(node: &Node, records: &[RecordId], progress: OnProgress<'_>) -> Result<Json, RecallError> {
    let parties = ever_parties(node)?;
    let forgotten = forgotten(node, &parties)?;
    let (mut kinds, mut holders): (BTreeMap<&str, u64>, BTreeMap<OrgId, u64>) = Default::default();
    let (mut unshown, mut listed) = (0u64, Vec::new());
    for (done, record) in (0..).zip(records) {
        if done % STEP as u64 == 0 {
            progress(Progress { done, total: Some(records.len() as u64) });
        }
        let row = keep::own(node, *record)?;
        let kind = row.kind()?.name();
        *kinds.entry(kind).or_default() += 1;
        let shown = shown(node, (&parties, &forgotten), *record)?;
        unshown += u64::from(shown.holders.is_empty());
        let onward = onward_of(node, *record, &shown.holders)?;
        for partner in shown.holders.keys().chain(onward.keys()) {
            *holders.entry(*partner).or_default() += 1;
        }
        if listed.len() < LISTED_MAX {
            let number = row.values.iter().find(|(slot, _)| *slot == 0);
            let number = number.map(|(_, value)| stored::value(value)).transpose()?;
            let number = number.as_ref().and_then(|value| value.as_text()).map(str::to_owned);
            listed.push(json!({ "id": record.to_string(), "kind": kind, "number": number }));
        }
    }
    let holders: Vec<Json> = holders
        .into_iter()
        .map(|(partner, n)| json!({ "id": partner.to_string(), "handle": node.handle_of(partner), "records": n }))
        .collect();
    Ok(json!({
        "kinds": kinds,
        "holders": holders,
        "shown_to_nobody": unshown,
        "listed": listed,
        "not_listed": records.len().saturating_sub(LISTED_MAX),
    }))
}

/// A recall that waits for a second person, with all that the first one was shown.
pub(super) fn proposed(node: &Node, place: u64, row: &RecallRow) -> Result<Json, RecallError> {
    let mut records: Vec<RecordId> = Vec::new();
    each(&node.holdings, (Partition::Own, &records_scope(place)), 0, &mut |_, page: Vec<RecordId>| {
        records.extend(page);
        Ok(true)
    })?;
    let mut view = view(place, row);
    if let (Some(map), Json::Object(reach)) = (view.as_object_mut(), reach(node, &records, &mut |_| {})?) {
        map.extend(reach);
    }
    Ok(view)
}

/// Confirms a recall that another person proposed, and asks every holder.
pub fn confirm(node: &Node, number: u64, by: &str, progress: OnProgress<'_>) -> Result<Json, RecallError> {
    confirm_row(node, number, by)?;
    finish(node, place_of(number)?, progress)?;
    super::holders::status(node, number)
}

/// A recall is confirmed, and the node is stopped before anybody is asked.
#[cfg(test)]
pub fn confirmed_only(node: &Node, number: u64, by: &str) -> Result<(), RecallError> {
    confirm_row(node, number, by)
}

fn confirm_row(node: &Node, number: u64, by: &str) -> Result<(), RecallError> {
    let (confirmed, place) = (named(by, node.clock.now())?, place_of(number)?);
    let mut txn = node.holdings.begin();
    let mut row = row(node, place)?;
    may_confirm(number, &row, &confirmed)?;
    let about = [("recall", number.to_string()), ("by", confirmed.by.clone())];
    row.confirmed = Some(confirmed);
    txn.replace_item(Partition::Own, Table::Recall, OURS, place, &encode("recall", &row)?)?;
    node.journal(&mut txn, "recall-confirmed", &about)?;
    txn.commit()?;
    Ok(())
}

/// What a person is shown who would confirm a recall; or why it cannot be confirmed by that one.
pub fn would_confirm(node: &Node, number: u64, by: &str) -> Result<Json, RecallError> {
    let (would, place) = (named(by, node.clock.now())?, place_of(number)?);
    let row = row(node, place)?;
    may_confirm(number, &row, &would)?;
    proposed(node, place, &row)
}

fn may_confirm(number: u64, row: &RecallRow, person: &Named) -> Result<(), RecallError> {
    if let Some(dropped) = &row.dropped {
        return Err(RecallError::Asked(format!("recall {number} was dropped by {}: propose it anew", dropped.by)));
    }
    if let Some(Named { by, at }) = &row.confirmed {
        return Err(RecallError::Confirmed { recall: number, by: by.clone(), at: *at });
    }
    if is_same_person(&row.proposed, person) {
        return Err(RecallError::SamePerson { who: row.proposed.by.clone(), recall: number });
    }
    Ok(())
}

fn is_same_person(a: &Named, b: &Named) -> bool {
    a.by.to_lowercase() == b.by.to_lowercase()
}

/// Drops a recall that was not confirmed.
pub fn drop_proposed(node: &Node, number: u64, by: &str) -> Result<Json, RecallError> {
    let (dropped, place) = (named(by, node.clock.now())?, place_of(number)?);
    let mut txn = node.holdings.begin();
    let mut row = row(node, place)?;
    if row.confirmed.is_some() {
        return Err(RecallError::Asked(format!("recall {number} is confirmed: what was asked back stays asked back")));
    }
    if row.dropped.is_none() {
        let about = [("recall", number.to_string()), ("by", dropped.by.clone())];
        row.dropped = Some(dropped);
        txn.replace_item(Partition::Own, Table::Recall, OURS, place, &encode("recall", &row)?)?;
        node.journal(&mut txn, "recall-dropped", &about)?;
        txn.commit()?;
    }
    Ok(view(place, &row))
}

/// Finishes what was confirmed and not finished: a node was stopped in between.
pub fn go_on(node: &Node) -> Result<(), RecallError> {
    let mut unfinished = Vec::new();
    each(&node.holdings, (Partition::Own, OURS), 0, &mut |place, row: RecallRow| {
        if row.confirmed.is_some() && row.done < row.pages {
            unfinished.push(place);
        }
        Ok(true)
    })?;
    unfinished.into_iter().try_for_each(|place| finish(node, place, &mut |_| {}))
}

/// One append for each page of records that is not done.
fn finish(node: &Node, place: u64, progress: OnProgress<'_>) -> Result<(), RecallError> {
    let parties = ever_parties(node)?;
    let forgotten = forgotten(node, &parties)?;
    loop {
        let mut txn = node.holdings.begin();
        // Read within the transaction: two who finish one recall do each page once.
        let mut row = row(node, place)?;
        if row.done >= row.pages {
            return Ok(());
        }
        progress(Progress { done: row.done * STEP as u64, total: Some(row.records) });
        let page = node.holdings.item(Partition::Own, Table::Recall, &records_scope(place), row.done)?;
        let records: Vec<RecordId> = decode("records", &page.ok_or(StoreError::Broken { at: row.done })?)?;
        let now = node.clock.now();
        let (mut held_back, mut asked) = (BTreeSet::new(), 0u64);
        for record in &records {
            let before = gate::state(node, *record)?;
            if before.recalled.is_some_and(|act| act >= row.act) {
                continue;
            }
            let released = before.released;
            let marked = GateRow { recalled: Some(row.act), ..before };
            txn.put(Partition::Own, Table::Gate, record.as_bytes(), &encode("gate", &marked)?)?;
            if released {
                // Decided anew, and withdrawn where feeds still go.
                txn.push(Partition::Own, Table::RecordList, RELEASE_LOG, record.as_bytes())?;
            }
            let shown = shown(node, (&parties, &forgotten), *record)?;
            held_back.extend(shown.goes);
            let onward = onward_of(node, *record, &shown.holders)?;
            let (recall, signed) = Recall::new(row.act, node.keys.org, *record, now).sign(&node.keys.records)?;
            for (partner, agreements) in shown.holders {
                let asks = (recall, *record, signed.clone());
                HolderRow::unanswered(asks, partner, agreements).add(&mut txn, place)?;
                asked += 1;
            }
            for (partner, (by, agreements)) in onward {
                let asks = (recall, *record, signed.clone());
                let holder = HolderRow::unanswered(asks, partner, agreements);
                HolderRow { through: Some(by), ..holder }.add(&mut txn, place)?;
            }
        }
        row.done += 1;
        txn.replace_item(Partition::Own, Table::Recall, OURS, place, &encode("recall", &row)?)?;
        let about = [
            ("recall", number_of(place).to_string()),
            ("records", records.len().to_string()),
            ("asked", asked.to_string()),
        ];
        node.journal(&mut txn, "recall", &about)?;
        txn.commit()?;
        // What is on its way to them is thrown away: the next session serves it as hashes.
        if !held_back.is_empty() {
            node.hold_back(held_back);
        }
        node.note_recalls();
        node.wake();
    }
}

/// A recall of ours as people and programs see it.
pub(super) fn view(place: u64, row: &RecallRow) -> Json {
    let state = match (&row.dropped, &row.confirmed) {
        (Some(_), _) => "dropped",
        (None, None) => "proposed",
        (None, Some(_)) if row.done < row.pages => "asking",
        (None, Some(_)) => "asked",
    };
    let who = |named: &Named| json!({ "by": named.by, "at": named.at.to_string() });
    json!({
        "id": number_of(place).to_string(),
        "act": row.act.name(),
        "state": state,
        "records": row.records,
        "reason": row.reason,
        "proposed": who(&row.proposed),
        "confirmed": row.confirmed.as_ref().map(who),
        "dropped": row.dropped.as_ref().map(who),
    })
}

/// Every recall of ours, oldest first.
pub fn list(node: &Node) -> Result<Json, RecallError> {
    let mut all = Vec::new();
    each(&node.holdings, (Partition::Own, OURS), 0, &mut |place, row: RecallRow| {
        let mut view = view(place, &row);
        let counts = super::holders::counts(node, place)?;
        if let Some(map) = view.as_object_mut() {
            map.insert("answers".to_owned(), json!(counts.by_state()));
            map.insert("open".to_owned(), json!(counts.open()));
        }
        all.push(view);
        Ok(true)
    })?;
    Ok(json!(all))
}

/// The recall that an answer of a partner is about.
pub(super) fn holder_of(
    node: &Node,
    recall: RecallId,
    partner: OrgId,
) -> Result<Option<(HolderAt, HolderRow)>, RecallError> {
    let at = node.holdings.get(Partition::Own, Table::Recall, &holder_key(recall, partner))?;
    let Some(at) = at.map(|at| decode::<HolderAt>("holder", &at)).transpose()? else { return Ok(None) };
    let row = node.holdings.item(Partition::Own, Table::Recall, &holders_scope(at.0), at.1)?;
    let row = decode("holder", &row.ok_or(StoreError::Broken { at: at.1 })?)?;
    Ok(Some((at, row)))
}
