//! The gate itself: it says that it passed only where it came to its end, and names what hangs.
//!
//! Its script runs with a `cargo` of ours, which does what a story wants and builds nothing.

use entente_tests::{said_by, until};
use std::{
    error::Error,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

type Outcome = Result<(), Box<dyn Error>>;

/// Begins the gate. `tests` is what `cargo test` does then; everything else goes well at once.
fn begin(folder: &Path, tests: &str) -> Result<Child, Box<dyn Error>> {
    let cargo = folder.join("cargo");
    let script = format!("#!/bin/sh\ncase \"$1 $2\" in\ndeny*) exit 1;;\n'test --workspace') {tests};;\nesac\n");
    fs::write(&cargo, script)?;
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755))?;
    let others = std::env::var("PATH")?;
    let gate = Path::new(env!("CARGO_MANIFEST_DIR")).join("check.sh");
    let child = Command::new("bash")
        .arg(gate)
        .env("PATH", format!("{}:{others}", folder.display()))
        .env("CARGO_TARGET_DIR", folder)
        .env("ENTENTE_TEST_DATA", folder)
        .env("ENTENTE_TESTS_LONGEST", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// What it said, and whether it went well.
fn ends(child: Child) -> Result<(String, bool), Box<dyn Error>> {
    let output = said_by(child)?;
    Ok((String::from_utf8(output.stdout)?, output.status.success()))
}

/// Story: somebody reads the last lines of a gate that went well, of one whose tests failed, of one that was ended.
#[test]
fn a_gate_that_did_not_come_to_its_end_has_not_passed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (said, well) = ends(begin(folder.path(), "echo 'skipped: a thing'")?)?;
    assert!(well && said.contains("the gate passed in") && said.contains("\nskipped: a thing\n"), "{said}");
    let (said, well) = ends(begin(folder.path(), "exit 101")?)?;
    assert!(!well && said.contains("the gate FAILED at \"tests\""), "{said}");

    let begun = folder.path().join("begun");
    let ended = begin(folder.path(), &format!("touch {}; sleep 2", begun.display()))?;
    until("the tests run", || begun.exists());
    assert!(Command::new("kill").args(["-TERM", &ended.id().to_string()]).status()?.success());
    let (said, well) = ends(ended)?;
    assert!(!well && !said.contains("passed"), "{said}");
    assert!(said.contains("the gate FAILED at \"tests\""), "{said}");
    Ok(())
}

/// Story: a test hangs. It is named while the gate still runs, and one that was only slow is not.
#[test]
fn a_test_that_hangs_is_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let slow = "has been running for over 60 seconds";
    let tests = format!("echo 'test a::b {slow}'; echo 'test a::c {slow}'; echo 'test a::c ... ok'; sleep 2; exit 1");
    let (said, well) = ends(begin(folder.path(), &tests)?)?;
    assert!(!well && said.contains("have not ended after 1 s") && said.contains("\nhangs: a::b\n"), "{said}");
    assert!(!said.contains("hangs: a::c"), "{said}");
    Ok(())
}
