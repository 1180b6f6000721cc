//! `POST /v1/explain` and `x-mcptb-dry-run`: they say what the call is told, and cost nothing.

use std::sync::atomic::Ordering;

use gateway::amounts::{Budget, Span, Unit};
use gateway::keys::{Bounds, Endpoint, KeyKind};
use gateway::policy::{ModelLimits, Policy, Price};
use http_doors::access::AuthMode;
use model::ParamsMode;
use serde_json::{Value, json};

use crate::house::{House, Plan, Reply, SLOW, key};

const DRY: (&str, &str) = ("x-mcptb-dry-run", "1");
/// Endpoint and path of each way to a model.
const WAYS: [(&str, &str); 4] = [
    ("chat", "POST /v1/chat/completions"),
    ("completions", "POST /v1/completions"),
    ("responses", "POST /v1/responses"),
    ("messages", "POST /v1/messages"),
];

/// A request of an endpoint, for this model.
fn request(endpoint: &str, model: &str) -> Value {
    let messages = json!([{"role": "user", "content": "Hello"}]);
    match endpoint {
        "chat" => json!({"model": model, "max_completion_tokens": 50, "messages": messages}),
        "completions" => json!({"model": model, "max_tokens": 50, "prompt": "Hello"}),
        "responses" => json!({"model": model, "max_output_tokens": 50, "input": "Hello"}),
        _ => json!({"model": model, "max_tokens": 50, "messages": messages}),
    }
}

/// Asks in both ways, which must say the same.
async fn ask(house: &House, endpoint: &str, token: Option<&str>, body: &Value) -> Reply {
    let (_, way) = WAYS.into_iter().find(|(name, _)| *name == endpoint).unwrap();
    let question = json!({"endpoint": endpoint, "request": body});
    let explained = house.post("/v1/explain", token, &question).await;
    let dry = house.send(way, token, &[DRY], body.to_string()).await;
    assert_eq!((explained.status, plain(&explained)), (dry.status, plain(&dry)));
    explained
}

/// What a reply says, without the id that each refusal of Messages has of its own.
fn plain(reply: &Reply) -> Value {
    let mut json = reply.json.clone();
    if let Some(object) = json.as_object_mut() {
        object.remove("request_id");
    }
    json
}

fn message(reply: &Reply) -> &str {
    reply.json["error"]["message"].as_str().unwrap()
}

fn dear() -> Policy {
    // For a million tokens, in pico-dollars for one.
    let dollar = 1_000_000_000;
    let price = Price {
        input: 0,
        cached_input: 0,
        output: dollar,
        per_request: 250 * dollar,
        multiplier: 1_000_000,
    };
    let slow = ModelLimits { requests_per_minute: Some(0), ..ModelLimits::default() };
    Policy {
        expected_output: 40,
        prices: vec![("*".parse().unwrap(), price)],
        models: vec![(SLOW.parse().unwrap(), slow)],
        ..Policy::default()
    }
}

#[tokio::test]
async fn an_admitted_call_is_told_in_full() {
    let (only, token) =
        key(KeyKind::Model, 1, Bounds { max_output: Some(30), ..Bounds::default() });
    let id = only.id;
    let house = House::new(Plan { keys: vec![only], policy: dear(), ..Plan::default() });
    let mut body = request("chat", "auto");
    body["n"] = json!(2);
    body["top_p"] = json!(0.5);
    body["stream"] = json!(true);
    let reply = ask(&house, "chat", Some(&token), &body).await;
    let input = reply.json["input_tokens"].as_u64().unwrap();
    assert!((5..20).contains(&input), "{input}");
    assert_eq!(
        reply.json,
        json!({
            "object": "explanation",
            "endpoint": "chat",
            "admitted": true,
            "refusal": null,
            "scopes": [format!("key:{id}"), "tenant:team"],
            "reserved": {"requests": 1, "tokens": 2 * (input + 15), "cost": "0.28"},
            "input_tokens": input,
            "max_output": 15,
            "choices": 2,
            "model": "auto",
            "stream": true,
            "upstream": {"ready": true, "name": "editor", "reason": null},
            "losses": ["max-tokens-clamped", "top-p"],
        })
    );
    for (endpoint, _) in WAYS {
        let reply = ask(&house, endpoint, Some(&token), &request(endpoint, "")).await;
        let told = ["endpoint", "admitted", "model", "stream"].map(|field| &reply.json[field]);
        assert_eq!(told, [&json!(endpoint), &json!(true), &json!("auto"), &json!(false)]);
    }
    assert_eq!((house.host.asked(), house.lines.counts()), (0, (0, 0)));
}

#[tokio::test]
async fn no_model_has_a_name_that_would_fill_a_stream() {
    let house = House::new(Plan::default());
    for (endpoint, way) in WAYS {
        for (length, status) in [(256, 200), (257, 400)] {
            let body = request(endpoint, &"m".repeat(length));
            assert_eq!(ask(&house, endpoint, None, &body).await.status, status, "{endpoint}");
        }
        let mut body = request(endpoint, &"m".repeat(10_000));
        body["stream"] = json!(true);
        let reply = house.send(way, None, &[], body.to_string()).await;
        assert_eq!(reply.status, 400, "{endpoint}");
        assert!(message(&reply).len() < 300, "{endpoint}");
    }
    assert_eq!(house.host.asked(), 0);
}

#[tokio::test]
async fn nobody_is_asked_for_no_tokens() {
    let house = House::new(Plan::default());
    let mut body = request("messages", "auto");
    body["max_tokens"] = json!(0);
    let reply = ask(&house, "messages", None, &body).await;
    assert_eq!(reply.json["losses"], json!(["usage-estimated", "no-tokens"]));
    assert_eq!(reply.json["max_output"], 0);
}

/// Whatever refuses a call refuses the question about it, in the same words and with the same
/// status, at every door.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_that_of_the_call() {
    let none = |unit| Budget { unit, span: Span::Day, limit: 0 };
    let bounds = |seed: u8| match seed {
        1 => Bounds { requests_per_minute: Some(0), ..Bounds::default() },
        2 => Bounds { tokens_per_minute: Some(10), ..Bounds::default() },
        3 => Bounds { concurrency: Some(0), ..Bounds::default() },
        4 => Bounds { budgets: vec![none(Unit::Cost)], ..Bounds::default() },
        5 => Bounds { budgets: vec![none(Unit::Requests)], ..Bounds::default() },
        6 => Bounds { models: vec!["other-*".parse().unwrap()], ..Bounds::default() },
        7 => Bounds { endpoints: vec![Endpoint::CountTokens], ..Bounds::default() },
        _ => Bounds::default(),
    };
    let made: Vec<_> = (1..=8).map(|seed| key(KeyKind::Model, seed, bounds(seed))).collect();
    let keys = made.iter().map(|(key, _)| key.clone()).collect();
    let house = House::new(Plan { keys, policy: dear(), ..Plan::default() });
    for ((key, token), kind) in made.iter().zip([
        "rate_limited",
        "rate_limited",
        "rate_limited",
        "over_budget",
        "over_budget",
        "forbidden",
        "forbidden",
        "rate_limited",
    ]) {
        // The last one is refused by the limit of a model.
        let (model, scope) = if key.id == made[7].0.id {
            (SLOW, format!("model:{SLOW}"))
        } else {
            ("small", format!("key:{}", key.id))
        };
        for (endpoint, way) in WAYS {
            let body = request(endpoint, model);
            let asked = ask(&house, endpoint, Some(token), &body).await;
            let called = house.send(way, Some(token), &[], body.to_string()).await;
            assert_eq!((asked.status, &asked.json["admitted"]), (200, &json!(false)));
            let refusal = &asked.json["refusal"];
            assert_eq!(refusal["status"], called.status, "{kind} at {endpoint}");
            assert_eq!(refusal["message"], message(&called), "{kind} at {endpoint}");
            assert_eq!((&refusal["kind"], &refusal["scope"]), (&json!(kind), &json!(scope)));
            let retry = called.header("retry-after").map(|after| after.parse::<u64>().unwrap());
            assert_eq!(refusal["retry_after"], json!(retry), "{kind} at {endpoint}");
            assert_eq!(asked.json["upstream"]["name"], "editor");
        }
    }
    assert_eq!(house.host.asked(), 0);
}

#[tokio::test]
async fn a_host_that_is_not_ready_refuses() {
    let (only, token) = key(KeyKind::Model, 1, Bounds::default());
    let (test, sandbox) = key(KeyKind::Sandbox, 2, Bounds::default());
    let house = House::new(Plan { keys: vec![only, test], policy: dear(), ..Plan::default() });
    house.host.ready.store(false, Ordering::SeqCst);
    for (endpoint, way) in WAYS {
        let body = request(endpoint, "auto");
        let asked = ask(&house, endpoint, Some(&token), &body).await;
        let called = house.send(way, Some(&token), &[], body.to_string()).await;
        assert_eq!(asked.json["refusal"]["status"], called.status);
        assert_eq!(asked.json["refusal"]["retry_after"], 5);
        let upstream = json!({"ready": false, "name": null, "reason": message(&called)});
        assert_eq!(asked.json["upstream"], upstream);
    }
    // Sandbox keys have another upstream, and cost nothing.
    let asked = ask(&house, "chat", Some(&sandbox), &request("chat", "auto")).await;
    assert_eq!(
        (&asked.json["admitted"], &asked.json["upstream"]["name"]),
        (&json!(true), &json!("echo"))
    );
    assert_eq!(asked.json["reserved"]["cost"], "0.00");
}

/// What cannot be read fails as at the real door, in its dialect and in each mode.
#[tokio::test]
async fn what_is_malformed_fails_as_the_call_does() {
    let house = House::new(Plan { params: ParamsMode::Strict, ..Plan::default() });
    for (endpoint, way) in WAYS {
        let mut strict = request(endpoint, "auto");
        strict["top_p"] = json!(0.5);
        let mut wrong = request(endpoint, "auto");
        wrong["model"] = json!(["auto"]);
        for body in [strict.clone(), wrong, json!({}), json!([1]), json!("text")] {
            let asked = ask(&house, endpoint, None, &body).await;
            let called = house.send(way, None, &[], body.to_string()).await;
            assert_eq!(asked.status, 400, "{endpoint}: {}", asked.json);
            assert_eq!((asked.status, plain(&asked)), (called.status, plain(&called)));
        }
        let lenient = [DRY, ("x-mcptb-params", "lenient")];
        let asked = house.send(way, None, &lenient, strict.to_string()).await;
        assert_eq!((asked.status, &asked.json["losses"][0]), (200, &json!("top-p")), "{endpoint}");
    }
    let mut logprobs = request("chat", "auto");
    logprobs["logprobs"] = json!(true);
    assert_eq!(ask(&house, "chat", None, &logprobs).await.status, 400);
    assert_eq!(house.host.asked(), 0);
}

#[tokio::test]
async fn a_question_that_is_none_is_refused() {
    let house = House::new(Plan::default());
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"endpoint":"chat"}"#,
        r#"{"endpoint":"embeddings","request":{}}"#,
        r#"{"endpoint":"count_tokens","request":{}}"#,
        r#"{"endpoint":1,"request":{}}"#,
        r#"{"endpoint":"chat","request":{},"more":1}"#,
        r#"{"endpoint":"chat","endpoint":"chat","request":{}}"#,
    ] {
        let reply = house.send("POST /explain", None, &[], body.to_owned()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.json);
        assert!(reply.json["error"]["message"].is_string());
    }
    // Brackets without end must not end the process.
    let deep = format!(r#"{{"endpoint":"chat","request":{}"#, "[".repeat(60_000));
    assert_eq!(house.send("POST /explain", None, &[], deep).await.status, 400);
    let version = [("anthropic-version", "2023-06-01")];
    let reply = house.send("POST /explain", None, &version, "{}".to_owned()).await;
    assert_eq!(reply.json["error"]["type"], "invalid_request_error");
    assert_eq!(reply.json["type"], "error");
    assert_eq!(house.get("/v1/explain", None).await.status, 405);
}

/// The header decides whether a call is made: a word that is not understood makes none.
#[tokio::test]
async fn only_a_clear_header_is_followed() {
    let house = House::new(Plan::default());
    let body = request("chat", "auto").to_string();
    for (headers, status, asked) in [
        (&[("x-mcptb-dry-run", "yes")][..], 400, 0),
        (&[("x-mcptb-dry-run", "")], 400, 0),
        (&[DRY, ("x-mcptb-dry-run", "0")], 400, 0),
        (&[DRY, DRY], 200, 0),
        (&[("x-mcptb-dry-run", " 0 ")], 200, 1),
    ] {
        let reply = house.send("POST /v1/chat/completions", None, headers, body.clone()).await;
        assert_eq!((reply.status, house.host.asked()), (status, asked), "{headers:?}");
        if status == 400 {
            assert_eq!(reply.json["error"]["param"], "x-mcptb-dry-run");
        }
    }
}

#[tokio::test]
async fn the_question_needs_the_key_of_the_call() {
    let (small, token) =
        key(KeyKind::Model, 1, Bounds { max_body: Some(200), ..Bounds::default() });
    let plan = Plan { keys: vec![small], auth: AuthMode::Required, ..Plan::default() };
    let house = House::new(plan);
    for (endpoint, _) in WAYS {
        let asked = ask_anyhow(&house, endpoint, None).await;
        assert_eq!(asked, [401, 401], "{endpoint}");
        assert_eq!(ask_anyhow(&house, endpoint, Some(&token)).await, [200, 200], "{endpoint}");
    }
    // The bound of the key is for the request, not for what stands around it.
    let mut body = request("chat", "auto");
    body["messages"][0]["content"] = json!("x".repeat(150));
    let question = json!({"endpoint": "chat", "request": body});
    let reply = house.post("/v1/explain", Some(&token), &question).await;
    assert_eq!(reply.json["refusal"]["status"], 413, "{}", reply.json);
    body["messages"][0]["content"] = json!("x".repeat(2_000));
    let question = json!({"endpoint": "chat", "request": body});
    assert_eq!(house.post("/v1/explain", Some(&token), &question).await.status, 413);
    assert_eq!(house.lines.counts(), (0, 0));
}

async fn ask_anyhow(house: &House, endpoint: &str, token: Option<&str>) -> [u16; 2] {
    let (_, way) = WAYS.into_iter().find(|(name, _)| *name == endpoint).unwrap();
    let body = request(endpoint, "auto");
    let question = json!({"endpoint": endpoint, "request": body});
    let explained = house.post("/v1/explain", token, &question).await;
    let dry = house.send(way, token, &[DRY], body.to_string()).await;
    [explained.status, dry.status]
}
