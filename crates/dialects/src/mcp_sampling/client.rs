//! Writes the `params` of a sampling request.
//!
//! Written by hand into the caller's buffer: this is the hot path, and the order of keys is part
//! of the golden files.

use std::borrow::Cow;

use model::{
    Block, CompletionRequest, Failure, FailureKind, GenerationParams, Loss, LossSet, ParamsMode,
    Role,
};

use super::carried::{Carried, Place, tell};
use super::messages::push_messages;
use super::tools::push_tools;
use super::turns::{Said, Turn, turns};
use super::{Asking, SamplingOptions, ToolUse};
use crate::json::{self, push_string};
use crate::structured_output::OutputCheck;

/// What stands in for the missing user turn before a conversation that the assistant opens.
const FIRST_TURN: &str = "(continue)";

/// What follows a trailing assistant message: hosts and newer models refuse to continue one.
const CONTINUE: &str = "Continue your last message exactly where it breaks off. \
    Write only what comes next: repeat nothing of it and add no introduction.";

/// Stop sequences that are taken: the bridge searches each answer for every one of them. The real
/// APIs take four.
const MAX_STOPS: usize = 64;

/// Appends the JSON object of `params` to `out`, on one line.
///
/// Returns what the request loses on the way, together with what reading it has lost already.
/// On failure `out` is as it was.
pub fn write_request(
    asking: &Asking<'_>,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
) -> Result<LossSet, Failure> {
    let start = out.len();
    let written = write_params(asking, options, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_params(
    asking: &Asking<'_>,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
) -> Result<LossSet, Failure> {
    let request = asking.request;
    let mut losses = request.losses;
    let turns = conversation(asking, &mut losses)?;
    let system = system_prompt(asking, &mut losses)?;

    out.extend_from_slice(b"{\"messages\":");
    push_messages(&turns, &asking.tools, out);
    if !system.is_empty() {
        out.extend_from_slice(b",\"systemPrompt\":");
        push_joined(out, &system);
    }
    match &asking.tools {
        ToolUse::None => {}
        ToolUse::Native(table) => {
            losses = losses.union(table.losses());
            push_tools(table, request.mode, &mut losses, out)?;
        }
        ToolUse::Prompted { table, .. } => {
            losses = losses.union(table.losses());
            if table.any_callable() {
                losses.insert(Loss::ToolsPrompted);
            }
        }
    }
    if let Some(output) = asking.output {
        losses = losses.union(output.losses());
    }
    write_preferences(request, options, out, &mut losses)?;
    write_bounds(asking, options, out, &mut losses)?;
    out.push(b'}');
    Ok(losses)
}

/// The turns as they go out: beginning and ending with the user, with what the bridge itself has
/// to say at the end.
fn conversation<'r>(asking: &Asking<'r>, losses: &mut LossSet) -> Result<Vec<Turn<'r>>, Failure> {
    let mut turns = turns(asking.request, losses)?;
    if let ToolUse::Prompted { prompt, .. } = &asking.tools {
        for turn in &mut turns {
            escape(turn, |text| match prompt.escape(text) {
                Cow::Owned(escaped) => Some(escaped),
                Cow::Borrowed(_) => None,
            });
        }
    }
    match turns.last().map(|turn| turn.role) {
        Some(Role::Assistant) => {
            losses.insert(Loss::Prefill);
            turns.push(text(Role::User, CONTINUE));
        }
        Some(Role::User | Role::System) => {}
        // A request of instructions alone is answered by the real APIs too.
        None if has_text(&asking.request.system) => {
            losses.insert(Loss::FirstTurn);
            turns.push(text(Role::User, FIRST_TURN));
        }
        None => {
            let why = "messages holds nothing to answer: every message is empty.";
            return Err(Failure::new(FailureKind::BadRequest, why).with_param("messages"));
        }
    }
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        losses.insert(Loss::FirstTurn);
        turns.insert(0, text(Role::User, FIRST_TURN));
    }
    if let Some(follow_up) = &asking.follow_up {
        if !follow_up.answer.is_empty() {
            turns.push(text(Role::Assistant, follow_up.answer));
        }
        turns.push(text(Role::User, follow_up.then));
    }
    if let ToolUse::Prompted { prompt, table } = &asking.tools
        && table.any_callable()
    {
        remind(&mut turns, &prompt.reminder());
    }
    if asking.output.is_some() {
        remind(&mut turns, OutputCheck::REMINDER);
    }
    Ok(turns)
}

/// Puts a reminder behind the last message: hosts may drop the system prompt.
fn remind(turns: &mut Vec<Turn<'_>>, reminder: &str) {
    match turns.last_mut() {
        Some(Turn { role: Role::User, said: Said::Block(Carried::Text(last)) }) => {
            let last = last.to_mut();
            last.push_str("\n\n");
            last.push_str(reminder);
        }
        _ => turns.push(text(Role::User, reminder.to_owned())),
    }
}

fn text<'r>(role: Role, text: impl Into<Cow<'r, str>>) -> Turn<'r> {
    Turn { role, said: Said::Block(Carried::Text(text.into())) }
}

/// Changes all text of a turn that a caller wrote, where it has to be.
fn escape(turn: &mut Turn<'_>, with: impl Fn(&str) -> Option<String>) {
    let change = |text: &mut Cow<'_, str>| {
        if let Some(changed) = with(text) {
            *text = Cow::Owned(changed);
        }
    };
    match &mut turn.said {
        Said::Block(Carried::Text(text)) => change(text),
        Said::Calls { texts, .. } => texts.iter_mut().for_each(change),
        // What writes results makes them harmless itself.
        Said::Block(Carried::Image { .. }) | Said::Results(_) => {}
    }
}

fn has_text(blocks: &[Block]) -> bool {
    blocks.iter().any(|block| !matches!(block, Block::Text(text) if text.text.is_empty()))
}

/// Collects the leading system text and what the bridge has to say there. There is no place but
/// text for it.
fn system_prompt<'r>(
    asking: &Asking<'r>,
    losses: &mut LossSet,
) -> Result<Vec<Cow<'r, str>>, Failure> {
    let mut texts = Vec::with_capacity(asking.request.system.len() + 2);
    for (at, block) in asking.request.system.iter().enumerate() {
        let text = if let Block::Text(text) = block {
            Cow::Borrowed(text.text.as_str())
        } else if asking.request.mode == ParamsMode::Lenient {
            tell(block, Place { message: 0, block: at, inner: None }, losses)?
        } else {
            let why = "System and developer instructions can hold only text.";
            return Err(Failure::new(FailureKind::Unsupported, why).with_param("system"));
        };
        match (&asking.tools, text) {
            (_, text) if text.is_empty() => {}
            (ToolUse::Prompted { prompt, .. }, Cow::Borrowed(text)) => {
                texts.push(prompt.escape(text));
            }
            (ToolUse::Prompted { prompt, .. }, Cow::Owned(text)) => {
                texts.push(Cow::Owned(prompt.escape(&text).into_owned()));
            }
            (_, text) => texts.push(text),
        }
    }
    if let ToolUse::Prompted { prompt, .. } = &asking.tools {
        let instructions = prompt.instructions();
        if !instructions.is_empty() {
            texts.push(Cow::Owned(instructions));
        }
    }
    if let Some(output) = asking.output {
        // They hold the caller's schema and description.
        texts.push(match &asking.tools {
            ToolUse::Prompted { prompt, .. } => prompt.escape(output.instructions()),
            _ => Cow::Borrowed(output.instructions()),
        });
    }
    Ok(texts)
}

/// Writes `modelPreferences` if it would hold something: an empty one, and a hint without a name,
/// make hosts fail.
fn write_preferences(
    request: &CompletionRequest,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
    losses: &mut LossSet,
) -> Result<(), Failure> {
    let named = !request.model.is_auto();
    if named && !options.hints {
        losses.insert(Loss::ModelHint);
    }
    let priorities = [
        ("costPriority", options.priorities.cost),
        ("speedPriority", options.priorities.speed),
        ("intelligencePriority", options.priorities.intelligence),
    ];
    let mut opened = false;
    if named && options.hints {
        out.extend_from_slice(b",\"modelPreferences\":{\"hints\":[{\"name\":");
        push_string(out, request.model.as_str().trim());
        out.extend_from_slice(b"}]");
        opened = true;
    }
    for (name, value) in priorities {
        let Some(value) = value else { continue };
        out.extend_from_slice(if opened { b",\"" } else { b",\"modelPreferences\":{\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        push_number(out, value, name)?;
        opened = true;
    }
    if opened {
        out.push(b'}');
    }
    Ok(())
}

fn write_bounds(
    asking: &Asking<'_>,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
    losses: &mut LossSet,
) -> Result<(), Failure> {
    let params: &GenerationParams = &asking.request.params;
    let asked = params.max_tokens.unwrap_or(options.default_max_tokens);
    let max_tokens = options.max_tokens_cap.map_or(asked, |cap| asked.min(cap));
    if params.max_tokens.is_some_and(|asked| asked > max_tokens) {
        if asking.request.mode == ParamsMode::Strict {
            let message = format!("max_tokens is above this bridge's cap of {max_tokens}.");
            return Err(Failure::new(FailureKind::Unsupported, message).with_param("max_tokens"));
        }
        losses.insert(Loss::MaxTokensClamped);
    }
    out.extend_from_slice(b",\"maxTokens\":");
    json::push_number(out, max_tokens);
    if let Some(temperature) = params.temperature {
        out.extend_from_slice(b",\"temperature\":");
        push_number(out, temperature, "temperature")?;
    }
    if params.stop.len() > MAX_STOPS {
        let message = format!("stop holds more than {MAX_STOPS} sequences.");
        return Err(Failure::new(FailureKind::BadRequest, message).with_param("stop"));
    }
    // A caller's sequence such as an empty line would cut the markup of a call in two. They are
    // enforced on the text of the answer in any case.
    let (theirs, ours) = match &asking.tools {
        ToolUse::Prompted { prompt, table } if table.any_callable() => {
            ([].as_slice(), Some(prompt.stop()))
        }
        _ => (params.stop.as_slice(), None),
    };
    let theirs = theirs.iter().map(String::as_str).filter(|stop| !stop.is_empty());
    let mut opened = false;
    for stop in theirs.chain(ours) {
        out.extend_from_slice(if opened { b"," } else { b",\"stopSequences\":[" });
        push_string(out, stop);
        opened = true;
    }
    if opened {
        out.push(b']');
    }
    if let Some(ttl) = options.task_ttl_ms {
        out.extend_from_slice(b",\"task\":{\"ttl\":");
        json::push_number(out, ttl);
        out.push(b'}');
    }
    Ok(())
}

fn push_joined(out: &mut Vec<u8>, texts: &[Cow<'_, str>]) {
    match texts {
        [only] => push_string(out, only),
        several => push_string(out, &several.join("\n\n")),
    }
}

fn push_number(out: &mut Vec<u8>, value: f64, param: &str) -> Result<(), Failure> {
    if !value.is_finite() {
        // JSON has no way to write it; serde_json would write `null`.
        return Err(Failure::new(FailureKind::BadRequest, format!("{param} is not a number."))
            .with_param(param));
    }
    let _ = serde_json::to_writer(out, &value);
    Ok(())
}
