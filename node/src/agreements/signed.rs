//! What parties signed of an agreement, as it was signed, for whoever must judge it without this node.

use super::{AgreementError, AgreementRow, decode};
use crate::{
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::{
    cose::SignatureBytes,
    id::{AgreementId, OrgId},
    time::UnixMillis,
};

/// Every version of an agreement that was ever in force, as it was signed.
pub fn versions(holdings: &Holdings, agreement: AgreementId) -> Result<Vec<Vec<u8>>, StoreError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = holdings.list(Partition::Node, Table::AgreementVersion, agreement.as_bytes(), after, 500)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        all.extend(page.into_iter().map(|(_, bytes)| bytes));
    }
}

/// The newest statement of each party about an agreement: when it was known here, whose, and as it was signed.
pub fn standings(
    holdings: &Holdings,
    agreement: AgreementId,
) -> Result<Vec<(UnixMillis, OrgId, SignatureBytes)>, AgreementError> {
    let row = holdings.get(Partition::Node, Table::Agreement, agreement.as_bytes())?;
    let row: Option<AgreementRow> = row.map(|row| decode("agreement", &row)).transpose()?;
    let said = row.into_iter().flat_map(|row| row.standings);
    Ok(said.map(|row| (row.at, row.party, row.notice)).collect())
}
