//! `entente review` and `entente release`: the two steps of people before anything leaves.

use super::{
    output::{Done, Failure, note},
    reach::Reach,
    show::{list, short, text},
    table::{Look, Table, pairs},
};
use crate::{
    call::{Call, Selection},
    cli::{self, Filter, ReviewState},
    error::Fault,
    records::{gate::Review, search::Query},
};
use serde_json::Value as Json;

/// Sets a review state.
pub fn review(reach: &Reach, args: cli::Review) -> Result<Done, Failure> {
    let all = args.all_drafts.then_some(Selection::AllDrafts);
    let records = selection(args.ids, all, "--all-drafts", args.filter)?;
    let state = match (args.state, args.stage) {
        (_, Some(stage)) => {
            let outcome = reach.call_watched(&Call::Stage { records, stage: stage.clone() })?;
            return show(reach, &outcome, &stage);
        }
        (Some(ReviewState::Reviewed) | None, None) => Review::Reviewed,
        (Some(ReviewState::Verified), None) => Review::Verified,
        (Some(ReviewState::Refuted), None) => Review::Refuted,
    };
    let outcome = reach.call_watched(&Call::Review { records, state })?;
    show(reach, &outcome, state.name())
}

/// Releases.
pub fn release(reach: &Reach, args: cli::Release) -> Result<Done, Failure> {
    let all = args.all_reviewed.then_some(Selection::AllReviewed);
    let records = selection(args.ids, all, "--all-reviewed", args.filter)?;
    let named = matches!(records, Selection::Ids(_));
    let outcome = reach.call_watched(&Call::Release(records))?;
    let none = ["changed", "unchanged"].iter().all(|key| text(&outcome, key) == "0");
    if !named && none && list(&outcome, "refused").is_empty() {
        let message = "nothing was released, for no record fits: what waits for its review is listed by \
            `entente search --state draft`, and what was released before needs no second release";
        reach.output.answer(&outcome, || render(&outcome, "released", reach.output.look))?;
        return Err(Fault::input("nothing", message).into());
    }
    show(reach, &outcome, "released")
}

/// Exactly one way of naming records: two at once would leave open whether both or either is meant.
fn selection(ids: Vec<String>, all: Option<Selection>, flag: &str, filter: Filter) -> Result<Selection, Fault> {
    let query = query(filter.clone());
    match (ids.is_empty(), all, filter == Filter::default()) {
        (false, None, true) => Ok(Selection::Ids(ids)),
        (true, Some(all), true) => Ok(all),
        (true, None, false) => Ok(Selection::Found(query)),
        (true, None, true) => {
            let message = format!(
                "which records? name them by id or evidence number, or give {flag}, or a query such as --kind item"
            );
            Err(Fault::input("no-records", message))
        }
        _ => Err(Fault::input("records", format!("give ids, or {flag}, or a query, and not two of them at once"))),
    }
}

/// The query of flags.
pub fn query(filter: Filter) -> Query {
    let Filter { serial, kind, country, from, until, number } = filter;
    Query { serial, number, kind, country, from, until, state: None, own: None, limit: None }
}

fn show(reach: &Reach, outcome: &Json, done: &str) -> Result<Done, Failure> {
    let count = |key| text(outcome, key) != "0";
    let refused = list(outcome, "refused");
    if let (false, false, Some(first)) = (count("changed"), count("unchanged"), refused.first())
        && done != "released"
    {
        let why = text(first, "why");
        let message = format!("none of {} could be passed as `{done}`: {why}", refused.len());
        let code = if why.starts_with("four eyes") { "four-eyes" } else { "not-passed" };
        return Err(Fault::input(code, message).into());
    }
    reach.output.answer(outcome, || render(outcome, done, reach.output.look))?;
    match (count("changed"), count("unchanged"), list(outcome, "refused").len()) {
        (false, false, refused @ 1..) => {
            let why = list(outcome, "refused").first().map(|record| text(record, "why")).unwrap_or_default();
            let message = format!("none of {refused} may be released yet, and nothing was: {why}");
            Err(Fault::input("not-reviewed", message).into())
        }
        (false, _, 0) if !reach.output.json => {
            note("nothing to do: no record was named, or all were there already");
            Ok(Done::Well)
        }
        _ => Ok(Done::Well),
    }
}

fn render(outcome: &Json, done: &str, look: Look) -> String {
    let mut lines = vec![(done, text(outcome, "changed")), ("already", text(outcome, "unchanged"))];
    let stay = text(outcome, "stay");
    if !matches!(stay.as_str(), "" | "0") {
        lines.push(("left as they are", format!("{stay} (verified or refuted: name them by id to change that)")));
    }
    let mut out = pairs(lines, look);
    for recall in list(outcome, "recalls") {
        out.push_str(&format!(
            "\nNo withdrawal goes to some who were given it, for nothing passes to them now: recall {recall} is proposed. \
             Look at it, `entente recall status {recall}`; another person confirms it, `entente recall confirm {recall} --by NAME`.\n"
        ));
    }
    let mut refused = Table::new(&["refused", "why"]);
    for record in list(outcome, "refused") {
        refused.row([short(&text(record, "id")), text(record, "why")]);
    }
    if !refused.is_empty() {
        out.push('\n');
        out.push_str(&refused.render(look));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::gate::{GateOutcome, NotYet};

    #[test]
    fn records_are_named_in_exactly_one_way() -> Result<(), Fault> {
        let one = || vec!["CAR-1".to_owned()];
        let kind = || Filter { kind: Some("item".to_owned()), ..Filter::default() };
        let all = || Some(Selection::AllDrafts);
        let given = |ids, all, filter| selection(ids, all, "--all-drafts", filter);
        assert_eq!(given(one(), None, Filter::default())?, Selection::Ids(one()));
        assert_eq!(given(vec![], all(), Filter::default())?, Selection::AllDrafts);
        assert!(matches!(given(vec![], None, kind())?, Selection::Found(q) if q.kind.as_deref() == Some("item")));
        let code = |result: Result<Selection, Fault>| result.err().map(|f| f.code);
        assert_eq!(code(given(vec![], None, Filter::default())).as_deref(), Some("no-records"));
        for two in [given(one(), all(), Filter::default()), given(one(), None, kind()), given(vec![], all(), kind())] {
            assert_eq!(code(two).as_deref(), Some("records"));
        }
        Ok(())
    }

    #[test]
    fn what_was_refused_is_named_with_its_reason() {
        let outcome = GateOutcome {
            stay: 0,
            changed: 2,
            unchanged: 1,
            refused: vec![NotYet { id: "0123456789ab".to_owned(), why: "draft".to_owned() }],
            recalls: vec![3],
            sign: Vec::new(),
        };
        let text = render(&serde_json::json!(outcome), "released", Look::default());
        assert!(text.contains("released  2\n") && text.contains("01234567  draft"), "{text}");
        assert!(text.contains("`entente recall confirm 3 --by NAME`"), "{text}");
    }
}
