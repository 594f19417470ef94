//! Power cuts in the middle of a sync: nothing that was acknowledged is lost, nothing comes twice.

use entente_tests::{
    Chance, Home, Row, World,
    relay::{Line, Relay},
    until,
};
use std::{collections::BTreeSet, time::Duration};

const CLAUSES: &str = r#"
[[clause]]
name = "cases"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "make-country", "model", "make", "serial", "serial-prefix", "serial-state", "event"]
disclose.event = ["number", "eval", "etype", "recovered-month", "recovered", "place-country"]
"#;
/// Rows of the table: as many items, and a tenth as many events.
const ROWS: u32 = 5_000;
const KILLS: u64 = 6;
/// The line while the power goes and comes: what is released takes some ten seconds on it, however fast the nodes are.
const THIN: Line = Line {
    lost: 0,
    twice: 0,
    late: 0,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    rate: 300 << 10,
    queue: 64 << 10,
    cut: false,
};

fn count(home: &Home, partner: &Home, key: &str) -> u64 {
    home.feed(partner)[key].as_u64().unwrap_or_default()
}

/// Every record of a home of the kinds that the clause names.
fn own(home: &Home) -> BTreeSet<String> {
    let of = |kind: &str| home.json(&["search", "--own", "--kind", kind, "--limit", "100000"]);
    let both = [of("item"), of("event")];
    both.iter()
        .flat_map(|f| f.as_array().into_iter().flatten())
        .filter_map(|r| r["id"].as_str().map(str::to_owned))
        .collect()
}

/// Story: thousands of records are on their way when one side loses its power, then the other, again and again.
#[test]
fn a_power_cut_on_either_side_loses_nothing_acknowledged() -> std::io::Result<()> {
    let (world, []) = World::of(51, []);
    let relay = Relay::open(world.seed)?;
    // Whichever side comes up first, `a` dials: nobody answers at its address.
    let mut a = Home::reached_at(world.folder(), "a", "127.0.0.1:0", Some("127.0.0.1:9"));
    let mut b = Home::reached_at(world.folder(), "b", "127.0.0.1:0", Some(&relay.address.to_string()));
    relay.leads_to(b.address());
    relay.becomes([THIN; 2]);
    a.pair(&b);
    let _agreed = a.agree(&b, CLAUSES);
    a.import("rows.csv", &Row::table(&world.rows("K", ROWS)));
    a.pass_all();
    let all = own(&a);
    assert_eq!(all.len() as u64, u64::from(ROWS + ROWS / 10 + 1));
    b.start();
    a.start();

    let mut chance = Chance::new(world.seed, "kills");
    let (mut midway, mut last) = (0, 0);
    for kill in 0..KILLS {
        // Every other time a run has come through since; then the power goes after a while of the story's choosing.
        if kill % 2 == 0 {
            until("a run arrives", || count(&b, &a, "received") > last || last == all.len() as u64);
        }
        std::thread::sleep(Duration::from_millis(chance.below(500)));
        let acknowledged = count(&a, &b, "acknowledged");
        let victim = if chance.below(2) == 0 { &mut a } else { &mut b };
        let handle = victim.handle;
        victim.kill();
        victim.start();
        let (sent, received) = (count(&a, &b, "sent"), count(&b, &a, "received"));
        println!(
            "kill {kill}, `{handle}`: {acknowledged} acknowledged before; after, {received} of {sent} sent are held"
        );
        assert!(received >= acknowledged, "{acknowledged} were acknowledged, {received} are held");
        assert!(count(&a, &b, "acknowledged") >= acknowledged, "the sender forgets an acknowledgement");
        assert_eq!(b.received_ids().difference(&all).count(), 0);
        midway += u32::from(received > 0 && received < all.len() as u64);
        last = received;
    }
    println!("{:?}", relay.passed());
    relay.becomes([Line::default(); 2]);
    until("everything has arrived", || count(&b, &a, "received") >= all.len() as u64);
    a.sync(&b);
    assert!(midway > 0, "no kill came between the first run and the last: make the line thinner");
    assert_eq!(b.received_ids(), all);
    let held = b.received();
    assert_eq!(held.len(), all.len(), "nothing is held twice");
    let length = all.len() as u64;
    assert_eq!(
        (count(&a, &b, "sent"), count(&a, &b, "acknowledged"), count(&b, &a, "received")),
        (length, length, length),
        "nothing was released twice"
    );
    for record in held.iter().step_by(997) {
        let id = record["id"].as_str().unwrap_or_default();
        assert_eq!(b.json(&["record", "verify", id])["ok"], true);
    }
    Ok(())
}
