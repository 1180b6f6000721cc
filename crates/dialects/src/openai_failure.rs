//! How a failure looks to callers of OpenAI's API, whichever of its doors they use.

use model::{Failure, FailureKind};

use crate::json::{push_optional, push_string};
use crate::lenient::FieldProblem;

pub(crate) const INVALID: &str = "invalid_request_error";
pub(crate) const SERVER: &str = "server_error";
const QUOTA: &str = "insufficient_quota";

/// Status, `type` and `code` of a failure. One row per kind, so that a new kind cannot be
/// forgotten.
pub(crate) fn table(failure: &Failure) -> (u16, &'static str, Option<&'static str>) {
    match failure.kind {
        FailureKind::BadRequest => (400, INVALID, field_code(failure)),
        FailureKind::Unsupported => (400, INVALID, Some("unsupported_parameter")),
        FailureKind::ContextTooLong => (400, INVALID, Some("context_length_exceeded")),
        FailureKind::TooLarge => (413, INVALID, Some("request_too_large")),
        FailureKind::Unauthenticated => (401, INVALID, Some("invalid_api_key")),
        FailureKind::Forbidden => (403, "permission_error", Some("forbidden")),
        FailureKind::Refused => (403, "permission_error", Some("sampling_rejected")),
        FailureKind::NoSuchRoute => (404, INVALID, Some("unknown_url")),
        FailureKind::MethodNotAllowed => (405, INVALID, Some("method_not_allowed")),
        FailureKind::UnknownModel => (404, INVALID, Some("model_not_found")),
        FailureKind::RateLimited => (429, "rate_limit_error", Some("rate_limit_exceeded")),
        FailureKind::OverBudget => (429, QUOTA, Some(QUOTA)),
        FailureKind::RequestTimeout => (408, INVALID, Some("request_timeout")),
        FailureKind::NotReady => (503, SERVER, Some("no_upstream")),
        FailureKind::Overloaded => (503, SERVER, Some("overloaded")),
        FailureKind::UpstreamFailed => (502, SERVER, Some("upstream_error")),
        FailureKind::UpstreamTimeout => (504, SERVER, Some("upstream_timeout")),
        FailureKind::Internal => (500, SERVER, Some("internal_error")),
    }
}

/// The code of a 400 by what is wrong with the field.
fn field_code(failure: &Failure) -> Option<&'static str> {
    let source = failure.source.as_ref()?;
    Some(match source.downcast_ref::<FieldProblem>()? {
        FieldProblem::Missing => "missing_required_parameter",
        FieldProblem::WrongType => "invalid_type",
        FieldProblem::BadValue => "invalid_value",
    })
}

/// Writes a failure: status and body.
pub fn write_failure(failure: &Failure) -> (u16, Vec<u8>) {
    let (status, kind, code) = table(failure);
    let param = match failure.kind {
        FailureKind::UnknownModel => failure.param.as_deref().or(Some("model")),
        _ => failure.param.as_deref(),
    };
    let mut out = Vec::with_capacity(160 + failure.message.len());
    out.extend_from_slice(br#"{"error":{"message":"#);
    push_string(&mut out, &failure.message);
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","param":"#);
    push_optional(&mut out, param);
    out.extend_from_slice(br#","code":"#);
    push_optional(&mut out, code);
    out.extend_from_slice(b"}}");
    (status, out)
}
