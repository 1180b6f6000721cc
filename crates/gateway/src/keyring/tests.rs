//! Who is let in, and until when.

use model::Secret;

use super::{Denied, Keyring, MAX_DEPTH};
use crate::keys::token::{Entropy, InstallSecret, Minted, mint};
use crate::keys::{KeyId, KeyKind, Tenant, VirtualKey};
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
