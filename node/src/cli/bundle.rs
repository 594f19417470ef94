//! Commands about bundles: what a session exchanges, as a file.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `bundle`.
#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Write what a partner has not been given yet into a sealed file, with the receipts for what came from it
    #[command(
        after_help = "Nobody but the partner can open it, and nothing in it can be changed. The next export goes on where this \
        one ends, so that a stick with --max-size is followed by the next. What got lost on the way goes once more with \
        --again. Over a line that goes one way (--one-way) nothing is ever acknowledged, and what is under an agreement \
        with a lease does not go.\n\n\
        Example:\n  entente bundle export --to panel -o /media/stick/panel-1.bundle --max-size 500MB\n  \
        entente bundle export --to panel --one-way -o /srv/diode/out/panel.bundle --force"
    )]
    Export(Export),
    /// Take what a partner has written into a bundle
    #[command(
        after_help = "All of it is verified before any of it is taken. Taken twice it changes nothing; of one that comes too \
        early it says which comes first. What goes back (receipts, answers, our own records) is in the next bundle that you \
        export. Exit code 4 where something of it is left or missing.\n\n\
        Example:\n  entente bundle import /media/stick/field-1.bundle"
    )]
    Import {
        /// The file
        file: PathBuf,
    },
    /// How far bundles with a partner are, and what is held of its feeds
    #[command(after_help = "Example:\n  entente bundle show panel")]
    Show {
        /// Handle, id or its beginning
        partner: String,
    },
}

/// `bundle export`.
#[derive(Debug, Args)]
pub struct Export {
    /// For whom: handle, id or its beginning
    #[arg(long, value_name = "PARTNER")]
    pub to: String,
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Nothing comes back: a diode, or a stick that nobody returns
    #[arg(long)]
    pub one_way: bool,
    /// Bytes of the file at most, such as 500MB or 8GiB; what does not fit goes with the next one
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Once more whatever earlier bundles brought and was not acknowledged
    #[arg(long)]
    pub again: bool,
    /// Leave photographs and other files out: they follow over the network, or in a later bundle
    #[arg(long)]
    pub without_files: bool,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// After an older copy of the store was put back: what the partner holds, a line of its `entente bundle show`
    #[arg(long, value_name = "LINE")]
    pub held: Vec<String>,
}

/// Units of a size, longest names first.
const UNITS: [(&str, u64); 7] = [
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

/// A size, as people write it.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((lower.strip_suffix(name)?, *unit))).unwrap_or((&lower, 1));
    let size = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|size| *size > 0);
    size.ok_or_else(|| format!("`{text}` is no size: write it as 500MB, 8GiB or in bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("500MB", 500_000_000),
            ("8 GiB", 8 << 30),
            ("64kib", 64 << 10),
            ("7b", 7),
            ("2gb", 2_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "MB", "-1", "1.5GB", "9999999999999GiB", "5 sticks"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
