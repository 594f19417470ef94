//! Every write, sync and change of names that a process makes, recorded with `strace` and read into a list of events.
//!
//! strace sees system calls whatever library makes them. What it cannot see is a file written through memory; a
//! shared writable mapping is therefore refused, and so is any call whose effect this file does not know.

use super::Outcome;
use crate::output;
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

/// Calls that change files or names, and those needed to know which file a descriptor is.
const CALLS: &str = "open,openat,creat,close,dup,dup2,dup3,fcntl,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
    fallocate,lseek,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,sync,\
    syncfs,sync_file_range,msync,mmap,copy_file_range,sendfile,io_uring_setup";

/// One thing that happened, in order. Files are named by number: a file keeps its number when it is renamed.
#[derive(Debug, Clone)]
pub enum Event {
    /// A file or folder was opened and has this descriptor now.
    Open {
        /// Its path.
        path: PathBuf,
        /// The descriptor.
        fd: i64,
        /// Flags, as strace prints them.
        flags: String,
    },
    /// Another descriptor for the same.
    Dup(i64, i64),
    /// A descriptor is free.
    Close(i64),
    /// Bytes written, at a place or where the descriptor stands.
    Write {
        /// The descriptor.
        fd: i64,
        /// What.
        bytes: Arc<[u8]>,
        /// Where; the descriptor's own place if absent.
        at: Option<u64>,
    },
    /// The descriptor stands elsewhere now.
    Seek(i64, u64),
    /// The file has this length now.
    Length(i64, u64),
    /// A file got a second name.
    Link(PathBuf, PathBuf),
    /// A name was changed; what had the new one is replaced.
    Rename(PathBuf, PathBuf),
    /// A name went.
    Unlink(PathBuf),
    /// A folder was made.
    Folder(PathBuf),
    /// A sync of a file or folder began: what was written before is what it covers.
    SyncBegun(i64, usize),
    /// That sync returned without an error.
    SyncDone(i64, usize),
}

/// Whether strace is here.
#[must_use]
pub fn is_here() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Runs a program under strace and returns what it did.
///
/// # Errors
/// If the program fails, or if it does something that this cannot follow.
pub fn record(program: &Path, args: &[&OsStr]) -> Outcome<Vec<Event>> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-xx", "-s", "4194304", "--seccomp-bpf", "-e", "signal=none", "-e"]);
    command.arg(format!("trace={CALLS}")).arg("-o").arg(&log).arg(program).args(args);
    let output = output(&mut command)?;
    if !output.status.success() {
        return Err(format!("the traced program failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    parse(&fs::read_to_string(&log)?)
}

/// A call as one line again, with the places where it began and ended.
struct Call<'a> {
    name: &'a str,
    args: Vec<&'a str>,
    result: i64,
}

fn parse(log: &str) -> Outcome<Vec<Event>> {
    let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
    let (mut events, mut syncs) = (Vec::new(), 0);
    for line in log.lines() {
        let (pid, rest) = line.trim_start().split_once(' ').ok_or("a line without a process")?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(beginning) = rest.strip_suffix("<unfinished ...>") {
            syncs += 1;
            if let Some(fd) = argument_of(beginning, &["fsync", "fdatasync"]) {
                events.push(Event::SyncBegun(fd, syncs));
            }
            // Another thread may be given the number before this call has returned.
            if let Some(fd) = argument_of(beginning, &["close"]) {
                events.push(Event::Close(fd));
            }
            begun.insert(pid, (beginning.trim_end().to_owned(), syncs));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (beginning, sync) = begun.remove(pid).ok_or("a call that never began")?;
            let (_, end) = resumed.split_once(" resumed>").ok_or("a call that does not end")?;
            let whole = format!("{beginning}{end}");
            if !whole.starts_with("close(") {
                event(&whole, sync, &mut events)?;
            }
        } else {
            syncs += 1;
            if let Some(fd) = argument_of(rest, &["fsync", "fdatasync"]) {
                events.push(Event::SyncBegun(fd, syncs));
            }
            event(rest, syncs, &mut events)?;
        }
    }
    Ok(events)
}

/// The first argument, if it is one of these calls.
fn argument_of(call: &str, names: &[&str]) -> Option<i64> {
    let (name, args) = call.split_once('(')?;
    let digits: String = args.chars().take_while(char::is_ascii_digit).collect();
    names.contains(&name).then(|| digits.parse().ok()).flatten()
}

fn event(line: &str, sync: usize, events: &mut Vec<Event>) -> Outcome {
    let call = call(line)?;
    if call.result < 0 {
        return Ok(());
    }
    let arg = |at: usize| call.args.get(at).copied().ok_or_else(|| format!("too few arguments: {}", call.name));
    let number = |at: usize| -> Outcome<u64> { Ok(arg(at)?.parse()?) };
    let fd = || -> Outcome<i64> { Ok(arg(0)?.parse()?) };
    let path = |at: usize| -> Outcome<PathBuf> { Ok(PathBuf::from(String::from_utf8(unquote(arg(at)?)?)?)) };
    let done = usize::try_from(call.result)?;
    events.push(match call.name {
        "open" => Event::Open { path: path(0)?, fd: call.result, flags: arg(1)?.to_owned() },
        "openat" => Event::Open { path: path(1)?, fd: call.result, flags: arg(2)?.to_owned() },
        "close" => Event::Close(fd()?),
        "dup" | "dup2" | "dup3" => Event::Dup(fd()?, call.result),
        "fcntl" if arg(1)?.starts_with("F_DUPFD") => Event::Dup(fd()?, call.result),
        "write" => Event::Write { fd: fd()?, bytes: written(arg(1)?, done)?, at: None },
        "pwrite64" => Event::Write { fd: fd()?, bytes: written(arg(1)?, done)?, at: Some(number(3)?) },
        "writev" => Event::Write { fd: fd()?, bytes: vector(arg(1)?, done)?, at: None },
        "pwritev" => Event::Write { fd: fd()?, bytes: vector(arg(1)?, done)?, at: Some(number(3)?) },
        "lseek" => Event::Seek(fd()?, u64::try_from(call.result)?),
        "ftruncate" => Event::Length(fd()?, number(1)?),
        "rename" => Event::Rename(path(0)?, path(1)?),
        "renameat" | "renameat2" => Event::Rename(path(1)?, path(3)?),
        "link" => Event::Link(path(0)?, path(1)?),
        "linkat" => Event::Link(path(1)?, path(3)?),
        "unlink" | "rmdir" => Event::Unlink(path(0)?),
        "unlinkat" => Event::Unlink(path(1)?),
        "mkdir" => Event::Folder(path(0)?),
        "mkdirat" => Event::Folder(path(1)?),
        "fsync" | "fdatasync" => Event::SyncDone(fd()?, sync),
        // Promises nothing of what a power cut leaves.
        "sync_file_range" | "fcntl" => return Ok(()),
        "mmap" if !(arg(3)?.contains("MAP_SHARED") && arg(2)?.contains("PROT_WRITE")) => return Ok(()),
        other => return Err(format!("`{other}` is a call that the harness cannot follow: {line:.200}").into()),
    });
    Ok(())
}

fn call(line: &str) -> Outcome<Call<'_>> {
    let (name, rest) = line.split_once('(').ok_or_else(|| format!("no call: {line:.200}"))?;
    let (args, result) = rest
        .rsplit_once(") = ")
        .or_else(|| {
            // The result is set apart by blanks where the line is short.
            let (args, result) = rest.rsplit_once(" = ")?;
            Some((args.trim_end().strip_suffix(')')?, result))
        })
        .ok_or_else(|| format!("no result: {line:.200}"))?;
    let digits = result.split_whitespace().next().unwrap_or_default();
    let result = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap_or(0),
        None => digits.parse().unwrap_or(-1),
    };
    let (mut depth, mut quoted, mut begin, mut found) = (0i32, false, 0, Vec::new());
    for (at, byte) in args.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth -= 1,
            b',' if !quoted && depth == 0 => {
                found.push(args.get(begin..at).unwrap_or_default().trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(args.get(begin..).unwrap_or_default().trim());
    Ok(Call { name, args: found, result })
}

/// Bytes of a string that strace printed in hexadecimal, whole.
fn unquote(text: &str) -> Outcome<Vec<u8>> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let inner = inner.ok_or_else(|| format!("not a whole string: {text:.100}"))?;
    let digits = inner.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16));
    Ok(digits.collect::<Result<_, _>>()?)
}

fn written(text: &str, done: usize) -> Outcome<Arc<[u8]>> {
    let mut bytes = unquote(text)?;
    bytes.truncate(done);
    Ok(bytes.into())
}

/// `[{iov_base="...", iov_len=3}, ...]`
fn vector(text: &str, done: usize) -> Outcome<Arc<[u8]>> {
    let mut bytes = Vec::new();
    for part in text.split("iov_base=").skip(1) {
        let end = part.get(1..).and_then(|rest| rest.find('"')).ok_or("not a whole string in a vector")?;
        bytes.extend(unquote(part.get(..end + 2).unwrap_or_default())?);
    }
    bytes.truncate(done);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_two_threads_are_told_apart() -> Outcome {
        let log = "7 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT, 0600) = 5\n\
                   8 write(5, \"\\x61\\x62\", 2 <unfinished ...>\n7 fsync(5 <unfinished ...>\n\
                   8 <... write resumed>) = 1\n7 <... fsync resumed>) = 0\n\
                   7 pwrite64(5, \"\\x63\", 1, 4096) = 1\n7 fsync(5) = -1 EIO (Input/output error)\n\
                   8 close(5 <unfinished ...>\n7 openat(AT_FDCWD, \"\\x2f\\x62\", O_RDONLY) = 5\n\
                   8 <... close resumed>) = 0\n\
                   7 writev(5, [{iov_base=\"\\x64\", iov_len=1}, {iov_base=\"\\x65\\x66\", iov_len=2}], 2) = 3\n";
        let seen = format!("{:?}", parse(log)?);
        let expected = "[Open { path: \"/a\", fd: 5, flags: \"O_RDWR|O_CREAT\" }, SyncBegun(5, 3), \
                        Write { fd: 5, bytes: [97], at: None }, SyncDone(5, 3), \
                        Write { fd: 5, bytes: [99], at: Some(4096) }, SyncBegun(5, 5), \
                        Close(5), Open { path: \"/b\", fd: 5, flags: \"O_RDONLY\" }, \
                        Write { fd: 5, bytes: [100, 101, 102], at: None }]";
        assert_eq!(seen, expected);
        Ok(())
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        assert!(parse("7 copy_file_range(5, NULL, 6, NULL, 9, 0) = 9\n").is_err());
        assert!(parse("7 mmap(NULL, 8, PROT_READ|PROT_WRITE, MAP_SHARED, 5, 0) = 0x7f00\n").is_err());
        assert!(parse("7 write(5, \"\\x61\"..., 9) = 9\n").is_err());
    }
}
