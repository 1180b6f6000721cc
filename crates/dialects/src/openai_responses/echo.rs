//! What a response repeats of its request.
//!
//! The real API shows in every response the settings that it was made with, defaults filled in;
//! strict clients miss a field that is not there. It is written once while the request is read,
//! because every event of a stream that shows the response repeats it.

use model::{Failure, Json};
use serde_json::value::RawValue;

use super::wire::{Body, Head, TextSettings, ToolEntry, compact_at, parse_at};
use crate::extras::Extras;
use crate::json::{compact_raw, push_json, push_optional, push_string};
use crate::lenient::TextOr;

/// What a response repeats of its request.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo {
    /// Fields of the response, each with a comma before it.
    fields: Vec<u8>,
    /// Whether the response is kept.
    pub store: bool,
}

impl Echo {
    /// The echo of a request, but for the response that it continues.
    pub(super) fn new(body: &Body<'_>) -> Result<Self, Failure> {
        let mut echo = Self { fields: Vec::new(), store: body.store.unwrap_or(true) };
        echo.field("instructions", |out| instructions(body.instructions.as_ref(), out))?;
        echo.count("max_output_tokens", body.max_output_tokens.map(|count| count.0));
        echo.passed("max_tool_calls", body, is_number, "null");
        let parallel = body.parallel_tool_calls.unwrap_or(true);
        echo.plain("parallel_tool_calls", if parallel { "true" } else { "false" });
        echo.field("reasoning", |out| {
            reasoning(body, out);
            Ok(())
        })?;
        echo.number("temperature", body.temperature);
        echo.field("text", |out| text(body.text.as_ref(), out))?;
        match body.tool_choice {
            Some(raw) => echo.plain("tool_choice", compact_at(raw, "tool_choice")?.as_str()),
            None => echo.plain("tool_choice", r#""auto""#),
        }
        echo.field("tools", |out| tools(body.tools.as_deref().unwrap_or_default(), out))?;
        echo.number("top_p", body.top_p);
        for (name, value) in [
            ("presence_penalty", "0.0"),
            ("frequency_penalty", "0.0"),
            ("top_logprobs", "0"),
            ("background", "false"),
            ("service_tier", r#""default""#),
        ] {
            echo.plain(name, value);
        }
        echo.passed("truncation", body, is_string, r#""disabled""#);
        echo.passed("safety_identifier", body, is_string, "null");
        echo.passed("prompt_cache_key", body, is_string, "null");
        echo.passed("user", body, is_string, "null");
        echo.passed("metadata", body, is_object, "{}");
        if let Ok(text) = std::str::from_utf8(&echo.fields) {
            // The caller's own JSON may hold what some clients take for a line end.
            let mut safe = Vec::with_capacity(text.len());
            push_json(&mut safe, text);
            echo.fields = safe;
        }
        Ok(echo)
    }

    /// Adds the response that this one continues.
    pub(super) fn continues(&mut self, previous: Option<&str>) {
        self.name("previous_response_id");
        push_optional(&mut self.fields, previous);
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.fields.len()
    }

    /// Appends the fields, each with a comma before it.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fields);
        out.extend_from_slice(if self.store { br#","store":true"# } else { br#","store":false"# });
    }

    fn name(&mut self, name: &str) {
        self.fields.push(b',');
        push_string(&mut self.fields, name);
        self.fields.push(b':');
    }

    fn plain(&mut self, name: &str, json: &str) {
        self.name(name);
        self.fields.extend_from_slice(json.as_bytes());
    }

    fn field(
        &mut self,
        name: &str,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.name(name);
        value(&mut self.fields)
    }

    fn count(&mut self, name: &str, count: Option<i128>) {
        match count {
            Some(count) => self.plain(name, &count.to_string()),
            None => self.plain(name, "null"),
        }
    }

    /// A number between 0 and 2 whose default is 1.
    fn number(&mut self, name: &str, value: Option<f64>) {
        self.name(name);
        // JSON holds no number that is not finite, and writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.fields, &value.unwrap_or(1.0));
    }

    /// A field that nobody reads, where it has the type that clients expect.
    fn passed(&mut self, name: &str, body: &Body<'_>, fits: fn(&str) -> bool, default: &str) {
        let given = body.extras.get(name).filter(|raw| fits(raw.get()));
        match given.and_then(compact_raw) {
            Some(json) => self.plain(name, json.as_str()),
            None => self.plain(name, default),
        }
    }
}

fn is_string(json: &str) -> bool {
    json.starts_with('"')
}

fn is_object(json: &str) -> bool {
    json.starts_with('{')
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn instructions(given: Option<&TextOr<&RawValue>>, out: &mut Vec<u8>) -> Result<(), Failure> {
    match given {
        None => out.extend_from_slice(b"null"),
        Some(TextOr::Text(text)) => push_string(out, text),
        Some(TextOr::Items(items)) => {
            push_list(out, items, |raw, index| compact_at(raw, &format!("instructions[{index}]")))?;
        }
    }
    Ok(())
}

fn reasoning(body: &Body<'_>, out: &mut Vec<u8>) {
    let given = body.reasoning.as_ref();
    out.extend_from_slice(br#"{"effort":"#);
    push_optional(out, given.and_then(|reasoning| reasoning.effort.as_deref()));
    let mut extras = Extras::default();
    if let Some(given) = given {
        extras.rest(&given.rest);
    }
    if given.is_none_or(|given| given.rest.get("summary").is_none()) {
        extras.json("summary", "null");
    }
    extras.append_to(out);
    out.push(b'}');
}

fn text(given: Option<&TextSettings<'_>>, out: &mut Vec<u8>) -> Result<(), Failure> {
    out.extend_from_slice(br#"{"format":{"type":"#);
    let format = given.and_then(|given| given.format.as_ref());
    push_string(out, format.and_then(|format| format.kind.as_deref()).unwrap_or("text"));
    if let Some(format) = format.filter(|format| format.kind.as_deref() == Some("json_schema")) {
        out.extend_from_slice(br#","name":"#);
        push_optional(out, format.name.as_deref());
        out.extend_from_slice(br#","description":"#);
        push_optional(out, format.description.as_deref());
        out.extend_from_slice(br#","schema":"#);
        push_raw(out, format.schema, "text.format.schema")?;
        out.extend_from_slice(br#","strict":"#);
        push_flag(out, format.strict);
    }
    out.push(b'}');
    if let Some(given) = given {
        let mut extras = Extras::default();
        extras.rest(&given.rest);
        extras.append_to(out);
    }
    out.push(b'}');
    Ok(())
}

fn tools(raws: &[&RawValue], out: &mut Vec<u8>) -> Result<(), Failure> {
    push_list(out, raws, |raw, index| {
        let at = format!("tools[{index}]");
        let head: Head<'_> = parse_at(raw, &at)?;
        if head.kind.as_deref() == Some("function") {
            function(raw, &at)
        } else {
            compact_at(raw, &at)
        }
    })
}

/// A function tool with all the keys that strict clients look for.
fn function(raw: &RawValue, at: &str) -> Result<Json, Failure> {
    let entry: ToolEntry<'_> = parse_at(raw, at)?;
    let mut out = br#"{"type":"function","name":"#.to_vec();
    push_optional(&mut out, entry.name.as_deref());
    out.extend_from_slice(br#","description":"#);
    push_optional(&mut out, entry.description.as_deref());
    out.extend_from_slice(br#","parameters":"#);
    push_raw(&mut out, entry.parameters, at)?;
    out.extend_from_slice(br#","strict":"#);
    push_flag(&mut out, entry.strict);
    let mut extras = Extras::default();
    extras.rest_but(&entry.rest, &["type"]);
    extras.append_to(&mut out);
    out.push(b'}');
    String::from_utf8(out).ok().and_then(Json::from_compact).map_or_else(|| compact_at(raw, at), Ok)
}

fn push_list(
    out: &mut Vec<u8>,
    raws: &[&RawValue],
    json: impl Fn(&RawValue, usize) -> Result<Json, Failure>,
) -> Result<(), Failure> {
    out.push(b'[');
    for (index, raw) in raws.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(json(raw, index)?.as_str().as_bytes());
    }
    out.push(b']');
    Ok(())
}

fn push_raw(out: &mut Vec<u8>, raw: Option<&RawValue>, at: &str) -> Result<(), Failure> {
    match raw {
        Some(raw) => out.extend_from_slice(compact_at(raw, at)?.as_str().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    Ok(())
}

fn push_flag(out: &mut Vec<u8>, flag: Option<bool>) {
    out.extend_from_slice(match flag {
        None => b"null",
        Some(true) => b"true",
        Some(false) => b"false",
    });
}
