//! What a schema says about a value: its types, and the schemas of its parts.
//!
//! Only what coercion needs. References are followed inside the schema and nowhere else; every
//! question costs from one budget, so that a schema that refers to itself ends.

use std::cell::Cell;

use serde_json::Value;

use super::tree::Tree;

/// References and branches that are followed one behind the other.
const MAX_HOPS: usize = 16;

/// Steps for all questions of one call in a reply.
const STEPS: u32 = 20_000;

/// A set of JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const STRING: Self = Self(1);
    pub(super) const NUMBER: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const BOOLEAN: Self = Self(8);
    pub(super) const NULL: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ANY: Self = Self(127);

    /// Whether any of `others` is in the set.
    pub(super) const fn has(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// A number may be an integer, and an integer is a number.
    const NUMBERS: Self = Self(2 | 4);

    fn named(name: &str) -> Self {
        match name {
            "string" => Self::STRING,
            "number" => Self::NUMBERS,
            "integer" => Self::INTEGER,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ANY,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(_) => Self::NUMBERS,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// The types that a value has.
    pub(super) fn of(tree: &Tree) -> Self {
        match tree {
            Tree::Null => Self::NULL,
            Tree::Bool(_) => Self::BOOLEAN,
            Tree::Number(text) if text.contains(['.', 'e', 'E']) => Self::NUMBER,
            Tree::Number(_) => Self::NUMBERS,
            Tree::String(_) => Self::STRING,
            Tree::Array(_) => Self::ARRAY,
            Tree::Object(_) => Self::OBJECT,
        }
    }
}

/// A schema and the budget for asking it.
#[derive(Debug)]
pub(super) struct Shape<'s> {
    root: &'s Value,
    steps: Cell<u32>,
}

impl<'s> Shape<'s> {
    pub(super) fn new(root: &'s Value) -> Self {
        Self::within(root, STEPS)
    }

    /// With a budget that several schemas share, one after the other.
    pub(super) fn within(root: &'s Value, steps: u32) -> Self {
        Self { root, steps: Cell::new(steps) }
    }

    /// What is left of the budget. With nothing left the answers are those of an empty schema.
    pub(super) fn left(&self) -> u32 {
        self.steps.get()
    }

    pub(super) const fn root(&self) -> &'s Value {
        self.root
    }

    /// Takes a step; false when there are none left.
    pub(super) fn step(&self) -> bool {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(1));
        left > 0
    }

    /// Follows local references.
    fn resolve(&self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..MAX_HOPS {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
            let target = reference.strip_prefix('#').and_then(|path| self.root.pointer(path));
            match target {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// The types that a schema allows.
    pub(super) fn types(&self, schema: &'s Value) -> Types {
        self.types_within(schema, 0)
    }

    fn types_within(&self, schema: &'s Value, hops: usize) -> Types {
        if hops > MAX_HOPS || !self.step() {
            return Types::ANY;
        }
        let schema = self.resolve(schema);
        let mut types = match schema.get("type") {
            Some(Value::String(name)) => Types::named(name),
            Some(Value::Array(names)) => {
                union(names.iter().filter_map(Value::as_str).map(Types::named))
            }
            _ => Types::ANY,
        };
        if let Some(value) = schema.get("const") {
            types = types.both(Types::of_value(value));
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            types = types.both(union(values.iter().map(Types::of_value)));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = schema.get(key) {
                let branches = branches.iter().map(|branch| self.types_within(branch, hops + 1));
                types = types.both(union(branches));
            }
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            for part in parts {
                types = types.both(self.types_within(part, hops + 1));
            }
        }
        if types == Types(0) { Types::ANY } else { types }
    }

    /// The schemas of a member, one for each branch that names it; those of all other members
    /// where none does.
    pub(super) fn member(&self, schema: &'s Value, key: &str) -> Vec<&'s Value> {
        let mut found = Vec::new();
        self.each_branch(schema, 0, &mut |branch| {
            found.extend(branch.get("properties").and_then(|members| members.get(key)));
        });
        if found.is_empty() {
            self.each_branch(schema, 0, &mut |branch| {
                found.extend(branch.get("additionalProperties").filter(|rest| rest.is_object()));
            });
        }
        found
    }

    /// The schema of an element, if there is one.
    pub(super) fn element(&self, schema: &'s Value, at: usize) -> Option<&'s Value> {
        let mut found = Vec::new();
        self.each_branch(schema, 0, &mut |branch| {
            let items = branch.get("items");
            let tuple = branch.get("prefixItems").or(items).and_then(Value::as_array);
            match tuple.and_then(|tuple| tuple.get(at)) {
                Some(element) => found.push(element),
                None => found.extend(items.filter(|items| items.is_object())),
            }
        });
        only(&found)
    }

    /// The values that a schema lists.
    pub(super) fn listed(&self, schema: &'s Value) -> Option<&'s Vec<Value>> {
        self.resolve(schema).get("enum").and_then(Value::as_array)
    }

    /// The names of the members that must be there.
    pub(super) fn required(&self) -> Vec<&'s str> {
        let mut names = Vec::new();
        self.each_branch(self.root, MAX_HOPS, &mut |branch| {
            let required = branch.get("required").and_then(Value::as_array);
            names.extend(required.into_iter().flatten().filter_map(Value::as_str));
        });
        names
    }

    /// Whether the schema names a member anywhere.
    pub(super) fn names_members(&self) -> bool {
        let mut any = false;
        self.each_branch(self.root, 0, &mut |branch| {
            let members = branch.get("properties").and_then(Value::as_object);
            any |= members.is_some_and(|members| !members.is_empty());
        });
        any
    }

    /// Visits a schema and the parts that it is made of.
    fn each_branch(&self, schema: &'s Value, hops: usize, visit: &mut dyn FnMut(&'s Value)) {
        if hops > MAX_HOPS || !self.step() {
            return;
        }
        let schema = self.resolve(schema);
        visit(schema);
        for key in ["allOf", "anyOf", "oneOf"] {
            let parts = schema.get(key).and_then(Value::as_array);
            for part in parts.into_iter().flatten() {
                self.each_branch(part, hops + 1, visit);
            }
        }
    }
}

fn union(types: impl Iterator<Item = Types>) -> Types {
    types.fold(Types(0), Types::with)
}

/// The only one of several, where they do not differ.
pub(super) fn only<'s>(schemas: &[&'s Value]) -> Option<&'s Value> {
    let (first, rest) = schemas.split_first()?;
    rest.iter().all(|other| other == first).then_some(*first)
}
