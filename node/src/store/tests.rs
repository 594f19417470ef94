//! The sealed layer over both back-ends: what is written is read, and nothing of it is on disk in clear.

use super::{
    StoreError,
    holdings::Holdings,
    layout::Table,
    open::{self, Backend},
    txn::{Entry, Txn},
};
use crate::seal::{
    hybrid::Identity,
    keyring::{Keyring, Partition},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use entente_protocol::{
    custody::{
        event::{EventKind, EventPart, PartOf},
        journal::Journal,
    },
    id::{AgreementId, Nonce},
    time::UnixMillis,
};
use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const OWN: Partition = Partition::Own;
const AGREEMENT: Partition = Partition::Agreement(AgreementId::from_bytes([5; 16]));

fn memory() -> Holdings {
    let keyring = Arc::new(Keyring::in_memory());
    let holdings = open::create(Path::new("unused"), Backend::Memory, keyring).unwrap();
    holdings.keyring().ensure_partition(AGREEMENT).unwrap();
    holdings
}

/// A home on disk with its keys.
struct Home {
    folder: tempfile::TempDir,
    node: Identity,
    recovery: Identity,
}

impl Home {
    fn new() -> Self {
        let (node, recovery) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        Self { folder: tempfile::tempdir().unwrap(), node, recovery }
    }
    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
    fn create(&self) -> Result<Holdings, StoreError> {
        let keyring = Keyring::create(self.folder.path(), &self.node, &self.recovery.recipient())?;
        let holdings = open::create(&self.data(), Backend::Fjall, Arc::new(keyring))?;
        holdings.keyring().ensure_partition(AGREEMENT)?;
        Ok(holdings)
    }
    fn open(&self) -> Result<Holdings, StoreError> {
        let keyring = Keyring::open(self.folder.path(), &self.node, &self.recovery.recipient())?;
        open::open(&self.data(), Backend::Fjall, Arc::new(keyring))
    }
}

fn writes_and_reads(holdings: &Holdings) -> Outcome {
    let mut txn = holdings.begin();
    txn.put(OWN, Table::Agreement, b"id", b"value")?;
    txn.put_new(OWN, Table::Agreement, b"line", b"head")?;
    assert_eq!(txn.get(OWN, Table::Agreement, b"id")?, Some(b"value".to_vec()));
    assert_eq!(txn.push(OWN, Table::RecordList, b"weapon", b"first")?, 0);
    assert_eq!(txn.push(OWN, Table::RecordList, b"weapon", b"second")?, 1);
    assert_eq!(txn.push(OWN, Table::RecordList, b"marking", b"other")?, 0);
    for n in 0..5 {
        txn.index(OWN, "country", b"SY", n)?;
        assert_eq!(txn.newest(OWN, "country", b"SY")?, Some(n));
    }
    txn.index(OWN, "countr", b"ySY", 77)?;
    txn.index_once(OWN, "id", b"one", 3)?;
    tell(&mut txn, "imported")?;
    assert_eq!(holdings.get(OWN, Table::Agreement, b"id")?, None, "not before the commit");
    txn.commit()?;

    assert_eq!(holdings.get(OWN, Table::Agreement, b"id")?, Some(b"value".to_vec()));
    assert_eq!(holdings.get(AGREEMENT, Table::Agreement, b"id")?, None);
    assert_eq!(holdings.get(OWN, Table::AgreementVersion, b"id")?, None);
    assert_eq!(
        holdings.list(OWN, Table::RecordList, b"weapon", None, 10)?,
        [(0, b"first".to_vec()), (1, b"second".to_vec())]
    );
    assert_eq!(holdings.list(OWN, Table::RecordList, b"weapon", Some(0), 10)?, [(1, b"second".to_vec())]);
    assert_eq!(holdings.find(OWN, "country", b"SY", None, 10)?, [0, 1, 2, 3, 4]);
    assert_eq!(holdings.find(OWN, "country", b"SY", Some(2), 1)?, [3]);
    assert!(holdings.find(OWN, "country", b"IQ", None, 10)?.is_empty());
    assert_eq!((holdings.first(OWN, "country", b"SY")?, holdings.newest(OWN, "country", b"SY")?), (Some(0), Some(4)));
    assert_eq!((holdings.first(OWN, "id", b"one")?, holdings.newest(OWN, "id", b"two")?), (Some(3), None));
    Ok(())
}

fn changes_and_conflicts(holdings: &Holdings) -> Outcome {
    let mut txn = holdings.begin();
    txn.put_new(OWN, Table::Agreement, b"id", b"again")?;
    txn.put(OWN, Table::Agreement, b"other", b"never")?;
    assert!(matches!(txn.commit(), Err(StoreError::Conflict { .. })));
    assert_eq!(holdings.get(OWN, Table::Agreement, b"other")?, None);
    let mut dropped = holdings.begin();
    dropped.push(OWN, Table::RecordList, b"weapon", b"dropped")?;
    drop(dropped);

    let mut txn = holdings.begin();
    txn.delete(OWN, Table::Agreement, b"line")?;
    assert_eq!(txn.get(OWN, Table::Agreement, b"line")?, None);
    txn.remove_item(OWN, Table::RecordList, b"weapon", 1)?;
    txn.replace_item(OWN, Table::RecordList, b"weapon", 0, b"replaced")?;
    txn.index(OWN, "country", b"SY", 5)?;
    tell(&mut txn, "changed")?;
    txn.commit()?;
    assert_eq!(holdings.count(OWN, Table::RecordList, b"weapon")?, 2, "a counter is never used again");
    assert_eq!(holdings.last(OWN, Table::RecordList, b"weapon")?, Some((0, b"replaced".to_vec())));
    assert_eq!(holdings.find(OWN, "country", b"SY", Some(4), 10)?, [5]);
    let mut txn = holdings.begin();
    txn.replace_item(OWN, Table::RecordList, b"weapon", 1, b"gone")?;
    assert!(matches!(txn.commit(), Err(StoreError::Conflict { .. })));
    Ok(())
}

/// An event with one part, under the own partition.
fn tell(txn: &mut Txn<'_>, what: &str) -> Result<u64, StoreError> {
    let (salt, about) = (Nonce::from_bytes([7; 16]), Vec::new());
    let part = EventPart { part_of: PartOf::Own, salt, what: what.to_owned(), about };
    txn.journal(&Entry { kind: EventKind::Custody, at: UnixMillis(5), parts: &[(OWN, part)], logged: None })
}

fn journal_is_chained(holdings: &Holdings) -> Outcome {
    let mut journal = Journal::start(holdings.store_id());
    let mut said = Vec::new();
    for (place, (n, event)) in holdings.journal(None, 100)?.into_iter().enumerate() {
        assert_eq!(n, place as u64);
        journal.handle_event(event.bytes())?;
        said.extend(holdings.journal_part(n, &event, OWN)?.map(|part| part.what));
        assert_eq!(holdings.journal_part(n, &event, AGREEMENT)?, None);
    }
    assert_eq!(said, ["imported", "changed"]);
    assert_eq!(holdings.journal_end()?, journal);
    Ok(())
}

fn blobs(holdings: &Holdings) -> Outcome {
    let content: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(holdings.blob_put(OWN, b"digest", &mut content.as_slice())?, 200_000);
    assert_eq!(holdings.blob_put(OWN, b"digest", &mut content.as_slice())?, 0);
    assert!(!holdings.blob_exists(AGREEMENT, b"digest")?);
    holdings.blob_put(AGREEMENT, b"digest", &mut content.as_slice())?;
    let mut reader = holdings.blob_open(AGREEMENT, b"digest")?;
    reader.seek(SeekFrom::Start(150_000))?;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest)?;
    assert_eq!(rest, &content[150_000..]);
    let mut unfinished = holdings.blob_writer(OWN)?;
    unfinished.write_all(b"dropped")?;
    drop(unfinished);
    assert_eq!(holdings.check()?.blobs, 2);
    holdings.blob_remove(AGREEMENT, b"digest")?;
    holdings.blob_remove(AGREEMENT, b"digest")?;
    assert!(!holdings.blob_exists(AGREEMENT, b"digest")?);
    assert!(holdings.blob_exists(OWN, b"digest")?);
    Ok(())
}

/// What was promised is gone: nothing is read or written any more, and whoever runs the node is told once.
#[test]
fn after_a_failure_everything_is_refused_and_the_node_is_told() -> Outcome {
    let holdings = memory();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    holdings.on_failure(Box::new(move |cause| hears.lock().unwrap().push(cause.to_owned())));
    let mut txn = holdings.begin();
    txn.put_new(OWN, Table::Record, b"id", b"value")?;
    txn.commit()?;
    let mut again = holdings.begin();
    again.put_new(OWN, Table::Record, b"id", b"value")?;
    assert!(matches!(again.commit(), Err(StoreError::Conflict { .. })));
    assert!(holdings.failed().is_none(), "a conflict is no failure");
    assert!(matches!(holdings.blob_open(OWN, b"gone"), Err(StoreError::NoBlob(_))));
    assert!(holdings.failed().is_none(), "nor is one blob that is not there");
    assert!(holdings.ask::<()>(|| Err(StoreError::Missing("the ledger".into()))).is_err());
    assert!(matches!(holdings.get(OWN, Table::Record, b"id"), Err(StoreError::Poisoned)));
    assert!(matches!(holdings.blob_put(OWN, b"new", &mut b"x".as_slice()), Err(StoreError::Poisoned)));
    assert!(matches!(holdings.ensure_partition(AGREEMENT), Err(StoreError::Poisoned)));
    let mut late = holdings.begin();
    late.put(OWN, Table::Agreement, b"line", b"head")?;
    assert!(matches!(late.commit(), Err(StoreError::Poisoned)));
    assert_eq!(told.lock().unwrap().len(), 1);
    assert!(holdings.failed().is_some_and(|cause| cause.contains("missing")));
    // Whoever looks for damage reads on.
    assert_eq!(holdings.audit().get(OWN, Table::Record, b"id")?, Some(b"value".to_vec()));
    Ok(())
}

/// A store remembers its engine: another name in the settings is refused, with the right one.
#[test]
fn a_store_is_opened_with_the_engine_it_was_made_with() -> Outcome {
    let home = Home::new();
    drop(home.create()?);
    let engine = home.data().join("engine");
    assert_eq!(fs::read_to_string(&engine)?, "fjall\n");
    fs::write(&engine, "sled\n")?;
    let refused = home.open().err().ok_or("it opened")?;
    match Backend::Sled.is_built() {
        true => assert!(matches!(refused, StoreError::OtherEngine { .. }), "{refused}"),
        false => assert!(matches!(refused, StoreError::NoEngine(_)), "{refused}"),
    }
    fs::write(&engine, "other\n")?;
    assert!(matches!(home.open(), Err(StoreError::OtherEngine { .. })));
    Ok(())
}

fn behaves(holdings: &Holdings) -> Outcome {
    writes_and_reads(holdings)?;
    changes_and_conflicts(holdings)?;
    journal_is_chained(holdings)?;
    blobs(holdings)?;
    let report = holdings.check()?;
    assert_eq!((report.unopened, report.opened + report.tokens), (0, report.rows));
    Ok(())
}

#[test]
fn holdings_behave_in_memory() -> Outcome {
    behaves(&memory())
}

#[test]
fn holdings_behave_on_disk_and_after_opening_again() -> Outcome {
    let home = Home::new();
    let holdings = home.create()?;
    let id = holdings.store_id();
    behaves(&holdings)?;
    assert!(matches!(home.open(), Err(StoreError::InUse(_))));
    let head = holdings.head()?;
    drop(holdings);
    let holdings = home.open()?;
    assert_eq!((holdings.store_id(), holdings.head()?), (id, head));
    journal_is_chained(&holdings)?;
    let mut txn = holdings.begin();
    txn.index(OWN, "country", b"SY", 6)?;
    assert_eq!(tell(&mut txn, "opened")?, 2);
    txn.commit()?;
    assert_eq!(holdings.find(OWN, "country", b"SY", Some(5), 10)?, [6]);
    assert_eq!(holdings.journal(Some(1), 1)?[0].1.before(), holdings.journal(Some(0), 1)?[0].1.digest());
    holdings.keyring().destroy_partition(AGREEMENT)?;
    assert!(matches!(holdings.get(AGREEMENT, Table::Agreement, b"id"), Err(StoreError::Keyring(_))));
    Ok(())
}

#[test]
fn a_part_that_is_missing_is_an_alarm() -> Outcome {
    let home = Home::new();
    drop(home.create()?);
    for part in open::parts(&home.data()) {
        let aside = part.with_extension("aside");
        fs::rename(&part, &aside)?;
        assert!(matches!(home.open(), Err(StoreError::Missing(_))), "{part:?}");
        fs::rename(&aside, &part)?;
    }
    home.open()?;
    fs::remove_dir_all(home.data())?;
    assert!(matches!(home.open(), Err(StoreError::Missing(_))));
    let keyring = Keyring::open(home.folder.path(), &home.node, &home.recovery.recipient())?;
    let made = open::create(&home.data(), Backend::Fjall, Arc::new(keyring));
    assert!(matches!(made, Err(StoreError::Missing(_))), "the keyring belongs to a store that is gone");
    Ok(())
}

#[test]
fn transactions_of_several_threads_keep_every_counter() -> Outcome {
    let home = Home::new();
    let holdings = home.create()?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut txn = holdings.begin();
                    txn.push(OWN, Table::RecordList, b"", b"item").unwrap();
                    txn.index(OWN, "f", b"v", 1).unwrap();
                    tell(&mut txn, "event").unwrap();
                    txn.commit().unwrap();
                }
            });
        }
    });
    let numbers = holdings.list(OWN, Table::RecordList, b"", None, 100)?.into_iter().map(|(n, _)| n);
    assert_eq!(numbers.collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    assert_eq!(holdings.find(OWN, "f", b"v", None, 100)?.len(), 40);
    assert_eq!(holdings.journal(None, 100)?.len(), 40);
    Ok(())
}

/// The forms in which a value could be found on a disk.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let utf16: Vec<u16> = value.encode_utf16().collect();
    let little = utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big = utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    for raw in [value.as_bytes().to_vec(), little, big] {
        forms.push(hex::encode(&raw).into_bytes());
        forms.push(hex::encode_upper(&raw).into_bytes());
        for shift in 0..3 {
            // The characters that do not depend on what stands before and after.
            let text = BASE64_STANDARD.encode([vec![0; shift], raw.clone()].concat());
            forms.push(text.as_bytes()[4..text.len() - 4].to_vec());
        }
        forms.push(raw);
    }
    forms
}

/// Every file under `folder` and every file name, joined.
fn everything(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend_from_slice(path.file_name().unwrap().as_encoded_bytes());
        match path.is_dir() {
            true => all.extend(everything(&path)),
            false => {
                let bytes = fs::read(&path).unwrap();
                // A journal is allocated far beyond its content.
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                all.extend_from_slice(&bytes[..end]);
            }
        }
    }
    all
}

fn found(folder: &Path, values: &[String]) -> Vec<String> {
    let all = everything(folder);
    let mut found = Vec::new();
    for value in values {
        let forms = forms(value);
        // First bytes first: a scan of the whole for each form would take minutes.
        let hit = all
            .iter()
            .enumerate()
            .any(|(at, first)| forms.iter().any(|form| form.first() == Some(first) && all[at..].starts_with(form)));
        if hit {
            found.push(value.clone());
        }
    }
    found
}

#[test]
fn no_value_is_on_disk_in_any_form() -> Outcome {
    let values: Vec<String> = (0..12).map(|n| format!("Kanarienvogel-{n}-Zeuge")).collect();
    let v = |n: usize| values[n].as_bytes();
    let home = Home::new();
    let holdings = home.create()?;
    let mut txn = holdings.begin();
    txn.put(OWN, Table::Record, v(0), v(1))?;
    txn.push(AGREEMENT, Table::FeedIn, v(2), v(3))?;
    txn.index(OWN, &values[4], v(5), 6)?;
    tell(&mut txn, &values[7])?;
    txn.delete(OWN, Table::Record, v(8))?;
    txn.commit()?;
    holdings.blob_put(OWN, v(9), &mut v(10).repeat(50).as_slice())?;
    let mut unfinished = holdings.blob_writer(OWN)?;
    unfinished.write_all(&v(11).repeat(50_000))?;
    assert_eq!(found(home.folder.path(), &values), Vec::<String>::new());
    drop(unfinished);
    drop(holdings);
    assert_eq!(found(home.folder.path(), &values), Vec::<String>::new());
    // The search itself finds what is there.
    for form in forms(&values[3]) {
        fs::write(home.data().join("planted"), [b"abc", form.as_slice(), b"z"].concat())?;
        assert_eq!(found(home.folder.path(), &values), values[3..4]);
    }
    Ok(())
}
