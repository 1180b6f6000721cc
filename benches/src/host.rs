//! A fast MCP host: it answers every sampling with about 500 bytes, as soon as it is told to.
//!
//! One thread, one loop: what was read is answered in order and written with one call, so that the
//! host costs little beside the target and the same for every target.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::Outcome;
use crate::messages::{ANSWER_TAG, MODEL, answer_words, number_in};
use crate::stdio::{self, HostEnds};

/// When the host answers a sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once.
    AtOnce,
    /// So long after it was asked.
    After(Duration),
    /// Not before another pace is set; then all that waited are answered at once.
    Never,
}

/// What a host has seen, shared with the measurement.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    samplings: AtomicU64,
    /// When each numbered call was answered; kept only while somebody asks for it.
    answered_at: Option<Mutex<HashMap<u32, Instant>>>,
}

impl Seen {
    /// Samplings that have arrived.
    pub(crate) fn samplings(&self) -> u64 {
        self.samplings.load(Ordering::Relaxed)
    }

    /// Takes out when a numbered call was answered, just before the answer was written.
    pub(crate) fn take_answered_at(&self, number: u32) -> Option<Instant> {
        let times = self.answered_at.as_ref()?;
        times.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }
}

/// A handle to the host's thread; dropping it closes the wires, which ends the child.
#[derive(Debug)]
pub(crate) struct Host {
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) seen: Arc<Seen>,
}

#[derive(Debug)]
enum Order {
    Request { method: &'static str, params: Value, answer: SyncSender<Value> },
    Notify { method: &'static str },
    Pace(Pace),
}

impl Host {
    /// Starts a host on these wires.
    ///
    /// `timed` makes it remember when it answered each call, at the cost of a lock per answer.
    pub(crate) fn start(ends: HostEnds, pace: Pace, timed: bool) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, inbox) = unbounded_channel();
        let seen = Arc::new(Seen { answered_at: timed.then(Mutex::default), ..Seen::default() });
        let shared = Arc::clone(&seen);
        let thread = std::thread::Builder::new().name("host".to_owned()).spawn(move || {
            // A broken wire is the end of the child; the measurement notices by its lost calls.
            let _ended = runtime.block_on(Talk::new(pace, shared).run(ends, inbox));
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread), seen })
    }

    /// Asks the child something and waits for its result, or for the deadline.
    pub(crate) fn request(
        &self,
        method: &'static str,
        params: Value,
        deadline: Duration,
    ) -> Outcome<Value> {
        let (answer, result) = sync_channel(1);
        self.order(Order::Request { method, params, answer })?;
        result
            .recv_timeout(deadline)
            .map_err(|_| format!("the target did not answer `{method}` within {deadline:?}").into())
    }

    /// Performs the MCP handshake as a host that offers sampling and nothing else.
    pub(crate) fn initialize(&self) -> Outcome<()> {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "sampling": {} },
            "clientInfo": { "name": "mcptb-bench", "version": env!("CARGO_PKG_VERSION") },
        });
        self.request("initialize", params, Duration::from_secs(10))?;
        self.order(Order::Notify { method: "notifications/initialized" })
    }

    /// Changes when samplings are answered, for those that wait too.
    pub(crate) fn set_pace(&self, pace: Pace) -> Outcome<()> {
        self.order(Order::Pace(pace))
    }

    fn order(&self, order: Order) -> Outcome<()> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if sent { Ok(()) } else { Err("the target has closed its end".into()) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// A line from the child; what matters of it is borrowed, the rest skipped.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

/// The state of the host's loop.
struct Talk {
    pace: Pace,
    seen: Arc<Seen>,
    /// Answers that wait for their time, oldest first.
    waiting: VecDeque<Answer>,
    /// Requests of ours that wait for the child's answer; our ids count from 0.
    asked: HashMap<u64, SyncSender<Value>>,
    next_id: u64,
    outgoing: BytesMut,
}

struct Answer {
    due: Instant,
    id: String,
    number: String,
}

impl Talk {
    fn new(pace: Pace, seen: Arc<Seen>) -> Self {
        Self {
            pace,
            seen,
            waiting: VecDeque::new(),
            asked: HashMap::new(),
            next_id: 0,
            outgoing: BytesMut::new(),
        }
    }

    async fn run(
        mut self,
        ends: HostEnds,
        mut inbox: UnboundedReceiver<Order>,
    ) -> std::io::Result<()> {
        let mut reader = stdio::reader(ends.read)?;
        let mut writer = stdio::writer(ends.write)?;
        let mut incoming = BytesMut::with_capacity(1 << 16);
        loop {
            let due = match self.pace {
                Pace::After(_) => self.waiting.front().map(|answer| answer.due),
                Pace::AtOnce | Pace::Never => None,
            };
            tokio::select! {
                // Answers leave before anything else is read: nobody waits for a fuller batch.
                biased;
                written = writer.write(&self.outgoing), if !self.outgoing.is_empty() => {
                    self.outgoing.advance(written?);
                }
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return Ok(()),
                },
                read = reader.read_buf(&mut incoming) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.read_lines(&mut incoming);
                    incoming.reserve(1 << 16);
                }
                () = sleep_until(due), if due.is_some() => self.answer_due(),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Request { method, params, answer } => {
                let id = self.next_id;
                self.next_id += 1;
                self.asked.insert(id, answer);
                self.send(
                    &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }),
                );
            }
            Order::Notify { method } => self.send(&json!({ "jsonrpc": "2.0", "method": method })),
            Order::Pace(pace) => {
                self.pace = pace;
                if pace == Pace::AtOnce {
                    for answer in std::mem::take(&mut self.waiting) {
                        self.answer(&answer.id, &answer.number);
                    }
                }
            }
        }
    }

    fn send(&mut self, message: &Value) {
        self.outgoing.extend_from_slice(message.to_string().as_bytes());
        self.outgoing.extend_from_slice(b"\n");
    }

    /// Handles every complete line and leaves the rest for the next read.
    fn read_lines(&mut self, incoming: &mut BytesMut) {
        let bytes = incoming.split();
        let mut rest: &[u8] = &bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            // What is not a message of ours is no business of a benchmark.
            if let Ok(parsed) = serde_json::from_slice::<Line<'_>>(line) {
                self.handle(&parsed, line);
            }
            rest = after.get(1..).unwrap_or_default();
        }
        incoming.extend_from_slice(rest);
    }

    fn handle(&mut self, parsed: &Line<'_>, line: &[u8]) {
        match (parsed.method, parsed.id) {
            (Some("sampling/createMessage"), Some(id)) => {
                self.seen.samplings.fetch_add(1, Ordering::Relaxed);
                let number = number_in(line).unwrap_or("00000000");
                match self.pace {
                    Pace::AtOnce => self.answer(id.get(), number),
                    Pace::After(delay) => self.wait(Instant::now() + delay, id, number),
                    Pace::Never => self.wait(Instant::now(), id, number),
                }
            }
            (Some("ping"), Some(id)) => self.reply(id, r#""result":{}"#),
            (Some(_), Some(id)) => {
                self.reply(id, r#""error":{"code":-32601,"message":"Method not found"}"#);
            }
            (None, Some(id)) => {
                let asked = id.get().parse().ok().and_then(|id: u64| self.asked.remove(&id));
                let result = parsed.result.and_then(|raw| serde_json::from_str(raw.get()).ok());
                if let (Some(asked), Some(result)) = (asked, result) {
                    let _gave_up = asked.try_send(result);
                }
            }
            (_, None) => {}
        }
    }

    fn wait(&mut self, due: Instant, id: &RawValue, number: &str) {
        self.waiting.push_back(Answer { due, id: id.get().to_owned(), number: number.to_owned() });
    }

    fn answer_due(&mut self) {
        let now = Instant::now();
        while self.waiting.front().is_some_and(|answer| answer.due <= now) {
            if let Some(answer) = self.waiting.pop_front() {
                self.answer(&answer.id, &answer.number);
            }
        }
    }

    fn reply(&mut self, id: &RawValue, outcome: &str) {
        for piece in [r#"{"jsonrpc":"2.0","id":"#, id.get(), ",", outcome, "}\n"] {
            self.outgoing.extend_from_slice(piece.as_bytes());
        }
    }

    /// Appends the answer to a sampling; the text differs from call to call in its number only.
    fn answer(&mut self, id: &str, number: &str) {
        if let (Some(times), Ok(number)) = (&self.seen.answered_at, number.parse()) {
            let now = Instant::now();
            times.lock().unwrap_or_else(PoisonError::into_inner).insert(number, now);
        }
        let pieces = [
            r#"{"jsonrpc":"2.0","id":"#,
            id,
            r#","result":{"role":"assistant","content":{"type":"text","text":""#,
            ANSWER_TAG,
            number,
            answer_words(),
            r#""},"model":""#,
            MODEL,
            r#"","stopReason":"endTurn"}}"#,
            "\n",
        ];
        for piece in pieces {
            self.outgoing.extend_from_slice(piece.as_bytes());
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}
