//! Reads our own markup.
//!
//! What carries the nonce was written by the model for us: the nonce stands in no text that the
//! model was shown, for it is escaped there. So a tag with the nonce always counts, wherever it
//! stands, and a value ends only at a closing tag with the nonce, whatever else it holds. Where a
//! model forgets the nonce in the tags inside its block, the values are split at plain tags, but
//! then none of the pieces may be copied from the request.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memmem};
use model::Loss;

use super::copied::Copied;
use super::draft::{Body, Draft, MAX_CALLS, argument, without_line_breaks};
use super::foreign;
use super::relaxed;
use super::tag::{Tag, Word};
use super::{PromptedReply, ToolPrompt};

/// Words of results, by which a model's invented results are found.
const RESULTS: [&str; 4] =
    ["<tool_result", "<tool_response", "<function_results", "<function_result"];

/// How often JSON is tried that cannot be read.
const MAX_UNREAD: usize = 8;

/// How far before the nonce its tag may begin.
const MAX_WORD: usize = 32;

/// Reads a reply that holds the nonce.
pub(super) fn read(prompt: &ToolPrompt<'_>, text: &str, copied: &Copied<'_>) -> PromptedReply {
    let tags = own_tags(text, prompt.nonce.as_str());
    let mut reader =
        Reader { prompt, text, copied, tags, next: 0, unread: 0, reply: PromptedReply::default() };
    reader.reply_text();
    reader.reply
}

/// The tags with the nonce, in their order.
fn own_tags<'t>(text: &'t str, nonce: &str) -> Vec<Tag<'t>> {
    let mut tags: Vec<Tag<'t>> = Vec::new();
    let bytes = text.as_bytes();
    for at in memmem::find_iter(bytes, nonce) {
        let from = tags.last().map_or(0, |tag| tag.end).max(at.saturating_sub(MAX_WORD));
        let Some(before) = bytes.get(from..at) else { continue };
        let Some(open) = memchr::memrchr(b'<', before) else { continue };
        let tag = Tag::at(text, from + open, nonce);
        tags.extend(tag.filter(|tag| tag.own && tag.start < at && at < tag.end));
    }
    tags
}

struct Reader<'p, 't> {
    prompt: &'p ToolPrompt<'p>,
    text: &'t str,
    copied: &'p Copied<'p>,
    tags: Vec<Tag<'t>>,
    /// The first of `tags` that was not passed yet.
    next: usize,
    /// How often JSON could not be read; each time costs up to the length of the reply.
    unread: usize,
    reply: PromptedReply,
}

/// Where a value ends, and where reading goes on.
enum Ended {
    At(Range<usize>, usize),
    /// The reply ends inside of it.
    Cut,
}

/// What is read of a block.
#[derive(Default)]
struct Block<'t> {
    drafts: Vec<Draft<'t>>,
    current: Option<Draft<'t>>,
    /// Where the last value ended without a tag with the nonce. Behind it plain tags count only if
    /// they are not copied, and nothing but tags counts.
    plain: Option<usize>,
    /// Whether what stands between values may be copied from the request.
    copied: bool,
    /// Whether something in it was no call.
    junk: bool,
    /// Whether an invented result ended it.
    results: bool,
}

impl Block<'_> {
    fn finish(&mut self, end: usize) {
        if let Some(mut draft) = self.current.take() {
            draft.span.end = end;
            self.drafts.push(draft);
        }
    }
}

impl<'t> Reader<'_, 't> {
    /// The next tag with the nonce at or behind `at`.
    fn next_tag(&mut self, at: usize) -> Option<Tag<'t>> {
        while self.tags.get(self.next).is_some_and(|tag| tag.start < at) {
            self.next += 1;
        }
        self.tags.get(self.next).copied()
    }

    fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    /// Reads blocks and keeps the text before and between them.
    fn reply_text(&mut self) {
        let mut kept = String::new();
        let mut at = 0;
        let mut blocks = 0;
        let mut ended = false;
        while let Some(tag) = self.next_tag(at) {
            match tag.word {
                Word::Calls | Word::Call | Word::Argument if !tag.closing => {
                    let start = self.block_start(at, &tag);
                    let between = self.slice(at..start);
                    if blocks > 0 && holds_result(between) {
                        // What follows answers a result that the model made up.
                        self.lose_markup();
                        ended = true;
                        break;
                    }
                    kept.push_str(without_fence(between));
                    let (end, results) = self.block(start);
                    blocks += 1;
                    at = end;
                    if results {
                        ended = true;
                        break;
                    }
                }
                Word::Result if blocks > 0 => {
                    self.lose_markup();
                    ended = true;
                    break;
                }
                Word::Result if !tag.closing => {
                    kept.push_str(self.slice(at..tag.start));
                    self.lose_markup();
                    at = self.behind_result(&tag);
                }
                _ => {
                    kept.push_str(self.slice(at..tag.start));
                    self.lose_markup();
                    at = tag.end;
                }
            }
        }
        if blocks > 0 {
            // Behind the last call there is nothing that the model could know.
            let rest = self.slice(at..self.text.len()).trim();
            if !ended && !matches!(rest, "" | "```" | "~~~") {
                self.lose_markup();
            }
        } else {
            kept.push_str(self.slice(at..self.text.len()));
        }
        let clean = without_strays(&kept, self.prompt.nonce.as_str());
        if matches!(clean, Cow::Owned(_)) {
            self.lose_markup();
        }
        clean.trim_end().clone_into(&mut self.reply.text);
    }

    fn lose_markup(&mut self) {
        self.reply.losses.insert(Loss::ToolMarkup);
    }

    /// Where a block begins whose first tag with the nonce is `tag`: models that forget the outer
    /// tag write the call's.
    fn block_start(&self, from: usize, tag: &Tag<'t>) -> usize {
        if tag.word != Word::Argument {
            return tag.start;
        }
        let before = self.slice(from..tag.start).trim_end();
        let open = memchr::memrchr(b'<', before.as_bytes()).map(|at| from + at);
        let call = open.and_then(|at| Tag::at(self.text, at, self.prompt.nonce.as_str()));
        let adjacent = call.filter(|call| call.end == from + before.len());
        match adjacent {
            Some(call) if call.word == Word::Call && !call.closing => call.start,
            _ => tag.start,
        }
    }

    /// The end of a result that the model wrote as if it were the caller.
    fn behind_result(&mut self, open: &Tag<'t>) -> usize {
        match self.next_tag(open.end) {
            Some(close) if close.word == Word::Result && close.closing => close.end,
            _ => open.end,
        }
    }

    /// Reads the block at `start`; returns its end, and whether an invented result ended it.
    fn block(&mut self, start: usize) -> (usize, bool) {
        let mut block = Block::default();
        let mut at = start;
        let ended = loop {
            let rest = self.slice(at..self.text.len());
            let trimmed = rest.trim_start();
            at += rest.len() - trimmed.len();
            let Some(first) = trimmed.bytes().next() else { break false };
            match first {
                b'<' => match self.tag(at, &mut block) {
                    Step::On(next) => at = next,
                    Step::Done(next) => {
                        at = next;
                        break true;
                    }
                    Step::Cut => {
                        // The argument that is cut takes its call with it.
                        block.current = None;
                        block.junk = true;
                        at = self.text.len();
                        break false;
                    }
                },
                _ if block.plain.is_some() => {
                    // Between plain tags only plain tags can be told from the text of a value.
                    block.copied = true;
                    at = self.next_tag(at).map_or(self.text.len(), |next| next.start);
                }
                b'{' | b'[' if block.current.as_ref().is_none_or(Draft::is_empty) => {
                    at = self.json(at, &mut block);
                }
                _ => {
                    block.junk = true;
                    at += memchr(b'<', trimmed.as_bytes()).unwrap_or(trimmed.len());
                }
            }
        };
        if let Some(current) = &mut block.current {
            current.closed |= ended;
        }
        block.finish(at);
        let results = block.results;
        self.take(block);
        (at, results)
    }

    /// Reads the tag at `at` and what belongs to it.
    fn tag(&mut self, at: usize, block: &mut Block<'t>) -> Step {
        let Some(tag) = Tag::at(self.text, at, self.prompt.nonce.as_str()) else {
            block.junk = true;
            return Step::On(at + 1);
        };
        match (tag.word, tag.closing) {
            // The end of one call in the words of others is not the end of the block.
            (Word::Calls, true) if tag.own || tag.spelled.to_ascii_lowercase().ends_with('s') => {
                return Step::Done(tag.end);
            }
            (Word::Calls, _) | (Word::Argument, true) => {}
            (Word::Call, true) => {
                if let Some(current) = &mut block.current {
                    current.closed = true;
                }
                block.finish(tag.end);
            }
            (Word::Call, false) => {
                if let Some(current) = &mut block.current {
                    // The next call ends the one before it.
                    current.closed = true;
                }
                block.finish(tag.start);
                if tag.cut {
                    block.junk = true;
                    return Step::On(tag.end);
                }
                if !tag.own {
                    self.check_plain(tag.end, block);
                }
                let name = tag.attribute("name").unwrap_or_default();
                let draft = Draft::new(name, tag.start..tag.end);
                let bare = self.prompt.takes_text(&draft);
                block.current = Some(draft);
                if bare {
                    return self.bare_text(&tag, block);
                }
            }
            (Word::Argument, false) => return self.argument(&tag, block),
            (Word::Result, _) => {
                block.results = true;
                block.junk = true;
                return Step::Done(tag.start);
            }
            (Word::Other, _) => block.junk = true,
        }
        Step::On(tag.end)
    }

    /// Reads the text of a free-text tool that stands in the call without an argument's tag.
    fn bare_text(&mut self, call: &Tag<'t>, block: &mut Block<'t>) -> Step {
        let behind = self.slice(call.end..self.text.len()).trim_start();
        if block.plain.is_some() {
            return Step::On(call.end);
        }
        let tag = Tag::at(behind, 0, self.prompt.nonce.as_str());
        if behind.is_empty() || tag.is_some_and(|tag| tag.word != Word::Other) {
            return Step::On(call.end);
        }
        match self.value_end(call, block) {
            Ended::At(value, next) => {
                if let Some(current) = &mut block.current {
                    current.body = Body::Text(without_line_breaks(self.slice(value)));
                }
                Step::On(next)
            }
            Ended::Cut => Step::Cut,
        }
    }

    fn argument(&mut self, tag: &Tag<'t>, block: &mut Block<'t>) -> Step {
        if !tag.own {
            self.check_plain(tag.end, block);
        }
        let plain = !tag.own && self.closes_plainly(tag);
        let ended = if plain { self.plain_end(tag, block) } else { self.value_end(tag, block) };
        let Ended::At(value, next) = ended else { return Step::Cut };
        let text = without_line_breaks(self.slice(value));
        let name = tag.attribute("name");
        let given = argument(
            name.as_deref().map(|name| self.prompt.nonce.unescape(name)),
            tag.attribute("type"),
            self.prompt.nonce.unescape(text),
        );
        match &mut block.current {
            Some(current) => current.push(given),
            None => block.junk = true,
        }
        Step::On(next)
    }

    /// Whether the next tag with the nonce is not the end of this argument.
    fn closes_plainly(&mut self, tag: &Tag<'t>) -> bool {
        !self.next_tag(tag.end).is_some_and(|next| next.word == Word::Argument && next.closing)
    }

    /// The end of a value: its closing tag with the nonce; if that is missing, the last plain one
    /// before the next tag with the nonce, behind which only tags of calls stand.
    fn value_end(&mut self, open: &Tag<'t>, block: &mut Block<'t>) -> Ended {
        let next = self.next_tag(open.end);
        if let Some(close) = next
            && close.word == Word::Argument
            && close.closing
        {
            block.plain = None;
            return Ended::At(open.end..close.start, close.end);
        }
        let limit = next.map_or(self.text.len(), |next| next.start);
        let mut end = open.end + self.slice(open.end..limit).trim_end().len();
        let mut resume = limit;
        let mut shut = next.is_some();
        // From behind: the end of the block or the next call, the end of the call.
        for allowed in [2, 1] {
            let Some(tag) = self.last_tag(open.end, end) else { break };
            let place = match (tag.word, tag.closing) {
                (Word::Call, false) | (Word::Calls, true) => 2,
                (Word::Call, true) => 1,
                _ => 0,
            };
            if place == 0 || place > allowed {
                break;
            }
            shut |= tag.closing;
            resume = tag.start;
            end = open.end + self.slice(open.end..tag.start).trim_end().len();
            if place == 1 {
                break;
            }
        }
        let close = self.last_tag(open.end, end).filter(|tag| tag.word == Word::Argument);
        match close {
            Some(close) if close.closing => {
                block.plain = Some(close.start);
                Ended::At(open.end..close.start, close.end)
            }
            _ if shut => {
                block.plain = Some(resume);
                Ended::At(open.end..end, resume)
            }
            _ => Ended::Cut,
        }
    }

    /// The plain tag that ends at `end`.
    fn last_tag(&self, from: usize, end: usize) -> Option<Tag<'t>> {
        let at = from + memchr::memrchr(b'<', self.slice(from..end).as_bytes())?;
        let tag = Tag::at(self.text, at, self.prompt.nonce.as_str())?;
        (tag.end == end && !tag.cut).then_some(tag)
    }

    /// The end of a value between plain tags: the first plain closing tag behind which the markup
    /// goes on.
    fn plain_end(&mut self, open: &Tag<'t>, block: &mut Block<'t>) -> Ended {
        let limit = self.next_tag(open.end).map_or(self.text.len(), |next| next.start);
        match plain_close(self.text, open, limit) {
            Some(close) => {
                block.plain = Some(close.start);
                Ended::At(open.end..close.start, close.end)
            }
            None => self.value_end(open, block),
        }
    }

    /// Asks whether the text from the plain end of a value up to `end` is copied. All that makes
    /// it markup is text that anybody can write.
    fn check_plain(&self, end: usize, block: &mut Block<'t>) {
        if let Some(from) = block.plain {
            block.copied |= self.copied.holds(self.slice(from..end));
        }
    }

    /// Reads JSON inside the block: the arguments of the open call, or whole calls.
    fn json(&mut self, at: usize, block: &mut Block<'t>) -> usize {
        let rest = self.slice(at..self.text.len());
        let reading = if self.unread < MAX_UNREAD { relaxed::read_start(rest) } else { None };
        let Some(reading) = reading.filter(|reading| !reading.cut) else {
            self.unread += 1;
            // Up to the end of the block nothing can be told apart.
            block.junk = true;
            block.current = None;
            return self.next_tag(at).map_or(self.text.len(), |next| next.start);
        };
        let end = at + reading.end;
        if let Some(current) = &mut block.current {
            current.body = Body::Json(reading.tree, reading.mended);
            current.closed |= self.slice(end..self.text.len()).trim_start().starts_with('<');
            return end;
        }
        match foreign::json_drafts(reading.tree, reading.mended, at..end, false) {
            Some(drafts) => block.drafts.extend(drafts),
            None => block.junk = true,
        }
        end
    }

    /// Whether a call may be copied from the request. The nonce before it says nothing about one
    /// that does not carry it: a block may have no end, and its opening tag may stand in prose.
    fn is_quoted(&self, draft: &Draft<'_>) -> bool {
        let text = self.slice(draft.span.clone());
        if memmem::find(text.as_bytes(), self.prompt.nonce.as_str().as_bytes()).is_some() {
            return false;
        }
        draft.canonical.as_deref().is_some_and(|text| self.copied.holds(text))
            || self.copied.holds(text)
    }

    /// Takes the calls of a block.
    fn take(&mut self, block: Block<'t>) {
        if block.junk {
            self.lose_markup();
        }
        if block.copied {
            self.lose_markup();
            return;
        }
        for draft in block.drafts {
            let full = self.reply.calls.len() >= MAX_CALLS;
            let call = if full || !self.prompt.is_complete(&draft) || self.is_quoted(&draft) {
                None
            } else {
                self.prompt.call(draft)
            };
            match call {
                Some((call, mended)) => {
                    if mended {
                        self.reply.losses.insert(Loss::ToolArguments);
                    }
                    self.reply.calls.push(call);
                }
                None => self.lose_markup(),
            }
        }
    }
}

/// What follows a tag.
enum Step {
    /// Reading goes on there.
    On(usize),
    /// The block ends there.
    Done(usize),
    /// The reply ends inside of a value.
    Cut,
}

/// The first plain closing tag for `open` before `limit` behind which markup goes on or the text
/// ends.
pub(super) fn plain_close<'t>(text: &'t str, open: &Tag<'t>, limit: usize) -> Option<Tag<'t>> {
    let region = text.get(open.end..limit)?;
    memmem::find_iter(region.as_bytes(), "</").find_map(|at| {
        let close = Tag::at(text, open.end + at, "")?;
        let same = close.closing && !close.cut && close.spelled.eq_ignore_ascii_case(open.spelled);
        if !same {
            return None;
        }
        let behind = text.get(close.end..limit)?;
        let space = behind.len() - behind.trim_start().len();
        let ends = behind.trim_start().is_empty();
        let goes_on = || {
            Tag::at(text, close.end + space, "").is_some_and(|next| match next.word {
                Word::Argument | Word::Call => true,
                Word::Calls => next.closing,
                Word::Result | Word::Other => false,
            })
        };
        (ends || goes_on()).then_some(close)
    })
}

fn holds_result(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    RESULTS.iter().any(|word| lower.contains(word))
}

/// The text without an opening code fence at its end: models put the block into one.
fn without_fence(text: &str) -> &str {
    let trimmed = text.trim_end();
    let line = trimmed.rfind('\n').map_or(0, |at| at + 1);
    let last = trimmed.get(line..).unwrap_or_default().trim_start();
    let fence = last.strip_prefix("```").or_else(|| last.strip_prefix("~~~"));
    match fence {
        Some(word) if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            text.get(..line).unwrap_or_default()
        }
        _ => text,
    }
}

/// The text without words that carry the nonce: what was no tag must not be seen either.
fn without_strays<'t>(text: &'t str, nonce: &str) -> Cow<'t, str> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    for at in memmem::find_iter(text.as_bytes(), nonce) {
        let word = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '/' | '<');
        let before = text.get(copied..at).unwrap_or_default();
        let start = copied + before.trim_end_matches(word).len();
        let behind = text.get(at + nonce.len()..).unwrap_or_default();
        let end = at + nonce.len() + usize::from(behind.starts_with('>'));
        let out = out.get_or_insert_with(String::new);
        out.push_str(text.get(copied..start).unwrap_or_default());
        copied = end;
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}
