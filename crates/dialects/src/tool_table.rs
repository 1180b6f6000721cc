//! The tools of one request, under names that every model's API takes.
//!
//! Upstreams know no namespaces, and most take only 64 characters out of `[a-zA-Z0-9_-]` as a
//! name. So each tool gets a flat name (`namespace__name`), calls in the history get the same one,
//! and calls in the answer are given back the caller's own name, namespace and kind of input.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use model::{
    CompletionRequest, Failure, FailureKind, Loss, LossSet, ParamsMode, Tool, ToolCall,
    ToolCallInput, ToolChoice, ToolInput, ToolName,
};

/// The longest name that upstreams take.
const MAX_NAME: usize = 64;

/// The most tools, and names in a choice, that a request may hold. The real APIs take 128.
const MAX_TOOLS: usize = 1024;

/// Kinds of tools that the provider defines and the *caller* runs. Left out, they would never be
/// called although the caller counts on it, so they are refused by name.
const RUN_BY_CALLER: [&str; 8] = [
    "bash_",
    "text_editor_",
    "memory_",
    "computer",
    "browser_toolset_",
    "local_shell",
    "shell",
    "apply_patch",
];

/// A tool and its flat name.
#[derive(Clone, Debug)]
pub struct ToolEntry<'r> {
    /// The name that the upstream sees.
    pub name: Cow<'r, str>,
    /// The tool as the caller defined it; never a hosted one.
    pub tool: &'r Tool,
    /// Whether it may be called in this turn.
    pub callable: bool,
}

/// The tools of one request.
#[derive(Clone, Debug, Default)]
pub struct ToolTable<'r> {
    entries: Vec<ToolEntry<'r>>,
    by_name: HashMap<String, usize>,
    by_tool: HashMap<(Option<&'r str>, &'r str), usize>,
    /// How many tools have a flat name that others had first.
    copies: HashMap<String, usize>,
    must_call: bool,
    /// Whether the request refuses what would be lost.
    strict: bool,
    /// What making the table has lost.
    losses: LossSet,
}

impl<'r> ToolTable<'r> {
    /// The table of a request's tools, with its tool choice applied.
    ///
    /// # Errors
    /// Two tools of one name, a choice that names no tool, and a provider's tool that the caller
    /// would have to run; lenient requests lose them instead.
    pub fn new(request: &'r CompletionRequest) -> Result<Self, Failure> {
        let lenient = request.mode == ParamsMode::Lenient;
        let strict = request.mode == ParamsMode::Strict;
        let mut table = Self { strict, ..Self::default() };
        if request.tools.len() > MAX_TOOLS {
            let why = format!("There are more than {MAX_TOOLS} tools.");
            return Err(Failure::new(FailureKind::BadRequest, why).with_param("tools"));
        }
        for tool in &request.tools {
            if let ToolInput::Hosted(opaque) = &tool.input {
                if strict {
                    let why = format!(
                        "The tool type `{}` is run by its provider, and parameters are strict \
                         here.",
                        opaque.kind
                    );
                    return Err(unsupported("tools", why));
                }
                let by_caller = RUN_BY_CALLER.iter().any(|kind| opaque.kind.starts_with(kind));
                if by_caller && !lenient {
                    let why = format!(
                        "The tool type `{}` is defined by its provider and not offered here: \
                         define a function tool instead.",
                        opaque.kind
                    );
                    return Err(unsupported("tools", why));
                }
                table.losses.insert(Loss::HostedTools);
                continue;
            }
            table.add(tool)?;
        }
        table.choose(request, lenient)?;
        Ok(table)
    }

    /// The table of a request's tools for an upstream that judges them itself: nothing is refused,
    /// no tool choice is applied, and hosted tools are not in it.
    pub(crate) fn unjudged(request: &'r CompletionRequest) -> Self {
        let mut table = Self::default();
        for tool in request.tools.iter().take(MAX_TOOLS) {
            if !matches!(tool.input, ToolInput::Hosted(_)) {
                // A tool without a name, or a second one of a name, keeps what it has.
                let _ = table.add(tool);
            }
        }
        table
    }

    fn add(&mut self, tool: &'r Tool) -> Result<(), Failure> {
        if let Some(known) = self.entry_of(tool.namespace.as_deref(), &tool.name) {
            if known.tool == tool {
                return Ok(());
            }
            let why = format!("Two tools are called `{}`: names must be unique.", tool.name);
            return Err(Failure::new(FailureKind::BadRequest, why).with_param("tools"));
        }
        if tool.name.trim().is_empty() {
            let failure = Failure::new(FailureKind::BadRequest, "A tool has an empty name.");
            return Err(failure.with_param("tools"));
        }
        if tool.strict == Some(true) {
            if self.strict {
                let why = format!(
                    "The tool `{}` asks for `strict`, which no MCP host can enforce.",
                    tool.name
                );
                return Err(unsupported("tools", why));
            }
            self.losses.insert(Loss::ToolStrict);
        }
        if has_grammar(&tool.input) {
            if self.strict {
                let why = format!(
                    "The tool `{}` has a grammar, which no MCP host can enforce.",
                    tool.name
                );
                return Err(unsupported("tools", why));
            }
            self.losses.insert(Loss::ToolGrammar);
        }
        let mut name = flat(tool.namespace.as_deref(), &tool.name);
        if self.by_name.contains_key(name.as_ref()) {
            let stem = name.into_owned();
            // Goes on where the last one of this name stopped, or many of them would take a square.
            let copy = self.copies.entry(stem.clone()).or_insert(1);
            name = loop {
                *copy += 1;
                let next = safe(&format!("{stem}_{copy}")).into_owned();
                if !self.by_name.contains_key(&next) {
                    break Cow::Owned(next);
                }
            };
        }
        self.by_name.insert(name.clone().into_owned(), self.entries.len());
        self.by_tool.insert((tool.namespace.as_deref(), &tool.name), self.entries.len());
        self.entries.push(ToolEntry { name, tool, callable: true });
        Ok(())
    }

    fn choose(&mut self, request: &CompletionRequest, lenient: bool) -> Result<(), Failure> {
        let (required, names): (bool, &[ToolName]) = match &request.tool_choice {
            ToolChoice::Auto => return Ok(()),
            ToolChoice::None => (false, &[]),
            ToolChoice::Required => {
                if self.entries.is_empty() {
                    let why = "tool_choice demands a call, but there is no tool to call.";
                    return if lenient { Ok(()) } else { Err(bad_choice(why)) };
                }
                self.must_call = true;
                return Ok(());
            }
            ToolChoice::Named(name) => (true, std::slice::from_ref(name)),
            ToolChoice::Allowed { required, names } => (*required, names),
        };
        if names.len() > MAX_TOOLS {
            return Err(bad_choice("tool_choice names too many tools."));
        }
        let hosted = |name: &ToolName| {
            request.tools.iter().any(|tool| {
                matches!(&tool.input, ToolInput::Hosted(opaque)
                    if tool.name == name.name || opaque.kind == name.name)
            })
        };
        let mut chosen = Vec::with_capacity(names.len());
        for name in names {
            match self.chosen(name) {
                Some(at) => chosen.push(at),
                None if lenient || (hosted(name) && names.len() > 1) => {}
                None => {
                    let shown: String = name.name.chars().take(80).collect();
                    let why = format!("tool_choice names `{shown}`, which is not among the tools.");
                    return Err(bad_choice(&why));
                }
            }
        }
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.callable = chosen.contains(&at);
        }
        self.must_call = required && !chosen.is_empty();
        Ok(())
    }

    /// The tool that a choice means; a name without a namespace finds the only one of that name.
    fn chosen(&self, name: &ToolName) -> Option<usize> {
        let exact = self.entries.iter().position(|entry| {
            entry.tool.name == name.name && entry.tool.namespace == name.namespace
        });
        if exact.is_some() || name.namespace.is_some() {
            return exact;
        }
        let mut named = self.entries.iter().enumerate().filter(|(_, e)| e.tool.name == name.name);
        let first = named.next()?;
        named.next().is_none().then_some(first.0)
    }

    /// All tools, in the caller's order.
    pub fn entries(&self) -> &[ToolEntry<'r>] {
        &self.entries
    }

    /// The tools that may be called in this turn.
    pub fn callable(&self) -> impl Iterator<Item = &ToolEntry<'r>> {
        self.entries.iter().filter(|entry| entry.callable)
    }

    /// Whether some tool may be called in this turn.
    pub fn any_callable(&self) -> bool {
        self.callable().next().is_some()
    }

    /// Whether one of the callable tools must be called.
    pub const fn must_call(&self) -> bool {
        self.must_call
    }

    /// What making the table has lost.
    pub const fn losses(&self) -> LossSet {
        self.losses
    }

    /// The flat name of a call in the history; its tool may no longer be offered.
    pub fn name_of(&self, call: &ToolCall) -> String {
        match self.entry_of(call.namespace.as_deref(), &call.name) {
            Some(entry) => entry.name.clone().into_owned(),
            None => flat(call.namespace.as_deref(), &call.name).into_owned(),
        }
    }

    /// The tool with a flat name.
    pub fn find(&self, name: &str) -> Option<&ToolEntry<'r>> {
        self.by_name.get(name).and_then(|at| self.entries.get(*at))
    }

    fn entry_of(&self, namespace: Option<&str>, name: &str) -> Option<&ToolEntry<'r>> {
        self.by_tool.get(&(namespace, name)).and_then(|at| self.entries.get(*at))
    }

    /// Gives a call of the answer, made under a flat name, its caller's name, namespace and kind
    /// of input; false where there is no such tool.
    pub fn restore(&self, call: &mut ToolCall) -> bool {
        let Some(entry) = self.find(&call.name) else { return false };
        call.name.clone_from(&entry.tool.name);
        call.namespace.clone_from(&entry.tool.namespace);
        if matches!(entry.tool.input, ToolInput::FreeText(_)) {
            let input = std::mem::replace(&mut call.input, ToolCallInput::Text(String::new()));
            call.input = ToolCallInput::Text(free_text(input));
        }
        true
    }
}

/// The text of a free-text tool that was shown to the upstream as a function with one string.
fn free_text(input: ToolCallInput) -> String {
    match input {
        ToolCallInput::Text(text) | ToolCallInput::Broken(text) => text,
        ToolCallInput::Json(json) => match serde_json::from_str(json.as_str()) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Object(mut object)) if object.len() == 1 => {
                match object.remove("input") {
                    Some(serde_json::Value::String(text)) => text,
                    _ => json.as_str().to_owned(),
                }
            }
            _ => json.as_str().to_owned(),
        },
    }
}

/// Whether free text is bound to a grammar; a format may also say that it is not.
fn has_grammar(input: &ToolInput) -> bool {
    let ToolInput::FreeText(Some(format)) = input else { return false };
    format.as_str() != r#"{"type":"text"}"#
}

fn unsupported(param: &str, why: String) -> Failure {
    Failure::new(FailureKind::Unsupported, why).with_param(param)
}

fn bad_choice(why: &str) -> Failure {
    Failure::new(FailureKind::BadRequest, why).with_param("tool_choice")
}

/// The flat name of a tool that is alone of its name.
pub(crate) fn flat<'t>(namespace: Option<&str>, name: &'t str) -> Cow<'t, str> {
    match namespace {
        None => safe(name),
        Some(namespace) => {
            let full = format!("{namespace}__{name}");
            Cow::Owned(safe(&full).into_owned())
        }
    }
}

/// A name that upstreams take: other characters become `_`, and what was changed or is too long
/// ends in a hash of the whole, so that two names stay two.
fn safe(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.len() <= MAX_NAME && !name.is_empty() && name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut short: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' })
        .take(MAX_NAME - 9)
        .collect();
    // Writing to a string cannot fail.
    let _ = write!(short, "_{:08x}", hash & 0xffff_ffff);
    Cow::Owned(short)
}

#[cfg(test)]
mod tests;
