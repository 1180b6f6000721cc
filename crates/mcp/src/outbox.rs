//! Lines on their way to the peer: ordered, batched, bounded.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Small lines are joined up to this many bytes to one write.
const BATCH: usize = 128 * 1024;

/// The queue of outgoing lines.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Wakes the writer.
    ready: Notify,
    /// Wakes whoever waits for room.
    room: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Bytes queued and being written.
    bytes: usize,
    closed: bool,
}

/// The connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Outbox {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            ready: Notify::new(),
            room: Notify::new(),
            max_bytes,
        }
    }

    /// Queues a line when there is room. Cancelling the wait queues nothing.
    pub(crate) async fn push(&self, line: Vec<u8>) -> Result<(), Closed> {
        let mut line = Some(line);
        loop {
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if state.closed {
                    return Err(Closed);
                }
                if state.bytes < self.max_bytes
                    && let Some(line) = line.take()
                {
                    Self::append(&mut state, line);
                    drop(state);
                    self.ready.notify_one();
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Queues a line at once, above the bound if need be.
    ///
    /// For answers and cancellations only. Their number is bounded elsewhere: by the requests in
    /// flight, and by [`Outbox::has_room`], which the reader waits for before it reads on.
    pub(crate) fn push_now(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if !state.closed {
            Self::append(&mut state, line);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Waits until less than the bound is queued, or the outbox is closed.
    pub(crate) async fn has_room(&self) {
        loop {
            let room = self.room.notified();
            {
                let state = self.lock();
                if state.closed || state.bytes < self.max_bytes {
                    return;
                }
            }
            room.await;
        }
    }

    /// Ends the queue: nothing more is accepted, and the writer ends after what is queued.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
        self.room.notify_waiters();
    }

    /// Writes lines until the outbox is closed and empty, or the sink fails.
    pub(crate) async fn drain<W: AsyncWrite + Unpin>(&self, sink: &mut W) -> io::Result<()> {
        let mut batch = Vec::new();
        let mut taken = VecDeque::new();
        loop {
            let closed = {
                let mut state = self.lock();
                std::mem::swap(&mut state.lines, &mut taken);
                state.closed
            };
            if taken.is_empty() {
                if closed {
                    return sink.shutdown().await;
                }
                self.ready.notified().await;
                continue;
            }
            let mut written = 0;
            for line in taken.drain(..) {
                written += line.len();
                if batch.len() + line.len() > BATCH && !batch.is_empty() {
                    sink.write_all(&batch).await?;
                    batch.clear();
                }
                if line.len() > BATCH {
                    sink.write_all(&line).await?;
                } else {
                    batch.extend_from_slice(&line);
                }
            }
            if !batch.is_empty() {
                sink.write_all(&batch).await?;
                batch.clear();
            }
            sink.flush().await?;
            self.lock().bytes -= written;
            self.room.notify_waiters();
        }
    }

    fn append(state: &mut State, line: Vec<u8>) {
        state.bytes += line.len();
        state.lines.push_back(line);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
