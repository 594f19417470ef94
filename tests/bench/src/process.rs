//! Processes and folders, measured from outside: time, peak memory, processor time, bytes on the disk.
//!
//! Everything is read from `/proc` and from file metadata; nothing asks the program about itself.

use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often the peak of a command is looked at. The last look is at most so long before its end.
const LOOK: Duration = Duration::from_millis(4);

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// From start to end.
    pub time: Duration,
    /// Peak resident memory, in bytes.
    pub peak: u64,
    /// Processor seconds, as last looked at: what it cost, however busy the machine is.
    pub processor: f64,
    /// Whether it exited with 0.
    pub success: bool,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error.
    pub error: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Ran> {
    let begun = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("{:?} cannot be started", command.get_program()))?;
    let (pid, ended, peak) = (child.id(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watch = {
        let (ended, peak) = (Arc::clone(&ended), Arc::clone(&peak));
        std::thread::spawn(move || {
            let mut used = 0.0;
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(memory(pid).unwrap_or_default().peak, Ordering::Relaxed);
                used = processor(pid).unwrap_or(used);
                std::thread::sleep(LOOK);
            }
            used
        })
    };
    let output = child.wait_with_output()?;
    let time = begun.elapsed();
    ended.store(true, Ordering::Relaxed);
    let processor = watch.join().unwrap_or_default();
    Ok(Ran {
        time,
        processor,
        peak: peak.load(Ordering::Relaxed),
        success: output.status.success(),
        output: output.stdout,
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At most so far.
    pub peak: u64,
}

/// What a process holds; fails once it has ended.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).context("no memory in status")
    };
    Ok(Memory { now: kib("VmRSS:")? << 10, peak: kib("VmHWM:")? << 10 })
}

/// Processor seconds that a process has used so far; the unit of `/proc` is 1/100 s on Linux.
pub fn processor(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces; what follows its closing bracket does not.
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}

/// Bytes of the blocks that a folder's files take.
pub fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += disk_bytes(&entry.path())?;
        } else {
            bytes += entry.metadata()?.blocks() * 512;
        }
    }
    Ok(bytes)
}

/// Copies a folder with all that is in it, sockets left out.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Bytes of the content of a folder's files.
pub fn content_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { content_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
