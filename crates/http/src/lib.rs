//! The public doors: OpenAI and Anthropic routes, models, health.
//!
//! What it is: HTTP. It finds out who asks ([`access`]), reads bodies within bounds ([`body`]),
//! hands a [`gateway::Call`] to the gateway and writes the answer in the caller's dialect. What it
//! is *not*: it knows no upstream and makes no decision about a call.
//!
//! Start with [`router`], which the [`listener`] serves.
//!
//! Invariants: the credential is checked before a body is read; nothing that must happen lives in
//! a handler, since hyper drops it when the caller hangs up; an error is never inside a 200.

pub mod access;
pub mod admin;
mod asked;
pub mod body;
mod call;
mod count_tokens;
mod doors;
mod explain;
mod headers;
mod health;
mod kept;
pub mod listener;
mod models;
mod params;
mod paths;
mod query;
mod rate_headers;
mod replay;
mod reply;
mod responses;
mod rules;
mod stream_body;
pub mod tls;
mod usage;
mod version;
mod whole_body;

pub use doors::{DoorSettings, router, router_with};
pub use paths::{PUBLIC_PATHS, PublicPath};
pub use rules::{DoorRules, LiveRules};
