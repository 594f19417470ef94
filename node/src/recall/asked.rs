//! What is asked of us: partners' recalls are verified, done, and answered.
//!
//! `exchange` comes here with a notice and says what comes back. A recall is taken at any time, whatever the standing of
//! an agreement: it marks the record as taken back in every partition that holds it, and deletes what it said where
//! that is asked and nobody holds on to it by law. The same recall again changes nothing, and gets its answer again.

use super::{ASKED, AskedRow, RecallError, asked_key, each, erase, hold, relay, retention};
use crate::{
    agreements,
    node::Node,
    onward::holding,
    partners::introduced::Shown,
    receive::{TakenBack, WithdrawnRow},
    records::{
        keep::KeepError,
        stored::{ReceivedRow, decode, encode},
    },
    room,
    seal::keyring::Partition,
    store::{layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::{Agreement, Obligation},
    cose::SignatureBytes,
    id::{AgreementId, OrgId, RecallId, RecordId},
    identity::Purpose,
    recall::{Act, Answer, AnswerState, Answers, Recall, Recalls},
    record::{Body, SlotSet},
};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// The key under which the newest recall of a record is found, in the partition of an agreement.
pub fn about_key(record: RecordId) -> Vec<u8> {
    [b"about".as_slice(), record.as_bytes()].concat()
}

/// Takes a notice of recalls from a partner, does what they ask, and gives our signed answers.
pub fn take(node: &Node, from: OrgId, content: &[u8]) -> Result<SignatureBytes, RecallError> {
    let Recalls { cards, recalls: mut signed } =
        Recalls::from_bytes(content).map_err(|fault| RecallError::Partner(fault.to_string()))?;
    // What stands in it twice is verified once.
    signed.sort();
    signed.dedup();
    let now = node.clock.now();
    if let Some(why) = room::lacking(node, from, room::For::Word)? {
        return Err(RecallError::Partner(why));
    }
    let book = node.book();
    let shown = Shown::read(&book, node.keys.org, &cards);
    let key = |org, kid, stated| shown.past_key(&book, org, (Purpose::Records, kid), now, stated);
    let (mut recalls, mut refused) = (Vec::with_capacity(signed.len()), None);
    for signed in signed {
        match Recall::verify(&signed, key) {
            Ok((id, recall)) => recalls.push((id, recall, signed)),
            // Of one that does not verify nothing is said, and the others are done.
            Err(fault) => refused = Some(fault.to_string()),
        }
    }
    if recalls.is_empty() {
        return Err(RecallError::Partner(refused.unwrap_or_default()));
    }
    // The stricter of two about one record comes last; an answer names each recall once.
    recalls.sort_by_key(|(id, recall, _)| (recall.record, recall.act, *id));
    recalls.dedup_by_key(|(id, ..)| *id);
    relay::pass_on(node, from, &recalls)?;
    let mut answers: Vec<Answer> =
        recalls.iter().map(|(recall, ..)| Answer { state: AnswerState::NotHeld, recall: *recall }).collect();
    for agreement in node.partitions() {
        for (answer, state) in answers.iter_mut().zip(in_partition(node, agreement, from, &recalls)?) {
            answer.state = match (answer.state, state) {
                (known, None) => known,
                (AnswerState::NotHeld, Some(state)) => state,
                (known, Some(state)) => known.max(state),
            };
        }
    }
    for (answer, (_, recall, _)) in answers.iter_mut().zip(&recalls) {
        // It is done whoever brings it; what is held is said to whom it concerns.
        answer.state = match relay::is_entitled(node, from, recall)? {
            true => relay::overall(node, (answer.recall, Some(recall.record)), answer.state)?,
            false => AnswerState::NotHeld,
        };
    }
    // Of what was never held nothing is kept, nor the card that verified it: it comes again with the recall.
    let held: BTreeSet<RecallId> =
        answers.iter().filter(|answer| answer.state != AnswerState::NotHeld).map(|answer| answer.recall).collect();
    let whose = |org| recalls.iter().any(|(id, recall, _)| recall.originator == org && held.contains(id));
    let mut txn = node.holdings.begin();
    if shown.keep(node, &mut txn, from, whose)? {
        txn.commit()?;
        node.reload()?;
    }
    Ok(Answers::new(node.keys.org, now, answers).sign(&node.keys.runs)?)
}

type Signed = (RecallId, Recall, SignatureBytes);

/// Does what recalls ask of one partition, in one append. For each, our answer, or none where the record is not held there.
fn in_partition(
    node: &Node,
    agreement: AgreementId,
    from: OrgId,
    recalls: &[Signed],
) -> Result<Vec<Option<AnswerState>>, RecallError> {
    let partition = Partition::Agreement(agreement);
    let mut txn = node.holdings.begin();
    let (mut states, mut doomed, mut fresh) = (Vec::with_capacity(recalls.len()), Vec::new(), 0u64);
    let mut receivers = None;
    for (id, recall, signed) in recalls {
        if let Some(at) = txn.get(partition, Table::Recall, &asked_key(*id))? {
            states.push(asked_at(&txn, partition, decode("recall", &at)?)?.map(|row| row.state));
            continue;
        }
        // Its originator takes it back, by its own word, whoever brings that.
        let held = erase::held(node, agreement, recall.record)?;
        let is_theirs = |row: &ReceivedRow| {
            Body::from_bytes(&row.body).is_ok_and(|body| body.header().originator == recall.originator)
        };
        let Some((place, row)) = held.filter(|(_, row)| is_theirs(row)) else {
            states.push(None);
            continue;
        };
        // As strict a word about it was taken already: it is answered alike, and nothing is written.
        if let Some((_, before)) = about(&txn, partition, recall.record)?
            && before.act >= recall.act
        {
            states.push(Some(before.state));
            continue;
        }
        let state = match (recall.act.deletes(), hold::is_held(&txn, partition, recall.record)?) {
            (true, _) if row.openings.is_empty() => AnswerState::Complied,
            // It said so before this was given, to whoever asks for it: it is taken back, and what it said stays.
            (true, _) if keeps(node, agreement, &row, recall.originator)? => AnswerState::Refused,
            (true, true) => AnswerState::LegalHold,
            (true, false) => {
                let from = row.giver().unwrap_or(from);
                doomed.push(erase::Doomed { record: recall.record, place, row, keep: SlotSet::EMPTY, from });
                AnswerState::Complied
            }
            (false, _) => AnswerState::Complied,
        };
        let withdrawn =
            WithdrawnRow { at: node.clock.now(), by: Some(TakenBack::Recalled(*id)), feed: None, number: 0 };
        txn.put(partition, Table::Withdrawn, recall.record.as_bytes(), &encode("withdrawal", &withdrawn)?)?;
        holding::reconsider(node, &mut txn, recall.record, &mut receivers)?;
        let asked = AskedRow {
            at: node.clock.now(),
            act: recall.act,
            from,
            state,
            recall: *id,
            record: recall.record,
            signed: signed.clone(),
        };
        let bytes = encode("recall", &asked)?;
        let place = txn.push(partition, Table::Recall, ASKED, &bytes)?;
        let at = encode("recall", &place)?;
        txn.put(partition, Table::Recall, &asked_key(*id), &at)?;
        // The strictest of all that was asked about it is what lifting a hold goes by.
        txn.put(partition, Table::Recall, &about_key(recall.record), &at)?;
        room::fill(&mut txn, from, bytes.len() as u64 + room::WITHDRAWAL_BYTES)?;
        states.push(Some(state));
        fresh += 1;
    }
    if fresh == 0 {
        return Ok(states);
    }
    let leftovers = erase::erase(node, &mut txn, agreement, &doomed)?;
    let about = [
        ("agreement", agreement.to_string()),
        ("partner", from.to_string()),
        ("records", fresh.to_string()),
        ("deleted", doomed.len().to_string()),
    ];
    node.journal(&mut txn, "recall-taken", &about)?;
    // Before the append: where it fails, all of it is done again.
    leftovers.discard(node, agreement)?;
    txn.commit()?;
    receivers.into_iter().for_each(|receivers| node.hold_back(receivers));
    Ok(states)
}

/// Whether the version under which a record came says that this organisation deletes nothing that is recalled. It binds
/// whoever signed it: an originator of whom the record came by another's hand is no party, and agreed to nothing.
fn keeps(node: &Node, agreement: AgreementId, row: &ReceivedRow, originator: OrgId) -> Result<bool, RecallError> {
    let versions = agreements::versions(&node.holdings, agreement)?;
    let version = retention::version_of(node, agreement, row)?.and_then(|digest| versions.get(&digest));
    let declines = |v: &Agreement| v.declines(node.keys.org, Obligation::EraseWhenRecalled);
    Ok(version.is_some_and(|version| version.party(originator).is_some() && declines(version)))
}

fn asked_at(txn: &Txn<'_>, partition: Partition, place: u64) -> Result<Option<AskedRow>, RecallError> {
    let row = txn.item(partition, Table::Recall, ASKED, place)?;
    Ok(row.map(|row| decode("recall", &row)).transpose()?)
}

/// Answers that were given, signed again as they stand now. What is held under several agreements is answered once.
pub fn answers(node: &Node, given: &[Answer]) -> Result<SignatureBytes, RecallError> {
    let mut answers = given.to_vec();
    answers.sort_by_key(|answer| answer.recall);
    answers.dedup_by_key(|answer| answer.recall);
    for answer in &mut answers {
        let (mut now, mut record) = (None, None);
        for agreement in node.partitions() {
            let partition = Partition::Agreement(agreement);
            let at = node.holdings.get(partition, Table::Recall, &asked_key(answer.recall))?;
            let Some(at) = at.map(|at| decode("recall", &at)).transpose()? else { continue };
            let row = node.holdings.item(partition, Table::Recall, ASKED, at)?;
            if let Some(row) = row.map(|row| decode::<AskedRow>("recall", &row)).transpose()? {
                (now, record) = (now.max(Some(row.state)), Some(row.record));
            }
        }
        answer.state = relay::overall(node, (answer.recall, record), now.unwrap_or(answer.state))?;
    }
    Ok(Answers::new(node.keys.org, node.clock.now(), answers).sign(&node.keys.runs)?)
}

/// The newest recall of a record, with its place, within the transaction that may change it.
pub(super) fn about(
    txn: &Txn<'_>,
    partition: Partition,
    record: RecordId,
) -> Result<Option<(u64, AskedRow)>, RecallError> {
    let Some(at) = txn.get(partition, Table::Recall, &about_key(record))? else { return Ok(None) };
    let place: u64 = decode("recall", &at)?;
    Ok(asked_at(txn, partition, place)?.map(|row| (place, row)))
}

/// What was to be deleted and was held is deleted: the answers say so from now on. Which ones, and to whom.
pub(super) fn let_go(
    node: &Node,
    txn: &mut Txn<'_>,
    agreement: AgreementId,
    record: RecordId,
) -> Result<Vec<(OrgId, Answer)>, RecallError> {
    let partition = Partition::Agreement(agreement);
    let mut held = Vec::new();
    each(&node.holdings, (partition, ASKED), 0, &mut |place, row: AskedRow| {
        if row.record == record && row.state == AnswerState::LegalHold {
            held.push((place, row));
        }
        Ok(true)
    })?;
    let mut told = Vec::with_capacity(held.len());
    for (place, row) in held {
        let row = AskedRow { state: AnswerState::Complied, ..row };
        told.push((row.from, Answer { state: row.state, recall: row.recall }));
        txn.replace_item(partition, Table::Recall, ASKED, place, &encode("recall", &row)?)?;
    }
    Ok(told)
}

/// What was asked about a received record, for people.
pub fn act_on(node: &Node, agreement: AgreementId, record: RecordId) -> Result<Option<Act>, KeepError> {
    let partition = Partition::Agreement(agreement);
    let Some(at) = node.holdings.get(partition, Table::Recall, &about_key(record))? else { return Ok(None) };
    let row = node.holdings.item(partition, Table::Recall, ASKED, decode("recall", &at)?)?;
    Ok(row.map(|row| decode::<AskedRow>("recall", &row)).transpose()?.map(|row| row.act))
}

/// How much a partner asked of us.
pub fn count(node: &Node, partner: OrgId) -> Result<usize, RecallError> {
    let mut count = 0;
    for agreement in node.partitions() {
        each(&node.holdings, (Partition::Agreement(agreement), ASKED), 0, &mut |_, row: AskedRow| {
            count += usize::from(row.from == partner);
            Ok(true)
        })?;
    }
    Ok(count)
}

/// Everything that partners asked of us, by agreement, oldest first.
pub fn list(node: &Node) -> Result<Json, RecallError> {
    let mut all = Vec::new();
    for agreement in node.partitions() {
        each(&node.holdings, (Partition::Agreement(agreement), ASKED), 0, &mut |_, row: AskedRow| {
            all.push(json!({
                "id": format!("{}@{agreement}", row.recall),
                "record": row.record.to_string(),
                "act": row.act.name(),
                "partner": node.handle_of(row.from),
                "agreement": agreement.to_string(),
                "at": row.at.to_string(),
                "answer": row.state.name(),
            }));
            Ok(true)
        })?;
    }
    Ok(json!(all))
}
