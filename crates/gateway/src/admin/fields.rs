//! What can be said of a key or tenant when it is made or changed.
//!
//! One shape serves both. What is left out (`None`) keeps its value; of a new key it is what the
//! parent has, else what most people want. The inner `None` of a double option takes a bound away.

use ipnet::IpNet;

use crate::amounts::Budget;
use crate::keys::{
    AuditPolicy, Bounds, Endpoint, Glob, KeyId, KeyKind, Tenant, TenantId, UnixMillis, VirtualKey,
};

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for; the parent's kind where there is one, else [`KeyKind::Model`].
    pub kind: Option<KeyKind>,
    /// Whose it is; the parent's tenant where there is one. A tenant that does not exist is made.
    pub tenant: Option<TenantId>,
    /// The key whose bounds also hold for it.
    pub parent: Option<KeyId>,
    /// Everything else.
    pub fields: KeyFields,
}

/// What can be set of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFields {
    /// A name for people: at most 100 characters.
    pub name: Option<String>,
    /// Whatever people want to know of it: at most 4 KB.
    pub notes: Option<String>,
    /// When it ends by itself.
    pub expires: Option<Option<UnixMillis>>,
    /// How many calls it may make in its life.
    pub uses: Option<Option<u64>>,
    /// Whether it may make child keys; a new key may not unless this says so.
    pub can_mint: Option<bool>,
    /// Its place among the waiting calls of its tenant.
    pub priority: Option<u8>,
    /// What the audit keeps of its calls. A child has its parent's.
    pub audit: Option<AuditPolicy>,
    /// What it may do.
    pub bounds: BoundsFields,
}

/// What can be set of bounds. An empty list bounds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundsFields {
    /// Models by name.
    pub models: Option<Vec<Glob>>,
    /// Doors.
    pub endpoints: Option<Vec<Endpoint>>,
    /// Addresses of callers.
    pub networks: Option<Vec<IpNet>>,
    /// Most tokens that one reply may ask for.
    pub max_output: Option<Option<u64>>,
    /// Largest request body in bytes.
    pub max_body: Option<Option<u64>>,
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<Option<u32>>,
    /// Tokens in any 60 seconds.
    pub tokens_per_minute: Option<Option<u64>>,
    /// Calls at once.
    pub concurrency: Option<Option<u32>>,
    /// All budgets. For a child key, those of its parent that are not named here stay.
    pub budgets: Option<Vec<Budget>>,
}

/// A tenant to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTenant {
    /// Its name.
    pub id: TenantId,
    /// Everything else.
    pub fields: TenantFields,
}

/// What can be set of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantFields {
    /// Whatever people want to know of it: at most 4 KB.
    pub notes: Option<String>,
    /// Its share of the hosts beside other tenants, at least 1.
    pub weight: Option<u16>,
    /// What all of its keys together may do.
    pub bounds: BoundsFields,
}

fn set<T: Clone>(place: &mut T, wanted: Option<&T>) {
    if let Some(wanted) = wanted {
        place.clone_from(wanted);
    }
}

impl KeyFields {
    pub(super) fn apply(&self, key: &mut VirtualKey) {
        set(&mut key.name, self.name.as_ref());
        set(&mut key.notes, self.notes.as_ref());
        set(&mut key.expires, self.expires.as_ref());
        set(&mut key.uses, self.uses.as_ref());
        set(&mut key.can_mint, self.can_mint.as_ref());
        set(&mut key.priority, self.priority.as_ref());
        set(&mut key.audit, self.audit.as_ref());
        self.bounds.apply(&mut key.bounds);
    }
}

impl BoundsFields {
    pub(super) fn apply(&self, bounds: &mut Bounds) {
        set(&mut bounds.models, self.models.as_ref());
        set(&mut bounds.endpoints, self.endpoints.as_ref());
        set(&mut bounds.networks, self.networks.as_ref());
        set(&mut bounds.max_output, self.max_output.as_ref());
        set(&mut bounds.max_body, self.max_body.as_ref());
        set(&mut bounds.requests_per_minute, self.requests_per_minute.as_ref());
        set(&mut bounds.tokens_per_minute, self.tokens_per_minute.as_ref());
        set(&mut bounds.concurrency, self.concurrency.as_ref());
        set(&mut bounds.budgets, self.budgets.as_ref());
    }
}

impl TenantFields {
    pub(super) fn apply(&self, tenant: &mut Tenant) {
        set(&mut tenant.notes, self.notes.as_ref());
        set(&mut tenant.weight, self.weight.as_ref());
        self.bounds.apply(&mut tenant.bounds);
    }
}
