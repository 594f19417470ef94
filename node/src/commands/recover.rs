//! `entente recover`: another secret for a home, with its recovery file.

use super::{
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    show::object,
};
use crate::{
    cli,
    clock::SystemClock,
    control::client,
    error::Fault,
    recover::{self, Recover},
    seal::hybrid::Identity,
    secret::{
        Secret,
        recovery::{self, Passphrase},
        unlock::{Unlock, UnlockError, WORK_FACTOR},
    },
};
use std::path::Path;

/// Recovers.
pub fn recover(reach: &Reach, args: cli::Recover) -> Result<Done, Failure> {
    let home = reach.home()?;
    if client::connect(&home)?.is_some() {
        let message = "the node runs, so its keys are open: stop it first (`entente stop`), and think again whether you need this";
        return Err(Fault::setup("running", message).into());
    }
    let file = absolute(&args.recovery_file)?;
    let passphrase = match &args.recovery_passphrase_file {
        Some(path) => Passphrase::File(absolute(path)?),
        None => Passphrase::Prompt,
    };
    let (identity, passphrase) = open(&file, &passphrase).map_err(|e| {
        Fault::input("recovery", format!("the recovery file `{}` cannot be opened: {e}", file.display()))
    })?;
    // The settings may name the identity file that is lost: only what is given now counts.
    let unlock = reach.unlock(None)?;
    if let Unlock::IdentityFile(path) = &unlock
        && path.exists()
    {
        let message = format!("`{}` exists: name a new identity file, which is then written", path.display());
        return Err(Fault::input("exists", message).into());
    }
    if unlock == Unlock::Prompt && !args.dry_run && !super::at_terminal() {
        let message = "the home needs a new secret, and there is no terminal to ask at: \
            add --passphrase-file FILE or --identity-file FILE";
        return Err(Fault::input("needs-secret", message).into());
    }
    let how = Recover {
        recovery: &identity,
        passphrase: passphrase.as_ref(),
        unlock: &unlock,
        work_factor: WORK_FACTOR,
        dry_run: args.dry_run,
    };
    let answer = recover::recover(&home, &how, &SystemClock)?;
    reach.output.answer(&answer, || object(&answer, reach.output.look))?;
    if !args.dry_run && !reach.output.json {
        note("next: lock the recovery file away again, write the new passphrase down, and run `entente status`");
    }
    Ok(Done::Well)
}

pub(super) fn open(file: &Path, passphrase: &Passphrase) -> Result<(Identity, Option<Secret<String>>), UnlockError> {
    let passphrase = if recovery::is_sealed(file)? { Some(passphrase.read(false)?) } else { None };
    Ok((recovery::open(file, passphrase.as_ref())?, passphrase))
}
