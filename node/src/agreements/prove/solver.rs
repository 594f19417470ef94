//! The solver: cvc5 as a child process, asked one question and ended.
//!
//! `prove` finds the program in the settings, hands over the text of a question, and gets an answer or why there is none.
//! The child sees policies only: no environment, no evidence, no open file of ours. Question and answer lie in memory
//! files and not in pipes, so that no child, and no child of one, can keep anybody waiting. The file for the answer is as
//! long as it may get and sealed before anybody has it: limits that are set on a process which runs already come too late
//! for what it has started, and one `yes` fills a machine's memory in seconds. Time is bounded here and in the child, its
//! memory from its start on, and at the end its whole process group is killed.
//!
//! An answer counts only where it is the whole of what was said and the program ended well: one that says `unsat` and then
//! complains has proved nothing.

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid},
};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The first version that can answer: those before lack an operator which the questions use.
pub const VERSION_MIN: (u32, u32) = (1, 3);
/// What a child may say. Models of our questions are some kilobytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Address space of a child.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// How long a program may take to say its version.
const VERSION_PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks whether the child has ended, at most.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Why there is no answer. Each means: not proved.
#[derive(Debug, thiserror::Error)]
pub enum SolverFault {
    /// None.
    #[error(
        "no solver is installed: put `cvc5` (1.3 or later, from cvc5's releases) on the PATH, or name it as `solver` in \
         entente.toml"
    )]
    Absent,
    /// Not started.
    #[error("the solver `{}` cannot be started: {cause}", .path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not cvc5.
    #[error("`{}` does not say that it is cvc5", .0.display())]
    Other(PathBuf),
    /// A version that cannot answer.
    #[error(
        "`{}` is cvc5 {version}, which is too old (Debian's is): 1.3 or later is needed, from cvc5's releases", .path.display()
    )]
    Old {
        /// The program.
        path: PathBuf,
        /// What it says.
        version: String,
    },
    /// No answer in time.
    #[error("the solver gave no answer within {} s; --timeout gives it longer", .0.as_secs())]
    Slow(Duration),
    /// It says so itself.
    #[error("the solver does not know")]
    Unknown,
    /// Not an answer.
    #[error("the solver ended without an answer ({status}); it said `{said}`")]
    NoAnswer {
        /// How it ended.
        status: String,
        /// The beginning of what it said.
        said: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing meets the formula.
    Unsat,
    /// This does.
    Sat(String),
}

/// A solver that has said who it is.
#[derive(Debug, Clone)]
pub struct Solver {
    path: PathBuf,
    version: String,
    patience: Duration,
    deadline: Instant,
}

impl Solver {
    /// The solver at a path, which answers within `patience`, all questions together.
    pub fn at(path: Option<&Path>, patience: Duration) -> Result<Self, SolverFault> {
        let path = path.ok_or(SolverFault::Absent)?.to_owned();
        let begun = Instant::now();
        let said = run(&path, &["--version"], b"", VERSION_PATIENCE.min(patience))?;
        let version = said.text.split_once("cvc5 version ").and_then(|(_, rest)| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            rest.get(..end)
        });
        let Some(version) = version.filter(|version| !version.is_empty()) else { return Err(SolverFault::Other(path)) };
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
        if (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) < VERSION_MIN {
            return Err(SolverFault::Old { version: version.to_owned(), path });
        }
        Ok(Self { version: version.to_owned(), path, patience, deadline: begun + patience })
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether anything meets a formula; what does, comes with the answer.
    pub fn ask(&self, script: &str) -> Result<Answer, SolverFault> {
        let said = self.say(&format!("{script}(check-sat)\n"))?;
        match said.text.trim() {
            "unsat" if said.status.success() => return Ok(Answer::Unsat),
            "unknown" if said.status.success() => return Err(SolverFault::Unknown),
            "sat" if said.status.success() => {}
            _ => return Err(said.no_answer()),
        }
        let said = self.say(&format!("{script}(check-sat)\n(get-model)\n"))?;
        match said.text.trim_start().strip_prefix("sat") {
            Some(model) if said.status.success() => Ok(Answer::Sat(model.trim_start().to_owned())),
            _ => Err(said.no_answer()),
        }
    }

    fn say(&self, text: &str) -> Result<Said, SolverFault> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A little later than here, so that it is we who say that its time is over.
        let limit = format!("--tlimit={}", left.as_millis() + 1_000);
        match run(&self.path, &["--lang", "smt", &limit], text.as_bytes(), left) {
            Err(SolverFault::Slow(_)) => Err(SolverFault::Slow(self.patience)),
            Ok(said) if said.text.contains("interrupted by timeout") => Err(SolverFault::Slow(self.patience)),
            other => other,
        }
    }
}

/// What a child said before it ended.
struct Said {
    text: String,
    status: ExitStatus,
}

impl Said {
    fn no_answer(&self) -> SolverFault {
        let said: String = self.text.trim().chars().take(120).flat_map(char::escape_debug).collect();
        SolverFault::NoAnswer { status: self.status.to_string(), said }
    }
}

/// Runs the program over a text until it ends, or until its time is over.
fn run(path: &Path, arguments: &[&str], input: &[u8], patience: Duration) -> Result<Said, SolverFault> {
    let fault = |cause: io::Error| SolverFault::Start { path: path.to_owned(), cause };
    let deadline = Instant::now() + patience;
    let mut question = memory(MemfdFlags::CLOEXEC).map_err(fault)?;
    question.write_all(input).and_then(|()| question.rewind()).map_err(fault)?;
    let mut answer = sealed().map_err(fault)?;
    let child = Command::new(path)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(question)
        .stdout(answer.try_clone().map_err(fault)?)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(fault)?;
    let mut child = Running { child, reaped: false };
    child.limit(patience);
    let status = child.ended(deadline).map_err(fault)?.ok_or(SolverFault::Slow(patience))?;
    let mut text = Vec::new();
    // The child wrote through the same open file, so its place is the end of what was said.
    let said = answer.stream_position().map_err(fault)?;
    answer.rewind().and_then(|()| (&mut answer).take(said).read_to_end(&mut text)).map_err(fault)?;
    Ok(Said { text: String::from_utf8_lossy(&text).into_owned(), status })
}

fn memory(flags: MemfdFlags) -> io::Result<File> {
    Ok(File::from(memfd_create("solver", flags)?))
}

/// A memory file that takes an answer and does not grow.
fn sealed() -> io::Result<File> {
    let file = memory(MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    file.set_len(ANSWER_BYTES_MAX)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// A child. Dropping it ends it, and whatever it has started.
struct Running {
    child: Child,
    reaped: bool,
}

impl Running {
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// Bounds what it may take. Where the system does not let us, time and the answer are bounded still.
    fn limit(&self, patience: Duration) {
        let Some(pid) = self.pid() else { return };
        let most = |n: u64| Rlimit { current: Some(n), maximum: Some(n) };
        for (resource, bound) in
            [(Resource::As, MEMORY_BYTES_MAX), (Resource::Cpu, patience.as_secs() + 2), (Resource::Core, 0)]
        {
            if let Err(error) = prlimit(Some(pid), resource, most(bound)) {
                tracing::debug!(%error, "the solver's limits are not all set");
            }
        }
    }

    /// How it ended, or none where its time is over.
    fn ended(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let pid = self.pid().ok_or(io::ErrorKind::InvalidInput)?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut pause = Duration::from_millis(1);
        while waitid(WaitId::Pid(pid), look)?.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.end().map(Some)
    }

    /// Kills its group and waits for it. Until it is waited for, its number belongs to no other process.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(pid) = self.pid().filter(|_| !self.reaped) {
            // What has ended cannot be killed, and need not be.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.end();
        }
    }
}
