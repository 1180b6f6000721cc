//! Virtual keys and the tenants that they belong to.
//!
//! A key is what lends model access: it has an owner, an end, and bounds. What a caller shows is
//! read in [`token`]; who may do what is decided from the snapshot in [`crate::keyring`]. Here is
//! only what a key *is*, as it lies in a store.

use ipnet::IpNet;

use crate::amounts::Budget;

mod glob;
mod id;
pub mod token;

pub use glob::{Glob, GlobError};
pub use id::{IdError, KeyId, ScopeId, TenantId};

/// Milliseconds since the Unix epoch, UTC.
pub type UnixMillis = i64;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Calls models.
    Model,
    /// Calls the echo upstream under the same rules; reaches no host and costs no budget.
    Sandbox,
    /// Administers; calls no model.
    Admin,
}

impl KeyKind {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::Model, Self::Sandbox, Self::Admin];

    /// A short stable name for records and APIs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Sandbox => "sandbox",
            Self::Admin => "admin",
        }
    }
}

/// A door that a key may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completions,
    /// `/v1/responses` and everything below it.
    Responses,
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `/admin/v1` and `/v1/keys`, where keys are looked after. Only what is refused there is on
    /// record, and no key is bounded to it.
    Admin,
}

impl Endpoint {
    /// Every endpoint that a key can be bounded to.
    pub const ALL: [Self; 5] =
        [Self::Chat, Self::Completions, Self::Responses, Self::Messages, Self::CountTokens];

    /// A short stable name for records and APIs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Admin => "admin",
        }
    }
}

/// What the audit keeps of a key's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditPolicy {
    /// Everything, with both bodies.
    #[default]
    Full,
    /// The row alone: neither bodies nor the messages of failures. `docs/keys.md` says what is in it.
    Metadata,
}

impl AuditPolicy {
    /// A short stable name for records and APIs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Metadata => "metadata",
        }
    }
}

/// What the holder of a key, or all holders of a tenant's keys together, may do. Whatever is
/// `None` or empty is not bounded here; what stands above may bound it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Models by name.
    pub models: Vec<Glob>,
    /// Doors.
    pub endpoints: Vec<Endpoint>,
    /// Addresses of callers.
    pub networks: Vec<IpNet>,
    /// Most tokens that one call may ask for, all its replies together.
    pub max_output: Option<u64>,
    /// Largest request body in bytes.
    pub max_body: Option<u64>,
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<u32>,
    /// Tokens, in and out, in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Calls at once.
    pub concurrency: Option<u32>,
    /// What may be spent in calendar windows.
    pub budgets: Vec<Budget>,
}

/// A digest of a key's secret under the secret of this installation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest(pub [u8; 32]);

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("****")
    }
}

/// A key, as it is stored. Its secret is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualKey {
    /// The public half of its token.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The key that made it, whose bounds also hold for it.
    pub parent: Option<KeyId>,
    /// What it is for.
    pub kind: KeyKind,
    /// A name for people; not unique.
    pub name: String,
    /// Whatever people want to know of it.
    pub notes: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked: Option<UnixMillis>,
    /// The digest of its secret.
    pub digest: SecretDigest,
    /// After a rotation: the digest of the earlier secret, and until when that one works too.
    pub earlier: Option<(SecretDigest, UnixMillis)>,
    /// How many calls it may make in its life.
    pub uses: Option<u64>,
    /// Whether it may make child keys.
    pub can_mint: bool,
    /// Its place among the waiting calls of its tenant; higher goes first.
    pub priority: u8,
    /// What the audit keeps of its calls.
    pub audit: AuditPolicy,
    /// What it may do.
    pub bounds: Bounds,
}

impl VirtualKey {
    /// A key without bounds, made at a time; it makes no child keys, and all of its calls are kept.
    pub fn new(
        kind: KeyKind,
        tenant: TenantId,
        id: KeyId,
        digest: SecretDigest,
        created: UnixMillis,
    ) -> Self {
        Self {
            id,
            tenant,
            parent: None,
            kind,
            name: String::new(),
            notes: String::new(),
            created,
            expires: None,
            revoked: None,
            digest,
            earlier: None,
            uses: None,
            can_mint: false,
            priority: 0,
            audit: AuditPolicy::Full,
            bounds: Bounds::default(),
        }
    }
}

/// Who keys belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name, unique.
    pub id: TenantId,
    /// Whatever people want to know of it.
    pub notes: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it was shut out, with all of its keys.
    pub revoked: Option<UnixMillis>,
    /// Its share of the hosts beside other tenants, at least 1.
    pub weight: u16,
    /// What all of its keys together may do.
    pub bounds: Bounds,
}

impl Tenant {
    /// A tenant without bounds, made at a time.
    pub fn new(id: TenantId, created: UnixMillis) -> Self {
        Self {
            id,
            notes: String::new(),
            created,
            revoked: None,
            weight: 1,
            bounds: Bounds::default(),
        }
    }
}
