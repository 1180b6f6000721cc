//! A store that may not be there yet, or not at the moment.
//!
//! Its directory may belong to another process, its disk may be full, its files may be damaged.
//! None of that ends the bridge: until the store opens, everything that needs it is told why not.

use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway::BoxFuture;
use gateway::amounts::Amounts;
use gateway::keys::{KeyId, ScopeId, UnixMillis};
use gateway::store::{
    Actor, CallFilter, CallPage, Change, Closed, Cursor, EndedPage, FullCall, Loaded, MinuteSpent,
    Opened, Progress, RefusalCount, RefusalFilter, RefusalGroup, RefusalPage, Spending, Store,
    StoreError, StoreState, UsageFilter, UsageRow, Verdict, Written,
};
use model::CallId;

/// A store behind a door that is still shut.
#[derive(Debug)]
pub struct Late {
    inner: ArcSwap<Inner>,
}

#[derive(Debug)]
enum Inner {
    /// Why there is none.
    Shut(Arc<str>),
    Open(Arc<dyn Store>),
}

impl Late {
    /// No store yet, and why.
    pub fn shut(why: impl Into<Arc<str>>) -> Self {
        Self { inner: ArcSwap::from_pointee(Inner::Shut(why.into())) }
    }

    /// Says anew why there is none.
    pub fn still_shut(&self, why: impl Into<Arc<str>>) {
        self.inner.store(Arc::new(Inner::Shut(why.into())));
    }

    /// From now on everything goes to this store.
    pub fn open_with(&self, store: Arc<dyn Store>) {
        self.inner.store(Arc::new(Inner::Open(store)));
    }

    /// The store, or the reason why there is none.
    fn get(&self) -> Result<Arc<dyn Store>, StoreError> {
        match &**self.inner.load() {
            Inner::Open(store) => Ok(Arc::clone(store)),
            Inner::Shut(why) => Err(StoreError::Down(Arc::clone(why))),
        }
    }

    fn write(&self, write: impl FnOnce(&dyn Store) -> Written) -> Written {
        match self.get() {
            Ok(store) => write(&*store),
            Err(error) => {
                let (reply, written) = Written::pending();
                let _ = reply.send(Err(error));
                written
            }
        }
    }
}

impl Store for Late {
    fn open(&self, opened: Box<Opened>) -> Written {
        self.write(|store| store.open(opened))
    }

    fn close(&self, closed: Box<Closed>) -> Written {
        self.write(|store| store.close(closed))
    }

    fn settle(&self, id: CallId, spending: Spending) -> Written {
        self.write(|store| store.settle(id, spending))
    }

    fn refuse(&self, opened: Box<Opened>, closed: Box<Closed>) {
        // What is refused while there is no store is in the log only.
        if let Ok(store) = self.get() {
            store.refuse(opened, closed);
        }
    }

    fn count_refusals(&self, counts: Vec<RefusalCount>) {
        if let Ok(store) = self.get() {
            store.count_refusals(counts);
        }
    }

    fn note_used(&self, used: Vec<(KeyId, UnixMillis)>) {
        if let Ok(store) = self.get() {
            store.note_used(used);
        }
    }

    fn change(&self, change: Change, actor: Actor) -> Written {
        self.write(|store| store.change(change, actor))
    }

    fn load(&self) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(async move { self.get()?.load().await })
    }

    fn spent(
        &self,
        span: Range<UnixMillis>,
    ) -> BoxFuture<'_, Result<Vec<(ScopeId, Amounts)>, StoreError>> {
        Box::pin(async move { self.get()?.spent(span).await })
    }

    fn spent_after(&self, time: UnixMillis) -> BoxFuture<'_, Result<Vec<MinuteSpent>, StoreError>> {
        Box::pin(async move { self.get()?.spent_after(time).await })
    }

    fn calls(
        &self,
        filter: CallFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, StoreError>> {
        Box::pin(async move { self.get()?.calls(filter, after, limit).await })
    }

    fn ended(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<EndedPage, StoreError>> {
        Box::pin(async move { self.get()?.ended(after, limit).await })
    }

    fn call(&self, id: CallId) -> BoxFuture<'_, Result<Option<FullCall>, StoreError>> {
        Box::pin(async move { self.get()?.call(id).await })
    }

    fn usage(&self, filter: UsageFilter) -> BoxFuture<'_, Result<Vec<UsageRow>, StoreError>> {
        Box::pin(async move { self.get()?.usage(filter).await })
    }

    fn refusals(
        &self,
        filter: RefusalFilter,
        after: Option<RefusalGroup>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RefusalPage, StoreError>> {
        Box::pin(async move { self.get()?.refusals(filter, after, limit).await })
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<Verdict, StoreError>> {
        Box::pin(async move { self.get()?.verify(progress).await })
    }

    fn fault(&self) -> Option<Arc<str>> {
        match &**self.inner.load() {
            Inner::Open(store) => store.fault(),
            Inner::Shut(why) => Some(Arc::clone(why)),
        }
    }

    fn state(&self) -> StoreState {
        match &**self.inner.load() {
            Inner::Open(store) => store.state(),
            Inner::Shut(why) => {
                StoreState { fault: Some(Arc::clone(why)), ..StoreState::default() }
            }
        }
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Ok(store) = self.get() {
                store.shut_down().await;
            }
        })
    }
}
