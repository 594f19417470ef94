//! What lies in a home or comes over its socket: keys, sealed files, settings, answers.
//!
//! Whoever may write there can do harm enough. These parsers are ours all the same: a file that was damaged, or swapped
//! while it was away, must be refused in words and never take the program down or open as another.

use super::{holds, words};
use crate::run::{Notes, Subject, Verdict};
use entente_node::{
    call::Call,
    config::{Config, ConfigError, Home},
    control::{Reply, client},
    seal::{
        hybrid::{Identity, Recipient},
        stream,
    },
    secret::{Secret, durable::Existing, recovery, unlock},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    str::FromStr as _,
};
use tempfile::TempDir;

fn identity(seed: u8) -> Identity {
    Identity::from_seed(Secret::new([seed; 32]))
}

fn as_typed(identity: &Identity) -> Vec<u8> {
    identity.to_text().expose().clone().into_bytes()
}

pub fn keys() -> Subject {
    let one = identity(1);
    let mut seeds = vec![as_typed(&one), one.recipient().to_string().into_bytes()];
    seeds.push([as_typed(&identity(2)), b"\n".to_vec()].concat());
    seeds.push(one.recipient().to_string().to_uppercase().into_bytes());
    seeds.push(one.recipient().as_bytes().to_vec());
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let recipient = Recipient::from_bytes(input);
        notes.result("bytes", &recipient);
        if let Ok(recipient) = recipient {
            holds("a recipient of other bytes", recipient.as_bytes() == input)?;
        }
        let Ok(text) = std::str::from_utf8(input) else { return Ok(()) };
        key(text, notes)?;
        // A change breaks the checksum, so it is made anew: in the variant that age has, and in the one that it has not.
        if let Some(closed) = closed(text, BECH32) {
            key(&closed, notes)?;
        }
        let other = closed(text, BECH32M)
            .filter(|other| Identity::from_text(other).is_ok() || Recipient::from_str(other).is_ok());
        holds("a checksum of another variant is taken", other.is_none())
    };
    let words = words(&["AGE-SECRET-KEY-PQ-1", "age1pq1", "age1", "AGE-SECRET-KEY-1", "1", "b", "\u{e9}"]);
    Subject { seeds, words, judge: Box::new(judge) }
}

/// A text that may be an identity or a recipient.
fn key(text: &str, notes: &mut Notes) -> Verdict {
    let (identity, recipient) = (Identity::from_text(text), Recipient::from_str(text));
    notes.result("identity", &identity);
    notes.result("recipient", &recipient);
    holds("one text is both", identity.is_err() || recipient.is_err())?;
    if identity.is_ok() || recipient.is_ok() {
        holds("its checksum is none", closed(text, BECH32) == Some(text.trim().to_ascii_lowercase()))?;
    }
    // Bech32 is of one case, and all of it is read: nothing else stands for the same key, under whatever prefix.
    if let Ok(identity) = identity {
        holds("an identity has two texts", identity.to_text().expose().eq_ignore_ascii_case(text.trim()))?;
    }
    if let Ok(recipient) = recipient {
        holds("a recipient has two texts", recipient.to_string().eq_ignore_ascii_case(text.trim()))?;
    }
    Ok(())
}

/// What the checksums of BIP 173 and of BIP 350 come out as.
const BECH32: u32 = 1;
const BECH32M: u32 = 0x2bc8_30a3;

/// The text with a checksum that fits, if it is made of what such texts are made of.
fn closed(text: &str, variant: u32) -> Option<String> {
    const DIGITS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let lower = text.trim().to_ascii_lowercase();
    let (prefix, digits) = lower.rsplit_once('1')?;
    let data = digits.get(..digits.len().checked_sub(6)?)?;
    let values = data.chars().map(|digit| DIGITS.find(digit).and_then(|at| u32::try_from(at).ok()));
    let values: Vec<u32> = values.collect::<Option<_>>()?;
    let bytes = || prefix.bytes().map(u32::from);
    let whole = bytes().map(|byte| byte >> 5).chain([0]).chain(bytes().map(|byte| byte & 31));
    let sum = whole.chain(values).chain([0; 6]).fold(1_u32, |sum, value| {
        let spread = GENERATOR.iter().enumerate().filter(|(bit, _)| (sum >> 25) >> bit & 1 == 1);
        spread.fold((sum & 0x1ff_ffff) << 5 ^ value, |sum, (_, generator)| sum ^ generator)
    }) ^ variant;
    let checksum = (0..6).filter_map(|at| DIGITS.chars().nth((sum >> (5 * (5 - at)) & 31) as usize));
    Some(format!("{prefix}1{data}{}", checksum.collect::<String>()))
}

/// What the seeds of [`sealed`] hold.
const CONTENT: &[u8] = b"what was sealed";

pub fn sealed() -> Subject {
    let (ours, other) = (identity(1), identity(2));
    let seal = |recipients: &[&Recipient]| {
        let mut sealed = Vec::new();
        let mut writer = stream::seal(recipients, &mut sealed).ok()?;
        writer.write_all(CONTENT).and_then(|()| writer.finish()).ok()?;
        Some(sealed)
    };
    let (one, two) = (ours.recipient(), other.recipient());
    let seeds = [seal(&[&one]), seal(&[&two, &one]), seal(&[&two])].into_iter().flatten().collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let opened = stream::open(&ours, input);
        notes.result("opened", &opened);
        let Ok(mut reader) = opened else { return Ok(()) };
        let mut content = Vec::new();
        let read = reader.read_to_end(&mut content);
        notes.note(read.is_ok());
        // Whatever was let out before a fault is what was sealed, from its beginning.
        holds("it opens as what nobody sealed", CONTENT.starts_with(&content))?;
        holds("it ends before its end", read.is_err() || content == CONTENT)
    };
    let words = words(&[
        "age-encryption.org/v1\n",
        "-> mlkem768x25519 ",
        "-> X25519 ",
        "-> scrypt ",
        "-> x-grease\n\n",
        "--- ",
        "\n\n",
        "==",
    ]);
    Subject { seeds, words, judge: Box::new(judge) }
}

/// Whether opening it would cost what a recovery file may cost: that has a limit and a test beside its code.
fn is_dear(input: &[u8]) -> bool {
    let lines = input.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"-> scrypt "));
    let factors = lines.filter_map(|line| std::str::from_utf8(line.rsplit(|byte| *byte == b' ').next()?).ok());
    factors.into_iter().any(|factor| factor.trim().parse::<u8>().is_ok_and(|factor| factor > 6))
}

pub fn recovery() -> Subject {
    let (ours, passphrase) = (identity(3), Secret::new("six words of a recovery file".to_owned()));
    let folder = TempDir::new();
    let path = folder.as_ref().map(|folder| folder.path().join("recovery.age")).unwrap_or_default();
    let made = unlock::write_with_passphrase(&path, &passphrase, &ours, 2, Existing::Refuse);
    let mut seeds: Vec<Vec<u8>> = made.ok().and_then(|()| fs::read(&path).ok()).into_iter().collect();
    seeds.push(as_typed(&ours));
    seeds.push([b"# of the safe\n\n  ", as_typed(&ours).as_slice(), b"\r\n"].concat());
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let Ok(_) = &folder else { return Err("no folder".to_owned()) };
        write(&path, input)?;
        let is_sealed = recovery::is_sealed(&path);
        notes.result("sealed", &is_sealed);
        let clear = recovery::open(&path, None);
        notes.result("in clear", &clear);
        holds("it is sealed and in clear", clear.is_err() || !matches!(is_sealed, Ok(true)))?;
        if let Ok(identity) = clear {
            let again = Identity::from_text(identity.to_text().expose());
            holds(
                "an identity that does not come back",
                again.is_ok_and(|a| a.seed().expose() == identity.seed().expose()),
            )?;
        }
        if is_dear(input) {
            return Ok(());
        }
        let opened = recovery::open(&path, Some(&passphrase));
        notes.result("opened", &opened);
        let Ok(identity) = opened else { return Ok(()) };
        holds("it opens as what nobody sealed", identity.seed().expose() == ours.seed().expose())?;
        holds("it opens and is not sealed", matches!(is_sealed, Ok(true)))
    };
    let words =
        words(&["-> scrypt ", " 2\n", " 02\n", " 6\n", "age-encryption.org/v1\n", "--- ", "# ", "AGE-SECRET-KEY-PQ-1"]);
    Subject { seeds, words, judge: Box::new(judge) }
}

const SETTINGS: [&str; 3] = [
    "name = \"CAR\"\nhandle = \"car\"\nlisten = \"127.0.0.1:0\"\n",
    "name = \"Field office\"\nhandle = \"field-2\"\nlisten = \"[::]:4433\"\nadvertise = [\"node.field.example:4433\"]\n\
     engine = \"fjall\"\nrelease-gate = \"verified\"\nred-lines = \"redlines\"\nidentity-file = \"key\"\n",
    "name = 'x'\nhandle = \"a\"\nlisten = \"10.0.0.1:1\"\npartner-gib-max = 0\nfree-mib-min = 1024\nsend-window-mib = 64\n",
];

pub fn settings() -> Subject {
    let folder = TempDir::new();
    let home = Home::at(folder.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default());
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let Ok(_) = &folder else { return Err("no folder".to_owned()) };
        write(&home.config(), input)?;
        let read = Config::load(&home);
        match &read {
            Ok(_) => notes.note("settings"),
            Err(ConfigError::Value { key, .. }) => notes.note(key),
            Err(ConfigError::Toml { message, .. }) => notes.note(unquoted(message)),
            Err(_) => notes.note("not text"),
        }
        let config = match read {
            Ok(config) => config,
            Err(ConfigError::NoHome(_) | ConfigError::NoSettings(_)) => return Err("a home that is there".to_owned()),
            Err(_) => return Ok(()),
        };
        holds("settings that do not load as the same", Config::load(&home).is_ok_and(|again| again == config))?;
        let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
        holds(
            "a handle of other letters",
            (1..=32).contains(&config.handle.len()) && config.handle.chars().all(plain),
        )?;
        holds("a name that breaks lines", config.name.len() <= 200 && !config.name.chars().any(char::is_control))?;
        holds("a window beyond its limit", (1 << 20..=64 << 20).contains(&config.window_bytes))?;
        // Sizes beyond what can be counted stay large: they must not come round to nothing.
        let whole = |bytes: u64, unit: u64| bytes == u64::MAX || bytes.is_multiple_of(unit);
        holds("a share that overflows", whole(config.partner_bytes_max, 1 << 30))?;
        holds("a rest that overflows", whole(config.free_bytes_min, 1 << 20))?;
        notes.size("addresses", config.advertise.len());
        notes.note(format_args!("{:?}", config.gate));
        Ok(())
    };
    let words = words(&[
        "advertise = [",
        "release-gate = ",
        "\"reviewed\"",
        "engine = ",
        "red-lines = ",
        "partner-gib-max = ",
        "free-mib-min = ",
        "send-window-mib = ",
        "9223372036854775807",
        "[table]\n",
        "\"\"\"",
        "\\u202e",
    ]);
    let mut seeds = SETTINGS.map(|text| text.as_bytes().to_vec()).to_vec();
    // Just beyond each bound.
    for line in ["send-window-mib = 65", "send-window-mib = 0", "partner-gib-max = 17179869184", "free-mib-min = -1"] {
        seeds.push(format!("{}{line}\n", SETTINGS[0]).into_bytes());
    }
    seeds.push(SETTINGS[0].replace("car", &"c".repeat(33)).into_bytes());
    seeds.push(SETTINGS[0].replace("CAR", &"C".repeat(201)).into_bytes());
    Subject { seeds, words, judge: Box::new(judge) }
}

/// The first words of a message, before any that it quotes: those come from the input.
fn unquoted(message: &str) -> String {
    let own = message.split(['`', '"']).next().unwrap_or_default();
    own.split_whitespace().filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())).take(4).collect()
}

/// The input as a file, made anew: on some disks one that was cut short and written again is waited for.
fn write(path: &Path, input: &[u8]) -> Verdict {
    if path.exists() {
        fs::remove_file(path).map_err(|error| error.to_string())?;
    }
    fs::write(path, input).map_err(|error| error.to_string())
}

/// What the first lines of an answer say: how often progress was told, and how it ended.
fn lines(input: &[u8]) -> (usize, Option<Reply>) {
    let mut told = 0;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Reply::Progress(_)) => told += 1,
            Ok(last) => return (told, Some(last)),
            Err(_) => break,
        }
    }
    (told, None)
}

pub fn answer() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let (ours, mut theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        // A socket takes the whole answer at once, and the call too: nobody waits.
        let sent = theirs.write_all(input).and_then(|()| theirs.shutdown(Shutdown::Write));
        sent.map_err(|error| error.to_string())?;
        let mut told = 0;
        let answer = client::call(ours, &Call::Status, &mut |_| told += 1);
        notes.size("progress", told);
        let (expected, last) = lines(input);
        // What a fault says is the input's, and so is what the parser quotes.
        match (&answer, &last) {
            (Err(fault), Some(_)) => notes.note(format_args!("{:?}", fault.blame)),
            (Err(fault), None) => notes.note(unquoted(&fault.message)),
            (Ok(_), _) => notes.note("answer"),
        }
        holds("progress that was not told, or told twice", told == expected)?;
        let same = match (&answer, last) {
            (Ok(answer), Some(Reply::Ok(sent))) => *answer == sent,
            (Err(fault), Some(Reply::Fault(sent))) => *fault == sent,
            (Err(fault), None) => fault.code == "socket",
            _ => false,
        };
        holds("an answer that the node did not give", same)?;
        holds(
            "a fault without a code for scripts",
            answer.err().is_none_or(|fault| (2..=5).contains(&fault.exit_code())),
        )
    };
    let seeds = [
        "{\"ok\":{\"a\":[1,null,\"b\"]}}\n",
        "{\"progress\":{\"done\":1,\"total\":2}}\n{\"progress\":{\"done\":2,\"total\":null}}\n{\"ok\":null}\n",
        "{\"fault\":{\"blame\":\"store\",\"code\":\"store\",\"message\":\"the disk is full\"}}\n",
        "{\"fault\":{\"blame\":\"input\",\"code\":\"no-record\",\"message\":\"`\\u001b[2J` is none\"}}",
    ];
    let seeds = seeds.iter().map(|text| text.as_bytes().to_vec()).collect();
    let words = words(&[
        "{\"ok\":",
        "{\"progress\":",
        "{\"fault\":",
        "\"blame\":\"setup\"",
        "[[[[[[[[",
        "1e999",
        "\n",
        "\\ud800",
    ]);
    Subject { seeds, words, judge: Box::new(judge) }
}
