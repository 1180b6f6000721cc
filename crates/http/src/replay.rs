//! What tells that a request is an earlier one in a new form.

use dialects::digest::digest;
use gateway::{Gateway, ReplayKey};
use http::{HeaderMap, HeaderName};
use std::hash::BuildHasher;

/// The session of Claude Code. Only its header counts, because it is the one client that is known
/// to ask again like this: another that names sessions may well want a second answer.
const SESSION: HeaderName = HeaderName::from_static("x-claude-code-session-id");

/// Members that differ between a stream and its repetition.
const MAY_DIFFER: [&str; 2] = ["stream", "max_tokens"];

/// The key of a request that names a session; `None` for every other one.
pub(crate) fn replay_key(gateway: &Gateway, headers: &HeaderMap, body: &[u8]) -> Option<ReplayKey> {
    let session = headers.get(SESSION)?.as_bytes().trim_ascii();
    if session.is_empty() {
        return None;
    }
    let hasher = gateway.replay_hasher()?;
    let body = digest(body, &MAY_DIFFER, hasher)?;
    Some(ReplayKey { session: hasher.hash_one(session), body })
}
