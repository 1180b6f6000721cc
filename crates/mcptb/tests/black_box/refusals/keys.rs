//! The keys that are refused, and the request that is.

use std::fs;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::amounts::Unit;
use gateway::keys::token::{Entropy, InstallSecret, mint, remint};
use gateway::keys::{Endpoint, KeyKind};
use gateway::store::Actor;
use model::Secret;

use super::rows::{Row, Sort};
use super::table::Kind;
use crate::support::endpoints::ask_with_key;
use crate::support::keyring::budget;
use crate::support::{Books, Call, Key, PATIENCE, Request, Rig, Sampling};

/// Bytes that a narrow key may send, and more than any door takes from it.
const NARROW: u64 = 64;
const LARGE: usize = 2_000_000;
/// What the host holds back.
pub(super) const WAIT: &str = "wait";

/// A folder with a key for each kind of refusal.
pub(super) struct House {
    pub(super) books: Books,
    room: tempfile::TempDir,
    pub(super) admin: Key,
    good: Key,
    expired: Pair,
    revoked: Pair,
    elsewhere: Pair,
    /// Opens chat only, and messages only.
    chat: Key,
    messages: Key,
    other_model: Key,
    narrow: Key,
    rate: Key,
    one: Key,
    requests: Key,
    tokens: Key,
    cost: Key,
    uses: Key,
}

/// A key that calls and one that administers.
struct Pair {
    calls: Key,
    administers: Key,
}

/// A call that holds the only place of a key.
pub(super) struct Waiting {
    call: Call,
    sampling: Sampling,
}

impl Waiting {
    /// Gives the place back.
    pub(super) fn end(mut self) {
        self.sampling.answer("ok");
        assert_eq!(self.call.finish().status, 200);
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

fn strange() -> (Entropy, InstallSecret) {
    let entropy = Entropy { secret: Secret::new([7; 32]), id: [7; 12] };
    (entropy, InstallSecret::new([7; 32]))
}

impl House {
    pub(super) fn new() -> Self {
        let books = Books::new();
        books.tenant("poor", budget(Unit::Cost, 1));
        let soon = SystemTime::now() + Duration::from_secs(1);
        let soon = soon.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ends =
            KeyFields { expires: Some(Some(i64::try_from(soon).unwrap())), ..KeyFields::default() };
        let networks = Some(vec!["192.0.2.0/24".parse().unwrap()]);
        let away = BoundsFields { networks, ..BoundsFields::default() };
        let away = KeyFields { bounds: away, ..KeyFields::default() };
        let bounds = BoundsFields::default;
        let [
            admin,
            good,
            expired,
            expired_admin,
            revoked,
            revoked_admin,
            elsewhere,
            elsewhere_admin,
            chat,
            messages,
            other_model,
            narrow,
            rate,
            one,
            requests,
            tokens,
            cost,
            uses,
        ] = books.keys([
            administering(KeyFields::default()),
            within(bounds()),
            with(ends.clone()),
            administering(ends),
            within(bounds()),
            administering(KeyFields::default()),
            with(away.clone()),
            administering(away),
            opening(Endpoint::Chat),
            opening(Endpoint::Messages),
            within(BoundsFields { models: Some(vec!["gpt-*".parse().unwrap()]), ..bounds() }),
            within(BoundsFields { max_body: Some(Some(NARROW)), ..bounds() }),
            within(BoundsFields { requests_per_minute: Some(Some(1)), ..bounds() }),
            within(BoundsFields { concurrency: Some(Some(1)), ..bounds() }),
            within(budget(Unit::Requests, 1)),
            within(budget(Unit::Tokens, 20)),
            NewKey { tenant: Some("poor".parse().unwrap()), ..within(bounds()) },
            with(KeyFields { uses: Some(Some(1)), ..KeyFields::default() }),
        ]);
        books.administer(async |office| {
            for key in [&revoked, &revoked_admin] {
                office.key_revoke(key.id, Actor::Machine).await.unwrap();
            }
        });
        let room = tempfile::tempdir().unwrap();
        let prices = "[prices.\"*\"]\ninput = 1\noutput = 1\n";
        fs::write(room.path().join("mcptb.toml"), prices).unwrap();
        Self {
            books,
            room,
            admin,
            good,
            expired: Pair { calls: expired, administers: expired_admin },
            revoked: Pair { calls: revoked, administers: revoked_admin },
            elsewhere: Pair { calls: elsewhere, administers: elsewhere_admin },
            chat,
            messages,
            other_model,
            narrow,
            rate,
            one,
            requests,
            tokens,
            cost,
            uses,
        }
    }

    /// The file that says what models cost.
    pub(super) fn config(&self) -> String {
        let file = self.room.path().join("mcptb.toml");
        file.into_os_string().into_string().unwrap()
    }

    /// Waits until the keys that are to expire have done so.
    pub(super) fn wait_expired(&self, rig: &Rig) {
        let deadline = Instant::now() + PATIENCE;
        let look = Request::get("/v1/models").header("x-api-key", &self.expired.calls.token);
        while rig.fetch(&look).status != 401 {
            assert!(Instant::now() < deadline, "it never ends");
        }
    }

    /// A request with a key that may make it.
    pub(super) fn good(&self, row: &Row, request: Request) -> Request {
        let key = if row.sort == Sort::Admin { &self.admin } else { &self.good };
        request.header("x-api-key", &key.token)
    }

    /// Takes the only place of a key. The host holds back what says `wait`.
    pub(super) fn keep_waiting(&self, rig: &Rig, held: &Receiver<Sampling>) -> Waiting {
        let call = rig.send(&ask_with_key(Endpoint::Chat, WAIT, false, &self.one.token));
        Waiting { call, sampling: held.recv_timeout(PATIENCE).expect("a sampling request") }
    }

    /// The request that a cell is about, and the scope that is expected to refuse it.
    pub(super) fn case(&self, rig: &Rig, row: &Row, kind: Kind) -> (Request, Option<String>) {
        let administers = row.sort == Sort::Admin;
        let of = |pair: &Pair| {
            if administers { pair.administers.clone() } else { pair.calls.clone() }
        };
        let right = if administers { &self.admin } else { &self.good };
        let shown = |token: &str| row.request().header("x-api-key", token);
        let nobody = |token: &str| (shown(token), None);
        let by = |key: &Key| (shown(&key.token), Some(format!("key:{}", key.id)));
        let spent = |key: &Key| {
            // Where it is spent already, this is refused, and that is as good.
            rig.fetch(&row.spending(&key.token));
            by(key)
        };
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
            Kind::Expired => nobody(&of(&self.expired).token),
            Kind::Revoked => nobody(&of(&self.revoked).token),
            Kind::OtherSort if administers => nobody(&self.good.token),
            Kind::OtherSort => nobody(&self.admin.token),
            Kind::Network => by(&of(&self.elsewhere)),
            Kind::Endpoint if row.endpoint() == Endpoint::Chat => by(&self.messages),
            Kind::Endpoint => by(&self.chat),
            Kind::Model => by(&self.other_model),
            Kind::LargeBody | Kind::EndlessBody => {
                let key = if administers { &self.admin } else { &self.narrow };
                let scope = (!administers).then(|| format!("key:{}", key.id));
                let request = match kind {
                    Kind::LargeBody => row.announced(LARGE),
                    _ => row.in_pieces(LARGE),
                };
                (request.header("x-api-key", &key.token), scope)
            }
            Kind::Rate => spent(&self.rate),
            Kind::Concurrency => by(&self.one),
            Kind::RequestBudget => spent(&self.requests),
            Kind::TokenBudget => by(&self.tokens),
            Kind::CostBudget => (shown(&self.cost.token), Some("tenant:poor".to_owned())),
            Kind::Uses => spent(&self.uses),
            Kind::StoreDown => nobody(&right.token),
            Kind::WrongMethod => (self.good(row, row.other_method()), None),
            Kind::UnknownPath => (self.good(row, row.other_path()), None),
        }
    }
}
