//! Mappings through real readers: what rows become, what is refused, and the mappings shipped with the example.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::ingest::table::{self, RowCause, RowFault};

const SAMPLE: &str = include_str!("../../../../certs-example/maps/sample.toml");
const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,\
                      lat,lon,custody,recovered_from,collector,condition,notes,photos\n";

/// Every row of a text file, mapped.
fn rows(map: &str, ending: &str, text: &str) -> Vec<Result<MappedRow, RowFault>> {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    all(map, file.path())
}

fn all(map: &str, path: &Path) -> Vec<Result<MappedRow, RowFault>> {
    let mapping = Mapping::parse(map).unwrap();
    let table = table::open(path, mapping.source()).unwrap();
    mapping.check_columns(table.columns()).unwrap();
    table.map(|row| row.and_then(|row| mapping.map(&row))).collect()
}

fn sample(body: &str) -> Vec<Result<MappedRow, RowFault>> {
    rows(SAMPLE, ".csv", &format!("{HEADER}{body}"))
}

fn record<'r>(row: &'r Result<MappedRow, RowFault>, name: &str) -> &'r MappedRecord {
    row.as_ref().unwrap().records.iter().find(|record| &*record.name == name).unwrap()
}

fn value<'r>(record: &'r MappedRecord, slot: &str) -> Option<&'r Value> {
    let number = record.kind.slot(slot).unwrap().number;
    record.fields.iter().find(|(have, _)| *have == number).map(|(_, value)| value)
}

fn text<'r>(record: &'r MappedRecord, slot: &str) -> Option<&'r str> {
    value(record, slot).and_then(Value::as_text)
}

/// Every value fits its slot, slots rise, and every required slot is filled or linked.
fn check_shapes(row: &MappedRow) {
    for record in &row.records {
        assert!(record.fields.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (slot, value) in &record.fields {
            let slot = record.kind.slot_number(*slot).unwrap();
            assert!(slot.shape.fits(value), "row {}: {}.{}", row.number, record.kind, slot.name);
        }
        for slot in record.kind.slots().filter(|slot| slot.required) {
            let filled = record.fields.iter().any(|(have, _)| *have == slot.number);
            assert!(filled || record.links.iter().any(|(have, _)| *have == slot.number), "{}", slot.name);
        }
    }
}

const ROW: &str = "EV-1,C-7,2024-03-05,pistol,Zastava,M57,7.62 mm Tokarev,ХР 4521,a;b,1974,Yugoslavia,Depot,Libya,\
                   Tripoli,32.8872,13.1913,Police,Militia,J. Doe,,rusty,IMG_1.jpg; IMG_2.jpg\n";

#[test]
fn a_row_is_an_item_its_event_and_two_parties() {
    let found = sample(ROW);
    let row = found[0].as_ref().unwrap();
    check_shapes(row);
    let names: Vec<&str> = row.records.iter().map(|record| &*record.name).collect();
    assert_eq!(names, ["custodian", "holder", "event", "item"]);
    let (item, event) = (record(&found[0], "item"), record(&found[0], "event"));
    assert_eq!(item.number, "EV-1");
    assert_eq!(text(item, "make-country"), Some("YU"));
    assert_eq!(text(item, "calibre"), Some("7.62x25"));
    assert_eq!(text(item, "calibre-raw"), Some("7.62 mm Tokarev"));
    assert_eq!(text(item, "condition"), Some("unknown"), "an empty cell takes the default");
    let serial = value(item, "serial").unwrap();
    assert_eq!(serial.member("raw").and_then(Value::as_text), Some("ХР 4521"));
    assert_eq!(serial.member("s2").and_then(Value::as_text), Some("XP4521"));
    assert_eq!(value(item, "marks").and_then(Value::as_array).map(<[Value]>::len), Some(2));
    assert_eq!(item.links, [(Kind::Item.slot("event").unwrap().number, Arc::from("event"))]);
    assert_eq!(item.photos, [PhotoRef::File("IMG_1.jpg".into()), PhotoRef::File("IMG_2.jpg".into())]);
    assert_eq!(text(event, "recovered"), Some("2024-03-05"));
    assert_eq!(event.links.len(), 2);
    let geo = value(event, "place-point").unwrap().member("geo").unwrap();
    assert_eq!(*geo, Value::Array(vec![Value::Int(131_913_000), Value::Int(328_872_000)]), "longitude first");
}

#[test]
fn a_corrected_row_changes_exactly_what_was_corrected() {
    let before = sample(ROW);
    let again = sample(ROW);
    let after = sample(&ROW.replace("M57", "M70"));
    for name in ["custodian", "holder", "event", "item"] {
        let (old, same, new) = (record(&before[0], name), record(&again[0], name), record(&after[0], name));
        assert_eq!((old.key, old.digest), (same.key, same.digest), "the same file adds nothing");
        assert_eq!(old.key, new.key, "{name} stays the same record");
        assert_eq!(old.digest == new.digest, name != "item", "{name}");
    }
    let renamed = SAMPLE.replace("name = \"sample\"", "name = \"other\"");
    let other = rows(&renamed, ".csv", &format!("{HEADER}{ROW}"));
    assert_ne!(record(&before[0], "item").key, record(&other[0], "item").key, "collections are apart");
}

#[test]
fn rows_of_one_case_share_its_event() {
    let found = sample(&format!("{ROW}{}", ROW.replace("EV-1", "EV-2")));
    assert_eq!(record(&found[0], "event").key, record(&found[1], "event").key);
    assert_eq!(record(&found[0], "event").digest, record(&found[1], "event").digest);
    assert_ne!(record(&found[0], "item").key, record(&found[1], "item").key);
}

#[test]
fn links_follow_what_the_row_has() {
    let found = sample(&ROW.replace("Police,Militia", ","));
    let row = found[0].as_ref().unwrap();
    assert_eq!(row.records.len(), 2);
    assert!(record(&found[0], "event").links.is_empty());
}

#[test]
fn bad_rows_are_named_and_good_ones_stand() {
    for (from, to, fault) in [
        ("2024-03-05", "31/02/2024", "column `date`: `31/02/2024` is not a date as %Y-%m-%d or %d/%m/%Y"),
        ("Yugoslavia", "Atlantis", "column `country_of_make`: `Atlantis` is not in the table `country`"),
        ("32.8872", "132.8872", "column `lat`: `132.8872` is not a coordinate"),
        ("32.8872", "", "column `lat`: empty"),
        ("pistol", "ray gun", "column `type`: `ray gun` is not one of"),
        ("EV-1", "", "column `number`: empty"),
        ("Zastava", "Zas\u{202e}tava", "column `make`: holds the control character U+202E"),
        ("Zastava", "Zas\u{1b}[2Jtava", "column `make`: holds the control character U+001B"),
    ] {
        let found = sample(&format!("{}{ROW}", ROW.replacen(from, to, 1)));
        let said = found[0].as_ref().unwrap_err().to_string();
        assert!(said.starts_with(&format!("row 2, {fault}")), "{said}");
        assert!(found[1].is_ok());
    }
}

#[test]
fn mappings_are_refused_with_line_and_key() {
    let base = "name = \"m\"\n[[record]]\nname = \"p\"\nkind = \"party\"\n[record.default]\neval = {}\n[record.fields]\n\
                number = { column = 1 }\nptype = { value = \"company\" }\nname = { column = 2 }\n";
    assert!(Mapping::parse(base).is_ok());
    for (from, to, line, said) in [
        ("kind = \"party\"", "kind = \"partie\"", 2, "is no kind"),
        ("ptype = { value = \"company\" }", "ptype = { value = \"firm\" }", 9, "one of"),
        ("name = { column = 2 }", "nam = { column = 2 }", 10, "has no field of this name"),
        ("name = { column = 2 }", "name = { column = 2, lookup = \"x\" }", 10, "[lookup.x]"),
        (
            "name = { column = 2 }",
            "name = { column = 2 }\nborn = { column = 3, parse = \"%d\" }",
            11,
            "no date pattern",
        ),
        ("name = { column = 2 }", "", 2, "`name` must be filled"),
        ("name = { column = 2 }", "name = { column = 2 }\n[record.link]\nrelated = \"q\"", 12, "put the whole first"),
        ("name = { column = 2 }", "name = { column = 2, value = \"x\", template = \"y\" }", 10, "one of column"),
    ] {
        let error = Mapping::parse(&base.replace(from, to)).unwrap_err();
        assert!(matches!(&error, MappingError::Key { line: at, .. } if *at == line), "{to}: {error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    // Several at once, in the order of the text; what follows from another fault is left out.
    let several = base
        .replace("ptype = { value = \"company\" }", "ptype = { value = \"firm\" }\nnam = { column = 3 }")
        .replace("name = { column = 2 }\n", "name = { column = 2, lookup = \"x\" }\n[record.link]\nrelated = \"q\"\n");
    let error = Mapping::parse(&several).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().map(|fault| fault.split(',').next().unwrap()).collect();
    assert_eq!(lines, ["line 9", "line 10", "line 11", "line 13"], "{error}");
    let unknown =
        base.replace("[record.default]\n", "feilds = 1\n[record.default]\n") + "colour = { colunm = 3 }\n[sorce]\n";
    let error = Mapping::parse(&unknown).unwrap_err().to_string();
    for part in ["line 5: unknown field `feilds`", "`colunm`", "`sorce`"] {
        assert!(error.contains(part), "`{part}`: {error}");
    }
    let error = Mapping::parse(&base.replace("kind = ", "knid = ")).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("knid") || error.contains("line 4"), "{error}");
    let derived = base
        .replace("kind = \"party\"", "kind = \"event\"")
        .replace("name = { column = 2 }", "")
        .replace("ptype = { value = \"company\" }", "etype = { value = \"found\" }\nplace-cell = { column = 1 }");
    assert!(Mapping::parse(&derived).unwrap_err().to_string().contains("computed from a finer field"));
}

#[test]
fn a_column_that_is_not_there_is_named_before_the_first_row() {
    let mapping = Mapping::parse(SAMPLE).unwrap();
    let columns = Columns::named(["number", "case"].into_iter()).unwrap();
    let said = mapping.check_columns(Some(&columns)).unwrap_err().to_string();
    assert!(said.contains("line 53, `date`"), "{said}");
    assert!(said.ends_with("import a file that has it. The file has number, case"), "{said}");
}

#[test]
fn every_shipped_mapping_reads() {
    let readme = include_str!("../../../../certs-example/maps/README.md");
    let example = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for (name, map) in [
        ("oryx", include_str!("../../../../certs-example/maps/oryx.toml")),
        ("crime-guns", include_str!("../../../../certs-example/maps/crime-guns.toml")),
        ("un-sanctions", include_str!("../../../../certs-example/maps/un-sanctions.toml")),
        ("exhibitors", include_str!("../../../../certs-example/maps/exhibitors.toml")),
        ("broker", include_str!("../../../../certs-example/maps/broker.toml")),
        ("ucdp", include_str!("../../../../certs-example/maps/ucdp.toml")),
        ("sample", SAMPLE),
        ("README", example),
    ] {
        let read = Mapping::parse(map);
        assert!(read.is_ok(), "{name}: {:?}", read.err().map(|error| error.to_string()));
    }
}

/// A file of the real data, or `None` where it is not at hand.
#[test]
fn lines_of_a_name_become_one_and_prose_keeps_its_own() {
    use super::convert::one_line;
    use entente_protocol::record::Shape;
    assert_eq!(one_line(Shape::Name, "MOUVEMENT POUR\n      LE PROGRES"), "MOUVEMENT POUR LE PROGRES");
    assert_eq!(one_line(Shape::Pairs, "a  b\n\n\tc"), "a  b c");
    assert_eq!(one_line(Shape::Marks, "AB\n12"), "AB|12");
    assert_eq!(one_line(Shape::LongText, "a\n\tb"), "a\n\tb");
}

fn data(path: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("ENTENTE_TEST_DATA") else {
        println!("skipped: ENTENTE_TEST_DATA is not set");
        return None;
    };
    Some(Path::new(&root).join("data").join(path))
}

/// Good rows, faults, and how many different records there are.
fn counted(map: &str, path: &Path) -> (Vec<MappedRow>, Vec<RowFault>, usize) {
    let (good, bad): (Vec<_>, Vec<_>) = all(map, path).into_iter().partition(Result::is_ok);
    let good: Vec<MappedRow> = good.into_iter().flatten().collect();
    good.iter().for_each(check_shapes);
    let keys: HashSet<RecordKey> = good.iter().flat_map(|row| row.records.iter().map(|record| record.key)).collect();
    (good, bad.into_iter().filter_map(Result::err).collect(), keys.len())
}

#[test]
fn real_brokering_licences() {
    let Some(path) = data("eu-export/broker.csv") else { return };
    let (good, bad, different) = counted(include_str!("../../../../certs-example/maps/broker.toml"), &path);
    assert_eq!((good.len(), different), (894, 885), "nine rows stand twice and are one record each");
    let ragged = bad.iter().filter(|fault| matches!(fault.cause, RowCause::Ragged { expected: 13, .. })).count();
    let years = bad.iter().filter(|fault| fault.column.is_some()).count();
    assert_eq!((bad.len(), ragged + years), (195, 195), "every line of leaked list text is named");
    assert!(bad.windows(2).all(|pair| pair[0].row < pair[1].row));
}

#[test]
fn real_losses() {
    let map = include_str!("../../../../certs-example/maps/oryx.toml");
    let mut total = 0;
    let mut makers: BTreeMap<String, usize> = BTreeMap::new();
    for (file, rows) in [("captured", 5_392), ("destroyed", 26_251), ("abandoned", 2_473), ("damaged", 3_389)] {
        let Some(path) = data(&format!("oryx/event_{file}.csv")) else { return };
        let (good, bad, different) = counted(map, &path);
        assert_eq!((good.len(), bad.len(), different), (rows, 0, 2 * rows), "{file}");
        total += good.len();
        for row in &good {
            let item = row.records.iter().find(|record| record.kind == Kind::Item).unwrap();
            *makers.entry(text(item, "make-country").unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!((total, makers.get("SU"), makers.get("YU")), (37_505, Some(&16_619), Some(&18)));
}

#[test]
fn real_crime_guns() {
    let Some(path) = data("firearms/de_gunstat_crime_guns_redacted.csv") else { return };
    let (good, bad, _) = counted(include_str!("../../../../certs-example/maps/crime-guns.toml"), &path);
    assert_eq!((good.len(), bad.len()), (635, 0), "{bad:?}");
    let items: Vec<_> = good.iter().map(|row| row.records.iter().find(|r| r.kind == Kind::Item).unwrap()).collect();
    let unknown = items.iter().filter(|item| {
        value(item, "serial").and_then(|serial| serial.member("state")).and_then(Value::as_text) == Some("UNK")
    });
    assert_eq!(unknown.count(), 52);
    assert_eq!(items.iter().filter(|item| text(item, "calibre") == Some("9mm-?")).count(), 414, "9mm, 9MM and 9 mm");
}

#[test]
fn real_sanctions_lists_and_their_update() {
    let map = include_str!("../../../../certs-example/maps/un-sanctions.toml");
    let Some(old) = data("un-sanctions/consolidated-2022-10-21.xml") else { return };
    let Some(new) = data("un-sanctions/consolidated-202303.xml") else { return };
    let (old, old_bad, _) = counted(map, &old);
    let (new, new_bad, _) = counted(map, &new);
    assert_eq!((old.len(), old_bad), (703 + 253, Vec::new()));
    assert_eq!((new.len(), new_bad), (701 + 254, Vec::new()));
    let before: HashSet<RecordKey> = old.iter().flat_map(|row| row.records.iter().map(|r| r.key)).collect();
    let after: HashSet<RecordKey> = new.iter().flat_map(|row| row.records.iter().map(|r| r.key)).collect();
    assert_eq!((after.difference(&before).count(), before.difference(&after).count()), (2, 3));
}

#[test]
fn real_exhibitors() {
    let map = include_str!("../../../../certs-example/maps/exhibitors.toml");
    for (file, rows) in [("dsei-2025", 1_737), ("idex-2025", 1_535), ("eurosatory-2026", 2_634)] {
        let Some(path) = data(&format!("parties/{file}.json")) else { return };
        let (good, bad, different) = counted(map, &path);
        assert_eq!((good.len(), bad, different), (rows, Vec::new(), rows), "{file}");
    }
}

#[test]
fn real_events_with_their_precision() {
    let Some(path) = data("events/ucdp_ged_23.1_CAF_482.geojson") else { return };
    let (good, bad, _) = counted(include_str!("../../../../certs-example/maps/ucdp.toml"), &path);
    assert_eq!((good.len(), bad), (1_848, Vec::new()));
    let exact = good.iter().filter(|row| {
        value(&row.records[0], "place-point").and_then(|point| point.member("prec")).and_then(Value::as_int) == Some(1)
    });
    assert_eq!(exact.count(), 1_214);
}
