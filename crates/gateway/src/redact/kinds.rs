//! The kinds of credentials, a closed list: records name what was taken out, never what it was.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of credential was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum SecretKind {
            $($(#[$doc])* $name,)*
        }

        impl SecretKind {
            /// Every kind there is.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// A short stable name for records; it stands in the place of the credential.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// A key of this bridge.
    BridgeKey = "mcptb_key",
    /// An Anthropic key.
    Anthropic = "anthropic_key",
    /// An OpenAI key, or one of the many services that copied its prefix.
    OpenAi = "openai_key",
    /// A GitHub token.
    GitHub = "github_token",
    /// A GitLab token.
    GitLab = "gitlab_token",
    /// An AWS access key id.
    AwsKeyId = "aws_key_id",
    /// An AWS secret access key.
    AwsSecret = "aws_secret",
    /// A Google API key.
    Google = "google_key",
    /// A Slack token.
    Slack = "slack_token",
    /// A Stripe key.
    Stripe = "stripe_key",
    /// An npm token.
    Npm = "npm_token",
    /// A `PyPI` token.
    PyPi = "pypi_token",
    /// A Hugging Face token.
    HuggingFace = "huggingface_token",
    /// A JSON web token.
    Jwt = "jwt",
    /// A private key in PEM.
    PrivateKey = "private_key",
    /// What stood in an `Authorization` or `x-api-key` header.
    Authorization = "authorization",
    /// The password in a URL.
    UrlPassword = "url_password",
    /// What was assigned to a name such as `password`, `secret` or `token`.
    Assigned = "assigned_secret",
    /// A literal secret that the bridge knows.
    Known = "known_secret",
    /// What a configured pattern found.
    Configured = "configured",
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SecretKinds(u32);

impl SecretKinds {
    /// No kind.
    pub const EMPTY: Self = Self(0);

    /// Adds a kind.
    pub const fn insert(&mut self, kind: SecretKind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether a kind is in it.
    pub const fn contains(self, kind: SecretKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds in it, in the order of [`SecretKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = SecretKind> {
        SecretKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Debug for SecretKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for SecretKinds {
    /// The names, with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, kind) in self.iter().enumerate() {
            if nth > 0 {
                f.write_str(",")?;
            }
            f.write_str(kind.as_str())?;
        }
        Ok(())
    }
}
