//! The suite that every vault passes: one meaning of success for all of them.

use super::{BlobName, ReadSeek, StoreError, Vault, VaultWriter, files::Files, memory::MemoryVault};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    sync::Arc,
    thread,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

struct Subject {
    vault: Arc<dyn Vault>,
    /// Its folder, where it has one, and can be opened again.
    disk: Option<(tempfile::TempDir, PathBuf)>,
}

impl Subject {
    /// Closes and opens again, where there is something to open.
    fn reopen(&mut self) -> Result<(), StoreError> {
        if let Some((_, folder)) = &self.disk {
            self.vault = Arc::new(Files::open(folder)?);
        }
        Ok(())
    }
}

fn memory() -> Subject {
    Subject { vault: Arc::new(MemoryVault::default()), disk: None }
}

fn files() -> Subject {
    let holder = tempfile::tempdir().unwrap();
    let folder = holder.path().join("blobs");
    Files::create(&folder).unwrap();
    Subject { vault: Arc::new(Files::open(&folder).unwrap()), disk: Some((holder, folder)) }
}

/// A name whose first two digits are these.
fn name(first: u8, last: u8) -> BlobName {
    let mut name = [0; 32];
    (name[0], name[31]) = (first, last);
    BlobName(name)
}

fn writer(vault: &dyn Vault, content: &[u8]) -> Result<Box<dyn VaultWriter>, Box<dyn std::error::Error>> {
    let mut writer = vault.create()?;
    writer.write_all(content)?;
    Ok(writer)
}

fn put(vault: &dyn Vault, name: BlobName, content: &[u8]) -> Outcome {
    Ok(writer(vault, content)?.commit(name)?)
}

fn read(found: Option<Box<dyn ReadSeek>>) -> std::io::Result<Option<Vec<u8>>> {
    let Some(mut reader) = found else { return Ok(None) };
    let mut content = Vec::new();
    reader.read_to_end(&mut content)?;
    Ok(Some(content))
}

fn whole_or_absent(mut subject: Subject) -> Outcome {
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let vault = &*subject.vault;
    assert!(vault.open(name(1, 1))?.is_none() && !vault.exists(name(1, 1))?);
    vault.remove(name(1, 1))?;
    let mut unfinished = vault.create()?;
    unfinished.write_all(&content)?;
    unfinished.flush()?;
    assert!(vault.list(None, 100)?.is_empty(), "a blob has no name before it is whole");
    unfinished.commit(name(1, 1))?;
    put(vault, name(1, 2), b"")?;
    drop(writer(vault, b"nobody's")?);
    // An end that nobody saw coming: the writer is never dropped.
    std::mem::forget(writer(vault, b"torn")?);
    subject.reopen()?;
    let vault = &*subject.vault;
    assert_eq!(vault.list(None, 100)?, [name(1, 1), name(1, 2)]);
    assert_eq!(read(vault.open(name(1, 1))?)?, Some(content.clone()));
    assert_eq!(read(vault.open(name(1, 2))?)?, Some(Vec::new()));
    let mut reader = vault.open(name(1, 1))?.ok_or("absent")?;
    reader.seek(SeekFrom::Start(999_000))?;
    assert_eq!(read(Some(reader))?, Some(content[999_000..].to_vec()));
    if let Some((_, folder)) = &subject.disk {
        assert_eq!(fs::read_dir(folder.join("unfinished"))?.count(), 0, "what was not finished is swept");
    }
    Ok(())
}

fn a_name_keeps_its_content(subject: Subject) -> Outcome {
    let vault = &*subject.vault;
    put(vault, name(2, 1), b"first")?;
    put(vault, name(2, 1), b"second")?;
    assert_eq!(read(vault.open(name(2, 1))?)?, Some(b"first".to_vec()));
    assert_eq!(vault.list(None, 100)?.len(), 1);
    // What was open goes on although the name is gone; then the name is free.
    let mut open = vault.open(name(2, 1))?.ok_or("absent")?;
    vault.remove(name(2, 1))?;
    vault.remove(name(2, 1))?;
    assert!(!vault.exists(name(2, 1))?);
    let mut content = String::new();
    open.read_to_string(&mut content)?;
    assert_eq!(content, "first");
    put(vault, name(2, 1), b"second")?;
    assert_eq!(read(vault.open(name(2, 1))?)?, Some(b"second".to_vec()));
    Ok(())
}

fn names_come_in_order_and_in_pages(subject: Subject) -> Outcome {
    let vault = &*subject.vault;
    let all: BTreeSet<BlobName> = (0..=255).step_by(5).flat_map(|f| [name(f, 7), name(f, 3), name(f, 250)]).collect();
    // Put in another order than theirs.
    for name in all.iter().rev() {
        put(vault, *name, b"x")?;
    }
    let all: Vec<BlobName> = all.into_iter().collect();
    assert_eq!(vault.list(None, 1_000)?, all);
    assert!(vault.list(None, 0)?.is_empty());
    for size in [1, 2, 7] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = vault.list(after, size)?;
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            paged.extend(page);
        }
        assert_eq!(paged, all, "in pages of {size}");
    }
    assert!(vault.list(Some(BlobName([0xff; 32])), 10)?.is_empty());
    assert_eq!(vault.list(Some(name(5, 4)), 1)?, [name(5, 7)], "after a name that is absent");
    Ok(())
}

fn writers_share_it(subject: Subject) -> Outcome {
    let vault = &subject.vault;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|thread| {
                scope.spawn(move || -> Result<(), String> {
                    for n in 0..20 {
                        // Half of the names are everybody's.
                        let name = if n % 2 == 0 { name(9, n) } else { name(10 + thread, n) };
                        put(&**vault, name, &vec![n; 10_000]).map_err(|e| e.to_string())?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer panics")?)
    })?;
    let names = vault.list(None, 1_000)?;
    assert_eq!(names.len(), 10 + 8 * 10);
    for name in names {
        assert_eq!(read(vault.open(name)?)?, Some(vec![name.0[31]; 10_000]), "{name}");
    }
    Ok(())
}

/// Sealed anew, a blob takes its own place: whoever reads it reads on in the one before.
fn one_takes_the_place_of_another(mut subject: Subject) -> Outcome {
    let at = name(5, 1);
    put(&*subject.vault, at, b"before")?;
    let mut early = subject.vault.open(at)?.ok_or("absent")?;
    drop(writer(&*subject.vault, b"never")?);
    writer(&*subject.vault, b"after")?.replace(at)?;
    assert_eq!(read(subject.vault.open(at)?)?.as_deref(), Some(&b"after"[..]));
    let mut begun = Vec::new();
    early.read_to_end(&mut begun)?;
    assert_eq!(begun, b"before");
    subject.reopen()?;
    assert_eq!(read(subject.vault.open(at)?)?.as_deref(), Some(&b"after"[..]));
    assert_eq!((subject.vault.list(None, 10)?, subject.vault.strays(10)?.len()), (vec![at], 0));
    Ok(())
}

fn conforms(make: fn() -> Subject) -> Outcome {
    whole_or_absent(make())?;
    one_takes_the_place_of_another(make())?;
    a_name_keeps_its_content(make())?;
    names_come_in_order_and_in_pages(make())?;
    writers_share_it(make())
}

#[test]
fn the_vault_in_memory_conforms() -> Outcome {
    conforms(memory)
}

#[test]
fn the_vault_of_files_conforms() -> Outcome {
    conforms(files)
}

#[test]
fn a_vault_is_not_made_twice_and_not_opened_where_there_is_none() {
    let Subject { disk, .. } = files();
    let (holder, folder) = disk.unwrap();
    assert!(matches!(Files::create(&folder), Err(StoreError::Exists(_))));
    assert!(matches!(Files::open(&holder.path().join("none")), Err(StoreError::Missing(_))));
}
