//! What a caller shows: `mcptb_<public id>_<secret and checksum>`.
//!
//! The prefix tells people and secret scanners what it is, and the doors what it is for. The
//! checksum lets a typo be refused without a look at the store.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use model::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{KeyId, KeyKind, SecretDigest, UnixMillis, VirtualKey};

#[cfg(test)]
mod tests;

/// Bytes of the secret.
const SECRET: usize = 32;
/// Bytes of the checksum.
const CHECK: usize = 4;
/// Characters of both in base32.
const TAIL: usize = (SECRET + CHECK) * 8 / 5 + 1;

/// What every token of this bridge begins with.
pub const PREFIX: &str = "mcptb_";

/// Randomness for one token; whoever asks for the token draws it from the system.
#[derive(Clone, Debug)]
pub struct Entropy {
    /// For the secret: 256 bits.
    pub secret: Secret<[u8; SECRET]>,
    /// For the public id: 5 bits of each byte are used.
    pub id: [u8; 12],
}

/// A token as its holder gets it, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The public half.
    pub id: KeyId,
    /// The whole token.
    pub token: Secret<String>,
    /// What is stored of it.
    pub digest: SecretDigest,
}

/// A token as a caller shows it, read but not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it says it is for.
    pub kind: KeyKind,
    /// The public half.
    pub id: KeyId,
    secret: Secret<[u8; SECRET]>,
}

/// Why a text is no token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error("not a token of this bridge")]
    Foreign,
    /// It begins like one and is damaged.
    #[error("the token is damaged: its checksum does not match")]
    Damaged,
}

/// The secret of this installation, under which tokens are digested.
#[derive(Clone, Debug)]
pub struct InstallSecret(Secret<Hmac<Sha256>>);

impl InstallSecret {
    /// Takes up 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        // HMAC fills a key up with zeros to a block, once for all calls.
        let mut block = [0; 64];
        block.iter_mut().zip(bytes).for_each(|(out, byte)| *out = byte);
        Self(Secret::new(Hmac::new(&block.into())))
    }

    /// A secret for another purpose, which tells nothing of this one.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.mac(&[b"derive:", purpose.as_bytes()])
    }

    fn digest(&self, id: KeyId, secret: &[u8; SECRET]) -> SecretDigest {
        SecretDigest(self.mac(&[b"key:", id.as_str().as_bytes(), b":", secret]))
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.expose().clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

const fn prefix(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Model => "mcptb_",
        KeyKind::Sandbox => "mcptb_test_",
        KeyKind::Admin => "mcptb_admin_",
    }
}

/// Makes a new token.
pub fn mint(kind: KeyKind, entropy: &Entropy, install: &InstallSecret) -> Minted {
    remint(kind, KeyId::from_entropy(entropy.id), entropy, install)
}

/// Makes a new secret for an id that stays.
pub fn remint(kind: KeyKind, id: KeyId, entropy: &Entropy, install: &InstallSecret) -> Minted {
    let secret = entropy.secret.expose();
    let mut tail = [0; SECRET + CHECK];
    let (front, back) = tail.split_at_mut(SECRET);
    front.copy_from_slice(secret);
    back.copy_from_slice(&checksum(kind, id, secret));
    let tail = BASE32_NOPAD.encode(&tail).to_ascii_lowercase();
    let token = format!("{}{id}_{tail}", prefix(kind));
    Minted { id, token: Secret::new(token), digest: install.digest(id, secret) }
}

impl Shown {
    /// Reads what a caller shows, without a look at any store.
    pub fn read(text: &[u8]) -> Result<Self, TokenError> {
        let text = text.strip_prefix(PREFIX.as_bytes()).ok_or(TokenError::Foreign)?;
        let (kind, rest) = if let Some(rest) = text.strip_prefix(b"test_") {
            (KeyKind::Sandbox, rest)
        } else if let Some(rest) = text.strip_prefix(b"admin_") {
            (KeyKind::Admin, rest)
        } else {
            (KeyKind::Model, text)
        };
        Self::read_tail(kind, rest).ok_or(TokenError::Damaged)
    }

    fn read_tail(kind: KeyKind, text: &[u8]) -> Option<Self> {
        let mut halves = text.splitn(2, |byte| *byte == b'_');
        let id: KeyId = std::str::from_utf8(halves.next()?).ok()?.parse().ok()?;
        let mut tail: [u8; TAIL] = halves.next()?.try_into().ok()?;
        if !tail.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')) {
            return None;
        }
        tail.make_ascii_uppercase();
        let mut bytes = [0; SECRET + CHECK];
        BASE32_NOPAD.decode_mut(&tail, &mut bytes).ok()?;
        let (secret, check) = bytes.split_at_checked(SECRET)?;
        let secret: [u8; SECRET] = secret.try_into().ok()?;
        (check == checksum(kind, id, &secret)).then_some(Self {
            kind,
            id,
            secret: Secret::new(secret),
        })
    }

    /// Whether this is the secret of a key, at a time. Takes the same time whatever it finds.
    pub fn opens(&self, key: &VirtualKey, install: &InstallSecret, now: UnixMillis) -> bool {
        let shown = install.digest(self.id, self.secret.expose()).0;
        let current = shown.ct_eq(&key.digest.0);
        let (earlier, until) = key.earlier.unwrap_or((SecretDigest([0; 32]), UnixMillis::MIN));
        let earlier = shown.ct_eq(&earlier.0) & subtle::Choice::from(u8::from(now < until));
        self.kind == key.kind && bool::from(current | earlier)
    }
}

fn checksum(kind: KeyKind, id: KeyId, secret: &[u8; SECRET]) -> [u8; CHECK] {
    let digest = Sha256::new()
        .chain_update(prefix(kind))
        .chain_update(id.as_str())
        .chain_update(secret)
        .finalize();
    let mut check = [0; CHECK];
    check.iter_mut().zip(digest).for_each(|(out, byte)| *out = byte);
    check
}
