//! The processes of the demo's nodes. They are ended together, by whichever comes first: the end of the story, or a
//! signal, which another thread hears. After a signal none is started.

use super::federation::failed;
use crate::error::Fault;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All of them.
#[derive(Clone, Default)]
pub struct Children(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_stopped: bool,
    started: Vec<Child>,
}

impl Children {
    /// Starts one; gives its place.
    pub fn start(&self, command: &mut Command) -> Result<usize, Fault> {
        let mut state = self.state();
        if state.is_stopped {
            return Err(failed("no node is started", "the demo was asked to end"));
        }
        let child = command.spawn().map_err(|e| failed("a node cannot be started", e))?;
        state.started.push(child);
        Ok(state.started.len() - 1)
    }

    /// Asks every node to end, and sees to it that none is started.
    pub fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        for child in &mut state.started {
            // One that has ended has left its id to others.
            if matches!(child.try_wait(), Ok(None)) {
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
        }
    }

    /// Ends one by force.
    pub fn kill(&self, place: usize) {
        if let Some(child) = self.state().started.get_mut(place) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether they were asked to end.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// How one has ended, if it has.
    pub fn ended(&self, place: usize) -> Option<ExitStatus> {
        self.state().started.get_mut(place)?.try_wait().ok().flatten()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
