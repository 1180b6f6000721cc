//! Reads requests, and says how a failure looks on the wire.

use model::{
    CallId, CompletionRequest, Dialect, Failure, FailureKind, GenerationParams, Loss, ModelAlias,
    ParamsMode,
};

use super::{message, tool, wire};
use crate::extras::Extras;
use crate::json::{check_body, push_string};
use crate::lenient::{FieldProblem, PathStyle, parse};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Dots;

/// The version of the API that a caller speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// The version of 2023, which older clients and Claude Code send.
    #[default]
    V2023_06_01,
    /// The version of October 2026, without `temperature`, `top_p` and `top_k`.
    V2026_10_21,
}

impl ApiVersion {
    /// Reads the `anthropic-version` header. Without one, and for versions that we do not know,
    /// it is the older, more lenient one.
    pub fn from_header(header: Option<&str>) -> Self {
        match header.map(str::trim) {
            Some("2026-10-21") => Self::V2026_10_21,
            _ => Self::V2023_06_01,
        }
    }
}

/// A request and how it wants to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagesRequest {
    /// What is wanted.
    pub request: CompletionRequest,
    /// Whether the answer is a stream.
    pub stream: bool,
}

/// Reads the body of `POST /v1/messages`; `mode` decides about parameters that cannot be carried.
///
/// # Errors
/// A failure that names the field at fault in Anthropic's way (`messages.0.content.1.text`).
pub fn read_request(
    body: &[u8],
    version: ApiVersion,
    mode: ParamsMode,
) -> Result<MessagesRequest, Failure> {
    let body = check_body(body)?;
    let mut wire: wire::Request<'_> = parse(body, STYLE)?;
    if wire.thread.is_some() {
        // SDKs that try message threads go on without them when they are told so.
        return Err(STYLE.unsupported("thread", "message threads are not supported here"));
    }
    let mut uncarried = Uncarried::new(mode, STYLE);
    let params = read_params(&mut wire, version, &mut uncarried)?;
    check_left_out(&wire, &mut uncarried)?;
    let Some(messages) = wire.messages.take() else {
        return Err(STYLE.refuse(FieldProblem::Missing, "messages", ""));
    };
    if messages.is_empty() {
        return Err(STYLE.refuse(
            FieldProblem::BadValue,
            "messages",
            "at least one message is required",
        ));
    }
    let (tool_choice, parallel_tool_calls) = tool::read_tool_choice(wire.tool_choice.take())?;
    let extras = read_extras(&wire);
    let config = wire.output_config.take().unwrap_or_default();
    let output = match config.format {
        Some(format) => tool::read_output(Some(format), "output_config.format")?,
        None => tool::read_output(wire.output_format.take(), "output_format")?,
    };
    let mut request = CompletionRequest {
        model: ModelAlias::new(wire.model.take().unwrap_or_default()),
        params: GenerationParams { reasoning_effort: config.effort, ..params },
        mode,
        extras,
        tools: tool::read_tools(wire.tools.take(), body, &uncarried)?,
        tool_choice,
        parallel_tool_calls,
        output,
        losses: uncarried.losses(),
        ..CompletionRequest::default()
    };
    message::read_conversation(wire.system.take(), messages, version, body, &mut request)?;
    Ok(MessagesRequest { request, stream: wire.stream.unwrap_or(false) })
}

fn read_params(
    wire: &mut wire::Request<'_>,
    version: ApiVersion,
    uncarried: &mut Uncarried,
) -> Result<GenerationParams, Failure> {
    if version == ApiVersion::V2026_10_21 && uncarried.mode() != ParamsMode::Lenient {
        let gone = [
            ("temperature", wire.temperature.is_some()),
            ("top_p", wire.top_p.is_some()),
            ("top_k", wire.top_k.is_some()),
        ];
        if let Some((path, _)) = gone.into_iter().find(|(_, given)| *given) {
            let why = "no longer exists in version 2026-10-21 of the API";
            return Err(STYLE.refuse(FieldProblem::BadValue, path, why));
        }
    }
    // The real API asks for `max_tokens`; callers of the prototype send none.
    let max_tokens = match wire.max_tokens {
        None => None,
        Some(bound) => {
            if bound.0 == 0 {
                // It asks for nothing but a warm cache. The bridge has none to warm.
                uncarried.leave_out(Loss::NoTokens, || "max_tokens".to_owned())?;
            }
            Some(bound.within(0, u64::MAX).ok_or_else(|| {
                let why = "Input should be greater than or equal to 0";
                STYLE.refuse(FieldProblem::BadValue, "max_tokens", why)
            })?)
        }
    };
    if wire.temperature.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        let why = "Input should be from 0 to 1";
        return Err(STYLE.refuse(FieldProblem::BadValue, "temperature", why));
    }
    Ok(GenerationParams {
        max_tokens,
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k.and_then(|count| count.within(0, u64::MAX)),
        stop: wire
            .stop_sequences
            .take()
            .unwrap_or_default()
            .into_iter()
            .filter(|stop| !stop.is_empty())
            .collect(),
        choices: None,
        reasoning_effort: None,
    })
}

/// Leaves out what is understood but carried by nobody, unless it has the value that changes
/// nothing.
fn check_left_out(wire: &wire::Request<'_>, uncarried: &mut Uncarried) -> Result<(), Failure> {
    #[expect(clippy::float_cmp, reason = "only the exact default changes nothing")]
    let top_p = wire.top_p.is_some_and(|value| value != 1.0);
    let servers = wire.mcp_servers.is_some_and(|raw| raw.get() != "[]");
    for (loss, path, lost) in [
        (Loss::TopP, "top_p", top_p),
        (Loss::TopK, "top_k", wire.top_k.is_some_and(|count| count.0 > 0)),
        (Loss::HostedTools, "mcp_servers", servers),
    ] {
        if lost {
            uncarried.leave_out(loss, || path.to_owned())?;
        }
    }
    Ok(())
}

fn read_extras(wire: &wire::Request<'_>) -> Option<model::Opaque> {
    let mut extras = Extras::default();
    extras.fields(&[
        ("thinking", wire.thinking),
        ("metadata", wire.metadata),
        ("cache_control", wire.cache_control),
        ("context_management", wire.context_management),
        ("container", wire.container),
        ("mcp_servers", wire.mcp_servers),
        ("service_tier", wire.service_tier),
        ("speed", wire.speed),
        ("inference_geo", wire.inference_geo),
        ("diagnostics", wire.diagnostics),
    ]);
    if let Some(config) = &wire.output_config {
        extras.object("output_config", &config.rest);
    }
    extras.finish(Dialect::AnthropicMessages, "request")
}

/// Status and `type` of a failure. One row per kind, so that a new kind cannot be forgotten.
const fn table(kind: FailureKind) -> (u16, &'static str) {
    match kind {
        FailureKind::BadRequest | FailureKind::Unsupported | FailureKind::ContextTooLong => {
            (400, "invalid_request_error")
        }
        FailureKind::TooLarge => (413, "request_too_large"),
        FailureKind::Unauthenticated => (401, "authentication_error"),
        FailureKind::Forbidden | FailureKind::Refused => (403, "permission_error"),
        FailureKind::NoSuchRoute | FailureKind::UnknownModel => (404, "not_found_error"),
        FailureKind::MethodNotAllowed => (405, "invalid_request_error"),
        FailureKind::RateLimited | FailureKind::OverBudget => (429, "rate_limit_error"),
        FailureKind::RequestTimeout => (408, "timeout_error"),
        FailureKind::NotReady => (503, "overloaded_error"),
        FailureKind::Overloaded => (529, "overloaded_error"),
        FailureKind::UpstreamFailed => (502, "api_error"),
        FailureKind::UpstreamTimeout => (504, "timeout_error"),
        FailureKind::Internal => (500, "api_error"),
    }
}

/// Writes a failure: status and body.
///
/// Anthropic has no field for the parameter at fault, so the message begins with it.
pub fn write_failure(failure: &Failure, id: CallId) -> (u16, Vec<u8>) {
    let (status, kind) = table(failure.kind);
    let mut out = Vec::with_capacity(192 + failure.message.len());
    out.extend_from_slice(br#"{"type":"error","error":{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","message":"#);
    push_string(&mut out, &message(failure));
    if failure.kind == FailureKind::Unsupported && failure.param.as_deref() == Some("thread") {
        // The error code on which the SDKs stop using threads.
        out.extend_from_slice(
            br#","details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}"#,
        );
    }
    out.extend_from_slice(br#"},"request_id":"req_"#);
    out.extend_from_slice(id.hex().to_string().as_bytes());
    out.extend_from_slice(b"\"}");
    (status, out)
}

fn message(failure: &Failure) -> String {
    const TOO_LONG: &str = "prompt is too long";
    let message = failure.message.as_str();
    // Claude Code looks for these words to compact the conversation and go on.
    if failure.kind == FailureKind::ContextTooLong && !message.contains(TOO_LONG) {
        return format!("{TOO_LONG}: {message}");
    }
    match &failure.param {
        Some(param) => {
            let path = match param.as_str() {
                // What the model calls the output format stands here.
                "response_format" => "output_config.format".to_owned(),
                param => param.replace('[', ".").replace(']', ""),
            };
            if message.contains(&path) || message.contains(param.as_str()) {
                message.replace(param.as_str(), &path)
            } else {
                format!("{path}: {message}")
            }
        }
        None => message.to_owned(),
    }
}
