//! One connection: reads lines, dispatches them, writes what is queued.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::envelope::{self, Envelope, ErrorObject};
use crate::ids::{Found, IdScanner};
use crate::lines::{Line, LineReader};
use crate::outbox::Outbox;
use crate::peer::{BatchReplies, Peer, ReplyError, ReplyTo, Request};

/// How long the end of a connection waits for the last lines to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest line that is read, in bytes. A longer one fails the request that it answers.
    pub max_line: usize,
    /// Bytes that may wait to be written before senders wait and reading stops.
    pub max_queued: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_line: 64 << 20, max_queued: 64 << 20 }
    }
}

/// What the other side asks of us. Called on the connection's own task: must not block.
pub trait Handler: Send + Sync + 'static {
    /// A request arrived.
    fn request(&self, peer: &Peer, request: Request);
    /// A notification arrived, with the raw JSON of its `params`.
    fn notification(&self, peer: &Peer, method: &str, params: Option<Bytes>);
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The other side closed its end.
    Eof,
    /// We were told to stop.
    Stopped,
    /// Reading or writing failed.
    Failed(io::Error),
}

/// A connection that has not been started.
#[derive(Debug)]
pub struct Connection<R, W> {
    source: R,
    sink: W,
    limits: Limits,
    peer: Peer,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    /// Makes a connection over a pair of streams. Nothing is read or written before [`run`].
    ///
    /// [`run`]: Connection::run
    pub fn new(source: R, sink: W, limits: Limits) -> Self {
        let peer = Peer::new(Arc::new(Outbox::new(limits.max_queued)));
        Self { source, sink, limits, peer }
    }

    /// The handle for our own requests.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Runs until the input ends, the sink fails or `stop` is cancelled.
    ///
    /// Then every pending request fails with [`ReplyError::Closed`], and what is queued is written
    /// for at most half a second more. Dropping the future fails them as well, but writes nothing
    /// more.
    pub async fn run(self, handler: &dyn Handler, stop: CancellationToken) -> Ended {
        let Self { source, mut sink, limits, peer } = self;
        // Nobody may wait for ever on a connection that was dropped or whose handler panicked.
        let open = CloseOnDrop(&peer);
        let outbox = Arc::clone(peer.outbox());
        let mut writing = std::pin::pin!(outbox.drain(&mut sink));
        let ended = tokio::select! {
            ended = read(source, limits, &peer, handler) => Ok(ended),
            written = &mut writing => Err(written),
            () = stop.cancelled() => Ok(Ended::Stopped),
        };
        drop(open);
        match ended {
            Ok(ended) => {
                let _ = tokio::time::timeout(LAST_WORDS, writing).await;
                ended
            }
            Err(Ok(())) => Ended::Stopped,
            Err(Err(error)) => Ended::Failed(error),
        }
    }
}

/// Fails what is pending when it goes out of scope, whatever the way.
struct CloseOnDrop<'a>(&'a Peer);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn read<R: AsyncRead + Unpin>(
    source: R,
    limits: Limits,
    peer: &Peer,
    handler: &dyn Handler,
) -> Ended {
    let mut lines = LineReader::new(source, limits.max_line);
    let mut at_end = false;
    loop {
        match lines.next().await {
            Ok(Some(Line::Whole(line))) => dispatch(&line, peer, handler),
            Ok(Some(Line::TooLong(found))) => {
                tracing::warn!(limit = limits.max_line, "skipped a line above the limit");
                fail_unread(peer, found, &ReplyError::TooLarge);
            }
            Ok(None) => return Ended::Eof,
            Err(error) => return Ended::Failed(error),
        }
        // A host that asks and does not read is not read either; that it has gone is still seen,
        // and what it said before that still counts.
        while !at_end && !peer.outbox().may_read() {
            tokio::select! {
                () = peer.outbox().until_may_read() => {}
                more = lines.fill() => match more {
                    Ok(more) => at_end = !more,
                    Err(error) => return Ended::Failed(error),
                },
            }
        }
    }
}

/// Takes one line apart. Nothing in it can end the connection.
fn dispatch(line: &Bytes, peer: &Peer, handler: &dyn Handler) {
    if line.first() == Some(&b'[') {
        return dispatch_batch(line, peer, handler);
    }
    match serde_json::from_slice::<Envelope<'_>>(line) {
        Ok(message) => {
            let reply_to = ReplyTo::Line(Arc::clone(peer.outbox()));
            dispatch_message(line, &message, reply_to, peer, handler);
        }
        Err(_) => fail_malformed(line, peer),
    }
}

fn dispatch_batch(line: &Bytes, peer: &Peer, handler: &dyn Handler) {
    let Ok(entries) = serde_json::from_slice::<Vec<&RawValue>>(line) else {
        tracing::warn!(bytes = line.len(), "ignored a line that is not JSON");
        return;
    };
    let mut messages = Vec::with_capacity(entries.len());
    for entry in &entries {
        match serde_json::from_str::<Envelope<'_>>(entry.get()) {
            Ok(message) => messages.push(message),
            Err(_) => fail_malformed(entry.get().as_bytes(), peer),
        }
    }
    let requests =
        messages.iter().filter(|message| message.id.is_some() && message.method.is_some()).count();
    let batch = BatchReplies::new(Arc::clone(peer.outbox()), requests);
    for message in &messages {
        let reply_to = ReplyTo::Batch(Arc::clone(&batch));
        dispatch_message(line, message, reply_to, peer, handler);
    }
}

fn dispatch_message(
    line: &Bytes,
    message: &Envelope<'_>,
    reply_to: ReplyTo,
    peer: &Peer,
    handler: &dyn Handler,
) {
    let slice = |raw: &RawValue| line.slice_ref(raw.get().as_bytes());
    match (&message.method, message.id) {
        (Some(_), Some(id)) if id.get().starts_with(['{', '[']) => {
            // No id that JSON-RPC knows; echoing it could echo a raw carriage return.
            let mut answer = Vec::new();
            envelope::write_error(&mut answer, "null", envelope::INVALID_REQUEST, "invalid id");
            reply_to.send(Some(answer));
        }
        (Some(method), Some(id)) => {
            let params = message.params.map(slice);
            let request =
                Request::new(id.get().to_owned(), method.clone().into_owned(), params, reply_to);
            handler.request(peer, request);
        }
        (Some(method), None) => handler.notification(peer, method, message.params.map(slice)),
        (None, Some(id)) => {
            let Some(own) = envelope::parse_own_id(id.get()) else {
                tracing::debug!("ignored an answer to a request that is not ours");
                return;
            };
            let reply = match (message.error, message.result) {
                (Some(error), _) => Err(read_error(error)),
                (None, Some(result)) => Ok(slice(result)),
                (None, None) => Ok(Bytes::from_static(b"null")),
            };
            if !peer.resolve(own, reply) {
                tracing::debug!(id = own, "ignored an answer that nobody waits for");
            }
        }
        (None, None) => tracing::debug!("ignored a message without method and id"),
    }
}

/// Reads code and message one by one: a message that cannot be read must not hide the code.
fn read_error(raw: &RawValue) -> ReplyError {
    let error: ErrorObject<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let code = error.code.and_then(|code| serde_json::from_str(code.get()).ok());
    let code = code.unwrap_or_default();
    let message = error.message.map(RawValue::get).filter(|raw| *raw != "null");
    let message = message.unwrap_or_default();
    let message = serde_json::from_str(message).unwrap_or_else(|_| message.to_owned());
    ReplyError::Host { code, message }
}

/// What is not a JSON-RPC message may still answer a request of ours.
fn fail_malformed(line: &[u8], peer: &Peer) {
    tracing::warn!(bytes = line.len(), "ignored what is not a JSON-RPC message");
    let mut scanner = IdScanner::default();
    scanner.push(line);
    fail_unread(peer, scanner.finish(), &ReplyError::Malformed);
}

fn fail_unread(peer: &Peer, found: Option<Found>, why: &ReplyError) {
    let Some(found) = found else { return };
    if found.is_request {
        let valid_id = serde_json::from_str::<&RawValue>(&found.id).is_ok();
        let raw_id = if valid_id { found.id } else { "null".to_owned() };
        let mut line = Vec::new();
        let message = match why {
            ReplyError::TooLarge => "the request is longer than the limit",
            _ => "the request is not valid JSON-RPC",
        };
        envelope::write_error(&mut line, &raw_id, envelope::INVALID_REQUEST, message);
        ReplyTo::Line(Arc::clone(peer.outbox())).send(Some(line));
    } else if let Some(own) = envelope::parse_own_id(&found.id) {
        peer.resolve(own, Err(why.clone()));
    }
}
