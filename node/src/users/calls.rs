//! What is asked about persons: who there are, and the changes that an administrator makes.
//!
//! Each change is a new certificate under the office's users key, one append, one event of the journal. Names stand in
//! no event: the journal knows ids.

use super::{Held, UserRow, Who, any, find, now, roles};
use crate::{
    error::Fault, node::Node, records::stored::encode, seal::keyring::Partition, secret, store::layout::Table,
};
use entente_protocol::{
    id::{Nonce, UserId},
    primitive::PublicKey,
    text,
    time::UnixMillis,
    user::{Role, UserCertificate},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// Most persons that one home knows, those who left among them.
const USERS_MAX: usize = 1_000;

/// What is asked about persons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserCall {
    /// Whether there are persons; and of this one, what an act must name.
    Begin(Option<String>),
    /// Every person.
    List,
    /// One person.
    Show(String),
    /// Certifies a person's key.
    Add {
        /// A new id, in hexadecimal.
        id: String,
        /// The public key, in hexadecimal.
        key: String,
        /// The name.
        name: String,
        /// What that one may do.
        roles: Vec<String>,
        /// Until when, if that is known.
        until: Option<UnixMillis>,
        /// Whether to say what would happen, and change nothing.
        dry_run: bool,
        /// Whether the office adds an administrator because no other can act: only where the home is opened by its own secret.
        office: bool,
    },
    /// Gives and takes roles.
    Roles {
        /// Name or id.
        user: String,
        /// Given.
        add: Vec<String>,
        /// Taken.
        remove: Vec<String>,
    },
    /// Lets a person do nothing here any more, for good.
    Disable(String),
}

impl UserCall {
    /// Its name, for the journal.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "user-begin",
            Self::List => "user-list",
            Self::Show(_) => "user-show",
            Self::Add { .. } => "user-add",
            Self::Roles { .. } => "user-role",
            Self::Disable(_) => "user-disable",
        }
    }
}

/// Answers.
pub fn call(node: &Node, call: &UserCall, who: &Who) -> Result<Json, Fault> {
    match call {
        UserCall::Begin(given) => begin(node, given.as_deref()),
        UserCall::List => Ok(json!(now(node)?.iter().map(|held| view(node, held)).collect::<Vec<_>>())),
        UserCall::Show(given) => Ok(view(node, &find(node, given)?)),
        UserCall::Add { .. } => add(node, call),
        UserCall::Roles { user, add, remove } => change_roles(node, user, (add, remove)),
        UserCall::Disable(given) => disable(node, given, who),
    }
}

/// What a person must know to sign an act. It tells names to nobody who did not know them.
fn begin(node: &Node, given: Option<&str>) -> Result<Json, Fault> {
    if !any(node)? {
        return Ok(json!({ "persons": false }));
    }
    let Some(given) = given else {
        return Ok(json!({ "persons": true }));
    };
    let held = find(node, given)?;
    let nonce = Nonce::from_bytes(secret::random().map_err(|e| Fault::setup("random", e))?);
    node.waiting.put(nonce);
    Ok(json!({
        "persons": true,
        "id": held.certificate.id.to_string(),
        "certificate": held.digest.to_string(),
        "nonce": nonce.to_string(),
        "at": node.clock.now().0,
    }))
}

/// One person as people and programs see it.
fn view(node: &Node, held: &Held) -> Json {
    let UserCertificate { id, key, from, name, roles, until, number, disabled, .. } = &held.certificate;
    let now = node.clock.now();
    let state = match disabled {
        Some(_) => "disabled",
        None if held.certificate.counts(now) => "active",
        None if *from > now => "not yet",
        None => "over",
    };
    json!({
        "id": id.to_string(),
        "name": name,
        "state": state,
        "roles": roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
        "key": key.id().to_string(),
        "certificate": held.digest.to_string(),
        "number": number,
        "from": from.to_string(),
        "until": until.map(|t| t.to_string()),
        "disabled": disabled.map(|t| t.to_string()),
        "sealed": node.home.user(*id).exists(),
    })
}

fn add(node: &Node, call: &UserCall) -> Result<Json, Fault> {
    let UserCall::Add { id, key, name, roles: given, until, dry_run, office } = call else {
        return Err(Fault::input("call", "no call that adds a person"));
    };
    let id: UserId = id.parse().map_err(|e| Fault::input("user", e))?;
    let key = hex::decode(key).map_err(|e| Fault::input("user", e))?;
    let key = PublicKey::from_bytes(&key).map_err(|e| Fault::input("user", format!("the person's key: {e}")))?;
    let roles: BTreeSet<Role> = roles(given)?.into_iter().collect();
    if roles.is_empty() {
        return Err(Fault::input("role", "a person without a role may do nothing: name one, such as --role reviewer"));
    }
    if !text::is_line(name) || name.trim() != name {
        return Err(Fault::input("user", "give a name of one line, without spaces at its ends"));
    }
    let persons = now(node)?;
    if persons.len() >= USERS_MAX {
        return Err(Fault::input("too-many", format!("there are {USERS_MAX} persons already")));
    }
    if persons.iter().any(|held| held.name() == name || held.certificate.id == id || held.certificate.key == key) {
        return Err(Fault::input("user-exists", format!("there is a person `{name}` already, or one with this key")));
    }
    if persons.is_empty() && !roles.contains(&Role::Administrator) {
        let message =
            "the first person must be an administrator, for only administrators add others: add --role administrator";
        return Err(Fault::input("role", message));
    }
    if *office && !roles.contains(&Role::Administrator) {
        return Err(Fault::input(
            "role",
            "the office adds an administrator, and nobody else: add --role administrator",
        ));
    }
    let at = node.clock.now();
    if until.is_some_and(|until| until <= at) {
        return Err(Fault::input("until", "that time is over already"));
    }
    let certificate =
        UserCertificate { until: *until, ..UserCertificate::new(node.keys.org, id, key, name, roles, at) };
    let what = if *office && !persons.is_empty() { "user-added-by-office" } else { "user-added" };
    let held = certify(node, &certificate, what, *dry_run)?;
    let mut answer = view(node, &held);
    if let Some(map) = answer.as_object_mut() {
        map.insert("dry_run".to_owned(), json!(dry_run));
        map.insert("first".to_owned(), json!(persons.is_empty()));
    }
    Ok(answer)
}

fn change_roles(node: &Node, user: &str, (add, remove): (&[String], &[String])) -> Result<Json, Fault> {
    let held = alive(node, user)?;
    let (add, remove) = (roles(add)?, roles(remove)?);
    let mut changed: BTreeSet<Role> = held.certificate.roles.iter().copied().chain(add).collect();
    changed.retain(|role| !remove.contains(role));
    let changed: Vec<Role> = changed.into_iter().collect();
    if changed == held.certificate.roles {
        return Err(Fault::input("nothing", "nothing to do: these are the roles already"));
    }
    if changed.is_empty() {
        let message = "a person without a role may do nothing: give another role, or disable the person";
        return Err(Fault::input("role", message));
    }
    if !changed.contains(&Role::Administrator) {
        not_the_last(node, &held)?;
    }
    let number = held.certificate.number + 1;
    let next = UserCertificate { roles: changed, number, from: node.clock.now(), ..held.certificate };
    Ok(view(node, &certify(node, &next, "user-roles", false)?))
}

fn disable(node: &Node, user: &str, who: &Who) -> Result<Json, Fault> {
    let held = alive(node, user)?;
    not_the_last(node, &held)?;
    if who.held().is_some_and(|me| me.certificate.id == held.certificate.id) {
        return Err(Fault::input("self", "nobody disables themself: another administrator does"));
    }
    let number = held.certificate.number + 1;
    let next = UserCertificate { number, disabled: Some(node.clock.now()), ..held.certificate };
    Ok(view(node, &certify(node, &next, "user-disabled", false)?))
}

fn alive(node: &Node, user: &str) -> Result<Held, Fault> {
    let held = find(node, user)?;
    match held.certificate.disabled {
        None => Ok(held),
        Some(at) => Err(Fault::input("disabled", format!("`{}` was disabled at {at}, for good", held.name()))),
    }
}

/// Without an administrator nobody could add one.
fn not_the_last(node: &Node, held: &Held) -> Result<(), Fault> {
    let at = node.clock.now();
    let other = |known: &Held| {
        known.certificate.id != held.certificate.id
            && known.certificate.counts(at)
            && known.certificate.until.is_none()
            && known.certificate.roles.contains(&Role::Administrator)
    };
    if !held.certificate.roles.contains(&Role::Administrator) || now(node)?.iter().any(other) {
        return Ok(());
    }
    let message = format!("`{}` is the last administrator: give the role to another person first", held.name());
    Err(Fault::input("last-administrator", message))
}

/// Signs a certificate with the office's key and keeps it.
fn certify(node: &Node, certificate: &UserCertificate, what: &str, dry_run: bool) -> Result<Held, Fault> {
    let (digest, signed) = certificate.sign(&node.keys.user).map_err(|e| Fault::input("user", e))?;
    let held = Held { digest, certificate: certificate.clone() };
    if dry_run {
        return Ok(held);
    }
    let mut txn = node.holdings.begin();
    txn.push(Partition::Node, Table::UserList, b"", &encode("person", &UserRow { signed }).map_err(Fault::store)?)?;
    let roles: Vec<&str> = certificate.roles.iter().map(|role| role.name()).collect();
    let about = [("user", certificate.id.to_string()), ("certificate", digest.to_string()), ("roles", roles.join(","))];
    node.journal(&mut txn, what, &about)?;
    txn.commit()?;
    Ok(held)
}
