//! The language of the bridge: what a caller wants, what it gets, and how a call can fail.
//!
//! What it is: plain data that every room shares. What it is *not*: a wire format. Nothing here
//! does I/O, is async or derives serde; wire structs live in `dialects`, rows in the stores.
//!
//! Start with [`CompletionRequest`] and [`CompletionEvent`]; [`Completion`] is the fold of the
//! events, and [`Failure`] is the only error that reaches a caller.
//!
//! Invariants: everything but [`Failure::source`] compares and prints; `fold(events(c)) == c`
//! (see [`Fold`]); [`Json`] never holds a raw control character; [`Secret`] never prints.

mod block;
mod completion;
mod event;
mod failure;
mod ids;
mod json;
mod loss;
mod names;
mod request;
mod secret;
mod stop;

pub use block::{
    Block, CacheMark, Media, MediaKind, MediaSource, Opaque, Reasoning, Text, ToolCall,
    ToolCallInput, ToolResult,
};
pub use completion::{Completion, Fold, StreamFault};
pub use event::{BlockKind, CompletionEvent, StopReason, Usage};
pub use failure::{Blame, BoxError, Failure, FailureKind, Retry};
pub use ids::CallId;
pub use json::Json;
pub use loss::{Loss, LossSet};
pub use names::{Dialect, ModelAlias, ModelName};
pub use request::{
    CompletionRequest, GenerationParams, Message, OutputFormat, ParamsMode, Role, Tool, ToolChoice,
    ToolInput, ToolName,
};
pub use secret::Secret;
pub use stop::first_stop;
