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
    /// JSON as far as it is whole: the model and the blocks that have ended. Empty before the first.
    out: Vec<u8>,
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
        self.begin_or_go_on(open.text.len());
        match &open.kind {
            // Much the most common, without a tree in between.
            BlockKind::Text => {
                self.push(r#"{"type":"text","text":"#);
                self.quote(&open.text);
                self.push("}");
            }
            BlockKind::Opaque(opaque) => {
                self.push(r#"{"type":"opaque","json":"#);
                self.push(opaque.json.as_str());
                self.push("}");
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
                self.push(&block.to_string());
            }
            BlockKind::Reasoning(reasoning) => {
                let text = format!("{}{}", reasoning.text, open.text);
                let encrypted = reasoning.encrypted.is_some();
                let block = json!({"type": "reasoning", "text": text,
                    "summary": reasoning.summary, "encrypted": encrypted});
                self.push(&block.to_string());
            }
        }
    }

    /// The record; `None` where nothing was said.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        self.close();
        if self.out.is_empty() {
            self.end.as_ref()?;
            self.begin(0);
        }
        self.push(r#"],"stop_reason":"#);
        match self.end.take() {
            Some((reason, stop)) => {
                self.quote(reason.as_str());
                if let Some(stop) = stop {
                    self.push(r#","stop_sequence":"#);
                    self.quote(&stop);
                }
            }
            None => self.push("null"),
        }
        self.push("}");
        Some(self.out)
    }

    /// Makes ready for one more block, with a text of so many bytes.
    fn begin_or_go_on(&mut self, text: usize) {
        if self.out.is_empty() { self.begin(text) } else { self.push(",") }
    }

    fn begin(&mut self, text: usize) {
        let model = std::mem::take(&mut self.model);
        // Room for the end too, mostly.
        self.out.reserve(model.len() + text + text / 8 + 128);
        self.push(r#"{"model":"#);
        self.quote(&model);
        self.push(r#","content":["#);
    }

    fn push(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Adds a text as a JSON string; that of a value would go through the machinery of formats.
    fn quote(&mut self, text: &str) {
        if is_plain(text) {
            for part in ["\"", text, "\""] {
                self.push(part);
            }
            return;
        }
        // There is no text that cannot be one, and a vector takes it.
        let _ = serde_json::to_writer(&mut self.out, text);
    }
}

/// Whether a text is a JSON string as it is, between quotation marks. It is looked at in pieces, all
/// bytes of each at once: most texts are plain, and looking is much cheaper than writing a byte at a
/// time.
fn is_plain(text: &str) -> bool {
    let escaped = |byte: &&u8| **byte < b' ' || **byte == b'"' || **byte == b'\\';
    text.as_bytes().chunks(64).all(|piece| piece.iter().filter(escaped).count() == 0)
}

/// The record of all replies of a call: the one, or an array of them.
pub(crate) fn finish_all(transcripts: Vec<Transcript>) -> Option<Vec<u8>> {
    let mut written: Vec<_> = transcripts.into_iter().filter_map(Transcript::finish).collect();
    if written.len() < 2 {
        return written.pop();
    }
    let mut all = vec![b'['];
    all.extend_from_slice(&written.join(&b','));
    all.push(b']');
    Some(all)
}

#[cfg(test)]
mod tests {
    use model::{
        BlockKind, CompletionEvent, LossSet, ModelName, StopReason, ToolCall, ToolCallInput,
    };

    use proptest::prelude::*;

    use super::{Transcript, finish_all};

    proptest! {
        /// Plain or not, long or short, it is the JSON string that it would be anyway.
        #[test]
        fn a_text_is_quoted_as_json(text in prop_oneof![
            any::<String>(),
            "[ -~]{0,200}",
            "[a-z ]{60,70}[\"\\\\\n\u{7f}é]?[a-z]{0,70}",
        ]) {
            let mut transcript = Transcript::default();
            transcript.quote(&text);
            prop_assert_eq!(transcript.out, serde_json::to_vec(&text).unwrap());
        }
    }

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
        assert_eq!(cut.as_deref(), Some(json.as_bytes()));
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
        let json: serde_json::Value =
            serde_json::from_slice(&transcript.finish().unwrap()).unwrap();
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
        let json: serde_json::Value = serde_json::from_slice(&both).unwrap();
        assert_eq!(json[1]["content"][0]["text"], "b");
    }
}
