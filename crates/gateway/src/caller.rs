//! Who asks.

use std::net::IpAddr;
use std::sync::Arc;

use crate::keyring::ActiveKey;

use crate::Lane;

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

impl Caller {
    /// The lane in which the caller's calls wait for a host.
    ///
    /// A tenant has one for all of its keys. Everybody without a key shares one.
    pub fn lane(&self) -> Lane {
        match &self.key {
            Some(key) => Lane { name: key.key.tenant.shared(), weight: u32::from(key.weight) },
            None => Lane::default(),
        }
    }

    /// The priority of the caller's calls within that lane: higher comes first.
    pub fn priority(&self) -> u8 {
        self.key.as_ref().map_or(0, |key| key.priority)
    }
}
