//! Drafts that are refused: with which words, at which line, and with everything that is wrong at once.

use super::{examples, parse};
use std::collections::BTreeSet;

/// The first example with one change must be refused with these words, at the line where the change stands.
#[track_caller]
fn refused(from: &str, to: &str, key: &str, says: &str) {
    let text = examples("language")[0];
    assert!(text.contains(from), "`{from}` is not in the example");
    let changed = text.replacen(from, to, 1);
    let error = parse(&changed).expect_err(says);
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.key, key, "{error}");
    // The line holds the key, or begins the table in which the key is missing.
    let last = error.key.rsplit('.').next().unwrap().split('[').next().unwrap();
    let line = changed.lines().nth(error.line - 1).unwrap();
    assert!(line.contains(last) || line.starts_with("[["), "{error}: `{line}`");
}

#[test]
fn errors_name_line_and_key() {
    refused("notice-days", "notice-dayz", "notice-dayz", "unknown key");
    refused("language = 1", "language = 2", "language", "out of range");
    refused("title =", "title", "", "not TOML");
    refused("from = \"2026-01-01\"", "from = \"2026-02-30\"", "from", "not a day");
    refused("handle = \"panel\"", "handle = \"Panel\"", "clause[1].to[1]", "no party");
    refused("retention-days = 730\n", "retention-days = \"long\"\n", "clause[1].retention-days", "this is a string");
    refused("\"never\"", "\"sometimes\"", "clause[1].onward", "no onward rule");
    refused("\"calibre\"", "\"caliber\"", "clause[1].disclose.item[7]", "has no field `caliber`");
    let at = "clause[1].disclose.item[7]";
    refused("\"calibre\"", "\"@people\"", at, "has no class of fields `@people`; use some of @serial, @maker, or name");
    refused("\"calibre\"", "\"@person\"", at, "has no class of fields `@person`; use some of @serial, @maker, or name");
    refused("\"calibre\"", "\"@place\"", at, "has no class of fields `@place`");
    refused("\"calibre\"", "\"@maker\"", at, "`make` stands twice; name each field once");
    refused("disclose.event", "disclose.evnt", "clause[1].disclose.evnt", "no kind of record");
    refused("\"thumbnail\"", "\"thumb\"", "clause[2].files", "no role of a file");
    refused("{ match = 200 }", "{ match = 0 }", "clause[5].duty.match", "out of range");
    refused("{ match = 200 }", "\"answer\"", "clause[5].duty", "no duty");
}

/// What the body's own format would refuse as well is told here, at its line and with what to do.
#[test]
fn days_versions_and_clauses_are_told_at_their_line() {
    refused("until = \"2028-12-31\"", "until = \"2025-12-31\"", "until", "it ends before it begins; write a day");
    refused("version = 1", "version = 7", "version", "version 7 replaces one, and none is named");
    let both = format!("version = 1\npredecessor = \"{}\"", "ab".repeat(32));
    refused("version = 1", &both, "predecessor", "version 1 replaces no other; leave");
    refused(
        "name = \"photographs-to-panel\"",
        "name = \"items-to-panel\"",
        "clause[2].name",
        "is the name of clause 1 too; give",
    );
    refused("to = [\"panel\"]", "to = [\"car\"]", "clause[1].to", "who gives is among those who receive; name");
    let clause = |n: usize| {
        format!(
            "\n[[clause]]\nname = \"c{n}\"\nfrom = \"car\"\nto = [\"panel\"]\nonward = \"never\"\nretention-days = 3\n\
             disclose.item = [\"number\"]\n"
        )
    };
    let many = examples("language")[0].to_owned() + &(0..1_000).map(clause).collect::<String>();
    let error = parse(&many).expect_err("a thousand clauses");
    assert!(
        error.to_string().contains("clauses; write 1 to 256; what is more goes into a second agreement"),
        "{error}"
    );
    assert!(many.lines().nth(error.line - 1).is_some_and(|line| line.starts_with("[[clause]]")), "{error}");
}

/// Story: a draft has faults in several clauses, unknown words and things that are missing. Whoever wrote it is told of
/// all of them at once, in the order of the text, and of none that only follows from another.
#[test]
fn every_fault_of_a_draft_is_told_at_once() {
    let text = examples("language")[0]
        .replacen("title =", "titel =", 1)
        .replacen("from = \"2026-01-01\"", "from = \"2026-02-30\"", 1)
        .replacen("\"never\"", "\"sometimes\"", 1)
        .replacen("\"calibre\"", "\"caliber\"", 1)
        .replacen("{ match = 200 }", "{ match = 0 }", 1);
    let error = parse(&text).expect_err("five faults");
    let all: Vec<(usize, &str)> =
        std::iter::once(&error).chain(&error.more).map(|fault| (fault.line, fault.key.as_str())).collect();
    let keys: Vec<&str> = all.iter().map(|(_, key)| *key).collect();
    let expected = ["titel", "from", "clause[1].onward", "clause[1].disclose.item[7]", "clause[5].duty.match", "title"];
    assert_eq!(keys.iter().collect::<BTreeSet<_>>(), expected.iter().collect::<BTreeSet<_>>(), "{error}");
    assert_eq!(keys.last(), Some(&"title"), "what is missing comes last: {error}");
    assert!(all.windows(2).take(all.len() - 2).all(|pair| pair[0].0 <= pair[1].0), "{error}");
    assert_eq!(error.to_string().lines().count(), 6);
    // Rules of two clauses, found once the text reads.
    let text = examples("language")[0].replacen("\"stripped\", ", "\"original\", ", 1).replacen(
        "\"place-cell\"",
        "\"place-cell\", \"place-name\"",
        1,
    );
    let error = parse(&text).expect_err("two faults");
    assert_eq!((error.key.as_str(), error.more.len()), ("clause[1].disclose.event", 1), "{error}");
    assert_eq!(error.more[0].key, "clause[2].files");
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let place = "clause[1].disclose.event";
    refused("\"place-cell\"", "\"place-cell\", \"place-name\"", place, "may carry the place");
    refused("\"etype\"", "\"etype\", \"note\"", place, "may carry the");
    refused("\"etype\"", "\"etype\", \"made-by\"", place, "personal data");
    refused(
        "\"make\", \"make-country\", \"model\"",
        "\"make-country\", \"model\"",
        "clause[1].disclose.item",
        "may carry the maker",
    );
    refused("\"stripped\", ", "\"original\", ", "clause[2].files", "an original file tells");
    refused("files = [\"stripped\", \"thumbnail\"]\n", "", "clause[2].files", "go together");
    refused("\"role\", ", "", "clause[2].files", "go together");
    let when = "clause[3].when";
    let old = "resource.make_country == \"BE\"";
    refused(old, "resource.makecountry == \"BE\"", when, "no field `makecountry`");
    refused(old, "resource.make_country in [\"BE\"]", when, "does not fit the schema");
    refused(old, "resource.make_country == 5", when, "does not fit the schema");
    refused(old, "resource.make_country ==", when, "not one Cedar expression");
    refused(old, "principal == Organisation::\"a\"", when, "something else than fields");
    refused(old, "resource.made_by == \"A\"", when, "personal data");
    refused(old, "(resource has model || true) && resource.model == \"A\"", when, "does not fit the schema");
    refused("title = \"Field", "title = \"\\u202eField", "title", "not readable");
}

#[test]
fn a_missing_retention_is_an_error_at_its_clause() {
    let text = examples("language")[0].replacen("retention-days = 730\n", "", 1);
    let error = parse(&text).unwrap_err();
    assert_eq!(error.key, "clause[1].retention-days");
    assert!(text.lines().nth(error.line - 1).unwrap().starts_with("[[clause]]"), "{error}");
}

#[test]
fn nothing_invisible_is_signed() {
    for hidden in ["\\u200b", "\\u2028", "\\ufeff", "\\U000e0041", "\\u2066", "\\u200e"] {
        let name = format!("title = \"Field{hidden}");
        refused("title = \"Field", &name, "title", "not readable");
        refused("\"tracing\"", &format!("\"trac{hidden}ing\""), "purposes", "not readable");
    }
    // Within the quotes of a condition, as the sign itself.
    let when = "clause[3].when";
    refused("== \"BE\"", "== \"B\u{200b}E\"", when, "signs that mislead readers");
    refused("== \"BE\"", "== \"B\u{e0041}E\"", when, "signs that mislead readers");
}
