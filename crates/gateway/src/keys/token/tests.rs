//! What opens a key, and what does not.

use hmac::{Hmac, KeyInit, Mac};
use model::Secret;
use proptest::prelude::*;
use sha2::Sha256;

use super::{Entropy, InstallSecret, Shown, TokenError, mint, remint};
use crate::keys::{KeyKind, VirtualKey};

fn entropy(byte: u8) -> Entropy {
    Entropy { secret: Secret::new([byte; 32]), id: [byte; 12] }
}

fn key(kind: KeyKind, minted: &super::Minted) -> VirtualKey {
    VirtualKey::new(kind, "team".parse().unwrap(), minted.id, minted.digest, 0)
}

#[test]
fn a_token_opens_its_key_and_no_other() {
    let install = InstallSecret::new([7; 32]);
    for kind in KeyKind::ALL {
        let minted = mint(kind, &entropy(3), &install);
        let shown = Shown::read(minted.token.expose().as_bytes()).unwrap();
        assert_eq!((shown.kind, shown.id), (kind, minted.id));
        assert!(shown.opens(&key(kind, &minted), &install, 0));
        let other = mint(kind, &entropy(4), &install);
        assert!(!shown.opens(&key(kind, &other), &install, 0));
        assert!(!shown.opens(&key(kind, &minted), &InstallSecret::new([8; 32]), 0));
    }
}

/// Keys that were stored once must open for ever: HMAC-SHA-256 under the 32 bytes of the
/// installation, over the id and the secret.
#[test]
fn what_is_stored_of_a_token_never_changes() {
    let minted = mint(KeyKind::Model, &entropy(3), &InstallSecret::new([7; 32]));
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    mac.update(format!("key:{}:", minted.id).as_bytes());
    mac.update(&[3; 32]);
    assert_eq!(minted.digest.0, <[u8; 32]>::from(mac.finalize().into_bytes()));
}

#[test]
fn a_token_of_one_kind_opens_no_other() {
    let install = InstallSecret::new([7; 32]);
    let minted = mint(KeyKind::Model, &entropy(3), &install);
    let shown = Shown::read(minted.token.expose().as_bytes()).unwrap();
    assert!(!shown.opens(&key(KeyKind::Admin, &minted), &install, 0));
    let dressed = minted.token.expose().replace("mcptb_", "mcptb_admin_");
    assert_eq!(Shown::read(dressed.as_bytes()), Err(TokenError::Damaged));
}

#[test]
fn after_a_rotation_both_secrets_work_for_a_while() {
    let install = InstallSecret::new([7; 32]);
    let first = mint(KeyKind::Model, &entropy(3), &install);
    let second = remint(KeyKind::Model, first.id, &entropy(9), &install);
    assert_eq!(first.id, second.id);
    let mut key = key(KeyKind::Model, &second);
    key.earlier = Some((first.digest, 1000));
    let old = Shown::read(first.token.expose().as_bytes()).unwrap();
    let new = Shown::read(second.token.expose().as_bytes()).unwrap();
    assert!(new.opens(&key, &install, 0) && new.opens(&key, &install, 5000));
    assert!(old.opens(&key, &install, 999) && !old.opens(&key, &install, 1000));
}

#[test]
fn what_is_no_token_is_told_apart_from_a_damaged_one() {
    for text in ["", "sk-abc", "mcptb", "MCPTB_x"] {
        assert_eq!(Shown::read(text.as_bytes()), Err(TokenError::Foreign), "{text}");
    }
    for text in ["mcptb_", "mcptb_abc", "mcptb_test_", "mcptb_aaaaaaaaaaaa_zz", "mcptb_\u{fc}_"] {
        assert_eq!(Shown::read(text.as_bytes()), Err(TokenError::Damaged), "{text}");
    }
}

#[test]
fn nothing_of_a_token_prints() {
    let install = InstallSecret::new([7; 32]);
    let minted = mint(KeyKind::Model, &entropy(3), &install);
    let shown = Shown::read(minted.token.expose().as_bytes()).unwrap();
    let printed = format!("{minted:?} {shown:?} {install:?} {:?}", entropy(3).secret);
    let tail: String = minted.token.expose().rsplit('_').next().unwrap().chars().take(8).collect();
    assert!(!printed.contains(&tail) && !printed.contains("3, 3"), "{printed}");
}

proptest! {
    /// One changed character is always noticed.
    #[test]
    fn typos_are_noticed(secret: [u8; 32], id: [u8; 12], at in 0usize..200, to in "[a-z2-7_A-Z]") {
        let install = InstallSecret::new([1; 32]);
        let minted = mint(KeyKind::Model, &Entropy { secret: Secret::new(secret), id }, &install);
        let token = minted.token.expose();
        let at = at % token.len();
        let mut typo = token.clone();
        typo.replace_range(at..=at, &to);
        prop_assume!(&typo != token);
        prop_assert!(Shown::read(typo.as_bytes()).is_err());
        prop_assert!(Shown::read(token.as_bytes()).is_ok());
    }
}
