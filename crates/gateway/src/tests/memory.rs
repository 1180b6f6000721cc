//! A store in memory that does what a test tells it: commits, fails, or takes its time.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use model::CallId;
use tokio::sync::oneshot;

use crate::BoxFuture;
use crate::amounts::Amounts;
use crate::keys::{KeyId, ScopeId, UnixMillis};
use crate::store::{
    Actor, CallFilter, CallPage, Change, Closed, Cursor, EndedPage, FullCall, Loaded, MinuteSpent,
    Opened, Progress, RefusalCount, RefusalFilter, RefusalGroup, RefusalPage, Spending, Store,
    StoreError, StoreState, UsageFilter, UsageRow, Verdict, Written,
};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Commits,
    Fails,
    /// Until the test says what becomes of it.
    Waits,
}

/// What was asked of the store, in that order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    Opened(Box<Opened>),
    Closed(Box<Closed>),
    Settled(CallId, Spending),
    Refused(Box<Opened>, Box<Closed>),
    Counted(Vec<RefusalCount>),
}

#[derive(Debug)]
pub(crate) struct Memory(Mutex<State>);

struct State {
    writes: Vec<Write>,
    opens: Fate,
    closes: Fate,
    waiting: Vec<oneshot::Sender<Result<(), StoreError>>>,
    fault: Option<Arc<str>>,
    /// Runs when a close comes, before it is queued: what other threads may do just then.
    before_close: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.writes).finish()
    }
}

fn down() -> StoreError {
    StoreError::Down("/secret/path is full".into())
}

impl Memory {
    pub(crate) fn new(opens: Fate, closes: Fate) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            writes: Vec::new(),
            opens,
            closes,
            waiting: Vec::new(),
            fault: None,
            before_close: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    pub(crate) fn set_fault(&self, fault: Option<&str>) {
        self.lock().fault = fault.map(Into::into);
    }

    pub(crate) fn before_close(&self, run: impl FnOnce() + Send + 'static) {
        self.lock().before_close = Some(Box::new(run));
    }

    /// How many writes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Answers all that waits.
    pub(crate) fn answer(&self, commits: bool) {
        for waiting in std::mem::take(&mut self.lock().waiting) {
            let _ = waiting.send(if commits { Ok(()) } else { Err(down()) });
        }
    }

    pub(crate) fn opened(&self) -> Vec<Opened> {
        let opened = self.writes().into_iter().filter_map(|write| match write {
            Write::Opened(opened) => Some(*opened),
            _ => None,
        });
        opened.collect()
    }

    pub(crate) fn closed(&self) -> Vec<Closed> {
        let closed = self.writes().into_iter().filter_map(|write| match write {
            Write::Closed(closed) => Some(*closed),
            _ => None,
        });
        closed.collect()
    }

    pub(crate) fn settled(&self) -> Vec<(CallId, Spending)> {
        let settled = self.writes().into_iter().filter_map(|write| match write {
            Write::Settled(id, spending) => Some((id, spending)),
            _ => None,
        });
        settled.collect()
    }

    /// What was spent of each scope, in groups by the time of admission.
    fn spent_of<G: Copy + Ord>(
        &self,
        group: impl Fn(UnixMillis) -> Option<G>,
    ) -> Vec<(G, ScopeId, Amounts)> {
        let mut sums: BTreeMap<(G, ScopeId), Amounts> = BTreeMap::new();
        for write in self.writes() {
            let spending = match write {
                Write::Closed(closed) => closed.spending,
                Write::Settled(_, spending) => Some(spending),
                _ => None,
            };
            let Some(spending) = spending else { continue };
            let Some(group) = group(spending.admitted) else { continue };
            for scope in &*spending.scopes {
                let sum = sums.entry((group, scope.clone())).or_default();
                *sum = sum.plus(&spending.amounts);
            }
        }
        sums.into_iter().map(|((group, scope), sum)| (group, scope, sum)).collect()
    }

    pub(crate) fn refused(&self) -> Vec<(Opened, Closed)> {
        let refused = self.writes().into_iter().filter_map(|write| match write {
            Write::Refused(opened, closed) => Some((*opened, *closed)),
            _ => None,
        });
        refused.collect()
    }
}

impl State {
    fn queue(&mut self, write: Write, fate: Fate) -> Written {
        self.writes.push(write);
        let (sender, written) = Written::pending();
        match fate {
            Fate::Commits => drop(sender.send(Ok(()))),
            Fate::Fails => drop(sender.send(Err(down()))),
            Fate::Waits => self.waiting.push(sender),
        }
        written
    }
}

impl Store for Memory {
    fn open(&self, opened: Box<Opened>) -> Written {
        let mut state = self.lock();
        let fate = state.opens;
        state.queue(Write::Opened(opened), fate)
    }

    fn close(&self, closed: Box<Closed>) -> Written {
        let before = self.lock().before_close.take();
        if let Some(before) = before {
            before();
        }
        let mut state = self.lock();
        let fate = state.closes;
        state.queue(Write::Closed(closed), fate)
    }

    fn settle(&self, id: CallId, spending: Spending) -> Written {
        self.lock().queue(Write::Settled(id, spending), Fate::Commits)
    }

    fn refuse(&self, opened: Box<Opened>, closed: Box<Closed>) {
        self.lock().writes.push(Write::Refused(opened, closed));
    }

    fn count_refusals(&self, counts: Vec<RefusalCount>) {
        self.lock().writes.push(Write::Counted(counts));
    }

    fn note_used(&self, _: Vec<(KeyId, UnixMillis)>) {
        unreachable!("a call notes when its key was used")
    }

    fn change(&self, _: Change, _: Actor) -> Written {
        unreachable!("no call changes keys")
    }

    fn load(&self) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(async { Ok(Loaded::default()) })
    }

    fn spent(
        &self,
        span: Range<UnixMillis>,
    ) -> BoxFuture<'_, Result<Vec<(ScopeId, Amounts)>, StoreError>> {
        let spent = self.spent_of(|admitted| span.contains(&admitted).then_some(()));
        Box::pin(async {
            Ok(spent.into_iter().map(|((), scope, amounts)| (scope, amounts)).collect())
        })
    }

    fn spent_after(&self, time: UnixMillis) -> BoxFuture<'_, Result<Vec<MinuteSpent>, StoreError>> {
        let minute = |admitted: UnixMillis| admitted.div_euclid(60_000) * 60_000;
        let spent = self.spent_of(|admitted| Some(minute(admitted)).filter(|it| *it > time));
        Box::pin(async { Ok(spent) })
    }

    fn calls(
        &self,
        _: CallFilter,
        _: Option<Cursor>,
        _: usize,
    ) -> BoxFuture<'_, Result<CallPage, StoreError>> {
        Box::pin(async { Ok(CallPage::default()) })
    }

    fn ended(&self, _: Option<u64>, _: usize) -> BoxFuture<'_, Result<EndedPage, StoreError>> {
        Box::pin(async { Ok(EndedPage::default()) })
    }

    fn call(&self, _: CallId) -> BoxFuture<'_, Result<Option<FullCall>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn usage(&self, _: UsageFilter) -> BoxFuture<'_, Result<Vec<UsageRow>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn refusals(
        &self,
        _: RefusalFilter,
        _: Option<RefusalGroup>,
        _: usize,
    ) -> BoxFuture<'_, Result<RefusalPage, StoreError>> {
        Box::pin(async { Ok(RefusalPage::default()) })
    }

    fn verify(&self, _: Progress) -> BoxFuture<'_, Result<Verdict, StoreError>> {
        unreachable!("no call verifies")
    }

    fn state(&self) -> StoreState {
        StoreState { fault: self.lock().fault.clone(), ..StoreState::default() }
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
