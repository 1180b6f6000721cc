//! What every reply of a call shares.

use model::CallId;

/// The fixed parts of a reply, streamed or not.
#[derive(Clone, Debug)]
pub struct ReplyHead {
    /// The call; ids on the wire are made from it.
    pub id: CallId,
    /// When the call began, seconds since the Unix epoch.
    pub created: u64,
    /// The `model` field: the requested name, for `auto` the served one where it is known.
    pub model: String,
    /// Our estimate of the tokens read, at least 1; streams need it before the answer.
    pub input_tokens: u64,
    /// How many replies were asked for, at least 1.
    pub choices: u8,
}
