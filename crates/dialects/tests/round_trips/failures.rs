//! What a client makes of the failures that a server writes, and of those of real servers.

use std::time::Duration;

use dialects::{anthropic_messages, openai_chat, openai_responses};
use model::{CallId, Dialect, Failure, FailureKind, Retry};

use crate::{DIALECTS, read_stream};

fn read_failure(dialect: Dialect, status: u16, body: &[u8]) -> Failure {
    let wait = Some(Duration::from_secs(7));
    match dialect {
        Dialect::OpenAiChat => openai_chat::read_failure(status, wait, body),
        Dialect::OpenAiResponses => openai_responses::read_failure(status, wait, body),
        Dialect::AnthropicMessages => anthropic_messages::read_failure(status, wait, body),
    }
}

/// What a failure of one bridge is for a bridge that calls it. Whose fault it is moves: the
/// credential that an upstream refuses is the calling bridge's own.
const fn seen_from_outside(dialect: Dialect, kind: FailureKind) -> FailureKind {
    let openai = !matches!(dialect, Dialect::AnthropicMessages);
    match kind {
        FailureKind::Unsupported if !openai => FailureKind::BadRequest,
        FailureKind::Refused if !openai => FailureKind::UpstreamFailed,
        FailureKind::RequestTimeout => FailureKind::UpstreamTimeout,
        FailureKind::NotReady => FailureKind::Overloaded,
        FailureKind::OverBudget => FailureKind::RateLimited,
        FailureKind::Unauthenticated
        | FailureKind::Forbidden
        | FailureKind::NoSuchRoute
        | FailureKind::MethodNotAllowed
        | FailureKind::Internal => FailureKind::UpstreamFailed,
        kind => kind,
    }
}

#[test]
fn failures_of_a_bridge_keep_their_kind_for_the_next_one() {
    for kind in FailureKind::ALL {
        let about_model = kind == FailureKind::UnknownModel;
        let what = if about_model { "The model `x` is at fault." } else { "It is at fault." };
        let failure = Failure::new(kind, what);
        for (dialect, (status, body)) in [
            (Dialect::OpenAiChat, openai_chat::write_failure(&failure)),
            (
                Dialect::AnthropicMessages,
                anthropic_messages::write_failure(&failure, CallId::generate()),
            ),
        ] {
            let read = read_failure(dialect, status, &body);
            assert_eq!(read.kind, seen_from_outside(dialect, kind), "{dialect} {kind:?}");
            assert!(read.source.is_some(), "the log has what the upstream said");
        }
    }
}

#[test]
fn the_field_at_fault_comes_through() {
    let failure = Failure::new(FailureKind::BadRequest, "Bad.").with_param("messages[0].content");
    let (status, body) = openai_chat::write_failure(&failure);
    let read = read_failure(Dialect::OpenAiChat, status, &body);
    assert_eq!(read.param.as_deref(), Some("messages[0].content"));
    assert_eq!(read.message, "Bad.");
}

#[test]
fn real_servers_say_it_in_many_ways() {
    let cases: [(u16, &str, FailureKind); 16] = [
        (
            401,
            r#"{"error":{"message":"Incorrect key sk-12","code":"invalid_api_key"}}"#,
            FailureKind::UpstreamFailed,
        ),
        (
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"org-9"}}"#,
            FailureKind::UpstreamFailed,
        ),
        (
            429,
            r#"{"error":{"message":"Quota of org-9","type":"insufficient_quota"}}"#,
            FailureKind::RateLimited,
        ),
        (429, "<html>slow down</html>", FailureKind::RateLimited),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
            FailureKind::ContextTooLong,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens","code":400}}"#,
            FailureKind::ContextTooLong,
        ),
        (
            404,
            r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#,
            FailureKind::UnknownModel,
        ),
        (404, r#"{"detail":"Not Found"}"#, FailureKind::UpstreamFailed),
        (
            422,
            r#"{"detail":[{"loc":["body","messages"],"msg":"Field required"}]}"#,
            FailureKind::BadRequest,
        ),
        (400, r#"{"error":"bad input"}"#, FailureKind::BadRequest),
        (413, "", FailureKind::TooLarge),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            FailureKind::Overloaded,
        ),
        (503, "upstream connect error", FailureKind::Overloaded),
        (504, "", FailureKind::UpstreamTimeout),
        (500, r#"{"error":{"message":null,"type":null,"code":null}}"#, FailureKind::UpstreamFailed),
        (302, "\u{0}", FailureKind::UpstreamFailed),
    ];
    for (status, body, kind) in cases {
        for dialect in DIALECTS {
            let read = read_failure(dialect, status, body.as_bytes());
            assert_eq!(read.kind, kind, "{status} {body}");
            // Nothing about accounts and keys leaves the house, and no empty message either.
            assert!(!read.message.contains("sk-12") && !read.message.contains("org-9"));
            assert!(!read.message.is_empty());
            if matches!(status, 401 | 403) || body.contains("insufficient_quota") {
                assert_eq!(read.retry, Retry::Never, "{status} {body}");
            }
        }
    }
}

#[test]
fn a_wait_that_the_upstream_asks_for_is_passed_on() {
    for (status, retry) in [
        (429, Retry::After(Duration::from_secs(7))),
        (503, Retry::After(Duration::from_secs(7))),
        (400, Retry::Never),
    ] {
        assert_eq!(read_failure(Dialect::OpenAiChat, status, b"{}").retry, retry, "{status}");
    }
}

#[test]
fn what_an_upstream_says_is_cut_and_holds_no_line_break() {
    let body = format!(r#"{{"error":{{"message":"{}"}}}}"#, "a\\n\\u0000".repeat(1000));
    let read = read_failure(Dialect::OpenAiChat, 400, body.as_bytes());
    assert!(read.message.len() <= 300 && !read.message.contains(char::is_control));
}

#[test]
fn an_error_in_a_stream_is_that_failure() {
    let cases = [
        (
            Dialect::OpenAiChat,
            r#"data: {"error":{"message":"slow","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#,
            FailureKind::RateLimited,
        ),
        (
            Dialect::AnthropicMessages,
            r#"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            FailureKind::Overloaded,
        ),
        (
            Dialect::OpenAiResponses,
            r#"data: {"type":"response.failed","response":{"status":"failed","error":{"code":"context_length_exceeded","message":"long"}}}"#,
            FailureKind::ContextTooLong,
        ),
        (
            Dialect::OpenAiResponses,
            r#"data: {"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}"#,
            FailureKind::RateLimited,
        ),
        (
            Dialect::OpenAiResponses,
            r#"data: {"type":"response.failed","response":{"status":"failed","error":null}}"#,
            FailureKind::UpstreamFailed,
        ),
    ];
    for (dialect, frame, kind) in cases {
        let read = read_stream(dialect, format!("{frame}\n\n").as_bytes()).unwrap_err();
        assert_eq!(read.kind, kind, "{frame}");
    }
}
