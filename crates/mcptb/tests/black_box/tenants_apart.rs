//! What one tenant has does not exist for another: every id that an API gives out, shown to every
//! route that takes one, answers another tenant exactly as an id that was never given.

use serde_json::{Value, json};

use crate::support::{Desk, IssuedKey, Reply, Request, Rig};

/// A kept response of somebody: the id of the response, and of its one item.
fn keep(rig: &Rig, key: &IssuedKey) -> (String, String) {
    let body = json!({"model": "auto", "input": "a secret plan"});
    let mut call = rig.send(&key.on(Request::post("/v1/responses").json(&body)));
    rig.host.sampling().answer("a secret answer");
    let reply = call.finish();
    assert_eq!(reply.status, 200, "{}", reply.json());
    let response = reply.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&response["id"]), text(&response["output"][0]["id"]))
}

/// A child key of somebody, made through the public door.
fn child(rig: &Rig, key: &IssuedKey) -> String {
    let body = json!({"name": "child"});
    let reply = rig.fetch(&key.on(Request::post("/v1/keys").json(&body)));
    assert_eq!(reply.status, 201, "{}", reply.json());
    reply.json()["key"]["id"].as_str().unwrap().to_owned()
}

/// What of a reply could tell one id from another: everything but the id itself and the call's.
fn told(reply: &Reply, id: &str) -> (u16, String) {
    let mut body = reply.json();
    if let Some(object) = body.as_object_mut() {
        object.remove("request_id");
    }
    (reply.status, body.to_string().replace(id, "ID"))
}

/// A request about an id.
type Route = Box<dyn Fn(&str) -> Request>;

/// A request that goes on from something.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"model": "auto", "input": "go on"});
    body[field] = value;
    body
}

#[test]
fn ids_of_another_tenant_are_ids_of_nobody() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let ours = desk.key(&["--tenant", "ours", "--can-mint"]);
    let theirs = desk.key(&["--tenant", "theirs", "--can-mint"]);
    let (response, item) = keep(&rig, &ours);
    let minted = child(&rig, &ours);
    let _theirs_too = child(&rig, &theirs);
    let unknown_response = response.replace(char::is_numeric, "0");
    let unknown_item = item.replace(char::is_numeric, "0");
    let unknown_key = "aaaaaaaaaaaa".to_owned();
    let routes: Vec<(&str, &String, &String, Route)> = vec![
        (
            "response",
            &response,
            &unknown_response,
            Box::new(|id| Request::get(&format!("/v1/responses/{id}"))),
        ),
        (
            "items",
            &response,
            &unknown_response,
            Box::new(|id| Request::get(&format!("/v1/responses/{id}/input_items"))),
        ),
        (
            "delete a response",
            &response,
            &unknown_response,
            Box::new(|id| Request::new("DELETE", &format!("/v1/responses/{id}"))),
        ),
        (
            "go on",
            &response,
            &unknown_response,
            Box::new(|id| {
                Request::post("/v1/responses").json(&with("previous_response_id", json!(id)))
            }),
        ),
        (
            "count and go on",
            &response,
            &unknown_response,
            Box::new(|id| {
                let body = with("previous_response_id", json!(id));
                Request::post("/v1/responses/input_tokens").json(&body)
            }),
        ),
        (
            "item",
            &item,
            &unknown_item,
            Box::new(|id| {
                let body = with("input", json!([{"type": "item_reference", "id": id}]));
                Request::post("/v1/responses").json(&body)
            }),
        ),
        ("child", &minted, &unknown_key, Box::new(|id| Request::get(&format!("/v1/keys/{id}")))),
        (
            "end a child",
            &minted,
            &unknown_key,
            Box::new(|id| Request::new("DELETE", &format!("/v1/keys/{id}"))),
        ),
        (
            "the parent itself",
            &ours.id,
            &unknown_key,
            Box::new(|id| Request::get(&format!("/v1/keys/{id}"))),
        ),
        (
            "end the parent",
            &ours.id,
            &unknown_key,
            Box::new(|id| Request::new("DELETE", &format!("/v1/keys/{id}"))),
        ),
    ];
    for (what, known, unknown, route) in &routes {
        let seen = rig.fetch(&theirs.on(route(known)));
        let never = rig.fetch(&theirs.on(route(unknown)));
        assert_eq!(told(&seen, known), told(&never, unknown), "{what}");
        assert!((400..500).contains(&seen.status), "{what}: {}", seen.status);
        let all = format!("{}", seen.json());
        assert!(!all.contains("secret"), "{what}: {all}");
    }
    // Lists and accounts of theirs name nothing of ours.
    for path in ["/v1/keys", "/v1/usage", "/v1/models", "/readyz"] {
        let all = rig.fetch(&theirs.on(Request::get(path))).json().to_string();
        for ours in [&ours.id, &minted, &response, &item, &"\"ours\"".to_owned()] {
            assert!(!all.contains(ours.as_str()), "{path} names {ours}: {all}");
        }
    }
    rig.host.assert_not_asked();
    // All of it is still there for its owner.
    assert_eq!(rig.fetch(&ours.on(Request::get(&format!("/v1/responses/{response}")))).status, 200);
    assert_eq!(rig.fetch(&ours.on(Request::get(&format!("/v1/keys/{minted}")))).status, 200);
}
