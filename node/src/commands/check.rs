//! `entente check`: is everything that is stored still what was written; what is not is named.

use super::{
    output::{Done, Failure},
    reach::Reach,
    show::{short, text, truth},
    table::{Look, Table},
};
use crate::{call::Call, cli};
use serde_json::Value as Json;

/// Exit code where something is missing or damaged: that of any fault of the store.
const NOT_WHOLE: u8 = 5;

/// Checks the store.
pub fn check(reach: &Reach, args: &cli::Check) -> Result<Done, Failure> {
    let value = reach.call_watched(&Call::Check { sweep: args.sweep })?;
    reach.output.answer(&value, || render(&value, reach.output.look))?;
    let whole = value.as_array().into_iter().flatten().all(|entry| truth(entry, "ok"));
    Ok(if whole { Done::Well } else { Done::No(NOT_WHOLE) })
}

fn render(value: &Json, look: Look) -> String {
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let whole = entries.iter().all(|entry| truth(entry, "ok"));
    let verdict = if whole { look.good("everything is as it was written") } else { look.bad("something is wrong") };
    let mut parts = Table::new(&["what", "checked", "wrong", "says"]);
    let mut found = Table::new(&["id", "of", "is", "says", "what to do"]);
    for entry in entries {
        if entry.get("checked").is_some() {
            parts.row(["part", "checked", "wrong", "says"].map(|key| text(entry, key)));
        } else {
            let [part, state, says, what] = ["part", "state", "says", "do"].map(|key| text(entry, key));
            found.row([short(&text(entry, "id")), part, state, says, what]);
        }
    }
    let mut out = format!("{verdict}\n\n{}", parts.render(look));
    if !found.is_empty() {
        out.push_str(&format!("\n{}", found.render(look)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named_with_what_to_do() {
        let part = |ok: bool, wrong: u64| json!({ "id": "files", "part": "files", "ok": ok, "checked": 3, "wrong": wrong, "says": "" });
        assert!(render(&json!([part(true, 0)]), Look::default()).starts_with("everything is as it was written"));
        let found = json!({ "id": "aabbccddeeff", "part": "files", "ok": false, "state": "missing", "says": "gone",
            "do": "restore it" });
        let text = render(&json!([part(false, 1), found]), Look::default());
        assert!(text.starts_with("something is wrong") && text.contains("files  3        1"), "{text}");
        assert!(text.contains("aabbccdd  files  missing  gone  restore it"), "{text}");
    }
}
