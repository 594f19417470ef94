//! Verifying a package that somebody brought: from its file, without a home, and said as JSON.

use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    regular,
};
use entente_protocol::{
    id::OrgId,
    identity::UnconfirmedCard,
    limits,
    package::{self, Confirmed, FileState, PackageFault, Party, Pins, Proved, Report, Since, Source, Unreadable},
    time::UnixMillis,
};
use serde_json::{Value as Json, json};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// A file that is read at any place.
pub(crate) struct OnDisk {
    file: File,
    len: u64,
    /// Where the file stands: most reads go on from there.
    at: u64,
}

impl OnDisk {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = regular::open(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len, at: len })
    }
}

impl Source for OnDisk {
    fn len(&self) -> u64 {
        self.len
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
        let fails = |e: std::io::Error| Unreadable(e.to_string());
        if self.at != offset {
            self.file.seek(SeekFrom::Start(offset)).map_err(fails)?;
        }
        self.file.read_exact(buffer).map_err(fails)?;
        self.at = offset + buffer.len() as u64;
        Ok(())
    }
}

/// Cards that people brought to compare.
pub(crate) fn pins(cards: &[PathBuf]) -> Result<Pins, Fault> {
    let mut pins = Pins::default();
    for path in cards {
        let refused = |what: &dyn std::fmt::Display| Fault::input("card", format!("`{}`: {what}", path.display()));
        let text = regular::text(path, 2 * limits::CARD_BYTES_MAX as u64).map_err(|e| refused(&e))?;
        pins.push(UnconfirmedCard::from_armour(&text).map_err(|e| refused(&e))?);
    }
    Ok(pins)
}

/// What a package proves; or that it is refused, and why. A fault only where it could not be looked at.
pub fn verify(path: &Path, cards: &[PathBuf], now: UnixMillis, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let pins = pins(cards)?;
    let cannot = |e: std::io::Error| Fault::input("read", format!("`{}` cannot be read: {e}", path.display()));
    let source = OnDisk::open(path).map_err(cannot)?;
    let mut tell = |done, total| progress(Progress { done, total: Some(total) });
    match package::verify(source, &pins, now, &mut tell) {
        Ok(report) => Ok(said(&report)),
        Err(PackageFault::Unreadable(e)) => {
            Err(Fault::input("read", format!("`{}` cannot be read: {e}", path.display())))
        }
        Err(fault @ PackageFault::NoSuchParty { .. }) => Err(Fault::input("card", fault)),
        Err(fault) => Ok(json!({ "ok": false, "refused": fault.to_string() })),
    }
}

/// An organisation: what it is here, the words of its card, and whether somebody has compared them.
pub(crate) fn party(party: &Party, is: &[&str]) -> Json {
    let compared = party.confirmed != Confirmed::ByNobody;
    json!({
        "id": party.org.to_string(), "name": party.name, "handle": party.handle, "card": party.number,
        "is": is, "words": party.words.to_string(), "compared": compared, "confirmed": compared,
        "says": confirmed(party),
    })
}

fn confirmed(party: &Party) -> &'static str {
    match party.confirmed {
        Confirmed::ByNobody => "known from this file alone: nobody has compared these words",
        Confirmed::ByCard => "it is the card that you gave",
        Confirmed::ByNewerCard => "the card that you gave is newer, and was used",
        Confirmed::BySuccession => "it follows the card that you gave",
    }
}

fn said(report: &Report) -> Json {
    let name = |org: OrgId| report.party(org).map_or_else(|| org.short(), |party| party.name.clone());
    let is = |org: OrgId| {
        let hands = || report.records.iter().flat_map(|record| &record.hands);
        let is = [
            ("maker", org == report.maker),
            ("originator", report.records.iter().any(|record| record.originator == org)),
            ("sender", hands().any(|hand| hand.from == org)),
            ("receiver", hands().any(|hand| hand.to == org)),
            ("witness", report.logs.iter().any(|log| log.by.iter().any(|(by, _)| *by == org))),
        ];
        is.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let compared = report.parties.iter().all(|party| party.confirmed != Confirmed::ByNobody);
    let logs = report.logs.iter().enumerate().map(|(n, log)| {
        let by =
            log.by.iter().map(|(org, at)| json!({ "id": org.to_string(), "name": name(*org), "at": at.to_string() }));
        let doubled = log.doubled.iter().map(|org| json!({ "id": org.to_string(), "name": name(*org) }));
        json!({
            "id": n.to_string(), "of": name(log.org), "until": log.until.to_string(), "places": log.places,
            "witnessed_by": by.collect::<Vec<_>>(), "one_key_of_two": doubled.collect::<Vec<_>>(),
        })
    });
    json!({
        "ok": report.is_good(),
        "maker": name(report.maker),
        "made": report.made.to_string(),
        "compared": compared,
        "files": report.files,
        "file_bytes": report.file_bytes,
        "organisations": report.parties.iter().map(|of| party(of, &is(of.org))).collect::<Vec<_>>(),
        "records": report.records.iter().map(|record| record_said(report, record, &name)).collect::<Vec<_>>(),
        "logs": logs.collect::<Vec<_>>(),
    })
}

fn record_said(report: &Report, record: &Proved, name: &dyn Fn(OrgId) -> String) -> Json {
    let (how, by) = match &record.since {
        Since::Witnessed { by, .. } => ("witnessed", by.iter().map(|org| name(*org)).collect::<Vec<_>>()),
        Since::Countersigned { by, .. } => ("countersigned", vec![name(*by)]),
        Since::Sent { by, .. } => ("sent on", vec![name(*by)]),
        Since::Stated { .. } => ("stated", vec![name(record.originator)]),
    };
    let at = record.since.at();
    let since = match how {
        "witnessed" => format!("since {at} at the latest: its log was witnessed by {}", by.join(", ")),
        "countersigned" => format!("since {at} at the latest: countersigned by {}", by.join(", ")),
        "sent on" => format!("since {at} at the latest: sent on by {}", by.join(", ")),
        _ => format!("{at}, by the originator's own statement of time only"),
    };
    let maker = name(report.maker);
    let standing = match record.standing.state {
        state if !state.stands() => format!("{}, known to {maker} since {}", state.name(), record.standing.at),
        state if state.name() == "amended" => {
            format!("a newer record takes its place; no withdrawal known to {maker} as of {}", record.standing.at)
        }
        _ => format!("no withdrawal known to {maker} as of {}", record.standing.at),
    };
    let hands = record.hands.iter().enumerate().map(|(n, hand)| {
        json!({
            "id": n.to_string(), "from": name(hand.from), "to": name(hand.to),
            "sent": hand.sent.to_string(), "received": hand.received.map(|at| at.to_string()),
        })
    });
    let shown = record.shown.iter().filter_map(|slot| record.kind.slot_number(slot)).map(|slot| slot.name);
    json!({
        "id": record.id.to_string(),
        "ok": record.is_good(),
        "place": record.place,
        "line": record.line.to_string(),
        "kind": record.kind.name(),
        "number": record.number,
        "originator": name(record.originator),
        "originator_id": record.originator.to_string(),
        "attested": record.attested.to_string(),
        "since": since,
        "since_at": at.to_string(),
        "since_by": how,
        "hands": hands.collect::<Vec<_>>(),
        "fields": shown.collect::<Vec<_>>(),
        "file": match record.file {
            FileState::None => "none",
            FileState::Here => "here",
            FileState::LeftOut => "left out",
        },
        "standing": standing,
        "state": record.standing.state.name(),
        "doubts": record.doubts,
    })
}
