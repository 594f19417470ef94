//! What depends on what: the arrows between crates, the allow-lists of the inner two, and the lists of `deny.toml`.
//! For [`super`].
//!
//! Reads the resolved graph of `cargo metadata` for this machine's target. It does not replace cargo-deny, which knows
//! advisories and other targets too; it sees to it that licences, sources and bans are checked where that is absent.

use super::{none, root};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::LazyLock,
};

/// What `protocol` may name: formats and pure computation.
const PROTOCOL: &[&str] = &[
    "base64",
    "bip39",
    "cbor4ii",
    "hmac",
    "ring",
    "serde",
    "serde_bytes",
    "sha2",
    "thiserror",
    "x509-parser",
    "zeroize",
];
/// What `policy` may name.
const POLICY: &[&str] = &["cedar-policy", "entente-protocol", "thiserror", "toml"];
/// What only `node` may bring, directly or through others.
const NODE_ONLY: &[&str] =
    &["tokio", "quinn", "quinn-proto", "rustls", "age", "fjall", "sled", "clap", "anyhow", "hpke", "rcgen"];
/// Our crates, each with those of ours that it may name. Nothing names `entente-tests` but the bench.
const ARROWS: &[(&str, &[&str])] = &[
    ("entente-protocol", &[]),
    ("entente-policy", &["entente-protocol"]),
    ("entente-node", &["entente-policy", "entente-protocol"]),
    ("entente-tests", &["entente-node", "entente-policy", "entente-protocol"]),
    ("entente-bench", &["entente-node", "entente-policy", "entente-protocol", "entente-tests"]),
    ("entente-fuzz", &["entente-node", "entente-policy", "entente-protocol"]),
];
/// Beside what `deny.toml` bans by feature: what must be on.
const MUST_BE_ON: &[(&str, &str)] = &[("rustls", "aws_lc_rs"), ("quinn", "rustls-aws-lc-rs")];

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).unwrap();
    let options = ["--locked", "--filter-platform", host].map(str::to_owned).to_vec();
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).other_options(options).exec().unwrap()
});

static RULES: LazyLock<toml::Table> =
    LazyLock::new(|| fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap());

fn package(name: &str) -> &'static Package {
    METADATA.packages.iter().find(|p| p.name.as_str() == name).unwrap()
}

fn direct(name: &str, kind: DependencyKind) -> Vec<&'static str> {
    package(name).dependencies.iter().filter(|d| d.kind == kind).map(|d| d.name.as_str()).collect()
}

/// Everything that a crate brings into a build, tests and build scripts of others left out.
fn closure(name: &str) -> BTreeSet<&'static str> {
    let nodes: BTreeMap<&PackageId, _> = METADATA.resolve.as_ref().unwrap().nodes.iter().map(|n| (&n.id, n)).collect();
    let mut todo = vec![&package(name).id];
    let mut seen = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if seen.insert(id) {
            let normal = nodes[id].deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
            todo.extend(normal.map(|d| &d.pkg));
        }
    }
    seen.into_iter().map(|id| METADATA[id].name.as_str()).collect()
}

fn features() -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let nodes = &METADATA.resolve.as_ref().unwrap().nodes;
    nodes.iter().map(|n| (METADATA[&n.id].name.as_str(), n.features.iter().map(ToString::to_string).collect()))
}

/// The strings, or the values of `key`, in a list of `deny.toml`.
fn listed(table: &toml::Table, list: &str, key: &str) -> Vec<String> {
    let items = table.get(list).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let text = |item: &toml::Value| item.as_str().or_else(|| item.get(key)?.as_str()).map(str::to_owned);
    items.iter().filter_map(text).collect()
}

fn section(name: &str) -> &'static toml::Table {
    RULES.get(name).and_then(toml::Value::as_table).unwrap()
}

/// Both ways: what is named and not allowed, and what is allowed and not named.
fn differences(crate_name: &str, named: &[&str], allowed: &[&str]) -> Vec<String> {
    let more = named.iter().filter(|d| !allowed.contains(d));
    let fewer = allowed.iter().filter(|d| !named.contains(d));
    more.map(|d| format!("{crate_name} names `{d}`: do without, or give the reason in the list and in the manifest"))
        .chain(fewer.map(|d| format!("{crate_name} no longer names `{d}`: take it off the list")))
        .collect()
}

fn wrong_arrows(crate_name: &str, named: &[&str], allowed: &[&str]) -> Vec<String> {
    let ours = named.iter().filter(|d| d.starts_with("entente-") && !allowed.contains(d));
    ours.map(|d| format!("{crate_name} -> {d}: an arrow turned round")).collect()
}

fn unwanted(crate_name: &str, brought: &BTreeSet<&str>, unwanted: &[&str]) -> Vec<String> {
    let found = unwanted.iter().filter(|d| brought.contains(*d));
    found.map(|d| format!("{crate_name} brings `{d}`, which only `node` may")).collect()
}

/// Banned features that are on, for `(crate, features)` of the graph.
fn banned_features<'a>(graph: impl Iterator<Item = (&'a str, Vec<String>)>, bans: &toml::Table) -> Vec<String> {
    let graph: Vec<_> = graph.collect();
    let mut found = Vec::new();
    for ban in bans.get("features").and_then(toml::Value::as_array).into_iter().flatten() {
        let name = ban.get("crate").and_then(toml::Value::as_str).unwrap_or_default();
        let denied = listed(ban.as_table().unwrap(), "deny", "");
        for (_, on) in graph.iter().filter(|(n, _)| *n == name) {
            let hit = denied.iter().filter(|d| on.contains(d));
            found.extend(hit.map(|d| {
                format!("{name} has feature `{d}` on: see deny.toml; `cargo tree -e features -i {name}` tells who")
            }));
        }
    }
    found
}

fn missing_features<'a>(graph: impl Iterator<Item = (&'a str, Vec<String>)>, wanted: &[(&str, &str)]) -> Vec<String> {
    let graph: Vec<_> = graph.collect();
    let on = |(name, feature): &&(&str, &str)| !graph.iter().any(|(n, f)| n == name && f.iter().any(|f| f == feature));
    wanted.iter().filter(on).map(|(name, feature)| format!("{name} lacks feature `{feature}`")).collect()
}

/// Names that occur in more than one version and are not in the list.
fn doubled<'a>(names: impl Iterator<Item = &'a str>, reasoned: &[String]) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|name| *count.entry(name).or_default() += 1);
    let twice = count.into_iter().filter(|(name, n)| *n > 1 && !reasoned.iter().any(|r| r == name));
    twice
        .map(|(name, n)| format!("`{name}` in {n} versions: bring them together, or give the reason in deny.toml"))
        .collect()
}

/// Whether an SPDX expression can be met from the list. `AND` binds closer than `OR`; an old `/` means `OR`.
fn licensed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "~");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = alternatives(&words, allowed);
    met && rest.is_empty()
}

fn alternatives<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = conjunction(words, allowed);
    while let ["OR", tail @ ..] = rest {
        let (next, after) = conjunction(tail, allowed);
        (met, rest) = (met | next, after);
    }
    (met, rest)
}

fn conjunction<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = term(words, allowed);
    while let ["AND", tail @ ..] = rest {
        let (next, after) = term(tail, allowed);
        (met, rest) = (met & next, after);
    }
    (met, rest)
}

/// Ends because each call consumes a word.
fn term<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
    match words {
        ["(", tail @ ..] => match alternatives(tail, allowed) {
            (met, [")", rest @ ..]) => (met, rest),
            (_, rest) => (false, rest),
        },
        [name, tail @ ..] => (allowed.iter().any(|a| a.replace(" WITH ", "~") == *name), tail),
        [] => (false, words),
    }
}

#[test]
fn arrows_point_one_way() {
    let members: Vec<&str> = METADATA.workspace_packages().iter().map(|p| p.name.as_str()).collect();
    let mut found = Vec::new();
    for name in &members {
        let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| n == name) else {
            found.push(format!("`{name}` is a new crate: add its arrows to the list"));
            continue;
        };
        for kind in [DependencyKind::Normal, DependencyKind::Development, DependencyKind::Build] {
            found.extend(wrong_arrows(name, &direct(name, kind), allowed));
        }
    }
    none("arrows", &found);
}

#[test]
fn the_inner_crates_name_what_they_may() {
    let mut found = differences("protocol", &direct("entente-protocol", DependencyKind::Normal), PROTOCOL);
    found.extend(differences("policy", &direct("entente-policy", DependencyKind::Normal), POLICY));
    for name in ["entente-protocol", "entente-policy"] {
        found.extend(unwanted(name, &closure(name), NODE_ONLY));
        found.extend(differences(name, &direct(name, DependencyKind::Build), &[]));
    }
    none("dependencies", &found);
}

#[test]
fn one_tls_provider_and_it_is_post_quantum() {
    let mut found = banned_features(features(), section("bans"));
    found.extend(missing_features(features(), MUST_BE_ON));
    none("features", &found);
}

#[test]
fn every_package_has_a_licence_a_source_and_no_ban() {
    let licences = listed(section("licenses"), "allow", "");
    let sources = listed(section("sources"), "allow-registry", "");
    let bans = listed(section("bans"), "deny", "crate");
    let mut found = Vec::new();
    for package in &METADATA.packages {
        let name = format!("{} {}", package.name, package.version);
        if !licensed(package.license.as_deref().unwrap_or("none"), &licences) {
            found.push(format!("{name}: licence `{}`", package.license.as_deref().unwrap_or("none")));
        }
        let source = package.source.as_ref().map(|s| s.repr.trim_start_matches("registry+").to_owned());
        if source.as_ref().is_some_and(|s| !sources.contains(s)) {
            found.push(format!("{name}: source `{}`", source.unwrap_or_default()));
        }
        if bans.iter().any(|b| *b == package.name.as_str()) {
            found.push(format!("{name}: banned, see deny.toml"));
        }
    }
    none("packages", &found);
}

#[test]
fn every_second_version_has_a_reason() {
    let names = METADATA.packages.iter().map(|p| p.name.as_str());
    none("versions", &doubled(names, &listed(section("bans"), "skip", "crate")));
}

#[test]
fn every_crate_of_ours_forbids_unsafe_code_and_panics() {
    let workspace: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let at = |table: &toml::Table, path: &[&str]| {
        path.iter().try_fold(toml::Value::Table(table.clone()), |v, k| v.get(k).cloned())
    };
    let forbids = |table: &toml::Table, path: &[&str]| {
        at(table, path).and_then(|v| v.as_str().map(|s| s == "forbid")) == Some(true)
    };
    assert!(
        forbids(&workspace, &["workspace", "lints", "rust", "unsafe_code"]),
        "the workspace must forbid unsafe code"
    );
    for lint in ["unwrap_used", "expect_used", "panic", "indexing_slicing", "todo", "unimplemented"] {
        let level = at(&workspace, &["workspace", "lints", "clippy", lint]);
        assert_eq!(level.as_ref().and_then(|v| v.as_str()), Some("deny"), "`{lint}` is denied");
    }
    let checks = at(&workspace, &["profile", "release", "overflow-checks"]).and_then(|v| v.as_bool());
    assert_eq!(checks, Some(true), "overflow checks stay on in release");
    for package in METADATA.workspace_packages() {
        let manifest: toml::Table = fs::read_to_string(&package.manifest_path).unwrap().parse().unwrap();
        let inherits = at(&manifest, &["lints", "workspace"]).and_then(|v| v.as_bool()) == Some(true);
        let is_product = ["entente-protocol", "entente-policy", "entente-node"].contains(&package.name.as_str());
        assert!(inherits || !is_product, "{} must keep the workspace's lints", package.name);
        assert!(
            inherits || forbids(&manifest, &["lints", "rust", "unsafe_code"]),
            "{} must forbid unsafe code",
            package.name
        );
    }
}

mod can_fail {
    //! Each rule above over a sample that breaks it, and one that does not.
    use super::*;

    #[test]
    fn arrows_lists_and_closures() {
        assert_eq!(differences("a", &["serde", "tokio"], &["serde", "ring"]).len(), 2);
        assert!(differences("a", &["serde"], &["serde"]).is_empty());
        assert_eq!(wrong_arrows("entente-policy", &["entente-node", "toml"], &["entente-protocol"]).len(), 1);
        assert_eq!(unwanted("a", &BTreeSet::from(["tokio", "serde"]), NODE_ONLY).len(), 1);
        // The closure reaches further than the direct names: node brings quinn's own dependency.
        assert!(closure("entente-node").contains("quinn-proto") && !closure("entente-node").contains("proptest"));
    }

    #[test]
    fn features_on_and_off() {
        let graph = |feature: &str| [("rustls", vec!["std".to_owned(), feature.to_owned()])].into_iter();
        assert_eq!(banned_features(graph("ring"), section("bans")).len(), 1);
        assert!(banned_features(graph("aws_lc_rs"), section("bans")).is_empty());
        assert_eq!(missing_features(graph("ring"), &[("rustls", "aws_lc_rs")]).len(), 1);
        assert!(missing_features(graph("aws_lc_rs"), &[("rustls", "aws_lc_rs")]).is_empty());
    }

    #[test]
    fn licences_and_versions() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for good in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND (ISC OR X)", "Apache-2.0 WITH LLVM-exception"] {
            assert!(licensed(good, &allowed), "{good}");
        }
        for bad in ["", "none", "GPL-3.0", "MIT AND GPL-3.0", "MIT AND (X OR Y)", "(MIT", "MIT ISC", "Apache-2.0"] {
            assert!(!licensed(bad, &allowed), "{bad}");
        }
        assert_eq!(doubled(["a", "b", "a", "c", "c"].into_iter(), &["c".to_owned()]).len(), 1);
    }
}
