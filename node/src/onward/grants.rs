//! The grants that came for us: which of them covers a record, and how all that it covers is found when it comes.

use super::{GOT, OnwardError};
use crate::{
    node::{self, Node},
    onward::{answering, asking, holding},
    records::stored::{ReceivedRow, decode, encode},
    room,
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::SignatureBytes,
    grant::Grant,
    id::{AgreementId, GrantId, KeyId, OrgId, RecordId},
    identity::Purpose,
    record::{Body, Header},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Records looked at in one append when a grant has come.
const STEP: usize = 1_000;

/// A grant that came, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GotRow {
    /// When.
    pub at: UnixMillis,
    /// The agreement and place up to which what is held was looked through for what it covers; none once all was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<(AgreementId, u64)>,
    /// As it came.
    pub signed: SignatureBytes,
}

/// A grant that came.
#[derive(Debug, Clone)]
pub struct Got {
    /// How releases name it.
    pub id: GrantId,
    /// The key that signed it.
    pub kid: KeyId,
    /// What it says.
    pub grant: Grant,
    /// As it came.
    pub signed: SignatureBytes,
}

/// Every grant that came for us, by originator and receiver, the newest first. A snapshot, as partners and agreements are.
#[derive(Debug, Default)]
pub struct Grants(BTreeMap<(OrgId, OrgId), Vec<Got>>);

impl Grants {
    /// Reads them.
    pub fn load(holdings: &Holdings) -> Result<Self, StoreError> {
        let (mut all, mut after) = (Self::default(), None);
        loop {
            let page = holdings.list(Partition::Own, Table::Grant, GOT, after, 500)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (at, row) in &page {
                let broken = || StoreError::Broken { at: *at };
                let row: GotRow = decode("grant", row).map_err(|_| broken())?;
                let (id, grant) = Grant::kept(&row.signed).map_err(|_| broken())?;
                let of = all.0.entry((grant.originator, grant.to)).or_default();
                let kid = row.signed.parse().map_err(|_| broken())?.kid();
                of.push(Got { id, kid, grant, signed: row.signed });
            }
        }
        for of in all.0.values_mut() {
            of.sort_by_key(|got| std::cmp::Reverse((got.grant.time, got.id)));
        }
        Ok(all)
    }
    /// The newest word of its originator about passing a record on to a receiver.
    pub fn covering(&self, to: OrgId, header: &Header) -> Option<&Got> {
        self.0.get(&(header.originator, to))?.iter().find(|got| got.grant.scope.covers(header))
    }
    /// The no that stands where another speaks of exactly the same: nothing of the kind was granted since.
    fn standing_no(&self, of: &Grant) -> Option<&Got> {
        let all = self.0.get(&(of.originator, of.to))?;
        // The newest first: a grant of all of a kind, or of other lines with these, is a newer word about these too.
        let kind = all.iter().filter(|got| got.grant.scope.kind == of.scope.kind);
        kind.take_while(|got| got.grant.is_refusal())
            .find(|got| got.grant.scope.lines == of.scope.lines && got.grant.time <= of.time)
    }
    /// Whose a grant is.
    pub fn originator(&self, id: GrantId) -> Option<OrgId> {
        self.0.iter().find(|(_, of)| of.iter().any(|got| got.id == id)).map(|((originator, _), _)| *originator)
    }
    /// To whom something of an originator may be passed on, or might once.
    pub fn receivers(&self, originator: OrgId) -> impl Iterator<Item = OrgId> {
        let from = OrgId::from_bytes([0; 32]);
        self.0.range((originator, from)..).take_while(move |((of, _), _)| *of == originator).map(|((_, to), _)| *to)
    }
    /// Whose records may be passed on to a receiver, or might once.
    pub fn originators(&self, to: OrgId) -> Vec<OrgId> {
        self.0.keys().filter(|(_, receiver)| *receiver == to).map(|(originator, _)| *originator).collect()
    }
    /// Whether there are none, so that nothing of others ever went.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The key under which a grant that came is found.
pub fn got_key(id: GrantId) -> Vec<u8> {
    [b"grant".as_slice(), id.as_bytes()].concat()
}

/// Takes a grant that an originator says. Whether it is new; the rules are read again by whoever calls.
pub fn take(node: &Node, from: OrgId, signed: &SignatureBytes) -> Result<bool, OnwardError> {
    let (now, book) = (node.clock.now(), node.book());
    let key = |org, kid, stated| book.past_key(org, Purpose::Records, kid, now, stated);
    let (id, grant) = Grant::verify(signed, key).map_err(|fault| OnwardError::of_partner(&fault))?;
    if grant.originator != from || grant.from != node.keys.org {
        return Err(OnwardError::Partner("a grant of another, or for another".to_owned()));
    }
    // So that nobody makes us look for what nobody here would pass on.
    if !asking::is_asked(node, from, &grant)? {
        return Err(OnwardError::Partner("it grants what nobody here has asked for".to_owned()));
    }
    if let Some(why) = room::lacking(node, from, room::For::Word)? {
        return Err(OnwardError::Partner(why));
    }
    let mut txn = node.holdings.begin();
    let key = got_key(id);
    if txn.get(Partition::Own, Table::Grant, &key)?.is_some() {
        return Ok(false);
    }
    // A no is heard at any time. Where one stands already it says nothing new, but to who asked since.
    let rules = node.rules();
    if let Some(got) = rules.grants.standing_no(&grant).filter(|_| grant.is_refusal()) {
        if asking::answered(node, &mut txn, from, (got.id, &got.grant))? {
            txn.commit()?;
        }
        return Ok(false);
    }
    if !grant.is_refusal() {
        answering::counted(&mut txn, from)?;
    }
    let first = node.partitions().first().map(|agreement| (*agreement, 0));
    let row = encode("grant", &GotRow { at: now, next: first, signed: signed.clone() })?;
    let place = txn.push(Partition::Own, Table::Grant, GOT, &row)?;
    txn.put(Partition::Own, Table::Grant, &key, &place.to_be_bytes())?;
    room::fill(&mut txn, from, row.len() as u64 + room::BESIDES_BYTES)?;
    asking::answered(node, &mut txn, from, (id, &grant))?;
    let what = if grant.is_refusal() { "grant-refused" } else { "grant" };
    let about = [("partner", from.to_string()), ("grant", id.to_string()), ("to", grant.to.to_string())];
    node.journal(&mut txn, what, &about)?;
    node::changed(&mut txn)?;
    txn.commit()?;
    Ok(true)
}

/// Looks through what is held for what a grant covers, in bounded appends: each record is decided in every feed to its
/// receiver. A node that was stopped in between goes on.
pub fn go_on(node: &Node) -> Result<(), OnwardError> {
    let mut after = None;
    loop {
        let page = node.holdings.list(Partition::Own, Table::Grant, GOT, after, 500)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (place, row) in page {
            let row: GotRow = decode("grant", &row)?;
            if row.next.is_some() {
                while spread(node, place)? {}
                node.wake();
            }
        }
    }
}

fn spread(node: &Node, place: u64) -> Result<bool, OnwardError> {
    let mut txn = node.holdings.begin();
    let row = txn.item(Partition::Own, Table::Grant, GOT, place)?.ok_or(StoreError::Broken { at: place })?;
    let mut row: GotRow = decode("grant", &row)?;
    let Some((agreement, from)) = row.next else { return Ok(false) };
    let (_, grant) = Grant::kept(&row.signed).map_err(|_| StoreError::Broken { at: place })?;
    let partition = Partition::Agreement(agreement);
    let partitions = node.partitions();
    let mut next = Some((agreement, from));
    if partitions.contains(&agreement) {
        let page = node.holdings.list(partition, Table::Received, b"", from.checked_sub(1), STEP)?;
        for (at, bytes) in &page {
            let received: ReceivedRow = decode("received record", bytes)?;
            let body = Body::from_bytes(&received.body).map_err(|_| StoreError::Broken { at: *at })?;
            if body.header().originator == grant.originator && grant.scope.covers(body.header()) {
                push(&mut txn, grant.to, body.id())?;
            }
            next = Some((agreement, at + 1));
        }
        if page.len() < STEP {
            next = None;
        }
    } else {
        next = None;
    }
    row.next = next.or_else(|| partitions.into_iter().find(|other| *other > agreement).map(|other| (other, 0)));
    txn.replace_item(Partition::Own, Table::Grant, GOT, place, &encode("grant", &row)?)?;
    txn.commit()?;
    Ok(row.next.is_some())
}

/// Has a record of another decided in every feed to a receiver, those of agreements to come among them.
fn push(txn: &mut Txn<'_>, to: OrgId, record: RecordId) -> Result<(), StoreError> {
    txn.push(Partition::Own, Table::RecordList, &holding::log(to), record.as_bytes()).map(drop)
}

/// A record of another came, within the transaction that keeps it: it is decided wherever a grant lets it go on.
pub fn arrived(txn: &mut Txn<'_>, grants: &Grants, header: &Header, id: RecordId) -> Result<(), StoreError> {
    let to: Vec<OrgId> = grants.receivers(header.originator).collect();
    to.into_iter().filter(|to| grants.covering(*to, header).is_some()).try_for_each(|to| push(txn, to, id))
}
