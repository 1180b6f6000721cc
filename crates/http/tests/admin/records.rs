//! The record over the wire.

use gateway::amounts::Amounts;
use gateway::keys::Endpoint;
use gateway::store::{Closed, Opened, RefusalCount, Spending, Store};
use model::{CallId, Dialect};
use serde_json::{Value, json};
use uuid::Uuid;

use super::house::{House, NOW};

/// Records a call that came in `at` seconds after now.
async fn record(house: &House, at: i64, status: Option<u16>, tenant: &str) -> CallId {
    let id = CallId::from_uuid(Uuid::from_u128(
        0x0195_0000_0000_7000_8000_0000_0000_0000 + u128::try_from(at).unwrap(),
    ));
    let amounts = Amounts { requests: 1, tokens: 30, cost: 1_500_000 };
    let spending = Spending { scopes: [].into(), admitted: NOW, amounts };
    let opened = Opened {
        id,
        received: NOW + at * 1000,
        key: "aaaaaaaaaaaa".parse().ok(),
        tenant: tenant.parse().ok(),
        sandbox: false,
        address: "127.0.0.1".parse().unwrap(),
        agent: Some("curl/8".into()),
        dialect: Dialect::OpenAiChat,
        endpoint: Endpoint::Chat,
        model: "auto".into(),
        stream: false,
        messages: 1,
        bytes_in: 20,
        input_tokens: 10,
        reserved: spending.clone(),
        body: Some(r#"{"ask":"the weather"}"#.into()),
    };
    house.store.open(Box::new(opened)).await.unwrap();
    let Some(status) = status else { return id };
    let closed = Closed {
        id,
        first_byte: Some(NOW + at * 1000 + 5),
        ended: NOW + at * 1000 + 9,
        model_served: Some("gpt-4.1".into()),
        upstream: Some("vscode".into()),
        replay_of: None,
        status,
        stop_reason: Some("end_turn"),
        input_tokens: 10,
        output_tokens: 20,
        cached_tokens: 0,
        estimated: true,
        overrun: false,
        losses: "".into(),
        bytes_out: 5,
        failure: None,
        message: None,
        body: Some("It rains.".into()),
        spending: Some(spending),
    };
    house.store.close(Box::new(closed)).await.unwrap();
    id
}

#[tokio::test]
async fn ends_are_followed() {
    let house = House::new().await;
    let begun = house.socket("GET", "/admin/v1/ends", None).await;
    assert_eq!((&begun.json["data"], &begun.json["more"]), (&json!([]), &json!(false)));
    let first = record(&house, 2, Some(200), "a").await;
    record(&house, 3, None, "b").await;
    let second = record(&house, 1, Some(429), "a").await;
    let after = async |place: &str, query: &str| {
        let page = house.socket("GET", &format!("/admin/v1/ends?after={place}{query}"), None).await;
        let ids = page.json["data"].as_array().unwrap().iter().map(|call| call["id"].clone());
        (ids.collect::<Vec<Value>>(), page.text("/place").to_owned(), page.json["more"].clone())
    };
    let place = begun.text("/place");
    let (ids, behind, more) = after(place, "").await;
    assert_eq!(
        (ids, more),
        (vec![json!(first.to_string()), json!(second.to_string())], json!(false))
    );
    let (ids, between, more) = after(place, "&limit=1").await;
    assert_eq!((ids, more), (vec![json!(first.to_string())], json!(true)));
    assert_eq!(after(&between, "&limit=1").await.0, [json!(second.to_string())]);
    for (filter, wanted) in [
        ("&status=4xx", vec![json!(second.to_string())]),
        ("&tenant=b", vec![]),
        ("&key=aaaaaaaaaaaa&model=gpt-4.1&status=200", vec![json!(first.to_string())]),
    ] {
        let (ids, place, _) = after(place, filter).await;
        assert_eq!((ids, place), (wanted, behind.clone()), "{filter}");
    }
    let wrong = house.socket("GET", "/admin/v1/ends?after=later", None).await;
    assert_eq!(wrong.error().0, 400);
}

#[tokio::test]
async fn calls_are_found_and_shown() {
    let house = House::new().await;
    let first = record(&house, 1, Some(200), "a").await;
    let second = record(&house, 2, Some(429), "a").await;
    let third = record(&house, 3, None, "b").await;
    for (query, expected) in [
        ("", vec![third, second, first]),
        ("?tenant=a", vec![second, first]),
        ("?status=4xx", vec![second]),
        ("?status=200-428", vec![first]),
        ("?model=gpt-4.1&status=200", vec![first]),
        ("?from=2027-01-15T08:00:02Z&to=2027-01-15T08:00:03Z", vec![second]),
        ("?text=rains+weather", vec![second, first]),
        ("?key=aaaaaaaaaaab", vec![]),
        ("?limit=1", vec![third]),
    ] {
        let page = house.socket("GET", &format!("/admin/v1/calls{query}"), None).await.json;
        let ids: Vec<&str> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["id"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(ids, expected, "{query}");
        assert_eq!(page["next"].is_string(), query == "?limit=1");
    }
    let page = house.socket("GET", &format!("/admin/v1/calls?cursor={second}"), None).await;
    assert_eq!(page.text("/data/0/id"), first.to_string());
    let hex = first.hex();
    for name in
        [first.to_string(), hex.to_string(), format!("chatcmpl-{hex}"), format!("req_{hex}")]
    {
        let call = house.socket("GET", &format!("/admin/v1/calls/{name}"), None).await;
        assert_eq!(call.text("/call/id"), first.to_string());
        assert_eq!(
            (call.text("/request"), call.text("/reply")),
            (r#"{"ask":"the weather"}"#, "It rains.")
        );
        assert_eq!(
            call.json["call"]["spent"],
            json!({ "requests": 1, "tokens": 30, "cost": "0.0015" })
        );
        assert_eq!(call.text("/call/received"), "2027-01-15T08:00:01.000Z");
    }
    let running = house.socket("GET", &format!("/admin/v1/calls/{third}"), None).await;
    assert_eq!(
        (&running.json["call"]["status"], &running.json["reply"]),
        (&Value::Null, &Value::Null)
    );
    let none = house.socket("GET", "/admin/v1/calls/msg_x", None).await;
    assert_eq!(none.error(), (404, "not_found", None));
}

#[tokio::test]
async fn usage_is_summed() {
    let house = House::new().await;
    for (at, status, tenant) in [(1, 200, "a"), (2, 429, "a"), (90_000, 200, "b")] {
        record(&house, at, Some(status), tenant).await;
    }
    let usage = |query: &str| {
        let path = format!("/admin/v1/usage{query}");
        let house = &house;
        async move { house.socket("GET", &path, None).await.json["data"].clone() }
    };
    let row = |name: &str, calls: u64, failed: u64, cost: &str| {
        let (input, output) = (10 * calls, 20 * calls);
        json!({
            "name": name, "calls": calls, "failed": failed, "input_tokens": input,
            "output_tokens": output, "cost": cost,
        })
    };
    assert_eq!(
        usage("?by=tenant").await,
        json!([row("a", 2, 1, "0.003"), row("b", 1, 0, "0.0015")])
    );
    let days = json!([row("2027-01-15", 2, 1, "0.003"), row("2027-01-16", 1, 0, "0.0015")]);
    assert_eq!(usage("?by=day").await, days);
    assert_eq!(usage("?from=2027-01-16").await, json!([row("aaaaaaaaaaaa", 1, 0, "0.0015")]));
    assert_eq!(usage("?by=model&tenant=b").await, json!([row("auto", 1, 0, "0.0015")]));
}

#[tokio::test]
async fn refusals_are_found_and_shown() {
    let house = House::new().await;
    let counted = [
        (0, "unauthenticated", "10.1.0.0/24", None, 7),
        (0, "rate_limited", "10.2.0.0/24", Some("aaaaaaaaaaaa"), 1),
        (1, "unauthenticated", "2001:db8::/48", None, 2),
        (2, "forbidden", "0.0.0.0/0", Some("aaaaaaaaaaab"), 3),
    ];
    let counts = counted.iter().map(|(minute, reason, network, key, count)| RefusalCount {
        minute: NOW + minute * 60_000,
        reason,
        network: network.parse().unwrap(),
        key: key.map(|key| key.parse().unwrap()),
        count: *count,
    });
    house.store.count_refusals(counts.collect());
    let newest = [3, 2, 0, 1].map(|at| {
        let (minute, reason, network, key, count) = counted[at];
        json!({
            "minute": format!("2027-01-15T08:0{minute}:00.000Z"), "reason": reason,
            "network": network, "key": key, "count": count,
        })
    });
    for (query, expected) in [
        ("", &[0, 1, 2, 3][..]),
        ("?reason=unauthenticated", &[1, 2]),
        ("?key=aaaaaaaaaaaa", &[3]),
        ("?network=10.0.0.0/8", &[0, 2, 3]),
        ("?network=10.1.0.9", &[0, 2]),
        ("?network=2001:db8:0:1::1", &[1]),
        ("?from=2027-01-15T08:01:30Z", &[0, 1]),
        ("?to=2027-01-15T08:01:00Z&reason=unauthenticated", &[2]),
        ("?limit=1", &[0]),
    ] {
        let page = house.socket("GET", &format!("/admin/v1/refusals{query}"), None).await.json;
        let expected: Vec<_> = expected.iter().map(|at: &usize| newest[*at].clone()).collect();
        assert_eq!(page["data"], json!(expected), "{query}");
        assert_eq!(page["next"].is_string(), query == "?limit=1", "{query}");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/v1/refusals?limit=1{cursor}");
        let page = house.socket("GET", &path, None).await.json;
        seen.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, newest);
    for (query, param) in [
        ("network=10.0.0", "network"),
        ("key=x", "key"),
        ("tenant=a", "tenant"),
        ("cursor=1,a,10.0.0.0/24", "cursor"),
        ("cursor=1,a,10.0.0.0/24,x", "cursor"),
        ("cursor=1,a,10.0.0.0/24,,", "cursor"),
    ] {
        let reply = house.socket("GET", &format!("/admin/v1/refusals?{query}"), None).await;
        assert_eq!(reply.error(), (400, "invalid_value", Some(param)), "{query}");
    }
}

#[tokio::test]
async fn the_journal_is_checked() {
    let house = House::new().await;
    record(&house, 1, Some(200), "a").await;
    let verdict = house.socket("POST", "/admin/v1/audit/verify", None).await.json;
    assert_eq!((&verdict["intact"], &verdict["checked"]), (&json!(true), &json!(2)));
    let progress = house.socket("GET", "/admin/v1/audit/verify", None).await.json;
    assert_eq!(progress, json!({ "running": false, "done": 0, "total": 0 }));
}
