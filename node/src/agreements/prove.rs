//! `agreement prove`: whether a field can leave, over all that is in force.
//!
//! That no clause names a field is a proof, for every record there may be. Where one does, records are tried, and what
//! was not found is said to be no proof.

use super::AgreementError;
use crate::node::Node;
use entente_policy::analysis::{self, Never};
use entente_protocol::record::kind::Kind;
use serde_json::{Value as Json, json};

/// What can be asked.
const FORM: &str = "write `never KIND.FIELD`, or `never KIND.FIELD to PARTNER`: `never event.documented-by to panel`";

/// Answers a property that a person states.
pub fn prove(node: &Node, property: &str) -> Result<Json, AgreementError> {
    let fault = |what: String| AgreementError::Property(format!("{what}; {FORM}"));
    let words: Vec<&str> = property.split_whitespace().collect();
    let (field, to) = match words.as_slice() {
        ["never", field] | ["never", field, "to", "anyone" | "anybody"] => (*field, None),
        ["never", field, "to", partner] => (*field, Some(*partner)),
        _ => return Err(fault(format!("`{}` is no property that can be proved", property.escape_debug()))),
    };
    let to = to.map(|partner| node.book().find(partner).map(|(org, _)| org));
    let to = to.transpose().map_err(|error| fault(error.to_string()))?;
    let (kind, name) = field.split_once('.').ok_or_else(|| fault(format!("`{field}` names no field of a kind")))?;
    let kind = Kind::from_name(kind).ok_or_else(|| fault(format!("there is no kind `{kind}`")))?;
    let slot = kind.slot(name).ok_or_else(|| fault(format!("`{kind}` has no field `{name}`")))?;
    let rules = node.rules();
    let mut out = json!({ "id": property.trim(), "kind": kind.name(), "field": slot.name });
    let answer = analysis::never(&rules.policy, kind, slot.number, to);
    let Some(map) = out.as_object_mut() else { return Ok(out) };
    let (holds, says) = match answer {
        Never::Proved => {
            ("proved", "no clause in force names the field: it leaves with no record there may be".to_owned())
        }
        Never::Leaves { agreement, clause, to, example } => {
            map.insert("agreement".to_owned(), json!(agreement.to_string()));
            map.insert("clause".to_owned(), json!(clause));
            map.insert("to".to_owned(), json!(node.handle_of(to)));
            map.insert("example".to_owned(), json!(example));
            ("no", format!("it leaves to `{}` under clause `{clause}`, of a record like this", node.handle_of(to)))
        }
        Never::NotFound { tried, all: true } => (
            "not-found",
            format!(
                "a clause names it, and of {tried} records, which are all that the conditions can tell apart by the values \
                 that they name, it leaves with none; no solver was asked, so that this is no proof"
            ),
        ),
        Never::NotFound { tried, all: false } => (
            "not-found",
            format!("a clause names it, and of {tried} records that were tried it leaves with none; this is no proof"),
        ),
    };
    map.insert("answer".to_owned(), json!(holds));
    map.insert("says".to_owned(), json!(says));
    Ok(out)
}
