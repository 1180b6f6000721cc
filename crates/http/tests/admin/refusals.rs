//! Every route, and everybody who may not use it.

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::keys::KeyKind;
use gateway::store::Actor;
use http_doors::access::{AccessRules, AuthMode};
use model::Secret;
use serde_json::Value;

use super::house::{House, NOW};

fn key(kind: KeyKind, fields: KeyFields) -> NewKey {
    NewKey { kind: Some(kind), fields, ..NewKey::default() }
}

fn ending() -> KeyFields {
    KeyFields { expires: Some(Some(NOW + 1)), ..KeyFields::default() }
}

fn minting(fields: KeyFields) -> KeyFields {
    KeyFields { can_mint: Some(true), ..fields }
}

fn in_network() -> KeyFields {
    let networks = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    KeyFields {
        bounds: BoundsFields { networks, ..BoundsFields::default() },
        ..KeyFields::default()
    }
}

/// One character of the secret is another one.
fn damaged(token: &str) -> String {
    let last = if token.ends_with('a') { 'b' } else { 'a' };
    let mut token = token.to_owned();
    token.pop();
    token.push(last);
    token
}

/// A key that was alive, and is revoked.
async fn revoked(house: &House, new: NewKey) -> String {
    let token = house.key(new).await;
    let id = house.admin.keyring().identify(token.as_bytes(), NOW).unwrap().key.id;
    house.admin.key_revoke(id, Actor::Machine).await.unwrap();
    token
}

#[tokio::test]
async fn every_route_refuses_everybody_else() {
    let token = "the static token of this bridge".to_owned();
    let access = AccessRules { token: Some(Secret::new(token.clone())), ..AccessRules::default() };
    let house = House::with(access).await;
    let plain = KeyFields::default;
    let admin = house.admin_key().await;
    let minter = house.key(key(KeyKind::Model, minting(plain()))).await;
    let strangers =
        [("the static token", token.clone(), 401), ("nonsense", "nonsense".to_owned(), 401)];
    let of_admins = [
        ("a model key", house.key(key(KeyKind::Model, plain())).await, 403),
        ("a sandbox key", house.key(key(KeyKind::Sandbox, plain())).await, 403),
        ("a key that may mint", minter.clone(), 403),
        ("an expired admin key", house.key(key(KeyKind::Admin, ending())).await, 401),
        ("a revoked admin key", revoked(&house, key(KeyKind::Admin, plain())).await, 401),
        ("a damaged admin key", damaged(&admin), 401),
        ("an admin key elsewhere", house.key(key(KeyKind::Admin, in_network())).await, 403),
    ];
    let of_holders = [
        ("a model key", house.key(key(KeyKind::Model, plain())).await, 403),
        ("a sandbox key", house.key(key(KeyKind::Sandbox, plain())).await, 403),
        ("an admin key", admin.clone(), 403),
        ("an expired key", house.key(key(KeyKind::Model, minting(ending()))).await, 401),
        ("a revoked key", revoked(&house, key(KeyKind::Model, minting(plain()))).await, 401),
        ("a damaged key", damaged(&minter), 401),
        ("a key elsewhere", house.key(key(KeyKind::Model, minting(in_network()))).await, 403),
    ];
    house.clock.advance(1);
    let before = house.store.changes().len();
    for (door, wrong, right) in [(true, of_admins, admin), (false, of_holders, minter)] {
        let routes = house.routes(door);
        assert_eq!(routes.len(), if door { 22 } else { 4 });
        for (method, path) in routes {
            let path = path.replace("{id}", "zzzzzzzzzzzz");
            let reply = house.knock(&method, &path, &[], None).await;
            assert_eq!(reply.error().0, 401, "{method} {path} without a key");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
            for (who, token, status) in strangers.iter().chain(&wrong) {
                let reply = house.call(token, &method, &path, None).await;
                assert_eq!(reply.error().0, *status, "{method} {path} with {who}");
                let reply = house.knock(&method, &path, &[("x-api-key", token)], None).await;
                assert_eq!(reply.error().0, *status, "{method} {path} with {who}");
            }
            // Names of other machines and pages of browsers are refused whatever they show.
            let credential = format!("Bearer {right}");
            for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
                let headers = [(name, value), ("authorization", &credential)];
                let reply = house.knock(&method, &path, &headers, None).await;
                assert_eq!(reply.error().0, 403, "{method} {path} of {value}");
            }
        }
    }
    assert_eq!(house.store.changes().len(), before);
}

#[tokio::test]
async fn every_route_serves_whoever_may() {
    let house = House::new().await;
    let admin = house.admin_key().await;
    let minter = house.key(key(KeyKind::Model, minting(KeyFields::default()))).await;
    for (door, token) in [(true, admin), (false, minter)] {
        for (method, path) in house.routes(door) {
            let path = path.replace("{id}", "zzzzzzzzzzzz");
            let reply = house.call(&token, &method, &path, None).await;
            let code = reply.json["error"]["code"].as_str().unwrap_or_default();
            assert!(!matches!(reply.status.as_u16(), 401 | 403 | 405 | 500), "{method} {path}");
            assert_ne!(code, "unknown_url", "{method} {path}");
            let reply = house.call(&token, "PUT", &path, None).await;
            assert_eq!(reply.error().0, 405, "{path}");
            assert!(reply.headers["allow"].to_str().unwrap().contains(&method), "{path}");
        }
    }
}

#[tokio::test]
async fn without_an_admin_key_the_paths_are_unknown() {
    let token = Some(Secret::new("the static token of this bridge".to_owned()));
    for token in [None, token] {
        let access = AccessRules { token, ..AccessRules::default() };
        let house = House::with(access).await;
        for door in [true, false] {
            for (method, path) in house.routes(door) {
                let here = house.knock(&method, &path, &[], None).await;
                let other = house.knock(&method, "/nothing/of/this", &[], None).await;
                assert_eq!(here.status, other.status, "{method} {path}");
                let text = here.json.to_string().replace(&path, "/nothing/of/this");
                assert_eq!(text, other.json.to_string());
                let names = |headers: &http::HeaderMap| {
                    headers.keys().map(ToString::to_string).collect::<Vec<_>>()
                };
                assert_eq!(names(&here.headers), names(&other.headers));
            }
        }
        // A model key opens the door of its holders, and shows nothing of the other one.
        house.key(key(KeyKind::Model, minting(KeyFields::default()))).await;
        let hidden = house.knock("GET", "/admin/v1/keys", &[], None).await;
        assert_ne!(hidden.json["error"]["message"], Value::Null);
        assert!(!hidden.json.to_string().contains("admin key"));
        assert_eq!(house.knock("GET", "/v1/keys", &[], None).await.error().0, 401);
    }
}

#[tokio::test]
async fn being_here_is_no_right() {
    for auth in [AuthMode::OpenLoopback, AuthMode::Auto] {
        let house = House::with(AccessRules { auth, ..AccessRules::default() }).await;
        house.admin_key().await;
        assert_eq!(house.knock("GET", "/admin/v1/keys", &[], None).await.error().0, 401);
    }
}

#[tokio::test]
async fn a_bounded_key_holds_in_its_network() {
    let house = House::new().await;
    let token = house.key(key(KeyKind::Admin, in_network())).await;
    let credential = format!("Bearer {token}");
    for (peer, status) in [("10.1.2.3:9", 200), ("127.0.0.1:9", 403), ("[::ffff:10.0.0.1]:9", 200)]
    {
        let headers = [("peer", peer), ("authorization", &*credential)];
        let reply = house.knock("GET", "/admin/v1/status", &headers, None).await;
        assert_eq!(reply.status.as_u16(), status, "{peer}");
    }
    // What a caller writes of itself proves nothing.
    let headers = [("x-forwarded-for", "10.0.0.1"), ("authorization", &*credential)];
    assert_eq!(house.knock("GET", "/admin/v1/status", &headers, None).await.error().0, 403);
}

#[tokio::test]
async fn the_socket_of_the_owner_needs_no_key() {
    let house = House::new().await;
    let made = house.socket("POST", "/admin/v1/keys", Some(serde_json::json!({}))).await;
    assert_eq!(made.status.as_u16(), 201);
    assert_eq!(house.store.changes().pop().unwrap().1, Actor::Machine);
    // It has no door for holders: nobody there holds a key.
    assert_eq!(house.socket("GET", "/v1/keys", None).await.error(), (404, "unknown_url", None));
}

#[tokio::test]
async fn nobody_is_told_of_files_while_the_keys_are_not_known() {
    let house = House::shut("/home/somebody/mcptb/audit.db is full");
    let foreign = [("origin", "https://attacker.example")];
    let rebound = [("host", "attacker.example")];
    for path in ["/admin/v1/status", "/v1/keys"] {
        let reply = house.knock("GET", path, &[], None).await;
        assert_eq!(reply.error(), (503, "store_unavailable", None), "{path}");
        assert!(!reply.json.to_string().contains("somebody"), "{path}: {}", reply.json);
        // Nor are web pages told anything.
        for headers in [foreign, rebound] {
            assert_eq!(house.knock("GET", path, &headers, None).await.status, 403, "{path}");
        }
    }
    let owner = house.socket("GET", "/admin/v1/status", None).await;
    assert!(owner.text("/error/message").contains("is full"));
}

#[tokio::test]
async fn holders_of_keys_are_not_told_why_the_store_is_down() {
    let house = House::new().await;
    let minter = house.key(key(KeyKind::Model, minting(KeyFields::default()))).await;
    house.store.fail(Some("/home/somebody/mcptb/audit.db is full"));
    let reply = house.call(&minter, "POST", "/v1/keys", Some(serde_json::json!({}))).await;
    assert_eq!(reply.error(), (503, "store_unavailable", None));
    assert!(!reply.json.to_string().contains("somebody"), "{}", reply.json);
}
