//! Reaching the node: through its socket where it runs, else by opening its store here. One answer behind both.
//!
//! Paths become absolute before a call is sent: a running node may stand in another folder.

use super::{
    output::{Failure, Output},
    person::Person,
};
use crate::{
    call::{self, Call, Progress},
    cli::Global,
    clock::SystemClock,
    config::{Config, Home},
    control::client,
    error::Fault,
    node::Node,
    secret::{Secret, unlock::Unlock},
};
use dialoguer::Confirm;
use entente_protocol::id::UserId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value as Json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What every command works with.
pub struct Reach {
    /// Where answers go.
    pub output: Output,
    global: Global,
}

impl Reach {
    /// From the flags that every command takes.
    pub fn new(global: Global) -> Self {
        Self { output: Output::standard(global.json), global }
    }

    /// The home that was named.
    pub fn home(&self) -> Result<Home, Fault> {
        match &self.global.home {
            Some(path) => Ok(Home::at(absolute(path)?)),
            None => {
                Err(Fault::input("no-home", "no home: name the node's folder with --home DIR, or set ENTENTE_HOME"))
            }
        }
    }

    /// The home, if it was typed and does not come from the environment: a demo never uses the real one.
    pub fn typed_home(&self) -> Result<Option<PathBuf>, Fault> {
        self.global.home.as_deref().filter(|_| self.global.home_typed).map(absolute).transpose()
    }

    /// How a home is unlocked: by a file that was named, by the settings, by a passphrase from a file, by asking.
    pub fn unlock(&self, settings: Option<&Config>) -> Result<Unlock, Fault> {
        let named = self.global.identity_file.as_ref();
        if let Some(path) = named.or_else(|| settings.and_then(|s| s.identity_file.as_ref())) {
            return Ok(Unlock::IdentityFile(absolute(path)?));
        }
        match &self.global.passphrase_file {
            Some(path) => Ok(Unlock::PassphraseFile(absolute(path)?)),
            None => Ok(Unlock::Prompt),
        }
    }

    /// How the home of this node is unlocked.
    pub fn unlock_home(&self, home: &Home) -> Result<Unlock, Fault> {
        let settings = Config::load(home).map_err(|e| Fault::setup("config", e))?;
        self.unlock(Some(&settings))
    }

    /// The node by which the calls of one command are answered.
    pub fn node(&self) -> Result<Reached, Fault> {
        let home = self.home()?;
        let way = if client::connect(&home)?.is_some() {
            Way::Running(home.clone())
        } else {
            let unlock = self.unlock_home(&home)?;
            Way::Here(Box::new(Node::open(home.clone(), &unlock, Arc::new(SystemClock))?))
        };
        let user = self.global.user.clone();
        let passphrase = self.global.user_passphrase_file.as_deref().map(absolute).transpose()?;
        Ok(Reached { way, person: Person::new(home, user, passphrase) })
    }

    /// Makes one call.
    pub fn call(&self, call: &Call) -> Result<Json, Fault> {
        self.node()?.call(call)
    }

    /// Makes one call that takes a while, with a bar where somebody watches.
    pub fn call_watched(&self, call: &Call) -> Result<Json, Fault> {
        let node = self.node()?;
        self.watched(|progress| node.call_with(call, progress))
    }

    /// Does what takes a while, with a bar where somebody watches.
    pub fn watched<T>(&self, work: impl FnOnce(call::OnProgress<'_>) -> T) -> T {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(None));
        let answer = work(&mut |at| show(&bar, at));
        bar.finish_and_clear();
        answer
    }

    /// Asks a person, unless a flag has said yes. `flag` is what a script gives instead.
    pub fn confirm(&self, yes: bool, question: &str, flag: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !super::at_terminal() {
            let message = format!("this needs a person's consent, and there is no terminal to ask at: add {flag}");
            return Err(Fault::input("needs-consent", message).into());
        }
        match Confirm::new().with_prompt(question).default(false).wait_for_newline(true).interact() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::input("declined", "declined: nothing was changed").into()),
            Err(e) => Err(Fault::input("declined", format!("no answer, so nothing was changed: {e}")).into()),
        }
    }
}

/// Without a total a count is shown: a bar would call whatever is done all of it.
fn style(total: Option<u64>) -> ProgressStyle {
    let (template, default): (_, fn() -> ProgressStyle) = match total {
        Some(_) => ("{bar:30} {human_pos} of {human_len}  {eta} to go", ProgressStyle::default_bar),
        None => ("{spinner} {human_pos} so far  {elapsed}", ProgressStyle::default_spinner),
    };
    // The templates are constants: where one does not parse, the default shows the same.
    ProgressStyle::with_template(template).unwrap_or_else(|_| default())
}

fn show(bar: &ProgressBar, at: Progress) {
    if bar.length() != at.total {
        bar.set_style(style(at.total));
        at.total.map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
    }
    bar.set_position(at.done);
}

/// How a node is reached.
enum Way {
    /// Another process runs it: each call is a connection to its socket.
    Running(Home),
    /// Opened by this process.
    Here(Box<Node>),
}

/// A node that answers, and the person in whose name it is asked.
pub struct Reached {
    way: Way,
    person: Person,
}

impl Reached {
    /// Whether another process runs the node.
    pub const fn is_running(&self) -> bool {
        matches!(self.way, Way::Running(_))
    }

    /// Makes a call.
    pub fn call(&self, call: &Call) -> Result<Json, Fault> {
        self.call_with(call, &mut |_| {})
    }

    /// Makes a call and tells how far it is. Where there are persons, it is signed by who asks, and so is what the node lays
    /// before that one.
    pub fn call_with(&self, call: &Call, progress: call::OnProgress<'_>) -> Result<Json, Fault> {
        self.person.ask(call, &mut |call, by| self.send(call, by, &mut *progress))
    }

    /// Whose name was given, and that person's id.
    pub fn myself(&self) -> Result<(String, UserId), Fault> {
        self.person.myself(&mut |call, by| self.send(call, by, &mut |_| {}))
    }

    /// The passphrase of whoever asks.
    pub fn my_passphrase(&self) -> Result<Secret<String>, Fault> {
        self.person.phrase()
    }

    fn send(&self, call: &Call, by: Option<String>, progress: call::OnProgress<'_>) -> Result<Json, Fault> {
        match &self.way {
            Way::Here(node) => call::answer_by(node, call, by.as_deref(), progress),
            Way::Running(home) => match client::connect(home)? {
                Some(stream) => client::call_by(stream, call, by, progress),
                None => Err(Fault::setup("stopped", "the node has stopped in between: run the command again")),
            },
        }
    }
}

/// A path that means the same from any folder.
pub fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    std::path::absolute(path).map_err(|e| Fault::input("path", format!("`{}`: {e}", path.display())))
}

/// Refuses to write over what is there: it may be the only copy of something.
pub fn free(output: &Path) -> Result<(), Fault> {
    if output.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("`{}` exists already, and is not overwritten: name another file with -o", output.display());
    Err(Fault::input("exists", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn reach(typed: &[&str]) -> Result<Reach, clap::Error> {
        let typed = std::iter::once("entente").chain(typed.iter().copied()).chain(["status"]);
        Ok(Reach::new(Cli::parse_from_args(typed.map(Into::into))?.global))
    }

    fn settings(identity_file: Option<&str>) -> Result<Config, Box<dyn std::error::Error>> {
        let raw = crate::config::RawConfig {
            identity_file: identity_file.map(str::to_owned),
            ..crate::config::RawConfig::new("N", "n", "127.0.0.1:0")
        };
        Ok(Config::check(raw)?)
    }

    #[test]
    fn what_unlocks_is_taken_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let (with, without) = (settings(Some("/k"))?, settings(None)?);
        let both = reach(&["--identity-file", "/typed", "--passphrase-file", "/p"])?;
        assert_eq!(both.unlock(Some(&with))?, Unlock::IdentityFile("/typed".into()));
        let passphrase = reach(&["--passphrase-file", "/p"])?;
        assert_eq!(passphrase.unlock(Some(&with))?, Unlock::IdentityFile("/k".into()));
        assert_eq!(passphrase.unlock(Some(&without))?, Unlock::PassphraseFile("/p".into()));
        assert_eq!(passphrase.unlock(None)?, Unlock::PassphraseFile("/p".into()));
        Ok(())
    }

    #[test]
    fn a_bar_has_the_length_that_is_known() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        for (done, total) in [(500, None), (1_000, None), (500, Some(1_200)), (1_000, Some(1_200)), (7, None)] {
            show(&bar, Progress { done, total });
            assert_eq!((bar.position(), bar.length()), (done, total));
        }
    }

    #[test]
    fn homes_are_absolute() -> Result<(), Box<dyn std::error::Error>> {
        let home = reach(&["--home", "some/where"])?.home()?;
        assert!(home.path().is_absolute() && home.path().ends_with("some/where"));
        Ok(())
    }

    #[test]
    fn no_node_is_told_with_a_remedy() -> Result<(), Box<dyn std::error::Error>> {
        let empty = tempfile::tempdir()?;
        let path = empty.path().to_str().ok_or("path")?;
        let fault = reach(&["--home", path])?.call(&Call::Status).err().ok_or("it answered")?;
        assert_eq!(fault.exit_code(), 3);
        assert!(fault.message.contains("entente init"), "{fault}");
        Ok(())
    }
}
