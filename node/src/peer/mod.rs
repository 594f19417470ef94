//! Partners over the network: who they are, TLS, QUIC, and the pump that moves a session's frames.
//!
//! Called by `run`. This is one of the few places with tokio in it. It knows nothing of records, policy or
//! storage: what a frame means is decided by the synchronous core, behind [`driver::Exchange`].
//!
//! Reading order: [`book`] (whom we know, and [`budget`]: how much of us each may take), [`issue`] and [`tls`] (identity), [`endpoint`] and [`links`]
//! (connections), [`driver`] and [`fetch`] (one session, its files), [`accept`] and [`dial`] (the loops).

pub mod accept;
pub mod book;
pub mod budget;
pub mod dial;
pub mod driver;
pub mod endpoint;
pub mod fetch;
pub mod issue;
mod lane;
pub mod links;
pub mod stop;
pub mod tls;

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod tests;

/// A live connection, for who fetches files over it.
pub use quinn::Connection;

use entente_protocol::time::UnixMillis;
use std::{fmt, sync::Arc};

/// Where the time comes from: injected, so that tests and simulations choose it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixMillis + Send + Sync>);

impl Clock {
    /// A clock that answers with what `now` returns.
    pub fn new(now: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
    /// The time.
    pub fn now(&self) -> UnixMillis {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
