//! Reads tool calls in the markup of others, which models fall back to.
//!
//! Anybody can write such markup into a file that a model then repeats. So it counts only if the
//! reply holds none of ours, if it is the last thing in the reply and outside code fences, if
//! every name in it is that of a callable tool, and if none of its calls is copied from the
//! request. Everything else stays text. When in doubt it is text: the first markup in the reply
//! decides, and nothing inside of it is tried.

use std::ops::Range;

use super::copied::Copied;
use super::draft::{Body, Draft, MAX_CALLS, argument, without_line_breaks};
use super::own::plain_close;
use super::relaxed;
use super::tag::{Tag, Word};
use super::tree::Tree;
use super::{PromptedReply, ToolPrompt};
use model::{Loss, OutputFormat};

/// What may stand beside name and arguments in a call that is bare JSON.
const MEMBERS: [&str; 9] =
    ["name", "arguments", "parameters", "input", "id", "call_id", "type", "function", "index"];

/// What the `type` of a call in JSON may be.
const TYPES: [&str; 5] = ["function", "function_call", "tool_use", "tool_call", "custom_tool_call"];

/// Reads a reply without our markup.
pub(super) fn read(prompt: &ToolPrompt<'_>, text: &str, copied: &Copied<'_>) -> PromptedReply {
    let mut reply = PromptedReply { text: text.to_owned(), ..PromptedReply::default() };
    let Some(found) = find(prompt, text) else { return reply };
    let Some(drafts) = found.drafts else { return reply };
    let known =
        drafts.iter().all(|draft| super::names::resolve(prompt.table, &draft.name).is_some());
    if drafts.is_empty() || !known || (found.bare && !drafts.iter().all(|draft| prompt.fits(draft)))
    {
        return reply;
    }
    let quoted = |draft: &Draft<'_>| {
        let canonical = draft.canonical.as_deref().is_some_and(|text| copied.holds(text));
        canonical || copied.holds(text.get(draft.span.clone()).unwrap_or_default())
    };
    if drafts.len() > MAX_CALLS || drafts.iter().any(quoted) {
        reply.losses.insert(Loss::ToolMarkup);
        return reply;
    }
    let mut calls = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let Some((call, mended)) = prompt.call(draft) else {
            reply.losses.insert(Loss::ToolMarkup);
            return reply;
        };
        if mended {
            reply.losses.insert(Loss::ToolArguments);
        }
        calls.push(call);
    }
    reply.calls = calls;
    reply.text.truncate(found.start);
    reply.text.truncate(reply.text.trim_end().len());
    reply
}

/// Markup up to the end of a reply.
struct Found<'t> {
    start: usize,
    /// Whether it is JSON without tags around it.
    bare: bool,
    /// What it says, if it can be read to its end.
    drafts: Option<Vec<Draft<'t>>>,
}

/// Finds the first foreign markup outside code fences.
fn find<'t>(prompt: &ToolPrompt<'_>, text: &'t str) -> Option<Found<'t>> {
    let json_is_answer = !matches!(prompt.request.output, OutputFormat::Text);
    if let Some(start) = first_tag(text) {
        return Some(Found { start, bare: false, drafts: tagged(text, start) });
    }
    if json_is_answer {
        return None;
    }
    if let Some(start) = first_bracket(text) {
        return Some(Found { start, bare: true, drafts: json(text, start..text.len()) });
    }
    // A fence is a quotation. Only where a call is demanded, and the whole reply is one fence, can
    // it be nothing else.
    let inner = relaxed::unfenced(text).filter(|_| prompt.table.must_call())?;
    let start = text.find(inner)?;
    let drafts = json(text, start..start + inner.len());
    Some(Found { start: 0, bare: true, drafts })
}

/// The lines outside code fences, with their places.
fn open_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let mut fence: Option<(char, usize)> = None;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        let mark = trimmed.chars().next().filter(|first| matches!(first, '`' | '~'));
        let long = mark.map_or(0, |mark| trimmed.chars().take_while(|char| *char == mark).count());
        match (fence, mark) {
            (None, Some(mark)) if long >= 3 => {
                fence = Some((mark, long));
                None
            }
            (None, _) => Some((start, line)),
            (Some((open, length)), Some(mark)) if mark == open && long >= length => {
                if trimmed.len() == long {
                    fence = None;
                }
                None
            }
            (Some(_), _) => None,
        }
    })
}

/// The first tag of a call outside code fences and code in a line.
fn first_tag(text: &str) -> Option<usize> {
    open_lines(text).find_map(|(start, line)| {
        let mut quoted = false;
        memchr::memchr2_iter(b'<', b'`', line.as_bytes()).find_map(|at| {
            if line.as_bytes().get(at) == Some(&b'`') {
                quoted = !quoted;
            }
            if quoted {
                return None;
            }
            let tag = Tag::at(text, start + at, "")?;
            let opens = match tag.word {
                Word::Calls => true,
                Word::Call => tag.attribute("name").is_some(),
                Word::Argument | Word::Result | Word::Other => false,
            };
            (opens && !tag.closing).then_some(start + at)
        })
    })
}

/// The first line outside code fences that begins with a bracket.
fn first_bracket(text: &str) -> Option<usize> {
    open_lines(text).find_map(|(start, line)| {
        let trimmed = line.trim_start();
        trimmed.starts_with(['{', '[']).then_some(start + line.len() - trimmed.len())
    })
}

/// Reads calls between tags from `start` to the end of the text, where nothing else may stand.
fn tagged(text: &str, start: usize) -> Option<Vec<Draft<'_>>> {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let mut current: Option<Draft<'_>> = None;
    let mut at = start;
    loop {
        let rest = text.get(at..)?;
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        match trimmed.bytes().next() {
            None => return current.is_none().then_some(drafts),
            Some(b'{' | b'[') => {
                let reading = relaxed::read_start(trimmed).filter(|reading| !reading.cut)?;
                let end = at + reading.end;
                match &mut current {
                    Some(draft) if draft.is_empty() => {
                        draft.body = Body::Json(reading.tree, reading.mended);
                    }
                    Some(_) => return None,
                    None => {
                        drafts.extend(json_drafts(reading.tree, reading.mended, at..end, false)?);
                    }
                }
                at = end;
            }
            Some(_) => {
                let tag = Tag::at(text, at, "").filter(|tag| !tag.cut)?;
                at = tag.end;
                match (tag.word, tag.closing) {
                    (Word::Calls, _) => {
                        // The outer end ends a call too.
                        if let Some(mut draft) = current.take() {
                            draft.span.end = tag.start;
                            drafts.push(draft);
                        }
                    }
                    (Word::Call, false) if current.is_none() => {
                        current = Some(Draft::new(tag.attribute("name")?, tag.start..tag.end));
                    }
                    (Word::Call, true) => {
                        let mut draft = current.take()?;
                        draft.span.end = tag.end;
                        drafts.push(draft);
                    }
                    (Word::Argument, false) => {
                        let close = plain_close(text, &tag, text.len())?;
                        let value = text.get(tag.end..close.start)?;
                        let given = argument(
                            Some(tag.attribute("name")?),
                            None,
                            without_line_breaks(value).into(),
                        );
                        current.as_mut()?.push(given);
                        at = close.end;
                    }
                    _ => return None,
                }
            }
        }
        if drafts.len() > MAX_CALLS {
            return None;
        }
    }
}

/// Reads calls that are JSON values, one after the other, in `range` of the text.
fn json(text: &str, range: Range<usize>) -> Option<Vec<Draft<'_>>> {
    let mut drafts = Vec::new();
    let mut at = range.start;
    loop {
        let rest = text.get(at..range.end)?;
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if trimmed.is_empty() {
            return Some(drafts);
        }
        if !trimmed.starts_with(['{', '[']) || drafts.len() > MAX_CALLS {
            return None;
        }
        let reading = relaxed::read_start(trimmed).filter(|reading| !reading.cut)?;
        let end = at + reading.end;
        drafts.extend(json_drafts(reading.tree, reading.mended, at..end, true)?);
        at = end;
    }
}

/// The calls that a JSON value is: one, an array of them, or what OpenAI's API has for them.
pub(super) fn json_drafts<'t>(
    tree: Tree,
    mended: bool,
    span: Range<usize>,
    bare: bool,
) -> Option<Vec<Draft<'t>>> {
    let list = match tree {
        Tree::Array(list) => list,
        Tree::Object(members) => match members.iter().position(|(key, _)| key == "tool_calls") {
            Some(at) => match members.into_iter().nth(at) {
                Some((_, Tree::Array(list))) => list,
                _ => return None,
            },
            None => vec![Tree::Object(members)],
        },
        _ => return None,
    };
    list.iter().map(|call| json_draft(call, mended, span.clone(), bare)).collect()
}

fn json_draft<'t>(call: &Tree, mended: bool, span: Range<usize>, bare: bool) -> Option<Draft<'t>> {
    let Tree::Object(members) = call else { return None };
    let known = members.iter().all(|(key, _)| MEMBERS.contains(&key.as_str()));
    let kind = call.get("type").map(|kind| kind.as_str().is_some_and(|kind| TYPES.contains(&kind)));
    if bare && (!known || kind == Some(false)) {
        return None;
    }
    let inner = call.get("function").filter(|inner| matches!(inner, Tree::Object(_)));
    let inner = inner.unwrap_or(call);
    let name = inner.get("name")?.as_str()?.to_owned();
    let given = ["arguments", "parameters", "input"].iter().find_map(|key| inner.get(key));
    let mut draft = Draft::new(name, span);
    draft.closed = true;
    draft.canonical = Some(call.to_text());
    match given {
        Some(Tree::String(text)) => {
            // Arguments as text are the form of OpenAI's API, and nothing that needs mending.
            draft.body = match relaxed::read_whole(text) {
                Some((tree @ Tree::Object(_), odd)) => Body::Json(tree, mended || odd),
                _ => Body::Json(Tree::String(text.clone()), mended),
            };
        }
        Some(value) => draft.body = Body::Json(value.clone(), mended),
        None if bare => return None,
        None => {}
    }
    Some(draft)
}
