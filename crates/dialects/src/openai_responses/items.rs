//! Translates items to messages.
//!
//! A turn of the model is several items here (reasoning, a message, calls) and one message in
//! the model; the outputs of its calls are one message, too. That is the shape that upstreams
//! ask for, so items are joined while they are read.

use model::{
    Block, CacheMark, Dialect, Failure, Json, Loss, Media, MediaKind, MediaSource, Message,
    Reasoning, Role, Text, Tool, ToolCall, ToolCallInput, ToolResult,
};
use serde_json::value::RawValue;

use super::Earlier;
use super::failure::no_such_item;
use super::tools::read_tools;
use super::wire::{
    CallItem, Head, Identified, MessageItem, OutputItem, Part, ReasoningItem, STYLE, ToolsItem,
    compact_at, missing, opaque, parse_at, unknown,
};
use crate::extras::{Extras, from_rest};
use crate::lenient::{FieldProblem, TextOr};
use crate::uncarried::Uncarried;
use crate::{json, media};

/// What the items of a request become.
pub(super) struct Conversation<'e> {
    /// Leading instructions.
    pub(super) system: Vec<Block>,
    /// The rest.
    pub(super) messages: Vec<Message>,
    /// How many items went to `system`.
    pub(super) leading: usize,
    /// Tools that stand among the items.
    pub(super) tools: Vec<Tool>,
    /// Tools that a search found. They may be found twice, and the item stays as it came, too.
    pub(super) found: Vec<Tool>,
    /// The items of `input` as they came, references replaced; only where they are wanted.
    pub(super) own: Option<Vec<Json>>,
    /// What became of parameters that cannot be carried.
    pub(super) uncarried: Uncarried,
    /// What is kept of earlier responses, if anybody knows.
    pub(super) earlier: Option<&'e mut dyn Earlier>,
}

impl<'e> Conversation<'e> {
    /// Nothing read yet. With `keep` the items of `input` are kept as they came.
    pub(super) fn new(
        uncarried: Uncarried,
        earlier: Option<&'e mut dyn Earlier>,
        keep: bool,
    ) -> Self {
        Self {
            system: Vec::new(),
            messages: Vec::new(),
            leading: 0,
            tools: Vec::new(),
            found: Vec::new(),
            own: keep.then(Vec::new),
            uncarried,
            earlier,
        }
    }

    /// Reads `input`.
    pub(super) fn read(&mut self, input: TextOr<&RawValue>) -> Result<(), Failure> {
        match input {
            TextOr::Text(text) => {
                if let Some(own) = &mut self.own {
                    own.extend(user_item(&text));
                }
                self.push(Role::User, vec![Block::text(text)]);
            }
            TextOr::Items(items) => {
                for (index, raw) in items.into_iter().enumerate() {
                    self.own_item(raw, &format!("input[{index}]"))?;
                }
            }
        }
        Ok(())
    }

    /// Reads an item that was kept from an earlier response.
    pub(super) fn kept_item(&mut self, item: &Json, at: &str) -> Result<(), Failure> {
        match serde_json::from_str::<&RawValue>(item.as_str()) {
            Ok(raw) => self.item(raw, at),
            Err(_) => Err(STYLE.refuse(FieldProblem::BadValue, at, "it is no JSON")),
        }
    }

    /// Reads an item of this request, and keeps it where it is wanted.
    fn own_item(&mut self, raw: &RawValue, at: &str) -> Result<(), Failure> {
        let head: Head<'_> = parse_at(raw, at)?;
        let refers = match head.kind.as_deref() {
            Some(kind) => kind == "item_reference",
            // The type of a reference may be null.
            None => head.role.is_none(),
        };
        let item = match &mut self.earlier {
            Some(earlier) if refers => {
                let named: Identified = parse_at(raw, at)?;
                let id = named.id.ok_or_else(|| missing(&format!("{at}.id")))?;
                let Some(item) = earlier.item(&id)? else {
                    return self.uncarried.forbid(Loss::NotKept, || no_such_item(&id, at));
                };
                Some(item)
            }
            _ => None,
        };
        match &item {
            Some(item) => self.kept_item(item, at)?,
            None => self.item(raw, at)?,
        }
        if let Some(own) = &mut self.own {
            own.push(item.map_or_else(|| compact_at(raw, at), Ok)?);
        }
        Ok(())
    }

    /// Reads `instructions`, which stand before all items.
    pub(super) fn instruct(&mut self, instructions: TextOr<&RawValue>) -> Result<(), Failure> {
        match instructions {
            TextOr::Text(text) => self.system.push(Block::text(text)),
            TextOr::Items(items) => {
                for (index, raw) in items.into_iter().enumerate() {
                    self.item(raw, &format!("instructions[{index}]"))?;
                }
                // They are not in the list that failures count in.
                self.leading = 0;
            }
        }
        Ok(())
    }

    fn item(&mut self, raw: &RawValue, at: &str) -> Result<(), Failure> {
        let head: Head<'_> = parse_at(raw, at)?;
        match head.kind.as_deref() {
            Some("message") => self.message(raw, at),
            // The type may be absent (`EasyInputMessage`), and null for a reference.
            None if head.role.is_some() => self.message(raw, at),
            None | Some("item_reference") => {
                let block = opaque("item_reference", raw, at)?;
                self.join(Role::Assistant, Block::Opaque(block));
                Ok(())
            }
            Some(kind @ ("function_call" | "custom_tool_call")) => {
                let call = read_call(raw, at, kind == "custom_tool_call")?;
                self.join(Role::Assistant, Block::ToolCall(call));
                Ok(())
            }
            Some(kind @ ("function_call_output" | "custom_tool_call_output")) => {
                let result = self.result(raw, at, kind == "custom_tool_call_output")?;
                self.join(Role::User, Block::ToolResult(result));
                Ok(())
            }
            Some("reasoning") => {
                let reasoning = read_reasoning(raw, at)?;
                self.join(Role::Assistant, Block::Reasoning(reasoning));
                Ok(())
            }
            Some("additional_tools") => read_item_tools(raw, at, &mut self.tools),
            Some(kind) => {
                if kind == "tool_search_output" {
                    read_item_tools(raw, at, &mut self.found)?;
                }
                let block = Block::Opaque(opaque(kind, raw, at)?);
                self.join(side(kind), block);
                Ok(())
            }
        }
    }

    fn message(&mut self, raw: &RawValue, at: &str) -> Result<(), Failure> {
        let item: MessageItem<'_> = parse_at(raw, at)?;
        let role = match item.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system" | "developer") => Role::System,
            Some(other) => {
                let known = "user, assistant, system or developer";
                return Err(unknown(&format!("{at}.role"), other, known));
            }
            None => return Err(missing(&format!("{at}.role"))),
        };
        let content = match item.content {
            Some(content) => self.parts(content, &format!("{at}.content"))?,
            None => Vec::new(),
        };
        if role == Role::System && self.messages.is_empty() {
            self.system.extend(content);
            self.leading += 1;
            return Ok(());
        }
        let mut extras = Extras::default();
        extras.rest_but(&item.rest, &["type"]);
        let extras = extras.finish(Dialect::OpenAiResponses, "message");
        // Reasoning stands before the message that it led to.
        match self.messages.last_mut() {
            Some(last)
                if role == Role::Assistant
                    && last.role == role
                    && last.content.iter().all(|block| matches!(block, Block::Reasoning(_))) =>
            {
                last.content.extend(content);
                last.extras = extras;
            }
            _ => self.messages.push(Message { role, content, extras }),
        }
        Ok(())
    }

    fn push(&mut self, role: Role, content: Vec<Block>) {
        self.messages.push(Message::new(role, content));
    }

    /// Adds a block to the open turn of its side, or opens one.
    fn join(&mut self, role: Role, block: Block) {
        match self.messages.last_mut() {
            Some(last) if last.role == role && may_join(&last.content, &block) => {
                last.content.push(block);
            }
            _ => self.push(role, vec![block]),
        }
    }

    fn result(&mut self, raw: &RawValue, at: &str, custom: bool) -> Result<ToolResult, Failure> {
        let item: OutputItem<'_> = parse_at(raw, at)?;
        let content = match item.output {
            Some(output) => self.parts(output, &format!("{at}.output"))?,
            None => Vec::new(),
        };
        Ok(ToolResult {
            call_id: item.call_id.ok_or_else(|| missing(&format!("{at}.call_id")))?,
            item_id: item.id,
            content,
            is_error: false,
            custom,
            cache: None,
        })
    }

    fn parts(&mut self, content: TextOr<&RawValue>, at: &str) -> Result<Vec<Block>, Failure> {
        match content {
            TextOr::Text(text) => Ok(vec![Block::text(text)]),
            TextOr::Items(parts) => parts
                .into_iter()
                .enumerate()
                .map(|(index, raw)| self.part(raw, &format!("{at}[{index}]")))
                .collect(),
        }
    }

    fn part(&mut self, raw: &RawValue, at: &str) -> Result<Block, Failure> {
        let part: Part<'_> = parse_at(raw, at)?;
        let cache = part.cache.and_then(|raw| json::compact(raw.get())).map(CacheMark);
        match part.kind.as_deref() {
            Some("input_text" | "output_text" | "text") => {
                let text = part.text.ok_or_else(|| missing(&format!("{at}.text")))?;
                Ok(Block::Text(Text { text, cache }))
            }
            Some("refusal") => {
                let text = part.refusal.ok_or_else(|| missing(&format!("{at}.refusal")))?;
                Ok(Block::Text(Text { text, cache }))
            }
            Some("input_image") => {
                if part.detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.uncarried.leave_out(Loss::ImageDetail, || format!("{at}.detail"))?;
                }
                let source = match (part.image_url, part.file_id) {
                    (Some(url), _) => {
                        refuse_media(media::read_url(url, "image/"), &format!("{at}.image_url"))?
                    }
                    (None, Some(id)) => MediaSource::Id(id),
                    (None, None) => return Err(missing(&format!("{at}.image_url"))),
                };
                let detail = part.detail;
                Ok(Block::Media(Media {
                    kind: MediaKind::Image,
                    source,
                    name: None,
                    detail,
                    cache,
                }))
            }
            Some("input_file") => {
                let source = match (part.file_data, part.file_url, part.file_id) {
                    (Some(bytes), _, _) => refuse_media(
                        read_file(bytes, part.filename.as_deref()),
                        &format!("{at}.file_data"),
                    )?,
                    (None, Some(url), _) => MediaSource::Url(url),
                    (None, None, Some(id)) => MediaSource::Id(id),
                    (None, None, None) => return Err(missing(&format!("{at}.file_data"))),
                };
                let name = part.filename;
                Ok(Block::Media(Media { kind: MediaKind::File, source, name, detail: None, cache }))
            }
            Some("input_audio") => {
                let at = format!("{at}.input_audio");
                let audio = part.input_audio.ok_or_else(|| missing(&at))?;
                let bytes = audio.audio.ok_or_else(|| missing(&format!("{at}.data")))?;
                let mime = match audio.format.as_deref() {
                    Some("mp3") => "audio/mpeg".to_owned(),
                    Some(format) => format!("audio/{format}"),
                    None => return Err(missing(&format!("{at}.format"))),
                };
                let source =
                    refuse_media(media::read_base64(mime, bytes, "audio/"), &format!("{at}.data"))?;
                let kind = MediaKind::Audio;
                Ok(Block::Media(Media { kind, source, name: None, detail: None, cache }))
            }
            Some(other) => Err(unknown(
                &format!("{at}.type"),
                other,
                "input_text, output_text, refusal, input_image, input_file or input_audio",
            )),
            None => Err(missing(&format!("{at}.type"))),
        }
    }
}

/// Text as the item that it stands for.
fn user_item(text: &str) -> Option<Json> {
    let mut item =
        br#"{"type":"message","role":"user","content":[{"type":"input_text","text":"#.to_vec();
    json::push_string(&mut item, text);
    item.extend_from_slice(b"}]}");
    Json::from_compact(String::from_utf8(item).ok()?)
}

/// Reads the tools of an item; what else it holds is kept beside each of them.
fn read_item_tools(raw: &RawValue, at: &str, tools: &mut Vec<Tool>) -> Result<(), Failure> {
    let item: ToolsItem<'_> = parse_at(raw, at)?;
    let beside = from_rest(Dialect::OpenAiResponses, "item", &item.rest);
    read_tools(
        &item.tools.unwrap_or_default(),
        &format!("{at}.tools"),
        beside.as_ref().map(|beside| &beside.json),
        tools,
    )
}

/// Which side an item stands on that the model carries whole.
fn side(kind: &str) -> Role {
    let by_caller = ["_output", "_response", "_update", "_trigger"];
    if by_caller.iter().any(|end| kind.ends_with(end)) { Role::User } else { Role::Assistant }
}

/// Whether a block belongs to a turn that holds `content`.
///
/// Calls follow the text that announces them; outputs follow only outputs, because upstreams
/// want the answers to a turn's calls together and alone.
fn may_join(content: &[Block], block: &Block) -> bool {
    let output = |block: &Block| match block {
        Block::ToolResult(_) => true,
        Block::Opaque(opaque) => side(&opaque.kind) == Role::User,
        _ => false,
    };
    match block {
        // A new thought after a call or a message opens a new turn of the model.
        Block::Reasoning(_) => content.iter().all(|block| matches!(block, Block::Reasoning(_))),
        block if output(block) => content.iter().all(output),
        _ => true,
    }
}

pub(super) fn read_call(raw: &RawValue, at: &str, custom: bool) -> Result<ToolCall, Failure> {
    let item: CallItem = parse_at(raw, at)?;
    let input = if custom {
        ToolCallInput::Text(item.input.ok_or_else(|| missing(&format!("{at}.input")))?)
    } else {
        let arguments = item.arguments.ok_or_else(|| missing(&format!("{at}.arguments")))?;
        match json::compact(&arguments) {
            Some(json) => ToolCallInput::Json(json),
            None => ToolCallInput::Broken(arguments),
        }
    };
    Ok(ToolCall {
        id: item.call_id.ok_or_else(|| missing(&format!("{at}.call_id")))?,
        item_id: item.id,
        name: item.name.ok_or_else(|| missing(&format!("{at}.name")))?,
        namespace: item.namespace,
        input,
        cache: None,
    })
}

pub(super) fn read_reasoning(raw: &RawValue, at: &str) -> Result<Reasoning, Failure> {
    let item: ReasoningItem<'_> = parse_at(raw, at)?;
    let texts = |parts: Option<Vec<Part<'_>>>| -> Vec<String> {
        parts.unwrap_or_default().into_iter().filter_map(|part| part.text).collect()
    };
    Ok(Reasoning {
        id: item.id,
        summary: texts(item.summary),
        text: texts(item.content).join("\n"),
        signature: None,
        encrypted: item.encrypted_content,
        dialect: Dialect::OpenAiResponses,
    })
}

/// Reads `file_data`, a data URL or, as some clients send it, bare base64.
fn read_file(bytes: String, name: Option<&str>) -> Result<MediaSource, media::Reason> {
    if bytes.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return media::read_url(bytes, "");
    }
    let is_pdf = name
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, end)| end.eq_ignore_ascii_case("pdf"));
    let mime = if is_pdf { "application/pdf" } else { "application/octet-stream" };
    media::read_base64(mime.to_owned(), bytes, "")
}

fn refuse_media(
    source: Result<MediaSource, media::Reason>,
    at: &str,
) -> Result<MediaSource, Failure> {
    source.map_err(|why| STYLE.refuse(FieldProblem::BadValue, at, why))
}
