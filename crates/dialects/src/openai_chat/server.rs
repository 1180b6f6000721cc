//! Reads requests.

use model::{CompletionRequest, Dialect, Failure, GenerationParams, Loss, ModelAlias, ParamsMode};

use super::{message, tool, wire};
use crate::extras::Extras;
use crate::json::check_body;
use crate::lenient::{FieldProblem, PathStyle, parse};
use crate::openai_params::{WordChoice, read_bound, read_choices, read_stops, read_temperature};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Brackets;

/// A request and how it wants to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// What is wanted.
    pub request: CompletionRequest,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether the stream ends with a usage chunk.
    pub include_usage: bool,
    /// How calls are written: a caller who knows only `functions` looks for `function_call`.
    pub calls: CallForm,
}

/// How a reply holds tool calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallForm {
    /// `tool_calls`, any number of them.
    #[default]
    ToolCalls,
    /// The deprecated `function_call`, one of it and without an id.
    FunctionCall,
}

/// Reads the body of `POST /v1/chat/completions`; `mode` decides about parameters that cannot be
/// carried.
///
/// # Errors
/// A failure that names the field at fault in OpenAI's way (`messages[0].content[1].text`).
pub fn read_request(body: &[u8], mode: ParamsMode) -> Result<ChatRequest, Failure> {
    let body = check_body(body)?;
    let mut wire: wire::Request<'_> = parse(body, STYLE)?;
    let mut uncarried = Uncarried::new(mode, STYLE);
    check_supported(&wire, &mut uncarried)?;
    let params = read_params(&mut wire, &mut uncarried)?;
    check_left_out(&wire, &mut uncarried)?;
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
    let calls = match (&wire.tools, &wire.functions) {
        (None, Some(_)) => CallForm::FunctionCall,
        _ => CallForm::ToolCalls,
    };
    let mut request = CompletionRequest {
        model: ModelAlias::new(wire.model.take().unwrap_or_default()),
        params,
        mode,
        extras: read_extras(&wire),
        tools: tool::read_tools(wire.tools.take(), wire.functions.take(), body, &uncarried)?,
        tool_choice: tool::read_tool_choice(wire.tool_choice.take(), wire.function_call.take())?,
        // The deprecated form has room for one call.
        parallel_tool_calls: match calls {
            CallForm::ToolCalls => wire.parallel_tool_calls,
            CallForm::FunctionCall => Some(false),
        },
        output: tool::read_output(wire.response_format.take())?,
        ..CompletionRequest::default()
    };
    message::read_messages(messages, &mut request, &mut uncarried)?;
    request.losses = uncarried.losses();
    Ok(ChatRequest {
        request,
        stream: wire.stream.unwrap_or(false),
        include_usage: wire
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
        calls,
    })
}

/// Refuses what would break the contract of an answer if it were ignored.
fn check_supported(wire: &wire::Request<'_>, uncarried: &mut Uncarried) -> Result<(), Failure> {
    const BY_MODEL: &str = "is not supported with this model";
    if wire.logprobs == Some(true) {
        uncarried.refuse(Loss::Logprobs, "logprobs", BY_MODEL)?;
    }
    if wire.top_logprobs.is_some_and(|count| count.0 > 0) {
        uncarried.refuse(Loss::Logprobs, "top_logprobs", BY_MODEL)?;
    }
    if wire.modalities.iter().flatten().any(|modality| &**modality != "text") {
        let why = "may only ask for 'text' with this model";
        uncarried.refuse(Loss::Modalities, "modalities", why)?;
    }
    if wire.audio.is_some() {
        uncarried.refuse(Loss::Modalities, "audio", BY_MODEL)?;
    }
    Ok(())
}

fn read_params(
    wire: &mut wire::Request<'_>,
    uncarried: &mut Uncarried,
) -> Result<GenerationParams, Failure> {
    let (bound, path) = match wire.max_completion_tokens {
        Some(bound) => (Some(bound), "max_completion_tokens"),
        None => (wire.max_tokens, "max_tokens"),
    };
    Ok(GenerationParams {
        max_tokens: read_bound(bound, path, uncarried)?,
        choices: read_choices(wire.n, uncarried)?,
        temperature: read_temperature(wire.temperature)?,
        top_p: wire.top_p,
        top_k: wire.top_k.and_then(|count| count.within(0, u64::MAX)),
        stop: read_stops(wire.stop.take()),
        reasoning_effort: wire.reasoning_effort.take(),
    })
}

/// Leaves out what is understood but carried by nobody, unless it has the value that changes
/// nothing.
fn check_left_out(wire: &wire::Request<'_>, uncarried: &mut Uncarried) -> Result<(), Failure> {
    let words = WordChoice {
        top_p: wire.top_p,
        frequency_penalty: wire.frequency_penalty,
        presence_penalty: wire.presence_penalty,
        logit_bias: wire.logit_bias,
    };
    words.leave_out(uncarried)?;
    for (loss, path, lost) in [
        (Loss::TopK, "top_k", wire.top_k.is_some_and(|count| count.0 > 0)),
        (Loss::Prediction, "prediction", wire.prediction.is_some()),
        (Loss::HostedTools, "web_search_options", wire.web_search_options.is_some()),
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
