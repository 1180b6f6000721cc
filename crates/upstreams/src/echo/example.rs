//! The least value that a simple JSON Schema allows.
//!
//! It looks at what says directly what a value is (`const`, `enum`, `type` with its bounds,
//! `required`, references inside the schema) and takes the first branch of a choice. What it makes
//! may still break the schema; who needs to be sure checks it.

use serde_json::{Map, Number, Value};

/// How many bytes an example may have, about: references can double themselves.
const MAX_BYTES: usize = 100_000;
/// How deep it may nest, references counted.
const MAX_DEPTH: usize = 64;

/// An example of a schema, if one is found.
pub(super) fn of(schema: &Value) -> Option<Value> {
    Maker { root: schema, left: MAX_BYTES }.make(schema, 0)
}

struct Maker<'s> {
    root: &'s Value,
    left: usize,
}

impl<'s> Maker<'s> {
    fn make(&mut self, schema: &'s Value, depth: usize) -> Option<Value> {
        self.charge(2)?;
        if depth > MAX_DEPTH {
            return None;
        }
        let Value::Object(fields) = schema else {
            return (schema == &Value::Bool(true)).then_some(Value::Null);
        };
        if let Some(value) = fields.get("const") {
            return self.copy(value);
        }
        if let Some(Value::Array(values)) = fields.get("enum") {
            return self.copy(values.first()?);
        }
        if let Some(Value::String(reference)) = fields.get("$ref") {
            let target = self.root.pointer(reference.strip_prefix('#')?)?;
            return self.make(target, depth + 1);
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            if let Some(Value::Array(branches)) = fields.get(choice)
                && !fields.contains_key("type")
            {
                return branches.iter().find_map(|branch| self.make(branch, depth + 1));
            }
        }
        match kind(fields) {
            Some("object") => self.object(fields, depth),
            Some("array") => self.array(fields, depth),
            Some("string") => self.text(fields),
            Some("integer") => number(fields, true),
            Some("number") => number(fields, false),
            Some("boolean") => Some(Value::Bool(false)),
            Some("null") | None => Some(Value::Null),
            Some(_) => None,
        }
    }

    fn object(&mut self, fields: &'s Map<String, Value>, depth: usize) -> Option<Value> {
        let mut object = Map::new();
        let properties = fields.get("properties").and_then(Value::as_object);
        let required = fields.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            self.charge(name.len())?;
            let value = match properties.and_then(|properties| properties.get(name)) {
                Some(property) => self.make(property, depth + 1)?,
                None => Value::Null,
            };
            object.insert(name.to_owned(), value);
        }
        Some(Value::Object(object))
    }

    fn array(&mut self, fields: &'s Map<String, Value>, depth: usize) -> Option<Value> {
        let least = fields.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let first = fields.get("prefixItems").and_then(Value::as_array);
        let mut items = Vec::new();
        for at in 0..usize::try_from(least).ok()? {
            let schema = first.and_then(|first| first.get(at)).or_else(|| fields.get("items"));
            items.push(self.make(schema.unwrap_or(&Value::Bool(true)), depth + 1)?);
        }
        Some(Value::Array(items))
    }

    fn text(&mut self, fields: &Map<String, Value>) -> Option<Value> {
        let text = match fields.get("format").and_then(Value::as_str) {
            Some("date-time") => "2000-01-01T00:00:00Z",
            Some("date") => "2000-01-01",
            Some("time") => "00:00:00Z",
            Some("email") => "echo@example.com",
            Some("uri") => "https://example.com/",
            Some("uuid") => "00000000-0000-0000-0000-000000000000",
            _ => "",
        };
        let least = fields.get("minLength").and_then(Value::as_u64).unwrap_or(0);
        let missing = usize::try_from(least).ok()?.saturating_sub(text.len());
        self.charge(missing)?;
        Some(Value::String(format!("{text}{}", "x".repeat(missing))))
    }

    fn copy(&mut self, value: &Value) -> Option<Value> {
        self.charge(value.to_string().len())?;
        Some(value.clone())
    }

    fn charge(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }
}

/// What kind of value a schema wants: the first that it names, or what its other words speak of.
fn kind(fields: &Map<String, Value>) -> Option<&str> {
    match fields.get("type") {
        Some(Value::String(kind)) => Some(kind),
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        _ if fields.contains_key("properties") || fields.contains_key("required") => Some("object"),
        _ if fields.contains_key("items") || fields.contains_key("minItems") => Some("array"),
        _ if fields.contains_key("minLength") || fields.contains_key("format") => Some("string"),
        _ if fields.contains_key("minimum") || fields.contains_key("maximum") => Some("number"),
        _ => None,
    }
}

/// Zero, or the number nearest to it within the bounds.
fn number(fields: &Map<String, Value>, whole: bool) -> Option<Value> {
    let bound = |name| fields.get(name).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0).unwrap_or(1.0);
    let mut value = 0.0_f64;
    for (name, strict) in [("minimum", false), ("exclusiveMinimum", true)] {
        if let Some(least) = bound(name)
            && (value < least || (strict && value <= least))
        {
            value = (least / step).ceil() * step;
            value += if strict && value <= least { step } else { 0.0 };
        }
    }
    for (name, strict) in [("maximum", false), ("exclusiveMaximum", true)] {
        if let Some(most) = bound(name)
            && (value > most || (strict && value >= most))
        {
            value = (most / step).floor() * step;
            value -= if strict && value >= most { step } else { 0.0 };
        }
    }
    if whole || value.fract() == 0.0 {
        let text = format!("{value:.0}");
        let text = if text == "-0" { "0" } else { &text };
        return text.parse::<i64>().ok().map(Value::from);
    }
    Number::from_f64(value).map(Value::Number)
}
