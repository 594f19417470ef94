//! The first failure of a store, kept: what comes after it is refused, and whoever runs the node is told.
//!
//! `holdings` passes every answer of an engine through here, so a caller that only logs an error cannot
//! make the node go on. It decides which errors are failures ([`StoreError::is_fatal`]) and nothing else.

use super::StoreError;
use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// A cause is told sooner than this after what it causes.
const MOMENT: Duration = Duration::from_secs(1);

/// Told once, with the reason.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// Whether a store has failed since it was opened.
#[derive(Default)]
pub struct Failure {
    first: OnceLock<String>,
    /// When an engine first refused after a failure whose cause has not come through here.
    refused: OnceLock<Instant>,
    ignored: bool,
    tell: Mutex<Option<Tell>>,
}

impl Failure {
    /// One that refuses nothing, for whoever looks for damage and goes on. It keeps what an engine did not answer.
    pub fn ignored() -> Self {
        Self { ignored: true, ..Self::default() }
    }
    /// Names who is told. Where the store has failed already, it is told at once.
    pub fn on_failure(&self, tell: Tell) {
        let mut told = self.tell.lock().unwrap_or_else(PoisonError::into_inner);
        match self.first.get() {
            Some(cause) => tell(cause),
            None => *told = Some(tell),
        }
    }
    /// Refuses when there was a failure.
    pub fn healthy(&self) -> Result<(), StoreError> {
        if self.ignored || (self.first.get().is_none() && self.refused.get().is_none()) {
            return Ok(());
        }
        // An engine is not asked again, so that what is refused here is all that comes of it.
        self.note(&StoreError::Poisoned);
        Err(StoreError::Poisoned)
    }
    /// Passes an answer on; a fatal error is kept.
    pub fn watch<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        answer.inspect_err(|error| self.note(error))
    }
    /// Keeps a fatal error, if it is the first. An engine that refuses after a failure says so to one thread while it
    /// still tells another why: that one's answer comes through here too, and is the cause. Only where it has not come
    /// within a moment, the refusal itself is.
    pub fn note(&self, error: &StoreError) {
        if matches!(error, StoreError::Poisoned) && self.refused.get_or_init(Instant::now).elapsed() < MOMENT {
            return;
        }
        if self.ignored {
            if matches!(error, StoreError::Engine { .. } | StoreError::Stream(_)) && error.is_fatal() {
                drop(self.first.set(error.to_string()));
            }
            return;
        }
        if !error.is_fatal() || self.first.set(error.to_string()).is_err() {
            return;
        }
        tracing::error!(%error, "the store failed and refuses all work until it is opened anew");
        // Taken, so that it is called once and outside the lock.
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(tell), Some(cause)) = (tell, self.first.get()) {
            tell(cause);
        }
    }
    /// Why the store failed, if it has.
    pub fn cause(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Instant, MOMENT, StoreError};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[test]
    fn the_cause_is_what_failed_and_not_that_something_had() {
        let (failure, told) = (Failure::default(), Arc::new(AtomicUsize::new(0)));
        let telling = Arc::clone(&told);
        failure.on_failure(Box::new(move |_| {
            telling.fetch_add(1, Ordering::SeqCst);
        }));
        failure.note(&StoreError::Poisoned);
        assert_eq!((failure.cause(), told.load(Ordering::SeqCst)), (None, 0));
        assert!(failure.healthy().is_err(), "nothing more is asked of it all the same");
        failure.note(&StoreError::engine("append", "No space left on device"));
        failure.note(&StoreError::engine("read", "anything"));
        assert!(failure.cause().is_some_and(|cause| cause.contains("No space left")), "{:?}", failure.cause());
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert!(matches!(failure.healthy(), Err(StoreError::Poisoned)));
    }

    #[test]
    fn a_refusal_whose_cause_never_comes_stops_the_node_all_the_same() {
        let failure = Failure::default();
        assert!(Instant::now().checked_sub(2 * MOMENT).is_some_and(|then| failure.refused.set(then).is_ok()));
        assert!(failure.healthy().is_err());
        assert!(failure.cause().is_some());
    }
}
