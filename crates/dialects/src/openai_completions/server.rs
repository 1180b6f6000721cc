//! Reads requests.

use model::{
    Block, CompletionRequest, Dialect, Failure, GenerationParams, Loss, Message, ModelAlias,
    ParamsMode, Role,
};
use serde_json::value::RawValue;

use super::wire;
use crate::extras::Extras;
use crate::json::check_body;
use crate::lenient::{Count, FieldProblem, PathStyle, TextOr, parse};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Brackets;

/// The most replies that one call may ask for; each is a sampling of its own.
const MAX_CHOICES: u64 = 8;

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
    #[expect(clippy::float_cmp, reason = "only the exact default changes nothing")]
    let differs = |value: Option<f64>, default: f64| value.is_some_and(|value| value != default);
    let bias = wire.logit_bias.is_some_and(|raw| {
        raw.get().bytes().any(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'{' | b'}'))
    });
    for (loss, path, lost) in [
        (Loss::TopP, "top_p", differs(wire.top_p, 1.0)),
        (Loss::FrequencyPenalty, "frequency_penalty", differs(wire.frequency_penalty, 0.0)),
        (Loss::PresencePenalty, "presence_penalty", differs(wire.presence_penalty, 0.0)),
        (Loss::LogitBias, "logit_bias", bias),
    ] {
        if lost {
            uncarried.leave_out(loss, || path.to_owned())?;
        }
    }
    Ok(())
}

fn read_params(
    wire: &mut wire::Request<'_>,
    uncarried: &mut Uncarried,
) -> Result<GenerationParams, Failure> {
    let bad = |path: &str, why: &str| STYLE.refuse(FieldProblem::BadValue, path, why);
    let max_tokens = match wire.max_tokens {
        None => None,
        Some(bound) => {
            let refuse = || bad("max_tokens", "expected an integer of at least 1");
            if bound.0 == 0 {
                uncarried.forbid(Loss::NoTokens, refuse)?;
            }
            Some(bound.within(0, u64::MAX).ok_or_else(refuse)?)
        }
    };
    if wire.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return Err(bad("temperature", "expected a number from 0 to 2"));
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
        top_k: None,
        stop: stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
        choices: read_choices(wire.n, uncarried)?,
        reasoning_effort: None,
    })
}

/// Reads how many replies are asked for.
fn read_choices(n: Option<Count>, uncarried: &mut Uncarried) -> Result<Option<u8>, Failure> {
    let Some(n) = n else { return Ok(None) };
    let refuse = || {
        let why = format!("expected an integer from 1 to {MAX_CHOICES}");
        STYLE.refuse(FieldProblem::BadValue, "n", &why)
    };
    let Some(asked) = n.within(1, u64::MAX) else { return Err(refuse()) };
    if asked > MAX_CHOICES {
        uncarried.forbid(Loss::Choices, refuse)?;
    }
    Ok(u8::try_from(asked.min(MAX_CHOICES)).ok())
}
