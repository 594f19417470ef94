//! Lines of a file, bounded: no line makes memory grow.
//!
//! CSV and JSON lines read through here. A line beyond the bound is read past, never held; one without an end is an
//! error.

use super::PASSED_BYTES_MAX;
use std::io::{self, BufRead};

/// What [`LineReader::append`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A line was appended, with its newline unless it is the last.
    Appended,
    /// A line was longer than allowed and was read past; nothing was appended.
    TooLong,
    /// There is no further line.
    End,
}

/// Reads line after line.
pub(super) struct LineReader<R> {
    reader: R,
}

impl<R: BufRead> LineReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader }
    }

    /// Appends the next line to `out`, if it has at most `max` bytes.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, max: usize) -> io::Result<Line> {
        let start = out.len();
        let mut passed = 0_u64;
        let mut too_long = false;
        let mut any = false;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            too_long |= out.len() - start + taken > max;
            if too_long {
                out.truncate(start);
            } else {
                out.extend_from_slice(available.get(..taken).unwrap_or_default());
            }
            self.reader.consume(taken);
            if newline.is_some() {
                break;
            }
            passed += taken as u64;
            if passed > PASSED_BYTES_MAX {
                let says =
                    format!("a line has more than {PASSED_BYTES_MAX} bytes, as no table has: is this the right file?");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, says));
            }
        }
        Ok(match (any, too_long) {
            (false, _) => Line::End,
            (true, true) => Line::TooLong,
            (true, false) => Line::Appended,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_read_past_whatever_the_buffer_size() {
        for capacity in 1..20 {
            let input = std::io::BufReader::with_capacity(capacity, &b"ab\n0123456789\ncd"[..]);
            let mut lines = LineReader::new(input);
            let mut out = Vec::new();
            assert_eq!(lines.append(&mut out, 5).unwrap(), Line::Appended);
            assert_eq!(lines.append(&mut out, 5).unwrap(), Line::TooLong);
            assert_eq!(lines.append(&mut out, 5).unwrap(), Line::Appended);
            assert_eq!(lines.append(&mut out, 5).unwrap(), Line::End);
            assert_eq!(out, b"ab\ncd", "capacity {capacity}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut lines = LineReader::new(io::BufReader::with_capacity(1 << 20, io::repeat(b'0')));
        let mut out = Vec::new();
        let error = lines.append(&mut out, 5).unwrap_err();
        assert!(out.is_empty() && error.to_string().contains("67108864 bytes"), "{error}");
    }
}
