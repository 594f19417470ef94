//! What was acknowledged is not lost: short forms of the harnesses; `tests/long.sh` runs the long ones.
//!
//! The number of rounds and the seed come from the environment where a long run sets them, and what ran is printed.

use entente_node::store::open::Backend;
use entente_tests::{
    Home,
    durability::{Outcome, damage, kill, knob, power, replay, trace},
};
use std::path::Path;

fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_store-worker"))
}

fn seed() -> u64 {
    knob("ENTENTE_SEED", 1)
}

/// Engines under test: all that the build has.
fn engines() -> Vec<Backend> {
    [Backend::Fjall, Backend::Sled].into_iter().filter(|engine| engine.is_built()).collect()
}

#[test]
fn nothing_acknowledged_is_lost_by_kill() -> Outcome {
    for engine in engines() {
        let ran = kill::rounds(worker(), engine, knob("ENTENTE_KILL_ROUNDS", 60), seed());
        println!("{}", ran.inspect_err(|error| println!("{error}"))?);
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut() -> Outcome {
    if !trace::is_here() {
        println!("skipped: power cuts: strace is not at hand");
        return Ok(());
    }
    for engine in engines() {
        let (tally, line) = power::images(worker(), "write", engine, (knob("ENTENTE_POWER_IMAGES", 250), seed()))?;
        println!("{line}");
        // What sled makes of it is told, and stands in OPERATING.md; fjall is held to it.
        if engine == Backend::Fjall {
            let images = ("ENTENTE_POWER_IMAGES", power::IMAGES_OF_ONE);
            let again = replay("nothing_acknowledged_is_lost_by_a_power_cut", images, tally.first.unwrap_or(seed()));
            assert!(tally.is_clean(), "{tally:#?}{again}");
        } else {
            println!("{tally:?}");
        }
    }
    Ok(())
}

/// The harness can fail: a writer that acknowledges before the sync loses what it acknowledged.
#[test]
fn a_writer_that_acknowledges_early_is_found_out() -> Outcome {
    if !trace::is_here() {
        println!("skipped: power cuts: strace is not at hand");
        return Ok(());
    }
    let (tally, line) = power::images(worker(), "lie", Backend::Fjall, (20, 7))?;
    println!("{line}");
    assert!(tally.lost.keys().any(|why| why.contains("was acknowledged")), "{tally:#?}");
    Ok(())
}

#[test]
fn a_changed_byte_is_never_silently_wrong() -> Outcome {
    for engine in engines() {
        let (tally, line) = damage::flips(worker(), engine, knob("ENTENTE_FLIPS", 300), seed())?;
        println!("{line}");
        let again =
            replay("a_changed_byte_is_never_silently_wrong", ("ENTENTE_FLIPS", 1), tally.first.unwrap_or(seed()));
        assert!(engine != Backend::Fjall || (tally.silent.is_empty() && tally.panics == 0), "{tally:#?}{again}");
    }
    Ok(())
}

#[test]
fn a_file_cut_short_is_never_silently_a_shorter_past() -> Outcome {
    for engine in engines() {
        let (tally, line) = damage::truncations(worker(), engine, knob("ENTENTE_TRUNCATIONS", 100), seed())?;
        println!("{line}");
        let again = replay(
            "a_file_cut_short_is_never_silently_a_shorter_past",
            ("ENTENTE_TRUNCATIONS", 1),
            tally.first.unwrap_or(seed()),
        );
        assert!(engine != Backend::Fjall || (tally.silent.is_empty() && tally.panics == 0), "{tally:#?}{again}");
    }
    Ok(())
}

/// Whoever takes the engine that survives less reads so before the home is made, and whoever takes the default one reads
/// nothing. A build without that engine makes no home with it.
#[test]
fn whoever_takes_sled_is_warned() -> Outcome {
    let folder = tempfile::tempdir()?;
    let made = |handle: &'static str, engine: &str| {
        let home = Home::at(folder.path(), handle);
        let apart = home.recovery_passphrase();
        let output = home.run(
            &[
                ["init", "--name", "X", "--handle", handle, "--listen", "127.0.0.1:4433"].as_slice(),
                &["--recovery-passphrase-file", &apart, "--engine", engine],
            ]
            .concat(),
        );
        let engine = std::fs::read_to_string(folder.path().join(handle).join("store/engine")).ok();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), engine)
    };
    let (code, said, engine) = made("usual", "fjall");
    assert!(code == Some(0) && !said.contains("warning"), "{said}");
    assert_eq!(engine.as_deref(), Some("fjall\n"));
    let (code, said, engine) = made("other", "sled");
    if Backend::Sled.is_built() {
        let warned = ["warning: the engine `sled`", "OPERATING.md", "backups"].iter().all(|part| said.contains(part));
        assert!(code == Some(0) && warned, "{said}");
        assert_eq!(engine.as_deref(), Some("sled\n"));
    } else {
        assert!(code == Some(2) && said.contains("this build lacks `sled`") && engine.is_none(), "{code:?}: {said}");
    }
    Ok(())
}
