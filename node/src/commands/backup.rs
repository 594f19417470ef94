//! `entente backup`: everything on another disk; and what lies there.

use super::{
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    recover,
    show::{object, text, truth},
    table::Table,
};
use crate::{
    backup::verify,
    call::Call,
    cli::{self, BackupCommand},
    error::Fault,
    secret::recovery::Passphrase,
};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Exit code where an archive is not whole: that of any fault of the store.
const NOT_WHOLE: u8 = 5;

/// Makes an archive, lists them, or looks whether they are whole.
pub fn backup(reach: &Reach, args: cli::Backup) -> Result<Done, Failure> {
    match (args.command, args.folder) {
        (Some(BackupCommand::List { folder }), _) => {
            let value = verify::list(&absolute(&folder)?)?;
            let mut table = Table::new(&["number", "at", "kind", "opens", "bytes", "rows", "files", "file"]);
            for row in value.as_array().into_iter().flatten() {
                let opens = if truth(row, "opens") { "yes" } else { "no: keys were rotated since" };
                let kind = if truth(row, "full") { "full" } else { "what is new" };
                let [number, at, bytes, rows, files, file] =
                    ["number", "at", "bytes", "rows", "files", "file"].map(|key| text(row, key));
                table.row([number, at, kind.to_owned(), opens.to_owned(), bytes, rows, files, file]);
            }
            reach.output.listing(&value, &table, "no backups")?;
            Ok(Done::Well)
        }
        (Some(BackupCommand::Verify { folder, recovery_file, recovery_passphrase_file }), _) => {
            look(reach, &absolute(&folder)?, recovery_file.as_deref(), recovery_passphrase_file)
        }
        (None, Some(folder)) => {
            let folder = absolute(&folder)?;
            let value = reach.call_watched(&Call::Backup { folder, full: args.full })?;
            reach.output.answer(&value, || object(&value, reach.output.look))?;
            if truth(&value, "same_disk") && !reach.output.json {
                note("this folder is on the disk of the home, with which it would be lost: copy it to another one");
            }
            Ok(Done::Well)
        }
        (None, None) => Err(Fault::input("usage", "name the folder of backups: entente backup DIR").into()),
    }
}

fn look(reach: &Reach, folder: &Path, recovery: Option<&Path>, passphrase: Option<PathBuf>) -> Result<Done, Failure> {
    let identity = recovery.map(|file| opened(file, passphrase)).transpose()?;
    let identity = identity.map(|(identity, _)| identity);
    let value = reach.watched(|progress| verify::verify(folder, identity.as_ref(), progress))?;
    let whole = value.as_array().into_iter().flatten().all(|row| truth(row, "ok"));
    reach.output.answer(&value, || render(&value, whole, reach))?;
    Ok(if whole { Done::Well } else { Done::No(NOT_WHOLE) })
}

fn render(value: &Json, whole: bool, reach: &Reach) -> String {
    let look = reach.output.look;
    let verdict =
        if whole { look.good("everything is as it was written") } else { look.bad("this backup is not whole") };
    let mut table = Table::new(&["id", "ok", "says", "file"]);
    for row in value.as_array().into_iter().flatten() {
        table.row(["id", "ok", "says", "file"].map(|key| text(row, key)));
    }
    format!("{verdict}\n\n{}", table.render(look))
}

/// A recovery file that was opened, with what opened it.
type Opened = (crate::seal::hybrid::Identity, Option<crate::secret::Secret<String>>);

/// Opens a recovery file with its passphrase.
pub(super) fn opened(file: &Path, passphrase: Option<PathBuf>) -> Result<Opened, Fault> {
    let file = absolute(file)?;
    let passphrase = match passphrase {
        Some(path) => Passphrase::File(absolute(&path)?),
        None => Passphrase::Prompt,
    };
    recover::open(&file, &passphrase)
        .map_err(|e| Fault::input("recovery", format!("the recovery file `{}` cannot be opened: {e}", file.display())))
}
