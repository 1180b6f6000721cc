//! Takes credentials out of what is about to be recorded.
//!
//! People paste keys into prompts, agents read environment files, and tools print headers. A record
//! outlives all of that, so whatever looks like a credential is replaced by `[redacted:<kind>]`
//! before a byte is written. One pass looks for the beginnings of credentials; only where one stands
//! is looked further, so that a clean text costs one pass and comes back as it was.
//!
//! Invariants: a valid JSON object, array or string stays one; no text makes the built-in kinds take
//! more than linear time; neither secrets nor patterns can be printed.

mod assigned;
mod blocks;
mod bytes;
mod kinds;
mod patterns;
mod scan;
mod splice;
mod tokens;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use assigned::Name;
pub use kinds::{SecretKind, SecretKinds};
pub use patterns::BadPattern;
use patterns::{Configured, Known};
use scan::{Hits, Scan};
use splice::{Span, join, splice};
use tokens::Shape;

/// A text without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<'t> {
    /// The text; borrowed where nothing was found.
    pub text: Cow<'t, [u8]>,
    /// The kinds that were found.
    pub kinds: SecretKinds,
    /// How many credentials were found.
    pub count: usize,
}

/// Something that must not be recorded: its place and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    start: usize,
    end: usize,
    kind: SecretKind,
}

/// What may begin where a literal stands.
#[derive(Clone, Copy, Debug)]
enum Lead {
    Shape(&'static Shape),
    Jwt,
    Pem,
    Url,
    Bearer,
    Basic,
    Name(Name),
}

/// Finds credentials and takes them out. Cheap to share, not cheap to make.
pub struct Redactor {
    /// Looks for every literal that may begin a credential, in any case.
    scan: Scan,
    leads: Vec<Lead>,
    configured: Configured,
    known: Known,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("configured", &self.configured.len())
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl Redactor {
    /// Makes a redactor for the built-in kinds and the operator's patterns.
    ///
    /// A pattern is a regular expression of the `regex` crate over bytes. Where it has a group, only
    /// what the first group matched is taken out.
    ///
    /// # Errors
    /// The first pattern that cannot be used, and why.
    pub fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let mut literals: Vec<&str> = Vec::new();
        let mut leads = Vec::new();
        let mut lead = |literal, lead| {
            literals.push(literal);
            leads.push(lead);
        };
        for shape in tokens::SHAPES {
            lead(shape.prefix, Lead::Shape(shape));
        }
        for (name, kind) in assigned::NAMES {
            lead(name, Lead::Name(*kind));
        }
        lead("eyJ", Lead::Jwt);
        lead("-----BEGIN ", Lead::Pem);
        for slash in ["://", r":\/", r":\\/", r":\\\\/"] {
            lead(slash, Lead::Url);
        }
        lead("bearer", Lead::Bearer);
        lead("basic", Lead::Basic);
        let scan = Scan::new(&literals).ok_or_else(BadPattern::built_in)?;
        let configured = Configured::new(patterns)?;
        Ok(Self { scan, leads, configured, known: Known::default() })
    }

    /// Also takes out these literal secrets, such as the token of the bridge; empty ones are passed
    /// over. They are found as they are and in the forms that JSON gives them.
    #[must_use]
    pub fn with_exact<S: AsRef<[u8]>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        for secret in secrets {
            self.known.add(secret.as_ref());
        }
        self
    }

    /// Takes the credentials out of a text, which may be anything: JSON, plain text, no UTF-8.
    ///
    /// Configured patterns take linear time for each match.
    pub fn redact<'t>(&self, text: &'t [u8]) -> Redacted<'t> {
        let mut spans = Vec::new();
        let mut from = 0;
        let mut hits = self.scan.hits(text);
        while let Some((found, next)) = self.next(&mut hits, text, from, |_| true) {
            from = next;
            let kind = self.plainer_kind(text, found);
            spans.push(Span { found: Found { kind, ..found }, anywhere: false });
        }
        self.known.find(text, &mut spans);
        self.configured.find(text, &mut spans);
        let mut kinds = SecretKinds::EMPTY;
        for span in &spans {
            kinds.insert(span.found.kind);
        }
        if spans.is_empty() {
            return Redacted { text: Cow::Borrowed(text), kinds, count: 0 };
        }
        join(&mut spans);
        Redacted { text: Cow::Owned(splice(text, &spans)), kinds, count: spans.len() }
    }

    /// Takes the credentials out of a short text, such as a name or a message.
    pub fn redact_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.redact(text.as_bytes()).text {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(redacted) => Cow::Owned(String::from_utf8_lossy(&redacted).into_owned()),
        }
    }

    /// The next credential, and where to go on.
    fn next(
        &self,
        hits: &mut Hits<'_>,
        text: &[u8],
        mut from: usize,
        wanted: impl Fn(Lead) -> bool,
    ) -> Option<(Found, usize)> {
        loop {
            let hit = hits.next(from)?;
            let lead = self.leads.get(hit.pattern().as_usize()).copied();
            if let Some(lead) = lead.filter(|lead| wanted(*lead))
                && let Some(found) = lead.follow(text, hit.start(), hit.end())
            {
                return Some((found, found.end));
            }
            from = hit.start() + 1;
        }
    }

    /// A value behind a name or a scheme may be a token whose kind is known.
    fn plainer_kind(&self, text: &[u8], found: Found) -> SecretKind {
        if !matches!(found.kind, SecretKind::Assigned | SecretKind::Authorization) {
            return found.kind;
        }
        let value = text.get(found.start..found.end).unwrap_or_default();
        self.next(&mut self.scan.hits(value), value, 0, |lead| {
            matches!(lead, Lead::Shape(_) | Lead::Jwt)
        })
        .map_or(found.kind, |(token, _)| token.kind)
    }
}

impl Lead {
    fn follow(self, text: &[u8], start: usize, end: usize) -> Option<Found> {
        match self {
            Self::Shape(shape) => shape.find(text, start),
            Self::Jwt => tokens::find_jwt(text, start),
            Self::Pem => blocks::find_pem(text, start),
            Self::Url => blocks::find_url_password(text, start),
            Self::Bearer => blocks::find_bearer(text, start, end),
            Self::Basic => blocks::find_basic(text, start, end),
            Self::Name(name) => assigned::find(text, start, end, name),
        }
    }
}
