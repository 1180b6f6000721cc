//! Lines on their way to the peer: ordered, batched, bounded.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
    /// Cancelled when the queue is closed.
    closed: CancellationToken,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    /// Bytes of waiting lines that were queued when there was room.
    bytes: usize,
    /// Bytes of waiting lines that were queued at once.
    urgent: usize,
    closed: bool,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    urgent: bool,
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
            closed: CancellationToken::new(),
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
                    state.append(line, false);
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
    /// For answers, progress and cancellations only. The number of cancellations is bounded by the
    /// requests in flight; the rest is what the other side asks for, and reading stops until
    /// [`Outbox::may_read`] when too much of it waits.
    pub(crate) fn push_now(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if !state.closed {
            state.append(line, true);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Whether so little waits that was queued at once that more may be asked of us.
    ///
    /// Requests of our own do not count: the other side may have to be read before it reads them.
    pub(crate) fn may_read(&self) -> bool {
        let state = self.lock();
        state.closed || state.urgent < self.max_bytes
    }

    /// Waits until [`may_read`](Self::may_read).
    pub(crate) async fn until_may_read(&self) {
        loop {
            let room = self.room.notified();
            if self.may_read() {
                return;
            }
            room.await;
        }
    }

    /// Ends the queue: nothing more is accepted, and the writer ends after what is queued.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
        self.room.notify_waiters();
        self.closed.cancel();
    }

    /// Waits until [`close`](Self::close).
    pub(crate) async fn until_closed(&self) {
        self.closed.cancelled().await;
    }

    /// Writes lines until the outbox is closed and empty, or the sink fails.
    pub(crate) async fn drain<W: AsyncWrite + Unpin>(&self, sink: &mut W) -> io::Result<()> {
        let (mut batch, mut woken) = (Vec::new(), false);
        loop {
            let ready = self.ready.notified();
            let (empty, hurry, closed) = {
                let state = self.lock();
                (state.lines.is_empty(), state.urgent > 0, state.closed)
            };
            if empty {
                if closed {
                    return sink.shutdown().await;
                }
                ready.await;
                woken = true;
                continue;
            }
            if std::mem::take(&mut woken) && !hurry {
                others_first().await;
            }
            let (bytes, urgent) = self.lock().take(&mut batch);
            sink.write_all(&batch).await?;
            sink.flush().await?;
            batch.clear();
            // A burst must not stay in memory for ever.
            batch.shrink_to(BATCH);
            {
                let mut state = self.lock();
                state.bytes -= bytes;
                state.urgent -= urgent;
            }
            self.room.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the tasks that wait for this thread go on once. Under load they are about to queue a line of
/// their own, and one write takes them all.
async fn others_first() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Unlike the runtime's own way to yield, others may take it up meanwhile.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl State {
    fn append(&mut self, text: Vec<u8>, urgent: bool) {
        let account = if urgent { &mut self.urgent } else { &mut self.bytes };
        *account += text.len();
        self.lines.push_back(Line { text, urgent });
    }

    /// Takes the lines of the next write: many small ones, or one large one as it is. Returns how
    /// many bytes of either account they hold.
    fn take(&mut self, batch: &mut Vec<u8>) -> (usize, usize) {
        let (mut bytes, mut urgent) = (0, 0);
        while let Some(line) = self.lines.front() {
            if !batch.is_empty() && batch.len() + line.text.len() > BATCH {
                break;
            }
            let Some(line) = self.lines.pop_front() else {
                break;
            };
            *(if line.urgent { &mut urgent } else { &mut bytes }) += line.text.len();
            if batch.is_empty() && line.text.len() > BATCH {
                *batch = line.text;
            } else {
                batch.extend_from_slice(&line.text);
            }
        }
        (bytes, urgent)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::io::AsyncWrite;
    use tokio::time::timeout;

    use super::{Outbox, others_first};

    /// Notes each write.
    #[derive(Default)]
    struct Writes(Vec<String>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What is written when a line comes, and another one as soon as whoever has it can go on.
    async fn written(urgent: bool) -> Vec<String> {
        let (outbox, mut writes) = (Outbox::new(100), Writes::default());
        let lines = async {
            if urgent {
                outbox.push_now(b"1\n".to_vec());
            } else {
                outbox.push(b"1\n".to_vec()).await.unwrap();
            }
            others_first().await;
            outbox.push(b"2\n".to_vec()).await.unwrap();
            outbox.close();
        };
        let (drained, ()) = tokio::join!(biased; outbox.drain(&mut writes), lines);
        drained.unwrap();
        writes.0
    }

    #[tokio::test]
    async fn lines_go_together_and_what_is_urgent_does_not_wait_for_that() {
        assert_eq!(written(false).await, ["1\n2\n"]);
        assert_eq!(written(true).await, ["1\n", "2\n"]);
    }

    #[tokio::test]
    async fn whoever_waits_for_the_end_hears_of_it_and_not_before() {
        let outbox = Outbox::new(1);
        let mut waiting = pin!(outbox.until_closed());
        assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
        outbox.push(b"a line\n".to_vec()).await.unwrap();
        assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
        outbox.close();
        waiting.await;
        outbox.until_closed().await;
    }
}
