//! Reads requests, and says how a failure looks on the wire.

use model::{
    CompletionRequest, Dialect, Failure, FailureKind, GenerationParams, Loss, LossSet, ModelAlias,
};

use super::{message, tool, wire};
use crate::extras::Extras;
use crate::json::{check_body, push_optional, push_string};
use crate::lenient::{FieldProblem, PathStyle, TextOr, parse};

const STYLE: PathStyle = PathStyle::Brackets;

/// The most replies that one call may ask for; each is a sampling of its own.
pub(crate) const MAX_CHOICES: u64 = 8;

/// A request and how it wants to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// What is wanted.
    pub request: CompletionRequest,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether the stream ends with a usage chunk.
    pub include_usage: bool,
}

/// Reads the body of `POST /v1/chat/completions`.
///
/// # Errors
/// A failure that names the field at fault in OpenAI's way (`messages[0].content[1].text`).
pub fn read_request(body: &[u8]) -> Result<ChatRequest, Failure> {
    let body = check_body(body)?;
    let mut wire: wire::Request<'_> = parse(body, STYLE)?;
    check_supported(&wire)?;
    let params = read_params(&mut wire)?;
    let Some(messages) = wire.messages.take() else {
        return Err(STYLE.refuse(FieldProblem::Missing, "messages", ""));
    };
    if messages.is_empty() {
        return Err(STYLE.refuse(
            FieldProblem::BadValue,
            "messages",
            "at least one message is needed",
        ));
    }
    let mut request = CompletionRequest {
        model: ModelAlias::new(wire.model.take().unwrap_or_default()),
        params,
        losses: read_losses(&wire),
        extras: read_extras(&wire),
        tools: tool::read_tools(wire.tools.take(), wire.functions.take(), body)?,
        tool_choice: tool::read_tool_choice(wire.tool_choice.take(), wire.function_call.take())?,
        parallel_tool_calls: wire.parallel_tool_calls,
        output: tool::read_output(wire.response_format.take())?,
        ..CompletionRequest::default()
    };
    message::read_messages(messages, &mut request)?;
    Ok(ChatRequest {
        request,
        stream: wire.stream.unwrap_or(false),
        include_usage: wire
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
    })
}

/// Refuses what would break the contract of an answer if it were ignored.
fn check_supported(wire: &wire::Request<'_>) -> Result<(), Failure> {
    const BY_MODEL: &str = "is not supported with this model";
    if wire.logprobs == Some(true) {
        return Err(STYLE.unsupported("logprobs", BY_MODEL));
    }
    if wire.top_logprobs.is_some_and(|count| count.0 > 0) {
        return Err(STYLE.unsupported("top_logprobs", BY_MODEL));
    }
    if wire.modalities.iter().flatten().any(|modality| &**modality != "text") {
        return Err(STYLE.unsupported("modalities", "may only ask for 'text' with this model"));
    }
    if wire.audio.is_some() {
        return Err(STYLE.unsupported("audio", BY_MODEL));
    }
    Ok(())
}

fn read_params(wire: &mut wire::Request<'_>) -> Result<GenerationParams, Failure> {
    let (bound, path) = match wire.max_completion_tokens {
        Some(bound) => (Some(bound), "max_completion_tokens"),
        None => (wire.max_tokens, "max_tokens"),
    };
    let max_tokens = match bound {
        None => None,
        Some(bound) => Some(bound.within(1, u64::MAX).ok_or_else(|| {
            STYLE.refuse(FieldProblem::BadValue, path, "expected an integer of at least 1")
        })?),
    };
    let choices = match wire.n.map(|n| n.within(1, MAX_CHOICES)) {
        None => None,
        Some(Some(n)) => u8::try_from(n).ok(),
        Some(None) => {
            let why = format!("expected an integer from 1 to {MAX_CHOICES}");
            return Err(STYLE.refuse(FieldProblem::BadValue, "n", &why));
        }
    };
    if wire.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return Err(STYLE.refuse(
            FieldProblem::BadValue,
            "temperature",
            "expected a number from 0 to 2",
        ));
    }
    let stop = match wire.stop.take() {
        None => Vec::new(),
        Some(TextOr::Text(stop)) => vec![stop],
        Some(TextOr::Items(stops)) => stops,
    };
    Ok(GenerationParams {
        max_tokens,
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k.and_then(|count| count.within(0, u64::MAX)),
        stop: stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
        choices,
        reasoning_effort: wire.reasoning_effort.take(),
    })
}

/// Names what is understood but carried by nobody, unless it has the value that changes nothing.
fn read_losses(wire: &wire::Request<'_>) -> LossSet {
    #[expect(clippy::float_cmp, reason = "only the exact default changes nothing")]
    let differs = |value: Option<f64>, default: f64| value.is_some_and(|value| value != default);
    let bias = wire.logit_bias.is_some_and(|raw| {
        raw.get().bytes().any(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'{' | b'}'))
    });
    [
        (Loss::TopP, differs(wire.top_p, 1.0)),
        (Loss::TopK, wire.top_k.is_some_and(|count| count.0 > 0)),
        (Loss::FrequencyPenalty, differs(wire.frequency_penalty, 0.0)),
        (Loss::PresencePenalty, differs(wire.presence_penalty, 0.0)),
        (Loss::LogitBias, bias),
        (Loss::Prediction, wire.prediction.is_some()),
        (Loss::HostedTools, wire.web_search_options.is_some()),
    ]
    .into_iter()
    .filter_map(|(loss, lost)| lost.then_some(loss))
    .collect()
}

fn read_extras(wire: &wire::Request<'_>) -> Option<model::Opaque> {
    let mut extras = Extras::default();
    extras.fields(&[
        ("seed", wire.seed),
        ("user", wire.user),
        ("metadata", wire.metadata),
        ("store", wire.store),
        ("service_tier", wire.service_tier),
        ("verbosity", wire.verbosity),
        ("safety_identifier", wire.safety_identifier),
        ("prompt_cache_key", wire.prompt_cache_key),
        ("prompt_cache_options", wire.prompt_cache_options),
        ("prompt_cache_retention", wire.prompt_cache_retention),
        ("web_search_options", wire.web_search_options),
        ("moderation", wire.moderation),
        ("logit_bias", wire.logit_bias),
        ("prediction", wire.prediction),
    ]);
    for (name, value) in
        [("frequency_penalty", wire.frequency_penalty), ("presence_penalty", wire.presence_penalty)]
    {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            extras.json(name, &value.to_string());
        }
    }
    extras.finish(Dialect::OpenAiChat, "request")
}

/// Status, `type` and `code` of a failure. One row per kind, so that a new kind cannot be
/// forgotten.
fn table(failure: &Failure) -> (u16, &'static str, Option<&'static str>) {
    const INVALID: &str = "invalid_request_error";
    const SERVER: &str = "server_error";
    match failure.kind {
        FailureKind::BadRequest => (400, INVALID, field_code(failure)),
        FailureKind::Unsupported => (400, INVALID, Some("unsupported_parameter")),
        FailureKind::ContextTooLong => (400, INVALID, Some("context_length_exceeded")),
        FailureKind::TooLarge => (413, INVALID, Some("request_too_large")),
        FailureKind::Unauthenticated => (401, INVALID, Some("invalid_api_key")),
        FailureKind::Forbidden => (403, "permission_error", Some("forbidden")),
        FailureKind::Refused => (403, "permission_error", Some("sampling_rejected")),
        FailureKind::NoSuchRoute => (404, INVALID, Some("unknown_url")),
        FailureKind::MethodNotAllowed => (405, INVALID, Some("method_not_allowed")),
        FailureKind::UnknownModel => (404, INVALID, Some("model_not_found")),
        FailureKind::RateLimited => (429, "rate_limit_error", Some("rate_limit_exceeded")),
        FailureKind::RequestTimeout => (408, INVALID, Some("request_timeout")),
        FailureKind::NotReady => (503, SERVER, Some("no_upstream")),
        FailureKind::Overloaded => (503, SERVER, Some("overloaded")),
        FailureKind::UpstreamFailed => (502, SERVER, Some("upstream_error")),
        FailureKind::UpstreamTimeout => (504, SERVER, Some("upstream_timeout")),
        FailureKind::Internal => (500, SERVER, Some("internal_error")),
    }
}

/// The code of a 400 by what is wrong with the field.
fn field_code(failure: &Failure) -> Option<&'static str> {
    let source = failure.source.as_ref()?;
    Some(match source.downcast_ref::<FieldProblem>()? {
        FieldProblem::Missing => "missing_required_parameter",
        FieldProblem::WrongType => "invalid_type",
        FieldProblem::BadValue => "invalid_value",
    })
}

/// Writes a failure: status and body.
pub fn write_failure(failure: &Failure) -> (u16, Vec<u8>) {
    let (status, kind, code) = table(failure);
    let param = match failure.kind {
        FailureKind::UnknownModel => failure.param.as_deref().or(Some("model")),
        _ => failure.param.as_deref(),
    };
    let mut out = Vec::with_capacity(160 + failure.message.len());
    out.extend_from_slice(br#"{"error":{"message":"#);
    push_string(&mut out, &failure.message);
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","param":"#);
    push_optional(&mut out, param);
    out.extend_from_slice(br#","code":"#);
    push_optional(&mut out, code);
    out.extend_from_slice(b"}}");
    (status, out)
}
