//! `entente run`, `sync`, `stop` and `demo`: what exchanges with partners.

use super::{
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    show::object,
};
use crate::{
    call::Call,
    cli,
    control::client,
    demo::{self, DemoOptions},
    error::Fault,
    run,
};

/// Serves until stopped.
pub fn run(reach: &Reach) -> Result<Done, Failure> {
    let home = reach.home()?;
    if client::connect(&home)?.is_some() {
        let message = format!("a node runs on `{}` already: stop it with `entente stop`", home.path().display());
        return Err(Fault::setup("running", message).into());
    }
    let unlock = reach.unlock_home(&home)?;
    run::run(home, unlock)?;
    Ok(Done::Well)
}

/// One round, by the running node or by this process.
pub fn sync(reach: &Reach, args: cli::Sync) -> Result<Done, Failure> {
    let home = reach.home()?;
    let answer = match client::connect(&home)? {
        Some(stream) => client::call(stream, &Call::Sync { partner: args.partner }, &mut |_| {})?,
        None => {
            let unlock = reach.unlock_home(&home)?;
            run::sync_once(home, unlock, args.partner)?
        }
    };
    reach.output.answer(&answer, || object(&answer, reach.output.look))?;
    Ok(Done::Well)
}

/// Asks the running node to stop.
pub fn stop(reach: &Reach) -> Result<Done, Failure> {
    match client::connect(&reach.home()?)? {
        Some(stream) => {
            let answer = client::call(stream, &Call::Stop, &mut |_| {})?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
        }
        None => note("no node runs on this home"),
    }
    Ok(Done::Well)
}

/// The example federation.
pub fn demo(reach: &Reach, args: cli::Demo) -> Result<Done, Failure> {
    let options = DemoOptions {
        once: args.once,
        json: reach.output.json,
        home: reach.typed_home()?,
        evidence: args.evidence.as_deref().map(absolute).transpose()?,
    };
    Ok(if demo::demo(options)? { Done::Well } else { Done::No(1) })
}
