//! One target at work: inputs made, judged under bounds, and what is found brought to a file.
//!
//! A target has a process of its own, so that a stack that overflows or memory that is refused ends only that. The
//! input at work is in a file before it is judged; whoever started the process finds it there ([`crate::fleet`]).
//!
//! There is no measure of covered code. What stands in for it are the outcomes that a target notes: an input with an
//! outcome that no other had is kept and changed further.

use crate::{
    chance::{Chance, hash},
    mutate::Mutator,
    tree::Form,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    collections::HashSet,
    fmt::{Display, Write as _},
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long one input may take. The build is not optimised, and the machine may be busy.
const SLOW: Duration = Duration::from_secs(10);
/// Stack of the thread that judges: less than threads of the node have, because frames of this build are larger.
const STACK_BYTES: usize = 1 << 20;
/// Inputs that are kept, seeds included.
const KEPT_MAX: usize = 8_192;
/// Inputs that are judged however long that takes.
const CASES_MIN: u64 = 100;
/// How long a finding is made smaller.
const SHRINK: Duration = Duration::from_secs(3);
/// How the process ends that has found something.
pub const FOUND: i32 = 3;

/// A parser of outside bytes, and what must hold of it.
pub struct Target {
    /// As it is called on the command line.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// What structure the mutations keep.
    pub form: Form,
    /// Longest input.
    pub bytes_max: usize,
    /// Address space beyond what the process had before the first input.
    pub memory_mib: u64,
    /// Makes its seeds and its judge.
    pub make: fn() -> Subject,
}

/// Says what is broken, or that nothing is.
pub type Verdict = Result<(), String>;
/// Takes an input, notes outcomes.
pub type Judge = Box<dyn FnMut(&[u8], &mut Notes) -> Verdict>;

/// A target that is ready.
pub struct Subject {
    /// Inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// Words of its format, for the mutations.
    pub words: Vec<Vec<u8>>,
    /// Judges one input.
    pub judge: Judge,
}

/// The outcomes of one input.
#[derive(Default)]
pub struct Notes {
    text: String,
    hashes: Vec<u64>,
}

impl Notes {
    /// Notes an outcome. Numbers, what stands between backticks and lines that are quoted come from the input, and make
    /// no difference; nor does what a long message ends with.
    pub fn note(&mut self, what: impl Display) {
        self.text.clear();
        let _ = write!(self.text, "{what}");
        let mut quoted = false;
        let lines = self.text.lines().filter(|line| !line.contains(" | "));
        let kept = lines.flat_map(str::bytes).filter(|byte| {
            quoted ^= *byte == b'`';
            !quoted && (byte.is_ascii_alphabetic() || *byte == b' ')
        });
        self.hashes.push(hash(&kept.take(96).collect::<Vec<u8>>()));
    }

    /// Notes an outcome that is a number, by its magnitude.
    pub fn size(&mut self, what: &'static str, size: usize) {
        self.hashes.push(hash(what.as_bytes()).wrapping_add(u64::from(usize::BITS - size.leading_zeros())));
    }

    /// Notes a result: that it is one, or why not.
    pub fn result<T, E: Display>(&mut self, what: &'static str, result: &Result<T, E>) {
        match result {
            Ok(_) => self.note(what),
            Err(error) => self.note(format_args!("{what}: {error}")),
        }
    }
}

/// What is asked of one process.
pub struct Order<'a> {
    /// For how long.
    pub time: Duration,
    /// Where chance begins.
    pub seed: u64,
    /// The file for the input at work.
    pub case: &'a Path,
}

/// What a process did.
#[derive(Default)]
struct Tally {
    cases: u64,
    kept: usize,
    outcomes: usize,
}

static PANIC: Mutex<String> = Mutex::new(String::new());
/// When the input at work began, in milliseconds since the start and 1; 0 between two.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Runs a target for as long as ordered. Prints what it did and ends the process.
pub fn work(target: &Target, order: &Order<'_>) -> ! {
    let start = Instant::now();
    let judged = |file: File| {
        let done = campaign(target, order, &file, start);
        match done {
            Ok(Ok(tally)) => {
                println!("{} {} {}", tally.cases, tally.kept, tally.outcomes);
                process::exit(0)
            }
            Ok(Err(why)) => found(&why),
            Err(error) => {
                eprintln!("{}: {error}", order.case.display());
                process::exit(2)
            }
        }
    };
    guarded(start, || {
        File::create(order.case).map_or_else(
            |error| {
                eprintln!("{}: {error}", order.case.display());
                process::exit(2)
            },
            judged,
        )
    })
}

/// Judges one input from a file. Prints what is found, and ends the process.
pub fn once(target: &Target, case: &Path) -> ! {
    let start = Instant::now();
    guarded(start, || {
        let mut subject = (target.make)();
        let Ok(bytes) = fs::read(case) else { process::exit(2) };
        bound(target.memory_mib);
        let mut notes = Notes::default();
        match judge(&mut subject, &bytes, &mut notes, start) {
            Ok(()) => process::exit(0),
            Err(why) => found(&why),
        }
    })
}

fn found(why: &str) -> ! {
    println!("found: {}", why.replace('\n', " "));
    process::exit(FOUND)
}

/// Runs it on a thread with a small stack, and watches the time of each input.
fn guarded(start: Instant, work: impl FnOnce() + Send) -> ! {
    panic::set_hook(Box::new(|info| {
        if let Ok(mut said) = PANIC.lock() {
            *said = info.to_string();
        }
    }));
    thread::scope(|scope| {
        let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let Ok(worker) = spawned else { process::exit(2) };
        while !worker.is_finished() {
            thread::sleep(Duration::from_millis(50));
            let begun = BEGUN.load(Ordering::Acquire);
            if begun > 0 && u128::from(begun) + SLOW.as_millis() < start.elapsed().as_millis() {
                found(&format!("an input takes more than {} s", SLOW.as_secs()));
            }
        }
    });
    // The worker ends the process itself, unless what makes a target's seeds panics.
    eprintln!("{}", PANIC.lock().map(|said| said.clone()).unwrap_or_default());
    process::exit(2)
}

/// Bounds the address space to what is taken now and so much more, and writes no cores.
fn bound(mib: u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let taken = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse().ok());
    let both = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    let taken: u64 = taken.unwrap_or(0);
    let set = [setrlimit(Resource::As, both((taken << 10) + (mib << 20))), setrlimit(Resource::Core, both(0))];
    if taken == 0 || set.iter().any(Result::is_err) {
        eprintln!("memory cannot be bounded here");
    }
}

/// A finding, or what was done.
type Done = Result<Tally, String>;

fn campaign(target: &Target, order: &Order<'_>, case: &File, start: Instant) -> io::Result<Done> {
    let mut subject = (target.make)();
    bound(target.memory_mib);
    let mut chance = Chance::new(order.seed, target.name);
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    let mut seen = HashSet::new();
    let mut tally = Tally::default();
    let mut seeds = std::mem::take(&mut subject.seeds).into_iter();
    let words = subject.words.clone();
    // On a machine that does much else, the time alone would be no trial.
    while start.elapsed() < order.time || seeds.len() > 0 || tally.cases < CASES_MIN {
        let is_seed = seeds.len() > 0;
        let input = match seeds.next() {
            Some(seed) => seed,
            None if corpus.is_empty() => Vec::new(),
            None => Mutator::new(&mut chance, target.form, &words, target.bytes_max).next(&corpus),
        };
        case.set_len(input.len() as u64)?;
        case.write_all_at(&input, 0)?;
        tally.cases += 1;
        let mut notes = Notes::default();
        if let Err(why) = judge(&mut subject, &input, &mut notes, start) {
            let small = shrunk(&mut subject, input, start);
            case.set_len(small.len() as u64)?;
            case.write_all_at(&small, 0)?;
            return Ok(Err(why));
        }
        let news = notes.hashes.iter().filter(|hash| seen.insert(**hash)).count();
        if (news > 0 || is_seed) && corpus.len() < KEPT_MAX {
            corpus.push(input);
        }
    }
    tally.kept = corpus.len();
    tally.outcomes = seen.len();
    Ok(Ok(tally))
}

/// A panic is a verdict too.
fn judge(subject: &mut Subject, input: &[u8], notes: &mut Notes, start: Instant) -> Verdict {
    let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    BEGUN.store(now + 1, Ordering::Release);
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| (subject.judge)(input, notes)));
    BEGUN.store(0, Ordering::Release);
    verdict.unwrap_or_else(|_| Err(PANIC.lock().map(|said| said.clone()).unwrap_or_default()))
}

/// Leaves out what is not needed for a verdict that something is broken, within a short time.
fn shrunk(subject: &mut Subject, input: Vec<u8>, start: Instant) -> Vec<u8> {
    let begun = Instant::now();
    let mut best = input;
    let mut piece = best.len() / 2;
    // Pieces halve, and each turn is bounded by the time.
    while piece > 0 && begun.elapsed() < SHRINK {
        let mut at = 0;
        while at < best.len() && begun.elapsed() < SHRINK {
            let mut less = best.clone();
            less.drain(at..(at + piece).min(best.len()));
            if judge(subject, &less, &mut Notes::default(), start).is_err() {
                best = less;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}
