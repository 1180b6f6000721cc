//! Limits over a restart: what was called in the last minute counts on, and uses of a key for ever.

use std::time::{Duration, Instant};

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::keys::KeyKind;
use serde_json::{Value, json};

use crate::support::endpoints::{CALLING, ask_with_key};
use crate::support::keyring::bounded;
use crate::support::{Books, Key, Reply, Request, Rig};

/// So long after the first call all of them are still in the window.
const WINDOW: Duration = Duration::from_secs(59);

fn per_minute(requests: u32) -> BoundsFields {
    BoundsFields { requests_per_minute: Some(Some(requests)), ..BoundsFields::default() }
}

fn tokens(limit: u64) -> BoundsFields {
    BoundsFields { tokens_per_minute: Some(Some(limit)), ..BoundsFields::default() }
}

/// A bridge that answers at once, and limits what falls under a pattern.
fn open(books: &Books) -> Rig {
    let file = books.path().join("mcptb.toml");
    std::fs::write(&file, "[models.\"scarce\"]\nrequests_per_minute = 1\n").unwrap();
    let rig = books.launch().arg("--config", file.to_str().unwrap()).ready();
    rig.host.respond(|sampling| sampling.answer(&"word ".repeat(60)));
    rig
}

/// Asks once at some endpoint; gives the status, and how long a refused caller is to wait.
fn status(rig: &Rig, key: &Key, model: &str, number: usize) -> (u16, Option<u64>) {
    let endpoint = CALLING[number % CALLING.len()];
    let mut body = crate::support::endpoints::body(endpoint, "?", false);
    body["model"] = model.into();
    let request = ask_with_key(endpoint, "?", false, &key.token).json(&body);
    let reply = rig.fetch(&request);
    let wait = reply.header("retry-after").map(|wait| wait.parse().unwrap());
    (reply.status, wait)
}

#[test]
fn calls_of_the_last_minute_count_on() {
    // On a busy machine a minute may go by meanwhile: then once more.
    for _ in 0..3 {
        if counts_on() {
            return;
        }
    }
    panic!("a minute went by each time");
}

fn counts_on() -> bool {
    let books = Books::new();
    books.tenant("team", per_minute(3));
    let team = || NewKey { tenant: Some("team".parse().unwrap()), ..NewKey::default() };
    let sandbox = NewKey {
        kind: Some(KeyKind::Sandbox),
        fields: KeyFields { bounds: per_minute(2), ..KeyFields::default() },
        ..NewKey::default()
    };
    let [three, few, one, two, sandbox, free] = books.keys([
        bounded(per_minute(3)),
        bounded(tokens(150)),
        team(),
        team(),
        sandbox,
        NewKey::default(),
    ]);
    let begun = Instant::now();
    let mut told = Vec::new();
    let rig = open(&books);
    let all = [(&three, 2), (&few, 1), (&one, 1), (&two, 1), (&sandbox, 1)];
    for (key, calls) in all {
        for number in 0..calls {
            assert_eq!(status(&rig, key, "auto", number).0, 200);
        }
    }
    assert_eq!(status(&rig, &free, "scarce", 0).0, 200);
    // Whoever was refused has taken nothing.
    assert_eq!(status(&rig, &free, "scarce", 1).0, 429);
    rig.end();

    let rig = open(&books);
    told.push((status(&rig, &three, "auto", 0).0, 200, "the third"));
    for number in 0..CALLING.len() {
        let (refused, wait) = status(&rig, &three, "auto", number);
        told.push((refused, 429, "the fourth"));
        assert!(refused != 429 || wait.is_some_and(|wait| (1..=61).contains(&wait)), "{wait:?}");
    }
    told.push((status(&rig, &few, "auto", 0).0, 429, "tokens"));
    told.push((status(&rig, &one, "auto", 0).0, 200, "the tenant's third"));
    told.push((status(&rig, &two, "auto", 0).0, 429, "the tenant's fourth"));
    told.push((status(&rig, &sandbox, "auto", 0).0, 200, "the second of a sandbox"));
    told.push((status(&rig, &sandbox, "auto", 0).0, 429, "the third of a sandbox"));
    told.push((status(&rig, &free, "scarce", 0).0, 429, "the model's second"));
    told.push((status(&rig, &free, "auto", 0).0, 200, "whoever has no rate"));
    if begun.elapsed() >= WINDOW {
        return false;
    }
    for (got, expected, what) in told {
        assert_eq!(got, expected, "{what}");
    }
    true
}

/// What is left of the uses of a key, as its holder is told.
fn uses(rig: &Rig, key: &Key) -> Value {
    let reply = rig.fetch(&Request::get("/v1/usage").header("x-api-key", &key.token));
    assert_eq!(reply.status, 200);
    reply.json()["key"]["uses"].clone()
}

#[test]
fn uses_of_a_sandbox_key_outlive_a_kill() {
    let books = Books::new();
    let twice = NewKey {
        kind: Some(KeyKind::Sandbox),
        fields: KeyFields { uses: Some(Some(2)), ..KeyFields::default() },
        ..NewKey::default()
    };
    // A key for each endpoint, so that all of them are refused in the end.
    let keys = books.keys(CALLING.map(|_| twice.clone()));
    let ask =
        |rig: &Rig, at: usize| rig.fetch(&ask_with_key(CALLING[at], "?", false, &keys[at].token));
    let mut rig = books.launch().ready();
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(ask(&rig, at).status, 200);
        assert_eq!(uses(&rig, key), json!({"limit": 2, "left": 1}));
    }
    rig.process.signal("KILL");
    assert_eq!(rig.process.wait().code(), None, "it was killed");
    drop(rig);

    let mut rig = books.launch().ready();
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(uses(&rig, key), json!({"limit": 2, "left": 1}), "{:?}", CALLING[at]);
        assert_eq!(ask(&rig, at).status, 200);
        assert_spent(&rig, key, &ask(&rig, at));
    }
    // Nor does being killed once more give one back.
    rig.process.signal("KILL");
    rig.process.wait();
    drop(rig);
    let rig = books.launch().ready();
    for (at, key) in keys.iter().enumerate() {
        assert_spent(&rig, key, &ask(&rig, at));
    }
    rig.host.assert_not_asked();
    rig.end();
    let record = books.record();
    for key in &keys {
        let answered =
            record.rows().filter(|row| (row.key, row.status) == (Some(key.id), Some(200)));
        assert_eq!(answered.count(), 2);
        assert_eq!(record.spent_by(key).requests, 2);
    }
}

/// That a call is refused for good by the key, and nothing is left.
fn assert_spent(rig: &Rig, key: &Key, reply: &Reply) {
    let body = reply.json();
    assert_eq!(reply.status, 429, "{body}");
    assert_eq!(
        (reply.header("retry-after"), reply.header("x-should-retry")),
        (None, Some("false"))
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("`key:{}`", key.id)), "{message}");
    assert_eq!(uses(rig, key), json!({"limit": 2, "left": 0}));
    let question = json!({"model": "auto", "messages": [{"role": "user", "content": "?"}]});
    let question = json!({"endpoint": "chat", "request": question});
    let explain = Request::post("/v1/explain").json(&question).header("x-api-key", &key.token);
    let told = rig.fetch(&explain).json();
    let refusal = (&told["admitted"], &told["refusal"]["status"], &told["refusal"]["scope"]);
    assert_eq!(refusal, (&json!(false), &json!(429), &json!(format!("key:{}", key.id))), "{told}");
}
