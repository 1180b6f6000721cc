//! Making, changing and ending tenants.

use std::sync::Arc;

use super::fields::{NewTenant, TenantFields};
use super::keys::check_unbounded;
use super::{Admin, AdminError, Inner};
use crate::keyring::ActiveKey;
use crate::keys::{KeyKind, ScopeId, Tenant, TenantId};
use crate::store::{Actor, Change};

/// The tenant of keys that nothing was said of.
pub const DEFAULT_TENANT: &str = "default";
/// The tenant of admin keys that nothing was said of.
pub const ADMIN_TENANT: &str = "admin";

impl Admin {
    /// Makes a tenant.
    pub async fn tenant_create(
        &self,
        new: NewTenant,
        by: Actor,
    ) -> Result<Arc<Tenant>, AdminError> {
        self.change(move |inner| async move {
            let snapshot = inner.snapshot();
            inner.check_actor(&snapshot, &by)?;
            new.fields.check()?;
            if snapshot.tenant(&new.id).is_some() {
                let message = format!("There is a tenant `{}` already.", new.id);
                return Err(AdminError::Conflict(message));
            }
            let mut tenant = inner.tenant_blank(new.id);
            new.fields.apply(&mut tenant);
            inner.commit_tenant(tenant, Change::TenantCreated, by).await
        })
        .await
    }

    /// Changes a tenant. One that is shut out can be changed too, and stays shut out.
    pub async fn tenant_edit(
        &self,
        id: TenantId,
        fields: TenantFields,
        by: Actor,
    ) -> Result<Arc<Tenant>, AdminError> {
        self.change(move |inner| async move {
            let snapshot = inner.snapshot();
            inner.check_actor(&snapshot, &by)?;
            fields.check()?;
            let old = inner.tenant(&id)?;
            let administers =
                |key: &Arc<ActiveKey>| key.key.tenant == id && key.key.kind == KeyKind::Admin;
            if snapshot.keys().any(administers) {
                // What bounds a tenant bounds its keys.
                check_unbounded(&snapshot, &by)?;
            }
            let mut tenant = (*old).clone();
            fields.apply(&mut tenant);
            if tenant == *old {
                return Ok(old);
            }
            inner.commit_tenant(tenant, Change::TenantChanged, by).await
        })
        .await
    }

    /// Shuts a tenant out, with all of its keys and their running calls, for good.
    pub async fn tenant_revoke(&self, id: TenantId, by: Actor) -> Result<Arc<Tenant>, AdminError> {
        self.revoke(ScopeId::Tenant(id.clone()), by, |_| Ok(())).await?;
        self.inner.tenant(&id)
    }

    /// Forgets a tenant; its spending stays on record. Refused while it has keys, ended ones too:
    /// a tenant of the same name would bring them back.
    pub async fn tenant_delete(&self, id: TenantId, by: Actor) -> Result<(), AdminError> {
        self.change(move |inner| async move {
            let snapshot = inner.snapshot();
            inner.check_actor(&snapshot, &by)?;
            inner.tenant(&id)?;
            match snapshot.keys().filter(|key| key.key.tenant == id).count() {
                0 => inner.commit(Change::TenantDeleted(id), by).await,
                keys => Err(AdminError::Conflict(format!(
                    "The tenant `{id}` has {keys} keys. Delete them first, or only revoke it."
                ))),
            }
        })
        .await
    }

    /// One tenant.
    pub fn tenant_show(&self, id: &TenantId) -> Result<Arc<Tenant>, AdminError> {
        self.inner.tenant(id)
    }
}

impl Inner {
    pub(super) async fn tenant_make(&self, id: TenantId, by: Actor) -> Result<(), AdminError> {
        let tenant = self.tenant_blank(id);
        self.commit(Change::TenantCreated(Box::new(tenant)), by).await
    }

    fn tenant_blank(&self, id: TenantId) -> Tenant {
        Tenant::new(id, self.clock.now())
    }

    fn tenant(&self, id: &TenantId) -> Result<Arc<Tenant>, AdminError> {
        self.snapshot().tenant(id).cloned().ok_or(AdminError::NotFound("tenant"))
    }

    async fn commit_tenant(
        &self,
        tenant: Tenant,
        made: fn(Box<Tenant>) -> Change,
        by: Actor,
    ) -> Result<Arc<Tenant>, AdminError> {
        let id = tenant.id.clone();
        self.commit(made(Box::new(tenant)), by).await?;
        self.tenant(&id)
    }
}
