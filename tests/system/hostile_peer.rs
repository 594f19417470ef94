//! A partner that turned hostile: its certificate is valid, its card is pinned, an agreement is in force, and it says
//! whatever it likes. Real QUIC on the loopback against a running node; an honest partner shares all the while.
//!
//! After each move: the session ended with the code that the table says or went on, nothing was accepted, the node's
//! log names the fault, its memory did not grow by much, and what the honest partner releases still arrives.

mod client;
mod moves;

use client::{At, Done, Hostile};
use entente_protocol::{id::StoreId, session::CloseCode};
use entente_tests::Home;
use moves::{Ends, MOVES, Move};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

/// How much a node may grow over all moves, in KiB.
const GROWTH_KIB_MAX: u64 = 64 << 10;

const HEAD: &str = "language = 1\nversion = 1\nbasis = { text = \"letter\" }\npurposes = [\"tracing\"]\n\
                    from = \"2026-01-01\"\nuntil = \"2036-12-31\"\nnotice-days = 0\n";

fn agreement(title: &str, parties: [&str; 2], fields: &str) -> String {
    let mut text = format!("title = \"{title}\"\n{HEAD}");
    for party in parties {
        let _ = write!(text, "[[party]]\nhandle = \"{party}\"\nname = \"{}\"\n", party.to_uppercase());
    }
    for (from, to) in [(parties[0], parties[1]), (parties[1], parties[0])] {
        let _ = write!(
            text,
            "[[clause]]\nname = \"from-{from}\"\nfrom = \"{from}\"\nto = [\"{to}\"]\nonward = \"never\"\n\
             retention-days = 30\ndisclose.item = [{fields}]\n"
        );
    }
    text
}

/// Signs by file, in the order that the first-named party signs last.
fn agree(one: &Home, other: &Home, number: usize, fields: &str) -> Done {
    let (names, handles) = (format!("{}-{}-{number}", one.handle, other.handle), [one.handle, other.handle]);
    let (text, first, second) =
        (one.path(&format!("{names}.toml")), one.path(&format!("{names}.1")), one.path(&format!("{names}.2")));
    fs::write(&text, agreement(&names, handles, fields))?;
    one.ok(&["agreement", "sign", &text, "-o", &first, "--yes"]);
    other.ok(&["agreement", "sign", &first, "-o", &second, "--yes"]);
    one.ok(&["agreement", "add", &second]);
    Ok(())
}

/// Rows of items, released.
fn import(home: &Home, prefix: &str, count: usize, release: bool) -> Done {
    let mut rows =
        "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,\
                    lon,custody,recovered_from,collector,condition,notes,photos\n"
            .to_owned();
    for n in 1..=count {
        let _ = writeln!(
            rows,
            "{prefix}-{n},C-1,2026-02-03,pistol,Works,M1,9x19,SN {n:05},,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,\
             cache,Somebody,serviceable,,"
        );
    }
    let path = home.path(&format!("{prefix}.csv"));
    fs::write(&path, rows)?;
    home.ok(&["import", &path]);
    home.ok(&["review", "--all-drafts", "--state", "reviewed"]);
    if release {
        home.ok(&["release", "--all-reviewed"]);
    }
    Ok(())
}

/// What must hold after each move, whoever made it.
struct Watch<'a> {
    victim: &'a Home,
    honest: &'a Home,
    pid: u32,
    /// Resident before the first move, in KiB.
    before: u64,
    /// Records of the honest partner so far.
    released: Cell<usize>,
}

impl Watch<'_> {
    /// What does not hold: the node has grown, the honest partner's next record does not arrive, or anything else did.
    fn after(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let grown = resident_kib(self.pid).unwrap_or(u64::MAX).saturating_sub(self.before);
        if grown > GROWTH_KIB_MAX {
            wrong.push(format!("the node has grown by {grown} KiB"));
        }
        let released = self.released.get() + 1;
        self.released.set(released);
        self.honest.ok(&["release", &format!("HONEST-{released}")]);
        self.honest.ok(&["sync", "victim"]);
        let found = self.victim.json(&["search", "--received"]);
        let numbers: Vec<_> = found.as_array().into_iter().flatten().map(|r| r["number"].as_str()).collect();
        let honest = |number: &Option<&str>| number.is_some_and(|n| n.starts_with("HONEST"));
        let arrived = numbers.iter().filter(|number| honest(number)).count();
        if arrived != released {
            wrong.push(format!("the honest partner's records do not arrive: {arrived} of {released}"));
        }
        if let Some(other) = numbers.iter().find(|number| !honest(number)) {
            wrong.push(format!("{other:?} was accepted"));
        }
        wrong
    }
}

fn resident_kib(pid: u32) -> Done<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Waits until the log has grown by a line that holds one of the texts.
async fn logged(path: &str, from: usize, texts: &str) -> Done<bool> {
    let begun = Instant::now();
    loop {
        let log = fs::read_to_string(path)?;
        let new = log.get(from..).unwrap_or_default();
        if texts.split('|').any(|text| new.contains(text)) {
            return Ok(true);
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One move, and what the victim made of it.
async fn play(hostile: &Hostile, log: &str, play: &Move) -> Done {
    let from = fs::metadata(log)?.len() as usize;
    println!("{:?}: {}", play.at, play.name);
    let mut talk = hostile.reach(play.at).await?;
    (play.act)(hostile, &mut talk).await?;
    match play.ends {
        Ends::With(code) => {
            let found = talk.closed().await?;
            if found != u64::from(code.0) {
                return Err(format!("closed with {found} instead of {code}").into());
            }
        }
        // It still answers: a file that was never given is refused.
        Ends::Not | Ends::Stops if play.at == At::Open || play.at == At::Heads => {
            let ask = entente_protocol::session::fetch::Request {
                feed: hostile.theirs.id(),
                slot: 11,
                entry: 0,
                from_chunk: 0,
            };
            let mut answer = talk.ask(&ask.to_bytes()?).await?;
            while answer == Some(2) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                answer = talk.ask(&ask.to_bytes()?).await?;
            }
            if answer != Some(1) {
                return Err("the session did not go on".into());
            }
        }
        Ends::Not | Ends::Stops => {}
    }
    if !play.log.is_empty() && !logged(log, from, play.log).await? {
        return Err(format!("the log does not say `{}`", play.log).into());
    }
    Ok(())
}

/// Story: an office that was trusted turns hostile, or somebody has taken its machine.
#[test]
fn a_hostile_partner_gets_nowhere() -> Done {
    let folder = tempfile::tempdir()?;
    let home = |handle| Home::init(folder.path(), handle);
    let (mut victim, mut honest) = (home("victim"), home("honest"));
    let (fast, slow, puppet) = (home("fast"), home("slow"), home("puppet"));
    let narrow = "\"number\", \"eval\", \"type\"";
    for partner in [&honest, &fast, &slow] {
        victim.pair(partner);
        agree(partner, &victim, 0, narrow)?;
    }
    // What stops a feed stops it for good: each such move has an agreement of its own.
    for number in 1..=MOVES.iter().filter(|play| play.ends == Ends::Stops).count() {
        agree(&fast, &victim, number, narrow)?;
    }
    fast.pair(&puppet);
    agree(&fast, &puppet, 0, "\"number\", \"eval\", \"type\", \"serial\", \"serial-prefix\", \"serial-state\"")?;
    import(&victim, "VICTIM", 3, true)?;
    import(&honest, "HONEST", MOVES.len(), false)?;
    victim.start();
    // A round in good faith brings the agreements into force on both sides.
    fast.ok(&["sync", "victim"]);
    slow.ok(&["sync", "victim"]);
    import(&fast, "HOSTILE", 1, true)?;
    import(&slow, "SLOW", 1, true)?;
    honest.start();
    let (log, pid) = (victim.path("victim.log"), victim.pid().ok_or("not running")?);
    let store: StoreId = victim.json(&["identity", "show"])["store"].as_str().ok_or("store")?.parse()?;
    honest.ok(&["sync", "victim"]);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (failures, before) = runtime.block_on(async {
        let open = |home: &Home| {
            Hostile::new(&home.path(home.handle), &home.path(&format!("{}.key", home.handle)), &victim_of(home), store)
        };
        let (mut fast, slow) = (open(&fast)?, open(&slow)?);
        let before = resident_kib(pid)?;
        let watch = Watch { victim: &victim, honest: &honest, pid, before, released: Cell::new(0) };
        let told = |one: &Move, wrong: String| format!("{:?}, {}: {wrong}", one.at, one.name);
        // What only waits is waited for beside the rest.
        let waits = |play: &&Move| play.ends == Ends::With(CloseCode::TIMEOUT);
        let waiting = async {
            let mut failures = Vec::new();
            for one in MOVES.iter().filter(waits) {
                failures.extend(play(&slow, &log, one).await.err().map(|error| told(one, error.to_string())));
                failures.extend(watch.after().into_iter().map(|wrong| told(one, wrong)));
            }
            failures
        };
        let acting = async {
            let mut failures = Vec::new();
            for one in MOVES.iter().filter(|play| !waits(play)) {
                failures.extend(play(&fast, &log, one).await.err().map(|error| told(one, error.to_string())));
                if one.ends == Ends::Stops {
                    fast.turn()?;
                }
                failures.extend(watch.after().into_iter().map(|wrong| told(one, wrong)));
            }
            Ok::<_, Box<dyn std::error::Error>>(failures)
        };
        let (waited, acted) = tokio::join!(waiting, acting);
        let failures: Vec<String> = waited.into_iter().chain(acted?).collect();
        Ok::<_, Box<dyn std::error::Error>>((failures, before))
    })?;
    println!("{} moves; resident {before} KiB before, {} KiB after", MOVES.len(), resident_kib(pid)?);
    assert!(failures.is_empty(), "{} of {} moves:\n{}", failures.len(), MOVES.len(), failures.join("\n"));
    Ok(())
}

fn victim_of(_: &Home) -> String {
    "victim".to_owned()
}

/// The table is what it promises to be.
#[test]
fn the_table_of_moves_is_wide() {
    let mut by_state: BTreeMap<At, usize> = BTreeMap::new();
    MOVES.iter().for_each(|play| *by_state.entry(play.at).or_default() += 1);
    assert!(MOVES.len() >= 60, "{} moves", MOVES.len());
    assert!(by_state.len() == 5 && by_state.values().all(|count| *count >= 4), "{by_state:?}");
    let names: std::collections::BTreeSet<&str> = MOVES.iter().map(|play| play.name).collect();
    assert_eq!(names.len(), MOVES.len(), "names are apart");
}
