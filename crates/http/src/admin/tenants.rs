//! Tenants as JSON, and what administrators do with them.

use gateway::admin::{NewTenant, TenantFields};
use gateway::keys::{Tenant, TenantId};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::bounds::{BoundsIn, BoundsOut};
use super::keys::Empty;
use super::refused::Refused;
use super::wire::{Deleted, Instant, PageOut, Text, read};
use super::{Answer, Asked};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantNew {
    id: Text<TenantId>,
    notes: Option<String>,
    weight: Option<u16>,
    #[serde(default)]
    bounds: BoundsIn,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantEdit {
    notes: Option<String>,
    weight: Option<u16>,
    #[serde(default)]
    bounds: BoundsIn,
}

#[derive(Serialize)]
struct TenantOut<'a> {
    id: &'a str,
    notes: &'a str,
    /// `active` or `revoked`.
    state: &'static str,
    created: Instant,
    revoked: Option<Instant>,
    weight: u16,
    bounds: BoundsOut<'a>,
}

impl<'a> TenantOut<'a> {
    fn new(tenant: &'a Tenant) -> Self {
        Self {
            id: tenant.id.as_str(),
            notes: &tenant.notes,
            state: if tenant.revoked.is_some() { "revoked" } else { "active" },
            created: Instant(tenant.created),
            revoked: tenant.revoked.map(Instant),
            weight: tenant.weight,
            bounds: BoundsOut::new(&tenant.bounds),
        }
    }
}

fn named(asked: &Asked<'_>) -> Result<TenantId, Refused> {
    asked.id.parse().map_err(|_| Refused::not_found("tenant"))
}

pub(super) fn list(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let read_cursor = |text: &str| {
        text.parse::<TenantId>().map_err(|_| "expected the `next` of an earlier page".to_owned())
    };
    let after = asked.query.get("cursor", read_cursor)?;
    let page = asked.admin.tenant_list(after.as_ref(), asked.query.limit()?);
    let data = page.items.iter().map(|tenant| TenantOut::new(tenant)).collect();
    Answer::ok(&PageOut { data, next: page.next.map(|next| next.to_string()) })
}

pub(super) async fn create(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let TenantNew { id: Text(id), notes, weight, bounds } = read(&asked.body)?;
    let fields = TenantFields { notes, weight, bounds: bounds.fields() };
    let made = asked.admin.tenant_create(NewTenant { id, fields }, asked.by.clone()).await?;
    Answer::new(StatusCode::CREATED, &TenantOut::new(&made))
}

pub(super) fn show(asked: &Asked<'_>) -> Result<Answer, Refused> {
    Answer::ok(&TenantOut::new(&*asked.admin.tenant_show(&named(asked)?)?))
}

pub(super) async fn edit(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = named(asked)?;
    let TenantEdit { notes, weight, bounds } = read(&asked.body)?;
    let fields = TenantFields { notes, weight, bounds: bounds.fields() };
    let edited = asked.admin.tenant_edit(id, fields, asked.by.clone()).await?;
    Answer::ok(&TenantOut::new(&edited))
}

pub(super) async fn delete(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = named(asked)?;
    asked.admin.tenant_delete(id.clone(), asked.by.clone()).await?;
    Answer::ok(&Deleted { id: id.as_str(), deleted: true })
}

pub(super) async fn revoke(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = named(asked)?;
    let Empty {} = read(&asked.body)?;
    Answer::ok(&TenantOut::new(&*asked.admin.tenant_revoke(id, asked.by.clone()).await?))
}
