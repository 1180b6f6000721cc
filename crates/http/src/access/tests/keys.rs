//! Who must show a key: the rules of the doors where there are keys, as one table.

use std::sync::Arc;

use gateway::clock::WallClock;
use gateway::keyring::Keyring;
use gateway::keys::token::{Entropy, InstallSecret, mint};
use gateway::keys::{KeyKind, Tenant, UnixMillis, VirtualKey};
use gateway::store::{Change, Loaded};
use model::{FailureKind, Secret};

use super::{LOCAL, TOKEN, admit, head};
use crate::access::{AccessRules, AuthMode, KeyDoor};

const NOW: UnixMillis = 1_000;

#[derive(Debug)]
struct Fixed;

impl WallClock for Fixed {
    fn now(&self) -> UnixMillis {
        NOW
    }
}

fn install() -> InstallSecret {
    InstallSecret::new([9; 32])
}

/// The same key for the same seed.
fn key(kind: KeyKind, seed: u8) -> (VirtualKey, String) {
    let entropy = Entropy { secret: Secret::new([seed; 32]), id: [seed; 12] };
    let minted = mint(kind, &entropy, &install());
    let key = VirtualKey::new(kind, "team".parse().unwrap(), minted.id, minted.digest, 0);
    (key, minted.token.expose().clone())
}

fn good() -> VirtualKey {
    key(KeyKind::Model, 1).0
}

fn revoked() -> VirtualKey {
    VirtualKey { revoked: Some(1), ..key(KeyKind::Model, 2).0 }
}

fn admin() -> VirtualKey {
    key(KeyKind::Admin, 3).0
}

fn sandbox() -> VirtualKey {
    key(KeyKind::Sandbox, 4).0
}

fn expired() -> VirtualKey {
    VirtualKey { expires: Some(NOW), ..key(KeyKind::Model, 5).0 }
}

fn ring(keys: Vec<VirtualKey>) -> Keyring {
    let team = Tenant::new("team".parse().unwrap(), 0);
    Keyring::new(install(), Loaded { keys, tenants: vec![team], ..Loaded::default() })
}

fn all() -> Vec<VirtualKey> {
    vec![good(), revoked(), admin(), sandbox(), expired()]
}

/// A ring that had every key, until the last was deleted.
fn emptied() -> Keyring {
    let ring = ring(all());
    for key in all() {
        ring.apply(&Change::KeyDeleted(key.id));
    }
    ring
}

/// What can be shown, in the order of the columns.
fn shown() -> [(&'static str, Option<String>); 9] {
    let mut damaged = key(KeyKind::Model, 1).1;
    let last = if damaged.pop() == Some('a') { 'b' } else { 'a' };
    damaged.push(last);
    [
        ("nothing", None),
        ("a foreign key", Some("sk-proj-of-another-vendor".to_owned())),
        ("the token", Some(TOKEN.to_owned())),
        ("a model key", Some(key(KeyKind::Model, 1).1)),
        ("a damaged key", Some(damaged)),
        ("a revoked key", Some(key(KeyKind::Model, 2).1)),
        ("an admin key", Some(key(KeyKind::Admin, 3).1)),
        ("a sandbox key", Some(key(KeyKind::Sandbox, 4).1)),
        ("an expired key", Some(key(KeyKind::Model, 5).1)),
    ]
}

/// One letter for what becomes of a request: `o` open, `t` by the token, `k` by a key, `-` 401,
/// `x` 403, `?` 503.
fn outcome(rules: &AccessRules, peer: &str, credential: Option<&str>) -> char {
    let mut headers = vec![LOCAL];
    headers.extend(credential.map(|credential| ("x-api-key", credential)));
    match admit(rules, peer, &headers) {
        Ok(caller) => match (caller.authenticated, caller.key) {
            (false, None) => 'o',
            (true, None) => 't',
            (true, Some(_)) => 'k',
            (false, Some(key)) => panic!("{key:?} without a credential"),
        },
        Err(failure) => match failure.kind {
            FailureKind::Unauthenticated => '-',
            FailureKind::Forbidden => 'x',
            FailureKind::NotReady => '?',
            kind => panic!("{kind:?}"),
        },
    }
}

#[test]
fn who_must_show_a_key() {
    type Setup = (&'static str, Option<&'static str>, fn() -> Option<Keyring>);
    // What there is; then nine letters, one for each thing that can be shown, for: auto near and
    // far, required near and far, open-loopback near and far.
    let table: [(Setup, [&str; 6]); 12] = [
        (
            ("no token and no store", None, || None),
            ["ooooooooo", "---------", "---------", "---------", "ooooooooo", "---------"],
        ),
        (
            ("no token and no key", None, || Some(ring(Vec::new()))),
            ["ooo------", "---------", "---------", "---------", "ooo------", "---------"],
        ),
        (
            ("a token", Some(TOKEN), || Some(ring(Vec::new()))),
            ["--t------", "--t------", "--t------", "--t------", "oot------", "--t------"],
        ),
        (
            ("a model key", None, || Some(ring(vec![good()]))),
            ["---k-----", "---k-----", "---k-----", "---k-----", "oook-----", "---k-----"],
        ),
        (
            ("a sandbox key", None, || Some(ring(vec![sandbox()]))),
            ["-------k-", "-------k-", "-------k-", "-------k-", "ooo----k-", "-------k-"],
        ),
        (
            ("an admin key only", None, || Some(ring(vec![admin()]))),
            ["ooo---x--", "------x--", "------x--", "------x--", "ooo---x--", "------x--"],
        ),
        (
            ("an expired key only", None, || Some(ring(vec![expired()]))),
            ["---------", "---------", "---------", "---------", "ooo------", "---------"],
        ),
        (
            ("a revoked key only", None, || Some(ring(vec![revoked()]))),
            ["---------", "---------", "---------", "---------", "ooo------", "---------"],
        ),
        (
            ("every kind of key", None, || Some(ring(all()))),
            ["---k--xk-", "---k--xk-", "---k--xk-", "---k--xk-", "oook--xk-", "---k--xk-"],
        ),
        (
            ("a token and every kind of key", Some(TOKEN), || Some(ring(all()))),
            ["--tk--xk-", "--tk--xk-", "--tk--xk-", "--tk--xk-", "ootk--xk-", "--tk--xk-"],
        ),
        (
            ("every key deleted", None, || Some(emptied())),
            ["ooo------", "---------", "---------", "---------", "ooo------", "---------"],
        ),
        (
            // Whether a key must be shown is not known then, so nobody is told that it is bad.
            ("keys that are not loaded", None, || Some(Keyring::unavailable("locked"))),
            ["????-????", "????-????", "????-????", "????-????", "????-????", "????-????"],
        ),
    ];
    let modes = [AuthMode::Auto, AuthMode::Required, AuthMode::OpenLoopback];
    let places = modes.into_iter().flat_map(|mode| [(mode, "127.0.0.1"), (mode, "192.0.2.7")]);
    for ((name, token, keys), rows) in table {
        for ((auth, peer), row) in places.clone().zip(rows) {
            let keys = keys()
                .map(|keyring| KeyDoor { keyring: Arc::new(keyring), clock: Arc::new(Fixed) });
            let token = token.map(|token| Secret::new(token.to_owned()));
            let rules = AccessRules { token, keys, auth, ..AccessRules::default() };
            assert_eq!(row.len(), shown().len());
            for ((what, credential), expected) in shown().into_iter().zip(row.chars()) {
                let found = outcome(&rules, peer, credential.as_deref());
                assert_eq!(found, expected, "{name}, {auth:?}, from {peer}, {what}");
            }
        }
    }
}

/// Whoever shows the secret of a key is on record by its id, whatever the key opens; nobody else is.
#[test]
fn who_is_refused_is_known_by_the_secret() {
    let keys = Some(KeyDoor { keyring: Arc::new(ring(all())), clock: Arc::new(Fixed) });
    let token = Some(Secret::new(TOKEN.to_owned()));
    let rules = AccessRules { token, keys, ..AccessRules::default() };
    let stolen_id = {
        let (entropy, id) = (Secret::new([7; 32]), [2; 12]);
        mint(KeyKind::Model, &Entropy { secret: entropy, id }, &install()).token.expose().clone()
    };
    let ids = [None, None, None, Some(1), None, Some(2), Some(3), Some(4), Some(5)];
    let mut cases: Vec<_> = shown().into_iter().zip(ids).collect();
    cases.push((("the id of a key with another secret", Some(stolen_id)), None));
    for ((what, credential), id) in cases {
        let mut headers = vec![LOCAL];
        headers.extend(credential.as_deref().map(|credential| ("x-api-key", credential)));
        let caller = rules.refused("192.0.2.7".parse().unwrap(), &head("/v1/messages", &headers));
        let found = caller.key.as_ref().map(|key| key.key.id);
        let expected = id.map(|id| gateway::keys::KeyId::from_entropy([id; 12]));
        assert_eq!(found, expected, "{what}");
        let known = id.is_some() || what == "the token";
        assert_eq!((caller.authenticated, caller.loopback), (known, false), "{what}");
    }
}

/// Who is turned away learns what to do: to set something, or to send what is set.
#[test]
fn strangers_are_told_how() {
    for (keys, must_set) in [(Vec::new(), true), (vec![admin()], true), (vec![expired()], false)] {
        let keyring = Arc::new(ring(keys));
        let keys = Some(KeyDoor { keyring, clock: Arc::new(Fixed) });
        let rules = AccessRules { keys, ..AccessRules::default() };
        let failure = admit(&rules, "192.0.2.7", &[LOCAL]).unwrap_err();
        assert_eq!(failure.message.contains("mcptb keys create"), must_set, "{failure}");
        assert!(failure.message.contains("Authorization: Bearer"), "{failure}");
    }
}
