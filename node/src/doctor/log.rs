//! What the witnessed log says, the own one and those of partners, as `entente log show` does.

use super::Findings;
use crate::{
    custody::view::{self, LogCall},
    error::Blame,
    node::Node,
};
use serde_json::Value as Json;

/// Looks at the log.
pub fn every(node: &Node, findings: &mut Findings) {
    let shown = match view::answer(node, &LogCall::Show, &mut |_| {}) {
        Ok(shown) => shown,
        Err(fault) => {
            findings.trouble("log", Blame::Store, fault, "Run `entente log verify`, and `entente check`.");
            return;
        }
    };
    let partners = shown.get("partners").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    for partner in partners {
        let handle = partner["partner"].as_str().unwrap_or_default();
        if partner["state"] == "forked" {
            let says = format!("the log of `{handle}` has two histories, and both heads are kept");
            findings.trouble("log", Blame::Partner, says, "Talk to the partner; `entente log show` has the heads.");
        }
        if let Some(why) = partner["withheld"].as_str() {
            let says = format!("nothing more of `{handle}` is taken: {why}");
            findings.trouble("log", Blame::Partner, says, "Talk to the partner; see `entente log show`.");
        }
    }
    match shown.get("witnessed").unwrap_or(&Json::Null) {
        Json::Null if !partners.is_empty() => {
            let says = "no partner has witnessed the log yet";
            findings.warn("log", Blame::Setup, says, "Run `entente sync` with a partner.");
        }
        witnessed if !findings.has_fault("log") => {
            let until =
                witnessed["until"].as_str().map_or_else(|| "not yet".to_owned(), |until| format!("until {until}"));
            findings.ok("log", format!("{} leaves, witnessed {until}", shown.get("size").unwrap_or(&Json::Null)));
        }
        _ => {}
    }
}
