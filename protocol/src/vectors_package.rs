//! Golden vectors of evidence packages: whole files. See the head of `vectors.rs`. Tests only.

use crate::{
    package::testing::{self, Sample},
    package::{Since, parts::Part},
    time::UnixMillis,
    vectors::{answer_of, check, unhex},
};
use serde_json::{Value as Json, json};

fn sample(change: impl Fn(&mut Sample)) -> Vec<u8> {
    let mut sample = Sample::new(&[0, 8, 10]);
    // Two organisations are enough here, and small files are easier to read.
    sample.log = None;
    sample.cards.retain(|(org, _)| *org != testing::org(testing::WITNESS));
    change(&mut sample);
    sample.bytes()
}

fn said(bytes: &[u8]) -> String {
    answer_of(testing::verified(bytes), |report| {
        let mut out = format!("maker {}", report.maker);
        for record in &report.records {
            let how = match record.since {
                Since::Witnessed { .. } => "witnessed",
                Since::Countersigned { .. } => "countersigned",
                Since::Sent { .. } => "sent on",
                Since::Stated { .. } => "stated",
            };
            let shown: Vec<u8> = record.shown.iter().collect();
            out.push_str(&format!("; record {}, shown {shown:?}, {how} {}", record.id, record.since.at()));
        }
        out
    })
}

#[test]
fn packages() {
    let good = sample(|_| ());
    let hex = |bytes: &[u8]| json!(hex::encode(bytes));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        hex(&bytes)
    };
    let value = |bytes: &[u8]| bytes.windows(7).position(|window| window == b"Zastava").unwrap();
    let bare = |part: &Part| Part::new(part.redacted(), (1, part.position, part.above.clone()), part.standing, vec![]);
    let vectors = vec![
        ("package_valid", hex(&good), "countersigned"),
        (
            "package_without_runs",
            hex(&sample(|s| {
                s.records = s.records.iter().map(bare).collect();
                s.runs.clear();
            })),
            "stated",
        ),
        ("package_value_changed", changed(&|bytes| bytes[value(&good)] ^= 0x20), "`records/00001.cbor` was changed"),
        ("package_trailing_byte", changed(&|bytes| bytes.push(0)), "does not end"),
        ("package_cut_short", changed(&|bytes| bytes.truncate(good.len() - 1)), "does not end"),
        ("package_flagged", changed(&|bytes| bytes[6] = 8), "its sizes follow"),
        (
            "package_of_another_batch",
            hex(&sample(|s| s.batches[0] = testing::other_head().to_bytes().unwrap())),
            "not in the batch",
        ),
        ("package_without_a_card", hex(&sample(|s| drop(s.cards.pop()))), "card of organisation"),
        ("package_of_another_file", hex(&sample(|s| s.files[0].1[0] ^= 1)), "not the file"),
        ("package_of_tomorrow", hex(&sample(|s| s.made = UnixMillis(testing::NOW.0 + 300_001))), "after"),
    ];
    let judge = |input: &Json| said(&unhex(input));
    let about = format!(
        "Evidence packages (SPEC 11), whole files in hexadecimal, read at {} milliseconds. Organisations have the cards in them; \
         nobody has compared these.",
        testing::NOW.0
    );
    check("package.json", include_str!("../../tests/vectors/package.json"), &about, vectors, judge);
}
