//! Changes values to what the schema asks for, where there is one way to do so.
//!
//! A string becomes a number, a boolean, an object or an array where the schema takes no string;
//! a lone value becomes an array of one; a word takes the case of the enum. Where the schema takes
//! a string, a string stays as it is. The text of numbers is never touched.

use serde_json::Value;

use super::relaxed;
use super::shape::{Shape, Types, only};
use super::tree::Tree;

/// Enums up to this length are searched for a word in another case.
const MAX_LISTED: usize = 256;

/// Changes `tree` to fit `schema`; true if anything was changed.
pub(super) fn coerce<'s>(tree: &mut Tree, schema: &'s Value, shape: &Shape<'s>) -> bool {
    if !shape.step() {
        return false;
    }
    let types = shape.types(schema);
    let mut changed = false;
    if types.has(Types::STRING) {
        changed |= match_case(tree, schema, shape);
    } else if let Tree::String(text) = tree
        && let Some(value) = unquoted(text, types)
    {
        *tree = value;
        changed = true;
    }
    if types.has(Types::ARRAY) && !types.has(Types::of(tree)) && !matches!(tree, Tree::Null) {
        let value = std::mem::replace(tree, Tree::Null);
        *tree = Tree::Array(vec![value]);
        changed = true;
    }
    match tree {
        Tree::Array(values) => {
            for (at, value) in values.iter_mut().enumerate() {
                if let Some(element) = shape.element(schema, at) {
                    changed |= coerce(value, element, shape);
                }
            }
        }
        Tree::Object(members) => {
            for (key, value) in members {
                if let Some(member) = only(&shape.member(schema, key)) {
                    changed |= coerce(value, member, shape);
                }
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => {}
    }
    changed
}

/// What a string means where no string is allowed.
fn unquoted(text: &str, types: Types) -> Option<Tree> {
    let text = text.trim();
    if types.has(Types::NUMBER) && relaxed::is_number(text) {
        return Some(Tree::Number(text.to_owned()));
    }
    if types.has(Types::INTEGER) && relaxed::is_number(text) && !text.contains(['.', 'e', 'E']) {
        return Some(Tree::Number(text.to_owned()));
    }
    if types.has(Types::BOOLEAN) {
        for (word, value) in [("true", true), ("false", false)] {
            if text.eq_ignore_ascii_case(word) {
                return Some(Tree::Bool(value));
            }
        }
    }
    if types.has(Types::NULL) && text == "null" {
        return Some(Tree::Null);
    }
    if types.has(Types::ARRAY) || types.has(Types::OBJECT) {
        let (value, _) = relaxed::read_whole(text)?;
        let wanted = matches!(value, Tree::Array(_) | Tree::Object(_));
        return (wanted && types.has(Types::of(&value))).then_some(value);
    }
    None
}

/// Gives a word the case that the enum has it in.
fn match_case<'s>(tree: &mut Tree, schema: &'s Value, shape: &Shape<'s>) -> bool {
    let Tree::String(text) = tree else { return false };
    let Some(listed) = shape.listed(schema) else { return false };
    if listed.len() > MAX_LISTED {
        return false;
    }
    let words = || listed.iter().filter_map(Value::as_str);
    if words().any(|word| word == text) {
        return false;
    }
    let meant = text.trim().to_lowercase();
    let mut alike = words().filter(|word| word.to_lowercase() == meant);
    match (alike.next(), alike.next()) {
        (Some(word), None) => {
            word.clone_into(text);
            true
        }
        _ => false,
    }
}
