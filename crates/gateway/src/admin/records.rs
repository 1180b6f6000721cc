//! Reading the record.

use model::CallId;

use super::{Admin, AdminError};
use crate::store::{
    CallFilter, CallPage, Cursor, EndedPage, FullCall, Progress, RefusalFilter, RefusalGroup,
    RefusalPage, StoreState, UsageFilter, UsageRow, Verdict,
};

impl Admin {
    /// Calls that fit a filter, newest first.
    pub async fn calls(
        &self,
        filter: CallFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<CallPage, AdminError> {
        self.inner.store.calls(filter, after, limit).await.map_err(AdminError::Store)
    }

    /// Calls in the order of their ends, behind a place of the record.
    pub async fn ended(&self, after: Option<u64>, limit: usize) -> Result<EndedPage, AdminError> {
        self.inner.store.ended(after, limit).await.map_err(AdminError::Store)
    }

    /// One call with its bodies.
    pub async fn call(&self, id: CallId) -> Result<FullCall, AdminError> {
        let found = self.inner.store.call(id).await.map_err(AdminError::Store)?;
        found.ok_or(AdminError::NotFound("call"))
    }

    /// What was spent.
    pub async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRow>, AdminError> {
        self.inner.store.usage(filter).await.map_err(AdminError::Store)
    }

    /// What was counted of refusals that fit a filter, newest first.
    pub async fn refusals(
        &self,
        filter: RefusalFilter,
        after: Option<RefusalGroup>,
        limit: usize,
    ) -> Result<RefusalPage, AdminError> {
        self.inner.store.refusals(filter, after, limit).await.map_err(AdminError::Store)
    }

    /// Checks the journal; one check at a time. Dropping the future ends the check.
    pub async fn verify(&self) -> Result<Verdict, AdminError> {
        let verifying = Verifying::begin(self)?;
        self.inner.store.verify(verifying.progress.clone()).await.map_err(AdminError::Store)
    }

    /// How far the check of the journal is, where one runs: what is done, of how much.
    pub fn verify_progress(&self) -> Option<(u64, u64)> {
        self.inner.verifying().as_ref().map(Progress::get)
    }

    /// How the store is.
    pub fn store_state(&self) -> StoreState {
        self.inner.store.state()
    }
}

/// The right to check the journal, given back however the check ends.
struct Verifying<'a> {
    admin: &'a Admin,
    progress: Progress,
}

impl<'a> Verifying<'a> {
    fn begin(admin: &'a Admin) -> Result<Self, AdminError> {
        let mut running = admin.inner.verifying();
        if running.is_some() {
            return Err(AdminError::Conflict("A check runs already.".to_owned()));
        }
        let progress = Progress::default();
        *running = Some(progress.clone());
        Ok(Self { admin, progress })
    }
}

impl Drop for Verifying<'_> {
    fn drop(&mut self) {
        *self.admin.inner.verifying() = None;
    }
}
