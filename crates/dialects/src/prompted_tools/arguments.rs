//! Arguments between markup and JSON.
//!
//! In markup a string parameter is raw text and everything else is JSON. Which of the two a value
//! is follows from the schema alone, unless the tag says it (`type="json"`, `type="string"`). The
//! writer of the history says it exactly where the reader would otherwise read another value, so
//! reading is the inverse of writing whatever the schema.

use std::borrow::Cow;

use model::{Json, ToolCallInput};
use serde_json::Value;

use super::coerce::coerce;
use super::relaxed;
use super::shape::{Shape, Types, only};
use super::tree::Tree;

/// How the text of an argument is written, where its tag says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As raw text.
    Text,
    /// As JSON.
    Json,
}

/// One argument in markup.
#[derive(Clone, Debug)]
pub(super) struct Argument<'t> {
    /// Its name; without one it is the whole input.
    pub(super) name: Option<String>,
    pub(super) form: Option<Form>,
    pub(super) text: Cow<'t, str>,
}

/// The input of a call, and whether its arguments were mended or changed.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) input: ToolCallInput,
    pub(super) mended: bool,
}

/// Composes the input of a function call from arguments in markup.
pub(super) fn from_markup(arguments: Vec<Argument<'_>>, schema: Option<&Value>) -> Composed {
    let shape = Shape::new(schema.unwrap_or(&Value::Null));
    let mut members: Vec<(String, Tree)> = Vec::with_capacity(arguments.len());
    let mut mended = false;
    for argument in arguments {
        let Some(name) = argument.name else {
            // What the tag says is not second-guessed.
            let schema = if argument.form == Some(Form::Json) { None } else { schema };
            return from_json_text(&argument.text, schema);
        };
        let (value, changed) = read_value(&argument.text, argument.form, &name, &shape);
        mended |= changed;
        members.push((name, value));
    }
    let given = members.len();
    let tree = Tree::object(members);
    if let Tree::Object(kept) = &tree {
        mended |= kept.len() < given;
    }
    composed(&tree, mended)
}

/// Composes the input of a function call from JSON text.
pub(super) fn from_json_text(text: &str, schema: Option<&Value>) -> Composed {
    match relaxed::read_whole(text) {
        Some((tree, mended)) => from_tree(tree, schema, mended),
        None => Composed { input: ToolCallInput::Broken(text.trim().to_owned()), mended: true },
    }
}

/// Composes the input of a function call from a JSON value.
pub(super) fn from_tree(mut tree: Tree, schema: Option<&Value>, mended: bool) -> Composed {
    let mut mended = mended;
    if let Tree::String(text) = &tree
        && let Some((inner @ Tree::Object(_), _)) = relaxed::read_whole(text)
    {
        tree = inner;
        mended = true;
    }
    if let (Some(schema), Tree::Object(_)) = (schema, &tree) {
        let shape = Shape::new(schema);
        mended |= coerce(&mut tree, shape.root(), &shape);
    }
    composed(&tree, mended)
}

fn composed(tree: &Tree, mended: bool) -> Composed {
    let text = tree.to_text();
    match Json::from_compact(text.as_str()) {
        Some(json) => Composed { input: ToolCallInput::Json(json), mended },
        None => Composed { input: ToolCallInput::Broken(text), mended: true },
    }
}

/// Reads one value; true if it was mended or changed.
fn read_value(text: &str, form: Option<Form>, name: &str, shape: &Shape<'_>) -> (Tree, bool) {
    let schemas = shape.member(shape.root(), name);
    match form {
        // What the tag says is not second-guessed.
        Some(Form::Text) => return (Tree::String(text.to_owned()), false),
        Some(Form::Json) => {
            return match relaxed::read_whole(text) {
                Some((value, mended)) => (value, mended),
                None => (Tree::String(text.to_owned()), true),
            };
        }
        None => {}
    }
    let types = types_of(&schemas, shape);
    let (mut value, mut mended) = by_types(text, types);
    if let Some(schema) = only(&schemas) {
        mended |= coerce(&mut value, schema, shape);
    }
    (value, mended)
}

fn types_of<'s>(schemas: &[&'s Value], shape: &Shape<'s>) -> Types {
    match schemas {
        [] => Types::ANY,
        [schema] => shape.types(schema),
        several => match only(several) {
            Some(schema) => shape.types(schema),
            None => Types::ANY,
        },
    }
}

/// Reads a text as one of the types that are allowed.
fn by_types(text: &str, types: Types) -> (Tree, bool) {
    if !types.has(Types::STRING) {
        return match relaxed::read_whole(text) {
            Some((value, mended)) => (value, mended),
            None => (Tree::String(text.to_owned()), true),
        };
    }
    if types == Types::STRING {
        return (Tree::String(text.to_owned()), false);
    }
    // Several types are allowed: JSON of one of the others is that, all else is a string. Quotes
    // belong to a string, unless anything is allowed: then the rule is that values are JSON.
    match relaxed::read_strict(text) {
        Some(value) if types == Types::ANY => (value, false),
        Some(value) if !matches!(value, Tree::String(_)) && types.has(Types::of(&value)) => {
            (value, false)
        }
        _ => (Tree::String(text.to_owned()), false),
    }
}

/// The text of a value in markup, and the form that its tag must name.
pub(super) fn write_value<'t>(
    value: &'t Tree,
    name: &str,
    shape: &Shape<'_>,
) -> (Cow<'t, str>, Option<Form>) {
    let (text, form) = match value {
        Tree::String(text) => (Cow::Borrowed(text.as_str()), Form::Text),
        other => (Cow::Owned(other.to_text()), Form::Json),
    };
    let (read, mended) = read_value(&text, None, name, shape);
    // Without the schema nobody knows how it would be read.
    let said = (mended || read != *value || shape.left() == 0).then_some(form);
    (text, said)
}
