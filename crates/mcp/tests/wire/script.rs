//! The scripted peer, and a handler that writes down what it is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mcp::{Connection, Ended, Handler, Limits, Peer, Reply, Request};
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, split,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than any timer of the product; the paused clock jumps over it.
const LONG: Duration = Duration::from_secs(100_000);

/// The answer to one of our requests; a wait without an end is a failure.
pub(crate) async fn outcome(pending: impl Future<Output = Reply>) -> Reply {
    timeout(LONG, pending).await.expect("an answer or a failure")
}

/// The other side of a connection, in the test's hands.
pub(crate) struct Script {
    pub(crate) peer: Peer,
    pub(crate) stop: CancellationToken,
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    running: JoinHandle<Ended>,
}

impl Script {
    /// Runs a connection with the default limits.
    pub(crate) fn attach(handler: &Arc<impl Handler>) -> Self {
        Self::attach_with(handler, Limits::default(), 1 << 20)
    }

    /// Runs a connection over a pipe that holds `pipe` bytes each way.
    pub(crate) fn attach_with(handler: &Arc<impl Handler>, limits: Limits, pipe: usize) -> Self {
        let (near, far) = tokio::io::duplex(pipe);
        let (source, sink) = split(near);
        let connection = Connection::new(source, sink, limits);
        let peer = connection.peer().clone();
        let stop = CancellationToken::new();
        let running = TaskTracker::new().spawn({
            let (handler, stop) = (Arc::clone(handler), stop.clone());
            async move { connection.run(&*handler, stop).await }
        });
        let (reader, writer) = split(far);
        Self { peer, stop, reader: BufReader::new(reader), writer, running }
    }

    /// Writes one line.
    pub(crate) async fn say(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes()).await;
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        assert!(self.try_write(bytes).await, "the connection stopped reading");
    }

    /// Writes bytes; `false` if they are not all taken.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        timeout(LONG, self.writer.write_all(bytes)).await.is_ok_and(|written| written.is_ok())
    }

    /// The next line, or `None` if none comes.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match timeout(LONG, self.reader.read_line(&mut line)).await {
            Ok(Ok(0)) | Err(_) => None,
            Ok(read) => {
                read.expect("the pipe works");
                assert_eq!(line.pop(), Some('\n'), "a line was cut off: {line:?}");
                Some(line)
            }
        }
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Value {
        let line = self.line().await.expect("a message");
        serde_json::from_str(&line).expect("JSON on one line")
    }

    /// Checks that no message comes.
    pub(crate) async fn hear_nothing(&mut self) {
        assert_eq!(self.line().await, None);
    }

    /// Sends a request of ours with these params, and gives back its id on the wire.
    pub(crate) async fn ask(&mut self, params: &str) -> (mcp::PendingReply, Value) {
        let mut request = self.peer.prepare("ask");
        request.params().extend_from_slice(params.as_bytes());
        let pending = self.peer.send(request).await.expect("an open connection");
        let heard = self.hear().await;
        (pending, heard["id"].clone())
    }

    /// Closes the peer's writing end.
    pub(crate) async fn end_input(&mut self) {
        self.writer.shutdown().await.expect("the pipe works");
    }

    /// Closes the peer's writing end and waits for the connection to end.
    pub(crate) async fn close(mut self) -> Ended {
        self.end_input().await;
        self.ended().await
    }

    /// Waits for the connection to end.
    pub(crate) async fn ended(self) -> Ended {
        let ended = timeout(LONG, self.running).await;
        ended.expect("the connection ends").expect("no panic")
    }

    /// Drops both ends of the peer's pipe, as a killed host does.
    pub(crate) async fn die(self) -> Ended {
        let Self { reader, writer, running, .. } = self;
        drop((reader, writer));
        let ended = timeout(LONG, running).await;
        ended.expect("the connection ends").expect("no panic")
    }

    /// Drops the future that runs the connection.
    pub(crate) async fn abort(&mut self) {
        self.running.abort();
        while !self.running.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

/// Answers by the method's name, and writes everything down.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) notes: Mutex<Vec<(String, Option<Bytes>)>>,
    pub(crate) held: Mutex<Vec<Request>>,
    pub(crate) seen: Mutex<usize>,
}

impl Recorder {
    pub(crate) fn take_held(&self) -> Request {
        self.held.lock().unwrap().remove(0)
    }
}

impl Handler for Recorder {
    fn request(&self, _: &Peer, request: Request) {
        *self.seen.lock().unwrap() += 1;
        match request.method.as_str() {
            "echo" => {
                let params = request.params.clone().unwrap_or(Bytes::from_static(b"null"));
                request.reply(|out| out.extend_from_slice(&params));
            }
            "hold" => self.held.lock().unwrap().push(request),
            "drop" => drop(request),
            "break" => request.reply(|out| out.extend_from_slice(b"\"a\nb\"")),
            "return" => request.reply(|out| out.extend_from_slice(b"[\r]")),
            "withdraw" => request.withdraw(),
            "panic" => panic!("the handler fails"),
            _ => request.fail(-32601, "no such method"),
        }
    }

    fn notification(&self, _: &Peer, method: &str, params: Option<Bytes>) {
        let mut notes = self.notes.lock().unwrap();
        notes.push((method.to_owned(), params));
    }
}
