//! JSON as a tree that keeps key order and the text of numbers.

use std::collections::HashMap;

use crate::json::push_string;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// The digits as they came.
    Number(String),
    String(String),
    Array(Vec<Self>),
    /// Members in their order, each key once.
    Object(Vec<(String, Self)>),
}

impl Tree {
    /// An object. Of members with the same key the last one counts, in the place of the first.
    pub(super) fn object(members: Vec<(String, Self)>) -> Self {
        let mut places = HashMap::with_capacity(members.len());
        let mut kept: Vec<(String, Self)> = Vec::with_capacity(members.len());
        for (key, value) in members {
            if let Some((_, slot)) = places.get(&key).and_then(|at: &usize| kept.get_mut(*at)) {
                *slot = value;
            } else {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
        Self::Object(kept)
    }

    /// The value of a member, if it is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as compact JSON.
    pub(super) fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.push(&mut out);
        // Only text was pushed.
        String::from_utf8(out).unwrap_or_default()
    }

    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::String(text) => push_string(out, text),
            Self::Array(values) => {
                out.push(b'[');
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.push(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    push_string(out, key);
                    out.push(b':');
                    value.push(out);
                }
                out.push(b'}');
            }
        }
    }
}
