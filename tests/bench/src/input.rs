//! What is measured with: rows of evidence about 1 KB each, the same in every run, and the agreement they go under.
//!
//! One row stands for one record of kind `item` with most of its fields filled, as the spreadsheet of a field
//! mission would. Nothing here is anybody's evidence.

use anyhow::Result;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

/// The formats that an import is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// One object a line.
    JsonLines,
    /// One element a row.
    Xml,
}

impl Format {
    /// The ending of its files.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Xml => "xml",
        }
    }
    const fn source(self) -> &'static str {
        match self {
            Self::Csv => "format = \"csv\"",
            Self::JsonLines => "format = \"jsonl\"",
            Self::Xml => "format = \"xml\"\nelement = [\"item\"]",
        }
    }
}

/// The columns of a row.
const COLUMNS: [&str; 17] = [
    "number",
    "type",
    "condition",
    "make",
    "country",
    "model",
    "calibre",
    "serial",
    "year",
    "family",
    "marks",
    "make_raw",
    "calibre_raw",
    "import_country",
    "import_year",
    "note",
    "file",
];

/// How a row becomes a record: all columns, all fields, one record.
const MAP: &str = r#"
[keys]
columns = ["number"]
[floor]
tlp = "AMBER"
orcon = true
[default]
eval = { src4 = "B", inf4 = 2 }
[[record]]
name = "item"
kind = "item"
[record.fields]
number = { column = "number" }
type = { column = "type" }
condition = { column = "condition" }
make = { column = "make" }
make-country = { column = "country" }
model = { column = "model" }
calibre = { column = "calibre" }
serial = { column = "serial" }
year = { column = "year" }
family = { column = "family" }
marks = { column = "marks", separator = ";", mark = "factory-mark" }
make-raw = { column = "make_raw" }
calibre-raw = { column = "calibre_raw" }
import-country = { column = "import_country" }
import-year = { column = "import_year" }
note = { column = "note" }
[record.photos]
column = "file"
"#;

/// The mapping for a format.
pub fn map(format: Format) -> String {
    format!("name = \"bench\"\n[source]\n{}\n{MAP}", format.source())
}

/// Everything goes: every field of every item, and originals of files with all that they tell.
pub const AGREEMENT: &str = r#"
language = 1
title = "Everything, for the benchmark"
version = 1
basis = { text = "none: sample evidence" }
purposes = ["tracing"]
from = "2026-01-01"
until = "2036-12-31"
notice-days = 0
[[party]]
handle = "a"
name = "A"
[[party]]
handle = "b"
name = "B"
[[clause]]
name = "items"
from = "a"
to = ["b"]
carries = ["place", "time", "person", "device"]
onward = "never"
retention-days = 3650
personal = [{ kind = "item", slot = "made-by", purpose = "tracing", retention-days = 3650 }]
disclose.item = ["number", "eval", "made-by", "type", "condition", "make", "make-country", "model", "calibre", "serial", "serial-prefix", "serial-state", "year", "family", "marks", "make-raw", "calibre-raw", "import-country", "import-year", "note"]
[[clause]]
name = "files-as-they-are"
from = "a"
to = ["b"]
onward = "never"
retention-days = 3650
files = ["original"]
personal = [{ kind = "attachment", slot = "author", purpose = "tracing", retention-days = 3650 }]
disclose.attachment = ["number", "eval", "of", "role", "media", "content", "taken", "place-point", "author", "camera"]
"#;

/// A sequence that looks random and is the same in every run (splitmix64).
pub struct Sequence(u64);

impl Sequence {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }
    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

const TYPES: [&str; 6] = ["assault-rifle", "pistol", "gpmg", "rpg", "smg", "sniper-rifle"];
const CONDITIONS: [&str; 4] = ["serviceable", "unserviceable", "damaged", "incomplete"];
const MAKERS: [(&str, &str); 5] = [
    ("Drava Arms Works", "HR"),
    ("Plant 217", "RU"),
    ("Zora Zavod", "RS"),
    ("Northern State Factory", "CN"),
    ("Manufacture Nationale du Val", "FR"),
];
const CALIBRES: [(&str, &str); 4] =
    [("7.62x39", "7,62 x 39 mm"), ("5.56x45", "5.56 NATO"), ("9x19", "9 mm Parabellum"), ("7.62x54R", "7.62 mm R")];
const COUNTRIES: [&str; 6] = ["TD", "CF", "ML", "NE", "SD", "LY"];
const WORDS: [&str; 40] = [
    "receiver",
    "stamped",
    "left",
    "of",
    "trunnion",
    "and",
    "the",
    "selector",
    "bears",
    "two",
    "letters",
    "stock",
    "wood",
    "replaced",
    "by",
    "hand",
    "barrel",
    "worn",
    "magazine",
    "of",
    "another",
    "maker",
    "found",
    "with",
    "packing",
    "list",
    "crate",
    "marked",
    "lot",
    "number",
    "partly",
    "painted",
    "over",
    "documented",
    "again",
    "in",
    "custody",
    "before",
    "transfer",
    "to",
];

/// The serial of a row, as people would type it into a search.
pub fn serial(row: u64) -> String {
    format!("DV {:08}", row * 7 + 10_000_003)
}

/// The evidence number of a row.
pub fn number(row: u64) -> String {
    format!("B-{row:07}")
}

/// The cells of one row, in the order of the columns. `file` names an attachment, or nothing.
pub fn row(row: u64, file: &str) -> [String; 17] {
    let mut random = Sequence::new(0x5eed ^ (row << 8));
    let (make, country) = MAKERS[random.below(MAKERS.len() as u64) as usize];
    let (calibre, calibre_raw) = CALIBRES[random.below(CALIBRES.len() as u64) as usize];
    let year = 1960 + random.below(60);
    let mut note = String::new();
    while note.len() < 500 {
        note.push_str(random.one_of(&WORDS));
        note.push(if random.below(9) == 0 { ',' } else { ' ' });
    }
    let marks: Vec<String> =
        (0..3).map(|_| format!("{} {:04}", random.one_of(&["arrow", "star", "crest"]), random.below(10_000))).collect();
    [
        number(row),
        random.one_of(&TYPES).to_owned(),
        random.one_of(&CONDITIONS).to_owned(),
        make.to_owned(),
        country.to_owned(),
        format!("M{}", 20 + random.below(80)),
        calibre.to_owned(),
        serial(row),
        year.to_string(),
        format!("family {}", random.below(40)),
        marks.join(";"),
        format!("{make} (as stamped)"),
        calibre_raw.to_owned(),
        random.one_of(&COUNTRIES).to_owned(),
        (year + 1).to_string(),
        note.trim().to_owned(),
        file.to_owned(),
    ]
}

/// Writes `rows` rows; returns the bytes of the file.
pub fn write(path: &Path, format: Format, rows: u64) -> Result<u64> {
    write_rows(path, format, (0..rows).map(|n| row(n, "")))
}

/// Writes these rows; returns the bytes of the file.
pub fn write_rows(path: &Path, format: Format, rows: impl Iterator<Item = [String; 17]>) -> Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    match format {
        Format::Csv => writeln!(out, "{}", COLUMNS.join(","))?,
        Format::JsonLines => {}
        Format::Xml => writeln!(out, "<items>")?,
    }
    for cells in rows {
        match format {
            Format::Csv => {
                let quoted: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
                writeln!(out, "{}", quoted.join(","))?;
            }
            Format::JsonLines => {
                let object: serde_json::Map<_, _> =
                    COLUMNS.iter().zip(&cells).map(|(name, cell)| ((*name).to_owned(), cell.as_str().into())).collect();
                writeln!(out, "{}", serde_json::Value::Object(object))?;
            }
            Format::Xml => {
                write!(out, "<item>")?;
                for (name, cell) in COLUMNS.iter().zip(&cells) {
                    // No cell here has a character that XML escapes.
                    write!(out, "<{name}>{cell}</{name}>")?;
                }
                writeln!(out, "</item>")?;
            }
        }
    }
    if format == Format::Xml {
        writeln!(out, "</items>")?;
    }
    let file = out.into_inner()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn csv_cell(cell: &str) -> String {
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// A file of bytes that nothing compresses and no format claims.
pub fn write_blob(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let mut random = Sequence::new(seed);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut left = bytes;
    let mut block: &[u8] = b"a file of the benchmark ";
    let mut buffer: Vec<u8>;
    while left > 0 {
        let take = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        out.write_all(&block[..take])?;
        left -= take as u64;
        buffer = (0..8_192).flat_map(|_| random.number().to_le_bytes()).collect();
        block = &buffer;
    }
    out.into_inner()?.sync_all()?;
    Ok(())
}
