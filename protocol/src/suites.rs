//! Vectors that others wrote, run against our codec, signatures and proofs.
//!
//! They lie beside the project under the folder that `ENTENTE_TEST_DATA` names; where it is not set,
//! each test says so as skipped, and so proves nothing. Tests only; the crate itself reads no file.

use crate::{
    codec::{self, Bounds, CodecError, scan, scan_first},
    cose::{Sign1, sig_structure},
    custody::{
        checkpoint::CheckpointText,
        note::{Note, Signed, Verifier},
        tiles::{Log, Tile, append},
    },
    id::Hash,
    merkle::{self, verify_consistency, verify_inclusion},
    primitive::{KeyError, PublicKey, sha256},
    value::Value,
};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

#[expect(clippy::disallowed_methods, reason = "test input lies beside the project")]
fn suite(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ENTENTE_TEST_DATA").map(|data| Path::new(&data).join("suites").join(name));
    if folder.is_none() {
        eprintln!("skipped: {name}: ENTENTE_TEST_DATA is not set");
    }
    folder
}

#[expect(clippy::disallowed_methods, reason = "test input lies beside the project")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

fn json(path: &Path) -> Json {
    serde_json::from_slice(&read(path)).unwrap()
}

/// Every JSON file below a folder, in order.
#[expect(clippy::disallowed_methods, reason = "test input lies beside the project")]
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn unhex(value: &Json) -> Vec<u8> {
    hex::decode(value.as_str().unwrap_or_default()).unwrap()
}

/// RFC 8949, appendix A: items with an indefinite length, refused as such.
const CBOR_INDEFINITE: usize = 11;
/// Items that begin with or contain a float, null, undefined, other simple value, or a tag other than 18.
const CBOR_NOT_LISTED: usize = 35;
/// Accepted as canonical, and refused as a slot's value: integers beyond 63 bits.
const CBOR_NO_VALUE: [&str; 2] = ["1bffffffffffffffff", "3bffffffffffffffff"];
/// A map with integer keys.
const CBOR_KEY_TYPE: &str = "a201020304";

#[test]
fn cbor_appendix_a_is_taken_where_it_is_ours_and_comes_back_the_same() {
    let Some(folder) = suite("cbor") else { return };
    let vectors = json(&folder.join("appendix_a.json"));
    let bounds = Bounds::bytes(256);
    let (mut accepted, mut indefinite, mut not_listed) = (0, 0, 0);
    for vector in vectors.as_array().unwrap() {
        let text = vector["hex"].as_str().unwrap();
        let bytes = hex::decode(text).unwrap();
        let diagnostic = vector["diagnostic"].as_str();
        match scan(&bytes, bounds) {
            Ok(()) => {
                accepted += 1;
                assert_eq!(vector["roundtrip"], true, "{text}");
                assert!(diagnostic.is_none_or(|d| !d.contains(['.', '('])), "{text}");
                match codec::from_slice::<Value>(&bytes, bounds) {
                    Ok(value) => assert_eq!(codec::to_vec(&value, bounds), Ok(bytes), "{text}"),
                    Err(_) => assert!(CBOR_NO_VALUE.contains(&text), "{text}"),
                }
            }
            Err(CodecError::Indefinite { .. }) => {
                indefinite += 1;
                assert!(text.ends_with("ff") || text.contains("ff"), "{text}");
                assert_eq!(vector["roundtrip"], false, "{text}");
            }
            Err(CodecError::NotListed { at }) => {
                not_listed += 1;
                assert!(bytes[at] >> 5 >= 6, "{text}: a tag, float or simple value");
            }
            Err(CodecError::KeyType { at }) => assert_eq!((text, at), (CBOR_KEY_TYPE, 1)),
            Err(other) => panic!("{text}: {other}"),
        }
    }
    assert_eq!((accepted, indefinite, not_listed), (35, CBOR_INDEFINITE, CBOR_NOT_LISTED));
}

/// A foreign COSE_Sign1 in parts: any headers, definite lengths, with or without tag 18.
fn foreign_sign1(bytes: &[u8]) -> Option<[Vec<u8>; 3]> {
    let rest = bytes.strip_prefix(&[0xd2]).unwrap_or(bytes);
    let mut rest = rest.strip_prefix(&[0x84])?;
    let item = |rest: &mut &[u8]| {
        let end = scan_first(rest, Bounds::bytes(4_096)).ok()?;
        let (taken, later) = rest.split_at(end);
        *rest = later;
        Some(taken.to_vec())
    };
    let content = |encoded: Vec<u8>| {
        let value: Value = codec::from_slice(&encoded, Bounds::bytes(4_096)).ok()?;
        value.as_bytes().map(<[u8]>::to_vec)
    };
    let protected = content(item(&mut rest)?)?;
    // The unprotected header: a map whose keys are numbers, which our scanner refuses as a whole.
    let (head, members) = rest.split_first()?;
    (head & 0xf0 == 0xa0).then_some(())?;
    rest = members;
    for _ in 0..2 * (head & 0x0f) {
        item(&mut rest)?;
    }
    let (payload, signature) = (content(item(&mut rest)?)?, content(item(&mut rest)?)?);
    // An empty protected map is signed as the empty string (RFC 9052, section 4.4).
    Some([if protected == [0xa0] { Vec::new() } else { protected }, payload, signature])
}

fn cose_key(key: &Json) -> Option<PublicKey> {
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    match key["crv"].as_str()? {
        "P-256" => PublicKey::from_bytes(&[vec![4], coordinate("x"), coordinate("y")].concat()).ok(),
        "Ed25519" => PublicKey::from_bytes(&unhex(&key["x_hex"])).ok(),
        _ => None,
    }
}

#[test]
fn cose_sign1_examples_verify_and_their_mutations_do_not() {
    let Some(folder) = suite("cose") else { return };
    let (mut verified, mut refused, mut other_curves) = (0, 0, 0);
    let all = ["sign1-tests", "eddsa-examples", "ecdsa-examples"].map(|f| files(&folder.join(f))).concat();
    for path in all {
        let vector = json(&path);
        let signer = &vector["input"]["sign0"];
        if signer.is_null() {
            continue;
        }
        let bytes = unhex(&vector["output"]["cbor"]);
        // Our own reader takes only what we would have written: none of these, which have other headers.
        assert!(Sign1::parse(&bytes, 4_096).is_err(), "{}", path.display());
        let Some(key) = cose_key(&signer["key"]) else {
            other_curves += 1;
            continue;
        };
        let holds = foreign_sign1(&bytes).is_some_and(|[protected, payload, signature]| {
            let signed = sig_structure(&protected, &unhex(&signer["external"]), &payload);
            if vector["fail"] != true {
                assert_eq!(signed, unhex(&vector["intermediates"]["ToBeSign_hex"]), "{}", path.display());
            }
            key.verifies(&signed, &signature)
        });
        // ES512 with a P-256 key is allowed by RFC 9053 and by no format of ours.
        let ours = signer["alg"] == "ES256" || signer["alg"] == "EdDSA";
        assert_eq!(holds, vector["fail"] != true && ours, "{}", path.display());
        if holds { verified += 1 } else { refused += 1 }
    }
    assert_eq!((verified, refused, other_curves), (5, 7, 3));
}

/// SHA-256 over one byte (0 or 1) for each of the 914 vectors, in order: what this crate accepts.
/// It changes only if the verifier or the key checks do, and then two parties might disagree.
const ED25519_ACCEPTED: &str = "ec8bf005eaa6f68c5a1051966b9bb86182124abe05f126463ef0e5043584fb90";

#[test]
fn ed25519_edge_cases_have_one_answer() {
    let Some(folder) = suite("cctv/ed25519") else { return };
    let vectors = json(&folder.join("ed25519vectors.json"));
    let mut accepted = Vec::new();
    let mut flags_accepted: BTreeMap<String, usize> = BTreeMap::new();
    for vector in vectors.as_array().unwrap() {
        let flags: BTreeSet<&str> = vector["flags"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let key = PublicKey::from_bytes(&unhex(&vector["key"]));
        if flags.contains("non_canonical_A") {
            assert!(matches!(key, Err(KeyError::NotCanonical | KeyError::SmallOrder)), "{}", vector["number"]);
        } else if flags.contains("low_order_A") {
            assert_eq!(key, Err(KeyError::SmallOrder), "{}", vector["number"]);
        }
        let message = vector["msg"].as_str().unwrap().as_bytes();
        let holds = key.is_ok_and(|key| key.verifies(message, &unhex(&vector["sig"])));
        accepted.push(u8::from(holds));
        if holds {
            for flag in flags {
                *flags_accepted.entry(flag.to_owned()).or_default() += 1;
            }
        }
    }
    assert_eq!(accepted.len(), 914);
    for never in ["low_order_A", "non_canonical_A", "non_canonical_R", "low_order_residue"] {
        assert!(!flags_accepted.contains_key(never), "{never}");
    }
    assert!(accepted.contains(&1), "{flags_accepted:?}");
    assert_eq!(hex::encode(sha256(&[&accepted])), ED25519_ACCEPTED, "{flags_accepted:?}");
}

/// `None` where a vector has a leaf or root that is no hash: the type refuses it.
fn exact(value: &Json) -> Option<Hash> {
    Hash::from_slice(&STANDARD.decode(value.as_str()?).ok()?)
}

/// The consistency vectors that must hold have roots that are no hashes; equal ones stay equal.
fn hash(value: &Json) -> Hash {
    exact(value).unwrap_or_else(|| Hash::from_bytes(sha256(&[b"no hash", value.to_string().as_bytes()])))
}

fn hashes(value: &Json) -> Vec<Hash> {
    value.as_array().into_iter().flatten().map(hash).collect()
}

fn number(value: &Json) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

#[test]
fn merkle_inclusion_fails_exactly_where_it_must() {
    let Some(folder) = suite("merkle-rfc6962") else { return };
    let whole = files(&folder.join("testdata/inclusion"));
    let within = files(&folder.join("testdata/subtreeinclusion"));
    assert_eq!((whole.len(), within.len()), (98, 204));
    for path in whole.iter().chain(&within) {
        let v = json(path);
        let proof = hashes(&v["proof"]);
        let (Some(leaf), Some(root)) = (exact(&v["leafHash"]), exact(&v["root"])) else {
            assert_eq!(v["wantErr"], true, "{}", path.display());
            continue;
        };
        let holds = if v["treeSize"].is_null() {
            // A subtree is [start, end) with start a multiple of the power of two at or above its width.
            let (index, start, end) = (number(&v["leafIdx"]), number(&v["start"]), number(&v["end"]));
            let width = end.saturating_sub(start);
            let aligned = width.checked_next_power_of_two().is_some_and(|p| start.is_multiple_of(p));
            let within = index.checked_sub(start).filter(|_| width > 0 && aligned);
            within.is_some_and(|index| verify_inclusion(leaf, index, width, root, &proof).is_ok())
        } else {
            verify_inclusion(leaf, number(&v["leafIdx"]), number(&v["treeSize"]), root, &proof).is_ok()
        };
        assert_eq!(holds, v["wantErr"] != true, "{}", path.display());
    }
}

#[test]
fn merkle_consistency_fails_exactly_where_it_must() {
    let Some(folder) = suite("merkle-rfc6962") else { return };
    let whole = files(&folder.join("testdata/consistency"));
    let within = files(&folder.join("testdata/subtreeconsistency"));
    assert_eq!((whole.len(), within.len()), (98, 118));
    let (mut run, mut left_out) = (0, 0);
    for path in whole.iter().chain(&within) {
        let v = json(path);
        let (root1, root2, proof) = (hash(&v["root1"]), hash(&v["root2"]), hashes(&v["proof"]));
        let (size1, size2) = if v["size2"].is_null() {
            // Subtrees that begin at 0 are prefixes, as ours are; empty ones and others no log of ours has.
            if number(&v["start"]) != 0 || number(&v["end"]) == 0 {
                left_out += 1;
                continue;
            }
            (number(&v["end"]), number(&v["size"]))
        } else {
            (number(&v["size1"]), number(&v["size2"]))
        };
        run += 1;
        let holds = verify_consistency(size1, root1, size2, root2, &proof).is_ok();
        assert_eq!(holds, v["wantErr"] != true, "{}", path.display());
    }
    println!("{run} run, {left_out} left out: subtrees that are no prefix");
    assert_eq!(run + left_out, 216);
}

/// The log that transparency tools ship as an example: leaves, tiles and root, and three cosignatures of its checkpoints.
#[test]
fn a_tiled_log_of_others_is_read_proved_and_its_witnesses_verify() {
    let Some(folder) = suite("tlog-tiles") else { return };
    let leaves: Vec<Hash> = (0..300).map(|n| merkle::leaf_hash(format!("record {n}").as_bytes())).collect();
    let mut tiles = Vec::new();
    for (tile, hashes) in append(0, &leaves, |_| Err("nothing is there yet")).unwrap() {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        assert_eq!(read(&folder.join("mirror").join(tile.to_string())), bytes, "{tile}");
        tiles.push((tile, hashes));
    }
    assert_eq!(
        tiles.iter().map(|(tile, _)| tile.to_string()).collect::<Vec<_>>(),
        ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"]
    );
    let find =
        |wanted: Tile| tiles.iter().find(|(tile, _)| *tile == wanted).map(|(_, hashes)| hashes.clone()).ok_or("");
    let mut log = Log::new(300, find).unwrap();
    let root = log.root(300).unwrap();
    for (index, leaf) in (0..).zip(&leaves) {
        let proof = log.prove_inclusion(index, 300).unwrap();
        assert_eq!(verify_inclusion(*leaf, index, 300, root, &proof), Ok(()));
    }
    let mut of_these_records = 0;
    for (name, file) in [("mirror", "mirror.v0.json"), ("witness", "witness.v0.json"), ("witness2", "witness.v0.json")]
    {
        let keys = json(&folder.join(name).join(file));
        let known = [Verifier::from_vkey(keys["verifier_keys"][0].as_str().unwrap()).unwrap()];
        let bytes = read(&folder.join(name).join("checkpoint"));
        let note = Note::from_bytes(&bytes).unwrap();
        assert_eq!(note.to_string().as_bytes(), bytes);
        assert_eq!(note.verify(&known), Ok(vec![(0, Signed { time_s: Some(1_767_139_200) })]), "{name}");
        let text = CheckpointText::parse(note.danger_unverified_text()).unwrap();
        assert_eq!((text.head.size, text.to_string().as_str()), (300, note.danger_unverified_text()));
        // Two of the three trees were left out with their leaves; their signatures stand.
        of_these_records += usize::from(text.head.root == root);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let taken = Note::from_bytes(&changed).and_then(|note| note.verify(&known));
            // The line of the log itself is of a kind that is unknown here; a change to it is passed over.
            let others = note.lines().len() > 1 && taken.is_ok();
            assert!(taken.is_err() || others, "{name}: byte {at}");
        }
    }
    assert_eq!(of_these_records, 1);
}

/// Every byte string in an item, encoded and bare; `None` where the bytes are not one definite item.
fn byte_strings(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    fn walk(bytes: &[u8], at: &mut usize, out: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Option<()> {
        let start = *at;
        let first = *bytes.get(start)?;
        let width = match first & 31 {
            info @ 24..=27 => 1usize << (info - 24),
            0..=23 => 0,
            _ => return None,
        };
        let head = start + 1 + width;
        let argument = match width {
            0 => usize::from(first & 31),
            _ => bytes.get(start + 1..head)?.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)),
        };
        *at = head;
        let inner = match first >> 5 {
            2 | 3 => {
                let content = bytes.get(head..head.checked_add(argument)?)?;
                *at += argument;
                if first >> 5 == 2 {
                    out.push((bytes.get(start..*at)?.to_vec(), content.to_vec()));
                }
                0
            }
            4 => argument,
            5 => argument.checked_mul(2)?,
            6 => 1,
            _ => 0,
        };
        (0..inner).try_for_each(|_| walk(bytes, at, out))
    }
    let (mut at, mut out) = (0, Vec::new());
    walk(bytes, &mut at, &mut out)?;
    (at == bytes.len()).then_some(out)
}

#[test]
fn sd_cwt_disclosures_hash_as_their_tokens_say() {
    let Some(folder) = suite("sd-cwt") else { return };
    for (name, count) in [("issuer_cwt", 5), ("nested_cwt", 7), ("nested_issuer_cwt", 15), ("decoy", 2)] {
        let token = read(&folder.join("examples").join(name).with_extension("cbor"));
        // A COSE_Sign1, and not one of ours.
        assert!(Sign1::parse(&token, 16_384).is_err(), "{name}");
        let (mut all, mut todo) = (Vec::new(), vec![token]);
        while let Some(item) = todo.pop() {
            let found = byte_strings(&item).unwrap_or_default();
            todo.extend(
                found.iter().filter(|(_, bare)| bare.len() < item.len() && bare.len() != 32).map(|f| f.1.clone()),
            );
            all.extend(found);
        }
        let redacted: BTreeSet<&[u8]> = all.iter().map(|(_, bare)| bare.as_slice()).filter(|b| b.len() == 32).collect();
        // A disclosure is [salt, value] or [salt, value, key] with a salt of 16 bytes, as long as ours.
        let disclosed: Vec<_> = all.iter().filter(|(_, b)| matches!(b.as_slice(), [0x82 | 0x83, 0x50, ..])).collect();
        assert_eq!(disclosed.len(), count, "{name}");
        for (encoded, bare) in disclosed {
            assert!(redacted.contains(sha256(&[encoded]).as_slice()), "{name}");
            assert!(!redacted.contains(sha256(&[bare]).as_slice()), "{name}: over the encoded string");
        }
    }
}
