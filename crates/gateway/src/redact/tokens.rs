//! Tokens that their makers gave a prefix, and JSON web tokens.
//!
//! The shapes lean wide: makers lengthen their tokens, and one word too much taken out of a record
//! is a small loss.

use super::bytes::{at, begins, has_digit, is_alphanumeric, is_token, is_word, run};
use super::{Found, SecretKind};

/// What follows a prefix.
#[derive(Debug)]
pub(super) struct Shape {
    /// The prefix, in its own case.
    pub(super) prefix: &'static str,
    kind: SecretKind,
    /// Bytes that may follow.
    class: fn(u8) -> bool,
    /// How many must.
    least: usize,
    edge: Edge,
}

/// How a token is told from what only looks like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// The prefix says it.
    Anywhere,
    /// It must begin a word.
    Word,
    /// It must begin a word and hold a digit early, or be long without a break.
    Random,
    /// It must begin a word, and no letter or digit may follow.
    Whole,
}

const fn shape(
    prefix: &'static str,
    kind: SecretKind,
    class: fn(u8) -> bool,
    least: usize,
    edge: Edge,
) -> Shape {
    Shape { prefix, kind, class, least, edge }
}

const fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// The prefixes; of two that begin alike the longer stands first.
pub(super) const SHAPES: &[Shape] = &[
    shape("mcptb_", SecretKind::BridgeKey, is_token, 32, Edge::Random),
    shape("sk-ant-", SecretKind::Anthropic, is_token, 16, Edge::Anywhere),
    shape("sk-proj-", SecretKind::OpenAi, is_token, 16, Edge::Anywhere),
    shape("sk-", SecretKind::OpenAi, is_token, 20, Edge::Random),
    shape("sk_live_", SecretKind::Stripe, is_word, 16, Edge::Anywhere),
    shape("rk_live_", SecretKind::Stripe, is_word, 16, Edge::Anywhere),
    shape("sk_test_", SecretKind::Stripe, is_word, 16, Edge::Random),
    shape("rk_test_", SecretKind::Stripe, is_word, 16, Edge::Random),
    shape("whsec_", SecretKind::Stripe, is_word, 24, Edge::Random),
    shape("ghp_", SecretKind::GitHub, is_word, 30, Edge::Anywhere),
    shape("gho_", SecretKind::GitHub, is_word, 30, Edge::Anywhere),
    shape("ghu_", SecretKind::GitHub, is_word, 30, Edge::Anywhere),
    shape("ghs_", SecretKind::GitHub, is_word, 30, Edge::Anywhere),
    shape("ghr_", SecretKind::GitHub, is_word, 30, Edge::Anywhere),
    shape("github_pat_", SecretKind::GitHub, is_word, 30, Edge::Anywhere),
    shape("glpat-", SecretKind::GitLab, is_token, 20, Edge::Anywhere),
    shape("glptt-", SecretKind::GitLab, is_token, 20, Edge::Anywhere),
    shape("gldt-", SecretKind::GitLab, is_token, 20, Edge::Anywhere),
    shape("glrt-", SecretKind::GitLab, is_token, 20, Edge::Anywhere),
    shape("AKIA", SecretKind::AwsKeyId, is_upper, 16, Edge::Whole),
    shape("ASIA", SecretKind::AwsKeyId, is_upper, 16, Edge::Whole),
    shape("AIza", SecretKind::Google, is_token, 35, Edge::Word),
    shape("xoxa-", SecretKind::Slack, is_token, 10, Edge::Anywhere),
    shape("xoxb-", SecretKind::Slack, is_token, 10, Edge::Anywhere),
    shape("xoxe-", SecretKind::Slack, is_token, 10, Edge::Anywhere),
    shape("xoxp-", SecretKind::Slack, is_token, 10, Edge::Anywhere),
    shape("xoxr-", SecretKind::Slack, is_token, 10, Edge::Anywhere),
    shape("xoxs-", SecretKind::Slack, is_token, 10, Edge::Anywhere),
    shape("xapp-", SecretKind::Slack, is_token, 20, Edge::Random),
    shape("npm_", SecretKind::Npm, is_alphanumeric, 36, Edge::Word),
    shape("pypi-", SecretKind::PyPi, is_token, 32, Edge::Random),
    shape("hf_", SecretKind::HuggingFace, is_alphanumeric, 30, Edge::Word),
];

/// How far a token is looked at before it is taken: what fails must fail soon, or a text of
/// nothing but prefixes would be read once for each of them.
const PROBE: usize = 64;
/// Letters and digits in a row that no name has.
const UNBROKEN: usize = 32;

impl Shape {
    /// The token whose prefix stands at `start`.
    pub(super) fn find(&self, text: &[u8], start: usize) -> Option<Found> {
        let body = start + self.prefix.len();
        if text.get(start..body)? != self.prefix.as_bytes() {
            return None;
        }
        if self.edge != Edge::Anywhere && !begins(text, start, is_alphanumeric) {
            return None;
        }
        let probe = text.get(body..body + PROBE).or_else(|| text.get(body..))?;
        let probe = probe.get(..run(probe, 0, self.class))?;
        if probe.len() < self.least {
            return None;
        }
        if self.edge == Edge::Random
            && !has_digit(probe)
            && run(probe, 0, is_alphanumeric) < UNBROKEN
        {
            return None;
        }
        let mut end = run(text, body, self.class);
        if self.edge == Edge::Whole && at(text, end).is_some_and(is_word) {
            return None;
        }
        // Newer tokens have parts with dots between them; the full stop of a sentence is none.
        while matches!(self.kind, SecretKind::GitLab | SecretKind::GitHub)
            && at(text, end) == Some(b'.')
            && at(text, end + 1).is_some_and(self.class)
        {
            end = run(text, end + 1, is_token);
        }
        Some(Found { start, end, kind: self.kind })
    }
}

/// The least length of each part of a web token.
const LEAST_PART: usize = 8;

/// The web token that begins at `start`: parts of base64 for URLs, of which the first is a JSON
/// object. There are three, or five where it is encrypted.
pub(super) fn find_jwt(text: &[u8], start: usize) -> Option<Found> {
    if text.get(start..start + 3)? != b"eyJ" || !begins(text, start, is_token) {
        return None;
    }
    let mut end = run(text, start, is_token);
    if end - start < LEAST_PART {
        return None;
    }
    let mut parts = 1;
    while at(text, end) == Some(b'.') {
        let next = run(text, end + 1, is_token);
        let long_enough = next - (end + 1) >= LEAST_PART;
        if !(long_enough || (parts >= 2 && next > end + 1)) {
            break;
        }
        end = next;
        parts += 1;
    }
    (parts >= 3).then_some(Found { start, end, kind: SecretKind::Jwt })
}
