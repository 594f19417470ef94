//! A report for paper: one page, no script, nothing fetched. Whatever it shows was escaped.

use crate::package::page::escaped;
use serde_json::Value as Json;
use std::fmt::Write;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<meta name=\"referrer\" content=\"no-referrer\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Audit report</title>\n<style>\n\
body{font:16px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}\n\
h1{font-size:1.6rem}h2{font-size:1.15rem;border-top:1px solid #999;padding-top:1rem;margin-top:2rem}\n\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;\
border-bottom:1px solid #ddd;overflow-wrap:anywhere}th{font-weight:600}\n\
.wrong{color:#a00;font-weight:600}.open{color:#850}.good{color:#063}.verdict{border:2px solid;padding:.5rem .8rem;font-size:1.1rem}\n\
.small{color:#555;font-size:.9rem}\n\
@page{margin:18mm}@media print{body{max-width:none;margin:0;padding:0;font-size:10pt}h2{break-after:avoid}\
tr,li{break-inside:avoid}thead{display:table-header-group}}\n\
</style>\n</head>\n<body>\n";

fn text(row: &Json, key: &str) -> String {
    match row.get(key) {
        Some(Json::String(text)) => escaped(text),
        Some(Json::Array(texts)) => escaped(&texts.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", ")),
        Some(Json::Null) | None => String::new(),
        Some(other) => escaped(&other.to_string()),
    }
}

fn rows<'a>(report: &'a Json, key: &str) -> impl Iterator<Item = &'a Json> {
    report.get(key).and_then(Json::as_array).into_iter().flatten()
}

fn is_true(row: &Json, key: &str) -> bool {
    row.get(key).and_then(Json::as_bool) == Some(true)
}

/// One table: its head, and the members of each row.
fn table(out: &mut String, report: &Json, list: &str, columns: &[(&str, &str)]) {
    out.push_str("<table>\n<thead><tr>");
    for (head, _) in columns {
        let _ = write!(out, "<th>{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows(report, list) {
        out.push_str("<tr>");
        for (_, key) in columns {
            let _ = write!(out, "<td>{}</td>", text(row, key));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

/// The page of a report, as [`super::read::said`] says it.
pub fn html(report: &Json) -> String {
    let mut out = HEAD.to_owned();
    let refused = text(report, "refused");
    if !refused.is_empty() {
        let _ = write!(
            out,
            "<h1>Audit report</h1>\n<p class=\"verdict wrong\">Refused: {refused}</p>\n<p>Nothing in this file is proved by \
             it.</p>\n</body>\n</html>\n"
        );
        return out;
    }
    let _ = writeln!(out, "<h1>Audit report: {}</h1>", text(report, "maker"));
    let made_it = |row: &&Json| rows(row, "is").any(|is| is == "maker");
    if let Some(maker) = rows(report, "organisations").find(made_it).filter(|maker| !is_true(maker, "compared")) {
        let _ = writeln!(
            out,
            "<p class=\"verdict wrong\">Not compared: the card of {} is known from this file alone, and anybody can write such a \
             file in any name. The words of its card here are: {}</p>",
            text(maker, "name"),
            text(maker, "words"),
        );
    }
    let (class, verdict) = match is_true(report, "ok") {
        true => ("good", "Everything that can be told from this export holds."),
        false => ("wrong", "Something does not hold: see the findings."),
    };
    let _ = writeln!(out, "<p class=\"verdict {class}\">{verdict}</p>");
    let _ = writeln!(
        out,
        "<p>Made by {} at {}, of store {}. {} events of the journal, {} intervals of the log, witnessed until {} by \
         those whose cards were compared.</p>",
        text(report, "maker"),
        text(report, "made"),
        text(report, "store"),
        text(report, "events"),
        text(report, "intervals"),
        Some(text(report, "witnessed_until")).filter(|until| !until.is_empty()).as_deref().unwrap_or("never"),
    );
    out.push_str("<h2>What was asked</h2>\n<table>\n<thead><tr><th>area</th><th>test</th><th>checked</th><th>result</th></tr></thead>\n<tbody>\n");
    for check in rows(report, "checks") {
        let (wrong, open) = (text(check, "wrong"), text(check, "open"));
        let (class, result) = match (is_true(check, "ok"), open.as_str()) {
            (false, _) => ("wrong", format!("{wrong} do not hold")),
            (true, "0") => ("good", "ok".to_owned()),
            (true, open) => ("open", format!("ok; {open} open")),
        };
        let [area, says, checked] = ["area", "says", "checked"].map(|key| text(check, key));
        let _ = writeln!(
            out,
            "<tr><td>{area}</td><td>{says}</td><td>{checked}</td><td class=\"{class}\">{result}</td></tr>"
        );
    }
    out.push_str("</tbody>\n</table>\n<h2>Findings</h2>\n");
    if rows(report, "findings").next().is_none() {
        out.push_str("<p>None.</p>\n");
    } else {
        table(
            &mut out,
            report,
            "findings",
            &[("area", "area"), ("state", "state"), ("whose", "whose"), ("where", "where"), ("what", "says")],
        );
        let more = text(report, "more_findings");
        if more != "0" {
            let _ = writeln!(out, "<p>and {more} more.</p>");
        }
    }
    out.push_str("<h2>Feeds</h2>\n");
    table(
        &mut out,
        report,
        "feeds",
        &[
            ("to", "to"),
            ("agreement", "agreement"),
            ("runs", "runs"),
            ("releases", "releases"),
            ("withdrawals", "withdrawals"),
            ("entries", "entries"),
            ("countersigned", "acknowledged"),
        ],
    );
    out.push_str("<h2>Agreements</h2>\n");
    table(&mut out, report, "agreements", &[("agreement", "id"), ("versions", "versions"), ("releases", "releases")]);
    out.push_str("<h2>Witnesses of the log</h2>\n");
    table(&mut out, report, "witnesses", &[("name", "name"), ("until", "until"), ("", "says")]);
    out.push_str("<h2>Organisations</h2>\n");
    table(
        &mut out,
        report,
        "organisations",
        &[("name", "name"), ("is", "is"), ("words of its card", "words"), ("compared", "says")],
    );
    out.push_str("<h2>Not proved</h2>\n<ul class=\"small\">\n");
    if !is_true(report, "compared") {
        out.push_str("<li>that a card is the organisation's, where nobody has compared its words</li>\n");
    }
    for says in rows(report, "not_proved").filter_map(Json::as_str) {
        let _ = writeln!(out, "<li>{}</li>", escaped(says));
    }
    out.push_str("</ul>\n</body>\n</html>\n");
    out
}
