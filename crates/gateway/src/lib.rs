//! House rules: the one road that every call takes.
//!
//! What it is: [`Gateway::complete`], which admits a call, runs it as a task of its own, enforces
//! its deadline, notices a hang-up, and writes the end of its record; and the ports through which
//! it sees the rest of the house. What it is *not*: it knows no wire format, no HTTP and no MCP.
//!
//! Start with [`Gateway`].
//!
//! Invariants: every admitted call is a tracked task that alone settles it; the door holds only a
//! bounded receiver, and dropping that receiver is the hang-up; every call ends with exactly one
//! [`CallLog::finished`], also after a panic.

pub mod admin;
pub mod admission;
/// What calls cost, and what may be spent.
pub mod amounts {
    pub use crate::budgets::{Amounts, Budget, Span, Unit};
}
mod audit;
pub mod budgets;
mod call;
mod caller;
pub mod clock;
mod complete;
mod end;
mod explain;
#[cfg(any(test, feature = "fakes"))]
pub mod fakes;
pub mod keyring;
pub mod keys;
pub mod limits;
pub mod policy;
mod ports;
mod recorded;
mod redact;
mod refusals;
mod slots;
pub mod store;
mod successor;
mod takeover;
mod transcript;
mod turns;

#[cfg(test)]
mod tests;

pub use admission::{Bill, Outstanding};
pub use audit::{Audit, AuditScope};
pub use call::{Call, ChoiceEvents, Running};
pub use caller::Caller;
pub use complete::{Gateway, GatewayLimits, GatewayParts, Knock, Refusal};
pub use explain::{Answering, Explained};
pub use ports::{
    BoxFuture, CallLog, EventSink, Finished, HUNG_UP, HungUp, Order, Outcome, Received, Upstream,
    UpstreamStatus,
};
pub use redact::{BadPattern, Redacted, Redactor, SecretKind, SecretKinds};
pub use slots::{Lane, Place, Slot, Slots};
pub use takeover::ReplayKey;
