//! The names of a package's parts: a fixed grammar, in a fixed order. No name ever becomes a path.

use crate::limits;
use std::{fmt, str::FromStr};

/// What a file's name ends in: nothing that a machine runs or a browser takes for a page.
const ENDINGS: [(&str, &str); 12] = [
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/webp", "webp"),
    ("image/gif", "gif"),
    ("image/tiff", "tif"),
    ("image/heic", "heic"),
    ("application/pdf", "pdf"),
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("text/csv", "csv"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("", "bin"),
];

/// What a file's name ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ending(&'static str);

impl Ending {
    /// The one for what a record says of its file's media type; `bin` for any that is not known, or not shown.
    pub fn of_media(media: Option<&str>) -> Self {
        let known = ENDINGS.iter().find(|(name, _)| media == Some(*name));
        Self(known.map_or("bin", |(_, ending)| ending))
    }
    /// Its media type, where it is a picture that every browser shows.
    pub fn picture(self) -> Option<&'static str> {
        let shown = ENDINGS.iter().find(|(_, ending)| *ending == self.0).map(|(name, _)| *name);
        shown.filter(|_| matches!(self.0, "jpg" | "png" | "webp" | "gif"))
    }
    fn parse(text: &str) -> Option<Self> {
        ENDINGS.iter().find(|(_, ending)| *ending == text).map(|(_, ending)| Self(ending))
    }
}

/// Of a log: its checkpoint, then what is proved by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogPart {
    /// The cosigned checkpoint.
    Note,
    /// Places in the log.
    Proofs,
}

/// The name of a part. The order of the values is the order of the parts; numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A card.
    Card(u32),
    /// The signed head of a batch.
    Batch(u32),
    /// A signed run, and its receipt.
    Run(u32),
    /// Of a log.
    Log(u32, LogPart),
    /// A record.
    Record(u32),
    /// The file of the record with that number.
    File(u32, Ending),
    /// Signed events. Reserved: this version knows no content for it.
    History,
    /// The readable page.
    Summary,
    /// The signed list of all other parts.
    Manifest,
}

impl Name {
    /// Whether `next` may stand after this: parts of one kind are numbered without gaps, and files stand in the order of
    /// their records.
    pub fn may_precede(self, next: Self) -> bool {
        match (self, next) {
            (Self::Card(a), Self::Card(b))
            | (Self::Batch(a), Self::Batch(b))
            | (Self::Run(a), Self::Run(b))
            | (Self::Record(a), Self::Record(b)) => b == a + 1,
            (Self::Log(a, LogPart::Note), Self::Log(b, LogPart::Proofs)) => b == a,
            (Self::Log(a, LogPart::Proofs), Self::Log(b, LogPart::Note)) => b == a + 1,
            (Self::Log(_, LogPart::Note), _) | (_, Self::Log(_, LogPart::Proofs)) => false,
            (Self::File(a, _), Self::File(b, _)) => b > a,
            _ => self < next && next.may_begin(),
        }
    }
    /// Whether it may be the first of its kind.
    pub fn may_begin(self) -> bool {
        match self {
            Self::Card(n) | Self::Batch(n) | Self::Run(n) | Self::Record(n) | Self::Log(n, LogPart::Note) => n == 1,
            Self::Log(_, LogPart::Proofs) => false,
            Self::File(..) | Self::History | Self::Summary | Self::Manifest => true,
        }
    }
    /// The most bytes that such a part has.
    pub const fn bytes_max(self) -> u64 {
        let bytes = match self {
            Self::Card(_) => limits::CARD_BYTES_MAX,
            Self::Batch(_) | Self::Run(_) => 8 << 10,
            Self::Log(_, LogPart::Note) => limits::NOTE_BYTES_MAX,
            Self::Log(_, LogPart::Proofs) | Self::Record(_) | Self::History => limits::PACKAGE_PART_BYTES_MAX,
            Self::File(..) => return limits::ATTACHMENT_BYTES_MAX,
            Self::Summary => limits::PACKAGE_SUMMARY_BYTES_MAX,
            Self::Manifest => limits::PACKAGE_MANIFEST_BYTES_MAX,
        };
        bytes as u64
    }
    const fn is_within(self) -> bool {
        let (n, max) = match self {
            Self::Card(n) => (n, limits::PACKAGE_CARDS_MAX),
            Self::Log(n, _) => (n, limits::PACKAGE_LOGS_MAX),
            Self::Batch(n) | Self::Run(n) | Self::Record(n) | Self::File(n, _) => (n, limits::PACKAGE_RECORDS_MAX),
            Self::History | Self::Summary | Self::Manifest => return true,
        };
        n >= 1 && n as usize <= max
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(n) => write!(f, "cards/{n:05}.cbor"),
            Self::Batch(n) => write!(f, "batches/{n:05}.cbor"),
            Self::Run(n) => write!(f, "runs/{n:05}.cbor"),
            Self::Log(n, LogPart::Note) => write!(f, "log/{n:02}.note"),
            Self::Log(n, LogPart::Proofs) => write!(f, "log/{n:02}.cbor"),
            Self::Record(n) => write!(f, "records/{n:05}.cbor"),
            Self::File(n, ending) => write!(f, "files/{n:05}.{}", ending.0),
            Self::History => f.write_str("history.cbor"),
            Self::Summary => f.write_str("summary.html"),
            Self::Manifest => f.write_str("package.cbor"),
        }
    }
}

/// A name that no part has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoName;

impl FromStr for Name {
    type Err = NoName;
    fn from_str(text: &str) -> Result<Self, NoName> {
        let read = || match text.split_once('/') {
            None => match text {
                "history.cbor" => Some(Self::History),
                "summary.html" => Some(Self::Summary),
                "package.cbor" => Some(Self::Manifest),
                _ => None,
            },
            Some((folder, rest)) => {
                let (number, ending) = rest.split_once('.')?;
                let n: u32 = number.parse().ok()?;
                match (folder, ending) {
                    ("cards", "cbor") => Some(Self::Card(n)),
                    ("batches", "cbor") => Some(Self::Batch(n)),
                    ("runs", "cbor") => Some(Self::Run(n)),
                    ("log", "note") => Some(Self::Log(n, LogPart::Note)),
                    ("log", "cbor") => Some(Self::Log(n, LogPart::Proofs)),
                    ("records", "cbor") => Some(Self::Record(n)),
                    ("files", ending) => Some(Self::File(n, Ending::parse(ending)?)),
                    _ => None,
                }
            }
        };
        // One spelling for each name.
        read().filter(|name: &Self| name.is_within() && name.to_string() == text).ok_or(NoName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_spelling_and_its_place() {
        let names = [
            "cards/00001.cbor",
            "cards/00002.cbor",
            "batches/00001.cbor",
            "runs/00001.cbor",
            "log/01.note",
            "log/01.cbor",
            "log/02.note",
            "log/02.cbor",
            "records/00001.cbor",
            "records/00002.cbor",
            "files/00001.jpg",
            "files/00002.bin",
            "history.cbor",
            "summary.html",
            "package.cbor",
        ];
        let read: Vec<Name> = names.iter().map(|name| name.parse().unwrap()).collect();
        for (at, name) in read.iter().enumerate() {
            assert_eq!(name.to_string(), names[at]);
            for (before, earlier) in read.iter().enumerate() {
                assert!(before + 1 != at || earlier.may_precede(*name), "{earlier} {name}");
                assert!(before < at || !earlier.may_precede(*name), "{earlier} {name}");
            }
        }
        for bad in [
            "",
            "/",
            "..",
            "../cards/00001.cbor",
            "cards/../package.cbor",
            "/cards/00001.cbor",
            "cards\\00001.cbor",
            "cards/1.cbor",
            "cards/+0001.cbor",
            "cards/00000.cbor",
            "cards/00049.cbor",
            "records/10001.cbor",
            "log/17.note",
            "log/1.note",
            "files/00001.html",
            "files/00001.jpg.exe",
            "files/00001.JPG",
            "Package.cbor",
            "package.cbor ",
            "package.cbor\0",
            "summary.htm",
            "files/",
            "cards/00001.cbor/",
        ] {
            assert_eq!(bad.parse::<Name>(), Err(NoName), "{bad}");
        }
        assert!(!Name::Record(1).may_precede(Name::Record(3)) && !Name::Card(1).may_precede(Name::Record(2)));
        assert!(!Name::Log(1, LogPart::Note).may_precede(Name::Record(1)), "a checkpoint without its proofs");
    }

    #[test]
    fn endings_follow_from_the_media_type() {
        let ending = |media| Ending::of_media(media).0;
        assert_eq!((ending(Some("image/jpeg")), ending(Some("text/html")), ending(None)), ("jpg", "bin", "bin"));
        assert_eq!(Ending::of_media(Some("image/png")).picture(), Some("image/png"));
        assert_eq!(Ending::of_media(Some("image/tiff")).picture(), None);
    }
}
