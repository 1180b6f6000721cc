//! Who asks.

use std::net::IpAddr;
use std::sync::Arc;

use crate::keyring::ActiveKey;

/// Who asks, as far as the door could tell.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The caller's address: the peer's, or the one a trusted proxy vouches for.
    pub address: IpAddr,
    /// Whether the call came from this machine without a proxy in between (design: the peer is
    /// loopback, the Host header is a loopback name, and nothing says that it was forwarded).
    pub loopback: bool,
    /// Whether a valid credential came with it.
    pub authenticated: bool,
    /// The key that was shown, with all that holds for it.
    pub key: Option<Arc<ActiveKey>>,
    /// The caller's `user-agent`, at most 200 characters, for the record only.
    pub agent: Option<String>,
}
