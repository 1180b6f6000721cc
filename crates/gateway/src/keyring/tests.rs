//! Who is let in, and until when.

use model::Secret;
use proptest::prelude::*;

use super::{Denied, Keyring, MAX_DEPTH};
use crate::keys::token::{Entropy, InstallSecret, Minted, mint};
use crate::keys::{KeyId, KeyKind, SecretDigest, Tenant, TenantId, VirtualKey};
use crate::store::{Change, Loaded};

fn install() -> InstallSecret {
    InstallSecret::new([1; 32])
}

fn minted(kind: KeyKind, seed: u8) -> Minted {
    mint(kind, &Entropy { secret: Secret::new([seed; 32]), id: [seed; 12] }, &install())
}

fn key(kind: KeyKind, seed: u8, parent: Option<KeyId>) -> (VirtualKey, Secret<String>) {
    let Minted { id, token, digest } = minted(kind, seed);
    let key = VirtualKey {
        parent,
        can_mint: true,
        ..VirtualKey::new(kind, "team".parse().unwrap(), id, digest, 0)
    };
    (key, token)
}

fn team() -> Tenant {
    Tenant { weight: 2, ..Tenant::new("team".parse().unwrap(), 0) }
}

fn ring(keys: Vec<VirtualKey>) -> Keyring {
    Keyring::new(install(), Loaded { keys, tenants: vec![team()], ..Loaded::default() })
}

#[test]
fn a_key_is_found_by_its_token_only() {
    let (first, token) = key(KeyKind::Model, 1, None);
    let ring = ring(vec![first.clone()]);
    let found = ring.identify(token.expose().as_bytes(), 5).unwrap();
    assert_eq!((found.key.id, found.weight), (first.id, 2));
    assert_eq!(found.last_used(), Some(5));
    let stranger = minted(KeyKind::Model, 2).token;
    assert_eq!(ring.identify(stranger.expose().as_bytes(), 5).unwrap_err(), Denied::Unknown);
    assert_eq!(ring.identify(b"sk-x", 5).unwrap_err(), Denied::Foreign);
    assert_eq!(ring.identify(b"mcptb_x", 5).unwrap_err(), Denied::Damaged);
}

#[test]
fn a_key_ends_with_whatever_it_depends_on() {
    let (mut top, _) = key(KeyKind::Model, 1, None);
    let (middle, _) = key(KeyKind::Model, 2, Some(top.id));
    let (leaf, token) = key(KeyKind::Model, 3, Some(middle.id));
    top.expires = Some(100);
    let ring = ring(vec![top.clone(), middle.clone(), leaf]);
    let show = |now| ring.identify(token.expose().as_bytes(), now).map(|key| key.ended.clone());
    let running = show(99).unwrap();
    assert_eq!(show(100).unwrap_err(), Denied::Expired);
    top.expires = None;
    ring.apply(&Change::KeyChanged(Box::new(top.clone())));
    assert!(show(100).is_ok() && !running.is_cancelled());
    let revoked = VirtualKey { revoked: Some(150), ..middle.clone() };
    ring.apply(&Change::KeyChanged(Box::new(revoked)));
    assert_eq!(show(150).unwrap_err(), Denied::Revoked);
    assert!(running.is_cancelled());
    ring.apply(&Change::KeyChanged(Box::new(middle)));
    let running = show(160).unwrap();
    assert!(!running.is_cancelled());
    ring.apply(&Change::KeyDeleted(top.id));
    assert_eq!(show(160).unwrap_err(), Denied::Revoked);
    assert!(running.is_cancelled());
}

#[test]
fn a_tenant_takes_its_keys_along() {
    let (first, token) = key(KeyKind::Sandbox, 1, None);
    let ring = ring(vec![first]);
    let show = || ring.identify(token.expose().as_bytes(), 1).map(|key| key.ended.clone());
    let running = show().unwrap();
    ring.apply(&Change::TenantChanged(Box::new(Tenant { revoked: Some(1), ..team() })));
    assert_eq!(show().unwrap_err(), Denied::Revoked);
    assert!(running.is_cancelled());
    ring.apply(&Change::TenantChanged(Box::new(team())));
    assert!(show().is_ok());
    ring.apply(&Change::TenantDeleted("team".parse().unwrap()));
    assert_eq!(show().unwrap_err(), Denied::Revoked);
}

#[test]
fn lines_that_bend_back_open_nothing() {
    let (mut first, token) = key(KeyKind::Model, 1, None);
    first.parent = Some(first.id);
    let ring = ring(vec![first]);
    assert_eq!(ring.identify(token.expose().as_bytes(), 1).unwrap_err(), Denied::Revoked);
    let found = ring.snapshot();
    assert!(found.keys().all(|key| key.scopes.len() <= MAX_DEPTH + 2));
}

#[test]
fn admin_keys_do_not_close_the_door() {
    let (admin, _) = key(KeyKind::Admin, 1, None);
    let ring = ring(vec![admin]);
    assert!(ring.snapshot().has_admin_keys() && !ring.snapshot().has_model_keys());
    let (mut model, _) = key(KeyKind::Model, 2, None);
    model.expires = Some(0);
    ring.apply(&Change::KeyCreated(Box::new(model)));
    assert!(ring.snapshot().has_model_keys());
}

#[test]
fn before_it_is_loaded_nobody_is_told_that_a_key_is_bad() {
    let ring = Keyring::unavailable("locked");
    let (first, token) = key(KeyKind::Model, 1, None);
    let show = |ring: &Keyring| ring.identify(token.expose().as_bytes(), 1).map(|key| key.key.id);
    assert_eq!(show(&ring), Err(Denied::Unavailable));
    ring.withdraw("disk full");
    assert_eq!(ring.snapshot().install().unwrap_err().as_ref(), "disk full");
    let id = first.id;
    let loaded = Loaded { keys: vec![first], tenants: vec![team()], ..Loaded::default() };
    ring.load(install(), loaded.clone());
    assert_eq!(show(&ring), Ok(id));
    ring.withdraw("gone");
    assert_eq!(show(&ring), Err(Denied::Unavailable));
    assert!(!ring.snapshot().has_model_keys());
    ring.load(install(), loaded);
    assert_eq!(show(&ring), Ok(id));
}

/// What is done to keys and tenants; numbers name them.
#[derive(Clone, Debug)]
enum Edit {
    Key { number: u8, parent: Option<u8>, ends: Option<i64>, revoked: bool, tenant: bool },
    KeyGone(u8),
    Tenant { first: bool, weight: u16, revoked: bool },
    TenantGone(bool),
}

fn edit() -> impl Strategy<Value = Edit> {
    let revoked = prop::bool::weighted(0.2);
    prop_oneof![
        6 => (0_u8..6, prop::option::of(0_u8..6), prop::option::of(1_i64..9), revoked, any::<bool>())
            .prop_map(|(number, parent, ends, revoked, tenant)| {
                Edit::Key { number, parent, ends, revoked, tenant }
            }),
        2 => (0_u8..6).prop_map(Edit::KeyGone),
        2 => (any::<bool>(), 1_u16..9, prop::bool::weighted(0.2))
            .prop_map(|(first, weight, revoked)| Edit::Tenant { first, weight, revoked }),
        1 => any::<bool>().prop_map(Edit::TenantGone),
    ]
}

fn tenant_of(first: bool) -> TenantId {
    if first { "team".parse().unwrap() } else { "other".parse().unwrap() }
}

impl Edit {
    fn change(self) -> Change {
        let id = |number: u8| KeyId::from_entropy([number; 12]);
        let ended = |revoked: bool| revoked.then_some(1);
        match self {
            Self::Key { number, parent, ends, revoked, tenant } => {
                let kind = if number == 0 { KeyKind::Admin } else { KeyKind::Model };
                let digest = SecretDigest([0; 32]);
                let mut key = VirtualKey::new(kind, tenant_of(tenant), id(number), digest, 0);
                (key.parent, key.expires, key.revoked) = (parent.map(id), ends, ended(revoked));
                (key.priority, key.can_mint) = (number, number % 2 == 0);
                key.bounds.max_output = ends.map(i64::unsigned_abs);
                Change::KeyChanged(Box::new(key))
            }
            Self::KeyGone(number) => Change::KeyDeleted(id(number)),
            Self::Tenant { first, weight, revoked } => {
                let mut tenant = Tenant::new(tenant_of(first), 0);
                (tenant.weight, tenant.revoked) = (weight, ended(revoked));
                tenant.bounds.max_output = Some(weight.into());
                Change::TenantChanged(Box::new(tenant))
            }
            Self::TenantGone(first) => Change::TenantDeleted(tenant_of(first)),
        }
    }
}

/// All that a snapshot says, in the order of the keys.
fn says(ring: &Keyring) -> String {
    let snapshot = ring.snapshot();
    let mut keys: Vec<_> = snapshot.keys().collect();
    keys.sort_by_key(|key| key.key.id);
    let says = keys.iter().map(|key| {
        let ends = *key.ends().borrow();
        let rest = (key.weight, key.priority, key.can_mint, key.audit, key.expires, key.revoked);
        format!("{:?} {:?} {:?} {rest:?} {ends}", key.key, key.scopes, key.debited)
    });
    let kinds = (snapshot.has_model_keys(), snapshot.has_admin_keys());
    format!("{kinds:?} {:#?}", says.collect::<Vec<_>>())
}

proptest! {
    /// A change touches only what hangs on it, and comes to the same as loading all of it anew.
    #[test]
    fn changes_come_to_what_is_loaded(edits in prop::collection::vec(edit(), 1..30)) {
        let ring = ring(Vec::new());
        let mut running = Vec::new();
        for edit in edits {
            ring.apply(&edit.change());
            let snapshot = ring.snapshot();
            let keys = snapshot.keys().map(|key| key.key.clone()).collect();
            let tenants = snapshot.tenants().map(|tenant| (**tenant).clone()).collect();
            let loaded = Loaded { keys, tenants, ..Loaded::default() };
            prop_assert_eq!(says(&ring), says(&Keyring::new(install(), loaded)));
            // Whoever runs is told as soon as its key ends, and not before.
            running.extend(snapshot.keys().filter(|key| !key.revoked).map(|key| {
                (key.key.id, key.ended.clone())
            }));
            running.retain(|(id, ended)| {
                let ends = snapshot.key(*id).is_none_or(|key| key.revoked);
                assert_eq!(ended.is_cancelled(), ends, "{id}");
                !ends
            });
        }
    }
}
