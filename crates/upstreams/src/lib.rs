//! Who answers: MCP hosts, through `sampling/createMessage`, and an echo that needs no model.
//!
//! What it is: the wing between the gateway's [`Upstream`](gateway::Upstream) port and the MCP end.
//! What it is *not*: it knows no caller's dialect and no HTTP. Sampling is deprecated in MCP
//! 2026-07-28, so this is a wing and not the house: the workspace builds without `host`.
//!
//! Start with [`host::HostPool`]; [`echo::Echo`] is the smallest upstream there is.
//!
//! Invariants: a host is never sampled again unasked after a person said no; a slot comes back
//! only when the host is known to have stopped, or after a minute; a late answer reaches nobody,
//! but still decides consent.

pub mod echo;
mod ending;
pub mod host;
