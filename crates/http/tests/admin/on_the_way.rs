//! What becomes of keys that end while the body of a request is on its way.

use std::sync::Arc;

use axum::body::Body;
use gateway::admin::{KeyFields, NewKey};
use gateway::keys::KeyId;
use gateway::store::Actor;
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;

use super::house::{House, NOW, request};

/// The key of a token.
fn id(house: &House, token: &str) -> KeyId {
    house.admin.keyring().identify(token.as_bytes(), NOW).unwrap().key.id
}

/// A body that arrives a millisecond later.
fn late(house: &House, request: Request<Body>) -> Request<Body> {
    let clock = Arc::clone(&house.clock);
    request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            clock.advance(1);
            frame
        }))
    })
}

/// It was let in, so it is not counted; what was shown beside it and had ended is.
#[tokio::test]
async fn a_key_that_ends_while_the_body_comes_is_not_counted() {
    let call = json!({"model": "auto", "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hello"}]});
    for (path, body) in [
        ("/v1/messages", call.clone()),
        ("/v1/explain", json!({"endpoint": "messages", "request": call})),
        ("/v1/messages/count_tokens", call.clone()),
        ("/v1/responses/input_tokens", json!({"model": "auto", "input": "Hello"})),
    ] {
        for (body, status) in [(body, 200), (json!("{"), 400)] {
            let house = House::new().await;
            let expires = Some(Some(NOW + 1));
            let fields = KeyFields { expires, ..KeyFields::default() };
            let ending = house.key(NewKey { fields, ..NewKey::default() }).await;
            let revoked = house.key(NewKey::default()).await;
            let (ends, ended) = (id(&house, &ending), id(&house, &revoked));
            house.admin.key_revoke(ended, Actor::Machine).await.unwrap();
            let credential = format!("Bearer {ending}");
            let headers = [
                ("authorization", &*credential),
                ("x-api-key", &revoked),
                ("x-mcptb-dry-run", "1"),
            ];
            let ask = || request("POST", path, &headers, Some(body.clone()));
            let reply = house.send(late(&house, ask())).await;
            assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.json);
            assert_eq!(house.counted().await, [(ended, 1)], "{path}");
            // Now it has ended.
            assert_eq!(house.send(ask()).await.status.as_u16(), 401, "{path}");
            let mut counted = [(ends, 1), (ended, 2)];
            counted.sort_unstable();
            let mut found = house.counted().await;
            found.sort_unstable();
            assert_eq!(found, counted, "{path}");
        }
    }
}
