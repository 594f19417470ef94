//! Looking for what must not be there: in folders, in bytes, and in everything that a node holds in clear.
//!
//! Called by stories about what a partner learns. A text is looked for as it is and in hexadecimal, a number as JSON
//! writes it and as CBOR does.

use entente_node::{
    node::Node,
    records::{
        keep::{self, KeepError},
        stored::{ReceivedRow, decode},
        view,
    },
    seal::{
        hybrid::Identity,
        keyring::{self, Partition},
    },
    secret::{keyfile::KeyFile, unlock},
    share::{feeds, wishes},
    store::{StoreError, layout::Table},
};
use serde_json::Value as Json;
use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::Path,
    thread,
    time::Duration,
};

/// How often a folder is read anew while its files change.
const LISTINGS_MAX: usize = 50;

/// A form as long as this is in no store by chance: sealed bytes would have to be petabytes.
const CHANCE_BYTES: usize = 7;

/// Digits of a blob's name.
const RANDOM_NAME_DIGITS: usize = 64;

/// Something that must not be found, and its name.
#[derive(Debug, Clone)]
pub struct Secret {
    /// For the message.
    pub what: String,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let hexadecimal: String = text.bytes().map(|b| format!("{b:02x}")).collect();
        Self { what: text.to_owned(), forms: vec![text.as_bytes().to_vec(), hexadecimal.into_bytes()] }
    }

    /// Bytes, such as a key: as they are, in hexadecimal, in Base64 whatever stands before them there, and as Rust
    /// prints lists of numbers and strings of bytes.
    #[must_use]
    pub fn bytes(what: &str, bytes: &[u8]) -> Self {
        let hexadecimal: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let mut forms = vec![bytes.to_vec(), hexadecimal.to_uppercase().into_bytes(), hexadecimal.into_bytes()];
        forms.push(decimal.join(", ").into_bytes());
        forms.push(bytes.escape_ascii().to_string().into_bytes());
        // Three bytes make four digits: of what stands one or two bytes later, the first digits differ.
        for skipped in 0..3 {
            let whole = bytes.get(skipped..).unwrap_or_default();
            let digits = base64(whole.get(..whole.len() / 3 * 3).unwrap_or_default());
            forms.push(digits.replace('+', "-").replace('/', "_").into_bytes());
            forms.push(digits.into_bytes());
        }
        Self { what: what.to_owned(), forms }
    }

    /// A field's value on a disk, in the forms of [`Secret::bytes`] and in UTF-16. Forms that random bytes could hold by
    /// chance are left out: a value of three bytes is looked for in hexadecimal and Base64 alone, of less in none.
    #[must_use]
    pub fn value(text: &str) -> Self {
        let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let each = [text.as_bytes().to_vec(), wide(u16::to_le_bytes), wide(u16::to_be_bytes)];
        let forms = each.iter().flat_map(|bytes| Self::bytes(text, bytes).forms);
        Self { what: text.to_owned(), forms: forms.filter(|form| form.len() >= CHANCE_BYTES).collect() }
    }

    /// Every form that is looked for.
    #[must_use]
    pub fn forms(&self) -> &[Vec<u8>] {
        &self.forms
    }

    /// A whole number of at least five digits: shorter ones stand everywhere by chance.
    ///
    /// # Panics
    /// If it is shorter.
    #[must_use]
    pub fn number(number: u32) -> Self {
        assert!(number >= 10_000, "{number} is found by chance");
        let bytes = number.to_be_bytes();
        let cbor = match number {
            0..=0xffff => [&[0x19], &bytes[2..]].concat(),
            _ => [&[0x1a], bytes.as_slice()].concat(),
        };
        Self { what: number.to_string(), forms: vec![number.to_string().into_bytes(), cbor] }
    }

    /// Whether these bytes hold it in any form.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_slice()))
    }
}

/// Many secrets, looked for at once: each byte is looked at once, however many there are.
pub struct Search<'a> {
    /// By the first two bytes, whether any form begins so.
    begins: Vec<bool>,
    forms: HashMap<[u8; 4], Vec<(&'a [u8], &'a str)>>,
}

impl<'a> Search<'a> {
    /// For all of these. A form of less than four bytes stands everywhere by chance, and is left out.
    #[must_use]
    pub fn new(secrets: &'a [Secret]) -> Self {
        let mut search = Self { begins: vec![false; 1 << 16], forms: HashMap::new() };
        for (form, what) in secrets.iter().flat_map(|s| s.forms.iter().map(|form| (form.as_slice(), s.what.as_str()))) {
            if let [a, b, c, d, ..] = *form {
                search.begins[usize::from(a) << 8 | usize::from(b)] = true;
                search.forms.entry([a, b, c, d]).or_default().push((form, what));
            }
        }
        search
    }

    /// Names of the secrets that these bytes hold.
    #[must_use]
    pub fn found(&self, bytes: &[u8]) -> BTreeSet<&'a str> {
        self.forms_in(bytes).into_iter().map(|(_, what)| what).collect()
    }

    /// Names of the secrets that the name of a file holds. Blobs have random names of 64 hexadecimal digits, of which a
    /// short number is a part by chance: within such a name a form counts from twice the length on.
    #[must_use]
    pub fn found_in_name(&self, path: &str) -> BTreeSet<&'a str> {
        let digits = |name: &str| name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (random, named): (Vec<&str>, Vec<&str>) =
            path.split('/').partition(|name| name.len() == RANDOM_NAME_DIGITS && digits(name));
        let within = random.iter().flat_map(|name| self.forms_in(name.as_bytes()));
        let within = within.filter(|(form, _)| form.len() >= 2 * CHANCE_BYTES).map(|(_, what)| what);
        within.chain(self.found(named.join("/").as_bytes())).collect()
    }

    fn forms_in(&self, bytes: &[u8]) -> BTreeSet<(&'a [u8], &'a str)> {
        let mut found = BTreeSet::new();
        for (at, four) in bytes.windows(4).enumerate() {
            if !self.begins[usize::from(four[0]) << 8 | usize::from(four[1])] {
                continue;
            }
            for (form, what) in self.forms.get(four).into_iter().flatten() {
                if bytes[at..].starts_with(form) {
                    found.insert((*form, *what));
                }
            }
        }
        found
    }
}

/// Key files that the node's identity does not open: they are sealed to a passphrase, or to the recovery key.
const SEALED_TO_OTHERS: [&str; 2] = [unlock::NODE_KEY_FILE, keyring::KEYRING_RECOVERY_FILE];

/// Every key in a home's folder of keys, opened with the node's identity, and the identity itself.
///
/// # Errors
/// If the folder cannot be read, or a key file does not open: what it holds could not be looked for.
pub fn keys(folder: &Path, identity: &Identity) -> io::Result<Vec<Secret>> {
    let mut secrets = vec![Secret::bytes("the node's identity", identity.to_text().expose().trim().as_bytes())];
    for (path, _) in files(folder)? {
        if !path.ends_with(".age") || SEALED_TO_OTHERS.iter().any(|name| Path::new(&path).ends_with(name)) {
            continue;
        }
        let plain = KeyFile::read(Path::new(&path), identity).map_err(io::Error::other)?;
        // Keys of 32 bytes follow the head of a CBOR byte string, or of an octet string in PKCS #8.
        for (at, two) in plain.expose().windows(2).enumerate() {
            let key = plain.expose().get(at + 2..at + 34).filter(|_| *two == [0x58, 0x20] || *two == [4, 0x20]);
            secrets.extend(key.map(|key| Secret::bytes(&format!("a key in {path}"), key)));
        }
    }
    Ok(secrets)
}

/// Base64 (RFC 4648, section 4) without padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|three| {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).map(move |digit| char::from(DIGITS[bits >> (18 - 6 * digit) & 63]))
    });
    digits.collect()
}

/// The first of these secrets that any of these bytes hold.
#[must_use]
pub fn leaked<'a>(secrets: &'a [Secret], bytes: &[Vec<u8>]) -> Option<&'a str> {
    secrets.iter().find(|secret| bytes.iter().any(|bytes| secret.is_in(bytes))).map(|secret| secret.what.as_str())
}

/// Every file below a folder: its path and its bytes. An engine that was just closed may still put files in the place of
/// others: then all is read once more.
///
/// # Errors
/// If one cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    for _ in 0..LISTINGS_MAX {
        match listed(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
                thread::sleep(Duration::from_millis(100));
            }
            other => return other,
        }
    }
    listed(folder)
}

fn listed(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let at = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        for entry in fs::read_dir(&folder).map_err(|error| at(&folder, error))? {
            let entry = entry.map_err(|error| at(&folder, error))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|error| at(&folder, error))?);
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                found.push((path.display().to_string(), fs::read(&path).map_err(|error| at(&path, error))?));
            }
        }
    }
    Ok(found)
}

/// Everything that a node holds of its partners' feeds, decrypted, row by row: records, runs with their proofs, wishes,
/// and its journal.
///
/// # Errors
/// If the store fails.
pub fn held(node: &Node) -> Result<Vec<Vec<u8>>, StoreError> {
    let holdings = &node.holdings;
    let mut rows = all(node, Partition::Node, Table::Journal, b"")?;
    for agreement in node.partitions() {
        let partition = Partition::Agreement(agreement);
        for row in all(node, partition, Table::Received, b"")? {
            let id = decode::<ReceivedRow>("received record", &row).ok().and_then(|row| row.id());
            let id = id.ok_or(StoreError::Broken { at: 0 })?;
            rows.extend(holdings.get(partition, Table::Withdrawn, id.as_bytes())?);
            rows.push(id.as_bytes().to_vec());
            rows.push(row);
        }
        rows.extend(all(node, partition, Table::Facet, b"")?);
        for (sender, _) in node.book().iter() {
            rows.extend(all(node, partition, Table::Wanted, &wishes::scope(*sender))?);
            let Ok(Some(store)) = feeds::known_store(node, *sender, agreement) else { continue };
            let feed = feeds::incoming(node, *sender, store, agreement);
            rows.extend(all(node, partition, Table::RunIn, feed.id().as_bytes())?);
        }
    }
    Ok(rows)
}

/// Every value of every field of every record that a node holds, its own and those it received: texts as they are,
/// numbers in decimal, lists and maps member by member.
///
/// # Errors
/// If the store fails.
pub fn values(node: &Node) -> Result<BTreeSet<String>, KeepError> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = keep::after(node, after)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        ids.extend(page.into_iter().map(|(_, id)| id));
    }
    for agreement in node.partitions() {
        let rows = all(node, Partition::Agreement(agreement), Table::Received, b"")?;
        ids.extend(rows.iter().filter_map(|row| decode::<ReceivedRow>("received record", row).ok()?.id()));
    }
    let mut values = BTreeSet::new();
    for id in ids {
        let found = view::find(node, id)?.ok_or(StoreError::Broken { at: 0 })?;
        view::view(node, id, &found)?.fields.values().for_each(|value| leaves(value, &mut values));
    }
    Ok(values)
}

fn leaves(value: &Json, into: &mut BTreeSet<String>) {
    match value {
        Json::Null | Json::Bool(_) => (),
        Json::Number(number) => drop(into.insert(number.to_string())),
        Json::String(text) => drop(into.insert(text.clone())),
        Json::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Json::Object(members) => members.values().for_each(|member| leaves(member, into)),
    }
}

/// How many records a node has received.
#[must_use]
pub fn received(node: &Node) -> u64 {
    let count = |agreement| node.holdings.count(Partition::Agreement(agreement), Table::Received, b"");
    node.partitions().into_iter().filter_map(|agreement| count(agreement).ok()).sum()
}

fn all(node: &Node, partition: Partition, table: Table, scope: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = node.holdings.list(partition, table, scope, after, 500)?;
        let Some((last, _)) = page.last() else { return Ok(rows) };
        after = Some(*last);
        rows.extend(page.into_iter().map(|(_, row)| row));
    }
}

#[cfg(test)]
mod tests {
    use super::{Search, Secret};

    #[test]
    fn what_a_random_name_holds_by_chance_is_not_found_in_it() {
        let secrets = ["86297306", "8629730686297306", "Obs-07x"].map(Secret::value);
        let search = Search::new(&secrets);
        let random = |part: &str| format!("blobs/9f/{part:9<64}");
        assert!(search.found_in_name(&random("9f8155986297306e60d")).is_empty());
        assert_eq!(search.found(random("9f8155986297306e60d").as_bytes()).len(), 1);
        assert_eq!(search.found_in_name(&random("8629730686297306")).len(), 1, "too long for chance");
        assert_eq!(search.found_in_name("blobs/86297306").len(), 1, "no random name");
        assert_eq!(search.found_in_name("86297306/blobs/Obs-07x.jpg").len(), 2);
    }
}
