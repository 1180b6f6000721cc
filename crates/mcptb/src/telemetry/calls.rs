//! The RX and TX lines.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway::{Audit, CallLog, Finished, HUNG_UP, Outcome, Received, Redactor};

use super::escape::Quoted;
use super::{LineQueue, LogFormat, Style, now};

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
        let mut text = Vec::with_capacity(320);
        let time = now();
        let _ = match style.format {
            LogFormat::Text if style.colour => {
                write!(text, "{time} {colour}{kind}\x1b[0m {id}")
            }
            LogFormat::Text => write!(text, "{time} {kind} {id}"),
            LogFormat::Json => {
                write!(text, "{{\"time\":\"{time}\",\"kind\":\"{kind}\",\"id\":\"{id}\"")
            }
        };
        Self { style, redactor: lines.audit.get().map(|audit| audit.redactor()), text }
    }

    /// A number, boolean or word of our own.
    fn plain(&mut self, name: &str, value: impl std::fmt::Display, is_word: bool) {
        let _ = match self.style.format {
            LogFormat::Text => write!(self.text, " {name}={value}"),
            LogFormat::Json if is_word => write!(self.text, ",\"{name}\":\"{value}\""),
            LogFormat::Json => write!(self.text, ",\"{name}\":{value}"),
        };
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.plain(name, value, false);
    }

    fn word(&mut self, name: &str, value: impl std::fmt::Display) {
        self.plain(name, value, true);
    }

    /// Text that a caller or host wrote.
    fn foreign(&mut self, name: &str, value: &str) {
        let redacted = self.redactor.as_ref().map(|redactor| redactor.redact_text(value));
        let value = redacted.as_deref().unwrap_or(value);
        let _ = match self.style.format {
            LogFormat::Text => write!(self.text, " {name}={}", Quoted(value)),
            LogFormat::Json => write!(self.text, ",\"{name}\":{}", Quoted(value)),
        };
    }

    fn milliseconds(&mut self, name: &str, value: Duration) {
        let value = value.as_secs_f64() * 1000.0;
        self.number(name, format_args!("{value:.1}"));
    }

    fn end(mut self) -> Vec<u8> {
        self.text.extend_from_slice(match self.style.format {
            LogFormat::Text => b"\n",
            LogFormat::Json => b"}\n",
        });
        self.text
    }
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
        line.word("dialect", received.dialect);
        line.foreign("model", received.model);
        line.number("stream", received.stream);
        line.number("messages", received.messages);
        line.number("bytes", received.bytes);
        line.number("tokens", received.input_tokens);
        if let Some(caller) = received.caller {
            line.word("from", caller.address);
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
        line.word("dialect", finished.dialect);
        line.number("status", status);
        line.foreign("model", finished.model_asked);
        if let Some(served) = finished.model_served {
            line.foreign("served", served);
        }
        if let Some(upstream) = finished.upstream {
            line.foreign("host", upstream);
        }
        if let Some(earlier) = finished.replay_of {
            line.word("replay_of", earlier);
        }
        line.number("bytes", finished.bytes_out);
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
            line.foreign("loss", &finished.losses.to_string());
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
