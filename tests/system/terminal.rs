//! What a person meets at a terminal: questions, colours, and what a program meets without one.

use entente_tests::{
    Home, World, run,
    terminal::{at_terminal, is_at_hand},
};
use std::{error::Error, fs, os::unix::fs::PermissionsExt};

type Outcome = Result<(), Box<dyn Error>>;

/// The command line of a home with its identity file.
fn typed<'a>(home: &'a [String; 2], words: &[&'a str]) -> Vec<&'a str> {
    ["--home", &home[0], "--identity-file", &home[1]].into_iter().chain(words.iter().copied()).collect()
}

fn of(home: &Home) -> [String; 2] {
    [home.path(home.handle), home.path(&format!("{}.key", home.handle))]
}

/// Story: a home is made and opened at a terminal. Both passphrases are asked for twice, none is shown; a wrong one opens
/// nothing, the right one does.
#[test]
fn passphrases_are_asked_for_and_not_shown() -> Outcome {
    if !is_at_hand() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("n").display().to_string();
    let [own, safe] = ["correct horse battery", "quite another staple"];
    let [own_line, safe_line] = [own, safe].map(|words| format!("{words}\r"));
    let init = ["--home", &home, "init", "--name", "N", "--handle", "n", "--listen", "127.0.0.1:0"];
    let made = at_terminal(
        &init,
        &[],
        &[("passphrase", &own_line), ("once more", &own_line), ("passphrase", &safe_line), ("once more", &safe_line)],
    );
    assert_eq!(made.code, Some(0), "{}", made.screen);
    assert!(made.screen.contains("next: move"), "{}", made.screen);
    assert!(!made.screen.contains(own) && !made.screen.contains(safe), "{}", made.screen);

    let status = ["--home", &home, "status"];
    let opened = at_terminal(&status, &[], &[("passphrase", &own_line)]);
    assert!(opened.code == Some(0) && opened.screen.contains("records own"), "{}", opened.screen);
    assert!(!opened.screen.contains(own), "{}", opened.screen);
    let wrong = at_terminal(&status, &[], &[("passphrase", "not this one at all\r")]);
    assert!(wrong.code == Some(3) && wrong.screen.contains("wrong passphrase"), "{}", wrong.screen);
    // The passphrase of the recovery file is another's business.
    let other = at_terminal(&status, &[], &[("passphrase", &safe_line)]);
    assert_eq!(other.code, Some(3), "{}", other.screen);
    // Where nobody can be asked, it is said what a script does.
    let none = run(&["--home", &home, "--json", "status"], &[]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.status.code() == Some(3) && said.contains("not at a terminal"), "{said}");
    Ok(())
}

/// Story: a partner is added by a person who compares words. They are shown and asked about; "no" leaves nothing. To
/// remove the partner again is asked about too.
#[test]
fn a_partner_is_added_and_removed_by_a_person_who_was_asked() -> Outcome {
    if !is_at_hand() {
        return Ok(());
    }
    let (_world, [a, b]) = World::of(81, ["a", "b"]);
    let card = b.path("b.card");
    b.ok(&["identity", "card", "-o", &card]);
    let words = b.json(&["identity", "show"])["words"].as_str().ok_or("words")?.to_owned();
    let home = of(&a);
    let add = typed(&home, &["partner", "add", &card]);
    let asked = "Did the partner read out these twelve words";
    let declined = at_terminal(&add, &[], &[(asked, "n\r")]);
    assert_eq!(declined.code, Some(2), "{}", declined.screen);
    assert!(
        declined.screen.contains("nothing was changed") && declined.screen.contains("B (b)"),
        "{}",
        declined.screen
    );
    for (n, word) in (1..).zip(words.split_whitespace()) {
        assert!(declined.screen.contains(&format!("{n:>2} {word}")), "{n} {word}: {}", declined.screen);
    }
    assert_eq!(a.json(&["partner", "list"]), serde_json::json!([]));
    // Who only presses Enter has said nothing.
    let nothing = at_terminal(&add, &[], &[(asked, "\r")]);
    assert_eq!((nothing.code, a.json(&["partner", "list"])), (Some(2), serde_json::json!([])), "{}", nothing.screen);
    // A letter alone is no answer: who goes on to type may take it back.
    let taken_back = at_terminal(&add, &[], &[(asked, "yn\r")]);
    assert_eq!(
        (taken_back.code, a.json(&["partner", "list"])),
        (Some(2), serde_json::json!([])),
        "{}",
        taken_back.screen
    );
    let added = at_terminal(&add, &[], &[(asked, "y\r")]);
    assert_eq!(added.code, Some(0), "{}", added.screen);
    assert_eq!(a.json(&["partner", "list"])[0]["handle"], "b");

    let fault = a.refused(2, &["partner", "remove", "b"]);
    assert!(fault["message"].as_str().is_some_and(|m| m.contains("--yes")), "{fault}");
    // What one is asked to consent to can be read.
    let rotate = typed(&home, &["key", "rotate", "log"]);
    let seen = at_terminal(&rotate, &[], &[("destroy this one?", "n\r")]);
    assert!(seen.code == Some(2) && seen.screen.contains("old counts until"), "{}", seen.screen);
    assert!(!seen.screen.contains("\\u{1b}"), "{}", seen.screen);
    let remove = typed(&home, &["partner", "remove", "b"]);
    let kept = at_terminal(&remove, &[], &[("Remove this partner?", "n\r")]);
    assert!(kept.code == Some(2) && kept.screen.contains("partner suspend"), "{}", kept.screen);
    assert_eq!(a.json(&["partner", "show", "b"])["state"], "active");
    let removed = at_terminal(&remove, &[], &[("Remove this partner?", "y\r")]);
    assert_eq!(removed.code, Some(0), "{}", removed.screen);
    assert_eq!(a.json(&["partner", "show", "b"])["state"], "removed");
    Ok(())
}

/// Story: the same listing at a terminal, at one whose owner wants no colours, and in a pipe. Only the first is coloured.
#[test]
fn colours_are_for_terminals_whose_owner_wants_them() {
    let (_world, [a]) = World::of(82, ["a"]);
    let home = of(&a);
    let status = typed(&home, &["status"]);
    let piped = run(&status, &[("TERM", "xterm")]);
    assert!(piped.status.success() && !piped.stdout.contains(&0x1b) && !piped.stderr.contains(&0x1b), "{piped:?}");
    let refused = run(&typed(&home, &["record", "show", "X"]), &[("TERM", "xterm")]);
    assert!(refused.status.code() == Some(2) && !refused.stderr.contains(&0x1b), "{refused:?}");
    if !is_at_hand() {
        return;
    }
    let coloured = at_terminal(&status, &[], &[]);
    assert!(coloured.code == Some(0) && coloured.screen.contains("\u{1b}[1m"), "{}", coloured.screen);
    let plain = at_terminal(&status, &[("NO_COLOR", "1")], &[]);
    assert!(plain.code == Some(0) && !plain.screen.contains('\u{1b}'), "{:?}", plain.screen);
    // Set and empty is not set (no-color.org).
    let empty = at_terminal(&status, &[("NO_COLOR", "")], &[]);
    assert!(empty.screen.contains("\u{1b}[1m"), "{}", empty.screen);
    let json = at_terminal(&typed(&home, &["status", "--json"]), &[], &[]);
    assert!(!json.screen.contains('\u{1b}'), "a program reads colours: {:?}", json.screen);
    let refused = at_terminal(&typed(&home, &["record", "show", "X"]), &[("NO_COLOR", "1")], &[]);
    assert!(refused.code == Some(2) && !refused.screen.contains('\u{1b}'), "{:?}", refused.screen);
}

/// Story: somebody installs the manual pages and completions. There is one page for each command, and each shell's script
/// is for that shell and knows every command.
#[test]
fn pages_and_completions_name_every_command() -> Outcome {
    let folder = tempfile::tempdir()?;
    let pages = folder.path().join("man1").display().to_string();
    assert!(run(&["man", "-o", &pages], &[]).status.success());
    let mut commands: Vec<String> = Vec::new();
    for entry in fs::read_dir(&pages)? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        assert!(text.contains(".TH") && text.contains("Example:") || entry.file_name() == "entente.1", "{entry:?}");
        let name = entry.file_name().into_string().map_err(|_| "name")?;
        commands.extend(name.strip_prefix("entente-").and_then(|n| n.strip_suffix(".1")).map(str::to_owned));
    }
    assert!(commands.len() > 40, "{commands:?}");
    let top = commands.iter().filter(|name| !name.contains('-')).collect::<Vec<_>>();
    for name in ["import", "partner", "agreement", "sync", "status", "record", "recover", "clock"] {
        assert!(top.iter().any(|known| *known == name), "`{name}` has no page");
    }
    let page = run(&["man"], &[]);
    let page = String::from_utf8(page.stdout)?;
    let shells = [
        ("bash", "complete -F"),
        ("zsh", "#compdef entente"),
        ("fish", "complete -c entente"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ];
    for name in &top {
        assert!(page.contains(name.as_str()), "`{name}` is not on the manual page");
    }
    for (shell, says) in shells {
        let script = run(&["completions", shell], &[]);
        let script = String::from_utf8(script.stdout)?;
        assert!(script.contains(says), "{shell}: {}", script.lines().take(3).collect::<String>());
        for name in &commands {
            let last = name.rsplit('-').next().unwrap_or(name);
            assert!(script.contains(last), "{shell}: `{name}` is missing");
        }
    }
    assert_eq!(run(&["completions", "abacus"], &[]).status.code(), Some(2));
    Ok(())
}

/// Story: another user of the machine looks for a way in. While the node runs, its socket and everything around it is its
/// owner's alone.
#[test]
fn the_socket_and_its_folder_are_the_owners_alone() -> Outcome {
    let (_world, [mut a]) = World::of(83, ["a"]);
    a.start();
    let mode = |path: &str| -> Result<u32, std::io::Error> {
        Ok(fs::metadata(a.folder().path().join(path))?.permissions().mode() & 0o777)
    };
    assert_eq!((mode("control.sock")?, mode("")?, mode("keys")?, mode("store")?), (0o600, 0o700, 0o700, 0o700));
    Ok(())
}
