//! What the walks of the wire share.

use serde_json::{Map, Value};

use crate::facts::Facts;

pub(crate) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

pub(crate) fn or_dash<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A JSON value, or `none` where it is absent.
pub(crate) fn json_or_none(value: &Value) -> String {
    if value.is_null() { "none".to_owned() } else { value.to_string() }
}

/// Arguments that travel as a string: JSON where they parse.
pub(crate) fn arguments(text: &str) -> String {
    serde_json::from_str::<Value>(text)
        .map_or_else(|_| format!("{text:?}"), |json| json.to_string())
}

/// A data URL as both walks name it, or the URL itself.
pub(crate) fn url_source(url: &str) -> String {
    match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((mime, base64)) => format!("{mime} {base64}"),
        None => format!("url {url}"),
    }
}

/// The fields of an object that a walk does not know, null aside; `None` where there are none.
pub(crate) fn beside(object: &Value, known: &[&str]) -> Option<Value> {
    let rest: Map<String, Value> = object
        .as_object()?
        .iter()
        .filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!rest.is_empty()).then_some(Value::Object(rest))
}

impl Facts {
    /// Notes the fields of an object that the walk does not know: they have no place.
    pub(crate) fn only(&mut self, kind: &str, object: &Value, known: &[&str]) {
        for key in beside(object, known).iter().filter_map(Value::as_object) {
            self.gaps.extend(key.keys().map(|key| format!("{kind}.{key}")));
        }
    }
}

/// The shape of the answer; `given` is the object with the schema.
pub(crate) fn output(format: &Value, given: &Value, known: &[&str], facts: &mut Facts) {
    match word(format, "type") {
        "" | "text" => {}
        "json_object" => facts.add("output object".to_owned()),
        "json_schema" => {
            facts.only("json_schema", given, known);
            facts.schema(&given["name"], &given["strict"], &given["schema"]);
        }
        other => panic!("the walk does not know the format {other:?}"),
    }
}

/// A choice among tools that is a word, or absent.
pub(crate) fn choice_word(choice: &Value, facts: &mut Facts) {
    facts.add(format!("choice {}", choice.as_str().unwrap_or("auto")));
}

pub(crate) fn function_tool(function: &Value, space: &str, schema: &str, facts: &mut Facts) {
    facts.add(format!(
        "tool {space} {} {:?} {:?} schema {}",
        word(function, "name"),
        or_dash(function, "description"),
        function["strict"].as_bool(),
        json_or_none(&function[schema])
    ));
}

pub(crate) fn custom_tool(custom: &Value, space: &str, format: &str, facts: &mut Facts) {
    facts.add(format!(
        "tool {space} {} {:?} None text {format}",
        word(custom, "name"),
        or_dash(custom, "description"),
    ));
}
