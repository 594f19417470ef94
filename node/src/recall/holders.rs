//! Whom a recall was said to, what each answered, and who has not.
//!
//! `exchange` asks [`to_say`] what a partner is still to be told, and brings its answers to [`answered`]. A recall is
//! said again in each session until the answer is one for good; nothing is taken as done because nobody objected.

use super::{
    ANSWERS, AnswerRow, HolderAt, HolderRow, RecallError, asking, each, ending, first_key, holders_scope, relay,
    to_scope,
};
use crate::{
    node::Node,
    partners::PartnerState,
    records::stored::{ReleasedRow, decode, encode, record_in_feed},
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::SignatureBytes,
    id::{AgreementDigest, OrgId},
    identity::Purpose,
    limits,
    recall::{AnswerState, Answers, Recalls},
    time::{HOUR_MS, UnixMillis},
};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Rows looked at for one notice.
const LOOKED_AT: usize = 8 * limits::RECALLS_PER_NOTICE_MAX;
/// Holders that one listing names one by one.
const LISTED_MAX: usize = 1_000;

/// The key of the time since when a partner is asked again about all of it: it put an older copy of its store back.
pub fn again_key(partner: OrgId) -> Vec<u8> {
    [b"again".as_slice(), partner.as_bytes()].concat()
}

fn again(node: &Node, partner: OrgId) -> Result<UnixMillis, RecallError> {
    let row = node.holdings.get(Partition::Own, Table::Recall, &again_key(partner))?;
    Ok(UnixMillis(row.and_then(|row| <[u8; 8]>::try_from(row).ok()).map_or(0, u64::from_be_bytes)))
}

/// A partner shows less than it had countersigned: what it did with our recalls since may be undone. All are said again.
pub fn ask_again(node: &Node, partner: OrgId) -> Result<(), RecallError> {
    let mut txn = node.holdings.begin();
    if txn.count(Partition::Own, Table::Recall, &to_scope(partner))? == 0 {
        return Ok(());
    }
    let now = node.clock.now();
    // Whoever shows an old head again and again has us write once an hour.
    if now.0.saturating_sub(again(node, partner)?.0) < AGAIN_MS {
        return Ok(());
    }
    txn.put(Partition::Own, Table::Recall, &again_key(partner), &now.0.to_be_bytes())?;
    txn.put(Partition::Own, Table::Recall, &first_key(partner), &0u64.to_be_bytes())?;
    node.journal(&mut txn, "recalls-said-again", &[("partner", partner.to_string())])?;
    txn.commit()?;
    node.note_recalls();
    Ok(())
}

/// How far an answer goes: none takes back one that went further.
pub(super) fn rank(state: Option<AnswerState>) -> u8 {
    match state {
        None => 0,
        Some(AnswerState::Waiting) => 1,
        Some(AnswerState::LegalHold) => 2,
        Some(AnswerState::Complied | AnswerState::NotHeld | AnswerState::Refused) => 3,
    }
}

/// How often a partner is asked anew at the most.
const AGAIN_MS: u64 = HOUR_MS;

/// Whether nothing more is to be said about it: there is an answer for good, given since the partner was last asked anew.
fn is_settled(row: &HolderRow, again: UnixMillis) -> bool {
    row.state.is_some_and(AnswerState::is_final) && row.answered.is_some_and(|at| at > again)
}

fn first(node: &Node, partner: OrgId) -> Result<u64, RecallError> {
    let row = node.holdings.get(Partition::Own, Table::Recall, &first_key(partner))?;
    Ok(row.and_then(|row| <[u8; 8]>::try_from(row).ok()).map_or(0, u64::from_be_bytes))
}

fn holder_at(node: &Node, at: HolderAt) -> Result<HolderRow, RecallError> {
    let row = node.holdings.item(Partition::Own, Table::Recall, &holders_scope(at.0), at.1)?;
    Ok(decode("holder", &row.ok_or(StoreError::Broken { at: at.1 })?)?)
}

/// What is next to be said to a partner, from a place of its list on, and the place after it; nothing where none is left.
/// Where it is passed on, its originator's card goes with it: the partner may never have met that one.
pub fn to_say(node: &Node, partner: OrgId, from: u64) -> Result<(Option<Recalls>, u64), RecallError> {
    let again = again(node, partner)?;
    let (mut say, mut next, mut looked) = (Vec::new(), from.max(first(node, partner)?), 0);
    // What is said together is answered under one signature, which goes to whose recalls they are, and to nobody else.
    let mut origin = None;
    each(&node.holdings, (Partition::Own, &to_scope(partner)), next, &mut |n, at: HolderAt| {
        let row = holder_at(node, at)?;
        if !is_settled(&row, again) && *origin.get_or_insert(row.origin) != row.origin {
            return Ok(false);
        }
        (next, looked) = (n + 1, looked + 1);
        if !is_settled(&row, again) {
            say.push(row.signed);
        }
        Ok(say.len() < limits::RECALLS_PER_NOTICE_MAX && (looked < LOOKED_AT || say.is_empty()))
    })?;
    if say.is_empty() {
        return Ok((None, next));
    }
    let book = node.book();
    let card = origin.flatten().and_then(|origin| book.card(origin));
    let cards = card.map(|card| ByteBuf::from(card.bytes().to_vec())).into_iter().collect();
    Ok((Some(Recalls { cards, recalls: say }), next))
}

/// Records that a partner was asked about: those without any answer, and those without one for good.
pub fn open_with(node: &Node, partner: OrgId) -> Result<(u64, u64), RecallError> {
    let (mut unanswered, mut open, again) = (0, 0, again(node, partner)?);
    let from = first(node, partner)?;
    each(&node.holdings, (Partition::Own, &to_scope(partner)), from, &mut |_, at: HolderAt| {
        let row = holder_at(node, at)?;
        unanswered += u64::from(row.state.is_none());
        open += u64::from(!is_settled(&row, again));
        Ok(true)
    })?;
    Ok((unanswered, open))
}

/// Whether the partner may still come to hold the record: a run with it is on its way, or was. Where the agreement was
/// over before this session began to ask, the partner was told so first, and takes no run under it any more; nor where it
/// has erased what came under it, over for both or not.
fn may_arrive(node: &Node, row: &HolderRow, began: UnixMillis) -> Result<bool, RecallError> {
    for agreement in &row.agreements {
        let over = ending::over_since(node, *agreement).is_some_and(|since| since < began);
        if over || ending::is_erased_by(node, *agreement, row.partner)? {
            continue;
        }
        let feed = feeds::outgoing(node, row.partner, *agreement);
        let released = node.holdings.get(Partition::Own, Table::Release, &record_in_feed(row.record, feed.id()))?;
        let Some(released) = released.map(|r| decode::<ReleasedRow>("release", &r)).transpose()? else { continue };
        let out = feeds::out_row(node, &feed, AgreementDigest::from_bytes([0; 32]))?;
        if out.countersigned.is_none_or(|held| held.length <= released.number) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As [`answered`], from the content of a notice.
pub fn heard(node: &Node, partner: OrgId, content: &[u8], began: UnixMillis) -> Result<u64, RecallError> {
    let signed = SignatureBytes::from_bytes(content, limits::CONTROL_FRAME_BYTES_MAX);
    answered(node, partner, &signed.map_err(|fault| RecallError::Partner(fault.to_string()))?, began)
}

/// Takes a partner's signed answers. What it was not asked changes nothing; of two answers to one recall a later one for
/// good counts, and none takes back one for good. `began`: when the session began to ask.
pub fn answered(node: &Node, partner: OrgId, signed: &SignatureBytes, began: UnixMillis) -> Result<u64, RecallError> {
    let now = node.clock.now();
    let book = node.book();
    let key = |kid, stated| book.past_key(partner, Purpose::Runs, kid, now, stated);
    let answers = Answers::verify(signed, partner, key).map_err(|fault| RecallError::Partner(fault.to_string()))?;
    let mut txn = node.holdings.begin();
    let (mut taken, again) = (0, again(node, partner)?);
    let mut origins = BTreeSet::new();
    for answer in &answers.answers {
        let Some((at, mut row)) = asking::holder_of(node, answer.recall, partner)? else { continue };
        // Asked anew, it may answer as if for the first time; what it answered before that, on a stick that lay somewhere,
        // is no answer.
        let since = answers.time.plus(limits::CLOCK_SKEW_MS_MAX) > again;
        let anew = row.answered.is_some_and(|at| at <= again) && since;
        // It holds it by another's hand: what it says of that, the other brings.
        if row.through.is_some() {
            continue;
        }
        if is_settled(&row, again) || !since || (!anew && rank(Some(answer.state)) <= rank(row.state)) {
            continue;
        }
        // Said before the run came that brings it: it is asked again.
        if answer.state == AnswerState::NotHeld && may_arrive(node, &row, began)? {
            continue;
        }
        (row.state, row.answered) = (Some(answer.state), Some(now));
        origins.extend(row.origin);
        txn.replace_item(Partition::Own, Table::Recall, &holders_scope(at.0), at.1, &encode("holder", &row)?)?;
        taken += 1;
    }
    if taken == 0 {
        return Ok(0);
    }
    let row = AnswerRow { at: now, holder: partner, signed: signed.clone() };
    txn.push(Partition::Own, Table::Recall, ANSWERS, &encode("answers", &row)?)?;
    let about = [("partner", partner.to_string()), ("answers", taken.to_string())];
    node.journal(&mut txn, "recall-answered", &about)?;
    relay::bring(node, &mut txn, partner, signed, &origins)?;
    settle(node, &mut txn, partner)?;
    txn.commit()?;
    if !origins.is_empty() {
        node.wake();
    }
    Ok(taken)
}

/// Moves the place from which something is still to be said to a partner past what is settled.
fn settle(node: &Node, txn: &mut Txn<'_>, partner: OrgId) -> Result<(), RecallError> {
    let (begin, again) = (first(node, partner)?, again(node, partner)?);
    let mut next = begin;
    each(&node.holdings, (Partition::Own, &to_scope(partner)), begin, &mut |n, at: HolderAt| {
        let row = txn.item(Partition::Own, Table::Recall, &holders_scope(at.0), at.1)?;
        let row: HolderRow = decode("holder", &row.ok_or(StoreError::Broken { at: at.1 })?)?;
        let settled = is_settled(&row, again);
        if settled {
            next = n + 1;
        }
        Ok(settled)
    })?;
    if next != begin {
        txn.put(Partition::Own, Table::Recall, &first_key(partner), &next.to_be_bytes())?;
    }
    Ok(())
}

/// How many holders of a recall stand where.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<Option<AnswerState>, u64>);

impl Counts {
    /// By the name of the state; who has not answered is `asked`.
    pub fn by_state(&self) -> BTreeMap<&'static str, u64> {
        self.0.iter().map(|(state, n)| (state.map_or("asked", AnswerState::name), *n)).collect()
    }
    /// Those of whom an answer for good is still to come.
    pub fn open(&self) -> u64 {
        self.0.iter().filter(|(state, _)| !state.is_some_and(AnswerState::is_final)).map(|(_, n)| n).sum()
    }
}

/// Where the holders of a recall stand.
pub fn counts(node: &Node, place: u64) -> Result<Counts, RecallError> {
    let mut counts = Counts::default();
    each(&node.holdings, (Partition::Own, &holders_scope(place)), 0, &mut |_, row: HolderRow| {
        *counts.0.entry(row.state).or_default() += 1;
        Ok(true)
    })?;
    Ok(counts)
}

/// A recall with each holder: who has done it, who refused, who holds on by law, and who has not confirmed.
pub fn status(node: &Node, number: u64) -> Result<Json, RecallError> {
    let place = asking::place_of(number)?;
    let row = asking::row(node, place)?;
    if row.confirmed.is_none() && row.dropped.is_none() {
        return asking::proposed(node, place, &row);
    }
    let mut view = asking::view(place, &row);
    let mut holders: BTreeMap<OrgId, (Counts, Option<OrgId>)> = BTreeMap::new();
    let (mut open, mut more) = (Vec::new(), 0u64);
    let book = node.book();
    each(&node.holdings, (Partition::Own, &holders_scope(place)), 0, &mut |_, row: HolderRow| {
        let holder = holders.entry(row.partner).or_default();
        *holder.0.0.entry(row.state).or_default() += 1;
        holder.1 = row.through;
        if row.state == Some(AnswerState::Complied) {
            return Ok(true);
        }
        if open.len() >= LISTED_MAX {
            more += 1;
            return Ok(true);
        }
        let agreements: Vec<String> = row.agreements.iter().map(ToString::to_string).collect();
        open.push(json!({
            "id": format!("{}@{}", row.record, row.partner),
            "record": row.record.to_string(),
            "partner": node.handle_of(row.partner),
            "through": row.through.map(|by| node.handle_of(by)),
            "state": row.state.map_or("asked", AnswerState::name),
            "answered": row.answered.map(|at| at.to_string()),
            "agreements": agreements,
        }));
        Ok(true)
    })?;
    let (mut all, mut total) = (Counts::default(), Vec::new());
    for (partner, (counts, through)) in holders {
        let removed = through.is_none() && book.get(partner).is_none_or(|p| p.state == PartnerState::Removed);
        total.push(json!({
            "id": partner.to_string(),
            "handle": node.handle_of(partner),
            "answers": counts.by_state(),
            "open": counts.open(),
            // Who passed it on, and asks it for us.
            "through": through.map(|by| node.handle_of(by)),
            // It cannot be told by this node any more: people tell it.
            "removed": removed,
        }));
        for (state, n) in counts.0 {
            *all.0.entry(state).or_default() += n;
        }
    }
    if let Some(map) = view.as_object_mut() {
        map.insert("answers".to_owned(), json!(all.by_state()));
        map.insert("open".to_owned(), json!(all.open()));
        map.insert("holders".to_owned(), json!(total));
        map.insert("not_complied".to_owned(), json!(open));
        map.insert("not_listed".to_owned(), json!(more));
    }
    Ok(view)
}
