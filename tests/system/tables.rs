//! Tables as offices have them: with columns of their own, decimal commas, own names of countries, and as workbooks.

use crate::newcomer::{HEADER, message, row};
use entente_tests::World;
use serde_json::Value;
use std::{
    error::Error,
    fs,
    io::{Cursor, Write as _},
};

type Outcome = Result<(), Box<dyn Error>>;

/// Story: a table with columns of its own comes without a mapping. The refusal shows both sets of columns and how to
/// begin; what it shows is a mapping that works once the columns are filled in.
#[test]
fn a_table_of_ones_own_is_answered_with_how_to_begin() -> Outcome {
    let (_world, [a]) = World::of(90, ["a"]);
    let own = a.file("own.csv", "Inv;Was;Seriennummer\nX-1;pistol;A 1\nX-2;rifle;\n");
    let fault = a.refused(2, &["import", &own]);
    let told = message(&fault).to_owned();
    for part in [
        "own.csv",
        "Inv;Was;Seriennummer",
        "delimiter = \";\"",
        "number",
        "--map",
        "maps/README.md",
        "sample.toml",
        "--dry-run",
    ] {
        assert!(told.contains(part), "`{part}`: {told}");
    }
    let begun =
        told.split("name = \"my list\"").nth(1).and_then(|rest| rest.split("\n\n").next()).ok_or("no beginning")?;
    let mut columns = ["Inv", "Inv", "Was", "Seriennummer"].into_iter();
    let mut map = "name = \"my list\"".to_owned();
    for (n, part) in begun.split("\"...\"").enumerate() {
        if n > 0 {
            map += &format!("\"{}\"", columns.next().ok_or("more places than columns")?);
        }
        map += part;
    }
    let map = a.file("map.toml", &map);
    let report = a.json(&["import", &own, "--map", &map]);
    assert_eq!((&report["added"], &report["bad_rows"]), (&2.into(), &0.into()), "{report}");
    // A mapping of one's own that names what is not there still says which, all of it at once.
    let other = a.file("other.csv", "Inv;Jahr\nX-3;1990\n");
    let fault = a.refused(2, &["import", &other, "--map", &map]);
    assert!(["Was", "Seriennummer", "Jahr"].iter().all(|part| message(&fault).contains(part)), "{fault}");
    Ok(())
}

/// Story: a mapping has a table of countries for the names that an office uses. It adds to the shipped one and wins; its
/// `*` stands for what neither knows. Decimal commas are read; a number that may mean two things leaves its row out.
#[test]
fn own_countries_add_to_the_shipped_ones_and_commas_are_read() -> Outcome {
    let (_world, [a]) = World::of(91, ["a"]);
    let map = |rest: &str| {
        format!(
            "name = \"m\"\n[source]\ndelimiter = \";\"\n[keys]\ncolumns = [\"n\"]\n[default]\neval = {{ src4 = \"B\", inf4 = 2 }}\n\
             [lookup.country]\nhome = \"HR\"\nserbia = \"ME\"\n{rest}[[record]]\nname = \"event\"\nkind = \"event\"\n\
             [record.fields]\nnumber = {{ column = \"n\" }}\netype = {{ value = \"found\" }}\n\
             place-country = {{ column = \"c\", lookup = \"country\" }}\n\
             place-point = {{ lat = \"lat\", lon = \"lon\", precision = 1 }}\n\
             [[record]]\nname = \"lot\"\nkind = \"ammunition\"\nwhen = {{ column = \"q\" }}\n[record.fields]\n\
             number = {{ template = \"{{n}}-Q\" }}\nquantity = {{ column = \"q\", unit = \"rounds\" }}\n\
             calibre = {{ value = \"9x19\" }}\n"
        )
    };
    let table = "n;c;lat;lon;q\nE-1;home;13,4512;-0,5;\nE-2;Chad;13.5;14,25;\nE-3;Serbia;;;1.200,0\nE-4;Nowhere;;;\n\
                 E-5;Chad;;;1,200\nE-6;Chad;1.3,4;2;\n";
    let file = a.file("t.csv", table);
    let strict = a.file("strict.toml", &map(""));
    let report = a.json(&["import", &file, "--map", &strict]);
    let bad: Vec<&str> = report["bad"].as_array().into_iter().flatten().filter_map(|bad| bad["id"].as_str()).collect();
    assert_eq!(bad, ["5:c", "6:q", "7:lat"], "{report}");
    let why = report["bad"][1]["why"].as_str().unwrap_or_default();
    assert!(why.contains("1200") && why.contains("1.200"), "both readings are shown: {why}");
    let field = |number: &str, name: &str| a.json(&["search", "--number", number])[0]["fields"][name].clone();
    assert_eq!(["E-1", "E-2", "E-3"].map(|n| field(n, "place-country")), ["HR", "TD", "ME"].map(Value::from));
    assert_eq!(field("E-1", "place-point")["geo"], serde_json::json!([-5_000_000, 134_512_000]));
    assert_eq!(field("E-2", "place-point")["geo"], serde_json::json!([142_500_000, 135_000_000]));
    assert_eq!(field("E-3-Q", "quantity")["n"], 1200);
    let open = a.file("open.toml", &map("\"*\" = \"XK\"\n"));
    let open = a.json(&["import", &file, "--map", &open]);
    assert_eq!(open["bad_rows"], 2, "{open}");
    assert_eq!(["E-2", "E-4"].map(|n| field(n, "place-country")), ["TD", "XK"].map(Value::from));
    Ok(())
}

/// A workbook of one sheet, as any office program writes it, with texts in the cells.
fn workbook(rows: &[Vec<&str>]) -> Result<Vec<u8>, Box<dyn Error>> {
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let link = |kind: &str, target: &str| {
        format!(
            "<?xml version=\"1.0\"?><Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{OFFICE}/{kind}\" \
             Target=\"{target}\"/></Relationships>"
        )
    };
    let cells = |(at, row): (usize, &Vec<&str>)| -> String {
        let cell = |text: &&str| format!("<c t=\"inlineStr\"><is><t>{text}</t></is></c>");
        format!("<row r=\"{}\">{}</row>", at + 1, row.iter().map(cell).collect::<String>())
    };
    let sheet: String = rows.iter().enumerate().map(cells).collect();
    let parts = [
        ("_rels/.rels", link("officeDocument", "xl/workbook.xml")),
        ("xl/_rels/workbook.xml.rels", link("worksheet", "worksheets/sheet1.xml")),
        (
            "xl/workbook.xml",
            format!(
                "<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets><sheet name=\"Items\" sheetId=\"1\" \
                 r:id=\"r1\"/></sheets></workbook>"
            ),
        ),
        ("xl/worksheets/sheet1.xml", format!("<worksheet xmlns=\"{MAIN}\"><sheetData>{sheet}</sheetData></worksheet>")),
    ];
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(name, zip::write::SimpleFileOptions::default())?;
        zip.write_all(text.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Story: the evidence comes as a workbook. It makes the same records as the same table in CSV, and a bad row is named by
/// the number that the office program shows.
#[test]
fn a_workbook_brings_in_what_the_same_table_in_csv_does() -> Outcome {
    let (_world, [a]) = World::of(94, ["a"]);
    let rows = [row("A-1", ""), row("A-2", ""), row("A-3", "").replace("pistol", "catapult")];
    let lines: Vec<Vec<&str>> =
        std::iter::once(HEADER).chain(rows.iter().map(String::as_str)).map(|line| line.split(',').collect()).collect();
    let book = a.path("evidence.xlsx");
    fs::write(&book, workbook(&lines)?)?;
    let report = a.json(&["import", &book]);
    assert_eq!(
        (&report["rows"], &report["bad_rows"], &report["bad"][0]["id"]),
        (&3.into(), &1.into(), &"4:type".into()),
        "{report}"
    );
    assert_eq!(a.json(&["search", "--kind", "item"]).as_array().map(Vec::len), Some(2));
    let csv = a.file("rows.csv", &format!("{HEADER}\n{}\n", rows[..2].join("\n")));
    let same = a.json(&["import", &csv]);
    assert_eq!((&same["added"], &same["repeated_rows"]), (&0.into(), &2.into()), "{same}");
    Ok(())
}

/// Story: a mapping names no key columns, so a row is its content. The same file again adds nothing; a corrected row is
/// another thing, and amends nothing.
#[test]
fn without_key_columns_a_row_is_its_content() -> Outcome {
    let (_world, [a]) = World::of(95, ["a"]);
    let map = "name = \"list\"\n[default]\neval = { src4 = \"B\", inf4 = 2 }\n[[record]]\nname = \"item\"\nkind = \"item\"\n\
               [record.fields]\nnumber = { column = \"Inv\" }\ntype = { column = \"Was\" }\n\
               serial = { column = \"Serial\" }\n";
    let map = a.file("map.toml", map);
    let import = |name: &str, rows: &str| {
        let table = a.file(name, &format!("Inv,Was,Serial\n{rows}"));
        a.json(&["import", &table, "--map", &map])
    };
    let counts = |report: &Value| ["added", "amended"].map(|key| report[key].as_u64());
    assert_eq!(counts(&import("one.csv", "X-1,pistol,A 1001\nX-2,rifle,A 1002\n")), [Some(2), Some(0)]);
    assert_eq!(counts(&import("two.csv", "X-1,pistol,A 1001\nX-2,rifle,A 1002\n")), [Some(0), Some(0)]);
    assert_eq!(counts(&import("three.csv", "X-1,pistol,A 1001\nX-2,rifle,A 1003\n")), [Some(1), Some(0)]);
    assert_eq!(a.json(&["search", "--own", "--kind", "item"]).as_array().map(Vec::len), Some(3));
    Ok(())
}
