//! A caller's JSON Schema: bounded, compiled, checked.
//!
//! A schema comes from a stranger and runs here, so before it is compiled it is measured. What a
//! validator does at one place of an answer is bounded by what the schema applies *in place*
//! (`allOf`, `anyOf`, `$ref` …); a schema that applies itself in place never ends, one that
//! doubles itself thirty times takes a lifetime, and one that goes deeper through several branches
//! multiplies with every level of the answer (`work` below).

mod work;

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use work::Work;

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
/// How many steps the check of an answer may need in the worst case.
const MAX_STEPS: u64 = 100_000_000;
/// Up to how many steps the place of a mismatch is looked for: the validator keeps an error for
/// every branch that it has tried.
const MAX_EXPLAINED: u64 = 200_000;
/// How many patterns a schema may hold: each is compiled.
const MAX_PATTERNS: usize = 500;
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
    work: Work,
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
        let unchecked = drop_patterns(&mut value, 0, &mut 0)?;
        measure(&value)?;
        let work = Work::of(&value);
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN))
            .build(&value)
            .map_err(|error| cut(&error.to_string()))?;
        Ok(Self { validator: Box::new(validator), work, unchecked })
    }

    /// Whether a pattern had to be left out because the linear engine does not know it.
    pub(super) const fn leaves_patterns_unchecked(&self) -> bool {
        self.unchecked
    }

    /// Checks a value; the error ends a sentence.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let steps = self.work.on(value);
        if steps > MAX_STEPS {
            return Err("it is too large or too deep to be checked by this schema".to_owned());
        }
        if steps > MAX_EXPLAINED {
            let valid = self.validator.is_valid(value);
            return if valid { Ok(()) } else { Err("it does not match the schema".to_owned()) };
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

/// Where a schema inside another one applies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applies {
    /// At the same place.
    Here,
    /// One level deeper; of its like, one to each value.
    ToOne,
    /// One level deeper, to every value.
    ToAll,
}

/// Calls `each` with every schema inside one, and where it applies.
fn inner<'v>(fields: &'v Map<String, Value>, each: &mut dyn FnMut(&'v Value, Applies)) {
    for (key, value) in fields {
        let key = key.as_str();
        match value {
            Value::Array(items) if IN_PLACE_LISTS.contains(&key) => {
                for item in items {
                    each(item, Applies::Here);
                }
            }
            Value::Array(items) if INSIDE.contains(&key) => {
                for item in items {
                    each(item, Applies::ToOne);
                }
            }
            Value::Object(map) if key == "dependentSchemas" || key == "dependencies" => {
                for item in map.values() {
                    each(item, Applies::Here);
                }
            }
            Value::Object(map) if INSIDE_MAPS.contains(&key) => {
                let applies = if key == "properties" { Applies::ToOne } else { Applies::ToAll };
                for item in map.values() {
                    each(item, applies);
                }
            }
            value if IN_PLACE.contains(&key) => each(value, Applies::Here),
            value if INSIDE.contains(&key) => each(value, Applies::ToAll),
            _ => {}
        }
    }
}

/// Removes patterns that the linear engine does not know; whether there were any.
fn drop_patterns(value: &mut Value, depth: usize, seen: &mut usize) -> Result<bool, String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
    }
    let mut dropped = false;
    match value {
        Value::Array(items) => {
            for item in items {
                dropped |= drop_patterns(item, depth + 1, seen)?;
            }
        }
        Value::Object(fields) => {
            let named = fields.get("patternProperties").and_then(Value::as_object);
            *seen += usize::from(fields.get("pattern").is_some_and(Value::is_string))
                + named.map_or(0, Map::len);
            if *seen > MAX_PATTERNS {
                return Err(format!("it holds more than {MAX_PATTERNS} patterns"));
            }
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
                dropped |= drop_patterns(item, depth + 1, seen)?;
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

/// Refuses a schema that does not end, or grows beyond measure.
fn measure(root: &Value) -> Result<(), String> {
    refuse_foreign(root, root, 0)?;
    let mut measure = Measure { root, places: HashMap::new(), whole: HashMap::new(), chain: 0 };
    measure.expand(root)?;
    Ok(())
}

/// The schema that another one refers to.
fn target<'v>(root: &'v Value, fields: &Map<String, Value>) -> Option<&'v Value> {
    root.pointer(fields.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// Refuses references to anything outside, and whatever would lead the validator elsewhere than
/// is followed here: what is not followed is not measured.
fn refuse_foreign(root: &Value, value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
    }
    match value {
        Value::Array(items) => {
            items.iter().try_for_each(|item| refuse_foreign(root, item, depth + 1))
        }
        Value::Object(fields) => {
            for key in ["$dynamicRef", "$recursiveRef"] {
                if fields.get(key).is_some_and(Value::is_string) {
                    return Err(format!("`{key}` is not supported"));
                }
            }
            // Below it, `#` is another place. Old drafts spell it without the dollar sign.
            let old = root.get("$schema").and_then(Value::as_str);
            let old =
                old.is_some_and(|draft| draft.contains("draft-03") || draft.contains("draft-04"));
            let inside = depth > 0;
            for key in ["$id", "id", "$schema"] {
                let counts = inside && (old || key != "id");
                if counts && fields.get(key).is_some_and(Value::is_string) {
                    return Err(format!("`{key}` is not supported inside of it"));
                }
            }
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let shown: String = reference.chars().take(80).collect();
                if !reference.starts_with('#') {
                    return Err(format!(
                        "`$ref` names another document (`{shown}`), and nothing is fetched"
                    ));
                }
                // An encoded path means another one than it says.
                if reference.contains('%') || target(root, fields).is_none() {
                    return Err(format!(
                        "`$ref` can only be a path to a schema inside of it, which `{shown}` is not"
                    ));
                }
            }
            fields.values().try_for_each(|item| refuse_foreign(root, item, depth + 1))
        }
        _ => Ok(()),
    }
}

struct Measure<'v> {
    root: &'v Value,
    /// Cost at one place by schema; `None` while it is being measured.
    places: HashMap<usize, Option<u64>>,
    /// Cost with everything inside; `None` while it is being measured.
    whole: HashMap<usize, Option<u64>>,
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
            if same == Applies::Here {
                parts.push(item);
            }
        });
        parts.extend(target(self.root, fields));
        let mut cost = 1_u64;
        for part in parts {
            cost = cost.saturating_add(self.place(part)?);
        }
        if cost > MAX_IN_PLACE {
            return Err("it takes too long to check".to_owned());
        }
        self.places.insert(key, Some(cost));
        self.chain -= 1;
        Ok(cost)
    }

    /// How many schemas there are with every reference written out once.
    fn expand(&mut self, schema: &'v Value) -> Result<u64, String> {
        let Value::Object(fields) = schema else { return Ok(1) };
        let key = std::ptr::from_ref(schema).addr();
        match self.whole.get(&key) {
            Some(Some(known)) => return Ok(*known),
            // It refers to itself from inside, which ends with the answer.
            Some(None) => return Ok(1),
            None => {}
        }
        self.place(schema)?;
        self.enter()?;
        self.whole.insert(key, None);
        let mut parts = Vec::new();
        inner(fields, &mut |item, _| parts.push(item));
        parts.extend(target(self.root, fields));
        let mut sum = 1_u64;
        for part in parts {
            sum = sum.saturating_add(self.expand(part)?);
        }
        if sum > MAX_EXPANDED {
            return Err("it takes too long to check".to_owned());
        }
        self.whole.insert(key, Some(sum));
        self.chain -= 1;
        Ok(sum)
    }
}
