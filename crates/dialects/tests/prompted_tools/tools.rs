//! The tools that the tests of prompted calls offer.

use std::fs;
use std::path::{Path, PathBuf};

use dialects::json::compact;
use model::{Tool, ToolInput};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Written<'a> {
    name: String,
    namespace: Option<String>,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prompted")
}

/// The tools of `tools.json`.
pub(crate) fn tools() -> Vec<Tool> {
    let text = fs::read_to_string(folder().join("tools.json")).unwrap();
    let written: Vec<Written<'_>> = serde_json::from_str(&text).unwrap();
    written
        .into_iter()
        .map(|tool| Tool {
            name: tool.name,
            namespace: tool.namespace,
            description: tool.description,
            input: match tool.format {
                Some(format) => ToolInput::FreeText(compact(format.get())),
                None => ToolInput::Schema(tool.parameters.map(|raw| compact(raw.get()).unwrap())),
            },
            strict: None,
            cache: None,
            extras: None,
        })
        .collect()
}
