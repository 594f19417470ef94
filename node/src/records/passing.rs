//! What persons sign about records: the steps at the gate, and what they brought in.
//!
//! The node lays an event before the person, the command signs it, and it comes back here: who signed, whether that one
//! may, and whether it is still due is then judged anew, for the node holds no person's key and trusts no command.

use super::{
    gate::{self, Due, EventRow, GateEvent, GateOutcome, GateRow, Pass, Review},
    keep::{self, KeepError},
    stored::{decode, encode},
};
use crate::{
    call::Call,
    error::Fault,
    node::Node,
    seal::keyring::Partition,
    store::{layout::Table, txn::Txn},
    users::{self, Held, Who, acts},
};
use entente_policy::roles::{Act, Denied, Matter};
use entente_protocol::{
    cose::{self, SignatureBytes},
    id::{BatchId, RecordId, UserDigest, UserId},
    label,
    primitive::SigningKey,
    time::UnixMillis,
    user::UserAct,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// Batches under one signature of who brought them in.
const BATCHES_MAX: usize = 64;
/// Batches that are looked back at for such as an earlier import left unsigned.
const LOOK_BACK: u64 = 256;

/// What a person signs who brought batches in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportEvent {
    /// When.
    pub at: UnixMillis,
    /// The certificate of the person.
    pub user: UserDigest,
    /// The batches.
    pub batches: Vec<BatchId>,
}

/// Who brought a batch in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRow {
    /// When.
    pub at: UnixMillis,
    /// The call under the person's signature that asked for the import.
    pub act: SignatureBytes,
    /// The person's certificate.
    pub user: UserDigest,
    /// The person's own word over the batch itself, once it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignatureBytes>,
}

/// An event that is laid before a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Laid {
    /// A step at the gate.
    Gate(GateEvent),
    /// What was brought in.
    Import(ImportEvent),
}

impl Laid {
    /// Reads one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let gate = decode::<GateEvent>("gate event", bytes).map(Self::Gate);
        gate.or_else(|_| decode::<ImportEvent>("import event", bytes).map(Self::Import)).ok()
    }
    /// The certificate under which it is to be signed.
    pub fn user(&self) -> UserDigest {
        match self {
            // One without is the office's: of no person's certificate.
            Self::Gate(event) => event.user.unwrap_or(UserDigest::from_bytes([0; 32])),
            Self::Import(event) => event.user,
        }
    }
    /// When it is said to be.
    const fn at(&self) -> UnixMillis {
        match self {
            Self::Gate(event) => event.at,
            Self::Import(event) => event.at,
        }
    }
    const fn context(&self) -> label::Context {
        match self {
            Self::Gate(event) => gate::context(event.review),
            Self::Import(_) => label::SIGN_IMPORT,
        }
    }
    /// Whether it is what this call asks for.
    pub fn is_of(&self, call: &Call) -> bool {
        match (self, call) {
            (Self::Gate(event), Call::Review { state, .. }) => event.review == Some(*state) && event.stage.is_none(),
            (Self::Gate(event), Call::Stage { stage, .. }) => event.stage.as_ref() == Some(stage),
            (Self::Gate(event), Call::Release(_)) => event.review.is_none() && event.stage.is_none(),
            (Self::Import(_), Call::Import(_)) => true,
            _ => false,
        }
    }
}

/// Signs an event that was read.
pub fn sign(key: &SigningKey, event: &Laid, bytes: &[u8]) -> Vec<u8> {
    cose::sign(event.context(), key, bytes)
}

/// The event of a step for a person to sign.
pub(super) fn lay(held: &Held, pass: &Pass, records: Vec<RecordId>, at: UnixMillis) -> Result<Vec<u8>, KeepError> {
    let (user, stage) = (Some(held.digest), pass.stage().map(str::to_owned));
    Ok(encode("gate event", &GateEvent { at, user, stage, review: pass.review(), records })?)
}

/// Why a person takes no step for a record.
#[derive(Debug)]
pub enum Barred {
    /// The rules.
    Denied(Denied),
    /// The store.
    Keep(KeepError),
}

impl From<KeepError> for Barred {
    fn from(error: KeepError) -> Self {
        Self::Keep(error)
    }
}

/// Who had records in hand, as far as it was asked: the records of a batch share who brought them in.
#[derive(Default)]
pub struct Hands {
    collectors: RefCell<BTreeMap<u64, BTreeSet<UserId>>>,
    persons: RefCell<Option<Vec<Held>>>,
    permitted: RefCell<BTreeMap<Matter, Result<(), Denied>>>,
}

impl Hands {
    /// Whether a person may take a step for a record. One call asks for one person and one step.
    pub fn permits(&self, node: &Node, held: &Held, record: RecordId, pass: &Pass) -> Result<(), Barred> {
        let matter = self.matter(node, record)?;
        let mut permitted = self.permitted.borrow_mut();
        let said = permitted.entry(matter).or_insert_with_key(|matter| match pass {
            Pass::Review(to) => node.roles.may_to(held.person(), acts::of_review(*to), matter),
            Pass::Stage(stage) => {
                let of = (stage.role, stage.state == Review::Draft);
                node.roles.may_take(held.person(), of, matter)
            }
            Pass::Release => node.roles.may_to(held.person(), Act::Release, matter),
        });
        said.clone().map_err(Barred::Denied)
    }

    /// Who had a record in hand.
    pub fn matter(&self, node: &Node, record: RecordId) -> Result<Matter, KeepError> {
        let batch = keep::own(node, record)?.batch;
        let known = self.collectors.borrow().get(&batch).cloned();
        let collectors = match known {
            Some(known) => known,
            None => {
                let row = importer(node, keep::batch_id(node, batch)?)?;
                let found = row.map(|row| self.id_of(node, row.user)).transpose()?.flatten();
                let found: BTreeSet<UserId> = found.into_iter().collect();
                self.collectors.borrow_mut().insert(batch, found.clone());
                found
            }
        };
        let mut reviewers = BTreeSet::new();
        for (_, event) in gate::events(node, record)? {
            let passed = event.review.is_some_and(|to| to != Review::Refuted);
            if let Some(signer) = event.signer.filter(|_| passed) {
                reviewers.extend(self.id_of(node, signer)?);
            }
        }
        Ok(Matter { eyes: node.config.eyes, collectors, reviewers })
    }

    fn id_of(&self, node: &Node, user: UserDigest) -> Result<Option<UserId>, KeepError> {
        let mut persons = self.persons.borrow_mut();
        if persons.is_none() {
            *persons = Some(users::all(node).map_err(user_error)?);
        }
        let found = persons.iter().flatten().find(|held| held.digest == user);
        Ok(found.map(|held| held.certificate.id))
    }
}

/// An error of persons, as one of records.
pub fn user_error(error: users::UserError) -> KeepError {
    match error {
        users::UserError::Store(error) => error.into(),
        users::UserError::Damage(error) => error.into(),
    }
}

/// Notes who brought a batch in, within the append that keeps it.
pub fn note_importer(txn: &mut Txn<'_>, batch: BatchId, who: &Who, at: UnixMillis) -> Result<(), KeepError> {
    let Who::Person(held, act) = who else { return Ok(()) };
    let row = ImportRow { at, act: act.clone(), user: held.digest, signed: None };
    Ok(txn.put(Partition::Own, Table::Import, batch.as_bytes(), &encode("import", &row)?)?)
}

/// Who brought a batch in, where that was a person.
pub fn importer(node: &Node, batch: BatchId) -> Result<Option<ImportRow>, KeepError> {
    let row = node.holdings.get(Partition::Own, Table::Import, batch.as_bytes())?;
    row.map(|row| Ok(decode("import", &row)?)).transpose()
}

/// Lays before a person what that one brought in and has not signed: of this import, and of one that was cut short.
pub fn lay_imports(node: &Node, held: &Held) -> Result<Vec<String>, KeepError> {
    let count = node.holdings.count(Partition::Own, Table::Batch, b"")?;
    let mut batches = Vec::new();
    for number in count.saturating_sub(LOOK_BACK)..count {
        let id = keep::batch_id(node, number)?;
        if importer(node, id)?.is_some_and(|row| row.user == held.digest && row.signed.is_none()) {
            batches.push(id);
        }
    }
    let at = node.clock.now();
    let event = |batches: &[BatchId]| {
        let event = ImportEvent { at, user: held.digest, batches: batches.to_vec() };
        Ok(hex::encode(encode("import event", &event)?))
    };
    batches.chunks(BATCHES_MAX).map(event).collect()
}

/// An event that a person signed, verified under the newest certificate.
struct Signed {
    event: Laid,
    signed: SignatureBytes,
    held: Held,
}

/// Takes events that a person signed: each is judged anew, and then written.
pub fn take(node: &Node, events: &[String]) -> Result<Json, Fault> {
    let mut outcome = GateOutcome::default();
    for event in events {
        let signed = read(node, event)?;
        match &signed.event {
            Laid::Import(event) => outcome.changed += take_import(node, &signed, event)?,
            Laid::Gate(event) => {
                outcome.changed += take_step(node, &signed, event)?;
                if event.review == Some(Review::Refuted) {
                    let proposed = crate::recall::asking::propose_refuted(node, &event.records, &mut |_| {})?;
                    outcome.recalls.extend(proposed);
                }
            }
        }
    }
    node.wake();
    Ok(json!(outcome))
}

fn strange() -> Fault {
    Fault::input("user-refused", "a signed event is not taken: it is of no person here, or was changed on its way")
}

fn read(node: &Node, event: &str) -> Result<Signed, Fault> {
    let bytes = hex::decode(event).ok().filter(|bytes| bytes.len() <= acts::SIGNED_BYTES_MAX).ok_or_else(strange)?;
    let signed = SignatureBytes(bytes);
    let parsed = signed.parse().map_err(|_| strange())?;
    let persons = users::now(node)?;
    let held = persons.into_iter().find(|held| held.certificate.key.id() == parsed.kid()).ok_or_else(strange)?;
    let event = Laid::read(parsed.danger_unverified_payload()).ok_or_else(strange)?;
    parsed.verify(event.context(), &held.certificate.key).map_err(|_| strange())?;
    if event.user() != held.digest {
        return Err(Fault::input(
            "user-refused",
            "the certificate under which this was signed is not the newest: ask again, so that it is signed under that one",
        ));
    }
    acts::counts(&held, node.clock.now())?;
    if node.clock.now().0.abs_diff(event.at().0) > acts::APART_MS {
        return Err(Fault::input("user-refused", "what was signed is of another time: ask again"));
    }
    Ok(Signed { signed: signed.clone(), event, held })
}

fn take_step(node: &Node, by: &Signed, event: &GateEvent) -> Result<u64, Fault> {
    let pass = match (&event.stage, event.review) {
        (Some(name), _) => Pass::Stage(stage(node, name)?),
        (None, Some(to)) => Pass::Review(to),
        (None, None) => Pass::Release,
    };
    if event.review != pass.review() || event.records.is_empty() || event.records.len() > gate::STEP {
        return Err(strange());
    }
    let (hands, mut changed) = (Hands::default(), Vec::<(RecordId, GateRow)>::with_capacity(event.records.len()));
    let named: BTreeSet<&RecordId> = event.records.iter().collect();
    if named.len() != event.records.len() {
        return Err(strange());
    }
    let txn = node.holdings.begin();
    for record in &event.records {
        keep::own(node, *record)?;
        let before = gate::state(node, *record)?;
        // What was signed once changes nothing twice.
        let said = gate::events(node, *record)?.iter().any(|(_, known)| known.signed == by.signed);
        if said || gate::due(node, &before, &pass) != Due::Yes {
            let message = format!("record {record} was changed in between: nothing was; run the command again");
            return Err(Fault::input("changed", message));
        }
        match hands.permits(node, &by.held, *record, &pass) {
            Ok(()) => changed.push((*record, before)),
            Err(Barred::Denied(why)) => return Err(acts::denied(by.held.name(), &why)),
            Err(Barred::Keep(error)) => return Err(error.into()),
        }
    }
    let row = EventRow {
        at: event.at,
        user: by.held.certificate.key.id(),
        stage: event.stage.clone(),
        review: event.review,
        signed: by.signed.clone(),
        signer: Some(by.held.digest),
    };
    let count = changed.len() as u64;
    gate::write(node, txn, changed, &pass, &row)?;
    Ok(count)
}

fn take_import(node: &Node, by: &Signed, event: &ImportEvent) -> Result<u64, Fault> {
    if event.batches.is_empty() || event.batches.len() > BATCHES_MAX {
        return Err(strange());
    }
    let mut txn = node.holdings.begin();
    for batch in &event.batches {
        let row = importer(node, *batch)?.filter(|row| row.user == by.held.digest && row.signed.is_none());
        let row = ImportRow { signed: Some(by.signed.clone()), ..row.ok_or_else(strange)? };
        let row = encode("import", &row).map_err(Fault::store)?;
        txn.put(Partition::Own, Table::Import, batch.as_bytes(), &row)?;
    }
    let about = [("batches", event.batches.len().to_string()), ("certificate", by.held.digest.to_string())];
    node.journal(&mut txn, "import-signed", &about)?;
    txn.commit()?;
    Ok(event.batches.len() as u64)
}

/// A stage of the review by its name.
pub fn stage(node: &Node, name: &str) -> Result<crate::config::Stage, Fault> {
    let found = node.config.stages.iter().find(|stage| stage.name == name);
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = node.config.stages.iter().map(|stage| stage.name.as_str()).collect();
        let message = match known.as_slice() {
            [] => format!("there is no stage `{name}`: the settings name none, and `--state` reviews"),
            known => format!("there is no stage `{name}`: one of `{}`", known.join("`, `")),
        };
        Fault::input("stage", message)
    })
}

/// Where the settings name stages, a review is one of them; to refute needs none.
pub fn by_state(node: &Node, to: Review) -> Result<Pass, Fault> {
    if to == Review::Refuted || node.config.stages.is_empty() {
        return Ok(Pass::Review(to));
    }
    let known: Vec<&str> = node.config.stages.iter().map(|stage| stage.name.as_str()).collect();
    let message = format!("this organisation reviews by stages: give --stage, one of `{}`", known.join("`, `"));
    Err(Fault::input("stage", message))
}

/// Whether a signed event of the gate holds: the records that it names, or why not.
pub fn verified(node: &Node, row: &EventRow, persons: &[Held]) -> Result<GateEvent, String> {
    let key = match row.signer {
        Some(signer) => users::key_at(persons, signer, row.at)?.1,
        None => {
            let office = node.keys.card.listed(entente_protocol::identity::Purpose::Users, row.user);
            office.map(|entry| entry.key.clone()).ok_or("our card lists no such user")?
        }
    };
    let signed = row.signed.parse().map_err(|e| e.to_string())?;
    let event = signed.verify(gate::context(row.review), &key).map_err(|e| e.to_string())?;
    let event: GateEvent = decode("gate event", event).map_err(|e| e.to_string())?;
    let same = (event.at, event.user, &event.stage, event.review) == (row.at, row.signer, &row.stage, row.review);
    if same && key.id() == row.user { Ok(event) } else { Err("it says something else than was signed".to_owned()) }
}

/// Whether what is known of who brought a batch in holds.
pub fn import_verified(row: &ImportRow, batch: BatchId, persons: &[Held]) -> Result<(), String> {
    let (_, key) = users::key_at(persons, row.user, row.at)?;
    let act = UserAct::verify(&row.act, &key).map_err(|e| e.to_string())?;
    if act.user != row.user {
        return Err("the call was asked for under another certificate".to_owned());
    }
    let Some(signed) = &row.signed else { return Ok(()) };
    let event = signed.parse().and_then(|signed| signed.verify(label::SIGN_IMPORT, &key)).map_err(|e| e.to_string())?;
    let event: ImportEvent = decode("import event", event).map_err(|e| e.to_string())?;
    users::key_at(persons, event.user, event.at)?;
    let names = event.user == row.user && event.batches.contains(&batch);
    if names { Ok(()) } else { Err("what its importer signed does not name it".to_owned()) }
}
