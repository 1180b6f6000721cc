//! Where the doors are, told to whoever administers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses of the doors that are open at the moment. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct OpenDoors {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    public: Option<String>,
    admin: Option<String>,
    /// Whether the admin API is not among the public doors.
    apart: bool,
}

impl OpenDoors {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The doors of callers are open at this address now, or shut.
    pub fn set_public(&self, url: Option<String>) {
        self.inner().public = url;
    }

    /// The admin API has an address of its own: this one, or none yet.
    pub fn set_admin(&self, url: Option<String>) {
        let mut inner = self.inner();
        (inner.admin, inner.apart) = (url, true);
    }

    /// Where callers come in.
    pub(super) fn public(&self) -> Option<String> {
        self.inner().public.clone()
    }

    /// Where administrators come in.
    pub(super) fn admin(&self) -> Option<String> {
        let inner = self.inner();
        if inner.apart { inner.admin.clone() } else { inner.public.clone() }
    }
}
