//! Photographs under an agreement that withholds place, author and camera: every byte that arrives is searched.

use entente_tests::{
    Home, World,
    search::{self, Secret},
    until,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
};

type Outcome = Result<(), Box<dyn Error>>;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example").join(name)
}

/// What the originals tell, and no copy may.
fn told_by(originals: &[Value]) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for record in originals {
        let fields = &record["fields"];
        let texts = ["author", "camera", "name", "taken"].map(|name| fields[name].as_str().map(str::to_owned));
        told.extend(texts.into_iter().flatten());
        for value in fields["exif"].as_object().into_iter().flatten().map(|(_, value)| value) {
            told.extend(value.as_str().map(str::to_owned));
        }
        for degrees in fields["place-point"]["geo"].as_array().into_iter().flatten() {
            told.insert(degrees.to_string());
        }
    }
    // What is shorter stands in any picture by chance.
    told.into_iter().filter(|text| text.len() > 5).collect()
}

fn secret(text: &str) -> Secret {
    text.parse().map_or_else(|_| Secret::text(text), Secret::number)
}

/// Markers of metadata in JPEG and PNG files.
const MARKERS: [&[u8]; 10] = [
    b"Exif",
    b"http://ns.adobe.com",
    b"Photoshop 3.0",
    b"GPS",
    b"ICC_PROFILE",
    b"tEXt",
    b"iTXt",
    b"zTXt",
    b"eXIf",
    b"tIME",
];

/// Contents of files, by role.
type ByRole = BTreeMap<String, Vec<Vec<u8>>>;

/// Writes out every file that a home received; by role.
fn write_out(panel: &Home, files: &[Value]) -> Result<ByRole, Box<dyn Error>> {
    let mut out: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for record in files {
        let id = record["id"].as_str().ok_or("id")?;
        let path = panel.path(&format!("{id}.out"));
        let written = panel.json(&["record", "attachment", id, "-o", &path]);
        assert_eq!(written["verified"], true, "{written}");
        let role = record["fields"]["role"].as_str().ok_or("role")?;
        out.entry(role.to_owned()).or_default().push(fs::read(path)?);
    }
    Ok(out)
}

/// Story: twelve photographs come with the field mission's table. The panel's clause gives it stripped copies and
/// thumbnails with the year. No byte that it has tells place, day, author, camera or the file's name.
#[test]
fn no_byte_that_arrives_tells_place_author_or_camera() -> Outcome {
    let (_world, [mut car, mut panel]) = World::traced(11, ["car", "panel"]);
    car.pair(&panel);
    let _agreed = car.sign_text(&panel, 1, &fs::read_to_string(sample("agreements/car-panel.toml"))?);
    let (table, photos) = (sample("evidence/field-mission-2026.csv"), sample("evidence/photos"));
    let (table, photos) = (table.display().to_string(), photos.display().to_string());
    let report = car.json(&["import", &table, "--attachments", &photos]);
    assert_eq!((&report["files"], &report["bad_rows"]), (&36.into(), &6.into()), "{report}");
    car.pass_all();
    let originals = car.json(&["search", "--own", "--kind", "attachment"]);
    let originals: Vec<Value> =
        originals.as_array().into_iter().flatten().filter(|r| r["fields"]["role"] == "original").cloned().collect();
    let told = told_by(&originals);
    for expected in ["Observer Seven", "T. Marand (sample)", "IMG_0001.jpg", "2026-01-05"] {
        assert!(told.iter().any(|text| text.contains(expected)), "the originals tell `{expected}`: {told:?}");
    }
    let secrets: Vec<Secret> = told.iter().map(|text| secret(text)).collect();

    panel.start();
    car.start();
    car.sync(&panel);
    until("the panel has every file", || {
        let status = panel.json(&["status"]);
        status["files_waiting"] == 0 && status["records_received"].as_u64() > Some(200)
    });
    let records = panel.received();
    let files: Vec<Value> = records.iter().filter(|r| r["kind"] == "attachment").cloned().collect();
    let by_role = write_out(&panel, &files)?;
    let roles: BTreeMap<&str, usize> = by_role.iter().map(|(role, files)| (role.as_str(), files.len())).collect();
    assert_eq!(roles, BTreeMap::from([("stripped", 12), ("thumbnail", 12)]), "no original arrived");
    for bytes in by_role.values().flatten() {
        for marker in MARKERS {
            assert!(!bytes.windows(marker.len()).any(|w| w == marker), "metadata: {}", String::from_utf8_lossy(marker));
        }
    }
    let mut has: Vec<Vec<u8>> = by_role.into_values().flatten().collect();
    for record in &records {
        let id = record["id"].as_str().ok_or("id")?;
        if record["kind"] == "attachment" {
            has.push(panel.json(&["record", "show", id]).to_string().into_bytes());
            has.push(panel.json(&["record", "verify", id]).to_string().into_bytes());
        }
    }
    has.push(Value::Array(records).to_string().into_bytes());
    panel.stop();
    has.extend(search::held(&panel.open())?);
    assert_eq!(search::leaked(&secrets, &has), None);

    // An original that was never released is not given by its id either.
    let original = originals[0]["id"].as_str().ok_or("id")?;
    let fault = panel.refused(2, &["record", "attachment", original, "-o", &panel.path("never.jpg")]);
    assert_eq!(fault["code"], "no-record");
    assert!(!Path::new(&panel.path("never.jpg")).exists());
    Ok(())
}
