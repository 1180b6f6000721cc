//! One guarded stream: who reads its answer, who waits for it, and what is kept.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{BlockKind, CallId, CompletionEvent, Failure, ToolCallInput};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{ReplayGuard, Signature};
use crate::ChoiceEvents;

/// How long the sampling of a stream that was hung up goes on for a successor.
const SUCCESSOR: Duration = Duration::from_secs(2);
/// How long a complete answer is kept that was not read to its end.
const KEPT: Duration = Duration::from_mins(1);
/// Bytes of all answers that are held together.
const MAX_BYTES: usize = 16 << 20;

/// What a successor gets: the events of the whole answer, or why there is none.
pub(crate) type Handover = Result<Vec<ChoiceEvents>, Failure>;

/// What is known of one guarded stream.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: CallId,
    pub(super) state: Mutex<State>,
    /// Wakes the task of the call, which alone waits for it.
    pub(super) changed: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    kept: Kept,
    /// Whether the answer is whole.
    complete: bool,
    reader: Reader,
    pub(super) claim: Claimed,
    successor: Option<oneshot::Sender<Handover>>,
}

/// How far the door of the first call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reading,
    /// All of the answer was handed over.
    Done,
    /// The caller hung up before.
    Gone,
}

/// Whether somebody has come for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    No,
    Yes,
    /// A successor came, and went.
    Gone,
}

/// Events that are held, and their share of the bytes that all may hold.
#[derive(Debug)]
struct Kept {
    answer: Vec<ChoiceEvents>,
    bytes: usize,
    /// Whether something had no room.
    lost: bool,
    total: Arc<AtomicUsize>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state is consistent between any two statements, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// Adds events, as far as all that is held stays within its bound.
    fn add(&mut self, choice: u8, events: &[CompletionEvent], bounded: bool) {
        let more: usize = events.iter().map(weight).sum();
        let before = self.total.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        if bounded && before.saturating_add(more) > MAX_BYTES {
            self.take();
            self.lost = true;
        } else {
            self.answer.push(ChoiceEvents { choice, events: events.to_vec() });
        }
    }

    fn take(&mut self) -> Vec<ChoiceEvents> {
        self.total.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        std::mem::take(&mut self.answer)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.take();
    }
}

/// About what an event holds in memory.
fn weight(event: &CompletionEvent) -> usize {
    size_of::<CompletionEvent>()
        + match event {
            CompletionEvent::BlockDelta { delta, .. } => delta.len(),
            CompletionEvent::BlockStarted { kind, .. } => match kind {
                BlockKind::Text => 0,
                BlockKind::ToolCall(call) => {
                    call.name.len()
                        + match &call.input {
                            ToolCallInput::Json(json) => json.as_str().len(),
                            ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text.len(),
                        }
                }
                BlockKind::Reasoning(reasoning) => {
                    reasoning.text.len() + reasoning.encrypted.as_ref().map_or(0, String::len)
                }
                BlockKind::Opaque(opaque) => opaque.json.as_str().len(),
            },
            CompletionEvent::Started { .. }
            | CompletionEvent::BlockStopped { .. }
            | CompletionEvent::Usage(_)
            | CompletionEvent::Finished { .. } => 0,
        }
}

impl Entry {
    pub(super) fn new(id: CallId, total: Arc<AtomicUsize>) -> Self {
        let state = State {
            kept: Kept { answer: Vec::new(), bytes: 0, lost: false, total },
            complete: false,
            reader: Reader::Reading,
            claim: Claimed::No,
            successor: None,
        };
        Self { id, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Claims the answer, whole or to come; `None` where it was read to its end or has no room.
    pub(super) fn claim(&self) -> Option<oneshot::Receiver<Handover>> {
        let mut state = lock(&self.state);
        if state.reader == Reader::Done || state.kept.lost {
            return None;
        }
        state.claim = Claimed::Yes;
        let (sender, handover) = oneshot::channel();
        if state.complete {
            let _ = sender.send(Ok(state.kept.take()));
        } else {
            state.successor = Some(sender);
        }
        self.changed.notify_one();
        Some(handover)
    }
}

/// A streamed call that may have a successor. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(super) guard: Arc<ReplayGuard>,
    pub(super) signature: Signature,
    pub(super) entry: Arc<Entry>,
}

impl Guarded {
    /// For the door, which tells how far it is.
    pub(crate) fn mark(&self) -> DoorMark {
        DoorMark { entry: Arc::clone(&self.entry), done: false }
    }

    /// For the sinks, whose events are kept.
    pub(crate) fn keeper(&self) -> Keeper {
        Keeper { entry: Arc::clone(&self.entry) }
    }

    /// Resolves when nobody wants the answer any more. Called when the door has gone.
    pub(crate) async fn abandoned(&self) {
        let patience = Instant::now() + SUCCESSOR;
        loop {
            let claim = lock(&self.entry.state).claim;
            match claim {
                Claimed::Gone => return,
                Claimed::Yes => self.entry.changed.notified().await,
                Claimed::No if !self.is_known() => {
                    // It may have been claimed since.
                    if self.withdraw() {
                        return;
                    }
                }
                Claimed::No => {
                    let late = timeout_at(patience, self.entry.changed.notified()).await.is_err();
                    if late && self.withdraw() {
                        return;
                    }
                }
            }
        }
    }

    /// The answer is whole: hands it on, or stays as long as somebody may come for it.
    pub(crate) async fn answered(self: Box<Self>, stop: &CancellationToken) {
        let successor = {
            let mut state = lock(&self.entry.state);
            state.complete = true;
            let successor = state.successor.take();
            successor.map(|successor| (successor, state.kept.take()))
        };
        if let Some((successor, answer)) = successor {
            // One that has gone does not mind.
            let _ = successor.send(Ok(answer));
            return;
        }
        tokio::select! {
            () = self.settled() => {}
            () = stop.cancelled() => {}
        }
    }

    /// There is no answer: whoever waits for it is told the same.
    pub(crate) fn failed(&self, failure: Failure) {
        // Nobody may come later, to wait for what is never told.
        self.guard.forget(&self.signature, &self.entry);
        let successor = lock(&self.entry.state).successor.take();
        if let Some(successor) = successor {
            let _ = successor.send(Err(failure));
        }
    }

    /// Resolves when the answer was read or taken, or has been kept for long enough.
    async fn settled(&self) {
        let mut until = None;
        while self.is_known() {
            let reader = lock(&self.entry.state).reader;
            match reader {
                Reader::Done => return,
                Reader::Reading => self.entry.changed.notified().await,
                Reader::Gone => {
                    let until = *until.get_or_insert_with(|| Instant::now() + KEPT);
                    tokio::select! {
                        () = self.entry.changed.notified() => {}
                        () = sleep_until(until) => return,
                    }
                }
            }
        }
    }

    /// Whether a successor could still come.
    fn is_known(&self) -> bool {
        // One lock after the other: claims take them in the other order.
        let lost = lock(&self.entry.state).kept.lost;
        !lost && self.guard.knows(&self.signature, &self.entry)
    }

    /// Lets no successor come any more; false where one has.
    fn withdraw(&self) -> bool {
        self.guard.forget(&self.signature, &self.entry);
        lock(&self.entry.state).claim != Claimed::Yes
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.guard.forget(&self.signature, &self.entry);
        // Who still waits is told that nothing comes.
        let successor = lock(&self.entry.state).successor.take();
        drop(successor);
    }
}

/// The same failure for another caller. The cause stays in the log of the first.
pub(crate) fn same(failure: &Failure) -> Failure {
    let mut same = Failure::new(failure.kind, failure.message.clone());
    same.blame = failure.blame;
    same.retry = failure.retry;
    same.param.clone_from(&failure.param);
    same.scope.clone_from(&failure.scope);
    same
}

/// Keeps the events of a guarded call for a successor.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    entry: Arc<Entry>,
}

impl Keeper {
    /// Keeps events; whether the whole answer so far is kept.
    pub(crate) fn keep(&self, choice: u8, events: &[CompletionEvent]) -> bool {
        let mut state = lock(&self.entry.state);
        if !state.kept.lost {
            // Who waits for the answer will hold it anyway.
            let bounded = state.claim == Claimed::No;
            state.kept.add(choice, events, bounded);
        }
        !state.kept.lost
    }
}

/// Tells how far the door of a guarded call is. Dropped before the end, the caller has hung up.
#[derive(Debug)]
pub(crate) struct DoorMark {
    entry: Arc<Entry>,
    done: bool,
}

impl DoorMark {
    /// The whole answer was handed over.
    pub(crate) fn done(&mut self) {
        self.done = true;
        self.set(Reader::Done);
    }

    fn set(&self, reader: Reader) {
        lock(&self.entry.state).reader = reader;
        self.entry.changed.notify_one();
    }
}

impl Drop for DoorMark {
    fn drop(&mut self) {
        if !self.done {
            self.set(Reader::Gone);
        }
    }
}
