//! How much work an answer is to check.
//!
//! A schema is taken as a graph: what applies at the same place, and what applies one level
//! deeper. For each depth of the answer it says how many steps one value there costs at most, so
//! that the bound follows the answer and not just its depth.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Applies, inner, target};

/// Steps for a pattern and 16 bytes of text: the slowest patterns take that much longer.
const PATTERN: u64 = 256;

/// A schema in the graph.
#[derive(Debug, Default)]
struct Part {
    /// Steps of its own at one place.
    own: u64,
    /// What applies at the same place.
    same: Vec<usize>,
    /// What applies one level deeper, one of them to each value.
    one_of: Vec<usize>,
    /// What applies one level deeper, all of them to each value.
    all_of: Vec<usize>,
    /// Whether it asks what the others have looked at, for which they are run once more.
    unevaluated: bool,
}

/// The steps of a schema and all below it, at one depth.
#[derive(Clone, Copy, Default)]
struct Steps {
    check: u64,
    /// Finding out what was looked at.
    mark: u64,
    known: bool,
}

/// A schema as a graph; the first part is its root.
#[derive(Debug)]
pub(super) struct Work {
    parts: Vec<Part>,
}

impl Work {
    /// The graph of a schema that applies nothing to its own place without end.
    pub(super) fn of(root: &Value) -> Self {
        let mut ids = HashMap::from([(std::ptr::from_ref(root).addr(), 0)]);
        let mut schemas = vec![root];
        let mut parts = Vec::new();
        while let Some(schema) = schemas.get(parts.len()).copied() {
            let mut part = Part { own: 1, ..Part::default() };
            if let Value::Object(fields) = schema {
                part.own = own(fields);
                part.unevaluated = fields.keys().any(|key| key.starts_with("unevaluated"));
                let mut found: Vec<(&Value, Applies)> = Vec::new();
                inner(fields, &mut |item, applies| found.push((item, applies)));
                found.extend(target(root, fields).map(|item| (item, Applies::Here)));
                for (item, applies) in found {
                    let at = *ids.entry(std::ptr::from_ref(item).addr()).or_insert(schemas.len());
                    if at == schemas.len() {
                        schemas.push(item);
                    }
                    match applies {
                        Applies::Here => part.same.push(at),
                        Applies::ToOne => part.one_of.push(at),
                        Applies::ToAll => part.all_of.push(at),
                    }
                }
            }
            parts.push(part);
        }
        Self { parts }
    }

    /// The most steps that checking this value can take.
    pub(super) fn on(&self, value: &Value) -> u64 {
        let mut sizes = Vec::new();
        sum_sizes(value, 0, &mut sizes);
        let mut above: Vec<Steps> = Vec::new();
        let mut all = 0_u64;
        for size in sizes {
            let mut steps = vec![Steps::default(); self.parts.len()];
            for at in 0..self.parts.len() {
                self.at(at, &above, &mut steps);
            }
            let root = steps.first().map_or(0, |root| root.check);
            all = all.saturating_add(root.saturating_mul(size));
            above = steps;
        }
        all
    }

    /// The steps of a part. `above` are those one level nearer to the root of the answer, and
    /// empty at that root. As deep as the chain of schemas at one place, which is bounded.
    fn at(&self, at: usize, above: &[Steps], steps: &mut [Steps]) -> Steps {
        let Some(part) = self.parts.get(at) else { return Steps::default() };
        match steps.get(at) {
            Some(steps) if steps.known => return *steps,
            _ => {}
        }
        let check = |at: &usize| above.get(*at).map_or(0, |steps| steps.check);
        let own = if above.is_empty() {
            part.own
        } else {
            let most = part.one_of.iter().map(check).max().unwrap_or(0);
            part.all_of.iter().map(check).fold(most, u64::saturating_add)
        };
        let mut sum = Steps { check: own, mark: own, known: true };
        for same in &part.same {
            let inner = self.at(*same, above, steps);
            sum.check = sum.check.saturating_add(inner.check);
            sum.mark = sum.mark.saturating_add(inner.check).saturating_add(inner.mark);
            if part.unevaluated {
                sum.check = sum.check.saturating_add(inner.mark);
                sum.mark = sum.mark.saturating_add(inner.mark);
            }
        }
        if let Some(slot) = steps.get_mut(at) {
            *slot = sum;
        }
        sum
    }
}

/// The steps of a schema's own keywords at one place.
fn own(fields: &Map<String, Value>) -> u64 {
    let listed = |value: &Value| match value {
        // Strings are looked up in a set.
        Value::Array(items) if items.iter().all(Value::is_string) => 10,
        value => nodes(value),
    };
    let mut own = 1 + fields.get("enum").map_or(0, listed) + fields.get("const").map_or(0, nodes);
    for key in ["required", "dependentRequired", "dependencies"] {
        own += fields.get(key).map_or(0, nodes);
    }
    if fields.contains_key("pattern") {
        own += PATTERN;
    }
    if let Some(Value::Object(patterns)) = fields.get("patternProperties") {
        own += PATTERN.saturating_mul(u64::try_from(patterns.len()).unwrap_or(u64::MAX));
    }
    own
}

fn nodes(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(nodes).sum::<u64>(),
        _ => 1,
    }
}

/// Adds up how much stands at each depth of a value: its parts, and their texts.
fn sum_sizes(value: &Value, depth: usize, sizes: &mut Vec<u64>) {
    let text = |text: &str| u64::try_from(text.len() / 16).unwrap_or(u64::MAX);
    if sizes.len() <= depth {
        sizes.resize(depth + 1, 0);
    }
    let mut size = 1;
    match value {
        Value::String(string) => size += text(string),
        Value::Array(items) => items.iter().for_each(|item| sum_sizes(item, depth + 1, sizes)),
        Value::Object(fields) => {
            for (key, item) in fields {
                // The patterns of names are those of the object.
                size += 1 + text(key);
                sum_sizes(item, depth + 1, sizes);
            }
        }
        _ => {}
    }
    if let Some(slot) = sizes.get_mut(depth) {
        *slot += size;
    }
}
