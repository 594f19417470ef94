//! Settings, checked once: addresses parsed, names bounded.

use super::{Home, RawConfig, RawGate};
use crate::records::gate::Review;
use crate::{
    error::unquoted,
    peer::endpoint::WINDOW_BYTES,
    regular,
    store::open::{Backend, ENGINES},
};
use entente_policy::roles::Eyes;
use entente_protocol::{identity::Address, limits, user::Role};
use std::{env, io, net::SocketAddr, path::PathBuf};

/// Least review state for release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Somebody has reviewed it.
    Reviewed,
    /// It has been verified.
    Verified,
}

/// A stage of the review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What people call it.
    pub name: String,
    /// Who takes it.
    pub role: Role,
    /// The state after it.
    pub state: Review,
}

/// Settings that hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The organisation's name.
    pub name: String,
    /// Its short name.
    pub handle: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Addresses on the card.
    pub advertise: Vec<String>,
    /// Storage engine.
    pub engine: Backend,
    /// Release gate.
    pub gate: Gate,
    /// How many persons see a record, where there are persons.
    pub eyes: Eyes,
    /// Stages of the review in their order; none where the usual states are enough.
    pub stages: Vec<Stage>,
    /// File or folder of red lines, from the home.
    pub red_lines: Option<PathBuf>,
    /// The program of the solver, if one is known.
    pub solver: Option<PathBuf>,
    /// Identity file that unlocks the home.
    pub identity_file: Option<PathBuf>,
    /// Most that one partner may fill here, in bytes.
    pub partner_bytes_max: u64,
    /// Free space below which nothing more is taken from partners, in bytes.
    pub free_bytes_min: u64,
    /// How long an interval of the log lasts, in seconds, when the log begins.
    pub log_interval_s: u64,
    /// Whether others may be shown that we witnessed a partner's log.
    pub named_witness: bool,
    /// What a partner may send ahead of what is read here, for each connection, in bytes.
    pub window_bytes: u32,
}

/// What one partner may fill where the settings say nothing.
const PARTNER_GIB_MAX: u64 = 100;
/// What stays free where the settings say nothing: room for the store's own work, and for people to see what is wrong.
const FREE_MIB_MIN: u64 = 256;
/// Most of it: with as many connections as partners, still within the memory of a small machine.
const WINDOW_MIB_MAX: u32 = 64;

/// Settings that cannot be used: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No home here.
    #[error(
        "there is no node at `{0}`: make one with `entente init`, name its folder with --home or ENTENTE_HOME, or, if it was lost, put it back with `entente restore`"
    )]
    NoHome(PathBuf),
    /// A home without its settings.
    #[error(
        "`{0}` holds keys and a card, and no `entente.toml`: a home whose settings are missing. Put them back from a backup, or \
         write them anew (`name`, `handle` and `listen`); a new home would be another organisation"
    )]
    NoSettings(PathBuf),
    /// Not readable.
    #[error("`{path}` cannot be read: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not the TOML that is expected.
    #[error("`{path}`: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        message: String,
    },
    /// A value out of bounds.
    #[error("`{key}` in the settings: {what}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong and what is taken.
        what: String,
    },
}

/// Bytes of settings that are read.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads the settings of a home.
    pub fn load(home: &Home) -> Result<Self, ConfigError> {
        let path = home.config();
        let text = regular::text(&path, SETTINGS_BYTES_MAX).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound if home.keys().exists() && home.card().exists() => {
                ConfigError::NoSettings(home.path().to_owned())
            }
            io::ErrorKind::NotFound => ConfigError::NoHome(home.path().to_owned()),
            _ => ConfigError::Io { path: path.clone(), cause },
        })?;
        let raw = toml::from_str(&text).map_err(|e| ConfigError::Toml { path, message: unquoted(&text, &e) })?;
        let config = Self::check(raw)?;
        Ok(Self { solver: config.solver.or_else(solver_on_path), ..config })
    }

    /// Checks what was typed.
    pub fn check(raw: RawConfig) -> Result<Self, ConfigError> {
        let refuse = |key, what: &str| Err(ConfigError::Value { key, what: what.to_owned() });
        if raw.name.trim().is_empty() || raw.name.len() > 200 || raw.name.chars().any(char::is_control) {
            return refuse("name", "give the organisation's name, at most 200 bytes");
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if raw.handle.is_empty() || raw.handle.len() > 32 || !raw.handle.chars().all(plain) {
            return refuse("handle", "at most 32 of a to z, 0 to 9 and -");
        }
        let Ok(listen) = raw.listen.parse::<SocketAddr>() else {
            return refuse("listen", "give an address and port, such as 0.0.0.0:4433");
        };
        let engine = match Backend::named(&raw.engine) {
            Some(engine) if engine.is_built() => engine,
            Some(engine) => {
                let name = engine.name();
                return refuse("engine", &format!("this build lacks `{name}`: use one with the feature `{name}`"));
            }
            None => return refuse("engine", &format!("one of `{}`", ENGINES.join("`, `"))),
        };
        if let Some(wrong) = raw.advertise.iter().find(|text| text.parse::<Address>().is_err()) {
            return refuse(
                "advertise",
                &format!("`{wrong}` is no address: give host:port, such as node.field.example:4433"),
            );
        }
        let gate = match raw.release_gate.as_str() {
            "reviewed" => Gate::Reviewed,
            "verified" => Gate::Verified,
            _ => return refuse("release-gate", "one of `reviewed`, `verified`"),
        };
        let (eyes, stages) = raw.gate.map_or(Ok((Eyes::Two, Vec::new())), |gate| passing(&gate))?;
        let window_bytes = match raw.window_mib {
            None => WINDOW_BYTES,
            Some(mib @ 1..=WINDOW_MIB_MAX) => mib << 20,
            Some(_) => return refuse("window-mib", &format!("give 1 to {WINDOW_MIB_MAX}")),
        };
        let log_interval_s = match raw.log_interval {
            None => crate::custody::INTERVAL_S,
            Some(seconds @ 1..=limits::LOG_INTERVAL_S_MAX) => seconds,
            Some(_) => return refuse("log-interval", &format!("give 1 to {} seconds", limits::LOG_INTERVAL_S_MAX)),
        };
        let solver = raw.solver.map(PathBuf::from);
        if solver.as_ref().is_some_and(|path| !path.is_absolute()) {
            return refuse("solver", "give the whole path of the program, such as /opt/cvc5/bin/cvc5");
        }
        Ok(Self {
            name: raw.name,
            handle: raw.handle,
            listen,
            advertise: raw.advertise,
            engine,
            gate,
            eyes,
            stages,
            red_lines: raw.red_lines.map(PathBuf::from),
            solver,
            identity_file: raw.identity_file.map(PathBuf::from),
            partner_bytes_max: raw.partner_gib_max.unwrap_or(PARTNER_GIB_MAX).saturating_mul(1 << 30),
            free_bytes_min: raw.free_mib_min.unwrap_or(FREE_MIB_MIN).saturating_mul(1 << 20),
            log_interval_s,
            named_witness: raw.named_witness.unwrap_or(false),
            window_bytes,
        })
    }
}

/// Most stages of a review.
const STAGES_MAX: usize = 16;

/// The `[gate]` table: how many see a record, and the stages of its review.
fn passing(raw: &RawGate) -> Result<(Eyes, Vec<Stage>), ConfigError> {
    let refuse = |what: String| ConfigError::Value { key: "gate", what };
    let eyes = match raw.eyes.as_str() {
        "two" => Eyes::Two,
        "one" => Eyes::One,
        other => return Err(refuse(format!("`eyes = \"{other}\"`: one of `two`, `one`"))),
    };
    let mut stages: Vec<Stage> = Vec::with_capacity(raw.stage.len());
    if raw.stage.len() > STAGES_MAX {
        return Err(refuse(format!("at most {STAGES_MAX} stages")));
    }
    for stage in &raw.stage {
        let name = &stage.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) || stages.iter().any(|s| s.name == *name) {
            return Err(refuse(format!(
                "the stage `{name}` needs a name of its own: at most 32 of a to z, 0 to 9 and -"
            )));
        }
        let roles = || Role::ALL.map(Role::name).join("`, `");
        let role = Role::from_name(&stage.role)
            .ok_or_else(|| refuse(format!("the role of the stage `{name}`: one of `{}`", roles())))?;
        let state = match stage.state.as_str() {
            "draft" => Review::Draft,
            "reviewed" => Review::Reviewed,
            "verified" => Review::Verified,
            _ => {
                return Err(refuse(format!("the state of the stage `{name}`: one of `draft`, `reviewed`, `verified`")));
            }
        };
        if stages.last().is_some_and(|before| before.state > state) {
            return Err(refuse(format!("the stage `{name}` lowers the state: order the stages so that it rises")));
        }
        stages.push(Stage { name: name.clone(), role, state });
    }
    Ok((eyes, stages))
}

/// The program that `CVC5` names, else the first `cvc5` on the PATH. Only whole paths: the child starts elsewhere.
fn solver_on_path() -> Option<PathBuf> {
    let named = env::var_os("CVC5").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = || env::split_paths(&path).map(|folder| folder.join("cvc5")).find(|program| program.is_file());
    named.or_else(found).filter(|program| program.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key() {
        let check = |text: &str, expected: &str| {
            let error = toml::from_str(text)
                .map_err(|e| e.to_string())
                .and_then(|raw: RawConfig| Config::check(raw).map_err(|e| e.to_string()));
            let message = error.err().unwrap_or_default();
            assert!(message.contains(expected), "{message}");
        };
        let good = "name = \"CAR\"\nhandle = \"car\"\nlisten = \"127.0.0.1:0\"\n";
        check(&format!("{good}lisen = \"x\""), "lisen");
        check(&good.replace("127.0.0.1:0", "here"), "`listen`");
        check(&good.replace("\"car\"", "\"Car One\""), "`handle`");
        check(&format!("{good}release-gate = \"none\""), "`release-gate`");
        check(&format!("{good}advertise = [\"here\"]"), "`advertise`");
        check(&format!("{good}engine = \"other\""), "`engine`");
        check(&format!("{good}solver = \"cvc5\""), "`solver`");
        let window =
            |text: &str| toml::from_str(text).ok().and_then(|raw| Config::check(raw).ok()).map(|c| c.window_bytes);
        assert_eq!(window(good), Some(WINDOW_BYTES));
        assert_eq!(window(&format!("{good}window-mib = 64")), Some(64 << 20));
        check(&format!("{good}window-mib = 0"), "`window-mib`");
        check(&format!("{good}log-interval = 0"), "`log-interval`");
        check(&format!("{good}log-interval = 86401"), "`log-interval`");
        check(&format!("{good}window-mib = 65"), "`window-mib`");
        if !cfg!(feature = "sled") {
            check(&format!("{good}engine = \"sled\""), "this build lacks `sled`");
        }
    }
}
