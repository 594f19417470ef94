//! What may be called where: one table, each row with the replacement. For [`super`].
//!
//! The rules are about the code that ships: comments, literals and tests are not looked at, unless a row says so.
//! Clippy's `disallowed-methods` guards single crates; this table guards folders and files, and names crates too.

use super::{
    File,
    code::{code_only, lines_with, test_modules, without_tests},
    none, tree,
};
use std::collections::BTreeSet;

/// A file as the rules see it.
pub struct View {
    pub path: String,
    /// The code that ships; empty for a file that is compiled for tests only.
    pub code: String,
    /// All code, tests included.
    pub whole: String,
}

/// A name, where it may not stand, and what to do instead.
struct Rule {
    names: &'static [&'static str],
    /// Files and folders to which the rule applies.
    within: &'static [&'static str],
    /// Files and folders that may all the same.
    except: &'static [&'static str],
    /// Whether tests are bound by it too.
    tests_too: bool,
    instead: &'static str,
}

/// Where the code lies that partners run.
pub const SHIPPED: &[&str] = &["protocol/src/", "policy/src/", "node/src/"];
const PURE: &[&str] = &["protocol/src/", "policy/src/"];
const ALL: &[&str] = &[""];

/// Making a proof value, by whatever path; and renaming its type, which would hide that.
const PROOFS: &[&str] = &[
    "Clearance::assertion",
    "::Clearance::assertion",
    "Clearance as",
    "::Clearance as",
    "Acceptance::assertion",
    "::Acceptance::assertion",
    "Acceptance as",
    "::Acceptance as",
];

/// Who may name `ingest`: the commands by which people bring files, and the search that reads serials as it does.
const PEOPLE_BRING: &[&str] = &[
    "node/src/ingest/",
    "node/src/call.rs",
    "node/src/commands/",
    "node/src/demo/",
    "node/src/node.rs",
    "node/src/records/search.rs",
];
/// The crates that read the formats of files.
const PARSERS: &[&str] = &[
    "image::",
    "use image",
    "exif::",
    "use exif",
    "calamine::",
    "use calamine",
    "quick_xml::",
    "use quick_xml",
    "zip::",
    "use zip",
    "flate2::",
    "use flate2",
];

const RULES: &[Rule] = &[
    // The two inner crates compute.
    Rule {
        names: &["Instant::now", "thread::spawn", "thread::scope", "thread::sleep", "std::process", "process::exit"],
        within: PURE,
        except: &[],
        tests_too: false,
        instead: "this crate computes; take the time as an argument and let `node` run things",
    },
    Rule {
        names: &["std::env", "env::var", "env::var_os", "env::args", "std::fs", "fs::read", "fs::write", "File::open"],
        within: PURE,
        except: &[],
        tests_too: false,
        instead: "this crate knows no files and no environment; take bytes as an argument",
    },
    Rule {
        names: &["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixListener", "ToSocketAddrs"],
        within: PURE,
        except: &[],
        tests_too: false,
        instead: "this crate knows no sockets; `handle_*` takes bytes and `poll_*` gives them",
    },
    Rule {
        names: &["SystemRandom", "SecureRandom", "getrandom::", "rand::", "OsRng"],
        within: SHIPPED,
        except: &["node/src/secret/", "node/src/seal/hybrid.rs"],
        tests_too: false,
        instead: "take salts and seeds as arguments; `node/src/secret` is the one source of randomness",
    },
    Rule {
        names: &["ring::", "sha2::", "hmac::"],
        within: &["protocol/src/"],
        except: &["protocol/src/primitive.rs"],
        tests_too: false,
        instead: "call `primitive`, where each function has its formula, standard and caveat",
    },
    // Nothing that a partner sends is parsed for what it holds: only what people bring is, and in a child.
    Rule {
        names: &["ingest::", "::ingest", "ingest as"],
        within: &["node/src/"],
        except: PEOPLE_BRING,
        tests_too: false,
        instead: "keep a partner's file as bytes; only what people bring with `import` is read, in a process of its own",
    },
    Rule {
        names: PARSERS,
        within: SHIPPED,
        except: &["node/src/ingest/"],
        tests_too: false,
        instead: "formats of files are read below `node/src/ingest`, in a process of its own",
    },
    // What the node may do, and where.
    Rule {
        names: &["SystemTime::now", "UNIX_EPOCH.elapsed", "OffsetDateTime::now_utc", "UtcDateTime::now"],
        within: SHIPPED,
        except: &["node/src/clock.rs"],
        tests_too: false,
        instead: "take `now` as an argument; it comes from `node/src/clock.rs`",
    },
    Rule {
        names: &["env::var", "env::var_os", "env::vars", "env::args", "env::args_os", "env::home_dir", "env::temp_dir"],
        within: SHIPPED,
        except: &["node/src/main.rs", "node/src/config/", "node/src/config.rs", "node/src/cli.rs"],
        tests_too: false,
        instead: "the configuration reads the environment once; take the checked value from it",
    },
    Rule {
        names: &["println!", "print!", "eprintln!", "eprint!"],
        within: SHIPPED,
        except: &["node/src/main.rs", "node/src/commands/"],
        tests_too: false,
        instead: "return a value and let the command print it, or log ids and counts with `tracing`",
    },
    Rule {
        names: &["anyhow::"],
        within: SHIPPED,
        except: &["node/src/main.rs", "node/src/commands/", "node/src/demo/", "node/src/demo.rs"],
        tests_too: false,
        instead: "a small `thiserror` enum, one variant for each cause, so that callers can tell whose fault it is",
    },
    Rule {
        names: &["clap::"],
        within: SHIPPED,
        except: &["node/src/main.rs", "node/src/cli.rs", "node/src/cli/", "node/src/commands/"],
        tests_too: false,
        instead: "command-line definitions stand in `node/src/cli.rs`",
    },
    // One place for each heavy dependency.
    Rule {
        names: &["fjall::", "use fjall"],
        within: SHIPPED,
        except: &["node/src/store/fjall.rs", "node/src/store/fjall/", "node/src/store/open.rs"],
        tests_too: false,
        instead: "call the `Ledger` seam; for our own module of that name write `self::fjall::`",
    },
    Rule {
        names: &["sled::", "use sled"],
        within: SHIPPED,
        except: &["node/src/store/sled.rs"],
        tests_too: false,
        instead: "call the `Ledger` seam; for our own module of that name write `super::sled::`",
    },
    Rule {
        names: &["cedar_policy_symcc::", "use cedar_policy_symcc"],
        within: SHIPPED,
        except: &["node/src/agreements/prove/symbolic.rs"],
        tests_too: true,
        instead: "call `agreements::prove`, which says what is proved and what is not",
    },
    Rule {
        names: &["xxhash_rust::"],
        within: SHIPPED,
        except: &["node/src/store/fjall/"],
        tests_too: false,
        instead: "a digest of `protocol`: this checksum is fjall's, and proves nothing against an adversary",
    },
    Rule {
        names: &["age::", "age_core::", "hpke::", "use age"],
        within: SHIPPED,
        except: &["node/src/seal/", "node/src/secret/"],
        tests_too: false,
        instead: "call `seal` or `secret`",
    },
    Rule {
        names: &["quinn::", "rustls::", "webpki::", "rcgen::", "use quinn", "use rustls"],
        within: SHIPPED,
        except: &["node/src/peer/"],
        tests_too: false,
        instead: "transport and certificates are the business of `node/src/peer`",
    },
    Rule {
        names: &["tokio::", "use tokio"],
        within: SHIPPED,
        except: &[
            "node/src/peer/",
            "node/src/control/",
            "node/src/run.rs",
            "node/src/run/",
            "node/src/main.rs",
            "node/src/demo/",
            "node/src/demo.rs",
            "node/src/commands/",
            "node/src/shutdown.rs",
            // The symbolic compiler's seam to a solver is a type of tokio's; nothing runs on it there.
            "node/src/agreements/prove/symbolic.rs",
        ],
        tests_too: false,
        instead: "a synchronous function over `Ledger`, `Vault`, `Session` and `now`, so that a simulated world can drive it",
    },
    Rule {
        names: &["cedar_policy::", "cedar_policy_core::"],
        within: &["protocol/", "node/", "tests/"],
        // The symbolic compiler speaks in Cedar's types. Nothing is decided there.
        except: &["node/src/agreements/prove/symbolic.rs"],
        tests_too: true,
        instead: "ask `policy`; it turns every diagnostic of the engine into a withholding",
    },
    // Everywhere, tests included.
    Rule {
        names: &["unsafe"],
        within: ALL,
        except: &[],
        tests_too: true,
        instead: "safe code; a crate that keeps the promise for us if there is no other way",
    },
    Rule {
        names: &["should_panic"],
        within: ALL,
        except: &[],
        tests_too: true,
        instead: "return the error and compare it; a panic says neither where nor whose fault",
    },
    // Proof values: only the decider makes one. Tests of the two inner crates make their own, having no decider below them.
    Rule {
        names: PROOFS,
        within: SHIPPED,
        except: &["policy/src/decide.rs"],
        tests_too: false,
        instead: "ask `policy` to decide; a proof value made elsewhere proves nothing",
    },
    Rule {
        names: PROOFS,
        within: &["node/", "tests/"],
        except: &[],
        tests_too: true,
        instead: "let `policy` decide here too, or the test shows something that a node cannot do",
    },
    Rule {
        names: &[".output()", ".wait()", ".wait_with_output()"],
        within: &["tests/system/", "tests/src/"],
        except: &["tests/system/tidy/", "tests/src/processes.rs"],
        tests_too: true,
        instead: "wait by `entente_tests::output` or `ended`: a process that hangs must fail its story",
    },
];

/// The Rust files of the tree as the rules see them.
pub fn views(files: &[File]) -> Vec<View> {
    let mut views: Vec<View> = files
        .iter()
        .filter(|f| f.is_rust())
        .map(|f| {
            let whole = code_only(&f.text);
            View { path: f.path.clone(), code: without_tests(&whole), whole }
        })
        .collect();
    // Files that a parent declares behind `#[cfg(test)]`, and what lies below them.
    let mut test_only = BTreeSet::new();
    for file in files.iter().filter(|f| f.is_rust()) {
        for (name, path) in test_modules(&file.text, &code_only(&file.text)) {
            let beside = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            test_only.insert(match path {
                Some(path) => format!("{beside}/{}", path.trim_end_matches(".rs")),
                None => format!("{}/{name}", module_folder(&file.path)),
            });
        }
    }
    for view in &mut views {
        if test_only.iter().any(|m| view.path == format!("{m}.rs") || view.path.starts_with(&format!("{m}/"))) {
            view.code.clear();
        }
    }
    views
}

/// Where the modules lie that a file declares.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

fn broken(rules: &[Rule], files: &[File]) -> Vec<String> {
    let views = views(files);
    let mut found = Vec::new();
    for rule in rules {
        let covered = |v: &&View| {
            rule.within.iter().any(|p| v.path.starts_with(p)) && !rule.except.iter().any(|p| v.path.starts_with(p))
        };
        for view in views.iter().filter(covered) {
            let code = if rule.tests_too { &view.whole } else { &view.code };
            for name in rule.names {
                for line in lines_with(code, name) {
                    found.push(format!("{}:{line}: `{name}`: {}", view.path, rule.instead));
                }
            }
        }
    }
    found.sort();
    found
}

/// Calls that sleep in a test to wait for something: the two inner crates have no excuse.
const NO_SLEEP: &[Rule] = &[Rule {
    names: &["thread::sleep"],
    within: PURE,
    except: &[],
    tests_too: true,
    instead: "advance the virtual clock",
}];

#[test]
fn every_call_stands_where_it_may() {
    none("calls", &broken(RULES, &tree()));
}

#[test]
fn no_test_of_the_inner_crates_sleeps() {
    none("sleeps", &broken(NO_SLEEP, &tree()));
}

#[test]
fn every_rule_can_fail() {
    for rules in [RULES, NO_SLEEP] {
        for rule in rules {
            for name in rule.names {
                for within in rule.within {
                    let folder = if within.is_empty() { "node/src/" } else { within };
                    let path = format!("{folder}sample.rs");
                    let code = format!("//! Sample.\nfn f() {{\n    {name} x();\n}}\n");
                    let alone = std::slice::from_ref(rule);
                    let found = broken(alone, &[File::sample(&path, &code)]);
                    assert!(
                        !found.is_empty() && found.iter().all(|f| f.contains(".rs:3: ")),
                        "`{name}` in {path}: {found:?}"
                    );

                    let comment = format!("//! {name} x\nconst T: &str = \"{name} x\";\n");
                    assert!(broken(alone, &[File::sample(&path, &comment)]).is_empty(), "`{name}` in a text");

                    let in_test = format!("//! Sample.\n#[cfg(test)]\nmod tests {{ fn f() {{ {name} x(); }} }}\n");
                    let bound = !broken(alone, &[File::sample(&path, &in_test)]).is_empty();
                    assert_eq!(bound, rule.tests_too, "`{name}` in a test");

                    for except in rule.except {
                        let file = if except.ends_with('/') { format!("{except}a.rs") } else { (*except).to_owned() };
                        assert!(broken(alone, &[File::sample(&file, &code)]).is_empty(), "`{name}` in {file}");
                    }
                }
            }
        }
    }
}

/// Whatever takes part in receiving is bound, however a reader is named there.
#[test]
fn a_partners_file_meets_no_reader() {
    let spellings = [
        "use crate::ingest::photo;",
        "use crate::{\n    ingest::photo,\n};",
        "use crate::{ingest as readers};",
        "fn f() { crate::ingest::photo::sniff(b\"\"); }",
        "fn f() { super::ingest::table::open(); }",
        "fn f() { image::load_from_memory(b\"\"); }",
        "fn f() { ::image::load_from_memory(b\"\"); }",
        "use exif as metadata;",
        "use calamine::{Reader, Xlsx};",
        "use zip;",
    ];
    let files = ["share/files.rs", "receive.rs", "receive/evidence.rs", "exchange.rs", "exchange/heads.rs"];
    let more = ["peer/fetch.rs", "run.rs", "run/bringing.rs", "records/show.rs", "check/files.rs"];
    for file in files.into_iter().chain(more) {
        let found = |code: &str| broken(RULES, &[File::sample(&format!("node/src/{file}"), code)]);
        for spelling in spellings {
            assert!(!found(&format!("//! Sample.\n{spelling}\n")).is_empty(), "{file}: {spelling}");
        }
        assert!(found("//! Sample.\nfn f() { node.reader.clone(); self.image(); }\n").is_empty(), "{file}");
    }
}

#[test]
fn a_file_for_tests_is_known_by_its_parent() {
    let call = "//! Sample.\nfn f() { SystemTime::now() }\n";
    let files = |parent: &str, path: &str| [File::sample("node/src/a/mod.rs", parent), File::sample(path, call)];
    assert!(broken(RULES, &files("//! A.\n#[cfg(test)]\nmod tests;\n", "node/src/a/tests.rs")).is_empty());
    assert_eq!(broken(RULES, &files("//! A.\nmod tests;\n", "node/src/a/tests.rs")).len(), 1);
    let named = [
        File::sample("node/src/b.rs", "//! B.\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\n"),
        File::sample("node/src/b_tests.rs", call),
    ];
    assert!(broken(RULES, &named).is_empty());
    assert_eq!(module_folder("node/src/a/b.rs"), "node/src/a/b");
}
