//! A store in memory: the port, and what it keeps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::CallId;
use tokio::sync::oneshot;

use crate::BoxFuture;
use crate::amounts::Amounts;
use crate::keys::{KeyId, ScopeId, Tenant, TenantId, UnixMillis, VirtualKey};
use crate::store::{
    Actor, CallFilter, CallPage, Change, Closed, Cursor, EndedPage, FullCall, Loaded, MinuteSpent,
    Opened, Progress, RefusalCount, RefusalFilter, RefusalGroup, RefusalPage, Spending, Store,
    StoreError, StoreState, UsageFilter, UsageRow, Verdict, Written,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) keys: BTreeMap<KeyId, VirtualKey>,
    pub(super) tenants: BTreeMap<TenantId, Tenant>,
    pub(super) calls: BTreeMap<CallId, KeptCall>,
    /// Calls in the order of their ends.
    ends: Vec<CallId>,
    pub(super) refusals: Vec<RefusalCount>,
    pub(super) used: Vec<(KeyId, UnixMillis)>,
    pub(super) changes: Vec<(Change, Actor)>,
    /// Entries of its journal.
    pub(super) rows: u64,
    fault: Option<Arc<str>>,
    /// Answers that wait, while it is told to hold them.
    held: Option<Vec<Held>>,
}

/// A write's answer, and where it goes.
type Held = (oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>);

/// A call, as far as it is known.
#[derive(Debug)]
pub(super) struct KeptCall {
    pub(super) opened: Opened,
    pub(super) closed: Option<Closed>,
    pub(super) spending: Option<Spending>,
}

impl MemoryStore {
    /// Makes it fail, with a reason; with `None` it works again.
    pub fn fail(&self, reason: Option<&str>) {
        self.kept().fault = reason.map(Arc::from);
    }

    /// Leaves writes unanswered until [`release`](Self::release). They count all the same.
    pub fn hold(&self) {
        self.kept().held.get_or_insert_default();
    }

    /// Answers what was held.
    pub fn release(&self) {
        let held = self.kept().held.take().unwrap_or_default();
        for (sender, answer) in held {
            // Whoever asked may have gone.
            drop(sender.send(answer));
        }
    }

    /// Writes that wait for their answer.
    pub fn held(&self) -> usize {
        self.kept().held.as_ref().map_or(0, Vec::len)
    }

    /// The changes of keys and tenants so far, and who made them.
    pub fn changes(&self) -> Vec<(Change, Actor)> {
        self.kept().changes.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, write: impl FnOnce(&mut Kept) -> Result<(), StoreError>) -> Written {
        let mut kept = self.kept();
        let answer = match &kept.fault {
            Some(fault) => Err(StoreError::Down(Arc::clone(fault))),
            None => write(&mut kept),
        };
        if answer.is_ok() {
            kept.rows += 1;
        }
        let (sender, written) = Written::pending();
        match &mut kept.held {
            Some(held) => held.push((sender, answer)),
            // The receiver is in our hands, so this cannot fail.
            None => drop(sender.send(answer)),
        }
        written
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Kept) -> T,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let kept = self.kept();
        let answer = match &kept.fault {
            Some(fault) => Err(StoreError::Down(Arc::clone(fault))),
            None => Ok(read(&kept)),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Store for MemoryStore {
    fn open(&self, opened: Box<Opened>) -> Written {
        self.write(|kept| {
            let (closed, spending) = (None, None);
            let call = KeptCall { opened: *opened, closed, spending };
            kept.calls.entry(call.opened.id).or_insert(call);
            Ok(())
        })
    }

    fn close(&self, closed: Box<Closed>) -> Written {
        self.write(|kept| {
            if let Some(call) = kept.calls.get_mut(&closed.id)
                && call.closed.is_none()
            {
                call.spending.clone_from(&closed.spending);
                kept.ends.push(closed.id);
                call.closed = Some(*closed);
            }
            Ok(())
        })
    }

    fn settle(&self, id: CallId, spending: Spending) -> Written {
        self.write(|kept| {
            if let Some(call) = kept.calls.get_mut(&id)
                && call.closed.is_some()
            {
                call.spending.get_or_insert(spending);
            }
            Ok(())
        })
    }

    fn refuse(&self, opened: Box<Opened>, closed: Box<Closed>) {
        drop(self.open(opened));
        drop(self.close(closed));
    }

    fn count_refusals(&self, counts: Vec<RefusalCount>) {
        drop(self.write(|kept| {
            kept.refusals.extend(counts);
            Ok(())
        }));
    }

    fn note_used(&self, used: Vec<(KeyId, UnixMillis)>) {
        drop(self.write(|kept| {
            kept.used.extend(used);
            Ok(())
        }));
    }

    fn change(&self, change: Change, actor: Actor) -> Written {
        self.write(|kept| {
            kept.change(&change)?;
            kept.changes.push((change, actor));
            Ok(())
        })
    }

    fn load(&self) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        self.read(|kept| Loaded {
            keys: kept.keys.values().cloned().collect(),
            last_used: kept.last_used(),
            tenants: kept.tenants.values().cloned().collect(),
            interrupted: 0,
        })
    }

    fn spent(
        &self,
        span: Range<UnixMillis>,
    ) -> BoxFuture<'_, Result<Vec<(ScopeId, Amounts)>, StoreError>> {
        self.read(|kept| kept.spent(&span))
    }

    fn spent_after(&self, time: UnixMillis) -> BoxFuture<'_, Result<Vec<MinuteSpent>, StoreError>> {
        self.read(|kept| kept.spent_after(time))
    }

    fn calls(
        &self,
        filter: CallFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, StoreError>> {
        self.read(|kept| kept.page(&filter, after, limit))
    }

    fn ended(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<EndedPage, StoreError>> {
        self.read(|kept| {
            let end = kept.ends.len();
            let after = after.and_then(|after| usize::try_from(after).ok());
            let from = after.map_or(end, |after| after.min(end));
            let upto = from.saturating_add(limit).min(end);
            let ends = kept.ends.iter().take(upto).skip(from);
            EndedPage {
                calls: ends.filter_map(|id| kept.calls.get(id)).map(KeptCall::row).collect(),
                place: upto as u64,
                more: upto < end,
            }
        })
    }

    fn call(&self, id: CallId) -> BoxFuture<'_, Result<Option<FullCall>, StoreError>> {
        self.read(|kept| {
            kept.calls.get(&id).map(|call| FullCall {
                row: call.row(),
                request: call.opened.body.clone(),
                reply: call.closed.as_ref().and_then(|closed| closed.body.clone()),
            })
        })
    }

    fn usage(&self, filter: UsageFilter) -> BoxFuture<'_, Result<Vec<UsageRow>, StoreError>> {
        self.read(|kept| kept.usage(&filter))
    }

    fn refusals(
        &self,
        filter: RefusalFilter,
        after: Option<RefusalGroup>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RefusalPage, StoreError>> {
        self.read(|kept| kept.refusal_page(&filter, after.as_ref(), limit))
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<Verdict, StoreError>> {
        self.read(|kept| {
            progress.expect(kept.rows);
            progress.advance(kept.rows);
            let unseen = vec!["Memory keeps no journal that could be checked.".to_owned()];
            Verdict { checked: kept.rows, finding: None, unseen, retired: 0 }
        })
    }

    fn state(&self) -> StoreState {
        StoreState { fault: self.kept().fault.clone(), ..StoreState::default() }
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        self.fail(Some("it has ended"));
        Box::pin(std::future::ready(()))
    }
}

impl Kept {
    fn change(&mut self, change: &Change) -> Result<(), StoreError> {
        let good = |there: bool, wanted: bool| {
            if there == wanted { Ok(()) } else { Err(StoreError::Conflict) }
        };
        match change {
            Change::KeyCreated(key) => {
                good(self.keys.contains_key(&key.id), false)?;
                self.keys.insert(key.id, (**key).clone());
            }
            Change::KeyChanged(key) => {
                good(self.keys.contains_key(&key.id), true)?;
                self.keys.insert(key.id, (**key).clone());
            }
            Change::KeyDeleted(id) => good(self.keys.remove(id).is_some(), true)?,
            Change::TenantCreated(tenant) => {
                good(self.tenants.contains_key(&tenant.id), false)?;
                self.tenants.insert(tenant.id.clone(), (**tenant).clone());
            }
            Change::TenantChanged(tenant) => {
                good(self.tenants.contains_key(&tenant.id), true)?;
                self.tenants.insert(tenant.id.clone(), (**tenant).clone());
            }
            Change::TenantDeleted(id) => good(self.tenants.remove(id).is_some(), true)?,
        }
        Ok(())
    }
}
