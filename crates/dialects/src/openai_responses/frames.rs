//! Writes the frames of a stream: names, numbers, places.

use crate::json::{push_escaped, push_number, push_string};
use crate::sse::{close_frame, pieces};

/// Counts and writes the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The number of the next event.
    sequence: u64,
}

/// Where an event belongs: its item, and a part of it.
#[derive(Debug)]
pub(super) struct Place(Vec<u8>);

impl Place {
    /// A whole item.
    pub(super) fn of_item(at: usize, id: &str) -> Self {
        let mut out = br#","item_id":"#.to_vec();
        push_string(&mut out, id);
        push_index(&mut out, "output_index", at);
        Self(out)
    }

    /// A part of an item's content.
    pub(super) fn of_part(at: usize, id: &str, part: usize) -> Self {
        let mut place = Self::of_item(at, id);
        push_index(&mut place.0, "content_index", part);
        place
    }

    /// A part of an item's summary.
    pub(super) fn of_summary(at: usize, id: &str, part: usize) -> Self {
        let mut place = Self::of_item(at, id);
        push_index(&mut place.0, "summary_index", part);
        place
    }
}

impl Frames {
    /// Appends an event; `fields` writes what follows its number, each with a comma before it.
    pub(super) fn push(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        fields: impl FnOnce(&mut Vec<u8>),
    ) {
        for part in ["event: ", name, "\ndata: "] {
            out.extend_from_slice(part.as_bytes());
        }
        let start = out.len();
        for part in [r#"{"type":""#, name, r#"","sequence_number":"#] {
            out.extend_from_slice(part.as_bytes());
        }
        push_number(out, self.sequence);
        self.sequence += 1;
        fields(out);
        out.push(b'}');
        close_frame(out, start);
    }

    /// Appends an event that shows an item.
    pub(super) fn item(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        at: usize,
        item: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push(out, name, |out| {
            push_index(out, "output_index", at);
            out.extend_from_slice(br#","item":"#);
            item(out);
        });
    }

    /// Appends an event that shows a part.
    pub(super) fn part(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        place: &Place,
        part: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push(out, name, |out| {
            out.extend_from_slice(&place.0);
            out.extend_from_slice(br#","part":"#);
            part(out);
        });
    }

    /// Appends an event that shows a whole text, escaped already, under `key`.
    pub(super) fn text(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        place: &Place,
        key: &str,
        escaped: &[u8],
        tail: &[u8],
    ) {
        self.push(out, name, |out| {
            out.extend_from_slice(&place.0);
            for part in [",\"", key, "\":\""] {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(escaped);
            out.push(b'"');
            out.extend_from_slice(tail);
        });
    }

    /// Appends the deltas of a text, and the text to `escaped`.
    pub(super) fn deltas(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        place: &Place,
        text: &str,
        escaped: &mut Vec<u8>,
        tail: &[u8],
    ) {
        // Room for the whole burst: a host's answer comes in one delta.
        let frame = 2 * name.len() + place.0.len() + tail.len() + 80;
        out.reserve(text.len() + (text.len() / 40 + 1) * frame);
        for piece in pieces(text) {
            let from = escaped.len();
            push_escaped(escaped, piece);
            let piece = escaped.get(from..).unwrap_or_default();
            self.push(out, name, |out| {
                out.extend_from_slice(&place.0);
                out.extend_from_slice(br#","delta":""#);
                out.extend_from_slice(piece);
                out.push(b'"');
                out.extend_from_slice(tail);
            });
        }
    }
}

/// Appends a number behind a key.
fn push_index(out: &mut Vec<u8>, key: &str, number: usize) {
    for part in [",\"", key, "\":"] {
        out.extend_from_slice(part.as_bytes());
    }
    push_number(out, u64::try_from(number).unwrap_or(u64::MAX));
}
