//! The specification against the tests: each numbered requirement names a test that exists, each vector is read. For
//! [`super`].

use super::{File, none, tree};
use std::collections::BTreeSet;

const SPEC: &str = "protocol/SPEC.md";
const VECTORS: &str = "tests/vectors/";

fn text<'a>(files: &'a [File], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).map(|file| file.text.as_str()).unwrap_or_default()
}

/// A section by the words of its heading, without its number.
fn section<'a>(spec: &'a str, name: &str) -> &'a str {
    let named =
        |section: &&str| section.lines().next().and_then(|head| head.split_once(". ")).is_some_and(|h| h.1 == name);
    spec.split("\n## ").find(named).unwrap_or_default()
}

/// The ids of `- **ENC-1** ...`, in their order.
fn requirements(spec: &str) -> Vec<&str> {
    spec.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**").map(|(id, _)| id)).collect()
}

/// One row of the table of tests: `| ENC-1 | `file` | `test`, `test` |`.
fn row(line: &str) -> Option<(&str, &str, Vec<&str>)> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let (id, file, tests) = (cells.next()?, cells.next()?, cells.next()?);
    let quoted = |cell: &'_ str| cell.starts_with('`') && cell.ends_with('`');
    (quoted(file) && cells.next().is_none())
        .then(|| (id, file.trim_matches('`'), tests.split(", ").map(|t| t.trim_matches('`')).collect()))
}

/// Whether a file has this test: the function, and above it no more than attributes, one of which makes it a test.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().filter(|(_, line)| head(line)).any(|(at, _)| {
        let above = lines.get(..at).unwrap_or_default().iter().rev().take_while(|line| line.starts_with("#["));
        above.into_iter().any(|line| ["#[test]", "#[tokio::test"].iter().any(|mark| line.starts_with(mark)))
    })
}

/// Requirements without a test, and tests that are none.
fn untested(files: &[File]) -> Vec<String> {
    let spec = text(files, SPEC);
    let ids = requirements(spec);
    let rows: Vec<_> = section(spec, "Tests").lines().filter_map(row).collect();
    let mut found = Vec::new();
    for id in &ids {
        if !rows.iter().any(|(of, _, _)| of == id) {
            found.push(format!("{SPEC}: {id} names no test: write one, and a row in the table of tests"));
        }
    }
    let mut place = 0;
    for (id, path, tests) in rows {
        match ids.iter().position(|known| *known == id) {
            None => found.push(format!("{SPEC}: a row for `{id}`, which is no requirement")),
            Some(at) if at < place => found.push(format!("{SPEC}: the row of {id} stands out of its order")),
            Some(at) => place = at,
        }
        for test in tests {
            if !has_test(text(files, path), test) {
                found.push(format!("{SPEC}: {id} names `{test}`, which is no test of {path}"));
            }
        }
    }
    found
}

/// Vector files that the specification does not list or no test reads, and listed ones that are not there.
fn idle_vectors(files: &[File]) -> Vec<String> {
    let listed: BTreeSet<&str> =
        section(text(files, SPEC), "Vectors").split('`').filter(|part| part.ends_with(".json")).collect();
    let kept: BTreeSet<&str> = files.iter().filter_map(|file| file.path.strip_prefix(VECTORS)).collect();
    let mut found = Vec::new();
    for name in &kept {
        if !listed.contains(name) {
            found.push(format!("{VECTORS}{name}: the list of vectors in {SPEC} lacks it"));
        }
        let reads = format!("{VECTORS}{name}\")");
        let mut sources = files.iter().filter(|file| file.is_rust() && !file.path.starts_with("tests/fuzz/"));
        if !sources.any(|file| file.text.contains("include_str!(\"") && file.text.contains(&reads)) {
            found.push(format!("{VECTORS}{name}: no test reads it with `include_str!`"));
        }
    }
    found.extend(listed.difference(&kept).map(|name| format!("{SPEC}: lists {name}, which is not in {VECTORS}")));
    found
}

#[test]
fn every_requirement_names_a_test_that_exists() {
    let files = tree();
    assert!(requirements(text(&files, SPEC)).len() > 90, "the requirements are not found any more");
    none("requirements and their tests", &untested(&files));
}

#[test]
fn every_vector_is_listed_and_read() {
    let files = tree();
    assert!(
        files.iter().filter(|file| file.path.starts_with(VECTORS)).count() > 15,
        "the vectors are not found any more"
    );
    none("vectors", &idle_vectors(&files));
}

mod can_fail {
    //! Each rule above over a sample that breaks it, and one that does not.
    use super::*;

    const SOURCE: &str = "//! a\n#[test]\n#[expect(x)]\nfn one() {}\n#[tokio::test]\nasync fn two() {}\nfn helper() {}\n// fn one_more() {}\n";

    fn spec(rows: &str) -> [File; 2] {
        let text = format!(
            "# s\n\n- **A-1** x\n- **A-2** y\n\n## 3. Tests\n\n{rows}\n## 4. Decisions\n\n| A-9 | `b.rs` | `c` |\n"
        );
        [File::sample(SPEC, &text), File::sample("a.rs", SOURCE)]
    }

    #[test]
    fn requirement_without_a_test() {
        let good = "| A-1 | `a.rs` | `one`, `two` |\n| A-2 | `a.rs` | `two` |\n";
        assert_eq!(untested(&spec(good)), Vec::<String>::new());
        for (bad, says) in [
            ("| A-1 | `a.rs` | `one` |\n", "A-2 names no test"),
            (&good.replace("`one`", "`none`"), "`none`, which is no test of a.rs"),
            (&good.replace("`one`", "`helper`"), "`helper`, which is no test"),
            (&good.replace("`one`", "`one_more`"), "`one_more`, which is no test"),
            (&good.replace("`a.rs` | `two`", "`b.rs` | `two`"), "is no test of b.rs"),
            (&format!("{good}| A-3 | `a.rs` | `one` |\n"), "`A-3`, which is no requirement"),
            (&format!("{good}| A-1 | `a.rs` | `one` |\n"), "A-1 stands out of its order"),
        ] {
            let found = untested(&spec(bad));
            assert!(found.len() == 1 && found[0].contains(says), "{says}: {found:?}");
        }
    }

    #[test]
    fn vector_that_nobody_reads() {
        let files = |listed: &str, reads: &str| {
            [
                File::sample(SPEC, &format!("# s\n\n## 2. Vectors\n\n{listed}\n")),
                File::sample("tests/vectors/a.json", "{}"),
                File::sample("b.rs", &format!("//! b\nconst A: &str = include_str!(\"../../{reads}\");\n")),
            ]
        };
        assert_eq!(idle_vectors(&files("`a.json` is of 1", "tests/vectors/a.json")), Vec::<String>::new());
        assert_eq!(idle_vectors(&files("nothing", "tests/vectors/a.json")).len(), 1);
        assert_eq!(idle_vectors(&files("`a.json`", "tests/vectors/b.json")).len(), 1);
        assert_eq!(idle_vectors(&files("`a.json`, `c.json`", "tests/vectors/a.json")).len(), 1);
    }
}
