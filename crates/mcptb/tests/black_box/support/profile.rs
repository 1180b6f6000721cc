//! How real hosts behave, as far as it matters to a bridge.

use serde_json::{Value, json};

/// A host with its quirks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Profile {
    /// A FastMCP client: no quirks to speak of.
    #[default]
    Plain,
    /// Visual Studio Code: tasks, no stop reason, drops arrays and tool blocks, stack traces in
    /// errors, does not hear cancellations of samplings and applies them to requests of its own.
    VsCode,
    /// GitHub Copilot CLI: probes the new era first, refuses with a success.
    CopilotCli,
    /// goose: an older protocol; sees only the first text of a message.
    Goose,
    /// fast-agent: fails on `modelPreferences`, pings, answers with arrays.
    FastAgent,
    /// A host without sampling, such as the Inspector's command line.
    NoSampling,
}

impl Profile {
    /// The hosts that answer.
    pub(crate) const SAMPLING: [Self; 5] =
        [Self::Plain, Self::VsCode, Self::CopilotCli, Self::Goose, Self::FastAgent];

    /// What it calls itself.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "mcp",
            Self::VsCode => "Visual Studio Code",
            Self::CopilotCli => "copilot-cli",
            Self::Goose => "goose",
            Self::FastAgent => "fast-agent-mcp",
            Self::NoSampling => "inspector-cli",
        }
    }

    /// The `params` of its `initialize`.
    pub(crate) fn initialize(self) -> Value {
        let (protocol, capabilities) = match self {
            Self::Plain => ("2025-11-25", json!({"sampling": {}})),
            Self::VsCode => (
                "2025-11-25",
                json!({
                    "roots": {"listChanged": true}, "sampling": {},
                    "elicitation": {"form": {}, "url": {}},
                    "tasks": {"list": {}, "cancel": {}, "requests": {
                        "sampling": {"createMessage": {}}, "elicitation": {"create": {}}}},
                }),
            ),
            Self::CopilotCli => {
                ("2025-11-25", json!({"sampling": {}, "elicitation": {"form": {}, "url": {}}}))
            }
            Self::Goose => ("2025-03-26", json!({"sampling": {}})),
            Self::FastAgent => ("2025-11-25", json!({"sampling": {"tools": {}}, "roots": {}})),
            Self::NoSampling => ("2025-11-25", json!({"roots": {}})),
        };
        json!({
            "protocolVersion": protocol,
            "capabilities": capabilities,
            "clientInfo": {"name": self.name(), "version": "1.2.3"},
        })
    }

    /// The model that it says has answered.
    pub(crate) const fn model(self) -> &'static str {
        match self {
            Self::VsCode => "copilot/gpt-4.1",
            Self::CopilotCli => "gpt-4.1",
            Self::Goose => "goose-provider",
            _ => "model-of-the-host",
        }
    }

    /// The result of a sampling that was answered with `text`.
    pub(crate) fn result(self, text: &str) -> Value {
        let block = json!({"type": "text", "text": text});
        let mut result = json!({
            "model": self.model(), "role": "assistant", "content": block, "stopReason": "endTurn",
        });
        match self {
            Self::VsCode => {
                result.as_object_mut().unwrap().remove("stopReason");
            }
            Self::FastAgent => result["content"] = json!([block]),
            _ => {}
        }
        result
    }

    /// How a person's no looks: a result, or a code and a message.
    pub(crate) fn refusal(self) -> Result<Value, (i64, String)> {
        match self {
            Self::CopilotCli => Ok(json!({
                "model": "", "stopReason": "cancelled", "role": "user",
                "content": {"type": "text", "text": "The user cancelled the request."},
            })),
            Self::VsCode => {
                Err((-32000, "The user has denied permission to call this method.".to_owned()))
            }
            _ => Err((-1, "User rejected sampling request".to_owned())),
        }
    }

    /// How a failure of its model looks: a code and a message.
    pub(crate) fn failure(self, what: &str) -> (i64, String) {
        let message = match self {
            Self::VsCode => format!(
                "Unknown error: Error: {what}\n    at SecretClass.secretMethod \
                 (/opt/vscode/secret/path.js:12:34)\n    at process.processTicksAndRejections"
            ),
            Self::FastAgent => format!("Error in sampling: {what}"),
            _ => what.to_owned(),
        };
        (-32603, message)
    }

    /// Whether it fails on what is asked, before any model sees it.
    pub(crate) fn chokes_on(self, params: &Value) -> Option<(i64, String)> {
        (self == Self::FastAgent && !params["modelPreferences"].is_null()).then(|| {
            self.failure(
                "AsyncCompletions.create() got an unexpected keyword argument \
                 'model_preferences'",
            )
        })
    }

    /// The messages that reach its model: role and text, or the mime type of an image.
    pub(crate) fn sees(self, params: &Value) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        for message in params["messages"].as_array().unwrap() {
            let content = &message["content"];
            let blocks = match (self, content) {
                (Self::VsCode, Value::Array(_)) => continue,
                (Self::Goose, Value::Array(all)) => all.iter().take(1).collect(),
                (_, Value::Array(all)) => all.iter().collect(),
                (_, block) => vec![block],
            };
            for block in blocks {
                let what = match block["type"].as_str() {
                    Some("text") => block["text"].as_str().unwrap(),
                    Some("image") if self != Self::Goose => block["mimeType"].as_str().unwrap(),
                    _ => continue,
                };
                seen.push((message["role"].as_str().unwrap().to_owned(), what.to_owned()));
            }
        }
        seen
    }
}
