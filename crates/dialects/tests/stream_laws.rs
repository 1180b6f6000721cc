//! Laws of the streams: whatever the reply holds, its frames fold back to it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use dialects::sse::{SseEvent, SseReader};
use dialects::{
    ReplyHead, StreamWriter, anthropic_messages, json, openai_chat, openai_completions,
};
use model::{
    Block, CallId, Completion, Dialect, LossSet, ModelName, Opaque, StopReason, ToolCall,
    ToolCallInput, Usage,
};
use proptest::prelude::*;
use serde_json::Value;

fn head(model: &str, choices: u8) -> ReplyHead {
    ReplyHead {
        id: CallId::generate(),
        created: 1,
        model: model.to_owned(),
        input_tokens: 5,
        choices,
    }
}

fn input() -> impl Strategy<Value = ToolCallInput> {
    let object = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    prop_oneof![
        object.prop_map(|object| {
            let text = serde_json::to_string(&object).unwrap();
            ToolCallInput::Json(json::compact(&text).unwrap())
        }),
        any::<String>().prop_map(ToolCallInput::Broken),
        any::<String>().prop_map(ToolCallInput::Text),
    ]
}

/// Stands in every block that only one dialect understands. No reply may show it.
const HIDDEN: &str = "only-its-own-dialect";

fn opaque() -> impl Strategy<Value = Block> {
    let dialects = vec![Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages];
    proptest::sample::select(dialects).prop_map(|dialect| {
        let text = format!(r#"{{"type":"x_call","x":"{HIDDEN}"}}"#);
        Block::Opaque(Opaque {
            dialect,
            kind: "x_call".to_owned(),
            json: json::compact(&text).unwrap(),
        })
    })
}

fn block() -> impl Strategy<Value = Block> {
    let text = "(\\PC|[\n\r\u{85}\u{2028}\u{0}]| [a-z]{1,9}){0,120}";
    prop_oneof![
        3 => text.prop_map(Block::text),
        1 => (any::<String>(), any::<String>(), input()).prop_map(|(id, name, input)| {
            let (item_id, namespace, cache) = (None, None, None);
            Block::ToolCall(ToolCall { id, item_id, name, namespace, input, cache })
        }),
        1 => opaque(),
    ]
}

fn completion() -> impl Strategy<Value = Completion> {
    let reason = prop_oneof![
        Just(StopReason::EndTurn),
        Just(StopReason::StopSequence),
        Just(StopReason::MaxTokens),
        Just(StopReason::ToolUse),
        Just(StopReason::Refusal),
    ];
    let blocks = proptest::collection::vec(block(), 0..4);
    (blocks, reason, proptest::option::of(any::<String>()), 0..9_u64).prop_map(
        |(content, reason, stop_sequence, output)| Completion {
            model: ModelName::default(),
            content,
            reason,
            stop_sequence,
            usage: Usage { output, ..Usage::default() },
            losses: LossSet::EMPTY,
        },
    )
}

fn frames(mut writer: impl StreamWriter, replies: &[Completion]) -> Vec<SseEvent> {
    let mut out = Vec::new();
    writer.begin(&mut out);
    for (choice, reply) in (0_u8..).zip(replies) {
        for event in reply.clone().into_events() {
            writer.keep_alive(&mut out);
            writer.event(choice, event, &mut out);
        }
    }
    writer.end(&mut out);
    let text = std::str::from_utf8(&out).unwrap();
    // Clients that split lines in Python's way see the same lines.
    assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{2028}')));
    assert!(!text.contains(HIDDEN));
    let mut events = Vec::new();
    SseReader::new(1 << 20).push(&out, &mut events).unwrap();
    events
}

fn calls(reply: &Completion) -> impl Iterator<Item = &ToolCall> {
    reply.content.iter().filter_map(|block| match block {
        Block::ToolCall(call) => Some(call),
        _ => None,
    })
}

fn input_text(input: &ToolCallInput) -> &str {
    match input {
        ToolCallInput::Json(json) => json.as_str(),
        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text,
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Accumulators join strings that come twice and put calls at their index: each call opens once,
/// with its id, type and name, in order from 0, and pieces go to the call that opened last.
fn calls_open_once_and_in_order(chunks: &[&Value], calls: usize) {
    let mut opened = 0;
    for delta in chunks.iter().flat_map(|chunk| {
        chunk.pointer("/choices/0/delta/tool_calls").and_then(Value::as_array).into_iter().flatten()
    }) {
        let index = usize::try_from(delta["index"].as_u64().unwrap()).unwrap();
        let kind = if delta.get("custom").is_some() { "custom" } else { "function" };
        if delta.get("id").is_some() {
            assert_eq!(index, opened, "indexes are contiguous");
            assert_eq!(delta["type"], kind);
            assert!(delta.get(kind).unwrap()["name"].is_string());
            opened += 1;
        } else {
            assert_eq!(index + 1, opened, "a piece of a call that is not open");
            assert_eq!(delta.as_object().unwrap().len(), 2, "nothing is repeated");
            assert_eq!(
                delta.get(kind).unwrap().as_object().unwrap().len(),
                1,
                "nothing is repeated"
            );
        }
    }
    assert_eq!(opened, calls);
}

proptest! {
    #[test]
    fn text_folds_back(replies in proptest::collection::vec(completion(), 1..3), model: String) {
        let head = head(&model, u8::try_from(replies.len()).unwrap());
        let mut whole = Vec::new();
        openai_completions::write_reply(&head, &replies, &mut whole);
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        let writer = openai_completions::TextStream::new(head, true);
        let mut events = frames(writer, &replies);
        prop_assert_eq!(events.pop().unwrap().data, "[DONE]");
        let chunks: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
        let (usage, chunks) = chunks.split_last().unwrap();
        prop_assert_eq!(&usage["usage"], &whole["usage"]);
        for (at, reply) in replies.iter().enumerate() {
            let mine: Vec<&Value> =
                chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == at).collect();
            let joined: String = mine.iter().map(|chunk| text(chunk, "/choices/0/text")).collect();
            prop_assert_eq!(joined, reply.text());
            prop_assert_eq!(text(&whole, &format!("/choices/{at}/text")), reply.text());
            let ends: Vec<&str> =
                mine.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
            prop_assert_eq!(ends, [text(&whole, &format!("/choices/{at}/finish_reason"))]);
        }
    }

    #[test]
    fn chat_folds_back(replies in proptest::collection::vec(completion(), 1..3), model: String) {
        let choices = u8::try_from(replies.len()).unwrap();
        let mut events = frames(openai_chat::ChatStream::new(head(&model, choices), true), &replies);
        prop_assert_eq!(events.pop().unwrap().data, "[DONE]");
        let chunks: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
        let (usage, chunks) = chunks.split_last().unwrap();
        prop_assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);
        prop_assert_eq!(usage["choices"].as_array().unwrap().len(), 0);
        for (at, reply) in replies.iter().enumerate() {
            let mine: Vec<&Value> =
                chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == at).collect();
            let roles = mine.iter().filter(|chunk| {
                chunk.pointer("/choices/0/delta/role").is_some()
            });
            prop_assert_eq!(roles.count(), 1);
            let content: String =
                mine.iter().map(|chunk| text(chunk, "/choices/0/delta/content")).collect();
            prop_assert_eq!(content, reply.text());
            calls_open_once_and_in_order(&mine, calls(reply).count());
            for (call_at, call) in calls(reply).enumerate() {
                let deltas: Vec<&Value> = mine
                    .iter()
                    .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"))
                    .filter(|delta| delta["index"] == call_at)
                    .collect();
                let ids: String = deltas.iter().map(|delta| text(delta, "/id")).collect();
                prop_assert_eq!(&ids, &call.id);
                let input: String = deltas
                    .iter()
                    .map(|delta| text(delta, "/function/arguments").to_owned() + text(delta, "/custom/input"))
                    .collect();
                prop_assert_eq!(&input, input_text(&call.input));
            }
            prop_assert!(mine.last().unwrap()["choices"][0]["finish_reason"].is_string());
            prop_assert!(mine.iter().all(|chunk| chunk["model"] == model.as_str()));
        }
    }

    #[test]
    fn messages_fold_back(reply in completion(), model: String) {
        let writer = anthropic_messages::MessagesStream::new(head(&model, 1), false);
        let events = frames(writer, std::slice::from_ref(&reply));
        let mut blocks: Vec<(Value, String, bool)> = Vec::new();
        let mut names = Vec::new();
        for event in &events {
            let value: Value = serde_json::from_str(&event.data).unwrap();
            prop_assert_eq!(text(&value, "/type"), &event.name);
            if event.name != "ping" {
                names.push(event.name.as_str());
            }
            let index = value["index"].as_u64().map(|index| usize::try_from(index).unwrap());
            match event.name.as_str() {
                "content_block_start" => {
                    prop_assert_eq!(index, Some(blocks.len()));
                    prop_assert!(blocks.iter().all(|(_, _, stopped)| *stopped));
                    blocks.push((value["content_block"].clone(), String::new(), false));
                }
                "content_block_delta" => {
                    prop_assert_eq!(index, Some(blocks.len() - 1));
                    let (_, gathered, stopped) = blocks.last_mut().unwrap();
                    prop_assert!(!*stopped);
                    gathered.push_str(text(&value, "/delta/text"));
                    gathered.push_str(text(&value, "/delta/partial_json"));
                }
                "content_block_stop" => {
                    prop_assert_eq!(index, Some(blocks.len() - 1));
                    let stopped = &mut blocks.last_mut().unwrap().2;
                    prop_assert!(!std::mem::replace(stopped, true), "a block stops once");
                }
                "message_start" => {
                    prop_assert_eq!(text(&value, "/message/model"), model.as_str());
                }
                "message_delta" => {
                    prop_assert!(value["usage"]["output_tokens"].as_u64().unwrap() > 0);
                    let hit = value["delta"]["stop_sequence"].as_str().map(str::to_owned);
                    prop_assert_eq!(hit, reply.stop_sequence.clone());
                }
                _ => {}
            }
        }
        prop_assert_eq!(names.first(), Some(&"message_start"));
        prop_assert!(names.ends_with(&["message_delta", "message_stop"]));

        let kept: Vec<&Block> = reply
            .content
            .iter()
            .filter(|block| match block {
                Block::Text(text) => !text.text.is_empty(),
                block => !matches!(block, Block::Opaque(_)),
            })
            .collect();
        prop_assert_eq!(blocks.len(), kept.len());
        let mut whole = Vec::new();
        anthropic_messages::write_reply(&head(&model, 1), &reply, &mut whole);
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        prop_assert_eq!(whole["content"].as_array().unwrap().len(), kept.len());
        prop_assert!(!whole.to_string().contains(HIDDEN));
        for (at, ((start, gathered, stopped), block)) in blocks.iter().zip(kept).enumerate() {
            prop_assert!(*stopped);
            match block {
                Block::Text(kept) => prop_assert_eq!(gathered, &kept.text),
                Block::ToolCall(call) => {
                    prop_assert_eq!(text(start, "/id"), &call.id);
                    let input = if gathered.is_empty() { "{}" } else { gathered.as_str() };
                    let input: Value = serde_json::from_str(input).unwrap();
                    prop_assert!(input.is_object());
                    prop_assert_eq!(&input, &whole["content"][at]["input"]);
                }
                _ => prop_assert!(false, "no such block was made"),
            }
        }
    }

    #[test]
    fn whole_chat_replies_say_the_same(reply in completion(), model: String) {
        let mut out = Vec::new();
        openai_chat::write_reply(&head(&model, 1), std::slice::from_ref(&reply), &mut out);
        let value: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(text(&value, "/text"), reply.text());
        prop_assert!(!value.to_string().contains(HIDDEN));
        prop_assert_eq!(text(&value, "/choices/0/message/content"), reply.text());
        let written: Vec<&str> = value["choices"][0]["message"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|call| call.pointer("/function/arguments").or(call.pointer("/custom/input")))
            .map(|input| input.unwrap().as_str().unwrap())
            .collect();
        let meant: Vec<&str> = calls(&reply).map(|call| input_text(&call.input)).collect();
        prop_assert_eq!(written, meant);
    }
}
