//! Real public lists through the same commands that people use, read where they lie; absent means skipped.

use entente_tests::Home;
use serde_json::Value;
use std::path::Path;

/// Imports a file by a shipped mapping and compares rows, bad rows, repeats and new records.
fn check(home: &Home, data: &Path, file: &str, map: &str, expected: [u64; 4]) -> Value {
    let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example/maps").join(map);
    let (file, map) = (data.join(file).display().to_string(), maps.display().to_string());
    let report = home.json(&["import", &file, "--map", &map]);
    let counted = ["rows", "bad_rows", "repeated_rows", "added"].map(|key| report[key].as_u64().unwrap_or(u64::MAX));
    assert_eq!(counted, expected, "{file}");
    report
}

/// Story: an analyst brings what is public. Every row is kept or named, and the same file again adds nothing.
#[test]
fn public_lists_are_imported_whole_or_named_row_by_row() {
    let Some(data) = std::env::var_os("ENTENTE_TEST_DATA").map(|d| Path::new(&d).join("data")).filter(|d| d.exists())
    else {
        println!("skipped: public lists: no test data");
        return;
    };
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let home = Home::init(folder.path(), "a");
    check(&home, &data, "firearms/de_gunstat_crime_guns_redacted.csv", "crime-guns.toml", [635, 0, 0, 1_270]);
    check(&home, &data, "un-sanctions/consolidated-202303.xml", "un-sanctions.toml", [955, 0, 0, 955]);
    check(&home, &data, "parties/dsei-2025.json", "exhibitors.toml", [1_737, 0, 0, 1_737]);
    check(&home, &data, "oryx/event_captured.csv", "oryx.toml", [5_392, 0, 0, 10_784]);
    // 894 well-formed rows, nine of them repeats of others; all other lines are named.
    let broker = check(&home, &data, "eu-export/broker.csv", "broker.toml", [1_089, 195, 9, 885]);
    let named = broker["bad"].as_array().map_or(0, Vec::len);
    assert_eq!(named, 195);
    check(&home, &data, "eu-export/broker.csv", "broker.toml", [1_089, 195, 894, 0]);

    // A serial is found in any spelling.
    for spelling in ["ABE573528", "abe 573-528"] {
        let found = home.json(&["search", "--serial", spelling]);
        assert!(found[0]["fields"]["serial"]["s1"] == "ABE573528", "{spelling}: {found}");
    }
}
