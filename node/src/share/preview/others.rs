//! What would go on of others' records: asked of what is held and a grant lets go to the partner, as the outbox would.

use super::{Answer, Asking, Counted, OTHERS, stays_by};
use crate::{
    call::{OnProgress, Progress},
    node::Rules,
    onward::holding::{self, Holding},
    records::stored::ReleasedRow,
    seal::keyring::Partition,
    share::{ShareError, decide},
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    id::RecordId,
    record::{Reference, SlotSet},
};
use std::collections::HashSet;

/// Rows of one look at the list.
const PAGE: usize = 512;

impl Asking<'_> {
    /// Each record once, in the order in which grants and records came, with its place in their list.
    pub(super) fn granted(&self) -> Result<Vec<(u64, RecordId)>, ShareError> {
        let (mut all, mut known, mut after) = (Vec::new(), HashSet::new(), None);
        let log = holding::log(self.feed.receiver);
        loop {
            let page = self.node.holdings.list(Partition::Own, Table::RecordList, &log, after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(*last);
            for (place, id) in page {
                let record = RecordId::from_slice(&id).ok_or(StoreError::Broken { at: place })?;
                if known.insert(record) {
                    all.push((place, record));
                }
            }
        }
    }

    /// Asks about every record of others that is held and was granted.
    pub(super) fn others(
        &mut self,
        all: Vec<(u64, RecordId)>,
        before: u64,
        progress: OnProgress<'_>,
    ) -> Result<(), ShareError> {
        let rules = self.node.rules();
        let mut shown = HashSet::new();
        let total = Some(before + all.len() as u64);
        // One that goes may let another name it; each turn sees more, or is the last.
        loop {
            let mut more = false;
            for (turn, (_, id)) in (1..).zip(&all) {
                if !shown.contains(id)
                    && let Some(held) = holding::held(self.node, &rules, *id, self.feed.receiver)?
                    && matches!(self.others_answer(&rules, &held, &shown)?, Answer::Leaves(_))
                {
                    shown.insert(*id);
                    more = true;
                }
                if turn % super::TOLD_EVERY == 0 {
                    progress(Progress { done: before + turn, total });
                }
            }
            if !more {
                break;
            }
        }
        for (place, id) in all {
            let Some(held) = holding::held(self.node, &rules, id, self.feed.receiver)? else { continue };
            let answer = self.others_answer(&rules, &held, &shown)?;
            let header = held.verified.header();
            let of = Some(header.originator);
            self.count(Counted { place: OTHERS + place, record: id, kind: header.kind, of }, answer)?;
        }
        Ok(())
    }

    fn others_answer(&self, rules: &Rules, held: &Holding, shown: &HashSet<RecordId>) -> Result<Answer, ShareError> {
        let was_shown = |record: &RecordId| -> Result<bool, ShareError> {
            let row = decide::released(self.node, *record, self.feed.id())?;
            Ok(shown.contains(record) || row.as_ref().is_some_and(ReleasedRow::was_shown))
        };
        let target = |line: &Reference| -> Result<bool, ShareError> {
            for record in holding::of_line(self.node, held.agreement, line)? {
                if was_shown(&record)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let referable: SlotSet = held.referable_where(|before| Ok(shown.contains(&before)), target)?;
        let policy = &self.supposed.policy;
        let explanation =
            held.ask(rules, &self.feed, (referable, self.supposed.now), |question| policy.explain(question));
        Ok(match explanation.withheld {
            Some(withheld) => Answer::Stays(stays_by(withheld)),
            None => Answer::Leaves(explanation),
        })
    }
}
