//! What people are told by the real program: the way out stands in the message, and no trouble outlives its cause.

use entente_tests::{Home, World, until};
use std::{error::Error, thread, time::Duration};

type Outcome = Result<(), Box<dyn Error>>;

fn told(home: &Home, args: &[&str]) -> String {
    let output = home.run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Story: a node dials a partner at an address where nobody answers, and while it waits the partner calls by itself. For as
/// long as they were connected, `status` and `doctor` went on to show that the address does not answer.
#[test]
fn a_call_in_vain_is_no_trouble_once_the_partner_has_come() -> Outcome {
    let (world, []) = World::of(174, []);
    let mut a = Home::init(world.folder(), "a");
    let mut b = Home::reached_at(world.folder(), "b", "127.0.0.1:0", Some("127.0.0.1:9"));
    a.start();
    a.pair(&b);
    let dialled = || a.partner(&b)["trouble"].as_str().is_some_and(|why| why.contains("127.0.0.1:9"));
    until("the first call was in vain", dialled);
    // The next one is under way.
    thread::sleep(Duration::from_secs(4));
    b.start();
    until("they are connected", || a.partner(&b)["connected"] == true);
    // Longer than a call takes that began before.
    for _ in 0..13 {
        let partner = a.partner(&b);
        assert!(partner["connected"] == true && partner["trouble"].is_null(), "{partner}");
        thread::sleep(Duration::from_secs(1));
    }
    assert!(!told(&a, &["doctor"]).contains("127.0.0.1:9"));
    b.stop();
    Ok(())
}
