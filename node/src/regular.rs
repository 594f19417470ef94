//! Files that people name and this process reads itself: regular ones only, and never beyond a bound.
//!
//! A device has no end, and a pipe without a writer keeps whoever opens it waiting. What a file's size says is not
//! relied on: it may grow, and some files do not know it. Errors do not name the file; callers do.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Opens a regular file. Anything else is refused without waiting for it.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(plainly)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// The commonest mistake with what to do about it; other errors as they are.
pub fn plainly(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("{error}: is its name right?")),
        _ => error,
    }
}

/// The bytes of a regular file that has at most so many.
pub fn bytes(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > bytes_max {
        let says = format!("it is too large: at most {bytes_max} bytes are taken");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, says));
    }
    Ok(bytes)
}

/// The text of a regular file that has at most so many bytes.
pub fn text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8");
    String::from_utf8(bytes(path, bytes_max)?).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode};
    use std::fs;

    #[test]
    fn only_regular_files_within_the_bound_are_read() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs::write(&path, "four")?;
        assert_eq!(text(&path, 4)?, "four");
        let kind = |path: &Path, bytes_max| text(path, bytes_max).map_err(|e| e.kind());
        assert_eq!(kind(&path, 3), Err(io::ErrorKind::FileTooLarge));
        fs::write(&path, [0xff, 0xfe])?;
        assert_eq!(kind(&path, 4), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(&folder.path().join("absent"), 4), Err(io::ErrorKind::NotFound));
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR)?;
        for other in [Path::new("/dev/zero"), &pipe, folder.path()] {
            assert_eq!(kind(other, 1 << 20), Err(io::ErrorKind::InvalidInput), "{}", other.display());
        }
        // These are regular, and say that they are empty.
        assert!(!bytes(Path::new("/proc/self/status"), 1 << 20)?.is_empty());
        assert_eq!(kind(Path::new("/proc/self/status"), 10), Err(io::ErrorKind::FileTooLarge));
        Ok(())
    }
}
