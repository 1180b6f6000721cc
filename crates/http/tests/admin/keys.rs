//! Keys and tenants over the wire.

use gateway::admin::{KeyFields, NewKey};
use serde_json::{Value, json};

use super::house::House;

#[tokio::test]
async fn the_life_of_a_key() {
    let house = House::new().await;
    let admin = house.admin_key().await;
    let body = json!({
        "tenant": "team", "name": "ci", "notes": "a\nb", "expires_in": "7d", "can_mint": true,
        "bounds": {
            "models": ["gpt-*"], "endpoints": ["chat"], "networks": ["127.0.0.1", "10.9.8.7/8"],
            "max_output": 4096, "concurrency": 4,
            "budgets": [
                { "unit": "cost", "span": "month", "limit": "25.5" },
                { "unit": "tokens", "span": "day", "limit": 1000 },
            ],
        },
    });
    let made = house.call(&admin, "POST", "/admin/v1/keys", Some(body)).await;
    assert_eq!(made.status.as_u16(), 201);
    let (key, token) = (&made.json["key"], made.text("/token").to_owned());
    assert!(token.starts_with("mcptb_"));
    let expected = [
        ("kind", json!("model")),
        ("tenant", json!("team")),
        ("state", json!("active")),
        ("created", json!("2027-01-15T08:00:00.000Z")),
        ("expires", json!("2027-01-22T08:00:00.000Z")),
        ("last_used", Value::Null),
        ("uses_left", Value::Null),
        ("priority", json!(100)),
        ("audit", json!("full")),
    ];
    for (name, value) in expected {
        assert_eq!(key[name], value, "{name}");
    }
    assert_eq!(key["bounds"]["networks"], json!(["127.0.0.1/32", "10.0.0.0/8"]));
    assert_eq!(key["bounds"]["budgets"][0]["limit"], "25.50");

    let path = format!("/admin/v1/keys/{}", made.text("/key/id"));
    let change = json!({ "expires": null, "bounds": { "models": null, "max_output": 8 } });
    let edited = house.call(&admin, "PATCH", &path, Some(change)).await.json;
    assert_eq!((&edited["expires"], &edited["name"]), (&Value::Null, &json!("ci")));
    assert_eq!(
        (&edited["bounds"]["models"], &edited["bounds"]["max_output"]),
        (&json!([]), &json!(8))
    );
    assert_eq!(edited["bounds"]["concurrency"], 4);

    let rotated = house.call(&admin, "POST", &format!("{path}/rotate"), None).await;
    assert_eq!(rotated.json["key"]["earlier_secret_until"], "2027-01-15T09:00:00.000Z");
    let child = house.call(&token, "POST", "/v1/keys", Some(json!({ "name": "job" }))).await;
    assert_eq!((child.status.as_u16(), child.text("/key/parent")), (201, made.text("/key/id")));
    assert_eq!(child.json["key"]["bounds"], edited["bounds"]);
    let rotated = house
        .call(&admin, "POST", &format!("{path}/rotate"), Some(json!({ "overlap": "0" })))
        .await;
    assert_eq!(rotated.json["key"]["earlier_secret_until"], Value::Null);
    assert_eq!(house.call(&token, "GET", "/v1/keys", None).await.error().0, 401);

    let deleted = house.call(&admin, "DELETE", &path, None).await;
    assert_eq!(deleted.error(), (409, "conflict", None));
    let revoked = house.call(&admin, "POST", &format!("{path}/revoke"), None).await;
    assert_eq!(revoked.json["state"], "revoked");
    assert_eq!(house.call(rotated.text("/token"), "GET", "/v1/keys", None).await.error().0, 401);
    let refused = house.call(&admin, "PATCH", &path, Some(json!({ "name": "x" }))).await;
    assert_eq!(refused.error(), (409, "conflict", None));
    let deleted = house.call(&admin, "DELETE", &path, None).await;
    assert_eq!(deleted.json, json!({ "id": made.text("/key/id"), "deleted": true }));
    assert_eq!(house.call(&admin, "GET", &path, None).await.error(), (404, "not_found", None));
}

#[tokio::test]
async fn holders_keep_to_their_own() {
    let house = House::new().await;
    let minting = || KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let new = || NewKey { fields: minting(), ..NewKey::default() };
    let (mine, other) = (house.key(new()).await, house.key(new()).await);
    let child = house.call(&mine, "POST", "/v1/keys", Some(json!({ "uses": 3 }))).await;
    let path = format!("/v1/keys/{}", child.text("/key/id"));
    for (method, token, status) in
        [("GET", &other, 404), ("DELETE", &other, 404), ("GET", &mine, 200), ("DELETE", &mine, 200)]
    {
        let reply = house.call(token, method, &path, None).await;
        assert_eq!(reply.status.as_u16(), status, "{method}");
    }
    let list = house.call(&mine, "GET", "/v1/keys?state=ended", None).await;
    assert_eq!(list.json["data"][0]["id"], child.json["key"]["id"]);
    assert_eq!(house.call(&other, "GET", "/v1/keys", None).await.json["data"], json!([]));
    for (name, body) in [
        ("tenant", json!({ "tenant": "team" })),
        ("kind", json!({ "kind": "admin" })),
        ("parent", json!({ "parent": "aaaaaaaaaaaa" })),
    ] {
        let reply = house.call(&mine, "POST", "/v1/keys", Some(body)).await;
        assert_eq!(reply.error(), (400, "invalid_value", Some(name)));
    }
    let bounded = json!({ "can_mint": true, "bounds": { "max_output": 5 } });
    let bounded = house.call(&mine, "POST", "/v1/keys", Some(bounded)).await;
    let wider = json!({ "bounds": { "max_output": null } });
    let reply = house.call(bounded.text("/token"), "POST", "/v1/keys", Some(wider)).await;
    assert_eq!(reply.error(), (400, "invalid_value", Some("bounds.max_output")));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let house = House::new().await;
    let post = |body: Value| house.socket("POST", "/admin/v1/keys", Some(body));
    let budget = |budget: Value| json!({ "bounds": { "budgets": [budget] } });
    for (param, body) in [
        (Some("nmae"), json!({ "nmae": "x" })),
        (Some("bounds.modles"), json!({ "bounds": { "modles": [] } })),
        (Some("bounds.models[1]"), json!({ "bounds": { "models": ["a", ""] } })),
        (Some("bounds.endpoints[0]"), json!({ "bounds": { "endpoints": ["embeddings"] } })),
        (Some("bounds.networks[0]"), json!({ "bounds": { "networks": ["10.0.0.0/33"] } })),
        (Some("bounds.requests_per_minute"), json!({ "bounds": { "requests_per_minute": -1 } })),
        (Some("bounds.concurrency"), json!({ "bounds": { "concurrency": 0 } })),
        (Some("bounds.budgets[0]"), budget(json!({ "unit": "cost", "span": "day", "limit": 5 }))),
        (
            Some("bounds.budgets[0]"),
            budget(json!({ "unit": "tokens", "span": "day", "limit": "5" })),
        ),
        (
            Some("bounds.budgets[0].span"),
            budget(json!({ "unit": "cost", "span": "year", "limit": "5" })),
        ),
        (Some("bounds.budgets[0].limit"), budget(json!({ "unit": "cost", "span": "day" }))),
        (Some("kind"), json!({ "kind": "root" })),
        (Some("tenant"), json!({ "tenant": "Team" })),
        (Some("parent"), json!({ "parent": "aaaaaaaaaaaa" })),
        (Some("expires"), json!({ "expires": "tomorrow" })),
        (Some("expires"), json!({ "expires": "2026-01-01T00:00:00Z" })),
        (Some("expires_in"), json!({ "expires_in": "soon" })),
        (Some("expires_in"), json!({ "expires_in": "1d", "expires": null })),
        (Some("expires"), json!({ "expires_in": "0" })),
        (Some("expires"), json!({ "expires_in": "9000 years" })),
        (Some("priority"), json!({ "priority": 256 })),
        (Some("uses"), json!({ "uses": 1.5 })),
        (None, json!("{")),
        (None, json!("{} {}")),
        (None, json!("[]")),
        (Some("name"), json!(r#"{"name":"a","name":"b"}"#)),
    ] {
        let reply = post(body.clone()).await;
        assert_eq!(reply.error(), (400, "invalid_value", param), "{body} {}", reply.json);
    }
    assert!(house.store.changes().is_empty());
    for (param, path) in [
        ("limit", "/admin/v1/keys?limit=0"),
        ("limit", "/admin/v1/keys?limit=1&limit=2"),
        ("cursor", "/admin/v1/keys?cursor=x"),
        ("tenants", "/admin/v1/keys?tenants=x"),
        ("kind", "/admin/v1/keys?kind=x"),
        ("status", "/admin/v1/calls?status=x"),
        ("to", "/admin/v1/calls?from=2026-01-02&to=2026-01-01"),
        ("from", "/admin/v1/usage?from=yesterday"),
        ("by", "/admin/v1/usage?by=hour"),
        ("x", "/admin/v1/status?x"),
    ] {
        let reply = house.socket("GET", path, None).await;
        assert_eq!(reply.error(), (400, "invalid_value", Some(param)), "{path}");
    }
}

/// What the document says can be said is what can be said.
#[tokio::test]
async fn the_document_knows_the_fields_of_bodies() {
    let house = House::new().await;
    let made = house.socket("POST", "/admin/v1/keys", None).await;
    let key = format!("/admin/v1/keys/{}", made.text("/key/id"));
    for (schema, method, path, also) in [
        ("KeyNew", "POST", "/admin/v1/keys".to_owned(), None),
        // One shape reads both, and names what does not belong.
        ("KeyEdit", "PATCH", key.clone(), Some(["kind", "tenant", "parent"])),
        ("KeyRotate", "POST", format!("{key}/rotate"), None),
        ("TenantNew", "POST", "/admin/v1/tenants".to_owned(), None),
        ("TenantEdit", "PATCH", "/admin/v1/tenants/default".to_owned(), None),
    ] {
        let reply = house.socket(method, &path, Some(json!({ "?": 1 }))).await;
        let told = fields(reply.text("/error/message"));
        let properties = house.schema(schema)["properties"].as_object().unwrap();
        let mut known: Vec<&str> = properties.keys().map(String::as_str).collect();
        known.extend(also.iter().flatten());
        known.sort_unstable();
        assert_eq!(told, known, "{schema}");
    }
    let reply = house.socket("PATCH", &key, Some(json!({ "bounds": { "?": 1 } }))).await;
    let bounds = house.schema("BoundsIn")["properties"].as_object().unwrap();
    let mut known: Vec<&str> = bounds.keys().map(String::as_str).collect();
    known.sort_unstable();
    assert_eq!(fields(reply.text("/error/message")), known);
}

/// Whatever the document points to is in it, and nothing has two names.
#[tokio::test]
async fn the_document_is_whole() {
    let house = House::new().await;
    let document = house.socket("GET", "/admin/v1/openapi.json", None).await.json;
    assert_eq!(document["openapi"], "3.1.0");
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for pointed in text.split("\"#/components/schemas/").skip(1) {
        let name = pointed.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    for name in schemas.keys() {
        assert!(text.contains(&format!("/schemas/{name}\"")), "{name} is of no use");
    }
    let mut names: Vec<&str> = text.split("\"operationId\":\"").skip(1).collect();
    for name in &mut names {
        *name = name.split('"').next().unwrap();
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), all), (26, 26));
}

/// What the document says of a parameter is what a route takes, and no more.
#[tokio::test]
async fn parameters_are_what_the_document_says() {
    let house = House::new().await;
    let document = house.socket("GET", "/admin/v1/openapi.json", None).await.json;
    let mut seen = [0, 0];
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|one| one["in"] == "query") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let (good, bad) = if let Some(words) = schema["enum"].as_array() {
                seen[0] += 1;
                let words = words.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
                (words, vec!["other".to_owned(), String::new()])
            } else if schema["type"] == "integer" {
                seen[1] += 1;
                let [least, most] =
                    ["minimum", "maximum"].map(|name| schema[name].as_u64().unwrap());
                let good = vec![least.to_string(), most.to_string(), schema["default"].to_string()];
                (good, vec![(least - 1).to_string(), (most + 1).to_string(), "many".to_owned()])
            } else {
                assert!(
                    !["limit", "state", "kind", "by"].contains(&name),
                    "{path} {name}: {schema}"
                );
                continue;
            };
            // What holders of keys are served stands elsewhere, in the same words.
            if !path.starts_with("/admin/") {
                continue;
            }
            for (values, wanted) in [(good, 200), (bad, 400)] {
                for value in values {
                    let asked = format!("{path}?{name}={value}");
                    let status = house.socket("GET", &asked, None).await.status;
                    assert_eq!(status.as_u16(), wanted, "{asked}");
                }
            }
        }
    }
    assert_eq!(seen, [4, 6], "words, and numbers");
}

/// The names in "unknown field `?`, expected one of `a`, `b`", sorted.
fn fields(message: &str) -> Vec<String> {
    let mut names: Vec<String> = message.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn tenants_and_pages() {
    let house = House::new().await;
    let post = |body: Value| house.socket("POST", "/admin/v1/tenants", Some(body));
    assert_eq!(post(json!({})).await.error(), (400, "invalid_value", Some("id")));
    let made = post(json!({ "id": "team", "weight": 3, "bounds": { "concurrency": 2 } })).await;
    assert_eq!((made.status.as_u16(), &made.json["weight"]), (201, &json!(3)));
    assert_eq!(post(json!({ "id": "team" })).await.error(), (409, "conflict", None));
    let path = "/admin/v1/tenants/team";
    let edited = house.socket("PATCH", path, Some(json!({ "weight": 5 }))).await;
    assert_eq!(
        (&edited.json["weight"], &edited.json["bounds"]["concurrency"]),
        (&json!(5), &json!(2))
    );
    for _ in 0..3 {
        house.socket("POST", "/admin/v1/keys", Some(json!({ "tenant": "team" }))).await;
    }
    house.socket("POST", "/admin/v1/keys", None).await;
    let mut next = String::new();
    let mut seen = Vec::new();
    loop {
        let path = format!("/admin/v1/keys?tenant=team&limit=2{next}");
        let page = house.socket("GET", &path, None).await.json;
        seen.extend(page["data"].as_array().unwrap().iter().map(|key| key["id"].clone()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
    let first = house.socket("GET", "/admin/v1/tenants?limit=1", None).await;
    assert_eq!((first.text("/data/0/id"), first.text("/next")), ("default", "default"));
    let rest = house.socket("GET", "/admin/v1/tenants?cursor=default", None).await;
    assert_eq!((rest.text("/data/0/id"), &rest.json["next"]), ("team", &Value::Null));
    assert_eq!(house.socket("DELETE", path, None).await.error(), (409, "conflict", None));
    let revoked = house.socket("POST", &format!("{path}/revoke"), None).await;
    assert_eq!(revoked.json["state"], "revoked");
    let ended = house.socket("GET", "/admin/v1/keys?state=ended", None).await;
    assert_eq!(ended.json["data"].as_array().unwrap().len(), 3);
    assert_eq!(
        house.socket("GET", "/admin/v1/tenants/T", None).await.error(),
        (404, "not_found", None)
    );
}

#[tokio::test]
async fn a_store_that_is_down_is_not_the_callers_fault() {
    let house = House::new().await;
    let admin = house.admin_key().await;
    house.store.fail(Some("disk full"));
    let reply = house.call(&admin, "POST", "/admin/v1/keys", None).await;
    assert_eq!(reply.error(), (503, "store_unavailable", None));
    assert_eq!(reply.headers["retry-after"], "5");
    let status = house.call(&admin, "GET", "/admin/v1/status", None).await;
    assert_eq!(status.json["store"]["fault"], "disk full");
    assert_eq!(status.json["keys"], json!({ "total": 1, "active": 1 }));
}
