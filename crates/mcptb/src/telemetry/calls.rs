//! The RX and TX lines.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway::{Audit, CallLog, Finished, HUNG_UP, Outcome, Received, Redactor};

use super::escape::push_quoted;
use super::{LineQueue, LogFormat, Style, now};

/// A tenth of a millisecond, in nanoseconds.
const TENTH: u64 = 100_000;

/// Writes one RX and one TX line per call.
#[derive(Debug)]
pub(crate) struct CallLines {
    queue: Arc<LineQueue>,
    style: Style,
    on: AtomicBool,
    bodies: bool,
    /// Knows what is struck out of all that callers and hosts have written.
    audit: OnceLock<Arc<Audit>>,
}

/// A line under construction: the same fields in either format.
struct Line {
    style: Style,
    redactor: Option<Arc<Redactor>>,
    text: Vec<u8>,
}

impl Line {
    fn new(lines: &CallLines, kind: &str, colour: &str, id: model::CallId) -> Self {
        let style = lines.style;
        let mut text = Vec::with_capacity(512);
        let mut room = [0; 36];
        let id = id.encode(&mut room);
        let [on, off] = if style.colour { [colour, "\x1b[0m"] } else { ["", ""] };
        // Writing to a vector cannot fail.
        match style.format {
            LogFormat::Text => {
                let _ = write!(text, "{}", now());
                push(&mut text, [" ", on, kind, off, " ", id]);
            }
            LogFormat::Json => {
                push(&mut text, ["{\"time\":\""]);
                let _ = write!(text, "{}", now());
                push(&mut text, ["\",\"kind\":\"", kind, "\",\"id\":\"", id, "\""]);
            }
        }
        Self { style, redactor: lines.audit.get().map(|audit| audit.redactor()), text }
    }

    /// The name of a field, and what stands around it.
    fn name(&mut self, name: &str) {
        push(
            &mut self.text,
            match self.style.format {
                LogFormat::Text => [" ", name, "="],
                LogFormat::Json => [",\"", name, "\":"],
            },
        );
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.text.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A word of our own, which needs no escape.
    fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        let quote = match self.style.format {
            LogFormat::Text => "",
            LogFormat::Json => "\"",
        };
        push(&mut self.text, [quote, value, quote]);
    }

    fn address(&mut self, name: &str, value: IpAddr) {
        self.name(name);
        // Writing to a vector cannot fail.
        let _ = match self.style.format {
            LogFormat::Text => write!(self.text, "{value}"),
            LogFormat::Json => write!(self.text, "\"{value}\""),
        };
    }

    /// Text that a caller or host wrote.
    fn foreign(&mut self, name: &str, value: &str) {
        self.name(name);
        let redacted = self.redactor.as_ref().map(|redactor| redactor.redact_text(value));
        push_quoted(&mut self.text, redacted.as_deref().unwrap_or(value));
    }

    /// Words of our own.
    fn words(&mut self, name: &str, value: &str) {
        self.name(name);
        push_quoted(&mut self.text, value);
    }

    fn milliseconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        push_milliseconds(&mut self.text, value);
    }

    fn end(mut self) -> Vec<u8> {
        self.text.extend_from_slice(match self.style.format {
            LogFormat::Text => b"\n",
            LogFormat::Json => b"}\n",
        });
        self.text
    }
}

fn push<const N: usize>(text: &mut Vec<u8>, pieces: [&str; N]) {
    for piece in pieces {
        text.extend_from_slice(piece.as_bytes());
    }
}

/// Appends milliseconds with one digit behind the point.
fn push_milliseconds(text: &mut Vec<u8>, time: Duration) {
    let nanos = time.as_nanos();
    // In the middle between two such numbers, and where a float is no longer exact to the
    // nanosecond, what is nearer is as floats have it.
    let Some(nanos) =
        u64::try_from(nanos).ok().filter(|nanos| *nanos < 1 << 48 && *nanos % TENTH != TENTH / 2)
    else {
        // Writing to a vector cannot fail.
        let _ = write!(text, "{:.1}", time.as_secs_f64() * 1000.0);
        return;
    };
    let tenths = (nanos + TENTH / 2) / TENTH;
    text.extend_from_slice(itoa::Buffer::new().format(tenths / 10).as_bytes());
    text.push(b'.');
    text.extend_from_slice(itoa::Buffer::new().format(tenths % 10).as_bytes());
}

impl CallLines {
    pub(crate) fn new(queue: Arc<LineQueue>, style: Style, on: bool, bodies: bool) -> Self {
        let audit = OnceLock::new();
        Self { queue, style, on: AtomicBool::new(on), bodies, audit }
    }

    /// Strikes out of lines from now on what the record strikes out. The first one stays.
    pub(crate) fn redact_as(&self, audit: Arc<Audit>) {
        let _ = self.audit.set(audit);
    }

    /// Prints lines from now on, or none.
    pub(super) fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

impl CallLog for CallLines {
    fn wants_bodies(&self) -> bool {
        self.is_on() && self.bodies
    }

    fn received(&self, received: &Received<'_>) {
        if !self.is_on() {
            return;
        }
        let mut line = Line::new(self, "RX", "\x1b[36m", received.id);
        line.word("dialect", received.dialect.as_str());
        line.foreign("model", received.model);
        line.flag("stream", received.stream);
        line.number("messages", received.messages as u64);
        line.number("bytes", received.bytes as u64);
        line.number("tokens", received.input_tokens);
        if let Some(caller) = received.caller {
            line.address("from", caller.address);
            if let Some(agent) = &caller.agent {
                line.foreign("agent", agent);
            }
        }
        if let Some(body) = received.body.filter(|_| self.bodies) {
            line.foreign("body", &String::from_utf8_lossy(body));
        }
        self.queue.push(&line.end());
    }

    fn finished(&self, finished: &Finished<'_>) {
        if !self.is_on() {
            return;
        }
        let (status, colour, failure) = match finished.outcome {
            Outcome::Answered => (200, "\x1b[32m", None),
            Outcome::Failed(failure, status) => (status, "\x1b[31m", Some(failure)),
            Outcome::HungUp => (HUNG_UP, "\x1b[33m", None),
        };
        let mut line = Line::new(self, "TX", colour, finished.id);
        line.word("dialect", finished.dialect.as_str());
        line.number("status", status.into());
        line.foreign("model", finished.model_asked);
        if let Some(served) = finished.model_served {
            line.foreign("served", served);
        }
        if let Some(upstream) = finished.upstream {
            line.foreign("host", upstream);
        }
        if let Some(earlier) = finished.replay_of {
            line.word("replay_of", earlier.encode(&mut [0; 36]));
        }
        line.number("bytes", finished.bytes_out as u64);
        line.number("tokens_in", finished.usage.input);
        line.number("tokens_out", finished.usage.output);
        if let Some(first) = finished.first_byte {
            line.milliseconds("first_ms", first);
        }
        line.milliseconds("total_ms", finished.duration);
        if let Some(reason) = finished.stop_reason {
            line.word("stop", reason.as_str());
        }
        if !finished.losses.is_empty() {
            line.words("loss", &finished.losses.names());
        }
        if let Some(failure) = failure {
            line.word("failure", failure.kind.as_str());
            line.foreign("message", &failure.message);
        }
        if let Some(text) = finished.text.filter(|_| self.bodies) {
            line.foreign("text", text);
        }
        self.queue.push(&line.end());
    }
}

#[cfg(test)]
mod tests;
