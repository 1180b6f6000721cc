//! The headers of our replies.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode};
use model::{CallId, Dialect, Failure, LossSet, Retry};

/// Which bridge answers, and its version (from the prototype).
pub(crate) const BRIDGE: HeaderName = HeaderName::from_static("x-mcp-bridge");
/// The model that answered (from the prototype).
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-mcp-model");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const LOSS: HeaderName = HeaderName::from_static("x-mcptb-loss");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The most characters of a model's name.
const NAME: usize = 200;
/// Room for all headers of a reply: those of limits would else make the map grow.
const HEADERS: usize = 12;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// A JSON reply.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(CONTENT_TYPE, JSON);
    response
}

/// A stream of server-sent events that no proxy should hold back.
pub(crate) fn events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(CONTENT_TYPE, EVENTS);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Names the call: `x-request-id`, and Anthropic's `request-id` made from the same UUID.
pub(crate) fn identify(headers: &mut HeaderMap, id: CallId, dialect: Dialect) {
    insert(headers, REQUEST_ID, id.encode(&mut [0; 36]));
    if dialect == Dialect::AnthropicMessages {
        insert(headers, ANTHROPIC_REQUEST_ID, &format!("req_{}", id.hex()));
    }
}

/// Names what was lost, if anything was.
pub(crate) fn name_losses(headers: &mut HeaderMap, losses: LossSet) {
    if !losses.is_empty() {
        insert(headers, LOSS, &losses.names());
    }
}

/// Names the model that answered. Names that do not fit a header lose what does not fit.
pub(crate) fn name_model(headers: &mut HeaderMap, model: &str) {
    if !model.is_empty() {
        let is_visible = |char: &char| matches!(char, ' '..='~');
        if model.len() <= NAME && model.chars().all(|char| is_visible(&char)) {
            insert(headers, MODEL, model);
        } else {
            let visible: String = model.chars().filter(is_visible).take(NAME).collect();
            insert(headers, MODEL, &visible);
        }
    }
}

/// Tells clients whether and when to come again. SDKs retry 408, 429 and 5xx by themselves, and a
/// retry may cost a person a click.
pub(crate) fn advise_retry(headers: &mut HeaderMap, failure: &Failure) {
    match failure.retry {
        Retry::Never => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Retry::Now => {}
        Retry::After(wait) => {
            insert(headers, RETRY_AFTER, &whole_seconds(wait).to_string());
        }
    }
}

/// A wait in whole seconds, at least 1.
pub(crate) const fn whole_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs().saturating_add((wait.subsec_nanos() > 0) as u64);
    if seconds == 0 { 1 } else { seconds }
}

/// Says that the connection ends with this reply.
///
/// hyper ends it silently where a body was left unread, and a client that sends its next request
/// on it would see a connection error for a call that has done nothing wrong.
pub(crate) fn close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// How large a body the head of a request announces, where it says so.
pub(crate) fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the head of a request announces a body.
pub(crate) fn announce_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
