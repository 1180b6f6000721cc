//! Results and errors of sampling requests as they are read.
#![expect(clippy::panic, reason = "a test ends where something is not as it should be")]

use dialects::mcp_sampling::{HostFault, SamplingReply, read_error, read_result};
use model::{
    Block, Completion, FailureKind, Json, Loss, LossSet, Retry, StopReason, ToolCallInput,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), code in any::<i64>(), text in any::<String>()) {
        let _ = read_result(&bytes);
        let (_, failure) = read_error(code, &text);
        prop_assert!(failure.message.chars().count() <= 400);
        prop_assert!(!failure.message.chars().any(char::is_control));
    }

    /// Bytes that look like a result reach further into the reader than noise does.
    #[test]
    fn reading_bent_results_never_panics(
        keys in prop::collection::vec((
            prop_oneof![Just("content"), Just("model"), Just("stopReason"), Just("task"), Just("role"), Just("type"), Just("text"), Just("input")],
            prop_oneof![Just("null"), Just("1"), Just("\"x\""), Just("[]"), Just("{}"), Just("[[1]]"),
                Just(r#"{"type":"text","text":"a"}"#), Just(r#"[{"type":"tool_use","id":"i","name":"n","input":{"a": [1 ]}}]"#),
                Just(r#"{"taskId":"t"}"#), Just("-1e400"), Just("tru")],
        ), 0..6),
    ) {
        let fields: Vec<_> = keys.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let _ = read_result(format!("{{{}}}", fields.join(",")).as_bytes());
    }
}

fn completion(json: &str) -> Completion {
    match read_result(json.as_bytes()) {
        Ok(SamplingReply::Completion(completion)) => completion,
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn content_is_read_in_every_shape() {
    for (json, texts) in [
        (r#"{"content":{"type":"text","text":"a"}}"#, &["a"][..]),
        (r#"{"content":[{"type":"text","text":"a"},{"text":"b"}],"model":null}"#, &["a", "b"]),
        (r#"{"content":"a","model":7,"stopReason":{}}"#, &["a"]),
        (r#"{"content":["a",{"type":"text","text":""}]}"#, &["a"]),
        (r#"{"content":""}"#, &[]),
        (r#"{"content":[]}"#, &[]),
        (r#"{"content":null,"content":"last wins"}"#, &["last wins"]),
        (r#"{"\u0063ontent":{"te\u0078t":"a\nb"},"_meta":{"deep":[[{}]]}}"#, &["a\nb"]),
    ] {
        let completion = completion(json);
        let expected: Vec<_> = texts.iter().map(|text| Block::text(*text)).collect();
        assert_eq!(completion.content, expected, "{json}");
        assert_eq!(completion.reason, StopReason::EndTurn, "{json}");
        assert_eq!(completion.losses, LossSet::EMPTY, "{json}");
        assert_eq!(completion.model.as_str(), "", "{json}");
    }
}

#[test]
fn unknown_blocks_are_a_loss_and_the_rest_is_kept() {
    for json in [
        r#"{"content":[{"type":"image","data":"AA","mimeType":"image/png"},{"type":"text","text":"a"}]}"#,
        r#"{"content":[{"type":"text","text":"a"},{"type":"text"},7]}"#,
        r#"{"content":[null,{"type":"text","text":"a"},["b"]]}"#,
    ] {
        let completion = completion(json);
        assert_eq!(completion.text(), "a", "{json}");
        assert_eq!(completion.content.len(), 1, "{json}");
        assert!(completion.losses.contains(Loss::ReplyBlock), "{json}");
    }
}

#[test]
fn stop_reasons_are_an_open_list() {
    for (reason, expected) in [
        ("endTurn", StopReason::EndTurn),
        ("stop", StopReason::EndTurn),
        ("stopSequence", StopReason::StopSequence),
        ("maxTokens", StopReason::MaxTokens),
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::Refusal),
        ("refusal", StopReason::Refusal),
        ("SAFETY", StopReason::Refusal),
        ("something new", StopReason::EndTurn),
        // No call came, so none may be announced.
        ("toolUse", StopReason::EndTurn),
    ] {
        let json = format!(r#"{{"content":"a","model":"m","stopReason":"{reason}"}}"#);
        assert_eq!(completion(&json).reason, expected, "{reason}");
    }
}

#[test]
fn tool_calls_are_read_with_their_arguments_untouched() {
    let json = r#"{"content":[{"type":"tool_use","id":"c1","name":"f",
        "input":{"b": 1.0, "a": [1e5,
        2]}}],"stopReason":"endTurn"}"#;
    let completion = completion(json);
    assert_eq!(completion.reason, StopReason::ToolUse);
    let [Block::ToolCall(call)] = &completion.content[..] else { panic!("{completion:?}") };
    assert_eq!(
        call.input,
        ToolCallInput::Json(Json::from_compact(r#"{"b":1.0,"a":[1e5,2]}"#).unwrap())
    );
}

#[test]
fn refusals_and_tasks_are_told_from_answers() {
    let copilot = r#"{"model":"","stopReason":"cancelled","role":"user","content":{"type":"text","text":"The user cancelled the request."}}"#;
    assert_eq!(read_result(copilot.as_bytes()).unwrap(), SamplingReply::Cancelled);
    let task = r#"{"task":{"taskId":"u1","status":"working","ttl":600000,"pollInterval":1000}}"#;
    assert_eq!(read_result(task.as_bytes()).unwrap(), SamplingReply::Task { id: "u1".to_owned() });
    for none in
        ["{}", r#"{"content":null,"model":"m"}"#, r#"{"content":7}"#, "[]", "", r#"{"task":{}}"#]
    {
        assert_eq!(
            read_result(none.as_bytes()).unwrap_err().kind,
            FailureKind::UpstreamFailed,
            "{none}"
        );
    }
}

#[test]
fn errors_are_told_apart() {
    use FailureKind as Kind;
    use HostFault as Fault;
    for (code, message, fault, kind) in [
        (-1, "User rejected sampling request", Fault::Refused, Kind::Refused),
        (-1, "rate limit", Fault::Refused, Kind::Refused),
        (
            -32000,
            "The user has denied permission to call this method.",
            Fault::Refused,
            Kind::Refused,
        ),
        (-32000, "", Fault::Refused, Kind::Refused),
        (-32000, "429 Too Many Requests", Fault::RateLimited, Kind::RateLimited),
        (-32603, "User rejected sampling request", Fault::Declined, Kind::Refused),
        (-32601, "Method not found", Fault::NoSampling, Kind::NotReady),
        (-32602, "messages.0.content: bad", Fault::InvalidParams, Kind::BadRequest),
        (
            -32602,
            "prompt is too long: 210000 tokens > 200000 maximum",
            Fault::ContextTooLong,
            Kind::ContextTooLong,
        ),
        (
            -32603,
            "Error in sampling: AsyncCompletions.create() got an unexpected keyword argument 'model_preferences'",
            Fault::ModelPreferences,
            Kind::UpstreamFailed,
        ),
        (
            -32603,
            "Unknown error: You have exceeded your premium request quota.",
            Fault::RateLimited,
            Kind::RateLimited,
        ),
        (-32603, "Unknown error: model_not_supported", Fault::UnknownModel, Kind::UnknownModel),
        (
            -32603,
            "Unknown error: Error: No models available",
            Fault::UnknownModel,
            Kind::UnknownModel,
        ),
        (
            -32603,
            "maximum context length is 8192 tokens",
            Fault::ContextTooLong,
            Kind::ContextTooLong,
        ),
        (
            -32603,
            "Unknown error: boom\n    at rateLimit (429.js:1)",
            Fault::Other,
            Kind::UpstreamFailed,
        ),
        (-32603, "failed to generate limit of 14290", Fault::Other, Kind::UpstreamFailed),
        (-32603, "Message exceeds token limit.", Fault::ContextTooLong, Kind::ContextTooLong),
        (
            -32603,
            "prompt token count of 140000 exceeds the limit of 128000",
            Fault::ContextTooLong,
            Kind::ContextTooLong,
        ),
        (-32603, "Response too long", Fault::Other, Kind::UpstreamFailed),
        (-32603, "The model `gpt-9` does not exist", Fault::UnknownModel, Kind::UnknownModel),
        (-32603, "model gpt-9 not found", Fault::UnknownModel, Kind::UnknownModel),
        (-32603, "unknown_model", Fault::UnknownModel, Kind::UnknownModel),
        (
            -32603,
            "You have exceeded your premium request allowance",
            Fault::RateLimited,
            Kind::RateLimited,
        ),
        (
            -32603,
            "You have reached your monthly usage limit",
            Fault::RateLimited,
            Kind::RateLimited,
        ),
        (0, "", Fault::Other, Kind::UpstreamFailed),
        (i64::MIN, "x", Fault::Other, Kind::UpstreamFailed),
    ] {
        let (found, failure) = read_error(code, message);
        assert_eq!((found, failure.kind), (fault, kind), "{code} {message}");
        if fault == Fault::Other {
            assert_eq!(failure.retry, Retry::Never, "a sampling was paid for: {message}");
        }
    }
}

#[test]
fn only_one_clean_line_of_the_host_is_shown() {
    let (_, failure) =
        read_error(-32603, "\n  Unknown \u{1b}[31merror\u{202e}: x\r\n  at secret.js\n");
    assert_eq!(failure.message, "The MCP host failed: Unknown \\u{1b}[31merror\\u{202e}: x");
    let (_, failure) = read_error(-32603, &"é".repeat(1000));
    let shown = failure.message.strip_prefix("The MCP host failed: ").unwrap();
    assert_eq!(shown.chars().count(), 300);
    assert!(shown.ends_with('…'));
    assert_eq!(read_error(5, " \n ").1.message, "The MCP host failed.");
}

#[test]
fn the_name_of_a_model_is_no_evidence() {
    use dialects::mcp_sampling::read_error_about;
    for model in ["user denied", "USER DENIED", "model_preferences", "429", "rate limit"] {
        let message = format!("Unknown model '{model}'");
        let (fault, failure) = read_error_about(-32603, &message, model);
        assert_eq!(fault, HostFault::UnknownModel, "{model}");
        assert!(failure.message.contains(model), "the caller is told: {}", failure.message);
    }
}

#[test]
fn text_that_was_cut_inside_a_character_is_read() {
    let result =
        br#"{"role":"assistant","model":"m","content":{"type":"text","text":"cut \ud83d"}}"#;
    let Ok(SamplingReply::Completion(completion)) = read_result(result) else {
        panic!("not read");
    };
    assert_eq!(completion.text(), "cut \u{fffd}");
}
