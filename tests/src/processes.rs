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
const LONGEST: Duration = Duration::from_secs(600);

/// As [`Command::output`], with an end.
///
/// # Errors
/// If it cannot be started or asked.
///
/// # Panics
/// With what its threads wait for, if it has not ended after ten minutes.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let status = ended(&mut child)?;
    let whole = |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
    Ok(Output { status, stdout: whole(out), stderr: whole(err) })
}

/// As [`Child::wait`], with an end.
///
/// # Errors
/// If it cannot be asked.
///
/// # Panics
/// As [`output`]. The process is killed first.
pub fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > LONGEST {
            let seen = threads(child.id());
            drop(child.kill());
            panic!("process {} has not ended after {} s: {seen}", child.id(), LONGEST.as_secs());
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
