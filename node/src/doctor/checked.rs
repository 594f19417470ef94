//! When everything that is stored was last read and compared, and whether it was well: `check` notes it.

use crate::{
    call::OnProgress,
    error::Fault,
    node::Node,
    records::stored::{decode, encode},
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Key of the row in [`Table::Meta`].
pub const KEY: &[u8] = b"checked";

/// The last check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// When it ended.
    pub at: UnixMillis,
    /// Whether everything was as it was written.
    pub ok: bool,
}

/// Reads and compares everything, and notes what was found.
pub fn check(node: &Node, sweep: bool, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let found = crate::check::check(node, sweep, progress)?;
    note(node, &found);
    Ok(found)
}

/// Notes what a check found. What cannot be written is not noted: the check was made all the same.
fn note(node: &Node, found: &Json) {
    let ok = found.as_array().into_iter().flatten().all(|entry| entry["ok"] == true);
    let Ok(row) = encode("check", &Checked { at: node.clock.now(), ok }) else { return };
    let mut txn = node.holdings.begin();
    if txn.put(Partition::Node, Table::Meta, KEY, &row).is_ok() {
        drop(txn.commit());
    }
}

/// The last one, if any.
pub fn last(holdings: &Holdings) -> Result<Option<Checked>, StoreError> {
    let row = holdings.get(Partition::Node, Table::Meta, KEY)?;
    Ok(row.and_then(|row| decode("check", &row).ok()))
}
