//! `entente user`: the persons of the organisation. A new person's key is drawn and sealed here, and only its public
//! half goes to the node.

use super::{
    output::{Done, Failure, note},
    person::fault,
    reach::{Reach, absolute},
    show::{short, text},
    table::{Look, Table, pairs},
};
use crate::{
    call::Call,
    cli,
    clock::say,
    error::Fault,
    secret::{
        self, Secret,
        unlock::{self, WORK_FACTOR},
    },
    users::{UserCall, key},
};
use entente_policy::roles::{Act, ROLES, Roles};
use entente_protocol::{id::UserId, time::DAY_MS, user::Role};
use serde_json::{Value as Json, json};
use std::path::Path;

/// Carries out a command about persons.
pub fn user(reach: &Reach, command: cli::User) -> Result<Done, Failure> {
    match command {
        cli::User::Add(args) => return add(reach, &args),
        cli::User::Roles => return roles(reach),
        cli::User::Passphrase { new_passphrase_file } => return passphrase(reach, new_passphrase_file.as_deref()),
        cli::User::List => {
            let persons = reach.call(&Call::User(UserCall::List))?;
            let empty =
                "no persons: this home is a single office, and acts in its own name; `entente user add` adds the first";
            reach.output.listing(&persons, &table(&persons), empty)?;
        }
        cli::User::Show { person } => show(reach, UserCall::Show(person))?,
        cli::User::Role { person, add, remove } => show(reach, UserCall::Roles { user: person, add, remove })?,
        cli::User::Disable { person, yes } => {
            let question = format!("Is `{person}` to do nothing here any more, for good?");
            reach.confirm(yes, &question, "--yes")?;
            show(reach, UserCall::Disable(person))?;
        }
    }
    Ok(Done::Well)
}

fn show(reach: &Reach, call: UserCall) -> Result<(), Failure> {
    let person = reach.call(&Call::User(call))?;
    reach.output.answer(&person, || one(&person, reach.output.look))
}

fn table(persons: &Json) -> Table {
    let mut table = Table::new(&["id", "name", "state", "roles"]);
    for person in persons.as_array().into_iter().flatten() {
        table.row([short(&text(person, "id")), text(person, "name"), text(person, "state"), text(person, "roles")]);
    }
    table
}

fn one(person: &Json, look: Look) -> String {
    let keys = ["id", "name", "state", "roles", "key", "certificate", "number", "from", "until", "disabled"];
    pairs(keys.map(|key| (key, text(person, key))).into_iter().filter(|(_, value)| !value.is_empty()), look)
}

/// A new passphrase: from a file, or asked for twice.
fn new_passphrase(of: &str, file: Option<&Path>) -> Result<Secret<String>, Failure> {
    let read = match file {
        Some(path) => unlock::read_secret_file(&absolute(path)?),
        None => unlock::ask(&format!("new passphrase of {of}"), Some("once more"), "--new-passphrase-file"),
    };
    let phrase = read.map_err(|e| fault(&e))?;
    if phrase.expose().chars().count() < unlock::PASSPHRASE_CHARS_MIN {
        return Err(fault(&unlock::UnlockError::Short).into());
    }
    Ok(phrase)
}

fn add(reach: &Reach, args: &cli::AddUser) -> Result<Done, Failure> {
    let home = reach.home()?;
    let until = args.until.as_deref().map(|text| {
        // The last day counts whole.
        say::parse(text)
            .map(|day| day.plus(DAY_MS))
            .ok_or_else(|| Fault::input("until", format!("`{text}` is no day: write it as 2027-01-31")))
    });
    let until = until.transpose()?;
    let node = reach.node()?;
    let random = |e| Failure::from(Fault::setup("random", e));
    let id = UserId::from_bytes(secret::random().map_err(random)?);
    let made = if args.dry_run {
        // A key that is thrown away: the node judges all else.
        let seed = secret::random_secret::<32>().map_err(random)?;
        crate::users::signing_key(seed.expose()).map_err(|e| Fault::setup("user-key", e))?
    } else {
        let phrase = new_passphrase(&args.name, args.new_passphrase_file.as_deref())?;
        key::create(&home, id, &phrase, WORK_FACTOR).map_err(|e| fault(&e))?
    };
    let call = UserCall::Add {
        id: id.to_string(),
        key: hex::encode(made.public().as_bytes()),
        name: args.name.clone(),
        roles: args.role.clone(),
        until,
        dry_run: args.dry_run,
        office: args.danger_office,
    };
    let answer = node.call(&Call::User(call));
    if answer.is_err() && !args.dry_run {
        // Nobody was certified for it. Where it stays, it opens nothing.
        let _ = key::remove(&home, id);
    }
    let answer = answer?;
    reach.output.answer(&answer, || one(&answer, reach.output.look))?;
    if args.dry_run {
        note("a trial: nothing was kept");
    } else if answer.get("first") == Some(&Json::Bool(true)) {
        note(&format!(
            "from now on everybody names themself: `--user \"{}\"`, or ENTENTE_USER. What the office signed before stays proved",
            args.name
        ));
    }
    Ok(Done::Well)
}

fn passphrase(reach: &Reach, file: Option<&Path>) -> Result<Done, Failure> {
    let home = reach.home()?;
    let node = reach.node()?;
    let (name, id) = node.myself()?;
    let old = node.my_passphrase()?;
    let new = new_passphrase(&name, file)?;
    key::reseal(&home, id, (&old, &new), WORK_FACTOR).map_err(|e| fault(&e))?;
    let answer = json!({ "id": id.to_string(), "name": name, "sealed": true });
    reach.output.answer(&answer, || {
        "The key is sealed to the new passphrase. Copies of the file that were made before still open with the old one.\n"
            .to_owned()
    })?;
    Ok(Done::Well)
}

/// The permissions, as a table and as the rules that make it.
fn roles(reach: &Reach) -> Result<Done, Failure> {
    let rules = Roles::built_in().map_err(|e| Fault::setup("roles", e))?;
    let acts: Vec<Json> = Act::ALL
        .iter()
        .map(|act| json!({ "id": act.name(), "act": act.name(), "roles": rules.roles_for(*act) }))
        .collect();
    reach.output.answer(&json!(acts), || {
        let names = Role::ALL.map(Role::name);
        let headings: Vec<&str> = std::iter::once("act").chain(names).collect();
        let mut table = Table::new(&headings);
        for act in Act::ALL {
            let permitted = rules.roles_for(act);
            let cell = |role: &&str| if permitted.contains(role) { "yes" } else { "" };
            table.row(std::iter::once(act.name()).chain(names.iter().map(cell)));
        }
        format!("{}\n{ROLES}", table.render(reach.output.look))
    })?;
    Ok(Done::Well)
}
