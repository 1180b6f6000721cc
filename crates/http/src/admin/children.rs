//! `/v1/keys`: what the holder of a key that may make child keys does with them.

use gateway::admin::KeyFilter;
use http::StatusCode;

use super::enter::holder;
use super::keys::{self, KeyIn};
use super::refused::Refused;
use super::wire::read;
use super::{Answer, Asked};

pub(super) async fn mint(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let body: KeyIn = read(&asked.body)?;
    body.without_origin("of a child key is that of the key that makes it")?;
    let fields = body.fields(asked.admin.now())?;
    let minted = asked.admin.key_mint(holder(&asked.by)?, fields).await?;
    keys::issued(asked, StatusCode::CREATED, &minted)
}

pub(super) fn list(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let below = Some(holder(&asked.by)?);
    keys::listed(asked, &KeyFilter { below, ..keys::filter(&asked.query)? })
}

pub(super) fn show(asked: &Asked<'_>) -> Result<Answer, Refused> {
    keys::shown(asked, &*asked.admin.child_show(holder(&asked.by)?, asked.key()?)?)
}

/// Ends a child. It stays in the list until an administrator forgets it or it makes room.
pub(super) async fn revoke(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let ended = asked.admin.child_revoke(holder(&asked.by)?, asked.key()?).await?;
    keys::shown(asked, &ended)
}
