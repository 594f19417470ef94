//! Every call to the store fails once, in every way, while two organisations import, review, release, send and receive.
//!
//! Whatever call it is: nothing that did not count is reported as done, the node makes no further call, and the store
//! that is opened afterwards is consistent, holds all that was acknowledged, and takes up the work where it stopped.

use entente_node::{
    agreements,
    call::{self, Call, Selection},
    clock::{Clock, SystemClock},
    config::{Config, Home, RawConfig},
    identity::Keys,
    ingest::{child::Program, import::ImportOptions},
    init::{self, Init},
    node::Node,
    receive,
    records::gate::{RELEASE_LOG, Review},
    seal::keyring::{Keyring, Partition},
    secret::{
        recovery::{self, Passphrase},
        unlock::Unlock,
    },
    share::{feeds, outbox},
    store::{
        Append, Ledger, Vault,
        fjall::FjallLedger,
        layout::{self, Table},
        memory::{MemoryLedger, MemoryVault},
        open,
    },
};
use entente_tests::durability::{
    Outcome,
    faulty::{Fault, FaultyLedger, FaultyVault, Plan},
    knob,
};
use entente_tests::{agreement_text, entente, items_clause, recovery_passphrase};
use serde_json::Value;
use std::{fs, path::Path, sync::Arc};

/// An organisation: its home on disk, and the rows with which each story begins.
struct Org {
    home: Home,
    unlock: Unlock,
    rows: Append,
}

impl Org {
    fn new(folder: &Path, handle: &str) -> Outcome<Self> {
        let home = Home::at(folder.join(handle));
        let unlock = Unlock::IdentityFile(folder.join(format!("{handle}.key")));
        let config = RawConfig::new(handle.to_uppercase(), handle, "127.0.0.1:0");
        let recovery = Passphrase::File(recovery_passphrase(folder));
        init::init(&home, &Init { config, unlock: &unlock, recovery: &recovery, work_factor: 1 }, &SystemClock)?;
        Ok(Self { home, unlock, rows: Append::default() })
    }
    fn node(&self) -> Outcome<Node> {
        Ok(reading(Node::open(self.home.clone(), &self.unlock, Arc::new(SystemClock))?))
    }
    /// Reads the rows of the closed store.
    fn settle(&mut self) -> Outcome {
        let [ledger, head, ..] = open::parts(&self.home.store());
        let ledger = FjallLedger::open(&ledger, &head)?;
        self.rows.puts = ledger.scan(b"", None, 10_000)?;
        Ok(())
    }
    /// Engines in memory that hold the beginning.
    fn engines(&self) -> Outcome<Engines> {
        let ledger = MemoryLedger::new(layout::immutable);
        ledger.append(self.rows.clone())?;
        Ok(Engines { ledger: Arc::new(ledger), vault: Arc::new(MemoryVault::default()) })
    }
    /// A node over engines, with a plan between.
    fn over(&self, engines: &Engines, plan: &Arc<Plan>) -> Outcome<Node> {
        let identity = self.unlock.open(&self.home.keys())?;
        let recipient = recovery::recipient(&self.home.keys())?;
        let keyring = Arc::new(Keyring::open(&self.home.keys(), &identity, &recipient)?);
        let ledger = FaultyLedger { inner: Arc::clone(&engines.ledger), plan: Arc::clone(plan) };
        let vault = FaultyVault { inner: Arc::clone(&engines.vault), plan: Arc::clone(plan) };
        let holdings = open::open_over(Arc::new(ledger), Arc::new(vault), keyring)?;
        let config = Config::load(&self.home)?;
        let keys = Keys::open(&self.home, &config, &identity, SystemClock.now())?;
        Ok(reading(Node::over(self.home.clone(), config, Arc::new(SystemClock), keys, Arc::new(holdings))?))
    }
}

/// What outlives a node.
struct Engines {
    ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
}

/// This test is not the program, so its nodes are told where the program is that reads files for them.
fn reading(mut node: Node) -> Node {
    node.reader = Program::at(entente());
    node
}

fn ask(node: &Node, call: &Call) -> Outcome<Value> {
    Ok(call::answer(node, call, &mut |_| {})?)
}

const ROWS: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
    custody,recovered_from,collector,condition,notes,photos\n\
    A-1,C-1,2026-02-03,pistol,Works,M1,9x19,SN 00001,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,Quist,good,,scan.pdf\n\
    A-2,C-1,2026-02-03,rifle,Works,M2,7.62x39,SN 00002,,1991,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,Quist,good,,\n";

struct World {
    folder: tempfile::TempDir,
    a: Org,
    b: Org,
}

impl World {
    /// Two organisations with an agreement in force, closed.
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let (mut a, mut b) = (Org::new(folder.path(), "a")?, Org::new(folder.path(), "b")?);
        {
            let (one, two) = (a.node()?, b.node()?);
            for (node, other, file) in [(&one, &two, "b.card"), (&two, &one, "a.card")] {
                let card = ask(other, &Call::Card)?;
                fs::write(path(file), card["card"].as_str().ok_or("a card")?)?;
                let words = card["words"].as_str().ok_or("words")?.to_owned();
                ask(node, &Call::PartnerAdd { path: path(file), words })?;
            }
            let clause = items_clause(&["number", "eval", "type", "serial-prefix"]);
            fs::write(path("text.toml"), agreement_text(["a", "b"], "version = 1", &clause))?;
            ask(&one, &Call::AgreementSign { path: path("text.toml"), output: path("one") })?;
            ask(&two, &Call::AgreementSign { path: path("one"), output: path("two") })?;
            ask(&one, &Call::AgreementAdd(path("two")))?;
            // The complete form, as nodes that meet show it to each other.
            let rules = one.rules();
            let signed =
                rules.agreements.iter().find_map(|held| held.signed.as_ref()).ok_or("no agreement in force")?;
            agreements::receive(&two, one.keys.org, &signed.to_bytes()?)?;
        }
        fs::create_dir(path("files"))?;
        fs::write(path("files/scan.pdf"), [b"%PDF-1.4\n".as_slice(), &[7; 70_000]].concat())?;
        fs::write(path("rows.csv"), ROWS)?;
        a.settle()?;
        b.settle()?;
        Ok(Self { folder, a, b })
    }
}

/// What was acknowledged, to whom it may concern.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Acknowledged {
    records: u64,
    reviewed: bool,
    released: bool,
    received: u64,
    countersigned: u64,
}

/// The work, from wherever it stands, to its end. What it noted before it failed was acknowledged.
fn work(world: &World, a: &Node, b: &Node, noted: &mut Acknowledged) -> Outcome {
    let path = |name: &str| world.folder.path().join(name);
    let options = ImportOptions { path: path("rows.csv"), map: None, attachments: Some(path("files")), dry_run: false };
    let report = ask(a, &Call::Import(options))?;
    noted.records = report["added"].as_u64().unwrap_or_default();
    ask(a, &Call::Review { records: Selection::AllDrafts, state: Review::Reviewed })?;
    noted.reviewed = true;
    ask(a, &Call::Release(Selection::AllReviewed))?;
    noted.released = true;
    exchange(a, b, noted)
}

/// Sends until the receiver has everything.
fn exchange(a: &Node, b: &Node, noted: &mut Acknowledged) -> Outcome {
    let (agreement, digest, _) = feeds::agreements_with(a, b.keys.org).pop().ok_or("an agreement")?;
    let feed = feeds::outgoing(a, b.keys.org, agreement);
    loop {
        let (sent, held) = (feeds::out_row(a, &feed, digest)?, feeds::in_row(b, &feed)?);
        let run =
            if held.length < sent.length { outbox::again(a, &feed, held.length)? } else { outbox::step(a, &feed)?.run };
        let receipt = match &run {
            Some(run) => receive::run(b, &feed, &run.message)?.receipt,
            // Told again when both meet.
            None => held.receipt.clone(),
        };
        noted.received = feeds::in_row(b, &feed)?.length.max(noted.received);
        if let Some(receipt) = receipt {
            noted.countersigned = receive::receipt(a, &feed, &receipt, receive::Countersigned::Now)?;
        }
        if run.is_none() {
            return Ok(());
        }
    }
}

/// Where both stores stand.
fn stands(a: &Node, b: &Node) -> Outcome<Acknowledged> {
    let (agreement, digest, _) = feeds::agreements_with(a, b.keys.org).pop().ok_or("an agreement")?;
    let feed = feeds::outgoing(a, b.keys.org, agreement);
    let records = a.holdings.count(Partition::Own, Table::Record, b"")?;
    let log = a.holdings.count(Partition::Own, Table::RecordList, RELEASE_LOG)?;
    let drafts = entente_node::records::gate::in_state(a, |row| row.review == Review::Draft)?;
    Ok(Acknowledged {
        records,
        reviewed: records > 0 && drafts.is_empty(),
        released: records > 0 && log == records,
        received: feeds::in_row(b, &feed)?.length,
        countersigned: feeds::out_row(a, &feed, digest)?.countersigned.map_or(0, |held| held.length),
    })
}

fn check_clean(node: &Node) -> Outcome {
    let found = entente_node::check::check(node, false, &mut |_| {})?;
    let wrong: Vec<&Value> = found.as_array().into_iter().flatten().filter(|entry| entry["ok"] != true).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("the store is not whole: {wrong:?}").into()) }
}

/// Who is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Sender,
    Receiver,
}

/// One fault, and everything that must hold after it.
fn hit(world: &World, side: Side, at: u64, fault: Fault, golden: &Acknowledged) -> Outcome {
    let (of_a, of_b) = (world.a.engines()?, world.b.engines()?);
    let plans = [Plan::none(), Plan::none(), Plan::new(at, fault)];
    let (plan_a, plan_b) = if side == Side::Sender { (&plans[2], &plans[1]) } else { (&plans[0], &plans[2]) };
    let mut noted = Acknowledged::default();
    let (Ok(a), Ok(b)) = (world.a.over(&of_a, plan_a), world.b.over(&of_b, plan_b)) else {
        // The fault struck while the node was being opened: it does not come up, and has promised nothing.
        return after(world, &of_a, &of_b, &noted, golden);
    };
    let worked = work(world, &a, &b, &mut noted);
    let plan = &plans[2];
    if plan.has_fired() && fault != Fault::Last {
        if worked.is_ok() {
            return Err("the call failed, and the work was reported as done".into());
        }
        let hit = if side == Side::Sender { &a } else { &b };
        if hit.holdings.failed().is_none() {
            return Err("the store failed, and the node does not know".into());
        }
        // What a person or partner asks now is refused, and no call reaches the engines.
        if ask(hit, &Call::Status).is_ok()
            || ask(hit, &Call::Review { records: Selection::AllDrafts, state: Review::Verified }).is_ok()
        {
            return Err("a failed node answered".into());
        }
        if plan.late() > 0 {
            return Err(format!("{} calls were made after one had failed", plan.late()).into());
        }
    }
    drop((a, b));
    after(world, &of_a, &of_b, &noted, golden)
}

fn after(world: &World, of_a: &Engines, of_b: &Engines, noted: &Acknowledged, golden: &Acknowledged) -> Outcome {
    let (a, b) = (world.a.over(of_a, &Plan::none())?, world.b.over(of_b, &Plan::none())?);
    check_clean(&a)?;
    check_clean(&b)?;
    let stand = stands(&a, &b)?;
    let kept = stand.records >= noted.records
        && (stand.reviewed || !noted.reviewed)
        && (stand.released || !noted.released)
        && stand.received >= noted.received
        && stand.countersigned >= noted.countersigned;
    if !kept {
        return Err(format!("acknowledged: {noted:?}, held: {stand:?}").into());
    }
    work(world, &a, &b, &mut Acknowledged::default())?;
    check_clean(&a)?;
    check_clean(&b)?;
    let end = stands(&a, &b)?;
    if end == *golden { Ok(()) } else { Err(format!("the work ended at {end:?} instead of {golden:?}").into()) }
}

/// Story: the node asks its engines some hundred times; each of those calls fails once. Before the store kept its own
/// failure, callers that logged an error and went on (a file that could not be kept, a card that could not be noted)
/// left a node running on a store that had failed.
#[test]
fn every_call_fails_once_in_every_way() -> Outcome {
    let world = World::new()?;
    let (of_a, of_b) = (world.a.engines()?, world.b.engines()?);
    let (plan_a, plan_b) = (Plan::none(), Plan::none());
    let (a, b) = (world.a.over(&of_a, &plan_a)?, world.b.over(&of_b, &plan_b)?);
    work(&world, &a, &b, &mut Acknowledged::default())?;
    check_clean(&a)?;
    check_clean(&b)?;
    let golden = stands(&a, &b)?;
    assert!(golden.released && golden.received > 0 && golden.countersigned == golden.received, "{golden:?}");
    let begun = std::time::Instant::now();
    // The short form takes every call that writes, and of those that read one in so many.
    let every = knob("ENTENTE_FAULT_READS", 8);
    let mut cases = Vec::new();
    for (side, plan) in [(Side::Sender, &plan_a), (Side::Receiver, &plan_b)] {
        let writes = plan.writes();
        for at in 0..plan.calls() {
            if writes.contains(&at) {
                cases.extend([Fault::Undone, Fault::Done, Fault::Last].map(|fault| (side, at, fault)));
            } else if at % every == 0 {
                cases.push((side, at, Fault::Undone));
            }
        }
    }
    let mut broken = Vec::new();
    for (side, at, fault) in &cases {
        if let Err(error) = hit(&world, *side, *at, *fault, &golden) {
            broken.push(format!("{side:?}, call {at}, {fault:?}: {error}"));
        }
    }
    let (calls, seconds) = (plan_a.calls() + plan_b.calls(), begun.elapsed().as_secs_f64());
    println!("faults: {} of {calls} calls, in {} ways; {} broken, {seconds:.1} s", cases.len(), 3, broken.len());
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}
