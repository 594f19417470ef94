//! `entente import`: a table and its files become drafts; what was refused is named.

use super::{
    output::{Done, Failure},
    reach::{Reach, absolute},
    show::{brief, list, text, truth},
    table::{Look, Table, pairs},
};
use crate::{call::Call, cli, error::Fault, ingest::import::ImportOptions};
use serde_json::Value as Json;

/// Imports a file.
pub fn import(reach: &Reach, args: cli::Import) -> Result<Done, Failure> {
    let options = ImportOptions {
        path: absolute(&args.file)?,
        map: args.map.as_deref().map(absolute).transpose()?,
        attachments: args.attachments.as_deref().map(absolute).transpose()?,
        dry_run: args.dry_run,
    };
    let file = options.path.display().to_string();
    let report = reach.call_watched(&Call::Import(options))?;
    reach.output.answer(&report, || render(&report, reach.output.look))?;
    if nothing_held(&report) {
        let message = format!("no row of `{file}` could be taken: correct what is named, or name a mapping with --map");
        return Err(Fault::input("no-rows", message).into());
    }
    Ok(Done::Well)
}

/// Whether rows were left out, and none is here: neither by this import nor since an earlier one.
fn nothing_held(report: &Json) -> bool {
    let count = |key| report.get(key).and_then(Json::as_u64).unwrap_or_default();
    count("bad_rows") > 0 && count("added") + count("amended") + count("unchanged") == 0
}

/// Said of a mapping without key columns.
const NO_KEYS: &str = "\nThe mapping names no key columns: a row is its content, and a corrected row becomes a new record beside the old one.\n";

fn render(report: &Json, look: Look) -> String {
    let mut out = String::new();
    if truth(report, "dry_run") {
        out.push_str(&format!("{}\n", look.strong("A trial: nothing was kept. This is what would happen.")));
    }
    let counts = [
        ("rows read", "rows"),
        ("rows left out", "bad_rows"),
        ("rows here already", "repeated_rows"),
        ("new records", "added"),
        ("amended records", "amended"),
        ("unchanged records", "unchanged"),
        ("files", "files"),
    ];
    out.push_str(&pairs(counts.map(|(name, key)| (name, text(report, key))), look));
    if !truth(report, "has_keys") {
        out.push_str(NO_KEYS);
    }
    let mut bad = Table::new(&["row", "column", "why it was left out"]);
    for row in list(report, "bad") {
        bad.row(["row", "column", "why"].map(|key| text(row, key)));
    }
    if !bad.is_empty() {
        out.push_str(&format!("\n{}", bad.render(look)));
    }
    let lists = [
        ("files that the table names and the folder lacks", "missing"),
        ("files that no row names", "leftovers"),
        ("notes", "notes"),
    ];
    for (title, key) in lists {
        let mut table = Table::new(&[title]);
        list(report, key).iter().for_each(|item| table.row([brief(item)]));
        if !table.is_empty() {
            out.push_str(&format!("\n{}", table.render(look)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::import::{BadRow, ImportReport};

    #[test]
    fn what_was_left_out_is_named_by_row_and_column() {
        let bad = BadRow::new(33, Some("date".to_owned()), "no such day: `31/02/2026`".to_owned());
        let report = ImportReport {
            rows: 242,
            bad_rows: 1,
            added: 4,
            dry_run: true,
            has_keys: true,
            bad: vec![bad],
            missing: vec!["IMG\u{202e}gpj.exe".to_owned()],
            ..ImportReport::default()
        };
        let text = render(&serde_json::json!(report), Look::default());
        assert!(text.starts_with("A trial") && text.contains("rows read          242\n"), "{text}");
        assert!(text.contains("33   date    no such day: `31/02/2026`"), "{text}");
        assert!(text.contains("IMG\\u{202e}gpj.exe") && !text.contains("no row names"), "{text}");
    }

    #[test]
    fn a_mapping_without_key_columns_is_told() {
        let says = |has_keys| {
            let report = ImportReport { rows: 3, added: 3, has_keys, ..ImportReport::default() };
            render(&serde_json::json!(report), Look::default())
        };
        assert!(
            says(false).lines().any(|line| line.starts_with("The mapping names no key columns: a row is its content"))
        );
        assert!(!says(true).contains("key columns"));
    }
}
