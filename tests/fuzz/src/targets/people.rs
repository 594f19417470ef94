//! What people bring: texts and tables. The readers run in the child process of an import; here they run bare.

use super::{holds, words};
use crate::run::{Notes, Subject, Verdict};
use entente_node::{
    clock,
    control::Request,
    ingest::{
        attach::PhotoRef,
        calibre,
        mapping::Mapping,
        serial,
        table::{self, Source, wire},
    },
};
use entente_policy::{RedLine, render, source};
use entente_protocol::{
    agreement::Agreement,
    id::{AgreementId, OrgId},
    identity::{Address, Armour, UnconfirmedCard, Words},
    record::ladder::Edtf,
};
use std::{
    fs::File,
    io::{Cursor, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

/// Agreements of the examples.
pub const AGREEMENTS: [&str; 4] = [
    include_str!("../../../../certs-example/agreements/car-host.toml"),
    include_str!("../../../../certs-example/agreements/car-maker.toml"),
    include_str!("../../../../certs-example/agreements/car-panel.toml"),
    include_str!("../../../../certs-example/agreements/panel-maker.toml"),
];
const MAPS: [&str; 8] = [
    include_str!("../../../../certs-example/maps/sample.toml"),
    include_str!("../../../../certs-example/maps/broker.toml"),
    include_str!("../../../../certs-example/maps/crime-guns.toml"),
    include_str!("../../../../certs-example/maps/exhibitors.toml"),
    include_str!("../../../../certs-example/maps/manufacture.toml"),
    include_str!("../../../../certs-example/maps/oryx.toml"),
    include_str!("../../../../certs-example/maps/ucdp.toml"),
    include_str!("../../../../certs-example/maps/un-sanctions.toml"),
];
const TABLE: &str = include_str!("../../../../certs-example/evidence/field-mission-2026.csv");

/// A partner of this handle.
pub fn party(handle: &str) -> Option<OrgId> {
    let first = handle.bytes().next().filter(|first| first.is_ascii_lowercase())?;
    Some(OrgId::from_bytes([first; 32]))
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The first lines of a text.
fn head(text: &str, lines: usize) -> String {
    text.split_inclusive('\n').take(lines).collect()
}

fn utf8(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

pub fn agreement_text() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let Some(text) = utf8(input) else { return Ok(()) };
        let drafting = source::Drafting { id: AgreementId::from_bytes([3; 16]), party: &party };
        let read = source::parse(text, &drafting);
        notes.result("agreement", &read);
        let Ok(checked) = read else { return Ok(()) };
        notes.size("clauses", checked.agreement.clauses.len());
        notes.size("reveals", checked.reveals.len());
        let bytes = checked.agreement.to_bytes().map_err(|fault| format!("checked and not encoded: {fault}"))?;
        holds("the body does not come back", Agreement::from_bytes(&bytes).ok().as_ref() == Some(&checked.agreement))?;
        let again = source::parse(&render(&checked.agreement), &drafting);
        let again = again.map_err(|fault| format!("what people sign does not read back: {fault}"))?;
        holds("what people sign reads back as another agreement", again.agreement == checked.agreement)
    };
    let words = words(&[
        "[[clause]]\n",
        "[[party]]\n",
        "[clause.disclose]\n",
        "[clause.personal]\n",
        "when = \"resource.type == \\\"rifle\\\"\"\n",
        "duty = { answer-traces = 7 }\n",
        "duty = { match = 64 }\n",
        "onward = [\"car\"]\n",
        "carries = [\"place\"]\n",
        "files = [\"stripped\"]\n",
        "red = true\n",
        "lease-hours = 72\n",
        "9999-12-31",
        "4294967295",
    ]);
    Subject { seeds: texts(&AGREEMENTS), words, judge: Box::new(judge) }
}

pub fn redline_text() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let Some(text) = utf8(input) else { return Ok(()) };
        let read = RedLine::parse(text, &party);
        notes.result("red lines", &read);
        if let Ok(lines) = read {
            notes.size("lines", lines.len());
        }
        Ok(())
    };
    let seeds = texts(&[
        "[[red-line]]\nname = \"no-sources\"\naction = \"release\"\nkinds = [\"item\", \"event\"]\nto = [\"panel\"]\n",
        "[[red-line]]\nname = \"no-rifles\"\naction = \"release\"\nwhen = \"resource.type == \\\"rifle\\\"\"\n",
        "[[red-line]]\nname = \"a\"\naction = \"release\"\nkinds = [\"item\"]\nwhen = \"resource has country\"\n",
    ]);
    let words =
        words(&["when = ", "&&", "||", "!", "resource has ", "resource.", "like \"*\"", "in [", "context.", "kinds"]);
    Subject { seeds, words, judge: Box::new(judge) }
}

/// What a reader made of a file: every row went to the parent and came back.
fn rows(name: &str, source: &Source, file: &File, map: Option<&Mapping>, notes: &mut Notes) -> Verdict {
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let Ok(file) = file.try_clone() else { return Err("no file".to_owned()) };
    let read = table::read(file, Path::new(name), source);
    notes.result("table", &read.as_ref().map(|_| ()));
    let Ok(table) = read else { return Ok(()) };
    let mut columns = Vec::new();
    wire::put_columns(&mut columns, table.columns());
    let columns = wire::columns(&columns).ok_or("columns that the parent refuses")?;
    let columns = columns.map_err(|fault| format!("columns that the parent refuses: {fault}"))?.map(Arc::new);
    let map = map.filter(|map| map.check_columns(columns.as_deref()).is_ok());
    let mut count = 0;
    for row in table {
        count += 1;
        // A row takes a byte of the file, and an empty file is one fault; a workbook's bytes are packed.
        holds("more rows than bytes", count <= bytes + 2 || name.ends_with("xlsx"))?;
        let mut out = Vec::new();
        wire::put(&mut out, &row);
        let (back, used) = wire::row(&out, columns.as_ref()).ok_or("a row that the parent refuses")?;
        holds("a row that the parent reads in part", used == out.len())?;
        match (&row, &back) {
            (Ok(row), Ok(back)) => {
                let equal = row.number() == back.number() && row.content() == back.content();
                holds("a row that the parent reads otherwise", equal)?;
                if let Some(map) = map {
                    let mapped = map.map(row);
                    notes.result("mapped", &mapped);
                }
            }
            (_, Err(fault)) => notes.note(fault),
            (Err(_), Ok(_)) => return Err("a fault that the parent reads as a row".to_owned()),
        }
    }
    notes.size("rows", usize::try_from(count).unwrap_or(usize::MAX));
    Ok(())
}

/// A judge of tables: the input is the file.
fn tables(seeds: Vec<Vec<u8>>, words: Vec<Vec<u8>>, sources: Vec<(&'static str, Source)>) -> Subject {
    let (file, map) = (tempfile::tempfile(), Mapping::parse(MAPS[0]).ok());
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let Ok(file) = &file else { return Err("no file".to_owned()) };
        for (name, source) in &sources {
            let mut at = file;
            let filled = file.set_len(0).and_then(|()| file.write_all_at(input, 0)).and_then(|()| at.rewind());
            filled.map_err(|error| error.to_string())?;
            rows(name, source, file, map.as_ref(), notes)?;
        }
        Ok(())
    };
    Subject { seeds, words, judge: Box::new(judge) }
}

pub fn csv() -> Subject {
    let bare = Source { header: false, delimiter: Some(b';'), ..Source::default() };
    let seeds = texts(&[&head(TABLE, 4), &head(TABLE, 12), "a;b;c\n\"d\r\n;\"\"\";e;f\r\n", "number\n\n\"1\"\n"]);
    tables(
        seeds,
        words(&["\";\"", "\"\n\"", "\r\n", ";;;;;;;;;;;;;;;;"]),
        vec![("t.csv", Source::default()), ("t.txt", bare)],
    )
}

pub fn json() -> Subject {
    let seeds = texts(&[
        "[{\"number\":\"1\",\"year\":1990,\"lat\":-1.5e3,\"tags\":[\"a\",null,true],\"place\":{\"name\":\"b\"}},{}]",
        "{\"rows\":[{\"a\":1},{\"a\":\"\\u00e9\\ud83d\\ude00\"}]}",
        "{\"number\":\"1\",\"make\":\"x\"}\n{\"number\":\"2\",\"make\":\"y\"}\n\n{\"a\":[[],[[]]]}\n",
        "[]",
    ]);
    let within = Source { pointer: "/rows".to_owned(), ..Source::default() };
    let sources = vec![("t.json", Source::default()), ("t.json", within), ("t.jsonl", Source::default())];
    tables(seeds, words(&["\"rows\":", "\"number\":", "[[", "{\"", "null", "true", "\\ud83d", "1e400", "-"]), sources)
}

pub fn xml() -> Subject {
    let seeds = texts(&[
        "<?xml version=\"1.0\"?><list><row id=\"1\"><number>a</number><make>b &amp; c</make></row><row/></list>",
        "<list xmlns:x=\"urn:x\"><x:row><a><b>1</b><b>2</b></a><![CDATA[<d>]]></x:row></list>",
        "<row><row><number>1</number></row></row>",
    ]);
    let source = Source { elements: vec!["row".to_owned(), "x:row".to_owned()], ..Source::default() };
    tables(
        seeds,
        words(&["<row>", "</row>", "<row/>", "&amp;", "&#x41;", "<?x?>", " a=\"b\"", "xmlns="]),
        vec![("t.xml", source)],
    )
}

/// A workbook of one sheet: its parts stand one after the other in the input, between NUL bytes.
fn packed(parts: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    let names = ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml"];
    let rels = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let relation = |kind: &str, target: &str| {
        format!("<Relationships><Relationship Id=\"r1\" Type=\"{rels}/{kind}\" Target=\"{target}\"/></Relationships>")
    };
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, text) in [
        ("_rels/.rels", relation("officeDocument", "xl/workbook.xml")),
        ("xl/_rels/workbook.xml.rels", relation("worksheet", "worksheets/sheet1.xml")),
    ] {
        zip.start_file(name, options)?;
        zip.write_all(text.as_bytes())?;
    }
    for (name, part) in names.into_iter().zip(parts.splitn(4, |byte| *byte == 0)) {
        zip.start_file(name, options)?;
        zip.write_all(part)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn parts() -> Vec<u8> {
    let rels = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    [
        "<worksheet><dimension ref=\"A1:C3\"/><sheetData>\n<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c></row>\n\
         <row r=\"2\"><c r=\"A2\"><v>45943</v></c><c r=\"B2\" s=\"1\"><v>45943</v></c></row>\n\
         <row r=\"3\"><c r=\"A3\" t=\"str\"><f>1+1</f><v>two</v></c><c r=\"B3\" t=\"e\"><v>#N/A</v></c></row>\n\
         <row r=\"4\"><c r=\"A4\" t=\"b\"><v>1</v></c><c r=\"B4\" t=\"inlineStr\"><is><t>x</t></is></c></row>\n</sheetData></worksheet>",
        "<sst uniqueCount=\"2\">\n<si><t>number</t></si>\n<si><r><t>wh</t></r><r><t>en</t></r></si>\n</sst>",
        &format!("<workbook xmlns:r=\"{rels}\"><sheets><sheet name=\"One\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"),
        "<styleSheet><cellXfs count=\"2\">\n<xf numFmtId=\"0\"/>\n<xf numFmtId=\"14\"/>\n</cellXfs></styleSheet>",
    ]
    .join("\0")
    .into_bytes()
}

pub fn workbook() -> Subject {
    let file = tempfile::tempfile();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let (Ok(file), Ok(bytes)) = (&file, packed(input)) else { return Ok(()) };
        let filled = file.set_len(0).and_then(|()| file.write_all_at(&bytes, 0));
        filled.map_err(|error| error.to_string())?;
        rows("t.xlsx", &Source::default(), file, None, notes)
    };
    let words = words(&[
        "r=\"XFD1048576\"",
        "r=\"A0\"",
        "t=\"s\"",
        "<v>4294967295</v>",
        "ref=\"A1:XFD1048576\"",
        "<mergeCell ref=\"A1:B2\"/>",
    ]);
    Subject { seeds: vec![parts()], words, judge: Box::new(judge) }
}

pub fn archive() -> Subject {
    let seed = packed(&parts()).unwrap_or_default();
    tables(vec![seed], words(&["PK\u{1}\u{2}", "PK\u{3}\u{4}", "PK\u{5}\u{6}"]), vec![("t.xlsx", Source::default())])
}

pub fn mapping() -> Subject {
    let (file, table) = (tempfile::tempfile(), head(TABLE, 6));
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let Some(text) = utf8(input) else { return Ok(()) };
        let read = Mapping::parse(text);
        notes.result("mapping", &read);
        let (Ok(mapping), Ok(file)) = (read, &file) else { return Ok(()) };
        let filled = file.set_len(0).and_then(|()| file.write_all_at(table.as_bytes(), 0));
        filled.map_err(|error| error.to_string())?;
        let mut at = file;
        at.rewind().map_err(|error| error.to_string())?;
        // A mapping that names another format reads this one as that, and finds faults.
        rows("t.csv", mapping.source(), file, Some(&mapping), notes)
    };
    let words =
        words(&["[[record]]\n", "[record.", "fields]\n", "link", "photos", "const", "date", "key = [", "when = "]);
    Subject { seeds: texts(&MAPS), words, judge: Box::new(judge) }
}

/// What a sound child writes.
fn rows_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let source = Source { elements: vec!["row".to_owned()], ..Source::default() };
    for (name, text) in [
        ("t.csv", "a,b\n1,=1\nx\n\u{e9},\"\"\n"),
        ("t.json", "[{\"a\":[1,{\"b\":\"c\"}]},[],\"d\"]"),
        ("t.xml", "<list><row><a>1</a></row></list>"),
    ] {
        let Ok(mut file) = tempfile::tempfile() else { continue };
        if file.write_all(text.as_bytes()).and_then(|()| file.rewind()).is_err() {
            continue;
        }
        let Ok(table) = table::read(file, Path::new(name), &source) else { continue };
        let mut out = Vec::new();
        wire::put_columns(&mut out, table.columns());
        seeds.push(out.clone());
        out.clear();
        table.for_each(|row| wire::put(&mut out, &row));
        seeds.push(out);
    }
    seeds
}

pub fn child_rows() -> Subject {
    let named = table::Columns::named(["a", "b"].into_iter()).ok().map(Arc::new);
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        if let Some(read) = wire::columns(input) {
            notes.result("columns", &read);
            if let Ok(columns) = read {
                let mut again = Vec::new();
                wire::put_columns(&mut again, columns.as_ref());
                // Names are trimmed when they are read, and an empty list of names is written as none.
                notes.note(if again == input { "columns as they came" } else { "columns otherwise" });
            }
        }
        for columns in [None, named.as_ref()] {
            let mut rest = input;
            while let Some((row, used)) = wire::row(rest, columns) {
                holds("a row of no bytes", used > 0)?;
                let (came, after) = rest.split_at(used);
                let mut again = Vec::new();
                wire::put(&mut again, &row);
                notes.note(if row.is_ok() { "row" } else { "fault" });
                notes.size("row", used);
                // The words of a fault are made legible, and a row that is too long becomes a fault.
                holds("two encodings of one row", row.is_err() || again == came || again.first() == Some(&2))?;
                rest = after;
            }
        }
        Ok(())
    };
    Subject { seeds: rows_seeds(), words: Vec::new(), judge: Box::new(judge) }
}

pub fn typed() -> Subject {
    let card = super::vectors(include_str!("../../../vectors/card.json")).first().map(super::unhex).unwrap_or_default();
    let read = UnconfirmedCard::from_bytes(&card);
    let spoken = read.map(|card| card.words().to_string()).unwrap_or_default();
    let mut seeds = texts(&[
        &spoken,
        &Armour::CARD.close(b"short"),
        "2026-02-03",
        "2026-02/2026-03~",
        "2026-02-03T04:05:06Z",
        "node.example.org:4433",
        "[2001:db8::1]:4433",
        "SN 12-345 AB/7",
        "9x19 mm Parabellum",
        "C\u{f4}te d'Ivoire",
        "IMG_0001-0012",
        "{\"call\":{\"sync\":{\"partner\":\"panel\"}}}",
        "{\"call\":\"status\"}",
    ]);
    seeds.push(Armour::CARD.close(&card).into_bytes());
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        if let Ok(request) = serde_json::from_slice::<Request>(input) {
            notes.note(request.call.name());
            let again =
                serde_json::to_vec(&request).ok().and_then(|json| serde_json::from_slice::<Request>(&json).ok());
            holds("a call that does not come back", again.as_ref() == Some(&request))?;
        }
        let Some(text) = utf8(input) else { return Ok(()) };
        let opened = Armour::CARD.open(text);
        notes.result("armour", &opened);
        if let Ok(bytes) = opened {
            holds(
                "armour that does not come back",
                Armour::CARD.open(&Armour::CARD.close(&bytes)).as_ref() == Ok(&bytes),
            )?;
        }
        let words = Words::parse(text);
        notes.result("words", &words);
        if let Ok(words) = words {
            holds("words that do not come back", Words::parse(&words.to_string()).as_ref() == Ok(&words))?;
        }
        if let Some(date) = Edtf::parse(text) {
            let (from, to) = date.span();
            holds("a date that ends before it begins", from <= to)?;
            notes.note(format_args!("{:?}{:?}", date.year().is_some(), date.month().is_some()));
        }
        if let Ok(address) = text.parse::<Address>() {
            holds("an address that does not come back", address.as_str() == text)?;
            notes.note(address.host().contains(':'));
        }
        notes.note(clock::say::parse(text).is_some());
        let display = serial::display(text);
        holds("a serial that changes when it is shown again", serial::display(&display) == display)?;
        notes.note(serial::read(&display).0.code());
        notes.size("keys", serial::keys(text).len());
        notes.note(entente_node::country::country(text).unwrap_or_default());
        notes.note(calibre::calibre(text).unwrap_or_default());
        notes.note(PhotoRef::range_in(text).is_some());
        Ok(())
    };
    Subject {
        seeds,
        words: words(&["-----BEGIN", "-----END", "XX", "~", "?", "/..", "%", ":65535", ":0"]),
        judge: Box::new(judge),
    }
}
