//! Every parser of outside bytes, fuzzed shortly, and the rig that does it: it must find what is planted.
//!
//! `ENTENTE_FUZZ_SECONDS` is the time for each target (1), `ENTENTE_SEED` where chance begins.

use entente_tests::{entente, output};
use std::{
    env,
    error::Error,
    path::Path,
    process::{Command, Output},
};

type Outcome = Result<(), Box<dyn Error>>;

/// The fuzzer, beside the program.
fn fuzz(folder: &Path, args: &[&str]) -> Result<Output, Box<dyn Error>> {
    let program = entente().with_file_name("entente-fuzz");
    if !program.exists() {
        return Err(format!("`{}` is missing: run `cargo build --workspace` first", program.display()).into());
    }
    Ok(output(Command::new(program).arg("--folder").arg(folder).args(args))?)
}

/// No target finds anything. What one finds stays in the folder that is printed.
#[test]
fn no_target_finds_anything_in_a_short_while() -> Outcome {
    let folder = tempfile::tempdir()?;
    let number = |name: &str| env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "1".to_owned());
    let output =
        fuzz(folder.path(), &["--seconds", &number("ENTENTE_FUZZ_SECONDS"), "--seed", &number("ENTENTE_SEED")])?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    if !output.status.success() {
        return Err(format!("found, with inputs in {}:\n{said}", folder.keep().display()).into());
    }
    Ok(())
}

/// Story: six defects of kinds that others shipped are planted: a panic behind three bytes, a second encoding, a forged
/// signature, a loop, a count that buys memory, a nesting without end. Each is found, and the input that is left shows
/// it again.
#[test]
fn whatever_is_planted_is_found() -> Outcome {
    let folder = tempfile::tempdir()?;
    let planted = [
        ("planted-panic", "index out of bounds"),
        ("planted-property", "two encodings"),
        ("planted-forgery", "nobody signed"),
        ("planted-slow", "more than 10 s"),
        ("planted-memory", "memory allocation"),
        ("planted-stack", "overflowed its stack"),
    ];
    let names = planted.map(|(name, _)| name);
    // It ends when each has found something.
    let output = fuzz(folder.path(), &[["--seconds", "40", "--seed", "7"].as_slice(), &names].concat())?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for (name, why) in planted {
        let found = format!("{name}: FOUND: ");
        let line = said.lines().find(|line| line.starts_with(&found)).unwrap_or_default();
        assert!(line.contains(why), "{name}: {said}");
        let case = folder.path().join(format!("{name}-7.case"));
        let again = fuzz(folder.path(), &["--once", name, "--case", &case.display().to_string()])?;
        assert!(!again.status.success(), "{name}: its input does not show it again");
    }
    Ok(())
}
