//! Reads requests.

use model::{
    Block, CompletionRequest, Dialect, Failure, GenerationParams, Loss, Message, ModelAlias,
    ParamsMode, Role,
};
use serde_json::value::RawValue;

use super::wire;
use crate::extras::Extras;
use crate::json::check_body;
use crate::lenient::{FieldProblem, PathStyle, TextOr, parse};
use crate::openai_params::{WordChoice, read_bound, read_choices, read_stops, read_temperature};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Brackets;

/// A request and how it wants to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRequest {
    /// What is wanted.
    pub request: CompletionRequest,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether the stream ends with a usage chunk.
    pub include_usage: bool,
}

/// Reads the body of `POST /v1/completions`; `mode` decides about parameters that cannot be
/// carried.
///
/// # Errors
/// A failure that names the field at fault.
pub fn read_request(body: &[u8], mode: ParamsMode) -> Result<TextRequest, Failure> {
    let body = check_body(body)?;
    let mut wire: wire::Request<'_> = parse(body, STYLE)?;
    let mut uncarried = Uncarried::new(mode, STYLE);
    check_uncarried(&wire, &mut uncarried)?;
    let params = read_params(&mut wire, &mut uncarried)?;
    let prompt = read_prompt(wire.prompt.take())?;
    let mut losses = uncarried.losses();
    losses.insert(Loss::PromptAsMessage);
    let mut extras = Extras::default();
    extras.fields(&[("seed", wire.seed), ("user", wire.user), ("logit_bias", wire.logit_bias)]);
    let request = CompletionRequest {
        model: ModelAlias::new(wire.model.take().unwrap_or_default()),
        messages: vec![Message::new(Role::User, vec![Block::text(prompt)])],
        params,
        mode,
        losses,
        extras: extras.finish(Dialect::OpenAiChat, "request"),
        ..CompletionRequest::default()
    };
    Ok(TextRequest {
        request,
        stream: wire.stream.unwrap_or(false),
        include_usage: wire
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
    })
}

/// Reads the one prompt: text, or a list of one text.
fn read_prompt(prompt: Option<TextOr<&RawValue>>) -> Result<String, Failure> {
    let text = match prompt {
        None => return Err(STYLE.refuse(FieldProblem::Missing, "prompt", "")),
        Some(TextOr::Text(text)) => text,
        Some(TextOr::Items(items)) => {
            let [only] = items.as_slice() else {
                return Err(match items.first() {
                    Some(first) if !first.get().starts_with('"') => tokens(),
                    Some(_) => STYLE.unsupported("prompt", "may hold only one text here"),
                    None => STYLE.refuse(FieldProblem::BadValue, "prompt", "it is empty"),
                });
            };
            serde_json::from_str(only.get()).map_err(|_| tokens())?
        }
    };
    if text.is_empty() {
        return Err(STYLE.refuse(FieldProblem::BadValue, "prompt", "it is empty"));
    }
    Ok(text)
}

fn tokens() -> Failure {
    STYLE.unsupported("prompt", "must be text: the tokens of a host's model are not known here")
}

/// Refuses what would break the contract of an answer, and leaves out what nobody carries.
fn check_uncarried(wire: &wire::Request<'_>, uncarried: &mut Uncarried) -> Result<(), Failure> {
    const BY_MODEL: &str = "is not supported with this model";
    let wanted = wire.n.map_or(1, |n| n.0);
    for (loss, path, asked) in [
        (Loss::Logprobs, "logprobs", wire.logprobs.is_some()),
        (Loss::Echo, "echo", wire.echo == Some(true)),
        (Loss::Suffix, "suffix", wire.suffix.as_ref().is_some_and(|text| !text.is_empty())),
        (Loss::BestOf, "best_of", wire.best_of.is_some_and(|best| best.0 > wanted)),
    ] {
        if asked {
            uncarried.refuse(loss, path, BY_MODEL)?;
        }
    }
    let words = WordChoice {
        top_p: wire.top_p,
        frequency_penalty: wire.frequency_penalty,
        presence_penalty: wire.presence_penalty,
        logit_bias: wire.logit_bias,
    };
    words.leave_out(uncarried)
}

fn read_params(
    wire: &mut wire::Request<'_>,
    uncarried: &mut Uncarried,
) -> Result<GenerationParams, Failure> {
    Ok(GenerationParams {
        max_tokens: read_bound(wire.max_tokens, "max_tokens", uncarried)?,
        temperature: read_temperature(wire.temperature)?,
        top_p: wire.top_p,
        top_k: None,
        stop: read_stops(wire.stop.take()),
        choices: read_choices(wire.n, uncarried)?,
        reasoning_effort: None,
    })
}
