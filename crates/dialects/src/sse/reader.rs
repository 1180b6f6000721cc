//! Reads a stream of server-sent events from pieces of any size.
//!
//! Follows the WHATWG "Server-sent events" parsing rules: CR, LF and CRLF end a line, a comment
//! begins with a colon, an event ends at an empty line, and what stands after the last empty line
//! is no event.

use std::fmt;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` line, empty where there is none.
    pub name: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseFault {
    /// One event is larger than the bound.
    TooLarge,
}

impl fmt::Display for SseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("an event of the stream is too large"),
        }
    }
}

impl std::error::Error for SseFault {}

/// An incremental reader. Bytes that are not UTF-8 become U+FFFD.
#[derive(Debug)]
pub struct SseReader {
    limit: usize,
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    after_return: bool,
    at_start: bool,
}

impl SseReader {
    /// A reader that holds at most `limit` bytes of one event.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            event: SseEvent { name: String::new(), data: String::new() },
            has_data: false,
            after_return: false,
            at_start: true,
        }
    }

    /// Takes the next bytes and appends the events that they complete.
    ///
    /// # Errors
    /// [`SseFault::TooLarge`]; the reader must not be used any more then.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseFault> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                // The second half of a CRLF, perhaps in a piece of its own.
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                return self.hold(rest);
            };
            let (line, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.hold(line)?;
            self.after_return = tail.first() == Some(&b'\r');
            rest = tail.get(1..).unwrap_or_default();
            self.end_line(events)?;
        }
        Ok(())
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), SseFault> {
        let held = self.line.len() + self.event.data.len() + self.event.name.len();
        if held + part.len() > self.limit {
            return Err(SseFault::TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) -> Result<(), SseFault> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = text.as_ref();
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments, `id`, `retry` and whatever may come later.
            _ => {}
        }
        // Replacement characters and joins can make the event longer than the bytes were.
        if self.event.data.len() > self.limit.saturating_mul(3) {
            return Err(SseFault::TooLarge);
        }
        Ok(())
    }
}
