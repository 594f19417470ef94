//! Looking for what must not be there: in folders, in bytes, and in everything that a node holds in clear.
//!
//! Called by stories about what a partner learns. A text is looked for as it is and in hexadecimal, a number as JSON
//! writes it and as CBOR does.

use entente_node::{
    node::Node,
    receive::WANTED,
    records::stored::{ReceivedRow, decode},
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table},
};
use std::{fs, io, path::Path};

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

/// The first of these secrets that any of these bytes hold.
#[must_use]
pub fn leaked<'a>(secrets: &'a [Secret], bytes: &[Vec<u8>]) -> Option<&'a str> {
    secrets.iter().find(|secret| bytes.iter().any(|bytes| secret.is_in(bytes))).map(|secret| secret.what.as_str())
}

/// Every file below a folder, with its bytes.
///
/// # Errors
/// If one cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push((entry.path().display().to_string(), fs::read(entry.path())?));
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
        rows.extend(all(node, partition, Table::Wanted, WANTED)?);
        for (sender, _) in node.book().iter() {
            let Ok(Some(store)) = feeds::known_store(node, *sender, agreement) else { continue };
            let feed = feeds::incoming(node, *sender, store, agreement);
            rows.extend(all(node, partition, Table::RunIn, feed.id().as_bytes())?);
        }
    }
    Ok(rows)
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
