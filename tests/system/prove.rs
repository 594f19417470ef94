//! `agreement prove` by a solver: what conditions and red lines keep is proved, what they let go is shown and does leave.

use entente_tests::{Home, World, output};
use serde_json::Value;
use std::{error::Error, fs, path::Path, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

/// A program that answers as cvc5 does: cvc5's Python bindings behind `tests/solver/smt.py`.
fn solver(home: &Home) -> Option<String> {
    let named = std::env::var("ENTENTE_TEST_CVC5_PYTHON").ok();
    let python = named.into_iter().chain(["python3".to_owned(), "/usr/bin/python3".to_owned()]).find_map(|python| {
        let asked = output(Command::new(python).args(["-c", "import sys, cvc5; print(sys.executable)"])).ok()?;
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
    })?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("solver/smt.py");
    let text = format!("#!/bin/sh\nexec '{python}' '{}' \"$@\"\n", script.display());
    Some(program(home, "cvc5", &text))
}

/// Another process writes it: a file that this one still writes, in whatever thread, cannot run.
fn program(home: &Home, name: &str, text: &str) -> String {
    let (draft, path) = (home.file(&format!("{name}.text"), text), home.path(name));
    for command in [["cp", &draft, &path], ["chmod", "+x", &path]] {
        let [program, arguments @ ..] = command;
        let made = output(Command::new(program).args(arguments));
        assert!(made.is_ok_and(|made| made.status.success()), "{command:?}");
    }
    path
}

fn set(home: &Home, line: &str) -> Outcome {
    let settings = home.folder().config();
    Ok(fs::write(&settings, format!("{line}\n{}", fs::read_to_string(&settings)?))?)
}

/// The answer, of which the exit code says whether it is a proof.
fn prove(home: &Home, property: &str) -> Value {
    let output = home.run(&["--json", "agreement", "prove", property]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let expected = if answer["answer"] == "proved" { 0 } else { 6 };
    assert_eq!(output.status.code(), Some(expected), "{property}: {answer}");
    answer
}

fn clause(name: &str, when: &str, fields: &str) -> String {
    format!(
        "[[clause]]\nname = \"{name}\"\nfrom = \"a\"\nto = [\"b\"]\nwhen = '{when}'\nonward = \"never\"\nretention-days = 365\n\
         disclose.item = [\"number\", \"eval\", {fields}]\n"
    )
}

/// Story: a ministry has a red line against what its own factories made, and an agreement whose clauses speak of it. Without
/// a solver it is told that trying is no proof; with one it has the proof, and of another clause the record that leaves.
#[test]
fn a_solver_proves_what_trying_cannot_and_finds_what_it_did_not() -> Outcome {
    let (_world, [mut a, b]) = World::of(94, ["a", "b"]);
    fs::create_dir(a.path("a/redlines"))?;
    let _ = a.file(
        "a/redlines/one.toml",
        "[[red-line]]\nname = \"no Belgian makes\"\nkinds = [\"item\"]\nwhen = 'resource.make_country like \"B*\"'\n",
    );
    set(&a, "red-lines = \"redlines\"")?;
    a.pair(&b);
    let clauses = [
        clause("belgian", r#"resource.make_country == "BE""#, "\"serial\""),
        clause("bores", r#"resource.make_country == "FR" && resource.bore_um * 7 == 126"#, "\"type\""),
    ];
    let _ = a.agree(&b, &clauses.concat());

    // None is at hand: it is said, and nothing is called a proof.
    for property in ["never item.serial", "never item.type", "red-line no Belgian makes"] {
        let answer = prove(&a, property);
        assert_eq!(answer["answer"], "not-found", "{answer}");
        let says = answer["says"].as_str().unwrap_or_default();
        assert!(says.contains("no proof") && says.contains("no solver is installed"), "{says}");
        assert!(answer["solver"].is_null(), "{answer}");
    }
    // What is structure needs none.
    assert_eq!(prove(&a, "never item.make to b")["answer"], "proved");
    for wrong in
        ["red-line another", "red-line", "never item when resource.colour == 1", "never item when principal == 1"]
    {
        let refused = a.refused(2, &["agreement", "prove", wrong]);
        assert!(refused["message"].as_str().is_some_and(|says| says.contains("never KIND")), "{wrong}: {refused}");
    }
    for seconds in ["0", "3601", "soon"] {
        assert_eq!(a.run(&["agreement", "prove", "never item.make", "--timeout", seconds]).status.code(), Some(2));
    }
    let old = program(&a, "old", "#!/bin/sh\necho 'This is cvc5 version 1.0.3'\n");
    let before = fs::read_to_string(a.folder().config())?;
    set(&a, &format!("solver = \"{old}\""))?;
    let says = prove(&a, "never item.serial")["says"].to_string();
    assert!(says.contains("1.0.3, which is too old"), "{says}");
    fs::write(a.folder().config(), before)?;

    let Some(solver) = solver(&a) else {
        println!("skipped: proofs by a solver: Python's `cvc5` is not at hand");
        return Ok(());
    };
    set(&a, &format!("solver = \"{solver}\""))?;
    for property in [
        "never item.serial",
        "never item.serial to b",
        "red-line no Belgian makes",
        r#"never item when resource.make_country == "BE""#,
        "never item.type when resource.bore_um > 18",
    ] {
        let answer = prove(&a, property);
        assert_eq!(answer["answer"], "proved", "{property}: {answer}");
        assert!(answer["solver"].as_str().is_some_and(|name| name.starts_with("cvc5 1.")), "{answer}");
    }
    let leaves = prove(&a, "never item.type");
    assert_eq!((&leaves["answer"], &leaves["clause"], &leaves["to"]), (&"no".into(), &"bores".into(), &"b".into()));
    assert_eq!((&leaves["example"]["bore_um"], &leaves["example"]["make_country"]), (&"18".into(), &"FR".into()));
    let shown = String::from_utf8_lossy(&a.run(&["agreement", "prove", "never item.type"]).stdout).into_owned();
    assert!(shown.contains("bore_um") && shown.contains("18"), "people see the record: {shown}");

    // A node that runs answers the same.
    a.start();
    assert_eq!(prove(&a, "never item.serial")["answer"], "proved");
    assert_eq!(prove(&a, "never item.type"), leaves);
    a.stop();
    Ok(())
}
