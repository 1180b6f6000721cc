//! What was answered, as it is recorded: one JSON object, whatever the wire format.
//!
//! It is written while the events pass, so that an answer that breaks off is on record as far as
//! it came. A line reads `{"model":…,"content":[…],"stop_reason":…}`, with blocks of the types
//! `text`, `tool_call`, `reasoning` and `opaque`.

use std::fmt::Write as _;

use model::{BlockKind, CompletionEvent, StopReason, ToolCallInput};
use serde_json::json;

/// The record of one reply, under construction.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    model: String,
    /// The blocks as JSON with commas between them; the last may still be open.
    blocks: String,
    open: Option<OpenBlock>,
    end: Option<(StopReason, Option<String>)>,
}

#[derive(Debug)]
struct OpenBlock {
    kind: BlockKind,
    /// What its deltas said; that of a text is written at once.
    text: String,
}

const TEXT: &str = r#"{"type":"text","text":""#;

impl Transcript {
    /// Adds an event.
    pub(crate) fn note(&mut self, event: &CompletionEvent) {
        match event {
            CompletionEvent::Started { model, .. } => model.as_str().clone_into(&mut self.model),
            CompletionEvent::BlockStarted { kind, .. } => {
                self.close();
                self.separate();
                if matches!(kind, BlockKind::Text) {
                    self.blocks.push_str(TEXT);
                }
                self.open = Some(OpenBlock { kind: kind.clone(), text: String::new() });
            }
            CompletionEvent::BlockDelta { delta, .. } => {
                match &mut self.open {
                    // Much the most common, without a copy in between.
                    Some(OpenBlock { kind: BlockKind::Text, .. }) => {
                        push_escaped(&mut self.blocks, delta);
                    }
                    Some(open) => open.text.push_str(delta),
                    None => {}
                }
            }
            CompletionEvent::BlockStopped { .. } => self.close(),
            CompletionEvent::Usage(_) => {}
            CompletionEvent::Finished { reason, stop_sequence } => {
                self.end = Some((*reason, stop_sequence.clone()));
            }
        }
    }

    /// A comma, where a block stands before.
    fn separate(&mut self) {
        if !self.blocks.is_empty() {
            self.blocks.push(',');
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        match &open.kind {
            BlockKind::Text => self.blocks.push_str(r#""}"#),
            BlockKind::Opaque(opaque) => {
                self.blocks.push_str(r#"{"type":"opaque","json":"#);
                self.blocks.push_str(opaque.json.as_str());
                self.blocks.push('}');
            }
            BlockKind::ToolCall(call) => {
                let arguments = match &call.input {
                    ToolCallInput::Json(json) => json.as_str().to_owned(),
                    ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
                        format!("{text}{}", open.text)
                    }
                };
                let id = &call.id;
                let block = match &call.namespace {
                    Some(space) => json!({"type": "tool_call", "id": id, "namespace": space,
                        "name": call.name, "arguments": arguments}),
                    None => json!({"type": "tool_call", "id": id, "name": call.name,
                        "arguments": arguments}),
                };
                self.blocks.push_str(&block.to_string());
            }
            BlockKind::Reasoning(reasoning) => {
                let text = format!("{}{}", reasoning.text, open.text);
                let encrypted = reasoning.encrypted.is_some();
                let block = json!({"type": "reasoning", "text": text,
                    "summary": reasoning.summary, "encrypted": encrypted});
                self.blocks.push_str(&block.to_string());
            }
        }
    }

    /// The record; `None` where nothing was said.
    pub(crate) fn finish(mut self) -> Option<String> {
        self.close();
        if self.blocks.is_empty() && self.end.is_none() {
            return None;
        }
        let mut out = String::with_capacity(self.blocks.len() + self.model.len() + 96);
        out.push_str(r#"{"model":"#);
        push_string(&mut out, &self.model);
        out.push_str(r#","content":["#);
        out.push_str(&self.blocks);
        out.push_str(r#"],"stop_reason":"#);
        match self.end {
            Some((reason, stop)) => {
                push_string(&mut out, reason.as_str());
                if let Some(stop) = stop {
                    out.push_str(r#","stop_sequence":"#);
                    push_string(&mut out, &stop);
                }
            }
            None => out.push_str("null"),
        }
        out.push('}');
        Some(out)
    }
}

/// Appends a JSON string.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends the inside of a JSON string.
fn push_escaped(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    let mut rest = text;
    while let Some((plain, tail)) = rest.split_at_checked(plain_len(rest.as_bytes())) {
        out.push_str(plain);
        let Some(special) = tail.chars().next() else { return };
        match special {
            '"' => out.push_str(r#"\""#),
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            '\u{8}' => out.push_str(r"\b"),
            '\u{c}' => out.push_str(r"\f"),
            control => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
        }
        rest = tail.get(special.len_utf8()..).unwrap_or_default();
    }
}

/// How many bytes from the start need no escape.
fn plain_len(bytes: &[u8]) -> usize {
    // Whole chunks without a branch per byte, so that the compiler uses vector instructions.
    let (chunks, _) = bytes.as_chunks::<16>();
    let is_plain =
        |chunk: &&[u8; 16]| !chunk.iter().fold(false, |hit, byte| hit | is_special(*byte));
    let plain = 16 * chunks.iter().take_while(is_plain).count();
    let rest = bytes.get(plain..).unwrap_or_default();
    plain + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

#[expect(clippy::needless_bitwise_bool, reason = "without branches the loop is vectorized")]
const fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// The record of all replies of a call: the one, or an array of them.
pub(crate) fn finish_all(transcripts: Vec<Transcript>) -> Option<String> {
    let mut written: Vec<String> = transcripts.into_iter().filter_map(Transcript::finish).collect();
    if written.len() < 2 { written.pop() } else { Some(format!("[{}]", written.join(","))) }
}

#[cfg(test)]
mod tests {
    use model::{
        BlockKind, CompletionEvent, LossSet, ModelName, StopReason, ToolCall, ToolCallInput,
    };

    use proptest::prelude::*;

    use super::{Transcript, finish_all};

    fn text(deltas: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        let model = ModelName::new("m");
        transcript.note(&CompletionEvent::Started { model, losses: LossSet::EMPTY });
        transcript.note(&CompletionEvent::BlockStarted { at: 0, kind: BlockKind::Text });
        for delta in deltas {
            transcript.note(&CompletionEvent::BlockDelta { at: 0, delta: (*delta).to_owned() });
        }
        transcript
    }

    #[test]
    fn an_answer_that_breaks_off_is_there_as_far_as_it_came() {
        let cut = text(&["a\"", "b\n"]).finish();
        let json =
            r#"{"model":"m","content":[{"type":"text","text":"a\"b\n"}],"stop_reason":null}"#;
        assert_eq!(cut.as_deref(), Some(json));
        assert_eq!(Transcript::default().finish(), None);
    }

    #[test]
    fn tool_calls_are_whole_whether_their_deltas_repeat_them_or_not() {
        let mut transcript = text(&["x"]);
        transcript.note(&CompletionEvent::BlockStopped { at: 0 });
        for (at, input, delta) in [
            (1, ToolCallInput::Json(model::Json::from_compact("{\"a\":1}").unwrap()), "{\"a\":1}"),
            (2, ToolCallInput::Text(String::new()), "free"),
        ] {
            let call = ToolCall {
                id: format!("c{at}"),
                item_id: None,
                name: "f".to_owned(),
                namespace: None,
                input,
                cache: None,
            };
            transcript.note(&CompletionEvent::BlockStarted { at, kind: BlockKind::ToolCall(call) });
            transcript.note(&CompletionEvent::BlockDelta { at, delta: delta.to_owned() });
            transcript.note(&CompletionEvent::BlockStopped { at });
        }
        transcript.note(&CompletionEvent::Finished {
            reason: StopReason::StopSequence,
            stop_sequence: Some("END".to_owned()),
        });
        let json: serde_json::Value = serde_json::from_str(&transcript.finish().unwrap()).unwrap();
        assert_eq!(json["content"][1]["arguments"], "{\"a\":1}");
        assert_eq!(json["content"][2]["arguments"], "free");
        assert_eq!(
            (&json["stop_reason"], &json["stop_sequence"]),
            (&"stop_sequence".into(), &"END".into())
        );
    }

    #[test]
    fn several_replies_are_an_array() {
        let both = finish_all(vec![text(&["a"]), text(&["b"])]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&both).unwrap();
        assert_eq!(json[1]["content"][0]["text"], "b");
    }

    proptest! {
        #[test]
        fn texts_are_written_as_everywhere(deltas in prop::collection::vec(
            "[a-z\"\\\\\\x00-\\x1f\\x7f\\u{80}-\\u{9f}中\u{2028}]{0,5}[ -~]{0,40}", 0..4,
        )) {
            let borrowed: Vec<&str> = deltas.iter().map(String::as_str).collect();
            let written = text(&borrowed).finish().unwrap();
            let json = serde_json::to_string(&deltas.concat()).unwrap();
            let whole = format!(
                r#"{{"model":"m","content":[{{"type":"text","text":{json}}}],"stop_reason":null}}"#
            );
            prop_assert_eq!(written, whole);
        }
    }
}
