//! A caller's JSON Schema: bounded, compiled, checked.
//!
//! A schema comes from a stranger and runs here, so before it is compiled it is measured. What a
//! validator does at one place of an answer is bounded by what the schema applies *in place*
//! (`allOf`, `anyOf`, `$ref` …); a schema that applies itself in place never ends, one that
//! doubles itself thirty times takes a lifetime, and one that recurses through several branches
//! multiplies with every level of the answer.

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

/// The largest schema, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// How deep a schema may nest.
const MAX_DEPTH: usize = 64;
/// How long a chain of schemas and references may be.
const MAX_CHAIN: usize = 256;
/// How many schemas may apply at one place.
const MAX_IN_PLACE: u64 = 2_000;
/// How many schemas there may be with every reference written out.
const MAX_EXPANDED: u64 = 1_000_000;
/// How many checks an answer may need in the worst case.
const MAX_CHECKS: u64 = 20_000_000;
/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 256 * 1024;
/// The longest sentence about a mismatch, in characters.
const MAX_WHY: usize = 300;

/// Keywords whose value is one schema for the same place.
const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is a list of schemas for the same place.
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value is a schema for what lies inside.
const INSIDE: [&str; 9] = [
    "additionalProperties",
    "items",
    "additionalItems",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "prefixItems",
];
/// Keywords whose value is an object of schemas for what lies inside.
const INSIDE_MAPS: [&str; 2] = ["properties", "patternProperties"];

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    validator: Box<Validator>,
    /// The most schemas that apply at one place.
    in_place: u64,
    /// Whether it refers to itself from inside.
    recursive: bool,
    unchecked: bool,
}

impl Schema {
    /// Reads and compiles a schema; the error ends a sentence.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it is larger than {MAX_BYTES} bytes"));
        }
        let mut value: Value =
            serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
        if !value.is_object() {
            return Err("it is not an object".to_owned());
        }
        let unchecked = drop_patterns(&mut value, 0)?;
        let (in_place, recursive) = measure(&value)?;
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN))
            .build(&value)
            .map_err(|error| cut(&error.to_string()))?;
        Ok(Self { validator: Box::new(validator), in_place, recursive, unchecked })
    }

    /// Whether a pattern had to be left out because the linear engine does not know it.
    pub(super) const fn leaves_patterns_unchecked(&self) -> bool {
        self.unchecked
    }

    /// Checks a value; the error ends a sentence.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let depth = u32::try_from(depth(value)).unwrap_or(u32::MAX);
        let per_place = if self.recursive {
            self.in_place.saturating_pow(depth)
        } else {
            self.in_place.saturating_mul(u64::from(depth))
        };
        if self.in_place > 1 && per_place > MAX_CHECKS {
            return Err("it nests too deep to be checked by this schema".to_owned());
        }
        match self.validator.validate(value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "the value".to_owned() } else { path };
                Err(cut(&format!("at {place}: {}", error.masked())))
            }
        }
    }
}

fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(MAX_WHY).collect()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Calls `each` with every schema inside one, and whether it applies at the same place.
fn inner<'v>(fields: &'v Map<String, Value>, each: &mut dyn FnMut(&'v Value, bool)) {
    for (key, value) in fields {
        let key = key.as_str();
        match value {
            Value::Array(items) if IN_PLACE_LISTS.contains(&key) => {
                for item in items {
                    each(item, true);
                }
            }
            Value::Array(items) if INSIDE.contains(&key) => {
                for item in items {
                    each(item, false);
                }
            }
            Value::Object(map) if key == "dependentSchemas" || key == "dependencies" => {
                for item in map.values() {
                    each(item, true);
                }
            }
            Value::Object(map) if INSIDE_MAPS.contains(&key) => {
                for item in map.values() {
                    each(item, false);
                }
            }
            value if IN_PLACE.contains(&key) => each(value, true),
            value if INSIDE.contains(&key) => each(value, false),
            _ => {}
        }
    }
}

/// Removes patterns that the linear engine does not know; whether there were any.
fn drop_patterns(value: &mut Value, depth: usize) -> Result<bool, String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
    }
    let mut dropped = false;
    match value {
        Value::Array(items) => {
            for item in items {
                dropped |= drop_patterns(item, depth + 1)?;
            }
        }
        Value::Object(fields) => {
            let unknown =
                matches!(fields.get("pattern"), Some(Value::String(pattern)) if !is_known(pattern));
            if unknown {
                fields.remove("pattern");
                dropped = true;
            }
            if let Some(Value::Object(patterns)) = fields.get_mut("patternProperties") {
                let before = patterns.len();
                patterns.retain(|pattern, _| is_known(pattern));
                dropped |= patterns.len() < before;
            }
            for item in fields.values_mut() {
                dropped |= drop_patterns(item, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(dropped)
}

/// Whether the linear engine takes a pattern within its bounds.
fn is_known(pattern: &str) -> bool {
    let schema = serde_json::json!({ "pattern": pattern });
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN))
        .build(&schema)
        .is_ok()
}

/// The most schemas that apply at one place, and whether the schema recurses.
fn measure(root: &Value) -> Result<(u64, bool), String> {
    let mut measure =
        Measure { root, places: HashMap::new(), whole: HashMap::new(), most: 1, chain: 0 };
    refuse_foreign(root, 0)?;
    let (_, recursive) = measure.expand(root)?;
    Ok((measure.most, recursive))
}

/// Refuses references to anything outside, and those that are not followed here.
fn refuse_foreign(value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| refuse_foreign(item, depth + 1)),
        Value::Object(fields) => {
            for key in ["$dynamicRef", "$recursiveRef"] {
                if fields.get(key).is_some_and(Value::is_string) {
                    return Err(format!("`{key}` is not supported"));
                }
            }
            match fields.get("$ref") {
                Some(Value::String(target)) if !target.starts_with('#') => {
                    let shown: String = target.chars().take(80).collect();
                    return Err(format!(
                        "`$ref` names another document (`{shown}`), and nothing is fetched"
                    ));
                }
                _ => {}
            }
            fields.values().try_for_each(|item| refuse_foreign(item, depth + 1))
        }
        _ => Ok(()),
    }
}

struct Measure<'v> {
    root: &'v Value,
    /// Cost at one place by schema; `None` while it is being measured.
    places: HashMap<usize, Option<u64>>,
    /// Cost with everything inside, and whether it recurses; `None` while it is being measured.
    whole: HashMap<usize, Option<(u64, bool)>>,
    most: u64,
    chain: usize,
}

impl<'v> Measure<'v> {
    /// Counts a step deeper; a chain that is too long fails the whole measure.
    fn enter(&mut self) -> Result<(), String> {
        self.chain += 1;
        if self.chain > MAX_CHAIN {
            return Err("its references are too long a chain".to_owned());
        }
        Ok(())
    }

    fn target(&self, fields: &Map<String, Value>) -> Option<&'v Value> {
        let target = fields.get("$ref")?.as_str()?.strip_prefix('#')?;
        // Anchors are left to the validator; only a path can be followed here.
        self.root.pointer(target)
    }

    /// How many schemas apply at the place that this one applies to.
    fn place(&mut self, schema: &'v Value) -> Result<u64, String> {
        let Value::Object(fields) = schema else { return Ok(1) };
        let key = std::ptr::from_ref(schema).addr();
        match self.places.get(&key) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => return Err("it applies itself to the same place without end".to_owned()),
            None => {}
        }
        self.enter()?;
        self.places.insert(key, None);
        let mut parts = Vec::new();
        inner(fields, &mut |item, same| {
            if same {
                parts.push(item);
            }
        });
        parts.extend(self.target(fields));
        let mut cost = 1_u64;
        for part in parts {
            cost = cost.saturating_add(self.place(part)?);
        }
        if cost > MAX_IN_PLACE {
            return Err("it takes too long to check".to_owned());
        }
        self.most = self.most.max(cost);
        self.places.insert(key, Some(cost));
        self.chain -= 1;
        Ok(cost)
    }

    /// How many schemas there are with every reference written out once, and whether one refers
    /// to itself.
    fn expand(&mut self, schema: &'v Value) -> Result<(u64, bool), String> {
        let Value::Object(fields) = schema else { return Ok((1, false)) };
        let key = std::ptr::from_ref(schema).addr();
        match self.whole.get(&key) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Ok((1, true)),
            None => {}
        }
        self.place(schema)?;
        self.enter()?;
        self.whole.insert(key, None);
        let mut parts = Vec::new();
        inner(fields, &mut |item, _| parts.push(item));
        parts.extend(self.target(fields));
        let mut sum = (1_u64, false);
        for part in parts {
            let (cost, recursive) = self.expand(part)?;
            sum = (sum.0.saturating_add(cost), sum.1 | recursive);
        }
        if sum.0 > MAX_EXPANDED {
            return Err("it takes too long to check".to_owned());
        }
        self.whole.insert(key, Some(sum));
        self.chain -= 1;
        Ok(sum)
    }
}
