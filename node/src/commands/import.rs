//! `entente import`: a table and its files become drafts; what was refused is named.

use super::{
    output::{Done, Failure},
    reach::{Reach, absolute},
    show::object,
};
use crate::{call::Call, cli, ingest::import::ImportOptions};

/// Imports a file.
pub fn import(reach: &Reach, args: cli::Import) -> Result<Done, Failure> {
    let options = ImportOptions {
        path: absolute(&args.file)?,
        map: args.map.as_deref().map(absolute).transpose()?,
        attachments: args.attachments.as_deref().map(absolute).transpose()?,
        dry_run: args.dry_run,
    };
    let report = reach.call_watched(&Call::Import(options))?;
    reach.output.answer(&report, || object(&report, reach.output.look))?;
    Ok(Done::Well)
}
