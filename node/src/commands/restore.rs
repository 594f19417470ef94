//! `entente restore`: a backup becomes a home again.

use super::{
    backup,
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    show::{object, truth},
};
use crate::{
    cli,
    clock::SystemClock,
    doctor::checked,
    error::Fault,
    node::Node,
    recover::Recover,
    restore::{self, Restore},
    secret::unlock::{Unlock, WORK_FACTOR},
};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// Exit code where the restored store is not whole.
const NOT_WHOLE: u8 = 5;

/// Restores, then checks what was restored.
pub fn restore(reach: &Reach, args: cli::Restore) -> Result<Done, Failure> {
    let home = reach.home()?;
    let folder = absolute(&args.folder)?;
    let keyring = args.keyring.as_deref().map(absolute).transpose()?;
    let (identity, passphrase) = backup::opened(&args.recovery_file, args.recovery_passphrase_file)?;
    let unlock = reach.unlock(None)?;
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
    let what = Restore { folder: &folder, number: args.number, keyring: keyring.as_deref(), how };
    let mut answer = reach.watched(|progress| restore::restore(&home, &what, &SystemClock, progress))?;
    if args.dry_run {
        reach.output.answer(&answer, || object(&answer, reach.output.look))?;
        return Ok(Done::Well);
    }
    let node = Node::open(home, &unlock, Arc::new(SystemClock))?;
    // Nobody is asked who they are: whoever restores has the recovery file, and what it does not open nobody can.
    let checked = reach.watched(|progress| checked::check(&node, false, progress))?;
    let wrong: Vec<&Json> = checked.as_array().into_iter().flatten().filter(|entry| !truth(entry, "ok")).collect();
    let whole = wrong.is_empty();
    if let Some(members) = answer.as_object_mut() {
        members.insert("whole".to_owned(), json!(whole));
        members.insert("wrong".to_owned(), json!(wrong));
    }
    reach.output.answer(&answer, || object(&answer, reach.output.look))?;
    if !reach.output.json {
        note(
            "next: see that the old home runs nowhere, run `entente sync` with each partner, then `entente doctor`; what was \
             done after the backup was taken is told there, as far as partners know of it",
        );
    }
    Ok(if whole { Done::Well } else { Done::No(NOT_WHOLE) })
}
