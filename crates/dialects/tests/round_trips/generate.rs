//! Makes requests and replies: small, of every kind of block, with awkward text and numbers.

use dialects::json::compact;
use model::{
    Block, CacheMark, CompletionRequest, Dialect, GenerationParams, Json, Media, MediaKind,
    MediaSource, Message, ModelAlias, Opaque, OutputFormat, Reasoning, Role, Text, Tool,
    ToolCallInput, ToolChoice, ToolInput, ToolName,
};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::string::string_regex;

use crate::DIALECTS;

pub(crate) fn json(text: &str) -> Json {
    compact(text).unwrap_or_else(|| panic!("{text}"))
}

/// Text as people and models write it, with what breaks lines, quotes and widths.
pub(crate) fn text() -> impl Strategy<Value = String> {
    // Parsed once: a text as a strategy would be parsed for every value.
    string_regex("(\\PC|[\n\r\t\u{0}\u{7f}\u{85}\u{2028}\"\\\\]|雪| [a-z]{1,9}|</x>){1,8}").unwrap()
}

/// A short word.
fn word() -> impl Strategy<Value = String> {
    string_regex("[a-z][a-zA-Z0-9_-]{0,11}").unwrap()
}

/// Any JSON value as compact text: numbers that no float holds, keys in no order.
pub(crate) fn value() -> impl Strategy<Value = String> {
    let numbers = ["1e400", "0.10", "-0", "12345678901234567890123", "1E+2", "5", "-1.5e-7"];
    let leaf = prop_oneof![
        select(numbers.to_vec()).prop_map(str::to_owned),
        select(vec!["true", "false", "null"]).prop_map(str::to_owned),
        text().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u00e9\ud83d\ude00""#.to_owned()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            fields(inner),
        ]
    })
}

fn fields(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let keys = select(vec!["z", "a", "", "q\\\"q", "名", "type_", "input"]);
    vec((keys, inner), 0..4).prop_map(|fields| {
        let mut seen = Vec::new();
        let mut out = Vec::new();
        for (key, value) in fields {
            if !seen.contains(&key) {
                seen.push(key);
                out.push(format!("\"{key}\":{value}"));
            }
        }
        format!("{{{}}}", out.join(","))
    })
}

/// Any JSON object.
pub(crate) fn object() -> impl Strategy<Value = Json> {
    fields(value()).prop_map(|text| json(&text))
}

/// A cache mark of Anthropic's or OpenAI's kind.
fn cache() -> impl Strategy<Value = Option<CacheMark>> {
    let marks = [
        r#"{"type":"ephemeral"}"#,
        r#"{"type":"ephemeral","ttl":"1h"}"#,
        r#"{"mode":"explicit"}"#,
        "{}",
    ];
    weighted(0.2, select(marks.map(json).to_vec()).prop_map(CacheMark))
}

/// Mostly the dialect itself, so that most of a request is its own.
fn some_dialect(own: Dialect) -> impl Strategy<Value = Dialect> {
    prop_oneof![4 => Just(own), 1 => select(DIALECTS.to_vec())]
}

fn extras(own: Dialect, kind: &'static str) -> impl Strategy<Value = Option<Opaque>> {
    let made = (some_dialect(own), value().prop_filter("null is absent", |json| json != "null"));
    weighted(
        0.2,
        made.prop_map(move |(dialect, value)| {
            let field = match (dialect, kind) {
                (Dialect::OpenAiChat, "request") => "metadata",
                (Dialect::AnthropicMessages, "request") => "context_management",
                _ => "x-odd",
            };
            let json = json(&format!(r#"{{"{field}":{value}}}"#));
            Opaque { dialect, kind: kind.to_owned(), json }
        }),
    )
}

fn plain() -> impl Strategy<Value = Block> {
    let text = prop_oneof![9 => text(), 1 => Just(String::new())];
    (text, cache()).prop_map(|(text, cache)| Block::Text(Text { text, cache }))
}

fn media() -> impl Strategy<Value = Block> {
    let kinds = vec![MediaKind::Image, MediaKind::Audio, MediaKind::File];
    let source = (0..4_u8, word());
    (select(kinds), source, of(text()), of(select(vec!["low", "high"])), cache()).prop_map(
        |(kind, (form, word), name, detail, cache)| {
            let (mime, base64) = match (kind, form) {
                (MediaKind::Image, _) => ("image/png", "iVBORw=="),
                (MediaKind::Audio, 0) => ("audio/mpeg", "AAAA"),
                (MediaKind::Audio, _) => ("audio/wav", "AAA="),
                (MediaKind::File, 0) => ("text/plain", "aMOpbGxv"),
                (MediaKind::File, _) => ("application/pdf", "JVBERi0="),
            };
            let source = match form {
                0 | 1 => MediaSource::Inline { mime: mime.to_owned(), base64: base64.to_owned() },
                2 => MediaSource::Url(format!("https://example.com/{word}")),
                _ => MediaSource::Id(format!("file-{word}")),
            };
            let detail = detail.map(str::to_owned);
            Block::Media(Media { kind, source, name, detail, cache })
        },
    )
}

/// A block that only one dialect understands, on the side where it may stand.
fn opaque(own: Dialect, role: Role) -> impl Strategy<Value = Block> {
    let dialects = vec![own, Dialect::OpenAiResponses, Dialect::AnthropicMessages];
    (select(dialects), object()).prop_map(move |(dialect, object)| {
        let kind = match (dialect, role) {
            (Dialect::AnthropicMessages, Role::Assistant) => "server_tool_use",
            (Dialect::AnthropicMessages, _) => "search_result",
            (_, Role::Assistant) => "web_search_call",
            (_, _) => "computer_call_output",
        };
        // Nothing of this dialect is opaque.
        let dialect =
            if dialect == Dialect::OpenAiChat { Dialect::OpenAiResponses } else { dialect };
        let json = json(&format!(r#"{{"type":"{kind}","x":{}}}"#, object.as_str()));
        Block::Opaque(Opaque { dialect, kind: kind.to_owned(), json })
    })
}

/// Thinking of some dialect, with what its own has to hold.
pub(crate) fn reasoning(own: Dialect) -> impl Strategy<Value = Reasoning> {
    let parts = (of(word()), vec(text(), 0..3), text(), of(word()), any::<bool>());
    (some_dialect(own), parts).prop_map(|(dialect, (id, summary, text, secret, signed))| {
        let empty = Reasoning {
            id: None,
            summary: Vec::new(),
            text: String::new(),
            signature: None,
            encrypted: None,
            dialect,
        };
        match (dialect, secret) {
            (Dialect::OpenAiChat, _) => Reasoning { text, ..empty },
            (Dialect::OpenAiResponses, encrypted) => {
                let text = if signed { text } else { String::new() };
                Reasoning { id, summary, text, encrypted, ..empty }
            }
            (Dialect::AnthropicMessages, Some(data)) if !signed => {
                Reasoning { encrypted: Some(data), ..empty }
            }
            (Dialect::AnthropicMessages, signature) => Reasoning { text, signature, ..empty },
        }
    })
}

/// Arguments: an object, other JSON, broken JSON, or free text.
pub(crate) fn input() -> impl Strategy<Value = ToolCallInput> {
    prop_oneof![
        6 => object().prop_map(ToolCallInput::Json),
        1 => value().prop_map(|text| ToolCallInput::Json(json(&text))),
        1 => text().prop_map(|text| ToolCallInput::Broken(format!("{{\"a\":{text}"))),
        2 => text().prop_map(ToolCallInput::Text),
    ]
}

/// A tool call before it has an id.
fn call(own: Dialect) -> impl Strategy<Value = model::ToolCall> {
    let names = select(vec!["run", "read_file", "odd name", "名"]);
    let spaces = weighted(0.2, select(vec!["agents", "mcp__x"]));
    let item = of(word()).prop_map(move |id| id.filter(|_| own == Dialect::OpenAiResponses));
    (names, spaces, item, input(), cache()).prop_map(|(name, namespace, item_id, input, cache)| {
        let namespace = namespace.map(str::to_owned);
        let id = String::new();
        model::ToolCall { id, item_id, name: name.to_owned(), namespace, input, cache }
    })
}

/// One exchange: what the caller says, what the model says and calls, and the results.
#[derive(Clone, Debug)]
struct Exchange {
    user: Message,
    system: Option<Message>,
    assistant: Message,
    results: Vec<Message>,
}

fn exchange(own: Dialect) -> impl Strategy<Value = Exchange> {
    let said = vec(prop_oneof![4 => plain(), 2 => media(), 1 => opaque(own, Role::User)], 0..4);
    let user = (text(), said, extras(own, "message")).prop_map(|(text, mut content, extras)| {
        content.insert(0, Block::text(text));
        Message { role: Role::User, content, extras }
    });
    let system = weighted(0.2, (vec(plain(), 1..3), extras(own, "message"))).prop_map(|system| {
        system.map(|(content, extras)| Message { role: Role::System, content, extras })
    });
    let answer = (
        vec(reasoning(own).prop_map(Block::Reasoning), 0..2),
        vec(prop_oneof![6 => plain(), 1 => opaque(own, Role::Assistant)], 0..3),
        vec(call(own), 0..4),
        extras(own, "message"),
        weighted(0.1, any::<prop::sample::Index>()),
    );
    let results = vec(
        (vec(prop_oneof![3 => plain(), 1 => media()], 0..3), any::<bool>(), cache(), any::<bool>()),
        4,
    );
    let more = (of(text()), any::<bool>(), any::<bool>());
    (user, system, answer, results, more).prop_map(
        move |(user, system, (thoughts, texts, calls, extras, turned), results, more)| {
            let mut content = thoughts;
            content.extend(texts);
            let mut answers = Vec::new();
            for (at, (mut call, (content_of, failed, cache, itemed))) in
                calls.into_iter().zip(results).enumerate()
            {
                call.id = format!("call_{at}");
                let ours = itemed && own == Dialect::OpenAiResponses;
                answers.push(Block::ToolResult(model::ToolResult {
                    call_id: call.id.clone(),
                    item_id: ours.then(|| format!("fco_{at}")),
                    content: content_of,
                    is_error: failed,
                    custom: matches!(call.input, ToolCallInput::Text(_)),
                    cache,
                }));
                content.push(Block::ToolCall(call));
            }
            if let Some(turned) = turned.filter(|_| !content.is_empty()) {
                let at = turned.index(content.len());
                content.rotate_left(at);
            }
            let assistant = Message { role: Role::Assistant, content, extras };
            let (text, before, apart) = more;
            let mut all: Vec<Block> = answers;
            if let Some(text) = text.filter(|_| !all.is_empty()) {
                all.insert(if before { 0 } else { all.len() }, Block::text(text));
            }
            let turns = if apart {
                all.into_iter().map(|block| Message::new(Role::User, vec![block])).collect()
            } else if all.is_empty() {
                Vec::new()
            } else {
                vec![Message::new(Role::User, all)]
            };
            Exchange { user, system, assistant, results: turns }
        },
    )
}

fn messages(own: Dialect) -> impl Strategy<Value = Vec<Message>> {
    vec(exchange(own), 1..4).prop_map(|exchanges| {
        let mut messages = Vec::new();
        for (at, mut exchange) in exchanges.into_iter().enumerate() {
            // Ids are unique in a conversation.
            for message in exchange.results.iter_mut().chain([&mut exchange.assistant]) {
                for block in &mut message.content {
                    match block {
                        Block::ToolCall(call) => call.id.insert_str(0, &format!("t{at}_")),
                        Block::ToolResult(result) => {
                            result.call_id.insert_str(0, &format!("t{at}_"));
                        }
                        _ => {}
                    }
                }
            }
            messages.push(exchange.user);
            messages.extend(exchange.system);
            messages.push(exchange.assistant);
            messages.append(&mut exchange.results);
        }
        messages
    })
}

fn tool(own: Dialect) -> impl Strategy<Value = Tool> {
    let input = prop_oneof![
        5 => of(object()).prop_map(ToolInput::Schema),
        2 => of(object()).prop_map(ToolInput::FreeText),
        1 => (some_dialect(own), object()).prop_map(|(dialect, object)| {
            let json = json(&format!(r#"{{"type":"web_search","x":{}}}"#, object.as_str()));
            ToolInput::Hosted(Opaque { dialect, kind: "web_search".to_owned(), json })
        }),
    ];
    let space = weighted(0.2, select(vec!["agents", "mcp__x"]));
    (input, space, of(text()), of(any::<bool>()), cache(), extras(own, "tool")).prop_map(
        |(input, namespace, description, strict, cache, extras)| {
            let name = String::new();
            let namespace = namespace.map(str::to_owned);
            let tool = Tool { name, namespace, description, input, strict, cache, extras };
            match tool.input {
                ToolInput::Schema(_) => tool,
                ToolInput::FreeText(_) => Tool { strict: None, ..tool },
                ToolInput::Hosted(_) => Tool {
                    name: "web_search".to_owned(),
                    namespace: None,
                    description: None,
                    strict: None,
                    cache: None,
                    extras: None,
                    ..tool
                },
            }
        },
    )
}

/// Tools, each with a name of its own.
fn tools(own: Dialect) -> impl Strategy<Value = Vec<Tool>> {
    let names = ["run", "read_file", "odd name", "名", "agents__run", "x"];
    (vec(tool(own), 0..6), subsequence(names.to_vec(), 6)).prop_map(|(mut tools, names)| {
        let mut hosted = false;
        tools.retain(|tool| {
            let again = matches!(tool.input, ToolInput::Hosted(_)) && hosted;
            hosted |= matches!(tool.input, ToolInput::Hosted(_));
            !again
        });
        for (tool, name) in tools.iter_mut().zip(names) {
            if !matches!(tool.input, ToolInput::Hosted(_)) {
                name.clone_into(&mut tool.name);
            }
        }
        tools
    })
}

fn choice(tools: &[Tool], which: u8, required: bool) -> ToolChoice {
    let names: Vec<ToolName> = tools
        .iter()
        .filter(|tool| !matches!(tool.input, ToolInput::Hosted(_)))
        .map(|tool| ToolName { namespace: tool.namespace.clone(), name: tool.name.clone() })
        .collect();
    match (which, names.first()) {
        (1, _) => ToolChoice::None,
        (2, _) => ToolChoice::Required,
        (3, Some(name)) => ToolChoice::Named(name.clone()),
        (4, Some(_)) => {
            let names = names.iter().take(2).cloned().collect();
            ToolChoice::Allowed { required, names }
        }
        _ => ToolChoice::Auto,
    }
}

fn output() -> impl Strategy<Value = OutputFormat> {
    let schema = (of(word()), of(text()), object(), of(any::<bool>())).prop_map(
        |(name, description, schema, strict)| OutputFormat::JsonSchema {
            name,
            description,
            schema,
            strict,
        },
    );
    prop_oneof![3 => Just(OutputFormat::Text), 1 => Just(OutputFormat::JsonObject), 2 => schema]
}

fn params() -> impl Strategy<Value = GenerationParams> {
    // Numbers as people write them: the parser reads 17 digits only nearly.
    let hundredths = |most: u32| (0..=most).prop_map(|number| f64::from(number) / 100.0);
    let efforts = select(vec!["none", "minimal", "low", "high", "max"]);
    (
        of(1..=u64::MAX),
        of(hundredths(200)),
        of(hundredths(100)),
        of(0..100_u64),
        vec(text(), 0..3),
        of(1..=8_u8),
        of(efforts),
    )
        .prop_map(|(max_tokens, temperature, top_p, top_k, stop, choices, effort)| {
            let reasoning_effort = effort.map(str::to_owned);
            GenerationParams {
                max_tokens,
                temperature,
                top_p,
                top_k,
                stop,
                choices,
                reasoning_effort,
            }
        })
}

/// A request for an upstream of a dialect; most of it is of that dialect, the rest came in others.
pub(crate) fn request(own: Dialect) -> impl Strategy<Value = CompletionRequest> {
    (
        (text(), vec(plain(), 0..3), messages(own), tools(own)),
        (0..7_u8, any::<bool>(), of(any::<bool>())),
        (output(), params(), extras(own, "request")),
    )
        .prop_map(|((model, system, messages, tools), choosing, (output, params, extras))| {
            let (which, required, parallel_tool_calls) = choosing;
            CompletionRequest {
                model: ModelAlias::new(model),
                system,
                messages,
                tool_choice: choice(&tools, which, required),
                tools,
                parallel_tool_calls,
                output,
                params,
                extras,
                ..CompletionRequest::default()
            }
        })
}
