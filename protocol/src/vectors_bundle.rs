//! Golden vectors of bundles: what stands in the frames of one. See the head of `vectors.rs`. Tests only.

use crate::{
    bundle::{BundleFault, FileHead, Header, Opened, Opening, Part, Sealer},
    codec::{self, Bounds},
    cose::{self, SignatureBytes},
    feed::testing::{key, org, runs_key},
    id::{FeedId, Hash, Nonce, RecordId, StoreId},
    label::{self, Context},
    session::{CloseCode, Lane, Message},
    time::UnixMillis,
    vectors::{answer_of, check, unhex},
};
use serde::Serialize;
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};

fn header() -> Header {
    Header {
        v: 1,
        to: org(2),
        from: org(1),
        time: UnixMillis(1_795_305_600_000),
        nonce: Nonce::from_bytes([3; 16]),
        store: StoreId::from_bytes([4; 16]),
        number: 7,
        one_way: false,
    }
}

fn parts() -> Vec<Part> {
    let head = FileHead {
        feed: FeedId::from_bytes([5; 32]),
        size: 3,
        chunks: vec![Hash::from_bytes([6; 32])],
        record: RecordId::from_bytes([8; 32]),
    };
    let word = Message::Close(CloseCode::DONE).to_bytes().unwrap();
    vec![Part::Message(Lane::Control, word), Part::File(head), Part::Chunk(vec![1, 2, 3]), Part::End]
}

/// Contents of the frames of a bundle of the sample parts, signed with the key of a seed.
fn frames(header: &Header, seed: u8) -> Vec<Vec<u8>> {
    let key = key(seed);
    let (mut sealer, opening) = Sealer::begin(header, b"a card", &key).unwrap();
    let sealed = parts().into_iter().map(|part| sealer.part(&part).unwrap());
    std::iter::once(opening).chain(sealed.collect::<Vec<_>>()).collect()
}

/// An opening over any payload, in any context.
fn opening(payload: &impl Serialize, context: Context) -> Vec<u8> {
    #[derive(Serialize)]
    struct Wire {
        card: ByteBuf,
        header: SignatureBytes,
    }
    let payload = codec::to_vec(payload, Bounds::bytes(1 << 10)).unwrap();
    let header = SignatureBytes(cose::sign(context, &key(1), &payload));
    codec::to_vec(&Wire { card: ByteBuf::from("a card"), header }, Bounds::bytes(1 << 12)).unwrap()
}

fn whole(frames: &[Vec<u8>]) -> Result<(Header, Vec<Part>), BundleFault> {
    let (first, rest) = frames.split_first().unwrap();
    let (header, mut opened): (Header, Opened) =
        Opening::from_bytes(first)?.verify((org(1), org(2)), runs_key(org(1)))?;
    let parts = rest.iter().map(|frame| opened.part(frame)).collect::<Result<Vec<_>, _>>()?;
    if opened.has_ended() { Ok((header, parts)) } else { Err(BundleFault::Place) }
}

#[test]
fn bundles() {
    let good = frames(&header(), 1);
    let hex = |frames: &[Vec<u8>]| json!(frames.iter().map(hex::encode).collect::<Vec<_>>());
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut frames = good.clone();
        change(&mut frames);
        hex(&frames)
    };
    let headed = |change: &dyn Fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        let first = opening(&header, label::SIGN_BUNDLE);
        hex(&[&[first][..], &good[1..]].concat())
    };
    let other = frames(&Header { number: 8, ..header() }, 1);
    let (place, form) = ("out of its place", "canonical, but");
    let vectors = vec![
        ("bundle_valid", hex(&good), "accepted: number 7"),
        ("bundle_one_way", hex(&frames(&Header { one_way: true, ..header() }, 1)), "accepted: number 7, one way"),
        ("bundle_for_another_receiver", hex(&frames(&Header { to: org(3), ..header() }, 1)), "from this sender"),
        ("bundle_of_another_sender", hex(&frames(&Header { from: org(3), ..header() }, 1)), "from this sender"),
        ("bundle_signed_by_another_key", hex(&frames(&header(), 3)), "another key"),
        (
            "bundle_in_another_context",
            changed(&|frames| frames[0] = opening(&header(), label::SIGN_BUNDLE_PART)),
            "does not verify",
        ),
        ("bundle_of_another_format", headed(&|header| header.v = 2), form),
        ("bundle_without_a_number", headed(&|header| header.number = 0), form),
        ("bundle_under_another_header", headed(&|header| header.number = 9), place),
        ("bundle_parts_swapped", changed(&|frames| frames.swap(1, 2)), place),
        ("bundle_part_left_out", changed(&|frames| drop(frames.remove(1))), place),
        ("bundle_part_twice", changed(&|frames| frames.insert(1, good[1].clone())), place),
        ("bundle_part_of_another_bundle", changed(&|frames| frames[2] = other[2].clone()), place),
        ("bundle_cut_short", changed(&|frames| drop(frames.pop())), place),
        ("bundle_part_after_the_end", changed(&|frames| frames.push(good[1].clone())), "follows after its end"),
        ("bundle_part_trailing_byte", changed(&|frames| frames[1].push(0)), "bytes follow"),
    ];
    let judge = |input: &Json| {
        let frames: Vec<Vec<u8>> = input.as_array().unwrap().iter().map(unhex).collect();
        answer_of(whole(&frames), |(header, parts)| {
            let way = if header.one_way { ", one way" } else { "" };
            format!("number {}{way}, {} parts", header.number, parts.len())
        })
    };
    let about = "Bundles (SPEC 11): the contents of their frames as hexadecimal CBOR, sealed for the organisation with id 32 \
                 bytes of 02 by the one with 01, whose runs key is Ed25519 with a seed of 32 bytes of 01. The card is none.";
    check("bundle.json", include_str!("../../tests/vectors/bundle.json"), about, vectors, judge);
}
