//! Reads what an upstream says when a call fails.
//!
//! An upstream's 401 or 403 is about the bridge's credential, not the caller's, so it never comes
//! back as one: the caller would look for the fault in its own key. Of what the upstream says only
//! the text of errors about the request itself is passed on, and no more of it than helps; the
//! rest stays in the log, because it may name accounts.

use std::time::Duration;

use model::{Blame, Failure, FailureKind, Retry};
use serde_json::value::RawValue;

use super::wire::{ErrorBody, ErrorObject};
use crate::lenient::TextOrObject;

/// The most characters of an upstream's message that are passed on.
const MAX_MESSAGE: usize = 300;

/// What an upstream reports.
#[derive(Debug, Default)]
struct Report {
    status: u16,
    kind: String,
    code: String,
    message: String,
    param: Option<String>,
}

/// Reads the reply of a call that was no success: its status and body, and `retry-after` where
/// there was one.
pub(crate) fn read_failure(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let mut report = std::str::from_utf8(body).map(read_report).unwrap_or_default();
    report.status = status;
    report.into_failure(retry_after)
}

/// Reads an error that stands in a stream: an object with `error` in it, or the error itself.
pub(crate) fn read_failure_in_stream(json: &str) -> Failure {
    read_report(json).into_failure(None)
}

fn read_report(json: &str) -> Report {
    let body: ErrorBody<'_> = serde_json::from_str(json).unwrap_or_default();
    let error = match body.error {
        Some(TextOrObject::Object(error)) => error,
        Some(TextOrObject::Text(text)) => {
            ErrorObject { message: Some(text), ..ErrorObject::default() }
        }
        None if body.message.is_some() || body.detail.is_none() => {
            serde_json::from_str(json).unwrap_or_default()
        }
        None => {
            let detail = body.detail.map(|detail| detail.get().to_owned());
            ErrorObject { message: detail, ..ErrorObject::default() }
        }
    };
    let word = |raw: Option<&RawValue>| {
        raw.map(|raw| raw.get().trim_matches('"').to_ascii_lowercase()).unwrap_or_default()
    };
    Report {
        status: 0,
        kind: error.kind.map(|kind| kind.to_ascii_lowercase()).unwrap_or_default(),
        code: word(error.code),
        message: error.message.unwrap_or_default(),
        param: error.param,
    }
}

impl Report {
    fn into_failure(self, retry_after: Option<Duration>) -> Failure {
        let kind = self.failure_kind();
        let message = match kind {
            FailureKind::BadRequest
            | FailureKind::Unsupported
            | FailureKind::ContextTooLong
            | FailureKind::TooLarge
            | FailureKind::UnknownModel => self.shown().unwrap_or_else(|| usual(kind)),
            _ if self.is_about_us() => {
                "The upstream refuses the bridge's own credential or account: look at its settings."
                    .to_owned()
            }
            _ => usual(kind),
        };
        let mut failure = Failure::new(kind, message);
        if kind == FailureKind::Overloaded {
            failure.blame = Blame::Upstream;
        }
        if self.is_about_us() {
            failure.retry = Retry::Never;
        } else if let (Some(wait), Retry::Now | Retry::After(_)) = (retry_after, failure.retry) {
            failure.retry = Retry::After(wait);
        }
        failure.param = self.param.clone().filter(|_| failure.blame == Blame::Caller);
        failure.with_source(self.log_line())
    }

    fn failure_kind(&self) -> FailureKind {
        if self.is_about_context() {
            return FailureKind::ContextTooLong;
        }
        let by_code = match self.code.as_str() {
            "model_not_found" => Some(FailureKind::UnknownModel),
            "unsupported_parameter" | "unsupported_value" => Some(FailureKind::Unsupported),
            "request_too_large" => Some(FailureKind::TooLarge),
            "rate_limit_exceeded" | "insufficient_quota" => Some(FailureKind::RateLimited),
            "sampling_rejected" => Some(FailureKind::Refused),
            "overloaded" | "server_overloaded" | "no_upstream" => Some(FailureKind::Overloaded),
            "upstream_timeout" => Some(FailureKind::UpstreamTimeout),
            "server_error" | "unknown_url" => Some(FailureKind::UpstreamFailed),
            "invalid_prompt" => Some(FailureKind::BadRequest),
            _ => None,
        };
        if let Some(kind) = by_code {
            return kind;
        }
        let by_kind = match self.kind.as_str() {
            "rate_limit_error" | "requests" | "tokens" | "insufficient_quota" => {
                Some(FailureKind::RateLimited)
            }
            "overloaded_error" => Some(FailureKind::Overloaded),
            "timeout_error" => Some(FailureKind::UpstreamTimeout),
            "request_too_large" => Some(FailureKind::TooLarge),
            "api_error" | "server_error" => Some(FailureKind::UpstreamFailed),
            _ => None,
        };
        if let Some(kind) = by_kind {
            return kind;
        }
        match self.status {
            400 | 409 | 422 => FailureKind::BadRequest,
            404 if self.is_about_model() => FailureKind::UnknownModel,
            408 | 504 => FailureKind::UpstreamTimeout,
            413 => FailureKind::TooLarge,
            429 => FailureKind::RateLimited,
            503 | 529 => FailureKind::Overloaded,
            0 if self.kind == "invalid_request_error" => FailureKind::BadRequest,
            0 if self.kind == "not_found_error" && self.is_about_model() => {
                FailureKind::UnknownModel
            }
            _ => FailureKind::UpstreamFailed,
        }
    }

    /// Whether the conversation is too long; vendors say it in words.
    fn is_about_context(&self) -> bool {
        if self.code == "context_length_exceeded" {
            return true;
        }
        let message = self.message.to_ascii_lowercase();
        let said = ["prompt is too long", "maximum context length", "context window"];
        matches!(self.status, 0 | 400 | 413 | 422)
            && (said.iter().any(|words| message.contains(words))
                || message.contains("exceed context limit"))
    }

    fn is_about_model(&self) -> bool {
        self.param.as_deref() == Some("model")
            || self.message.to_ascii_lowercase().contains("model")
    }

    /// Whether it is the bridge that the upstream turns away.
    fn is_about_us(&self) -> bool {
        let kinds = ["authentication_error", "permission_error", "billing_error"];
        let words = ["invalid_api_key", "insufficient_quota"];
        self.code != "sampling_rejected"
            && (kinds.contains(&self.kind.as_str())
                || words.contains(&self.code.as_str())
                || words.contains(&self.kind.as_str())
                || matches!(self.status, 401..=403))
    }

    /// What the upstream said, for the caller.
    fn shown(&self) -> Option<String> {
        let said: String = self
            .message
            .chars()
            .take(MAX_MESSAGE)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let said = said.trim();
        (!said.is_empty()).then(|| said.to_owned())
    }

    fn log_line(&self) -> String {
        let said: String = self.message.chars().take(4 * MAX_MESSAGE).collect();
        format!(
            "upstream status {}, type {:?}, code {:?}, message {said:?}",
            self.status, self.kind, self.code
        )
    }
}

/// What is said where the upstream's own words are not passed on.
fn usual(kind: FailureKind) -> String {
    match kind {
        FailureKind::ContextTooLong => "The conversation is too long for the model.",
        FailureKind::TooLarge => "The request is too large for the upstream.",
        FailureKind::UnknownModel => "The upstream does not have this model.",
        FailureKind::RateLimited => "The upstream takes no more requests at the moment.",
        FailureKind::Overloaded => "The upstream is overloaded.",
        FailureKind::UpstreamTimeout => "The upstream did not answer in time.",
        FailureKind::Refused => "The person at the host refused the request.",
        FailureKind::BadRequest | FailureKind::Unsupported => "The upstream refuses the request.",
        _ => "The upstream failed.",
    }
    .to_owned()
}
