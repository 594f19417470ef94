//! What lies in a folder of backups, and whether it is whole: with the digests, which needs no key, and with the recovery
//! identity piece by piece.

use super::{
    BackupError, Counts, Header,
    archive::{Kind, Reader},
    manifest::{self, Archive, Manifest},
};
use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    seal::{
        hybrid::Identity,
        keyring::{Keyring, KeyringError, Partition, Survey},
    },
    secret::keyfile::KeyFileError,
    store::BlobName,
};
use entente_protocol::id::AgreementId;
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    str::FromStr,
};

/// One archive for people and programs. With `wrong`, whether it was looked at and what was found.
pub fn view(folder: &Path, archive: &Archive, wrong: Option<Result<(), String>>) -> Json {
    let mut view = json!({
        "id": format!("{:04}", archive.number),
        "number": archive.number,
        "full": archive.full,
        "at": archive.at.to_string(),
        "file": manifest::path(folder, archive).display().to_string(),
        "bytes": archive.bytes,
        "appends": archive.appends,
        "rows": archive.rows,
        "gone": archive.gone,
        "files": archive.blobs,
    });
    if let (Some(members), Some(wrong)) = (view.as_object_mut(), wrong) {
        members.insert("ok".to_owned(), json!(wrong.is_ok()));
        members.insert("says".to_owned(), json!(wrong.err().unwrap_or_else(|| "as it was written".to_owned())));
    }
    view
}

/// Every archive, oldest first.
pub fn list(folder: &Path) -> Result<Json, Fault> {
    let manifest = Manifest::expect(folder)?;
    let one = |archive: &Archive| {
        let mut view = view(folder, archive, None);
        if let Some(members) = view.as_object_mut() {
            members.insert("opens".to_owned(), json!(!manifest.is_shut(archive)));
        }
        view
    };
    Ok(Json::Array(manifest.archives.iter().map(one).collect()))
}

/// Looks at every archive that a restore would need, and at the keyring beside them. An archive of an earlier chain that
/// people have removed is none of them.
pub fn verify(folder: &Path, recovery: Option<&Identity>, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let manifest = Manifest::expect(folder)?;
    let chain = manifest.chain(None).ok_or_else(|| BackupError::None(folder.to_owned()))?;
    let total: u64 = chain.iter().map(|one| one.bytes).sum();
    let mut done = 0u64;
    let mut step = |bytes: u64| {
        done = done.saturating_add(bytes);
        progress(Progress { done: done >> 20, total: Some(total >> 20) });
    };
    let (mut before, mut last) = (None, None);
    let mut rows = Vec::new();
    for archive in chain {
        let looked = manifest::intact(folder, archive, &mut step).and_then(|()| {
            last = match recovery {
                Some(recovery) => {
                    Some(inside(folder, &manifest, archive, before, recovery, &mut |_, _| Ok(()))?.header)
                }
                None => None,
            };
            Ok(())
        });
        before = Some(archive.sha256.as_str());
        rows.push(view(folder, archive, Some(looked.map_err(|e| e.to_string()))));
    }
    let newest = manifest.archives.last();
    let path = newest.map_or_else(|| folder.join(manifest::KEYRING), |newest| manifest::keyring_of(folder, newest));
    let keyring = match recovery {
        Some(recovery) => {
            let survey = Keyring::survey_copy(&path, recovery).map_err(|e| e.to_string());
            survey.and_then(|survey| {
                let opens = format!("it opens {} partitions", survey.open.len());
                last.as_ref().and_then(|header| lacks(&survey, header)).map_or(Ok(opens), Err)
            })
        }
        None if path.exists() => Ok("it is there; --recovery-file FILE tells whether it opens".to_owned()),
        None => Err(KeyringError::File(KeyFileError::Missing(path.clone())).to_string()),
    };
    let (ok, says) = keyring.map_or_else(
        |e| (false, format!("{e}: without it the archives open and nothing in them does")),
        |says| (true, says),
    );
    rows.push(json!({ "id": "keyring", "file": path.display().to_string(), "ok": ok, "says": says }));
    Ok(Json::Array(rows))
}

/// What was found in an archive.
pub struct Inside {
    /// What it says of itself.
    pub header: Header,
    /// Blobs that there were.
    pub names: BTreeSet<BlobName>,
}

/// Whoever wants the pieces of an archive; what is not read of a value is passed over.
pub type Take<'a> = &'a mut dyn FnMut(&super::archive::Piece, &mut Reader) -> Result<(), BackupError>;

/// Reads an archive to its end, and compares what it says of itself with what is said of it.
pub fn inside(
    folder: &Path,
    manifest: &Manifest,
    archive: &Archive,
    before: Option<&str>,
    recovery: &Identity,
    take: Take<'_>,
) -> Result<Inside, BackupError> {
    let path = manifest::path(folder, archive);
    let mut reader = Reader::open(&path, recovery)?;
    let (mut counts, mut header, mut names) = (Counts::default(), None, BTreeSet::new());
    loop {
        let piece = reader.piece()?;
        match piece.kind {
            Kind::Header => header = serde_json::from_slice::<Header>(&reader.value()?).ok(),
            Kind::End => {
                let said: Counts = serde_json::from_slice(&reader.value()?).map_err(|_| reader.damaged())?;
                if said != counts || !reader.is_over()? {
                    return Err(reader.damaged());
                }
                break;
            }
            Kind::Name => {
                counts.names += 1;
                names.insert(name(&piece.key).ok_or_else(|| reader.damaged())?);
            }
            Kind::File => counts.files += 1,
            Kind::Blob => counts.blobs += 1,
            Kind::Row => counts.rows += 1,
            Kind::Gone => counts.gone += 1,
        }
        take(&piece, &mut reader)?;
    }
    let header = header.ok_or_else(|| reader.damaged())?;
    let swapped = |why: &str| Err(BackupError::Swapped { path: path.clone(), why: why.to_owned() });
    if header.format != manifest::FORMAT {
        return swapped("it was made by a newer version of the program");
    }
    if header.organisation != manifest.organisation || header.store != manifest.store {
        return swapped("it is of another organisation or store than `backup.json` says");
    }
    let said = (header.number, header.full, header.at, header.appends);
    if said != (archive.number, archive.full, archive.at, archive.appends) {
        return swapped("it is another archive than `backup.json` says");
    }
    if !header.full && header.before.as_deref() != before {
        return swapped("it does not follow the archive before it");
    }
    Ok(Inside { header, names })
}

/// What a keyring lacks to open an archive: keys of partitions that it does not know as erased, or keys that were destroyed
/// at the end of a rotation.
pub fn lacks(survey: &Survey, header: &Header) -> Option<String> {
    let erased: BTreeSet<String> = survey.erased.iter().map(ToString::to_string).collect();
    let open: BTreeMap<String, u32> = survey.open.iter().map(|(id, oldest)| (id.to_string(), *oldest)).collect();
    let agreements = header.agreements.iter().filter_map(|id| AgreementId::from_str(id).ok());
    let agreements = agreements.map(|id| Partition::Agreement(id).to_string());
    let missing = agreements
        .chain([Partition::Own, Partition::Node].map(|partition| partition.to_string()))
        .filter(|id| !open.contains_key(id) && !erased.contains(id))
        .count();
    if missing > 0 {
        return Some(format!(
            "it is older than the archive, or another store's: it lacks the keys of {missing} partitions in it"
        ));
    }
    let destroyed = header.keys.iter().any(|(id, oldest)| open.get(id).is_some_and(|held| held > oldest));
    destroyed.then(|| {
        "the archive was made before the partition keys were rotated, and the keys that open it were destroyed at the end of \
         the rotation".to_owned()
    })
}

/// The name of a blob, from a key.
pub fn name(key: &[u8]) -> Option<BlobName> {
    key.try_into().ok().map(BlobName)
}

/// The partition of an agreement, as people know it.
pub fn agreement(partition: &Partition) -> Option<String> {
    match partition {
        Partition::Agreement(id) => Some(id.to_string()),
        Partition::Own | Partition::Node => None,
    }
}
