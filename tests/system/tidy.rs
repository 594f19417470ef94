//! The repository tests itself: what review would otherwise have to remember.
//!
//! Each rule is a function from file texts to a list of findings, run over the tree by one test and over a bad sample
//! by another, so that a rule which finds nothing any more is noticed. A finding says where, what, and what to do
//! instead. Rules about texts are here, about calls in [`rules`], about dependencies in [`graph`], about the
//! specification in [`spec`].
//! Nothing here is needed to build or run the node.

mod code;
mod graph;
mod rules;
mod spec;

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

/// Where a file becomes worth splitting, and where the gate insists. In lines.
const LONG_LINES: usize = 500;
const TOO_LONG_LINES: usize = 700;
/// What a clone should carry at most in one file; larger data is made or fetched.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One file of the repository.
struct File {
    /// From the root, with `/`.
    path: String,
    bytes: u64,
    /// The content, or as much of it as is text.
    text: String,
}

impl File {
    fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), bytes: text.len() as u64, text: text.to_owned() }
    }
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
    fn line_of(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }
}

fn root() -> PathBuf {
    // The package of this test is the folder `tests`.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file that belongs to the repository, sorted. Build output and git's own folder are left out.
fn tree() -> Vec<File> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // `read_link` succeeds on links only: a link is never followed out of the tree.
            if [".git", "target"].contains(&name.as_str()) || name.ends_with(".swp") || fs::read_link(&path).is_ok() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::metadata(&path).unwrap().len();
            let text = if bytes <= 4 * FILE_BYTES_MAX { fs::read(&path).unwrap() } else { Vec::new() };
            let relative = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            files.push(File { path: relative, bytes, text: String::from_utf8_lossy(&text).into_owned() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().any(|f| f.path == "Cargo.toml"), "this test must run from a clone of the repository");
    files
}

/// Fails with every finding, not with the first.
fn none<F: Display>(rule: &str, findings: &[F]) {
    let lines: Vec<String> = findings.iter().map(|f| format!("  {f}")).collect();
    assert!(findings.is_empty(), "{rule}: {} finding(s)\n{}\n", findings.len(), lines.join("\n"));
}

/// Files that do not open with `//!`.
fn unopened(files: &[File]) -> Vec<String> {
    let rust = files.iter().filter(|f| f.is_rust() && !f.text.starts_with("//!"));
    rust.map(|f| format!("{}:1: open with `//!`: what for, who calls, what it must not do", f.path)).collect()
}

/// Files over a number of lines, longest first.
fn longer(files: &[File], lines: usize) -> Vec<String> {
    let mut long: Vec<(usize, &str)> = files
        .iter()
        .filter(|f| f.is_rust() || f.path.ends_with(".sh"))
        .map(|f| (f.text.lines().count(), f.path.as_str()))
        .filter(|(count, _)| *count > lines)
        .collect();
    long.sort_by(|a, b| b.cmp(a));
    long.into_iter().map(|(count, path)| format!("{path}: {count} lines; split it by idea")).collect()
}

/// Files that a clone should not carry.
fn oversize(files: &[File]) -> Vec<String> {
    let large = files.iter().filter(|f| f.bytes > FILE_BYTES_MAX);
    large.map(|f| format!("{}: {} bytes of {FILE_BYTES_MAX}; generate it or cut it down", f.path, f.bytes)).collect()
}

/// Paths of the machine on which something was written.
fn machine_paths(files: &[File]) -> Vec<String> {
    let needles = ["work", "root", "Users", "home/runner"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for file in files {
        for needle in &needles {
            for (at, _) in file.text.match_indices(needle.as_str()) {
                // `tests/work/` or `~/work/` is a path below something, not one from the top of a machine.
                let below = |c: char| c.is_alphanumeric() || "_-.~*})>".contains(c);
                if !file.text.get(..at).unwrap_or_default().ends_with(below) {
                    found.push(format!("{}:{}: `{needle}`: say it relative", file.path, file.line_of(at)));
                }
            }
        }
    }
    found
}

/// Private keys. A bare prefix in code that reads or writes keys is none; key material behind it is.
fn private_keys(files: &[File]) -> Vec<String> {
    let pem_end = ["PRIVATE", " KEY-----"].concat();
    let age = ["AGE-SECRET", "-KEY-"].concat();
    let mut found = Vec::new();
    let mut add = |file: &File, at| {
        found.push(format!("{}:{}: a private key; make one at run time", file.path, file.line_of(at)))
    };
    for file in files {
        for (at, _) in file.text.match_indices(&age) {
            let behind = file.text.get(at + age.len()..).unwrap_or_default();
            let behind = behind.strip_prefix("PQ-").unwrap_or(behind);
            let material = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit();
            if behind.starts_with('1') && behind.chars().take_while(material).count() > 16 {
                add(file, at);
            }
        }
        for (at, _) in file.text.match_indices(&pem_end) {
            let before = file.text.get(..at).unwrap_or_default();
            let opens =
                before.rfind("-----BEGIN ").is_some_and(|begin| at - begin < 40 && !before[begin..].contains('\n'));
            let behind = file.text.get(at + pem_end.len()..).unwrap_or_default();
            // Line ends may be written out in a literal.
            let behind = behind.replace("\\n", "\n");
            let base64 = |c: &char| c.is_ascii_alphanumeric() || ['+', '/', '='].contains(c);
            let material = behind.trim_start().chars().take_while(base64).count() > 16;
            if opens && material {
                add(file, at);
            }
        }
    }
    found
}

/// What was meant to be done later.
fn leftovers(files: &[File]) -> Vec<String> {
    let words =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["//! Place", "holder"].concat(), ["#[ign", "ore"].concat()];
    let kept = [".rs", ".sh", ".md", ".toml"];
    let mut found = Vec::new();
    for file in files.iter().filter(|f| kept.iter().any(|end| f.path.ends_with(end))) {
        for word in &words {
            for line in code::lines_with(&file.text, word) {
                found.push(format!("{}:{line}: `{word}`: do it, or say in the text what is left out", file.path));
            }
        }
    }
    found
}

/// Labels and limits: `(name, line, documented)` for each constant that the file declares.
fn constants(file: &File) -> Vec<(String, usize, bool)> {
    let mut found = Vec::new();
    let mut documented = false;
    for (at, line) in file.text.lines().enumerate() {
        let line = line.trim();
        let declared = match line.strip_prefix("pub const ") {
            Some(rest) => rest.split(':').next(),
            // A row of the table macro: NAME = "text";
            None => line.split_once(" = \"").map(|(name, _)| name),
        };
        let constant = |name: &&str| {
            name.len() > 2 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        };
        if let Some(name) = declared.filter(constant) {
            found.push((name.to_owned(), at + 1, documented));
        }
        documented = line.starts_with("///") || (documented && line.starts_with('#'));
    }
    found
}

/// Labels and limits without a sentence, and those that no code obeys.
fn idle_constants(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for path in ["protocol/src/limits.rs", "protocol/src/label.rs"] {
        let Some(file) = files.iter().find(|f| f.path == path) else {
            found.push(format!("{path}: is missing"));
            continue;
        };
        let others: Vec<String> = rules::views(files)
            .into_iter()
            .filter(|v| v.path != path && rules::SHIPPED.iter().any(|folder| v.path.starts_with(folder)))
            .map(|v| v.code)
            .collect();
        for (name, line, documented) in constants(file) {
            if !documented {
                found.push(format!("{path}:{line}: `{name}` has no sentence that says what it is for"));
            }
            if !others.iter().any(|code| code::has_word(code, &name)) {
                found.push(format!("{path}:{line}: nothing uses `{name}`: enforce it or remove it"));
            }
        }
    }
    found
}

#[test]
fn every_file_opens_with_its_purpose() {
    none("opening", &unopened(&tree()));
}

#[test]
fn no_file_is_too_long() {
    let files = tree();
    // Shown by `--show-output`: the next ones to split.
    longer(&files, LONG_LINES).iter().for_each(|finding| println!("{finding}"));
    none("length", &longer(&files, TOO_LONG_LINES));
}

#[test]
fn no_file_is_too_large() {
    none("size", &oversize(&tree()));
}

#[test]
fn no_path_of_a_machine() {
    none("machine paths", &machine_paths(&tree()));
}

#[test]
fn no_private_key() {
    none("private keys", &private_keys(&tree()));
}

#[test]
fn nothing_is_left_over() {
    none("leftovers", &leftovers(&tree()));
}

#[test]
fn every_label_and_limit_is_documented_and_used() {
    none("labels and limits", &idle_constants(&tree()));
}

#[test]
fn the_pinned_compiler_is_the_promised_one() {
    let files = tree();
    let text = |path: &str| files.iter().find(|f| f.path == path).map(|f| f.text.clone()).unwrap_or_default();
    let value =
        |text: &str, key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.split('"').nth(1).map(str::to_owned));
    let promised = value(&text("Cargo.toml"), "rust-version = ").unwrap();
    let pinned = value(&text("rust-toolchain.toml"), "channel = ").unwrap();
    assert!(pinned.starts_with(&format!("{promised}.")), "Cargo.toml promises {promised}, the gate runs on {pinned}");
}

mod can_fail {
    //! Each rule above over a sample that breaks it, and one that does not.
    use super::*;

    #[test]
    fn opening_length_and_size() {
        assert_eq!(
            unopened(&[File::sample("a.rs", "use b;"), File::sample("c.rs", "//! d"), File::sample("e.md", "f")]).len(),
            1
        );
        let long = [File::sample("a.rs", &"\n".repeat(701)), File::sample("b.rs", &"\n".repeat(700))];
        assert_eq!(longer(&long, TOO_LONG_LINES).len(), 1);
        assert_eq!(longer(&long, LONG_LINES).len(), 2);
        let large = File { path: "a.bin".to_owned(), bytes: FILE_BYTES_MAX + 1, text: String::new() };
        assert_eq!(oversize(&[large, File::sample("b.bin", "c")]).len(), 1);
    }

    #[test]
    fn machine_path() {
        let from_the_top = ["see /wo", "rk/notes and \"/ro", "ot/.cargo\""].concat();
        assert_eq!(machine_paths(&[File::sample("a.md", &from_the_top)]).len(), 2);
        assert!(machine_paths(&[File::sample("a.md", "tests/work/x ~/work/y https://example.org/work")]).is_empty());
    }

    #[test]
    fn private_key() {
        let material = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
        let age = ["AGE-SECRET", "-KEY-"].concat();
        let pem = ["-----BEGIN EC PRIVATE", " KEY-----"].concat();
        for bad in [
            format!("{age}1{material}"),
            format!("{age}PQ-1{material}"),
            format!("{pem}\n{material}\n"),
            format!("\"{pem}\\n{material}\""),
        ] {
            assert_eq!(private_keys(&[File::sample("a", &bad)]).len(), 1, "{bad}");
        }
        for good in [format!("const P: &str = \"{age}PQ-\";"), format!("text.starts_with(\"{pem}\")")] {
            assert!(private_keys(&[File::sample("a", &good)]).is_empty(), "{good}");
        }
    }

    #[test]
    fn leftover() {
        let bad =
            [["// TO", "DO later"].concat(), ["//! Place", "holder."].concat(), ["#[ign", "ore = \"slow\"]"].concat()]
                .join("\n");
        assert_eq!(leftovers(&[File::sample("a.rs", &bad)]).len(), 3);
        assert!(leftovers(&[File::sample("a.rs", "//! What is ignored, and why.")]).is_empty());
    }

    #[test]
    fn label_or_limit() {
        let limits = "//! l\n/// Bytes of a frame.\npub const USED_MAX: u8 = 1;\npub const BARE_MAX: u8 = 2;\n/// Idle.\npub const IDLE_MAX: u8 = 3;\n";
        let files = [
            File::sample("protocol/src/limits.rs", limits),
            File::sample("protocol/src/label.rs", "//! l\n    /// Sign.\n    SIGN_X = \"x\";\n"),
            File::sample("protocol/src/a.rs", "//! a\nfn f() { (USED_MAX, BARE_MAX, SIGN_X) } // IDLE_MAX"),
        ];
        let found = idle_constants(&files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("`BARE_MAX` has no sentence") && found[1].contains("nothing uses `IDLE_MAX`"));
    }
}
