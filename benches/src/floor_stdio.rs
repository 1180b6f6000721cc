//! The floor of the wires: bare JSON-RPC ping-pong with the same host over the same kind of wires.
//!
//! It is a child process. The host sends one request, `bench/run`; the child then keeps so many
//! samplings in flight for so long and answers with what it measured.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use memchr::memchr;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Outcome;
use crate::figures::{nanoseconds, percentile};
use crate::messages::{ASK_TAG, answer_words};
use crate::proc;
use crate::stdio;

/// The method that starts a measurement.
pub(crate) const RUN: &str = "bench/run";

/// What the host asks for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Samplings that are on the way at any time.
    pub(crate) in_flight: usize,
    /// Milliseconds that are not counted.
    pub(crate) warm_up_ms: u64,
    /// Milliseconds that are counted.
    pub(crate) measured_ms: u64,
}

/// What the child measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Answers in the measured time.
    pub(crate) calls: u64,
    /// The measured time, in nanoseconds.
    pub(crate) nanoseconds: u64,
    /// Middle latency, in nanoseconds.
    pub(crate) p50: u64,
    /// Latency that one call in a hundred exceeds, in nanoseconds.
    pub(crate) p99: u64,
    /// CPU time of the child, in microseconds.
    pub(crate) cpu_us: u64,
    /// Answers with another id than the one that was due.
    pub(crate) wrong: u64,
}

#[derive(Debug, Deserialize)]
struct Order<'a> {
    id: u64,
    #[serde(borrow)]
    method: &'a str,
    params: Run,
}

#[derive(Debug, Deserialize)]
struct Answered<'a> {
    id: &'a str,
}

/// Serves `bench/run` until the host closes the wires.
pub(crate) fn serve() -> Outcome<()> {
    let (input, output) = stdio::own_ends()?;
    let mut wires =
        Wires { input: input.into(), output: output.into(), incoming: Vec::new(), read: 0 };
    loop {
        let mut order = None;
        let open = wires.read_lines(|line| {
            if let Ok(found) = serde_json::from_slice::<Order<'_>>(line)
                && found.method == RUN
            {
                order = Some((found.id, found.params));
            }
        })?;
        if !open {
            return Ok(());
        }
        if let Some((id, run)) = order {
            let measured = measure(&mut wires, run)?;
            wires.send(&json!({ "jsonrpc": "2.0", "id": id, "result": measured }))?;
        }
    }
}

fn measure(wires: &mut Wires, run: Run) -> Outcome<Measured> {
    let begun = Instant::now();
    let from = begun + Duration::from_millis(run.warm_up_ms);
    let until = from + Duration::from_millis(run.measured_ms);
    let mut cpu_from = None;
    let mut latencies = Vec::new();
    let mut wrong = 0;
    let mut next = 0_u64;
    let mut outgoing = Vec::new();
    let mut flying: VecDeque<(u64, Instant)> = VecDeque::new();
    for _ in 0..run.in_flight {
        flying.push_back((next, Instant::now()));
        append_sampling(&mut outgoing, next);
        next += 1;
    }
    wires.output.write_all(&outgoing)?;
    while !flying.is_empty() {
        outgoing.clear();
        let now = Instant::now();
        if cpu_from.is_none() && now >= from {
            cpu_from = Some(proc::cpu_time(std::process::id())?);
        }
        let open = wires.read_lines(|line| {
            let now = Instant::now();
            let id = serde_json::from_slice::<Answered<'_>>(line).ok();
            let id = id.and_then(|answered| answered.id.strip_prefix("s-")?.parse::<u64>().ok());
            // The host answers in order, so the answer that is due is the oldest.
            match flying.pop_front() {
                Some((due, since)) if id == Some(due) => {
                    if now >= from && now < until {
                        latencies.push(nanoseconds(now - since));
                    }
                }
                _ => wrong += 1,
            }
            if now < until {
                flying.push_back((next, now));
                append_sampling(&mut outgoing, next);
                next += 1;
            }
        })?;
        if !open {
            return Err("the host closed the wires during a measurement".into());
        }
        wires.output.write_all(&outgoing)?;
    }
    let cpu = proc::cpu_time(std::process::id())?.saturating_sub(cpu_from.unwrap_or_default());
    latencies.sort_unstable();
    Ok(Measured {
        calls: u64::try_from(latencies.len())?,
        nanoseconds: nanoseconds(until - from),
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        cpu_us: nanoseconds(cpu) / 1000,
        wrong,
    })
}

fn append_sampling(outgoing: &mut Vec<u8>, id: u64) {
    let number = id % 100_000_000;
    let written = writeln!(
        outgoing,
        r#"{{"jsonrpc":"2.0","id":"s-{id}","method":"sampling/createMessage","params":{{"messages":[{{"role":"user","content":{{"type":"text","text":"{ASK_TAG}{number:08}{}"}}}}],"maxTokens":8192}}}}"#,
        answer_words()
    );
    // Writing into memory cannot fail.
    debug_assert!(written.is_ok());
}

/// The child's wires, blocking: with one thread there is nothing else to do.
struct Wires {
    input: File,
    output: File,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that hold something.
    read: usize,
}

impl Wires {
    /// Waits for bytes and hands every complete line over; the answer is false at the end of input.
    fn read_lines(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        if self.incoming.len() < self.read + (1 << 16) {
            self.incoming.resize(self.read + (1 << 18), 0);
        }
        let read = self.input.read(self.incoming.get_mut(self.read..).unwrap_or_default())?;
        self.read += read;
        let mut rest = self.incoming.get(..self.read).unwrap_or_default();
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            each(line);
            rest = after.get(1..).unwrap_or_default();
        }
        let left = rest.len();
        self.incoming.copy_within(self.read - left..self.read, 0);
        self.read = left;
        Ok(read > 0)
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        self.output.write_all(format!("{message}\n").as_bytes())
    }
}
