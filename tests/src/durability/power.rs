//! Power cuts: a writer is recorded, and its disk is cut at thousands of moments. What is left is opened, and holds
//! everything that was acknowledged before the cut. Opening writes too: some of the images lose power again while they
//! are being opened, and again.

use super::{
    Outcome, Rng, Site, content,
    disk::{Disk, STYLES},
    kill::acknowledge,
    trace::{self, Event},
    verify,
};
use entente_node::store::open::{self, Backend};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

const LANES: usize = 2;
/// Items of each lane in one recorded run.
const ITEMS: u64 = 70;
/// Images of one recorded run.
pub const IMAGES_OF_ONE: u64 = 400;
/// One image in so many is opened under strace and cut again.
const AGAIN_ONE_IN: u64 = 40;
/// Images of one recovery.
const IMAGES_OF_RECOVERY: u64 = 12;

/// What the images did.
#[derive(Debug, Default)]
pub struct Tally {
    /// Images opened.
    pub images: u64,
    /// Images of a recovery that was itself cut.
    pub again: u64,
    /// Images that did not open, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Images that opened and lacked what was acknowledged, or held something wrong, by reason.
    pub lost: BTreeMap<String, u64>,
    /// The first image of each of those, to be made again.
    pub firsts: Vec<String>,
    /// The seed of the first run with such an image.
    pub first: Option<u64>,
}

impl Tally {
    fn note(&mut self, verdict: Verdict, what: &str) {
        let (kind, why) = match verdict {
            Verdict::Whole => return,
            Verdict::Refused(why) => (&mut self.refused, why),
            Verdict::Lost(why) => (&mut self.lost, why),
        };
        let short: String = why.chars().filter(|c| !c.is_ascii_digit()).take(100).collect();
        let count = kind.entry(short).or_default();
        if *count == 0 {
            self.firsts.push(format!("{what}: {why}"));
        }
        *count += 1;
    }
    /// Whether every image opened and held what was acknowledged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.lost.is_empty()
    }
}

enum Verdict {
    Whole,
    Refused(String),
    Lost(String),
}

/// Where images are made: in memory where that is possible, for nothing of them must last.
///
/// # Errors
/// If no folder can be made.
pub fn workshop() -> Outcome<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// Cuts the power of writers so many times; the caller judges the tally. `verb` is `write`, or `lie` for a writer that
/// acknowledges too early.
///
/// # Errors
/// If something cannot be recorded or followed.
pub fn images(worker: &Path, verb: &str, backend: Backend, (images, seed): (u64, u64)) -> Outcome<(Tally, String)> {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut run = 0;
    while tally.images < images {
        let due = (images - tally.images).min(IMAGES_OF_ONE);
        one_run(worker, verb, backend, (due, seed.wrapping_add(run)), &mut tally)?;
        if !tally.is_clean() {
            tally.first.get_or_insert(seed.wrapping_add(run));
        }
        run += 1;
    }
    let refused: u64 = tally.refused.values().sum();
    let lost: u64 = tally.lost.values().sum();
    let line = format!(
        "power, {}: {} images of {run} runs from seed {seed}, {} of them cut again while being opened; {refused} refused, {lost} lost, {:.1} s",
        backend.name(),
        tally.images,
        tally.again,
        begun.elapsed().as_secs_f64()
    );
    Ok((tally, line))
}

fn write_args<'a>(verb: &'a str, folder: &'a OsStr, engine: &'a str, items: &'a str) -> [&'a OsStr; 5] {
    [verb.as_ref(), folder, engine.as_ref(), "2".as_ref(), items.as_ref()]
}

/// Records one writer on a store that has a past already, and cuts it at moments spread over the run.
fn one_run(worker: &Path, verb: &str, backend: Backend, (images, seed): (u64, u64), tally: &mut Tally) -> Outcome {
    let folder = workshop()?;
    let root = fs::canonicalize(folder.path())?.join("site");
    let site = Site::at(&root, backend);
    site.create()?;
    let mut rng = Rng(seed);
    // A past of its own length for each run, so that the engine stands elsewhere each time.
    let past = rng.below(60).to_string();
    let status = std::process::Command::new(worker)
        .args(write_args("write", root.as_os_str(), backend.name(), &past))
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        return Err("the writer failed before anything was cut".into());
    }
    let mut disk = Disk::of(&site.data())?;
    let begin = lasts(&site)?;
    let events = trace::record(worker, &write_args(verb, root.as_os_str(), backend.name(), &ITEMS.to_string()))?;
    let spread = Moments::new(&events, images, &mut rng);
    let mut place = 0u64;
    for (at, event) in events.iter().enumerate() {
        disk.follow(event)?;
        for _ in 0..spread.at(at) {
            let style = STYLES[(place % STYLES.len() as u64) as usize];
            let mut acknowledged = begin.clone();
            acknowledge(&mut disk.said.as_slice(), &mut acknowledged)?;
            let image = folder.path().join("image");
            disk.image(&image, style, &mut rng)?;
            let what = format!("seed {seed}, run of {} events, cut after {at}, {style:?}, image {place}", events.len());
            if rng.one_in(AGAIN_ONE_IN) {
                cut_again(worker, folder.path(), &site, (&image, &acknowledged), &mut rng, tally, &what)?;
            }
            tally.note(judge(&site, &image, &acknowledged), &what);
            tally.images += 1;
            place += 1;
            fs::remove_dir_all(&image)?;
        }
    }
    Ok(())
}

fn lasts(site: &Site) -> Outcome<Vec<Option<u64>>> {
    let holdings = site.open()?;
    Ok((0..LANES as u64).map(|lane| super::last_of(&holdings, lane)).collect::<Result<_, _>>()?)
}

/// At which events how many images are made: everywhere alike.
struct Moments(BTreeMap<usize, u64>);

impl Moments {
    fn new(events: &[Event], images: u64, rng: &mut Rng) -> Self {
        let mut moments = BTreeMap::new();
        for _ in 0..images {
            *moments.entry(rng.below(events.len() as u64) as usize).or_default() += 1;
        }
        Self(moments)
    }
    fn at(&self, event: usize) -> u64 {
        self.0.get(&event).copied().unwrap_or_default()
    }
}

/// Opens an image and holds it against what was acknowledged.
fn judge(site: &Site, image: &Path, acknowledged: &[Option<u64>]) -> Verdict {
    let opened = site.keyring().and_then(|keyring| open::open(image, site.backend, keyring));
    match opened {
        Err(error) => Verdict::Refused(error.to_string()),
        Ok(holdings) => match verify(&holdings, acknowledged) {
            Ok(()) => Verdict::Whole,
            Err(error) => Verdict::Lost(error.to_string()),
        },
    }
}

/// Opens a copy of an image under strace, and cuts that too.
fn cut_again(
    worker: &Path,
    folder: &Path,
    site: &Site,
    (image, acknowledged): (&Path, &[Option<u64>]),
    rng: &mut Rng,
    tally: &mut Tally,
    what: &str,
) -> Outcome {
    let root = fs::canonicalize(folder)?.join("again");
    let data: PathBuf = root.join("data");
    fs::create_dir(&root)?;
    for entry in fs::read_dir(site.data().parent().ok_or("no folder")?)? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, root.join(path.file_name().ok_or("no name")?))?;
        }
    }
    content::copy(image, &data)?;
    let mut disk = Disk::of(&data)?;
    let args: [&OsStr; 3] = ["open".as_ref(), root.as_os_str(), site.backend.name().as_ref()];
    match trace::record(worker, &args) {
        Err(error) => tally.note(Verdict::Refused(error.to_string()), &format!("{what}, opened under strace")),
        Ok(events) => {
            let moments = Moments::new(&events, IMAGES_OF_RECOVERY, rng);
            let mut place = 0u64;
            for (at, event) in events.iter().enumerate() {
                disk.follow(event)?;
                for _ in 0..moments.at(at) {
                    let style = STYLES[(place % STYLES.len() as u64) as usize];
                    let second = folder.join("second");
                    disk.image(&second, style, rng)?;
                    let what = format!("{what}, then cut after {at} of {} while opening, {style:?}", events.len());
                    tally.note(judge(site, &second, acknowledged), &what);
                    (tally.images, tally.again, place) = (tally.images + 1, tally.again + 1, place + 1);
                    fs::remove_dir_all(&second)?;
                }
            }
        }
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}
