//! The nonce: digits that stand in our tags and that no text of the request can know.
//!
//! It is an HMAC of who asks, the first user message and the names of the tools. So it stays the
//! same over a conversation (prefixes stay in the host's cache), differs between callers and
//! conversations, and cannot be guessed by somebody who writes a file that the model will read.
//!
//! Its first digit occurs only once in it. So neither it nor its escaped form can overlap itself,
//! and escaping can be undone exactly.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use memchr::memmem;
use model::{Block, CompletionRequest, Role, Secret};
use sha2::Sha256;

use crate::ToolTable;

/// Digits of the nonce, all of them hexadecimal.
const DIGITS: usize = 8;

/// Where an occurrence in a text is split by the escape.
const HALF: usize = DIGITS / 2;

/// 32 secret bytes of this install, the key of all nonces.
#[derive(Clone)]
pub struct NonceSecret(Secret<[u8; 32]>);

impl NonceSecret {
    /// Wraps the bytes, which must be random and never leave the install.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }
}

impl From<[u8; 32]> for NonceSecret {
    fn from(bytes: [u8; 32]) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for NonceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The nonce of one conversation.
#[derive(Clone)]
pub(super) struct Nonce {
    digits: String,
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl Nonce {
    /// The nonce of a request by the caller that `key` names.
    pub(super) fn new(
        secret: &NonceSecret,
        key: &str,
        request: &CompletionRequest,
        table: &ToolTable<'_>,
    ) -> Self {
        // HMAC pads a short key with zeros, so this is the HMAC of the 32 bytes, without a failure.
        let mut block = [0_u8; 64];
        for (slot, byte) in block.iter_mut().zip(secret.0.expose()) {
            *slot = *byte;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        field(&mut mac, b"mcptb prompted tools 1");
        field(&mut mac, key.as_bytes());
        let first = request.messages.iter().find(|message| message.role == Role::User);
        let blocks = first.map(|message| message.content.as_slice()).unwrap_or_default();
        count(&mut mac, blocks.len());
        for block in blocks {
            if let Block::Text(text) = block {
                field(&mut mac, text.text.as_bytes());
            }
        }
        count(&mut mac, table.entries().len());
        for entry in table.entries() {
            field(&mut mac, entry.name.as_bytes());
        }
        Self::from_hash(&mac.finalize().into_bytes())
    }

    /// Takes digits of the hash, leaving out repetitions of the first one.
    fn from_hash(hash: &[u8]) -> Self {
        let mut nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
        let first = nibbles.next().unwrap_or_default();
        let mut taken = vec![first];
        taken.extend(nibbles.filter(|nibble| *nibble != first).take(DIGITS - 1));
        // A hash of hardly anything but one digit does not happen; the form holds even then.
        taken.resize(DIGITS, (first + 1) % 16);
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        Self { digits: taken.into_iter().map(digit).collect() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.digits
    }

    /// The text with every occurrence of the nonce split by a dash, and one dash more where it is
    /// split already. [`unescape`](Self::unescape) is the inverse.
    pub(super) fn escape<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.dashes(text, |dashes| dashes + 1)
    }

    /// Undoes [`escape`](Self::escape).
    pub(super) fn unescape<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.dashes(text, |dashes| dashes.saturating_sub(1))
    }

    /// Rewrites the number of dashes between the halves, wherever both stand in the text.
    fn dashes<'t>(&self, text: &'t str, wanted: impl Fn(usize) -> usize) -> Cow<'t, str> {
        let Some((left, right)) = self.digits.split_at_checked(HALF) else {
            return Cow::Borrowed(text);
        };
        let mut out: Option<String> = None;
        let mut copied = 0;
        for at in memmem::find_iter(text.as_bytes(), left) {
            let after = at + left.len();
            let tail = text.get(after..).unwrap_or_default();
            let rest = tail.trim_start_matches('-');
            let dashes = tail.len() - rest.len();
            if !rest.starts_with(right) || wanted(dashes) == dashes {
                continue;
            }
            let out = out.get_or_insert_with(|| String::with_capacity(text.len() + 16));
            out.push_str(text.get(copied..after).unwrap_or_default());
            out.extend(std::iter::repeat_n('-', wanted(dashes)));
            copied = after + dashes;
        }
        match out {
            None => Cow::Borrowed(text),
            Some(mut out) => {
                out.push_str(text.get(copied..).unwrap_or_default());
                Cow::Owned(out)
            }
        }
    }
}

fn field(mac: &mut Hmac<Sha256>, bytes: &[u8]) {
    count(mac, bytes.len());
    mac.update(bytes);
}

fn count(mac: &mut Hmac<Sha256>, number: usize) {
    mac.update(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests;
