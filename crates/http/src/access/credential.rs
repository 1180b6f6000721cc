//! What a caller shows: the static token, or a virtual key.
//!
//! Every credential of the head is looked at, and none stops the search, so that the time tells
//! nothing of which was right.

use std::net::IpAddr;
use std::sync::Arc;

use gateway::Caller;
use gateway::clock::WallClock;
use gateway::keyring::{ActiveKey, Denied, Keyring, Scope};
use gateway::keys::{Endpoint, KeyKind};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use model::{Failure, FailureKind};
use subtle::{Choice, ConstantTimeEq};

use super::{AccessRules, AuthMode};

const API_KEY: &str = "x-api-key";

/// Where keys are looked up.
#[derive(Clone, Debug)]
pub struct KeyDoor {
    /// All keys.
    pub keyring: Arc<Keyring>,
    /// The time by which they end.
    pub clock: Arc<dyn WallClock>,
}

/// What was shown, and is good.
#[derive(Debug)]
pub(super) enum Shown {
    /// Nothing that counts, where nothing need be shown.
    Nothing,
    /// The static token.
    Token,
    /// A key that may call.
    Key(Arc<ActiveKey>),
}

impl AccessRules {
    /// Finds what was shown, or why the caller needs to show something.
    pub(super) fn check_credential(
        &self,
        headers: &HeaderMap,
        loopback: bool,
    ) -> Result<Shown, Failure> {
        let token = self.token.as_ref().map(|token| token.expose().as_bytes());
        let mut any = false;
        let mut is_token = Choice::from(0);
        let mut key: Option<Result<Arc<ActiveKey>, Denied>> = None;
        for credential in credentials(headers) {
            any = true;
            if let Some(token) = token {
                is_token |= same(credential, token);
            }
            if let Some(keys) = &self.keys {
                match keys.keyring.identify(credential, keys.clock.now()) {
                    Err(Denied::Foreign) => {}
                    found if !matches!(key, Some(Ok(_))) => key = Some(found),
                    _ => {}
                }
            }
        }
        if bool::from(is_token) {
            return Ok(Shown::Token);
        }
        match key {
            Some(Ok(key)) if key.key.kind == KeyKind::Admin => {
                let message = "An admin key cannot call models: make a model key with it.";
                return Err(Failure::new(FailureKind::Forbidden, message));
            }
            Some(Ok(key)) => return Ok(Shown::Key(key)),
            // Who means one of our keys is told what is wrong with it, also where none is needed.
            Some(Err(denied)) => return Err(denied.failure()),
            None => {}
        }
        let locked = match &self.keys {
            Some(keys) => {
                let snapshot = keys.keyring.snapshot();
                if snapshot.install().is_err() {
                    return Err(Denied::Unavailable.failure());
                }
                token.is_some() || snapshot.has_model_keys()
            }
            None => token.is_some(),
        };
        let open = match self.auth {
            AuthMode::Auto => loopback && !locked,
            AuthMode::OpenLoopback => loopback,
            AuthMode::Required => false,
        };
        match (open, any) {
            // A credential on an open door is ignored: the SDKs insist on sending some key.
            (true, _) => Ok(Shown::Nothing),
            (false, _) if !locked => Err(self.nothing_set()),
            (false, false) => Err(unauthenticated(
                "This bridge asks for a token or key: send it as `Authorization: Bearer <token>` \
                 or as `x-api-key: <token>`.",
            )),
            (false, true) => Err(unauthenticated(
                "The token or key that came with the request is not valid here.",
            )),
        }
    }

    /// Who is refused, for the record: whether the token was shown, and which key, also one that has
    /// ended. Opens nothing.
    pub(super) fn recognize(&self, headers: &HeaderMap) -> (bool, Option<Arc<ActiveKey>>) {
        let token = self.token.as_ref().map(|token| token.expose().as_bytes());
        let mut is_token = Choice::from(0);
        let mut key: Option<Arc<ActiveKey>> = None;
        for credential in credentials(headers) {
            if let Some(token) = token {
                is_token |= same(credential, token);
            }
            if let Some(keys) = &self.keys {
                let found = keys.keyring.recognize(credential, keys.clock.now());
                key = key.or(found.ok());
            }
        }
        (bool::from(is_token), key)
    }

    /// The keys whose secrets were shown and that have ended, each once. For the record only.
    pub(super) fn ended_keys(&self, headers: &HeaderMap) -> Vec<Arc<ActiveKey>> {
        let mut ended: Vec<Arc<ActiveKey>> = Vec::new();
        let Some(keys) = &self.keys else { return ended };
        let now = keys.clock.now();
        for credential in credentials(headers) {
            if let Ok(key) = keys.keyring.recognize(credential, now)
                && key.alive(now).is_err()
                && !ended.iter().any(|known| known.key.id == key.key.id)
            {
                ended.push(key);
            }
        }
        ended
    }

    fn nothing_set(&self) -> Failure {
        unauthenticated(match self.auth {
            AuthMode::Required => {
                "This bridge asks everyone for a token, and no token is configured. Set one with \
                 `--token-file PATH` or MCPTB_TOKEN, or make a key with `mcptb keys create`."
            }
            AuthMode::Auto | AuthMode::OpenLoopback => {
                "Without a token this bridge serves only its own machine. Set one with \
                 `--token-file PATH` or MCPTB_TOKEN, or make a key with `mcptb keys create`, and \
                 send it as `Authorization: Bearer <token>`."
            }
        })
    }
}

/// Whether a key counts where its holder is: its own networks, and those of all that it hangs on.
pub(crate) fn check_network(key: &ActiveKey, address: IpAddr) -> Result<(), Failure> {
    let address = address.to_canonical();
    let allows =
        |nets: &[ipnet::IpNet]| nets.is_empty() || nets.iter().any(|net| net.contains(&address));
    match key.scopes.iter().find(|scope| !allows(&scope.bounds.networks)) {
        Some(scope) => Err(Failure::new(
            FailureKind::Forbidden,
            format!("`{}` does not allow calls from {address}.", scope.id),
        )
        .with_scope(scope.id.to_string())),
        None => Ok(()),
    }
}

/// Whether a key opens a door, and lets a body of the announced size through.
pub(crate) fn check_door(
    key: &ActiveKey,
    endpoint: Endpoint,
    announced: Option<u64>,
) -> Result<(), Failure> {
    let allows = |doors: &[Endpoint]| doors.is_empty() || doors.contains(&endpoint);
    if let Some(scope) = key.scopes.iter().find(|scope| !allows(&scope.bounds.endpoints)) {
        let message =
            format!("`{}` does not allow the endpoint `{}`.", scope.id, endpoint.as_str());
        let failure = Failure::new(FailureKind::Forbidden, message);
        return Err(failure.with_scope(scope.id.to_string()));
    }
    let too_large = |bound: Option<u64>| {
        announced.zip(bound).is_some_and(|(announced, bound)| announced > bound)
    };
    match key.scopes.iter().find(|scope| too_large(scope.bounds.max_body)) {
        Some(scope) => Err(too_large_for(scope)),
        None => Ok(()),
    }
}

/// The largest body that a key allows, if it says so.
pub(crate) fn max_body(key: &ActiveKey) -> Option<u64> {
    key.scopes.iter().filter_map(|scope| scope.bounds.max_body).min()
}

/// Names the scope in the failure of a body that was too large, where the bound was that of the
/// caller's key and not the `house`'s, in bytes. A body that announced its length was told before.
pub(crate) fn name_bound(failure: Failure, caller: &Caller, house: usize) -> Failure {
    let scopes = caller.key.iter().flat_map(|key| &key.scopes);
    let house = u64::try_from(house).unwrap_or(u64::MAX);
    let closest = scopes
        .filter_map(|scope| Some((scope.bounds.max_body?, scope)))
        .min_by_key(|(bound, _)| *bound)
        .filter(|(bound, _)| *bound <= house);
    match closest {
        Some((_, scope)) if failure.kind == FailureKind::TooLarge => too_large_for(scope),
        _ => failure,
    }
}

fn too_large_for(scope: &Scope) -> Failure {
    let bound = scope.bounds.max_body.unwrap_or_default();
    let message = format!("`{}` allows bodies of at most {bound} bytes.", scope.id);
    Failure::new(FailureKind::TooLarge, message).with_scope(scope.id.to_string())
}

fn unauthenticated(message: &str) -> Failure {
    Failure::new(FailureKind::Unauthenticated, message)
}

/// Every credential of a head.
pub(crate) fn credentials(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
    let keys = headers.get_all(API_KEY).iter().map(|value| value.as_bytes().trim_ascii());
    bearers.chain(keys).filter(|credential| !credential.is_empty())
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, credential) = value.as_bytes().split_at_checked(6)?;
    // "Bearerabc" is another scheme; at least one space has to follow (RFC 9110 §11.4).
    let spaced = credential.first().is_some_and(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"bearer") && spaced).then(|| credential.trim_ascii())
}

/// Compares in a time that depends on the length of what was shown, which the caller knows
/// anyway, and not on how much of it is right.
fn same(shown: &[u8], token: &[u8]) -> Choice {
    let padded = token.iter().copied().chain(std::iter::repeat(0));
    let bytes = shown
        .iter()
        .zip(padded)
        .fold(Choice::from(1), |equal, (left, right)| equal & left.ct_eq(&right));
    bytes & shown.len().ct_eq(&token.len())
}
