//! An MCP server's end of the wire.
//!
//! What it is: a JSON-RPC 2.0 peer over newline-delimited JSON ([`Connection`], [`Peer`]), the
//! stdio transports ([`stdio`]), and the few MCP methods that a sampling bridge serves
//! ([`Server`]). What it is *not*: it knows nothing of gateways, models or HTTP.
//!
//! Start with [`Connection::run`]: it reads lines, hands requests and notifications to a
//! [`Handler`], and resolves the replies to our own requests.
//!
//! Invariants:
//! - our request ids are strings (`"s-7"`): VS Code applies a `notifications/cancelled` to its own
//!   numeric ids, so a numeric one could end a request of its own;
//! - lines leave in the order in which they were queued, many to a write;
//! - memory is bounded: a line above the cap is skipped and fails only the request that it
//!   answers, and a host that does not read stops us from reading;
//! - no input ends the connection except its end.

mod connection;
mod envelope;
mod ids;
mod lines;
mod outbox;
pub mod peer;
pub mod server;
pub mod stdio;

pub use connection::{Connection, Ended, Handler, Limits};
pub use peer::{LateReply, Outgoing, Peer, PendingReply, Reply, ReplyError, Request, SendError};
pub use server::{HostInfo, ProgressToken, ProtocolVersion, Server, Service, ToolCall, ToolReply};
