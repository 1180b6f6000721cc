//! Messages of a Chat Completions request.

use model::{
    Block, CacheMark, CompletionRequest, Dialect, Failure, Loss, Media, MediaKind, MediaSource,
    Message, Opaque, Reasoning, Role, Text, ToolCall, ToolCallInput, ToolResult,
};

use super::wire;
use crate::extras::Extras;
use crate::json::{compact, compact_raw};
use crate::lenient::{FieldProblem, PathStyle, TextOr, TextOrObject};
use crate::media;
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Brackets;

/// Who speaks and what is said.
type Turn = (Role, Vec<Block>);

/// Reads all messages into the request; leading system and developer ones become its system text.
pub(super) fn read_messages(
    messages: Vec<wire::Message<'_>>,
    request: &mut CompletionRequest,
    uncarried: &mut Uncarried,
) -> Result<(), Failure> {
    let mut reader = Reader { uncarried, legacy_calls: Vec::new(), custom_calls: Vec::new() };
    request.messages.reserve(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let extras = read_extras(&message);
        let (role, content) = reader.read(message, at)?;
        if role == Role::System && request.messages.is_empty() {
            request.system.extend(content);
            request.leading += 1;
        } else {
            request.messages.push(Message { role, content, extras });
        }
    }
    Ok(())
}

/// What only this dialect understands of a message. The name of a `function` message is the
/// function's and has its place.
fn read_extras(message: &wire::Message<'_>) -> Option<Opaque> {
    if message.name.is_none() && message.rest.is_empty() {
        return None;
    }
    let mut extras = Extras::default();
    let name = message.name.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = name.filter(|_| message.role.as_deref() != Some("function")) {
        extras.text("name", name);
    }
    extras.rest(&message.rest);
    extras.finish(Dialect::OpenAiChat, "message")
}

struct Reader<'a> {
    uncarried: &'a mut Uncarried,
    /// Names of the deprecated function calls so far. They have no ids on the wire, so an answer
    /// belongs to the latest call of its name.
    legacy_calls: Vec<String>,
    /// Ids of the calls of custom tools so far. Their answers look like all others.
    custom_calls: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, message: wire::Message<'_>, at: usize) -> Result<Turn, Failure> {
        let path = || format!("messages[{at}]");
        let Some(role) = message.role.as_deref() else {
            return Err(STYLE.refuse(FieldProblem::Missing, &format!("{}.role", path()), ""));
        };
        let role = match role {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => return self.read_assistant(message, at),
            "tool" => return self.read_tool_result(message, at),
            "function" => return self.read_function_result(message, at),
            other => {
                let why = format!(
                    "{other:?} is not one of 'system', 'developer', 'user', 'assistant', 'tool' \
                     and 'function'"
                );
                let path = format!("{}.role", path());
                return Err(STYLE.refuse(FieldProblem::BadValue, &path, &why));
            }
        };
        self.note_name(&message, at)?;
        let Some(content) = message.content else {
            return Err(STYLE.refuse(FieldProblem::Missing, &format!("{}.content", path()), ""));
        };
        Ok((role, self.read_content(content, at)?))
    }

    fn note_name(&mut self, message: &wire::Message<'_>, at: usize) -> Result<(), Failure> {
        if message.name.as_deref().is_some_and(|name| !name.is_empty()) {
            self.uncarried.leave_out(Loss::MessageName, || format!("messages[{at}].name"))?;
        }
        Ok(())
    }

    fn read_assistant(&mut self, message: wire::Message<'_>, at: usize) -> Result<Turn, Failure> {
        self.note_name(&message, at)?;
        let mut content = Vec::new();
        if let Some(text) = message.reasoning_content.filter(|text| !text.is_empty()) {
            content.push(Block::Reasoning(Reasoning {
                id: None,
                summary: Vec::new(),
                text,
                signature: None,
                encrypted: None,
                dialect: Dialect::OpenAiChat,
            }));
        }
        if let Some(parts) = message.content {
            content.append(&mut self.read_content(parts, at)?);
        }
        content.extend(message.refusal.filter(|text| !text.is_empty()).map(Block::text));
        if let Some(id) = message.audio.and_then(|audio| audio.id) {
            content.push(media_block(MediaKind::Audio, MediaSource::Id(id), None));
        }
        for (call_at, call) in message.tool_calls.into_iter().flatten().enumerate() {
            let path = format!("messages[{at}].tool_calls[{call_at}]");
            let call = read_call(call, &path)?;
            if matches!(call.input, ToolCallInput::Text(_)) {
                self.custom_calls.push(call.id.clone());
            }
            content.push(Block::ToolCall(call));
        }
        if let Some(call) = message.function_call {
            let path = format!("messages[{at}].function_call");
            let name = required(call.name, &path, "name")?;
            let id = format!("call_legacy_{}", self.legacy_calls.len());
            self.legacy_calls.push(name.clone());
            content.push(Block::ToolCall(ToolCall {
                id,
                item_id: None,
                name,
                namespace: None,
                input: read_arguments(call.arguments.unwrap_or_default()),
                cache: None,
            }));
        }
        Ok((Role::Assistant, content))
    }

    fn read_tool_result(&mut self, message: wire::Message<'_>, at: usize) -> Result<Turn, Failure> {
        let call_id = required(message.tool_call_id, &format!("messages[{at}]"), "tool_call_id")?;
        let content = match message.content {
            Some(content) => self.read_content(content, at)?,
            None => Vec::new(),
        };
        let custom = self.custom_calls.contains(&call_id);
        Ok(answer(call_id, content, custom))
    }

    fn read_function_result(
        &mut self,
        message: wire::Message<'_>,
        at: usize,
    ) -> Result<Turn, Failure> {
        let name = message.name.as_deref().unwrap_or_default();
        let call = self.legacy_calls.iter().rposition(|called| called == name);
        let call_id = call.map_or_else(|| name.to_owned(), |call| format!("call_legacy_{call}"));
        let content = match message.content {
            Some(content) => self.read_content(content, at)?,
            None => Vec::new(),
        };
        Ok(answer(call_id, content, false))
    }

    fn read_content(
        &mut self,
        content: TextOr<wire::Part<'_>>,
        at: usize,
    ) -> Result<Vec<Block>, Failure> {
        match content {
            TextOr::Text(text) if text.is_empty() => Ok(Vec::new()),
            TextOr::Text(text) => Ok(vec![Block::text(text)]),
            TextOr::Items(parts) => parts
                .into_iter()
                .enumerate()
                .map(|(part_at, part)| self.read_part(part, at, part_at))
                .collect(),
        }
    }

    fn read_part(
        &mut self,
        part: wire::Part<'_>,
        at: usize,
        part_at: usize,
    ) -> Result<Block, Failure> {
        let path = || format!("messages[{at}].content[{part_at}]");
        let cache = part.prompt_cache_breakpoint.and_then(compact_raw).map(CacheMark);
        let text = |text: Option<String>, name| {
            required(text, &path(), name)
                .map(|text| Block::Text(Text { text, cache: cache.clone() }))
        };
        match part.kind.as_deref() {
            Some("text") => text(part.text, "text"),
            Some("refusal") => text(part.refusal, "refusal"),
            Some("image_url") => {
                let image = match part.image_url {
                    Some(TextOrObject::Text(url)) => {
                        wire::ImageUrl { url: Some(url), detail: None }
                    }
                    Some(TextOrObject::Object(image)) => image,
                    None => wire::ImageUrl::default(),
                };
                let url = required(image.url, &path(), "image_url.url")?;
                let source = media::read_url(url, "image/").map_err(|why| {
                    let path = format!("{}.image_url.url", path());
                    STYLE.refuse(FieldProblem::BadValue, &path, why)
                })?;
                let detail = image.detail.filter(|detail| detail != "auto");
                if detail.is_some() {
                    let path = || format!("{}.image_url.detail", path());
                    self.uncarried.leave_out(Loss::ImageDetail, path)?;
                }
                Ok(Block::Media(Media {
                    kind: MediaKind::Image,
                    source,
                    name: None,
                    detail,
                    cache,
                }))
            }
            Some("input_audio") => {
                let audio = part.input_audio.unwrap_or_default();
                let bytes = required(audio.data, &path(), "input_audio.data")?;
                let format = required(audio.format, &path(), "input_audio.format")?;
                let mime = match format.as_str() {
                    "mp3" => "audio/mpeg".to_owned(),
                    other => format!("audio/{other}"),
                };
                let source = media::read_base64(mime, bytes, "audio/").map_err(|why| {
                    let path = format!("{}.input_audio", path());
                    STYLE.refuse(FieldProblem::BadValue, &path, why)
                })?;
                Ok(media_block(MediaKind::Audio, source, cache))
            }
            Some("file") => read_file(part.file.unwrap_or_default(), &path(), cache),
            Some(other) => {
                let why = format!(
                    "{other:?} is not one of 'text', 'image_url', 'input_audio', 'file' and \
                     'refusal'"
                );
                Err(STYLE.refuse(FieldProblem::BadValue, &format!("{}.type", path()), &why))
            }
            None => Err(STYLE.refuse(FieldProblem::Missing, &format!("{}.type", path()), "")),
        }
    }
}

fn read_file(file: wire::File, path: &str, cache: Option<CacheMark>) -> Result<Block, Failure> {
    let source = match (file.bytes, file.id) {
        (Some(bytes), _) => {
            let read = if bytes.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) {
                media::read_url(bytes, "")
            } else {
                media::read_base64("application/octet-stream".to_owned(), bytes, "")
            };
            read.map_err(|why| {
                STYLE.refuse(FieldProblem::BadValue, &format!("{path}.file.file_data"), why)
            })?
        }
        (None, Some(id)) => MediaSource::Id(id),
        (None, None) => {
            return Err(STYLE.refuse(FieldProblem::Missing, &format!("{path}.file.file_data"), ""));
        }
    };
    Ok(Block::Media(Media { kind: MediaKind::File, source, name: file.name, detail: None, cache }))
}

fn read_call(call: wire::ToolCall<'_>, path: &str) -> Result<ToolCall, Failure> {
    let id = required(call.id, path, "id")?;
    let (name, input) = match (call.kind.as_deref(), call.function, call.custom) {
        (Some("custom"), _, custom) => {
            let custom = custom.unwrap_or_default();
            let input = ToolCallInput::Text(custom.input.unwrap_or_default());
            (required(custom.name, path, "custom.name")?, input)
        }
        (None | Some("function"), function, _) => {
            let function = function.unwrap_or_default();
            let input = read_arguments(function.arguments.unwrap_or_default());
            (required(function.name, path, "function.name")?, input)
        }
        (Some(other), _, _) => {
            let why = format!("{other:?} is not one of 'function' and 'custom'");
            return Err(STYLE.refuse(FieldProblem::BadValue, &format!("{path}.type"), &why));
        }
    };
    Ok(ToolCall { id, item_id: None, name, namespace: None, input, cache: None })
}

/// Reads the JSON text of arguments. Empty text is what some servers write for no arguments.
pub(super) fn read_arguments(arguments: String) -> ToolCallInput {
    let text = if arguments.trim_ascii().is_empty() { "{}" } else { arguments.as_str() };
    match compact(text) {
        Some(json) => ToolCallInput::Json(json),
        None => ToolCallInput::Broken(arguments),
    }
}

fn answer(call_id: String, content: Vec<Block>, custom: bool) -> Turn {
    let result =
        ToolResult { call_id, item_id: None, content, is_error: false, custom, cache: None };
    (Role::User, vec![Block::ToolResult(result)])
}

fn media_block(kind: MediaKind, source: MediaSource, cache: Option<CacheMark>) -> Block {
    Block::Media(Media { kind, source, name: None, detail: None, cache })
}

/// The value of a field that must be there.
pub(super) fn required<T>(value: Option<T>, path: &str, name: &str) -> Result<T, Failure> {
    value.ok_or_else(|| {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        STYLE.refuse(FieldProblem::Missing, &path, "")
    })
}
