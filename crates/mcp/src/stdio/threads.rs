//! Two threads with big buffers: stdio for handles that cannot be non-blocking.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;

use super::{Sink, Source};

/// Bytes per read.
const READ: usize = 64 * 1024;
/// Pieces that may wait between a thread and the connection.
const PIECES: usize = 8;

/// Lets the sink end the source; weak, because the source ends when its own thread does.
pub(super) type Failing = mpsc::WeakSender<io::Result<Bytes>>;

/// stdin, read by a thread. The thread ends with its input or with the process.
pub(super) fn source() -> io::Result<(Source, Failing)> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let failing = sender.downgrade();
    thread::Builder::new().name("mcp-stdin".into()).spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; READ];
        loop {
            let piece = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    })?;
    let source = ThreadSource { receiver, rest: Bytes::new() };
    Ok((Box::pin(source), failing))
}

/// stdout, written by a thread. A write that fails shows at the next one, which may never come,
/// so it ends `source` as well.
pub(super) fn sink(source: Option<Failing>) -> io::Result<Sink> {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(PIECES);
    let (done, finished) = oneshot::channel();
    thread::Builder::new().name("mcp-stdout".into()).spawn(move || {
        let mut stdout = io::stdout().lock();
        let mut outcome = Ok(());
        while let Some(piece) = receiver.blocking_recv() {
            outcome = stdout.write_all(&piece).and_then(|()| stdout.flush());
            if outcome.is_err() {
                break;
            }
        }
        let failed = outcome.as_ref().err().map(io::Error::kind);
        let _ = done.send(outcome);
        let source = source.as_ref().and_then(mpsc::WeakSender::upgrade);
        if let (Some(kind), Some(source)) = (failed, source) {
            let _ = source.blocking_send(Err(kind.into()));
        }
    })?;
    Ok(Box::pin(ThreadSink { sender: PollSender::new(sender), finished: Some(finished) }))
}

struct ThreadSource {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl AsyncRead for ThreadSource {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.receiver.poll_recv(context)) {
                Some(piece) => self.rest = piece?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..length).unwrap_or_default());
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

struct ThreadSink {
    sender: PollSender<Vec<u8>>,
    finished: Option<oneshot::Receiver<io::Result<()>>>,
}

impl AsyncWrite for ThreadSink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.sender.poll_reserve(context)).map_err(gone)?;
        self.sender.send_item(bytes.to_vec()).map_err(gone)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The thread flushes after each piece.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.close();
        let Some(finished) = &mut self.finished else {
            return Poll::Ready(Ok(()));
        };
        let outcome = ready!(Pin::new(finished).poll(context));
        self.finished = None;
        Poll::Ready(outcome.unwrap_or(Ok(())))
    }
}
