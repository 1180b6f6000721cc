//! A call while it is read, and how it becomes a call of the caller's tool.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use model::{ToolCall, ToolCallInput, ToolInput};

use super::ToolPrompt;
use super::arguments::{self, Argument, Composed};
use super::relaxed;
use super::shape::Shape;
use super::tree::Tree;

/// Calls that are taken from one reply.
pub(super) const MAX_CALLS: usize = 128;

/// What stands in a call.
#[derive(Clone, Debug)]
pub(super) enum Body<'t> {
    /// Arguments in markup, perhaps none.
    Markup(Vec<Argument<'t>>),
    /// A JSON value; true where it was mended.
    Json(Tree, bool),
    /// Text that is neither: what a free-text tool gets.
    Text(&'t str),
}

/// A call as the model wrote it.
#[derive(Clone, Debug)]
pub(super) struct Draft<'t> {
    pub(super) name: String,
    pub(super) body: Body<'t>,
    /// Where it stands in the reply.
    pub(super) span: Range<usize>,
    /// The call alone, where it came as JSON.
    pub(super) canonical: Option<String>,
    /// Whether its end was written.
    pub(super) closed: bool,
}

impl<'t> Draft<'t> {
    pub(super) fn new(name: impl Into<String>, span: Range<usize>) -> Self {
        Self {
            name: name.into(),
            body: Body::Markup(Vec::new()),
            span,
            canonical: None,
            closed: false,
        }
    }

    pub(super) fn push(&mut self, argument: Argument<'t>) {
        match &mut self.body {
            Body::Markup(arguments) => arguments.push(argument),
            // A model that writes both means the arguments.
            body => *body = Body::Markup(vec![argument]),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.body, Body::Markup(arguments) if arguments.is_empty())
    }
}

impl ToolPrompt<'_> {
    /// Whether the tool of a draft takes free text.
    pub(super) fn takes_text(&self, draft: &Draft<'_>) -> bool {
        self.meant(draft)
            .is_some_and(|(_, entry)| matches!(entry.tool.input, ToolInput::FreeText(_)))
    }

    /// Whether a draft without its end is one all the same: it has every argument that its tool
    /// requires, and so nothing but the end is missing.
    pub(super) fn is_complete(&self, draft: &Draft<'_>) -> bool {
        if draft.closed {
            return true;
        }
        let Some((at, entry)) = self.meant(draft) else { return false };
        if matches!(entry.tool.input, ToolInput::FreeText(_)) {
            return !draft.is_empty();
        }
        let Some(schema) = self.schema(at) else { return true };
        let shape = Shape::new(schema);
        match &draft.body {
            Body::Markup(arguments) if arguments.is_empty() => !shape.names_members(),
            Body::Markup(arguments) => {
                let whole = arguments.iter().any(|given| given.name.is_none());
                let names: HashSet<&str> =
                    arguments.iter().filter_map(|given| given.name.as_deref()).collect();
                whole || shape.required().iter().all(|name| names.contains(name))
            }
            Body::Json(..) => true,
            Body::Text(_) => false,
        }
    }

    /// Whether the arguments of a draft are such as its tool names: all that it requires, and no
    /// others.
    pub(super) fn fits(&self, draft: &Draft<'_>) -> bool {
        let Some((at, entry)) = self.meant(draft) else { return false };
        let tree = match (&draft.body, &entry.tool.input) {
            (Body::Json(tree, _), ToolInput::Schema(_)) => tree,
            (Body::Json(Tree::String(_), _), ToolInput::FreeText(_)) => return true,
            _ => return false,
        };
        let inner = tree.as_str().and_then(relaxed::read_whole).map(|(inner, _)| inner);
        let Tree::Object(members) = inner.as_ref().unwrap_or(tree) else { return false };
        let Some(schema) = self.schema(at) else { return members.is_empty() };
        let shape = Shape::new(schema);
        let named = |key: &str| !shape.member(shape.root(), key).is_empty();
        let given: HashSet<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        shape.required().iter().all(|name| given.contains(name))
            && (!shape.names_members() || members.iter().all(|(key, _)| named(key)))
    }

    /// Makes the call; true where its arguments were mended. `None` if no tool is meant.
    pub(super) fn call(&self, draft: Draft<'_>) -> Option<(ToolCall, bool)> {
        let (at, entry) = self.meant(&draft)?;
        let name = entry.name.clone().into_owned();
        let composed = if matches!(entry.tool.input, ToolInput::FreeText(_)) {
            free_text(draft.body)
        } else {
            let schema = self.schema(at);
            match draft.body {
                Body::Markup(given) => arguments::from_markup(given, schema),
                Body::Json(tree, mended) => arguments::from_tree(tree, schema, mended),
                Body::Text(text) => arguments::from_json_text(text, schema),
            }
        };
        let mut call = ToolCall {
            id: String::new(),
            item_id: None,
            name,
            namespace: None,
            input: composed.input,
            cache: None,
        };
        self.table.restore(&mut call).then_some((call, composed.mended))
    }

    fn meant(&self, draft: &Draft<'_>) -> Option<(usize, &crate::ToolEntry<'_>)> {
        let at = super::names::resolve(self.table, &draft.name)?;
        Some((at, self.table.entries().get(at)?))
    }
}

/// The text for a free-text tool: its one argument, whatever the model called it.
fn free_text(body: Body<'_>) -> Composed {
    let (text, mended) = match body {
        Body::Text(text) => (text.to_owned(), false),
        Body::Markup(given) => {
            let named = given.iter().position(|argument| argument.name.as_deref() == Some("input"));
            let many = given.len() > 1;
            let chosen = given.into_iter().nth(named.unwrap_or(0));
            (chosen.map(|argument| argument.text.into_owned()).unwrap_or_default(), many)
        }
        Body::Json(Tree::String(text), mended) => (text, mended),
        Body::Json(tree, mended) => match &tree {
            Tree::Object(members) => match members.as_slice() {
                [(_, Tree::String(text))] => (text.clone(), mended),
                _ => (tree.to_text(), true),
            },
            _ => (tree.to_text(), true),
        },
    };
    Composed { input: ToolCallInput::Text(text), mended }
}

/// The text of an argument: without the line break behind the opening tag and the one before the
/// closing tag.
pub(super) fn without_line_breaks(text: &str) -> &str {
    let (text, wide) = match (text.strip_prefix("\r\n"), text.strip_prefix('\n')) {
        (Some(text), _) => (text, true),
        (None, Some(text)) => (text, false),
        (None, None) => (text, false),
    };
    match text.strip_suffix('\n') {
        // A carriage return is part of the value unless the lines of the reply end like this.
        Some(text) if wide => text.strip_suffix('\r').unwrap_or(text),
        Some(text) => text,
        None => text,
    }
}

/// An argument from the text between its tags.
pub(super) fn argument<'t>(
    name: Option<Cow<'_, str>>,
    form: Option<Cow<'_, str>>,
    text: Cow<'t, str>,
) -> Argument<'t> {
    let form = form.and_then(|form| match form.as_ref() {
        "json" => Some(arguments::Form::Json),
        "string" => Some(arguments::Form::Text),
        _ => None,
    });
    Argument { name: name.map(Cow::into_owned), form, text }
}
