//! The record of a call: what must be committed before what, and what becomes of a call where it
//! cannot be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{CompletionEvent, Failure, FailureKind};

use super::fakes::{House, Step, call};
use super::keys::{Hands, active, key, team};
use super::memory::{Fate, Memory};
use crate::admission::Admission;
use crate::amounts::Amounts;
use crate::keyring::ActiveKey;
use crate::policy::Policy;
use crate::store::Store;
use crate::{Audit, AuditScope, Call, Caller, Redactor, Running};

mod bills;
mod closing;
mod ends;
mod opening;
mod refused;
mod taken_over;

const SECOND: Duration = Duration::from_secs(1);

/// A house with a record, limits, and a key.
struct Books {
    house: House,
    store: Arc<Memory>,
    clock: Arc<Hands>,
    admission: Arc<Admission>,
    audit: Arc<Audit>,
    key: Arc<ActiveKey>,
}

impl Books {
    fn new(script: Vec<Step>, opens: Fate, closes: Fate) -> Self {
        Self::of(vec![script], opens, closes, active(&[key(1, None)], &team()))
    }

    fn of(scripts: Vec<Vec<Step>>, opens: Fate, closes: Fate, key: Arc<ActiveKey>) -> Self {
        let (store, clock) = (Memory::new(opens, closes), Hands::new());
        let audit = Audit::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&clock) as _,
            AuditScope::Full,
            Redactor::new(&[]).unwrap(),
        );
        let audit = Arc::new(audit);
        let admission = Arc::new(Admission::new(Policy::default(), Arc::clone(&clock) as _));
        let parts = (Some(Arc::clone(&audit)), Some(Arc::clone(&admission)));
        let house = House::kept(scripts, true, parts.0, parts.1);
        Self { house, store, clock, admission, audit, key }
    }

    /// A call with the key, for 10 tokens in and 90 out.
    fn call(&self) -> Call {
        let mut call = call(None);
        call.request.params.max_tokens = Some(90);
        call.body = Some("{}".into());
        call.caller = Arc::new(Caller {
            key: Some(Arc::clone(&self.key)),
            authenticated: true,
            ..(*call.caller).clone()
        });
        call
    }

    fn start(&self) -> Running {
        self.house.gateway.complete(self.call()).expect("admitted")
    }

    fn started(&self) -> usize {
        self.house.upstream.started.load(Ordering::Relaxed)
    }

    /// What the key has spent, what is held for it, and what it runs.
    fn counted(&self) -> (Amounts, Amounts, u32) {
        self.admission.counted(&self.key.debited[0])
    }

    /// Nothing is held, nothing runs, and this much was spent.
    fn assert_spent(&self, requests: u64, tokens: u64) {
        let (spent, held, in_flight) = self.counted();
        assert_eq!((spent.requests, spent.tokens), (requests, tokens));
        assert_eq!((held, in_flight), (Amounts::default(), 0));
    }
}

/// What comes of a call: its text, and why it ended, if it did not end well.
async fn read(running: &mut Running) -> (String, Option<Failure>) {
    let mut text = String::new();
    while let Some(batch) = running.next().await {
        match batch {
            Ok(batch) => text.extend(batch.events.into_iter().filter_map(|event| match event {
                CompletionEvent::BlockDelta { delta, .. } => Some(delta),
                _ => None,
            })),
            Err(failure) => return (text, Some(*failure)),
        }
    }
    (text, None)
}

/// What has come so far, without waiting.
async fn so_far(running: &mut Running) -> Vec<CompletionEvent> {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let mut events = Vec::new();
    while let Ok(Some(batch)) = tokio::time::timeout(Duration::ZERO, running.next()).await {
        events.extend(batch.expect("no failure").events);
    }
    events
}

/// What everybody is told while nothing can be recorded.
fn assert_unavailable(failure: &Failure) {
    assert_eq!(failure.kind, FailureKind::NotReady);
    assert!(matches!(failure.retry, model::Retry::After(_)), "{failure:?}");
    assert!(!failure.message.contains("secret"), "{failure:?}");
}
