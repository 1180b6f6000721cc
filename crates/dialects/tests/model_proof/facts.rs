//! The facts that a request holds, as the model has them.

use std::collections::BTreeSet;

use model::{
    Block, CacheMark, CompletionRequest, Dialect, GenerationParams, Json, Media, MediaKind,
    MediaSource, Opaque, OutputFormat, Reasoning, Role, Tool, ToolCallInput, ToolChoice, ToolInput,
    ToolName,
};
use serde_json::{Value, json};

/// What a request holds, one line for each thing.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) list: Vec<String>,
    /// What the wire holds and the model does not, as `object.field`.
    pub(crate) gaps: BTreeSet<String>,
}

impl Facts {
    pub(crate) fn add(&mut self, fact: String) {
        self.list.push(fact);
    }

    /// Empty text is no fact: some clients send it beside tool calls, and readers may drop it.
    pub(crate) fn text(&mut self, role: &str, text: &str) {
        if !text.is_empty() {
            self.add(format!("{role} says {text:?}"));
        }
    }

    pub(crate) fn media(&mut self, role: &str, kind: &str, source: &str, beside: [&Value; 2]) {
        let [name, detail] = beside.map(|word| word.as_str().unwrap_or("-"));
        self.add(format!("{role} shows {kind} {source} {name} {detail}"));
    }

    pub(crate) fn call(&mut self, id: &str, item: &str, name: &str, input: &str) {
        self.add(format!("call {id} {item} {name} {input}"));
    }

    pub(crate) fn result(&mut self, id: &str, item: &str, custom: bool, error: bool) {
        self.add(format!("result {id} {item} custom={custom} error={error}"));
    }

    /// What stands beside the known fields of a turn; `turn` is its number where turns are one to
    /// one on the wire.
    pub(crate) fn turn(&mut self, role: &str, turn: Option<usize>, beside: Option<&Value>) {
        if let Some(beside) = beside {
            let turn = turn.map(|turn| turn.to_string()).unwrap_or_default();
            self.add(format!("turn {turn} of {role} has {beside}"));
        }
    }

    /// What stands beside the known fields of a tool.
    pub(crate) fn beside_tool(&mut self, space: &str, name: &str, beside: Option<&Value>) {
        if let Some(beside) = beside {
            self.add(format!("tool {space} {name} has {beside}"));
        }
    }

    /// A setting of the request; null is none.
    pub(crate) fn setting(&mut self, name: &str, value: &Value) {
        if value.is_null() {
            return;
        }
        // Whole numbers may have become floats on the way.
        let value = value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string());
        self.add(format!("setting {name} {value}"));
    }

    /// A schema of the answer, with its name and whether it is strict.
    pub(crate) fn schema(&mut self, name: &Value, strict: &Value, schema: &Value) {
        self.add(format!("output {name} {strict} {schema}"));
    }

    pub(crate) fn request(&mut self, request: &CompletionRequest) {
        self.blocks("system", &request.system);
        for (index, message) in request.messages.iter().enumerate() {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            self.blocks(role, &message.content);
            if let Some(extras) = &message.extras {
                // Items are joined to turns, so only the other dialects can count.
                let counts = extras.dialect != Dialect::OpenAiResponses;
                let turn = counts.then_some(request.leading + index);
                self.turn(role, turn, Some(&parsed(extras)));
            }
        }
        for tool in &request.tools {
            self.tool(tool);
        }
        self.choice(&request.tool_choice);
        self.setting("parallel", &json!(request.parallel_tool_calls));
        self.setting("model", &json!(request.model.as_str()));
        self.params(&request.params);
        match &request.output {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => self.add("output object".to_owned()),
            OutputFormat::JsonSchema { name, schema, strict, .. } => self.schema(
                &json!(name),
                &json!(strict),
                &serde_json::from_str(schema.as_str()).unwrap(),
            ),
        }
        if let Some(Value::Object(extras)) = request.extras.as_ref().map(parsed) {
            for (name, value) in &extras {
                self.setting(name, value);
            }
        }
    }

    fn params(&mut self, params: &GenerationParams) {
        self.setting("max_tokens", &json!(params.max_tokens));
        self.setting("temperature", &json!(params.temperature));
        self.setting("top_p", &json!(params.top_p));
        self.setting("top_k", &json!(params.top_k));
        self.setting("choices", &json!(params.choices));
        self.setting("effort", &json!(params.reasoning_effort));
        for stop in &params.stop {
            self.setting("stop", &json!(stop));
        }
    }

    fn choice(&mut self, choice: &ToolChoice) {
        let name = |name: &ToolName| {
            let space = name.namespace.as_deref().unwrap_or("-");
            format!("{space} {}", name.name)
        };
        self.add(match choice {
            ToolChoice::Auto => "choice auto".to_owned(),
            ToolChoice::None => "choice none".to_owned(),
            ToolChoice::Required => "choice required".to_owned(),
            ToolChoice::Named(tool) => format!("choice {}", name(tool)),
            ToolChoice::Allowed { required, names } => {
                let names: Vec<_> = names.iter().map(name).collect();
                format!("choice required={required} among {names:?}")
            }
        });
    }

    fn tool(&mut self, tool: &Tool) {
        let space = tool.namespace.as_deref().unwrap_or("-");
        let description = tool.description.as_deref().unwrap_or("-");
        let extras = tool.extras.as_ref().map(parsed);
        self.beside_tool(space, &tool.name, extras.as_ref());
        let input = match &tool.input {
            ToolInput::Schema(schema) => format!("schema {}", sorted(schema.as_ref())),
            ToolInput::FreeText(format) => format!("text {}", sorted(format.as_ref())),
            ToolInput::Hosted(opaque) => {
                self.add(format!("hosted {} {}", opaque.kind, sorted(Some(&opaque.json))));
                return;
            }
        };
        let strict = tool.strict;
        self.add(format!("tool {space} {} {description:?} {strict:?} {input}", tool.name));
        self.cache(tool.cache.as_ref());
    }

    fn cache(&mut self, mark: Option<&CacheMark>) {
        if let Some(CacheMark(json)) = mark {
            self.add(format!("cache {}", sorted(Some(json))));
        }
    }

    fn blocks(&mut self, role: &str, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Text(text) => {
                    self.text(role, &text.text);
                    self.cache(text.cache.as_ref());
                }
                Block::Media(media) => {
                    let beside = [&json!(media.name), &json!(media.detail)];
                    self.media(role, kind_of(media), &source_of(media), beside);
                    self.cache(media.cache.as_ref());
                }
                Block::ToolCall(call) => {
                    let name = match &call.namespace {
                        Some(space) => format!("{space}/{}", call.name),
                        None => call.name.clone(),
                    };
                    let input = match &call.input {
                        ToolCallInput::Json(json) => sorted(Some(json)),
                        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
                            format!("{text:?}")
                        }
                    };
                    self.call(&call.id, call.item_id.as_deref().unwrap_or("-"), &name, &input);
                    self.cache(call.cache.as_ref());
                }
                Block::ToolResult(result) => {
                    let item = result.item_id.as_deref().unwrap_or("-");
                    self.result(&result.call_id, item, result.custom, result.is_error);
                    self.blocks(&format!("result {}", result.call_id), &result.content);
                    self.cache(result.cache.as_ref());
                }
                Block::Reasoning(reasoning) => self.reasoning(reasoning),
                Block::Opaque(opaque) => {
                    self.add(format!("opaque {} {}", opaque.kind, sorted(Some(&opaque.json))));
                }
            }
        }
    }

    pub(crate) fn reasoning(&mut self, reasoning: &Reasoning) {
        self.add(format!(
            "thinks id={:?} summary={:?} text={:?} signature={:?} encrypted={:?}",
            reasoning.id,
            reasoning.summary,
            reasoning.text,
            reasoning.signature,
            reasoning.encrypted
        ));
    }
}

fn kind_of(media: &Media) -> &'static str {
    match media.kind {
        MediaKind::Image => "image",
        MediaKind::Audio => "audio",
        MediaKind::File => "file",
    }
}

fn source_of(media: &Media) -> String {
    match &media.source {
        MediaSource::Inline { mime, base64 } => format!("{mime} {base64}"),
        MediaSource::Url(url) => format!("url {url}"),
        MediaSource::Id(id) => format!("id {id}"),
    }
}

fn parsed(opaque: &Opaque) -> Value {
    serde_json::from_str(opaque.json.as_str()).unwrap()
}

/// JSON with its keys sorted, so that both walks write it alike; `verbatim` proves the order.
fn sorted(json: Option<&Json>) -> String {
    json.map_or_else(
        || "none".to_owned(),
        |json| serde_json::from_str::<Value>(json.as_str()).unwrap().to_string(),
    )
}
