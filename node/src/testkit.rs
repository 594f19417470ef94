//! Homes and nodes for tests inside this crate: real stores in temporary folders, a clock that the test moves, and two
//! conversations that speak to each other without a network.

use crate::{
    call::{self, Call, Selection},
    clock::{Clock, ManualClock},
    config::{Home, RawConfig},
    error::Fault,
    exchange::{Conversation, ExchangeFault},
    init::{self, Init},
    node::Node,
    partners,
    records::{
        gate::{self, Review},
        keep::{self, New},
    },
    seal::keyring::Partition,
    secret::{
        durable::{self, Existing},
        recovery::Passphrase,
        unlock::Unlock,
    },
    share::files::{self, FileRow},
};
use entente_protocol::{
    id::RecordId,
    identity::UnconfirmedCard,
    record::{Draft, HandlingFloor, Reference, kind::Kind},
    session::{Role, Session},
    time::UnixMillis,
    value::Value,
};
use serde_json::Value as Json;
use std::{collections::VecDeque, fs, path::Path, sync::Arc};

/// Settings of a home that nobody dials.
pub fn settings(handle: &str) -> RawConfig {
    RawConfig::new(handle.to_uppercase(), handle, "127.0.0.1:4433")
}

fn unlock(folder: &Path, handle: &str) -> Unlock {
    Unlock::IdentityFile(folder.join(format!("{handle}.key")))
}

/// Where the passphrase of a home's recovery file lies.
pub fn recovery(folder: &Path, handle: &str) -> Passphrase {
    Passphrase::File(folder.join(format!("{handle}.recovery")))
}

/// Makes a home below a folder, unlocked by an identity file beside it.
pub fn init(folder: &Path, handle: &str, now: UnixMillis) -> Result<Home, Fault> {
    let home = Home::at(folder.join(handle));
    let (unlock, recovery) = (unlock(folder, handle), recovery(folder, handle));
    if let Passphrase::File(path) = &recovery {
        durable::write(path, b"six random words for the safe\n", Existing::Replace)
            .map_err(|e| Fault::setup("home", e))?;
    }
    let how = Init { config: settings(handle), unlock: &unlock, recovery: &recovery, work_factor: 2 };
    init::init(&home, &how, &ManualClock::at(now))?;
    Ok(home)
}

/// Opens a home.
pub fn open(folder: &Path, handle: &str, clock: Arc<ManualClock>) -> Result<Node, Fault> {
    Node::open(Home::at(folder.join(handle)), &unlock(folder, handle), clock)
}

/// Makes and opens a home.
pub fn node(folder: &Path, handle: &str, clock: &Arc<ManualClock>) -> Result<Node, Fault> {
    init(folder, handle, clock.now())?;
    open(folder, handle, Arc::clone(clock))
}

/// Two organisations compare their words.
pub fn pair(a: &Node, b: &Node) -> Result<(), Fault> {
    for (here, there) in [(a, b), (b, a)] {
        let card = UnconfirmedCard::from_bytes(there.keys.card.bytes()).map_err(|e| Fault::input("card", e))?;
        partners::add(here, card, &there.keys.card.words().to_string())?;
        here.reload()?;
    }
    Ok(())
}

/// One call.
pub fn ask(node: &Node, call: &Call) -> Result<Json, Fault> {
    call::answer(node, call, &mut |_| {})
}

/// An agreement between `a` and `b` that lets every item go from `a` to `b`.
pub fn agreement(until: &str) -> String {
    format!(
        r#"
language = 1
title = "Every item"
version = 1
basis = {{ text = "letter" }}
purposes = ["tracing"]
from = "2026-01-01"
until = "{until}"
notice-days = 0
[[party]]
handle = "a"
name = "A"
[[party]]
handle = "b"
name = "B"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "serial", "serial-prefix", "serial-state"]
"#
    )
}

/// The same agreement, with copies of photographs.
pub fn agreement_with_files(until: &str) -> String {
    format!(
        r#"{}[[clause]]
name = "photographs"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
when = 'resource.role == "stripped"'
files = ["stripped"]
disclose.attachment = ["number", "eval", "of", "role", "media", "content"]
"#,
        agreement(until)
    )
}

/// Keeps a file of a record of this node, and lets it go. Returns the record of the file and its row.
pub fn file(
    node: &Node,
    of: RecordId,
    number: &str,
    content: &[u8],
) -> Result<(RecordId, FileRow), Box<dyn std::error::Error>> {
    let row = files::put(node, Partition::Own, &mut &*content)?;
    Ok((record_of_file(node, of, number, &row)?, row))
}

/// Keeps a record of a file of this row, whether there is such a file or not, and lets it go.
pub fn record_of_file(
    node: &Node,
    of: RecordId,
    number: &str,
    row: &FileRow,
) -> Result<RecordId, Box<dyn std::error::Error>> {
    let line = keep::own(node, of)?.header()?.header().line;
    let mut draft = Draft::new(Kind::Attachment, node.keys.org, keep::new_line()?, HandlingFloor::default());
    let fields = [
        ("number", Value::text(number)),
        ("eval", Value::map([])),
        ("of", Reference { originator: node.keys.org, line }.to_value()),
        ("role", Value::text("stripped")),
        ("media", Value::text("image/jpeg")),
        ("content", row.content().to_value()),
    ];
    for (name, value) in fields {
        draft.set(name, value)?;
    }
    let record = keep::commit(draft)?;
    let id = record.id();
    let mut txn = node.holdings.begin();
    files::keep(&mut txn, Partition::Own, row)?;
    keep::add(node, &mut txn, vec![New { record, amends: false, import: None }])?;
    txn.commit()?;
    gate::review(node, &[id], Review::Reviewed)?;
    gate::release(node, &[id])?;
    Ok(id)
}

/// Both sign by file.
pub fn agree(folder: &Path, a: &Node, b: &Node, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (draft, one, two) = (folder.join("draft.toml"), folder.join("one"), folder.join("two"));
    fs::write(&draft, text)?;
    // Nothing is written over what an agreement before this one left.
    for left in [&one, &two] {
        let _ = fs::remove_file(left);
    }
    ask(a, &Call::AgreementSign { path: draft, output: one.clone() })?;
    ask(b, &Call::AgreementSign { path: one, output: two.clone() })?;
    ask(a, &Call::AgreementAdd(two))?;
    Ok(())
}

/// Imports an item of this number and lets it go.
pub fn release(folder: &Path, node: &Node, number: &str) -> Result<(), Box<dyn std::error::Error>> {
    let table = folder.join(format!("{number}.csv"));
    let header = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
                  custody,recovered_from,collector,condition,notes,photos\n";
    let row =
        "C-1,2026-02-03,pistol,Works,M1,9x19,SN 1,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,serviceable,,";
    fs::write(&table, format!("{header}{number},{row}\n"))?;
    let options = crate::ingest::import::ImportOptions { path: table, map: None, attachments: None, dry_run: false };
    ask(node, &Call::Import(options))?;
    ask(node, &Call::Review { records: Selection::Ids(vec![number.to_owned()]), state: Review::Reviewed })?;
    ask(node, &Call::Release(Selection::Ids(vec![number.to_owned()])))?;
    Ok(())
}

/// One session between two nodes, until neither has anything more to say. Each frame is answered before the next.
pub fn exchange(a: &Node, b: &Node) -> Result<(), ExchangeFault> {
    Meeting::of(a, b)?.settle()
}

/// A session between two nodes that goes on.
pub struct Meeting<'a> {
    /// Who speaks, what was said, and the session.
    pub sides: Vec<(&'a Node, Conversation, Session)>,
}

impl<'a> Meeting<'a> {
    /// Begins one.
    pub fn of(a: &'a Node, b: &'a Node) -> Result<Self, ExchangeFault> {
        let sides = [(a, b, Role::Dialer), (b, a, Role::Acceptor)].map(|(own, other, role)| {
            Conversation::open(own, other.keys.org, role).map(|(talk, session)| (own, talk, session))
        });
        Ok(Self { sides: sides.into_iter().collect::<Result<Vec<_>, _>>()? })
    }
    /// Until neither has anything more to say.
    pub fn settle(&mut self) -> Result<(), ExchangeFault> {
        let mut frames = VecDeque::new();
        loop {
            let mut more = false;
            for (place, (node, talk, session)) in self.sides.iter_mut().enumerate() {
                while let Some(event) = session.poll_event() {
                    talk.event(node, session, event)?;
                }
                more |= talk.pump(node, session)?;
                while let Some(frame) = session.poll_frame() {
                    frames.push_back((1 - place, frame));
                }
            }
            match frames.pop_front() {
                Some((to, (lane, content))) => {
                    if let Some((node, _, session)) = self.sides.get_mut(to) {
                        session.handle_frame(lane, &content, node.clock.now())?;
                    }
                }
                None if more => {}
                None => return Ok(()),
            }
        }
    }
}

/// Evidence numbers that a node received and that were not withdrawn.
pub fn received(node: &Node) -> Result<Vec<String>, Fault> {
    let query = crate::records::search::Query { own: Some(false), ..Default::default() };
    let found = ask(node, &Call::Search(query))?;
    let rows = found.get("records").or(Some(&found)).and_then(Json::as_array).cloned().unwrap_or_default();
    let held = rows.iter().filter(|r| r.get("state").and_then(Json::as_str) != Some("withdrawn"));
    Ok(held.filter_map(|r| r.get("number").and_then(Json::as_str).map(str::to_owned)).collect())
}
