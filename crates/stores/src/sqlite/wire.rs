//! Keys, tenants and changes as JSON: in the tables of keys and tenants, and in the journal.
//!
//! An unknown name is an error and not a default: a bound that a later version wrote must not
//! silently fall away here.

use gateway::amounts::{Budget, Span, Unit};
use gateway::keys::{
    AuditPolicy, Bounds, Endpoint, KeyKind, SecretDigest, Tenant, UnixMillis, VirtualKey,
};
use gateway::store::{Actor, Change};
use serde::{Deserialize, Serialize};

/// Why a row is not what this version writes.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// Not the JSON that is expected.
    #[error("it is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A field holds something unknown.
    #[error("its field `{0}` is not readable")]
    Field(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    id: String,
    tenant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    kind: String,
    name: String,
    notes: String,
    created: UnixMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<UnixMillis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<UnixMillis>,
    digest: [u8; 32],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier: Option<([u8; 32], UnixMillis)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uses: Option<u64>,
    can_mint: bool,
    priority: u8,
    audit: String,
    bounds: Limits,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    id: String,
    notes: String,
    created: UnixMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<UnixMillis>,
    weight: u16,
    bounds: Limits,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    models: Vec<String>,
    endpoints: Vec<String>,
    networks: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_output: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_body: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    budgets: Vec<(String, String, u64)>,
}

const UNITS: [(Unit, &str); 3] =
    [(Unit::Requests, "requests"), (Unit::Tokens, "tokens"), (Unit::Cost, "cost")];

const SPANS: [(Span, &str); 6] = [
    (Span::Minute, "minute"),
    (Span::Hour, "hour"),
    (Span::Day, "day"),
    (Span::Week, "week"),
    (Span::Month, "month"),
    (Span::Total, "total"),
];

fn name_of<T: PartialEq + Copy>(table: &[(T, &'static str)], thing: T) -> String {
    let found = table.iter().find(|(known, _)| *known == thing);
    found.map(|(_, name)| (*name).to_owned()).unwrap_or_default()
}

fn named<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, known)| *known == name).map(|(thing, _)| *thing)
}

fn write_bounds(bounds: &Bounds) -> Limits {
    Limits {
        models: bounds.models.iter().map(|glob| glob.as_str().to_owned()).collect(),
        endpoints: bounds.endpoints.iter().map(|door| door.as_str().to_owned()).collect(),
        networks: bounds.networks.iter().map(ToString::to_string).collect(),
        max_output: bounds.max_output,
        max_body: bounds.max_body,
        requests_per_minute: bounds.requests_per_minute,
        tokens_per_minute: bounds.tokens_per_minute,
        concurrency: bounds.concurrency,
        budgets: bounds
            .budgets
            .iter()
            .map(|b| (name_of(&UNITS, b.unit), name_of(&SPANS, b.span), b.limit))
            .collect(),
    }
}

fn read_bounds(limits: &Limits) -> Result<Bounds, WireError> {
    let endpoint = |name: &String| Endpoint::ALL.into_iter().find(|door| door.as_str() == name);
    let budget = |(unit, span, limit): &(String, String, u64)| {
        Some(Budget { unit: named(&UNITS, unit)?, span: named(&SPANS, span)?, limit: *limit })
    };
    Ok(Bounds {
        models: all(&limits.models, |glob| glob.parse().ok(), "models")?,
        endpoints: all(&limits.endpoints, endpoint, "endpoints")?,
        networks: all(&limits.networks, |network| network.parse().ok(), "networks")?,
        max_output: limits.max_output,
        max_body: limits.max_body,
        requests_per_minute: limits.requests_per_minute,
        tokens_per_minute: limits.tokens_per_minute,
        concurrency: limits.concurrency,
        budgets: all(&limits.budgets, budget, "budgets")?,
    })
}

fn all<A, B>(
    list: &[A],
    read: impl FnMut(&A) -> Option<B>,
    field: &'static str,
) -> Result<Vec<B>, WireError> {
    list.iter().map(read).collect::<Option<_>>().ok_or(WireError::Field(field))
}

fn key(from: &VirtualKey) -> Key {
    Key {
        id: from.id.to_string(),
        tenant: from.tenant.to_string(),
        parent: from.parent.map(|parent| parent.to_string()),
        kind: from.kind.as_str().to_owned(),
        name: from.name.clone(),
        notes: from.notes.clone(),
        created: from.created,
        expires: from.expires,
        revoked: from.revoked,
        digest: from.digest.0,
        earlier: from.earlier.map(|(digest, until)| (digest.0, until)),
        uses: from.uses,
        can_mint: from.can_mint,
        priority: from.priority,
        audit: from.audit.as_str().to_owned(),
        bounds: write_bounds(&from.bounds),
    }
}

fn owner(from: &Tenant) -> Owner {
    Owner {
        id: from.id.to_string(),
        notes: from.notes.clone(),
        created: from.created,
        revoked: from.revoked,
        weight: from.weight,
        bounds: write_bounds(&from.bounds),
    }
}

/// Writes a key.
pub(super) fn write_key(from: &VirtualKey) -> Result<String, WireError> {
    Ok(serde_json::to_string(&key(from))?)
}

/// Reads a key.
pub(super) fn read_key(json: &str) -> Result<VirtualKey, WireError> {
    let key: Key = serde_json::from_str(json)?;
    let kind = KeyKind::ALL.into_iter().find(|kind| kind.as_str() == key.kind);
    let audit = [AuditPolicy::Full, AuditPolicy::Metadata]
        .into_iter()
        .find(|policy| policy.as_str() == key.audit);
    let parent = key.parent.map(|parent| parent.parse()).transpose();
    Ok(VirtualKey {
        id: key.id.parse().map_err(|_| WireError::Field("id"))?,
        tenant: key.tenant.parse().map_err(|_| WireError::Field("tenant"))?,
        parent: parent.map_err(|_| WireError::Field("parent"))?,
        kind: kind.ok_or(WireError::Field("kind"))?,
        name: key.name,
        notes: key.notes,
        created: key.created,
        expires: key.expires,
        revoked: key.revoked,
        digest: SecretDigest(key.digest),
        earlier: key.earlier.map(|(digest, until)| (SecretDigest(digest), until)),
        uses: key.uses,
        can_mint: key.can_mint,
        priority: key.priority,
        audit: audit.ok_or(WireError::Field("audit"))?,
        bounds: read_bounds(&key.bounds)?,
    })
}

/// Writes a tenant.
pub(super) fn write_tenant(from: &Tenant) -> Result<String, WireError> {
    Ok(serde_json::to_string(&owner(from))?)
}

/// Reads a tenant.
pub(super) fn read_tenant(json: &str) -> Result<Tenant, WireError> {
    let owner: Owner = serde_json::from_str(json)?;
    Ok(Tenant {
        id: owner.id.parse().map_err(|_| WireError::Field("id"))?,
        notes: owner.notes,
        created: owner.created,
        revoked: owner.revoked,
        weight: owner.weight,
        bounds: read_bounds(&owner.bounds)?,
    })
}

/// What the journal says of a change: who made it, what it is, and what is so afterwards.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChangeNote {
    /// Who made it.
    pub(super) actor: String,
    /// What was done.
    pub(super) change: String,
    /// Which key or tenant: `key:…` or `tenant:…`.
    pub(super) of: String,
    /// What it is now, as its table holds it; absent where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<String>,
}

/// Writes what the journal says of a change.
pub(super) fn write_change(change: &Change, actor: &Actor) -> Result<ChangeNote, WireError> {
    let (done, of, now) = match change {
        Change::KeyCreated(key) => ("created", format!("key:{}", key.id), Some(write_key(key)?)),
        Change::KeyChanged(key) => ("changed", format!("key:{}", key.id), Some(write_key(key)?)),
        Change::KeyDeleted(id) => ("deleted", format!("key:{id}"), None),
        Change::TenantCreated(tenant) => {
            ("created", format!("tenant:{}", tenant.id), Some(write_tenant(tenant)?))
        }
        Change::TenantChanged(tenant) => {
            ("changed", format!("tenant:{}", tenant.id), Some(write_tenant(tenant)?))
        }
        Change::TenantDeleted(id) => ("deleted", format!("tenant:{id}"), None),
    };
    let actor = match actor {
        Actor::Machine => "machine".to_owned(),
        Actor::Key(id) => format!("key:{id}"),
    };
    Ok(ChangeNote { actor, change: done.to_owned(), of, now })
}
