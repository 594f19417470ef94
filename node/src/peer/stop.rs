//! One signal to stop, seen by every task of `peer`.
//!
//! Whoever owns the tasks signals, then joins them. Nothing here ends a task by force.

use std::sync::Arc;
use tokio::sync::watch;

/// Gives the signal. Clones give the same one.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<watch::Sender<bool>>);

/// Waits for the signal. A dropped [`Stopper`] is a signal too.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A signal that has not been given.
pub fn signal() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(Arc::new(sender)), Stop(receiver))
}

impl Stopper {
    /// Gives the signal; giving it again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the signal was given. Cancel-safe.
    pub async fn requested(&mut self) {
        // An error says that every stopper is gone, which means the same.
        drop(self.0.wait_for(|stop| *stop).await);
    }
    /// Whether it was given.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}
