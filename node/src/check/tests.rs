//! Each row of two stores that shared evidence is lost, changed, exchanged for another, doubled, put back to what it was:
//! a check must name that very row. And rows that belong to nothing are added, sealed as a node seals them.

mod labels;

use super::*;
use crate::{
    clock::ManualClock,
    config::{Config, Home},
    identity::Keys,
    recall::asking,
    records::{
        gate::{self, Review},
        stored::{OwnRow, ReceivedRow, decode},
    },
    seal::keyring::Keyring,
    secret::{recovery, unlock::Unlock},
    share::feeds,
    store::{
        Append, Ledger, Row, Vault, files::Files, fjall::FjallLedger, layout, memory::MemoryLedger, open, txn::Txn,
    },
    testkit,
};
use entente_protocol::{feed::FeedKey, recall::Act, time::UnixMillis};
use std::{collections::BTreeMap, path::Path, sync::Arc};

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

/// A closed home, and every row of its ledger.
struct Closed {
    home: Home,
    unlock: Unlock,
    rows: Vec<Row>,
}

/// What is found, or why the store does not open at all.
type Found = Result<Vec<String>, String>;

impl Closed {
    fn of(folder: &Path, handle: &str) -> Fallible<Self> {
        let home = Home::at(folder.join(handle));
        let [ledger, head, ..] = open::parts(&home.store());
        let rows = FjallLedger::open(&ledger, &head)?.scan(b"", None, 10_000)?;
        Ok(Self { home, unlock: Unlock::IdentityFile(folder.join(format!("{handle}.key"))), rows })
    }

    /// Opens it over these rows. The ledger goes on holding what the node writes.
    fn open(&self, rows: Vec<Row>) -> Fallible<(Node, Arc<MemoryLedger>)> {
        let ledger = Arc::new(MemoryLedger::new(layout::immutable));
        ledger.append(Append { puts: rows, ..Append::default() })?;
        let identity = self.unlock.open(&self.home.keys())?;
        let recipient = recovery::recipient(&self.home.keys())?;
        let keyring = Arc::new(Keyring::open(&self.home.keys(), &identity, &recipient)?);
        let [_, _, blobs, ..] = open::parts(&self.home.store());
        let vault: Arc<dyn Vault> = Arc::new(Files::open(&blobs)?);
        let holdings = open::open_over(Arc::clone(&ledger) as Arc<dyn Ledger>, vault, keyring)?;
        let config = Config::load(&self.home)?;
        let keys = Keys::open(&self.home, &config, &identity, NOW)?;
        let clock = Arc::new(ManualClock::at(NOW));
        Ok((Node::over(self.home.clone(), config, clock, keys, Arc::new(holdings))?, ledger))
    }

    /// Opens it over these rows, and checks it.
    fn check(&self, rows: Vec<Row>) -> Fallible<Found> {
        let found = match self.open(rows).and_then(|(node, _)| Ok(check(&node, false, &mut |_| {})?)) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let wrong =
            found.as_array().into_iter().flatten().filter(|entry| entry["ok"] == false && entry["state"].is_string());
        let line = |entry: &Json| {
            let [part, id, state, says] = ["part", "id", "state", "says"].map(|key| entry[key].as_str().unwrap_or(""));
            format!("{part}: {id}: {state}: {says}")
        };
        Ok(Ok(wrong.map(line).collect()))
    }
}

/// Two partners that shared records and a file, amended and refuted. Both homes are closed, and as they were before.
fn shared(folder: &Path) -> Fallible<[Vec<Closed>; 2]> {
    let clock = Arc::new(ManualClock::at(NOW));
    let (a, b) = (testkit::node(folder, "a", &clock)?, testkit::node(folder, "b", &clock)?);
    testkit::pair(&a, &b)?;
    testkit::agree(folder, &a, &b, &testkit::agreement_with_files("2036-12-31"))?;
    testkit::release(folder, &a, "A-1")?;
    testkit::exchange(&a, &b)?;
    drop((a, b));
    let before = [Closed::of(folder, "a")?, Closed::of(folder, "b")?];
    clock.advance(60_000);
    let open = |handle: &str| testkit::open(folder, handle, Arc::clone(&clock));
    let (a, b) = (open("a")?, open("b")?);
    for number in ["A-2", "A-3"] {
        testkit::release(folder, &a, number)?;
    }
    let of = crate::records::show::resolve_own(&a, "A-1")?;
    testkit::file(&a, of, "A-1-P", &[7; 40_000])?;
    testkit::exchange(&a, &b)?;
    let gone = crate::records::show::resolve_own(&a, "A-3")?;
    gate::review(&a, &[gone], Review::Refuted)?;
    testkit::exchange(&a, &b)?;
    let back = crate::records::show::resolve_own(&a, "A-2")?;
    crate::recall::hold::place(&b, &back.to_string(), "Tribunal", "M. Osei")?;
    for act in [Act::Withdraw, Act::Erase] {
        let proposed = asking::propose(&a, &[back], act, ("misread", "A. Diallo"), &mut |_| {})?;
        asking::confirm(&a, proposed["id"].as_str().ok_or("id")?.parse()?, "M. Osei", &mut |_| {})?;
    }
    testkit::exchange(&a, &b)?;
    drop((a, b));
    let [early_a, early_b] = before;
    Ok([vec![Closed::of(folder, "a")?, early_a], vec![Closed::of(folder, "b")?, early_b]])
}

/// What happens to the row at a place.
type Harm<'a> = &'a dyn Fn(Vec<Row>, usize) -> Vec<Row>;

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
const SILENT: [(&str, Table, &str, usize); 13] = [
    // Written anew at every start, before anybody can look.
    ("a", Table::Meta, "lost", 2),
    ("b", Table::Meta, "lost", 2),
    // What an import took a record from: the record keeps a digest of it, from which nothing leads back.
    ("a", Table::Index, "lost", 6),
    ("a", Table::Index, "changed", 6),
    ("a", Table::Index, "exchanged", 6),
    // The end of a list from which things are taken: files to fetch.
    ("b", Table::Counter, "lost", 1),
    // Runs that wait for their proofs: the partner is asked for none that is not waited for. Then the end of their list.
    ("b", Table::Owed, "lost", 4),
    ("b", Table::Counter, "rolled back", 1),
    // Where a feed stands that has not begun.
    ("b", Table::Cursor, "lost", 1),
    // From which store a partner shares: written with each run, and the same each time.
    ("b", Table::Cursor, "rolled back", 1),
    // From where on something is still to be said to a partner: without it, all of it is looked at.
    ("a", Table::Recall, "lost", 1),
    // How far time was known, and how much a partner had filled: no other row says that it is more now.
    ("a", Table::Meta, "rolled back", 1),
    ("b", Table::Meta, "rolled back", 2),
];

/// Whether what is found names the row: by its key, or by what it is.
fn names(found: &Found, row: &[u8], words: &[labels::Words]) -> bool {
    let key = hex::encode(row);
    let said =
        |line: &String| line.contains(&key) || words.iter().any(|all| all.iter().all(|word| line.contains(word)));
    match found {
        Ok(lines) => lines.iter().any(said),
        Err(why) => said(why),
    }
}

/// Story: two stores shared evidence. Then each of their rows is lost, changed, exchanged for another, doubled, or put
/// back to what it was before. What is found names that row.
#[test]
fn every_row_that_is_harmed_is_named() -> Fallible {
    let folder = tempfile::tempdir()?;
    let mut silent = BTreeMap::<(&str, u8, &str), usize>::new();
    let (mut tried, mut unnamed) = (0, Vec::new());
    for (handle, homes) in ["a", "b"].into_iter().zip(shared(folder.path())?) {
        let (closed, before) = (&homes[0], &homes[1]);
        let before: BTreeMap<&Vec<u8>, &Vec<u8>> = before.rows.iter().map(|(key, value)| (key, value)).collect();
        assert_eq!(closed.check(closed.rows.clone())?, Ok(vec![]), "{handle}: nothing is wrong");
        let (node, _) = closed.open(closed.rows.clone())?;
        let labels = labels::Labels::of(&node)?.rows;
        for (at, (row, value)) in closed.rows.iter().enumerate() {
            let rolled_back = |mut rows: Vec<Row>, at: usize| {
                if let Some(earlier) = before.get(row) {
                    rows[at].1.clone_from(earlier);
                }
                rows
            };
            let harms: [(&str, Harm<'_>); 5] = [
                ("lost", &lost),
                ("changed", &changed),
                ("exchanged", &exchanged),
                ("doubled", &doubled),
                ("rolled back", &rolled_back),
            ];
            for (name, harm) in harms {
                let rows = harm(closed.rows.clone(), at);
                if rows == closed.rows {
                    continue;
                }
                tried += 1;
                let found = closed.check(rows)?;
                let words = labels.get(row).map(Vec::as_slice).unwrap_or_default();
                // The doubled row stands under another key.
                let mut second = row.clone();
                if let (true, Some(last)) = (name == "doubled", second.last_mut()) {
                    *last ^= 0x40;
                }
                if found == Ok(vec![]) {
                    *silent.entry((handle, row[0], name)).or_default() += 1;
                } else if !names(&found, row, words) && !names(&found, &second, &[]) {
                    let table = Table::name_of(row);
                    unnamed.push(format!("{handle}, {table}, {name}, {} bytes: {words:?}: {found:?}", value.len()));
                }
            }
        }
    }
    let expected = SILENT.map(|(handle, table, harm, rows)| ((handle, table as u8, harm), rows));
    assert!(unnamed.is_empty(), "{} of {tried} are not named: {unnamed:#?}", unnamed.len());
    assert_eq!(silent, BTreeMap::from(expected), "of {tried}");
    assert!(tried > 600, "{tried}");
    Ok(())
}

/// Story: rows that belong to nothing are in a store, sealed under its keys as a node seals them: by a program with a
/// defect, or by whoever had the keys. Each is found as too many, and named.
#[test]
fn rows_that_belong_to_nothing_are_found() -> Fallible {
    let folder = tempfile::tempdir()?;
    let [a, b] = shared(folder.path())?;
    let stranger = entente_protocol::id::RecordId::from_bytes([9; 32]);
    type Added<'a> = &'a dyn Fn(&Node, &mut Txn<'_>) -> Fallible<Vec<String>>;
    let try_one = |closed: &Closed, name: &str, added: Added<'_>| -> Fallible {
        let (node, ledger) = closed.open(closed.rows.clone())?;
        let mut txn = node.holdings.begin();
        let words = added(&node, &mut txn)?;
        txn.commit()?;
        drop(node);
        let rows = ledger.scan(b"", None, 10_000)?;
        let new: Vec<String> = rows
            .iter()
            .filter(|(key, _)| closed.rows.iter().all(|(known, _)| known != key))
            .map(|(key, _)| hex::encode(key))
            .collect();
        let found = closed.check(rows)?.map_err(|why| format!("{name}: it does not open: {why}"))?;
        let said = |line: &String| {
            let keyed = line.contains("extra") && new.iter().any(|key| line.contains(key.as_str()));
            if words.is_empty() { keyed } else { words.iter().all(|word| line.contains(word)) }
        };
        assert!(found.iter().any(said), "{name}: {words:?} or {new:?}: {found:#?}");
        Ok(())
    };
    let items = |node: &Node, partition, table, scope: &[u8]| node.holdings.list(partition, table, scope, None, 100);
    let own = Partition::Own;
    let by_key = Vec::new;
    let (a, b) = (&a[0], &b[0]);
    try_one(a, "a record of ours, twice", &|node, txn| {
        let (_, row) = items(node, own, Table::Record, b"")?.remove(1);
        txn.push(own, Table::Record, b"", &row)?;
        let record = decode::<OwnRow>("record", &row)?.record()?;
        Ok(vec!["extra".to_owned(), record.id().to_string(), "stands at place".to_owned()])
    })?;
    try_one(a, "a batch of nothing", &|node, txn| {
        let (_, row) = items(node, own, Table::Batch, b"")?.remove(0);
        let n = txn.push(own, Table::Batch, b"", &row)?;
        Ok(vec!["extra".to_owned(), format!("batch {n}")])
    })?;
    try_one(a, "a review that no record knows", &|node, txn| {
        let (_, row) = items(node, own, Table::Review, b"")?.remove(0);
        let n = txn.push(own, Table::Review, b"", &row)?;
        // It is as well signed as the others: of its records one says that it knows nothing of it.
        Ok(vec![format!("leaves out event {n}")])
    })?;
    for (name, table, scope) in [
        ("an entry of a feed", Table::FeedOut, [1u8; 32]),
        ("a run of a feed that there is not", Table::RunOut, [2; 32]),
        ("what waits in a feed that there is not", Table::Pending, [3; 32]),
    ] {
        try_one(a, name, &|node, txn| {
            let feed = outgoing(node)?;
            let (_, row) = items(node, own, Table::RunOut, feed.id().as_bytes())?.remove(0);
            txn.push(own, table, &scope, &row)?;
            Ok(by_key())
        })?;
    }
    for (name, table) in [("a sent run", Table::RunOut), ("a receipt", Table::Receipt)] {
        try_one(a, name, &|node, txn| {
            let id = outgoing(node)?.id();
            let (_, row) = items(node, own, table, id.as_bytes())?.remove(0);
            let n = txn.push(own, table, id.as_bytes(), &row)?;
            Ok(vec!["extra".to_owned(), id.to_string(), n.to_string()])
        })?;
    }
    for (name, table) in [
        ("where a record stands at the gate", Table::Gate),
        ("a release", Table::Release),
        ("a file", Table::Attachment),
        ("where a feed stands", Table::Cursor),
    ] {
        try_one(a, name, &|_, txn| {
            txn.put(own, table, b"of nothing", b"\xa0")?;
            Ok(by_key())
        })?;
    }
    try_one(a, "a fact of the store", &|_, txn| {
        txn.put(Partition::Node, Table::Meta, b"of nothing", b"1")?;
        Ok(by_key())
    })?;
    try_one(a, "a card of another", &|node, txn| {
        let partner = *node.book().iter().next().ok_or("a partner")?.0;
        txn.push(Partition::Node, Table::Card, partner.as_bytes(), node.keys.card.bytes())?;
        Ok(vec!["extra".to_owned(), format!("card of partner {partner}, 1")])
    })?;
    for (name, value, place) in [("of a value", b"nothing".as_slice(), 0), ("of a place", b"A-1", 4_000)] {
        for closed in [a, b] {
            try_one(closed, &format!("an index row too many, {name}"), &|node, txn| {
                let partition = node.partitions().first().copied().map_or(own, Partition::Agreement);
                txn.index(if std::ptr::eq(closed, a) { own } else { partition }, "number", value, place)?;
                Ok(by_key())
            })?;
        }
    }
    let agreement = |node: &Node| node.partitions().first().copied().map(Partition::Agreement).ok_or("an agreement");
    try_one(b, "a received record, twice", &|node, txn| {
        let at = agreement(node)?;
        let (_, row) = items(node, at, Table::Received, b"")?.remove(0);
        txn.push(at, Table::Received, b"", &row)?;
        let id = decode::<ReceivedRow>("received record", &row)?.id().ok_or("an id")?;
        Ok(vec!["extra".to_owned(), id.to_string(), "stands at place".to_owned()])
    })?;
    for (name, table) in [("a withdrawal", Table::Withdrawn), ("a wish", Table::Wanted)] {
        try_one(b, name, &|node, txn| {
            txn.put(agreement(node)?, table, stranger.as_bytes(), b"\xa0")?;
            Ok(by_key())
        })?;
    }
    try_one(b, "an earlier disclosure", &|node, txn| {
        txn.push(agreement(node)?, Table::Earlier, stranger.as_bytes(), b"\xa0")?;
        Ok(by_key())
    })?;
    try_one(b, "a received run", &|node, txn| {
        let at = agreement(node)?;
        let rules = node.rules();
        let held = rules.agreements.iter().next().ok_or("an agreement")?;
        let sender = *node.book().iter().next().ok_or("a partner")?.0;
        let store = feeds::known_store(node, sender, held.id)?.ok_or("a store")?;
        let id = feeds::incoming(node, sender, store, held.id).id();
        let (_, row) = items(node, at, Table::RunIn, id.as_bytes())?.remove(0);
        let n = txn.push(at, Table::RunIn, id.as_bytes(), &row)?;
        Ok(vec!["extra".to_owned(), id.to_string(), n.to_string()])
    })?;
    // Not found: an event that follows from the one before, which only whoever has the keys can add; and one thing more
    // in a list of which each item stands for itself, such as a record that is said to go a second time.
    let (node, ledger) = a.open(a.rows.clone())?;
    let mut txn = node.holdings.begin();
    node.journal(&mut txn, "own-rules", &[])?;
    txn.commit()?;
    drop(node);
    assert_eq!(a.check(ledger.scan(b"", None, 10_000)?)?, Ok(vec![]));
    Ok(())
}

/// The feed of a node to its partner.
fn outgoing(node: &Node) -> Fallible<FeedKey> {
    let rules = node.rules();
    let held = rules.agreements.iter().next().ok_or("an agreement")?;
    Ok(feeds::outgoing(node, *node.book().iter().next().ok_or("a partner")?.0, held.id))
}
