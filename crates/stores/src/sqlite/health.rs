//! How the writer is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the writer is, for everybody to see.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Vitals>);

/// How the writer is.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals {
    /// Why it cannot write.
    pub(super) fault: Option<Arc<str>>,
    /// Writes that are kept for a better time.
    pub(super) kept: usize,
    /// Calls that retention took.
    pub(super) retired: u64,
}

impl Health {
    /// The same, to be changed.
    pub(super) fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is now.
    pub(super) fn get(&self) -> Vitals {
        self.vitals().clone()
    }
}
