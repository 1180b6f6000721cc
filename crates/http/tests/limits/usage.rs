//! `GET /v1/usage`, and the routes that cost nothing.

use gateway::amounts::{Budget, Span, Unit};
use gateway::budgets::Calendar;
use gateway::keys::{Bounds, KeyKind, VirtualKey};
use gateway::policy::{ModelLimits, Policy, Price};
use serde_json::{Value, json};

use crate::house::{House, NOON, Plan, SLOW, key};

const DOLLAR: u64 = 1_000_000_000;

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
}

fn policy() -> Policy {
    let price = Price {
        input: DOLLAR / 10,
        cached_input: 0,
        output: DOLLAR / 10,
        per_request: 0,
        multiplier: 1_000_000,
    };
    Policy {
        calendar: Calendar::new("Europe/Berlin").unwrap(),
        expected_output: 100,
        prices: vec![("*".parse().unwrap(), price)],
        ..Policy::default()
    }
}

/// A child under a parent in a team, each with bounds of its own.
fn family() -> (House, VirtualKey, String) {
    let (mut parent, _) = key(
        KeyKind::Model,
        1,
        Bounds {
            requests_per_minute: Some(41),
            concurrency: Some(31),
            budgets: vec![Budget { unit: Unit::Tokens, span: Span::Day, limit: 54_321 }],
            ..Bounds::default()
        },
    );
    parent.uses = Some(777);
    let (mut child, token) = key(
        KeyKind::Model,
        2,
        Bounds {
            requests_per_minute: Some(10),
            tokens_per_minute: Some(9_000),
            concurrency: Some(2),
            budgets: vec![
                Budget { unit: Unit::Cost, span: Span::Month, limit: 5 * DOLLAR / 2 },
                Budget { unit: Unit::Requests, span: Span::Hour, limit: 20 },
            ],
            ..Bounds::default()
        },
    );
    child.parent = Some(parent.id);
    child.uses = Some(3);
    child.expires = Some(NOON + 86_400_000);
    let team = Bounds {
        budgets: vec![Budget { unit: Unit::Tokens, span: Span::Total, limit: 99_999 }],
        ..Bounds::default()
    };
    let plan =
        Plan { keys: vec![parent.clone(), child], team, policy: policy(), ..Plan::default() };
    (House::new(plan), parent, token)
}

#[tokio::test(start_paused = true)]
async fn a_key_sees_its_own_accounts_and_what_is_left_above() {
    let (house, parent, token) = family();
    let called = house.post("/v1/chat/completions", Some(&token), &chat("small")).await;
    assert_eq!(called.status, 200, "{}", called.json);
    house.tasks.close();
    house.tasks.wait().await;
    let reply = house.get("/v1/usage", Some(&token)).await;
    assert_eq!((reply.status, reply.header("x-mcp-bridge")), (200, Some("mcptb/test")));
    let id = key(KeyKind::Model, 2, Bounds::default()).0.id;
    assert_eq!(
        reply.json,
        json!({
            "object": "usage",
            "key": {
                "id": id.as_str(),
                "name": "key 2",
                "tenant": "team",
                "kind": "model",
                "expires": "2026-11-26T13:00:00+01:00",
                "uses": {"limit": 3, "left": 2},
            },
            "scopes": [
                {
                    "scope": "key",
                    "requests_per_minute":
                        {"limit": 10, "left": 9, "resets_at": "2026-11-25T13:01:00+01:00"},
                    "tokens_per_minute":
                        {"limit": 9000, "left": 8985, "resets_at": "2026-11-25T13:01:01+01:00"},
                    "concurrency": {"limit": 2, "left": 2},
                    "budgets": [
                        {
                            "unit": "cost",
                            "span": "month",
                            "limit": "2.50",
                            "spent": "0.0015",
                            "held": "0.00",
                            "left": "2.4985",
                            "resets_at": "2026-12-01T00:00:00+01:00",
                        },
                        {
                            "unit": "requests",
                            "span": "hour",
                            "limit": 20,
                            "spent": 1,
                            "held": 0,
                            "left": 19,
                            "resets_at": "2026-11-25T14:00:00+01:00",
                        },
                    ],
                },
                {
                    "scope": "parent",
                    "requests_per_minute": {"left": 40},
                    "tokens_per_minute": null,
                    "concurrency": {"left": 31},
                    "budgets": [
                        {"unit": "requests", "span": "total", "left": 776, "resets_at": null},
                        {
                            "unit": "tokens",
                            "span": "day",
                            "left": 54_306,
                            "resets_at": "2026-11-26T00:00:00+01:00",
                        },
                    ],
                },
                {
                    "scope": "tenant",
                    "requests_per_minute": null,
                    "tokens_per_minute": null,
                    "concurrency": null,
                    "budgets":
                        [{"unit": "tokens", "span": "total", "left": 99_984, "resets_at": null}],
                },
            ],
            "models": [],
            "time_zone": "Europe/Berlin",
            "message": null,
        })
    );
    let text = reply.json.to_string();
    assert!(!text.contains(parent.id.as_str()), "the parent's id: {text}");
    assert_eq!(house.get("/usage", Some(&token)).await.json, reply.json);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_is_held() {
    let (house, _, token) = family();
    let slow = chat(SLOW);
    let call = house.post("/v1/chat/completions", Some(&token), &slow);
    let ask = async {
        while house.host.asked() == 0 {
            tokio::task::yield_now().await;
        }
        house.get("/v1/usage", Some(&token)).await
    };
    let reply = tokio::select! {
        reply = call => panic!("{reply:?}"),
        reply = ask => reply,
    };
    let own = &reply.json["scopes"][0];
    assert_eq!(own["concurrency"], json!({"limit": 2, "left": 1}));
    assert_eq!((&own["budgets"][1]["held"], &own["budgets"][1]["spent"]), (&json!(1), &json!(0)));
    assert_eq!(reply.json["scopes"][1]["concurrency"], json!({"left": 30}));
    assert_ne!(own["budgets"][0]["held"], "0.00");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_models_is_told_too() {
    let limits = |requests, tokens, concurrency| ModelLimits {
        requests_per_minute: requests,
        tokens_per_minute: tokens,
        concurrency,
    };
    let models = [
        (SLOW, limits(Some(5), None, Some(2))),
        ("small*", limits(None, Some(1000), None)),
        ("other", limits(Some(1), None, None)),
    ];
    let models = models.map(|(name, limits)| (name.parse().unwrap(), limits)).into();
    let names = [SLOW, "small"].map(|name| name.parse().unwrap()).into();
    let (narrow, token) = key(KeyKind::Model, 1, Bounds { models: names, ..Bounds::default() });
    let policy = Policy { models, ..policy() };
    let house = House::new(Plan { keys: vec![narrow], policy, ..Plan::default() });
    let slow = chat(SLOW);
    let call = house.post("/v1/chat/completions", Some(&token), &slow);
    let ask = async {
        while house.host.asked() == 0 {
            tokio::task::yield_now().await;
        }
        house.get("/v1/usage", Some(&token)).await.json
    };
    let told = tokio::select! {
        reply = call => panic!("{reply:?}"),
        told = ask => told,
    };
    assert_eq!(
        told["models"],
        json!([
            {"model": SLOW, "requests_per_minute": {"left": 4}, "tokens_per_minute": null,
                "concurrency": {"left": 1}},
            {"model": "small*", "requests_per_minute": null, "tokens_per_minute": {"left": 1000},
                "concurrency": null},
        ])
    );
}

#[tokio::test]
async fn callers_without_a_key_are_told_that_none_counts() {
    let house = House::new(Plan::default());
    let reply = house.get("/v1/usage", None).await;
    assert_eq!((reply.status, &reply.json["key"]), (200, &Value::Null));
    assert_eq!(reply.json["scopes"], json!([]));
    assert!(reply.json["message"].as_str().unwrap().contains("no key"));

    let (only, token) = key(KeyKind::Model, 1, Bounds::default());
    let keys = vec![only];
    let house = House::new(Plan { keys: keys.clone(), counted: false, ..Plan::default() });
    let reply = house.get("/v1/usage", Some(&token)).await;
    assert_eq!(reply.json["key"]["tenant"], "team");
    assert_eq!((&reply.json["key"]["expires"], &reply.json["scopes"]), (&Value::Null, &json!([])));
    assert!(reply.json["message"].as_str().unwrap().contains("counts no limits"));

    let house = House::new(Plan { keys, ..Plan::default() });
    let openai = house.get("/v1/usage", None).await;
    assert_eq!((openai.status, &openai.json["error"]["code"]), (401, &json!("invalid_api_key")));
    let version = [("anthropic-version", "2023-06-01")];
    let anthropic = house.send("GET /v1/usage", None, &version, String::new()).await;
    assert_eq!(anthropic.json["error"]["type"], "authentication_error");
    assert_eq!(house.post("/v1/usage", Some(&token), &json!({})).await.status, 405);
}

#[tokio::test]
async fn a_sandbox_key_spends_no_budget() {
    let bounds = Bounds {
        requests_per_minute: Some(5),
        budgets: vec![Budget { unit: Unit::Requests, span: Span::Day, limit: 1 }],
        ..Bounds::default()
    };
    let (mut test, token) = key(KeyKind::Sandbox, 1, bounds);
    test.uses = Some(3);
    let house = House::new(Plan { keys: vec![test], policy: policy(), ..Plan::default() });
    for _ in 0..2 {
        let reply = house.post("/v1/chat/completions", Some(&token), &chat("small")).await;
        assert_eq!(reply.status, 200, "{}", reply.json);
    }
    assert_eq!((house.host.asked(), house.echo.asked()), (0, 2));
    let usage = house.get("/v1/usage", Some(&token)).await.json;
    assert_eq!(usage["key"]["kind"], "sandbox");
    assert_eq!(usage["scopes"][0]["requests_per_minute"]["left"], 3);
    assert_eq!(usage["key"]["uses"], json!({"limit": 3, "left": 1}));
    assert_eq!(usage["scopes"][0]["budgets"][0]["left"], 1);
    assert!(usage["message"].as_str().unwrap().contains("no budget"));
    for status in [200, 429] {
        let reply = house.post("/v1/chat/completions", Some(&token), &chat("small")).await;
        assert_eq!(reply.status, status, "{}", reply.json);
    }
}

/// With one request left of everything, all other routes leave it there.
#[tokio::test]
async fn only_calls_cost() {
    let bounds = Bounds {
        requests_per_minute: Some(1),
        budgets: vec![Budget { unit: Unit::Requests, span: Span::Total, limit: 1 }],
        ..Bounds::default()
    };
    let (mut only, token) = key(KeyKind::Model, 1, bounds);
    only.uses = Some(1);
    let house = House::new(Plan { keys: vec![only], ..Plan::default() });
    let token = Some(token.as_str());
    let free = ["/v1/usage", "/v1/models", "/v1/models/auto", "/healthz", "/readyz", "/api/hello"];
    for path in free {
        for _ in 0..3 {
            assert_eq!(house.get(path, token).await.status, 200, "{path}");
        }
    }
    let question = json!({"endpoint": "chat", "request": chat("small")});
    let count = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    let input = json!({"model": "m", "input": "Hello"});
    for (path, body) in [
        ("/v1/explain", &question),
        ("/v1/messages/count_tokens", &count),
        ("/v1/responses/input_tokens", &input),
    ] {
        for _ in 0..3 {
            let reply = house.post(path, token, body).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.json);
        }
    }
    assert_eq!((house.host.asked(), house.lines.counts()), (0, (0, 0)));
    let reply = house.post("/v1/chat/completions", token, &chat("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
    assert_eq!(house.post("/v1/chat/completions", token, &chat("small")).await.status, 429);
    assert_eq!(house.get("/v1/usage", token).await.status, 200);
}

#[tokio::test]
async fn a_key_is_shown_only_the_models_that_it_may_use() {
    let globs = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let bounds = Bounds { models: globs(&["editor/*", "auto"]), ..Bounds::default() };
    let (narrow, token) = key(KeyKind::Model, 1, bounds);
    let (wide, other) = key(KeyKind::Model, 2, Bounds::default());
    let (sandbox, test) = key(KeyKind::Sandbox, 3, Bounds::default());
    let keys = vec![narrow, wide, sandbox];
    let team = Bounds { models: globs(&["editor/*", "echo/*", "auto", "s*"]), ..Bounds::default() };
    let house = House::new(Plan { keys, team, ..Plan::default() });
    let listed = async |token: &str, headers: &[(&str, &str)]| {
        let list = house.send("GET /v1/models", Some(token), headers, String::new()).await;
        let models = list.json["data"].as_array().unwrap().iter();
        models.map(|model| model["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&token, &[]).await, ["auto", "editor/large"]);
    assert_eq!(listed(&other, &[]).await, ["auto", "editor/large", "small"]);
    assert_eq!(listed(&test, &[]).await, ["auto", "echo/large", "small"]);
    let anthropic = [("anthropic-version", "2023-06-01")];
    assert_eq!(listed(&token, &anthropic).await, ["auto", "editor/large"]);
    for (name, narrow, wide) in [
        ("auto", 200, 200),
        ("editor/large", 200, 200),
        ("editor/unseen", 404, 404),
        ("small", 404, 200),
        ("claude-mcp-auto", 404, 404),
        ("mcp-external-sampling", 404, 404),
    ] {
        let path = format!("/v1/models/{name}");
        assert_eq!(house.get(&path, Some(&token)).await.status, narrow, "{name}");
        assert_eq!(house.get(&path, Some(&other)).await.status, wide, "{name}");
    }
    // A lenient caller may see names that nobody has seen, but not those that are not its own.
    let lenient = [("x-mcptb-params", "lenient")];
    for (name, status) in [("editor/unseen", 200), ("small", 404)] {
        let way = format!("GET /v1/models/{name}");
        let reply = house.send(&way, Some(&token), &lenient, String::new()).await;
        assert_eq!(reply.status, status, "{name}");
    }
}
