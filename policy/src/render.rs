//! The text that people sign: an agreement printed from its canonical body.
//!
//! What is printed reads back to the same body, byte for byte, through `source`. Nothing is left out:
//! what the text does not say, the agreement does not say.

use entente_protocol::{
    agreement::{Agreement, Clause, Duty, Handling, Onward, Prevails},
    id::OrgId,
    record::kind::Kind,
    time::DAY_MS,
};
use std::fmt::Write;

/// Prints an agreement as TOML. For one that `check` accepts, the text reads back to the same bytes.
pub fn render(agreement: &Agreement) -> String {
    let mut out = String::new();
    let a = agreement;
    let _ = writeln!(out, "language = {}\ntitle = {}\nid = \"{}\"", a.lang, quote(&a.title), a.id);
    let _ = writeln!(out, "version = {}", a.version);
    if let Some(predecessor) = a.predecessor {
        let _ = writeln!(out, "predecessor = \"{predecessor}\"");
    }
    let _ = writeln!(out, "schema = \"{}\"", a.schema);
    let digest = a.basis.digest.map(|d| format!(", digest = \"{d}\"")).unwrap_or_default();
    let prevails = match a.basis.prevails {
        None => "",
        Some(Prevails::Basis) => ", prevails = \"basis\"",
        Some(Prevails::Agreement) => ", prevails = \"agreement\"",
    };
    let _ = writeln!(out, "basis = {{ text = {}{digest}{prevails} }}", quote(&a.basis.text));
    let _ = writeln!(out, "purposes = {}", quoted(a.purposes.iter().map(String::as_str)));
    let _ = writeln!(out, "from = \"{}\"\nuntil = \"{}\"", a.from.date(), a.until.minus(DAY_MS).date());
    let _ = writeln!(out, "notice-days = {}", a.notice_days);
    if let Some(days) = a.survival_days {
        let _ = writeln!(out, "survival-days = {days}");
    }
    if !a.obligations.is_empty() {
        let _ = writeln!(out, "obligations = {}", quoted(a.obligations.iter().map(|o| o.name())));
    }
    if let Some(hours) = a.lease_hours {
        let _ = writeln!(out, "lease-hours = {hours}");
    }
    for party in &a.parties {
        let _ = writeln!(out, "\n[[party]]\nhandle = {}\nname = {}", quote(&party.handle), quote(&party.name));
        let _ = writeln!(out, "id = \"{}\"", party.id);
        if !party.declines.is_empty() {
            let _ = writeln!(out, "declines = {}", quoted(party.declines.iter().map(|o| o.name())));
        }
        if !party.signatories.is_empty() {
            let _ = writeln!(out, "signatories = {}", quoted(party.signatories.iter().map(String::as_str)));
        }
    }
    a.clauses.iter().for_each(|c| clause(&mut out, a, c));
    out
}

fn clause(out: &mut String, agreement: &Agreement, clause: &Clause) {
    let handle = |org: &OrgId| agreement.party(*org).map_or("", |p| p.handle.as_str());
    let _ = writeln!(out, "\n[[clause]]\nname = {}\nfrom = {}", quote(&clause.name), quote(handle(&clause.from)));
    let _ = writeln!(out, "to = {}", quoted(clause.to.iter().map(handle)));
    let duty = match clause.duty {
        Duty::Release => "\"release\"".to_owned(),
        Duty::Alert => "\"alert\"".to_owned(),
        Duty::AnswerTraces(days) => format!("{{ answer-traces = {days} }}"),
        Duty::Match(queries) => format!("{{ match = {queries} }}"),
    };
    let _ = writeln!(out, "duty = {duty}");
    if let Some(when) = &clause.when {
        let _ = writeln!(out, "when = {}", quote(when));
    }
    let onward = match &clause.onward {
        Onward::Never => quote("never"),
        Onward::WithGrant => quote("with-grant"),
        Onward::To(orgs) => quoted(orgs.iter().map(handle)),
    };
    let _ = writeln!(out, "red = {}\nonward = {onward}\nretention-days = {}", clause.red, clause.retention_days);
    for (key, list) in [("files", &clause.files), ("carries", &clause.carries)] {
        if !list.is_empty() {
            let _ = writeln!(out, "{key} = {}", quoted(list.iter().map(String::as_str)));
        }
    }
    if let Some(Handling { tlp, codes }) = &clause.handling {
        let tlp = tlp.map(|tlp| format!("tlp = {}", quote(tlp.name())));
        let codes: Vec<String> = codes.iter().map(|code| format!("H{code}")).collect();
        let codes = (!codes.is_empty()).then(|| format!("codes = {}", quoted(codes.iter().map(String::as_str))));
        let _ = writeln!(out, "handling = {{ {} }}", tlp.into_iter().chain(codes).collect::<Vec<_>>().join(", "));
    }
    for disclosure in &clause.disclose {
        let names = disclosure.slots.iter().map(|slot| slot_name(disclosure.kind, *slot));
        let _ = writeln!(out, "disclose.{} = {}", disclosure.kind, quoted(names));
    }
    for personal in &clause.personal {
        let _ = writeln!(out, "[[clause.personal]]\nkind = \"{}\"", personal.kind);
        let _ = writeln!(out, "slot = {}", quote(slot_name(personal.kind, personal.slot)));
        let _ = writeln!(out, "purpose = {}\nretention-days = {}", quote(&personal.purpose), personal.retention_days);
    }
}

fn slot_name(kind: Kind, slot: u8) -> &'static str {
    kind.slot_number(slot).map_or("", |s| s.name)
}

fn quoted<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(quote).collect::<Vec<_>>().join(", "))
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => _ = write!(out, "\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
