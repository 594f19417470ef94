//! Calibres: what people write, and the designation that it stands for (after C.I.P. names).
//!
//! The mapping's table `calibre` is this one. Equality is never computed from the numbers: names are not diameters,
//! and a bare `9mm` or `7.62` is a class of several. What is not listed stays raw text only.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Designation, then what else is written for it. A question mark is a class, not a calibre.
const CALIBRES: &[(&str, &[&str])] = &[
    ("9mm-?", &["9", "9 mm"]),
    ("9x19", &["9 mm luger", "9 mm para", "9 mm parabellum", "9 mm nato", "9x19 luger", "9 luger", "9x19 parabellum"]),
    ("9x18", &["9 mm makarov", "9x18 makarov", "9 makarov", "9 mm mak"]),
    ("9x17", &[".380", ".380 auto", ".380 acp", "380acp", "9 mm browning court", "9 mm kurz", "9 mm short"]),
    ("9x39", &[]),
    ("6.35x16", &[".25 auto", ".25 acp", ".25", "6.35 browning"]),
    ("7.65x17", &[".32 auto", ".32 acp", ".32", "7.65 browning"]),
    ("7.62x25", &["7.62 tokarev", "7.62x25 tokarev", "7.63 mauser"]),
    (".45 Auto", &[".45", ".45 acp", "11.43x23", "45 cal"]),
    (".40 S&W", &[".40", ".40 sw", ".40 cal", "10x22"]),
    ("10 mm Auto", &["10 mm", "10x25"]),
    (".357 Mag", &[".357", ".357 magnum", "9x33r"]),
    (".38 Spl", &[".38", ".38 special", ".38spl"]),
    (".44 Mag", &[".44", ".44 magnum"]),
    (".22 LR", &[".22", ".22lr", ".22 long rifle", "5.6x15r", ".22 cal"]),
    (".223 Rem", &[".223", ".223 remington"]),
    ("5.56x45", &["5.56", "5.56 nato", "5.56x45 nato"]),
    ("5.45x39", &["5.45", "5.45x39.5"]),
    ("5.7x28", &["5.7", "5.7x28 fn"]),
    (".300 BLK", &[".300 blackout", ".300 aac blackout"]),
    ("7.62-?", &["7.62"]),
    ("7.62x39", &["7.62 m43", "7.62x39 soviet", "7.62 kalashnikov"]),
    ("7.62x51", &["7.62 nato", "7.62x51 nato"]),
    (".308 Win", &[".308", ".308 winchester"]),
    ("7.62x54R", &["7.62x54", "7.62x54 r", "7.62x53r"]),
    (".303 British", &[".303", "7.7x56r"]),
    ("7.92x57", &["8x57", "8 mm mauser", "7.92 mauser"]),
    ("9.3x62", &[]),
    ("12.7x99", &[".50", ".50 bmg", "12.7 nato"]),
    ("12.7x108", &["12.7 soviet"]),
    ("14.5x114", &["14.5"]),
    ("20x102", &[]),
    ("23x115", &[]),
    ("23x152", &[]),
    ("30x165", &[]),
    ("40x46", &["40 mm low velocity"]),
    ("40x53", &["40 mm high velocity"]),
    ("30x29", &["vog-17"]),
    ("60 mm", &["60 mm mortar"]),
    ("81 mm", &["81 mm mortar"]),
    ("82 mm", &["82 mm mortar"]),
    ("120 mm", &["120 mm mortar"]),
    ("12 gauge", &["12 ga", "12", "12/70", "12x70", "18.5x70"]),
    ("16 gauge", &["16 ga", "16"]),
    ("20 gauge", &["20 ga", "20"]),
    (".410", &[".410 gauge", "36 gauge"]),
];

static BY_NAME: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let names =
        CALIBRES.iter().flat_map(|(code, others)| others.iter().chain([code]).map(move |name| (key(name), *code)));
    names.collect()
});

/// The designation that a name stands for, whatever its case and spacing.
pub fn calibre(name: &str) -> Option<&'static str> {
    BY_NAME.get(&key(name)).copied()
}

fn key(name: &str) -> String {
    let small = name.to_lowercase().replace(['\u{d7}', '\u{445}', '*'], "x").replace("mm", "").replace(',', ".");
    small.chars().filter(|c| c.is_alphanumeric() || matches!(c, '.' | '/' | '?' | '&')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_bare_numbers_stay_classes() {
        for (name, code) in [
            ("9mm", "9mm-?"),
            ("9MM", "9mm-?"),
            ("9 mm", "9mm-?"),
            ("9x19", "9x19"),
            ("9 mm Luger", "9x19"),
            ("9mm Para", "9x19"),
            ("7.62", "7.62-?"),
            ("7,62 x 39 mm", "7.62x39"),
            (".223 Rem", ".223 Rem"),
            ("5.56x45", "5.56x45"),
            ("12 Gauge", "12 gauge"),
            ("7.62×54R", "7.62x54R"),
        ] {
            assert_eq!(calibre(name), Some(code), "{name}");
        }
        assert_eq!(calibre("various"), None);
    }

    #[test]
    fn no_name_stands_for_two() {
        let mut seen = HashMap::new();
        for (code, others) in CALIBRES {
            for name in others.iter().chain([code]) {
                let before = seen.insert(key(name), *code);
                assert!(before.is_none_or(|before| before == *code), "{name} stands for {before:?} and {code}");
            }
        }
    }
}
