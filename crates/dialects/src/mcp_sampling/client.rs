//! Writes the `params` of a sampling request.
//!
//! Written by hand into the caller's buffer: this is the hot path, and the order of keys is part
//! of the golden files.

use model::{
    Block, CompletionRequest, Failure, FailureKind, GenerationParams, Loss, LossSet, Media,
    MediaKind, MediaSource, OutputFormat, Role, Tool, ToolChoice, ToolInput,
};

use super::SamplingOptions;
use crate::json::{self, push_string};

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
    request: &CompletionRequest,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
) -> Result<LossSet, Failure> {
    let start = out.len();
    let written = write_params(request, options, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_params(
    request: &CompletionRequest,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
) -> Result<LossSet, Failure> {
    let mut losses = request.losses;
    refuse_what_sampling_lacks(request, &mut losses)?;

    out.extend_from_slice(b"{\"messages\":");
    let mut messages = Messages { out, last: None };
    for (index, message) in request.messages.iter().enumerate() {
        let place = Place { message: request.leading + index };
        match message.role {
            Role::System => messages.system_in_place(&message.content, place, &mut losses)?,
            Role::User | Role::Assistant => {
                messages.turn(message.role, &message.content, place, &mut losses)?;
            }
        }
    }
    let system = system_prompt(&request.system)?;
    messages.close(system.is_empty(), &mut losses)?;

    if !system.is_empty() {
        out.extend_from_slice(b",\"systemPrompt\":");
        push_joined(out, &system);
    }
    write_preferences(request, options, out, &mut losses)?;
    write_bounds(&request.params, options, out, &mut losses)?;
    out.push(b'}');
    Ok(losses)
}

/// Refuses what MCP sampling without tools has no place for.
fn refuse_what_sampling_lacks(
    request: &CompletionRequest,
    losses: &mut LossSet,
) -> Result<(), Failure> {
    if request.tools.iter().any(|tool| !is_hosted(tool)) {
        return Err(unsupported(
            "tools",
            "Tools are not supported yet: this bridge passes text and images to the MCP host. \
             Tool calls come in a later version.",
        ));
    }
    if !request.tools.is_empty() {
        losses.insert(Loss::HostedTools);
    }
    let forced = match &request.tool_choice {
        ToolChoice::Required | ToolChoice::Named(_) => true,
        ToolChoice::Allowed { required, .. } => *required,
        ToolChoice::Auto | ToolChoice::None => false,
    };
    if forced {
        return Err(unsupported(
            "tool_choice",
            "No tool call can be forced: tool calls come in a later version of this bridge.",
        ));
    }
    match request.output {
        OutputFormat::Text => Ok(()),
        OutputFormat::JsonObject | OutputFormat::JsonSchema { .. } => Err(unsupported(
            "response_format",
            "Structured output is not supported yet: it comes in a later version of this bridge, \
             together with tool calls. Ask for JSON in the prompt instead.",
        )),
    }
}

fn is_hosted(tool: &Tool) -> bool {
    matches!(tool.input, ToolInput::Hosted(_))
}

fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unsupported, message).with_param(param)
}

/// Collects the leading system text. There is no place but text for it.
fn system_prompt(blocks: &[Block]) -> Result<Vec<&str>, Failure> {
    let mut texts = Vec::with_capacity(blocks.len());
    for block in blocks {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => texts.push(text.text.as_str()),
            _ => {
                return Err(unsupported(
                    "system",
                    "System and developer instructions can hold only text.",
                ));
            }
        }
    }
    Ok(texts)
}

/// The place of a message in the request, for error messages.
#[derive(Clone, Copy)]
struct Place {
    message: usize,
}

impl Place {
    fn refuse(self, block: usize, what: &str) -> Failure {
        let param = format!("messages[{}].content[{block}]", self.message);
        let message = format!("{param} {what}");
        unsupported(param, message)
    }
}

/// Writes the array of messages, one block per message.
///
/// Hosts drop or cut messages whose content is an array (older VS Code drops them, goose reads
/// the first text only), so several blocks become several messages of the same role.
struct Messages<'a> {
    out: &'a mut Vec<u8>,
    last: Option<Role>,
}

impl Messages<'_> {
    fn open(&mut self, role: Role, losses: &mut LossSet) {
        if self.last.is_none() && role == Role::Assistant {
            losses.insert(Loss::FirstTurn);
            self.text(Role::User, FIRST_TURN, losses);
        }
        self.out.push(if self.last.is_none() { b'[' } else { b',' });
        self.out.extend_from_slice(match role {
            Role::Assistant => b"{\"role\":\"assistant\",\"content\":".as_slice(),
            Role::User | Role::System => b"{\"role\":\"user\",\"content\":".as_slice(),
        });
        self.last = Some(role);
    }

    fn text(&mut self, role: Role, text: &str, losses: &mut LossSet) {
        self.open(role, losses);
        self.out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
        push_string(self.out, text);
        self.out.extend_from_slice(b"}}");
    }

    fn image(&mut self, role: Role, mime: &str, base64: &str, losses: &mut LossSet) {
        self.open(role, losses);
        self.out.extend_from_slice(b"{\"type\":\"image\",\"data\":");
        push_string(self.out, base64);
        self.out.extend_from_slice(b",\"mimeType\":");
        push_string(self.out, mime);
        self.out.extend_from_slice(b"}}");
    }

    fn turn(
        &mut self,
        role: Role,
        content: &[Block],
        place: Place,
        losses: &mut LossSet,
    ) -> Result<(), Failure> {
        for (index, block) in content.iter().enumerate() {
            match block {
                Block::Text(text) if text.text.is_empty() => {}
                Block::Text(text) => self.text(role, &text.text, losses),
                Block::Media(media) => {
                    let (mime, base64) = inline_image(media, place, index)?;
                    self.image(role, mime, base64, losses);
                }
                Block::Reasoning(_) => losses.insert(Loss::Reasoning),
                Block::ToolCall(_) | Block::ToolResult(_) => {
                    return Err(unsupported(
                        format!("messages[{}]", place.message),
                        format!(
                            "messages[{}] holds a tool call or a tool result; tool calls come in \
                             a later version of this bridge.",
                            place.message
                        ),
                    ));
                }
                Block::Opaque(opaque) => {
                    return Err(place.refuse(
                        index,
                        &format!("is of type `{}`, which MCP sampling cannot carry.", opaque.kind),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Turns instructions in mid-conversation into marked user text.
    ///
    /// Sampling knows only user and assistant, and strict hosts fail the whole call on any other
    /// role; the mark is the one that Claude Code itself uses for such text.
    fn system_in_place(
        &mut self,
        content: &[Block],
        place: Place,
        losses: &mut LossSet,
    ) -> Result<(), Failure> {
        let mut all = String::new();
        for (index, block) in content.iter().enumerate() {
            let Block::Text(text) = block else {
                return Err(place.refuse(index, "is not text; a system message holds only text."));
            };
            if text.text.is_empty() {
                continue;
            }
            all.push_str(if all.is_empty() { "<system-reminder>\n" } else { "\n\n" });
            all.push_str(&text.text);
        }
        if !all.is_empty() {
            all.push_str("\n</system-reminder>");
            losses.insert(Loss::SystemInPlace);
            self.text(Role::User, &all, losses);
        }
        Ok(())
    }

    /// Ends the array so that a user message stands last.
    fn close(mut self, no_system: bool, losses: &mut LossSet) -> Result<(), Failure> {
        match self.last {
            Some(Role::Assistant) => {
                losses.insert(Loss::Prefill);
                self.text(Role::User, CONTINUE, losses);
            }
            Some(Role::User | Role::System) => {}
            None if no_system => {
                return Err(Failure::new(
                    FailureKind::BadRequest,
                    "messages holds nothing to answer: every message is empty.",
                )
                .with_param("messages"));
            }
            None => {
                // A request of instructions alone is answered by the real APIs too.
                losses.insert(Loss::FirstTurn);
                self.text(Role::User, FIRST_TURN, losses);
            }
        }
        self.out.push(b']');
        Ok(())
    }
}

fn inline_image(media: &Media, place: Place, block: usize) -> Result<(&str, &str), Failure> {
    match (media.kind, &media.source) {
        (MediaKind::Audio, _) => Err(place.refuse(block, "is audio, which hosts cannot read.")),
        (MediaKind::File, _) => {
            Err(place.refuse(block, "is a file; MCP sampling carries only text and images."))
        }
        (MediaKind::Image, MediaSource::Url(_)) => Err(place.refuse(
            block,
            "is a URL; the bridge fetches no URL, send the image itself as base64.",
        )),
        (MediaKind::Image, MediaSource::Id(_)) => {
            Err(place
                .refuse(block, "is the id of an uploaded file; send the image itself as base64."))
        }
        (MediaKind::Image, MediaSource::Inline { mime, base64 }) => Ok((mime, base64)),
    }
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
    params: &GenerationParams,
    options: &SamplingOptions,
    out: &mut Vec<u8>,
    losses: &mut LossSet,
) -> Result<(), Failure> {
    let asked = params.max_tokens.unwrap_or(options.default_max_tokens);
    let max_tokens = options.max_tokens_cap.map_or(asked, |cap| asked.min(cap));
    if params.max_tokens.is_some_and(|asked| asked > max_tokens) {
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
    let mut stops = params.stop.iter().filter(|stop| !stop.is_empty());
    if let Some(first) = stops.next() {
        out.extend_from_slice(b",\"stopSequences\":[");
        push_string(out, first);
        for stop in stops {
            out.push(b',');
            push_string(out, stop);
        }
        out.push(b']');
    }
    if let Some(ttl) = options.task_ttl_ms {
        out.extend_from_slice(b",\"task\":{\"ttl\":");
        json::push_number(out, ttl);
        out.push(b'}');
    }
    Ok(())
}

fn push_joined(out: &mut Vec<u8>, texts: &[&str]) {
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
