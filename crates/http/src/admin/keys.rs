//! Keys as JSON, and what administrators do with them.

use gateway::admin::{DEFAULT_OVERLAP, Issued, KeyCursor, KeyFields, KeyFilter, NewKey};
use gateway::keyring::{ActiveKey, Denied};
use gateway::keys::{AuditPolicy, KeyId, KeyKind, TenantId, UnixMillis};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::bounds::{BoundsIn, BoundsOut};
use super::query::Query;
use super::refused::Refused;
use super::wire::{Deleted, Instant, Length, PageOut, Text, Word, read, said};
use super::{Answer, Asked};

/// A key as it is asked for. One shape serves making, minting and changing; what does not go with
/// the occasion is refused by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null takes a bound away; nothing leaves it")]
pub(super) struct KeyIn {
    kind: Option<Text<Word<KeyKind>>>,
    tenant: Option<Text<TenantId>>,
    parent: Option<Text<KeyId>>,
    name: Option<String>,
    notes: Option<String>,
    #[serde(default, deserialize_with = "said")]
    expires: Option<Option<Text<Instant>>>,
    expires_in: Option<Text<Length>>,
    #[serde(default, deserialize_with = "said")]
    uses: Option<Option<u64>>,
    can_mint: Option<bool>,
    priority: Option<u8>,
    audit: Option<Text<Word<AuditPolicy>>>,
    #[serde(default)]
    bounds: BoundsIn,
}

impl KeyIn {
    /// Refuses what cannot be said here.
    pub(super) fn without_origin(&self, why: &str) -> Result<(), Refused> {
        let said = [
            ("kind", self.kind.is_some()),
            ("tenant", self.tenant.is_some()),
            ("parent", self.parent.is_some()),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((name, _)) => Err(Refused::invalid(name, format!("'{name}' {why}."))),
            None => Ok(()),
        }
    }

    pub(super) fn fields(self, now: UnixMillis) -> Result<KeyFields, Refused> {
        let expires = match (self.expires, self.expires_in) {
            (Some(_), Some(_)) => {
                let message = "Only one of 'expires' and 'expires_in' can be said.";
                return Err(Refused::invalid("expires_in", message));
            }
            (None, Some(Text(length))) => Some(Some(length.after(now))),
            (expires, None) => expires.map(|at| at.map(|Text(Instant(at))| at)),
        };
        Ok(KeyFields {
            name: self.name,
            notes: self.notes,
            expires,
            uses: self.uses,
            can_mint: self.can_mint,
            priority: self.priority,
            audit: self.audit.map(|Text(Word(policy))| policy),
            bounds: self.bounds.fields(),
        })
    }
}

/// A key as it is. Its secret is not in it.
#[derive(Serialize)]
pub(super) struct KeyOut<'a> {
    id: &'a str,
    kind: Word<KeyKind>,
    tenant: &'a str,
    parent: Option<String>,
    name: &'a str,
    notes: &'a str,
    /// Whether it works now: `active`, `expired` or `revoked`, with whatever is above it.
    state: &'static str,
    created: Instant,
    expires: Option<Instant>,
    revoked: Option<Instant>,
    last_used: Option<Instant>,
    earlier_secret_until: Option<Instant>,
    uses: Option<u64>,
    /// How many of them are left.
    uses_left: Option<u64>,
    can_mint: bool,
    priority: u8,
    audit: Word<AuditPolicy>,
    bounds: BoundsOut<'a>,
}

impl<'a> KeyOut<'a> {
    pub(super) fn new(active: &'a ActiveKey, asked: &Asked<'_>) -> Self {
        let (key, now) = (&active.key, asked.admin.now());
        Self {
            id: key.id.as_str(),
            kind: Word(key.kind),
            tenant: key.tenant.as_str(),
            parent: key.parent.map(|parent| parent.to_string()),
            name: &key.name,
            notes: &key.notes,
            state: state(active, now),
            created: Instant(key.created),
            expires: key.expires.map(Instant),
            revoked: key.revoked.map(Instant),
            last_used: active.last_used().map(Instant),
            earlier_secret_until: key
                .earlier
                .map(|(_, until)| until)
                .filter(|until| now < *until)
                .map(Instant),
            uses: key.uses,
            uses_left: asked.admission.uses_left(active),
            can_mint: key.can_mint,
            priority: active.priority,
            audit: Word(active.audit),
            bounds: BoundsOut::new(&key.bounds),
        }
    }
}

pub(super) fn state(key: &ActiveKey, now: UnixMillis) -> &'static str {
    match key.alive(now) {
        Ok(()) => "active",
        Err(Denied::Expired) => "expired",
        Err(_) => "revoked",
    }
}

/// A key with its token: the one reply that holds a secret.
#[derive(Serialize)]
struct IssuedOut<'a> {
    key: KeyOut<'a>,
    token: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateIn {
    overlap: Option<Text<Length>>,
}

/// A body that says nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}

pub(super) fn issued(
    asked: &Asked<'_>,
    status: StatusCode,
    issued: &Issued,
) -> Result<Answer, Refused> {
    let key = KeyOut::new(&issued.key, asked);
    Answer::new(status, &IssuedOut { key, token: issued.token.expose() })
}

pub(super) fn shown(asked: &Asked<'_>, key: &ActiveKey) -> Result<Answer, Refused> {
    Answer::ok(&KeyOut::new(key, asked))
}

/// A page of keys that fit a filter.
pub(super) fn listed(asked: &Asked<'_>, filter: &KeyFilter) -> Result<Answer, Refused> {
    let after = asked.query.get("cursor", read_cursor)?;
    let page = asked.admin.key_list(filter, after, asked.query.limit()?);
    let data = page.items.iter().map(|key| KeyOut::new(key, asked)).collect();
    let next = page.next.map(|next| format!("{}.{}", next.created, next.id));
    Answer::ok(&PageOut { data, next })
}

fn read_cursor(text: &str) -> Result<KeyCursor, String> {
    let read = || {
        let (created, id) = text.split_once('.')?;
        Some(KeyCursor { created: created.parse().ok()?, id: id.parse().ok()? })
    };
    read().ok_or_else(|| "expected the `next` of an earlier page".to_owned())
}

/// The filters that every list of keys has.
pub(super) fn filter(query: &Query) -> Result<KeyFilter, Refused> {
    let state = query.get("state", |text| match text {
        "active" => Ok(true),
        "ended" => Ok(false),
        _ => Err("expected active or ended".to_owned()),
    })?;
    Ok(KeyFilter { alive: state, ..KeyFilter::default() })
}

pub(super) fn list(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let query = &asked.query;
    let filter = KeyFilter {
        tenant: query.get("tenant", |text| text.parse().map_err(|error| format!("{error}")))?,
        kind: query.get("kind", str::parse::<Word<KeyKind>>)?.map(|Word(kind)| kind),
        below: query.get("parent", |text| text.parse().map_err(|error| format!("{error}")))?,
        ..filter(query)?
    };
    listed(asked, &filter)
}

pub(super) async fn create(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let mut body: KeyIn = read(&asked.body)?;
    let new = NewKey {
        kind: body.kind.take().map(|Text(Word(kind))| kind),
        tenant: body.tenant.take().map(|Text(tenant)| tenant),
        parent: body.parent.take().map(|Text(parent)| parent),
        fields: body.fields(asked.admin.now())?,
    };
    let made = asked.admin.key_create(new, asked.by.clone()).await?;
    issued(asked, StatusCode::CREATED, &made)
}

pub(super) fn show(asked: &Asked<'_>) -> Result<Answer, Refused> {
    shown(asked, &*asked.admin.key_show(asked.key()?)?)
}

pub(super) async fn edit(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = asked.key()?;
    let body: KeyIn = read(&asked.body)?;
    body.without_origin("of a key cannot be changed")?;
    let fields = body.fields(asked.admin.now())?;
    shown(asked, &*asked.admin.key_edit(id, fields, asked.by.clone()).await?)
}

pub(super) async fn delete(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = asked.key()?;
    asked.admin.key_delete(id, asked.by.clone()).await?;
    Answer::ok(&Deleted { id: id.as_str(), deleted: true })
}

pub(super) async fn rotate(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = asked.key()?;
    let body: RotateIn = read(&asked.body)?;
    let overlap = body.overlap.map_or(DEFAULT_OVERLAP, |Text(Length(overlap))| overlap);
    let rotated = asked.admin.key_rotate(id, overlap, asked.by.clone()).await?;
    issued(asked, StatusCode::OK, &rotated)
}

pub(super) async fn revoke(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = asked.key()?;
    let Empty {} = read(&asked.body)?;
    shown(asked, &*asked.admin.key_revoke(id, asked.by.clone()).await?)
}
