//! `entente bundle`: what a session exchanges, as a file; what went, what came, and what to do next.

use super::{
    agreement::erased,
    output::{Done, Failure},
    reach::{Reach, absolute},
    show::{list, short, text, truth},
    table::{Look, Table, pairs},
};
use crate::{bundle::ExportOptions, call::Call, cli};
use serde_json::Value as Json;

/// Exit code where something is left or missing: that of a fault of the partner or the way to it.
const NOT_ALL: u8 = 4;

/// `bundle`.
pub fn bundle(reach: &Reach, command: cli::Bundle) -> Result<Done, Failure> {
    let look = reach.output.look;
    match command {
        cli::Bundle::Export(args) => {
            let cli::Export { to, output, one_way, max_size, again, without_files, force, held } = args;
            let output = absolute(&output)?;
            let options = ExportOptions { to, output, force, one_way, max_bytes: max_size, again, without_files, held };
            let answer = reach.call_watched(&Call::BundleExport(options))?;
            reach.output.answer(&answer, || exported(&answer, look))?;
            Ok(Done::Well)
        }
        cli::Bundle::Import { file } => {
            let answer = reach.call_watched(&Call::BundleImport(absolute(&file)?))?;
            reach.output.answer(&answer, || imported(&answer, look))?;
            let early = text(&answer, "files_early") != "0";
            let whole = list(&answer, "missing").is_empty() && list(&answer, "left").is_empty() && !early;
            Ok(if whole { Done::Well } else { Done::No(NOT_ALL) })
        }
        cli::Bundle::Show { partner } => {
            let answer = reach.call(&Call::BundleShow(partner))?;
            reach.output.answer(&answer, || shown(&answer, look))?;
            Ok(Done::Well)
        }
    }
}

fn counts(answer: &Json, names: &[(&'static str, &str)], look: Look) -> String {
    pairs(names.iter().map(|(name, key)| (*name, text(answer, key))), look)
}

fn exported(answer: &Json, look: Look) -> String {
    let names = [
        ("bundle", "number"),
        ("for", "partner"),
        ("file", "file"),
        ("bytes", "bytes"),
        ("entries", "entries"),
        ("files", "files"),
    ];
    let mut out = counts(answer, &names, look);
    let mut left = Table::new(&["agreement", "does not go"]);
    for row in list(answer, "left_out") {
        left.row([short(&text(row, "id")), text(row, "why")]);
    }
    if !left.is_empty() {
        out.push_str(&format!("\n{}", left.render(look)));
    }
    let mut large = Table::new(&["file of record", "number", "bytes", "needs a bundle of"]);
    for row in list(answer, "too_large") {
        large.row([short(&text(row, "id")), text(row, "number"), text(row, "bytes"), text(row, "needs")]);
    }
    if !large.is_empty() {
        out.push_str(&format!(
            "\nToo large for --max-size: they go with the next bundle that is large enough.\n{}",
            large.render(look)
        ));
    }
    if truth(answer, "without_files") {
        out.push_str("\nFiles were left out: they follow over the network, or in a bundle without --without-files.\n");
    }
    let more = truth(answer, "more") || !list(answer, "too_large").is_empty();
    out.push_str(match (more, truth(answer, "one_way")) {
        (true, _) => "\nThere is more: export again for the next one. They are imported in their order.\n",
        (false, true) => "\nThis is all. Nothing comes back: whether it arrived, only people can say.\n",
        (false, false) => "\nThis is all. The partner's next bundle acknowledges what arrived.\n",
    });
    out
}

fn imported(answer: &Json, look: Look) -> String {
    let names = [
        ("bundle", "number"),
        ("from", "partner"),
        ("made", "made"),
        ("entries", "entries"),
        ("records", "records"),
        ("records refused", "refused"),
        ("files", "files"),
        ("agreements changed", "agreements"),
        ("entries acknowledged", "acknowledged"),
        ("records asked back", "recalls_taken"),
        ("recalls answered", "recalls_answered"),
    ];
    let mut out = counts(answer, &names, look);
    for row in list(answer, "erasures") {
        out.push_str(&format!("\nagreement {}: {}\n", short(&text(row, "agreement")), erased(row)));
    }
    let mut missing = Table::new(&["agreement", "missing"]);
    for row in list(answer, "missing") {
        missing.row([short(&text(row, "id")), text(row, "says")]);
    }
    let mut left = Table::new(&["agreement", "left"]);
    for row in list(answer, "left") {
        left.row([short(&text(row, "id")), text(row, "why")]);
    }
    for table in [&missing, &left] {
        if !table.is_empty() {
            out.push_str(&format!("\n{}", table.render(look)));
        }
    }
    if !matches!(text(answer, "files_early").as_str(), "" | "0") {
        let which = text(answer, "files_early");
        out.push_str(&format!(
            "\n{which} file(s) belong to records that are not here yet: import the bundles before it, then this one again.\n"
        ));
    }
    if !truth(answer, "new") {
        out.push_str("\nNothing in it is new.\n");
    } else if truth(answer, "one_way") {
        out.push_str("\nIt goes one way: nothing is acknowledged.\n");
    } else {
        let back = text(answer, "partner");
        out.push_str(&format!("\nThe receipts go back with `entente bundle export --to {back} -o FILE`.\n"));
    }
    out
}

fn shown(answer: &Json, look: Look) -> String {
    let mut out = counts(answer, &[("partner", "partner"), ("bundles made", "made"), ("bundles taken", "taken")], look);
    let mut feeds = Table::new(&["agreement", "sent", "in bundles", "acknowledged", "received"]);
    let mut lines = Table::new(&["what we hold, for its --held"]);
    for row in list(answer, "feeds") {
        let [id, sent, gone, acknowledged, received] =
            ["id", "sent", "in_bundles", "acknowledged", "received"].map(|key| text(row, key));
        feeds.row([short(&id), sent, gone, acknowledged, received]);
        lines.row([text(row, "held")]);
    }
    out.push_str(&format!("\n{}\n{}", feeds.render(look), lines.render(look)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_to_do_next_is_said() {
        let answer = |more: bool, one_way: bool| json!({ "number": 3, "more": more, "one_way": one_way });
        let says = |more, one_way| exported(&answer(more, one_way), Look::default());
        assert!(says(true, false).contains("export again for the next one"));
        assert!(says(false, true).contains("Nothing comes back"));
        assert!(says(false, false).contains("acknowledges"));
        let gap = json!({ "id": "aabbccddeeff", "says": "entries 0 to 9 are not here" });
        let text = imported(&json!({ "new": false, "missing": [gap], "left": [] }), Look::default());
        assert!(text.contains("aabbccdd") && text.contains("entries 0 to 9") && text.contains("Nothing in it is new"));
    }
}
