//! A call of one of our tools.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::envelope;
use crate::peer::{Peer, Request};

/// A call of one of our tools. Answer it with [`ToolReply`].
#[derive(Debug)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The raw JSON of `arguments`.
    pub arguments: Option<Bytes>,
    /// Where progress goes, if the host asked for it.
    pub progress: Option<ProgressToken>,
    /// Cancelled when the host cancels the call.
    pub cancelled: CancellationToken,
    /// Takes the answer.
    pub reply: ToolReply,
}

/// Takes the answer of a tool call.
///
/// Answering or dropping it also ends the bookkeeping of the call.
#[derive(Debug)]
pub struct ToolReply(Request, #[expect(dead_code, reason = "held for its drop")] DropGuard);

impl ToolReply {
    /// Answers with text; `is_error` says whether the tool failed.
    pub fn text(self, text: &str, is_error: bool) {
        self.0.reply(|out| {
            out.extend_from_slice(b"{\"content\":[{\"type\":\"text\",\"text\":");
            envelope::push_string(out, text);
            out.extend_from_slice(b"}],\"isError\":");
            out.extend_from_slice(if is_error { b"true" } else { b"false" });
            out.push(b'}');
        });
    }

    /// Says that there is no such tool.
    pub fn unknown_tool(self) {
        self.0.fail(envelope::INVALID_PARAMS, "Unknown tool");
    }

    /// Ends the call without an answer, because the host cancelled it.
    pub fn withdraw(self) {
        self.0.withdraw();
    }
}

/// The host's token for progress of one call: the raw JSON of a string or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressToken(String);

impl ProgressToken {
    /// Reports progress. `progress` must grow from call to call.
    pub fn report(&self, peer: &Peer, progress: u64, message: &str) {
        let _ = peer.notify("notifications/progress", |out| {
            out.extend_from_slice(b"{\"progressToken\":");
            out.extend_from_slice(self.0.as_bytes());
            out.extend_from_slice(b",\"progress\":");
            out.extend_from_slice(progress.to_string().as_bytes());
            out.extend_from_slice(b",\"message\":");
            envelope::push_string(out, message);
            out.push(b'}');
        });
    }
}

#[derive(Deserialize)]
struct Params<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

impl ToolCall {
    /// Reads the request, or gives it back if it names no tool.
    pub(crate) fn read(request: Request, cancelled: CancellationToken) -> Result<Self, Request> {
        let Some(raw) = request.params.clone() else {
            return Err(request);
        };
        let Ok(params) = serde_json::from_slice::<Params<'_>>(&raw) else {
            return Err(request);
        };
        let progress = params
            .meta
            .and_then(|meta| serde_json::from_str::<Meta<'_>>(meta.get()).ok())
            .and_then(|meta| meta.progress_token)
            .map(RawValue::get)
            .filter(|token| !token.starts_with(['{', '[']))
            .map(|token| ProgressToken(token.to_owned()));
        let arguments = params.arguments.map(|raw_part| raw.slice_ref(raw_part.get().as_bytes()));
        let name = params.name;
        let reply = ToolReply(request, cancelled.clone().drop_guard());
        Ok(Self { name, arguments, progress, cancelled, reply })
    }
}
