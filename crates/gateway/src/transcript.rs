//! What was answered, as it is recorded: one JSON object, whatever the wire format.
//!
//! It is written while the events pass, so that an answer that breaks off is on record as far as
//! it came. A line reads `{"model":…,"content":[…],"stop_reason":…}`, with blocks of the types
//! `text`, `tool_call`, `reasoning` and `opaque`.

use model::{BlockKind, CompletionEvent, StopReason, ToolCallInput};
use serde_json::json;

/// The record of one reply, under construction.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    model: String,
    /// The blocks that are whole, as JSON with commas between them.
    blocks: String,
    open: Option<OpenBlock>,
    end: Option<(StopReason, Option<String>)>,
}

#[derive(Debug)]
struct OpenBlock {
    kind: BlockKind,
    text: String,
}

impl Transcript {
    /// Adds an event.
    pub(crate) fn note(&mut self, event: &CompletionEvent) {
        match event {
            CompletionEvent::Started { model, .. } => model.as_str().clone_into(&mut self.model),
            CompletionEvent::BlockStarted { kind, .. } => {
                self.close();
                self.open = Some(OpenBlock { kind: kind.clone(), text: String::new() });
            }
            CompletionEvent::BlockDelta { delta, .. } => {
                if let Some(open) = &mut self.open {
                    open.text.push_str(delta);
                }
            }
            CompletionEvent::BlockStopped { .. } => self.close(),
            CompletionEvent::Usage(_) => {}
            CompletionEvent::Finished { reason, stop_sequence } => {
                self.end = Some((*reason, stop_sequence.clone()));
            }
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if !self.blocks.is_empty() {
            self.blocks.push(',');
        }
        match &open.kind {
            // Much the most common, without a tree in between.
            BlockKind::Text => {
                self.blocks.push_str(r#"{"type":"text","text":"#);
                self.blocks.push_str(&quoted(&open.text));
                self.blocks.push('}');
            }
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
        let mut out = String::with_capacity(self.blocks.len() + 96);
        out.push_str(r#"{"model":"#);
        out.push_str(&quoted(&self.model));
        out.push_str(r#","content":["#);
        out.push_str(&self.blocks);
        out.push_str(r#"],"stop_reason":"#);
        match self.end {
            Some((reason, stop)) => {
                out.push_str(&quoted(reason.as_str()));
                if let Some(stop) = stop {
                    out.push_str(r#","stop_sequence":"#);
                    out.push_str(&quoted(&stop));
                }
            }
            None => out.push_str("null"),
        }
        out.push('}');
        Some(out)
    }
}

/// A text as a JSON string; that of a value would go through the machinery of formats.
fn quoted(text: &str) -> String {
    // There is no text that cannot be one.
    serde_json::to_string(text).unwrap_or_default()
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
}
