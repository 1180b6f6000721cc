//! What each loss takes away from a request that a client writes.
//!
//! A loss that is not named takes nothing: the laws compare what is left with what is read back.

use dialects::ToolTable;
use model::{
    Block, CacheMark, CompletionRequest, Dialect, Loss, LossSet, Media, MediaKind, MediaSource,
    Opaque, OutputFormat, Role, Tool, ToolCallInput, ToolChoice, ToolInput, ToolName,
};
use serde_json::Value;

use crate::generate;

/// The request without what the losses of its dialect take.
pub(crate) fn forget(
    dialect: Dialect,
    losses: LossSet,
    mut request: CompletionRequest,
) -> CompletionRequest {
    // Order matters only where one loss changes what another looks at.
    let order = [
        Loss::ToolName,
        Loss::HostedTools,
        Loss::AllowedTools,
        Loss::ToolGrammar,
        Loss::ToolFreeText,
        Loss::ToolArguments,
        Loss::ToolError,
        Loss::Reasoning,
        Loss::DialectFields,
        Loss::MediaName,
        Loss::ImageDetail,
        Loss::MediaOmitted,
        Loss::CacheMark,
        Loss::BlockOrder,
        Loss::OutputFormat,
        Loss::Stop,
        Loss::TopK,
        Loss::Temperature,
        Loss::ReasoningEffort,
    ];
    for loss in losses.iter() {
        assert!(order.contains(&loss), "{dialect} names {loss:?}, which takes nothing known");
    }
    for loss in order {
        if losses.contains(loss) {
            take(dialect, loss, &mut request);
        }
    }
    request
}

fn take(dialect: Dialect, loss: Loss, request: &mut CompletionRequest) {
    let openai = dialect != Dialect::AnthropicMessages;
    match loss {
        Loss::ToolName => rename(request),
        Loss::HostedTools => request.tools.retain(
            |tool| !matches!(&tool.input, ToolInput::Hosted(opaque) if opaque.dialect != dialect),
        ),
        Loss::AllowedTools => show_only_allowed(request),
        Loss::ToolGrammar => request.tools.iter_mut().for_each(tell_grammar),
        Loss::ToolFreeText => free_text(request),
        Loss::ToolArguments => blocks(request, &mut |block| {
            if let Block::ToolCall(call) = block {
                wrap(&mut call.input);
            }
            true
        }),
        Loss::ToolError => blocks(request, &mut |block| {
            if let Block::ToolResult(result) = block {
                result.is_error = false;
            }
            true
        }),
        Loss::Reasoning => blocks(request, &mut |block| match block {
            Block::Reasoning(thought) => {
                let replayable = thought.signature.is_some() || thought.encrypted.is_some();
                thought.dialect == dialect && (openai || replayable)
            }
            _ => true,
        }),
        Loss::DialectFields => dialect_fields(dialect, request),
        Loss::MediaName | Loss::ImageDetail | Loss::MediaOmitted => {
            blocks(request, &mut |block| {
                if let Block::Media(media) = block {
                    if has_place(dialect, media) {
                        match loss {
                            Loss::MediaName if media.kind != MediaKind::File => media.name = None,
                            Loss::ImageDetail if !openai || media.kind != MediaKind::Image => {
                                media.detail = None;
                            }
                            _ => {}
                        }
                    } else if loss == Loss::MediaOmitted {
                        let word = match media.kind {
                            MediaKind::Image => "[image omitted]",
                            MediaKind::Audio => "[audio omitted]",
                            MediaKind::File => "[file omitted]",
                        };
                        let cache = media.cache.take();
                        *block = Block::Text(model::Text { text: word.to_owned(), cache });
                    }
                }
                true
            });
        }
        Loss::CacheMark => cache_marks(dialect, request),
        Loss::BlockOrder => reorder(request),
        Loss::OutputFormat => match &mut request.output {
            OutputFormat::JsonSchema { name, description, .. } => {
                (*name, *description) = (None, None);
            }
            output => *output = OutputFormat::Text,
        },
        Loss::Stop => request.params.stop.clear(),
        Loss::TopK => request.params.top_k = None,
        Loss::Temperature => {
            request.params.temperature = request.params.temperature.map(|value| value.min(1.0));
        }
        Loss::ReasoningEffort => {
            let word = &mut request.params.reasoning_effort;
            *word = word.take().filter(|word| word != "none" && word != "minimal");
        }
        other => panic!("{other:?}"),
    }
}

/// Visits every block, also those inside tool results; those for which `keep` is false go.
fn blocks(request: &mut CompletionRequest, keep: &mut dyn FnMut(&mut Block) -> bool) {
    fn visit(list: &mut Vec<Block>, keep: &mut dyn FnMut(&mut Block) -> bool) {
        list.retain_mut(|block| {
            if let Block::ToolResult(result) = block {
                visit(&mut result.content, keep);
            }
            keep(block)
        });
    }
    visit(&mut request.system, keep);
    for message in &mut request.messages {
        visit(&mut message.content, keep);
    }
}

/// Tools, calls and choices get the flat names of the table.
fn rename(request: &mut CompletionRequest) {
    let before = CompletionRequest { tool_choice: ToolChoice::Auto, ..request.clone() };
    let table = ToolTable::new(&before).unwrap();
    let flat = |namespace: &mut Option<String>, name: &mut String| {
        let call = model::ToolCall {
            id: String::new(),
            item_id: None,
            name: name.clone(),
            namespace: namespace.take(),
            input: ToolCallInput::Text(String::new()),
            cache: None,
        };
        *name = table.name_of(&call);
    };
    for tool in &mut request.tools {
        if !matches!(tool.input, ToolInput::Hosted(_)) {
            flat(&mut tool.namespace, &mut tool.name);
        }
    }
    blocks(request, &mut |block| {
        if let Block::ToolCall(call) = block {
            flat(&mut call.namespace, &mut call.name);
        }
        true
    });
    let one = |name: &mut ToolName| flat(&mut name.namespace, &mut name.name);
    match &mut request.tool_choice {
        ToolChoice::Named(name) => one(name),
        ToolChoice::Allowed { names, .. } => names.iter_mut().for_each(one),
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => {}
    }
}

fn show_only_allowed(request: &mut CompletionRequest) {
    let ToolChoice::Allowed { required, names } = &request.tool_choice else {
        panic!("nothing was chosen")
    };
    request.tools.retain(|tool| {
        names.iter().any(|name| name.name == tool.name && name.namespace == tool.namespace)
    });
    request.tool_choice = if *required { ToolChoice::Required } else { ToolChoice::Auto };
}

fn tell_grammar(tool: &mut Tool) {
    if let ToolInput::FreeText(format) = &mut tool.input
        && let Some(format) = format.take()
    {
        let before = tool.description.take().unwrap_or_default();
        let told = format!("{before}\n\nFormat of `input`: {}", format.as_str());
        tool.description = Some(told.trim_start().to_owned());
    }
}

fn free_text(request: &mut CompletionRequest) {
    let schema =
        r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;
    for tool in &mut request.tools {
        if matches!(tool.input, ToolInput::FreeText(_)) {
            tool.input = ToolInput::Schema(Some(generate::json(schema)));
        }
    }
    blocks(request, &mut |block| {
        match block {
            Block::ToolCall(call) if matches!(call.input, ToolCallInput::Text(_)) => {
                wrap(&mut call.input);
            }
            Block::ToolResult(result) => result.custom = false,
            _ => {}
        }
        true
    });
}

/// What is no object stands under `input`.
fn wrap(input: &mut ToolCallInput) {
    let text = match input {
        ToolCallInput::Json(json) if json.as_str().starts_with('{') => return,
        ToolCallInput::Json(json) => format!(r#"{{"input":{}}}"#, json.as_str()),
        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
            let mut out = br#"{"input":"#.to_vec();
            dialects::json::push_string(&mut out, text);
            String::from_utf8(out).unwrap() + "}"
        }
    };
    *input = ToolCallInput::Json(generate::json(&text));
}

fn dialect_fields(dialect: Dialect, request: &mut CompletionRequest) {
    let own = |extras: &mut Option<Opaque>| {
        *extras = extras.take().filter(|extras| extras.dialect == dialect);
    };
    own(&mut request.extras);
    for message in &mut request.messages {
        own(&mut message.extras);
    }
    for tool in &mut request.tools {
        own(&mut tool.extras);
    }
    blocks(request, &mut |block| {
        if dialect != Dialect::OpenAiResponses {
            match block {
                Block::ToolCall(call) => call.item_id = None,
                Block::ToolResult(result) => result.item_id = None,
                _ => {}
            }
        }
        !matches!(block, Block::Opaque(opaque) if opaque.dialect != dialect)
    });
}

fn has_place(dialect: Dialect, media: &Media) -> bool {
    let inline = matches!(media.source, MediaSource::Inline { .. });
    match (dialect, media.kind) {
        (Dialect::AnthropicMessages, MediaKind::Audio) => false,
        (_, MediaKind::Audio) => inline,
        (Dialect::OpenAiChat, MediaKind::Image) => !matches!(media.source, MediaSource::Id(_)),
        (Dialect::OpenAiChat, MediaKind::File) => !matches!(media.source, MediaSource::Url(_)),
        (_, MediaKind::Image | MediaKind::File) => true,
    }
}

/// Each dialect knows its own kind of mark, and OpenAI's only at text and media.
fn cache_marks(dialect: Dialect, request: &mut CompletionRequest) {
    let openai = dialect != Dialect::AnthropicMessages;
    let mine = |mark: &mut Option<CacheMark>| {
        *mark = mark.take().filter(|mark| {
            let mark: Value = serde_json::from_str(mark.0.as_str()).unwrap();
            mark.get("type").is_some() != openai
        });
    };
    for tool in &mut request.tools {
        mine(&mut tool.cache);
        if openai {
            tool.cache = None;
        }
    }
    blocks(request, &mut |block| {
        match block {
            Block::Text(text) => {
                mine(&mut text.cache);
                if !openai && text.text.is_empty() {
                    text.cache = None;
                }
            }
            Block::Media(media) => mine(&mut media.cache),
            Block::ToolCall(model::ToolCall { cache, .. })
            | Block::ToolResult(model::ToolResult { cache, .. }) => {
                mine(cache);
                if openai {
                    *cache = None;
                }
            }
            Block::Reasoning(_) | Block::Opaque(_) => {}
        }
        true
    });
}

/// Thoughts, then text and media, then calls; results before what else the caller says.
fn reorder(request: &mut CompletionRequest) {
    for message in &mut request.messages {
        message.content.sort_by_key(|block| match (message.role, block) {
            (Role::Assistant, Block::Reasoning(_)) | (Role::User, Block::ToolResult(_)) => 0,
            (Role::Assistant, Block::ToolCall(_)) => 2,
            _ => 1,
        });
        let mut joined: Vec<Block> = Vec::new();
        for block in message.content.drain(..) {
            match (joined.last_mut(), block) {
                (Some(Block::Reasoning(last)), Block::Reasoning(next)) => {
                    last.text = format!("{}\n{}", last.text, next.text);
                }
                (_, block) => joined.push(block),
            }
        }
        message.content = joined;
    }
}

/// What a dialect says in one way only, without a loss: a schema without a name, a schema that need
/// not be followed to the letter, a tool without arguments, parallel calls where there is nothing
/// to call.
pub(crate) fn in_its_words(dialect: Dialect, mut request: CompletionRequest) -> CompletionRequest {
    if dialect == Dialect::AnthropicMessages {
        let nothing = generate::json(r#"{"type":"object","properties":{}}"#);
        for tool in &mut request.tools {
            if matches!(tool.input, ToolInput::Schema(None)) {
                tool.input = ToolInput::Schema(Some(nothing.clone()));
            }
        }
        if let OutputFormat::JsonSchema { strict, .. } = &mut request.output {
            *strict = Some(true);
        }
        if request.tools.is_empty() || request.tool_choice == ToolChoice::None {
            request.parallel_tool_calls = None;
        }
    } else if let OutputFormat::JsonSchema { name, .. } = &mut request.output {
        name.get_or_insert_with(|| "output".to_owned());
    }
    if dialect == Dialect::OpenAiResponses {
        request.extras = request.extras.and_then(without_tools);
    }
    request
}

/// The copy of the tools that the response repeats is no part of what is asked.
fn without_tools(extras: Opaque) -> Option<Opaque> {
    let Some((kept, _)) = extras.json.as_str().split_once(r#""tools":["#) else {
        return Some(extras);
    };
    let kept = kept.trim_end_matches(',');
    (kept != "{").then(|| Opaque { json: generate::json(&format!("{kept}}}")), ..extras.clone() })
}
