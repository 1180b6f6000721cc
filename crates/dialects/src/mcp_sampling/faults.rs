//! Reads the errors of a sampling request.

use std::fmt::Write as _;

use model::{Failure, FailureKind, Retry};

/// What a host's error means for the host, where the [`Failure`] says what it means for the
/// caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostFault {
    /// A person said no: the error's code says so.
    Refused,
    /// The text speaks of a no, but the code does not: this holds for the one call.
    Declined,
    /// The host does not sample at all.
    NoSampling,
    /// The host fails on `modelPreferences`: the call may be repeated without hints.
    ModelPreferences,
    /// The host's provider refuses for now.
    RateLimited,
    /// The host does not know or offer the model.
    UnknownModel,
    /// The conversation does not fit.
    ContextTooLong,
    /// The host finds the request malformed.
    InvalidParams,
    /// Anything else.
    Other,
}

/// The user rejected the sampling request (MCP specification, client/sampling).
const REJECTED: i64 = -1;
/// VS Code: "The user has denied permission to call this method."
const DENIED: i64 = -32_000;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;

/// How much of a host's message is shown to a caller, in characters.
const SHOWN: usize = 300;

/// Reads the JSON-RPC error that a host answered with.
///
/// Only the first line of the message counts and is shown: VS Code puts a whole stack trace
/// there, whose function names would also mislead the search for causes.
pub fn read_error(code: i64, message: &str) -> (HostFault, Failure) {
    read_error_about(code, message, "")
}

/// As [`read_error`], for a request that named this model.
///
/// Hosts repeat the name in their errors, and callers choose it: a model called `user denied`
/// must not pass for a person's no. The name is left out before the text is looked at.
pub fn read_error_about(code: i64, message: &str, model: &str) -> (HostFault, Failure) {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut words = line.to_lowercase();
    let model = model.trim().to_lowercase();
    if !model.is_empty() {
        words = words.replace(&model, "…");
    }
    let fault = classify(code, &words);
    let shown = show(line);
    let (kind, text) = match fault {
        HostFault::Refused | HostFault::Declined => {
            (FailureKind::Refused, "The person at the MCP host declined this request")
        }
        HostFault::NoSampling => (FailureKind::NotReady, "The MCP host offers no sampling"),
        HostFault::ModelPreferences => {
            (FailureKind::UpstreamFailed, "The MCP host cannot take a model name")
        }
        HostFault::RateLimited => {
            (FailureKind::RateLimited, "The MCP host or its provider limits the rate")
        }
        HostFault::UnknownModel => {
            (FailureKind::UnknownModel, "The MCP host does not offer this model")
        }
        HostFault::ContextTooLong => {
            (FailureKind::ContextTooLong, "The conversation is too long for the MCP host's model")
        }
        HostFault::InvalidParams => {
            (FailureKind::BadRequest, "The MCP host does not accept this request")
        }
        HostFault::Other => (FailureKind::UpstreamFailed, "The MCP host failed"),
    };
    let text = if shown.is_empty() { format!("{text}.") } else { format!("{text}: {shown}") };
    let mut failure = Failure::new(kind, text);
    let spent = match fault {
        // An allowance that is used up is not back in ten seconds: retries would only knock again.
        HostFault::RateLimited => {
            ["quota", "allowance", "monthly", "usage limit"].iter().any(|word| words.contains(word))
        }
        // The host has sampled, and maybe asked a person: agents would repeat it ten times.
        HostFault::Other => true,
        _ => false,
    };
    if spent {
        failure = failure.with_retry(Retry::Never);
    }
    if kind == FailureKind::UnknownModel {
        failure = failure.with_param("model");
    }
    (fault, failure)
}

fn classify(code: i64, line: &str) -> HostFault {
    let said = |words: &[&str]| words.iter().any(|word| holds(line, word));
    if code == REJECTED {
        return HostFault::Refused;
    }
    let declined = said(&[
        "denied permission",
        "user denied",
        "user declined",
        "user rejected",
        "rejected by user",
        "rejected by the user",
        "denied by user",
        "denied by the user",
    ]);
    if declined {
        return if code == DENIED { HostFault::Refused } else { HostFault::Declined };
    }
    if code == METHOD_NOT_FOUND {
        return HostFault::NoSampling;
    }
    if said(&["model_preferences", "modelpreferences"]) {
        return HostFault::ModelPreferences;
    }
    if said(&[
        "rate limit",
        "rate limits",
        "rate limited",
        "rate-limit",
        "rate-limited",
        "rate_limit",
        "rate_limited",
        "rate_limit_error",
        "rate_limit_exceeded",
        "ratelimit",
        "ratelimited",
        "ratelimiterror",
        "quota",
        "quotas",
        "insufficient_quota",
        "quota_exceeded",
        "quotaexceeded",
        "too many requests",
        "429",
        "usage limit",
        "request allowance",
        "allowance",
    ]) {
        return HostFault::RateLimited;
    }
    if said(&[
        "prompt is too long",
        "prompt too long",
        "message too long",
        "messages too long",
        "input is too long",
        "input too long",
        "request too long",
        "conversation is too long",
        "conversation too long",
        "exceeds token limit",
        "prompt token count",
        "maximum prompt tokens",
        "context length",
        "context_length_exceeded",
        "context window",
        "maximum context",
        "model_max_prompt_tokens_exceeded",
        "exceeds the token limit",
        "too many tokens",
    ]) {
        return HostFault::ContextTooLong;
    }
    if said(&[
        "model_not_supported",
        "model_not_found",
        "model not found",
        "model not supported",
        "unknown model",
        "unknown_model",
        "no model",
        "no models",
        "no such model",
        "model is not supported",
        "model does not exist",
    ]) {
        return HostFault::UnknownModel;
    }
    // "The model `x` does not exist", "model x not found": the name stands between the words.
    if holds(line, "model") && said(&["does not exist", "not found", "not supported"]) {
        return HostFault::UnknownModel;
    }
    match code {
        DENIED => HostFault::Refused,
        INVALID_PARAMS => HostFault::InvalidParams,
        _ => HostFault::Other,
    }
}

/// Whether `line` holds `words` with nothing of a word on either side: "429" is not in "14290"
/// and "rate limit" is not in "generate limit".
fn holds(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, found)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + found.len()..).and_then(|text| text.chars().next());
        ![before, after].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Escapes what could forge a log line or hide text, and cuts the rest to a length.
fn show(line: &str) -> String {
    let mut shown = String::with_capacity(line.len().min(SHOWN));
    for c in line.chars().take(SHOWN + 1) {
        if c.is_control() || is_invisible(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    if shown.chars().count() > SHOWN {
        shown = shown.chars().take(SHOWN - 1).collect();
        shown.push('…');
    }
    shown
}

/// Line and paragraph separators and the marks that turn the direction of writing.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}
