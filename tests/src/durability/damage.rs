//! A disk that lies: one byte of one file is another, or a file is shorter. The store refuses or says what is wrong; it
//! never answers with something else than what was written, and never leaves out silently what was acknowledged.

use super::{OWN, Outcome, Rng, Site, blob, content, key, power::workshop, verify};
use entente_node::store::{
    holdings::Holdings,
    layout::Table,
    open::{self, Backend},
};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

const LANES: usize = 2;
/// Items of each lane.
const ITEMS: u64 = 90;

/// What trials did.
#[derive(Debug, Default)]
pub struct Tally {
    /// The store did not open.
    pub refused: u64,
    /// It opened, and a check named the row, blob or file that is wrong.
    pub told: u64,
    /// Everything was there and right all the same: bytes that carry nothing, or stand twice.
    pub unharmed: u64,
    /// It opened, and something else than what was written was answered, or something was left out: never for fjall.
    pub silent: BTreeMap<String, u64>,
    /// The engine panicked.
    pub panics: u64,
    /// The seed of the first trial that was silent or panicked.
    pub first: Option<u64>,
}

/// A store with a past, closed, and what it holds.
struct Patient {
    folder: tempfile::TempDir,
    site: Site,
    acknowledged: Vec<Option<u64>>,
    files: Vec<PathBuf>,
    /// Those of them that are no blobs.
    ledger: Vec<PathBuf>,
}

fn patient(worker: &Path, backend: Backend) -> Outcome<Patient> {
    let folder = workshop()?;
    let site = Site::at(&folder.path().join("site"), backend);
    site.create()?;
    let status = std::process::Command::new(worker)
        .args(["write".as_ref(), folder.path().join("site").as_os_str()])
        .args([backend.name(), "2", &ITEMS.to_string()])
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        return Err("the writer failed before anything was damaged".into());
    }
    let mut files = Vec::new();
    let mut open = vec![site.data()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if fs::metadata(&path)?.len() > 0 {
                files.push(path.strip_prefix(site.data())?.to_owned());
            }
        }
    }
    files.sort();
    let ledger = files.iter().filter(|path| !path.starts_with("blobs")).cloned().collect();
    Ok(Patient { folder, site, acknowledged: vec![Some(ITEMS - 1); LANES], files, ledger })
}

/// A place in a file that is not one of the zeros with which engines fill their files.
fn telling_place(path: &Path, rng: &mut Rng) -> Outcome<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut at = rng.below(length);
    for _ in 0..64 {
        let mut byte = [0; 16];
        let read = file.read_at(&mut byte, at)?;
        if byte.iter().take(read).any(|byte| *byte != 0) {
            break;
        }
        // Halving goes towards the beginning, where content is.
        at /= 2;
    }
    Ok(at)
}

/// Changes one byte so many times, each in a fresh copy.
///
/// # Errors
/// If a copy cannot be made.
pub fn flips(worker: &Path, backend: Backend, trials: u64, seed: u64) -> Outcome<(Tally, String)> {
    trial("flips", worker, backend, (trials, seed), &|path, rng| {
        let at = telling_place(path, rng)?;
        let by = 1 << rng.below(8);
        content::flip(path, at, by)?;
        Ok(format!("byte {at} changed by {by:#x}"))
    })
}

/// Cuts one file so many times, each in a fresh copy.
///
/// # Errors
/// If a copy cannot be made.
pub fn truncations(worker: &Path, backend: Backend, trials: u64, seed: u64) -> Outcome<(Tally, String)> {
    trial("truncations", worker, backend, (trials, seed), &|path, rng| {
        let at = telling_place(path, rng)?;
        OpenOptions::new().write(true).open(path)?.set_len(at)?;
        Ok(format!("cut to {at} bytes"))
    })
}

type Harm<'a> = &'a dyn Fn(&Path, &mut Rng) -> Outcome<String>;

fn trial(
    name: &str,
    worker: &Path,
    backend: Backend,
    (trials, seed): (u64, u64),
    harm: Harm<'_>,
) -> Outcome<(Tally, String)> {
    let begun = Instant::now();
    let patient = patient(worker, backend)?;
    let mut tally = Tally::default();
    for n in 0..trials {
        let mut rng = Rng(seed.wrapping_add(n));
        // Half of the trials hit the ledger and what stands beside it; there are many more blobs than those.
        let wanted = if rng.one_in(2) { &patient.ledger } else { &patient.files };
        let file = &wanted[rng.below(wanted.len() as u64) as usize];
        let copy = patient.folder.path().join("copy");
        content::copy(&patient.site.data(), &copy)?;
        let what = harm(&copy.join(file), &mut rng)?;
        let what = format!("seed {}: {}: {what}", seed + n, file.display());
        let seen = std::panic::catch_unwind(|| look(&patient, &copy, &what));
        if matches!(seen, Ok(Seen::Silent(_)) | Err(_)) {
            tally.first.get_or_insert(seed + n);
        }
        match seen {
            Ok(Seen::Refused) => tally.refused += 1,
            Ok(Seen::Told) => tally.told += 1,
            Ok(Seen::Unharmed) => tally.unharmed += 1,
            Ok(Seen::Silent(why)) => *tally.silent.entry(why).or_default() += 1,
            Err(_) => tally.panics += 1,
        }
        fs::remove_dir_all(&copy)?;
    }
    let line = format!(
        "{name}, {}: {trials} from seed {seed}: {} refused, {} named by a check, {} unharmed, {} silent, {} panics, {:.1} s",
        backend.name(),
        tally.refused,
        tally.told,
        tally.unharmed,
        tally.silent.values().sum::<u64>(),
        tally.panics,
        begun.elapsed().as_secs_f64()
    );
    Ok((tally, line))
}

enum Seen {
    Refused,
    Told,
    Unharmed,
    Silent(String),
}

/// Checks everything and reads it. An answer that names what is damaged is one; a wrong content or a gap without it is
/// not, and neither is an error that says nothing of where.
fn look(patient: &Patient, copy: &Path, what: &str) -> Seen {
    let open = || patient.site.keyring().and_then(|keyring| open::open(copy, patient.site.backend, keyring));
    let Ok(holdings) = open() else { return Seen::Refused };
    let found = findings(&holdings, &patient.acknowledged);
    if found.is_empty() {
        return match verify(&holdings, &patient.acknowledged) {
            Ok(()) => Seen::Unharmed,
            Err(error) => Seen::Silent(format!("{what}: {error}, and nothing is named")),
        };
    }
    // An engine that failed refuses from then on: what it answers is asked anew.
    drop(holdings);
    match open().map(|holdings| verify(&holdings, &patient.acknowledged)) {
        Ok(Err(error)) if error.to_string().contains("WRONG") => Seen::Silent(format!("{what}: {error}")),
        _ => Seen::Told,
    }
}

/// What a check of rows and blobs names: a row by its key, a blob by its name, and what an engine or the sequence says
/// of a file or a place.
fn findings(holdings: &Holdings, acknowledged: &[Option<u64>]) -> Vec<String> {
    let audit = holdings.audit();
    let mut found = Vec::new();
    let seen = audit.each_row(None, &mut |seen| {
        if seen.opened.is_none() && !seen.token {
            let key: String = seen.row.iter().map(|byte| format!("{byte:02x}")).collect();
            found.push(format!("row {key} does not open"));
        }
        Ok(())
    });
    found.extend(seen.err().map(|error| error.to_string()));
    found.extend(audit.sequence(&mut |_| {}).err().map(|error| error.to_string()));
    for (lane, last) in (0u64..).zip(acknowledged) {
        for n in 0..last.map_or(0, |last| last + 1) {
            let key = key(lane, n);
            match audit.get(OWN, Table::Record, &key) {
                Ok(Some(_)) => {}
                Ok(None) => found.push(format!("row of lane {lane}, item {n}, is gone")),
                Err(error) => found.push(error.to_string()),
            }
            if let Err(error) = audit.nth(OWN, "lane", &lane.to_be_bytes(), n) {
                found.push(error.to_string());
            }
            if blob(lane, n).is_none() {
                continue;
            }
            let name = audit.blob_name(OWN, &key).map(|name| name.to_string()).unwrap_or_default();
            let read = audit.blob(OWN, &key).map_err(|error| error.to_string());
            let read = read
                .and_then(|mut blob| std::io::copy(&mut blob, &mut std::io::sink()).map_err(|error| error.to_string()));
            found.extend(read.err().map(|error| format!("blob {name}: {error}")));
        }
    }
    found.retain(|said| names(said));
    found
}

/// Whether what is said leads to something: a row or blob by its digits, an item, or a place in the order of appends.
fn names(said: &str) -> bool {
    let digits = said.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() >= 16);
    digits
        || ["item ", "append ", "the first row", "sequence breaks at", "ledger ends at"]
            .iter()
            .any(|words| said.contains(words))
}
