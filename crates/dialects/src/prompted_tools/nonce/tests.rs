//! Escaping is exact, and the nonce depends on what it must.

use hmac::{Hmac, KeyInit, Mac};
use model::{Block, CompletionRequest, Message, Role};
use proptest::prelude::*;
use sha2::Sha256;

use super::{Nonce, NonceSecret};
use crate::ToolTable;

fn nonce(secret: u8, key: &str, first: &[&str]) -> Nonce {
    let content = first.iter().map(|text| Block::text(*text)).collect();
    let request = CompletionRequest {
        messages: vec![Message::new(Role::User, content)],
        ..CompletionRequest::default()
    };
    let table = ToolTable::new(&request).unwrap();
    Nonce::new(&NonceSecret::new([secret; 32]), key, &request, &table)
}

#[test]
fn the_secret_never_prints() {
    let secret = NonceSecret::new([7; 32]);
    assert_eq!(format!("{secret:?} {:?}", nonce(1, "k", &["a"])), "**** ****");
}

#[test]
fn every_part_counts() {
    let base = nonce(1, "k", &["ab"]);
    assert_eq!(base.as_str(), nonce(1, "k", &["ab"]).as_str());
    for other in [nonce(2, "k", &["ab"]), nonce(1, "l", &["ab"]), nonce(1, "k", &["a", "b"])] {
        assert_ne!(base.as_str(), other.as_str());
    }
    assert_eq!(base.as_str().len(), 8);
    assert!(base.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()));
}

#[test]
fn the_first_digit_occurs_once() {
    for seed in 0..=255 {
        let nonce = nonce(seed, "", &[]);
        let first = nonce.as_str().chars().next().unwrap();
        assert_eq!(nonce.as_str().matches(first).count(), 1, "{}", nonce.as_str());
    }
    assert_eq!(Nonce::from_hash(&[0x11; 32]).as_str(), "12222222");
}

#[test]
fn a_padded_key_is_the_key() {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&[9; 32]);
    let mut padded = Hmac::<Sha256>::new(&block.into());
    let mut plain = Hmac::<Sha256>::new_from_slice(&[9; 32]).unwrap();
    padded.update(b"x");
    plain.update(b"x");
    assert_eq!(padded.finalize().into_bytes(), plain.finalize().into_bytes());
}

proptest! {
    #[test]
    fn escaping_hides_the_nonce_and_can_be_undone(
        parts in proptest::collection::vec(0..5_usize, 0..12),
        filler in ".{0,3}",
    ) {
        let nonce = nonce(3, "k", &["a"]);
        let (left, right) = nonce.as_str().split_at(4);
        let pieces = [left, right, "-", nonce.as_str(), &filler];
        let text: String = parts.iter().map(|at| pieces[*at]).collect();
        let escaped = nonce.escape(&text);
        prop_assert!(!escaped.contains(nonce.as_str()));
        prop_assert_eq!(nonce.unescape(&escaped).into_owned(), text);
    }
}
