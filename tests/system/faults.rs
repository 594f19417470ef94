//! Every call to the store fails once, in every way, while two organisations import, review, release, send and receive,
//! fetch a file, suspend each other and go on, and check what they hold.
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
    partners::PartnerState,
    peer::fetch::Sink,
    receive,
    records::gate::{RELEASE_LOG, Review},
    seal::keyring::{Keyring, Partition},
    secret::{
        recovery::{self, Passphrase},
        unlock::Unlock,
    },
    share::{
        feeds,
        fetching::{self, Incoming, Resting, Shared},
        files::{self, Given},
        outbox, wishes,
    },
    store::{
        Append, Ledger, Vault,
        fjall::FjallLedger,
        layout::{self, Table},
        memory::{MemoryLedger, MemoryVault},
        open,
    },
};
use entente_protocol::{attachment::ChunkList, limits::CHUNK_BYTES};
use entente_tests::durability::{
    Outcome,
    faulty::{Fault, FaultyLedger, FaultyVault, Plan},
    knob,
};
use entente_tests::{agreement_text, entente, items_clause, recovery_passphrase};
use serde_json::Value;
use std::{
    fs,
    io::Read,
    path::Path,
    sync::{Arc, Mutex},
};

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

const FILES: &str = r#"
[[clause]]
name = "files"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
files = ["original"]
personal = [{ kind = "attachment", slot = "author", purpose = "tracing", retention-days = 30 }]
disclose.attachment = ["number", "eval", "of", "role", "media", "content", "taken", "place-point", "author", "camera"]
"#;

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
            let clauses = items_clause(&["number", "eval", "type", "serial-prefix"]) + FILES;
            fs::write(path("text.toml"), agreement_text(["a", "b"], "version = 1", &clauses))?;
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
    /// Files that the receiver has.
    files: u64,
    /// Both have suspended the other, and share again.
    resumed: bool,
}

/// The work, from wherever it stands, to its end. What it noted before it failed was acknowledged.
fn work(world: &World, a: &Arc<Node>, b: &Arc<Node>, noted: &mut Acknowledged) -> Outcome {
    let path = |name: &str| world.folder.path().join(name);
    // Where an earlier turn broke off while they were suspended.
    share(a, b, PartnerState::Active)?;
    let options = ImportOptions { path: path("rows.csv"), map: None, attachments: Some(path("files")), dry_run: false };
    let report = ask(a, &Call::Import(options))?;
    noted.records = report["added"].as_u64().unwrap_or_default();
    ask(a, &Call::Review { records: Selection::AllDrafts, state: Review::Reviewed })?;
    noted.reviewed = true;
    ask(a, &Call::Release(Selection::AllReviewed))?;
    noted.released = true;
    exchange(a, b, noted)?;
    fetch(a, b, noted)?;
    share(a, b, PartnerState::Suspended)?;
    exchange(a, b, noted)?;
    share(a, b, PartnerState::Active)?;
    noted.resumed = true;
    exchange(a, b, noted)
}

/// Each says how it stands to the other.
fn share(a: &Node, b: &Node, state: PartnerState) -> Outcome {
    for (node, partner) in [(a, "b"), (b, "a")] {
        if node.book().find(partner)?.1.state != state {
            ask(node, &Call::PartnerState { partner: partner.to_owned(), state })?;
        }
    }
    Ok(())
}

/// Brings every file that the receiver wishes for, as the driver does without a line between.
fn fetch(a: &Node, b: &Arc<Node>, noted: &mut Acknowledged) -> Outcome {
    for wanted in fetching::wanted(b, a.keys.org, &Resting::default())? {
        let mut sink: Shared = Arc::new(Mutex::new(Incoming::new(Arc::clone(b), wanted.clone())));
        let request = sink.lock().map_err(|_| "a sink")?.request().ok_or("a request")?;
        let feed = wanted.file.feed;
        let Given::File(record, _, row) = files::given(a, &feed, request.entry, request.slot)? else {
            return Err("the file is not given".into());
        };
        let list = ChunkList::verify(wanted.content, row.chunks.clone())?;
        let mut content = files::open_at(a, Partition::Own, &row, u64::from(request.from_chunk))?;
        files::note_given(a, &feed, record, request.from_chunk)?;
        for index in request.from_chunk..u32::try_from(list.chunks().len())? {
            let mut chunk = Vec::new();
            (&mut content).take(u64::from(CHUNK_BYTES)).read_to_end(&mut chunk)?;
            list.verify_chunk(index, &chunk)?;
            sink.chunk(index, &chunk)?;
        }
        if !sink.lock().map_err(|_| "a sink")?.finish(&list)? {
            return Err("the file is not what its record states".into());
        }
        noted.files += 1;
    }
    Ok(())
}

/// `check --sweep`: a store that fails under it is a finding, for it reads on where it can.
fn sweep(node: &Node) -> Outcome {
    let found = ask(node, &Call::Check { sweep: true })?;
    let wrong: Vec<&Value> = found.as_array().into_iter().flatten().filter(|entry| entry["ok"] != true).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("the check found {wrong:?}").into()) }
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
    let files = b.holdings.count(Partition::Agreement(agreement), Table::Wanted, &wishes::scope(a.keys.org))?;
    let waiting = fetching::wanted(b, a.keys.org, &Resting::default())?.len() as u64;
    let active = |node: &Node| node.book().iter().all(|(_, partner)| partner.state == PartnerState::Active);
    let drafts = entente_node::records::gate::in_state(a, |row| row.review == Review::Draft)?;
    Ok(Acknowledged {
        records,
        reviewed: records > 0 && drafts.is_empty(),
        released: records > 0 && log == records,
        received: feeds::in_row(b, &feed)?.length,
        countersigned: feeds::out_row(a, &feed, digest)?.countersigned.map_or(0, |held| held.length),
        files: files.saturating_sub(waiting),
        resumed: active(a) && active(b),
    })
}

/// Nothing is wrong, and after a sweep nothing is left over either.
fn check_clean(node: &Node, swept: bool) -> Outcome {
    let found = entente_node::check::check(node, false, &mut |_| {})?;
    let left = found.as_array().into_iter().flatten().filter(|entry| entry["state"] == "unnamed").count();
    if swept && left > 0 {
        return Err(format!("{left} files were not swept").into());
    }
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
    let (Ok(a), Ok(b)) = (world.a.over(&of_a, plan_a).map(Arc::new), world.b.over(&of_b, plan_b).map(Arc::new)) else {
        // The fault struck while the node was being opened: it does not come up, and has promised nothing.
        return after(world, &of_a, &of_b, &noted, golden);
    };
    let mut checking = false;
    let worked = work(world, &a, &b, &mut noted).and_then(|()| {
        checking = !plans[2].has_fired();
        left_over(&a, &b)?;
        sweep(&a).and_then(|()| sweep(&b))
    });
    let plan = &plans[2];
    if plan.has_fired() && fault != Fault::Last {
        if worked.is_ok() {
            return Err("the call failed, and the work was reported as done".into());
        }
        let hit = if side == Side::Sender { &a } else { &b };
        // A check reads on where it can, and says what it could not read.
        if checking && hit.holdings.failed().is_none() {
            drop((a, b));
            return after(world, &of_a, &of_b, &noted, golden);
        }
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

/// What an import that was interrupted leaves in each vault.
fn left_over(a: &Node, b: &Node) -> Outcome {
    for node in [a, b] {
        node.holdings.blob_put(Partition::Own, b"left over", &mut [7; 1_000].as_slice())?;
    }
    Ok(())
}

fn after(world: &World, of_a: &Engines, of_b: &Engines, noted: &Acknowledged, golden: &Acknowledged) -> Outcome {
    let (a, b) = (Arc::new(world.a.over(of_a, &Plan::none())?), Arc::new(world.b.over(of_b, &Plan::none())?));
    check_clean(&a, false)?;
    check_clean(&b, false)?;
    let stand = stands(&a, &b)?;
    let kept = stand.records >= noted.records
        && (stand.reviewed || !noted.reviewed)
        && (stand.released || !noted.released)
        && stand.received >= noted.received
        && stand.countersigned >= noted.countersigned
        && stand.files >= noted.files
        && (stand.resumed || !noted.resumed);
    if !kept {
        return Err(format!("acknowledged: {noted:?}, held: {stand:?}").into());
    }
    work(world, &a, &b, &mut Acknowledged::default())?;
    sweep(&a)?;
    sweep(&b)?;
    check_clean(&a, true)?;
    check_clean(&b, true)?;
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
    let (a, b) = (Arc::new(world.a.over(&of_a, &plan_a)?), Arc::new(world.b.over(&of_b, &plan_b)?));
    work(&world, &a, &b, &mut Acknowledged::default())?;
    left_over(&a, &b)?;
    let worked = [plan_a.calls(), plan_b.calls()];
    sweep(&a)?;
    sweep(&b)?;
    let swept = [plan_a.calls(), plan_b.calls()];
    check_clean(&a, true)?;
    check_clean(&b, true)?;
    let golden = stands(&a, &b)?;
    assert!(golden.released && golden.received > 0 && golden.countersigned == golden.received, "{golden:?}");
    assert!(golden.files > 0 && golden.resumed, "{golden:?}");
    let begun = std::time::Instant::now();
    // The gate takes so many of the calls, others with another seed; the long run takes all.
    let (writes_taken, reads_taken) = (knob("ENTENTE_FAULT_WRITES", 3), knob("ENTENTE_FAULT_READS", 24));
    let seed = knob("ENTENTE_SEED", 1);
    let mut cases = Vec::new();
    for (at_side, (side, plan)) in [(Side::Sender, &plan_a), (Side::Receiver, &plan_b)].into_iter().enumerate() {
        let writes = plan.writes();
        for at in 0..swept[at_side] {
            // A check asks the same of each row: those of its questions are many, and few are taken.
            let reads_taken = if at < worked[at_side] { reads_taken } else { reads_taken * reads_taken };
            if let Ok(place) = writes.binary_search(&at) {
                if (place as u64 + seed).is_multiple_of(writes_taken) {
                    cases.extend([Fault::Undone, Fault::Done, Fault::Last].map(|fault| (side, at, fault)));
                }
            } else if (at + seed).is_multiple_of(reads_taken) {
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
    let (calls, seconds) = (swept[0] + swept[1], begun.elapsed().as_secs_f64());
    let writes = plan_a.writes().len() + plan_b.writes().len();
    println!(
        "faults: {} cases of {calls} calls, {writes} of which write, seed {seed}; {} broken, {seconds:.1} s",
        cases.len(),
        broken.len()
    );
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}
