//! A terminal that a person sits at: the program asks, and is answered when it has asked.
//!
//! `script` of util-linux makes the pseudo-terminal; it is part of every Debian. Where it is missing a story says
//! `skipped:` and nothing was shown.

use crate::{PATIENCE, entente, output};
use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// What a person saw, and how the program ended.
#[derive(Debug)]
pub struct Seen {
    /// Everything that came to the screen.
    pub screen: String,
    /// The exit code.
    pub code: Option<i32>,
}

/// Whether there is a way to make a terminal here.
#[must_use]
pub fn is_at_hand() -> bool {
    let version = output(Command::new("script").arg("--version"));
    let known = version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux"));
    if !known {
        println!("skipped: there is no `script` of util-linux, so no terminal can be made");
    }
    known
}

/// Between a question and its answer.
const THINKING: Duration = Duration::from_millis(400);

/// Runs the program at a terminal. Each answer is typed when the screen has shown what it answers, beyond what the
/// answer before it was for.
///
/// # Panics
/// If no terminal can be made, or a question does not come.
#[must_use]
pub fn at_terminal(args: &[&str], environment: &[(&str, &str)], answers: &[(&str, &str)]) -> Seen {
    let program = entente().display().to_string();
    let words = std::iter::once(program.as_str()).chain(args.iter().copied());
    let typed: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let child = Command::new("script")
        .args(["--quiet", "--return", "--command", &typed.join(" "), "/dev/null"])
        .env_clear()
        .envs([("TERM", "xterm"), ("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh")])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { panic!("`script` cannot be started") };
    let screen = Arc::new(Mutex::new(String::new()));
    let reader = child.stdout.take().map(|out| read(out, Arc::clone(&screen)));
    let keyboard = child.stdin.take();
    let mut from = 0;
    for (question, answer) in answers {
        from = shows(&screen, from, question, &mut child);
        // No person answers sooner, and a question for a secret is shown a moment before the terminal stops its echo.
        thread::sleep(THINKING);
        if let Some(mut keyboard) = keyboard.as_ref() {
            drop(keyboard.write_all(answer.as_bytes()).and_then(|()| keyboard.flush()));
        }
    }
    let begun = Instant::now();
    let code = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            _ if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            _ => {
                drop(child.kill());
                panic!("the program does not end: {}", text(&screen));
            }
        }
    };
    // Closed only now: the terminal takes its end for a key.
    drop(keyboard);
    drop(reader.map(thread::JoinHandle::join));
    Seen { screen: text(&screen), code }
}

fn read(mut out: impl Read + Send + 'static, screen: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = out.read(&mut buffer) {
            let shown = String::from_utf8_lossy(&buffer[..read]);
            screen.lock().unwrap_or_else(PoisonError::into_inner).push_str(&shown);
        }
    })
}

fn text(screen: &Mutex<String>) -> String {
    screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Waits until the screen shows a question; where it ends there.
fn shows(screen: &Mutex<String>, from: usize, question: &str, child: &mut Child) -> usize {
    let begun = Instant::now();
    loop {
        let shown = text(screen);
        if let Some(at) = shown.get(from..).and_then(|new| new.find(question)) {
            return from + at + question.len();
        }
        let over = begun.elapsed() > PATIENCE || !matches!(child.try_wait(), Ok(None));
        if over && !text(screen).get(from..).is_some_and(|new| new.contains(question)) {
            drop(child.kill());
            panic!("`{question}` is not asked: {shown}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
