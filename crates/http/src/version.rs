//! The version of Anthropic's API that a request speaks.

use dialects::anthropic_messages::ApiVersion;
use http::HeaderMap;

/// Reads `anthropic-version`.
pub(crate) fn version(headers: &HeaderMap) -> ApiVersion {
    let version = headers.get("anthropic-version").and_then(|value| value.to_str().ok());
    ApiVersion::from_header(version)
}
