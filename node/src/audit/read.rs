//! Verifying an export that somebody brought: from its file, without a home, and said as JSON.

use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    package::read::{OnDisk, party, pins},
    regular,
};
use entente_protocol::{
    audit::{self, Area, AuditFault, Finding, Mark, Report, Test, WitnessSeen},
    custody::checkpoint::UnverifiedCheckpoint,
    id::OrgId,
    limits,
    package::Confirmed,
    time::UnixMillis,
};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// What an export proves; or that it is refused, and why. A fault only where it could not be looked at.
pub fn verify(
    path: &Path,
    cards: &[PathBuf],
    heads: &[PathBuf],
    now: UnixMillis,
    progress: OnProgress<'_>,
) -> Result<Json, Fault> {
    let pins = pins(cards)?;
    let heads = heads.iter().map(|path| kept(path)).collect::<Result<Vec<_>, _>>()?;
    let cannot = |e: &dyn std::fmt::Display| Fault::input("read", format!("`{}` cannot be read: {e}", path.display()));
    let source = OnDisk::open(path).map_err(|e| cannot(&e))?;
    let mut tell = |done, total| progress(Progress { done, total: Some(total) });
    match audit::verify(source, &pins, &heads, now, &mut tell) {
        Ok(report) => Ok(said(&report)),
        Err(AuditFault::Unreadable(e)) => Err(cannot(&e)),
        Err(fault @ AuditFault::Stranger { .. }) => Err(Fault::input("card", fault)),
        Err(fault @ (AuditFault::Head(_) | AuditFault::OtherLog { .. })) => Err(Fault::input("head", fault)),
        Err(fault) => Ok(json!({ "ok": false, "refused": fault.to_string() })),
    }
}

/// A head that the reader kept.
fn kept(path: &Path) -> Result<UnverifiedCheckpoint, Fault> {
    let refused = |what: &dyn std::fmt::Display| Fault::input("head", format!("`{}`: {what}", path.display()));
    let bytes = regular::bytes(path, limits::NOTE_BYTES_MAX as u64).map_err(|e| refused(&e))?;
    UnverifiedCheckpoint::from_bytes(&bytes).map_err(|e| refused(&e))
}

/// What an auditor must not take for proved.
pub const NOT_PROVED: [&str; 6] = [
    "which slots a release showed and under which clause: its receiver holds the release itself, and can confirm it",
    "whose key a person's is, and the review state below which nothing is released: both by the maker's word",
    "that all reviews, releases by people and recalls are here: the journal does not name them, so one that is left out shows \
     nowhere",
    "that an agreement was never suspended for a time: only the newest word of each party is known",
    "what happened after the last head that others witnessed, but for what its receivers countersigned",
    "that what the records say is true: no word of it is here",
];

/// A report as JSON.
pub fn said(report: &Report) -> Json {
    let name = |org: OrgId| {
        let party = report.parties.iter().find(|party| party.org == org);
        party.map_or_else(|| org.short(), |party| party.name.clone())
    };
    let is = |org: OrgId| {
        let is = [
            ("maker", org == report.maker),
            ("receiver", report.feeds.iter().any(|feed| feed.receiver == org)),
            ("witness", report.witnesses.iter().any(|seen| seen.org == org)),
        ];
        is.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let check = |test: &Test| {
        let seen = report.checks.get(test).copied().unwrap_or_default();
        json!({
            "id": test.name(), "area": test.area().name(), "ok": seen.wrong == 0, "checked": seen.checked,
            "wrong": seen.wrong, "open": seen.open, "says": test.says(),
        })
    };
    let finding = |(n, finding): (usize, &Finding)| {
        json!({
            "id": n.to_string(), "area": finding.test.area().name(), "test": finding.test.name(),
            "ok": finding.mark == Mark::Open, "state": if finding.mark == Mark::Wrong { "finding" } else { "open" },
            "whose": name(finding.whose), "where": finding.place, "says": finding.says,
        })
    };
    let witness = |seen: &WitnessSeen| {
        let says =
            if seen.is_compared { "its card was compared" } else { "nobody has compared its card: it proves nothing" };
        json!({
            "id": seen.org.to_string(), "name": name(seen.org), "until": seen.until.to_string(),
            "compared": seen.is_compared, "says": says,
        })
    };
    let feeds = report.feeds.iter().map(|feed| {
        json!({
            "id": format!("{}@{}", feed.agreement, feed.receiver), "to": name(feed.receiver),
            "agreement": feed.agreement.to_string(), "runs": feed.runs, "entries": feed.entries,
            "releases": feed.releases, "withdrawals": feed.withdrawals, "acknowledged": feed.acknowledged,
        })
    });
    let agreements = report
        .agreements
        .iter()
        .map(|(id, seen)| json!({ "id": id.to_string(), "versions": seen.versions, "releases": seen.releases }));
    let areas = Area::ALL.map(|area| {
        let of = report.checks.iter().filter(|(test, _)| test.area() == area);
        let (wrong, open) = of.fold((0, 0), |(wrong, open), (_, seen)| (wrong + seen.wrong, open + seen.open));
        json!({ "id": area.name(), "ok": wrong == 0, "wrong": wrong, "open": open })
    });
    json!({
        "ok": report.is_good(),
        "maker": name(report.maker),
        "store": report.store.to_string(),
        "made": report.made.to_string(),
        "compared": report.parties.iter().all(|party| party.confirmed != Confirmed::ByNobody),
        "events": report.events,
        "intervals": report.intervals,
        "head": report.head.as_ref().map(|note| String::from_utf8_lossy(note)),
        "witnessed_until": report.witnessed().map(|at| at.to_string()),
        "witnesses": report.witnesses.iter().map(witness).collect::<Vec<_>>(),
        "areas": areas,
        "checks": Test::ALL.iter().map(check).collect::<Vec<_>>(),
        "findings": report.findings.iter().enumerate().map(finding).collect::<Vec<_>>(),
        "more_findings": report.more,
        "organisations": report.parties.iter().map(|of| party(of, &is(of.org))).collect::<Vec<_>>(),
        "agreements": agreements.collect::<Vec<_>>(),
        "feeds": feeds.collect::<Vec<_>>(),
        "not_proved": NOT_PROVED,
    })
}
