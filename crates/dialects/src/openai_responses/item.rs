//! Writes the items of a response, whole.
//!
//! A stream shows each item three times and its text up to five times. So the text is escaped
//! once, and all who show it copy the escaped bytes.

use std::collections::HashSet;
use std::ops::Range;

use model::{CallId, Dialect, Json, Opaque, Reasoning, ToolCall, ToolCallInput};

use crate::json::{push_escaped, push_json, push_string};

/// The items of a response that are done.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The items with commas between them.
    json: Vec<u8>,
    places: Vec<Range<usize>>,
    /// The ids of the items, the open one included.
    ids: HashSet<String>,
}

impl Output {
    /// The id of the next item: the upstream's own where it gave one, because it may ask for it
    /// again, else made from the call and the item's place. No id is given twice.
    pub(super) fn name(&mut self, kind: ItemKind, given: Option<&str>, call: CallId) -> String {
        let own = given.filter(|given| !given.is_empty() && !self.ids.contains(*given));
        let id = own.map_or_else(
            || format!("{}{}{:016x}", kind.prefix(), call.hex(), self.count()),
            str::to_owned,
        );
        self.ids.insert(id.clone());
        id
    }

    /// Adds the item that `item` writes, and returns it.
    pub(super) fn add(&mut self, item: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        if !self.places.is_empty() {
            self.json.push(b',');
        }
        let start = self.json.len();
        item(&mut self.json);
        self.places.push(start..self.json.len());
        self.json.get(start..).unwrap_or_default()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// The items with commas between them.
    pub(super) fn json(&self) -> &[u8] {
        &self.json
    }

    /// Each item for itself.
    pub(super) fn items(&self) -> Vec<Json> {
        let whole = |place: &Range<usize>| {
            let item = std::str::from_utf8(self.json.get(place.clone())?).ok()?;
            Json::from_compact(item)
        };
        self.places.iter().filter_map(whole).collect()
    }
}

/// What kinds of items a response holds, by the beginning of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    Message,
    Function,
    Custom,
    Reasoning,
}

impl ItemKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Message => "msg_",
            Self::Function => "fc_",
            Self::Custom => "ctc_",
            Self::Reasoning => "rs_",
        }
    }

    /// The kind of a call's item.
    pub(super) const fn of(call: &ToolCall) -> Self {
        match call.input {
            ToolCallInput::Text(_) => Self::Custom,
            ToolCallInput::Json(_) | ToolCallInput::Broken(_) => Self::Function,
        }
    }
}

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    Done,
    /// Cut at the bound of tokens.
    Cut,
}

impl Progress {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "in_progress",
            Self::Done => "completed",
            Self::Cut => "incomplete",
        }
    }
}

/// Appends a message. `parts` are the escaped texts of its parts.
pub(super) fn push_message(out: &mut Vec<u8>, id: &str, progress: Progress, parts: &[Vec<u8>]) {
    out.extend_from_slice(br#"{"id":"#);
    push_string(out, id);
    out.extend_from_slice(br#","type":"message","status":""#);
    out.extend_from_slice(progress.as_str().as_bytes());
    out.extend_from_slice(br#"","role":"assistant","content":["#);
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_part(out, part);
    }
    out.extend_from_slice(b"]}");
}

/// Appends a part of a message whose text is escaped.
pub(super) fn push_part(out: &mut Vec<u8>, escaped: &[u8]) {
    out.extend_from_slice(br#"{"type":"output_text","text":""#);
    out.extend_from_slice(escaped);
    out.extend_from_slice(br#"","annotations":[],"logprobs":[]}"#);
}

/// Appends a call with its escaped arguments or input.
pub(super) fn push_call(
    out: &mut Vec<u8>,
    id: &str,
    call: &ToolCall,
    progress: Progress,
    escaped: &[u8],
) {
    let (kind, field) = match ItemKind::of(call) {
        ItemKind::Custom => ("custom_tool_call", "input"),
        _ => ("function_call", "arguments"),
    };
    out.extend_from_slice(br#"{"id":"#);
    push_string(out, id);
    for part in [r#","type":""#, kind, r#"","status":""#, progress.as_str(), r#"","call_id":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    push_string(out, &call.id);
    out.extend_from_slice(br#","name":"#);
    push_string(out, &call.name);
    if let Some(namespace) = &call.namespace {
        out.extend_from_slice(br#","namespace":"#);
        push_string(out, namespace);
    }
    for part in [r#",""#, field, r#"":""#] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(escaped);
    out.extend_from_slice(br#""}"#);
}

/// What a call carries where it stands whole in its opening event.
pub(super) fn whole_input(call: &ToolCall) -> &str {
    match &call.input {
        ToolCallInput::Json(json) => json.as_str(),
        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text,
    }
}

/// What a function call without arguments says instead: clients parse it.
pub(super) const NO_ARGUMENTS: &str = "{}";

/// Whether reasoning may be shown: it is the upstream's own and of this dialect. Ciphertext is
/// never made up.
pub(super) fn shows_reasoning(reasoning: &Reasoning) -> bool {
    reasoning.dialect == Dialect::OpenAiResponses
}

/// Appends a reasoning item, with its summary unless it has only begun.
pub(super) fn push_reasoning(
    out: &mut Vec<u8>,
    id: &str,
    reasoning: &Reasoning,
    progress: Progress,
    escaped: &[u8],
) {
    out.extend_from_slice(br#"{"id":"#);
    push_string(out, id);
    out.extend_from_slice(br#","type":"reasoning","summary":["#);
    if progress != Progress::Open {
        for (at, text) in reasoning.summary.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_summary(out, text);
        }
    }
    out.push(b']');
    if !escaped.is_empty() {
        out.extend_from_slice(br#","content":["#);
        push_thought(out, escaped);
        out.push(b']');
    }
    if let Some(encrypted) = &reasoning.encrypted {
        out.extend_from_slice(br#","encrypted_content":"#);
        push_string(out, if progress == Progress::Open { "" } else { encrypted });
    }
    out.push(b'}');
}

/// Appends a part of a reasoning item whose text is escaped.
pub(super) fn push_thought(out: &mut Vec<u8>, escaped: &[u8]) {
    out.extend_from_slice(br#"{"type":"reasoning_text","text":""#);
    out.extend_from_slice(escaped);
    out.extend_from_slice(br#""}"#);
}

/// Appends a part of a summary.
pub(super) fn push_summary(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(br#"{"type":"summary_text","text":"#);
    push_string(out, text);
    out.push(b'}');
}

/// Appends an item that only this dialect understands; false where it is another's.
pub(super) fn push_opaque(out: &mut Vec<u8>, opaque: &Opaque) -> bool {
    let ours = opaque.dialect == Dialect::OpenAiResponses;
    if ours {
        push_json(out, opaque.json.as_str());
    }
    ours
}

/// The escaped form of a text.
pub(super) fn escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 16);
    push_escaped(&mut out, text);
    out
}
