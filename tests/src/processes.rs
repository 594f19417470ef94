//! Processes that a story waits for, and never for good: one that hangs fails its story, and shows where it hangs.
//!
//! Called wherever a story starts a program. Stories do not use the waits of the standard library, which have no end.

use std::{
    fs,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The longest that any command of a story may take on a loaded machine.
const LONGEST: Duration = Duration::from_secs(900);

/// As [`Command::output`], with an end.
///
/// # Errors
/// If it cannot be started or asked.
///
/// # Panics
/// With what its threads wait for and what it said last, if it has not ended after a quarter of an hour.
pub fn output(command: &mut Command) -> io::Result<Output> {
    said_by(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// As [`Child::wait_with_output`], with an end.
///
/// # Errors
/// If it cannot be asked.
///
/// # Panics
/// As [`output`].
pub fn said_by(mut child: Child) -> io::Result<Output> {
    let (out, err) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let ended = within_longest(&mut child)?;
    let whole = |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
    let (stdout, stderr) = (whole(out), whole(err));
    match ended {
        Ok(status) => Ok(Output { status, stdout, stderr }),
        Err(hangs) => {
            let said = String::from_utf8_lossy(&stderr).into_owned();
            panic!("{hangs}\nIt said last: {}", said.get(said.len().saturating_sub(4_000)..).unwrap_or(&said));
        }
    }
}

/// As [`Child::wait`], with an end.
///
/// # Errors
/// If it cannot be asked.
///
/// # Panics
/// As [`output`]. The process is killed first.
pub fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    within_longest(child)?.map_err(|hangs| panic!("{hangs}"))
}

/// How it ended; or, of one that had to be killed, where it hung.
fn within_longest(child: &mut Child) -> io::Result<Result<ExitStatus, String>> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        if begun.elapsed() > LONGEST {
            let hangs =
                format!("process {} has not ended after {} s: {}", child.id(), LONGEST.as_secs(), threads(child.id()));
            child.kill()?;
            child.wait()?;
            return Ok(Err(hangs));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

fn read(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a fault is what there is.
        drop(from.read_to_end(&mut bytes));
        bytes
    })
}

/// Its words, and of each thread the name and what it waits for in the kernel.
fn threads(pid: u32) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().replace('\0', " ").trim().to_owned();
    let mut seen = read(&format!("/proc/{pid}/cmdline"));
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let path = thread.path().display().to_string();
        let waits = ["comm", "wchan", "syscall"].map(|name| read(&format!("{path}/{name}")));
        seen.push_str("\n  ");
        seen.push_str(&waits.join(" "));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::{Command, output, threads};

    #[test]
    fn a_command_gives_what_it_says_and_how_it_ends() -> std::io::Result<()> {
        let said = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]))?;
        assert_eq!((said.status.code(), &said.stdout[..], &said.stderr[..]), (Some(3), &b"out\n"[..], &b"err\n"[..]));
        Ok(())
    }

    #[test]
    fn a_process_that_hangs_shows_where() {
        let seen = threads(std::process::id());
        assert!(seen.contains("entente_tests") && seen.lines().count() > 1, "{seen}");
    }
}
