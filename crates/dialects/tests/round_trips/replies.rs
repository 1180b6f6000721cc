//! `read_reply(write_reply(c)) == c` and `fold(read_stream(write_stream(events(c)))) == c`, up to
//! what a dialect has no place for in a reply.

use std::collections::BTreeSet;

use dialects::{ReplyHead, StreamWriter, anthropic_messages, openai_chat, openai_responses};
use model::{
    Block, CallId, Completion, Dialect, LossSet, ModelName, Opaque, ParamsMode, StopReason,
    ToolCall, ToolCallInput, Usage,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::generate::{input, json, object, reasoning, text};
use crate::{DIALECTS, read_reply, read_stream};

fn block(own: Dialect) -> impl Strategy<Value = Block> {
    let call = (input(), of("[a-z]{1,4}"), of(select(vec!["agents"])), any::<u32>());
    let opaque = (select(DIALECTS.to_vec()), object()).prop_map(|(dialect, object)| {
        let json = json(&format!(r#"{{"type":"x_call","x":{}}}"#, object.as_str()));
        Block::Opaque(Opaque { dialect, kind: "x_call".to_owned(), json })
    });
    prop_oneof![
        4 => prop_oneof![9 => text(), 1 => Just(String::new())].prop_map(Block::text),
        3 => call.prop_map(|(input, item_id, namespace, id)| Block::ToolCall(ToolCall {
            id: format!("call_{id}"),
            item_id,
            name: "run it".to_owned(),
            namespace: namespace.map(str::to_owned),
            input,
            cache: None,
        })),
        2 => reasoning(own).prop_map(Block::Reasoning),
        1 => opaque,
    ]
}

fn completion(own: Dialect) -> impl Strategy<Value = Completion> {
    let reasons = vec![
        StopReason::EndTurn,
        StopReason::StopSequence,
        StopReason::MaxTokens,
        StopReason::ToolUse,
        StopReason::Refusal,
    ];
    let usage = (1..9999_u64, 1..999_u64, 0..999_u64, 0..99_u64, 0..9_u64, any::<bool>());
    (text(), vec(block(own), 0..6), select(reasons), of(text()), usage).prop_map(
        |(model, content, reason, stop_sequence, usage)| {
            let (input, output, cached_input, cache_write, reasoning, estimated) = usage;
            Completion {
                model: ModelName::new(model),
                content,
                reason,
                stop_sequence: stop_sequence.filter(|_| reason == StopReason::StopSequence),
                usage: Usage { input, output, cached_input, cache_write, reasoning, estimated },
                losses: LossSet::EMPTY,
            }
        },
    )
}

/// What a dialect shows of a reply.
///
/// None shows empty texts, what only another dialect understands, and that tokens are estimated;
/// in all of them calls decide about the reason. Chat has one text, then calls, and neither
/// thoughts nor stop sequences. Messages has calls with objects only, thoughts with a signature or
/// ciphertext, and no count of their tokens. Only Responses has namespaces and ids of items, and
/// makes up those that are missing.
fn shown(dialect: Dialect, mut reply: Completion) -> Completion {
    reply.content.retain(|block| match (dialect, block) {
        (_, Block::ToolCall(_)) => true,
        (_, Block::Text(text)) => !text.text.is_empty(),
        (Dialect::OpenAiResponses, Block::Reasoning(thought)) => thought.dialect == dialect,
        (Dialect::OpenAiResponses, Block::Opaque(opaque)) => opaque.dialect == dialect,
        (Dialect::AnthropicMessages, Block::Reasoning(thought)) => {
            thought.dialect == dialect
                && (thought.signature.is_some() || thought.encrypted.is_some())
        }
        _ => false,
    });
    let mut ids = BTreeSet::new();
    for block in &mut reply.content {
        if let Block::ToolCall(call) = block {
            // No two items have one id: a second one gets one that is made up.
            call.item_id = call.item_id.take().filter(|id| ids.insert(id.clone()));
            if dialect == Dialect::AnthropicMessages {
                call.input = as_object(&call.input);
            }
            if dialect != Dialect::OpenAiResponses {
                (call.item_id, call.namespace) = (None, None);
            }
        }
    }
    match dialect {
        Dialect::OpenAiChat => {
            let text = reply.text();
            reply.content.retain(|block| matches!(block, Block::ToolCall(_)));
            if !text.is_empty() {
                reply.content.insert(0, Block::text(text));
            }
            reply.usage.input += std::mem::take(&mut reply.usage.cache_write);
        }
        Dialect::AnthropicMessages => reply.usage.reasoning = 0,
        Dialect::OpenAiResponses => {}
    }
    let stops = dialect == Dialect::AnthropicMessages;
    reply.stop_sequence = reply.stop_sequence.filter(|_| stops);
    reply.reason = match reply.reason {
        _ if reply.has_tool_calls() => StopReason::ToolUse,
        StopReason::StopSequence if stops => StopReason::StopSequence,
        StopReason::ToolUse | StopReason::StopSequence => StopReason::EndTurn,
        reason => reason,
    };
    reply.usage.estimated = false;
    reply
}

/// Takes out the item ids that a writer made up.
fn without_made_up(mut read: Completion, wanted: &Completion) -> Completion {
    for (read, wanted) in read.content.iter_mut().zip(&wanted.content) {
        match (read, wanted) {
            (Block::ToolCall(read), Block::ToolCall(wanted)) if wanted.item_id.is_none() => {
                assert!(read.item_id.take().is_some_and(|id| !id.is_empty()));
            }
            (Block::Reasoning(read), Block::Reasoning(wanted)) if wanted.id.is_none() => {
                assert!(read.id.take().is_some_and(|id| !id.is_empty()));
            }
            _ => {}
        }
    }
    read
}

/// JSON by what it means: writers escape what some client takes for a line end.
fn by_meaning(mut reply: Completion) -> Completion {
    for block in &mut reply.content {
        if let Block::Opaque(opaque) = block {
            let breaks = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
            let escape = |c: char| match c {
                c if breaks(c) => format!("\\u{:04x}", u32::from(c)),
                c => c.to_string(),
            };
            opaque.json = json(&opaque.json.as_str().chars().map(escape).collect::<String>());
        }
    }
    reply
}

fn as_object(input: &ToolCallInput) -> ToolCallInput {
    let text = match input {
        ToolCallInput::Json(object) if object.as_str().starts_with('{') => return input.clone(),
        ToolCallInput::Json(other) => other.as_str().to_owned(),
        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
            let mut out = Vec::new();
            dialects::json::push_string(&mut out, text);
            String::from_utf8(out).unwrap()
        }
    };
    ToolCallInput::Json(json(&format!(r#"{{"input":{text}}}"#)))
}

fn head(reply: &Completion) -> ReplyHead {
    ReplyHead {
        id: CallId::generate(),
        created: 1,
        model: reply.model.as_str().to_owned(),
        input_tokens: 7,
        choices: 1,
    }
}

fn streamed(mut writer: impl StreamWriter, reply: &Completion) -> Vec<u8> {
    let mut out = Vec::new();
    writer.begin(&mut out);
    for event in reply.clone().into_events() {
        writer.keep_alive(&mut out);
        writer.event(0, event, &mut out);
    }
    writer.end(&mut out);
    out
}

proptest! {
    #[test]
    fn chat(reply in completion(Dialect::OpenAiChat)) {
        let head = head(&reply);
        let wanted = shown(Dialect::OpenAiChat, reply.clone());
        let mut whole = Vec::new();
        openai_chat::write_reply(&head, std::slice::from_ref(&reply), &mut whole);
        prop_assert_eq!(read_reply(Dialect::OpenAiChat, &whole).unwrap(), wanted.clone());
        let stream = streamed(openai_chat::ChatStream::new(head, true), &reply);
        prop_assert_eq!(read_stream(Dialect::OpenAiChat, &stream).unwrap(), wanted);
    }

    #[test]
    fn messages(reply in completion(Dialect::AnthropicMessages)) {
        let head = head(&reply);
        let wanted = shown(Dialect::AnthropicMessages, reply.clone());
        let mut whole = Vec::new();
        anthropic_messages::write_reply(&head, &reply, &mut whole);
        prop_assert_eq!(read_reply(Dialect::AnthropicMessages, &whole).unwrap(), wanted.clone());
        let stream = streamed(anthropic_messages::MessagesStream::new(head, false), &reply);
        prop_assert_eq!(read_stream(Dialect::AnthropicMessages, &stream).unwrap(), wanted);
    }

    #[test]
    fn responses(reply in completion(Dialect::OpenAiResponses)) {
        let head = head(&reply);
        let wanted = by_meaning(shown(Dialect::OpenAiResponses, reply.clone()));
        let asked = br#"{"model":"m","input":"hi"}"#;
        let echo = openai_responses::read_request(asked, ParamsMode::Default).unwrap().echo;
        let whole = openai_responses::write_reply(&head, &echo, 1, &reply).json;
        let read = by_meaning(read_reply(Dialect::OpenAiResponses, &whole).unwrap());
        prop_assert_eq!(without_made_up(read, &wanted), wanted.clone());
        let stream = streamed(openai_responses::ResponsesStream::new(head, echo, || 1), &reply);
        let read = by_meaning(read_stream(Dialect::OpenAiResponses, &stream).unwrap());
        prop_assert_eq!(without_made_up(read, &wanted), wanted);
    }

    #[test]
    fn readers_never_panic_on_frames(lines in vec(frame(), 0..12)) {
        for dialect in DIALECTS {
            let bytes: String = lines.concat();
            let _ = read_stream(dialect, bytes.as_bytes());
            for line in &lines {
                let _ = read_reply(dialect, line.trim_start_matches("data: ").as_bytes());
            }
        }
    }
}

/// Frames in any order, from all dialects: a stream of them must fold, or be a failure.
fn frame() -> impl Strategy<Value = String> {
    let pieces = [
        r#"{"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"b"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":2.0}}"#,
        "[DONE]",
        r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"web_search_tool_result","content":[]}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"y"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"partial_json":"{}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#,
        r#"{"type":"message_stop"}"#,
        r#"{"type":"response.created","response":{"model":"m"}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"z"}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"z"}"#,
        r#"{"type":"response.output_text.done","output_index":0,"content_index":0}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"z"}]}}"#,
        r#"{"type":"response.completed","response":{"output":[{"type":"reasoning","summary":[]}]}}"#,
        r#"{"error":{"message":"no","code":429}}"#,
    ];
    select(pieces.to_vec()).prop_map(|piece| format!("data: {piece}\n\n"))
}
