//! Reads requests.

use std::collections::HashSet;

use model::{
    Block, CompletionRequest, Dialect, Failure, GenerationParams, Loss, Message, ModelAlias,
    Opaque, OutputFormat, ParamsMode, Role, Tool, ToolChoice, ToolName,
};

use super::failure::no_previous;
use super::items::Conversation;
use super::tools::{read_choice, read_tools};
use super::wire::{Body, Format, STYLE, compact_at, missing, parse_at, unknown};
use super::{Earlier, Echo, ResponsesRequest};
use crate::extras::Extras;
use crate::json;
use crate::lenient::{self, Count, FieldProblem, Word};
use crate::uncarried::Uncarried;

/// What a lenient request asks that holds nothing to answer.
const NOTHING_SAID: &str = "(continue)";

/// What a body is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Answer,
    /// Its tokens are counted; every field may be missing.
    Count,
}

/// Reads the body of `POST /v1/responses` where nothing is kept; `mode` decides about parameters
/// that cannot be carried.
///
/// `previous_response_id` is handed on, and references to items stay as they are.
///
/// # Errors
/// A 400 that names the field.
pub fn read_request(body: &[u8], mode: ParamsMode) -> Result<ResponsesRequest, Failure> {
    read(body, mode, None, Purpose::Answer)
}

/// As [`read_request`], with the conversation that the request continues and the items that it
/// refers to.
///
/// # Errors
/// A 400 that names the field, also where what it points to is not kept.
pub fn read_continued(
    body: &[u8],
    mode: ParamsMode,
    earlier: &mut dyn Earlier,
) -> Result<ResponsesRequest, Failure> {
    read(body, mode, Some(earlier), Purpose::Answer)
}

/// Reads the body of `POST /v1/responses/input_tokens`.
///
/// # Errors
/// As [`read_continued`]; but no field is missed.
pub fn read_count(
    body: &[u8],
    mode: ParamsMode,
    earlier: &mut dyn Earlier,
) -> Result<CompletionRequest, Failure> {
    read(body, mode, Some(earlier), Purpose::Count).map(|read| read.request)
}

fn read(
    body: &[u8],
    mode: ParamsMode,
    earlier: Option<&mut dyn Earlier>,
    purpose: Purpose,
) -> Result<ResponsesRequest, Failure> {
    let text = json::check_body(body)?;
    let body: Body<'_> = lenient::parse(text, STYLE)?;
    let demanding = purpose == Purpose::Answer && mode != ParamsMode::Lenient;
    if demanding && body.model.is_none() {
        return Err(missing("model"));
    }
    let nothing =
        body.input.is_none() && body.previous_response_id.is_none() && body.instructions.is_none();
    if demanding && nothing {
        return Err(missing("input"));
    }
    let mut uncarried = Uncarried::new(mode, STYLE);
    check_supported(&body, &mut uncarried)?;
    check_left_out(&body, &mut uncarried)?;
    let params = read_params(&body, &mut uncarried)?;
    let tool_choice =
        body.tool_choice.map_or(Ok(ToolChoice::Auto), |raw| read_choice(raw, &mut uncarried))?;
    let extras = keep_extras(&body);
    let mut echo = Echo::new(&body)?;

    let store = body.store.unwrap_or(true);
    let keep = store && earlier.is_some() && purpose == Purpose::Answer;
    let mut conversation = Conversation::new(uncarried, earlier, keep);
    if let Some(instructions) = body.instructions {
        conversation.instruct(instructions)?;
    }
    let mut previous = body.previous_response_id;
    if let (Some(id), Some(earlier)) = (&previous, &mut conversation.earlier) {
        if let Some(items) = earlier.conversation(id)? {
            for item in &items {
                conversation.kept_item(item, "previous_response_id")?;
            }
        } else {
            conversation.uncarried.forbid(Loss::NotKept, || no_previous(id))?;
            previous = None;
        }
    }
    echo.continues(previous.as_deref());
    if let Some(input) = body.input {
        conversation.read(input)?;
    }
    let mut tools = Vec::new();
    read_tools(&body.tools.unwrap_or_default(), "tools", None, &mut tools)?;
    tools.append(&mut conversation.tools);
    add_found(&mut tools, conversation.found);
    if purpose == Purpose::Answer && conversation.uncarried.mode() == ParamsMode::Lenient {
        say_something(
            &conversation.system,
            &mut conversation.messages,
            &mut conversation.uncarried,
        )?;
    }

    let request = CompletionRequest {
        model: ModelAlias::new(body.model.unwrap_or_default()),
        system: conversation.system,
        leading: conversation.leading,
        messages: conversation.messages,
        tools,
        tool_choice,
        parallel_tool_calls: body.parallel_tool_calls,
        output: match body.text.and_then(|text| text.format) {
            Some(format) => read_format(format)?,
            None => OutputFormat::Text,
        },
        params,
        mode,
        losses: conversation.uncarried.losses(),
        extras,
    };
    Ok(ResponsesRequest {
        request,
        stream: body.stream.unwrap_or(false),
        store,
        previous_response_id: previous,
        echo,
        items: conversation.own.unwrap_or_default(),
    })
}

/// Puts a turn into a conversation that holds none, which no upstream takes.
fn say_something(
    system: &[Block],
    messages: &mut Vec<Message>,
    uncarried: &mut Uncarried,
) -> Result<(), Failure> {
    let silent = |block: &Block| matches!(block, Block::Text(text) if text.text.is_empty());
    let mut blocks = messages.iter().flat_map(|message| &message.content).chain(system);
    if blocks.all(silent) {
        messages.push(Message::new(Role::User, vec![Block::text(NOTHING_SAID)]));
        uncarried.leave_out(Loss::FirstTurn, || "input".to_owned())?;
    }
    Ok(())
}

/// Adds tools that a search found, unless they are in the list.
fn add_found(tools: &mut Vec<Tool>, found: Vec<Tool>) {
    if found.is_empty() {
        return;
    }
    let name =
        |tool: &Tool| ToolName { namespace: tool.namespace.clone(), name: tool.name.clone() };
    let mut known: HashSet<ToolName> = tools.iter().map(name).collect();
    tools.extend(found.into_iter().filter(|tool| known.insert(name(tool))));
}

/// Refuses what would break the contract of an answer if it were ignored.
fn check_supported(body: &Body<'_>, uncarried: &mut Uncarried) -> Result<(), Failure> {
    let probabilities = body.top_logprobs.is_some_and(|count| count.0 != 0);
    for (asked, loss, path, why) in [
        (
            body.background == Some(true),
            Loss::Background,
            "background",
            "is not supported: responses are made at once",
        ),
        (
            body.conversation.is_some(),
            Loss::Conversation,
            "conversation",
            "is not supported: send the items as input, or previous_response_id",
        ),
        (
            body.prompt.is_some(),
            Loss::PromptTemplate,
            "prompt",
            "is not supported: send its text as instructions",
        ),
        (
            probabilities,
            Loss::Logprobs,
            "top_logprobs",
            "is not supported: no upstream reports them",
        ),
    ] {
        if asked {
            uncarried.refuse(loss, path, why)?;
        }
    }
    Ok(())
}

/// Leaves out what is understood but carried by nobody, unless it has the value that changes
/// nothing.
fn check_left_out(body: &Body<'_>, uncarried: &mut Uncarried) -> Result<(), Failure> {
    let differs = |value: Option<f64>, default: f64| {
        value.is_some_and(|value| (value - default).abs() > f64::EPSILON)
    };
    let number = |name: &str| -> Result<Option<f64>, Failure> {
        body.extras.get(name).map(|raw| parse_at(raw, name)).transpose()
    };
    let max_tool_calls: Option<Count> =
        body.extras.get("max_tool_calls").map(|raw| parse_at(raw, "max_tool_calls")).transpose()?;
    let include: Option<Vec<Word<'_>>> =
        body.extras.get("include").map(|raw| parse_at(raw, "include")).transpose()?;
    let probabilities =
        include.iter().flatten().any(|asked| &**asked == "message.output_text.logprobs");
    for (lost, loss, path) in [
        (differs(body.top_p, 1.0), Loss::TopP, "top_p"),
        (max_tool_calls.is_some(), Loss::MaxToolCalls, "max_tool_calls"),
        (differs(number("frequency_penalty")?, 0.0), Loss::FrequencyPenalty, "frequency_penalty"),
        (differs(number("presence_penalty")?, 0.0), Loss::PresencePenalty, "presence_penalty"),
        (probabilities, Loss::Logprobs, "include"),
    ] {
        if lost {
            uncarried.leave_out(loss, || path.to_owned())?;
        }
    }
    Ok(())
}

fn read_params(body: &Body<'_>, uncarried: &mut Uncarried) -> Result<GenerationParams, Failure> {
    let bad = |path: &str, why: &str| STYLE.refuse(FieldProblem::BadValue, path, why);
    let max_tokens = match body.max_output_tokens.map(|count| count.within(1, u64::MAX)) {
        None => None,
        Some(Some(count)) => Some(count),
        Some(None) => {
            uncarried.forbid(Loss::MaxTokensClamped, || {
                bad("max_output_tokens", "expected a whole number from 1")
            })?;
            None
        }
    };
    if body.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return Err(bad("temperature", "expected a number from 0 to 2"));
    }
    if body.top_p.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Err(bad("top_p", "expected a number from 0 to 1"));
    }
    Ok(GenerationParams {
        max_tokens,
        temperature: body.temperature,
        top_p: body.top_p,
        top_k: None,
        stop: Vec::new(),
        choices: None,
        reasoning_effort: body.reasoning.as_ref().and_then(|reasoning| reasoning.effort.clone()),
    })
}

fn read_format(format: Format<'_>) -> Result<OutputFormat, Failure> {
    match format.kind.as_deref() {
        None | Some("text") => Ok(OutputFormat::Text),
        Some("json_object") => Ok(OutputFormat::JsonObject),
        Some("json_schema") => {
            let schema = format.schema.ok_or_else(|| missing("text.format.schema"))?;
            Ok(OutputFormat::JsonSchema {
                name: format.name,
                description: format.description,
                schema: compact_at(schema, "text.format.schema")?,
                strict: format.strict,
            })
        }
        Some(other) => Err(unknown("text.format.type", other, "text, json_object or json_schema")),
    }
}

/// Keeps what only this dialect's own upstreams understand.
fn keep_extras(body: &Body<'_>) -> Option<Opaque> {
    let mut extras = Extras::default();
    extras.rest(&body.extras);
    if let Some(text) = &body.text {
        extras.object("text", &text.rest);
    }
    if let Some(reasoning) = &body.reasoning {
        extras.object("reasoning", &reasoning.rest);
    }
    extras.finish(Dialect::OpenAiResponses, "request")
}
