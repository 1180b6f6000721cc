//! What the tests stand on.

pub(crate) mod canaries;
pub(crate) mod desk;
pub(crate) mod door;
pub(crate) mod endpoints;
pub(crate) mod heard;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod keyring;
pub(crate) mod launch;
pub(crate) mod lines;
pub(crate) mod process;
pub(crate) mod profile;
pub(crate) mod responses;
pub(crate) mod sse;

use std::time::Duration;

/// How long anything is waited for. Far above what it takes, so that a busy machine fails nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) use desk::{Desk, IssuedKey};
pub(crate) use door::Door;
pub(crate) use host::{FakeHost, Sampling};
pub(crate) use http::{Call, Head, Reply, Request, Target};
pub(crate) use keyring::{Books, Key, Record};
pub(crate) use launch::{Launch, Rig};
pub(crate) use process::Plumbing;
pub(crate) use profile::Profile;

/// Makes a test of a function for each way in which a host may be connected.
macro_rules! in_every_plumbing {
    ($($name:ident),* $(,)?) => {
        mod pipes { $(#[test] fn $name() { super::$name($crate::support::Plumbing::Pipes); })* }
        mod sockets { $(#[test] fn $name() { super::$name($crate::support::Plumbing::Sockets); })* }
        mod threads { $(#[test] fn $name() { super::$name($crate::support::Plumbing::Threads); })* }
    };
}
pub(crate) use in_every_plumbing;
