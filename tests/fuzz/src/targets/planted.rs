//! Planted defects: each is the like of one that others shipped, and the rig must find it in seconds.
//!
//! The system tests run them. Nothing in the product is like this.

use super::{same, unhex, vectors, wire::RUN};
use crate::run::{Judge, Notes, Subject, Verdict};
use entente_protocol::{
    codec,
    feed::{Run, RunMessage},
};
use std::collections::HashSet;

fn subject(seeds: Vec<Vec<u8>>, judge: Judge) -> Subject {
    Subject { seeds, words: Vec::new(), judge }
}

/// Three bytes must be found one after the other before it breaks, which only a kept input can do.
pub fn panic() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        if input.first() != Some(&b'k') {
            return Ok(());
        }
        notes.note("a");
        if input.get(1) != Some(&b'e') {
            return Ok(());
        }
        notes.note("b");
        if input.get(2) == Some(&b'y') {
            notes.size("found", input[input.len() + 1].into());
        }
        Ok(())
    };
    subject(vec![vec![0; 8]], Box::new(judge))
}

/// A decoder that takes a length in a longer form than needed.
pub fn property() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let content = match input {
            [head @ 0x40..=0x57, content @ ..] if content.len() == usize::from(head & 0x1f) => content,
            [0x58, len, content @ ..] if content.len() == usize::from(*len) => content,
            _ => return Ok(()),
        };
        notes.size("content", content.len());
        let short = u8::try_from(content.len()).map_err(|_| String::new())?;
        let again = if short < 24 { [&[0x40 | short], content].concat() } else { [&[0x58, short], content].concat() };
        same("planted", input, Ok::<_, ()>(again))
    };
    subject(vec![vec![0x43, 1, 2, 3]], Box::new(judge))
}

/// A verifier that looks at what is claimed and not at the signature.
pub fn forgery() -> Subject {
    let runs = vectors(include_str!("../../../vectors/run.json"));
    let seeds: Vec<Vec<u8>> = runs.iter().take(3).map(|run| unhex(&run["message"])).collect();
    let messages = seeds.iter().filter_map(|seed| codec::from_slice::<RunMessage>(seed, RUN).ok());
    let genuine: HashSet<_> = messages.map(|message| message.run).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let Ok(message) = codec::from_slice::<RunMessage>(input, RUN) else { return Ok(()) };
        let claimed = Run::danger_unverified(&message.run);
        notes.result("claims", &claimed);
        if claimed.is_ok() && !genuine.contains(&message.run) {
            return Err("a run verifies that nobody signed".to_owned());
        }
        Ok(())
    };
    subject(seeds, Box::new(judge))
}

/// Ends for no input that begins with a large number.
pub fn slow() -> Subject {
    let judge = |input: &[u8], _: &mut Notes| -> Verdict {
        let mut left = input.first().copied().unwrap_or_default();
        while left > 0xf0 {
            left = std::hint::black_box(left | 1);
        }
        Ok(())
    };
    subject(vec![vec![0; 8]], Box::new(judge))
}

/// Five bytes that take four gibibytes.
pub fn memory() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        if let [0x9a, a, b, c, d, ..] = *input {
            let count = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default();
            let items: Vec<u64> = Vec::with_capacity(count);
            notes.size("room", std::hint::black_box(items).capacity());
        }
        Ok(())
    };
    subject(vec![vec![0x9a, 0, 0, 0, 1]], Box::new(judge))
}

fn nested(input: &[u8]) -> usize {
    match input {
        [b'[', rest @ ..] => 1 + std::hint::black_box(nested(rest)),
        _ => 0,
    }
}

/// A reader of nested lists that calls itself.
pub fn stack() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        notes.size("depth", nested(input));
        Ok(())
    };
    subject(vec![b"[[1]]".to_vec()], Box::new(judge))
}
