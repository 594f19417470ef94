//! Golden vectors of audit exports: whole files. See the head of `vectors.rs`. Tests only.

use crate::{
    audit::{
        Item, Mark, Report,
        testing::{self, Sample},
    },
    limits,
    time::UnixMillis,
    vectors::{answer_of, check, unhex},
};
use serde_json::{Value as Json, json};

fn sample(change: impl Fn(&mut Sample)) -> Vec<u8> {
    let mut sample = Sample::new();
    change(&mut sample);
    sample.bytes()
}

/// Which tests found something, each as often as it did.
fn found(report: &Report, mark: Mark) -> String {
    let of = report.findings.iter().filter(|finding| finding.mark == mark);
    of.map(|finding| finding.test.name()).collect::<Vec<_>>().join(", ")
}

fn said(bytes: &[u8]) -> String {
    answer_of(testing::verified(bytes), |report| {
        let feeds: Vec<String> =
            report.feeds.iter().map(|feed| format!("{} of {}", feed.acknowledged, feed.entries)).collect();
        format!(
            "maker {}, {} events, {} intervals, countersigned {}; wrong: {}; open: {}",
            report.maker,
            report.events,
            report.intervals,
            feeds.join(", "),
            found(&report, Mark::Wrong),
            found(&report, Mark::Open),
        )
    })
}

#[test]
fn audit_exports() {
    let good = sample(|_| ());
    let hex = |bytes: &[u8]| json!(hex::encode(bytes));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        hex(&bytes)
    };
    let mut moved = Sample::new().items();
    let at = moved.iter().position(|item| matches!(item, Item::Feed(_))).unwrap();
    moved.swap(at, at + 1);
    let vectors = vec![
        ("audit_valid", hex(&good), "wrong: ; open: witnessed"),
        ("audit_byte_changed", changed(&|bytes| bytes[40] ^= 1), "changed"),
        ("audit_cut_short", changed(&|bytes| bytes.truncate(good.len() - 1)), "cut short"),
        ("audit_trailing_byte", changed(&|bytes| bytes.push(0)), "stands after its end"),
        ("audit_item_out_of_place", hex(&testing::sealed(&moved)), "does not stand in its place"),
        (
            "audit_of_tomorrow",
            hex(&sample(|s| s.head.time = UnixMillis(testing::NOW.0 + limits::CLOCK_SKEW_MS_MAX + 1))),
            "to come",
        ),
        ("audit_event_left_out", hex(&sample(|s| drop(s.events.remove(2)))), "wrong: journal"),
        ("audit_slot_not_disclosed", hex(&sample(|s| s.released().slots.push(11))), "wrong: clauses"),
        ("audit_never_released", hex(&sample(|s| drop(s.gate.pop()))), "wrong: release gate"),
        ("audit_not_countersigned", hex(&sample(|s| s.receipt = None)), "wrong: ; open: witnessed, acknowledged"),
    ];
    let judge = |input: &Json| said(&unhex(input));
    let about = format!(
        "Audit exports (SPEC 11), whole files in hexadecimal, read at {} milliseconds. Organisations have the cards in them; nobody \
         has compared these. Answers name each test that found something, `wrong` or `open`, as often as it did.",
        testing::NOW.0
    );
    check("audit.json", include_str!("../../tests/vectors/audit.json"), &about, vectors, judge);
}
