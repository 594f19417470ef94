//! Frames between parent and child: four bytes of length, least first, one of kind, then the payload.
//!
//! Both sides write and read them here. Nothing in a frame is believed: the length is checked before room is made
//! for it, and what a payload holds is checked by whoever asked for it.

use std::io::{self, Write};

/// Of the child's answers; both are one program, so this only tells that the other side is one of ours.
pub(super) const VERSION: u8 = 1;
/// Length and kind.
pub(super) const HEADER_BYTES: usize = 5;
/// Payload of one frame.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;
/// Rows are sent when they fill this; one row more may stand in a frame.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// Bytes of a copy in one frame.
pub(super) const DATA_BYTES: usize = 256 << 10;
const _: () = assert!(BATCH_BYTES + super::super::table::ROW_ENCODED_MAX <= FRAME_BYTES_MAX, "a batch fits a frame");

/// What a frame is. The order of a conversation stands with [`super::serve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// The child is limited: version, and what Landlock adds.
    Ready = 1,
    /// The child could not limit itself and reads nothing: why.
    NotLimited,
    /// The parent's one question, with the file beside it.
    Request,
    /// The file cannot be read: why, in words for people.
    Refused,
    /// The columns of a table.
    Columns,
    /// Rows and faults of rows.
    Rows,
    /// Every row was sent, or every byte of a copy.
    End,
    /// What an attachment says of itself.
    Facts,
    /// A copy follows: its format.
    Copy,
    /// A part of a copy.
    Data,
}

const TAGS: [Tag; 10] = [
    Tag::Ready,
    Tag::NotLimited,
    Tag::Request,
    Tag::Refused,
    Tag::Columns,
    Tag::Rows,
    Tag::End,
    Tag::Facts,
    Tag::Copy,
    Tag::Data,
];

/// Kind and payload.
pub(super) type Frame<'a> = (Tag, &'a [u8]);

fn start(tag: Tag, bytes: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    [a, b, c, d, tag as u8]
}

/// Kind and length of what follows; nothing if it is no header.
pub(super) fn header(bytes: &[u8]) -> Option<(Tag, usize)> {
    let [a, b, c, d, tag] = *bytes.first_chunk::<HEADER_BYTES>()?;
    let bytes = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let tag = TAGS.into_iter().find(|known| *known as u8 == tag)?;
    (bytes <= FRAME_BYTES_MAX).then_some((tag, bytes))
}

/// A whole frame.
pub(super) fn bytes(tag: Tag, payload: &[u8]) -> Vec<u8> {
    [start(tag, payload.len()).as_slice(), payload].concat()
}

/// Writes a frame.
pub(super) fn write(out: &mut impl Write, tag: Tag, payload: &[u8]) -> io::Result<()> {
    if payload.len() > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    out.write_all(&start(tag, payload.len()))?;
    out.write_all(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_refused_before_room_is_made() {
        for tag in TAGS {
            let frame = bytes(tag, b"abc");
            assert_eq!(header(&frame), Some((tag, 3)));
        }
        assert_eq!(header(&start(Tag::Rows, FRAME_BYTES_MAX + 1)), None, "frame_longer_than_its_bound");
        assert_eq!(header(&[0, 0, 0, 0, 0]), None, "frame_of_no_kind");
        assert_eq!(header(&[0, 0, 0, 0, 11]), None, "frame_of_no_kind");
        assert_eq!(header(&[0, 0, 0, 0]), None, "frame_cut_short");
        assert!(write(&mut Vec::new(), Tag::Data, &vec![0; FRAME_BYTES_MAX + 1]).is_err());
    }
}
