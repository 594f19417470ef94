//! `entente init`: a new home, and what to do next.

use super::{
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    table::pairs,
};
use crate::{
    cli,
    clock::SystemClock,
    config::RawConfig,
    error::Fault,
    init,
    secret::{
        recovery::Passphrase,
        unlock::{Unlock, WORK_FACTOR},
    },
};
use serde_json::json;
use std::path::Path;

/// What whoever chooses the second engine must know first.
const SLED: &str = "warning: the engine `sled` survives less than the default one: a damaged file may refuse to open, \
    and its makers call it beta; see \"Engines\" in OPERATING.md, and keep more backups";

/// Said where no address that partners could dial is known.
const UNREACHABLE: &str = "the card will name no address, so partners cannot dial this node, only be dialled by it: give --advertise \
                           HOST:PORT, or set `advertise` in `entente.toml` before you hand the card out";

/// Makes a home.
pub fn init(reach: &Reach, args: cli::Init) -> Result<Done, Failure> {
    let home = reach.home()?;
    let unlock = reach.unlock(None)?;
    if unlock == Unlock::Prompt && !super::at_terminal() {
        let message = "a new home needs a secret that unlocks it, and there is no terminal to ask at: \
            add --passphrase-file FILE or --identity-file FILE";
        return Err(Fault::input("needs-secret", message).into());
    }
    let recovery = match &args.recovery_passphrase_file {
        Some(path) => Passphrase::File(absolute(path)?),
        None => Passphrase::Prompt,
    };
    if recovery == Passphrase::Prompt && !super::at_terminal() {
        let message = "the recovery file needs a passphrase of its own, and there is no terminal to ask at: \
            add --recovery-passphrase-file FILE or set ENTENTE_RECOVERY_PASSPHRASE_FILE";
        return Err(Fault::input("needs-secret", message).into());
    }
    let identity_file = match &unlock {
        Unlock::IdentityFile(path) => Some(text_of(path)?),
        Unlock::PassphraseFile(_) | Unlock::Prompt => None,
    };
    let config = RawConfig {
        advertise: args.advertise,
        engine: args.engine,
        identity_file,
        ..RawConfig::new(args.name, args.handle, args.listen)
    };
    if config.engine == "sled" {
        note(SLED);
    }
    let anywhere = config.listen.parse::<std::net::SocketAddr>().is_ok_and(|listen| listen.ip().is_unspecified());
    if anywhere && config.advertise.is_empty() {
        note(UNREACHABLE);
    }
    let (name, handle) = (config.name.clone(), config.handle.clone());
    let how = init::Init { config, unlock: &unlock, recovery: &recovery, work_factor: WORK_FACTOR };
    let made = init::init(&home, &how, &SystemClock)?;
    let value = json!({
        "id": made.org.to_string(),
        "name": name,
        "handle": handle,
        "words": made.words,
        "home": home.path().display().to_string(),
        "card": home.card().display().to_string(),
        "recovery": home.recovery().display().to_string(),
    });
    reach.output.answer(&value, || {
        let recovery = home.recovery().display().to_string();
        let mut out = pairs(
            [
                ("organisation", format!("{name} ({handle})")),
                ("id", made.org.to_string()),
                ("words", made.words.clone()),
                ("home", home.path().display().to_string()),
                ("card", home.card().display().to_string()),
                ("recovery", recovery.clone()),
            ],
            reach.output.look,
        );
        let next = [
            format!("move `{recovery}` off this machine and lock it away: it opens the second copy of the keyring"),
            "write its passphrase down too, and keep it apart from the file and from what unlocks the home".to_owned(),
            "send the card to your partners, and read them the twelve words over the phone".to_owned(),
            "start the node: `entente run`".to_owned(),
        ];
        out.push('\n');
        out.extend(next.iter().map(|step| format!("next: {}\n", super::plain::line(step))));
        out
    })?;
    Ok(Done::Well)
}

/// A path as settings hold it.
fn text_of(path: &Path) -> Result<String, Fault> {
    let path = absolute(path)?;
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Fault::input("path", format!("`{}` is not UTF-8: settings cannot name it", path.display())))
}
