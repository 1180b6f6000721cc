//! Limits and budgets over real sockets: who is refused, in which words, and that no unit is
//! given twice.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::amounts::{Amounts, Unit};
use gateway::keys::{Endpoint, KeyKind};
use gateway::store::Actor;
use serde_json::{Value, json};

use crate::support::endpoints::{CALLING, answer, ask, ask_with_key, body, error, path};
use crate::support::keyring::{bounded, budget, of_kind};
use crate::support::{Books, Door, Head, Key, Launch, Reply, Request, Rig};

/// Callers at once for one last unit.
const CROWD: usize = 200;

fn per_minute(requests: u32) -> BoundsFields {
    BoundsFields { requests_per_minute: Some(Some(requests)), ..BoundsFields::default() }
}

/// A bridge whose host answers everything at once.
fn answering(books: &Books) -> Rig {
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    rig
}

/// What a refused caller is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Come again later.
    Later,
    /// Do not come again.
    Never,
}

/// Checks a refusal by a limit: status, type, code and advice, and that it names its scope.
fn assert_refused(endpoint: Endpoint, reply: &Reply, told: Told, budget: bool, scope: &str) {
    let body = reply.json();
    let what = format!("{endpoint:?}: {body}");
    assert_eq!(reply.status, 429, "{what}");
    let (kind, code) = error(endpoint, reply);
    // Responses has no other word for a limit that no wait cures.
    let quota = budget || (told == Told::Never && endpoint == Endpoint::Responses);
    let expected = match endpoint {
        Endpoint::Messages => ("rate_limit_error", None),
        _ if quota => ("insufficient_quota", Some("insufficient_quota")),
        _ => ("rate_limit_error", Some("rate_limit_exceeded")),
    };
    assert_eq!((kind.as_str(), code.as_deref()), expected, "{what}");
    match told {
        Told::Later => {
            let wait: u64 = reply.header("retry-after").expect("a wait").parse().unwrap();
            // Tokens are counted in buckets of a second.
            assert!((1..=61).contains(&wait), "{what}: {wait}");
            assert_eq!(reply.header("x-should-retry"), None, "{what}");
        }
        Told::Never => {
            assert_eq!(reply.header("retry-after"), None, "{what}");
            assert_eq!(reply.header("x-should-retry"), Some("false"), "{what}");
        }
    }
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("`{scope}`")), "{what} names no {scope}");
    assert!(reply.header("x-request-id").is_some(), "{what}");
}

fn scope(key: &Key) -> String {
    format!("key:{}", key.id)
}

/// Limit, what is left, and the time of the whole, in the endpoint's own headers.
fn rates(
    endpoint: Endpoint,
    unit: &str,
    header: impl Fn(&str) -> Option<String>,
) -> Option<[String; 3]> {
    let name = |what: &str| match endpoint {
        Endpoint::Messages => format!("anthropic-ratelimit-{unit}-{what}"),
        _ => format!("x-ratelimit-{what}-{unit}"),
    };
    let found = ["limit", "remaining", "reset"].map(|what| header(&name(what)));
    let [Some(limit), Some(remaining), Some(reset)] = found else { return None };
    Some([limit, remaining, reset])
}

fn of_head(head: &Head) -> impl Fn(&str) -> Option<String> + '_ {
    |name| head.header(name).map(str::to_owned)
}

fn of_reply(reply: &Reply) -> impl Fn(&str) -> Option<String> + '_ {
    |name| reply.header(name).map(str::to_owned)
}

#[test]
fn requests_in_a_minute() {
    let books = Books::new();
    let keys: [Key; 4] = books.keys(std::array::from_fn(|_| bounded(per_minute(2))));
    let rig = answering(&books);
    for (endpoint, key) in CALLING.into_iter().zip(&keys) {
        for (streamed, left) in [(false, "1"), (true, "0")] {
            let request = ask_with_key(endpoint, "?", streamed, &key.token);
            let answer = answer(endpoint, streamed, &mut rig.send(&request));
            let [limit, remaining, reset] =
                rates(endpoint, "requests", of_head(&answer.head)).expect("rate headers");
            assert_eq!((limit.as_str(), remaining.as_str()), ("2", left), "{endpoint:?}");
            match endpoint {
                Endpoint::Messages => assert!(reset.ends_with('Z') && reset.contains('T')),
                _ => assert!(reset.ends_with('s') && reset != "0s", "{reset}"),
            }
            assert_eq!(rates(endpoint, "tokens", of_head(&answer.head)), None);
        }
        for streamed in [false, true] {
            let reply = rig.fetch(&ask_with_key(endpoint, "?", streamed, &key.token));
            assert_refused(endpoint, &reply, Told::Later, false, &scope(key));
            let [_, remaining, _] = rates(endpoint, "requests", of_reply(&reply)).unwrap();
            assert_eq!(remaining, "0");
        }
    }
    rig.end();
    let record = books.record();
    for key in &keys {
        assert_eq!(record.spent_by(key).requests, 2);
    }
}

#[test]
fn tokens_in_a_minute() {
    let books = Books::new();
    let limit = BoundsFields { tokens_per_minute: Some(Some(150)), ..BoundsFields::default() };
    let keys: [Key; 4] = books.keys(std::array::from_fn(|_| bounded(limit.clone())));
    let rig = books.launch().ready();
    for (endpoint, key) in CALLING.into_iter().zip(&keys) {
        // One that waits holds its 100 tokens and what was read.
        let mut first = rig.send(&ask_with_key(endpoint, "?", false, &key.token));
        let sampling = rig.host.sampling();
        let reply = rig.fetch(&ask_with_key(endpoint, "?", false, &key.token));
        assert_refused(endpoint, &reply, Told::Later, false, &scope(key));
        let [most, left, _] = rates(endpoint, "tokens", of_reply(&reply)).expect("headers");
        assert_eq!(most, "150");
        assert!(left.parse::<u64>().unwrap() < 50, "{left}");
        // It needed few of them, and the others are there again.
        sampling.answer("few");
        assert_eq!(first.finish().status, 200);
        let mut second = rig.send(&ask_with_key(endpoint, "?", true, &key.token));
        rig.host.sampling().answer("few");
        answer(endpoint, true, &mut second);
        // No wait makes room for more than the whole limit.
        let mut more = body(endpoint, "?", false);
        let name = if endpoint == Endpoint::Responses { "max_output_tokens" } else { "max_tokens" };
        more[name] = json!(151);
        let request = Request::post(path(endpoint)).json(&more).header("x-api-key", &key.token);
        assert_refused(endpoint, &rig.fetch(&request), Told::Never, false, &scope(key));
    }
    rig.host.assert_not_asked();
}

#[test]
fn calls_at_once() {
    let books = Books::new();
    let one = BoundsFields { concurrency: Some(Some(1)), ..BoundsFields::default() };
    let [key] = books.keys([bounded(one)]);
    let rig = books.launch().ready();
    for endpoint in CALLING {
        let mut first = rig.send(&ask_with_key(endpoint, "?", true, &key.token));
        let sampling = rig.host.sampling();
        for other in CALLING {
            let reply = rig.fetch(&ask_with_key(other, "?", false, &key.token));
            assert_refused(other, &reply, Told::Later, false, &scope(&key));
        }
        sampling.answer("ok");
        answer(endpoint, true, &mut first);
    }
    // Neither a failure nor a hang-up keeps the place.
    let mut failing = rig.send(&ask_with_key(Endpoint::Chat, "?", false, &key.token));
    rig.host.sampling().fail("boom");
    assert_eq!(failing.finish().status, 502);
    let leaving = rig.send(&ask_with_key(Endpoint::Chat, "?", false, &key.token));
    let sampling = rig.host.sampling();
    drop(leaving);
    assert_eq!(rig.host.cancelled(), sampling.id);
    rig.process.stderr.wait("the end of its record", |line| line.contains("status=499"));
    let mut last = rig.send(&ask_with_key(Endpoint::Chat, "?", false, &key.token));
    rig.host.sampling().answer("ok");
    assert_eq!(last.finish().status, 200);
}

#[test]
fn budgets_and_uses() {
    let books = Books::new();
    let once = KeyFields { uses: Some(Some(1)), ..KeyFields::default() };
    for endpoint in CALLING {
        let once = NewKey { fields: once.clone(), ..NewKey::default() };
        let [requests, tokens, uses] = books.keys([
            bounded(budget(Unit::Requests, 1)),
            bounded(budget(Unit::Tokens, 130)),
            once,
        ]);
        let rig = books.launch().ready();
        for key in [&requests, &tokens, &uses] {
            let mut call = rig.send(&ask_with_key(endpoint, "?", false, &key.token));
            rig.host.sampling().answer(&"word ".repeat(60));
            assert_eq!(call.finish().status, 200);
            for streamed in [false, true] {
                let reply = rig.fetch(&ask_with_key(endpoint, "?", streamed, &key.token));
                assert_refused(endpoint, &reply, Told::Never, true, &scope(key));
            }
        }
        // Looking costs nothing, and tells what is left.
        let usage = Request::get("/v1/usage").header("x-api-key", &requests.token);
        let usage = rig.fetch(&usage).json();
        let account = &usage["scopes"][0]["budgets"][0];
        assert_eq!((&account["spent"], &account["held"]), (&json!(1), &json!(0)), "{usage}");
        rig.host.assert_not_asked();
        rig.end();
    }
    books.record();
}

#[test]
fn what_is_no_call_costs_nothing() {
    let books = Books::new();
    let key =
        books.key(BoundsFields { requests_per_minute: Some(Some(1)), ..budget(Unit::Requests, 1) });
    let rig = answering(&books);
    let with_key = |request: Request| request.header("x-api-key", &key.token);
    let question = json!({"endpoint": "chat", "request": body(Endpoint::Chat, "?", false)});
    for _ in 0..3 {
        for path in ["/v1/models", "/v1/models/auto", "/v1/usage", "/healthz", "/readyz"] {
            assert_eq!(rig.fetch(&with_key(Request::get(path))).status, 200, "{path}");
        }
        let count = Request::post(path(Endpoint::CountTokens));
        let count = count.json(&body(Endpoint::Messages, "?", false));
        assert_eq!(rig.fetch(&with_key(count)).status, 200);
        let explained = rig.fetch(&with_key(Request::post("/v1/explain").json(&question)));
        assert_eq!(explained.json()["admitted"], true);
        let dry = with_key(ask(Endpoint::Messages, "?", false)).header("x-mcptb-dry-run", "1");
        assert_eq!(rig.fetch(&dry).json()["admitted"], true);
        assert_eq!(rig.fetch(&with_key(Request::get("/no/such/route"))).status, 404);
    }
    assert_eq!(rig.fetch(&with_key(ask(Endpoint::Chat, "?", false))).status, 200);
    let explained = rig.fetch(&with_key(Request::post("/v1/explain").json(&question)));
    let explained = explained.json();
    assert_eq!(explained["admitted"], false, "{explained}");
    assert_eq!(explained["refusal"]["scope"], scope(&key));
}

#[test]
fn a_budget_of_a_tenant_is_that_of_all_its_keys() {
    let books = Books::new();
    books.tenant("team", budget(Unit::Requests, 2));
    let of_team = || NewKey { tenant: Some("team".parse().unwrap()), ..NewKey::default() };
    let [one, two, other] = books.keys([of_team(), of_team(), NewKey::default()]);
    let rig = answering(&books);
    for key in [&one, &two] {
        assert_eq!(rig.fetch(&ask_with_key(Endpoint::Chat, "?", false, &key.token)).status, 200);
    }
    for (endpoint, key) in CALLING.into_iter().zip([&one, &two, &one, &two]) {
        let reply = rig.fetch(&ask_with_key(endpoint, "?", false, &key.token));
        assert_refused(endpoint, &reply, Told::Never, true, "tenant:team");
    }
    assert_eq!(rig.fetch(&ask_with_key(Endpoint::Chat, "?", false, &other.token)).status, 200);
    rig.end();
    assert_eq!(books.record().spent["tenant:team"].requests, 2);
}

#[test]
fn limits_of_models_hold_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcptb.toml");
    let text =
        "[models.\"scarce-*\"]\nrequests_per_minute = 1\n[models.\"narrow\"]\nconcurrency = 1\n";
    std::fs::write(&file, text).unwrap();
    let rig = Launch::new().arg("--config", file.to_str().unwrap()).ready();
    let of_model = |endpoint, model: &str| {
        let mut body = body(endpoint, "?", false);
        body["model"] = json!(model);
        Request::post(path(endpoint)).json(&body)
    };
    let mut first = rig.send(&of_model(Endpoint::Chat, "scarce-1"));
    rig.host.sampling().answer("ok");
    assert_eq!(first.finish().status, 200);
    for endpoint in CALLING {
        let reply = rig.fetch(&of_model(endpoint, "scarce-2"));
        assert_refused(endpoint, &reply, Told::Later, false, "model:scarce-*");
    }
    let mut waiting = rig.send(&of_model(Endpoint::Chat, "narrow"));
    let sampling = rig.host.sampling();
    for endpoint in CALLING {
        let reply = rig.fetch(&of_model(endpoint, "narrow"));
        assert_refused(endpoint, &reply, Told::Later, false, "model:narrow");
    }
    sampling.answer("ok");
    assert_eq!(waiting.finish().status, 200);
    let mut plenty = rig.send(&of_model(Endpoint::Chat, "plenty"));
    rig.host.sampling().answer("ok");
    assert_eq!(plenty.finish().status, 200);
}

#[test]
fn what_a_key_may_not_is_forbidden_and_what_has_ended_is_unknown() {
    let books = Books::new();
    let narrow = BoundsFields {
        models: Some(vec!["gpt-*".parse().unwrap()]),
        endpoints: Some(vec![Endpoint::Chat, Endpoint::Messages]),
        ..BoundsFields::default()
    };
    let elsewhere = BoundsFields {
        networks: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        ..BoundsFields::default()
    };
    let [narrow, elsewhere, revoked, admin] = books.keys([
        bounded(narrow),
        bounded(elsewhere),
        NewKey::default(),
        of_kind(KeyKind::Admin),
    ]);
    books.administer(async |office| {
        office.key_revoke(revoked.id, Actor::Machine).await.unwrap();
    });
    let rig = books.launch().ready();
    for endpoint in CALLING {
        let ask = |key: &Key| rig.fetch(&ask_with_key(endpoint, "?", false, &key.token));
        let forbidden = |reply: &Reply, scope: Option<String>| {
            let body = reply.json();
            assert_eq!(
                (reply.status, error(endpoint, reply).0.as_str()),
                (403, "permission_error")
            );
            assert_eq!(reply.header("x-should-retry"), Some("false"), "{endpoint:?}");
            let message = body["error"]["message"].as_str().unwrap();
            assert!(scope.is_none_or(|scope| message.contains(&scope)), "{message}");
        };
        forbidden(&ask(&narrow), Some(scope(&narrow)));
        forbidden(&ask(&elsewhere), Some(scope(&elsewhere)));
        forbidden(&ask(&admin), None);
        let reply = ask(&revoked);
        assert_eq!(reply.status, 401);
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains("revoked"));
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    rig.host.assert_not_asked();
}

#[test]
fn all_replies_of_a_call_share_what_it_may_write() {
    let books = Books::new();
    let seven = BoundsFields { max_output: Some(Some(7)), ..BoundsFields::default() };
    let key = books.key(seven);
    let rig = books.launch().ready();
    let ask = |replies: u64| {
        let mut body = body(Endpoint::Chat, "?", false);
        body["n"] = json!(replies);
        Request::post(path(Endpoint::Chat)).json(&body).header("x-api-key", &key.token)
    };
    let mut three = rig.send(&ask(3));
    for sampling in [(); 3].map(|()| rig.host.sampling()) {
        assert_eq!(sampling.params["maxTokens"], json!(2));
        sampling.answer("few");
    }
    assert_eq!(three.finish().status, 200);
    let eight = rig.fetch(&ask(8));
    assert_eq!((eight.status, &eight.json()["error"]["param"]), (403, &json!("n")));
    assert!(Door::Chat.error(&eight).contains(&format!("`{}`", scope(&key))));
    rig.host.assert_not_asked();
}

#[test]
fn a_key_that_expires_ends_its_running_calls() {
    // On a busy machine the start may take longer than the key lives: then once more, with time.
    for lives in [5_000, 15_000, 40_000] {
        if expires_within(lives) {
            return;
        }
    }
    panic!("no bridge was up before its key expired");
}

fn expires_within(milliseconds: i64) -> bool {
    let books = Books::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let end = i64::try_from(since.as_millis()).unwrap() + milliseconds;
    let fields = KeyFields { expires: Some(Some(end)), ..KeyFields::default() };
    let [key, lasting] = books.keys([NewKey { fields, ..NewKey::default() }, NewKey::default()]);
    let rig = books.launch().arg("--concurrency", "16").ready();
    let probe = Request::get("/v1/usage").header("x-api-key", &key.token);
    if rig.fetch(&probe).status == 401 {
        return false;
    }
    let calls = CALLING.map(|endpoint| {
        [false, true].map(|streamed| {
            let call = rig.send(&ask_with_key(endpoint, "wait", streamed, &key.token));
            // A call that came too late is refused, and asks nobody.
            (endpoint, streamed, call)
        })
    });
    let mut lasts = rig.send(&ask_with_key(Endpoint::Chat, "last", false, &lasting.token));
    let mut streams = 0;
    for (endpoint, streamed, mut call) in calls.into_iter().flatten() {
        let head = call.head();
        if head.status == 401 {
            let reply = call.finish();
            let (kind, _) = error(endpoint, &reply);
            let expected = if endpoint == Endpoint::Messages {
                "authentication_error"
            } else {
                "invalid_request_error"
            };
            assert_eq!(kind, expected);
            assert!(reply.json()["error"]["message"].as_str().unwrap().contains("expired"));
            continue;
        }
        assert!(streamed && head.status == 200, "{endpoint:?} {streamed}: {}", head.status);
        streams += 1;
        let mut last = Vec::new();
        while let Some(event) = call.event() {
            last = event;
        }
        let last = last.join("\n");
        assert!(last.contains("expired") && !last.contains("[DONE]"), "{endpoint:?}: {last}");
        let (_, data) = last.split_once("data: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let kind = match endpoint {
            Endpoint::Responses => &data["response"]["error"]["code"],
            _ => &data["error"]["type"],
        };
        assert!(kind.is_string(), "{endpoint:?}: {data}");
    }
    if streams < 4 {
        return false;
    }
    let reply = rig.fetch(&ask_with_key(Endpoint::Messages, "?", false, &key.token));
    assert_eq!(reply.status, 401);
    // Others do not notice.
    while let Some(sampling) = rig.host.sampling_so_far() {
        sampling.answer("ok");
    }
    assert_eq!(lasts.finish().status, 200);
    rig.end();
    let record = books.record();
    let rows: Vec<_> = record.rows().filter(|row| row.key == Some(key.id)).collect();
    assert_eq!(rows.len(), 9, "those that ran, and the one that came afterwards");
    assert_eq!(books.refusal_counts(), [].into());
    for row in rows {
        assert_eq!((row.status, row.failure.as_deref()), (Some(401), Some("unauthenticated")));
        assert!(row.spent.is_some(), "{row:?}");
    }
    true
}

/// As many at once as there are, all for one last unit; gives what each was told.
fn crowd(rig: &Rig, keys: &[&Key]) -> Vec<(Endpoint, Reply)> {
    let start = Arc::new(Barrier::new(CROWD));
    let callers: Vec<_> = (0..CROWD)
        .map(|number| {
            let (target, start) = (rig.target.clone(), Arc::clone(&start));
            let endpoint = CALLING[number % CALLING.len()];
            let token = &keys[number % keys.len()].token;
            let request = ask_with_key(endpoint, "the last one", false, token);
            thread::spawn(move || {
                start.wait();
                (endpoint, target.fetch(&request))
            })
        })
        .collect();
    callers.into_iter().map(|caller| caller.join().unwrap()).collect()
}

/// Checks that exactly one of a crowd was admitted and all others were refused by `scope`.
fn assert_one(told: Vec<(Endpoint, Reply)>, advice: Told, budget: bool, scope: &str) {
    let (admitted, refused): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|(_, reply)| reply.status == 200);
    assert_eq!(admitted.len(), 1, "`{scope}` has one left");
    for (endpoint, reply) in refused {
        assert_refused(endpoint, &reply, advice, budget, scope);
    }
}

#[test]
fn the_last_unit_is_given_once() {
    let books = Books::new();
    books.tenant("team", budget(Unit::Requests, 1));
    let of_team = || NewKey { tenant: Some("team".parse().unwrap()), ..NewKey::default() };
    let [rate, total, tokens, one, two] = books.keys([
        bounded(per_minute(1)),
        bounded(budget(Unit::Requests, 1)),
        // What was read and 100 more: no second call fits beside the first or behind it.
        bounded(budget(Unit::Tokens, 112)),
        of_team(),
        of_team(),
    ]);
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer(&"word ".repeat(60)));
    assert_one(crowd(&rig, &[&rate]), Told::Later, false, &scope(&rate));
    assert_one(crowd(&rig, &[&total]), Told::Never, true, &scope(&total));
    assert_one(crowd(&rig, &[&tokens]), Told::Never, true, &scope(&tokens));
    assert_one(crowd(&rig, &[&one, &two]), Told::Never, true, "tenant:team");
    rig.end();
    let record = books.record();
    for key in [&rate, &total, &tokens] {
        assert_eq!(record.spent_by(key).requests, 1);
    }
    assert_eq!(record.spent["tenant:team"].requests, 1);
    let admitted = record.rows().filter(|row| row.status == Some(200)).count();
    assert_eq!(admitted, 4);
}

#[test]
fn a_sandbox_key_never_reaches_the_host_and_costs_nothing() {
    let books = Books::new();
    let fields = KeyFields { bounds: budget(Unit::Requests, 1), ..KeyFields::default() };
    let sandbox = NewKey { kind: Some(KeyKind::Sandbox), fields, ..NewKey::default() };
    let narrow = NewKey {
        kind: Some(KeyKind::Sandbox),
        fields: KeyFields { bounds: per_minute(1), ..KeyFields::default() },
        ..NewKey::default()
    };
    let [key, limited] = books.keys([sandbox, narrow]);
    assert!(key.token.starts_with("mcptb_test_"));
    // No host is ready, and none is needed.
    let rig = books.launch().cold().attach();
    for endpoint in CALLING {
        for streamed in [false, true] {
            let request = ask_with_key(endpoint, "hello", streamed, &key.token);
            let answer = answer(endpoint, streamed, &mut rig.send(&request));
            assert!(answer.text.contains("hello"), "{}", answer.text);
        }
    }
    // The same limits hold.
    let request = |endpoint| ask_with_key(endpoint, "hello", false, &limited.token);
    assert_eq!(rig.fetch(&request(Endpoint::Chat)).status, 200);
    for endpoint in CALLING {
        let reply = rig.fetch(&request(endpoint));
        assert_refused(endpoint, &reply, Told::Later, false, &scope(&limited));
    }
    rig.host.assert_not_asked();
    rig.end();
    let record = books.record();
    let answered: Vec<_> = record.rows().filter(|row| row.status == Some(200)).collect();
    assert_eq!(answered.len(), 9);
    for row in answered {
        assert!(row.sandbox && row.spent == Some(Amounts::default()), "{row:?}");
    }
    assert_eq!(record.spent.len(), 0);
}
