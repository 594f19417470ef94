//! Bad networks between real nodes: lines that lose, double and reorder, cuts in one direction, a change of address, a
//! thin line, and links that go down between network namespaces.
//!
//! The long form is `tests/long.sh networks`. A story never judges by the clock: what arrived, in which order, and how
//! many bytes the relay let through say whether a sync went on where it was.

use entente_tests::{
    Agreed, Chance, Home, Row, World,
    durability::knob,
    ended,
    relay::{AWAY, Line, Relay, TOWARDS},
    until, within,
};
use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

type Outcome = Result<(), Box<dyn Error>>;

const CLAUSES: &str = r#"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "make-country", "model", "make", "serial", "serial-prefix", "serial-state"]
[[clause]]
name = "files"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
files = ["original"]
personal = [{ kind = "attachment", slot = "author", purpose = "tracing", retention-days = 30 }]
disclose.attachment = ["number", "eval", "of", "role", "media", "content", "taken", "place-point", "author", "camera"]
[[clause]]
name = "back"
from = "b"
to = ["a"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "make-country"]
"#;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Longer than a connection lives in silence, and than it takes to dial anew.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what takes seconds, and leaves the machine to the nodes meanwhile.
fn slowly(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    within(PATIENCE, what, || {
        std::thread::sleep(Duration::from_millis(200));
        holds()
    })
}

fn seed() -> u64 {
    knob("ENTENTE_SEED", 1)
}

/// Two partners, of whom only `a` can dial, through a relay.
struct Pair {
    world: World,
    relay: Relay,
    a: Home,
    b: Home,
    agreed: Agreed,
}

impl Pair {
    fn new() -> Result<Self, Box<dyn Error>> {
        let (world, []) = World::of(seed(), []);
        let relay = Relay::open(world.seed)?;
        let through = relay.address.to_string();
        // Nobody answers at the address of the dialler, as behind a gateway.
        let a = Home::reached_at(world.folder(), "a", "127.0.0.1:0", Some("127.0.0.1:9"));
        let b = Home::reached_at(world.folder(), "b", "127.0.0.1:0", Some(&through));
        relay.leads_to(b.address());
        a.pair(&b);
        let agreed = a.agree(&b, CLAUSES);
        Ok(Self { world, relay, a, b, agreed })
    }

    fn starts(&mut self) {
        self.b.start();
        self.a.start();
        until("the two are connected", || self.b.partner(&self.a)["connected"] == true);
    }

    /// Imports rows and releases them, one call of `release` for so many.
    fn releases(&self, series: &str, count: u32, at_once: usize) {
        let rows = self.world.rows(series, count);
        self.a.import(&format!("{series}.csv"), &Row::table(&rows));
        for part in rows.chunks(at_once) {
            self.a.pass(&part.iter().map(|row| row.number.as_str()).collect::<Vec<_>>());
        }
    }

    /// Imports one row with a file of so many bytes, and releases the file alone. Its content.
    fn releases_file(&self, series: &str, bytes: u64) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut chance = Chance::new(self.world.seed, series);
        let mut content = b"%PDF-1.4\n".to_vec();
        content.extend((0..bytes / 8).flat_map(|_| chance.draw().to_le_bytes()));
        let folder = self.a.path(&format!("{series}-files"));
        fs::create_dir(&folder)?;
        let name = format!("{series}.pdf");
        fs::write(format!("{folder}/{name}"), &content)?;
        let table = Row::table(&self.world.rows(series, 1)).trim_end().to_owned() + &name + "\n";
        let report = self.a.json(&["import", &self.a.file(&format!("{series}.csv"), &table), "--attachments", &folder]);
        assert_eq!((&report["bad_rows"], &report["files"]), (&0.into(), &1.into()), "{report}");
        let found = self.a.json(&["search", "--own", "--kind", "attachment"]);
        let of = found.as_array().into_iter().flatten().filter(|r| r["state"] == "draft");
        let ids: Vec<&str> = of.filter_map(|record| record["id"].as_str()).collect();
        assert_eq!(ids.len(), 1, "{found}");
        self.a.pass(&ids);
        Ok(content)
    }

    /// Bytes that came through to `b`.
    fn bytes(&self) -> u64 {
        self.relay.passed()[TOWARDS].bytes
    }

    fn arrived(&self, count: u64) -> bool {
        self.b.feed(&self.a)["received"] == count
    }

    fn has_files(&self) -> bool {
        self.b.json(&["status"])["files_waiting"] == 0
    }

    /// Everything that was released is held once, was sent once, and is acknowledged.
    fn converged(&self, count: u64) {
        slowly("every record arrives", || self.arrived(count));
        slowly("every file arrives", || self.has_files());
        until("every receipt arrives", || self.a.feed(&self.b)["acknowledged"] == count);
        let held = self.b.received();
        assert_eq!(held.len() as u64, count, "nothing is held twice");
        assert_eq!(self.b.received_ids().len() as u64, count);
        assert_eq!(self.a.feed(&self.b)["sent"], count, "nothing was released twice");
        for home in [&self.a, &self.b] {
            let log = home.log();
            // Where a line falls silent in an opening, the partner cannot be told from it.
            let bad = |line: &str| line.contains("broke the protocol") && !line.contains("in time");
            assert!(!log.contains("refused") && !log.lines().any(bad), "{log}");
        }
    }

    /// The only file that `b` has is this one.
    fn holds(&self, content: &[u8]) -> Outcome {
        let found = self.b.json(&["search", "--received", "--kind", "attachment"]);
        let ids: Vec<&str> = found.as_array().into_iter().flatten().filter_map(|r| r["id"].as_str()).collect();
        let [id] = ids[..] else { return Err(format!("one file: {found}").into()) };
        let path = self.b.path("out.pdf");
        assert_eq!(self.b.json(&["record", "attachment", id, "-o", &path])["verified"], true);
        assert!(fs::read(path)? == content, "another content");
        Ok(())
    }
}

/// Story: a line loses, doubles and reorders, and is interrupted again and again; records and a file of several chunks
/// pass. In the long form the address changes too, and some cuts outlive the connection.
#[test]
fn a_line_that_loses_doubles_and_reorders_carries_everything_once() -> Outcome {
    let mut pair = Pair::new()?;
    let delay = Duration::from_millis(10);
    let bad = Line { lost: 20, twice: 20, late: 10, delay, jitter: delay / 2, ..Line::default() };
    pair.relay.becomes([bad, bad]);
    pair.starts();
    let file = pair.releases_file("F", 2 * MIB)?;
    let mut chance = Chance::new(pair.world.seed, "moments");
    let rounds = knob("ENTENTE_CUTS", 3);
    for round in 0..rounds {
        let direction = if chance.below(2) == 0 { TOWARDS } else { AWAY };
        let (cut, healed, kind) = (chance.below(2_000), chance.below(1_000), chance.below(6));
        pair.relay.cut(direction, true);
        pair.releases(&format!("L{round}"), 20, 20);
        std::thread::sleep(Duration::from_millis(cut));
        match kind {
            0 if round >= 3 => pair.relay.moves(),
            1 if round >= 3 => {
                slowly("the dead connection is noticed", || pair.a.partner(&pair.b)["connected"] == false);
            }
            _ => {}
        }
        pair.relay.cut(direction, false);
        std::thread::sleep(Duration::from_millis(healed));
    }
    pair.converged(1 + 20 * rounds);
    pair.holds(&file)?;
    let [towards, away] = pair.relay.passed();
    assert!(towards.lost > 0 && away.lost > 0, "the line was good: {towards:?}, {away:?}");
    Ok(())
}

const FILE: u64 = 12 * MIB;

/// Lets a file of `size` bytes go, over a line of `rate` bytes a second, until so many bytes of it passed.
fn halfway(pair: &Pair, rate: u64, size: u64, passed: u64) -> Result<(Vec<u8>, u64), Box<dyn Error>> {
    let line = Line { rate, queue: 64 * KIB, delay: Duration::from_millis(5), ..Line::default() };
    pair.relay.becomes([line, line]);
    pair.releases("R", 200, 200);
    until("the first records arrive", || pair.arrived(200));
    let before = pair.bytes();
    let file = pair.releases_file("F", size)?;
    within(PATIENCE, "most of the file has passed", || pair.bytes() - before > passed);
    Ok((file, before))
}

/// After the interruption: the file is whole, and so many bytes and no more came twice.
fn goes_on(pair: &Pair, file: &[u8], passed: [u64; 2], twice: u64) -> Outcome {
    pair.converged(201 + 20);
    pair.holds(file)?;
    let [before, then] = passed;
    let (first, second) = (then - before, pair.bytes() - then);
    println!("{first} bytes before, {second} after");
    assert!(second < file.len() as u64 - first + twice, "{first} bytes passed before, and {second} after");
    Ok(())
}

/// A chunk that had not come whole, what was under way, the heads of packets, and the handshake of the new session.
const CHUNK: u64 = 3 * MIB;

/// Story: in the middle of a file, the line carries nothing from `a` to `b` any more, and everything from `b` to `a`.
/// The connection dies; records are released meanwhile. The line heals: all goes on where it was.
#[test]
fn a_cut_in_one_direction_heals_and_sync_resumes() -> Outcome {
    let mut pair = Pair::new()?;
    pair.starts();
    let (file, before) = halfway(&pair, 2 * MIB, FILE, 8 * MIB)?;
    pair.relay.cut(TOWARDS, true);
    let then = pair.bytes();
    pair.releases("S", 20, 20);
    slowly("the dead connection is noticed", || pair.b.partner(&pair.a)["connected"] == false);
    assert!(pair.arrived(201), "nothing passes a cut");
    pair.relay.cut(TOWARDS, false);
    goes_on(&pair, &file, [before, then], CHUNK)
}

/// Story: in the middle of a file the dialler gets another address. Nobody is told; both connect anew and go on.
#[test]
fn a_change_of_address_means_reconnect_and_resume() -> Outcome {
    let mut pair = Pair::new()?;
    pair.starts();
    let (file, before) = halfway(&pair, 2 * MIB, FILE, 8 * MIB)?;
    let log = pair.a.log().len();
    pair.relay.moves();
    let then = pair.bytes();
    pair.releases("S", 20, 20);
    goes_on(&pair, &file, [before, then], CHUNK)?;
    pair.a.logs(log, &["a partner is connected"]);
    Ok(())
}

/// Story: the receiver is started again when 21 of 24 MiB of a file have come: it goes on at the last whole segment, 16.
#[test]
fn a_restart_goes_on_at_the_last_whole_segment() -> Outcome {
    let mut pair = Pair::new()?;
    pair.starts();
    let (file, before) = halfway(&pair, 6 * MIB, 24 * MIB, 21 * MIB)?;
    pair.b.stop();
    let then = pair.bytes();
    pair.releases("S", 20, 20);
    pair.b.start();
    goes_on(&pair, &file, [before, then], 5 * MIB + CHUNK)
}

/// Story: 64 kbit/s, 600 ms there and back, 2 % lost. A picture is on its way when records are released, then a receipt
/// and the suspension of another agreement become due: these overtake the records, and the records the picture, of which
/// less is left than there is of records.
#[test]
fn a_thin_line_carries_suspensions_and_receipts_then_records_then_pictures() -> Outcome {
    let mut pair = Pair::new()?;
    let other = pair.a.agree(&pair.b, &CLAUSES.replace("b\"]", "b\"]\nwhen = 'resource.number == \"none\"'"));
    let rows = pair.world.rows("T", 1);
    pair.b.import("T.csv", &Row::table(&rows));
    pair.starts();
    let thin = Line { lost: 20, delay: Duration::from_millis(300), rate: 8_000, queue: 16 * KIB, ..Line::default() };
    pair.relay.becomes([thin, thin]);
    let file = pair.releases_file("F", 90 * KIB)?;
    let feeds = |home: &Home, partner: &Home, id: &str, key: &str| {
        let feeds = home.partner(partner)["feeds"].clone();
        let of = feeds.as_array().into_iter().flatten().find(|feed| feed["id"] == id).cloned();
        of.map(|feed| feed[key].clone()).unwrap_or_default()
    };
    let received = || feeds(&pair.b, &pair.a, &pair.agreed.id, "received").as_u64().unwrap_or_default();
    until("the picture's record arrives", || received() == 1);
    let begun = pair.bytes();
    slowly("the picture is on its way", || pair.bytes() - begun > 20 * KIB);

    let before = pair.bytes();
    let records = knob("ENTENTE_THIN_RECORDS", 110);
    pair.releases("R", u32::try_from(records)?, 40);
    pair.b.pass(&["T-00001"]);
    pair.a.ok(&["agreement", "suspend", &other.id]);
    let mut order: Vec<&str> = Vec::new();
    let came = |what: &'static str, holds: bool, order: &mut Vec<&str>| {
        if holds && !order.contains(&what) {
            println!("{what}: {} bytes", pair.bytes() - before);
            order.push(what);
        }
    };
    within(PATIENCE + Duration::from_secs(records), "everything arrives", || {
        std::thread::sleep(Duration::from_millis(200));
        // Asked in the order in which it must not come, so that what comes between two questions does not excuse it.
        came("picture", pair.has_files(), &mut order);
        came("records", received() == 1 + records, &mut order);
        let suspended = feeds(&pair.b, &pair.a, &other.id, "standing") != "active";
        came("suspension", suspended, &mut order);
        let receipt = feeds(&pair.b, &pair.a, &pair.agreed.id, "acknowledged") == 1;
        came("receipt", receipt, &mut order);
        order.len() == 4
    });
    let mut first: Vec<&str> = order.iter().take(2).copied().collect();
    first.sort_unstable();
    assert_eq!(first, ["receipt", "suspension"], "{order:?}");
    assert_eq!(order.get(2..), Some(&["records", "picture"][..]), "{order:?}");
    assert!(!pair.b.log().contains("did not come"), "a file that waits is not given up: {}", pair.b.log());
    pair.holds(&file)
}

/// A network of its own: a process that waits in it, and goes when the story does.
struct Network {
    holder: Child,
    /// Closed with the story, however it ends: the process then goes by itself.
    _lives: Option<ChildStdin>,
}

impl Network {
    /// Made by this command; none where the machine does not allow it.
    fn new(command: &[&str]) -> Option<Self> {
        let holder = Command::new(command.first()?)
            .args(command.get(1..)?)
            .args(["sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut network = Self { holder: holder.ok()?, _lives: None };
        network._lives = network.holder.stdin.take();
        let mut line = String::new();
        let made = BufReader::new(network.holder.stdout.take()?).read_line(&mut line);
        made.is_ok_and(|read| read > 0).then_some(network)
    }

    /// What runs a command in it.
    fn enter(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        ["nsenter", "-t", &pid, "-U", "-n", "--preserve-credentials"].map(str::to_owned).into()
    }

    /// Runs `ip` or `tc` in it.
    fn run(&self, line: &str) -> bool {
        let enter = self.enter();
        let status = Command::new(&enter[0]).args(&enter[1..]).args(line.split(' ')).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(ended(&mut self.holder));
    }
}

/// Two networks with a cable between them. None where the machine does not allow it.
fn networks() -> Option<[Network; 2]> {
    let left = Network::new(&["unshare", "-Urn"])?;
    let pid = left.holder.id().to_string();
    let right = Network::new(&["nsenter", "-t", &pid, "-U", "--preserve-credentials", "unshare", "-n"])?;
    let made = left.run(&format!("ip link add v0 type veth peer name v0 netns {}", right.holder.id()))
        && left.run("ip addr add 10.77.0.1/24 dev v0")
        && right.run("ip addr add 10.77.0.2/24 dev v0")
        && [&left, &right].iter().all(|network| network.run("ip link set v0 up"));
    made.then_some([left, right])
}

/// Story: two nodes in networks of their own. The link between them goes down and comes up, for moments and for longer
/// than a connection lives; now and then the dialler comes up with another address. Each time, what was released
/// meanwhile arrives.
#[test]
fn nodes_in_namespaces_converge_after_every_partition() -> Outcome {
    let Some([left, right]) = networks() else {
        println!("skipped: partitions between network namespaces: they cannot be made here");
        return Ok(());
    };
    let bad = "root netem delay 30ms 10ms loss 3% duplicate 1% reorder 10%";
    let shaped = [&left, &right].iter().all(|network| network.run(&format!("tc qdisc add dev v0 {bad}")));
    println!("the line is {}", if shaped { bad } else { "good: the kernel has no netem" });
    let (world, []) = World::of(seed(), []);
    let mut a = Home::reached_at(world.folder(), "a", "0.0.0.0:4433", Some("10.77.0.1:4433"));
    let mut b = Home::reached_at(world.folder(), "b", "0.0.0.0:4433", Some("10.77.0.2:4433"));
    a.enters(&left.enter());
    b.enters(&right.enter());
    a.pair(&b);
    let _agreed = a.agree(&b, CLAUSES);
    a.start();
    b.start();
    until("the two are connected", || a.partner(&b)["connected"] == true);

    let mut chance = Chance::new(world.seed, "partitions");
    let rounds = knob("ENTENTE_PARTITIONS", 3);
    let each = 20;
    let numbers: Vec<String> = world.rows("P", u32::try_from(rounds * each)?).into_iter().map(|r| r.number).collect();
    a.import("rows.csv", &Row::table(&world.rows("P", u32::try_from(rounds * each)?)));
    let mut host = 1;
    for round in 0..rounds {
        let side = if chance.below(2) == 0 { &left } else { &right };
        assert!(side.run("ip link set v0 down"));
        let from = usize::try_from(round * each)?;
        let part = numbers.get(from..from + usize::try_from(each)?).ok_or("the rows of a round")?;
        a.pass(&part.iter().map(String::as_str).collect::<Vec<_>>());
        // The second round of each three outlives the connection and changes the address.
        if round % 3 == 1 {
            until("the dead connection is noticed", || a.partner(&b)["connected"] == false);
            let next = 1 + (host - 1 + 2) % 240;
            assert!(left.run(&format!("ip addr del 10.77.0.{host}/24 dev v0")));
            assert!(left.run(&format!("ip addr add 10.77.0.{next}/24 dev v0")));
            host = next;
        } else {
            std::thread::sleep(Duration::from_millis(chance.below(3_000)));
        }
        assert!(b.received().len() < numbers.len());
        assert!(side.run("ip link set v0 up"));
        let took = slowly("what was released meanwhile arrives", || b.feed(&a)["received"] == (round + 1) * each);
        println!("round {round}: {took:?} after the link came up");
    }
    until("every receipt arrives", || a.feed(&b)["acknowledged"] == rounds * each);
    assert_eq!((b.received().len() as u64, b.received_ids().len() as u64), (rounds * each, rounds * each));
    assert_eq!(a.feed(&b)["sent"], rounds * each, "nothing was released twice");
    Ok(())
}
