//! The watch that the harness keeps over every traced home: it must be able to fail.

use entente_tests::World;
use std::{error::Error, fs};

type Outcome = Result<(), Box<dyn Error>>;

/// Story: a home at the most talkative level whose keys no longer open. That nothing was found in its log shows nothing
/// then, and is said; and what its node or a command tells of a passphrase is found.
#[test]
fn a_home_whose_secrets_cannot_be_looked_for_does_not_pass() -> Outcome {
    let (world, [mut home]) = World::traced(73, ["a"]);
    home.start();
    home.stop();
    assert_eq!(home.betrayed()?, Vec::<String>::new());
    let keyring = world.folder().join("a/keys/keyring.age");
    for damaged in [keyring, world.folder().join("a.key")] {
        let sound = fs::read(&damaged)?;
        fs::write(&damaged, &sound[..sound.len() / 2])?;
        assert!(home.betrayed().is_err(), "{}", damaged.display());
        fs::write(&damaged, sound)?;
    }
    let log = world.folder().join("a.log");
    let sound = fs::read(&log)?;
    let phrase = fs::read(home.recovery_passphrase())?;
    fs::write(&log, [sound.as_slice(), phrase.as_slice()].concat())?;
    assert_eq!(home.betrayed()?, ["the passphrase of the recovery file"]);
    fs::remove_file(&log)?;
    assert!(home.betrayed().is_err(), "a log that is gone");
    fs::write(&log, sound)?;
    Ok(())
}
