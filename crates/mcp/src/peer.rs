//! The other side of a connection: our requests to it, its requests to us.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::envelope;
use crate::outbox::Outbox;

mod request;

pub use request::Request;
pub(crate) use request::{BatchReplies, ReplyTo};

/// The answer to one of our requests: the raw JSON of `result`, or why there is none.
pub type Reply = Result<Bytes, ReplyError>;

/// Why a request of ours has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The host answered with an error.
    #[error("the host answered with error {code}")]
    Host {
        /// JSON-RPC error code; 0 where the host sent none.
        code: i64,
        /// The host's message, as sent.
        message: String,
    },
    /// The answer was longer than the cap on a line.
    #[error("the host's answer is longer than the limit")]
    TooLarge,
    /// The answer was not valid JSON or not valid UTF-8.
    #[error("the host's answer is not valid JSON")]
    Malformed,
    /// The connection ended.
    #[error("the host has gone")]
    Closed,
}

/// Why a request could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The connection ended.
    #[error("the host has gone")]
    Closed,
    /// The parameters hold a raw line break, which would end the line early and let a caller
    /// write messages of its own to the host.
    #[error("the message holds a raw line break")]
    LineBreak,
}

/// A request of ours on its way.
#[derive(Debug)]
pub struct Outgoing {
    id: u64,
    line: Vec<u8>,
}

impl Outgoing {
    /// The buffer that takes the JSON of `params`. Only append to it.
    pub fn params(&mut self) -> &mut Vec<u8> {
        &mut self.line
    }
}

/// A handle to the other side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    outbox: Arc<Outbox>,
    next: AtomicU64,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    replies: HashMap<u64, oneshot::Sender<Reply>>,
    closed: bool,
}

impl Peer {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            inner: Arc::new(Inner { outbox, next: AtomicU64::new(1), pending: Mutex::default() }),
        }
    }

    /// Begins a request: append the JSON of `params` to [`Outgoing::params`], then send it.
    ///
    /// Serialising comes first so that a caller can validate, and wait for its turn, before the
    /// host hears of it.
    pub fn prepare(&self, method: &str) -> Outgoing {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let mut line = Vec::with_capacity(1024);
        envelope::begin_request(&mut line, id, method);
        Outgoing { id, line }
    }

    /// Sends a request.
    ///
    /// Waits while the outbox is full; cancelling that wait sends nothing. Afterwards dropping the
    /// [`PendingReply`] cancels the request towards the host.
    pub async fn send(&self, request: Outgoing) -> Result<PendingReply, SendError> {
        let Outgoing { id, mut line } = request;
        line.push(b'}');
        refuse_line_break(&line)?;
        line.push(b'\n');
        let (sender, receiver) = oneshot::channel();
        {
            let mut pending = self.inner.lock();
            if pending.closed {
                return Err(SendError::Closed);
            }
            pending.replies.insert(id, sender);
        }
        let late = LateReply { receiver, peer: self.clone(), id };
        // A cancelled wait drops `late`, which forgets the id without a word to the host.
        self.inner.outbox.push(line).await.map_err(|_| SendError::Closed)?;
        Ok(PendingReply { late: Some(late) })
    }

    /// Sends a notification at once; `write_params` appends the JSON of `params`.
    pub fn notify(
        &self,
        method: &str,
        write_params: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        let mut line = Vec::with_capacity(128);
        envelope::begin_notification(&mut line, method);
        write_params(&mut line);
        line.push(b'}');
        refuse_line_break(&line)?;
        line.push(b'\n');
        self.inner.outbox.push_now(line);
        Ok(())
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        self.inner.outbox.until_closed().await;
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.inner.outbox
    }

    /// Hands an answer to whoever waits for it; `false` if nobody does.
    pub(crate) fn resolve(&self, id: u64, reply: Reply) -> bool {
        let sender = self.inner.lock().replies.remove(&id);
        sender.is_some_and(|sender| sender.send(reply).is_ok())
    }

    /// Fails everything that waits.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut pending = self.inner.lock();
            pending.closed = true;
            std::mem::take(&mut pending.replies)
        };
        for sender in waiting.into_values() {
            let _ = sender.send(Err(ReplyError::Closed));
        }
        self.inner.outbox.close();
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse_line_break(line: &[u8]) -> Result<(), SendError> {
    match memchr::memchr2(b'\n', b'\r', line) {
        Some(_) => Err(SendError::LineBreak),
        None => Ok(()),
    }
}

/// A request of ours that has not been answered yet.
///
/// Resolves to the answer. Dropped before that, it sends `notifications/cancelled` and forgets
/// the request; a late answer is then ignored.
#[derive(Debug)]
pub struct PendingReply {
    late: Option<LateReply>,
}

impl PendingReply {
    /// Asks the host to stop and goes on listening for a late answer.
    pub fn cancel(mut self, reason: &str) -> Option<LateReply> {
        let late = self.late.take()?;
        late.send_cancelled(reason);
        Some(late)
    }

    /// Goes on listening without a word to the host (task-augmented requests are cancelled by
    /// `tasks/cancel` instead).
    pub fn detach(mut self) -> Option<LateReply> {
        self.late.take()
    }
}

impl Future for PendingReply {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        match &mut self.late {
            Some(late) => {
                let reply = std::task::ready!(Pin::new(late).poll(context));
                self.late = None;
                Poll::Ready(reply)
            }
            None => Poll::Ready(Err(ReplyError::Closed)),
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if let Some(late) = self.late.take() {
            late.send_cancelled("the caller has gone");
        }
    }
}

/// A cancelled request whose answer may still come. Dropping it forgets the request.
#[derive(Debug)]
pub struct LateReply {
    receiver: oneshot::Receiver<Reply>,
    peer: Peer,
    id: u64,
}

impl LateReply {
    fn send_cancelled(&self, reason: &str) {
        if !self.receiver.is_empty() {
            // The answer is here already: there is nothing left to cancel.
            return;
        }
        let sent = self.peer.notify("notifications/cancelled", |out| {
            out.extend_from_slice(b"{\"requestId\":\"s-");
            out.extend_from_slice(self.id.to_string().as_bytes());
            out.extend_from_slice(b"\",\"reason\":");
            envelope::push_string(out, reason);
            out.push(b'}');
        });
        debug_assert!(sent.is_ok(), "a cancellation holds no line break");
    }
}

impl Future for LateReply {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map(|received| received.unwrap_or(Err(ReplyError::Closed)))
    }
}

impl Drop for LateReply {
    fn drop(&mut self) {
        self.peer.inner.lock().replies.remove(&self.id);
    }
}
