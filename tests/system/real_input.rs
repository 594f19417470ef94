//! Real public lists through the same commands that people use, read where they lie; absent means skipped.
//!
//! What is imported is also shared with a second organisation, counted there, and looked up there.

use entente_tests::{Home, World, search, search::Secret, within};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

type Outcome = Result<(), Box<dyn Error>>;

/// Everything that the lists hold, and photographs without place, time, author and camera.
const CLAUSES: &str = r#"
[[clause]]
name = "lists"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
carries = ["person", "place", "serial", "maker", "device"]
personal = [
  { kind = "party", slot = "name", purpose = "sanctions", retention-days = 30 },
  { kind = "party", slot = "aliases", purpose = "sanctions", retention-days = 30 },
]
disclose.item = ["number", "eval", "type", "make", "make-country", "model", "calibre", "serial", "serial-prefix", "serial-state", "condition", "event"]
disclose.party = ["number", "eval", "ptype", "name", "country", "aliases"]
disclose.transfer = ["number", "eval", "tkind", "authorised", "from-country", "to-country", "ml"]

[[clause]]
name = "photographs"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
when = 'resource.role == "stripped"'
files = ["stripped"]
disclose.attachment = ["number", "eval", "of", "role", "media", "content"]
"#;

fn data() -> Option<PathBuf> {
    std::env::var_os("ENTENTE_TEST_DATA").map(|d| Path::new(&d).join("data")).filter(|d| d.exists())
}

/// Imports a file by a shipped mapping and compares rows, bad rows, repeats and new records.
fn check(home: &Home, data: &Path, file: &str, map: &str, expected: [u64; 4]) -> Value {
    let begun = Instant::now();
    let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example/maps").join(map);
    let (path, map) = (data.join(file).display().to_string(), maps.display().to_string());
    let report = home.json(&["import", &path, "--map", &map]);
    let counted = ["rows", "bad_rows", "repeated_rows", "added"].map(|key| report[key].as_u64().unwrap_or(u64::MAX));
    assert_eq!(counted, expected, "{file}");
    println!("{file}: {} rows in {:.1} s", counted[0], begun.elapsed().as_secs_f64());
    report
}

/// The photographs, named by a table of one row.
fn photographs(home: &Home, data: &Path) -> Result<usize, Box<dyn Error>> {
    let photos = data.join("photos");
    let mut names = Vec::new();
    for entry in fs::read_dir(&photos)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let header = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
                  custody,recovered_from,collector,condition,notes,photos\n";
    let row = format!("PHOTO-1,PHOTO-C,2026-01-02,other,,,,UNK,,,,,,,,,,,,unknown,,{}\n", names.join(";"));
    let table = home.file("photos.csv", &format!("{header}{row}"));
    let report = home.json(&["import", &table, "--attachments", &photos.display().to_string()]);
    assert_eq!((&report["bad_rows"], report["files"].as_u64()), (&0.into(), Some(3 * names.len() as u64)), "{report}");
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("nikon_d5000.jpg") && notes.contains("place is unusable"),
        "the broken place is named: {notes}"
    );
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(1), "and nothing else is: {notes}");
    Ok(names.len())
}

/// How many records of a kind a search finds.
fn found(home: &Home, args: &[&str]) -> usize {
    let all: Vec<&str> = ["search", "--limit", "100000"].iter().chain(args).copied().collect();
    home.json(&all).as_array().map_or(0, Vec::len)
}

/// Story: an analyst brings what is public, and a partner gets it. Every row is kept or named, the same file again adds
/// nothing, and what the partner holds is counted and looked up.
#[test]
fn public_lists_are_imported_whole_or_named_row_by_row_and_shared() -> Outcome {
    let Some(data) = data() else {
        println!("skipped: public lists: no test data");
        return Ok(());
    };
    let (_world, [mut a, mut b]) = World::of(81, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, CLAUSES);
    a.start();
    check(&a, &data, "firearms/de_gunstat_crime_guns_redacted.csv", "crime-guns.toml", [635, 0, 0, 1_270]);
    check(&a, &data, "un-sanctions/consolidated-202303.xml", "un-sanctions.toml", [955, 0, 0, 955]);
    check(&a, &data, "parties/dsei-2025.json", "exhibitors.toml", [1_737, 0, 0, 1_737]);
    // Who showed at another fair too is the same company, and amended where the other list says otherwise.
    let idex = check(&a, &data, "parties/idex-2025.json", "exhibitors.toml", [1_535, 0, 1, 1_437]);
    let euro = check(&a, &data, "parties/eurosatory-2026.json", "exhibitors.toml", [2_634, 0, 0, 2_374]);
    let amended: u64 = [&idex, &euro].iter().filter_map(|report| report["amended"].as_u64()).sum();
    // Each row is an observation and what was observed.
    let oryx = [("abandoned", 2_473), ("captured", 5_392), ("damaged", 3_389), ("destroyed", 26_251)];
    assert_eq!(oryx.iter().map(|(_, rows)| rows).sum::<u64>(), 37_505);
    for (name, rows) in oryx {
        check(&a, &data, &format!("oryx/event_{name}.csv"), "oryx.toml", [rows, 0, 0, 2 * rows]);
    }
    // 894 well-formed rows, nine of them repeats of others: the same row twice is one record. All other lines are named.
    let broker = check(&a, &data, "eu-export/broker.csv", "broker.toml", [1_089, 195, 9, 885]);
    let named: Vec<u64> =
        broker["bad"].as_array().into_iter().flatten().filter_map(|bad| bad["row"].as_u64()).collect();
    assert_eq!(named.len(), 195);
    assert!(named.is_sorted_by(|a, b| a < b) && named.iter().all(|row| (1..=1_089).contains(row)), "{named:?}");
    assert!(
        broker["bad"]
            .as_array()
            .into_iter()
            .flatten()
            .all(|bad| bad["why"].as_str().is_some_and(|why| !why.is_empty()))
    );
    check(&a, &data, "eu-export/broker.csv", "broker.toml", [1_089, 195, 894, 0]);
    let photos = photographs(&a, &data)?;

    // A serial is found in any spelling.
    for spelling in ["ABE573528", "abe 573-528"] {
        let found = a.json(&["search", "--serial", spelling]);
        assert!(found[0]["fields"]["serial"]["s1"] == "ABE573528", "{spelling}: {found}");
    }

    let begun = Instant::now();
    a.pass_all();
    println!("review and release: {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    b.start();
    let items = 635 + 37_505 + 1;
    // What a company said of itself before its amendment does not go: the clause would not show that it was amended.
    assert!(amended > 0, "no company is amended: the fairs do not overlap");
    let parties = 955 + 1_737 + 1_437 + 2_374;
    let expected = items + parties + 885 + photos as u64;
    within(Duration::from_secs(600), "everything has arrived", || {
        let status = b.json(&["status"]);
        status["records_received"].as_u64() >= Some(expected) && status["files_waiting"] == 0
    });
    println!("shared: {expected} records in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(found(&b, &["--received", "--state", "withdrawn"]), 0);
    assert_eq!(a.sync(&b)["acknowledged"], expected);
    let kinds = [("item", items), ("party", parties), ("transfer", 885), ("attachment", photos as u64)];
    for (kind, count) in kinds {
        assert_eq!(found(&b, &["--received", "--kind", kind]) as u64, count, "{kind}");
    }
    assert_eq!(b.json(&["status"])["records_received"], expected, "and nothing else: no event, no original");
    spot_check(&a, &b)
}

/// A serial, a party and a photograph at the receiver.
fn spot_check(a: &Home, b: &Home) -> Outcome {
    let gun = b.json(&["search", "--received", "--serial", "abe 573-528"]);
    assert_eq!(gun[0]["fields"]["serial"]["s1"], "ABE573528");
    assert!(gun[0]["fields"]["event"].is_null(), "the event was not released, so nothing refers to it");
    let id = gun[0]["id"].as_str().ok_or("id")?;
    assert_eq!(b.json(&["record", "verify", id])["ok"], true);
    let own = a.json(&["search", "--own", "--kind", "party", "--limit", "1"]);
    let number = own[0]["number"].as_str().ok_or("number")?;
    let party = b.json(&["search", "--received", "--number", number]);
    assert_eq!(party[0]["fields"]["name"], own[0]["fields"]["name"]);

    let copies = b.json(&["search", "--received", "--kind", "attachment"]);
    for copy in copies.as_array().into_iter().flatten() {
        let id = copy["id"].as_str().ok_or("id")?;
        let path = b.path(&format!("{id}.jpg"));
        let written = b.json(&["record", "attachment", id, "-o", &path]);
        assert_eq!((&written["verified"], &written["role"]), (&true.into(), &"stripped".into()));
        let bytes = fs::read(path)?;
        assert!(bytes.starts_with(&[0xff, 0xd8, 0xff]), "a picture");
        // What the originals say in their metadata: cameras, a photographer, a marker.
        let secrets =
            ["Exif", "FinePix", "iPhone", "NIKON", "Lumia", "Jolla", "HTC", "OLYMPUS", "DSC-HX5V", "Kyle Davis"];
        assert_eq!(search::leaked(&secrets.map(Secret::text), &[bytes]), None);
        assert_eq!(b.json(&["record", "verify", id])["ok"], true);
    }
    Ok(())
}
