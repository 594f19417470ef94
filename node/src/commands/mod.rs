//! The commands: one file for each, from what was typed to what is printed.
//!
//! Called by `main` only. A command makes a [`crate::call::Call`], lets a node answer it (`reach`), and shows the
//! JSON that comes back: as it is to a program, as tables to people. No command touches a store, a key or a
//! policy itself; `init`, `run`, `sync` and `demo` call the function of that name.

mod agreement;
mod audit;
mod backup;
mod bundle;
mod check;
mod clock;
mod doctor;
mod explain;
mod gate;
mod history;
mod identity;
mod import;
mod init;
mod keys;
mod kinds;
mod log;
mod onward;
mod output;
mod package;
mod pages;
mod partner;
mod person;
mod plain;
mod preview;
mod reach;
mod recall;
mod record;
mod recover;
mod redline;
mod restore;
mod serve;
mod show;
mod status;
mod table;
mod user;
mod verify;

use crate::{
    cli::{Cli, Command, Global},
    error::Fault,
};
use output::{Done, Failure};
use reach::Reach;
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

/// Parses, carries out, prints; returns the exit code. A child that reads a file for an import is no command, and
/// nothing is done in it before it has limited itself.
pub fn main(args: Vec<OsString>) -> ExitCode {
    if let Some(done) = crate::ingest::child::called(&args) {
        return done;
    }
    let json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::parse_from_args(args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, json),
    };
    let json = cli.global.json;
    let done = log(&cli.global, &cli.command).map_err(Failure::from).and_then(|()| {
        crate::secret::leave_no_core();
        dispatch(cli)
    });
    match done {
        Ok(done) => done.into(),
        Err(failure) => output::report(&failure, json),
    }
}

/// What clap has to say: help and version are answers, the rest is a fault of what was typed.
fn refused(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        return output::report(&Fault::input("usage", message).into(), true);
    }
    // Where nobody reads, there is nothing to say.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn log(global: &Global, command: &Command) -> Result<(), Fault> {
    let usual = if matches!(command, Command::Run) { "info" } else { "warn" };
    let level = global.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::builder().parse(level).map_err(|e| {
        let says = "give error, warn, info, debug or trace";
        Fault::input("log", format!("`{level}` is no log level: {e}; {says} (--log or ENTENTE_LOG)"))
    })?;
    let colour = io::stderr().is_terminal() && !crate::cli::no_colour();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    // Set already where a test has one: its choice stands.
    let _ = subscriber.try_init();
    Ok(())
}

/// Whether a person can be asked.
fn at_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn dispatch(cli: Cli) -> Result<Done, Failure> {
    let reach = Reach::new(cli.global);
    match cli.command {
        Command::Init(args) => init::init(&reach, args),
        Command::Identity(command) => identity::identity(&reach, command),
        Command::Key(command) => keys::key(&reach, command),
        Command::Keyring(command) => keys::keyring(&reach, command),
        Command::Partner(command) => partner::partner(&reach, command),
        Command::Agreement(command) => agreement::agreement(&reach, command),
        Command::Redline(command) => redline::redline(&reach, command),
        Command::Recall(command) => recall::recall(&reach, command),
        Command::Onward(command) => onward::onward(&reach, command),
        Command::Hold(command) => recall::hold(&reach, command),
        Command::User(command) => user::user(&reach, command),
        Command::Log(command) => log::log(&reach, command),
        Command::Audit(command) => audit::audit(&reach, command),
        Command::Clock(command) => clock::clock(&reach, command),
        Command::Recover(args) => recover::recover(&reach, args),
        Command::Import(args) => import::import(&reach, args),
        Command::Review(args) => gate::review(&reach, args),
        Command::Release(args) => gate::release(&reach, args),
        Command::Search(args) => record::search(&reach, args),
        Command::Record(command) => record::record(&reach, command),
        Command::Package(args) => package::package(&reach, args),
        Command::Verify(args) => verify::verify(&reach, &args),
        Command::Kinds(args) => kinds::kinds(&reach, &args),
        Command::Explain(args) => explain::explain(&reach, args),
        Command::Run => serve::run(&reach),
        Command::Bundle(command) => bundle::bundle(&reach, command),
        Command::Sync(args) => serve::sync(&reach, args),
        Command::Status => status::status(&reach),
        Command::Backup(args) => backup::backup(&reach, args),
        Command::Restore(args) => restore::restore(&reach, args),
        Command::Doctor(args) => doctor::doctor(&reach, &args),
        Command::Check(args) => check::check(&reach, &args),
        Command::Stop => serve::stop(&reach),
        Command::Demo(args) => serve::demo(&reach, args),
        Command::Completions(args) => pages::completions(&reach, &args),
        Command::Man(args) => pages::man(&reach, &args),
    }
}
