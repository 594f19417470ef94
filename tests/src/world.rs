//! Worlds: a folder, its homes, and evidence that is made up from a seed.
//!
//! Called by every story. The same seed makes the same rows and the same delays; a story that fails prints its seed.

use crate::{Home, random::split_mix};
use std::path::Path;
use tempfile::TempDir;

/// The columns of the sample evidence.
const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,\
                      lat,lon,custody,recovered_from,collector,condition,notes,photos\n";

/// A folder that goes when the story is over, and chance that comes out the same every time.
pub struct World {
    folder: TempDir,
    /// What everything made up comes from.
    pub seed: u64,
}

impl World {
    /// Makes a home for each name.
    ///
    /// # Panics
    /// If there is no folder to be had.
    #[must_use]
    pub fn of<const N: usize>(seed: u64, handles: [&'static str; N]) -> (Self, [Home; N]) {
        println!("seed {seed}");
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("no folder: {error}"),
        };
        let homes = handles.map(|handle| Home::init(folder.path(), handle));
        (Self { folder, seed }, homes)
    }

    /// As [`World::of`], with nodes that log everything: see [`Home::trace`].
    #[must_use]
    pub fn traced<const N: usize>(seed: u64, handles: [&'static str; N]) -> (Self, [Home; N]) {
        let (world, mut homes) = Self::of(seed, handles);
        homes.iter_mut().for_each(Home::trace);
        (world, homes)
    }

    /// The story's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Rows whose every field is made up from the seed, `series` and the row's place, and found nowhere else.
    #[must_use]
    pub fn rows(&self, series: &str, count: u32) -> Vec<Row> {
        let mut chance = Chance::new(self.seed, series);
        (1..=count).map(|n| Row::new(series, n, &mut chance)).collect()
    }
}

/// One row of evidence. What a story wants to look for is a member of its own.
#[derive(Debug, Clone)]
pub struct Row {
    /// Evidence number.
    pub number: String,
    /// Its case.
    pub case: String,
    /// Serial.
    pub serial: String,
    /// Maker.
    pub make: String,
    /// Country of making, as a name.
    pub country_of_make: String,
    /// Name of the place.
    pub place: String,
    /// Coordinates, as written.
    pub point: (String, String),
    /// Day.
    pub date: String,
    /// Who documented it.
    pub collector: String,
    /// Who has it.
    pub custody: String,
    /// A note.
    pub note: String,
    /// Marks.
    pub marks: String,
}

impl Row {
    fn new(series: &str, n: u32, chance: &mut Chance) -> Self {
        Self {
            number: format!("{series}-{n:05}"),
            case: format!("{series}-case-{}", n / 10),
            serial: format!("QX {:06}", 100_000 + chance.below(900_000)),
            make: format!("Works {}", chance.word()),
            country_of_make: "Croatia".to_owned(),
            place: format!("Place {}", chance.word()),
            point: (
                format!("13.4{:04}", 1_000 + chance.below(8_999)),
                format!("14.6{:04}", 1_000 + chance.below(8_999)),
            ),
            date: "2026-02-03".to_owned(),
            collector: format!("Person {}", chance.word()),
            custody: format!("Court {}", chance.word()),
            note: format!("note {}", chance.word()),
            marks: format!("mark {}", chance.word()),
        }
    }

    /// Rows of one case say the same of it: all but the first take its place, day and people.
    #[must_use]
    pub fn table(rows: &[Self]) -> String {
        let mut out = HEADER.to_owned();
        for row in rows {
            let case = rows.iter().find(|r| r.case == row.case).unwrap_or(row);
            out.push_str(&format!(
                "{},{},{},pistol,{},M1,9x19,{},{},1990,{},{},Chad,Lac,{},{},{},cache,{},serviceable,{},\n",
                row.number,
                row.case,
                case.date,
                row.make,
                row.serial,
                row.marks,
                row.country_of_make,
                case.place,
                case.point.0,
                case.point.1,
                case.custody,
                case.collector,
                row.note,
            ));
        }
        out
    }
}

/// Chance from a seed: splitmix64. Not for secrets.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts from a seed and a name, so that two uses of one seed differ.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a over the name.
        let mixed = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(seed ^ mixed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// Ten letters that stand nowhere else.
    pub fn word(&mut self) -> String {
        (0..10).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap_or_default())).collect()
    }
}
