//! JSON-RPC 2.0 envelopes, read leniently and written by hand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Request was not understood as a request.
pub(crate) const INVALID_REQUEST: i64 = -32600;
/// No such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// Parameters are wrong.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// We failed.
pub(crate) const INTERNAL_ERROR: i64 = -32603;

/// One message. What it is follows from which fields are there.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) error: Option<&'a RawValue>,
}

/// The `error` member of an answer. Hosts are known to leave fields out.
#[derive(Debug, Default)]
pub(crate) struct ErrorObject<'a> {
    pub(crate) code: Option<&'a RawValue>,
    pub(crate) message: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for ErrorObject<'a> {
    /// By hand, because a derived reader fails as a whole on a doubled field.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = <BTreeMap<Cow<'a, str>, &'a RawValue>>::deserialize(deserializer)?;
        Ok(Self { code: fields.get("code").copied(), message: fields.get("message").copied() })
    }
}

/// Our ids: `"s-<n>"`.
pub(crate) fn parse_own_id(raw: &str) -> Option<u64> {
    raw.strip_prefix("\"s-")?.strip_suffix('"')?.parse().ok()
}

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Begins a request of ours, up to and including `"params":`.
pub(crate) fn begin_request(out: &mut Vec<u8>, id: u64, method: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":\"s-");
    out.extend_from_slice(id.to_string().as_bytes());
    out.extend_from_slice(b"\",\"method\":");
    push_string(out, method);
    out.extend_from_slice(b",\"params\":");
}

/// Begins a notification of ours, up to and including `"params":`.
pub(crate) fn begin_notification(out: &mut Vec<u8>, method: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":");
    push_string(out, method);
    out.extend_from_slice(b",\"params\":");
}

/// Begins an answer, up to and including `"result":`.
pub(crate) fn begin_result(out: &mut Vec<u8>, raw_id: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(raw_id.as_bytes());
    out.extend_from_slice(b",\"result\":");
}

/// Writes a whole error answer without its line break.
pub(crate) fn write_error(out: &mut Vec<u8>, raw_id: &str, code: i64, message: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(raw_id.as_bytes());
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    push_string(out, message);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::parse_own_id;

    #[test]
    fn only_our_own_ids_are_ours() {
        assert_eq!(parse_own_id("\"s-17\""), Some(17));
        for other in ["17", "\"17\"", "\"s-\"", "\"s-x\"", "s-17", "null", "\"s-17"] {
            assert_eq!(parse_own_id(other), None, "{other}");
        }
    }
}
