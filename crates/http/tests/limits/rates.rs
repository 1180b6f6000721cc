//! The headers of limits, on answers and on refusals, in the names and units of each vendor.

use gateway::amounts::{Budget, Span, Unit};
use gateway::keys::{Bounds, KeyKind};
use gateway::policy::{ModelLimits, Policy};
use serde_json::{Value, json};

use crate::house::{House, Plan, Reply, key};

fn request(model: &str) -> Value {
    json!({
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello"}],
    })
}

fn number(reply: &Reply, name: &str) -> Option<u64> {
    reply.header(name).map(|value| value.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_last_request_leaves_none_and_the_next_is_told_so() {
    let bounds = || Bounds { requests_per_minute: Some(2), ..Bounds::default() };
    for (path, prefix, order) in [
        (
            "/v1/chat/completions",
            "x-ratelimit-",
            ["limit-requests", "remaining-requests", "reset-requests"],
        ),
        (
            "/v1/messages",
            "anthropic-ratelimit-",
            ["requests-limit", "requests-remaining", "requests-reset"],
        ),
    ] {
        let (only, token) = key(KeyKind::Model, 1, bounds());
        let house = House::new(Plan { keys: vec![only], ..Plan::default() });
        let [limit, remaining, reset] = order.map(|name| format!("{prefix}{name}"));
        for (status, left) in [(200, 1), (200, 0), (429, 0), (429, 0)] {
            let reply = house.post(path, Some(&token), &request("small")).await;
            assert_eq!(reply.status, status, "{}", reply.json);
            assert_eq!((number(&reply, &limit), number(&reply, &remaining)), (Some(2), Some(left)));
            let retry = number(&reply, "retry-after");
            assert_eq!(retry, (status == 429).then_some(60));
            assert_eq!(reply.header("x-should-retry"), None);
            let reset = reply.header(&reset).unwrap();
            if prefix == "x-ratelimit-" {
                assert_eq!(reset, "1m0s");
            } else {
                assert!(reset.ends_with('Z') && reset.contains('T'), "{reset}");
            }
            assert_eq!(
                reply.headers.keys().filter(|name| name.as_str().starts_with(prefix)).count(),
                3
            );
        }
        // Half of the window later there is half of the wait.
        tokio::time::advance(std::time::Duration::from_secs(30)).await;
        let reply = house.post(path, Some(&token), &request("small")).await;
        assert_eq!((reply.status, number(&reply, "retry-after")), (429, Some(30)));
        tokio::time::advance(std::time::Duration::from_secs(30)).await;
        let reply = house.post(path, Some(&token), &request("small")).await;
        assert_eq!((reply.status, number(&reply, &remaining)), (200, Some(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_told_as_they_are_left() {
    let bounds = Bounds { tokens_per_minute: Some(150), ..Bounds::default() };
    let (only, token) = key(KeyKind::Model, 1, bounds);
    let house = House::new(Plan { keys: vec![only], ..Plan::default() });
    let path = "/v1/chat/completions";
    let first = house.post(path, Some(&token), &request("small")).await;
    assert_eq!((first.status, number(&first, "x-ratelimit-limit-tokens")), (200, Some(150)));
    // While it runs all that it may need is taken.
    let left = number(&first, "x-ratelimit-remaining-tokens").unwrap();
    assert!(left < 50, "{left}");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), None);
    house.tasks.close();
    house.tasks.wait().await;
    // It needed 15, so that another one fits; one that can never fit is told not to wait.
    let mut large = request("small");
    large["max_tokens"] = json!(200);
    let refused = house.post(path, Some(&token), &large).await;
    assert_eq!((refused.status, number(&refused, "retry-after")), (429, None));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!(number(&refused, "x-ratelimit-remaining-tokens"), Some(135));
}

#[tokio::test(start_paused = true)]
async fn the_tightest_limit_is_told() {
    let bounds = Bounds { requests_per_minute: Some(100), ..Bounds::default() };
    let (only, token) = key(KeyKind::Model, 1, bounds);
    let team = Bounds { requests_per_minute: Some(3), ..Bounds::default() };
    let rule = ModelLimits { requests_per_minute: Some(1), ..ModelLimits::default() };
    let policy = Policy { models: vec![("large".parse().unwrap(), rule)], ..Policy::default() };
    let house = House::new(Plan { keys: vec![only], team, policy, ..Plan::default() });
    for (model, status, limit, left) in [
        ("small", 200, 3, 2),
        ("large", 200, 1, 0),
        ("large", 429, 1, 0),
        ("small", 200, 3, 0),
        ("small", 429, 3, 0),
    ] {
        let reply = house.post("/v1/chat/completions", Some(&token), &request(model)).await;
        let told = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"]
            .map(|name| number(&reply, name));
        assert_eq!((reply.status, told), (status, [Some(limit), Some(left)]), "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_is_no_reason_to_wait() {
    let budgets = vec![Budget { unit: Unit::Requests, span: Span::Month, limit: 0 }];
    let bounds = Bounds { budgets, requests_per_minute: Some(5), ..Bounds::default() };
    let (only, token) = key(KeyKind::Model, 1, bounds);
    let house = House::new(Plan { keys: vec![only], ..Plan::default() });
    let reply = house.post("/v1/chat/completions", Some(&token), &request("small")).await;
    assert_eq!((reply.status, &reply.json["error"]["code"]), (429, &json!("insufficient_quota")));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert_eq!(reply.header("retry-after"), None);
    // The refusal took nothing of the rate.
    assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), Some(5));
    let reply = house.post("/v1/messages", Some(&token), &request("small")).await;
    assert_eq!((reply.status, reply.header("x-should-retry")), (429, Some("false")));
    assert_eq!(number(&reply, "anthropic-ratelimit-requests-remaining"), Some(5));
    assert_eq!((house.host.asked(), house.lines.counts()), (0, (2, 2)));
}

#[tokio::test]
async fn without_limits_there_are_no_headers() {
    let house = House::new(Plan::default());
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let reply = house.post(path, None, &request("small")).await;
        assert_eq!(reply.status, 200, "{}", reply.json);
        assert!(!reply.headers.keys().any(|name| name.as_str().contains("ratelimit")));
    }
}
