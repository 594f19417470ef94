//! `entente status`: where the node stands.

use super::{
    agreement::{erased, waits_for},
    output::{Done, Failure},
    plain,
    reach::Reach,
    show::{brief, list, short, text},
    table::{Look, Table, pairs},
};
use crate::call::Call;
use serde_json::{Value as Json, json};

/// Shows the status.
pub fn status(reach: &Reach) -> Result<Done, Failure> {
    let node = reach.node()?;
    let mut value = node.call(&Call::Status)?;
    if let Some(map) = value.as_object_mut() {
        map.insert("running".to_owned(), json!(node.is_running()));
    }
    reach.output.answer(&value, || render(&value, reach.output.look))?;
    Ok(Done::Well)
}

fn render(value: &Json, look: Look) -> String {
    let keys = [
        "handle",
        "id",
        "running",
        "certificate_until",
        "records_own",
        "records_received",
        "files_waiting",
        "appends",
        "store_bytes",
    ];
    let people = match text(value, "eyes").as_str() {
        "office" => {
            "none: a single office, whoever opens it acts in its name (`entente user add` adds the first person)"
        }
        "one" => "each acts under their own name; one may collect, review and verify the same record",
        "two" => "each acts under their own name; a record needs two of them",
        _ => "",
    };
    let facts = keys.map(|key| (key.replace('_', " "), text(value, key))).into_iter();
    let people = std::iter::once(("persons".to_owned(), people.to_owned())).filter(|(_, says)| !says.is_empty());
    let mut out = pairs(facts.chain(people), look);
    if let Some(walk) = value.get("resealing").filter(|walk| walk.is_object()) {
        let (looked, anew, damaged) = (text(walk, "looked_at"), text(walk, "sealed_anew"), text(walk, "damaged"));
        out.push_str(&format!(
            "\npartition keys are rotated: {looked} rows and files looked at in this walk, {anew} sealed anew\n"
        ));
        if damaged != "0" {
            let remedy = "see `entente check`; the keys before stay until they can be";
            out.push_str(&format!(
                "{} {damaged} files cannot be read, and so not sealed anew: {remedy}\n",
                look.bad("warning:")
            ));
        }
    }
    for warning in list(value, "warnings") {
        out.push_str(&format!("\n{} {}\n", look.bad("warning:"), plain::line(&brief(warning))));
    }
    let mut partners = Table::new(&["partner", "state", "connected", "last success", "trouble"]);
    let mut feeds = Table::new(&["partner", "agreement", "standing", "sent", "acknowledged", "undecided", "received"]);
    let mut stopped = String::new();
    for partner in list(value, "partners") {
        partners.row(["handle", "state", "connected", "last_success", "trouble"].map(|key| text(partner, key)));
        let open = text(partner, "recalls_open");
        if !matches!(open.as_str(), "" | "0") {
            let handle = text(partner, "handle");
            stopped.push_str(&format!(
                "\n{handle} has not confirmed the recall of {open} record(s): `entente recall list`\n"
            ));
        }
        for feed in list(partner, "feeds") {
            let counts = ["sent", "acknowledged", "undecided", "received"].map(|key| text(feed, key));
            let aside = !text(feed, "set_aside").is_empty();
            let standing = if aside { "set aside".to_owned() } else { text(feed, "standing") };
            let names = [text(partner, "handle"), short(&text(feed, "agreement")), standing];
            feeds.row(names.into_iter().chain(counts));
            for why in ["stopped", "quarantine", "differs"].map(|key| text(feed, key)) {
                if !why.is_empty() {
                    let (handle, agreement) = (text(partner, "handle"), short(&text(feed, "agreement")));
                    stopped.push_str(&format!("\n{handle}, agreement {agreement}: {}\n", plain::line(&why)));
                }
            }
        }
    }
    for table in [partners, feeds] {
        if !table.is_empty() {
            out.push('\n');
            out.push_str(&table.render(look));
        }
    }
    out.push_str(&stopped);
    for proposal in list(value, "proposals") {
        let [title, version] = ["title", "version"].map(|key| plain::line(&text(proposal, key)));
        let (id, who) = (short(&text(proposal, "agreement")), waits_for(proposal).unwrap_or_default());
        out.push_str(&format!(
            "\nagreement {id}, `{title}`, version {version}, is proposed and waits for {}\n",
            plain::line(&who)
        ));
    }
    for row in list(value, "erasures") {
        out.push_str(&format!("\nagreement {}: {}\n", short(&text(row, "agreement")), erased(row)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn partners_and_their_feeds_are_shown() {
        let value = json!({ "id": "00", "handle": "field", "running": false, "records_own": 4, "warnings": ["the clock \u{1b}"], "partners": [{ "handle": "panel",
            "state": "active", "connected": false, "last_success": null, "last_error": "refused", "trouble": "refused",
            "feeds": [{ "agreement": "0123456789", "standing": "active", "sent": 3, "acknowledged": 2, "undecided": 1,
            "received": 0 }] }] });
        let text = render(&value, Look::default());
        assert!(text.contains("records own        4\n") && text.contains("running            no\n"), "{text}");
        assert!(text.contains("\nwarning: the clock \\u{1b}\n"), "{text}");
        assert!(text.contains("panel    active  no                       refused"), "{text}");
        assert!(!text.contains("waits for") && !text.contains("erased") && !text.contains("persons"), "{text}");
        assert!(text.contains("panel    01234567   active    3     2             1          0"), "{text}");
    }

    #[test]
    fn whether_there_are_persons_is_said() {
        for (eyes, says) in [("office", "a single office"), ("two", "needs two"), ("one", "one may collect")] {
            let text = render(&json!({ "handle": "field", "eyes": eyes }), Look::default());
            assert!(text.lines().any(|line| line.starts_with("persons") && line.contains(says)), "{text}");
        }
    }

    #[test]
    fn who_is_waited_for_and_who_has_erased_is_told() {
        let value = json!({
            "proposals": [{ "agreement": "0123456789", "title": "Panel", "version": 2, "waits_for": ["panel"], "waits_for_us": false }],
            "erasures": [{ "agreement": "0123456789", "holder": "panel", "by": "panel", "at": "2027-01-01", "done": true, "copies": [] }] });
        let text = render(&value, Look::default());
        assert!(text.contains("agreement 01234567, `Panel`, version 2, is proposed and waits for panel\n"), "{text}");
        assert!(
            text.contains("agreement 01234567: panel has erased what it received under it (2027-01-01)\n"),
            "{text}"
        );
    }
}
