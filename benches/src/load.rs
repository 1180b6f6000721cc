//! The load generator: a closed loop of HTTP/1.1 callers over kept-alive connections.
//!
//! One thread for all callers, and the same code for every target, so that what it costs itself is
//! the same beside each of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::call::{Call, Request};
use crate::error::Outcome;
use crate::figures::nanoseconds;
use crate::host::Seen;
use crate::proc::{self, Memory};
use crate::response::Response;
use crate::target::Target;

/// How long a call may take before its connection counts as broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Failures in a row after which a caller gives up.
const MOST_FAILURES: u32 = 20;

/// One load on one target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Callers, each with one call in flight.
    pub(crate) callers: usize,
    /// Whether they ask for streams.
    pub(crate) streaming: bool,
    /// Time that is not counted.
    pub(crate) warm_up: Duration,
    /// Time that is counted.
    pub(crate) measured: Duration,
    /// Whether to note when the answer's first text arrives; the host must be timed.
    pub(crate) first_bytes: bool,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The measured time.
    pub(crate) elapsed: Duration,
    /// CPU time of the target in it.
    pub(crate) cpu: Duration,
    /// Memory of the target at its end.
    pub(crate) memory: Memory,
    /// Latencies of the good calls in it and the count of the bad ones, warm-up included.
    pub(crate) tally: Tally,
}

/// What callers saw. All times are in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// One per good call, sorted.
    pub(crate) latencies: Vec<u64>,
    /// From the host's answer to its first text at the caller, sorted.
    pub(crate) first_bytes: Vec<u64>,
    /// Calls with another status than 200.
    pub(crate) refused: u64,
    /// Calls with status 200 and not the answer that was meant for them.
    pub(crate) wrong: u64,
    /// Calls whose connection broke or fell silent.
    pub(crate) broken: u64,
}

impl Tally {
    /// Calls that were not answered as they should be.
    pub(crate) fn bad(&self) -> u64 {
        self.refused + self.wrong + self.broken
    }

    /// Counts the answer to a call, checked in full.
    pub(crate) fn count_answer(&mut self, call: Call, received: &io::Result<&Response>) {
        match received {
            Err(_) => self.broken += 1,
            Ok(response) if response.status != 200 => self.refused += 1,
            Ok(response) if !call.is_answered_by(&response.body) => self.wrong += 1,
            Ok(_) => {}
        }
    }

    /// Adds what another caller saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.first_bytes.extend(other.first_bytes);
        self.refused += other.refused;
        self.wrong += other.wrong;
        self.broken += other.broken;
    }
}

/// A runtime on the calling thread.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A kept-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    response: Response,
}

impl Connection {
    /// Opens a connection to a target.
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096], response: Response::default() })
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Reads the response to the end. With a marker, also says when that came into sight.
    pub(crate) async fn receive(
        &mut self,
        marker: Option<&[u8]>,
    ) -> io::Result<(&Response, Option<Instant>)> {
        self.response.reset();
        self.receive_rest(marker).await
    }

    /// Reads until the status of the response is there.
    pub(crate) async fn begin(&mut self) -> io::Result<u16> {
        self.response.reset();
        while self.response.status == 0 {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let bytes = self.buffer.get(..read).unwrap_or_default();
            self.response.feed(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        }
        Ok(self.response.status)
    }

    /// Reads what is left of a response that has [begun](Self::begin), and is not complete yet.
    pub(crate) async fn finish(&mut self) -> io::Result<&Response> {
        self.receive_rest(None).await.map(|(response, _)| response)
    }

    async fn receive_rest(
        &mut self,
        marker: Option<&[u8]>,
    ) -> io::Result<(&Response, Option<Instant>)> {
        let mut seen_at = None;
        loop {
            let read = self.stream.read(&mut self.buffer).await?;
            let complete = if read == 0 {
                if !self.response.end() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                true
            } else {
                let bytes = self.buffer.get(..read).unwrap_or_default();
                self.response.feed(bytes).map_err(|_| io::ErrorKind::InvalidData)?
            };
            if let Some(marker) = marker
                && seen_at.is_none()
                && memmem::find(&self.response.body, marker).is_some()
            {
                seen_at = Some(Instant::now());
            }
            if complete {
                return Ok((&self.response, seen_at));
            }
        }
    }
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// What the callers of one load share.
struct Shared {
    phase: AtomicU8,
    next_number: AtomicU32,
    port: u16,
    token: Option<String>,
    echo: bool,
    load: Load,
    host: Arc<Seen>,
}

/// Loads a target and measures it.
pub(crate) fn run(target: &Target, load: Load) -> Outcome<Loaded> {
    runtime()?.block_on(async {
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(WARMING),
            next_number: AtomicU32::new(1),
            port: target.port,
            token: target.token().map(str::to_owned),
            echo: target.echoes(),
            load,
            host: Arc::clone(&target.host()?.seen),
        });
        let mut callers = JoinSet::new();
        for _ in 0..load.callers {
            callers.spawn(call_on_and_on(Arc::clone(&shared)));
        }
        tokio::time::sleep(load.warm_up).await;
        let cpu_before = proc::cpu_time(target.pid())?;
        let begun = Instant::now();
        shared.phase.store(MEASURING, Ordering::Relaxed);
        tokio::time::sleep(load.measured).await;
        shared.phase.store(OVER, Ordering::Relaxed);
        let elapsed = begun.elapsed();
        let cpu = proc::cpu_time(target.pid())?.saturating_sub(cpu_before);
        let memory = proc::memory(target.pid())?;
        let mut tally = Tally::default();
        while let Some(caller) = callers.join_next().await {
            tally.add(caller?);
        }
        tally.latencies.sort_unstable();
        tally.first_bytes.sort_unstable();
        Ok(Loaded { elapsed, cpu, memory, tally })
    })
}

/// One caller: the next call as soon as the last is answered, until the time is over.
async fn call_on_and_on(shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    let mut request = Request::new(shared.port, shared.load.streaming, shared.token.as_deref());
    let mut connection = None;
    let mut failures = 0;
    while shared.phase.load(Ordering::Relaxed) != OVER && failures < MOST_FAILURES {
        let number = shared.next_number.fetch_add(1, Ordering::Relaxed);
        let call = Call { number, streaming: shared.load.streaming, echo: shared.echo };
        request.set_number(number);
        // The first call of a connection is checked word for word, the others by their number.
        let fresh = connection.is_none();
        let exchange =
            exchange(&mut connection, shared.port, &request, call, shared.load.first_bytes);
        let begun = Instant::now();
        let Ok(Ok((response, seen_at))) = timeout(PATIENCE, exchange).await else {
            connection = None;
            tally.broken += 1;
            failures += 1;
            continue;
        };
        let ended = Instant::now();
        let good = if fresh {
            call.is_answered_by(&response.body)
        } else {
            call.is_marked(&response.body)
        };
        if response.status != 200 {
            tally.refused += 1;
            failures += 1;
        } else if !good {
            tally.wrong += 1;
        } else {
            failures = 0;
            if shared.phase.load(Ordering::Relaxed) == MEASURING {
                tally.latencies.push(nanoseconds(ended - begun));
            }
            if shared.load.first_bytes
                && let (Some(seen), Some(answered)) =
                    (seen_at, shared.host.take_answered_at(number))
                && shared.phase.load(Ordering::Relaxed) == MEASURING
            {
                tally.first_bytes.push(nanoseconds(seen.saturating_duration_since(answered)));
            }
        }
        if response.closes {
            connection = None;
        }
    }
    tally
}

/// Sends a request, over a new connection where there is none, and reads the response. The time is
/// when the marker of the call came into sight, if that is `watched`.
pub(crate) async fn exchange<'a>(
    connection: &'a mut Option<Connection>,
    port: u16,
    request: &Request,
    call: Call,
    watched: bool,
) -> io::Result<(&'a Response, Option<Instant>)> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(port).await?),
    };
    connection.send(request.bytes()).await?;
    let marker = watched.then(|| call.marker());
    connection.receive(marker.as_deref()).await
}

/// The first answers of a target that has just been started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstAnswers {
    /// When it first answered anything over HTTP, and with which status.
    pub(crate) any: (Instant, u16),
    /// When it first answered a call rightly.
    pub(crate) good: Instant,
}

/// Calls a target again and again until it answers rightly.
///
/// # Errors
/// When it does not before the deadline; the message says what it did instead.
pub(crate) fn first_answers(target: &Target, deadline: Instant) -> Outcome<FirstAnswers> {
    runtime()?.block_on(async {
        let call = Call { number: 0, streaming: false, echo: target.echoes() };
        let request = Request::new(target.port, false, target.token());
        let mut any = None;
        let mut last = "nothing listens".to_owned();
        while Instant::now() < deadline {
            let mut connection = None;
            let exchange = exchange(&mut connection, target.port, &request, call, false);
            match timeout(Duration::from_secs(5), exchange).await {
                Ok(Ok((response, _))) => {
                    let now = Instant::now();
                    let any = *any.get_or_insert((now, response.status));
                    if response.status == 200 && call.is_answered_by(&response.body) {
                        return Ok(FirstAnswers { any, good: now });
                    }
                    let body = String::from_utf8_lossy(&response.body);
                    last = format!("it answers {} {body}", response.status);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => "it does not answer".clone_into(&mut last),
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        Err(last.into())
    })
}
