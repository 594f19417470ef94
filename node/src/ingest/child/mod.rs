//! The child process that parses what people bring: this program again, limited before it reads a byte.
//!
//! `import` asks [`table`] for the rows of a file and `carry` asks [`picture`] for what an attachment says and for its
//! copies; both start a child for that one file. The child gets a socket as its standard input and nothing else: no home, no key,
//! and of an environment one constant for its allocator. It limits itself (`jail`), says so, and only then is sent what to do, with the
//! file as an open descriptor. It answers in frames (`frame`) and ends. One child for one file, so what is hidden in one
//! file reaches at most what is taken from that file.
//!
//! What comes back is as much from outside as the file: bounded, checked, and made legible before it is shown. The
//! parent never parses a file itself, and nothing that a partner sends comes here.

mod frame;
mod jail;
pub mod picture;
mod serve;
pub mod table;
#[cfg(test)]
mod tests;

use frame::{Frame, Tag};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::Once,
    time::{Duration, Instant},
};

/// First argument of the child. No command of this name is shown to people; without the socket it is none.
const ARGUMENT: &str = "read-what-people-bring";
/// How long a child may work without a word.
const PATIENCE: Duration = Duration::from_secs(60);
/// Address space of a child: what the largest workbook or picture within the limits takes, and the program itself.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// What its allocator sets aside at a time, in KiB.
const ARENA_KIB: &str = "32768";
/// Processor time for one table.
pub const TABLE_SECONDS_MAX: u64 = 3_600;
/// Processor time for one picture.
pub const PICTURE_SECONDS_MAX: u64 = 60;

/// What a child is started for: its limits differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Table,
    Picture,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Picture => "picture",
        }
    }
    fn named(name: &OsStr) -> Option<Self> {
        [Self::Table, Self::Picture].into_iter().find(|task| task.name() == name)
    }
    const fn seconds_max(self) -> u64 {
        match self {
            Self::Table => TABLE_SECONDS_MAX,
            Self::Picture => PICTURE_SECONDS_MAX,
        }
    }
}

/// A file was not read to its end, by no fault that a row or a picture could name.
#[derive(Debug, thiserror::Error)]
pub enum ChildFault {
    /// No child.
    #[error("the process that reads files cannot be started: {0}")]
    Start(#[source] io::Error),
    /// The child that was started is none, or not of this version.
    #[error("the process that reads files does not answer: is the program whole, and not replaced by another?")]
    Silent,
    /// The kernel lacks what the child needs, or forbids it.
    #[error("the process that reads files cannot limit itself, so nothing was read: {0}")]
    NotLimited(String),
    /// The child ended before it was done.
    #[error("reading it was stopped: {0}")]
    Died(&'static str),
    /// The child gave no sign of life.
    #[error("reading it was stopped: nothing came of it for {} seconds", .0.as_secs())]
    Slow(Duration),
    /// The child answered what it may not. Whatever the file did to it, nothing of the answer is used.
    #[error("reading it was stopped: {0}; the file may be made to attack programs, keep it and tell who runs the node")]
    Broken(&'static str),
}

impl ChildFault {
    /// Whether this machine is at fault, and not the file.
    pub const fn is_setup(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Silent | Self::NotLimited(_))
    }
}

/// Which program the children run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    patience: Duration,
}

impl Program {
    /// This very program, also after its file was replaced by a newer one.
    #[cfg(not(test))]
    pub fn own() -> Self {
        let itself = PathBuf::from("/proc/self/exe");
        let path = if itself.exists() { itself } else { std::env::current_exe().unwrap_or(itself) };
        Self::at(path)
    }

    /// This very program: the tests, one of which is the child.
    #[cfg(test)]
    pub fn own() -> Self {
        tests::harness("as_child")
    }

    /// The program `entente` at a path, for whoever uses this library from another program.
    pub fn at(path: PathBuf) -> Self {
        Self { path, arguments: vec![ARGUMENT.into()], patience: PATIENCE }
    }
}

/// The child's whole life, if these are the arguments of one and its standard input is the parent's socket.
pub fn called(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, first, task] = arguments else { return None };
    if first != ARGUMENT {
        return None;
    }
    serve::serve(Task::named(task)?)
}

/// One child, from the parent's side. Dropping it ends it.
struct Child {
    process: std::process::Child,
    channel: UnixStream,
    patience: Duration,
    is_limited: bool,
    buffer: Vec<u8>,
}

impl Child {
    fn start(program: &Program, task: Task) -> Result<Self, ChildFault> {
        let (channel, theirs) = UnixStream::pair().map_err(ChildFault::Start)?;
        let process = Command::new(&program.path)
            .arg0("entente")
            .args(&program.arguments)
            .arg(task.name())
            .env_clear()
            // The allocator would set a gibibyte of addresses aside at its start, as much as the limit leaves: then the next
            // page of its own tables, which it needs now and then, is refused, and a file that is small as "too large".
            .env("MIMALLOC_ARENA_RESERVE", ARENA_KIB)
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(ChildFault::Start)?;
        Ok(Self { process, channel, patience: program.patience, is_limited: false, buffer: Vec::new() })
    }

    /// Waits until the child has said that it is limited, then hands it the file.
    fn ask(&mut self, request: &[u8], file: &File) -> Result<(), ChildFault> {
        let (tag, payload) = self.receive()?;
        match (tag, payload) {
            (Tag::Ready, [frame::VERSION, landlock]) => note_landlock(*landlock),
            (Tag::NotLimited, why) => return Err(ChildFault::NotLimited(legible(&String::from_utf8_lossy(why)))),
            _ => return Err(ChildFault::Silent),
        }
        self.is_limited = true;
        let message = frame::bytes(Tag::Request, request);
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        control.push(rustix::net::SendAncillaryMessage::ScmRights(&files));
        let flags = rustix::net::SendFlags::NOSIGNAL;
        // A request is far smaller than what a socket takes at once.
        match rustix::net::sendmsg(&self.channel, &[IoSlice::new(&message)], &mut control, flags) {
            Ok(sent) if sent == message.len() => Ok(()),
            Ok(_) => Err(ChildFault::Silent),
            Err(_) => Err(self.death()),
        }
    }

    /// The next frame. Its deadline is for the whole of it, so a child cannot drip.
    fn receive(&mut self) -> Result<Frame<'_>, ChildFault> {
        let deadline = Instant::now() + self.patience;
        let mut buffer = std::mem::take(&mut self.buffer);
        let header = self.fill(&mut buffer, frame::HEADER_BYTES, deadline);
        let read = header.and_then(|()| {
            let (tag, bytes) = frame::header(&buffer).ok_or(ChildFault::Broken("it answered what is no answer"))?;
            self.fill(&mut buffer, bytes, deadline).map(|()| tag)
        });
        self.buffer = buffer;
        read.map(|tag| (tag, self.buffer.as_slice()))
    }

    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize, deadline: Instant) -> Result<(), ChildFault> {
        buffer.resize(bytes, 0);
        let mut have = 0;
        while let Some(room) = buffer.get_mut(have..).filter(|room| !room.is_empty()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.channel.set_read_timeout(Some(left)).is_err() {
                return Err(ChildFault::Slow(self.patience));
            }
            match self.channel.read(room) {
                Ok(0) => return Err(self.death()),
                Ok(read) => have += read,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {}
                    _ => return Err(self.death()),
                },
            }
        }
        Ok(())
    }

    /// Why the child is gone. One that only closed its socket is ended here; one that ended keeps its own status.
    fn death(&mut self) -> ChildFault {
        let _ = self.process.kill();
        match self.process.wait() {
            _ if !self.is_limited => ChildFault::Silent,
            Ok(status) => ChildFault::Died(cause(status)),
            Err(_) => ChildFault::Died("its process is gone"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What ended a child, for the person whose file it was.
fn cause(status: ExitStatus) -> &'static str {
    use rustix::process::Signal;
    const REPORT: &str = "the program failed on it; please report this, with a file that shows it and is not secret";
    let signal = status.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    if is(Signal::SYS) {
        "the file made its reader reach for what no reader needs; it may be made to attack programs, keep it and tell \
         who runs the node"
    } else if is(Signal::ABORT) {
        "it takes more memory than one file may; make it smaller, or split it"
    } else if is(Signal::XCPU) {
        "it takes more processor time than one file may; make it smaller, or split it"
    } else if is(Signal::KILL) {
        "its reader was killed, as systems do that run out of memory; try again when less runs beside it"
    } else {
        REPORT
    }
}

/// Said once: the other limits hold without it, so files are read all the same.
fn note_landlock(level: u8) {
    static ONCE: Once = Once::new();
    if level == jail::LANDLOCK_NONE {
        ONCE.call_once(|| {
            tracing::warn!("this kernel has no Landlock: files are read behind the system-call filter only")
        });
    }
}

/// Text from a child as a message may show it.
fn legible(text: &str) -> String {
    super::table::legible(text, 600)
}
