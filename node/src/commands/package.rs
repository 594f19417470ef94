//! `entente package`: evidence with everything that proves it, in one file for whoever has no node.

use super::{
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    show::{list, short, text, truth},
    table::{Look, Table, pairs},
};
use crate::{
    call::Call,
    cli,
    package::{Options, Show},
};
use serde_json::Value as Json;

/// Makes a package.
pub fn package(reach: &Reach, args: cli::Package) -> Result<Done, Failure> {
    let cli::Package { ids, output, fields, as_partner, no_files, force } = args;
    let show = match (fields.is_empty(), as_partner) {
        (_, Some(partner)) => Show::As(partner),
        (false, None) => Show::Fields(fields),
        (true, None) => Show::All,
    };
    let options = Options { records: ids, output: absolute(&output)?, show, without_files: no_files, force };
    let answer = reach.call_watched(&Call::PackageMake(options))?;
    reach.output.answer(&answer, || made(&answer, reach.output.look))?;
    for row in list(&answer, "not_ours") {
        let [whose, records, tlp] = ["id", "records", "tlp"].map(|key| text(row, key));
        let tlp = if tlp.is_empty() { String::new() } else { format!(", handling TLP:{tlp}") };
        let orcon = if truth(row, "orcon") { ", originator control" } else { "" };
        note(&format!(
            "{records} of these records were recorded by `{whose}`{tlp}{orcon}: whoever is given this file must be somebody to \
             whom the agreement under which they came lets them go"
        ));
    }
    Ok(Done::Well)
}

fn made(answer: &Json, look: Look) -> String {
    let names = ["file", "bytes", "records", "files", "made"];
    let mut out = pairs(names.map(|key| (key, text(answer, key))), look);
    let mut left = Table::new(&["left out", "why"]);
    for row in list(answer, "left_out") {
        left.row([short(&text(row, "id")), text(row, "why")]);
    }
    if !left.is_empty() {
        out.push_str(&format!("\n{}", left.render(look)));
    }
    out.push_str(&format!(
        "\nWhoever gets it checks it with `entente verify FILE`, and your card by these words, read out by you:\n  {}\n",
        super::plain::line(&text(answer, "words"))
    ));
    out
}
