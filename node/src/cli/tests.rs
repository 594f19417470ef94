//! Tests of the command line: what parses to what, and that its help teaches.

use super::*;

fn parse(typed: &[&str]) -> Result<Cli, clap::Error> {
    Cli::parse_from_args(std::iter::once("entente").chain(typed.iter().copied()).map(OsString::from))
}

fn each(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name());
        visit(&path, sub);
        each(sub, &path, visit);
    }
}

#[test]
fn definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_an_example_that_names_it() {
    let mut seen = 0;
    each(&Cli::command(), "entente", &mut |path, command| {
        seen += 1;
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example:") && help.contains(path), "`{path}` has no example");
        assert!(command.get_about().is_some(), "`{path}` is not explained");
    });
    assert!(seen > 30, "{seen} commands");
}

#[test]
fn top_help_names_every_record_command() {
    let help = Cli::command().render_help().to_string();
    for name in ["import", "review", "release", "partner", "agreement", "explain", "run", "sync", "search", "record"] {
        assert!(LIFE.lines().any(|line| line.split_whitespace().take(3).any(|word| word == name)), "{name}");
    }
    assert!(help.contains("The life of a record"));
}

#[test]
fn global_flags_stand_before_or_after() -> Result<(), clap::Error> {
    for typed in [["--home", "n", "--json", "partner", "list"], ["partner", "list", "--json", "--home", "n"]] {
        let cli = parse(&typed)?;
        assert_eq!(cli.global.home, Some(PathBuf::from("n")));
        assert!(cli.global.json && cli.global.home_typed, "{typed:?}");
        assert!(matches!(cli.command, Command::Partner(Partner::List)));
    }
    let bare = parse(&["demo", "--once"])?;
    assert!(!bare.global.home_typed);
    assert!(matches!(bare.command, Command::Demo(Demo { once: true, evidence: None })));
    Ok(())
}

#[test]
fn forms_of_the_manual_parse() {
    let check = |typed: &str| {
        let words: Vec<&str> = typed.split(' ').collect();
        assert!(parse(&words).is_ok(), "{typed}: {:?}", parse(&words).err().map(|e| e.to_string()));
    };
    check(
        "init --name X --handle x --listen 127.0.0.1:0 --advertise a:1 --advertise b:2 --identity-file k --recovery-passphrase-file r",
    );
    check("identity show");
    check("identity card -o x.card");
    check("identity renew");
    check("identity contact succeed A --to B --role head --dry-run");
    check("partner add x.card --confirm words");
    check("partner retry x");
    check("partner remove x");
    check("partner remove x --yes");
    check("agreement check x.toml");
    check("agreement sign x.toml -o y --yes");
    check("agreement accept 3f9a01 --yes");
    check("agreement drop 3f9a01 --yes");
    check("agreement end 3f9a01 --yes");
    check("redline check redlines");
    check("redline list");
    check("clock show");
    check("recover --recovery-file r.age --recovery-passphrase-file p --dry-run --passphrase-file n");
    check("clock lower --to now --yes");
    check("import t.csv --map m.toml --attachments photos --dry-run");
    check("review a b --state verified");
    check("review --all-drafts --state refuted");
    check("review --kind item --country CF --state reviewed");
    check("release --all-reviewed");
    check("release --number CAR-1");
    check(
        "search --serial 1 --kind item --country CF --from 2024 --until 2025-01 --number N --state draft --own --limit 5",
    );
    check("search --received");
    check("record attachment abcdef12 -o f");
    check("explain r --to p");
    check("explain r --from p");
    check("sync");
    check("sync p");
    check("bundle export --to p -o f --one-way --max-size 500MB --again --without-files --force --held a:1:2");
    check("bundle import f");
    check("bundle show p");
    check("demo --once --json --home d --evidence f.csv");
    check("completions fish");
    check("man -o d");
    check("run --log debug");
}

#[test]
fn nonsense_is_refused_with_the_choices() -> Result<(), Box<dyn std::error::Error>> {
    let message = |typed: &[&str]| parse(typed).err().map(|e| e.to_string()).ok_or("it was taken");
    assert!(message(&["search", "--kind", "gun"])?.contains("trace-request"));
    assert!(message(&["review", "x", "--state", "draft"])?.contains("verified"));
    assert!(message(&["search", "--own", "--received"])?.contains("cannot be used with"));
    assert!(message(&["explain", "x"])?.contains("--to"));
    assert!(message(&["explain", "x", "--to", "p", "--from", "p"])?.contains("cannot be used with"));
    assert!(message(&["partner", "ad"])?.contains("add"));
    // `--by` is who asks, in every command that has it.
    assert!(message(&["identity", "contact", "succeed", "A", "--by", "B", "--role", "head"])?.contains("--by"));
    Ok(())
}
