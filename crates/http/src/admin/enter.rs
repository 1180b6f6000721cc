//! Who comes to administer.
//!
//! Being on this machine is no right here, and the static token is none: what is done is written
//! down with the name of a key.

use gateway::keyring::Denied;
use gateway::keys::{KeyId, KeyKind};
use gateway::store::Actor;
use http::request::Parts;

use super::refused::Refused;
use super::routes::Door;
use super::{AdminAccess, Rooms};
use crate::access::{check_network, credentials};
use crate::doors::peer;

impl Rooms {
    /// Finds out who asks, and whether they may use this door.
    pub(super) fn enter(&self, door: Door, head: &Parts) -> Result<Actor, Refused> {
        let rules = match &self.doors.access {
            AdminAccess::Machine => return Ok(Actor::Machine),
            AdminAccess::Keys { rules, .. } => rules,
        };
        let address = rules.now().access.locate(peer(head), head)?;
        let (admin, mut refused) = (&self.doors.admin, None);
        let (keyring, now) = (admin.keyring(), admin.now());
        for shown in credentials(&head.headers) {
            let key = match keyring.identify(shown, now) {
                Ok(key) => key,
                Err(denied) => {
                    refused.get_or_insert(Refused::unauthenticated(why(denied)));
                    continue;
                }
            };
            let within = check_network(&key, address);
            let kind = key.key.kind;
            refused = Some(match door {
                Door::Admin if kind != KeyKind::Admin => Refused::Forbidden(
                    "This key calls models and does not administer. Use an admin key.",
                ),
                Door::Children if kind == KeyKind::Admin => {
                    Refused::Forbidden("An admin key makes keys at /admin/v1/keys.")
                }
                Door::Children if !key.can_mint => {
                    Refused::Forbidden("This key may not make child keys.")
                }
                Door::Admin | Door::Children => match within {
                    Ok(()) => return Ok(Actor::Key(key.key.id)),
                    Err(failure) => failure.into(),
                },
            });
        }
        Err(refused.unwrap_or_else(|| {
            Refused::unauthenticated(match door {
                Door::Admin => {
                    "An admin key is needed: send it as `Authorization: Bearer <key>` or as \
                     `x-api-key: <key>`."
                }
                Door::Children => {
                    "A key that may make child keys is needed: send it as `Authorization: Bearer \
                     <key>` or as `x-api-key: <key>`."
                }
            })
        }))
    }
}

/// The key whose holder asks.
pub(super) fn holder(by: &Actor) -> Result<KeyId, Refused> {
    match by {
        Actor::Key(id) => Ok(*id),
        Actor::Machine => Err(Refused::not_found("key")),
    }
}

const fn why(denied: Denied) -> &'static str {
    match denied {
        Denied::Foreign => "What came with the request is no key of this bridge.",
        Denied::Damaged => "The key is damaged: its checksum does not match.",
        Denied::Unknown => "The key is not known here.",
        Denied::Expired => "The key has expired.",
        Denied::Revoked => "The key was revoked.",
        // Not reached: before the keys are known nobody gets this far.
        Denied::Unavailable => "The key cannot be checked at the moment.",
    }
}
