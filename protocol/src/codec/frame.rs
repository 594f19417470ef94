//! Frames: how one message or chunk stands on a lane, padded so that its length tells little.
//!
//! Frame = padded length (4 bytes, big endian), content length (4 bytes), content, zeros. The driver
//! writes what [`encode`] gives and hands what arrives, however it was split, to [`FrameReader`].
//! A declared size is refused before anything is allocated for it. Nothing here knows what is inside.

/// Bytes before the content: two lengths.
pub const FRAME_HEADER_BYTES: usize = 8;

/// Memory taken for a frame before its bytes have come.
const FIRST_BYTES: usize = 16 << 10;

/// A frame that is refused: the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// It declares more than the lane takes.
    #[error("a frame of {declared} bytes where at most {max} are taken")]
    TooLong {
        /// Bytes declared.
        declared: usize,
        /// Bytes taken.
        max: usize,
    },
    /// The padded length is not the one that the content's length gives.
    #[error("a frame that is not padded as agreed")]
    Padding,
}

/// Content that is longer than its lane takes: our own misuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes where the lane takes {max}: split it")]
pub struct FrameTooLong {
    /// Bytes given.
    pub len: usize,
    /// Bytes taken.
    pub max: usize,
}

/// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019):
/// the length rounded up so that only its upper bits show. At most 12 % longer.
pub fn padme(len: usize) -> usize {
    let Some(exponent) = len.checked_ilog2().filter(|e| *e > 0) else { return len };
    let mantissa = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - mantissa.min(exponent))) - 1;
    len.saturating_add(mask) & !mask
}

/// A frame around `content` for a lane that takes `max` bytes.
pub fn encode(content: &[u8], max: usize) -> Result<Vec<u8>, FrameTooLong> {
    let padded = padme(content.len());
    let refused = FrameTooLong { len: content.len(), max };
    if padded > max {
        return Err(refused);
    }
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + padded);
    for len in [padded, content.len()] {
        frame.extend_from_slice(&u32::try_from(len).map_err(|_| refused)?.to_be_bytes());
    }
    frame.extend_from_slice(content);
    frame.resize(FRAME_HEADER_BYTES + padded, 0);
    Ok(frame)
}

/// Takes frames apart, incrementally. It holds one frame at most.
#[derive(Debug)]
pub struct FrameReader {
    max: usize,
    header: Vec<u8>,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    padded: usize,
    content: usize,
    bytes: Vec<u8>,
}

impl FrameReader {
    /// A reader for a lane that takes `max` bytes in a frame, header excluded.
    pub fn new(max: usize) -> Self {
        Self { max, header: Vec::with_capacity(FRAME_HEADER_BYTES), body: None }
    }

    /// Takes bytes off the front of `input`; returns the content of a frame once it is complete.
    ///
    /// Call again until `input` is empty and `None` comes: each call takes bytes or ends a frame.
    /// After a fault the reader is of no further use.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FrameFault> {
        if self.body.is_none() {
            move_bytes(&mut self.header, input, FRAME_HEADER_BYTES);
            if self.header.len() < FRAME_HEADER_BYTES {
                return Ok(None);
            }
            self.body = Some(self.declared()?);
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        move_bytes(&mut body.bytes, input, body.padded);
        if body.bytes.len() < body.padded {
            return Ok(None);
        }
        if body.bytes.iter().skip(body.content).any(|b| *b != 0) {
            return Err(FrameFault::Padding);
        }
        let content = body.content;
        self.header.clear();
        Ok(self.body.take().map(|mut body| {
            body.bytes.truncate(content);
            body.bytes
        }))
    }

    /// Whether the reader stands between two frames, where a stream may end.
    pub fn is_between_frames(&self) -> bool {
        self.header.is_empty()
    }

    /// Checks the header before anything is allocated.
    fn declared(&self) -> Result<Body, FrameFault> {
        let number = |bytes: &[u8]| bytes.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let (padded, content) = self.header.split_at(FRAME_HEADER_BYTES / 2);
        let (padded, content) = (number(padded), number(content));
        if padded > self.max {
            return Err(FrameFault::TooLong { declared: padded, max: self.max });
        }
        if content > padded || padme(content) != padded {
            return Err(FrameFault::Padding);
        }
        Ok(Body { padded, content, bytes: Vec::with_capacity(padded.min(FIRST_BYTES)) })
    }
}

/// Moves bytes until `to` holds `want` or `from` is empty.
fn move_bytes(to: &mut Vec<u8>, from: &mut &[u8], want: usize) {
    let take = want.saturating_sub(to.len()).min(from.len());
    let (taken, rest) = from.split_at(take);
    to.extend_from_slice(taken);
    *from = rest;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use proptest::prelude::*;

    fn read_all(reader: &mut FrameReader, mut input: &[u8]) -> Result<Vec<Vec<u8>>, FrameFault> {
        let mut frames = Vec::new();
        loop {
            match reader.take(&mut input)? {
                Some(frame) => frames.push(frame),
                None => return Ok(frames),
            }
        }
    }

    #[test]
    fn split_at_every_byte() {
        let contents: Vec<Vec<u8>> = [0, 1, 2, 9, 200, 1_000].iter().map(|len| vec![0xa5; *len]).collect();
        let wire: Vec<u8> = contents.iter().flat_map(|c| encode(c, 4_096).unwrap()).collect();
        for at in 0..=wire.len() {
            let mut reader = FrameReader::new(4_096);
            let mut frames = read_all(&mut reader, &wire[..at]).unwrap();
            frames.extend(read_all(&mut reader, &wire[at..]).unwrap());
            assert_eq!(frames, contents, "split at {at}");
            assert!(reader.is_between_frames());
        }
        let mut reader = FrameReader::new(4_096);
        let frames: Vec<Vec<u8>> = wire.iter().flat_map(|b| read_all(&mut reader, &[*b]).unwrap()).collect();
        assert_eq!(frames, contents);
    }

    #[test]
    fn a_declared_size_is_refused_after_the_header() {
        let mut reader = FrameReader::new(1 << 20);
        let header = [0x40, 0, 0, 0, 0x40, 0, 0, 0];
        let refused = reader.take(&mut header.as_slice());
        assert_eq!(refused, Err(FrameFault::TooLong { declared: 1 << 30, max: 1 << 20 }));
        assert!(reader.body.is_none());
        // An allowed size takes no more memory than has come, but for a little.
        let mut reader = FrameReader::new(1 << 20);
        let header = [0, 0x10, 0, 0, 0, 0x10, 0, 0];
        assert_eq!(reader.take(&mut header.as_slice()), Ok(None));
        assert!(reader.body.is_some_and(|b| b.bytes.capacity() <= FIRST_BYTES));
    }

    #[test]
    fn other_paddings_are_refused() {
        let frame = encode(&[7; 201], 4_096).unwrap();
        assert!(frame.len() > FRAME_HEADER_BYTES + 201);
        let refuse = |change: fn(&mut Vec<u8>)| {
            let mut changed = frame.clone();
            change(&mut changed);
            assert_eq!(FrameReader::new(4_096).take(&mut changed.as_slice()), Err(FrameFault::Padding));
        };
        refuse(|f| *f.last_mut().unwrap() = 1);
        refuse(|f| f[3] += 1);
        refuse(|f| f[7] = 220);
        refuse(|f| f[6] = 1);
    }

    #[test]
    fn the_lane_maxima_can_be_filled() {
        for max in [limits::FRAME_BYTES_MAX, limits::CONTROL_FRAME_BYTES_MAX, limits::CHUNK_BYTES as usize] {
            assert_eq!(padme(max), max);
            assert!(encode(&vec![1; max], max).is_ok());
            assert!(encode(&vec![1; max + 1], max).is_err());
        }
    }

    proptest! {
        #[test]
        fn padding_is_small_monotone_and_stable(len in 0usize..(1 << 23)) {
            let padded = padme(len);
            prop_assert!(padded >= len && padded - len <= len / 8);
            prop_assert_eq!(padme(padded), padded);
            prop_assert!(padme(len + 1) >= padded);
        }
    }
}
