//! Each row of two stores that shared evidence is lost, changed, exchanged for another, doubled: a check must name it.

use super::*;
use crate::{
    clock::ManualClock,
    config::{Config, Home},
    identity::Keys,
    records::gate::{self, Review},
    seal::keyring::Keyring,
    secret::{recovery, unlock::Unlock},
    store::{Append, Ledger, Row, Vault, files::Files, fjall::FjallLedger, layout, memory::MemoryLedger, open},
    testkit,
};
use entente_protocol::time::UnixMillis;
use std::{collections::BTreeMap, path::Path, sync::Arc};

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

/// A closed home, and every row of its ledger.
struct Closed {
    home: Home,
    unlock: Unlock,
    rows: Vec<Row>,
}

impl Closed {
    fn of(folder: &Path, handle: &str) -> Fallible<Self> {
        let home = Home::at(folder.join(handle));
        let [ledger, head, ..] = open::parts(&home.store());
        let rows = FjallLedger::open(&ledger, &head)?.scan(b"", None, 10_000)?;
        Ok(Self { home, unlock: Unlock::IdentityFile(folder.join(format!("{handle}.key"))), rows })
    }

    /// Opens it over these rows, and checks it: what is found, or why it does not open at all.
    fn check(&self, rows: Vec<Row>) -> Fallible<Result<Vec<String>, String>> {
        let ledger = MemoryLedger::new(layout::immutable);
        ledger.append(Append { puts: rows, ..Append::default() })?;
        let identity = self.unlock.open(&self.home.keys())?;
        let recipient = recovery::recipient(&self.home.keys())?;
        let keyring = Arc::new(Keyring::open(&self.home.keys(), &identity, &recipient)?);
        let [_, _, blobs, ..] = open::parts(&self.home.store());
        let vault: Arc<dyn Vault> = Arc::new(Files::open(&blobs)?);
        let opened = || -> Fallible<Json> {
            let holdings = open::open_over(Arc::new(ledger), vault, keyring)?;
            let config = Config::load(&self.home)?;
            let keys = Keys::open(&self.home, &config, &identity, NOW)?;
            let node = Node::over(self.home.clone(), config, Arc::new(ManualClock::at(NOW)), keys, Arc::new(holdings))?;
            Ok(check(&node, false, &mut |_| {})?)
        };
        let found = match opened() {
            Ok(found) => found,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let wrong =
            found.as_array().into_iter().flatten().filter(|entry| entry["ok"] == false && entry["state"].is_string());
        Ok(Ok(wrong.map(|entry| format!("{}: {} {}", entry["part"], entry["id"], entry["says"])).collect()))
    }
}

/// Two partners that shared records and a file, amended and refuted.
fn shared(folder: &Path) -> Fallible {
    let clock = Arc::new(ManualClock::at(NOW));
    let (a, b) = (testkit::node(folder, "a", &clock)?, testkit::node(folder, "b", &clock)?);
    testkit::pair(&a, &b)?;
    testkit::agree(folder, &a, &b, &testkit::agreement_with_files("2036-12-31"))?;
    for number in ["A-1", "A-2", "A-3"] {
        testkit::release(folder, &a, number)?;
    }
    let of = crate::records::show::resolve_own(&a, "A-1")?;
    testkit::file(&a, of, "A-1-P", &[7; 40_000])?;
    testkit::exchange(&a, &b)?;
    let gone = crate::records::show::resolve_own(&a, "A-3")?;
    gate::review(&a, &[gone], Review::Refuted)?;
    testkit::exchange(&a, &b)?;
    Ok(())
}

/// What happens to the row at a place.
type Harm = fn(Vec<Row>, usize) -> Vec<Row>;

fn lost(mut rows: Vec<Row>, at: usize) -> Vec<Row> {
    rows.remove(at);
    rows
}

fn changed(mut rows: Vec<Row>, at: usize) -> Vec<Row> {
    if let Some(last) = rows[at].1.last_mut() {
        *last ^= 1;
    }
    rows
}

/// Another row of its table stands in its place.
fn exchanged(mut rows: Vec<Row>, at: usize) -> Vec<Row> {
    let like = rows.iter().position(|row| row.0[0] == rows[at].0[0] && row.1 != rows[at].1);
    if let Some(like) = like {
        rows[at].1 = rows[like].1.clone();
    }
    rows
}

/// It stands at another place too.
fn doubled(mut rows: Vec<Row>, at: usize) -> Vec<Row> {
    let (mut key, value) = rows[at].clone();
    if let Some(last) = key.last_mut() {
        *last ^= 0x40;
    }
    rows.push((key, value));
    rows
}

/// What a check cannot see, by home, table and harm: how many rows, and why that is so.
const SILENT: [(&str, Table, &str, usize); 7] = [
    // Written anew at every start, before anybody can look.
    ("a", Table::Meta, "lost", 2),
    ("b", Table::Meta, "lost", 2),
    // What an import took a record from: the record keeps a digest of it, from which nothing leads back.
    ("a", Table::Index, "lost", 6),
    ("a", Table::Index, "changed", 6),
    ("a", Table::Index, "exchanged", 6),
    // The end of a list from which things are taken: files to fetch.
    ("b", Table::Counter, "lost", 1),
    // Where a feed stands that has not begun.
    ("b", Table::Cursor, "lost", 1),
];

/// Story: two stores shared evidence. Then each of their rows is lost, changed, exchanged for another, or doubled.
#[test]
fn every_row_that_is_harmed_is_named() -> Fallible {
    let folder = tempfile::tempdir()?;
    shared(folder.path())?;
    let mut silent = BTreeMap::<(&str, u8, &str), usize>::new();
    let mut tried = 0;
    for handle in ["a", "b"] {
        let closed = Closed::of(folder.path(), handle)?;
        assert_eq!(closed.check(closed.rows.clone())?, Ok(vec![]), "{handle}: nothing is wrong");
        for at in 0..closed.rows.len() {
            let table = closed.rows[at].0[0];
            let harms: [(&str, Harm); 4] =
                [("lost", lost), ("changed", changed), ("exchanged", exchanged), ("doubled", doubled)];
            for (name, harm) in harms {
                // An index row too many leads to a place whose record is read and compared.
                if (table, name) == (Table::Index as u8, "doubled") {
                    continue;
                }
                let rows = harm(closed.rows.clone(), at);
                tried += usize::from(rows != closed.rows);
                if rows != closed.rows && closed.check(rows)? == Ok(vec![]) {
                    *silent.entry((handle, table, name)).or_default() += 1;
                }
            }
        }
    }
    let expected = SILENT.map(|(handle, table, harm, rows)| ((handle, table as u8, harm), rows));
    assert_eq!(silent, BTreeMap::from(expected), "of {tried}");
    assert!(tried > 500, "{tried}");
    Ok(())
}
