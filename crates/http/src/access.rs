//! Who may come in: the Host, Origin and forwarding rules, then the credential.
//!
//! A browser can be made to call a loopback port, by a page of any site or by a name that is
//! rebound to 127.0.0.1. So names are checked before credentials, and being on this machine
//! counts only where no proxy stood in between. All of it is decided from the head alone,
//! before a byte of the body is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gateway::Caller;
use http::header::{FORWARDED, HOST, ORIGIN, USER_AGENT, VIA};
use http::request::Parts;
use http::{HeaderMap, Version};
use ipnet::IpNet;
use model::{Failure, FailureKind, Secret};

pub use credential::KeyDoor;
use credential::Shown;
pub(crate) use credential::{check_door, check_network, credentials, max_body, name_bound};

mod credential;

#[cfg(test)]
mod tests;

/// The longest `user-agent` that is kept, in characters.
const AGENT_CHARS: usize = 200;
/// The longest host name that DNS can carry, in bytes.
const HOST_NAME_BYTES: usize = 253;
const FORWARDED_FOR: &str = "x-forwarded-for";
const REAL_IP: &str = "x-real-ip";

/// Who must show a token or key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Everyone where there is a token or a key; nobody on loopback where there is none.
    #[default]
    Auto,
    /// Everyone, always: without a token or key nobody gets in.
    Required,
    /// Everyone but loopback.
    OpenLoopback,
}

/// The rules of the public doors.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// The one static token, if set. An empty token never matches.
    pub token: Option<Secret<String>>,
    /// The virtual keys, unless this bridge has no store.
    pub keys: Option<KeyDoor>,
    /// Who must show one of them.
    pub auth: AuthMode,
    /// Host names accepted besides `localhost` and IP literals; case, port and a trailing dot
    /// do not matter.
    pub allow_hosts: Vec<String>,
    /// Origins accepted, compared byte for byte; `null` can be listed too.
    pub allow_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
}

impl AccessRules {
    /// Decides whether a request may come in, and says who is asking.
    ///
    /// # Errors
    ///
    /// `BadRequest` for a missing, repeated or malformed Host; `Forbidden` for a Host or Origin
    /// that is not accepted, and for a key in a place where it does not count; `Unauthenticated`
    /// where a token or key is needed and not shown; `NotReady` while it is not known which keys
    /// there are. The messages say what to set.
    pub fn admit(&self, peer: IpAddr, head: &Parts) -> Result<Caller, Failure> {
        let peer = peer.to_canonical();
        let host_is_loopback = self.check_host(head)?;
        self.check_origin(&head.headers)?;
        let forwarded = is_forwarded(&head.headers);
        let loopback = peer.is_loopback() && host_is_loopback && !forwarded;
        let shown = self.check_credential(&head.headers, loopback)?;
        let address = if forwarded { self.forwarded_for(peer, &head.headers) } else { peer };
        let (authenticated, key) = match shown {
            Shown::Nothing => (false, None),
            Shown::Token => (true, None),
            Shown::Key(key) => {
                credential::check_network(&key, address)?;
                (true, Some(key))
            }
        };
        Ok(Caller { address, loopback, authenticated, key, agent: agent(&head.headers) })
    }

    /// Who it is that is not let in, for the record. Whoever shows the secret of a key that has ended,
    /// or may not be used so, is no stranger.
    pub(crate) fn refused(&self, peer: IpAddr, head: &Parts) -> Caller {
        let peer = peer.to_canonical();
        let headers = &head.headers;
        let address = if is_forwarded(headers) { self.forwarded_for(peer, headers) } else { peer };
        let (token, key) = self.recognize(headers);
        let authenticated = token || key.is_some();
        Caller { address, loopback: false, authenticated, key, agent: agent(headers) }
    }

    /// Those who hold the keys that were shown and have ended, for the record. Whoever is let in by
    /// something else shows them all the same.
    pub(crate) fn ended(&self, peer: IpAddr, head: &Parts) -> impl Iterator<Item = Caller> {
        let keys = self.ended_keys(&head.headers);
        // Nearly always there are none.
        let refused = (!keys.is_empty()).then(|| self.refused(peer, head));
        keys.into_iter().filter_map(move |key| Some(Caller { key: Some(key), ..refused.clone()? }))
    }

    /// Checks every name the request gives for this server and says whether all are loopback.
    ///
    /// RFC 9112 §3.2.2 lets an absolute URI win over the Host header. Both are checked here, so
    /// that neither can be used to get around the other.
    fn check_host(&self, head: &Parts) -> Result<bool, Failure> {
        let mut fields = head.headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(bad_host("The request has more than one Host header."));
        }
        let authority = head.uri.authority();
        if field.is_none() && authority.is_none() {
            // HTTP/1.0 knows no Host. Such a caller is let through to the credential, but never
            // counts as loopback.
            return if head.version >= Version::HTTP_11 {
                Err(bad_host("The request has no Host header."))
            } else {
                Ok(false)
            };
        }
        let mut loopback = true;
        if let Some(authority) = authority {
            loopback &= self.check_name(authority.as_str())?;
        }
        if let Some(field) = field {
            let text = field.to_str().map_err(|_| bad_host(MALFORMED_HOST))?;
            loopback &= self.check_name(text)?;
        }
        Ok(loopback)
    }

    fn check_name(&self, text: &str) -> Result<bool, Failure> {
        match HostName::parse(text).ok_or_else(|| bad_host(MALFORMED_HOST))? {
            HostName::Address(address) => Ok(address == IpAddr::V4(Ipv4Addr::LOCALHOST)
                || address == IpAddr::V6(Ipv6Addr::LOCALHOST)),
            HostName::Name(name) if name.eq_ignore_ascii_case("localhost") => Ok(true),
            HostName::Name(name) if self.allows_host(name) => Ok(false),
            HostName::Name(name) => Err(Failure::new(
                FailureKind::Forbidden,
                format!(
                    "The host name `{name}` is not accepted here. If it is yours, start the \
                     bridge with `--allow-host {name}`."
                ),
            )),
        }
    }

    fn allows_host(&self, name: &str) -> bool {
        self.allow_hosts.iter().any(|allowed| match HostName::parse(allowed) {
            Some(HostName::Name(allowed)) => allowed.eq_ignore_ascii_case(name),
            Some(HostName::Address(_)) | None => false,
        })
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Failure> {
        for origin in headers.get_all(ORIGIN) {
            if self.allow_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
                continue;
            }
            let shown: String = origin.to_str().unwrap_or("").chars().take(AGENT_CHARS).collect();
            return Err(Failure::new(
                FailureKind::Forbidden,
                format!(
                    "Requests from web pages are not accepted (Origin `{shown}`). An origin that \
                     you trust can be named with `--allow-origin`."
                ),
            ));
        }
        Ok(())
    }

    /// The address a trusted proxy vouches for: the rightmost one that is not itself a trusted
    /// proxy. Whatever stands left of it was written by the caller and proves nothing.
    fn forwarded_for(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let mut farthest = peer;
        for field in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(text) = field.to_str() else {
                return peer;
            };
            for entry in text.rsplit(',') {
                let Some(address) = forwarded_address(entry.trim()) else {
                    return peer;
                };
                farthest = address;
                if !self.trusts(address) {
                    return address;
                }
            }
        }
        farthest
    }

    /// Decides only what comes before any credential, and says where the caller is.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit) for Host and Origin.
    pub(crate) fn locate(&self, peer: IpAddr, head: &Parts) -> Result<IpAddr, Failure> {
        let peer = peer.to_canonical();
        self.check_host(head)?;
        self.check_origin(&head.headers)?;
        let forwarded = is_forwarded(&head.headers);
        Ok(if forwarded { self.forwarded_for(peer, &head.headers) } else { peer })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

const MALFORMED_HOST: &str = "The Host of the request is malformed.";

fn bad_host(message: &str) -> Failure {
    Failure::new(FailureKind::BadRequest, message).with_param("host")
}

/// What a Host header names, without its port.
enum HostName<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> HostName<'a> {
    /// Reads `name`, `a.b.c.d` or `[v6]`, each with or without a port.
    ///
    /// Only the dotted form with four numbers is an address. Others that some resolvers accept
    /// (`127.1`, `0x7f000001`) are names, and so refused.
    fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, port) = rest.split_once(']')?;
            let address: Ipv6Addr = inner.parse().ok()?;
            let good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            return good.then_some(Self::Address(address.into()));
        }
        let name = match text.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return None,
            None => text,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let clean = !name.is_empty()
            && name.len() <= HOST_NAME_BYTES
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        clean.then_some(Self::Name(name))
    }
}

/// RFC 3986 §3.2.3 allows an empty port after the colon.
fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        name == FORWARDED
            || name == VIA
            || name == REAL_IP
            || name.as_str().starts_with("x-forwarded")
    })
}

/// Proxies write an address with or without its port, and sometimes brackets without a port.
fn forwarded_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes());
    let cut: String = text.chars().take(AGENT_CHARS).collect();
    (!cut.is_empty()).then_some(cut)
}
