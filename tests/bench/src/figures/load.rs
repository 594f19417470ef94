//! `load-streams` and `load-slow`: what a node takes, and how its other partners fare, while many hold on to it.
//!
//! The node under load is a process of its own, and so is the honest partner whose releases are timed, idle first and
//! then under the load, in one run. The clients that make the load are threads of this program.

use super::Group;
use crate::{
    bench::Bench,
    input::{self, Format},
    measure::{Figure, Goal, ms, p99},
    node::{Home, Running},
    process,
};
use anyhow::{Context, Result, anyhow};
use entente_node::{call::Selection, config, identity};
use entente_protocol::identity::Card;
use entente_tests::load::{Fallible, Load, Member, Slow, Stranger, Streams};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Many streams of partners.
pub const STREAMS: Group = Group {
    name: "load-streams",
    figures: &["load-streams-memory", "load-streams-p99"],
    about: "10,000 streams over 100 connections of partners who mean no good",
    measure: streams,
};

/// Many slow connections, of partners and of strangers.
pub const SLOW: Group = Group {
    name: "load-slow",
    figures: &["load-slow-memory", "load-slow-p99"],
    about: "1,000 slow connections of partners and of strangers without a certificate",
    measure: slow,
};

const MEMORY_MB_MAX: f64 = 512.0;
/// Others' p99 under load, over that of the same node idle.
const P99_MAX: f64 = 2.0;
/// Between two releases, so that they meet every moment of a load that comes and goes within half a minute.
const PAUSE: Duration = Duration::from_millis(60);
/// A load that the node does not take as a whole is measured as it stands by then.
const SETTLES: Duration = Duration::from_secs(15);
/// Streams that each partner wants, lanes included: as many as the node's settings give.
const STREAMS_EACH: u64 = 100;
/// Addresses from which strangers come.
const ADDRESSES: u8 = 8;

/// A node with partners that will turn on it, and one that will not.
struct World {
    node: Running,
    partner: Running,
    address: SocketAddr,
    card: Card,
    members: Vec<Member>,
    /// Releases so far.
    released: u64,
    _folder: tempfile::TempDir,
}

fn said<T>(result: Fallible<T>) -> Result<T> {
    result.map_err(|error| anyhow!("{error}"))
}

impl World {
    fn new(bench: &Bench, members: u64) -> Result<Self> {
        let folder = bench.folder("load")?;
        let pair = bench.pair(folder.path())?;
        // Once idle, once under load.
        let rows = 2 * bench.sizes.commits;
        let (file, map, _) = bench.table(folder.path(), Format::Csv, rows)?;
        pair.a.import(&file, &map, None, rows)?;
        pair.a.pass(false)?;
        let members: Vec<Member> =
            (0..members).map(|n| said(Member::new(&format!("member-{n}")))).collect::<Result<_>>()?;
        members.iter().try_for_each(|member| add(&pair.a, member))?;
        let card = identity::own_card(&config::Home::at(pair.a.path()))?;
        let address = pair.a.listens()?.parse()?;
        let [node, partner] = pair.start()?;
        Ok(Self { node, partner, address, card, members, released: 0, _folder: folder })
    }

    /// Releases so many records one after another; how long each took, in milliseconds.
    fn commits(&mut self, count: u64) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            self.node.release(Selection::Ids(vec![input::number(self.released)]))?;
            self.released += 1;
            times.push(ms(self.partner.kept(self.released)?.duration_since(begun)));
            self.node.countersigned(self.released)?;
            thread::sleep(PAUSE);
        }
        Ok(times)
    }

    /// Idle, then under the load that `begin` makes: memory, and p99 under load over p99 idle.
    fn measure(
        mut self,
        bench: &Bench,
        names: [&'static str; 2],
        begin: impl FnOnce(&Load, &mut Self) -> Result<String>,
    ) -> Result<Vec<Figure>> {
        let commits = bench.sizes.commits;
        let idle = self.commits(commits)?;
        let memory = process::memory(self.node.pid())?.peak;
        let load = said(Load::new())?;
        let asked = begin(&load, &mut self)?;
        let busy = process::processor(self.node.pid())?;
        let begun = Instant::now();
        let loaded = self.commits(commits)?;
        let busy = (process::processor(self.node.pid())? - busy) / begun.elapsed().as_secs_f64();
        let peak = process::memory(self.node.pid())?.peak;
        let counts = &load.counts;
        let kept =
            [("connections", &counts.connections), ("streams", &counts.streams), ("handshakes", &counts.handshakes)]
                .map(|(what, count)| if count.most() == 0 { String::new() } else { format!("; {what}: {count}") })
                .concat();
        let (before, after) = (p99(&idle), p99(&loaded));
        let mb = |bytes: u64| bytes as f64 / 1e6;
        Ok(vec![
            Figure::new(names[0], "MB", vec![mb(peak)]).goal(Goal::AtMost(MEMORY_MB_MAX)).note(format!(
                "peak resident memory of the node under load; {:.0} before the load began; {asked}{kept}",
                mb(memory)
            )),
            Figure::new(names[1], "times", vec![after / before]).goal(Goal::AtMost(P99_MAX)).note(format!(
                "{commits} releases idle and {commits} under the load, from the call to the partner's durable append: \
                 p99 {before:.1} ms, then {after:.1} ms; median {:.1} ms, then {:.1} ms; the node used {busy:.2} of a \
                 processor under the load",
                crate::measure::median(&idle),
                crate::measure::median(&loaded),
            )),
        ])
    }
}

/// The home adds a partner, as its people do after they heard the words.
fn add(home: &Home, member: &Member) -> Result<()> {
    let card = home.beside("member.card");
    fs::write(&card, member.card.to_armour())?;
    let words = member.card.words().to_string();
    home.ok(&["partner".as_ref(), "add".as_ref(), card.as_os_str(), "--confirm".as_ref(), words.as_ref()])?;
    Ok(())
}

fn streams(bench: &Bench) -> Result<Vec<Figure>> {
    let partners = bench.sizes.load_partners;
    let world = World::new(bench, partners)?;
    world.measure(bench, ["load-streams-memory", "load-streams-p99"], |load, world| {
        for member in world.members.drain(..) {
            let client =
                Streams { member, node: world.card.clone(), address: world.address, streams: STREAMS_EACH as usize };
            load.add(client.work(Arc::clone(&load.counts)));
        }
        let wanted = partners * STREAMS_EACH;
        load.settle(SETTLES, |counts| counts.streams.held() >= wanted);
        Ok(format!("{wanted} streams over {partners} connections, each of another partner, were wanted at once"))
    })
}

fn slow(bench: &Bench) -> Result<Vec<Figure>> {
    let all = bench.sizes.load_slow;
    // A tenth are partners, a tenth one partner again and again, the rest strangers.
    let (partners, strangers) = (all / 10, all - 2 * (all / 10));
    let world = World::new(bench, partners)?;
    world.measure(bench, ["load-slow-memory", "load-slow-p99"], |load, world| {
        let mut members = world.members.drain(..).map(Arc::new).enumerate();
        let slow = |member: &Arc<Member>, way| Slow {
            member: Arc::clone(member),
            node: world.card.clone(),
            address: world.address,
            way,
        };
        let (_, greedy) = members.next().context("nobody is slow")?;
        for _ in 0..=partners {
            load.add(slow(&greedy, 2).work(Arc::clone(&load.counts)));
        }
        for (way, member) in members {
            load.add(slow(&member, way).work(Arc::clone(&load.counts)));
        }
        for n in 0..strangers {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (n % u64::from(ADDRESSES)) as u8));
            // Every second one at each address.
            let byte_by_byte = (n / u64::from(ADDRESSES)).is_multiple_of(2);
            let stranger = Stranger { from, node: world.address, byte_by_byte };
            load.add(stranger.work(Arc::clone(&load.counts.handshakes)));
        }
        load.settle(SETTLES, |counts| counts.connections.held() + counts.handshakes.held() >= all);
        Ok(format!(
            "{all} connections were wanted at once: {partners} of a partner each, {partners} more of one of them, and \
             {strangers} of strangers from {ADDRESSES} addresses"
        ))
    })
}
