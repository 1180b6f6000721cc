//! Golden files of everything that the Chat and Messages dialects write.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fmt::Write;

use dialects::{ReplyHead, StreamWriter, anthropic_messages, openai_chat};
use model::{
    Block, CallId, Completion, Dialect, Failure, FailureKind, Json, LossSet, ModelName, Reasoning,
    StopReason, ToolCall, ToolCallInput, Usage,
};
use uuid::Uuid;

const TEXT: &str = "Snow is falling in Zürich: −2 °C, \"light\" wind.\n雪が降っています。🌨";

fn head(choices: u8) -> ReplyHead {
    ReplyHead {
        id: CallId::from_uuid(Uuid::from_u128(0x0193_2c5d_8f00_7000_8000_0000_0000_0001)),
        created: 1_767_323_045,
        model: "some-\"model\"".to_owned(),
        input_tokens: 120,
        choices,
    }
}

fn completion(content: Vec<Block>, reason: StopReason) -> Completion {
    Completion {
        model: ModelName::new("served"),
        content,
        reason,
        stop_sequence: (reason == StopReason::StopSequence).then(|| "END".to_owned()),
        usage: Usage {
            input: 100,
            output: 34,
            cached_input: 20,
            cache_write: 3,
            reasoning: 11,
            estimated: false,
        },
        losses: LossSet::EMPTY,
    }
}

fn call(id: &str, input: ToolCallInput) -> Block {
    Block::ToolCall(ToolCall {
        id: id.to_owned(),
        item_id: None,
        name: "get_weather".to_owned(),
        namespace: None,
        input,
        cache: None,
    })
}

fn json(text: &str) -> ToolCallInput {
    ToolCallInput::Json(Json::from_compact(text).unwrap())
}

fn thinking(signature: Option<&str>, encrypted: Option<&str>, dialect: Dialect) -> Block {
    Block::Reasoning(Reasoning {
        id: None,
        summary: Vec::new(),
        text: if encrypted.is_some() { String::new() } else { "Let me think.".to_owned() },
        signature: signature.map(str::to_owned),
        encrypted: encrypted.map(str::to_owned),
        dialect,
    })
}

/// One reply of each kind that the grammars tell apart.
fn cases() -> Vec<(&'static str, Completion)> {
    vec![
        ("text", completion(vec![Block::text(TEXT)], StopReason::EndTurn)),
        ("empty", completion(vec![Block::text("")], StopReason::EndTurn)),
        ("stop_sequence", completion(vec![Block::text("Snow. ")], StopReason::StopSequence)),
        ("cut", completion(vec![Block::text("Snow is fal")], StopReason::MaxTokens)),
        ("refusal", completion(vec![Block::text("I cannot.")], StopReason::Refusal)),
        (
            "tool_calls",
            completion(
                vec![
                    Block::text("I shall look."),
                    call("call_1", json(r#"{"city":"Zürich","days":2.50,"note":"a\nb"}"#)),
                    call("call_2", json("{}")),
                    call("call_3", ToolCallInput::Broken("{\"city\": ".to_owned())),
                    call("call_4", ToolCallInput::Text("*** Begin\n\"x\"".to_owned())),
                ],
                StopReason::ToolUse,
            ),
        ),
        (
            "tool_call_only",
            completion(vec![call("call_1", json(r#"{"a":1}"#))], StopReason::EndTurn),
        ),
        (
            "thinking",
            completion(
                vec![
                    thinking(Some("c2ln"), None, Dialect::AnthropicMessages),
                    thinking(None, Some("Y2lwaGVy"), Dialect::AnthropicMessages),
                    thinking(None, None, Dialect::AnthropicMessages),
                    thinking(Some("c2ln"), None, Dialect::OpenAiResponses),
                    Block::text("Done."),
                ],
                StopReason::EndTurn,
            ),
        ),
    ]
}

fn stream(mut writer: impl StreamWriter, replies: &[Completion]) -> String {
    let mut out = Vec::new();
    writer.begin(&mut out);
    writer.keep_alive(&mut out);
    for (choice, reply) in (0_u8..).zip(replies) {
        for event in reply.clone().into_events() {
            writer.event(choice, event, &mut out);
        }
    }
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn chat_replies() {
    for (name, reply) in cases() {
        let mut out = Vec::new();
        openai_chat::write_reply(&head(1), &[reply], &mut out);
        insta::assert_snapshot!(format!("chat_reply_{name}"), pretty(&out));
    }
    let mut out = Vec::new();
    let both = [cases().remove(0).1, cases().remove(3).1];
    openai_chat::write_reply(&head(2), &both, &mut out);
    insta::assert_snapshot!("chat_reply_two_choices", pretty(&out));
}

#[test]
fn chat_streams() {
    for (name, reply) in cases() {
        let writer = openai_chat::ChatStream::new(head(1), true);
        insta::assert_snapshot!(format!("chat_stream_{name}"), stream(writer, &[reply]));
    }
    let both = [cases().remove(0).1, cases().remove(3).1];
    let writer = openai_chat::ChatStream::new(head(2), true);
    insta::assert_snapshot!("chat_stream_two_choices", stream(writer, &both));
    let writer = openai_chat::ChatStream::new(head(1), false);
    insta::assert_snapshot!("chat_stream_without_usage", stream(writer, &both[..1]));
}

#[test]
fn messages_replies() {
    for (name, reply) in cases() {
        let mut out = Vec::new();
        anthropic_messages::write_reply(&head(1), &reply, &mut out);
        insta::assert_snapshot!(format!("messages_reply_{name}"), pretty(&out));
    }
}

#[test]
fn messages_streams() {
    for (name, reply) in cases() {
        let writer = anthropic_messages::MessagesStream::new(head(1), false);
        insta::assert_snapshot!(format!("messages_stream_{name}"), stream(writer, &[reply]));
    }
    let writer = anthropic_messages::MessagesStream::new(head(1), true);
    let written = stream(writer, &[cases().remove(0).1]);
    assert!(written.ends_with("data: {\"type\":\"message_stop\"}\n\ndata: [DONE]\n\n"));
}

#[test]
fn a_stream_that_breaks_off_ends_with_an_error() {
    let events = cases().remove(0).1.into_events();
    let mut chat = openai_chat::ChatStream::new(head(1), true);
    let mut messages = anthropic_messages::MessagesStream::new(head(1), true);
    let (mut chat_out, mut messages_out) = (Vec::new(), Vec::new());
    for event in events.into_iter().take(3) {
        chat.event(0, event.clone(), &mut chat_out);
        messages.event(0, event, &mut messages_out);
    }
    chat_out.clear();
    messages_out.clear();
    chat.end(&mut chat_out);
    messages.end(&mut messages_out);
    insta::assert_snapshot!("broken_off_chat", String::from_utf8(chat_out).unwrap());
    insta::assert_snapshot!("broken_off_messages", String::from_utf8(messages_out).unwrap());
}

#[test]
fn failures() {
    let mut chat = String::new();
    let mut messages = String::new();
    let add = |failure: &Failure, chat: &mut String, messages: &mut String| {
        let (status, body) = openai_chat::write_failure(failure);
        writeln!(chat, "{status} {}", String::from_utf8(body).unwrap()).unwrap();
        let (status, body) = anthropic_messages::write_failure(failure, head(1).id);
        writeln!(messages, "{status} {}", String::from_utf8(body).unwrap()).unwrap();
    };
    for kind in FailureKind::ALL {
        let failure = Failure::new(kind, format!("What a \"{}\" says.", kind.as_str()));
        add(&failure, &mut chat, &mut messages);
    }
    let param = "messages[0].content[1]";
    for message in ["It is a URL.".to_owned(), format!("'{param}' is a URL.")] {
        let failure = Failure::new(FailureKind::Unsupported, message).with_param(param);
        add(&failure, &mut chat, &mut messages);
    }
    insta::assert_snapshot!("failures_chat", chat);
    insta::assert_snapshot!("failures_messages", messages);
}

#[test]
fn errors_in_a_stream() {
    let failure = Failure::new(FailureKind::Overloaded, "Too much\n\ndata: {\"forged\":1}");
    let (mut chat, mut messages) = (Vec::new(), Vec::new());
    openai_chat::ChatStream::new(head(1), false).failure(&failure, &mut chat);
    anthropic_messages::MessagesStream::new(head(1), false).failure(&failure, &mut messages);
    insta::assert_snapshot!("stream_error_chat", String::from_utf8(chat).unwrap());
    insta::assert_snapshot!("stream_error_messages", String::from_utf8(messages).unwrap());
}

#[test]
fn models() {
    let ids = ["auto", "claude-\"x\"/y"];
    let written = [
        openai_chat::write_models(&ids, 7),
        openai_chat::write_models(&[], 7),
        openai_chat::write_model("auto", 7),
        anthropic_messages::write_models(&ids, false),
        anthropic_messages::write_models(&[], false),
        anthropic_messages::write_model("auto"),
    ];
    let all: Vec<String> = written.iter().map(|body| pretty(body)).collect();
    insta::assert_snapshot!("models", all.join("\n"));
}
