//! `tracing` events as lines.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::escape::Quoted;
use super::{LineQueue, LogFormat, Style, now};

/// Turns each event to one line.
pub(crate) struct EventLines {
    queue: Arc<LineQueue>,
    style: Style,
}

impl EventLines {
    pub(crate) fn new(queue: Arc<LineQueue>, style: Style) -> Self {
        Self { queue, style }
    }
}

impl<S: Subscriber> Layer<S> for EventLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields { style: self.style, message: String::new(), rest: String::new() };
        event.record(&mut fields);
        let level = *event.metadata().level();
        let time = now();
        let mut line = Vec::with_capacity(128);
        let _ = match self.style.format {
            LogFormat::Text => {
                let (on, off) =
                    if self.style.colour { (paint(level), "\x1b[0m") } else { ("", "") };
                writeln!(line, "{time} {on}{level:<5}{off} {}{}", fields.message, fields.rest)
            }
            LogFormat::Json => writeln!(
                line,
                "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":{}{}}}",
                Quoted(&fields.message),
                fields.rest
            ),
        };
        self.queue.push(&line);
    }
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG | Level::TRACE => "\x1b[2m",
    }
}

struct Fields {
    style: Style,
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        let name = field.name();
        // Writing to a String cannot fail.
        let _ = match self.style.format {
            LogFormat::Text => write!(self.rest, " {name}={}", Quoted(value)),
            LogFormat::Json => write!(self.rest, ",\"{name}\":{}", Quoted(value)),
        };
    }
}
