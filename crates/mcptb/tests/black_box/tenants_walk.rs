//! A walk of several tenants through every API: after each step, whatever id one of them has ever
//! seen is for the others an id that never was, on every route that takes one.
//!
//! The walk is random. `MCPTB_TEST_SEED` repeats one; a failure names it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::endpoints::{CALLING, answer, ask};
use crate::support::{Desk, PATIENCE, Reply, Request, Rig, Sampling};

mod shown;

use shown::{Told, Way, never, told, ways};

const TENANTS: [&str; 3] = ["tenant-amber", "tenant-birch", "tenant-cedar"];
/// Steps of one walk.
const STEPS: usize = 20;
/// Kinds of steps; some are two of them, since more comes of them.
const KINDS: usize = 10;
/// The host leaves what begins so to the test.
const HELD: &str = "held ";

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }
}

/// A key that is alive.
#[derive(Clone)]
struct Holder {
    id: String,
    token: String,
}

/// A response that is kept.
#[derive(Clone)]
struct Kept {
    id: String,
    owner: String,
}

/// A tenant as the walk knows it.
#[derive(Default)]
struct Tenant {
    /// The first is above all others.
    keys: Vec<Holder>,
    kept: Vec<Kept>,
    /// Every id that it has ever seen of its own.
    ids: BTreeSet<String>,
}

struct Walk {
    rig: Rig,
    /// Holds the folder of keys and records.
    _desk: Desk,
    held: Receiver<Sampling>,
    admin: String,
    ways: Vec<Way>,
    tenants: Vec<Tenant>,
    chance: Chance,
    /// What an id that never was is told: by who asks, the way, and the shape of the id.
    unknown: HashMap<(String, usize, String), Told>,
    /// What was checked.
    shown: usize,
}

fn by(token: &str, request: Request) -> Request {
    request.header("authorization", &format!("Bearer {token}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

#[test]
fn whatever_one_tenant_has_seen_never_was_for_another() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the bridge")]
    let named = std::env::var("MCPTB_TEST_SEED").ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let drawn = u64::try_from(now.as_micros()).unwrap();
    let seed = named.map_or(drawn, |seed| seed.parse().expect("a number"));
    eprintln!("MCPTB_TEST_SEED={seed}");
    let mut walk = Walk::new(seed);
    for step in 0..STEPS {
        let tenant = walk.chance.below(TENANTS.len());
        let before = walk.tenants[tenant].ids.clone();
        // Each kind of step once, and then whatever comes.
        let kind = if step < KINDS { step } else { walk.chance.below(KINDS) };
        let what = walk.step(kind, tenant);
        eprintln!("{step}: {} {what}", TENANTS[tenant]);
        let fresh: Vec<_> = walk.tenants[tenant].ids.difference(&before).cloned().collect();
        walk.check_fresh(tenant, &fresh);
        walk.check_all();
        walk.check_lists();
    }
    walk.check_owners();
    eprintln!("{} ids shown", walk.shown);
    assert!(walk.shown > 1000, "too little was tried");
}

impl Walk {
    fn new(seed: u64) -> Self {
        let desk = Desk::new();
        let rig = desk.launch().arg("--concurrency", "16").ready();
        let (keep, held) = channel();
        rig.host.respond(move |sampling| {
            let asked = sampling.asked();
            if asked.starts_with(HELD) {
                keep.send(sampling.clone()).unwrap();
            } else {
                sampling.answer(&format!("answer to {asked}"));
            }
        });
        let admin = desk.key(&["--admin"]).token;
        let tenants = TENANTS.iter().map(|name| {
            let key = desk.key(&["--tenant", name, "--can-mint"]);
            let ids = BTreeSet::from([key.id.clone(), (*name).to_owned()]);
            let keys = vec![Holder { id: key.id, token: key.token }];
            Tenant { keys, ids, ..Tenant::default() }
        });
        let (tenants, ways) = (tenants.collect(), ways(&rig, &admin));
        let (chance, unknown) = (Chance(seed), HashMap::new());
        Self { rig, _desk: desk, held, admin, ways, tenants, chance, unknown, shown: 0 }
    }

    fn holder(&mut self, tenant: usize) -> Holder {
        self.chance.of(&self.tenants[tenant].keys).expect("a key").clone()
    }

    /// Something that a tenant may do.
    fn step(&mut self, kind: usize, tenant: usize) -> String {
        match kind {
            0 | 1 => self.call(tenant),
            2 | 3 => self.keep(tenant),
            4 => self.go_on(tenant),
            5 => self.forget(tenant),
            6 => self.mint(tenant),
            7 => self.end_child(tenant),
            8 => self.administer(tenant),
            _ => self.cut_off(tenant),
        }
    }

    /// A call at any door.
    fn call(&mut self, tenant: usize) -> String {
        let holder = self.holder(tenant);
        let endpoint = *self.chance.of(&CALLING).unwrap();
        let streamed = self.chance.below(2) == 0;
        let request = by(&holder.token, ask(endpoint, "a secret question", streamed));
        let answer = answer(endpoint, streamed, &mut self.rig.send(&request));
        assert_eq!(answer.text, "answer to a secret question");
        self.learn_call(tenant, answer.head.header("x-request-id").expect("a GUID"));
        format!("called {endpoint:?}")
    }

    /// A call has one GUID and many names.
    fn learn_call(&mut self, tenant: usize, id: &str) {
        let ids = &mut self.tenants[tenant].ids;
        let hex = id.replace('-', "");
        ids.insert(id.to_owned());
        for prefix in ["req_", "chatcmpl-", "cmpl-", "msg_", "resp_"] {
            ids.insert(format!("{prefix}{hex}"));
        }
    }

    /// A response that is kept, with its items.
    fn keep(&mut self, tenant: usize) -> String {
        let holder = self.holder(tenant);
        self.respond(tenant, &holder, &json!({"model": "auto", "input": "a secret plan"}))
    }

    fn respond(&mut self, tenant: usize, holder: &Holder, body: &Value) -> String {
        let request = Request::post("/v1/responses").json(body);
        let reply = self.rig.fetch(&by(&holder.token, request));
        let response = reply.json();
        assert_eq!(reply.status, 200, "{response}");
        self.learn_call(tenant, reply.header("x-request-id").unwrap());
        let id = text(&response["id"]);
        let items = Request::get(&format!("/v1/responses/{id}/input_items"));
        let items = self.rig.fetch(&by(&holder.token, items)).json();
        let known = &mut self.tenants[tenant];
        for item in response["output"].as_array().unwrap() {
            known.ids.insert(text(&item["id"]));
        }
        for item in items["data"].as_array().unwrap() {
            known.ids.insert(text(&item["id"]));
        }
        known.ids.insert(id.clone());
        known.kept.push(Kept { id: id.clone(), owner: holder.id.clone() });
        format!("kept {id}")
    }

    /// A kept response of a key that is alive.
    fn kept(&mut self, tenant: usize) -> Option<(Kept, Holder)> {
        let kept = self.chance.of(&self.tenants[tenant].kept)?.clone();
        let holder = self.tenants[tenant].keys.iter().find(|key| key.id == kept.owner)?.clone();
        Some((kept, holder))
    }

    /// Goes on from a response of one's own.
    fn go_on(&mut self, tenant: usize) -> String {
        let Some((kept, holder)) = self.kept(tenant) else { return self.keep(tenant) };
        let body = json!({"model": "auto", "input": "and then", "previous_response_id": kept.id});
        self.respond(tenant, &holder, &body)
    }

    /// Deletes a response. Its ids stay ids of nobody for the others.
    fn forget(&mut self, tenant: usize) -> String {
        let Some((kept, holder)) = self.kept(tenant) else { return self.keep(tenant) };
        let request = Request::new("DELETE", &format!("/v1/responses/{}", kept.id));
        assert_eq!(self.rig.fetch(&by(&holder.token, request)).status, 200);
        self.tenants[tenant].kept.retain(|other| other.id != kept.id);
        format!("deleted {}", kept.id)
    }

    /// Makes a key below any of one's own.
    fn mint(&mut self, tenant: usize) -> String {
        let holder = self.holder(tenant);
        let request = Request::post("/v1/keys").json(&json!({"name": "child", "can_mint": true}));
        let reply = self.rig.fetch(&by(&holder.token, request));
        if reply.status != 201 {
            // The line is as deep as it may be.
            assert_eq!(reply.status, 403);
            assert_ne!(self.tenants[tenant].keys[0].id, holder.id);
            return "may not mint".to_owned();
        }
        let issued = reply.json();
        let made = Holder { id: text(&issued["key"]["id"]), token: text(&issued["token"]) };
        self.tenants[tenant].ids.insert(made.id.clone());
        self.tenants[tenant].keys.push(made);
        "minted".to_owned()
    }

    /// Ends a key below the first, with whatever hangs on it.
    fn end_child(&mut self, tenant: usize) -> String {
        let Some(child) = self.chance.of(&self.tenants[tenant].keys[1..]).cloned() else {
            return self.mint(tenant);
        };
        let first = self.tenants[tenant].keys[0].clone();
        let request = Request::new("DELETE", &format!("/v1/keys/{}", child.id));
        assert_eq!(self.rig.fetch(&by(&first.token, request)).status, 200);
        let rig = &self.rig;
        let alive = |key: &Holder| rig.fetch(&by(&key.token, Request::get("/v1/usage"))).status;
        self.tenants[tenant].keys.retain(|key| alive(key) == 200);
        format!("ended {}", child.id)
    }

    /// An administrator looks at one tenant, and sees nothing of the others in it.
    fn administer(&mut self, tenant: usize) -> String {
        let name = TENANTS[tenant];
        let look = |path: &str| {
            let request = Request::get(&format!("/admin/v1/{path}tenant={name}"));
            self.rig.fetch(&by(&self.admin, request)).json()["data"].as_array().unwrap().clone()
        };
        let known = &self.tenants[tenant].ids;
        for row in look("calls?limit=1000&") {
            assert_eq!(row["tenant"], name, "{row}");
            // The words of a refusal may repeat an id that the caller has shown.
            assert!(known.contains(row["key"].as_str().unwrap()), "{row}");
        }
        for row in look("keys?limit=1000&") {
            assert_eq!(row["tenant"], name, "{row}");
            assert!(known.contains(row["id"].as_str().unwrap()), "{row}");
        }
        for row in look("usage?by=key&") {
            assert!(known.contains(row["name"].as_str().unwrap()), "{row}");
        }
        "was looked at".to_owned()
    }

    /// A stream is cut off, and somebody else asks its question again in the same session.
    fn cut_off(&mut self, tenant: usize) -> String {
        let holder = self.holder(tenant);
        let other = (tenant + 1 + self.chance.below(TENANTS.len() - 1)) % TENANTS.len();
        let stranger = self.holder(other);
        let asked = format!("{HELD}{}", self.chance.below(1_000_000));
        let ask = |streamed: bool, token: &str| {
            let said = json!([{"role": "user", "content": asked}]);
            let body = json!({"model": "auto", "max_tokens": 100, "stream": streamed,
                "messages": said});
            let request = Request::post("/v1/messages").json(&body);
            by(token, request.header("x-claude-code-session-id", "the same"))
        };
        let stream = self.rig.send(&ask(true, &holder.token));
        let first = self.held.recv_timeout(PATIENCE).expect("a sampling");
        drop(stream);
        let mut again = self.rig.send(&ask(false, &stranger.token));
        let second = self.held.recv_timeout(PATIENCE).expect("the stranger's own sampling");
        first.answer("a secret answer");
        second.answer("another answer");
        let reply = again.finish();
        assert_eq!(reply.json()["content"][0]["text"], "another answer");
        self.learn_call(other, reply.header("x-request-id").unwrap());
        "was cut off".to_owned()
    }

    /// Shows ids to the first key of every other tenant, on every way that there is.
    fn check_fresh(&mut self, tenant: usize, ids: &[String]) {
        for other in (0..TENANTS.len()).filter(|other| *other != tenant) {
            let stranger = self.tenants[other].keys[0].clone();
            for id in ids {
                self.show(&stranger, other, id, |_| true);
            }
        }
    }

    /// Shows every id to some key of another tenant, on every way that is not for administrators.
    fn check_all(&mut self) {
        for tenant in 0..TENANTS.len() {
            let other = (tenant + 1 + self.chance.below(TENANTS.len() - 1)) % TENANTS.len();
            let stranger = self.holder(other);
            for id in self.tenants[tenant].ids.clone() {
                self.show(&stranger, other, &id, |way| !way.administers());
            }
        }
    }

    /// Shows an id to a stranger; it must be as one that never was.
    fn show(&mut self, who: &Holder, tenant: usize, id: &str, goes: impl Fn(&Way) -> bool) {
        let own = self.tenants[tenant].kept.iter().find(|kept| kept.owner == who.id);
        let own = own.map(|kept| kept.id.clone());
        let unknown = never(id);
        for (at, way) in self.ways.iter().enumerate().filter(|(_, way)| goes(way)) {
            let Some(request) = way.request(id, own.as_deref()) else { continue };
            let seen = told(&self.rig.fetch(&by(&who.token, request)), id);
            let place = (who.id.clone(), at, format!("{unknown} {own:?}"));
            let expected = self.unknown.entry(place).or_insert_with(|| {
                let request = way.request(&unknown, own.as_deref()).expect("the same");
                told(&self.rig.fetch(&by(&who.token, request)), &unknown)
            });
            assert_eq!(seen, *expected, "{} at {way:?} shown {id}", TENANTS[tenant]);
            assert!((400..500).contains(&seen.0), "{way:?} shown {id}: {seen:?}");
            assert!(!seen.2.contains("secret"), "{way:?} shown {id}: {seen:?}");
            self.shown += 1;
        }
    }

    /// Lists and accounts of each tenant name nothing of the others.
    fn check_lists(&mut self) {
        for tenant in 0..TENANTS.len() {
            let holder = self.holder(tenant);
            for path in ["/v1/keys", "/v1/usage", "/v1/models", "/readyz"] {
                let reply = self.rig.fetch(&by(&holder.token, Request::get(path)));
                assert_eq!(reply.status, 200, "{path}");
                self.assert_names_nobody_else(tenant, path, &reply);
            }
        }
    }

    fn assert_names_nobody_else(&self, tenant: usize, path: &str, reply: &Reply) {
        let said = String::from_utf8_lossy(&reply.body);
        for (other, known) in self.tenants.iter().enumerate().filter(|(at, _)| *at != tenant) {
            for id in &known.ids {
                assert!(!said.contains(id.as_str()), "{path} names {id} of {}", TENANTS[other]);
            }
        }
    }

    /// All of it is still there for its owners, and an administrator finds each call under its
    /// tenant.
    fn check_owners(&self) {
        let mut calls = BTreeMap::<String, usize>::new();
        for (at, tenant) in self.tenants.iter().enumerate() {
            for kept in &tenant.kept {
                let Some(holder) = tenant.keys.iter().find(|key| key.id == kept.owner) else {
                    continue;
                };
                let look = Request::get(&format!("/v1/responses/{}", kept.id));
                assert_eq!(self.rig.fetch(&by(&holder.token, look)).status, 200, "{}", kept.id);
            }
            for id in tenant.ids.iter().filter(|id| id.len() == 36) {
                let look = Request::get(&format!("/admin/v1/calls/{id}"));
                let found = self.rig.fetch(&by(&self.admin, look)).json();
                assert_eq!(found["call"]["tenant"], TENANTS[at], "{found}");
                *calls.entry(TENANTS[at].to_owned()).or_default() += 1;
            }
        }
        assert!(!calls.is_empty());
    }
}
