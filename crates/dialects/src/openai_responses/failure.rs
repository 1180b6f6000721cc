//! How a failure looks on the wire, before and inside a stream.

use std::borrow::Cow;
use std::fmt;

use model::{Failure, FailureKind, Retry};

use super::wire::STYLE;
use crate::json::{push_optional, push_string};
use crate::lenient::FieldProblem;
use crate::openai_failure::{self, INVALID, SERVER};

/// What is not kept; stands as the source of a failure that has a code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotKept {
    Previous,
    Response,
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Previous => "previous response not kept",
            Self::Response => "response not kept",
        })
    }
}

impl std::error::Error for NotKept {}

/// The failure of a request that continues a response that is not kept (any more).
pub(super) fn no_previous(id: &str) -> Failure {
    let message = format!("Previous response with id '{}' not found.", shown(id));
    Failure::new(FailureKind::BadRequest, message)
        .with_param("previous_response_id")
        .with_source(NotKept::Previous)
}

/// The failure of a request that refers to an item that is not kept (any more).
pub(super) fn no_such_item(id: &str, at: &str) -> Failure {
    let why = format!("no item with id '{}' is kept here", shown(id));
    STYLE.refuse(FieldProblem::BadValue, &format!("{at}.id"), &why)
}

/// The failure of a look at a response that is not kept (any more).
pub fn no_such_response(id: &str) -> Failure {
    let message = format!("Response with id '{}' not found.", shown(id));
    Failure::new(FailureKind::NoSuchRoute, message).with_source(NotKept::Response)
}

/// The caller's own word, but not a whole book of it.
fn shown(id: &str) -> String {
    id.chars().take(80).collect()
}

/// Status, `type` and `code` of a failure: those of all OpenAI doors, but for what only this one
/// has.
fn table(failure: &Failure) -> (u16, &'static str, Option<&'static str>) {
    match (failure.kind, not_kept(failure)) {
        (FailureKind::BadRequest, Some(NotKept::Previous)) => {
            (400, INVALID, Some("previous_response_not_found"))
        }
        (FailureKind::NoSuchRoute, Some(_)) => (404, INVALID, None),
        (FailureKind::RateLimited, _) if failure.retry == Retry::Never => {
            (429, "insufficient_quota", Some("insufficient_quota"))
        }
        _ => openai_failure::table(failure),
    }
}

/// The code of a failed response, out of the closed list that clients know.
///
/// Codex repeats a turn that failed with `server_error` five times, and each time a person may be
/// asked: what no repeat can cure is an `invalid_prompt`, which it shows and does not repeat.
pub(super) fn response_code(failure: &Failure) -> &'static str {
    match (failure.kind, failure.retry) {
        (FailureKind::ContextTooLong, _) => "context_length_exceeded",
        (FailureKind::OverBudget, _) | (FailureKind::RateLimited, Retry::Never) => {
            "insufficient_quota"
        }
        (FailureKind::RateLimited, _) => "rate_limit_exceeded",
        (_, Retry::Never) => "invalid_prompt",
        (_, Retry::Now | Retry::After(_)) => SERVER,
    }
}

/// The message of a failed response. Codex reads the wait out of the text of a rate limit.
pub(super) fn response_message(failure: &Failure) -> Cow<'_, str> {
    match (failure.kind, failure.retry) {
        (FailureKind::RateLimited, Retry::After(wait)) => {
            let seconds = wait.as_secs().max(1);
            Cow::Owned(format!("{} Please try again in {seconds}s.", failure.message))
        }
        _ => message(failure),
    }
}

fn not_kept(failure: &Failure) -> Option<NotKept> {
    failure.source.as_ref()?.downcast_ref::<NotKept>().copied()
}

/// The message in this dialect's words. It begins with the field where an upstream names one.
fn message(failure: &Failure) -> Cow<'_, str> {
    let place = failure.param.as_deref().filter(|param| in_messages(param));
    match place.and_then(|place| failure.message.strip_prefix(place)) {
        Some(rest) if failure.param.as_deref() == Some("messages") => {
            Cow::Owned(format!("input{rest}"))
        }
        Some(rest) => {
            // What follows is the place inside the turn, and then what is wrong there.
            Cow::Owned(format!("An item of `input`{rest}"))
        }
        None => Cow::Borrowed(&failure.message),
    }
}

fn in_messages(param: &str) -> bool {
    param == "messages" || param.starts_with("messages[")
}

/// The field at fault in this dialect's words: upstreams count in turns, callers in items.
fn param(failure: &Failure) -> Option<&str> {
    let param = failure.param.as_deref();
    match param {
        Some(param) if in_messages(param) => Some("input"),
        Some("response_format") => Some("text.format"),
        Some("system") => Some("instructions"),
        None if failure.kind == FailureKind::UnknownModel => Some("model"),
        param => param,
    }
}

/// Writes a failure: status and body.
pub fn write_failure(failure: &Failure) -> (u16, Vec<u8>) {
    let mut out = Vec::with_capacity(160 + failure.message.len());
    out.extend_from_slice(br#"{"error":"#);
    push_error(failure, &mut out);
    out.push(b'}');
    (table(failure).0, out)
}

/// Appends the error object.
fn push_error(failure: &Failure, out: &mut Vec<u8>) {
    let (_, kind, code) = table(failure);
    out.extend_from_slice(br#"{"message":"#);
    push_string(out, &message(failure));
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","param":"#);
    push_optional(out, param(failure));
    out.extend_from_slice(br#","code":"#);
    push_optional(out, code);
    out.push(b'}');
}

/// Appends the fields of an `error` event, each with a comma before it.
///
/// The reference has them flat; the official SDKs raise only what stands under `error`.
pub(super) fn push_error_event(failure: &Failure, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","code":"#);
    push_optional(out, table(failure).2);
    out.extend_from_slice(br#","message":"#);
    push_string(out, &message(failure));
    out.extend_from_slice(br#","param":"#);
    push_optional(out, param(failure));
    out.extend_from_slice(br#","error":"#);
    push_error(failure, out);
}
