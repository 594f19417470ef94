//! Keeps `SPEC.md` and the code the same: prints its tables and compares them. Tests only.
//!
//! After a change of a kind, label or limit, run the tests once with `ENTENTE_BLESS=1` set and look at
//! the difference before it is committed.

use crate::{
    identity::Purpose,
    label,
    record::{
        Shape,
        kind::{Fact, Kind, Rule, Rung, Slot},
    },
    session::CloseCode,
};
use std::collections::{BTreeMap, BTreeSet};

const SPEC: &str = include_str!("../SPEC.md");

/// Whether generated files are written anew instead of compared.
#[expect(clippy::disallowed_methods, reason = "only tests write, when a person asks for it")]
pub(crate) fn blessing() -> bool {
    std::env::var_os("ENTENTE_BLESS").is_some()
}

/// Writes a file of the project, by its path from this crate's folder.
#[expect(clippy::disallowed_methods, reason = "only tests write, when a person asks for it")]
pub(crate) fn write(path: &str, text: &str) {
    std::fs::write(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path), text).unwrap();
}

/// The text up to a table, the table, and the text after it.
fn between<'a>(name: &str, text: &'a str) -> (&'a str, &'a str, &'a str) {
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->"));
    let start = text.find(&begin).unwrap() + begin.len();
    let (before, rest) = text.split_at(start);
    let (table, after) = rest.split_at(rest.find(&end).unwrap());
    (before, table, after)
}

fn shape(shape: Shape) -> String {
    match shape {
        Shape::Code(codes) => format!("Code: {}", codes.join(", ")),
        Shape::Finding(codes) => format!("Finding: {}", codes.join(", ")),
        other => other.name().to_owned(),
    }
}

fn row(slot: &Slot) -> String {
    let rung = slot.rung.map_or(String::new(), |Rung { fact, ladder, level, derived }| {
        let derived = derived.map_or(String::new(), |d| format!(", {} of {}", d.rule.name(), d.from));
        format!("{}/{ladder} {level}{derived}", fact.name())
    });
    let carries: Vec<&str> = slot.carries.iter().map(Fact::name).collect();
    let carries = if carries.len() == Fact::ALL.len() { "anything".to_owned() } else { carries.join(", ") };
    let personal = if slot.personal { "P" } else { "" };
    let personal = if slot.personal_of_persons { "p" } else { personal };
    let marks = format!("{}{personal}", if slot.required { "R" } else { "" });
    format!("| {} | {} | {} | {rung} | {carries} | {marks} |\n", slot.number, slot.name, shape(slot.shape))
}

fn kinds() -> String {
    const HEAD: &str = "| slot | name | shape | rung | carries | |\n| --- | --- | --- | --- | --- | --- |\n";
    let is_common = |slot: &&Slot| slot.number < 8;
    let common: String = Kind::Item.slots().filter(is_common).map(row).collect();
    let mut text = format!("**all kinds**\n\n{HEAD}{common}");
    for kind in Kind::ALL {
        let same: String = kind.slots().filter(is_common).map(row).collect();
        assert_eq!(same, common, "{kind}");
        let own: String = kind.slots().filter(|slot| !is_common(slot)).map(row).collect();
        text.push_str(&format!("\n**{kind}**\n\n{HEAD}{own}"));
    }
    text
}

/// Pairs of doc comment and item, from a source file.
fn documented(source: &str) -> Vec<(String, String)> {
    let (mut out, mut doc) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("/// ") {
            doc = format!("{doc} {more}");
        } else {
            out.push((std::mem::take(&mut doc).trim().trim_end_matches('.').to_owned(), line.to_owned()));
        }
    }
    out
}

fn labels() -> String {
    let mut text = "| tag, label or context | for |\n| --- | --- |\n".to_owned();
    let (mut tags, mut texts) = (0, 0);
    for (doc, line) in documented(include_str!("label.rs")) {
        if let Some((_, tag)) = line.strip_prefix("pub const TAG_").and_then(|l| l.split_once(": u8 = ")) {
            tags += 1;
            text.push_str(&format!("| `{}` | {doc} |\n", tag.trim_end_matches(';')));
        } else if let Some((_, label)) = line.split_once(" = \"entente/1") {
            texts += 1;
            text.push_str(&format!("| `entente/1{}` | {doc} |\n", label.trim_end_matches("\";")));
        }
    }
    assert_eq!(texts, label::LABELS.len() + label::CONTEXTS.len());
    assert!(tags >= 10);
    text
}

/// The value of a constant expression of names, numbers, `<<`, `*` and `+`.
fn value(expression: &str, known: &BTreeMap<String, u64>) -> u64 {
    let atom = |text: &str| -> u64 {
        let text = text.trim().trim_matches(['(', ')']).replace('_', "");
        text.parse().ok().or_else(|| known.get(&text).copied()).unwrap_or_else(|| panic!("{expression}"))
    };
    let term = |text: &str| match text.split_once("<<") {
        Some((base, shift)) => atom(base) << atom(shift),
        None => text.split('*').map(atom).product(),
    };
    expression.split('+').map(term).sum()
}

fn limits() -> String {
    let mut text = "| limit | value | for |\n| --- | --- | --- |\n".to_owned();
    let mut known = BTreeMap::new();
    for (doc, line) in documented(include_str!("limits.rs")) {
        let Some((name, rest)) = line.strip_prefix("pub const ").and_then(|l| l.split_once(": ")) else { continue };
        let (_, expression) = rest.trim_end_matches(';').split_once(" = ").unwrap();
        let number = value(expression, &known);
        known.insert(name.replace('_', ""), number);
        text.push_str(&format!("| {name} | {number} | {doc} |\n"));
    }
    assert_eq!(known.get("RECORDBYTESMAX"), Some(&(crate::limits::RECORD_BYTES_MAX as u64)));
    assert_eq!(known.get("RELEASEBYTESMAX"), Some(&(crate::limits::RELEASE_BYTES_MAX as u64)));
    text
}

fn schema() -> String {
    format!("The digest of this version's table is `{}`.\n", crate::record::schema_digest())
}

fn closes() -> String {
    let row = |(code, name, meaning): &(CloseCode, &str, &str)| format!("| {} | {name} | {meaning} |\n", code.0);
    format!("| code | name | meaning |\n| --- | --- | --- |\n{}", CloseCode::ALL.iter().map(row).collect::<String>())
}

#[test]
fn the_tables_of_the_specification_are_those_of_the_code() {
    let mut spec = SPEC.to_owned();
    let tables =
        [("labels", labels()), ("schema", schema()), ("kinds", kinds()), ("closes", closes()), ("limits", limits())];
    for (name, table) in tables {
        let (before, stands, after) = between(name, &spec);
        if blessing() {
            spec = format!("{before}{table}{after}");
        } else {
            assert_eq!(stands, table, "SPEC.md, {name}: see the head of spec.rs");
        }
    }
    if blessing() {
        write("SPEC.md", &spec);
    }
}

#[test]
fn every_shape_and_rule_of_the_table_is_explained() {
    let (_, shapes, _) = between("shapes", SPEC);
    let explained: BTreeSet<&str> = shapes
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(',').map(str::trim))
        .collect();
    let used: BTreeSet<&str> =
        Kind::ALL.into_iter().flat_map(Kind::slots).map(|slot| slot.shape.name()).chain(["shape", "---"]).collect();
    assert_eq!(used, explained);
    for rule in [Rule::Cell, Rule::Month, Rule::Year, Rule::SerialPrefix, Rule::SerialState] {
        assert!(SPEC.contains(&format!("\n| {} | ", rule.name())), "{rule:?}");
    }
}

#[test]
fn every_context_has_its_payload_and_every_purpose_its_name() {
    for context in label::CONTEXTS {
        let row = format!("\n| `{}` | `", context.text());
        assert!(SPEC.contains(&row), "{}", context.text());
    }
    let purposes: Vec<String> = Purpose::ALL.iter().map(|purpose| format!("\"{}\"", purpose.name())).collect();
    assert!(SPEC.contains(&format!("\npurpose = {}\n", purposes.join(" / "))), "{purposes:?}");
}

#[test]
fn requirements_are_numbered_once() {
    let ids: Vec<&str> =
        SPEC.lines().filter_map(|l| l.strip_prefix("- **")?.split_once("**").map(|(id, _)| id)).collect();
    assert!(ids.len() > 40, "{}", ids.len());
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(id), "{id} stands twice");
    }
}

/// Names of a grammar without its comments and texts, each with what stands before and after it.
fn names(grammar: &str) -> Vec<(String, char, char)> {
    let mut plain = String::new();
    for line in grammar.lines() {
        let line = line.split(';').next().unwrap_or_default();
        plain.extend(line.split('"').step_by(2).flat_map(|part| [part, " \"\" "]));
        plain.push('\n');
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let (mut names, mut rest, mut before) = (Vec::new(), plain.as_str(), '\n');
    while let Some(first) = rest.chars().next() {
        let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (name, after) = rest.split_at(len);
        if first.is_ascii_lowercase() {
            names.push((name.to_owned(), before, after.trim_start().chars().next().unwrap_or('\n')));
        }
        before = name.chars().last().unwrap_or(before);
        rest = after;
    }
    names
}

/// RFC 8610: what the grammar uses it defines, once, or the prelude of the standard does.
#[test]
fn every_rule_of_the_grammar_is_defined_once() {
    let blocks: Vec<&str> =
        SPEC.split("```cddl\n").skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0)).collect();
    let grammar = blocks.join("\n");
    let rule = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        (rest.trim_start().starts_with('=') && line.starts_with(|c: char| c.is_ascii_lowercase()))
            .then(|| name.to_owned())
    };
    let rules: Vec<String> = grammar.lines().filter_map(rule).collect();
    let mut defined: BTreeSet<String> = ["bstr", "tstr", "uint", "int", "bool"].map(str::to_owned).into();
    for rule in &rules {
        assert!(defined.insert(rule.clone()), "{rule} is defined twice");
    }
    let mut undefined = BTreeSet::new();
    for (name, before, after) in names(&grammar) {
        let is_member = after == ':';
        let is_operator = before == '.';
        let is_definition = before == '\n' && after == '=';
        if !is_member && !is_operator && !is_definition && !defined.contains(&name) {
            undefined.insert(name);
        }
    }
    assert!(rules.len() > 70, "{}", rules.len());
    assert!(undefined.is_empty(), "used and not defined: {undefined:?}");
}
