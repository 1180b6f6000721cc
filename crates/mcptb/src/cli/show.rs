//! JSON of the admin API for people.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::telemetry::Plain;

/// A field as text; `-` where there is nothing.
pub(super) fn field(value: &Json, name: &str) -> String {
    text(value.get(name).unwrap_or(&Json::Null))
}

/// A time without its milliseconds.
pub(super) fn time(value: &Json, name: &str) -> String {
    let whole = field(value, name);
    match whole.split_once('.') {
        Some((seconds, rest)) if rest.ends_with('Z') => format!("{seconds}Z"),
        _ => whole,
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Array(items) if items.is_empty() => "-".to_owned(),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Object(fields) => match (fields.get("unit"), fields.get("span"), fields.get("limit"))
        {
            (Some(unit), Some(span), Some(limit)) => {
                format!("{}/{}={}", text(unit), text(span), text(limit))
            }
            _ => value.to_string(),
        },
        Json::Number(number) => number.to_string(),
    }
}

/// Every field of an object on a line of its own; objects within are spread.
pub(super) fn fields(value: &Json) -> String {
    let mut rows = Vec::new();
    spread("", value, &mut rows);
    let wide = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter().fold(String::new(), |mut all, (name, text)| {
        // Writing to a string cannot fail.
        let _ = writeln!(all, "{name:<wide$}  {}", Plain(text));
        all
    })
}

fn spread(prefix: &str, value: &Json, rows: &mut Vec<(String, String)>) {
    let Some(object) = value.as_object() else { return };
    for (name, value) in object {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if value.is_object() {
            spread(&name, value, rows);
        } else {
            rows.push((name, text(value)));
        }
    }
}
