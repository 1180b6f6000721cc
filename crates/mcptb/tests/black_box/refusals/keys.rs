//! The keys that are refused, and the request that is.

use std::collections::HashMap;
use std::fs;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::amounts::Unit;
use gateway::keys::token::{Entropy, InstallSecret, mint, remint};
use gateway::keys::{Endpoint, KeyKind};
use gateway::store::Actor;
use model::Secret;
use serde_json::Value;

use super::rows::{Row, Sort};
use super::table::Kind;
use crate::support::endpoints::ask_with_key;
use crate::support::keyring::budget;
use crate::support::{Books, Call, Key, PATIENCE, Request, Rig, Sampling};

/// Bytes that a narrow key may send, and more than any door takes from it.
const NARROW: u64 = 64;
const LARGE: usize = 2_000_000;
/// Enough for one call at a time: each asks for 100.
const TOKENS: u64 = 150;
/// What the host holds back.
pub(super) const WAIT: &str = "wait";

/// A folder with keys for each kind of refusal.
pub(super) struct House {
    pub(super) books: Books,
    room: tempfile::TempDir,
    pub(super) admin: Key,
    good: Key,
    /// Opens chat only.
    chat: Key,
    /// Opens messages only.
    messages: Key,
    /// A child of the key of [`Kind::ParentRate`].
    child: Key,
    /// The others, by how they are refused and whether they administer.
    refused: HashMap<(Kind, bool), Key>,
}

/// A call that holds the only place of a key.
pub(super) struct Waiting {
    call: Call,
    sampling: Sampling,
    /// What waits behind it.
    queued: Option<Call>,
}

impl Waiting {
    /// Gives the place back.
    pub(super) fn end(mut self, held: &Receiver<Sampling>) {
        self.sampling.answer("ok");
        assert_eq!(self.call.finish().status, 200);
        if let Some(mut queued) = self.queued {
            held.recv_timeout(PATIENCE).expect("a sampling request").answer("ok");
            assert_eq!(queued.finish().status, 200);
        }
    }
}

fn with(fields: KeyFields) -> NewKey {
    NewKey { fields: KeyFields { can_mint: Some(true), ..fields }, ..NewKey::default() }
}

fn within(bounds: BoundsFields) -> NewKey {
    with(KeyFields { bounds, ..KeyFields::default() })
}

fn administering(fields: KeyFields) -> NewKey {
    NewKey { kind: Some(KeyKind::Admin), fields, ..NewKey::default() }
}

fn opening(endpoint: Endpoint) -> NewKey {
    within(BoundsFields { endpoints: Some(vec![endpoint]), ..BoundsFields::default() })
}

fn per_minute(requests: u32) -> BoundsFields {
    BoundsFields { requests_per_minute: Some(Some(requests)), ..BoundsFields::default() }
}

fn narrow(bytes: u64) -> NewKey {
    within(BoundsFields { max_body: Some(Some(bytes)), ..BoundsFields::default() })
}

fn strange() -> (Entropy, InstallSecret) {
    let entropy = Entropy { secret: Secret::new([7; 32]), id: [7; 12] };
    (entropy, InstallSecret::new([7; 32]))
}

impl House {
    pub(super) fn new() -> Self {
        let books = Books::new();
        books.tenant("poor", budget(Unit::Cost, 1));
        books.tenant("slow", per_minute(1));
        let soon = SystemTime::now() + Duration::from_secs(1);
        let soon = soon.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ends =
            KeyFields { expires: Some(Some(i64::try_from(soon).unwrap())), ..KeyFields::default() };
        let networks = Some(vec!["192.0.2.0/24".parse().unwrap()]);
        let away = BoundsFields { networks, ..BoundsFields::default() };
        let away = KeyFields { bounds: away, ..KeyFields::default() };
        let bounds = BoundsFields::default;
        let (tenant, slow) = (Some("poor".parse().unwrap()), Some("slow".parse().unwrap()));
        let models = Some(vec!["gpt-*".parse().unwrap()]);
        let refused = [
            (Kind::Expired, false, with(ends.clone())),
            (Kind::Expired, true, administering(ends)),
            (Kind::Revoked, false, within(bounds())),
            (Kind::Revoked, true, administering(KeyFields::default())),
            (Kind::Network, false, with(away.clone())),
            (Kind::Network, true, administering(away)),
            (Kind::Model, false, within(BoundsFields { models, ..bounds() })),
            (Kind::LargeBody, false, narrow(NARROW)),
            (Kind::EndlessBody, false, narrow(NARROW)),
            (Kind::Rate, false, within(per_minute(1))),
            (Kind::ParentRate, false, within(per_minute(1))),
            (Kind::TenantRate, false, NewKey { tenant: slow, ..within(bounds()) }),
            (
                Kind::TokenRate,
                false,
                within(BoundsFields { tokens_per_minute: Some(Some(TOKENS)), ..bounds() }),
            ),
            (
                Kind::Concurrency,
                false,
                within(BoundsFields { concurrency: Some(Some(1)), ..bounds() }),
            ),
            (Kind::RequestBudget, false, within(budget(Unit::Requests, 1))),
            (Kind::TokenBudget, false, within(budget(Unit::Tokens, 20))),
            (Kind::CostBudget, false, NewKey { tenant, ..within(bounds()) }),
            (Kind::Uses, false, with(KeyFields { uses: Some(Some(1)), ..KeyFields::default() })),
        ];
        let names = refused.each_ref().map(|(kind, administers, _)| (*kind, *administers));
        let made = books.keys(refused.map(|(_, _, new)| new));
        let refused: HashMap<_, _> = names.into_iter().zip(made).collect();
        let [admin, good, chat, messages] = books.keys([
            administering(KeyFields::default()),
            within(bounds()),
            opening(Endpoint::Chat),
            opening(Endpoint::Messages),
        ]);
        let parent = Some(refused[&(Kind::ParentRate, false)].id);
        let [child] = books.keys([NewKey { parent, ..within(bounds()) }]);
        books.administer(async |office| {
            for administers in [false, true] {
                let id = refused[&(Kind::Revoked, administers)].id;
                office.key_revoke(id, Actor::Machine).await.unwrap();
            }
        });
        let room = tempfile::tempdir().unwrap();
        let settings = "[prices.\"*\"]\ninput = 1\noutput = 1\n\
                        [models.\"scarce\"]\nrequests_per_minute = 1\n";
        fs::write(room.path().join("mcptb.toml"), settings).unwrap();
        Self { books, room, admin, good, chat, messages, child, refused }
    }

    /// The file that says what models cost.
    pub(super) fn config(&self) -> String {
        let file = self.room.path().join("mcptb.toml");
        file.into_os_string().into_string().unwrap()
    }

    /// Waits until the keys that are to expire have done so.
    pub(super) fn wait_expired(&self, rig: &Rig) {
        let deadline = Instant::now() + PATIENCE;
        let look = Request::get("/v1/models")
            .header("x-api-key", &self.refused[&(Kind::Expired, false)].token);
        while rig.fetch(&look).status != 401 {
            assert!(Instant::now() < deadline, "it never ends");
        }
    }

    /// A request with a key that may make it.
    pub(super) fn good(&self, row: &Row, request: Request) -> Request {
        let key = if row.sort == Sort::Admin { &self.admin } else { &self.good };
        request.header("x-api-key", &key.token)
    }

    /// Takes the only place of a key, or all that it has of a minute, or the only place of the host.
    /// It holds back what says `wait`.
    pub(super) fn keep_waiting(
        &self,
        rig: &Rig,
        kind: Kind,
        held: &Receiver<Sampling>,
    ) -> Option<Waiting> {
        let key = match kind {
            Kind::Concurrency | Kind::TokenRate => &self.refused[&(kind, false)],
            Kind::QueueFull => &self.good,
            _ => return None,
        };
        let ask = || rig.send(&ask_with_key(Endpoint::Chat, WAIT, false, &key.token));
        let call = ask();
        let sampling = held.recv_timeout(PATIENCE).expect("a sampling request");
        let queued = (kind == Kind::QueueFull).then(|| {
            let queued = ask();
            let waits = |status: &Value| status["hosts"][0]["waiting"] == 1;
            rig.host.wait_status("one that waits", waits);
            queued
        });
        Some(Waiting { call, sampling, queued })
    }

    /// The request that a cell is about, and the scope that is expected to refuse it.
    pub(super) fn case(&self, rig: &Rig, row: &Row, kind: Kind) -> (Request, Option<String>) {
        let administers = row.sort == Sort::Admin;
        let key = || &self.refused[&(kind, administers)];
        let right = if administers { &self.admin } else { &self.good };
        let shown = |token: &str| row.request().header("x-api-key", token);
        let nobody = |token: &str| (shown(token), None);
        let by = |key: &Key| (shown(&key.token), Some(format!("key:{}", key.id)));
        let kind_of_key = if administers { KeyKind::Admin } else { KeyKind::Model };
        let (entropy, install) = strange();
        match kind {
            Kind::NoCredential => (row.request(), None),
            Kind::Damaged => {
                let mut token = right.token.clone();
                let last = if token.pop() == Some('a') { 'b' } else { 'a' };
                token.push(last);
                nobody(&token)
            }
            Kind::Unknown => nobody(mint(kind_of_key, &entropy, &install).token.expose()),
            Kind::WrongSecret => {
                nobody(remint(kind_of_key, right.id, &entropy, &install).token.expose())
            }
            Kind::Expired | Kind::Revoked => nobody(&key().token),
            Kind::OtherSort if administers => nobody(&self.good.token),
            Kind::OtherSort => nobody(&self.admin.token),
            Kind::Endpoint if row.endpoint() == Endpoint::Chat => by(&self.messages),
            Kind::Endpoint => by(&self.chat),
            Kind::LargeBody | Kind::EndlessBody => {
                let key = if administers { &self.admin } else { key() };
                let scope = (!administers).then(|| format!("key:{}", key.id));
                let request = match kind {
                    Kind::LargeBody => row.announced(LARGE),
                    _ => row.in_pieces(LARGE),
                };
                (request.header("x-api-key", &key.token), scope)
            }
            Kind::Network
            | Kind::Model
            | Kind::Concurrency
            | Kind::TokenRate
            | Kind::TokenBudget => by(key()),
            Kind::ParentRate => {
                rig.fetch(&row.spending(&key().token));
                (shown(&self.child.token), Some(format!("key:{}", key().id)))
            }
            Kind::TenantRate => {
                rig.fetch(&row.spending(&key().token));
                (shown(&key().token), Some("tenant:slow".to_owned()))
            }
            Kind::ModelRate => {
                let ask = self.good(row, row.request_of("scarce"));
                // What is answered takes the one that there is.
                if matches!(row.sort, Sort::Call(_)) {
                    rig.fetch(&ask);
                }
                (ask, Some("model:scarce".to_owned()))
            }
            Kind::ForeignHost => {
                (self.good(row, row.request()).header("host", "elsewhere.example"), None)
            }
            Kind::ForeignOrigin => {
                let origin = "https://elsewhere.example";
                (self.good(row, row.request()).header("origin", origin), None)
            }
            Kind::Malformed => (self.good(row, row.malformed()), None),
            Kind::Rate | Kind::RequestBudget | Kind::Uses => {
                // Where it is spent already, this is refused, and that is as good.
                rig.fetch(&row.spending(&key().token));
                by(key())
            }
            Kind::CostBudget => (shown(&key().token), Some("tenant:poor".to_owned())),
            Kind::QueueFull | Kind::NotReady | Kind::StoreDown => nobody(&right.token),
            Kind::WrongMethod => (self.good(row, row.other_method()), None),
            Kind::UnknownPath => (self.good(row, row.other_path()), None),
        }
    }
}
