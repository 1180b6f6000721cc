//! What a model is told of items that only the provider of another dialect understands.
//!
//! A history may hold calls of tools that the provider ran itself, and items that it alone can
//! read. No other model can continue them; what of them can be read is told as text, so that an
//! agent which changes its provider in mid-conversation does not lose the thread.

use model::Opaque;

/// Kinds whose whole JSON can be read.
const READABLE: [&str; 14] = [
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_call",
    "code_interpreter_call",
    "web_search_call",
    "file_search_call",
    "computer_call",
    "program",
    "program_output",
    "agent_message",
];

/// The longest JSON that is told, in bytes. Longer ones hold files or pictures.
const MAX_TOLD: usize = 64 * 1024;

/// The text that stands for an item; `None` where it is left out.
///
/// Either way it is [`model::Loss::HostedItems`]. Left out are items that change nothing once
/// they are read (`tool_search_call` and its output, whose tools are among the request's,
/// `mcp_list_tools`, approvals, settings), and those of kinds that nobody knows.
pub fn as_text(opaque: &Opaque) -> Option<String> {
    let kind = opaque.kind.as_str();
    let json = opaque.json.as_str();
    if READABLE.contains(&kind) && json.len() <= MAX_TOLD {
        return Some(format!("[{kind}: {json}]"));
    }
    match kind {
        "compaction" => Some(
            "[The conversation before this was summarised by another provider, in a form that \
             cannot be read here.]"
                .to_owned(),
        ),
        "image_generation_call" => Some("[A picture was generated here.]".to_owned()),
        "computer_call_output" => Some("[A picture of the screen was shown here.]".to_owned()),
        kind if READABLE.contains(&kind) => Some(format!("[{kind}, too long to be told]")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::{Dialect, Json, Opaque};

    use super::{MAX_TOLD, as_text};

    fn item(kind: &str, json: &str) -> Opaque {
        let dialect = Dialect::OpenAiResponses;
        Opaque { dialect, kind: kind.to_owned(), json: Json::from_compact(json).unwrap() }
    }

    #[test]
    fn what_can_be_read_is_told() {
        let told = as_text(&item("web_search_call", r#"{"type":"web_search_call"}"#));
        assert_eq!(told.as_deref(), Some(r#"[web_search_call: {"type":"web_search_call"}]"#));
        let long = format!("\"{}\"", "x".repeat(MAX_TOLD));
        let told = as_text(&item("mcp_call", &long)).unwrap();
        assert!(told.len() < 100 && told.contains("mcp_call"));
    }

    #[test]
    fn ciphertext_is_never_told_and_its_place_is_marked() {
        let told = as_text(&item("compaction", r#"{"encrypted_content":"secret"}"#)).unwrap();
        assert!(!told.contains("secret"));
        for kind in ["tool_search_output", "compaction_trigger", "brand_new_call"] {
            assert_eq!(as_text(&item(kind, "{}")), None, "{kind}");
        }
    }
}
